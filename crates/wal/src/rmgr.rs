//! Resource managers: who wrote a record, and so who replays it.
//!
//! C counterpart: access/rmgrlist.h, rmgr.c.

use std::fmt;

macro_rules! resource_managers {
    ($($(#[$doc:meta])* $variant:ident = $id:literal $name:literal,)*) => {
        /// A resource manager's number, the byte `xl_rmid` of a record. C: `RmgrIds`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum RmgrId { $($(#[$doc])* $variant = $id,)* }

        impl RmgrId {
            /// All of them, in order of their numbers.
            pub const ALL: &[RmgrId] = &[$(RmgrId::$variant),*];

            /// Its name as `pg_waldump` prints it.
            pub fn name(self) -> &'static str {
                match self { $(RmgrId::$variant => $name,)* }
            }
        }
    };
}

resource_managers! {
    /// Checkpoints, page images and other matters of the log itself.
    Xlog = 0 "XLOG",
    /// Commits and aborts.
    Xact = 1 "Transaction",
    /// Files made and truncated.
    Smgr = 2 "Storage",
    /// Pages of the commit log.
    Clog = 3 "CLOG",
    /// Databases.
    Dbase = 4 "Database",
    /// Tablespaces.
    Tblspc = 5 "Tablespace",
    /// Sets of row lockers.
    MultiXact = 6 "MultiXact",
    /// File numbers of mapped catalogs.
    RelMap = 7 "RelMap",
    /// Running transactions, locks, invalidations.
    Standby = 8 "Standby",
    /// Heap: prune, vacuum, visibility map, multi-insert, row locks of updated rows.
    Heap2 = 9 "Heap2",
    /// Heap: insert, delete, update, lock.
    Heap = 10 "Heap",
    /// B-tree indexes.
    Btree = 11 "Btree",
    /// Hash indexes.
    Hash = 12 "Hash",
    /// GIN indexes.
    Gin = 13 "Gin",
    /// GiST indexes.
    Gist = 14 "Gist",
    /// Sequences.
    Seq = 15 "Sequence",
    /// SP-GiST indexes.
    Spgist = 16 "SPGist",
    /// BRIN indexes.
    Brin = 17 "BRIN",
    /// Commit timestamps.
    CommitTs = 18 "CommitTs",
    /// Origins of replicated changes.
    ReplicationOrigin = 19 "ReplicationOrigin",
    /// Changes described in a general form.
    Generic = 20 "Generic",
    /// Messages for logical decoding.
    LogicalMsg = 21 "LogicalMessage",
}

impl RmgrId {
    /// The resource manager with this number, if it is a built-in one.
    pub fn from_u8(id: u8) -> Option<RmgrId> {
        RmgrId::ALL.get(usize::from(id)).copied()
    }
}

impl fmt::Display for RmgrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Numbers that extensions may use: valid in a record even though nobody here can replay it.
/// C: `RmgrIdIsCustom`.
pub(crate) fn is_custom(id: u8) -> bool {
    id >= 128
}
