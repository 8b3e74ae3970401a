//! Timelines: the branches of WAL's history, and the files that tell them.
//!
//! Each recovery that ends before the end of WAL begins a new timeline, so that what follows cannot be taken for what
//! the old one has at the same positions. `pg_wal/0000000N.history` tells of timeline N, line by line, which timelines it
//! came from and where each was left:
//!
//! ```text
//! 1<TAB>0/5000148<TAB>no recovery target specified
//! 2<TAB>0/7000000<TAB>before 2015-08-03 17:20:25.824+08
//! ```
//!
//! Timeline 1 has no such file. A history never changes once written.
//!
//! C counterpart: timeline.c.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, Severity, fatal};
use file::OpenFlags;
use shmem::wait_event::WaitEvent;

use crate::{archive, restore, segment};

/// A stretch of WAL on one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub tli: TimeLineId,
    /// Where it begins; [`Lsn::INVALID`] for the first.
    pub begin: Lsn,
    /// Where the next one begins; [`Lsn::INVALID`] for the newest, which has no end.
    pub end: Lsn,
}

/// A timeline and those that it came from, newest first. C: the list of `TimeLineHistoryEntry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(pub Vec<Entry>);

impl History {
    /// A timeline that came from nothing.
    pub fn single(tli: TimeLineId) -> History {
        History(vec![Entry { tli, begin: Lsn::INVALID, end: Lsn::INVALID }])
    }

    /// The newest: the one that this is the history of.
    pub fn newest(&self) -> TimeLineId {
        self.0.first().map_or(TimeLineId(0), |entry| entry.tli)
    }

    /// Is it among them? C: `tliInHistory`.
    pub fn contains(&self, tli: TimeLineId) -> bool {
        self.0.iter().any(|entry| entry.tli == tli)
    }

    /// The timeline that a position is on: that of the byte behind it. C: `tliOfPointInHistory`.
    pub fn tli_of_point(&self, point: Lsn) -> Option<TimeLineId> {
        let holds = |entry: &&Entry| entry.begin <= point && (entry.end == Lsn::INVALID || point < entry.end);
        self.0.iter().find(holds).map(|entry| entry.tli)
    }

    /// Where a timeline was left, and which one came next; `None` for the newest, which was not, and for strangers.
    /// C: `tliSwitchPoint`.
    pub fn switch_point(&self, tli: TimeLineId) -> Option<(Lsn, TimeLineId)> {
        let at = self.0.iter().position(|entry| entry.tli == tli)?;
        let next = self.0.get(at.checked_sub(1)?)?;
        Some((self.0[at].end, next.tli))
    }

    /// From the text of a history file. C: the loop of `readTimeLineHistory`.
    ///
    /// # Errors
    /// FATAL if it is no history, or not that of a timeline with this number.
    pub fn parse(text: &str, tli: TimeLineId, file_name: &str) -> Result<History> {
        let mut entries = Vec::new();
        let (mut last, mut begin) = (TimeLineId(0), Lsn::INVALID);
        for line in text.lines() {
            let content = line.trim_start();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (number, end) = parse_line(content).map_err(|hint| {
                fatal!(SqlState::INTERNAL_ERROR, "syntax error in history file: {line}").hint(hint)
            })?;
            if number <= last {
                return Err(fatal!(SqlState::INTERNAL_ERROR, "invalid data in history file: {line}")
                    .hint("Timeline IDs must be in increasing sequence."));
            }
            entries.push(Entry { tli: number, begin, end });
            (last, begin) = (number, end);
        }
        if tli <= last {
            return Err(fatal!(SqlState::INTERNAL_ERROR, "invalid data in history file \"{file_name}\"")
                .hint("Timeline IDs must be less than child timeline's ID."));
        }
        entries.push(Entry { tli, begin, end: Lsn::INVALID });
        entries.reverse();
        Ok(History(entries))
    }
}

/// Number and end of a timeline; what follows is for people. An error is the hint.
fn parse_line(line: &str) -> Result<(TimeLineId, Lsn), &'static str> {
    let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
    let number = line[..digits].parse().map_err(|_| "Expected a numeric timeline ID.")?;
    let rest = line[digits..].trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let lsn = parse_lsn(&rest[..end]).ok_or("Expected a write-ahead log switchpoint location.")?;
    Ok((TimeLineId(number), lsn))
}

