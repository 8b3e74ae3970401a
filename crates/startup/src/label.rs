//! What a base backup brings along: `backup_label` and `tablespace_map`.
//!
//! The label says where the backup began: recovery must start there, whatever pg_control says, which may have been copied
//! at any moment of the backup. When pg_control has taken that over, both files are renamed out of the way, so that a
//! crash from then on goes on where it was.
//!
//! C counterpart: `read_backup_label`, `read_tablespace_map` of xlogrecovery.c; `remove_tablespace_symlink`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, Severity, ereport, errno_text, fatal, pg_error};

/// C: `BACKUP_LABEL_FILE`.
pub(crate) const BACKUP_LABEL: &str = "backup_label";
/// C: `TABLESPACE_MAP`.
pub(crate) const TABLESPACE_MAP: &str = "tablespace_map";
/// What `initdb` makes of a tablespace: a link to where it is.
const TABLESPACE_DIR: &str = "pg_tblspc";

/// What `backup_label` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// Redo point of the backup's checkpoint.
    pub(crate) redo: Lsn,
    /// The checkpoint's record.
    pub(crate) checkpoint: Lsn,
    /// Timeline both are on.
    pub(crate) timeline: TimeLineId,
    /// Recovery must see the end of the backup. C: `backupEndRequired`.
    pub(crate) end_required: bool,
    /// It was taken from a standby, which writes no end into WAL. C: `backupFromStandby`.
    pub(crate) from_standby: bool,
}

fn invalid(file: &str) -> PgError {
    fatal!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "invalid data in file \"{file}\"")
}

/// The content of a file; `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let state = elog::sqlstate_for_file_access(&error);
            Err(fatal!(state, "could not read file \"{name}\": {}", errno_text(&error)))
        }
    }
}

impl Label {
    /// The label in a data directory, if there is one. C: `read_backup_label`.
    ///
    /// # Errors
    /// FATAL if it cannot be read or is not one.
    pub(crate) fn find(data_dir: &Path) -> Result<Option<Label>> {
        read(&data_dir.join(BACKUP_LABEL))?.map(|text| Label::parse(&text)).transpose()
    }

