//! Tables: rows in pages, their versions, who sees them, and how old ones go away.
//!
//! Read in this order:
//!
//! - [`header`], [`desc`], [`tuple`](mod@tuple), `deform`: a row's bytes and values.
//! - [`visibility`]: which version a snapshot sees.
//! - `scan`, `fetch`: reading.
//! - `hio`, `insert`, `delete`, `update`, `lock`: changing; each writes one WAL record per page change.
//! - [`vm`], `prune`, `freeze`, [`vacuum`](mod@vacuum): getting rid of what nobody sees.
//! - [`redo`]: the same changes again, from WAL.
//!
//! The numbered invariants (H1 ...) that code cites are in this crate's README.
//!
//! C counterpart: access/heap, access/common/heaptuple.c, utils/time/combocid.c.
//!
//! Absent on purpose: indexes (the caller says whether a change may stay in its chain), TOAST (a row that does not fit is
//! an error), logical decoding's extra records, speculative insertion.

#![forbid(unsafe_code)]

mod api;
mod deform;
pub mod desc;
pub mod header;
mod sysattr;
mod table;
pub mod tuple;

pub mod combocid;
pub mod visibility;

mod page_ops;
mod records;

mod delete;
mod hio;
mod insert;
mod lock;
mod lock_updated;
mod simple;
mod update;
pub mod vm;
mod waits;
mod xmax;

mod fetch;
mod scan;

mod freeze;
mod prune;
mod prune_plan;
pub mod vacuum;

pub mod redo;

pub use api::{
    FailureData, InsertOptions, LockOutcome, LockTupleMode, TmResult, UpdateOptions, UpdateOutcome,
    WaitPolicy,
};
pub use deform::{Deformer, Place, deform};
pub use delete::delete;
pub use desc::{Attribute, TupleDesc};
pub use fetch::{fetch, fetch_row_version, latest_tid, lock_last_version};
pub use hio::BulkInsert;
pub use insert::{insert, multi_insert};
pub use lock::lock_tuple;
pub use scan::{Scan, ScanOptions};
pub use simple::{inplace_update, simple_delete, simple_insert, simple_update};
pub use sysattr::{SystemAttribute, system_attribute};
pub use table::{DEFAULT_FILLFACTOR, Table};
pub use tuple::{Tuple, TupleView, form_tuple, modify_tuple};
pub use update::update;
pub use vacuum::{VacuumParams, VacuumReport};

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_wal;
#[cfg(test)]
mod tests;
