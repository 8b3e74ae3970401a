//! The sleeping itself: one poll on the signalfd, the death-watch pipe and the caller's sockets.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::core::OWN_PROCESS;
use super::{Latch, Wake, my_latch};
use crate::death_watch::postmaster_seen_dead;
use crate::death_watch_fd;
use crate::wait_event::{self, WaitEvent};

/// Made once, by the first process that needs it, and inherited: in a poll it answers for whoever polls.
static SIGNAL_FD: AtomicI32 = AtomicI32::new(-1);

/// More sockets than that need an allocation.
const INLINE_SOCKETS: usize = 6;

thread_local! {
    /// Whether SIGURG is blocked. A process has one thread; a test harness has many, each with its own mask.
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Blocks SIGURG for this process and all it forks, and makes the signalfd. The postmaster does it before its
/// first fork; a process without one gets there by its first wait. C: `InitializeLatchSupport`.
///
/// T4: nobody unblocks SIGURG again. Unblocked it would be discarded, and with it a wake-up.
pub(crate) fn init_support() {
    if BLOCKED.get() {
        return;
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    let signals = unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGURG);
        libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
        signals
    };
    BLOCKED.set(true);
    if SIGNAL_FD.load(Ordering::Relaxed) < 0 {
        // SAFETY: the set is initialised; the call makes a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &signals, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        // Without descriptors at start nothing else would work either, and no caller could do anything about it.
        assert!(fd >= 0, "signalfd() failed: {}", std::io::Error::last_os_error());
        SIGNAL_FD.store(fd, Ordering::Relaxed);
    }
}

/// Pokes the owner of a latch. Async-signal-safe; keeps errno, which the interrupted code may be about to read.
pub(super) fn signal(pid: i32) {
    // SAFETY: errno is this thread's; kill and getpid have no memory arguments. The pid may have been reused in the
    // meantime: SIGURG does nothing to a process that does not want it.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        let pid = if pid == OWN_PROCESS { libc::getpid() } else { pid };
        libc::kill(pid, libc::SIGURG);
        *errno = saved;
    }
}

/// Sleeps until one of `events` happens (`LATCH_SET`, `POSTMASTER_DEATH`) or the time is over, and says which.
/// `None` is no time limit. Returns at once if the latch is set. C: `WaitLatch`.
pub fn wait(events: Wake, timeout: Option<Duration>, wait_event: WaitEvent) -> Wake {
    sleep(events, timeout, wait_event, &[], |_, _| ())
}

/// As [`wait`], and also for this socket's `SOCKET_READABLE`, `SOCKET_WRITEABLE`, `SOCKET_CLOSED`.
/// C: `WaitLatchOrSocket`.
pub fn wait_socket(fd: RawFd, events: Wake, timeout: Option<Duration>, wait_event: WaitEvent) -> Wake {
    sleep(events, timeout, wait_event, &[(fd, events)], |_, _| ())
}

/// As [`wait`], and for any number of sockets, each with its own events. `ready` gets the index and events of
/// each that is ready; their union is in the answer too. C: `WaitEventSetWait`.
pub fn wait_any(
    sockets: &[(RawFd, Wake)],
    events: Wake,
    timeout: Option<Duration>,
    wait_event: WaitEvent,
    ready: impl FnMut(usize, Wake),
) -> Wake {
    sleep(events, timeout, wait_event, sockets, ready)
}

