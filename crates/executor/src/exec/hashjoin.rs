//! Joins by a table of the right side's rows, for conditions that say left = right.
//!
//! The table stays in memory, whatever its size: there are no batches on disk.
//!
//! C counterpart: nodeHashjoin.c, nodeHash.c.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::rc::Rc;

use common::Oid;
use elog::Result;
use parser::ast::JoinKind;
use types::compare::{compare, hash};
use types::{Datum, oid};

use super::from::FromState;
use super::{Cx, Row};
use crate::expr::Expr;
use crate::query::Join;

/// A join under way.
pub(super) struct HashJoinState {
    join: Rc<Join>,
    depth: usize,
    left: FromState,
    right: FromState,
    built: bool,
    /// The right side's rows, as the slots that are needed of them, each with its keys.
    rows: Vec<(Row, Row)>,
    /// By hash, the first row that has it, plus one; from there on `chain` leads to the others.
    heads: HashMap<u64, u32>,
    /// For each row the next one with the same hash, plus one; 0 for none.
    chain: Vec<u32>,
    /// Keys of the left row, in a buffer that stays.
    keys: Row,
    /// The next candidate for the left row, plus one.
    candidate: u32,
    matched: bool,
    /// Right rows that have found a partner, for RIGHT and FULL.
    right_matched: Vec<bool>,
    phase: Phase,
    /// The next right row to be looked at for want of a partner.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    NeedLeft,
    Matching,
    Unmatched,
}

impl HashJoinState {
    pub(super) fn new(join: &Rc<Join>, depth: usize) -> HashJoinState {
        HashJoinState {
            left: FromState::new(&join.left, depth),
            right: FromState::new(&join.right, depth),
            join: join.clone(),
            depth,
            built: false,
            rows: Vec::new(),
            heads: HashMap::new(),
            chain: Vec::new(),
            keys: Row::new(),
            candidate: 0,
            matched: false,
            right_matched: Vec::new(),
            phase: Phase::NeedLeft,
            at: 0,
        }
    }

    pub(super) fn rescan(&mut self) {
        self.left.rescan();
        self.right.rescan();
        self.built = false;
        self.rows.clear();
        self.heads.clear();
        self.chain.clear();
        self.right_matched.clear();
        self.phase = Phase::NeedLeft;
        self.at = 0;
    }

    /// Reads the whole right side. C: `MultiExecHash`.
    fn build(&mut self, cx: &mut Cx<'_>) -> Result<()> {
        let join = self.join.clone();
        let mut hashes = Vec::new();
        while self.right.next(cx)? {
            let mut keys = Row::with_capacity(join.hash.len());
            for key in &join.hash {
                keys.push(key_value(&key.right, key.ty, cx)?);
            }
            hashes.push(hash_of(&join, &keys));
            self.rows.push((cx.slots(self.depth, &join.right_needed), keys));
        }
        // From the last row on, so that chains lead through the rows in their order.
        self.chain = vec![0; hashes.len()];
        for (index, hash) in hashes.into_iter().enumerate().rev() {
            if let Some(hash) = hash {
                self.chain[index] = self.heads.insert(hash, index as u32 + 1).unwrap_or(0);
            }
        }
        if matches!(join.kind, JoinKind::Right | JoinKind::Full) {
            self.right_matched = vec![false; self.rows.len()];
        }
        self.built = true;
        Ok(())
    }

    /// C: `ExecHashJoinImpl`.
    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        if !self.built {
            self.build(cx)?;
        }
        let join = self.join.clone();
        let keeps_left = matches!(join.kind, JoinKind::Left | JoinKind::Full);
        loop {
            cx.check_interrupts()?;
            match self.phase {
                Phase::NeedLeft => {
                    if self.left.next(cx)? {
                        self.find_candidates(&join, cx)?;
                        self.matched = false;
                        self.phase = Phase::Matching;
                    } else {
                        self.fill(join.left_slots.clone(), cx);
                        self.phase = Phase::Unmatched;
                    }
                }
                Phase::Matching => {
                    if self.next_match(&join, cx)? {
                        return Ok(true);
                    }
                    self.phase = Phase::NeedLeft;
                    if keeps_left && !self.matched {
                        self.fill(join.right_slots.clone(), cx);
                        return Ok(true);
                    }
                }
                Phase::Unmatched => {
                    // For INNER and LEFT there is no list, and nothing to do.
                    let Some(matched) = self.right_matched.get(self.at) else { return Ok(false) };
                    self.at += 1;
                    if !matched {
                        self.bring(self.at - 1, &join, cx);
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn find_candidates(&mut self, join: &Join, cx: &mut Cx<'_>) -> Result<()> {
        self.keys.clear();
        for key in &join.hash {
            self.keys.push(key_value(&key.left, key.ty, cx)?);
        }
        self.candidate =
            hash_of(join, &self.keys).and_then(|hash| self.heads.get(&hash).copied()).unwrap_or(0);
        Ok(())
    }

    /// Brings the next partner of the left row into the frame.
    fn next_match(&mut self, join: &Join, cx: &mut Cx<'_>) -> Result<bool> {
        while let Some(index) = self.candidate.checked_sub(1) {
            let index = index as usize;
            self.candidate = self.chain[index];
            let mut equal = true;
            for ((key, a), b) in join.hash.iter().zip(&self.keys).zip(&self.rows[index].1) {
                equal = equal && compare(key.ty, a, b)?.is_eq();
            }
            if !equal {
                continue;
            }
            self.bring(index, join, cx);
            let holds = match &join.on {
                Some(on) => cx.is_true(on)?,
                None => true,
            };
            if holds {
                self.matched = true;
                if let Some(matched) = self.right_matched.get_mut(index) {
                    *matched = true;
                }
                return Ok(true);
            }
            cx.check_interrupts()?;
        }
        Ok(false)
    }

    fn bring(&self, index: usize, join: &Join, cx: &mut Cx<'_>) {
        cx.restore_slots(self.depth, &join.right_needed, &self.rows[index].0);
    }

    /// NULLs for a side without a partner.
    fn fill(&self, slots: Range<usize>, cx: &mut Cx<'_>) {
        let nulls = std::iter::repeat_n(Datum::Null, slots.len());
        cx.set_row(self.depth, slots.start, nulls);
    }
}

/// A key's value in the form that it is compared in.
fn key_value(expr: &Expr, ty: Oid, cx: &mut Cx<'_>) -> Result<Datum> {
    let value = cx.eval(expr)?;
    if ty == oid::INT8
        && let Some(number) = value.as_i64()
    {
        return Ok(Datum::Int8(number));
    }
    Ok(value)
}

/// The hash of all keys; a row with a NULL among them has no partner.
fn hash_of(join: &Join, keys: &[Datum]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    for (key, value) in join.hash.iter().zip(keys) {
        if value.is_null() {
            return None;
        }
        hash(key.ty, value, &mut hasher);
    }
    Some(hasher.finish())
}
