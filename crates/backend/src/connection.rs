//! From an accepted connection to a session that waits for its first statement.
//!
//! C counterpart: `BackendInitialize` of postmaster.c, `InitPostgres` and `PerformAuthentication` of
//! utils/init/postinit.c.

use std::os::fd::AsRawFd;
use std::time::Duration;

use catalog::authid::{self, Role};
use catalog::database::{self, Database};
use common::{BackendType, Oid, SqlState};
use elog::{PgError, Result, ereport, fatal};
use guc::{GucAction, GucContext, GucSource};
use libpq::message::reply;
use libpq::startup::{self, Replication, Startup, StartupParameters};
use libpq::{Port, auth};
use miscinit::child::{CanAccept, ChildStart, PeerAddr};
use miscinit::signals::{self, Role as SignalRole};
use miscinit::{exit, globals, interrupt, ps_status};
use shmem::procsignal::CancelOutcome;

use crate::identity::{self, Identity, RoleId};
use crate::session::{self, Session};
use crate::wait::{Limit, SessionWait};

/// Lets the client in. `None` if there is no session to run: it was a cancel request, or the client left.
/// Whoever is turned away is told why, and the process ends with status 1.
pub(crate) fn begin(mut start: ChildStart) -> Option<Session> {
    let client = start.client.take()?;
    let mut port = Port::new(client);
    let host = port.remote_host();
    let remote_port = port.remote_port();
    elog::session::update(|session| {
        session.remote_host = Some(host.clone());
        session.remote_port = Some(remote_port.clone());
    });
    elog::set_client_sink(Some(session::queue_report));
    elog::set_client_auth_in_progress(true);
    elog::set_panic_guard(|| shmem::held_lwlocks() == 0);
    interrupt::set_processor(crate::wait::process_interrupts);
    signals::install(SignalRole::BackendStartup);
    parser::stack::set_base();
    if guc::vars::LOG_CONNECTIONS.get() {
        let shown_port = if remote_port.is_empty() { String::new() } else { format!(" port={remote_port}") };
        ereport!(Log, "connection received: host={host}{shown_port}");
    }
    match let_in(&start, &mut port) {
        Ok(true) => Some(Session::new(port)),
        Ok(false) => None,
        Err(error) => turn_away(port, &error),
    }
}

fn turn_away(mut port: Port, error: &PgError) -> ! {
    session::move_reports(&mut port);
    // To the client through its port, which knows how old a protocol it speaks.
    elog::set_client_sink(None);
    error.report();
    // Whoever was too slow, or is sent away by a signal, may be in the middle of an exchange: it sees the end.
    let in_time = !matches!(error.sqlstate, SqlState::QUERY_CANCELED | SqlState::ADMIN_SHUTDOWN);
    if error.severity >= elog::Severity::Error && in_time {
        port.report(error);
    }
    // The client gets a moment to take it, not more: it may be the one that is stuck.
    let _ = port.flush(&mut SessionWait::new(Some((Limit::Authentication, Duration::from_secs(1))), false));
    exit::proc_exit(1)
}

/// The whole way in. False if the connection was not about a session.
fn let_in(start: &ChildStart, port: &mut Port) -> Result<bool> {
    let mut patience = Duration::from_secs(guc::vars::AUTHENTICATION_TIMEOUT.get() as u64);
    if start.can_accept == CanAccept::Shutdown
        && let Some(until) = shutdown::bounds::stranger_until()
    {
        patience = patience.min(until.left());
    }
    let mut policy = SessionWait::new(Some((Limit::StartupPacket, patience)), false);
    let parameters = match startup::process_startup_packet(port, &mut policy)? {
        Startup::Session(parameters) => parameters,
        Startup::Cancel { pid, cancel_key } => {
            cancel(pid, cancel_key);
            return Ok(false);
        }
        Startup::Closed => return Ok(false),
    };
    note_who_asks(&parameters, port);
    refuse_unless_admitted(start)?;
    take_place(start, kind_of(&parameters))?;
    if !port.is_encrypted() {
        signals::set_farewell_fd(port.socket().as_raw_fd());
    }
    let roles = authid::load(globals::data_dir())?;
    ps_status::set_activity("authentication");
    let mut policy = SessionWait::new(Some((Limit::Authentication, patience)), port.is_encrypted());
    auth::client_authentication(port, &parameters, &roles, &mut policy)?;
    ps_status::set_activity("startup");
    elog::set_client_auth_in_progress(false);
    log_authorized(&parameters, port);
    let role = check_role(roles.find(&parameters.user)?, &parameters.user)?;
    match parameters.replication {
        Replication::No => check_reserved(&role)?,
        Replication::Physical | Replication::Logical => check_may_replicate(&role)?,
    }
    let database = match parameters.replication {
        Replication::Physical => None,
        Replication::No | Replication::Logical => Some(check_database(&parameters.database, &role)?),
    };
    become_session(&role, database.as_ref(), port);
    if let Some(database) = &database {
        follow_database(database)?;
    }
    apply_settings(&parameters, &role)?;
    if parameters.replication == Replication::No {
        pgstat::report_connect();
    } else {
        walsender::init(database.is_some())?;
    }
    greet(start, port);
    Ok(true)
}

