//! Standbys for tests: made by PostgreSQL's `pg_basebackup -R`, fed directly or through a proxy that cuts their connection,
//! and compared with their primary.
//!
//! A [`Standby`] says how one is made; [`caught_up`] is how long a test waits for it. Nothing here knows how fast anything
//! is.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use common::Lsn;
use integration::archive;
use integration::{
    Cluster, DEADLINE, Server, Wire, on_each_server, pause, real_postgres, skip, wait_for, wait_until,
};

/// A test on each server. PostgreSQL's programs are needed in any case.
#[track_caller]
pub(crate) fn on_each(what: &str, test: impl Fn(Server)) {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed: {what}");
    }
    on_each_server(what, test);
}

/// A started primary with segments of 1 MB that does not archive.
#[track_caller]
pub(crate) fn primary(server: Server, config: &[&str]) -> Cluster {
    primary_with(server, &[], config)
}

/// The same with more arguments for initdb.
#[track_caller]
pub(crate) fn primary_with(server: Server, initdb: &[&str], config: &[&str]) -> Cluster {
    let cluster = archive::archiving_with(server, initdb, &["archive_mode = off"]);
    config.iter().for_each(|line| cluster.append_config(line));
    cluster.start();
    cluster
}

/// How a standby is made.
#[derive(Clone, Debug)]
pub(crate) struct Standby<'a> {
    /// Whose server; the primary's unless said otherwise.
    pub(crate) server: Server,
    /// Its `application_name`.
    pub(crate) name: &'a str,
    /// Where it finds its primary: that one's port or a proxy's.
    pub(crate) port: u16,
    /// A slot that is created for it.
    pub(crate) slot: Option<&'a str>,
    /// Lines of postgresql.conf.
    pub(crate) config: &'a [&'a str],
}

impl<'a> Standby<'a> {
    /// With the primary's server, directly connected, without a slot.
    pub(crate) fn of(primary: &Cluster, name: &'a str) -> Standby<'a> {
        Standby { server: primary.server(), name, port: primary.port(), slot: None, config: &[] }
    }

    /// A copy of the primary, not started.
    #[track_caller]
    pub(crate) fn made(&self, primary: &Cluster) -> Cluster {
        let standby = Cluster::without_data(self.server, archive::folders());
        let mut program = primary.client("pg_basebackup").expect("asked for before");
        program.arg("-D").arg(standby.data_dir());
        program.args(["-R", "-c", "fast", "-X", "stream", "--no-sync"]);
        program.args(["-d", &conninfo(primary.port(), self.name)]);
        if let Some(slot) = self.slot {
            program.args(["-C", "-S", slot]);
        }
        let output = primary.run(&mut program);
        assert!(output.status.success(), "pg_basebackup: {output:?}\n{}", primary.log());
        standby.append_own_config();
        // Who cannot connect tries again soon.
        standby.append_config("wal_retrieve_retry_interval = 100ms");
        standby.append_config("wal_receiver_status_interval = 1s");
        self.config.iter().for_each(|line| standby.append_config(line));
        if self.port != primary.port() {
            set_auto(&standby, "primary_conninfo", &conninfo(self.port, self.name));
        }
        standby
    }

    /// A copy of the primary that follows it.
    #[track_caller]
    pub(crate) fn started(&self, primary: &Cluster) -> Cluster {
        let standby = self.made(primary);
        standby.start();
        standby
    }
}

/// A standby of the same server that follows its primary.
#[track_caller]
pub(crate) fn standby(primary: &Cluster, name: &str, config: &[&str]) -> Cluster {
    Standby { config, ..Standby::of(primary, name) }.started(primary)
}

/// How the title of the process begins that receives.
pub(crate) fn receiver_title(cluster: &Cluster) -> &'static str {
    match cluster.server() {
        Server::Ours => "postgres: wal receiver process",
        Server::Real => "postgres: walreceiver",
    }
}

/// How the titles of processes begin that send.
pub(crate) fn sender_title(cluster: &Cluster) -> &'static str {
    match cluster.server() {
        Server::Ours => "postgres: wal sender process",
        Server::Real => "postgres: walsender",
    }
}

