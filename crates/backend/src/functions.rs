//! The functions that only a server can answer: about the session, the cluster, the other processes.
//!
//! Those about WAL, relations and transactions have files of their own.
//!
//! C counterpart: utils/adt/misc.c and storage/ipc/signalfuncs.c.

mod backup;
mod control_file;
mod files;
mod recovery;
mod relation;
mod replication;
pub(crate) mod replication_slots;
mod shutdown;
mod statistics;
mod tablespace;
mod transaction;
mod wal;

use std::rc::Rc;
use std::time::{Duration, Instant};

use catalog::encoding::Encoding;
use common::{Oid, SqlState};
use elog::{Result, error, pg_error};
use guc::GucAction;
use miscinit::globals;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::wait_event::WaitEvent;
use types::fmgr::{Builtin, CallContext, Registry};
use types::{ArrayValue, Datum, RecordValue, oid};

use crate::{identity, wait};

/// Adds this crate's functions. Called once, before the first fork.
pub(crate) fn register(registry: &mut Registry) {
    registry.add(FUNCTIONS);
    registry.add(relation::FUNCTIONS);
    registry.add(tablespace::FUNCTIONS);
    registry.add(statistics::FUNCTIONS);
    registry.add(transaction::FUNCTIONS);
    registry.add(wal::FUNCTIONS);
    registry.add(backup::FUNCTIONS);
    registry.add(recovery::FUNCTIONS);
    registry.add(control_file::FUNCTIONS);
    registry.add(files::FUNCTIONS);
    registry.add(replication::FUNCTIONS);
    registry.add(replication_slots::FUNCTIONS);
    registry.add(shutdown::FUNCTIONS);
}

/// `pg_postmaster_is_alive` is this project's own; its OID is from the range that PostgreSQL keeps for
/// development.
static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2026, "pg_backend_pid", &[], oid::INT4, pg_backend_pid).stable(),
    Builtin::scalar(89, "version", &[], oid::TEXT, version).stable(),
    Builtin::scalar(861, "current_database", &[], oid::NAME, current_database).stable(),
    Builtin::scalar(1402, "current_schema", &[], oid::NAME, current_schema).stable(),
    Builtin::scalar(1403, "current_schemas", &[oid::BOOL], oid::_NAME, current_schemas).stable(),
    Builtin::scalar(745, "current_user", &[], oid::NAME, current_user).stable(),
    Builtin::scalar(746, "session_user", &[], oid::NAME, session_user).stable(),
    Builtin::scalar(1642, "pg_get_userbyid", &[oid::OID], oid::NAME, pg_get_userbyid).stable(),
    Builtin::scalar(2077, "current_setting", &[oid::TEXT], oid::TEXT, current_setting).stable(),
    Builtin::scalar(3294, "current_setting", &[oid::TEXT, oid::BOOL], oid::TEXT, current_setting).stable(),
    Builtin::scalar(2078, "set_config", &[oid::TEXT, oid::TEXT, oid::BOOL], oid::TEXT, set_config)
        .not_strict()
        .volatile(),
    Builtin::scalar(2626, "pg_sleep", &[oid::FLOAT8], oid::VOID, pg_sleep).volatile(),
    Builtin::scalar(3935, "pg_sleep_for", &[oid::INTERVAL], oid::VOID, pg_sleep_for).volatile(),
    Builtin::scalar(3936, "pg_sleep_until", &[oid::TIMESTAMPTZ], oid::VOID, pg_sleep_until).volatile(),
    Builtin::scalar(2621, "pg_reload_conf", &[], oid::BOOL, pg_reload_conf).volatile(),
    Builtin::scalar(2622, "pg_rotate_logfile", &[], oid::BOOL, pg_rotate_logfile).volatile(),
    Builtin::scalar(3800, "pg_current_logfile", &[], oid::TEXT, pg_current_logfile).not_strict().volatile(),
    Builtin::scalar(3801, "pg_current_logfile", &[oid::TEXT], oid::TEXT, pg_current_logfile)
        .not_strict()
        .volatile(),
    Builtin::scalar(2171, "pg_cancel_backend", &[oid::INT4], oid::BOOL, pg_cancel_backend).volatile(),
    Builtin::scalar(2096, "pg_terminate_backend", &[oid::INT4, oid::INT8], oid::BOOL, pg_terminate_backend)
        .volatile()
        .names(&["pid", "timeout"])
        .defaults(&[Some("0")]),
    Builtin::scalar(2560, "pg_postmaster_start_time", &[], oid::TIMESTAMPTZ, pg_postmaster_start_time)
        .stable(),
    Builtin::scalar(2034, "pg_conf_load_time", &[], oid::TIMESTAMPTZ, pg_conf_load_time).stable(),
    Builtin::scalar(8101, "pg_postmaster_is_alive", &[], oid::BOOL, pg_postmaster_is_alive).volatile(),
    Builtin::scalar(2196, "inet_client_addr", &[], oid::INET, inet_client_addr).not_strict().stable(),
    Builtin::scalar(2197, "inet_client_port", &[], oid::INT4, inet_client_port).not_strict().stable(),
    Builtin::scalar(2198, "inet_server_addr", &[], oid::INET, inet_server_addr).not_strict().stable(),
    Builtin::scalar(2199, "inet_server_port", &[], oid::INT4, inet_server_port).not_strict().stable(),
    Builtin::scalar(315, "pg_jit_available", &[], oid::BOOL, pg_jit_available).volatile(),
    Builtin::scalar(810, "pg_client_encoding", &[], oid::NAME, pg_client_encoding).stable(),
    Builtin::scalar(1039, "getdatabaseencoding", &[], oid::NAME, getdatabaseencoding).stable(),
    Builtin::scalar(1597, "pg_encoding_to_char", &[oid::INT4], oid::NAME, pg_encoding_to_char).stable(),
    Builtin::scalar(1264, "pg_char_to_encoding", &[oid::NAME], oid::INT4, pg_char_to_encoding).stable(),
    Builtin::scalar(3163, "pg_trigger_depth", &[], oid::INT4, |_, _| Ok(Datum::Int4(0))).stable(),
    Builtin::scalar(2854, "pg_my_temp_schema", &[], oid::OID, |_, _| Ok(Datum::Oid(0))).stable(),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// For a function that only superusers may call. C: the ACL that initdb gives it.
