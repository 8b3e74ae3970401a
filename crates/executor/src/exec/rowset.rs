//! Rows compared, sorted, and told apart.
//!
//! C counterpart: utils/sort/tuplesort.c and executor/execGrouping.c.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use elog::{PgError, Result};
use types::Datum;
use types::compare::{compare, compare_nulls_last, hash};

use super::{Cx, Row};
use crate::query::SortKey;

/// Comparisons between two looks at pending interrupts.
const COMPARISONS_PER_CHECK: u32 = 4096;

/// Order of two rows by these keys.
pub(super) fn compare_rows(keys: &[SortKey], a: &[Datum], b: &[Datum]) -> Result<Ordering> {
    for key in keys {
        let (x, y) = (&a[key.column], &b[key.column]);
        let order = match (x.is_null(), y.is_null()) {
            (false, false) if key.descending => compare(key.ty, y, x)?,
            (false, false) => compare(key.ty, x, y)?,
            (x_null, y_null) if key.nulls_first => y_null.cmp(&x_null),
            (x_null, y_null) => x_null.cmp(&y_null),
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(Ordering::Equal)
}

/// Sorts; rows that compare equal keep their order.
pub(super) fn sort_rows(keys: &[SortKey], rows: &mut [Row], cx: &Cx<'_>) -> Result<()> {
    let mut failure: Option<PgError> = None;
    let mut comparisons = 0u32;
    rows.sort_by(|a, b| {
        if failure.is_some() {
            return Ordering::Equal;
        }
        comparisons = comparisons.wrapping_add(1);
        if comparisons.is_multiple_of(COMPARISONS_PER_CHECK)
            && let Err(e) = cx.check_interrupts()
        {
            failure = Some(e);
            return Ordering::Equal;
        }
        compare_rows(keys, a, b).unwrap_or_else(|e| {
            failure = Some(e);
            Ordering::Equal
        })
    });
    failure.map_or(Ok(()), Err)
}

/// Rows told apart by some of their columns, where NULL equals NULL, with a number for each.
#[derive(Default)]
pub(super) struct RowSet {
    buckets: HashMap<u64, Vec<usize>>,
    rows: Vec<(Row, usize)>,
}

impl RowSet {
    /// Adds the row unless it is there; whether it was new.
    pub(super) fn insert(&mut self, keys: &[SortKey], row: &[Datum]) -> Result<bool> {
        Ok(self.entry(keys, row)?.1)
    }

    /// Index of the row, and whether it is new.
    pub(super) fn entry(&mut self, keys: &[SortKey], row: &[Datum]) -> Result<(usize, bool)> {
        let bucket = hash_row(keys, row);
        if let Some(found) = self.find_in(bucket, keys, row)? {
            return Ok((found, false));
        }
        let key: Row = keys.iter().map(|k| row[k.column].clone()).collect();
        self.rows.push((key, 0));
        self.buckets.entry(bucket).or_default().push(self.rows.len() - 1);
        Ok((self.rows.len() - 1, true))
    }

    /// Index of the row, if it is there.
    pub(super) fn find(&self, keys: &[SortKey], row: &[Datum]) -> Result<Option<usize>> {
        self.find_in(hash_row(keys, row), keys, row)
    }

    /// The number kept with a row.
    pub(super) fn count(&mut self, index: usize) -> &mut usize {
        &mut self.rows[index].1
    }

    fn find_in(&self, bucket: u64, keys: &[SortKey], row: &[Datum]) -> Result<Option<usize>> {
        for &index in self.buckets.get(&bucket).into_iter().flatten() {
            let known = &self.rows[index].0;
            let mut equal = true;
            for (key, value) in keys.iter().zip(known) {
                equal &= compare_nulls_last(key.ty, value, &row[key.column])?.is_eq();
            }
            if equal {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
}

fn hash_row(keys: &[SortKey], row: &[Datum]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for key in keys {
        hash(key.ty, &row[key.column], &mut hasher);
    }
    hasher.finish()
}
