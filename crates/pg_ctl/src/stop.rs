//! `stop` and `restart`.
//!
//! A stop is a signal; then the pid file is watched, which the server removes last, and beside it the server's report of
//! what it waits for (`postmaster.stop`), if it makes one. PostgreSQL's own makes none: then everything is as with its
//! pg_ctl.
//!
//! C counterpart: `do_stop`, `do_restart`, `wait_for_postmaster_stop`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stopreport::Status;

use crate::deadline::{self, Deadline};
use crate::display::{Display, End, Event, Moment};
use crate::forecast;
use crate::interrupt::{FAREWELLS, Interrupt};
use crate::options::{Options, ProgressStyle, ShutdownMode};
use crate::process;
use crate::progress::pause_after;
use crate::render;
use crate::report::{Failure, Outcome, complain, say};
use crate::server::{self, Holder};
use crate::start;
use crate::terminal;

/// `pg_ctl stop`.
pub(crate) fn stop(options: &Options) -> Outcome {
    let pid = match server::holder(options, false)? {
        Holder::Nobody => return Err(server::not_running(options)),
        Holder::SingleUser(pid) => {
            return Err(Failure::new(format!(
                "cannot stop server; single-user server is running (PID: {pid})"
            )));
        }
        Holder::Postmaster(pid) => pid,
    };
    if options.forecast {
        return forecast::forecast(options, pid);
    }
    let mut order = Order::give(options, pid)?;
    if options.wait {
        return order.wait(options);
    }
    order.settle_deadline();
    if !is_json(options) {
        options.say("server shutting down\n");
    }
    Ok(())
}

/// `pg_ctl restart`: always waits for the stop, whatever -W says.
pub(crate) fn restart(options: &Options) -> Outcome {
    let pid = match server::holder(options, false)? {
        Holder::Nobody if options.forecast => return Err(server::not_running(options)),
        Holder::Nobody => {
            let text = server::not_running(options).line("trying to start server anyway");
            text.print();
            return start_again(options);
        }
        Holder::SingleUser(pid) if process::is_alive(pid) => {
            let message = format!("cannot restart server; single-user server is running (PID: {pid})");
            return Err(Failure::new(message).line("Please terminate the single-user server and try again."));
        }
        Holder::SingleUser(pid) | Holder::Postmaster(pid) => pid,
    };
    if options.forecast {
        return forecast::forecast(options, pid);
    }
    if process::is_alive(pid) {
        Order::give(options, pid)?.wait(options)?;
    } else {
        complain(&format!(
            "pg_ctl: old server process (PID: {pid}) seems to be gone\nstarting server anyway"
        ));
    }
    start_again(options)
}

/// The second half of a restart. What it would say must not come between JSON.
fn start_again(options: &Options) -> Outcome {
    if options.silent || !is_json(options) {
        return start::start_again(options);
    }
    start::start_again(&Options { silent: true, ..options.clone() })?;
    let event = if options.wait { "started" } else { "starting" };
    let pid = server::read_pid_file(options).filter(|_| options.wait).map(|file| file.pid);
    say(&Event { event, pid, ..Event::default() }.line());
    Ok(())
}

fn is_json(options: &Options) -> bool {
    options.progress_style() == ProgressStyle::Json
}

/// The order to stop, which a server has got.
struct Order {
    pid: i32,
    begin: Instant,
    deadline: Option<Deadline>,
    /// Not before the deadline's file is taken back may a Ctrl-C end us. Dropped after it, being declared after it.
    interrupt: Interrupt,
}

impl Order {
    fn give(options: &Options, pid: i32) -> Outcome<Order> {
        let interrupt = Interrupt::catch(&FAREWELLS)?;
        let deadline = Deadline::place(options)?;
        process::send(pid, options.shutdown_mode.signal()).map_err(|error| {
            Failure::new(format!("could not send stop signal (PID: {pid}): {}", error.desc()))
        })?;
        if is_json(options) {
            let mode = Some(options.shutdown_mode.report_mode());
            let deadline = options.deadline.map(|deadline| deadline.as_secs_f64());
            let event = Event { event: "signaled", pid: Some(pid), mode, deadline, ..Event::default() };
            options.say(&event.line());
        }
        Ok(Order { pid, begin: Instant::now(), deadline, interrupt })
    }