/// What the session is to the other processes.
fn kind_of(parameters: &StartupParameters) -> BackendType {
    if parameters.replication == Replication::No { BackendType::Backend } else { BackendType::WalSender }
}

/// Title and log know from here on whom it is about.
fn note_who_asks(parameters: &StartupParameters, port: &Port) {
    let StartupParameters { user, database, .. } = parameters;
    let address = match port.peer() {
        PeerAddr::Unix => "[local]".to_owned(),
        PeerAddr::Tcp(_) => format!("{}({})", port.remote_host(), port.remote_port()),
    };
    let kind = kind_of(parameters);
    if kind == BackendType::WalSender {
        // For the log, from its first line on.
        globals::set_backend_type(kind);
        ps_status::set_fixed(&format!("{} {user} {address}", kind.ps_title()));
    } else {
        ps_status::set_fixed(&format!("{user} {database} {address}"));
    }
    ps_status::set_activity("initializing");
    elog::session::update(|session| {
        session.user = Some(user.clone());
        session.database = Some(database.clone());
        session.application_name = parameters.application_name.clone().unwrap_or_default();
        session.set_command_tag("startup");
    });
}

/// C: `processCancelRequest`.
fn cancel(pid: i32, cancel_key: i32) {
    match shmem::procsignal::send_cancel(pid, cancel_key) {
        CancelOutcome::Sent => ereport!(Debug2, "processing cancel request: sending SIGINT to process {pid}"),
        CancelOutcome::WrongKey => ereport!(Log, "wrong key in cancel request for process {pid}"),
        CancelOutcome::NoSuchProcess => {
            ereport!(Log, "PID {pid} in cancel request did not match any process");
        }
    }
}

/// C: the switch over `CAC_state` in `ProcessStartupPacket`.
fn refuse_unless_admitted(start: &ChildStart) -> Result<()> {
    let not_now = |text: &'static str| fatal!(SqlState::CANNOT_CONNECT_NOW, "{text}");
    Err(match start.can_accept {
        CanAccept::Ok => return Ok(()),
        CanAccept::Startup => not_now("the database system is starting up"),
        CanAccept::Shutdown => {
            let error = not_now("the database system is shutting down");
            // Differs from PG 15, which does not say what it waits for.
            match &start.detail {
                Some(detail) => error.detail(detail.clone()),
                None => error,
            }
        }
        CanAccept::Recovery => not_now("the database system is in recovery mode"),
        CanAccept::NotConsistent if guc::vars::HOT_STANDBY.get() => {
            not_now("the database system is not yet accepting connections")
                .detail("Consistent recovery state has not been yet reached.")
        }
        CanAccept::NotConsistent => not_now("the database system is not accepting connections")
            .detail("Hot standby mode is disabled."),
        CanAccept::TooMany => too_many_clients(),
    })
}

