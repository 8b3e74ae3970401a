//! What a WAL record says, in words: `INSERT` and `off 3 flags 0x00`.
//!
//! For the context of a report made during recovery, and for whoever else shows records: the words are those of
//! `pg_waldump`. Everything here is a pure function of a [`DecodedRecord`], and is called when there is something to
//! report, not for every record that is replayed.
//!
//! Invariants:
//! - D1  A record that is too short, or says what no record says, is described as far as it goes: nothing here fails.
//! - D2  Every record that this server writes or replays has a name and PostgreSQL's description.
//!
//! C counterpart: access/rmgrdesc, `xlog_outdesc` of xlogrecovery.c.

#![forbid(unsafe_code)]

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)+) => {{
        let _ = std::fmt::Write::write_fmt($out, format_args!($($text)+));
    }};
}

mod bytes; // 1. a record's data, field after field

mod files; // 2. who describes what
mod heap;
mod slru;
mod standby;
mod xact;
mod xlog;

use wal::{DecodedRecord, RmgrId};

/// A record's name from its info byte; `None` if its manager writes no such record, or is none of those that are known
/// here. C: `rm_identify`.
pub fn identify(rmgr: RmgrId, info: u8) -> Option<&'static str> {
    let operation = info & !wal::INFO_MASK;
    Some(match (rmgr, operation) {
        (RmgrId::Xlog, _) => return xlog::identify(operation),
        (RmgrId::Xact, _) => return xact::identify(operation),
        (RmgrId::Heap, _) => return heap::identify(operation),
        (RmgrId::Heap2, _) => return heap::identify2(operation),
        (RmgrId::Smgr, 0x10) => "CREATE",
        (RmgrId::Smgr, 0x20) => "TRUNCATE",
        (RmgrId::Clog, 0x00) => "ZEROPAGE",
        (RmgrId::Clog, 0x10) => "TRUNCATE",
        (RmgrId::Dbase, 0x00) => "CREATE_FILE_COPY",
        (RmgrId::Dbase, 0x10) => "CREATE_WAL_LOG",
        (RmgrId::Dbase, 0x20) => "DROP",
        (RmgrId::Tblspc, 0x00) => "CREATE",
        (RmgrId::Tblspc, 0x10) => "DROP",
        (RmgrId::MultiXact, 0x00) => "ZERO_OFF_PAGE",
        (RmgrId::MultiXact, 0x10) => "ZERO_MEM_PAGE",
        (RmgrId::MultiXact, 0x20) => "CREATE_ID",
        (RmgrId::MultiXact, 0x30) => "TRUNCATE_ID",
        (RmgrId::RelMap, 0x00) => "UPDATE",
        (RmgrId::Standby, 0x00) => "LOCK",
        (RmgrId::Standby, 0x10) => "RUNNING_XACTS",
        (RmgrId::Standby, 0x20) => "INVALIDATIONS",
        (RmgrId::Seq, 0x00) => "LOG",
        (RmgrId::LogicalMsg, 0x00) => "MESSAGE",
        _ => return None,
    })
}

/// Appends what a record says besides its name: nothing for a record whose name says it all, or whose manager is not known
/// here. C: `rm_desc`.
pub fn describe(record: &DecodedRecord<'_>, out: &mut String) {
    let describe = match RmgrId::from_u8(record.rmgr) {
        Some(RmgrId::Xlog) => xlog::describe,
        Some(RmgrId::Xact) => xact::describe,
        Some(RmgrId::Smgr) => files::smgr,
        Some(RmgrId::Clog) => slru::clog,
        Some(RmgrId::Dbase) => files::dbase,
        Some(RmgrId::Tblspc) => files::tblspc,
        Some(RmgrId::MultiXact) => slru::multixact,
        Some(RmgrId::RelMap) => files::relmap,
        Some(RmgrId::Standby) => standby::describe,
        Some(RmgrId::Heap2) => heap::describe2,
        Some(RmgrId::Heap) => heap::describe,
        Some(RmgrId::Seq) => files::seq,
        Some(RmgrId::LogicalMsg) => standby::logical_message,
        _ => return,
    };
    // What is missing of a record is not said (D1).
    let _: Option<()> = describe(record, out);
}

/// Manager, name and description: `Heap/INSERT: off 3 flags 0x00`. C: `xlog_outdesc`.
pub fn describe_with_name(record: &DecodedRecord<'_>) -> String {
    let rmgr = RmgrId::from_u8(record.rmgr);
    let mut out = rmgr.map_or_else(|| format!("custom{:03}", record.rmgr), |rmgr| rmgr.name().to_owned());
    match rmgr.and_then(|rmgr| identify(rmgr, record.info)) {
        Some(name) => put!(&mut out, "/{name}: "),
        None => put!(&mut out, "/UNKNOWN ({:X}): ", record.operation()),
    }
    describe(record, &mut out);
    out
}

#[cfg(test)]
mod tests;
