//! A text file of one object a line: quoting, finding a line, replacing the file.
//!
//! A line is words with one space between them. Text is in double quotes, in which `"` is doubled, and a
//! backslash, line feed and carriage return are written `\\`, `\n` and `\r`; so a line never contains a
//! line break, and an object's line can be found by comparing beginnings. An absent value is `-`.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

use common::SqlState;
use common::file::{CreateModes, FileError, write_file_durably};
use elog::{PgError, Result, error};

/// The content of one such file.
#[derive(Clone, Debug)]
pub(crate) struct FlatFile {
    /// Path below the data directory.
    name: &'static str,
    text: String,
}

impl FlatFile {
    pub(crate) fn empty(name: &'static str) -> FlatFile {
        FlatFile { name, text: String::new() }
    }

    /// One open and one read; nothing is parsed yet.
    pub(crate) fn read(data_dir: &Path, name: &'static str) -> Result<FlatFile> {
        let path = data_dir.join(name);
        let bytes = std::fs::read(&path)
            .map_err(|e| file_error(&FileError::new("open", Path::new(name), e)).routine("ReadFlatFile"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| error!(SqlState::DATA_CORRUPTED, "file \"{name}\" is not valid UTF-8"))?;
        Ok(FlatFile { name, text })
    }

    /// Replaces the file durably.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<()> {
        let modes = CreateModes::of_data_dir(data_dir)
            .map_err(|e| file_error(&FileError::new("access", data_dir, e)))?;
        write_file_durably(&data_dir.join(self.name), self.text.as_bytes(), modes.file)
            .map_err(|e| file_error(&e))
    }

    /// Lines that describe an object, in the file's order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    /// The first line that begins with this, word boundary included by the caller.
    pub(crate) fn line_starting_with(&self, beginning: &str) -> Option<&str> {
        self.lines().find(|line| line.starts_with(beginning))
    }

    pub(crate) fn push_line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Keeps, changes or removes each line. One that is returned as it came costs no copy.
    pub(crate) fn rewrite(&mut self, mut change: impl FnMut(&str) -> Option<Cow<'_, str>>) {
        let mut text = String::with_capacity(self.text.len());
        for line in self.text.lines().filter_map(&mut change) {
            text.push_str(&line);
            text.push('\n');
        }
        self.text = text;
    }

    /// A line that does not parse.
    pub(crate) fn corrupt(&self, line: &str) -> PgError {
        error!(SqlState::DATA_CORRUPTED, "file \"{}\" contains an invalid line", self.name)
            .detail_log(format!("The line is: {line}"))
    }
}

/// Runs `change` while no other process of the cluster changes a flat file. The lock is on the directory,
/// since the files themselves are replaced; it goes when the process dies.
pub(crate) fn while_locked<T>(data_dir: &Path, change: impl FnOnce() -> Result<T>) -> Result<T> {
    let global = data_dir.join("global");
    let locked = File::open(&global).and_then(|directory| {
        directory.lock()?;
        Ok(directory)
    });
    let _locked = locked.map_err(|e| file_error(&FileError::new("lock", &global, e)))?;
    change()
}

/// The report for a failed file operation. C: `errcode_for_file_access`.
fn file_error(failure: &FileError) -> PgError {
    let sqlstate = match failure.source.kind() {
        io::ErrorKind::NotFound => SqlState::UNDEFINED_FILE,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SqlState::INSUFFICIENT_PRIVILEGE
        }
        io::ErrorKind::AlreadyExists => SqlState::DUPLICATE_FILE,
        io::ErrorKind::StorageFull => SqlState::DISK_FULL,
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => SqlState::WRONG_OBJECT_TYPE,
        _ => SqlState::IO_ERROR,
    };
    error!(sqlstate, "{failure}")
}

/// Appends text in quotes.
pub(crate) fn push_quoted(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\"\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other => line.push(other),
        }
    }
    line.push('"');
}

/// The beginning of the line of the object with this name.
pub(crate) fn name_prefix(name: &str) -> String {
    let mut prefix = String::with_capacity(name.len() + 3);
    push_quoted(&mut prefix, name);
    prefix.push(' ');
    prefix
}

/// Takes a line apart, word by word. `None` means that the line is not as it should be.
pub(crate) struct Words<'a>(pub(crate) &'a str);

impl<'a> Words<'a> {
    /// The next word that is not in quotes.
    pub(crate) fn bare(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The next word as a number.
    pub(crate) fn number<N: std::str::FromStr>(&mut self) -> Option<N> {
        self.bare()?.parse().ok()
    }

    /// The next word, which is in quotes.
    pub(crate) fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let body = self.0.strip_prefix('"')?;
        let bytes = body.as_bytes();
        let mut end = 0;
        loop {
            match bytes.get(end)? {
                b'"' if bytes.get(end + 1) != Some(&b'"') => break,
                b'"' | b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let rest = &body[end + 1..];
        self.0 = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
        unescape(&body[..end])
    }

    /// The next word: text in quotes, or `-` for none.
    pub(crate) fn optional(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.0.starts_with('"') {
            return self.quoted().map(Some);
        }
        (self.bare()? == "-").then_some(None)
    }

    /// The next word as a comma-separated list, `-` if empty: is each of these names in it? A name that
    /// is none of them makes the line invalid.
    pub(crate) fn flags<const N: usize>(&mut self, names: [&str; N]) -> Option<[bool; N]> {
        let mut flags = [false; N];
        let word = self.bare()?;
        if word != "-" {
            for flag in word.split(',') {
                flags[names.iter().position(|name| *name == flag)?] = true;
            }
        }
        Some(flags)
    }
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['"', '\\']) {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match (c, c == '"' || c == '\\') {
            (_, false) => c,
            ('"', true) => chars.next().filter(|second| *second == '"')?,
            (_, true) => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
        });
    }
    Some(Cow::Owned(plain))
}

/// Appends those names whose flag is set, as [`Words::flags`] reads them.
pub(crate) fn push_flags<const N: usize>(line: &mut String, names: [&str; N], flags: [bool; N]) {
    let set: Vec<&str> = names.into_iter().zip(flags).filter(|(_, set)| *set).map(|(name, _)| name).collect();
    line.push_str(&if set.is_empty() { "-".to_owned() } else { set.join(",") });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_quoting() {
        for text in ["", "a", "\"", "\\", "\\n", "\n", "a \"b\" c\\", "\r\n\"\"", "\u{e9}\u{1f418}", "\\\""] {
            let mut line = String::new();
            push_quoted(&mut line, text);
            assert!(!line.contains(['\n', '\r']));
            line.push_str(" next");
            let mut words = Words(&line);
            assert_eq!(words.quoted().as_deref(), Some(text), "{line}");
            assert_eq!(words.bare(), Some("next"));
            assert_eq!(words.bare(), None);
        }
    }

    #[test]
    fn cut_or_wrong_quotes_are_refused() {
        for bad in ["", "a", "\"", "\"a", "\"a\"b", "\"a\\\"", "\"\\x\"", "\"\"\""] {
            assert_eq!(Words(bad).quoted(), None, "{bad}");
        }
    }

    #[test]
    fn flags_are_words() {
        assert_eq!(Words("b -1").flags(["a", "b"]), Some([false, true]));
        assert_eq!(Words("-").flags(["a"]), Some([false]));
        assert_eq!(Words("c").flags(["a"]), None);
        let mut line = String::new();
        push_flags(&mut line, ["a", "b", "c"], [true, false, true]);
        assert_eq!(line, "a,c");
    }
}
