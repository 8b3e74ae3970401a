//! The few things this crate asks of WAL, in one place.
//!
//! Called by: every module here that logs a change. C counterpart: the uses of xloginsert.h and xlog.h.

use common::Lsn;
use wal::{Record, RmgrId};

/// Writes one record made of these parts; returns its end. C: `XLogBeginInsert`, `XLogRegisterData`, `XLogInsert`.
pub(crate) fn insert(rmgr: RmgrId, info: u8, parts: &[&[u8]]) -> Lsn {
    let mut record = Record::new(rmgr, info);
    for part in parts.iter().filter(|part| !part.is_empty()) {
        record.data(part);
    }
    record.insert()
}

/// C: `XLogFlush`.
pub(crate) fn flush(upto: Lsn) {
    wal::flush(upto);
}

/// The bytes of numbers, as C's structs of them have them.
pub(crate) fn words(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Reads such numbers back; bytes that do not fill a word are left out.
pub(crate) fn read_words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
