//! What the records of each resource manager are called, as pg_waldump and the context of a report show them.
//!
//! C counterpart: `xact_identify`, `heap_identify`, `heap2_identify` and the like, access/rmgrdesc.

use wal::RmgrId;

/// A record's name from its manager and info byte. C: `rm_identify`.
pub(crate) fn identify(rmgr: RmgrId, info: u8) -> Option<&'static str> {
    let operation = info & !wal::INFO_MASK;
    Some(match rmgr {
        RmgrId::Xlog => return crate::xlog::identify(info),
        RmgrId::Xact => xact(operation & 0x70)?,
        RmgrId::Heap => heap(operation)?,
        RmgrId::Heap2 => heap2(operation)?,
        _ => match (rmgr, operation) {
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
        },
    })
}

fn xact(operation: u8) -> Option<&'static str> {
    Some(match operation {
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

fn heap(operation: u8) -> Option<&'static str> {
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

fn heap2(operation: u8) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records() {
        for (rmgr, info, name) in [
            (RmgrId::Xact, 0x80, Some("COMMIT")),
            (RmgrId::Xact, 0x20, Some("ABORT")),
            (RmgrId::Heap, 0x80, Some("INSERT+INIT")),
            (RmgrId::Heap2, 0x10, Some("PRUNE")),
            (RmgrId::Xlog, 0x10, Some("CHECKPOINT_ONLINE")),
            (RmgrId::Standby, 0x10, Some("RUNNING_XACTS")),
            (RmgrId::Smgr, 0x70, None),
        ] {
            assert_eq!(identify(rmgr, info), name, "{rmgr} {info}");
        }
    }
}
