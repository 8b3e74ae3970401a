//! `format()` and quoting. C: the end of varlena.c, quote.c.

use common::SqlState;
use elog::{PgError, Result, error};

use super::varlena::variadic_values;
use crate::fmgr::CallContext;
use crate::{Datum, io};

/// Words that must be quoted when used as a name. C: `RESERVED_KEYWORD` and the two kinds allowed only in some
/// places; kwlist.h.
const QUOTED_WORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// The name as it must be written in SQL: quoted unless it is a plain lower-case word. C: `quote_identifier`.
pub fn quote_identifier(name: &str) -> String {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && QUOTED_WORDS.binary_search(&name).is_err();
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The text as a string literal, `E'...'` if it has a backslash. C: `quote_literal_cstr`.
pub fn quote_literal_text(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

builtins! {
    fn quote_ident(a: &str) -> String { quote_identifier(a) }
    fn quote_literal(a: &str) -> String { quote_literal_text(a) }
    fn quote_literal_any(@cx; a: &Datum) -> String { quote_literal_text(&io::output_string(a, cx.arg_type(0))) }
    fn quote_nullable(a: Option<&str>) -> String { a.map_or_else(|| "NULL".into(), quote_literal_text) }
    fn quote_nullable_any(@cx; a: &Datum) -> String {
        if a.is_null() { "NULL".into() } else { quote_literal_text(&io::output_string(a, cx.arg_type(0))) }
    }
}

#[cold]
fn bad(message: &str) -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "{message}")
}

/// One `%` specifier: position, `-`, width, and the letter.
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Option<i32>,
    /// Width from an argument: its position, or the next one.
    star: Option<Option<usize>>,
}

struct Scanner<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
}

impl Scanner<'_> {
    fn number(&mut self) -> Result<Option<i32>> {
        let mut value: Option<i32> = None;
        while let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(10)) {
            self.chars.next();
            let next = value.unwrap_or(0).checked_mul(10).and_then(|v| v.checked_add(digit as i32));
            value = Some(
                next.ok_or_else(|| error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range"))?,
            );
        }
        Ok(value)
    }

    fn position(&self, n: i32) -> Result<usize> {
        if n == 0 {
            return Err(bad("format specifies argument 0, but arguments are numbered from 1"));
        }
        Ok(n as usize)
    }

    /// C: `text_format_parse_format`.
    fn specifier(&mut self) -> Result<Specifier> {
        let mut spec = Specifier { position: None, left: false, width: None, star: None };
        if let Some(n) = self.number()? {
            if self.chars.next_if_eq(&'$').is_none() {
                spec.width = Some(n);
                return Ok(spec);
            }
            spec.position = Some(self.position(n)?);
        }
        while self.chars.next_if_eq(&'-').is_some() {
            spec.left = true;
        }
        if self.chars.next_if_eq(&'*').is_some() {
            spec.star = Some(match self.number()? {
                Some(n) => {
                    if self.chars.next_if_eq(&'$').is_none() {
                        return Err(bad("width argument position must be ended by \"$\""));
                    }
                    Some(self.position(n)?)
                }
                None => None,
            });
        } else {
            spec.width = self.number()?;
        }
        Ok(spec)
    }
}

/// `format(text, VARIADIC "any")`.
pub(crate) fn text_format(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(format) = args.first().and_then(Datum::as_str) else { return Ok(Datum::Null) };
    let values = variadic_values(cx, args, 1);
    let mut scanner = Scanner { chars: format.chars().peekable() };
    let mut out = String::new();
    let mut next = 0usize;
    let value_at = |n: usize| {
        values
            .get(n - 1)
            .ok_or_else(|| error!(SqlState::INVALID_PARAMETER_VALUE, "too few arguments for format()"))
    };
    while let Some(c) = scanner.chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if scanner.chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut spec = scanner.specifier()?;
        let letter = scanner.chars.next().ok_or_else(|| {
            bad("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
        })?;
        if let Some(star) = spec.star {
            next = star.unwrap_or(next + 1);
            let (value, ty) = value_at(next)?;
            let width = if value.is_null() { 0 } else { io::output_string(value, *ty).parse().unwrap_or(0) };
            spec.width = Some(width);
        }
        next = spec.position.unwrap_or(next + 1);
        if !matches!(letter, 's' | 'I' | 'L') {
            return Err(bad(&format!("unrecognized format() type specifier \"{letter}\""))
                .hint("For a single \"%\" use \"%%\"."));
        }
        let (value, ty) = value_at(next)?;
        let text = io::output_string(value, *ty);
        let shown = match letter {
            'I' if value.is_null() => {
                return Err(error!(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier"
                ));
            }
            'I' => quote_identifier(&text),
            'L' if value.is_null() => "NULL".into(),
            'L' => quote_literal_text(&text),
            _ => text,
        };
        pad(&shown, &spec, &mut out)?;
    }
    Ok(Datum::text(out))
}

fn pad(text: &str, spec: &Specifier, out: &mut String) -> Result<()> {
    let width = spec.width.unwrap_or(0);
    let left = spec.left || width < 0;
    let width = width.unsigned_abs() as usize;
    if width > super::varlena::MAX_BYTES {
        return Err(super::varlena::too_long());
    }
    let fill = width.saturating_sub(text.chars().count());
    if !left {
        out.extend(std::iter::repeat_n(' ', fill));
    }
    out.push_str(text);
    if left {
        out.extend(std::iter::repeat_n(' ', fill));
    }
    Ok(())
}

pub(crate) fn text_format_nv(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    text_format(cx, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_all;

    #[test]
    fn quoting() {
        assert!(QUOTED_WORDS.is_sorted());
        check_all(
            r#"
            quote_ident(text:foo) => foo
            quote_ident(text:Foo bar) => "Foo bar"
            quote_ident(text:select) => "select"
            quote_ident(text:a"b) => "a""b"
            quote_literal(text:O'Re\l) => E'O''Re\\l'
            quote_literal(int4:42) => '42'
            quote_nullable(null) => NULL
            "#,
        );
    }

    #[test]
    fn format() {
        check_all(
            r#"
            format(text:Hello %s, %1$s %I %L %% | text:World | text:a b | null) => Hello World, World "a b" NULL %
            format(text:|%10s|%-5s| | text:foo | text:x) => |       foo|x    |
            format(text:%s) => ERROR 22023 too few arguments for format()
            format(text:%z | int4:1) => ERROR 22023 unrecognized format() type specifier "z"
            format(text:%) => ERROR 22023 unterminated format() type specifier
            "#,
        );
    }
}
