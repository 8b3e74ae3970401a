//! Observations in, sentences out: each kind of thing in each condition, then how they add up.

use super::*;
use crate::observation::CheckpointSeen;

const MB: u64 = 1 << 20;

/// Nothing dirty, nobody there.
fn idle() -> Observation {
    let checkpoint = CheckpointSeen { rate: Some(50.0 * MB as f64), ..CheckpointSeen::default() };
    Observation { checkpoint, ..Observation::default() }
}

fn client(pid: i32) -> SessionSeen {
    SessionSeen {
        pid,
        name: "alice@shop".to_owned(),
        kind: "client backend".to_owned(),
        idle: true,
        ..SessionSeen::default()
    }
}

/// Streams at 10 MB a second; so many bytes are missing, half of them unsent.
fn streaming(pid: i32, missing: u64) -> WalSenderSeen {
    let end = 0x1_0000_0000;
    WalSenderSeen {
        pid,
        name: format!("s{pid}"),
        state: "streaming".to_owned(),
        streams: true,
        sent: end - missing / 2,
        confirmed: end - missing,
        end,
        rate: Some(10.0 * MB as f64),
        still_for: 0.0,
        report_age: 0.0,
    }
}

/// Archives 4 files a second.
fn archiving(files: u64) -> Option<ArchiverSeen> {
    Some(ArchiverSeen { pid: 33, files, stops: true, rate: Some(4.0), workers: 1, failing: None })
}

#[track_caller]
fn check(seen: &Observation, mode: Mode, expected: &[&str]) {
    let items = forecast(seen, mode);
    let sentences: Vec<String> = items.iter().map(Item::sentence).collect();
    assert_eq!(sentences, expected);
    assert_eq!(items.iter().filter(|item| item.kind == Kind::Total).count(), 1);
    assert_eq!(items.last().unwrap().kind, Kind::Total);
}

/// The total of the fast stop, rounded to tenths.
#[track_caller]
fn check_total(seen: &Observation, mode: Mode, expected: Option<f64>) {
    let total = forecast(seen, mode).pop().unwrap();
    assert_eq!(
        total.seconds.map(|seconds| (seconds * 10.0).round() / 10.0),
        expected,
        "{}",
        total.sentence()
    );
}

#[test]
fn nothing_to_wait_for() {
    let expected = ["checkpoint: nothing to write", "total"];
    check(&idle(), Mode::Fast, &expected);
    check(&idle(), Mode::Smart, &expected);
    check_total(&idle(), Mode::Fast, Some(0.0));
}

#[test]
fn a_smart_stop_waits_for_clients_and_says_so() {
    let mut seen = idle();
    let worker = SessionSeen { kind: "autovacuum worker".to_owned(), in_transaction: true, ..client(9) };
    seen.sessions = vec![
        client(1),
        SessionSeen { in_transaction: true, ..client(2) },
        SessionSeen { in_transaction: true, idle: false, ..client(3) },
        SessionSeen { name: String::new(), idle: false, ..client(4) },
        worker,
    ];
    check(
        &seen,
        Mode::Smart,
        &[
            "session alice@shop (PID 1): waits for its client, idle",
            "session alice@shop (PID 2): waits for its client, idle in transaction",
            "session alice@shop (PID 3): waits for its client, active",
            "session (PID 4): waits for its client, active",
            "checkpoint: nothing to write",
            "total: nobody can say: 4 clients decide when they leave",
        ],
    );
    seen.sessions.truncate(1);
    let total = forecast(&seen, Mode::Smart).pop().unwrap();
    assert_eq!(total.sentence(), "total: nobody can say: 1 client decides when it leaves");
    check_total(&seen, Mode::Smart, None);
}

