//! All catalogs of a new cluster together.

use std::collections::HashMap;

use ::types::Datum;
use ::types::fmgr::Registry;
use common::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid};
use elog::Result;
use page::Page;

use super::{Row, pages, pg_proc, relations, types};
use crate::authid::Roles;
use crate::database::Databases;
use crate::encoding::Encoding;
use crate::namespace::{PG_CATALOG, PG_TOAST, PUBLIC};
use crate::predefined::{BOOTSTRAP_SUPERUSER, PG_DATABASE_OWNER};
use crate::relmapper::{self, RelMap};
use crate::rows::{Field, PgNamespaceRow, PgTablespaceRow};
use crate::tables::{self, ALL, Catalog};

/// What is asked of `initdb`.
#[derive(Clone, Copy)]
pub struct ClusterSpec<'a> {
    /// Name of the first role.
    pub superuser: &'a str,
    /// Its password's verifier.
    pub password: Option<&'a str>,
    /// Encoding of the databases.
    pub encoding: Encoding,
    /// Their `LC_COLLATE`.
    pub collate: &'a str,
    /// Their `LC_CTYPE`.
    pub ctype: &'a str,
    /// The functions and operators to list.
    pub registry: &'a Registry,
    /// Whether pages have checksums.
    pub checksums: bool,
}

