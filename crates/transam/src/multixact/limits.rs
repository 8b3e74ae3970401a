//! The oldest set that matters, how far numbers and members may go, and removing what is older.
//!
//! Numbers end half a circle after the oldest set. Members are a circle of their own: the newest may not reach the
//! file that holds the oldest set's first.
//!
//! C counterpart: `SetMultiXactIdLimit`, `SetOffsetVacuumLimit`, `GetOldestMultiXactId`, `TruncateMultiXact`.

use std::sync::atomic::Ordering::Relaxed;

use common::{MultiXactId, Oid, SqlState};
use elog::{PgError, Result, ereport, error, pg_error};
use shmem::ExclusiveGuard;
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use wal::RmgrId;

use super::layout::{MEMBERS_PER_SEGMENT, OFFSETS_PER_PAGE, member_page, offset_page};
use super::store::{MEMBERS, OFFSETS};
use super::{OLDEST_MEMBER, OLDEST_VISIBLE, STATE, State, XLOG_TRUNCATE, store};
use crate::slru::PAGES_PER_SEGMENT;
use crate::{log, varsup};

const STOP_BEFORE_WRAP: u32 = 3_000_000;
const WARN_BEFORE_WRAP: u32 = 40_000_000;
/// Members after which vacuum should get to work. C: `MULTIXACT_MEMBER_SAFE_THRESHOLD`.
const MEMBERS_SAFE: u32 = u32::MAX / 2;

/// Some way along the circle, over 0.
fn ahead(multi: MultiXactId, distance: u32) -> MultiXactId {
    let to = multi.0.wrapping_add(distance);
    if to == 0 { MultiXactId::FIRST } else { MultiXactId(to) }
}

fn back(multi: MultiXactId, distance: u32) -> MultiXactId {
    let to = multi.0.wrapping_sub(distance);
    if to == 0 { MultiXactId(u32::MAX) } else { MultiXactId(to) }
}

/// Sets the limits from the oldest set that any table may hold. C: `SetMultiXactIdLimit`.
pub fn set_limit(oldest: MultiXactId, db: Oid, startup: bool) {
    let wrap_limit = ahead(oldest, u32::MAX >> 1);
    let warn_limit = back(wrap_limit, WARN_BEFORE_WRAP);
    let vacuum_limit = ahead(oldest, guc::vars::AUTOVACUUM_MULTIXACT_FREEZE_MAX_AGE.get() as u32);
    let (next, ready) = {
        let mut state = STATE.get().exclusive();
        state.oldest = oldest;
        state.oldest_db = db;
        state.vacuum_limit = vacuum_limit;
        state.warn_limit = warn_limit;
        state.stop_limit = back(wrap_limit, STOP_BEFORE_WRAP);
        state.wrap_limit = wrap_limit;
        (state.next, state.ready)
    };
    ereport!(Debug1, "MultiXactId wrap limit is {}, limited by database with OID {db}", wrap_limit.0);
    if !ready {
        return;
    }
    let many_members = set_offset_limit(startup);
    if (!next.precedes(vacuum_limit) || many_members) && miscinit::globals::under_postmaster() {
        send_postmaster_signal(PmSignalReason::StartAutovacLauncher);
    }
    if !next.precedes(warn_limit) {
        must_be_vacuumed(db, wrap_limit.0.wrapping_sub(next.0)).report();
    }
}

/// Finds where the oldest set's members begin, and so where the newest must stop; returns whether so many are in use
/// that vacuum should get to work. C: `SetOffsetVacuumLimit`.
fn set_offset_limit(startup: bool) -> bool {
    let (oldest, next, next_offset) = {
        let state = STATE.get().shared();
        (state.oldest, state.next, state.next_offset)
    };
    let found = if oldest == next { Some(next_offset) } else { find_start(oldest).ok().flatten() };
    let mut state = STATE.get().exclusive();
    if let Some(offset) = found {
        if !state.offset_known && !startup {
            ereport!(Log, "MultiXact member wraparound protections are now enabled");
        }
        state.oldest_offset = offset;
        state.offset_known = true;
        let segment_start = offset - offset % MEMBERS_PER_SEGMENT;
        state.offset_stop_limit = segment_start.wrapping_sub(MEMBERS_PER_SEGMENT);
    } else if !state.offset_known {
        ereport!(
            Log,
            "MultiXact member wraparound protections are disabled because oldest checkpointed MultiXact {} does \
             not exist on disk",
            oldest.0
        );
    }
    !state.offset_known || state.next_offset.wrapping_sub(state.oldest_offset) > MEMBERS_SAFE
}

