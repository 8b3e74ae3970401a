//! This server and a standby of PostgreSQL 15. No client connects to the standby: what it has
//! done is known from the primary's view and from its pages, which are the primary's outside hint bits and free space.

use std::thread;

use integration::archive::control;
use integration::{Cluster, Server, Stop, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::redo::{compare_pair, crash, workload};
use crate::standby_support::{
    Proxy, Standby, ask, flushed, primary_with, receiver_title, wait_for_end_of_wal, wait_for_rows,
    wait_until_streaming,
};

/// Sends all sessions away but the one that asks.
const SEND_AWAY: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

struct Case<'a> {
    primary: Server,
    initdb: &'a [&'a str],
    config: &'a [&'a str],
    standby_config: &'a [&'a str],
}

/// Under a random load the standby is stopped, killed and cut off; then both have the same pages.
#[track_caller]
fn check(case: &Case<'_>) {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PGANATOMY_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let always = ["max_prepared_transactions = 5", "wal_keep_size = 1GB", "max_wal_size = 8MB"];
    let config: Vec<&str> = always.iter().chain(case.config).copied().collect();
    let primary = primary_with(case.primary, case.initdb, &config);
    primary.connect().batch_execute("CREATE TABLE shared (id int)").expect("a table");
    let client_config = primary.client_config();
    let standby = thread::scope(|scope| {
        for number in 0..4 {
            let (rng, config) = (rng.fork(), &client_config);
            scope.spawn(move || workload(config, number, rng));
        }
        let subject = std::panic::AssertUnwindSafe(|| under_load(case, &primary, &mut rng));
        let standby = std::panic::catch_unwind(subject).unwrap_or_else(|failure| {
            // Otherwise the writers would go on for ever.
            crash(&primary);
            std::panic::resume_unwind(failure)
        });
        // The load is at an end when nobody is there.
        wait_until("the writers are gone", || ask(&primary, SEND_AWAY).is_some_and(|count| count == ["0"]));
        standby
    });
    // A restartpoint of all that was written, so that it is in the files.
    let mut admin = primary.connect();
    admin.batch_execute("CHECKPOINT").expect("a checkpoint");
    drop(admin);
    let replayed = "SELECT replay_lsn FROM pg_stat_replication";
    wait_for_end_of_wal(&primary, &primary, replayed, |end| end.to_string());
    assert_eq!(standby.stop(Stop::Fast).code(), Some(0), "{}", standby.log());
    assert_eq!(primary.stop(Stop::Fast).code(), Some(0), "{}", primary.log());
    assert_eq!(control(&standby, "Database cluster state"), "shut down in recovery");
    let pages = compare_pair(&primary.data_dir(), &standby.data_dir(), seed);
    println!("{pages} pages are the same");
    assert!(pages > 0);
}

/// Makes the standby and takes it away now and then; at the end it streams.
#[track_caller]
fn under_load(case: &Case<'_>, primary: &Cluster, rng: &mut fastrand::Rng) -> Cluster {
    wait_for_bytes(primary, 1 << 20);
    let proxy = Proxy::to(primary.port());
    let made = Standby {
        server: Server::Real,
        port: proxy.port,
        config: case.standby_config,
        ..Standby::of(primary, "other")
    };
    let standby = made.made(primary);
    let start = || {
        standby.spawn_postmaster(&[]);
        wait_until_streaming(primary, "other");
    };
    start();
    for round in 0..5 {
        wait_for_bytes(primary, rng.u64(1..3) << 20);
        match round {
            0 => proxy.cut(),
            1 => {
                assert_eq!(standby.stop(Stop::Fast).code(), Some(0));
                start();
            }
            2 => {
                crash(&standby);
                start();
            }
            3 => {
                standby.signal(standby.wait_for_process(receiver_title(&standby)), Signal::SIGTERM);
            }
            _ => {}
        }
        wait_until_streaming(primary, "other");
    }
    // From here on it needs no proxy: it goes by its own way.
    crate::standby_support::set_auto(
        &standby,
        "primary_conninfo",
        &crate::standby_support::conninfo(primary.port(), "straight"),
    );
    crate::standby_support::reload(&standby);
    wait_until_streaming(primary, "straight");
    drop(proxy);
    wait_for_rows(primary, "SELECT application_name FROM pg_stat_replication", &["straight"]);
    standby
}

/// Waits until so much more was written.
#[track_caller]
fn wait_for_bytes(primary: &Cluster, bytes: u64) {
    let begun = flushed(primary);
    wait_until("enough was written", || flushed(primary).0 >= begun.0 + bytes);
}

/// Who is the subject: this server, or PostgreSQL while a test is written.
fn subject() -> Server {
    let real = std::env::var("PGANATOMY_SERVER").is_ok_and(|server| server == "real");
    if real { Server::Real } else { Server::Ours }
}

/// A standby of PostgreSQL's with or without sessions.
#[track_caller]
fn of_this_server(initdb: &[&str], config: &[&str], standby_config: &[&str]) {
    check(&Case { primary: subject(), initdb, config, standby_config });
}

#[test]
fn postgresql_follows_this_server() {
    of_this_server(&[], &[], &[]);
}

#[test]
fn postgresql_follows_with_checksums_and_feedback() {
    of_this_server(&["-k"], &["wal_compression = on"], &["hot_standby_feedback = on"]);
}

#[test]
fn postgresql_follows_without_sessions() {
    of_this_server(&[], &["wal_log_hints = on"], &["hot_standby = off", "shared_buffers = '1MB'"]);
}
