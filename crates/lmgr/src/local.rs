//! What this process holds, how often, and on whose behalf.
//!
//! A lock is taken in shared memory once; taking it again only counts here. Each count belongs to an *owner*: the
//! session, or the (sub)transaction of a nesting level. A subtransaction that commits gives its counts to its
//! parent; one that aborts, and a transaction that ends, give them up.
//!
//! C counterpart: `LOCALLOCK`, `LOCALLOCKOWNER`, `LockReleaseAll`, `LockReassignCurrentOwner` in lock.c.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::acquire;
use crate::mode::LockMode;
use crate::shard::Place;
use crate::tag::LockTag;

/// Whose: 0 is the session, then the nesting levels from 1.
pub(crate) type Owner = u32;
/// The session itself.
pub(crate) const SESSION: Owner = 0;

/// Where the lock is in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// In our fast path, unless somebody has moved it to the table since.
    FastPath,
    /// In the table.
    Table(Place),
}

/// One lock that this process holds. C: `LOCALLOCK`.
pub(crate) struct Held {
    pub(crate) at: Where,
    /// Counted among the strong lockers.
    pub(crate) strong: bool,
    /// Counts by owner, never 0; the first inline since most have one.
    first: (Owner, u32),
    more: Vec<(Owner, u32)>,
}

impl Held {
    pub(crate) fn new(at: Where, strong: bool, owner: Owner) -> Held {
        Held { at, strong, first: (owner, 1), more: Vec::new() }
    }

    fn count_of(&mut self, owner: Owner) -> Option<&mut u32> {
        std::iter::once(&mut self.first)
            .chain(&mut self.more)
            .find(|(o, n)| *o == owner && *n > 0)
            .map(|(_, n)| n)
    }

    fn add(&mut self, owner: Owner, n: u32) {
        if let Some(count) = self.count_of(owner) {
            *count += n;
        } else if self.first.1 == 0 {
            self.first = (owner, n);
        } else {
            self.more.push((owner, n));
        }
    }

    /// All counts of an owner, taken away.
    fn take(&mut self, owner: Owner) -> u32 {
        let taken = self.count_of(owner).map_or(0, std::mem::take);
        self.more.retain(|(_, n)| *n > 0);
        taken
    }

    fn is_unused(&self) -> bool {
        self.first.1 == 0 && self.more.is_empty()
    }

    fn is_of_transaction(&self) -> bool {
        std::iter::once(&self.first).chain(&self.more).any(|(owner, n)| *owner != SESSION && *n > 0)
    }

    fn owned_by(&self, owner: Owner) -> bool {
        std::iter::once(&self.first).chain(&self.more).any(|(o, n)| *o == owner && *n > 0)
    }
}

/// Tags are hashed for the shared table anyway; that is good enough here.
#[derive(Default)]
pub(crate) struct TakeHash(u64);

impl Hasher for TakeHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u32(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u32(n.into());
    }
    fn write_i32(&mut self, n: i32) {
        self.write_u32(n.cast_unsigned());
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u32(n as u32);
    }
}

type Table = HashMap<(LockTag, LockMode), Held, BuildHasherDefault<TakeHash>>;

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
    /// The current nesting level; 0 outside a transaction. C: through `CurrentResourceOwner`.
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

pub(crate) fn set_level(level: u32) {
    LEVEL.set(level);
}

/// Who owns what is locked now: outside a transaction too, a lock is not the session's unless that was asked for.
pub(crate) fn current_owner() -> Owner {
    LEVEL.get().max(1)
}

/// Counts once more if it is held. C: the beginning of `LockAcquireExtended`.
pub(crate) fn hold_again(tag: LockTag, mode: LockMode, owner: Owner) -> bool {
    TABLE.with_borrow_mut(|table| match table.get_mut(&(tag, mode)) {
        Some(held) => {
            held.add(owner, 1);
            true
        }
        None => false,
    })
}

/// Enters what was just taken.
pub(crate) fn insert(tag: LockTag, mode: LockMode, held: Held) {
    TABLE.with_borrow_mut(|table| table.insert((tag, mode), held));
}

