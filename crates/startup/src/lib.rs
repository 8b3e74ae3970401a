//! The startup process: brings the cluster to a state from which sessions can begin, then ends.
//!
//! Started by: the postmaster, at start and after each crash of a child, once checkpointer and writer run.
//! Woken by:   its latch, while it waits for more WAL or stands still: SIGHUP, SIGUSR2 (promotion), `wal::recovery::wakeup`.
//! Ends by:    exit 0 = done, the cluster opens. SIGTERM = exit 1, between two records; SIGQUIT = exit 2, at once.
//!             Death of the postmaster = exit 1 at its next look.
//! If it dies: the postmaster gives up: it stops everything and exits 1.
//!             At the recovery target, exit 3 if that is what was asked for: the cluster is to stop.
//! Differs from PG 15: no prefetching of the pages that records to come are about.
//!
//! What it does, in order:
//!
//! 1. reads pg_control, the files that ask for archive recovery (`signals`), the label of a base backup (`label`) and the
//!    last checkpoint's record, and decides whether and where to recover (`begin`);
//! 2. tidies up what a crash left (`cleanup`);
//! 3. sets the counters of transactions as they were at the checkpoint (`transam::startup`);
//! 4. replays WAL (`perform`, `redo`, with the table in [`rmgr`] and the records of WAL itself in `xlog`) to its end or to the
//!    target (`target`), from `pg_wal`, from the archive or from a primary (`source`), along timelines (`timelines`); on the way it
//!    tells when sessions may read (`consistency`), and stands still if it is asked to (`pause`);
//! 5. makes WAL ready for writing behind that end, after archive recovery on a new timeline (`finish`);
//! 6. has the end-of-recovery checkpoint made, so that the next start need not do the same again;
//! 7. opens the cluster: pg_control says "in production".
//!
//! A crash at any moment before the end of 6 leaves pg_control with the old checkpoint or the last restartpoint, and all of
//! this is done again from there (R2).
//!
//! C counterpart: postmaster/startup.c, `StartupXLOG` of xlog.c, xlogrecovery.c.

#![forbid(unsafe_code)]

mod begin; // 1. where to begin
mod label; // 1b. ... with a base backup
mod signals; // 1a. what is asked for
mod state; // what the others have in common

mod cleanup; // 2. files that a crash leaves

mod redo; // 3. the loop
pub mod rmgr; // 4a. who replays what

mod xlog; // 4b. the records of WAL itself

mod consistency; // 5. whether the data can be trusted
mod pause; // 6. standing still
mod perform; // 4. around each record
mod source; // 7. where WAL comes from
mod target; // 8. where to stop
mod timelines; // 9. along which timelines

mod finish; // 10. the end

mod progress; // what the log says meanwhile

pub use target::is_recovery_time;

use checkpointer::CheckpointFlags;
use common::pg_control::ControlFileData;
use elog::{Result, Severity};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, globals};

use begin::Plan;
use cleanup::Unlogged;
use redo::{Reader, Replayed};
use signals::Wish;
use source::Source;
use target::Target;

/// Entry point. C: `StartupProcessMain`.
pub fn startup_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    storage::init_process();
    interrupt::set_processor(leave_if_asked);
    rmgr::register_builtin();
    elog::set_context_source(Some(redo::context));
    match start_cluster(&Checkpointer) {
        Ok(()) => exit::proc_exit(0),
        Err(error) if error.severity >= Severity::Panic => elog::abort(error),
        Err(error) => {
            error.with_severity(Severity::Fatal).report();
            exit::proc_exit(1)
        }
    }
}

/// The same in a process without a postmaster, which goes on as a session afterwards. C: `StartupXLOG` called by `InitPostgres`.
///
/// # Errors
/// Whatever ends recovery; 0A000 if the cluster is to be a standby.
pub fn recover_standalone() -> Result<()> {
    rmgr::register_builtin();
    elog::set_context_source(Some(redo::context));
    let recovered = start_cluster(&Checkpointer);
    elog::set_context_source(None);
    recovered
}

/// C: `HandleStartupProcInterrupts`.
fn leave_if_asked() -> Result<()> {
    if interrupt::take(Pending::Shutdown) {
        exit::proc_exit(1);
    }
    if interrupt::take(Pending::ConfigReload) {
        source::reread_config();
    }
    Ok(())
}

/// Between two records. The postmaster is looked for at times only: it costs a system call.
fn between_records(records: &mut u32) -> Result<()> {
    *records = records.wrapping_add(1);
    if records.is_multiple_of(1024) && !shmem::postmaster_alive() {
        exit::proc_exit(1);
    }
    leave_if_asked()
}

