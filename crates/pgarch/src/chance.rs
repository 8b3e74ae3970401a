//! What must hold whatever happens: the loops against a world that leaves everything to chance.
//!
//! Commands end in any order and fail often, files come at any time, some disappear, settings change, a command takes the
//! archiver with it, and in the end there is a stop. The invariants are checked at each step, by a book-keeping that knows
//! nothing of the archiver's own. A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use elog::{PgError, Result};
use miscinit::shell::Outcome;

use crate::archive::{Force, News, Ticket};
use crate::backlog::{Rank, rank};
use crate::main_loop::main_loop;
use crate::{Archive, Wakeup};

/// Enough for each to happen many times.
const SEEDS: u64 = 1000;
/// Looks at the world before the stop.
const LOOKS: u32 = 60;

#[derive(Default)]
struct World {
    random: u64,
    /// Timelines' histories are among the files.
    histories: bool,
    uptime: Duration,
    looks: u32,
    /// In force, and in the configuration file.
    workers: [usize; 2],
    sighup: bool,
    wakened: bool,
    stop: bool,
    rescan: bool,
    deadline: Option<Duration>,
    forced: Option<Force>,
    numbers: u32,
    ready: BTreeSet<Rank>,
    done: BTreeSet<Rank>,
    running: BTreeMap<Ticket, Rank>,
    tickets: Ticket,
    /// Whose command has just exited with 0.
    succeeded: Option<Rank>,

    /// Of this archiver: begun, archived, failed when last tried.
    begun: BTreeSet<Rank>,
    archived: BTreeSet<Rank>,
    failed: BTreeSet<Rank>,
    /// What the collector was told last.
    told: Option<Rank>,
    /// What is published.
    waiting: usize,
    failing: bool,
    /// The directory was read after the order to stop.
    looked_at_stop: bool,
    /// Archivers that a command took with it.
    deaths: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World { random: seed, ..World::default() };
        world.histories = world.one_in(2);
        world.workers = [1 + world.below(5); 2];
        (0..world.below(12)).for_each(|_| world.finish_a_file());
        world
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn finish_a_file(&mut self) {
        self.numbers += 1;
        let history = self.histories && self.one_in(8);
        let name = match history {
            true => format!("{:08X}.history", self.numbers),
            false => format!("{:024X}", self.numbers),
        };
        self.rescan |= history;
        self.ready.insert(rank(name));
        self.wakened = true;
    }

    /// At each wait: what may have happened meanwhile. True if a signal came.
    fn look(&mut self) -> bool {
        self.check();
        self.looks += 1;
        assert!(self.looks < 100 * LOOKS, "it does not end");
        if self.stop {
            if self.deadline.is_none() && self.one_in(30) {
                self.deadline = Some(self.uptime + Duration::from_millis(self.below(3000) as u64));
                return true;
            }
            return false;
        }
        match self.below(10) {
            0..3 => self.finish_a_file(),
            3 => {
                self.workers[1] = 1 + self.below(5);
                self.sighup = true;
            }
            4 => {
                // Somebody archives one by hand.
                let others: Vec<Rank> = self.ready.difference(&self.begun).cloned().collect();
                if !others.is_empty() {
                    let other = &others[self.below(others.len())];
                    self.ready.remove(other);
                }
                return false;
            }
            _ if self.looks > LOOKS => self.stop = true,
            _ => return false,
        }
        true
    }

    fn check(&self) {
        // A7.
        if self.looked_at_stop {
            assert_eq!(self.waiting, self.ready.len());
        }
        // A8.
        assert_eq!(self.failing, !self.failed.is_empty(), "{:?}", self.failed);
    }

    /// One archiver; true if there is to be another.
    fn live(&mut self) -> bool {
        (self.begun, self.archived, self.failed) = Default::default();
        (self.told, self.waiting, self.failing, self.looked_at_stop) = (None, 0, false, false);
        let ended = main_loop(self);
        assert!(self.running.is_empty(), "it ended before its commands");
        assert!(self.forced.is_none() || self.deadline.is_some());
        let gave_up = self.deadline.is_some_and(|at| at <= self.uptime);
        match ended {
            Ok(()) => {
                assert!(self.stop, "nobody told it to");
                assert!(
                    self.ready.is_empty() || !self.failed.is_empty() || gave_up,
                    "{:?} are left",
                    self.ready
                );
                false
            }
            Err(_) => true,
        }
    }
}

impl Archive for World {
    fn reset_latch(&mut self) {}

    fn ready_to_stop(&self) -> bool {
        self.stop
    }

    fn got_sigterm(&self) -> bool {
        self.forced.is_some()
    }

    fn take_sighup(&mut self) -> bool {
        std::mem::take(&mut self.sighup)
    }

    fn take_wakened(&mut self) -> bool {
        std::mem::take(&mut self.wakened)
    }

    fn postmaster_is_alive(&self) -> bool {
        true
    }

    fn quit_was_sent(&self) -> bool {
        false
    }

    fn now(&self) -> i64 {
        self.uptime.as_secs() as i64
    }

    fn uptime(&self) -> Duration {
        self.uptime
    }

    fn reload(&mut self) {
        self.workers[0] = self.workers[1];
    }

    fn command(&self) -> Arc<str> {
        "%f".into()
    }

    fn library(&self) -> Arc<str> {
        "".into()
    }

    fn max_workers(&self) -> usize {
        self.workers[0]
    }

