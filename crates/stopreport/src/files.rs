//! The files in the data directory by which the postmaster and `pg_ctl` talk about a stop: their names, and how they are
//! written and read.
//!
//! None of them is worth an fsync: after a crash they mean nothing, and the next start removes them ([`remove_all`]). A base
//! backup leaves them out ([`ALL`]). Written beside their place and renamed into it, so that a reader sees a whole file or
//! none (SR4).

use std::io;
use std::path::Path;

use common::file::{CreateModes, write_file_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a stop under way waits for ([`crate::Status`]), kept up to date by the postmaster.
pub const STATUS: &str = "postmaster.stop";
/// Put there by `pg_ctl stop --forecast`, before SIGUSR1: the postmaster is to write [`FORECAST`].
pub const FORECAST_REQUEST: &str = "forecast";
/// The postmaster's answer ([`crate::exchange::Answer`]), removed by who asked.
pub const FORECAST: &str = "postmaster.forecast";
/// Put there by `pg_ctl stop --deadline`, before the signal to stop: the bound of the whole stop.
pub const DEADLINE: &str = "deadline";

/// All of them, with what a write that was cut short leaves behind.
pub const ALL: [&str; 8] = [
    STATUS,
    FORECAST_REQUEST,
    FORECAST,
    DEADLINE,
    "postmaster.stop.tmp",
    "forecast.tmp",
    "postmaster.forecast.tmp",
    "deadline.tmp",
];

/// Removes whatever of [`ALL`] lies in `data_dir`: what an earlier server left there. What cannot be removed is left.
pub fn remove_all(data_dir: &Path) {
    for name in ALL {
        let _ = std::fs::remove_file(data_dir.join(name));
    }
}

/// Writes `value` as one line of JSON. Atomic for readers, no fsync; the file's mode is that of other files of the data
/// directory.
pub(crate) fn write(data_dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(value).map_err(io::Error::other)?;
    text.push('\n');
    let mode = CreateModes::of_data_dir(data_dir)?.file;
    // What is not ours: to open a pipe would hold the postmaster up, and a link would lead it out of the directory.
    let _ = std::fs::remove_file(data_dir.join(format!("{name}.tmp")));
    write_file_atomically(&data_dir.join(name), text.as_bytes(), mode).map_err(|error| error.source)
}

/// Reads such a file. `None` if there is none; an error of kind [`io::ErrorKind::InvalidData`] if it is something else.
pub(crate) fn read<T: DeserializeOwned>(data_dir: &Path, name: &str) -> io::Result<Option<T>> {
    match std::fs::read(data_dir.join(name)) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ALL.into_iter().chain(["postmaster.pid"]) {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        remove_all(dir.path());
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["postmaster.pid"]);
        remove_all(dir.path());
        remove_all(&dir.path().join("nothing"));
    }

    #[test]
    fn what_lies_in_the_way_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (temporary, victim) = (dir.path().join("postmaster.stop.tmp"), dir.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &temporary).unwrap();
        write(dir.path(), STATUS, &1).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(read(dir.path(), STATUS).unwrap(), Some(1));
        // Without a reader it would hold up whoever opens it.
        let made = std::process::Command::new("mkfifo").arg(&temporary).status().unwrap();
        assert!(made.success());
        write(dir.path(), STATUS, &2).unwrap();
        assert_eq!(read(dir.path(), STATUS).unwrap(), Some(2));
        std::fs::create_dir(&temporary).unwrap();
        assert!(write(dir.path(), STATUS, &3).is_err());
    }

    #[test]
    fn every_name_has_its_temporary_one() {
        for name in [STATUS, FORECAST_REQUEST, FORECAST, DEADLINE] {
            assert!(ALL.contains(&name) && ALL.contains(&&*format!("{name}.tmp")), "{name}");
        }
    }
}
