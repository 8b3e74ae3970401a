//! Clusters that archive, copies of their data directories, and clusters restored from both.
//!
//! ```text
//! primary.archive_dir()/0000…   every finished segment
//! BaseCopy.dir                  the data directory as `cp` found it while clients wrote, plus backup_label
//! restored(server, &base, …)    a cluster of its own: the copy, settings, recovery.signal
//! ```
//! The copies and the archive live in the primary's folder: what is restored from them must not outlive it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::Lsn;

use crate::process;
use crate::{Cluster, ClusterOptions, Server, Wire, wait_until};

/// Settings of every cluster here: nothing that comes at a time of its own, times that both servers write alike, and
/// segments that are asked for when they are needed, not before.
const QUIET: [&str; 6] = [
    "recovery_prefetch = off",
    "autovacuum = off",
    "max_logical_replication_workers = 0",
    "log_checkpoints = off",
    "log_timezone = 'UTC'",
    "timezone = 'UTC'",
];

/// Where the clusters are: in memory where there is room, since a copy has a thousand files.
pub fn folders() -> &'static Path {
    const ENOUGH: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory)
        .map_or(0, |found| found.blocks_available().saturating_mul(found.fragment_size()));
    if room >= ENOUGH { memory } else { Path::new("/tmp") }
}

/// A cluster with segments of 1 MB that archives to its [`Cluster::archive_dir`], not started.
pub fn archiving(server: Server, config: &[&str]) -> Cluster {
    archiving_with(server, &[], config)
}

/// The same with more arguments for initdb.
pub fn archiving_with(server: Server, initdb: &[&str], config: &[&str]) -> Cluster {
    let more = ["wal_level = replica", "archive_mode = on"];
    let options = ClusterOptions {
        server,
        initdb: std::iter::once(&"--wal-segsize=1").chain(initdb).map(ToString::to_string).collect(),
        config: QUIET.iter().chain(&more).map(ToString::to_string).collect(),
    };
    let cluster = Cluster::without_data(server, folders()).make_data(&options);
    make_archive(&cluster);
    config.iter().for_each(|line| cluster.append_config(line));
    cluster
}

/// Gives a cluster an archive of its own.
fn make_archive(cluster: &Cluster) {
    let archive = cluster.archive_dir();
    cluster.sh(&format!("mkdir '{}'", archive.display()));
    cluster.append_config(&archive_command(&archive));
}

/// The setting that copies files to a directory. A file that is there is complete, and is never replaced; the same once
/// more, after a crash, is no failure.
pub fn archive_command(archive: &Path) -> String {
    let copy = "test ! -f \"A/%f\" && cp \"%p\" \"A.%f\" && mv \"A.%f\" \"A/%f\"";
    let script = format!("cmp -s \"%p\" \"A/%f\" || {{ {copy}; }}");
    format!("archive_command = '{}'", script.replace('A', &archive.display().to_string()))
}

/// A copy of a data directory that was made between `pg_backup_start` and `pg_backup_stop`.
#[derive(Clone, Debug)]
pub struct BaseCopy {
    /// Where it is, in the primary's folder.
    pub dir: PathBuf,
    /// The content of `backup_label`, which is in [`BaseCopy::dir`] too.
    pub label: String,
    /// What `pg_backup_stop` said about tablespaces.
    pub tablespace_map: String,
    /// What `pg_backup_stop` returned: WAL up to here makes the copy consistent.
    pub stop_lsn: Lsn,
    /// Notices of `pg_backup_stop`.
    pub notices: Vec<String>,
}

impl BaseCopy {
    /// A value of `backup_label`.
    pub fn label_value(&self, name: &str) -> String {
        let line = self.label.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.label)).to_owned()
    }
}

/// Makes a base copy with `cp`. `meanwhile` runs when the copy is made and the backup goes on. Nobody waits until WAL is
/// archived: `pg_backup_stop` looks once a second.
#[track_caller]
pub fn base_copy(cluster: &Cluster, session: &mut Wire, name: &str, meanwhile: impl FnOnce()) -> BaseCopy {
    base_copy_with(cluster, session, name, false, meanwhile)
}

