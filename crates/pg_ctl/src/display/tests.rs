//! Tests of display.

use stopreport::{Item, Kind, Mode};

use super::*;

/// The stop was ordered at 1000, and so says pg_ctl.
const SINCE: f64 = 1000.0;

fn status(phase: Phase, phase_since: f64, updated: f64) -> Status {
    Status {
        pid: 1,
        mode: Mode::Fast,
        phase,
        since: SINCE,
        phase_since: SINCE + phase_since,
        updated: SINCE + updated,
        deadline: None,
        awaited: vec![Item { pid: Some(7), ..Item::new(Kind::Archiver) }],
        seconds: None,
    }
}

/// What is written if the server reports this at these seconds after the signal, and then ends like that.
fn shown(mut display: Display, reports: &[(f64, Option<Status>)], end: End) -> Vec<String> {
    let mut shown = vec![display.begin()];
    let size = Size { columns: 80, rows: 24 };
    let mut last = 0.0;
    for (at, status) in reports {
        let elapsed = Duration::from_secs_f64(*at);
        let moment = Moment { elapsed, now: SINCE + at, status: status.as_ref(), size };
        shown.push(display.look(&moment));
        last = *at;
    }
    let elapsed = Duration::from_secs_f64(last);
    let status = reports.last().and_then(|(_, status)| status.as_ref());
    shown.push(display.end(&Moment { elapsed, now: SINCE + last, status, size }, end));
    shown
}

fn plain() -> Display {
    Display::Plain(Plain::default())
}

fn bar() -> Display {
    Display::Bar(Bar::default())
}

const BEGIN: &str = "waiting for server to shut down...";
const STOPPED: &str = " done\nserver stopped\n";

#[test]
fn a_short_stop_looks_as_ever() {
    let reports = [
        (0.0, None),
        (0.1, Some(status(Phase::Processes, 0.0, 0.1))),
        (0.9, Some(status(Phase::Wal, 0.2, 0.9))),
    ];
    for display in [plain(), bar(), Display::Dots(Dots::default())] {
        assert_eq!(shown(display, &reports, End::Stopped), [BEGIN, ".", "", "", STOPPED]);
    }
}

#[test]
fn a_server_that_does_not_report_gets_dots() {
    for display in [plain(), bar(), Display::Dots(Dots::default())] {
        let reports = [(0.0, None), (1.0, None), (12.5, None)];
        assert_eq!(shown(display, &reports, End::TimeIsUp), [BEGIN, ".", ".", "...........", " failed\n"]);
    }
}

#[test]
fn silence_is_silence() {
    let reports = [(0.0, None), (5.0, Some(status(Phase::Wal, 0.2, 5.0)))];
    assert!(shown(Display::Silent, &reports, End::Stopped).concat().is_empty());
}

#[test]
fn a_plain_line_for_each_phase_that_lasts_and_each_ten_seconds() {
    let reports = [
        (0.0, None),
        (0.9, Some(status(Phase::Processes, 0.0, 0.9))),
        (1.0, Some(status(Phase::Processes, 0.0, 1.0))),
        (1.5, Some(status(Phase::Checkpoint, 1.5, 1.5))), // too short to be named
        (1.9, Some(status(Phase::Wal, 1.8, 1.9))),
        (2.9, Some(status(Phase::Wal, 1.8, 2.9))),
        (12.8, Some(status(Phase::Wal, 1.8, 12.8))),
        (12.9, Some(status(Phase::Wal, 1.8, 12.9))),
    ];
    let shown = shown(plain(), &reports, End::Stopped);
    let line = |at: usize| format!("{}\n", reports[at].1.as_ref().unwrap().summary());
    let expected = [
        BEGIN.to_owned(),
        ".".to_owned(),
        String::new(),
        format!(".\n{}", line(2)),
        String::new(),
        String::new(),
        line(5),
        String::new(),
        line(7),
        STOPPED.to_owned(),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_picture_is_repainted_and_leaves_a_line_for_each_phase_that_lasted() {
    let reports = [
        (0.0, None),
        (1.0, Some(status(Phase::Checkpoint, 0.0, 1.0))),
        (1.1, Some(status(Phase::Checkpoint, 0.0, 1.0))),
        (3.5, Some(status(Phase::Wal, 3.25, 3.5))),
        (4.0, None),
    ];
    let text = shown(bar(), &reports, End::Stopped);
    let picture = |at: usize| {
        let size = Size { columns: 80, rows: 24 };
        let lines = render::picture(reports[at].1.as_ref().unwrap(), SINCE + reports[at].0, size);
        lines.iter().map(|line| format!("{line}\x1b[K\n")).collect::<String>()
    };
    let expected = [
        BEGIN.to_owned(),
        ".".to_owned(),
        format!(".\n{}", picture(1)),
        String::new(),
        format!("\x1b[2A\x1b[J  making the shutdown checkpoint: 3.2 s\n{}", picture(3)),
        String::new(),
        format!("\x1b[2A\x1b[J{STOPPED}"),
    ];
    assert_eq!(text, expected);
}

#[test]
fn json_is_a_line_for_each_change() {
    let first = status(Phase::Checkpoint, 0.0, 0.1);
    let same = Status { updated: SINCE + 0.35, ..first.clone() };
    let next = status(Phase::Wal, 0.5, 0.6);
    let reports = [(0.05, None), (0.1, Some(first.clone())), (0.35, Some(same)), (0.6, Some(next.clone()))];
    let text = shown(Display::Json(Json::default()), &reports, End::TimeIsUp);
    assert_eq!(text[..2], ["", ""]);
    assert_eq!(text[3], "", "nothing but the time of the report has changed");
    assert!(
        text[2].starts_with("{\"event\":\"progress\",\"elapsed\":0.1,\"status\":{\"pid\":1,"),
        "{text:?}"
    );
    for (line, event, status) in
        [(&text[2], "progress", &first), (&text[4], "progress", &next), (&text[5], "timeout", &next)]
    {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["event"], event);
        assert_eq!(Status::from_json(&value["status"].to_string()).unwrap(), *status);
    }
    let end = shown(Display::Json(Json::default()), &[(2.5, None)], End::Stopped);
    assert_eq!(end, ["", "", "{\"event\":\"stopped\",\"elapsed\":2.5}\n"]);
}
