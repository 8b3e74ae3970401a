//! What a changed setting means for the layers below the settings.
//!
//! The log lies below the settings, so it cannot ask them: whoever reads the configuration pushes the log's
//! share of it down. Called after start, after each reload, and by a session whose SET touched one of them.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use elog::config::{LogConfig, LogDestination, Verbosity, severity_from_name};
use elog::{Result, Severity};
use guc::GucContext;

/// Reads the configuration files again and puts them into force. C: `ProcessConfigFile(PGC_SIGHUP)`.
///
/// # Errors
/// What is wrong with a file; nothing has changed then.
pub fn reload() -> Result<()> {
    let result = guc::process_config_file(GucContext::Sighup);
    apply_log_settings();
    if result.is_ok() {
        note_loaded();
    }
    result
}

static LOADED_MICROS: AtomicI64 = AtomicI64::new(0);

/// The files have just been read. C: `PgReloadTime`.
pub fn note_loaded() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    LOADED_MICROS.store(now, Relaxed);
}

/// When the files were last read: `pg_conf_load_time()`.
pub fn load_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(LOADED_MICROS.load(Relaxed).max(0) as u64)
}

/// Hands the log its settings.
pub fn apply_log_settings() {
    use guc::vars;
    let severity = |name: &str, fallback| severity_from_name(name).unwrap_or(fallback);
    elog::config::apply(LogConfig {
        log_min_messages: severity(vars::LOG_MIN_MESSAGES.get(), Severity::Warning),
        log_min_error_statement: severity(vars::LOG_MIN_ERROR_STATEMENT.get(), Severity::Error),
        client_min_messages: severity(vars::CLIENT_MIN_MESSAGES.get(), Severity::Notice),
        log_error_verbosity: Verbosity::from_name(vars::LOG_ERROR_VERBOSITY.get())
            .unwrap_or(Verbosity::Default),
        log_line_prefix: vars::LOG_LINE_PREFIX.get().to_string(),
        log_destination: LogDestination::parse(&vars::LOG_DESTINATION.get())
            .unwrap_or(LogDestination::STDERR),
        log_timezone: vars::LOG_TIMEZONE.get().to_string(),
    });
}
