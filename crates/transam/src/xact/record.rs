//! Commit and abort records, made and taken apart.
//!
//! ```text
//! time       8   microseconds since 2000-01-01
//! xinfo      4   which of the following there are; itself only with HAS_INFO in the record's info byte
//! dbinfo     8   database, its tablespace
//! subxacts   4 + 4n
//! files      4 + 12n   tablespace, database, file number
//! stats      4 + 12n   (PostgreSQL 15 writes them, we only skip them)
//! invals     4 + 16n
//! twophase   4, then the transaction's name with a zero byte
//! origin    16
//! ```
//!
//! C counterpart: `XactLogCommitRecord`, `XactLogAbortRecord` of xact.c, `ParseCommitRecord` of xactdesc.c.

use common::{Lsn, Oid, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, error};
use wal::{Record, RmgrId, SPECIAL_REL_UPDATE};

use super::CommitExtras;
use crate::log;
use crate::twophase::StatsItem;

/// C: `XLOG_XACT_COMMIT`.
pub(crate) const XLOG_COMMIT: u8 = 0x00;
/// C: `XLOG_XACT_PREPARE`.
pub(crate) const XLOG_PREPARE: u8 = 0x10;
/// C: `XLOG_XACT_ABORT`.
pub(crate) const XLOG_ABORT: u8 = 0x20;
/// C: `XLOG_XACT_COMMIT_PREPARED`.
pub(crate) const XLOG_COMMIT_PREPARED: u8 = 0x30;
/// C: `XLOG_XACT_ABORT_PREPARED`.
pub(crate) const XLOG_ABORT_PREPARED: u8 = 0x40;
/// C: `XLOG_XACT_ASSIGNMENT`.
pub(crate) const XLOG_ASSIGNMENT: u8 = 0x50;
/// C: `XLOG_XACT_INVALIDATIONS`.
pub(crate) const XLOG_INVALIDATIONS: u8 = 0x60;
/// C: `XLOG_XACT_OPMASK`.
pub(crate) const OPERATION_MASK: u8 = 0x70;
/// C: `XLOG_XACT_HAS_INFO`.
const HAS_INFO: u8 = 0x80;
/// C: `XLOG_INVALIDATIONS` of the standby resource manager.
pub(crate) const XLOG_STANDBY_INVALIDATIONS: u8 = 0x20;

/// `XACT_XINFO_*` and `XACT_COMPLETION_*`.
mod xinfo {
    pub(super) const DBINFO: u32 = 1 << 0;
    pub(super) const SUBXACTS: u32 = 1 << 1;
    pub(super) const FILES: u32 = 1 << 2;
    pub(super) const INVALS: u32 = 1 << 3;
    pub(super) const TWOPHASE: u32 = 1 << 4;
    pub(super) const ORIGIN: u32 = 1 << 5;
    pub(super) const AE_LOCKS: u32 = 1 << 6;
    pub(super) const GID: u32 = 1 << 7;
    pub(super) const DROPPED_STATS: u32 = 1 << 8;
    pub(super) const APPLY_FEEDBACK: u32 = 1 << 29;
    pub(super) const RELCACHE_FILE: u32 = 1 << 30;
    pub(super) const FORCE_SYNC: u32 = 1 << 31;
}

/// What decides the `XACT_COMPLETION_*` bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Completion {
    /// `ForceSyncCommit` was called.
    pub(super) force_sync: bool,
    /// `synchronous_commit = remote_apply`.
    pub(super) apply_feedback: bool,
    /// `wal_level = logical`.
    pub(super) logical: bool,
}

/// What COMMIT PREPARED and ROLLBACK PREPARED add. C: `twophase_xid`, `twophase_gid`.
#[derive(Clone, Copy)]
pub(crate) struct OfPrepared<'a> {
    /// The transaction that ends.
    pub(crate) xid: Xid,
    /// Its identifier: written for logical decoding.
    pub(crate) gid: &'a [u8],
    /// Statistics that go with its tables.
    pub(crate) dropped_stats: &'a [StatsItem],
}

