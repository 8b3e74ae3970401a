//! Multixacts: one number for a set of transactions that lock, or update, the same row.
//!
//! A set never changes: to add a member, a new one is made of those that still matter. Its members are written
//! once, to `pg_multixact`, where they are found by an offset that is written last.
//!
//! - **M1** Numbers and offsets are given out under MultiXactGenLock, in the same order: the members of one end where
//!   those of the next begin. A reader who finds no offset for the next one yet waits for it.
//! - **M2** Before a transaction may become a member of a set, it says so ([`set_oldest_member`]): sets from the
//!   number noted then on are not removed, and not thought dead, until it ends.
//! - **M3** Between taking a number and writing its members nothing may fail: the number is in others' way.
//! - **M4** At most one member of a set updates.
//! - **M5** Offset 0 means "not written": the first member of all is at 1.
//!
//! C counterpart: access/transam/multixact.c.

mod cache; // sets this transaction has seen
mod layout; // where their numbers are
mod limits; // the oldest that matters, and how far it goes
mod store; // reading and writing pg_multixact

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use common::{MultiXactId, Oid, SqlState, Xid};
use elog::{Result, error};
use shmem::proc::try_my_proc;
use shmem::{LwLock, Reservation, ShmSlice, ShmVar, shm_struct, tranche};
use wal::RmgrId;

pub use limits::{advance_oldest, oldest, read_oldest, redo_truncate_record, set_limit, set_next, truncate};
pub(crate) use store::{checkpoint, redo_zero_member_page, redo_zero_offset_page, startup, trim};

use crate::{log, procarray, status, twophase};

/// C: `XLOG_MULTIXACT_ZERO_OFF_PAGE`.
pub(crate) const XLOG_ZERO_OFFSET_PAGE: u8 = 0x00;
/// C: `XLOG_MULTIXACT_ZERO_MEM_PAGE`.
pub(crate) const XLOG_ZERO_MEMBER_PAGE: u8 = 0x10;
/// C: `XLOG_MULTIXACT_CREATE_ID`.
pub(crate) const XLOG_CREATE: u8 = 0x20;
/// C: `XLOG_MULTIXACT_TRUNCATE_ID`.
pub(crate) const XLOG_TRUNCATE: u8 = 0x30;

/// Pause while the maker of the next set writes its offset.
const OFFSET_PAUSE: Duration = Duration::from_millis(1);

/// What a member does to the row. C: `MultiXactStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MemberStatus {
    /// FOR KEY SHARE.
    ForKeyShare = 0,
    /// FOR SHARE.
    ForShare = 1,
    /// FOR NO KEY UPDATE.
    ForNoKeyUpdate = 2,
    /// FOR UPDATE.
    ForUpdate = 3,
    /// An update that leaves key columns alone.
    NoKeyUpdate = 4,
    /// Another update, or a delete.
    Update = 5,
}

impl MemberStatus {
    /// Whether it changes the row. C: `ISUPDATE_from_mxstatus`.
    pub fn is_update(self) -> bool {
        self > MemberStatus::ForUpdate
    }

    /// From a file or record; what cannot be is taken for the strongest.
    pub fn from_bits(bits: u32) -> MemberStatus {
        match bits {
            0 => MemberStatus::ForKeyShare,
            1 => MemberStatus::ForShare,
            2 => MemberStatus::ForNoKeyUpdate,
            3 => MemberStatus::ForUpdate,
            4 => MemberStatus::NoKeyUpdate,
            _ => MemberStatus::Update,
        }
    }

    /// As in `pg_get_multixact_members()`. C: `mxstatus_to_string`.
    pub fn name(self) -> &'static str {
        match self {
            MemberStatus::ForKeyShare => "keysh",
            MemberStatus::ForShare => "sh",
            MemberStatus::ForNoKeyUpdate => "fornokeyupd",
            MemberStatus::ForUpdate => "forupd",
            MemberStatus::NoKeyUpdate => "nokeyupd",
            MemberStatus::Update => "upd",
        }
    }
}

/// A transaction and what it does to the row. C: `MultiXactMember`.
pub type Member = (Xid, MemberStatus);

shm_struct! {
    /// What MultiXactGenLock protects. C: `MultiXactStateData`.
    struct State {
        next: MultiXactId,
        next_offset: u32,
        /// Recovery is over: limits can be computed from the files.
        ready: bool,
        oldest: MultiXactId,
        oldest_db: Oid,
        /// Where the oldest one's members begin, if `offset_known`.
        oldest_offset: u32,
        offset_known: bool,
        vacuum_limit: MultiXactId,
        warn_limit: MultiXactId,
        stop_limit: MultiXactId,
        wrap_limit: MultiXactId,
        /// Members may not get here, if `offset_known`.
        offset_stop_limit: u32,
    }
}