/// Whether we hold it in this mode.
pub(crate) fn is_held(tag: LockTag, mode: LockMode) -> bool {
    TABLE.with_borrow(|table| table.contains_key(&(tag, mode)))
}

/// What became of giving back one count.
pub(crate) enum GivenBack {
    /// We, or that owner, did not have it.
    NotOwned,
    /// Still held, by other counts.
    StillHeld,
    /// That was the last: to be released in shared memory.
    Last(Held),
}

/// Takes one count away from the session, or from the innermost level that has one (a resource may be given back in
/// a subtransaction of the one that took it).
pub(crate) fn give_back(tag: LockTag, mode: LockMode, of_session: bool) -> GivenBack {
    TABLE.with_borrow_mut(|table| {
        let Some(held) = table.get_mut(&(tag, mode)) else { return GivenBack::NotOwned };
        let owner = match of_session {
            true => Some(SESSION),
            false => (1..=current_owner()).rev().find(|level| held.owned_by(*level)),
        };
        let Some(count) = owner.and_then(|owner| held.count_of(owner)) else { return GivenBack::NotOwned };
        *count -= 1;
        held.more.retain(|(_, n)| *n > 0);
        if !held.is_unused() {
            return GivenBack::StillHeld;
        }
        table.remove(&(tag, mode)).map_or(GivenBack::NotOwned, GivenBack::Last)
    })
}

/// Takes away all counts of the owners that `whose` names, and releases what nobody has any more.
pub(crate) fn release_owned(whose: impl Fn(LockTag, Owner) -> bool) {
    let gone: Vec<_> = TABLE.with_borrow_mut(|table| {
        let last = |key: &(LockTag, LockMode), held: &mut Held| {
            for count in std::iter::once(&mut held.first).chain(&mut held.more) {
                if whose(key.0, count.0) {
                    count.1 = 0;
                }
            }
            held.more.retain(|(_, n)| *n > 0);
            held.is_unused()
        };
        table.extract_if(last).collect()
    });
    acquire::release_many(gone);
}

/// The counts of a level go to the one above. C: `LockReassignCurrentOwner`.
pub(crate) fn reassign(level: Owner) {
    TABLE.with_borrow_mut(|table| {
        for held in table.values_mut() {
            let n = held.take(level);
            if n > 0 {
                held.add(level - 1, n);
            }
        }
    });
}

/// What the transaction holds, in whatever mode, and where; and whether the session holds one of these objects too. Virtual
/// transactions are left out: they end with the session's. C: `CheckForSessionAndXactLocks`.
pub(crate) fn of_transaction() -> (Vec<(LockTag, LockMode, Where)>, bool) {
    TABLE.with_borrow(|table| {
        let locks: Vec<_> = table
            .iter()
            .filter(|((tag, _), held)| held.is_of_transaction() && !matches!(tag, LockTag::VirtualXid { .. }))
            .map(|((tag, mode), held)| (*tag, *mode, held.at))
            .collect();
        let of_session = |tag: LockTag| {
            LockMode::ALL
                .iter()
                .any(|mode| table.get(&(tag, *mode)).is_some_and(|held| held.owned_by(SESSION)))
        };
        let divided = locks.iter().any(|(tag, ..)| of_session(*tag));
        (locks, divided)
    })
}

/// The lock is elsewhere in shared memory now.
pub(crate) fn moved(tag: LockTag, mode: LockMode, to: Where) {
    TABLE.with_borrow_mut(|table| {
        if let Some(held) = table.get_mut(&(tag, mode)) {
            held.at = to;
        }
    });
}

/// Forgets what [`of_transaction`] lists without giving it back.
pub(crate) fn take_of_transaction() -> Vec<(LockTag, LockMode, Held)> {
    TABLE.with_borrow_mut(|table| {
        let gone = table.extract_if(|(tag, _), held| {
            held.is_of_transaction() && !matches!(tag, LockTag::VirtualXid { .. })
        });
        gone.map(|((tag, mode), held)| (tag, mode, held)).collect()
    })
}

/// Gives up everything: the process ends. C: `ShutdownPostgres`' `LockReleaseAll(USER_LOCKMETHOD, true)`.
pub fn release_all_of_session() {
    release_owned(|_, _| true);
}
