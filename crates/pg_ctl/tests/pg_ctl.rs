//! Every command in every situation, against a fake server that is a shell script.
//!
//! Each test is a conversation: commands, and what they print and return. If PostgreSQL is installed, its
//! own pg_ctl has to hold the same conversation word by word.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod scratch;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scratch::{NO_PID, Scratch, UNPRIVILEGED, check, check_ours};

#[test]
fn start_status_stop() {
    check(
        "life",
        r#"
$ status -D data
pg_ctl: no server running
rc 3
$ start -D data -l log
waiting for server to start.... done
server started
rc 0
$ status -D data
pg_ctl: server is running (PID: N)
DIR/bin/postgres "-D" "data"
rc 0
$ reload -D data
server signaled
rc 0
# until-signals HUP
$ stop -D data
waiting for server to shut down.... done
server stopped
rc 0
# until-signals HUP INT
$ stop -D data
E pg_ctl: PID file "data/postmaster.pid" does not exist
E Is server running?
rc 1
"#,
    );
}

#[test]
fn stop_modes_and_options() {
    check(
        "modes",
        r#"
$ -s -w start -D data/ -l 'a log' -o '-c a=b' -o '-c "x y"'
rc 0
$ status -D data
pg_ctl: server is running (PID: N)
DIR/bin/postgres "-D" "data" "-c" "a=b" "-c" "x y"
rc 0
$ stop -D data -m smart
waiting for server to shut down.... done
server stopped
rc 0
$ start -s -D data -l log
rc 0
$ stop -s -m immediate -D data
rc 0
$ start -s -D data -l log
rc 0
$ stop -W -m f -D data
server shutting down
rc 0
# until-down
# until-signals TERM QUIT INT
"#,
    );
}

#[test]
fn start_that_fails_or_takes_long() {
    check(
        "slow",
        r#"
# behaviour fail
$ start -D data -l log
waiting for server to start.... stopped waiting
E pg_ctl: could not start server
E Examine the log output.
rc 1
$ start -W -D data -l log
server starting
rc 0
# until-signals FAIL FAIL
$ start -D data -l log -p /nonexistent/postgres -s
E pg_ctl: could not start server
E Examine the log output.
rc 1
# behaviour slow
$ start -D data -l log -t 1
waiting for server to start.... stopped waiting
E pg_ctl: server did not start in time
rc 1
# behaviour standby
$ restart -D data -l log
waiting for server to shut down.... done
server stopped
waiting for server to start.... done
server started
rc 0
$ stop -D data -s
rc 0
"#,
    );
}

#[test]
fn the_server_that_does_not_stop() {
    check(
        "stubborn",
        r#"
# behaviour stubborn
$ start -D data -l log -s
rc 0
$ stop -D data -t 1 -m smart
waiting for server to shut down.... failed
E pg_ctl: server does not shut down
E HINT: The "-m fast" option immediately disconnects sessions rather than
E waiting for session-initiated disconnection.
rc 1
$ restart -D data -t 1 -s
E pg_ctl: server does not shut down
rc 1
$ stop -D data -m i -s
rc 0
# until-signals TERM INT QUIT
"#,
    );
}

#[test]
fn left_over_pid_files() {
    let conversation = r#"
# pidfile PID\n
$ status -D data
pg_ctl: no server running
rc 3
$ stop -D data
E pg_ctl: could not send stop signal (PID: N): No such process
rc 1
$ reload -D data
E pg_ctl: could not send reload signal (PID: N): No such process
rc 1
$ logrotate -D data
E pg_ctl: could not send log rotation signal (PID: N): No such process
rc 1
# absent logrotate
# state primary
$ promote -D data
E pg_ctl: cannot promote server; server is not in standby mode
rc 1
# state standby
$ promote -D data
E pg_ctl: could not send promote signal (PID: N): No such process
rc 1
# absent promote
$ start -D data -l log
waiting for server to start.... done
server started
E pg_ctl: another server might be running; trying to start server anyway
rc 0
$ stop -D data -s
rc 0
# pidfile PID\n
$ restart -D data -l log
waiting for server to start.... done
server started
E pg_ctl: old server process (PID: N) seems to be gone
E starting server anyway
rc 0
$ stop -D data -s
rc 0
"#;
    check("stale", &conversation.replace("pidfile PID", &format!("pidfile {NO_PID}")));
}

