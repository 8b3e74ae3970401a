//! Commits, aborts, prepared transactions, subtransactions.
//!
//! C counterpart: access/rmgrdesc/xactdesc.c.

use common::ForkNumber;
use wal::DecodedRecord;

use crate::bytes::{Bytes, Items};
use crate::standby::{MESSAGE, invalidations};

/// C: `XLOG_XACT_OPMASK`.
const OPERATION_MASK: u8 = 0x70;
/// C: `XLOG_XACT_HAS_INFO`.
const HAS_INFO: u8 = 0x80;

/// C: `XACT_XINFO_*`, `XACT_COMPLETION_*`.
mod flag {
    pub(super) const DATABASE: u32 = 1 << 0;
    pub(super) const SUBXACTS: u32 = 1 << 1;
    pub(super) const FILES: u32 = 1 << 2;
    pub(super) const INVALIDATIONS: u32 = 1 << 3;
    pub(super) const TWO_PHASE: u32 = 1 << 4;
    pub(super) const ORIGIN: u32 = 1 << 5;
    pub(super) const GID: u32 = 1 << 7;
    pub(super) const DROPPED_STATS: u32 = 1 << 8;
    pub(super) const APPLY_FEEDBACK: u32 = 1 << 29;
    pub(super) const INIT_FILE: u32 = 1 << 30;
    pub(super) const FORCE_SYNC: u32 = 1 << 31;
}

/// C: `xact_identify`.
pub(crate) fn identify(operation: u8) -> Option<&'static str> {
    Some(match operation & OPERATION_MASK {
        0x00 => "COMMIT",
        0x10 => "PREPARE",
        0x20 => "ABORT",
        0x30 => "COMMIT_PREPARED",
        0x40 => "ABORT_PREPARED",
        0x50 => "ASSIGNMENT",
        0x60 => "INVALIDATION",
        _ => return None,
    })
}

/// C: `xact_desc`.
pub(crate) fn describe(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() & OPERATION_MASK {
        0x00 | 0x30 => commit(&End::read(record)?, record.origin, out),
        0x20 | 0x40 => abort(&End::read(record)?, record.origin, out),
        0x10 => prepare(data, record.origin, out),
        0x50 => {
            let (top, count) = (data.u32()?, data.i32()?);
            put!(out, "xtop {top}: subxacts:");
            data.items(count, 4)?.each().try_for_each(|mut xid| {
                put!(out, " {}", xid.u32()?);
                Some(())
            })
        }
        0x60 => {
            let count = data.i32()?;
            invalidations(data.items(count, MESSAGE)?, None, out)
        }
        _ => Some(()),
    }
}

/// How a transaction ended. C: `xl_xact_parsed_commit`, `xl_xact_parsed_abort`.
#[derive(Default)]
struct End<'a> {
    time: String,
    flags: u32,
    database: (u32, u32),
    subxacts: Items<'a>,
    files: Items<'a>,
    stats: Items<'a>,
    messages: Items<'a>,
    /// 0 if it had not been prepared.
    two_phase_xid: u32,
    /// Behind everything else, not read yet.
    rest: Option<Bytes<'a>>,
}

