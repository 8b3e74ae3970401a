//! What a cluster of toys lives through.

use std::io::Read;

use nix::sys::signal::Signal;

use crate::harness::{Cluster, Scenario, free_port, send, wait_for};

macro_rules! scenarios {
    ($($name:ident)*) => { pub(crate) const ALL: &[Scenario] = &[$((stringify!($name), $name)),*]; };
}

scenarios! {
    start_and_smart_stop fast_stop_disconnects immediate_stop smart_stop_waits_for_client
    stop_during_startup startup_failure
    crash_restarts_with_same_pid crash_of_backend_tells_what_it_ran crash_without_restart
    stubborn_child_is_killed
    logger_outlives_a_crash_and_is_replaced
    reload_reaches_everyone second_postmaster_is_refused lost_pid_file_is_noticed_by_the_recheck_only
    tcp_and_unix_sockets port_taken bad_socket_directory
    many_clients_come_and_go nobody_is_left_behind_by_sigkill
}

fn start_and_smart_stop() {
    let mut cluster = Cluster::started(&[]);
    assert_eq!(cluster.pid_file_line(1), Some(cluster.pid().to_string()));
    assert_eq!(cluster.pid_file_line(5), Some(cluster.socket().parent().unwrap().display().to_string()));
    assert_eq!(cluster.pid_file_line(6).as_deref(), Some(""));
    let first = cluster.connect();
    let second = cluster.connect();
    assert_eq!((first.verdict.as_str(), second.verdict.as_str()), ("Ok", "Ok"));
    assert!(first.slot > 0 && second.slot > 0 && first.slot != second.slot);
    assert!(first.has_cancel_key);
    drop((first, second));
    let opts = std::fs::read_to_string(cluster.path("postmaster.opts")).unwrap();
    assert!(opts.starts_with('/') && opts.ends_with('\n'), "{opts:?}");
    cluster.signal(Signal::SIGTERM);
    assert_eq!(cluster.exit_code(), Some(0));
    let log = cluster.server_log();
    let socket = cluster.socket();
    assert!(log[0].starts_with("LOG:  starting PostgreSQL 15."), "{log:?}");
    let expected = [
        format!("LOG:  listening on Unix socket \"{}\"", socket.display()),
        "LOG:  database system is ready to accept connections".into(),
        "LOG:  received smart shutdown request".into(),
        "LOG:  database system is shut down".into(),
    ];
    assert_eq!(log[1..], expected);
    cluster.check_nothing_left();
}

fn fast_stop_disconnects() {
    let mut cluster = Cluster::started(&[]);
    let mut session = cluster.connect();
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    assert_eq!(session.stream.read(&mut [0]).unwrap(), 0, "the session has ended");
    let log = cluster.server_log();
    assert_eq!(
        log[log.len() - 3..],
        [
            "LOG:  received fast shutdown request",
            "LOG:  aborting any active transactions",
            "LOG:  database system is shut down"
        ]
    );
    cluster.check_nothing_left();
}

