//! The session's transaction: the pure state machine of `transam`, and what it means for the data, for settings,
//! for `pg_stat_activity` and for the statistics.

use std::rc::Rc;

use elog::Result;
use parser::ast::{TransactionMode, TransactionStmt};
use transam::{Outcome, Status, Transaction, twophase, xact};

use crate::identity;
use crate::objects::Objects;

/// A session's transaction and its clock.
#[derive(Debug, Default)]
pub(crate) struct SessionTransaction {
    state: Transaction,
    /// What was set for it when it failed.
    failed: Option<Characteristics>,
    /// Portals live and die with it.
    objects: Rc<Objects>,
    /// When it began, microseconds since 2000-01-01: what `now()` returns.
    pub(crate) start: i64,
    /// When the client's last message arrived.
    pub(crate) statement_start: i64,
}

impl SessionTransaction {
    pub(crate) fn new(objects: Rc<Objects>) -> SessionTransaction {
        SessionTransaction { objects, ..SessionTransaction::default() }
    }

    pub(crate) fn status(&self) -> Status {
        self.state.status()
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.state.is_failed()
    }

    pub(crate) fn prevent_block(&self, command: &'static str) -> Result<()> {
        self.state.prevent_block(command)
    }

    /// See [`Transaction::require_block`].
    pub(crate) fn require_block(&self, command: &'static str) -> Result<()> {
        self.state.require_block(command)
    }

    /// In a block, be it one of several statements in one string. C: `IsTransactionBlock`.
    pub(crate) fn is_in_any_block(&self) -> bool {
        self.state.is_in_any_block()
    }

    /// See [`Transaction::level`].
    pub(crate) fn level(&self) -> usize {
        self.state.level()
    }

    /// Before each statement.
    pub(crate) fn start_statement(&mut self) -> Result<()> {
        let outcome = self.state.start_statement();
        self.apply(&outcome)
    }

    pub(crate) fn begin_implicit(&mut self) {
        self.state.begin_implicit();
    }

    pub(crate) fn end_implicit(&mut self) {
        self.state.end_implicit();
    }

    /// After each statement that ended well.
    ///
    /// # Errors
    /// What the commit says; the transaction is then rolled back.
    pub(crate) fn end_statement(&mut self) -> Result<()> {
        let outcome = self.state.end_statement();
        self.apply(&outcome)
    }

    /// After an error. Returns nothing: whatever happens here must not fail.
    pub(crate) fn fail(&mut self) {
        if self.status() == Status::InBlock {
            self.failed = Some(Characteristics::current());
        }
        let outcome = self.state.fail();
        if let Some(level) = outcome.aborted_from {
            self.abort_from(level);
        }
        crate::conflict::note_failed(self.is_failed());
    }

