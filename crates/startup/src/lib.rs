//! The startup process: brings the cluster to a state from which sessions can begin, then ends.
//!
//! Started by: the postmaster, at start and after each crash of a child, once checkpointer and writer run.
//! Woken by:   nothing; it works through its list and leaves.
//! Ends by:    exit 0 = done, the cluster opens. SIGTERM = exit 1, between two records; SIGQUIT = exit 2, at once.
//!             Death of the postmaster = exit 1 at its next look.
//! If it dies: the postmaster gives up: it stops everything and exits 1.
//! Differs from PG 15: crash recovery only: a `backup_label`, `recovery.signal` or `standby.signal` is refused.
//!
//! What it does, in order:
//!
//! 1. reads pg_control and the last checkpoint's record (`begin`), and decides whether to recover;
//! 2. tidies up what a crash left (`cleanup`);
//! 3. sets the counters of transactions as they were at the checkpoint (`transam::startup`);
//! 4. replays WAL to its end (`redo`, with the table in [`rmgr`] and the records of WAL itself in `xlog`);
//! 5. makes WAL ready for writing behind that end (`wal::startup`);
//! 6. has the end-of-recovery checkpoint made, so that the next start need not do the same again;
//! 7. opens the cluster: pg_control says "in production".
//!
//! A crash at any moment before the end of 6 leaves pg_control with the old checkpoint, and all of this is
//! done again (R2).
//!
//! C counterpart: postmaster/startup.c, `StartupXLOG` of xlog.c, xlogrecovery.c.

#![forbid(unsafe_code)]

mod begin; // 1. where to begin
mod cleanup; // 2. files that a crash leaves

mod redo; // 3. the loop
pub mod rmgr; // 4a. who replays what

mod identify; // 4c. what records are called
mod xlog; // 4b. the records of WAL itself

mod progress; // 5. what the log says meanwhile

use checkpointer::CheckpointFlags;
use common::pg_control::{ControlFileData, DbState};
use common::{SqlState, Xid};
use elog::{Result, Severity, ereport, pg_error};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, globals, ps_status};
use wal::{DecodedRecord, Reader};

use begin::Plan;
use cleanup::Unlogged;
use redo::{Around, Replayed};

/// Entry point. C: `StartupProcessMain`.
pub fn startup_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    storage::init_process();
    interrupt::set_processor(leave_if_asked);
    rmgr::register_builtin();
    elog::set_context_source(Some(redo::context));
    match start_cluster(&request_end_of_recovery_checkpoint) {
        Ok(()) => exit::proc_exit(0),
        Err(error) if error.severity >= Severity::Panic => elog::abort(error),
        Err(error) => {
            error.with_severity(Severity::Fatal).report();
            exit::proc_exit(1)
        }
    }
}

