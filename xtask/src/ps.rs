//! The cluster's processes as a tree: what `ps` shows, and what it means.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::pidfile::{PidFile, PidFileStatus};
use integration::procfs::{self, ProcessInfo};

use crate::{Result, cluster_dir};

/// `cargo xtask ps`.
pub(crate) fn run(data: Option<PathBuf>) -> Result<()> {
    let data_dir = data.unwrap_or_else(cluster_dir::default_data_dir);
    let file = cluster_dir::pid_file(&data_dir)?;
    print_tree(&data_dir, &file)
}

/// Does this postmaster admit sessions?
pub(crate) fn is_ready(data_dir: &Path, pid: i32) -> bool {
    cluster_dir::pid_file(data_dir)
        .is_ok_and(|file| file.pid == pid && file.status == Some(PidFileStatus::Ready))
}

/// What `pg_stat_activity` says of a process: state, wait event.
type Activity = HashMap<i32, (String, String)>;

/// Prints the tree.
pub(crate) fn print_tree(data_dir: &Path, file: &PidFile) -> Result<()> {
    let data_dir = data_dir.canonicalize().map_err(|e| format!("{}: {e}", data_dir.display()))?;
    let processes = procfs::processes_in(&data_dir);
    let activity = activity(file).unwrap_or_default();
    let postmaster = processes.iter().find(|p| p.pid == file.pid);
    match postmaster {
        Some(postmaster) => println!("{:>7}  {}", postmaster.pid, postmaster.title),
        None => println!("{:>7}  (the postmaster is dead; who is left of its cluster:)", file.pid),
    }
    let children: Vec<&ProcessInfo> = processes.iter().filter(|p| p.pid != file.pid).collect();
    for (i, child) in children.iter().enumerate() {
        let branch = if i + 1 == children.len() { "`--" } else { "|--" };
        println!("{:>7}  {branch} {:<44} {}", child.pid, child.title, describe(child, &activity));
    }
    Ok(())
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
