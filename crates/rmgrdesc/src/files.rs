//! Files of relations, databases, tablespaces; the map of catalogs' files; sequences.
//!
//! C counterpart: smgrdesc.c, dbasedesc.c, tblspcdesc.c, relmapdesc.c, seqdesc.c of access/rmgrdesc.

use common::ForkNumber;
use wal::DecodedRecord;

use crate::bytes::Bytes;

/// C: `smgr_desc`.
pub(crate) fn smgr(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() {
        0x10 => {
            let node = data.node()?;
            let fork = ForkNumber::from_u8(u8::try_from(data.u32()?).ok()?)?;
            out.push_str(&node.path(fork));
        }
        0x20 => {
            let (blocks, node, flags) = (data.u32()?, data.node()?, data.i32()?);
            put!(out, "{} to {blocks} blocks flags {flags}", node.path(ForkNumber::Main));
        }
        _ => {}
    }
    Some(())
}

/// C: `dbase_desc`.
pub(crate) fn dbase(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    let database = data.u32()?;
    match record.operation() {
        0x00 => {
            let (tablespace, source, source_tablespace) = (data.u32()?, data.u32()?, data.u32()?);
            put!(out, "copy dir {source_tablespace}/{source} to {tablespace}/{database}");
        }
        0x10 => put!(out, "create dir {}/{database}", data.u32()?),
        0x20 => {
            let count = data.i32()?;
            out.push_str("dir");
            for mut tablespace in data.items(count, 4)?.each() {
                put!(out, " {}/{database}", tablespace.u32()?);
            }
        }
        _ => {}
    }
    Some(())
}

/// C: `tblspc_desc`.
pub(crate) fn tblspc(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    let tablespace = data.u32()?;
    match record.operation() {
        0x00 => put!(out, "{tablespace} \"{}\"", data.c_string()?),
        0x10 => put!(out, "{tablespace}"),
        _ => {}
    }
    Some(())
}

/// C: `relmap_desc`.
pub(crate) fn relmap(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    if record.operation() == 0x00 {
        let (database, tablespace, size) = (data.u32()?, data.u32()?, data.i32()?);
        put!(out, "database {database} tablespace {tablespace} size {size}");
    }
    Some(())
}

/// C: `seq_desc`.
pub(crate) fn seq(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    if record.operation() == 0x00 {
        let node = data.node()?;
        put!(out, "rel {}/{}/{}", node.spc, node.db, node.rel);
    }
    Some(())
}
