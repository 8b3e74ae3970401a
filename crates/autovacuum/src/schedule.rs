//! When each database is due: the launcher's list, and what follows from it. No clock, no process in here.
//!
//! Moments are microseconds since 2000-01-01.
//!
//! C counterpart: `DatabaseList`, `rebuild_database_list`, `launcher_determine_sleep` and the choice in
//! `do_start_worker`.

use std::time::Duration;

use common::{MultiXactId, Oid, Xid};

use crate::hooks::DatabaseRow;

/// The longest nap, whatever `autovacuum_naptime` says. C: `MAX_AUTOVAC_SLEEPTIME`.
const MAX_NAP: Duration = Duration::from_secs(300);
/// The shortest. C: `MIN_AUTOVAC_SLEEPTIME`.
const MIN_NAP: Duration = Duration::from_millis(100);

/// The databases that have counters, soonest due first.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: Vec<(Oid, i64)>,
}

/// A database that could get a worker.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) row: DatabaseRow,
    /// When a worker last began there; `None` if the database has no counters.
    pub(crate) last_autovac: Option<i64>,
}

/// What [`Schedule::choose`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Start a worker there.
    Start(Oid),
    /// All candidates had their turn a moment ago: the list is out of date.
    AllSkipped,
    /// There is none.
    Nobody,
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros() as i64
}