/// The same; with `wait`, `pg_backup_stop` waits for the archive.
#[track_caller]
pub fn base_copy_with(
    cluster: &Cluster,
    session: &mut Wire,
    name: &str,
    wait: bool,
    meanwhile: impl FnOnce(),
) -> BaseCopy {
    let started = session.query(&format!("SELECT pg_backup_start('{name}', true)"));
    assert_eq!(started.last().map(String::as_str), Some("SELECT 1"), "{started:?}");
    let dir = cluster.path(name);
    copy_data(cluster, &dir);
    meanwhile();
    let stop = format!("SELECT lsn, spcmapfile, labelfile FROM pg_backup_stop({wait})");
    let stopped = session.query(&stop);
    assert_eq!(stopped.last().map(String::as_str), Some("SELECT 1"), "{stopped:?}");
    let is_notice =
        |line: &&String| ["NOTICE", "WARNING", "HINT", "DETAIL"].iter().any(|w| line.starts_with(w));
    let notices = stopped.iter().filter(is_notice).cloned().collect();
    let row = &stopped[stopped.len() - 2];
    let mut columns = row.splitn(3, '|').map(str::to_owned);
    let mut column = || columns.next().unwrap_or_else(|| panic!("{stopped:?}"));
    let (lsn, tablespace_map, label) = (column(), column(), column());
    fs::write(dir.join("backup_label"), &label).expect("a copy of our own");
    let stop_lsn = lsn.parse().unwrap_or_else(|_| panic!("{lsn} is no position"));
    BaseCopy { dir, label, tablespace_map, stop_lsn, notices }
}

/// Copies the data directory without its WAL. Files that vanish meanwhile are no error, as for any tool that copies.
fn copy_data(cluster: &Cluster, dir: &Path) {
    let (from, to) = (cluster.data_dir(), dir.display());
    let output = process::run(&mut cluster.shell(&format!(
        "cp -r '{}' '{to}'; chmod 700 '{to}'; cd '{to}' && \
         rm -rf postmaster.pid postmaster.opts pg_wal/* recovery.signal standby.signal backup_label*",
        from.display()
    )));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(errors.lines().all(|line| line.ends_with("No such file or directory")), "{errors}");
}

/// A cluster on a copy of a base copy, not started, without a signal file. It has the primary's settings but does not
/// archive; `config` comes last.
#[track_caller]
pub fn on_copy(server: Server, dir: &Path, config: &[&str]) -> Cluster {
    let cluster = Cluster::without_data(server, folders());
    cluster.sh(&format!("cp -a '{}' '{}'", dir.display(), cluster.data_dir().display()));
    cluster.append_own_config();
    cluster.append_config("archive_mode = off");
    config.iter().for_each(|line| cluster.append_config(line));
    cluster
}

/// The same with `recovery.signal` and a `restore_command` that takes files from `archive` and says nothing.
#[track_caller]
pub fn restored(server: Server, dir: &Path, archive: &Path, config: &[&str]) -> Cluster {
    let cluster = on_copy(server, dir, &[]);
    cluster.append_config(&restore_command(archive));
    config.iter().for_each(|line| cluster.append_config(line));
    cluster.write_file("recovery.signal", "");
    cluster
}

/// The setting that takes files from a directory and says nothing about those that are not there.
pub fn restore_command(archive: &Path) -> String {
    format!("restore_command = 'test -f \"{0}/%f\" && cp \"{0}/%f\" \"%p\"'", archive.display())
}

/// What `pg_waldump` says about a transaction's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The transaction.
    pub xid: u32,
    /// Where its commit record begins.
    pub lsn: Lsn,
    /// When it committed, to the microsecond, UTC.
    pub time: String,
}

/// The commits in a directory of segments, from a segment on, in the order of WAL. Panics without PostgreSQL's programs.
#[track_caller]
pub fn commits(cluster: &Cluster, wal_dir: &Path, first_segment: &str) -> Vec<Commit> {
    let records = waldump(cluster, wal_dir, first_segment);
    let commits = records.lines().filter_map(|line| {
        let (head, what) = line.split_once("desc: ")?;
        let time = what.strip_prefix("COMMIT_PREPARED ").and_then(|rest| rest.split_once(": "));
        let time = time.map(|(_, time)| time).or_else(|| what.strip_prefix("COMMIT "))?;
        let end = time.find(" UTC").or_else(|| time.find(" GMT"))?;
        let xid = head.split_once("tx:")?.1.split(',').next()?.trim().parse().ok()?;
        let lsn = head.split_once("lsn: ")?.1.split(',').next()?.parse().ok()?;
        Some(Commit { xid, lsn, time: time[..end].to_owned() })
    });
    commits.collect()
}

