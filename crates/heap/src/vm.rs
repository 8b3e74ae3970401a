//! The visibility map: two bits for each page of a table.
//!
//! *All-visible*: every row of the page is visible to every snapshot, so that a scan need not check and VACUUM need not
//! come. *All-frozen*: nor does any row of it need freezing, ever. A set bit is a promise (rule H4): whoever
//! changes the page clears it in the same critical section, before the change is logged; replay does so too,
//! whatever the page's LSN. The page itself carries `PD_ALL_VISIBLE` as a hint that there may be bits to clear.
//!
//! The map is a fork of its own: pages with the usual header, then 8168 bytes of bits for 32672 pages, lowest
//! bits first. A page that cannot be read counts as zeros: the bits can be made again.
//!
//! C counterpart: access/heap/visibilitymap.c.

use common::{BLCKSZ, BlockNumber, ForkNumber, INVALID_BLOCK, Lsn, RelFileNode, Xid};
use elog::Result;
use page::Page;
use storage::{Critical, PageWrite, Pin, ReadMode, smgr};
use wal::{BlockTag, Record, RegFlags, RmgrId};

use crate::header::max_align;
use crate::records::{self, op2};
use crate::table::Table;

/// All rows are visible to all.
pub const ALL_VISIBLE: u8 = 0x01;
/// And frozen.
pub const ALL_FROZEN: u8 = 0x02;
/// Both.
pub const VALID_BITS: u8 = 0x03;

/// Where the bits begin. C: `MAXALIGN(SizeOfPageHeaderData)`.
const MAP_START: usize = max_align(page::HEADER_SIZE);
/// C: `MAPSIZE`.
const MAP_SIZE: usize = BLCKSZ - MAP_START;
/// C: `HEAPBLOCKS_PER_PAGE`.
const HEAP_BLOCKS_PER_PAGE: u32 = MAP_SIZE as u32 * 4;

/// Where the bits of a heap block are.
#[derive(Clone, Copy)]
struct Place {
    map_block: BlockNumber,
    byte: usize,
    shift: u32,
}

fn place(heap_block: BlockNumber) -> Place {
    let within = heap_block % HEAP_BLOCKS_PER_PAGE;
    Place {
        map_block: heap_block / HEAP_BLOCKS_PER_PAGE,
        byte: MAP_START + within as usize / 4,
        shift: within % 4 * 2,
    }
}

fn bits(page: &Page, place: Place) -> u8 {
    page.bytes()[place.byte] >> place.shift & VALID_BITS
}

/// A change of a page whose LSN must stay as it is: no record speaks of it, another record implies it.
fn change_unlogged(page: &mut PageWrite<'_>, change: impl FnOnce(&mut Page)) {
    let mut critical = Critical::begin();
    change(page.modify_unstamped(&mut critical));
    critical.unlogged();
}

/// The map page with a heap block's bits, made if need be. Does I/O: not while a heap page is locked. C:
/// `visibilitymap_pin`.
///
/// # Errors
/// What reading or extending the fork says.
pub fn pin(table: &Table, heap_block: BlockNumber) -> Result<Pin> {
    let map_block = place(heap_block).map_block;
    if let Some(pin) = read_map(table, map_block)? {
        return Ok(pin);
    }
    extend(table.node, map_block + 1)?;
    table.vm_blocks.set(map_block + 1);
    read_existing(table.node, map_block)
}

/// Whether a pinned map page is the one with this heap block's bits. C: `visibilitymap_pin_ok`.
pub fn pin_ok(vm: Option<&Pin>, heap_block: BlockNumber) -> bool {
    vm.is_some_and(|pin| pin.block() == place(heap_block).map_block)
}

/// The map page, if the map is that long.
fn read_map(table: &Table, map_block: BlockNumber) -> Result<Option<Pin>> {
    let mut known = table.vm_blocks.get();
    if known == INVALID_BLOCK || map_block >= known {
        known = match smgr::exists(table.node, ForkNumber::VisibilityMap)? {
            true => smgr::nblocks(table.node, ForkNumber::VisibilityMap)?,
            false => 0,
        };
        table.vm_blocks.set(known);
    }
    if map_block >= known {
        return Ok(None);
    }
    read_existing(table.node, map_block).map(Some)
}

