//! The catalogs of a new cluster, compared with those that PostgreSQL 15's initdb makes.
//!
//! No server runs: both clusters' files are read with this project's own page and tuple code, which is thereby tested
//! against the real server's files too. Skipped, loudly, where PostgreSQL 15 is not installed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use catalog::bootstrap::{ClusterSpec, NewFile};
use catalog::encoding::Encoding;
use catalog::relmapper::RelMap;
use catalog::rows::{PgAttributeRow, PgClassRow, PgDatabaseRow, PgNamespaceRow, PgTypeRow};
use catalog::tables::{self, Catalog};
use common::{BLCKSZ, ItemPointer, Oid};
use heap::TupleView;
use heap::header::infomask;
use page::{ItemState, Page};
use types::{Datum, oid};

const REAL_BIN: &str = "/usr/lib/postgresql/15/bin";
/// Columns of ACLs, which are not made here yet, and what the contents decide.
const NOT_COMPARED: [&str; 10] = [
    "relacl",
    "nspacl",
    "datacl",
    "typacl",
    "relpages",
    "reltuples",
    "relallvisible",
    "relhasindex",
    "relhasrules",
    "reltoastrelid",
];

/// The catalogs' files of a cluster made by the real initdb, by path below the data directory.
struct Real {
    files: HashMap<String, Vec<u8>>,
}

