//! FOR UPDATE and its kin: which rows they lock, and where they may not stand.
//!
//! C counterpart: `transformLockingClause`, `CheckSelectLocking`, `isLockedRefname` of analyze.c.

use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use parser::ast::{LockStrength, LockingClause, SelectBody, SelectStmt};

use super::Analyzer;
use super::scope::ItemKind;
use crate::expr::{Expr, Node};
use crate::query::{From, RowLock, Select};

/// The command as messages name it. C: `CreateCommandTag` of a plan with row marks.
pub(super) fn locking_command(strength: LockStrength) -> &'static str {
    match strength {
        LockStrength::ForKeyShare => "SELECT FOR KEY SHARE",
        LockStrength::ForShare => "SELECT FOR SHARE",
        LockStrength::ForNoKeyUpdate => "SELECT FOR NO KEY UPDATE",
        LockStrength::ForUpdate => "SELECT FOR UPDATE",
    }
}

fn not_allowed(clause: &LockingClause, with: &str) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{} is not allowed with {with}", clause.strength.words())
}

impl Analyzer<'_> {
    /// Whether a clause of the query asks for locks on the FROM item of this name.
    pub(super) fn is_locked_name(&mut self, name: &str) -> bool {
        self.scope().locking.iter().any(|c| names(c, name))
    }

    /// A subquery in FROM with the locks that the query around it asks for. C: the recursion of
    /// `transformLockingClause`.
    pub(super) fn with_outer_locks(&mut self, stmt: &SelectStmt, alias: &str) -> Option<SelectStmt> {
        let wanted: Vec<LockingClause> =
            self.scope().locking.iter().filter(|c| names(c, alias)).cloned().collect();
        if wanted.is_empty() {
            return None;
        }
        let mut locked = stmt.clone();
        locked.locking.extend(wanted.into_iter().map(|c| LockingClause { of: Vec::new(), ..c }));
        Some(locked)
    }

    /// C: `CheckSelectLocking`, for what does not have rows of tables in it.
    pub(super) fn check_locking_body(&self, stmt: &SelectStmt) -> Result<()> {
        let Some(clause) = stmt.locking.first() else { return Ok(()) };
        match &stmt.body {
            SelectBody::SetOperation { .. } => Err(not_allowed(clause, "UNION/INTERSECT/EXCEPT")),
            SelectBody::Values(_) => Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "{} cannot be applied to VALUES",
                clause.strength.words()
            )),
            SelectBody::Simple(simple) if simple.distinct.is_some() => {
                Err(not_allowed(clause, "DISTINCT clause"))
            }
            SelectBody::Simple(simple) if !simple.group_by.is_empty() => {
                Err(not_allowed(clause, "GROUP BY clause"))
            }
            SelectBody::Simple(simple) if simple.having.is_some() => {
                Err(not_allowed(clause, "HAVING clause"))
            }
            SelectBody::Simple(_) => Ok(()),
        }
    }

    /// The locks that the clauses ask for; marks the scans whose rows get them. C: `transformLockingClause`.
    pub(super) fn row_locks(&mut self, stmt: &SelectStmt, select: &mut Select) -> Result<Vec<RowLock>> {
        let mut locks: Vec<RowLock> = Vec::new();
        for clause in &stmt.locking {
            if select.aggregate.is_some() {
                return Err(not_allowed(clause, "aggregate functions"));
            }
            if !select.set_levels.is_empty() {
                return Err(not_allowed(clause, "set-returning functions in the target list"));
            }
            self.row_lock = self.row_lock.max(Some(clause.strength));
            if clause.of.is_empty() {
                let kinds: Vec<ItemKind> = self.scope().items.iter().map(|i| i.kind.clone()).collect();
                for kind in kinds {
                    self.lock_item(clause, kind, false, &mut locks)?;
                }
            }
            for name in &clause.of {
                let [alias] = name.name.as_slice() else {
                    let message =
                        format!("{} must specify unqualified relation names", clause.strength.words());
                    return Err(self.error(SqlState::SYNTAX_ERROR, name.loc, message));
                };
                let found = self.scope().items.iter().find(|i| i.named && i.alias == *alias);
                let Some(kind) = found.map(|i| i.kind.clone()) else {
                    let message = format!(
                        "relation \"{alias}\" in {} clause not found in FROM clause",
                        clause.strength.words()
                    );
                    return Err(self.error(SqlState::UNDEFINED_TABLE, name.loc, message));
                };
                let by_planner = matches!(kind, ItemKind::Table { .. });
                self.lock_item(clause, kind, true, &mut locks)
                    .map_err(|e| if by_planner { e } else { self.at(e, name.loc) })?;
            }
        }
        if let Some(from) = &mut select.from {
            for lock in &locks {
                mark_target(from, lock.base);
            }
        }
        Ok(locks)
    }

    fn lock_item(
        &self,
        clause: &LockingClause,
        kind: ItemKind,
        by_name: bool,
        locks: &mut Vec<RowLock>,
    ) -> Result<()> {
        let refuse = |what: &str| {
            error!(SqlState::FEATURE_NOT_SUPPORTED, "{} cannot be applied to {what}", clause.strength.words())
        };
        match kind {
            ItemKind::Table { nullable: true, .. } => Err(refuse("the nullable side of an outer join")),
            ItemKind::Table { table, base, .. } => {
                // Several clauses about one table: the strongest lock, the least patience.
                match locks.iter_mut().find(|l| l.base == base) {
                    Some(lock) => {
                        lock.strength = lock.strength.max(clause.strength);
                        lock.wait = lock.wait.max(clause.wait);
                    }
                    None => locks.push(RowLock { table, base, strength: clause.strength, wait: clause.wait }),
                }
                Ok(())
            }
            ItemKind::Other(what) if by_name => Err(refuse(what)),
            ItemKind::Other(_) | ItemKind::Virtual | ItemKind::Subquery => Ok(()),
        }
    }
}

fn names(clause: &LockingClause, alias: &str) -> bool {
    clause.of.is_empty() || clause.of.iter().any(|name| matches!(name.name.as_slice(), [one] if one == alias))
}

/// Makes the scan with this first slot bring row addresses.
fn mark_target(from: &mut From, base: usize) {
    match from {
        From::Table(scan) if scan.base == base => Rc::make_mut(scan).is_target = true,
        From::Join(join) => {
            let join = Rc::make_mut(join);
            mark_target(&mut join.left, base);
            mark_target(&mut join.right, base);
        }
        _ => {}
    }
}

/// Everything that a row of this FROM and WHERE has to meet, apart from the conditions of outer joins.
pub(super) fn all_conditions(from: Option<&From>, filter: Option<&Expr>) -> Option<Expr> {
    let mut list = Vec::new();
    if let Some(from) = from {
        inner_conditions(from, &mut list);
    }
    list.extend(filter.cloned());
    if list.len() > 1 {
        return Some(Expr::new(types::oid::BOOL, 0, Node::And(list)));
    }
    list.pop()
}

fn inner_conditions(from: &From, list: &mut Vec<Expr>) {
    let From::Join(join) = from else { return };
    if join.kind == parser::ast::JoinKind::Inner {
        inner_conditions(&join.left, list);
        inner_conditions(&join.right, list);
        list.extend(join.on.clone());
    }
}
