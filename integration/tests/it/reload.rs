//! Settings that change while the server runs: SIGHUP, `pg_reload_conf`, ALTER SYSTEM, and what a broken file does.

use std::fs;

use integration::{Cluster, Wire, on_each_server, wait_until};
use nix::sys::signal::Signal;

use crate::support::started;

const SIGHUP: &str = "LOG:  received SIGHUP, reloading configuration files";

/// Reloads and returns what the postmaster says about it.
fn reload(cluster: &Cluster, lines: usize) -> Vec<String> {
    cluster.mark_log();
    cluster.signal_postmaster(Signal::SIGHUP);
    wait_until(&format!("{lines} lines, now {:?}", cluster.new_log_lines()), || {
        cluster.new_log_lines().len() >= lines
    });
    cluster.new_log_lines()
}

/// Waits until a session shows a setting with this value.
fn wait_for_setting(session: &mut Wire, name: &str, value: &str) {
    let mut last = Vec::new();
    wait_until(&format!("{name} is {value}"), || {
        last = session.query(&format!("show {name}"));
        last[0] == value
    });
}

#[test]
fn changed_and_removed_settings() {
    on_each_server("changed settings", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        let original = fs::read_to_string(cluster.data_dir().join("postgresql.conf")).expect("a file");
        cluster.append_config("work_mem = 7MB");
        cluster.append_config("log_min_duration_statement = 1h");
        let expected = [
            SIGHUP,
            "LOG:  parameter \"work_mem\" changed to \"7MB\"",
            "LOG:  parameter \"log_min_duration_statement\" changed to \"1h\"",
        ];
        assert_eq!(reload(&cluster, 3), expected, "{server:?}");
        wait_for_setting(&mut session, "work_mem", "7MB");
        assert_eq!(session.query("show log_min_duration_statement"), ["1h", "SHOW"]);
        // The same again is no change.
        assert_eq!(reload(&cluster, 1), [SIGHUP]);
        cluster.write_file("postgresql.conf", &original);
        let mut lines = reload(&cluster, 3);
        lines[1..].sort();
        let expected = [
            SIGHUP,
            "LOG:  parameter \"log_min_duration_statement\" removed from configuration file, reset to default",
            "LOG:  parameter \"work_mem\" removed from configuration file, reset to default",
        ];
        assert_eq!(lines, expected, "{server:?}");
        wait_for_setting(&mut session, "work_mem", "4MB");
    });
}

#[test]
fn a_session_keeps_its_own_value() {
    on_each_server("own values", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        let mut other = Wire::connect(&cluster);
        session.query("set work_mem = '3MB'");
        cluster.append_config("work_mem = 7MB");
        assert_eq!(other.query("select pg_reload_conf()"), ["t", "SELECT 1"]);
        wait_for_setting(&mut other, "work_mem", "7MB");
        assert_eq!(session.query("show work_mem"), ["3MB", "SHOW"]);
        session.query("reset work_mem");
        wait_for_setting(&mut session, "work_mem", "7MB");
    });
}

#[test]
fn settings_that_need_a_restart() {
    on_each_server("settings that need a restart", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        cluster.append_config("max_connections = 33");
        cluster.append_config("work_mem = 7MB");
        let mut lines = reload(&cluster, 4);
        lines.sort();
        let mut expected = [
            SIGHUP,
            "LOG:  parameter \"max_connections\" cannot be changed without restarting the server",
            "LOG:  parameter \"work_mem\" changed to \"7MB\"",
            "LOG:  configuration file \"DATA/postgresql.conf\" contains errors; unaffected changes were applied",
        ];
        expected.sort_unstable();
        assert_eq!(lines, expected, "{server:?}");
        wait_for_setting(&mut session, "work_mem", "7MB");
        assert_eq!(session.query("show max_connections"), ["100", "SHOW"]);
        let pending = "select name, setting from pg_settings where pending_restart";
        assert_eq!(session.query(pending), ["max_connections|100", "SELECT 1"], "{server:?}");
    });
}

