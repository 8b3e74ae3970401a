//! Language and encoding: what the options and the environment say, and whether it fits together.
//!
//! Without C's `setlocale` (this program has no unsafe code) a name is checked against the list that the
//! system's program `locale` gives; the names C, POSIX and C.UTF-8 need no check.
//!
//! C counterpart: `setlocales`, `setup_locale_encoding`, `setup_text_search` in initdb.c, port/chklocale.c.

use std::process::Command;

use catalog::encoding::Encoding;

use crate::options::Options;
use crate::report::{self, Failure, Result, encoding_mismatch, fail, say};

/// One of the six categories.
pub(crate) struct Category {
    /// Long option, without the dashes.
    pub(crate) option: &'static str,
    /// Environment variable.
    variable: &'static str,
}

/// The categories, in the order in which they are shown.
pub(crate) const CATEGORIES: [Category; 6] = [
    Category { option: "lc-collate", variable: "LC_COLLATE" },
    Category { option: "lc-ctype", variable: "LC_CTYPE" },
    Category { option: "lc-messages", variable: "LC_MESSAGES" },
    Category { option: "lc-monetary", variable: "LC_MONETARY" },
    Category { option: "lc-numeric", variable: "LC_NUMERIC" },
    Category { option: "lc-time", variable: "LC_TIME" },
];

/// What was chosen.
#[derive(Debug)]
pub(crate) struct Locales {
    pub(crate) collate: String,
    pub(crate) ctype: String,
    pub(crate) messages: String,
    pub(crate) monetary: String,
    pub(crate) numeric: String,
    pub(crate) time: String,
    pub(crate) encoding: Encoding,
    pub(crate) text_search_config: String,
}

/// Chooses and prints.
pub(crate) fn choose(options: &Options) -> Result<Locales> {
    let mut names: [String; 6] = Default::default();
    for ((name, category), given) in names.iter_mut().zip(&CATEGORIES).zip(&options.lc) {
        *name = match given.as_ref().or(options.locale.as_ref()).filter(|given| !given.is_empty()) {
            Some(given) => {
                checked(given).ok_or_else(|| Failure::new(format!("invalid locale name \"{given}\"")))?
            }
            None => checked(&from_environment(category.variable)).ok_or_else(|| {
                Failure::new("invalid locale settings; check LANG and LC_* environment variables")
            })?,
        };
    }
    print_names(&names);
    let encoding = choose_encoding(options, &names)?;
    let [collate, ctype, messages, monetary, numeric, time] = names;
    let text_search_config = choose_text_search_config(options, &ctype);
    say(&format!("The default text search configuration will be set to \"{text_search_config}\".\n"));
    Ok(Locales { collate, ctype, messages, monetary, numeric, time, encoding, text_search_config })
}

fn print_names(names: &[String; 6]) {
    let [first, others @ ..] = names;
    if others.iter().all(|name| name == first) {
        say(&format!("The database cluster will be initialized with locale \"{first}\".\n"));
        return;
    }
    say("The database cluster will be initialized with this locale configuration:\n  provider:    libc\n");
    for (category, name) in CATEGORIES.iter().zip(names) {
        say(&format!("  {:<12} {name}\n", format!("{}:", category.variable)));
    }
}

/// What the C library would take for a category that nobody has set.
fn from_environment(variable: &str) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set("LC_ALL").or_else(|| set(variable)).or_else(|| set("LANG")).unwrap_or_else(|| "C".to_owned())
}

/// The name as `setlocale` would return it, or `None` if the system has no such locale.
fn checked(name: &str) -> Option<String> {
    if matches!(name, "C" | "POSIX") {
        return Some("C".to_owned());
    }
    if is_c_utf8(name) || installed().iter().any(|other| *other == comparable(name)) {
        return Some(name.to_owned());
    }
    None
}

fn is_c_utf8(name: &str) -> bool {
    comparable(name) == "C.utf8"
}

/// With the encoding's part in lower case and without punctuation: so the C library compares.
fn comparable(name: &str) -> String {
    let Some((language, codeset)) = name.split_once('.') else { return name.to_owned() };
    let (codeset, modifier) = match codeset.split_once('@') {
        Some((codeset, modifier)) => (codeset, format!("@{modifier}")),
        None => (codeset, String::new()),
    };
    let codeset: String =
        codeset.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    format!("{language}.{codeset}{modifier}")
}

