//! What callers hold: a pin, and the right to read or to change the page.
//!
//! - B6  A `&Page` is only reachable through a guard that holds the content lock (or, for what never changes under
//!   a pin, through [`Pin::pinned_page`]); a `&mut Page` only through [`PageWrite::modify`] and its siblings,
//!   which mark the buffer dirty. What is changed outside a [`Critical`] section is a hint.
//! - B7  With a cleanup lock no other process has a pin: items may be moved.
//!
//! C counterpart: `LockBuffer`, `ReleaseBuffer`, `LockBufferForCleanup`.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use common::{BLCKSZ, BlockNumber, Lsn, SqlState};
use elog::{Result, error};
use page::Page;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use shmem::{ExclusiveGuard, Reservation, SharedGuard, ShmVar};
use wal::BlockTag;

use super::critical::Critical;
use super::desc::{self, NONE, bm, refcount};
use super::{dirty, io, private};

/// Keeps a page in its buffer until dropped. Cloning pins once more, without touching shared memory.
/// C: a pinned `Buffer`.
#[derive(Debug)]
pub struct Pin {
    buffer: u32,
    _this_process: PhantomData<*const ()>,
}

impl Pin {
    /// Takes over a pin that `private` has counted.
    #[inline]
    pub(crate) fn adopt(buffer: u32) -> Pin {
        Pin { buffer, _this_process: PhantomData }
    }

    /// Index of the buffer, from 0. C: `Buffer` - 1.
    #[inline]
    pub fn buffer_id(&self) -> u32 {
        self.buffer
    }

    /// Which page it is. C: `BufferGetTag`.
    #[inline]
    pub fn tag(&self) -> BlockTag {
        desc::desc(self.buffer).tag().for_wal()
    }

    /// The page's number within its fork. C: `BufferGetBlockNumber`.
    #[inline]
    pub fn block(&self) -> BlockNumber {
        desc::desc(self.buffer).tag().block
    }

    /// Whether its changes are logged. C: `BM_PERMANENT`.
    pub fn is_permanent(&self) -> bool {
        desc::desc(self.buffer).state.load(Ordering::Relaxed) & bm::PERMANENT != 0
    }

