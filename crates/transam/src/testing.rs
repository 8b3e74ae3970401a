//! A data directory with the logs of a new cluster, a segment, and this process in it; for this crate's tests.
//!
//! A process has one segment and one current directory: tests that use them run one at a time. What a process
//! remembers is thread-local, so that each life of a test's server is a thread of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{BackendType, FullXid, MultiXactId, Oid, Xid};
use shmem::{Limits, Reservation, Segment};

use crate::StartupState;

static ALONE: Mutex<()> = Mutex::new(());

/// A data directory, and the right to use the process's one segment.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// How a life begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Fresh,
    Recovered,
    Standby,
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
    pub(crate) fn new() -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        for sub in
            ["pg_xact", "pg_subtrans", "pg_multixact/offsets", "pg_multixact/members", "pg_wal", "base/5"]
        {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        for (path, bytes) in crate::bootstrap_files() {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        World { dir, _alone: alone }
    }

    /// One life of a server that starts with these counters and ends without a word, as in a crash.
    pub(crate) fn life<R: Send>(&self, state: StartupState, body: impl FnOnce() -> R + Send) -> R {
        self.any_life(state, Life::Fresh, body)
    }

    /// As [`World::life`], as the startup process and a session of a standby at once: recovery goes on.
    pub(crate) fn standby<R: Send>(&self, state: StartupState, body: impl FnOnce() -> R + Send) -> R {
        self.any_life(state, Life::Standby, body)
    }

    /// As [`World::life`], after all WAL there is was replayed.
    pub(crate) fn recovered<R: Send>(&self, state: StartupState, body: impl FnOnce() -> R + Send) -> R {
        self.any_life(state, Life::Recovered, body)
    }

    fn any_life<R: Send>(&self, state: StartupState, life: Life, body: impl FnOnce() -> R + Send) -> R {
        let outcome = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                std::env::set_current_dir(self.dir.path()).unwrap();
                let mut reservation = Reservation::new();
                let limits = Limits {
                    max_connections: 8,
                    autovacuum_max_workers: 1,
                    max_wal_senders: 0,
                    max_prepared_xacts: 4,
                };
                shmem::reserve(&mut reservation, limits);
                crate::testing_wal::reserve(&mut reservation);
                storage::reserve_with(&mut reservation, 16);
                crate::reserve(&mut reservation, limits.max_procs() as usize);
                let segment = Segment::create_private(reservation).unwrap();
                shmem::init_process(BackendType::Backend, 0).unwrap();
                if life == Life::Standby {
                    crate::testing_wal::standby(self.dir.path());
                } else {
                    crate::testing_wal::start(self.dir.path());
                }
                crate::startup(&state).unwrap();
                if life == Life::Recovered {
                    crate::twophase::restore_from_disk().unwrap();
                    storage::smgr::set_in_redo(true);
                    replay(self.dir.path());
                    storage::smgr::set_in_redo(false);
                }
                if life != Life::Standby {
                    crate::trim().unwrap();
                }
                crate::procarray::add();
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

    pub(crate) fn file(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(path)).unwrap()
    }
}

/// All records from the first on, by those who wrote them.
fn replay(dir: &std::path::Path) {
    let mut reader = crate::testing_wal::reader(dir);
    while let Ok(Some(record)) = reader.next() {
        let by = wal::RmgrId::ALL.iter().find(|id| **id as u8 == record.rmgr).unwrap();
        match by {
            wal::RmgrId::Xact => crate::redo::xact_redo(&record).unwrap(),
            wal::RmgrId::Clog => crate::redo::clog_redo(&record).unwrap(),
            wal::RmgrId::MultiXact => crate::redo::multixact_redo(&record).unwrap(),
            wal::RmgrId::Standby => crate::redo::standby_redo(&record).unwrap(),
            _ => {}
        }
    }
}