fn only_superuser(function: &str) -> Result<()> {
    if identity::get().current_user.superuser {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied for function {function}"))
}

/// The same, or members of `pg_monitor`.
fn only_monitor(function: &str) -> Result<()> {
    if identity::get().has_privileges_of(catalog::predefined::PG_MONITOR) {
        return Ok(());
    }
    only_superuser(function)
}

/// One row of a function with these OUT columns.
fn record(columns: &[(&str, Oid)], values: Vec<Datum>) -> Datum {
    Datum::Record(Rc::new(RecordValue {
        types: columns.iter().map(|(_, ty)| *ty).collect(),
        names: columns.iter().map(|(name, _)| Rc::from(*name)).collect(),
        values,
    }))
}

fn pg_backend_pid(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(globals::my_proc_pid()))
}

fn version(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(common::version::PG_VERSION_STR))
}

fn current_database(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(&identity::get().database_name))
}

/// The schemas of `search_path` that exist, by name; with those searched without being named, if asked.
/// C: `fetch_search_path`.
fn search_path(implicit: bool) -> Result<Vec<String>> {
    let schemas = match implicit {
        true => catalog::namespace::search_path()?.to_vec(),
        false => catalog::namespace::explicit_search_path()?,
    };
    let mut names = Vec::with_capacity(schemas.len());
    for schema in schemas {
        names.extend(catalog::syscache::namespace(schema)?.map(|row| row.nspname.clone()));
    }
    Ok(names)
}

fn current_schema(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(search_path(false)?.first().map_or(Datum::Null, Datum::text))
}

fn current_schemas(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let names = search_path(matches!(args, [Datum::Bool(true)]))?.iter().map(Datum::text).collect();
    Ok(Datum::Array(Rc::new(ArrayValue::from_values(oid::NAME, names))))
}

fn current_user(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(&identity::get().current_user.name))
}

fn session_user(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(&identity::get().session_user.name))
}

fn pg_get_userbyid(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Oid(oid)] = args else { return Ok(Datum::Null) };
    let role = catalog::authid::load(globals::data_dir())?.find_oid(Oid(*oid))?;
    Ok(Datum::text(role.map_or_else(|| format!("unknown (OID={oid})"), |role| role.name)))
}

fn text_arg(args: &[Datum], index: usize) -> Option<&str> {
    match args.get(index) {
        Some(Datum::Text(text)) => Some(text),
        _ => None,
    }
}

fn current_setting(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let missing_ok = matches!(args.get(1), Some(Datum::Bool(true)));
    let name = text_arg(args, 0).unwrap_or_default();
    let value = guc::current_setting(name, missing_ok, &identity::get().guc_privileges())?;
    Ok(value.map_or(Datum::Null, Datum::text))
}

