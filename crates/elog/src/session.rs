//! Who this process is and whom it serves: the facts that log lines repeat.
//!
//! The facts are local to the process. `miscinit` fills in kind, pid and start time after a fork; a client
//! backend adds user, database and host while a session begins, then tag and statement with every query. A
//! value that does not change is not set again, so a line costs only its own formatting.
//!
//! C counterpart: what elog.c collects from `MyProcPort`, `MyProc`, `MyStartTime` and `debug_query_string`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use common::BackendType;

/// The facts about this process that a log line can mention.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// `%b`.
    pub backend_type: BackendType,
    /// `%p`. Zero means "ask the system": nobody has set it yet.
    pub pid: i32,
    /// `%u`; `None` until the start-up packet has been read.
    pub user: Option<String>,
    /// `%d`; `None` until the start-up packet has been read.
    pub database: Option<String>,
    /// `%h`: an address, a name if `log_hostname`, or `[local]` for a Unix socket. `Some` also means "serves a
    /// client", which is what `%q` and the `[unknown]` of `%u`, `%d` and `%a` depend on. C: `MyProcPort != NULL`.
    pub remote_host: Option<String>,
    /// The client's port, in `%r`; `None` or empty for a Unix socket.
    pub remote_port: Option<String>,
    /// `%s`, and the first half of `%c`. C: `MyStartTimestamp`.
    pub session_start: SystemTime,
    /// `%a`.
    pub application_name: String,
    /// `%i`: the activity part of the process title, `SELECT`, `idle`, `authentication`.
    pub command_tag: String,
    /// `%v`: backend id and local transaction id; `None` for a process without a slot in shared memory.
    pub vxid: Option<(i32, u32)>,
    /// `%x`: 0 while no transaction id is assigned.
    pub xid: u32,
    /// What STATEMENT lines show. C: `debug_query_string`.
    pub statement: Option<Rc<str>>,
    /// `%Q`: 0 while none is computed.
    pub query_id: i64,
    /// `%P`: leader of a parallel group if this process is not its leader, else 0.
    pub leader_pid: i32,
}

impl SessionInfo {
    const fn new() -> SessionInfo {
        SessionInfo {
            backend_type: BackendType::Postmaster,
            pid: 0,
            user: None,
            database: None,
            remote_host: None,
            remote_port: None,
            session_start: SystemTime::UNIX_EPOCH,
            application_name: String::new(),
            command_tag: String::new(),
            vxid: None,
            xid: 0,
            statement: None,
            query_id: 0,
            leader_pid: 0,
        }
    }

    /// Whether this process serves a client.
    pub fn has_client(&self) -> bool {
        self.remote_host.is_some()
    }

    /// The pid to print.
    pub fn log_pid(&self) -> i32 {
        if self.pid != 0 { self.pid } else { i32::try_from(std::process::id()).unwrap_or(0) }
    }

    /// Names what the process is doing, reusing the string's memory.
    pub fn set_command_tag(&mut self, tag: &str) {
        self.command_tag.clear();
        self.command_tag.push_str(tag);
    }
}

impl Default for SessionInfo {
    fn default() -> SessionInfo {
        SessionInfo::new()
    }
}

thread_local! {
    static SESSION: RefCell<SessionInfo> = const { RefCell::new(SessionInfo::new()) };
}

/// Changes facts. Not from inside another [`update`] or [`with`]: that is a bug and panics.
pub fn update<R>(change: impl FnOnce(&mut SessionInfo) -> R) -> R {
    SESSION.with(|session| change(&mut session.borrow_mut()))
}

/// Reads facts.
pub fn with<R>(read: impl FnOnce(&SessionInfo) -> R) -> R {
    SESSION.with(|session| read(&session.borrow()))
}

/// Reads facts for a log line, even for a report made in the middle of [`update`] (which then shows none).
pub(crate) fn with_or_default<R>(read: impl FnOnce(&SessionInfo) -> R) -> R {
    SESSION.with(|session| match session.try_borrow() {
        Ok(session) => read(&session),
        Err(_) => read(&SessionInfo::new()),
    })
}
