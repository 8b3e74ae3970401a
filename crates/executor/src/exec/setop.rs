//! UNION, INTERSECT, EXCEPT.
//!
//! C counterpart: nodeAppend.c, nodeSetOp.c (hashed).

use std::rc::Rc;

use elog::Result;
use parser::ast::SetOp;

use super::query::QueryState;
use super::rowset::RowSet;
use super::{Cx, Row};
use crate::query::SetOperation;

/// A set operation under way.
pub(super) struct SetOpState {
    set: Rc<SetOperation>,
    left: QueryState,
    right: QueryState,
    left_done: bool,
    /// Rows returned, where each may come only once.
    returned: RowSet,
    /// Rows of the right side with how often they came, for INTERSECT and EXCEPT.
    right_rows: Option<RowSet>,
}

impl SetOpState {
    pub(super) fn new(set: &Rc<SetOperation>) -> SetOpState {
        SetOpState {
            left: QueryState::new(&Rc::new(set.left.clone())),
            right: QueryState::new(&Rc::new(set.right.clone())),
            set: set.clone(),
            left_done: false,
            returned: RowSet::default(),
            right_rows: None,
        }
    }

    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        match self.set.op {
            SetOp::Union => self.next_of_union(cx),
            SetOp::Intersect | SetOp::Except => self.next_compared(cx),
        }
    }

    fn next_of_union(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        loop {
            cx.check_interrupts()?;
            let row = if self.left_done { None } else { self.left.next(cx)? };
            let row = match row {
                Some(row) => row,
                None => {
                    self.left_done = true;
                    match self.right.next(cx)? {
                        Some(row) => row,
                        None => return Ok(None),
                    }
                }
            };
            if self.set.all || self.returned.insert(&self.set.keys, &row)? {
                return Ok(Some(row));
            }
        }
    }

    fn next_compared(&mut self, cx: &mut Cx<'_>) -> Result<Option<Row>> {
        let set = self.set.clone();
        let mut right_rows = match self.right_rows.take() {
            Some(rows) => rows,
            None => {
                let mut rows = RowSet::default();
                while let Some(row) = self.right.next(cx)? {
                    cx.check_interrupts()?;
                    let (index, _) = rows.entry(&set.keys, &row)?;
                    *rows.count(index) += 1;
                }
                rows
            }
        };
        let mut found = None;
        while let Some(row) = self.left.next(cx)? {
            cx.check_interrupts()?;
            let in_right = match right_rows.find(&set.keys, &row)? {
                Some(index) if *right_rows.count(index) > 0 => {
                    // With ALL each row of the right side is good for one of the left.
                    *right_rows.count(index) -= usize::from(set.all);
                    true
                }
                _ => false,
            };
            let wanted = in_right == (set.op == SetOp::Intersect);
            if wanted && (set.all || self.returned.insert(&set.keys, &row)?) {
                found = Some(row);
                break;
            }
        }
        self.right_rows = Some(right_rows);
        Ok(found)
    }
}
