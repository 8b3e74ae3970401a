//! How long a stop will take: from what was seen, one item for each thing that it waits for, and the total.
//!
//! What goes on side by side is not added up. From the order to stop on, walsenders send and the archiver archives; beside them
//! sessions leave, then the checkpoint is made. The end is where the slowest of the three comes to:
//!
//! ```text
//! sessions (smart: until their clients leave) -> checkpoint -> the segment that it closes is archived
//! walsenders: what is missing / rate
//! archiver: files / rate
//! ```
//!
//! - A rate is what was measured while there was something to do. A checkpoint that was never measured is assumed to write
//!   [`ASSUMED_WRITE_RATE`], and says so; a walsender or archiver that was never measured has no expected end, unless next to
//!   nothing is left, or all is sent and the receiver's report alone is missing (SR1).
//! - What does not move for [`STILL_SECONDS`] has no expected end, whatever it did before.
//! - A failing archiver does not hold a stop: it tries three times, a second apart.
//! - Something that has a bound ends there at the latest. A checkpoint has none: it is never given up.
//! - A walsender that stands still with something unsent has a full socket: the checkpoint waits for it (K8 of `checkpointer`).
//! - Prepared transactions survive a stop and are no rows.

use std::time::Duration;

use crate::item::{Condition, Item, Kind};
use crate::observation::{
    ArchiverSeen, BoundsSeen, CheckpointPhase, Observation, SessionSeen, WalSenderSeen,
};
use crate::plan::Plan;
use crate::status::{Mode, Phase};
use crate::words;

/// Bytes per second at which a checkpoint is assumed to write and sync, as long as none was measured.
pub const ASSUMED_WRITE_RATE: f64 = 100.0 * 1024.0 * 1024.0;
/// Seconds without progress after which something is said not to move.
pub const STILL_SECONDS: f64 = 2.0;
/// Bytes missing at a receiver that are sent in no time, even if its speed was never measured.
pub const LITTLE: u64 = 1024 * 1024;
/// Seconds after which an immediate stop kills what has not ended. C: `SIGKILL_CHILDREN_AFTER_SECS`.
pub const KILL_SECONDS: f64 = 5.0;
/// What a failing archiver takes to give up: three tries a second apart, the time of the command itself not counted.
const FAILING_SECONDS: f64 = 2.0;
/// What one segment is assumed to take if the archiver was never measured.
const ASSUMED_SEGMENT_SECONDS: f64 = 1.0;
/// Bytes per second assumed of a receiver that was never measured and lacks little.
const ASSUMED_SEND_RATE: f64 = 10.0 * 1024.0 * 1024.0;

/// What a stop in this mode would wait for, were it ordered now: rows in the order in which it comes to them, the last one of
/// [`Kind::Total`].
pub fn forecast(seen: &Observation, mode: Mode) -> Vec<Item> {
    if mode == Mode::Immediate {
        return immediate(seen);
    }
    let bounds = Bounds::of_plan(&seen.bounds, mode);
    let mut items = Vec::new();
    match mode {
        Mode::Smart => {
            let clients = seen.sessions.iter().filter(|session| session.has_client());
            items.extend(clients.map(|session| waiting_session(session, bounds.sessions)));
        }
        _ => items.extend(seen.sessions.iter().filter(|session| session.in_transaction).map(transaction)),
    }
    items.push(checkpoint(seen, Condition::NotBegun));
    items.extend(seen.walsenders.iter().map(|walsender| sender(walsender, &bounds)));
    items
        .extend(seen.archiver.iter().map(|seen_archiver| archiver(seen_archiver, &bounds, !seen.is_standby)));
    let mut total = total(&items, seen);
    let others =
        seen.sessions.iter().filter(|session| session.has_client() && !session.in_transaction).count();
    if mode == Mode::Fast && others > 0 {
        let plural = if others == 1 { "" } else { "s" };
        append(&mut total, format!("{others} session{plural} without a transaction sent away at once"));
    }
    items.push(total);
    items
}

