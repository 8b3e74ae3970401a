//! From insertion to disk and back: one process, many processes, a crash, and PostgreSQL's own reader.
//! One test, since a process has one segment of shared memory.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::os::unix::fs::FileExt;

use common::{ForkNumber, Lsn, Oid, RelFileNode, TimeLineId, Xid};
use page::Page;
use support::{Cluster, Random, SEGMENT, child, wait, waldump};
use wal::checkpoint::{self, info};
use wal::{
    BlockTag, PageCheck, PageRequest, PageSource, ReadError, ReadErrorKind, Reader, Record, RegFlags, RmgrId,
    SegmentFiles,
};

fn tag(block: u32) -> BlockTag {
    let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16_384) };
    BlockTag { node, fork: ForkNumber::Main, block }
}

/// A record that pg_waldump can print whatever its data is.
fn insert_noop(xid: u32, body: &[u8]) -> Lsn {
    let mut record = Record::new(RmgrId::Xlog, info::NOOP);
    record.with_xid(Xid(xid)).data(body);
    record.insert()
}

fn body(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.below(256) as u8).collect()
}

#[test]
fn what_is_inserted_can_be_read() {
    let mut cluster = Cluster::new();
    sizes_across_all_borders(&cluster);
    switches(&cluster);
    images_after_a_checkpoint(&cluster);
    many_processes(&cluster);
    asynchronous_commits();
    old_segments_go(&cluster);
    a_torn_tail(&mut cluster);
    a_broken_continuation(&mut cluster);
    killed_processes(&mut cluster);
}

fn sizes_across_all_borders(cluster: &Cluster) {
    let mut random = Random(1);
    let mut sent = Vec::new();
    let mut sizes: Vec<usize> = (0..600).map(|i| i % 300).collect();
    sizes.extend([
        8_000,
        8_100,
        8_125,
        8_126,
        8_127,
        8_130,
        8_150,
        8_168,
        8_192,
        20_000,
        3 * SEGMENT as usize,
    ]);
    sizes.extend((0..3000).map(|_| random.below(2000) as usize));
    for (i, len) in sizes.iter().enumerate() {
        let bytes = body(&mut random, *len);
        let end = insert_noop(i as u32 + 3, &bytes);
        assert_eq!(end, wal::xact_last_rec_end());
        sent.push((wal::last_record_start(), end, bytes));
        if random.below(50) == 0 {
            wal::flush(end);
            assert!(wal::flush_lsn() >= end);
        }
    }
    wal::flush(wal::insert_end());
    let mut reader = cluster.reader();
    let first = reader.next().unwrap().unwrap();
    assert_eq!((first.rmgr, first.operation(), first.main_data.len()), (0, info::CHECKPOINT_SHUTDOWN, 88));
    for (i, (start, end, bytes)) in sent.iter().enumerate() {
        let record = reader.next().unwrap().unwrap();
        assert_eq!((record.lsn, record.end_lsn, record.xid), (*start, *end, Xid(i as u32 + 3)), "record {i}");
        assert!(record.main_data == bytes, "record {i}");
    }
    let end = reader.next().unwrap_err();
    let expected = format!("invalid record length at {}: wanted 24, got 0", wal::insert_lsn());
    assert_eq!(end.message, expected);
    a_stream_that_grows(cluster, &sent);
    // From somewhere in the middle.
    let (start, _, _) = sent[1000];
    assert_eq!(reader.find_next_record(Lsn(start.0 - 3)), Ok(Some(start)));
    assert_eq!(reader.next().unwrap().unwrap().lsn, start);
    if let Some(text) = waldump(cluster.path(), wal::offline::first_checkpoint_lsn(SEGMENT), &[]) {
        assert_eq!(text.lines().count(), sent.len() + 1);
        assert!(text.lines().next().unwrap().contains("CHECKPOINT_SHUTDOWN redo 0/100028"), "{text:.300}");
    }
}

