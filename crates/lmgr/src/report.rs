//! What is said about locks: errors, and what `log_lock_waits` writes.
//!
//! C counterpart: `DeadLockReport` in deadlock.c, the messages of lock.c and of `ProcSleep`.

use std::cell::RefCell;
use std::time::Duration;

use activity::counters;
use common::SqlState;
use elog::{PgError, error, pg_error};

use crate::deadlock::Edge;
use crate::mode::LockMode;
use crate::shard::LockView;
use crate::shared;
use crate::tag::LockTag;

thread_local! {
    /// Why this process waits, for the CONTEXT of what is logged meanwhile.
    static CONTEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work` with this CONTEXT on what it logs and on its error. C: `XactLockTableWaitErrorCb`.
pub(crate) fn with_context<T>(
    context: Option<String>,
    work: impl FnOnce() -> elog::Result<T>,
) -> elog::Result<T> {
    let before = CONTEXT.replace(context);
    let result = work();
    let context = CONTEXT.replace(before);
    result.map_err(|error| match context {
        Some(context) => error.context(context),
        None => error,
    })
}

/// 53200.
pub(crate) fn table_full() -> PgError {
    error!(SqlState::OUT_OF_MEMORY, "out of shared memory")
        .hint("You might need to increase max_locks_per_transaction.")
}

/// The warning of giving back what one does not have.
pub(crate) fn not_owned(mode: LockMode) {
    pg_error!(Warning, SqlState::WARNING, "you don't own a lock of type {}", mode.name()).report();
}

/// The client learns who waits for whom; only the log, what they were running. C: `DeadLockReport`.
pub(crate) fn deadlock(cycle: &[Edge]) -> PgError {
    counters::database(|database| counters::add(&database.deadlocks, 1));
    let blockers = cycle.iter().cycle().skip(1);
    let lines: Vec<String> = cycle
        .iter()
        .zip(blockers)
        .map(|(edge, blocker)| {
            format!(
                "Process {} waits for {} on {}; blocked by process {}.",
                shared::pid_of(edge.process),
                edge.mode.name(),
                edge.tag,
                shared::pid_of(blocker.process)
            )
        })
        .collect();
    let detail = lines.join("\n");
    let mut for_log = detail.clone();
    for edge in cycle {
        let pid = shared::pid_of(edge.process);
        for_log.push_str(&format!("\nProcess {pid}: {}", statement_of(pid)));
    }
    error!(SqlState::T_R_DEADLOCK_DETECTED, "deadlock detected")
        .detail(detail)
        .detail_log(for_log)
        .hint("See server log for query details.")
        .routine("DeadLockReport")
}

/// C: `pgstat_get_backend_current_activity(pid, false)`.
fn statement_of(pid: i32) -> String {
    activity::statement_of_pid(pid).unwrap_or_else(|| {
        let text = if guc::vars::TRACK_ACTIVITIES.get() {
            "<backend information not available>"
        } else {
            "<command string not enabled>"
        };
        text.to_string()
    })
}

/// 55P03.
pub(crate) fn lock_timeout() -> PgError {
    error!(SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
        .routine("ProcessInterrupts")
}

/// One moment of a wait that `log_lock_waits` tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A cycle was broken by changing the queue.
    Rearranged,
    /// A deadlock.
    Deadlock,
    /// `deadlock_timeout` is over.
    Still,
    /// At last.
    Acquired,
}

/// Writes the line. C: the end of `ProcSleep`'s loop.
pub(crate) fn log_wait(
    moment: Moment,
    tag: LockTag,
    mode: LockMode,
    waited: Duration,
    view: Option<&LockView>,
) {
    let pid = shared::pid_of(shared::me());
    let what = format!("{} on {tag}", mode.name());
    let time = format!("{}.{:03} ms", waited.as_millis(), waited.subsec_micros() % 1000);
    let message = match moment {
        Moment::Rearranged => {
            format!("process {pid} avoided deadlock for {what} by rearranging queue order after {time}")
        }
        Moment::Deadlock => format!("process {pid} detected deadlock while waiting for {what} after {time}"),
        Moment::Still => format!("process {pid} still waiting for {what} after {time}"),
        Moment::Acquired => format!("process {pid} acquired {what} after {time}"),
    };
    let mut line = pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{message}").routine("ProcSleep");
    if let (Some(view), true) = (view, moment != Moment::Acquired) {
        line = line.detail_log(who(view));
    }
    if let Some(context) = CONTEXT.with_borrow(Clone::clone) {
        line = line.context(context);
    }
    line.report();
}

fn who(view: &LockView) -> String {
    let list = |processes: Vec<u32>| {
        processes.into_iter().map(|p| shared::pid_of(p).to_string()).collect::<Vec<_>>().join(", ")
    };
    let waiting: Vec<u32> = view.queue.iter().map(|(process, _)| *process).collect();
    let holding: Vec<u32> = view
        .holders
        .iter()
        .map(|(process, _)| *process)
        .filter(|process| !waiting.contains(process))
        .collect();
    let noun = if holding.len() == 1 { "Process" } else { "Processes" };
    format!("{noun} holding the lock: {}. Wait queue: {}.", list(holding), list(waiting))
}
