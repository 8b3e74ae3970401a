//! The rules as tables: a row's flags and the fate of its transactions on one side, the verdict on the other.

use std::collections::HashMap;

use common::{CommandId, ItemPointer, MultiXactId, Xid};
use elog::Result;

use super::*;
use crate::api::TmResult;
use crate::header::{HEADER_SIZE, HeaderMut, infomask as m, infomask2};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Ours,
    Running,
    Committed,
    Aborted,
}
use Fate::{Aborted, Committed, Ours, Running};

#[derive(Default)]
struct World {
    fates: HashMap<u32, Fate>,
    /// Multixact, its updater (0 for none), whether any member runs.
    multis: HashMap<u32, (u32, bool)>,
}

impl World {
    fn fate(&self, xid: Xid) -> Fate {
        self.fates.get(&xid.0).copied().unwrap_or(Aborted)
    }
}

impl Xids for World {
    fn is_current(&self, xid: Xid) -> bool {
        self.fate(xid) == Ours
    }
    fn in_progress(&self, xid: Xid) -> Result<bool> {
        Ok(matches!(self.fate(xid), Ours | Running))
    }
    fn did_commit(&self, xid: Xid) -> Result<bool> {
        Ok(self.fate(xid) == Committed)
    }
    fn multi_updater(&self, multi: MultiXactId) -> Result<Xid> {
        Ok(Xid(self.multis[&multi.0].0))
    }
    fn multi_running(&self, multi: MultiXactId, _lock_only: bool) -> Result<bool> {
        Ok(self.multis[&multi.0].1)
    }
    fn cmin(&self, h: Header<'_>) -> CommandId {
        h.raw_cid() & 0xFF
    }
    fn cmax(&self, h: Header<'_>) -> CommandId {
        h.raw_cid() >> 8
    }
}

/// Ids from 100 on were running when the snapshot was taken, or began later.
struct At(CommandId);

impl CommandView for At {
    fn curcid(&self) -> CommandId {
        self.0
    }
}

impl MvccView for At {
    fn contains(&self, xid: Xid) -> bool {
        xid.0 >= 100
    }
}

#[derive(Default)]
struct Collect(u16);

impl Hints for Collect {
    fn hint(&mut self, bits: u16, _xid: Xid) {
        self.0 |= bits;
    }
}

const XMIN: u32 = 50;
const XMAX: u32 = 60;
const MULTI: u32 = 7;

/// One case: fates of xmin and xmax, the flags.
struct Row {
    xmin: (u32, Fate),
    xmax: (u32, Fate),
    mask: u16,
    /// cmin, cmax.
    cids: (u32, u32),
    moved: bool,
}

impl Row {
    fn new(xmin: Fate, xmax: Fate, mask: u16) -> Row {
        Row { xmin: (XMIN, xmin), xmax: (XMAX, xmax), mask, cids: (0, 0), moved: false }
    }

    fn world(&self) -> World {
        let mut world = World::default();
        world.fates.extend([self.xmin, self.xmax]);
        world.multis.insert(MULTI, (self.xmax.0, matches!(self.xmax.1, Running | Ours)));
        world
    }

    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let mut h = HeaderMut(&mut bytes);
        h.set_xmin(Xid(self.xmin.0));
        h.set_xmax(Xid(if self.mask & m::XMAX_IS_MULTI != 0 { MULTI } else { self.xmax.0 }));
        h.set_raw_cid(self.cids.0 | self.cids.1 << 8);
        h.set_infomask(self.mask);
        h.set_infomask2(infomask2::KEYS_UPDATED);
        h.set_ctid(if self.moved { ItemPointer::new(0, 2) } else { ItemPointer::new(0, 1) });
        bytes
    }

    fn mvcc(&self, curcid: u32) -> (bool, u16) {
        let mut hints = Collect::default();
        let bytes = self.bytes();
        (satisfies_mvcc(Header(&bytes), &At(curcid), &self.world(), &mut hints).unwrap(), hints.0)
    }

    fn update(&self, curcid: u32) -> TmResult {
        let bytes = self.bytes();
        let tid = ItemPointer::new(0, 1);
        satisfies_update(Header(&bytes), tid, curcid, &self.world(), &mut NoHints).unwrap()
    }

    fn vacuum(&self) -> VacuumState {
        let bytes = self.bytes();
        satisfies_vacuum(Header(&bytes), &self.world(), &mut NoHints).unwrap().0
    }

    fn own(&self) -> bool {
        let bytes = self.bytes();
        dirty::satisfies_self(Header(&bytes), &self.world(), &mut NoHints).unwrap()
    }

    fn dirty(&self) -> Option<(u32, u32)> {
        let bytes = self.bytes();
        let info = dirty::satisfies_dirty(Header(&bytes), &self.world(), &mut NoHints).unwrap();
        info.map(|i| (i.xmin.0, i.xmax.0))
    }
}

