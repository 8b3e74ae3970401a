//! Calls that are made at one place or not at all.
//!
//! Clippy knows most of these bans too (clippy.toml); it does not see code behind another `cfg`, and an `allow`
//! silences it. What is left here needs a place in this file or a line in the list of exceptions.

use std::collections::HashSet;

use super::lexer::Kind;
use super::source::Source;

/// A call that must not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BannedCall {
    /// The call's name in findings and exceptions.
    pub(crate) name: &'static str,
    pub(crate) line: usize,
    /// What to do instead.
    pub(crate) instead: &'static str,
}

struct Ban {
    name: &'static str,
    modules: &'static [&'static str],
    functions: &'static [&'static str],
    instead: &'static str,
    is_allowed: fn(&Place<'_>) -> bool,
}

/// Where a call was found.
struct Place<'a> {
    path: &'a str,
    /// In code for tests only.
    in_tests: bool,
    /// Under `#[allow(clippy::disallowed_methods, reason = ..)]`.
    explained: bool,
}

const BANS: [Ban; 3] = [
    Ban {
        name: "fork",
        modules: &["libc", "unistd"],
        functions: &["fork", "vfork"],
        instead: "postmaster::launch has the one audited fork",
        is_allowed: |place| place.path == "crates/postmaster/src/launch.rs" || place.in_tests,
    },
    Ban {
        name: "fs::rename",
        modules: &["fs", "libc"],
        functions: &["rename", "renameat", "renameat2"],
        instead: "a bare rename can vanish in a crash: common::file::durable_rename",
        is_allowed: |place| place.path == "crates/common/src/file.rs" || place.explained,
    },
    Ban {
        name: "thread::sleep",
        modules: &["thread"],
        functions: &["sleep", "sleep_ms", "park_timeout"],
        instead: "wait for a condition, not for a duration",
        is_allowed: |_| false,
    },
];

const MACROS: [(&str, &str); 3] = [
    ("todo", "finish it, or return an error"),
    ("unimplemented", "return an error with SQLSTATE 0A000"),
    ("dbg", "log it, or remove it"),
];

/// Banned calls of a file. `test_files` are those that only tests compile.
pub(crate) fn find(source: &Source<'_>, test_files: &HashSet<String>) -> Vec<BannedCall> {
    let test_items = source.test_items();
    let explained = explained_items(source);
    let imports = imports(source);
    let mut found = Vec::new();
    for at in 0..source.tokens.len() {
        let Some(word) = source.word(at) else { continue };
        let line = source.tokens[at].line;
        if let Some((name, instead)) = MACROS.iter().find(|(name, _)| *name == word)
            && source.is_punct(at + 1, '!')
            && matches!(source.kind(at + 2), Some(Kind::Open(..)))
        {
            found.push(BannedCall { name, line, instead });
        }
        let import = imports.iter().find(|range| range.contains(&at));
        for ban in BANS.iter().filter(|ban| ban.functions.contains(&word)) {
            let direct = source.qualifier(at).is_some_and(|module| ban.modules.contains(&module));
            // `use std::fs::{self, rename}`: from there on the call has no module before it.
            let imported = import.is_some_and(|range| {
                ban.modules.iter().any(|module| source.holds(range.start..at, &[module]))
            });
            let place = Place {
                path: source.path,
                in_tests: test_files.contains(source.path) || test_items.iter().any(|r| r.contains(&at)),
                explained: explained.iter().any(|r| r.contains(&at)),
            };
            if (direct || imported) && !(ban.is_allowed)(&place) {
                found.push(BannedCall { name: ban.name, line, instead: ban.instead });
            }
        }
    }
    found
}

/// Items and statements under an `allow` of clippy's ban that gives a reason.
fn explained_items(source: &Source<'_>) -> Vec<std::ops::Range<usize>> {
    let words = ["allow", "clippy", "disallowed_methods", "reason"];
    let attributes = source.attributes().filter(|(range, _)| source.holds(range.clone(), &words));
    attributes
        .map(|(range, inner)| if inner { 0..source.tokens.len() } else { source.item_after(range.end + 1) })
        .collect()
}

/// `use` declarations as ranges of tokens.
fn imports(source: &Source<'_>) -> Vec<std::ops::Range<usize>> {
    let starts = (0..source.tokens.len()).filter(|at| source.word(*at) == Some("use"));
    starts
        .map(|start| {
            let end = (start..source.tokens.len()).find(|at| source.is_punct(*at, ';'));
            start..end.unwrap_or(source.tokens.len())
        })
        .collect()
}

