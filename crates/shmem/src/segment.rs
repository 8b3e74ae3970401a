//! The segment: reserved piece by piece before it exists, then one mapping that all children inherit.
//!
//! Offsets appear nowhere outside this file. A reservation is a list of (handle, size, initialiser); making
//! the segment maps memory, runs the initialisers and fills the handles in. After a crash
//! [`Segment::reset`] does the same again at the same address.

use std::alloc::Layout;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use common::SqlState;
use elog::{Result, fatal};

use crate::ShmSafe;
use crate::sysv::Interlock;

/// Every piece starts on a cache line of its own, so that neighbours of different subsystems do not share one.
const PIECE_ALIGN: usize = 64;

/// A handle on one value in the segment, declared as a `static` by the crate that owns the value.
pub struct ShmVar<T: 'static> {
    name: &'static str,
    address: AtomicPtr<T>,
}

impl<T: ShmSafe> ShmVar<T> {
    /// A handle that points nowhere yet. The name is what `pg_shmem_allocations` shows.
    pub const fn new(name: &'static str) -> ShmVar<T> {
        ShmVar { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value.
    ///
    /// # Panics
    /// If this process has no segment, or the value was never reserved: a mistake in the wiring, not in data.
    #[inline]
    pub fn get(&self) -> &'static T {
        match self.try_get() {
            Some(value) => value,
            None => panic!("shared variable \"{}\" is not attached", self.name),
        }
    }

    /// The value, or `None` in a process without the segment (logger, stats collector, a program).
    #[inline]
    pub fn try_get(&self) -> Option<&'static T> {
        // SAFETY: non-null only between `attach` and `detach`; then it points at a T that an initialiser wrote
        // in the live mapping, and the mapping's address range stays reserved for the life of the process (S1).
        unsafe { self.address.load(Ordering::Acquire).as_ref() }
    }
}

/// A handle on a row of values in the segment whose number is known only at start.
pub struct ShmSlice<T: 'static> {
    name: &'static str,
    address: AtomicPtr<T>,
    len: AtomicUsize,
}

impl<T: ShmSafe> ShmSlice<T> {
    /// A handle that points nowhere yet.
    pub const fn new(name: &'static str) -> ShmSlice<T> {
        ShmSlice { name, address: AtomicPtr::new(ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// The values.
    ///
    /// # Panics
    /// As [`ShmVar::get`].
    #[inline]
    pub fn get(&self) -> &'static [T] {
        match self.try_get() {
            Some(values) => values,
            None => panic!("shared array \"{}\" is not attached", self.name),
        }
    }

    /// The values, or `None` in a process without the segment.
    #[inline]
    pub fn try_get(&self) -> Option<&'static [T]> {
        let address = self.address.load(Ordering::Acquire);
        if address.is_null() {
            return None;
        }
        // SAFETY: as in ShmVar::try_get; `len` was stored before `address` and each element was initialised.
        Some(unsafe { std::slice::from_raw_parts(address, self.len.load(Ordering::Relaxed)) })
    }
}

/// The part of a handle that does not depend on its type.
trait Handle: Sync {
    fn attach(&self, address: *mut u8, len: usize);
}

impl<T: ShmSafe> Handle for ShmVar<T> {
    fn attach(&self, address: *mut u8, _len: usize) {
        self.address.store(address.cast(), Ordering::Release);
    }
}

impl<T: ShmSafe> Handle for ShmSlice<T> {
    fn attach(&self, address: *mut u8, len: usize) {
        self.len.store(len, Ordering::Relaxed);
        self.address.store(address.cast(), Ordering::Release);
    }
}

/// One reserved piece: how large, how to fill it, whom to tell its address.
struct Piece {
    name: &'static str,
    layout: Layout,
    len: usize,
    initialise: Box<dyn Fn(*mut u8)>,
    handle: &'static dyn Handle,
}

/// What will be in the segment. C: the `...ShmemSize` and `...ShmemInit` pairs called from ipci.c.
#[derive(Default)]
pub struct Reservation {
    pieces: Vec<Piece>,
}

impl Reservation {
    /// Nothing yet.
    pub fn new() -> Reservation {
        Reservation::default()
    }

    /// Reserves one value. `init` makes it, now and again after each crash; fields that are neither atomic
    /// nor inside a lock must come out the same each time.
    pub fn var<T: ShmSafe>(
        &mut self,
        var: &'static ShmVar<T>,
        init: impl Fn() -> T + 'static,
    ) -> &mut Reservation {
        self.pieces.push(Piece {
            name: var.name,
            layout: Layout::new::<T>(),
            len: 1,
            // SAFETY: `build` passes an address inside the mapping with this piece's size and alignment.
            initialise: Box::new(move |at| unsafe { at.cast::<T>().write(init()) }),
            handle: var,
        });
        self
    }

