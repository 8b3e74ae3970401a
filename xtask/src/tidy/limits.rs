//! What is measured against a limit: lines of files and functions, and banned calls, whose limit is none.
//!
//! `xtask/tidy_exceptions.txt` may raise a limit for one place. It can only shrink: an exception that is not needed,
//! or higher than needed, is a finding itself.

use std::collections::BTreeMap;

use super::source::Source;
use super::tree::Tree;
use super::{Finding, calls};

/// The list of exceptions. A line: path, what, number; from `#` on a reason.
const EXCEPTIONS: &str = "xtask/tidy_exceptions.txt";
const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;

/// Something measured: its key in the list of exceptions.
type Key = (String, String);

/// A measure, where its first excess is, and how to say it.
#[derive(Debug)]
struct Measure {
    number: usize,
    limit: usize,
    line: usize,
    says: String,
}

/// An exception.
#[derive(Debug)]
struct Exception {
    line: usize,
    number: usize,
}

pub(crate) fn check(tree: &Tree, sources: &[Source<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let exceptions = exceptions(tree.get(EXCEPTIONS).unwrap_or_default(), &mut findings);
    let excesses = excesses(sources);
    for ((path, what), measure) in &excesses {
        let exception = exceptions.get(&(path.clone(), what.clone()));
        if exception.is_none_or(|exception| measure.number > exception.number) {
            let known = if exception.is_some() { "more than" } else { "not" };
            let message = format!("{}, {known} in {EXCEPTIONS}", measure.says);
            findings.push(Finding::new(path, measure.line, message));
        }
    }
    for ((path, what), exception) in &exceptions {
        let message = match excesses.get(&(path.clone(), what.clone())) {
            None => format!("{path} {what} is within its limit: delete this line"),
            Some(measure) if measure.number < exception.number => {
                format!("{path} {what} is down to {}: lower the number", measure.number)
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(EXCEPTIONS, exception.line, message));
    }
    findings
}

/// All that is above its limit.
fn excesses(sources: &[Source<'_>]) -> BTreeMap<Key, Measure> {
    let test_files = calls::test_files(sources);
    let mut measures: BTreeMap<Key, Measure> = BTreeMap::new();
    for source in sources {
        let key = |what: &str| (source.path.to_owned(), what.to_owned());
        let number = source.lines.len();
        let says = format!("has {number} lines (limit {FILE_LINES})");
        measures.insert(key("file"), Measure { number, limit: FILE_LINES, line: 1, says });
        for function in source.functions() {
            let (name, number, line) = (&function.name, function.lines, function.line);
            let says = format!("fn {name} is {number} lines (limit {FUNCTION_LINES})");
            let measure = Measure { number, limit: FUNCTION_LINES, line, says };
            let known = measures.get(&key(&format!("fn {name}")));
            // Of functions with the same name the longest counts.
            if known.is_none_or(|known| known.number < number) {
                measures.insert(key(&format!("fn {name}")), measure);
            }
        }
        for call in calls::find(source, &test_files) {
            let says = format!("calls {}: {}", call.name, call.instead);
            let first = Measure { number: 0, limit: 0, line: call.line, says };
            measures.entry(key(&format!("call {}", call.name))).or_insert(first).number += 1;
        }
    }
    measures.retain(|_, measure| measure.number > measure.limit);
    measures
}

/// Reads the list of exceptions.
fn exceptions(text: &str, findings: &mut Vec<Finding>) -> BTreeMap<Key, Exception> {
    let mut exceptions = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let parsed = match words[..] {
            [] => continue,
            [path, "file", limit] => Some((path, "file".to_owned(), limit)),
            [path, kind @ ("fn" | "call"), name, limit] => Some((path, format!("{kind} {name}"), limit)),
            _ => None,
        };
        let parsed = parsed.and_then(|(path, what, limit)| Some((path, what, limit.parse().ok()?)));
        let Some((path, what, limit)) = parsed else {
            let message = "expected: path, then file, fn NAME or call NAME, then a number";
            findings.push(Finding::new(EXCEPTIONS, number, message));
            continue;
        };
        let exception = Exception { line: number, number: limit };
        if exceptions.insert((path.to_owned(), what), exception).is_some() {
            findings.push(Finding::new(EXCEPTIONS, number, "is there twice"));
        }
    }
    exceptions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(functions: &[(&str, usize)]) -> String {
        let body = |(name, lines): &(&str, usize)| format!("fn {name}() {{{}}}\n", "\n".repeat(lines - 1));
        functions.iter().map(body).collect()
    }

    #[track_caller]
    fn check_file(text: &str, exceptions: &str, expected: &[&str]) {
        let tree = Tree::of(&[("a.rs", text), (EXCEPTIONS, exceptions)]);
        let sources = [Source::read("a.rs", text).unwrap()];
        let mut found: Vec<String> = check(&tree, &sources).iter().map(Finding::to_string).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn functions_have_a_limit() {
        check_file(&file(&[("a", 70), ("b", 1)]), "", &[]);
        let text = "a.rs:71  fn b is 71 lines (limit 70), not in xtask/tidy_exceptions.txt";
        check_file(&file(&[("a", 70), ("b", 71)]), "", &[text]);
    }

    #[test]
    fn of_functions_with_one_name_the_longest_counts() {
        let text = "a.rs:1  fn a is 90 lines (limit 70), more than in xtask/tidy_exceptions.txt";
        check_file(&file(&[("a", 90), ("a", 80)]), "a.rs fn a 80", &[text]);
        check_file(&file(&[("a", 80), ("a", 90)]), "a.rs fn a 90", &[]);
    }

    #[test]
    fn files_have_a_limit() {
        check_file(&"\n".repeat(800), "", &[]);
        let text = "a.rs:1  has 801 lines (limit 800), not in xtask/tidy_exceptions.txt";
        check_file(&"\n".repeat(801), "", &[text]);
        check_file(&"\n".repeat(801), "a.rs file 801 # generated", &[]);
    }

    #[test]
    fn calls_are_counted() {
        let twice = "fn a() { thread::sleep(x); thread::sleep(x) }";
        check_file(twice, "a.rs call thread::sleep 2", &[]);
        let text = "a.rs:1  calls thread::sleep: wait for a condition, not for a duration, \
                    more than in xtask/tidy_exceptions.txt";
        check_file(twice, "a.rs call thread::sleep 1", &[text]);
    }

    #[test]
    fn exceptions_only_shrink() {
        let text = "xtask/tidy_exceptions.txt:2  a.rs fn a is within its limit: delete this line";
        check_file(&file(&[("a", 70)]), "# reasons\na.rs fn a 80", &[text]);
        let text = "xtask/tidy_exceptions.txt:1  a.rs fn a is down to 75: lower the number";
        check_file(&file(&[("a", 75)]), "a.rs fn a 80", &[text]);
        let text = "xtask/tidy_exceptions.txt:1  gone.rs file is within its limit: delete this line";
        check_file("", "gone.rs file 900", &[text]);
    }

    #[test]
    fn exceptions_are_well_formed() {
        let shape = "expected: path, then file, fn NAME or call NAME, then a number";
        for line in ["a.rs", "a.rs fn 80", "a.rs fn a many", "a.rs method a 80", "a.rs file 900 901"] {
            check_file("", line, &[&format!("xtask/tidy_exceptions.txt:1  {shape}")]);
        }
        let twice = "a.rs fn a 75\na.rs fn a 75";
        check_file(&file(&[("a", 75)]), twice, &["xtask/tidy_exceptions.txt:2  is there twice"]);
    }
}
