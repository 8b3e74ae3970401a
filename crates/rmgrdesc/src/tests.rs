//! Names and descriptions of single records; `integration/tests/it/descriptions.rs` compares them all with PostgreSQL's.

use common::Lsn;
use wal::{Record, RmgrId};

use super::{describe_with_name, identify};

/// What a record with this info byte and data is said to be.
fn said(rmgr: RmgrId, info: u8, data: &[u8]) -> String {
    let mut record = Record::new(rmgr, info);
    record.data(data);
    let bytes = wal::offline::encode(&record, Lsn::INVALID);
    describe_with_name(&wal::decode_record(Lsn(40), Lsn(120), &bytes).unwrap())
}

#[test]
fn names_of_records() {
    for (rmgr, info, name) in [
        (RmgrId::Xact, 0x80, Some("COMMIT")),
        (RmgrId::Xact, 0x20, Some("ABORT")),
        (RmgrId::Heap, 0x80, Some("INSERT+INIT")),
        (RmgrId::Heap2, 0x10, Some("PRUNE")),
        (RmgrId::Xlog, 0x10, Some("CHECKPOINT_ONLINE")),
        (RmgrId::Xlog, 0xF0, None),
        (RmgrId::Standby, 0x10, Some("RUNNING_XACTS")),
        (RmgrId::Smgr, 0x70, None),
    ] {
        assert_eq!(identify(rmgr, info), name, "{rmgr} {info}");
    }
}

#[test]
fn what_they_say() {
    assert_eq!(said(RmgrId::Heap, 0x00, &[3, 0, 0x0A]), "Heap/INSERT: off 3 flags 0x0A");
    assert_eq!(
        said(RmgrId::Heap, 0x10, &[1, 1, 0, 0, 7, 0, 0x12, 0]),
        "Heap/DELETE: off 7 flags 0x00 LOCK_ONLY KEYS_UPDATED "
    );
    assert_eq!(said(RmgrId::Xlog, 0xA0, &[]), "XLOG/FPI_FOR_HINT: ");
    assert_eq!(said(RmgrId::Tblspc, 0x00, b"\x00\x40\x00\x00/a\0"), "Tablespace/CREATE: 16384 \"/a\"");
    assert_eq!(said(RmgrId::Btree, 0x10, &[1]), "Btree/UNKNOWN (10): ");
}

/// Kinds that the test with pg_waldump does not see.
#[test]
fn rare_ones() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(
        said(RmgrId::Xlog, 0xD0, &words(&[0x28, 1, 0, 0])),
        "XLOG/OVERWRITE_CONTRECORD: lsn 1/28; time 2000-01-01 00:00:00+00"
    );
    assert_eq!(
        said(RmgrId::Clog, 0x10, &words(&[3, 100_000, 5])),
        "CLOG/TRUNCATE: page 3; oldestXact 100000"
    );
    assert_eq!(
        said(RmgrId::MultiXact, 0x30, &words(&[5, 1, 2048, 0, 9000])),
        "MultiXact/TRUNCATE_ID: offsets [1, 2048), members [0, 9000)"
    );
    assert_eq!(said(RmgrId::Heap, 0x50, &[9, 0]), "Heap/HEAP_CONFIRM: off 9");
    assert_eq!(said(RmgrId::Heap2, 0x00, &[0; 40]), "Heap2/REWRITE: ");
    assert_eq!(
        said(RmgrId::Xact, 0x80, &words(&[1_000_000, 0, 0xA000_0020, 0x28, 0, 0, 0])),
        "Transaction/COMMIT: 2000-01-01 00:00:01+00; apply_feedback; sync; \
         origin: node 0, lsn 0/28, at 2000-01-01 00:00:00+00"
    );
    assert_eq!(
        said(RmgrId::Standby, 0x10, &words(&[2, 1, 1, 30, 20, 29, 20, 25, 27])),
        "Standby/RUNNING_XACTS: nextXid 30 latestCompletedXid 29 oldestRunningXid 20; 2 xacts: 20 25; subxid ovf"
    );
}

#[test]
fn nothing_that_a_record_holds_is_too_strange() {
    for rmgr in RmgrId::ALL {
        for info in (0x00..=0xF0u8).step_by(0x10) {
            for fill in [0x00, 0x01, 0x7F, 0xFF] {
                for len in (0..100).chain([500, 5000]) {
                    said(*rmgr, info, &vec![fill; len]);
                }
            }
        }
    }
}
