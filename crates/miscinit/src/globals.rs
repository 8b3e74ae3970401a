//! Who this process is. Written by the parent before or right after the fork, read everywhere after.
//!
//! C counterpart: utils/init/globals.c.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::BackendType;

static MY_PROC_PID: AtomicI32 = AtomicI32::new(0);
static MY_BACKEND_TYPE: AtomicU8 = AtomicU8::new(BackendType::Postmaster as u8);
static MY_START_MICROS: AtomicI64 = AtomicI64::new(0);
static MY_CANCEL_KEY: AtomicI32 = AtomicI32::new(0);
static POSTMASTER_PID: AtomicI32 = AtomicI32::new(0);
static POSTMASTER_START_MICROS: AtomicI64 = AtomicI64::new(0);
static DATA_DIR: OnceLock<PathBuf> = OnceLock::new();
static POSTMASTER_EXE: OnceLock<PathBuf> = OnceLock::new();

/// This process. C: `MyProcPid`.
pub fn my_proc_pid() -> i32 {
    MY_PROC_PID.load(Relaxed)
}

/// The kind of this process. C: `MyBackendType`.
pub fn backend_type() -> BackendType {
    BackendType::from_u8(MY_BACKEND_TYPE.load(Relaxed)).unwrap_or(BackendType::Postmaster)
}

/// When this process began. C: `MyStartTimestamp`.
pub fn my_start_time() -> SystemTime {
    from_micros(MY_START_MICROS.load(Relaxed))
}

/// What a cancel request for this session must present. C: `MyCancelKey`.
pub fn my_cancel_key() -> i32 {
    MY_CANCEL_KEY.load(Relaxed)
}

/// The postmaster, alive or not; 0 in a process that has none. C: `PostmasterPid`.
pub fn postmaster_pid() -> i32 {
    POSTMASTER_PID.load(Relaxed)
}

/// `pg_postmaster_start_time()`. C: `PgStartTime`.
pub fn postmaster_start_time() -> SystemTime {
    from_micros(POSTMASTER_START_MICROS.load(Relaxed))
}

/// True in every child of a postmaster. C: `IsUnderPostmaster`.
pub fn under_postmaster() -> bool {
    let postmaster = postmaster_pid();
    postmaster != 0 && postmaster != my_proc_pid()
}

/// The data directory, absolute. Empty before [`set_data_dir`]. C: `DataDir`.
pub fn data_dir() -> &'static Path {
    DATA_DIR.get().map_or_else(|| Path::new(""), PathBuf::as_path)
}

/// Names the data directory, once. A second call is ignored.
pub fn set_data_dir(path: PathBuf) {
    let _ = DATA_DIR.set(path);
}

/// Full path of the running program, for postmaster.opts and messages. C: `my_exec_path`.
pub fn my_exec_path() -> &'static Path {
    POSTMASTER_EXE.get_or_init(|| std::env::current_exe().unwrap_or_else(|_| PathBuf::from("postgres")))
}

/// Makes this process the postmaster (or the only one). C: the start of `PostmasterMain`.
pub fn become_postmaster() {
    become_process(BackendType::Postmaster, 0);
    POSTMASTER_PID.store(my_proc_pid(), Relaxed);
    POSTMASTER_START_MICROS.store(MY_START_MICROS.load(Relaxed), Relaxed);
}

/// Makes this process a child of that kind. C: `InitPostmasterChild`.
pub(crate) fn become_process(kind: BackendType, cancel_key: i32) {
    MY_PROC_PID.store(std::process::id() as i32, Relaxed);
    MY_BACKEND_TYPE.store(kind as u8, Relaxed);
    MY_CANCEL_KEY.store(cancel_key, Relaxed);
    let now = SystemTime::now();
    let micros = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    MY_START_MICROS.store(micros, Relaxed);
    elog::session::update(|session| {
        session.backend_type = kind;
        session.pid = my_proc_pid();
        session.session_start = now;
    });
}

/// A session whose start-up packet asked for replication is of another kind than it was forked as.
pub fn set_backend_type(kind: BackendType) {
    MY_BACKEND_TYPE.store(kind as u8, Relaxed);
    elog::session::update(|session| session.backend_type = kind);
}

fn from_micros(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.max(0) as u64)
}
