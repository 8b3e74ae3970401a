//! Small caches of pages over logs indexed by an ever growing number ("simple LRU").
//!
//! A log is a directory of files of 32 pages, named by their number in hexadecimal: `pg_xact/0000`. A few of
//! its pages are in shared memory at a time. The control lock of a log protects its slots and what is in
//! their pages; during a read or write of a file it is given up and a lock of the slot is held instead.
//!
//! A page is an array of atomic words, so that all of this needs no `unsafe`; whoever looks at one holds the
//! control lock, so the atomics themselves order nothing.
//!
//! - **T1** A slot's page is looked at or changed only under the control lock, in state `Valid` or (looked at,
//!   and changed where the caller allows it) `Writing`.
//! - **T2** In state `Reading` or `Writing`, the process that does it holds the slot's I/O lock exclusively. Who
//!   finds one of these states and the lock free knows that the I/O failed.
//! - **T3** A page is written only after WAL is flushed up to the newest LSN noted for it.
//! - **T4** A file that was written is either synced by its writer or noted in `unsynced` before the slot's
//!   state says that the write is over. So a checkpoint that has seen all slots idle knows all files.
//! - **T5** The newest page (`latest_page`) is never evicted.
//!
//! C counterpart: access/transam/slru.c.

mod io;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use common::Lsn;
use elog::{Result, ereport};
use shmem::{ExclusiveGuard, LwLock, Reservation, ShmSlice, ShmVar, Tranche, shm_struct};

/// Words of 4 bytes in a page.
pub(crate) const WORDS: usize = 2048;
/// Pages of a file. C: `SLRU_PAGES_PER_SEGMENT`.
pub(crate) const PAGES_PER_SEGMENT: u32 = 32;
/// Slots of a log at most. C: `CLOG_MAX_ALLOWED_BUFFERS`.
pub(crate) const MAX_SLOTS: usize = 128;
/// Files that can wait for the next checkpoint's fsync; further ones are synced at once.
const MAX_UNSYNCED: usize = 16;
/// `latest_page` before anything is known.
const NO_PAGE: u32 = u32::MAX;

shm_struct! {
    /// One page in memory, as 32-bit words in the machine's (little-endian) order.
    pub(crate) struct SlruPage {
        words: [AtomicU32; WORDS],
    }
}

impl SlruPage {
    fn new() -> SlruPage {
        SlruPage { words: [const { AtomicU32::new(0) }; WORDS] }
    }

    /// One word.
    #[inline]
    pub(crate) fn get(&self, word: usize) -> u32 {
        self.words[word].load(Relaxed)
    }

    /// Sets one word; the caller holds the control lock exclusively (T1).
    #[inline]
    pub(crate) fn set(&self, word: usize, value: u32) {
        self.words[word].store(value, Relaxed);
    }

    /// Zeroes the words from this one on.
    pub(crate) fn zero_from(&self, word: usize) {
        self.words[word..].iter().for_each(|w| w.store(0, Relaxed));
    }
}

shm_struct! {
    /// What is going on with a slot. C: `SlruPageStatus`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum SlotState { Empty, Reading, Valid, Writing }
}

shm_struct! {
    /// A place for a page.
    #[derive(Clone, Copy)]
    pub(crate) struct Slot {
        page: u32,
        state: SlotState,
        dirty: bool,
    }
}

shm_struct! {
    /// What the control lock protects. C: `SlruSharedData`.
    pub(crate) struct Control {
        slots: [Slot; MAX_SLOTS],
        /// When each slot was last used, in ticks of `clock`; touched under a shared lock too.
        used: [AtomicU32; MAX_SLOTS],
        clock: AtomicU32,
        latest_page: u32,
        /// Files written since they were last synced (T4).
        unsynced: [u32; MAX_UNSYNCED],
        unsynced_count: u32,
    }
}

impl Control {
    fn new() -> Control {
        Control {
            slots: [Slot { page: 0, state: SlotState::Empty, dirty: false }; MAX_SLOTS],
            used: [const { AtomicU32::new(0) }; MAX_SLOTS],
            clock: AtomicU32::new(0),
            latest_page: NO_PAGE,
            unsynced: [0; MAX_UNSYNCED],
            unsynced_count: 0,
        }
    }

    /// C: `SlruRecentlyUsed`.
    #[inline]
    fn touch(&self, slot: usize) {
        let now = self.clock.load(Relaxed);
        if self.used[slot].load(Relaxed) != now {
            let next = now.wrapping_add(1);
            self.clock.store(next, Relaxed);
            self.used[slot].store(next, Relaxed);
        }
    }

