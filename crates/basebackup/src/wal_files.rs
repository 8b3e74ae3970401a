//! `WAL`: the segments that the backup needs, at the end of the main archive, so that it can be started without any archive.
//!
//! C counterpart: the second half of `perform_base_backup` in replication/basebackup.c, `CheckXLogRemoved`.

use std::fs;
use std::path::Path;

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, errno_text, error};
use file::{OpenFlags, file_error};
use wal::{Geometry, SegNo, archive as wal_archive, segment};

use crate::archive::{Archive, Place, owner, read};
use crate::sink::PIECE_BYTES_MAX;
use crate::tar::Kind;

/// The WAL of a backup: from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) start: (Lsn, TimeLineId),
    pub(crate) end: (Lsn, TimeLineId),
    pub(crate) geometry: Geometry,
}

impl Range {
    fn first(&self) -> (TimeLineId, SegNo) {
        (self.start.1, self.geometry.segment(self.start.0))
    }

    fn last(&self) -> (TimeLineId, SegNo) {
        (self.end.1, self.geometry.previous_segment(self.end.0))
    }

    /// The segments of it among these names, of whatever timeline, in the order of WAL.
    fn select(&self, names: &[String]) -> Vec<String> {
        let (first, last) = (self.first().1, self.last().1);
        let within = |name: &&String| {
            segment::parse_name(name, self.geometry)
                .is_some_and(|(_, number)| (first..=last).contains(&number))
        };
        let mut selected: Vec<String> = names.iter().filter(within).cloned().collect();
        // Behind the timeline.
        selected.sort_by(|a, b| a[8..].cmp(&b[8..]));
        selected
    }

    /// Do they cover it without gaps?
    ///
    /// # Errors
    /// XX000 with the name of the first that is missing.
    fn check_complete(&self, names: &[String]) -> Result<()> {
        let missing = |(timeline, number)| {
            let name = segment::name(timeline, number, self.geometry);
            error!(SqlState::INTERNAL_ERROR, "could not find WAL file \"{name}\"")
        };
        let parsed = names.iter().filter_map(|name| segment::parse_name(name, self.geometry));
        let mut previous: Option<SegNo> = None;
        for (timeline, number) in parsed {
            match previous {
                None if number != self.first().1 => return Err(missing(self.first())),
                // Both sides of a switch of timelines are there: the same segment twice.
                Some(previous) if number != previous && number != previous + 1 => {
                    return Err(missing((timeline, previous + 1)));
                }
                _ => previous = Some(number),
            }
        }
        match previous {
            None => Err(error!(SqlState::INTERNAL_ERROR, "could not find any WAL files")),
            Some(number) if number != self.last().1 => Err(missing(self.last())),
            Some(_) => Ok(()),
        }
    }
}

/// Adds the segments and all histories of timelines to the open archive. Both come with a mark that they are archived, lest a
/// server on the copy archives them again once it is promoted.
///
/// # Errors
/// XX000 if one is missing, 58P01 if it has been removed because it was too old; those of reading.
pub(crate) fn send(archive: &mut Archive<'_>, range: &Range) -> Result<()> {
    let names = names_in_wal_dir()?;
    let segments = range.select(&names);
    check_not_removed(range.first(), range.geometry)?;
    range.check_complete(&segments)?;
    for name in &segments {
        send_segment(archive, name, range.geometry)?;
        add_done_mark(archive, name)?;
    }
    for name in names.iter().filter(|name| wal_archive::is_history_name(name)) {
        let path = Path::new("pg_wal").join(name);
        let metadata = fs::symlink_metadata(&path).map_err(|e| file_error("stat", &path, &e))?;
        archive.add_file(&path, &path, &metadata, false, Place::default())?;
        add_done_mark(archive, name)?;
    }
    Ok(())
}

fn add_done_mark(archive: &mut Archive<'_>, name: &str) -> Result<()> {
    archive.add_content(&format!("pg_wal/archive_status/{name}.done"), b"")
}

