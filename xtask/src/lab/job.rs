//! A command that runs, and what it says as it says it: both of its outputs through one pipe, so that lines stay in order.
//!
//! Reading never blocks: whoever plays looks at all that runs in turns, and at Ctrl-C.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use integration::process::{self, Process};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// After its end: somebody whom it has started may hold the pipe, and is not waited for longer.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A command that was started.
#[derive(Debug)]
pub(crate) struct Job {
    process: Process,
    output: PipeReader,
    input: Option<PipeWriter>,
    /// All that it has said.
    said: Vec<u8>,
    /// How much of that was handed out.
    taken: usize,
    is_at_end: bool,
    ended: Option<Instant>,
}

impl Job {
    /// Starts it in a group of processes of its own, which Ctrl-C at the terminal does not reach. It reads what is written to it
    /// later if it `listens`, else nothing.
    ///
    /// # Errors
    /// If there is no pipe for it.
    pub(crate) fn start(mut command: Command, listens: bool) -> Result<Job, String> {
        let failed = |e: std::io::Error| e.to_string();
        let (output, writer) = std::io::pipe().map_err(failed)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| e.to_string())?;
        let input = if listens {
            let (reader, writer) = std::io::pipe().map_err(failed)?;
            command.stdin(reader);
            Some(writer)
        } else {
            command.stdin(Stdio::null());
            None
        };
        command.process_group(0).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let process = process::spawn(&mut command);
        // With the command its ends of the pipes are closed: the child alone has them now.
        Ok(Job { process, output, input, said: Vec::new(), taken: 0, is_at_end: false, ended: None })
    }

    /// Its process id, and the id of its group.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// How it ended, once it has and all that it said was read.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.try_wait()?;
        let since = *self.ended.get_or_insert_with(Instant::now);
        self.read();
        (self.is_at_end || since.elapsed() > AFTERWARDS).then_some(status)
    }

    /// Lines that were not handed out yet; with a last one that has no end if there will be no more.
    pub(crate) fn new_lines(&mut self) -> Vec<String> {
        self.read();
        let new = self.said.get(self.taken..).unwrap_or_default();
        let whole = match new.iter().rposition(|byte| *byte == b'\n') {
            _ if self.is_at_end || self.ended.is_some_and(|since| since.elapsed() > AFTERWARDS) => new.len(),
            Some(last) => last + 1,
            None => 0,
        };
        let text = String::from_utf8_lossy(new.get(..whole).unwrap_or_default()).into_owned();
        self.taken += whole;
        text.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
    }

    /// What was not handed out yet, as it came.
    pub(crate) fn new_text(&mut self) -> String {
        self.read();
        let new = self.said.get(self.taken..).unwrap_or_default();
        // Half a letter stays for the next time.
        let whole = match std::str::from_utf8(new) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => new.len(),
        };
        let text = String::from_utf8_lossy(new.get(..whole).unwrap_or_default()).into_owned();
        self.taken += whole;
        text
    }

    /// All that it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Writes a line to it. One that has ended does not mind.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{line}");
        }
    }

    /// There is nothing more to tell.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    fn read(&mut self) {
        let mut buffer = [0; 8192];
        while !self.is_at_end {
            match self.output.read(&mut buffer) {
                Ok(0) => self.is_at_end = true,
                Ok(n) => self.said.extend(buffer.iter().take(n)),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // Nothing now.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use integration::wait_until;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn both_outputs_in_order_and_the_status() {
        let mut job = Job::start(shell("echo one; echo two >&2; printf three; exit 3"), false).unwrap();
        let mut lines = Vec::new();
        wait_until("it has ended", || {
            let ended = job.ended().is_some();
            lines.extend(job.new_lines());
            ended
        });
        lines.extend(job.new_lines());
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(job.said(), "one\ntwo\nthree");
        assert_eq!(job.ended().and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn a_conversation() {
        let mut job = Job::start(shell("read a; echo \"heard $a\"; read a || echo end"), true).unwrap();
        job.tell("you");
        wait_until("it answers", || job.new_lines() == ["heard you"]);
        assert!(job.ended().is_none());
        job.close_input();
        wait_until("it has ended", || job.ended().is_some());
        assert_eq!(job.new_text(), "end\n");
        job.tell("too late");
    }

    /// A server that is started in the background may keep its starter's output.
    #[test]
    fn who_holds_the_pipe_is_not_waited_for() {
        let mut job = Job::start(shell("echo done; sleep 600 & echo $!"), false).unwrap();
        wait_until("it has ended", || job.ended().is_some());
        let said = job.new_lines();
        assert_eq!(said.len(), 2);
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(job.pid()),
            nix::sys::signal::Signal::SIGKILL,
        );
    }

    #[test]
    fn letters_are_not_cut() {
        let mut job = Job::start(shell("printf '\\303'; read a; printf '\\274'"), true).unwrap();
        wait_until("half of it is there", || {
            assert_eq!(job.new_text(), "");
            !job.said().is_empty()
        });
        job.tell("");
        wait_until("it has ended", || job.ended().is_some());
        assert_eq!(job.new_text(), "ü");
    }
}
