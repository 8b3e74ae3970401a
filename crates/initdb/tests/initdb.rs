//! The program as a whole: what it prints, what it leaves behind, and whether PostgreSQL's own tools and
//! its own initdb agree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use catalog::rows::{PgAuthidRow, PgDatabaseRow};
use catalog::tables::{self, Catalog};
use common::pg_control::ControlFileData;

const REAL_BIN: &str = "/usr/lib/postgresql/15/bin";
const UNPRIVILEGED: u32 = 65534;

/// A directory of one test, open to all, with a copy of the program that any user can run.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("initdb-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::create_dir(dir.join("bin")).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_initdb"));
        if std::fs::hard_link(program, dir.join("bin/initdb")).is_err() {
            std::fs::copy(program, dir.join("bin/initdb")).unwrap();
        }
        std::fs::set_permissions(dir.join("bin"), PermissionsExt::from_mode(0o755)).unwrap();
        Scratch { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn ours(&self, args: &[&str]) -> Output {
        self.run(&self.path("bin/initdb"), args)
    }

    /// The real initdb, unless it is missing.
    fn real(&self, args: &[&str]) -> Option<Output> {
        let program = Path::new(REAL_BIN).join("initdb");
        if !program.exists() {
            eprintln!("SKIPPED: {} is not installed", program.display());
            return None;
        }
        Some(self.run(&program, args))
    }

    /// Runs as an unprivileged user, in this directory.
    fn run(&self, program: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.dir).env_clear().env("LANG", "C.UTF-8").env("TZ", "Etc/UTC");
        command.env("PATH", "/usr/bin:/bin");
        if common::user::is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command.output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Both programs with the same words, the data directory removed in between: same output, same exit code.
#[track_caller]
fn check_same(scratch: &Scratch, args: &[&str]) {
    let Some(real) = scratch.real(args) else { return };
    let _ = std::fs::remove_dir_all(scratch.path("data"));
    let ours = scratch.ours(args);
    let shown = |output: &Output| {
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let bin = scratch.path("bin");
        let plain = |s: String| s.replace(bin.to_str().unwrap(), "BIN").replace(REAL_BIN, "BIN");
        (output.status.code(), plain(stdout), plain(stderr))
    };
    assert_eq!(shown(&ours), shown(&real), "initdb {args:?}");
    let _ = std::fs::remove_dir_all(scratch.path("data"));
}

#[test]
fn prints_what_the_real_one_prints() {
    let scratch = Scratch::new("same");
    std::fs::write(scratch.path("pw"), "geheim\n").unwrap();
    std::fs::write(scratch.path("empty"), "").unwrap();
    std::fs::write(scratch.path("file"), "").unwrap();
    std::fs::create_dir_all(scratch.path("full/x")).unwrap();
    std::fs::create_dir_all(scratch.path("dot/.x")).unwrap();
    std::fs::create_dir_all(scratch.path("mount/lost+found")).unwrap();
    let full_wal = scratch.path("full");
    for line in [
        "data",
        "-D data -A trust -N",
        "-N -D data -A peer --auth-host=scram-sha-256 --no-instructions",
        "-N -D data/deep/er -A trust",
        "-N -D data/ -A trust -E LATIN1 --locale=C -k",
        "-N data -A trust --lc-collate=C --lc-messages=POSIX -T german --no-locale",
        "-N data -A trust --lc-collate=C --lc-messages=POSIX",
        "-N data -A scram-sha-256 --pwfile=pw -g --wal-segsize=1 -U chief",
        "-N -D data -X relative",
        "-n -N -D data -X relative",
        "-D /proc/nowhere/data",
        "full",
        "dot",
        "mount",
        "file",
        "",
        "one two",
        "-D one two",
        "--frob",
        "-D",
        "--lc",
        "--no-sync=1",
        "-z",
        "data -A foo",
        "data -A trust --auth-host=peer",
        "data --auth-local=ident",
        "data -A md5",
        "data -A md5 --pwfile=empty",
        "data -A md5 --pwfile=absent",
        "data -W --pwfile=pw",
        "data -U pg_x",
        "data --wal-segsize=3",
        "data --wal-segsize=x",
        "data --wal-segsize=2048",
        "data --wal-segsize=0",
        "data -E nonsense",
        "data -E SJIS",
        "data -E LATIN1 --locale=C.UTF-8",
        "data --locale=xx_YY",
        "data --locale-provider=other",
        "-S",
        "-S -D absent",
    ] {
        check_same(&scratch, &line.split_whitespace().collect::<Vec<_>>());
    }
    check_same(&scratch, &["-N", "-D", "data", "-X", full_wal.to_str().unwrap()]);
    check_same(&scratch, &["-N", "-D", "data/with space", "-A", "trust"]);
}

/// Name and permission bits of every directory and of those files that both make.
fn listing(data: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut to_visit = vec![data.to_owned()];
    while let Some(dir) = to_visit.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(data).unwrap().to_str().unwrap().to_owned();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                to_visit.push(entry.path());
            }
            found.push((name, metadata.permissions().mode() & 0o7777));
        }
    }
    found.sort();
    found
}

