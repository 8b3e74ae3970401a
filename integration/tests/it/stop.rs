//! The three ways to stop, with sessions of every kind, one request overtaking another, and single sessions
//! sent away.

use std::net::TcpStream;

use integration::{Cluster, Server, Stop, Wire, on_each_server, procfs, wait_until};
use nix::sys::signal::Signal;

use crate::support::{cluster_of, refusal_in_a_stop, started, state_of, without_stop_report};

const ADMIN_SHUTDOWN: [&str; 2] =
    ["FATAL:  57P01: terminating connection due to administrator command", "EOF"];
const IMMEDIATE: [&str; 2] =
    ["WARNING:  57P01: terminating connection due to immediate shutdown command", "EOF"];
const SHUTTING_DOWN: [&str; 2] = ["FATAL:  57P03: the database system is shutting down", "EOF"];
const STARTING_UP: [&str; 2] = ["FATAL:  57P03: the database system is starting up", "EOF"];

/// An idle session, one in a transaction, one asleep in a statement, one that computes.
fn sessions(cluster: &Cluster) -> [Wire; 4] {
    let idle = Wire::connect(cluster);
    let mut in_transaction = Wire::connect(cluster);
    assert_eq!(in_transaction.query("begin"), ["BEGIN"]);
    let mut asleep = Wire::connect(cluster);
    asleep.begin("select pg_sleep(1000)");
    let mut computing = Wire::connect(cluster);
    computing.begin("select count(*) from generate_series(1, 1000000000)");
    for session in [&asleep, &computing] {
        cluster.wait_for_activity(session.pid, " SELECT");
    }
    for session in [&idle, &in_transaction, &asleep] {
        cluster.wait_until_asleep(session.pid);
    }
    [idle, in_transaction, asleep, computing]
}

#[test]
fn fast_sends_everyone_away() {
    on_each_server("fast stop", |server| {
        let cluster = started(server, &[]);
        let mut sessions = sessions(&cluster);
        cluster.mark_log();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        for session in &mut sessions {
            assert_eq!(session.answer(), ADMIN_SHUTDOWN, "{server:?}");
        }
        let log = cluster.normalised(&cluster.new_log());
        let sent_away = "FATAL:  terminating connection due to administrator command\n";
        assert_eq!(log.matches(sent_away).count(), sessions.len(), "{log}");
        assert!(
            log.starts_with("LOG:  received fast shutdown request\nLOG:  aborting any active transactions\n")
        );
        assert!(log.ends_with("LOG:  checkpoint complete\nLOG:  database system is shut down\n"), "{log}");
    });
}

#[test]
fn immediate_says_so_and_writes_no_checkpoint() {
    on_each_server("immediate stop", |server| {
        let cluster = started(server, &[]);
        cluster.wait_for_log("ready to accept connections");
        let mut sessions = sessions(&cluster);
        cluster.mark_log();
        assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0));
        for session in &mut sessions {
            assert_eq!(session.answer(), IMMEDIATE, "{server:?}");
        }
        let expected = ["LOG:  received immediate shutdown request", "LOG:  database system is shut down"];
        assert_eq!(cluster.new_log_lines(), expected, "{server:?}");
    });
}

#[test]
fn smart_waits_for_the_last_client() {
    on_each_server("smart stop", |server| {
        let cluster = started(server, &[]);
        let (mut first, mut second) = (Wire::connect(&cluster), Wire::connect(&cluster));
        assert_eq!(second.query("begin"), ["BEGIN"]);
        let roster = cluster.roster().len();
        cluster.mark_log();
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_new_log("received smart shutdown request");
        assert_eq!(cluster.pid_file_line(8).as_deref(), Some("stopping"));
        assert_eq!(refusal_in_a_stop(&cluster), SHUTTING_DOWN, "{server:?}");
        // They go on, with everyone who serves them.
        assert_eq!(first.query("select 6 * 7"), ["42", "SELECT 1"]);
        assert_eq!(first.query("checkpoint"), ["CHECKPOINT"]);
        assert_eq!(second.query("commit"), ["COMMIT"]);
        wait_until("the roster is whole", || cluster.roster().len() >= roster);
        first.quit();
        assert_eq!(second.query("select 1"), ["1", "SELECT 1"]);
        second.quit();
        assert_eq!(cluster.wait_for_end().code(), Some(0));
        let log = cluster.normalised(&cluster.new_log());
        assert!(log.starts_with("LOG:  received smart shutdown request\n"), "{log}");
        assert!(!log.contains("aborting any active transactions"), "{log}");
        assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
    });
}

