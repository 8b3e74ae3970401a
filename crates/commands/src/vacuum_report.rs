//! What VACUUM and ANALYZE say of themselves: under VERBOSE to the client, by autovacuum to the log.
//!
//! C counterpart: the ends of `heap_vacuum_rel` and `do_analyze_rel`, `pg_rusage_show`.

use std::time::{Duration, Instant};

use activity::counters;
use common::{BLCKSZ, MultiXactId, Xid};
use heap::vacuum::VacuumReport;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use transam::varsup;

/// What had been used when the work began. C: `PGRUsage`, `VacuumPageHit` and its like, `walusage_start`.
pub(crate) struct Meter {
    began: Instant,
    cpu: (Duration, Duration),
    buffers: storage::stats::Counters,
    wal: counters::WalTaken,
}

/// User and system time of this process. C: `getrusage`.
fn cpu() -> (Duration, Duration) {
    let time = |value: TimeVal| {
        let micros = value.tv_usec().try_into().unwrap_or(0);
        Duration::from_secs(value.tv_sec().try_into().unwrap_or(0)) + Duration::from_micros(micros)
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or((Duration::ZERO, Duration::ZERO), |usage| {
        (time(usage.user_time()), time(usage.system_time()))
    })
}

/// C: `pg_rusage_show`'s format: seconds and hundredths.
fn hundredths(time: Duration) -> String {
    format!("{}.{:02} s", time.as_secs(), time.subsec_millis() / 10)
}

fn percent(part: u32, all: u32) -> f64 {
    if all == 0 { 100.0 } else { 100.0 * f64::from(part) / f64::from(all) }
}

impl Meter {
    pub(crate) fn start() -> Meter {
        Meter {
            began: Instant::now(),
            cpu: cpu(),
            buffers: storage::stats::get(),
            wal: counters::wal(counters::Wal::get),
        }
    }

    /// Whether so many milliseconds have passed; never if negative. C: the check of `log_min_duration`.
    pub(crate) fn exceeds(&self, millis: i32) -> bool {
        u128::try_from(millis).is_ok_and(|millis| self.began.elapsed().as_millis() >= millis)
    }

    /// Rates, buffers, and with `wal` what was written of it.
    fn usage(&self, wal: bool) -> String {
        let elapsed = self.began.elapsed();
        let now = storage::stats::get();
        let (hit, read) = (now.hit - self.buffers.hit, now.read - self.buffers.read);
        let dirtied = now.dirtied - self.buffers.dirtied;
        let rate = |pages: u64| {
            let megabytes = pages as f64 * BLCKSZ as f64 / 1_048_576.0;
            if elapsed.is_zero() { 0.0 } else { megabytes / elapsed.as_secs_f64() }
        };
        let mut text = String::new();
        if guc::vars::TRACK_IO_TIMING.get() {
            let millis = |now: u64, before: u64| (now - before) as f64 / 1e6;
            text.push_str(&format!(
                "I/O timings: read: {:.3} ms, write: {:.3} ms\n",
                millis(now.read_nanos, self.buffers.read_nanos),
                millis(now.write_nanos, self.buffers.write_nanos)
            ));
        }
        text.push_str(&format!(
            "avg read rate: {:.3} MB/s, avg write rate: {:.3} MB/s\n\
             buffer usage: {hit} hits, {read} misses, {dirtied} dirtied\n",
            rate(read),
            rate(dirtied)
        ));
        if wal {
            let now = counters::wal(counters::Wal::get);
            text.push_str(&format!(
                "WAL usage: {} records, {} full page images, {} bytes\n",
                now.records - self.wal.records,
                now.fpi - self.wal.fpi,
                now.bytes - self.wal.bytes
            ));
        }
        let (user, system) = cpu();
        text.push_str(&format!(
            "system usage: CPU: user: {}, system: {}, elapsed: {}",
            hundredths(user.saturating_sub(self.cpu.0)),
            hundredths(system.saturating_sub(self.cpu.1)),
            hundredths(elapsed)
        ));
        text
    }
}

/// Who vacuumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) autovacuum: bool,
    pub(crate) wraparound: bool,
}

