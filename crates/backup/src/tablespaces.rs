//! Where tablespaces are: `pg_tblspc` holds one symbolic link for each, named by its oid.
//!
//! A copy of the data directory must copy what the links point to, and whoever restores it must know where to; so
//! `tablespace_map` lists them, one line each: oid, blank, target. A line feed, carriage return or backslash in a target has a
//! backslash before it.
//!
//! C counterpart: the loop over `pg_tblspc` in `do_pg_backup_start`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use elog::{Result, errno_text, error, pg_error};

/// Where the links are, below the data directory.
const TABLESPACE_DIR: &str = "pg_tblspc";
/// Longest target of a link, in bytes. C: `MAXPGPATH`.
const TARGET_BYTES_MAX: usize = 1024;

/// One tablespace outside the data directory proper. C: `tablespaceinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablespaceInfo {
    /// Name of the link: its oid in decimal digits.
    pub oid: String,
    /// Where the link points to.
    pub path: String,
    /// The same relative to the data directory, if it is inside of it.
    pub relative_path: Option<String>,
    /// Bytes that it will be sent with; unknown until somebody counts.
    pub size_bytes: Option<u64>,
}

/// Reads the links below the working directory, which is the data directory `data_dir`. A link that cannot be read costs a
/// WARNING.
///
/// # Errors
/// 58P01 and its like if the directory cannot be read; 0A000 for a target that is not UTF-8: neither map nor protocol could
/// name it, and the copy would silently be without that tablespace.
pub(crate) fn read(data_dir: &Path) -> Result<Vec<TablespaceInfo>> {
    let failed = |e: &std::io::Error| {
        error!(
            elog::sqlstate_for_file_access(e),
            "could not open directory \"{TABLESPACE_DIR}\": {}",
            errno_text(e)
        )
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(TABLESPACE_DIR).map_err(|e| failed(&e))? {
        let entry = entry.map_err(|e| failed(&e))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        found.extend(read_link(name, data_dir)?);
    }
    Ok(found)
}

fn read_link(oid: String, data_dir: &Path) -> Result<Option<TablespaceInfo>> {
    let link = format!("{TABLESPACE_DIR}/{oid}");
    let target = match fs::read_link(&link) {
        Ok(target) => target,
        Err(e) => {
            pg_error!(
                Warning,
                common::SqlState::WARNING,
                "could not read symbolic link \"{link}\": {}",
                errno_text(&e)
            )
            .report();
            return Ok(None);
        }
    };
    if target.as_os_str().as_bytes().len() >= TARGET_BYTES_MAX {
        pg_error!(Warning, common::SqlState::WARNING, "symbolic link \"{link}\" target is too long").report();
        return Ok(None);
    }
    let Some(path) = target.to_str() else {
        return Err(error!(
            common::SqlState::FEATURE_NOT_SUPPORTED,
            "symbolic link \"{link}\" target \"{}\" is not UTF-8",
            target.display()
        ));
    };
    let relative = target.strip_prefix(data_dir).ok().filter(|inside| !inside.as_os_str().is_empty());
    Ok(Some(TablespaceInfo {
        oid,
        path: path.to_owned(),
        relative_path: relative.map(|inside| inside.to_string_lossy().into_owned()),
        size_bytes: None,
    }))
}

/// Content of `tablespace_map`.
pub(crate) fn map_text(tablespaces: &[TablespaceInfo]) -> String {
    let mut text = String::new();
    for tablespace in tablespaces {
        text.push_str(&tablespace.oid);
        text.push(' ');
        for letter in tablespace.path.chars() {
            if matches!(letter, '\n' | '\r' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only test here that needs a working directory.
    #[test]
    fn links() {
        use std::ffi::OsStr;
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path();
        std::env::set_current_dir(data_dir).unwrap();
        fs::create_dir_all("pg_tblspc/16400").unwrap();
        symlink(data_dir.join("inside"), "pg_tblspc/16385").unwrap();
        symlink("/mnt/ts", "pg_tblspc/16386").unwrap();
        let mut found = read(data_dir).unwrap();
        found.sort_by(|a, b| a.oid.cmp(&b.oid));
        let shown: Vec<_> = found.iter().map(|t| (t.oid.as_str(), t.relative_path.as_deref())).collect();
        // One that is no link is a directory like any other.
        assert_eq!(shown, [("16385", Some("inside")), ("16386", None)]);

        symlink(OsStr::from_bytes(b"/mnt/\xff"), "pg_tblspc/16387").unwrap();
        let error = read(data_dir).unwrap_err();
        assert_eq!(error.message, "symbolic link \"pg_tblspc/16387\" target \"/mnt/\u{fffd}\" is not UTF-8");
        std::env::set_current_dir("/").unwrap();
    }

    #[test]
    fn a_map_escapes_what_would_end_its_line() {
        let tablespace = |oid: &str, path: &str| TablespaceInfo {
            oid: oid.into(),
            path: path.into(),
            relative_path: None,
            size_bytes: None,
        };
        let map = map_text(&[tablespace("16385", "/mnt/a b"), tablespace("16386", "/odd\n\\\r")]);
        assert_eq!(map, "16385 /mnt/a b\n16386 /odd\\\n\\\\\\\r\n");
        assert_eq!(map_text(&[]), "");
    }
}
