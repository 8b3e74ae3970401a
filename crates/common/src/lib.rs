//! Words that every layer shares and that carry no behaviour of their own.
//!
//! A value that appears in a file format, on the wire or in more than one process is named here once:
//! WAL positions ([`Lsn`]), object ids ([`Oid`]), error codes ([`SqlState`]), the kinds of processes
//! ([`BackendType`]), the control file, the postmaster's pid file, the names of files that are archived.
//!
//! Absent on purpose: settings, errors with text, shared memory. Those start one layer up.

pub mod archive_name;
mod backend_type;
pub mod file;
pub mod getopt;
mod ids;
pub mod pg_control;
pub mod pidfile;
mod relation;
mod sqlstate;
pub mod user;
pub mod version;

pub use backend_type::BackendType;
pub use ids::{BlockNumber, FullXid, Lsn, MultiXactId, Oid, TimeLineId, Xid};
pub use relation::{
    BLCKSZ, CommandId, DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, INVALID_BLOCK, ItemPointer,
    OffsetNumber, RELSEG_SIZE, RelFileNode, TABLESPACE_LINKS, TABLESPACE_VERSION_DIRECTORY, database_path,
};
pub use sqlstate::SqlState;
