//! What this crate's tests share: a directory, a tiny pool, and one test at a time.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{BackendType, DEFAULT_TABLESPACE, ForkNumber, Oid, RelFileNode};
use page::Page;
use shmem::{Limits, Reservation, Segment};

use crate::{Critical, PageWrite, Pin, ReadMode, read_buffer, smgr, walio};

static ALONE: Mutex<()> = Mutex::new(());

pub(crate) const MAIN: ForkNumber = ForkNumber::Main;

/// A data directory with a pool of its own. The directory is the process's current one meanwhile.
pub(crate) struct World {
    _segment: Segment,
    _dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

pub(crate) const LIMITS: Limits =
    Limits { max_connections: 5, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };

impl World {
    pub(crate) fn with_buffers(buffers: usize) -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        std::env::set_current_dir(dir.path()).unwrap();
        for sub in ["base/5", "global", "pg_xact"] {
            std::fs::create_dir_all(sub).unwrap();
        }
        let mut reservation = Reservation::new();
        shmem::reserve(&mut reservation, LIMITS);
        crate::reserve_with(&mut reservation, buffers);
        let segment = Segment::create_private(reservation).unwrap();
        World { _segment: segment, _dir: dir, _alone: alone }
    }

    /// With a PGPROC, for tests that wait.
    pub(crate) fn in_process(self, kind: BackendType) -> World {
        shmem::init_process(kind, 0).unwrap();
        self
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(crate::pinned(), 0, "pins were leaked");
            assert_eq!(shmem::held_lwlocks(), 0, "locks were leaked");
        }
        shmem::proc::release();
        smgr::close_all();
        std::env::set_current_dir("/").unwrap();
    }
}

pub(crate) fn node(rel: u32) -> RelFileNode {
    RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(rel) }
}

/// Makes a relation whose pages each hold their number as an item.
pub(crate) fn relation(rel: u32, blocks: u32) -> RelFileNode {
    let node = node(rel);
    smgr::create(node, MAIN, false).unwrap();
    for block in 0..blocks {
        smgr::extend(node, MAIN, block, &numbered(block), false).unwrap();
    }
    node
}

pub(crate) fn numbered(block: u32) -> Box<Page> {
    let mut page = Page::zeroed();
    page.init(0);
    page.add_item(&block.to_le_bytes(), None, false, true).unwrap();
    page
}

pub(crate) fn number_in(page: &Page) -> u32 {
    u32::from_le_bytes(page.item(1).try_into().unwrap())
}

pub(crate) fn get(node: RelFileNode, block: u32) -> Pin {
    read_buffer(node, MAIN, block, ReadMode::Normal, None).unwrap()
}

/// Changes a page with a record of its own.
pub(crate) fn write_number(write: &mut PageWrite<'_>, number: u32) -> common::Lsn {
    let mut critical = Critical::begin();
    write.modify(&mut critical).item_mut(1).copy_from_slice(&number.to_le_bytes());
    let mut record = wal::Record::new(wal::RmgrId::Heap, 0);
    record.block(0, write.tag(), write, wal::RegFlags::STANDARD);
    critical.log(record)
}

/// The page in the file.
pub(crate) fn on_disk(node: RelFileNode, block: u32) -> Box<Page> {
    let bytes = std::fs::read(node.path(MAIN)).unwrap();
    let at = block as usize * 8192;
    Page::copy_of(bytes[at..at + 8192].try_into().unwrap())
}

pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

pub(crate) fn wal_flushed() -> u64 {
    walio::FLUSHED.get()
}
