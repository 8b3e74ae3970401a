//! The loop over WAL made by `wal`'s own builder, with a table of toy resource managers.

use std::cell::RefCell;
use std::path::Path;

use common::pg_control::CheckPoint;
use common::{TimeLineId, Xid};
use elog::error;
use wal::{Record, RmgrId};

use super::*;
use crate::rmgr::Rmgr;
use crate::target::StopAt;
use crate::xlog::{CheckpointPlace, FoundCheckpoint, read_checkpoint};

const SEGMENT: u32 = 1 << 20;
const SYSTEM: u64 = 77;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(record: &DecodedRecord<'_>) -> Result<()> {
    let text = String::from_utf8_lossy(record.main_data).into_owned();
    SEEN.with_borrow_mut(|seen| seen.push(text.clone()));
    if text == "bad" { Err(error!(SqlState::DATA_CORRUPTED, "it cannot be replayed")) } else { Ok(()) }
}

fn checkpoint() -> CheckPoint {
    let redo = wal::offline::first_checkpoint_lsn(SEGMENT);
    let mut bytes = vec![0u8; 88];
    bytes[..8].copy_from_slice(&redo.0.to_le_bytes());
    let mut checkpoint = CheckPoint::from_bytes(&bytes).unwrap();
    (checkpoint.this_timeline, checkpoint.prev_timeline) = (TimeLineId(1), TimeLineId(1));
    checkpoint
}

/// A segment with a checkpoint and one record for each text; returns the position behind each of them.
fn write_wal(dir: &Path, texts: &[&str]) -> Vec<Lsn> {
    let mut segment = wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &checkpoint());
    let start = u64::from(SEGMENT);
    let mut previous = wal::offline::first_checkpoint_lsn(SEGMENT);
    let mut body = Record::new(RmgrId::Xlog, 0);
    let bytes = checkpoint().to_bytes();
    body.data(&bytes[..]);
    let first = wal::offline::encode(&body, Lsn::INVALID);
    let mut end = Lsn((previous.0 + first.len() as u64).next_multiple_of(8));
    let mut ends = vec![end];
    for text in texts {
        let mut record = Record::new(RmgrId::Heap, 0);
        record.data(text.as_bytes());
        let bytes = wal::offline::encode(&record, previous);
        let at = (end.0 - start) as usize;
        segment[at..at + bytes.len()].copy_from_slice(&bytes);
        previous = end;
        end = Lsn((end.0 + bytes.len() as u64).next_multiple_of(8));
        ends.push(end);
    }
    std::fs::write(dir.join("000000010000000000000001"), segment).unwrap();
    ends
}

fn reader(dir: &Path) -> Reader {
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    wal::segment::set_wal_dir(Some(dir));
    state::with(|state| state.target_timeline.set(TimeLineId(1)));
    let mut reader = Reader::with_source(Source::new(false, Box::new(source::WalReceiver)), SEGMENT);
    reader.set_system_identifier(SYSTEM);
    reader
}

/// Stops where it is told to.
#[derive(Default)]
struct Script {
    /// Before which record, counted from 0; it fails there if `fails`.
    before: Option<usize>,
    fails: bool,
    after: Option<usize>,
    seen: usize,
    at_target: bool,
}

impl Around for Script {
    fn before(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>> {
        assert_eq!(record.xid, Xid::INVALID);
        let here = self.before == Some(self.seen);
        if here && self.fails {
            return Err(error!(SqlState::ADMIN_SHUTDOWN, "leave"));
        }
        Ok(here.then_some(Stop { after: false, at: StopAt::Lsn(record.lsn) }))
    }

    fn begin(&mut self, _: &DecodedRecord<'_>) -> Result<()> {
        Ok(())
    }

    fn after(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>> {
        self.seen += 1;
        let here = self.after == Some(self.seen);
        Ok(here.then_some(Stop { after: true, at: StopAt::Lsn(record.lsn) }))
    }

    fn at_target(&mut self) -> Result<()> {
        self.at_target = true;
        Ok(())
    }
}

fn run_with(dir: &Path, from: Lsn, table: &Table, script: &mut Script) -> Result<Replayed> {
    SEEN.take();
    replay(&mut reader(dir), from, TimeLineId(1), table, script)
}

fn run(dir: &Path, from: Lsn, table: &Table) -> Result<Replayed> {
    run_with(dir, from, table, &mut Script::default())
}

fn heap_table() -> Table {
    let table = Table::default();
    table.register(RmgrId::Heap, Rmgr::new(note));
    table
}

#[test]
fn replays_in_order_up_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one", "two", "three"]);
    let replayed = run(dir.path(), ends[0], &heap_table()).unwrap();
    assert_eq!(SEEN.take(), ["one", "two", "three"]);
    assert_eq!((replayed.records, replayed.last_record, replayed.end), (3, ends[2], ends[3]));
    assert_eq!(run(dir.path(), ends[3], &heap_table()).unwrap(), Replayed::default(), "redo is not required");
}

#[test]
fn a_damaged_record_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one", "two", "three"]);
    let path = dir.path().join("000000010000000000000001");
    let mut segment = std::fs::read(&path).unwrap();
    // The last byte of the second record.
    let at = (ends[1].0 - u64::from(SEGMENT)) as usize + wal::layout::RECORD_HEADER + 3;
    segment[at] ^= 0xFF;
    std::fs::write(&path, segment).unwrap();
    let replayed = run(dir.path(), ends[0], &heap_table()).unwrap();
    assert_eq!(SEEN.take(), ["one"]);
    assert_eq!(replayed.end, ends[1]);
}