fn sleep(
    events: Wake,
    timeout: Option<Duration>,
    wait_event: WaitEvent,
    sockets: &[(RawFd, Wake)],
    mut ready: impl FnMut(usize, Wake),
) -> Wake {
    let latch = events.contains(Wake::LATCH_SET).then(my_latch);
    if latch.is_some_and(Latch::is_set) {
        return Wake::LATCH_SET;
    }
    init_support();
    let mut few = [UNUSED; 2 + INLINE_SOCKETS];
    let mut many;
    let polled = if sockets.len() <= INLINE_SOCKETS {
        &mut few[..2 + sockets.len()]
    } else {
        many = vec![UNUSED; 2 + sockets.len()];
        &mut many[..]
    };
    if latch.is_some() {
        polled[0] = entry(SIGNAL_FD.load(Ordering::Relaxed), libc::POLLIN);
    }
    if events.contains(Wake::POSTMASTER_DEATH) {
        // Seen already: the answer must not depend on who still holds the pipe. Otherwise the poll tells.
        if postmaster_seen_dead() {
            return Wake::POSTMASTER_DEATH;
        }
        polled[1] = entry(death_watch_fd().unwrap_or(-1), libc::POLLIN);
    }
    for (slot, (fd, wanted)) in polled[2..].iter_mut().zip(sockets) {
        // A socket nobody asks about is left out: poll would report its end over and over.
        let wanted = poll_events(*wanted);
        *slot = if wanted == 0 { UNUSED } else { entry(*fd, wanted) };
    }
    let deadline = timeout.map(Deadline::after);
    let _waiting = wait_event::during(wait_event);
    loop {
        if latch.is_some_and(|latch| !latch.core.prepare_sleep()) {
            return Wake::LATCH_SET;
        }
        let count = poll(polled, deadline.as_ref());
        if let Some(latch) = latch {
            latch.core.end_sleep();
        }
        let woken_by = collect(count, polled, sockets, latch, &mut ready);
        if !woken_by.is_empty() {
            return woken_by;
        }
        if count <= 0 && deadline.as_ref().is_some_and(|d| d.is_over()) {
            return Wake::TIMEOUT;
        }
    }
}

/// A point in time; far beyond any uptime counts as never.
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    fn is_over(&self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    fn remaining(&self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

const UNUSED: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };

fn entry(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

fn poll_events(wanted: Wake) -> i16 {
    let mut events = 0;
    if wanted.contains(Wake::SOCKET_READABLE) {
        events |= libc::POLLIN;
    }
    if wanted.contains(Wake::SOCKET_WRITEABLE) {
        events |= libc::POLLOUT;
    }
    if wanted.contains(Wake::SOCKET_CLOSED) {
        events |= libc::POLLRDHUP;
    }
    events
}

/// One poll; the number of ready descriptors, or what means "look at the latch and the clock" (0 or less).
fn poll(polled: &mut [libc::pollfd], deadline: Option<&Deadline>) -> i32 {
    let remaining = deadline.and_then(Deadline::remaining).map(|left| libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    let timeout = remaining.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the slice is valid for its length; the timespec lives until after the call; no signal mask.
    let count =
        unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout, std::ptr::null()) };
    if count < 0 {
        // EINTR: a handler ran, and may have set the latch. Anything else is a bug in the arguments.
        let os_error = std::io::Error::last_os_error();
        assert!(os_error.raw_os_error() == Some(libc::EINTR), "poll() failed: {os_error}");
        polled.iter_mut().for_each(|p| p.revents = 0);
    }
    count
}

/// Translates what poll found. The latch is looked at in any case: a handler of ours may have set it.
fn collect(
    count: i32,
    polled: &[libc::pollfd],
    sockets: &[(RawFd, Wake)],
    latch: Option<&Latch>,
    ready: &mut impl FnMut(usize, Wake),
) -> Wake {
    let mut woken_by = Wake::empty();
    if count > 0 && polled[0].revents != 0 {
        drain_signal();
    }
    if latch.is_some_and(Latch::is_set) {
        woken_by |= Wake::LATCH_SET;
    }
    if count <= 0 {
        return woken_by;
    }
    if polled[1].revents != 0 {
        crate::death_watch::note_postmaster_death();
        woken_by |= Wake::POSTMASTER_DEATH;
    }
    for (index, (slot, (_, wanted))) in polled[2..].iter().zip(sockets).enumerate() {
        let mut happened = Wake::empty();
        let broken = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        happened.set(Wake::SOCKET_READABLE, slot.revents & (libc::POLLIN | broken) != 0);
        happened.set(Wake::SOCKET_WRITEABLE, slot.revents & (libc::POLLOUT | broken) != 0);
        happened.set(Wake::SOCKET_CLOSED, slot.revents & (libc::POLLRDHUP | broken) != 0);
        happened &= *wanted;
        if !happened.is_empty() {
            ready(index, happened);
            woken_by |= happened;
        }
    }
    woken_by
}

/// Takes the pending SIGURG away, so that the next poll does not return for it.
fn drain_signal() {
    let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>()];
    // SAFETY: the buffer is as long as said. SIGURG does not queue, so one read takes all; a failure (EAGAIN: another
    // process of a test's group took it) leaves nothing to do.
    unsafe { libc::read(SIGNAL_FD.load(Ordering::Relaxed), buffer.as_mut_ptr().cast(), buffer.len()) };
}
