//! The record of running transactions: what a standby, or a reader of WAL, starts from.
//!
//! C counterpart: `GetRunningTransactionData` of procarray.c, `LogStandbySnapshot` of storage/ipc/standby.c.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use common::{Lsn, Xid};
use wal::{Record, RmgrId};

use super::{CONTROL, OVERFLOWED, PROCNOS, SUB_COUNTS, XIDS, older, subxids_of};
use crate::{log, varsup};

/// C: `XLOG_RUNNING_XACTS`.
pub(crate) const XLOG_RUNNING_XACTS: u8 = 0x10;
/// Bytes before the ids. C: `MinSizeOfXactRunningXacts`.
pub(crate) const RUNNING_HEADER: usize = 24;

/// C: `xl_running_xacts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunningXacts {
    pub(crate) tops: Vec<Xid>,
    pub(crate) subs: Vec<Xid>,
    pub(crate) overflowed: bool,
    /// `subs` is not complete, but pg_subtrans is; never in WAL. C: `SUBXIDS_IN_SUBTRANS`.
    pub(crate) subs_in_subtrans: bool,
    pub(crate) next: Xid,
    pub(crate) oldest_running: Xid,
    pub(crate) latest_completed: Xid,
}

impl RunningXacts {
    /// As in WAL.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let ids = self.tops.iter().chain(&self.subs).map(|xid| xid.0);
        let header = [
            self.tops.len() as u32,
            self.subs.len() as u32,
            u32::from(self.overflowed),
            self.next.0,
            self.oldest_running.0,
            self.latest_completed.0,
        ];
        log::words(header.into_iter().chain(ids))
    }

    /// From WAL; `None` if it is too short.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<RunningXacts> {
        let words: Vec<u32> = log::read_words(bytes).collect();
        let header = words.get(..RUNNING_HEADER / 4)?;
        let (top_count, sub_count) = (header[0] as usize, header[1] as usize);
        let ids = &words[RUNNING_HEADER / 4..];
        let tops = ids.get(..top_count)?.iter().map(|xid| Xid(*xid)).collect();
        let subs = ids.get(top_count..top_count + sub_count)?.iter().map(|xid| Xid(*xid)).collect();
        Some(RunningXacts {
            tops,
            subs,
            // A bool of C and three bytes of padding.
            overflowed: header[2] & 0xFF != 0,
            subs_in_subtrans: false,
            next: Xid(header[3]),
            oldest_running: Xid(header[4]),
            latest_completed: Xid(header[5]),
        })
    }
}

/// Writes XLOG_RUNNING_XACTS; returns its end. Does nothing with `wal_level = minimal`. Called by checkpoints and,
/// every 15 s in which something happened, by the background writer. C: `LogStandbySnapshot`.
pub fn log_standby_snapshot() -> Lsn {
    if guc::vars::WAL_LEVEL.get() == "minimal" {
        return Lsn::INVALID;
    }
    let control = CONTROL.get().shared();
    // No id is given out before the record is in WAL: a reader of it knows all that are in use (V2).
    let xid_gen = varsup::lock_shared();
    let mut running = RunningXacts {
        next: xid_gen.next.xid(),
        oldest_running: xid_gen.next.xid(),
        latest_completed: control.latest_completed.xid(),
        ..RunningXacts::default()
    };
    for (at, xid) in XIDS.get()[..control.count as usize].iter().enumerate() {
        let xid = Xid(xid.load(Relaxed));
        if !xid.is_valid() {
            continue;
        }
        running.oldest_running = older(running.oldest_running, xid);
        running.tops.push(xid);
        running.overflowed |= SUB_COUNTS.get()[at].load(SeqCst) & OVERFLOWED != 0;
    }
    // With one process's incomplete, the others' are of no use.
    for at in 0..control.count as usize {
        if running.overflowed {
            break;
        }
        let state = SUB_COUNTS.get()[at].load(SeqCst) as usize;
        let cached = subxids_of(PROCNOS.get()[at].load(Relaxed));
        running.subs.extend(cached[..state].iter().map(|xid| Xid(xid.load(Relaxed))));
    }
    // Commits may go on unless logical decoding needs the order; new ids not before it is written.
    let for_decoding = guc::vars::WAL_LEVEL.get() == "logical";
    let held = if for_decoding { Some(control) } else { None };
    let data = running.to_bytes();
    let mut record = Record::new(RmgrId::Standby, XLOG_RUNNING_XACTS);
    record.mark_unimportant();
    record.data(&data);
    let lsn = record.insert();
    drop(held);
    drop(xid_gen);
    wal::set_async_commit_lsn(lsn);
    lsn
}
