//! Sessions that see, cancel and end each other; statements and sessions that take too long.

use std::process::Stdio;

use integration::{Cluster, Wire, on_each_server, process, say_skipped, wait_until};
use nix::sys::signal::Signal;

use crate::support::started;

#[test]
fn sessions_see_and_stop_each_other() {
    on_each_server("sessions", |server| {
        let cluster = started(server, &["timezone = 'UTC'"]);
        the_own_row(&cluster);
        states_and_wait_events(&cluster);
        long_statements_are_cut(&cluster);
        who_may_see_what(&cluster);
        pg_cancel_backend(&cluster);
        pg_terminate_backend(&cluster);
        who_may_stop_whom(&cluster);
        cancel_requests(&cluster);
        cancel_by_a_driver(&cluster);
        cancel_by_psql(&cluster);
    });
}

#[test]
fn what_takes_too_long_is_ended() {
    on_each_server("timeouts", |server| {
        let cluster = started(server, &["authentication_timeout = 1s"]);
        authentication_timeout(&cluster);
        statement_timeout(&cluster);
        statement_timeout_in_the_extended_protocol(&cluster);
        idle_in_transaction_session_timeout(&cluster);
        idle_session_timeout(&cluster);
    });
}

/// A column of another session's row, until it is as expected.
#[track_caller]
fn wait_for_row(watcher: &mut Wire, pid: i32, columns: &str, expected: &str) {
    let sql = format!("SELECT {columns} FROM pg_stat_activity WHERE pid = {pid}");
    let mut got = Vec::new();
    wait_until(&format!("{columns} of {pid} is {expected}"), || {
        got = watcher.query(&sql);
        got == [expected, "SELECT 1"]
    });
}

fn the_own_row(cluster: &Cluster) {
    let mut session = Wire::open(cluster);
    session.start_session(&[("user", "postgres"), ("database", "postgres"), ("application_name", "watcher")]);
    let columns = "datname, usename, application_name, client_addr, client_hostname, client_port > 1024, \
         backend_start <= xact_start, xact_start = now(), query_start <= clock_timestamp(), \
         state_change >= backend_start, wait_event_type, wait_event, state, leader_pid, backend_xid, \
         query, backend_type, datid, usesysid";
    let sql = format!("SELECT {columns} FROM pg_stat_activity WHERE pid = pg_backend_pid()");
    let row = format!("postgres|postgres|watcher|127.0.0.1||t|t|t|t|t|||active|||{sql}|client backend|5|10");
    assert_eq!(session.query(&sql), [row.as_str(), "SELECT 1"]);
    let mut local = Wire::open_local(cluster);
    local.start_session(&[("user", "postgres")]);
    let sql = "SELECT client_addr IS NULL, client_port FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    assert_eq!(local.query(sql), ["t|-1", "SELECT 1"]);
    let functions = "SELECT inet_client_addr() IS NULL, inet_client_port() IS NULL";
    assert_eq!(local.query(functions), ["t|t", "SELECT 1"]);
    assert_eq!(
        session.query("SELECT inet_client_addr(), inet_client_port() > 0"),
        ["127.0.0.1|t", "SELECT 1"]
    );
    let sql = "SELECT DISTINCT backend_type FROM pg_stat_activity WHERE datid IS NULL AND usesysid IS NULL \
               AND backend_type NOT LIKE 'logical%' ORDER BY 1";
    wait_until("the roster is complete", || {
        session.query(sql)
            == ["autovacuum launcher", "background writer", "checkpointer", "walwriter", "SELECT 4"]
    });
}

fn states_and_wait_events(cluster: &Cluster) {
    let (mut watcher, mut other) = (Wire::connect(cluster), Wire::connect(cluster));
    let pid = other.pid;
    let state = "state, wait_event_type, wait_event, xact_start IS NULL, query";
    wait_for_row(&mut watcher, pid, state, "idle|Client|ClientRead|t|");
    other.query("SELECT 'done'");
    wait_for_row(&mut watcher, pid, state, "idle|Client|ClientRead|t|SELECT 'done'");
    other.query("BEGIN");
    wait_for_row(&mut watcher, pid, state, "idle in transaction|Client|ClientRead|f|BEGIN");
    other.query("SELECT nope");
    wait_for_row(&mut watcher, pid, state, "idle in transaction (aborted)|Client|ClientRead|t|SELECT nope");
    other.query("ROLLBACK");
    wait_for_row(&mut watcher, pid, state, "idle|Client|ClientRead|t|ROLLBACK");
    other.begin("SELECT pg_sleep(60)");
    wait_for_row(&mut watcher, pid, state, "active|Timeout|PgSleep|f|SELECT pg_sleep(60)");
    cluster.wait_for_activity(pid, "SELECT");
    watcher.query(&format!("SELECT pg_cancel_backend({pid})"));
    other.answer();
    cluster.wait_for_activity(pid, "idle");
    other.query("SET application_name = 'renamed'");
    wait_for_row(&mut watcher, pid, "application_name", "renamed");
    other.query("SET track_activities = off");
    wait_for_row(&mut watcher, pid, "state, query_start IS NULL", "disabled|t");
    other.quit();
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    wait_until("its row has gone", || watcher.query(&gone) == ["0", "SELECT 1"]);
}

