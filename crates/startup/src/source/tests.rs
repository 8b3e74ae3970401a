//! Which timelines a segment is looked for on, and which pages are no good.

use common::TimeLineId;
use wal::layout::PAGE_MAGIC;
use wal::timeline::History;

use super::segments::{candidates, on_expected_timelines};
use super::*;

const SEGMENT: u64 = 1 << 20;

fn history() -> History {
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    // Left in the middle of segment 5, and at the end of segment 8.
    let text = "1\t0/580000\twhy\n3\t0/900000\twhy\n";
    History::parse(text, TimeLineId(4), "00000004.history").unwrap()
}

fn candidates_of(at_least: u32, number: SegNo) -> Vec<u32> {
    candidates(&history(), TimeLineId(at_least), number).into_iter().map(|tli| tli.0).collect()
}

#[test]
fn newest_timelines_first_and_never_back() {
    assert_eq!(candidates_of(0, 4), [1]);
    assert_eq!(candidates_of(0, 5), [3, 1], "the child has a copy of its parent's beginning");
    assert_eq!(candidates_of(0, 9), [4, 3, 1]);
    assert_eq!(candidates_of(3, 9), [4, 3], "the parent may have gone on");
    assert_eq!(candidates_of(4, 12), [4]);
}

#[test]
fn the_same_complaint_is_made_once() {
    let mut source = Source::new(false, Box::new(WalReceiver));
    source.read_from = Place::PgWal;
    let mut at = |lsn| source.severity_at(Severity::Log, Lsn(lsn));
    assert_eq!(
        [at(1), at(1), at(2), at(2)],
        [Severity::Log, Severity::Debug1, Severity::Log, Severity::Debug1]
    );
    source.read_from = Place::Archive;
    assert_eq!(source.severity_at(Severity::Log, Lsn(2)), Severity::Log);
}

#[test]
fn pages_of_strangers_end_what_is_valid() {
    state::set_expected(history());
    let page = |timeline: u32, at: u64| {
        let mut bytes = vec![0; XLOG_BLCKSZ];
        bytes[..2].copy_from_slice(&PAGE_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&timeline.to_le_bytes());
        bytes[8..16].copy_from_slice(&at.to_le_bytes());
        bytes
    };
    let valid = |pages: [Vec<u8>; 2]| {
        let request = PageRequest { page: Lsn(SEGMENT * 9), need: 100, record: Lsn(SEGMENT * 9) };
        on_expected_timelines(request, &pages.concat(), TimeLineId(4)).map_err(|error| error.message)
    };
    let (first, second) = (SEGMENT * 9, SEGMENT * 9 + 8192);
    assert_eq!(valid([page(3, first), page(4, second)]), Ok(2 * XLOG_BLCKSZ));
    assert_eq!(valid([page(3, first), page(2, second)]), Ok(XLOG_BLCKSZ));
    assert_eq!(valid([page(3, first), page(2, 0)]), Ok(2 * XLOG_BLCKSZ), "no page of this place at all");
    assert_eq!(
        valid([page(2, first), page(3, second)]),
        Err("unexpected timeline ID 2 in log segment 000000040000000000000009, offset 0".to_owned())
    );
}