fn set_config(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let is_local = matches!(args.get(2), Some(Datum::Bool(true)));
    let action = if is_local { GucAction::Local } else { GucAction::Set };
    let name = text_arg(args, 0)
        .ok_or_else(|| error!(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"))?;
    identity::set_option(name, text_arg(args, 1), action)?;
    guc::show(name, &identity::get().guc_privileges()).map(Datum::text)
}

fn pg_sleep(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    match args {
        [Datum::Float8(seconds)] => sleep_seconds(*seconds),
        _ => Ok(Datum::Void),
    }
}

/// A month counts as 30 days here.
fn pg_sleep_for(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Interval(span)] = args else { return Ok(Datum::Void) };
    let days = f64::from(span.months) * 30.0 + f64::from(span.days);
    sleep_seconds(days * 86_400.0 + span.usecs as f64 / 1e6)
}

fn pg_sleep_until(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::TimestampTz(moment)] = args else { return Ok(Datum::Void) };
    sleep_seconds(moment.saturating_sub(activity::now()) as f64 / 1e6)
}

fn sleep_seconds(seconds: f64) -> Result<Datum> {
    if seconds <= 0.0 {
        return Ok(Datum::Void);
    }
    // NaN and infinity end up as "very long", as in PostgreSQL.
    let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    wait::sleep(timeout.min(Duration::from_secs(3600 * 24 * 365 * 100)), WaitEvent::PG_SLEEP)?;
    Ok(Datum::Void)
}

/// Sends a signal to the postmaster; false, with a warning, if that failed.
fn signal_postmaster(signal: Signal) -> bool {
    match kill(Pid::from_raw(globals::postmaster_pid()), signal) {
        Ok(()) => true,
        Err(errno) => {
            let text = elog::errno_text(errno);
            pg_error!(Warning, SqlState::WARNING, "failed to send signal to postmaster: {text}").report();
            false
        }
    }
}

fn pg_reload_conf(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    identity::get().require_superuser("permission denied for function pg_reload_conf")?;
    Ok(Datum::Bool(signal_postmaster(Signal::SIGHUP)))
}

fn pg_rotate_logfile(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    identity::get().require_superuser("permission denied for function pg_rotate_logfile")?;
    if !guc::vars::LOGGING_COLLECTOR.get() {
        pg_error!(Warning, SqlState::WARNING, "rotation not possible because log collection not active")
            .report();
        return Ok(Datum::Bool(false));
    }
    shmem::pmsignal::send_postmaster_signal(shmem::pmsignal::PmSignalReason::RotateLogfile);
    Ok(Datum::Bool(true))
}

/// C: `pg_current_logfile`.
fn pg_current_logfile(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let identity = identity::get();
    if !identity.has_privileges_of(catalog::predefined::PG_MONITOR) {
        identity.require_superuser("permission denied for function pg_current_logfile")?;
    }
    let wanted = text_arg(args, 0);
    if let Some(format) = wanted
        && !["stderr", "csvlog", "jsonlog"].contains(&format)
    {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "log format \"{format}\" is not supported")
            .hint("The supported log formats are \"stderr\", \"csvlog\", and \"jsonlog\"."));
    }
    let text = std::fs::read_to_string(globals::data_dir().join("current_logfiles")).unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(format, _)| wanted.is_none_or(|wanted| wanted == *format));
    Ok(found.map_or(Datum::Null, |(_, path)| Datum::text(path)))
}

/// What happened to a signal that one session wants another to get. C: `pg_signal_backend`.
fn signal_backend(pid: i32, signal: Signal, verb: &str) -> Result<bool> {
    // Auxiliary processes have no transactions; they get their signals from the postmaster alone.
    let has_transactions = |proc: &&shmem::PgProc| {
        use common::BackendType as B;
        matches!(proc.kind(), Some(B::Backend | B::WalSender | B::AutovacLauncher | B::AutovacWorker))
    };
    let Some(proc) = shmem::proc::by_pid(pid).filter(has_transactions) else {
        pg_error!(Warning, SqlState::WARNING, "PID {pid} is not a PostgreSQL backend process").report();
        return Ok(false);
    };
    let me = identity::get();
    let owner = Oid(proc.role_id.load(std::sync::atomic::Ordering::Relaxed));
    let owner_role = catalog::authid::load(globals::data_dir())?.find_oid(owner)?;
    let is_superusers = owner_role.as_ref().is_none_or(|role| role.superuser);
    if is_superusers && !me.current_user.superuser {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "must be a superuser to {verb} superuser {}",
            if verb == "cancel" { "query" } else { "process" }
        ));
    }
    if owner != me.current_user.oid && !me.has_privileges_of(catalog::predefined::PG_SIGNAL_BACKEND) {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "must be a member of the role whose {} is being {} or member of pg_signal_backend",
            if verb == "cancel" { "query" } else { "process" },
            if verb == "cancel" { "canceled" } else { "terminated" }
        ));
    }
    // To its group first: a shell command that it waits for should stop too.
    let sent = kill(Pid::from_raw(-pid), signal).or_else(|_| kill(Pid::from_raw(pid), signal));
    if let Err(errno) = sent {
        let text = elog::errno_text(errno);
        pg_error!(Warning, SqlState::WARNING, "could not send signal to process {pid}: {text}").report();
        return Ok(false);
    }
    Ok(true)
}