/// `track_activity_query_size` is 1024, one byte of it a NUL, and a character is never cut in two.
fn long_statements_are_cut(cluster: &Cluster) {
    let (mut watcher, mut other) = (Wire::connect(cluster), Wire::connect(cluster));
    let long = format!("SELECT 1 -- {}", "x".repeat(2000));
    other.query(&long);
    wait_for_row(&mut watcher, other.pid, "length(query), right(query, 3)", "1023|xxx");
}

/// Who has the rights of a session's role, by membership or as a monitor, sees what it does; nobody else does.
fn who_may_see_what(cluster: &Cluster) {
    let mut superuser = Wire::connect(cluster);
    superuser.query("CREATE ROLE seer LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor");
    superuser.query("CREATE ROLE ann LOGIN; CREATE ROLE son LOGIN IN ROLE ann");
    superuser.query("CREATE ROLE grandson LOGIN IN ROLE son; CREATE ROLE orphan LOGIN NOINHERIT IN ROLE ann");
    superuser.query("CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats");
    superuser.query("SELECT 'a secret'");
    let as_user = |user: &str| {
        let mut session = Wire::open(cluster);
        session.start_session(&[("user", user), ("database", "postgres")]);
        session
    };
    let columns = "usename, client_addr IS NULL, state IS NULL, query";
    wait_for_row(&mut as_user("seer"), superuser.pid, columns, "postgres|t|t|<insufficient privilege>");
    wait_for_row(&mut as_user("monitor"), superuser.pid, columns, "postgres|f|f|SELECT 'a secret'");
    let mut of_ann = as_user("ann");
    of_ann.query("SELECT 'of ann'");
    let columns =
        "usename, application_name, client_port IS NULL, backend_start IS NULL, state, backend_type, query";
    let ssl = format!("SELECT ssl FROM pg_stat_ssl WHERE pid = {}", of_ann.pid);
    for user in ["postgres", "ann", "son", "grandson", "monitor", "reader"] {
        let mut session = as_user(user);
        wait_for_row(&mut session, of_ann.pid, columns, "ann||f|f|idle|client backend|SELECT 'of ann'");
        assert_eq!(session.query(&ssl), ["f", "SELECT 1"], "{user}");
    }
    for user in ["orphan", "seer"] {
        let mut session = as_user(user);
        wait_for_row(&mut session, of_ann.pid, columns, "ann||t|t|||<insufficient privilege>");
        assert_eq!(session.query(&ssl), ["SELECT 0"], "{user}");
    }
    // No membership makes one see what the server's own processes do.
    let own = "SELECT count(backend_type), count(*) > 2, count(backend_start) FROM pg_stat_activity WHERE usesysid IS NULL";
    assert_eq!(as_user("son").query(own), ["0|t|0", "SELECT 1"]);
    let own = "SELECT count(backend_type) > 2, count(backend_start) > 2 FROM pg_stat_activity WHERE usesysid IS NULL";
    assert_eq!(as_user("monitor").query(own), ["t|t", "SELECT 1"]);
    of_ann.quit();
    superuser
        .query("DROP ROLE seer; DROP ROLE monitor; DROP ROLE grandson; DROP ROLE orphan; DROP ROLE reader");
    superuser.query("DROP ROLE son; DROP ROLE ann");
}

const CANCELED: &str = "ERROR:  57014: canceling statement due to user request";
const TERMINATED: [&str; 2] = ["FATAL:  57P01: terminating connection due to administrator command", "EOF"];

