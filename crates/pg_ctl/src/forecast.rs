//! `--forecast`: asks a running server what it sees, and tells what a stop would wait for.
//!
//! The question is a file and SIGUSR1, the answer another file; `stopreport::exchange` has the protocol. The server only
//! looks, the judgement is made here. How many files wait for the archiver is counted here too: what the archiver knows of
//! its backlog may be a pass old.
//!
//! Called by: `stop`. C counterpart: none.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::archive_name;
use common::file::os_error_text;
use nix::sys::signal::Signal;
use serde::Serialize;
use stopreport::exchange::{self, Answer};
use stopreport::{Item, Observation, files, words};

use crate::interrupt::{FAREWELLS, Interrupt};
use crate::options::{Options, ProgressStyle};
use crate::process;
use crate::progress::pause_after;
use crate::report::{Failure, Outcome, say};
use crate::table::{self, Column};

/// How long a server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// After so long without an answer the answer may have got lost: another pg_ctl asked at the same time.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// How soon to try again if another one's request is still there.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// `pg_ctl stop --forecast`: stops nothing.
pub(crate) fn forecast(options: &Options, pid: i32) -> Outcome {
    let mut seen = Question::ask(options, pid)?;
    if let Some(archiver) = &mut seen.archiver
        && let Ok(files) = count_ready(&options.data_dir)
    {
        archiver.files = files;
    }
    if let Some(deadline) = options.deadline {
        // As if the stop were ordered with it.
        seen.bounds.deadline = Some(deadline.as_secs_f64());
    }
    let items = stopreport::forecast(&seen, options.shutdown_mode.report_mode());
    let lines = match options.progress_style() {
        ProgressStyle::Json => items.iter().map(json_row).collect(),
        _ => table(&items),
    };
    // It is the answer to a question, not progress: -s does not silence it.
    say(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    Ok(())
}

/// A question that has not been answered. Dropped, it leaves no file.
struct Question<'a> {
    options: &'a Options,
    pid: i32,
    nonce: String,
    /// When our request was put there, if it was.
    placed: Option<Instant>,
    /// When we last tried.
    tried: Option<Instant>,
    /// When the postmaster last got a signal from us.
    signaled: Option<Instant>,
    is_answered: bool,
}

impl<'a> Question<'a> {
    fn ask(options: &'a Options, pid: i32) -> Outcome<Observation> {
        // Declared before the question, so that signals are let through when its files are gone.
        let interrupt = Interrupt::catch(&FAREWELLS)?;
        let mut question = Question::new(options, pid);
        let begin = Instant::now();
        let limit = if options.timeout_given { ANSWER_MAX.min(options.timeout) } else { ANSWER_MAX };
        loop {
            question.put()?;
            if let Some(seen) = question.answer() {
                return Ok(seen);
            }
            if begin.elapsed() >= limit {
                return Err(Failure::new("server does not answer")
                    .line("HINT: PostgreSQL's own servers cannot tell what a stop would wait for."));
            }
            if interrupt.sleep(pause_after(begin.elapsed())) {
                question.take_back();
                interrupt.release();
            }
        }
    }

    fn new(options: &'a Options, pid: i32) -> Question<'a> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nonce = format!("{}-{nanos}", std::process::id());
        Question { options, pid, nonce, placed: None, tried: None, signaled: None, is_answered: false }
    }

    /// Makes the request and sends the signal: at first, and again if no answer came or another one's request was in
    /// the way. That one gets a signal too: nobody may be left who would send it.
    fn put(&mut self) -> Outcome {
        let is_recent = |at: Option<Instant>, time| at.is_some_and(|at| at.elapsed() < time);
        if is_recent(self.placed, ASK_AGAIN) || is_recent(self.tried, TRY_AGAIN) {
            return Ok(());
        }
        let now = Some(Instant::now());
        self.tried = now;
        match exchange::place_request(&self.options.data_dir, &self.nonce) {
            Ok(()) => self.placed = now,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if is_recent(self.signaled, ASK_AGAIN) {
                    return Ok(());
                }
            }
            Err(error) => return Err(self.not_made(&error)),
        }
        self.signaled = now;
        process::send(self.pid, Signal::SIGUSR1).map_err(|error| {
            Failure::new(format!("could not send forecast signal (PID: {}): {}", self.pid, error.desc()))
        })
    }

    fn not_made(&self, error: &io::Error) -> Failure {
        let path = self.options.data_dir.join(files::FORECAST_REQUEST);
        let error = os_error_text(error);
        Failure::new(format!("could not create forecast request file \"{}\": {error}", path.display()))
    }

    /// The answer, if it is the one to our question. It is removed; our request the server has taken.
    fn answer(&mut self) -> Option<Observation> {
        let dir = &self.options.data_dir;
        let answer = Answer::read(dir).ok()?.filter(|answer| answer.nonce == self.nonce)?;
        self.is_answered = true;
        // Should it be another one's by now, then that one asks again.
        let _ = std::fs::remove_file(dir.join(files::FORECAST));
        Some(answer.observation)
    }

    /// Nobody is to find our files, nor what a pg_ctl before us left that nobody took.
    fn take_back(&self) {
        for name in [files::FORECAST_REQUEST, files::FORECAST] {
            let _ = std::fs::remove_file(self.options.data_dir.join(name));
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.take_back();
        }
    }
}

/// How many files wait for the archiver now.
fn count_ready(data_dir: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(data_dir.join(archive_name::STATUS_DIR))? {
        let name = entry?.file_name();
        let file = name.to_str().and_then(|name| name.strip_suffix(".ready"));
        count += u64::from(file.is_some_and(archive_name::is_archivable_name));
    }
    Ok(count)
}

/// As the SQL function `pg_shutdown_forecast` names them.
const COLUMNS: [Column; 9] = [
    Column { title: "step", is_number: true },
    Column { title: "kind", is_number: false },
    Column { title: "pid", is_number: true },
    Column { title: "name", is_number: false },
    Column { title: "bytes", is_number: true },
    Column { title: "files", is_number: true },
    Column { title: "rate", is_number: true },
    Column { title: "seconds", is_number: true },
    Column { title: "detail", is_number: false },
];

fn table(items: &[Item]) -> Vec<String> {
    table::lines(&COLUMNS, &items.iter().map(row).collect::<Vec<_>>())
}

/// The cells of a row, for people: sizes and times with their units. What nobody knows is empty.
fn row(item: &Item) -> Vec<String> {
    let cell = |text: Option<String>| text.map(|text| words::printable(&text)).unwrap_or_default();
    vec![
        cell(item.kind.step().map(|step| step.to_string())),
        item.kind.word().to_owned(),
        cell(item.pid.map(|pid| pid.to_string())),
        cell(item.name.clone()),
        cell(item.bytes.map(words::size)),
        cell(item.files.map(|files| files.to_string())),
        cell(item.speed()),
        cell(item.seconds.map(words::about)),
        cell(item.remarks()),
    ]
}

/// The row for programs: every field of the item in bytes, files per second and seconds. What nobody knows is absent.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<i32>,
    #[serde(flatten)]
    item: &'a Item,
}

fn json_row(item: &Item) -> String {
    let json = serde_json::to_string(&Row { step: item.kind.step(), item }).unwrap_or_default();
    words::printable_json(&json)
}

#[cfg(test)]
mod tests;
