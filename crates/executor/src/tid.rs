//! Comparison of row addresses: the functions and operators of `tid` that `ctid = '(0,1)'` needs.
//!
//! C counterpart: utils/adt/tid.c.

use std::cmp::Ordering;

use elog::Result;
use types::fmgr::{Builtin, CallContext, Operator, Registry};
use types::{Datum, oid};

fn order(args: &[Datum]) -> Ordering {
    match (&args[0], &args[1]) {
        (Datum::Tid(a, x), Datum::Tid(b, y)) => (a, x).cmp(&(b, y)),
        _ => Ordering::Equal,
    }
}

macro_rules! comparisons {
    ($($name:ident $is:ident;)*) => {$(
        fn $name(_: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
            Ok(Datum::Bool(order(args).$is()))
        }
    )*};
}

comparisons! {
    tideq is_eq;
    tidne is_ne;
    tidlt is_lt;
    tidgt is_gt;
    tidle is_le;
    tidge is_ge;
}

const ARGS: &[common::Oid] = &[oid::TID, oid::TID];

static FUNCTIONS: [Builtin; 6] = [
    Builtin::scalar(1292, "tideq", ARGS, oid::BOOL, tideq),
    Builtin::scalar(1265, "tidne", ARGS, oid::BOOL, tidne),
    Builtin::scalar(2790, "tidgt", ARGS, oid::BOOL, tidgt),
    Builtin::scalar(2791, "tidlt", ARGS, oid::BOOL, tidlt),
    Builtin::scalar(2792, "tidge", ARGS, oid::BOOL, tidge),
    Builtin::scalar(2793, "tidle", ARGS, oid::BOOL, tidle),
];

const fn operator(number: u32, name: &'static str, code: u32) -> Operator {
    Operator { oid: common::Oid(number), name, left: oid::TID, right: oid::TID, code: common::Oid(code) }
}

static OPERATORS: [Operator; 6] = [
    operator(387, "=", 1292),
    operator(402, "<>", 1265),
    operator(2799, "<", 2791),
    operator(2800, ">", 2790),
    operator(2801, "<=", 2793),
    operator(2802, ">=", 2792),
];

/// The operators, for showing them.
pub(crate) fn operators() -> &'static [Operator] {
    &OPERATORS
}

/// Adds what the executor has of functions and operators, unless they are there already.
pub fn register(registry: &mut Registry) {
    if registry.by_oid(FUNCTIONS[0].oid).is_none() {
        registry.add(&FUNCTIONS);
        registry.add_operators(&OPERATORS);
    }
}
