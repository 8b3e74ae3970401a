//! Runs a query: each step is asked for its next row and asks the steps below it in turn.
//!
//! Read in this order: this file (a statement under way), `query` (one query: sorting, limits), `select` (its
//! rows), `from` and `join` (where they come from), `eval` (expressions), `cte`, `subplan`.
//!
//! A query's frame lies in [`Shared::frames`] at the query's depth while the query runs, and with the query
//! while it rests: see `QueryState::next`. So queries of the same depth can take turns.
//!
//! C counterpart: src/backend/executor.

mod agg;
mod array;
mod cte;
mod eval;
mod from;
mod join;
mod query;
mod rowset;
mod select;
mod setop;
mod sublink;

use std::rc::Rc;

use common::Oid;
use elog::Result;
use types::Datum;
use types::fmgr::Session;

use crate::query::{Analyzed, Column, Cte, Query, SubPlan};
use cte::CteState;
use query::QueryState;
use sublink::SubState;

/// A row on its way to the client.
pub type Row = Vec<Datum>;

/// A statement ready to be run, any number of times. C: `PlannedStmt`.
#[derive(Clone, Debug)]
pub struct Plan(Rc<PlanData>);

#[derive(Debug)]
pub(crate) struct PlanData {
    pub(crate) query: Rc<Query>,
    pub(crate) ctes: Vec<Cte>,
    pub(crate) subplans: Vec<SubPlan>,
    pub(crate) param_types: Vec<Oid>,
}

/// Makes a plan. There is only one way to run a query yet, so nothing is weighed. C: `pg_plan_query`.
pub fn plan(analyzed: Analyzed) -> Plan {
    let Analyzed { query, ctes, subplans, param_types } = analyzed;
    Plan(Rc::new(PlanData { query: Rc::new(query), ctes, subplans, param_types }))
}

impl Plan {
    /// The columns of the result.
    pub fn columns(&self) -> &[Column] {
        &self.0.query.columns
    }

    /// Types of the parameters.
    pub fn param_types(&self) -> &[Oid] {
        &self.0.param_types
    }

    pub(crate) fn data(&self) -> &PlanData {
        &self.0
    }

    /// Begins a run. The parameters have the plan's types. C: `ExecutorStart`.
    pub fn start(&self, params: Vec<Datum>) -> Execution {
        let root = QueryState::new(&self.0.query);
        let shared = Shared {
            ctes: self.0.ctes.iter().map(|_| CteState::default()).collect(),
            subplans: self.0.subplans.iter().map(|_| SubState::default()).collect(),
            plan: self.0.clone(),
            params,
            frames: Vec::new(),
        };
        Execution { shared, root, rows: 0 }
    }
}

/// A statement under way. It may rest between any two rows, as a portal does. C: `QueryDesc`.
pub struct Execution {
    shared: Shared,
    root: QueryState,
    rows: u64,
}

impl Execution {
    /// The next row, or `None` when there are no more. Notices a cancel at each row. C: `ExecutorRun`.
    pub fn next(&mut self, session: &Session<'_>) -> Result<Option<Row>> {
        let mut cx = Cx { session, shared: &mut self.shared };
        let row = self.root.next(&mut cx)?;
        self.rows += u64::from(row.is_some());
        Ok(row)
    }

    /// Rows returned so far.
    pub fn row_count(&self) -> u64 {
        self.rows
    }
}

/// What the steps of a statement share.
pub(crate) struct Shared {
    plan: Rc<PlanData>,
    params: Vec<Datum>,
    /// One per depth, outermost query first.
    frames: Vec<Vec<Datum>>,
    ctes: Vec<CteState>,
    subplans: Vec<SubState>,
}

/// What a step is given for its work.
pub(crate) struct Cx<'a> {
    session: &'a Session<'a>,
    shared: &'a mut Shared,
}

impl Cx<'_> {
    fn check_interrupts(&self) -> Result<()> {
        (self.session.check_interrupts)()
    }

    fn set(&mut self, depth: usize, slot: usize, value: Datum) {
        if let Some(cell) = self.shared.frames.get_mut(depth).and_then(|frame| frame.get_mut(slot)) {
            *cell = value;
        }
    }

    /// Writes a row to consecutive slots.
    fn set_row(&mut self, depth: usize, base: usize, row: impl IntoIterator<Item = Datum>) {
        if let Some(cells) = self.shared.frames.get_mut(depth).and_then(|frame| frame.get_mut(base..)) {
            for (cell, value) in cells.iter_mut().zip(row) {
                *cell = value;
            }
        }
    }

    fn slots(&self, depth: usize, slots: std::ops::Range<usize>) -> Vec<Datum> {
        self.shared.frames.get(depth).and_then(|frame| frame.get(slots)).map_or_else(Vec::new, <[_]>::to_vec)
    }
}