fn parse_lsn(text: &str) -> Option<Lsn> {
    let (high, low) = text.split_once('/')?;
    let part = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
}

/// C: `TLHistoryFileName`.
pub fn file_name(tli: TimeLineId) -> String {
    format!("{:08X}.history", tli.0)
}

/// C: `TLHistoryFilePath`.
pub fn path(tli: TimeLineId) -> PathBuf {
    segment::wal_dir().join(file_name(tli))
}

/// The bytes of a timeline's history, and whether they came from the archive, which is asked first during archive recovery.
/// `None` if there is no such file.
fn fetch(tli: TimeLineId) -> Result<Option<(Vec<u8>, Option<PathBuf>)>> {
    let restored = restore::restore_archived_file(&file_name(tli), restore::RECOVERY_HISTORY, None, false)?;
    let source = restored.clone().unwrap_or_else(|| path(tli));
    match std::fs::read(&source) {
        Ok(bytes) => Ok(Some((bytes, restored))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fatal_file("open", &source, &error)),
    }
}

fn fatal_file(verb: &str, path: &std::path::Path, error: &io::Error) -> PgError {
    file::file_error(verb, path, error).with_severity(Severity::Fatal)
}

/// The history of a timeline; without a file, it has none but itself. A file that came from the archive is kept.
/// C: `readTimeLineHistory`.
///
/// # Errors
/// As [`History::parse`] and [`restore::restore_archived_file`].
pub fn read_history(tli: TimeLineId) -> Result<History> {
    if tli == TimeLineId(1) {
        return Ok(History::single(tli));
    }
    let Some((bytes, restored)) = fetch(tli)? else { return Ok(History::single(tli)) };
    let history = History::parse(&String::from_utf8_lossy(&bytes), tli, &file_name(tli))?;
    if let Some(temporary) = restored {
        restore::keep_restored_segment(&temporary, &file_name(tli))?;
    }
    Ok(history)
}

/// Is there a history file of it? C: `existsTimeLineHistory`.
///
/// # Errors
/// As [`restore::restore_archived_file`].
pub fn exists(tli: TimeLineId) -> Result<bool> {
    if tli == TimeLineId(1) {
        return Ok(false);
    }
    Ok(fetch(tli)?.is_some())
}

/// The newest timeline there is a history of, `start` if none is newer: numbers are tried one after the other.
/// C: `findNewestTimeLine`.
///
/// # Errors
/// As [`exists`].
pub fn find_newest(start: TimeLineId) -> Result<TimeLineId> {
    let mut newest = start;
    while exists(TimeLineId(newest.0 + 1))? {
        newest = TimeLineId(newest.0 + 1);
    }
    Ok(newest)
}

/// Fetches the histories from `begin` up to, without, `end` from the archive into the WAL directory: standbys of this
/// cluster will ask for them. One that the archive does not have is left out. C: `restoreTimeLineHistoryFiles`.
///
/// # Errors
/// As [`restore::restore_archived_file`].
pub fn restore_history_files(begin: TimeLineId, end: TimeLineId) -> Result<()> {
    for tli in (begin.0..end.0).filter(|tli| *tli != 1).map(TimeLineId) {
        let name = file_name(tli);
        if let Some(temporary) =
            restore::restore_archived_file(&name, restore::RECOVERY_HISTORY, None, false)?
        {
            restore::keep_restored_segment(&temporary, &name)?;
        }
    }
    Ok(())
}

/// Writes the history of a new timeline: its parent's, and a line that says where and why it left it. The file is durable
/// under its name when this returns, and announced to the archiver. C: `writeTimeLineHistory`.
///
/// # Errors
/// If it cannot be written; as [`restore::restore_archived_file`] for the parent's.
pub fn write_history(new: TimeLineId, parent: TimeLineId, switch: Lsn, reason: &str) -> Result<()> {
    let before = fetch(parent)?;
    let mut contents =
        before.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    if !contents.is_empty() {
        contents.push('\n');
    }
    let _ = writeln!(contents, "{}\t{switch}\t{reason}", parent.0);
    write_file(new, contents.as_bytes())?;
    if archive::is_active() {
        archive::notify(&file_name(new));
    }
    Ok(())
}