fn pg_cancel_backend(cluster: &Cluster) {
    let (mut boss, mut victim) = (Wire::connect(cluster), Wire::connect(cluster));
    let cancel = format!("SELECT pg_cancel_backend({})", victim.pid);
    victim.query("BEGIN");
    victim.begin("SELECT pg_sleep(60)");
    wait_for_row(&mut boss, victim.pid, "wait_event", "PgSleep");
    assert_eq!(boss.query(&cancel), ["t", "SELECT 1"]);
    assert_eq!(victim.answer(), [CANCELED]);
    assert_eq!(victim.transaction, 'E');
    victim.query("ROLLBACK");
    // Busy instead of asleep.
    victim.begin("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b");
    wait_for_row(&mut boss, victim.pid, "state", "active");
    boss.query(&cancel);
    assert_eq!(victim.answer(), [CANCELED]);
    // An idle session has nothing to cancel.
    assert_eq!(boss.query(&cancel), ["t", "SELECT 1"]);
    assert_eq!(victim.query("SELECT 1"), ["1", "SELECT 1"]);
    let nobody = ["WARNING:  01000: PID 1 is not a PostgreSQL backend process", "f", "SELECT 1"];
    assert_eq!(boss.query("SELECT pg_cancel_backend(1)"), nobody);
    let checkpointer = cluster.find_process("postgres: checkpointer").expect("there is one");
    let auxiliary = format!("WARNING:  01000: PID {checkpointer} is not a PostgreSQL backend process");
    assert_eq!(
        boss.query(&format!("SELECT pg_cancel_backend({checkpointer})")),
        [&auxiliary, "f", "SELECT 1"]
    );
    // Oneself, at once.
    assert_eq!(boss.query("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)"), [CANCELED]);
}

fn pg_terminate_backend(cluster: &Cluster) {
    let mut boss = Wire::connect(cluster);
    for busy in [None, Some("SELECT pg_sleep(60)")] {
        let mut victim = Wire::connect(cluster);
        if let Some(sql) = busy {
            victim.begin(sql);
            wait_for_row(&mut boss, victim.pid, "wait_event", "PgSleep");
        }
        let terminate = format!("SELECT pg_terminate_backend({}, 60000)", victim.pid);
        assert_eq!(boss.query(&terminate), ["t", "SELECT 1"]);
        assert_eq!(victim.answer(), TERMINATED);
        let found = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", victim.pid);
        assert_eq!(boss.query(&found), ["0", "SELECT 1"], "it waited for the end");
    }
    let too_short = "SELECT pg_terminate_backend(pid => 1, timeout => -1)";
    assert_eq!(boss.query(too_short), ["ERROR:  22003: \"timeout\" must not be negative"]);
    // Oneself: the row is on its way already.
    let answer = boss.query("SELECT pg_terminate_backend(pg_backend_pid())");
    assert_eq!(answer, ["t", TERMINATED[0], TERMINATED[1]]);
}

fn who_may_stop_whom(cluster: &Cluster) {
    let mut superuser = Wire::connect(cluster);
    superuser.query("CREATE ROLE small LOGIN; CREATE ROLE other LOGIN; CREATE ROLE warden LOGIN IN ROLE pg_signal_backend");
    let as_user = |user: &str| {
        let mut session = Wire::open(cluster);
        session.start_session(&[("user", user), ("database", "postgres")]);
        session
    };
    let (mut small, mut warden, mut other) = (as_user("small"), as_user("warden"), as_user("other"));
    for (verb, of_superuser, of_other) in [
        (
            "cancel",
            "ERROR:  42501: must be a superuser to cancel superuser query",
            "ERROR:  42501: must be a member of the role whose query is being canceled or member of pg_signal_backend",
        ),
        (
            "terminate",
            "ERROR:  42501: must be a superuser to terminate superuser process",
            "ERROR:  42501: must be a member of the role whose process is being terminated or member of pg_signal_backend",
        ),
    ] {
        let stop = |pid: i32| format!("SELECT pg_{verb}_backend({pid})");
        assert_eq!(small.query(&stop(superuser.pid)), [of_superuser]);
        assert_eq!(small.query(&stop(other.pid)), [of_other]);
        assert_eq!(warden.query(&stop(superuser.pid)), [of_superuser]);
        assert_eq!(warden.query(&stop(other.pid)), ["t", "SELECT 1"]);
        assert_eq!(as_user("small").query(&stop(small.pid)), ["t", "SELECT 1"], "one's own");
    }
    assert_eq!(other.answer(), TERMINATED);
    assert_eq!(small.answer(), TERMINATED);
    drop(warden);
    superuser.query("DROP ROLE small; DROP ROLE other; DROP ROLE warden");
}

fn cancel_requests(cluster: &Cluster) {
    let (mut watcher, mut session) = (Wire::connect(cluster), Wire::connect(cluster));
    session.begin("SELECT pg_sleep(60)");
    wait_for_row(&mut watcher, session.pid, "wait_event", "PgSleep");
    session.cancel(cluster);
    assert_eq!(session.answer(), [CANCELED]);
    session.cancel(cluster);
    assert_eq!(session.query("SELECT 1"), ["1", "SELECT 1"]);
}

