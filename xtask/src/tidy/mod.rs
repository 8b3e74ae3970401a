//! `cargo xtask tidy`: the house rules, checked.
//!
//! | rule | where |
//! |---|---|
//! | a file opens with its `//!` page; no path of one person's machine | `text.rs` |
//! | files and functions within their limits, no banned call; exceptions only shrink | `limits.rs`, `calls.rs` |
//! | `unsafe` only where a crate opens with permission, and never without a reason | `unsafe_code.rs` |
//! | links, paths and items that a document names exist | `documents.rs` |
//! | each crate's README maps C to Rust, and what it names exists | `readme_table.rs` |
//! | the table of signals in ARCHITECTURE.md is the one in the code | `signals.rs` |
//!
//! Every rule is a function from a [`Tree`] (the files as text) to findings, so its tests need no disk.

mod calls; // which calls are banned, and where they are not
mod documents; // what Markdown files promise
mod lexer; // Rust as tokens
mod limits; // sizes, and the exceptions from them
mod markdown; // lines, code spans, links, tables
mod readme_table; // from C to Rust
mod signals; // the generated table
mod source; // what rules ask of a Rust file
mod text; // rules that need no tokens
mod tree; // the files
mod unsafe_code; // permission and reason

use std::fmt;

use source::Source;
use tree::Tree;

use crate::{Result, cluster_dir};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}  {}", self.path, self.line, self.message)
    }
}

/// Prints what is untidy; fails if anything is. With `fix`, what can be generated is written first.
pub(crate) fn run(fix: bool) -> Result<()> {
    let root = cluster_dir::workspace();
    let mut tree = Tree::read(&root)?;
    if fix && let Some((path, text)) = signals::fixed(&tree) {
        std::fs::write(root.join(&path), &text).map_err(|e| format!("{path}: {e}"))?;
        println!("{path}: the table of signals is written");
        tree.insert(path, text);
    }
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 finding".into()),
        n => Err(format!("{n} findings")),
    }
}

/// All rules on a tree.
fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = text::check(tree);
    let mut sources = Vec::new();
    for (path, text) in tree.rust_files() {
        match Source::read(path, text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(limits::check(tree, &sources));
    findings.extend(unsafe_code::check(&sources));
    findings.extend(documents::check(tree, &sources));
    findings.extend(readme_table::check(tree, &sources));
    findings.extend(signals::check(tree));
    findings.sort();
    findings.dedup();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule that all others serve.
    #[test]
    fn tidy() {
        let tree = Tree::read(&cluster_dir::workspace()).unwrap();
        let findings = check(&tree);
        let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "{} findings\n{}", list.len(), list.join("\n"));
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        let tree = Tree::of(&[("crates/a/src/lib.rs", "//! A page.\nfn broken( {\n")]);
        let findings = check(&tree);
        assert!(findings.iter().any(|f| f.message.contains("is not Rust")), "{findings:?}");
    }

    #[test]
    fn findings_look_like_a_compilers() {
        assert_eq!(Finding::new("a/b.rs", 3, "is bad").to_string(), "a/b.rs:3  is bad");
    }
}
