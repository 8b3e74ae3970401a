//! Errors as values, and the server log they end up in.
//!
//! An ERROR is a `Result<T, PgError>` passed up with `?`; [`PgError`] carries what PostgreSQL's `ereport`
//! does: severity, SQLSTATE, message, detail, hint, context, cursor position, and the place in the source.
//! A message that is no failure (LOG, WARNING, NOTICE ...) is built the same way and sent on with
//! [`PgError::report`].
//!
//! ```
//! use common::SqlState;
//! use elog::{PgError, error, ereport};
//!
//! fn divide(a: i32, b: i32) -> Result<i32, PgError> {
//!     a.checked_div(b).ok_or_else(|| error!(SqlState::DIVISION_BY_ZERO, "division by zero"))
//! }
//! ereport!(Log, "the quotient is {}", divide(6, 3).unwrap());
//! assert_eq!(divide(1, 0).unwrap_err().sqlstate, SqlState::DIVISION_BY_ZERO);
//! ```
//!
//! C counterpart: src/backend/utils/error.

#![forbid(unsafe_code)]

mod errno;
mod error; // 1. the value
mod severity; // 2. how bad it is // 3. what the system calls it

pub mod config; // 4. which settings matter here
mod csvlog; // 7. the three formats ...
mod emit; // 5. who gets to see it
mod jsonlog;
pub mod pipe;
mod prefix; // ... and the prefix of the plain one
pub mod session; // 6. the facts that lines repeat
mod text;
mod time; // 8. how lines travel to the logger

mod facade; // 9. the `log` crate's macros
mod panic; // 10. bugs

pub use emit::{
    ClientSink, ContextSource, LoggerWriter, emergency, is_redirected, redirect_to_syslogger,
    set_client_auth_in_progress, set_client_min_messages, set_client_sink, set_context_source,
    set_logger_writer, wants,
};
pub use errno::{AsErrno, errno_text, sqlstate_for_file_access};
pub use error::{ErrorData, ErrorObject, PgError, Result, SourceLocation};
#[doc(hidden)]
pub use error::{default_sqlstate, file_of, routine_of};
pub use facade::install_logger;
pub use panic::{
    abort, catch_panic, end_critical_section, in_critical_section, panic_hook, set_panic_guard,
    start_critical_section,
};
pub use severity::Severity;
pub use time::{Timestamp, timezone};

pub(crate) use emit::emit;
