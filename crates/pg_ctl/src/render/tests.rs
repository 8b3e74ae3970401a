//! Tests of render.

use stopreport::{Mode, Phase};

use super::*;

const WIDE: Size = Size { columns: 80, rows: 24 };

fn status(awaited: Vec<Item>) -> Status {
    Status {
        pid: 1,
        mode: Mode::Fast,
        phase: Phase::Wal,
        since: 100.0,
        phase_since: 104.0,
        updated: 112.0,
        deadline: None,
        awaited,
        seconds: None,
    }
}

fn walsender() -> Item {
    Item {
        pid: Some(4711),
        name: Some("s1".to_owned()),
        bytes: Some(300 << 20),
        unsent: Some(200 << 20),
        initial: Some(400 << 20),
        rate: Some(30e6),
        seconds: Some(10.4),
        condition: Condition::Moving,
        ..Item::new(Kind::WalSender)
    }
}

fn archiver() -> Item {
    Item {
        pid: Some(33),
        files: Some(40),
        initial: Some(100),
        rate: Some(2.0),
        seconds: Some(20.0),
        condition: Condition::Moving,
        ..Item::new(Kind::Archiver)
    }
}

fn session(pid: i32, name: &str) -> Item {
    Item {
        pid: Some(pid),
        name: Some(name.to_owned()),
        condition: Condition::WaitsForClient,
        ..Item::new(Kind::Session)
    }
}

#[track_caller]
fn check(status: &Status, now: f64, size: Size, expected: &str) {
    assert_eq!(picture(status, now, size).join("\n"), expected);
}

#[test]
fn bars_rates_and_ends() {
    let status = Status { seconds: Some(20.0), ..status(vec![walsender(), archiver()]) };
    check(
        &status,
        112.5,
        WIDE,
        "fast stop, 12 s: sending and archiving what is left of WAL, about 20 s left\n\
         \u{20} walsender \"s1\" (PID 4711)  [##--------]  300 MB, 29 MB/s, about 10 s\n\
         \u{20} archiver (PID 33)          [######----]  40 files, 2.0 files/s, about 20 s",
    );
}

#[test]
fn a_narrow_terminal_has_no_bars_and_no_line_wraps() {
    for columns in 1..130 {
        let status =
            Status { deadline: Some(130.0), ..status(vec![walsender(), archiver(), session(7, "u@d")]) };
        let lines = picture(&status, 112.0, Size { columns, rows: 24 });
        assert!(lines.iter().all(|line| line.chars().count() < columns), "{columns}: {lines:?}");
        assert_eq!(columns >= 56, lines.iter().any(|line| line.contains("[#")), "{columns}: {lines:?}");
    }
}

#[test]
fn a_low_terminal_is_not_scrolled() {
    let processes = (0..40).map(|pid| Item { pid: Some(pid), ..Item::new(Kind::Process) }).collect();
    let lines = picture(&status(processes), 112.0, Size { columns: 80, rows: 10 });
    assert_eq!(lines.len(), 8);
    assert_eq!(lines.last().unwrap(), "  and 34 more");
    assert_eq!(picture(&status(Vec::new()), 112.0, Size { columns: 80, rows: 1 }).len(), 1);
}

#[test]
fn a_hundred_sessions_are_counted() {
    let sessions = (1..=100).map(|pid| session(pid, "u@d")).collect();
    let lines = picture(&status(sessions), 112.0, WIDE);
    assert_eq!(lines.len(), 1 + 5 + 1);
    assert!(
        lines[1].starts_with("  session u@d (PID 1)") && lines[1].ends_with("waits for its client"),
        "{lines:?}"
    );
    assert!(lines[6].contains("95 more sessions"), "{lines:?}");
}

