//! Each crate's README maps PostgreSQL's C to our Rust; what its column "here" names exists.
//!
//! In that column, files and items stand in backticks. An item after a file is one of that file; an item alone
//! is one of the crate, or of the crate that its path begins with.

use super::documents::{self, Items};
use super::source::Source;
use super::tree::Tree;
use super::{Finding, markdown};

pub(crate) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let items = Items::of(sources);
    let mut findings = Vec::new();
    for name in tree.crates() {
        let path = format!("crates/{name}/README.md");
        let Some(text) = tree.get(&path) else {
            findings.push(Finding::new(&path, 1, "is missing"));
            continue;
        };
        let crate_ = Crate { tree, sources, items: &items, name, folder: format!("crates/{name}") };
        let rows = rows(text);
        if rows.is_empty() {
            findings.push(Finding::new(
                &path,
                1,
                "has no table that begins with `| PG 15 FILE.c | here | note |`",
            ));
        }
        for row in rows {
            let problems = match &row.here {
                None => vec!["this row has no cell \"here\"".to_owned()],
                Some(here) if here.is_empty() => vec!["this row's cell \"here\" is empty".to_owned()],
                Some(here) => crate_.problems(here),
            };
            findings.extend(problems.into_iter().map(|message| Finding::new(&path, row.line, message)));
        }
    }
    findings
}

/// A row of a table from C to Rust.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    here: Option<String>,
}

/// The rows below all headers that begin with `| PG `.
fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    // Where "here" is in the table that we are in.
    let mut table: Option<Option<usize>> = None;
    for (line, text) in markdown::prose(text) {
        let Some(cells) = markdown::cells(text) else {
            table = None;
            continue;
        };
        if cells.first().is_some_and(|cell| cell == "PG" || cell.starts_with("PG ")) {
            table = Some(cells.iter().position(|cell| cell == "here"));
        } else if let Some(column) = table
            && !cells.iter().all(|cell| cell.chars().all(|c| c == '-' || c == ':') && !cell.is_empty())
        {
            rows.push(Row { line, here: column.and_then(|column| cells.get(column).cloned()) });
        }
    }
    rows
}

/// A crate and what is known of it.
struct Crate<'a> {
    tree: &'a Tree,
    sources: &'a [Source<'a>],
    items: &'a Items<'a>,
    name: &'a str,
    folder: String,
}

