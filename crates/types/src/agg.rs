//! Aggregates: many rows in, one value out. C: the transition and final functions of pg_aggregate.
//!
//! An aggregate is found like any function; its row's code is [`FuncImpl::Aggregate`](crate::fmgr::FuncImpl),
//! which makes an [`AggState`] for each group. DISTINCT, ORDER BY and FILTER are the executor's.

use std::cmp::Ordering;

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::adt::int::out_of_range;
use crate::adt::numeric::{self, Numeric};
use crate::adt::{float, interval};
use crate::compare::compare;
use crate::fmgr::CallContext;
use crate::{ArrayValue, Datum, Dimension, Interval, oid};

/// One group's state. `add` sees every row, NULLs included; each aggregate decides what they mean.
pub trait AggState {
    /// Takes one row's arguments.
    fn add(&mut self, cx: &mut CallContext<'_>, args: &[Datum]) -> Result<()>;
    /// The result for the rows so far.
    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum>;
}

type State = Box<dyn AggState>;

#[derive(Default)]
struct Count(i64);

impl AggState for Count {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if !args.first().is_some_and(Datum::is_null) {
            self.0 += 1;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        Ok(Datum::Int8(self.0))
    }
}

/// `count(*)` and `count(x)`.
pub(crate) fn count() -> State {
    Box::new(Count::default())
}

/// Sum and average of integers: an i128 cannot overflow within 2^63 rows.
struct IntSum {
    average: bool,
    sum: i128,
    rows: i64,
}

impl AggState for IntSum {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Some(v) = args[0].as_i64() {
            self.sum += i128::from(v);
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        if self.average {
            let quotient = numeric::divide(&Numeric::from_i128(self.sum), &Numeric::from_i64(self.rows))?;
            return Ok(Datum::numeric(quotient));
        }
        if cx.ret_type == oid::NUMERIC {
            return Ok(Datum::numeric(Numeric::from_i128(self.sum)));
        }
        i64::try_from(self.sum).map(Datum::Int8).map_err(|_| out_of_range("bigint"))
    }
}

pub(crate) fn int_sum() -> State {
    Box::new(IntSum { average: false, sum: 0, rows: 0 })
}

pub(crate) fn int_avg() -> State {
    Box::new(IntSum { average: true, sum: 0, rows: 0 })
}

struct NumericSum {
    average: bool,
    sum: Numeric,
    rows: i64,
}

impl AggState for NumericSum {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Datum::Numeric(v) = &args[0] {
            self.sum = numeric::add(&self.sum, v);
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        if self.average {
            return Ok(Datum::numeric(numeric::divide(&self.sum, &Numeric::from_i64(self.rows))?));
        }
        Ok(Datum::numeric(self.sum.clone()))
    }
}

pub(crate) fn numeric_sum() -> State {
    Box::new(NumericSum { average: false, sum: Numeric::from_i64(0), rows: 0 })
}

pub(crate) fn numeric_avg() -> State {
    Box::new(NumericSum { average: true, sum: Numeric::from_i64(0), rows: 0 })
}

fn as_f64(value: &Datum) -> Option<f64> {
    match value {
        Datum::Float8(v) => Some(*v),
        Datum::Float4(v) => Some(f64::from(*v)),
        Datum::Numeric(v) => Some(v.to_f64()),
        other => other.as_i64().map(|v| v as f64),
    }
}

struct FloatSum {
    sum: Option<f64>,
    sum4: f32,
}

impl AggState for FloatSum {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Datum::Float4(v) = &args[0] {
            self.sum4 += v;
        }
        if let Some(v) = as_f64(&args[0]) {
            let before = self.sum.unwrap_or(0.0);
            let sum = before + v;
            if sum.is_infinite() && before.is_finite() && v.is_finite() {
                return Err(float::float_overflow());
            }
            self.sum = Some(sum);
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        Ok(match self.sum {
            None => Datum::Null,
            Some(_) if cx.ret_type == oid::FLOAT4 => Datum::Float4(self.sum4),
            Some(sum) => Datum::Float8(sum),
        })
    }
}

pub(crate) fn float_sum() -> State {
    Box::new(FloatSum { sum: None, sum4: 0.0 })
}

/// Which moment of a float distribution is asked for.
#[derive(Clone, Copy)]
enum Moment {
    Avg,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
}

/// Youngs and Cramer's update, as C does it. C: `float8_accum`.
struct FloatMoments {
    wanted: Moment,
    rows: f64,
    sum: f64,
    squares: f64,
}

impl AggState for FloatMoments {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        let Some(v) = as_f64(&args[0]) else { return Ok(()) };
        self.rows += 1.0;
        self.sum += v;
        if self.rows > 1.0 {
            let d = v * self.rows - self.sum;
            self.squares += d * d / (self.rows * (self.rows - 1.0));
        } else if !v.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        let sample = matches!(self.wanted, Moment::VarSamp | Moment::StddevSamp);
        if self.rows == 0.0 || (sample && self.rows <= 1.0) {
            return Ok(Datum::Null);
        }
        let variance = self.squares / if sample { self.rows - 1.0 } else { self.rows };
        Ok(Datum::Float8(match self.wanted {
            Moment::Avg => self.sum / self.rows,
            Moment::VarPop | Moment::VarSamp => variance,
            Moment::StddevPop | Moment::StddevSamp => variance.sqrt(),
        }))
    }
}

