//! The transaction block of one session, as a state machine without side effects.
//!
//! A session is in one of four situations. A single statement outside a block is a transaction of its own.
//! Several statements in one query string form an *implicit* block, which the end of the string commits.
//! `BEGIN` opens an explicit block; an error in it leaves it failed until the client ends it.
//!
//! ```text
//!                BEGIN                          error
//!     None ----------------> Explicit -------------------> Failed
//!      ^  \  second statement   ^   ROLLBACK TO SAVEPOINT     |
//!      |   `-----> Implicit ----'<---------------------------'
//!      |              | BEGIN
//!      `--------------+---- COMMIT, ROLLBACK, end of string, error outside a block
//! ```
//!
//! Levels: 1 is the transaction, each savepoint adds one. Whoever keeps state per level (settings, later
//! locks and snapshots) is told by an [`Outcome`] which levels ended and how.
//!
//! C counterpart: `TransactionState` and the `TBLOCK_*` states of xact.c. C's many intermediate states
//! (`TBLOCK_BEGIN`, `TBLOCK_END`, `TBLOCK_ABORT_PENDING` ...) exist because a utility command only notes what
//! `CommitTransactionCommand` does later; here the command's outcome says it at once.

use common::SqlState;
use elog::{PgError, Result, error, pg_error};

/// What ReadyForQuery reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `I`: no block.
    Idle,
    /// `T`: in a block.
    InBlock,
    /// `E`: in a failed block.
    Failed,
}

impl Status {
    /// The byte of ReadyForQuery.
    pub fn byte(self) -> u8 {
        match self {
            Status::Idle => b'I',
            Status::InBlock => b'T',
            Status::Failed => b'E',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    None,
    Implicit,
    Explicit,
    Failed,
}

/// What a transaction command did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The command tag where it differs from the command's own: COMMIT of a failed block says ROLLBACK.
    pub tag: Option<&'static str>,
    /// A WARNING for the client.
    pub warning: Option<PgError>,
    /// Levels from this one up were committed.
    pub committed_from: Option<usize>,
    /// Levels from this one up were rolled back.
    pub aborted_from: Option<usize>,
    /// A new level began (the transaction or a savepoint).
    pub began: Option<usize>,
    /// The transaction is to be prepared, and is then over for this session. C: `TBLOCK_PREPARE`.
    pub prepares: bool,
}

/// A session's transaction.
#[derive(Debug)]
pub struct Transaction {
    block: Block,
    /// A transaction is open, with or without a block.
    open: bool,
    savepoints: Vec<String>,
}

impl Default for Transaction {
    fn default() -> Self {
        Transaction { block: Block::None, open: false, savepoints: Vec::new() }
    }
}

impl Transaction {
    /// What ReadyForQuery reports.
    pub fn status(&self) -> Status {
        match self.block {
            Block::None | Block::Implicit => Status::Idle,
            Block::Explicit => Status::InBlock,
            Block::Failed => Status::Failed,
        }
    }

    /// True in a failed block, where only its end is allowed. C: `IsAbortedTransactionBlockState`.
    pub fn is_failed(&self) -> bool {
        self.block == Block::Failed
    }

    /// True in a block of whatever kind, several statements in one string included. C: `IsTransactionBlock`.
    pub fn is_in_any_block(&self) -> bool {
        self.block != Block::None
    }

    /// True if a transaction is open, with or without a block. C: `IsTransactionState`.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// 1 for the transaction, one more for each savepoint.
    pub fn level(&self) -> usize {
        1 + self.savepoints.len()
    }

    /// A statement is about to run; it opens a transaction if there is none. C: `StartTransactionCommand`.
    pub fn start_statement(&mut self) -> Outcome {
        let began = (!self.open).then_some(1);
        self.open = true;
        Outcome { began, ..Outcome::default() }
    }

    /// More statements follow in the same string: they form one transaction.
    /// C: `BeginImplicitTransactionBlock`.
    pub fn begin_implicit(&mut self) {
        if self.block == Block::None {
            self.block = Block::Implicit;
        }
    }

    /// The string has ended. C: `EndImplicitTransactionBlock`.
    pub fn end_implicit(&mut self) {
        if self.block == Block::Implicit {
            self.block = Block::None;
        }
    }

    /// A statement ended well; outside a block that commits. C: `CommitTransactionCommand`.
    pub fn end_statement(&mut self) -> Outcome {
        match self.block {
            Block::None if self.open => self.end(true),
            _ => Outcome::default(),
        }
    }

    /// A statement failed. C: `AbortCurrentTransaction`.
    pub fn fail(&mut self) -> Outcome {
        match self.block {
            Block::None | Block::Implicit => self.end(false),
            Block::Explicit => {
                self.block = Block::Failed;
                Outcome { aborted_from: Some(self.level()), ..Outcome::default() }
            }
            Block::Failed => Outcome::default(),
        }
    }

    fn end(&mut self, commit: bool) -> Outcome {
        let was_open = std::mem::take(&mut self.open);
        self.block = Block::None;
        self.savepoints.clear();
        let ended = was_open.then_some(1);
        if commit {
            Outcome { committed_from: ended, ..Outcome::default() }
        } else {
            Outcome { aborted_from: ended, ..Outcome::default() }
        }
    }

