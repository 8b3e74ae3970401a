//! The real server as the oracle of redo: after a crash under load, this server recovers one copy of the directory and
//! PostgreSQL 15 the other; then the pages of every user table are the same, outside hint bits and free space.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use integration::process::{self, unprivileged_ids};
use integration::{Cluster, ClusterOptions, Server, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

const PAGE: usize = 8192;
/// Bits of t_infomask that a reader may set: whether xmin and xmax are committed or aborted.
const HINTS: u16 = 0x0F00;

/// A page with everything set to zero that two recoveries may leave differently.
fn masked(page: &[u8]) -> Vec<u8> {
    let mut page = page.to_vec();
    let word = |page: &[u8], at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let (lower, upper) = (word(&page, 12) as usize, word(&page, 14) as usize);
    if lower < 24 || upper > PAGE || lower > upper {
        return page;
    }
    // Checksum, flags that are hints (free lines, page full), the prune hint.
    page[8..10].fill(0);
    page[10] &= !0x03;
    page[20..24].fill(0);
    page[lower..upper].fill(0);
    for item in (24..lower).step_by(4) {
        let raw = u32::from_le_bytes([page[item], page[item + 1], page[item + 2], page[item + 3]]);
        let (offset, state, length) = ((raw & 0x7FFF) as usize, raw >> 15 & 3, (raw >> 17) as usize);
        if state != 1 || offset + length > PAGE {
            continue;
        }
        let mask = word(&page, offset + 20) & !HINTS;
        page[offset + 20..offset + 22].copy_from_slice(&mask.to_le_bytes());
        // Alignment bytes behind a row.
        let end = (offset + length).next_multiple_of(8).min(PAGE);
        page[offset + length..end].fill(0);
    }
    page
}

/// Main forks of user tables, those in tablespaces too: file name to pages.
fn tables(data_dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut folders = vec![data_dir.join("base/5")];
    let elsewhere = fs::read_dir(data_dir.join("pg_tblspc")).expect("links").flatten();
    folders.extend(elsewhere.map(|entry| entry.path().join("PG_15_202209061/5")));
    let mut files = BTreeMap::new();
    for entry in folders.iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.split('.').next().and_then(|number| number.parse::<u32>().ok());
        if number.is_some_and(|number| number >= 16384) {
            files.insert(name, fs::read(entry.path()).expect("a file"));
        }
    }
    files
}

/// Two recoveries of one directory: file by file, page by page. Returns how many pages.
#[track_caller]
pub(crate) fn compare(ours: &Path, real: &Path, seed: u64) -> usize {
    let (ours, real) = (tables(ours), tables(real));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&real), "seed {seed}");
    let mut pages = 0;
    for (name, bytes) in &ours {
        let other = &real[name];
        assert_eq!(bytes.len(), other.len(), "size of {name}, seed {seed}");
        for (number, (a, b)) in bytes.chunks(PAGE).zip(other.chunks(PAGE)).enumerate() {
            pages += 1;
            let (a, b) = (masked(a), masked(b));
            if a != b {
                let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(0);
                panic!(
                    "{name} block {number} differs from byte {at} on: ours {:02x?}, PostgreSQL {:02x?}; seed {seed}",
                    &a[at..(at + 16).min(PAGE)],
                    &b[at..(at + 16).min(PAGE)]
                );
            }
        }
    }
    pages
}

/// What replay does not get to know, besides hints: which command of a transaction has written a row, and whether a page
/// was found to be all visible.
fn replayed(page: &[u8]) -> Vec<u8> {
    const FROZEN: u16 = 0x0300;
    const COMBINED_COMMANDS: u16 = 0x0020;
    const ALL_VISIBLE: u8 = 0x04;
    let frozen = |page: &[u8], at: usize| u16::from_le_bytes([page[at], page[at + 1]]) & FROZEN == FROZEN;
    let original = page;
    let mut page = masked(page);
    let lower = u16::from_le_bytes([page[12], page[13]]) as usize;
    // What was never written to, or only made, is no page yet.
    if lower <= 24 {
        return vec![0; page.len()];
    }
    page[10] &= !ALL_VISIBLE;
    for item in (24..lower.min(PAGE)).step_by(4) {
        let raw = u32::from_le_bytes([page[item], page[item + 1], page[item + 2], page[item + 3]]);
        let (offset, state, length) = ((raw & 0x7FFF) as usize, raw >> 15 & 3, (raw >> 17) as usize);
        if state != 1 || offset + length > PAGE {
            continue;
        }
        page[offset + 8..offset + 12].fill(0);
        let mask = u16::from_le_bytes([page[offset + 20], page[offset + 21]]) & !COMBINED_COMMANDS;
        let mask = if frozen(original, offset + 20) { mask | FROZEN } else { mask };
        page[offset + 20..offset + 22].copy_from_slice(&mask.to_le_bytes());
    }
    page
}