#[test]
fn each_request_overtakes_the_weaker_one() {
    on_each_server("smart, then fast, then immediate", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        cluster.mark_log();
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_new_log("received smart shutdown request");
        assert_eq!(session.query("select 1"), ["1", "SELECT 1"]);
        // A session that cannot leave keeps the fast stop waiting.
        cluster.signal(session.pid, Signal::SIGSTOP);
        wait_until("it is stopped", || state_of(session.pid) == Some('T'));
        cluster.signal_postmaster(Stop::Fast.signal());
        cluster.wait_for_new_log("received fast shutdown request");
        assert_eq!(refusal_in_a_stop(&cluster), SHUTTING_DOWN, "{server:?}");
        // A weaker one now is ignored without a word.
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.signal_postmaster(Stop::Immediate.signal());
        cluster.wait_for_new_log("received immediate shutdown request");
        cluster.signal(session.pid, Signal::SIGCONT);
        assert_eq!(cluster.wait_for_end().code(), Some(0));
        let log = cluster.normalised(&cluster.new_log());
        let requests: Vec<&str> = log.lines().filter(|line| line.contains("shutdown request")).collect();
        let expected = [
            "LOG:  received smart shutdown request",
            "LOG:  received fast shutdown request",
            "LOG:  received immediate shutdown request",
        ];
        assert_eq!(requests, expected, "{server:?}");
        assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
        // Signalled twice while stopped, it may have heard of either.
        let last = session.answer();
        assert!(last == IMMEDIATE || last == ADMIN_SHUTDOWN || last == ["EOF"], "{last:?}");
        assert_eq!(cluster.processes(), []);
    });
}

#[test]
fn smart_then_fast() {
    on_each_server("smart, then fast", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        cluster.mark_log();
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_new_log("received smart shutdown request");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(session.answer(), ADMIN_SHUTDOWN);
        let log = cluster.normalised(&cluster.new_log());
        assert!(log.contains("LOG:  aborting any active transactions\n"), "{log}");
        assert!(log.contains("LOG:  checkpoint complete\n"), "{log}");
    });
}

#[test]
fn stop_during_startup() {
    on_each_server("stop during startup", |server| {
        for how in [Stop::Smart, Stop::Fast, Stop::Immediate] {
            let cluster = cluster_of(server, &[]);
            cluster.run_once_and_crash();
            cluster.mark_log();
            let startup = cluster.start_held();
            assert_eq!(Wire::refusal(&cluster), STARTING_UP, "{server:?}");
            cluster.signal_postmaster(how.signal());
            cluster.wait_for_new_log(&format!("received {} shutdown request", how.word()));
            assert_eq!(refusal_in_a_stop(&cluster), SHUTTING_DOWN, "{server:?}");
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(startup.pid), Signal::SIGCONT);
            assert_eq!(cluster.wait_for_end().code(), Some(0), "{how:?}, {server:?}");
            startup.finish_log();
            let log = cluster.normalised(&cluster.new_log());
            assert!(!log.contains("aborting any active transactions"), "{log}");
            assert!(!log.contains("ready to accept connections"), "{how:?}: {log}");
            assert!(log.ends_with("LOG:  database system is shut down\n"), "{how:?}: {log}");
            assert_eq!(cluster.processes(), []);
            cluster.start();
        }
    });
}

