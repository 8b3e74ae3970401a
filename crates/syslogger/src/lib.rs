//! The logger: writes what all other processes report into files that rotate.
//!
//! Started by: the postmaster, before any other child, if `logging_collector` is on; at once again if it dies.
//! Woken by:   bytes in the pipe that is every other process's stderr, SIGHUP, SIGUSR1 (new files, please), or
//!             the moment a file's time has come.
//! Ends by:    the end of the pipe, and nothing else: it ignores INT, TERM and QUIT and the postmaster's death,
//!             and leaves with 0 after the last process that could have something to say.
//! If it dies: a new one goes on with the same pipe and a new file; no session is harmed, nothing in the pipe lost.
//! Differs from PG 15: partial messages are bounded in memory; it waits in `ppoll` instead of on a latch, since it
//!             has no part in shared memory.
//!
//! C counterpart: src/backend/postmaster/syslogger.c.

#![forbid(unsafe_code)]

mod chunks; // 3. messages out of the pipe
mod collector; // 4. the files
mod log_file;
mod main_loop; // 2. the process
mod naming;
mod rotation;
mod settings;
mod start; // 1. what the postmaster does before and after the fork

pub use collector::METAINFO_FILE;
pub use main_loop::syslogger_main;
pub use start::{close_in_child, prepare, redirect_stderr};
