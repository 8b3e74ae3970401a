//! Reading and writing `pg_multixact`.
//!
//! C counterpart: `RecordNewMultiXact`, `ExtendMultiXactOffset`, `ExtendMultiXactMember`, `TrimMultiXact`.

use common::{MultiXactId, Xid};
use elog::Result;
use shmem::{Reservation, tranche};
use wal::RmgrId;

use super::layout::{
    OFFSETS_PER_PAGE, is_first_of_page, left_on_page, member_page, member_place, offset_page, offset_word,
};
use super::{Member, MemberStatus, STATE, XLOG_ZERO_MEMBER_PAGE, XLOG_ZERO_OFFSET_PAGE};
use crate::log;
use crate::slru::{Config, Slru};

pub(super) static OFFSETS: Slru = Slru::new(
    "MultiXactOffset",
    Config {
        dir: "pg_multixact/offsets",
        durable: true,
        lsns_per_page: 0,
        precedes: offset_page_precedes,
        control_tranche: tranche::MULTI_XACT_OFFSET_SLRU,
        io_tranche: tranche::MULTIXACTOFFSET_BUFFER,
    },
);

pub(super) static MEMBERS: Slru = Slru::new(
    "MultiXactMember",
    Config {
        dir: "pg_multixact/members",
        durable: true,
        lsns_per_page: 0,
        precedes: member_page_precedes,
        control_tranche: tranche::MULTI_XACT_MEMBER_SLRU,
        io_tranche: tranche::MULTIXACTMEMBER_BUFFER,
    },
);

pub(super) fn reserve(r: &mut Reservation) {
    OFFSETS.reserve(r, 8);
    MEMBERS.reserve(r, 16);
}

/// C: `MultiXactOffsetPagePrecedes`.
fn offset_page_precedes(a: u32, b: u32) -> bool {
    let first = |page: u32| page.wrapping_mul(OFFSETS_PER_PAGE).wrapping_add(2);
    let precedes = |x: u32, y: u32| MultiXactId(x).precedes(MultiXactId(y));
    precedes(first(a), first(b)) && precedes(first(a), first(b).wrapping_add(OFFSETS_PER_PAGE - 1))
}

/// C: `MultiXactMemberPagePrecedes`.
fn member_page_precedes(a: u32, b: u32) -> bool {
    let per_page = super::layout::MEMBERS_PER_PAGE;
    let (first_a, first_b) = (a.wrapping_mul(per_page), b.wrapping_mul(per_page));
    let precedes = |x: u32, y: u32| (x.wrapping_sub(y) as i32) < 0;
    precedes(first_a, first_b) && precedes(first_a, first_b.wrapping_add(per_page - 1))
}

/// Writes a set's offset and members. C: `RecordNewMultiXact`.
pub(super) fn write(multi: MultiXactId, offset: u32, members: &[Member]) -> Result<()> {
    {
        let (mut lock, slot) = OFFSETS.read_page(OFFSETS.lock(), offset_page(multi), true, multi.0)?;
        OFFSETS.page(&lock, slot).set(offset_word(multi), offset);
        OFFSETS.set_dirty(&mut lock, slot);
    }
    let mut at = offset;
    let mut rest = members;
    while !rest.is_empty() {
        let (on_page, beyond) = rest.split_at(rest.len().min(left_on_page(at) as usize));
        let (mut lock, slot) = MEMBERS.read_page(MEMBERS.lock(), member_page(at), true, multi.0)?;
        let page = MEMBERS.page(&lock, slot);
        for (xid, status) in on_page {
            let place = member_place(at);
            page.set(place.xid_word, xid.0);
            let flags = page.get(place.flags_word) & !(0xFF << place.flags_shift);
            page.set(place.flags_word, flags | (*status as u32) << place.flags_shift);
            at = at.wrapping_add(1);
        }
        MEMBERS.set_dirty(&mut lock, slot);
        rest = beyond;
    }
    Ok(())
}

/// Where a set's members begin; 0 if that is not written yet.
pub(super) fn read_offset(multi: MultiXactId) -> Result<u32> {
    OFFSETS.look(offset_page(multi), multi.0, |page, _| page.get(offset_word(multi)))
}

