//! The logger as a process: what goes into its pipe comes out in files, whatever dies meanwhile.
//!
//! The outer process (the test) starts itself once more as a small postmaster; that one forks loggers, writes,
//! kills, and goes away before the last writer does. The test adopts and reaps the orphans.

#![allow(clippy::unwrap_used, reason = "a test: failing is what unwrap is for")]
#![allow(unsafe_code, reason = "forks, as the postmaster does")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::BackendType;
use elog::ereport;
use miscinit::child::{CanAccept, ChildStart};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

/// Set in the process that plays the postmaster: its data directory.
const POSTMASTER: &str = "SYSLOGGER_TEST_POSTMASTER";

fn main() {
    match std::env::var(POSTMASTER) {
        Ok(data_dir) => postmaster(Path::new(&data_dir)),
        Err(_) => test(),
    }
}

/// Waits for something to become true; a minute means never.
#[track_caller]
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_true() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn test() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe).env(POSTMASTER, dir.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let log = dir.path().join("log");
    assert!(output.status.success(), "{}: {stderr}{}", output.status, read(log.join("server.log")));
    assert_eq!(
        stderr,
        "LOG:  redirecting log output to logging collector process\nHINT:  Future log output will appear in directory \"log\".\n"
    );
    // The last writer and the last logger are ours now; both leave by themselves.
    for _ in 0..2 {
        let status = waitpid(Pid::from_raw(-1), None).unwrap();
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    }
    assert_eq!(waitpid(Pid::from_raw(-1), None), Err(nix::errno::Errno::ECHILD));

    assert_eq!(read(log.join("early.log")), "LOG:  zero\n");
    let changes = "LOG:  parameter \"log_filename\" changed to \"server.log\"\n\
                   LOG:  parameter \"log_destination\" changed to \"stderr,csvlog\"\n";
    assert_eq!(read(log.join("before.log")), format!("{changes}LOG:  one\n"));
    let after = read(log.join("server.log"));
    let long = "y".repeat(10_000);
    let expected = ["LOG:  two\n", "LOG:  while nobody listens\n", "plain words\n", "LOG:  three\n"].concat()
        + &format!("LOG:  {long}\nLOG:  last words\n");
    assert_eq!(after, expected);
    assert!(read(log.join("server.csv")).contains(",LOG,00000,\"last words\","));
    assert_eq!(read(dir.path().join("current_logfiles")), "stderr log/server.log\ncsvlog log/server.csv\n");
    println!("logger process: ok");
}

fn postmaster(data_dir: &Path) {
    std::env::set_current_dir(data_dir).unwrap();
    fs::write("postgresql.auto.conf", "").unwrap();
    configure("log_filename = 'early.log'\n");
    guc::initialize().unwrap();
    assert!(guc::select_config_files(data_dir.to_str(), "postgres").is_ok());
    miscinit::config::apply_log_settings();

    let first = start_logger();
    ereport!(Log, "zero");
    wait_until("the first line is in the file", || read("log/early.log") == "LOG:  zero\n");
    configure("log_filename = 'server.log'\nlog_destination = 'stderr,csvlog'\n");
    kill(first, Signal::SIGHUP).unwrap();
    let files = "stderr log/server.log\ncsvlog log/server.csv\n";
    wait_until("there are other files", || read("current_logfiles") == files);
    miscinit::config::reload().unwrap();
    ereport!(Log, "one");
    wait_until("the next line is in the new file", || read("log/server.log").ends_with("LOG:  one\n"));
    fs::hard_link("log/server.log", "log/before.log").unwrap();
    fs::remove_file("log/server.log").unwrap();
    kill(first, Signal::SIGUSR1).unwrap();
    wait_until("there is a new file", || Path::new("log/server.log").exists());
    ereport!(Log, "two");
    wait_until("the second line is in the new file", || read("log/server.log") == "LOG:  two\n");

    kill(first, Signal::SIGKILL).unwrap();
    waitpid(first, None).unwrap();
    ereport!(Log, "while nobody listens");
    let second = start_logger();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        kill(second, signal).unwrap();
    }
    assert!(Command::new("sh").args(["-c", "echo plain words >&2"]).status().unwrap().success());
    ereport!(Log, "three");
    wait_until("the second logger took over", || read("log/server.log").ends_with("LOG:  three\n"));

    let me = nix::unistd::getpid();
    in_child(|| {
        syslogger::close_in_child();
        wait_until("the postmaster is gone", || getppid() != me);
        ereport!(Log, "{}", "y".repeat(10_000));
        ereport!(Log, "last words");
        std::process::exit(0)
    });
    std::process::exit(0)
}

fn configure(text: &str) {
    fs::write("postgresql.conf", format!("log_line_prefix = ''\n{text}")).unwrap();
}

fn start_logger() -> Pid {
    syslogger::prepare().unwrap();
    let logger = in_child(|| {
        let start = ChildStart {
            kind: BackendType::Logger,
            slot: 0,
            cancel_key: 0,
            client: None,
            can_accept: CanAccept::Ok,
            detail: None,
        };
        miscinit::child::run(syslogger::syslogger_main, start)
    });
    syslogger::redirect_stderr().unwrap();
    logger
}

fn in_child(work: impl FnOnce()) -> Pid {
    // A child is born with all signals held back, so that none meets it before it has said what it means.
    miscinit::signals::block_all();
    // SAFETY: this process has one thread, so the child's memory is whole.
    #[allow(clippy::disallowed_methods, reason = "the postmaster of this test")]
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            miscinit::signals::unblock();
            child
        }
        ForkResult::Child => {
            work();
            unreachable!("the child's work does not return")
        }
    }
}