/// The whole text. `before`: the table's oldest ids until now.
pub(crate) fn vacuumed(
    name: &str,
    who: Who,
    report: &VacuumReport,
    before: (Xid, MultiXactId),
    meter: &Meter,
) -> String {
    let mut text = headline(name, who, report.aggressive) + ": index scans: 0\n";
    text.push_str(&counts(report));
    text.push_str(&cutoffs(report, before));
    text.push_str(&format!(
        "index scan not needed: {} pages from table ({:.2}% of total) had {} dead item identifiers removed\n",
        report.lpdead_item_pages,
        percent(report.lpdead_item_pages, report.pages_before),
        report.lpdead_items
    ));
    text.push_str(&meter.usage(true));
    text
}

fn headline(name: &str, who: Who, aggressive: bool) -> String {
    if !who.autovacuum {
        return format!("finished vacuuming \"{name}\"");
    }
    let how = if aggressive { "aggressive " } else { "" };
    let why = if who.wraparound { " to prevent wraparound" } else { "" };
    format!("automatic {how}vacuum{why} of table \"{name}\"")
}

fn counts(report: &VacuumReport) -> String {
    let mut text = format!(
        "pages: {} removed, {} remain, {} scanned ({:.2}% of total)\n\
         tuples: {} removed, {} remain, {} are dead but not yet removable\n",
        report.pages_removed,
        report.relpages,
        report.scanned_pages,
        percent(report.scanned_pages, report.pages_before),
        report.tuples_deleted,
        report.reltuples as i64,
        report.recently_dead_tuples
    );
    if report.missed_dead_tuples > 0 {
        text.push_str(&format!(
            "tuples missed: {} dead from {} pages not removed due to cleanup lock contention\n",
            report.missed_dead_tuples, report.missed_dead_pages
        ));
    }
    text
}

fn cutoffs(report: &VacuumReport, (frozen, min_multi): (Xid, MultiXactId)) -> String {
    let ahead = |new: u32, old: u32| new.wrapping_sub(old).cast_signed();
    let mut text = format!(
        "removable cutoff: {}, which was {} XIDs old when operation ended\n",
        report.oldest_xmin,
        ahead(varsup::read_next_xid().0, report.oldest_xmin.0)
    );
    if let Some(new) = report.new_frozen_xid.filter(|new| frozen.precedes(*new)) {
        let by = ahead(new.0, frozen.0);
        text.push_str(&format!("new relfrozenxid: {new}, which is {by} XIDs ahead of previous value\n"));
    }
    if let Some(new) = report.new_min_multi.filter(|new| min_multi.precedes(*new)) {
        let by = ahead(new.0, min_multi.0);
        let new = new.0;
        text.push_str(&format!("new relminmxid: {new}, which is {by} MXIDs ahead of previous value\n"));
    }
    text
}

/// The same for ANALYZE.
pub(crate) fn analyzed(name: &str, autovacuum: bool, meter: &Meter) -> String {
    let first = if autovacuum {
        format!("automatic analyze of table \"{name}\"\n")
    } else {
        format!("finished analyzing table \"{name}\"\n")
    };
    first + &meter.usage(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_postgresqls() {
        let report = VacuumReport {
            pages_before: 5,
            relpages: 5,
            scanned_pages: 5,
            tuples_deleted: 500,
            reltuples: 500.0,
            lpdead_items: 500,
            lpdead_item_pages: 3,
            new_min_multi: Some(MultiXactId(9)),
            ..VacuumReport::default()
        };
        assert_eq!(
            counts(&report),
            "pages: 0 removed, 5 remain, 5 scanned (100.00% of total)\n\
             tuples: 500 removed, 500 remain, 0 are dead but not yet removable\n"
        );
        let auto = |wraparound| Who { autovacuum: true, wraparound };
        assert_eq!(headline("p.s.t", auto(false), false), "automatic vacuum of table \"p.s.t\"");
        assert_eq!(
            headline("p.s.t", auto(true), true),
            "automatic aggressive vacuum to prevent wraparound of table \"p.s.t\""
        );
        assert_eq!(hundredths(Duration::from_millis(1079)), "1.07 s");
        assert!((percent(3, 5) - 60.0).abs() < 1e-9);
    }
}