#[test]
fn a_snapshot_sees_what_was_committed() {
    let no_xmax = m::XMAX_INVALID;
    assert_eq!(Row::new(Committed, Aborted, no_xmax).mvcc(0), (true, m::XMIN_COMMITTED));
    assert_eq!(Row::new(Aborted, Aborted, no_xmax).mvcc(0), (false, m::XMIN_INVALID));
    let mut later = Row::new(Committed, Aborted, no_xmax | m::XMIN_COMMITTED);
    later.xmin.0 = 100;
    assert_eq!(later.mvcc(0), (false, 0));
    later.mask |= m::XMIN_FROZEN;
    assert_eq!(later.mvcc(0), (true, 0), "frozen is visible to all");
}

#[test]
fn a_snapshot_sees_what_was_not_deleted() {
    let seen = m::XMIN_COMMITTED;
    assert_eq!(Row::new(Committed, Committed, seen).mvcc(0), (false, m::XMAX_COMMITTED));
    assert_eq!(Row::new(Committed, Aborted, seen).mvcc(0), (true, m::XMAX_INVALID));
    let mut later = Row::new(Committed, Committed, seen | m::XMAX_COMMITTED);
    later.xmax.0 = 101;
    assert_eq!(later.mvcc(0), (true, 0), "deleted after the snapshot");
    let locked = seen | m::XMAX_LOCK_ONLY | m::XMAX_EXCL_LOCK;
    assert_eq!(Row::new(Committed, Committed, locked).mvcc(0), (true, 0), "a lock hides nothing");
    let multi = seen | m::XMAX_IS_MULTI | m::XMAX_EXCL_LOCK;
    assert!(!Row::new(Committed, Committed, multi).mvcc(0).0, "the updater in a multixact counts");
    assert!(Row::new(Committed, Aborted, multi).mvcc(0).0);
}

#[test]
fn own_work_is_visible_to_later_commands() {
    let mut row = Row::new(Ours, Aborted, m::XMAX_INVALID);
    row.cids = (3, 0);
    assert_eq!((row.mvcc(3).0, row.mvcc(4).0), (false, true));
    let mut deleted = Row::new(Committed, Ours, m::XMIN_COMMITTED);
    deleted.cids = (0, 3);
    assert_eq!((deleted.mvcc(3).0, deleted.mvcc(4).0), (true, false));
    let mut both = Row::new(Ours, Ours, m::COMBOCID);
    both.cids = (1, 3);
    assert_eq!([1, 2, 3, 4].map(|cid| both.mvcc(cid).0), [false, true, true, false]);
    // A savepoint's delete, rolled back.
    assert_eq!(Row::new(Ours, Aborted, 0).mvcc(4), (true, m::XMAX_INVALID));
}

#[test]
fn who_may_update() {
    let seen = m::XMIN_COMMITTED;
    assert_eq!(Row::new(Committed, Aborted, seen | m::XMAX_INVALID).update(0), TmResult::Ok);
    assert_eq!(Row::new(Running, Aborted, m::XMAX_INVALID).update(0), TmResult::Invisible);
    assert_eq!(Row::new(Aborted, Aborted, m::XMAX_INVALID).update(0), TmResult::Invisible);
    assert_eq!(Row::new(Committed, Running, seen).update(0), TmResult::BeingModified);
    assert_eq!(Row::new(Committed, Aborted, seen).update(0), TmResult::Ok);
    assert_eq!(Row::new(Committed, Committed, seen).update(0), TmResult::Deleted);
    let mut moved = Row::new(Committed, Committed, seen);
    moved.moved = true;
    assert_eq!(moved.update(0), TmResult::Updated);
    let lock = seen | m::XMAX_LOCK_ONLY | m::XMAX_EXCL_LOCK;
    assert_eq!(Row::new(Committed, Running, lock).update(0), TmResult::BeingModified);
    assert_eq!(Row::new(Committed, Ours, lock).update(0), TmResult::BeingModified);
    assert_eq!(Row::new(Committed, Committed, lock).update(0), TmResult::Ok);
    let mut own = Row::new(Committed, Ours, seen);
    own.cids = (0, 5);
    assert_eq!((own.update(5), own.update(6)), (TmResult::SelfModified, TmResult::Invisible));
    let multi = seen | m::XMAX_IS_MULTI | m::XMAX_EXCL_LOCK;
    assert_eq!(Row::new(Committed, Running, multi).update(0), TmResult::BeingModified);
    assert_eq!(Row::new(Committed, Committed, multi).update(0), TmResult::Deleted);
    assert_eq!(Row::new(Committed, Aborted, multi).update(0), TmResult::Ok);
}

