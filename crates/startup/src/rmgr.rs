//! Who replays which record: a table from resource manager to functions.
//!
//! Each crate that writes records offers the function that replays them. WAL's own and those of transactions are entered
//! by `register_builtin`; the others (heap, catalogs, databases) are handed over by the program before the first fork,
//! so that this crate need not know them. What records say in words is `rmgrdesc`'s business.
//!
//! C counterpart: `RmgrTable` of rmgr.c.

use std::sync::OnceLock;

use elog::Result;
use wal::{DecodedRecord, RmgrId};

/// Replays one record. An error ends the recovery.
pub type Redo = fn(&DecodedRecord<'_>) -> Result<()>;

/// A resource manager's part in recovery. C: `RmgrData`.
#[derive(Clone, Copy, Debug)]
pub struct Rmgr {
    /// Replays a record. C: `rm_redo`.
    pub redo: Redo,
    /// Before the first record. C: `rm_startup`.
    pub startup: Option<fn()>,
    /// After the last. C: `rm_cleanup`.
    pub cleanup: Option<fn()>,
}

impl Rmgr {
    /// One that only replays.
    pub const fn new(redo: Redo) -> Rmgr {
        Rmgr { redo, startup: None, cleanup: None }
    }
}

const COUNT: usize = RmgrId::ALL.len();

/// The table. C: `RmgrTable`.
pub static TABLE: Table = Table([const { OnceLock::new() }; COUNT]);

/// See [`TABLE`]; tests have their own.
#[derive(Debug)]
pub struct Table([OnceLock<Rmgr>; COUNT]);

impl Default for Table {
    fn default() -> Table {
        Table([const { OnceLock::new() }; COUNT])
    }
}

impl Table {
    /// Enters a resource manager; a second entry for the same one changes nothing.
    pub fn register(&self, id: RmgrId, rmgr: Rmgr) {
        let _ = self.0[id as usize].set(rmgr);
    }

    /// The resource manager of a record, if there is one.
    pub fn get(&self, id: u8) -> Option<&Rmgr> {
        self.0.get(usize::from(id))?.get()
    }

    /// C: `RmgrStartup`.
    pub(crate) fn start_all(&self) {
        self.0.iter().filter_map(|rmgr| rmgr.get()?.startup).for_each(|start| start());
    }

    /// C: `RmgrCleanup`.
    pub(crate) fn clean_all(&self) {
        self.0.iter().filter_map(|rmgr| rmgr.get()?.cleanup).for_each(|clean| clean());
    }
}

/// What a record is about, for the context of an error:
/// `Heap/INSERT: off 3 flags 0x00; blkref #0: rel 1663/5/16384, blk 0`.
/// C: `rm_redo_error_callback` with `xlog_outdesc` and `xlog_block_info`.
pub(crate) fn describe(record: &DecodedRecord<'_>) -> String {
    let mut text = rmgrdesc::describe_with_name(record);
    for block in record.blocks() {
        let tag = block.tag;
        let fork = match tag.fork {
            common::ForkNumber::Main => String::new(),
            fork => format!(", fork {}", fork as u32),
        };
        let image = if block.has_image() { " FPW" } else { "" };
        text += &format!(
            "; blkref #{}: rel {}/{}/{}{fork}, blk {}{image}",
            block.id, tag.node.spc, tag.node.db, tag.node.rel, tag.block
        );
    }
    text
}

/// Enters the resource managers without which there is no recovery at all.
pub(crate) fn register_builtin() {
    TABLE.register(RmgrId::Xlog, Rmgr::new(crate::xlog::redo));
    TABLE.register(RmgrId::Xact, Rmgr::new(transam::redo::xact_redo));
    TABLE.register(RmgrId::Clog, Rmgr::new(transam::redo::clog_redo));
    TABLE.register(RmgrId::MultiXact, Rmgr::new(transam::redo::multixact_redo));
    TABLE.register(RmgrId::Standby, Rmgr::new(transam::redo::standby_redo));
}
