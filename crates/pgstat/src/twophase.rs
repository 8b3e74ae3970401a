//! Counts of rows that a prepared transaction has changed: whoever ends it counts them.
//!
//! ```text
//! record   56   inserted, updated, deleted 8 each, the same before the table was emptied 8 each, table 4,
//!               shared 1, emptied 1, pad 2
//! ```
//!
//! C counterpart: `AtPrepare_PgStat`, `pgstat_twophase_postcommit` and its siblings of pgstat_relation.c.

use activity::counters;
use activity::table_stats::{self, PreparedCounts};
use common::Oid;
use transam::twophase::{self, Prepared, RmId, TwoPhaseCallbacks};

/// C: `sizeof(TwoPhasePgStatRecord)`.
const RECORD: usize = 56;

/// Enters this crate among those who have state of prepared transactions.
pub(crate) fn register() {
    twophase::register(
        RmId::Pgstat,
        TwoPhaseCallbacks {
            post_commit: Some(|_: Prepared, _, data: &[u8]| end(data, true)),
            post_abort: Some(|_: Prepared, _, data: &[u8]| end(data, false)),
            ..TwoPhaseCallbacks::default()
        },
    );
}

fn to_bytes(counts: &PreparedCounts) -> Vec<u8> {
    let before = counts.before_truncate.unwrap_or_default();
    let mut bytes: Vec<u8> = counts.changed.iter().chain(&before).flat_map(|n| n.to_le_bytes()).collect();
    bytes.extend(counts.rel.0.to_le_bytes());
    bytes.extend([u8::from(counts.shared), u8::from(counts.before_truncate.is_some()), 0, 0]);
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<PreparedCounts> {
    let bytes: &[u8; RECORD] = bytes.try_into().ok()?;
    let (words, rest) = bytes.as_chunks::<8>();
    debug_assert!(rest.is_empty());
    let number = |at: usize| i64::from_le_bytes(words[at]);
    let [a, b, c, d, shared, truncated, ..] = words[6];
    let before = [number(3), number(4), number(5)];
    Some(PreparedCounts {
        rel: Oid(u32::from_le_bytes([a, b, c, d])),
        shared: shared != 0,
        changed: [number(0), number(1), number(2)],
        before_truncate: (truncated != 0).then_some(before),
    })
}

/// C: `AtPrepare_PgStat`.
pub(crate) fn at_prepare() -> elog::Result<()> {
    for counts in table_stats::prepared() {
        twophase::register_record(RmId::Pgstat, 0, &to_bytes(&counts));
    }
    Ok(())
}

/// C: `PostPrepare_PgStat`.
pub(crate) fn post_prepare() {
    table_stats::post_prepare();
    crate::reader::clear_snapshot();
}

fn end(data: &[u8], committed: bool) {
    if let Some(counts) = from_bytes(data) {
        table_stats::end_prepared(&counts, committed);
    }
}

/// Counts the end of a prepared transaction itself: the `count` of [`twophase::Effects`].
pub fn count_prepared_end(committed: bool) {
    counters::database(|d| counters::add(if committed { &d.commits } else { &d.rollbacks }, 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_postgresqls() {
        let counts = PreparedCounts {
            rel: Oid(16_384),
            shared: false,
            changed: [1, 2, 3],
            before_truncate: Some([4, 5, 6]),
        };
        let bytes = to_bytes(&counts);
        assert_eq!(
            (bytes.len(), bytes[0], bytes[40], &bytes[48..]),
            (RECORD, 1, 6, &[0, 64, 0, 0, 0, 1, 0, 0][..])
        );
        assert_eq!(from_bytes(&bytes), Some(counts));
        let plain = PreparedCounts { before_truncate: None, ..counts };
        assert_eq!(from_bytes(&to_bytes(&plain)), Some(plain));
        assert_eq!(from_bytes(&bytes[1..]), None);
    }
}
