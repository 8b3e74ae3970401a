//! What /proc knows about a cluster's processes.

use std::fs;
use std::path::Path;

/// One process of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: i32,
    /// Its parent now.
    pub ppid: i32,
    /// Its title, as `ps` shows it, without trailing blanks.
    pub title: String,
}

/// The living processes whose working directory is `data_dir`, by pid. A zombie is not living.
pub fn processes_in(data_dir: &Path) -> Vec<ProcessInfo> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<ProcessInfo> = pids.filter_map(|pid| info(pid, data_dir)).collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn info(pid: i32, data_dir: &Path) -> Option<ProcessInfo> {
    if fs::read_link(format!("/proc/{pid}/cwd")).ok()? != data_dir {
        return None;
    }
    let (state, ppid) = state_and_parent(pid)?;
    if state == 'Z' {
        return None;
    }
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ").trim_end().to_owned();
    Some(ProcessInfo { pid, ppid, title })
}

/// State letter and parent of a process.
pub fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Is there a process with this id that is not a zombie?
pub fn is_alive(pid: i32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Proportional set size of a process in kilobytes: its own memory plus its share of what it shares.
pub fn pss_kb(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Open file descriptors of a process.
pub fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Ids of all System V shared memory segments.
pub fn sysv_segments() -> Vec<i64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect()
}