/// Files that only tests compile: those in a `tests` folder of a crate, and modules declared under
/// `#[cfg(test)]` with all below them.
pub(crate) fn test_files(sources: &[Source<'_>]) -> HashSet<String> {
    let mut modules = Vec::new();
    for source in sources {
        for item in source.test_items() {
            let name = (item.clone()).find(|at| source.word(*at) == Some("mod")).map(|at| at + 1);
            if let Some(at) = name
                && at + 1 == item.end
                && let Some(name) = source.word(at)
            {
                modules.push(format!("{}/{name}", module_folder(source.path)));
            }
        }
    }
    let is_test = |path: &str| {
        let in_tests_folder = path.split('/').nth(2) == Some("tests") || path.starts_with("integration/");
        in_tests_folder
            || modules.iter().any(|module| {
                path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    };
    sources.iter().map(|source| source.path).filter(|path| is_test(path)).map(str::to_owned).collect()
}

/// Where the modules that a file declares lie.
fn module_folder(path: &str) -> &str {
    let without = path.trim_end_matches(".rs");
    match without.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => without,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let sources = [Source::read(path, text).unwrap()];
        let found = find(&sources[0], &test_files(&sources));
        assert_eq!(found.iter().map(|call| call.name).collect::<Vec<_>>(), expected, "{text}");
    }

    const LIB: &str = "crates/a/src/lib.rs";

    #[test]
    fn fork_has_one_place() {
        check(LIB, "fn a() { unsafe { libc::fork() }; }", &["fork"]);
        check(LIB, "use nix::unistd::{ForkResult, fork};", &["fork"]);
        check(LIB, "use nix::unistd::fork;", &["fork"]);
        check(LIB, "fn fork() { self.fork(); machine::fork() }", &[]);
        check(LIB, "#[cfg(test)] mod tests { fn a() { libc::fork(); } }", &[]);
        check(LIB, "#[cfg(not(test))] mod real { fn a() { libc::fork(); } }", &["fork"]);
        check("crates/postmaster/src/launch.rs", "fn a() { libc::fork(); }", &[]);
        check("crates/a/tests/process.rs", "fn a() { libc::fork(); }", &[]);
    }

    #[test]
    fn a_bare_rename_needs_a_reason() {
        check(LIB, "fn a() { std::fs::rename(a, b) }", &["fs::rename"]);
        check(LIB, "fn a() { fs::rename(a, b) }", &["fs::rename"]);
        check(LIB, "use std::{fs::{self, rename}, io};", &["fs::rename"]);
        check(LIB, "#[allow(clippy::disallowed_methods)] fn a() { fs::rename(a, b) }", &["fs::rename"]);
        let reason = "#[allow(clippy::disallowed_methods, reason = \"it can\")]";
        check(LIB, &format!("{reason} fn a() {{ fs::rename(a, b) }}"), &[]);
        check(
            LIB,
            &format!("fn a() {{ {reason} let x = fs::rename(a, b); fs::rename(b, a) }}"),
            &["fs::rename"],
        );
        check("crates/common/src/file.rs", "fn a() { std::fs::rename(a, b) }", &[]);
    }

    #[test]
    fn nobody_sleeps() {
        check(LIB, "fn a() { std::thread::sleep(SECOND); }", &["thread::sleep"]);
        check("crates/a/tests/b.rs", "use std::thread::{self, sleep}; ", &["thread::sleep"]);
        check(
            "integration/tests/b.rs",
            "fn a() { thread::sleep(x); thread::sleep(x) }",
            &["thread::sleep"; 2],
        );
        check(LIB, "// thread::sleep\nfn a() { \"thread::sleep()\"; sleep() }", &[]);
    }

    #[test]
    fn nothing_is_left_to_do() {
        check(LIB, "fn a() { todo!() }", &["todo"]);
        check(LIB, "fn a() { unimplemented!(\"later\"); dbg![x] }", &["unimplemented", "dbg"]);
        check(LIB, "fn a() { let todo = dbg; todo != dbg; \"todo!()\" }", &[]);
    }

    #[test]
    fn modules_for_tests_are_found_with_all_below() {
        let texts = [
            ("crates/a/src/lib.rs", "#[cfg(test)] mod testing;\nmod real;"),
            ("crates/a/src/real.rs", "#[cfg(test)] mod tests;\n#[cfg(test)] use x::y;"),
            ("crates/a/src/real/tests.rs", ""),
            ("crates/a/src/real/tests/deep.rs", ""),
            ("crates/a/src/testing.rs", ""),
            ("crates/a/src/testing_not.rs", ""),
            ("crates/a/tests/b.rs", ""),
        ];
        let sources: Vec<_> = texts.iter().map(|(path, text)| Source::read(path, text).unwrap()).collect();
        let mut files: Vec<_> = test_files(&sources).into_iter().collect();
        files.sort();
        let expected = ["src/real/tests.rs", "src/real/tests/deep.rs", "src/testing.rs", "tests/b.rs"];
        assert_eq!(files, expected.map(|path| format!("crates/a/{path}")));
    }
}