    /// Waits for the right to read. C: `LockBuffer(BUFFER_LOCK_SHARE)`.
    #[inline]
    pub fn shared(&self) -> PageRead<'_> {
        PageRead { buffer: self.buffer, _lock: desc::desc(self.buffer).content.shared(), _pin: PhantomData }
    }

    /// Waits for the right to change. C: `LockBuffer(BUFFER_LOCK_EXCLUSIVE)`.
    #[inline]
    pub fn exclusive(&self) -> PageWrite<'_> {
        PageWrite::new(self.buffer, desc::desc(self.buffer).content.exclusive(), false)
    }

    /// As [`Pin::exclusive`] if it can be had at once. C: `ConditionalLockBuffer`.
    pub fn try_exclusive(&self) -> Option<PageWrite<'_>> {
        let lock = desc::desc(self.buffer).content.try_exclusive()?;
        Some(PageWrite::new(self.buffer, lock, false))
    }

    /// As [`Pin::exclusive`], with the pin inside the guard: for callers that keep both together.
    pub fn into_exclusive(self) -> PageWrite<'static> {
        let lock = desc::desc(self.buffer).content.exclusive();
        let buffer = self.buffer;
        std::mem::forget(self); // the guard unpins
        PageWrite::new(buffer, lock, true)
    }

    /// As [`Pin::cleanup_lock`], with the pin inside the guard.
    ///
    /// # Errors
    /// As [`Pin::cleanup_lock`].
    pub fn into_cleanup(self) -> Result<PageWrite<'static>> {
        let lock = self.cleanup_lock()?.lock.take();
        let buffer = self.buffer;
        std::mem::forget(self); // the guard unpins
        Ok(PageWrite { buffer, lock, owns_pin: true, _pin: PhantomData })
    }

    /// The page without its content lock. Items that were seen under the lock stay where they are as long as the
    /// pin does, and their data does not change; their header's hint bits and `xmax` may change at any moment. So
    /// look at nothing else through this. C: `BufferGetPage` without a lock.
    #[inline]
    pub fn pinned_page(&self) -> &Page {
        // SAFETY: the frame is mapped and initialised. Moving items needs a cleanup lock (B7), which this pin
        // prevents; what may change meanwhile is named above, and is changed by whole aligned words.
        unsafe { io::page(self.buffer) }
    }

    /// A glance at the LSN without the content lock. C: `BufferGetLSNAtomic`.
    pub fn lsn(&self) -> Lsn {
        io::lsn_atomic(self.buffer)
    }

    /// An exclusive lock with nobody else having a pin, if that can be had at once. This process must have
    /// exactly one pin. C: `ConditionalLockBufferForCleanup`.
    pub fn try_cleanup_lock(&self) -> Option<PageWrite<'_>> {
        if private::count(self.buffer) != 1 {
            return None;
        }
        let write = self.try_exclusive()?;
        write.is_cleanup_ok().then_some(write)
    }

    /// Waits until it has an exclusive lock and nobody else has a pin (B7). C: `LockBufferForCleanup`.
    ///
    /// # Errors
    /// What [`miscinit::interrupt::check`] returns while waiting, and XX000 if another process waits already or this
    /// one has more than one pin.
    pub fn cleanup_lock(&self) -> Result<PageWrite<'_>> {
        let count = private::count(self.buffer);
        if count != 1 {
            return Err(error!(SqlState::INTERNAL_ERROR, "incorrect local pin count: {count}"));
        }
        let desc = desc::desc(self.buffer);
        loop {
            let write = self.exclusive();
            let state = desc.lock();
            if refcount(state) == 1 {
                desc.unlock(state);
                return Ok(write);
            }
            if state & bm::PIN_COUNT_WAITER != 0 {
                desc.unlock(state);
                return Err(error!(
                    SqlState::INTERNAL_ERROR,
                    "multiple backends attempting to wait for pincount 1"
                ));
            }
            desc.waiter.store(shmem::my_proc().pgprocno, Ordering::Relaxed);
            desc.unlock(state | bm::PIN_COUNT_WAITER);
            WAITS_FOR.set(self.buffer);
            drop(write);
            let waited = wait_for_pins(self.buffer);
            forget_cleanup_wait();
            waited?;
        }
    }
}

impl Clone for Pin {
    fn clone(&self) -> Pin {
        private::pin(self.buffer, false);
        Pin::adopt(self.buffer)
    }
}

impl Drop for Pin {
    #[inline]
    fn drop(&mut self) {
        private::unpin(self.buffer);
    }
}

thread_local! {
    /// The buffer whose other pins this process waits for. C: `PinCountWaitBuf`.
    static WAITS_FOR: Cell<u32> = const { Cell::new(NONE) };
    static PINS_IN_THE_WAY: Cell<Option<PinsInTheWay>> = const { Cell::new(None) };
}

/// The buffer whose other pins the startup process waits for. C: `startupBufferPinWaitBufId`.
static REPLAY_WAITS_FOR: ShmVar<AtomicU32> = ShmVar::new("Startup Buffer Pin Wait");

pub(crate) fn reserve(r: &mut Reservation) {
    r.var(&REPLAY_WAITS_FOR, || AtomicU32::new(NONE));
}

/// Waits until the function it is given says that no other process has the pin any more.
pub type PinsInTheWay = fn(is_over: &dyn Fn() -> bool) -> Result<()>;

/// For the startup process where sessions may come: how it waits for pins that are in replay's way.
/// C: `InHotStandby` in `LockBufferForCleanup`.
pub fn set_pins_in_the_way(wait: PinsInTheWay) {
    PINS_IN_THE_WAY.set(Some(wait));
}

/// Whether the startup process waits for pins of some page. C: `GetStartupBufferPinWaitBufId`.
pub fn replay_waits_for_pin() -> bool {
    REPLAY_WAITS_FOR.try_get().is_some_and(|buffer| buffer.load(Ordering::SeqCst) != NONE)
}

/// Whether this process has a pin that the startup process waits for. C: `HoldingBufferPinThatDelaysRecovery`.
pub fn delays_replay() -> bool {
    let buffer = REPLAY_WAITS_FOR.try_get().map_or(NONE, |buffer| buffer.load(Ordering::SeqCst));
    buffer != NONE && private::count(buffer) > 0
}

