//! GROUP BY, DISTINCT, ORDER BY, LIMIT.
//!
//! C counterpart: parse_clause.c.

use common::SqlState;
use elog::Result;
use parser::ast::{
    Distinct, Expr as AstExpr, ExprKind, SelectStmt, SetOp, SimpleSelect, SortBy, SortDirection,
};
use parser::start_of;
use types::compare::is_orderable;
use types::{format_type, oid};

use super::Analyzer;
use super::scope::Clause;
use super::select::{TargetEntry, placeholder};
use crate::expr::{Expr, Node};
use crate::query::{Column, SortKey};

/// What the clauses that refer to the target list came to.
pub(super) struct Sorted {
    pub(super) order: Vec<SortKey>,
    /// Grouping expressions, if there is a GROUP BY.
    pub(super) group: Option<Vec<Expr>>,
    pub(super) distinct: Option<Vec<SortKey>>,
}

impl Analyzer<'_> {
    pub(super) fn sort_clauses(
        &mut self,
        simple: &SimpleSelect,
        stmt: &SelectStmt,
        targets: &mut Vec<TargetEntry>,
        keep_unknown: bool,
    ) -> Result<Sorted> {
        let mut order = Vec::with_capacity(stmt.order_by.len());
        for sort in &stmt.order_by {
            let column = self.sort_target(&sort.expr, targets, Clause::OrderBy)?;
            if !keep_unknown || targets[column].hidden {
                self.settle_target(&mut targets[column])?;
            }
            let key = self.sort_key(sort, column, targets[column].expr.ty)?;
            if !order.iter().any(|k: &SortKey| k.column == column) {
                order.push(key);
            }
        }
        let mut group = None;
        if !simple.group_by.is_empty() {
            let mut exprs = Vec::new();
            for expr in &simple.group_by {
                // GROUP BY () is one group.
                if matches!(&expr.kind, ExprKind::Row { fields, explicit: false } if fields.is_empty()) {
                    continue;
                }
                let column = self.sort_target(expr, targets, Clause::GroupBy)?;
                self.settle_target(&mut targets[column])?;
                self.require_equality(&targets[column].expr, start_of(expr))?;
                exprs.push(targets[column].expr.clone());
            }
            group = Some(exprs);
        }
        let distinct = match &simple.distinct {
            None => None,
            Some(Distinct::All) => Some(self.distinct_all(stmt, targets, &order, keep_unknown)?),
            Some(Distinct::On(exprs)) => Some(self.distinct_on(exprs, targets, &order)?),
        };
        Ok(Sorted { order, group, distinct })
    }

    fn settle_target(&mut self, target: &mut TargetEntry) -> Result<()> {
        let expr = std::mem::replace(&mut target.expr, placeholder());
        target.expr = self.settle_unknown(expr)?;
        Ok(())
    }

    /// The output column that a sort or group expression means; a hidden one is added if there is none.
    /// C: `findTargetlistEntrySQL92`.
    fn sort_target(
        &mut self,
        expr: &AstExpr,
        targets: &mut Vec<TargetEntry>,
        clause: Clause,
    ) -> Result<usize> {
        match &expr.kind {
            ExprKind::Column(name) => {
                if let [name] = name.as_slice()
                    && !(clause == Clause::GroupBy && self.is_input_column(name))
                    && let Some(found) = self.target_by_name(name, targets, clause, expr.loc)?
                {
                    return Ok(found);
                }
            }
            ExprKind::Integer(position) => {
                let visible = targets.iter().filter(|t| !t.hidden).count();
                return match usize::try_from(*position) {
                    Ok(n) if (1..=visible).contains(&n) => Ok(n - 1),
                    _ => {
                        let message = format!("{} position {position} is not in select list", clause.words());
                        Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, expr.loc, message))
                    }
                };
            }
            ExprKind::Float(_)
            | ExprKind::String(_)
            | ExprKind::BitString(_)
            | ExprKind::Boolean(_)
            | ExprKind::Null => {
                let message = format!("non-integer constant in {}", clause.words());
                return Err(self.error(SqlState::SYNTAX_ERROR, expr.loc, message));
            }
            _ => {}
        }
        let analyzed = self.clause_expr(expr, clause)?;
        let analyzed = if analyzed.ty == oid::UNKNOWN { self.settle_unknown(analyzed)? } else { analyzed };
        if let Some(found) = targets.iter().position(|t| t.expr.same(&analyzed)) {
            return Ok(found);
        }
        targets.push(TargetEntry { name: String::new(), expr: analyzed, hidden: true });
        Ok(targets.len() - 1)
    }

    fn target_by_name(
        &self,
        name: &str,
        targets: &[TargetEntry],
        clause: Clause,
        loc: u32,
    ) -> Result<Option<usize>> {
        let mut matching = targets.iter().enumerate().filter(|(_, t)| !t.hidden && t.name == name);
        let Some((first, target)) = matching.next() else { return Ok(None) };
        if matching.any(|(_, other)| !other.expr.same(&target.expr)) {
            let message = format!("{} \"{name}\" is ambiguous", clause.words());
            return Err(self.error(SqlState::AMBIGUOUS_COLUMN, loc, message));
        }
        Ok(Some(first))
    }

    /// GROUP BY prefers a column of FROM over an output column of that name.
    fn is_input_column(&mut self, name: &str) -> bool {
        self.scope().items.iter().any(|i| i.bare && i.columns.iter().any(|c| c.name == name))
    }

    pub(super) fn sort_key(&self, sort: &SortBy, column: usize, ty: common::Oid) -> Result<SortKey> {
        let loc = start_of(&sort.expr);
        let descending = match &sort.direction {
            SortDirection::Default | SortDirection::Asc => false,
            SortDirection::Desc => true,
            SortDirection::Using(name) => match name.last().map(String::as_str) {
                Some("<") => false,
                Some(">") => true,
                other => {
                    let message =
                        format!("operator {} is not a valid ordering operator", other.unwrap_or_default());
                    let e = self.error(SqlState::WRONG_OBJECT_TYPE, loc, message);
                    return Err(e.hint(
                        "Ordering operators must be \"<\" or \">\" members of btree operator families.",
                    ));
                }
            },
        };
        if !is_orderable(ty) {
            let message = format!("could not identify an ordering operator for type {}", format_type(ty, -1));
            let e = self.error(SqlState::UNDEFINED_FUNCTION, loc, message);
            return Err(e.hint("Use an explicit ordering operator or modify the query."));
        }
        let nulls_first = sort.nulls_first.unwrap_or(descending);
        Ok(SortKey { column, descending, nulls_first, ty })
    }

    pub(super) fn require_equality(&self, expr: &Expr, loc: u32) -> Result<()> {
        if matches!(expr.ty, oid::JSON | oid::XML | oid::POINT) {
            let message =
                format!("could not identify an equality operator for type {}", format_type(expr.ty, -1));
            return Err(self.error(SqlState::UNDEFINED_FUNCTION, loc, message));
        }
        Ok(())
    }

    fn distinct_all(
        &mut self,
        stmt: &SelectStmt,
        targets: &mut [TargetEntry],
        order: &[SortKey],
        keep_unknown: bool,
    ) -> Result<Vec<SortKey>> {
        if let Some(n) = order.iter().position(|key| targets[key.column].hidden) {
            let loc = stmt.order_by.get(n).map_or(stmt.loc, |sort| start_of(&sort.expr));
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, loc, message));
        }
        let mut keys = Vec::new();
        for (column, target) in targets.iter_mut().enumerate().filter(|(_, t)| !t.hidden) {
            if !keep_unknown {
                self.settle_target(target)?;
            }
            self.require_equality(&target.expr, target.expr.loc)?;
            keys.push(plain_key(column, target.expr.ty));
        }
        if keys.is_empty() {
            let message = "SELECT DISTINCT must have at least one column";
            return Err(elog::error!(SqlState::SYNTAX_ERROR, "{message}"));
        }
        Ok(keys)
    }

    fn distinct_on(
        &mut self,
        exprs: &[AstExpr],
        targets: &mut Vec<TargetEntry>,
        order: &[SortKey],
    ) -> Result<Vec<SortKey>> {
        let mut keys: Vec<SortKey> = Vec::new();
        for expr in exprs {
            let column = self.sort_target(expr, targets, Clause::DistinctOn)?;
            self.settle_target(&mut targets[column])?;
            let ty = targets[column].expr.ty;
            self.require_equality(&targets[column].expr, start_of(expr))?;
            if !keys.iter().any(|k| k.column == column) {
                keys.push(plain_key(column, ty));
            }
        }
        // The ORDER BY must begin with these columns, in any order among them.
        let leading = order.iter().take_while(|o| keys.iter().any(|k| k.column == o.column)).count();
        if leading < order.len() && leading < keys.len() {
            let loc = exprs.first().map_or(0, start_of);
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, loc, message));
        }
        Ok(keys)
    }

    /// ORDER BY of VALUES or of a set operation: output columns only.
    pub(super) fn output_order(
        &mut self,
        stmt: &SelectStmt,
        columns: &[Column],
        set_op: Option<SetOp>,
    ) -> Result<Vec<SortKey>> {
        let mut order = Vec::new();
        for sort in &stmt.order_by {
            let loc = start_of(&sort.expr);
            let found = match &sort.expr.kind {
                ExprKind::Column(name) => match name.as_slice() {
                    [name] => match columns.iter().position(|c| c.name == *name) {
                        None => {
                            let message = format!("column \"{name}\" does not exist");
                            return Err(self.error(SqlState::UNDEFINED_COLUMN, loc, message));
                        }
                        found => found,
                    },
                    _ => None,
                },
                ExprKind::Integer(n) => match usize::try_from(*n) {
                    Ok(n) if (1..=columns.len()).contains(&n) => Some(n - 1),
                    _ => {
                        let message = format!("ORDER BY position {n} is not in select list");
                        return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, loc, message));
                    }
                },
                ExprKind::Float(_) | ExprKind::String(_) | ExprKind::Boolean(_) | ExprKind::Null => {
                    let message = "non-integer constant in ORDER BY";
                    return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
                }
                _ => None,
            };
            let Some(column) = found else {
                if set_op.is_none() {
                    return Err(self.unsupported(loc, "VALUES with an ORDER BY expression"));
                }
                let message = "invalid UNION/INTERSECT/EXCEPT ORDER BY clause";
                let e = self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message);
                return Err(e
                    .detail("Only result column names can be used, not expressions or functions.")
                    .hint(
                        "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
                    ));
            };
            order.push(self.sort_key(sort, column, columns[column].ty)?);
        }
        Ok(order)
    }

    /// LIMIT and OFFSET.
    pub(super) fn limit_clauses(&mut self, stmt: &SelectStmt) -> Result<(Option<Expr>, Option<Expr>)> {
        let offset = self.limit_expr(stmt.offset.as_ref(), Clause::Offset)?;
        let limit = self.limit_expr(stmt.limit.as_ref(), Clause::Limit)?;
        if stmt.with_ties && matches!(&limit, Some(l) if l.is_null_const()) {
            return Err(elog::error!(
                SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE,
                "row count cannot be null in FETCH FIRST ... WITH TIES clause"
            ));
        }
        Ok((limit, offset))
    }

    /// C: `transformLimitClause`.
    fn limit_expr(&mut self, expr: Option<&AstExpr>, clause: Clause) -> Result<Option<Expr>> {
        let Some(expr) = expr else { return Ok(None) };
        let analyzed = self.clause_expr(expr, clause)?;
        let value = self.coerce_to_specific(analyzed, oid::INT8, clause.words())?;
        let depth = self.depth();
        if let Some(loc) = find_var(&value, depth) {
            let message = format!("argument of {} must not contain variables", clause.words());
            return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, loc, message));
        }
        Ok(Some(value))
    }
}

/// A key that only tells rows apart.
pub(super) fn plain_key(column: usize, ty: common::Oid) -> SortKey {
    SortKey { column, descending: false, nulls_first: false, ty }
}

/// The place of a column of this frame within an expression.
pub(super) fn find_var(expr: &Expr, wanted: usize) -> Option<u32> {
    if let Node::Var { depth, .. } = expr.node
        && depth == wanted
    {
        return Some(expr.loc);
    }
    let mut found = None;
    expr.for_each_child(&mut |child| found = found.or_else(|| find_var(child, wanted)));
    found
}
