//! Starts that cannot be: each cause with the exact words and the exit code.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use integration::{Cluster, Server, on_each_server, process, procfs, wait_until};

use crate::support::{Said, cluster_of, said};

/// A way to make a start impossible.
struct Case {
    name: &'static str,
    /// Breaks the cluster. What it returns lives until the start has failed.
    prepare: fn(&Cluster) -> Box<dyn std::any::Any>,
    args: &'static [&'static str],
    code: i32,
    /// Lines on standard error; of a started server's log only those that are not about listening.
    says: &'static [&'static str],
}

fn nothing() -> Box<dyn std::any::Any> {
    Box::new(())
}

fn a_living_process(cluster: &Cluster) -> process::Process {
    process::spawn(cluster.command("/bin/sleep").arg("1000"))
}

/// Ends its process with the test.
struct Sleeper(process::Process);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.signal(nix::sys::signal::Signal::SIGKILL);
        self.0.wait();
    }
}

fn mode(cluster: &Cluster, mode: u32) {
    fs::set_permissions(cluster.data_dir(), fs::Permissions::from_mode(mode)).expect("own folder");
}

const LOCK_FILES: &[Case] = &[
    Case {
        name: "a living process in postmaster.pid",
        prepare: |cluster| {
            let sleeper = a_living_process(cluster);
            let lines = format!("{}\n{}\n1\n1\n\n", sleeper.pid(), cluster.data_dir().display());
            cluster.write_file("postmaster.pid", &lines);
            Box::new(Sleeper(sleeper))
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  lock file \"postmaster.pid\" already exists",
            "HINT:  Is another postmaster (PID N) running in data directory \"DATA\"?",
        ],
    },
    Case {
        name: "a living single-user server",
        prepare: |cluster| {
            let sleeper = a_living_process(cluster);
            cluster.write_file("postmaster.pid", &format!("-{}\n", sleeper.pid()));
            Box::new(Sleeper(sleeper))
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  lock file \"postmaster.pid\" already exists",
            "HINT:  Is another postgres (PID N) running in data directory \"DATA\"?",
        ],
    },
    Case {
        name: "bogus lock file",
        prepare: |cluster| {
            cluster.write_file("postmaster.pid", "0\n");
            nothing()
        },
        args: &[],
        code: 1,
        says: &["FATAL:  bogus data in lock file \"postmaster.pid\": \"0", "\t\""],
    },
    Case {
        name: "empty lock file",
        prepare: |cluster| {
            cluster.write_file("postmaster.pid", "");
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  lock file \"postmaster.pid\" is empty",
            "HINT:  Either another server is starting, or the lock file is the remnant of a previous server startup crash.",
        ],
    },
];

const DIRECTORIES: &[Case] = &[
    Case {
        name: "open to others",
        prepare: |cluster| {
            mode(cluster, 0o755);
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  data directory \"DATA\" has invalid permissions",
            "DETAIL:  Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).",
        ],
    },
    Case {
        name: "no configuration file",
        prepare: |cluster| {
            fs::remove_file(cluster.data_dir().join("postgresql.conf")).expect("own file");
            nothing()
        },
        args: &[],
        code: 2,
        says: &[
            "postgres: could not access the server configuration file \"DATA/postgresql.conf\": No such file or directory",
        ],
    },
    Case {
        name: "PG_VERSION missing",
        prepare: |cluster| {
            fs::remove_file(cluster.data_dir().join("PG_VERSION")).expect("own file");
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  \"DATA\" is not a valid data directory",
            "DETAIL:  File \"DATA/PG_VERSION\" is missing.",
        ],
    },
    Case {
        name: "PG_VERSION of another version",
        prepare: |cluster| {
            cluster.write_file("PG_VERSION", "14\n");
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  database files are incompatible with server",
            "DETAIL:  The data directory was initialized by PostgreSQL version 14, which is not compatible with this version 15.",
        ],
    },
    Case {
        name: "PG_VERSION with nonsense",
        prepare: |cluster| {
            cluster.write_file("PG_VERSION", "nonsense\n");
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  \"DATA\" is not a valid data directory",
            "DETAIL:  File \"DATA/PG_VERSION\" does not contain valid data.",
            "HINT:  You might need to initdb.",
        ],
    },
    Case {
        name: "no pg_control",
        prepare: |cluster| {
            fs::remove_file(cluster.data_dir().join("global/pg_control")).expect("own file");
            nothing()
        },
        args: &[],
        code: 2,
        says: &[
            "postgres: could not find the database system",
            "Expected to find it in the directory \"DATA\",",
            "but could not open file \"DATA/global/pg_control\": No such file or directory",
        ],
    },
    Case {
        name: "no pg_hba.conf",
        prepare: |cluster| {
            fs::remove_file(cluster.data_dir().join("pg_hba.conf")).expect("own file");
            nothing()
        },
        args: &[],
        code: 1,
        says: &[
            "LOG:  could not open configuration file \"DATA/pg_hba.conf\": No such file or directory",
            "FATAL:  could not load pg_hba.conf",
            "LOG:  database system is shut down",
        ],
    },
];

