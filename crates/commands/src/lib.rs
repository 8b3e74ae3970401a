//! Commands on tables: CREATE, DROP, TRUNCATE, LOCK, COPY, VACUUM, ANALYZE; and on tablespaces.
//!
//! Called by `backend` with a parsed statement, after it has begun a transaction and pushed a snapshot. What a command
//! has to know of its session (who runs it, what names mean) comes in a [`Context`]; clients are behind
//! [`copy::Input`] and [`copy::Output`].
//!
//! - [`table`]: CREATE TABLE, DROP TABLE, TRUNCATE, LOCK; [`create_as`]: CREATE TABLE AS;
//! - [`tablespace`]: CREATE TABLESPACE, DROP TABLESPACE and their replay;
//! - [`copy`]: COPY in both directions;
//! - [`rights`]: who may do what;
//! - [`vacuum`](mod@vacuum): VACUUM and ANALYZE.
//!
//! Invariants:
//! - Co1  All names of a statement are looked up, locked and checked before anything is changed.
//! - Co2-Co6: see the README.
//!
//! C counterpart: src/backend/commands.

#![forbid(unsafe_code)]

mod columns;
pub mod copy;
pub mod create_as;
mod options;
pub mod rights;
pub mod table;
pub mod tablespace;
pub mod vacuum;

pub mod frozen; // what VACUUM ends with
mod vacuum_report; // what it says

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use executor::Env;
use parser::ast::RangeVar;
use types::fmgr::Session;

/// What a command knows of its session.
pub struct Context<'a> {
    /// What names mean.
    pub env: &'a dyn Env,
    /// Clock, hooks and interrupts for functions.
    pub session: &'a Session<'a>,
    /// The statement's text, for positions.
    pub source: &'a str,
    /// Whose rights count. C: `GetUserId`.
    pub role: Oid,
    /// Whether that is a superuser.
    pub superuser: bool,
    /// Whether a query of this session that is not at its end reads the table. C: `rd_refcnt` above the command's own.
    pub in_use: &'a dyn Fn(Oid) -> bool,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The position of a place in the source, as clients count.
    fn position(&self, loc: parser::ast::Loc) -> u32 {
        parser::char_position(self.source, loc as usize)
    }

    /// 42501 `must be owner of table %s` unless this role is. C: `pg_class_ownercheck`.
    fn require_owner(&self, owner: Oid, kind: &str, name: &str) -> Result<()> {
        if self.superuser || owner == self.role {
            return Ok(());
        }
        Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "must be owner of {kind} {name}"))
    }

    /// The schema and the name of a relation; a database's name in front must be this one's.
    fn schema_and_name<'r>(&self, relation: &'r RangeVar) -> Result<(Option<&'r str>, &'r str)> {
        let (database, schema, name) = relation.parts();
        if relation.name.len() > 3 {
            return Err(error!(
                SqlState::SYNTAX_ERROR,
                "improper relation name (too many dotted names): {}",
                relation.name.join(".")
            ));
        }
        if database.is_some_and(|database| database != self.env.current_database()) {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cross-database references are not implemented: \"{}\"",
                relation.name.join(".")
            ));
        }
        Ok((schema, name))
    }
}

/// The error for what this release lacks.
pub(crate) fn not_supported(what: &str) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} not supported yet")
}
