//! What is told of a stop, and the bounds it is given.

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use stopreport::exchange::{self, Answer};
use stopreport::{Kind, Mode, Phase, Status, files};

use crate::harness::{Cluster, Scenario, wait_for};

macro_rules! scenarios {
    ($($name:ident)*) => { pub(crate) const ALL: &[Scenario] = &[$((stringify!($name), $name)),*]; };
}

scenarios! {
    slow_stop_tells_what_it_waits_for smart_stop_names_the_session_it_waits_for quick_stop_costs_nothing
    stop_survives_what_it_cannot_write stop_survives_a_panic_of_the_observer
    leftovers_are_removed_at_start
    deadline_turns_smart_into_fast deadline_during_a_stop_counts_and_being_late_is_said deadline_of_garbage_is_ignored
    forecast_is_answered
}

/// The status file, once its content is as wanted.
#[track_caller]
fn wait_for_report(cluster: &Cluster, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    wait_for(&format!("{what}; log:\n{}", cluster.log()), || {
        Status::read(cluster.directory()).unwrap().filter(|status| wanted(status))
    })
}

fn slow_stop_tells_what_it_waits_for() {
    let mut cluster = Cluster::started(&[]);
    let hold = cluster.path("hold_checkpoint");
    fs::write(&hold, "").unwrap();
    let checkpointer = cluster.toy("checkpointer");
    cluster.signal(Signal::SIGINT);
    let status = wait_for_report(&cluster, "a checkpoint", |status| status.phase == Phase::Checkpoint);
    assert_eq!((status.pid, status.mode, status.deadline), (cluster.pid(), Mode::Fast, None));
    assert!(status.since <= status.phase_since && status.phase_since <= status.updated, "{status:?}");
    let [item] = status.awaited.as_slice() else { panic!("{status:?}") };
    assert_eq!((item.kind, item.pid), (Kind::Checkpoint, Some(checkpointer)));
    assert_eq!((item.bytes, item.initial, item.seconds), (Some(50 << 20), Some(50 << 20), Some(5.0)));
    wait_for_report(&cluster, "a newer report", |newer| newer.updated > status.updated);

    let refused = cluster.connect();
    assert_eq!(refused.verdict, "Shutdown");
    let wanted = ["fast mode", "waits for", &format!("checkpoint (PID {checkpointer}): 50 MB to write")];
    assert!(wanted.iter().all(|text| refused.detail.contains(text)), "{}", refused.detail);
    // It has ended, or the stop would be in its last phase for a moment.
    drop(refused);
    fs::remove_file(hold).unwrap();
    assert_eq!(cluster.exit_code(), Some(0));
    assert!(!cluster.log().contains("deadline"), "{}", cluster.log());
    cluster.check_nothing_left();
}