/// A primary and its standby, both stopped after a checkpoint: the same for what replay makes of each record. Pages at a
/// file's end that nothing was written to may be missing.
#[track_caller]
pub(crate) fn compare_pair(primary: &Path, standby: &Path, seed: u64) -> usize {
    let present = |dir: &Path| {
        let files = tables(dir).into_iter().filter(|(_, bytes)| !bytes.is_empty());
        files.collect::<BTreeMap<_, _>>()
    };
    let (primary, standby) = (present(primary), present(standby));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&primary), names(&standby), "seed {seed}");
    let mut pages = 0;
    for (name, bytes) in &primary {
        let other = &standby[name];
        let nothing = vec![0; PAGE];
        for number in 0..bytes.len().max(other.len()).div_ceil(PAGE) {
            pages += 1;
            let page = |file: &[u8]| {
                let range = number * PAGE..(number + 1) * PAGE;
                replayed(file.get(range).unwrap_or(&nothing))
            };
            let (a, b) = (page(bytes), page(other));
            if a != b {
                let at = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(0);
                panic!(
                    "{name} block {number} differs from byte {at} on: primary {:02x?}, standby {:02x?}; seed {seed}",
                    &a[at..(at + 16).min(PAGE)],
                    &b[at..(at + 16).min(PAGE)]
                );
            }
        }
    }
    pages
}

/// A session that does one thing after the other until its connection breaks.
pub(crate) fn workload(config: &postgres::Config, number: u32, mut rng: fastrand::Rng) {
    let Ok(mut client) = config.connect(postgres::NoTls) else { return };
    let mine = format!("w{number}");
    let create = format!("CREATE TABLE IF NOT EXISTS {mine} (id int, value text, amount numeric)");
    if client.batch_execute(&create).is_err() {
        return;
    }
    const PREPARE: u8 = 13;
    const COMMIT_PREPARED: u8 = 100;
    const ROLLBACK_PREPARED: u8 = 101;
    let mut prepared = false;
    loop {
        let text = "y".repeat(rng.usize(..300));
        let (low, count) = (rng.u32(..2000), rng.u32(1..400));
        let high = low + count;
        // With a transaction prepared, nothing that would wait for it.
        let step =
            if prepared { [0, COMMIT_PREPARED, ROLLBACK_PREPARED][rng.usize(..3)] } else { rng.u8(..15) };
        let sql = match step {
            0..=3 => format!(
                "INSERT INTO {mine} SELECT g, '{text}' || g, g * 1.5 FROM generate_series({low}, {high}) g"
            ),
            4 | 5 => format!("UPDATE {mine} SET value = value || 'z' WHERE id BETWEEN {low} AND {high}"),
            6 => format!("UPDATE {mine} SET amount = amount + 1 WHERE id BETWEEN {low} AND {high}"),
            7 => format!("DELETE FROM {mine} WHERE id BETWEEN {low} AND {high}"),
            8 => format!("BEGIN; SELECT id FROM {mine} WHERE id < {low} FOR UPDATE; COMMIT"),
            9 => format!(
                "BEGIN; INSERT INTO shared VALUES ({low}); SAVEPOINT s; UPDATE shared SET id = id + 1 WHERE id = {low}; \
                 ROLLBACK TO s; DELETE FROM shared WHERE id = {high}; COMMIT"
            ),
            10 => format!("BEGIN; DELETE FROM {mine} WHERE id < {low}; ROLLBACK"),
            11 => format!("VACUUM {mine}"),
            12 => format!("BEGIN; SELECT 1 FROM shared WHERE id < {low} FOR SHARE; COMMIT"),
            // What a crash finds prepared is there in both recoveries.
            PREPARE => format!(
                "BEGIN; INSERT INTO {mine} VALUES ({low}, '{text}'); SAVEPOINT s; DELETE FROM {mine} WHERE id = {high}; \
                 SELECT 1 FROM shared WHERE id < 10 FOR SHARE; PREPARE TRANSACTION '{mine}'"
            ),
            COMMIT_PREPARED => format!("COMMIT PREPARED '{mine}'"),
            ROLLBACK_PREPARED => format!("ROLLBACK PREPARED '{mine}'"),
            _ if rng.u8(..6) == 0 => format!("TRUNCATE {mine}"),
            _ if rng.u8(..6) == 0 => format!("DROP TABLE {mine}; {create}"),
            _ if rng.u8(..4) == 0 => "CHECKPOINT".to_owned(),
            _ => format!("VACUUM FREEZE {mine}"),
        };
        match client.batch_execute(&sql) {
            Ok(()) if step == PREPARE => prepared = true,
            Ok(()) => prepared &= step == 0,
            // Rows of `shared` are fought for; only a lost connection ends the work.
            Err(_) if client.is_closed() => return,
            Err(_) => {
                if client.batch_execute("ROLLBACK").is_err() {
                    return;
                }
            }
        }
    }
}

