//! Lines at the bottom of a terminal that are painted anew in place, and how large the terminal is.
//!
//! An own forty lines instead of a crate for progress bars: what is to be seen is a pure function of the server's
//! report (`render`), so all that is left is to go up some lines and write. Nothing is switched off (cursor, line
//! wrapping): whoever interrupts pg_ctl has a terminal as before, with the last picture on it.
//!
//! Called by: `display`. C counterpart: none.

#![allow(unsafe_code, reason = "the size of a terminal is an ioctl, for which nix has no safe call")]

use std::io::IsTerminal;
use std::os::fd::AsRawFd;

use nix::libc;

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// When nobody says.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// May lines on stdout be repainted?
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// What COLUMNS and LINES say, else what the terminal says, else 80 by 24. Asked anew for each picture, since a window
/// may change.
pub(crate) fn size() -> Size {
    let of_variable = |name| std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0);
    let seen = window_size();
    Size {
        columns: of_variable("COLUMNS").or(seen.map(|size| size.columns)).unwrap_or(USUAL.columns),
        rows: of_variable("LINES").or(seen.map(|size| size.rows)).unwrap_or(USUAL.rows),
    }
}

fn window_size() -> Option<Size> {
    let mut window = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which lives until after the call.
    let answer = unsafe { libc::ioctl(std::io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &mut window) };
    (answer == 0 && window.ws_col > 0 && window.ws_row > 0)
        .then(|| Size { columns: window.ws_col.into(), rows: window.ws_row.into() })
}

/// The lines that were painted last; the cursor stands below them, at the left.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    lines: Vec<String>,
}

impl Picture {
    /// What to write so that these lines take the place of the last ones. Nothing if they are the same. The lines must
    /// not be longer than the terminal is wide, nor more than it is high.
    pub(crate) fn replace(&mut self, lines: Vec<String>) -> String {
        if lines == self.lines {
            return String::new();
        }
        let mut text = match self.lines.len() {
            0 => String::new(),
            up => format!("\x1b[{up}A"),
        };
        for line in &lines {
            // To the end of the line: nothing of a longer one may stay. Not before: it would flicker.
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        if lines.len() < self.lines.len() {
            text.push_str("\x1b[J");
        }
        self.lines = lines;
        text
    }

    /// What to write so that nothing is left of it.
    pub(crate) fn erase(&mut self) -> String {
        self.replace(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_has_changed_is_painted() {
        let mut picture = Picture::default();
        assert_eq!(picture.replace(lines("a\nb")), "a\x1b[K\nb\x1b[K\n");
        assert_eq!(picture.replace(lines("a\nb")), "");
        assert_eq!(picture.replace(lines("a\nc\nd")), "\x1b[2Aa\x1b[K\nc\x1b[K\nd\x1b[K\n");
        assert_eq!(picture.replace(lines("x")), "\x1b[3Ax\x1b[K\n\x1b[J");
        assert_eq!(picture.erase(), "\x1b[1A\x1b[J");
        assert_eq!(picture.erase(), "");
    }
}
