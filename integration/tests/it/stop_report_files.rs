//! The files of a stop that explains itself: when they are there, who reads them, what is left of them, and what `pg_ctl` says.

use std::fs;

use integration::archive::names_in;
use integration::{Cluster, Server, Stop, Wire, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::bounded_stop::{LITTLE, primary};
use crate::replication_support::{Program, Stream, client, flushed, must, rows, write_wal};
use crate::stop_report_support::{
    FILES, Forecast, Item, STATUS, Status, Watch, files_of, pg_ctl_says, pg_ctl_stop, session, stopped_well,
};

/// A cluster whose stop waits for a receiver that does not confirm.
#[track_caller]
fn hanging() -> (Cluster, Stream) {
    let cluster = primary(Server::Ours, &[]);
    let start = flushed(&cluster);
    let mut stream = Stream::start(&cluster, start);
    let end = write_wal(&cluster, LITTLE);
    stream.read_to(end);
    cluster.mark_log();
    (cluster, stream)
}

/// The file is there while the server stops, and belongs to the next one no more.
#[test]
fn a_stale_file() {
    let (cluster, stream) = hanging();
    let walsender = stream.wire.pid;
    assert_eq!(files_of(&cluster), [""; 0], "while it runs");
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Fast.signal());
    let seen = watch.until("that the walsender is awaited", |status| status.pids() == [walsender]);
    assert_eq!(seen.phase, "wal");
    cluster.kill(cluster.postmaster_pid());
    wait_until("everyone is gone", || cluster.processes().is_empty());
    drop(stream);
    assert_eq!(files_of(&cluster), [STATUS], "nobody could remove it");
    // And what others may have left.
    FILES.iter().for_each(|name| cluster.write_file(name, "1"));
    cluster.start();
    assert_eq!(files_of(&cluster), [""; 0]);
    cluster.mark_log();
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    assert_eq!(files_of(&cluster), [""; 0]);
    assert!(!cluster.new_log().contains("is to end within"), "{}", cluster.new_log());
}

/// A stop that ends with a crash leaves none of it behind either.
#[test]
fn a_crash_in_a_stop() {
    let (cluster, stream) = hanging();
    let walsender = stream.wire.pid;
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Fast.signal());
    watch.until("that the walsender is awaited", |status| status.pids() == [walsender]);
    cluster.signal(walsender, Signal::SIGKILL);
    watch.until_over();
    assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
    cluster.start();
    assert_eq!(files_of(&cluster), [""; 0]);
}

/// A start that finds a living server leaves that one's files alone.
#[test]
fn another_start_meanwhile() {
    let (cluster, stream) = hanging();
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Fast.signal());
    watch.until("that it waits", |status| status.phase == "wal");
    let output = cluster.run_postmaster(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("lock file \"postmaster.pid\" already exists"), "{said}");
    assert_eq!(files_of(&cluster), [STATUS]);
    drop(stream);
    watch.until_over();
    stopped_well(&cluster);
}

/// Neither a stop's nor a forecast's files are copied, whoever left them there.
#[test]
fn no_file_in_a_base_backup() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let cluster = primary(Server::Ours, &[]);
    FILES.iter().for_each(|name| cluster.write_file(name, "1"));
    let copy = cluster.path("copy");
    must(client(&cluster, "pg_basebackup", &["-c", "fast", "-X", "none", "-D"]).arg(&copy));
    let names = names_in(&copy);
    assert!(names.iter().any(|name| name == "PG_VERSION"), "{names:?}");
    assert!(!names.iter().any(|name| FILES.contains(&name.as_str())), "{names:?}");
}