/// Gives out what has been received so far, not a byte more.
struct Stream {
    files: SegmentFiles,
    received: Lsn,
}

impl PageSource for Stream {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        let there = self.received.0.saturating_sub(request.page.0) as usize;
        if there < request.need {
            let (kind, lsn) = (ReadErrorKind::End, request.record);
            return Err(ReadError { message: String::new(), kind, lsn });
        }
        let read = self.files.read(request, buf, check)?;
        // What is not received yet is rubbish.
        buf[there.min(read)..].fill(0xEE);
        Ok(there.min(read))
    }

    fn timeline(&self) -> TimeLineId {
        TimeLineId(1)
    }
}

/// A record is there as soon as its last byte is, and not before, wherever pages end.
fn a_stream_that_grows(cluster: &Cluster, sent: &[(Lsn, Lsn, Vec<u8>)]) {
    let files = SegmentFiles::new(cluster.path(), SEGMENT, TimeLineId(1));
    let mut reader = Reader::with_source(Stream { files, received: Lsn::INVALID }, SEGMENT);
    reader.begin_read(sent[0].0);
    for (start, _, bytes) in sent {
        // Ends are aligned, and behind the next page's header if there is no room: what counts is the last byte.
        let last_byte = loop {
            match reader.next() {
                Ok(Some(record)) => {
                    assert!(record.main_data == bytes, "record at {start}");
                    break reader.source().received;
                }
                Ok(None) => unreachable!("there is no limit"),
                Err(error) => assert_eq!(error.kind, ReadErrorKind::End, "record at {start}: {error}"),
            }
            // Coarse steps through large records, single bytes near their end.
            let left = bytes.len() as u64 / 2;
            let behind = start.0 + left;
            let received = reader.source().received;
            let step = if received.0 < behind { behind } else { received.0 + 1 + bytes.len() as u64 / 64 };
            reader.source_mut().received = Lsn(step);
        };
        assert!(last_byte.0 > start.0 + bytes.len() as u64, "not before its last byte");
    }
}

fn switches(cluster: &Cluster) {
    let before = wal::insert_lsn();
    insert_noop(0, b"before the switch");
    let end = wal::request_switch(false);
    assert_eq!(wal::last_record_start() + 24, end);
    let geometry = wal::geometry();
    assert_eq!(geometry.segment(wal::insert_end()), geometry.segment(before) + 1);
    assert_eq!(geometry.offset(wal::insert_end()), 0);
    assert_eq!(wal::flush_lsn(), wal::insert_end());
    // A second one finds nothing to do.
    assert_eq!(wal::request_switch(false), wal::insert_end());
    let after = insert_noop(0, b"after the switch");
    wal::flush(after);
    let mut reader = cluster.reader();
    reader.begin_read(before);
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"before the switch");
    let switch = reader.next().unwrap().unwrap();
    assert_eq!((switch.operation(), geometry.offset(switch.end_lsn)), (info::SWITCH, 0));
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"after the switch");
    let name = wal::walfile_name(before).unwrap();
    assert_eq!(wal::segment::parse_name(&name, geometry).unwrap().1, geometry.segment(before));
    if let Some(text) = waldump(cluster.path(), before, &[]) {
        assert_eq!(text.lines().filter(|line| line.contains("SWITCH")).count(), 1, "{text}");
    }
}

fn page_with(row: &[u8]) -> Box<Page> {
    let mut page = Page::zeroed();
    page.init(0);
    for _ in 0..20 {
        page.add_item(row, None, false, true).unwrap();
    }
    page
}

