//! Reading and changing the rows of catalogs.
//!
//! Readers take the catalog's AccessShare lock for the time of the scan, writers RowExclusive for the time of the
//! change, as PostgreSQL does: it keeps them apart from a VACUUM that truncates the catalog's file, nothing more.
//! Every change announces itself to the caches (`inval`).
//!
//! C counterpart: catalog/indexing.c (`CatalogTupleInsert` and its like), access/index/genam.c (`systable_beginscan`).

use std::rc::Rc;

use common::{ItemPointer, Oid};
use elog::Result;
use heap::{InsertOptions, Scan, ScanOptions, Table, form_tuple};
use lmgr::LockMode;
use types::Datum;

use crate::tables::Catalog;
use crate::{inval, relation, relcache};

/// Where a row is, so that it can be changed.
pub type RowId = ItemPointer;

fn unlock(catalog: &Catalog, mode: LockMode) -> Result<()> {
    lmgr::unlock_relation(relation::lock_database(catalog.oid), catalog.oid, mode)
}

/// Calls `found` for each row that is visible to the catalog snapshot and whose first column `wanted` accepts: only
/// for those the other columns are looked at.
///
/// # Errors
/// What reading says, and what `found` returns: it ends the scan.
pub fn scan(
    catalog: &'static Catalog,
    wanted: impl Fn(&Datum) -> bool,
    found: impl FnMut(RowId, &[Datum]) -> Result<()>,
) -> Result<()> {
    scan_column(catalog, 0, wanted, found)
}

/// The same, asking `wanted` about the column with this place in the row, from 0.
///
/// # Errors
/// As [`scan`].
pub fn scan_column(
    catalog: &'static Catalog,
    column: usize,
    wanted: impl Fn(&Datum) -> bool,
    mut found: impl FnMut(RowId, &[Datum]) -> Result<()>,
) -> Result<()> {
    relation::lock(catalog.oid, LockMode::AccessShare)?;
    let table = relcache::catalog_table(catalog)?;
    let snapshot = transam::snapshot::catalog_snapshot()?;
    let registered = transam::snapshot::register(&snapshot);
    let mut values = Vec::with_capacity(catalog.columns.len());
    let options = ScanOptions { allow_ring: false, ..ScanOptions::default() };
    let mut rows = Scan::begin(&table, snapshot, options)?;
    while let Some(row) = rows.next()? {
        if wanted(&row.attr(&table.desc, column as i16 + 1)?) {
            row.deform(&table.desc, catalog.columns.len(), &mut values)?;
            found(row.tid, &values)?;
        }
    }
    drop(rows);
    drop(registered);
    unlock(catalog, LockMode::AccessShare)
}

/// Rows that `wanted` accepts by their first column, with their addresses.
///
/// # Errors
/// As [`scan`].
pub fn rows<R>(
    catalog: &'static Catalog,
    wanted: impl Fn(&Datum) -> bool,
    read: impl Fn(&[Datum]) -> Result<R>,
) -> Result<Vec<(RowId, R)>> {
    let mut rows = Vec::new();
    scan(catalog, wanted, |id, row| {
        rows.push((id, read(row)?));
        Ok(())
    })?;
    Ok(rows)
}

/// A test for a column that holds an OID.
pub fn is_oid(oid: Oid) -> impl Fn(&Datum) -> bool {
    move |datum| matches!(datum, Datum::Oid(found) if *found == oid.0)
}

/// Does something to a catalog's table under the writer's lock.
fn write(catalog: &'static Catalog, change: impl FnOnce(&Rc<Table>) -> Result<()>) -> Result<()> {
    relation::lock(catalog.oid, LockMode::RowExclusive)?;
    let table = relcache::catalog_table(catalog)?;
    change(&table)?;
    inval::register_catalog(catalog.oid);
    unlock(catalog, LockMode::RowExclusive)
}

/// Adds rows. C: `CatalogTupleInsert`, `CatalogTuplesMultiInsertWithInfo`.
///
/// # Errors
/// What the heap says.
pub fn insert(catalog: &'static Catalog, rows: &[Vec<Datum>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    write(catalog, |table| {
        let mut tuples = Vec::with_capacity(rows.len());
        for row in rows {
            tuples.push(form_tuple(&table.desc, row)?);
        }
        if let [tuple] = &mut tuples[..] {
            return heap::simple_insert(table, tuple).map(drop);
        }
        let command = transam::xact::current_command_id(true);
        heap::multi_insert(table, &mut tuples, command, InsertOptions::default(), None)
    })
}

/// Replaces a row. C: `CatalogTupleUpdate`.
///
/// # Errors
/// `tuple concurrently updated` and its like.
pub fn update(catalog: &'static Catalog, id: RowId, row: &[Datum]) -> Result<()> {
    write(catalog, |table| {
        let mut tuple = form_tuple(&table.desc, row)?;
        heap::simple_update(table, id, &mut tuple)
    })
}

/// Overwrites a row where it is, outside of any transaction: visible to all at once, not undone by an abort. Only
/// for rows that keep their length. C: `heap_inplace_update`.
///
/// # Errors
/// If the row changed meanwhile.
pub fn update_in_place(catalog: &'static Catalog, id: RowId, row: &[Datum]) -> Result<()> {
    write(catalog, |table| heap::inplace_update(table, id, &form_tuple(&table.desc, row)?))
}

/// Removes a row. C: `CatalogTupleDelete`.
///
/// # Errors
/// `tuple concurrently deleted` and its like.
pub fn delete(catalog: &'static Catalog, id: RowId) -> Result<()> {
    write(catalog, |table| heap::simple_delete(table, id))
}

/// Removes all rows that `wanted` accepts by the column at this place.
///
/// # Errors
/// As [`scan`] and [`delete`].
pub fn delete_where(
    catalog: &'static Catalog,
    column: usize,
    wanted: impl Fn(&Datum) -> bool,
) -> Result<u64> {
    let mut ids = Vec::new();
    scan_column(catalog, column, wanted, |id, _| {
        ids.push(id);
        Ok(())
    })?;
    for id in &ids {
        delete(catalog, *id)?;
    }
    Ok(ids.len() as u64)
}

/// Rows that `wanted` accepts by the column at this place, with their addresses.
///
/// # Errors
/// As [`scan`].
pub fn rows_where<R>(
    catalog: &'static Catalog,
    column: usize,
    wanted: impl Fn(&Datum) -> bool,
    read: impl Fn(&[Datum]) -> Result<R>,
) -> Result<Vec<(RowId, R)>> {
    let mut rows = Vec::new();
    scan_column(catalog, column, wanted, |id, row| {
        rows.push((id, read(row)?));
        Ok(())
    })?;
    Ok(rows)
}
