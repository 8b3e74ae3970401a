//! A session that replicates: which messages it takes, and who runs its queries.
//!
//! C counterpart: the `am_walsender` parts of `PostgresMain`, `forbidden_in_wal_sender`.

use common::SqlState;
use elog::{Result, error};
use walsender::{Context, Outcome};

use crate::identity;
use crate::session::Session;

/// The extended protocol and the fast path are not for walsenders. C: `forbidden_in_wal_sender`.
pub(crate) fn check_message(kind: u8) -> Result<()> {
    if !walsender::is_walsender() {
        return Ok(());
    }
    let what = match kind {
        b'P' | b'B' | b'E' | b'C' | b'D' => "extended query protocol",
        b'F' => "fastpath function calls",
        _ => return Ok(()),
    };
    Err(error!(SqlState::PROTOCOL_VIOLATION, "{what} not supported in a replication connection"))
}

impl Session {
    /// A query of a walsender: a command of the replication language, or SQL. False if the session is to end.
    pub(crate) fn replication_query(&mut self, text: &str) -> Result<bool> {
        let identity = identity::get();
        let has_database = identity.database.is_valid();
        let mut policy = self.busy_policy();
        let mut context = Context {
            policy: &mut policy,
            database: has_database.then_some(identity.database_name.as_str()),
            privileges: identity.guc_privileges(),
            transaction: self.transaction.status(),
        };
        elog::session::update(|session| session.statement = Some(text.into()));
        match walsender::execute(&mut self.port, &mut context, text)? {
            Outcome::Done => Ok(true),
            Outcome::Leave => Ok(false),
            Outcome::NotReplication => {
                self.simple_query(text)?;
                Ok(true)
            }
        }
    }
}
