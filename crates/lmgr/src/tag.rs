//! What can be locked.
//!
//! C counterpart: `LOCKTAG` in storage/lock.h, `DescribeLockTag` in lmgr.c.

use std::fmt;

use common::{BlockNumber, OffsetNumber, Oid, Xid};

/// A thing that can be locked. Databases are invalid for what the whole cluster shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields are named as the columns of pg_locks")]
pub enum LockTag {
    /// A relation.
    Relation { db: Oid, rel: Oid },
    /// The right to make a relation longer.
    Extend { db: Oid, rel: Oid },
    /// `pg_database.datfrozenxid`.
    FrozenIds { db: Oid },
    /// A page.
    Page { db: Oid, rel: Oid, block: BlockNumber },
    /// A row: who waits for it queues here.
    Tuple { db: Oid, rel: Oid, block: BlockNumber, offset: OffsetNumber },
    /// A transaction: held by itself until it ends.
    Transaction(Xid),
    /// A transaction that may have no id yet.
    VirtualXid { backend: i32, lxid: u32 },
    /// A speculative insertion.
    Speculative { xid: Xid, token: u32 },
    /// Any other object.
    Object { db: Oid, class: Oid, object: Oid, sub: u16 },
    /// Whatever users mean by these numbers; `kind` is 1 for one bigint, 2 for two ints.
    Advisory { db: Oid, key1: u32, key2: u32, kind: u16 },
}

/// A tag in shared memory: type, then the fields as in C. C: `LOCKTAG`.
pub(crate) type Packed = [u32; 5];

impl LockTag {
    /// An advisory lock's, from one key.
    pub fn advisory(db: Oid, key: i64) -> LockTag {
        LockTag::Advisory { db, key1: (key >> 32) as u32, key2: key as u32, kind: 1 }
    }

    /// An advisory lock's, from two keys.
    pub fn advisory_pair(db: Oid, key1: i32, key2: i32) -> LockTag {
        LockTag::Advisory { db, key1: key1.cast_unsigned(), key2: key2.cast_unsigned(), kind: 2 }
    }

    /// C: `LockTagType`.
    pub(crate) fn kind(self) -> u8 {
        match self {
            LockTag::Relation { .. } => 0,
            LockTag::Extend { .. } => 1,
            LockTag::FrozenIds { .. } => 2,
            LockTag::Page { .. } => 3,
            LockTag::Tuple { .. } => 4,
            LockTag::Transaction(_) => 5,
            LockTag::VirtualXid { .. } => 6,
            LockTag::Speculative { .. } => 7,
            LockTag::Object { .. } => 8,
            LockTag::Advisory { .. } => 10,
        }
    }

