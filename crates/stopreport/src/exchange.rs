//! How `pg_ctl stop --forecast` asks a running server what it would wait for, and how the server answers.
//!
//! Two files in the data directory and a signal, as for `pg_ctl promote`:
//!
//! 1. pg_ctl makes [`files::FORECAST_REQUEST`] with a word of its own in it (the nonce) and sends SIGUSR1 to the
//!    postmaster. If the file is there already, somebody else is asking: it signals and tries again.
//! 2. The postmaster calls [`take_request`]: reads the word and removes the file. Then it writes
//!    [`files::FORECAST`] by [`Answer::write`], with the same word in it.
//! 3. pg_ctl reads that file until its own word is in it, and asks again if the answer is somebody else's. It
//!    removes both files in the end, whatever happens; the postmaster removes what it finds at its start.
//!
//! Invariants: an answer is never seen half-written (it gets its name when it is complete); an answer to one
//! question is never taken for the answer to another; the postmaster reads no more than [`NONCE_BYTES_MAX`] bytes
//! of the request, and a request without a proper word is removed and not answered.
//!
//! Callers: the postmaster ([`take_request`], [`Answer::write`]), pg_ctl ([`place_request`], [`Answer::read`]). C counterpart: none.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Observation, files};

/// The longest word that a request may hold.
pub const NONCE_BYTES_MAX: usize = 64;

/// The content of [`files::FORECAST`]: what the server saw, with the word of the request that it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The word of the request.
    pub nonce: String,
    /// What the server saw when it took the request.
    pub observation: Observation,
}

impl Answer {
    /// Puts the answer into the data directory, whole or not at all. Not synced: nobody needs it after a crash.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        files::write(data_dir, files::FORECAST, self)
    }

    /// The answer that is there now. `None` if there is none; an error if it cannot be read or is no answer.
    pub fn read(data_dir: &Path) -> io::Result<Option<Answer>> {
        files::read(data_dir, files::FORECAST)
    }
}

/// Makes the request. Fails with `AlreadyExists` while another request has not been taken. The file's mode is what
/// the umask leaves of 0666.
pub fn place_request(data_dir: &Path, nonce: &str) -> io::Result<()> {
    let path = data_dir.join(files::FORECAST_REQUEST);
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(nonce.as_bytes())
}

/// Takes the request away and returns its word. `None` if there is no request, or one without a proper word: then
/// nobody waits for the answer, or whoever does asks again.
pub fn take_request(data_dir: &Path) -> io::Result<Option<String>> {
    let path = data_dir.join(files::FORECAST_REQUEST);
    let mut bytes = Vec::new();
    match std::fs::symlink_metadata(&path) {
        // Only a file is opened: to open a pipe could hold the postmaster up.
        Ok(metadata) if metadata.is_file() => {
            let file = File::open(&path)?;
            file.take(NONCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        }
        // What is no file is no request, and one that cannot be removed is not worth a word at each signal.
        Ok(_) => {
            let _ = std::fs::remove_file(&path);
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    std::fs::remove_file(&path)?;
    let proper = (1..=NONCE_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    Ok(String::from_utf8(bytes).ok().filter(|_| proper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(take_request(dir.path()).unwrap(), None);
        place_request(dir.path(), "17-4711").unwrap();
        let again = place_request(dir.path(), "18-1").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(take_request(dir.path()).unwrap().as_deref(), Some("17-4711"));
        assert_eq!(take_request(dir.path()).unwrap(), None);
        place_request(dir.path(), "18-1").unwrap();
    }

    #[test]
    fn a_request_without_a_word_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(NONCE_BYTES_MAX + 1);
        for content in ["", "two words", "\u{1b}[2J", "a\n", &long] {
            std::fs::write(dir.path().join(files::FORECAST_REQUEST), content).unwrap();
            assert_eq!(take_request(dir.path()).unwrap(), None, "{content:?}");
            assert!(!dir.path().join(files::FORECAST_REQUEST).exists());
        }
    }

    #[test]
    fn what_is_no_file_is_no_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(files::FORECAST_REQUEST);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(take_request(dir.path()).unwrap(), None);
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(take_request(dir.path()).unwrap(), None);
        assert!(path.symlink_metadata().is_err(), "a link is removed");
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let observation = Observation { is_standby: true, ..Observation::default() };
        let answer = Answer { nonce: "17-1".to_owned(), observation };
        answer.write(dir.path()).unwrap();
        assert_eq!(Answer::read(dir.path()).unwrap(), Some(answer));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn half_an_answer_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Answer::read(dir.path()).unwrap().is_none());
        std::fs::write(dir.path().join(files::FORECAST), "{\"nonce\":\"1\",\"obs").unwrap();
        assert!(Answer::read(dir.path()).is_err());
    }
}
