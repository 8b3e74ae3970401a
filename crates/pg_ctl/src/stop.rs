//! `stop` and `restart`.
//!
//! C counterpart: `do_stop`, `do_restart`, `wait_for_postmaster_stop`.

use crate::options::{Options, ShutdownMode};
use crate::process;
use crate::progress::Progress;
use crate::report::{Failure, Outcome, complain};
use crate::server::{self, Holder};
use crate::start;

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
    send_stop_signal(options, pid)?;
    if !options.wait {
        options.say("server shutting down\n");
        return Ok(());
    }
    wait(options)
}

/// `pg_ctl restart`: always waits for the stop, whatever -W says.
pub(crate) fn restart(options: &Options) -> Outcome {
    let pid = match server::holder(options, false)? {
        Holder::Nobody => {
            let text = server::not_running(options).line("trying to start server anyway");
            text.print();
            return start::start_again(options);
        }
        Holder::SingleUser(pid) if process::is_alive(pid) => {
            let message = format!("cannot restart server; single-user server is running (PID: {pid})");
            return Err(Failure::new(message).line("Please terminate the single-user server and try again."));
        }
        Holder::SingleUser(pid) | Holder::Postmaster(pid) => pid,
    };
    if process::is_alive(pid) {
        send_stop_signal(options, pid)?;
        wait(options)?;
    } else {
        complain(&format!(
            "pg_ctl: old server process (PID: {pid}) seems to be gone\nstarting server anyway"
        ));
    }
    start::start_again(options)
}

fn send_stop_signal(options: &Options, pid: i32) -> Outcome {
    process::send(pid, options.shutdown_mode.signal())
        .map_err(|error| Failure::new(format!("could not send stop signal (PID: {pid}): {}", error.desc())))
}

/// Waits until the pid file is gone, which the server removes last.
fn wait(options: &Options) -> Outcome {
    options.say("waiting for server to shut down...");
    if !is_stopped_in_time(options)? {
        options.say(" failed\n");
        let failure = Failure::new("server does not shut down");
        return Err(match options.shutdown_mode {
            ShutdownMode::Smart => failure.line(
                "HINT: The \"-m fast\" option immediately disconnects sessions rather than\nwaiting for session-initiated disconnection.",
            ),
            ShutdownMode::Fast | ShutdownMode::Immediate => failure,
        });
    }
    options.say(" done\nserver stopped\n");
    Ok(())
}

fn is_stopped_in_time(options: &Options) -> Outcome<bool> {
    let mut progress = Progress::new(options);
    while !progress.is_over() {
        let pause = progress.pause();
        let pid = match server::holder(options, false)? {
            Holder::Nobody => return Ok(true),
            Holder::Postmaster(pid) | Holder::SingleUser(pid) => pid,
        };
        if process::send(pid, None).is_err() {
            // It has ended, either just now with its file removed, or badly with the file left behind.
            return Ok(server::holder(options, false)? == Holder::Nobody);
        }
        std::thread::sleep(pause);
    }
    Ok(false)
}
