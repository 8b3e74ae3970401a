//! A data directory with the logs of a new cluster, a segment, and this process in it; for this crate's tests.
//!
//! A process has one segment and one current directory: tests that use them run one at a time. What a process
//! remembers is thread-local, so that each life of a test's server is a thread of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{BackendType, FullXid, MultiXactId, Oid, Xid};
use shmem::{Limits, Reservation, Segment};

use common::{DEFAULT_TABLESPACE, ForkNumber, RelFileNode};
use transam::StartupState;

static ALONE: Mutex<()> = Mutex::new(());

/// A data directory, and the right to use the process's one segment.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    buffers: usize,
    _alone: MutexGuard<'static, ()>,
}

/// The counters of a new cluster.
pub(crate) fn fresh() -> StartupState {
    StartupState {
        next_xid: FullXid::new(0, Xid(3)),
        next_oid: Oid(16384),
        next_multi: MultiXactId(1),
        next_multi_offset: 0,
        oldest_xid: Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: MultiXactId(1),
        oldest_multi_db: Oid(1),
    }
}

impl World {
    pub(crate) fn with_buffers(buffers: usize) -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        for sub in
            ["pg_xact", "pg_subtrans", "pg_multixact/offsets", "pg_multixact/members", "pg_wal", "base/5"]
        {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        for (path, bytes) in transam::bootstrap_files() {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        World { dir, buffers, _alone: alone }
    }

    /// One life of a server that starts with these counters and ends without a word, as in a crash.
    pub(crate) fn life<R: Send>(&self, state: StartupState, body: impl FnOnce() -> R + Send) -> R {
        self.any_life(state, false, body)
    }

    /// As [`World::life`], after all WAL there is was replayed.
    pub(crate) fn recovered<R: Send>(&self, state: StartupState, body: impl FnOnce() -> R + Send) -> R {
        self.any_life(state, true, body)
    }

    fn any_life<R: Send>(&self, state: StartupState, redo: bool, body: impl FnOnce() -> R + Send) -> R {
        let outcome = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                std::env::set_current_dir(self.dir.path()).unwrap();
                let mut reservation = Reservation::new();
                let limits = Limits {
                    max_connections: 8,
                    autovacuum_max_workers: 1,
                    max_wal_senders: 0,
                    ..Limits::default()
                };
                shmem::reserve(&mut reservation, limits);
                crate::testing_wal::reserve(&mut reservation);
                storage::reserve_with(&mut reservation, self.buffers);
                transam::reserve(&mut reservation, limits.max_procs() as usize);
                lmgr::reserve(&mut reservation, limits.max_procs() as usize, 8);
                let segment = Segment::create_private(reservation).unwrap();
                shmem::init_process(BackendType::Backend, 0).unwrap();
                crate::testing_wal::start(self.dir.path());
                transam::startup(&state).unwrap();
                if redo {
                    storage::smgr::set_in_redo(true);
                    replay(self.dir.path());
                    storage::smgr::set_in_redo(false);
                }
                transam::trim().unwrap();
                transam::procarray::add();
                lmgr::attach();
                crate::combocid::register();
                let result = body();
                std::env::set_current_dir("/").unwrap();
                shmem::proc::release();
                segment.destroy();
                result
            });
            thread.join()
        });
        match outcome {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
}

/// All records from the first on, by those who wrote them.
fn replay(dir: &std::path::Path) {
    let mut reader = crate::testing_wal::reader(dir);
    while let Ok(Some(record)) = reader.next() {
        let by = wal::RmgrId::ALL.iter().find(|id| **id as u8 == record.rmgr).unwrap();
        match by {
            wal::RmgrId::Xact => transam::redo::xact_redo(&record).unwrap(),
            wal::RmgrId::Clog => transam::redo::clog_redo(&record).unwrap(),
            wal::RmgrId::MultiXact => transam::redo::multixact_redo(&record).unwrap(),
            wal::RmgrId::Standby => transam::redo::standby_redo(&record).unwrap(),
            wal::RmgrId::Heap => crate::redo::heap_redo(&record).unwrap(),
            wal::RmgrId::Heap2 => crate::redo::heap2_redo(&record).unwrap(),
            _ => {}
        }
    }
}

/// The files of a test's table.
pub(crate) fn node(rel: u32) -> RelFileNode {
    RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(rel) }
}

/// A table of these types, its main file made.
pub(crate) fn table(rel: u32, types: &[Oid]) -> std::rc::Rc<crate::Table> {
    if !storage::smgr::exists(node(rel), ForkNumber::Main).unwrap() {
        storage::smgr::create(node(rel), ForkNumber::Main, false).unwrap();
    }
    let attrs = types.iter().zip(1..).map(|(t, n)| crate::Attribute::new("c", n, *t, -1)).collect();
    let desc = std::rc::Rc::new(crate::TupleDesc::new(attrs));
    std::rc::Rc::new(crate::Table::new(Oid(rel), "public", "t", node(rel), desc))
}