/// How a standby finds who listens there.
pub(crate) fn conninfo(port: u16, name: &str) -> String {
    format!("host=127.0.0.1 port={port} user=postgres application_name={name}")
}

/// Sets a setting as ALTER SYSTEM would, in place of what `pg_basebackup -R` wrote. It counts from the next start or
/// reload.
pub(crate) fn set_auto(cluster: &Cluster, name: &str, value: &str) {
    let path = cluster.data_dir().join("postgresql.auto.conf");
    let text = fs::read_to_string(path).unwrap_or_default();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(name)).collect();
    let line = format!("{name} = '{}'", value.replace('\'', "''"));
    cluster.write_file("postgresql.auto.conf", &format!("{}\n{line}\n", kept.join("\n")));
}

/// Tells the postmaster to read its files again.
pub(crate) fn reload(cluster: &Cluster) {
    cluster.signal_postmaster(nix::sys::signal::Signal::SIGHUP);
}

/// Adds a line to postgresql.conf and has it read.
pub(crate) fn reload_with(cluster: &Cluster, line: &str) {
    cluster.append_config(line);
    reload(cluster);
}

/// Runs statements that must not fail.
#[track_caller]
pub(crate) fn succeeds(session: &mut Wire, sql: &str) {
    let answer = session.query(sql);
    let failed = |line: &String| line.starts_with("ERROR") || line.starts_with("FATAL") || line == "EOF";
    assert!(!answer.iter().any(failed), "{sql}: {answer:?}");
}

/// The only value of a query.
#[track_caller]
pub(crate) fn one(session: &mut Wire, sql: &str) -> String {
    let answer = session.query(sql);
    assert!(answer.len() == 2 && ["SELECT 1", "SHOW"].contains(&&*answer[1]), "{sql}: {answer:?}");
    answer[0].clone()
}

/// A query's rows on a connection of its own; nothing if the server does not answer.
pub(crate) fn ask(cluster: &Cluster, sql: &str) -> Option<Vec<String>> {
    let mut client = cluster.try_connect().ok()?;
    let messages = client.simple_query(sql).ok()?;
    let rows = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            let columns: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
            Some(columns.join("|"))
        }
        _ => None,
    });
    Some(rows.collect())
}

/// Waits until a query has these rows, in any order.
#[track_caller]
pub(crate) fn wait_for_rows(cluster: &Cluster, sql: &str, expected: &[&str]) {
    let mut seen = None;
    let began = std::time::Instant::now();
    loop {
        if let Some(mut rows) = ask(cluster, sql) {
            rows.sort();
            if rows == expected {
                return;
            }
            seen = Some(rows);
        }
        assert!(began.elapsed() < DEADLINE, "{sql}: expected {expected:?}, last {seen:?}\n{}", cluster.log());
        pause();
    }
}

/// Waits until a query on one of them has one row, which names the end of the primary's WAL. That moves by itself: now and
/// then a primary writes down what runs.
#[track_caller]
pub(crate) fn wait_for_end_of_wal(
    primary: &Cluster,
    asked: &Cluster,
    sql: &str,
    expected: impl Fn(Lsn) -> String,
) -> Lsn {
    let mut last = (Vec::new(), String::new());
    let began = std::time::Instant::now();
    loop {
        let end = flushed(primary);
        let rows = ask(asked, sql).unwrap_or_default();
        let wanted = expected(end);
        if rows == [&*wanted] {
            return end;
        }
        last = if rows.is_empty() { last } else { (rows, wanted) };
        assert!(began.elapsed() < DEADLINE, "{sql}: {last:?}\n{}", asked.log());
        pause();
    }
}

/// A position that a function tells; nothing where it is null or the server does not answer.
pub(crate) fn position(cluster: &Cluster, function: &str) -> Option<Lsn> {
    ask(cluster, &format!("SELECT {function}"))?.first()?.parse().ok()
}

/// Up to where a primary's WAL is on its disk.
#[track_caller]
pub(crate) fn flushed(primary: &Cluster) -> Lsn {
    wait_for("the primary tells its position", || position(primary, "pg_current_wal_flush_lsn()"))
}

