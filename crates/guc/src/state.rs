//! What changes at run time: per setting its source, its reset value and its stack of older values.
//!
//! The table says what a setting is, its cell what it is set to, and a [`Record`] here how that came about.
//! All of it is process-local and inherited by fork. The mutex is there because statics need one; a process of
//! the server has a single thread, and no check, report or other foreign code runs while it is held.
//!
//! ```text
//! G1  A cell is written only together with its record, or by at_xact_begin.   held by: Record::put
//! G2  source and reset_source only grow, except through RESET and reload.      held by: state::apply
//! G3  A record has a stack entry for each nest level that changed it.          held by: Record::push_old
//! ```
//!
//! C: the changing half of `struct config_generic`, and `set_config_option` in guc.c.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use common::SqlState;
use elog::{PgError, Result, error};

use crate::name;
use crate::source::{GucAction, GucSource};
use crate::table::{self, GucContext, Setting, flags};
use crate::value::{self, Value};
use crate::xact::StackEntry;

/// A setting's history. C: the run-time fields of `struct config_generic`.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) setting: &'static Setting,
    pub(crate) source: GucSource,
    pub(crate) context: GucContext,
    /// What RESET goes back to.
    pub(crate) reset: Value,
    pub(crate) reset_source: GucSource,
    pub(crate) reset_context: GucContext,
    /// Older values, one entry per nest level, innermost last.
    pub(crate) stack: Vec<StackEntry>,
    /// Where in a configuration file the value stands.
    pub(crate) file: Option<(Arc<str>, u32)>,
    /// The file asks for another value, which only a restart brings.
    pub(crate) pending_restart: bool,
    /// Seen in the file by the reload that is under way.
    pub(crate) is_in_file: bool,
    /// What clients were last told, for settings that they are told of.
    pub(crate) last_reported: Option<String>,
}

impl Record {
    fn new(setting: &'static Setting) -> Record {
        Record {
            setting,
            source: GucSource::Default,
            context: GucContext::Internal,
            reset: value::boot(setting),
            reset_source: GucSource::Default,
            reset_context: GucContext::Internal,
            stack: Vec::new(),
            file: None,
            pending_restart: false,
            is_in_file: false,
            last_reported: None,
        }
    }

    /// G1: changes the value and says where it came from.
    pub(crate) fn put(&mut self, value: &Value, source: GucSource, context: GucContext) {
        value::store(self.setting, value);
        self.source = source;
        self.context = context;
        GENERATION.fetch_add(1, Relaxed);
        if self.setting.has(flags::REPORT) {
            UNREPORTED.store(true, Relaxed);
        }
    }
}

/// All records: first those of the table, in its order, then custom ones in the order they came.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) records: Vec<Record>,
    /// Records with something on their stack, so that the end of a transaction need not look at all.
    pub(crate) stacked: Vec<usize>,
    /// 0 outside transactions, 1 in one, more in savepoints and functions. C: `GUCNestLevel`.
    pub(crate) nest_level: usize,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
    let records = table::all().iter().map(|setting| Record::new(setting)).collect();
    Mutex::new(State { records, stacked: Vec::new(), nest_level: 0 })
});

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A setting that clients are told of has changed since [`take_reports`](crate::take_reports).
pub(crate) static UNREPORTED: AtomicBool = AtomicBool::new(false);

/// Grows with every change of any setting in this process: whoever keeps something derived from settings
/// compares it with the number of the last time. One atomic load.
pub fn generation() -> u64 {
    GENERATION.load(Relaxed)
}

pub(crate) fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Where the setting with this name is, if there is one. C: `find_option` without creating.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        table::position(name).or_else(|| {
            let customs = self.records.iter().enumerate().skip(table::all().len());
            customs.into_iter().find(|(_, r)| r.setting.name.eq_ignore_ascii_case(name)).map(|(i, _)| i)
        })
    }

    /// The same, and makes the setting if its name is that of a custom one. C: `find_option`.
    pub(crate) fn position_or_create(&mut self, name: &str) -> Result<usize> {
        if let Some(index) = self.position(name) {
            return Ok(index);
        }
        name::check_custom(name)?;
        self.records.push(Record::new(name::placeholder(name)));
        Ok(self.records.len() - 1)
    }

    /// Positions in the order of `SHOW ALL`.
    pub(crate) fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.records.len()).collect();
        if self.records.len() > table::all().len() {
            let name = |&i: &usize| self.records[i].setting.name;
            order.sort_by(|a, b| table::compare_names(name(a), name(b)));
        }
        order
    }
}

/// One request to set something. C: the arguments of `set_config_option`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    /// `None` goes back to the reset value, or to the boot value if the source is [`GucSource::Default`].
    pub(crate) value: Option<&'a str>,
    pub(crate) context: GucContext,
    pub(crate) source: GucSource,
    pub(crate) action: GucAction,
    /// False: only see whether it could be done.
    pub(crate) change: bool,
}

/// What came of it. C: the result of `set_config_option`, 1 or -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The value is the new one.
    Applied,
    /// Fine, but nothing to do: outranked, or not for this process, or only tried.
    NotApplied,
}

