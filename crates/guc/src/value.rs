//! A value on its way into or out of a setting: read from text, checked against type and limits, printed.

use std::sync::Arc;

use common::{SqlState, version};
use elog::{PgError, Result, Severity, error, pg_error};

use crate::source::GucSource;
use crate::table::{Choice, Kind, Setting, flags};
use crate::units;

/// What a setting can be set to. C: `union config_var_val`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i32),
    Real(f64),
    String(Option<Arc<str>>),
    /// Position among the setting's choices.
    Enum(u8),
}

impl Value {
    /// The text, for checks of string settings; empty for NULL and for other types.
    pub(crate) fn text(&self) -> &str {
        match self {
            Value::String(Some(text)) => text,
            _ => "",
        }
    }
}

/// What a check found wrong; the message is made from the setting's name unless the check has its own.
/// C: `GUC_check_errmsg` and its siblings.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    pub(crate) sqlstate: Option<SqlState>,
    pub(crate) message: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Complaint {
    pub(crate) fn detail(detail: impl Into<String>) -> Complaint {
        Complaint { detail: Some(detail.into()), ..Complaint::default() }
    }

    pub(crate) fn message(sqlstate: SqlState, message: impl Into<String>) -> Complaint {
        Complaint { sqlstate: Some(sqlstate), message: Some(message.into()), ..Complaint::default() }
    }
}

/// The value the setting holds now.
pub(crate) fn current(setting: &Setting) -> Value {
    match setting.kind {
        Kind::Bool { var, .. } => Value::Bool(var.get()),
        Kind::Int { var, .. } => Value::Int(var.get()),
        Kind::Real { var, .. } => Value::Real(var.get()),
        Kind::String { var, .. } => Value::String(var.get_opt()),
        Kind::Enum { var, .. } => Value::Enum(var.index()),
    }
}

/// The value the setting is built with.
pub(crate) fn boot(setting: &Setting) -> Value {
    match setting.kind {
        Kind::Bool { boot, .. } => Value::Bool(boot),
        Kind::Int { boot, .. } => Value::Int(boot),
        Kind::Real { boot, .. } => Value::Real(boot),
        Kind::String { boot, .. } => Value::String(boot.map(Arc::from)),
        Kind::Enum { boot, .. } => Value::Enum(boot),
    }
}

/// Puts a value into the setting's cell. The only writer of cells besides
/// [`crate::xact::at_xact_begin`](crate::at_xact_begin).
pub(crate) fn store(setting: &Setting, value: &Value) {
    match (&setting.kind, value) {
        (Kind::Bool { var, .. }, Value::Bool(value)) => var.set(*value),
        (Kind::Int { var, .. }, Value::Int(value)) => var.set(*value),
        (Kind::Real { var, .. }, Value::Real(value)) => var.set(*value),
        (Kind::String { var, .. }, Value::String(value)) => var.set(value.clone()),
        (Kind::Enum { var, .. }, Value::Enum(value)) => var.set(*value),
        _ => debug_assert!(false, "value of another type for {}", setting.name),
    }
}

/// Reads `text` as a value of this setting and checks it. C: `parse_and_validate_value`.
pub(crate) fn parse(setting: &Setting, text: &str, source: GucSource) -> Result<Value> {
    let name = setting.name;
    let invalid =
        || error!(SqlState::INVALID_PARAMETER_VALUE, "invalid value for parameter \"{name}\": \"{text}\"");
    let bad_number = |bad: units::BadNumber| with_hint(invalid(), bad.hint);
    let value = match setting.kind {
        Kind::Bool { .. } => Value::Bool(parse_bool(text).ok_or_else(|| {
            error!(SqlState::INVALID_PARAMETER_VALUE, "parameter \"{name}\" requires a Boolean value")
        })?),
        Kind::Int { min, max, .. } => {
            let value = units::parse_int(text, setting.unit).map_err(bad_number)?;
            if !(min..=max).contains(&value) {
                return Err(out_of_range(setting, value.to_string(), min.to_string(), max.to_string()));
            }
            Value::Int(value)
        }
        Kind::Real { min, max, .. } => {
            let value = units::parse_real(text, setting.unit).map_err(bad_number)?;
            if !(min..=max).contains(&value) {
                let g = units::format_g;
                return Err(out_of_range(setting, g(value), g(min), g(max)));
            }
            Value::Real(value)
        }
        Kind::String { .. } if setting.has(flags::IS_NAME) => Value::String(Some(Arc::from(as_name(text)))),
        Kind::String { .. } => Value::String(Some(Arc::from(text))),
        Kind::Enum { choices, .. } => match find_choice(choices, text) {
            Some(index) => Value::Enum(index),
            None => return Err(invalid().hint(format!("Available values: {}.", words(choices).join(", ")))),
        },
    };
    check(setting, value, source)
}

