//! The types and their functions, one file for each C file of src/backend/utils/adt (large C files are several
//! here). A function that SQL can call has its C name.

pub mod array_userfuncs;
pub mod arrayfuncs;
pub mod bool;
pub mod bytea;
pub mod date;
pub mod date_ops;
pub mod datetime;
pub(crate) mod datetime_parse;
pub(crate) mod extract;
pub mod float;
pub(crate) mod formatting;
pub(crate) mod formatting_number;
pub mod inet;
pub mod int;
pub mod interval;
pub(crate) mod interval_ops;
pub(crate) mod interval_parse;
pub mod json;
pub(crate) mod jsonfuncs;
pub(crate) mod like;
pub(crate) mod misc;
pub mod name;
pub mod numeric;
pub(crate) mod numeric_math;
pub(crate) mod numeric_ops;
pub mod oid;
pub(crate) mod oracle_compat;
pub(crate) mod regexp;
pub mod rowtypes;
pub mod text_format;
pub mod timestamp;
pub(crate) mod timestamp_ops;
pub mod uuid;
pub mod varchar;
pub(crate) mod varlena;
