//! What a crash leaves in WAL is what recovery brings back; and PostgreSQL's own tool reads it.

use std::process::Command;

use common::{MultiXactId, Oid, RelFileNode, Xid};

use crate::multixact::{self, MemberStatus};
use crate::testing::{World, fresh};
use crate::xact::{self, CommitExtras, Participant, Phase};
use crate::{did_abort, did_commit, varsup};

const WALDUMP: &str = "/usr/lib/postgresql/15/bin/pg_waldump";

/// A life with one of everything; nothing but WAL reaches the disk.
fn busy_life(world: &World) {
    world.life(fresh(), || {
        // 3, with 4 committed and 5 rolled back.
        crate::start_transaction().unwrap();
        crate::start_subtransaction().unwrap();
        crate::current_xid().unwrap();
        crate::commit_subtransaction().unwrap();
        crate::start_subtransaction().unwrap();
        assert_eq!(crate::current_xid().unwrap(), Xid(5));
        crate::abort_subtransaction();
        multixact::set_oldest_member();
        let multi = multixact::create(Xid(3), MemberStatus::ForKeyShare, Xid(4), MemberStatus::NoKeyUpdate);
        assert_eq!(multi.unwrap(), MultiXactId(1));
        crate::commit_transaction().unwrap();
        // 6 is rolled back.
        crate::start_transaction().unwrap();
        crate::current_xid().unwrap();
        crate::abort_transaction();
        // 7 drops a file, and tells others.
        xact::register(Participant {
            commit_record: Some(|extras: &mut CommitExtras, _, _| {
                extras.dropped_files.push(RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16_400) });
                extras.invalidations.push([0xFB; 16]);
                extras.database = (Oid(5), Oid(1663));
            }),
            ..Participant::new("files", Phase::PendingDeletes)
        });
        crate::start_transaction().unwrap();
        crate::current_xid().unwrap();
        crate::commit_transaction().unwrap();
        assert_eq!(varsup::new_oid().unwrap(), Oid(16_384));
        wal::flush(crate::log_standby_snapshot());
    });
}

#[test]
fn recovery_brings_back_what_committed() {
    let world = World::new();
    busy_life(&world);
    // The commit log was never written.
    assert!(world.file("pg_xact/0000").iter().all(|b| *b == 0));
    let dropped = world.dir.path().join("base/5/16400");
    std::fs::write(&dropped, b"").unwrap();
    world.recovered(fresh(), || {
        assert!([3, 4, 7].map(Xid).into_iter().all(did_commit));
        assert!([5, 6].map(Xid).into_iter().all(did_abort));
        assert_eq!(varsup::read_next_xid(), Xid(8));
        let members = multixact::members(MultiXactId(1), false, false).unwrap();
        assert_eq!(members, [(Xid(3), MemberStatus::ForKeyShare), (Xid(4), MemberStatus::NoKeyUpdate)]);
        assert!(super::last_completion_time() > 0);
        assert_eq!(super::last_known_oldest_running(), Some(Xid(8)));
        crate::checkpoint().unwrap();
        crate::after_checkpoint().unwrap();
    });
    assert!(!dropped.exists());
    // 3, 4 and 7 committed, 5 and 6 aborted.
    assert_eq!(world.file("pg_xact/0000")[..2], [0b0100_0000, 0b0110_1001]);
}

#[test]
fn pg_waldump_reads_our_records() {
    if !std::path::Path::new(WALDUMP).exists() {
        eprintln!("SKIPPED: no {WALDUMP}");
        return;
    }
    let world = World::new();
    busy_life(&world);
    let dir = world.dir.path().join("pg_wal");
    let output = Command::new(WALDUMP).arg("-p").arg(&dir).args(["-s", "0/100028"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in [
        "rmgr: MultiXact   len (rec/tot):     54/    54, tx:          3, ",
        "CREATE_ID 1 offset 1 nmembers 2: 3 (keysh) 4 (nokeyupd)",
        "tx:          5, ",
        "desc: ABORT ",
        "desc: COMMIT ",
        "; subxacts: 4",
        "; rels: base/5/16400",
        "; inval msgs:",
        "desc: RUNNING_XACTS nextXid 8 latestCompletedXid 7 oldestRunningXid 8",
        "desc: NEXTOID 24576",
        "desc: ZERO_OFF_PAGE 0",
        "desc: ZEROPAGE page 0",
    ] {
        assert!(
            text.contains(expected),
            "no {expected:?} in\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
