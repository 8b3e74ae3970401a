//! Standbys for `run-cluster`: copies of the running primary that follow its stream.
//!
//! PostgreSQL's `pg_basebackup` makes the copy if it is installed; otherwise the files are copied here, between `pg_backup_start`
//! and `pg_backup_stop`. Either way the slot is made first, so that the primary keeps all WAL from then on, and the settings that
//! make the copy a standby come last.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use common::pidfile::PidFile;
use integration::process::{self, Process, unprivileged_ids};

use crate::{Result, client, cluster_dir};

/// In every cluster, and of no use in a copy. Directories stay, empty.
const EMPTY_IN_COPY: [&str; 6] =
    ["pg_wal", "pg_replslot", "pg_stat_tmp", "pg_subtrans", "pg_notify", "pg_dynshmem"];
const NOT_COPIED: [&str; 3] = ["postmaster.pid", "postmaster.opts", "log"];

/// Name of a standby: of its folder, its slot, and in `synchronous_standby_names`.
pub(crate) fn name(number: u16) -> String {
    format!("standby{number}")
}

/// Where it lies: beside its primary.
pub(crate) fn data_dir(primary: &Path, number: u16) -> PathBuf {
    primary.with_file_name(name(number))
}

/// All that are there, in the order of their numbers.
pub(crate) fn existing(primary: &Path) -> Vec<PathBuf> {
    let Some(Ok(entries)) = primary.parent().map(fs::read_dir) else { return Vec::new() };
    let number_of = |path: &Path| path.file_name()?.to_str()?.strip_prefix("standby")?.parse::<u16>().ok();
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<(u16, PathBuf)> = paths
        .filter_map(|path| Some((number_of(&path)?, path)))
        .filter(|(_, path)| path != primary)
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// What a standby is made with.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) primary: &'a Path,
    pub(crate) number: u16,
    pub(crate) archive: Option<&'a Path>,
}

impl Plan<'_> {
    /// The slot; then the copy, which [`Plan::finish`] makes a standby when it has ended well. `None`: it is complete already.
    ///
    /// # Errors
    /// If the primary refuses.
    pub(crate) fn begin(&self) -> Result<Option<Process>> {
        let (name, primary) = (name(self.number), cluster_dir::pid_file(self.primary)?);
        let mut client = client::connect(&primary).map_err(|e| e.to_string())?;
        let slot = format!(
            "SELECT pg_create_physical_replication_slot('{name}', true) \
             WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}')"
        );
        client.simple_query(&slot).map_err(|e| format!("no slot for {name}: {e}"))?;
        let target = data_dir(self.primary, self.number);
        let Some(real) = integration::real_postgres() else {
            println!(
                "pg_basebackup is not installed: copying {} to {}",
                self.primary.display(),
                target.display()
            );
            self.copy(&mut client, &target)?;
            self.finish()?;
            return Ok(None);
        };
        let mut backup = cluster_dir::command(&real.path("pg_basebackup"));
        backup.args(["-h", host(&primary), "-p", &primary.port.to_string(), "-U", "postgres"]);
        backup.args(["-X", "stream", "-c", "fast", "--no-password", "-D"]).arg(&target);
        println!("{backup:?}");
        Ok(Some(process::spawn(&mut backup)))
    }

    /// The copy by hand.
    fn copy(&self, client: &mut postgres::Client, target: &Path) -> Result<()> {
        let said = |e: postgres::Error| e.to_string();
        client.simple_query("SELECT pg_backup_start('run-cluster', true)").map_err(said)?;
        copy_folder(self.primary, target)?;
        let rows = client.simple_query("SELECT labelfile FROM pg_backup_stop(false)").map_err(said)?;
        let label = rows.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        write_file(&target.join("backup_label"), label.unwrap_or_default())
    }

    /// The signal file and the settings.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn finish(&self) -> Result<()> {
        let (name, primary) = (name(self.number), cluster_dir::pid_file(self.primary)?);
        let target = data_dir(self.primary, self.number);
        let settings = target.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap_or_default();
        let (host, port) = (host(&primary), primary.port);
        let _ = writeln!(
            text,
            "primary_conninfo = 'host={host} port={port} user=postgres application_name={name}'\n\
             primary_slot_name = '{name}'"
        );
        if let Some(archive) = self.archive {
            let _ = writeln!(text, "restore_command = 'cp \"{}/%f\" \"%p\" 2>/dev/null'", archive.display());
        }
        write_file(&settings, &text)?;
        write_file(&target.join("standby.signal"), "")
    }
}

fn host(file: &PidFile) -> &str {
    if file.socket_dir.is_empty() { "127.0.0.1" } else { &file.socket_dir }
}

/// As the server's user.
fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    give_away(path)
}

fn give_away(path: &Path) -> Result<()> {
    let (uid, gid) = unprivileged_ids();
    chown(path, Some(uid), Some(gid)).map_err(|e| format!("{}: {e}", path.display()))
}

/// What a running server removes meanwhile is not missed: WAL tells.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(to).map_err(|e| failed(to, e))?;
    fs::set_permissions(to, fs::metadata(from).map_err(|e| failed(from, e))?.permissions())
        .map_err(|e| failed(to, e))?;
    give_away(to)?;
    for entry in fs::read_dir(from).map_err(|e| failed(from, e))?.flatten() {
        let (name, source) = (entry.file_name(), entry.path());
        let target = to.join(&name);
        let is_one_of = |names: &[&str]| names.iter().any(|one| OsStr::new(one) == name);
        if is_one_of(&NOT_COPIED) {
            continue;
        }
        if source.is_dir() {
            if is_one_of(&EMPTY_IN_COPY) {
                fs::create_dir_all(&target).map_err(|e| failed(&target, e))?;
                give_away(&target)?;
            } else {
                copy_folder(&source, &target)?;
            }
            continue;
        }
        match fs::copy(&source, &target) {
            Ok(_) => give_away(&target)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&source, e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standbys_lie_beside_their_primary() {
        let home = tempfile::tempdir().unwrap();
        let primary = home.path().join("data");
        for name in ["data", "standby10", "standby2", "standbyx", "archive"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        assert_eq!(existing(&primary), [data_dir(&primary, 2), data_dir(&primary, 10)]);
    }

    #[test]
    fn a_copy_leaves_out_what_is_the_originals_own() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        for folder in ["base/5", "pg_wal/archive_status", "log"] {
            fs::create_dir_all(from.join(folder)).unwrap();
        }
        for file in ["base/5/1259", "pg_wal/000000010000000000000001", "postmaster.pid", "PG_VERSION"] {
            fs::write(from.join(file), "x").unwrap();
        }
        copy_folder(&from, &to).unwrap();
        let there = |name: &str| to.join(name).exists();
        assert!(there("base/5/1259") && there("PG_VERSION") && there("pg_wal"));
        assert!(!there("pg_wal/000000010000000000000001") && !there("postmaster.pid") && !there("log"));
    }
}
