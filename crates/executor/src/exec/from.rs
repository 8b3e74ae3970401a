//! The items of FROM: each brings its next row into the frame.
//!
//! C counterpart: nodeFunctionscan.c, nodeSubqueryscan.c, nodeCtescan.c, nodeWorktablescan.c.

use std::rc::Rc;

use elog::Result;
use types::Datum;
use types::fmgr::RowIter;

use super::hashjoin::HashJoinState;
use super::join::JoinState;
use super::query::QueryState;
use super::scan::ScanState;
use super::series::SetRows;
use super::{Cx, Row};
use crate::env::VirtualRelation;
use crate::expr::Expr;
use crate::query::{From, FunctionScan, FunctionSource, Query, ScannedFunction};

/// An item of FROM under way.
pub(super) enum FromState {
    Function(FunctionState),
    Relation { relation: Rc<VirtualRelation>, base: usize, depth: usize, rows: Option<RowIter> },
    Subquery { query: Rc<Query>, base: usize, depth: usize, state: Box<QueryState> },
    Cte { id: usize, working: bool, base: usize, depth: usize, at: usize },
    Table(ScanState),
    Filter { filter: Rc<(From, Expr)>, inner: Box<FromState> },
    Join(Box<JoinState>),
    HashJoin(Box<HashJoinState>),
}

impl FromState {
    pub(super) fn new(from: &From, depth: usize) -> FromState {
        match from {
            From::Function(scan) => {
                FromState::Function(FunctionState { scan: scan.clone(), depth, rows: None, ordinal: 0 })
            }
            From::Relation { base, relation, .. } => {
                FromState::Relation { relation: relation.clone(), base: *base, depth, rows: None }
            }
            From::Subquery { base, query, .. } => FromState::Subquery {
                state: Box::new(QueryState::new(query)),
                query: query.clone(),
                base: *base,
                depth,
            },
            From::Cte { base, id, working, .. } => {
                FromState::Cte { id: *id, working: *working, base: *base, depth, at: 0 }
            }
            From::Table(scan) => FromState::Table(ScanState::new(scan, depth)),
            From::Filter(filter) => FromState::Filter {
                inner: Box::new(FromState::new(&filter.0, depth)),
                filter: filter.clone(),
            },
            From::Join(join) if join.hash.is_empty() => {
                FromState::Join(Box::new(JoinState::new(join, depth)))
            }
            From::Join(join) => FromState::HashJoin(Box::new(HashJoinState::new(join, depth))),
        }
    }

    /// Brings the next row into the frame; false at the end.
    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        cx.check_interrupts()?;
        let (depth, base, row) = match self {
            FromState::Function(state) => return state.next(cx),
            FromState::Join(state) => return state.next(cx),
            FromState::HashJoin(state) => return state.next(cx),
            FromState::Table(state) => return state.next(cx),
            FromState::Filter { filter, inner } => {
                while inner.next(cx)? {
                    if cx.is_true(&filter.1)? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            FromState::Relation { relation, base, depth, rows } => {
                if rows.is_none() {
                    *rows = Some((relation.scan)(cx.session)?);
                }
                (*depth, *base, rows.as_mut().and_then(Iterator::next).transpose()?)
            }
            FromState::Subquery { base, depth, state, .. } => (*depth, *base, state.next(cx)?),
            FromState::Cte { id, working, base, depth, at } => {
                *at += 1;
                let row = if *working { cx.working_row(*id, *at - 1) } else { cx.cte_row(*id, *at - 1)? };
                (*depth, *base, row)
            }
        };
        let Some(row) = row else { return Ok(false) };
        cx.set_row(depth, base, row);
        Ok(true)
    }

    /// Starts over. C: `ExecReScan`.
    pub(super) fn rescan(&mut self) {
        match self {
            FromState::Function(state) => state.rows = None,
            FromState::Relation { rows, .. } => *rows = None,
            FromState::Subquery { query, state, .. } => **state = QueryState::new(query),
            FromState::Cte { at, .. } => *at = 0,
            FromState::Join(state) => state.rescan(),
            FromState::HashJoin(state) => state.rescan(),
            FromState::Table(state) => state.rescan(),
            FromState::Filter { inner, .. } => inner.rescan(),
        }
    }
}

/// Functions side by side, until the longest is at its end.
pub(super) struct FunctionState {
    scan: Rc<FunctionScan>,
    depth: usize,
    rows: Option<Vec<Option<SetRows>>>,
    ordinal: i64,
}

impl FunctionState {
    fn next(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        if self.rows.is_none() {
            let scan = self.scan.clone();
            let opened: Result<Vec<_>> = scan.functions.iter().map(|f| open(f, cx).map(Some)).collect();
            self.rows = Some(opened?);
            self.ordinal = 0;
        }
        let Some(rows) = &mut self.rows else { return Ok(false) };
        let mut slot = self.scan.base;
        let mut any = false;
        for (function, iterator) in self.scan.functions.iter().zip(rows) {
            let found = match iterator {
                Some(rows) if function.width == 1 && !function.expand_record => {
                    let value = rows.next_value()?;
                    let found = value.is_some();
                    cx.set(self.depth, slot, value.unwrap_or_default());
                    found
                }
                _ => {
                    let row = iterator.as_mut().map_or(Ok(None), SetRows::next_row)?;
                    let found = row.is_some();
                    cx.set_row(self.depth, slot, columns_of(function, row));
                    found
                }
            };
            if !found {
                *iterator = None;
            }
            any |= found;
            slot += function.width;
        }
        self.ordinal += 1;
        if self.scan.ordinality {
            cx.set(self.depth, slot, Datum::Int8(self.ordinal));
        }
        Ok(any)
    }
}

fn open(function: &ScannedFunction, cx: &mut Cx<'_>) -> Result<SetRows> {
    match &function.source {
        FunctionSource::Call(call, args) => {
            let args: Result<Row> = args.iter().map(|arg| cx.eval(arg)).collect();
            SetRows::open(call, &args?, cx)
        }
        FunctionSource::Value(value) => {
            let value = cx.eval(value)?;
            Ok(SetRows::once(value))
        }
    }
}

/// A function's row as exactly its columns.
fn columns_of(function: &ScannedFunction, row: Option<Row>) -> Row {
    let mut row = row.unwrap_or_default();
    if function.expand_record
        && let [Datum::Record(record)] = row.as_slice()
    {
        row = record.values.clone();
    }
    row.resize(function.width, Datum::Null);
    row
}
