//! What a start writes to its log and leaves in the file system, and what a stop takes away again.

use std::fs;
use std::os::unix::fs::MetadataExt;

use integration::{Cluster, Server, Stop, Wire, on_each_server, process, procfs, wait_until};

use crate::support::{cluster_of, said, started};

/// The processes besides postmaster and sessions, in the order of their birth.
const ROSTER: [&str; 5] = [
    "checkpointer process",
    "writer process",
    "wal writer process",
    "autovacuum launcher process",
    "stats collector process",
];

fn roster_is(cluster: &Cluster, expected: &[&str]) {
    // The last of them come an instant after "ready".
    wait_until(&format!("the roster is {expected:?}, now {:?}", cluster.roster()), || {
        cluster.roster() == expected
    });
}

#[test]
fn log_of_a_start_and_a_stop() {
    on_each_server("log of a start", |server| {
        let cluster = started(server, &[]);
        let start = [
            "LOG:  starting PostgreSQL 15",
            "LOG:  listening on IPv4 address \"127.0.0.1\", port PORT",
            "LOG:  listening on Unix socket \"SOCKETS/.s.PGSQL.PORT\"",
            "LOG:  database system was shut down at TIME",
            "LOG:  database system is ready to accept connections",
        ];
        wait_until("the last line of the start", || cluster.new_log_lines().len() >= start.len());
        assert_eq!(cluster.new_log_lines(), start);
        cluster.mark_log();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        let lines = without_launcher(cluster.new_log_lines());
        let stop = [
            "LOG:  received fast shutdown request",
            "LOG:  aborting any active transactions",
            "LOG:  shutting down",
            "LOG:  checkpoint starting: shutdown immediate",
            "LOG:  checkpoint complete",
            "LOG:  database system is shut down",
        ];
        assert_eq!(lines, stop);
    });
}

/// Without the line about the logical replication launcher, which this server does not have.
fn without_launcher(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.contains("logical replication launcher")).collect()
}

#[test]
fn log_of_a_start_after_a_crash() {
    on_each_server("log of a start after a crash", |server| {
        let cluster = started(server, &[]);
        assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0));
        cluster.mark_log();
        cluster.start();
        cluster.wait_for_new_log("ready to accept connections");
        let mut lines = cluster.new_log_lines();
        // What recovery finds in WAL is not the subject here.
        lines.retain(|line| !line.contains("redo") && !line.contains("invalid record length"));
        let start = [
            "LOG:  starting PostgreSQL 15",
            "LOG:  listening on IPv4 address \"127.0.0.1\", port PORT",
            "LOG:  listening on Unix socket \"SOCKETS/.s.PGSQL.PORT\"",
            "LOG:  database system was interrupted; last known up at TIME",
            "LOG:  database system was not properly shut down; automatic recovery in progress",
            "LOG:  checkpoint starting: end-of-recovery immediate wait",
            "LOG:  checkpoint complete",
            "LOG:  database system is ready to accept connections",
        ];
        assert_eq!(lines, start);
    });
}

#[test]
fn immediate_stop_says_two_lines() {
    on_each_server("log of an immediate stop", |server| {
        let cluster = started(server, &[]);
        cluster.wait_for_log("ready to accept connections");
        cluster.mark_log();
        assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0));
        assert_eq!(
            cluster.new_log_lines(),
            ["LOG:  received immediate shutdown request", "LOG:  database system is shut down"]
        );
    });
}

