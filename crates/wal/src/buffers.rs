//! The WAL buffers: a ring of pages in shared memory that many processes write to at once.
//!
//! A page belongs to the part of WAL that ends at its entry in [`ends`]; position and slot go together by
//! `page number % number of pages`. Who may touch which bytes:
//!
//! - **B1** A byte range is written only by the process that reserved it (positions only grow, so ranges of
//!   different records never overlap), or by the holder of the mapping lock while it makes a page ready.
//! - **B2** A page is made ready for another part of WAL only when the old part has been written to disk.
//! - **B3** `ends` is stored (release) after the page has been zeroed and has its header, and loaded (acquire) before
//!   the page is used.
//! - **B4** Bytes go to disk only when every insertion that reserved any of them is finished.
//!
//! This file holds the crate's only unsafe code: copies into and out of memory that other processes write beside.
//!
//! C counterpart: `XLogCtl->pages`, `XLogCtl->xlblocks`.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;

use common::Lsn;
use shmem::{Reservation, ShmSafe, ShmSlice};

use crate::layout::XLOG_BLCKSZ;

/// One page. Aligned for direct I/O.
#[repr(C, align(4096))]
struct Block(UnsafeCell<[u8; XLOG_BLCKSZ]>);

// SAFETY: processes access disjoint byte ranges (B1), ordered by the positions' spinlock, `ends` and the slots' words.
unsafe impl Sync for Block {}
// SAFETY: repr(C) bytes: no pointer, no Drop.
unsafe impl ShmSafe for Block {}

static PAGES: ShmSlice<Block> = ShmSlice::new("XLOG Buffers");
static ENDS: ShmSlice<AtomicU64> = ShmSlice::new("XLOG Buffer Ends");

/// Reserves `count` pages.
pub(crate) fn reserve(reservation: &mut Reservation, count: usize) {
    reservation.slice(&ENDS, count, |_| AtomicU64::new(0));
    reservation.slice(&PAGES, count, |_| Block(UnsafeCell::new([0; XLOG_BLCKSZ])));
}

/// For each page the end of the WAL it holds; 0 if it holds none. C: `xlblocks`.
#[inline]
pub(crate) fn ends() -> &'static [AtomicU64] {
    ENDS.get()
}

/// The page that this position goes to. C: `XLogRecPtrToBufIdx`.
#[inline]
pub(crate) fn index_of(lsn: Lsn) -> usize {
    ((lsn.0 / XLOG_BLCKSZ as u64) % ends().len() as u64) as usize
}

#[inline]
fn at(page: usize, offset: usize, len: usize) -> *mut u8 {
    assert!(offset <= XLOG_BLCKSZ && len <= XLOG_BLCKSZ - offset, "beyond a WAL page");
    // SAFETY: the sum stays within the page, as just checked.
    unsafe { PAGES.get()[page].0.get().cast::<u8>().add(offset) }
}

/// Copies bytes into a page: a range that the caller has reserved, or owns by the mapping lock (B1).
#[inline]
pub(crate) fn write(page: usize, offset: usize, bytes: &[u8]) {
    let to = at(page, offset, bytes.len());
    // SAFETY: `to` has room for `bytes` (checked by `at`); nobody else touches the range (B1); private memory and the
    // segment do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// Copies bytes out of a page.
pub(crate) fn read(page: usize, offset: usize, into: &mut [u8]) {
    let from = at(page, offset, into.len());
    // SAFETY: as in `write`, with the directions exchanged; the caller reads what is its own or finished (B4).
    unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
}

/// Fills a page with zeros, under the mapping lock (B2).
pub(crate) fn zero(page: usize) {
    // SAFETY: a whole page, owned by the caller under the mapping lock (B1, B2).
    unsafe { std::ptr::write_bytes(at(page, 0, XLOG_BLCKSZ), 0, XLOG_BLCKSZ) };
}

/// Lets `look` pass `count` pages from `first` on to a system call that writes them to a file.
pub(crate) fn with_pages<R>(first: usize, count: usize, look: impl FnOnce(&[u8]) -> R) -> R {
    let pages = &PAGES.get()[first..first + count];
    // SAFETY: the pages lie side by side in one slice. What is to be written is finished (B4); bytes behind that, at the
    // end of the last page, may change meanwhile, but only the kernel reads them, and they are written again later.
    let bytes = unsafe { std::slice::from_raw_parts(pages.as_ptr().cast::<u8>(), pages.len() * XLOG_BLCKSZ) };
    look(bytes)
}
