//! Adding rows: one, or many at once with one WAL record per page.
//!
//! C counterpart: `heap_insert`, `heap_prepare_insert`, `heap_multi_insert`.

use common::{CommandId, ItemPointer, Xid};
use elog::Result;
use storage::Critical;
use wal::{Record, RegFlags, RmgrId};

use crate::api::InsertOptions;
use crate::header::{HEADER_SIZE, infomask, infomask2, max_align};
use crate::hio::{self, BulkInsert, Target};
use crate::page_ops::put_tuple;
use crate::records::{self, MultiInsert, MultiInsertTuple, ShortHeader, flag, op, op2};
use crate::table::Table;
use crate::tuple::Tuple;
use crate::vm;

/// The transaction's share of a new row's header. C: `heap_prepare_insert`.
fn prepare(table: &Table, tuple: &mut Tuple, xid: Xid, cid: CommandId, options: InsertOptions) {
    let mut h = tuple.header_mut();
    let frozen = if options.frozen { infomask::XMIN_FROZEN } else { 0 };
    h.set_infomask(h.read().infomask() & !infomask::XACT_MASK | infomask::XMAX_INVALID | frozen);
    h.clear2(infomask2::XACT_MASK);
    h.set_xmin(xid);
    h.set_cmin(cid);
    h.set_xmax(Xid::INVALID);
    tuple.table_oid = table.oid;
}

/// Adds a row and sets `tuple.tid`. C: `heap_insert`.
///
/// # Errors
/// 54000 for a row longer than a page; what reading or extending the table says.
pub fn insert(
    table: &Table,
    tuple: &mut Tuple,
    cid: CommandId,
    options: InsertOptions,
    bulk: Option<&mut BulkInsert>,
) -> Result<ItemPointer> {
    let xid = transam::current_xid()?;
    prepare(table, tuple, xid, cid, options);
    let Target { page: mut write, vm } = hio::page_for_tuple(table, tuple.len(), options, bulk)?;
    let block = write.block();
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    put_tuple(page, block, tuple);
    let mut flags = 0;
    if page.all_visible() {
        page.set_all_visible(false);
        flags |= flag::INSERT_ALL_VISIBLE_CLEARED;
    }
    let alone = page.max_offset() == 1;
    if flags != 0
        && let Some(vm) = &vm
    {
        vm::clear(vm, block, vm::VALID_BITS);
    }
    if table.needs_wal() {
        let main = records::Insert { offset: tuple.tid.offset, flags }.to_bytes();
        let header = ShortHeader::of(tuple.header()).to_bytes();
        // The only row of its page: replay makes the page from nothing.
        let (init, registration) = match alone {
            true => (op::INIT_PAGE, RegFlags::STANDARD | RegFlags::WILL_INIT),
            false => (0, RegFlags::STANDARD),
        };
        let mut record = Record::new(RmgrId::Heap, op::INSERT | init);
        record.data(&main);
        record.block(0, write.tag(), &write, registration);
        record.block_data(0, &header);
        record.block_data(0, &tuple.bytes[HEADER_SIZE..]);
        record.include_origin();
        critical.log(record);
    } else {
        critical.unlogged();
    }
    drop(write);
    table.counts.count_insert(1);
    Ok(tuple.tid)
}

/// Adds rows, page by page, and sets each one's `tid`. C: `heap_multi_insert`.
///
/// # Errors
/// As [`insert`]; rows before the failing one are in.
pub fn multi_insert(
    table: &Table,
    tuples: &mut [Tuple],
    cid: CommandId,
    options: InsertOptions,
    mut bulk: Option<&mut BulkInsert>,
) -> Result<()> {
    let xid = transam::current_xid()?;
    for tuple in tuples.iter_mut() {
        hio::check_size(tuple.len())?;
        prepare(table, tuple, xid, cid, options);
    }
    let mut scratch = Vec::new();
    let mut offsets = Vec::new();
    let mut rest = &mut *tuples;
    while let Some(first) = rest.first() {
        miscinit::interrupt::check()?;
        let target = hio::page_for_tuple(table, first.len(), options, bulk.as_deref_mut())?;
        let done = fill_page(table, target, rest, options, &mut scratch, &mut offsets);
        rest = &mut rest[done..];
    }
    table.counts.count_insert(tuples.len() as i64);
    Ok(())
}

/// Puts as many rows as fit on one page, with one record. The number of rows.
fn fill_page(
    table: &Table,
    target: Target,
    tuples: &mut [Tuple],
    options: InsertOptions,
    scratch: &mut Vec<u8>,
    offsets: &mut Vec<u8>,
) -> usize {
    let Target { page: mut write, vm } = target;
    let block = write.block();
    let save = table.target_free_space();
    let init = write.max_offset() == 0;
    let all_frozen = init && options.frozen && vm.is_some();
    let total = tuples.len();
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    let mut count = 0;
    for tuple in tuples.iter_mut() {
        if count > 0 && page.heap_free_space() < max_align(tuple.len()) + save {
            break;
        }
        put_tuple(page, block, tuple);
        count += 1;
    }
    let mut flags = 0;
    if page.all_visible() && !options.frozen {
        page.set_all_visible(false);
        flags |= flag::INSERT_ALL_VISIBLE_CLEARED;
    } else if all_frozen {
        page.set_all_visible(true);
        flags |= flag::INSERT_ALL_FROZEN_SET;
    }
    if flags & flag::INSERT_ALL_VISIBLE_CLEARED != 0
        && let Some(vm) = &vm
    {
        vm::clear(vm, block, vm::VALID_BITS);
    }
    if table.needs_wal() {
        if count == total {
            flags |= flag::INSERT_LAST_IN_MULTI;
        }
        encode_rows(&tuples[..count], scratch, offsets);
        let main = MultiInsert { flags, count: count as u16 }.to_bytes();
        let (info, registration) = match init {
            true => (op::INIT_PAGE, RegFlags::STANDARD | RegFlags::WILL_INIT),
            false => (0, RegFlags::STANDARD),
        };
        let mut record = Record::new(RmgrId::Heap2, op2::MULTI_INSERT | info);
        record.data(&main);
        if !init {
            record.data(offsets);
        }
        record.block(0, write.tag(), &write, registration);
        record.block_data(0, scratch);
        record.include_origin();
        critical.log(record);
    } else {
        critical.unlogged();
    }
    if all_frozen && let Some(vm) = &vm {
        vm::set(table, &mut write, block, vm, Xid::INVALID, vm::VALID_BITS);
    }
    count
}

/// The rows as the record has them, each at an even place, and their offsets.
fn encode_rows(tuples: &[Tuple], rows: &mut Vec<u8>, offsets: &mut Vec<u8>) {
    rows.clear();
    offsets.clear();
    for tuple in tuples {
        rows.resize(rows.len() + rows.len() % 2, 0);
        let body = &tuple.bytes[HEADER_SIZE..];
        MultiInsertTuple { len: body.len() as u16, header: ShortHeader::of(tuple.header()) }.put(rows);
        rows.extend_from_slice(body);
        offsets.extend_from_slice(&tuple.tid.offset.to_le_bytes());
    }
}
