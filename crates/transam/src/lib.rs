//! Transactions. So far the part that decides what a statement means for the transaction it runs in; ids,
//! the commit log and snapshots come with the storage layer.
//!
//! C counterpart: access/transam/xact.c.

#![forbid(unsafe_code)]

mod xact;

pub use xact::{Outcome, Status, Transaction};