    /// Reserves `len` values side by side; `init` makes the one with the given index.
    pub fn slice<T: ShmSafe>(
        &mut self,
        slice: &'static ShmSlice<T>,
        len: usize,
        init: impl Fn(usize) -> T + 'static,
    ) -> &mut Reservation {
        // Counts come from range-checked settings; an overflow of the address space is not reachable.
        let Ok(layout) = Layout::array::<T>(len) else {
            panic!("shared array \"{}\" of {len} elements is too large", slice.name)
        };
        self.pieces.push(Piece {
            name: slice.name,
            layout,
            len,
            initialise: Box::new(move |at| {
                for i in 0..len {
                    // SAFETY: `build` passes an address with room for `len` elements, aligned for T.
                    unsafe { at.cast::<T>().add(i).write(init(i)) }
                }
            }),
            handle: slice,
        });
        self
    }

    /// Bytes that the segment will take, rounded up to pages. C: `CalculateShmemSize`; what the setting
    /// `shared_memory_size` reports.
    pub fn size(&self) -> usize {
        let end = self.placed().last().map_or(0, |(offset, piece)| offset + piece.layout.size());
        end.max(1).next_multiple_of(page_size())
    }

    fn placed(&self) -> impl Iterator<Item = (usize, &Piece)> {
        self.pieces.iter().scan(0usize, |next, piece| {
            let offset = next.next_multiple_of(piece.layout.align().max(PIECE_ALIGN));
            *next = offset + piece.layout.size();
            Some((offset, piece))
        })
    }
}

/// A row of `pg_shmem_allocations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Name of the handle.
    pub name: &'static str,
    /// Where it starts.
    pub offset: usize,
    /// Bytes asked for.
    pub size: usize,
    /// Bytes up to the next piece.
    pub allocated_size: usize,
}

/// What a child needs to know of the mapping it inherited: it has no [`Segment`] of its own.
struct Attached {
    address: usize,
    size: usize,
    pieces: Vec<(Allocation, &'static dyn Handle)>,
}

/// The process's one mapping. A mutex only because a static needs one: processes have one thread.
static ATTACHED: Mutex<Option<Attached>> = Mutex::new(None);

/// What is in the segment, in order; empty without one. C: `pg_get_shmem_allocations`.
pub fn allocations() -> Vec<Allocation> {
    let attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
    attached.as_ref().map(|a| a.pieces.iter().map(|(row, _)| *row).collect()).unwrap_or_default()
}

/// The postmaster's handle on the segment: the only one who may reset or destroy it.
///
/// Dropping it destroys the segment, but only in the process that made it: a child inherits a copy of this
/// value through fork and must not take the cluster's memory away when it ends.
pub struct Segment {
    reservation: Reservation,
    address: *mut u8,
    size: usize,
    creator_pid: i32,
    data_dir: Option<PathBuf>,
    interlock: Option<Interlock>,
}

impl Segment {
    /// Takes the interlock of this data directory, maps the memory and initialises every piece.
    /// Fails (FATAL) if a process of an earlier postmaster still lives. C: `CreateSharedMemoryAndSemaphores`.
    pub fn create(reservation: Reservation, data_dir: &Path) -> Result<Segment> {
        let interlock = Interlock::take(data_dir, reservation.size())?;
        let mut segment = Segment::map(reservation)?;
        segment.data_dir = Some(data_dir.to_path_buf());
        segment.interlock = Some(interlock);
        segment.build();
        Ok(segment)
    }

    /// A segment without an interlock: for tests, and for programs that use the same code alone.
    pub fn create_private(reservation: Reservation) -> Result<Segment> {
        let segment = Segment::map(reservation)?;
        segment.build();
        Ok(segment)
    }

    /// After a crash: fresh zeroed memory at the same address, every initialiser run again, the interlock
    /// remade. What `ShmVar::get` returned earlier stays valid and now shows the new values.
    ///
    /// To be called only when no child is left that uses the segment: one that did would keep the old memory
    /// to itself and notice nothing. C: the second half of `PostmasterStateMachine`'s reinitialisation.
    pub fn reset(&mut self) -> Result<()> {
        if let Some(old) = self.interlock.take() {
            old.destroy();
        }
        if let Some(data_dir) = &self.data_dir {
            self.interlock = Some(Interlock::take(data_dir, self.size)?);
        }
        // SAFETY: replaces exactly the mapping this Segment owns. References into it stay valid: the range is
        // mapped before and after, and `build` writes every piece before anyone looks.
        unsafe {
            map_anonymous(self.address, self.size, libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE)?
        };
        self.build();
        Ok(())
    }

    /// Line 7 of postmaster.pid: the interlock's key and identifier. `None` for a private segment.
    pub fn interlock_ids(&self) -> Option<(u64, u64)> {
        self.interlock.as_ref().map(|interlock| (interlock.key(), interlock.id()))
    }