const SOCKETS: &[Case] = &[
    Case {
        name: "port taken",
        prepare: |cluster| Box::new(TcpListener::bind(("127.0.0.1", cluster.port())).expect("a free port")),
        args: &[],
        code: 1,
        says: &[
            "LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use",
            "HINT:  Is another postmaster already running on port PORT? If not, wait a few seconds and retry.",
            "WARNING:  could not create listen socket for \"127.0.0.1\"",
            "FATAL:  could not create any TCP/IP sockets",
            "LOG:  database system is shut down",
        ],
    },
    Case {
        name: "socket taken",
        prepare: |cluster| {
            let sleeper = a_living_process(cluster);
            let lock = cluster.path(&format!(".s.PGSQL.{}.lock", cluster.port()));
            fs::write(lock, format!("{}\n/elsewhere\n1\n1\n\n", sleeper.pid())).expect("own folder");
            Box::new(Sleeper(sleeper))
        },
        args: &[],
        code: 1,
        says: &[
            "FATAL:  lock file \"SOCKETS/.s.PGSQL.PORT.lock\" already exists",
            "HINT:  Is another postmaster (PID N) using socket file \"SOCKETS/.s.PGSQL.PORT\"?",
            "LOG:  database system is shut down",
        ],
    },
    Case {
        name: "no socket directory",
        prepare: |_| nothing(),
        args: &["-k", "/nonexistent"],
        code: 1,
        says: &[
            "FATAL:  could not create lock file \"/nonexistent/.s.PGSQL.PORT.lock\": No such file or directory",
            "LOG:  database system is shut down",
        ],
    },
    Case {
        name: "nowhere to listen",
        prepare: |_| nothing(),
        args: &["-k", "", "-h", ""],
        code: 1,
        says: &["FATAL:  no socket created for listening", "LOG:  database system is shut down"],
    },
    Case {
        name: "socket path too long",
        prepare: |_| nothing(),
        args: &[
            "-k",
            "/a-name-that-is-much-too-long-for-the-path-of-a-socket-because-there-are-only-one-hundred-and-eight-bytes-for-it",
        ],
        code: 1,
        says: &[
            "LOG:  Unix-domain socket path \"/a-name-that-is-much-too-long-for-the-path-of-a-socket-because-there-are-only-one-hundred-and-eight-bytes-for-it/.s.PGSQL.PORT\" is too long (maximum 107 bytes)",
            "WARNING:  could not create Unix-domain socket in directory \"/a-name-that-is-much-too-long-for-the-path-of-a-socket-because-there-are-only-one-hundred-and-eight-bytes-for-it\"",
            "FATAL:  could not create any Unix-domain sockets",
            "LOG:  database system is shut down",
        ],
    },
];

const ARGUMENTS: &[Case] = &[
    Case {
        name: "unknown setting on the command line",
        prepare: |_| nothing(),
        args: &["-c", "nosuch=1"],
        code: 1,
        says: &["FATAL:  unrecognized configuration parameter \"nosuch\""],
    },
    Case {
        name: "setting without a value",
        prepare: |_| nothing(),
        args: &["-c", "work_mem"],
        code: 1,
        says: &["FATAL:  -c work_mem requires a value"],
    },
    Case {
        name: "long option without a value",
        prepare: |_| nothing(),
        args: &["--work-mem"],
        code: 1,
        says: &["FATAL:  --work-mem requires a value"],
    },
    Case {
        name: "less WAL than two segments",
        prepare: |_| nothing(),
        args: &["-c", "min_wal_size=31MB"],
        code: 1,
        says: &[
            "FATAL:  \"min_wal_size\" must be at least twice \"wal_segment_size\"",
            "LOG:  database system is shut down",
        ],
    },
    Case {
        name: "unknown option",
        prepare: |_| nothing(),
        args: &["-Z"],
        code: 1,
        says: &["PROGRAM: invalid option -- 'Z'", "Try \"postgres --help\" for more information."],
    },
    Case {
        name: "stray argument",
        prepare: |_| nothing(),
        args: &["extra"],
        code: 1,
        says: &["postgres: invalid argument: \"extra\"", "Try \"postgres --help\" for more information."],
    },
    Case {
        name: "more reserved connections than there are",
        prepare: |_| nothing(),
        args: &["-c", "max_connections=2"],
        code: 1,
        says: &["postgres: superuser_reserved_connections (3) must be less than max_connections (2)"],
    },
    Case {
        name: "port out of range",
        prepare: |_| nothing(),
        args: &["-p", "70000"],
        code: 1,
        says: &["FATAL:  70000 is outside the valid range for parameter \"port\" (1 .. 65535)"],
    },
];

