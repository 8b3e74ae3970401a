//! A client of the wire protocol, as much of one as a walreceiver needs.
//!
//! It never blocks in a system call: each wait is for the socket, the process's latch and the postmaster's death, so that a
//! process that waits for a primary which says nothing ends the moment it is told to. Failures that a connection can have are
//! texts, as libpq has them: people know these, and tools look for them.
//!
//! Read in this order: `conninfo` (what is wanted), `connect` (hosts, addresses, one attempt after the other), `auth` and `tls`
//! (within an attempt), `wire` (the bytes), `message` (what they mean), `replication` (the commands, and the stream).
//!
//! C counterpart: replication/libpqwalreceiver, and what it uses of interfaces/libpq.

pub(crate) mod auth;
pub(crate) mod connect;
pub(crate) mod conninfo;
pub(crate) mod message;
pub(crate) mod passfile;
pub(crate) mod replication;
pub(crate) mod targets;
pub(crate) mod tls;
pub(crate) mod wire;

pub(crate) use connect::Connection;
pub(crate) use replication::Received;

/// Why something did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection's fault, in libpq's words, one or more lines.
    Text(String),
    /// This process must end.
    Interrupted(Box<elog::PgError>),
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Failure {
        Failure::Text(text.into())
    }

    /// For the log: an interruption stays what it is, a failure of the connection becomes what `describe` makes of its text.
    pub(crate) fn into_error(self, describe: impl FnOnce(&str) -> elog::PgError) -> elog::PgError {
        match self {
            // C: `pchomp`.
            Failure::Text(text) => describe(text.trim_end_matches('\n')),
            Failure::Interrupted(error) => *error,
        }
    }
}

impl From<elog::PgError> for Failure {
    fn from(error: elog::PgError) -> Failure {
        Failure::Interrupted(Box::new(error))
    }
}

/// What most functions here return.
pub(crate) type Attempt<T> = std::result::Result<T, Failure>;

#[cfg(test)]
mod libpq_tests;
#[cfg(test)]
pub(crate) mod tests;