/// A connection that has not said who it is.
#[test]
fn silent_connections() {
    on_each_server("connections without a start-up packet", |server| {
        for how in [Stop::Fast, Stop::Immediate] {
            let cluster = started(server, &[]);
            let roster = cluster.processes().len();
            let mut silent = Wire::open(&cluster);
            wait_until("it has its process", || cluster.processes().len() > roster);
            assert_eq!(cluster.stop(how).code(), Some(0), "{how:?}");
            assert_eq!(silent.answer(), ["EOF"], "{how:?}, {server:?}");
        }
        // In a smart stop it counts as a client.
        let cluster = started(server, &[]);
        let before = cluster.processes().len();
        let mut silent = Wire::open(&cluster);
        wait_until("it has its process", || cluster.processes().len() > before);
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_log("received smart shutdown request");
        assert!(procfs::is_alive(cluster.postmaster_pid()));
        silent.no_more();
        assert_eq!(silent.answer(), ["EOF"]);
        assert_eq!(cluster.wait_for_end().code(), Some(0), "{server:?}");
    });
}

#[test]
fn a_session_of_its_own_hears_sigterm() {
    on_each_server("SIGTERM to sessions", |server| {
        let cluster = started(server, &[]);
        let mut other = Wire::connect(&cluster);
        for session in &mut sessions(&cluster) {
            cluster.signal(session.pid, Signal::SIGTERM);
            assert_eq!(session.answer(), ADMIN_SHUTDOWN, "{server:?}");
            wait_until("its process is gone", || !procfs::is_alive(session.pid));
        }
        assert_eq!(other.query("select 1"), ["1", "SELECT 1"], "the others go on");
        assert!(!cluster.log().contains("terminating any other"), "{}", cluster.log());
    });
}

#[test]
fn sigint_cancels_a_statement_only() {
    on_each_server("SIGINT to sessions", |server| {
        let cluster = started(server, &[]);
        let [mut idle, _, mut asleep, mut computing] = sessions(&cluster);
        let cancelled = "ERROR:  57014: canceling statement due to user request";
        for session in [&mut asleep, &mut computing] {
            cluster.signal(session.pid, Signal::SIGINT);
            assert_eq!(session.answer(), [cancelled], "{server:?}");
            assert_eq!(session.query("select 1"), ["1", "SELECT 1"]);
        }
        cluster.signal(idle.pid, Signal::SIGINT);
        assert_eq!(idle.query("select 1"), ["1", "SELECT 1"], "nothing runs, nothing is cancelled");
    });
}

#[test]
fn pg_cancel_and_pg_terminate() {
    on_each_server("pg_cancel_backend, pg_terminate_backend", |server| {
        let cluster = started(server, &[]);
        let mut admin = Wire::connect(&cluster);
        let [mut idle, mut in_transaction, mut asleep, mut computing] = sessions(&cluster);
        for session in [&mut asleep, &mut computing] {
            let call = format!("select pg_cancel_backend({})", session.pid);
            assert_eq!(admin.query(&call), ["t", "SELECT 1"]);
            assert_eq!(session.answer(), ["ERROR:  57014: canceling statement due to user request"]);
        }
        asleep.begin("select pg_sleep(1000)");
        cluster.wait_for_activity(asleep.pid, " SELECT");
        for session in [&mut idle, &mut in_transaction, &mut asleep, &mut computing] {
            let call = format!("select pg_terminate_backend({})", session.pid);
            assert_eq!(admin.query(&call), ["t", "SELECT 1"]);
            assert_eq!(session.answer(), ADMIN_SHUTDOWN, "{server:?}");
        }
        // With a timeout it waits until the process is gone.
        let victim = Wire::connect(&cluster);
        let call = format!("select pg_terminate_backend({}, 60000)", victim.pid);
        assert_eq!(admin.query(&call), ["t", "SELECT 1"]);
        assert!(!procfs::is_alive(victim.pid));
        let stranger = "select pg_terminate_backend(32766), pg_cancel_backend(32766)";
        let warning = "WARNING:  01000: PID 32766 is not a PostgreSQL backend process";
        assert_eq!(admin.query(stranger), [warning, warning, "f|f", "SELECT 1"], "{server:?}");
        let call = format!("select pg_terminate_backend({})", admin.pid);
        let mut told = vec!["t"];
        told.extend(ADMIN_SHUTDOWN);
        assert_eq!(admin.query(&call), told, "{server:?}");
    });
}

