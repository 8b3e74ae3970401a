//! Where the log goes and what its lines look like: rotation, csvlog, `log_line_prefix`, levels.

use std::fs;
use std::path::PathBuf;

use integration::{Cluster, Server, Stop, Wire, on_each_server, wait_until};
use regex::Regex;

use crate::support::started;

/// A server that collects its log in files named by this pattern.
fn collecting(server: Server, filename: &str, config: &[&str]) -> Cluster {
    let filename = format!("log_filename = '{filename}'");
    let mut lines = vec!["logging_collector = on", "log_truncate_on_rotation = off", filename.as_str()];
    lines.extend(config);
    started(server, &lines)
}

fn log_files(cluster: &Cluster) -> Vec<PathBuf> {
    let entries = fs::read_dir(cluster.data_dir().join("log"));
    let mut files: Vec<PathBuf> =
        entries.map_or_else(|_| Vec::new(), |e| e.flatten().map(|f| f.path()).collect());
    files.sort();
    files
}

fn read(cluster: &Cluster, file: &str) -> String {
    fs::read_to_string(cluster.data_dir().join("log").join(file)).unwrap_or_default()
}

/// Moves the log file away, so that a rotation that opens it anew can be seen even with a fixed name.
fn rotates(cluster: &Cluster, how: impl FnOnce()) {
    let (from, to) = (cluster.data_dir().join("log/server.log"), cluster.data_dir().join("log/old.log"));
    #[allow(clippy::disallowed_methods, reason = "a test moves a file, nothing has to survive a crash")]
    fs::rename(&from, &to).expect("a log file");
    how();
    wait_until("there is a new file", || from.exists());
    let mut session = Wire::connect(cluster);
    session.query("a nonsense");
    wait_until("it is written to", || read(cluster, "server.log").contains("\"a\""));
}

#[test]
fn rotation_on_request() {
    on_each_server("rotation", |server| {
        let cluster = collecting(server, "server.log", &[]);
        rotates(&cluster, || {
            let output = cluster.pg_ctl(&["logrotate"]);
            assert_eq!(String::from_utf8_lossy(&output.stdout), "server signaled to rotate log file\n");
            assert_eq!(output.status.code(), Some(0));
        });
        assert!(!cluster.data_dir().join("logrotate").exists(), "the request is taken");
        rotates(&cluster, || {
            let answer = Wire::connect(&cluster).query("select pg_rotate_logfile()");
            assert_eq!(answer, ["t", "SELECT 1"]);
        });
        rotates(&cluster, || {
            let logger = cluster.wait_for_process("postgres: logger");
            cluster.signal(logger, nix::sys::signal::Signal::SIGUSR1);
        });
        let current =
            Wire::connect(&cluster).query("select pg_current_logfile(), pg_current_logfile('csvlog')");
        assert_eq!(current, ["log/server.log|", "SELECT 1"], "{server:?}");
    });
}

#[test]
fn rotation_without_a_collector() {
    on_each_server("rotation without a collector", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        let expected =
            ["WARNING:  01000: rotation not possible because log collection not active", "f", "SELECT 1"];
        assert_eq!(session.query("select pg_rotate_logfile()"), expected, "{server:?}");
        assert_eq!(cluster.pg_ctl(&["logrotate"]).status.code(), Some(0));
    });
}

#[test]
fn rotation_by_size() {
    on_each_server("rotation by size", |server| {
        let cluster = collecting(server, "%Y-%m-%d_%H%M%S.log", &["log_rotation_size = 1kB"]);
        let mut session = Wire::connect(&cluster);
        // The name has seconds: a second file comes with the next second.
        wait_until("there are two files", || {
            session.query(&format!("syntax error {}", "x".repeat(2000)));
            log_files(&cluster).len() > 1
        });
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

#[test]
fn a_new_log_file_name_by_reload() {
    on_each_server("log_filename changed", |server| {
        let cluster = collecting(server, "server.log", &[]);
        cluster.append_config("log_filename = 'other.log'");
        cluster.signal_postmaster(nix::sys::signal::Signal::SIGHUP);
        wait_until("the new file is there", || cluster.data_dir().join("log/other.log").exists());
        let mut session = Wire::connect(&cluster);
        wait_until("it is written to", || {
            session.query("nonsense");
            read(&cluster, "other.log").contains("nonsense")
        });
        let current = fs::read_to_string(cluster.data_dir().join("current_logfiles"));
        assert_eq!(current.unwrap_or_default(), "stderr log/other.log\n", "{server:?}");
    });
}

/// The fields of one csvlog line.
fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields.last_mut().expect("never empty").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("never empty").push(c),
        }
    }
    fields
}

