//! Sets that come back from memory and disk, and how they lie there.

use super::MemberStatus::*;
use super::*;
use crate::testing::{World, fresh};
use crate::varsup;

#[test]
fn sets_come_back_and_lie_as_postgresql_stores_them() {
    let world = World::new();
    let (a, b) = world.life(fresh(), || {
        let (x, y) = (varsup::new_xid(false).unwrap().xid(), Xid(4));
        set_oldest_member();
        let first = create(x, ForKeyShare, y, NoKeyUpdate).unwrap();
        assert_eq!(first, MultiXactId(1));
        assert_eq!(members(first, false, false).unwrap(), [(x, ForKeyShare), (y, NoKeyUpdate)]);
        // The same set again is the same number; in whatever order.
        assert_eq!(create(y, NoKeyUpdate, x, ForKeyShare).unwrap(), first);
        let five: Vec<_> = (10..15).map(|n| (Xid(n), ForShare)).collect();
        let second = create_from_members(&five).unwrap();
        cache::clear();
        assert_eq!(members(second, false, false).unwrap(), five);
        assert_eq!(members(first, false, false).unwrap(), [(x, ForKeyShare), (y, NoKeyUpdate)]);
        checkpoint().unwrap();
        (first, second)
    });
    assert_eq!((a, b), (MultiXactId(1), MultiXactId(2)));
    let words = |file: &str| -> Vec<u32> { log::read_words(&world.file(file)).collect() };
    // M5: the first member of all is at 1.
    assert_eq!(words("pg_multixact/offsets/0000")[..4], [0, 1, 3, 0]);
    // Groups: flags of four, then their ids. Members 1, 2 are of the first set, 3..=7 of the second.
    let members = words("pg_multixact/members/0000");
    assert_eq!(members[..10], [0x01_04_00_00, 0, 3, 4, 10, 0x01_01_01_01, 11, 12, 13, 14]);
}

#[test]
fn large_sets_cross_pages_and_survive_a_restart() {
    let world = World::new();
    let set: Vec<Member> = (100..2100).map(|n| (Xid(n), ForKeyShare)).collect();
    let values = world.life(fresh(), || {
        for n in 0..3 {
            let mut set = set.clone();
            set.push((Xid(5000 + n), Update));
            create_from_members(&set).unwrap();
        }
        crate::checkpoint().unwrap();
        checkpoint_values()
    });
    assert_eq!((values.0, values.1), (MultiXactId(4), 6004));
    let state = crate::StartupState { next_multi: values.0, next_multi_offset: values.1, ..fresh() };
    world.life(state, || {
        for n in 0..3 {
            let found = members(MultiXactId(n + 1), false, false).unwrap();
            assert_eq!(found.len(), 2001);
            assert_eq!(found[2000], (Xid(5000 + n), Update));
        }
        // Nobody who runs now can be a member.
        cache::clear();
        assert!(members(MultiXactId(2), false, true).unwrap().is_empty());
        let e = members(MultiXactId(4), false, false).unwrap_err();
        assert_eq!(e.message, "MultiXactId 4 has not been created yet -- apparent wraparound");
    });
}

#[test]
fn expanding_drops_who_is_over() {
    let world = World::new();
    world.life(fresh(), || {
        crate::start_transaction().unwrap();
        let ids: Vec<Xid> = (0..3).map(|_| crate::procarray::tests::end_of_other(None)).collect();
        let updated = crate::procarray::tests::end_of_other(Some(true));
        let me = crate::current_xid().unwrap();
        let multi = create_from_members(&[(ids[0], ForShare), (updated, NoKeyUpdate)]).unwrap();
        let wider = expand(multi, me, ForShare).unwrap();
        assert_eq!(members(wider, false, false).unwrap(), [(updated, NoKeyUpdate), (me, ForShare)]);
        assert_eq!(expand(wider, me, ForShare).unwrap(), wider);
        assert!(is_running(wider, false).unwrap() && !is_running(multi, false).unwrap());
        let e = create(ids[1], Update, ids[2], NoKeyUpdate).unwrap_err();
        assert_eq!(
            e.message,
            format!(
                "new multixact has more than one updating member: 0 2[{} (upd), {} (nokeyupd)]",
                ids[1], ids[2]
            )
        );
        crate::commit_transaction().unwrap();
    });
}

#[test]
fn truncation_forgets_old_sets() {
    let world = World::new();
    world.life(fresh(), || {
        for n in 0..5000 {
            create_from_members(&[(Xid(10 + n), ForShare), (Xid(6000 + n), ForShare)]).unwrap();
        }
        cache::clear();
        truncate(MultiXactId(4000), Oid(1)).unwrap();
        let e = members(MultiXactId(3999), false, false).unwrap_err();
        assert_eq!(e.message, "MultiXactId 3999 does no longer exist -- apparent wraparound");
        assert_eq!(members(MultiXactId(4000), false, false).unwrap()[0].0, Xid(10 + 3999));
        assert_eq!(read_oldest().0, MultiXactId(4000));
    });
}
