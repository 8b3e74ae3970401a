//! Databases in pg_database.

use common::{SqlState, Xid};
use elog::{Result, error};
use lmgr::LockMode;
use types::Datum;

use super::{Database, Databases};
use crate::encoding::Encoding;
use crate::rows::PgDatabaseRow;
use crate::tables::PG_DATABASE;
use crate::{access, relation, syscache};

pub(super) fn load() -> Result<Databases> {
    crate::in_any_transaction(syscache::has_databases, || {
        let rows = syscache::databases()?;
        Ok(Databases { databases: rows.iter().map(|row| database(row)).collect::<Result<_>>()? })
    })
}

/// Only changes: databases cannot be made or dropped here yet.
pub(super) fn update<T>(change: impl FnOnce(&mut Databases) -> Result<T>) -> Result<T> {
    relation::lock(PG_DATABASE.oid, LockMode::ShareRowExclusive)?;
    let old = access::rows(&PG_DATABASE, |_| true, PgDatabaseRow::from_datums)?;
    let mut databases =
        Databases { databases: old.iter().map(|(_, row)| database(row)).collect::<Result<_>>()? };
    let result = change(&mut databases)?;
    for (id, row) in &old {
        let Some(new) = databases.databases.iter().find(|new| new.oid == row.oid) else { continue };
        if *new != database(row)? {
            access::update(&PG_DATABASE, *id, &changed(row, new).to_datums())?;
        }
    }
    transam::command_counter_increment()?;
    Ok(result)
}

fn database(row: &PgDatabaseRow) -> Result<Database> {
    let encoding = Encoding::from_id(row.encoding)
        .ok_or_else(|| error!(SqlState::DATA_CORRUPTED, "invalid encoding number: {}", row.encoding))?;
    Ok(Database {
        oid: row.oid,
        name: row.datname.clone(),
        owner: row.datdba,
        encoding,
        allow_conn: row.datallowconn,
        is_template: row.datistemplate,
        conn_limit: row.datconnlimit,
        collate: row.datcollate.clone(),
        ctype: row.datctype.clone(),
        tablespace: row.dattablespace,
    })
}

/// The row with what a [`Database`] says; the rest stays.
fn changed(row: &PgDatabaseRow, new: &Database) -> PgDatabaseRow {
    PgDatabaseRow {
        datname: new.name.clone(),
        datdba: new.owner,
        encoding: new.encoding.id(),
        datallowconn: new.allow_conn,
        datistemplate: new.is_template,
        datconnlimit: new.conn_limit,
        datcollate: new.collate.clone(),
        datctype: new.ctype.clone(),
        dattablespace: new.tablespace,
        ..row.clone()
    }
}

impl Databases {
    /// As rows of pg_database in a new cluster.
    pub(crate) fn to_rows(&self) -> Vec<PgDatabaseRow> {
        let row = |database: &Database| PgDatabaseRow {
            oid: database.oid,
            datname: database.name.clone(),
            datdba: database.owner,
            encoding: database.encoding.id(),
            datlocprovider: b'c',
            datistemplate: database.is_template,
            datallowconn: database.allow_conn,
            datconnlimit: database.conn_limit,
            datfrozenxid: Xid::FIRST_NORMAL,
            datminmxid: Xid(1),
            dattablespace: database.tablespace,
            datcollate: database.collate.clone(),
            datctype: database.ctype.clone(),
            daticulocale: None,
            datcollversion: None,
            datacl: Datum::Null,
        };
        self.databases.iter().map(row).collect()
    }
}
