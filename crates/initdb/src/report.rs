//! What initdb prints: progress on stdout, trouble on stderr.
//!
//! Writing must not fail the work: a reader that has gone away is ignored.
//!
//! C counterpart: common/logging.c.

use std::io::Write;

use catalog::encoding::Encoding;
use common::file::FileError;
use common::pg_control::ControlFileError;
use elog::PgError;

/// Result of a step.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why initdb ends with exit code 1.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    /// Printed as it is, without the program's name in front.
    bare: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), detail: None, hint: None, bare: false }
    }

    /// A message that the C library would have printed.
    pub(crate) fn bare(message: impl Into<String>) -> Failure {
        Failure { bare: true, ..Failure::new(message) }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Failure {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Points to the help.
    pub(crate) fn advice(self) -> Failure {
        self.hint("Try \"initdb --help\" for more information.")
    }

    pub(crate) fn print(&self) {
        if self.bare {
            complain(&format!("{}\n", self.message));
        } else {
            complain(&format!("initdb: error: {}\n", self.message));
        }
        if let Some(detail) = &self.detail {
            complain(&format!("initdb: detail: {detail}\n"));
        }
        if let Some(text) = &self.hint {
            hint(text);
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<ControlFileError> for Failure {
    fn from(error: ControlFileError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        Failure::new(error.message.to_string())
    }
}

/// `Err` with this message. C: `pg_fatal`.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Failure::new(message))
}

/// The failure of an encoding that doesn't go with a locale.
pub(crate) fn encoding_mismatch(selected: Encoding, of_locale: Encoding) -> Failure {
    Failure::new("encoding mismatch")
        .detail(format!(
            "The encoding you selected ({}) and the encoding that the selected locale uses ({}) do not match. This would lead to misbehavior in various character string processing functions.",
            selected.name(),
            of_locale.name()
        ))
        .hint("Rerun initdb and either do not specify an encoding explicitly, or choose a matching combination.")
}

/// Progress.
pub(crate) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Something to know, on stderr. C: `pg_log_info`.
pub(crate) fn info(text: &str) {
    complain(&format!("initdb: {text}\n"));
}

/// C: `pg_log_warning`.
pub(crate) fn warning(text: &str) {
    complain(&format!("initdb: warning: {text}\n"));
}

/// C: `pg_log_warning_hint`.
pub(crate) fn hint(text: &str) {
    complain(&format!("initdb: hint: {text}\n"));
}

/// Writes to stderr as it is.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
