//! `unsafe` only in crates (or single files) that open with permission for it, and with a reason at each place.

use super::Finding;
use super::lexer::Kind;
use super::source::Source;

/// How far above its place a reason may begin, unless comments fill the space between.
const REASON_LINES: usize = 5;

pub(crate) fn check(sources: &[Source<'_>]) -> Vec<Finding> {
    let permitted: Vec<&str> = sources
        .iter()
        .filter(|source| source.opens_with(&["allow", "unsafe_code"]))
        .map(|source| source.path)
        .collect();
    let mut findings = Vec::new();
    for source in sources {
        let places = (0..source.tokens.len()).filter(|at| source.word(*at) == Some("unsafe"));
        let is_permitted = roots(source.path).iter().any(|root| permitted.contains(&root.as_str()));
        for at in places {
            let line = source.tokens[at].line;
            if !is_permitted {
                let message =
                    "`unsafe`, but neither this file nor one above it opens with #![allow(unsafe_code)]";
                findings.push(Finding::new(source.path, line, message));
            }
            let needs_reason = matches!(source.kind(at + 1), Some(Kind::Open('{', _)))
                || source.word(at + 1) == Some("impl");
            if needs_reason && !has_reason(source, line) {
                findings.push(Finding::new(
                    source.path,
                    line,
                    "`unsafe` without a `SAFETY:` comment above it",
                ));
            }
        }
    }
    findings
}

/// The file itself and those that declare it, directly or not: their inner attributes cover it.
fn roots(path: &str) -> Vec<String> {
    let mut roots = vec![path.to_owned()];
    let mut folder = path;
    while let Some((above, _)) = folder.rsplit_once('/') {
        folder = above;
        roots.push(format!("{folder}.rs"));
        roots.extend(["lib.rs", "main.rs", "mod.rs"].map(|name| format!("{folder}/{name}")));
    }
    roots
}

/// Is there a `SAFETY:` comment on this line or shortly above it?
fn has_reason(source: &Source<'_>, line: usize) -> bool {
    let above = source.lines[..line - 1].iter().rev();
    let is_comment = |text: &str| text.trim_start().starts_with("//");
    let says = |text: &str| text.split_once("//").is_some_and(|(_, comment)| comment.contains("SAFETY:"));
    let block = above.clone().take_while(|text| is_comment(text));
    source.lines.get(line - 1).is_some_and(|text| says(text))
        || above.take(REASON_LINES).chain(block).any(|text| says(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_files(files: &[(&str, &str)], expected: &[(&str, usize)]) {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::read(path, text).unwrap()).collect();
        let findings = check(&sources);
        let found: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(found, expected);
    }

    const PERMISSION: &str = "#![allow(unsafe_code)]\n";

    #[test]
    fn permission_comes_from_above() {
        let block = "// SAFETY: a test.\nfn a() { unsafe { b() } }";
        check_files(
            &[("crates/a/src/lib.rs", ""), ("crates/a/src/b.rs", block)],
            &[("crates/a/src/b.rs", 2)],
        );
        check_files(&[("crates/a/src/lib.rs", PERMISSION), ("crates/a/src/b/c.rs", block)], &[]);
        check_files(&[("crates/a/src/b.rs", PERMISSION), ("crates/a/src/b/c.rs", block)], &[]);
        check_files(&[("crates/a/tests/t/main.rs", PERMISSION), ("crates/a/tests/t/c.rs", block)], &[]);
        check_files(
            &[("crates/b/src/lib.rs", PERMISSION), ("crates/a/src/b.rs", block)],
            &[("crates/a/src/b.rs", 2)],
        );
        check_files(
            &[("crates/a/src/lib.rs", "#![deny(unsafe_code)]\n// unsafe\nfn a() { \"unsafe\" }")],
            &[],
        );
    }

    #[track_caller]
    fn check_reason(text: &str, expected: &[usize]) {
        let text = format!("{PERMISSION}{text}");
        let expected: Vec<_> = expected.iter().map(|line| ("crates/a/src/lib.rs", *line)).collect();
        check_files(&[("crates/a/src/lib.rs", &text)], &expected);
    }

    #[test]
    fn each_place_says_why() {
        check_reason("fn a() { unsafe { b() } }", &[2]);
        check_reason("// SAFETY: so.\nfn a() { unsafe { b() } }", &[]);
        check_reason("unsafe impl A for B {}", &[2]);
        check_reason("unsafe impl A for B {} // SAFETY: so.", &[]);
        check_reason("let x = \"SAFETY:\"; unsafe { b() }", &[2]);
        check_reason("// SAFETY: so.\n\n\n\n\nfn a() { unsafe { b() } }", &[]);
        check_reason("// SAFETY: so.\n\n\n\n\n\nfn a() { unsafe { b() } }", &[8]);
        let long = format!("// SAFETY: so.\n{}fn a() {{ unsafe {{ b() }} }}", "// more\n".repeat(9));
        check_reason(&long, &[]);
        check_reason("unsafe fn declared() {}", &[]);
    }
}