static STATE: ShmVar<LwLock<State>> = ShmVar::new("Shared MultiXact State");
/// Per PGPROC (M2). C: `OldestMemberMXactId`.
static OLDEST_MEMBER: ShmSlice<AtomicU32> = ShmSlice::new("MultiXact Oldest Member");
/// Per PGPROC: sets before this one cannot matter to its transaction. C: `OldestVisibleMXactId`.
static OLDEST_VISIBLE: ShmSlice<AtomicU32> = ShmSlice::new("MultiXact Oldest Visible");

pub(crate) fn reserve(r: &mut Reservation, procs: usize) {
    store::reserve(r);
    let none = MultiXactId::INVALID;
    r.var(&STATE, move || {
        LwLock::new(
            tranche::MULTI_XACT_GEN,
            State {
                next: MultiXactId::FIRST,
                next_offset: 0,
                ready: false,
                oldest: MultiXactId::FIRST,
                oldest_db: Oid::INVALID,
                oldest_offset: 0,
                offset_known: false,
                vacuum_limit: none,
                warn_limit: none,
                stop_limit: none,
                wrap_limit: none,
                offset_stop_limit: 0,
            },
        )
    });
    r.slice(&OLDEST_MEMBER, procs, |_| AtomicU32::new(0));
    r.slice(&OLDEST_VISIBLE, procs, |_| AtomicU32::new(0));
}

/// The number after this one; 0 is none.
fn following(multi: MultiXactId) -> MultiXactId {
    let next = multi.0.wrapping_add(1);
    if next == 0 { MultiXactId::FIRST } else { MultiXactId(next) }
}

/// This process's word in one of the arrays.
fn my(array: &'static ShmSlice<AtomicU32>) -> Option<&'static AtomicU32> {
    try_my_proc().map(|proc| &array.get()[proc.pgprocno as usize])
}

/// The set of two. C: `MultiXactIdCreate`.
///
/// # Errors
/// As [`create_from_members`].
pub fn create(xid1: Xid, status1: MemberStatus, xid2: Xid, status2: MemberStatus) -> Result<MultiXactId> {
    create_from_members(&[(xid1, status1), (xid2, status2)])
}

/// The set and one more member, without those that no longer matter: transactions that are over, unless they updated
/// the row and committed. C: `MultiXactIdExpand`.
///
/// # Errors
/// As [`members`] and [`create_from_members`].
pub fn expand(multi: MultiXactId, xid: Xid, status: MemberStatus) -> Result<MultiXactId> {
    let old = members(multi, false, false)?;
    if old.contains(&(xid, status)) {
        return Ok(multi);
    }
    let mut kept = Vec::with_capacity(old.len() + 1);
    for (member, member_status) in old {
        let matters = procarray::try_is_in_progress(member)?
            || member_status.is_update() && status::try_did_commit(member)?;
        if matters {
            kept.push((member, member_status));
        }
    }
    kept.push((xid, status));
    create_from_members(&kept)
}

/// A set of these members; one made before in this transaction is used again. The caller has called
/// [`set_oldest_member`] if it is one of them. C: `MultiXactIdCreateFromMembers`.
///
/// # Errors
/// 54000 near the end of a circle; XX000 for two updaters; of making pages.
pub fn create_from_members(members: &[Member]) -> Result<MultiXactId> {
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|(xid, status)| (xid.0, *status));
    if let Some(known) = cache::find_set(&members) {
        return Ok(known);
    }
    if members.iter().filter(|(_, status)| status.is_update()).count() > 1 {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "new multixact has more than one updating member: {}",
            to_text(MultiXactId::INVALID, &members)
        ));
    }
    let (multi, offset) = take_number(members.len() as u32)?;
    // M3: `take_number` has begun the critical section.
    let numbers = [multi.0, offset, members.len() as u32];
    let parts = members.iter().flat_map(|(xid, status)| [xid.0, *status as u32]);
    let data = log::words(numbers.into_iter().chain(parts));
    log::insert(RmgrId::MultiXact, XLOG_CREATE, &[&data]);
    if let Err(e) = store::write(multi, offset, &members) {
        elog::abort(e);
    }
    elog::end_critical_section();
    cache::put(multi, members);
    Ok(multi)
}