    /// BEGIN or START TRANSACTION. C: `BeginTransactionBlock`.
    pub fn begin(&mut self) -> Outcome {
        let warning = match self.block {
            Block::None | Block::Implicit => {
                self.block = Block::Explicit;
                None
            }
            Block::Explicit | Block::Failed => Some(pg_error!(
                Warning,
                SqlState::ACTIVE_SQL_TRANSACTION,
                "there is already a transaction in progress"
            )),
        };
        Outcome { warning, ..Outcome::default() }
    }

    /// COMMIT or END. C: `EndTransactionBlock`.
    ///
    /// # Errors
    /// 25P01 for AND CHAIN outside a block.
    pub fn commit(&mut self, chain: bool) -> Result<Outcome> {
        self.end_block(chain, true, "COMMIT AND CHAIN")
    }

    /// ROLLBACK or ABORT. C: `UserAbortTransactionBlock`.
    ///
    /// # Errors
    /// 25P01 for AND CHAIN outside a block.
    pub fn rollback(&mut self, chain: bool) -> Result<Outcome> {
        self.end_block(chain, false, "ROLLBACK AND CHAIN")
    }

    /// PREPARE TRANSACTION. In a failed block it is a ROLLBACK; outside a block a COMMIT that says ROLLBACK, with a warning
    /// that C gives in an implicit block too, although it does prepare then. C: `PrepareTransactionBlock`.
    pub fn prepare(&mut self) -> Outcome {
        let block = self.block;
        let warning = matches!(block, Block::None | Block::Implicit).then(no_transaction);
        match block {
            Block::Failed => Outcome { tag: Some("ROLLBACK"), ..self.end(false) },
            Block::None => Outcome { tag: Some("ROLLBACK"), warning, ..self.end(true) },
            Block::Implicit | Block::Explicit => {
                self.end(true);
                Outcome { prepares: true, warning, ..Outcome::default() }
            }
        }
    }

    fn end_block(&mut self, chain: bool, commit: bool, command: &'static str) -> Result<Outcome> {
        let mut outcome = match self.block {
            Block::None | Block::Implicit if chain => return Err(only_in_block(command)),
            Block::None | Block::Implicit => Outcome { warning: Some(no_transaction()), ..self.end(commit) },
            Block::Explicit => self.end(commit),
            Block::Failed => Outcome { tag: Some("ROLLBACK"), ..self.end(false) },
        };
        if chain {
            self.open = true;
            self.block = Block::Explicit;
            outcome.began = Some(1);
        }
        Ok(outcome)
    }

    /// SAVEPOINT. C: `DefineSavepoint`.
    ///
    /// # Errors
    /// 25P01 outside a block.
    pub fn savepoint(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("SAVEPOINT")?;
        self.savepoints.push(name.to_owned());
        Ok(Outcome { began: Some(self.level()), ..Outcome::default() })
    }

    /// RELEASE: keeps what was done since the savepoint. C: `ReleaseSavepoint`.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for an unknown name.
    pub fn release(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("RELEASE SAVEPOINT")?;
        let index = self.find(name)?;
        self.savepoints.truncate(index);
        Ok(Outcome { committed_from: Some(index + 2), ..Outcome::default() })
    }

    /// ROLLBACK TO: undoes what was done since the savepoint, which stays. C: `RollbackToSavepoint`.
    ///
    /// # Errors
    /// 25P01 outside a block, 3B001 for an unknown name.
    pub fn rollback_to(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let index = self.find(name)?;
        self.savepoints.truncate(index + 1);
        self.block = Block::Explicit;
        Ok(Outcome { aborted_from: Some(index + 2), began: Some(index + 2), ..Outcome::default() })
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|s| s == name)
            .ok_or_else(|| error!(SqlState::S_E_INVALID_SPECIFICATION, "savepoint \"{name}\" does not exist"))
    }

    /// For commands that only make sense inside a block. C: `RequireTransactionBlock`.
    ///
    /// # Errors
    /// 25P01 outside a block.
    pub fn require_block(&self, command: &'static str) -> Result<()> {
        match self.block {
            Block::Explicit | Block::Failed => Ok(()),
            Block::None | Block::Implicit => Err(only_in_block(command)),
        }
    }

    /// For commands that cannot be rolled back. C: `PreventInTransactionBlock`.
    ///
    /// # Errors
    /// 25001 inside a block.
    pub fn prevent_block(&self, command: &'static str) -> Result<()> {
        match self.block {
            Block::None => Ok(()),
            Block::Implicit | Block::Explicit | Block::Failed => Err(error!(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "{command} cannot run inside a transaction block"
            )),
        }
    }
}

fn no_transaction() -> PgError {
    pg_error!(Warning, SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress")
}

fn only_in_block(command: &'static str) -> PgError {
    error!(SqlState::NO_ACTIVE_SQL_TRANSACTION, "{command} can only be used in transaction blocks")
}

#[cfg(test)]
mod tests;
