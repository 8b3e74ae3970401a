//! Getting the WAL buffers to disk.
//!
//! One process at a time writes (`write_lock`); the others that want the same wait for it and mostly find their
//! own request done as well: one fsync for a group of commits.
//!
//! - **W3** `written` and `flushed` only grow, and `flushed <= written`.
//! - **W4** Nothing is written before every insertion into it is finished.
//! - **W5** A failed write or sync of WAL is a PANIC: what is on disk is then unknown.
//!
//! C counterpart: `XLogWrite`, `XLogFlush`, `XLogBackgroundFlush`, `issue_xlog_fsync` of xlog.c.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use activity::counters;
use common::{BackendType, Lsn, SqlState};
use elog::{Result, errno_text, error, pg_error};
use file::File;
use shmem::ExclusiveGuard;
use shmem::wait_event::WaitEvent;

use crate::insert::{advance_buffers, wait_for_insertions};
use crate::layout::{SegNo, XLOG_BLCKSZ, page_start};
use crate::segment::{self, SyncMethod};
use crate::shared::{geometry, in_recovery, insert_allowed, request_checkpoint, shared};
use crate::{archive, buffers, recovery_point, recycle};

thread_local! {
    /// The segment this process writes to. C: `openLogFile`, `openLogSegNo`.
    static OPEN: RefCell<Option<OpenSegment>> = const { RefCell::new(None) };
    /// When the WAL writer flushed last.
    static LAST_FLUSH: Cell<Option<Instant>> = const { Cell::new(None) };
    /// This process has flushed what the listener has not been told of. C: `wake_wal_senders`.
    static FLUSHED_MORE: Cell<bool> = const { Cell::new(false) };
}

static FLUSH_LISTENER: OnceLock<fn()> = OnceLock::new();

/// Registers whom to tell that more WAL is durable: who sends it to standbys. It is called outside of the write lock by the
/// process that has flushed, which has locks of its own perhaps; it must be cheap and cannot fail. The first registration
/// counts. C: `WalSndWakeup`.
pub fn set_flush_listener(listener: fn()) {
    let _ = FLUSH_LISTENER.set(listener);
}

/// What this process has flushed since the last call is worth telling. C: `WalSndWakeupProcessRequests`.
fn tell_listener() {
    if FLUSHED_MORE.replace(false)
        && let Some(listener) = FLUSH_LISTENER.get()
    {
        listener();
    }
}

struct OpenSegment {
    number: SegNo,
    method: SyncMethod,
    file: File,
}

/// What is asked of [`write_out`]. C: `XLogwrtRqst`.
#[derive(Clone, Copy, Debug)]
struct Request {
    write: Lsn,
    flush: Lsn,
}

/// Holds the write lock. Its end is that of a round, for those who wait for one.
struct Writer(Option<ExclusiveGuard<'static, ()>>);

impl Writer {
    /// Waits for the lock. C: `LWLockAcquire(WALWriteLock, LW_EXCLUSIVE)`.
    fn take() -> Writer {
        Writer(Some(shared().write_lock.exclusive()))
    }

    /// Takes the lock if it is free, else waits until whoever has it is done: `None` then, since the caller's work may be done
    /// too. C: `LWLockAcquireOrWait`.
    fn take_or_wait() -> Option<Writer> {
        let shared = shared();
        let seen = shared.write_rounds.current();
        let guard = shared.write_lock.try_exclusive();
        if guard.is_none() {
            shared.write_rounds.wait_beyond(seen, WaitEvent::lwlock(shared.write_lock.tranche()));
        }
        guard.map(|guard| Writer(Some(guard)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.take());
        shared().write_rounds.finish();
    }
}

fn written() -> Lsn {
    Lsn(shared().written.load(Ordering::Acquire))
}

/// Everything before it is durable. C: `GetFlushRecPtr`.
#[inline]
pub fn flush_lsn() -> Lsn {
    Lsn(shared().flushed.load(Ordering::Acquire))
}

/// Everything before it is written, if perhaps not durable. C: `GetXLogWriteRecPtr`.
pub fn write_lsn() -> Lsn {
    written()
}

/// Makes everything before `upto` durable; during recovery pushes the minimum recovery point instead. C: `XLogFlush`.
///
/// What cannot be done (the disk fails, or a damaged page asks for WAL that does not exist) is a PANIC; see [`try_flush`].
pub fn flush(upto: Lsn) {
    if let Err(error) = try_flush(upto) {
        elog::abort(error);
    }
}

/// As [`flush`] for the LSN of a page read from disk, which may be damaged.
///
/// # Errors
/// XX000 if there is no such WAL. A failing disk is a PANIC all the same.
pub fn try_flush(upto: Lsn) -> Result<()> {
    if !insert_allowed() {
        return recovery_point::update(upto, false);
    }
    if upto <= flush_lsn() {
        return Ok(());
    }
    elog::start_critical_section();
    flush_group(upto);
    elog::end_critical_section();
    tell_listener();
    let flushed = flush_lsn();
    if flushed < upto {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "xlog flush request {upto} is not satisfied --- flushed only to {flushed}"
        ));
    }
    Ok(())
}

