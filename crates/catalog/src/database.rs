//! Databases: pg_database.
//!
//! C counterpart: catalog/pg_database.h; reading at login as `GetDatabaseTuple` (postinit.c).

use std::path::Path;

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::encoding::Encoding;
use crate::predefined;

mod stored;

/// What new databases are copied from. C: `Template1DbOid`.
pub const TEMPLATE1: Oid = Oid(1);
/// A copy of it that nobody may change. C: `Template0DbOid`.
pub const TEMPLATE0: Oid = Oid(4);
/// What clients connect to when they know no better. C: `PostgresDbOid`.
pub const POSTGRES: Oid = Oid(5);
/// Where databases are unless told otherwise: `base`. C: `DEFAULTTABLESPACE_OID`.
pub const PG_DEFAULT_TABLESPACE: Oid = Oid(1663);

/// A database. C: `FormData_pg_database`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `oid`, also the name of its directory below `base`.
    pub oid: Oid,
    /// `datname`.
    pub name: String,
    /// `datdba`.
    pub owner: Oid,
    /// `encoding`.
    pub encoding: Encoding,
    /// `datallowconn`.
    pub allow_conn: bool,
    /// `datistemplate`.
    pub is_template: bool,
    /// `datconnlimit`, -1 for none.
    pub conn_limit: i32,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `dattablespace`.
    pub tablespace: Oid,
}

/// All databases as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    databases: Vec<Database>,
}

/// Reads the cluster's databases: from memory, unless they have changed since the last time.
///
/// # Errors
/// What reading the catalog says.
pub fn load(_data_dir: &Path) -> Result<Databases> {
    stored::load()
}

/// Reads the databases, changes them, and stores what has changed: as part of the transaction, and while no other
/// session can. If `change` fails, nothing has happened.
///
/// # Errors
/// Those of `change` and of storing.
pub fn update<T>(_data_dir: &Path, change: impl FnOnce(&mut Databases) -> Result<T>) -> Result<T> {
    stored::update(change)
}

impl Databases {
    /// The databases of a new cluster: `template1`, `template0`, `postgres`.
    pub fn initial(encoding: Encoding, collate: &str, ctype: &str) -> Databases {
        let mut databases = Databases::default();
        for (oid, name, allow_conn, is_template) in [
            (POSTGRES, "postgres", true, false),
            (TEMPLATE1, "template1", true, true),
            (TEMPLATE0, "template0", false, true),
        ] {
            let database = Database {
                oid,
                name: name.to_owned(),
                owner: predefined::BOOTSTRAP_SUPERUSER,
                encoding,
                allow_conn,
                is_template,
                conn_limit: -1,
                collate: collate.to_owned(),
                ctype: ctype.to_owned(),
                tablespace: PG_DEFAULT_TABLESPACE,
            };
            databases.databases.push(database);
        }
        databases
    }

    /// The database of this name. C: `GetDatabaseTuple`.
    pub fn find(&self, name: &str) -> Result<Option<Database>> {
        Ok(self.databases.iter().find(|database| database.name == name).cloned())
    }

    /// The database with this oid. C: `GetDatabaseTupleByOid`.
    pub fn find_oid(&self, oid: Oid) -> Result<Option<Database>> {
        Ok(self.databases.iter().find(|database| database.oid == oid).cloned())
    }

    /// Every database.
    pub fn all(&self) -> Result<Vec<Database>> {
        Ok(self.databases.clone())
    }

    /// Changes a database. C: `AlterDatabase`.
    pub fn alter(&mut self, name: &str, change: impl FnOnce(&mut Database)) -> Result<()> {
        let database = self
            .databases
            .iter_mut()
            .find(|database| database.name == name)
            .ok_or_else(|| error!(SqlState::UNDEFINED_DATABASE, "database \"{name}\" does not exist"))?;
        change(database);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_databases_to_begin_with() {
        let utf8 = Encoding::from_name("UTF8").unwrap();
        let mut databases = Databases::initial(utf8, "C.UTF-8", "C");
        assert!(!databases.find("template0").unwrap().unwrap().allow_conn);
        assert_eq!(databases.find_oid(POSTGRES).unwrap().unwrap().name, "postgres");
        assert_eq!(databases.find("nope").unwrap(), None);
        databases.alter("postgres", |database| database.conn_limit = 3).unwrap();
        assert_eq!(databases.find("postgres").unwrap().unwrap().conn_limit, 3);
        let error = databases.alter("nope", |_| ()).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), &*error.message), ("3D000", "database \"nope\" does not exist"));
    }
}
