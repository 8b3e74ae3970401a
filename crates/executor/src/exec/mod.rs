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
mod hashjoin;
mod join;
mod lockrows;
mod modify;
mod query;
mod rowset;
mod scan;
mod select;
mod series;
mod setop;
mod standalone;
mod sublink;

pub(crate) use modify::{check_not_null, check_violated};
pub(crate) use standalone::Standalone;

use std::rc::Rc;

use common::Oid;
use elog::Result;
use parser::ast::TableLockMode;
use types::Datum;
use types::fmgr::Session;

use crate::optimize;
use crate::query::{Analyzed, Body, Column, Cte, Query, SubPlan};
use crate::table::TableInfo;
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
    pub(crate) tables: Vec<(Rc<TableInfo>, TableLockMode)>,
    pub(crate) command: &'static str,
    pub(crate) modifies: bool,
}

/// Makes a plan. Nothing is weighed yet: see `optimize.rs`. C: `pg_plan_query`.
pub fn plan(mut analyzed: Analyzed) -> Plan {
    optimize::prepare(&mut analyzed);
    let Analyzed { query, ctes, subplans, param_types, tables, command, modifies } = analyzed;
    Plan(Rc::new(PlanData { query: Rc::new(query), ctes, subplans, param_types, tables, command, modifies }))
}

impl Plan {
    /// The columns of the result.
    pub fn columns(&self) -> &[Column] {
        &self.0.query.columns
    }

    /// The table and column that each column of the result comes from; invalid and 0 for what is computed.
    pub fn origins(&self) -> Vec<(Oid, i16)> {
        crate::origin::origins(&self.0.query)
    }

    /// Types of the parameters.
    pub fn param_types(&self) -> &[Oid] {
        &self.0.param_types
    }

    /// The command as messages name it: `SELECT`, `SELECT FOR UPDATE`, `INSERT`, `UPDATE`, `DELETE`.
    pub fn command(&self) -> &'static str {
        self.0.command
    }

    /// Rows are changed, at any level: a run must go to its end, and cannot be a cursor's. C: `hasModifyingCTE`,
    /// `commandType`.
    pub fn modifies(&self) -> bool {
        self.0.modifies
    }

    /// Its tables in the order in which they were looked up, with the strongest lock each needs. C: `rtable`.
    pub fn tables(&self) -> impl Iterator<Item = (Oid, TableLockMode)> + '_ {
        self.0.tables.iter().map(|(table, mode)| (table.oid, *mode))
    }

    /// Takes the locks that a run needs, and tells whether the plan is still right. Needed before each run of a plan that
    /// was kept since an earlier command: false means to analyze the statement anew.
    /// C: `AcquireExecutorLocks`, `RevalidateCachedQuery`.
    ///
    /// # Errors
    /// Deadlock, timeout, cancel.
    pub fn revalidate(&self) -> Result<bool> {
        if self.is_stale() {
            return Ok(false);
        }
        for (table, mode) in &self.0.tables {
            table.am.lock_table(*mode)?;
        }
        Ok(!self.is_stale())
    }

    /// Whether catalogs have changed since a table of the plan was looked up. C: `plan->is_valid`.
    pub fn is_stale(&self) -> bool {
        self.0.tables.iter().any(|(table, _)| table.generation != table.am.generation())
    }

    pub(crate) fn data(&self) -> &PlanData {
        &self.0
    }

    /// Begins a run. The parameters have the plan's types. C: `ExecutorStart`.
    pub fn start(&self, params: Vec<Datum>) -> Execution {
        Execution {
            root: QueryState::new(&self.0.query),
            shared: Shared::new(&self.0, params),
            rows: 0,
            started: false,
            finished: false,
            kept: None,
        }
    }
}

/// A statement under way. It may rest between any two rows, as a portal does. C: `QueryDesc`.
pub struct Execution {
    shared: Shared,
    root: QueryState,
    rows: u64,
    started: bool,
    finished: bool,
    /// Rows of a statement that changes data, which is run to its end at once. C: `PORTAL_ONE_RETURNING`.
    kept: Option<std::vec::IntoIter<Row>>,
}