/// The same of exact numbers: sums of the values and of their squares. C: `numeric_stddev_internal`.
struct NumericMoments {
    wanted: Moment,
    rows: i64,
    sum: Numeric,
    squares: Numeric,
}

impl AggState for NumericMoments {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        let value = match &args[0] {
            Datum::Null => return Ok(()),
            Datum::Numeric(v) => Numeric::clone(v),
            other => Numeric::from_i64(other.as_i64().unwrap_or_default()),
        };
        self.rows += 1;
        self.squares = numeric::add(&self.squares, &numeric::multiply(&value, &value));
        self.sum = numeric::add(&self.sum, &value);
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        let sample = matches!(self.wanted, Moment::VarSamp | Moment::StddevSamp);
        if self.rows == 0 || (sample && self.rows == 1) {
            return Ok(Datum::Null);
        }
        let rows = Numeric::from_i64(self.rows);
        let spread = numeric::add(
            &numeric::multiply(&rows, &self.squares),
            &numeric::negate(&numeric::multiply(&self.sum, &self.sum)),
        );
        if spread.signum() <= 0 {
            return Ok(Datum::numeric(Numeric::from_i64(0)));
        }
        let divisor = Numeric::from_i64(if sample { self.rows - 1 } else { self.rows });
        let variance = numeric::divide(&spread, &numeric::multiply(&rows, &divisor))?;
        Ok(Datum::numeric(match self.wanted {
            Moment::StddevPop | Moment::StddevSamp => crate::adt::numeric_math::sqrt(&variance)?,
            _ => variance,
        }))
    }
}

macro_rules! moments {
    ($($float:ident $exact:ident $moment:ident;)*) => {$(
        pub(crate) fn $float() -> State {
            Box::new(FloatMoments { wanted: Moment::$moment, rows: 0.0, sum: 0.0, squares: 0.0 })
        }
        pub(crate) fn $exact() -> State {
            Box::new(NumericMoments {
                wanted: Moment::$moment,
                rows: 0,
                sum: Numeric::from_i64(0),
                squares: Numeric::from_i64(0),
            })
        }
    )*};
}

moments! {
    float_var_pop numeric_var_pop VarPop;
    float_var_samp numeric_var_samp VarSamp;
    float_stddev_pop numeric_stddev_pop StddevPop;
    float_stddev_samp numeric_stddev_samp StddevSamp;
}

pub(crate) fn float_avg() -> State {
    Box::new(FloatMoments { wanted: Moment::Avg, rows: 0.0, sum: 0.0, squares: 0.0 })
}

struct IntervalSum {
    average: bool,
    sum: Interval,
    rows: i64,
}

impl AggState for IntervalSum {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Datum::Interval(v) = &args[0] {
            self.sum = interval::add(&self.sum, v)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        if self.rows == 0 {
            return Ok(Datum::Null);
        }
        if self.average {
            return Ok(Datum::Interval(interval::divide(&self.sum, self.rows as f64)?));
        }
        Ok(Datum::Interval(self.sum))
    }
}

pub(crate) fn interval_sum() -> State {
    Box::new(IntervalSum { average: false, sum: Interval::default(), rows: 0 })
}

pub(crate) fn interval_avg() -> State {
    Box::new(IntervalSum { average: true, sum: Interval::default(), rows: 0 })
}