impl Crate<'_> {
    /// What is wrong with a cell.
    fn problems(&self, here: &str) -> Vec<String> {
        let mut problems = Vec::new();
        // The file that items are looked for in.
        let mut file: Option<&str> = None;
        for (text, is_code) in here.split('`').zip([false, true].into_iter().cycle()) {
            if !is_code {
                // Files may stand there without backticks.
                for word in text.split([' ', ',']).filter(|word| word.ends_with(".rs")) {
                    problems.extend(self.problem_of_file(word));
                    file = Some(word);
                }
            } else if text.contains('/') || text.ends_with(".rs") {
                problems.extend(self.problem_of_file(text));
                file = Some(text);
            } else {
                problems.extend(self.problem_of_item(file, text));
            }
        }
        problems
    }

    fn problem_of_file(&self, file: &str) -> Option<String> {
        let exists = self.find(file).is_some() || self.tree.exists(file);
        (!exists).then(|| format!("names `{file}`, which {} does not have", self.folder))
    }

    fn find(&self, file: &str) -> Option<String> {
        documents::find_in_crate(self.tree, &self.folder, file)
    }

    fn problem_of_item(&self, file: Option<&str>, item: &str) -> Option<String> {
        let Some(words) = documents::path_words(item) else {
            return Some(format!("names `{item}`, which is neither a file nor an item"));
        };
        let is_elsewhere = words[0] != self.name && self.items.is_crate(words[0]);
        let (place, missing) = match (is_elsewhere, file) {
            (true, _) => (words[0], self.items.missing(words[0], &words[1..])),
            (false, None) => {
                // The crate's own name may come first.
                let inside = if words[0] == self.name { &words[1..] } else { &words[..] };
                (self.name, self.items.missing(self.name, inside))
            }
            (false, Some(file)) => (file, self.missing_in_file(file, &words)),
        };
        missing.map(|word| format!("names `{item}`, but `{word}` is not in the code of {place}"))
    }

    /// The first word that a file of the crate (or the files of a folder) does not hold. The file's own name and
    /// the crate's count as held.
    fn missing_in_file<'w>(&self, file: &str, words: &[&'w str]) -> Option<&'w str> {
        let stem = file.trim_end_matches('/').trim_end_matches(".rs").rsplit('/').next().unwrap_or(file);
        let place = self.find(file).unwrap_or_else(|| file.to_owned());
        let inside = format!("{}/", place.trim_end_matches('/'));
        let is_there = |path: &str| path == place || path.starts_with(&inside);
        let sources = self.sources.iter().filter(|source| is_there(source.path));
        let known: std::collections::HashSet<&str> = sources.flat_map(Source::words).collect();
        words.iter().find(|word| **word != stem && **word != self.name && !known.contains(*word)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 5] = [
        ("crates/a/Cargo.toml", ""),
        ("crates/a/src/lib.rs", "pub mod ready; pub fn archiver_main() {}"),
        ("crates/a/src/ready.rs", "pub struct Queue; impl Queue { pub fn next(&self) {} } // gone"),
        ("crates/b/src/lib.rs", "pub mod signals {} macro_rules! report { () => {} }"),
        ("crates/b/README.md", "| PG 15 b.c | here | note |\n|---|---|---|\n| x | `report!` | |\n"),
    ];

    #[track_caller]
    fn check_readme(readme: &str, expected: &[&str]) {
        let tree = Tree::of(&[&FILES[..], &[("crates/a/README.md", readme)]].concat());
        let sources: Vec<_> =
            tree.rust_files().map(|(path, text)| Source::read(path, text).unwrap()).collect();
        let found: Vec<String> =
            check(&tree, &sources).iter().map(|f| f.to_string().replace("crates/a/README.md:", "")).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_here(here: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|message| format!("5  {message}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check_readme(
            &format!("# a\n\n| PG 15 a.c | here | note |\n|---|---|---|\n| `x` | {here} | `y` |\n"),
            &expected,
        );
    }

    #[test]
    fn what_is_there_may_be_named() {
        check_here("`ready.rs` `Queue`, `Queue::next`", &[]);
        check_here("`src/ready.rs`", &[]);
        check_here("`lib.rs` `archiver_main`", &[]);
        check_here("ready.rs `ready::Queue`", &[]);
        check_here("`Queue::next()`, `a::ready`", &[]);
        check_here("`b::signals`, `b`", &[]);
        check_here("none", &[]);
    }

    #[test]
    fn what_is_not_there_may_not() {
        check_here("`steady.rs`", &["names `steady.rs`, which crates/a does not have"]);
        check_here(
            "steady.rs `Queue`",
            &[
                "names `steady.rs`, which crates/a does not have",
                "names `Queue`, but `Queue` is not in the code of steady.rs",
            ],
        );
        check_here("`gone`", &["names `gone`, but `gone` is not in the code of a"]);
        check_here("`lib.rs` `Queue`", &["names `Queue`, but `Queue` is not in the code of lib.rs"]);
        check_here("`b::Queue`", &["names `b::Queue`, but `Queue` is not in the code of b"]);
        check_here("`a b`", &["names `a b`, which is neither a file nor an item"]);
        check_here("", &["this row's cell \"here\" is empty"]);
    }

    #[test]
    fn each_crate_has_a_table() {
        let message = "1  has no table that begins with `| PG 15 FILE.c | here | note |`";
        check_readme("# a\n", &[message]);
        check_readme("| C | here |\n|---|---|\n| x | `gone` |\n", &[message]);
        check_readme("| PG 15 a.c | note |\n|---|---|\n| x | y |\n", &["3  this row has no cell \"here\""]);
        let tree = Tree::of(&FILES);
        let found: Vec<String> = check(&tree, &[]).iter().map(Finding::to_string).collect();
        assert_eq!(found, ["crates/a/README.md:1  is missing"]);
    }

    #[test]
    fn tables_end_with_their_last_row() {
        let text = "| PG 15 a.c | here |\n|:--|--:|\n| x | 1 |\n\n| word | here |\n| y | 2 |\n";
        assert_eq!(rows(text), [Row { line: 3, here: Some("1".into()) }]);
    }
}
