//! Messages' bytes, the decision of a cleanup, and one process reading its own messages.

use std::sync::{Mutex, PoisonError};

use common::{BackendType, Oid, RelFileNode};
use proptest::prelude::*;
use shmem::{Limits, Reservation, Segment};

use crate::ring::{Verdict, judge};
use crate::*;

const NODE: RelFileNode = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16384) };

#[test]
fn messages_are_laid_out_as_postgresqls() {
    for (message, bytes) in [
        (Message::catcache(54, Oid(5), 0x0102_0304), [54, 0, 0, 0, 5, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]),
        (Message::catalog(Oid(0), Oid(1260)), [255, 0, 0, 0, 0, 0, 0, 0, 0xEC, 4, 0, 0, 0, 0, 0, 0]),
        (Message::relcache(Oid(5), Oid(16384)), [254, 0, 0, 0, 5, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0]),
        (Message::smgr(-1, NODE), [253, 255, 255, 255, 0x7F, 6, 0, 0, 5, 0, 0, 0, 0, 64, 0, 0]),
        (Message::smgr(0x0001_0203, NODE), [253, 1, 3, 2, 0x7F, 6, 0, 0, 5, 0, 0, 0, 0, 64, 0, 0]),
        (Message::relmap(Oid(5)), [252, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (Message::snapshot(Oid(5), Oid(2619)), [251, 0, 0, 0, 5, 0, 0, 0, 0x3B, 0x0A, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(message.to_bytes(), bytes, "{message:?}");
        assert_eq!(Message::from_bytes(bytes), message);
    }
    assert_eq!(Message::smgr(-1, NODE).backend(), -1);
    assert_eq!(Message::smgr(0x0001_0203, NODE).backend(), 0x0001_0203);
    assert_eq!(Message::smgr(7, NODE).decode(), Decoded::Smgr { node: NODE });
    assert_eq!(
        Message::catcache(54, Oid(5), 9).decode(),
        Decoded::Catcache { id: 54, database: Oid(5), hash: 9 }
    );
    let unknown = Message::from_bytes([200; 16]);
    assert_eq!(unknown.try_decode(), None);
    assert_eq!(unknown.decode(), Decoded::Relcache { database: Oid(0), relation: Oid(0) });
}

#[test]
fn laggards_are_poked_and_then_reset() {
    let at = |positions: &[u64]| {
        judge(10_000, 1, positions.iter().map(|p| Some((*p, 1))).collect::<Vec<_>>().into_iter())
    };
    assert_eq!(
        at(&[10_000, 9_990]),
        Verdict { min: 9_990, threshold: 2048, to_reset: vec![], to_poke: None }
    );
    let slow = at(&[7_000, 10_000, 6_500]);
    assert_eq!((slow.min, slow.to_poke, slow.to_reset), (6_500, Some(2), vec![]));
    let lost = at(&[5_904, 10_000, 5_905]);
    assert_eq!((lost.min, lost.to_poke, lost.to_reset), (5_905, Some(2), vec![0]));
}

proptest! {
    #[test]
    fn a_cleanup_makes_room(
        behind in proptest::collection::vec(proptest::option::of((0..4096u64, 0..8u32)), 0..20),
        needed in 0..64u64,
    ) {
        let max = 1_000_000;
        let reader = |(lag, flags): (u64, u32)| (flags & 1 != 0 && flags & 2 == 0).then_some((max - lag, flags));
        let readers: Vec<_> = behind.iter().map(|r| r.and_then(reader)).collect();
        let verdict = judge(max, needed, readers.iter().copied());
        prop_assert!(max + needed - verdict.min <= RING_SIZE as u64);
        prop_assert!(max - verdict.min < verdict.threshold);
        for (index, reader) in readers.iter().enumerate() {
            let Some((next, _)) = reader else { continue };
            // I1: who is not reset can still read all it has not read.
            prop_assert!(verdict.to_reset.contains(&index) || *next >= verdict.min);
        }
        prop_assert!(verdict.to_poke.is_none_or(|index| !verdict.to_reset.contains(&index)));
    }
}

#[test]
fn one_reader() {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // We will poke ourselves; what a handler would do is done by hand.
    miscinit::signals::set(nix::sys::signal::Signal::SIGUSR1, miscinit::signals::Meaning::Ignore);
    let limits =
        Limits { max_connections: 2, autovacuum_max_workers: 1, max_wal_senders: 0, ..Limits::default() };
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, limits);
    reserve(&mut reservation, limits.max_procs() as usize);
    let segment = Segment::create_private(reservation).unwrap();
    shmem::init_process(BackendType::Backend, 0).unwrap();
    let messages = |n: u32| (0..n).map(|i| Message::relcache(Oid(5), Oid(i))).collect::<Vec<_>>();
    let received = || {
        let (mut seen, mut resets) = (Vec::new(), 0);
        receive(|message| seen.push(*message), || resets += 1);
        (seen, resets)
    };
    send(&messages(3));
    assert!(!anything_new(), "not attached");
    attach();
    assert!(!anything_new(), "what was sent before is nothing to us");
    send(&messages(100));
    assert!(anything_new());
    assert_eq!(received(), (messages(100), 0));
    assert!(!anything_new());
    for _ in 0..3 {
        send(&messages(4000));
        assert_eq!(received(), (messages(4000), 0));
    }
    send(&messages(5000));
    assert_eq!(received(), (vec![], 1), "overrun");
    send(&messages(7));
    assert_eq!(received(), (messages(7), 0));
    // More than half a ring behind: we poke ourselves.
    send(&messages(3000));
    let mut caught_up = 0;
    process_catchup(|| {
        caught_up += received().0.len();
        Ok(())
    })
    .unwrap();
    assert_eq!(caught_up, 3000);
    assert!(!catchup_pending());
    detach();
    send(&messages(1));
    assert!(!anything_new());
    shmem::proc::release();
    segment.destroy();
}