fn smart_stop_names_the_session_it_waits_for() {
    let mut cluster = Cluster::started(&[]);
    let session = cluster.connect();
    cluster.signal(Signal::SIGTERM);
    let status = wait_for_report(&cluster, "a report", |_| true);
    assert_eq!((status.mode, status.phase), (Mode::Smart, Phase::Sessions));
    assert_eq!(status.awaited.iter().map(|item| item.pid).collect::<Vec<_>>(), [Some(session.pid)]);
    // A more urgent order: the file says so, and goes on to tell when the stop began.
    let hold = cluster.path("hold_checkpoint");
    fs::write(&hold, "").unwrap();
    cluster.signal(Signal::SIGINT);
    let fast = wait_for_report(&cluster, "a checkpoint", |status| status.phase == Phase::Checkpoint);
    assert_eq!((fast.mode, fast.since), (Mode::Fast, status.since));
    fs::remove_file(hold).unwrap();
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

/// Nothing is looked at or written in the first 100 ms. On a machine that is too busy no stop may be that quick; then there is
/// nothing to see here.
fn quick_stop_costs_nothing() {
    for _ in 0..10 {
        let mut cluster = Cluster::started(&[]);
        // All are there, or they would hold up the stop.
        for kind in ["checkpointer", "background writer", "walwriter", "autovacuum launcher"] {
            cluster.toy(kind);
        }
        let ordered = Instant::now();
        cluster.signal(Signal::SIGINT);
        assert_eq!(cluster.exit_code(), Some(0));
        if ordered.elapsed() < Duration::from_millis(100) {
            assert!(!cluster.log().contains("observes"), "{}", cluster.log());
            return;
        }
    }
}

fn stop_survives_what_it_cannot_write() {
    let mut cluster = Cluster::started(&[]);
    fs::create_dir(cluster.path("postmaster.stop.tmp")).unwrap();
    fs::write(cluster.path("hold_checkpoint"), "").unwrap();
    cluster.signal(Signal::SIGINT);
    cluster.wait_for_log("could not write file \"postmaster.stop\": ");
    let tries = || cluster.log().matches("observes").count();
    let seen = tries();
    wait_for("two more tries", || (tries() > seen + 1).then_some(()));
    assert_eq!(cluster.log().matches("could not write file").count(), 1, "it complains once");
    assert!(cluster.connect().detail.contains("waits for"), "others are told nevertheless");
    fs::remove_file(cluster.path("hold_checkpoint")).unwrap();
    assert_eq!(cluster.exit_code(), Some(0));
}

fn stop_survives_a_panic_of_the_observer() {
    let mut cluster = Cluster::started(&[]);
    for file in ["panic", "hold_checkpoint"] {
        fs::write(cluster.path(file), "").unwrap();
    }
    cluster.signal(Signal::SIGINT);
    let status = wait_for_report(&cluster, "a checkpoint", |status| status.phase == Phase::Checkpoint);
    assert_eq!(status.awaited.len(), 1, "who is awaited is known all the same: {status:?}");
    fs::remove_file(cluster.path("hold_checkpoint")).unwrap();
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

fn leftovers_are_removed_at_start() {
    let mut cluster = Cluster::new(&[]);
    for file in files::ALL {
        fs::write(cluster.path(file), "1").unwrap();
    }
    cluster.start();
    cluster.wait_for_status("ready   ");
    for file in files::ALL {
        assert!(!cluster.path(file).exists(), "{file} is left");
    }
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    assert!(!cluster.log().contains("the stop is to end within"), "a deadline of long ago");
}

fn deadline_turns_smart_into_fast() {
    let mut cluster = Cluster::started(&[]);
    let mut session = cluster.connect();
    fs::write(cluster.path(files::DEADLINE), "0.8").unwrap();
    cluster.signal(Signal::SIGTERM);
    assert_eq!(cluster.exit_code(), Some(0));
    assert_eq!(session.stream.read(&mut [0]).unwrap(), 0, "the session has ended");
    assert!(cluster.log().contains("smart stop within 800ms"), "it is published: {}", cluster.log());
    let log = cluster.server_log();
    let at = log.iter().position(|line| line == "LOG:  received smart shutdown request").unwrap();
    assert_eq!(
        log[at + 1..at + 5],
        [
            "LOG:  the stop is to end within 0.8 s",
            "LOG:  smart shutdown becomes fast, 1 client is disconnected",
            "DETAIL:  The deadline of the stop leaves clients no more time.",
            "LOG:  aborting any active transactions",
        ]
    );
    cluster.check_nothing_left();
}

fn deadline_during_a_stop_counts_and_being_late_is_said() {
    let mut cluster = Cluster::started(&[]);
    fs::write(cluster.path("hold_checkpoint"), "").unwrap();
    cluster.signal(Signal::SIGINT);
    wait_for_report(&cluster, "a checkpoint", |status| status.phase == Phase::Checkpoint);
    fs::write(cluster.path(files::DEADLINE), "0.3\n").unwrap();
    // The same mode again, which means nothing by itself.
    cluster.signal(Signal::SIGINT);
    cluster.wait_for_log("the stop is to end within 0.3 s");
    assert!(cluster.log().contains("fast stop within 300ms"), "it is published: {}", cluster.log());
    wait_for_report(&cluster, "the deadline to pass", |status| {
        status.deadline.is_some_and(|deadline| deadline < status.updated)
    });
    fs::remove_file(cluster.path("hold_checkpoint")).unwrap();
    assert_eq!(cluster.exit_code(), Some(0));
    let log = cluster.server_log();
    assert_eq!(log.iter().filter(|line| line.contains("received fast shutdown request")).count(), 1);
    let at = log.iter().position(|line| line.ends_with(" after its deadline of 0.3 s")).unwrap();
    assert!(log[at].starts_with("LOG:  the stop ends "), "{}", log[at]);
    assert!(log[at + 1].contains("; making the shutdown checkpoint: "), "{}", log[at + 1]);
    assert_eq!(log[at + 2..], ["LOG:  database system is shut down"]);
    cluster.check_nothing_left();
}

fn deadline_of_garbage_is_ignored() {
    let mut cluster = Cluster::started(&[]);
    fs::write(cluster.path(files::DEADLINE), "soon").unwrap();
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    let log = cluster.log();
    assert!(log.contains("ignoring file \"deadline\", which does not contain a number of seconds"), "{log}");
    assert!(!log.contains("stop within"), "{log}");
    cluster.check_nothing_left();
}

fn forecast_is_answered() {
    let mut cluster = Cluster::started(&[]);
    for word in ["4711-1", "4711-2"] {
        exchange::place_request(cluster.directory(), word).unwrap();
        cluster.signal(Signal::SIGUSR1);
        let answer = wait_for("an answer", || {
            Answer::read(cluster.directory()).unwrap().filter(|answer| answer.nonce == word)
        });
        assert_eq!(answer.observation.checkpoint.bytes, 50 << 20);
        assert!(!cluster.path(files::FORECAST_REQUEST).exists(), "the request is removed");
    }
    assert_eq!(cluster.connect().verdict, "Ok", "nothing is stopped");
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}
