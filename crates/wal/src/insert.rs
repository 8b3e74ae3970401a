//! Getting a record into the WAL buffers.
//!
//! 1. Assemble the bytes with what this process believes about full-page images.
//! 2. Take one of eight insertion locks: it says "there is a copy going on"; nobody else needs to wait.
//! 3. If a checkpoint moved the redo pointer meanwhile, a page may now need an image: let go and do 1 again.
//! 4. Reserve the space: under a spinlock, one addition to the position in usable bytes (W2: it only grows).
//! 5. Copy, making buffers ready for new pages on the way if nobody has done so, and let go.
//!
//! Whoever wants to write the buffers out first waits for the copies that reserved space before: see
//! [`wait_for_insertions`].
//!
//! C counterpart: `XLogInsertRecord` and what it calls, xlog.c.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use activity::counters;
use common::{Lsn, SqlState};
use elog::pg_error;

use crate::assemble::{self, Assembled, ImagePolicy};
use crate::compress::Method;
use crate::layout::{
    Geometry, PageHeader, SHORT_HEADER, XLOG_BLCKSZ, free_on_page, maxalign, page_flags, page_start,
};
use crate::shared::{BUSY, IDLE, INSERT_SLOTS, LOCAL, Positions, geometry, shared};
use crate::slots::{AllSlots, Slot};
use crate::{Record, RmgrId, buffers, write};

/// A segment ends early: the rest is not used. C: `XLOG_SWITCH`.
pub(crate) const XLOG_SWITCH: u8 = 0x40;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What this process believes now about full-page images. C: `GetFullPageWriteInfo`.
pub(crate) fn image_policy() -> ImagePolicy {
    LOCAL.with(|local| ImagePolicy {
        redo: Lsn(local.redo.get()),
        do_page_writes: local.do_page_writes.get(),
        compression: Method::configured(),
        origin: 0,
    })
}

/// C: `XLogInsert`.
pub(crate) fn insert(record: &Record<'_>) -> Lsn {
    if !crate::insert_allowed() {
        elog::abort(pg_error!(
            Panic,
            SqlState::INTERNAL_ERROR,
            "cannot make new WAL entries during recovery"
        ));
    }
    let xid = record.xid.unwrap_or_else(crate::shared::current_xid).0;
    SCRATCH.with_borrow_mut(|bytes| {
        loop {
            let policy = image_policy();
            let assembled = assemble::assemble(record, xid, policy, bytes);
            if let Some(end) = insert_assembled(record, bytes, assembled, policy) {
                return end;
            }
        }
    })
}

/// Inserts assembled bytes; `None` if images that were left out are needed after all. C: `XLogInsertRecord`.
fn insert_assembled(
    record: &Record<'_>,
    bytes: &mut [u8],
    assembled: Assembled,
    policy: ImagePolicy,
) -> Option<Lsn> {
    check_length(bytes.len());
    let body_crc = assemble::body_crc(bytes);
    if record.rmgr == RmgrId::Xlog as u8 && record.info & !crate::INFO_MASK == XLOG_SWITCH {
        return Some(insert_switch(record, bytes, body_crc));
    }
    let geometry = geometry();
    elog::start_critical_section();
    let slot = Slot::take();
    if images_are_missing(assembled, policy) {
        drop(slot);
        elog::end_critical_section();
        return None;
    }
    let reserved = reserve(geometry, maxalign(bytes.len() as u64));
    assemble::finish(bytes, body_crc, reserved.prev);
    copy(geometry, bytes, reserved.start, reserved.end);
    if !record.unimportant {
        slot.mark_important(reserved.start);
    }
    drop(slot);
    elog::end_critical_section();
    note_crossed_page(reserved.start, reserved.end);
    account(bytes.len(), assembled.images, reserved.start, reserved.end);
    Some(reserved.end)
}

fn check_length(len: usize) {
    if len > crate::layout::RECORD_MAX as usize {
        elog::abort(pg_error!(Panic, SqlState::INTERNAL_ERROR, "oversized WAL record").detail(format!(
            "WAL record would be {len} bytes (of maximum {} bytes).",
            crate::layout::RECORD_MAX
        )));
    }
}

