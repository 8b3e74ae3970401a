//! What all auxiliary processes share: how they start, turn and end.
//!
//! An auxiliary process is one function from "look at the world" to "sleep this long". Its crate writes that
//! function; this crate puts it into the loop that is the same for all of them:
//!
//! 1. reset the latch, so that whatever is noted from here on wakes the next wait;
//! 2. read the configuration again if SIGHUP came;
//! 3. do a [`Turn`] of work; an error is logged, costs that turn, and is followed by a second's rest;
//! 4. wait for the latch, the time the turn asked for, or the postmaster's death, which ends the process at
//!    once with status 1 and without a word.
//!
//! C counterpart: postmaster/auxprocess.c, and the loop that every `*Main` of src/backend/postmaster repeats.

#![forbid(unsafe_code)]

use std::time::Duration;

use elog::Result;
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::signals::{self, Role};
use miscinit::{exit, ps_status};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

/// How a turn of the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Wait, at most so long (`None`: until woken), shown in `pg_stat_activity` under this name.
    Sleep(Option<Duration>, WaitEvent),
    /// Turn again at once.
    Again,
    /// Leave with this status.
    Exit(i32),
}

/// The rest after an error, so that a fault that lasts does not fill the log. C: `pg_usleep(1000000L)`.
const REST_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Makes the process what `start` says: signals, title, a PGPROC, an entry in `pg_stat_activity`.
/// C: `AuxiliaryProcessMain`.
pub fn begin(start: &ChildStart) {
    begin_detached(start);
    shmem::pmsignal::set_my_child_slot(start.slot);
    if let Err(error) = shmem::init_process(start.kind, start.cancel_key) {
        error.report();
        exit::proc_exit(1);
    }
    exit::on_shmem_exit(|_| shmem::proc::release());
    activity::begin(start.kind);
    exit::on_shmem_exit(|_| activity::end());
}

/// The part of [`begin`] for processes without a PGPROC (archiver, logger, statistics collector).
pub fn begin_detached(start: &ChildStart) {
    signals::install(Role::Kind(start.kind));
    ps_status::set_fixed(start.kind.ps_title());
}

/// Turns until a turn says [`Turn::Exit`] or the postmaster dies.
pub fn main_loop(mut turn: impl FnMut() -> Result<Turn>) -> ! {
    loop {
        latch::reset();
        if interrupt::take(Pending::ConfigReload) {
            reload_config();
        }
        match turn() {
            Ok(Turn::Again) => {}
            Ok(Turn::Sleep(timeout, event)) => wait(timeout, event),
            Ok(Turn::Exit(code)) => exit::proc_exit(code),
            // What is in shared memory or on disk is unknown now: nobody may go on.
            Err(error) if error.severity >= elog::Severity::Panic => elog::abort(error),
            Err(error) => recover(&error),
        }
    }
}

/// Waits for the latch or the time; leaves if the postmaster has died.
pub fn wait(timeout: Option<Duration>, event: WaitEvent) {
    let woken = latch::wait(Wake::LATCH_OR_DEATH, timeout, event);
    if woken.postmaster_died() {
        exit::proc_exit(1);
    }
}

/// SIGHUP in an auxiliary process. Only the postmaster logs what is wrong with a file, so a failure here
/// would repeat what the log already says. C: `ProcessConfigFile(PGC_SIGHUP)`.
pub fn reload_config() {
    if let Err(error) = miscinit::config::reload() {
        error.report();
    }
}

/// C: the `sigsetjmp` block of an auxiliary process.
fn recover(error: &elog::PgError) {
    error.report();
    if error.severity >= elog::Severity::Fatal {
        exit::proc_exit(1);
    }
    wait(Some(REST_AFTER_ERROR), WaitEvent::PG_SLEEP);
}