#[test]
fn leaves_what_the_real_one_leaves() {
    let scratch = Scratch::new("layout");
    for extra in ["-N", "-g"] {
        let (ours, theirs) = (scratch.path(&format!("ours{extra}")), scratch.path(&format!("real{extra}")));
        let args = |dir| ["-N", "-A", "trust", "--no-instructions", extra, dir];
        let Some(real) = scratch.real(&args(theirs.to_str().unwrap())) else { return };
        assert!(real.status.success());
        assert!(scratch.ours(&args(ours.to_str().unwrap())).status.success());
        // Files of tables, their map, statistics of a server that ran: later.
        let is_table = |name: &str| {
            let file = name.rsplit('/').next().unwrap();
            let in_table_dir = name.starts_with("base/") || name.starts_with("global/");
            in_table_dir
                && name.matches('/').count() == if name.starts_with("base/") { 2 } else { 1 }
                && file != "PG_VERSION"
                && file != "pg_control"
        };
        let later = |name: &str| {
            is_table(name) || matches!(name, "pg_stat/pgstat.stat" | "pg_logical/replorigin_checkpoint")
        };
        let filtered =
            |dir: &Path| listing(dir).into_iter().filter(|(name, _)| !later(name)).collect::<Vec<_>>();
        assert_eq!(filtered(&ours), filtered(&theirs));
        let mode = |dir: &Path| std::fs::metadata(dir).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&theirs));
        assert_eq!(std::fs::read(ours.join("PG_VERSION")).unwrap(), b"15\n");
        let hba = |dir: &Path| {
            let text = std::fs::read_to_string(dir.join("pg_hba.conf")).unwrap();
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(hba(&ours), hba(&theirs));
    }
}