/// Under an insertion lock, where redo pointer and page writes cannot change: brings this process's copies up to date
/// and tells whether a page that got no image needs one now.
fn images_are_missing(assembled: Assembled, before: ImagePolicy) -> bool {
    let shared = shared();
    let redo = shared.redo.load(Ordering::Relaxed);
    let do_page_writes =
        shared.full_page_writes.load(Ordering::Relaxed) || shared.running_backups.load(Ordering::Relaxed) > 0;
    LOCAL.with(|local| {
        debug_assert!(local.redo.get() <= redo, "the redo pointer moved back");
        local.redo.set(redo);
        local.do_page_writes.set(do_page_writes);
    });
    let oldest = assembled.oldest_unlogged_page;
    do_page_writes && (!before.do_page_writes || (oldest != Lsn::INVALID && oldest.0 <= redo))
}

/// Where a record will be.
struct Reserved {
    start: Lsn,
    end: Lsn,
    prev: Lsn,
}

/// The one step that all insertions take one after the other. C: `ReserveXLogInsertLocation`.
#[inline]
fn reserve(geometry: Geometry, size: u64) -> Reserved {
    let (start, end, previous);
    {
        let mut positions = shared().positions.lock();
        start = positions.next;
        end = start + size;
        previous = positions.previous;
        *positions = Positions { next: end, previous: start };
    }
    // W2: positions only grow, and a record links to one before it.
    debug_assert!(previous < start || start == 0);
    Reserved { start: geometry.start_of(start), end: geometry.end_of(end), prev: geometry.start_of(previous) }
}

/// C: `ReserveXLogSwitch`; `Err` with the position if the segment has just begun and nothing is to be done.
fn reserve_switch(geometry: Geometry, size: u64) -> Result<Reserved, Lsn> {
    let mut positions = shared().positions.lock();
    let start = positions.next;
    let at = geometry.end_of(start);
    if geometry.offset(at) == 0 {
        return Err(at);
    }
    let mut end = geometry.end_of(start + size);
    if geometry.offset(end) != 0 {
        end = geometry.lsn(geometry.segment(end) + 1, 0);
    }
    let prev = geometry.start_of(positions.previous);
    *positions = Positions { next: geometry.byte_pos(end), previous: start };
    Ok(Reserved { start: geometry.start_of(start), end, prev })
}

/// The record that ends a segment early takes all of its rest, so nobody may insert meanwhile.
fn insert_switch(record: &Record<'_>, bytes: &mut [u8], body_crc: u32) -> Lsn {
    let geometry = geometry();
    elog::start_critical_section();
    let slots = AllSlots::take();
    let reserved = match reserve_switch(geometry, maxalign(bytes.len() as u64)) {
        Ok(reserved) => reserved,
        Err(at) => {
            drop(slots);
            elog::end_critical_section();
            return at;
        }
    };
    assemble::finish(bytes, body_crc, reserved.prev);
    let after = copy_part(geometry, bytes, reserved.start);
    clear_rest(after, reserved.end);
    if !record.unimportant {
        slots.mark_important(reserved.start);
    }
    drop(slots);
    elog::end_critical_section();
    note_crossed_page(reserved.start, reserved.end);
    // The rest of the segment is worth nothing to anybody before it is on disk and can be archived.
    write::flush(reserved.end);
    let end = end_of_switch(geometry, reserved.start, bytes.len() as u64);
    account(bytes.len(), 0, reserved.start, end);
    end
}

/// End of the switch record proper, not of the segment: what the inserter gets to know.
fn end_of_switch(geometry: Geometry, start: Lsn, len: u64) -> Lsn {
    let end = start + len;
    if page_start(start) == page_start(end) {
        return end;
    }
    end + geometry.header_size(page_start(end)) as u64
}

/// Zeros from here to the end of the segment: even page headers, so that tools can tell that nothing is there.
fn clear_rest(from: Lsn, end: Lsn) {
    let mut at = Lsn(from.0 + free_on_page(from));
    while at < end {
        let page = page_for(at);
        buffers::write(page, 0, &[0; SHORT_HEADER]);
        at = at + XLOG_BLCKSZ as u64;
    }
}