/// An immediate stop waits for nothing but the ends of processes.
fn immediate(seen: &Observation) -> Vec<Item> {
    let processes = Item {
        name: Some("all processes".to_owned()),
        seconds: Some(0.0),
        bound: Some(KILL_SECONDS),
        condition: Condition::NotBegun,
        detail: Some("ended at once".to_owned()),
        ..Item::new(Kind::Process)
    };
    let unfinished = seen.sessions.iter().filter(|session| session.in_transaction).count();
    let mut total = Item {
        seconds: Some(0.0),
        condition: Condition::NotBegun,
        detail: Some("no clean shutdown: the next start recovers from WAL".to_owned()),
        ..Item::new(Kind::Total)
    };
    if unfinished > 0 {
        let plural = if unfinished == 1 { "" } else { "s" };
        append(&mut total, format!("{unfinished} transaction{plural} cut off"));
    }
    vec![processes, total]
}

/// What a stop under way waits for: one item for each of the processes (pid, title) that it waits for now, with figures where the
/// observation has some. If the checkpoint waits for walsenders, they are named too, although the postmaster does not wait for
/// them yet.
pub fn awaited(seen: &Observation, phase: Phase, processes: &[(i32, String)]) -> Vec<Item> {
    let bounds = Bounds::of_stop(&seen.bounds);
    let mut items: Vec<Item> = Vec::new();
    for (pid, title) in processes {
        items.push(process(seen, phase, *pid, title, &bounds));
    }
    let held_up = seen.checkpoint.phase == CheckpointPhase::WaitsForWalSenders;
    if held_up && items.iter().any(|item| item.kind == Kind::Checkpoint) {
        let holders: Vec<Item> = seen
            .walsenders
            .iter()
            .filter(|walsender| {
                walsender.state != STOPPING && items.iter().all(|item| item.pid != Some(walsender.pid))
            })
            .map(|walsender| sender(walsender, &bounds))
            .collect();
        items.extend(holders);
    }
    items
}

/// Seconds until the end of a stop under way, with all that is still to come after this phase; `None` if nobody can say.
/// `awaited` is what [`awaited`] gave for it.
pub fn remaining_seconds(seen: &Observation, phase: Phase, awaited: &[Item]) -> Option<f64> {
    let bounds = Bounds::of_stop(&seen.bounds);
    let mut items: Vec<Item> = awaited.to_vec();
    if phase <= Phase::Checkpoint && items.iter().all(|item| item.kind != Kind::Checkpoint) {
        items.push(checkpoint(seen, Condition::NotBegun));
    }
    let closes_segment = phase < Phase::Wal && !seen.is_standby;
    if phase <= Phase::Wal {
        let senders = seen.walsenders.iter().map(|walsender| sender(walsender, &bounds));
        let archiver = seen.archiver.iter().map(|seen| archiver(seen, &bounds, closes_segment));
        for item in senders.chain(archiver) {
            if items.iter().all(|known| known.pid != item.pid) {
                items.push(item);
            }
        }
    }
    total_seconds(&items, closes_segment)
}

/// Seconds until all of these things are done: what works side by side is not added up. `None` if one of them has neither an
/// expected end nor a bound (SR2). `closes_segment`: the checkpoint closes a segment of WAL, which the archiver gets behind it.
fn total_seconds(items: &[Item], closes_segment: bool) -> Option<f64> {
    let slowest = |kinds: &[Kind]| {
        let of_kind = items.iter().filter(|item| kinds.contains(&item.kind));
        of_kind.map(at_most).try_fold(0.0_f64, |most, end| Some(most.max(end?)))
    };
    let sessions = slowest(&[Kind::Session, Kind::Transaction, Kind::Process])?;
    let (walsenders, archiver) = (slowest(&[Kind::WalSender])?, slowest(&[Kind::Archiver])?);
    let Some(checkpoint) = items.iter().find(|item| item.kind == Kind::Checkpoint) else {
        return Some(sessions.max(walsenders).max(archiver));
    };
    let begun = sessions.max(held_up_for(items, checkpoint));
    let checkpointed = begun + at_most(checkpoint)?;
    let archived = items.iter().find(|item| item.kind == Kind::Archiver).map_or(0.0, |item| {
        (checkpointed + last_cycle(item, closes_segment)).min(item.bound.unwrap_or(f64::INFINITY))
    });
    Some(checkpointed.max(walsenders).max(archiver).max(archived))
}

/// The moment at which a thing is done or no longer waited for.
fn at_most(item: &Item) -> Option<f64> {
    match (item.seconds, item.bound) {
        (Some(seconds), Some(bound)) => Some(seconds.min(bound)),
        (seconds, bound) => seconds.or(bound),
    }
}

