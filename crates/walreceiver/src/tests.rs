//! Received WAL on disk. One test, since a process has one segment of shared memory.

use common::{Lsn, TimeLineId};
use shmem::{Limits, Reservation, Segment};

use crate::client::tests::{Server, server, to};
use crate::session::Start;
use crate::{files, stream};

const LIMITS: Limits =
    Limits { max_connections: 4, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };
const SEGMENT: u64 = 1 << 20;

#[test]
fn messages_become_segments() {
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", "1MB").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("archive_status")).unwrap();
    wal::segment::set_wal_dir(Some(dir.path()));
    let procs = LIMITS.max_procs() as usize;
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, LIMITS);
    activity::reserve(&mut reservation, procs);
    wal::reserve(&mut reservation);
    replication::reserve(&mut reservation, procs);
    let _segment = Segment::create_private(reservation).unwrap();
    wal::startup::set_install_allowed(true);
    let read = |number: u64| std::fs::read(wal::segment::path(TimeLineId(3), number)).unwrap();
    let status = |suffix: &str, number: u64| {
        let name = wal::segment::name(TimeLineId(3), number, wal::geometry());
        dir.path().join("archive_status").join(format!("{name}.{suffix}")).exists()
    };
    let flushed = || replication::walrcv::flushed().lsn;

    // Two and a half segments, in pieces that respect nothing.
    let bytes: Vec<u8> = (0..5 * SEGMENT / 2).map(|at| (at % 251) as u8).collect();
    files::begin(TimeLineId(3), Lsn(4 * SEGMENT));
    let mut completed = 0;
    for (at, piece) in bytes.chunks(99_991).enumerate() {
        let start = Lsn(4 * SEGMENT + at as u64 * 99_991);
        completed += u32::from(files::write(piece, start).unwrap());
    }
    assert_eq!(completed, 2);
    assert_eq!(flushed(), Lsn(6 * SEGMENT), "a complete segment is durable, what follows is not yet");
    assert_eq!(replication::walrcv::written(), Lsn(13 * SEGMENT / 2));
    assert!(status("done", 4) && status("done", 5) && !status("done", 6));
    assert!(files::flush() && !files::flush());
    assert_eq!(flushed(), Lsn(13 * SEGMENT / 2));
    assert_eq!([read(4), read(5)].concat(), bytes[..2 * SEGMENT as usize]);
    assert_eq!(read(6)[..SEGMENT as usize / 2], bytes[2 * SEGMENT as usize..]);

    // The end of the timeline closes what there is; exactly at the end of a segment nothing is left open.
    assert!(!files::finish());
    assert!(status("done", 6));
    assert!(files::write(&bytes[..SEGMENT as usize], Lsn(7 * SEGMENT)).unwrap());
    assert_eq!((flushed(), files::finish()), (Lsn(8 * SEGMENT), false));

    // A new stream begins in a segment that is already there.
    files::begin(TimeLineId(3), Lsn(6 * SEGMENT));
    files::write(b"other", Lsn(6 * SEGMENT)).unwrap();
    assert!(files::flush());
    assert_eq!(read(6)[..5], *b"other");
    assert_eq!(read(6)[5..10], bytes[2 * SEGMENT as usize + 5..][..5]);
    files::flush_at_exit();

    synced_as_promised(&bytes);
    assert!(status("done", 9));
    assert_eq!(flushed(), Lsn(10 * SEGMENT + 11));
    assert_eq!(read(10)[..11], *b"firstsecond");
    streams(flushed);

    // No room, or no directory: an error, and the process ends with it.
    files::begin(TimeLineId(3), Lsn(20 * SEGMENT));
    wal::segment::set_wal_dir(Some(std::path::Path::new("/nowhere")));
    assert!(files::write(b"x", Lsn(20 * SEGMENT)).is_err());
    assert_eq!(files::progress().written, Lsn(20 * SEGMENT));
}

fn synced_as_promised(bytes: &[u8]) {
    // What repeats a part that was durable is made durable again before the archive hears of it.
    let syncs = || activity::counters::wal(|wal| wal.sync.get());
    files::begin(TimeLineId(3), Lsn(10 * SEGMENT));
    let before = syncs();
    files::write(&bytes[..SEGMENT as usize], Lsn(9 * SEGMENT)).unwrap();
    assert!(syncs() > before);

    // Settings change in the middle of a segment: what is written is durable before they do.
    files::write(b"first", Lsn(10 * SEGMENT)).unwrap();
    let before = syncs();
    files::change_settings(|| assert!(syncs() > before)).unwrap();
    files::write(b"second", Lsn(10 * SEGMENT + 5)).unwrap();
    assert!(files::flush());
}

/// A message `w`.
fn wal_message(begin: u64, data: &[u8]) -> Vec<u8> {
    let mut message = vec![b'w'];
    for number in [begin, begin + data.len() as u64, 1] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(data);
    message
}

/// Runs one stream from `at` on, against a server that does as it is told.
fn stream_from(
    at: Lsn,
    script: impl FnOnce(&mut Server) + Send + 'static,
) -> elog::Result<Option<TimeLineId>> {
    let (port, thread) = server(|mut server| {
        server.let_in();
        server.query();
        server.send(b'W', &[0, 0, 0]);
        script(&mut server);
    });
    let mut connection = to(port, "").unwrap();
    let start = Start { at, timeline: TimeLineId(3) };
    assert!(connection.start_streaming(None, at, start.timeline).unwrap());
    let result = stream::run(&mut connection, start);
    connection.close();
    thread.join().unwrap();
    result
}

fn streams(flushed: impl Fn() -> Lsn) {
    const BEGIN: u64 = 30 * SEGMENT;
    // What was flushed by hand above; the stream's own sleeps check that it leaves nothing behind (RV10).
    assert!(!files::is_announced());
    files::announce();
    // More messages than are taken at once, and then silence until the last one is known to be durable.
    let next = stream_from(Lsn(BEGIN), |server| {
        for at in 0..3000 {
            server.send(b'd', &wal_message(BEGIN + at, b"x"));
        }
        while server.receive().1[9..17] != (BEGIN + 3000).to_be_bytes() {}
        server.send(b'c', b"");
        while server.receive().0 != b'c' {}
        server.row(&[b"4", b"0/1E00BB8"]);
        server.send(b'Z', b"I");
    });
    assert_eq!(next.unwrap(), Some(TimeLineId(4)));
    assert_eq!(flushed(), Lsn(BEGIN + 3000));

    // A hole, something before what was asked for, and the end of the world.
    for begin in [BEGIN + 4, BEGIN + 2, BEGIN - 1, u64::MAX - 1] {
        let result = stream_from(Lsn(BEGIN), move |server| {
            server.send(b'd', &wal_message(BEGIN, b"xyz"));
            let mut message = wal_message(0, b"xyz");
            message[1..9].copy_from_slice(&begin.to_be_bytes());
            server.send(b'd', &message);
            while server.receive().0 != b'X' {}
        });
        let error = result.unwrap_err();
        assert_eq!(error.message, "invalid WAL message received from primary");
        assert_eq!(flushed(), Lsn(BEGIN + 3000));
    }
    let error = stream_from(Lsn(BEGIN), |server| {
        server.send(b'd', b"k");
        while server.receive().0 != b'X' {}
    });
    assert_eq!(error.unwrap_err().message, "invalid keepalive message received from primary");
}
