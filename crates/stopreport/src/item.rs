//! One thing that a stop waits for: figures for programs, a sentence for people.

use serde::{Deserialize, Serialize};

use crate::words;

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A client's session: of a smart stop, it waits for its client; of any other, it has been told to leave.
    Session,
    /// An open transaction, which a fast stop rolls back.
    Transaction,
    /// The shutdown checkpoint, or a standby's restartpoint.
    Checkpoint,
    /// A walsender.
    WalSender,
    /// The archiver.
    Archiver,
    /// Any other process.
    Process,
    /// All together.
    Total,
}

impl Kind {
    /// The word in JSON and in the SQL function's column.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Session => "session",
            Kind::Transaction => "transaction",
            Kind::Checkpoint => "checkpoint",
            Kind::WalSender => "walsender",
            Kind::Archiver => "archiver",
            Kind::Process => "process",
            Kind::Total => "total",
        }
    }

    /// The step of the stop that waits for it: 1 sessions and processes, 2 the checkpoint, 3 walsenders and archiver, which work
    /// side by side. The total has none.
    pub fn step(self) -> Option<i32> {
        match self {
            Kind::Session | Kind::Transaction | Kind::Process => Some(1),
            Kind::Checkpoint => Some(2),
            Kind::WalSender | Kind::Archiver => Some(3),
            Kind::Total => None,
        }
    }
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It gets on, or has nothing to do.
    Moving,
    /// Its turn has not come.
    NotBegun,
    /// Something is left and it gets nowhere.
    NotMoving,
    /// Its last try has failed.
    Failing,
    /// It ends when its client wants.
    WaitsForClient,
    /// Nobody has measured it.
    Unknown,
}

/// One thing that the stop waits for, or would wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its process, if one stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// `application_name` of a walsender, "user@database" of a session, "checkpoint" or "restartpoint", title of any other
    /// process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Bytes left: not yet confirmed by a receiver, or not yet written by the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of a walsender: bytes, among [`Item::bytes`], that have not even been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// Files left: to be archived, or to be synced by the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The most that was left since the stop began, in bytes (files for the archiver): see [`Initials`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<u64>,
    /// Recent bytes per second (files per second for the archiver).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Expected seconds from now; `None` if nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Seconds from now until the stop ceases to wait for it, if a bound is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// What it does.
    pub condition: Condition,
    /// What the figures do not say: `not moving for 12 s`, `failing: archive command failed with exit code 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Item {
    /// An item of which nothing is known.
    pub fn new(kind: Kind) -> Item {
        Item {
            kind,
            pid: None,
            name: None,
            bytes: None,
            unsent: None,
            files: None,
            initial: None,
            rate: None,
            seconds: None,
            bound: None,
            condition: Condition::Unknown,
            detail: None,
        }
    }

    /// What is left, in the unit of [`Item::rate`] and [`Item::initial`]: files of the archiver, bytes of all others.
    pub fn amount(&self) -> Option<u64> {
        if self.kind == Kind::Archiver { self.files } else { self.bytes }
    }

    /// How much of it is done, from 0 to 1; `None` if there is nothing to draw a bar of.
    pub fn fraction_done(&self) -> Option<f64> {
        let (left, initial) = (self.amount()?, self.initial?);
        (initial > 0).then(|| 1.0 - left.min(initial) as f64 / initial as f64)
    }

    /// Who: `walsender "s1" (PID 4711)`.
    pub fn who(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        let mut text = match self.kind {
            Kind::Session | Kind::Transaction if self.pid.is_none() && !name.is_empty() => name.to_owned(),
            Kind::Session if name.is_empty() => "session".to_owned(),
            Kind::Session => format!("session {name}"),
            Kind::Transaction if name.is_empty() => "transaction".to_owned(),
            Kind::Transaction => format!("transaction of {name}"),
            Kind::WalSender if name.is_empty() => "walsender".to_owned(),
            Kind::WalSender => format!("walsender \"{name}\""),
            Kind::Checkpoint | Kind::Process if !name.is_empty() => name.to_owned(),
            kind => kind.word().to_owned(),
        };
        if let Some(pid) = self.pid {
            text.push_str(&format!(" (PID {pid})"));
        }
        text
    }

    /// What is left: `412 MB not yet confirmed (380 MB not even sent)`, `38 files waiting`.
    pub fn left(&self) -> Option<String> {
        match self.kind {
            Kind::WalSender => self.bytes.map(|bytes| match self.unsent {
                _ if bytes == 0 => "everything confirmed".to_owned(),
                Some(unsent) if unsent > 0 => {
                    format!(
                        "{} not yet confirmed ({} not even sent)",
                        words::size(bytes),
                        words::size(unsent)
                    )
                }
                _ => format!("{} not yet confirmed", words::size(bytes)),
            }),
            Kind::Checkpoint => self.bytes.map(|bytes| match (bytes, self.files) {
                (0, None | Some(0)) => "nothing to write".to_owned(),
                (0, Some(files)) => format!("{} to sync", words::files(files)),
                (_, None | Some(0)) => format!("{} to write", words::size(bytes)),
                (_, Some(files)) => {
                    format!("{} to write, {} to sync", words::size(bytes), words::files(files))
                }
            }),
            Kind::Archiver => self.files.map(|files| match files {
                0 => "no file waiting".to_owned(),
                _ => format!("{} waiting", words::files(files)),
            }),
            Kind::Session | Kind::Transaction | Kind::Process | Kind::Total => None,
        }
    }

    /// How fast: `38 MB/s`. Nothing of what has nothing left or does not move.
    pub fn speed(&self) -> Option<String> {
        let rate = self.rate.filter(|_| self.amount().is_some_and(|left| left > 0))?;
        match (self.kind, self.condition) {
            (_, Condition::NotMoving | Condition::Failing) => None,
            (Kind::Archiver, _) => Some(words::file_speed(rate)),
            _ => Some(words::speed(rate)),
        }
    }

    /// How long: `about 11 s`. Nothing of what is over at once.
    pub fn time(&self) -> Option<String> {
        self.seconds.filter(|seconds| *seconds > 0.0).map(words::about)
    }

    /// What the figures do not say, and what the bound does.
    pub fn remarks(&self) -> Option<String> {
        let parts: Vec<String> = self.detail.iter().cloned().chain(self.bound_text()).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// One thing of a list, in words: who, what is left, how fast, how long, or why nobody can say. Without characters that
    /// could steer a terminal or break a line of the log: names come from outside.
    pub fn sentence(&self) -> String {
        let parts = [self.left(), self.speed(), self.time(), self.remarks()];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let text =
            if parts.is_empty() { self.who() } else { format!("{}: {}", self.who(), parts.join(", ")) };
        words::printable(&text)
    }

    fn bound_text(&self) -> Option<String> {
        let bound = self.bound?;
        let time = words::duration(bound);
        Some(match (self.kind, self.seconds) {
            (Kind::Total, _) => format!("deadline in {time}"),
            (Kind::Process, _) => format!("killed after {time}"),
            (Kind::Session, _) => format!("sent away after {time}"),
            (_, Some(seconds)) if seconds <= bound => format!("at most {time}"),
            _ => match self.left_at(bound) {
                Some(left) => format!("given up after {time} with about {left} left"),
                None => format!("given up after {time}"),
            },
        })
    }

    /// What is left after so many seconds, if it goes on like that.
    fn left_at(&self, seconds: f64) -> Option<String> {
        let (amount, rate) = (self.amount()?, self.rate?);
        if !matches!(self.condition, Condition::Moving | Condition::NotBegun) {
            return None;
        }
        let left = (amount as f64 - rate * seconds).max(0.0).ceil() as u64;
        Some(if self.kind == Kind::Archiver { words::files(left) } else { words::size(left) })
    }
}