#[test]
fn a_fast_stop_rolls_back() {
    let mut seen = idle();
    let worker = SessionSeen {
        name: String::new(),
        kind: "autovacuum worker".to_owned(),
        in_transaction: true,
        ..client(9)
    };
    seen.sessions = vec![
        client(1),
        SessionSeen { in_transaction: true, xid: Some(734), ..client(2) },
        SessionSeen { in_transaction: true, ..client(3) },
        SessionSeen { in_transaction: true, xid: Some(735), is_committed: true, ..client(4) },
        worker,
        client(5),
    ];
    check(
        &seen,
        Mode::Fast,
        &[
            "transaction of alice@shop (PID 2): rolled back at once, transaction 734",
            "transaction of alice@shop (PID 3): rolled back at once, has written nothing",
            "transaction of alice@shop (PID 4): committed, its wait for a synchronous standby is ended at once, transaction 735",
            "transaction of autovacuum worker (PID 9): rolled back at once, has written nothing",
            "checkpoint: nothing to write",
            "total: 2 sessions without a transaction sent away at once",
        ],
    );
    check_total(&seen, Mode::Fast, Some(0.0));
}

#[test]
fn an_immediate_stop_waits_for_processes_only() {
    let mut seen = idle();
    seen.sessions = vec![client(1), SessionSeen { in_transaction: true, ..client(2) }];
    seen.checkpoint.bytes = 500 * MB;
    seen.walsenders = vec![streaming(7, 500 * MB)];
    seen.archiver = archiving(100);
    check(
        &seen,
        Mode::Immediate,
        &[
            "all processes: ended at once, killed after 5 s",
            "total: no clean shutdown: the next start recovers from WAL, 1 transaction cut off",
        ],
    );
    check_total(&seen, Mode::Immediate, Some(0.0));
}

#[test]
fn the_checkpoint() {
    let mut seen = idle();
    seen.checkpoint.bytes = 100 * MB;
    seen.checkpoint.files = 14;
    let total = "total: about 2 s";
    check(&seen, Mode::Fast, &["checkpoint: 100 MB to write, 14 files to sync, 50 MB/s, about 2 s", total]);
    seen.is_standby = true;
    check(
        &seen,
        Mode::Smart,
        &["restartpoint: 100 MB to write, 14 files to sync, 50 MB/s, about 2 s", total],
    );
    (seen.checkpoint.rate, seen.checkpoint.files) = (None, 0);
    check(
        &seen,
        Mode::Fast,
        &[
            "restartpoint: 100 MB to write, about 1 s, 100 MB/s assumed, none was measured",
            "total: about 1 s",
        ],
    );
    for unusable in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        seen.checkpoint.rate = Some(unusable);
        check_total(&seen, Mode::Fast, Some(1.0));
    }
}

#[test]
fn walsenders() {
    let mut seen = idle();
    seen.walsenders = vec![
        streaming(1, 400 * MB),
        streaming(2, 0),
        WalSenderSeen { rate: None, ..streaming(3, MB / 2) },
        WalSenderSeen { state: "backup".to_owned(), streams: false, ..streaming(4, 8 * MB) },
        WalSenderSeen { state: "startup".to_owned(), streams: false, ..streaming(5, 8 * MB) },
        // What it has confirmed lies behind what is to be sent, as when the three are read one after the other.
        WalSenderSeen { end: 5, sent: 10, confirmed: 10, ..streaming(6, 0) },
    ];
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "walsender \"s1\" (PID 1): 400 MB not yet confirmed (200 MB not even sent), 10 MB/s, about 40 s",
            "walsender \"s2\" (PID 2): everything confirmed",
            "walsender \"s3\" (PID 3): 512 kB not yet confirmed (256 kB not even sent), less than 1 s",
            "walsender \"s4\" (PID 4): a base backup, ended at once",
            "walsender \"s5\" (PID 5): ended at once",
            "walsender \"s6\" (PID 6): everything confirmed",
            "total: about 40 s",
        ],
    );
}

#[test]
fn a_walsender_that_does_not_move() {
    let mut seen = idle();
    seen.walsenders = vec![WalSenderSeen { still_for: 12.4, ..streaming(1, 400 * MB) }];
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "walsender \"s1\" (PID 1): 400 MB not yet confirmed (200 MB not even sent), not moving for 12 s",
            "total: nobody can say: walsender \"s1\" (PID 1) does not move",
        ],
    );
    check_total(&seen, Mode::Fast, None);
    // Shorter pauses are usual.
    seen.walsenders[0].still_for = 1.9;
    check_total(&seen, Mode::Fast, Some(40.0));
    // Nothing is missing: nothing could move.
    seen.walsenders[0] = WalSenderSeen { still_for: 99.0, ..streaming(1, 0) };
    check_total(&seen, Mode::Fast, Some(0.0));
}