    #[inline]
    fn find(&self, page: u32, count: usize) -> Option<usize> {
        self.slots[..count].iter().position(|s| s.page == page && s.state != SlotState::Empty)
    }

    /// Remembers a file for the next sync; false if there is no room.
    fn note_unsynced(&mut self, segment: u32) -> bool {
        let count = self.unsynced_count as usize;
        if self.unsynced[..count].contains(&segment) {
            return true;
        }
        if count == MAX_UNSYNCED {
            return false;
        }
        self.unsynced[count] = segment;
        self.unsynced_count += 1;
        true
    }
}

/// The control lock, held exclusively.
pub(crate) type Guard = ExclusiveGuard<'static, Control>;

/// What an SLRU is like; the part that never changes.
pub(crate) struct Config {
    /// Directory below the data directory.
    pub(crate) dir: &'static str,
    /// Must its files survive a crash? Subtransactions need not.
    pub(crate) durable: bool,
    /// Places for LSNs per page; 0 if its changes need none. C: `lsn_groups_per_page`.
    pub(crate) lsns_per_page: usize,
    /// Whether all of page `a` is older than all of page `b`. C: `PagePrecedes`.
    pub(crate) precedes: fn(a: u32, b: u32) -> bool,
    pub(crate) control_tranche: Tranche,
    pub(crate) io_tranche: Tranche,
}

/// One log. Declared as a `static` by the module that gives its pages a meaning.
pub(crate) struct Slru {
    config: Config,
    control: ShmVar<LwLock<Control>>,
    pages: ShmSlice<SlruPage>,
    io: ShmSlice<LwLock<()>>,
    lsns: ShmSlice<AtomicU64>,
}

/// What a scan of the files wants to be done.
enum Visit {
    Next,
    Stop,
}

impl Slru {
    /// The handle; names as in `pg_shmem_allocations`.
    pub(crate) const fn new(name: &'static str, config: Config) -> Slru {
        Slru {
            config,
            control: ShmVar::new(name),
            pages: ShmSlice::new(name),
            io: ShmSlice::new(name),
            lsns: ShmSlice::new(name),
        }
    }

    /// Reserves `slots` places. C: `SimpleLruShmemSize`, `SimpleLruInit`.
    pub(crate) fn reserve(&'static self, r: &mut Reservation, slots: usize) {
        let slots = slots.min(MAX_SLOTS);
        let (control, io) = (self.config.control_tranche, self.config.io_tranche);
        r.var(&self.control, move || LwLock::new(control, Control::new()));
        r.slice(&self.pages, slots, |_| SlruPage::new());
        r.slice(&self.io, slots, move |_| LwLock::new(io, ()));
        r.slice(&self.lsns, slots * self.config.lsns_per_page, |_| AtomicU64::new(0));
    }

    /// Takes the control lock alone.
    pub(crate) fn lock(&'static self) -> Guard {
        self.control.get().exclusive()
    }