struct Extreme {
    keep_if: Ordering,
    best: Datum,
}

impl AggState for Extreme {
    fn add(&mut self, cx: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        let value = &args[0];
        if !value.is_null()
            && (self.best.is_null() || compare(cx.arg_type(0), value, &self.best)? == self.keep_if)
        {
            self.best = value.clone();
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        Ok(self.best.clone())
    }
}

pub(crate) fn max() -> State {
    Box::new(Extreme { keep_if: Ordering::Greater, best: Datum::Null })
}

pub(crate) fn min() -> State {
    Box::new(Extreme { keep_if: Ordering::Less, best: Datum::Null })
}

/// `bit_and`, `bit_or`, `bit_xor` of any integer width.
struct Bits {
    combine: fn(i64, i64) -> i64,
    value: Option<i64>,
}

impl AggState for Bits {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Some(v) = args[0].as_i64() {
            self.value = Some(self.value.map_or(v, |before| (self.combine)(before, v)));
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        Ok(match (self.value, cx.ret_type) {
            (None, _) => Datum::Null,
            (Some(v), oid::INT2) => Datum::Int2(v as i16),
            (Some(v), oid::INT4) => Datum::Int4(v as i32),
            (Some(v), _) => Datum::Int8(v),
        })
    }
}

pub(crate) fn bit_and() -> State {
    Box::new(Bits { combine: |a, b| a & b, value: None })
}

pub(crate) fn bit_or() -> State {
    Box::new(Bits { combine: |a, b| a | b, value: None })
}

pub(crate) fn bit_xor() -> State {
    Box::new(Bits { combine: |a, b| a ^ b, value: None })
}

/// `string_agg` of text or bytea: a delimiter before each value but the first.
#[derive(Default)]
struct StringAgg {
    bytes: Option<Vec<u8>>,
}

fn raw(value: &Datum) -> &[u8] {
    match value {
        Datum::Text(s) => s.as_bytes(),
        Datum::Bytea(b) => b,
        _ => &[],
    }
}

impl AggState for StringAgg {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if args[0].is_null() {
            return Ok(());
        }
        match &mut self.bytes {
            None => self.bytes = Some(raw(&args[0]).to_vec()),
            Some(bytes) => {
                bytes.extend_from_slice(raw(&args[1]));
                bytes.extend_from_slice(raw(&args[0]));
            }
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        let Some(bytes) = &self.bytes else { return Ok(Datum::Null) };
        Ok(if cx.ret_type == oid::BYTEA {
            Datum::bytea(bytes)
        } else {
            // Text concatenated with text is text.
            Datum::text(String::from_utf8_lossy(bytes))
        })
    }
}

pub(crate) fn string_agg() -> State {
    Box::new(StringAgg::default())
}

/// `array_agg` of elements (NULLs kept) or of arrays of equal shape.
#[derive(Default)]
struct ArrayAgg {
    values: Vec<Datum>,
}

impl AggState for ArrayAgg {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        self.values.push(args[0].clone());
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        let elem = crate::type_info::element_type_of(cx.ret_type);
        if !crate::type_info::element_type_of(cx.arg_type(0)).is_valid() {
            return Ok(Datum::array(elem, self.values.clone()));
        }
        stack_arrays(elem, &self.values)
    }
}

fn stack_arrays(elem: Oid, arrays: &[Datum]) -> Result<Datum> {
    let mut dims: Option<Vec<Dimension>> = None;
    let mut values = Vec::new();
    for array in arrays {
        let Datum::Array(array) = array else {
            return Err(error!(SqlState::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays"));
        };
        if array.dims.is_empty() {
            return Err(error!(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot accumulate empty arrays"));
        }
        match &dims {
            Some(before) if *before != array.dims => {
                return Err(error!(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "cannot accumulate arrays of different dimensionality"
                ));
            }
            _ => dims = Some(array.dims.clone()),
        }
        values.extend(array.values.iter().cloned());
    }
    let mut all = vec![Dimension { len: arrays.len() as i32, lower: 1 }];
    all.extend(dims.unwrap_or_default());
    Ok(Datum::Array(ArrayValue { elem, dims: all, values }.into()))
}

pub(crate) fn array_agg() -> State {
    Box::new(ArrayAgg::default())
}
