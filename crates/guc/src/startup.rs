//! Settings while a server starts: built-in values, the environment, where the files are, and combinations
//! that cannot work. C: `InitializeGUCOptions` and `SelectConfigFiles` in guc.c, and checks of
//! `PostmasterMain`.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use common::SqlState;
use elog::{PgError, Result, errno_text, fatal};
use nix::sys::resource::{Resource, getrlimit};

use crate::file::process_config_file;
use crate::session::{set_dynamic_default, set_option};
use crate::source::{GucAction, GucSource};
use crate::table::GucContext;
use crate::vars;

/// The process whose settings the others inherit: the postmaster, or a server run alone.
static OWNER_PID: AtomicU32 = AtomicU32::new(0);

static DATA_DIR: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Is this a child of the process that read the files first? Children say nothing of reloads. C:
/// `IsUnderPostmaster`.
pub fn under_postmaster() -> bool {
    let owner = OWNER_PID.load(Relaxed);
    owner != 0 && owner != std::process::id()
}

pub(crate) fn claim(context: GucContext) {
    if context == GucContext::Postmaster {
        OWNER_PID.store(std::process::id(), Relaxed);
    }
}

/// The data directory, absolute, once [`select_config_files`] or [`set_data_dir`] has found it. C: `DataDir`.
pub fn data_dir() -> Option<PathBuf> {
    DATA_DIR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Says where the data directory is, for programs that do not go through [`select_config_files`]. C:
/// `SetDataDir`.
pub fn set_data_dir(path: &Path) {
    let path = absolute(path).unwrap_or_else(|_| path.to_owned());
    *DATA_DIR.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
}

/// The first thing a server does with its settings: what the environment says about them. C:
/// `InitializeGUCOptions`.
pub fn initialize() -> Result<()> {
    claim(GucContext::Postmaster);
    environment()
}

/// The same at a reload, where a bad value has been reported long since.
pub(crate) fn apply_environment() {
    let encoding = vars::SERVER_ENCODING.get();
    if let Err(error) = environment().and_then(|()| set_dynamic_default("client_encoding", &encoding)) {
        error.report();
    }
}

/// C: `InitializeGUCOptionsFromEnvironment`.
fn environment() -> Result<()> {
    for (variable, name) in
        [("PGPORT", "port"), ("PGDATESTYLE", "datestyle"), ("PGCLIENTENCODING", "client_encoding")]
    {
        if let Ok(value) = env::var(variable) {
            set_at_start(name, &value, GucSource::EnvVar)?;
        }
    }
    // Use the stack that `ulimit -s` leaves us, within reason.
    if let Some(limit_kb) = stack_limit_kb().filter(|kb| *kb > 100) {
        set_at_start("max_stack_depth", &limit_kb.min(2048).to_string(), GucSource::DynamicDefault)?;
    }
    Ok(())
}

fn set_at_start(name: &str, value: &str, source: GucSource) -> Result<()> {
    set_option(name, value, GucContext::Postmaster, source, GucAction::Set)
}

/// How deep the stack may grow, with the half megabyte that is kept back; `None` if unlimited or unknown. C:
/// `get_stack_depth_rlimit`.
pub(crate) fn stack_limit_kb() -> Option<i32> {
    const SLOP_KB: u64 = 512;
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).ok()?;
    i32::try_from((soft / 1024).checked_sub(SLOP_KB)?).ok()
}

/// Why a server does not start: lines for stderr, before there is a log, or a report.
#[derive(Debug)]
pub enum StartupProblem {
    /// Print this to stderr and exit with status 2, or 1 where it comes from [`check_combinations`].
    Text(String),
    /// Report this and exit with status 1.
    Report(PgError),
}

impl From<PgError> for StartupProblem {
    fn from(error: PgError) -> StartupProblem {
        StartupProblem::Report(error)
    }
}

impl fmt::Display for StartupProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartupProblem::Text(text) => f.write_str(text),
            StartupProblem::Report(error) => error.fmt(f),
        }
    }
}

fn text<T>(text: String) -> Result<T, StartupProblem> {
    Err(StartupProblem::Text(text))
}

