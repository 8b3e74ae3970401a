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

mod error;
mod severity;

#[doc(hidden)]
pub use error::{default_sqlstate, file_of, routine_of};
pub use error::{ErrorData, PgError, Result, SourceLocation};
pub use severity::Severity;

/// Sends a report on its way. Filled in by the log's own modules.
pub(crate) fn emit(error: &PgError) {
    let _ = error;
}