/// A checkpoint moves the redo pointer; the first change of a page after it takes an image, the second does not.
fn images_after_a_checkpoint(cluster: &Cluster) {
    for compression in ["off", "pglz", "lz4", "zstd"] {
        set("wal_compression", compression);
        let point = checkpoint::begin(None).unwrap();
        let mut page = page_with(&[b'r'; 100]);
        let first = change(&page, &[RegFlags::STANDARD]);
        page.set_lsn(first);
        change(&page, &[RegFlags::STANDARD]);
        change(&page, &[RegFlags::WILL_INIT]);
        change(
            &page,
            &[RegFlags::FORCE_IMAGE, RegFlags::FORCE_IMAGE | RegFlags::STANDARD | RegFlags::KEEP_DATA],
        );
        let written = checkpoint::write(&support::checkpoint(point.redo), false);
        assert_eq!(checkpoint::begin(Some(wal::last_important_lsn())), None, "nothing has happened since");
        let mut reader = cluster.reader();
        reader.begin_read(point.redo);
        for (images, data) in [(vec![true], 0), (vec![false], 3), (vec![false], 3), (vec![true, true], 3)] {
            let record = reader.next().unwrap().unwrap();
            let found: Vec<bool> = record.blocks().map(|block| block.apply_image()).collect();
            assert_eq!(found, images);
            for block in record.blocks().filter(|block| block.has_image()) {
                let mut restored = Page::zeroed();
                restored.bytes_mut().fill(9);
                block.restore_image(record.lsn, &mut restored).unwrap();
                restored.set_lsn(page.lsn());
                assert!(restored.bytes() == page.bytes(), "{compression}");
                assert_eq!(block.image.unwrap().bytes.len() < 1000, compression != "off", "{compression}");
            }
            assert_eq!(record.blocks().last().unwrap().data.len(), data);
            assert_eq!(record.main_data, b"main");
        }
        let record = reader.next().unwrap().unwrap();
        assert_eq!((record.operation(), record.lsn), (info::CHECKPOINT_ONLINE, written.start));
        if let Some(text) = waldump(cluster.path(), point.redo, &["-b"]) {
            assert_eq!(text.matches("(FPW)").count(), 3, "{text}");
        }
    }
    set("wal_compression", "off");
}

fn change(page: &Page, flags: &[RegFlags]) -> Lsn {
    // Shaped like a heap delete, so that pg_waldump can print it.
    let mut record = Record::new(RmgrId::Xlog, info::FPI);
    for (id, flags) in (0..).zip(flags) {
        record.block(id, tag(u32::from(id)), page, *flags);
        record.block_data(id, b"abc");
    }
    record.data(b"main");
    record.insert()
}

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Superuser, guc::GucSource::Session);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

fn many_processes(cluster: &Cluster) {
    const CHILDREN: u32 = 5;
    const RECORDS: u32 = 4000;
    let start = wal::insert_lsn();
    // A child takes a place of its own, so it must not inherit ours.
    shmem::proc::release();
    let pids: Vec<i32> = (0..CHILDREN)
        .map(|me| {
            child(|| {
                let mut random = Random(u64::from(me) + 100);
                for i in 0..RECORDS {
                    let len = if random.below(200) == 0 { random.below(60_000) } else { random.below(300) };
                    let mut bytes = [me.to_le_bytes(), i.to_le_bytes()].concat();
                    bytes.resize(8 + len as usize, (me * 31 + i) as u8);
                    let end = insert_noop(me + 3, &bytes);
                    if random.below(40) == 0 {
                        wal::flush(end);
                        assert!(wal::flush_lsn() >= end);
                    }
                    if random.below(500) == 0 {
                        checkpoint::begin(None);
                    }
                }
                wal::flush(wal::xact_last_rec_end());
            })
        })
        .collect();
    let walwriter = child(|| {
        for _ in 0..3000 {
            wal::background_flush();
            std::thread::yield_now();
        }
    });
    for pid in pids.into_iter().chain([walwriter]) {
        assert_eq!(wait(pid), 0);
    }
    shmem::init_process(common::BackendType::Startup, 0).unwrap();
    assert_eq!(wal::flush_lsn(), wal::insert_end());
    let mut next = [0; CHILDREN as usize];
    let mut reader = cluster.reader();
    reader.begin_read(start);
    reader.set_limit(Some(wal::insert_lsn()));
    while let Some(record) = reader.next().unwrap() {
        let number = |at: usize| u32::from_le_bytes(record.main_data[at..at + 4].try_into().unwrap());
        let (who, i) = (number(0), number(4));
        assert_eq!((next[who as usize], record.xid), (i, Xid(who + 3)));
        assert!(record.main_data[8..].iter().all(|byte| *byte == (who * 31 + i) as u8));
        next[who as usize] += 1;
    }
    assert_eq!(next, [RECORDS; CHILDREN as usize]);
    if let Some(text) = waldump(cluster.path(), start, &["-q"]) {
        assert!(text.is_empty());
    }
}