/// The list with at most `limit` sessions and as many transactions one by one; the others of a kind as one item that counts
/// them, so that a hundred clients do not hide the rest. What stays keeps its order.
pub fn condensed(items: Vec<Item>, limit: usize) -> Vec<Item> {
    let mut seen = [0_usize; 2];
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        let (count, noun) = match item.kind {
            Kind::Session => (&mut seen[0], "session"),
            Kind::Transaction => (&mut seen[1], "transaction"),
            _ => {
                kept.push(item);
                continue;
            }
        };
        *count += 1;
        if *count <= limit {
            kept.push(item);
            continue;
        }
        let more = *count - limit;
        let other = if limit > 0 { "more " } else { "" };
        let plural = if more == 1 { "" } else { "s" };
        let name = Some(format!("{more} {other}{noun}{plural}"));
        match kept.iter_mut().find(|k| k.kind == item.kind && k.pid.is_none()) {
            Some(counting) => counting.name = name,
            None => kept.push(Item { pid: None, name, detail: None, ..item }),
        }
    }
    kept
}

/// The sentences of a list, with at most `limit` sessions or transactions one by one, in one line.
pub fn list(items: &[Item], limit: usize) -> String {
    let sentences: Vec<String> = condensed(items.to_vec(), limit).iter().map(Item::sentence).collect();
    if sentences.is_empty() { "nothing".to_owned() } else { sentences.join("; ") }
}

/// The most that was left of each thing since the stop began: what a bar is drawn against.
#[derive(Debug, Default)]
pub struct Initials(Vec<(Kind, Option<i32>, u64)>);

impl Initials {
    /// Fills in [`Item::initial`], and remembers what is more than was known.
    pub fn note(&mut self, items: &mut [Item]) {
        for item in items {
            let Some(amount) = item.amount() else { continue };
            let initial =
                match self.0.iter_mut().find(|(kind, pid, _)| (*kind, *pid) == (item.kind, item.pid)) {
                    Some((_, _, most)) => {
                        *most = amount.max(*most);
                        *most
                    }
                    None => {
                        self.0.push((item.kind, item.pid, amount));
                        amount
                    }
                };
            item.initial = Some(initial);
        }
    }
}

#[cfg(test)]
mod tests;
