//! The shared segment: typed reservation, locks, latches, PGPROC, interlock.
