//! SQL values: what they are, how text and bytes become them and back, how one type turns into another, and
//! the functions and operators that work on them.
//!
//! Read in this order: [`Datum`] (a value), [`oid`] and [`TypeInfo`] (its type), [`io`] (text and wire form),
//! [`cast`] (from type to type), [`fmgr`] (functions and how they are called), [`parse_func`] (which function a
//! call means), [`agg`] (aggregates). The functions themselves are in `adt`, one file for each C file; the rows
//! that give them their name, OID and argument types, as pg_proc, pg_operator and pg_cast do, are in `rows`.
//!
//! C counterpart: src/backend/utils/adt, src/backend/utils/fmgr, parser/parse_func.c and parse_coerce.c.
//!
//! Absent on purpose: AND, OR, NOT, CASE, COALESCE and the other expressions that do not evaluate all their
//! arguments (`executor` has them), and functions that ask the server something (`backend` registers those).

#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod adt;
pub mod agg;
pub mod cast;
pub mod compare;
mod datum;
pub mod fmgr;
pub mod io;
pub mod oid;
pub mod parse_func;
mod rows;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
pub mod type_info;

pub use adt::numeric::Numeric;
pub use datum::{ArrayValue, Datum, Dimension, FromDatum, Interval, IntoDatum, RecordValue, TimeTz};
pub use datum::{Bpchar, Date, JsonText, Name, Regtype, Time, Timestamp, TimestampTz, Uuid, Xid8};
pub use type_info::{TypeInfo, TypeKind, format_type, type_by_name, type_info};

/// A type is named by the OID of its pg_type row.
pub type TypeId = common::Oid;
