//! Lock files: `postmaster.pid` in the data directory and `.s.PGSQL.PORT.lock` beside each Unix socket.
//!
//! A lock file is created with O_EXCL and names its owner. One whose owner is dead is stale and replaced,
//! but the data directory's only if nobody is attached to the shared segment it names: a session that
//! outlived its postmaster still writes to the same files (the interlock).
//!
//! Relative paths are meant: the server works in its data directory.
//!
//! C counterpart: the second half of utils/init/miscinit.c.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::SqlState;
use common::pidfile::{self, PID_FILE, PidFile};
use elog::{PgError, Result, ereport, error, fatal};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getppid};

use crate::globals;

thread_local! {
    /// Files to remove at exit, in the order they were made.
    static LOCK_FILES: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// What a lock file protects; it decides the hint for the one who comes second.
enum Protects<'a> {
    DataDir,
    Socket(&'a Path),
}

/// Creates `postmaster.pid` with lines 1 to 5 and arranges for its removal. C: `CreateDataDirLockFile`.
///
/// # Errors
/// FATAL F0001 if another server holds the directory; FATAL if the file cannot be read or written.
pub fn create_data_dir(port: u16) -> Result<()> {
    create(Path::new(PID_FILE), &Protects::DataDir, port, "")
}

/// Creates `<socket>.lock` for a Unix socket in `socket_dir`. C: `CreateSocketLockFile`.
///
/// # Errors
/// FATAL F0001 if another server uses the socket; FATAL if the file cannot be read or written.
pub fn create_socket(socket: &Path, socket_dir: &str, port: u16) -> Result<()> {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    create(Path::new(&lock), &Protects::Socket(socket), port, socket_dir)
}

/// More than one round is needed only if files appear and vanish while we look. C: the 100 of
/// `CreateLockFile`.
const MAX_TRIES: u32 = 100;

fn create(path: &Path, protects: &Protects<'_>, port: u16, socket_dir: &str) -> Result<()> {
    for tries in 1.. {
        match open_exclusively(path) {
            Ok(file) => {
                write_new(path, file, port, socket_dir)?;
                remember(path);
                return Ok(());
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < MAX_TRIES => {}
            Err(e) => return Err(failed("create", path, &e)),
        }
        let content = match fs::read_to_string(path) {
            Ok(content) => content,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(failed("open", path, &e)),
        };
        refuse_unless_stale(path, protects, &content)?;
        if let Err(e) = fs::remove_file(path)
            && e.kind() != ErrorKind::NotFound
        {
            return Err(failed("remove old", path, &e).hint(
                "The file seems accidentally left over, but it could not be removed. Please remove the file by hand and try again.",
            ));
        }
    }
    unreachable!("the loop above ends by returning")
}

fn open_exclusively(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(file_mode()).open(path)
}

/// 0640 in a cluster whose directory the group may read. C: `pg_file_create_mode`.
fn file_mode() -> u32 {
    let group = fs::metadata(globals::data_dir()).is_ok_and(|m| m.permissions().mode() & 0o050 == 0o050);
    if group { 0o640 } else { 0o600 }
}

fn write_new(path: &Path, mut file: File, port: u16, socket_dir: &str) -> Result<()> {
    let start = globals::my_start_time().duration_since(std::time::UNIX_EPOCH);
    // A minus sign says that this is no server one could connect to.
    let standalone = globals::backend_type() == common::BackendType::StandaloneBackend;
    let content = PidFile {
        pid: if standalone { -globals::my_proc_pid() } else { globals::my_proc_pid() },
        data_dir: globals::data_dir().display().to_string(),
        start_time: start.map_or(0, |d| d.as_secs() as i64),
        port,
        socket_dir: socket_dir.to_owned(),
        ..PidFile::default()
    };
    let written = file.write_all(content.to_string().as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|e| {
        let _ = fs::remove_file(path);
        failed("write", path, &e)
    })
}

fn refuse_unless_stale(path: &Path, protects: &Protects<'_>, content: &str) -> Result<()> {
    let shown = path.display();
    let found = PidFile::parse(content).map_err(|e| match e {
        pidfile::PidFileError::Empty => fatal!(SqlState::LOCK_FILE_EXISTS, "lock file \"{shown}\" is empty").hint(
            "Either another server is starting, or the lock file is the remnant of a previous server startup crash.",
        ),
        pidfile::PidFileError::Invalid => {
            fatal!(SqlState::INTERNAL_ERROR, "bogus data in lock file \"{shown}\": \"{content}\"")
        }
    })?;
    let owner = found.pid.abs();
    if is_somebody_else(owner) && is_alive(owner) {
        let who = if found.is_standalone() { "postgres" } else { "postmaster" };
        let hint = match protects {
            Protects::DataDir => {
                format!(
                    "Is another {who} (PID {owner}) running in data directory \"{}\"?",
                    globals::data_dir().display()
                )
            }
            Protects::Socket(socket) => {
                format!("Is another {who} (PID {owner}) using socket file \"{}\"?", socket.display())
            }
        };
        return Err(fatal!(SqlState::LOCK_FILE_EXISTS, "lock file \"{shown}\" already exists").hint(hint));
    }
    match (protects, found.shmem_key) {
        (Protects::DataDir, Some((key, id))) if shmem::sysv::in_use(globals::data_dir(), key, id) => {
            Err(shmem::sysv::still_in_use_error(key, id, globals::data_dir()))
        }
        _ => Ok(()),
    }
}

/// A file left by an earlier life of this very process id, of our parent or of the pid that a wrapper says
/// started it, is not another server's.
fn is_somebody_else(owner: i32) -> bool {
    let grandparent = std::env::var("PG_GRANDPARENT_PID").ok().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    owner != globals::my_proc_pid() && owner != getppid().as_raw() && owner != grandparent
}

/// A process of another user cannot be a server on our files, so EPERM counts as dead. So does a zombie:
/// whoever should reap it may take its time, but it will write nothing any more.
fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) == Ok(()) && !is_zombie(pid)
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn failed(verb: &str, path: &Path, e: &std::io::Error) -> PgError {
    fatal!(
        SqlState::INTERNAL_ERROR,
        "could not {verb} lock file \"{}\": {}",
        path.display(),
        common::file::os_error_text(e)
    )
}

fn remember(path: &Path) {
    let first = LOCK_FILES.with_borrow_mut(|files| {
        files.push(path.to_owned());
        files.len() == 1
    });
    if first {
        crate::exit::on_proc_exit(|_| unlink_all());
    }
}

/// Removes the files, last made first, and says the last words of a postmaster. C: `UnlinkLockFiles`.
fn unlink_all() {
    let files = LOCK_FILES.take();
    for path in files.iter().rev() {
        let _ = fs::remove_file(path);
    }
    if globals::backend_type() != common::BackendType::StandaloneBackend {
        ereport!(Log, "database system is shut down");
    }
}

/// Rewrites one line of `postmaster.pid` ([`pidfile::line`]) with one durable write. A failure is logged,
/// not returned: the server runs as well without. C: `AddToDataDirLockFile`.
pub fn add_line(number: usize, text: &str) {
    let rewrite = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(PID_FILE)?;
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        let changed = pidfile::with_line(&content, number, text);
        file.write_all_at(changed.as_bytes(), 0)?;
        file.set_len(changed.len() as u64)?;
        file.sync_all()
    };
    if let Err(e) = rewrite() {
        ereport!(Log, "could not write to file \"{PID_FILE}\": {}", common::file::os_error_text(&e));
    }
}

