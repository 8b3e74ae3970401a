//! GROUP BY and aggregates.
//!
//! C counterpart: nodeAgg.c (hashed grouping).

use elog::Result;
use types::agg::AggState;
use types::fmgr::{CallContext, FuncImpl, Session};
use types::{Datum, oid};

use super::rowset::{RowSet, sort_rows};
use super::{Cx, Row};
use crate::expr::{Expr, Node};
use crate::query::{Aggregate, AggregateCall, SortKey};

/// All groups of a query.
#[derive(Default)]
pub(super) struct AggregateState {
    filled: bool,
    keys: Vec<SortKey>,
    index: RowSet,
    groups: Vec<Group>,
    next: usize,
    /// Keys and arguments of the row at hand, in buffers that stay.
    row: Row,
    args: Row,
}

struct Group {
    keys: Row,
    runs: Vec<Run>,
}

/// One aggregate of one group.
struct Run {
    state: Option<Box<dyn AggState>>,
    /// Rows kept back, where the aggregate wants them sorted or distinct.
    kept: Vec<Row>,
}

impl AggregateState {
    pub(super) fn is_filled(&self) -> bool {
        self.filled
    }

    pub(super) fn begin(&mut self, aggregate: &Aggregate) {
        let key = |(column, (expr, _)): (usize, &(Expr, usize))| SortKey {
            column,
            descending: false,
            nulls_first: false,
            ty: expr.ty,
        };
        self.keys = aggregate.keys.iter().enumerate().map(key).collect();
        if aggregate.keys.is_empty() {
            // Without GROUP BY there is one group, even of no rows.
            self.groups.push(Group::new(aggregate, Vec::new()));
        }
    }

    pub(super) fn finish_input(&mut self) {
        self.filled = true;
    }

    /// Adds the input row in the frame to its group.
    pub(super) fn add(&mut self, aggregate: &Aggregate, cx: &mut Cx<'_>) -> Result<()> {
        let mut group = 0;
        if !aggregate.keys.is_empty() {
            self.row.clear();
            for (expr, _) in &aggregate.keys {
                self.row.push(cx.eval(expr)?);
            }
            let is_new;
            (group, is_new) = self.index.entry(&self.keys, &self.row)?;
            if is_new {
                self.groups.push(Group::new(aggregate, std::mem::take(&mut self.row)));
            }
        }
        for (call, run) in aggregate.calls.iter().zip(&mut self.groups[group].runs) {
            run.add(call, &mut self.args, cx)?;
        }
        Ok(())
    }

    /// Brings the next group into the frame.
    pub(super) fn next_group(
        &mut self,
        aggregate: &Aggregate,
        depth: usize,
        cx: &mut Cx<'_>,
    ) -> Result<bool> {
        let Some(group) = self.groups.get_mut(self.next) else { return Ok(false) };
        self.next += 1;
        for ((_, slot), value) in aggregate.keys.iter().zip(std::mem::take(&mut group.keys)) {
            cx.set(depth, *slot, value);
        }
        for (call, run) in aggregate.calls.iter().zip(&mut group.runs) {
            let value = run.finish(call, cx)?;
            cx.set(depth, call.slot, value);
        }
        Ok(true)
    }
}

impl Group {
    fn new(aggregate: &Aggregate, keys: Row) -> Group {
        let run = |call: &AggregateCall| Run {
            state: match call.function.func {
                FuncImpl::Aggregate(new_state) => Some(new_state()),
                FuncImpl::Scalar(_) | FuncImpl::Set(_) => None,
            },
            kept: Vec::new(),
        };
        Group { keys, runs: aggregate.calls.iter().map(run).collect() }
    }
}

impl Run {
    fn add(&mut self, call: &AggregateCall, args: &mut Row, cx: &mut Cx<'_>) -> Result<()> {
        if let Some(filter) = &call.filter
            && !cx.is_true(filter)?
        {
            return Ok(());
        }
        let plain = call.order.is_empty() && call.distinct.is_none();
        if plain && let [Expr { node: Node::Var { depth, slot }, .. }] = call.args.as_slice() {
            // A column goes to the aggregate straight from the frame.
            let value = std::slice::from_ref(&cx.shared.frames[*depth][*slot]);
            return self.transition(call, value, cx.session);
        }
        args.clear();
        for arg in call.args.iter().chain(call.order.iter().map(|(expr, _)| expr)) {
            args.push(cx.eval(arg)?);
        }
        if plain {
            return self.transition(call, args, cx.session);
        }
        self.kept.push(std::mem::take(args));
        Ok(())
    }

    fn transition(&mut self, call: &AggregateCall, args: &[Datum], session: &Session<'_>) -> Result<()> {
        match &mut self.state {
            Some(state) => state.add(&mut context(call, session), args),
            None => Ok(()),
        }
    }

    fn finish(&mut self, call: &AggregateCall, cx: &mut Cx<'_>) -> Result<Datum> {
        let mut rows = std::mem::take(&mut self.kept);
        if let Some(distinct) = &call.distinct {
            // PostgreSQL sorts to find duplicates, and its results show that order.
            if call.order.is_empty() {
                sort_rows(distinct, &mut rows, cx)?;
            }
        }
        let order: Vec<SortKey> = call.order.iter().map(|(_, key)| key.clone()).collect();
        if !order.is_empty() {
            sort_rows(&order, &mut rows, cx)?;
        }
        let mut seen = RowSet::default();
        for row in rows {
            if let Some(distinct) = &call.distinct
                && !seen.insert(distinct, &row)?
            {
                continue;
            }
            self.transition(call, &row[..call.args.len()], cx.session)?;
        }
        match &mut self.state {
            Some(state) => state.finish(&mut context(call, cx.session)),
            None => Ok(Datum::Null),
        }
    }
}

fn context<'a>(call: &'a AggregateCall, session: &'a Session<'a>) -> CallContext<'a> {
    let ret_type = if call.call.ret.is_valid() { call.call.ret } else { oid::UNKNOWN };
    CallContext { session, arg_types: &call.call.arg_types, ret_type, func_variadic: false }
}