/// Waits until a standby has replayed up to there.
#[track_caller]
pub(crate) fn wait_until_replayed(standby: &Cluster, lsn: Lsn) {
    let mut session = None;
    let mut last = None;
    let began = std::time::Instant::now();
    loop {
        // Under one connection as long as it lasts: connecting costs more than asking.
        let asked = session.take().or_else(|| standby.try_connect().ok());
        if let Some(mut client) = asked
            && let Ok(row) = client.query_one("SELECT pg_last_wal_replay_lsn()::text", &[])
        {
            last = row.get::<_, Option<String>>(0).and_then(|text| text.parse::<Lsn>().ok());
            session = Some(client);
        }
        if last.is_some_and(|last| last >= lsn) {
            return;
        }
        let log = || standby.log();
        assert!(began.elapsed() < DEADLINE, "replayed {last:?}, not {lsn}\n{}", log());
        pause();
    }
}

/// Waits until a standby has replayed all that its primary has written by now.
#[track_caller]
pub(crate) fn caught_up(primary: &Cluster, standby: &Cluster) {
    wait_until_replayed(standby, flushed(primary));
}

/// All rows of a table, sorted.
#[track_caller]
pub(crate) fn rows_of(cluster: &Cluster, table: &str) -> Vec<String> {
    let mut session = Wire::connect(cluster);
    let mut rows = session.query(&format!("SELECT * FROM {table}"));
    let tag = rows.pop().unwrap_or_default();
    assert!(tag.starts_with("SELECT "), "{table}: {rows:?} {tag}");
    rows.sort();
    rows
}

/// Waits for the standby and compares all tables of both.
#[track_caller]
pub(crate) fn same_rows(primary: &Cluster, standby: &Cluster) -> usize {
    caught_up(primary, standby);
    let names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    let mut tables = [ask(primary, names).expect("tables"), ask(standby, names).expect("tables")];
    tables.iter_mut().for_each(|tables| tables.sort());
    assert_eq!(tables[0], tables[1]);
    let mut count = 0;
    for table in &tables[0] {
        let (there, here) = (rows_of(primary, table), rows_of(standby, table));
        assert!(there == here, "{table}: {} rows on the primary, {} here", there.len(), here.len());
        count += here.len();
    }
    count
}

/// Waits until a standby of this name streams.
#[track_caller]
pub(crate) fn wait_until_streaming(primary: &Cluster, name: &str) {
    let sql = format!("SELECT state FROM pg_stat_replication WHERE application_name = '{name}'");
    wait_for_rows(primary, &sql, &["streaming"]);
}

/// Waits until a server is no standby any more.
#[track_caller]
pub(crate) fn wait_until_promoted(cluster: &Cluster) {
    wait_for_rows(cluster, "SELECT pg_is_in_recovery()", &["f"]);
}

/// Promotes with `pg_ctl` and waits.
#[track_caller]
pub(crate) fn promote(cluster: &Cluster) {
    let output = cluster.pg_ctl(&["promote"]);
    assert!(output.status.success(), "{output:?}\n{}", cluster.log());
    wait_until_promoted(cluster);
}

/// Writers that insert, update and delete until they are told to stop or their connection breaks.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    writers: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// Some writers, each with a table of its own, `load0` and so on.
    #[track_caller]
    pub(crate) fn begin(cluster: &Cluster, writers: u32) -> Load {
        let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut client = cluster.connect();
        for number in 0..writers {
            let table = format!("CREATE TABLE IF NOT EXISTS load{number} (id int, value text)");
            client.batch_execute(&table).unwrap_or_else(|e| panic!("{table}: {e:?}"));
        }
        let one = |number| {
            let (stop, commits, config) = (Arc::clone(&stop), Arc::clone(&commits), cluster.client_config());
            in_background(move || write(&config, number, &stop, &commits))
        };
        let writers = (0..writers).map(one).collect();
        Load { stop, commits, writers }
    }

    /// Transactions that were acknowledged.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }

    /// Waits until so many more were acknowledged.
    #[track_caller]
    pub(crate) fn wait_for_commits(&self, count: u64) {
        let wanted = self.commits() + count;
        wait_until("enough was committed", || self.commits() >= wanted);
    }

    /// Tells the writers to stop and waits for them.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        for writer in self.writers {
            assert!(writer.join().is_ok(), "a writer panicked");
        }
        self.commits.load(Relaxed)
    }
}

