//! Markdown, as far as the rules look into it: prose lines, code spans, links, headings, table rows.

/// The lines outside fenced code, with their numbers from 1.
pub(crate) fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let is_fence = line.trim_start().starts_with("```");
        if !fenced && !is_fence {
            lines.push((number, line));
        }
        fenced ^= is_fence;
    }
    lines
}

/// What stands in backticks on a line.
pub(crate) fn code_spans(line: &str) -> Vec<&str> {
    let pieces: Vec<&str> = line.split('`').collect();
    // The last piece is outside; so is the one before it if a backtick has no partner.
    let closed = pieces.len() - 1 - (pieces.len() - 1) % 2;
    pieces[..closed].iter().skip(1).step_by(2).copied().collect()
}

/// The line with blanks in place of its code spans.
pub(crate) fn without_code(line: &str) -> String {
    let mut text = line.to_owned();
    for span in code_spans(line) {
        text = text.replacen(&format!("`{span}`"), " ", 1);
    }
    text
}

/// Targets of links and images.
pub(crate) fn links(line: &str) -> Vec<String> {
    let text = without_code(line);
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    // `[name]: target`
    let defined = text.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    let targets = inline.chain(defined).filter_map(|target| target.split_whitespace().next());
    targets.map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

/// The anchors that a document's headings make, in GitHub's way.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The cells of a table row; none if it is not one. A bar in a code span or after a backslash separates nothing.
pub(crate) fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?;
    let mut cells = vec![String::new()];
    let (mut in_code, mut escaped) = (false, false);
    for c in inner.chars() {
        in_code ^= c == '`';
        if c == '|' && !in_code && !escaped {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
        escaped = c == '\\';
    }
    // What follows the last bar.
    cells.pop();
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_code_is_no_prose() {
        assert_eq!(prose("a\n```sh\nb\n```\nc"), [(1, "a"), (5, "c")]);
    }

    #[test]
    fn code_spans_are_closed() {
        assert_eq!(code_spans("a `b` c `d e` f"), ["b", "d e"]);
        assert_eq!(code_spans("a `b` c ` d"), ["b"]);
        assert_eq!(code_spans("`a`"), ["a"]);
        assert!(code_spans("plain").is_empty());
    }

    #[test]
    fn links_are_found() {
        assert_eq!(links("see [a](b.md) and ![c](<d.png> \"title\"), not `[e](f)`"), ["b.md", "d.png"]);
        assert_eq!(links("[a]: b.md"), ["b.md"]);
        assert!(links("x[1](").is_empty());
    }

    #[test]
    fn headings_make_anchors() {
        assert_eq!(anchors("# One, two\n```\n# no\n```\n## `three` & 4"), ["one-two", "three--4"]);
    }

    #[test]
    fn rows_have_cells() {
        assert_eq!(cells("| a | `b|c` | d\\|e | |").unwrap(), ["a", "`b|c`", "d\\|e", ""]);
        assert_eq!(cells("a | b"), None);
    }
}