    /// Bytes mapped.
    pub fn size(&self) -> usize {
        self.size
    }

    /// At a clean exit of the postmaster: removes the interlock and unmaps. C: the on_shmem_exit callbacks
    /// `AnonymousShmemDetach` and `IpcMemoryDelete`.
    pub fn destroy(self) {
        drop(self);
    }

    /// In the logger and the stats collector, which outlive a crash and so must not hold the segment: gives
    /// up the mapping and the interlock. C: `PGSharedMemoryDetach`.
    ///
    /// The addresses stay taken by an inaccessible mapping: a stray use of an old reference faults and never
    /// reads something else that happened to be mapped there.
    pub fn detach_in_child() {
        crate::proc::forget();
        let mut attached = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attached) = attached.take() {
            for (_, handle) in &attached.pieces {
                handle.attach(ptr::null_mut(), 0);
            }
            // SAFETY: exactly the range this process inherited as the segment; see above for old references.
            // Failing leaves the old mapping in place, which is harmless.
            let _ = unsafe {
                map_anonymous(attached.address as *mut u8, attached.size, libc::MAP_PRIVATE, libc::PROT_NONE)
            };
        }
        crate::sysv::detach();
    }

    fn map(reservation: Reservation) -> Result<Segment> {
        let size = reservation.size();
        // SAFETY: a null hint: the kernel picks a free range.
        let address = unsafe {
            map_anonymous(ptr::null_mut(), size, libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE)?
        };
        let creator_pid = std::process::id() as i32;
        Ok(Segment { reservation, address, size, creator_pid, data_dir: None, interlock: None })
    }

    /// Runs the initialisers, then lets the handles point there. S2: nobody sees a piece before it is whole.
    fn build(&self) {
        let mut pieces = Vec::with_capacity(self.reservation.pieces.len());
        let mut ends = self.reservation.placed().skip(1).map(|(offset, _)| offset);
        for (offset, piece) in self.reservation.placed() {
            let end = ends.next().unwrap_or(self.size);
            // SAFETY: `size()` covers every placed piece, so the sum stays inside the mapping.
            let at = unsafe { self.address.add(offset) };
            debug_assert!(
                at.align_offset(piece.layout.align()) == 0 && offset + piece.layout.size() <= self.size
            );
            (piece.initialise)(at);
            let (size, allocated_size) = (piece.layout.size(), end - offset);
            pieces.push((Allocation { name: piece.name, offset, size, allocated_size }, piece.handle));
        }
        for ((row, handle), piece) in pieces.iter().zip(&self.reservation.pieces) {
            // SAFETY: as above.
            handle.attach(unsafe { self.address.add(row.offset) }, piece.len);
        }
        *ATTACHED.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Attached { address: self.address as usize, size: self.size, pieces });
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.creator_pid != std::process::id() as i32 {
            return;
        }
        crate::proc::forget();
        for piece in &self.reservation.pieces {
            piece.handle.attach(ptr::null_mut(), 0);
        }
        *ATTACHED.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // SAFETY: the range this Segment mapped. As in `detach_in_child`, it stays reserved so that a reference
        // kept too long faults.
        let _ = unsafe { map_anonymous(self.address, self.size, libc::MAP_PRIVATE, libc::PROT_NONE) };
        if let Some(interlock) = self.interlock.take() {
            interlock.destroy();
        }
    }
}

/// Maps fresh zeroed memory, at `at` (replacing what is there) unless that is null.
///
/// # Safety
/// A non-null `at` must be the start of a range of `size` bytes that the caller owns.
unsafe fn map_anonymous(at: *mut u8, size: usize, sharing: i32, protection: i32) -> Result<*mut u8> {
    let fixed = if at.is_null() { 0 } else { libc::MAP_FIXED };
    let reserve = if protection == libc::PROT_NONE { libc::MAP_NORESERVE } else { 0 };
    let flags = sharing | libc::MAP_ANONYMOUS | fixed | reserve;
    // SAFETY: MAP_FIXED only replaces a range that the caller vouches for; otherwise nothing existing changes.
    let address = unsafe { libc::mmap(at.cast::<c_void>(), size, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        let os_error = std::io::Error::last_os_error();
        let mut error = fatal!(
            SqlState::OUT_OF_MEMORY,
            "could not map anonymous shared memory: {}",
            crate::errno_text(&os_error)
        );
        if os_error.raw_os_error() == Some(libc::ENOMEM) {
            error = error.hint(format!(
                "This error usually means that PostgreSQL's request for a shared memory segment exceeded \
                 available memory, swap space, or huge pages. To reduce the request size (currently {size} \
                 bytes), reduce PostgreSQL's shared memory usage, perhaps by reducing shared_buffers or \
                 max_connections."
            ));
        }
        return Err(error);
    }
    Ok(address.cast())
}

fn page_size() -> usize {
    // SAFETY: a query without arguments in memory.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests;