#[test]
fn a_long_name_does_not_hide_the_process_id() {
    let name = "a_rather_long_user_name@a_rather_long_database_name";
    let lines = picture(&status(vec![session(1_234_567, name)]), 112.0, WIDE);
    assert_eq!(lines[1], "  session a_rather_long_u... (PID 1234567)  waits for its client");
    let lines = picture(&status(vec![session(1_234_567, name)]), 112.0, Size { columns: 160, rows: 24 });
    assert!(lines[1].contains(name), "{lines:?}");
}

#[test]
fn deadlines() {
    let status = Status { deadline: Some(130.0), phase: Phase::Checkpoint, ..status(Vec::new()) };
    check(&status, 112.3, WIDE, "fast stop, 12 s: making the shutdown checkpoint, deadline in 18 s");
    let narrow = Size { columns: 60, rows: 24 };
    check(&status, 112.3, narrow, "fast stop, 12 s: making the shutdown checkpoint\n  deadline in 18 s");
    let late = Status { updated: 134.0, ..status };
    check(&late, 134.7, WIDE, "fast stop, 34 s: making the shutdown checkpoint, deadline missed by 5 s");
}

#[test]
fn a_server_that_is_held_up_itself() {
    let status = status(vec![session(7, "u@d")]);
    let lines = picture(&status, 119.4, WIDE);
    assert_eq!(lines.last().unwrap(), "  the server's last report is 7 s old");
    assert!(line(&status, 119.4).ends_with("; the server's last report is 7 s old"));
    assert_eq!(still_awaited(&status, 119.4).last().unwrap(), "the server's last report is 7 s old");
}

#[test]
fn names_do_not_steer_the_terminal() {
    let status = status(vec![session(7, "\u{1b}[2J\r\n@d")]);
    for text in
        [picture(&status, 112.0, WIDE).concat(), line(&status, 112.0), still_awaited(&status, 112.0).concat()]
    {
        assert!(text.contains("?[2J??@d") && !text.contains(char::is_control), "{text}");
    }
}

#[test]
fn wide_characters_take_two_columns() {
    let name = "日本語の名前日本語の名前@東京";
    for columns in 1..90 {
        let lines =
            picture(&status(vec![session(7, name), session(8, "u@d")]), 112.0, Size { columns, rows: 24 });
        assert!(lines.iter().all(|line| width(line) < columns.max(1)), "{columns}: {lines:?}");
    }
    let lines = picture(&status(vec![session(7, "日@本"), session(8, "user@db")]), 112.0, WIDE);
    assert_eq!(lines[1], "  session 日@本 (PID 7)    waits for its client");
    assert_eq!(lines[2], "  session user@db (PID 8)  waits for its client");
}

#[test]
fn why_it_fails_is_rather_cut_than_left_out() {
    let failing = Item {
        seconds: Some(2.0),
        condition: Condition::Failing,
        detail: Some(
            "failing: archive command failed with exit code 7, after three tries its files stay".to_owned(),
        ),
        ..archiver()
    };
    let lines = picture(&status(vec![failing]), 112.0, WIDE);
    assert!(lines[1].contains("failing: archive com") && lines[1].ends_with("..."), "{lines:?}");
}

#[test]
fn after_a_time_out() {
    let status = status(vec![walsender(), session(7, "u@d")]);
    let lines = still_awaited(&status, 112.0);
    assert!(
        lines[0].starts_with("still awaited: walsender \"s1\" (PID 4711): 300 MB not yet confirmed"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "still awaited: session u@d (PID 7)");
}

#[test]
fn times_that_are_nonsense_do_no_harm() {
    for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e300] {
        let status = Status {
            since: nonsense,
            phase_since: nonsense,
            updated: nonsense,
            deadline: Some(nonsense),
            seconds: Some(nonsense),
            ..status(vec![Item {
                rate: Some(nonsense),
                seconds: Some(nonsense),
                bound: Some(nonsense),
                ..walsender()
            }])
        };
        assert!(!picture(&status, 112.0, WIDE).is_empty());
        assert!(!line(&status, nonsense).is_empty() && !still_awaited(&status, nonsense).is_empty());
    }
}
