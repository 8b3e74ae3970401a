//! What a document names exists: the targets of its links, the paths in backticks, the items of our crates.

use std::collections::{HashMap, HashSet};

use super::source::Source;
use super::tree::Tree;
use super::{Finding, markdown};

/// The identifiers of each crate, by the crate's folder name.
#[derive(Debug, Default)]
pub(crate) struct Items<'a> {
    crates: HashMap<&'a str, HashSet<&'a str>>,
}

impl<'a> Items<'a> {
    pub(crate) fn of(sources: &'a [Source<'_>]) -> Items<'a> {
        let mut items = Items::default();
        for source in sources {
            let folders: Vec<&str> = source.path.split('/').collect();
            let name = match folders[..] {
                ["crates", name, ..] | [name, ..] => name,
                [] => continue,
            };
            items.crates.entry(name).or_default().extend(source.words());
        }
        items
    }

    /// Is this the name of a crate?
    pub(crate) fn is_crate(&self, name: &str) -> bool {
        self.crates.contains_key(name)
    }

    /// The first of these words that the crate's code does not hold.
    pub(crate) fn missing<'b>(&self, name: &str, words: &[&'b str]) -> Option<&'b str> {
        let known = self.crates.get(name)?;
        words.iter().find(|word| !known.contains(*word)).copied()
    }
}

pub(crate) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let items = Items::of(sources);
    let mut findings = Vec::new();
    for (path, text) in tree.documents() {
        for (number, line) in markdown::prose(text) {
            let links = markdown::links(line);
            let problems = links.iter().filter_map(|target| problem_of_link(tree, path, target));
            let spans = markdown::code_spans(line);
            let problems =
                problems.chain(spans.iter().filter_map(|span| problem_of_span(tree, &items, path, span)));
            findings.extend(problems.map(|message| Finding::new(path, number, message)));
        }
    }
    findings
}

fn problem_of_link(tree: &Tree, document: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { document.to_owned() } else { resolve(document, file) };
    if !tree.exists(&file) {
        return Some(format!("links to {target}, which does not exist"));
    }
    let anchors = markdown::anchors(tree.get(&file).unwrap_or_default());
    let has_anchor = anchor.is_empty() || !file.ends_with(".md") || anchors.iter().any(|a| a == anchor);
    (!has_anchor).then(|| format!("links to {target}, but {file} has no such heading"))
}

/// A relative path in a document, from the root.
fn resolve(document: &str, target: &str) -> String {
    let mut folders: Vec<&str> = document.split('/').collect();
    folders.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(folders.pop()),
            name => folders.push(name),
        }
    }
    folders.join("/")
}

fn problem_of_span(tree: &Tree, items: &Items<'_>, document: &str, span: &str) -> Option<String> {
    if span.contains(char::is_whitespace) {
        return None;
    }
    if ["crates/", "integration/", "xtask/"].iter().any(|folder| span.starts_with(folder)) {
        return (!tree.exists(span)).then(|| format!("names `{span}`, which does not exist"));
    }
    // In a crate's README `lib.rs` is the crate's own.
    if let Some(folder) = crate_folder(document).filter(|_| span.ends_with(".rs")) {
        return find_in_crate(tree, folder, span)
            .is_none()
            .then(|| format!("names `{span}`, which {folder} does not have"));
    }
    let words = path_words(span)?;
    let missing = match words.split_first() {
        Some((name, rest)) if items.is_crate(name) && !rest.is_empty() => items.missing(name, rest)?,
        _ => return None,
    };
    Some(format!("names `{span}`, but `{missing}` is not in that crate's code"))
}

/// The folder of the crate whose README this is.
pub(crate) fn crate_folder(document: &str) -> Option<&str> {
    let folder = document.strip_suffix("/README.md")?;
    (folder.starts_with("crates/") && folder.matches('/').count() == 1).then_some(folder)
}

/// The path of a file or folder of a crate, said from the crate or from its `src`, or by a file name that is there
/// only once.
pub(crate) fn find_in_crate(tree: &Tree, folder: &str, path: &str) -> Option<String> {
    let said = [format!("{folder}/{path}"), format!("{folder}/src/{path}")];
    if let Some(found) = said.into_iter().find(|path| tree.exists(path)) {
        return Some(found);
    }
    let (inside, end) = (format!("{folder}/src/"), format!("/{path}"));
    let mut named =
        tree.files().map(|(path, _)| path).filter(|path| path.starts_with(&inside) && path.ends_with(&end));
    named.next().filter(|_| named.next().is_none()).map(str::to_owned)
}