#[test]
fn restart_without_a_server() {
    check(
        "restart",
        r#"
$ restart -D data -l log
E pg_ctl: PID file "data/postmaster.pid" does not exist
E Is server running?
E trying to start server anyway
E pg_ctl: could not read file "data/postmaster.opts"
rc 1
# opts a\nb\n
$ restart -D data -l log
E pg_ctl: PID file "data/postmaster.pid" does not exist
E Is server running?
E trying to start server anyway
E pg_ctl: option file "data/postmaster.opts" must have exactly one line
rc 1
$ start -D data -l log -s -o '-p 1234'
rc 0
$ restart -D data -l log
waiting for server to shut down.... done
server stopped
waiting for server to start.... done
server started
rc 0
$ status -D data
pg_ctl: server is running (PID: N)
DIR/bin/postgres "-D" "data" "-p" "1234"
rc 0
$ restart -D data -l log -s -m i -o '-p 99'
rc 0
$ status -D data
pg_ctl: server is running (PID: N)
DIR/bin/postgres "-p" "99"
rc 0
$ stop -D data -s
rc 0
$ restart -D data -l log
waiting for server to start.... done
server started
E pg_ctl: PID file "data/postmaster.pid" does not exist
E Is server running?
E trying to start server anyway
rc 0
$ stop -D data -s
rc 0
"#,
    );
}

#[test]
fn promote_and_logrotate() {
    check(
        "promote",
        r#"
# state standby
$ start -D data -l log -s
rc 0
$ promote -D data
waiting for server to promote.... done
server promoted
rc 0
# absent promote
$ promote -D data
E pg_ctl: cannot promote server; server is not in standby mode
rc 1
$ logrotate -D data
server signaled to rotate log file
rc 0
# exists logrotate
# until-signals USR1 USR1
# state standby
# remove primary_control
$ promote -D data -t 1
waiting for server to promote.... stopped waiting
E pg_ctl: server did not promote in time
rc 1
$ promote -D data -W
server promoting
rc 0
$ stop -D data -s
rc 0
"#,
    );
}

#[test]
fn single_user_server() {
    // This process plays the server: it is alive, and neither pg_ctl nor its parent.
    let mut server = Command::new("/bin/sh");
    server.args(["-c", "read line"]).stdin(std::process::Stdio::piped());
    if common::user::is_root() {
        server.uid(UNPRIVILEGED);
    }
    let mut server = server.spawn().unwrap();
    let conversation = r#"
# pidfile -SERVER\n
$ status -D data
pg_ctl: single-user server is running (PID: N)
rc 0
$ stop -D data
E pg_ctl: cannot stop server; single-user server is running (PID: N)
rc 1
$ restart -D data
E pg_ctl: cannot restart server; single-user server is running (PID: N)
E Please terminate the single-user server and try again.
rc 1
$ reload -D data
E pg_ctl: cannot reload server; single-user server is running (PID: N)
E Please terminate the single-user server and try again.
rc 1
$ promote -D data
E pg_ctl: cannot promote server; single-user server is running (PID: N)
rc 1
$ logrotate -D data
E pg_ctl: cannot rotate log file; single-user server is running (PID: N)
rc 1
"#;
    check("single", &conversation.replace("SERVER", &server.id().to_string()));
    drop(server.stdin.take());
    server.wait().unwrap();
}

#[test]
fn what_is_no_cluster() {
    check(
        "nothing",
        r#"
$ status -D missing
E pg_ctl: directory "missing" does not exist
rc 4
$ stop -D missing
E pg_ctl: directory "missing" does not exist
rc 1
$ start -D missing -l log
E pg_ctl: directory "missing" does not exist
rc 1
$ status -D bin
E pg_ctl: directory "bin" is not a database cluster directory
rc 4
$ reload -D bin
E pg_ctl: directory "bin" is not a database cluster directory
rc 1
# pidfile
$ status -D data
E pg_ctl: the PID file "data/postmaster.pid" is empty
rc 1
# pidfile nonsense\n
$ stop -D data
E pg_ctl: invalid data in PID file "data/postmaster.pid"
rc 1
$ init -D data
E program "initdb" is needed by pg_ctl but was not found in the same directory as "DIR/bin/pg_ctl"
rc 1
"#,
    );
}