#[test]
fn a_broken_file_changes_nothing() {
    on_each_server("broken files", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        let good = fs::read_to_string(cluster.data_dir().join("postgresql.conf")).expect("a file");
        let line = good.lines().count() + 2;
        let cases = [
            (
                "work_mem = 'open",
                vec![
                    format!("LOG:  syntax error in file \"DATA/postgresql.conf\" line {line}, near token \"'\""),
                    "LOG:  configuration file \"DATA/postgresql.conf\" contains errors; no changes were applied"
                        .to_owned(),
                ],
            ),
            (
                "nosuch = 1",
                vec![
                    format!(
                        "LOG:  unrecognized configuration parameter \"nosuch\" in file \"DATA/postgresql.conf\" line {line}"
                    ),
                    "LOG:  configuration file \"DATA/postgresql.conf\" contains errors; no changes were applied"
                        .to_owned(),
                ],
            ),
            (
                "maintenance_work_mem = lots",
                vec![
                    "LOG:  invalid value for parameter \"maintenance_work_mem\": \"lots\"".to_owned(),
                    "LOG:  parameter \"work_mem\" changed to \"7MB\"".to_owned(),
                    "LOG:  configuration file \"DATA/postgresql.conf\" contains errors; unaffected changes were applied"
                        .to_owned(),
                ],
            ),
        ];
        for (broken, mut says) in cases {
            cluster.write_file("postgresql.conf", &format!("{good}work_mem = 7MB\n{broken}\n"));
            let mut lines = reload(&cluster, says.len() + 1);
            assert_eq!(lines.remove(0), SIGHUP);
            lines.sort();
            says.sort();
            assert_eq!(lines, says, "{broken}, {server:?}");
            let applied = says.iter().any(|line| line.contains("unaffected"));
            let expected = if applied { "7MB" } else { "4MB" };
            wait_for_setting(&mut session, "work_mem", expected);
            assert_eq!(Wire::connect(&cluster).query("show work_mem"), [expected, "SHOW"], "{broken}");
        }
    });
}

#[test]
fn a_broken_hba_file_keeps_the_old_rules() {
    on_each_server("broken pg_hba.conf", |server| {
        let cluster = started(server, &[]);
        let line = "local nonsense";
        cluster.write_file("pg_hba.conf", &format!("{line}\n"));
        let expected = [
            SIGHUP,
            "LOG:  end-of-line before role specification",
            "CONTEXT:  line 1 of configuration file \"DATA/pg_hba.conf\"",
            "LOG:  pg_hba.conf was not reloaded",
        ];
        assert_eq!(reload(&cluster, 4), expected, "{server:?}");
        Wire::connect(&cluster).quit();
        cluster.write_file("pg_hba.conf", "host all all 127.0.0.1/32 reject\n");
        assert_eq!(reload(&cluster, 1), [SIGHUP]);
        let rejected = "FATAL:  28000: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"postgres\", database \"postgres\", no encryption";
        let mut last = Vec::new();
        wait_until("the new rules count", || {
            last = Wire::refusal(&cluster);
            !last.is_empty()
        });
        assert_eq!(last, [rejected, "EOF"], "{server:?}");
        cluster.write_file("pg_hba.conf", "host all all 127.0.0.1/32 trust\n");
        cluster.signal_postmaster(Signal::SIGHUP);
        wait_until("they are gone again", || Wire::refusal(&cluster).is_empty());
    });
}

