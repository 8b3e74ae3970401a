//! A slot from its creation to its end, by the process that uses it.
//!
//! C counterpart: `ReplicationSlotCreate`, `ReplicationSlotAcquire`, `ReplicationSlotRelease`, `ReplicationSlotDrop`, their
//! helpers; `PhysicalConfirmReceivedLocation`, `PhysicalReplicationSlotNewXmin`, `pg_physical_replication_slot_advance`.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use common::{Lsn, SqlState, Xid};
use elog::{Result, Severity, error};

use super::waiting::{self, Waiter};
use super::{
    Body, CONTROL, Data, MINE, Name, Persistency, Place, disk, find, places, required, used, validate_name,
};

thread_local! {
    /// This process has made temporary slots: an error has something to look for.
    static HAS_TEMPORARY: Cell<bool> = const { Cell::new(false) };
    /// The end of this process gives its slot back.
    static AT_EXIT: Cell<bool> = const { Cell::new(false) };
}

fn my_pid() -> i32 {
    miscinit::globals::my_proc_pid()
}

fn internal(text: &str) -> elog::PgError {
    error!(SqlState::INTERNAL_ERROR, "{text}")
}

/// The place of ours.
pub(super) fn mine() -> Result<(usize, &'static Place)> {
    let number = MINE.get().ok_or_else(|| internal("no replication slot is acquired"))?;
    Ok((number, &places()[number]))
}

/// C: `ReplicationSlotInitialize`, `ReplicationSlotShmemExit`.
fn clean_up_at_exit() {
    if !AT_EXIT.replace(true) {
        miscinit::exit::on_shmem_exit(|_| error_cleanup());
    }
}

/// Makes a physical slot, on disk too, and acquires it. It keeps nothing yet: see [`super::reserve_wal`].
/// C: `ReplicationSlotCreate`.
///
/// # Errors
/// Of the name; 42710 if there is one with this name, 53400 if there is no place for it; of the files.
pub fn create(name: &str, persistency: Persistency) -> Result<()> {
    validate_name(name)?;
    if MINE.get().is_some() {
        return Err(internal("a replication slot is acquired already"));
    }
    clean_up_at_exit();
    let control = CONTROL.get();
    // Others may look meanwhile, but none may make or drop one.
    let allocation = control.allocation.exclusive();
    let number = free_place(name)?;
    let place = &places()[number];
    *place.body.lock() = Body {
        data: Data { name: Name::new(name), persistency, ..Data::EMPTY },
        effective_xmin: Xid::INVALID,
        effective_catalog_xmin: Xid::INVALID,
        active_pid: 0,
        just_dirtied: false,
        dirty: false,
    };
    disk::create(place)?;
    {
        let _control = control.control.exclusive();
        place.in_use.store(true, Ordering::Release);
        place.body.lock().active_pid = my_pid();
        MINE.set(Some(number));
    }
    if persistency == Persistency::Temporary {
        HAS_TEMPORARY.set(true);
    }
    drop(allocation);
    waiting::wake(number);
    Ok(())
}

fn free_place(name: &str) -> Result<usize> {
    let _control = CONTROL.get().control.shared();
    if find(name).is_some() {
        return Err(error!(SqlState::DUPLICATE_OBJECT, "replication slot \"{name}\" already exists"));
    }
    places().iter().position(|place| !place.in_use.load(Ordering::Acquire)).ok_or_else(|| {
        error!(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "all replication slots are in use")
            .hint("Free one or increase max_replication_slots.")
    })
}

/// Takes a slot for this process. If another one uses it, waits until it does not, or with `nowait` gives up.
/// C: `ReplicationSlotAcquire`.
///
/// # Errors
/// 42704 if there is none with this name, 55006 with `nowait` if it is in use; those of a wait that is interrupted.
pub fn acquire(name: &str, nowait: bool) -> Result<()> {
    if MINE.get().is_some() {
        return Err(internal("a replication slot is acquired already"));
    }
    clean_up_at_exit();
    let mut waiter: Option<Waiter> = None;
    loop {
        let control = CONTROL.get().control.shared();
        let Some(number) = find(name) else {
            return Err(error!(SqlState::UNDEFINED_OBJECT, "replication slot \"{name}\" does not exist"));
        };
        // Before the look at its owner; kept from one round to the next.
        if !nowait && waiter.as_ref().map(Waiter::number) != Some(number) {
            drop(waiter.take());
            waiter = Some(Waiter::for_slot(number));
        }
        let owner = {
            let mut body = places()[number].body.lock();
            if body.active_pid == 0 {
                body.active_pid = my_pid();
            }
            body.active_pid
        };
        drop(control);
        if owner == my_pid() {
            MINE.set(Some(number));
            // Who waits for the slot learns who has it now.
            waiting::wake(number);
            return Ok(());
        }
        let Some(waiter) = &waiter else {
            return Err(error!(
                SqlState::OBJECT_IN_USE,
                "replication slot \"{name}\" is active for PID {owner}"
            ));
        };
        waiter.sleep()?;
    }
}

