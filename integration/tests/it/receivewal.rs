//! `pg_receivewal` of PostgreSQL 15, unmodified: what it receives is the server's WAL, byte by byte.

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Lsn;
use integration::archive::names_in;
use integration::{
    Cluster, Server, Stop, Wire, on_each_server, process, procfs, real_postgres, skip, wait_until,
};
use nix::sys::signal::Signal;

use crate::replication_support::{
    Program, SEGMENT_BYTES, ask, client, ended, flushed, folder, must, primary, rows, started_primary,
    switch_segment, title_of_15, wait_for_answer, wait_for_no_walsender, wait_for_position, wait_for_state,
    walsender, walsender_pid, write_wal,
};

/// The name of the segment with this byte, on a timeline.
fn segment_of(timeline: u32, lsn: Lsn) -> String {
    let (number, per_id) = (lsn.0 / SEGMENT_BYTES, 0x1_0000_0000 / SEGMENT_BYTES);
    format!("{timeline:08X}{:08X}{:08X}", number / per_id, number % per_id)
}

/// The finished segments in a folder, without suffixes of compression.
fn finished(dir: &Path) -> Vec<String> {
    let names = names_in(dir).into_iter().filter(|name| !name.ends_with(".partial"));
    names.filter(|name| !name.ends_with(".history")).map(|name| name[..24].to_owned()).collect()
}

/// A file's content; what is compressed is not here any more.
fn content(path: &Path) -> Vec<u8> {
    let name = path.display().to_string();
    let program = if name.contains(".gz") {
        "gzip"
    } else if name.contains(".lz4") {
        "lz4"
    } else {
        return fs::read(path).expect("a received file");
    };
    let file = fs::File::open(path).expect("a received file");
    // A partial one has no end, which the program complains about after it has shown what there is.
    let output = process::run(Command::new("sh").arg("-c").arg(format!("{program} -dc < '{name}'")));
    drop(file);
    output.stdout
}

/// All that was received equals the server's files, up to a position, without a gap. Returns the finished segments.
#[track_caller]
pub(crate) fn same_as_the_server(cluster: &Cluster, dir: &Path, end: Lsn) -> Vec<String> {
    let names = finished(dir);
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    for file in names_in(dir).iter().filter(|name| !name.ends_with(".history")) {
        let partial = file.ends_with(".partial");
        let timeline = u32::from_str_radix(&file[..8], 16).expect("a segment's name");
        let original = cluster.data_dir().join("pg_wal").join(&file[..24]);
        let original = fs::read(&original).unwrap_or_else(|e| panic!("{}: {e}", original.display()));
        let received = content(&dir.join(file));
        let known = if partial && file[..24] == segment_of(timeline, end) {
            (end.0 % SEGMENT_BYTES) as usize
        } else {
            original.len()
        };
        assert!(received.len() >= known, "{file} has {} of {known} bytes", received.len());
        let differs = received.iter().zip(&original[..known]).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{file} differs from the server's");
    }
    let partials = names_in(dir).iter().filter(|name| name.ends_with(".partial")).count();
    assert!(partials <= 1, "{:?}", names_in(dir));
    names
}

/// A primary that keeps its segments, so that they can be compared.
fn keeping(server: Server) -> Cluster {
    started_primary(server, &["wal_keep_size = '256MB'"])
}

/// Waits until a client has written all that is flushed now, and returns where that ends.
#[track_caller]
fn wait_until_written(cluster: &Cluster, name: &str) -> Lsn {
    let end = flushed(cluster);
    wait_for_position(cluster, name, "write_lsn", end);
    end
}