#[test]
fn a_walsender_that_was_never_measured() {
    let mut seen = idle();
    seen.walsenders = vec![WalSenderSeen { rate: None, ..streaming(1, 400 * MB) }];
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "walsender \"s1\" (PID 1): 400 MB not yet confirmed (200 MB not even sent), its speed was never measured",
            "total: nobody can say: walsender \"s1\" (PID 1) was never measured",
        ],
    );
    // All of it is sent: its report alone is missing.
    let walsender = &mut seen.walsenders[0];
    walsender.sent = walsender.end;
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "walsender \"s1\" (PID 1): 400 MB not yet confirmed, less than 1 s",
            "total: less than 1 s",
        ],
    );
}

#[test]
fn the_archiver() {
    let mut seen = idle();
    seen.archiver = archiving(38);
    let closing = "the segment that the stop closes comes in addition";
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            &format!("archiver (PID 33): 38 files waiting, 4.0 files/s, about 10 s, {closing}"),
            "total: about 10 s",
        ],
    );
    seen.archiver = archiving(0);
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            &format!("archiver (PID 33): no file waiting, less than 1 s, {closing}"),
            "total: less than 1 s",
        ],
    );
    // A standby closes none.
    seen.is_standby = true;
    check(
        &seen,
        Mode::Fast,
        &["restartpoint: nothing to write", "archiver (PID 33): no file waiting", "total"],
    );
}

#[test]
fn an_archiver_that_fails() {
    let mut seen = idle();
    seen.archiver = archiving(38);
    let error = "archive command failed with exit code 1".to_owned();
    if let Some(archiver) = &mut seen.archiver {
        archiver.failing = Some(error);
    }
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "archiver (PID 33): 38 files waiting, about 2 s, failing: archive command failed with exit code 1, after \
             at most three tries its files stay for the next start",
            "total: about 2 s",
        ],
    );
    // The tries come after the checkpoint.
    seen.checkpoint.bytes = 500 * MB;
    check_total(&seen, Mode::Fast, Some(12.0));
}

#[test]
fn an_archiver_that_was_never_measured() {
    let mut seen = idle();
    seen.archiver = archiving(38).map(|archiver| ArchiverSeen { rate: None, ..archiver });
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: nothing to write",
            "archiver (PID 33): 38 files waiting, its speed was never measured, the segment that the stop closes comes in \
             addition",
            "total: nobody can say: archiver (PID 33) was never measured",
        ],
    );
    seen.archiver = seen.archiver.map(|archiver| ArchiverSeen { files: 0, ..archiver });
    check_total(&seen, Mode::Fast, Some(1.0));
}

#[test]
fn what_works_side_by_side_is_not_added_up() {
    let mut seen = idle();
    seen.checkpoint.bytes = 500 * MB;
    check_total(&seen, Mode::Fast, Some(10.0));
    seen.walsenders = vec![streaming(1, 400 * MB), streaming(2, 80 * MB)];
    check_total(&seen, Mode::Fast, Some(40.0));
    seen.archiver = archiving(199);
    check_total(&seen, Mode::Fast, Some(50.0));
    // The segment that the checkpoint closes cannot be archived before.
    seen.walsenders.clear();
    seen.archiver = archiving(1);
    check_total(&seen, Mode::Fast, Some(10.3));
}

#[test]
fn settings_bound_the_stop() {
    let mut seen = idle();
    seen.checkpoint.bytes = 100 * MB;
    seen.walsenders =
        vec![streaming(1, 400 * MB), WalSenderSeen { still_for: 12.0, ..streaming(2, 400 * MB) }];
    seen.archiver = archiving(199);
    seen.bounds.walsender = Some(10.0);
    seen.bounds.archiver = Some(20.0);
    check(
        &seen,
        Mode::Fast,
        &[
            "checkpoint: 100 MB to write, 50 MB/s, about 2 s",
            "walsender \"s1\" (PID 1): 400 MB not yet confirmed (200 MB not even sent), 10 MB/s, about 40 s, given up after \
             10 s with about 300 MB left",
            "walsender \"s2\" (PID 2): 400 MB not yet confirmed (200 MB not even sent), not moving for 12 s, given up after 10 \
             s",
            "archiver (PID 33): 199 files waiting, 4.0 files/s, about 50 s, the segment that the stop closes comes in \
             addition, given up after 20 s with about 119 files left",
            "total: about 20 s",
        ],
    );
    // The checkpoint waits for the one whose socket is full.
    seen.archiver = None;
    check_total(&seen, Mode::Fast, Some(12.0));
    // One that has everything in its socket, or is past that, does not hold it up.
    seen.walsenders[1].sent = seen.walsenders[1].end;
    check_total(&seen, Mode::Fast, Some(10.0));
}

