//! Joins, by nested loops.
//!
//! C counterpart: nodeNestloop.c, nodeMaterial.c.

use std::ops::Range;
use std::rc::Rc;

use elog::Result;
use parser::ast::JoinKind;
use types::Datum;

use super::from::FromState;
use super::{Cx, Row};
use crate::query::Join;

/// A join under way.
pub(super) struct JoinState {
    join: Rc<Join>,
    depth: usize,
    left: FromState,
    right: Inner,
    phase: Phase,
    /// The left row has found a partner.
    matched: bool,
    /// Right rows that have found one, for RIGHT and FULL.
    right_matched: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    NeedLeft,
    Scanning,
    /// All left rows are done; right rows without a partner follow.
    Unmatched,
    Finished,
}

/// The right side. Its rows are kept as they come, so that the next left row sees the same ones; unless they
/// depend on the left row.
struct Inner {
    state: FromState,
    join: Rc<Join>,
    lateral: bool,
    kept: Vec<Row>,
    complete: bool,
    at: usize,
}

impl Inner {
    /// Brings the next row into the frame and tells its index.
    fn next(&mut self, depth: usize, cx: &mut Cx<'_>) -> Result<Option<usize>> {
        let index = self.at;
        if let Some(row) = self.kept.get(index) {
            cx.restore_slots(depth, &self.join.right_needed, row);
        } else if self.complete || !self.state.next(cx)? {
            self.complete = !self.lateral;
            return Ok(None);
        } else if !self.lateral {
            self.kept.push(cx.slots(depth, &self.join.right_needed));
        }
        self.at += 1;
        Ok(Some(index))
    }

    fn rewind(&mut self) {
        self.at = 0;
        if self.lateral {
            self.state.rescan();
        }
    }
}

impl JoinState {
    pub(super) fn new(join: &Rc<Join>, depth: usize) -> JoinState {
        let right = Inner {
            state: FromState::new(&join.right, depth),
            join: join.clone(),
            lateral: join.lateral,
            kept: Vec::new(),
            complete: false,
            at: 0,
        };
        JoinState {
            left: FromState::new(&join.left, depth),
            right,
            join: join.clone(),
            depth,
            phase: Phase::NeedLeft,
            matched: false,
            right_matched: Vec::new(),
        }
    }

    pub(super) fn rescan(&mut self) {
        self.left.rescan();
        // Its own left side may be what the right side depends on, or some item further left.
        self.right.state.rescan();
        self.right.kept.clear();
        self.right.complete = false;
        self.right.at = 0;
        self.right_matched.clear();
        self.phase = Phase::NeedLeft;
    }

    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        let keeps_left = matches!(self.join.kind, JoinKind::Left | JoinKind::Full);
        let keeps_right = matches!(self.join.kind, JoinKind::Right | JoinKind::Full);
        loop {
            cx.check_interrupts()?;
            match self.phase {
                Phase::NeedLeft => {
                    if self.left.next(cx)? {
                        self.matched = false;
                        self.right.rewind();
                        self.phase = Phase::Scanning;
                    } else if keeps_right {
                        self.right.rewind();
                        self.phase = Phase::Unmatched;
                        self.fill(self.join.left_slots.clone(), cx);
                    } else {
                        self.phase = Phase::Finished;
                    }
                }
                Phase::Scanning => match self.right.next(self.depth, cx)? {
                    Some(index) => {
                        if self.right_matched.len() <= index && keeps_right {
                            self.right_matched.resize(index + 1, false);
                        }
                        if self.holds(cx)? {
                            self.matched = true;
                            if keeps_right {
                                self.right_matched[index] = true;
                            }
                            return Ok(true);
                        }
                    }
                    None => {
                        self.phase = Phase::NeedLeft;
                        if keeps_left && !self.matched {
                            self.fill(self.join.right_slots.clone(), cx);
                            return Ok(true);
                        }
                    }
                },
                Phase::Unmatched => match self.right.next(self.depth, cx)? {
                    Some(index) => {
                        if !self.right_matched.get(index).copied().unwrap_or(false) {
                            return Ok(true);
                        }
                    }
                    None => self.phase = Phase::Finished,
                },
                Phase::Finished => return Ok(false),
            }
        }
    }

    fn holds(&self, cx: &mut Cx<'_>) -> Result<bool> {
        match &self.join.on {
            Some(on) => cx.is_true(on),
            None => Ok(true),
        }
    }

    /// NULLs for a side without a partner.
    fn fill(&self, slots: Range<usize>, cx: &mut Cx<'_>) {
        let nulls = std::iter::repeat_n(Datum::Null, slots.len());
        cx.set_row(self.depth, slots.start, nulls);
    }
}