/// C: `vm_readbuf`.
fn read_existing(node: RelFileNode, map_block: BlockNumber) -> Result<Pin> {
    let pin = storage::read_buffer(node, ForkNumber::VisibilityMap, map_block, ReadMode::ZeroOnError, None)?;
    if pin.shared().is_new() {
        let mut page = pin.exclusive();
        if page.is_new() {
            change_unlogged(&mut page, |page| page.init(0));
        }
    }
    Ok(pin)
}

/// A page that does not go through the pool gets its checksum here. C: `PageSetChecksumInplace`.
fn set_checksum(page: &mut Page, block: BlockNumber) {
    if guc::vars::DATA_CHECKSUMS.get() {
        page.set_checksum(block);
    }
}

/// C: `vm_extend`.
fn extend(node: RelFileNode, blocks: BlockNumber) -> Result<()> {
    let _guard = lmgr::relation_extension_lock(node)?;
    if !smgr::exists(node, ForkNumber::VisibilityMap)? {
        smgr::create(node, ForkNumber::VisibilityMap, false)?;
    }
    let mut empty = Page::zeroed();
    empty.init(0);
    let mut next = smgr::nblocks(node, ForkNumber::VisibilityMap)?;
    while next < blocks {
        set_checksum(&mut empty, next);
        smgr::extend(node, ForkNumber::VisibilityMap, next, &empty, false)?;
        next += 1;
    }
    Ok(())
}

/// Takes bits away; true if any was set. The caller is in the critical section that changes the heap page. C:
/// `visibilitymap_clear`.
pub fn clear(vm: &Pin, heap_block: BlockNumber, flags: u8) -> bool {
    let place = place(heap_block);
    let mut page = vm.exclusive();
    if bits(&page, place) & flags == 0 {
        return false;
    }
    change_unlogged(&mut page, |page| page.bytes_mut()[place.byte] &= !(flags << place.shift));
    true
}

/// Sets bits, and `PD_ALL_VISIBLE` of the heap page, which the caller has checked and holds locked. `cutoff` is
/// the newest xmin on the page, for standbys. C: `visibilitymap_set`, `log_heap_visible`, and the callers'
/// `PageSetAllVisible`.
pub fn set(
    table: &Table,
    heap: &mut PageWrite<'_>,
    heap_block: BlockNumber,
    vm: &Pin,
    cutoff: Xid,
    flags: u8,
) {
    let place = place(heap_block);
    let logs_hints = wal::hint_bits_need_wal();
    let mut map = vm.exclusive();
    let map_changes = bits(&map, place) != flags;
    let mut critical = Critical::begin();
    let stamped = logs_hints && map_changes && table.needs_wal();
    if stamped {
        heap.modify(&mut critical).set_all_visible(true);
    } else if !heap.all_visible() {
        change_unlogged(heap, |page| page.set_all_visible(true));
    }
    if !map_changes {
        return critical.unlogged();
    }
    map.modify(&mut critical).bytes_mut()[place.byte] |= flags << place.shift;
    if !table.needs_wal() {
        return critical.unlogged();
    }
    let main = records::Visible { cutoff, flags }.to_bytes();
    let mut heap_flags = RegFlags::STANDARD;
    if !logs_hints {
        heap_flags |= RegFlags::NO_IMAGE;
    }
    let mut record = Record::new(RmgrId::Heap2, op2::VISIBLE);
    record.data(&main);
    record.block(0, vm.tag(), &map, RegFlags::empty());
    let tag = BlockTag { node: table.node, fork: ForkNumber::Main, block: heap_block };
    record.block(1, tag, heap, heap_flags);
    critical.log(record);
}

/// The bits of a block. Others may change them this instant: only a hint, unless the heap page is locked. The
/// pin is kept for the next call. C: `visibilitymap_get_status`.
///
/// # Errors
/// What reading the map says.
pub fn status(table: &Table, heap_block: BlockNumber, vm: &mut Option<Pin>) -> Result<u8> {
    let place = place(heap_block);
    if !pin_ok(vm.as_ref(), heap_block) {
        *vm = read_map(table, place.map_block)?;
    }
    Ok(vm.as_ref().map_or(0, |pin| bits(&pin.shared(), place)))
}

