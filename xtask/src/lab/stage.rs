//! The narrator of a lab: scenes, what is said, commands as a person would type them, their output, and claims.
//!
//! A claim that does not hold ends the play: everything after it would be a story about something else. Nothing here starts a
//! process or waits; where the play should rest for reading, the narrator says for how long, and [`super::Lab`] does it.

use std::io::Write;
use std::time::Duration;

use super::Fault;

/// Columns that narration takes. Output of commands is never wrapped.
const WIDTH: usize = 86;
/// Time to read a letter: as a person reads who knows where to look. A lab is to be over in a minute.
const LETTER: Duration = Duration::from_millis(11);
/// Time to read a line of output, and of how many at most: nobody reads all of a long one.
const LINE: Duration = Duration::from_millis(80);
const LINES_READ: usize = 8;

/// How a line is to look in a terminal.
#[derive(Clone, Copy, Debug)]
enum Look {
    Heading,
    Command,
    Good,
    Bad,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Look::Heading => "1;36",
            Look::Command => "1",
            Look::Good => "32",
            Look::Bad => "1;31",
        }
    }
}

/// Prints; counts claims; knows how long what it printed takes to read.
pub(crate) struct Stage {
    out: Box<dyn Write>,
    coloured: bool,
    scenes: u32,
    claims: u32,
    /// Reading time of what was printed since it was last asked for.
    unread: Duration,
    /// The last line printed is empty.
    blank: bool,
    /// Empty lines of output that are printed if more output follows: psql ends each table with one.
    held_back: usize,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage {{ scenes: {}, claims: {} }}", self.scenes, self.claims)
    }
}

type Result<T = ()> = std::result::Result<T, Fault>;

impl Stage {
    /// An empty one. `coloured` is for terminals.
    pub(crate) fn new(out: Box<dyn Write>, coloured: bool) -> Stage {
        Stage { out, coloured, scenes: 0, claims: 0, unread: Duration::ZERO, blank: true, held_back: 0 }
    }

    /// How many claims were made, all of which held.
    pub(crate) fn claims(&self) -> u32 {
        self.claims
    }

    /// How long what was printed since the last call takes to read.
    pub(crate) fn take_unread(&mut self) -> Duration {
        std::mem::take(&mut self.unread)
    }

    /// A new scene, with its number.
    ///
    /// # Errors
    /// If nobody listens any more; so with all that print.
    pub(crate) fn scene(&mut self, heading: &str) -> Result {
        self.scenes += 1;
        self.gap()?;
        self.line(&format!("== {}. {heading}", self.scenes), Some(Look::Heading))?;
        self.unread += 10 * LETTER;
        self.gap()
    }

    /// A sentence or two, wrapped.
    pub(crate) fn say(&mut self, text: &str) -> Result {
        self.gap()?;
        for line in wrap(text, WIDTH) {
            self.line(&line, None)?;
        }
        let letters = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.unread += LETTER.saturating_mul(letters);
        self.gap()
    }

    /// What a person would type, behind `prompt`; further lines of it are indented to the first.
    pub(crate) fn command(&mut self, prompt: &str, typed: &str) -> Result {
        for (i, line) in typed.lines().enumerate() {
            let before = if i == 0 { prompt.to_owned() } else { " ".repeat(prompt.len()) };
            self.line(&format!("{before}{line}"), Some(Look::Command))?;
        }
        self.unread += 20 * LETTER;
        Ok(())
    }

    /// A line of real output, as it came, but for empty ones at its end. Severities of the server have their colour.
    pub(crate) fn output(&mut self, line: &str) -> Result {
        if line.is_empty() {
            self.held_back += 1;
            return Ok(());
        }
        self.blank = false;
        let before = "\n".repeat(std::mem::take(&mut self.held_back));
        let line = crate::log_view::paint(line, self.coloured);
        self.write(&format!("{before}{line}\n"))?;
        self.unread = (self.unread + LINE).min(self.unread.max(LINE * LINES_READ as u32));
        Ok(())
    }

    /// Output as it came, with its own ends of lines, or none yet: what draws itself.
    pub(crate) fn raw_output(&mut self, text: &str) -> Result {
        self.blank = false;
        self.write(text)
    }

