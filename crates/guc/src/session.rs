//! SET, RESET and their function forms.

use common::SqlState;
use elog::{Result, Severity, error};

use crate::name;
use crate::show::{Privileges, show};
use crate::source::{GucAction, GucSource};
use crate::startup::under_postmaster;
use crate::state::{self, Outcome, Request};
use crate::table::{GucContext, flags};
use crate::value;

/// Sets a setting; no value goes back to the reset value. `context` says who asks: [`GucContext::Superuser`]
/// for a superuser's session, [`GucContext::User`] for anyone else's. A value from a file or from the catalogs
/// that cannot be applied is reported here and is no error to the caller. C: `set_config_option`.
pub fn set_option<'a>(
    name: &'a str,
    value: impl Into<Option<&'a str>>,
    context: GucContext,
    source: GucSource,
    action: GucAction,
) -> Result<()> {
    let request = Request { name, value: value.into(), context, source, action, change: true };
    soften(state::set(request), source).map(|_| ())
}

/// Turns the failure of a source that must not stop the process into a report.
fn soften(result: Result<Outcome>, source: GucSource) -> Result<Outcome> {
    match (result, value::severity_for(source, under_postmaster())) {
        (Err(error), severity) if severity != Severity::Error => {
            error.with_severity(severity).report();
            Ok(Outcome::NotApplied)
        }
        (result, _) => result,
    }
}

/// RESET. C: `SetPGVariable` without arguments.
pub fn reset(name: &str, context: GucContext) -> Result<()> {
    if state::lock().position(name).is_none() && !name::is_custom(name) {
        return Err(name::unrecognized(name));
    }
    set_option(name, None, context, GucSource::Session, GucAction::Set)
}

/// RESET ALL: what a session may set, unless it was never set within it. C: `ResetAllOptions`.
pub fn reset_all() {
    let mut state = state::lock();
    for index in 0..state.records.len() {
        let record = &state.records[index];
        let within_session = matches!(record.setting.context, GucContext::Superuser | GucContext::User);
        if !within_session || record.setting.has(flags::NO_RESET_ALL) || record.source <= GucSource::Override
        {
            continue;
        }
        state.push_old(index, GucAction::Set);
        let record = &mut state.records[index];
        let (value, source, context) = (record.reset.clone(), record.reset_source, record.reset_context);
        record.put(&value, source, context);
    }
}

/// A value that the server works out at start and that anything explicit outranks. C: `SetConfigOption` with
/// `PGC_S_DYNAMIC_DEFAULT`.
pub fn set_dynamic_default(name: &str, value: &str) -> Result<()> {
    set_option(name, value, GucContext::Internal, GucSource::DynamicDefault, GucAction::Set)
}

/// A fact that only the server itself states: `server_encoding`, `is_superuser`, `in_hot_standby`. C:
/// `SetConfigOption` with `PGC_INTERNAL`, `PGC_S_OVERRIDE`.
pub fn set_internal(name: &str, value: &str) -> Result<()> {
    set_option(name, value, GucContext::Internal, GucSource::Override, GucAction::Set)
}

/// The function set_config(name, value, is_local): the new value, as SHOW prints it. C: `set_config_by_name`.
pub fn set_config(
    name: Option<&str>,
    value: Option<&str>,
    is_local: bool,
    context: GucContext,
    privileges: &Privileges,
) -> Result<String> {
    let name = name.ok_or_else(|| error!(SqlState::NULL_VALUE_NOT_ALLOWED, "SET requires parameter name"))?;
    let action = if is_local { GucAction::Local } else { GucAction::Set };
    set_option(name, value, context, GucSource::Session, action)?;
    show(name, privileges)
}

/// The function current_setting(name, missing_ok). C: `show_config_by_name_missing_ok`.
pub fn current_setting(name: &str, missing_ok: bool, privileges: &Privileges) -> Result<Option<String>> {
    if missing_ok && state::lock().position(name).is_none() {
        return Ok(None);
    }
    show(name, privileges).map(Some)
}

/// The reset value as text. C: `GetConfigOptionResetString`.
pub(crate) fn reset_text(name: &str) -> String {
    let state = state::lock();
    match state.position(name) {
        Some(index) => value::plain(state.records[index].setting, &state.records[index].reset),
        None => String::new(),
    }
}
