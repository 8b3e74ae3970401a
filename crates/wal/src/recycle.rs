//! How much WAL there is: when a checkpoint is due for its sake, and which old segments are kept, renamed or removed.
//!
//! C counterpart: `RemoveOldXlogFiles`, `XLOGfileslop`, `PreallocXlogFiles`, `UpdateCheckPointDistanceEstimate`,
//! `CalculateCheckpointSegments`, `KeepLogSeg` of xlog.c.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::Ordering;

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, Severity, errno_text, error};

use crate::layout::SegNo;
use crate::shared::{geometry, in_recovery, shared, timeline};
use crate::{archive, recovery_point, segment};

/// Segments touched by a checkpoint, for its log line. C: `ckpt_segs_added` and its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Made in advance.
    pub added: u32,
    /// Deleted.
    pub removed: u32,
    /// Renamed to serve again.
    pub recycled: u32,
}

thread_local! {
    /// Moving average and last value of the WAL between checkpoints, in bytes; the checkpointer's own.
    static DISTANCE: Cell<(f64, f64)> = const { Cell::new((0.0, 0.0)) };
}

/// Whole segments in so many megabytes. C: `ConvertToXSegs`.
fn segments_in(megabytes: i32) -> u64 {
    megabytes as u64 / (u64::from(geometry().segment_size()) >> 20)
}

/// With segments this large, the sizes in megabytes must mean something. C: in `ReadControlFile`.
///
/// # Errors
/// 22023 if less than two segments fit into one of them.
pub fn check_sizes() -> Result<()> {
    let sizes =
        [("min_wal_size", guc::vars::MIN_WAL_SIZE.get()), ("max_wal_size", guc::vars::MAX_WAL_SIZE.get())];
    match sizes.into_iter().find(|(_, megabytes)| segments_in(*megabytes) < 2) {
        Some((name, _)) => Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "\"{name}\" must be at least twice \"wal_segment_size\""
        )),
        None => Ok(()),
    }
}

/// Segments between two checkpoints so that `max_wal_size` is not exceeded, at least 1. C: `CalculateCheckpointSegments`.
pub fn checkpoint_segments() -> u64 {
    let target = guc::vars::CHECKPOINT_COMPLETION_TARGET.get();
    let segments = segments_in(guc::vars::MAX_WAL_SIZE.get()) as f64 / (1.0 + target);
    (segments as u64).max(1)
}

/// Has so much been written that a checkpoint is due, now that this segment is full? C: `XLogCheckpointNeeded`.
pub fn checkpoint_needed(segment: SegNo) -> bool {
    let redo = Lsn(shared().redo.load(Ordering::Acquire));
    segment >= geometry().segment(redo) + (checkpoint_segments() - 1)
}

/// After a checkpoint: so much WAL was written since the one before. Grows at once, falls slowly.
/// C: `UpdateCheckPointDistanceEstimate`.
pub fn update_distance_estimate(bytes: u64) {
    let (estimate, _) = DISTANCE.get();
    let bytes = bytes as f64;
    let estimate = if estimate < bytes { bytes } else { 0.90 * estimate + 0.10 * bytes };
    DISTANCE.set((estimate, bytes));
}

/// (estimated, last) bytes between checkpoints, for the log line. C: `CheckPointDistanceEstimate`,
/// `PrevCheckPointDistance`.
pub fn distance_estimate() -> (f64, f64) {
    DISTANCE.get()
}

/// The last segment worth keeping ready for the time until the next checkpoint ends. C: `XLOGfileslop`.
pub fn slop(last_redo: Lsn) -> SegNo {
    let size = f64::from(geometry().segment_size());
    let first = geometry().segment(last_redo);
    let least = first + segments_in(guc::vars::MIN_WAL_SIZE.get()) - 1;
    let most = first + segments_in(guc::vars::MAX_WAL_SIZE.get()) - 1;
    // Ten percent more than expected, for safety.
    let distance = (1.0 + guc::vars::CHECKPOINT_COMPLETION_TARGET.get()) * DISTANCE.get().0 * 1.10;
    let wanted = ((last_redo.0 as f64 + distance) / size).ceil() as SegNo;
    wanted.min(most).max(least)
}

