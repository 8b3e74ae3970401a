//! COPY's options: what was written, checked and completed.
//!
//! C counterpart: `ProcessCopyOptions` of commands/copy.c.

use common::SqlState;
use elog::{PgError, Result, error};
use parser::ast::{DefElem, OptionValue};

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line a row, backslash escapes.
    Text,
    /// Comma separated values.
    Csv,
}

/// What the first line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A row.
    None,
    /// The columns' names; ignored when read.
    Line,
    /// The columns' names, which must be right.
    Match,
}

/// Columns that an option names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// The option was not given.
    #[default]
    None,
    /// `*`
    All,
    /// These.
    Some(Vec<String>),
}

/// The options, complete. C: `CopyFormatOptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the options")]
pub struct Options {
    pub format: Format,
    pub freeze: bool,
    pub delimiter: u8,
    pub null: String,
    pub header: Header,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: Columns,
    pub force_not_null: Columns,
    pub force_null: Columns,
}

/// Characters that mean something after a backslash. C: the list in `ProcessCopyOptions`.
const NOT_A_DELIMITER: &str = "\\.abcdefghijklmnopqrstuvwxyz0123456789";

/// As written; `None` for what was not.
#[derive(Default)]
struct Given {
    format: Option<Format>,
    freeze: Option<bool>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Columns,
    force_not_null: Columns,
    force_null: Columns,
    encoding: bool,
}

impl Options {
    /// Checks and completes what was written. `source` is the statement's text, for positions.
    ///
    /// # Errors
    /// PostgreSQL's, for each option and combination that it refuses.
    pub fn parse(options: &[DefElem], is_from: bool, source: &str) -> Result<Options> {
        let mut given = Given::default();
        for option in options {
            given.take(option, is_from, source)?;
        }
        given.complete(is_from)
    }
}

fn conflicting(option: &DefElem, source: &str) -> PgError {
    error!(SqlState::SYNTAX_ERROR, "conflicting or redundant options")
        .position(parser::char_position(source, option.loc as usize))
}

fn put<T>(place: &mut Option<T>, value: T, option: &DefElem, source: &str) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(conflicting(option, source)),
    }
}

impl Given {
    fn take(&mut self, option: &DefElem, is_from: bool, source: &str) -> Result<()> {
        match option.name.as_str() {
            "format" => put(&mut self.format, format(option, source)?, option, source),
            "freeze" => put(&mut self.freeze, boolean(option)?, option, source),
            "delimiter" => put(&mut self.delimiter, string(option)?, option, source),
            "null" => put(&mut self.null, string(option)?, option, source),
            "header" => put(&mut self.header, header(option, is_from)?, option, source),
            "quote" => put(&mut self.quote, string(option)?, option, source),
            "escape" => put(&mut self.escape, string(option)?, option, source),
            "force_quote" => put_columns(&mut self.force_quote, option, true, source),
            "force_not_null" => put_columns(&mut self.force_not_null, option, false, source),
            "force_null" => put_columns(&mut self.force_null, option, false, source),
            "encoding" => {
                if std::mem::replace(&mut self.encoding, true) {
                    return Err(conflicting(option, source));
                }
                let name = string(option)?;
                if matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "sql_ascii") {
                    return Ok(());
                }
                Err(error!(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "COPY with an encoding other than UTF8 is not supported yet"
                ))
            }
            name => Err(error!(SqlState::SYNTAX_ERROR, "option \"{name}\" not recognized")
                .position(parser::char_position(source, option.loc as usize))),
        }
    }

    fn complete(self, is_from: bool) -> Result<Options> {
        let format = self.format.unwrap_or(Format::Text);
        let csv = format == Format::Csv;
        let delimiter = self.delimiter.unwrap_or_else(|| if csv { "," } else { "\t" }.to_owned());
        let null = self.null.unwrap_or_else(|| if csv { "" } else { "\\N" }.to_owned());
        let has_escape = self.escape.is_some();
        let quote = self.quote.clone().unwrap_or_else(|| "\"".to_owned());
        let escape = self.escape.unwrap_or_else(|| quote.clone());
        let delimiter = one_byte(&delimiter, "delimiter")?;
        if matches!(delimiter, b'\r' | b'\n') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\r', '\n']) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        if !csv && NOT_A_DELIMITER.as_bytes().contains(&delimiter) {
            return Err(invalid(&format!("COPY delimiter cannot be \"{}\"", delimiter as char)));
        }
        if !csv && self.quote.is_some() {
            return Err(unsupported("COPY quote available only in CSV mode"));
        }
        let quote = one_byte(&quote, "quote")?;
        if csv && delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if !csv && has_escape {
            return Err(unsupported("COPY escape available only in CSV mode"));
        }
        let escape = one_byte(&escape, "escape")?;
        check_forced("quote", "TO", &self.force_quote, csv, is_from)?;
        check_forced("not null", "FROM", &self.force_not_null, csv, !is_from)?;
        check_forced("null", "FROM", &self.force_null, csv, !is_from)?;
        if null.as_bytes().contains(&delimiter) {
            return Err(unsupported("COPY delimiter must not appear in the NULL specification"));
        }
        if csv && null.as_bytes().contains(&quote) {
            return Err(unsupported("CSV quote character must not appear in the NULL specification"));
        }
        Ok(Options {
            format,
            freeze: self.freeze.unwrap_or(false),
            delimiter,
            null,
            header: self.header.unwrap_or(Header::None),
            quote,
            escape,
            force_quote: self.force_quote,
            force_not_null: self.force_not_null,
            force_null: self.force_null,
        })
    }
}

fn invalid(text: &str) -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "{text}")
}