/// Kills everything at once.
pub(crate) fn crash(cluster: &Cluster) {
    let processes = cluster.processes();
    cluster.signal_postmaster(Signal::SIGKILL);
    for process in processes {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    cluster.wait_for_end();
    wait_until("all processes are gone", || cluster.processes().is_empty());
}

/// A copy of the data directory that a postmaster can be started on.
pub(crate) fn copy_of(cluster: &Cluster, name: &str) -> std::path::PathBuf {
    let target = cluster.path(name);
    let status = process::run(Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(&target)).status;
    assert!(status.success());
    let _ = fs::remove_file(target.join("postmaster.pid"));
    let (uid, gid) = unprivileged_ids();
    std::os::unix::fs::chown(&target, Some(uid), Some(gid)).expect("own copy");
    target
}

/// Starts a server on a copy, waits until it has recovered, and stops it.
#[track_caller]
pub(crate) fn recover(cluster: &Cluster, server: Server, data_dir: &Path) {
    let programs = integration::Programs::of(server).expect("installed");
    let log = data_dir.with_extension("log");
    let mut command = cluster.command("initdb");
    let pg_ctl = programs.path("pg_ctl");
    let envs: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = Command::new(pg_ctl);
    process::unprivileged(&mut command);
    command
        .env_clear()
        .envs(envs.into_iter().filter_map(|(k, v)| Some((k, v?))))
        .current_dir(cluster.socket_dir());
    let options = "-c autovacuum=off -c max_logical_replication_workers=0 -c dynamic_shared_memory_type=mmap";
    command.arg("-D").arg(data_dir).args(["-w", "-t", "60", "-o", options, "-l"]).arg(&log).arg("start");
    let shown = || fs::read_to_string(&log).unwrap_or_default();
    let output = process::run(&mut command);
    assert!(output.status.success(), "{server:?} does not recover: {output:?}\n{}", shown());
    let mut stop = Command::new(programs.path("pg_ctl"));
    process::unprivileged(&mut stop);
    let output = process::run(stop.arg("-D").arg(data_dir).args(["-w", "-m", "fast", "stop"]));
    assert!(output.status.success(), "{output:?}\n{}", shown());
}

/// Settings of each cluster of these tests.
const ALWAYS: [&str; 2] = ["autovacuum = off", "max_prepared_transactions = 5"];

#[track_caller]
fn check(initdb: &[&str], config: &[&str]) {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PGANATOMY_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = if std::env::var("PGANATOMY_SERVER").is_ok_and(|s| s == "real") {
        Server::Real
    } else {
        Server::Ours
    };
    let cluster = Cluster::with(ClusterOptions {
        server,
        initdb: initdb.iter().map(ToString::to_string).collect(),
        config: config.iter().copied().chain(ALWAYS).map(ToString::to_string).collect(),
    });
    cluster.start();
    cluster.connect().batch_execute("CREATE TABLE shared (id int)").expect("a table");
    let client_config = cluster.client_config();
    let bytes_wanted = u64::from(rng.u32(8..24)) << 20;
    thread::scope(|scope| {
        for number in 0..4 {
            let rng = rng.fork();
            let config = &client_config;
            scope.spawn(move || workload(config, number, rng));
        }
        let mut watcher = cluster.connect();
        let position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8";
        let start: i64 = watcher.query_one(position, &[]).map_or(0, |row| row.get(0));
        wait_until("enough was written", || {
            let now: i64 = watcher.query_one(position, &[]).map_or(i64::MAX, |row| row.get(0));
            (now - start) as u64 >= bytes_wanted
        });
        crash(&cluster);
    });
    let (ours, real) = (copy_of(&cluster, "ours"), copy_of(&cluster, "real"));
    recover(&cluster, Server::Real, &real);
    recover(&cluster, server, &ours);
    let pages = compare(&ours, &real, seed);
    println!("{pages} pages are the same");
    assert!(pages > 0);
}

#[test]
fn pages_are_those_of_postgresql() {
    check(&[], &[]);
}

#[test]
fn with_checksums() {
    check(&["-k"], &["wal_log_hints = on"]);
}

#[test]
fn with_compressed_images() {
    check(&[], &["wal_compression = on", "checkpoint_timeout = '30s'"]);
}

#[test]
fn with_a_small_pool() {
    check(&["-k"], &["shared_buffers = '1MB'", "wal_buffers = '64kB'"]);
}
