//! What a statement can see of its session: functions, relations, schemas.

use std::fmt;
use std::rc::Rc;

use common::Oid;
use elog::Result;
use parser::ast::TableLockMode;
use types::fmgr::{Registry, RowIter, Session};

use crate::table::TableInfo;

/// Makes the rows of a relation.
pub type RelationScan = Rc<dyn Fn(&Session<'_>) -> Result<RowIter>>;

/// A relation without storage: a view that the server answers from memory.
#[derive(Clone)]
pub struct VirtualRelation {
    /// Its OID in pg_class.
    pub oid: Oid,
    /// Columns: name and type.
    pub columns: Vec<(String, Oid)>,
    /// Its rows, from a fresh look at each scan.
    pub scan: RelationScan,
}

impl fmt::Debug for VirtualRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualRelation").field("oid", &self.oid).field("columns", &self.columns).finish()
    }
}

/// Where relations are looked up.
pub trait RelationSource {
    /// The relation of that name; without a schema, the first one on the search path.
    fn lookup(&self, schema: Option<&str>, name: &str) -> Option<VirtualRelation>;
}

/// Everything that name resolution asks for.
pub trait Env: RelationSource {
    /// All functions and operators.
    fn registry(&self) -> &Registry;

    /// The current database's name: a three-part name must begin with it.
    fn current_database(&self) -> &str;

    /// The table of that name, locked in this mode until the end of the transaction; without a schema, the first one
    /// on the search path. Asked only for names that [`RelationSource::lookup`] does not know.
    ///
    /// # Errors
    /// What locking and reading catalogs say.
    fn table(&self, schema: Option<&str>, name: &str, mode: TableLockMode) -> Result<Option<Rc<TableInfo>>> {
        let _ = (schema, name, mode);
        Ok(None)
    }

    /// Whether there is such a schema.
    fn schema_exists(&self, name: &str) -> bool {
        matches!(name, "pg_catalog" | "information_schema" | "public" | "pg_toast")
    }
}
