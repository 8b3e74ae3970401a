//! Where a page is: relation files, forks, blocks, rows.
//!
//! C counterpart: storage/relfilenode.h, common/relpath.h, storage/block.h, storage/itemptr.h.

use std::fmt;

use crate::{BlockNumber, Oid};

/// Bytes of a page. C: `BLCKSZ`.
pub const BLCKSZ: usize = 8192;
/// No block. C: `InvalidBlockNumber`.
pub const INVALID_BLOCK: BlockNumber = u32::MAX;
/// Blocks of one file of a relation (1 GiB). C: `RELSEG_SIZE`.
pub const RELSEG_SIZE: u32 = 131_072;
/// Number of a line pointer within its page, from 1; 0 is none. C: `OffsetNumber`.
pub type OffsetNumber = u16;
/// Number of a command within its transaction. C: `CommandId`.
pub type CommandId = u32;

/// Tablespace `pg_default`. C: `DEFAULTTABLESPACE_OID`.
pub const DEFAULT_TABLESPACE: Oid = Oid(1663);
/// Tablespace `pg_global`. C: `GLOBALTABLESPACE_OID`.
pub const GLOBAL_TABLESPACE: Oid = Oid(1664);

/// The links to tablespaces other than the two built-in ones, each named by its OID. C: the literal `pg_tblspc`.
pub const TABLESPACE_LINKS: &str = "pg_tblspc";
/// What lies in a tablespace is below a directory of this name: another major version has another.
/// C: `TABLESPACE_VERSION_DIRECTORY`.
pub const TABLESPACE_VERSION_DIRECTORY: &str = "PG_15_202209061";

/// Directory of a database's files in a tablespace, relative to the data directory. C: `GetDatabasePath`.
pub fn database_path(tablespace: Oid, database: Oid) -> String {
    match tablespace {
        GLOBAL_TABLESPACE => "global".to_owned(),
        DEFAULT_TABLESPACE => format!("base/{database}"),
        _ => format!("{TABLESPACE_LINKS}/{tablespace}/{TABLESPACE_VERSION_DIRECTORY}/{database}"),
    }
}

/// The files of one relation: tablespace, database (0 if shared), file number. C: `RelFileNode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct RelFileNode {
    /// Tablespace. C: `spcNode`.
    pub spc: Oid,
    /// Database, 0 for a shared relation. C: `dbNode`.
    pub db: Oid,
    /// File number. C: `relNode`.
    pub rel: Oid,
}

impl RelFileNode {
    /// Path of the first segment of a fork, relative to the data directory: `base/5/16384_fsm`.
    /// C: `relpathperm`.
    pub fn path(self, fork: ForkNumber) -> String {
        let (directory, suffix) = (database_path(self.spc, self.db), fork.suffix());
        format!("{directory}/{}{suffix}", self.rel)
    }
}

/// The forks of a relation, numbered as in WAL. C: `ForkNumber`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum ForkNumber {
    /// The rows. C: `MAIN_FORKNUM`.
    #[default]
    Main = 0,
    /// Free space map. C: `FSM_FORKNUM`.
    Fsm = 1,
    /// Visibility map. C: `VISIBILITYMAP_FORKNUM`.
    VisibilityMap = 2,
    /// What an unlogged relation is reset to. C: `INIT_FORKNUM`.
    Init = 3,
}

impl ForkNumber {
    /// All of them, in order.
    pub const ALL: [ForkNumber; 4] =
        [ForkNumber::Main, ForkNumber::Fsm, ForkNumber::VisibilityMap, ForkNumber::Init];

    /// The fork with this number.
    pub fn from_u8(number: u8) -> Option<ForkNumber> {
        ForkNumber::ALL.get(number as usize).copied()
    }

    /// What its file names end in. C: `forkNames`.
    pub fn suffix(self) -> &'static str {
        match self {
            ForkNumber::Main => "",
            ForkNumber::Fsm => "_fsm",
            ForkNumber::VisibilityMap => "_vm",
            ForkNumber::Init => "_init",
        }
    }
}

/// Address of a row: block and line pointer. C: `ItemPointerData` (6 bytes on disk: block high, block low, offset).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemPointer {
    /// Block within the main fork.
    pub block: BlockNumber,
    /// Line pointer, from 1; 0 is invalid.
    pub offset: OffsetNumber,
}

impl ItemPointer {
    /// No row: as C's `ItemPointerSetInvalid` leaves it.
    pub const INVALID: ItemPointer = ItemPointer { block: INVALID_BLOCK, offset: 0 };

    /// A row's address.
    pub const fn new(block: BlockNumber, offset: OffsetNumber) -> ItemPointer {
        ItemPointer { block, offset }
    }

    /// C: `ItemPointerIsValid`.
    pub const fn is_valid(self) -> bool {
        self.offset != 0
    }

    /// As in a tuple header.
    pub const fn to_bytes(self) -> [u8; 6] {
        let [h0, h1] = ((self.block >> 16) as u16).to_le_bytes();
        let [l0, l1] = (self.block as u16).to_le_bytes();
        let [o0, o1] = self.offset.to_le_bytes();
        [h0, h1, l0, l1, o0, o1]
    }

    /// From a tuple header.
    pub const fn from_bytes(b: [u8; 6]) -> ItemPointer {
        let high = u16::from_le_bytes([b[0], b[1]]) as u32;
        let low = u16::from_le_bytes([b[2], b[3]]) as u32;
        ItemPointer { block: high << 16 | low, offset: u16::from_le_bytes([b[4], b[5]]) }
    }
}

impl fmt::Display for ItemPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.block, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_pointer_is_high_low_offset() {
        let tid = ItemPointer::new(0x0001_0002, 3);
        assert_eq!(tid.to_bytes(), [1, 0, 2, 0, 3, 0]);
        assert_eq!(ItemPointer::from_bytes(tid.to_bytes()), tid);
        assert_eq!(tid.to_string(), "(65538,3)");
        assert_eq!(ItemPointer::INVALID.to_bytes(), [0xFF, 0xFF, 0xFF, 0xFF, 0, 0]);
    }

    #[test]
    fn paths_are_postgresqls() {
        let shared = RelFileNode { spc: GLOBAL_TABLESPACE, db: Oid(0), rel: Oid(1262) };
        assert_eq!(shared.path(ForkNumber::Main), "global/1262");
        let local = RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(16384) };
        assert_eq!(local.path(ForkNumber::VisibilityMap), "base/5/16384_vm");
        let elsewhere = RelFileNode { spc: Oid(16390), db: Oid(5), rel: Oid(16384) };
        assert_eq!(elsewhere.path(ForkNumber::Main), "pg_tblspc/16390/PG_15_202209061/5/16384");
    }
}
