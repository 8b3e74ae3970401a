//! The superuser's password: from a file, from the terminal, or none.
//!
//! C counterpart: `get_su_pwd` in initdb.c, common/sprompt.c.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};

use common::file::os_error_text;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::options::Options;
use crate::report::{Failure, Result, complain, fail, say};

/// Bytes that a password may have; a file without line breaks must not be read to its end.
const LONGEST: u64 = 64 * 1024;

/// The password, if one is to be set.
pub(crate) fn ask(options: &Options) -> Result<Option<String>> {
    let password = if let Some(path) = &options.pwfile {
        let name = path.display();
        let failed = |what: &str, error| {
            Failure::new(format!("could not {what} file \"{name}\"{}", os_error_suffix(what, &error)))
        };
        let file = File::open(path).map_err(|error| failed("open", error))?;
        let Some(line) = read_line(file).map_err(|error| failed("read password from", error))? else {
            return fail(format!("password file \"{name}\" is empty"));
        };
        line
    } else if options.pwprompt {
        say("\n");
        let first = prompt("Enter new superuser password: ");
        if prompt("Enter it again: ") != first {
            return Err(Failure::bare("Passwords didn't match."));
        }
        first
    } else {
        return Ok(None);
    };
    // An empty password is none, as everywhere in PostgreSQL.
    Ok(Some(password).filter(|password| !password.is_empty()))
}

fn os_error_suffix(what: &str, error: &std::io::Error) -> String {
    let purpose = if what == "open" { " for reading" } else { "" };
    format!("{purpose}: {}", os_error_text(error))
}

/// The first line without its end; `None` if there is not a single byte.
fn read_line(input: impl Read) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if BufReader::new(input.take(LONGEST)).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    match String::from_utf8(line) {
        Ok(line) => Ok(Some(line)),
        Err(_) => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "password is not valid UTF-8")),
    }
}

/// Asks on the terminal, without showing what is typed; without a terminal, on stderr and stdin.
fn prompt(question: &str) -> String {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        complain(question);
        let mut line = String::new();
        let _ = std::io::stdin().lock().take(LONGEST).read_line(&mut line);
        complain("\n");
        return line.trim_end_matches(['\n', '\r']).to_owned();
    };
    let _ = terminal.write_all(question.as_bytes());
    let echo = EchoOff::new(&terminal);
    let line = read_line(&terminal).ok().flatten().unwrap_or_default();
    drop(echo);
    let _ = terminal.write_all(b"\n");
    line
}

/// Keeps the terminal from showing input as long as it lives.
struct EchoOff<'a> {
    terminal: &'a File,
    before: Option<Termios>,
}

impl EchoOff<'_> {
    fn new(terminal: &File) -> EchoOff<'_> {
        let before = tcgetattr(terminal).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_flags.remove(LocalFlags::ECHO);
            let _ = tcsetattr(terminal, SetArg::TCSAFLUSH, &quiet);
        }
        EchoOff { terminal, before }
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, before);
        }
    }
}