#[test]
fn usage_errors() {
    let advice = "E Try \"pg_ctl --help\" for more information.\nrc 1";
    let conversation = r#"
$ -D data
E pg_ctl: no operation specified
ADVICE
$ frob -D data
E pg_ctl: unrecognized operation mode "frob"
ADVICE
$ start stop -D data
E pg_ctl: too many command-line arguments (first is "start")
ADVICE
$ stop -m weird
E pg_ctl: unrecognized shutdown mode "weird"
ADVICE
$ status
E pg_ctl: no database directory specified and environment variable PGDATA unset
ADVICE
$ kill TERM
E pg_ctl: missing arguments for kill mode
ADVICE
$ kill FOO 1
E pg_ctl: unrecognized signal name "FOO"
ADVICE
$ kill TERM NOPID
E pg_ctl: could not send signal 15 (PID: NOPID): No such process
rc 1
$ status --frob
E DIR/bin/pg_ctl: unrecognized option '--frob'
ADVICE
$ status -D
E DIR/bin/pg_ctl: option requires an argument -- 'D'
ADVICE
$ -Z
E DIR/bin/pg_ctl: invalid option -- 'Z'
ADVICE
"#;
    check("usage", &conversation.replace("ADVICE", advice).replace("NOPID", NO_PID));
    check_ours(
        "kill",
        &"$ kill TERM abc\nE pg_ctl: invalid process ID \"abc\"\nADVICE\n".replace("ADVICE", advice),
    );
}

#[test]
fn a_start_is_noticed_at_once() {
    let scratch = Scratch::new("fast", Path::new(env!("CARGO_BIN_EXE_pg_ctl")));
    // Two waits each. With a look only each tenth of a second none could be faster than two tenths. One
    // fast round is enough: the machine may be busy.
    let round = || {
        let begin = Instant::now();
        assert!(scratch.run("start -D data -l log -s").ends_with("rc 0\n"));
        assert!(scratch.run("stop -D data -s").ends_with("rc 0\n"));
        begin.elapsed()
    };
    let fastest = (0..10).map(|_| round()).min().unwrap();
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
}

#[test]
fn a_server_dead_but_not_reaped_is_gone() {
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    let scratch = Scratch::new("zombie", Path::new(env!("CARGO_BIN_EXE_pg_ctl")));
    scratch.wait_for("the end", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    scratch.prepare(&format!("pidfile {}\\n", child.id()));
    assert!(scratch.run("status -D data").ends_with("pg_ctl: no server running\nrc 3\n"));
    let stop = scratch.run("stop -D data");
    assert!(
        stop.ends_with("E pg_ctl: could not send stop signal (PID: N): No such process\nrc 1\n"),
        "{stop}"
    );
    scratch.prepare("remove postmaster.pid");
    child.wait().unwrap();
}

#[test]
fn an_interrupt_during_the_start_reaches_the_server() {
    let scratch = Scratch::new("interrupt", Path::new(env!("CARGO_BIN_EXE_pg_ctl")));
    scratch.prepare("behaviour slow");
    let mut pg_ctl = scratch.command(&["start", "-D", "data", "-l", "log", "-s"]).spawn().unwrap();
    scratch.prepare("until-up");
    kill(Pid::from_raw(pg_ctl.id() as i32), Signal::SIGINT).unwrap();
    let status = pg_ctl.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::SIGINT as i32));
    scratch.prepare("until-signals INT");
    scratch.prepare("until-down");
}

#[test]
fn init_runs_initdb() {
    let scratch = Scratch::new("init", Path::new(env!("CARGO_BIN_EXE_pg_ctl")));
    let initdb = scratch.dir.join("bin/initdb");
    std::fs::write(&initdb, "#!/bin/sh\necho \"initdb $*\"\n[ \"$3\" != fail ]\n").unwrap();
    std::fs::set_permissions(&initdb, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(scratch.run("init -D new -o -N"), "$ init -D new -o -N\ninitdb -D new -N\nrc 0\n");
    assert_eq!(scratch.run("initdb -s -D new"), "$ initdb -s -D new\nrc 0\n");
    assert_eq!(
        scratch.run("init -s -D new -o fail"),
        "$ init -s -D new -o fail\nE pg_ctl: database system initialization failed\nrc 1\n"
    );
}

#[test]
fn root_is_refused_but_may_ask_for_help() {
    let program = env!("CARGO_BIN_EXE_pg_ctl");
    for (word, beginning) in [("--help", "pg_ctl is a utility"), ("--version", "pg_ctl (PostgreSQL) 15.")] {
        let output = Command::new(program).arg(word).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with(beginning));
    }
    if !common::user::is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let output = Command::new(program).args(["status", "-D", "/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "pg_ctl: cannot be run as root\nPlease log in (using, e.g., \"su\") as the (unprivileged) user that will\nown the server process.\n"
    );
}
