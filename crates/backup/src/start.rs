//! The beginning of a backup.
//!
//! The order that makes it right (C: `do_pg_backup_start`):
//!
//! 1. Full-page images are forced. They must be before the redo point: a page changed between it and the moment they begin
//!    would have no image to replace a torn copy (B1).
//! 2. The segment ends, so that pages of WAL written while nobody asked for images are not in the same segment as the redo
//!    point: tools that drop images from archived segments look at the first page of each.
//! 3. A checkpoint; its redo point must be another one than that of any backup before, since history files are named by it
//!    (B2). So the loop: two sessions that start at once may have shared one checkpoint.
//!
//! C counterpart: `do_pg_backup_start` of xlog.c.

use std::sync::atomic::Ordering;

use checkpointer::CheckpointFlags;
use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, error};

use crate::label::{self, Label};
use crate::tablespaces::{self, TablespaceInfo};
use crate::{BackupState, LABEL_BYTES_MAX, LAST_START};

/// Starts a backup: counted as running until [`crate::stop`] or [`crate::session::abort`]. Waits for a checkpoint, `fast` for one
/// without pauses. Fills in the tablespaces that the copy must have.
///
/// # Errors
/// 55000 if WAL has too little in it, or pages without images were replayed on a standby; 22023 for too long a label; those of
/// the checkpoint, and a cancel while waiting for it. No backup is running then.
#[doc(alias = "do_pg_backup_start")]
pub fn start(label: &str, fast: bool, tablespaces: &mut Vec<TablespaceInfo>) -> Result<BackupState> {
    let in_recovery = wal::in_recovery();
    require_wal(in_recovery)?;
    if label.len() > LABEL_BYTES_MAX {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "backup label too long (max {LABEL_BYTES_MAX} bytes)"
        ));
    }
    let running = Running::begin();
    if !in_recovery {
        wal::request_switch(false);
    }
    let point = fresh_checkpoint(fast, in_recovery)?;
    *tablespaces = tablespaces::read(miscinit::globals::data_dir())?;
    let label_file = Label {
        start_lsn: point.redo,
        checkpoint_lsn: point.record,
        timeline: point.timeline,
        from_standby: in_recovery,
        start_time: label::now(),
        label,
    }
    .text(wal::geometry(), &guc::log_timezone());
    running.keep();
    Ok(BackupState {
        start_lsn: point.redo,
        checkpoint_lsn: point.record,
        start_timeline: point.timeline,
        started_in_recovery: in_recovery,
        label_file,
        tablespace_map: tablespaces::map_text(tablespaces),
    })
}

/// Below `wal_level` replica, changes may be missing from WAL.
pub(crate) fn require_wal(in_recovery: bool) -> Result<()> {
    if in_recovery || wal::records::is_needed() {
        return Ok(());
    }
    Err(error!(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "WAL level not sufficient for making an online backup"
    )
    .hint("wal_level must be set to \"replica\" or \"logical\" at server start."))
}

/// The running backup until its start is done: given back on any error.
struct Running(bool);

impl Running {
    fn begin() -> Running {
        wal::force_full_page_writes(true);
        Running(true)
    }

    fn keep(mut self) {
        self.0 = false;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0 {
            wal::force_full_page_writes(false);
        }
    }
}

/// The checkpoint that a backup begins with.
struct StartPoint {
    redo: Lsn,
    record: Lsn,
    timeline: TimeLineId,
}

fn fresh_checkpoint(fast: bool, in_recovery: bool) -> Result<StartPoint> {
    let mut flags = CheckpointFlags::FORCE | CheckpointFlags::WAIT;
    flags.set(CheckpointFlags::IMMEDIATE, fast);
    loop {
        checkpointer::request_checkpoint(flags)?;
        let (point, full_page_writes) = last_checkpoint()?;
        if in_recovery {
            // A restartpoint's redo point is whatever the primary's was: backups of a standby may share it, and have no
            // history file.
            if !full_page_writes || point.redo <= wal::recovery::fpw_disabled_at() {
                return Err(images_missing(
                    "WAL generated with full_page_writes=off was replayed since last restartpoint",
                ));
            }
            return Ok(point);
        }
        if is_first_at(point.redo) {
            return Ok(point);
        }
    }
}

/// Takes the redo point for one backup; false if another has had it (B2).
fn is_first_at(redo: Lsn) -> bool {
    LAST_START.get().fetch_max(redo.0, Ordering::AcqRel) < redo.0
}

/// What pg_control names, and whether full-page writes were on there.
fn last_checkpoint() -> Result<(StartPoint, bool)> {
    let control = crate::control_file()?;
    let checkpoint = control.checkpoint_copy;
    let point =
        StartPoint { redo: checkpoint.redo, record: control.checkpoint, timeline: checkpoint.this_timeline };
    Ok((point, checkpoint.full_page_writes))
}

/// A standby cannot make its primary log images; so what it has replayed must not be without.
pub(crate) fn images_missing(message: &str) -> PgError {
    error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{message}").hint(
        "This means that the backup being taken on the standby is corrupt and should not be used. \
         Enable full_page_writes and run CHECKPOINT on the primary, and then try an online backup again.",
    )
}