impl<'a> End<'a> {
    /// C: `ParseCommitRecord`, `ParseAbortRecord`.
    fn read(record: &DecodedRecord<'a>) -> Option<End<'a>> {
        let mut data = Bytes::new(record.main_data);
        let mut end = End { time: data.time()?, ..End::default() };
        if record.info & HAS_INFO != 0 {
            end.flags = data.u32()?;
        }
        if end.has(flag::DATABASE) {
            end.database = (data.u32()?, data.u32()?);
        }
        for (bit, size, list) in [
            (flag::SUBXACTS, 4, &mut end.subxacts),
            (flag::FILES, 12, &mut end.files),
            (flag::DROPPED_STATS, 12, &mut end.stats),
            (flag::INVALIDATIONS, MESSAGE, &mut end.messages),
        ] {
            if end.flags & bit != 0 {
                let count = data.i32()?;
                *list = data.items(count, size)?;
            }
        }
        if end.has(flag::TWO_PHASE) {
            end.two_phase_xid = data.u32()?;
            if end.has(flag::GID) {
                data.c_string()?;
            }
        }
        end.rest = Some(data);
        Some(end)
    }

    fn has(&self, bit: u32) -> bool {
        self.flags & bit != 0
    }

    fn put_begin(&self, out: &mut String) -> Option<()> {
        // Of a prepared transaction, its own id: the record's is nobody's.
        if self.two_phase_xid != 0 {
            put!(out, "{}: ", self.two_phase_xid);
        }
        out.push_str(&self.time);
        put_files("rels", self.files, out)?;
        put_subxacts(self.subxacts, out)
    }

    fn put_origin(&self, node: u16, out: &mut String) -> Option<()> {
        if self.has(flag::ORIGIN) {
            let mut data = self.rest?;
            put!(out, "; origin: node {node}, lsn {}, at {}", data.lsn()?, data.time()?);
        }
        Some(())
    }
}

/// C: `xact_desc_commit`.
fn commit(end: &End<'_>, origin: u16, out: &mut String) -> Option<()> {
    end.put_begin(out)?;
    put_stats("", end.stats, out)?;
    invalidations(end.messages, end.has(flag::INIT_FILE).then_some(end.database), out)?;
    if end.has(flag::APPLY_FEEDBACK) {
        out.push_str("; apply_feedback");
    }
    if end.has(flag::FORCE_SYNC) {
        out.push_str("; sync");
    }
    end.put_origin(origin, out)
}

/// C: `xact_desc_abort`.
fn abort(end: &End<'_>, origin: u16, out: &mut String) -> Option<()> {
    end.put_begin(out)?;
    end.put_origin(origin, out)?;
    put_stats("", end.stats, out)
}

/// C: `xact_desc_prepare`, `ParsePrepareRecord`.
fn prepare(data: &mut Bytes<'_>, origin: u16, out: &mut String) -> Option<()> {
    let _magic_length_xid: [u8; 12] = data.array()?;
    let database = data.u32()?;
    let time = data.time()?;
    let _owner = data.u32()?;
    let [subxacts, commit_files, abort_files] = [data.i32()?, data.i32()?, data.i32()?];
    let [commit_stats, abort_stats, messages] = [data.i32()?, data.i32()?, data.i32()?];
    let [init_file, _] = data.array()?;
    let name_len = usize::from(data.u16()?);
    let (origin_lsn, origin_time) = (data.lsn()?, data.time()?);
    data.align()?;
    let name = data.text(name_len)?;
    put!(out, "gid {name}: {time}");
    let mut list = |count: i32, size: usize| {
        data.align()?;
        data.items(count, size)
    };
    let subxacts = list(subxacts, 4)?;
    put_files("rels(commit)", list(commit_files, 12)?, out)?;
    put_files("rels(abort)", list(abort_files, 12)?, out)?;
    put_stats("commit ", list(commit_stats, 12)?, out)?;
    put_stats("abort ", list(abort_stats, 12)?, out)?;
    put_subxacts(subxacts, out)?;
    invalidations(list(messages, MESSAGE)?, (init_file != 0).then_some((database, 0)), out)?;
    if origin != 0 {
        put!(out, "; origin: node {origin}, lsn {origin_lsn}, at {origin_time}");
    }
    Some(())
}

/// C: `xact_desc_relations`.
fn put_files(label: &str, files: Items<'_>, out: &mut String) -> Option<()> {
    if !files.is_empty() {
        put!(out, "; {label}:");
    }
    for mut file in files.each() {
        put!(out, " {}", file.node()?.path(ForkNumber::Main));
    }
    Some(())
}

/// C: `xact_desc_subxacts`.
fn put_subxacts(subxacts: Items<'_>, out: &mut String) -> Option<()> {
    if !subxacts.is_empty() {
        out.push_str("; subxacts:");
    }
    for mut xid in subxacts.each() {
        put!(out, " {}", xid.u32()?);
    }
    Some(())
}

/// C: `xact_desc_stats`.
fn put_stats(label: &str, stats: Items<'_>, out: &mut String) -> Option<()> {
    if !stats.is_empty() {
        put!(out, "; {label}dropped stats:");
    }
    for mut item in stats.each() {
        put!(out, " {}/{}/{}", item.i32()?, item.u32()?, item.u32()?);
    }
    Some(())
}
