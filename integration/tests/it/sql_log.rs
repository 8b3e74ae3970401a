//! What the log says about statements: `log_statement`, `log_duration`, `log_min_duration_statement`, and about
//! statements that fail.

use std::fmt::Write;

use integration::{Cluster, Wire, on_each_server};
use regex::Regex;

use crate::support::started;
use crate::transcript;

/// What the session does, and the log's lines about it.
#[test]
fn statements_in_the_log() {
    on_each_server("statements in the log", |server| {
        let cluster = started(server, &["log_line_prefix = 'session %q'", "log_checkpoints = off"]);
        let mut text = String::new();
        for (settings, statements) in CASES {
            let _ = writeln!(text, "# {}", settings.join(", "));
            let mut session = Wire::connect(&cluster);
            for setting in *settings {
                session.query(&format!("SET {setting}"));
            }
            for statement in *statements {
                cluster.mark_log();
                session.query(statement);
                let _ = writeln!(text, "> {statement}");
                text += &lines(&cluster);
            }
            session.query("RESET ALL");
            session.quit();
            text += "\n";
        }
        text += &extended(&cluster);
        transcript::check("sql_log.txt", server, &text);
    });
}

const DIVIDES: &str = "SELECT 1/g FROM generate_series(0, 0) g";

const CASES: &[(&[&str], &[&str])] = &[
    (&[], &["SELECT 1", DIVIDES, "SELECT nope", "SELEC", "COMMIT", "SELECT pg_cancel_backend(1)"]),
    (&["log_min_error_statement = panic"], &["SELECT nope"]),
    (&["log_min_messages = panic"], &["SELECT nope"]),
    (&["log_min_messages = error"], &["COMMIT", "SELECT nope"]),
    (&["log_error_verbosity = terse"], &["SELECT nope", "SELECT 'x'::json"]),
    (
        &["log_statement = ddl"],
        &[
            "SELECT 1",
            "CREATE ROLE log_test",
            "ALTER ROLE log_test LOGIN",
            "DROP ROLE log_test",
            "BEGIN",
            "SET work_mem = '1MB'",
            "COMMIT",
        ],
    ),
    (
        &["log_statement = mod"],
        &["SELECT 1", "CREATE ROLE log_test", "DROP ROLE log_test", "DELETE FROM nope", "SHOW work_mem"],
    ),
    (
        &["log_statement = 'all'"],
        &[
            "SELECT 1",
            "SELECT 1; SELECT 2",
            "SELEC",
            "",
            "SHOW work_mem",
            "PREPARE p AS SELECT 'prepared'",
            "EXECUTE p",
            "EXPLAIN SELECT 1",
            "BEGIN",
            "SELECT nope",
            "SELECT 'failed already'",
            "ROLLBACK",
        ],
    ),
    (
        &["log_statement = 'none'", "log_min_duration_statement = 0"],
        &["SELECT 1", "SELEC", "SELECT nope", ""],
    ),
    (
        &["log_min_duration_statement = 0"],
        &["PREPARE p AS SELECT 'prepared'", "EXECUTE p", "SELECT 1; SELECT 2"],
    ),
    (&["log_min_duration_statement = '1h'"], &["SELECT 1"]),
    (&["log_duration = on"], &["SELECT 1", "SELECT nope"]),
    (&["log_duration = on", "log_min_duration_statement = 0"], &["SELECT 1"]),
    (&["log_duration = on", "log_statement = 'all'"], &["SELECT 1"]),
    (&["log_statement = 'all'", "log_min_duration_statement = 0"], &["SELECT 1"]),
    (&["client_min_messages = error"], &["COMMIT"]),
    (&["application_name = 'other'", "log_statement = 'all'"], &["SELECT 'multi\nline'"]),
];

/// The new lines of the log, after "< ", with durations made equal. The answer comes after the log line, so they
/// are all there.
fn lines(cluster: &Cluster) -> String {
    let took = Regex::new(r"duration: \d+\.\d{3} ms").expect("a valid pattern");
    let log = cluster.new_log();
    let lines = log
        .lines()
        .map(|line| took.replace(line.trim_start_matches("session "), "duration: N ms").into_owned());
    lines.fold(String::new(), |text, line| text + "< " + &line + "\n")
}

/// The same for the steps of the extended protocol, by a driver.
fn extended(cluster: &Cluster) -> String {
    let mut text = String::new();
    let names = Regex::new(r"\b[sp]\d+\b").expect("a valid pattern");
    for settings in ["SET log_statement = 'all'", "SET log_min_duration_statement = 0"] {
        let mut client = cluster.connect();
        client.batch_execute(settings).expect("a superuser");
        cluster.mark_log();
        let _ = writeln!(text, "# extended, {settings}");
        let statement = client.prepare("SELECT $1::int4, $2::text").expect("it parses");
        client.query(&statement, &[&1, &"it's"]).expect("a row");
        client.query(&statement, &[&None::<i32>, &""]).expect("a row");
        let mut transaction = client.transaction().expect("none is open");
        let rows = transaction.prepare("SELECT generate_series(1, 3)").expect("it parses");
        let portal = transaction.bind(&rows, &[]).expect("no parameters");
        transaction.query_portal(&portal, 2).expect("rows");
        transaction.query_portal(&portal, 2).expect("rows");
        transaction.rollback().expect("a block");
        text += &names.replace_all(&lines(cluster), "NAME");
        text += "\n";
    }
    text
}