#[test]
fn roster_in_order_of_birth() {
    let cluster = Cluster::started(&[]);
    roster_is(&cluster, &ROSTER);
    cluster.stop(Stop::Fast);
    cluster.append_config("logging_collector = on");
    cluster.append_config("autovacuum = off");
    cluster.start();
    let expected: Vec<&str> = std::iter::once("logger process")
        .chain(ROSTER.into_iter().filter(|t| !t.contains("autovacuum")))
        .collect();
    roster_is(&cluster, &expected);
    cluster.stop(Stop::Fast);
    cluster.append_config("cluster_name = 'shop 1'");
    cluster.start();
    let expected: Vec<String> = expected.iter().map(|title| format!("shop 1: {title}")).collect();
    roster_is(&cluster, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn every_child_leads_its_own_session() {
    on_each_server("sessions and groups", |server| {
        let cluster = started(server, &[]);
        let _session = Wire::connect(&cluster);
        for process in cluster.processes() {
            if process.ppid == cluster.postmaster_pid() {
                let pid = nix::unistd::Pid::from_raw(process.pid);
                // A child is one only when it has begun to run.
                wait_until("it leads", || nix::unistd::getsid(Some(pid)) == Ok(pid));
                assert_eq!(nix::unistd::getsid(Some(pid)), Ok(pid), "{process:?}");
                assert_eq!(nix::unistd::getpgid(Some(pid)), Ok(pid), "{process:?}");
            }
        }
    });
}

#[test]
fn titles_of_sessions() {
    on_each_server("titles of sessions", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[("user", "postgres"), ("database", "template1")]);
        cluster.wait_for_activity(session.pid, "postgres: postgres template1 [local] idle");
        session.query("begin");
        cluster.wait_for_activity(session.pid, "[local] idle in transaction");
        session.query("rollback");
        session.query("set update_process_title = off");
        session.query("begin");
        assert!(
            cluster.title(session.pid).ends_with("] SET"),
            "titles are off: {}",
            cluster.title(session.pid)
        );
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[("user", "postgres"), ("database", "template1")]);
        session.query("begin");
        session.query("nonsense");
        cluster.wait_for_activity(session.pid, "[local] idle in transaction (aborted)");
        let other = Wire::connect(&cluster);
        wait_until("the port is in the title", || {
            let title = cluster.title(other.pid);
            title.starts_with("postgres: postgres postgres 127.0.0.1(") && title.ends_with(") idle")
        });
    });
}

#[test]
fn lines_of_the_pid_file() {
    on_each_server("postmaster.pid", |server| {
        let cluster = started(server, &[]);
        let data = cluster.data_dir();
        let text = fs::read_to_string(data.join("postmaster.pid")).expect("a pid file");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], cluster.postmaster_pid().to_string());
        assert_eq!(lines[1], data.display().to_string());
        let began: u64 = lines[2].parse().expect("seconds");
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        assert!(began <= now && now - began < 300, "{began} is not just before {now}");
        assert_eq!(lines[3], cluster.port().to_string());
        assert_eq!(lines[4], cluster.socket_dir().display().to_string());
        assert_eq!(lines[5], "127.0.0.1");
        let segment = own_segment(&cluster).expect("an interlock segment");
        assert_eq!(lines[6], format!("{:9} {:9}", segment.key, segment.id));
        assert_eq!(segment.key, fs::metadata(&data).expect("a data directory").ino());
        assert_eq!(lines[7..], ["ready   "]);
        for (path, mode) in [
            (data.join("postmaster.pid"), 0o600),
            (data.join("postmaster.opts"), 0o600),
            (cluster.path(&format!(".s.PGSQL.{}.lock", cluster.port())), 0o600),
            (cluster.path(&format!(".s.PGSQL.{}", cluster.port())), 0o777),
        ] {
            let found = fs::metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(found.mode() & 0o777, mode, "{}", path.display());
        }
        let lock = fs::read_to_string(cluster.path(&format!(".s.PGSQL.{}.lock", cluster.port())));
        let first_five = lines[..5].join("\n") + "\n";
        assert_eq!(lock.expect("a lock file"), first_five);
    });
}

fn own_segment(cluster: &Cluster) -> Option<procfs::SysvSegment> {
    procfs::sysv_segments().into_iter().find(|segment| segment.creator_pid == cluster.postmaster_pid())
}

