//! Databases: `global/pg_database`.
//!
//! A line: name, oid, owner, encoding, flags, connection limit, collation, character classes, tablespace.
//!
//! C counterpart: catalog/pg_database.h; reading at login as `GetDatabaseTuple` (postinit.c).

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::encoding::Encoding;
use crate::flat_file::{FlatFile, Words, name_prefix, push_flags, push_quoted, while_locked};
use crate::predefined;

/// Where databases are, below the data directory.
pub const DATABASE_FILE: &str = "global/pg_database";
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

const FLAGS: [&str; 2] = ["connect", "template"];

impl Database {
    fn to_line(&self) -> String {
        let mut line = name_prefix(&self.name);
        let _ = write!(line, "{} {} {} ", self.oid, self.owner, self.encoding.name());
        push_flags(&mut line, FLAGS, [self.allow_conn, self.is_template]);
        let _ = write!(line, " {} ", self.conn_limit);
        push_quoted(&mut line, &self.collate);
        line.push(' ');
        push_quoted(&mut line, &self.ctype);
        let _ = write!(line, " {}", self.tablespace);
        line
    }

    fn from_line(line: &str) -> Option<Database> {
        let mut words = Words(line);
        let name = words.quoted()?.into_owned();
        let oid = Oid(words.number()?);
        let owner = Oid(words.number()?);
        let encoding = Encoding::from_name(words.bare()?)?;
        let [allow_conn, is_template] = words.flags(FLAGS)?;
        Some(Database {
            oid,
            name,
            owner,
            encoding,
            allow_conn,
            is_template,
            conn_limit: words.number()?,
            collate: words.quoted()?.into_owned(),
            ctype: words.quoted()?.into_owned(),
            tablespace: Oid(words.number()?),
        })
    }
}

/// All databases as of one moment. Only the lines that are asked for are parsed.
#[derive(Clone, Debug)]
pub struct Databases {
    file: FlatFile,
}

/// Reads the cluster's databases: one open, one read.
pub fn load(data_dir: &Path) -> Result<Databases> {
    Ok(Databases { file: FlatFile::read(data_dir, DATABASE_FILE)? })
}

/// Reads the databases, changes them and makes the change durable, while no other session can. If
/// `change` fails, nothing has happened.
pub fn update<T>(data_dir: &Path, change: impl FnOnce(&mut Databases) -> Result<T>) -> Result<T> {
    while_locked(data_dir, || {
        let mut databases = load(data_dir)?;
        let result = change(&mut databases)?;
        databases.save(data_dir)?;
        Ok(result)
    })
}

impl Databases {
    /// The databases of a new cluster: `template1`, `template0`, `postgres`.
    pub fn initial(encoding: Encoding, collate: &str, ctype: &str) -> Databases {
        let mut databases = Databases { file: FlatFile::empty(DATABASE_FILE) };
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
            databases.file.push_line(&database.to_line());
        }
        databases
    }

    /// Replaces the cluster's databases by these, durably.
    pub fn save(&self, data_dir: &Path) -> Result<()> {
        self.file.write(data_dir)
    }

    /// The database of this name. C: `GetDatabaseTuple`.
    pub fn find(&self, name: &str) -> Result<Option<Database>> {
        self.file.line_starting_with(&name_prefix(name)).map(|line| self.parse(line)).transpose()
    }

    /// The database with this oid. C: `GetDatabaseTupleByOid`.
    pub fn find_oid(&self, oid: Oid) -> Result<Option<Database>> {
        Ok(self.all()?.into_iter().find(|database| database.oid == oid))
    }

    /// Every database.
    pub fn all(&self) -> Result<Vec<Database>> {
        self.file.lines().map(|line| self.parse(line)).collect()
    }

    /// Changes a database. C: `AlterDatabase`.
    pub fn alter(&mut self, name: &str, change: impl FnOnce(&mut Database)) -> Result<()> {
        let mut database = self
            .find(name)?
            .ok_or_else(|| error!(SqlState::UNDEFINED_DATABASE, "database \"{name}\" does not exist"))?;
        change(&mut database);
        let (prefix, new_line) = (name_prefix(name), database.to_line());
        self.file.rewrite(|line| {
            Some(if line.starts_with(&prefix) { Cow::Owned(new_line.clone()) } else { Cow::Borrowed(line) })
        });
        Ok(())
    }

    fn parse(&self, line: &str) -> Result<Database> {
        Database::from_line(line).ok_or_else(|| self.file.corrupt(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_databases_to_begin_with() {
        let utf8 = Encoding::from_name("UTF8").unwrap();
        let mut databases = Databases::initial(utf8, "C.UTF-8", "C");
        let line = databases.file.line_starting_with("\"template1\"").unwrap();
        assert_eq!(line, "\"template1\" 1 10 UTF8 connect,template -1 \"C.UTF-8\" \"C\" 1663");
        assert!(!databases.find("template0").unwrap().unwrap().allow_conn);
        assert_eq!(databases.find_oid(POSTGRES).unwrap().unwrap().name, "postgres");
        assert_eq!(databases.find("nope").unwrap(), None);
        databases.alter("postgres", |database| database.conn_limit = 3).unwrap();
        assert_eq!(databases.find("postgres").unwrap().unwrap().conn_limit, 3);
        let error = databases.alter("nope", |_| ()).unwrap_err();
        assert_eq!((error.sqlstate.as_str(), &*error.message), ("3D000", "database \"nope\" does not exist"));
    }
}
