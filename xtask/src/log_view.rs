//! A log file on the terminal, coloured by severity.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A reader that shows what a file gained since it last looked.
#[derive(Debug)]
pub(crate) struct LogView {
    path: PathBuf,
    offset: u64,
    coloured: bool,
    /// Before each line; empty where there is one log only.
    label: String,
}

impl LogView {
    /// Shows only what comes after now.
    pub(crate) fn from_end(path: &Path, label: &str) -> LogView {
        let offset = std::fs::metadata(path).map_or(0, |m| m.len());
        let label = if label.is_empty() { String::new() } else { format!("{label:<9} | ") };
        LogView { path: path.to_owned(), offset, coloured: std::io::stdout().is_terminal(), label }
    }

    /// Shows the whole lines that are new.
    pub(crate) fn show_new(&mut self) {
        let Ok(mut file) = File::open(&self.path) else { return };
        if file.metadata().is_ok_and(|m| m.len() < self.offset) {
            self.offset = 0;
        }
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return;
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) && line.ends_with(b"\n") {
            self.offset += line.len() as u64;
            let text = String::from_utf8_lossy(&line);
            println!("{}{}", self.label, paint(text.trim_end(), self.coloured));
            line.clear();
        }
    }
}

/// The line in the colour of its severity.
pub(crate) fn paint(line: &str, coloured: bool) -> String {
    const COLOURS: [(&str, &str); 9] = [
        ("PANIC:  ", "1;31"),
        ("FATAL:  ", "1;31"),
        ("ERROR:  ", "31"),
        ("WARNING:  ", "33"),
        ("LOG:  ", "36"),
        ("DETAIL:  ", "2"),
        ("HINT:  ", "32"),
        ("STATEMENT:  ", "2"),
        ("DEBUG:  ", "2"),
    ];
    let colour = COLOURS.iter().find(|(word, _)| line.contains(word));
    match colour {
        Some((_, code)) if coloured => format!("\x1b[{code}m{line}\x1b[0m"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_decides_the_colour() {
        assert_eq!(paint("x [1] FATAL:  no", true), "\x1b[1;31mx [1] FATAL:  no\x1b[0m");
        assert_eq!(paint("x [1] FATAL:  no", false), "x [1] FATAL:  no");
        assert_eq!(paint("plain", true), "plain");
    }
}
