//! The cluster's processes as a tree, and its standbys': what `ps` shows, and what it means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::pidfile::{PidFile, PidFileStatus};
use integration::procfs::{self, ProcessInfo};

use crate::{Result, cluster_dir, standbys};

/// `cargo xtask ps`.
pub(crate) fn run(data: Option<PathBuf>) -> Result<()> {
    print_all(&data.unwrap_or_else(cluster_dir::default_data_dir))
}

/// Prints the tree of a cluster, and those of the standbys beside it that run.
///
/// # Errors
/// If none of them runs.
pub(crate) fn print_all(data_dir: &Path) -> Result<()> {
    let primary = cluster_dir::pid_file(data_dir);
    let running = |dir: PathBuf| cluster_dir::pid_file(&dir).ok().map(|file| (dir, file));
    let standbys: Vec<(PathBuf, PidFile)> =
        standbys::existing(data_dir).into_iter().filter_map(running).collect();
    if standbys.is_empty() {
        return print_tree(data_dir, &primary?);
    }
    let mut all = Vec::from_iter(primary.ok().map(|file| (data_dir.to_owned(), file)));
    all.extend(standbys);
    for (i, (dir, file)) in all.iter().enumerate() {
        if i > 0 {
            println!();
        }
        println!("{}", heading(dir, file));
        print_tree(dir, file)?;
    }
    Ok(())
}

/// Who it is: what the server says of itself, not what it was made as.
fn heading(data_dir: &Path, file: &PidFile) -> String {
    let name = data_dir.file_name().unwrap_or_default().to_string_lossy();
    let port = file.port;
    let role = match one_value(file, "SELECT pg_is_in_recovery()").as_deref() {
        None => "takes no sessions now".to_owned(),
        Some("t") => {
            let from = one_value(file, "SELECT sender_port FROM pg_stat_wal_receiver");
            from.map_or("standby that receives nothing".into(), |port| format!("standby of port {port}"))
        }
        Some(_) => {
            let standbys = one_value(file, "SELECT count(*) FROM pg_stat_replication").unwrap_or_default();
            format!("primary, {standbys} connected")
        }
    };
    format!("{name} (port {port}): {role}")
}

fn one_value(file: &PidFile, sql: &str) -> Option<String> {
    let rows = crate::client::connect(file).ok()?.simple_query(sql).ok()?;
    rows.into_iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// Does this postmaster admit sessions?
pub(crate) fn is_ready(data_dir: &Path, pid: i32) -> bool {
    cluster_dir::pid_file(data_dir)
        .is_ok_and(|file| file.pid == pid && file.status == Some(PidFileStatus::Ready))
}

/// What `pg_stat_activity` says of a process: state, wait event.
type Activity = HashMap<i32, (String, String)>;

/// Prints the tree.
fn print_tree(data_dir: &Path, file: &PidFile) -> Result<()> {
    let data_dir = data_dir.canonicalize().map_err(|e| format!("{}: {e}", data_dir.display()))?;
    let processes = procfs::processes_in(&data_dir);
    let activity = activity(file).unwrap_or_default();
    let postmaster = processes.iter().find(|p| p.pid == file.pid);
    match postmaster {
        // Its settings on the command line are many.
        Some(postmaster) => println!("{:>7}  {}", postmaster.pid, before(&postmaster.title, " -c ")),
        None => println!("{:>7}  (the postmaster is dead; who is left of its cluster:)", file.pid),
    }
    // Our own session may have gone meanwhile.
    let is_child = |p: &&ProcessInfo| p.pid != file.pid && procfs::is_alive(p.pid);
    let children: Vec<&ProcessInfo> = processes.iter().filter(is_child).collect();
    let width = children.iter().map(|child| child.title.len()).max().unwrap_or_default().clamp(44, 72);
    for (i, child) in children.iter().enumerate() {
        let branch = if i + 1 == children.len() { "`--" } else { "|--" };
        let title = before(&child.title, " -c ");
        println!("{:>7}  {branch} {title:<width$} {}", child.pid, describe(child, &activity));
    }
    Ok(())
}

fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).map_or(text, |(head, _)| head)
}

/// One phrase on what a process does right now.
fn describe(process: &ProcessInfo, activity: &Activity) -> String {
    let (state, wait) = activity.get(&process.pid).cloned().unwrap_or_default();
    let state_word = match procfs::state_and_parent(process.pid).map(|(state, _)| state) {
        Some('R') => "running",
        Some('S') => "sleeping",
        Some('D') => "waiting for the disk",
        Some('T' | 't') => "stopped by a signal",
        Some(_) | None => "gone",
    };
    let meaning = meaning_of(&wait);
    [state_word, state.as_str(), wait.as_str(), meaning]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" | ")
}

/// What a wait event means, for those that a quiet cluster shows.
fn meaning_of(wait_event: &str) -> &'static str {
    match wait_event {
        "CheckpointerMain" => "until a checkpoint is due or asked for",
        "BgWriterMain" => "until its next round",
        "BgWriterHibernate" => "nothing to write: a long sleep",
        "WalWriterMain" => "until its next round",
        "AutoVacuumMain" => "until a database is due",
        "LogicalLauncherMain" => "until asked",
        "PgStatMain" => "until somebody reports",
        "ClientRead" => "for its client's next message",
        "WalSenderMain" => "for more WAL, or for word from the standby",
        "WalSenderWaitForWAL" => "for WAL to be flushed",
        "WalReceiverMain" => "for the primary's next message",
        "WalReceiverWaitStart" => "for orders: its timeline has ended",
        "RecoveryWalStream" => "for the primary's WAL to arrive",
        "RecoveryRetrieveRetryInterval" => "until it looks for WAL again",
        "RecoveryPause" => "until replay is resumed",
        "RecoveryApplyDelay" => "until the commit is old enough",
        "SyncRep" => "for standbys to confirm the commit",
        "ArchiverMain" => "for a segment to archive",
        "ClientWrite" => "for its client to take the answer",
        "PgSleep" => "pg_sleep()",
        _ => "",
    }
}

fn activity(file: &PidFile) -> Option<Activity> {
    let mut client = crate::client::connect(file).ok()?;
    let rows = client
        .simple_query("SELECT pid, state, wait_event FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        .ok()?;
    let rows = rows.into_iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            let text = |i| row.get(i).unwrap_or_default().to_owned();
            Some((text(0).parse().ok()?, (text(1), text(2))))
        }
        _ => None,
    });
    Some(rows.collect())
}
