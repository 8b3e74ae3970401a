//! Pages of the commit log; multixacts.
//!
//! C counterpart: clogdesc.c, mxactdesc.c of access/rmgrdesc.

use wal::DecodedRecord;

use crate::bytes::Bytes;

/// C: `clog_desc`.
pub(crate) fn clog(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() {
        0x00 => put!(out, "page {}", data.i32()?),
        0x10 => put!(out, "page {}; oldestXact {}", data.i32()?, data.u32()?),
        _ => {}
    }
    Some(())
}

/// The strengths of locks, in the order of their numbers. C: `MultiXactStatus`.
const STATUSES: [&str; 6] = ["(keysh) ", "(sh) ", "(fornokeyupd) ", "(forupd) ", "(nokeyupd) ", "(upd) "];

/// C: `multixact_desc`.
pub(crate) fn multixact(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() {
        0x00 | 0x10 => put!(out, "{}", data.i32()?),
        0x20 => {
            let (id, offset, count) = (data.u32()?, data.u32()?, data.i32()?);
            put!(out, "{id} offset {offset} nmembers {count}: ");
            for mut member in data.items(count, 8)?.each() {
                let (xid, status) = (member.u32()?, member.u32()? as usize);
                put!(out, "{xid} {}", STATUSES.get(status).unwrap_or(&"(unk) "));
            }
        }
        0x30 => {
            let _database = data.u32()?;
            put!(out, "offsets [{}, {}), ", data.u32()?, data.u32()?);
            put!(out, "members [{}, {})", data.u32()?, data.u32()?);
        }
        _ => {}
    }
    Some(())
}
