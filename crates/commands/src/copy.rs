//! COPY: many rows in or out, as text.
//!
//! - `options`: what was written, checked; `encode`, `decode`: rows to bytes and back, without any table;
//! - `from`: bytes into a table; `to`: a table or a query into bytes.
//!
//! C counterpart: commands/copy.c, copyfrom.c, copyfromparse.c, copyto.c.

mod bytes;
mod decode;
mod encode;
mod from;
pub mod options;
mod to;

pub use decode::Input;
pub use from::CopyFrom;
pub use to::{CopyTo, Output};

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use executor::TableInfo;
use parser::ast::Loc;

use crate::Context;

/// Indexes (from 0) of the columns that are copied: those named, or all. C: `CopyGetAttnums`.
fn column_indexes(table: &Rc<TableInfo>, named: &[(String, Loc)]) -> Result<Vec<usize>> {
    if named.is_empty() {
        return Ok((0..table.natts()).filter(|i| !table.desc.attrs[*i].is_dropped).collect());
    }
    let mut indexes = Vec::with_capacity(named.len());
    for (name, _) in named {
        let Some(index) = table.column(name) else {
            return Err(error!(
                SqlState::UNDEFINED_COLUMN,
                "column \"{name}\" of relation \"{}\" does not exist", table.name
            ));
        };
        if indexes.contains(&index) {
            return Err(error!(SqlState::DUPLICATE_COLUMN, "column \"{name}\" specified more than once"));
        }
        indexes.push(index);
    }
    Ok(indexes)
}

/// C: `LookupExplicitNamespace`.
fn require_schema(cx: &Context<'_>, schema: Option<&str>) -> Result<()> {
    match schema {
        Some(name) if !cx.env.schema_exists(name) => {
            Err(error!(SqlState::UNDEFINED_SCHEMA, "schema \"{name}\" does not exist"))
        }
        _ => Ok(()),
    }
}

/// Which of the columns an option names; `what` is its SQL name for the message.
fn forced(
    cx: &Context<'_>,
    table_columns: &[String],
    columns: &options::Columns,
    what: &str,
) -> Result<Vec<bool>> {
    let _ = cx;
    match columns {
        options::Columns::None => Ok(vec![false; table_columns.len()]),
        options::Columns::All => Ok(vec![true; table_columns.len()]),
        options::Columns::Some(names) => {
            let mut flags = vec![false; table_columns.len()];
            for name in names {
                let Some(index) = table_columns.iter().position(|column| column == name) else {
                    return Err(error!(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        "{what} column \"{name}\" not referenced by COPY"
                    ));
                };
                flags[index] = true;
            }
            Ok(flags)
        }
    }
}