/// Writes a history file that came whole from elsewhere. C: `writeTimeLineHistoryFile`.
///
/// # Errors
/// If it cannot be written.
pub fn write_file(tli: TimeLineId, contents: &[u8]) -> Result<()> {
    let temporary = segment::wal_dir().join(format!("xlogtemp.{}", std::process::id()));
    let _ = file::unlink(&temporary);
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let file =
        file::open(&temporary, flags).map_err(|error| file::file_error("create", &temporary, &error))?;
    if let Err(error) = file.write_at(contents, 0, WaitEvent::TIMELINE_HISTORY_WRITE) {
        // Give back what was taken of a full disk.
        let _ = file::unlink(&temporary);
        return Err(file::file_error("write to", &temporary, &error));
    }
    file.sync(WaitEvent::TIMELINE_HISTORY_SYNC).map_err(|error| {
        file::file_error("fsync", &temporary, &error).with_severity(file::data_sync_severity(Severity::Error))
    })?;
    drop(file);
    file::durable_rename(&temporary, &path(tli))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "1\t0/5000148\tno recovery target specified\n";

    fn entry(tli: u32, begin: u64, end: u64) -> Entry {
        Entry { tli: TimeLineId(tli), begin: Lsn(begin), end: Lsn(end) }
    }

    #[test]
    fn a_history_is_read_newest_first() {
        let text = format!("{TWO}\n# a comment\n  2\t0/7000000\tbefore 2015-08-03 17:20:25.824+08\n");
        let history = History::parse(&text, TimeLineId(3), "00000003.history").unwrap();
        let expected =
            vec![entry(3, 0x700_0000, 0), entry(2, 0x500_0148, 0x700_0000), entry(1, 0, 0x500_0148)];
        assert_eq!(history.0, expected);
        assert_eq!(history.newest(), TimeLineId(3));
        assert!(history.contains(TimeLineId(1)) && !history.contains(TimeLineId(4)));
        for (point, tli) in [(0, 1), (0x500_0147, 1), (0x500_0148, 2), (0x700_0000, 3), (u64::MAX, 3)] {
            assert_eq!(history.tli_of_point(Lsn(point)), Some(TimeLineId(tli)), "{point:X}");
        }
        assert_eq!(history.switch_point(TimeLineId(1)), Some((Lsn(0x500_0148), TimeLineId(2))));
        assert_eq!(history.switch_point(TimeLineId(3)), None);
        assert_eq!(history.switch_point(TimeLineId(9)), None);
        // Timelines need not be numbered without gaps.
        let history = History::parse("4\t1/0\tx", TimeLineId(9), "").unwrap();
        assert_eq!(history.0, [entry(9, 1 << 32, 0), entry(4, 0, 1 << 32)]);
    }

    #[test]
    fn what_is_no_history() {
        let number = "Expected a numeric timeline ID.";
        let place = "Expected a write-ahead log switchpoint location.";
        for (text, message, hint) in [
            ("x\t0/1\ty", "syntax error in history file: x\t0/1\ty", number),
            ("1", "syntax error in history file: 1", place),
            ("1\t5000148", "syntax error in history file: 1\t5000148", place),
            (
                "2\t0/1\n2\t0/2",
                "invalid data in history file: 2\t0/2",
                "Timeline IDs must be in increasing sequence.",
            ),
            (
                "5\t0/1",
                "invalid data in history file \"00000005.history\"",
                "Timeline IDs must be less than child timeline's ID.",
            ),
        ] {
            let error = History::parse(text, TimeLineId(5), "00000005.history").unwrap_err();
            assert_eq!((&*error.message, error.hint.as_deref()), (message, Some(hint)));
            assert_eq!(error.severity, Severity::Fatal);
        }
        assert_eq!(History::parse("", TimeLineId(5), "").unwrap(), History::single(TimeLineId(5)));
    }
}
