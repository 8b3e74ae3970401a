//! One invalidation message: sixteen bytes, laid out as PostgreSQL 15 does, since commit records carry them.
//!
//! Byte 0 says what kind it is: a catcache's number, or a negative code. The database is at byte 4, what else
//! there is at byte 8; a file's message has a backend's number in bytes 1 to 3 and the file from byte 4 on.
//!
//! C counterpart: `SharedInvalidationMessage` in storage/sinval.h.

use common::{Oid, RelFileNode};

/// Bytes of a message. C: `sizeof(SharedInvalidationMessage)`.
pub const MESSAGE_SIZE: usize = 16;

const CATALOG: i8 = -1;
const RELCACHE: i8 = -2;
const SMGR: i8 = -3;
const RELMAP: i8 = -4;
const SNAPSHOT: i8 = -5;

/// What to forget, in its stored form; see [`Message::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Message([u8; MESSAGE_SIZE]);

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Entries of one catcache with this hash. C: `SharedInvalCatcacheMsg`.
    Catcache {
        /// Number of the catcache.
        id: u8,
        /// Database, or invalid for a shared catalog.
        database: Oid,
        /// Hash of the key.
        hash: u32,
    },
    /// All of a catalog. C: `SharedInvalCatalogMsg`.
    Catalog {
        /// Database, or invalid for a shared catalog.
        database: Oid,
        /// The catalog.
        catalog: Oid,
    },
    /// One relation, or all of them if that is invalid. C: `SharedInvalRelcacheMsg`.
    Relcache {
        /// Database, or invalid for a shared relation.
        database: Oid,
        /// The relation.
        relation: Oid,
    },
    /// Open files and the remembered size of a relation. C: `SharedInvalSmgrMsg`.
    Smgr {
        /// The relation's files; see also [`Message::backend`].
        node: RelFileNode,
    },
    /// The relation map of a database, of the cluster if invalid. C: `SharedInvalRelmapMsg`.
    Relmap {
        /// The database.
        database: Oid,
    },
    /// Snapshots of a catalog that no cache covers. C: `SharedInvalSnapshotMsg`.
    Snapshot {
        /// Database, or invalid for a shared catalog.
        database: Oid,
        /// The catalog.
        relation: Oid,
    },
}

impl Message {
    fn new(kind: i8, first: Oid, second: u32) -> Message {
        let mut bytes = [0; MESSAGE_SIZE];
        bytes[0] = kind.cast_unsigned();
        bytes[4..8].copy_from_slice(&first.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&second.to_le_bytes());
        Message(bytes)
    }

    /// Forget the entries of catcache `id` (below 128) whose key has this hash.
    pub fn catcache(id: u8, database: Oid, hash: u32) -> Message {
        debug_assert!(id < 128, "catcache {id}");
        Message::new(id.cast_signed() & i8::MAX, database, hash)
    }

    /// Forget all that is cached of a catalog.
    pub fn catalog(database: Oid, catalog: Oid) -> Message {
        Message::new(CATALOG, database, catalog.0)
    }

    /// Forget a relation, or all of the database's if that is invalid.
    pub fn relcache(database: Oid, relation: Oid) -> Message {
        Message::new(RELCACHE, database, relation.0)
    }

    /// Close the files of a relation. `backend` is the owner of a temporary relation, else -1.
    pub fn smgr(backend: i32, node: RelFileNode) -> Message {
        let mut message = Message::new(SMGR, node.spc, node.db.0);
        let [low, middle, high, _] = backend.to_le_bytes();
        message.0[1..4].copy_from_slice(&[high, low, middle]);
        message.0[12..16].copy_from_slice(&node.rel.0.to_le_bytes());
        message
    }

    /// Read the relation map again.
    pub fn relmap(database: Oid) -> Message {
        Message::new(RELMAP, database, 0)
    }

    /// Forget catalog snapshots.
    pub fn snapshot(database: Oid, relation: Oid) -> Message {
        Message::new(SNAPSHOT, database, relation.0)
    }

    /// From a commit record, or from the ring.
    pub fn from_bytes(bytes: [u8; MESSAGE_SIZE]) -> Message {
        Message(bytes)
    }

    /// For a commit record.
    pub fn to_bytes(self) -> [u8; MESSAGE_SIZE] {
        self.0
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// What it says, or `None` for a code that no version 15 server writes.
    pub fn try_decode(&self) -> Option<Decoded> {
        let (database, second) = (Oid(self.word(4)), self.word(8));
        Some(match self.0[0].cast_signed() {
            id @ 0.. => Decoded::Catcache { id: id.cast_unsigned(), database, hash: second },
            CATALOG => Decoded::Catalog { database, catalog: Oid(second) },
            RELCACHE => Decoded::Relcache { database, relation: Oid(second) },
            SMGR => Decoded::Smgr {
                node: RelFileNode { spc: database, db: Oid(second), rel: Oid(self.word(12)) },
            },
            RELMAP => Decoded::Relmap { database },
            SNAPSHOT => Decoded::Snapshot { database, relation: Oid(second) },
            _ => return None,
        })
    }

    /// What it says. A code that nobody writes counts as "forget every relation", which is always safe.
    pub fn decode(&self) -> Decoded {
        self.try_decode().unwrap_or(Decoded::Relcache { database: Oid::INVALID, relation: Oid::INVALID })
    }

    /// Of a file's message: the owner of a temporary relation, else -1.
    pub fn backend(&self) -> i32 {
        let high = self.0[1].cast_signed();
        i32::from(high) << 16 | i32::from(u16::from_le_bytes([self.0[2], self.0[3]]))
    }
}