fn write(config: &postgres::Config, number: u32, stop: &AtomicBool, commits: &AtomicU64) {
    let Ok(mut client) = config.connect(postgres::NoTls) else { return };
    let mut rng = fastrand::Rng::with_seed(u64::from(number));
    let mut id = 0;
    while !stop.load(Relaxed) {
        id += 1;
        let value = "v".repeat(rng.usize(..200));
        let (low, table) = (rng.u32(..id), format!("load{number}"));
        let sql = match rng.u8(..8) {
            0 => format!("UPDATE {table} SET value = '{value}' WHERE id = {low}"),
            1 => format!("DELETE FROM {table} WHERE id = {low}"),
            2 => format!("INSERT INTO {table} SELECT g, '{value}' FROM generate_series({id}, {id} + 50) g"),
            3 => format!("BEGIN; INSERT INTO {table} VALUES ({id}, 'never'); ROLLBACK"),
            _ => format!("BEGIN; INSERT INTO {table} VALUES ({id}, '{value}'); COMMIT"),
        };
        if client.batch_execute(&sql).is_err() {
            return;
        }
        commits.fetch_add(1, Relaxed);
    }
}

#[allow(clippy::disallowed_methods, reason = "a thread of the test harness, not of a server process")]
fn in_background(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(work)
}

/// What a proxy's threads share.
struct Line {
    target: u16,
    /// Both ends of every open connection.
    open: Mutex<Vec<TcpStream>>,
    /// Let nobody through.
    down: AtomicBool,
    ended: AtomicBool,
    /// Cut connections after so many bytes of the primary, chosen anew for each.
    cuts: Mutex<Option<fastrand::Rng>>,
    /// Connections that were made.
    made: AtomicU64,
}

/// A line between a standby and its primary that can be cut. Bytes pass as they are.
pub(crate) struct Proxy {
    /// Where the standby connects to.
    pub(crate) port: u16,
    line: Arc<Line>,
}

impl Proxy {
    /// To whom listens there.
    pub(crate) fn to(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let line = Arc::new(Line {
            target,
            open: Mutex::new(Vec::new()),
            down: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            cuts: Mutex::new(None),
            made: AtomicU64::new(0),
        });
        let shared = Arc::clone(&line);
        in_background(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Relaxed) {
                    return;
                }
                shared.connect(client);
            }
        });
        Proxy { port, line }
    }

    /// Cuts all connections. New ones may be made.
    pub(crate) fn cut(&self) {
        for end in self.line.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Cuts all connections and lets nobody through, or lets them through again.
    pub(crate) fn set_down(&self, down: bool) {
        self.line.down.store(down, Relaxed);
        if down {
            self.cut();
        }
    }

    /// From now on every new connection lasts for a random number of the primary's bytes; `None` ends that.
    pub(crate) fn cut_at_random(&self, rng: Option<fastrand::Rng>) {
        *self.line.cuts.lock().unwrap_or_else(PoisonError::into_inner) = rng;
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.line.made.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.ended.store(true, Relaxed);
        self.set_down(true);
        // Wakes who accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Bytes that a connection lasts at most when cut at random.
const LONGEST: i64 = 300_000;

impl Line {
    fn connect(self: &Arc<Line>, client: TcpStream) {
        if self.down.load(Relaxed) {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        let budget = match self.cuts.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(rng) => rng.i64(..LONGEST),
            None => i64::MAX,
        };
        let (Ok(client_end), Ok(server_end)) = (client.try_clone(), server.try_clone()) else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend([client_end, server_end]);
        drop(open);
        // Who was told to be down meanwhile has not seen this one.
        if self.down.load(Relaxed) {
            let _ = client.shutdown(Shutdown::Both);
        }
        self.made.fetch_add(1, Relaxed);
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        in_background(move || pass(from_client, server, i64::MAX));
        in_background(move || pass(from_server, client, budget));
    }
}

/// Copies until an end or until the budget is spent; then both ends are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, mut budget: i64) {
    let mut buffer = [0; 16384];
    loop {
        let room = usize::try_from(budget).unwrap_or(0).min(buffer.len());
        match from.read(&mut buffer[..room]) {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).is_ok() => budget -= count as i64,
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
