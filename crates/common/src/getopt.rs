//! Command-line options as PostgreSQL's programs read them: `-D dir`, `-Ddir`, `-sW`, `--pgdata dir`,
//! `--pgdata=dir`, unambiguous beginnings of long options, and arguments between options.
//!
//! The project's programs promise PostgreSQL's own texts for wrong options; those are the C library's, so
//! they are written here once. C counterpart: `getopt_long`.

use std::fmt;

/// One option: its letter or `'\0'`, its long name or `""`, and whether a value follows.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// What the caller matches on: the letter, or for an option without one any string that names it.
    pub key: &'static str,
    /// `-x`, if there is one.
    pub short: Option<char>,
    /// `--name`, or empty.
    pub long: &'static str,
    /// Does a value follow?
    pub takes_value: bool,
}

impl Opt {
    /// An option without a value; its key is its long name.
    pub const fn flag(short: Option<char>, long: &'static str) -> Opt {
        Opt { key: long, short, long, takes_value: false }
    }

    /// An option with a value; its key is its long name.
    pub const fn value(short: Option<char>, long: &'static str) -> Opt {
        Opt { key: long, short, long, takes_value: true }
    }
}

/// What the command line said, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A flag, by its key.
    Flag(&'static str),
    /// An option with a value, by its key.
    Value(&'static str, String),
    /// Something that is no option.
    Operand(String),
}

/// Why a command line was refused; `Display` is the C library's text without the program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptError {
    /// No such long option.
    UnknownLong(String),
    /// No such letter.
    UnknownShort(char),
    /// A beginning shared by several long options.
    Ambiguous(String, Vec<&'static str>),
    /// A letter without its value.
    ShortNeedsValue(char),
    /// A long option without its value.
    LongNeedsValue(&'static str),
    /// A long option with a value that it doesn't take.
    LongWithValue(&'static str),
}

impl fmt::Display for OptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptError::UnknownLong(name) => write!(f, "unrecognized option '--{name}'"),
            OptError::UnknownShort(letter) => write!(f, "invalid option -- '{letter}'"),
            OptError::Ambiguous(name, candidates) => {
                write!(f, "option '--{name}' is ambiguous; possibilities:")?;
                candidates.iter().try_for_each(|candidate| write!(f, " '--{candidate}'"))
            }
            OptError::ShortNeedsValue(letter) => write!(f, "option requires an argument -- '{letter}'"),
            OptError::LongNeedsValue(name) => write!(f, "option '--{name}' requires an argument"),
            OptError::LongWithValue(name) => write!(f, "option '--{name}' doesn't allow an argument"),
        }
    }
}

impl std::error::Error for OptError {}

/// Reads a command line without the program's name. After `--` everything is an operand.
pub fn parse(args: &[String], options: &[Opt]) -> Result<Vec<Argument>, OptError> {
    let mut found = Vec::with_capacity(args.len());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            found.extend(args.by_ref().cloned().map(Argument::Operand));
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, given) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let option = find_long(name, options)?;
            found.push(match (option.takes_value, given) {
                (false, None) => Argument::Flag(option.key),
                (false, Some(_)) => return Err(OptError::LongWithValue(option.long)),
                (true, Some(value)) => Argument::Value(option.key, value.to_owned()),
                (true, None) => {
                    let value = args.next().ok_or(OptError::LongNeedsValue(option.long))?;
                    Argument::Value(option.key, value.clone())
                }
            });
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                let option = options.iter().find(|option| option.short == Some(letter));
                let option = option.ok_or(OptError::UnknownShort(letter))?;
                if !option.takes_value {
                    found.push(Argument::Flag(option.key));
                    continue;
                }
                // The value is the rest of this word, or else the next one.
                let value = match letters.as_str() {
                    "" => args.next().ok_or(OptError::ShortNeedsValue(letter))?.clone(),
                    rest => rest.to_owned(),
                };
                found.push(Argument::Value(option.key, value));
                break;
            }
        } else {
            found.push(Argument::Operand(arg.clone()));
        }
    }
    Ok(found)
}

fn find_long<'a>(name: &str, options: &'a [Opt]) -> Result<&'a Opt, OptError> {
    let named = || options.iter().filter(|option| !option.long.is_empty());
    if let Some(exact) = named().find(|option| option.long == name) {
        return Ok(exact);
    }
    let candidates: Vec<&Opt> = named().filter(|option| option.long.starts_with(name)).collect();
    match candidates[..] {
        [] => Err(OptError::UnknownLong(name.to_owned())),
        [only] => Ok(only),
        _ => {
            let names = candidates.iter().map(|option| option.long).collect();
            Err(OptError::Ambiguous(name.to_owned(), names))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt::value(Some('D'), "pgdata"),
        Opt::flag(Some('s'), "silent"),
        Opt::flag(Some('W'), "no-wait"),
        Opt::flag(None, "no-sync"),
        Opt { key: "p", short: Some('p'), long: "", takes_value: true },
    ];

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let shown = match parse(&args, OPTIONS) {
            Err(error) => error.to_string(),
            Ok(found) => {
                let words: Vec<String> = found
                    .into_iter()
                    .map(|argument| match argument {
                        Argument::Flag(key) => key.to_owned(),
                        Argument::Value(key, value) => format!("{key}={value}"),
                        Argument::Operand(word) => format!("<{word}>"),
                    })
                    .collect();
                words.join(" ")
            }
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn spellings() {
        check("-D d1 start", "pgdata=d1 <start>");
        check("-Dd1 -sW", "pgdata=d1 silent no-wait");
        check("-sDd1", "silent pgdata=d1");
        check("start --pgdata d1 --pgdata=d2", "<start> pgdata=d1 pgdata=d2");
        check("--pg=x --no-w -p -s", "pgdata=x no-wait p=-s");
        check("-s -- -W --x", "silent <-W> <--x>");
        check("- a", "<-> <a>");
    }

    #[test]
    fn errors() {
        check("--frob", "unrecognized option '--frob'");
        check("-z", "invalid option -- 'z'");
        check("-D", "option requires an argument -- 'D'");
        check("--pgdata", "option '--pgdata' requires an argument");
        check("--silent=1", "option '--silent' doesn't allow an argument");
        check("--no", "option '--no' is ambiguous; possibilities: '--no-wait' '--no-sync'");
    }
}
