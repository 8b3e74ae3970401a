//! Helpers of this crate's tests within one process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::BackendType;
use shmem::{Limits, Reservation, Segment};

use crate::{local, shared};

static ALONE: Mutex<()> = Mutex::new(());

/// This process with a PGPROC, connected to database 5, over a lock table that may be small.
pub(crate) struct World {
    segment: Option<Segment>,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) fn world() -> World {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limits =
        Limits { max_connections: 5, autovacuum_max_workers: 1, max_wal_senders: 1, ..Limits::default() };
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, limits);
    shared::reserve_sized(&mut reservation, limits.max_procs() as usize, 0);
    let segment = Segment::create_private(reservation).unwrap();
    shmem::init_process(BackendType::Backend, 0).unwrap();
    shmem::my_proc().database_id.store(5, std::sync::atomic::Ordering::Relaxed);
    World { segment: Some(segment), _alone: alone }
}

impl Drop for World {
    fn drop(&mut self) {
        local::release_all_of_session();
        local::set_level(0);
        shmem::proc::release();
        self.segment.take().unwrap().destroy();
    }
}
