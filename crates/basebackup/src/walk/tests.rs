//! Walks through a tree of files.

use std::os::unix::fs::symlink;
use std::sync::{LazyLock, Mutex};

use super::*;

#[derive(Default)]
struct Names(Vec<String>);

impl Visitor for Names {
    fn directory(&mut self, name: &Path, _: Owner) -> Result<()> {
        self.0.push(format!("{}/", name.display()));
        Ok(())
    }

    fn link(&mut self, name: &Path, target: &Path, _: Owner) -> Result<()> {
        self.0.push(format!("{} -> {}", name.display(), target.display()));
        Ok(())
    }

    fn file(&mut self, _: &Path, name: &Path, metadata: &Metadata, database: Option<Oid>) -> Result<()> {
        let database = database.map(|oid| format!(" of {oid}")).unwrap_or_default();
        self.0.push(format!("{} {}{database}", name.display(), metadata.len()));
        Ok(())
    }
}

/// There is one working directory for all tests.
static WORKING_DIRECTORY: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// Makes these files, and directories for names that end with a slash, and walks through them.
#[track_caller]
fn check(files: &str, expected: &str, walk_through: impl FnOnce(&Path, &mut Names)) {
    let _mine = WORKING_DIRECTORY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = tempfile::tempdir().unwrap();
    for name in files.split_whitespace() {
        if let Some((link, target)) = name.split_once("->") {
            symlink(target, dir.path().join(link)).unwrap();
        } else if name.ends_with('/') {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        } else {
            fs::write(dir.path().join(name), name).unwrap();
        }
    }
    std::env::set_current_dir(dir.path()).unwrap();
    let mut names = Names::default();
    walk_through(dir.path(), &mut names);
    std::env::set_current_dir("/").unwrap();
    names.0.sort();
    let mut expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    expected.sort_unstable();
    assert_eq!(names.0, expected);
}

fn walk(tablespaces: &[TablespaceInfo], send_links: bool) -> Walk<'_> {
    Walk { tablespaces, send_links, go_on: &|| Ok(()) }
}

#[test]
fn what_belongs_to_the_running_server_stays_behind() {
    let files = "base/5/ base/pgsql_tmp/ base/5/1 base/5/2 base/5/2_fsm base/5/2_init base/5/t3_4 base/5/pg_internal.init \
                 global/ global/pg_control global/1262 pg_replslot/ pg_replslot/slot/ pg_stat_tmp->/tmp \
                 pg_wal/ pg_wal/000000010000000000000001 postmaster.pid backup_label pg_xact/ pg_xact/0000 \
                 postmaster.stop postmaster.stop.tmp postmaster.forecast forecast deadline";
    let expected = "base/
        base/5/
        base/5/1 8 of 5
        base/5/2_init 13 of 5
        global/
        global/1262 11
        pg_replslot/
        pg_stat_tmp/
        pg_wal/
        ./pg_wal/archive_status/
        pg_xact/
        pg_xact/0000 12";
    check(files, expected, |_, names| walk(&[], true).data_directory(names).unwrap());
}

#[test]
fn tablespaces_are_links() {
    let files = "pg_tblspc/ pg_tblspc/16385->/mnt/ts";
    let links = "pg_tblspc/
        pg_tblspc/16385 -> /mnt/ts";
    check(files, links, |_, names| walk(&[], true).data_directory(names).unwrap());
    check(files, "pg_tblspc/", |_, names| walk(&[], false).data_directory(names).unwrap());
}

#[test]
fn a_tablespace_inside_is_not_entered() {
    let inside = TablespaceInfo {
        oid: "16385".to_owned(),
        path: "/data/ts".to_owned(),
        relative_path: Some("ts".to_owned()),
        size_bytes: None,
    };
    check("ts/ ts/PG_15_202209061/ ts/x", "ts/", |_, names| {
        walk(&[inside], true).data_directory(names).unwrap();
    });
}

#[test]
fn of_a_tablespace_only_our_part_is_sent() {
    let files = "PG_15_202209061/7/ PG_15_202209061/7/1 PG_16_1/ x";
    let expected = "PG_15_202209061/
        PG_15_202209061/7/
        PG_15_202209061/7/1 19 of 7";
    check(files, expected, |path, names| walk(&[], true).tablespace(path, names).unwrap());
    check("x", "", |path, names| walk(&[], true).tablespace(path, names).unwrap());
}

/// A database is dropped as soon as its directory has been seen.
struct Dropping(Vec<String>);

impl Visitor for Dropping {
    fn directory(&mut self, name: &Path, _: Owner) -> Result<()> {
        if name == Path::new("base/5") {
            fs::remove_dir_all(name).unwrap();
        }
        self.0.push(name.display().to_string());
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path, _: Owner) -> Result<()> {
        unreachable!("there are no links")
    }

    fn file(&mut self, _: &Path, name: &Path, _: &Metadata, _: Option<Oid>) -> Result<()> {
        self.0.push(name.display().to_string());
        Ok(())
    }
}

#[test]
fn a_database_that_is_dropped_meanwhile() {
    check("base/5/ base/5/1", "", |_, _| {
        let mut seen = Dropping(Vec::new());
        walk(&[], true).data_directory(&mut seen).unwrap();
        assert_eq!(seen.0, ["base", "base/5"]);
    });
}

#[test]
fn sizes_are_those_of_the_archive() {
    let _mine = WORKING_DIRECTORY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), [0; 513]).unwrap();
    fs::create_dir(dir.path().join("y")).unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    let mut size = Size::default();
    walk(&[], true).data_directory(&mut size).unwrap();
    std::env::set_current_dir("/").unwrap();
    assert_eq!(size.bytes, 512 + 1024 + 512);
}