fn too_many_clients() -> PgError {
    fatal!(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
}

/// A PGPROC and an entry in `pg_stat_activity`; from here on signals mean what they mean to a session.
fn take_place(start: &ChildStart, kind: BackendType) -> Result<()> {
    shmem::pmsignal::set_my_child_slot(start.slot);
    shmem::init_process(kind, start.cancel_key)?;
    exit::on_shmem_exit(|_| shmem::proc::release());
    activity::begin(kind);
    exit::on_shmem_exit(|_| activity::end());
    signals::change(SignalRole::BackendStartup, SignalRole::Kind(kind));
    crate::attach::attach();
    Ok(())
}

/// C: the `Log_connections` block of `PerformAuthentication`.
fn log_authorized(parameters: &StartupParameters, port: &Port) {
    if !guc::vars::LOG_CONNECTIONS.get() {
        return;
    }
    let application = match &parameters.application_name {
        Some(name) if !name.is_empty() => format!(" application_name={name}"),
        _ => String::new(),
    };
    let tls = port.tls_info().map_or_else(String::new, |tls| {
        format!(" SSL enabled (protocol={}, cipher={}, bits={})", tls.version, tls.cipher, tls.bits)
    });
    let StartupParameters { user, database, .. } = parameters;
    if parameters.replication == Replication::No {
        ereport!(Log, "connection authorized: user={user} database={database}{application}{tls}");
    } else {
        ereport!(Log, "replication connection authorized: user={user}{application}{tls}");
    }
}

/// C: `InitializeSessionUserId`.
fn check_role(role: Option<Role>, name: &str) -> Result<Role> {
    let not_allowed = |text: String| fatal!(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "{text}");
    let role = role.ok_or_else(|| not_allowed(format!("role \"{name}\" does not exist")))?;
    if !role.login {
        return Err(not_allowed(format!("role \"{name}\" is not permitted to log in")));
    }
    if role.conn_limit >= 0 && !role.superuser && sessions_of(role.oid) >= role.conn_limit {
        return Err(fatal!(SqlState::TOO_MANY_CONNECTIONS, "too many connections for role \"{name}\""));
    }
    Ok(role)
}

/// Other sessions of a role. C: `CountUserBackends`.
fn sessions_of(role: Oid) -> i32 {
    count_sessions(|proc| proc.role_id.load(std::sync::atomic::Ordering::Relaxed) == role.0)
}

fn count_sessions(matches: impl Fn(&shmem::PgProc) -> bool) -> i32 {
    let procs = shmem::all_procs().iter();
    let is_session =
        |proc: &shmem::PgProc| matches!(proc.kind(), Some(BackendType::Backend | BackendType::WalSender));
    procs.filter(|proc| is_session(proc) && matches(proc)).count() as i32
}

/// C: the `HaveNFreeProcs` check of `InitPostgres`.
fn check_reserved(role: &Role) -> Result<()> {
    let reserved = guc::vars::SUPERUSER_RESERVED_CONNECTIONS.get() as u32;
    if reserved > 0 && !role.superuser && !shmem::proc::have_n_free_procs(reserved) {
        return Err(fatal!(
            SqlState::TOO_MANY_CONNECTIONS,
            "remaining connection slots are reserved for non-replication superuser connections"
        ));
    }
    Ok(())
}

/// C: the check of replication permissions in `InitPostgres`.
fn check_may_replicate(role: &Role) -> Result<()> {
    if role.superuser || role.replication {
        return Ok(());
    }
    Err(fatal!(SqlState::INSUFFICIENT_PRIVILEGE, "must be superuser or replication role to start walsender"))
}

/// C: `GetDatabaseTuple` and `CheckMyDatabase`.
pub(crate) fn check_database(name: &str, role: &Role) -> Result<Database> {
    let found = database::load(globals::data_dir())?.find(name)?;
    let database =
        found.ok_or_else(|| fatal!(SqlState::UNDEFINED_DATABASE, "database \"{name}\" does not exist"))?;
    // In single-user mode it may be the way to repair it.
    if !database.allow_conn && globals::under_postmaster() {
        return Err(fatal!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "database \"{name}\" is not currently accepting connections"
        ));
    }
    let sessions =
        || count_sessions(|p| p.database_id.load(std::sync::atomic::Ordering::Relaxed) == database.oid.0);
    if database.conn_limit >= 0 && !role.superuser && sessions() >= database.conn_limit {
        return Err(fatal!(SqlState::TOO_MANY_CONNECTIONS, "too many connections for database \"{name}\""));
    }
    let folder = globals::data_dir().join("base").join(database.oid.to_string());
    if !folder.is_dir() {
        return Err(fatal!(SqlState::UNDEFINED_DATABASE, "database \"{name}\" does not exist")
            .detail(format!("The database subdirectory \"base/{}\" is missing.", database.oid)));
    }
    Ok(database)
}

