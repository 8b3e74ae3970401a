//! Disks that are full, files that are damaged or gone: what is said then is what PostgreSQL says, and what was
//! acknowledged is still there afterwards.
//!
//! Two ways to compare. A fault under a running server is done to both servers in turn ([`on_each_server`]). A fault
//! that recovery meets is done to two copies of one crashed directory, which then are recovered by one server each:
//! both logs are the same, positions in WAL included.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::process::{self, unprivileged_ids};
use integration::{
    Cluster, ClusterOptions, Programs, Server, Stop, Wire, on_each_server, real_postgres, say_skipped, skip,
    wait_until,
};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::redo::{copy_of, crash};

const PAGE: usize = 8192;

fn cluster(server: Server, initdb: &[&str], config: &[&str]) -> Cluster {
    let quiet = ["autovacuum = off", "log_checkpoints = off"];
    Cluster::with(ClusterOptions {
        server,
        initdb: initdb.iter().map(ToString::to_string).collect(),
        config: quiet.iter().chain(config).map(ToString::to_string).collect(),
    })
}

/// Relation files' numbers depend on what was made before.
fn without_numbers(lines: Vec<String>) -> Vec<String> {
    let relation = Regex::new(r"base/5/\d+").expect("a valid pattern");
    let temporary = Regex::new(r"xlogtemp\.\d+").expect("a valid pattern");
    let one = |line: &String| {
        let line = relation.replace_all(line, "base/5/N").into_owned();
        temporary.replace_all(&line, "xlogtemp.N").into_owned()
    };
    lines.iter().map(one).collect()
}

/// The file of a table of database postgres.
fn file_of(cluster: &Cluster, session: &mut Wire, table: &str) -> PathBuf {
    let answer = session.query(&format!("SELECT relfilenode FROM pg_class WHERE relname = '{table}'"));
    cluster.data_dir().join("base/5").join(&answer[0])
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).expect("a file to damage");
    file.seek(SeekFrom::Start(offset)).expect("seekable");
    file.write_all(bytes).expect("writable");
}

/// Turns all bits of some bytes.
fn damage(path: &Path, offset: u64, len: usize) {
    let mut bytes = vec![0; len];
    let mut file = fs::File::open(path).expect("a file to damage");
    file.seek(SeekFrom::Start(offset)).expect("seekable");
    file.read_exact(&mut bytes).expect("that long");
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    overwrite(path, offset, &bytes);
}

