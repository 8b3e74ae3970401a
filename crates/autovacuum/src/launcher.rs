//! The launcher's turn.
//!
//! C counterpart: `AutoVacLauncherMain`, `launch_worker`, `do_start_worker`.

use std::time::Duration;

use auxprocess::Turn;
use common::Oid;
use elog::{Result, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use shmem::latch::{self, Wake};
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use shmem::wait_event::WaitEvent;

use crate::hooks::hooks;
use crate::schedule::{self, Candidate, Choice, Schedule};
use crate::{is_wanted, shared};

/// How long a worker may take to come, unless the nap time is shorter.
const MAX_START: Duration = Duration::from_secs(60);

/// Entry point of the launcher. C: `AutoVacLauncherMain`.
pub fn autovac_launcher_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    ereport!(Debug1, "autovacuum launcher started");
    let mut schedule = Schedule::default();
    if !is_wanted() {
        // Started all the same: some database is close to wraparound. One worker, and out.
        if !interrupt::is_pending(Pending::Shutdown)
            && let Err(error) = start_worker(&mut schedule)
        {
            error.report();
        }
        exit::proc_exit(0);
    }
    shared::announce_launcher();
    exit::on_shmem_exit(|_| shared::withdraw_launcher());
    let mut is_built = false;
    auxprocess::main_loop(move || {
        if interrupt::take(Pending::Shutdown) || !is_wanted() {
            ereport!(Debug1, "autovacuum launcher shutting down");
            return Ok(Turn::Exit(0));
        }
        // Only means "look again": the turn does.
        interrupt::take(Pending::QueryCancel);
        // What was read in this turn is of no use to the next.
        let outcome = turn(&mut schedule, &mut is_built);
        pgstat::clear_snapshot();
        Ok(Turn::Sleep(Some(outcome?), WaitEvent::AUTOVACUUM_MAIN))
    })
}

fn naptime() -> Duration {
    Duration::from_secs(guc::vars::AUTOVACUUM_NAPTIME.get() as u64)
}

/// One look at the world; returns how long to sleep.
fn turn(schedule: &mut Schedule, is_built: &mut bool) -> Result<Duration> {
    if interrupt::take(Pending::WorkerWakeup) && shared::take_fork_failure() {
        // The system has no process to spare: a moment's rest, then the same request again.
        latch::wait(Wake::POSTMASTER_DEATH, Some(Duration::from_secs(1)), WaitEvent::AUTOVACUUM_MAIN);
        send_postmaster_signal(PmSignalReason::StartAutovacWorker);
        return Ok(schedule::clamp(naptime()));
    }
    if !std::mem::replace(is_built, true) {
        rebuild(schedule, None)?;
    }
    let now = activity::now();
    let mut can_launch = shared::has_free_place();
    if let Some(since) = shared::starting_since() {
        let patience = naptime().min(MAX_START).as_micros() as i64;
        if now - since < patience {
            can_launch = false;
        } else if shared::cancel_starting() {
            ereport!(Warning, "autovacuum worker took too long to start; canceled");
        }
    }
    let is_due = schedule.soonest().is_none_or(|at| at <= now);
    if can_launch && is_due {
        launch(schedule)?;
        can_launch = false;
    }
    if let Some(nap) = schedule.sleep(can_launch, activity::now(), naptime()) {
        return Ok(nap);
    }
    // Overdue, although nobody could be launched: the moments have no meaning any more.
    rebuild(schedule, None)?;
    Ok(schedule.sleep(can_launch, activity::now(), naptime()).unwrap_or_else(naptime))
}

/// C: `launch_worker`.
fn launch(schedule: &mut Schedule) -> Result<()> {
    if let Some(database) = start_worker(schedule)?
        && !schedule.sent(database, activity::now(), naptime())
    {
        rebuild(schedule, Some(database))?;
    }
    Ok(())
}

/// Chooses a database and asks the postmaster for a worker. C: `do_start_worker`.
fn start_worker(schedule: &mut Schedule) -> Result<Option<Oid>> {
    if !shared::has_free_place() {
        return Ok(None);
    }
    let candidates = candidates()?;
    let ages = (hooks().ages)();
    let force = (
        ages.force_xid(guc::vars::AUTOVACUUM_FREEZE_MAX_AGE.get()),
        ages.force_multi(ages.multixact_freeze_max_age),
    );
    let now = activity::now();
    match schedule.choose(&candidates, force, now, naptime()) {
        Choice::Start(database) => {
            if !shared::prepare_worker(database, now) {
                return Ok(None);
            }
            send_postmaster_signal(PmSignalReason::StartAutovacWorker);
            Ok(Some(database))
        }
        Choice::AllSkipped => {
            rebuild_with(schedule, None, &candidates);
            Ok(None)
        }
        Choice::Nobody => Ok(None),
    }
}

/// All databases with what the collector knows of them.
fn candidates() -> Result<Vec<Candidate>> {
    let databases = (hooks().databases)()?;
    if databases.is_empty() {
        // Nothing to ask the collector about, so nothing to wait for.
        return Ok(Vec::new());
    }
    let candidate = |row: crate::DatabaseRow| {
        let entry = pgstat::database(row.oid)?;
        Ok(Candidate { row, last_autovac: entry.map(|entry| entry.times.last_autovac) })
    };
    databases.into_iter().map(candidate).collect()
}

fn rebuild(schedule: &mut Schedule, newest: Option<Oid>) -> Result<()> {
    let candidates = candidates()?;
    rebuild_with(schedule, newest, &candidates);
    Ok(())
}

fn rebuild_with(schedule: &mut Schedule, newest: Option<Oid>, candidates: &[Candidate]) {
    let with_counters: Vec<Oid> =
        candidates.iter().filter(|c| c.last_autovac.is_some()).map(|c| c.row.oid).collect();
    schedule.rebuild(newest, &with_counters, activity::now(), naptime());
    if schedule.is_empty() {
        ereport!(Debug2, "autovacuum: no database has statistics yet");
    }
}
