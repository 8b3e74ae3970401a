//! Replication slots: what a standby still needs is kept, though the standby is away.
//!
//! A slot is a name with a position in WAL (`restart_lsn`: nothing from there on may be removed) and, if the standby told so, a
//! transaction id (`xmin`: nothing that it may still look at may be vacuumed away). One process at a time uses a slot: it has
//! *acquired* it, and only it changes the slot. A walsender moves the position on as the standby confirms what it has.
//!
//! ```text
//!              create                      release                      drop
//!   (nothing) --------> acquired by us <------------> used by nobody ---------> (nothing)
//!                         |      ^         acquire
//!                         |      | another process waits for `active_pid` = 0, or gives up
//!                         `------'
//! ```
//!
//! On disk, a slot is a directory with one file, `pg_replslot/NAME/state`, which is replaced as a whole. What has changed since
//! is written by the next checkpoint: after a crash a slot may keep more than is needed, never less.
//!
//! Read in this order: this page (what is shared), `lifecycle` (from create to drop), `required` (what all slots together
//! keep), `invalidate` (a slot that keeps too much), `waiting` (for a slot that another process uses), `state_file` (the format),
//! `disk` (reading and writing it).
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: slot.c, slot.h. Physical slots only; a logical one found on disk ends the start of the server.

mod disk;
mod invalidate;
mod lifecycle;
mod name;
mod required;
mod state_file;
#[cfg(test)]
mod tests;
mod waiting;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use common::{Lsn, Oid, Xid};
use shmem::{LwLock, Reservation, ShmSlice, ShmVar, SpinLock, shm_struct, tranche};

pub use disk::{checkpoint, dir, set_dir, startup};
pub use invalidate::invalidate_obsolete;
pub use lifecycle::{
    acquire, advance, cleanup, confirm_received, confirm_xmins, copy, create, drop_acquired, drop_slot,
    error_cleanup, mark_dirty, persist, release, save, set_restart_lsn,
};
pub use name::{check_requirements, validate_name};
pub use required::{Availability, required_xmin, reserve_wal, safe_wal_size, wal_availability};

shm_struct! {
    /// What becomes of a slot when it is released, or after a crash. C: `ReplicationSlotPersistency`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Persistency {
        /// Stays, whatever happens. C: `RS_PERSISTENT`.
        Persistent = 0,
        /// Goes when it is released, or in a crash: not quite ready yet. C: `RS_EPHEMERAL`.
        Ephemeral = 1,
        /// Goes with its session, or at an error. C: `RS_TEMPORARY`.
        Temporary = 2,
    }
}

shm_struct! {
    /// A name, ended by a zero byte. C: `NameData`.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Name {
        bytes: [u8; 64],
    }
}

impl Name {
    const EMPTY: Name = Name { bytes: [0; 64] };

    /// The first 63 bytes of a text.
    pub fn new(text: &str) -> Name {
        let mut bytes = [0; 64];
        let len = text.len().min(63);
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Name { bytes }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|b| *b == 0).unwrap_or(self.bytes.len());
        std::str::from_utf8(&self.bytes[..end]).unwrap_or("")
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

shm_struct! {
    /// What a slot remembers on disk. C: `ReplicationSlotPersistentData`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Data {
        /// Identifier.
        pub name: Name,
        /// Its database; invalid for a physical slot.
        pub database: Oid,
        /// What becomes of it.
        pub persistency: Persistency,
        /// Rows that this transaction may still look at are kept.
        pub xmin: Xid,
        /// The same for rows of catalogs.
        pub catalog_xmin: Xid,
        /// WAL is kept from here on; invalid if none is.
        pub restart_lsn: Lsn,
        /// `restart_lsn` of the moment when the slot was invalidated; invalid if it was not.
        pub invalidated_at: Lsn,
        /// Logical slots only: what the client has confirmed.
        pub confirmed_flush: Lsn,
        /// Logical slots only: prepared transactions are decoded from here on.
        pub two_phase_at: Lsn,
        /// Logical slots only: prepared transactions are decoded.
        pub two_phase: bool,
        /// Logical slots only: its output plugin.
        pub plugin: Name,
    }
}

impl Data {
    const EMPTY: Data = Data {
        name: Name::EMPTY,
        database: Oid::INVALID,
        persistency: Persistency::Persistent,
        xmin: Xid::INVALID,
        catalog_xmin: Xid::INVALID,
        restart_lsn: Lsn::INVALID,
        invalidated_at: Lsn::INVALID,
        confirmed_flush: Lsn::INVALID,
        two_phase_at: Lsn::INVALID,
        two_phase: false,
        plugin: Name::EMPTY,
    };

    /// It has needed more than `max_slot_wal_keep_size`, and is of no use any more.
    pub fn is_invalidated(&self) -> bool {
        self.restart_lsn == Lsn::INVALID && self.invalidated_at != Lsn::INVALID
    }
}

