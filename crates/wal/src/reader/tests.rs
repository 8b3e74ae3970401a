//! What the reader says of damage, in PostgreSQL's words.

use std::fs;

use common::pg_control::CheckPoint;
use common::{Oid, Xid};
use tempfile::TempDir;

use super::*;
use crate::{Record, offline};

const SEGMENT: u32 = 1 << 20;
const START: Lsn = Lsn(SEGMENT as u64 + 40);

fn checkpoint() -> CheckPoint {
    CheckPoint {
        redo: START,
        this_timeline: TimeLineId(1),
        prev_timeline: TimeLineId(1),
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(10_000),
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: 1,
        oldest_multi_db: Oid(1),
        time: 1,
        oldest_commit_ts_xid: Xid(0),
        newest_commit_ts_xid: Xid(0),
        oldest_active_xid: Xid(0),
    }
}

/// A first segment with a checkpoint and, behind it, a no-op of 100 bytes.
fn segment() -> Vec<u8> {
    let mut bytes = offline::checkpoint_segment(42, SEGMENT, &checkpoint());
    let body = [1; 100];
    let mut record = Record::new(RmgrId::Xlog, 0x20);
    record.data(&body);
    let record = offline::encode(&record, START);
    bytes[160..160 + record.len()].copy_from_slice(&record);
    bytes
}

/// What comes of reading both records of a segment that was changed first.
fn read(change: impl FnOnce(&mut Vec<u8>)) -> Result<usize, ReadError> {
    let dir = TempDir::new().unwrap();
    let mut bytes = segment();
    change(&mut bytes);
    fs::write(dir.path().join("000000010000000000000001"), bytes).unwrap();
    let mut reader = Reader::new(dir.path(), SEGMENT, TimeLineId(1));
    reader.set_system_identifier(42);
    reader.begin_read(START);
    reader.next()?;
    Ok(reader.next()?.unwrap().main_data.len())
}

#[track_caller]
fn fails(message: &str, change: impl FnOnce(&mut Vec<u8>)) {
    assert_eq!(read(change).map_err(|error| error.message), Err(message.to_owned()));
}

#[test]
fn damage_is_named() {
    assert_eq!(read(|_| ()), Ok(100));
    let place = "in log segment 000000010000000000000001, offset 0";
    fails(&format!("invalid magic number D111 {place}"), |b| b[0] = 0x11);
    fails(&format!("invalid info bits 0012 {place}"), |b| b[2] = 0x12);
    fails(&format!("invalid info bits 0000 {place}"), |b| b[2] = 0);
    fails(&format!("unexpected pageaddr 0/200000 {place}"), |b| b[10] = 0x20);
    let other = "WAL file is from different database system: ";
    fails(
        &format!(
            "{other}WAL file database system identifier is 43, pg_control database system identifier is 42"
        ),
        |b| b[24] = 43,
    );
    fails(&format!("{other}incorrect segment size in page header"), |b| b[32] = 1);
    fails(&format!("{other}incorrect XLOG_BLCKSZ in page header"), |b| b[36] = 1);
    fails("invalid record length at 0/1000A0: wanted 24, got 0", |b| b[160..].fill(0));
    fails("invalid record length at 0/1000A0: wanted 24, got 23", |b| b[160] = 23);
    fails("invalid resource manager ID 22 at 0/1000A0", |b| b[160 + 17] = 22);
    fails("record with incorrect prev-link 0/100029 at 0/1000A0", |b| b[160 + 8] = 0x29);
    fails("incorrect resource manager data checksum in record at 0/1000A0", |b| b[250] ^= 1);
    // A length that reaches over the page's end asks for a continuation, which the next page is not.
    fails("invalid magic number 0000 in log segment 000000010000000000000001, offset 8192", |b| {
        b[161] = 0x40;
    });
    fails("contrecord is requested by 0/100028", |b| b[2] |= 1);
    let short = read(|b| b.truncate(4096)).unwrap_err();
    assert_eq!(short.kind, ReadErrorKind::Io);
}

#[test]
fn a_missing_segment_and_a_wrong_start() {
    let dir = TempDir::new().unwrap();
    let mut reader = Reader::new(dir.path(), SEGMENT, TimeLineId(1));
    reader.begin_read(START);
    let error = reader.next().unwrap_err();
    assert_eq!(error.kind, ReadErrorKind::NoSegment);
    assert!(error.message.ends_with("000000010000000000000001\": No such file or directory"), "{error}");
    fs::write(dir.path().join("000000010000000000000001"), segment()).unwrap();
    reader.begin_read(Lsn(START.0 - 16));
    assert_eq!(reader.next().unwrap_err().message, "invalid record offset at 0/100018");
    reader.begin_read(START);
    assert_eq!(reader.next().unwrap().unwrap().lsn, START);
    // The end may be tried again when more has been written.
    assert_eq!(reader.next().unwrap().unwrap().lsn, Lsn(SEGMENT as u64 + 160));
    assert!(reader.next().is_err());
    let mut more = segment();
    let record = offline::encode(&Record::new(RmgrId::Xlog, 0x20), Lsn(SEGMENT as u64 + 160));
    let at = (reader.position().0 - SEGMENT as u64) as usize;
    more[at..at + record.len()].copy_from_slice(&record);
    fs::write(dir.path().join("000000010000000000000001"), more).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().total_len, 24);
}