/// Sleeps until the flag is gone: the last of the others took it away.
fn wait_for_pins(buffer: u32) -> Result<()> {
    if let Some(wait) = PINS_IN_THE_WAY.get() {
        REPLAY_WAITS_FOR.get().store(buffer, Ordering::SeqCst);
        let waited = wait(&|| desc::desc(buffer).state.load(Ordering::Acquire) & bm::PIN_COUNT_WAITER == 0);
        REPLAY_WAITS_FOR.get().store(NONE, Ordering::SeqCst);
        return waited;
    }
    let mut events = Wake::LATCH_OR_DEATH;
    while desc::desc(buffer).state.load(Ordering::Acquire) & bm::PIN_COUNT_WAITER != 0 {
        miscinit::interrupt::check()?;
        if latch::wait(events, None, WaitEvent::BUFFER_PIN).postmaster_died() {
            // A session may go on without one; it must not spin here meanwhile.
            events = Wake::LATCH_SET;
        }
        latch::reset();
    }
    Ok(())
}

/// Takes the flag back if we set one. C: `UnlockBuffers`.
pub(crate) fn forget_cleanup_wait() {
    let buffer = WAITS_FOR.replace(NONE);
    if buffer == NONE {
        return;
    }
    let desc = desc::desc(buffer);
    let state = desc.lock();
    let ours = shmem::proc::my_proc_number() == Some(desc.waiter.load(Ordering::Relaxed));
    desc.unlock(if ours { state & !bm::PIN_COUNT_WAITER } else { state });
}

/// A page that nobody changes, apart from hint bits. C: a share-locked buffer.
pub struct PageRead<'a> {
    buffer: u32,
    _lock: SharedGuard<'static, ()>,
    _pin: PhantomData<&'a Pin>,
}

impl Deref for PageRead<'_> {
    type Target = Page;
    #[inline]
    fn deref(&self) -> &Page {
        // SAFETY: the content lock is held while `self` lives, the pin while `'a` does.
        unsafe { io::page(self.buffer) }
    }
}

impl PageRead<'_> {
    /// Which page it is.
    pub fn tag(&self) -> BlockTag {
        desc::desc(self.buffer).tag().for_wal()
    }

    /// Sets bits in the two bytes at `at` (an even offset) and marks the page dirty as a hint. The caller knows
    /// that what the bits say would also be found out without them, and that the commit they stand for is flushed.
    /// C: `SetHintBits` with `MarkBufferDirtyHint`.
    ///
    /// # Panics
    /// If `at` is odd or beyond the page.
    #[inline]
    pub fn set_hint_bits(&self, at: usize, mask: u16) {
        set_hint_bits(self.buffer, at, mask);
    }

    /// Writes an aligned word that may be lost and that several may write at a time, without marking the page dirty
    /// (the free space map's place to go on searching).
    pub(crate) fn scribble(&self, at: usize, word: u32) {
        assert!(at.is_multiple_of(4) && at + 4 <= BLCKSZ, "scribble at {at}");
        // SAFETY: inside the frame and aligned, since frames are; a word whose every value is harmless.
        let place =
            unsafe { AtomicU32::from_ptr(desc::page_ptr(self.buffer).cast::<u8>().add(at).cast::<u32>()) };
        place.store(word.to_le(), Ordering::Relaxed);
    }
}

#[inline]
fn set_hint_bits(buffer: u32, at: usize, mask: u16) {
    assert!(at.is_multiple_of(2) && at + 2 <= BLCKSZ, "hint bits at {at}");
    // SAFETY: inside the frame and aligned, since frames are. Only these two bytes change, by an atomic store; readers that
    // look at them meanwhile may see them before or after.
    let word = unsafe { AtomicU16::from_ptr(desc::page_ptr(buffer).cast::<u8>().add(at).cast::<u16>()) };
    let mask = mask.to_le();
    let before = word.load(Ordering::Relaxed);
    if before & mask != mask {
        // No `fetch_or`, which costs more than all else here: under the content lock, shared, nobody changes anything but
        // hints, so that what this store may undo is another process's hint, which may be lost.
        word.store(before | mask, Ordering::Relaxed);
        dirty::mark_hint(buffer, true);
    }
}