fn check(cluster: &Cluster, server: Server, case: &Case) {
    let kept: Vec<(PathBuf, Vec<u8>)> = ["postgresql.conf", "pg_hba.conf", "PG_VERSION", "global/pg_control"]
        .iter()
        .map(|file| cluster.data_dir().join(file))
        .map(|path| (path.clone(), fs::read(path).expect("a whole cluster")))
        .collect();
    let guard = (case.prepare)(cluster);
    let output = Said::of(cluster, &cluster.run_postmaster(case.args));
    drop(guard);
    for (path, bytes) in kept {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).expect("own file");
        let (uid, gid) = process::unprivileged_ids();
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("own file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
    }
    mode(cluster, 0o700);
    let _ = fs::remove_file(cluster.data_dir().join("postmaster.pid"));
    let _ = fs::remove_file(cluster.path(&format!(".s.PGSQL.{}.lock", cluster.port())));
    let program = cluster.command("postgres").get_program().to_string_lossy().into_owned();
    let stderr = output.stderr.replace(&program, "PROGRAM");
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.starts_with("LOG:  starting") && !line.starts_with("LOG:  listening on"))
        .collect();
    assert_eq!(lines, case.says, "{}, {server:?}", case.name);
    assert_eq!(output.code, Some(case.code), "{}, {server:?}", case.name);
    assert_eq!(cluster.processes(), [], "{} leaves processes", case.name);
}

fn check_all(what: &str, cases: &[Case]) {
    on_each_server(what, |server| {
        let cluster = cluster_of(server, &[]);
        cases.iter().for_each(|case| check(&cluster, server, case));
        // None of it has harmed the cluster.
        cluster.start();
    });
}

#[test]
fn lock_files() {
    check_all("lock files", LOCK_FILES);
}

#[test]
fn data_directories() {
    check_all("data directories", DIRECTORIES);
}

#[test]
fn sockets() {
    check_all("sockets", SOCKETS);
}

#[test]
fn arguments() {
    check_all("arguments", ARGUMENTS);
}

#[test]
fn a_stale_pid_file_is_replaced() {
    on_each_server("stale pid files", |server| {
        let cluster = cluster_of(server, &[]);
        // Nobody, and somebody else's process.
        for stale in [i32::from(i16::MAX) - 1, 1] {
            wait_until("nobody of ours has that pid", || stale == 1 || !procfs::is_alive(stale));
            cluster.write_file("postmaster.pid", &format!("{stale}\n/elsewhere\n1\n1\n\n"));
            cluster.start();
            cluster.stop(integration::Stop::Fast);
        }
    });
}

#[test]
fn directory_that_is_not_there() {
    on_each_server("missing directory", |server| {
        let cluster = cluster_of(server, &[]);
        let output = said(&cluster, cluster.command("postgres").args(["-D", "/nonexistent"]));
        let expected = "postgres: could not access directory \"/nonexistent\": No such file or directory\n\
                        Run initdb or pg_basebackup to initialize a PostgreSQL data directory.\n";
        assert_eq!((output.code, output.stderr.as_str()), (Some(2), expected));
        let output = said(&cluster, &mut cluster.command("postgres"));
        let expected = "postgres does not know where to find the server configuration file.\n\
                        You must specify the --config-file or -D invocation option or set the PGDATA environment variable.\n";
        assert_eq!((output.code, output.stderr.as_str()), (Some(2), expected));
    });
}

#[test]
fn root_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        integration::skip!("not root");
    }
    on_each_server("root", |server| {
        let cluster = cluster_of(server, &[]);
        let mut command = cluster.command("postgres");
        // The last word on who runs it.
        std::os::unix::process::CommandExt::uid(&mut command, 0);
        let output = said(&cluster, command.arg("-D").arg(cluster.data_dir()));
        let expected = "\"root\" execution of the PostgreSQL server is not permitted.\n\
                        The server must be started under an unprivileged user ID to prevent\n\
                        possible system security compromise.  See the documentation for\n\
                        more information on how to properly start the server.\n";
        assert_eq!((output.code, output.stderr.as_str()), (Some(1), expected));
    });
}

