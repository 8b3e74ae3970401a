//! Each process killed in turn: what the log says, what the other clients hear, what is back afterwards.

use std::fs;

use integration::{Cluster, DEADLINE, Server, Stop, Wire, on_each_server, wait_until};
use nix::sys::signal::Signal;

use crate::support::{CRASH_FAREWELL, cluster_of, started, state_of};

/// A process, how each server calls it in `ps`, and how the log calls it.
struct Victim {
    ours: &'static str,
    real: &'static str,
    in_log: &'static str,
}

impl Victim {
    fn title(&self, server: Server) -> String {
        format!("postgres: {}", if server == Server::Ours { self.ours } else { self.real })
    }
}

/// The processes whose death means that shared memory may be corrupt.
const VICTIMS: [Victim; 4] = [
    Victim { ours: "checkpointer process", real: "checkpointer", in_log: "checkpointer process" },
    Victim { ours: "writer process", real: "background writer", in_log: "background writer process" },
    Victim { ours: "wal writer process", real: "walwriter", in_log: "WAL writer process" },
    Victim {
        ours: "autovacuum launcher process",
        real: "autovacuum launcher",
        in_log: "autovacuum launcher process",
    },
];

/// An idle session, one in a transaction, one asleep in a statement.
struct Sessions {
    idle: Wire,
    in_transaction: Wire,
    asleep: Wire,
}

impl Sessions {
    #[track_caller]
    fn of(cluster: &Cluster) -> Sessions {
        let (idle, mut in_transaction, mut asleep) =
            (Wire::connect(cluster), Wire::connect(cluster), Wire::connect(cluster));
        assert_eq!(in_transaction.query("begin"), ["BEGIN"]);
        asleep.begin("select pg_sleep(1000)");
        cluster.wait_for_activity(asleep.pid, " SELECT");
        for session in [&idle, &in_transaction, &asleep] {
            cluster.wait_until_asleep(session.pid);
        }
        Sessions { idle, in_transaction, asleep }
    }

    /// All of them hear the same and are disconnected.
    #[track_caller]
    fn all_hear(&mut self, expected: &[&str]) {
        for (name, session) in [
            ("idle", &mut self.idle),
            ("in transaction", &mut self.in_transaction),
            ("asleep", &mut self.asleep),
        ] {
            assert_eq!(session.answer(), expected, "the session that is {name}");
        }
    }
}

/// The log of a crash cycle after the line about the victim.
const CYCLE: [&str; 7] = [
    "LOG:  terminating any other active server processes",
    "LOG:  all server processes terminated; reinitializing",
    "LOG:  database system was interrupted; last known up at TIME",
    "LOG:  database system was not properly shut down; automatic recovery in progress",
    "LOG:  checkpoint starting: end-of-recovery immediate wait",
    "LOG:  checkpoint complete",
    "LOG:  database system is ready to accept connections",
];

/// New log lines without what recovery finds in WAL and without sessions that came at a bad moment.
fn cycle_lines(cluster: &Cluster) -> Vec<String> {
    let mut lines = cluster.new_log_lines();
    lines.retain(|line| {
        !["redo", "invalid record length", "FATAL:  the database system"]
            .iter()
            .any(|word| line.contains(word))
    });
    lines
}