    fn shutdown_timeout(&self) -> Option<Duration> {
        None
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn list_ready(&mut self) -> Result<Vec<String>> {
        self.looked_at_stop = self.stop;
        Ok(self.ready.iter().rev().map(|(_, name)| name.clone()).collect())
    }

    fn newest_done(&mut self) -> Option<String> {
        self.done.iter().rfind(|(segment, _)| *segment).map(|(_, name)| name.clone())
    }

    fn take_rescan_request(&mut self) -> bool {
        std::mem::take(&mut self.rescan)
    }

    fn is_ready(&self, file: &str) -> Result<bool> {
        Ok(self.ready.contains(&rank(file.to_owned())))
    }

    fn is_missing(&self, _: &str) -> bool {
        false
    }

    fn unlink_ready(&mut self, _: &str) -> io::Result<()> {
        unreachable!("no file is missing")
    }

    fn rename_to_done(&mut self, file: &str) -> Result<()> {
        let file = rank(file.to_owned());
        // A2.
        assert_eq!(self.succeeded.take().as_ref(), Some(&file));
        self.ready.remove(&file);
        self.archived.insert(file.clone());
        self.done.insert(file);
        Ok(())
    }

    fn start(&mut self, file: &str) -> io::Result<Ticket> {
        assert!(self.forced.is_none(), "the time is up");
        let file = rank(file.to_owned());
        // A1.
        assert!(self.running.len() < self.workers[0], "too many");
        assert!(!self.running.values().any(|other| *other == file), "twice at a time: {file:?}");
        assert!(self.running.values().all(|(segment, _)| *segment), "beside a history file: {file:?}");
        // A6.
        if !self.begun.contains(&file) {
            let before = self.failed.iter().filter(|failed| **failed < file).count();
            assert_eq!(before, 0, "{file:?} is begun though a file before it fails");
        }
        self.begun.insert(file.clone());
        self.tickets += 1;
        self.running.insert(self.tickets, file);
        Ok(self.tickets)
    }

    fn wait_for_command(&mut self, at_most: Option<Duration>) -> Option<(Ticket, io::Result<Outcome>)> {
        if self.look() {
            return None;
        }
        let takes = Duration::from_millis(self.below(400) as u64);
        if let Some(at_most) = at_most.filter(|at_most| *at_most < takes) {
            self.uptime += at_most;
            return None;
        }
        self.uptime += takes;
        let nth = self.below(self.running.len());
        let ticket = *self.running.keys().nth(nth).expect("one of them");
        let file = self.running.remove(&ticket).expect("it runs");
        let code = match self.below(100) {
            _ if self.forced.is_some() => 143,
            0 => 127,
            1..25 => 1,
            _ => 0,
        };
        match code {
            0 | 1 => _ = self.failed.remove(&file),
            _ => {}
        }
        match code {
            0 => self.succeeded = Some(file),
            1 => _ = self.failed.insert(file),
            // The archiver goes, or has been told to go: it is published, and no more than that.
            127 => {
                self.deaths += 1;
                self.failed.insert(file);
            }
            _ => {}
        }
        Some((ticket, Ok(Outcome::Exited(code))))
    }

    fn force(&mut self, how: Force) {
        self.forced = Some(how);
        if how == Force::Abandon {
            self.running.clear();
        }
    }

    fn tell_archived(&mut self, newest: Option<&str>) {
        if let Some(newest) = newest {
            let newest = rank(newest.to_owned());
            // A6.
            let gap = self.begun.range(..=newest.clone()).find(|begun| !self.archived.contains(*begun));
            assert_eq!(gap, None, "{newest:?} was told");
            self.told = Some(newest);
        }
        if !self.histories {
            let mut without_gap = self.begun.iter().take_while(|begun| self.archived.contains(*begun));
            assert_eq!(self.told.as_ref(), without_gap.by_ref().last(), "the newest without a gap");
        }
    }

    fn tell_failed(&mut self, file: &str) {
        assert!(self.failed.contains(&rank(file.to_owned())), "{file} has not failed");
    }

    fn publish(&mut self, news: News<'_>) {
        match news {
            News::Waiting(files) => self.waiting = files,
            News::Stopping => assert!(self.looked_at_stop),
            News::Archived | News::Gone => self.waiting -= 1,
            News::Failing(why) => self.failing = why.is_some(),
            News::Idle => assert!(self.running.is_empty()),
            News::GivesUp(at) => assert!(self.deadline == at || !self.stop),
        }
    }

    fn set_title(&mut self, _: &str) {}

    fn log(&mut self, _: PgError) {}

    fn sleep(&mut self, at_most: Duration) {
        assert!(self.running.is_empty());
        if !self.look() {
            self.uptime += at_most;
        }
    }

    fn wait(&mut self, seconds: i64) -> Wakeup {
        assert!(self.running.is_empty());
        if self.stop || self.wakened || self.look() {
            return Wakeup::Latch;
        }
        self.uptime += Duration::from_secs(seconds as u64);
        Wakeup::Timeout
    }
}

#[test]
fn whatever_happens() {
    let (mut archived, mut deaths, mut given_up) = (0, 0, 0);
    for seed in 0..SEEDS {
        // The seed of a failure.
        let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
        let mut world = World::new(seed);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while world.live() {}));
        if let Err(panic) = ended {
            eprintln!("PGANATOMY_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        archived += world.done.len();
        deaths += world.deaths;
        given_up += u32::from(world.forced.is_some());
    }
    eprintln!("{archived} files archived, {deaths} archivers died, {given_up} stops gave up");
    assert!(archived > 0 && deaths > 0 && given_up > 0);
}