#[test]
fn pid_file_without_tcp_and_without_sockets() {
    on_each_server("pid file without TCP", |server| {
        let cluster = cluster_of(server, &["listen_addresses = ''"]);
        cluster.start();
        assert_eq!(cluster.pid_file_line(6).as_deref(), Some(""));
        cluster.stop(Stop::Fast);
        cluster.append_config("listen_addresses = 'localhost'");
        cluster.append_config("unix_socket_directories = ''");
        cluster.start();
        assert_eq!(cluster.pid_file_line(5).as_deref(), Some(""));
        assert_eq!(cluster.pid_file_line(6).as_deref(), Some("localhost"));
    });
}

#[test]
fn a_stop_leaves_nothing() {
    on_each_server("what a stop leaves", |server| {
        for how in [Stop::Smart, Stop::Fast, Stop::Immediate] {
            let cluster = started(server, &["external_pid_file = 'external.pid'"]);
            let external = fs::read_to_string(cluster.data_dir().join("external.pid"));
            assert_eq!(external.expect("written").trim_end(), cluster.postmaster_pid().to_string());
            assert_eq!(cluster.stop(how).code(), Some(0), "{how:?}");
            assert_eq!(cluster.processes(), [], "{how:?}");
            assert_eq!(own_segment(&cluster), None, "{how:?}");
            for gone in ["data/postmaster.pid".to_owned(), format!(".s.PGSQL.{}", cluster.port())] {
                assert!(!cluster.path(&gone).exists(), "{how:?} leaves {gone}");
            }
            let lock = format!(".s.PGSQL.{}.lock", cluster.port());
            assert!(!cluster.path(&lock).exists(), "{how:?} leaves {lock}");
            assert!(
                !cluster.data_dir().join("external.pid").exists(),
                "{how:?} leaves the external pid file"
            );
        }
    });
}

#[test]
fn a_log_collector_is_announced() {
    on_each_server("announcement of the collector", |server| {
        let cluster = started(server, &["logging_collector = on", "log_filename = 'server.log'"]);
        let announced = [
            "LOG:  redirecting log output to logging collector process",
            "HINT:  Future log output will appear in directory \"log\".",
        ];
        assert_eq!(cluster.new_log_lines(), announced);
        cluster.stop(Stop::Fast);
        let collected = fs::read_to_string(cluster.data_dir().join("log/server.log")).expect("a log file");
        let collected = cluster.normalised(&collected);
        assert!(collected.starts_with("LOG:  starting PostgreSQL 15\n"), "{collected}");
        assert!(collected.ends_with("LOG:  database system is shut down\n"), "{collected}");
        let current = fs::read_to_string(cluster.data_dir().join("current_logfiles"));
        assert_eq!(current.expect("current_logfiles"), "stderr log/server.log\n");
    });
}

#[test]
fn several_addresses_and_sockets() {
    let cluster = Cluster::new();
    fs::create_dir(cluster.path("second")).expect("own folder");
    let (uid, gid) = process::unprivileged_ids();
    std::os::unix::fs::chown(cluster.path("second"), Some(uid), Some(gid)).expect("own folder");
    let both = format!("{0}, {0}/second", cluster.socket_dir().display());
    cluster.append_config(&format!("unix_socket_directories = '{both}'"));
    cluster.append_config("listen_addresses = '127.0.0.1, ::1'");
    cluster.start();
    let log = cluster.new_log_lines();
    for line in [
        "LOG:  listening on IPv4 address \"127.0.0.1\", port PORT",
        "LOG:  listening on Unix socket \"SOCKETS/second/.s.PGSQL.PORT\"",
    ] {
        assert!(log.iter().any(|l| l == line), "{line} in {log:?}");
    }
    cluster.stop(Stop::Fast);
    assert_eq!(fs::read_dir(cluster.path("second")).map_or(0, Iterator::count), 0);
}

