//! What stays behind: files that belong to the running server, directories whose content does not survive a start, and relations
//! that do not either.
//!
//! C counterpart: `excludeFiles`, `excludeDirContents`, `noChecksumFiles` of replication/basebackup.c,
//! `parse_filename_for_nontemp_relation`, `looks_like_temp_rel_name`.

use std::path::Path;

use common::{Oid, TABLESPACE_VERSION_DIRECTORY};

/// Names of files that are left out wherever they are: some are written by the backup itself or made by the next start.
const FILES: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
];

/// The relation cache's files: this name, and temporary ones with something behind it.
const RELATION_CACHE: &str = "pg_internal.init";

/// What is in these directories is removed, or made anew, by the next start.
const DIRECTORIES: [&str; 7] = [
    "pg_stat_tmp",
    // Slots of the primary would keep WAL on the copy for nobody.
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
];

/// Is a file or directory of this name temporary? C: `PG_TEMP_FILE_PREFIX`.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with("pgsql_tmp")
}

/// Is a file of this name left out? Differs from PG 15, which has no files about its stop.
pub(crate) fn is_excluded_file(name: &str) -> bool {
    FILES.contains(&name) || stopreport::files::ALL.contains(&name) || name.starts_with(RELATION_CACHE)
}

/// Is a directory of this name sent empty?
pub(crate) fn is_emptied_directory(name: &str) -> bool {
    DIRECTORIES.contains(&name)
}

/// Have the pages of this file checksums? `path` is below the data directory, as `./base/...`, or absolute, in a tablespace.
/// C: `is_checksummed_file`.
pub(crate) fn has_checksums(path: &Path) -> bool {
    let in_tablespace = path.is_absolute() || path.starts_with("./global") || path.starts_with("./base");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let has_none = matches!(&*name, "pg_control" | "pg_filenode.map" | "PG_VERSION");
    in_tablespace && !has_none && !name.starts_with(RELATION_CACHE)
}

/// The database whose relations are in this directory, if it is one for those.
pub(crate) fn database_of(directory: &Path) -> Option<Oid> {
    let name = directory.file_name()?.to_str()?;
    let parent = directory.parent()?;
    let is_tablespace = parent.ends_with(TABLESPACE_VERSION_DIRECTORY) || parent == Path::new("./base");
    (is_tablespace && is_digits(name)).then(|| name.parse().map(Oid).ok()).flatten()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A relation's file name: its number's digits and its fork. `16384`, `16384.1`, `16384_init`, `16384_fsm.2`.
/// C: `parse_filename_for_nontemp_relation`.
pub(crate) fn parse_relation_file(name: &str) -> Option<(&str, &str)> {
    let (name, segment) = name.split_once('.').map_or((name, None), |(name, segment)| (name, Some(segment)));
    let (number, fork) = name.split_once('_').map_or((name, None), |(number, fork)| (number, Some(fork)));
    let fork_is_known = matches!(fork, None | Some("fsm" | "vm" | "init"));
    let is_relation =
        is_digits(number) && number.len() <= OID_DIGITS_MAX && fork_is_known && segment.is_none_or(is_digits);
    is_relation.then_some((number, fork.unwrap_or_default()))
}

/// C: `OIDCHARS`.
const OID_DIGITS_MAX: usize = 10;

/// `t3_16384`, `t3_16384_fsm`, `t3_16384.1`. C: `looks_like_temp_rel_name`.
pub(crate) fn is_temporary_relation(name: &str) -> bool {
    let backend_and_relation = name.strip_prefix('t').and_then(|rest| rest.split_once('_'));
    backend_and_relation
        .is_some_and(|(backend, relation)| is_digits(backend) && parse_relation_file(relation).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relation_files() {
        for (name, expected) in [
            ("16384", Some(("16384", ""))),
            ("16384.1", Some(("16384", ""))),
            ("16384_init", Some(("16384", "init"))),
            ("16384_fsm.2", Some(("16384", "fsm"))),
            ("16384_", None),
            ("16384.", None),
            ("16384_foo", None),
            ("12345678901", None),
            ("PG_VERSION", None),
            ("t3_16384", None),
        ] {
            assert_eq!(parse_relation_file(name), expected, "{name}");
        }
        assert!(is_temporary_relation("t3_16384_vm.7"));
        assert!(!is_temporary_relation("t_16384") && !is_temporary_relation("16384"));
    }

    #[test]
    fn databases() {
        let in_tablespace = format!("/mnt/ts/{TABLESPACE_VERSION_DIRECTORY}/16390");
        assert_eq!(database_of("./base/5".as_ref()), Some(Oid(5)));
        assert_eq!(database_of(in_tablespace.as_ref()), Some(Oid(16390)));
        for other in ["./base", "./global", "./base/pgsql_tmp", "./pg_xact/0000", "."] {
            assert_eq!(database_of(other.as_ref()), None, "{other}");
        }
    }

    #[test]
    fn what_is_left_out() {
        assert!(is_excluded_file("pg_internal.init") && is_excluded_file("pg_internal.init.4711"));
        assert!(is_excluded_file("postmaster.pid") && !is_excluded_file("postmaster.pid2"));
        for name in ["postmaster.stop", "postmaster.stop.tmp", "postmaster.forecast", "forecast", "deadline"]
        {
            assert!(is_excluded_file(name), "{name}");
        }
        assert!(is_emptied_directory("pg_replslot") && !is_emptied_directory("pg_wal"));
        assert!(is_temporary("pgsql_tmp12.3"));
    }

    #[test]
    fn what_has_checksums() {
        for (path, expected) in [
            ("./base/5/16384.1", true),
            ("./global/1262", true),
            ("/mnt/ts/x/16384", true),
            ("./global/pg_control", false),
            ("./base/5/pg_filenode.map", false),
            ("./base/5/PG_VERSION", false),
            ("./pg_xact/0000", false),
        ] {
            assert_eq!(has_checksums(path.as_ref()), expected, "{path}");
        }
    }
}
