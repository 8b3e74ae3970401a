//! SHOW, SHOW ALL, pg_settings, and what clients are told of changes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::SqlState;
use elog::{Result, error};

use crate::name;
use crate::source::GucSource;
use crate::state::{self, Record, UNREPORTED};
use crate::table::{Kind, Setting, flags};
use crate::units;
use crate::value::{self, Value};
use crate::vars;

/// What the asking role may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// A superuser, or a member of pg_read_all_settings.
    pub read_all_settings: bool,
}

impl Privileges {
    /// Sees everything.
    pub const ALL: Privileges = Privileges { read_all_settings: true };
    /// Sees what everybody sees.
    pub const NONE: Privileges = Privileges { read_all_settings: false };

    fn may_see(self, setting: &Setting) -> bool {
        self.read_all_settings || !setting.has(flags::SUPERUSER_ONLY)
    }
}

/// SHOW: the value with its unit, empty for NULL. C: `GetConfigOptionByName`.
pub fn show(name: &str, privileges: &Privileges) -> Result<String> {
    let setting = {
        let state = state::lock();
        let index = state.position(name).ok_or_else(|| name::unrecognized(name))?;
        state.records[index].setting
    };
    if !privileges.may_see(setting) {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "must be superuser or have privileges of pg_read_all_settings to examine \"{}\"", setting.name
        ));
    }
    Ok(shown(setting, true))
}

/// The value as clients see it. C: `_ShowOption`, with the show hooks that differ from the stored value.
pub(crate) fn shown(setting: &Setting, use_units: bool) -> String {
    match setting.name {
        "seed" => "unavailable".to_owned(),
        "archive_command" if vars::ARCHIVE_MODE.get() == "off" => "(disabled)".to_owned(),
        _ if use_units => value::with_units(setting, &value::current(setting)),
        _ => value::plain(setting, &value::current(setting)),
    }
}

/// One line of SHOW ALL: name, setting, description. C: `ShowAllGUCConfig`.
pub fn show_all(privileges: &Privileges) -> Vec<(&'static str, String, &'static str)> {
    let state = state::lock();
    let settings = state.sorted().into_iter().map(|index| state.records[index].setting);
    settings
        .filter(|setting| !setting.has(flags::NO_SHOW_ALL) && privileges.may_see(setting))
        .map(|setting| (setting.name, shown(setting, true), setting.short))
        .collect()
}

/// One row of pg_settings, its columns in their order. C: `show_all_settings`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the view's columns")]
pub struct SettingRow {
    pub name: &'static str,
    pub setting: String,
    pub unit: Option<&'static str>,
    pub category: &'static str,
    pub short_desc: &'static str,
    pub extra_desc: Option<&'static str>,
    pub context: &'static str,
    pub vartype: &'static str,
    pub source: &'static str,
    pub min_val: Option<String>,
    pub max_val: Option<String>,
    pub enumvals: Option<Vec<&'static str>>,
    pub boot_val: Option<String>,
    pub reset_val: Option<String>,
    pub sourcefile: Option<String>,
    pub sourceline: Option<i32>,
    pub pending_restart: bool,
}

/// pg_settings as a superuser sees it.
pub fn rows() -> Vec<SettingRow> {
    rows_for(&Privileges::ALL)
}

/// pg_settings as a role with these privileges sees it.
pub fn rows_for(privileges: &Privileges) -> Vec<SettingRow> {
    let state = state::lock();
    let records = state.sorted().into_iter().map(|index| &state.records[index]);
    records
        .filter(|r| !r.setting.has(flags::NO_SHOW_ALL) && privileges.may_see(r.setting))
        .map(|record| row(record, privileges))
        .collect()
}

/// C: `GetConfigOptionValues`.
fn row(record: &Record, privileges: &Privileges) -> SettingRow {
    let setting = record.setting;
    let (min_val, max_val) = match setting.kind {
        Kind::Int { min, max, .. } => (Some(min.to_string()), Some(max.to_string())),
        Kind::Real { min, max, .. } => (Some(units::format_g(min)), Some(units::format_g(max))),
        _ => (None, None),
    };
    let enumvals = match setting.kind {
        Kind::Enum { choices, .. } => Some(value::words(choices)),
        _ => None,
    };
    let file =
        record.file.as_ref().filter(|_| record.source == GucSource::File && privileges.read_all_settings);
    SettingRow {
        name: setting.name,
        setting: shown(setting, false),
        unit: setting.unit.name(),
        category: setting.category,
        short_desc: setting.short,
        extra_desc: setting.extra,
        context: setting.context.name(),
        vartype: setting.type_name(),
        source: record.source.name(),
        min_val,
        max_val,
        enumvals,
        boot_val: stored(setting, &value::boot(setting)),
        reset_val: stored(setting, &record.reset),
        sourcefile: file.map(|(path, _)| path.to_string()),
        sourceline: file.map(|(_, line)| i32::try_from(*line).unwrap_or(i32::MAX)),
        pending_restart: record.pending_restart,
    }
}

/// Boot and reset values bypass the show hooks: file modes are decimal here.
pub(crate) fn stored(setting: &Setting, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.as_deref().map(str::to_owned),
        Value::Int(number) => Some(number.to_string()),
        other => Some(value::plain(setting, other)),
    }
}

/// A client listens to changes in this process.
static REPORTING: AtomicBool = AtomicBool::new(false);

/// Everything that a new client is told at first; from now on [`take_reports`] has the changes. C:
/// `BeginReportingGUCOptions`.
pub fn reported() -> Vec<(&'static str, String)> {
    REPORTING.store(true, Relaxed);
    UNREPORTED.store(false, Relaxed);
    changed_reports()
}

/// What the client must be told since the last time: usually nothing, after one atomic load. To be called when
/// a statement is done, not at each change. C: `ReportChangedGUCOptions`.
pub fn take_reports() -> Vec<(&'static str, String)> {
    if !UNREPORTED.load(Relaxed) || !REPORTING.load(Relaxed) {
        return Vec::new();
    }
    UNREPORTED.store(false, Relaxed);
    changed_reports()
}

/// Does a client listen to changes in this process?
pub fn reports_enabled() -> bool {
    REPORTING.load(Relaxed)
}

fn changed_reports() -> Vec<(&'static str, String)> {
    let mut state = state::lock();
    let mut reports = Vec::new();
    for record in state.records.iter_mut().filter(|r| r.setting.has(flags::REPORT)) {
        let now = shown(record.setting, true);
        if record.last_reported.as_ref() != Some(&now) {
            record.last_reported = Some(now.clone());
            reports.push((record.setting.name, now));
        }
    }
    reports
}