/// Builds a commit (or abort) record: its info byte and data.
pub(super) fn build(
    commit: bool,
    time: i64,
    children: &[Xid],
    extras: &CommitExtras,
    completion: Completion,
    prepared: Option<OfPrepared<'_>>,
) -> (u8, Vec<u8>) {
    let mut flags = if extras.access_exclusive_locks { xinfo::AE_LOCKS } else { 0 };
    if commit {
        flags |= if extras.relcache_init_file { xinfo::RELCACHE_FILE } else { 0 };
        flags |= if completion.force_sync { xinfo::FORCE_SYNC } else { 0 };
        flags |= if completion.apply_feedback { xinfo::APPLY_FEEDBACK } else { 0 };
    }
    let invals: &[[u8; 16]] = if commit { &extras.invalidations } else { &[] };
    let mut body = Vec::new();
    let word = |body: &mut Vec<u8>, value: u32| body.extend_from_slice(&value.to_le_bytes());
    if !invals.is_empty() || completion.logical {
        flags |= xinfo::DBINFO;
        word(&mut body, extras.database.0.0);
        word(&mut body, extras.database.1.0);
    }
    if !children.is_empty() {
        flags |= xinfo::SUBXACTS;
        word(&mut body, children.len() as u32);
        children.iter().for_each(|xid| word(&mut body, xid.0));
    }
    let mut info = match (commit, prepared.is_some()) {
        (true, false) => XLOG_COMMIT,
        (false, false) => XLOG_ABORT,
        (true, true) => XLOG_COMMIT_PREPARED,
        (false, true) => XLOG_ABORT_PREPARED,
    };
    if !extras.dropped_files.is_empty() {
        flags |= xinfo::FILES;
        info |= SPECIAL_REL_UPDATE;
        word(&mut body, extras.dropped_files.len() as u32);
        for node in &extras.dropped_files {
            [node.spc, node.db, node.rel].into_iter().for_each(|oid| word(&mut body, oid.0));
        }
    }
    let stats = prepared.map_or(&[][..], |prepared| prepared.dropped_stats);
    if !stats.is_empty() {
        flags |= xinfo::DROPPED_STATS;
        word(&mut body, stats.len() as u32);
        body.extend_from_slice(stats.as_flattened());
    }
    if !invals.is_empty() {
        flags |= xinfo::INVALS;
        word(&mut body, invals.len() as u32);
        invals.iter().for_each(|message| body.extend_from_slice(message));
    }
    if let Some(prepared) = prepared {
        flags |= xinfo::TWOPHASE;
        word(&mut body, prepared.xid.0);
        if completion.logical {
            flags |= xinfo::GID;
            body.extend_from_slice(prepared.gid);
            body.push(0);
        }
    }
    let mut data = time.to_le_bytes().to_vec();
    if flags != 0 {
        info |= HAS_INFO;
        word(&mut data, flags);
    }
    data.extend_from_slice(&body);
    (info, data)
}

/// Builds and inserts one; returns its end. `xid` is the record's: of the level that ends.
pub(super) fn write(
    commit: bool,
    xid: Xid,
    time: i64,
    children: &[Xid],
    extras: &CommitExtras,
    completion: Completion,
) -> Lsn {
    // The usual one has nothing but the time.
    let bare = children.is_empty()
        && extras.dropped_files.is_empty()
        && !extras.access_exclusive_locks
        && (!commit || extras.invalidations.is_empty() && !extras.relcache_init_file)
        && !completion.force_sync
        && !completion.apply_feedback
        && !completion.logical;
    if bare {
        let time = time.to_le_bytes();
        let mut record = Record::new(RmgrId::Xact, if commit { XLOG_COMMIT } else { XLOG_ABORT });
        record.with_xid(xid).data(&time);
        return record.insert();
    }
    let (info, data) = build(commit, time, children, extras, completion, None);
    let mut record = Record::new(RmgrId::Xact, info);
    record.with_xid(xid).data(&data);
    record.include_origin();
    record.insert()
}

/// Writes the record that ends a prepared transaction; returns its end. The record's own id is that of the session's
/// transaction, if it has one.
pub(crate) fn write_prepared(
    commit: bool,
    time: i64,
    children: &[Xid],
    extras: &CommitExtras,
    prepared: OfPrepared<'_>,
) -> Lsn {
    let completion = Completion {
        force_sync: false,
        apply_feedback: guc::vars::SYNCHRONOUS_COMMIT.get() == "remote_apply",
        logical: guc::vars::WAL_LEVEL.get() == "logical",
    };
    let (info, data) = build(commit, time, children, extras, completion, Some(prepared));
    let mut record = Record::new(RmgrId::Xact, info);
    record.data(&data);
    record.include_origin();
    record.insert()
}

