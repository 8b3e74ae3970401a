//! BEGIN, COMMIT, ROLLBACK, savepoints, two-phase commit.
//!
//! C counterpart: `TransactionStmt` of gram.y.

use elog::Result;

use crate::ast::{Statement, TransactionMode, TransactionStmt};
use crate::cursor::Parser;
use crate::keywords::Kw;

impl Parser<'_> {
    pub(super) fn transaction_statement(&mut self, kw: Kw) -> Result<Statement> {
        self.advance();
        let statement = match kw {
            Kw::Begin => {
                self.transaction_word();
                TransactionStmt::Begin(self.transaction_modes(false)?)
            }
            Kw::Start => {
                self.expect(Kw::Transaction)?;
                TransactionStmt::Start(self.transaction_modes(false)?)
            }
            Kw::Savepoint => TransactionStmt::Savepoint(self.col_id()?),
            Kw::Release => {
                self.savepoint_word();
                TransactionStmt::Release(self.col_id()?)
            }
            Kw::Commit if self.accept(Kw::Prepared) => TransactionStmt::CommitPrepared(self.string()?),
            Kw::Rollback if self.accept(Kw::Prepared) => TransactionStmt::RollbackPrepared(self.string()?),
            Kw::Commit | Kw::End => {
                self.transaction_word();
                TransactionStmt::Commit { chain: self.chain()? }
            }
            _ => {
                self.transaction_word();
                if kw == Kw::Rollback && self.accept(Kw::To) {
                    self.savepoint_word();
                    TransactionStmt::RollbackTo(self.col_id()?)
                } else {
                    TransactionStmt::Rollback { chain: self.chain()? }
                }
            }
        };
        Ok(Statement::Transaction(statement))
    }

    /// The noise words WORK and TRANSACTION.
    fn transaction_word(&mut self) {
        let _ = self.accept(Kw::Work) || self.accept(Kw::Transaction);
    }

    /// SAVEPOINT in front of a name; it may be the name itself.
    fn savepoint_word(&mut self) {
        if self.is_kw(Kw::Savepoint) && self.is_col_id_at(1) {
            self.advance();
        }
    }

    fn chain(&mut self) -> Result<bool> {
        if !self.accept(Kw::And) {
            return Ok(false);
        }
        let chain = !self.accept(Kw::No);
        self.expect(Kw::Chain)?;
        Ok(chain)
    }

    /// Modes with or without commas between them. C: `transaction_mode_list`.
    pub(super) fn transaction_modes(&mut self, required: bool) -> Result<Vec<TransactionMode>> {
        let mut modes = Vec::new();
        loop {
            let comma = !modes.is_empty() && self.accept_char(b',');
            match self.transaction_mode()? {
                Some(mode) => modes.push(mode),
                None if comma || (required && modes.is_empty()) => return Err(self.syntax_error()),
                None => return Ok(modes),
            }
        }
    }

    fn transaction_mode(&mut self) -> Result<Option<TransactionMode>> {
        let mode = match self.kw() {
            Some(Kw::Isolation) => {
                self.advance();
                self.expect(Kw::Level)?;
                TransactionMode::Isolation(self.isolation_level()?)
            }
            Some(Kw::Read) => {
                self.advance();
                let only = self.accept(Kw::Only);
                if !only {
                    self.expect(Kw::Write)?;
                }
                TransactionMode::ReadOnly(only)
            }
            Some(Kw::Deferrable) => {
                self.advance();
                TransactionMode::Deferrable(true)
            }
            Some(Kw::Not) => {
                self.advance();
                self.expect(Kw::Deferrable)?;
                TransactionMode::Deferrable(false)
            }
            _ => return Ok(None),
        };
        Ok(Some(mode))
    }

    fn isolation_level(&mut self) -> Result<&'static str> {
        if self.accept(Kw::Serializable) {
            return Ok("serializable");
        }
        if self.accept(Kw::Repeatable) {
            self.expect(Kw::Read)?;
            return Ok("repeatable read");
        }
        self.expect(Kw::Read)?;
        if self.accept(Kw::Uncommitted) {
            return Ok("read uncommitted");
        }
        self.expect(Kw::Committed)?;
        Ok("read committed")
    }
}
