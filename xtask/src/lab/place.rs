//! Where a lab plays: a folder below /tmp that holds a cluster and all that belongs to it, and the environment in which commands
//! find both. When it is dropped nothing of it is left: no process, no shared segment, no folder.
//!
//! Started by root, everything in it runs as `nobody`: the server refuses root. If that user cannot walk down to the checkout,
//! the server's programs are copied into the folder.
//!
//! The server listens on a Unix socket in the folder and nowhere else, so that any number of labs play side by side.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use integration::process::{self, unprivileged_ids};
use integration::procfs;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cluster_dir;

/// How long it may take until killed processes are gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The folder and what runs in it.
#[derive(Debug)]
pub(crate) struct Place {
    folder: Option<TempDir>,
    path: PathBuf,
    /// The user's commands are looked for in these, in order.
    programs: Vec<PathBuf>,
    /// Of the terminal, for commands that draw.
    columns: Option<String>,
    /// Leave the folder.
    keep: bool,
    /// Groups of processes that were started here.
    groups: Vec<i32>,
}

impl Place {
    /// Makes the folder. `built` holds this project's programs, `clients` those of PostgreSQL.
    ///
    /// # Errors
    /// If there is no room.
    pub(crate) fn new(built: &Path, clients: &Path, keep: bool) -> Result<Place, String> {
        let failed = |e: std::io::Error| format!("could not make a folder in /tmp: {e}");
        let folder = tempfile::Builder::new()
            .prefix("pganatomy-lab-")
            .rand_bytes(4)
            .tempdir_in("/tmp")
            .map_err(failed)?;
        let path = folder.path().to_owned();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        let mut place = Place {
            folder: Some(folder),
            path,
            programs: Vec::new(),
            columns: None,
            keep,
            groups: Vec::new(),
        };
        place.give_away(&place.path)?;
        let ours =
            if integration::is_reachable(built) { built.to_owned() } else { place.copy_programs(built)? };
        place.programs = vec![ours, clients.to_owned(), "/usr/bin".into(), "/bin".into()];
        Ok(place)
    }

    fn copy_programs(&self, built: &Path) -> Result<PathBuf, String> {
        let bin = self.path("bin");
        fs::create_dir(&bin).map_err(|e| format!("{}: {e}", bin.display()))?;
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        for program in ["postgres", "initdb", "pg_ctl"] {
            fs::copy(built.join(program), bin.join(program))
                .map_err(|e| format!("could not copy {program} to {}: {e}", bin.display()))?;
        }
        Ok(bin)
    }

    fn give_away(&self, path: &Path) -> Result<(), String> {
        let (uid, gid) = unprivileged_ids();
        chown(path, Some(uid), Some(gid)).map_err(|e| format!("could not give {} away: {e}", path.display()))
    }

    /// How wide the terminal is.
    pub(crate) fn set_columns(&mut self, columns: Option<String>) {
        self.columns = columns;
    }

    /// Something in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The cluster's data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// A word that the command line of each process of the server holds, and no other process's: the end of the folder's name,
    /// which is the cluster's name too.
    pub(crate) fn word(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches("pganatomy-").to_owned()
    }

