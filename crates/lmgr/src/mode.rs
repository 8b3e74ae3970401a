//! The eight modes of a lock, and which exclude each other.
//!
//! C counterpart: storage/lockdefs.h, `LockConflicts` and `lock_mode_names` in lock.c.

/// How strongly a lock is held, weakest first. C: `LOCKMODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LockMode {
    /// SELECT.
    AccessShare = 1,
    /// SELECT FOR UPDATE and FOR SHARE.
    RowShare,
    /// INSERT, UPDATE, DELETE.
    RowExclusive,
    /// VACUUM, ANALYZE, CREATE INDEX CONCURRENTLY.
    ShareUpdateExclusive,
    /// CREATE INDEX.
    Share,
    /// As Exclusive, but lets ROW SHARE in.
    ShareRowExclusive,
    /// Blocks ROW SHARE too.
    Exclusive,
    /// ALTER TABLE, DROP TABLE, VACUUM FULL, plain LOCK TABLE.
    AccessExclusive,
}

use LockMode::{
    AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive,
    ShareUpdateExclusive,
};

/// Number of modes.
pub const MODES: usize = 8;

/// Several modes: the bit of a mode is `1 << number`, as in C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes(pub u16);

impl Modes {
    /// None.
    pub const NONE: Modes = Modes(0);

    /// Those of the list.
    pub const fn of(modes: &[LockMode]) -> Modes {
        let (mut bits, mut i) = (0, 0);
        while i < modes.len() {
            bits |= 1 << modes[i] as u16;
            i += 1;
        }
        Modes(bits)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the mode is one of them.
    pub const fn contains(self, mode: LockMode) -> bool {
        self.0 & (1 << mode as u16) != 0
    }

    /// Whether a mode is in both.
    pub const fn intersects(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }

    /// Adds one.
    pub fn add(&mut self, mode: LockMode) {
        self.0 |= 1 << mode as u16;
    }

    /// Takes one away.
    pub fn remove(&mut self, mode: LockMode) {
        self.0 &= !(1 << mode as u16);
    }

    /// Each of them, weakest first.
    pub fn iter(self) -> impl Iterator<Item = LockMode> {
        LockMode::ALL.into_iter().filter(move |mode| self.contains(*mode))
    }
}

impl LockMode {
    /// All, weakest first.
    pub const ALL: [LockMode; MODES] = [
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
    ];

    /// The mode with this number, from 1.
    pub fn from_u8(number: u8) -> Option<LockMode> {
        LockMode::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The modes that nobody else may hold at the same time. C: `LockConflicts`.
    pub const fn conflicts(self) -> Modes {
        match self {
            AccessShare => Modes::of(&[AccessExclusive]),
            RowShare => Modes::of(&[Exclusive, AccessExclusive]),
            RowExclusive => Modes::of(&[Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            ShareUpdateExclusive => {
                Modes::of(&[ShareUpdateExclusive, Share, ShareRowExclusive, Exclusive, AccessExclusive])
            }
            Share => Modes::of(&[
                RowExclusive,
                ShareUpdateExclusive,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            ShareRowExclusive => Modes::of(&[
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            Exclusive => Modes::of(&[
                RowShare,
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            AccessExclusive => Modes::of(&LockMode::ALL),
        }
    }

    /// Whether two sessions cannot hold these at the same time. C: `DoLockModesConflict`.
    pub const fn conflicts_with(self, other: LockMode) -> bool {
        self.conflicts().contains(other)
    }

    /// `AccessShareLock` ...: in `pg_locks.mode` and in messages. C: `GetLockmodeName`.
    pub const fn name(self) -> &'static str {
        match self {
            AccessShare => "AccessShareLock",
            RowShare => "RowShareLock",
            RowExclusive => "RowExclusiveLock",
            ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Share => "ShareLock",
            ShareRowExclusive => "ShareRowExclusiveLock",
            Exclusive => "ExclusiveLock",
            AccessExclusive => "AccessExclusiveLock",
        }
    }

    /// Weak enough not to conflict with itself or anything weaker: may use the fast path on a relation.
    pub(crate) fn is_weak(self) -> bool {
        self < ShareUpdateExclusive
    }

    /// Strong enough to conflict with a weak one, so that the fast path must be closed. C: `ConflictsWithRelationFastPath`.
    pub(crate) fn is_strong(self) -> bool {
        self > ShareUpdateExclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_symmetric() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                assert_eq!(a.conflicts_with(b), b.conflicts_with(a), "{a:?} {b:?}");
            }
        }
    }

    /// The table of the manual's chapter "Explicit Locking", one row a mode.
    #[test]
    fn conflicts_are_the_manuals() {
        let rows = LockMode::ALL.map(|a| {
            LockMode::ALL.iter().map(|b| if a.conflicts_with(*b) { 'X' } else { '.' }).collect::<String>()
        });
        let expected =
            [".......X", "......XX", "....XXXX", "...XXXXX", "..XX.XXX", "..XXXXXX", ".XXXXXXX", "XXXXXXXX"];
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_fast_path_splits_the_modes() {
        for mode in LockMode::ALL {
            let meets_weak = LockMode::ALL.iter().any(|other| other.is_weak() && mode.conflicts_with(*other));
            assert_eq!(mode.is_strong(), meets_weak, "{mode:?}");
        }
    }
}
