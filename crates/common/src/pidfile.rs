//! `postmaster.pid`: what a running server tells about itself, one fact a line.
//!
//! | line | fact | written |
//! |---|---|---|
//! | 1 | pid, negative for a standalone backend | at once |
//! | 2 | data directory, absolute | at once |
//! | 3 | start time in Unix seconds | at once |
//! | 4 | port | at once |
//! | 5 | first socket directory, may be empty | when that socket listens |
//! | 6 | first listen address, may be empty | when that socket listens |
//! | 7 | key and id of the System V segment | when it exists |
//! | 8 | [`PidFileStatus`] | whenever it changes |
//!
//! This is text in, text out; the file itself is made and kept by the server's lock-file code and read by
//! pg_ctl. C counterpart: utils/pidfile.h, `AddToDataDirLockFile` (miscinit.c).

use std::fmt;

/// Name of the file, below the data directory.
pub const PID_FILE: &str = "postmaster.pid";
/// Name of the file that keeps the postmaster's command line, below the data directory.
pub const OPTS_FILE: &str = "postmaster.opts";

/// Line numbers for [`with_line`]. C: `LOCK_FILE_LINE_*`.
pub mod line {
    /// The process id.
    pub const PID: usize = 1;
    /// The data directory.
    pub const DATA_DIR: usize = 2;
    /// The start time.
    pub const START_TIME: usize = 3;
    /// The port.
    pub const PORT: usize = 4;
    /// The socket directory.
    pub const SOCKET_DIR: usize = 5;
    /// The listen address.
    pub const LISTEN_ADDR: usize = 6;
    /// Key and id of the System V segment.
    pub const SHMEM_KEY: usize = 7;
    /// The status.
    pub const PM_STATUS: usize = 8;
}

/// Line 8. C: `PM_STATUS_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidFileStatus {
    /// Not yet ready for connections.
    Starting,
    /// Shutting down.
    Stopping,
    /// Accepts connections.
    Ready,
    /// A standby that accepts none (`hot_standby = off`).
    Standby,
}

impl PidFileStatus {
    /// The line's text: always eight characters, so that a rewrite never changes the file's length.
    pub fn as_str(self) -> &'static str {
        match self {
            PidFileStatus::Starting => "starting",
            PidFileStatus::Stopping => "stopping",
            PidFileStatus::Ready => "ready   ",
            PidFileStatus::Standby => "standby ",
        }
    }

    fn from_line(text: &str) -> Option<PidFileStatus> {
        [PidFileStatus::Starting, PidFileStatus::Stopping, PidFileStatus::Ready, PidFileStatus::Standby]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// A parsed pid file. Lines after the first may not be there yet: then zero, empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidFile {
    /// Line 1; negative for a standalone backend.
    pub pid: i32,
    /// Line 2.
    pub data_dir: String,
    /// Line 3, Unix seconds.
    pub start_time: i64,
    /// Line 4.
    pub port: u16,
    /// Line 5.
    pub socket_dir: String,
    /// Line 6; `None` before it is written, empty if there is no TCP.
    pub listen_addr: Option<String>,
    /// Line 7: key, id.
    pub shmem_key: Option<(u64, u64)>,
    /// Line 8.
    pub status: Option<PidFileStatus>,
}

/// A pid file that does not even name a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidFileError {
    /// No bytes: its writer has just created it, or crashed then.
    Empty,
    /// Does not begin with a number other than 0.
    Invalid,
}

impl PidFile {
    /// Reads what is there. Only the first line must make sense; the others may be cut off or half written.
    pub fn parse(content: &str) -> Result<PidFile, PidFileError> {
        if content.is_empty() {
            return Err(PidFileError::Empty);
        }
        let mut lines = content.lines();
        let pid = lines.next().and_then(leading_number).filter(|pid| *pid != 0);
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).ok_or(PidFileError::Invalid)?;
        let mut file = PidFile { pid, ..PidFile::default() };
        file.data_dir = lines.next().unwrap_or_default().to_owned();
        file.start_time = lines.next().and_then(leading_number).unwrap_or(0);
        file.port = lines.next().and_then(leading_number).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        file.socket_dir = lines.next().unwrap_or_default().to_owned();
        file.listen_addr = lines.next().map(str::to_owned);
        file.shmem_key = lines.next().and_then(|text| {
            let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        file.status = lines.next().and_then(PidFileStatus::from_line);
        Ok(file)
    }

    /// Is it a standalone backend that holds the directory?
    pub fn is_standalone(&self) -> bool {
        self.pid < 0
    }
}

/// The file's text, down to the last line that is known.
impl fmt::Display for PidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PidFile { pid, data_dir, start_time, port, socket_dir, .. } = self;
        write!(f, "{pid}\n{data_dir}\n{start_time}\n{port}\n{socket_dir}\n")?;
        if self.listen_addr.is_some() || self.shmem_key.is_some() || self.status.is_some() {
            writeln!(f, "{}", self.listen_addr.as_deref().unwrap_or_default())?;
        }
        if let Some((key, id)) = self.shmem_key {
            writeln!(f, "{}", shmem_line(key, id))?;
        } else if self.status.is_some() {
            writeln!(f)?;
        }
        if let Some(status) = self.status {
            writeln!(f, "{}", status.as_str())?;
        }
        Ok(())
    }
}

