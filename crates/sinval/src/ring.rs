//! The ring and its readers' positions.
//!
//! A position counts the messages sent since the segment was made, so that it never wraps around; its place in the ring
//! is the remainder. Writers take `SInvalWriteLock`; `SInvalReadLock` is held shared while reading, and alone by
//! whoever moves readers' positions. A reader's own position is only its own business otherwise.
//!
//! C counterpart: storage/ipc/sinvaladt.c.

use std::cell::Cell;
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use shmem::procsignal::{self, ProcSignalReason};
use shmem::{LwLock, Reservation, ShmSlice, ShmVar, shm_struct, tranche};

use crate::{MESSAGE_SIZE, Message};

/// Messages that fit. C: `MAXNUMMESSAGES`.
pub const RING_SIZE: usize = 4096;
const SIZE: u64 = RING_SIZE as u64;
/// Below that many unread messages nobody looks for laggards. C: `CLEANUP_MIN`.
const CLEANUP_MIN: u64 = SIZE / 2;
/// How often laggards are looked for above that. C: `CLEANUP_QUANTUM`.
const CLEANUP_QUANTUM: u64 = SIZE / 16;
/// Who is that far behind is poked. C: `SIG_THRESHOLD`.
const SIGNAL_THRESHOLD: u64 = SIZE / 2;
/// Messages written under one hold of the lock. C: `WRITE_QUANTUM`.
const WRITE_QUANTUM: usize = 64;

shm_struct! {
    /// One reader. C: `ProcState`.
    struct Reader {
        /// Position of the next message to read.
        next: AtomicU64,
        /// Bits of `FLAG_*`.
        flags: AtomicU32,
        /// Who it is, for the poke.
        pid: AtomicI32,
        /// Readers store their positions often: not into their neighbours' cache lines.
        padding: [u64; 6],
    }
}

const FLAG_ATTACHED: u32 = 1;
/// It missed messages. C: `resetState`.
const FLAG_RESET: u32 = 2;
/// It was poked and has not caught up yet. C: `signaled`.
const FLAG_SIGNALED: u32 = 4;

shm_struct! {
    /// What writers change. C: part of `SISeg`.
    struct Writer {
        /// No attached reader that is not reset is before it. C: `minMsgNum`.
        min: u64,
        /// Unread messages at which laggards are looked for. C: `nextThreshold`.
        threshold: u64,
    }
}

shm_struct! {
    /// C: `SISeg`.
    struct Ring {
        /// Position after the last message. Stored after the message itself (I2). C: `maxMsgNum`.
        max: AtomicU64,
        writer: LwLock<Writer>,
        reading: LwLock<()>,
        messages: [[AtomicU64; 2]; RING_SIZE],
    }
}

static RING: ShmVar<Ring> = ShmVar::new("shmInvalBuffer");
static READERS: ShmSlice<Reader> = ShmSlice::new("shmInvalReaders");

thread_local! {
    /// Our reader's index while attached.
    static ME: Cell<Option<usize>> = const { Cell::new(None) };
    /// Our position, to be compared with the shared end (I4).
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Reserves the ring, with a reader for each of `procs` PGPROCs. C: `CreateSharedInvalidationState`.
pub fn reserve(r: &mut Reservation, procs: usize) {
    r.var(&RING, || Ring {
        max: AtomicU64::new(0),
        writer: LwLock::new(tranche::SINVAL_WRITE, Writer { min: 0, threshold: CLEANUP_MIN }),
        reading: LwLock::new(tranche::SINVAL_READ, ()),
        messages: [const { [const { AtomicU64::new(0) }; 2] }; RING_SIZE],
    });
    r.slice(&READERS, procs, |_| Reader {
        next: AtomicU64::new(0),
        flags: AtomicU32::new(0),
        pid: AtomicI32::new(0),
        padding: [0; 6],
    });
}

/// Becomes a reader: everything sent from now on will be seen. To be called with a PGPROC and empty caches, once;
/// the process's exit undoes it. C: `SharedInvalBackendInit`.
pub fn attach() {
    let Some(me) = shmem::proc::my_proc_number().map(|n| n as usize) else { return };
    if ME.get().is_some() {
        return;
    }
    let ring = RING.get();
    {
        // With the writers' lock: between the look at the end and the flag no cleanup may forget us.
        let _writer = ring.writer.exclusive();
        let reader = &READERS.get()[me];
        let max = ring.max.load(Acquire);
        reader.next.store(max, Relaxed);
        reader.pid.store(shmem::my_proc().pid.load(Relaxed), Relaxed);
        reader.flags.store(FLAG_ATTACHED, Release);
        NEXT.set(max);
    }
    ME.set(Some(me));
    miscinit::exit::on_shmem_exit(|_| detach());
}

/// Stops reading; harmless if not attached. C: `CleanupInvalidationState`.
pub fn detach() {
    let Some(me) = ME.take() else { return };
    let Some(ring) = RING.try_get() else { return };
    let _writer = ring.writer.exclusive();
    READERS.get()[me].flags.store(0, Release);
}

/// Puts messages into the ring, for all sessions, this one included. Never fails and never waits for readers: those
/// in the way are reset. C: `SendSharedInvalidMessages`.
pub fn send(messages: &[Message]) {
    let Some(ring) = RING.try_get() else { return };
    for group in messages.chunks(WRITE_QUANTUM) {
        let mut writer = ring.writer.exclusive();
        let needed = group.len() as u64;
        loop {
            let unread = ring.max.load(Relaxed) - writer.min;
            if unread + needed <= SIZE && unread < writer.threshold {
                break;
            }
            let poke = cleanup(ring, &mut writer, needed);
            if let Some(pid) = poke {
                drop(writer);
                procsignal::send(pid, ProcSignalReason::CatchupInterrupt);
                writer = ring.writer.exclusive();
            }
        }
        let max = ring.max.load(Relaxed);
        for (position, message) in (max..).zip(group) {
            let [low, high] = &ring.messages[(position % SIZE) as usize];
            let (first, second) = halves(message.to_bytes());
            low.store(first, Relaxed);
            high.store(second, Relaxed);
        }
        ring.max.store(max + needed, Release);
    }
}

/// Moves `min` up to the slowest reader; resets those that leave no room for `needed` messages; says whom to poke.
/// The caller has the writers' lock. C: `SICleanupQueue`.
fn cleanup(ring: &Ring, writer: &mut Writer, needed: u64) -> Option<i32> {
    // I3: nobody reads a place that is about to be written again.
    let _alone = ring.reading.exclusive();
    let max = ring.max.load(Relaxed);
    let readers = READERS.get();
    let position = |reader: &Reader| {
        let flags = reader.flags.load(Acquire);
        (flags & FLAG_ATTACHED != 0 && flags & FLAG_RESET == 0).then(|| (reader.next.load(Relaxed), flags))
    };
    let verdict = judge(max, needed, readers.iter().map(position));
    for index in verdict.to_reset {
        readers[index].flags.fetch_or(FLAG_RESET, Release);
    }
    writer.min = verdict.min;
    writer.threshold = verdict.threshold;
    let poked = &readers[verdict.to_poke?];
    poked.flags.fetch_or(FLAG_SIGNALED, Relaxed);
    Some(poked.pid.load(Relaxed))
}

/// What a cleanup does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) min: u64,
    pub(crate) threshold: u64,
    pub(crate) to_reset: Vec<usize>,
    pub(crate) to_poke: Option<usize>,
}

