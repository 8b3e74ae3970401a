//! The table of one process, and the queue between two.

use common::{BackendType, ForkNumber};

use super::*;
use crate::testing::{World, node, relation};

fn tag(rel: u32) -> SyncTag {
    SyncTag::relation(node(rel), ForkNumber::Main, 0)
}

#[test]
fn paths() {
    assert_eq!(tag(7).path().to_str(), Some("base/5/7"));
    assert_eq!(SyncTag::relation(node(7), ForkNumber::Fsm, 2).path().to_str(), Some("base/5/7_fsm.2"));
    assert_eq!(SyncTag::slru(Handler::Clog, 0x1A).path().to_str(), Some("pg_xact/001A"));
    let member = SyncTag::slru(Handler::MultiXactMember, 3);
    assert_eq!(member.path().to_str(), Some("pg_multixact/members/0003"));
}

#[test]
fn each_file_is_synced_once() {
    let _world = World::with_buffers(16);
    relation(400, 3);
    relation(401, 3);
    std::fs::write("pg_xact/0000", "").unwrap();
    register(Request::Sync, SyncTag::slru(Handler::Clog, 0), false);
    assert_eq!(pending::counts(), (3, 0));
    absorb();
    let files_left = || activity::gauges::checkpoint().seen().files_left();
    assert_eq!(files_left(), 3);
    let stats = process_sync_requests().unwrap();
    assert_eq!((stats.files, files_left()), (3, 0));
    assert!(stats.longest <= stats.total);
    assert_eq!(process_sync_requests().unwrap().files, 0);
}

#[test]
fn what_is_forgotten_is_not_synced() {
    let _world = World::with_buffers(16);
    register(Request::Sync, tag(500), false);
    register(Request::Sync, tag(501), false);
    register(Request::Forget, tag(500), true);
    forget_database(common::Oid(5));
    assert_eq!(process_sync_requests().unwrap().files, 0);
    // Asked for anew after that, it counts; and a file that is not there is an error.
    register(Request::Sync, tag(500), false);
    let error = process_sync_requests().unwrap_err();
    assert_eq!(error.message, "could not fsync file \"base/5/500\": No such file or directory");
    assert_eq!(error.severity, elog::Severity::Panic);
    assert_eq!(pending::counts().0, 1, "it stays registered");
    register(Request::Forget, tag(500), true);
    assert_eq!(process_sync_requests().unwrap().files, 0);
}

/// As a backend, in the same process: what it forwards is what the checkpointer takes.
#[test]
fn the_queue_is_compacted_when_it_is_full() {
    let _world = World::with_buffers(16).in_process(BackendType::Checkpointer);
    assert!(queue::forward(Request::Sync, tag(1)));
    assert!(queue::forward(Request::Forget, tag(1)));
    for i in 0..14 {
        assert!(queue::forward(Request::Sync, tag(1 + i % 3)));
        assert!(queue::forward(Request::Sync, tag(1 + i % 3)), "takes no room");
    }
    assert!(queue::forward(Request::Unlink, tag(9)), "there were repetitions");
    let all = queue::take_all();
    assert_eq!(all.len(), 5);
    assert_eq!(all[0], (Request::Forget, tag(1)), "before the last request to sync it");
    assert_eq!(all[4], (Request::Unlink, tag(9)));
    for i in 0..16 {
        assert!(queue::forward(Request::Sync, tag(100 + i)));
    }
    assert!(!queue::forward(Request::Sync, tag(1)), "full of different ones");
    let stats = take_stats();
    assert_eq!((stats.backend_writes, stats.backend_syncs), (1 + 28 + 16 + 1, 1));
    absorb();
    assert_eq!(pending::counts().0, 16);
    assert!(queue::take_all().is_empty());
}

#[test]
fn without_a_checkpointer_a_backend_is_on_its_own() {
    let _world = World::with_buffers(16).in_process(BackendType::Backend);
    assert!(!queue::forward(Request::Sync, tag(1)));
}
