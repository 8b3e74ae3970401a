//! What to write into xmax: one transaction, or a multixact of several that share a row.
//!
//! C counterpart: `compute_new_xmax_infomask`, `GetMultiXactIdHintBits`, `MultiXactIdGetUpdateXid` and the lock mode
//! tables at the top of heapam.c.

use common::{MultiXactId, Xid};
use elog::{Result, ereport};
use lmgr::LockMode;
use transam::multixact::{self, MemberStatus};

use crate::api::LockTupleMode;
use crate::header::{infomask, infomask2};

/// An xmax with the flags that explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Xmax {
    pub xid: Xid,
    /// To be set in `t_infomask` after clearing `XMAX_BITS`.
    pub mask: u16,
    /// To be set in `t_infomask2` after clearing `KEYS_UPDATED`.
    pub mask2: u16,
}

/// The heavyweight lock that queues waiters for a row. C: `tupleLockExtraInfo`.
pub(crate) fn heavyweight(mode: LockTupleMode) -> LockMode {
    match mode {
        LockTupleMode::KeyShare => LockMode::AccessShare,
        LockTupleMode::Share => LockMode::RowShare,
        LockTupleMode::NoKeyExclusive => LockMode::Exclusive,
        LockTupleMode::Exclusive => LockMode::AccessExclusive,
    }
}

/// Whether two transactions may hold these locks on one row at once. C: `DoLockModesConflict` of the same.
pub(crate) fn conflict(a: LockTupleMode, b: LockTupleMode) -> bool {
    use LockTupleMode::{Exclusive, KeyShare, NoKeyExclusive, Share};
    match (a.min(b), a.max(b)) {
        (_, Exclusive) => true,
        (KeyShare, _) | (Share, Share) => false,
        (Share | NoKeyExclusive, NoKeyExclusive) => true,
        (_, KeyShare | Share) => false,
        (Exclusive, _) => true,
    }
}

/// The xmax of a row that has `old` and is now also locked or changed by `xid`. May make a multixact, so this comes
/// before any critical section. C: `compute_new_xmax_infomask`.
pub(crate) fn compute_new_xmax(old: Xmax, xid: Xid, mode: LockTupleMode, is_update: bool) -> Result<Xmax> {
    let new_status = mode.member_status(is_update);
    let only_locked = infomask::is_locked_only(old.mask);
    let with_committed = |status| multi(multixact::create(old.xid, status, xid, new_status)?);
    let updated = match old.mask2 & infomask2::KEYS_UPDATED {
        0 => MemberStatus::NoKeyUpdate,
        _ => MemberStatus::Update,
    };
    if old.mask & infomask::XMAX_INVALID != 0 {
        return Ok(alone(xid, mode, is_update));
    }
    if old.mask & infomask::XMAX_IS_MULTI != 0 {
        let id = MultiXactId(old.xid.0);
        let over = infomask::is_locked_upgraded(old.mask)
            || !multixact::is_running(id, only_locked)?
                && (only_locked || !transam::try_did_commit(updater(id)?)?);
        return if over {
            Ok(alone(xid, mode, is_update))
        } else {
            multi(multixact::expand(id, xid, new_status)?)
        };
    }
    if old.mask & infomask::XMAX_COMMITTED != 0 {
        return with_committed(updated);
    }
    if transam::try_is_in_progress(old.xid)? {
        let old_status = match (only_locked, locker_status(old)) {
            (false, _) => updated,
            (true, Some(status)) => status,
            (true, None) => {
                ereport!(Warning, "LOCK_ONLY found for Xid in progress {}", old.xid);
                return Ok(alone(xid, mode, is_update));
            }
        };
        if old.xid == xid {
            // Our own lock: only the stronger of the two remains.
            return Ok(alone(xid, mode.max(LockTupleMode::of_member(old_status)), is_update));
        }
        return with_committed(old_status);
    }
    if !only_locked && transam::try_did_commit(old.xid)? {
        return with_committed(updated);
    }
    // It ran when the flags were read and has ended since, without a change that counts.
    Ok(alone(xid, mode, is_update))
}

/// The status of a sole locker, by its flags.
fn locker_status(old: Xmax) -> Option<MemberStatus> {
    if infomask::is_key_share_locked(old.mask) {
        Some(MemberStatus::ForKeyShare)
    } else if infomask::is_share_locked(old.mask) {
        Some(MemberStatus::ForShare)
    } else if infomask::is_exclusive_locked(old.mask) {
        Some(match old.mask2 & infomask2::KEYS_UPDATED {
            0 => MemberStatus::ForNoKeyUpdate,
            _ => MemberStatus::ForUpdate,
        })
    } else {
        None
    }
}

