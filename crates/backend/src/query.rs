//! Queries: what the session gives the executor, and what it gets back.

use common::Oid;
use elog::Result;
use parser::Statement;
use types::Datum;

use crate::transaction::SessionTransaction;
use crate::utility::not_supported;

/// A column of a result, as RowDescription needs it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: Oid,
    pub(crate) typmod: i32,
}

/// A query with its names and types settled.
#[derive(Debug)]
pub(crate) struct PreparedQuery {
    pub(crate) param_types: Vec<Oid>,
    pub(crate) columns: Vec<Column>,
}

/// A query under way.
#[derive(Debug)]
pub(crate) struct Running {}

impl PreparedQuery {
    /// Settles names and types. `param_types` may be shorter than the parameters are many, or hold zeros.
    pub(crate) fn new(statement: &Statement, source: &str, param_types: &[Oid]) -> Result<PreparedQuery> {
        let _ = (statement, source, param_types);
        Err(not_supported("SELECT"))
    }

    pub(crate) fn start(&self, params: &[Datum], transaction: &SessionTransaction) -> Result<Running> {
        let _ = (params, transaction);
        Ok(Running {})
    }
}

impl Running {
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Datum>>> {
        Ok(None)
    }
}