/// Runs the setting's own check. C: `call_bool_check_hook` and its siblings.
pub(crate) fn check(setting: &Setting, mut value: Value, source: GucSource) -> Result<Value> {
    let Some(check) = setting.check else { return Ok(value) };
    let Err(complaint) = check(&mut value, source) else { return Ok(value) };
    let shown = match &value {
        Value::Bool(on) => i32::from(*on).to_string(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => units::format_g(*number),
        Value::String(_) => format!("\"{}\"", value.text()),
        Value::Enum(_) => format!("\"{}\"", plain(setting, &value)),
    };
    let sqlstate = complaint.sqlstate.unwrap_or(SqlState::INVALID_PARAMETER_VALUE);
    let message = complaint
        .message
        .unwrap_or_else(|| format!("invalid value for parameter \"{}\": {shown}", setting.name));
    let mut error = with_hint(error!(sqlstate, "{message}"), complaint.hint);
    error.detail = complaint.detail;
    Err(error)
}

fn with_hint(error: PgError, hint: Option<impl Into<String>>) -> PgError {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn out_of_range(setting: &Setting, value: String, min: String, max: String) -> PgError {
    let unit = setting.unit.name().map_or_else(String::new, |unit| format!(" {unit}"));
    error!(
        SqlState::INVALID_PARAMETER_VALUE,
        "{value}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})", setting.name
    )
}

/// `on`, `off`, `true`, `false`, `yes`, `no`, `1`, `0` and every beginning of these that says which it is.
/// C: `parse_bool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    let begins = |word: &str, shortest: usize| {
        (shortest..=word.len()).contains(&text.len()) && word[..text.len()].eq_ignore_ascii_case(text)
    };
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || text == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// Position of the choice that `text` stands for. C: `config_enum_lookup_by_name`.
fn find_choice(choices: &[Choice], text: &str) -> Option<u8> {
    let chosen = choices.iter().find(|c| c.name.eq_ignore_ascii_case(text))?;
    choices.iter().position(|c| c.name == chosen.means).and_then(|index| u8::try_from(index).ok())
}

/// The words to offer. C: `config_enum_get_options`.
pub(crate) fn words(choices: &[Choice]) -> Vec<&'static str> {
    choices.iter().filter(|c| !c.hidden).map(|c| c.name).collect()
}

/// Cuts an identifier to its maximal length, with the NOTICE. C: `truncate_identifier`.
fn as_name(text: &str) -> &str {
    if text.len() < version::NAMEDATALEN {
        return text;
    }
    let cut = &text[..text.floor_char_boundary(version::NAMEDATALEN - 1)];
    let message = format!("identifier \"{text}\" will be truncated to \"{cut}\"");
    pg_error!(Notice, SqlState::NAME_TOO_LONG, "{message}").report();
    cut
}

/// The value with units, as `SHOW` prints it. C: `ShowGUCOption` with `use_units`.
pub(crate) fn with_units(setting: &Setting, value: &Value) -> String {
    match value {
        Value::Int(number) if !is_octal(setting) => units::show_int(*number, setting.unit),
        Value::Real(number) => units::show_real(*number, setting.unit),
        _ => plain(setting, value),
    }
}

/// The value in its base unit, as `pg_settings.setting` has it. C: `ShowGUCOption` without `use_units`.
pub(crate) fn plain(setting: &Setting, value: &Value) -> String {
    match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Int(mode) if is_octal(setting) => format!("{mode:04o}"),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => units::format_g(*number),
        Value::String(text) => text.as_deref().unwrap_or("").to_owned(),
        Value::Enum(index) => match setting.kind {
            Kind::Enum { choices, .. } => choices.get(usize::from(*index)).map_or("", |c| c.name).to_owned(),
            _ => String::new(),
        },
    }
}

