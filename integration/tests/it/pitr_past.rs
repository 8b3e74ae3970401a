//! A primary that has written, archived all of it and stopped; what restores from it must know about it.

use std::path::Path;
use std::thread;

use common::Lsn;
use integration::archive::{self, BaseCopy, Commit};
use integration::{Cluster, Server, Stop, Wire};

use crate::redo;

/// Rows that are written before the base copy, while it is made, and after it.
pub(crate) const BEFORE: usize = 3;
pub(crate) const DURING: usize = 3;

/// What was written. The table `past` has a row for each commit of the session that the tests are about; other sessions
/// write other tables.
pub(crate) struct Past {
    pub(crate) cluster: Cluster,
    pub(crate) base: BaseCopy,
    /// The rows of `past` in the order of their commits, with these.
    pub(crate) rows: Vec<(i32, Commit)>,
    /// Rows that were there when the restore point `here` was made.
    pub(crate) rows_here: usize,
}

impl Past {
    /// A primary of this server whose other sessions write too.
    #[track_caller]
    pub(crate) fn busy(server: Server) -> Past {
        Past::make(server, 2)
    }

    /// A primary of this server with nothing but the table `past`.
    #[track_caller]
    pub(crate) fn quiet(server: Server) -> Past {
        Past::make(server, 0)
    }

    fn make(server: Server, others: u32) -> Past {
        let cluster = archive::archiving(server, &[]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        run(&mut session, "CREATE TABLE shared (id int)");
        run(&mut session, "CREATE TABLE past (n int, xid int8)");
        let config = cluster.client_config();
        let (base, rows_here, mut numbers) = thread::scope(|scope| {
            for number in 0..others {
                let config = &config;
                scope.spawn(move || redo::workload(config, number, fastrand::Rng::new()));
            }
            let written = write(&cluster, &mut session);
            session.quit();
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            written
        });
        let first = base.label_value("START WAL LOCATION");
        let first = first.split_once("(file ").expect("a file").1.trim_end_matches(')').to_owned();
        let commits = archive::commits(&cluster, &cluster.archive_dir(), &first);
        numbers.sort_by_key(|(_, xid)| commits.iter().position(|commit| commit.xid == *xid));
        let commit_of = |xid| commits.iter().find(|c| c.xid == xid).cloned();
        let before = Commit { xid: 0, lsn: Lsn(0), time: String::new() };
        let with_commit = |(n, xid)| (n, commit_of(xid).unwrap_or_else(|| before.clone()));
        let rows = numbers.into_iter().map(with_commit).collect();
        Past { cluster, base, rows, rows_here }
    }

    /// The rows that are there after so many commits.
    pub(crate) fn numbers(&self, commits: usize) -> Vec<String> {
        let mut numbers: Vec<i32> = self.rows[..commits].iter().map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        numbers.iter().map(ToString::to_string).collect()
    }

    /// The archive.
    pub(crate) fn archive(&self) -> std::path::PathBuf {
        self.cluster.archive_dir()
    }

    /// A cluster that is restored from this archive, not started.
    #[track_caller]
    pub(crate) fn restored(&self, server: Server, config: &[&str]) -> Cluster {
        self.restored_from(server, &self.archive(), config)
    }

    /// The same from a copy of the archive.
    #[track_caller]
    pub(crate) fn restored_from(&self, server: Server, archive: &Path, config: &[&str]) -> Cluster {
        archive::restored(server, &self.base.dir, archive, config)
    }
}

/// All of the past: rows, the base copy among them, a restore point, two transactions that overlap.
fn write(cluster: &Cluster, session: &mut Wire) -> (BaseCopy, usize, Vec<(i32, u32)>) {
    let mut numbers = Vec::new();
    let mut row = |session: &mut Wire| {
        let n = numbers.len() as i32 + 1;
        let answer = run(session, &format!("INSERT INTO past VALUES ({n}, txid_current()) RETURNING xid"));
        numbers.push((n, answer[0].parse::<u32>().expect("a transaction")));
    };
    (0..BEFORE).for_each(|_| row(session));
    run(session, "CHECKPOINT");
    let mut other = Wire::connect(cluster);
    let base = archive::base_copy(cluster, session, "base", || {
        (0..DURING).for_each(|_| row(&mut other));
    });
    // The later transaction commits first.
    run(&mut other, "BEGIN");
    row(&mut other);
    row(session);
    run(&mut other, "COMMIT");
    row(session);
    run(session, "SELECT pg_create_restore_point('here')");
    let rows_here = BEFORE + DURING + 3;
    row(session);
    run(session, "SELECT pg_switch_wal()");
    run(session, "CHECKPOINT");
    run(session, "BEGIN; INSERT INTO past VALUES (-1, 0); ROLLBACK");
    row(session);
    row(session);
    (base, rows_here, numbers)
}

/// Runs what must not fail.
#[track_caller]
pub(crate) fn run(session: &mut Wire, sql: &str) -> Vec<String> {
    let answer = session.query(sql);
    assert!(
        !answer.iter().any(|line| ["ERROR", "FATAL", "EOF"].iter().any(|w| line.starts_with(w))),
        "{sql}: {answer:?}"
    );
    answer
}

/// The rows of `past`.
#[track_caller]
pub(crate) fn rows_of(cluster: &Cluster) -> Vec<String> {
    let mut session = Wire::connect(cluster);
    let mut rows = run(&mut session, "SELECT n FROM past ORDER BY n");
    rows.pop();
    session.quit();
    rows
}

/// Waits until recovery is over.
#[track_caller]
pub(crate) fn wait_until_promoted(cluster: &Cluster) {
    cluster.wait_for_log("database system is ready to accept connections");
    cluster.wait_until_ready();
}

/// A restored cluster, stopped before, started by the server whose data it is. PostgreSQL recovers this project's
/// directories, but its sessions want the indexes of catalogs, which are not there.
#[track_caller]
pub(crate) fn reopened(cluster: Cluster, server: Server) -> Cluster {
    let cluster = cluster.handed_to(server);
    cluster.start();
    cluster
}

/// Stops a restored cluster and returns the rows of `past` in it.
#[track_caller]
pub(crate) fn stopped_with_rows(cluster: Cluster, server: Server) -> (Cluster, Vec<String>) {
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{}", cluster.log());
    let cluster = reopened(cluster, server);
    let rows = rows_of(&cluster);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    (cluster, rows)
}

/// The server itself and, for this project's, PostgreSQL: who restores what the server has written.
pub(crate) fn restorers(server: Server) -> &'static [Server] {
    match server {
        Server::Ours => &[Server::Ours, Server::Real],
        Server::Real => &[Server::Real],
    }
}