/// A small file system in the place of a directory; the directory's files move there.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// With `spare` bytes of room. `None` where nobody may mount.
    pub(crate) fn in_place_of(dir: &Path, spare: u64) -> Option<SmallDisk> {
        let aside = dir.with_extension("aside");
        common::file::rename(dir, &aside).expect("own directory");
        fs::create_dir(dir).expect("own directory");
        let used: u64 = files_below(&aside).iter().map(|(_, len)| len.next_multiple_of(4096)).sum();
        let (uid, gid) = unprivileged_ids();
        let options = format!("size={},mode=0700,uid={uid},gid={gid}", used + spare);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir);
        let mounted = process::run(&mut mount).status.success();
        let disk = SmallDisk { at: dir.to_path_buf() };
        let copied = process::run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(dir));
        assert!(copied.status.success(), "{copied:?}");
        mounted.then_some(disk)
    }

    pub(crate) fn grow(&self, size: &str) {
        let mut mount = Command::new("mount");
        let output = process::run(mount.args(["-o", &format!("remount,size={size}")]).arg(&self.at));
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        process::run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

fn files_below(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let metadata = entry.metadata().expect("a file");
        if metadata.is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    found
}

#[test]
fn a_table_that_fills_the_disk() {
    on_each_server(module_path!(), |server| {
        let cluster = cluster(server, &[], &[]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        session.query("CREATE TABLE t (id int, value text)");
        session.query("INSERT INTO t SELECT g, 'kept' FROM generate_series(1, 1000) g");
        session.quit();
        cluster.stop(Stop::Fast);
        let Some(_disk) = SmallDisk::in_place_of(&cluster.data_dir().join("base/5"), 1 << 20) else {
            skip!("a tmpfs cannot be mounted");
        };
        cluster.start();
        let mut session = Wire::connect(&cluster);
        session.query("CREATE TABLE big (id int, value text)");
        let fill = "INSERT INTO big SELECT g, repeat('x', 500) FROM generate_series(1, 10000) g";
        let half_a_page = Regex::new(": wrote only 4096 of 8192 bytes at block [0-9]+").expect("a pattern");
        for _ in 0..2 {
            let answer = without_numbers(session.query(fill));
            // A page may be half written before the disk is full.
            let first = half_a_page.replace(&answer[0], ": No space left on device");
            assert_eq!(first, "ERROR:  53100: could not extend file \"base/5/N\": No space left on device");
            assert_eq!(answer[1..], ["HINT:  Check free disk space."]);
        }
        assert_eq!(session.query("SELECT count(*) FROM big"), ["0", "SELECT 1"]);
        assert_eq!(session.query("SELECT count(*), max(value) FROM t"), ["1000|kept", "SELECT 1"]);
        assert_eq!(session.query("DROP TABLE big"), ["DROP TABLE"]);
        let again = "INSERT INTO t SELECT g, 'more' FROM generate_series(1, 5000) g";
        assert_eq!(session.query(again), ["INSERT 0 5000"]);
        assert_eq!(session.query("CHECKPOINT"), ["CHECKPOINT"]);
        crash(&cluster);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_eq!(session.query("SELECT count(*) FROM t"), ["6000", "SELECT 1"]);
    });
}

/// Commits rows one by one until the session breaks; the number of commits that were acknowledged, and the last answer.
fn insert_until_it_breaks(cluster: &Cluster) -> (u32, Vec<String>) {
    let mut session = Wire::connect(cluster);
    session.query("CREATE TABLE t (id int, value text)");
    let mut acknowledged = 0;
    loop {
        let next = acknowledged + 1;
        let answer = session.query(&format!("INSERT INTO t VALUES ({next}, repeat('x', 5000))"));
        if answer != ["INSERT 0 1"] {
            return (acknowledged, answer);
        }
        acknowledged = next;
    }
}

#[test]
fn wal_that_fills_the_disk() {
    on_each_server(module_path!(), |server| {
        let cluster = cluster(
            server,
            &["--wal-segsize=1"],
            &["max_wal_size = '64MB'", "restart_after_crash = off", "log_min_messages = log"],
        );
        let Some(disk) = SmallDisk::in_place_of(&cluster.data_dir().join("pg_wal"), 4 << 20) else {
            skip!("a tmpfs cannot be mounted");
        };
        cluster.start();
        cluster.mark_log();
        let (acknowledged, answer) = insert_until_it_breaks(&cluster);
        let text = "could not write to file \"pg_wal/xlogtemp.N\": No space left on device";
        assert_eq!(without_numbers(answer), [&format!("PANIC:  53100: {text}"), "EOF"], "{}", cluster.log());
        assert!(acknowledged > 100);
        cluster.wait_for_end();
        let log = without_numbers(cluster.new_log_lines());
        assert!(log.contains(&format!("PANIC:  {text}")), "{log:#?}");
        let status = "was terminated by signal 6: Aborted";
        assert!(log.iter().any(|line| line.contains(status)), "{log:#?}");
        disk.grow("64m");
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let rows = session.query("SELECT count(*), max(id) FROM t");
        // The one without an answer may be there or not.
        let expected = |rows| format!("{rows}|{rows}");
        assert!([expected(acknowledged), expected(acknowledged + 1)].contains(&rows[0]), "{rows:?}");
        assert_eq!(session.query("INSERT INTO t VALUES (0, '')"), ["INSERT 0 1"]);
    });
}

/// A stopped cluster with a table `t` of some pages, and the table's file.
fn with_a_table(server: Server, initdb: &[&str]) -> (Cluster, PathBuf) {
    let cluster = cluster(server, initdb, &[]);
    cluster.start();
    let mut session = Wire::connect(&cluster);
    session.query("CREATE TABLE t (id int, value text)");
    session.query("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 300) g");
    session.query("VACUUM t");
    let path = file_of(&cluster, &mut session, "t");
    session.quit();
    cluster.stop(Stop::Fast);
    (cluster, path)
}

/// What a session says to each query, relation numbers taken out; the last line tells how the log differs from it.
fn conversation(cluster: &Cluster, queries: &[&str]) -> Vec<String> {
    let mut session = Wire::connect(cluster);
    let mut said = Vec::new();
    for query in queries {
        said.push(format!("> {query}"));
        said.extend(without_numbers(session.query(query)));
    }
    said
}

/// Runs a case on both servers: both say the same. Returns it, for what a test wants to be sure of.
#[track_caller]
fn same(case: impl Fn(Server) -> Vec<String>) -> Vec<String> {
    let ours = case(Server::Ours);
    if real_postgres().is_none() {
        say_skipped(module_path!(), "PostgreSQL 15 is not installed, nothing to compare with");
        return ours;
    }
    let real = case(Server::Real);
    assert_eq!(ours, real, "ours: {ours:#?}\nPostgreSQL: {real:#?}");
    ours
}

#[track_caller]
fn has(said: &[String], line: &str) {
    assert!(said.iter().any(|said| said.contains(line)), "no {line:?} in {said:#?}");
}

const LOOK: [&str; 4] =
    ["SELECT count(*) FROM t", "SELECT 1", "INSERT INTO t VALUES (0, 'still')", "SELECT count(*) FROM t"];

#[test]
fn a_file_that_may_not_be_read_or_written() {
    for mode in [0o000, 0o400] {
        let said = same(|server| {
            let (cluster, path) = with_a_table(server, &[]);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
            cluster.start();
            conversation(&cluster, &LOOK)
        });
        has(&said, "ERROR:  42501: could not open file \"base/5/N\": Permission denied");
    }
}

#[test]
fn a_file_that_is_missing_or_short() {
    let said = same(|server| {
        let (cluster, path) = with_a_table(server, &[]);
        fs::remove_file(&path).expect("a file");
        cluster.start();
        conversation(&cluster, &LOOK)
    });
    has(&said, "ERROR:  58P01: could not open file \"base/5/N\": No such file or directory");
    // A whole page less: nobody can tell.
    let said = same(|server| {
        let (cluster, path) = with_a_table(server, &[]);
        let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
        file.set_len(2 * PAGE as u64 + 100).expect("own file");
        cluster.start();
        conversation(&cluster, &LOOK)
    });
    has(&said, "INSERT 0 1");
    // Cut under a running server that knows its rows' places.
    let said = same(|server| {
        let (cluster, path) = with_a_table(server, &[]);
        cluster.start();
        let mut said = Vec::new();
        let mut session = Wire::connect(&cluster);
        said.extend(session.query("BEGIN"));
        said.extend(session.query("DECLARE c CURSOR FOR SELECT id FROM t"));
        said.extend(session.query("FETCH 1 FROM c"));
        let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
        file.set_len(2 * PAGE as u64 + 100).expect("own file");
        said.extend(without_numbers(session.query("MOVE ALL FROM c")));
        said.extend(session.query("ROLLBACK"));
        said.extend(session.query("SELECT 1"));
        said
    });
    has(&said, "ERROR:  XX001: could not read block 2 in file \"base/5/N\": read only 100 of 8192 bytes");
}

const DAMAGED: [&str; 8] = [
    "SELECT count(*) FROM t",
    "SELECT 1",
    "SET ignore_checksum_failure = on",
    "SELECT count(*) FROM t",
    "SET ignore_checksum_failure = off",
    "SET zero_damaged_pages = on",
    "SELECT count(*) FROM t",
    "UPDATE t SET id = id + 1",
];

#[test]
fn a_page_with_a_wrong_checksum() {
    let checksum = Regex::new("calculated checksum [0-9]+ but expected [0-9]+").expect("a pattern");
    // In the middle of a row, in the header, and both.
    for (offset, bytes) in [(5000, &b"q"[..]), (12, &[0xFF; 6]), (0, &[0xAA; PAGE])] {
        let said = same(|server| {
            let (cluster, path) = with_a_table(server, &["-k"]);
            overwrite(&path, PAGE as u64 + offset, bytes);
            cluster.start();
            let mut said = conversation(&cluster, &DAMAGED);
            said.extend(conversation(&cluster, &["VACUUM t", "SELECT count(*) FROM t", "CHECKPOINT"]));
            said.iter()
                .map(|line| checksum.replace(line, "calculated checksum A but expected B").into())
                .collect()
        });
        has(&said, "WARNING:  XX001: page verification failed, calculated checksum A but expected B");
        has(&said, "ERROR:  XX001: invalid page in block 1 of relation base/5/N");
        if offset != 5000 {
            // Otherwise the failure was ignored, and the page is in the pool as it is.
            has(&said, "WARNING:  XX001: invalid page in block 1 of relation base/5/N; zeroing out page");
        }
    }
}

#[test]
fn a_page_that_is_garbage() {
    for bytes in [vec![0xFF; PAGE], vec![0x55; 24], vec![0; PAGE], b"nonsense".repeat(100)] {
        let said = same(|server| {
            let (cluster, path) = with_a_table(server, &[]);
            overwrite(&path, PAGE as u64, &bytes);
            cluster.start();
            let mut said = conversation(&cluster, &DAMAGED);
            said.extend(conversation(&cluster, &["VACUUM t", "SELECT count(*) FROM t", "CHECKPOINT"]));
            said
        });
        if bytes.len() < PAGE || bytes[0] != 0 {
            has(&said, "ERROR:  XX001: invalid page in block 1 of relation base/5/N");
        }
    }
}

#[test]
fn a_page_from_the_future() {
    // Its LSN is beyond the end of WAL, so it cannot be written once a hint makes it dirty.
    let said = same(|server| {
        let cluster = cluster(server, &[], &[]);
        cluster.start();
        let setup = ["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"];
        conversation(&cluster, &setup);
        let path = file_of(&cluster, &mut Wire::connect(&cluster), "t");
        cluster.stop(Stop::Fast);
        overwrite(&path, 0, &[0x00, 0x77, 0x00, 0x00]);
        cluster.start();
        let mut said = conversation(&cluster, &["SELECT count(*) FROM t", "CHECKPOINT", "SELECT 1"]);
        let log = without_numbers(cluster.log().lines().map(str::to_owned).collect());
        let line = log.iter().find(|line| line.contains("xlog flush request")).expect("a reason");
        let varying = Regex::new("^.* ERROR|7700/.*").expect("a pattern");
        said.push(varying.replace_all(line, "").into_owned());
        said
    });
    has(&said, "xlog flush request");
}

/// A crashed cluster of this server with some WAL behind its last checkpoint, and how many rows of `t` were acknowledged.
fn crashed() -> Cluster {
    let cluster =
        cluster(Server::Ours, &["--wal-segsize=1"], &["log_timezone = 'UTC'", "log_line_prefix = ''"]);
    cluster.start();
    let mut session = Wire::connect(&cluster);
    session.query("CREATE TABLE t (id int, value text)");
    session.query("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 1000) g");
    session.query("CHECKPOINT");
    for id in 1..=3 {
        let low = 1000 * id + 1;
        let rows = format!("generate_series({low}, {})", low + 999);
        let answer = session.query(&format!("INSERT INTO t SELECT g, repeat('y', 1000) FROM {rows} g"));
        assert_eq!(answer, ["INSERT 0 1000"]);
    }
    crash(&cluster);
    cluster
}

/// A pattern and its replacement for each thing that differs between two recoveries of the same directory.
fn comparable(log: &str, data_dir: &Path) -> Vec<String> {
    let patterns =
        [(r"\(PID \d+\)", "(PID N)"), (r"(redo done at \S+) .*", "$1"), (r"(checkpoint complete): .*", "$1")];
    let patterns = patterns.map(|(from, to)| (Regex::new(from).expect("a pattern"), to));
    let log = log.replace(&data_dir.display().to_string(), "DATA");
    let lines = log.lines().map(|line| {
        patterns.iter().fold(line.to_owned(), |line, (from, to)| from.replace_all(&line, *to).into_owned())
    });
    let noise = ["starting PostgreSQL", "listening on", "archive recovery", "shutdown request"];
    // Who stops is said in another order each time.
    let stops = ["background worker", "shutting down", "is shut down", "aborting any active"];
    lines.filter(|line| !noise.iter().chain(&stops).any(|noise| line.contains(noise))).collect()
}

/// Starts a server on a directory and, if it comes up, stops it. Its log.
#[track_caller]
fn start_on(cluster: &Cluster, server: Server, data_dir: &Path) -> Vec<String> {
    let programs = Programs::of(server).expect("installed");
    let log = data_dir.with_extension("log");
    let _ = fs::remove_file(&log);
    let run = |args: &[&str]| {
        let mut command = Command::new(programs.path("pg_ctl"));
        process::unprivileged(&mut command);
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir(cluster.socket_dir());
        process::run(command.arg("-D").arg(data_dir).arg("-l").arg(&log).args(args))
    };
    // Reading ahead, PostgreSQL would stumble over files before it comes to the record.
    let options = "-c autovacuum=off -c max_logical_replication_workers=0 -c dynamic_shared_memory_type=mmap \
                   -c log_checkpoints=off -c recovery_prefetch=off";
    let started = run(&["-w", "-t", "60", "-o", options, "start"]).status.success();
    if started {
        let stopped = run(&["-w", "-m", "fast", "stop"]);
        assert!(stopped.status.success(), "{stopped:?}");
    }
    let text = fs::read_to_string(&log).unwrap_or_default();
    let mut lines = comparable(&text, data_dir);
    lines.push(if started { "started" } else { "did not start" }.to_owned());
    lines
}

/// Does something to two copies of a directory and has each server recover one of them. What both logged.
#[track_caller]
fn recovered_by_both(cluster: &Cluster, name: &str, fault: impl Fn(&Path)) -> Vec<String> {
    let recover = |server: Server, name: &str| {
        let data_dir = copy_of(cluster, name);
        fault(&data_dir);
        start_on(cluster, server, &data_dir)
    };
    let ours = recover(Server::Ours, &format!("{name}-ours"));
    if real_postgres().is_none() {
        say_skipped(module_path!(), "PostgreSQL 15 is not installed, nothing to compare with");
        return ours;
    }
    let real = recover(Server::Real, &format!("{name}-real"));
    assert_eq!(ours, real, "{name}:\nours: {ours:#?}\nPostgreSQL: {real:#?}");
    ours
}

/// Segments of WAL that hold something, in order; those made in advance are left out.
fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let dir = data_dir.join("pg_wal");
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter(|path| {
            let number = path.file_name().and_then(|name| name.to_str()).map(|name| &name[8..]);
            let bytes = fs::read(path).expect("a segment");
            // The position that its first page says it is at.
            let at = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
            let name = format!("{:08X}{:08X}", at >> 32, (at & 0xFFFF_FFFF) >> 20);
            number == Some(&name)
        })
        .collect();
    found.sort();
    found
}

/// `pg_control`'s checkpoint and redo positions.
fn checkpoint_of(data_dir: &Path) -> (u64, u64) {
    let bytes = fs::read(data_dir.join("global/pg_control")).expect("a control file");
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    (word(32), word(40))
}

fn segment_at(data_dir: &Path, position: u64) -> PathBuf {
    data_dir.join("pg_wal").join(format!(
        "00000001{:08X}{:08X}",
        position >> 32,
        (position & 0xFFFF_FFFF) >> 20
    ))
}

#[test]
fn damaged_wal_ends_recovery() {
    let cluster = crashed();
    let clean = recovered_by_both(&cluster, "clean", |_| {});
    has(&clean, "redo starts at");
    assert_eq!(clean.last().map(String::as_str), Some("started"));
    let (checkpoint, redo) = checkpoint_of(&cluster.data_dir());
    let after: Vec<PathBuf> = segments(&cluster.data_dir())
        .into_iter()
        .filter(|path| *path > segment_at(&cluster.data_dir(), checkpoint.max(redo)))
        .collect();
    let name = |path: &PathBuf| PathBuf::from("pg_wal").join(path.file_name().expect("a name"));
    let (middle, last) = (name(&after[1]), name(after.last().expect("several segments")));
    // One byte of a record; a record's header; a page's header; a whole page of zeros; the segment's first page.
    for (number, (offset, len)) in
        [(100_003, 1), (300_000, 64), (40 * 8192, 24), (50 * 8192, 8192), (0, 8), (8, 16)]
            .into_iter()
            .enumerate()
    {
        let said = recovered_by_both(&cluster, &format!("middle{number}"), |data_dir| {
            damage(&data_dir.join(&middle), offset, len);
        });
        has(&said, "redo done at");
    }
    for (number, from) in [8192_u64, 50 * 8192, 50 * 8192 + 5000, 123_456].into_iter().enumerate() {
        // A torn tail: zeros from here on.
        recovered_by_both(&cluster, &format!("torn{number}"), |data_dir| {
            let rest = vec![0; (1 << 20) - from as usize];
            overwrite(&data_dir.join(&middle), from, &rest);
        });
    }
    recovered_by_both(&cluster, "end", |data_dir| damage(&data_dir.join(&last), 8192 + 100, 1));
    recovered_by_both(&cluster, "short", |data_dir| {
        let file = fs::OpenOptions::new().write(true).open(data_dir.join(&middle)).expect("a segment");
        file.set_len(500_000).expect("own file");
    });
    let missing = recovered_by_both(&cluster, "missing", |data_dir| {
        fs::remove_file(data_dir.join(&middle)).expect("a segment");
    });
    has(&missing, "redo done at");
    recovered_by_both(&cluster, "unreadable", |data_dir| {
        fs::set_permissions(data_dir.join(&middle), fs::Permissions::from_mode(0o000)).expect("own file");
    });
}

#[test]
fn no_checkpoint_to_begin_with() {
    let cluster = crashed();
    let (checkpoint, redo) = checkpoint_of(&cluster.data_dir());
    let offset = checkpoint & 0xF_FFFF;
    let gone = recovered_by_both(&cluster, "gone", |data_dir| {
        fs::remove_file(segment_at(data_dir, checkpoint)).expect("a segment");
    });
    has(&gone, "LOG:  invalid primary checkpoint record");
    has(&gone, "PANIC:  could not locate a valid checkpoint record");
    // Its checksum, its resource manager, its kind, its length.
    for (number, at) in [24, 17, 16, 0].into_iter().enumerate() {
        let said = recovered_by_both(&cluster, &format!("record{number}"), |data_dir| {
            damage(&segment_at(data_dir, checkpoint), offset + at, 1);
        });
        has(&said, "PANIC:  could not locate a valid checkpoint record");
    }
    if redo < checkpoint {
        let said = recovered_by_both(&cluster, "redo", |data_dir| {
            damage(&segment_at(data_dir, redo), redo & 0xF_FFFF, 24);
        });
        has(&said, "PANIC:  could not find redo location");
    }
    recovered_by_both(&cluster, "no-wal", |data_dir| {
        fs::remove_dir_all(data_dir.join("pg_wal")).expect("a directory");
    });
    recovered_by_both(&cluster, "empty-wal", |data_dir| {
        fs::remove_dir_all(data_dir.join("pg_wal")).expect("a directory");
        fs::create_dir(data_dir.join("pg_wal")).expect("own directory");
        let (uid, gid) = unprivileged_ids();
        chown(data_dir.join("pg_wal"), Some(uid), Some(gid)).expect("own directory");
    });
}

/// Writes pg_control with a checksum that is right again.
fn change_control(data_dir: &Path, change: impl Fn(&mut Vec<u8>)) {
    let path = data_dir.join("global/pg_control");
    let mut bytes = fs::read(&path).expect("a control file");
    change(&mut bytes);
    overwrite(&path, 0, &bytes);
}

#[test]
fn a_damaged_control_file() {
    let cluster = crashed();
    let control = |data_dir: &Path| data_dir.join("global/pg_control");
    let said = recovered_by_both(&cluster, "crc", |data_dir| damage(&control(data_dir), 60, 1));
    has(&said, "FATAL:  incorrect checksum in control file");
    for (name, len) in [("short", 100), ("empty", 0), ("page", 4096), ("long", 9000)] {
        recovered_by_both(&cluster, name, |data_dir| {
            let file = fs::OpenOptions::new().write(true).open(control(data_dir)).expect("a file");
            file.set_len(len).expect("own file");
        });
    }
    let said = recovered_by_both(&cluster, "none", |data_dir| {
        fs::remove_file(control(data_dir)).expect("a file");
    });
    has(&said, "could not find the database system");
    recovered_by_both(&cluster, "zeros", |data_dir| {
        change_control(data_dir, |bytes| bytes.fill(0));
    });
    // Version, catalog version, and the version of another byte order.
    for (name, at, value) in
        [("version", 8, 1201_u32), ("catalog", 12, 1), ("swapped", 8, 1300_u32.swap_bytes())]
    {
        recovered_by_both(&cluster, name, |data_dir| {
            change_control(data_dir, |bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes()));
        });
    }
}

