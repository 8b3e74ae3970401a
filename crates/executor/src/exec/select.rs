//! SELECT: rows from FROM, filtered, grouped, and made into output rows.
//!
//! C counterpart: nodeResult.c, nodeProjectSet.c, execScan.c.

use std::rc::Rc;

use elog::Result;
use types::{Datum, RecordValue, oid};

use super::agg::AggregateState;
use super::from::FromState;
use super::series::SetRows;
use super::{Cx, Row};
use crate::query::{Select, SetCall};

/// A SELECT under way.
pub(super) struct SelectState {
    select: Rc<Select>,
    depth: usize,
    from: Option<FromState>,
    /// The one row of a SELECT without FROM has been used.
    finished: bool,
    aggregate: Option<AggregateState>,
    /// Iterators of the set-returning functions, level by level; empty before the first row.
    sets: Vec<Vec<Option<SetRows>>>,
}

impl SelectState {
    pub(super) fn new(select: &Rc<Select>, depth: usize) -> SelectState {
        SelectState {
            from: select.from.as_ref().map(|from| FromState::new(from, depth)),
            aggregate: select.aggregate.as_ref().map(|_| AggregateState::default()),
            select: select.clone(),
            depth,
            finished: false,
            sets: Vec::new(),
        }
    }

    /// The next row in place of what `row` holds; false at the end.
    pub(super) fn next_into(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        let found = match self.select.set_levels.is_empty() {
            true => self.next_group(cx)?,
            false => self.next_set_row(cx)?,
        };
        if found {
            self.project(cx, row)?;
        }
        Ok(found)
    }

    /// The output row for what is in the frame. C: `ExecProject`.
    pub(super) fn project(&self, cx: &mut Cx<'_>, row: &mut Row) -> Result<()> {
        row.clear();
        for target in &self.select.targets {
            row.push(cx.eval(target)?);
        }
        Ok(())
    }

    /// Brings the next input row that passes WHERE into the frame.
    pub(super) fn next_input(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        loop {
            let found = match &mut self.from {
                Some(from) => from.next(cx)?,
                None => !std::mem::replace(&mut self.finished, true),
            };
            if !found {
                return Ok(false);
            }
            match &self.select.filter {
                Some(filter) if !cx.is_true(filter)? => cx.check_interrupts()?,
                _ => return Ok(true),
            }
        }
    }

    /// Brings the next row, or group of rows that passes HAVING, into the frame.
    fn next_group(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        let Some(mut state) = self.aggregate.take() else { return self.next_input(cx) };
        let found = self.next_group_of(&mut state, cx);
        self.aggregate = Some(state);
        found
    }

    fn next_group_of(&mut self, state: &mut AggregateState, cx: &mut Cx<'_>) -> Result<bool> {
        let select = self.select.clone();
        let Some(aggregate) = &select.aggregate else { return Ok(false) };
        if !state.is_filled() {
            state.begin(aggregate);
            while self.next_input(cx)? {
                cx.check_interrupts()?;
                state.add(aggregate, cx)?;
            }
            state.finish_input();
        }
        loop {
            cx.check_interrupts()?;
            if !state.next_group(aggregate, self.depth, cx)? {
                return Ok(false);
            }
            match &select.having {
                Some(having) if !cx.is_true(having)? => {}
                _ => return Ok(true),
            }
        }
    }

    // --- set-returning functions ---

    /// Brings the next values of all set-returning functions into the frame. C: `ExecProjectSRF`.
    fn next_set_row(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        loop {
            cx.check_interrupts()?;
            // Find the innermost level that has another row, then start those above it anew.
            let mut level = self.sets.len();
            while level > 0 && !self.advance(level - 1, cx)? {
                level -= 1;
                self.sets.truncate(level);
            }
            if level == 0 && !self.next_group(cx)? {
                return Ok(false);
            }
            if self.open_levels(level, cx)? {
                return Ok(true);
            }
        }
    }

    /// Opens all levels from this one on; false if one of them has no rows at all.
    fn open_levels(&mut self, first: usize, cx: &mut Cx<'_>) -> Result<bool> {
        let select = self.select.clone();
        for level in first..select.set_levels.len() {
            let mut iterators = Vec::new();
            for set in &select.set_levels[level] {
                let args: Result<Row> = set.args.iter().map(|arg| cx.eval(arg)).collect();
                iterators.push(Some(SetRows::open(&set.call, &args?, cx)?));
            }
            self.sets.push(iterators);
            if !self.advance(level, cx)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes one row from each function of a level; false once all are at their end.
    fn advance(&mut self, level: usize, cx: &mut Cx<'_>) -> Result<bool> {
        let mut any = false;
        for (set, iterator) in self.select.set_levels[level].iter().zip(&mut self.sets[level]) {
            let value = match iterator {
                Some(rows) if set.as_record => rows.next_row()?.map(|row| record(set, row)),
                Some(rows) => rows.next_value()?,
                None => None,
            };
            any |= value.is_some();
            if value.is_none() {
                *iterator = None;
            }
            cx.set(self.depth, set.slot, value.unwrap_or_default());
        }
        Ok(any)
    }
}

fn record(set: &SetCall, row: Row) -> Datum {
    let columns = set.call.function().map_or(&[][..], |f| f.columns);
    let mut types: Vec<_> = columns.iter().map(|(_, ty)| *ty).collect();
    types.resize(row.len(), oid::UNKNOWN);
    let names = columns.iter().map(|(name, _)| (*name).into()).collect();
    Datum::Record(Rc::new(RecordValue { types, names, values: row }))
}
