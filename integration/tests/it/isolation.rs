//! Two or three sessions in each other's way: the same steps on both servers, with the same answers.
//!
//! The steps and the real server's answers are in `isolation.txt`. A line `A: sql` runs a statement in session A (`B`, `S` and
//! so on are sessions too; each is opened when it is first named); what the server says stands below it, indented.
//! `A> sql` is a statement that has to wait for a lock: the next step comes when it does. `A< ` takes its
//! answer. `==` ends a scenario: all sessions are closed. Pids read as the session's name, object and transaction numbers
//! as `N`.

use std::collections::BTreeMap;

use integration::{Cluster, Wire, on_each_server, wait_until};
use regex::Regex;

use crate::support::started;
use crate::transcript;

const SCRIPT: &str = "isolation.txt";

#[test]
fn sessions_in_each_others_way() {
    on_each_server("isolation", |server| {
        let cluster = started(server, &["deadlock_timeout = 10s", "timezone = 'UTC'"]);
        let mut play = Play::new(&cluster);
        let script = transcript::read(SCRIPT);
        for line in script.lines() {
            play.step(line);
        }
        transcript::check(SCRIPT, server, &play.said);
    });
}

struct Play<'a> {
    cluster: &'a Cluster,
    watcher: Wire,
    sessions: BTreeMap<char, Wire>,
    /// Names of all sessions there were, by pid.
    names: Vec<(i32, char)>,
    numbers: Regex,
    said: String,
}

impl<'a> Play<'a> {
    fn new(cluster: &'a Cluster) -> Play<'a> {
        let numbers = r"(transaction|relation|database|virtual transaction|Process|process) \d+(/\d+)?";
        Play {
            cluster,
            watcher: Wire::connect(cluster),
            sessions: BTreeMap::new(),
            names: Vec::new(),
            numbers: Regex::new(numbers).expect("a pattern"),
            said: String::new(),
        }
    }

    fn session(&mut self, name: char) -> &mut Wire {
        let (cluster, names) = (self.cluster, &mut self.names);
        self.sessions.entry(name).or_insert_with(|| {
            let wire = Wire::connect(cluster);
            names.push((wire.pid, name));
            wire
        })
    }

    /// One line of the script: done if it is a step, and kept unless it is an old answer.
    #[track_caller]
    fn step(&mut self, line: &str) {
        if line.starts_with("    ") {
            return;
        }
        self.said.push_str(line);
        self.said.push('\n');
        let mut chars = line.chars();
        let (Some(name), Some(how)) = (chars.next(), chars.next()) else { return };
        let sql = chars.as_str().trim();
        match how {
            ':' => {
                let answer = self.session(name).query(sql);
                self.tell(&answer);
            }
            '>' => {
                self.session(name).begin(sql);
                self.wait_for_lock(name, sql);
            }
            '<' => {
                let answer = self.session(name).answer();
                self.tell(&answer);
            }
            '=' => std::mem::take(&mut self.sessions).into_values().for_each(Wire::quit),
            _ => {}
        }
    }

    #[track_caller]
    fn wait_for_lock(&mut self, name: char, sql: &str) {
        let pid = self.session(name).pid;
        let question = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}");
        let watcher = &mut self.watcher;
        wait_until(&format!("{name} waits for a lock in {sql}"), || {
            watcher.query(&question).first().is_some_and(|answer| answer == "t")
        });
    }

    fn tell(&mut self, answer: &[String]) {
        for line in answer {
            let mut line = line.clone();
            for (pid, name) in &self.names {
                line = line.replace(&format!("rocess {pid}"), &format!("rocess {name}"));
            }
            let line = self.numbers.replace_all(&line, "$1 N");
            for line in line.split('\n') {
                self.said.push_str("    ");
                self.said.push_str(line);
                self.said.push('\n');
            }
        }
    }
}
