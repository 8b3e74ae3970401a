//! The settings of the log, pushed down from the layer above.
//!
//! This crate lies below the settings and cannot read them: whoever loads or reloads the configuration
//! builds a [`LogConfig`] and calls [`apply`].

use common::SqlState;
use jiff::tz::TimeZone;

use crate::prefix::Prefix;
use crate::{Result, Severity, error};

/// How much a log line says. C: `PGErrorVerbosity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only the primary message.
    Terse,
    /// With DETAIL, HINT, QUERY and CONTEXT.
    #[default]
    Default,
    /// With SQLSTATE and LOCATION too.
    Verbose,
}

impl Verbosity {
    /// From the setting's value.
    pub fn from_name(name: &str) -> Option<Verbosity> {
        Some(match name.to_ascii_lowercase().as_str() {
            "terse" => Verbosity::Terse,
            "default" => Verbosity::Default,
            "verbose" => Verbosity::Verbose,
            _ => return None,
        })
    }
}

/// Where log lines go; any combination, none included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDestination {
    /// Plain text.
    pub stderr: bool,
    /// One CSV row a report.
    pub csvlog: bool,
    /// One JSON object a report.
    pub jsonlog: bool,
}

impl LogDestination {
    /// The default: plain text only.
    pub const STDERR: LogDestination = LogDestination { stderr: true, csvlog: false, jsonlog: false };

    /// Reads the setting's value, a comma-separated list. C: `check_log_destination`.
    pub fn parse(value: &str) -> Result<LogDestination> {
        let invalid = |detail: String| {
            error!(
                SqlState::INVALID_PARAMETER_VALUE,
                "invalid value for parameter \"log_destination\": \"{value}\""
            )
            .detail(detail)
        };
        let mut to = LogDestination { stderr: false, csvlog: false, jsonlog: false };
        if value.trim().is_empty() {
            return Ok(to);
        }
        for word in value.split(',').map(str::trim) {
            let word = match word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(quoted) => quoted,
                None if word.is_empty() || word.contains(['"', ' ', '\t', '\n']) => {
                    return Err(invalid("List syntax is invalid.".into()));
                }
                None => word,
            };
            match word.to_ascii_lowercase().as_str() {
                "stderr" => to.stderr = true,
                "csvlog" => to.csvlog = true,
                "jsonlog" => to.jsonlog = true,
                "syslog" => {
                    return Err(error!(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        "log destination \"syslog\" is not supported"
                    )
                    .hint("Use \"stderr\", \"csvlog\" or \"jsonlog\"."));
                }
                // PostgreSQL repeats the word as its list parser left it, in lower case.
                other => return Err(invalid(format!("Unrecognized key word: \"{other}\"."))),
            }
        }
        Ok(to)
    }
}

/// The severity that a threshold setting names. C: `server_message_level_options`.
pub fn severity_from_name(name: &str) -> Option<Severity> {
    Some(match name.to_ascii_lowercase().as_str() {
        "debug5" => Severity::Debug5,
        "debug4" => Severity::Debug4,
        "debug3" => Severity::Debug3,
        "debug2" | "debug" => Severity::Debug2,
        "debug1" => Severity::Debug1,
        "log" => Severity::Log,
        "info" => Severity::Info,
        "notice" => Severity::Notice,
        "warning" => Severity::Warning,
        "error" => Severity::Error,
        "fatal" => Severity::Fatal,
        "panic" => Severity::Panic,
        _ => return None,
    })
}

/// All settings that decide whether, where and how a report is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Mildest severity the server log takes, in log order (LOG above ERROR).
    pub log_min_messages: Severity,
    /// Mildest severity that brings its STATEMENT along, in log order.
    pub log_min_error_statement: Severity,
    /// Mildest severity the client is sent.
    pub client_min_messages: Severity,
    /// How much a line says.
    pub log_error_verbosity: Verbosity,
    /// What every line begins with.
    pub log_line_prefix: String,
    /// Where lines go.
    pub log_destination: LogDestination,
    /// Zone of the times in the log; an unknown one counts as GMT.
    pub log_timezone: String,
}

impl Default for LogConfig {
    /// The built-in defaults, valid until a configuration file has been read.
    fn default() -> LogConfig {
        LogConfig {
            log_min_messages: Severity::Warning,
            log_min_error_statement: Severity::Error,
            client_min_messages: Severity::Notice,
            log_error_verbosity: Verbosity::Default,
            log_line_prefix: "%m [%p] ".into(),
            log_destination: LogDestination::STDERR,
            log_timezone: "GMT".into(),
        }
    }
}

/// A [`LogConfig`] made ready for use: prefix compiled, zone looked up.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) config: LogConfig,
    pub(crate) prefix: Prefix,
    pub(crate) timezone: TimeZone,
}

impl Active {
    pub(crate) fn new(config: LogConfig) -> Active {
        let prefix = Prefix::compile(&config.log_line_prefix);
        let timezone = crate::time::timezone(&config.log_timezone).or_else(|| crate::time::timezone("GMT"));
        Active { prefix, timezone: timezone.unwrap_or(TimeZone::UTC), config }
    }
}

/// Puts new settings into force for this process (and the children it forks from now on).
pub fn apply(config: LogConfig) {
    crate::emit::apply(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let both = LogDestination { stderr: true, csvlog: true, jsonlog: false };
        assert_eq!(LogDestination::parse(" STDERR , csvlog").unwrap(), both);
        assert_eq!(LogDestination::parse("\"stderr\",csvlog").unwrap(), both);
        assert!(
            LogDestination::parse("").unwrap()
                == LogDestination { stderr: false, csvlog: false, jsonlog: false }
        );
    }

    #[track_caller]
    fn check_refused(value: &str, sqlstate: SqlState, detail: Option<&str>) {
        let e = LogDestination::parse(value).unwrap_err();
        assert_eq!((e.sqlstate, e.detail.as_deref()), (sqlstate, detail));
    }

    #[test]
    fn bad_destinations() {
        let bad = SqlState::INVALID_PARAMETER_VALUE;
        check_refused("stderr,,csvlog", bad, Some("List syntax is invalid."));
        check_refused("stderr csvlog", bad, Some("List syntax is invalid."));
        check_refused("Moon", bad, Some("Unrecognized key word: \"moon\"."));
        check_refused("stderr,syslog", SqlState::FEATURE_NOT_SUPPORTED, None);
    }

    #[test]
    fn an_unknown_zone_counts_as_gmt() {
        let active = Active::new(LogConfig { log_timezone: "Mars/Olympus".into(), ..LogConfig::default() });
        let at = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(active.timezone.to_offset_info(at).abbreviation(), "GMT");
    }
}
