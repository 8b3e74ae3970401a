//! Failover under clients that remember: the primary is killed at a random moment, its synchronous standby is promoted, and
//! must have every commit that was acknowledged.
//!
//! ```text
//! round:  pg_basebackup -R -> the standby is synchronous -> clients write -> kill -9 of all of the primary
//!         -> pg_ctl promote -> each client's rows are compared with its memory -> the promoted one is the next primary
//! ```
//! The clients and what they remember are [`torture`](crate::torture)'s: of a commit without an answer either outcome is
//! right.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use nix::sys::signal::Signal;

use crate::torture::{TABLE, Writer, wait_for_work};
use crate::{Cluster, Server, archive, wait_until};

/// What `synchronous_commit` may be for a commit to be on the standby when it is acknowledged.
pub const MODES: [&str; 3] = ["remote_write", "on", "remote_apply"];

/// How hard, how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Kills, each followed by a promotion and a comparison.
    pub rounds: u32,
    /// Clients that write at the same time.
    pub clients: u32,
    /// Makes the same choices again, as far as they are the harness's.
    pub seed: u64,
    /// `synchronous_commit`, one of [`MODES`].
    pub mode: &'static str,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Rounds that were run.
    pub rounds: u32,
    /// Commits that were acknowledged, all of them checked.
    pub commits: u64,
    /// Commits without an answer.
    pub in_doubt: u64,
    /// Clients whose rows were neither the one nor the other.
    pub losses: u64,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rounds, {} commits checked, {} in doubt, {} losses",
            self.rounds, self.commits, self.in_doubt, self.losses
        )
    }
}

/// Runs the rounds. Progress goes to `say`, a line a round.
///
/// # Panics
/// If a server does not start, stream or become a primary; without PostgreSQL's `pg_basebackup`.
pub fn run(server: Server, options: &Options, mut say: impl FnMut(&str)) -> Report {
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mode = format!("synchronous_commit = {}", options.mode);
    let mut primary = archive::archiving_with(server, &[], &["archive_mode = off", &mode]);
    primary.start();
    primary.connect().batch_execute(TABLE).unwrap_or_else(|e| panic!("{TABLE}: {e:?}"));
    let mut writers: Vec<Writer> =
        (0..options.clients).map(|number| Writer::new(number, rng.u64(..))).collect();
    let mut report = Report::default();
    for round in 1..=options.rounds {
        let standby = synchronous_standby(&primary);
        let (commits, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let config = primary.client_config();
        let wanted = u64::from(rng.u32(20..200));
        thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write(&config, &commits, &stop));
            }
            wait_for_work(&commits, wanted);
            kill_all(&primary);
            stop.store(true, Relaxed);
        });
        let promoted = standby.pg_ctl(&["promote"]);
        assert!(promoted.status.success(), "{promoted:?}\n{}", standby.log());
        let commits = commits.load(Relaxed);
        report.rounds = round;
        report.commits += commits;
        report.in_doubt += writers.iter().filter(|writer| writer.is_in_doubt()).count() as u64;
        let lost: Vec<String> =
            writers.iter_mut().filter_map(|writer| writer.check(&standby).err()).collect();
        report.losses += lost.len() as u64;
        if !lost.is_empty() {
            say(&format!("log of the primary:\n{}\nlog of the standby:\n{}", primary.log(), standby.log()));
        }
        say(&format!("round {round}, {}: {commits} commits", options.mode));
        lost.iter().for_each(|loss| say(loss));
        primary = standby;
    }
    report
}

/// A copy of the primary that it waits for from now on.
fn synchronous_standby(primary: &Cluster) -> Cluster {
    // Until it is there, nobody is to be waited for.
    let standby = Cluster::without_data(primary.server(), archive::folders());
    let mut program = primary.client("pg_basebackup").expect("PostgreSQL is installed");
    let conninfo = format!("host=127.0.0.1 port={} user=postgres application_name=heir", primary.port());
    program.arg("-D").arg(standby.data_dir()).args(["-R", "-c", "fast", "--no-sync", "-d", &conninfo]);
    let output = primary.run(&mut program);
    assert!(output.status.success(), "pg_basebackup: {output:?}\n{}", primary.log());
    standby.append_own_config();
    standby.append_config("wal_retrieve_retry_interval = 100ms");
    // The last round's says where its primary was.
    let auto = standby.data_dir().join("postgresql.auto.conf");
    let text = std::fs::read_to_string(auto).unwrap_or_default();
    let last = text.lines().rfind(|line| line.starts_with("primary_conninfo")).expect("-R wrote it");
    standby.write_file("postgresql.auto.conf", &format!("{last}\n"));
    standby.start();
    require(primary, "heir");
    wait_until("the standby is synchronous", || {
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let count = primary.connect().query_one(sql, &[]).map(|row| row.get::<_, i64>(0));
        count.is_ok_and(|count| count == 1)
    });
    standby
}

/// Has a server wait for this standby before it acknowledges. Only `primary` reads it: its copies begin without.
fn require(primary: &Cluster, name: &str) {
    primary.write_file("postgresql.auto.conf", &format!("synchronous_standby_names = '{name}'\n"));
    primary.signal_postmaster(Signal::SIGHUP);
    wait_until("the setting is in force", || {
        let shown = primary.connect().simple_query("SHOW synchronous_standby_names");
        shown.is_ok_and(|rows| {
            let value = rows.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            value == Some(name)
        })
    });
    // Who commits looks at what the checkpointer has made of the setting, which it does before its next checkpoint.
    primary.connect().batch_execute("CHECKPOINT").unwrap_or_else(|e| panic!("CHECKPOINT: {e:?}"));
}

/// Every process of a cluster, the postmaster first.
fn kill_all(cluster: &Cluster) {
    cluster.signal_postmaster(Signal::SIGKILL);
    for process in cluster.processes() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    cluster.wait_for_end();
    wait_until("all processes are gone", || cluster.processes().is_empty());
}