#[test]
fn a_deadline_bounds_everything_but_the_checkpoint() {
    let mut seen = idle();
    seen.sessions = vec![client(1)];
    seen.walsenders = vec![WalSenderSeen { still_for: 12.0, ..streaming(2, 400 * MB) }];
    seen.archiver = archiving(199);
    seen.bounds.deadline = Some(20.0);
    check(
        &seen,
        Mode::Smart,
        &[
            "session alice@shop (PID 1): waits for its client, idle, sent away after 10 s",
            "checkpoint: nothing to write",
            "walsender \"s2\" (PID 2): 400 MB not yet confirmed (200 MB not even sent), not moving for 12 s, given up after 15 \
             s",
            "archiver (PID 33): 199 files waiting, 4.0 files/s, about 50 s, the segment that the stop closes comes in \
             addition, given up after 19 s with about 125 files left",
            "total: about 19 s, deadline in 20 s",
        ],
    );
    check_total(&seen, Mode::Fast, Some(18.5));
    // Held up until half of it, and then it takes its time.
    seen.checkpoint.bytes = 550 * MB;
    let total = forecast(&seen, Mode::Fast).pop().unwrap();
    assert_eq!(
        total.sentence(),
        "total: about 21 s, late: a checkpoint is never given up, 1 session without a transaction sent away at once, \
         deadline in 20 s"
    );
    // A setting that is shorter than the deadline's share counts.
    seen.bounds.walsender = Some(1.0);
    check_total(&seen, Mode::Fast, Some(18.5));
    assert_eq!(forecast(&seen, Mode::Fast)[1].bound, Some(1.0));
}

#[test]
fn deadlines_that_mean_nothing_are_harmless() {
    let mut seen = idle();
    seen.sessions = vec![client(1)];
    for deadline in [f64::NAN, f64::INFINITY, -5.0, 1e300] {
        seen.bounds.deadline = Some(deadline);
        for mode in Mode::ALL {
            assert!(!forecast(&seen, mode).is_empty());
        }
    }
}

fn awaited_sentences(seen: &Observation, phase: Phase, processes: &[(i32, &str)]) -> Vec<String> {
    let processes: Vec<(i32, String)> =
        processes.iter().map(|(pid, title)| (*pid, (*title).to_owned())).collect();
    awaited(seen, phase, &processes).iter().map(Item::sentence).collect()
}

#[test]
fn awaited_in_a_smart_stop() {
    let mut seen = idle();
    seen.sessions = vec![client(1)];
    let processes = [(1, "client backend"), (2, "client backend")];
    assert_eq!(
        awaited_sentences(&seen, Phase::Sessions, &processes),
        ["session alice@shop (PID 1): waits for its client, idle", "session (PID 2): waits for its client"]
    );
    seen.bounds.sessions = Some(7.0);
    assert_eq!(
        awaited_sentences(&seen, Phase::Sessions, &processes[1..]),
        ["session (PID 2): waits for its client, sent away after 7 s"]
    );
}

#[test]
fn awaited_while_processes_leave() {
    let mut seen = idle();
    seen.sessions = vec![client(1)];
    seen.walsenders = vec![streaming(7, 400 * MB)];
    seen.archiver = archiving(3);
    let expected = [
        "session alice@shop (PID 1): told to leave",
        "walwriter (PID 2): told to leave",
        "walsender (PID 7): told to leave",
        "archiver (PID 33): told to leave",
        "checkpointer (PID 12): told to leave",
    ];
    // The last three only in an immediate stop: then they finish nothing.
    let processes =
        [(1, "client backend"), (2, "walwriter"), (7, "walsender"), (33, "archiver"), (12, "checkpointer")];
    assert_eq!(awaited_sentences(&seen, Phase::Processes, &processes), expected);
}