/// `5 2[731 (keysh), 732 (nokeyupd)]`. C: `mxid_to_string`.
pub fn to_text(multi: MultiXactId, members: &[Member]) -> String {
    let list: Vec<_> = members.iter().map(|(xid, status)| format!("{xid} ({})", status.name())).collect();
    format!("{} {}[{}]", multi.0, members.len(), list.join(", "))
}

/// The next number and a place for this many members; leaves a critical section open (M3). C: `GetNewMultiXactId`.
fn take_number(members: u32) -> Result<(MultiXactId, u32)> {
    if wal::in_recovery() {
        return Err(error!(SqlState::INTERNAL_ERROR, "cannot assign MultiXactIds during recovery"));
    }
    let mut state = STATE.get().exclusive();
    if state.vacuum_limit.is_valid() && !state.next.precedes(state.vacuum_limit) {
        state = limits::near_the_end(state)?;
    }
    let multi = state.next;
    store::extend_offsets(multi)?;
    // M5: the very first, or the circle has closed: leave out offset 0.
    let (offset, taken) = match state.next_offset {
        0 => (1, members + 1),
        next => (next, members),
    };
    limits::check_members(&state, taken)?;
    store::extend_members(state.next_offset, taken)?;
    elog::start_critical_section();
    state.next = following(multi);
    state.next_offset = state.next_offset.wrapping_add(taken);
    Ok((multi, offset))
}

/// The members of a set; none if it cannot matter any more. `allow_old`: it comes from a version before 9.3 (a tuple
/// with `HEAP_LOCKED_UPGRADED`) and is not looked up. `lock_only`: no member updated the row. C: `GetMultiXactIdMembers`.
///
/// # Errors
/// XX000 "apparent wraparound"; of reading the files.
pub fn members(multi: MultiXactId, allow_old: bool, lock_only: bool) -> Result<Vec<Member>> {
    if !multi.is_valid() || allow_old {
        return Ok(Vec::new());
    }
    if let Some(known) = cache::find_members(multi) {
        return Ok(known);
    }
    set_oldest_visible();
    // Nobody who runs now was running when it was made: all lockers are gone.
    let visible = my(&OLDEST_VISIBLE).map_or(MultiXactId::INVALID, |word| MultiXactId(word.load(Relaxed)));
    if lock_only && visible.is_valid() && multi.precedes(visible) {
        return Ok(Vec::new());
    }
    let (oldest, next, next_offset) = {
        let state = STATE.get().shared();
        (state.oldest, state.next, state.next_offset)
    };
    if multi.precedes(oldest) {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "MultiXactId {} does no longer exist -- apparent wraparound", multi.0
        ));
    }
    if !multi.precedes(next) {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "MultiXactId {} has not been created yet -- apparent wraparound", multi.0
        ));
    }
    let offset = store::read_offset(multi)?;
    let after = following(multi);
    let end = if after == next { next_offset } else { wait_for_offset(after)? };
    let found = store::read_members(offset, end.wrapping_sub(offset))?;
    cache::put(multi, found.clone());
    Ok(found)
}

/// M1: the next set has its number, and its maker is about to write its offset.
fn wait_for_offset(multi: MultiXactId) -> Result<u32> {
    loop {
        let offset = store::read_offset(multi)?;
        if offset != 0 {
            return Ok(offset);
        }
        miscinit::interrupt::check()?;
        crate::pause(OFFSET_PAUSE);
    }
}

