//! Who gets in, by which method, and what those who do not are told: psql's words and the log's.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use integration::{Cluster, ClusterOptions, Server, Wire, on_each_server, process, say_skipped, wait_until};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::support::{said, started};
use crate::transcript;

/// One line a role or two, so that the line number in a log line says which rule was found. `OSUSER` is who
/// runs the test.
const HBA: &str = "\
# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all  trusty                    trust
local   all  rejected                  reject
local   all  OSUSER                    peer
local   all  \"someone else\"            peer
local   all  mapped,unmapped           peer map=people
local   all  plain                     password
local   all  +secrets                  scram-sha-256
local   template1  all                 trust
host    all  postgres   127.0.0.1/32   trust
hostssl all  tls_only   127.0.0.1/32   trust
hostnossl all no_tls    127.0.0.1/32   trust
host    all  +secrets   127.0.0.0 255.0.0.0  scram-sha-256
host    all  plain      samehost       password
host    all  rejected   all            reject
host    all  trusty     ::1/128        trust
";

const IDENT: &str = "\
# MAPNAME  SYSTEM-USERNAME  PG-USERNAME
people     OSUSER           mapped
people     /^(.*)@example\\.org$  \\1
others     OSUSER           unmapped
";

const ROLES: &str = "\
CREATE ROLE trusty LOGIN;
CREATE ROLE rejected LOGIN;
CREATE ROLE \"OSUSER\" LOGIN;
CREATE ROLE \"someone else\" LOGIN;
CREATE ROLE mapped LOGIN;
CREATE ROLE unmapped LOGIN;
CREATE ROLE plain LOGIN PASSWORD 'plain secret';
CREATE ROLE secrets;
CREATE ROLE good LOGIN PASSWORD 'scram secret' IN ROLE secrets;
CREATE ROLE expired LOGIN PASSWORD 'scram secret' VALID UNTIL '2001-01-01' IN ROLE secrets;
CREATE ROLE future LOGIN PASSWORD 'scram secret' VALID UNTIL '2999-01-01' IN ROLE secrets;
CREATE ROLE without LOGIN IN ROLE secrets;
CREATE ROLE nologin PASSWORD 'scram secret' IN ROLE secrets;
CREATE ROLE \"unicode é\" LOGIN PASSWORD 'pässword\u{2168}' IN ROLE secrets;
CREATE ROLE stored LOGIN PASSWORD 'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=' IN ROLE secrets;
CREATE ROLE tls_only LOGIN;
CREATE ROLE no_tls LOGIN;
CREATE ROLE limited LOGIN CONNECTION LIMIT 1 IN ROLE secrets PASSWORD 'scram secret'";

/// What follows `host=` is the folder of the Unix socket unless it is an address. Then: the password, if any.
const CASES: &[(&str, Option<&str>)] = &[
    ("user=trusty", None),
    ("user=trusty dbname=nowhere", None),
    ("user=trusty dbname=template0", None),
    ("user=rejected", None),
    ("user=missing_role dbname=template1", None),
    ("user=missing_role", None),
    ("user=trusty host=127.0.0.1 sslmode=disable", None),
    ("user=trusty host=127.0.0.1 sslmode=require", None),
    ("user=rejected host=127.0.0.1 sslmode=disable", None),
    // peer
    ("user=OSUSER", None),
    ("user='someone else'", None),
    ("user=mapped", None),
    ("user=unmapped", None),
    // password
    ("user=plain", Some("plain secret")),
    ("user=plain", Some("wrong")),
    ("user=plain", Some("")),
    ("user=plain", None),
    ("user=plain host=127.0.0.1 sslmode=disable", Some("plain secret")),
    // scram-sha-256
    ("user=good", Some("scram secret")),
    ("user=good", Some("wrong")),
    ("user=good", None),
    ("user=good host=127.0.0.1 sslmode=disable", Some("scram secret")),
    ("user=good host=127.0.0.1 sslmode=disable", Some("wrong")),
    ("user=expired", Some("scram secret")),
    ("user=future", Some("scram secret")),
    ("user=without", Some("scram secret")),
    ("user=nologin", Some("scram secret")),
    ("user='unicode é'", Some("pässwordIX")),
    ("user='unicode é'", Some("passwordIX")),
    ("user=stored", Some("pencil")),
    // The role is asked for a password before anybody looks whether it exists.
    ("user=good dbname=nowhere", Some("scram secret")),
    // hostssl and hostnossl
    ("user=no_tls host=127.0.0.1 sslmode=disable", None),
    ("user=tls_only host=127.0.0.1 sslmode=disable", None),
];