/// The oldest segment to keep: before `candidate`, if `wal_keep_size` or a replication slot needs it. `end` is where WAL
/// ends. C: `KeepLogSeg`.
pub fn keep_from(end: Lsn, candidate: SegNo) -> SegNo {
    let current = geometry().segment(end);
    let mut oldest = current;
    let needed = Lsn(shared().slots_need.load(Ordering::Relaxed));
    if needed != Lsn::INVALID {
        oldest = geometry().segment(needed).min(current);
        if let Ok(limit) = u32::try_from(guc::vars::MAX_SLOT_WAL_KEEP_SIZE.get()) {
            oldest = oldest.max(current.saturating_sub(segments_in(limit as i32)));
        }
    }
    let keep = segments_in(guc::vars::WAL_KEEP_SIZE.get());
    if keep > 0 && current - oldest < keep {
        oldest = if current <= keep { 1 } else { current - keep };
    }
    oldest.min(candidate)
}

/// Tells what replication slots still need; 0 for nothing. C: `XLogSetReplicationSlotMinimumLSN`.
pub fn set_needed_by_slots(lsn: Lsn) {
    shared().slots_need.store(lsn.0, Ordering::Relaxed);
}

/// The newest segment that has been removed; 0 if none was. C: `XLogGetLastRemovedSegno`.
pub fn last_removed_segment() -> SegNo {
    shared().last_removed_segment.load(Ordering::Relaxed)
}

/// A file in the WAL directory.
pub(crate) struct WalEntry {
    pub(crate) name: String,
    /// A plain file, not a link: it can serve again under another name.
    is_file: bool,
}

/// What is in the WAL directory, read as a whole: renaming files while reading could show one twice.
///
/// # Errors
/// If the directory cannot be read.
pub(crate) fn wal_entries() -> Result<Vec<WalEntry>> {
    let dir = segment::wal_dir();
    let failed = |e: std::io::Error| {
        let code = elog::sqlstate_for_file_access(&e);
        error!(code, "could not open directory \"{}\": {}", dir.display(), errno_text(&e))
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            entries.push(WalEntry { name, is_file });
        }
    }
    Ok(entries)
}

/// Removes or recycles all segments up to and including `last`, whatever their timeline, unless the archiver still waits
/// for one. `redo` is the last checkpoint's, `end` where WAL ends now. C: `RemoveOldXlogFiles`.
///
/// # Errors
/// If the directory cannot be read. A file that cannot be removed is logged.
pub fn remove_old_files(last: SegNo, redo: Lsn, end: Lsn, timeline: TimeLineId) -> Result<SegmentCounts> {
    let mut counts = SegmentCounts::default();
    let mut next_free = geometry().segment(end);
    let keep_ready = slop(redo);
    // Names compare without their timeline, so that other timelines' segments go at the same time.
    let last_name = segment::name(TimeLineId(0), last, geometry());
    elog::ereport!(Debug2, "attempting to remove WAL segments older than log file {last_name}");
    for entry in wal_entries()? {
        let name = &entry.name;
        if !segment::is_segment_name(name) && !segment::is_partial_name(name) {
            continue;
        }
        // With its suffix: the part of a segment stays one checkpoint longer than the segment would.
        if name[8..] > last_name[8..] || !archive::check_done(name) {
            continue;
        }
        note_removed(name);
        remove_file(&entry, keep_ready, &mut next_free, timeline, &mut counts);
    }
    Ok(counts)
}

/// C: `UpdateLastRemovedPtr`.
fn note_removed(name: &str) {
    if let Some((_, number)) = segment::parse_name(&name[..segment::NAME_LEN], geometry()) {
        shared().last_removed_segment.fetch_max(number, Ordering::Relaxed);
    }
}

