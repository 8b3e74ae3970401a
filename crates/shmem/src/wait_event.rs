//! What a process is waiting for, for others to see in `pg_stat_activity`.
//!
//! One word in PGPROC: the class in the top byte, the event below it, encoded as PostgreSQL 15 does.
//! C counterpart: wait_event.c, wait_event.h.

mod names;

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

pub use names::tranche;

/// The classes. C: `PG_WAIT_*`.
mod class {
    pub(super) const LWLOCK: u32 = 0x0100_0000;
    pub(super) const LOCK: u32 = 0x0300_0000;
    pub(super) const BUFFER_PIN: u32 = 0x0400_0000;
    pub(super) const ACTIVITY: u32 = 0x0500_0000;
    pub(super) const CLIENT: u32 = 0x0600_0000;
    pub(super) const EXTENSION: u32 = 0x0700_0000;
    pub(super) const IPC: u32 = 0x0800_0000;
    pub(super) const TIMEOUT: u32 = 0x0900_0000;
    pub(super) const IO: u32 = 0x0A00_0000;
    pub(super) const MASK: u32 = 0xFF00_0000;
}

/// Names of the heavyweight lock types, by number. C: `LockTagTypeNames`.
const LOCK_TYPES: &[&str] = &[
    "relation",
    "extend",
    "frozenid",
    "page",
    "tuple",
    "transactionid",
    "virtualxid",
    "spectoken",
    "object",
    "userlock",
    "advisory",
];

/// Something to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitEvent(u32);

impl WaitEvent {
    /// Waiting for a pin on a buffer to go. C: `PG_WAIT_BUFFER_PIN`.
    pub const BUFFER_PIN: WaitEvent = WaitEvent(class::BUFFER_PIN);
    /// Code outside the server proper. C: `PG_WAIT_EXTENSION`.
    pub const EXTENSION: WaitEvent = WaitEvent(class::EXTENSION);

    /// Waiting for an LWLock of this tranche.
    pub const fn lwlock(tranche: Tranche) -> WaitEvent {
        WaitEvent(class::LWLOCK + tranche.0)
    }

    /// Waiting for a heavyweight lock of this type (0 = relation ... 10 = advisory).
    pub const fn lock(lock_type: u8) -> WaitEvent {
        WaitEvent(class::LOCK + lock_type as u32)
    }

    /// As stored in PGPROC.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Column `wait_event_type`.
    pub fn class_name(self) -> &'static str {
        type_name(self.0).unwrap_or("???")
    }

    /// Column `wait_event`.
    pub fn name(self) -> &'static str {
        event_name(self.0).unwrap_or("unknown wait event")
    }
}

/// A kind of LWLock, named in wait events. The constants are in [`tranche`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tranche(pub(crate) u32);

impl Tranche {
    /// `WALWrite`, `ProcArray` ...
    pub fn name(self) -> &'static str {
        // Tranche 0 is "<unassigned:0>" in C; nobody waits for it.
        names::TRANCHES.iter().find(|(id, _)| *id == self.0).map_or("extension", |(_, name)| name)
    }
}

/// `wait_event_type` of a word from PGPROC; `None` when not waiting. C: `pgstat_get_wait_event_type`.
pub fn type_name(word: u32) -> Option<&'static str> {
    Some(match word & class::MASK {
        _ if word == 0 => return None,
        class::LWLOCK => "LWLock",
        class::LOCK => "Lock",
        class::BUFFER_PIN => "BufferPin",
        class::ACTIVITY => "Activity",
        class::CLIENT => "Client",
        class::EXTENSION => "Extension",
        class::IPC => "IPC",
        class::TIMEOUT => "Timeout",
        class::IO => "IO",
        _ => "???",
    })
}

/// `wait_event` of a word from PGPROC; `None` when not waiting. C: `pgstat_get_wait_event`.
pub fn event_name(word: u32) -> Option<&'static str> {
    let number = word & !class::MASK;
    Some(match word & class::MASK {
        _ if word == 0 => return None,
        class::LWLOCK => Tranche(number).name(),
        class::LOCK => LOCK_TYPES.get(number as usize).copied().unwrap_or("unknown wait event"),
        class::BUFFER_PIN => "BufferPin",
        class::EXTENSION => "Extension",
        class => names::EVENTS
            .iter()
            .find(|(c, _)| *c == class)
            .and_then(|(_, names)| names.get(number as usize).copied())
            .unwrap_or("unknown wait event"),
    })
}