/// The same with TLS.
const TLS_CASES: &[(&str, Option<&str>)] = &[
    ("user=tls_only host=127.0.0.1 sslmode=require", None),
    ("user=no_tls host=127.0.0.1 sslmode=require", None),
    ("user=no_tls host=127.0.0.1 sslmode=prefer", None),
    ("user=tls_only host=127.0.0.1 sslmode=allow", None),
    ("user=tls_only host=127.0.0.1 sslmode=verify-ca sslrootcert=ROOT", None),
    ("user=tls_only host=127.0.0.1 sslmode=verify-full sslrootcert=ROOT", None),
    ("user=tls_only host=127.0.0.1 sslmode=verify-ca sslrootcert=STRANGER", None),
    ("user=tls_only host=wrong.example hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=ROOT", None),
    ("user=tls_only host=127.0.0.1 sslmode=require ssl_max_protocol_version=TLSv1.2", None),
    ("user=good host=127.0.0.1 sslmode=require", Some("scram secret")),
    ("user=good host=127.0.0.1 sslmode=require", Some("wrong")),
    ("user=good host=127.0.0.1 sslmode=require channel_binding=require", Some("scram secret")),
    ("user=good host=127.0.0.1 sslmode=disable channel_binding=require", Some("scram secret")),
    ("user=good host=127.0.0.1 sslmode=require channel_binding=disable", Some("scram secret")),
    ("user=plain host=127.0.0.1 sslmode=require channel_binding=require", Some("plain secret")),
];

#[test]
fn who_gets_in() {
    if integration::real_postgres().is_none() {
        return say_skipped(module_path!(), "psql is not installed");
    }
    on_each_server("who gets in", |server| {
        let initdb = ["-E", "UTF8", "--locale=C.UTF-8"].map(str::to_owned).to_vec();
        let config = ["log_connections = on", "log_checkpoints = off"].map(str::to_owned).to_vec();
        let cluster = Cluster::with(ClusterOptions { server, initdb, config });
        let has_tls = make_certificates(&cluster);
        cluster.start();
        // The last of the roster: from here on only sessions come and go.
        cluster.wait_for_process(if server == Server::Ours {
            "postgres: stats"
        } else {
            "postgres: logical"
        });
        let mut superuser = Wire::connect(&cluster);
        for statement in ROLES.split_terminator(";\n") {
            let answer = superuser.query(&statement.replace("OSUSER", &os_user()));
            assert_eq!(answer, ["CREATE ROLE"], "{statement}");
        }
        superuser.quit();
        load(&cluster, &HBA.replace("OSUSER", &os_user()), &IDENT.replace("OSUSER", &os_user()));
        let text = CASES.iter().map(|(conninfo, password)| attempt(&cluster, conninfo, *password));
        transcript::check("auth/methods.txt", server, &text.collect::<String>());
        if has_tls {
            let text = TLS_CASES.iter().map(|(conninfo, password)| attempt(&cluster, conninfo, *password));
            transcript::check("auth/tls.txt", server, &text.collect::<String>());
            what_is_known_of_tls(&cluster);
        } else {
            say_skipped("who gets in", "openssl is not installed: no certificates, no TLS");
        }
        a_role_has_a_limit(&cluster);
        files_with_errors(&cluster, server);
    });
}

fn os_user() -> String {
    let (uid, _) = process::unprivileged_ids();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.expect("the test runs as somebody").name
}

/// Replaces both files and waits until the postmaster has read them.
fn load(cluster: &Cluster, hba: &str, ident: &str) {
    cluster.write_file("pg_hba.conf", hba);
    cluster.write_file("pg_ident.conf", ident);
    cluster.mark_log();
    cluster.signal_postmaster(Signal::SIGHUP);
    cluster.wait_for_new_log("received SIGHUP, reloading configuration files");
    // Whoever is let in or not has been forked by a postmaster that is done with it.
    Wire::open(cluster).start_session(&[("user", "postgres")]);
}

