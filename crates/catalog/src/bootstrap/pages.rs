//! Rows to pages.

use ::types::Datum;
use common::{BLCKSZ, ItemPointer, Xid};
use elog::{Result, error};
use heap::Tuple;
use heap::header::infomask;
use page::Page;

use crate::tables::Catalog;

/// The pages of a catalog with these rows, without checksums. An empty catalog has no page.
pub(super) fn build(catalog: &Catalog, rows: &[Vec<Datum>]) -> Result<Vec<Box<Page>>> {
    let desc = catalog.desc();
    let mut pages: Vec<Box<Page>> = Vec::new();
    let mut tuple = Tuple::new();
    for row in rows {
        tuple.form(&desc, row)?;
        freeze(&mut tuple);
        if add(&mut pages, &mut tuple) {
            continue;
        }
        let mut page = Page::zeroed();
        page.init(0);
        pages.push(page);
        if !add(&mut pages, &mut tuple) {
            return Err(error!(
                common::SqlState::PROGRAM_LIMIT_EXCEEDED,
                "row is too big: size {}, maximum size {}",
                tuple.len(),
                heap::header::MAX_TUPLE_SIZE
            ));
        }
    }
    Ok(pages)
}

/// By the bootstrap transaction, frozen, never deleted.
fn freeze(tuple: &mut Tuple) {
    let mut header = tuple.header_mut();
    header.set_xmin(Xid::BOOTSTRAP);
    header.set_xmax(Xid::INVALID);
    header.set_cmin(0);
    header.set(infomask::XMIN_FROZEN | infomask::XMAX_INVALID);
}

fn add(pages: &mut [Box<Page>], tuple: &mut Tuple) -> bool {
    let block = pages.len().saturating_sub(1) as u32;
    let Some(page) = pages.last_mut() else { return false };
    // The address is where the row will be: the next line pointer.
    tuple.header_mut().set_ctid(ItemPointer::new(block, page.max_offset() + 1));
    page.add_item(tuple.bytes(), None, false, true).is_some()
}

/// The bytes of a file, with checksums if the cluster has them.
pub(super) fn file_bytes(pages: &mut [Box<Page>], checksums: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pages.len() * BLCKSZ);
    for (page, block) in pages.iter_mut().zip(0..) {
        if checksums {
            page.set_checksum(block);
        }
        bytes.extend_from_slice(page.bytes());
    }
    bytes
}