/// The loop of a commit: wait for insertions, become the writer or wait for the one who is.
fn flush_group(upto: Lsn) {
    let mut target = upto;
    loop {
        if upto <= flush_lsn() {
            return;
        }
        // What others have asked for meanwhile goes along.
        target = target.max(Lsn(shared().write_request.load(Ordering::Relaxed)));
        let mut finished = wait_for_insertions(target);
        let Some(writer) = Writer::take_or_wait() else { continue };
        if upto <= flush_lsn() {
            return;
        }
        if let Some(delay) = commit_delay() {
            std::thread::sleep(delay);
            // Those who came during the delay come along as far as they are done.
            finished = wait_for_insertions(finished);
        }
        write_out(&writer, Request { write: finished, flush: finished }, false);
        return;
    }
}

/// `commit_delay`, if enough others are about to commit. C: `MinimumActiveBackends`.
fn commit_delay() -> Option<Duration> {
    let delay = guc::vars::COMMIT_DELAY.get();
    if delay <= 0 || !guc::vars::FSYNC.get() {
        return None;
    }
    let siblings = guc::vars::COMMIT_SIBLINGS.get() as usize;
    let me = shmem::proc::my_proc_number();
    let active = shmem::all_procs()
        .iter()
        .filter(|proc| Some(proc.pgprocno) != me && proc.pid.load(Ordering::Relaxed) != 0)
        .filter(|proc| proc.xid.load(Ordering::Relaxed) != 0);
    (siblings == 0 || active.take(siblings).count() >= siblings).then(|| Duration::from_micros(delay as u64))
}

/// Writes a page of the buffers that somebody needs for something else, and with it the full pages behind it, up to half of
/// the buffers: the next to come then finds room. C: the middle of `AdvanceXLInsertBuffer`, which writes one page.
pub(crate) fn make_room(old_end: Lsn) {
    shared().write_request.fetch_max(old_end.0, Ordering::Relaxed);
    if written() >= old_end {
        return;
    }
    let finished = wait_for_insertions(old_end);
    let half = old_end + (buffers::ends().len() / 2 * XLOG_BLCKSZ) as u64;
    let target = page_start(finished).min(half).max(old_end);
    let writer = Writer::take();
    if written() < old_end {
        write_out(&writer, Request { write: target, flush: Lsn::INVALID }, false);
        drop(writer);
        counters::wal(|wal| counters::add(&wal.buffers_full, 1));
    }
}

/// Whether [`flush`] would have to do something. C: `XLogNeedsFlush`.
pub fn needs_flush(lsn: Lsn) -> bool {
    if in_recovery() {
        return recovery_point::needs_update(lsn);
    }
    lsn > flush_lsn()
}

/// An asynchronous commit ends here: the WAL writer makes it durable within three of its rounds.
///
/// A WAL writer that makes its rounds comes by itself within `wal_writer_delay`, so it is woken only for so much WAL
/// that it would sync at once (`wal_writer_flush_after`), and if it sleeps long. Differs from PG 15, which wakes it at
/// each commit behind the first unflushed page; versions from 16 on do as here. C: `XLogSetAsyncXactLSN`.
pub fn set_async_commit_lsn(lsn: Lsn) {
    let shared = shared();
    shared.async_commit.fetch_max(lsn.0, Ordering::AcqRel);
    if !shared.walwriter_sleeping.load(Ordering::SeqCst) {
        let after = guc::vars::WAL_WRITER_FLUSH_AFTER.get() as u64;
        let pages = (lsn.0 / XLOG_BLCKSZ as u64).saturating_sub(flush_lsn().0 / XLOG_BLCKSZ as u64);
        if pages == 0 || pages < after {
            return;
        }
    }
    wake_walwriter();
}

