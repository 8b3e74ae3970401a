//! Records of the log's own resource manager, other than checkpoints.
//!
//! C counterpart: `XLogPutNextOid`, `RequestXLogSwitch`, `XLogRestorePoint`, `XLogReportParameters`,
//! `UpdateFullPageWrites`, `CreateOverwriteContrecordRecord` of xlog.c; `log_newpage`, `XLogSaveBufferForHint` of xloginsert.c.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use common::pg_control::ControlFileData;
use common::{Lsn, Oid, SqlState, TimeLineId};
use elog::{Result, ereport, error};
use page::Page;

use crate::checkpoint::info;
use crate::insert::{self, insert_lsn, last_record_start};
use crate::layout::page_flags;
use crate::shared::{geometry, in_recovery, shared};
use crate::slots::{AllSlots, Slot};
use crate::{BlockTag, Record, RegFlags, RmgrId, buffers, checkpoint, control_file, write};

/// Longest name of a restore point, with its end. C: `MAXFNAMELEN`.
const NAME_BYTES: usize = 64;

/// The server will give out oids up to this one without another record. C: `XLogPutNextOid`.
///
/// Not flushed: whoever uses one of the oids logs that afterwards.
pub fn log_next_oid(next: Oid) -> Lsn {
    let bytes = next.0.to_le_bytes();
    let mut record = Record::new(RmgrId::Xlog, info::NEXT_OID);
    record.data(&bytes);
    record.insert()
}

/// Ends the current segment, unless it has just begun; returns the end of the record that does so, or the position
/// where WAL ends. C: `RequestXLogSwitch`.
pub fn request_switch(mark_unimportant: bool) -> Lsn {
    let mut record = Record::new(RmgrId::Xlog, info::SWITCH);
    if mark_unimportant {
        record.mark_unimportant();
    }
    record.insert()
}

/// When a segment was last finished, full or not, in Unix seconds, and where. C: `GetLastSegSwitchData`.
pub fn last_switch() -> (i64, Lsn) {
    let shared = shared();
    let reading = shared.write_lock.shared();
    let end = Lsn(shared.last_switch_lsn.load(Ordering::Relaxed));
    let time = shared.last_switch_time.load(Ordering::Relaxed);
    drop(reading);
    shared.write_rounds.finish();
    (time, end)
}

/// Does nothing when replayed. C: `XLOG_NOOP`.
pub fn log_noop(payload: &[u8]) -> Lsn {
    let mut record = Record::new(RmgrId::Xlog, info::NOOP);
    record.data(payload);
    record.insert()
}

/// A page as a whole. C: `log_newpage`.
pub fn log_new_page(tag: BlockTag, page: &Page, standard: bool) -> Lsn {
    log_new_pages(&[(tag, page)], standard)
}

/// Up to 32 pages as a whole in one record. C: `log_newpages`.
pub fn log_new_pages(pages: &[(BlockTag, &Page)], standard: bool) -> Lsn {
    let mut flags = RegFlags::FORCE_IMAGE;
    flags.set(RegFlags::STANDARD, standard);
    let mut record = Record::new(RmgrId::Xlog, info::FPI);
    for (id, (tag, page)) in (0..).zip(pages) {
        record.block(id, *tag, page, flags);
    }
    record.insert()
}

/// Before the first hint bit of a page since the checkpoint is set, when hint bits must not tear a page: its image.
/// `None` if the page has been logged since. C: `XLogSaveBufferForHint`.
///
/// The page may be share-locked only: it is copied before anything is computed over it.
pub fn log_image_for_hint(tag: BlockTag, page: &Page, standard: bool) -> Option<Lsn> {
    if page.lsn() > checkpoint::redo_ptr() {
        return None;
    }
    let mut flags = RegFlags::empty();
    flags.set(RegFlags::STANDARD, standard);
    let mut record = Record::new(RmgrId::Xlog, info::FPI_FOR_HINT);
    record.block(0, tag, page, flags);
    Some(record.insert())
}

/// Would a record that changes this page take its full image? C: `XLogCheckBufferNeedsBackup`.
pub fn needs_full_image(page: &Page) -> bool {
    let policy = insert::image_policy();
    policy.do_page_writes && page.lsn() <= policy.redo
}

/// Setting a hint bit may need an image: with data checksums or `wal_log_hints`. C: `XLogHintBitIsNeeded`.
#[inline]
pub fn hint_bits_need_wal() -> bool {
    guc::vars::DATA_CHECKSUMS.get() || guc::vars::WAL_LOG_HINTS.get()
}

/// `wal_level` as a number: 0 minimal, 1 replica, 2 logical. C: `wal_level`.
pub fn wal_level() -> i32 {
    match guc::vars::WAL_LEVEL.get() {
        "minimal" => 0,
        "logical" => 2,
        _ => 1,
    }
}

