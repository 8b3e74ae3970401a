//! Rules against the real server's view of the same file, and which rule fits which connection.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::rules::{FileRule, mappings_of, rules_of};
use super::*;
use crate::auth::{RolePassword, RoleSource};
use crate::hostname::RemoteName;
use crate::testing::captured_log;

/// A file with one line for each rule of the grammar and each error that this build can make.
const HBA: &str = include_str!("../../tests/data/pg_hba.conf");
/// What PostgreSQL 15.20 shows for it with `ssl = off`, fields separated by `|`.
const HBA_ROWS: &str = include_str!("../../tests/data/pg_hba_file_rules.txt");
const IDENT: &str = include_str!("../../tests/data/pg_ident.conf");
const IDENT_ROWS: &str = include_str!("../../tests/data/pg_ident_file_mappings.txt");

fn data_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))
}

/// An array as psql shows it.
fn array(values: &Option<Vec<String>>) -> String {
    let Some(values) = values else { return String::new() };
    let plain = |v: &str| {
        !v.is_empty() && v != "NULL" && !v.contains(|c: char| c.is_whitespace() || "{},\"\\".contains(c))
    };
    let item = |v: &String| {
        if plain(v) { v.clone() } else { format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")) }
    };
    format!("{{{}}}", values.iter().map(item).collect::<Vec<_>>().join(","))
}

fn shown(rows: &[FileRule]) -> String {
    let mut text = String::new();
    for row in rows {
        let opt = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let fields = [
            row.line_number.to_string(),
            opt(row.kind),
            array(&row.database),
            array(&row.user_name),
            opt(row.address.as_deref()),
            opt(row.netmask.as_deref()),
            opt(row.auth_method),
            array(&row.options),
            opt(row.error.as_deref()),
        ];
        writeln!(text, "{}", fields.join("|")).unwrap();
    }
    text
}

#[track_caller]
fn assert_same_lines(ours: &str, expected: &str) {
    for (ours, expected) in ours.lines().zip(expected.lines()) {
        assert_eq!(ours, expected);
    }
    assert_eq!(ours.lines().count(), expected.lines().count());
}

fn our_hba_rows() -> String {
    let text = shown(&rules_of(&data_dir().join("pg_hba.conf"), HBA, false));
    text.replace(data_dir().to_str().unwrap(), "DATADIR")
}

fn our_ident_rows() -> String {
    let rows = mappings_of(&data_dir().join("pg_ident.conf"), IDENT);
    let line = |row: &rules::FileMapping| {
        let opt = |value: &Option<String>| value.clone().unwrap_or_default();
        let fields = [
            row.line_number.to_string(),
            opt(&row.map_name),
            opt(&row.sys_name),
            opt(&row.pg_username),
            opt(&row.error),
        ];
        fields.join("|")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n").replace(data_dir().to_str().unwrap(), "DATADIR")
}

#[test]
fn hba_rows_are_the_recorded_ones() {
    assert_same_lines(&our_hba_rows(), HBA_ROWS);
}

#[test]
fn ident_rows_are_the_recorded_ones() {
    assert_same_lines(&our_ident_rows(), IDENT_ROWS);
}

/// The recordings themselves are checked where the real server is installed.
#[test]
fn the_recorded_rows_are_postgresqls() {
    let Some(server) = RealServer::start() else { return };
    let rows = |view: &str| server.query(&format!("SELECT * FROM {view}")).replace(&server.data, "DATADIR");
    assert_same_lines(&rows("pg_hba_file_rules"), HBA_ROWS);
    assert_same_lines(&rows("pg_ident_file_mappings"), IDENT_ROWS);
}

/// A single-user server of PostgreSQL 15 on a throw-away cluster: it reads both files for its views.
struct RealServer {
    dir: tempfile::TempDir,
    data: String,
    as_nobody: bool,
}

impl RealServer {
    const BIN: &str = "/usr/lib/postgresql/15/bin";

    fn start() -> Option<RealServer> {
        if !Path::new(RealServer::BIN).join("postgres").exists() {
            eprintln!(
                "SKIPPED: PostgreSQL 15 is not installed, so the recorded rows are not checked against it"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let as_nobody = nix::unistd::geteuid().is_root();
        if as_nobody {
            let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
            nix::unistd::chown(dir.path(), Some(nobody.uid), Some(nobody.gid)).unwrap();
        }
        let data = dir.path().join("data").to_str().unwrap().to_owned();
        let server = RealServer { dir, data, as_nobody };
        let args = ["-D", &server.data, "-U", "postgres", "-A", "trust", "-N", "--no-instructions"];
        let made = server.command("initdb").args(args).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for name in ["pg_hba.conf", "pg_ident.conf", "included.txt"] {
            std::fs::copy(data_dir().join(name), Path::new(&server.data).join(name)).unwrap();
        }
        Some(server)
    }

    /// One of PostgreSQL's programs; it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = format!("{}/{program}", RealServer::BIN);
        let mut command = if self.as_nobody { Command::new("setpriv") } else { Command::new(&program) };
        if self.as_nobody {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(&program);
        }
        command.current_dir(self.dir.path()).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Rows as lines of `a|b|c`.
    fn query(&self, sql: &str) -> String {
        use std::io::Write as _;
        use std::process::Stdio;
        let rows = self.dir.path().join("rows");
        let copy = format!("COPY ({sql}) TO '{}' (DELIMITER '|', NULL '')\n", rows.display());
        let args = ["--single", "-D", &self.data, "postgres"];
        let mut server = self.command("postgres");
        let server = server.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = server.spawn().unwrap();
        server.stdin.take().unwrap().write_all(copy.as_bytes()).unwrap();
        let output = server.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        std::fs::read_to_string(rows).unwrap_or_else(|e| panic!("{e}: {log}")).replace("\\\\", "\\")
    }
}

#[test]
fn complaints_go_to_the_log_with_their_line() {
    let path = Path::new("/etc/pg_hba.conf");
    let text = "local all all trust\nfoo all all trust\nhost all all 1.2.3.4\nhost all all ::1/129 trust\n";
    let (file, complaints) = HbaFile::parse(path, text, false);
    assert!(file.is_none(), "one bad line and none of them holds");
    let said: Vec<_> = complaints
        .iter()
        .map(|c| (&*c.message, c.hint.as_deref().unwrap_or(""), c.context.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(
        said,
        [
            ("invalid connection type \"foo\"", "", "line 2 of configuration file \"/etc/pg_hba.conf\""),
            (
                "end-of-line before netmask specification",
                "Specify an address range in CIDR notation, or provide a separate netmask.",
                "line 3 of configuration file \"/etc/pg_hba.conf\""
            ),
            (
                "invalid CIDR mask in address \"::1/129\"",
                "",
                "line 4 of configuration file \"/etc/pg_hba.conf\""
            ),
        ]
    );
    let (file, complaints) = HbaFile::parse(path, "# nothing\n", false);
    assert!(file.is_none());
    assert_eq!(complaints[0].message, "configuration file \"/etc/pg_hba.conf\" contains no entries");
    let (file, complaints) = HbaFile::read(Path::new("/nonexistent/pg_hba.conf"), false);
    assert!(file.is_none());
    assert_eq!(
        complaints[0].message,
        "could not open configuration file \"/nonexistent/pg_hba.conf\": No such file or directory"
    );
}

#[test]
fn a_line_that_cannot_match_is_kept_but_mentioned() {
    let (file, complaints) = HbaFile::parse(Path::new("f"), "hostssl all all all trust\n", false);
    assert_eq!(file.unwrap().lines.len(), 1);
    assert_eq!(complaints[0].hint.as_deref(), Some("Set ssl = on in postgresql.conf."));
    let (_, complaints) = HbaFile::parse(Path::new("f"), "hostssl all all all trust\n", true);
    assert!(complaints.is_empty());
}

/// alice is in staff, staff is in all_staff.
struct Memberships;

impl RoleSource for Memberships {
    fn find(&self, _: &str) -> Result<Option<RolePassword>> {
        Ok(None)
    }
    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        Ok(role == of || matches!((role, of), ("alice", "staff" | "all_staff") | ("staff", "all_staff")))
    }
}

/// Which line of `rules` a connection gets: `user database address [ssl] [replication]`; 0 is none.
#[track_caller]
fn check_match(rules: &str, connection: &str, expected: u32) {
    let (file, complaints) = HbaFile::parse(Path::new("f"), rules, true);
    let file = file.unwrap_or_else(|| panic!("{complaints:?}"));
    let words: Vec<&str> = connection.split(' ').collect();
    let connection = Connection {
        user: words[0],
        database: words[1],
        ip: words[2].parse().ok(),
        encrypted: words[3..].contains(&"ssl"),
        physical_replication: words[3..].contains(&"replication"),
    };
    let line = file.first_match(&connection, &mut RemoteName::default(), &Memberships).unwrap();
    assert_eq!(line.number, expected, "{connection:?}");
    assert_eq!(line.method == Method::ImplicitReject, expected == 0);
}

#[test]
fn kinds_of_connections() {
    let rules = "local all all peer\nhostssl all all all trust\nhostnossl all all 10.0.0.0/8 trust\nhost all all ::1/128 trust\n";
    check_match(rules, "u d [local]", 1);
    check_match(rules, "u d 192.168.0.1 ssl", 2);
    check_match(rules, "u d 10.1.2.3", 3);
    check_match(rules, "u d 11.1.2.3", 0);
    check_match(rules, "u d ::1", 4);
    check_match(rules, "u d ::2", 0);
    check_match("hostnogssenc all all all trust\n", "u d 10.1.2.3", 1);
    check_match("hostgssenc all all all trust\n", "u d 10.1.2.3", 0);
}

#[test]
fn databases() {
    check_match("local sameuser all trust\n", "u u [local]", 1);
    check_match("local sameuser all trust\n", "u d [local]", 0);
    check_match("local \"sameuser\" all trust\n", "u u [local]", 0);
    check_match("local \"all\" all trust\n", "u d [local]", 0);
    check_match("local samerole all trust\n", "alice staff [local]", 1);
    check_match("local samegroup all trust\n", "bob staff [local]", 0);
    check_match("local a,b,\"C d\" all trust\n", "u b [local]", 1);
    check_match("local all all trust\nlocal replication all trust\n", "u d [local] replication", 2);
    check_match("local replication all trust\n", "u replication [local]", 0);
    check_match("local \"replication\" all trust\n", "u replication [local]", 1);
}

#[test]
fn roles() {
    check_match("local all +staff trust\n", "alice d [local]", 1);
    check_match("local all +all_staff trust\n", "alice d [local]", 1);
    check_match("local all +staff trust\n", "bob d [local]", 0);
    check_match("local all \"+staff\" trust\n", "alice d [local]", 0);
    check_match("local all \"all\" trust\n", "alice d [local]", 0);
    check_match("local all \"all\",bob trust\n", "bob d [local]", 1);
}

#[track_caller]
fn check_map(text: &str, map: &str, role: &str, system_user: &str, expected: bool, log: &[&str]) {
    let (file, complaints) = IdentFile::parse(Path::new("f"), text);
    let file = file.unwrap_or_else(|| panic!("{complaints:?}"));
    let map = Some(map).filter(|map| !map.is_empty());
    let (allowed, logged) = captured_log(|| file.check_usermap(map, role, system_user));
    assert_eq!(allowed, expected);
    assert_eq!(logged, log);
}

#[test]
fn user_maps() {
    check_map("", "", "u", "u", true, &[]);
    let text = "provided user name (u) and authenticated user name (v) do not match";
    check_map("", "", "u", "v", false, &[text]);
    check_map("m v u\n", "m", "u", "v", true, &[]);
    let text = "no match in usermap \"m\" for user \"u\" authenticated as \"v\"";
    check_map("n v u\n", "m", "u", "v", false, &[text]);
    check_map("m v w\n", "m", "u", "v", false, &[text]);
    check_map("m /^(.*)@example\\.com$ \\1\n", "m", "bob", "bob@example.com", true, &[]);
    check_map("m /^(.*)@example\\.com$ x\\1y\n", "m", "xboby", "bob@example.com", true, &[]);
    check_map("m /^a guest\n", "m", "guest", "alice", true, &[]);
    let text = "regular expression \"^v\" has no subexpressions as requested by backreference in \"\\1\"";
    check_map("m /^v \\1\n", "m", "u", "v", false, &[text]);
}