    /// The variables that a person needs to type along.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let path: Vec<String> = self.programs.iter().map(|dir| dir.display().to_string()).collect();
        vec![
            ("PATH", path.join(":")),
            ("PGDATA", self.data_dir().display().to_string()),
            ("PGHOST", self.path.display().to_string()),
            ("PGUSER", "postgres".to_owned()),
        ]
    }

    /// A command for the shell, in the folder, as the server's user.
    pub(crate) fn shell(&self, typed: &str) -> Command {
        let mut command = cluster_dir::command(Path::new("/bin/sh"));
        command.arg("-c").arg(typed).current_dir(&self.path).env_clear();
        command.envs(self.variables()).env("PGDATABASE", "postgres");
        if let Some(columns) = &self.columns {
            command.env("COLUMNS", columns);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").env("HOME", &self.path).env("PSQLRC", "/dev/null");
        command
    }

    /// A process with its own group was started: it shall not outlive the lab.
    pub(crate) fn remember(&mut self, group: i32) {
        self.groups.push(group);
    }

    /// It has ended, and so has all that it has started, or that stays remembered.
    pub(crate) fn forget(&mut self, group: i32) {
        // Ids are used again.
        if killpg(Pid::from_raw(group), None).is_err() {
            self.groups.retain(|known| *known != group);
        }
    }

    /// Adds settings to those that initdb has written.
    ///
    /// # Errors
    /// If there is no cluster.
    pub(crate) fn configure(&self, settings: &[&str]) -> Result<(), String> {
        let path = self.data_dir().join("postgresql.conf");
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let own = [
            "listen_addresses = ''".to_owned(),
            format!("unix_socket_directories = '{}'", self.path.display()),
            format!("cluster_name = '{}'", self.word()),
        ];
        let mut text = fs::read_to_string(&path).map_err(failed)?;
        for line in own.iter().map(String::as_str).chain(settings.iter().copied()) {
            text.push_str(line);
            text.push('\n');
        }
        fs::write(&path, text).map_err(failed)
    }

    fn pid_file_line(&self, number: usize) -> Option<String> {
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        text.lines().nth(number - 1).map(str::to_owned)
    }

    /// The living processes of the server, oldest first.
    pub(crate) fn processes(&self) -> Vec<procfs::ProcessInfo> {
        procfs::processes_in(&self.data_dir())
    }

    /// The process of the server whose title holds all of these words.
    pub(crate) fn find(&self, words: &[&str]) -> Option<i32> {
        let all = self.processes();
        all.iter()
            .find(|process| words.iter().all(|word| process.title.contains(word)))
            .map(|found| found.pid)
    }

    /// SIGKILL to all that was started here and is still there. A process that SIGSTOP has stopped dies of it too.
    fn kill_all(&self) {
        let began = Instant::now();
        loop {
            for group in &self.groups {
                let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
            }
            // Each process of the server leads a group of its own.
            let left = self.processes();
            for process in &left {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            let is_over = left.is_empty() && !self.groups.iter().any(|group| procfs::is_alive(*group));
            if is_over || began.elapsed() > PATIENCE {
                return;
            }
            integration::pause();
        }
    }

    /// What a killed server leaves in the kernel. Its key is the inode of the data directory.
    fn remove_segments(&self) {
        let named =
            self.pid_file_line(7).and_then(|line| line.split_whitespace().nth(1)?.parse::<i64>().ok());
        let inode = fs::metadata(self.data_dir()).map_or(0, |data| data.ino() & 0xffff_ffff);
        let ours = |segment: &procfs::SysvSegment| {
            segment.attached == 0 && (Some(segment.id) == named || segment.key == inode)
        };
        for segment in procfs::sysv_segments().into_iter().filter(ours) {
            process::run(Command::new("ipcrm").args(["-m", &segment.id.to_string()]));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill_all();
        self.remove_segments();
        let Some(folder) = self.folder.take() else { return };
        if self.keep {
            eprintln!("kept: {}", folder.keep().display());
        } else if let Err(error) = folder.close() {
            eprintln!("xtask: {} could not be removed: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As for a person who types along: the folder is the commands' own.
    #[test]
    fn commands_run_in_the_folder_as_the_servers_user() {
        let place = Place::new(Path::new("/usr/bin"), Path::new("/usr/bin"), false).unwrap();
        let output = process::run(&mut place.shell("id -u; pwd; echo $PGDATA; touch mine"));
        let said = String::from_utf8(output.stdout).unwrap();
        let path = place.path("").display().to_string();
        let path = path.trim_end_matches('/');
        assert_eq!(said, format!("{}\n{path}\n{path}/data\n", unprivileged_ids().0));
        assert_eq!(fs::metadata(place.path("mine")).unwrap().uid(), unprivileged_ids().0);
    }

    #[test]
    fn nothing_outlives_it() {
        let mut place = Place::new(Path::new("/usr/bin"), Path::new("/usr/bin"), false).unwrap();
        let path = place.path("");
        let mut command = place.shell("kill -STOP $$; sleep 600");
        let stopped = process::spawn(std::os::unix::process::CommandExt::process_group(&mut command, 0));
        place.remember(stopped.pid());
        integration::wait_until("it stands still", || {
            procfs::state_and_parent(stopped.pid()).is_some_and(|(state, _)| state == 'T')
        });
        drop(place);
        assert!(!path.exists());
        assert!(!procfs::is_alive(stopped.pid()));
    }

    #[test]
    fn folders_may_be_kept() {
        let place = Place::new(Path::new("/usr/bin"), Path::new("/usr/bin"), true).unwrap();
        let path = place.path("");
        drop(place);
        assert!(path.exists());
        fs::remove_dir_all(path).unwrap();
    }
}
