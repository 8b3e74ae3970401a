//! Whether a table needs VACUUM or ANALYZE: a pure function of its counters, its age and the settings.
//!
//! C counterpart: `relation_needs_vacanalyze`.

use common::{MultiXactId, Oid, Xid};
use pgstat::TableEntry;

use crate::hooks::TableRow;

/// `pg_statistic`: ANALYZE writes it, so it is never analyzed itself. C: `StatisticRelationId`.
const PG_STATISTIC: Oid = Oid(2619);

/// Where transaction ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Next transaction id.
    pub next_xid: Xid,
    /// Next multixact id.
    pub next_multi: MultiXactId,
    /// `autovacuum_multixact_freeze_max_age`, less if the members take too much room.
    /// C: `MultiXactMemberFreezeThreshold`.
    pub multixact_freeze_max_age: i32,
}

impl Default for Ages {
    fn default() -> Ages {
        Ages {
            next_xid: Xid::FIRST_NORMAL,
            next_multi: MultiXactId::FIRST,
            multixact_freeze_max_age: guc::vars::AUTOVACUUM_MULTIXACT_FREEZE_MAX_AGE.get(),
        }
    }
}

impl Ages {
    /// Older ids than this must be frozen now.
    pub(crate) fn force_xid(&self, freeze_max_age: i32) -> Xid {
        let limit = self.next_xid.0.wrapping_sub(freeze_max_age as u32);
        // Not one of the permanent ids, which are older than all others.
        if limit < Xid::FIRST_NORMAL.0 { Xid(limit.wrapping_sub(Xid::FIRST_NORMAL.0)) } else { Xid(limit) }
    }

    /// Older multixact ids than this must be frozen now.
    pub(crate) fn force_multi(&self, freeze_max_age: i32) -> MultiXactId {
        let limit = self.next_multi.0.wrapping_sub(freeze_max_age as u32);
        MultiXactId(if limit == 0 { u32::MAX } else { limit })
    }
}

/// The storage parameters of one table; `None` leaves a matter to the setting. C: `AutoVacOpts`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each is the storage parameter autovacuum_ of that name")]
pub struct StorageOptions {
    /// `autovacuum_enabled = off`.
    pub disabled: bool,
    pub vacuum_threshold: Option<i32>,
    pub vacuum_scale_factor: Option<f64>,
    pub vacuum_insert_threshold: Option<i32>,
    pub vacuum_insert_scale_factor: Option<f64>,
    pub analyze_threshold: Option<i32>,
    pub analyze_scale_factor: Option<f64>,
    pub freeze_max_age: Option<i32>,
    pub multixact_freeze_max_age: Option<i32>,
}

/// The settings that decide, so that tests can choose them.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "each is the setting autovacuum_ of that name")]
pub(crate) struct Thresholds {
    /// `autovacuum` and `track_counts`.
    pub(crate) active: bool,
    pub(crate) vacuum_threshold: i32,
    pub(crate) vacuum_scale_factor: f64,
    pub(crate) vacuum_insert_threshold: i32,
    pub(crate) vacuum_insert_scale_factor: f64,
    pub(crate) analyze_threshold: i32,
    pub(crate) analyze_scale_factor: f64,
    pub(crate) freeze_max_age: i32,
}

impl Thresholds {
    pub(crate) fn current() -> Thresholds {
        use guc::vars::*;
        Thresholds {
            active: crate::is_wanted(),
            vacuum_threshold: AUTOVACUUM_VACUUM_THRESHOLD.get(),
            vacuum_scale_factor: AUTOVACUUM_VACUUM_SCALE_FACTOR.get(),
            vacuum_insert_threshold: AUTOVACUUM_VACUUM_INSERT_THRESHOLD.get(),
            vacuum_insert_scale_factor: AUTOVACUUM_VACUUM_INSERT_SCALE_FACTOR.get(),
            analyze_threshold: AUTOVACUUM_ANALYZE_THRESHOLD.get(),
            analyze_scale_factor: AUTOVACUUM_ANALYZE_SCALE_FACTOR.get(),
            freeze_max_age: AUTOVACUUM_FREEZE_MAX_AGE.get(),
        }
    }
}

/// What a table needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) vacuum: bool,
    pub(crate) analyze: bool,
    pub(crate) wraparound: bool,
}