/// The decision, from the readers' positions and flags (`None`: not attached, or reset already).
pub(crate) fn judge(max: u64, needed: u64, readers: impl Iterator<Item = Option<(u64, u32)>>) -> Verdict {
    let lowest_allowed = (max + needed).saturating_sub(SIZE);
    let poke_below = max.saturating_sub(SIGNAL_THRESHOLD);
    let mut verdict = Verdict { min: max, ..Verdict::default() };
    let mut slowest = poke_below;
    for (index, reader) in readers.enumerate() {
        let Some((next, flags)) = reader else { continue };
        if next < lowest_allowed {
            verdict.to_reset.push(index);
            continue;
        }
        verdict.min = verdict.min.min(next);
        if next < slowest && flags & FLAG_SIGNALED == 0 {
            slowest = next;
            verdict.to_poke = Some(index);
        }
    }
    let unread = max - verdict.min;
    verdict.threshold =
        if unread < CLEANUP_MIN { CLEANUP_MIN } else { (unread / CLEANUP_QUANTUM + 1) * CLEANUP_QUANTUM };
    verdict
}

/// Looks for laggards once more: a session that was poked and has caught up pokes the next one.
/// C: `SICleanupQueue(false, 0)`.
pub(crate) fn pass_poke_on() {
    let ring = RING.get();
    let poke = cleanup(ring, &mut ring.writer.exclusive(), 0);
    if let Some(pid) = poke {
        procsignal::send(pid, ProcSignalReason::CatchupInterrupt);
    }
}

/// Whether our position is not the end: one load of a word that is written only when something is sent (I4).
#[inline]
pub(crate) fn is_behind() -> bool {
    RING.try_get().is_some_and(|ring| ring.max.load(Acquire) != NEXT.get()) && ME.get().is_some()
}

/// Reads up to `out.len()` messages. `None`: we were reset. C: `SIGetDataEntries`.
pub(crate) fn read(out: &mut [Message]) -> Option<usize> {
    let Some(me) = ME.get() else { return Some(0) };
    let (ring, reader) = (RING.get(), &READERS.get()[me]);
    let _reading = ring.reading.shared();
    let max = ring.max.load(Acquire);
    let flags = reader.flags.load(Acquire);
    if flags & FLAG_RESET != 0 {
        reader.next.store(max, Relaxed);
        NEXT.set(max);
        reader.flags.store(FLAG_ATTACHED, Release);
        return None;
    }
    let next = reader.next.load(Relaxed);
    let count = ((max - next) as usize).min(out.len());
    for (position, message) in (next..).zip(&mut out[..count]) {
        let [low, high] = &ring.messages[(position % SIZE) as usize];
        *message = whole(low.load(Relaxed), high.load(Relaxed));
    }
    let next = next + count as u64;
    reader.next.store(next, Relaxed);
    NEXT.set(next);
    if next == max && flags & FLAG_SIGNALED != 0 {
        reader.flags.fetch_and(!FLAG_SIGNALED, Relaxed);
    }
    Some(count)
}

fn halves(bytes: [u8; MESSAGE_SIZE]) -> (u64, u64) {
    let both = u128::from_le_bytes(bytes);
    (both as u64, (both >> 64) as u64)
}

fn whole(first: u64, second: u64) -> Message {
    Message::from_bytes((u128::from(second) << 64 | u128::from(first)).to_le_bytes())
}
