//! START_REPLICATION: what comes before and after the stream.
//!
//! C counterpart: `StartReplication` of walsender.c.

use std::os::fd::AsRawFd;

use common::{Lsn, SqlState};
use elog::{Result, error};
use libpq::message::reply::{self, Copy};
use libpq::{Port, WaitPolicy};
use miscinit::signals;
use replication::walsnd::State;
use replication::{slot, syncrep, walsnd};

use crate::grammar::StartReplication;
use crate::position::{Branch, Switch};
use crate::rows::{self, Kind};
use crate::stream::{End, Stream};
use crate::{STREAMING, stopping};

/// What ended with the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both sides have said CopyDone; the session goes on.
    Copy,
    /// The session: nothing more is to be said.
    Session,
}

/// Runs the command, but for its last CommandComplete. C: `StartReplication`.
///
/// # Errors
/// XX000 for a start that this server cannot serve; what the slot, the files and the client say.
pub(crate) fn run(port: &mut Port, policy: &mut dyn WaitPolicy, asked: &StartReplication) -> Result<Ended> {
    if let Some(name) = &asked.slot {
        slot::acquire(name, true)?;
        if slot::mine().is_some_and(|slot| slot.database.is_valid()) {
            return Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cannot use a logical replication slot for physical replication"
            ));
        }
    }
    let (mut branch, flushed) = Branch::choose(asked.timeline, asked.start)?;
    // A timeline that has nothing behind the start: straight to the news of the next one.
    if branch.switch.is_none_or(|switch| asked.start < switch.end) {
        walsnd::set_state(State::Catchup);
        reply::copy_response(port.out(), Copy::Both, false, 0);
        port.flush(policy)?;
        check_start(asked.start, flushed)?;
        match stream(port, policy, branch, asked.start)? {
            End::Done(at_end) => branch = at_end,
            End::Leave => return Ok(Ended::Session),
        }
        if stopping::is_asked() {
            return Ok(Ended::Session);
        }
        walsnd::set_state(State::Startup);
    }
    if asked.slot.is_some() {
        slot::release();
    }
    if let Some(switch) = branch.switch {
        tell_next_timeline(port, switch);
    }
    // The stream's own; the command's follows. Clients of PostgreSQL read both.
    reply::command_complete(port.out(), "START_STREAMING");
    Ok(Ended::Copy)
}

/// What is not flushed here may never come to be, or come to be something else.
fn check_start(start: Lsn, flushed: Lsn) -> Result<()> {
    if start <= flushed {
        return Ok(());
    }
    Err(error!(
        SqlState::INTERNAL_ERROR,
        "requested starting point {start} is ahead of the WAL flush position of this server {flushed}"
    ))
}

fn stream(port: &mut Port, policy: &mut dyn WaitPolicy, branch: Branch, start: Lsn) -> Result<End> {
    walsnd::begin_stream(start);
    syncrep::init_walsender_config();
    STREAMING.set(true);
    // A farewell from the signal handler could land in the middle of a message, and be taken for WAL: while a stream runs it
    // goes through the port, from where the stream sleeps.
    signals::set_farewell_fd(-1);
    let ended = Stream::new(port, policy, branch, start).run();
    STREAMING.set(false);
    port.drop_direct_buffer();
    if !port.is_encrypted() && !port.is_send_pending() {
        signals::set_farewell_fd(port.socket().as_raw_fd());
    }
    ended
}

/// The one row of a stream that ends with its timeline.
fn tell_next_timeline(port: &mut Port, switch: Switch) {
    rows::columns(port, &[("next_tli", Kind::Int8), ("next_tli_startpos", Kind::Text)]);
    let (next, start) = (switch.next.0.to_string(), switch.end.to_string());
    rows::row(port, &[Some(&next), Some(&start)]);
}