#[test]
fn each_auxiliary_process_in_turn() {
    on_each_server("crash of auxiliary processes", |server| {
        let cluster = started(server, &[]);
        let postmaster = cluster.postmaster_pid();
        for victim in &VICTIMS {
            let mut sessions = Sessions::of(&cluster);
            let pid = cluster.wait_for_process(&victim.title(server));
            let before = settled_roster(&cluster);
            cluster.mark_log();
            cluster.kill(pid);
            sessions.all_hear(&CRASH_FAREWELL);
            cluster.wait_for_new_log("ready to accept connections");
            let name = victim.in_log;
            let mut expected = vec![format!("LOG:  {name} (PID N) was terminated by signal 9: Killed")];
            expected.extend(CYCLE.map(str::to_owned));
            assert_eq!(cycle_lines(&cluster), expected, "{name}, {server:?}");
            wait_until("everyone is back", || settled_roster(&cluster).len() == before.len());
            assert_eq!(sorted(cluster.roster()), sorted(before), "{name}, {server:?}");
            assert_ne!(cluster.wait_for_process(&victim.title(server)), pid);
            assert_eq!(cluster.postmaster_pid(), postmaster);
            assert_eq!(cluster.pid_file_line(8).as_deref(), Some("ready   "));
            Wire::connect(&cluster).quit();
        }
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// The roster once the start is over, without startup.
fn settled_roster(cluster: &Cluster) -> Vec<String> {
    let mut last = Vec::new();
    wait_until("the roster is complete", || {
        let now = cluster.roster();
        let settled = now == last && !now.iter().any(|title| title.starts_with("startup"));
        let complete = now.iter().any(|title| title.starts_with("autovacuum launcher"));
        let complete =
            complete && (cluster.server() == Server::Real || now.iter().any(|t| t.contains("stats")));
        last = now;
        settled && complete
    });
    last
}

fn sorted(mut titles: Vec<String>) -> Vec<String> {
    titles.sort();
    titles
}

#[test]
fn a_session_in_a_statement() {
    on_each_server("crash of a session", |server| {
        let cluster = started(server, &[]);
        // What it runs or, when idle, has run last.
        for (statement, activity) in
            [("select pg_sleep(1000)", " SELECT"), ("begin", " idle in transaction"), ("", " idle")]
        {
            let mut sessions = Sessions::of(&cluster);
            let mut victim = Wire::connect(&cluster);
            if !statement.is_empty() {
                victim.begin(statement);
            }
            cluster.wait_for_activity(victim.pid, activity);
            cluster.mark_log();
            cluster.kill(victim.pid);
            sessions.all_hear(&CRASH_FAREWELL);
            cluster.wait_for_new_log("ready to accept connections");
            let mut expected = vec!["LOG:  server process (PID N) was terminated by signal 9: Killed"];
            let detail = format!("DETAIL:  Failed process was running: {statement}");
            expected.extend((!statement.is_empty()).then_some(detail.as_str()));
            expected.extend(CYCLE);
            assert_eq!(cycle_lines(&cluster), expected, "{statement}, {server:?}");
            let mut told = victim.answer();
            if told == ["BEGIN"] {
                told = victim.answer();
            }
            assert_eq!(told, ["EOF"], "the victim's own client");
        }
    });
}

#[test]
fn without_restart_after_crash() {
    on_each_server("crash without restart", |server| {
        let cluster = started(server, &["restart_after_crash = off"]);
        for victim in ["session", "checkpointer"] {
            let mut sessions = Sessions::of(&cluster);
            let target = Wire::connect(&cluster);
            let (pid, name) = match victim {
                "session" => (target.pid, "server process"),
                _ => (cluster.wait_for_process("postgres: checkpointer"), "checkpointer process"),
            };
            cluster.mark_log();
            cluster.kill(pid);
            sessions.all_hear(&CRASH_FAREWELL);
            assert_eq!(cluster.wait_for_end().code(), Some(1));
            let expected = [
                &format!("LOG:  {name} (PID N) was terminated by signal 9: Killed"),
                "LOG:  terminating any other active server processes",
                "LOG:  shutting down because restart_after_crash is off",
                "LOG:  database system is shut down",
            ];
            assert_eq!(cluster.new_log_lines(), expected, "{server:?}");
            assert!(!cluster.data_dir().join("postmaster.pid").exists());
            assert!(!cluster.path(&format!(".s.PGSQL.{}", cluster.port())).exists());
            assert_eq!(cluster.processes(), []);
            assert_eq!(cluster.pg_ctl(&["status"]).status.code(), Some(3));
            drop(target);
            cluster.start();
        }
    });
}

/// Document 1: "autovacuum launcher killed: all backends are disconnected, the launcher is restarted, and the
/// postmaster's pid does not change".
#[test]
fn the_launcher_as_in_the_document() {
    let cluster = Cluster::started(&["logging_collector = on", "log_filename = 'server.log'"]);
    let mut session = Wire::open_local(&cluster);
    session.start_session(&[("user", "postgres"), ("database", "postgres")]);
    let before = settled_roster(&cluster);
    let postmaster = cluster.postmaster_pid();
    let logger = cluster.wait_for_process("postgres: logger process");
    let launcher = cluster.wait_for_process("postgres: autovacuum launcher process");
    cluster.kill(launcher);
    assert_eq!(session.answer(), CRASH_FAREWELL);
    wait_until("the launcher is back", || {
        cluster.find_process("postgres: autovacuum launcher process").is_some_and(|pid| pid != launcher)
    });
    assert_eq!(settled_roster(&cluster), before);
    assert_eq!(cluster.postmaster_pid(), postmaster);
    assert_eq!(cluster.wait_for_process("postgres: logger process"), logger, "the logger goes on");
}

#[test]
fn the_logger_disturbs_nobody() {
    on_each_server("death of the logger", |server| {
        let cluster = started(server, &["logging_collector = on", "log_filename = 'server.log'"]);
        let mut session = Wire::connect(&cluster);
        assert_eq!(session.query("begin"), ["BEGIN"]);
        let logger = cluster.wait_for_process("postgres: logger");
        let collected = || fs::read_to_string(cluster.data_dir().join("log/server.log")).unwrap_or_default();
        cluster.kill(logger);
        wait_until("there is another logger", || {
            cluster.find_process("postgres: logger").is_some_and(|pid| pid != logger)
        });
        wait_until("its log says why", || {
            cluster
                .normalised(&collected())
                .contains("LOG:  system logger process (PID N) was terminated by signal 9: Killed\n")
        });
        assert_eq!(session.query("show port"), [&cluster.port().to_string(), "SHOW"]);
        assert_eq!(session.transaction, 'T');
        session.query("nonsense");
        wait_until("the new logger writes what sessions say", || {
            collected().contains("syntax error at or near")
        });
        assert!(!collected().contains("terminating any other active server processes"));
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert!(cluster.normalised(&collected()).ends_with("LOG:  database system is shut down\n"));
    });
}

#[test]
fn the_stats_collector_disturbs_nobody() {
    let cluster = Cluster::started(&[]);
    let mut session = Wire::connect(&cluster);
    assert_eq!(session.query("begin"), ["BEGIN"]);
    let collector = cluster.wait_for_process("postgres: stats collector process");
    cluster.mark_log();
    cluster.kill(collector);
    let log = cluster.wait_for_new_log("was terminated by signal 9: Killed");
    assert!(cluster.normalised(&log).starts_with("LOG:  statistics collector process (PID N) was"), "{log}");
    assert_eq!(session.query("show port"), [&cluster.port().to_string(), "SHOW"]);
    assert_eq!(session.transaction, 'T');
    assert!(!cluster.log().contains("terminating any other active server processes"));
    // A new one comes a minute after the last at the earliest, but at once with a crash cycle.
    cluster.kill(cluster.wait_for_process("postgres: wal writer process"));
    cluster.wait_for_process("postgres: stats collector process");
}

#[test]
fn a_stray_sigquit_to_a_session() {
    on_each_server("stray SIGQUIT", |server| {
        let cluster = started(server, &[]);
        let mut other = Wire::connect(&cluster);
        let mut victim = Wire::connect(&cluster);
        for session in [&other, &victim] {
            cluster.wait_until_asleep(session.pid);
        }
        cluster.mark_log();
        cluster.signal(victim.pid, Signal::SIGQUIT);
        assert_eq!(
            victim.answer(),
            ["WARNING:  57P01: terminating connection because of unexpected SIGQUIT signal", "EOF"]
        );
        assert_eq!(other.answer(), CRASH_FAREWELL);
        cluster.wait_for_new_log("ready to accept connections");
        let lines = cycle_lines(&cluster);
        assert_eq!(
            lines[..2],
            [
                "WARNING:  terminating connection because of unexpected SIGQUIT signal",
                "LOG:  server process (PID N) exited with exit code 2"
            ]
        );
        assert_eq!(lines[2..], CYCLE, "{server:?}");
    });
}

#[test]
fn signals_that_end_auxiliary_processes_quietly() {
    on_each_server("SIGTERM to auxiliary processes", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        settled_roster(&cluster);
        // Exit 0: replaced at once, nobody else notices. The checkpointer ignores SIGTERM.
        for victim in &VICTIMS[1..] {
            let title = victim.title(server);
            let pid = cluster.wait_for_process(&title);
            cluster.signal(pid, Signal::SIGTERM);
            wait_until(&format!("{title} is replaced"), || {
                cluster.find_process(&title).is_some_and(|now| now != pid)
            });
        }
        let checkpointer = cluster.wait_for_process("postgres: checkpointer");
        cluster.signal(checkpointer, Signal::SIGTERM);
        assert_eq!(session.query("checkpoint"), ["CHECKPOINT"]);
        assert_eq!(cluster.wait_for_process("postgres: checkpointer"), checkpointer);
        assert_eq!(session.query("show port"), [&cluster.port().to_string(), "SHOW"]);
        assert!(!cluster.log().contains("terminating any other"), "{}", cluster.log());
    });
}

#[test]
fn a_checkpointer_that_leaves_too_early_is_a_crash() {
    on_each_server("SIGUSR2 to the checkpointer", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        cluster.wait_until_asleep(session.pid);
        cluster.mark_log();
        cluster.signal(cluster.wait_for_process("postgres: checkpointer"), Signal::SIGUSR2);
        assert_eq!(session.answer(), CRASH_FAREWELL);
        let log = cluster.wait_for_new_log("ready to accept connections");
        let line = "LOG:  checkpointer process (PID N) exited with exit code 0\n";
        assert!(cluster.normalised(&log).contains(line), "{log}");
    });
}

#[test]
fn the_startup_process_takes_everyone_with_it() {
    on_each_server("crash of startup", |server| {
        let cluster = cluster_of(server, &[]);
        cluster.run_once_and_crash();
        cluster.mark_log();
        let startup = cluster.start_held();
        let refused = Wire::refusal(&cluster);
        assert_eq!(refused, ["FATAL:  57P03: the database system is starting up", "EOF"]);
        cluster.kill(startup.pid);
        assert_eq!(cluster.wait_for_end().code(), Some(1));
        startup.finish_log();
        let lines = cluster.new_log_lines();
        let expected = [
            "LOG:  startup process (PID N) was terminated by signal 9: Killed",
            "LOG:  terminating any other active server processes",
            "LOG:  shutting down due to startup process failure",
            "LOG:  database system is shut down",
        ];
        assert_eq!(lines[lines.len() - 4..], expected, "{server:?}");
        assert!(!cluster.data_dir().join("postmaster.pid").exists());
        assert_eq!(cluster.processes(), []);
        cluster.start();
    });
}

#[test]
fn a_stopped_process_is_killed_after_five_seconds() {
    // The two ways into it at the same time, since each takes its five seconds.
    let crashed = Cluster::started(&[]);
    let stopped = Cluster::started(&[]);
    let mut session = Wire::connect(&crashed);
    for cluster in [&crashed, &stopped] {
        let writer = cluster.wait_for_process("postgres: writer process");
        cluster.signal(writer, Signal::SIGSTOP);
        wait_until("the writer is stopped", || state_of(writer) == Some('T'));
    }
    let began = std::time::Instant::now();
    crashed.kill(crashed.wait_for_process("postgres: wal writer process"));
    stopped.signal_postmaster(Signal::SIGQUIT);
    assert_eq!(session.answer(), CRASH_FAREWELL);
    assert_eq!(stopped.wait_for_end().code(), Some(0));
    let took = began.elapsed();
    assert!((4..10).contains(&took.as_secs()), "{took:?}");
    let tail: Vec<String> = stopped.new_log_lines().into_iter().rev().take(3).rev().collect();
    let expected = [
        "LOG:  received immediate shutdown request",
        "LOG:  issuing SIGKILL to recalcitrant children",
        "LOG:  database system is shut down",
    ];
    assert_eq!(tail, expected);
    let log = crashed.wait_for_log("reinitializing");
    assert!(log.contains("issuing SIGKILL to recalcitrant children"), "{log}");
    wait_until("it is open again", || Wire::refusal(&crashed).is_empty());
    assert!(DEADLINE > took);
}

#[test]
fn sessions_that_come_during_a_crash_cycle() {
    let cluster = Cluster::started(&[]);
    let writer = cluster.wait_for_process("postgres: writer process");
    cluster.signal(writer, Signal::SIGSTOP);
    cluster.kill(cluster.wait_for_process("postgres: wal writer process"));
    cluster.wait_for_log("terminating any other active server processes");
    let refused = Wire::refusal(&cluster);
    assert_eq!(refused, ["FATAL:  57P03: the database system is in recovery mode", "EOF"]);
    cluster.kill(writer);
    cluster.wait_for_log("reinitializing");
    wait_until("it is open again", || Wire::refusal(&cluster).is_empty());
}
