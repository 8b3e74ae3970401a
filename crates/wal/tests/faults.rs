//! The disk fails under WAL: the process panics with PostgreSQL's words, and nothing acknowledged is lost.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::path::Path;

use common::{Lsn, Xid};
use file::fault::{Action, Hook, Op, set_hook};
use support::{Cluster, SEGMENT, child, log_to, wait};
use wal::{Record, RmgrId};

/// Fails one kind of call on files whose name starts so.
struct Failing(Op, &'static str, i32);

impl Hook for Failing {
    fn before(&self, op: Op, path: &Path, _offset: u64, _len: usize) -> Action {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if op == self.0 && name.starts_with(self.1) { Action::Fail(self.2) } else { Action::Go }
    }
}

fn insert(body: &[u8]) -> Lsn {
    let mut record = Record::new(RmgrId::Xlog, 0x20);
    record.with_xid(Xid(3)).data(body);
    record.insert()
}

fn set_sync_method(method: &str) {
    let (context, source) = (guc::GucContext::Sighup, guc::GucSource::File);
    guc::set_option("wal_sync_method", method, context, source, guc::GucAction::Set).unwrap();
}

#[test]
fn a_failing_disk_is_a_panic() {
    let mut cluster = Cluster::new();
    let errors = cluster.path().join("errors");
    for (failing, body, message) in [
        (
            Failing(Op::Sync, "00000001", libc::EIO),
            100,
            "PANIC:  could not fdatasync file \"000000010000000000000001\": Input/output error",
        ),
        (
            Failing(Op::Write, "00000001", libc::ENOSPC),
            100,
            "PANIC:  could not write to log file 000000010000000000000001 at offset 0, length 8192: \
             No space left on device",
        ),
        (Failing(Op::Write, "xlogtemp", libc::ENOSPC), SEGMENT as usize, "No space left on device"),
        (Failing(Op::Open, "00000001", libc::EACCES), SEGMENT as usize, "PANIC:  could not open file \""),
    ] {
        let start = wal::insert_lsn();
        wal::flush(insert(b"kept"));
        shmem::proc::release();
        let pid = child(|| {
            log_to(&errors);
            set_hook(Some(Box::new(failing)));
            wal::flush(insert(&vec![1; body]));
        });
        assert_eq!(wait(pid), 128 + libc::SIGABRT, "{message}");
        let said = std::fs::read_to_string(&errors).unwrap();
        assert!(said.contains("PANIC:  ") && said.contains(message), "{said}");
        let left: Vec<_> = std::fs::read_dir(cluster.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("xlogtemp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        cluster.crash_and_recover_at(start);
        let mut reader = cluster.reader();
        reader.begin_read(start);
        assert_eq!(reader.next().unwrap().unwrap().main_data, b"kept");
    }
    every_sync_method(&cluster);
}

/// Each way to make WAL durable, changed while a segment is open.
fn every_sync_method(cluster: &Cluster) {
    let start = wal::insert_lsn();
    let methods = ["fsync", "open_datasync", "fdatasync", "open_sync"];
    for method in methods.iter().chain(&methods) {
        set_sync_method(method);
        insert(b"not flushed");
        wal::flush(insert(method.as_bytes()));
    }
    let mut reader = cluster.reader();
    reader.begin_read(start);
    for method in methods.iter().chain(&methods) {
        assert_eq!(reader.next().unwrap().unwrap().main_data, b"not flushed");
        assert_eq!(reader.next().unwrap().unwrap().main_data, method.as_bytes());
    }
}