#[test]
fn what_vacuum_thinks() {
    use VacuumState::{Dead, DeleteInProgress, InsertInProgress, Live, RecentlyDead};
    let seen = m::XMIN_COMMITTED;
    for (xmin, xmax, mask, state) in [
        (Aborted, Aborted, m::XMAX_INVALID, Dead),
        (Running, Aborted, m::XMAX_INVALID, InsertInProgress),
        (Ours, Ours, 0, DeleteInProgress),
        (Ours, Aborted, 0, InsertInProgress),
        (Committed, Aborted, m::XMAX_INVALID, Live),
        (Committed, Running, seen, DeleteInProgress),
        (Committed, Committed, seen, RecentlyDead),
        (Committed, Aborted, seen, Live),
        (Committed, Running, seen | m::XMAX_LOCK_ONLY | m::XMAX_EXCL_LOCK, Live),
        (Committed, Committed, seen | m::XMAX_IS_MULTI | m::XMAX_EXCL_LOCK, RecentlyDead),
        (Committed, Running, seen | m::XMAX_IS_MULTI | m::XMAX_EXCL_LOCK, DeleteInProgress),
    ] {
        assert_eq!(Row::new(xmin, xmax, mask).vacuum(), state, "{xmin:?} {xmax:?} {mask:#x}");
    }
}

#[test]
fn dirty_tells_who_is_at_work() {
    let seen = m::XMIN_COMMITTED;
    let inserting = Row::new(Running, Aborted, m::XMAX_INVALID);
    assert_eq!((inserting.own(), inserting.dirty()), (false, Some((XMIN, 0))));
    let deleting = Row::new(Committed, Running, seen);
    assert_eq!((deleting.own(), deleting.dirty()), (true, Some((0, XMAX))));
    let deleted = Row::new(Committed, Ours, seen);
    assert_eq!((deleted.own(), deleted.dirty()), (false, None));
    let locked = Row::new(Committed, Running, seen | m::XMAX_LOCK_ONLY | m::XMAX_EXCL_LOCK);
    assert_eq!((locked.own(), locked.dirty()), (true, Some((0, 0))));
}

/// A hint is only a shortcut: with it the answer is the same as without.
#[test]
fn hints_do_not_change_answers() {
    for xmin in [Ours, Running, Committed, Aborted] {
        for xmax in [Ours, Running, Committed, Aborted] {
            for flags in [0, m::XMAX_INVALID, m::XMAX_LOCK_ONLY | m::XMAX_SHR_LOCK] {
                let mut row = Row::new(xmin, xmax, flags);
                if xmin == Running {
                    row.xmin.0 += 100;
                }
                if xmax == Running {
                    row.xmax.0 += 100;
                }
                let (first, hints) = row.mvcc(1);
                let before = (row.update(1), row.vacuum(), row.own(), row.dirty());
                row.mask |= hints;
                assert_eq!(row.mvcc(1), (first, 0), "{xmin:?} {xmax:?} {flags:#x}");
                assert_eq!((row.update(1), row.vacuum(), row.own(), row.dirty()), before);
            }
        }
    }
}

/// Bytes of a damaged page: an error, before anything is looked at.
#[test]
fn a_row_without_a_whole_header() {
    let world = World::default();
    for len in [0, 4, HEADER_SIZE - 1] {
        let bytes = vec![0; len];
        let h = Header(&bytes);
        let errors = [
            satisfies_mvcc(h, &At(0), &world, &mut NoHints).err(),
            dirty::satisfies_self(h, &world, &mut NoHints).err(),
            dirty::satisfies_dirty(h, &world, &mut NoHints).err(),
            satisfies_update(h, ItemPointer::new(0, 1), 0, &world, &mut NoHints).err(),
            satisfies_vacuum(h, &world, &mut NoHints).err(),
        ];
        assert!(errors.iter().flatten().all(|e| e.sqlstate == common::SqlState::DATA_CORRUPTED));
        assert_eq!(errors.iter().flatten().count(), errors.len());
    }
}
