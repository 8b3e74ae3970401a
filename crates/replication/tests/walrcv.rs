//! The states of the walreceiver, driven from both sides. One test, since a process has one segment of shared memory.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Child, Command};

use common::{Lsn, TimeLineId};
use replication::walrcv::receiver::{self, Next};
use replication::walrcv::{self, State};
use shmem::{Limits, Reservation, Segment};

const LIMITS: Limits =
    Limits { max_connections: 4, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };
const T1: TimeLineId = TimeLineId(1);
const T2: TimeLineId = TimeLineId(2);
const SEGMENT: u64 = 16 << 20;

fn segment() -> Segment {
    guc::initialize().unwrap();
    let procs = LIMITS.max_procs() as usize;
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, LIMITS);
    activity::reserve(&mut reservation, procs);
    wal::reserve(&mut reservation);
    replication::reserve(&mut reservation, procs);
    Segment::create_private(reservation).unwrap()
}

/// Something that a SIGTERM ends.
fn process() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

#[test]
fn from_the_request_to_the_end() {
    let _segment = segment();
    assert_eq!((walrcv::state(), walrcv::running()), (State::Stopped, false));
    assert_eq!(receiver::begin(1).unwrap(), None, "nobody has asked");

    // The request, from the middle of a segment.
    walrcv::request_streaming(T1, Lsn(3 * SEGMENT + 77), "host=h password=secret", None, true);
    assert!(walrcv::running() && walrcv::streaming());
    assert_eq!((walrcv::state(), walrcv::flushed().lsn), (State::Starting, Lsn(3 * SEGMENT)));

    // The process comes, and is seen once its connection stands.
    let process_one = process();
    let pid = process_one.id() as i32;
    let orders = receiver::begin(pid).unwrap().unwrap();
    assert_eq!((orders.start, orders.timeline), (Lsn(3 * SEGMENT), T1));
    assert_eq!((orders.conninfo.as_str(), orders.slot_name.as_deref()), ("host=h password=secret", None));
    assert!(orders.temporary_slot);
    assert!(walrcv::status().is_none(), "the password would be seen");
    assert!(receiver::begin(pid).unwrap_err().message.contains("still running"));
    receiver::connected("host=h password=********", Some("h"), 5433);
    receiver::set_slot_name("pg_walreceiver_1");
    let status = walrcv::status().unwrap();
    assert_eq!((status.pid, status.state, status.sender_port), (pid, State::Streaming, 5433));
    assert_eq!((status.conninfo.as_str(), status.sender_host.as_str()), ("host=h password=********", "h"));
    assert_eq!(status.slot_name, "pg_walreceiver_1");

    // WAL comes.
    receiver::note_message(Lsn(3 * SEGMENT + 500), 1_000_000, 1_002_500);
    assert_eq!(walrcv::transfer_latency_ms(), 3);
    receiver::set_written(Lsn(3 * SEGMENT + 500));
    assert_eq!((walrcv::written().0, walrcv::flushed().lsn.0), (3 * SEGMENT + 500, 3 * SEGMENT));
    receiver::set_flushed(Lsn(3 * SEGMENT + 500), T1);
    receiver::set_flushed(Lsn(3 * SEGMENT + 400), T1);
    let flushed = walrcv::flushed();
    assert_eq!((flushed.lsn.0, flushed.latest_chunk_start.0), (3 * SEGMENT + 500, 3 * SEGMENT), "never back");
    walrcv::force_reply();
    assert!(receiver::take_force_reply() && !receiver::take_force_reply());

    // The timeline ends; the same process goes on with the next.
    assert!(receiver::wait_for_orders().unwrap());
    assert_eq!((walrcv::state(), walrcv::streaming(), walrcv::running()), (State::Waiting, false, true));
    assert_eq!(receiver::take_orders(), Next::Wait);
    walrcv::request_streaming(T2, Lsn(3 * SEGMENT + 600), "host=h password=secret", None, true);
    let status = walrcv::status().unwrap();
    assert_eq!(
        (status.conninfo.as_str(), status.slot_name.as_str()),
        ("host=h password=********", "pg_walreceiver_1"),
        "it keeps its connection and its slot"
    );
    assert_eq!(walrcv::state(), State::Restarting);
    assert_eq!(receiver::take_orders(), Next::Restart(Lsn(3 * SEGMENT), T2));
    assert_eq!((walrcv::state(), walrcv::flushed().timeline), (State::Streaming, T2));

    nobody_wants_it(process_one);

    // One that was not fast enough.
    walrcv::request_streaming(T2, Lsn(4 * SEGMENT), "", None, false);
    assert_eq!(walrcv::flushed().lsn, Lsn(3 * SEGMENT), "what is here of this timeline stays");
    walrcv::shutdown().unwrap();
    assert_eq!(receiver::begin(pid).unwrap(), None);
}

fn nobody_wants_it(mut process_one: Child) {
    let stopping = std::thread::Builder::new().spawn(|| {
        walrcv::shutdown().unwrap();
        walrcv::state()
    });
    assert!(!process_one.wait().unwrap().success(), "it was told to end");
    assert_eq!(walrcv::state(), State::Stopping);
    assert!(!receiver::wait_for_orders().unwrap());
    assert_eq!(receiver::take_orders(), Next::Stop);
    receiver::end();
    assert_eq!(stopping.unwrap().join().unwrap(), State::Stopped);
    assert!(walrcv::status().is_none());
}