#[test]
fn tools_of_postgresql_read_it() {
    let scratch = Scratch::new("tools");
    for (segment, file_bytes) in [("1", 1 << 20), ("16", 16 << 20), ("64", 64 << 20)] {
        let data = scratch.path(&format!("data{segment}"));
        let wal = scratch.path(&format!("wal{segment}"));
        let output = scratch.ours(&[
            "-N",
            "-k",
            "-A",
            "trust",
            "--wal-segsize",
            segment,
            "-X",
            wal.to_str().unwrap(),
            "-D",
            data.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let control = ControlFileData::read(&data).unwrap();
        assert_eq!(u64::from(control.xlog_seg_size), file_bytes);
        assert_eq!(std::fs::read_link(data.join("pg_wal")).unwrap(), wal);
        let file = wal.join("000000010000000000000001");
        assert_eq!(std::fs::metadata(&file).unwrap().len(), file_bytes);
        let (controldata, waldump) =
            (Path::new(REAL_BIN).join("pg_controldata"), Path::new(REAL_BIN).join("pg_waldump"));
        if !controldata.exists() {
            eprintln!("SKIPPED: {} is not installed", controldata.display());
            return;
        }
        let output = text(&Command::new(controldata).arg(&data).output().unwrap().stdout);
        for line in [
            "Database cluster state:               shut down",
            &format!("Latest checkpoint location:           {}", control.checkpoint),
            &format!("Latest checkpoint's REDO location:    {}", control.checkpoint),
            "Latest checkpoint's REDO WAL file:    000000010000000000000001",
            "Latest checkpoint's NextXID:          0:3",
            "Latest checkpoint's NextOID:          16384",
            "Data page checksum version:           1",
        ] {
            assert!(output.lines().any(|found| found == line), "{line}\nnot in\n{output}");
        }
        let output = text(&Command::new(waldump).arg(&file).output().unwrap().stdout);
        let expected =
            format!("lsn: 0/{:08X}, prev 0/00000000, desc: CHECKPOINT_SHUTDOWN", control.checkpoint.0);
        assert!(output.contains(&expected), "{expected}\nnot in\n{output}");
        let checksums = Command::new(Path::new(REAL_BIN).join("pg_checksums"))
            .args(["--check", "-D"])
            .arg(&data)
            .output();
        let checksums = checksums.unwrap();
        assert!(checksums.status.success(), "{}", text(&checksums.stderr));
        assert!(text(&checksums.stdout).contains("Bad checksums:  0"));
    }
    if cfg!(target_os = "linux") && Path::new(REAL_BIN).exists() {
        assert_eq!(
            ControlFileData::read(&scratch.path("data16")).unwrap().checkpoint.to_string(),
            "0/1000028"
        );
    }
}

/// It recovers, checkpoints and stops. Nobody can connect, as it needs indexes on catalogs; the processes that would are off.
#[test]
fn the_real_server_starts_and_stops_on_it() {
    let pg_ctl = Path::new(REAL_BIN).join("pg_ctl");
    if !pg_ctl.exists() {
        eprintln!("SKIPPED: {} is not installed", pg_ctl.display());
        return;
    }
    let scratch = Scratch::new("start");
    let output = scratch.ours(&["-N", "-k", "-A", "trust", "-D", "data"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let settings = "-c listen_addresses= -c unix_socket_directories=. -c autovacuum=off -c max_logical_replication_workers=0";
    let output = scratch.run(&pg_ctl, &["-D", "data", "-l", "log", "-w", "-o", settings, "start"]);
    let stopped = scratch.run(&pg_ctl, &["-D", "data", "-w", "-m", "fast", "stop"]);
    let log = std::fs::read_to_string(scratch.path("log")).unwrap();
    assert!(output.status.success() && stopped.status.success(), "{log}");
    assert!(log.contains("database system is ready to accept connections"), "{log}");
    assert!(log.contains("checkpoint complete") && !log.contains("PANIC"), "{log}");
}

/// The rows of a shared catalog, read from its file.
fn rows(data: &Path, catalog: &Catalog) -> Vec<Vec<types::Datum>> {
    let desc = catalog.desc();
    let bytes = std::fs::read(data.join("global").join(catalog.oid.to_string())).unwrap();
    let mut rows = Vec::new();
    for chunk in bytes.chunks_exact(common::BLCKSZ) {
        let page = page::Page::copy_of(chunk.try_into().unwrap());
        for offset in 1..=page.max_offset() {
            let tid = common::ItemPointer::new(0, offset);
            let tuple = heap::TupleView { bytes: page.item(offset), tid, table_oid: catalog.oid };
            let mut values = Vec::new();
            tuple.deform(&desc, desc.natts(), &mut values).unwrap();
            rows.push(values);
        }
    }
    rows
}

#[test]
fn roles_databases_and_password_are_there() {
    let scratch = Scratch::new("roles");
    let data = scratch.path("data");
    std::fs::write(scratch.path("pw"), "gehe im\r\nsecond line\n").unwrap();
    let output = scratch.ours(&["-A", "scram-sha-256", "--pwfile=pw", "-U", "the \"chief\"", "data"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let roles = rows(&data, &tables::PG_AUTHID);
    let mut roles = roles.iter().map(|row| PgAuthidRow::from_datums(row).unwrap());
    let chief = roles.find(|role| role.rolname == "the \"chief\"").unwrap();
    assert!(chief.rolsuper && chief.oid.0 == 10);
    let verifier = catalog::scram::ScramVerifier::parse(&chief.rolpassword.unwrap()).unwrap();
    assert!(verifier.verify_plain(b"gehe im"));
    let databases = rows(&data, &tables::PG_DATABASE);
    let mut databases = databases.iter().map(|row| PgDatabaseRow::from_datums(row).unwrap());
    let postgres = databases.find(|database| database.datname == "postgres").unwrap();
    assert_eq!((postgres.encoding, &*postgres.datcollate), (6, "C.UTF-8"));
    let conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
    let mut in_force: Vec<String> = conf
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(" #").next().unwrap().trim().to_lowercase())
        .collect();
    in_force.sort();
    let expected = [
        "datestyle = 'iso, mdy'",
        "default_text_search_config = 'pg_catalog.english'",
        "dynamic_shared_memory_type = posix",
        "lc_messages = 'c.utf-8'",
        "lc_monetary = 'c.utf-8'",
        "lc_numeric = 'c.utf-8'",
        "lc_time = 'c.utf-8'",
        "log_timezone = 'etc/utc'",
        "max_connections = 100",
        "max_wal_size = 1gb",
        "min_wal_size = 80mb",
        "shared_buffers = 128mb",
        "timezone = 'etc/utc'",
    ];
    assert_eq!(in_force, expected);
    let output = scratch.ours(&["-S", "-D", "data"]);
    assert_eq!(text(&output.stdout), "syncing data to disk ... ok\n");
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let scratch = Scratch::new("clean");
    let empty = scratch.path("empty");
    scratch.run(Path::new("/bin/mkdir"), &["empty"]);
    std::fs::create_dir_all(scratch.path("full/x")).unwrap();
    let full = scratch.path("full");
    let output = scratch.ours(&["-N", "-A", "trust", "-D", "empty", "-X", full.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with("initdb: removing contents of data directory \"empty\"\n"));
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    assert!(full.join("x").exists());
}

#[test]
fn root_is_refused_but_may_ask_for_help() {
    let program = env!("CARGO_BIN_EXE_initdb");
    for (word, beginning) in [("--help", "initdb initializes"), ("-V", "initdb (PostgreSQL) 15.")] {
        let output = Command::new(program).arg(word).output().unwrap();
        assert!(output.status.success() && text(&output.stdout).starts_with(beginning));
    }
    if !common::user::is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let output = Command::new(program).args(["-D", "/nonexistent/data"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "initdb: error: cannot be run as root\ninitdb: hint: Please log in (using, e.g., \"su\") as the (unprivileged) user that will own the server process.\n"
    );
}