#[test]
fn without_a_slot() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal", |server| {
        let cluster = keeping(server);
        let dir = folder(&cluster, "received");
        let receiver = Program::receivewal(&cluster, "follower", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "follower", "streaming");
        write_wal(&cluster, 3500);
        let last = switch_segment(&cluster);
        write_wal(&cluster, 10);
        let end = wait_until_written(&cluster, "follower");
        let mut session = Wire::connect(&cluster);
        let columns = "usename, flush_lsn IS NULL, replay_lsn IS NULL, sync_priority, sync_state, write_lsn <= sent_lsn";
        assert_eq!(walsender(&mut session, "follower", columns).as_deref(), Some("postgres|t|t|0|async|t"));
        let title = title_of_15(&cluster.title(walsender_pid(&cluster)));
        assert_eq!(title, format!("postgres: walsender postgres [local] streaming {end}"));
        let said = receiver.interrupt();
        assert!(said.contains("starting log streaming at 0/"), "{said}");
        assert!(said.contains("not renaming") || !said.contains("could not"), "{said}");
        let names = same_as_the_server(&cluster, &dir, end);
        assert!(names.len() >= 4 && names.contains(&last), "{names:?}");
        assert!(dir.join(format!("{}.partial", segment_of(1, end))).exists(), "{:?}", names_in(&dir));
        // It was no secret, and it is over.
        wait_for_no_walsender(&cluster);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// pg_receivewal, killed while it fills a new file with zeros, refuses that file from then on.
fn remove_half_made(dir: &Path) {
    for name in names_in(dir).iter().filter(|name| name.ends_with(".partial")) {
        let path = dir.join(name);
        if fs::metadata(&path).is_ok_and(|file| ![0, SEGMENT_BYTES].contains(&file.len())) {
            fs::remove_file(&path).expect("own file");
        }
    }
}

/// Interrupted and killed at any moment, while a session writes: each start goes on where the last one was.
#[test]
fn restarted_under_load() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal restarted", |server| {
        let cluster = keeping(server);
        let dir = folder(&cluster, "received");
        let writer = "CREATE TABLE w (id int, value text);";
        must(client(&cluster, "psql", &["-X", "-q", "-c", writer]).arg("-q"));
        cluster.sh(
            "echo \"INSERT INTO w SELECT g, repeat('w', 500) FROM generate_series(1, 40) g;\" > load.sql",
        );
        // Not more than is kept while a client is away.
        let load = ["-n", "-f", "load.sql", "-c", "2", "-T", "600", "-R", "60"];
        let load = Program::spawn(&cluster, "load", &mut client(&cluster, "pgbench", &load));
        for round in 0..6 {
            let name = format!("follower{round}");
            let receiver = Program::receivewal(&cluster, &name, &dir, &["-s", "1"]);
            wait_for_state(&cluster, &name, "streaming");
            let before = finished(&dir).len();
            wait_until("a segment is received", || finished(&dir).len() > before);
            match round % 3 {
                0 => drop(receiver.interrupt()),
                1 => {
                    drop(receiver);
                    remove_half_made(&dir);
                }
                _ => {
                    // The server's side is cut off. It comes back by itself.
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(walsender_pid(&cluster)),
                        Signal::SIGTERM,
                    );
                    receiver.wait_until_says("disconnected; waiting 5 seconds to try again");
                    wait_for_state(&cluster, &name, "streaming");
                    drop(receiver.interrupt());
                }
            }
            wait_for_no_walsender(&cluster);
        }
        drop(load);
        let receiver = Program::receivewal(&cluster, "last", &dir, &["-s", "1"]);
        wait_until("the load is over", || {
            ask(&cluster, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == "0"
        });
        let end = wait_until_written(&cluster, "last");
        receiver.interrupt();
        let names = same_as_the_server(&cluster, &dir, end);
        assert!(names.len() > 5, "{names:?}");
        let numbers: Vec<u64> =
            names.iter().map(|name| u64::from_str_radix(&name[16..], 16).expect("hex")).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap in {names:?}");
    });
}

/// What follows the slot `kept`, and reports each second.
const WITH_SLOT: [&str; 4] = ["-s", "1", "--slot", "kept"];

/// pg_receivewal makes or drops the slot `kept`.
fn slot_kept(cluster: &Cluster, action: &[&str]) -> (Option<i32>, String) {
    ended(&mut client(cluster, "pg_receivewal", &[&["--slot", "kept"], action].concat()))
}