/// C: `XLogIsNeeded`.
pub fn is_needed() -> bool {
    wal_level() >= 1
}

/// Microseconds since 2000-01-01. C: `GetCurrentTimestamp`.
fn timestamp() -> i64 {
    const PG_EPOCH_SECONDS: i64 = 946_684_800;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64 - PG_EPOCH_SECONDS * 1_000_000)
}

/// A name for this position, to recover to. C: `XLogRestorePoint`.
///
/// # Errors
/// 22023 if the name has more than 63 bytes.
pub fn log_restore_point(name: &str) -> Result<Lsn> {
    if name.len() >= NAME_BYTES {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "value too long for restore point (maximum {} characters)",
            NAME_BYTES - 1
        ));
    }
    let mut body = [0; 8 + NAME_BYTES];
    body[..8].copy_from_slice(&timestamp().to_le_bytes());
    body[8..8 + name.len()].copy_from_slice(name.as_bytes());
    let mut record = Record::new(RmgrId::Xlog, info::RESTORE_POINT);
    record.data(&body);
    let end = record.insert();
    ereport!(Log, "restore point \"{name}\" created at {end}");
    Ok(end)
}

/// A backup that began at `start` (its redo point) ends here: recovery from it must come this far. C: the record of
/// `do_pg_backup_stop`.
pub fn log_backup_end(start: Lsn) -> Lsn {
    let body = start.0.to_le_bytes();
    let mut record = Record::new(RmgrId::Xlog, info::BACKUP_END);
    record.data(&body);
    record.insert()
}

/// Recovery is over and the new timeline begins here, without a checkpoint: writes the record that says so, and tells
/// pg_control, so that recovery after a crash follows the timelines to here. C: `CreateEndOfRecoveryRecord`.
///
/// # Errors
/// What reading or writing pg_control returns.
pub fn end_of_recovery() -> Result<Lsn> {
    let (timeline, previous) = {
        let _all = AllSlots::take();
        let shared = shared();
        let of = |tli: &std::sync::atomic::AtomicU32| TimeLineId(tli.load(Ordering::Relaxed));
        (of(&shared.timeline), of(&shared.previous_timeline))
    };
    let end = log_end_of_recovery(timeline, previous);
    control_file::update(|control| {
        control.min_recovery_point = end;
        control.min_recovery_point_timeline = timeline;
    })?;
    Ok(end)
}

/// The record of [`end_of_recovery`], flushed.
fn log_end_of_recovery(timeline: TimeLineId, previous: TimeLineId) -> Lsn {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&timestamp().to_le_bytes());
    body[8..12].copy_from_slice(&timeline.0.to_le_bytes());
    body[12..].copy_from_slice(&previous.0.to_le_bytes());
    let mut record = Record::new(RmgrId::Xlog, info::END_OF_RECOVERY);
    record.data(&body);
    let end = record.insert();
    write::flush(end);
    end
}

/// The settings that a standby must match, as the record and pg_control hold them. C: `xl_parameter_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// `wal_level` as a number.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl Parameters {
    /// As the settings are now.
    pub fn current() -> Parameters {
        use guc::vars;
        Parameters {
            max_connections: vars::MAX_CONNECTIONS.get(),
            max_worker_processes: vars::MAX_WORKER_PROCESSES.get(),
            max_wal_senders: vars::MAX_WAL_SENDERS.get(),
            max_prepared_xacts: vars::MAX_PREPARED_TRANSACTIONS.get(),
            max_locks_per_xact: vars::MAX_LOCKS_PER_TRANSACTION.get(),
            wal_level: wal_level(),
            wal_log_hints: vars::WAL_LOG_HINTS.get(),
            track_commit_timestamp: vars::TRACK_COMMIT_TIMESTAMP.get(),
        }
    }

    /// As pg_control has them.
    pub fn of_control_file(control: &ControlFileData) -> Parameters {
        Parameters {
            max_connections: control.max_connections,
            max_worker_processes: control.max_worker_processes,
            max_wal_senders: control.max_wal_senders,
            max_prepared_xacts: control.max_prepared_xacts,
            max_locks_per_xact: control.max_locks_per_xact,
            wal_level: control.wal_level,
            wal_log_hints: control.wal_log_hints,
            track_commit_timestamp: control.track_commit_timestamp,
        }
    }

    /// Puts them into pg_control's data.
    pub fn store(&self, control: &mut ControlFileData) {
        control.max_connections = self.max_connections;
        control.max_worker_processes = self.max_worker_processes;
        control.max_wal_senders = self.max_wal_senders;
        control.max_prepared_xacts = self.max_prepared_xacts;
        control.max_locks_per_xact = self.max_locks_per_xact;
        control.wal_level = self.wal_level;
        control.wal_log_hints = self.wal_log_hints;
        control.track_commit_timestamp = self.track_commit_timestamp;
    }

    /// The record's 28 bytes.
    pub fn to_bytes(&self) -> [u8; 28] {
        let mut bytes = [0; 28];
        let numbers = [
            self.max_connections,
            self.max_worker_processes,
            self.max_wal_senders,
            self.max_prepared_xacts,
            self.max_locks_per_xact,
            self.wal_level,
        ];
        for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[24] = u8::from(self.wal_log_hints);
        bytes[25] = u8::from(self.track_commit_timestamp);
        bytes
    }

    /// From a record; `None` if it is too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<Parameters> {
        if bytes.len() < 26 {
            return None;
        }
        let number = |i: usize| crate::layout::u32_at(bytes, i * 4) as i32;
        Some(Parameters {
            max_connections: number(0),
            max_worker_processes: number(1),
            max_wal_senders: number(2),
            max_prepared_xacts: number(3),
            max_locks_per_xact: number(4),
            wal_level: number(5),
            wal_log_hints: bytes[24] != 0,
            track_commit_timestamp: bytes[25] != 0,
        })
    }
}

