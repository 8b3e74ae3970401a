//! From files to a list of items: syntax, include directives, and their errors. C: guc-file.l.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::SqlState;
use elog::{PgError, Severity, errno_text, pg_error, sqlstate_for_file_access};

use super::lexer::{Kind, Lexer, unquote};

/// How deep files may include files. C: `CONF_FILE_MAX_DEPTH`.
const DEPTH_MAX: u32 = 10;
/// After this many syntax errors a file is given up as no configuration file at all.
const ERRORS_MAX: u32 = 100;

/// A line of a configuration file, or a complaint about one. C: `ConfigVariable`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    pub(crate) name: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: u32,
    /// A later line sets the same.
    pub(crate) ignore: bool,
    pub(crate) applied: bool,
}

/// Where a file was included from.
#[derive(Clone, Debug)]
struct Caller {
    file: Arc<str>,
    line: u32,
}

/// Reads a file and all it includes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) items: Vec<Item>,
    /// Of the reports about errors.
    severity: Severity,
    /// Relative names at the top level start here.
    data_dir: Option<&'a Path>,
}

/// One file or directory could not be used; the reports have been made.
#[derive(Debug)]
pub(crate) struct Failed;

type Parsed = Result<(), Failed>;

impl<'a> Reader<'a> {
    pub(crate) fn new(severity: Severity, data_dir: Option<&'a Path>) -> Reader<'a> {
        Reader { items: Vec::new(), severity, data_dir }
    }

    /// Reads the file at the top; a missing one is an error only if `strict`.
    pub(crate) fn read(&mut self, name: &str, strict: bool) -> Parsed {
        self.file(name, strict, None, 0)
    }

    fn complain(&mut self, report: PgError, error: &str, caller: Option<&Caller>) -> Parsed {
        report.with_severity(self.severity).report();
        self.items.push(Item {
            error: Some(error.to_owned()),
            file: caller.map(|c| c.file.clone()),
            line: caller.map_or(0, |c| c.line),
            ..Item::default()
        });
        Err(Failed)
    }

    /// C: `ParseConfigFile`.
    fn file(&mut self, name: &str, strict: bool, caller: Option<&Caller>, depth: u32) -> Parsed {
        if is_blank(name) {
            let report = pg_error!(
                Log,
                SqlState::INVALID_PARAMETER_VALUE,
                "empty configuration file name: \"{name}\""
            );
            return self.complain(report, "empty configuration file name", caller);
        }
        if depth > DEPTH_MAX {
            let report = pg_error!(
                Log,
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "could not open configuration file \"{name}\": maximum nesting depth exceeded"
            );
            return self.complain(report, "nesting depth exceeded", caller);
        }
        let path = self.absolute(name, caller);
        let shown: Arc<str> = path.to_string_lossy().into();
        if caller.is_some_and(|c| c.file == shown) {
            let report = pg_error!(
                Log,
                SqlState::INVALID_PARAMETER_VALUE,
                "configuration file recursion in \"{shown}\""
            );
            return self.complain(report, "configuration file recursion", caller);
        }
        match fs::read(&path) {
            Ok(text) => self.text(&text, &shown, depth),
            Err(_) if !strict => {
                pg_error!(
                    Log,
                    SqlState::SUCCESSFUL_COMPLETION,
                    "skipping missing configuration file \"{shown}\""
                )
                .report();
                Ok(())
            }
            Err(e) => {
                let report = file_error(&e, format!("could not open configuration file \"{shown}\""));
                self.complain(report, &format!("could not open file \"{shown}\""), caller)
            }
        }
    }

    /// The files `*.conf` of a directory, in the order of their names' bytes. C: `ParseConfigDirectory`.
    fn directory(&mut self, name: &str, caller: &Caller, depth: u32) -> Parsed {
        if is_blank(name) {
            let report = pg_error!(
                Log,
                SqlState::INVALID_PARAMETER_VALUE,
                "empty configuration directory name: \"{name}\""
            );
            return self.complain(report, "empty configuration directory name", Some(caller));
        }
        let path = self.absolute(name, Some(caller));
        match conf_files(&path) {
            Ok(files) => {
                // Stop at the first file that is wrong, as PostgreSQL does.
                files
                    .iter()
                    .try_for_each(|file| self.file(&file.to_string_lossy(), true, Some(caller), depth))
            }
            Err(e) => {
                let shown = path.display();
                let report = file_error(&e, format!("could not open configuration directory \"{shown}\""));
                self.complain(report, &format!("could not open directory \"{shown}\""), Some(caller))
            }
        }
    }

    /// Relative to the including file, at the top to the data directory. C: `AbsoluteConfigLocation`.
    fn absolute(&self, name: &str, caller: Option<&Caller>) -> PathBuf {
        let base = match caller {
            Some(caller) => Path::new(&*caller.file).parent(),
            None => self.data_dir,
        };
        base.map_or_else(|| PathBuf::from(name), |base| base.join(name))
    }

    /// C: `ParseConfigFp`.
    pub(crate) fn text(&mut self, text: &[u8], file: &Arc<str>, depth: u32) -> Parsed {
        let mut lexer = Lexer::new(text);
        let mut errors = 0;
        let mut result = Ok(());
        loop {
            let line = lexer.line;
            match statement(&mut lexer) {
                Statement::Empty => {}
                Statement::EndOfFile => return result,
                Statement::Option { name, value } => {
                    if self.option(name, value, file, line, depth).is_err() {
                        result = Err(Failed);
                    }
                }
                Statement::Error(near) => {
                    result = Err(Failed);
                    self.syntax_error(file, line, near);
                    errors += 1;
                    if errors >= ERRORS_MAX || self.severity <= Severity::Debug1 {
                        pg_error!(
                            Log,
                            SqlState::PROGRAM_LIMIT_EXCEEDED,
                            "too many syntax errors found, abandoning file \"{file}\""
                        )
                        .with_severity(self.severity)
                        .report();
                        return result;
                    }
                }
            }
        }
    }

    fn syntax_error(&mut self, file: &Arc<str>, line: u32, near: Option<&[u8]>) {
        let near = near.map_or_else(
            || "near end of line".to_owned(),
            |token| format!("near token \"{}\"", String::from_utf8_lossy(token)),
        );
        let report =
            pg_error!(Log, SqlState::SYNTAX_ERROR, "syntax error in file \"{file}\" line {line}, {near}");
        let caller = Caller { file: file.clone(), line };
        let _ = self.complain(report, "syntax error", Some(&caller));
    }

    fn option(&mut self, name: String, value: String, file: &Arc<str>, line: u32, depth: u32) -> Parsed {
        let caller = Caller { file: file.clone(), line };
        match name.to_ascii_lowercase().as_str() {
            "include_dir" => self.directory(&value, &caller, depth + 1),
            "include_if_exists" => self.file(&value, false, Some(&caller), depth + 1),
            "include" => self.file(&value, true, Some(&caller), depth + 1),
            _ => {
                self.items.push(Item {
                    name: Some(name),
                    value: Some(value),
                    file: Some(file.clone()),
                    line,
                    ..Item::default()
                });
                Ok(())
            }
        }
    }
}

fn is_blank(name: &str) -> bool {
    name.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

fn file_error(error: &io::Error, doing: String) -> PgError {
    pg_error!(Log, sqlstate_for_file_access(error), "{doing}: {}", errno_text(error))
}

fn conf_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with('.') && text.ends_with(".conf") && text.len() >= 6 && !entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// One line.
enum Statement<'a> {
    Empty,
    Option {
        name: String,
        value: String,
    },
    /// Syntax error near this token, or at the end of the line; the rest of the line has been skipped.
    Error(Option<&'a [u8]>),
    EndOfFile,
}

fn statement<'a>(lexer: &mut Lexer<'a>) -> Statement<'a> {
    let Some((kind, name)) = lexer.next() else { return Statement::EndOfFile };
    if kind == Kind::EndOfLine {
        return Statement::Empty;
    }
    if !matches!(kind, Kind::Id | Kind::QualifiedId) {
        return skip_line(lexer, Some((kind, name)));
    }
    let mut token = lexer.next();
    if matches!(token, Some((Kind::Equals, _))) {
        token = lexer.next();
    }
    let value = match token {
        Some((Kind::String, text)) => unquote(text),
        Some((Kind::Id | Kind::Integer | Kind::Real | Kind::Unquoted, text)) => lossy(text),
        other => return skip_line(lexer, other),
    };
    match lexer.next() {
        None | Some((Kind::EndOfLine, _)) => Statement::Option { name: lossy(name), value },
        other => skip_line(lexer, other),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn skip_line<'a>(lexer: &mut Lexer<'a>, at: Option<(Kind, &'a [u8])>) -> Statement<'a> {
    let near = at.filter(|(kind, _)| *kind != Kind::EndOfLine);
    if near.is_some() {
        while !matches!(lexer.next(), None | Some((Kind::EndOfLine, _))) {}
    }
    Statement::Error(near.map(|(_, text)| text))
}