    /// Says whether something is so.
    ///
    /// # Errors
    /// If it is not: the play ends, with `evidence`.
    pub(crate) fn claim(&mut self, claim: &str, holds: bool, evidence: impl FnOnce() -> String) -> Result {
        if !holds {
            self.line(&format!("[FAILED] {claim}"), Some(Look::Bad))?;
            for line in evidence().lines() {
                self.line(&format!("    {line}"), None)?;
            }
            return Err(Fault::Claim(claim.to_owned()));
        }
        self.claims += 1;
        self.unread += 20 * LETTER;
        self.line(&format!("[ok] {claim}"), Some(Look::Good))
    }

    /// An empty line, if there is none yet.
    pub(crate) fn gap(&mut self) -> Result {
        if std::mem::replace(&mut self.blank, true) { Ok(()) } else { self.write("\n") }
    }

    fn line(&mut self, text: &str, look: Option<Look>) -> Result {
        self.blank = false;
        self.held_back = 0;
        match look {
            Some(look) if self.coloured => self.write(&format!("\x1b[{}m{text}\x1b[0m\n", look.code())),
            _ => self.write(&format!("{text}\n")),
        }
    }

    /// Nobody who reads is nobody to play for: as if they had pressed Ctrl-C.
    fn write(&mut self, text: &str) -> Result {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(|_| Fault::Interrupted)
    }
}

/// Text in lines of at most `width` columns, as far as its words are not longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a narrator prints, and what became of it.
    #[track_caller]
    fn check(coloured: bool, play: impl FnOnce(&mut Stage) -> Result, expected: &str) -> Result {
        let paper = Paper::default();
        let mut stage = Stage::new(Box::new(paper.clone()), coloured);
        let result = play(&mut stage);
        let printed = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(printed, expected);
        result
    }

    #[test]
    fn a_transcript_reads_like_one() {
        let play = |stage: &mut Stage| {
            stage.scene("Who is there")?;
            stage.say("The postmaster only\n   listens.")?;
            stage.command("$ ", "ps")?;
            stage.output("  PID")?;
            stage.output("")?;
            stage.output("  4711")?;
            stage.output("")?;
            stage.claim("it has a child", true, || unreachable!())?;
            stage.say("More.")?;
            stage.command("postgres=# ", "select 1,\n2;")
        };
        let expected = "== 1. Who is there\n\nThe postmaster only listens.\n\n$ ps\n  PID\n\n  4711\n[ok] it has a child\n\nMore.\n\n\
                        postgres=# select 1,\n           2;\n";
        assert!(check(false, play, expected).is_ok());
    }

    #[test]
    fn a_claim_that_does_not_hold_ends_the_play_with_its_evidence() {
        let play = |stage: &mut Stage| {
            stage.claim("one", true, String::new)?;
            stage.claim("two", false, || "was\nthree".into())?;
            stage.say("never said")
        };
        let ended = check(false, play, "[ok] one\n[FAILED] two\n    was\n    three\n");
        assert!(matches!(ended, Err(Fault::Claim(claim)) if claim == "two"));
    }

    #[test]
    fn a_terminal_gets_colours() {
        let play = |stage: &mut Stage| {
            stage.command("$ ", "psql")?;
            stage.output("ERROR:  no")?;
            stage.output("plain")?;
            stage.claim("so", true, String::new)
        };
        let expected = "\x1b[1m$ psql\x1b[0m\n\x1b[31mERROR:  no\x1b[0m\nplain\n\x1b[32m[ok] so\x1b[0m\n";
        assert!(check(true, play, expected).is_ok());
    }

    #[test]
    fn what_is_printed_takes_time_to_read() {
        let mut stage = Stage::new(Box::new(std::io::sink()), false);
        stage.say("Ten words that a person reads in about a second.").unwrap();
        let said = stage.take_unread();
        assert!(said > Duration::from_millis(300) && said < Duration::from_secs(2), "{said:?}");
        assert_eq!(stage.take_unread(), Duration::ZERO);
        // A long output is not read to its end.
        (0..1000).for_each(|_| stage.output("line").unwrap());
        assert_eq!(stage.take_unread(), LINE * LINES_READ as u32);
        assert_eq!(stage.claims(), 0);
    }

    #[test]
    fn nobody_who_reads_is_like_an_interrupt() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut stage = Stage::new(Box::new(Closed), false);
        assert!(matches!(stage.say("is anybody there?"), Err(Fault::Interrupted)));
    }

    #[test]
    fn words_are_never_cut() {
        assert_eq!(wrap("a bb  ccc\ndddd", 5), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("muchtoolong a", 5), ["muchtoolong", "a"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
