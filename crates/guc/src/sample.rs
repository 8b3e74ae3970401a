//! The postgresql.conf that initdb writes, made from the table.

use std::fmt::Write;

use crate::alter_system::escape;
use crate::table::{self, GucContext, Kind, Setting, Unit, flags};
use crate::units;
use crate::value;

const INTRODUCTION: &str = "\
# Settings of this PostgreSQL server, one per line:
#
#     name = value
#
# The = may be left out. Text goes in single quotes, a quote within it is doubled. What follows a # is a comment.
# Every ordinary setting appears below with its default, commented out. To change one, remove the # and edit the value;
# to go back, put the # there again. If a line is repeated, the last one wins, and postgresql.auto.conf, which
# ALTER SYSTEM writes, comes after this file.
#
# Sizes take B, kB, MB, GB, TB; times take us, ms, s, min, h, d. A bare number counts in the unit shown.
#
# The server reads this file when it starts and on \"pg_ctl reload\" or SELECT pg_reload_conf(). Lines marked
# \"restart\" count only at a start. Any setting can be given to the server as --name=value instead, and many be
# changed in a session with SET.
";

/// Text of a postgresql.conf with every ordinary setting as a comment, except `values`, which are in force.
/// Values are written as given, in quotes where the setting's type or their own look asks for that.
pub fn postgresql_conf(values: &[(&str, &str)]) -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut section = "";
    for setting in table::in_groups() {
        let given = values.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(setting.name));
        if given.is_none() && setting.has(flags::NOT_IN_SAMPLE | flags::DISALLOW_IN_FILE) {
            continue;
        }
        if setting.category != section {
            section = setting.category;
            let _ = write!(text, "\n\n# {}\n# {}\n\n", section, "-".repeat(section.len()));
        }
        let line = match given {
            Some((_, value)) => format!("{} = {}", setting.name, written(setting, value)),
            None => format!("#{} = {}", setting.name, written(setting, &default(setting))),
        };
        let note = note(setting);
        let _ = match note.is_empty() {
            true => writeln!(text, "{line}"),
            false => writeln!(text, "{line:<47} # {note}"),
        };
    }
    text.push_str(
        "\n\n# Other files\n# -----------\n\n\
         #include = 'extra.conf'                         # its lines count as if they stood here\n\
         #include_if_exists = 'extra.conf'               # no error without it\n\
         #include_dir = 'conf.d'                         # all *.conf in there, in the order of their names\n",
    );
    text
}

fn default(setting: &Setting) -> String {
    value::with_units(setting, &value::boot(setting))
}

/// In quotes unless it is a number or a plain word.
fn written(setting: &Setting, value: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let number = matches!(setting.kind, Kind::Int { .. } | Kind::Real { .. })
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        || matches!(setting.kind, Kind::Real { .. })
            && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let plain = !matches!(setting.kind, Kind::String { .. })
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(word);
    if !value.is_empty() && (number || plain) { value.to_owned() } else { format!("'{}'", escape(value)) }
}

/// Range or choices, base unit, and whether it takes a restart.
fn note(setting: &Setting) -> String {
    let mut parts = Vec::new();
    match setting.kind {
        Kind::Int { min, max, .. } if max == i32::MAX => parts.push(format!("{min} or more")),
        Kind::Int { min, max, .. }
            if setting.name.ends_with("mode") || setting.name.ends_with("permissions") =>
        {
            parts.push(format!("{min:04o} to {max:04o}"));
        }
        Kind::Int { min, max, .. } => parts.push(format!("{min} to {max}")),
        Kind::Real { min, max, .. } if max == f64::MAX => {
            parts.push(format!("{} or more", units::format_g(min)));
        }
        Kind::Real { min, max, .. } => {
            parts.push(format!("{} to {}", units::format_g(min), units::format_g(max)));
        }
        Kind::Enum { choices, .. } => parts.push(value::words(choices).join(", ")),
        Kind::String { boot: None, .. } => parts.push("not set".to_owned()),
        Kind::Bool { .. } | Kind::String { .. } => {}
    }
    match setting.unit {
        Unit::None => {}
        Unit::Blocks => parts.push("in pages of 8kB".to_owned()),
        unit => parts.push(format!("in {}", unit.name().unwrap_or(""))),
    }
    match setting.context {
        GucContext::Postmaster => parts.push("restart".to_owned()),
        GucContext::Backend | GucContext::SuperuserBackend => parts.push("new sessions".to_owned()),
        _ => {}
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ordinary_setting_is_there_once() {
        let text = postgresql_conf(&[]);
        for setting in table::in_groups() {
            let lines = text.lines().filter(|l| l.starts_with(&format!("#{} = ", setting.name))).count();
            let expected = usize::from(!setting.has(flags::NOT_IN_SAMPLE | flags::DISALLOW_IN_FILE));
            assert_eq!(lines, expected, "{}", setting.name);
        }
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')));
    }

    #[test]
    fn given_values_are_in_force_and_quoted() {
        let text = postgresql_conf(&[
            ("max_connections", "100"),
            ("timezone", "Etc/UTC"),
            ("shared_buffers", "128MB"),
            ("datestyle", "iso, mdy"),
            ("random_page_cost", "1.1"),
            ("log_line_prefix", "it's \\"),
            ("wal_level", "replica"),
        ]);
        for line in [
            "max_connections = 100 ",
            "TimeZone = 'Etc/UTC'",
            "shared_buffers = 128MB ",
            "DateStyle = 'iso, mdy'",
            "random_page_cost = 1.1 ",
            "log_line_prefix = 'it''s \\\\'",
            "wal_level = replica ",
        ] {
            assert!(text.lines().any(|l| format!("{l} ").starts_with(line)), "{line}");
        }
    }
}
