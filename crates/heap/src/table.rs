//! What the heap needs to know of a table. The relation cache makes it and keeps it up to date.
//!
//! C counterpart: the part of `RelationData` that heapam.c looks at.

use std::cell::Cell;
use std::rc::Rc;

use activity::table_stats::{self, TableCounts};
use common::{BLCKSZ, BlockNumber, ForkNumber, GLOBAL_TABLESPACE, INVALID_BLOCK, Oid, RelFileNode};
use transam::RelationKind;

use crate::desc::TupleDesc;

/// Free share of a page in percent that is not used by inserts, from 100. C: `HEAP_DEFAULT_FILLFACTOR`.
pub const DEFAULT_FILLFACTOR: u16 = 100;

/// A table with rows in heap format.
#[derive(Debug)]
pub struct Table {
    /// Its OID.
    pub oid: Oid,
    /// Its name, for messages.
    pub name: Rc<str>,
    /// Its schema's name, for messages.
    pub schema: Rc<str>,
    /// Its files.
    pub node: RelFileNode,
    /// Visible in all databases.
    pub is_shared: bool,
    /// A system catalog.
    pub is_catalog: bool,
    /// `relpersistence`: `b'p'`, `b'u'`, `b't'`.
    pub persistence: u8,
    /// Its columns.
    pub desc: Rc<TupleDesc>,
    /// Percent of a page that inserts may fill.
    pub fillfactor: u16,
    /// Statistics of this session.
    pub counts: Rc<TableCounts>,
    /// The block that took the last row; `INVALID_BLOCK` if unknown. C: `smgr_targblock`.
    pub target_block: Cell<BlockNumber>,
    /// Blocks of the visibility map, as last seen. C: `smgr_cached_nblocks`.
    pub(crate) vm_blocks: Cell<BlockNumber>,
}

impl Table {
    /// An ordinary permanent table.
    pub fn new(oid: Oid, schema: &str, name: &str, node: RelFileNode, desc: Rc<TupleDesc>) -> Table {
        let is_shared = node.spc == GLOBAL_TABLESPACE;
        Table {
            oid,
            name: name.into(),
            schema: schema.into(),
            node,
            is_shared,
            is_catalog: oid.0 < 16384,
            persistence: b'p',
            desc,
            fillfactor: DEFAULT_FILLFACTOR,
            counts: table_stats::of(oid, is_shared),
            target_block: Cell::new(INVALID_BLOCK),
            vm_blocks: Cell::new(INVALID_BLOCK),
        }
    }

    /// The table was cut: where the last row went, and how long the maps are, is not known any more.
    pub fn forget_end(&self) {
        self.target_block.set(INVALID_BLOCK);
        self.vm_blocks.set(INVALID_BLOCK);
    }

    /// Its number of blocks now. C: `RelationGetNumberOfBlocks`.
    ///
    /// # Errors
    /// What the storage manager says about a missing file.
    pub fn nblocks(&self) -> elog::Result<BlockNumber> {
        storage::smgr::nblocks(self.node, ForkNumber::Main)
    }

    /// Whose snapshots keep its old row versions alive.
    pub fn kind(&self) -> RelationKind {
        match self {
            Table { is_shared: true, .. } => RelationKind::Shared,
            Table { is_catalog: true, .. } => RelationKind::Catalog,
            Table { persistence: b't', .. } => RelationKind::Temp,
            _ => RelationKind::Data,
        }
    }

    /// Whether changes are logged. C: `RelationNeedsWAL`.
    pub fn needs_wal(&self) -> bool {
        self.persistence == b'p'
    }

    /// Bytes of a page that inserts leave free. C: `RelationGetTargetPageFreeSpace`.
    pub fn target_free_space(&self) -> usize {
        BLCKSZ * (100 - self.fillfactor.min(100) as usize) / 100
    }
}
