//! Settings that are lists: taking them apart, and putting `SET x TO a, b` together.

use common::{SqlState, version};
use elog::{Result, error};

use crate::table::{self, flags};

/// How an element without quotes is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// To lower case, cut to 63 bytes, ends at white space.
    Identifier,
    /// As it is, ends at white space.
    Word,
    /// As it is, may have white space within.
    Directory,
}

/// Takes a comma-separated list of identifiers apart; `None` if its syntax is wrong. C: `SplitIdentifierString`.
pub fn split_identifiers(text: &str) -> Option<Vec<String>> {
    split(text, Style::Identifier)
}

/// The same for paths: white space within one is part of it. C: `SplitDirectoriesString`.
pub fn split_directories(text: &str) -> Option<Vec<String>> {
    split(text, Style::Directory)
}

/// The same, keeping case and length. C: `SplitGUCList`.
pub fn split_guc_list(text: &str) -> Option<Vec<String>> {
    split(text, Style::Word)
}

fn split(text: &str, style: Style) -> Option<Vec<String>> {
    let space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let mut rest = text.trim_start_matches(space);
    let mut elements = Vec::new();
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let mut element;
        if let Some(quoted) = rest.strip_prefix('"') {
            (element, rest) = until_quote(quoted)?;
        } else {
            let end = rest.find(|c: char| c == ',' || (style != Style::Directory && space(c)));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            let word = word.trim_end_matches(space);
            if word.is_empty() {
                return None;
            }
            element = match style {
                Style::Identifier => word.to_ascii_lowercase(),
                Style::Word | Style::Directory => word.to_owned(),
            };
            rest = after;
        }
        if style == Style::Identifier {
            element.truncate(element.floor_char_boundary(version::NAMEDATALEN - 1));
        }
        elements.push(element);
        rest = rest.trim_start_matches(space);
        if rest.is_empty() {
            return Some(elements);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(space);
    }
}

/// The text up to the closing quote, a doubled one standing for itself, and what follows.
fn until_quote(mut rest: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        element.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                element.push('"');
                rest = more;
            }
            None => return Some((element, after)),
        }
    }
}

/// The one text that `SET name TO args` sets: elements with commas between, quoted where the setting wants
/// that. C: `flatten_set_variable_args`.
pub fn flatten_list<S: AsRef<str>>(name: &str, args: &[S]) -> Result<String> {
    let setting = table::find(name);
    let is = |flag| setting.is_some_and(|s| s.has(flag));
    if args.len() > 1 && !is(flags::LIST_INPUT) {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "SET {name} takes only one argument"));
    }
    let quote = is(flags::LIST_QUOTE);
    let element = |arg: &S| if quote { quote_identifier(arg.as_ref()) } else { arg.as_ref().to_owned() };
    Ok(args.iter().map(element).collect::<Vec<String>>().join(", "))
}

/// The identifier as it can be written: in quotes unless it is plain and no keyword. C: `quote_identifier`.
fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !KEYWORDS.split_ascii_whitespace().any(|word| word == name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Keywords that are not free for use as names everywhere: `pg_get_keywords()` without category U.
const KEYWORDS: &str = "\
all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both \
case cast char character check coalesce collate collation column concurrently constraint create cross \
current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign \
freeze from full grant greatest group grouping having ilike in initially inner inout int integer \
intersect interval into is isnull join lateral leading least left like limit localtime localtimestamp \
national natural nchar none normalize not notnull null nullif numeric offset on only or order out outer \
overlaps overlay placing position precision primary real references returning right row select \
session_user setof similar smallint some substring symmetric table tablesample then time timestamp to \
trailing treat trim true union unique user using values varchar variadic verbose when where window with \
xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize \
xmltable";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(split: fn(&str) -> Option<Vec<String>>, text: &str, expected: Option<&[&str]>) {
        let expected = expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>());
        assert_eq!(split(text), expected, "{text:?}");
    }

    #[test]
    fn lists() {
        check(split_identifiers, "", Some(&[]));
        check(split_identifiers, " A , b,\"C \"\"d\" ", Some(&["a", "b", "C \"d"]));
        for bad in ["a b", "a,", ",a", "a,,b", "\"a", "\"a\"b"] {
            check(split_identifiers, bad, None);
        }
        check(split_guc_list, "A, b", Some(&["A", "b"]));
        check(split_directories, "/tmp, /x y ,\"/a,b\"", Some(&["/tmp", "/x y", "/a,b"]));
        check(split_directories, "/tmp,", None);
    }

    #[test]
    fn set_to_a_list() {
        assert_eq!(
            flatten_list("search_path", &["a", "B c", "select", "1a", "a\"b"]).expect("a list"),
            r#"a, "B c", "select", "1a", "a""b""#
        );
        assert_eq!(flatten_list("DateStyle", &["ISO", "DMY"]).expect("a list"), "ISO, DMY");
        let error = flatten_list("work_mem", &["1", "2"]).unwrap_err();
        assert_eq!(
            (error.message.as_ref(), error.sqlstate.as_str()),
            ("SET work_mem takes only one argument", "22023")
        );
    }
}
