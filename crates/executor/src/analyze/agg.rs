//! Grouped queries: which columns may still be named once rows have become groups.
//!
//! C counterpart: `parseCheckAggregates` of parse_agg.c.

use common::SqlState;
use elog::Result;

use super::Analyzer;
use super::scope::var;
use super::select::TargetEntry;
use crate::expr::{Expr, Node};
use crate::query::Aggregate;

impl Analyzer<'_> {
    /// Makes the grouping step, if there is one, and lets everything behind it read the groups' slots.
    pub(super) fn aggregation(
        &mut self,
        group: Option<Vec<Expr>>,
        targets: &mut [TargetEntry],
        having: &mut Option<Expr>,
    ) -> Result<Option<Aggregate>> {
        let calls = std::mem::take(&mut self.scope().aggregates);
        if calls.is_empty() && group.is_none() && having.is_none() {
            return Ok(None);
        }
        let depth = self.depth();
        let mut keys: Vec<(Expr, usize)> = Vec::new();
        for expr in group.unwrap_or_default() {
            if keys.iter().any(|(known, _)| known.same(&expr)) {
                continue;
            }
            if let Some(loc) =
                self.computed_slot(&expr, depth, &calls.iter().map(|c| c.slot).collect::<Vec<_>>())
            {
                let message = "aggregate functions are not allowed in GROUP BY";
                return Err(self.error(SqlState::GROUPING_ERROR, loc, message));
            }
            if self.reads_set(&expr, depth) {
                return Err(self.unsupported(expr.loc, "GROUP BY a set-returning function"));
            }
            let slot = self.scope().allocate(1);
            keys.push((expr, slot));
        }
        for target in targets.iter_mut() {
            self.replace_grouped(&mut target.expr, &keys, false)?;
        }
        if let Some(having) = having {
            self.replace_grouped(having, &keys, false)?;
        }
        let mut levels = std::mem::take(&mut self.scope().set_levels);
        for set in levels.iter_mut().flatten() {
            for arg in &mut set.args {
                self.replace_grouped(arg, &keys, false)?;
            }
        }
        self.scope().set_levels = levels;
        Ok(Some(Aggregate { keys, calls }))
    }

    /// Replaces what is grouped by and refuses other columns. C: `check_ungrouped_columns`.
    fn replace_grouped(&mut self, expr: &mut Expr, keys: &[(Expr, usize)], in_subquery: bool) -> Result<()> {
        self.check_stack()?;
        let depth = self.depth();
        if let Some((key, slot)) = keys.iter().find(|(key, _)| key.same(expr)) {
            *expr = Expr { loc: expr.loc, ..var(key.ty, key.typmod, depth, *slot) };
            return Ok(());
        }
        match &expr.node {
            Node::Var { depth: d, slot } if *d == depth && *slot < self.scope().input_width => {
                let name = self.slot_name(depth, *slot);
                let message = match in_subquery {
                    true => format!("subquery uses ungrouped column \"{name}\" from outer query"),
                    false => format!(
                        "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
                    ),
                };
                return Err(self.error(SqlState::GROUPING_ERROR, expr.loc, message));
            }
            Node::Sublink { plan, .. } => {
                let plan = *plan;
                let mut query = (*self.subplans[plan].query).clone();
                let mut outcome = Ok(());
                query.for_each_expr_mut(&mut |inner| {
                    if outcome.is_ok() {
                        outcome = self.replace_grouped(inner, keys, true);
                    }
                });
                outcome?;
                self.subplans[plan].query = query.into();
            }
            _ => {}
        }
        let mut outcome = Ok(());
        expr.for_each_child_mut(&mut |child| {
            if outcome.is_ok() {
                outcome = self.replace_grouped(child, keys, in_subquery);
            }
        });
        outcome
    }

    fn computed_slot(&self, expr: &Expr, depth: usize, slots: &[usize]) -> Option<u32> {
        if let Node::Var { depth: d, slot } = expr.node
            && d == depth
            && slots.contains(&slot)
        {
            return Some(expr.loc);
        }
        let mut found = None;
        expr.for_each_child(&mut |child| found = found.or_else(|| self.computed_slot(child, depth, slots)));
        found
    }

    fn reads_set(&self, expr: &Expr, depth: usize) -> bool {
        let slots: Vec<usize> = self
            .scopes
            .last()
            .map(|scope| scope.set_levels.iter().flatten().map(|set| set.slot).collect())
            .unwrap_or_default();
        self.computed_slot(expr, depth, &slots).is_some()
    }
}