/// Copies a record to where it was reserved. C: `CopyXLogRecordToWAL`.
#[inline]
fn copy(geometry: Geometry, bytes: &[u8], start: Lsn, end: Lsn) {
    let len = bytes.len() as u64;
    // The usual case: all on one page.
    if start.0 % XLOG_BLCKSZ as u64 + len <= XLOG_BLCKSZ as u64 {
        buffers::write(page_for(start), start.0 as usize % XLOG_BLCKSZ, bytes);
        let after = Lsn(maxalign(start.0 + len));
        debug_assert_eq!(after, end);
        return;
    }
    let after = Lsn(maxalign(copy_part(geometry, bytes, start).0));
    if after != end {
        elog::abort(pg_error!(
            Panic,
            SqlState::DATA_CORRUPTED,
            "space reserved for WAL record does not match what was written"
        ));
    }
}

/// Copies over as many pages as it takes; returns where it ended.
fn copy_part(geometry: Geometry, bytes: &[u8], start: Lsn) -> Lsn {
    let (mut at, mut rest) = (start, bytes);
    loop {
        let room = (XLOG_BLCKSZ - at.0 as usize % XLOG_BLCKSZ).min(rest.len());
        buffers::write(page_for(at), at.0 as usize % XLOG_BLCKSZ, &rest[..room]);
        at = at + room as u64;
        rest = &rest[room..];
        if rest.is_empty() {
            return at;
        }
        // The next page's header is there already; it must say that a record goes on here, and how much of it.
        let page = page_for(at);
        let header = geometry.header_size(at);
        let mut info = [0; 2];
        buffers::read(page, 2, &mut info);
        let info = u16::from_le_bytes(info) | page_flags::FIRST_IS_CONTRECORD;
        buffers::write(page, 2, &info.to_le_bytes());
        buffers::write(page, 16, &(rest.len() as u32).to_le_bytes());
        at = at + header as u64;
    }
}

/// The buffer that holds this position; makes it ready if nobody has yet. C: `GetXLogBuffer`.
#[inline]
fn page_for(lsn: Lsn) -> usize {
    let index = buffers::index_of(lsn);
    let end = page_start(lsn).0 + XLOG_BLCKSZ as u64;
    if buffers::ends()[index].load(Ordering::Acquire) != end {
        make_page_ready(lsn, index, end);
    }
    index
}

/// As [`page_for`], for whoever inserts under a slot in another file.
pub(crate) fn page_at(lsn: Lsn) -> usize {
    page_for(lsn)
}

#[cold]
fn make_page_ready(lsn: Lsn, index: usize, end: u64) {
    // Making room may mean waiting for writers who wait for us: tell them how far we are, so that they need not.
    let geometry = geometry();
    let header = geometry.header_size(lsn) as u64;
    let first = lsn.0 % XLOG_BLCKSZ as u64 == header;
    crate::slots::tell_progress(if first { Lsn(lsn.0 - header) } else { lsn });
    advance_buffers(Some(lsn));
    if buffers::ends()[index].load(Ordering::Acquire) != end {
        elog::abort(pg_error!(Panic, SqlState::INTERNAL_ERROR, "could not find WAL buffer for {lsn}"));
    }
}

/// Makes buffers ready up to and including the page that holds `upto`; with `None` as many as can be had without
/// writing anything. C: `AdvanceXLInsertBuffer`.
pub(crate) fn advance_buffers(upto: Option<Lsn>) {
    loop {
        let mapping = shared().mapping_lock.exclusive();
        let Err(old_end) = fill_ready(upto) else { return };
        // A page still holds WAL that is not on disk. Whoever writes must not meet us holding the lock.
        drop(mapping);
        write::make_room(old_end);
    }
}