#[test]
fn csvlog_has_26_columns() {
    on_each_server("csvlog", |server| {
        let config = ["log_destination = 'stderr,csvlog'", "log_error_verbosity = verbose"];
        let cluster = collecting(server, "server.log", &config);
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", "a \"test\", quoted"),
        ]);
        session.query("begin");
        session.query("select 1,\n 'x' /* , */ + nonsense");
        wait_until("it is logged", || read(&cluster, "server.csv").contains("nonsense"));
        let csv = read(&cluster, "server.csv");
        let from =
            csv.find("[local]").map(|at| csv[..at].rfind('\n').map_or(0, |n| n + 1)).expect("its line");
        let fields = csv_fields(csv[from..].trim_end());
        assert_eq!(fields.len(), 26, "{fields:?}");
        let expected: &[(usize, &str)] = &[
            (0, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC$"),
            (1, "^postgres$"),
            (2, "^postgres$"),
            (4, r"^\[local\]$"),
            (6, r"^\d+$"),
            (7, "^SELECT$"),
            (8, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"),
            (9, r"^\d+/\d+$"),
            (10, "^0$"),
            (11, "^ERROR$"),
            (12, "^42703$"),
            (13, "^column \"nonsense\" does not exist$"),
            (14, "^$"),
            (15, "^$"),
            (16, "^$"),
            (17, "^$"),
            (18, "^$"),
            (19, r"^select 1,\n 'x' /\* , \*/ \+ nonsense$"),
            (20, "^26$"),
            (21, r"^\w+, \w+\.(c|rs):\d+$"),
            (22, "^a \"test\", quoted$"),
            (23, "^client backend$"),
            (24, "^$"),
            (25, "^0$"),
        ];
        for (at, pattern) in expected {
            let pattern_matches = Regex::new(pattern).expect("a valid pattern").is_match(&fields[*at]);
            assert!(pattern_matches, "field {at}, {server:?}: {:?} is not {pattern}", fields[*at]);
        }
        assert_eq!(fields[3], session.pid.to_string());
        assert_eq!(
            fields[5].split_once('.').map(|(_, pid)| pid),
            Some(format!("{:x}", session.pid).as_str())
        );
        // Every line of the file is one.
        let whole = csv_fields(&csv);
        assert_eq!(whole.len() % 25, 1, "26 columns a line, with the line's end between last and first");
    });
}

#[test]
fn line_prefix() {
    on_each_server("log_line_prefix", |server| {
        let prefix = "log_line_prefix = '<%a|%u|%d|%b|%i|%e|%l|%h|%x|%q%r|%%> '";
        let cluster = started(server, &[prefix, "log_error_verbosity = terse"]);
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("application_name", "prefixed"),
        ]);
        session.query("nonsense");
        let log = cluster.wait_for_log("nonsense");
        let line = log.lines().find(|line| line.contains("nonsense")).expect("found above");
        let expected = "<prefixed|postgres|postgres|client backend|idle|42601|1|[local]|0|[local]|%> ERROR:  syntax error at or near \"nonsense\" at character 1";
        assert_eq!(line, expected, "{server:?}");
        // A process without a session stops at %q.
        let ready = log.lines().find(|line| line.contains("ready to accept")).expect("at start");
        assert!(
            ready.starts_with("<[unknown]|[unknown]|[unknown]|postmaster||00000|")
                || ready.starts_with("<|||postmaster||00000|"),
            "{ready}"
        );
        assert!(ready.ends_with("||0|LOG:  database system is ready to accept connections"), "{ready}");
        let statement = log.lines().find(|line| line.contains("STATEMENT:")).expect("logged with the error");
        assert!(statement.ends_with("STATEMENT:  nonsense"), "{statement}");
    });
}