/// Nobody else is there: the plain id with its flags.
fn alone(xid: Xid, mode: LockTupleMode, is_update: bool) -> Xmax {
    let mask2 = if mode == LockTupleMode::Exclusive { infomask2::KEYS_UPDATED } else { 0 };
    let mask = match (is_update, mode) {
        (true, _) => 0,
        (false, LockTupleMode::KeyShare) => infomask::XMAX_LOCK_ONLY | infomask::XMAX_KEYSHR_LOCK,
        (false, LockTupleMode::Share) => infomask::XMAX_LOCK_ONLY | infomask::XMAX_SHR_LOCK,
        (false, _) => infomask::XMAX_LOCK_ONLY | infomask::XMAX_EXCL_LOCK,
    };
    Xmax { xid, mask, mask2 }
}

/// The flags that sum a multixact up. C: `GetMultiXactIdHintBits`.
pub(crate) fn multi(id: MultiXactId) -> Result<Xmax> {
    Ok(summary(id, &multixact::members(id, false, false)?))
}

pub(crate) fn summary(id: MultiXactId, members: &[(Xid, MemberStatus)]) -> Xmax {
    let mut strongest = LockTupleMode::KeyShare;
    let mut has_update = false;
    let mut mask2 = 0;
    for (_, status) in members {
        strongest = strongest.max(LockTupleMode::of_member(*status));
        has_update |= status.is_update();
        if matches!(status, MemberStatus::ForUpdate | MemberStatus::Update) {
            mask2 |= infomask2::KEYS_UPDATED;
        }
    }
    let lock = match strongest {
        LockTupleMode::KeyShare => infomask::XMAX_KEYSHR_LOCK,
        LockTupleMode::Share => infomask::XMAX_SHR_LOCK,
        LockTupleMode::NoKeyExclusive | LockTupleMode::Exclusive => infomask::XMAX_EXCL_LOCK,
    };
    let only = if has_update { 0 } else { infomask::XMAX_LOCK_ONLY };
    Xmax { xid: Xid(id.0), mask: infomask::XMAX_IS_MULTI | lock | only, mask2 }
}

/// The updater of a multixact, invalid if there is none. C: `MultiXactIdGetUpdateXid`.
pub(crate) fn updater(id: MultiXactId) -> Result<Xid> {
    let members = multixact::members(id, false, false)?;
    Ok(members.iter().find(|(_, status)| status.is_update()).map_or(Xid::INVALID, |(xid, _)| *xid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockTupleMode::{Exclusive, KeyShare, NoKeyExclusive, Share};

    #[test]
    fn conflicts_are_those_of_the_manual() {
        let modes = [KeyShare, Share, NoKeyExclusive, Exclusive];
        let table = modes.map(|a| modes.map(|b| if conflict(a, b) { 'X' } else { '.' }));
        assert_eq!(table.map(|row| row.iter().collect::<String>()), ["...X", "..XX", ".XXX", "XXXX"]);
    }

    #[test]
    fn a_lock_alone_is_flags() {
        assert_eq!(
            alone(Xid(9), Share, false),
            Xmax { xid: Xid(9), mask: infomask::XMAX_LOCK_ONLY | infomask::XMAX_SHR_LOCK, mask2: 0 }
        );
        assert_eq!(
            alone(Xid(9), Exclusive, true),
            Xmax { xid: Xid(9), mask: 0, mask2: infomask2::KEYS_UPDATED }
        );
    }

    #[test]
    fn a_multixact_is_summed_up_by_its_strongest_member() {
        let members = [(Xid(5), MemberStatus::ForKeyShare), (Xid(6), MemberStatus::NoKeyUpdate)];
        let sum = summary(MultiXactId(3), &members);
        assert_eq!(sum.mask, infomask::XMAX_IS_MULTI | infomask::XMAX_EXCL_LOCK);
        let lockers = [(Xid(5), MemberStatus::ForKeyShare), (Xid(6), MemberStatus::ForShare)];
        let mask = summary(MultiXactId(3), &lockers).mask;
        assert_eq!(mask, infomask::XMAX_IS_MULTI | infomask::XMAX_SHR_LOCK | infomask::XMAX_LOCK_ONLY);
    }
}