/// One try with psql: what it prints, and what the log says.
fn attempt(cluster: &Cluster, conninfo: &str, password: Option<&str>) -> String {
    let file = |name: &str| cluster.path(name).display().to_string();
    let full = conninfo.replace("OSUSER", &os_user()).replace("ROOT", &file("root.crt"));
    let mut full = full.replace("STRANGER", &file("stranger.crt"));
    if !full.contains("dbname=") {
        full += " dbname=postgres";
    }
    let mut psql = cluster.client("psql").expect("psql is installed");
    psql.env("PGPASSFILE", "/nonexistent").env("PGCLIENTENCODING", "UTF8").env_remove("PGUSER");
    psql.args(["-X", "-A", "-t", "-w", "-c", "SELECT current_user, current_database()", "-d", &full]);
    if let Some(password) = password {
        psql.env("PGPASSWORD", password);
    }
    let others = children(cluster);
    cluster.mark_log();
    let said = said(cluster, &mut psql);
    wait_until("the session has said all it has to say", || children(cluster) <= others);
    let mut text = format!("> {conninfo}");
    let _ = match password {
        Some(password) => writeln!(text, " password={password:?}"),
        None => writeln!(text),
    };
    let _ = writeln!(text, "exit {:?}", said.code.unwrap_or(-1));
    text += &said.stdout;
    text += &said.stderr;
    for line in cluster.new_log_lines() {
        let _ = writeln!(text, "log {line}");
    }
    neutral(&text) + "\n"
}

/// How many processes the postmaster has.
fn children(cluster: &Cluster) -> usize {
    cluster.processes().iter().filter(|process| process.ppid == cluster.postmaster_pid()).count()
}

/// Without what varies from machine to machine.
fn neutral(text: &str) -> String {
    let port = Regex::new(r"port=\d+").expect("a valid pattern");
    // In the words of the library that does TLS.
    let why = Regex::new(r"(could not accept SSL connection:) .*").expect("a valid pattern");
    let text = port.replace_all(text, "port=N");
    why.replace_all(&text, "$1 WHY").replace(&os_user(), "OSUSER")
}

/// An authority, a certificate of the server signed by it, and another authority. False without openssl.
pub(crate) fn make_certificates(cluster: &Cluster) -> bool {
    if !Path::new("/usr/bin/openssl").exists() {
        return false;
    }
    let script = "set -e
        new='openssl req -new -nodes -newkey rsa:2048 -sha256'
        $new -x509 -days 30 -subj /CN=authority -keyout root.key -out root.crt
        $new -x509 -days 30 -subj /CN=stranger -keyout stranger.key -out stranger.crt
        $new -subj /CN=127.0.0.1 -keyout server.key -out server.csr
        echo subjectAltName=IP:127.0.0.1 > extensions
        openssl x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial -days 30 -sha256 \
            -extfile extensions -out server.crt";
    let mut shell = Command::new("sh");
    process::unprivileged(shell.args(["-c", script]).current_dir(cluster.socket_dir()));
    let output = process::run(&mut shell);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["server.key", "server.crt"] {
        let text = std::fs::read_to_string(cluster.path(name)).expect("openssl made it");
        cluster.write_file(name, &text);
    }
    cluster.append_config("ssl = on");
    true
}

/// The session itself and others see how it is encrypted.
fn what_is_known_of_tls(cluster: &Cluster) {
    let sql = "SELECT ssl, version, cipher, bits FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let ask = |conninfo: &str| {
        let mut psql = cluster.client("psql").expect("psql is installed");
        psql.args(["-X", "-A", "-t", "-w", "-c", sql, "-d", conninfo]);
        said(cluster, &mut psql).stdout
    };
    let encrypted = "dbname=postgres user=tls_only host=127.0.0.1 sslmode=require";
    assert_eq!(ask(encrypted), "t|TLSv1.3|TLS_AES_256_GCM_SHA384|256\n");
    assert_eq!(ask("dbname=postgres user=trusty"), "f|||\n");
}