fn immediate_stop() {
    let mut cluster = Cluster::started(&[]);
    let _session = cluster.connect();
    cluster.signal(Signal::SIGQUIT);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

fn smart_stop_waits_for_client() {
    let mut cluster = Cluster::started(&[]);
    let session = cluster.connect();
    cluster.signal(Signal::SIGTERM);
    cluster.wait_for_status("stopping");
    assert_eq!(cluster.connect().verdict, "Shutdown");
    drop(session);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

fn stop_during_startup() {
    let mut cluster = Cluster::new(&[]);
    std::fs::write(cluster.path("hold_startup"), "").unwrap();
    cluster.start();
    cluster.wait_for_status("starting");
    let session = cluster.connect();
    assert_eq!((session.verdict.as_str(), session.slot), ("Startup", 0));
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    assert!(!cluster.log().contains("aborting any active transactions"));
    cluster.check_nothing_left();
}

fn startup_failure() {
    let mut cluster = Cluster::new(&[]);
    std::fs::write(cluster.path("fail_startup"), "").unwrap();
    cluster.start();
    assert_eq!(cluster.exit_code(), Some(1));
    let startup = cluster.toy("startup");
    let log = cluster.server_log();
    assert_eq!(
        log[log.len() - 4..],
        [
            format!("LOG:  startup process (PID {startup}) exited with exit code 1"),
            "LOG:  terminating any other active server processes".into(),
            "LOG:  shutting down due to startup process failure".into(),
            "LOG:  database system is shut down".into(),
        ]
    );
    cluster.check_nothing_left();
}

fn crash_restarts_with_same_pid() {
    let mut cluster = Cluster::started(&[]);
    for (generation, (kind, name)) in [
        ("checkpointer", "checkpointer process"),
        ("background writer", "background writer process"),
        ("walwriter", "WAL writer process"),
        ("autovacuum launcher", "autovacuum launcher process"),
    ]
    .into_iter()
    .enumerate()
    {
        let victim = cluster.toy(kind);
        let mut session = cluster.connect();
        send(victim, Signal::SIGKILL);
        // All of the roster comes back, in the same postmaster.
        cluster.wait_for_generation(generation + 2);
        cluster.wait_for_log(&format!("{name} (PID {victim}) was terminated by signal 9: Killed"));
        assert_eq!(session.stream.read(&mut [0]).unwrap(), 0, "the session has ended");
        assert_eq!(cluster.connect().verdict, "Ok");
        assert_eq!(cluster.pid_file_line(1), Some(cluster.pid().to_string()));
    }
    let log = cluster.log();
    assert_eq!(log.matches("terminating any other active server processes").count(), 4);
    assert_eq!(log.matches("all server processes terminated; reinitializing").count(), 4);
    assert_eq!(log.matches("database system is ready to accept connections").count(), 5);
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

fn crash_of_backend_tells_what_it_ran() {
    let cluster = Cluster::started(&[]);
    let (victim, mut other) = (cluster.connect(), cluster.connect());
    send(victim.pid, Signal::SIGSEGV);
    // Blocked in the toy, which waits for all signals: it takes SIGSEGV like any other and goes on.
    send(victim.pid, Signal::SIGKILL);
    cluster.wait_for_log("reinitializing");
    let log = cluster.server_log();
    let at = log.iter().position(|line| line.contains("was terminated by signal")).unwrap();
    assert_eq!(
        log[at],
        format!("LOG:  server process (PID {}) was terminated by signal 9: Killed", victim.pid)
    );
    assert_eq!(log[at + 1], "DETAIL:  Failed process was running: select toy()");
    assert_eq!(log[at + 2], "LOG:  terminating any other active server processes");
    assert_eq!(other.stream.read(&mut [0]).unwrap(), 0);
}

fn crash_without_restart() {
    let mut cluster = Cluster::started(&["restart_after_crash=off"]);
    send(cluster.toy("walwriter"), Signal::SIGKILL);
    assert_eq!(cluster.exit_code(), Some(1));
    let log = cluster.server_log();
    assert_eq!(
        log[log.len() - 2..],
        ["LOG:  shutting down because restart_after_crash is off", "LOG:  database system is shut down"]
    );
    cluster.check_nothing_left();
}

fn stubborn_child_is_killed() {
    let mut cluster = Cluster::started(&[]);
    std::fs::write(cluster.path("stubborn"), "").unwrap();
    let _session = cluster.connect();
    cluster.signal(Signal::SIGQUIT);
    assert_eq!(cluster.exit_code(), Some(0));
    assert!(cluster.log().contains("issuing SIGKILL to recalcitrant children"));
    cluster.check_nothing_left();
}

fn logger_outlives_a_crash_and_is_replaced() {
    let mut cluster = Cluster::started(&["logging_collector=on"]);
    let logger = cluster.toy("logger");
    send(cluster.toy("background writer"), Signal::SIGKILL);
    cluster.wait_for_log("reinitializing");
    cluster.wait_for_generation(2);
    assert_eq!(cluster.connect().verdict, "Ok");
    assert_eq!(cluster.births("logger"), 1, "the crash is none of the logger's business");
    send(logger, Signal::SIGKILL);
    cluster.wait_for_log(&format!("system logger process (PID {logger}) was terminated by signal 9: Killed"));
    wait_for("a new logger", || (cluster.births("logger") == 2).then_some(()));
    assert_eq!(cluster.connect().verdict, "Ok", "nobody else noticed");
    // The toy has no pipe to see the end of, so its end is up to us.
    let second = cluster.toy("logger");
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0), "the postmaster does not wait for the logger");
    send(second, Signal::SIGKILL);
    cluster.check_nothing_left();
}

fn reload_reaches_everyone() {
    let cluster = Cluster::started(&["logging_collector=on"]);
    let _session = cluster.connect();
    cluster.signal(Signal::SIGHUP);
    cluster.wait_for_log("received SIGHUP, reloading configuration files");
    for kind in [
        "checkpointer",
        "background writer",
        "walwriter",
        "autovacuum launcher",
        "stats collector",
        "logger",
        "client backend",
    ] {
        cluster.wait_for_log(&format!("{kind} reloads"));
    }
}

fn second_postmaster_is_refused() {
    let cluster = Cluster::started(&[]);
    let mut second = cluster.spawn();
    assert_eq!(second.wait().unwrap().code(), Some(1));
    let log = cluster.log();
    assert!(log.contains("FATAL:  lock file \"postmaster.pid\" already exists"), "{log}");
    assert!(
        log.contains(&format!("Is another postmaster (PID {}) running in data directory", cluster.pid()))
    );
    assert_eq!(cluster.connect().verdict, "Ok", "the first one is unharmed");
}

fn lost_pid_file_is_noticed_by_the_recheck_only() {
    let mut cluster = Cluster::started(&[]);
    std::fs::remove_file(cluster.path("postmaster.pid")).unwrap();
    assert_eq!(cluster.connect().verdict, "Ok");
    // The line that cannot be written any more does not stop the stop.
    cluster.signal(Signal::SIGINT);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

fn tcp_and_unix_sockets() {
    let port = free_port();
    let cluster = Cluster::started(&["listen_addresses=127.0.0.1", &format!("port={port}")]);
    assert_eq!(cluster.pid_file_line(4), Some(port.to_string()));
    assert_eq!(cluster.pid_file_line(6).as_deref(), Some("127.0.0.1"));
    let mut greeting = [0; 2];
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"Ok");
    let log = cluster.server_log();
    assert_eq!(log[1], format!("LOG:  listening on IPv4 address \"127.0.0.1\", port {port}"));
    assert!(log[2].starts_with("LOG:  listening on Unix socket"), "{log:?}");
}

fn port_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut cluster = Cluster::new(&["listen_addresses=127.0.0.1", &format!("port={port}")]);
    cluster.start();
    assert_eq!(cluster.exit_code(), Some(1));
    let log = cluster.server_log();
    assert_eq!(
        log[1..],
        [
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use".to_string(),
            format!(
                "HINT:  Is another postmaster already running on port {port}? If not, wait a few seconds and retry."
            ),
            "WARNING:  could not create listen socket for \"127.0.0.1\"".into(),
            "FATAL:  could not create any TCP/IP sockets".into(),
            "LOG:  database system is shut down".into(),
        ]
    );
    cluster.check_nothing_left();
}

