//! How the wait for a stop is shown: what to write to stdout at its beginning, at each look and at its end.
//!
//! Whoever stops a server quickly sees what PostgreSQL's pg_ctl prints, to the byte: nothing else appears in the first
//! second, nor with a server that does not report. All functions are pure: time, report and terminal come in, text goes
//! out. JSON alone has something to say from the beginning, since programs read it.
//!
//! Called by: `stop`. C counterpart: the `print_msg` calls of `wait_for_postmaster_stop`.

use std::time::Duration;

use serde::Serialize;
use stopreport::{Phase, Status, words};

use crate::options::{Options, ProgressStyle};
use crate::progress::Dots;
use crate::render;
use crate::terminal::{self, Picture, Size};

/// Nothing but dots before this much time has passed.
const QUIET: Duration = Duration::from_secs(1);

/// A phase that is over sooner is not worth a line.
const PHASE_SECS: f64 = 1.0;

/// At least so often there is a plain line.
const LINE_SECS: f64 = 10.0;

/// What is known at one look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// Since the signal was sent.
    pub(crate) elapsed: Duration,
    /// Unix seconds.
    pub(crate) now: f64,
    /// The report of the server that stops, if it makes one.
    pub(crate) status: Option<&'a Status>,
    /// Of the terminal.
    pub(crate) size: Size,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server has stopped.
    Stopped,
    /// The time is up.
    TimeIsUp,
    /// The server's process is gone, its pid file is not.
    Died,
}

/// One of the styles of `--progress`, with what it has shown.
#[derive(Debug)]
pub(crate) enum Display {
    /// `-s`.
    Silent,
    /// As PostgreSQL's pg_ctl.
    Dots(Dots),
    /// Lines.
    Plain(Plain),
    /// Repainted lines.
    Bar(Bar),
    /// JSON.
    Json(Json),
}

impl Display {
    /// As the options say.
    pub(crate) fn new(options: &Options) -> Display {
        if options.silent {
            return Display::Silent;
        }
        match options.progress_style() {
            ProgressStyle::Auto if terminal::is_terminal() => Display::Bar(Bar::default()),
            ProgressStyle::Auto | ProgressStyle::Plain => Display::Plain(Plain::default()),
            ProgressStyle::Bar => Display::Bar(Bar::default()),
            ProgressStyle::Json => Display::Json(Json::default()),
            ProgressStyle::None => Display::Dots(Dots::default()),
        }
    }

    /// The text at the beginning.
    pub(crate) fn begin(&self) -> String {
        match self {
            Display::Silent | Display::Json(_) => String::new(),
            Display::Dots(_) | Display::Plain(_) | Display::Bar(_) => {
                "waiting for server to shut down...".to_owned()
            }
        }
    }

    /// The text at a look.
    pub(crate) fn look(&mut self, moment: &Moment) -> String {
        match self {
            Display::Silent => String::new(),
            Display::Dots(dots) => dots.due(moment.elapsed),
            Display::Plain(plain) => plain.look(moment),
            Display::Bar(bar) => bar.look(moment),
            Display::Json(json) => json.look(moment),
        }
    }

    /// The text at the end.
    pub(crate) fn end(&mut self, moment: &Moment, end: End) -> String {
        let last = match self {
            Display::Silent => return String::new(),
            Display::Json(_) => return Json::end(moment, end),
            Display::Bar(bar) => bar.clear(moment.now),
            Display::Dots(_) | Display::Plain(_) => String::new(),
        };
        last + match end {
            End::Stopped => " done\nserver stopped\n",
            End::TimeIsUp | End::Died => " failed\n",
        }
    }
}

/// Dots, and from a second on a line for each phase that lasts.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    dots: Dots,
    /// The phase and the time of the last line.
    last: Option<(Phase, f64)>,
}

impl Plain {
    fn look(&mut self, moment: &Moment) -> String {
        let dots = if self.last.is_none() { self.dots.due(moment.elapsed) } else { String::new() };
        let Some(status) = moment.status.filter(|_| moment.elapsed >= QUIET) else { return dots };
        let is_due = match self.last {
            Some((phase, at)) if phase == status.phase => moment.now - at >= LINE_SECS,
            _ => moment.now - status.phase_since >= PHASE_SECS,
        };
        if !is_due {
            return dots;
        }
        // The first one ends the line of dots.
        let before = if self.last.is_none() { "\n" } else { "" };
        self.last = Some((status.phase, moment.now));
        format!("{dots}{before}{}\n", render::line(status, moment.now))
    }
}

/// Dots, and from a second on a picture below them.
#[derive(Debug, Default)]
pub(crate) struct Bar {
    dots: Dots,
    picture: Picture,
    /// The phase that the picture shows, and since when it lasts.
    phase: Option<(Phase, f64)>,
}

impl Bar {
    fn look(&mut self, moment: &Moment) -> String {
        let is_shown = self.phase.is_some();
        let dots = if is_shown { String::new() } else { self.dots.due(moment.elapsed) };
        let Some(status) = moment.status.filter(|_| is_shown || moment.elapsed >= QUIET) else { return dots };
        let mut text = dots;
        if !is_shown {
            text.push('\n');
        } else if self.phase.is_some_and(|(phase, _)| phase != status.phase) {
            text.push_str(&self.finish_phase(status.phase_since));
        }
        self.phase = Some((status.phase, status.phase_since));
        text.push_str(&self.picture.replace(render::picture(status, moment.now, moment.size)));
        text
    }

    /// The picture goes; what stays of a phase that lasted is a line.
    fn finish_phase(&mut self, now: f64) -> String {
        let mut text = self.picture.erase();
        if let Some((phase, since)) = self.phase
            && now - since >= PHASE_SECS
        {
            text.push_str(&format!("  {}: {}\n", phase.text(), words::duration(now - since)));
        }
        text
    }

    fn clear(&mut self, now: f64) -> String {
        let text = self.finish_phase(now);
        self.phase = None;
        text
    }
}

/// One object a line.
#[derive(Debug, Default)]
pub(crate) struct Json {
    /// The last report, as if made at time 0: a report in which nothing else has changed is no news.
    last: Option<Status>,
}

impl Json {
    fn look(&mut self, moment: &Moment) -> String {
        let Some(status) = moment.status else { return String::new() };
        let timeless = Status { updated: 0.0, ..status.clone() };
        if self.last.as_ref() == Some(&timeless) {
            return String::new();
        }
        self.last = Some(timeless);
        Event { status: Some(status), ..Event::new("progress", moment) }.line()
    }

    fn end(moment: &Moment, end: End) -> String {
        match end {
            End::Stopped => Event::new("stopped", moment).line(),
            End::TimeIsUp => Event { status: moment.status, ..Event::new("timeout", moment) }.line(),
            End::Died => Event::new("died", moment).line(),
        }
    }
}

/// A line of `--progress=json`: what has happened, and what there is to say about it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Event<'a> {
    /// `signaled`, `progress`, then `stopped`, `timeout` or `died`; of a restart also `started` or `starting`.
    pub(crate) event: &'a str,
    /// Seconds since the signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) elapsed: Option<f64>,
    /// The postmaster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    /// What was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<stopreport::Mode>,
    /// The bound that was ordered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<f64>,
    /// The server's report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<&'a Status>,
}

impl<'a> Event<'a> {
    fn new(event: &'a str, moment: &Moment) -> Event<'a> {
        Event { event, elapsed: Some(seconds(moment.elapsed)), ..Event::default() }
    }

    /// With its line feed.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).map(|text| words::printable_json(&text) + "\n").unwrap_or_default()
    }
}

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