#[test]
fn with_a_slot() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal with a slot", |server| {
        let cluster = started_primary(server, &["wal_keep_size = 0", "min_wal_size = '2MB'"]);
        let dir = folder(&cluster, "received");
        let slot = |action: &[&str]| slot_kept(&cluster, action);
        assert_eq!(slot(&["--create-slot"]), (Some(0), String::new()));
        let (code, said) = slot(&["--create-slot"]);
        let exists = "ERROR:  replication slot \"kept\" already exists\n";
        assert!(code == Some(1) && said.ends_with(exists), "{said}");
        assert_eq!(slot(&["--create-slot", "--if-not-exists"]), (Some(0), String::new()));
        let shown = "SELECT slot_name, plugin IS NULL, slot_type, database IS NULL, temporary, active, \
                     active_pid IS NULL, xmin IS NULL, restart_lsn IS NULL, wal_status IS NULL, two_phase \
                     FROM pg_replication_slots";
        assert_eq!(ask(&cluster, shown), "kept|t|physical|t|f|f|t|t|t|t|f");

        let receiver = Program::receivewal(&cluster, "follower", &dir, &WITH_SLOT);
        wait_for_state(&cluster, "follower", "streaming");
        write_wal(&cluster, 2500);
        let end = wait_until_written(&cluster, "follower");
        let using = "SELECT active, active_pid = (SELECT pid FROM pg_stat_replication), wal_status, \
                     restart_lsn IS NOT NULL FROM pg_replication_slots";
        assert_eq!(ask(&cluster, using), "t|t|reserved|t");
        // A second one must wait for its turn.
        let again = [&WITH_SLOT[..], &["--no-loop", "-D"]].concat();
        let (code, said) = ended(client(&cluster, "pg_receivewal", &again).arg(&dir));
        let pid = walsender_pid(&cluster);
        assert!(
            code == Some(1) && said.contains(&format!("slot \"kept\" is active for PID {pid}")),
            "{said}"
        );
        let (code, said) = slot(&["--drop-slot"]);
        assert!(
            code == Some(1) && said.contains(&format!("slot \"kept\" is active for PID {pid}")),
            "{said}"
        );
        receiver.interrupt();
        wait_for_no_walsender(&cluster);
        let names = same_as_the_server(&cluster, &dir, end);
        assert!(names.len() >= 2, "{names:?}");
    });
}

/// The server keeps for a slot what was not confirmed, over checkpoints and starts, and no longer.
#[test]
fn kept_for_a_slot() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("what a slot keeps", |server| {
        let cluster = started_primary(server, &["wal_keep_size = 0", "min_wal_size = '2MB'"]);
        let dir = folder(&cluster, "received");
        let slot = |action: &[&str]| slot_kept(&cluster, action);
        assert_eq!(slot(&["--create-slot"]), (Some(0), String::new()));
        let receiver = Program::receivewal(&cluster, "follower", &dir, &WITH_SLOT);
        wait_for_state(&cluster, "follower", "streaming");
        wait_until_written(&cluster, "follower");
        receiver.interrupt();
        wait_for_no_walsender(&cluster);
        for _ in 0..4 {
            write_wal(&cluster, 1000);
            switch_segment(&cluster);
            ask(&cluster, "CHECKPOINT");
        }
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let inactive = "SELECT active, wal_status IN ('reserved', 'extended') FROM pg_replication_slots";
        assert_eq!(ask(&cluster, inactive), "f|t");
        let receiver = Program::receivewal(&cluster, "again", &dir, &WITH_SLOT);
        wait_for_state(&cluster, "again", "streaming");
        let end = wait_until_written(&cluster, "again");
        receiver.interrupt();
        wait_for_no_walsender(&cluster);
        let names = same_as_the_server_now(&cluster, &dir, end);
        assert!(names.len() >= 4, "{names:?}");

        assert_eq!(slot(&["--drop-slot"]), (Some(0), String::new()));
        let (code, said) = slot(&["--drop-slot"]);
        assert!(
            code == Some(1) && said.ends_with("ERROR:  replication slot \"kept\" does not exist\n"),
            "{said}"
        );
        assert_eq!(ask(&cluster, "SELECT count(*) FROM pg_replication_slots"), "0");
        assert_eq!(names_in(&cluster.data_dir().join("pg_replslot")), [""; 0]);
        // What it held back goes with the next checkpoint.
        let oldest = names[0].clone();
        ask(&cluster, "CHECKPOINT");
        assert!(!cluster.data_dir().join("pg_wal").join(&oldest).exists(), "{oldest}");
    });
}

