//! Queries of WITH: run once, read by whoever names them, only as far as someone reads.
//!
//! C counterpart: nodeCtescan.c, nodeRecursiveunion.c.

use std::rc::Rc;

use elog::Result;

use super::query::QueryState;
use super::rowset::RowSet;
use super::{Cx, Row};

/// A query of WITH under way.
#[derive(Default)]
pub(super) struct CteState {
    query: Option<Box<QueryState>>,
    rows: Vec<Row>,
    finished: bool,
    recursion: Recursion,
}

/// What only a recursive one needs.
#[derive(Default)]
struct Recursion {
    /// What the query sees of itself: the rows of the round before.
    working: Rc<Vec<Row>>,
    /// The rows of this round.
    next: Vec<Row>,
    seen: RowSet,
}

impl Cx<'_> {
    /// Row `index` of a CTE, which is run that far.
    pub(super) fn cte_row(&mut self, id: usize, index: usize) -> Result<Option<Row>> {
        while self.shared.ctes[id].rows.len() <= index {
            self.check_interrupts()?;
            if self.shared.ctes[id].finished {
                return Ok(None);
            }
            self.advance_cte(id)?;
        }
        Ok(Some(self.shared.ctes[id].rows[index].clone()))
    }

    /// Row `index` of the round before.
    pub(super) fn working_row(&mut self, id: usize, index: usize) -> Option<Row> {
        self.shared.ctes[id].recursion.working.get(index).cloned()
    }

    /// Runs the changes in WITH that nobody read to the end. C: `ExecPostprocessPlan`.
    pub(super) fn finish_modifying_ctes(&mut self) -> Result<()> {
        let plan = self.shared.plan.clone();
        for (id, _) in plan.ctes.iter().enumerate().filter(|(_, cte)| cte.modifies) {
            while !self.shared.ctes[id].finished {
                self.check_interrupts()?;
                self.advance_cte(id)?;
            }
        }
        Ok(())
    }

    fn advance_cte(&mut self, id: usize) -> Result<()> {
        let plan = self.shared.plan.clone();
        let cte = &plan.ctes[id];
        let mut query = match self.shared.ctes[id].query.take() {
            Some(query) => query,
            None => Box::new(QueryState::new(&cte.query)),
        };
        let row = query.next(self)?;
        let state = &mut self.shared.ctes[id];
        match (row, &cte.recursive) {
            (Some(row), None) => state.rows.push(row),
            (Some(row), Some((_, all))) => {
                if *all || state.recursion.seen.insert(&cte.keys, &row)? {
                    state.recursion.next.push(row.clone());
                    state.rows.push(row);
                }
            }
            (None, Some((again, _))) if !state.recursion.next.is_empty() => {
                state.recursion.working = Rc::new(std::mem::take(&mut state.recursion.next));
                *query = QueryState::new(again);
            }
            (None, _) => state.finished = true,
        }
        state.query = Some(query);
        Ok(())
    }
}
