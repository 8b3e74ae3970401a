//! What is in the catalogs of a new cluster, and the files that hold it.
//!
//! PostgreSQL's `initdb` runs a server that inserts row by row; here the rows are formed into pages and written, without
//! any server. All rows are by the bootstrap transaction and frozen, as after VACUUM FREEZE, so that they need neither
//! commit log nor vacuum.
//!
//! The three databases begin with the same bytes: nothing in a database's own catalogs says which one it is.
//!
//! C counterpart: the BKI file and bootstrap/bootparse.y; initdb.c (`setup_auth` ... `make_postgres`).
//!
//! Absent on purpose: indexes and TOAST tables (they come with their access methods), views, ACLs other than the
//! built-in default, descriptions.

mod cluster;
mod pages;
mod pg_proc;
mod relations;
mod types;

pub use cluster::{ClusterSpec, NewFile, files};
pub use relations::class_row;

use ::types::Datum;

/// A row of any catalog.
pub(crate) type Row = Vec<Datum>;