/// At the start of normal work: if a setting that matters to standbys differs from what pg_control says, logs and stores
/// it. C: `XLogReportParameters`.
///
/// # Errors
/// What reading or writing pg_control returns.
pub fn report_parameters() -> Result<()> {
    let current = Parameters::current();
    let old = Parameters::of_control_file(&control_file::read()?);
    if current == old {
        return Ok(());
    }
    if current.wal_level != old.wal_level || is_needed() {
        let body = current.to_bytes();
        let mut record = Record::new(RmgrId::Xlog, info::PARAMETER_CHANGE);
        record.data(&body);
        write::flush(record.insert());
    }
    control_file::update(|control| current.store(control))
}

/// Takes over a changed `full_page_writes`: switched on before the record, off after it, so that replay never believes in
/// images that are not there. Called by the checkpointer, and at the end of recovery. C: `UpdateFullPageWrites`.
pub fn update_full_page_writes() {
    let wanted = guc::vars::FULL_PAGE_WRITES.get();
    let shared = shared();
    if wanted == shared.full_page_writes.load(Ordering::Acquire) {
        return;
    }
    elog::start_critical_section();
    let set = || {
        let _all = AllSlots::take();
        shared.full_page_writes.store(wanted, Ordering::Release);
    };
    if wanted {
        set();
    }
    if is_needed() && !in_recovery() {
        let body = [u8::from(wanted)];
        let mut record = Record::new(RmgrId::Xlog, info::FPW_CHANGE);
        record.data(&body);
        record.insert();
    }
    if !wanted {
        set();
    }
    elog::end_critical_section();
}

/// Counts backups, which need full-page images whatever the setting says. C: `runningBackups`.
pub fn force_full_page_writes(one_more: bool) {
    let _all = AllSlots::take();
    shared().running_backups.fetch_add(if one_more { 1 } else { -1 }, Ordering::Relaxed);
}

/// At the end of recovery, when the last record was cut off: marks its continuation as one that will never come. `aborted`
/// is where the broken record starts, `page` the page that should have continued it, where writing goes on.
/// C: `CreateOverwriteContrecordRecord`.
///
/// # Errors
/// XX000 if writing does not go on at that page.
pub fn log_overwrite_contrecord(aborted: Lsn, page: Lsn) -> Result<Lsn> {
    let expected = page + geometry().header_size(page) as u64;
    let position = insert_lsn();
    if position != expected {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "invalid WAL insertion point {position} for OVERWRITE_CONTRECORD"
        ));
    }
    {
        let _slot = Slot::take();
        let index = insert::page_at(page);
        let mut flags = [0; 2];
        buffers::read(index, 2, &mut flags);
        let flags = u16::from_le_bytes(flags) | page_flags::FIRST_IS_OVERWRITE_CONTRECORD;
        buffers::write(index, 2, &flags.to_le_bytes());
    }
    let mut body = [0; 16];
    body[..8].copy_from_slice(&aborted.0.to_le_bytes());
    body[8..].copy_from_slice(&timestamp().to_le_bytes());
    let mut record = Record::new(RmgrId::Xlog, info::OVERWRITE_CONTRECORD);
    record.data(&body);
    let end = record.insert();
    if last_record_start() != expected {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "OVERWRITE_CONTRECORD was inserted to unexpected position {}",
            last_record_start()
        ));
    }
    write::flush(end);
    Ok(end)
}
