//! The error value and the macros that make one.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use common::SqlState;

use crate::Severity;

/// What fallible functions of the server return.
pub type Result<T, E = PgError> = std::result::Result<T, E>;

/// Where in the source a report was made: `LOCATION:  routine, file:line` for verbose clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// Last segment of the function's path, or the C name where outside scripts look for it.
    pub routine: &'static str,
    /// File name without its folder.
    pub file: &'static str,
    /// 1-based.
    pub line: u32,
}

/// All that a report carries. C: `ErrorData`.
#[derive(Clone, Debug)]
pub struct ErrorData {
    /// Decides who sees it and what happens next.
    pub severity: Severity,
    /// The code clients branch on.
    pub sqlstate: SqlState,
    /// Primary message: one line, no capital, no full stop.
    pub message: Cow<'static, str>,
    /// More facts, whole sentences.
    pub detail: Option<String>,
    /// Detail for the server log only, in place of `detail`.
    pub detail_log: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Call stack in terms of the user's objects.
    pub context: Option<String>,
    /// 1-based character offset into the query text.
    pub position: Option<u32>,
    /// Position within `internal_query`.
    pub internal_position: Option<u32>,
    /// A statement the server made up itself.
    pub internal_query: Option<String>,
    /// Keeps the statement out of the log (errors that would leak a password).
    pub hide_statement: bool,
    /// What of the database it is about.
    pub object: Option<ErrorObject>,
    /// Where it was made.
    pub location: SourceLocation,
}

/// The parts of the database that a report names apart from its text. C: `schema_name` to `constraint_name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorObject {
    /// The table's schema.
    pub schema: String,
    /// A table.
    pub table: String,
    /// A column of it.
    pub column: Option<String>,
    /// A constraint of it.
    pub constraint: Option<String>,
}

/// A report as a value, one pointer wide so that `Result<T, PgError>` stays cheap.
#[derive(Clone, Debug)]
pub struct PgError(Box<ErrorData>);

impl PgError {
    /// A report without extras. Use the macros, which fill in `location`.
    pub fn new(
        severity: Severity,
        sqlstate: SqlState,
        message: impl Into<Cow<'static, str>>,
        location: SourceLocation,
    ) -> PgError {
        PgError(Box::new(ErrorData {
            severity,
            sqlstate,
            message: message.into(),
            detail: None,
            detail_log: None,
            hint: None,
            context: None,
            position: None,
            internal_position: None,
            internal_query: None,
            hide_statement: false,
            object: None,
            location,
        }))
    }