    /// Runs a transaction command; returns its tag where that differs from the command's own.
    pub(crate) fn run(&mut self, command: &TransactionStmt) -> Result<Option<&'static str>> {
        // The next transaction of a chain has the characteristics of this one. C: `SaveTransactionCharacteristics`.
        let of_failed = self.failed.take().filter(|_| self.is_failed());
        let characteristics = of_failed.unwrap_or_else(Characteristics::current);
        let outcome = match command {
            TransactionStmt::Begin(modes) | TransactionStmt::Start(modes) => {
                let outcome = self.state.begin();
                set_modes(modes)?;
                outcome
            }
            TransactionStmt::Commit { chain } => self.state.commit(*chain)?,
            TransactionStmt::Rollback { chain } => self.state.rollback(*chain)?,
            TransactionStmt::Savepoint(name) => self.state.savepoint(name)?,
            TransactionStmt::Release(name) => self.state.release(name)?,
            TransactionStmt::RollbackTo(name) => self.state.rollback_to(name)?,
            TransactionStmt::PrepareTransaction(_) => {
                xact::prevent_in_recovery("PREPARE TRANSACTION")?;
                self.state.prepare()
            }
            TransactionStmt::CommitPrepared(gid) => return self.finish_prepared(gid, true),
            TransactionStmt::RollbackPrepared(gid) => return self.finish_prepared(gid, false),
        };
        if let (true, TransactionStmt::PrepareTransaction(gid)) = (outcome.prepares, command) {
            self.prepare(gid)?;
        }
        self.apply(&outcome)?;
        if let TransactionStmt::Commit { chain: true } | TransactionStmt::Rollback { chain: true } = command {
            characteristics.set()?;
        }
        if let Some(warning) = &outcome.warning {
            warning.report();
        }
        Ok(outcome.tag)
    }

    fn apply(&mut self, outcome: &Outcome) -> Result<()> {
        crate::conflict::note_failed(self.is_failed());
        if let Some(level) = outcome.committed_from {
            self.commit_from(level)?;
        }
        if let Some(level) = outcome.aborted_from {
            self.abort_from(level);
        }
        match outcome.began {
            Some(1) => self.began(),
            Some(_) => {
                guc::new_nest_level();
                xact::start_subtransaction()
            }
            None => Ok(()),
        }
    }

    /// Commits the levels from this one up. Open cursors go first: they hold pins and snapshots.
    fn commit_from(&mut self, level: usize) -> Result<()> {
        if level > 1 {
            self.objects.at_sub_commit(level);
            while xact::nest_level() as usize >= level {
                xact::commit_subtransaction()?;
            }
            guc::at_sub_commit(level);
        } else {
            self.objects.at_commit();
            if let Err(error) = commit_all() {
                self.abort_from(1);
                return Err(error);
            }
            guc::at_xact_commit();
            self.ended();
        }
        identity::follow_settings();
        Ok(())
    }

    /// Prepares the transaction, or rolls it back. C: the `TBLOCK_PREPARE` case of `CommitTransactionCommand`.
    fn prepare(&mut self, gid: &str) -> Result<()> {
        let prepared = self.objects.check_before_prepare().and_then(|()| {
            self.objects.at_commit();
            twophase::prepare_transaction(gid, identity::get().current_user.oid)
        });
        if let Err(error) = prepared {
            self.abort_from(1);
            return Err(error);
        }
        guc::at_xact_commit();
        self.ended();
        identity::follow_settings();
        Ok(())
    }

    /// COMMIT PREPARED, ROLLBACK PREPARED. C: `FinishPreparedTransaction`.
    fn finish_prepared(&self, gid: &str, commit: bool) -> Result<Option<&'static str>> {
        let command = if commit { "COMMIT PREPARED" } else { "ROLLBACK PREPARED" };
        xact::prevent_in_recovery(command)?;
        self.state.prevent_block(command)?;
        let user = identity::get().current_user.clone();
        twophase::finish_prepared(gid, commit, user.oid, user.superuser)?;
        Ok(None)
    }

    /// Undoes the levels from this one up. A failed block's were undone when it failed; that is noticed.
    fn abort_from(&mut self, level: usize) {
        if level > 1 {
            self.objects.at_sub_abort(level);
            while xact::nest_level() as usize >= level {
                xact::abort_subtransaction();
            }
            guc::at_sub_abort(level);
        } else {
            self.objects.at_abort();
            xact::abort_transaction();
            guc::at_xact_abort();
            self.ended();
        }
        identity::follow_settings();
    }

    fn began(&mut self) -> Result<()> {
        self.start = self.statement_start;
        crate::read_only::follow_recovery();
        guc::at_xact_begin();
        xact::set_statement_start(self.statement_start);
        xact::start_transaction()?;
        types::adt::timestamp::set_transaction_timestamp(Some(self.start));
        activity::report_transaction_start(self.start);
        elog::session::update(|session| session.vxid = Some(xact::vxid()));
        Ok(())
    }

    fn ended(&mut self) {
        activity::report_transaction_start(0);
        elog::session::update(|session| session.vxid = session.vxid.map(|(backend, _)| (backend, 0)));
    }
}

/// The whole transaction, open savepoints included.
fn commit_all() -> Result<()> {
    while xact::nest_level() > 1 {
        xact::commit_subtransaction()?;
    }
    xact::commit_transaction()
}

/// What SET TRANSACTION sets. C: `SavedTransactionCharacteristics`.
#[derive(Debug)]
struct Characteristics(Vec<TransactionMode>);

impl Characteristics {
    fn current() -> Characteristics {
        Characteristics(vec![
            TransactionMode::Isolation(guc::vars::TRANSACTION_ISOLATION.get()),
            TransactionMode::ReadOnly(guc::vars::TRANSACTION_READ_ONLY.get()),
            TransactionMode::Deferrable(guc::vars::TRANSACTION_DEFERRABLE.get()),
        ])
    }

    fn set(&self) -> Result<()> {
        set_modes(&self.0)
    }
}

/// The modes of BEGIN and SET TRANSACTION are settings of the transaction.
pub(crate) fn set_modes(modes: &[TransactionMode]) -> Result<()> {
    set_modes_as(modes, "transaction", guc::GucAction::Local)
}

/// The modes of SET SESSION CHARACTERISTICS are the defaults of transactions to come.
pub(crate) fn set_default_modes(modes: &[TransactionMode]) -> Result<()> {
    set_modes_as(modes, "default_transaction", guc::GucAction::Set)
}

fn set_modes_as(modes: &[TransactionMode], prefix: &str, action: guc::GucAction) -> Result<()> {
    let context = identity::get().guc_context();
    for mode in modes {
        let on_off = |on: bool| if on { "on" } else { "off" };
        let (suffix, value) = match mode {
            TransactionMode::Isolation(level) => ("isolation", *level),
            TransactionMode::ReadOnly(read_only) => ("read_only", on_off(*read_only)),
            TransactionMode::Deferrable(deferrable) => ("deferrable", on_off(*deferrable)),
        };
        let name = format!("{prefix}_{suffix}");
        guc::set_option(&name, value, context, guc::GucSource::Session, action)?;
    }
    Ok(())
}
