//! Torture: clients that remember what was acknowledged, and a server whose processes are killed under them.
//!
//! Each cycle lets some clients write for a moment, kills a process at random (or all of them, and then damages what
//! may be damaged: the bytes behind the last complete WAL record), waits until the server is back, and compares
//! each client's rows with its memory. A client has rows of its own, so it knows them all; of a transaction whose COMMIT
//! got no answer it knows that either all or nothing of it happened.
//!
//! ```text
//! memory:   the rows as of the last acknowledged commit
//! in doubt: the rows as they are if the unanswered commit happened
//! after each restart the table shows the one or the other, for each client, whole
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::{Cluster, DEADLINE, pause, procfs, wait_until};

/// How hard, how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Kills, each followed by a recovery and a comparison.
    pub cycles: u32,
    /// Clients that write at the same time.
    pub clients: u32,
    /// Makes the same choices again, as far as they are the harness's.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Cycles that were run.
    pub cycles: u32,
    /// Commits that were acknowledged, all of them checked.
    pub commits: u64,
    /// Commits without an answer.
    pub in_doubt: u64,
    /// Clients whose rows were neither the one nor the other.
    pub losses: u64,
    /// Times that all processes were killed and the end of WAL was overwritten.
    pub torn_tails: u32,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} cycles, {} commits checked, {} in doubt, {} torn tails, {} losses",
            self.cycles, self.commits, self.in_doubt, self.torn_tails, self.losses
        )
    }
}

/// A client's rows: id to value.
type Rows = BTreeMap<i64, String>;

/// A client and what it remembers.
pub(crate) struct Writer {
    number: u32,
    rng: fastrand::Rng,
    next_id: i64,
    rows: Rows,
    in_doubt: Option<Rows>,
}

/// The table that all clients share.
pub(crate) const TABLE: &str = "CREATE TABLE torture (client int, id bigint, value text)";

/// Tortures a started cluster. Progress goes to `say`, a line a cycle.
///
/// # Panics
/// If the server does not come back.
pub fn run(cluster: &Cluster, options: Options, mut say: impl FnMut(&str)) -> Report {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    cluster.connect().batch_execute(TABLE).unwrap_or_else(|e| panic!("{TABLE}: {e:?}"));
    let mut writers: Vec<Writer> =
        (0..options.clients).map(|number| Writer::new(number, rng.u64(..))).collect();
    let mut report = Report::default();
    while report.cycles < options.cycles {
        report.cycles += 1;
        let commits = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let config = cluster.client_config();
        let what = thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write(&config, &commits, &stop));
            }
            let wanted = u64::from(rng.u32(20..200));
            wait_for_work(&commits, wanted);
            let what = kill_something(cluster, &mut rng, &mut report);
            stop.store(true, Relaxed);
            what
        });
        come_back(cluster);
        report.commits += commits.load(Relaxed);
        report.in_doubt += writers.iter().filter(|writer| writer.is_in_doubt()).count() as u64;
        let lost: Vec<String> = writers.iter_mut().filter_map(|writer| writer.check(cluster).err()).collect();
        report.losses += lost.len() as u64;
        say(&format!("cycle {}: killed {what}, {} commits", report.cycles, commits.load(Relaxed)));
        lost.iter().for_each(|loss| say(loss));
    }
    report
}

/// Whether a crash of the server, or its end, explains the error.
fn is_of_a_restart(error: &postgres::Error) -> bool {
    // Class 57P: operator intervention.
    error.code().is_none_or(|code| code.code().starts_with("57P"))
}

/// Waits until so much is acknowledged; not for ever, as the server may have come to grief.
pub(crate) fn wait_for_work(commits: &AtomicU64, wanted: u64) {
    let began = Instant::now();
    while commits.load(Relaxed) < wanted && began.elapsed() < DEADLINE {
        pause();
    }
}