fn pg_cancel_backend(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Int4(pid)] = args else { return Ok(Datum::Null) };
    signal_backend(*pid, Signal::SIGINT, "cancel").map(Datum::Bool)
}

/// With a timeout it waits until the process has gone. C: `pg_terminate_backend`.
fn pg_terminate_backend(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Int4(pid), Datum::Int8(timeout)] = args else { return Ok(Datum::Null) };
    if *timeout < 0 {
        return Err(error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "\"timeout\" must not be negative"));
    }
    let sent = signal_backend(*pid, Signal::SIGTERM, "terminate")?;
    if !sent || *timeout == 0 {
        return Ok(Datum::Bool(sent));
    }
    let until = Instant::now() + Duration::from_millis(timeout.unsigned_abs());
    while kill(Pid::from_raw(*pid), None) != Err(Errno::ESRCH) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            pg_error!(
                Warning,
                SqlState::WARNING,
                "backend with PID {pid} did not terminate within {timeout} milliseconds"
            )
            .report();
            return Ok(Datum::Bool(false));
        }
        wait::sleep(left.min(Duration::from_millis(100)), WaitEvent::BACKEND_TERMINATION)?;
    }
    Ok(Datum::Bool(true))
}

fn pg_postmaster_start_time(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::TimestampTz(activity::pg_micros(globals::postmaster_start_time())))
}

fn pg_conf_load_time(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::TimestampTz(activity::pg_micros(miscinit::config::load_time())))
}

/// False once nobody supervises this session any more. This project's own.
fn pg_postmaster_is_alive(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(shmem::postmaster_alive()))
}

fn inet_client_addr(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    match identity::get().client {
        Some(address) => types::io::input(oid::INET, -1, &address.ip().to_string()),
        None => Ok(Datum::Null),
    }
}

fn inet_client_port(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(identity::get().client.map_or(Datum::Null, |address| Datum::Int4(i32::from(address.port()))))
}

/// This end of the connection; nothing for a Unix socket.
fn server_address() -> Option<std::net::SocketAddr> {
    let identity = identity::get();
    identity.client?;
    let address: nix::sys::socket::SockaddrStorage = nix::sys::socket::getsockname(identity.socket).ok()?;
    let v4 = address.as_sockaddr_in().map(|v4| std::net::SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| std::net::SocketAddr::V6((*v6).into())))
}

fn inet_server_addr(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    match server_address() {
        Some(address) => types::io::input(oid::INET, -1, &address.ip().to_canonical().to_string()),
        None => Ok(Datum::Null),
    }
}

fn inet_server_port(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(server_address().map_or(Datum::Null, |address| Datum::Int4(i32::from(address.port()))))
}

/// There are no locks to wait for yet.
fn pg_jit_available(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(false))
}

fn pg_client_encoding(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(guc::vars::CLIENT_ENCODING.get()))
}

fn getdatabaseencoding(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(guc::vars::SERVER_ENCODING.get()))
}

fn pg_encoding_to_char(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Int4(id)] = args else { return Ok(Datum::Null) };
    Ok(Datum::text(Encoding::from_id(*id).map_or("", Encoding::name)))
}

fn pg_char_to_encoding(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let found = Encoding::from_name(text_arg(args, 0).unwrap_or_default());
    Ok(Datum::Int4(found.map_or(-1, Encoding::id)))
}

/// The relation that a text names: possibly qualified, quoted as in SQL. C: `RangeVarGetRelid(stringToQualifiedNameList)`.
pub(crate) fn find_relation(text: &str) -> Result<Option<Oid>> {
    let parts = qualified_name(text).ok_or_else(|| error!(SqlState::INVALID_NAME, "invalid name syntax"))?;
    match parts.as_slice() {
        [name] => catalog::namespace::lookup_relation(None, name),
        [schema, name] => match catalog::namespace::schema_oid(schema)? {
            Some(schema) => catalog::namespace::relation_in(name, schema),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The parts of a name as SQL writes it: `"Odd".name`. `None` if it is no name. C: `stringToQualifiedNameList`.
fn qualified_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut part = String::new();
                let mut letters = quoted.char_indices().peekable();
                let end = loop {
                    match letters.next()? {
                        (_, '"') if letters.next_if(|(_, next)| *next == '"').is_some() => part.push('"'),
                        (at, '"') => break at + 1,
                        (_, letter) => part.push(letter),
                    }
                };
                (part, &quoted[end..])
            }
            None => {
                let end = rest.find(['.', '"', ' ']).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        rest = behind.trim_start();
        if rest.is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix('.')?.trim_start();
    }
}
