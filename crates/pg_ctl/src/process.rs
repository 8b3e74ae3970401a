//! Is a process alive, and sending it a signal.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

/// Could this be the server? Not if it is another user's, or ourselves or our parent: then the number was
/// given out again after a crash. C: `postmaster_is_alive`.
pub(crate) fn is_alive(pid: i32) -> bool {
    let pid = Pid::from_raw(pid);
    pid != getpid() && pid != getppid() && send(pid.as_raw(), None).is_ok()
}

/// Sends a signal, or none to ask whether there is someone to get it. One that has ended but whose parent
/// has not asked for its exit code would still take signals; nobody is there to act on them.
pub(crate) fn send(pid: i32, signal: impl Into<Option<Signal>>) -> Result<(), Errno> {
    if is_zombie(pid) {
        return Err(Errno::ESRCH);
    }
    kill(Pid::from_raw(pid), signal)
}

fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    // "pid (name) state ...", where the name may contain anything, also parentheses.
    let after_name = stat.iter().rposition(|b| *b == b')').map_or(&[][..], |at| &stat[at + 1..]);
    matches!(after_name, [b' ', b'Z' | b'X', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_dead_before_they_are_reaped() {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", "read line"]).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(is_alive(pid));
        drop(child.stdin.take());
        while !is_zombie(pid) {
            std::thread::yield_now();
        }
        assert!(!is_alive(pid));
        assert_eq!(send(pid, Signal::SIGTERM), Err(Errno::ESRCH));
        child.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn we_are_not_the_server() {
        assert!(!is_alive(getpid().as_raw()));
        assert!(!is_alive(getppid().as_raw()));
    }
}