/// Under the mapping lock: see [`advance_buffers`]. `Err`: WAL up to there must be written first.
fn fill_ready(upto: Option<Lsn>) -> Result<(), Lsn> {
    let (shared, geometry) = (shared(), geometry());
    let system_identifier = shared.system_identifier.load(Ordering::Relaxed);
    loop {
        let begin = Lsn(shared.initialized_upto.load(Ordering::Relaxed));
        if upto.is_some_and(|upto| upto < begin) {
            return Ok(());
        }
        let index = buffers::index_of(begin);
        let old_end = buffers::ends()[index].load(Ordering::Relaxed);
        if shared.written.load(Ordering::Acquire) < old_end {
            return if upto.is_none() { Ok(()) } else { Err(Lsn(old_end)) };
        }
        debug_assert!(begin.0.is_multiple_of(XLOG_BLCKSZ as u64), "buffers end within a page");
        let mut header = PageHeader::fresh(begin, crate::timeline(), system_identifier, geometry);
        if shared.running_backups.load(Ordering::Relaxed) == 0 {
            header.info |= page_flags::BKP_REMOVABLE;
        }
        let mut bytes = [0; crate::layout::LONG_HEADER];
        header.encode(&mut bytes);
        buffers::zero(index);
        buffers::write(index, 0, &bytes[..header.size()]);
        let end = begin.0 + XLOG_BLCKSZ as u64;
        buffers::ends()[index].store(end, Ordering::Release);
        shared.initialized_upto.store(end, Ordering::Release);
    }
}

/// Waits until every insertion that has reserved space before `upto` is finished, and returns how far all are:
/// at least `upto`, unless nobody has reserved that much. C: `WaitXLogInsertionsToFinish`.
pub(crate) fn wait_for_insertions(upto: Lsn) -> Lsn {
    let shared = shared();
    let next = shared.positions.lock().next;
    let reserved = geometry().end_of(next);
    let mut upto = upto;
    if upto > reserved {
        // A page with a wrong LSN asks for this: no reason to fail, that is up to the caller.
        elog::ereport!(
            Log,
            "request to flush past end of generated WAL; request {upto}, current position {reserved}"
        );
        upto = reserved;
    }
    let mut finished = reserved;
    for slot in &shared.slots {
        let mut busy_at = slot.busy_at.load(Ordering::Acquire);
        if busy_at != IDLE && busy_at < upto.0 {
            busy_at = crate::slots::wait_past(slot, upto);
        }
        if busy_at > BUSY && busy_at < finished.0 {
            finished = Lsn(busy_at);
        }
    }
    finished
}

/// After a page has been filled: somebody may write it now. C: the end of `XLogInsertRecord`.
fn note_crossed_page(start: Lsn, end: Lsn) {
    if page_start(start) != page_start(end) {
        shared().write_request.fetch_max(end.0, Ordering::Relaxed);
    }
}

fn account(len: usize, images: u32, start: Lsn, end: Lsn) {
    LOCAL.with(|local| {
        local.last_start.set(start);
        local.xact_last_end.set(end);
    });
    counters::wal(|wal| {
        counters::add(&wal.records, 1);
        counters::add(&wal.bytes, len as i64);
        counters::add(&wal.fpi, i64::from(images));
    });
}

/// The next record's place is here, now. C: `GetXLogInsertRecPtr`.
pub fn insert_lsn() -> Lsn {
    let next = shared().positions.lock().next;
    geometry().start_of(next)
}

/// End of the last record reserved: [`insert_lsn`], but before a page header and not behind it.
pub fn insert_end() -> Lsn {
    let next = shared().positions.lock().next;
    geometry().end_of(next)
}

/// The same as [`insert_lsn`].
pub fn insert_rec_ptr() -> Lsn {
    insert_lsn()
}

/// Start of the last record that was not marked unimportant; 0 if there was none since start.
/// C: `GetLastImportantRecPtr`.
pub fn last_important_lsn() -> Lsn {
    let last = shared().slots.iter().map(|slot| {
        let _held = slot.lock.exclusive();
        slot.last_important.load(Ordering::Relaxed)
    });
    Lsn(last.max().unwrap_or(0))
}

/// End of the last record this process has inserted since [`set_xact_last_rec_end`]: what a commit must flush.
/// C: `XactLastRecEnd`.
pub fn xact_last_rec_end() -> Lsn {
    LOCAL.with(|local| local.xact_last_end.get())
}

/// Sets [`xact_last_rec_end`]; 0 at the end of a transaction.
pub fn set_xact_last_rec_end(lsn: Lsn) {
    LOCAL.with(|local| local.xact_last_end.set(lsn));
}

/// Start of the last record this process has inserted. C: `ProcLastRecPtr`.
pub fn last_record_start() -> Lsn {
    LOCAL.with(|local| local.last_start.get())
}

const _: () = assert!(INSERT_SLOTS <= 64);