/// Compares what the server still has: the older segments are gone, as they may be.
#[track_caller]
fn same_as_the_server_now(cluster: &Cluster, dir: &Path, end: Lsn) -> Vec<String> {
    let names = finished(dir);
    let oldest = names_in(&cluster.data_dir().join("pg_wal")).into_iter().next().expect("segments");
    let aside = cluster.path("aside");
    cluster.sh(&format!("mkdir -p '{}'", aside.display()));
    for name in names.iter().filter(|name| **name < oldest) {
        common::file::rename(&dir.join(name), &aside.join(name)).expect("own files");
    }
    let still = same_as_the_server(cluster, dir, end);
    assert!(!still.is_empty(), "nothing to compare");
    names
}

/// A commit is answered when the client has it on disk.
#[test]
fn synchronous() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal --synchronous", |server| {
        let cluster = keeping(server);
        let dir = folder(&cluster, "received");
        ask(&cluster, "CREATE TABLE t (id int)");
        let receiver = Program::receivewal(&cluster, "follower", &dir, &["--synchronous"]);
        wait_for_state(&cluster, "follower", "streaming");
        cluster.append_config("synchronous_standby_names = 'follower'");
        cluster.signal_postmaster(Signal::SIGHUP);
        let of_follower = |column: &str| {
            format!("SELECT {column} FROM pg_stat_replication WHERE application_name = 'follower'")
        };
        wait_for_answer(&cluster, &of_follower("sync_priority || sync_state"), "1sync");
        let mut session = Wire::connect(&cluster);
        for id in 0..20 {
            assert_eq!(session.query(&format!("INSERT INTO t VALUES ({id})")), ["INSERT 0 1"]);
            // Acknowledged: it is there, whatever the server says about it.
            let end = rows(&mut session, "SELECT pg_current_wal_flush_lsn()")[0].parse::<Lsn>();
            let flushed = walsender(&mut session, "follower", "flush_lsn").expect("a walsender");
            assert!(flushed.parse::<Lsn>().expect("a position") >= Lsn(end.expect("a position").0 - 8192));
        }
        let end = flushed(&cluster);
        wait_for_position(&cluster, "follower", "flush_lsn", end);
        same_as_the_server(&cluster, &dir, end);

        // A client that stands still holds the commit.
        receiver.freeze();
        session.begin("INSERT INTO t VALUES (100)");
        cluster.wait_for_process(&format!(
            "postgres: postgres postgres 127.0.0.1({})",
            port_of(&session, &cluster)
        ));
        wait_until("the commit waits", || cluster.title(session.pid).contains(" waiting for 0/"));
        let waits =
            format!("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = {}", session.pid);
        wait_for_answer(&cluster, &waits, "IPC|SyncRep");
        assert_eq!(ask(&cluster, "SELECT count(*) FROM t"), "20", "nobody sees it yet");
        receiver.resume();
        assert_eq!(session.answer(), ["INSERT 0 1"]);
        assert_eq!(ask(&cluster, "SELECT count(*) FROM t"), "21");

        // So does none at all, until somebody gives up waiting: the transaction has committed here.
        receiver.interrupt();
        wait_for_no_walsender(&cluster);
        session.begin("INSERT INTO t VALUES (101)");
        wait_for_answer(&cluster, &waits, "IPC|SyncRep");
        session.cancel(&cluster);
        assert_eq!(
            session.answer(),
            [
                "WARNING:  01000: canceling wait for synchronous replication due to user request",
                "DETAIL:  The transaction has already committed locally, but might not have been replicated to the standby.",
                "INSERT 0 1",
            ]
        );
        // And nobody who does not ask for it waits.
        assert_eq!(
            session.query("SET synchronous_commit = local; INSERT INTO t VALUES (102)"),
            ["SET", "INSERT 0 1"]
        );
        assert_eq!(ask(&cluster, "SELECT count(*) FROM t"), "23");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// The client's port, as the title of its server process shows it.
