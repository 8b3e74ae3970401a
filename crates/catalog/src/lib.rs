//! Roles and databases that exist before there are tables.
//!
//! A login needs the role's password and the database's settings before it can read a table. Until the
//! cluster has tables at all, both live in two text files, as they did in PostgreSQL before 9.0:
//!
//! - `global/pg_auth`: one line a role, then one line a membership ([`authid`]);
//! - `global/pg_database`: one line a database ([`database`]).
//!
//! `initdb` makes them; role commands rewrite them; every session reads them once, at login. Readers need
//! no lock: a file is only ever replaced as a whole, by a durable rename. Writers take a lock on the
//! directory, so that of two commands at the same time none is lost.
//!
//! ```text
//! "postgres" 10 superuser,inherit,createrole,createdb,login,replication,bypassrls -1 "SCRAM-SHA-256$..." -
//! member 3374 3373 10 -
//! ```
//!
//! Absent on purpose: who may change a role, which is the business of the command that does it; and
//! everything that is no login's business.

#![forbid(unsafe_code)]

pub mod authid;
pub mod database;
pub mod encoding;
mod flat_file;
pub mod predefined;
pub mod scram;
