//! postgresql.conf and postgresql.auto.conf: read at start, read again at SIGHUP, looked at by
//! pg_file_settings.
//!
//! ```text
//! F1  Nothing is applied from files with a syntax error or an unknown name.
//! F2  A later line wins over an earlier one, whatever file it stands in; postgresql.auto.conf comes last.
//! F3  What has gone from the files goes back to what the server would have had without them.
//! F4  A value that cannot be applied does not keep the others from being applied.
//! ```
//!
//! The postmaster reports what changed and what cannot; its children read the same files right after and say
//! nothing (DEBUG2). C: guc-file.l, `ProcessConfigFileInternal`.

mod lexer;
mod parse;

pub(crate) use parse::{Item, Reader};

use std::sync::Arc;

use common::SqlState;
use elog::{PgError, Result, Severity, fatal, pg_error};

use crate::check;
use crate::name;
use crate::source::{GucAction, GucSource};
use crate::startup;
use crate::state::{self, Outcome, Request};
use crate::table::GucContext;
use crate::value;
use crate::vars;

/// Below the data directory. C: `PG_AUTOCONF_FILENAME`.
pub(crate) const AUTO_FILE: &str = "postgresql.auto.conf";

/// Reads the files and applies them: [`GucContext::Postmaster`] at start, where any error is final, and
/// [`GucContext::Sighup`] later, where errors are reported and the rest is applied. C: `ProcessConfigFile`.
///
/// # Errors
/// At start only: what the log calls `configuration file "..." contains errors`.
pub fn process_config_file(context: GucContext) -> Result<()> {
    startup::claim(context);
    let severity = if startup::under_postmaster() { Severity::Debug2 } else { Severity::Log };
    let mut pass = Pass { context, apply: true, severity, bad_file: None, items: Vec::new() };
    let applying = pass.run();
    let Some(file) = pass.bad_file else {
        return if context == GucContext::Postmaster { check::one_recovery_target() } else { Ok(()) };
    };
    if context == GucContext::Postmaster {
        return Err(fatal!(SqlState::CONFIG_FILE_ERROR, "configuration file \"{file}\" contains errors"));
    }
    let what = if applying { "unaffected changes were applied" } else { "no changes were applied" };
    pg_error!(Log, SqlState::CONFIG_FILE_ERROR, "configuration file \"{file}\" contains errors; {what}")
        .with_severity(severity)
        .report();
    Ok(())
}

/// One row of pg_file_settings, its columns in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the view's columns")]
pub struct FileSettingRow {
    pub sourcefile: Option<String>,
    pub sourceline: Option<i32>,
    pub seqno: i32,
    pub name: Option<String>,
    pub setting: Option<String>,
    pub applied: bool,
    pub error: Option<String>,
}

/// pg_file_settings: what a reload would do, and what would be wrong. C: `show_all_file_settings`.
pub fn file_settings() -> Vec<FileSettingRow> {
    let mut pass = Pass {
        context: GucContext::Sighup,
        apply: false,
        severity: Severity::Debug3,
        bad_file: None,
        items: Vec::new(),
    };
    pass.run();
    pass.items
        .into_iter()
        .zip(1..)
        .map(|(item, seqno)| FileSettingRow {
            sourceline: item.file.as_ref().map(|_| i32::try_from(item.line).unwrap_or(i32::MAX)),
            sourcefile: item.file.map(|file| file.to_string()),
            seqno,
            name: item.name,
            setting: item.value,
            applied: item.applied,
            error: item.error,
        })
        .collect()
}

/// One reading of the files. C: the locals of `ProcessConfigFileInternal`.
struct Pass {
    context: GucContext,
    /// False for pg_file_settings, which only looks.
    apply: bool,
    severity: Severity,
    /// The file to blame in the last line, once there is an error.
    bad_file: Option<Arc<str>>,
    items: Vec<Item>,
}

impl Pass {
    /// True if it came as far as applying values. C: `ProcessConfigFileInternal`.
    fn run(&mut self) -> bool {
        if !self.parse() || !self.mark_and_check_names() {
            return false;
        }
        self.take_back_removed();
        if self.context == GucContext::Sighup && self.apply {
            // What those had determined may have been in the file and be gone from it.
            startup::apply_environment();
        }
        self.apply_items();
        true
    }

    fn report(&self, error: PgError) {
        error.with_severity(self.severity).report();
    }

    /// The parse phase; false after any error, or if there is nothing to do yet.
    fn parse(&mut self) -> bool {
        let main = vars::CONFIG_FILE.get();
        let data_dir = startup::data_dir();
        let mut reader = Reader::new(self.severity, data_dir.as_deref());
        if reader.read(&main, true).is_err() {
            self.bad_file = Some(main.clone());
        } else if data_dir.is_some() && reader.read(AUTO_FILE, false).is_err() {
            self.bad_file = Some(Arc::from(AUTO_FILE));
        }
        self.items = reader.items;
        if self.bad_file.is_none() && data_dir.is_none() {
            // Until the data directory is known, only where it is may be learnt: postgresql.auto.conf, which
            // is in there, could still change everything else.
            let is_data_dir =
                |item: &Item| item.name.as_ref().is_some_and(|n| n.eq_ignore_ascii_case("data_directory"));
            self.items.retain(is_data_dir);
            self.items.drain(..self.items.len().saturating_sub(1));
            return !self.items.is_empty();
        }
        self.bad_file.is_none()
    }