/// A transaction without an id has changed catalogs in place: tells standbys. C: `LogStandbyInvalidations`.
pub(super) fn write_invalidations(extras: &CommitExtras) -> Lsn {
    let (db, tablespace) = extras.database;
    let init_file = u32::from(extras.relcache_init_file);
    let mut data = log::words([db.0, tablespace.0, init_file, extras.invalidations.len() as u32]);
    extras.invalidations.iter().for_each(|message| data.extend_from_slice(message));
    log::insert(RmgrId::Standby, XLOG_STANDBY_INVALIDATIONS, &[&data])
}

/// A commit or abort record taken apart. C: `xl_xact_parsed_commit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) time: i64,
    pub(crate) database: Option<(Oid, Oid)>,
    pub(crate) children: Vec<Xid>,
    pub(crate) files: Vec<RelFileNode>,
    pub(crate) invalidations: Vec<[u8; 16]>,
    pub(crate) relcache_init_file: bool,
    pub(crate) force_sync: bool,
    /// Somebody waits for it to be replayed. C: `XactCompletionApplyFeedback`.
    pub(crate) apply_feedback: bool,
    /// It held AccessExclusive locks that standbys know of.
    pub(crate) access_exclusive_locks: bool,
    /// Of COMMIT PREPARED: the transaction, which is not the record's.
    pub(crate) two_phase_xid: Option<Xid>,
    pub(crate) origin: Option<(Lsn, i64)>,
}

/// C: `ParseCommitRecord`, `ParseAbortRecord`.
///
/// # Errors
/// XX001 if it is shorter than it says.
pub(crate) fn parse(info: u8, data: &[u8]) -> Result<Parsed> {
    parse_parts(info, &mut Bytes(data)).ok_or_else(broken)
}

fn broken() -> PgError {
    error!(SqlState::DATA_CORRUPTED, "transaction record is shorter than its contents")
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// As many as a count before them says.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.word()? as usize;
        // A count that cannot be true is no reason to ask for that much memory.
        (count <= self.0.len()).then_some(())?;
        (0..count).map(|_| one(self)).collect()
    }
}

fn parse_parts(info: u8, bytes: &mut Bytes<'_>) -> Option<Parsed> {
    let mut parsed = Parsed { time: i64::from_le_bytes(bytes.take()?), ..Parsed::default() };
    let flags = if info & HAS_INFO != 0 { bytes.word()? } else { 0 };
    parsed.relcache_init_file = flags & xinfo::RELCACHE_FILE != 0;
    parsed.force_sync = flags & xinfo::FORCE_SYNC != 0;
    parsed.apply_feedback = flags & xinfo::APPLY_FEEDBACK != 0;
    parsed.access_exclusive_locks = flags & xinfo::AE_LOCKS != 0;
    if flags & xinfo::DBINFO != 0 {
        parsed.database = Some((Oid(bytes.word()?), Oid(bytes.word()?)));
    }
    if flags & xinfo::SUBXACTS != 0 {
        parsed.children = bytes.list(|b| b.word().map(Xid))?;
    }
    if flags & xinfo::FILES != 0 {
        parsed.files = bytes
            .list(|b| Some(RelFileNode { spc: Oid(b.word()?), db: Oid(b.word()?), rel: Oid(b.word()?) }))?;
    }
    if flags & xinfo::DROPPED_STATS != 0 {
        bytes.list(|b| b.take::<12>())?;
    }
    if flags & xinfo::INVALS != 0 {
        parsed.invalidations = bytes.list(|b| b.take())?;
    }
    if flags & xinfo::TWOPHASE != 0 {
        parsed.two_phase_xid = Some(Xid(bytes.word()?));
        if flags & xinfo::GID != 0 {
            let end = bytes.0.iter().position(|b| *b == 0)?;
            bytes.0 = &bytes.0[end + 1..];
        }
    }
    if flags & xinfo::ORIGIN != 0 {
        parsed.origin = Some((Lsn(u64::from_le_bytes(bytes.take()?)), i64::from_le_bytes(bytes.take()?)));
    }
    Some(parsed)
}
