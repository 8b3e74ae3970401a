//! Queries in expressions.
//!
//! C counterpart: nodeSubplan.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use types::{Datum, RecordValue};

use super::query::QueryState;
use super::{Cx, Row};
use crate::expr::{Expr, SublinkKind};

/// What is kept of a query that needs to run only once.
#[derive(Default)]
pub(super) struct SubState {
    value: Option<Datum>,
    rows: Option<Rc<Vec<Row>>>,
}

impl Cx<'_> {
    pub(super) fn sublink(&mut self, plan: usize, kind: &SublinkKind) -> Result<Datum> {
        if let SublinkKind::Quantified { all, depth, slot, condition } = kind {
            return self.quantified(plan, *all, *depth, *slot, condition);
        }
        if let Some(value) = &self.shared.subplans[plan].value {
            return Ok(value.clone());
        }
        let data = self.shared.plan.clone();
        let sub = &data.subplans[plan];
        let mut state = QueryState::new(&sub.query);
        let first = state.next(self)?;
        let value = match kind {
            SublinkKind::Exists => Datum::Bool(first.is_some()),
            SublinkKind::Array { elem } => {
                let mut values = Vec::new();
                let mut row = first;
                while let Some(found) = row {
                    values.extend(found.into_iter().next());
                    row = state.next(self)?;
                }
                Datum::array(*elem, values)
            }
            _ => match first {
                None => Datum::Null,
                Some(mut row) => {
                    if state.next(self)?.is_some() {
                        return Err(error!(
                            SqlState::CARDINALITY_VIOLATION,
                            "more than one row returned by a subquery used as an expression"
                        ));
                    }
                    if matches!(kind, SublinkKind::Record) {
                        let types = sub.query.columns.iter().map(|c| c.ty).collect();
                        Datum::Record(Rc::new(RecordValue { types, names: Vec::new(), values: row }))
                    } else {
                        row.drain(..).next().unwrap_or_default()
                    }
                }
            },
        };
        if !sub.correlated {
            self.shared.subplans[plan].value = Some(value.clone());
        }
        Ok(value)
    }

    /// ANY and ALL, with NULL where the answer hangs on one.
    fn quantified(
        &mut self,
        plan: usize,
        all: bool,
        depth: usize,
        slot: usize,
        condition: &Expr,
    ) -> Result<Datum> {
        let data = self.shared.plan.clone();
        let sub = &data.subplans[plan];
        let kept = self.shared.subplans[plan].rows.clone();
        let mut live = kept.is_none().then(|| QueryState::new(&sub.query));
        let mut fresh = Vec::new();
        let mut unknown = false;
        let mut decided = None;
        let mut at = 0;
        loop {
            let row = match (&kept, &mut live) {
                (Some(rows), _) => rows.get(at).cloned(),
                (None, Some(state)) => state.next(self)?,
                (None, None) => None,
            };
            at += 1;
            let Some(row) = row else { break };
            if decided.is_none() {
                self.set_row(depth, slot, row.iter().cloned());
                match self.eval(condition)?.as_bool() {
                    None => unknown = true,
                    Some(holds) if holds != all => decided = Some(holds),
                    Some(_) => {}
                }
            }
            if kept.is_none() && !sub.correlated {
                fresh.push(row);
            } else if decided.is_some() {
                break;
            }
        }
        if kept.is_none() && !sub.correlated {
            self.shared.subplans[plan].rows = Some(Rc::new(fresh));
        }
        Ok(match decided {
            Some(holds) => Datum::Bool(holds),
            None if unknown => Datum::Null,
            None => Datum::Bool(all),
        })
    }
}