/// A page that only this process sees. C: an exclusively locked buffer.
pub struct PageWrite<'a> {
    buffer: u32,
    /// Dropped before the pin is.
    lock: Option<ExclusiveGuard<'static, ()>>,
    owns_pin: bool,
    _pin: PhantomData<&'a Pin>,
}

impl Deref for PageWrite<'_> {
    type Target = Page;
    #[inline]
    fn deref(&self) -> &Page {
        // SAFETY: the content lock is held while `self` lives, and so is the pin.
        unsafe { io::page(self.buffer) }
    }
}

impl<'a> PageWrite<'a> {
    #[inline]
    pub(crate) fn new(buffer: u32, lock: ExclusiveGuard<'static, ()>, owns_pin: bool) -> PageWrite<'a> {
        PageWrite { buffer, lock: Some(lock), owns_pin, _pin: PhantomData }
    }

    /// Index of the buffer, from 0.
    #[inline]
    pub fn buffer_id(&self) -> u32 {
        self.buffer
    }

    /// Which page it is, as a WAL record wants to know it.
    #[inline]
    pub fn tag(&self) -> BlockTag {
        desc::desc(self.buffer).tag().for_wal()
    }

    /// The page's number within its fork.
    #[inline]
    pub fn block(&self) -> BlockNumber {
        desc::desc(self.buffer).tag().block
    }

    /// One more pin on the page, which outlives the lock.
    pub fn pin(&self) -> Pin {
        private::pin(self.buffer, false);
        Pin::adopt(self.buffer)
    }

    /// Gives the lock back and keeps a pin.
    pub fn unlock(self) -> Pin {
        self.pin()
    }

    /// Access to the page within a critical section: marks the buffer dirty, and the section's end stamps the
    /// record's LSN on it. C: `MarkBufferDirty`, `PageSetLSN`.
    #[inline]
    pub fn modify(&mut self, critical: &mut Critical) -> &mut Page {
        critical.add(self.buffer);
        dirty::mark(self.buffer);
        self.page_mut()
    }

    /// As [`PageWrite::modify`] for a page whose LSN stays: the record that explains the change is another page's
    /// (clearing a bit of the visibility map).
    #[inline]
    pub fn modify_unstamped(&mut self, _critical: &mut Critical) -> &mut Page {
        dirty::mark(self.buffer);
        self.page_mut()
    }

    /// Access for a change that may be lost. With checksums an image of the page goes to WAL first, if it is
    /// the first such change since a checkpoint. C: `MarkBufferDirtyHint`.
    #[inline]
    pub fn modify_hint(&mut self) -> &mut Page {
        dirty::mark_hint(self.buffer, true);
        self.page_mut()
    }

    /// For a page without the standard layout (free space map), after the change.
    pub(crate) fn mark_hint_whole(&self) {
        dirty::mark_hint(self.buffer, false);
    }

    /// During replay: the page has been made anew from an image or by a redo function, outside a critical section.
    pub(crate) fn mark_dirty(&self) {
        dirty::mark(self.buffer);
    }

    /// Sets hint bits; see [`PageRead::set_hint_bits`].
    #[inline]
    pub fn set_hint_bits(&self, at: usize, mask: u16) {
        set_hint_bits(self.buffer, at, mask);
    }

    /// Whether nobody else has a pin. C: `IsBufferCleanupOK`.
    pub fn is_cleanup_ok(&self) -> bool {
        let desc = desc::desc(self.buffer);
        let state = desc.lock();
        desc.unlock(state);
        refcount(state) == 1 && private::count(self.buffer) == 1
    }

    #[inline]
    pub(crate) fn page_mut(&mut self) -> &mut Page {
        // SAFETY: the exclusive content lock keeps every other reader and writer that plays by B6 out, and
        // `&mut self` every other use of this guard.
        unsafe { &mut *desc::page_ptr(self.buffer) }
    }
}

impl Drop for PageWrite<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock = None;
        if self.owns_pin {
            private::unpin(self.buffer);
        }
    }
}

impl std::fmt::Debug for PageRead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageRead").field("tag", &self.tag()).field("page", &**self).finish()
    }
}

impl std::fmt::Debug for PageWrite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageWrite").field("tag", &self.tag()).field("page", &**self).finish()
    }
}
