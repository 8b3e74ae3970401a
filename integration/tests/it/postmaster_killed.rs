//! The postmaster killed with -9: the first reference document, sentence by sentence.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::process::{self, Process};
use integration::{Cluster, Server, Stop, Wire, procfs, wait_until};
use nix::sys::signal::Signal;

use crate::support::started;

const NO_SUCH_PROCESS: &str = "ERROR:  XX000: could not signal for checkpoint: No such process";

/// What a session is told once, at its next statement.
const ORPHANED: [&str; 3] = [
    "WARNING:  01000: the postmaster of this session has died",
    "DETAIL:  The session goes on, and what it commits synchronously is safe, but nobody accepts connections, makes checkpoints or collects statistics any more.",
    "HINT:  Finish your work and disconnect; the server can be started again when all its sessions have ended.",
];

/// A session on the Unix socket, as in the document.
fn local_session(cluster: &Cluster) -> Wire {
    let mut session = Wire::open_local(cluster);
    session.start_session(&[("user", "postgres"), ("database", "postgres")]);
    session
}

/// The titles of all that is left of a cluster.
fn titles(cluster: &Cluster) -> Vec<String> {
    cluster.processes().into_iter().map(|process| process.title).collect()
}

fn only_these_are_left(cluster: &Cluster, expected: &[&str]) {
    wait_until(&format!("only {expected:?} are left"), || titles(cluster) == expected);
}

/// The answer without the warning, which may come with it or have come before.
#[track_caller]
fn query_after_death(session: &mut Wire, sql: &str) -> Vec<String> {
    without_warning(session.query(sql))
}

fn without_warning(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !ORPHANED.contains(&line.as_str())).collect()
}

#[test]
fn only_sessions_and_the_logger_remain() {
    let cluster = Cluster::started(&["logging_collector = on", "log_filename = 'server.log'"]);
    let collected = || fs::read_to_string(cluster.data_dir().join("log/server.log")).unwrap_or_default();
    let mut session = local_session(&cluster);
    let postmaster = cluster.postmaster_pid();
    let logger = cluster.wait_for_process("postgres: logger process");
    cluster.kill(postmaster);
    let session_title = "postgres: postgres postgres [local] idle";
    only_these_are_left(&cluster, &["postgres: logger process", session_title]);
    // It goes on computing, and its errors reach the log.
    assert_eq!(query_after_death(&mut session, "select 6 * 7"), ["42", "SELECT 1"]);
    assert_eq!(session.query("begin"), ["BEGIN"]);
    assert_eq!(session.query("set work_mem = '5MB'"), ["SET"]);
    assert_eq!(session.query("commit"), ["COMMIT"]);
    assert_eq!(session.query("show work_mem"), ["5MB", "SHOW"]);
    assert_eq!(session.query("nonsense")[0], "ERROR:  42601: syntax error at or near \"nonsense\"");
    wait_until("the log has it", || collected().contains("syntax error at or near \"nonsense\""));
    let parent = procfs::state_and_parent(session.pid).map(|(_, parent)| parent);
    assert_ne!(parent, Some(postmaster));
    // The end of the session is the end of the logger, whose last line is there.
    session.query("set log_disconnections = on");
    session.begin("another nonsense");
    session.answer();
    session.quit();
    only_these_are_left(&cluster, &[]);
    assert!(!procfs::is_alive(logger));
    assert!(collected().contains("another nonsense"), "{}", collected());
    assert_eq!(cluster.pid_file_line(8).as_deref(), Some("ready   "), "the dead server's file stays");
}

#[test]
fn a_session_is_warned_once_and_can_ask() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    assert_eq!(session.query("select pg_postmaster_is_alive()"), ["t", "SELECT 1"]);
    cluster.kill(cluster.postmaster_pid());
    let mut expected = ORPHANED.to_vec();
    expected.extend(["f", "SELECT 1"]);
    assert_eq!(session.query("select pg_postmaster_is_alive()"), expected);
    for _ in 0..3 {
        assert_eq!(session.query("select pg_postmaster_is_alive()"), ["f", "SELECT 1"]);
    }
}

#[test]
fn a_long_statement_is_not_disturbed() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    session.begin("select count(*) from generate_series(1, 2000000)");
    cluster.wait_for_activity(session.pid, " SELECT");
    cluster.kill(cluster.postmaster_pid());
    assert_eq!(without_warning(session.answer()), ["2000000", "SELECT 1"]);
    assert_eq!(query_after_death(&mut session, "select 1"), ["1", "SELECT 1"]);
}

#[test]
fn a_sleeping_statement_wakes_as_if_nothing_had_happened() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    session.begin("select pg_sleep(1), 'awake'");
    cluster.wait_for_activity(session.pid, " SELECT");
    cluster.kill(cluster.postmaster_pid());
    assert_eq!(without_warning(session.answer()), ["|awake", "SELECT 1"]);
    assert_eq!(query_after_death(&mut session, "select 1"), ["1", "SELECT 1"]);
}

