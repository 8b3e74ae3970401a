//! One query: DISTINCT, ORDER BY, OFFSET, LIMIT around its rows.
//!
//! C counterpart: nodeSort.c, nodeUnique.c, nodeLimit.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use types::Datum;

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
}

impl QueryState {
    pub(super) fn new(query: &Rc<Query>) -> QueryState {
        let body = match &query.body {
            Body::Select(select) => BodyState::Select(Box::new(SelectState::new(select, query.depth))),
            Body::Values(_) => BodyState::Values(0),
            Body::SetOp(set) => BodyState::SetOp(Box::new(SetOpState::new(set))),
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

    /// The next row, its hidden columns cut off. Lends its frame to the statement meanwhile.
    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        let depth = self.query.depth;
        if cx.shared.frames.len() <= depth {
            cx.shared.frames.resize_with(depth + 1, Vec::new);
        }
        std::mem::swap(&mut cx.shared.frames[depth], &mut self.frame);
        let row = self.next_in_frame(cx);
        std::mem::swap(&mut cx.shared.frames[depth], &mut self.frame);
        row
    }

    fn next_in_frame(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        if !self.started {
            self.start(cx)?;
        }
        loop {
            cx.check_interrupts()?;
            if self.left.is_some_and(|left| left <= 0) && !self.query.with_ties {
                return Ok(None);
            }
            let Some(mut row) = self.next_sorted(cx)? else { return Ok(None) };
            if let (Some(keys), Some(seen)) = (&self.query.distinct, &mut self.seen)
                && !seen.insert(keys, &row)?
            {
                continue;
            }
            if self.to_skip > 0 {
                self.to_skip -= 1;
                continue;
            }
            if let Some(left) = self.left {
                if left <= 0 && !self.ties_with_last(&row)? {
                    return Ok(None);
                }
                self.left = Some(left.saturating_sub(1));
                if self.query.with_ties {
                    self.last = Some(row.clone());
                }
            }
            row.truncate(self.query.columns.len());
            return Ok(Some(row));
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

    fn next_sorted(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        if self.query.order.is_empty() {
            return self.next_unsorted(cx);
        }
        if self.sorted.is_none() {
            let mut rows = Vec::new();
            while let Some(row) = self.next_unsorted(cx)? {
                cx.check_interrupts()?;
                rows.push(row);
            }
            sort_rows(&self.query.order, &mut rows, cx)?;
            self.sorted = Some(rows.into_iter());
        }
        Ok(self.sorted.as_mut().and_then(Iterator::next))
    }

    fn next_unsorted(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        match (&mut self.body, &self.query.body) {
            (BodyState::Select(state), _) => state.next(cx),
            (BodyState::SetOp(state), _) => state.next(cx),
            (BodyState::Values(at), Body::Values(rows)) => {
                let Some(row) = rows.get(*at) else { return Ok(None) };
                *at += 1;
                row.iter().map(|expr| cx.eval(expr)).collect::<Result<Row>>().map(Some)
            }
            (BodyState::Values(_), _) => Ok(None),
        }
    }
}

fn row_count(expr: &Expr, cx: &mut Cx<'_>) -> Result<Option<i64>> {
    Ok(cx.eval(expr)?.as_i64())
}