/// A slot as views show it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is on disk, or will be.
    pub data: Data,
    /// Who uses it; 0 if nobody does.
    pub active_pid: i32,
}

shm_struct! {
    /// The part of a slot that is read and written under its spinlock. C: `ReplicationSlot`.
    #[derive(Clone, Copy)]
    struct Body {
        data: Data,
        /// Differs from `data` only while a slot's first xmin is not on disk yet. C: `effective_xmin`.
        effective_xmin: Xid,
        effective_catalog_xmin: Xid,
        /// Who uses it; 0 if nobody does.
        active_pid: i32,
        /// Changed since the last write began. C: `just_dirtied`.
        just_dirtied: bool,
        /// Differs from its file.
        dirty: bool,
    }
}

shm_struct! {
    /// A place for a slot.
    struct Place {
        /// Changed under `Control::control`, exclusively; read under it in any mode. C: `in_use`.
        in_use: AtomicBool,
        /// Held while its file is written.
        io: LwLock<()>,
        body: SpinLock<Body>,
    }
}

impl Place {
    fn copy(&self) -> Body {
        *self.body.lock()
    }
}

shm_struct! {
    /// What is there once for all slots.
    struct Control {
        /// Held by who makes or drops a slot. Before `control`. C: `ReplicationSlotAllocationLock`.
        allocation: LwLock<()>,
        /// Protects which places are in use. C: `ReplicationSlotControlLock`.
        control: LwLock<()>,
        /// Held while the minimum over all slots is formed and published: two who do so at a time could leave the older
        /// result. Innermost. Not in C.
        minimum: LwLock<()>,
        /// The oldest xmin and catalog xmin: high and low half. C: `replication_slot_xmin`, `replication_slot_catalog_xmin`.
        xmins: AtomicU64,
        /// How many processes wait for a slot; see `waiting`.
        waiters: AtomicU32,
    }
}

static PLACES: ShmSlice<Place> = ShmSlice::new("ReplicationSlot Ctl");
static CONTROL: ShmVar<Control> = ShmVar::new("ReplicationSlot Control");

thread_local! {
    /// Our slot's place. C: `MyReplicationSlot`.
    static MINE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Places for `max_replication_slots` slots. C: `ReplicationSlotsShmemInit`.
pub fn reserve(reservation: &mut Reservation, procs: usize) {
    let count = usize::try_from(guc::vars::MAX_REPLICATION_SLOTS.get()).unwrap_or(0);
    reservation.slice(&PLACES, count, |_| Place {
        in_use: AtomicBool::new(false),
        io: LwLock::new(tranche::REPLICATION_SLOT_IO, ()),
        body: SpinLock::new(Body {
            data: Data::EMPTY,
            effective_xmin: Xid::INVALID,
            effective_catalog_xmin: Xid::INVALID,
            active_pid: 0,
            just_dirtied: false,
            dirty: false,
        }),
    });
    reservation.var(&CONTROL, || Control {
        allocation: LwLock::new(tranche::REPLICATION_SLOT_ALLOCATION, ()),
        control: LwLock::new(tranche::REPLICATION_SLOT_CONTROL, ()),
        minimum: LwLock::new(tranche::REPLICATION_SLOT_CONTROL, ()),
        xmins: AtomicU64::new(0),
        waiters: AtomicU32::new(0),
    });
    waiting::reserve(reservation, procs);
}

/// The places; none without a segment.
fn places() -> &'static [Place] {
    PLACES.try_get().unwrap_or(&[])
}

/// The places in use, with their numbers. The caller holds `control`.
fn used() -> impl Iterator<Item = (usize, &'static Place)> {
    places().iter().enumerate().filter(|(_, place)| place.in_use.load(Ordering::Acquire))
}

/// The place of the slot with this name. The caller holds `control`.
fn find(name: &str) -> Option<usize> {
    used().find(|(_, place)| place.copy().data.name.as_str() == name).map(|(number, _)| number)
}

/// A copy of ours, if we have acquired one. C: `MyReplicationSlot->data`.
pub fn mine() -> Option<Data> {
    MINE.get().map(|number| places()[number].copy().data)
}

/// A copy of the slot with this name. C: `SearchNamedReplicationSlot`.
pub fn read(name: &str) -> Option<Data> {
    let _control = CONTROL.get().control.shared();
    find(name).map(|number| places()[number].copy().data)
}

/// All of them, in the order of their places. C: the loop of `pg_get_replication_slots`.
pub fn rows() -> Vec<Row> {
    let _control = CONTROL.get().control.shared();
    let row = |(_, place): (usize, &Place)| {
        let body = place.copy();
        Row { data: body.data, active_pid: body.active_pid }
    };
    used().map(row).collect()
}