/// Three rounds of the WAL writer bring any asynchronous commit to disk.
fn asynchronous_commits() {
    let end = insert_noop(3, b"commit");
    wal::set_async_commit_lsn(end);
    assert!(wal::needs_flush(end));
    for _ in 0..3 {
        wal::background_flush();
    }
    assert!(wal::flush_lsn() >= end && !wal::needs_flush(end));
    assert!(!wal::background_flush());
    let beyond = wal::try_flush(Lsn(end.0 + 100_000)).unwrap_err();
    assert!(beyond.message.contains("is not satisfied --- flushed only to"), "{}", beyond.message);
}

/// After a checkpoint old segments are renamed to future ones, as many as `min_wal_size` wants, or removed.
fn old_segments_go(cluster: &Cluster) {
    set_sighup("min_wal_size", "4MB");
    set_sighup("max_wal_size", "6MB");
    let segments = || {
        let mut numbers: Vec<u64> = std::fs::read_dir(cluster.path())
            .unwrap()
            .filter_map(|entry| {
                wal::segment::parse_name(entry.unwrap().file_name().to_str().unwrap(), wal::geometry())
            })
            .map(|(_, number)| number)
            .collect();
        numbers.sort_unstable();
        numbers
    };
    let before = segments();
    let point = checkpoint::begin(None).unwrap();
    let written = checkpoint::write(&support::checkpoint(point.redo), false);
    wal::recycle::update_distance_estimate(3 << 20);
    let counts =
        wal::recycle::after_checkpoint(point.redo, written.end, support::TLI, false, Lsn(0), |_| Ok(false))
            .unwrap();
    let current = wal::geometry().segment(point.redo);
    let after = segments();
    assert_eq!(after.first(), Some(&current), "{counts:?}");
    assert_eq!(after.len() as u64, after.last().unwrap() - current + 1, "no gap: {after:?}");
    assert_eq!(before.len() - counts.removed as usize + counts.added as usize, after.len());
    assert!(counts.recycled >= 3 && counts.removed > 0, "{counts:?}");
    assert_eq!(wal::recycle::last_removed_segment(), current - 1);
    // Writing goes on into recycled segments, whose old content must not be taken for WAL.
    let start = wal::insert_lsn();
    for i in 0..40 {
        insert_noop(i + 3, &[i as u8; 100_000]);
    }
    wal::flush(wal::insert_end());
    let mut reader = cluster.reader();
    reader.begin_read(start);
    for i in 0..40 {
        assert_eq!(reader.next().unwrap().unwrap().xid, Xid(i + 3));
    }
    assert!(reader.next().is_err());
}