fn real() -> Option<&'static Real> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    REAL.get_or_init(|| {
        if !Path::new(REAL_BIN).join("initdb").exists() {
            eprintln!("SKIPPED: there is no PostgreSQL 15 in {REAL_BIN}");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("catalog-real-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let data = dir.join("data");
        let output = as_server_user(&dir, "initdb")
            .args(["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut files = HashMap::new();
        for below in ["global", "base/1"] {
            for entry in std::fs::read_dir(data.join(below)).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{below}/{}", entry.file_name().display());
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
        Some(Real { files })
    })
    .as_ref()
}

/// A program of PostgreSQL, as a user that is not root, with a directory of its own.
fn as_server_user(dir: &Path, program: &str) -> Command {
    let program = Path::new(REAL_BIN).join(program);
    if !common::user::is_root() {
        return Command::new(program);
    }
    std::os::unix::fs::chown(dir, Some(65_534), Some(65_534)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).env("HOME", dir);
    command
}

/// Live rows of a file of pages.
fn rows(catalog: &Catalog, bytes: &[u8]) -> Vec<Vec<Datum>> {
    let desc = catalog.desc();
    let mut rows = Vec::new();
    for chunk in bytes.chunks_exact(BLCKSZ) {
        let page = Page::copy_of(chunk.try_into().unwrap());
        assert!(page.is_valid_header());
        for offset in 1..=page.max_offset() {
            if page.item_id(offset).state() != ItemState::Normal {
                continue;
            }
            let tuple = TupleView {
                bytes: page.item(offset),
                tid: ItemPointer::new(0, offset),
                table_oid: catalog.oid,
            };
            if tuple.header().infomask() & infomask::XMAX_INVALID == 0 {
                continue;
            }
            let mut values = Vec::new();
            // Values that cannot be read here, of ACLs for one, are left out.
            for num in 1..=desc.natts() as i16 {
                values.push(tuple.attr(&desc, num).unwrap_or_default());
            }
            rows.push(values);
        }
    }
    rows
}

impl Real {
    fn map(&self, dir: &str) -> RelMap {
        RelMap::from_bytes(&self.files[&format!("{dir}/pg_filenode.map")], dir).unwrap()
    }

    fn rows(&self, catalog: &Catalog) -> Vec<Vec<Datum>> {
        let dir = if catalog.shared { "global" } else { "base/1" };
        let file = if catalog.mapped {
            self.map(dir).filenode(catalog.oid).unwrap()
        } else {
            let classes = self.rows(&tables::PG_CLASS);
            let class = classes.iter().map(|row| PgClassRow::from_datums(row).unwrap());
            class.into_iter().find(|class| class.oid == catalog.oid).unwrap().relfilenode
        };
        rows(catalog, &self.files[&format!("{dir}/{file}")])
    }
}

fn our_files() -> Vec<NewFile> {
    catalog::bootstrap::files(&ClusterSpec {
        superuser: "postgres",
        password: None,
        encoding: Encoding::UTF8,
        collate: "C",
        ctype: "C",
        registry: types::fmgr::builtin_registry(),
        checksums: true,
    })
    .unwrap()
}

fn our_rows(catalog: &Catalog) -> Vec<Vec<Datum>> {
    let name = catalog.oid.to_string();
    let files = our_files();
    let file = files.iter().find(|file| file.name == name && file.shared == catalog.shared).unwrap();
    rows(catalog, &file.bytes)
}

/// Rows by their first column, each as column name and text.
fn by_oid(catalog: &Catalog, rows: Vec<Vec<Datum>>) -> BTreeMap<u32, Vec<String>> {
    let row = |row: Vec<Datum>| {
        let Datum::Oid(oid) = row[0] else { panic!("no OID in {}", catalog.name) };
        let shown =
            row.iter().zip(catalog.columns).filter(|(_, column)| !NOT_COMPARED.contains(&column.name));
        (oid, shown.map(|(value, column)| show(column.name, value)).collect())
    };
    rows.into_iter().map(row).collect()
}

fn show(name: &str, value: &Datum) -> String {
    format!("{name}={value:?}")
}

/// Each of our rows is there in the real cluster, and the same in the columns that `columns` accepts.
#[track_caller]
fn check_subset(catalog: &Catalog, columns: &[&str]) {
    let Some(real) = real() else { return };
    let theirs = by_oid(catalog, real.rows(catalog));
    let ours = by_oid(catalog, our_rows(catalog));
    assert!(!ours.is_empty());
    let wanted = |text: &&String| {
        let name = text.split('=').next().unwrap_or_default();
        columns.is_empty() || columns.contains(&name)
    };
    for (oid, row) in &ours {
        let their = theirs.get(oid).unwrap_or_else(|| panic!("{oid} is not in {}", catalog.name));
        let (row, their): (Vec<_>, Vec<_>) =
            (row.iter().filter(wanted).collect(), their.iter().filter(wanted).collect());
        assert_eq!(row, their, "{oid} in {}", catalog.name);
    }
}

#[test]
fn columns_of_all_catalogs() {
    let Some(real) = real() else { return };
    let read = |rows: Vec<Vec<Datum>>| {
        let rows = rows.iter().map(|row| PgAttributeRow::from_datums(row).unwrap());
        let catalogs = rows.filter(|row| tables::find(row.attrelid).is_some());
        catalogs.map(|row| ((row.attrelid, row.attnum), format!("{row:?}"))).collect::<BTreeMap<_, _>>()
    };
    let ours = read(our_rows(&tables::PG_ATTRIBUTE));
    let theirs = read(real.rows(&tables::PG_ATTRIBUTE));
    assert_eq!(ours.len(), 588 + 64 * 6);
    for (key, column) in &theirs {
        assert_eq!(ours.get(key), Some(column));
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn all_catalogs_are_declared() {
    let Some(real) = real() else { return };
    let is_catalog = |class: &PgClassRow| class.relkind == b'r' && class.relnamespace == Oid(11);
    let read = |rows: Vec<Vec<Datum>>| {
        let rows = rows.into_iter().map(|row| PgClassRow::from_datums(&row).unwrap());
        rows.filter(is_catalog).collect::<Vec<_>>()
    };
    let mut theirs = read(real.rows(&tables::PG_CLASS));
    theirs.sort_by_key(|class| class.oid);
    let names: Vec<_> = theirs.iter().map(|class| (class.oid, class.relname.as_str())).collect();
    assert_eq!(names, tables::ALL.iter().map(|catalog| (catalog.oid, catalog.name)).collect::<Vec<_>>());
    let columns = [
        "oid",
        "relname",
        "relnamespace",
        "reltype",
        "reloftype",
        "relowner",
        "relam",
        "relfilenode",
        "reltablespace",
        "relisshared",
        "relpersistence",
        "relkind",
        "relnatts",
        "relchecks",
        "relhastriggers",
        "relhassubclass",
        "relrowsecurity",
        "relforcerowsecurity",
        "relispopulated",
        "relreplident",
        "relispartition",
        "relrewrite",
    ];
    check_subset(&tables::PG_CLASS, &columns);
}

#[test]
fn types() {
    let Some(real) = real() else { return };
    check_subset(&tables::PG_TYPE, &[]);
    // All that are there before any view: below FirstUnpinnedObjectId.
    let read = |rows: Vec<Vec<Datum>>| {
        rows.iter().map(|row| PgTypeRow::from_datums(row).unwrap().oid).filter(|oid| oid.0 < 12_000).count()
    };
    assert_eq!(read(our_rows(&tables::PG_TYPE)), read(real.rows(&tables::PG_TYPE)));
}

#[test]
fn functions_operators_and_casts() {
    // `prolang` is not compared: what is an SQL function there is compiled code here.
    let facts = [
        "proname",
        "pronamespace",
        "proowner",
        "provariadic",
        "prokind",
        "prosecdef",
        "proisstrict",
        "proretset",
        "provolatile",
        "pronargs",
        "prorettype",
        "proargtypes",
    ];
    check_subset_of_real(&tables::PG_PROC, &facts);
    check_subset(
        &tables::PG_OPERATOR,
        &["oprname", "oprnamespace", "oprowner", "oprkind", "oprleft", "oprright", "oprresult", "oprcode"],
    );
    check_subset(&tables::PG_CAST, &[]);
    check_subset(&tables::PG_AGGREGATE, &["aggfnoid", "aggkind", "aggnumdirectargs"]);
}

/// Immutable here, stable there: the output of some types depends on settings.
const WRONG_VOLATILITY: [u32; 3] = [3175, 3197, 3267];

/// As [`check_subset`], passing over functions that only this server has.
#[track_caller]
fn check_subset_of_real(catalog: &Catalog, columns: &[&str]) {
    let Some(real) = real() else { return };
    let theirs = by_oid(catalog, real.rows(catalog));
    let wanted = |text: &&String| columns.contains(&text.split('=').next().unwrap_or_default());
    let mut wrong = Vec::new();
    for (oid, row) in by_oid(catalog, our_rows(catalog)) {
        let Some(their) = theirs.get(&oid) else {
            assert!(oid >= 8000, "{oid} is not in {}", catalog.name);
            continue;
        };
        let (row, their): (Vec<_>, Vec<_>) =
            (row.iter().filter(wanted).collect(), their.iter().filter(wanted).collect());
        if row != their && !WRONG_VOLATILITY.contains(&oid) {
            wrong.push(format!("{row:?}\n{their:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn small_catalogs() {
    check_subset(&tables::PG_NAMESPACE, &[]);
    check_subset(&tables::PG_AM, &[]);
    check_subset(&tables::PG_LANGUAGE, &[]);
    check_subset(&tables::PG_TABLESPACE, &[]);
    check_subset(&tables::PG_AUTHID, &[]);
    check_subset(&tables::PG_COLLATION, &[]);
    let but_limits = [
        "datname",
        "datdba",
        "encoding",
        "datlocprovider",
        "datistemplate",
        "datallowconn",
        "datconnlimit",
        "dattablespace",
        "datcollate",
        "datctype",
        "daticulocale",
    ];
    check_subset(&tables::PG_DATABASE, &but_limits);
    let Some(real) = real() else { return };
    let members = |rows: Vec<Vec<Datum>>| {
        let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        rows
    };
    assert_eq!(members(our_rows(&tables::PG_AUTH_MEMBERS)), members(real.rows(&tables::PG_AUTH_MEMBERS)));
    assert_eq!(our_rows(&tables::PG_DATABASE).len(), 3);
    let schemas = our_rows(&tables::PG_NAMESPACE);
    assert!(schemas.iter().all(|row| PgNamespaceRow::from_datums(row).is_ok()));
    let databases = our_rows(&tables::PG_DATABASE);
    assert!(databases.iter().all(|row| PgDatabaseRow::from_datums(row).is_ok()));
}

#[test]
fn the_relation_map_is_postgresqls() {
    let Some(real) = real() else { return };
    for (dir, shared) in [("global", true), ("base/1", false)] {
        let theirs = real.map(dir);
        let bytes = &real.files[&format!("{dir}/pg_filenode.map")];
        assert_eq!(theirs.to_bytes()[..], bytes[..], "read and written again");
        let files = our_files();
        let ours = files.iter().find(|file| file.name == "pg_filenode.map" && file.shared == shared).unwrap();
        let ours = RelMap::from_bytes(&ours.bytes, "ours").unwrap();
        assert!(ours.entries.iter().all(|entry| theirs.entries.contains(entry)));
        let mapped = tables::ALL.iter().filter(|catalog| catalog.mapped && catalog.shared == shared);
        assert_eq!(ours.entries.len(), mapped.count());
    }
}

#[test]
fn pages_have_checksums_and_frozen_rows() {
    for file in our_files().iter().filter(|file| file.name != "pg_filenode.map") {
        assert_eq!(file.bytes.len() % BLCKSZ, 0);
        for (chunk, block) in file.bytes.chunks_exact(BLCKSZ).zip(0..) {
            let page = Page::copy_of(chunk.try_into().unwrap());
            assert_eq!(page.checksum(), page.compute_checksum(block), "{} {block}", file.name);
            for offset in 1..=page.max_offset() {
                let header = heap::header::Header(page.item(offset));
                assert!(header.xmin_frozen() && header.ctid() == ItemPointer::new(block, offset));
            }
        }
    }
}

/// The OID of an array type over anything is a type that can be stored, or nothing.
#[test]
fn every_column_of_a_catalog_has_a_type() {
    let types = our_rows(&tables::PG_TYPE);
    let known: Vec<u32> = types.iter().map(|row| PgTypeRow::from_datums(row).unwrap().oid.0).collect();
    for catalog in tables::ALL {
        for column in catalog.columns {
            assert!(known.contains(&column.ty.0), "{} {}", catalog.name, column.name);
        }
    }
    assert!(known.contains(&oid::TEXT.0));
}
