//! What the collector remembers, and the file that keeps it over a clean restart.
//!
//! The file is one line a database, `database commits rollbacks`. It is removed as soon as it is read: after
//! a crash there is none, and the counters start from nothing, as they must, since nobody knows what was lost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use common::file::write_file_durably;
use common::{Oid, SqlState};
use elog::{Result, error};

use crate::Message;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DatabaseCounters {
    commits: u64,
    rollbacks: u64,
}

/// Counters by database.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    databases: BTreeMap<Oid, DatabaseCounters>,
}

impl Counters {
    pub(crate) fn add(&mut self, message: &Message) {
        match *message {
            Message::Transactions { database, commits, rollbacks } => {
                let counters = self.databases.entry(database).or_default();
                counters.commits += u64::from(commits);
                counters.rollbacks += u64::from(rollbacks);
            }
            Message::Reset { database } => {
                self.databases.remove(&database);
            }
        }
    }

    /// Takes the file's content and removes the file. A missing or damaged one is an empty one.
    pub(crate) fn load(path: &Path) -> Counters {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let parse = |line: &str| {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            let database = Oid(u32::try_from(numbers.next()?.ok()?).ok()?);
            let counters =
                DatabaseCounters { commits: numbers.next()?.ok()?, rollbacks: numbers.next()?.ok()? };
            Some((database, counters))
        };
        let databases: Option<BTreeMap<_, _>> = text.lines().map(parse).collect();
        Counters { databases: databases.unwrap_or_default() }
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        for (database, counters) in &self.databases {
            let _ = writeln!(text, "{database} {} {}", counters.commits, counters.rollbacks);
        }
        write_file_durably(path, text.as_bytes(), 0o600).map_err(|e| error!(SqlState::IO_ERROR, "{e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_survive_in_their_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("global.stat");
        let mut counters = Counters::load(&path);
        for _ in 0..2 {
            counters.add(&Message::Transactions { database: Oid(5), commits: 2, rollbacks: 1 });
        }
        counters.add(&Message::Transactions { database: Oid(1), commits: 9, rollbacks: 9 });
        counters.add(&Message::Reset { database: Oid(1) });
        counters.save(&path).unwrap();
        let again = Counters::load(&path);
        assert_eq!(again.databases, counters.databases);
        assert_eq!(again.databases[&Oid(5)], DatabaseCounters { commits: 4, rollbacks: 2 });
        assert!(Counters::load(&path).databases.is_empty(), "the file is used up");
    }

    #[test]
    fn a_damaged_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("global.stat");
        std::fs::write(&path, "5 1 x\n").unwrap();
        assert!(Counters::load(&path).databases.is_empty());
    }
}
