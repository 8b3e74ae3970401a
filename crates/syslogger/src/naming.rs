//! What a log file is called.
//!
//! C counterpart: `logfile_getname` in syslogger.c and the server's own `pg_strftime`, which knows no locale.

use elog::pipe::Destination;
use jiff::Zoned;
use jiff::tz::TimeZone;

/// The path of the file that begins at `unix_seconds`: `directory/pattern`, with the ending of its format.
pub(crate) fn path_at(
    directory: &str,
    pattern: &str,
    unix_seconds: i64,
    timezone: &TimeZone,
    to: Destination,
) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or_default().to_zoned(timezone.clone());
    let mut path = format!("{directory}/{}", expand(pattern, &at));
    let ending = match to {
        Destination::Stderr => return path,
        Destination::Csvlog => ".csv",
        Destination::Jsonlog => ".json",
    };
    if path.ends_with(".log") {
        path.truncate(path.len() - ".log".len());
    }
    path.push_str(ending);
    path
}

/// Replaces the `strftime` escapes. As in PostgreSQL, an unknown one leaves its letter, and a `%` at the very
/// end itself.
fn expand(pattern: &str, at: &Zoned) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // %E and %O ask for a locale's alternative form; there is none.
        match chars.by_ref().find(|c| !matches!(c, 'E' | 'O')) {
            None => out.push('%'),
            Some(escape) => match format_of(escape) {
                Some(format) => out.push_str(&at.strftime(format).to_string()),
                None => out.push(escape),
            },
        }
    }
    out
}

/// The escape in terms of jiff, which knows more of them than PostgreSQL and a few differently.
fn format_of(escape: char) -> Option<&'static str> {
    Some(match escape {
        'a' => "%a",
        'A' => "%A",
        'b' | 'h' => "%b",
        'B' => "%B",
        'c' => "%a %b %e %H:%M:%S %Y",
        'C' => "%C",
        'd' => "%d",
        'D' | 'x' => "%m/%d/%y",
        'e' => "%e",
        'F' => "%Y-%m-%d",
        'g' => "%g",
        'G' => "%G",
        'H' => "%H",
        'I' => "%I",
        'j' => "%j",
        'k' => "%k",
        'l' => "%l",
        'm' => "%m",
        'M' => "%M",
        'n' => "\n",
        'p' => "%p",
        'r' => "%I:%M:%S %p",
        'R' => "%H:%M",
        'S' => "%S",
        't' => "\t",
        'T' | 'X' => "%H:%M:%S",
        'u' => "%u",
        'U' => "%U",
        'v' => "%e-%b-%Y",
        'V' => "%V",
        'w' => "%w",
        'W' => "%W",
        'y' => "%y",
        'Y' => "%Y",
        'z' => "%z",
        'Z' => "%Z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: &str) {
        let zone = TimeZone::posix("CST-8").unwrap();
        assert_eq!(
            path_at("log", pattern, 1_795_252_531, &zone, Destination::Stderr),
            format!("log/{expected}")
        );
    }

    /// What PostgreSQL 15 made of the same patterns at the same second.
    #[test]
    fn recorded_names() {
        check(
            "pg-%Y%m%d-%a-%c-%x-%X-%Q-%P-%s-%E%%.log",
            "pg-20261121-Sat-Sat Nov 21 17:15:31 2026-11/21/26-17:15:31-Q-P-s-%.log",
        );
        check("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-21_171531.log");
    }

    #[test]
    fn every_escape_has_a_format_jiff_knows() {
        let at = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        for escape in (' '..='~').filter(|c| !matches!(c, 'E' | 'O')) {
            assert!(!expand(&format!("%{escape}"), &at).contains(char::is_control) || "nt".contains(escape));
        }
        assert_eq!(expand("%j %U %V %z %Z %k|%l %C %g", &at), "001 00 01 +0000 UTC  0|12 19 70");
        assert_eq!(expand("100%%, 100%", &at), "100%, 100%");
    }

    #[test]
    fn endings() {
        let name = |pattern, to| path_at("/var/log", pattern, 0, &TimeZone::UTC, to);
        assert_eq!(name("a.log", Destination::Csvlog), "/var/log/a.csv");
        assert_eq!(name("a.log", Destination::Jsonlog), "/var/log/a.json");
        assert_eq!(name("a.txt", Destination::Csvlog), "/var/log/a.txt.csv");
    }
}