/// Where a set's members begin; `None` if its page does not exist. C: `find_multixact_start`.
fn find_start(multi: MultiXactId) -> Result<Option<u32>> {
    if !OFFSETS.exists(offset_page(multi))? {
        return Ok(None);
    }
    store::read_offset(multi).map(Some)
}

/// Wakes vacuum, warns, refuses; without the lock, since reports take time. C: in `GetNewMultiXactId`.
#[cold]
pub(super) fn near_the_end(state: ExclusiveGuard<'static, State>) -> Result<ExclusiveGuard<'static, State>> {
    let (next, db) = (state.next, state.oldest_db);
    let (warn, stop, wrap) = (state.warn_limit, state.stop_limit, state.wrap_limit);
    drop(state);
    let refused = miscinit::globals::under_postmaster() && !next.precedes(stop);
    if refused || next.0.is_multiple_of(65_536) {
        send_postmaster_signal(PmSignalReason::StartAutovacLauncher);
    }
    if refused {
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "database is not accepting commands that generate new MultiXactIds to avoid wraparound data loss in {}",
            varsup::database_label(db)
        )
        .hint(
            "Execute a database-wide VACUUM in that database.\nYou might also need to commit or roll back old \
             prepared transactions, or drop stale replication slots.",
        ));
    }
    if !next.precedes(warn) {
        must_be_vacuumed(db, wrap.0.wrapping_sub(next.0)).report();
    }
    Ok(STATE.get().exclusive())
}

fn must_be_vacuumed(db: Oid, left: u32) -> PgError {
    let what = if left == 1 { "MultiXactId is used" } else { "MultiXactIds are used" };
    let label = varsup::database_label(db);
    pg_error!(Warning, SqlState::WARNING, "{label} must be vacuumed before {left} more {what}").hint(
        "Execute a database-wide VACUUM in that database.\nYou might also need to commit or roll back old prepared \
         transactions, or drop stale replication slots.",
    )
}

/// Refuses members that would get to the oldest ones' file. C: in `GetNewMultiXactId`, `MultiXactOffsetWouldWrap`.
pub(super) fn check_members(state: &State, count: u32) -> Result<()> {
    let (start, stop) = (state.next_offset, state.offset_stop_limit);
    if !state.offset_known || !would_pass(stop, start, count) {
        return Ok(());
    }
    let left = stop.wrapping_sub(start).wrapping_sub(1);
    let (db, plural) = (state.oldest_db, if left == 1 { "" } else { "s" });
    if miscinit::globals::under_postmaster() {
        send_postmaster_signal(PmSignalReason::StartAutovacLauncher);
    }
    Err(error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "multixact \"members\" limit exceeded")
        .detail(format!(
            "This command would create a multixact with {count} members, but the remaining space is only enough \
             for {left} member{plural}."
        ))
        .hint(format!(
            "Execute a database-wide VACUUM in database with OID {db} with reduced \
             vacuum_multixact_freeze_min_age and vacuum_multixact_freeze_table_age settings."
        )))
}

/// Whether going `distance` from `start` around the circle passes `boundary`. C: `MultiXactOffsetWouldWrap`.
fn would_pass(boundary: u32, start: u32, distance: u32) -> bool {
    let mut finish = start.wrapping_add(distance);
    // 0 is left out.
    if finish < start {
        finish = finish.wrapping_add(1);
    }
    if start < boundary { finish >= boundary || finish < start } else { finish >= boundary && finish < start }
}

/// The oldest set that any running transaction may look at or be a member of: the horizon of freezing.
/// C: `GetOldestMultiXactId`.
pub fn oldest() -> MultiXactId {
    let state = STATE.get().shared();
    let words = OLDEST_MEMBER.get().iter().chain(OLDEST_VISIBLE.get());
    let noted = words.map(|w| MultiXactId(w.load(Relaxed))).filter(|m| m.is_valid());
    noted.fold(state.next, |a, b| if b.precedes(a) { b } else { a })
}

/// The oldest set that any table may hold, and the next one. C: `ReadMultiXactIdRange`.
pub fn read_oldest() -> (MultiXactId, MultiXactId) {
    let state = STATE.get().shared();
    (state.oldest, state.next)
}

/// At start: the counters as they are. C: `MultiXactSetNextMXact`.
pub fn set_next(next: MultiXactId, next_offset: u32) {
    let mut state = STATE.get().exclusive();
    state.next = if next.is_valid() { next } else { MultiXactId::FIRST };
    state.next_offset = next_offset;
}