/// Gives ours back; an ephemeral one is dropped, a temporary one stays this process's. Without one, does nothing.
/// C: `ReplicationSlotRelease`.
pub fn release() {
    let Some(number) = MINE.get() else { return };
    let place = &places()[number];
    let data = place.copy().data;
    if data.persistency == Persistency::Ephemeral {
        // It has been created and no more: nobody can depend on it.
        if let Err(error) = drop_acquired() {
            error.with_severity(Severity::Warning).report();
        }
        MINE.set(None);
        return;
    }
    let held_xmin_only = {
        let mut body = place.body.lock();
        let held = !body.data.xmin.is_valid() && body.effective_xmin.is_valid();
        if held {
            body.effective_xmin = Xid::INVALID;
        }
        if data.persistency == Persistency::Persistent {
            body.active_pid = 0;
        }
        held
    };
    if held_xmin_only {
        required::compute_xmin();
    }
    waiting::wake(number);
    MINE.set(None);
}

/// Drops this session's temporary slots. C: `ReplicationSlotCleanup`.
pub fn cleanup() {
    if !HAS_TEMPORARY.get() {
        return;
    }
    while let Some(number) = my_temporary() {
        if let Err(error) = drop_place(number) {
            error.with_severity(Severity::Warning).report();
            break;
        }
    }
    HAS_TEMPORARY.set(false);
}

fn my_temporary() -> Option<usize> {
    let _control = CONTROL.get().control.shared();
    let is_mine = |place: &Place| {
        let body = place.copy();
        body.active_pid == my_pid() && body.data.persistency == Persistency::Temporary
    };
    used().find(|(_, place)| is_mine(place)).map(|(number, _)| number)
}

/// After an error outside of any function's own handling, and at the end of the process: our slot is given back, temporary
/// ones go. Cheap if there are none. C: in `PostgresMain` and `WalSndErrorCleanup`; `ReplicationSlotShmemExit`.
pub fn error_cleanup() {
    release();
    cleanup();
}

/// Drops a slot that nobody uses. If another process does, waits until it does not, or with `nowait` gives up.
/// C: `ReplicationSlotDrop`.
///
/// # Errors
/// Those of [`acquire`]; of the files.
pub fn drop_slot(name: &str, nowait: bool) -> Result<()> {
    acquire(name, nowait)?;
    drop_acquired()
}

/// Drops ours. C: `ReplicationSlotDropAcquired`.
///
/// # Errors
/// Of the files, if it is a persistent one; it is then given back.
pub fn drop_acquired() -> Result<()> {
    let (number, _) = mine()?;
    MINE.set(None);
    drop_place(number)
}

/// C: `ReplicationSlotDropPtr`.
fn drop_place(number: usize) -> Result<()> {
    let place = &places()[number];
    let control = CONTROL.get();
    // Until the end: nobody may make one with this name while its old directory is being removed.
    let _allocation = control.allocation.exclusive();
    let data = place.copy().data;
    let name = data.name.as_str();
    if let Err(error) = disk::discard(name) {
        if data.persistency == Persistency::Persistent || error.severity >= Severity::Panic {
            place.body.lock().active_pid = 0;
            waiting::wake(number);
            return Err(error);
        }
        // One that goes with its session goes all the same, or it would keep WAL for nobody. The next start removes its directory.
        error.with_severity(Severity::Warning).report();
    }
    {
        let _control = control.control.exclusive();
        place.body.lock().active_pid = 0;
        place.in_use.store(false, Ordering::Release);
    }
    waiting::wake(number);
    required::compute_xmin();
    required::compute_lsn();
    disk::remove_discarded(name);
    Ok(())
}

/// Ours differs from its file now: the next checkpoint writes it. C: `ReplicationSlotMarkDirty`.
pub fn mark_dirty() {
    if let Ok((_, place)) = mine() {
        let mut body = place.body.lock();
        body.just_dirtied = true;
        body.dirty = true;
    }
}

/// Writes ours now. C: `ReplicationSlotSave`.
///
/// # Errors
/// Of the file.
pub fn save() -> Result<()> {
    let (_, place) = mine()?;
    disk::save(place, &disk::path_of(place.copy().data.name.as_str()))
}

/// Makes ours persistent, on disk too. C: `ReplicationSlotPersist`.
///
/// # Errors
/// Of the file.
pub fn persist() -> Result<()> {
    mine()?.1.body.lock().data.persistency = Persistency::Persistent;
    mark_dirty();
    save()
}

/// The standby that uses our slot has WAL up to `lsn` on disk. Nothing is written now: after a crash the slot may keep more than
/// is needed. C: `PhysicalConfirmReceivedLocation`.
pub fn confirm_received(lsn: Lsn) {
    if set_restart_lsn(lsn) {
        required::compute_lsn();
    }
}