/// C: `HandleStartupProcInterrupts`.
fn leave_if_asked() -> Result<()> {
    if interrupt::take(Pending::Shutdown) {
        exit::proc_exit(1);
    }
    if interrupt::take(Pending::ConfigReload) {
        auxprocess::reload_config();
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

/// Step 6. C: `PerformRecoveryXLogAction`.
fn request_end_of_recovery_checkpoint() -> Result<()> {
    checkpointer::request_checkpoint(
        CheckpointFlags::END_OF_RECOVERY | CheckpointFlags::IMMEDIATE | CheckpointFlags::WAIT,
    )
}

/// C: `StartupXLOG`.
fn start_cluster(checkpoint: &dyn Fn() -> Result<()>) -> Result<()> {
    let data_dir = globals::data_dir();
    let control = wal::control_file::read()?;
    begin::log_previous_end(control.state, &timestamp_text(control.time));
    begin::check_directories(data_dir)?;
    if begin::is_crash(control.state) {
        cleanup::remove_temporary_segments(data_dir);
        cleanup::sync_data_directory()?;
    }
    cleanup::remove_temporary_files(data_dir);
    begin::refuse_other_recoveries(data_dir)?;
    let timeline = control.checkpoint_copy.this_timeline;
    let mut reader = Reader::new(wal::segment::wal_dir(), control.xlog_seg_size, timeline);
    reader.set_system_identifier(control.system_identifier);
    let plan = begin::plan(&control, &mut reader)?;
    wal::startup::attach(&ControlFileData { checkpoint_copy: plan.checkpoint.clone(), ..control });
    transam::startup(&transam::StartupState::of_checkpoint(&plan.checkpoint))?;
    xlog::set_full_page_writes(plan.checkpoint.full_page_writes);
    let replayed = if plan.recover { recover(&plan, &mut reader)? } else { Replayed::default() };
    if plan.recover {
        cleanup::reset_unlogged(data_dir, Unlogged::Init)?;
    }
    leave_if_asked()?;
    open_wal(&plan, &replayed, &mut reader)?;
    ps_status::set_activity("");
    if plan.recover {
        checkpoint()?;
    }
    open_cluster()
}

/// Steps 2 and 4. C: the `InRecovery` part of `StartupXLOG`, `PerformWalRecovery`.
fn recover(plan: &Plan, reader: &mut Reader) -> Result<Replayed> {
    ereport!(Log, "database system was not properly shut down; automatic recovery in progress");
    wal::control_file::update(|control| {
        control.state = DbState::InCrashRecovery;
        control.time = unix_now();
        control.checkpoint = plan.checkpoint_start;
        control.checkpoint_copy = plan.checkpoint.clone();
    })?;
    // Nobody knows which counters were lost.
    pgstat::reset_all();
    cleanup::reset_unlogged(globals::data_dir(), Unlogged::Cleanup)?;
    wal::startup::begin_redo(plan.checkpoint.redo, false);
    storage::smgr::set_in_redo(true);
    let mut title = Title::default();
    let mut records = 0;
    let mut last_xid = Xid::INVALID;
    let timeline = plan.checkpoint.this_timeline;
    let mut around = Around {
        between: &mut || between_records(&mut records),
        before: &mut |record| {
            title.follow(record);
            // Ids seen in WAL were in use: the next one comes after them.
            if record.xid != last_xid {
                last_xid = record.xid;
                transam::varsup::advance_past(record.xid);
            }
            wal::recovery_point::set_replayed(record.end_lsn, timeline);
        },
    };
    // A checkpoint made online has its redo point before its record; one made at shutdown is its own redo point.
    let from =
        if plan.checkpoint.redo < plan.checkpoint_start { plan.checkpoint.redo } else { plan.checkpoint_end };
    let replayed = redo::replay(reader, from, &rmgr::TABLE, &mut around)?;
    if replayed.records == 0 {
        ereport!(Log, "redo is not required");
    } else {
        storage::redo::check_invalid_pages()?;
    }
    storage::smgr::set_in_redo(false);
    Ok(replayed)
}

/// The title shows the segment that is being replayed. C: `recovering %s` in `XLogFileRead`.
#[derive(Default)]
struct Title {
    segment: Option<wal::SegNo>,
}

impl Title {
    fn follow(&mut self, record: &DecodedRecord<'_>) {
        let segment = wal::geometry().segment(record.lsn);
        if self.segment.replace(segment) != Some(segment) {
            let name = wal::segment::name(wal::timeline(), segment, wal::geometry());
            ps_status::set_activity(&format!("recovering {name}"));
        }
    }
}

/// Step 5: WAL goes on where it ends. Only this process may write it yet. C: `FinishWalRecovery` and what follows it.
fn open_wal(plan: &Plan, replayed: &Replayed, reader: &mut Reader) -> Result<()> {
    let last_record = if replayed.records == 0 { plan.checkpoint_start } else { replayed.last_record };
    let end = wal::startup::find_end(reader, last_record, replayed.broken)
        .map_err(|reason| pg_error!(Panic, SqlState::DATA_CORRUPTED, "{reason}"))?;
    let (timeline, previous) = (plan.checkpoint.this_timeline, plan.checkpoint.prev_timeline);
    wal::startup::begin_writing(&end, timeline, previous);
    wal::recycle::preallocate(end.end, timeline)?;
    transam::trim()?;
    if let Some(broken) = end.broken {
        wal::records::log_overwrite_contrecord(broken.start, broken.missing)?;
    }
    wal::startup::set_full_page_writes(xlog::full_page_writes());
    wal::records::update_full_page_writes();
    Ok(())
}

/// Step 7.
fn open_cluster() -> Result<()> {
    wal::records::report_parameters()?;
    wal::control_file::update(|control| {
        control.state = DbState::InProduction;
        control.time = unix_now();
    })?;
    // From here on everybody may write.
    wal::startup::finish();
    Ok(())
}

/// A moment as the log shows it: whole seconds in `log_timezone`.
fn timestamp_text(unix_secs: i64) -> String {
    let zone = elog::timezone(&guc::vars::LOG_TIMEZONE.get()).unwrap_or(jiff::tz::TimeZone::UTC);
    let moment = jiff::Timestamp::from_second(unix_secs).unwrap_or_default();
    moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A moment of WAL (microseconds since 2000-01-01) as SQL shows it. C: `timestamptz_to_str`.
fn timestamp_text_micros(pg_micros: i64) -> String {
    let zone = elog::timezone(&guc::vars::LOG_TIMEZONE.get()).unwrap_or(jiff::tz::TimeZone::UTC);
    let unix = pg_micros.saturating_add(activity::PG_EPOCH_MICROS);
    let moment = jiff::Timestamp::from_microsecond(unix).unwrap_or_default().to_zoned(zone);
    let text = moment.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let hours = moment.offset().seconds() / 3600;
    format!("{text}{hours:+03}")
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs() as i64)
}

#[cfg(test)]
mod world_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_wal() {
        assert_eq!(timestamp_text_micros(0).len(), "2000-01-01 00:00:00+00".len());
    }
}
