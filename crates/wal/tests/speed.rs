//! What an insertion and a decoded record cost. Run with
//! `cargo test --release -p wal --test speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::time::Instant;

use common::{ForkNumber, Oid, RelFileNode, Xid};
use page::Page;
use support::Cluster;
use wal::{BlockTag, Record, RegFlags, RmgrId};

#[test]
#[ignore = "a measurement, not a check"]
fn speed() {
    let cluster = Cluster::with_buffers("-1");
    let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16_384) };
    let mut page = Page::zeroed();
    page.init(0);
    page.set_lsn(wal::insert_lsn() + (1 << 40));
    let start = wal::insert_lsn();
    const N: u32 = 2_000_000;
    let (mut began, mut inserting) = (Instant::now(), std::time::Duration::ZERO);
    for i in 0..N {
        // The buffers hold as much; writing them is measured elsewhere.
        if i % 10_000 == 0 {
            inserting += began.elapsed();
            wal::flush(wal::insert_end());
            while wal::background_flush() {}
            began = Instant::now();
        }
        // Shaped like a heap insert of a narrow row.
        let offset = [1, 0, 8];
        let header = [1, 0, 0, 8, 24];
        let row = i.to_le_bytes();
        let mut record = Record::new(RmgrId::Heap, 0);
        record.with_xid(Xid(3)).data(&offset);
        let tag = BlockTag { node, fork: ForkNumber::Main, block: i / 200 };
        record.block(0, tag, &page, RegFlags::STANDARD);
        record.block_data(0, &header).block_data(0, &row);
        record.insert();
    }
    let bytes = (wal::insert_lsn() - start) / u64::from(N);
    println!("insert: {:.0} ns per record of {bytes} bytes", inserting.as_nanos() as f64 / f64::from(N));
    wal::flush(wal::insert_end());
    let bytes = wal::insert_lsn() - start;
    for _ in 0..2 {
        let mut reader = cluster.reader();
        reader.begin_read(start);
        reader.set_limit(Some(wal::insert_lsn()));
        let began = Instant::now();
        let mut records = 0;
        while let Some(record) = reader.next().unwrap() {
            records += record.blocks().count();
        }
        let spent = began.elapsed();
        println!(
            "decode: {records} records, {:.0} MB/s, {:.0} ns per record",
            bytes as f64 / 1e6 / spent.as_secs_f64(),
            spent.as_nanos() as f64 / records as f64
        );
    }
    let start = wal::insert_lsn();
    let began = Instant::now();
    for i in 0..20_000 {
        let mut record = Record::new(RmgrId::Xlog, 0xB0);
        let tag = BlockTag { node, fork: ForkNumber::Main, block: i };
        record.with_xid(Xid(3)).block(0, tag, &page, RegFlags::FORCE_IMAGE);
        record.insert();
    }
    let spent = began.elapsed();
    println!("images: {:.0} ns each", spent.as_nanos() as f64 / 20_000.0);
    let bytes = wal::insert_lsn() - start;
    wal::flush(wal::insert_end());
    let mut reader = cluster.reader();
    reader.begin_read(start);
    reader.set_limit(Some(wal::insert_lsn()));
    let began = Instant::now();
    while reader.next().unwrap().is_some() {}
    println!("decode images: {:.0} MB/s", bytes as f64 / 1e6 / began.elapsed().as_secs_f64());
}

/// Commits per second: each is a small record and a flush.
#[test]
#[ignore = "a measurement, not a check"]
fn group_commit() {
    let _cluster = Cluster::with_buffers("128");
    shmem::proc::release();
    for children in [1, 2, 4, 8] {
        const COMMITS: u32 = 1000;
        let began = Instant::now();
        let pids: Vec<i32> = (0..children)
            .map(|me| {
                support::child(|| {
                    for _ in 0..COMMITS {
                        let mut record = Record::new(RmgrId::Xlog, 0x20);
                        record.with_xid(Xid(me + 3)).data(&[1; 200]);
                        wal::flush(record.insert());
                    }
                })
            })
            .collect();
        pids.into_iter().for_each(|pid| assert_eq!(support::wait(pid), 0));
        let rate = f64::from(children * COMMITS) / began.elapsed().as_secs_f64();
        println!("commits: {children} processes, {rate:.0} per second");
    }
}