/// File modes are shown in octal. C: `show_unix_socket_permissions`, `show_log_file_mode`,
/// `show_data_directory_mode`.
fn is_octal(setting: &Setting) -> bool {
    matches!(setting.name, "unix_socket_permissions" | "log_file_mode" | "data_directory_mode")
}

/// At which severity a setting that cannot be applied is reported, if that does not end the statement.
/// C: the choice of `elevel` in `set_config_option`.
pub(crate) fn severity_for(source: GucSource, under_postmaster: bool) -> Severity {
    match source {
        GucSource::Default | GucSource::File if under_postmaster => Severity::Debug3,
        GucSource::Default | GucSource::File => Severity::Log,
        GucSource::Global | GucSource::Database | GucSource::User | GucSource::DatabaseUser => {
            Severity::Warning
        }
        _ => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    fn set(name: &str, text: &str) -> std::result::Result<String, String> {
        let setting = find(name).expect("a setting of the table");
        parse(setting, text, GucSource::Session)
            .map(|value| with_units(setting, &value))
            .map_err(|e| format!("{} {e}", e.sqlstate))
    }

    #[test]
    fn booleans_by_prefix() {
        for yes in ["on", "ON", "t", "TRU", "true", "y", "yes", "1"] {
            assert_eq!(parse_bool(yes), Some(true), "{yes}");
        }
        for no in ["off", "of", "f", "fals", "n", "No", "0"] {
            assert_eq!(parse_bool(no), Some(false), "{no}");
        }
        for bad in ["o", "", " on", "on ", "2", "truely", "é"] {
            assert_eq!(parse_bool(bad), None, "{bad}");
        }
    }

    /// Each answer was recorded from PostgreSQL 15.20.
    #[test]
    fn answers_of_postgres() {
        let cases: &[(&str, &str, std::result::Result<&str, &str>)] = &[
            (
                "work_mem",
                "1.5",
                Err(
                    "22023 ERROR:  2 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
                ),
            ),
            (
                "work_mem",
                "-5",
                Err(
                    "22023 ERROR:  -5 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)",
                ),
            ),
            (
                "work_mem",
                "100mb",
                Err(
                    "22023 ERROR:  invalid value for parameter \"work_mem\": \"100mb\"\nHINT:  Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
                ),
            ),
            ("work_mem", "0.5MB", Ok("512kB")),
            (
                "seq_page_cost",
                "inf",
                Err(
                    "22023 ERROR:  Infinity is outside the valid range for parameter \"seq_page_cost\" (0 .. 1.79769e+308)",
                ),
            ),
            ("seq_page_cost", "1e10", Ok("1e+10")),
            (
                "vacuum_cost_delay",
                "1s",
                Err(
                    "22023 ERROR:  1000 ms is outside the valid range for parameter \"vacuum_cost_delay\" (0 .. 100)",
                ),
            ),
            (
                "enable_seqscan",
                "o",
                Err("22023 ERROR:  parameter \"enable_seqscan\" requires a Boolean value"),
            ),
            (
                "client_min_messages",
                " log",
                Err(
                    "22023 ERROR:  invalid value for parameter \"client_min_messages\": \" log\"\nHINT:  Available values: debug5, debug4, debug3, debug2, debug1, log, notice, warning, error.",
                ),
            ),
            ("client_min_messages", "info", Ok("info")),
            ("client_min_messages", "DEBUG", Ok("debug2")),
            ("wal_compression", "on", Ok("pglz")),
            (
                "wal_compression",
                "x",
                Err(
                    "22023 ERROR:  invalid value for parameter \"wal_compression\": \"x\"\nHINT:  Available values: pglz, lz4, zstd, on, off.",
                ),
            ),
            ("wal_level", "hot_standby", Ok("replica")),
            ("synchronous_commit", "yes", Ok("on")),
            ("xmlbinary", "HEX", Ok("hex")),
            ("log_file_mode", "0640", Ok("0640")),
            ("log_rotation_age", "1440", Ok("1d")),
        ];
        for (name, text, expected) in cases {
            let actual = set(name, text);
            assert_eq!(actual.as_deref().map_err(String::as_str), *expected, "{name} = {text}");
        }
    }
}