/// Kills one process or all; says which.
fn kill_something(cluster: &Cluster, rng: &mut fastrand::Rng, report: &mut Report) -> String {
    let processes = cluster.processes();
    let victim = &processes[rng.usize(..processes.len())];
    if rng.u8(..3) == 0 {
        // The postmaster first, so that it has no time to react to the others' deaths.
        cluster.signal_postmaster(Signal::SIGKILL);
        cluster.wait_for_end();
        processes.iter().for_each(|process| kill(process.pid));
        wait_until("all processes are gone", || cluster.processes().is_empty());
        if tear_tail(cluster, rng) {
            report.torn_tails += 1;
        }
        return "all".to_owned();
    }
    let title = victim.title.clone();
    kill(victim.pid);
    wait_until("the killed process is gone", || !procfs::is_alive(victim.pid));
    title
}

fn kill(pid: i32) {
    // It may have ended meanwhile.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}

/// Waits until the server accepts sessions again, starting it if it is gone for good.
///
/// # Panics
/// If it does not.
pub fn come_back(cluster: &Cluster) {
    let began = Instant::now();
    loop {
        // A session may go on without its postmaster and would keep a new one out.
        let running = procfs::is_alive(cluster.postmaster_pid());
        if !running {
            wait_until("the last session has left", || cluster.processes().is_empty());
            cluster.start();
        }
        if let Ok(mut client) = cluster.try_connect()
            && client.simple_query("SELECT 1").is_ok()
        {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "the server did not come back\n{}", cluster.log());
        pause();
    }
}

/// Overwrites what follows the last complete WAL record, as a write that power cut short may leave it. Nothing
/// acknowledged can be there. Needs `pg_waldump`; false without it.
fn tear_tail(cluster: &Cluster, rng: &mut fastrand::Rng) -> bool {
    let Some((segment, offset)) = end_of_wal(cluster) else { return false };
    let path = cluster.data_dir().join("pg_wal").join(segment);
    let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) else { return false };
    let garbage: Vec<u8> = (0..rng.usize(1..600)).map(|_| rng.u8(..)).collect();
    // Not into the next page: its header was never written by this server, but a later one may count on zeros.
    let room = 8192 - offset as usize % 8192;
    file.write_all_at(&garbage[..garbage.len().min(room)], offset).is_ok()
}

/// Where the last complete record ends: segment file and offset in it.
pub fn end_of_wal(cluster: &Cluster) -> Option<(String, u64)> {
    let control = cluster.run(cluster.client("pg_controldata")?.arg(cluster.data_dir()));
    let text = String::from_utf8_lossy(&control.stdout).into_owned();
    let value =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
    let redo = value("Latest checkpoint's REDO location:")?;
    let wal_dir = cluster.data_dir().join("pg_wal");
    let dump = cluster.run(cluster.client("pg_waldump")?.arg("-p").arg(wal_dir).args(["-q", "-s", &redo]));
    // "error in WAL record at 0/1234: invalid record length at 0/1270: wanted 24, got 0"
    let error = String::from_utf8_lossy(&dump.stderr).into_owned();
    let end = error.split(" at ").nth(2)?.split(':').next()?.trim().to_owned();
    let lsn: common::Lsn = end.parse().ok()?;
    const SEGMENT: u64 = 16 << 20;
    let number = lsn.0 / SEGMENT;
    Some((format!("00000001{:08X}{:08X}", number >> 8, number & 0xFF), lsn.0 % SEGMENT))
}

impl Writer {
    /// A client without rows.
    pub(crate) fn new(number: u32, seed: u64) -> Writer {
        let rng = fastrand::Rng::with_seed(seed);
        Writer { number, rng, next_id: 0, rows: Rows::new(), in_doubt: None }
    }

