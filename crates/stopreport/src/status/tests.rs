//! The status file and the lines made of it.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::item::Condition;

fn walsender() -> Item {
    Item {
        pid: Some(4711),
        name: Some("s1".to_owned()),
        bytes: Some(412 << 20),
        unsent: Some(0),
        initial: Some(500 << 20),
        rate: Some(38.5 * 1024.0 * 1024.0),
        seconds: Some(10.7),
        bound: Some(60.0),
        condition: Condition::Moving,
        ..Item::new(Kind::WalSender)
    }
}

fn session(pid: i32) -> Item {
    Item {
        pid: Some(pid),
        name: Some("alice@shop".to_owned()),
        condition: Condition::WaitsForClient,
        detail: Some("waits for its client, idle".to_owned()),
        ..Item::new(Kind::Session)
    }
}

fn status(mode: Mode, phase: Phase, awaited: Vec<Item>) -> Status {
    let since = 1_700_000_000.25;
    Status {
        pid: 4700,
        mode,
        phase,
        since,
        phase_since: since + 1.5,
        updated: since + 20.2,
        deadline: Some(since + 60.0),
        awaited,
        seconds: Some(10.7),
    }
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Status::read(dir.path()).unwrap(), None);
    let mut written = status(Mode::Fast, Phase::Wal, vec![walsender(), session(7)]);
    written.write(dir.path()).unwrap();
    assert_eq!(Status::read(dir.path()).unwrap(), Some(written.clone()));
    // Replaced, and nothing left beside it.
    written.seconds = None;
    written.write(dir.path()).unwrap();
    assert_eq!(Status::read(dir.path()).unwrap(), Some(written));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let text = std::fs::read_to_string(dir.path().join(files::STATUS)).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
}

#[test]
fn its_mode_is_that_of_the_directory() {
    for (directory, file) in [(0o700, 0o600), (0o750, 0o640)] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(directory)).unwrap();
        status(Mode::Fast, Phase::Wal, Vec::new()).write(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(files::STATUS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, file);
    }
}

#[test]
fn what_is_no_status_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let whole = status(Mode::Fast, Phase::Wal, vec![walsender()]).to_json();
    let torn = &whole[..whole.len() / 2];
    for content in ["", "\0\0\0\0", torn, "{}", "[1]", "4700", "{\"pid\": \"x\"}"] {
        std::fs::write(dir.path().join(files::STATUS), content).unwrap();
        let error = Status::read(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{content:?}");
    }
    std::fs::remove_file(dir.path().join(files::STATUS)).unwrap();
    std::fs::create_dir(dir.path().join(files::STATUS)).unwrap();
    assert!(Status::read(dir.path()).is_err());
    assert!(status(Mode::Fast, Phase::Wal, Vec::new()).write(dir.path()).is_err());
}

#[test]
fn json_is_for_programs() {
    let json = status(Mode::Fast, Phase::Wal, vec![Item { seconds: None, ..walsender() }]).to_json();
    assert_eq!(
        json,
        "{\"pid\":4700,\"mode\":\"fast\",\"phase\":\"wal\",\"since\":1700000000.25,\"phase_since\":1700000001.75,\
         \"updated\":1700000020.45,\"deadline\":1700000060.25,\"awaited\":[{\"kind\":\"walsender\",\"pid\":4711,\
         \"name\":\"s1\",\"bytes\":432013312,\"unsent\":0,\"initial\":524288000,\"rate\":40370176.0,\"bound\":60.0,\
         \"condition\":\"moving\"}],\"seconds\":10.7}"
    );
}

#[test]
fn a_newer_server_may_say_more_and_leave_out_what_is_not_known() {
    let text = r#"{"pid":1,"mode":"smart","phase":"sessions","since":1,"phase_since":1,"updated":2,"weather":"fine",
        "awaited":[{"kind":"session","condition":"waits_for_client","mood":3}]}"#;
    let status = Status::from_json(text).unwrap();
    assert_eq!((status.deadline, status.seconds, status.awaited.len()), (None, None, 1));
    assert_eq!(status.awaited[0].sentence(), "session");
    assert_eq!(Status::from_json(&status.to_json()).unwrap(), status);
}

#[test]
fn moments_that_mean_nothing_do_not_break_the_file() {
    let mut status = status(Mode::Fast, Phase::Wal, vec![Item { seconds: Some(f64::NAN), ..walsender() }]);
    (status.deadline, status.seconds) = (Some(f64::INFINITY), Some(f64::NAN));
    let again = Status::from_json(&status.to_json()).unwrap();
    assert_eq!((again.deadline, again.seconds, again.awaited[0].seconds), (None, None, None));
    // A clock that was set back.
    status.updated = status.since - 100.0;
    assert!(status.log_message().starts_with("still stopping (fast, less than 1 s): "));
}

#[test]
fn lines_for_people() {
    let status = status(Mode::Fast, Phase::Wal, vec![walsender()]);
    let walsender =
        "walsender \"s1\" (PID 4711): 412 MB not yet confirmed, 39 MB/s, about 11 s, at most 60 s";
    assert_eq!(
        status.summary(),
        format!("fast stop, 20 s, sending and archiving what is left of WAL: {walsender}; about 11 s left")
    );
    assert_eq!(status.log_message(), format!("still stopping (fast, 20 s): waiting for {walsender}"));
    assert_eq!(
        status.refusal_detail(),
        format!("The server has been stopping in fast mode for 20 s and waits for {walsender}.")
    );
}

#[test]
fn strangers_are_told_how_many_sessions_not_whose() {
    let mut status = status(Mode::Smart, Phase::Sessions, vec![session(7)]);
    let detail = |status: &Status| status.refusal_detail();
    let begin = "The server has been stopping in smart mode for 20 s";
    assert_eq!(detail(&status), format!("{begin} and waits for 1 session to end."));
    status.awaited = (1..=12).map(session).collect();
    assert_eq!(detail(&status), format!("{begin} and waits for 12 sessions to end."));
    status.awaited.clear();
    assert_eq!(detail(&status), format!("{begin}."));
    status.seconds = None;
    assert_eq!(
        status.summary(),
        "smart stop, 20 s, waiting for clients to leave: nothing; nobody can say how long"
    );
    status.awaited = (1..=5).map(session).collect();
    let named: Vec<String> = (1..=3).map(|pid| session(pid).sentence()).collect();
    assert_eq!(
        status.log_message(),
        format!("still stopping (smart, 20 s): waiting for {}; 2 more sessions", named.join("; "))
    );
}

#[test]
fn words_of_modes_and_phases() {
    for mode in Mode::ALL {
        assert_eq!(Mode::parse(mode.word()), Some(mode));
        assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
    }
    for other in ["", "f", "FAST", "fast ", "x"] {
        assert_eq!(Mode::parse(other), None, "{other:?}");
    }
    for phase in Phase::ALL {
        assert_eq!(serde_json::to_string(&phase).unwrap(), format!("\"{}\"", phase.word()));
        assert!(!phase.text().is_empty());
    }
}