fn bad_socket_directory() {
    let mut cluster = Cluster::new(&["unix_socket_directories=/nonexistent"]);
    cluster.start();
    assert_eq!(cluster.exit_code(), Some(1));
    let expected =
        "FATAL:  could not create lock file \"/nonexistent/.s.PGSQL.5432.lock\": No such file or directory";
    assert!(cluster.log().contains(expected), "{}", cluster.log());

    let mut cluster = Cluster::new(&["unix_socket_directories="]);
    cluster.start();
    assert_eq!(cluster.exit_code(), Some(1));
    assert!(cluster.log().contains("FATAL:  no socket created for listening"));
    cluster.check_nothing_left();
}

fn many_clients_come_and_go() {
    let mut cluster = Cluster::started(&["max_connections=20"]);
    for _ in 0..40 {
        let sessions: Vec<_> = (0..10).map(|_| cluster.connect()).collect();
        assert!(sessions.iter().all(|session| session.verdict == "Ok"));
    }
    // Slots are given back: twice as many sessions as there are slots have been here.
    wait_for("the last session's end", || {
        let tasks = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", cluster.pid())).unwrap();
        (tasks.split_whitespace().count() == 5).then_some(())
    });
    cluster.signal(Signal::SIGTERM);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}

/// Not a rule of the postmaster but of this harness: what it leaves when killed can be cleaned up, and a start
/// afterwards replaces lock files and shared memory silently.
fn nobody_is_left_behind_by_sigkill() {
    let mut cluster = Cluster::started(&[]);
    cluster.signal(Signal::SIGKILL);
    assert_eq!(cluster.exit_code(), None, "killed");
    assert!(cluster.path("postmaster.pid").exists());
    // Until then the interlock keeps a new postmaster out, as it should.
    cluster.wait_for_end_of_toys();
    cluster.start();
    cluster.wait_for_generation(2);
    cluster.signal(Signal::SIGTERM);
    assert_eq!(cluster.exit_code(), Some(0));
    cluster.check_nothing_left();
}