#[test]
fn malformed_hba_lines() {
    let cases: &[(&str, &str)] = &[
        ("local", "end-of-line before database specification"),
        ("local all", "end-of-line before role specification"),
        ("local all all", "end-of-line before authentication method"),
        ("host all all", "end-of-line before IP address specification"),
        ("host all all 127.0.0.1/32", "end-of-line before authentication method"),
        ("hots all all 127.0.0.1/32 trust", "invalid connection type \"hots\""),
        ("host all all 127.0.0.1/99 trust", "invalid CIDR mask in address \"127.0.0.1/99\""),
        ("host all all 127.0.0.1 trust", "invalid IP mask \"trust\": Name or service not known"),
        ("host all all ::1/128 255.0.0.0 trust", "invalid authentication method \"255.0.0.0\""),
        ("host all all 127.0.0.1/32 magic", "invalid authentication method \"magic\""),
        ("local all all trust extra", "authentication option not in name=value format: extra"),
        (
            "local all all trust map=x",
            "authentication option \"map\" is only valid for authentication methods ident, peer, gssapi, sspi, and cert",
        ),
        ("local all all trust nosuch=x", "unrecognized authentication option name: \"nosuch\""),
        ("host all all 127.0.0.1/32 peer", "peer authentication is only supported on local sockets"),
    ];
    on_each_server("malformed hba lines", |server| {
        let cluster = started(server, &[]);
        for (line, says) in cases {
            cluster.write_file("pg_hba.conf", &format!("local all all trust\n{line}\n"));
            let lines = reload(&cluster, 4);
            let message = lines.get(1).map(String::as_str).unwrap_or_default();
            assert_eq!(message, format!("LOG:  {says}"), "{line}, {server:?}: {lines:?}");
            assert_eq!(
                lines.last().map(String::as_str),
                Some("LOG:  pg_hba.conf was not reloaded"),
                "{line}"
            );
        }
        // The rules in force are still those of the start.
        Wire::connect(&cluster).quit();
    });
}

#[test]
fn alter_system() {
    on_each_server("ALTER SYSTEM", |server| {
        let cluster = started(server, &[]);
        let mut session = Wire::connect(&cluster);
        assert_eq!(session.query("alter system set work_mem = '9MB'"), ["ALTER SYSTEM"]);
        assert_eq!(session.query("show work_mem"), ["4MB", "SHOW"]);
        let auto = fs::read_to_string(cluster.data_dir().join("postgresql.auto.conf")).expect("a file");
        let expected = "# Do not edit this file manually!\n\
                        # It will be overwritten by the ALTER SYSTEM command.\n\
                        work_mem = '9MB'\n";
        assert_eq!(auto, expected, "{server:?}");
        session.query("select pg_reload_conf()");
        wait_for_setting(&mut session, "work_mem", "9MB");
        assert_eq!(
            session.query("alter system set work_mem = 'much'"),
            ["ERROR:  22023: invalid value for parameter \"work_mem\": \"much\""],
            "{server:?}"
        );
        assert_eq!(
            session.query("alter system set nosuch = 1"),
            ["ERROR:  42704: unrecognized configuration parameter \"nosuch\""],
            "{server:?}"
        );
        assert_eq!(session.query("alter system reset work_mem"), ["ALTER SYSTEM"]);
        session.query("select pg_reload_conf()");
        wait_for_setting(&mut session, "work_mem", "4MB");
        session.query("begin");
        assert_eq!(
            session.query("alter system reset all"),
            ["ERROR:  25001: ALTER SYSTEM cannot run inside a transaction block"],
            "{server:?}"
        );
    });
}

#[test]
fn every_process_reads_again() {
    // The change is seen where it matters: the launcher's place in the roster.
    on_each_server("autovacuum switched", |server| {
        let cluster = started(server, &[]);
        cluster.wait_for_process("postgres: autovacuum launcher");
        cluster.append_config("autovacuum = off");
        cluster.signal_postmaster(Signal::SIGHUP);
        wait_until("the launcher has left", || {
            cluster.find_process("postgres: autovacuum launcher").is_none()
        });
        cluster.append_config("autovacuum = on");
        cluster.signal_postmaster(Signal::SIGHUP);
        cluster.wait_for_process("postgres: autovacuum launcher");
        assert!(!cluster.log().contains("terminating any other"), "{}", cluster.log());
    });
}