/// Sets a setting, or says why not. C: `set_config_option`.
pub(crate) fn set(request: Request<'_>) -> Result<Outcome> {
    let (index, setting) = {
        let mut state = lock();
        let index = state.position_or_create(request.name)?;
        (index, state.records[index].setting)
    };
    let permitted = permission(setting, &request)?;
    if permitted == Permission::Ignore {
        return Ok(Outcome::NotApplied);
    }
    // A default for the session, as opposed to something asked for within it.
    let make_default = request.change
        && request.source <= GucSource::Override
        && (request.value.is_some() || request.source == GucSource::Default);
    let outranked = lock().records[index].source > request.source;
    if outranked && request.change && !make_default {
        return Ok(Outcome::NotApplied);
    }
    let new = evaluate(index, setting, &request)?;
    if permitted == Permission::OnlySame {
        let differs = new.value != value::current(setting);
        lock().records[index].pending_restart = differs;
        return if differs { Err(needs_restart(request.name)) } else { Ok(Outcome::NotApplied) };
    }
    Ok(apply(index, &new, request.action, request.change && !outranked, make_default))
}

/// What the caller may do with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Change,
    /// Give the value it has already.
    OnlySame,
    /// Say so and see it ignored.
    Ignore,
}

/// May a caller of this context touch the setting? C: the switch at the head of `set_config_option`.
fn permission(setting: &Setting, request: &Request<'_>) -> Result<Permission> {
    use GucContext::{Backend, Internal, Postmaster, Sighup, Superuser, SuperuserBackend, User};
    // Messages repeat the name as the caller spelt it.
    let (name, caller) = (request.name, request.context);
    let wrong_time =
        |when: &str| error!(SqlState::CANT_CHANGE_RUNTIME_PARAM, "parameter \"{name}\" cannot be {when}");
    let denied = error_denied;
    match setting.context {
        Internal if caller != Internal => Err(wrong_time("changed")),
        Postmaster if caller == Sighup => Ok(Permission::OnlySame),
        Postmaster if caller > Postmaster => Err(needs_restart(name)),
        Sighup if caller > Sighup => Err(wrong_time("changed now")),
        SuperuserBackend if caller == Backend => Err(denied(name)),
        SuperuserBackend | Backend if caller == Sighup => {
            // A running session keeps what it started with; the postmaster passes the new value to new ones.
            let running_session = crate::under_postmaster() && request.change;
            Ok(if running_session { Permission::Ignore } else { Permission::Change })
        }
        SuperuserBackend | Backend if caller > Backend && request.source != GucSource::Client => {
            Err(wrong_time("set after connection start"))
        }
        Superuser if caller == User || caller == Backend => Err(denied(name)),
        _ => Ok(Permission::Change),
    }
}

pub(crate) fn error_denied(name: &str) -> PgError {
    error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to set parameter \"{name}\"")
}

pub(crate) fn needs_restart(name: &str) -> PgError {
    error!(
        SqlState::CANT_CHANGE_RUNTIME_PARAM,
        "parameter \"{name}\" cannot be changed without restarting the server"
    )
}

/// A value with its origin.
#[derive(Clone, Debug)]
struct New {
    value: Value,
    source: GucSource,
    context: GucContext,
}

/// What the request comes to. Runs checks, so the state must not be locked.
fn evaluate(index: usize, setting: &Setting, request: &Request<'_>) -> Result<New> {
    let Request { source, context, .. } = *request;
    match request.value {
        Some(text) => Ok(New { value: value::parse(setting, text, source)?, source, context }),
        None if source == GucSource::Default => {
            Ok(New { value: value::check(setting, value::boot(setting), source)?, source, context })
        }
        None => {
            let record = &lock().records[index];
            Ok(New {
                value: record.reset.clone(),
                source: record.reset_source,
                context: record.reset_context,
            })
        }
    }
}

fn apply(index: usize, new: &New, action: GucAction, change: bool, make_default: bool) -> Outcome {
    let mut state = lock();
    if change {
        if !make_default {
            state.push_old(index, action);
        }
        state.records[index].put(&new.value, new.source, new.context);
    }
    let record = &mut state.records[index];
    if make_default {
        if record.reset_source <= new.source {
            record.reset = new.value.clone();
            record.reset_source = new.source;
            record.reset_context = new.context;
        }
        for entry in &mut record.stack {
            if entry.prior.source <= new.source {
                entry.prior.value = new.value.clone();
                entry.prior.source = new.source;
                entry.prior.context = new.context;
            }
        }
    }
    if change { Outcome::Applied } else { Outcome::NotApplied }
}

/// Tests share the process's settings, so each begins by taking turns and putting everything back.
#[cfg(test)]
pub(crate) fn for_test() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = lock();
    for record in state.records.iter_mut() {
        *record = Record::new(record.setting);
        value::store(record.setting, &value::boot(record.setting));
    }
    state.records.truncate(table::all().len());
    state.stacked.clear();
    state.nest_level = 0;
    crate::startup::forget_data_dir();
    turn
}
