//! The environment of one server process: who it is, what signals mean to it, how it ends.
//!
//! Every process of the cluster calls, in this order: [`globals`] (filled by the parent before the fork),
//! [`signals::install`] for its kind, [`ps_status::set_fixed`], then its main loop, which asks
//! [`interrupt`] what the signal handlers noted, and in the end [`exit::proc_exit`].
//!
//! Invariants:
//! - M1  A signal handler sets one flag and the latch, nothing more. The only exceptions are the two ways
//!   of leaving at once (`SIGQUIT`, and `SIGTERM` before a session has begun), which call `_exit`.
//! - M2  [`signals::TABLE`] is the only place that says what a signal means to which kind of process.
//! - M3  Exit callbacks run once, last registered first, and a child never runs its parent's.
//!
//! C counterparts: utils/init/{globals,miscinit}.c, postmaster/interrupt.c, storage/ipc/ipc.c,
//! utils/misc/ps_status.c, libpq/pqsignal.c.

// Signal handlers, `_exit` and the argv area of the process title are what this crate is for.
#![allow(unsafe_code)]

pub mod child; // 1. what a forked child is told
pub mod config; // 6. what a changed setting means for the layers below the settings
pub mod exit; // 5. how it ends
pub mod farewell; // the last words of a session that must leave at once
pub mod globals; // 2. who it is
pub mod interrupt; // 4. what the handlers noted
pub mod lockfile; // 8. postmaster.pid and the socket locks
pub mod ps_status; // 7. its title
pub mod shell; // 10. commands it runs for the administrator
pub mod signals;
pub mod timeout; // 9. the one timer of a session // 3. what signals mean to it