    /// Has its last commit got no answer?
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.is_some()
    }

    /// Writes until told to stop or the connection breaks.
    pub(crate) fn write(&mut self, config: &Config, commits: &AtomicU64, stop: &AtomicBool) {
        let Ok(mut client) = config.connect(NoTls) else { return };
        while !stop.load(Relaxed) {
            match self.transaction(&mut client) {
                Ok(()) => {
                    commits.fetch_add(1, Relaxed);
                }
                Err(_) => return,
            }
        }
    }

    /// One transaction. An error is a broken connection: nothing here fails on a healthy server.
    fn transaction(&mut self, client: &mut Client) -> Result<(), postgres::Error> {
        let mut after = self.rows.clone();
        client.batch_execute("BEGIN")?;
        for _ in 0..self.rng.u8(1..6) {
            self.change(client, &mut after)?;
        }
        if self.rng.u8(..4) == 0 {
            let mut undone = after.clone();
            client.batch_execute("SAVEPOINT s")?;
            self.change(client, &mut undone)?;
            client.batch_execute("ROLLBACK TO SAVEPOINT s")?;
        }
        if self.rng.u8(..8) == 0 {
            client.batch_execute("ROLLBACK")?;
            return Ok(());
        }
        self.in_doubt = Some(after);
        client.batch_execute("COMMIT")?;
        if let Some(rows) = self.in_doubt.take() {
            self.rows = rows;
        }
        Ok(())
    }

    fn change(&mut self, client: &mut Client, rows: &mut Rows) -> Result<(), postgres::Error> {
        let client_number = self.number;
        let value = "x".repeat(self.rng.usize(..200)) + &self.rng.u32(..).to_string();
        let known: Vec<i64> = rows.keys().copied().collect();
        let some = (!known.is_empty()).then(|| known[self.rng.usize(..known.len())]);
        match (some, self.rng.u8(..4)) {
            (Some(id), 0) => {
                rows.insert(id, value.clone());
                client.batch_execute(&format!(
                    "UPDATE torture SET value = '{value}' WHERE client = {client_number} AND id = {id}"
                ))
            }
            (Some(id), 1) => {
                rows.remove(&id);
                client.batch_execute(&format!(
                    "DELETE FROM torture WHERE client = {client_number} AND id = {id}"
                ))
            }
            _ => {
                self.next_id += 1;
                rows.insert(self.next_id, value.clone());
                client.batch_execute(&format!(
                    "INSERT INTO torture VALUES ({client_number}, {}, '{value}')",
                    self.next_id
                ))
            }
        }
    }

    /// What the table says. A process killed in the middle of a write dies when that ends, which may be after the server has
    /// answered somebody: sessions that the restart then breaks ask again.
    fn ask(&self, cluster: &Cluster) -> Result<Vec<SimpleQueryMessage>, postgres::Error> {
        let sql = format!("SELECT id, value FROM torture WHERE client = {}", self.number);
        let began = Instant::now();
        loop {
            match cluster.try_connect().and_then(|mut client| client.simple_query(&sql)) {
                Err(error) if is_of_a_restart(&error) && began.elapsed() < DEADLINE => come_back(cluster),
                answer => return answer,
            }
        }
    }

    /// Compares the table with the memory, and settles what was in doubt.
    pub(crate) fn check(&mut self, cluster: &Cluster) -> Result<(), String> {
        let rows = self.ask(cluster).map_err(|e| format!("client {}: {e:?}", self.number))?;
        let mut found = Rows::new();
        for row in rows {
            let SimpleQueryMessage::Row(row) = row else { continue };
            let id = row.get(0).and_then(|id| id.parse().ok()).unwrap_or(-1);
            if found.insert(id, row.get(1).unwrap_or("").to_owned()).is_some() {
                return Err(format!("client {}: row {id} is there twice", self.number));
            }
        }
        let in_doubt = self.in_doubt.take();
        if in_doubt.as_ref() == Some(&found) {
            self.rows = found;
            return Ok(());
        }
        if found == self.rows {
            return Ok(());
        }
        let missing: Vec<_> = self.rows.keys().filter(|id| !found.contains_key(id)).collect();
        let extra: Vec<_> = found.keys().filter(|id| !self.rows.contains_key(id)).collect();
        let number = self.number;
        let report = format!(
            "LOSS: client {number} remembers {} rows and finds {}; missing {missing:?}, unexpected {extra:?}",
            self.rows.len(),
            found.len()
        );
        self.rows = found;
        Err(report)
    }
}