    /// The first two lines must be there, the others may, in this order.
    pub(crate) fn parse(text: &str) -> Result<Label> {
        let mut lines = text.split_inclusive('\n').peekable();
        let (redo, timeline) = lines.next().and_then(parse_start).ok_or_else(|| invalid(BACKUP_LABEL))?;
        let checkpoint = lines
            .next()
            .and_then(|line| line.strip_suffix('\n')?.strip_prefix("CHECKPOINT LOCATION: ")?.parse().ok())
            .ok_or_else(|| invalid(BACKUP_LABEL))?;
        let mut value = |name: &str| {
            let line = lines.next_if(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let method = value("BACKUP METHOD:");
        let from = value("BACKUP FROM:");
        if let Some(time) = value("START TIME:") {
            ereport!(Debug1, "backup time {time} in file \"{BACKUP_LABEL}\"");
        }
        if let Some(label) = value("LABEL:") {
            ereport!(Debug1, "backup label {label} in file \"{BACKUP_LABEL}\"");
        }
        if let Some(number) = value("START TIMELINE:").and_then(|text| text.parse::<u32>().ok()) {
            if number != timeline.0 {
                return Err(invalid(BACKUP_LABEL)
                    .detail(format!("Timeline ID parsed is {number}, but expected {}.", timeline.0)));
            }
            ereport!(Debug1, "backup timeline {number} in file \"{BACKUP_LABEL}\"");
        }
        let end_required = method.as_deref() == Some("streamed");
        let from_standby = from.as_deref() == Some("standby");
        Ok(Label { redo, checkpoint, timeline, end_required, from_standby })
    }
}

/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`.
fn parse_start(line: &str) -> Option<(Lsn, TimeLineId)> {
    let line = line.strip_suffix('\n')?.strip_prefix("START WAL LOCATION: ")?;
    let (lsn, file) = line.split_once(" (file ")?;
    let file = file.strip_suffix(')')?;
    if !wal::segment::is_segment_name(file) {
        return None;
    }
    Some((lsn.parse().ok()?, TimeLineId(u32::from_str_radix(&file[..8], 16).ok()?)))
}

/// A tablespace of a backup: its link below `pg_tblspc`, and where that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tablespace {
    pub(crate) oid: String,
    pub(crate) path: PathBuf,
}

/// The map in a data directory, if there is one. C: `read_tablespace_map`.
///
/// # Errors
/// FATAL if it cannot be read or is none.
pub(crate) fn find_tablespace_map(data_dir: &Path) -> Result<Option<Vec<Tablespace>>> {
    read(&data_dir.join(TABLESPACE_MAP))?.map(|text| parse_tablespace_map(&text)).transpose()
}

/// Lines of an oid, one blank and a path; a backslash stands before what is no end of a line in spite of its look.
fn parse_tablespace_map(text: &str) -> Result<Vec<Tablespace>> {
    let mut tablespaces = Vec::new();
    let mut line = String::new();
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '\n' | '\r' if !escaped => {
                // The second half of \r\n.
                if line.is_empty() {
                    continue;
                }
                let (oid, path) = line.split_once(' ').ok_or_else(|| invalid(TABLESPACE_MAP))?;
                if oid.is_empty() || path.is_empty() {
                    return Err(invalid(TABLESPACE_MAP));
                }
                tablespaces.push(Tablespace { oid: oid.to_owned(), path: path.into() });
                line.clear();
            }
            '\\' if !escaped => escaped = true,
            c => {
                line.push(c);
                escaped = false;
            }
        }
    }
    if !line.is_empty() || escaped {
        return Err(invalid(TABLESPACE_MAP));
    }
    Ok(tablespaces)
}

/// Makes the links that a copy of the data directory may have lost. C: in `InitWalRecovery`.
///
/// # Errors
/// If one cannot be made.
pub(crate) fn link_tablespaces(data_dir: &Path, tablespaces: &[Tablespace]) -> Result<()> {
    for Tablespace { oid, path } in tablespaces {
        let shown = format!("{TABLESPACE_DIR}/{oid}");
        let link = data_dir.join(&shown);
        remove_link(&link, &shown)?;
        std::os::unix::fs::symlink(path, &link).map_err(|error| {
            let state = elog::sqlstate_for_file_access(&error);
            elog::error!(state, "could not create symbolic link \"{shown}\": {}", errno_text(&error))
        })?;
    }
    Ok(())
}

/// A copy may have a directory where the link was; it must be empty. C: `remove_tablespace_symlink`.
fn remove_link(link: &Path, shown: &str) -> Result<()> {
    let (verb, outcome) = match link.symlink_metadata() {
        Ok(found) if found.is_dir() => ("remove directory", std::fs::remove_dir(link)),
        Ok(found) if found.is_symlink() => ("remove symbolic link", std::fs::remove_file(link)),
        Ok(_) => {
            let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
            return Err(elog::error!(state, "\"{shown}\" is not a directory or symbolic link"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => ("stat file", Err(error)),
    };
    outcome.map_err(|error| {
        elog::error!(
            elog::sqlstate_for_file_access(&error),
            "could not {verb} \"{shown}\": {}",
            errno_text(&error)
        )
    })
}

/// Renames a file to `.old`, durably, once pg_control knows what it said. C: in `StartupXLOG`.
///
/// # Errors
/// FATAL if it cannot be renamed.
pub(crate) fn set_aside(data_dir: &Path, file: &str) -> Result<()> {
    let old = data_dir.join(format!("{file}.old"));
    let _ = std::fs::remove_file(&old);
    let renamed = file::durable_rename(&data_dir.join(file), &old);
    renamed.map_err(|error| error.with_severity(Severity::Fatal))
}

/// A map without a label belongs to no backup that this recovery is from. C: in `InitWalRecovery`.
pub(crate) fn ignore_lone_map(data_dir: &Path) {
    if !data_dir.join(TABLESPACE_MAP).exists() {
        return;
    }
    let detail = match set_aside(data_dir, TABLESPACE_MAP) {
        Ok(()) => format!("File \"{TABLESPACE_MAP}\" was renamed to \"{TABLESPACE_MAP}.old\"."),
        Err(error) => error.message.to_string(),
    };
    pg_error!(
        Log,
        SqlState::SUCCESSFUL_COMPLETION,
        "ignoring file \"{TABLESPACE_MAP}\" because no file \"{BACKUP_LABEL}\" exists"
    )
    .detail(detail)
    .report();
}

/// What to do if the label leads nowhere.
pub(crate) fn hint(data_dir: &Path) -> String {
    let dir = data_dir.display();
    format!(
        "If you are restoring from a backup, touch \"{dir}/recovery.signal\" and add required recovery options.\n\
         If you are not restoring from a backup, try removing the file \"{dir}/backup_label\".\n\
         Be careful: removing \"{dir}/backup_label\" will result in a corrupt cluster if restoring from a backup."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "START WAL LOCATION: 1/2000028 (file 0000000A0000000100000002)\n\
                         CHECKPOINT LOCATION: 1/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
                         START TIME: 2026-11-21 15:10:00 UTC\nLABEL: nightly: one\nSTART TIMELINE: 10\n";

    #[test]
    fn labels() {
        let label = Label {
            redo: Lsn(0x1_0200_0028),
            checkpoint: Lsn(0x1_0200_0060),
            timeline: TimeLineId(10),
            end_required: true,
            from_standby: false,
        };
        assert_eq!(Label::parse(LABEL).unwrap(), label);
        let standby = LABEL.replace("primary", "standby");
        assert_eq!(Label::parse(&standby).unwrap(), Label { from_standby: true, ..label });
        let rewound = LABEL.replace("streamed", "pg_rewind");
        assert_eq!(Label::parse(&rewound).unwrap(), Label { end_required: false, ..label });
        let two_lines: String = LABEL.split_inclusive('\n').take(2).collect();
        assert_eq!(Label::parse(&two_lines).unwrap(), Label { end_required: false, ..label });
    }

    #[test]
    fn broken_labels() {
        for broken in [
            "",
            "START WAL LOCATION: 1/2000028\nCHECKPOINT LOCATION: 1/2000060\n",
            "START WAL LOCATION: 1/2000028 (file 0000000A0000000100000002)\n",
            "START WAL LOCATION: 1/2000028 (file 0000000A0000000100000002)\nCHECKPOINT LOCATION: 1/2000060",
            "START WAL LOCATION: x (file 0000000A0000000100000002)\nCHECKPOINT LOCATION: 1/2000060\n",
        ] {
            let error = Label::parse(broken).unwrap_err();
            assert_eq!(error.message, "invalid data in file \"backup_label\"", "{broken}");
            assert_eq!(error.sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        }
        let error = Label::parse(&LABEL.replace("TIMELINE: 10", "TIMELINE: 9")).unwrap_err();
        assert_eq!(error.detail.as_deref(), Some("Timeline ID parsed is 9, but expected 10."));
    }

    #[test]
    fn tablespace_maps() {
        let parse = |text| parse_tablespace_map(text).map_err(|error| error.message.to_string());
        let expected =
            ["/a b", " /c\nd", "/e\\f"].map(|path| Tablespace { oid: "16384".into(), path: path.into() });
        assert_eq!(parse("16384 /a b\r\n16384  /c\\\nd\n16384 /e\\\\f\n").unwrap(), expected);
        assert_eq!(parse("").unwrap(), []);
        for broken in ["16384 /a", "16384\n", " /a\n", "16384 \n", "16384 /a\n\\"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn links_are_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pg_tblspc/16384")).unwrap();
        let tablespaces = [Tablespace { oid: "16384".into(), path: "/nowhere".into() }];
        for _ in 0..2 {
            link_tablespaces(dir.path(), &tablespaces).unwrap();
            let target = std::fs::read_link(dir.path().join("pg_tblspc/16384")).unwrap();
            assert_eq!(target, Path::new("/nowhere"));
        }
        assert!(link_tablespaces(dir.path(), &[Tablespace { oid: "x/y".into(), path: "/".into() }]).is_err());
    }
}