/// Sets where ours keeps WAL from, and says whether that is a change. The minimum over all slots is the caller's business.
pub fn set_restart_lsn(lsn: Lsn) -> bool {
    let Ok((_, place)) = mine() else { return false };
    let changed = {
        let mut body = place.body.lock();
        std::mem::replace(&mut body.data.restart_lsn, lsn) != lsn
    };
    if changed {
        mark_dirty();
    }
    changed
}

/// The standby that uses our slot may look at rows that these transactions see. They replace this process's own xmin.
/// C: `PhysicalReplicationSlotNewXmin`.
pub fn confirm_xmins(xmin: Xid, catalog_xmin: Xid) {
    let Ok((_, place)) = mine() else { return };
    // Not back in time, unless one of them is none at all: then it is a standby that has just come.
    let moves = |old: Xid, new: Xid| !old.is_normal() || !new.is_normal() || old.precedes(new);
    let changed = {
        let mut body = place.body.lock();
        let mut changed = false;
        if moves(body.data.xmin, xmin) {
            (body.data.xmin, body.effective_xmin) = (xmin, xmin);
            changed = true;
        }
        if moves(body.data.catalog_xmin, catalog_xmin) {
            (body.data.catalog_xmin, body.effective_catalog_xmin) = (catalog_xmin, catalog_xmin);
            changed = true;
        }
        changed
    };
    if changed {
        mark_dirty();
        required::compute_xmin();
    }
    // Only now: in between, nobody would hold the rows.
    if let Some(proc) = shmem::proc::try_my_proc() {
        proc.xmin.store(0, Ordering::Release);
    }
}

/// Moves ours on to `to`, but never past `end`, where WAL is known to end. Returns where it is then.
/// C: `pg_replication_slot_advance`.
///
/// # Errors
/// 55000 if it never kept WAL, or does not any more, or for a target before its position.
pub fn advance(to: Lsn, end: Lsn) -> Result<Lsn> {
    let to = to.min(end);
    let data = mine()?.1.copy().data;
    if data.restart_lsn == Lsn::INVALID {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "replication slot \"{}\" cannot be advanced", data.name
        )
        .detail("This slot has never previously reserved WAL, or it has been invalidated."));
    }
    if to < data.restart_lsn {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cannot advance replication slot to {to}, minimum is {}", data.restart_lsn
        ));
    }
    if to > data.restart_lsn {
        set_restart_lsn(to);
    }
    required::compute_xmin();
    required::compute_lsn();
    Ok(to)
}

/// Makes a slot that keeps what another one keeps, on disk too, and acquires it. C: `copy_replication_slot`.
///
/// # Errors
/// Those of [`create`]; 42704 if there is no such slot, 55000 if it keeps no WAL, 0A000 if it is a logical one; XX000 if it has changed
/// meanwhile such that the copy would not keep the same.
pub fn copy(source: &str, name: &str, temporary: Option<bool>) -> Result<()> {
    let code = SqlState::FEATURE_NOT_SUPPORTED;
    let Some(found) = super::read(source) else {
        return Err(error!(SqlState::UNDEFINED_OBJECT, "replication slot \"{source}\" does not exist"));
    };
    if found.database.is_valid() {
        return Err(error!(
            code,
            "cannot copy logical replication slot \"{source}\" as a physical replication slot"
        ));
    }
    if found.restart_lsn == Lsn::INVALID {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cannot copy a replication slot that doesn't reserve WAL"
        ));
    }
    let temporary = temporary.unwrap_or(found.persistency == Persistency::Temporary);
    create(name, if temporary { Persistency::Temporary } else { Persistency::Persistent })?;
    // Where the other was is kept from now on; where it is now may be later, but the other alone keeps that.
    set_restart_lsn(found.restart_lsn);
    required::compute_lsn();
    take_over(source, found.restart_lsn)?;
    mark_dirty();
    required::compute_xmin();
    required::compute_lsn();
    save()
}

/// Ours gets what the slot named `source` keeps now.
fn take_over(source: &str, was_at: Lsn) -> Result<()> {
    let now = {
        let _control = CONTROL.get().control.shared();
        find(source).map(|number| places()[number].copy())
    };
    // Gone, made anew, invalidated: in none of these cases is its WAL there for sure.
    let same = |body: &Body| body.data.restart_lsn >= was_at && !body.data.database.is_valid();
    let Some(now) = now.filter(same) else {
        return Err(internal(&format!("could not copy replication slot \"{source}\""))
            .detail("The source replication slot was modified incompatibly during the copy operation."));
    };
    let mut body = mine()?.1.body.lock();
    (body.effective_xmin, body.effective_catalog_xmin) = (now.effective_xmin, now.effective_catalog_xmin);
    (body.data.xmin, body.data.catalog_xmin) = (now.data.xmin, now.data.catalog_xmin);
    body.data.restart_lsn = now.data.restart_lsn;
    Ok(())
}
