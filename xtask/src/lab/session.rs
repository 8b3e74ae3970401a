//! A session with psql that stays open: one process on this side, one of the server's on the other.
//!
//! psql reads its commands from a pipe. Behind each of them it is told to print a mark, so that the end of an answer is known.

use super::job::Job;

/// psql, and how many marks it was told to print.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) job: Job,
    asked: u32,
}

/// What came of a look at an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// These lines are new, and more are to come.
    More(Vec<String>),
    /// These are the last ones.
    Last(Vec<String>),
}

impl Session {
    pub(super) fn new(job: Job) -> Session {
        Session { job, asked: 0 }
    }

    /// Sends a command.
    pub(super) fn ask(&mut self, sql: &str) {
        self.asked += 1;
        self.job.tell(sql);
        self.job.tell(&format!("\\echo {}", self.mark()));
    }

    /// What has come of the answer since the last look. A psql that has ended has answered, too.
    pub(super) fn look(&mut self) -> Look {
        let has_ended = self.job.ended().is_some();
        let mut lines = self.job.new_lines();
        let mark = self.mark();
        match lines.iter().position(|line| *line == mark) {
            Some(end) => {
                lines.truncate(end);
                Look::Last(lines)
            }
            None if has_ended => Look::Last(lines),
            None => Look::More(lines),
        }
    }

    fn mark(&self) -> String {
        format!("-- end of answer {}", self.asked)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use integration::wait_for;

    use super::*;

    /// All lines of an answer.
    #[track_caller]
    fn answer(session: &mut Session, sql: &str) -> Vec<String> {
        session.ask(sql);
        let mut all = Vec::new();
        wait_for("it has answered", || match session.look() {
            Look::More(lines) => {
                all.extend(lines);
                None
            }
            Look::Last(lines) => {
                all.extend(lines);
                Some(())
            }
        });
        all
    }

    /// A shell that speaks as psql does, as far as that is needed.
    #[test]
    fn an_answer_ends_with_its_mark() {
        let script = r#"while read -r word rest; do case $word in '\echo') echo "$rest";; bye) exit;; *) echo "$word"; echo;; esac; done"#;
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        let mut session = Session::new(Job::start(command, true).unwrap());
        assert_eq!(answer(&mut session, "one"), ["one", ""]);
        assert_eq!(answer(&mut session, "two"), ["two", ""]);
        assert_eq!(answer(&mut session, "bye"), [""; 0]);
        assert_eq!(answer(&mut session, "anybody there?"), [""; 0]);
    }
}
