//! A stop under way, as the postmaster tells it: the content of `postmaster.stop`.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::item::{Item, Kind, list};
use crate::{files, words};

/// How the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Clients may stay until they leave.
    Smart,
    /// Clients are sent away, transactions rolled back.
    Fast,
    /// Nothing is finished; the next start recovers.
    Immediate,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Smart, Mode::Fast, Mode::Immediate];

    /// `smart`, `fast`, `immediate`.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Smart => "smart",
            Mode::Fast => "fast",
            Mode::Immediate => "immediate",
        }
    }

    /// The reverse of [`Mode::word`].
    pub fn parse(word: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How far the stop is. An immediate one knows only [`Phase::Processes`] and [`Phase::Leaving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A smart stop: clients may finish.
    Sessions,
    /// Sessions and most other processes have been told to leave. `PM_WAIT_BACKENDS`.
    Processes,
    /// The shutdown checkpoint. `PM_SHUTDOWN`.
    Checkpoint,
    /// What is left of WAL is sent and archived. `PM_SHUTDOWN_2`.
    Wal,
    /// What still has to go. `PM_WAIT_DEAD_END` and behind.
    Leaving,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Phase; 5] =
        [Phase::Sessions, Phase::Processes, Phase::Checkpoint, Phase::Wal, Phase::Leaving];

    /// What happens in it: `waiting for clients to leave`.
    pub fn text(self) -> &'static str {
        match self {
            Phase::Sessions => "waiting for clients to leave",
            Phase::Processes => "ending sessions and processes",
            Phase::Checkpoint => "making the shutdown checkpoint",
            Phase::Wal => "sending and archiving what is left of WAL",
            Phase::Leaving => "leaving",
        }
    }

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Sessions => "sessions",
            Phase::Processes => "processes",
            Phase::Checkpoint => "checkpoint",
            Phase::Wal => "wal",
            Phase::Leaving => "leaving",
        }
    }
}

/// A stop under way. All moments are Unix seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The postmaster: whose file this is.
    pub pid: i32,
    /// The mode that is in force now.
    pub mode: Mode,
    /// How far the stop is.
    pub phase: Phase,
    /// When it was ordered, in its first mode.
    pub since: f64,
    /// When this phase began.
    pub phase_since: f64,
    /// When this was written.
    pub updated: f64,
    /// When it is to be over, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<f64>,
    /// What it waits for now.
    pub awaited: Vec<Item>,
    /// Expected seconds from `updated` until its end; `None` if nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Sessions that a line names one by one.
const SESSIONS_NAMED: usize = 3;

impl Status {
    /// Writes it as `postmaster.stop`: atomic for readers, no fsync, mode as of other files in the data directory.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        files::write(data_dir, files::STATUS, self)
    }

    /// Reads `postmaster.stop`. `None` if there is none; an error of kind `InvalidData` if it is something else. Whether it is of
    /// the postmaster that one has in mind is in [`Status::pid`].
    pub fn read(data_dir: &Path) -> io::Result<Option<Status>> {
        files::read(data_dir, files::STATUS)
    }

    /// One line of JSON, without a line feed. Numbers that are none (NaN) become `null`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The reverse of [`Status::to_json`]; fields that we do not know are ignored.
    pub fn from_json(text: &str) -> serde_json::Result<Status> {
        serde_json::from_str(text)
    }

    /// Seconds since the stop was ordered.
    pub fn elapsed(&self) -> f64 {
        (self.updated - self.since).max(0.0)
    }

    fn elapsed_text(&self) -> String {
        match self.elapsed().round() {
            0.0 => "less than 1 s".to_owned(),
            seconds => words::duration(seconds),
        }
    }

    /// One line for people: `fast stop, 12 s, making the shutdown checkpoint: checkpoint (PID 12): ...; about 5 s left`.
    pub fn summary(&self) -> String {
        let end = match self.seconds {
            Some(seconds) => format!("{} left", words::about(seconds)),
            None => "nobody can say how long".to_owned(),
        };
        format!(
            "{} stop, {}, {}: {}; {end}",
            self.mode,
            self.elapsed_text(),
            self.phase.text(),
            list(&self.awaited, SESSIONS_NAMED)
        )
    }

    /// The line in the server's log: `still stopping (fast, 20 s): waiting for walsender "s1" (PID 4711): 412 MB ...`.
    pub fn log_message(&self) -> String {
        format!(
            "still stopping ({}, {}): waiting for {}",
            self.mode,
            self.elapsed_text(),
            list(&self.awaited, SESSIONS_NAMED)
        )
    }

    /// The DETAIL of a refused client. Who reads it may be anybody: sessions are counted, not named (SR5).
    pub fn refusal_detail(&self) -> String {
        let others = |item: &&Item| !matches!(item.kind, Kind::Session | Kind::Transaction);
        let mut awaited: Vec<String> = self.awaited.iter().filter(others).map(Item::sentence).collect();
        let sessions = self.awaited.len() - awaited.len();
        if sessions > 0 {
            let plural = if sessions == 1 { "" } else { "s" };
            awaited.insert(0, format!("{sessions} session{plural} to end"));
        }
        let since = self.elapsed_text();
        let mode = self.mode;
        match awaited.is_empty() {
            true => format!("The server has been stopping in {mode} mode for {since}."),
            false => format!(
                "The server has been stopping in {mode} mode for {since} and waits for {}.",
                awaited.join("; ")
            ),
        }
    }
}

#[cfg(test)]
mod tests;