fn wake_walwriter() {
    if let Some(proc) = shmem::proc::auxiliary(BackendType::WalWriter) {
        proc.latch.set();
    }
}

/// The WAL writer sleeps long now, so that commits must wake it, or no longer. C: `SetWalWriterSleeping`.
pub fn set_walwriter_sleeping(sleeping: bool) {
    shared().walwriter_sleeping.store(sleeping, Ordering::SeqCst);
}

/// A round of the WAL writer: writes full pages, or what asynchronous commits have left; syncs after
/// `wal_writer_flush_after` or `wal_writer_delay`. False if there was nothing to do. C: `XLogBackgroundFlush`.
pub fn background_flush() -> bool {
    if in_recovery() {
        return false;
    }
    let flushed = flush_lsn();
    let mut write = shared().write_request.load(Ordering::Relaxed);
    write -= write % XLOG_BLCKSZ as u64;
    let mut flexible = true;
    if write <= flushed.0 {
        write = shared().async_commit.load(Ordering::Acquire);
        flexible = false;
    }
    if write <= flushed.0 {
        close_old_segment();
        return false;
    }
    let request = Request { write: Lsn(write), flush: background_flush_target(Lsn(write), flushed) };
    elog::start_critical_section();
    wait_for_insertions(request.write);
    let writer = Writer::take();
    if request.write > written() || request.flush > flush_lsn() {
        write_out(&writer, request, flexible);
    }
    drop(writer);
    elog::end_critical_section();
    tell_listener();
    // Buffers made ready here need not be made ready by somebody who is in a hurry.
    advance_buffers(None);
    true
}

fn background_flush_target(write: Lsn, flushed: Lsn) -> Lsn {
    let now = Instant::now();
    let after = guc::vars::WAL_WRITER_FLUSH_AFTER.get() as u64;
    let delay = Duration::from_millis(guc::vars::WAL_WRITER_DELAY.get() as u64);
    let pages = write.0 / XLOG_BLCKSZ as u64 - flushed.0 / XLOG_BLCKSZ as u64;
    let due = LAST_FLUSH.get().is_none_or(|last| now.duration_since(last) >= delay);
    if after == 0 || due || pages >= after {
        LAST_FLUSH.set(Some(now));
        write
    } else {
        Lsn::INVALID
    }
}

fn close_old_segment() {
    let position = written();
    OPEN.with_borrow_mut(|open| {
        if open.as_ref().is_some_and(|open| open.number != geometry().previous_segment(position)) {
            *open = None;
        }
    });
}

/// Pages collected for one write.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    count: usize,
    /// Offset within the segment.
    offset: u32,
}

/// Writes and, if asked, syncs. With `flexible` it may stop early, at a convenient border. W3 to W5.
/// C: `XLogWrite`.
fn write_out(writer: &Writer, request: Request, flexible: bool) {
    let mut done = written();
    let mut flushed = flush_lsn();
    let ends = buffers::ends();
    let mut index = buffers::index_of(done);
    let mut run: Option<Run> = None;
    while done < request.write {
        let end = Lsn(ends[index].load(Ordering::Acquire));
        check_page(done, end);
        done = end;
        let partial = request.write < done;
        open_for(end, true);
        let offset = geometry().offset(Lsn(end.0 - XLOG_BLCKSZ as u64));
        let current = run.get_or_insert(Run { first: index, count: 0, offset });
        current.count += 1;
        let bytes = current.count * XLOG_BLCKSZ;
        let ends_segment = !partial && current.offset as usize + bytes >= geometry().segment_size() as usize;
        if request.write <= done || index == ends.len() - 1 || ends_segment {
            write_run(*current);
            run = None;
            if ends_segment {
                finish_segment(writer, done);
                flushed = done;
            }
        }
        if partial {
            done = request.write;
            break;
        }
        index = if index + 1 == ends.len() { 0 } else { index + 1 };
        if flexible && run.is_none() {
            break;
        }
    }
    debug_assert!(run.is_none() && done >= written());
    if flushed < request.flush && flushed < done {
        open_for(done, false);
        sync_open();
        flushed = done;
    }
    publish(done, flushed);
}

fn check_page(done: Lsn, end: Lsn) {
    if done >= end {
        elog::abort(pg_error!(
            Panic,
            SqlState::INTERNAL_ERROR,
            "xlog write request {done} is past end of log {end}"
        ));
    }
}

