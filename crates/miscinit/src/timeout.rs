//! The one timer a session has: `statement_timeout`. Waits for a client have their deadline in the wait
//! itself and need no signal.
//!
//! C counterpart: utils/misc/timeout.c, which multiplexes many.

use std::time::Duration;

/// SIGALRM after `delay`; zero disarms. Costs one system call.
fn set(delay: Duration) {
    let value = libc::timeval {
        tv_sec: delay.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(delay.subsec_micros()),
    };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: `timer` is a valid itimerval that the call only reads; the old value is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Starts the timer; when it ends, [`crate::interrupt::Pending::StatementTimeout`] is noted.
/// C: `enable_timeout_after(STATEMENT_TIMEOUT)`.
pub fn arm_statement(delay: Duration) {
    set(delay.max(Duration::from_micros(1)));
}

/// Stops the timer and forgets it if it has just ended. C: `disable_timeout(STATEMENT_TIMEOUT)`.
pub fn disarm_statement() {
    set(Duration::ZERO);
    crate::interrupt::take(crate::interrupt::Pending::StatementTimeout);
}