impl Execution {
    /// The next row, or `None` when there are no more. Notices a cancel at each row. C: `ExecutorRun`.
    ///
    /// # Errors
    /// Whatever goes wrong in the statement; it cannot go on then.
    pub fn next(&mut self, session: &Session<'_>) -> Result<Option<Row>> {
        let mut row = Row::new();
        Ok(self.next_into(session, &mut row)?.then_some(row))
    }

    /// [`Execution::next`] into a buffer that is used again and again. False when there are no more rows.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub fn next_into(&mut self, session: &Session<'_>, row: &mut Row) -> Result<bool> {
        if !self.started {
            self.started = true;
            self.check_read_only()?;
            if self.shared.plan.modifies && !self.shared.plan.query.columns.is_empty() {
                self.keep_all(session)?;
            }
        }
        let found = match &mut self.kept {
            Some(kept) => match kept.next() {
                Some(next) => {
                    *row = next;
                    true
                }
                None => false,
            },
            None => self.advance(session, row)?,
        };
        self.rows += u64::from(found);
        Ok(found)
    }

    fn advance(&mut self, session: &Session<'_>, row: &mut Row) -> Result<bool> {
        let mut cx = Cx { session, shared: &mut self.shared };
        if self.root.next_into(&mut cx, row)? {
            return Ok(true);
        }
        if !std::mem::replace(&mut self.finished, true) {
            cx.finish_modifying_ctes()?;
        }
        Ok(false)
    }

    /// Runs the statement to its end, as its effects must not depend on how many rows someone fetches.
    fn keep_all(&mut self, session: &Session<'_>) -> Result<()> {
        let mut rows = Vec::new();
        let mut row = Row::new();
        while self.advance(session, &mut row)? {
            rows.push(std::mem::take(&mut row));
        }
        self.kept = Some(rows.into_iter());
        Ok(())
    }

    /// C: `ExecCheckXactReadOnly`.
    fn check_read_only(&self) -> Result<()> {
        let plan = &self.shared.plan;
        for (table, mode) in &plan.tables {
            if *mode as u8 >= TableLockMode::RowShare as u8 && !table.is_temporary {
                table.am.check_writable(plan.command)?;
            }
        }
        Ok(())
    }

    /// Rows returned so far.
    pub fn row_count(&self) -> u64 {
        self.rows
    }

    /// Rows returned, or for INSERT, UPDATE, DELETE changed, so far. C: `es_processed`.
    pub fn processed(&self) -> u64 {
        match self.shared.plan.query.body {
            Body::Modify(_) => self.shared.processed,
            _ => self.rows,
        }
    }

    /// What CommandComplete says: `INSERT 0 1`, `SELECT 3`. C: `SetQueryCompletion`, `BuildQueryCompletionString`.
    pub fn command_tag(&self) -> String {
        let count = self.processed();
        match self.shared.plan.command {
            "INSERT" => format!("INSERT 0 {count}"),
            command @ ("UPDATE" | "DELETE") => format!("{command} {count}"),
            _ => format!("SELECT {count}"),
        }
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
    /// Rows that the outermost command changed.
    processed: u64,
}

impl Shared {
    fn new(plan: &Rc<PlanData>, params: Vec<Datum>) -> Shared {
        Shared {
            ctes: plan.ctes.iter().map(|_| CteState::default()).collect(),
            subplans: plan.subplans.iter().map(|_| SubState::default()).collect(),
            plan: plan.clone(),
            params,
            frames: Vec::new(),
            processed: 0,
        }
    }
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

    /// The values of some slots.
    fn slots(&self, depth: usize, slots: &[usize]) -> Row {
        let frame = &self.shared.frames[depth];
        slots.iter().map(|slot| frame[*slot].clone()).collect()
    }

    /// Brings back what [`Cx::slots`] has taken.
    fn restore_slots(&mut self, depth: usize, slots: &[usize], values: &[Datum]) {
        let frame = &mut self.shared.frames[depth];
        for (slot, value) in slots.iter().zip(values) {
            frame[*slot] = value.clone();
        }
    }
}