/// The words of `a::b::c()`, `name!` or `Type<T>`; none if it is nothing of the kind.
pub(crate) fn path_words(span: &str) -> Option<Vec<&str>> {
    let end = span.find(['<', '(', '!']).unwrap_or(span.len());
    let words: Vec<&str> = span[..end].split("::").collect();
    let is_word = |word: &&str| {
        let mut chars = word.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_')
    };
    words.iter().all(is_word).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(document: &str, line: &str, expected: &[&str]) {
        let code = "//! Page.\npub mod signals { pub const TABLE: u8 = 1; }\n";
        let files =
            [("crates/a/Cargo.toml", ""), ("crates/a/src/lib.rs", code), ("MAP.md", "# Some words\n")];
        let text = format!("\n{line}\n");
        let tree = Tree::of(&[&files[..], &[(document, text.as_str())]].concat());
        let sources = [Source::read("crates/a/src/lib.rs", code).unwrap()];
        let found: Vec<String> = check(&tree, &sources).iter().map(Finding::to_string).collect();
        let expected: Vec<String> =
            expected.iter().map(|message| format!("{document}:2  {message}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn links_lead_somewhere() {
        check_line(
            "README.md",
            "[a](MAP.md) [b](crates/a) [c](https://example.org/x) [d](MAP.md#some-words)",
            &[],
        );
        check_line("README.md", "[a](MISSING.md)", &["links to MISSING.md, which does not exist"]);
        check_line(
            "README.md",
            "[a](MAP.md#gone)",
            &["links to MAP.md#gone, but MAP.md has no such heading"],
        );
        check_line("README.md", "[a](#gone)", &["links to #gone, but README.md has no such heading"]);
        check_line("crates/a/README.md", "[a](../../MAP.md) [b](src/lib.rs)", &[]);
        check_line("crates/a/README.md", "[a](MAP.md)", &["links to MAP.md, which does not exist"]);
    }

    #[test]
    fn paths_exist() {
        check_line("README.md", "`crates/a/src/lib.rs` `crates/*` `crates/` `lib.rs` `src/other.rs`", &[]);
        check_line("README.md", "`crates/b`", &["names `crates/b`, which does not exist"]);
        check_line("crates/a/README.md", "`lib.rs` `src/lib.rs`", &[]);
        check_line("crates/a/README.md", "`core.rs`", &["names `core.rs`, which crates/a does not have"]);
    }

    #[test]
    fn a_file_may_be_said_by_its_name_if_there_is_one() {
        let files = ["src/lib.rs", "src/adt/bool.rs", "src/adt/mod.rs", "src/exec/mod.rs", "tests/it.rs"];
        let files: Vec<String> = files.iter().map(|path| format!("crates/a/{path}")).collect();
        let tree = Tree::of(&files.iter().map(|path| (path.as_str(), "")).collect::<Vec<_>>());
        let find = |path| find_in_crate(&tree, "crates/a", path);
        assert_eq!(find("bool.rs").unwrap(), "crates/a/src/adt/bool.rs");
        assert_eq!(find("adt/").unwrap(), "crates/a/src/adt/");
        assert_eq!(find("src/adt/mod.rs").unwrap(), "crates/a/src/adt/mod.rs");
        assert_eq!([find("mod.rs"), find("ool.rs"), find("it.rs")], [None, None, None]);
    }

    #[test]
    fn items_exist() {
        check_line("README.md", "`a::signals::TABLE` `std::fs::rename` `a` `a::signals()`", &[]);
        let message = "names `a::signals::ROWS`, but `ROWS` is not in that crate's code";
        check_line("README.md", "`a::signals::ROWS`", &[message]);
    }

    #[test]
    fn words_of_a_path() {
        assert_eq!(path_words("a::b()"), Some(vec!["a", "b"]));
        assert_eq!(path_words("ereport!"), Some(vec!["ereport"]));
        assert_eq!(path_words("LwLock<T>"), Some(vec!["LwLock"]));
        assert_eq!(path_words("-D"), None);
        assert_eq!(path_words(""), None);
    }
}