#[test]
fn cancel_requests() {
    on_each_server("cancel requests", |server| {
        let cluster = started(server, &[]);
        let [mut idle, _, mut asleep, mut computing] = sessions(&cluster);
        // With a wrong key nothing happens, on either side.
        let right = asleep.key;
        asleep.key = right.wrapping_add(1);
        asleep.cancel(&cluster);
        cluster.wait_for_log("wrong key in cancel request for process");
        asleep.key = right;
        for session in [&mut asleep, &mut computing] {
            session.cancel(&cluster);
            assert_eq!(session.answer(), ["ERROR:  57014: canceling statement due to user request"]);
        }
        idle.cancel(&cluster);
        assert_eq!(idle.query("select 1"), ["1", "SELECT 1"]);
    });
}

#[test]
fn more_clients_than_slots() {
    on_each_server("too many clients", |server| {
        let cluster = started(server, &["max_connections = 5", "superuser_reserved_connections = 2"]);
        let sessions: Vec<Wire> = (0..5).map(|_| Wire::connect(&cluster)).collect();
        assert_eq!(Wire::refusal(&cluster), ["FATAL:  53300: sorry, too many clients already", "EOF"]);
        let before = cluster.processes().len();
        let silent: Vec<TcpStream> = (0..20)
            .map(|_| TcpStream::connect(("127.0.0.1", cluster.port())).expect("the server listens"))
            .collect();
        // Those still in the listen queue would come in as dead ends.
        wait_until("each has its process", || cluster.processes().len() == before + silent.len());
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{server:?}");
        for mut session in sessions {
            assert_eq!(session.answer(), ADMIN_SHUTDOWN);
        }
        assert_eq!(cluster.processes(), []);
    });
}

#[test]
fn a_stop_waits_for_its_dead_ends() {
    on_each_server("dead ends", |server| {
        let cluster = started(server, &[]);
        let session = Wire::connect(&cluster);
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_log("received smart shutdown request");
        // Its process lives only to say no, and waits for somebody to say it to.
        let before = cluster.processes().len();
        let mut silent = Wire::open(&cluster);
        wait_until("it has its process", || cluster.processes().len() > before);
        session.quit();
        cluster.wait_for_log("checkpoint complete");
        wait_until("only the dead end is left", || cluster.processes().len() == 2);
        let refused = silent.start_session(&[("user", "postgres"), ("database", "postgres")]);
        assert_eq!(without_stop_report(refused), SHUTTING_DOWN, "{server:?}");
        assert_eq!(cluster.wait_for_end().code(), Some(0));
    });
}

#[test]
fn a_stop_is_not_confused_by_a_crash() {
    on_each_server("crash during a stop", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        cluster.mark_log();
        cluster.signal_postmaster(Stop::Smart.signal());
        cluster.wait_for_new_log("received smart shutdown request");
        cluster.kill(cluster.wait_for_process("postgres: checkpointer"));
        assert_eq!(session.answer().last().map(String::as_str), Some("EOF"));
        assert_eq!(cluster.wait_for_end().code(), Some(1), "{server:?}");
        let log = cluster.normalised(&cluster.new_log());
        assert!(
            log.contains("LOG:  checkpointer process (PID N) was terminated by signal 9: Killed\n"),
            "{log}"
        );
        assert!(log.contains("LOG:  abnormal database system shutdown\n"), "{log}");
        assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
    });
}

#[test]
fn the_pid_file_says_stopping() {
    let cluster = Cluster::started(&[]);
    let session = Wire::connect(&cluster);
    cluster.signal(session.pid, Signal::SIGSTOP);
    cluster.signal_postmaster(Stop::Fast.signal());
    wait_until("line 8 says stopping", || cluster.pid_file_line(8).as_deref() == Some("stopping"));
    cluster.signal(session.pid, Signal::SIGCONT);
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    assert_eq!(cluster.server(), Server::Ours);
}
