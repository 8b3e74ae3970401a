//! Rules that need nothing but the text: the page at a file's top, and no path of one person's machine.

use super::Finding;
use super::tree::Tree;

/// Folders that exist on somebody's machine and mean nothing on another. In two halves, so that this file does
/// not break its own rule.
const MACHINE_PATHS: [(&str, &str); 2] = [("/wo", "rk/"), ("/ro", "ot/")];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust_files() {
        if !text.lines().next().is_some_and(|line| line.starts_with("//!")) {
            findings.push(Finding::new(path, 1, "the first line must be the `//!` page"));
        }
    }
    for (path, text) in tree.files() {
        for (line, number) in text.lines().zip(1..) {
            for (first, second) in MACHINE_PATHS {
                let folder = format!("{first}{second}");
                if holds_path(line, &folder) {
                    findings.push(Finding::new(
                        path,
                        number,
                        format!("names {folder}, which is one machine's"),
                    ));
                }
            }
        }
    }
    findings
}

/// Does the line hold `folder` as the beginning of a path, not inside a longer one?
fn holds_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(path: &str, text: &str, expected: &[usize]) {
        let lines: Vec<usize> = check(&Tree::of(&[(path, text)])).iter().map(|f| f.line).collect();
        assert_eq!(lines, expected, "{path}: {text}");
    }

    #[test]
    fn a_file_opens_with_its_page() {
        check_one("crates/a/src/lib.rs", "//! Page.\n", &[]);
        check_one("crates/a/src/lib.rs", "#![allow(x)]\n//! Page.\n", &[1]);
        check_one("integration/tests/a.rs", "\n//! Page.\n", &[1]);
        check_one("xtask/src/a.rs", "", &[1]);
        check_one("other/a.rs", "", &[]);
    }

    #[test]
    fn no_file_names_a_machines_folder() {
        let (first, second) = MACHINE_PATHS[0];
        check_one("a.txt", &format!("x\n see {first}{second}x\n"), &[2]);
        check_one("a.txt", &format!("https://a.b{first}{second}x"), &[]);
        let (first, second) = MACHINE_PATHS[1];
        check_one("a.txt", &format!("\"{first}{second}.cargo\""), &[1]);
        check_one("a.txt", &format!("{first}{}", second.trim_end_matches('/')), &[]);
    }
}
