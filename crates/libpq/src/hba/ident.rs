//! pg_ident.conf: which system user may be which role.
//!
//! C counterpart: `parse_ident_line`, `check_ident_usermap`, `check_usermap`, `load_ident` of hba.c.

use std::path::{Path, PathBuf};

use common::SqlState;
use elog::{PgError, ereport, pg_error};
use regex::{Regex, RegexBuilder};

use super::read_config_file;
use super::token::{TokenLine, tokenize};

/// A parsed pg_ident.conf. C: `parsed_ident_lines`.
#[derive(Clone, Debug, Default)]
pub struct IdentFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its lines, first to last.
    pub lines: Vec<IdentLine>,
}

/// One line: in that map, that system user may be that role. C: `IdentLine`.
#[derive(Clone, Debug)]
pub struct IdentLine {
    /// Where it stands.
    pub number: u32,
    /// The map it is part of.
    pub map: String,
    /// The system user, or after a slash a regular expression.
    pub system_user: String,
    /// The role; `\1` stands for what the expression's first group matched.
    pub role: String,
    expression: Option<Regex>,
}

impl IdentFile {
    /// Reads and parses a file: its lines unless there is an error, and what to log.
    pub fn read(path: &Path) -> (Option<IdentFile>, Vec<PgError>) {
        match read_config_file(path) {
            Ok(text) => IdentFile::parse(path, &text),
            Err(error) => (None, vec![error.with_severity(elog::Severity::Log)]),
        }
    }

    /// The same with the text already read. An empty file is fine.
    pub fn parse(path: &Path, text: &str) -> (Option<IdentFile>, Vec<PgError>) {
        let mut complaints = Vec::new();
        let mut good = true;
        let mut lines = Vec::new();
        for tokens in tokenize(path, text, &mut complaints) {
            if tokens.error.is_some() {
                good = false;
                continue;
            }
            match parse_line(&tokens, path) {
                Ok(line) => lines.push(line),
                Err(complaint) => {
                    good = false;
                    complaints.push(complaint);
                }
            }
        }
        (good.then(|| IdentFile { path: path.to_owned(), lines }), complaints)
    }

    /// May the system user `authenticated` be `role`? Without a map only under the same name. Logs why not.
    /// C: `check_usermap`.
    pub(crate) fn check_usermap(&self, map: Option<&str>, role: &str, authenticated: &str) -> bool {
        let Some(map) = map.filter(|map| !map.is_empty()) else {
            if role != authenticated {
                ereport!(
                    Log,
                    "provided user name ({role}) and authenticated user name ({authenticated}) do not match"
                );
            }
            return role == authenticated;
        };
        for line in self.lines.iter().filter(|line| line.map == map) {
            match line.allows(role, authenticated) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    error.report();
                    return false;
                }
            }
        }
        ereport!(
            Log,
            "no match in usermap \"{map}\" for user \"{role}\" authenticated as \"{authenticated}\""
        );
        false
    }
}

impl IdentLine {
    /// C: `check_ident_usermap`.
    fn allows(&self, role: &str, authenticated: &str) -> Result<bool, PgError> {
        let Some(expression) = &self.expression else {
            return Ok(self.system_user == authenticated && self.role == role);
        };
        let Some(captures) = expression.captures(authenticated) else { return Ok(false) };
        if !self.role.contains("\\1") {
            return Ok(self.role == role);
        }
        let Some(group) = captures.get(1) else {
            return Err(pg_error!(
                Log,
                SqlState::INVALID_REGULAR_EXPRESSION,
                "regular expression \"{}\" has no subexpressions as requested by backreference in \"{}\"",
                &self.system_user[1..],
                self.role
            ));
        };
        Ok(self.role.replacen("\\1", group.as_str(), 1) == role)
    }
}

pub(super) fn parse_line(line: &TokenLine, path: &Path) -> Result<IdentLine, PgError> {
    let mut fields = line.fields.iter();
    let mut next = || match fields.next().map(Vec::as_slice) {
        Some([token]) => Ok(token.text.clone()),
        Some(_) => Err(pg_error!(Log, SqlState::CONFIG_FILE_ERROR, "multiple values in ident field")
            .context(format!("line {} of configuration file \"{}\"", line.number, path.display()))),
        None => Err(pg_error!(
            Log,
            SqlState::CONFIG_FILE_ERROR,
            "missing entry in file \"{}\" at end of line {}",
            path.display(),
            line.number
        )),
    };
    let (map, system_user, role) = (next()?, next()?, next()?);
    let expression = match system_user.strip_prefix('/') {
        Some(text) => Some(compile(text).map_err(|why| {
            pg_error!(
                Log,
                SqlState::INVALID_REGULAR_EXPRESSION,
                "invalid regular expression \"{text}\": {why}"
            )
        })?),
        None => None,
    };
    Ok(IdentLine { number: line.number, map, system_user, role, expression })
}

/// Compiles an expression; the error is PostgreSQL's word for it where there is one.
fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).dot_matches_new_line(true).build().map_err(|e| {
        // The last line of the crate's several says what is wrong.
        let why = e.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
        match why {
            "unclosed group" | "unopened group" => "parentheses () not balanced",
            "unclosed character class" => "brackets [] not balanced",
            "repetition operator missing expression" => "quantifier operand invalid",
            other => other,
        }
        .to_owned()
    })
}
