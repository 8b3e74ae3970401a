//! A stop that explains itself, against a fake server that is a shell script: one that reports (`behaviour reporting`),
//! one that answers questions (`answering`), and one that knows nothing of all this, as PostgreSQL's own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod scratch;

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::scratch::{NO_PID, REAL, Scratch, check_ours};

fn scratch(name: &str) -> Scratch {
    Scratch::new(name, Path::new(env!("CARGO_BIN_EXE_pg_ctl")))
}

/// A scratch whose server runs and behaves like that.
fn started(name: &str, behaviour: &str) -> Scratch {
    let scratch = scratch(name);
    scratch.prepare(&format!("behaviour {behaviour}"));
    assert!(scratch.run("start -D data -l log -s").ends_with("rc 0\n"));
    scratch
}

/// Whatever pg_ctl or the server makes for a stop.
fn traces(scratch: &Scratch) -> Vec<String> {
    let names = std::fs::read_dir(scratch.data("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let known = ["forecast", "deadline", "pgsql_tmp", "postmaster.forecast", "postmaster.stop"];
    names
        .filter(|name| known.iter().any(|known| name.starts_with(known)) && name != "deadline_taken")
        .collect()
}

/// The objects that a run printed, and its exit code.
fn objects(shown: &str) -> (Vec<Value>, String) {
    let (_, rest) = shown.split_once('\n').unwrap();
    let (lines, code) = rest.trim_end().rsplit_once("\nrc ").unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with("E "));
    (lines.map(|line| serde_json::from_str(line).unwrap()).collect(), code.to_owned())
}

/// With one dot, however many seconds have passed.
fn one_dot(shown: &str) -> String {
    shown.replace(".....", "....")
}

#[test]
fn a_server_that_does_not_answer() {
    check_ours(
        "mute",
        r#"
$ start -D data -l log -s
rc 0
$ stop -D data --forecast -t 1
E pg_ctl: server does not answer
E HINT: PostgreSQL's own servers cannot tell what a stop would wait for.
rc 1
# absent forecast
# absent postmaster.forecast
$ stop -D data -s
rc 0
$ stop -D data --forecast
E pg_ctl: PID file "data/postmaster.pid" does not exist
E Is server running?
rc 1
# absent forecast
"#,
    );
    let conversation = r#"
# pidfile PID\n
$ restart -D data --forecast
E pg_ctl: could not send forecast signal (PID: N): No such process
rc 1
# absent forecast
$ stop -D data --deadline=5
E pg_ctl: could not send stop signal (PID: N): No such process
rc 1
# absent deadline
"#;
    check_ours("forecast-stale", &conversation.replace("PID\\n", &format!("{NO_PID}\\n")));
}

#[test]
fn a_server_that_answers() {
    let scratch = started("answers", "answering");
    let status = scratch.data("pg_wal/archive_status");
    std::fs::create_dir_all(&status).unwrap();
    for number in 1..=7 {
        std::fs::write(status.join(format!("00000001000000000000000{number}.ready")), "").unwrap();
    }
    // What somebody left who was killed is taken for a request without an asker.
    std::fs::write(scratch.data("forecast"), "left-over").unwrap();
    scratch.prepare("behaviour answering");
    let (rows, code) = objects(&scratch.run("stop -D data --forecast --progress=json"));
    assert_eq!(code, "0");
    let archiver = rows.iter().find(|row| row["kind"] == "archiver").unwrap();
    assert_eq!(
        (archiver["step"].as_i64(), archiver["files"].as_i64()),
        (Some(3), Some(7)),
        "counted by pg_ctl"
    );
    assert_eq!(rows.last().unwrap()["kind"], "total");
    assert_eq!(traces(&scratch), [""; 0]);
    let table = scratch.run("stop -D data --forecast");
    let titles: Vec<&str> =
        table.lines().nth(1).unwrap().split_whitespace().filter(|word| *word != "|").collect();
    assert_eq!(titles, ["step", "kind", "pid", "name", "bytes", "files", "rate", "seconds", "detail"]);
    // Several at once get an answer each.
    let ask = || {
        scratch
            .command(&["stop", "-D", "data", "--forecast"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let askers: Vec<_> = (0..4).map(|_| ask()).collect();
    for asker in askers {
        let output = asker.wait_with_output().unwrap();
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("archiver"),
            "{output:?}"
        );
    }
    assert_eq!(traces(&scratch), [""; 0]);
    assert!(scratch.pid().is_some(), "nothing is stopped");
}

#[test]
fn an_interrupt_takes_the_question_back() {
    let scratch = started("interrupted", "none");
    for args in [&["stop", "-D", "data", "--forecast"][..], &["stop", "-D", "data", "--deadline=1h"]] {
        if args.last() == Some(&"--deadline=1h") {
            scratch.prepare("behaviour stubborn");
            assert!(scratch.run("restart -D data -l log -s").ends_with("rc 0\n"));
        }
        let mut asker = scratch.command(args).spawn().unwrap();
        scratch.wait_for("the file", || !traces(&scratch).is_empty());
        kill(Pid::from_raw(asker.id() as i32), Signal::SIGTERM).unwrap();
        let end = std::os::unix::process::ExitStatusExt::signal(&asker.wait().unwrap());
        assert_eq!(end, Some(Signal::SIGTERM as i32));
        assert_eq!(traces(&scratch), [""; 0], "{args:?}");
    }
}

#[test]
fn a_deadline_for_a_server_that_knows_none() {
    check_ours(
        "unbounded",
        r#"
$ start -D data -l log -s
rc 0
$ stop -D data --deadline=10s
waiting for server to shut down.... done
server stopped
E pg_ctl: warning: server does not support --deadline, the stop has no bound
rc 0
# absent deadline
$ start -D data -l log -s
rc 0
$ stop -D data --deadline 10 -W
server shutting down
E pg_ctl: warning: server does not support --deadline, the stop has no bound
rc 0
# absent deadline
$ stop -D data --deadline=10s -m immediate
E pg_ctl: option --deadline cannot be used with immediate mode
E Try "pg_ctl --help" for more information.
rc 1
$ restart -D data --deadline=soon
E pg_ctl: invalid value "soon" for option --deadline
E HINT: A time is a number of seconds, or a number with one of the units "us", "ms", "s", "min", "h", and "d".
rc 1
$ start -D data --progress=json
E pg_ctl: option --progress can be used only with "stop" or "restart"
E Try "pg_ctl --help" for more information.
rc 1
"#,
    );
}

#[test]
fn a_deadline_is_handed_over() {
    let scratch = started("bounded", "reporting");
    let shown = scratch.run("stop -D data --deadline=1.5min -W");
    assert_eq!(shown, "$ stop -D data --deadline=1.5min -W\nserver shutting down\nrc 0\n");
    assert_eq!(std::fs::read_to_string(scratch.data("deadline_taken")).unwrap(), "90\n");
    // A later one, to a server that stops already.
    assert!(scratch.run("stop -D data --deadline=250ms -W").ends_with("\nrc 0\n"));
    assert_eq!(std::fs::read_to_string(scratch.data("deadline_taken")).unwrap(), "0.25\n");
}

#[test]
fn a_slow_stop_explains_itself() {
    let scratch = started("slow-stop", "reporting");
    // To a file: plain lines.
    let plain = scratch.run("stop -D data -t 3");
    let awaited = "archiver (PID 33): 40 files waiting, 2.0 files/s, about 20 s";
    assert!(
        plain.contains("\nwaiting for server to shut down...") && plain.contains("\nfast stop, "),
        "{plain}"
    );
    assert!(plain.contains("\n failed\nE pg_ctl: server does not shut down\n"), "{plain}");
    assert!(plain.ends_with(&format!("\nE still awaited: {awaited}\nrc 1\n")), "{plain}");
    // Its lines can be switched off; what is awaited is said all the same.
    let complaint = format!("E pg_ctl: server does not shut down\nE still awaited: {awaited}\nrc 1\n");
    assert_eq!(scratch.run("stop -D data -t 2 -s"), format!("$ stop -D data -t 2 -s\n{complaint}"));
    let dots = scratch.run("stop -D data -t 2 --progress=none");
    let dots = one_dot(&dots);
    assert!(dots.ends_with(&format!("\nwaiting for server to shut down.... failed\n{complaint}")), "{dots}");
    // A picture, wherever stdout goes.
    let picture = scratch.run("stop -D data -t 2 --progress=bar");
    let line = "\n  archiver (PID 33)  [######----]  40 files, 2.0 files/s, about 20 s\u{1b}[K\n";
    assert!(picture.contains(line), "{picture}");
    assert!(picture.contains("\u{1b}[2A\u{1b}[J") && picture.contains(" failed\n"), "{picture}");
    std::fs::write(scratch.data("finish"), "").unwrap();
    scratch.prepare("until-down");
}

#[test]
fn a_report_of_another_server_is_none() {
    let scratch = started("others-report", "stubborn");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let pid = scratch.pid().unwrap();
    let report = |pid: i32, updated: u64| {
        format!(
            r#"{{"pid":{pid},"mode":"fast","phase":"wal","since":1,"phase_since":1,"updated":{updated},"awaited":[]}}"#
        )
    };
    // Of another process; of an earlier one that had the same number; half of one; none at all.
    let own = report(pid, now + 10);
    for content in [&report(pid + 1, now + 10), &report(pid, now - 100_000), &own[..own.len() / 2], "", "{}"]
    {
        std::fs::write(scratch.data("postmaster.stop"), content).unwrap();
        let shown = scratch.run("stop -D data -t 2");
        let expected =
            "waiting for server to shut down..... failed\nE pg_ctl: server does not shut down\nrc 1\n";
        assert_eq!(shown, format!("$ stop -D data -t 2\n{expected}"), "{content}");
    }
    std::fs::write(scratch.data("postmaster.stop"), own).unwrap();
    let shown = scratch.run("stop -D data -t 2");
    assert!(shown.contains("sending and archiving what is left of WAL: nothing"), "{shown}");
}

#[test]
fn a_stop_for_programs() {
    let scratch = started("programs", "reporting");
    let (lines, code) = objects(&scratch.run("stop -D data -t 2 --progress=json"));
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(
        (events[0], events[1], *events.last().unwrap(), code.as_str()),
        ("signaled", "progress", "timeout", "1")
    );
    assert_eq!(lines[0]["mode"], "fast");
    assert_eq!(lines[1]["status"]["awaited"][0]["pid"], 33);
    assert_eq!(lines.last().unwrap()["status"]["phase"], "wal");
    std::fs::write(scratch.data("finish"), "").unwrap();
    let (lines, code) = objects(&scratch.run("stop -D data --progress=json"));
    assert_eq!((lines.last().unwrap()["event"].as_str(), code.as_str()), (Some("stopped"), "0"));
    assert!(lines.last().unwrap()["elapsed"].as_f64().is_some());
    assert_eq!(traces(&scratch), [""; 0]);
}

#[test]
fn a_restart_for_programs() {
    let scratch = started("programs-restart", "none");
    let (lines, code) = objects(&scratch.run("restart -D data -l log --progress=json"));
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!((events, code.as_str()), (vec!["signaled", "stopped", "started"], "0"));
    assert_eq!(lines[2]["pid"].as_i64(), scratch.pid().map(i64::from));
}

/// A terminal decides for itself; its picture leaves no trace behind a line for each phase that lasted.
#[test]
fn on_a_terminal() {
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("SKIPPED: script is not installed");
        return;
    }
    let scratch = started("terminal", "reporting");
    let pg_ctl = "TERM=xterm COLUMNS=80 bin/pg_ctl stop -D data -t 2";
    let mut command = Command::new("/usr/bin/script");
    command
        .args(["-qec", pg_ctl, "/dev/null"])
        .current_dir(&scratch.dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    if common::user::is_root() {
        std::os::unix::process::CommandExt::uid(&mut command, scratch::UNPRIVILEGED);
    }
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("\n  archiver (PID 33)  [######----]  40 files"), "{shown}");
    assert!(shown.contains("\u{1b}[2A\u{1b}[J  sending and archiving what is left of WAL: "), "{shown}");
    assert!(
        shown.contains("\n failed\npg_ctl: server does not shut down\nstill awaited: archiver (PID 33): "),
        "{shown}"
    );
}

/// PostgreSQL's help comes first, word for word.
#[test]
fn help() {
    let text = |program: &str| {
        String::from_utf8(Command::new(program).arg("--help").output().unwrap().stdout).unwrap()
    };
    let ours = text(env!("CARGO_BIN_EXE_pg_ctl"));
    for option in ["--deadline=TIME", "--forecast", "--progress=STYLE"] {
        assert!(ours.contains(&format!("\n      {option} ")), "{ours}");
    }
    assert!(ours.lines().all(|line| line.len() < 80), "{ours}");
    if !Path::new(REAL).exists() {
        eprintln!("SKIPPED: {REAL} is not installed");
        return;
    }
    let real = text(REAL);
    let (real, _) = real.split_once("\nReport bugs to").unwrap();
    assert!(ours.starts_with(real), "{ours}");
}
