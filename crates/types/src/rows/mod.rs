//! What the catalogs say about the built-in types, functions, operators and casts: PostgreSQL 15's OIDs and
//! signatures, each joined to its code here.

pub(crate) mod pg_cast;
pub(crate) mod pg_operator;
pub(crate) mod pg_type;
mod proc_numbers;
mod proc_others;
mod proc_strings;
mod proc_times;

use crate::fmgr::Builtin;

/// All functions.
pub(crate) static PROCS: &[&[Builtin]] =
    &[proc_numbers::ROWS, proc_strings::ROWS, proc_times::ROWS, proc_others::ROWS];