    /// Marks what the files set, and which lines later ones make void; false if a name is unknown (F1, F2).
    fn mark_and_check_names(&mut self) -> bool {
        let mut state = state::lock();
        state.records.iter_mut().for_each(|record| record.is_in_file = false);
        let mut unknown = Vec::new();
        for at in 0..self.items.len() {
            let Some(name) = self.items[at].name.clone() else { continue };
            if let Some(index) = state.position(&name) {
                let record = &mut state.records[index];
                if record.is_in_file {
                    let setting = record.setting;
                    for earlier in &mut self.items[..at] {
                        let same = |n: &String| crate::find(n).is_some_and(|s| std::ptr::eq(s, setting));
                        let exact = |n: &String| n.eq_ignore_ascii_case(&name);
                        earlier.ignore |= earlier.name.as_ref().is_some_and(|n| exact(n) || same(n));
                    }
                }
                record.is_in_file = true;
            } else if !name::is_custom(&name) {
                unknown.push((at, name));
            }
        }
        drop(state);
        for (at, name) in &unknown {
            let item = &mut self.items[*at];
            item.error = Some("unrecognized configuration parameter".to_owned());
            let file = item.file.clone().unwrap_or_default();
            let line = item.line;
            self.report(pg_error!(
                Log,
                SqlState::UNDEFINED_OBJECT,
                "unrecognized configuration parameter \"{name}\" in file \"{file}\" line {line}"
            ));
            self.bad_file = Some(file);
        }
        unknown.is_empty()
    }

    /// F3, for settings that the files had and have no longer.
    fn take_back_removed(&mut self) {
        let removed: Vec<usize> = {
            let state = state::lock();
            let gone =
                |&i: &usize| state.records[i].reset_source == GucSource::File && !state.records[i].is_in_file;
            state.sorted().into_iter().filter(gone).collect()
        };
        for index in removed {
            let setting = state::lock().records[index].setting;
            if setting.context < GucContext::Sighup {
                state::lock().records[index].pending_restart = true;
                let error = state::needs_restart(setting.name);
                self.items.push(Item { error: Some(error.message.to_string()), ..Item::default() });
                self.report(error);
                self.bad_file = Some(vars::CONFIG_FILE.get());
                continue;
            }
            if !self.apply {
                continue;
            }
            forget_file(index);
            let request = Request {
                name: setting.name,
                value: None,
                context: self.context,
                source: GucSource::Default,
                action: GucAction::Set,
                change: true,
            };
            match state::set(request) {
                Ok(Outcome::Applied) if self.context == GucContext::Sighup => self.report(pg_error!(
                    Log,
                    SqlState::SUCCESSFUL_COMPLETION,
                    "parameter \"{}\" removed from configuration file, reset to default",
                    setting.name
                )),
                Ok(_) => {}
                Err(error) => self.report(error),
            }
        }
    }

    /// F4.
    fn apply_items(&mut self) {
        let tell = self.context == GucContext::Sighup && self.apply && !startup::under_postmaster();
        let mut items = std::mem::take(&mut self.items);
        for item in items.iter_mut().filter(|item| !item.ignore) {
            let (Some(name), Some(value)) = (&item.name, &item.value) else { continue };
            let before = if tell { stored(name) } else { None };
            let request = Request {
                name,
                value: Some(value),
                context: self.context,
                source: GucSource::File,
                action: GucAction::Set,
                change: self.apply,
            };
            match state::set(request) {
                Err(error) => {
                    let severity = value::severity_for(GucSource::File, startup::under_postmaster());
                    // A look at the files is no occasion to fill the log.
                    error.with_severity(if self.apply { severity } else { self.severity }).report();
                    item.error = Some("setting could not be applied".to_owned());
                    self.bad_file = item.file.clone();
                    continue;
                }
                Ok(Outcome::Applied) if before.is_some() && before != stored(name) => {
                    self.report(pg_error!(
                        Log,
                        SqlState::SUCCESSFUL_COMPLETION,
                        "parameter \"{name}\" changed to \"{value}\""
                    ));
                }
                Ok(_) => {}
            }
            item.applied = true;
            if self.apply {
                note_place(name, item);
            }
        }
        self.items = items;
    }
}

/// Lets the built-in value replace what came from a file.
fn forget_file(index: usize) {
    let mut state = state::lock();
    let record = &mut state.records[index];
    for source in [&mut record.source, &mut record.reset_source]
        .into_iter()
        .chain(record.stack.iter_mut().map(|entry| &mut entry.prior.source))
    {
        if *source == GucSource::File {
            *source = GucSource::Default;
        }
    }
}

/// C: `set_config_sourcefile`.
fn note_place(name: &str, item: &Item) {
    let mut state = state::lock();
    if let (Some(index), Some(file)) = (state.position(name), &item.file) {
        state.records[index].file = Some((file.clone(), item.line));
    }
}

/// The value as stored: what a show hook makes of it is no change. C: `GetConfigOption`.
fn stored(name: &str) -> Option<String> {
    let state = state::lock();
    let setting = state.records[state.position(name)?].setting;
    drop(state);
    crate::show::stored(setting, &value::current(setting))
}