/// How long the checkpoint waits for walsenders before it begins.
fn held_up_for(items: &[Item], checkpoint: &Item) -> f64 {
    let holds = |item: &&Item| {
        item.kind == Kind::WalSender
            && item.condition == Condition::NotMoving
            && item.unsent.is_some_and(|b| b > 0)
    };
    match checkpoint.condition {
        Condition::NotBegun => items.iter().filter(holds).filter_map(at_most).fold(0.0, f64::max),
        _ => 0.0,
    }
}

/// What the archiver takes behind the checkpoint, with nothing else to do: its three tries, or the segment that was closed.
fn last_cycle(archiver: &Item, closes_segment: bool) -> f64 {
    match archiver.rate {
        _ if archiver.condition == Condition::Failing => FAILING_SECONDS,
        _ if !closes_segment => 0.0,
        Some(rate) => 1.0 / rate,
        None => ASSUMED_SEGMENT_SECONDS,
    }
}

/// The title of a process that refuses a client.
pub const REFUSED_CLIENT: &str = "refused client";
const STOPPING: &str = "stopping";

/// When something is given up, in seconds from now.
struct Bounds {
    sessions: Option<f64>,
    /// Of a walsender that holds up the checkpoint.
    before_checkpoint: Option<f64>,
    walsender: Option<f64>,
    archiver: Option<f64>,
}

impl Bounds {
    /// Of a stop that is not ordered yet.
    fn of_plan(seen: &BoundsSeen, mode: Mode) -> Bounds {
        let deadline = seen.deadline.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        let plan = deadline.map(|total| Plan::divide(total, mode == Mode::Smart));
        let share = |part: fn(&Plan) -> Duration| plan.as_ref().map(|plan| part(plan).as_secs_f64());
        let end = share(|plan| plan.end);
        Bounds {
            sessions: share(|plan| plan.sessions),
            before_checkpoint: earlier(seen.walsender, share(|plan| plan.before_checkpoint)),
            walsender: earlier(seen.walsender, end),
            archiver: earlier(seen.archiver, end),
        }
    }

    /// Of a stop under way: what is left.
    fn of_stop(seen: &BoundsSeen) -> Bounds {
        let walsender = earlier(seen.walsender, seen.deadline);
        Bounds {
            sessions: seen.sessions,
            before_checkpoint: walsender,
            walsender,
            archiver: earlier(seen.archiver, seen.deadline),
        }
    }
}

