//! The log in words that a test can compare: pids, paths, ports and times become fixed words.

use std::sync::OnceLock;

use regex::Regex;

use crate::Cluster;

/// What changes from run to run, and the word for it.
const VARYING: [(&str, &str); 9] = [
    (r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ (?:UTC|GMT) \[\d+\] ", ""),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? (UTC|GMT)", "TIME"),
    (r"\((PID:?) \d+\)", "($1 N)"),
    (r"(starting PostgreSQL 15)\..*", "$1"),
    (r"(checkpoint complete): .*", "$1"),
    (r"\b0/[0-9A-F]+", "LSN"),
    (r"\(key \d+, ID \d+\)", "(key K, ID I)"),
    (
        r"PostgreSQL version (\d+), which is not compatible with this version 15\..*",
        "PostgreSQL version $1, which is not compatible with this version 15.",
    ),
    (r"(redo done at \S+) system usage.*", "$1"),
];

fn varying() -> &'static [(Regex, &'static str)] {
    static COMPILED: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        VARYING.iter().map(|(from, to)| (Regex::new(from).expect("a valid pattern"), *to)).collect()
    })
}

impl Cluster {
    /// Text of this cluster with `DATA`, `SOCKETS`, `PORT`, `TIME` and the like in place of what varies, and
    /// without the prefixes of log lines.
    pub fn normalised(&self, text: &str) -> String {
        self.with_words(text, |_| true)
    }

    /// The same with positions in WAL and times inside the lines as they are, for servers that recover the same.
    pub fn normalised_but_positions(&self, text: &str) -> String {
        self.with_words(text, |word| !["LSN", "TIME"].contains(&word))
    }

    fn with_words(&self, text: &str, wanted: impl Fn(&str) -> bool) -> String {
        let text = text
            .replace(&self.data_dir().display().to_string(), "DATA")
            .replace(&self.socket_dir().display().to_string(), "SOCKETS");
        let port = Regex::new(&format!(r"\b{}\b", self.port())).expect("a valid pattern");
        let text = port.replace_all(&text, "PORT").into_owned();
        let words = varying().iter().filter(|(_, to)| wanted(to));
        words.fold(text, |text, (from, to)| from.replace_all(&text, *to).into_owned())
    }

    /// What was logged since [`Cluster::mark_log`], a line an element, normalised.
    pub fn new_log_lines(&self) -> Vec<String> {
        self.normalised(&self.new_log()).lines().map(str::to_owned).collect()
    }
}