/// A file to write: into `global` if shared, else into each database's directory.
#[derive(Debug)]
pub struct NewFile {
    /// Its name within the directory.
    pub name: String,
    /// All databases have it in common.
    pub shared: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// All files of a new cluster's catalogs, the relation maps included.
///
/// # Errors
/// If a row cannot be formed: a name that is too long.
pub fn files(spec: &ClusterSpec<'_>) -> Result<Vec<NewFile>> {
    let contents = contents(spec)?;
    let mut files = Vec::with_capacity(ALL.len() + 2);
    for (catalog, mut pages) in contents {
        let bytes = pages::file_bytes(&mut pages, spec.checksums);
        files.push(NewFile { name: catalog.oid.to_string(), shared: catalog.shared, bytes });
    }
    for shared in [true, false] {
        let mapped = ALL.iter().filter(|catalog| catalog.mapped && catalog.shared == shared);
        let map = RelMap { entries: mapped.map(|catalog| (catalog.oid, catalog.oid)).collect() };
        files.push(NewFile { name: relmapper::FILE_NAME.to_owned(), shared, bytes: map.to_bytes().to_vec() });
    }
    Ok(files)
}

/// Each catalog's pages.
pub(crate) type Contents = Vec<(&'static Catalog, Vec<Box<Page>>)>;

/// The pages of all catalogs. pg_class comes last, as it says how many pages the others have.
pub(crate) fn contents(spec: &ClusterSpec<'_>) -> Result<Contents> {
    let mut rows = rows(spec)?;
    let mut sizes: HashMap<Oid, (usize, usize)> = HashMap::new();
    let mut contents = Vec::with_capacity(ALL.len());
    for catalog in ALL.iter().filter(|catalog| catalog.oid != tables::PG_CLASS.oid) {
        let rows = rows.remove(&catalog.oid).unwrap_or_default();
        let pages = pages::build(catalog, &rows)?;
        sizes.insert(catalog.oid, (pages.len(), rows.len()));
        contents.push((*catalog, pages));
    }
    // The numbers in its rows do not change the size of pg_class itself.
    let of_class = pages::build(&tables::PG_CLASS, &class_rows(&sizes))?;
    sizes.insert(tables::PG_CLASS.oid, (of_class.len(), ALL.len()));
    contents.push((&tables::PG_CLASS, pages::build(&tables::PG_CLASS, &class_rows(&sizes))?));
    Ok(contents)
}

fn class_rows(sizes: &HashMap<Oid, (usize, usize)>) -> Vec<Row> {
    let row = |catalog: &&Catalog| {
        let mut class = relations::class_row(catalog);
        if let Some((pages, rows)) = sizes.get(&catalog.oid) {
            class.relpages = *pages as i32;
            class.reltuples = *rows as f32;
        }
        class.to_datums()
    };
    ALL.iter().map(row).collect()
}

fn rows(spec: &ClusterSpec<'_>) -> Result<HashMap<Oid, Vec<Row>>> {
    let roles = Roles::initial(spec.superuser, spec.password.map(str::to_owned));
    let (role_rows, member_rows) = roles.to_rows()?;
    let databases = Databases::initial(spec.encoding, spec.collate, spec.ctype);
    Ok(HashMap::from([
        (tables::PG_ATTRIBUTE.oid, relations::attribute_rows()),
        (tables::PG_TYPE.oid, types::type_rows().iter().map(|row| row.to_datums()).collect()),
        (tables::PG_PROC.oid, pg_proc::proc_rows(spec.registry)),
        (tables::PG_AGGREGATE.oid, pg_proc::aggregate_rows(spec.registry)),
        (tables::PG_OPERATOR.oid, pg_proc::operator_rows(spec.registry)),
        (tables::PG_CAST.oid, pg_proc::cast_rows()),
        (tables::PG_NAMESPACE.oid, namespace_rows()),
        (tables::PG_AM.oid, vec![heap_am()]),
        (tables::PG_LANGUAGE.oid, language_rows()),
        (tables::PG_COLLATION.oid, collation_rows()),
        (tables::PG_TABLESPACE.oid, tablespace_rows()),
        (tables::PG_DATABASE.oid, databases.to_rows().iter().map(|row| row.to_datums()).collect()),
        (tables::PG_AUTHID.oid, role_rows.iter().map(|row| row.to_datums()).collect()),
        (tables::PG_AUTH_MEMBERS.oid, member_rows.iter().map(|row| row.to_datums()).collect()),
    ]))
}

fn namespace_rows() -> Vec<Row> {
    let schemas = [
        (PG_CATALOG, "pg_catalog", BOOTSTRAP_SUPERUSER),
        (PG_TOAST, "pg_toast", BOOTSTRAP_SUPERUSER),
        (PUBLIC, "public", PG_DATABASE_OWNER),
    ];
    let row = |(oid, name, owner): (Oid, &str, Oid)| {
        PgNamespaceRow { oid, nspname: name.to_owned(), nspowner: owner, nspacl: Datum::Null }.to_datums()
    };
    schemas.into_iter().map(row).collect()
}

/// Access method `heap` with its handler's OID, `heap_tableam_handler`.
fn heap_am() -> Row {
    vec![Datum::Oid(2), Datum::text("heap"), Datum::Oid(3), Datum::Char(b't')]
}

fn language_rows() -> Vec<Row> {
    let row = |(oid, name, trusted, validator)| {
        let [oid, owner, none] = [oid, BOOTSTRAP_SUPERUSER.0, 0].map(Datum::Oid);
        let (procedural, trusted) = (Datum::Bool(false), Datum::Bool(trusted));
        let validator = Datum::Oid(validator);
        vec![oid, Datum::text(name), owner, procedural, trusted, none.clone(), none, validator, Datum::Null]
    };
    [(12, "internal", false, 2246), (13, "c", false, 2247), (14, "sql", true, 2248)].map(row).to_vec()
}

fn collation_rows() -> Vec<Row> {
    let row = |(oid, name, provider, encoding, locale): (u32, &str, u8, i32, Option<&str>)| {
        let locale = locale.map_or(Datum::Null, Datum::text);
        vec![
            Datum::Oid(oid),
            Datum::text(name),
            PG_CATALOG.to_datum(),
            BOOTSTRAP_SUPERUSER.to_datum(),
            Datum::Char(provider),
            Datum::Bool(true),
            Datum::Int4(encoding),
            locale.clone(),
            locale,
            Datum::Null,
            Datum::Null,
        ]
    };
    [
        (100, "default", b'd', -1, None),
        (950, "C", b'c', -1, Some("C")),
        (951, "POSIX", b'c', -1, Some("POSIX")),
        (12_340, "ucs_basic", b'c', 6, Some("C")),
        (12_341, "C.utf8", b'c', 6, Some("C.utf8")),
    ]
    .map(row)
    .to_vec()
}

fn tablespace_rows() -> Vec<Row> {
    let row = |(oid, name): (Oid, &str)| {
        let row = PgTablespaceRow {
            oid,
            spcname: name.to_owned(),
            spcowner: BOOTSTRAP_SUPERUSER,
            spcacl: Datum::Null,
            spcoptions: None,
        };
        row.to_datums()
    };
    [(DEFAULT_TABLESPACE, "pg_default"), (GLOBAL_TABLESPACE, "pg_global")].map(row).to_vec()
}