fn unsupported(text: &str) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{text}")
}

fn one_byte(text: &str, what: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ if what == "delimiter" => Err(unsupported("COPY delimiter must be a single one-byte character")),
        _ => Err(unsupported(&format!("COPY {what} must be a single one-byte character"))),
    }
}

fn check_forced(what: &str, only: &str, columns: &Columns, csv: bool, wrong_way: bool) -> Result<()> {
    if *columns == Columns::None {
        return Ok(());
    }
    if !csv {
        return Err(unsupported(&format!("COPY force {what} available only in CSV mode")));
    }
    if wrong_way {
        return Err(unsupported(&format!("COPY force {what} only available using COPY {only}")));
    }
    Ok(())
}

fn string(option: &DefElem) -> Result<String> {
    match &option.value {
        Some(OptionValue::String(text) | OptionValue::Float(text)) => Ok(text.clone()),
        Some(OptionValue::Integer(number)) => Ok(number.to_string()),
        Some(OptionValue::Boolean(on)) => Ok(if *on { "true" } else { "false" }.to_owned()),
        _ => Err(error!(SqlState::SYNTAX_ERROR, "{} requires a parameter", option.name)),
    }
}

/// C: `defGetBoolean`.
fn boolean(option: &DefElem) -> Result<bool> {
    match &option.value {
        None => return Ok(true),
        Some(OptionValue::Boolean(on)) => return Ok(*on),
        Some(OptionValue::Integer(0)) => return Ok(false),
        Some(OptionValue::Integer(1)) => return Ok(true),
        Some(OptionValue::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => return Ok(true),
            "false" | "off" => return Ok(false),
            _ => {}
        },
        _ => {}
    }
    Err(error!(SqlState::SYNTAX_ERROR, "{} requires a Boolean value", option.name))
}

/// C: `defGetCopyHeaderChoice`.
fn header(option: &DefElem, is_from: bool) -> Result<Header> {
    if let Some(OptionValue::String(text)) = &option.value
        && text.eq_ignore_ascii_case("match")
    {
        if !is_from {
            return Err(unsupported(&format!("cannot use \"{text}\" with HEADER in COPY TO")));
        }
        return Ok(Header::Match);
    }
    match boolean(option) {
        Ok(true) => Ok(Header::Line),
        Ok(false) => Ok(Header::None),
        Err(_) => {
            Err(error!(SqlState::SYNTAX_ERROR, "{} requires a Boolean value or \"match\"", option.name))
        }
    }
}

fn format(option: &DefElem, source: &str) -> Result<Format> {
    let name = string(option)?;
    match name.as_str() {
        "text" => Ok(Format::Text),
        "csv" => Ok(Format::Csv),
        "binary" => Err(unsupported("COPY in binary format is not supported yet")),
        name => Err(invalid(&format!("COPY format \"{name}\" not recognized"))
            .position(parser::char_position(source, option.loc as usize))),
    }
}

fn put_columns(place: &mut Columns, option: &DefElem, star: bool, source: &str) -> Result<()> {
    if *place != Columns::None {
        return Err(conflicting(option, source));
    }
    *place = match &option.value {
        Some(OptionValue::Star) if star => Columns::All,
        Some(OptionValue::List(names)) => Columns::Some(names.clone()),
        Some(OptionValue::String(name)) => Columns::Some(vec![name.clone()]),
        _ => {
            return Err(invalid(&format!(
                "argument to option \"{}\" must be a list of column names",
                option.name
            ))
            .position(parser::char_position(source, option.loc as usize)));
        }
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parser::ast::Statement;

    fn parse(sql: &str) -> Result<Options> {
        let Some(Statement::Copy(copy)) = parser::parse(sql).unwrap().pop().map(|raw| raw.stmt) else {
            panic!("{sql}")
        };
        Options::parse(&copy.options, copy.is_from, sql)
    }

    #[track_caller]
    fn fails(options: &str, message: &str) {
        let error = parse(&format!("copy t from stdin {options}")).unwrap_err();
        assert_eq!(format!("{} {}", error.sqlstate, error.message), message);
    }

    #[test]
    fn defaults_follow_the_format() {
        let text = parse("copy t to stdout").unwrap();
        assert_eq!((text.delimiter, text.null.as_str()), (b'\t', "\\N"));
        let csv = parse("copy t to stdout (format csv, quote '''')").unwrap();
        assert_eq!((csv.delimiter, csv.null.as_str(), csv.quote, csv.escape), (b',', "", b'\'', b'\''));
        assert_eq!(parse("copy t from stdin csv header").unwrap().header, Header::Line);
        assert_eq!(parse("copy t from stdin (header match)").unwrap().header, Header::Match);
    }

    #[test]
    fn refusals_are_postgresqls() {
        fails("(format x)", "22023 COPY format \"x\" not recognized");
        fails("(nosuch 1)", "42601 option \"nosuch\" not recognized");
        fails("(delimiter 'ab')", "0A000 COPY delimiter must be a single one-byte character");
        fails("(delimiter 'a')", "22023 COPY delimiter cannot be \"a\"");
        fails("(quote '\"')", "0A000 COPY quote available only in CSV mode");
        fails("(format csv, delimiter '\"')", "22023 COPY delimiter and quote must be different");
        fails("(format csv, force_quote *)", "0A000 COPY force quote only available using COPY TO");
        fails("(null 'a\tb')", "0A000 COPY delimiter must not appear in the NULL specification");
        fails("(header 2)", "42601 header requires a Boolean value or \"match\"");
        fails("(header true, header false)", "42601 conflicting or redundant options");
    }
}
