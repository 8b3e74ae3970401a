//! How bad it is, and therefore where it goes.

/// Severity of a report, mildest first. The order is the one in which thresholds for the *client* compare;
/// the server log ranks LOG between ERROR and FATAL (see [`Severity::rank_in_log`]). C: elog.h levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are PostgreSQL's own")]
pub enum Severity {
    Debug5,
    Debug4,
    Debug3,
    Debug2,
    Debug1,
    Log,
    /// LOG that never goes to the client. C: `LOG_SERVER_ONLY`, `COMMERROR`.
    LogServerOnly,
    Info,
    Notice,
    Warning,
    /// WARNING for the client alone. C: `WARNING_CLIENT_ONLY`.
    WarningClientOnly,
    Error,
    Fatal,
    Panic,
}

impl Severity {
    /// The word in the log line and in field `S` of the protocol.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Debug5 | Severity::Debug4 | Severity::Debug3 | Severity::Debug2 | Severity::Debug1 => {
                "DEBUG"
            }
            Severity::Log | Severity::LogServerOnly => "LOG",
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning | Severity::WarningClientOnly => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Panic => "PANIC",
        }
    }

    /// Place in the order that `log_min_messages` compares by, where LOG ranks above ERROR.
    pub fn rank_in_log(self) -> u8 {
        match self {
            Severity::Log | Severity::LogServerOnly => Severity::Error as u8 * 2 + 1,
            other => other as u8 * 2,
        }
    }
}
