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

/// The living processes whose working directory is `data_dir`, oldest first. A zombie is not living.
pub fn processes_in(data_dir: &Path) -> Vec<ProcessInfo> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: Vec<(u64, ProcessInfo)> = pids.filter_map(|pid| info(pid, data_dir)).collect();
    found.sort_by_key(|(began, process)| (*began, process.pid));
    found.into_iter().map(|(_, process)| process).collect()
}

fn info(pid: i32, data_dir: &Path) -> Option<(u64, ProcessInfo)> {
    if fs::read_link(format!("/proc/{pid}/cwd")).ok()? != data_dir {
        return None;
    }
    let fields = stat_fields(pid)?;
    if fields.first()? == "Z" {
        return None;
    }
    let (ppid, began) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ").trim_end().to_owned();
    Some((began, ProcessInfo { pid, ppid, title }))
}

/// The fields of /proc/PID/stat from the third on, the state.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// State letter and parent of a process.
pub fn state_and_parent(pid: i32) -> Option<(char, i32)> {
    let fields = stat_fields(pid)?;
    Some((fields.first()?.chars().next()?, fields.get(1)?.parse().ok()?))
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

/// Memory of a process in kilobytes that no file stands behind, shared with its children or not: unlike
/// [`pss_kb`] it does not depend on who else runs.
pub fn anonymous_kb(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Open file descriptors of a process.
pub fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// A System V shared memory segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysvSegment {
    /// The key it was asked for with: for a server's interlock the inode of its data directory.
    pub key: u64,
    /// Its id.
    pub id: i64,
    /// Who made it.
    pub creator_pid: i32,
    /// How many processes are attached.
    pub attached: u32,
}

/// All System V shared memory segments of this machine.
pub fn sysv_segments() -> Vec<SysvSegment> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().skip(1).filter_map(sysv_segment).collect()
}

fn sysv_segment(line: &str) -> Option<SysvSegment> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    Some(SysvSegment {
        key: fields.first()?.parse::<i64>().ok()? as u32 as u64,
        id: fields.get(1)?.parse().ok()?,
        creator_pid: fields.get(4)?.parse().ok()?,
        attached: fields.get(6)?.parse().ok()?,
    })
}
