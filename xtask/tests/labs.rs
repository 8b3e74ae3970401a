//! The labs, played without pauses: what they claim happens. And interrupted: nothing is left.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use integration::process;
use integration::{Programs, Server, procfs, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

/// `cargo xtask lab`, with programs that are built already.
fn lab(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let programs = Programs::of(Server::Ours).expect("they can be built");
    command.arg("lab").args(args).env("PGANATOMY_PROGRAMS", programs.path(""));
    command
}

/// Where a lab plays, from what it says of its environment.
fn data_dir(transcript: &str) -> PathBuf {
    let line = transcript.lines().find_map(|line| line.strip_prefix("export PGDATA="));
    line.unwrap_or_else(|| panic!("no data directory in\n{transcript}")).into()
}

#[track_caller]
fn nothing_is_left(transcript: &str) {
    let data_dir = data_dir(transcript);
    assert_eq!(procfs::processes_in(&data_dir), []);
    let folder = data_dir.parent().expect("below /tmp");
    assert!(!folder.exists(), "{} is still there", folder.display());
}

#[track_caller]
fn plays(name: &str) {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let output = process::run(&mut lab(&[name, "--fast"]));
    let transcript = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{transcript}\n{errors}");
    assert!(transcript.contains("claims, and all of them held"), "{transcript}");
    assert!(!transcript.contains('\x1b'), "colours without a terminal:\n{transcript}");
    nothing_is_left(&transcript);
}

#[test]
fn postmaster_killed() {
    plays("postmaster-killed");
}

#[test]
fn slow_stop() {
    plays("slow-stop");
}

#[test]
fn without_a_name_they_are_listed() {
    let output = process::run(&mut lab(&[]));
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stdout);
    for name in ["cargo xtask lab postmaster-killed ", "cargo xtask lab slow-stop "] {
        assert!(said.contains(name), "{said}");
    }
}

/// Ctrl-C while the server runs.
#[test]
fn an_interrupted_lab_cleans_up() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let mut running =
        process::spawn(lab(&["postmaster-killed"]).stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut transcript = String::new();
    let mut stdout = BufReader::new(running.stdout.take().expect("piped above"));
    while !transcript.contains("$ psql") {
        assert!(stdout.read_line(&mut transcript).expect("text") > 0, "{transcript}");
    }
    let data_dir = data_dir(&transcript);
    let text = std::fs::read_to_string(data_dir.join("postmaster.pid")).expect("a running server");
    let segment: i64 = {
        let line = text.lines().nth(6).expect("its shared memory");
        line.split_whitespace().nth(1).and_then(|id| id.parse().ok()).expect("an id")
    };
    assert!(!procfs::processes_in(&data_dir).is_empty());
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code(), Some(130));
    nothing_is_left(&transcript);
    wait_until("its segment is gone", || procfs::sysv_segments().iter().all(|one| one.id != segment));
}
