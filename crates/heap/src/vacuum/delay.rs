//! Sleeping now and then, so that VACUUM leaves some of the disk to others.
//!
//! C counterpart: `vacuum_delay_point` of commands/vacuum.c.

use std::sync::OnceLock;
use std::time::Duration;

use elog::Result;
use guc::vars;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use storage::stats::{self, Counters};

/// An autovacuum worker's share of the budget of all workers; `None` if the settings say it.
type Balance = fn() -> Option<i32>;

static BALANCE: OnceLock<Balance> = OnceLock::new();

/// Tells where an autovacuum worker learns its share. Before the first fork; a second call changes nothing.
/// C: `AutoVacuumUpdateDelay`.
pub fn set_cost_balance(balance: Balance) {
    let _ = BALANCE.set(balance);
}

/// How much work was done since the last nap.
pub(crate) struct Delay {
    since: Counters,
    is_autovacuum: bool,
    /// The limit of a worker among others, as of the last nap.
    share: Option<i32>,
}

fn share(is_autovacuum: bool) -> Option<i32> {
    if !is_autovacuum {
        return None;
    }
    BALANCE.get().and_then(|balance| balance())
}

impl Delay {
    pub(crate) fn new(is_autovacuum: bool) -> Delay {
        Delay { since: stats::get(), is_autovacuum, share: share(is_autovacuum) }
    }

    /// Milliseconds per nap, 0 for none, and the cost that earns one.
    fn settings(&self) -> (f64, i32) {
        let (mut delay, mut limit) = (vars::VACUUM_COST_DELAY.get(), vars::VACUUM_COST_LIMIT.get());
        if self.is_autovacuum {
            if vars::AUTOVACUUM_VACUUM_COST_DELAY.get() >= 0.0 {
                delay = vars::AUTOVACUUM_VACUUM_COST_DELAY.get();
            }
            if vars::AUTOVACUUM_VACUUM_COST_LIMIT.get() > 0 {
                limit = vars::AUTOVACUUM_VACUUM_COST_LIMIT.get();
            }
        }
        (delay, self.share.unwrap_or(limit))
    }

    /// Called for each page: takes interrupts, and a nap if it is due.
    ///
    /// # Errors
    /// Cancellation.
    pub(crate) fn point(&mut self) -> Result<()> {
        miscinit::interrupt::check()?;
        let (delay, limit) = self.settings();
        if delay <= 0.0 {
            return Ok(());
        }
        let now = stats::get();
        let cost = (now.hit - self.since.hit) as f64 * f64::from(vars::VACUUM_COST_PAGE_HIT.get())
            + (now.read - self.since.read) as f64 * f64::from(vars::VACUUM_COST_PAGE_MISS.get())
            + (now.dirtied - self.since.dirtied) as f64 * f64::from(vars::VACUUM_COST_PAGE_DIRTY.get());
        if cost < f64::from(limit) {
            return Ok(());
        }
        let millis = (delay * cost / f64::from(limit)).min(delay * 4.0);
        let nap = Duration::from_micros((millis * 1000.0) as u64);
        latch::wait(Wake::POSTMASTER_DEATH, Some(nap), WaitEvent::VACUUM_DELAY);
        self.since = stats::get();
        self.share = share(self.is_autovacuum);
        miscinit::interrupt::check()
    }
}