impl Schedule {
    /// Spreads the databases evenly over one nap time: those not seen before first, then in the order so far,
    /// `newest` last, since its worker starts now. C: `rebuild_database_list`.
    pub(crate) fn rebuild(&mut self, newest: Option<Oid>, with_counters: &[Oid], now: i64, nap: Duration) {
        let known: Vec<Oid> = self.due.iter().map(|(oid, _)| *oid).collect();
        let mut order: Vec<Oid> =
            with_counters.iter().copied().filter(|oid| !known.contains(oid)).rev().collect();
        order.extend(known.into_iter().filter(|oid| with_counters.contains(oid)));
        if let Some(newest) = newest.filter(|oid| with_counters.contains(oid)) {
            order.retain(|oid| *oid != newest);
            order.push(newest);
        }
        let step = (micros(nap) / order.len().max(1) as i64).max(micros(MIN_NAP) * 11 / 10);
        self.due = order.into_iter().zip(1..).map(|(oid, nth)| (oid, now + nth * step)).collect();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// When the first is due.
    pub(crate) fn soonest(&self) -> Option<i64> {
        self.due.first().map(|(_, at)| *at)
    }

    /// A worker was sent there: its next turn is a nap away. False if the list does not know the database.
    /// C: the end of `launch_worker`.
    pub(crate) fn sent(&mut self, database: Oid, now: i64, nap: Duration) -> bool {
        let Some(at) = self.due.iter().position(|(oid, _)| *oid == database) else { return false };
        self.due.remove(at);
        self.due.push((database, now + micros(nap)));
        true
    }

    /// How long to sleep; `None` if the first is overdue, which after a rebuild cannot be.
    /// C: `launcher_determine_sleep`.
    pub(crate) fn sleep(&self, can_launch: bool, now: i64, nap: Duration) -> Option<Duration> {
        let wanted = match self.soonest() {
            Some(at) if can_launch => Duration::from_micros((at - now).max(0) as u64),
            _ => nap,
        };
        (!wanted.is_zero()).then(|| clamp(wanted))
    }

    /// Who gets the next worker: the one closest to wraparound if any is in danger, else the one that has
    /// waited longest. C: the middle of `do_start_worker`.
    pub(crate) fn choose(
        &self,
        candidates: &[Candidate],
        force: (Xid, MultiXactId),
        now: i64,
        nap: Duration,
    ) -> Choice {
        if let Some(row) = in_danger(candidates, force) {
            return Choice::Start(row);
        }
        let with_counters = candidates.iter().filter_map(|c| Some((c.row.oid, c.last_autovac?)));
        let mut skipped = false;
        let eligible = with_counters.filter(|(oid, _)| {
            let skip = self.had_its_turn(*oid, now, nap);
            skipped |= skip;
            !skip
        });
        match eligible.min_by_key(|(_, last)| *last) {
            Some((oid, _)) => Choice::Start(oid),
            None if skipped => Choice::AllSkipped,
            None => Choice::Nobody,
        }
    }

    /// It was sent a worker within the last nap.
    fn had_its_turn(&self, database: Oid, now: i64, nap: Duration) -> bool {
        let due = self.due.iter().find(|(oid, _)| *oid == database);
        due.is_some_and(|(_, at)| *at > now && *at <= now + micros(nap))
    }
}

/// A pause as long as the launcher may make.
pub(crate) fn clamp(nap: Duration) -> Duration {
    nap.clamp(MIN_NAP, MAX_NAP)
}

fn in_danger(candidates: &[Candidate], (force_xid, force_multi): (Xid, MultiXactId)) -> Option<Oid> {
    let mut found: Option<&DatabaseRow> = None;
    for Candidate { row, .. } in candidates {
        let older = |other: &DatabaseRow| row.frozen_xid.precedes(other.frozen_xid);
        if row.frozen_xid.precedes(force_xid) && found.is_none_or(older) {
            found = Some(row);
        }
    }
    if found.is_none() {
        for Candidate { row, .. } in candidates {
            let older = |other: &DatabaseRow| row.min_multi.precedes(other.min_multi);
            if row.min_multi.precedes(force_multi) && found.is_none_or(older) {
                found = Some(row);
            }
        }
    }
    found.map(|row| row.oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAP: Duration = Duration::from_secs(60);
    const SECOND: i64 = 1_000_000;

    fn oids(schedule: &Schedule) -> Vec<u32> {
        schedule.due.iter().map(|(oid, _)| oid.0).collect()
    }

    fn candidate(oid: u32, last_autovac: Option<i64>) -> Candidate {
        let (frozen_xid, min_multi) = (Xid(1_000_000), MultiXactId(1000));
        let row = DatabaseRow { oid: Oid(oid), name: format!("db{oid}"), frozen_xid, min_multi };
        Candidate { row, last_autovac }
    }

    #[test]
    fn databases_share_a_nap_evenly() {
        let mut schedule = Schedule::default();
        schedule.rebuild(None, &[Oid(1), Oid(2), Oid(3)], 0, NAP);
        assert_eq!(schedule.due.iter().map(|(_, at)| at / SECOND).collect::<Vec<_>>(), [20, 40, 60]);
        let before = oids(&schedule);
        schedule.rebuild(Some(Oid(before[0])), &[Oid(1), Oid(2), Oid(3), Oid(4)], 0, NAP);
        assert_eq!(oids(&schedule), [4, before[1], before[2], before[0]], "new ones first, the newest last");
        schedule.rebuild(None, &[Oid(2)], 0, NAP);
        assert_eq!(oids(&schedule), [2], "without counters, without a turn");
    }

    #[test]
    fn naps_until_the_soonest_database_is_due() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.sleep(true, 0, NAP), Some(NAP));
        assert_eq!(schedule.sleep(true, 0, Duration::from_secs(86_400)), Some(MAX_NAP));
        schedule.rebuild(None, &[Oid(1), Oid(2)], 0, NAP);
        assert_eq!(schedule.sleep(true, 0, NAP), Some(NAP / 2));
        assert_eq!(schedule.sleep(false, 0, NAP), Some(NAP), "no worker is free");
        assert_eq!(schedule.sleep(true, 30 * SECOND - 1, NAP), Some(MIN_NAP));
        assert_eq!(schedule.sleep(true, 31 * SECOND, NAP), None, "overdue: the list is made anew");
        assert!(schedule.sent(schedule.due[0].0, 31 * SECOND, NAP));
        assert_eq!(schedule.soonest(), Some(60 * SECOND));
        assert!(!schedule.sent(Oid(99), 0, NAP));
    }

    #[test]
    fn the_one_that_waited_longest_goes_first_unless_one_is_in_danger() {
        let mut schedule = Schedule::default();
        let force = (Xid(500_000), MultiXactId(500));
        let list = [candidate(1, Some(9)), candidate(2, Some(5)), candidate(3, None)];
        let choose = |s: &Schedule, list: &[Candidate], now| s.choose(list, force, now, NAP);
        assert_eq!(choose(&schedule, &list, 0), Choice::Start(Oid(2)));
        assert_eq!(choose(&schedule, &list[2..], 0), Choice::Nobody);
        schedule.rebuild(None, &[Oid(1), Oid(2)], 0, NAP);
        schedule.sent(Oid(2), 0, NAP);
        assert_eq!(choose(&schedule, &list[1..], 1), Choice::AllSkipped);
        let mut danger = candidate(3, None);
        danger.row.frozen_xid = Xid(400_000);
        assert_eq!(choose(&schedule, &[list[0].clone(), danger], 1), Choice::Start(Oid(3)));
        let mut multi = candidate(4, None);
        multi.row.min_multi = MultiXactId(3);
        assert_eq!(choose(&schedule, &[list[0].clone(), multi], 1), Choice::Start(Oid(4)));
    }
}