/// An empty page.
fn page(addr: Lsn, timeline: u32) -> Vec<u8> {
    let mut page = vec![0; XLOG_BLCKSZ];
    PageHeader::fresh(addr, TimeLineId(timeline), 42, Geometry::new(SEGMENT)).encode(&mut page);
    page
}

#[test]
fn timelines_never_go_back() {
    let mut check = PageCheck::new(Geometry::new(SEGMENT));
    let mut try_page = |at: u64, timeline| {
        let at = Lsn(u64::from(SEGMENT) + at * XLOG_BLCKSZ as u64);
        check.check(at, &page(at, timeline), TimeLineId(5)).map(drop).map_err(|error| error.message)
    };
    assert_eq!(try_page(1, 3), Ok(()));
    assert_eq!(try_page(2, 4), Ok(()));
    let text =
        "out-of-sequence timeline ID 3 (after 4) in log segment 000000050000000000000001, offset 24576";
    assert_eq!(try_page(3, 3), Err(text.to_owned()));
    // A page that is read again may be older than the latest one.
    assert_eq!(try_page(1, 3), Ok(()));
    assert_eq!(try_page(2, 3), Ok(()));
    assert_eq!(check.latest_page().1, TimeLineId(3));
    check.restart();
    let first = Lsn(u64::from(SEGMENT));
    assert!(check.check(first, &page(first, 1), TimeLineId(5)).is_ok());
}

#[test]
fn a_segment_entered_in_the_middle_shows_its_first_page() {
    let dir = TempDir::new().unwrap();
    let mut bytes = segment();
    bytes[24] = 43;
    bytes[XLOG_BLCKSZ..2 * XLOG_BLCKSZ].copy_from_slice(&page(Lsn(u64::from(SEGMENT) + 8192), 1));
    fs::write(dir.path().join("000000010000000000000001"), bytes).unwrap();
    let mut reader = Reader::new(dir.path(), SEGMENT, TimeLineId(1));
    reader.set_system_identifier(42);
    for _ in 0..2 {
        reader.begin_read(Lsn(u64::from(SEGMENT) + 8192 + 24));
        let error = reader.next().unwrap_err();
        assert!(error.message.starts_with("WAL file is from different database system"), "{error}");
    }
}

/// A stream of which so much has arrived; there is no more.
struct Arrived(Vec<u8>);

impl PageSource for Arrived {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        _check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        let at = (request.page.0 - u64::from(SEGMENT)) as usize;
        let valid = self.0.len().saturating_sub(at).min(buf.len());
        if valid < request.need {
            return Err(ReadError { message: String::new(), kind: ReadErrorKind::End, lsn: request.page });
        }
        buf[..valid].copy_from_slice(&self.0[at..at + valid]);
        Ok(valid)
    }

    fn timeline(&self) -> TimeLineId {
        TimeLineId(1)
    }
}

/// The primary crashed before it had written the rest of a long record. After its recovery the next page says so, and hardly
/// more: who follows must not wait until the page has as much as that record would have had there.
#[test]
fn a_record_that_never_ends_is_not_waited_for() {
    let mut bytes = segment();
    let body = [2; 20_000];
    let mut long = Record::new(RmgrId::Xlog, 0x20);
    long.data(&body);
    let long = offline::encode(&long, START);
    bytes[160..XLOG_BLCKSZ].copy_from_slice(&long[..XLOG_BLCKSZ - 160]);
    let mut next = page(Lsn(u64::from(SEGMENT) + XLOG_BLCKSZ as u64), 1);
    next[2..4].copy_from_slice(&page_flags::FIRST_IS_OVERWRITE_CONTRECORD.to_le_bytes());
    let short = offline::encode(&Record::new(RmgrId::Xlog, 0x20), START);
    next[SHORT_HEADER..SHORT_HEADER + short.len()].copy_from_slice(&short);
    bytes.truncate(XLOG_BLCKSZ);
    bytes.extend_from_slice(&next[..SHORT_HEADER + short.len()]);

    let mut reader = Reader::with_source(Arrived(bytes), SEGMENT);
    reader.begin_read(START);
    reader.next().unwrap();
    let record = reader.next().unwrap().unwrap();
    assert_eq!((record.lsn.0, record.total_len), (u64::from(SEGMENT) + 8192 + 24, short.len() as u32));
    assert_eq!(reader.overwritten_record(), Some(Lsn(u64::from(SEGMENT) + 160)));
}
