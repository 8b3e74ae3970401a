//! One query: DISTINCT, ORDER BY, OFFSET, LIMIT around its rows.
//!
//! C counterpart: nodeSort.c, nodeUnique.c, nodeLimit.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use types::Datum;

use super::modify::ModifyState;
use super::rowset::{RowSet, compare_rows, sort_rows};
use super::select::SelectState;
use super::setop::SetOpState;
use super::{Cx, Row};
use crate::expr::Expr;
use crate::query::{Body, Query};

/// A query under way.
pub(super) struct QueryState {
    query: Rc<Query>,
    /// Its frame while it rests.
    frame: Vec<Datum>,
    body: BodyState,
    started: bool,
    sorted: Option<std::vec::IntoIter<Row>>,
    seen: Option<RowSet>,
    to_skip: i64,
    left: Option<i64>,
    /// The last row within the limit, to find its ties.
    last: Option<Row>,
}

enum BodyState {
    Select(Box<SelectState>),
    Values(usize),
    SetOp(Box<SetOpState>),
    Modify(Box<ModifyState>),
}

impl QueryState {
    pub(super) fn new(query: &Rc<Query>) -> QueryState {
        let body = match &query.body {
            Body::Select(select) => BodyState::Select(Box::new(SelectState::new(select, query.depth))),
            Body::Values(_) => BodyState::Values(0),
            Body::SetOp(set) => BodyState::SetOp(Box::new(SetOpState::new(set))),
            Body::Modify(modify) => BodyState::Modify(Box::new(ModifyState::new(modify, query.depth))),
        };
        QueryState {
            frame: vec![Datum::Null; query.width],
            query: query.clone(),
            body,
            started: false,
            sorted: None,
            seen: query.distinct.as_ref().map(|_| RowSet::default()),
            to_skip: 0,
            left: None,
            last: None,
        }
    }

    /// [`QueryState::next_into`] with a row of its own.
    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        let mut row = Row::new();
        Ok(self.next_into(cx, &mut row)?.then_some(row))
    }

    /// The next row in place of what `row` holds, hidden columns cut off; false at the end. Lends its frame to the
    /// statement meanwhile.
    pub(super) fn next_into(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        let depth = self.query.depth;
        if cx.shared.frames.len() <= depth {
            cx.shared.frames.resize_with(depth + 1, Vec::new);
        }
        std::mem::swap(&mut cx.shared.frames[depth], &mut self.frame);
        let found = self.next_in_frame(cx, row);
        std::mem::swap(&mut cx.shared.frames[depth], &mut self.frame);
        found
    }

    fn next_in_frame(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        if !self.started {
            self.start(cx)?;
        }
        loop {
            cx.check_interrupts()?;
            if self.left.is_some_and(|left| left <= 0) && !self.query.with_ties {
                return Ok(false);
            }
            if !self.next_sorted(cx, row)? {
                return Ok(false);
            }
            if let (Some(keys), Some(seen)) = (&self.query.distinct, &mut self.seen)
                && !seen.insert(keys, row)?
            {
                continue;
            }
            if !self.query.row_locks.is_empty() && !cx.lock_rows(&self.query, row)? {
                continue;
            }
            if self.to_skip > 0 {
                self.to_skip -= 1;
                continue;
            }
            if let Some(left) = self.left {
                if left <= 0 && !self.ties_with_last(row)? {
                    return Ok(false);
                }
                self.left = Some(left.saturating_sub(1));
                if self.query.with_ties {
                    self.last = Some(row.clone());
                }
            }
            row.truncate(self.query.columns.len());
            return Ok(true);
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        self.started = true;
        for id in self.query.ctes.clone() {
            cx.shared.ctes[id] = super::CteState::default();
        }
        let query = self.query.clone();
        if let Some(offset) = &query.offset {
            let rows = row_count(offset, cx)?.unwrap_or(0);
            if rows < 0 {
                return Err(error!(
                    SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE,
                    "OFFSET must not be negative"
                ));
            }
            self.to_skip = rows;
        }
        if let Some(limit) = &query.limit {
            self.left = row_count(limit, cx)?;
            if self.left.is_some_and(|rows| rows < 0) {
                return Err(error!(
                    SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE,
                    "LIMIT must not be negative"
                ));
            }
        }
        Ok(())
    }

    fn ties_with_last(&self, row: &Row) -> Result<bool> {
        match &self.last {
            Some(last) => Ok(compare_rows(&self.query.order, last, row)?.is_eq()),
            None => Ok(false),
        }
    }

    fn next_sorted(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        if self.query.order.is_empty() {
            return self.next_unsorted(cx, row);
        }
        if self.sorted.is_none() {
            let mut rows = Vec::new();
            while self.next_unsorted(cx, row)? {
                cx.check_interrupts()?;
                rows.push(std::mem::take(row));
            }
            sort_rows(&self.query.order, &mut rows, cx)?;
            self.sorted = Some(rows.into_iter());
        }
        match self.sorted.as_mut().and_then(Iterator::next) {
            Some(next) => {
                *row = next;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn next_unsorted(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        match (&mut self.body, &self.query.body) {
            (BodyState::Select(state), _) => {
                let found = state.next_into(cx, row)?;
                if found && !self.query.row_locks.is_empty() {
                    // The row's whole frame goes along, to be there again when the row is locked.
                    row.extend_from_slice(&cx.shared.frames[self.query.depth][..self.query.lock_width]);
                }
                Ok(found)
            }
            (BodyState::SetOp(state), _) => match state.next(cx)? {
                Some(next) => {
                    *row = next;
                    Ok(true)
                }
                None => Ok(false),
            },
            (BodyState::Modify(state), _) => state.next_into(cx, row),
            (BodyState::Values(at), Body::Values(rows)) => {
                let Some(exprs) = rows.get(*at) else { return Ok(false) };
                *at += 1;
                row.clear();
                for expr in exprs {
                    row.push(cx.eval(expr)?);
                }
                Ok(true)
            }
            (BodyState::Values(_), _) => Ok(false),
        }
    }
}

fn row_count(expr: &Expr, cx: &mut Cx<'_>) -> Result<Option<i64>> {
    Ok(cx.eval(expr)?.as_i64())
}