/// Finds postgresql.conf, reads it and postgresql.auto.conf, and finds the data directory and the other files.
/// `data_option` is `-D`; command line options have been set before. C: `SelectConfigFiles`.
pub fn select_config_files(data_option: Option<&str>, program: &str) -> Result<(), StartupProblem> {
    let from_environment = || env::var("PGDATA").ok().filter(|dir| !dir.is_empty());
    let config_dir = data_option.map(str::to_owned).or_else(from_environment);
    let config_dir = config_dir.map(|dir| make_absolute(&dir));
    if let Some(dir) = &config_dir
        && let Err(e) = fs::metadata(dir)
    {
        let mut lines =
            format!("{program}: could not access directory \"{}\": {}\n", dir.display(), errno_text(&e));
        if e.kind() == std::io::ErrorKind::NotFound {
            lines.push_str("Run initdb or pg_basebackup to initialize a PostgreSQL data directory.\n");
        }
        return text(lines);
    }
    let config_file = match (vars::CONFIG_FILE.get_opt(), &config_dir) {
        (Some(file), _) => make_absolute(&file),
        (None, Some(dir)) => dir.join("postgresql.conf"),
        (None, None) => {
            return text(format!(
                "{program} does not know where to find the server configuration file.\n\
                 You must specify the --config-file or -D invocation option or set the PGDATA environment \
                 variable.\n"
            ));
        }
    };
    set_path("config_file", &config_file)?;
    if let Err(e) = fs::metadata(&config_file) {
        return text(format!(
            "{program}: could not access the server configuration file \"{}\": {}\n",
            config_file.display(),
            errno_text(&e)
        ));
    }
    // The first reading only looks for data_directory; the second knows where postgresql.auto.conf is.
    process_config_file(GucContext::Postmaster)?;
    let data = vars::DATA_DIRECTORY.get_opt().map(|dir| make_absolute(&dir)).or_else(|| config_dir.clone());
    let Some(data) = data else {
        return text(unknown_place(program, "the database system data", "data_directory"));
    };
    set_data_dir(&data);
    set_path("data_directory", &data)?;
    process_config_file(GucContext::Postmaster)?;
    find_file("hba_file", "hba", "pg_hba.conf", config_dir.as_deref(), program)?;
    find_file("ident_file", "ident", "pg_ident.conf", config_dir.as_deref(), program)
}

fn find_file(
    name: &str,
    kind: &str,
    default: &str,
    config_dir: Option<&Path>,
    program: &str,
) -> Result<(), StartupProblem> {
    let var = if name == "hba_file" { &vars::HBA_FILE } else { &vars::IDENT_FILE };
    match (var.get_opt(), config_dir) {
        (Some(file), _) => set_path(name, &make_absolute(&file)),
        (None, Some(dir)) => set_path(name, &dir.join(default)),
        (None, None) => text(unknown_place(program, &format!("the \"{kind}\" configuration file"), name)),
    }
}

fn unknown_place(program: &str, what: &str, setting: &str) -> String {
    format!(
        "{program} does not know where to find {what}.\nThis can be specified as \"{setting}\" in \"{}\", or \
         by the -D invocation option, or by the PGDATA environment variable.\n",
        vars::CONFIG_FILE.get()
    )
}

fn set_path(name: &str, path: &Path) -> Result<(), StartupProblem> {
    Ok(set_at_start(name, &path.to_string_lossy(), GucSource::Override)?)
}

/// Absolute, without `.`, `..` and double slashes. C: `make_absolute_path`.
fn make_absolute(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in absolute(path).unwrap_or_else(|_| PathBuf::from(path)).components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// Settings that are fine one by one and cannot work together. C: part of `PostmasterMain`.
pub fn check_combinations(program: &str) -> Result<(), StartupProblem> {
    let (reserved, all) = (vars::SUPERUSER_RESERVED_CONNECTIONS.get(), vars::MAX_CONNECTIONS.get());
    if reserved >= all {
        return text(format!(
            "{program}: superuser_reserved_connections ({reserved}) must be less than max_connections ({all})\n"
        ));
    }
    if vars::WAL_LEVEL.get() == "minimal" {
        let code = SqlState::INVALID_PARAMETER_VALUE;
        if vars::ARCHIVE_MODE.get() != "off" {
            return Err(fatal!(code, "WAL archival cannot be enabled when wal_level is \"minimal\"").into());
        }
        if vars::MAX_WAL_SENDERS.get() > 0 {
            return Err(fatal!(
                code,
                "WAL streaming (max_wal_senders > 0) requires wal_level \"replica\" or \"logical\""
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn forget_data_dir() {
    *DATA_DIR.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