fn earlier(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn append(item: &mut Item, text: String) {
    item.detail = Some(match item.detail.take() {
        Some(detail) => format!("{detail}, {text}"),
        None => text,
    });
}

/// A rate that can be divided by.
fn usable(rate: Option<f64>) -> Option<f64> {
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn waiting_session(session: &SessionSeen, bound: Option<f64>) -> Item {
    let state = match (session.in_transaction, session.idle) {
        (true, true) => "idle in transaction",
        (false, true) => "idle",
        (_, false) => "active",
    };
    Item {
        pid: Some(session.pid),
        name: named(&session.name),
        bound,
        condition: Condition::WaitsForClient,
        detail: Some(format!("waits for its client, {state}")),
        ..Item::new(Kind::Session)
    }
}

fn transaction(session: &SessionSeen) -> Item {
    let what = match session.xid {
        Some(xid) if session.is_committed => {
            format!("committed, its wait for a synchronous standby is ended at once, transaction {xid}")
        }
        Some(xid) => format!("rolled back at once, transaction {xid}"),
        None => "rolled back at once, has written nothing".to_owned(),
    };
    let name = if session.name.is_empty() { &session.kind } else { &session.name };
    Item {
        pid: Some(session.pid),
        name: named(name),
        seconds: Some(0.0),
        condition: Condition::NotBegun,
        detail: Some(what),
        ..Item::new(Kind::Transaction)
    }
}

/// The checkpoint; `condition` is what it does unless it is seen at work.
fn checkpoint(seen: &Observation, condition: Condition) -> Item {
    let figures = &seen.checkpoint;
    let rate = usable(figures.rate);
    let name = if seen.is_standby { "restartpoint" } else { "checkpoint" };
    let seconds = figures.bytes as f64 / rate.unwrap_or(ASSUMED_WRITE_RATE);
    let assumed = rate.is_none() && figures.bytes > 0;
    Item {
        name: Some(name.to_owned()),
        bytes: Some(figures.bytes),
        files: Some(figures.files),
        rate,
        seconds: Some(seconds),
        condition,
        detail: assumed.then(|| format!("{} assumed, none was measured", words::speed(ASSUMED_WRITE_RATE))),
        ..Item::new(Kind::Checkpoint)
    }
}

/// The checkpoint that a stop makes now.
fn running_checkpoint(seen: &Observation, pid: i32) -> Item {
    let phase = seen.checkpoint.phase;
    let condition = match phase {
        CheckpointPhase::Idle | CheckpointPhase::WaitsForWalSenders => Condition::NotBegun,
        CheckpointPhase::Writing | CheckpointPhase::Syncing | CheckpointPhase::Ending => Condition::Moving,
    };
    let mut item = Item { pid: Some(pid), ..checkpoint(seen, condition) };
    match phase {
        // The checkpointer has not looked yet how much it is.
        CheckpointPhase::Idle if item.bytes == Some(0) => {
            (item.bytes, item.files, item.seconds) = (None, None, None);
            item.detail = Some("not begun".to_owned());
        }
        CheckpointPhase::Idle | CheckpointPhase::Writing => {}
        CheckpointPhase::WaitsForWalSenders => append(&mut item, "waits for walsenders".to_owned()),
        // How long a sync takes nobody knows before it is over.
        CheckpointPhase::Syncing if seen.checkpoint.files > 0 => item.seconds = None,
        CheckpointPhase::Syncing | CheckpointPhase::Ending => {
            item.seconds = Some(0.0);
            item.detail = Some("all is on disk".to_owned());
        }
    }
    item
}

fn sender(seen: &WalSenderSeen, bounds: &Bounds) -> Item {
    let mut item = Item { pid: Some(seen.pid), name: named(&seen.name), ..Item::new(Kind::WalSender) };
    if !seen.streams {
        item.seconds = Some(0.0);
        item.condition = Condition::NotBegun;
        let what = if seen.state == "backup" { "a base backup, ended at once" } else { "ended at once" };
        item.detail = Some(what.to_owned());
        return item;
    }
    let bytes = seen.end.saturating_sub(seen.confirmed);
    let unsent = seen.end.saturating_sub(seen.sent).min(bytes);
    (item.bytes, item.unsent) = (Some(bytes), Some(unsent));
    item.rate = usable(seen.rate);
    item.bound = bounds.walsender;
    if bytes == 0 {
        item.seconds = Some(0.0);
        item.condition = Condition::Moving;
    } else if seen.still_for >= STILL_SECONDS {
        if unsent > 0 && seen.state != STOPPING {
            item.bound = bounds.before_checkpoint;
        }
        item.condition = Condition::NotMoving;
        item.detail = Some(format!("not moving for {}", words::duration(seen.still_for)));
    } else if let Some(rate) = item.rate {
        // What was sent before the last report goes on arriving until the next one, which may be 10 s away.
        item.seconds = Some((bytes as f64 / rate - seen.report_age.max(0.0)).max(unsent as f64 / rate));
        item.condition = Condition::Moving;
    } else if bytes <= LITTLE || unsent == 0 {
        // If all is sent, most of it has arrived, and it is the report that is missing.
        item.seconds = Some(bytes.min(LITTLE) as f64 / ASSUMED_SEND_RATE);
        item.condition = Condition::Moving;
    } else {
        item.detail = Some("its speed was never measured".to_owned());
    }
    item
}

/// The archiver. `closing`: the stop will close a segment for it.
fn archiver(seen: &ArchiverSeen, bounds: &Bounds, closing: bool) -> Item {
    let rate = usable(seen.rate);
    let mut item = Item {
        pid: Some(seen.pid),
        files: Some(seen.files),
        rate,
        bound: bounds.archiver,
        ..Item::new(Kind::Archiver)
    };
    let files = seen.files.saturating_add(u64::from(closing));
    if let Some(error) = &seen.failing {
        item.condition = Condition::Failing;
        item.seconds = Some(FAILING_SECONDS);
        item.detail =
            Some(format!("failing: {error}, after at most three tries its files stay for the next start"));
        return item;
    }
    match rate {
        Some(rate) => {
            item.seconds = Some(files as f64 / rate);
            item.condition = Condition::Moving;
        }
        None if seen.files == 0 => {
            item.seconds = Some(files as f64 * ASSUMED_SEGMENT_SECONDS);
            item.condition = Condition::NotBegun;
        }
        None => item.detail = Some("its speed was never measured".to_owned()),
    }
    if closing {
        append(&mut item, "the segment that the stop closes comes in addition".to_owned());
    }
    item
}

/// An archiver in its last cycle that has not heard of it: what it knew before is not what waits.
fn not_counted(mut item: Item) -> Item {
    item.files = None;
    if item.condition != Condition::Failing {
        (item.seconds, item.condition) = (None, Condition::Unknown);
        item.detail = Some("has not noticed the stop yet".to_owned());
    }
    item
}

/// What is known of one process that is awaited now.
fn process(seen: &Observation, phase: Phase, pid: i32, title: &str, bounds: &Bounds) -> Item {
    // In any other phase they were told to leave, not to finish: an immediate stop.
    let finishes = matches!(phase, Phase::Checkpoint | Phase::Wal);
    if let Some(walsender) = seen.walsenders.iter().find(|walsender| finishes && walsender.pid == pid) {
        return sender(walsender, bounds);
    }
    if let Some(seen_archiver) = seen.archiver.as_ref().filter(|archiver| finishes && archiver.pid == pid) {
        let item = archiver(seen_archiver, bounds, phase < Phase::Wal && !seen.is_standby);
        return if phase < Phase::Wal || seen_archiver.stops { item } else { not_counted(item) };
    }
    if title.starts_with("checkpointer") && phase == Phase::Checkpoint {
        return running_checkpoint(seen, pid);
    }
    let session = seen.sessions.iter().find(|session| session.pid == pid);
    match session.filter(|session| session.has_client()) {
        Some(session) if phase == Phase::Sessions => return waiting_session(session, bounds.sessions),
        Some(session) => return leaving(Kind::Session, pid, &session.name),
        None => {}
    }
    let kind = match title {
        "walsender" => Kind::WalSender,
        "archiver" | "archiver process" => Kind::Archiver,
        "client backend" => Kind::Session,
        _ => Kind::Process,
    };
    match kind {
        // Nobody tells it anything: it reads the client's start-up packet, answers and ends.
        Kind::Process if title == REFUSED_CLIENT => {
            Item { detail: Some("is being refused".to_owned()), ..leaving(kind, pid, title) }
        }
        Kind::Process => leaving(kind, pid, title),
        Kind::Session if phase == Phase::Sessions => {
            let unknown = SessionSeen { pid, ..SessionSeen::default() };
            Item {
                detail: Some("waits for its client".to_owned()),
                ..waiting_session(&unknown, bounds.sessions)
            }
        }
        _ => leaving(kind, pid, ""),
    }
}

fn leaving(kind: Kind, pid: i32, name: &str) -> Item {
    let detail = Some("told to leave".to_owned());
    Item { pid: Some(pid), name: named(name), detail, ..Item::new(kind) }
}

/// The last row: how long in all, or because of whom nobody can say.
fn total(items: &[Item], seen: &Observation) -> Item {
    let deadline = seen.bounds.deadline;
    let mut total = Item {
        seconds: total_seconds(items, !seen.is_standby),
        bound: deadline,
        condition: Condition::NotBegun,
        ..Item::new(Kind::Total)
    };
    if total.seconds.is_none() {
        total.condition = Condition::Unknown;
        total.detail = Some(format!("nobody can say: {}", culprits(items)));
    } else if let (Some(seconds), Some(deadline)) = (total.seconds, deadline)
        && seconds > deadline
    {
        total.detail = Some("late: a checkpoint is never given up".to_owned());
    }
    total
}

/// Who makes it impossible to say how long.
fn culprits(items: &[Item]) -> String {
    let endless: Vec<&Item> = items.iter().filter(|item| at_most(item).is_none()).collect();
    let sessions = endless.iter().filter(|item| item.kind == Kind::Session).count();
    let mut texts = Vec::new();
    match sessions {
        0 => {}
        1 => texts.push("1 client decides when it leaves".to_owned()),
        _ => texts.push(format!("{sessions} clients decide when they leave")),
    }
    for item in endless.iter().filter(|item| item.kind != Kind::Session) {
        let what =
            if item.condition == Condition::NotMoving { "does not move" } else { "was never measured" };
        texts.push(format!("{} {what}", item.who()));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests;