fn port_of(session: &Wire, cluster: &Cluster) -> String {
    let title = cluster.title(session.pid);
    let inside = title.split_once("127.0.0.1(").and_then(|(_, rest)| rest.split_once(')'));
    inside.map_or_else(|| panic!("no client in {title:?}"), |(port, _)| port.to_owned())
}

#[test]
fn compressed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal --compress", |server| {
        let cluster = keeping(server);
        for (method, suffix) in [("gzip:5", ".gz"), ("lz4", ".lz4")] {
            let program = suffix.trim_start_matches('.').replace("gz", "gzip");
            if !process::run(Command::new("sh").args(["-c", &format!("command -v {program}")]))
                .status
                .success()
            {
                integration::say_skipped(module_path!(), &format!("{program} is not installed"));
                continue;
            }
            let name = suffix.trim_start_matches('.');
            let dir = folder(&cluster, name);
            let arguments = ["-s", "1", "--compress", method];
            for round in 0..2 {
                let name = format!("{name}{round}");
                let receiver = Program::receivewal(&cluster, &name, &dir, &arguments);
                wait_for_state(&cluster, &name, "streaming");
                write_wal(&cluster, 2200);
                wait_until_written(&cluster, &name);
                receiver.interrupt();
                wait_for_no_walsender(&cluster);
                assert!(names_in(&dir).iter().all(|file| file.contains(suffix)), "{:?}", names_in(&dir));
            }
            // A compressed partial file's end is nobody's business: whole segments are compared.
            let names = names_in(&dir);
            let partial = names.iter().find(|file| file.ends_with(".partial")).expect("a partial segment");
            fs::remove_file(dir.join(partial)).expect("own file");
            let names = same_as_the_server(&cluster, &dir, Lsn(0));
            assert!(names.len() >= 4, "{names:?}");
        }
    });
}

#[test]
fn up_to_a_position() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal --endpos", |server| {
        let cluster = keeping(server);
        let dir = folder(&cluster, "received");
        let end = write_wal(&cluster, 1500);
        let mut receive = client(&cluster, "pg_receivewal", &["-v", "--no-loop", "--no-sync"]);
        // What is there already starts at the segment that is written to now.
        let said = must(receive.args(["--endpos", &end.to_string(), "-D"]).arg(&dir));
        assert!(said.contains("stopped log streaming at "), "{said}");
        same_as_the_server(&cluster, &dir, end);
        let partial = dir.join(format!("{}.partial", segment_of(1, end)));
        assert!(partial.exists() && finished(&dir).is_empty(), "{:?}", names_in(&dir));
        // A position that comes later.
        let later = Lsn(end.0 + 3 * SEGMENT_BYTES);
        let receiver =
            Program::receivewal(&cluster, "follower", &dir, &["--endpos", &later.to_string(), "-n"]);
        wait_for_state(&cluster, "follower", "streaming");
        write_wal(&cluster, 4000);
        let said = receiver.succeeds();
        assert!(said.contains("stopped log streaming at "), "{said}");
        assert_eq!(same_as_the_server(&cluster, &dir, later).len(), 3);
        let mut receive = client(&cluster, "pg_receivewal", &["--endpos", "x", "-D"]);
        assert_eq!(ended(receive.arg(&dir)).0, Some(1));
    });
}

