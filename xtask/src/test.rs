//! The README's second command: all tests, and at the end their counts.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::{Result, cluster_dir, setup};

/// What the lines of a test run add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
    /// Not run by the harness.
    ignored: u32,
    /// Run, but left at once: the harness counts these as passed.
    left: u32,
}

impl Counts {
    /// Takes note of one line of output.
    fn read(&mut self, line: &str) {
        if line.starts_with("SKIPPED:") {
            self.left += 1;
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                let part = rest.split([';', '.']).find(|part| part.trim_end().ends_with(word));
                part.and_then(|part| part.split_whitespace().next()?.parse::<u32>().ok()).unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
            self.ignored += count(" ignored");
        }
    }

    /// The last line of the run.
    fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.left);
        format!("{passed} passed, {} failed, {} skipped", self.failed, self.ignored + self.left)
    }
}

/// Runs setup, then `cargo test` on the workspace or as `args` say.
pub(crate) fn run(args: &[String]) -> Result<()> {
    setup::run()?;
    // What a shell without job control starts in the background ignores SIGINT and SIGQUIT for good: servers and commands
    // that are tested would inherit it.
    let mut cargo = Command::new("env");
    cargo.arg("--default-signal=HUP,INT,QUIT,TERM,PIPE");
    cargo.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(cluster_dir::workspace()).args(["test", "--no-fail-fast"]);
    if args.is_empty() {
        cargo.arg("--workspace");
    }
    // One stream, so that lines stay in order.
    let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let errors = writer.try_clone().map_err(|e| e.to_string())?;
    cargo.args(args).stdin(Stdio::null()).stdout(writer).stderr(errors);
    let process = integration::process::spawn(&mut cargo);
    // The command holds the writing ends; the reader sees the end of file only when they are closed.
    drop(cargo);
    let mut counts = Counts::default();
    let mut stdout = std::io::stdout().lock();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&line);
        counts.read(&text);
        let _ = writeln!(stdout, "{text}");
    }
    let status = process.wait_without_deadline();
    println!("{}", counts.summary());
    if status.success() { Ok(()) } else { Err("there are failures above".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "SKIPPED: it::tls: openssl is not installed",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "something else passed",
        ] {
            counts.read(line);
        }
        assert_eq!(counts.summary(), "14 passed, 2 failed, 2 skipped");
    }
}