/// Text of line 7. C: the format in `InternalIpcMemoryCreate`.
pub fn shmem_line(key: u64, id: u64) -> String {
    format!("{key:9} {id:9}")
}

/// The file's content with one line (counted from 1) set, all others kept. Lines missing before it become
/// empty ones. C: `AddToDataDirLockFile`.
pub fn with_line(content: &str, number: usize, text: &str) -> String {
    let mut lines: Vec<&str> = content.lines().collect();
    let index = number.saturating_sub(1);
    if lines.len() <= index {
        lines.resize(index + 1, "");
    }
    lines[index] = text;
    let mut result = String::with_capacity(content.len() + text.len() + number);
    for line in lines {
        result.push_str(line);
        result.push('\n');
    }
    result
}

/// The number a line begins with, as C's `atol` reads it: what follows the digits does not matter.
fn leading_number(text: &str) -> Option<i64> {
    let text = text.trim_ascii_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    text[..sign + digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str =
        "8913\n/data/d1\n1438585518\n5600\n/run/pg\nlocalhost\n 10068474     98313\nready   \n";

    #[test]
    fn all_eight_lines_round_trip() {
        let file = PidFile::parse(READY).unwrap();
        assert_eq!(
            file,
            PidFile {
                pid: 8913,
                data_dir: "/data/d1".into(),
                start_time: 1_438_585_518,
                port: 5600,
                socket_dir: "/run/pg".into(),
                listen_addr: Some("localhost".into()),
                shmem_key: Some((10_068_474, 98_313)),
                status: Some(PidFileStatus::Ready),
            }
        );
        assert_eq!(file.to_string(), READY);
    }

    #[test]
    fn every_prefix_of_a_file_parses_or_is_refused() {
        for end in 0..READY.len() {
            match PidFile::parse(&READY[..end]) {
                Ok(file) => assert!(end > 0 && "8913".starts_with(&file.pid.to_string())),
                Err(error) => assert_eq!((end, error), (0, PidFileError::Empty)),
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["\n", "0\n", "abc\n", "-\n", "99999999999\n", "9999999999999999999999\n", " \u{e9}\n"] {
            assert_eq!(PidFile::parse(bad), Err(PidFileError::Invalid), "{bad:?}");
        }
        let odd = PidFile::parse("-12\n/d\nx\n99999\n\n\nnope 1\nready\n").unwrap();
        assert!(odd.is_standalone());
        assert_eq!((odd.start_time, odd.port, odd.shmem_key, odd.status), (0, 0, None, None));
    }

    #[test]
    fn lines_can_be_set_in_any_order() {
        let first = "17\n/d\n1\n5432\n\n";
        assert_eq!(with_line(first, line::LISTEN_ADDR, "*"), "17\n/d\n1\n5432\n\n*\n");
        assert_eq!(
            with_line(first, line::SHMEM_KEY, &shmem_line(5, 6)),
            "17\n/d\n1\n5432\n\n\n        5         6\n"
        );
        assert_eq!(
            with_line("17\n/d\n1\n5432\n\n*\n", line::SOCKET_DIR, "/tmp"),
            "17\n/d\n1\n5432\n/tmp\n*\n"
        );
        let stopping = with_line(READY, line::PM_STATUS, PidFileStatus::Stopping.as_str());
        assert_eq!(stopping.len(), READY.len());
        assert_eq!(PidFile::parse(&stopping).unwrap().status, Some(PidFileStatus::Stopping));
    }
}