    /// `pg_locks.locktype`. C: `LockTagTypeNames`.
    pub fn type_name(self) -> &'static str {
        match self {
            LockTag::Relation { .. } => "relation",
            LockTag::Extend { .. } => "extend",
            LockTag::FrozenIds { .. } => "frozenid",
            LockTag::Page { .. } => "page",
            LockTag::Tuple { .. } => "tuple",
            LockTag::Transaction(_) => "transactionid",
            LockTag::VirtualXid { .. } => "virtualxid",
            LockTag::Speculative { .. } => "spectoken",
            LockTag::Object { .. } => "object",
            LockTag::Advisory { .. } => "advisory",
        }
    }

    /// Whether users name it: survives an abort if held for the session. C: `USER_LOCKMETHOD`.
    pub(crate) fn is_users(self) -> bool {
        matches!(self, LockTag::Advisory { .. })
    }

    pub(crate) fn pack(self) -> Packed {
        let kind = u32::from(self.kind());
        match self {
            LockTag::Relation { db, rel } | LockTag::Extend { db, rel } => [kind, db.0, rel.0, 0, 0],
            LockTag::FrozenIds { db } => [kind, db.0, 0, 0, 0],
            LockTag::Page { db, rel, block } => [kind, db.0, rel.0, block, 0],
            LockTag::Tuple { db, rel, block, offset } => [kind, db.0, rel.0, block, offset.into()],
            LockTag::Transaction(xid) => [kind, xid.0, 0, 0, 0],
            LockTag::VirtualXid { backend, lxid } => [kind, backend.cast_unsigned(), lxid, 0, 0],
            LockTag::Speculative { xid, token } => [kind, xid.0, token, 0, 0],
            LockTag::Object { db, class, object, sub } => [kind, db.0, class.0, object.0, sub.into()],
            LockTag::Advisory { db, key1, key2, kind: keys } => [kind, db.0, key1, key2, keys.into()],
        }
    }

    pub(crate) fn unpack([kind, a, b, c, d]: Packed) -> LockTag {
        let (db, rel) = (Oid(a), Oid(b));
        match kind {
            0 => LockTag::Relation { db, rel },
            1 => LockTag::Extend { db, rel },
            2 => LockTag::FrozenIds { db },
            3 => LockTag::Page { db, rel, block: c },
            4 => LockTag::Tuple { db, rel, block: c, offset: d as u16 },
            5 => LockTag::Transaction(Xid(a)),
            6 => LockTag::VirtualXid { backend: a.cast_signed(), lxid: b },
            7 => LockTag::Speculative { xid: Xid(a), token: b },
            8 => LockTag::Object { db, class: rel, object: Oid(c), sub: d as u16 },
            _ => LockTag::Advisory { db, key1: b, key2: c, kind: d as u16 },
        }
    }

    /// Spreads tags over partitions (low bits) and buckets (high bits). C: `LockTagHashCode`.
    pub(crate) fn hash(self) -> u32 {
        let mut state = 0u64;
        for word in self.pack() {
            state = (state ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            state ^= state >> 32;
        }
        state as u32
    }
}

/// As in messages. C: `DescribeLockTag`.
impl fmt::Display for LockTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LockTag::Relation { db, rel } => write!(f, "relation {rel} of database {db}"),
            LockTag::Extend { db, rel } => write!(f, "extension of relation {rel} of database {db}"),
            LockTag::FrozenIds { db } => write!(f, "pg_database.datfrozenxid of database {db}"),
            LockTag::Page { db, rel, block } => write!(f, "page {block} of relation {rel} of database {db}"),
            LockTag::Tuple { db, rel, block, offset } => {
                write!(f, "tuple ({block},{offset}) of relation {rel} of database {db}")
            }
            LockTag::Transaction(xid) => write!(f, "transaction {}", xid.0),
            LockTag::VirtualXid { backend, lxid } => write!(f, "virtual transaction {backend}/{lxid}"),
            LockTag::Speculative { xid, token } => {
                write!(f, "speculative token {token} of transaction {}", xid.0)
            }
            LockTag::Object { db, class, object, .. } => {
                write!(f, "object {object} of class {class} of database {db}")
            }
            LockTag::Advisory { db, key1, key2, kind } => {
                write!(f, "advisory lock [{db},{key1},{key2},{kind}]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_reversible_and_texts_are_postgresqls() {
        let (db, rel) = (Oid(5), Oid(16384));
        for (tag, text) in [
            (LockTag::Relation { db, rel }, "relation 16384 of database 5"),
            (LockTag::Extend { db, rel }, "extension of relation 16384 of database 5"),
            (LockTag::FrozenIds { db }, "pg_database.datfrozenxid of database 5"),
            (LockTag::Page { db, rel, block: 7 }, "page 7 of relation 16384 of database 5"),
            (LockTag::Tuple { db, rel, block: 0, offset: 1 }, "tuple (0,1) of relation 16384 of database 5"),
            (LockTag::Transaction(Xid(731)), "transaction 731"),
            (LockTag::VirtualXid { backend: 3, lxid: 9 }, "virtual transaction 3/9"),
            (LockTag::Speculative { xid: Xid(4), token: 2 }, "speculative token 2 of transaction 4"),
            (
                LockTag::Object { db, class: Oid(1259), object: Oid(9), sub: 0 },
                "object 9 of class 1259 of database 5",
            ),
            (LockTag::advisory(db, (1 << 32) + 2), "advisory lock [5,1,2,1]"),
            (LockTag::advisory_pair(db, -1, 2), "advisory lock [5,4294967295,2,2]"),
        ] {
            assert_eq!(tag.to_string(), text);
            assert_eq!(LockTag::unpack(tag.pack()), tag);
        }
    }
}