/// Whether some member still runs. C: `MultiXactIdIsRunning`.
///
/// # Errors
/// As [`members`].
pub fn is_running(multi: MultiXactId, lock_only: bool) -> Result<bool> {
    let members = members(multi, false, lock_only)?;
    // Our own first: that costs nothing.
    if members.iter().any(|(xid, _)| crate::xact::is_current(*xid)) {
        return Ok(true);
    }
    for (xid, _) in members {
        if procarray::try_is_in_progress(xid)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// M2: to be called before this transaction may put itself into a set. C: `MultiXactIdSetOldestMember`.
pub fn set_oldest_member() {
    let Some(word) = my(&OLDEST_MEMBER) else { return };
    if word.load(Relaxed) == 0 {
        // Under the lock: no set may be made between the look at the counter and the note.
        let state = STATE.get().shared();
        word.store(state.next.0, Relaxed);
    }
}

/// Notes, once per transaction, the oldest set that can have a running member. C: `MultiXactIdSetOldestVisible`.
fn set_oldest_visible() {
    let Some(word) = my(&OLDEST_VISIBLE) else { return };
    if word.load(Relaxed) == 0 {
        let state = STATE.get().exclusive();
        let oldest =
            OLDEST_MEMBER.get().iter().map(|w| MultiXactId(w.load(Relaxed))).filter(|m| m.is_valid());
        let oldest = oldest.fold(state.next, |a, b| if b.precedes(a) { b } else { a });
        word.store(oldest.0, Relaxed);
    }
}

/// The transaction is over. C: `AtEOXact_MultiXact`.
pub(crate) fn at_end() {
    for word in [my(&OLDEST_MEMBER), my(&OLDEST_VISIBLE)].into_iter().flatten() {
        word.store(0, Relaxed);
    }
    cache::clear();
}

/// A prepared transaction can still be a member of sets that others make. C: `AtPrepare_MultiXact`.
pub(crate) fn at_prepare() {
    if let Some(oldest) = my(&OLDEST_MEMBER).map(|word| word.load(Relaxed)).filter(|oldest| *oldest != 0) {
        twophase::register_record(twophase::RmId::MultiXact, 0, &oldest.to_le_bytes());
    }
}

/// What was noted for this process's transaction is the prepared transaction's. C: `PostPrepare_MultiXact`.
pub(crate) fn hand_over(to: twophase::Prepared) {
    if let Some(mine) = my(&OLDEST_MEMBER).map(|word| word.load(Relaxed)) {
        // Under the lock: who looks for the oldest sees it in one place or the other.
        let _state = STATE.get().exclusive();
        OLDEST_MEMBER.get()[to.procno as usize].store(mine, Relaxed);
        at_end();
    }
}

/// What becomes of it later. C: `multixact_twophase_recover`, `multixact_twophase_postcommit`.
pub(crate) const TWO_PHASE: twophase::TwoPhaseCallbacks = twophase::TwoPhaseCallbacks {
    recover: Some(|prepared, _, data| {
        let oldest = log::read_words(data).next().unwrap_or(0);
        OLDEST_MEMBER.get()[prepared.procno as usize].store(oldest, Relaxed);
        Ok(())
    }),
    post_commit: Some(forget_prepared),
    post_abort: Some(forget_prepared),
    standby_recover: None,
};

fn forget_prepared(prepared: twophase::Prepared, _: u16, _: &[u8]) {
    OLDEST_MEMBER.get()[prepared.procno as usize].store(0, Relaxed);
}

/// The number that the next set will get. C: `ReadNextMultiXactId`.
pub fn read_next() -> MultiXactId {
    STATE.get().shared().next
}

/// What a checkpoint record says: next number, next offset, oldest number, its database. C: `MultiXactGetCheckptMulti`.
pub fn checkpoint_values() -> (MultiXactId, u32, MultiXactId, Oid) {
    let state = STATE.get().shared();
    (state.next, state.next_offset, state.oldest, state.oldest_db)
}

/// Replaying: numbers and offsets before these are in use. C: `MultiXactAdvanceNextMXact`.
pub fn advance_next(next: MultiXactId, next_offset: u32) {
    let mut state = STATE.get().exclusive();
    if state.next.precedes(next) {
        state.next = next;
    }
    if (state.next_offset.wrapping_sub(next_offset) as i32) < 0 {
        state.next_offset = next_offset;
    }
}

/// Replays the making of a set.
///
/// # Errors
/// XX001 if the record is too short; of writing pages.
pub(crate) fn redo_create(data: &[u8]) -> Result<()> {
    let words: Vec<u32> = log::read_words(data).collect();
    let too_short = || error!(SqlState::DATA_CORRUPTED, "multixact record is shorter than its contents");
    let [multi, offset, count] = words.get(..3).and_then(|w| w.try_into().ok()).ok_or_else(too_short)?;
    let pairs = words.get(3..3 + 2 * count as usize).ok_or_else(too_short)?;
    let members: Vec<Member> =
        pairs.chunks_exact(2).map(|p| (Xid(p[0]), MemberStatus::from_bits(p[1]))).collect();
    store::write(MultiXactId(multi), offset, &members)?;
    advance_next(following(MultiXactId(multi)), offset.wrapping_add(count));
    // Members may be transactions that wrote nothing else.
    members.iter().for_each(|(xid, _)| crate::varsup::advance_past(*xid));
    Ok(())
}

#[cfg(test)]
mod tests;