/// C: `RemoveXlogFile`.
pub(crate) fn remove_file(
    entry: &WalEntry,
    keep_ready: SegNo,
    next_free: &mut SegNo,
    timeline: TimeLineId,
    counts: &mut SegmentCounts,
) {
    let name = &entry.name;
    let path = segment::wal_dir().join(name);
    let wanted = guc::vars::WAL_RECYCLE.get() && entry.is_file && *next_free <= keep_ready;
    if wanted && let Some(number) = segment::install(*next_free, &path, true, keep_ready, timeline) {
        elog::ereport!(Debug2, "recycled write-ahead log file \"{name}\"");
        counts.recycled += 1;
        *next_free = number + 1;
    } else {
        elog::ereport!(Debug2, "removing write-ahead log file \"{name}\"");
        if let Err(error) = file::durable_unlink(Path::new(&path)) {
            error.with_severity(Severity::Log).report();
            return;
        }
        counts.removed += 1;
    }
    archive::cleanup(name);
}

/// Makes the next segment in advance if the current one is three quarters full. `end` is where WAL ends.
/// C: `PreallocXlogFiles`.
///
/// # Errors
/// If the file cannot be made.
pub fn preallocate(end: Lsn, timeline: TimeLineId) -> Result<u32> {
    if !shared().install_allowed.load(Ordering::Acquire) {
        return Ok(0);
    }
    let segment = geometry().previous_segment(end);
    let offset = geometry().offset(Lsn(end.0 - 1));
    if u64::from(offset) < u64::from(geometry().segment_size()) / 4 * 3 {
        return Ok(0);
    }
    Ok(u32::from(segment::make(segment + 1, timeline)?))
}

/// Gives up the replication slots that need WAL before this segment, and says whether there was one: `replication` is above
/// this crate. C: `InvalidateObsoleteReplicationSlots`.
pub type GiveUpSlots = fn(SegNo) -> Result<bool>;

/// The WAL part of a checkpoint's clean-up: which segments are no longer needed since recovery would start at `redo`,
/// and one more made in advance. `end` is the end of the checkpoint's record; what comes from `needed` on is kept in any case,
/// if it is valid. C: the end of `CreateCheckPoint`.
///
/// # Errors
/// What [`remove_old_files`] and [`preallocate`] return.
pub fn after_checkpoint(
    redo: Lsn,
    end: Lsn,
    timeline: TimeLineId,
    shutdown: bool,
    needed: Lsn,
    give_up: GiveUpSlots,
) -> Result<SegmentCounts> {
    let mut counts = remove_unneeded(redo, end, timeline, needed, give_up)?;
    if !shutdown {
        counts.added = preallocate(end, timeline)?;
    }
    Ok(counts)
}

/// The same for a restartpoint: WAL ends where replay is, or what a primary has sent (`received`, invalid for none), and segments
/// that are kept for later use get the names of the timeline that is being replayed, or of the new one if recovery has ended
/// meanwhile. C: the end of `CreateRestartPoint`.
///
/// # Errors
/// What [`remove_old_files`] and [`preallocate`] return.
pub fn after_restartpoint(
    redo: Lsn,
    received: Lsn,
    needed: Lsn,
    give_up: GiveUpSlots,
) -> Result<SegmentCounts> {
    let (replayed, replayed_timeline) = recovery_point::replayed();
    let end = replayed.max(received);
    let timeline = if in_recovery() { replayed_timeline } else { timeline() };
    let mut counts = remove_unneeded(redo, end, timeline, needed, give_up)?;
    counts.added = preallocate(end, timeline)?;
    Ok(counts)
}

fn remove_unneeded(
    redo: Lsn,
    end: Lsn,
    timeline: TimeLineId,
    needed: Lsn,
    give_up: GiveUpSlots,
) -> Result<SegmentCounts> {
    let mut candidate = geometry().segment(redo);
    if needed != Lsn::INVALID {
        candidate = candidate.min(geometry().segment(needed));
    }
    let mut oldest = keep_from(end, candidate);
    if give_up(oldest)? {
        oldest = keep_from(end, candidate);
    }
    match oldest.checked_sub(1) {
        Some(last) => remove_old_files(last, redo, end, timeline),
        None => Ok(SegmentCounts::default()),
    }
}