/// What `pg_waldump` shows from the beginning of a segment on, to the end of what there is of its timeline.
#[track_caller]
pub fn waldump(cluster: &Cluster, wal_dir: &Path, first_segment: &str) -> String {
    let same_timeline = |name: &String| name.len() == 24 && name[..8] == first_segment[..8];
    let last = names_in(wal_dir).into_iter().rfind(same_timeline).expect("segments");
    let mut program = cluster.client("pg_waldump").expect("asked for before");
    let output = cluster.run(program.arg("-p").arg(wal_dir).args([first_segment, &last]));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!shown.is_empty(), "{output:?}");
    shown
}

/// What `pg_controldata` prints about a data directory, in lines of label and value. Panics without PostgreSQL's programs.
#[track_caller]
pub fn controldata(cluster: &Cluster) -> Vec<(String, String)> {
    let mut program = cluster.client("pg_controldata").expect("asked for before");
    let output: Output = cluster.run(program.arg(cluster.data_dir()));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let pair = |line: &str| {
        let (label, value) = line.split_once(':')?;
        Some((label.to_owned(), value.trim().to_owned()))
    };
    shown.lines().filter_map(pair).collect()
}

/// A value of `pg_controldata`.
#[track_caller]
pub fn control(cluster: &Cluster, label: &str) -> String {
    let all = controldata(cluster);
    let found = all.iter().find(|(name, _)| name == label);
    found.unwrap_or_else(|| panic!("no {label} in {all:?}")).1.clone()
}

impl Cluster {
    /// Where [`archiving`] clusters archive to.
    pub fn archive_dir(&self) -> PathBuf {
        self.path("archive")
    }

    /// Is this file in the archive?
    pub fn is_archived(&self, name: &str) -> bool {
        self.archive_dir().join(name).exists()
    }

    /// The names in the archive, sorted.
    pub fn archived(&self) -> Vec<String> {
        names_in(&self.archive_dir())
    }

    /// Finishes the segment that is written to now, waits until it is archived, and returns its name.
    #[track_caller]
    pub fn archive_all(&self, session: &mut Wire) -> String {
        let answer = session.query("SELECT pg_walfile_name(pg_switch_wal())");
        let name = answer.first().cloned().unwrap_or_default();
        assert!(name.len() == 24, "{answer:?}");
        wait_until(&format!("{name} is archived"), || self.is_archived(&name));
        name
    }

    /// A shell command as the server's user, in the cluster's folder.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        self.environment(command)
    }

    /// Runs a shell command that must succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) {
        let output = process::run(&mut self.shell(script));
        assert!(output.status.success(), "{script}: {output:?}");
    }

    /// What was logged so far, without what depends on the moment: see [`milestones`].
    pub fn milestones(&self) -> Vec<String> {
        milestones(&self.normalised_but_positions(&self.log()))
    }
}

/// Names in a directory, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The lines of a log that two servers recovering the same must share, in their order, up to the end of recovery. Left
/// out is what the postmaster says beside the startup process (who may connect, from when on), and sessions that came too
/// early.
pub fn milestones(log: &str) -> Vec<String> {
    const OTHERS: [&str; 6] = [
        "starting PostgreSQL",
        "listening on",
        "database system is ready to accept",
        "FATAL:  the database system is",
        "DETAIL:  Consistent recovery state has not been yet reached.",
        "DETAIL:  Hot standby mode is disabled.",
    ];
    const LAST: &str = "archive recovery complete";
    let end = log.find(LAST).map_or(log.len(), |at| at + LAST.len());
    // The moment of a stop is each cluster's own.
    const STOPPED: &str = "LOG:  database system was shut down in recovery at ";
    let lines = log[..end].lines().filter(|line| !OTHERS.iter().any(|other| line.contains(other)));
    lines.map(|line| if line.starts_with(STOPPED) { STOPPED } else { line }.to_owned()).collect()
}
