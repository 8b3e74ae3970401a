//! The write-ahead log. In this release it holds only what the control file's users share; records,
//! insertion and redo come with the storage layer.
//!
//! C counterpart: access/transam/xlog*.c.

#![forbid(unsafe_code)]

pub mod control_file;