#[test]
fn an_error_ends_the_recovery_and_names_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one", "bad", "three"]);
    let error = run(dir.path(), ends[0], &heap_table()).unwrap_err();
    assert_eq!(error.severity, Severity::Fatal);
    // Its data is "bad", which says row 0x6162 and flags 0x64.
    let context = format!("WAL redo at {} for Heap/INSERT: off 24930 flags 0x64", ends[1]);
    assert_eq!(error.context, Some(context));
    let error = run(dir.path(), ends[0], &Table::default()).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED, "nobody replays it");
}

#[test]
fn the_order_to_leave_is_obeyed_between_records() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one", "two"]);
    let mut script = Script { before: Some(1), fails: true, ..Script::default() };
    let error = run_with(dir.path(), ends[0], &heap_table(), &mut script).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::ADMIN_SHUTDOWN);
    assert_eq!(SEEN.take(), ["one"]);
}

#[test]
fn replay_stops_before_and_after_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one", "two", "three"]);
    let mut script = Script { before: Some(1), ..Script::default() };
    let replayed = run_with(dir.path(), ends[0], &heap_table(), &mut script).unwrap();
    assert_eq!(SEEN.take(), ["one"]);
    assert_eq!((replayed.last_record, replayed.end), (ends[0], ends[1]));
    assert_eq!(replayed.stop, Some(Stop { after: false, at: StopAt::Lsn(ends[1]) }));
    assert!(script.at_target);

    let mut script = Script { after: Some(2), ..Script::default() };
    let replayed = run_with(dir.path(), ends[0], &heap_table(), &mut script).unwrap();
    assert_eq!(SEEN.take(), ["one", "two"]);
    assert_eq!(replayed.stop, Some(Stop { after: true, at: StopAt::Lsn(ends[1]) }));
    assert!(script.at_target);
}

#[test]
fn records_of_other_timelines_are_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one"]);
    state::set_expected(wal::timeline::History::single(TimeLineId(7)));
    let mut reader = reader(dir.path());
    let name = |timeline: u32| dir.path().join(format!("{timeline:08X}0000000000000001"));
    std::fs::copy(name(1), name(7)).unwrap();
    let place = CheckpointPlace::ControlFile;
    let first = wal::offline::first_checkpoint_lsn(SEGMENT);
    assert!(read_checkpoint(&mut reader, first, place, TimeLineId(7)).unwrap().is_none());
    assert!(ends[0] > first);
}

#[test]
fn the_checkpoint_record_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let ends = write_wal(dir.path(), &["one"]);
    let first = wal::offline::first_checkpoint_lsn(SEGMENT);
    let mut reader = reader(dir.path());
    let one = TimeLineId(1);
    for place in [CheckpointPlace::ControlFile, CheckpointPlace::Label] {
        let found = read_checkpoint(&mut reader, first, place, one).unwrap().unwrap();
        assert_eq!(found, FoundCheckpoint { checkpoint: checkpoint(), shutdown: true, end: ends[0] });
        for wrong in [ends[0], ends[1], Lsn(u64::from(SEGMENT)), Lsn(u64::from(SEGMENT) * 5 + 40)] {
            assert!(read_checkpoint(&mut reader, wrong, place, one).unwrap().is_none(), "{wrong}");
        }
    }
}