/// All names that the system knows, in comparable form; empty if it cannot tell.
fn installed() -> Vec<String> {
    let output = Command::new("locale").arg("-a").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().map(comparable).collect()
}

/// The encoding of a locale that exists, or `None` if PostgreSQL has no such encoding.
fn encoding_of(name: &str) -> Option<Encoding> {
    if name == "C" {
        return Some(Encoding::SQL_ASCII);
    }
    if is_c_utf8(name) {
        return Some(Encoding::UTF8);
    }
    let output = Command::new("locale").arg("charmap").env("LC_ALL", name).output().ok()?;
    let charmap = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if charmap == "ANSI_X3.4-1968" { Some(Encoding::SQL_ASCII) } else { Encoding::from_name(&charmap) }
}

fn choose_encoding(options: &Options, names: &[String; 6]) -> Result<Encoding> {
    let [collate, ctype, ..] = names;
    let of_ctype = encoding_of(ctype);
    let Some(wanted) = &options.encoding else {
        let Some(encoding) = of_ctype else {
            return Err(Failure::new(format!("could not find suitable encoding for locale \"{ctype}\""))
                .hint("Rerun initdb with the -E option."));
        };
        if !encoding.is_for_server() {
            let name = encoding.name();
            return Err(Failure::new(format!("locale \"{ctype}\" requires unsupported encoding \"{name}\""))
                .detail(format!("Encoding \"{name}\" is not allowed as a server-side encoding."))
                .hint("Rerun initdb with a different locale selection."));
        }
        check_fits(encoding, encoding_of(collate))?;
        say(&format!("The default database encoding has accordingly been set to \"{}\".\n", encoding.name()));
        return Ok(encoding);
    };
    let Some(encoding) = Encoding::from_name(wanted).filter(|encoding| encoding.is_for_server()) else {
        return fail(format!("\"{wanted}\" is not a valid server encoding name"));
    };
    check_fits(encoding, of_ctype)?;
    check_fits(encoding, encoding_of(collate))?;
    Ok(encoding)
}

/// A locale that doesn't know encodings goes with any, and SQL_ASCII with any locale.
fn check_fits(selected: Encoding, of_locale: Option<Encoding>) -> Result<()> {
    match of_locale {
        Some(other)
            if other != selected && other != Encoding::SQL_ASCII && selected != Encoding::SQL_ASCII =>
        {
            Err(encoding_mismatch(selected, other))
        }
        _ => Ok(()),
    }
}

/// Text search configurations by the language's part of a locale's name.
const TEXT_SEARCH_CONFIGS: [(&str, &str); 30] = [
    ("C", "english"),
    ("POSIX", "english"),
    ("ar", "arabic"),
    ("ca", "catalan"),
    ("da", "danish"),
    ("de", "german"),
    ("el", "greek"),
    ("en", "english"),
    ("es", "spanish"),
    ("eu", "basque"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("ga", "irish"),
    ("hi", "hindi"),
    ("hu", "hungarian"),
    ("hy", "armenian"),
    ("id", "indonesian"),
    ("it", "italian"),
    ("lt", "lithuanian"),
    ("ne", "nepali"),
    ("nl", "dutch"),
    ("no", "norwegian"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("ru", "russian"),
    ("sr", "serbian"),
    ("sv", "swedish"),
    ("ta", "tamil"),
    ("tr", "turkish"),
    ("yi", "yiddish"),
];

fn choose_text_search_config(options: &Options, ctype: &str) -> String {
    let language = ctype.split(['_', '.', '@']).next().unwrap_or(ctype);
    let suitable = TEXT_SEARCH_CONFIGS.iter().find(|(code, _)| *code == language).map(|(_, config)| *config);
    match (&options.text_search_config, suitable) {
        (None, Some(suitable)) => suitable.to_owned(),
        (None, None) => {
            let text = format!("could not find suitable text search configuration for locale \"{ctype}\"");
            report::info(&text);
            "simple".to_owned()
        }
        (Some(given), suitable) => {
            match suitable {
                None => report::warning(&format!(
                    "suitable text search configuration for locale \"{ctype}\" is unknown"
                )),
                Some(suitable) if suitable != given => report::warning(&format!(
                    "specified text search configuration \"{given}\" might not match locale \"{ctype}\""
                )),
                Some(_) => {}
            }
            given.clone()
        }
    }
}