/// Replaying a checkpoint. C: `MultiXactAdvanceOldest`.
pub fn advance_oldest(oldest: MultiXactId, db: Oid) {
    if STATE.get().shared().oldest.precedes(oldest) {
        set_limit(oldest, db, false);
    }
}

/// Removes what is older than `new_oldest`, which no table holds any more. C: `TruncateMultiXact`.
///
/// # Errors
/// Of reading the directory and the files.
pub fn truncate(new_oldest: MultiXactId, db: Oid) -> Result<()> {
    let (next, next_offset, old_oldest) = {
        let state = STATE.get().shared();
        (state.next, state.next_offset, state.oldest)
    };
    if new_oldest == old_oldest || new_oldest.precedes(old_oldest) {
        return Ok(());
    }
    // What is on disk may begin later than what is known: after pg_resetwal, say.
    let Some(earliest_page) = OFFSETS.earliest_page()? else { return Ok(()) };
    let earliest = MultiXactId(earliest_page.wrapping_mul(OFFSETS_PER_PAGE).max(MultiXactId::FIRST.0));
    if new_oldest.precedes(earliest) {
        return Ok(());
    }
    let start_of = |multi: MultiXactId| -> Result<Option<u32>> {
        if multi == next { Ok(Some(next_offset)) } else { find_start(multi) }
    };
    let Some(old_offset) = start_of(old_oldest)? else {
        ereport!(
            Log,
            "oldest MultiXact {} not found, earliest MultiXact {}, skipping truncation",
            old_oldest.0,
            earliest.0
        );
        return Ok(());
    };
    let Some(new_offset) = start_of(new_oldest)? else {
        ereport!(
            Log,
            "cannot truncate up to MultiXact {} because it does not exist on disk, skipping truncation",
            new_oldest.0
        );
        return Ok(());
    };
    let range = Truncation { db, multis: (old_oldest, new_oldest), members: (old_offset, new_offset) };
    let lsn = log::insert(RmgrId::MultiXact, XLOG_TRUNCATE, &[&range.to_bytes()]);
    log::flush(lsn);
    {
        // Nobody looks before this one any more, and then it goes.
        let mut state = STATE.get().exclusive();
        state.oldest = new_oldest;
        state.oldest_db = db;
    }
    range.perform()
}

/// What is removed. C: `xl_multixact_truncate`.
struct Truncation {
    db: Oid,
    multis: (MultiXactId, MultiXactId),
    members: (u32, u32),
}

impl Truncation {
    fn to_bytes(&self) -> Vec<u8> {
        log::words([self.db.0, self.multis.0.0, self.multis.1.0, self.members.0, self.members.1])
    }

    /// C: `PerformMembersTruncation`, `PerformOffsetsTruncation`.
    fn perform(&self) -> Result<()> {
        let last_segment = member_page(u32::MAX) / PAGES_PER_SEGMENT;
        let mut segment = self.members.0 / MEMBERS_PER_SEGMENT;
        let end = self.members.1 / MEMBERS_PER_SEGMENT;
        while segment != end {
            MEMBERS.delete_segment(segment)?;
            segment = if segment == last_segment { 0 } else { segment + 1 };
        }
        // One back: a set at the start of a page may not have its page yet.
        let previous = MultiXactId(self.multis.1.0.wrapping_sub(1));
        let previous = if previous.is_valid() { previous } else { MultiXactId(u32::MAX) };
        OFFSETS.truncate(offset_page(previous))
    }
}

/// Replays a truncation.
///
/// # Errors
/// XX001 if the record is too short; of removing.
pub fn redo_truncate_record(data: &[u8]) -> Result<()> {
    let words: Vec<u32> = log::read_words(data).collect();
    let [db, from, to, first_member, end_member] = words
        .get(..5)
        .and_then(|w| w.try_into().ok())
        .ok_or_else(|| error!(SqlState::DATA_CORRUPTED, "multixact record is shorter than its contents"))?;
    let (from, to) = (MultiXactId(from), MultiXactId(to));
    set_limit(to, Oid(db), false);
    // Only here to say that the page exists, else the truncation might refuse.
    OFFSETS.set_latest_page(offset_page(to));
    Truncation { db: Oid(db), multis: (from, to), members: (first_member, end_member) }.perform()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_may_not_pass_the_boundary() {
        assert!(!would_pass(1000, 10, 100));
        assert!(would_pass(1000, 990, 10));
        assert!(would_pass(1000, 10, 5000));
        // Boundary behind: around the circle, but not up to it.
        assert!(!would_pass(1000, u32::MAX - 10, 50));
        assert!(would_pass(1000, u32::MAX - 10, 1200));
        assert!(!would_pass(10, 100, 200));
    }
}
