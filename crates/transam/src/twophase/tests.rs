//! The bytes against PostgreSQL's, and the life of prepared transactions over crashes and checkpoints.

use common::{Lsn, Oid, RelFileNode, SqlState, Xid};

use super::state::{CHECKSUM, State};
use super::*;
use crate::testing::{World, fresh};
use crate::xact::{CommitExtras, Participant, Phase};
use crate::{did_abort, did_commit, is_in_progress, varsup};

/// A file of PostgreSQL 15: one row into one table, one in a savepoint into another, an advisory lock, an unlogged table
/// made, filled and emptied; the transaction's name is `two words`.
fn real_file() -> Vec<u8> {
    let hex: Vec<u8> =
        include_str!("../testdata/prepared.txt").bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    hex.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn postgresqls_state_is_read_and_written() {
    let file = real_file();
    let (content, checksum) = file.split_at(file.len() - CHECKSUM);
    assert_eq!(crc32c::crc32c(content).to_le_bytes(), checksum);
    let state = State::from_bytes(content).unwrap();
    assert_eq!((&state.gid[..], state.database, state.owner), (&b"two words"[..], Oid(5), Oid(10)));
    assert_eq!(state.children, [state.xid.next()]);
    assert_eq!((state.commit_files.len(), state.abort_files.len()), (0, 1));
    assert_eq!((state.commit_stats.len(), state.abort_stats.len()), (0, 1));
    assert_eq!(state.invalidations.len(), 22);
    let kinds: Vec<u8> = state.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    // Ours is the same but for the bytes that C leaves unset: one in the header, one before each record.
    let mut ours = state.to_bytes();
    ours[53] = content[53];
    let mut at =
        ours.len() - state.records.iter().map(|r| 8 + r.data.len().next_multiple_of(8)).sum::<usize>() - 8;
    for record in state.records.iter().map(|record| record.data.len()).chain([0]) {
        ours[at + 5] = content[at + 5];
        at += 8 + record.next_multiple_of(8);
    }
    assert_eq!(ours, content);
    for len in 0..content.len() {
        assert_eq!(State::from_bytes(&content[..len]), None, "{len}");
    }
}

fn world() -> World {
    let world = World::new();
    std::fs::create_dir(world.dir.path().join("pg_twophase")).unwrap();
    world
}

fn begin() -> Xid {
    crate::start_transaction().unwrap();
    crate::current_xid().unwrap()
}

/// A transaction with one savepoint, prepared.
fn prepare(gid: &str) -> Xid {
    let xid = begin();
    crate::start_subtransaction().unwrap();
    crate::current_xid().unwrap();
    prepare_transaction(gid, Oid(10)).unwrap();
    xid
}

fn finish(gid: &str, commit: bool) -> elog::Result<()> {
    crate::start_transaction().unwrap();
    let result = finish_prepared(gid, commit, Oid(10), true);
    crate::abort_transaction();
    result
}

fn gids() -> Vec<String> {
    rows().into_iter().map(|row| row.gid).collect()
}

#[test]
fn a_prepared_transaction_runs_until_it_is_finished() {
    world().life(fresh(), || {
        let (a, b) = (prepare("a"), prepare("b"));
        assert!(!crate::in_transaction());
        assert_eq!(gids(), ["a", "b"]);
        assert!([a, a.next(), b].into_iter().all(is_in_progress));
        crate::start_transaction().unwrap();
        let snapshot = crate::transaction_snapshot().unwrap();
        assert_eq!(snapshot.xmin(), a);
        assert!([a, a.next(), b].into_iter().all(|xid| crate::xid_in_mvcc_snapshot(xid, &snapshot)));
        crate::commit_transaction().unwrap();
        assert_eq!(crate::procarray::oldest_active_xid(), a);
        finish("a", true).unwrap();
        finish("b", false).unwrap();
        assert!([a, a.next()].into_iter().all(did_commit) && [b, b.next()].into_iter().all(did_abort));
        assert!(![a, b].into_iter().any(is_in_progress));
        assert_eq!(finish("a", true).unwrap_err().sqlstate, SqlState::UNDEFINED_OBJECT);
        assert!(gids().is_empty());
    });
}

#[test]
fn what_cannot_be_prepared_is_rolled_back() {
    world().life(fresh(), || {
        prepare("a");
        let refused = |gid: &str, expected: SqlState, message: &str| {
            let xid = begin();
            let e = prepare_transaction(gid, Oid(10)).unwrap_err();
            assert_eq!((e.sqlstate, &*e.message), (expected, message));
            crate::abort_transaction();
            assert!(did_abort(xid));
        };
        refused("a", SqlState::DUPLICATE_OBJECT, "transaction identifier \"a\" is already in use");
        let long = "x".repeat(GID_SIZE);
        let message = format!("transaction identifier \"{long}\" is too long");
        refused(&long, SqlState::INVALID_PARAMETER_VALUE, &message);
        for gid in ["b", "c", "d"] {
            prepare(gid);
        }
        refused("e", SqlState::OUT_OF_MEMORY, "maximum number of prepared transactions reached");
        crate::xact::register(Participant {
            at_prepare: Some(|| Err(elog::error!(SqlState::FEATURE_NOT_SUPPORTED, "no"))),
            ..Participant::new("refuses", Phase::Files)
        });
        finish("d", false).unwrap();
        refused("e", SqlState::FEATURE_NOT_SUPPORTED, "no");
        assert_eq!(gids(), ["a", "b", "c"]);
    });
}

#[test]
fn a_crash_leaves_them_prepared() {
    let world = world();
    let (a, b, file) = world.life(fresh(), || {
        crate::xact::register(Participant {
            commit_record: Some(|extras: &mut CommitExtras, commit, _| {
                let rel = Oid(if commit { 16_400 } else { 16_401 });
                extras.dropped_files.push(RelFileNode { spc: Oid(1663), db: Oid(5), rel });
            }),
            ..Participant::new("files", Phase::PendingDeletes)
        });
        let (a, b, c) = (prepare("a"), prepare("b"), prepare("c"));
        finish("c", true).unwrap();
        // A checkpoint between them: only the first goes to a file.
        checkpoint(Lsn(table::get(0).end_lsn.0)).unwrap();
        assert!(did_commit(c));
        (a, b, files::path_of(a))
    });
    let file = world.dir.path().join(file);
    assert!(file.exists());
    // Another checkpoint was in the middle of the second one's.
    let unfinished = world.dir.path().join(format!("pg_twophase/{:08X}.tmp", b.0));
    std::fs::write(&unfinished, b"").unwrap();
    let dropped = ["16400", "16401"].map(|name| world.dir.path().join("base/5").join(name));
    dropped.iter().for_each(|path| std::fs::write(path, b"").unwrap());
    world.recovered(fresh(), || {
        recover_all().unwrap();
        assert_eq!(gids(), ["a", "b"]);
        assert!([a, a.next(), b, b.next()].into_iter().all(is_in_progress));
        assert_eq!(crate::subtrans::parent(b.next()).unwrap(), b);
        assert!(varsup::read_next_xid().0 > b.0 + 1);
        finish("a", true).unwrap();
        finish("b", false).unwrap();
        assert!(did_commit(a.next()) && did_abort(b));
    });
    assert!(!file.exists() && !unfinished.exists());
    // Both ends are in WAL: nothing comes back.
    world.recovered(fresh(), || {
        recover_all().unwrap();
        assert!(gids().is_empty());
        assert!(did_commit(a) && did_abort(b.next()));
    });
}

#[test]
fn a_broken_file_is_refused() {
    let world = world();
    world.life(fresh(), || {
        let xid = prepare("a");
        checkpoint(Lsn(u64::MAX)).unwrap();
        let path = files::path_of(xid);
        let good = std::fs::read(&path).unwrap();
        let says = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            files::read(xid).unwrap_err().message.to_string()
        };
        let name = path.display();
        let mut bad = good.clone();
        bad[80] ^= 1;
        let crc = format!("calculated CRC checksum does not match value stored in file \"{name}\"");
        assert_eq!(says(&bad), crc);
        bad[0] ^= 1;
        assert_eq!(says(&bad), format!("invalid magic number stored in file \"{name}\""));
        assert_eq!(says(&good[..good.len() - 8]), format!("invalid size stored in file \"{name}\""));
        let odd = format!("incorrect alignment of CRC offset for file \"{name}\"");
        assert_eq!(says(&good[..good.len() - 1]), odd);
        assert_eq!(says(&good[..20]), format!("incorrect size of file \"{name}\": 20 bytes"));
    });
}

#[test]
fn pg_waldump_reads_our_records() {
    const WALDUMP: &str = "/usr/lib/postgresql/15/bin/pg_waldump";
    if !std::path::Path::new(WALDUMP).exists() {
        eprintln!("SKIPPED: no {WALDUMP}");
        return;
    }
    let world = world();
    world.life(fresh(), || {
        prepare("kept");
        prepare("undone");
        finish("kept", true).unwrap();
        finish("undone", false).unwrap();
    });
    let dir = world.dir.path().join("pg_wal");
    let dump =
        std::process::Command::new(WALDUMP).arg("-p").arg(dir).args(["-s", "0/100028"]).output().unwrap();
    let text = String::from_utf8_lossy(&dump.stdout);
    for expected in [
        "desc: PREPARE gid kept: ",
        "desc: PREPARE gid undone: ",
        "; subxacts: 4",
        "desc: COMMIT_PREPARED 3: ",
        "desc: ABORT_PREPARED 5: ",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
}
