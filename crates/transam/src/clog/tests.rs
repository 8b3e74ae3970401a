//! Bits in memory, in the file, and after a restart.

use super::*;
use crate::testing::{World, fresh};
use common::FullXid;

fn bits(file: &[u8], xid: u32) -> u8 {
    file[(xid % 32_768 / 4) as usize + (xid / 32_768 * 8192) as usize] >> (xid % 4 * 2) & 3
}

#[test]
fn bits_are_where_postgresql_puts_them() {
    let world = World::new();
    let state = crate::StartupState { next_xid: FullXid(800), ..fresh() };
    world.life(state, || {
        commit_tree(Xid(731), &[Xid(732), Xid(733)]).unwrap();
        abort_tree(Xid(734), &[]).unwrap();
        assert_eq!(status(Xid(732)).unwrap(), (XidStatus::Committed, Lsn::INVALID));
        async_commit_tree(Xid(740), &[], Lsn(77)).unwrap();
        assert_eq!(status(Xid(740)).unwrap(), (XidStatus::Committed, Lsn(77)));
        // A neighbour in the group of 32 shares the LSN; one in another does not.
        assert_eq!(status(Xid(737)).unwrap().1, Lsn(77));
        assert_eq!(status(Xid(735)).unwrap().1, Lsn(0));
        checkpoint().unwrap();
    });
    let file = world.file("pg_xact/0000");
    assert_eq!(file.len(), 8192);
    // 731 = 4 * 182 + 3, and so on: two bits each, lowest first.
    assert_eq!((file[182], file[183], file[185]), (0b0100_0000, 0b0010_0101, 0b0000_0001));
}

#[test]
fn a_tree_over_two_pages_is_read_again_from_disk() {
    let world = World::new();
    let children: Vec<Xid> = (32_760..32_780).map(Xid).collect();
    let state = crate::StartupState { next_xid: FullXid(32_750), ..fresh() };
    let last = world.life(state, || {
        let ids: Vec<_> = (0..40).map(|_| crate::varsup::new_xid(false).unwrap().xid()).collect();
        assert_eq!(status(Xid(32_770)).unwrap().0, XidStatus::InProgress);
        commit_tree(Xid(32_759), &children).unwrap();
        abort_tree(Xid(32_750), &[Xid(32_785)]).unwrap();
        checkpoint().unwrap();
        ids[39]
    });
    assert_eq!(last, Xid(32_789));
    let file = world.file("pg_xact/0000");
    assert_eq!(file.len(), 2 * 8192);
    for xid in 32_740..32_790 {
        let expected = match xid {
            32_759..32_780 => 1,
            32_750 | 32_785 => 2,
            _ => 0,
        };
        assert_eq!(bits(&file, xid), expected, "{xid}");
    }
    let state = crate::StartupState { next_xid: FullXid(32_779), ..fresh() };
    world.life(state, || {
        assert_eq!(status(Xid(32_778)).unwrap().0, XidStatus::Committed);
        // Trimmed: ids that this life has not given out yet.
        assert_eq!(status(Xid(32_779)).unwrap().0, XidStatus::InProgress);
        assert_eq!(status(Xid(32_785)).unwrap().0, XidStatus::InProgress);
    });
}

#[test]
fn a_missing_file_is_an_error_with_postgresqls_words() {
    let world = World::new();
    let state = crate::StartupState { next_xid: FullXid(3_000_000), ..fresh() };
    world.life(fresh(), || {});
    world.life(crate::StartupState { next_xid: FullXid(100), ..state }, || {
        let e = status(Xid(2_000_000)).unwrap_err();
        assert_eq!(e.message, "could not access status of transaction 2000000");
        assert_eq!(
            e.detail.as_deref(),
            Some("Could not open file \"pg_xact/0001\": No such file or directory.")
        );
        let e = status(Xid(200_000)).unwrap_err();
        assert_eq!(
            e.detail.as_deref(),
            Some("Could not read from file \"pg_xact/0000\" at offset 49152: read too few bytes.")
        );
    });
}

#[test]
fn pages_precede_around_the_circle() {
    let last = u32::MAX / XACTS_PER_PAGE;
    assert!(page_precedes(0, 1) && !page_precedes(1, 0) && !page_precedes(5, 5));
    assert!(page_precedes(last, 0) && !page_precedes(0, last));
    // Half a circle away, neither is before all of the other.
    assert!(!page_precedes(0, last / 2 + 1) || !page_precedes(last / 2 + 1, 0));
}

#[test]
fn truncation_removes_whole_files() {
    let world = World::new();
    let per_file = XACTS_PER_PAGE * 32;
    let state = crate::StartupState { next_xid: FullXid(u64::from(per_file) * 2 + 5), ..fresh() };
    for file in ["0001", "0002"] {
        std::fs::write(world.dir.path().join("pg_xact").join(file), vec![0; 8192 * 32]).unwrap();
    }
    world.life(state, || {
        truncate(Xid(per_file - 1), Oid(1)).unwrap();
        assert!(std::path::Path::new("pg_xact/0000").exists());
        truncate(Xid(per_file + 7), Oid(1)).unwrap();
        assert!(!std::path::Path::new("pg_xact/0000").exists());
        assert!(std::path::Path::new("pg_xact/0001").exists());
        assert_eq!(crate::varsup::with_oldest_clog_xid(|xid| xid), Xid(per_file + 7));
    });
}