    /// Waits until the server has stopped or the time is up.
    fn wait(mut self, options: &Options) -> Outcome {
        let mut display = Display::new(options);
        say(&display.begin());
        let end = self.watch(options, &mut display)?;
        if let Some(deadline) = &mut self.deadline {
            deadline.give_up();
        }
        let status = if end == End::TimeIsUp { report(options, self.pid) } else { None };
        say(&display.end(&self.moment(status.as_ref()), end));
        match end {
            End::Stopped => Ok(()),
            End::TimeIsUp | End::Died => Err(does_not_shut_down(options, status.as_ref())),
        }
    }

    fn watch(&mut self, options: &Options, display: &mut Display) -> Outcome<End> {
        while self.begin.elapsed() < options.timeout {
            let status = report(options, self.pid);
            let moment = self.moment(status.as_ref());
            say(&display.look(&moment));
            if let Some(end) = has_ended(options)? {
                return Ok(end);
            }
            let elapsed = moment.elapsed;
            if let Some(deadline) = &mut self.deadline {
                deadline.look(elapsed);
            }
            self.sleep(pause_after(elapsed));
        }
        Ok(End::TimeIsUp)
    }

    /// Without waiting for the stop: only until it is known whether the server keeps to the deadline.
    fn settle_deadline(&mut self) {
        while let Some(deadline) = &mut self.deadline
            && !deadline.is_settled()
        {
            let elapsed = self.begin.elapsed();
            // One that has ended already takes nothing.
            if elapsed >= deadline::REACTION_MAX || process::send(self.pid, None).is_err() {
                deadline.give_up();
            }
            self.sleep(pause_after(elapsed));
        }
    }

    fn sleep(&mut self, duration: Duration) {
        if self.interrupt.sleep(duration) {
            self.deadline = None;
            self.interrupt.release();
        }
    }

    fn moment<'a>(&self, status: Option<&'a Status>) -> Moment<'a> {
        Moment { elapsed: self.begin.elapsed(), now: now(), status, size: terminal::size() }
    }
}

/// How the stop ended, if it has.
fn has_ended(options: &Options) -> Outcome<Option<End>> {
    let pid = match server::holder(options, false)? {
        Holder::Nobody => return Ok(Some(End::Stopped)),
        Holder::Postmaster(pid) | Holder::SingleUser(pid) => pid,
    };
    if process::send(pid, None).is_ok() {
        return Ok(None);
    }
    // It has ended, either just now with its file removed, or badly with the file left behind.
    let is_removed = server::holder(options, false)? == Holder::Nobody;
    Ok(Some(if is_removed { End::Stopped } else { End::Died }))
}

fn does_not_shut_down(options: &Options, status: Option<&Status>) -> Failure {
    let mut failure = Failure::new("server does not shut down");
    for line in status.map(|status| render::still_awaited(status, now())).unwrap_or_default() {
        failure = failure.line(&line);
    }
    match options.shutdown_mode {
        ShutdownMode::Smart => failure.line(
            "HINT: The \"-m fast\" option immediately disconnects sessions rather than\nwaiting for session-initiated disconnection.",
        ),
        ShutdownMode::Fast | ShutdownMode::Immediate => failure,
    }
}

/// The server's report, if it makes one. One that an earlier server left behind does not count, even if this one happens to
/// have the same process id, as in a container.
fn report(options: &Options, pid: i32) -> Option<Status> {
    let status = Status::read(&options.data_dir).ok()??;
    let is_of = |started: i64| status.updated >= started as f64;
    (status.pid == pid && server::read_pid_file(options).is_some_and(|file| is_of(file.start_time)))
        .then_some(status)
}

/// Unix seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