pub(super) fn read_members(offset: u32, count: u32) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut done = 0;
    while done < count {
        let at = offset.wrapping_add(done);
        let on_page = (count - done).min(left_on_page(at));
        MEMBERS.look(member_page(at), at, |page, _| {
            for at in (0..on_page).map(|n| at.wrapping_add(n)) {
                let place = member_place(at);
                let xid = Xid(page.get(place.xid_word));
                // Offset 0 was left out, when the circle closed between the two (M5).
                if xid.is_valid() {
                    let status = page.get(place.flags_word) >> place.flags_shift & 0xFF;
                    members.push((xid, MemberStatus::from_bits(status)));
                }
            }
        })?;
        done += on_page;
    }
    Ok(members)
}

/// Makes the page of a number that is about to be given out. The caller holds MultiXactGenLock. C: `ExtendMultiXactOffset`.
pub(super) fn extend_offsets(multi: MultiXactId) -> Result<()> {
    if offset_word(multi) != 0 && multi != MultiXactId::FIRST {
        return Ok(());
    }
    let page = offset_page(multi);
    let _zeroed = OFFSETS.zero_page(OFFSETS.lock(), page)?;
    log::insert(RmgrId::MultiXact, XLOG_ZERO_OFFSET_PAGE, &[&page.to_le_bytes()]);
    Ok(())
}

/// Makes the pages that begin among these members. The caller holds MultiXactGenLock. C: `ExtendMultiXactMember`.
pub(super) fn extend_members(offset: u32, count: u32) -> Result<()> {
    let mut done = 0;
    while done < count {
        let at = offset.wrapping_add(done);
        if is_first_of_page(at) {
            let page = member_page(at);
            let _zeroed = MEMBERS.zero_page(MEMBERS.lock(), page)?;
            log::insert(RmgrId::MultiXact, XLOG_ZERO_MEMBER_PAGE, &[&page.to_le_bytes()]);
        }
        done = done.saturating_add(left_on_page(at));
    }
    Ok(())
}

/// C: `StartupMultiXact`.
pub(crate) fn startup() {
    let state = STATE.get().shared();
    let (next, next_offset) = (state.next, state.next_offset);
    drop(state);
    OFFSETS.set_latest_page(offset_page(next));
    MEMBERS.set_latest_page(member_page(next_offset));
}

/// After redo: what is beyond the counters is zeroed, and limits are computed. C: `TrimMultiXact`.
pub(crate) fn trim() -> Result<()> {
    let (next, next_offset, oldest, oldest_db) = super::checkpoint_values();
    startup();
    if offset_word(next) != 0 {
        let (mut lock, slot) = OFFSETS.read_page(OFFSETS.lock(), offset_page(next), true, next.0)?;
        OFFSETS.page(&lock, slot).zero_from(offset_word(next));
        OFFSETS.set_dirty(&mut lock, slot);
    }
    // Ids of a group that is begun: its flags are before them and stay, those of later members included. They are
    // written together with the ids.
    let place = member_place(next_offset);
    if place.flags_word != 0 || place.flags_shift != 0 {
        let (mut lock, slot) =
            MEMBERS.read_page(MEMBERS.lock(), member_page(next_offset), true, next_offset)?;
        MEMBERS.page(&lock, slot).zero_from(place.xid_word);
        MEMBERS.set_dirty(&mut lock, slot);
    }
    STATE.get().exclusive().ready = true;
    super::set_limit(oldest, oldest_db, true);
    Ok(())
}

/// C: `CheckPointMultiXact`.
pub(crate) fn checkpoint() -> Result<()> {
    OFFSETS.write_all(true)?;
    MEMBERS.write_all(true)
}

pub(crate) fn redo_zero_offset_page(page: u32) -> Result<()> {
    let (lock, slot) = OFFSETS.zero_page(OFFSETS.lock(), page)?;
    OFFSETS.write_page(lock, slot)?;
    Ok(())
}

pub(crate) fn redo_zero_member_page(page: u32) -> Result<()> {
    let (lock, slot) = MEMBERS.zero_page(MEMBERS.lock(), page)?;
    MEMBERS.write_page(lock, slot)?;
    Ok(())
}
