//! Rows of a table: all of them, or those at given addresses.
//!
//! A row stays in its page; only the columns that the plan needs become values in the frame.
//!
//! C counterpart: nodeSeqscan.c, nodeTidscan.c, `slot_getsomeattrs`.

use std::rc::Rc;

use common::ItemPointer;
use elog::Result;
use heap::{SystemAttribute, TupleView};
use types::Datum;

use super::Cx;
use crate::query::TableScan;
use crate::table::{RowScan, SYSTEM_COLUMNS};

/// Up to this many columns are looked up one by one; more are taken apart from the first on.
const SINGLE_COLUMNS: usize = 1;

/// A scan under way.
pub(super) struct ScanState {
    scan: Rc<TableScan>,
    depth: usize,
    rows: Option<Box<dyn RowScan>>,
    /// Addresses still to be looked at, of a scan by address.
    tids: Option<std::vec::IntoIter<ItemPointer>>,
    /// Columns of the row at hand, in a buffer that stays.
    columns: Vec<Datum>,
}

impl ScanState {
    pub(super) fn new(scan: &Rc<TableScan>, depth: usize) -> ScanState {
        ScanState { scan: scan.clone(), depth, rows: None, tids: None, columns: Vec::new() }
    }

    /// Brings the next row that meets the scan's own condition into the frame.
    pub(super) fn next(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        let scan = self.scan.clone();
        loop {
            let found = match &scan.tids {
                Some(_) => self.next_by_address(cx)?,
                None => self.next_in_order(cx)?,
            };
            if !found {
                return Ok(false);
            }
            match &scan.filter {
                Some(filter) if !cx.is_true(filter)? => cx.check_interrupts()?,
                _ => return Ok(true),
            }
        }
    }

    fn next_in_order(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        let rows = match &mut self.rows {
            Some(rows) => rows,
            None => self.rows.insert(self.scan.table.am.scan()?),
        };
        let Some(row) = rows.next()? else { return Ok(false) };
        load_row(&self.scan, self.depth, row, &mut self.columns, cx)?;
        Ok(true)
    }

    /// C: `TidNext`, `TidListEval`.
    fn next_by_address(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        if self.tids.is_none() {
            let scan = self.scan.clone();
            let mut tids = Vec::new();
            for expr in scan.tids.iter().flatten() {
                if let Datum::Tid(block, offset) = cx.eval(expr)? {
                    tids.push(ItemPointer { block, offset });
                }
            }
            self.tids = Some(tids.into_iter());
        }
        while let Some(tid) = self.tids.as_mut().and_then(Iterator::next) {
            if let Some(tuple) = self.scan.table.am.fetch(tid)? {
                load_row(&self.scan, self.depth, tuple.view(), &mut self.columns, cx)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Starts over; what it has opened, it keeps open.
    pub(super) fn rescan(&mut self) {
        self.tids = None;
        // Reopened rather than restarted: a restart that fails could not be told to anybody here.
        self.rows = None;
    }
}

/// Writes what the plan needs of a row to the frame.
pub(super) fn load_row(
    scan: &TableScan,
    depth: usize,
    row: TupleView<'_>,
    buffer: &mut Vec<Datum>,
    cx: &mut Cx<'_>,
) -> Result<()> {
    let frame = &mut cx.shared.frames[depth];
    let desc = &scan.table.desc;
    match scan.needed.last() {
        None => {}
        Some(_) if scan.needed.len() <= SINGLE_COLUMNS => {
            for column in &scan.needed {
                frame[scan.base + column] = row.attr(desc, *column as i16 + 1)?;
            }
        }
        Some(last) => {
            row.deform(desc, last + 1, buffer)?;
            for column in &scan.needed {
                frame[scan.base + column] = std::mem::take(&mut buffer[*column]);
            }
        }
    }
    let first = scan.base + scan.table.natts();
    for attribute in &scan.needed_system {
        frame[first + system_index(*attribute)] = row.system(*attribute);
    }
    Ok(())
}

/// Which of the slots behind the columns a system column has.
pub(super) fn system_index(attribute: SystemAttribute) -> usize {
    SYSTEM_COLUMNS.iter().position(|a| *a == attribute).unwrap_or(0)
}