#[test]
fn files_that_recovery_needs() {
    let cluster = crashed();
    let without = |file: &str| {
        recovered_by_both(&cluster, &file.replace('/', "-"), |data_dir| {
            let path = data_dir.join(file);
            if path.is_dir() {
                fs::remove_dir_all(path).expect("a directory");
            } else {
                fs::remove_file(path).expect("a file");
            }
        })
    };
    for file in
        ["pg_xact/0000", "pg_multixact/offsets/0000", "pg_subtrans/0000", "PG_VERSION", "global", "pg_xact"]
    {
        without(file);
    }
    let table = files_below(&cluster.data_dir().join("base/5"))
        .into_iter()
        .filter(|(path, _)| {
            path.file_name().is_some_and(|name| name.len() == 5 && name.as_encoded_bytes()[0] == b'1')
        })
        .max_by_key(|(_, len)| *len)
        .expect("a table");
    let table = table.0.strip_prefix(cluster.data_dir()).expect("in it").to_path_buf();
    // Replay makes the file again, and complains about pages that nothing explains.
    let said = without(&table.display().to_string());
    has(&said, "redo starts at");
    recovered_by_both(&cluster, "table-cut", |data_dir| {
        let file = fs::OpenOptions::new().write(true).open(data_dir.join(&table)).expect("a table");
        file.set_len(3 * PAGE as u64).expect("own file");
    });
    recovered_by_both(&cluster, "table-unreadable", |data_dir| {
        fs::set_permissions(data_dir.join(&table), fs::Permissions::from_mode(0o000)).expect("own file");
    });
    recovered_by_both(&cluster, "table-damaged", |data_dir| {
        overwrite(&data_dir.join(&table), 10 * PAGE as u64, &[0xFF; 100]);
    });
}

#[test]
fn killed_again_and_again_while_it_recovers() {
    let cluster = crashed();
    let rows = 4000;
    for round in 0..9_u32 {
        // It stands still in its first line; then it goes on a little further each time.
        let held = cluster.start_held();
        cluster.signal(held.pid, Signal::SIGCONT);
        for _ in 0..round / 3 {
            integration::pause();
        }
        let title = ["postgres: startup", "postgres: checkpointer", "postgres: writer"][round as usize % 3];
        match cluster.find_process(title) {
            Some(pid) if round != 5 => {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
                // It gives up, or is open: already, or again.
                let ended = || cluster.processes().is_empty();
                let open = || cluster.pid_file_line(8).is_some_and(|line| line.trim() == "ready");
                wait_until("it has given up or is open", || ended() || open());
            }
            _ => {}
        }
        if !cluster.processes().is_empty() {
            crash(&cluster);
        }
        held.finish_log();
    }
    cluster.start();
    let mut session = Wire::connect(&cluster);
    assert_eq!(
        session.query("SELECT count(*), max(id) FROM t"),
        [format!("{rows}|{rows}"), "SELECT 1".into()]
    );
    assert_eq!(session.query("INSERT INTO t VALUES (0, '')"), ["INSERT 0 1"]);
}
