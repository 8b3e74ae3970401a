//! The one layer that all data and WAL file I/O goes through.
//!
//! A [`File`] is a *virtual* descriptor: a process may have as many as it likes. When the kernel's are used up, the
//! one that was not used for longest is closed behind its owner's back, and opened again when it is used.
//!
//! ```no_run
//! use file::{OpenFlags, open};
//! use shmem::WaitEvent;
//!
//! let relation = open("base/5/16384".as_ref(), OpenFlags::READ | OpenFlags::WRITE).unwrap();
//! let mut page = [0; 8192];
//! let read = relation.read_at(&mut page, 8192 * 7, WaitEvent::DATA_FILE_READ).unwrap();
//! assert!(read <= 8192); // less at the end of the file
//! ```
//!
//! Invariants:
//! - FD1  At most [`max_open`] kernel descriptors are held by virtual ones; one more is opened only after the
//!   least recently used has been closed.
//! - FD2  A file that was closed behind its owner's back is reopened without O_CREAT, O_EXCL and O_TRUNC.
//! - FD3  A write either writes everything or fails; a write that gets nowhere is ENOSPC.
//! - FD4  Every system call on a file passes [`fault`] first, so that a test can record, fail or shorten it.
//! - FD5  A failed fsync of data is a PANIC unless `data_sync_retry` is on: see [`data_sync_severity`].
//!
//! C counterpart: storage/file/fd.c.

#![forbid(unsafe_code)]

mod vfd; // 1. the virtual descriptor

mod path; // 2. names: fsync, durable rename and unlink, with PostgreSQL's messages

mod sync_dir; // 5. everything, before recovery

mod error; // 3. what a failed call is reported as

pub mod fault; // 4. the tests' way in

pub use error::{data_sync_severity, file_error, file_error_to};
pub use path::{
    create_dir, durable_rename, durable_rename_dir, durable_rename_empty, durable_unlink, exists, fsync_dir,
    fsync_parent, fsync_path, remove_dir_all, set_dir_mode, unlink,
};
pub use sync_dir::sync_data_directory;
pub use vfd::{File, OpenFlags, close_all_kernel, max_open, open, open_count, open_with_mode};

#[cfg(test)]
mod tests;