/// Writes down who the session is, for itself and for the others. A walsender of physical replication has no database.
pub(crate) fn become_session(role: &Role, database: Option<&Database>, port: &Port) {
    use std::sync::atomic::Ordering::Relaxed;
    let (database_oid, database_name) =
        database.map_or((Oid::INVALID, ""), |database| (database.oid, database.name.as_str()));
    let proc = shmem::my_proc();
    proc.role_id.store(role.oid.0, Relaxed);
    proc.database_id.store(database_oid.0, Relaxed);
    let client = match port.peer() {
        PeerAddr::Tcp(address) => Some(address),
        PeerAddr::Unix => None,
    };
    activity::report_session(
        (database_oid, database_name),
        (role.oid, &role.name),
        client.map(|address| (address.ip(), address.port())),
        client.is_none(),
    );
    if let Some(tls) = port.tls_info() {
        activity::report_tls(tls.version, tls.cipher, tls.bits);
    }
    if let Some(database) = database {
        catalog::set_my_database(database.oid);
    }
    let user = RoleId { oid: role.oid, name: role.name.clone(), superuser: role.superuser };
    identity::set(Identity {
        authenticated: user.clone(),
        session_user: user.clone(),
        current_user: user,
        database: database_oid,
        database_name: database_name.to_owned(),
        client,
        socket: port.socket().as_raw_fd(),
    });
}

/// Encoding and locale are the database's. C: the end of `CheckMyDatabase`.
pub(crate) fn follow_database(database: &Database) -> Result<()> {
    let as_fatal = |error: PgError| error.with_severity(elog::Severity::Fatal);
    let encoding = database.encoding.name();
    guc::set_internal("server_encoding", encoding).map_err(as_fatal)?;
    guc::set_dynamic_default("client_encoding", encoding).map_err(as_fatal)?;
    guc::set_internal("lc_collate", &database.collate).map_err(as_fatal)?;
    guc::set_internal("lc_ctype", &database.ctype).map_err(as_fatal)
}

/// What the database fixes, and what the start-up packet asks for. C: `process_startup_options`.
pub(crate) fn apply_settings(parameters: &StartupParameters, role: &Role) -> Result<()> {
    let as_fatal = |error: PgError| error.with_severity(elog::Severity::Fatal);
    let on_off = if role.superuser { "on" } else { "off" };
    guc::set_internal("is_superuser", on_off).map_err(as_fatal)?;
    guc::set_option(
        "session_authorization",
        role.name.as_str(),
        GucContext::Internal,
        GucSource::Override,
        GucAction::Set,
    )
    .map_err(as_fatal)?;
    let context = if role.superuser { GucContext::SuperuserBackend } else { GucContext::Backend };
    let set = |name: &str, value: &str| {
        guc::set_option(name, value, context, GucSource::Client, GucAction::Set).map_err(as_fatal)
    };
    if let Some(options) = &parameters.options {
        for (name, value) in settings_in(options)? {
            set(&name, &value)?;
        }
    }
    for (name, value) in &parameters.settings {
        set(name, value)?;
    }
    miscinit::config::apply_log_settings();
    session::apply_stack_limit();
    activity::report_application_name(&guc::vars::APPLICATION_NAME.get());
    Ok(())
}

/// The settings in a string of command-line options: `-c name=value`, `--name=value`.
/// C: `process_postgres_switches`.
fn settings_in(options: &str) -> Result<Vec<(String, String)>> {
    let words = startup::split_options(options);
    let mut words = words.iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(rest), _) => rest.to_owned(),
            (None, Some("")) => words.next().cloned().unwrap_or_default(),
            (None, Some(rest)) => rest.to_owned(),
            (None, None) => {
                return Err(fatal!(
                    SqlState::SYNTAX_ERROR,
                    "invalid command-line argument for server process: {word}"
                )
                .hint("Try \"postgres --help\" for more information."));
            }
        };
        let (name, value) = guc::parse_long_option(&assignment);
        let value =
            value.ok_or_else(|| fatal!(SqlState::SYNTAX_ERROR, "{word} {assignment} requires a value"))?;
        settings.push((name, value));
    }
    Ok(settings)
}

/// The first answers. They are sent together with the first ReadyForQuery.
fn greet(start: &ChildStart, port: &mut Port) {
    crate::read_only::follow_recovery();
    session::move_reports(port);
    for (name, value) in guc::reported() {
        reply::parameter_status(port.out(), name, &value);
    }
    reply::backend_key_data(port.out(), globals::my_proc_pid(), start.cancel_key);
}