#[test]
fn checkpoint_says_why_not_at_once() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    session.show_routine = true;
    assert_eq!(session.query("checkpoint"), ["CHECKPOINT"]);
    let checkpointer = cluster.wait_for_process("postgres: checkpointer process");
    cluster.kill(cluster.postmaster_pid());
    wait_until("the checkpointer is gone", || !procfs::is_alive(checkpointer));
    let began = std::time::Instant::now();
    let answer = session.query("checkpoint");
    assert!(began.elapsed().as_secs() < 5, "PostgreSQL 15 tries for a minute");
    let error: Vec<&String> = answer.iter().skip_while(|line| !line.starts_with("ERROR")).collect();
    assert_eq!(error, [NO_SUCH_PROCESS, "LOCATION:  RequestCheckpoint"]);
    assert_eq!(session.query("select 1"), ["1", "SELECT 1"]);
}

#[test]
fn checkpoint_in_psql_with_verbose_errors() {
    let cluster = Cluster::started(&[]);
    let Some(mut psql) = cluster.client("psql") else { integration::skip!("psql is not installed") };
    // The script kills the postmaster when the session is there.
    let script = format!(
        "\\set VERBOSITY verbose\nselect pg_postmaster_is_alive();\n\\! kill -9 {}\n\
         select pg_sleep(0.1) from generate_series(1, 100) where pg_postmaster_is_alive();\ncheckpoint;\nselect 42;\n",
        cluster.postmaster_pid()
    );
    let output = process::run_with_input(psql.args(["-X", "-q", "-A", "-t"]), script.as_bytes());
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stdout.starts_with("t\n"), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("\n42\n"), "{stdout}\n{stderr}");
    assert!(stderr.contains(&format!("{NO_SUCH_PROCESS}\nLOCATION:  RequestCheckpoint, ")), "{stderr}");
    assert!(!stderr.contains("checkpointer.c"), "no invented source position: {stderr}");
}

/// Runs the postmaster below a process that never reaps, until what is returned is dropped.
fn start_unreaped(cluster: &Cluster) -> (Process, std::io::PipeWriter) {
    let (reader, keep) = std::io::pipe().expect("a pipe");
    let command = cluster.command("postgres");
    let program = command.get_program().to_owned();
    let log = fs::File::create(cluster.log_path()).expect("own folder");
    let mut wrapper =
        Command::new(integration::program_for_everybody(Path::new(env!("CARGO_BIN_EXE_unreaped"))));
    for (name, value) in command.get_envs() {
        wrapper.env(name, value.unwrap_or_default());
    }
    process::unprivileged(&mut wrapper);
    wrapper.current_dir(cluster.socket_dir()).arg(program).arg("-D").arg(cluster.data_dir());
    wrapper.stdin(reader).stdout(log.try_clone().expect("another handle")).stderr(log);
    let wrapper = process::spawn(&mut wrapper);
    wait_until("the server is ready", || cluster.pid_file_line(8).as_deref() == Some("ready   "));
    cluster.adopt_postmaster();
    (wrapper, keep)
}

/// A zombie can be signalled: `kill` alone does not tell that the checkpointer is gone.
#[test]
fn checkpoint_when_nobody_reaps_the_dead() {
    let cluster = Cluster::new();
    let (wrapper, keep) = start_unreaped(&cluster);
    let mut session = Wire::connect(&cluster);
    let checkpointer = cluster.wait_for_process("postgres: checkpointer process");
    cluster.kill(cluster.postmaster_pid());
    wait_until("the checkpointer is a zombie", || {
        procfs::state_and_parent(checkpointer).is_some_and(|(state, _)| state == 'Z')
    });
    let began = std::time::Instant::now();
    let answer = session.query("checkpoint");
    assert!(answer.contains(&NO_SUCH_PROCESS.to_owned()), "{answer:?}");
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(session.query("select 1"), ["1", "SELECT 1"]);
    assert!(procfs::state_and_parent(checkpointer).is_some(), "still a zombie");
    session.quit();
    drop(keep);
    assert_eq!(wrapper.wait().code(), Some(0));
}

#[test]
fn no_new_server_while_a_session_lives() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    cluster.kill(cluster.postmaster_pid());
    wait_until("only the session is left", || titles(&cluster).len() == 1);
    // PostgreSQL's own words, with the pid file and without it.
    for remove_pid_file in [false, true] {
        if remove_pid_file {
            fs::remove_file(cluster.data_dir().join("postmaster.pid")).expect("own file");
        }
        let output = cluster.run_postmaster(&[]);
        let stderr = cluster.normalised(&String::from_utf8_lossy(&output.stderr));
        let expected = "FATAL:  pre-existing shared memory block (key K, ID I) is still in use\n\
                        HINT:  Terminate any old server processes associated with data directory \"DATA\".\n";
        assert!(stderr.contains(expected), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(query_after_death(&mut session, "select 1"), ["1", "SELECT 1"]);
    }
    session.quit();
    wait_until("everyone is gone", || titles(&cluster).is_empty());
    cluster.start();
    let log = cluster.wait_for_log("automatic recovery in progress");
    assert!(log.contains("database system was interrupted"), "{log}");
    Wire::connect(&cluster).quit();
}

