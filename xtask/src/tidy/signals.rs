//! The table of signals in ARCHITECTURE.md is the one that the code installs.

use common::BackendType;
use miscinit::signals::{COLUMNS, Meaning, Role, TABLE};

use super::Finding;
use super::tree::Tree;

const DOCUMENT: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- signals:begin -->\n";
const END: &str = "<!-- signals:end -->";

pub(crate) fn check(tree: &Tree) -> Option<Finding> {
    let text = tree.get(DOCUMENT)?;
    let Some((before, table, _)) = parts(text) else {
        return Some(Finding::new(DOCUMENT, 1, format!("has no lines {} and {END}", BEGIN.trim_end())));
    };
    let line = before.lines().count();
    let message = "the table of signals is not miscinit's: `cargo xtask tidy --fix` writes it";
    (table != self::table()).then(|| Finding::new(DOCUMENT, line, message))
}

/// The document with the right table, if it has another.
pub(crate) fn fixed(tree: &Tree) -> Option<(String, String)> {
    let (before, table, after) = parts(tree.get(DOCUMENT)?)?;
    let right = self::table();
    (table != right).then(|| (DOCUMENT.to_owned(), format!("{before}{right}{after}")))
}

/// A document before, between and after the markers, which belong to the outer parts.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some((&text[..begin], &text[begin..end], &text[end..]))
}

/// The table as Markdown.
fn table() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|signal| signal.as_str()).collect();
    let mut lines = vec![format!("| to | {} |", names.join(" | "))];
    lines.push(format!("|{}", "---|".repeat(COLUMNS.len() + 1)));
    for (role, meanings) in TABLE {
        let words: Vec<String> = meanings.iter().map(|meaning| words_for(*meaning)).collect();
        lines.push(format!("| {} | {} |", name_of(role), words.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::BackendStartup => "client backend, not yet let in",
        Role::Kind(BackendType::Backend) => "client backend",
        Role::Kind(kind) => kind.description(),
    }
}

fn words_for(meaning: Meaning) -> String {
    let words = match meaning {
        Meaning::Ignore => "-",
        Meaning::Default => "default",
        Meaning::Postmaster(words) => words,
        Meaning::Reload => "reload",
        Meaning::Shutdown(code) => return format!("leave, exit {code}"),
        Meaning::CrashExit => "exit 2 at once",
        Meaning::SilentExit => "exit 1 at once",
        Meaning::QuickDie => "tell the client, exit 2",
        Meaning::ProcSignal => "look at its signal slot",
        Meaning::CancelQuery => "cancel the statement",
        Meaning::Die => "end the session",
        Meaning::Wake => "look for a request",
        Meaning::WakenArchiver => "look for files",
        Meaning::BeginNothing => "begin nothing, exit 0 after 60 s",
        Meaning::LastCycle => "last round, exit 0",
        Meaning::RotateLog => "new log file",
        Meaning::Promote => "end recovery",
        Meaning::WorkerWakeup => "a worker ended",
        Meaning::StatementTimeout => "time is up",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(table: &str) -> String {
        format!("# Map\n\n{BEGIN}{table}{END}\n\nMore.\n")
    }

    #[test]
    fn the_right_table_is_accepted() {
        let text = document(&table());
        let tree = Tree::of(&[(DOCUMENT, &text)]);
        assert_eq!(check(&tree), None);
        assert_eq!(fixed(&tree), None);
    }

    #[test]
    fn another_is_a_finding_and_can_be_fixed() {
        let wrong = document(&table().replacen("reload", "ignore", 1));
        for text in [document(""), wrong] {
            let mut tree = Tree::of(&[(DOCUMENT, &text)]);
            assert_eq!(check(&tree).map(|finding| finding.line), Some(3));
            let (path, text) = fixed(&tree).unwrap();
            assert_eq!(text, document(&table()));
            tree.insert(path, text);
            assert_eq!(check(&tree), None);
        }
    }

    #[test]
    fn the_markers_must_be_there() {
        for text in ["# Map\n", "<!-- signals:begin -->\n", "<!-- signals:end -->\n"] {
            assert_eq!(check(&Tree::of(&[(DOCUMENT, text)])).map(|finding| finding.line), Some(1));
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_role() {
        let text = table();
        assert_eq!(text.lines().count(), TABLE.len() + 2);
        let columns: Vec<usize> = text.lines().map(|line| line.matches('|').count()).collect();
        assert!(columns.iter().all(|n| *n == COLUMNS.len() + 2), "{columns:?}");
    }
}