fn a_role_has_a_limit(cluster: &Cluster) {
    let mut superuser = Wire::connect(cluster);
    superuser.query("ALTER ROLE trusty CONNECTION LIMIT 1");
    let connect = || {
        let mut session = Wire::open_local(cluster);
        let answer = session.start_session(&[("user", "trusty"), ("database", "postgres")]);
        (session, answer)
    };
    let (first, answer) = connect();
    assert!(answer.is_empty(), "{answer:?}");
    let refused = ["FATAL:  53300: too many connections for role \"trusty\"", "EOF"];
    assert_eq!(connect().1, refused);
    first.quit();
    wait_until("its place is free", || connect().1.is_empty());
    superuser.query("ALTER ROLE trusty CONNECTION LIMIT -1; ALTER ROLE trusty NOLOGIN");
    let refused = ["FATAL:  28000: role \"trusty\" is not permitted to log in", "EOF"];
    assert_eq!(connect().1, refused);
    superuser.query("ALTER ROLE trusty LOGIN");
    assert!(connect().1.is_empty());
}

/// Each wrong in its own way.
const BAD_HBA: &str = "\
local all all nonsense
local all all
local all
local
nonsense all all trust
host all all trust
host all all 127.0.0.1 trust
host all all 127.0.0.1/99 trust
host all all 127.0.0.1/x trust
host all all 127.0.0.1/32 255.0.0.0 trust
host all all 127.0.0.1 nonsense trust
host all all 127.0.0.1 ::1 trust
host all all 300.0.0.1/32 trust
local all all peer map
local all all peer nonsense=1
local all all scram-sha-256 map=x
host all all all peer
local all all trust clientcert=verify-ca
host all all all trust clientcert=verify-ca
local all,all all,all trust,trust
local,host all all trust
local all all \"trust
host all all a,b trust
local all all cert
local @missing all trust
local all all trust";

const BAD_IDENT: &str = "\
map
map user
map a,b role
map /( role
map user role";

/// The old rules stay in force, and log and views say where the errors are.
fn files_with_errors(cluster: &Cluster, server: Server) {
    cluster.write_file("pg_hba.conf", BAD_HBA);
    cluster.write_file("pg_ident.conf", BAD_IDENT);
    cluster.mark_log();
    cluster.signal_postmaster(Signal::SIGHUP);
    cluster.wait_for_new_log("pg_ident.conf was not reloaded");
    let mut text = String::new();
    for line in cluster.new_log_lines().iter().filter(|line| !line.contains("connection ")) {
        let _ = writeln!(text, "log {line}");
    }
    let mut session = Wire::connect(cluster);
    for view in ["pg_hba_file_rules", "pg_ident_file_mappings"] {
        let rows = session.query(&format!("SELECT * FROM {view}"));
        let _ = writeln!(text, "\n{view}");
        rows.iter().for_each(|row| text = format!("{text}{row}\n"));
    }
    transcript::check("auth/files.txt", server, &neutral(&cluster.normalised(&text)));
    load(cluster, HBA, "");
    let sql = "SELECT line_number, type, database, user_name, address, netmask, auth_method, options, error FROM pg_hba_file_rules";
    let rows = session.query(sql).join("\n");
    transcript::check("auth/rules.txt", server, &(rows + "\n"));
}

#[test]
fn connections_are_limited() {
    on_each_server("too many clients", |server| {
        let config = ["max_connections = 5", "superuser_reserved_connections = 2", "max_wal_senders = 0"];
        let cluster = started(server, &config);
        let mut superuser = Wire::connect(&cluster);
        superuser.query("CREATE ROLE ordinary LOGIN");
        superuser.quit();
        let connect = |user: &str| {
            let mut session = Wire::open(&cluster);
            let answer = session.start_session(&[("user", user), ("database", "postgres")]);
            (session, answer)
        };
        let mut sessions = Vec::new();
        wait_until("the first session has gone", || {
            let (session, answer) = connect("ordinary");
            sessions.push(session);
            sessions.retain(|session| session.pid != 0);
            assert!(sessions.len() <= 3);
            answer.is_empty() && sessions.len() == 3
        });
        let reserved = "FATAL:  53300: remaining connection slots are reserved for non-replication superuser connections";
        assert_eq!(connect("ordinary").1, [reserved, "EOF"]);
        for _ in 0..2 {
            // The one that was refused may still be leaving.
            wait_until("a superuser gets a reserved place", || {
                let (session, answer) = connect("postgres");
                sessions.push(session);
                answer.is_empty()
            });
        }
        let full = ["FATAL:  53300: sorry, too many clients already", "EOF"];
        assert_eq!(connect("postgres").1, full);
        assert_eq!(connect("ordinary").1, full);
        let left = sessions.pop().expect("five sessions");
        left.quit();
        wait_until("there is a place again", || connect("postgres").1.is_empty());
    });
}