/// `pg_ctl` waits as long as it was told, and says for whom. The stop goes on.
#[test]
fn a_time_out_says_who_is_awaited() {
    let (cluster, stream) = hanging();
    let walsender = stream.wire.pid;
    let who = format!("walsender \"by_hand\" (PID {walsender})");
    let (code, said) = pg_ctl_says(&cluster, &["-t", "2"]);
    assert_eq!(code, Some(1), "{said}");
    let (progress, complaint) =
        said.split_once("pg_ctl: server does not shut down").unwrap_or_else(|| panic!("{said}"));
    assert!(progress.contains("walsender"), "plain lines tell it before: {said}");
    assert!(complaint.contains(&who), "{said}");
    // The same without the lines before, and as JSON.
    let (code, said) = pg_ctl_says(&cluster, &["-t", "1", "--progress=none"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("server does not shut down") && said.contains(&who), "{said}");
    let (code, said) = pg_ctl_says(&cluster, &["-t", "1", "--progress=json"]);
    assert_eq!(code, Some(1), "{said}");
    let last = Status::shown(&said).pop();
    assert!(last.is_some_and(|status| status.pids() == [walsender]), "{said}");
    drop(stream);
    stopped_well(&cluster);
}

/// A short stop is PostgreSQL's in every word, and leaves no file.
#[test]
fn a_short_stop_says_nothing() {
    let cluster = primary(Server::Ours, &[]);
    cluster.mark_log();
    let output = cluster.pg_ctl(&["stop"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.starts_with("waiting for server to shut down...") && said.ends_with(" done\nserver stopped\n"),
        "{said}"
    );
    assert!(!cluster.new_log().contains("still stopping"), "{}", cluster.new_log());
    assert_eq!(files_of(&cluster), [""; 0]);
}

/// For people: a table, and nothing is stopped. Without a server it says that there is none.
#[test]
fn a_forecast_stops_nothing() {
    let (cluster, stream) = hanging();
    let (code, said) = pg_ctl_says(&cluster, &["--forecast"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("by_hand") && said.contains(&stream.wire.pid.to_string()), "{said}");
    assert!(!cluster.new_log().contains("shutdown request"), "{}", cluster.new_log());
    // Several at the same time each get an answer of their own.
    let words = ["--forecast", "--progress=json"];
    let askers: Vec<Program> =
        (0..4).map(|number| pg_ctl_stop(&cluster, &format!("asker{number}"), &words)).collect();
    for asker in &askers {
        let said = asker.succeeds();
        assert_eq!(Forecast::of_text(&said).one("walsender").pid, Some(stream.wire.pid), "{said}");
    }
    drop(stream);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    let (code, said) = pg_ctl_says(&cluster, &["--forecast"]);
    assert!(code == Some(1) && said.contains("Is server running?"), "{said}");
    assert_eq!(files_of(&cluster), [""; 0]);
}

/// Before it accepts anybody, and of a server that stops already: pg_ctl is answered as well.
#[test]
fn a_forecast_at_any_time() {
    let cluster = Cluster::new();
    cluster.run_once_and_crash();
    let startup = cluster.start_held();
    Forecast::by_program(&cluster, "fast");
    cluster.signal(startup.pid, Signal::SIGCONT);
    cluster.wait_until_ready();
    let client = session(&cluster, "client");
    cluster.signal_postmaster(Stop::Smart.signal());
    wait_until("the stop tells of itself", || cluster.data_dir().join(STATUS).exists());
    let output = cluster.pg_ctl(&["stop", "--forecast", "--progress=json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Forecast::of_text(&said);
    client.quit();
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    startup.finish_log();
    assert_eq!(files_of(&cluster), [""; 0]);
}

/// What others do is no business of everybody.
#[test]
fn who_may_ask() {
    let cluster = Cluster::started(&["autovacuum = off"]);
    let mut superuser = Wire::connect(&cluster);
    rows(&mut superuser, "CREATE ROLE nosy LOGIN");
    let mut nosy = Wire::open(&cluster);
    nosy.start_session(&[("user", "nosy"), ("database", "postgres")]);
    let refused = nosy.query("SELECT count(*) FROM pg_shutdown_forecast('fast')");
    assert_eq!(refused, ["ERROR:  42501: permission denied for function pg_shutdown_forecast"]);
    let default = rows(&mut superuser, "SELECT kind FROM pg_shutdown_forecast() WHERE kind = 'total'");
    assert_eq!(default, ["total"], "fast is the default");
    let wrong = superuser.query("SELECT * FROM pg_shutdown_forecast('slow')");
    assert!(wrong[0].starts_with("ERROR:  22023: "), "{wrong:?}");
}

/// Its own session is one that a smart stop would wait for, a prepared transaction is not.
#[test]
fn a_transaction_is_named_while_it_lasts() {
    let cluster = Cluster::started(&["autovacuum = off", "max_prepared_transactions = 2"]);
    let mut writer = session(&cluster, "writer");
    let mut asker = Wire::connect(&cluster);
    let transactions = |asker: &mut Wire| -> Vec<Option<i32>> {
        Forecast::by_sql(asker, "fast").all("transaction").into_iter().map(|item: &Item| item.pid).collect()
    };
    assert_eq!(writer.query("CREATE TABLE t (a int)"), ["CREATE TABLE"]);
    assert_eq!(transactions(&mut asker), []);
    for end in ["ROLLBACK", "COMMIT", "PREPARE TRANSACTION 'p'"] {
        assert_eq!(writer.query("BEGIN"), ["BEGIN"]);
        assert_eq!(writer.query("INSERT INTO t VALUES (1)"), ["INSERT 0 1"]);
        assert_eq!(transactions(&mut asker), [Some(writer.pid)]);
        writer.query(end);
        assert_eq!(transactions(&mut asker), [], "{end}");
    }
    cluster.signal_postmaster(Signal::SIGINT);
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    assert!(fs::exists(cluster.data_dir().join("postmaster.pid")).is_ok_and(|exists| !exists));
}
