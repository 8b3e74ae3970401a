//! What a session keeps under a name: prepared statements and portals.
//!
//! The unnamed statement and the unnamed portal of the extended protocol are here too, under the empty name.
//! A portal that runs is taken out, so it may close itself or others meanwhile.
//!
//! Invariants:
//! - B4  A portal does not outlive the transaction or savepoint it was made in, unless it is held.
//!
//! C counterpart: utils/mmgr/portalmem.c and the hash table of commands/prepare.c.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};

use crate::portal::{Portal, Prepared};

/// A session's named things.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    statements: RefCell<HashMap<String, Rc<Prepared>>>,
    portals: RefCell<HashMap<String, Portal>>,
}

impl Objects {
    /// Gives a prepared statement its name. C: `StorePreparedStatement`.
    pub(crate) fn store_statement(&self, name: &str, prepared: Prepared) -> Result<()> {
        let mut statements = self.statements.borrow_mut();
        if !name.is_empty() && statements.contains_key(name) {
            return Err(error!(
                SqlState::DUPLICATE_PSTATEMENT,
                "prepared statement \"{name}\" already exists"
            ));
        }
        statements.insert(name.to_owned(), Rc::new(prepared));
        Ok(())
    }

    /// The prepared statement of this name, if there is one.
    pub(crate) fn find_statement(&self, name: &str) -> Option<Rc<Prepared>> {
        self.statements.borrow().get(name).map(Rc::clone)
    }

    /// The prepared statement of this name. C: `FetchPreparedStatement`.
    pub(crate) fn statement(&self, name: &str) -> Result<Rc<Prepared>> {
        self.find_statement(name).ok_or_else(|| no_such_statement(name))
    }

    /// Forgets a prepared statement; false if there was none.
    pub(crate) fn drop_statement(&self, name: &str) -> bool {
        self.statements.borrow_mut().remove(name).is_some()
    }

    /// Forgets all prepared statements but the unnamed one. C: `DropAllPreparedStatements`.
    pub(crate) fn drop_all_statements(&self) {
        self.statements.borrow_mut().retain(|name, _| name.is_empty());
    }

    /// Looks at each named prepared statement.
    pub(crate) fn map_statements<T>(&self, mut look: impl FnMut(&str, &Prepared) -> T) -> Vec<T> {
        let statements = self.statements.borrow();
        let named = statements.iter().filter(|(name, _)| !name.is_empty());
        named.map(|(name, prepared)| look(name, prepared)).collect()
    }

    /// Whether there is a portal of this name.
    pub(crate) fn has_portal(&self, name: &str) -> bool {
        self.portals.borrow().contains_key(name)
    }

    /// Adds a portal, or puts back one that was taken. One of the same name is replaced.
    pub(crate) fn put_portal(&self, portal: Portal) {
        self.portals.borrow_mut().insert(portal.name().to_owned(), portal);
    }

    /// Takes a portal out.
    pub(crate) fn take_portal(&self, name: &str) -> Option<Portal> {
        self.portals.borrow_mut().remove(name)
    }

    /// Looks at a portal.
    pub(crate) fn with_portal<T>(&self, name: &str, look: impl FnOnce(&Portal) -> T) -> Option<T> {
        self.portals.borrow().get(name).map(look)
    }

    /// Looks at each portal.
    pub(crate) fn map_portals<T>(&self, look: impl FnMut(&Portal) -> T) -> Vec<T> {
        self.portals.borrow().values().map(look).collect()
    }

    /// Whether a portal that is not closed reads a table.
    pub(crate) fn reads_table(&self, table: common::Oid) -> bool {
        self.portals.borrow().values().any(|portal| portal.reads_table(table))
    }

    /// Closes all portals. C: `PortalHashTableDeleteAll`.
    pub(crate) fn drop_all_portals(&self) {
        self.portals.borrow_mut().clear();
    }

    /// Reads what is left of each cursor WITH HOLD that this transaction made. C: the first loop of
    /// `PreCommit_Portals`.
    ///
    /// # Errors
    /// What the query of one of them says.
    pub(crate) fn hold_portals(&self) -> Result<()> {
        self.portals.borrow_mut().values_mut().filter(|portal| portal.wants_hold()).try_for_each(Portal::hold)
    }

    /// Before a transaction is prepared. C: `PreCommit_Portals(true)`.
    ///
    /// # Errors
    /// 0A000 if it has made a cursor that is to stay.
    pub(crate) fn check_before_prepare(&self) -> Result<()> {
        if self.portals.borrow().values().any(Portal::wants_hold) {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has created a cursor WITH HOLD"
            ));
        }
        Ok(())
    }

    /// The transaction was committed. C: `PreCommit_Portals`.
    pub(crate) fn at_commit(&self) {
        let mut portals = self.portals.borrow_mut();
        if !portals.is_empty() {
            portals.retain(|_, portal| portal.is_held());
            portals.values_mut().for_each(|portal| portal.level = 0);
        }
    }

    /// The transaction was rolled back. C: `AtAbort_Portals` and `AtCleanup_Portals`.
    pub(crate) fn at_abort(&self) {
        self.portals.borrow_mut().retain(|_, portal| portal.level == 0);
    }

    /// The savepoint that opened `level` was released. C: `AtSubCommit_Portals`.
    pub(crate) fn at_sub_commit(&self, level: usize) {
        for portal in self.portals.borrow_mut().values_mut() {
            portal.level = portal.level.min(level - 1);
        }
    }

    /// What was done since `level` was opened is undone. C: `AtSubAbort_Portals`.
    pub(crate) fn at_sub_abort(&self, level: usize) {
        self.portals.borrow_mut().retain(|_, portal| portal.level < level);
    }
}

fn no_such_statement(name: &str) -> PgError {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    error!(SqlState::UNDEFINED_PSTATEMENT, "{message}")
}