#[allow(clippy::disallowed_methods, reason = "a thread of the test, which a blocking client needs")]
fn cancel_by_a_driver(cluster: &Cluster) {
    let mut watcher = Wire::connect(cluster);
    let mut client = cluster.connect();
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);
    let token = client.cancel_token();
    std::thread::scope(|scope| {
        let query = scope.spawn(move || client.simple_query("SELECT pg_sleep(60)").err());
        wait_for_row(&mut watcher, pid, "wait_event", "PgSleep");
        token.cancel_query(postgres::NoTls).expect("the server listens");
        let error = query.join().expect("no panic").expect("it was canceled");
        assert_eq!(error.code(), Some(&postgres::error::SqlState::QUERY_CANCELED));
    });
}

/// Ctrl-C in psql: its process gets SIGINT and sends a cancel request.
fn cancel_by_psql(cluster: &Cluster) {
    let Some(mut psql) = cluster.client("psql") else {
        return say_skipped(module_path!(), "psql is not installed");
    };
    let mut watcher = Wire::connect(cluster);
    psql.env("PGAPPNAME", "interrupted").args([
        "-X",
        "-A",
        "-t",
        "-c",
        "SELECT pg_sleep(60)",
        "-c",
        "SELECT 'next'",
    ]);
    let mut child = process::spawn(psql.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'interrupted' AND wait_event = 'PgSleep'";
    wait_until("psql sleeps", || watcher.query(sleeping) == ["1", "SELECT 1"]);
    child.signal(Signal::SIGINT);
    let text = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("text");
        text
    };
    let errors = text(&mut child.stderr.take().expect("piped"));
    assert_eq!(errors, "Cancel request sent\nERROR:  canceling statement due to user request\n");
    assert_eq!(text(&mut child.stdout.take().expect("piped")), "");
    assert_eq!(child.wait().code(), Some(1));
}

fn authentication_timeout(cluster: &Cluster) {
    // Who has said nothing is told nothing.
    let mut silent = Wire::open(cluster);
    assert_eq!(silent.answer(), ["EOF"]);
    cluster.write_file("pg_hba.conf", "host all postgres all trust\nhost all all all scram-sha-256\n");
    cluster.mark_log();
    cluster.signal_postmaster(Signal::SIGHUP);
    cluster.wait_for_new_log("received SIGHUP, reloading configuration files");
    let mut hesitating = Wire::open(cluster);
    let answer = hesitating.start_session(&[("user", "somebody"), ("database", "postgres")]);
    assert_eq!(answer, ["authentication request 10", "EOF"], "the log says why, not the client");
    cluster.wait_for_new_log("FATAL:  canceling authentication due to timeout");
}

fn statement_timeout(cluster: &Cluster) {
    const TIMEOUT: &str = "ERROR:  57014: canceling statement due to statement timeout";
    let mut session = Wire::connect(cluster);
    session.query("SET statement_timeout = 20");
    assert_eq!(session.query("SELECT pg_sleep(60)"), [TIMEOUT]);
    let busy = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    assert_eq!(session.query(busy), [TIMEOUT]);
    session.query("BEGIN");
    assert_eq!(session.query("SELECT pg_sleep(60)"), [TIMEOUT]);
    assert_eq!(session.transaction, 'E');
    session.query("ROLLBACK");
    session.query("BEGIN; SET LOCAL statement_timeout = 0");
    assert_eq!(session.query("SELECT pg_sleep(0.05)"), ["", "SELECT 1"]);
    session.query("COMMIT");
    assert_eq!(session.query("SELECT pg_sleep(60)"), [TIMEOUT]);
    session.query("RESET statement_timeout");
    assert_eq!(session.query("SELECT pg_sleep(0.05)"), ["", "SELECT 1"]);
}

fn statement_timeout_in_the_extended_protocol(cluster: &Cluster) {
    let mut client = cluster.connect();
    client.batch_execute("SET statement_timeout = 20").expect("a superuser");
    let error = client.query("SELECT pg_sleep($1)", &[&60.0_f64]).expect_err("it takes too long");
    assert_eq!(error.code(), Some(&postgres::error::SqlState::QUERY_CANCELED));
    assert_eq!(client.query_one("SELECT 1", &[]).expect("alive").get::<_, i32>(0), 1);
}

fn idle_in_transaction_session_timeout(cluster: &Cluster) {
    let expected = ["FATAL:  25P03: terminating connection due to idle-in-transaction timeout", "EOF"];
    for end in ["SELECT 1", "SELECT nope"] {
        let mut session = Wire::connect(cluster);
        session.query("SET idle_in_transaction_session_timeout = 20");
        session.query("BEGIN");
        session.query(end);
        assert_eq!(session.answer(), expected);
    }
}

fn idle_session_timeout(cluster: &Cluster) {
    let mut session = Wire::connect(cluster);
    session.query("BEGIN; SET idle_session_timeout = 20");
    session.query("SELECT pg_sleep(0.05)");
    session.query("COMMIT");
    let expected = ["FATAL:  57P05: terminating connection due to idle-session timeout", "EOF"];
    assert_eq!(session.answer(), expected);
}