/// Numbers of all-visible and of all-frozen pages. C: `visibilitymap_count`.
///
/// # Errors
/// What reading the map says.
pub fn count(table: &Table) -> Result<(BlockNumber, BlockNumber)> {
    const VISIBLE: u64 = 0x5555_5555_5555_5555;
    let (mut visible, mut frozen) = (0, 0);
    let mut map_block = 0;
    while let Some(pin) = read_map(table, map_block)? {
        let page = pin.shared();
        for chunk in page.bytes()[MAP_START..].chunks_exact(8) {
            let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            visible += (word & VISIBLE).count_ones();
            frozen += (word & !VISIBLE).count_ones();
        }
        map_block += 1;
    }
    Ok((visible, frozen))
}

/// Clears the bits of blocks from `heap_blocks` on, before the table is cut there. How long the map shall be then,
/// `None` if it stays as it is. C: `visibilitymap_prepare_truncate`.
///
/// # Errors
/// What reading the map says.
pub fn prepare_truncate(node: RelFileNode, heap_blocks: BlockNumber) -> Result<Option<BlockNumber>> {
    if !smgr::exists(node, ForkNumber::VisibilityMap)? {
        return Ok(None);
    }
    let blocks = smgr::nblocks(node, ForkNumber::VisibilityMap)?;
    let place = place(heap_blocks);
    let mut keep = place.map_block;
    if place.byte != MAP_START || place.shift != 0 {
        keep += 1;
        if place.map_block >= blocks {
            return Ok(None);
        }
        let pin = read_existing(node, place.map_block)?;
        let mut page = pin.exclusive();
        let mut critical = Critical::begin();
        let map = page.modify(&mut critical).bytes_mut();
        map[place.byte] &= (1u8 << place.shift).wrapping_sub(1);
        map[place.byte + 1..].fill(0);
        if !wal::in_recovery() && wal::hint_bits_need_wal() {
            // A torn page here would bring bits of rows back that do not exist. C: `log_newpage_buffer`.
            let mut record = Record::new(RmgrId::Xlog, FPI);
            record.block(0, pin.tag(), &page, RegFlags::FORCE_IMAGE);
            critical.log(record);
        } else {
            critical.unlogged();
        }
    }
    Ok((keep < blocks).then_some(keep))
}

/// A full-page image. C: `XLOG_FPI`.
const FPI: u8 = 0xB0;

/// Replay's way to a map page: the fork is made as long as needed. C: `visibilitymap_pin` with a fake relation.
pub(crate) fn redo_pin(node: RelFileNode, heap_block: BlockNumber) -> Result<Pin> {
    let map_block = place(heap_block).map_block;
    let long_enough = smgr::exists(node, ForkNumber::VisibilityMap)?
        && smgr::nblocks(node, ForkNumber::VisibilityMap)? > map_block;
    if !long_enough {
        if !smgr::exists(node, ForkNumber::VisibilityMap)? {
            smgr::create(node, ForkNumber::VisibilityMap, true)?;
        }
        let mut empty = Page::zeroed();
        empty.init(0);
        for block in smgr::nblocks(node, ForkNumber::VisibilityMap)?..=map_block {
            set_checksum(&mut empty, block);
            smgr::extend(node, ForkNumber::VisibilityMap, block, &empty, false)?;
        }
    }
    read_existing(node, map_block)
}

/// Replay of setting bits. C: `visibilitymap_set` in recovery.
pub(crate) fn redo_set(map: &mut PageWrite<'_>, heap_block: BlockNumber, flags: u8, lsn: Lsn) {
    let place = place(heap_block);
    if bits(map, place) == flags && !map.is_new() {
        return;
    }
    let mut critical = Critical::begin();
    let page = map.modify(&mut critical);
    if page.is_new() {
        page.init(0);
    }
    page.bytes_mut()[place.byte] |= flags << place.shift;
    critical.redo(lsn);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_postgresql_has_them() {
        assert_eq!((MAP_SIZE, HEAP_BLOCKS_PER_PAGE), (8168, 32672));
        let p = place(32672 + 5);
        assert_eq!((p.map_block, p.byte, p.shift), (1, MAP_START + 1, 2));
        let mut page = Page::zeroed();
        page.bytes_mut()[MAP_START + 1] = 0b0000_1100;
        assert_eq!(bits(&page, place(5)), VALID_BITS);
        assert_eq!(bits(&page, place(4)), 0);
    }
}