fn publish(done: Lsn, flushed: Lsn) {
    let shared = shared();
    debug_assert!(flushed <= done && done.0 >= shared.written.load(Ordering::Relaxed));
    // W3: first what is written, then what is durable, so that nobody sees the second above the first.
    shared.written.store(done.0, Ordering::Release);
    if shared.flushed.fetch_max(flushed.0, Ordering::AcqRel) < flushed.0 {
        FLUSHED_MORE.set(true);
    }
    shared.write_request.fetch_max(done.0, Ordering::Relaxed);
}

/// Forgets the open segment: writing goes on in another file.
pub(crate) fn close() {
    OPEN.with_borrow_mut(|open| *open = None);
}

/// Opens the segment that ends at or contains the byte before `end`, unless it is open.
fn open_for(end: Lsn, create: bool) {
    let number = geometry().previous_segment(end);
    let method = SyncMethod::configured();
    let is_open = OPEN.with_borrow_mut(|open| match open {
        Some(open) if open.number == number && open.method.flags() == method.flags() => {
            open.method = method;
            true
        }
        _ => false,
    });
    if is_open {
        return;
    }
    // What was written under another `wal_sync_method` and not synced yet would never be.
    let unsynced = OPEN.with_borrow(|open| open.as_ref().is_some_and(|open| open.number == number));
    if unsynced {
        sync_open();
    }
    OPEN.with_borrow_mut(|open| {
        *open = None;
        let timeline = crate::timeline();
        let file =
            if create { segment::init(number, timeline) } else { segment::open_existing(number, timeline) };
        match file {
            Ok(file) => *open = Some(OpenSegment { number, method, file }),
            Err(error) => elog::abort(error),
        }
    });
}

fn write_run(run: Run) {
    OPEN.with_borrow(|open| {
        let Some(open) = open else { return };
        let started = io_timer();
        let written = buffers::with_pages(run.first, run.count, |bytes| {
            open.file.write_at(bytes, u64::from(run.offset), WaitEvent::WAL_WRITE)
        });
        counters::wal(|wal| {
            counters::add(&wal.write, 1);
            counters::add(&wal.write_micros, io_micros(started));
        });
        if let Err(error) = written {
            let name = segment::name(crate::timeline(), open.number, geometry());
            elog::abort(pg_error!(
                Panic,
                elog::sqlstate_for_file_access(&error),
                "could not write to log file {name} at offset {}, length {}: {}",
                run.offset,
                run.count * XLOG_BLCKSZ,
                errno_text(&error)
            ));
        }
    });
}

/// A full segment: durable at once, then handed to the archiver, and perhaps time for a checkpoint.
fn finish_segment(_writer: &Writer, end: Lsn) {
    sync_open();
    let number = geometry().previous_segment(end);
    let shared = shared();
    if archive::is_active() {
        archive::notify_segment(number, crate::timeline());
    }
    shared.last_switch_time.store(unix_seconds(), Ordering::Relaxed);
    shared.last_switch_lsn.store(end.0, Ordering::Relaxed);
    if recycle::checkpoint_needed(number) {
        request_checkpoint();
    }
}

/// Syncs the open segment, unless every write is a sync or `fsync` is off. C: `issue_xlog_fsync`.
fn sync_open() {
    OPEN.with_borrow(|open| {
        let Some(open) = open else { return };
        if !guc::vars::FSYNC.get() || open.method.syncs_by_itself() {
            return;
        }
        let started = io_timer();
        let (verb, synced) = match open.method {
            SyncMethod::Fsync => ("fsync", open.file.sync(WaitEvent::WAL_SYNC)),
            _ => ("fdatasync", open.file.data_sync(WaitEvent::WAL_SYNC)),
        };
        counters::wal(|wal| {
            counters::add(&wal.sync, 1);
            counters::add(&wal.sync_micros, io_micros(started));
        });
        if let Err(error) = synced {
            let name = segment::name(crate::timeline(), open.number, geometry());
            elog::abort(pg_error!(
                Panic,
                elog::sqlstate_for_file_access(&error),
                "could not {verb} file \"{name}\": {}",
                errno_text(&error)
            ));
        }
    });
}

fn io_timer() -> Option<Instant> {
    guc::vars::TRACK_WAL_IO_TIMING.get().then(Instant::now)
}

fn io_micros(started: Option<Instant>) -> i64 {
    started.map_or(0, |started| started.elapsed().as_micros() as i64)
}

pub(crate) fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs() as i64)
}