#[test]
fn connections_and_disconnections() {
    on_each_server("log_connections", |server| {
        let config = ["log_connections = on", "log_disconnections = on", "log_line_prefix = ''"];
        let cluster = started(server, &config);
        cluster.wait_for_log("ready to accept");
        cluster.mark_log();
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[("user", "postgres"), ("database", "postgres"), ("application_name", "me")]);
        session.quit();
        cluster.wait_for_new_log("disconnection: ");
        let lines = cluster.new_log_lines();
        assert_eq!(
            lines[..2],
            [
                "LOG:  connection received: host=[local]",
                "LOG:  connection authorized: user=postgres database=postgres application_name=me"
            ],
            "{server:?}"
        );
        let last = Regex::new(
            r"^LOG:  disconnection: session time: 0:00:\d\d\.\d{3} user=postgres database=postgres host=\[local\]$",
        );
        assert!(last.expect("a valid pattern").is_match(&lines[2]), "{lines:?}");
    });
}

#[test]
fn levels() {
    on_each_server("log_min_messages and friends", |server| {
        let cluster = started(server, &["log_line_prefix = ''"]);
        let mut session = Wire::connect(&cluster);
        session.query("begin");
        // A warning goes to the log by default, a notice does not.
        assert_eq!(
            session.query("begin"),
            ["WARNING:  25001: there is already a transaction in progress", "BEGIN"],
            "{server:?}"
        );
        cluster.wait_for_log("WARNING:  there is already a transaction in progress");
        session.query("rollback");
        session.query("set client_min_messages = error");
        cluster.mark_log();
        assert_eq!(session.query("rollback"), ["ROLLBACK"]);
        cluster.wait_for_new_log("WARNING:  there is no transaction in progress");
        session.query("set log_min_messages = fatal");
        cluster.mark_log();
        session.query("nonsense");
        session.query("rollback");
        session.query("set log_min_messages = error");
        session.query("set log_min_error_statement = panic");
        session.query("other nonsense");
        cluster.wait_for_new_log("\"other\"");
        assert_eq!(
            cluster.new_log_lines(),
            ["ERROR:  syntax error at or near \"other\" at character 1"],
            "{server:?}"
        );
        session.query("reset log_min_error_statement");
        session.query("set log_error_verbosity = verbose");
        cluster.mark_log();
        session.query("third nonsense");
        cluster.wait_for_new_log("STATEMENT");
        let lines = cluster.new_log_lines();
        assert_eq!(lines[0], "ERROR:  42601: syntax error at or near \"third\" at character 1", "{server:?}");
        assert!(lines[1].starts_with("LOCATION:  "), "{lines:?}");
        assert_eq!(lines[2], "STATEMENT:  third nonsense");
    });
}

#[test]
fn statements_and_durations() {
    on_each_server("log_statement", |server| {
        let cluster = started(server, &["log_line_prefix = ''"]);
        let mut session = Wire::connect(&cluster);
        session.query("set log_statement = 'all'");
        cluster.mark_log();
        session.query("select 1");
        cluster.wait_for_new_log("select 1");
        assert_eq!(cluster.new_log_lines(), ["LOG:  statement: select 1"], "{server:?}");
        session.query("set log_statement = 'none'");
        session.query("set log_min_duration_statement = 0");
        cluster.mark_log();
        session.query("select 2");
        cluster.wait_for_new_log("select 2");
        let line = cluster.new_log_lines().pop().unwrap_or_default();
        let pattern = Regex::new(r"^LOG:  duration: \d+\.\d{3} ms  statement: select 2$");
        assert!(pattern.expect("a valid pattern").is_match(&line), "{line}, {server:?}");
    });
}

#[test]
fn the_logger_is_the_last_to_leave() {
    on_each_server("the logger's last line", |server| {
        let cluster = collecting(server, "server.log", &[]);
        let logger = cluster.wait_for_process("postgres: logger");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        wait_until("the logger has left", || !integration::procfs::is_alive(logger));
        assert!(read(&cluster, "server.log").ends_with("LOG:  database system is shut down\n"));
        // Also when the processes it serves are killed with the postmaster.
        cluster.start();
        let logger = cluster.wait_for_process("postgres: logger");
        for pid in [cluster.wait_for_process("postgres: checkpointer"), cluster.postmaster_pid()] {
            cluster.signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        wait_until("the logger has left", || !integration::procfs::is_alive(logger));
    });
}
