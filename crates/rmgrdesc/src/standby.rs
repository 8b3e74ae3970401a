//! Running transactions, locks, invalidations; messages for logical decoding.
//!
//! C counterpart: standbydesc.c, logicalmsgdesc.c of access/rmgrdesc.

use wal::DecodedRecord;

use crate::bytes::{Bytes, Items};

/// C: `standby_desc`.
pub(crate) fn describe(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() {
        0x00 => {
            let count = data.i32()?;
            for mut lock in data.items(count, 12)?.each() {
                put!(out, "xid {} db {} rel {} ", lock.u32()?, lock.u32()?, lock.u32()?);
            }
        }
        0x10 => running_xacts(data, out)?,
        0x20 => {
            let (database, tablespace) = (data.u32()?, data.u32()?);
            let [init_file, ..] = data.array::<4>()?;
            let count = data.i32()?;
            let messages = data.items(count, MESSAGE)?;
            invalidations(messages, (init_file != 0).then_some((database, tablespace)), out)?;
        }
        _ => {}
    }
    Some(())
}

/// C: `standby_desc_running_xacts`; the ids of subtransactions are not shown.
fn running_xacts(data: &mut Bytes<'_>, out: &mut String) -> Option<()> {
    let (count, _of_subtransactions) = (data.i32()?, data.i32()?);
    let [overflowed, ..] = data.array::<4>()?;
    let (next, oldest, latest) = (data.u32()?, data.u32()?, data.u32()?);
    put!(out, "nextXid {next} latestCompletedXid {latest} oldestRunningXid {oldest}");
    if count > 0 {
        put!(out, "; {count} xacts:");
        for mut xid in data.items(count, 4)?.each() {
            put!(out, " {}", xid.u32()?);
        }
    }
    if overflowed != 0 {
        out.push_str("; subxid ovf");
    }
    Some(())
}

/// Bytes of an invalidation message. C: `SharedInvalidationMessage`.
pub(crate) const MESSAGE: usize = 16;

/// `init_file`: the database and tablespace whose relcache file goes too. C: `standby_desc_invalidations`.
pub(crate) fn invalidations(
    messages: Items<'_>,
    init_file: Option<(u32, u32)>,
    out: &mut String,
) -> Option<()> {
    if messages.is_empty() {
        return Some(());
    }
    if let Some((database, tablespace)) = init_file {
        put!(out, "; relcache init file inval dbid {database} tsid {tablespace}");
    }
    out.push_str("; inval msgs:");
    for mut message in messages.each() {
        let [kind, ..] = message.array::<4>()?;
        let (database, object) = (message.u32()?, message.u32()?);
        match i8::from_le_bytes([kind]) {
            cache @ 0.. => put!(out, " catcache {cache}"),
            -1 => put!(out, " catalog {object}"),
            -2 => put!(out, " relcache {object}"),
            -3 => out.push_str(" smgr"),
            -4 => put!(out, " relmap db {database}"),
            -5 => put!(out, " snapshot {object}"),
            other => put!(out, " unrecognized id {other}"),
        }
    }
    Some(())
}

/// C: `logicalmsg_desc`.
pub(crate) fn logical_message(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    if record.operation() != 0x00 {
        return Some(());
    }
    let _database = data.u32()?;
    let [transactional, ..] = data.array::<4>()?;
    let (prefix, size) = (data.u64()?, data.u64()?);
    let kind = if transactional != 0 { "transactional" } else { "non-transactional" };
    let prefix = data.text(usize::try_from(prefix).ok()?)?;
    put!(out, "{kind}, prefix \"{prefix}\"; payload ({size} bytes): ");
    for (number, byte) in data.take(usize::try_from(size).ok()?)?.iter().enumerate() {
        put!(out, "{}{byte:02X}", if number > 0 { " " } else { "" });
    }
    Some(())
}