    /// The page in a slot that this lock has just found.
    #[inline]
    pub(crate) fn page(&'static self, _lock: &Guard, slot: usize) -> &'static SlruPage {
        &self.pages.get()[slot]
    }

    /// The LSNs of a slot's page.
    #[inline]
    pub(crate) fn lsns(&'static self, slot: usize) -> &'static [AtomicU64] {
        let per_page = self.config.lsns_per_page;
        &self.lsns.get()[slot * per_page..(slot + 1) * per_page]
    }

    /// The page of this slot was changed.
    #[inline]
    pub(crate) fn set_dirty(&self, lock: &mut Guard, slot: usize) {
        lock.slots[slot].dirty = true;
    }

    fn slot_count(&self) -> usize {
        self.pages.get().len()
    }

    /// Makes a new page of zeros, dirty. C: `SimpleLruZeroPage`.
    pub(crate) fn zero_page(&'static self, lock: Guard, page: u32) -> Result<(Guard, usize)> {
        let (mut lock, mut slot) = self.select(lock, page)?;
        // The page is there already, and on its way from or to the file.
        while matches!(lock.slots[slot].state, SlotState::Reading | SlotState::Writing) {
            lock = self.wait_io(lock, slot);
            (lock, slot) = self.select(lock, page)?;
        }
        lock.slots[slot] = Slot { page, state: SlotState::Valid, dirty: true };
        lock.touch(slot);
        self.page(&lock, slot).zero_from(0);
        self.lsns(slot).iter().for_each(|lsn| lsn.store(0, Relaxed));
        lock.latest_page = page;
        Ok((lock, slot))
    }

    /// Finds a page or reads it. `write_ok`: the caller may change it while it is being written. `xid` is for
    /// messages. C: `SimpleLruReadPage`.
    ///
    /// # Errors
    /// "could not access status of transaction".
    pub(crate) fn read_page(
        &'static self,
        mut lock: Guard,
        page: u32,
        write_ok: bool,
        xid: u32,
    ) -> Result<(Guard, usize)> {
        loop {
            let slot;
            (lock, slot) = self.select(lock, page)?;
            let found = lock.slots[slot];
            if found.page == page && found.state != SlotState::Empty {
                let busy =
                    found.state == SlotState::Reading || found.state == SlotState::Writing && !write_ok;
                if busy {
                    lock = self.wait_io(lock, slot);
                    continue;
                }
                lock.touch(slot);
                return Ok((lock, slot));
            }
            lock.slots[slot] = Slot { page, state: SlotState::Reading, dirty: false };
            // Nobody else can hold it: the slot was not in I/O, and we hold the control lock (T2).
            let io_lock = self.io.get()[slot].exclusive();
            drop(lock);
            let outcome = io::read(self.config.dir, page, &self.pages.get()[slot]);
            self.lsns(slot).iter().for_each(|lsn| lsn.store(0, Relaxed));
            lock = self.lock();
            lock.slots[slot].state = if outcome.is_ok() { SlotState::Valid } else { SlotState::Empty };
            drop(io_lock);
            if let Err(failure) = outcome {
                drop(lock);
                return Err(failure.report(self.config.dir, page, xid));
            }
            lock.touch(slot);
            return Ok((lock, slot));
        }
    }

    /// Looks at a page, under a shared lock if it is in memory. C: `SimpleLruReadPage_ReadOnly`.
    ///
    /// # Errors
    /// As [`Slru::read_page`].
    #[inline]
    pub(crate) fn look<R>(
        &'static self,
        page: u32,
        xid: u32,
        look: impl FnOnce(&SlruPage, &[AtomicU64]) -> R,
    ) -> Result<R> {
        {
            let lock = self.control.get().shared();
            if let Some(slot) = lock.find(page, self.slot_count())
                && lock.slots[slot].state != SlotState::Reading
            {
                lock.touch(slot);
                return Ok(look(&self.pages.get()[slot], self.lsns(slot)));
            }
        }
        let (_lock, slot) = self.read_page(self.lock(), page, true, xid)?;
        Ok(look(&self.pages.get()[slot], self.lsns(slot)))
    }

    /// Writes a slot's page now, unless it is clean. C: `SimpleLruWritePage`.
    pub(crate) fn write_page(&'static self, lock: Guard, slot: usize) -> Result<Guard> {
        self.write_slot(lock, slot)
    }

    /// C: `SlruInternalWritePage`.
    fn write_slot(&'static self, mut lock: Guard, slot: usize) -> Result<Guard> {
        let page = lock.slots[slot].page;
        while lock.slots[slot].state == SlotState::Writing && lock.slots[slot].page == page {
            lock = self.wait_io(lock, slot);
        }
        let found = lock.slots[slot];
        if !found.dirty || found.state != SlotState::Valid || found.page != page {
            return Ok(lock);
        }
        lock.slots[slot] = Slot { page, state: SlotState::Writing, dirty: false };
        let io_lock = self.io.get()[slot].exclusive();
        drop(lock);
        self.flush_wal_for(slot);
        let outcome = io::write(self.config.dir, page, &self.pages.get()[slot]);
        lock = self.lock();
        let mut must_sync = false;
        if outcome.is_ok() {
            must_sync = self.config.durable && !lock.note_unsynced(page / PAGES_PER_SEGMENT);
        } else {
            lock.slots[slot].dirty = true;
        }
        lock.slots[slot].state = SlotState::Valid;
        if must_sync {
            // No room to leave it to the checkpoint (T4). Rare: many files at once only after mass updates.
            io::sync(self.config.dir, page / PAGES_PER_SEGMENT)?;
        }
        drop(io_lock);
        match outcome {
            Ok(()) => Ok(lock),
            Err(failure) => {
                drop(lock);
                Err(failure.report(self.config.dir, page, 0))
            }
        }
    }

    /// T3. The newest of all LSNs of the page: less exact than per group, and as good.
    fn flush_wal_for(&'static self, slot: usize) {
        let newest = self.lsns(slot).iter().map(|lsn| lsn.load(Relaxed)).max().unwrap_or(0);
        if newest != 0 {
            // A failing flush is a PANIC by itself.
            elog::start_critical_section();
            crate::log::flush(Lsn(newest));
            elog::end_critical_section();
        }
    }

    /// Waits until a slot's I/O is over, or has failed (T2). The slot may hold anything afterwards.
    /// C: `SimpleLruWaitIO`.
    fn wait_io(&'static self, lock: Guard, slot: usize) -> Guard {
        drop(lock);
        drop(self.io.get()[slot].shared());
        let mut lock = self.lock();
        let state = lock.slots[slot].state;
        if matches!(state, SlotState::Reading | SlotState::Writing)
            && self.io.get()[slot].try_shared().is_some()
        {
            if state == SlotState::Reading {
                lock.slots[slot].state = SlotState::Empty;
            } else {
                lock.slots[slot].state = SlotState::Valid;
                lock.slots[slot].dirty = true;
            }
        }
        lock
    }

    /// The slot that holds the page, or one that is free for it, having written out what was there.
    /// C: `SlruSelectLRUPage`.
    fn select(&'static self, mut lock: Guard, page: u32) -> Result<(Guard, usize)> {
        loop {
            let count = self.slot_count();
            if let Some(slot) = lock.find(page, count) {
                return Ok((lock, slot));
            }
            let now = lock.clock.load(Relaxed);
            lock.clock.store(now.wrapping_add(1), Relaxed);
            let (mut idle, mut busy) = (None::<(i32, usize)>, None::<(i32, usize)>);
            for slot in 0..count {
                let Slot { page: held, state, .. } = lock.slots[slot];
                if state == SlotState::Empty {
                    return Ok((lock, slot));
                }
                if held == lock.latest_page {
                    continue;
                }
                let age = now.wrapping_sub(lock.used[slot].load(Relaxed)) as i32;
                let age = age.max(0);
                let best = if state == SlotState::Valid { &mut idle } else { &mut busy };
                let older = |(best_age, best_slot): (i32, usize)| {
                    age > best_age
                        || age == best_age && (self.config.precedes)(held, lock.slots[best_slot].page)
                };
                if best.is_none_or(older) {
                    *best = Some((age, slot));
                }
            }
            match (idle, busy) {
                (Some((_, slot)), _) if !lock.slots[slot].dirty => return Ok((lock, slot)),
                (Some((_, slot)), _) => lock = self.write_slot(lock, slot)?,
                (None, Some((_, slot))) => lock = self.wait_io(lock, slot),
                // Two slots at least, and only one page is the latest.
                (None, None) => unreachable!("an SLRU without slots"),
            }
        }
    }

    /// What the next page after this one is called until [`Slru::zero_page`] says otherwise. At start.
    pub(crate) fn set_latest_page(&'static self, page: u32) {
        self.lock().latest_page = page;
    }

    /// Writes all dirty pages; syncs what was written if `sync`. C: `SimpleLruWriteAll`, `ProcessSyncRequests`.
    pub(crate) fn write_all(&'static self, sync: bool) -> Result<()> {
        let mut lock = self.lock();
        for slot in 0..self.slot_count() {
            if lock.slots[slot].state != SlotState::Empty {
                lock = self.write_slot(lock, slot)?;
            }
        }
        if !sync || !self.config.durable || lock.unsynced_count == 0 {
            return Ok(());
        }
        let (files, count) = (lock.unsynced, lock.unsynced_count as usize);
        lock.unsynced_count = 0;
        drop(lock);
        for (done, segment) in files[..count].iter().enumerate() {
            if let Err(failure) = io::sync(self.config.dir, *segment) {
                // With data_sync_retry this is only an ERROR: the next checkpoint must try again.
                let mut lock = self.lock();
                for segment in &files[done..count] {
                    lock.note_unsynced(*segment);
                }
                return Err(failure);
            }
        }
        io::sync_dir(self.config.dir)
    }

    /// Removes the files all of whose pages are older than `cutoff`. C: `SimpleLruTruncate`.
    pub(crate) fn truncate(&'static self, cutoff: u32) -> Result<()> {
        let precedes = self.config.precedes;
        let cutoff = cutoff - cutoff % PAGES_PER_SEGMENT;
        let mut lock = self.lock();
        'again: loop {
            if lock.latest_page != NO_PAGE && precedes(lock.latest_page, cutoff) {
                drop(lock);
                ereport!(Log, "could not truncate directory \"{}\": apparent wraparound", self.config.dir);
                return Ok(());
            }
            for slot in 0..self.slot_count() {
                let Slot { page, state, dirty } = lock.slots[slot];
                if state == SlotState::Empty || !precedes(page, cutoff) {
                    continue;
                }
                if state == SlotState::Valid && !dirty {
                    lock.slots[slot].state = SlotState::Empty;
                    continue;
                }
                // Being read or written, or dirty: C writes it, wasteful but simple; so do we.
                lock = if state == SlotState::Valid {
                    self.write_slot(lock, slot)?
                } else {
                    self.wait_io(lock, slot)
                };
                continue 'again;
            }
            break;
        }
        drop(lock);
        let mut doomed = Vec::new();
        self.scan(|segment| {
            if self.may_delete(segment, cutoff) {
                doomed.push(segment);
            }
            Visit::Next
        })?;
        doomed.into_iter().try_for_each(|segment| self.delete_segment(segment))
    }

    /// C: `SlruMayDeleteSegment`.
    fn may_delete(&self, segment: u32, cutoff: u32) -> bool {
        let first = segment * PAGES_PER_SEGMENT;
        (self.config.precedes)(first, cutoff) && (self.config.precedes)(first + PAGES_PER_SEGMENT - 1, cutoff)
    }

    /// Whether a truncation to this page would remove a file. C: `SlruScanDirectory(SlruScanDirCbReportPresence)`.
    pub(crate) fn has_files_before(&'static self, cutoff: u32) -> Result<bool> {
        let cutoff = cutoff - cutoff % PAGES_PER_SEGMENT;
        let mut found = false;
        self.scan(|segment| {
            found = self.may_delete(segment, cutoff);
            if found { Visit::Stop } else { Visit::Next }
        })?;
        Ok(found)
    }

    /// The first page of the oldest file, by `precedes`. C: `SlruScanDirectory(SlruScanDirCbFindEarliest)`.
    pub(crate) fn earliest_page(&'static self) -> Result<Option<u32>> {
        let mut earliest = None;
        self.scan(|segment| {
            let page = segment * PAGES_PER_SEGMENT;
            if earliest.is_none_or(|other| (self.config.precedes)(page, other)) {
                earliest = Some(page);
            }
            Visit::Next
        })?;
        Ok(earliest)
    }

    /// Removes one file and what memory holds of it. C: `SlruDeleteSegment`.
    pub(crate) fn delete_segment(&'static self, segment: u32) -> Result<()> {
        let mut lock = self.lock();
        'again: loop {
            for slot in 0..self.slot_count() {
                let Slot { page, state, dirty } = lock.slots[slot];
                if state == SlotState::Empty || page / PAGES_PER_SEGMENT != segment {
                    continue;
                }
                if state == SlotState::Valid && !dirty {
                    lock.slots[slot].state = SlotState::Empty;
                    continue;
                }
                lock = if state == SlotState::Valid {
                    self.write_slot(lock, slot)?
                } else {
                    self.wait_io(lock, slot)
                };
                continue 'again;
            }
            break;
        }
        let count = lock.unsynced_count as usize;
        if let Some(at) = lock.unsynced[..count].iter().position(|s| *s == segment) {
            lock.unsynced[at] = lock.unsynced[count - 1];
            lock.unsynced_count -= 1;
        }
        drop(lock);
        io::remove(self.config.dir, segment);
        Ok(())
    }

    /// Whether the page's file exists and is long enough. C: `SimpleLruDoesPhysicalPageExist`.
    pub(crate) fn exists_on_disk(&'static self, page: u32) -> Result<bool> {
        io::exists(self.config.dir, page).map_err(|failure| failure.report(self.config.dir, page, 0))
    }

    /// Whether the page is in memory or on disk.
    pub(crate) fn exists(&'static self, page: u32) -> Result<bool> {
        let in_memory = self.control.get().shared().find(page, self.slot_count()).is_some();
        Ok(in_memory || self.exists_on_disk(page)?)
    }

    fn scan(&'static self, mut visit: impl FnMut(u32) -> Visit) -> Result<()> {
        for segment in io::segments(self.config.dir)? {
            if matches!(visit(segment), Visit::Stop) {
                break;
            }
        }
        Ok(())
    }
}

/// This process replays WAL: files that are gone read as zeros, since what recovery finds there will be overwritten or
/// removed. C: `InRecovery`.
pub(crate) fn in_redo() -> bool {
    storage::smgr::in_redo()
}

#[cfg(test)]
mod tests;