/// Everybody is killed in the middle of it: what was acknowledged is there, in order and without a gap.
fn killed_processes(cluster: &mut Cluster) {
    const CHILDREN: u32 = 4;
    let mut random = Random(7);
    for round in 0..6 {
        let start = wal::insert_lsn();
        let acknowledged = |who: u32| cluster.path().join(format!("acknowledged.{who}"));
        shmem::proc::release();
        let pids: Vec<i32> = (0..CHILDREN)
            .map(|me| {
                let file = std::fs::File::create(acknowledged(me)).unwrap();
                child(move || {
                    let mut random = Random(u64::from(me + round * 10));
                    for i in 0.. {
                        let mut bytes = [me.to_le_bytes(), i32::to_le_bytes(i)].concat();
                        bytes.resize(8 + random.below(5000) as usize, 1);
                        let end = insert_noop(me + 3, &bytes);
                        if random.below(4) == 0 {
                            wal::flush(end);
                            file.write_all_at(&(i + 1).to_le_bytes(), 0).unwrap();
                        }
                    }
                })
            })
            .collect();
        let least = 4 + random.below(300) as i32;
        let read = |who: u32| {
            let bytes = std::fs::read(acknowledged(who)).unwrap();
            i32::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
        while (0..CHILDREN).map(read).max() < Some(least) {
            std::thread::yield_now();
        }
        pids.iter().for_each(|pid| support::kill(*pid));
        pids.into_iter().for_each(|pid| assert_eq!(wait(pid), 128 + libc::SIGKILL));
        let promised: Vec<i32> = (0..CHILDREN).map(read).collect();
        cluster.crash_and_recover_at(start);
        let mut reader = cluster.reader();
        reader.begin_read(start);
        reader.set_limit(Some(wal::insert_lsn()));
        let mut found = vec![0; CHILDREN as usize];
        while let Some(record) = reader.next().unwrap() {
            if record.operation() == info::NOOP {
                let number = |at: usize| u32::from_le_bytes(record.main_data[at..at + 4].try_into().unwrap());
                assert_eq!(found[number(0) as usize], number(4) as i32, "a gap in round {round}");
                found[number(0) as usize] += 1;
            }
        }
        assert!(found.iter().zip(&promised).all(|(f, p)| f >= p), "{found:?} of {promised:?}");
        let after = insert_noop(9, b"after");
        wal::flush(after);
    }
}

fn set_sighup(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Sighup, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

/// What was flushed survives, what was not is cut off, and writing goes on behind it.
fn a_torn_tail(cluster: &mut Cluster) {
    let start = wal::insert_lsn();
    let kept = insert_noop(10, b"kept");
    wal::flush(kept);
    insert_noop(11, b"lost");
    let end = cluster.crash_and_recover(start);
    assert_eq!((end.end, end.last_record), (kept, start));
    assert_eq!(wal::insert_lsn(), kept);
    let after = insert_noop(12, b"after the crash");
    wal::flush(after);
    let mut reader = cluster.reader();
    reader.begin_read(start);
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"kept");
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"after the crash");
    assert!(reader.next().is_err());
}

/// A record whose beginning is on disk but whose continuation is not: it is replaced, not lost track of.
fn a_broken_continuation(cluster: &mut Cluster) {
    let start = wal::insert_lsn();
    insert_noop(20, b"before");
    let broken = wal::insert_lsn();
    let end = insert_noop(21, &[5; 30_000]);
    wal::flush(end);
    // The last two pages of it never reached the disk.
    let geometry = wal::geometry();
    let page = Lsn(end.0 / 8192 * 8192 - 8192);
    assert_eq!(geometry.segment(page), geometry.segment(end), "the test's numbers need both in one segment");
    let path = wal::segment::path(support::TLI, geometry.segment(page));
    let mut bytes = std::fs::read(&path).unwrap();
    let from = geometry.offset(page) as usize;
    bytes[from..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let end = cluster.crash_and_recover(start);
    assert_eq!(end.broken.map(|b| (b.start, b.missing)), Some((broken, page)));
    let after = insert_noop(22, b"after");
    wal::flush(after);
    let mut reader = cluster.reader();
    reader.begin_read(start);
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"before");
    let record = reader.next().unwrap().unwrap();
    let redo = wal::redo::parse(&record).unwrap();
    assert_eq!(redo, wal::redo::XlogRecord::OverwriteContrecord(broken));
    assert_eq!(reader.overwritten_record(), Some(broken));
    assert_eq!(reader.next().unwrap().unwrap().main_data, b"after");
    if let Some(text) = waldump(cluster.path(), start, &[]) {
        assert!(text.contains("OVERWRITE_CONTRECORD"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