/// A table without counters (nobody touched it since they were reset) is only looked at for its age.
pub(crate) fn needs(table: &TableRow, entry: Option<&TableEntry>, ages: &Ages, set: &Thresholds) -> Needs {
    let options = table.options.unwrap_or_default();
    let xid_age = options.freeze_max_age.map_or(set.freeze_max_age, |own| own.min(set.freeze_max_age));
    let multi_age = ages.multixact_freeze_max_age;
    let multi_age = options.multixact_freeze_max_age.map_or(multi_age, |own| own.min(multi_age));
    let wraparound = table.frozen_xid.is_normal() && table.frozen_xid.precedes(ages.force_xid(xid_age))
        || table.min_multi.is_valid() && table.min_multi.precedes(ages.force_multi(multi_age));
    if options.disabled && !wraparound {
        return Needs::default();
    }
    let Some(entry) = entry.filter(|_| set.active) else {
        return Needs { vacuum: wraparound, analyze: false, wraparound };
    };
    let rows = table.reltuples.max(0.0);
    let exceeds = |count: i64, base: i32, scale: f64| count as f64 > f64::from(base) + scale * rows;
    let insert_base = options.vacuum_insert_threshold.unwrap_or(set.vacuum_insert_threshold);
    let insert_scale = options.vacuum_insert_scale_factor.unwrap_or(set.vacuum_insert_scale_factor);
    let dead = exceeds(
        entry.n_dead_tuples,
        options.vacuum_threshold.unwrap_or(set.vacuum_threshold),
        options.vacuum_scale_factor.unwrap_or(set.vacuum_scale_factor),
    );
    let inserted = insert_base >= 0 && exceeds(entry.inserts_since_vacuum, insert_base, insert_scale);
    let changed = exceeds(
        entry.changes_since_analyze,
        options.analyze_threshold.unwrap_or(set.analyze_threshold),
        options.analyze_scale_factor.unwrap_or(set.analyze_scale_factor),
    );
    Needs {
        vacuum: wraparound || dead || inserted,
        analyze: changed && !table.toast && table.oid != PG_STATISTIC,
        wraparound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Thresholds = Thresholds {
        active: true,
        vacuum_threshold: 50,
        vacuum_scale_factor: 0.2,
        vacuum_insert_threshold: 1000,
        vacuum_insert_scale_factor: 0.2,
        analyze_threshold: 50,
        analyze_scale_factor: 0.1,
        freeze_max_age: 200_000_000,
    };
    const AGES: Ages = Ages {
        next_xid: Xid(300_000_000),
        next_multi: MultiXactId(500_000_000),
        multixact_freeze_max_age: 400_000_000,
    };

    fn table() -> TableRow {
        TableRow {
            oid: Oid(16384),
            schema: "public".into(),
            name: "t".into(),
            shared: false,
            toast: false,
            reltuples: 1000.0,
            frozen_xid: Xid(250_000_000),
            min_multi: MultiXactId(450_000_000),
            options: None,
        }
    }

    /// `counters`: dead rows, rows inserted since VACUUM, rows changed since ANALYZE.
    #[track_caller]
    fn check(counters: (i64, i64, i64), expected: &str, change: impl FnOnce(&mut TableRow)) {
        let mut row = table();
        change(&mut row);
        let (dead, inserted, changed) = counters;
        let entry = TableEntry {
            n_dead_tuples: dead,
            inserts_since_vacuum: inserted,
            changes_since_analyze: changed,
            ..TableEntry::default()
        };
        let found = words(needs(&row, Some(&entry), &AGES, &SET));
        assert_eq!(found, expected);
    }

    fn words(needs: Needs) -> String {
        let words = [(needs.vacuum, "vacuum"), (needs.analyze, "analyze"), (needs.wraparound, "wraparound")];
        let words: Vec<&str> = words.into_iter().filter(|(yes, _)| *yes).map(|(_, word)| word).collect();
        words.join(" ")
    }

    #[test]
    fn thresholds_must_be_exceeded() {
        check((250, 1200, 150), "", |_| {});
        check((251, 0, 0), "vacuum", |_| {});
        check((0, 1201, 0), "vacuum", |_| {});
        check((0, 0, 151), "analyze", |_| {});
        check((51, 0, 51), "vacuum analyze", |t| t.reltuples = -1.0);
        check((0, 0, 151), "", |t| t.toast = true);
        check((0, 0, 151), "", |t| t.oid = PG_STATISTIC);
    }

    #[test]
    fn a_tables_own_parameters_win() {
        let with = |options: StorageOptions| move |t: &mut TableRow| t.options = Some(options);
        let none = StorageOptions::default();
        check((251, 0, 0), "", with(StorageOptions { disabled: true, ..none }));
        check(
            (11, 0, 0),
            "vacuum",
            with(StorageOptions { vacuum_threshold: Some(10), vacuum_scale_factor: Some(0.0), ..none }),
        );
        check((0, 9999, 0), "", with(StorageOptions { vacuum_insert_threshold: Some(-1), ..none }));
    }

    #[test]
    fn age_forces_a_vacuum_even_without_counters() {
        check((0, 0, 0), "vacuum wraparound", |t| t.frozen_xid = Xid(99_999_999));
        check((0, 0, 0), "", |t| t.frozen_xid = Xid(100_000_000));
        check((0, 0, 0), "vacuum wraparound", |t| t.min_multi = MultiXactId(99_999_999));
        check((0, 0, 0), "vacuum wraparound", |t| {
            t.options = Some(StorageOptions {
                disabled: true,
                freeze_max_age: Some(10_000_000),
                ..StorageOptions::default()
            });
        });
        let old = TableRow { frozen_xid: Xid(3), ..table() };
        assert_eq!(words(needs(&old, None, &AGES, &SET)), "vacuum wraparound");
        assert_eq!(words(needs(&table(), None, &AGES, &SET)), "");
        let off = Thresholds { active: false, ..SET };
        let entry = TableEntry { n_dead_tuples: 9999, ..TableEntry::default() };
        assert_eq!(words(needs(&table(), Some(&entry), &AGES, &off)), "");
    }
}