/// A line alone in an else good file, and the answer but for its last line, which is always the same.
const MALFORMED_SETTINGS: &[(&str, &[&str])] = &[
    (
        "nosuch = 1",
        &["LOG:  unrecognized configuration parameter \"nosuch\" in file \"DATA/postgresql.conf\" line LINE"],
    ),
    ("port = sixty", &["LOG:  invalid value for parameter \"port\": \"sixty\""]),
    ("port = 0", &["LOG:  0 is outside the valid range for parameter \"port\" (1 .. 65535)"]),
    (
        "work_mem = 1zB",
        &[
            "LOG:  invalid value for parameter \"work_mem\": \"1zB\"",
            "HINT:  Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
        ],
    ),
    (
        "work_mem = 1kB",
        &["LOG:  1 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)"],
    ),
    (
        "checkpoint_timeout = 5XX",
        &[
            "LOG:  invalid value for parameter \"checkpoint_timeout\": \"5XX\"",
            "HINT:  Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
        ],
    ),
    ("autovacuum = perhaps", &["LOG:  parameter \"autovacuum\" requires a Boolean value"]),
    (
        "wal_level = much",
        &[
            "LOG:  invalid value for parameter \"wal_level\": \"much\"",
            "HINT:  Available values: minimal, replica, logical.",
        ],
    ),
    (
        "log_destination = 'teletype'",
        &[
            "LOG:  invalid value for parameter \"log_destination\": \"teletype\"",
            "DETAIL:  Unrecognized key word: \"teletype\".",
        ],
    ),
    (
        "log_min_messages = loud",
        &[
            "LOG:  invalid value for parameter \"log_min_messages\": \"loud\"",
            "HINT:  Available values: debug5, debug4, debug3, debug2, debug1, info, notice, warning, error, log, fatal, panic.",
        ],
    ),
    ("TimeZone = 'Middle/Earth'", &["LOG:  invalid value for parameter \"TimeZone\": \"Middle/Earth\""]),
    ("server_version = '9'", &["LOG:  parameter \"server_version\" cannot be changed"]),
    (
        "work_mem = 'unterminated",
        &["LOG:  syntax error in file \"DATA/postgresql.conf\" line LINE, near token \"'\""],
    ),
    (
        "work_mem 4MB 5MB",
        &["LOG:  syntax error in file \"DATA/postgresql.conf\" line LINE, near token \"5MB\""],
    ),
    ("= 5", &["LOG:  syntax error in file \"DATA/postgresql.conf\" line LINE, near token \"=\""]),
    ("work_mem =", &["LOG:  syntax error in file \"DATA/postgresql.conf\" line LINE, near end of line"]),
    (
        "include 'nosuch.conf'",
        &["LOG:  could not open configuration file \"DATA/nosuch.conf\": No such file or directory"],
    ),
    (
        "include_dir 'nosuch.d'",
        &["LOG:  could not open configuration directory \"DATA/nosuch.d\": No such file or directory"],
    ),
    ("include 'postgresql.conf'", &["LOG:  configuration file recursion in \"DATA/postgresql.conf\""]),
    ("include ''", &["LOG:  empty configuration file name: \"\""]),
];

#[test]
fn malformed_settings_in_the_file() {
    on_each_server("malformed settings", |server| {
        let cluster = cluster_of(server, &[]);
        let good = fs::read_to_string(cluster.data_dir().join("postgresql.conf")).expect("a file");
        for (line, says) in MALFORMED_SETTINGS {
            cluster.append_config(line);
            let output = Said::of(&cluster, &cluster.run_postmaster(&[]));
            let line_number = format!("line {}", good.lines().count() + 1);
            let stderr = output.stderr.replace(&line_number, "line LINE");
            let told: Vec<&str> = stderr.lines().collect();
            let (last, told) = told.split_last().expect("some words");
            assert_eq!(told, *says, "{line}, {server:?}");
            assert_eq!(
                *last, "FATAL:  configuration file \"DATA/postgresql.conf\" contains errors",
                "{line}, {server:?}"
            );
            assert_eq!(output.code, Some(1), "{line}, {server:?}");
            cluster.write_file("postgresql.conf", &good);
        }
    });
}
