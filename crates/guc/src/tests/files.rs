//! Configuration files: the messages of PostgreSQL 15.20, recorded, for the same files.

use std::cell::RefCell;
use std::fs;

use elog::config::LogConfig;
use elog::{PgError, Severity};
use tempfile::TempDir;

use crate::state::for_test;
use crate::{
    GucAction, GucContext, GucSource, alter_system_reset, alter_system_reset_all, alter_system_set,
    file_settings, process_config_file, rows, select_config_files, set_option, show, vars,
};

thread_local! {
    static REPORTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn record(report: &PgError) {
    REPORTS.with_borrow_mut(|reports| reports.push(report.to_string()));
}

/// A data directory with the files of a server that has started.
struct Server {
    dir: TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Server {
    fn start(conf: &str) -> Server {
        let server = Server { _turn: for_test(), dir: tempfile::tempdir().expect("a directory") };
        elog::set_client_sink(Some(record));
        elog::config::apply(LogConfig {
            log_min_messages: Severity::Panic,
            client_min_messages: Severity::Log,
            ..LogConfig::default()
        });
        server.write("postgresql.conf", conf);
        select_config_files(server.dir.path().to_str(), "postgres").expect("good files");
        server.take_reports();
        server
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("written");
    }

    fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// What was reported since the last time, the data directory as `D`.
    fn take_reports(&self) -> Vec<String> {
        let reports = REPORTS.take();
        let skipped = "LOG:  skipping missing configuration file \"D/postgresql.auto.conf\"";
        let reports = reports.into_iter().map(|report| report.replace(&self.path(), "D"));
        reports.filter(|report| report != skipped).collect()
    }

    #[track_caller]
    fn reload(&self, conf: &str, expected: &[&str]) {
        self.write("postgresql.conf", conf);
        process_config_file(GucContext::Sighup).expect("a reload is never an error");
        let reports: Vec<String> =
            self.take_reports().into_iter().map(|r| r.trim_start_matches("LOG:  ").to_owned()).collect();
        assert_eq!(reports, expected, "{conf}");
    }
}

const NOTHING_APPLIED: &str =
    "configuration file \"D/postgresql.conf\" contains errors; no changes were applied";
const REST_APPLIED: &str =
    "configuration file \"D/postgresql.conf\" contains errors; unaffected changes were applied";

#[test]
fn syntax_errors() {
    let server = Server::start("");
    for (conf, line, near) in [
        ("work_mem = 1.5MB\n", 1, "near token \"MB\""),
        ("work_mem = 5MB x\n", 1, "near token \"x\""),
        ("work_mem = a.b\n", 1, "near token \"a.b\""),
        ("search_path = a.b.c\nwork_mem = \n", 2, "near end of line"),
        ("= 5\n", 1, "near token \"=\""),
        ("work_mem\n", 1, "near end of line"),
        ("work_mem = 'abc\n", 1, "near token \"'\""),
        ("work_mem = +7MB\nx.Y.z = on\n", 2, "near token \"x.Y.z\""),
        ("seq_page_cost = 1e0\n", 1, "near token \"0\""),
        ("x.$y = on\n", 1, "near token \"x.\""),
        ("x.y = -\n", 1, "near token \"-\""),
    ] {
        let error = format!("syntax error in file \"D/postgresql.conf\" line {line}, {near}");
        server.reload(conf, &[&error, NOTHING_APPLIED]);
    }
    server.reload(
        "a b c d\n; foo\nwork_mem=1MB\n",
        &[
            "syntax error in file \"D/postgresql.conf\" line 1, near token \"c\"",
            "syntax error in file \"D/postgresql.conf\" line 2, near token \";\"",
            NOTHING_APPLIED,
        ],
    );
    assert_eq!(vars::WORK_MEM.get(), 4096);
    let garbage = "\u{1}\n".repeat(500);
    server.write("postgresql.conf", &garbage);
    process_config_file(GucContext::Sighup).expect("no error");
    let reports = server.take_reports();
    assert_eq!(reports.len(), 102);
    assert_eq!(reports[100], "LOG:  too many syntax errors found, abandoning file \"D/postgresql.conf\"");
}

#[test]
fn what_a_reload_says() {
    let server = Server::start("max_connections = 100\nport = 5791\n");
    let base = "max_connections = 100\nport = 5791\n";
    server.reload(&format!("{base}work_mem 5MB"), &["parameter \"work_mem\" changed to \"5MB\""]);
    server.reload(&format!("{base}work_mem = 5120kB"), &[]);
    server.reload(
        &format!("{base}nosuch = 1\nx.y = 'a'\n"),
        &[
            "unrecognized configuration parameter \"nosuch\" in file \"D/postgresql.conf\" line 3",
            NOTHING_APPLIED,
        ],
    );
    server.reload(
        "x.y = 1\nport = 5800\nmax_connections = 50\n",
        &[
            "parameter \"work_mem\" removed from configuration file, reset to default",
            "parameter \"port\" cannot be changed without restarting the server",
            "parameter \"max_connections\" cannot be changed without restarting the server",
            REST_APPLIED,
        ],
    );
    server.reload(
        &format!("{base}x.y = 2\nwork_mem = 1\n"),
        &[
            "parameter \"x.y\" changed to \"2\"",
            "1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
            REST_APPLIED,
        ],
    );
    server.reload(
        "max_connections = 60\nport=5791\nmax_connections=100\n",
        &["parameter \"x.y\" removed from configuration file, reset to default"],
    );
    server.reload(
        "max_connections = 100\n",
        &["parameter \"port\" cannot be changed without restarting the server", REST_APPLIED],
    );
    server.reload(
        &format!("{base}WORK_MEM=9MB\nstatement_timeout = 1min\nstatement_timeout = '2min'\n"),
        &["parameter \"WORK_MEM\" changed to \"9MB\"", "parameter \"statement_timeout\" changed to \"2min\""],
    );
    server.reload(&format!("{base}server_version = 'x'\nconfig_file='x'\nwal_level=foo\nlog_file_mode=0640\n"), &[
        "parameter \"statement_timeout\" removed from configuration file, reset to default",
        "parameter \"work_mem\" removed from configuration file, reset to default",
        "parameter \"server_version\" cannot be changed",
        "parameter \"config_file\" cannot be changed without restarting the server",
        "invalid value for parameter \"wal_level\": \"foo\"\nHINT:  Available values: minimal, replica, logical.",
        "parameter \"log_file_mode\" changed to \"0640\"",
        REST_APPLIED,
    ]);
}

#[test]
fn pending_restart_and_places() {
    let server = Server::start("max_connections = 100\n\nwork_mem = 8MB\n");
    let row = |name: &str| rows().into_iter().find(|row| row.name == name).expect("the row");
    let work_mem = row("work_mem");
    assert_eq!(work_mem.sourcefile, Some(format!("{}/postgresql.conf", server.path())));
    assert_eq!((work_mem.sourceline, work_mem.source), (Some(3), "configuration file"));
    server.write("postgresql.conf", "max_connections = 50\n");
    process_config_file(GucContext::Sighup).expect("no error");
    assert!(row("max_connections").pending_restart);
    assert_eq!(row("work_mem").sourcefile, None);
    server.write("postgresql.conf", "max_connections = 100\n");
    process_config_file(GucContext::Sighup).expect("no error");
    assert!(!row("max_connections").pending_restart);
    server.write("postgresql.conf", "");
    process_config_file(GucContext::Sighup).expect("no error");
    assert!(row("max_connections").pending_restart);
    assert_eq!(vars::MAX_CONNECTIONS.get(), 100);
}

#[test]
fn includes() {
    let server = Server::start("");
    server.reload(
        "include 'nofile.conf'\n",
        &["could not open configuration file \"D/nofile.conf\": No such file or directory", NOTHING_APPLIED],
    );
    server.reload(
        "include_if_exists 'nofile.conf'\nwork_mem=6MB # foo\n",
        &[
            "skipping missing configuration file \"D/nofile.conf\"",
            "parameter \"work_mem\" changed to \"6MB\"",
        ],
    );
    server.reload(
        "include_dir 'nodir'\n",
        &["could not open configuration directory \"D/nodir\": No such file or directory", NOTHING_APPLIED],
    );
    server.reload(
        "include ''\ninclude '  '\ninclude_dir ''\n",
        &[
            "empty configuration file name: \"\"",
            "empty configuration file name: \"  \"",
            "empty configuration directory name: \"\"",
            NOTHING_APPLIED,
        ],
    );
    server.reload(
        "include 'postgresql.conf'\n",
        &["configuration file recursion in \"D/postgresql.conf\"", NOTHING_APPLIED],
    );
    server.write("a.conf", "include 'b.conf'");
    server.write("b.conf", "include 'a.conf'");
    server.reload(
        "include 'a.conf'\n",
        &["could not open configuration file \"a.conf\": maximum nesting depth exceeded", NOTHING_APPLIED],
    );
    fs::create_dir(server.dir.path().join("conf.d")).expect("a directory");
    server.write("conf.d/b.conf", "work_mem = 7MB");
    server.write("conf.d/B.conf", "work_mem = 8MB\nseq_page_cost = 2");
    server.write("conf.d/c.conf.off", "work_mem = 9MB");
    server.write("conf.d/.d.conf", "work_mem = 10MB");
    server.reload(
        "seq_page_cost = 3\ninclude_dir 'conf.d'\n",
        &["parameter \"seq_page_cost\" changed to \"2\"", "parameter \"work_mem\" changed to \"7MB\""],
    );
}

#[test]
fn a_start_with_errors_fails() {
    let server = Server::start("");
    server.write("postgresql.conf", "work_mem = abc\n");
    let error = process_config_file(GucContext::Postmaster).unwrap_err();
    assert_eq!(error.severity, Severity::Fatal);
    assert_eq!(
        error.message.replace(&server.path(), "D"),
        "configuration file \"D/postgresql.conf\" contains errors"
    );
    assert_eq!(server.take_reports(), ["LOG:  invalid value for parameter \"work_mem\": \"abc\""]);
}

#[test]
fn recovery_has_one_target() {
    let server = Server::start("");
    server.write("postgresql.conf", "recovery_target_xid = 7\nrecovery_target_time = '2030-01-01'\n");
    let error = process_config_file(GucContext::Postmaster).unwrap_err();
    assert_eq!(error.severity, Severity::Fatal);
    assert_eq!(error.message, "multiple recovery targets specified");
}

#[test]
fn command_line_outranks_files() {
    let server = Server::start("work_mem = 8MB\n");
    set_option("port", "6000", GucContext::Postmaster, GucSource::CommandLine, GucAction::Set).expect("set");
    server.reload(
        "work_mem = 8MB\nport = 6001\n",
        &["parameter \"port\" cannot be changed without restarting the server", REST_APPLIED],
    );
    server.reload("work_mem = 8MB\nport = 6000\n", &[]);
    assert_eq!(vars::PORT.get(), 6000);
}

#[test]
fn file_settings_only_looks() {
    let server = Server::start("max_connections = 100\n");
    server.write("postgresql.conf", "work_mem = 1MB\nwork_mem = 2MB\nseq_page_cost = x\n");
    let rows: Vec<String> = file_settings()
        .into_iter()
        .map(|r| {
            let text = |t: Option<String>| t.unwrap_or_default();
            let file = r.sourceline.map_or(String::new(), |line| line.to_string());
            format!("{file}|{}|{}|{}|{}|{}", r.seqno, text(r.name), text(r.setting), r.applied, text(r.error))
        })
        .collect();
    assert_eq!(
        rows,
        [
            "1|1|work_mem|1MB|false|",
            "2|2|work_mem|2MB|true|",
            "3|3|seq_page_cost|x|false|setting could not be applied",
            "|4|||false|parameter \"max_connections\" cannot be changed without restarting the server",
        ]
    );
    assert_eq!(vars::WORK_MEM.get(), 4096);
    assert!(server.take_reports().is_empty());
}

#[test]
fn alter_system_writes_the_file() {
    let server = Server::start("");
    let su = GucContext::Superuser;
    let file = || fs::read_to_string(server.dir.path().join("postgresql.auto.conf")).expect("the file");
    let header = "# Do not edit this file manually!\n# It will be overwritten by the ALTER SYSTEM command.\n";
    alter_system_set("work_mem", "64.5kB", su).expect("set");
    alter_system_set("archive_command", "a'b\\c", su).expect("set");
    alter_system_set("Work_Mem", "5MB", su).expect("set");
    assert_eq!(file(), format!("{header}archive_command = 'a''b\\\\c'\nWork_Mem = '5MB'\n"));
    server.reload(
        "work_mem = 8MB\n",
        &["parameter \"archive_command\" changed to \"a'b\\c\"", "parameter \"Work_Mem\" changed to \"5MB\""],
    );
    alter_system_reset("work_mem", su).expect("reset");
    assert_eq!(file(), format!("{header}archive_command = 'a''b\\\\c'\n"));
    alter_system_reset_all(su).expect("reset");
    assert_eq!(file(), header);
    for (name, value, context, expected) in [
        ("work_mem", "1MB", GucContext::User, "permission denied to set parameter \"work_mem\""),
        ("nosuch", "1", su, "unrecognized configuration parameter \"nosuch\""),
        ("a.b", "1", su, "unrecognized configuration parameter \"a.b\""),
        ("config_file", "x", su, "parameter \"config_file\" cannot be changed"),
        ("data_directory", "x", su, "parameter \"data_directory\" cannot be changed"),
        ("server_version", "x", su, "parameter \"server_version\" cannot be changed"),
        ("port", "99999", su, "99999 is outside the valid range for parameter \"port\" (1 .. 65535)"),
        ("cluster_name", "a\nb", su, "parameter value for ALTER SYSTEM must not contain a newline"),
    ] {
        let error = alter_system_set(name, value, context).unwrap_err();
        assert_eq!(error.message, expected);
    }
    let error = alter_system_reset_all(GucContext::User).unwrap_err();
    assert_eq!(error.message, "permission denied to perform ALTER SYSTEM RESET ALL");
}

#[test]
fn places_are_found() {
    let server = Server::start("hba_file = 'x/../other.conf'\n");
    let shown = |name: &str| show(name, &crate::Privileges::ALL).expect("shown").replace(&server.path(), "D");
    assert_eq!(shown("config_file"), "D/postgresql.conf");
    assert_eq!(shown("data_directory"), "D");
    assert_eq!(shown("ident_file"), "D/pg_ident.conf");
    assert!(shown("hba_file").ends_with("/other.conf"));
    let missing = server.dir.path().join("none");
    let problem = select_config_files(missing.to_str(), "postgres").unwrap_err().to_string();
    assert_eq!(
        problem.replace(&server.path(), "D"),
        "postgres: could not access directory \"D/none\": No such file or directory\nRun initdb or \
         pg_basebackup to initialize a PostgreSQL data directory.\n"
    );
}

#[test]
fn combinations() {
    let _server = Server::start("");
    let set = |name, value| {
        set_option(name, value, GucContext::Postmaster, GucSource::CommandLine, GucAction::Set).expect("set");
    };
    crate::check_combinations("postgres").expect("the defaults go together");
    set("wal_level", "minimal");
    let problem = crate::check_combinations("postgres").unwrap_err().to_string();
    assert_eq!(
        problem,
        "FATAL:  WAL streaming (max_wal_senders > 0) requires wal_level \"replica\" or \"logical\""
    );
    set("max_connections", "3");
    let problem = crate::check_combinations("postgres").unwrap_err().to_string();
    assert_eq!(
        problem,
        "postgres: superuser_reserved_connections (3) must be less than max_connections (3)\n"
    );
}

/// Files and values of random bytes: errors, and nothing worse.
#[test]
fn garbage_is_only_an_error() {
    let server = Server::start("");
    let alphabet = b"ab.=#'\"\\ \n\t-+0x19eE,_:/$\xc3\xa9\0kBms";
    let mut seed = 42u64;
    let mut random = move |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % limit
    };
    let settings: Vec<_> = crate::all().iter().map(|setting| setting.name).collect();
    for _ in 0..5_000 {
        let bytes: Vec<u8> = (0..random(40)).map(|_| alphabet[random(alphabet.len())]).collect();
        let mut reader = crate::file::Reader::new(Severity::Debug3, None);
        let _ = reader.text(&bytes, &"random".into(), 0);
        let text = String::from_utf8_lossy(&bytes);
        let (context, source) = (GucContext::Superuser, GucSource::Session);
        let _ = set_option(settings[random(settings.len())], &*text, context, source, GucAction::Set);
        let _ = set_option(&text, "1", context, source, GucAction::Set);
        for setting in ["DateStyle", "TimeZone", "work_mem", "vacuum_cost_delay", "client_encoding"] {
            let _ = set_option(setting, &*text, context, source, GucAction::Set);
        }
    }
    server.take_reports();
}
