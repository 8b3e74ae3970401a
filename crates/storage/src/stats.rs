//! What this process has done with buffers, for its statistics.
//!
//! C counterpart: `pgBufferUsage`, `PendingBgWriterStats`, `PendingCheckpointerStats`.

use std::cell::Cell;

/// Counters since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pages found in the pool. C: `shared_blks_hit`.
    pub hit: u64,
    /// Pages read from files. C: `shared_blks_read`.
    pub read: u64,
    /// Pages that were clean and became dirty. C: `shared_blks_dirtied`.
    pub dirtied: u64,
    /// Pages written out because the buffer was needed. C: `shared_blks_written`.
    pub written: u64,
    /// Blocks added to files.
    pub extended: u64,
    /// Nanoseconds spent reading, with `track_io_timing`. C: `blk_read_time`.
    pub read_nanos: u64,
    /// Nanoseconds spent writing, with `track_io_timing`. C: `blk_write_time`.
    pub write_nanos: u64,
}

thread_local! {
    static COUNTERS: [Cell<u64>; 7] = const { [const { Cell::new(0) }; 7] };
}

#[derive(Clone, Copy)]
pub(crate) enum Counter {
    Hit,
    Read,
    Dirtied,
    Written,
    Extended,
    ReadNanos,
    WriteNanos,
}

#[inline]
pub(crate) fn count(what: Counter) {
    add(what, 1);
}

#[inline]
pub(crate) fn add(what: Counter, n: u64) {
    COUNTERS.with(|counters| {
        let counter = &counters[what as usize];
        counter.set(counter.get() + n);
    });
}

/// Pages read from files so far: for callers that must know of one page whether it was in the pool.
#[inline]
pub fn reads() -> u64 {
    COUNTERS.with(|counters| counters[Counter::Read as usize].get())
}

/// The counters now; what one statement did is a difference.
pub fn get() -> Counters {
    COUNTERS.with(|counters| {
        let [hit, read, dirtied, written, extended, read_nanos, write_nanos] = counters;
        Counters {
            hit: hit.get(),
            read: read.get(),
            dirtied: dirtied.get(),
            written: written.get(),
            extended: extended.get(),
            read_nanos: read_nanos.get(),
            write_nanos: write_nanos.get(),
        }
    })
}