/// The server begins a new timeline: the client takes the history and goes on there.
#[test]
fn a_new_timeline() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal and a new timeline", |server| {
        let cluster = keeping(server);
        let dir = folder(&cluster, "received");
        let receiver = Program::receivewal(&cluster, "first", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "first", "streaming");
        write_wal(&cluster, 1500);
        wait_until_written(&cluster, "first");
        receiver.interrupt();
        write_wal(&cluster, 2500);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("restore_command = 'false'");
        cluster.write_file("recovery.signal", "");
        cluster.start();
        wait_for_answer(&cluster, "SELECT pg_is_in_recovery()", "f");
        write_wal(&cluster, 1500);
        let receiver = Program::receivewal(&cluster, "second", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "second", "streaming");
        let said = receiver.wait_until_says("switched to timeline 2");
        assert!(said.contains("(timeline 1)"), "{said}");
        let end = wait_until_written(&cluster, "second");
        receiver.interrupt();
        let history = "00000002.history";
        assert_eq!(
            fs::read_to_string(dir.join(history)).expect("a history"),
            fs::read_to_string(cluster.data_dir().join("pg_wal").join(history)).expect("a history"),
        );
        // The last segment of the old timeline was never finished.
        let names = names_in(&dir);
        assert!(
            names.iter().any(|name| name.starts_with("00000001") && name.ends_with(".partial")),
            "{names:?}"
        );
        same_on_both_timelines(&cluster, &dir, end);
        // A client without anything begins on the new one.
        let fresh = folder(&cluster, "fresh");
        let receiver = Program::receivewal(&cluster, "third", &fresh, &["-s", "1"]);
        wait_for_state(&cluster, "third", "streaming");
        assert!(receiver.interrupt().contains("(timeline 2)"));
        assert!(!finished(&fresh).iter().any(|name| name.starts_with("00000001")));
    });
}

/// The old timeline's partial segment is compared up to where the new one begins.
#[track_caller]
fn same_on_both_timelines(cluster: &Cluster, dir: &Path, end: Lsn) {
    let history = fs::read_to_string(dir.join("00000002.history")).expect("a history");
    let switch =
        history.split_whitespace().nth(1).and_then(|lsn| lsn.parse::<Lsn>().ok()).expect("a position");
    let partial = format!("{}.partial", segment_of(1, switch));
    let received = content(&dir.join(&partial));
    // Promotion has renamed it.
    let names = [partial.as_str(), &partial[..24]];
    let original = names.iter().find_map(|name| fs::read(cluster.data_dir().join("pg_wal").join(name)).ok());
    let known = (switch.0 % SEGMENT_BYTES) as usize;
    assert!(received[..known] == original.expect("the server has it")[..known], "{partial} differs");
    fs::remove_file(dir.join(&partial)).expect("own file");
    let names = same_as_the_server(cluster, dir, end);
    assert!(names.iter().any(|name| name.starts_with("00000002")), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("00000001")), "{names:?}");
}

/// Sent away, refused, without a server: what it says, and that it comes back.
#[test]
fn what_goes_wrong() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_receivewal's complaints", |server| {
        let cluster = primary(server, &["max_wal_senders = 1", "wal_keep_size = '64MB'"]);
        let dir = folder(&cluster, "received");
        let receive = |args: &[&str]| {
            let args = [&["--no-loop", "--slot", "none"], args].concat();
            ended(client(&cluster, "pg_receivewal", &args).arg("-D").arg(&dir))
        };
        let (code, said) = receive(&[]);
        assert!(code == Some(1) && said.contains("No such file or directory"), "{said}");
        cluster.start();
        let (code, said) = receive(&[]);
        assert!(code == Some(1), "{said}");
        assert!(said.contains("replication slot \"none\" does not exist"), "{said}");
        wait_for_no_walsender(&cluster);

        let first = Program::receivewal(&cluster, "first", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "first", "streaming");
        let (code, said) = receive(&[]);
        assert!(code == Some(1), "{said}");
        assert!(
            said.contains(
                "FATAL:  number of requested standby connections exceeds max_wal_senders (currently 1)"
            ),
            "{said}"
        );
        // A session is none of them.
        assert_eq!(ask(&cluster, "SELECT 1"), "1");
        first.interrupt();
        wait_for_no_walsender(&cluster);
        // The place is free again.
        let second = Program::receivewal(&cluster, "second", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "second", "streaming");
        assert!(procfs::is_alive(second.pid()));
        second.interrupt();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}
