//! What pg_ctl prints, and the code it ends with.

use std::io::Write;
use std::process::ExitCode;

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Complete, for stderr.
    text: String,
    code: u8,
}

impl Failure {
    /// `pg_ctl: message`, exit code 1.
    pub(crate) fn new(message: impl AsRef<str>) -> Failure {
        Failure::bare(format!("pg_ctl: {}", message.as_ref()))
    }

    /// The same without the program's name in front.
    pub(crate) fn bare(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: 1 }
    }

    /// A failure whose message has been printed on stdout.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure { text: String::new(), code }
    }

    /// Another exit code.
    pub(crate) fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// A line more.
    pub(crate) fn line(mut self, line: &str) -> Failure {
        self.text.push('\n');
        self.text.push_str(line);
        self
    }

    /// Points to the help. C: `do_advice`.
    pub(crate) fn advice(self) -> Failure {
        self.line("Try \"pg_ctl --help\" for more information.")
    }

    /// Prints it; what `main` returns.
    pub(crate) fn print(&self) -> ExitCode {
        if !self.text.is_empty() {
            complain(&self.text);
        }
        ExitCode::from(self.code)
    }
}

/// Writes to stdout at once: the server, which may share it, must not come first.
pub(crate) fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that has gone away is no reason to leave the work half done.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a line to stderr. C: `write_stderr`.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