/// Is `postmaster.pid` still ours? If not, somebody removed it or another server took the directory: the
/// caller must stop at once. Doubt (a read error other than "no such file") counts as yes.
/// C: `RecheckDataDirLockFile`.
pub fn recheck_data_dir() -> bool {
    match fs::read_to_string(PID_FILE) {
        Ok(content) => {
            let owner = PidFile::parse(&content).map_or(0, |file| file.pid);
            if owner == globals::my_proc_pid() {
                return true;
            }
            ereport!(
                Log,
                "lock file \"{PID_FILE}\" contains wrong PID: {owner} instead of {}",
                globals::my_proc_pid()
            );
            false
        }
        Err(e) => {
            let gone = matches!(e.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ENOTDIR));
            let reason = common::file::os_error_text(&e);
            if gone {
                ereport!(Log, "could not open file \"{PID_FILE}\": {reason}");
            } else {
                ereport!(Log, "could not open file \"{PID_FILE}\": {reason}; continuing anyway");
            }
            !gone
        }
    }
}

/// Touches the socket lock files, so that cleaners of /tmp leave them alone. C: `TouchSocketLockFiles`.
pub fn touch_socket_locks() {
    let socket_locks = LOCK_FILES.with_borrow(|files| files.iter().skip(1).cloned().collect::<Vec<_>>());
    for path in socket_locks {
        if let Ok(file) = File::open(&path) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
    }
}

/// Checks `PG_VERSION` of a directory. C: `ValidatePgVersion`.
///
/// # Errors
/// FATAL if the file is missing, unreadable or names another major version.
pub fn validate_pg_version(dir: &Path) -> Result<()> {
    let path = dir.join("PG_VERSION");
    let not_valid =
        || fatal!(SqlState::INVALID_PARAMETER_VALUE, "\"{}\" is not a valid data directory", dir.display());
    let content = fs::read_to_string(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => not_valid().detail(format!("File \"{}\" is missing.", path.display())),
        _ => error!(
            SqlState::INTERNAL_ERROR,
            "could not open file \"{}\": {}",
            path.display(),
            common::file::os_error_text(&e)
        )
        .with_severity(elog::Severity::Fatal),
    })?;
    let major = content.trim();
    if major.parse::<f64>().is_err() {
        return Err(not_valid()
            .detail(format!("File \"{}\" does not contain valid data.", path.display()))
            .hint("You might need to initdb."));
    }
    if major != common::version::PG_MAJORVERSION {
        return Err(fatal!(SqlState::INVALID_PARAMETER_VALUE, "database files are incompatible with server").detail(
            format!(
                "The data directory was initialized by PostgreSQL version {major}, which is not compatible with this version {}.",
                common::version::PG_VERSION
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_owner_is_no_owner() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while !is_zombie(pid) {
            std::thread::yield_now();
        }
        assert!(!is_alive(pid), "a zombie holds nothing");
        child.wait().unwrap();
        assert!(is_alive(std::process::id() as i32));
        assert!(!is_somebody_else(getppid().as_raw()));
    }

    #[test]
    fn what_a_lock_file_may_hold() {
        let check = |content: &str, expected: &str| {
            let error = refuse_unless_stale(Path::new("x.lock"), &Protects::Socket(Path::new("x")), content);
            assert_eq!(error.err().map(|e| e.message.to_string()).unwrap_or_default(), expected);
        };
        check("", "lock file \"x.lock\" is empty");
        check("0\n", "bogus data in lock file \"x.lock\": \"0\n\"");
        check("99999999\n", "");
        // Not getppid() but somebody who surely lives and is ours: only as a child can we be sure of that.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        check(&format!("{}\n", child.id()), "lock file \"x.lock\" already exists");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