#[test]
fn version_and_single_settings() {
    on_each_server("-C and --version", |server| {
        let cluster = cluster_of(server, &["work_mem = 7MB"]);
        let ask = |args: &[&str]| {
            let output =
                said(&cluster, cluster.command("postgres").arg("-D").arg(cluster.data_dir()).args(args));
            (output.code, output.stdout, output.stderr)
        };
        let answer = |text: &str| (Some(0), text.to_owned(), String::new());
        assert_eq!(ask(&["-C", "work_mem"]), answer("7168\n"));
        assert_eq!(ask(&["-c", "work_mem=3MB", "-C", "work_mem"]), answer("3072\n"));
        assert_eq!(ask(&["--work-mem=4MB", "-C", "work_mem"]), answer("4096\n"));
        assert_eq!(ask(&["-C", "data_directory"]), answer("DATA\n"));
        assert_eq!(ask(&["-C", "server_version_num"]).1.get(..2), Some("15"));
        let unknown = "FATAL:  unrecognized configuration parameter \"nosuch\"\n";
        assert_eq!(ask(&["-C", "nosuch"]), (Some(1), String::new(), unknown.to_owned()));
        let version = said(&cluster, cluster.command("postgres").arg("--version"));
        assert!(version.stdout.starts_with("postgres (PostgreSQL) 15."), "{version:?}");
        assert_eq!(said(&cluster, cluster.command("postgres").arg("-V")), version);
    });
}

#[test]
fn described_settings() {
    // Lines that both servers must have, whatever else each of them has.
    on_each_server("--describe-config", |server| {
        let cluster = cluster_of(server, &[]);
        let described = said(&cluster, cluster.command("postgres").arg("--describe-config"));
        assert_eq!((described.code, described.stderr.as_str()), (Some(0), ""));
        let lines: Vec<&str> = described.stdout.lines().collect();
        assert!(lines.len() > 100, "{} settings", lines.len());
        for name in ["port", "work_mem", "log_destination", "archive_mode", "checkpoint_timeout"] {
            let line = lines.iter().find(|line| line.split('\t').next() == Some(name));
            let line = line.unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(line.split('\t').count(), 9, "{line}");
        }
    });
    let Some(real) = integration::real_postgres() else { return };
    // And where a setting is in both, its line is the same but for the value: PostgreSQL writes that column
    // before any value is set.
    let ours = Cluster::new();
    let described = |command: &mut std::process::Command| said(&ours, command).stdout;
    let theirs = described(
        process::unprivileged(&mut std::process::Command::new(real.path("postgres")))
            .arg("--describe-config"),
    );
    let own = described(ours.command("postgres").arg("--describe-config"));
    let name = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    for line in own.lines() {
        if let Some(other) = theirs.lines().find(|other| name(other) == name(line)) {
            let without_value = |line: &str| {
                let mut columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
                columns.remove(4);
                columns
            };
            assert_eq!(without_value(line), without_value(other));
        }
    }
}

#[test]
fn a_second_start_reuses_what_a_dead_server_left() {
    on_each_server("start over a dead server", |server| {
        let cluster = started(server, &[]);
        cluster.kill(cluster.postmaster_pid());
        wait_until("everyone is gone", || cluster.processes().is_empty());
        assert_eq!(cluster.pid_file_line(8).as_deref(), Some("ready   "));
        assert!(cluster.path(&format!(".s.PGSQL.{}.lock", cluster.port())).exists());
        let left = own_segment(&cluster).expect("the segment stays");
        assert_eq!(left.attached, 0);
        cluster.start();
        let now = own_segment(&cluster).expect("a segment of its own");
        assert_ne!(left.id, now.id);
        assert!(
            !procfs::sysv_segments().iter().any(|segment| segment.id == left.id),
            "the old one is removed"
        );
        assert_eq!(Wire::connect(&cluster).query("show port"), [&cluster.port().to_string(), "SHOW"]);
    });
}

#[test]
fn server_survives_being_asked_for_nothing() {
    // A postmaster with nothing to do must not burn processor time.
    let cluster = Cluster::started(&[]);
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", cluster.postmaster_pid())).expect("alive");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a stat line").1.split(' ').collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    };
    let before = ticks();
    for _ in 0..20 {
        Wire::connect(&cluster).quit();
    }
    assert!(ticks() - before < 50, "half a second of work for twenty connections");
    assert_eq!(cluster.server(), Server::Ours);
}
