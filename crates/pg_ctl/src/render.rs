//! What a stop waits for, as lines of text: pure functions of the server's report.
//!
//! Names of users, databases and applications come from outside, so nothing that could steer a terminal gets through.
//!
//! Called by: `display`, `stop`. C counterpart: none.

use stopreport::words::printable;
use stopreport::{Condition, Item, Kind, Status, condensed, words};
use unicode_width::UnicodeWidthChar;

use crate::terminal::Size;

/// Sessions that are listed one by one; of the others there is a number.
const SESSIONS_LISTED: usize = 5;

/// The server reports four times a second; if it has not for this long, something holds it up.
const SILENCE_SECS: f64 = 3.0;

/// The picture for a terminal: a heading, and a line for each thing that is awaited. `now` in Unix seconds. No line is as
/// wide as the terminal, so that none wraps, and there are fewer than it has rows.
pub(crate) fn picture(status: &Status, now: f64, size: Size) -> Vec<String> {
    let items = condensed(status.awaited.clone(), SESSIONS_LISTED);
    let names: Vec<String> = items.iter().map(|item| name(item, size.columns / 2)).collect();
    let name_columns = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let mut lines = heading(status, now, size.columns);
    lines.extend(
        items.iter().zip(&names).map(|(item, name)| item_line(item, name, name_columns, size.columns)),
    );
    lines.extend(silence(status, now).map(|text| format!("  {text}")));
    let rows = size.rows.saturating_sub(2).max(2);
    if lines.len() > rows {
        let hidden = lines.len() - (rows - 1);
        lines.truncate(rows - 1);
        lines.push(format!("  and {hidden} more"));
    }
    lines.iter().map(|line| cut(&printable(line), size.columns.saturating_sub(1))).collect()
}

/// `fast stop, 12 s: making the shutdown checkpoint, about 5 s left, deadline in 18 s`; in two lines if one is too short.
fn heading(status: &Status, now: f64, columns: usize) -> Vec<String> {
    let elapsed = words::duration((now - status.since).max(0.0).floor());
    let phase = format!("{} stop, {elapsed}: {}", status.mode, status.phase.text());
    // Counted from the report on, so that it does not stand still between two of them.
    let left = status.seconds.map(|seconds| seconds - (now - status.updated).max(0.0));
    let left = left.filter(|seconds| *seconds > 0.0).map(|seconds| format!("{} left", words::about(seconds)));
    let deadline = status.deadline.map(|deadline| match deadline - now {
        seconds if seconds >= 0.0 => format!("deadline in {}", words::duration(seconds.ceil())),
        seconds => format!("deadline missed by {}", words::duration(-seconds.floor())),
    });
    let figures: Vec<String> = left.into_iter().chain(deadline).collect();
    if figures.is_empty() {
        return vec![phase];
    }
    let (one, figures) = (format!("{phase}, {}", figures.join(", ")), format!("  {}", figures.join(", ")));
    if width(&one) < columns { vec![one] } else { vec![phase, figures] }
}

/// Columns of a bar, without its brackets: what a terminal of this width can spare. Not what this line can spare: a bar
/// that changes its length says nothing.
fn bar_columns(columns: usize) -> usize {
    match columns {
        120.. => 24,
        100.. => 16,
        72.. => 10,
        56.. => 6,
        _ => 0,
    }
}

/// `  walsender "s1" (PID 4711)  [####------]  412 MB, 38 MB/s, about 11 s`. Where that is too long, it goes without
/// remarks, then without the speed.
fn item_line(item: &Item, name: &str, name_columns: usize, columns: usize) -> String {
    let bars = bar_columns(columns);
    let bar = item.fraction_done().filter(|_| bars > 0).map(|done| bar(done, bars));
    // With a bar there is less room: the unit tells what the number means.
    let left = if bar.is_some() { short_left(item) } else { item.left() };
    let remarks = item.remarks().or((item.condition == Condition::WaitsForClient).then(waits_for_client));
    let padding = name_columns.saturating_sub(width(name));
    let with = |facts: [Option<String>; 4]| {
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        let facts = Some(facts.join(", ")).filter(|facts| !facts.is_empty());
        let parts: Vec<String> = bar.iter().cloned().chain(facts).collect();
        format!("  {name}{:padding$}  {}", "", parts.join("  ")).trim_end().to_owned()
    };
    let all = with([left.clone(), item.speed(), item.time(), remarks]);
    let shorter =
        [with([left.clone(), item.speed(), item.time(), None]), with([left, None, item.time(), None])];
    // What is to be said of one that gets nowhere is in the remarks: those are rather cut than left out.
    let fits = |line: &String| width(line) < columns;
    if fits(&all) || item.seconds.is_none() || item.condition == Condition::Failing {
        return all;
    }
    shorter.into_iter().find(fits).unwrap_or(all)
}

/// Who it is, in so many columns: what is cut is the name, not the process id.
fn name(item: &Item, columns: usize) -> String {
    let who = printable(&item.who());
    let (name, pid) = who.split_at(who.rfind(" (PID ").unwrap_or(who.len()));
    format!("{}{pid}", cut(name, columns.saturating_sub(pid.len())))
}

fn waits_for_client() -> String {
    "waits for its client".to_owned()
}

fn short_left(item: &Item) -> Option<String> {
    match (item.kind, item.amount()?) {
        (_, 0) => item.left(),
        (Kind::Archiver, files) => Some(words::files(files)),
        (_, bytes) => Some(words::size(bytes)),
    }
}

/// `[######----]`, full only when all is done, and empty only when nothing is.
fn bar(done: f64, columns: usize) -> String {
    let full = (done.clamp(0.0, 1.0) * columns as f64).floor() as usize;
    let full = if done > 0.0 { full.max(1) } else { full };
    format!("[{}{}]", "#".repeat(full), "-".repeat(columns.saturating_sub(full)))
}

/// One line for what is not a terminal: all of it in a sentence.
pub(crate) fn line(status: &Status, now: f64) -> String {
    let mut text = status.summary();
    if let Some(silence) = silence(status, now) {
        text.push_str(&format!("; {silence}"));
    }
    printable(&text)
}

/// After a time-out: each thing that is still awaited.
pub(crate) fn still_awaited(status: &Status, now: f64) -> Vec<String> {
    let items = condensed(status.awaited.clone(), SESSIONS_LISTED);
    let mut lines: Vec<String> =
        items.iter().map(|item| printable(&format!("still awaited: {}", item.sentence()))).collect();
    lines.extend(silence(status, now));
    lines
}

/// For a server that is held up itself.
fn silence(status: &Status, now: f64) -> Option<String> {
    let seconds = now - status.updated;
    (seconds >= SILENCE_SECS)
        .then(|| format!("the server's last report is {} old", words::duration(seconds.floor())))
}

/// Columns of the terminal that a text takes: some characters take two, some none.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The beginning, if it is longer than so many columns.
fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(3);
    let fits = |c: &char| {
        let left = room.checked_sub(char_width(*c));
        room = left.unwrap_or(room);
        left.is_some()
    };
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}{}", &"..."[..columns.min(3)])
}

#[cfg(test)]
mod tests;
