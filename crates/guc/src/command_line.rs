//! Options as they stand on command lines and in start-up packets.

/// `--work-mem=1MB`, after the dashes, as `work_mem` and `1MB`; without `=`, no value. C: `ParseLongOption`.
pub fn parse_long_option(text: &str) -> (String, Option<String>) {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    (name.replace('-', "_"), value)
}

/// The words of a client's `options` (PGOPTIONS): split at white space, a backslash takes the next character
/// as it is. C: `pg_split_opts`.
pub fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_ascii_whitespace()) {
            match c {
                '\\' => word.extend(rest.next()),
                _ => word.push(c),
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_options() {
        let value = |v: &str| Some(v.to_owned());
        assert_eq!(parse_long_option("work-mem=1-2=3"), ("work_mem".to_owned(), value("1-2=3")));
        assert_eq!(parse_long_option("a.b="), ("a.b".to_owned(), value("")));
        assert_eq!(parse_long_option("fsync"), ("fsync".to_owned(), None));
    }

    #[test]
    fn options_of_a_packet() {
        assert_eq!(split_options("  -c a=b\\ c \t--x=\\\\y "), ["-c", "a=b c", "--x=\\y"]);
        assert!(split_options(" ").is_empty());
        assert_eq!(split_options("a\\"), ["a"]);
    }
}
