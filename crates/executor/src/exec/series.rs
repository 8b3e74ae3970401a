//! The rows of a set-returning function, with a short way for `generate_series` over integers.
//!
//! A function's iterator makes a row of its own for each value. The series of integers, which fills tables with
//! millions of rows, is counted here instead.
//!
//! C counterpart: execSRF.c, `generate_series_step_int8`.

use elog::Result;
use types::Datum;
use types::fmgr::RowIter;
use types::parse_func::Resolved;

use super::{Cx, Row};

/// OIDs of generate_series over integer and bigint, with and without a step.
const SERIES_INT4: [u32; 2] = [1066, 1067];
const SERIES_INT8: [u32; 2] = [1068, 1069];

/// A set-returning function under way.
pub(super) enum SetRows {
    /// Integers from `next` to `stop`.
    Series { next: Option<i64>, stop: i64, step: i64, wide: bool },
    /// One value.
    Once(Option<Datum>),
    /// Anything else.
    Iter(RowIter),
}

impl SetRows {
    /// Calls the function.
    pub(super) fn open(call: &Resolved, args: &[Datum], cx: &Cx<'_>) -> Result<SetRows> {
        let oid = call.function().map_or(0, |f| f.oid.0);
        let wide = SERIES_INT8.contains(&oid);
        if wide || SERIES_INT4.contains(&oid) {
            let step = if args.len() > 2 { args[2].as_i64() } else { Some(1) };
            // NULLs and a step of zero are the function's own business.
            if let (Some(start), Some(stop), Some(step)) = (args[0].as_i64(), args[1].as_i64(), step)
                && step != 0
            {
                return Ok(SetRows::Series { next: Some(start), stop, step, wide });
            }
        }
        call.call_set(cx.session, args).map(SetRows::Iter)
    }

    /// A set of one value.
    pub(super) fn once(value: Datum) -> SetRows {
        SetRows::Once(Some(value))
    }

    /// The first column of the next row.
    pub(super) fn next_value(&mut self) -> Result<Option<Datum>> {
        match self {
            SetRows::Series { next, stop, step, wide } => {
                let Some(value) = *next else { return Ok(None) };
                if if *step > 0 { value > *stop } else { value < *stop } {
                    *next = None;
                    return Ok(None);
                }
                *next = value.checked_add(*step);
                Ok(Some(if *wide { Datum::Int8(value) } else { Datum::Int4(value as i32) }))
            }
            SetRows::Once(value) => Ok(value.take()),
            SetRows::Iter(rows) => match rows.next() {
                Some(row) => Ok(Some(row?.drain(..).next().unwrap_or_default())),
                None => Ok(None),
            },
        }
    }

    /// The next row.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>> {
        match self {
            SetRows::Iter(rows) => rows.next().transpose(),
            _ => Ok(self.next_value()?.map(|value| vec![value])),
        }
    }
}