#[test]
fn pg_ctl_over_a_dead_server() {
    let cluster = Cluster::started(&[]);
    let session = Wire::connect(&cluster);
    cluster.kill(cluster.postmaster_pid());
    let said = |args: &[&str]| {
        let output = cluster.pg_ctl(args);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    assert_eq!(said(&["status"]), (Some(3), "pg_ctl: no server running\n".to_owned()));
    let (code, text) = said(&["-l", "log", "start"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("pg_ctl: another server might be running; trying to start server anyway\n"),
        "{text}"
    );
    session.quit();
    wait_until("everyone is gone", || titles(&cluster).is_empty());
    let (code, text) = said(&["-l", "log", "start"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("another server might be running"), "{text}");
}

#[test]
fn nobody_new_comes_in() {
    let cluster = Cluster::started(&[]);
    let _session = Wire::connect(&cluster);
    cluster.kill(cluster.postmaster_pid());
    wait_until("nobody listens", || std::net::TcpStream::connect(("127.0.0.1", cluster.port())).is_err());
    let socket = cluster.path(&format!(".s.PGSQL.{}", cluster.port()));
    assert!(socket.exists(), "the file stays");
    let refused = std::os::unix::net::UnixStream::connect(socket).map(|_| ()).map_err(|e| e.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
}

const UNEXPECTED_EXIT: &str = "FATAL:  57P01: terminating connection due to unexpected postmaster exit";

/// PostgreSQL 15 knows only this way, so it is asked too.
#[test]
fn sessions_that_leave_with_the_postmaster() {
    integration::on_each_server("exit on the postmaster's death", |server| {
        let config: &[&str] = match server {
            Server::Ours => &["backend_on_postmaster_death = exit"],
            Server::Real => &[],
        };
        let cluster = started(server, config);
        let (mut idle, mut in_transaction, mut computing) =
            (Wire::connect(&cluster), Wire::connect(&cluster), Wire::connect(&cluster));
        let mut asleep = Wire::connect(&cluster);
        in_transaction.query("begin");
        computing.begin("select count(*) from generate_series(1, 3000000)");
        asleep.begin("select pg_sleep(1000)");
        cluster.wait_for_activity(computing.pid, " SELECT");
        cluster.wait_for_activity(asleep.pid, " SELECT");
        for session in [&idle, &in_transaction, &asleep] {
            cluster.wait_until_asleep(session.pid);
        }
        cluster.kill(cluster.postmaster_pid());
        assert_eq!(idle.answer(), [UNEXPECTED_EXIT, "EOF"], "{server:?}");
        assert_eq!(in_transaction.answer(), [UNEXPECTED_EXIT, "EOF"], "{server:?}");
        // It finishes what it does, and leaves when it would wait for its client.
        assert_eq!(computing.answer(), ["3000000", "SELECT 1"], "{server:?}");
        assert_eq!(computing.answer(), [UNEXPECTED_EXIT, "EOF"], "{server:?}");
        // One that sleeps goes without a word.
        assert_eq!(asleep.answer(), ["EOF"], "{server:?}");
        only_these_are_left(&cluster, &[]);
        let log = cluster.log();
        assert_eq!(
            log.matches("terminating connection due to unexpected postmaster exit").count(),
            3,
            "{log}"
        );
        cluster.start();
    });
}

#[test]
fn the_choice_is_the_administrators() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    let refused = session.query("set backend_on_postmaster_death = exit");
    assert_eq!(refused, ["ERROR:  55P02: parameter \"backend_on_postmaster_death\" cannot be changed now"]);
    cluster.append_config("backend_on_postmaster_death = exit");
    assert_eq!(session.query("select pg_reload_conf()"), ["t", "SELECT 1"]);
    wait_until("the session has it", || session.query("show backend_on_postmaster_death")[0] == "exit");
    cluster.kill(cluster.postmaster_pid());
    assert_eq!(session.answer(), [UNEXPECTED_EXIT, "EOF"]);
}

#[test]
fn postmaster_killed_during_recovery() {
    let cluster = Cluster::new();
    cluster.run_once_and_crash();
    let startup = cluster.start_held();
    cluster.kill(cluster.postmaster_pid());
    cluster.signal(startup.pid, Signal::SIGCONT);
    only_these_are_left(&cluster, &[]);
    startup.finish_log();
    cluster.start();
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
}