/// Who makes the checkpoints of the end.
trait Checkpoints {
    /// Step 6: made when this returns.
    fn end_of_recovery(&self) -> Result<()>;
    /// Not waited for.
    fn after_promotion(&self) -> Result<()>;
}

/// The process for it.
struct Checkpointer;

impl Checkpoints for Checkpointer {
    fn end_of_recovery(&self) -> Result<()> {
        checkpointer::request_checkpoint(
            CheckpointFlags::END_OF_RECOVERY | CheckpointFlags::IMMEDIATE | CheckpointFlags::WAIT,
        )
    }

    fn after_promotion(&self) -> Result<()> {
        checkpointer::request_checkpoint(CheckpointFlags::FORCE)
    }
}

/// C: `StartupXLOG`.
fn start_cluster(checkpoints: &dyn Checkpoints) -> Result<()> {
    start_with(checkpoints, Box::new(source::WalReceiver))
}

/// With another walreceiver.
fn start_with(checkpoints: &dyn Checkpoints, upstream: Box<dyn source::Upstream>) -> Result<()> {
    let data_dir = globals::data_dir();
    let control = wal::control_file::read()?;
    begin::log_previous_end(&control);
    begin::check_directories(data_dir)?;
    if begin::is_crash(control.state) {
        cleanup::remove_temporary_segments(data_dir);
        cleanup::sync_data_directory()?;
    }
    cleanup::remove_temporary_files(data_dir);
    let mut signals = signals::read(data_dir)?;
    let mut wish = Wish::read(signals, begin::known_timeline(&control))?;
    if signals.recovery && wish.target != Target::None && begin::is_completed(&control, data_dir) {
        // The target lies behind; a second recovery would look for it in vain.
        signals = signals.forget()?;
        wish = Wish::read(signals, begin::known_timeline(&control))?;
    }
    signals::log_begin(signals, &wish.target);
    let mut reader = Reader::with_source(Source::new(wish.latest_timeline, upstream), control.xlog_seg_size);
    reader.set_system_identifier(control.system_identifier);
    let plan = begin::plan(&control, signals, &mut reader)?;
    if plan.recover && !state::in_archive() {
        begin::log_crash_recovery(&control);
    }
    wal::startup::attach(&ControlFileData { checkpoint_copy: plan.checkpoint.clone(), ..control.clone() });
    // Before anything could be removed that a slot keeps.
    replication::slot::startup()?;
    transam::startup(&transam::StartupState::of_checkpoint(&plan.checkpoint))?;
    let target_timeline = state::with(|state| state.target_timeline.get());
    wal::timeline::restore_history_files(plan.checkpoint.this_timeline, target_timeline)?;
    transam::twophase::restore_from_disk()?;
    xlog::set_full_page_writes(plan.checkpoint.full_page_writes);
    let replayed =
        if plan.recover { recover(&plan, &wish, &control, &mut reader)? } else { Replayed::default() };
    finish::finish(&plan, (signals, &wish), &replayed, &mut reader, checkpoints)
}

/// Steps 2 and 4. C: the `InRecovery` part of `StartupXLOG`.
fn recover(plan: &Plan, wish: &Wish, control: &ControlFileData, reader: &mut Reader) -> Result<Replayed> {
    begin::record_start(plan, control.state)?;
    consistency::check_required_settings(control)?;
    if begin::is_crash(control.state) {
        // Nobody knows which counters were lost.
        pgstat::reset_all();
    }
    cleanup::reset_unlogged(globals::data_dir(), Unlogged::Cleanup)?;
    wal::startup::begin_redo(plan.checkpoint.redo, state::in_archive());
    storage::smgr::set_in_redo(true);
    perform::prepare_hot_standby(plan)?;
    let replayed = perform::replay(plan, wish, reader)?;
    if replayed.records > 0 {
        storage::redo::check_invalid_pages()?;
    }
    storage::smgr::set_in_redo(false);
    Ok(replayed)
}

/// A moment as the log shows it: whole seconds in `log_timezone`.
fn timestamp_text(unix_secs: i64) -> String {
    let zone = elog::timezone(&guc::vars::LOG_TIMEZONE.get()).unwrap_or(jiff::tz::TimeZone::UTC);
    let moment = jiff::Timestamp::from_second(unix_secs).unwrap_or_default();
    moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod world_tests;
