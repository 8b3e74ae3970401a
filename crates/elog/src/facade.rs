//! The back end of the `log` crate: what `debug!` and its siblings, ours and those of libraries, become.
//!
//! | macro | severity |
//! |---|---|
//! | `error!`, `warn!` | WARNING: an ERROR would claim that a statement was aborted |
//! | `info!` | LOG |
//! | `debug!` | DEBUG1 |
//! | `trace!` | DEBUG5 |

use common::SqlState;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::{PgError, Severity, SourceLocation, error};

struct Facade;

impl Log for Facade {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        crate::wants(severity_of(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        let severity = severity_of(record.level());
        if !crate::wants(severity) {
            return;
        }
        let location = SourceLocation {
            routine: record.module_path_static().unwrap_or("log"),
            file: error::file_of(record.file_static().unwrap_or("unknown")),
            line: record.line().unwrap_or(0),
        };
        let sqlstate = match severity {
            Severity::Warning => SqlState::WARNING,
            _ => SqlState::SUCCESSFUL_COMPLETION,
        };
        PgError::new(severity, sqlstate, record.args().to_string(), location).report();
    }

    fn flush(&self) {}
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::Error | Level::Warn => Severity::Warning,
        Level::Info => Severity::Log,
        Level::Debug => Severity::Debug1,
        Level::Trace => Severity::Debug5,
    }
}

/// Makes `log`'s macros end up in the server log. Once per process; later calls change nothing.
pub fn install_logger() {
    if log::set_logger(&Facade).is_ok() {
        limit_to(Severity::Warning);
    }
}

/// Turns off, at the cost of one load each, the macros whose output neither log nor client wants.
pub(crate) fn limit_to(mildest: Severity) {
    log::set_max_level(match mildest {
        Severity::Debug5 | Severity::Debug4 | Severity::Debug3 | Severity::Debug2 => LevelFilter::Trace,
        Severity::Debug1 => LevelFilter::Debug,
        // A LOG passes even log_min_messages = error.
        _ => LevelFilter::Info,
    });
}
