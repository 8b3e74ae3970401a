//! Rows inserted, deleted, updated, locked; pages pruned and frozen.
//!
//! C counterpart: access/rmgrdesc/heapdesc.c.

use wal::DecodedRecord;

use crate::bytes::Bytes;

/// C: `heap_identify`.
pub(crate) fn identify(operation: u8) -> Option<&'static str> {
    Some(match operation {
        0x00 => "INSERT",
        0x80 => "INSERT+INIT",
        0x10 => "DELETE",
        0x20 => "UPDATE",
        0xA0 => "UPDATE+INIT",
        0x30 => "TRUNCATE",
        0x40 => "HOT_UPDATE",
        0xC0 => "HOT_UPDATE+INIT",
        0x50 => "HEAP_CONFIRM",
        0x60 => "LOCK",
        0x70 => "INPLACE",
        _ => return None,
    })
}

/// C: `heap2_identify`.
pub(crate) fn identify2(operation: u8) -> Option<&'static str> {
    Some(match operation {
        0x00 => "REWRITE",
        0x10 => "PRUNE",
        0x20 => "VACUUM",
        0x30 => "FREEZE_PAGE",
        0x40 => "VISIBLE",
        0x50 => "MULTI_INSERT",
        0xD0 => "MULTI_INSERT+INIT",
        0x60 => "LOCK_UPDATED",
        0x70 => "NEW_CID",
        _ => return None,
    })
}

/// Without `XLOG_HEAP_INIT_PAGE`. C: `XLOG_HEAP_OPMASK`.
const OPERATION_MASK: u8 = 0x70;

/// C: `heap_desc`.
pub(crate) fn describe(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() & OPERATION_MASK {
        0x00 => put!(out, "off {} flags 0x{:02X}", data.u16()?, data.u8()?),
        0x10 => {
            let change = XmaxChange::read(data)?;
            put!(out, "off {} flags 0x{:02X} ", change.offset, change.flags);
            change.put_bits(out);
        }
        0x20 | 0x40 => {
            let old = XmaxChange::read(data)?;
            put!(out, "off {} xmax {} flags 0x{:02X} ", old.offset, old.xmax, old.flags);
            old.put_bits(out);
            let new_xmax = data.u32()?;
            put!(out, "; new off {} xmax {new_xmax}", data.u16()?);
        }
        0x30 => truncate(data, out)?,
        0x50 | 0x70 => put!(out, "off {}", data.u16()?),
        0x60 => {
            let lock = XmaxChange::read(data)?;
            put!(out, "off {}: xid {}: flags 0x{:02X} ", lock.offset, lock.xmax, lock.flags);
            lock.put_bits(out);
        }
        _ => {}
    }
    Some(())
}

/// C: `heap2_desc`.
pub(crate) fn describe2(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() & OPERATION_MASK {
        0x10 => {
            let (removed, redirected, dead) = (data.u32()?, data.u16()?, data.u16()?);
            put!(out, "latestRemovedXid {removed} nredirected {redirected} ndead {dead}");
        }
        0x20 => put!(out, "nunused {}", data.u16()?),
        0x30 => put!(out, "cutoff xid {} ntuples {}", data.u32()?, data.u16()?),
        0x40 => put!(out, "cutoff xid {} flags 0x{:02X}", data.u32()?, data.u8()?),
        0x50 => {
            let [flags, _] = data.array()?;
            put!(out, "{} tuples flags 0x{flags:02X}", data.u16()?);
        }
        0x60 => {
            let lock = XmaxChange::read(data)?;
            put!(out, "off {}: xmax {}: flags 0x{:02X} ", lock.offset, lock.xmax, lock.flags);
            lock.put_bits(out);
        }
        0x70 => new_cid(data, out)?,
        _ => {}
    }
    Some(())
}

/// What all records that set a row's xmax begin with. C: `xl_heap_delete`, `xl_heap_lock` and others.
struct XmaxChange {
    xmax: u32,
    offset: u16,
    bits: u8,
    flags: u8,
}

impl XmaxChange {
    fn read(data: &mut Bytes<'_>) -> Option<XmaxChange> {
        Some(XmaxChange { xmax: data.u32()?, offset: data.u16()?, bits: data.u8()?, flags: data.u8()? })
    }

    /// C: `out_infobits`.
    fn put_bits(&self, out: &mut String) {
        let names = ["IS_MULTI ", "LOCK_ONLY ", "EXCL_LOCK ", "KEYSHR_LOCK ", "KEYS_UPDATED "];
        let set = names.iter().enumerate().filter(|(bit, _)| self.bits & (1 << bit) != 0);
        out.extend(set.map(|(_, name)| *name));
    }
}

fn truncate(data: &mut Bytes<'_>, out: &mut String) -> Option<()> {
    let (_database, count, flags) = (data.u32()?, data.i32()?, data.u32()?);
    for (bit, word) in [(1, "cascade "), (2, "restart_seqs ")] {
        if flags & bit != 0 {
            out.push_str(word);
        }
    }
    put!(out, "nrelids {count} relids");
    for mut relation in data.items(count, 4)?.each() {
        put!(out, " {}", relation.u32()?);
    }
    Some(())
}

fn new_cid(data: &mut Bytes<'_>, out: &mut String) -> Option<()> {
    let (_top, cmin, cmax, combo) = (data.u32()?, data.u32()?, data.u32()?, data.u32()?);
    let node = data.node()?;
    let (high, low, offset) = (data.u16()?, data.u16()?, data.u16()?);
    let block = u32::from(high) << 16 | u32::from(low);
    put!(out, "rel {}/{}/{}; tid {block}/{offset}", node.spc, node.db, node.rel);
    put!(out, "; cmin: {cmin}, cmax: {cmax}, combo: {combo}");
    Some(())
}