#[test]
fn awaited_during_the_checkpoint() {
    let mut seen = idle();
    let processes = [(12, "checkpointer")];
    let sentences = |seen: &Observation| awaited_sentences(seen, Phase::Checkpoint, &processes);
    assert_eq!(sentences(&seen), ["checkpoint (PID 12): not begun"]);
    seen.checkpoint = CheckpointSeen { bytes: 100 * MB, files: 3, ..seen.checkpoint };
    seen.checkpoint.phase = CheckpointPhase::Writing;
    assert_eq!(
        sentences(&seen),
        ["checkpoint (PID 12): 100 MB to write, 3 files to sync, 50 MB/s, about 2 s"]
    );
    (seen.checkpoint.phase, seen.checkpoint.bytes) = (CheckpointPhase::Syncing, 0);
    assert_eq!(sentences(&seen), ["checkpoint (PID 12): 3 files to sync"]);
    (seen.checkpoint.phase, seen.checkpoint.files) = (CheckpointPhase::Ending, 0);
    assert_eq!(sentences(&seen), ["checkpoint (PID 12): nothing to write, all is on disk"]);
}

#[test]
fn a_checkpoint_that_waits_names_who_holds_it_up() {
    let mut seen = idle();
    seen.checkpoint.phase = CheckpointPhase::WaitsForWalSenders;
    seen.checkpoint.bytes = 100 * MB;
    let stopping = WalSenderSeen { state: "stopping".to_owned(), ..streaming(8, 4 * MB) };
    seen.walsenders = vec![WalSenderSeen { still_for: 30.0, ..streaming(7, 400 * MB) }, stopping];
    assert_eq!(
        awaited_sentences(&seen, Phase::Checkpoint, &[(12, "checkpointer")]),
        [
            "checkpoint (PID 12): 100 MB to write, 50 MB/s, about 2 s, waits for walsenders",
            "walsender \"s7\" (PID 7): 400 MB not yet confirmed (200 MB not even sent), not moving for 30 s",
        ]
    );
}

#[test]
fn awaited_behind_the_checkpoint() {
    let mut seen = idle();
    seen.walsenders = vec![streaming(7, 400 * MB)];
    seen.archiver = archiving(3);
    assert_eq!(
        awaited_sentences(&seen, Phase::Wal, &[(33, "archiver"), (7, "walsender"), (8, "walsender")]),
        [
            "archiver (PID 33): 3 files waiting, 4.0 files/s, less than 1 s",
            "walsender \"s7\" (PID 7): 400 MB not yet confirmed (200 MB not even sent), 10 MB/s, about 40 s",
            "walsender (PID 8): told to leave",
        ]
    );
    assert_eq!(
        awaited_sentences(&seen, Phase::Leaving, &[(50, REFUSED_CLIENT)]),
        ["refused client (PID 50): is being refused"]
    );
}

#[test]
fn what_an_archiver_knew_before_the_stop_is_not_what_waits() {
    let mut seen = idle();
    seen.archiver = archiving(3).map(|archiver| ArchiverSeen { stops: false, ..archiver });
    let processes = [(33, "archiver")];
    assert_eq!(
        awaited_sentences(&seen, Phase::Wal, &processes),
        ["archiver (PID 33): has not noticed the stop yet"]
    );
    let items = awaited(&seen, Phase::Wal, &[(33, "archiver".to_owned())]);
    assert_eq!((items[0].files, remaining_seconds(&seen, Phase::Wal, &items)), (None, None));
    seen.archiver = seen.archiver.map(|archiver| ArchiverSeen { failing: Some("no".to_owned()), ..archiver });
    assert_eq!(
        awaited_sentences(&seen, Phase::Wal, &processes),
        [
            "archiver (PID 33): about 2 s, failing: no, after at most three tries its files stay for the next start"
        ]
    );
}