/// Where this process announces its waits: its PGPROC, or this word nobody reads.
static NOWHERE: AtomicU32 = AtomicU32::new(0);
static MINE: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NOWHERE).cast_mut());

/// Announces in that word from now on. C: `pgstat_set_wait_event_storage`.
pub(crate) fn announce_in(word: Option<&'static AtomicU32>) {
    let word: &'static AtomicU32 = word.unwrap_or(&NOWHERE);
    MINE.store(std::ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
}

/// Announces a wait. C: `pgstat_report_wait_start`.
#[inline]
pub fn start(event: WaitEvent) {
    report(event.0);
}

/// The wait is over. C: `pgstat_report_wait_end`.
#[inline]
pub fn end() {
    report(0);
}

/// Announces a wait that ends with the returned value's scope.
#[must_use = "the wait ends when this is dropped"]
pub fn during(event: WaitEvent) -> Waiting {
    start(event);
    Waiting(())
}

/// An announced wait; see [`during`].
pub struct Waiting(());

impl Drop for Waiting {
    fn drop(&mut self) {
        end();
    }
}

#[inline]
fn report(word: u32) {
    // SAFETY: only `announce_in` stores here, always a &'static.
    unsafe { &*MINE.load(Ordering::Relaxed) }.store(word, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: WaitEvent, word: u32, type_name: &str, name: &str) {
        assert_eq!(event.as_u32(), word);
        assert_eq!((event.class_name(), event.name()), (type_name, name));
    }

    /// The numbers are those a PostgreSQL 15 extension would compile in.
    #[test]
    fn encoded_as_postgresql_15() {
        check(WaitEvent::ARCHIVER_MAIN, 0x0500_0000, "Activity", "ArchiverMain");
        check(WaitEvent::WAL_WRITER_MAIN, 0x0500_000B, "Activity", "WalWriterMain");
        check(WaitEvent::PGSTAT_MAIN, 0x0500_000C, "Activity", "PgStatMain");
        check(WaitEvent::CLIENT_READ, 0x0600_0000, "Client", "ClientRead");
        check(WaitEvent::WAL_SENDER_WRITE_DATA, 0x0600_0007, "Client", "WalSenderWriteData");
        check(WaitEvent::WAL_RECEIVER_UPSTREAM_CATCHUP, 0x0800_0033, "IPC", "WalReceiverUpstreamCatchup");
        check(WaitEvent::PG_SLEEP, 0x0900_0002, "Timeout", "PgSleep");
        check(WaitEvent::VERSION_FILE_SYNC, 0x0A00_0049, "IO", "VersionFileSync");
        check(WaitEvent::lwlock(tranche::WAL_WRITE), 0x0100_0008, "LWLock", "WALWrite");
        check(WaitEvent::lwlock(tranche::PGSTATS_DATA), 0x0100_004A, "LWLock", "PgStatsData");
        check(WaitEvent::lock(5), 0x0300_0005, "Lock", "transactionid");
        check(WaitEvent::BUFFER_PIN, 0x0400_0000, "BufferPin", "BufferPin");
        check(WaitEvent::EXTENSION, 0x0700_0000, "Extension", "Extension");
    }

    #[test]
    fn not_waiting_and_nonsense() {
        assert_eq!((type_name(0), event_name(0)), (None, None));
        assert_eq!(type_name(0xFF00_0001), Some("???"));
        for word in [0xFF00_0001, 0x0500_FFFF, 0x0300_00FF] {
            assert_eq!(event_name(word), Some("unknown wait event"));
        }
        assert_eq!(event_name(0x0100_FFFF), Some("extension"));
    }

    #[test]
    fn announced_for_a_scope() {
        let _alone = crate::testing::alone();
        static WORD: AtomicU32 = AtomicU32::new(0);
        announce_in(Some(&WORD));
        {
            let _waiting = during(WaitEvent::PG_SLEEP);
            assert_eq!(WORD.load(Ordering::Relaxed), WaitEvent::PG_SLEEP.as_u32());
        }
        assert_eq!(WORD.load(Ordering::Relaxed), 0);
        announce_in(None);
    }
}