    /// Adds the DETAIL. C: `errdetail`.
    pub fn detail(mut self, detail: impl Into<String>) -> PgError {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a DETAIL that only the server log shows. C: `errdetail_log`.
    pub fn detail_log(mut self, detail: impl Into<String>) -> PgError {
        self.detail_log = Some(detail.into());
        self
    }

    /// Adds the HINT. C: `errhint`.
    pub fn hint(mut self, hint: impl Into<String>) -> PgError {
        self.hint = Some(hint.into());
        self
    }

    /// Names the table, and its column or constraint, that it is about. C: `errtablecol`, `errtableconstraint`.
    pub fn object(mut self, object: ErrorObject) -> PgError {
        self.object = Some(object);
        self
    }

    /// Adds a line of CONTEXT below those already there. C: `errcontext`.
    pub fn context(mut self, context: impl Into<String>) -> PgError {
        let line = context.into();
        self.context = Some(match self.context.take() {
            Some(above) => format!("{above}\n{line}"),
            None => line,
        });
        self
    }

    /// Points into the query text, 1-based in characters. C: `errposition`.
    pub fn position(mut self, position: u32) -> PgError {
        self.position = Some(position);
        self
    }

    /// Names the routine in LOCATION, where scripts know it by its C name.
    pub fn routine(mut self, routine: &'static str) -> PgError {
        self.location.routine = routine;
        self
    }

    /// Keeps the current statement out of the log. C: `errhidestmt`.
    pub fn hide_statement(mut self) -> PgError {
        self.hide_statement = true;
        self
    }

    /// The same report at another severity.
    pub fn with_severity(mut self, severity: Severity) -> PgError {
        self.severity = severity;
        self
    }

    /// Sends it to the log and, if it concerns the client, to the client. Does not unwind or exit: what a
    /// FATAL or PANIC means for the process is its caller's business. C: `EmitErrorReport`.
    pub fn report(&self) {
        match crate::emit::current_context(self.severity) {
            Some(context) => crate::emit(&self.clone().context(context)),
            None => crate::emit(self),
        }
    }
}

impl Deref for PgError {
    type Target = ErrorData;
    fn deref(&self) -> &ErrorData {
        &self.0
    }
}

impl DerefMut for PgError {
    fn deref_mut(&mut self) -> &mut ErrorData {
        &mut self.0
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:  {}", self.severity.word(), self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL:  {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT:  {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PgError {}

/// The place this macro stands at, as a [`SourceLocation`](crate::SourceLocation).
#[macro_export]
macro_rules! here {
    () => {{
        fn marker() {}
        fn name_of<T>(_: T) -> &'static str {
            ::std::any::type_name::<T>()
        }
        $crate::SourceLocation {
            routine: $crate::routine_of(name_of(marker)),
            file: $crate::file_of(::std::file!()),
            line: ::std::line!(),
        }
    }};
}

/// A [`PgError`](crate::PgError) of any severity: `pg_error!(Fatal, SqlState::X, "format {}", args)`.
#[macro_export]
macro_rules! pg_error {
    ($severity:ident, $sqlstate:expr, $($message:tt)+) => {
        $crate::PgError::new($crate::Severity::$severity, $sqlstate, ::std::format!($($message)+), $crate::here!())
    };
}

/// A [`PgError`](crate::PgError) of severity ERROR: `error!(SqlState::X, "format {}", args)`.
#[macro_export]
macro_rules! error {
    ($sqlstate:expr, $($message:tt)+) => { $crate::pg_error!(Error, $sqlstate, $($message)+) };
}

/// A [`PgError`](crate::PgError) of severity FATAL: ends the session or process that returns it.
#[macro_export]
macro_rules! fatal {
    ($sqlstate:expr, $($message:tt)+) => { $crate::pg_error!(Fatal, $sqlstate, $($message)+) };
}

/// Reports at once, without extras: `ereport!(Log, "received fast shutdown request")`. With a detail or a
/// hint, build it with [`pg_error!`] and call [`PgError::report`](crate::PgError::report).
#[macro_export]
macro_rules! ereport {
    ($severity:ident, $($message:tt)+) => {
        if $crate::wants($crate::Severity::$severity) {
            $crate::pg_error!($severity, $crate::default_sqlstate($crate::Severity::$severity), $($message)+).report()
        }
    };
}

/// The code of a report that names none. C: the default of `errstart`.
#[doc(hidden)]
pub fn default_sqlstate(severity: Severity) -> SqlState {
    match severity {
        Severity::Error | Severity::Fatal | Severity::Panic => SqlState::INTERNAL_ERROR,
        Severity::Warning | Severity::WarningClientOnly => SqlState::WARNING,
        _ => SqlState::SUCCESSFUL_COMPLETION,
    }
}

/// `checkpointer::request::run::{{closure}}::here::marker` -> `run`.
#[doc(hidden)]
pub fn routine_of(marker_path: &'static str) -> &'static str {
    let mut segments = marker_path.rsplit("::").skip(1).filter(|s| !s.starts_with('{'));
    segments.next().unwrap_or(marker_path)
}

/// `crates/checkpointer/src/request.rs` -> `request.rs`.
#[doc(hidden)]
pub fn file_of(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_checkpoint() -> PgError {
        let make =
            || error!(SqlState::INTERNAL_ERROR, "could not signal for checkpoint: {}", "No such process");
        make()
    }

    #[test]
    fn location_names_function_and_file() {
        let e = request_checkpoint();
        assert_eq!((e.location.routine, e.location.file), ("request_checkpoint", "error.rs"));
        assert_eq!(e.routine("RequestCheckpoint").location.routine, "RequestCheckpoint");
    }

    #[test]
    fn extras_accumulate() {
        let e = fatal!(SqlState::CONFIG_FILE_ERROR, "bad").detail("d").hint("h").context("a").context("b");
        assert_eq!(e.to_string(), "FATAL:  bad\nDETAIL:  d\nHINT:  h");
        assert_eq!(e.context.as_deref(), Some("a\nb"));
    }

    #[test]
    fn log_ranks_above_error_in_the_log_only() {
        assert!(Severity::Log < Severity::Error);
        assert!(Severity::Log.rank_in_log() > Severity::Error.rank_in_log());
        assert!(Severity::Log.rank_in_log() < Severity::Fatal.rank_in_log());
    }
}
