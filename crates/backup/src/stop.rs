//! The end of a backup: the record, the history file, and waiting for the archive.
//!
//! C counterpart: `do_pg_backup_stop` of xlog.c.

use std::time::Duration;

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, ereport, error, pg_error};
use miscinit::{exit, interrupt};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::segment;

use crate::label::{self, End};
use crate::start::{images_missing, require_wal};
use crate::{BackupState, history};

/// What the copy needs beside its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopResult {
    /// The copy needs WAL up to here.
    pub lsn: Lsn,
    /// Timeline of it.
    pub timeline: TimeLineId,
    /// Content of `backup_label`: belongs into the copy.
    pub label_file: String,
    /// Content of `tablespace_map`: belongs into the copy, if there are tablespaces.
    pub tablespace_map: Option<String>,
}

/// Ends a backup. With `wait_for_archive` returns when all WAL that the copy needs is archived, if there is an archiver. That may
/// take as long as the archive is broken: after each complaint about it `reported` is called, which can bring it to the client.
///
/// # Errors
/// 55000 if the standby was promoted meanwhile or pages without images were replayed; those of writing the history file; a
/// cancel while waiting, and those of `reported`. The backup is not running any more in any case.
#[doc(alias = "do_pg_backup_stop")]
pub fn stop(
    state: BackupState,
    wait_for_archive: bool,
    reported: &mut dyn FnMut() -> Result<()>,
) -> Result<StopResult> {
    let in_recovery = wal::in_recovery();
    wal::force_full_page_writes(false);
    require_wal(in_recovery)?;
    if state.started_in_recovery && !in_recovery {
        return Err(promoted());
    }
    let (lsn, timeline) = if in_recovery { end_on_standby(&state)? } else { end_on_primary(&state)? };
    let archives = wal::archive::is_active() && (!in_recovery || wal::archive::is_always_active());
    match (wait_for_archive, archives) {
        (true, true) => wait_for_archiver(&state, (lsn, timeline), reported)?,
        (true, false) => ereport!(
            Notice,
            "WAL archiving is not enabled; you must ensure that all required WAL segments are copied through \
             other means to complete the backup"
        ),
        (false, _) => {}
    }
    let tablespace_map = Some(state.tablespace_map).filter(|map| !map.is_empty());
    Ok(StopResult { lsn, timeline, label_file: state.label_file, tablespace_map })
}

/// What is copied from a server whose recovery ends meanwhile is consistent at no end that it knows.
pub fn promoted() -> PgError {
    error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the standby was promoted during online backup").hint(
        "This means that the backup being taken is corrupt and should not be used. \
         Try taking another online backup.",
    )
}

/// Nothing can be logged: the end is where replay must get to before what is on disk now is consistent.
fn end_on_standby(state: &BackupState) -> Result<(Lsn, TimeLineId)> {
    if state.start_lsn <= wal::recovery::fpw_disabled_at() {
        return Err(images_missing(
            "WAL generated with full_page_writes=off was replayed during online backup",
        ));
    }
    let control = crate::control_file()?;
    if !wal::in_recovery() {
        // Then what was read has no minimum recovery point any more, or not that of the copy.
        return Err(promoted());
    }
    Ok((control.min_recovery_point, control.min_recovery_point_timeline))
}

fn end_on_primary(state: &BackupState) -> Result<(Lsn, TimeLineId)> {
    let end = wal::records::log_backup_end(state.start_lsn);
    let timeline = wal::timeline();
    // So that the segment with the record can be archived; the switch flushes both.
    wal::request_switch(false);
    let content = label::history_text(
        &state.label_file,
        &End { stop_lsn: end, timeline, stop_time: label::now() },
        wal::geometry(),
        &guc::log_timezone(),
    );
    history::write(&history::name(timeline, state.start_lsn, wal::geometry()), &content)?;
    // Announces the new one, and removes those that the archive has.
    history::cleanup()?;
    Ok((end, timeline))
}

/// Seconds until the first complaint; doubles each time.
const SECONDS_BEFORE_WARNING: u32 = 60;

/// Waits until the archiver is through with all segments and the history file. It may be cancelled: the copy is then as good
/// as the archive becomes later. The last segment alone, for which PostgreSQL waits, says nothing of those before it where
/// several are archived at a time.
fn wait_for_archiver(
    state: &BackupState,
    (end, timeline): (Lsn, TimeLineId),
    reported: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let geometry = wal::geometry();
    let mut segments = (geometry.segment(state.start_lsn)..=geometry.previous_segment(end)).peekable();
    let mut all_are_archived = || {
        let is_busy = |number: &u64| wal::archive::is_busy(&segment::name(timeline, *number, geometry));
        while segments.next_if(|number| !is_busy(number)).is_some() {}
        segments.peek().is_none()
    };
    let history = history::name(timeline, state.start_lsn, geometry);
    let mut patience = Patience::new();
    while !all_are_archived() || wal::archive::is_busy(&history) {
        interrupt::check()?;
        if patience.should_tell() {
            ereport!(Notice, "base backup done, waiting for required WAL segments to be archived");
            reported()?;
        }
        if !pause()? {
            return Ok(());
        }
        if let Some(seconds) = patience.second_passed() {
            pg_error!(
                Warning,
                SqlState::WARNING,
                "still waiting for all required WAL segments to be archived ({seconds} seconds elapsed)"
            )
            .hint(
                "Check that your archive_command is executing properly.  You can safely cancel this backup, but \
                 the database backup will not be usable without all the WAL segments.",
            )
            .report();
            reported()?;
        }
    }
    ereport!(Notice, "all required WAL segments have been archived");
    Ok(())
}

/// One second; false if the archiver went with its postmaster, so that waiting makes no sense any more.
fn pause() -> Result<bool> {
    let woken =
        latch::wait(Wake::LATCH_OR_DEATH, Some(Duration::from_secs(1)), WaitEvent::BACKUP_WAIT_WAL_ARCHIVE);
    latch::reset();
    if !woken.postmaster_died() {
        return Ok(true);
    }
    if guc::vars::BACKEND_ON_POSTMASTER_DEATH.get() == "exit" {
        exit::proc_exit(1);
    }
    pg_error!(
        Warning,
        SqlState::WARNING,
        "nobody archives WAL any more, since the postmaster of this session has died"
    )
    .hint("The backup is complete when the server has been started again and all required WAL segments are archived.")
    .report();
    Ok(false)
}

/// When to say what while waiting.
struct Patience {
    seconds: u32,
    next_warning: u32,
    told: bool,
}

impl Patience {
    fn new() -> Patience {
        Patience { seconds: 0, next_warning: SECONDS_BEFORE_WARNING, told: false }
    }

    /// True once, after some seconds: who waits less need not hear of it.
    fn should_tell(&mut self) -> bool {
        let now = !self.told && self.seconds > 5;
        self.told |= now;
        now
    }

    /// The seconds so far, if it is time to complain.
    fn second_passed(&mut self) -> Option<u32> {
        self.seconds += 1;
        (self.seconds >= self.next_warning).then(|| {
            self.next_warning *= 2;
            self.seconds
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_become_rare() {
        let mut patience = Patience::new();
        let mut told = Vec::new();
        let mut warned = Vec::new();
        for second in 0..500 {
            if patience.should_tell() {
                told.push(second);
            }
            warned.extend(patience.second_passed());
        }
        assert_eq!(told, [6]);
        assert_eq!(warned, [60, 120, 240, 480]);
    }
}