#[test]
fn what_is_still_to_come_counts() {
    let mut seen = idle();
    seen.checkpoint.bytes = 100 * MB;
    seen.walsenders = vec![streaming(7, 400 * MB)];
    seen.archiver = archiving(3);
    let remaining = |seen: &Observation, phase: Phase, pid: i32, title: &str| {
        let items = awaited(seen, phase, &[(pid, title.to_owned())]);
        remaining_seconds(seen, phase, &items)
    };
    assert_eq!(remaining(&seen, Phase::Sessions, 1, "client backend"), None);
    assert_eq!(remaining(&seen, Phase::Processes, 1, "client backend"), None);
    assert_eq!(remaining(&seen, Phase::Checkpoint, 12, "checkpointer"), Some(40.0));
    assert_eq!(remaining(&seen, Phase::Wal, 7, "walsender"), Some(40.0));
    seen.walsenders.clear();
    assert_eq!(remaining(&seen, Phase::Checkpoint, 12, "checkpointer"), Some(2.25));
    // Closed, and counted by the archiver: no other comes.
    assert_eq!(remaining(&seen, Phase::Wal, 33, "archiver"), Some(0.75));
    seen.bounds.deadline = Some(0.5);
    assert_eq!(remaining(&seen, Phase::Wal, 33, "archiver"), Some(0.5));
    assert_eq!(remaining_seconds(&seen, Phase::Leaving, &[]), Some(0.0));
}

#[test]
fn an_observation_survives_json_and_so_does_an_older_one() {
    let mut seen = idle();
    seen.sessions = vec![client(1)];
    seen.walsenders = vec![streaming(7, 400 * MB)];
    seen.archiver = archiving(3);
    seen.bounds.deadline = Some(2.5);
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), seen);
    let older: Observation = serde_json::from_str(r#"{"archiver":{"pid":3,"new":1},"also_new":[]}"#).unwrap();
    assert_eq!(older.archiver, Some(ArchiverSeen { pid: 3, ..ArchiverSeen::default() }));
    assert_eq!(older.checkpoint, CheckpointSeen::default());
}

#[test]
fn torn_figures_are_harmless() {
    let numbers = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE];
    let phases = [
        CheckpointPhase::Idle,
        CheckpointPhase::WaitsForWalSenders,
        CheckpointPhase::Writing,
        CheckpointPhase::Syncing,
        CheckpointPhase::Ending,
    ];
    let names: Vec<String> = ["", "stopping", "backup", "\0\n\u{1b}"].map(str::to_owned).into();
    for (index, number) in numbers.into_iter().enumerate() {
        for (phase, amount) in
            phases.into_iter().flat_map(|phase| [0, 1, u64::MAX].map(|amount| (phase, amount)))
        {
            let name = names[index % names.len()].clone();
            let mut seen = idle();
            seen.sessions = vec![SessionSeen { pid: i32::MIN, kind: name.clone(), ..client(0) }, client(1)];
            seen.checkpoint = CheckpointSeen { phase, bytes: amount, files: amount, rate: Some(number) };
            let torn =
                WalSenderSeen { state: name, rate: Some(number), still_for: number, ..streaming(7, 0) };
            seen.walsenders = vec![
                WalSenderSeen { sent: amount, confirmed: u64::MAX, end: 1, ..torn.clone() },
                WalSenderSeen { sent: 0, confirmed: amount, end: u64::MAX, ..torn },
            ];
            seen.archiver = archiving(amount).map(|archiver| ArchiverSeen { rate: Some(number), ..archiver });
            seen.bounds = BoundsSeen {
                deadline: Some(number),
                sessions: Some(number),
                walsender: Some(number),
                archiver: None,
            };
            for mode in Mode::ALL {
                assert!(forecast(&seen, mode).iter().all(|item| !item.sentence().contains('\n')));
            }
            let processes = [(1, "client backend"), (7, "walsender"), (12, "checkpointer"), (33, "archiver")]
                .map(|(pid, title)| (pid, title.to_owned()));
            for phase in Phase::ALL {
                let items = awaited(&seen, phase, &processes);
                assert_eq!(items.len(), processes.len(), "each is named, once");
                let _ = remaining_seconds(&seen, phase, &items);
            }
        }
    }
}
