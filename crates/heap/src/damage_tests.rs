//! Pages and maps that no heap leaves behind: what they cost is a statement, never the server.

use common::{ForkNumber, ItemPointer, Xid};
use page::{ItemId, Page};
use storage::{ReadMode, freespace};
use types::{Datum, oid};

use crate::header::{HeaderMut, infomask, infomask2};
use crate::testing::{World, fresh, table};
use crate::visibility::{Real, VacuumState};
use crate::*;

const TYPES: [common::Oid; 2] = [oid::INT4, oid::TEXT];

fn put(table: &Table, id: i32, text: &str) -> ItemPointer {
    transam::start_transaction().unwrap();
    let mut tuple = form_tuple(&table.desc, &[Datum::Int4(id), Datum::text(text)]).unwrap();
    let cid = transam::current_command_id(true);
    let tid = insert(table, &mut tuple, cid, InsertOptions::default(), None).unwrap();
    transam::commit_transaction().unwrap();
    tid
}

/// The number of rows that a scan returns, or what it says instead.
fn scan(table: &std::rc::Rc<Table>) -> elog::Result<usize> {
    transam::start_transaction().unwrap();
    let snapshot = transam::latest_snapshot().unwrap();
    let mut scan = Scan::begin(table, snapshot, ScanOptions::default())?;
    let mut rows = 0;
    let outcome = loop {
        match scan.next() {
            Ok(Some(_)) => rows += 1,
            Ok(None) => break Ok(rows),
            Err(error) => break Err(error),
        }
    };
    drop(scan);
    assert_eq!(shmem::held_lwlocks(), 0);
    transam::abort_transaction();
    outcome
}

fn damage(table: &Table, change: impl FnOnce(&mut Page)) {
    let pin = storage::read_buffer(table.node, ForkNumber::Main, 0, ReadMode::Normal, None).unwrap();
    change(pin.exclusive().modify_hint());
}

#[test]
fn an_id_that_no_log_knows() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        let tid = put(&t, 1, "one");
        damage(&t, |page| {
            let mut h = HeaderMut(page.item_mut(tid.offset));
            h.set_xmin(Xid(0xF000_0000));
            let mask = h.read().infomask() & !infomask::XMIN_COMMITTED;
            h.set_infomask(mask);
        });
        let error = scan(&t).unwrap_err();
        assert_eq!(error.message, "could not access status of transaction 4026531840");
        transam::start_transaction().unwrap();
        let params = vacuum::VacuumParams::default();
        assert!(vacuum::vacuum(&t, &params).is_err());
        assert_eq!(shmem::held_lwlocks(), 0);
        transam::abort_transaction();
    });
}

#[test]
fn rows_without_a_whole_header() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        put(&t, 1, "one");
        assert_eq!(scan(&t).unwrap(), 1);
        for id in [ItemId::normal(8000, 10), ItemId::normal(8190, 40)] {
            damage(&t, |page| page.set_item_id(1, id));
            assert_eq!(scan(&t).unwrap_err().sqlstate, common::SqlState::DATA_CORRUPTED);
        }
    });
}

#[test]
fn a_chain_that_leads_into_itself() {
    let mut page = Page::zeroed();
    page.init(0);
    for (offset, (xmin, xmax)) in [(1, (5, 6)), (2, (6, 5))] {
        let mut row = vec![0; 32];
        let mut h = HeaderMut(&mut row);
        h.set_xmin(Xid(xmin));
        h.set_xmax(Xid(xmax));
        h.set_infomask(infomask::XMIN_COMMITTED | infomask::XMAX_COMMITTED);
        let heap_only = if offset == 2 { infomask2::ONLY_TUPLE } else { 0 };
        h.set_infomask2(infomask2::HOT_UPDATED | heap_only);
        h.set_ctid(ItemPointer::new(0, 3 - offset));
        page.add_item(&row, None, false, true).unwrap();
    }
    let mut states = [None; header::MAX_TUPLES_PER_PAGE + 1];
    states[1..3].fill(Some(VacuumState::Dead));
    let error = prune_plan::plan(&page, &states, &Real).unwrap_err();
    assert_eq!(error.sqlstate, common::SqlState::DATA_CORRUPTED);
}

/// After a crash of the machine the free space map may know pages that the table has lost.
#[test]
fn a_map_that_is_longer_than_its_table() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        put(&t, 1, "one");
        for block in [300, 500] {
            freespace::record_free_space(t.node, block, 8000).unwrap();
        }
        freespace::vacuum(t.node).unwrap();
        for id in 2..=20 {
            put(&t, id, &"w".repeat(1000));
        }
        assert_eq!(t.nblocks().unwrap(), 3);
        assert_eq!(scan(&t).unwrap(), 20);
        assert_eq!(freespace::recorded_free_space(t.node, 500).unwrap(), 0);
    });
}