fn names_in_wal_dir() -> Result<Vec<String>> {
    let failed = |e: &std::io::Error| {
        let code = elog::sqlstate_for_file_access(e);
        error!(code, "could not open directory \"pg_wal\": {}", errno_text(e))
    };
    let mut names = Vec::new();
    for entry in fs::read_dir("pg_wal").map_err(|e| failed(&e))? {
        names.push(entry.map_err(|e| failed(&e))?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// C: `CheckXLogRemoved`.
fn check_not_removed((timeline, number): (TimeLineId, SegNo), geometry: Geometry) -> Result<()> {
    if number > wal::recycle::last_removed_segment() {
        return Ok(());
    }
    let name = segment::name(timeline, number, geometry);
    Err(error!(SqlState::UNDEFINED_FILE, "requested WAL segment {name} has already been removed"))
}

/// A segment is not in the manifest: `pg_verifybackup` reads WAL as WAL.
fn send_segment(archive: &mut Archive<'_>, name: &str, geometry: Geometry) -> Result<()> {
    let path = Path::new("pg_wal").join(name);
    let still_there = || match segment::parse_name(name, geometry) {
        Some(place) => check_not_removed(place, geometry),
        None => Ok(()),
    };
    let wrong_size = || {
        still_there()?;
        Err(error!(SqlState::INTERNAL_ERROR, "unexpected WAL file size \"{name}\""))
    };
    let file = match file::open(&path, OpenFlags::READ) {
        Ok(file) => file,
        Err(e) => {
            // A checkpoint removed it, most likely.
            still_there()?;
            return Err(file_error("open", &path, &e));
        }
    };
    let metadata = fs::metadata(&path).map_err(|e| file_error("stat", &path, &e))?;
    let size = u64::from(geometry.segment_size());
    if metadata.len() != size {
        return wrong_size();
    }
    archive.add_header(&path, Kind::File { size }, owner(&metadata))?;
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    let mut done = 0;
    while done < size {
        miscinit::interrupt::check()?;
        let count = read(&file, &mut buffer, done)?;
        // What was recycled under our hands has the right size and the wrong content.
        still_there()?;
        if count == 0 {
            return wrong_size();
        }
        archive.stream.archive_contents(&buffer[..count])?;
        done += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry::new(16 << 20);

    fn range(start: u64, end: u64) -> Range {
        Range { start: (Lsn(start), TimeLineId(1)), end: (Lsn(end), TimeLineId(2)), geometry: GEOMETRY }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[track_caller]
    fn check(present: &[&str], expected: std::result::Result<&[&str], &str>) {
        let range = range(0x0200_0028, 0x0500_0000);
        let selected = range.select(&names(present));
        match (range.check_complete(&selected), expected) {
            (Ok(()), Ok(expected)) => assert_eq!(selected, expected),
            (Err(error), Err(text)) => assert_eq!(error.message, text),
            (result, _) => panic!("{result:?}"),
        }
    }

    const S2: &str = "000000010000000000000002";
    const S3: &str = "000000010000000000000003";
    const S3_NEW: &str = "000000020000000000000003";
    const S4_NEW: &str = "000000020000000000000004";

    #[test]
    fn a_switch_of_timelines_has_its_segment_twice() {
        // The end is exactly that of segment 4.
        let others =
            ["000000010000000000000001", "000000020000000000000005", "00000002.history", "archive_status"];
        let mut present = vec![S4_NEW, S3, S3_NEW, S2];
        present.extend(others);
        check(&present, Ok(&[S2, S3, S3_NEW, S4_NEW]));
    }

    #[test]
    fn gaps() {
        check(&[], Err("could not find any WAL files"));
        check(&[S3, S4_NEW], Err("could not find WAL file \"000000010000000000000002\""));
        check(&[S2, S4_NEW], Err("could not find WAL file \"000000020000000000000003\""));
        check(&[S2, S3], Err("could not find WAL file \"000000020000000000000004\""));
    }
}
