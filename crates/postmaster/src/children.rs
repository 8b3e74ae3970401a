//! The children by pid: what the driver knows of them and the state machine need not.

use nix::errno::Errno;
use nix::sys::signal::{self, Signal as SystemSignal, kill};
use nix::unistd::Pid;

use crate::machine::{ChildExit, ChildKind, Signal, Target};

/// One living child. C: `Backend`, and the `*PID` variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) kind: ChildKind,
    /// Its slot in shared memory, 0 for none.
    pub(crate) slot: i32,
}

/// All living children, oldest first. A plain list: a few hundred entries are scanned faster than hashed.
#[derive(Debug, Default)]
pub(crate) struct ChildList(Vec<Child>);

impl ChildList {
    pub(crate) fn add(&mut self, child: Child) {
        self.0.push(child);
    }

    /// Forgets the child with that pid.
    pub(crate) fn remove(&mut self, pid: i32) -> Option<Child> {
        let index = self.0.iter().position(|child| child.pid == pid)?;
        Some(self.0.remove(index))
    }

    /// Turns one session that has become a walsender into one; true if there was one.
    pub(crate) fn promote_wal_sender(&mut self, is_wal_sender: impl Fn(i32) -> bool) -> bool {
        let session = self.0.iter_mut().find(|c| c.kind == ChildKind::Backend && is_wal_sender(c.slot));
        if let Some(child) = session {
            child.kind = ChildKind::WalSender;
            return true;
        }
        false
    }

    /// Those of the given kinds, with what they are called in a report.
    pub(crate) fn titles(&self, kinds: &[ChildKind]) -> Vec<(i32, String)> {
        let chosen = self.0.iter().filter(|child| kinds.contains(&child.kind));
        chosen.map(|child| (child.pid, title(child.kind).to_owned())).collect()
    }

    /// Signals those addressed. One that has just ended is no error: we will hear of it.
    pub(crate) fn signal(&self, to: Target, signal: Signal) {
        let addressed = |child: &&Child| match to {
            Target::Child(kind) => child.kind == kind,
            Target::Backends(classes) => classes.contains(child.kind),
        };
        for child in self.0.iter().filter(addressed) {
            signal_child(child.pid, signal);
        }
    }
}

fn title(kind: ChildKind) -> &'static str {
    match kind {
        // No session of a client.
        ChildKind::DeadEnd => stopreport::estimate::REFUSED_CLIENT,
        other => other.backend_type().description(),
    }
}

/// C: `signal_child`.
fn signal_child(pid: i32, signal: Signal) {
    let system_signal = match signal {
        Signal::Hup => SystemSignal::SIGHUP,
        Signal::Term => SystemSignal::SIGTERM,
        Signal::Quit => SystemSignal::SIGQUIT,
        Signal::Kill => SystemSignal::SIGKILL,
        Signal::Stop => SystemSignal::SIGSTOP,
        Signal::Usr1 => SystemSignal::SIGUSR1,
        Signal::Usr2 => SystemSignal::SIGUSR2,
    };
    // A child that has just been born is not yet the leader of its group: hence both.
    send(pid, kill(Pid::from_raw(pid), system_signal));
    if signal.to_group() {
        send(pid, signal::killpg(Pid::from_raw(pid), system_signal));
    }
}

fn send(pid: i32, result: nix::Result<()>) {
    match result {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => log::debug!("could not signal process {pid}: {e}"),
    }
}

/// A child that has ended, reaped; `None` if there is none at the moment.
///
/// Not `nix::sys::wait::waitpid`: it has no value for a death by a real-time signal, reports it as an error, and
/// the child's pid is lost.
pub(crate) fn wait_for_any() -> Option<(i32, ChildExit)> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is an int of ours.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match pid {
            1.. => return Some((pid, exit_of(status))),
            0 => return None,
            _ if Errno::last() == Errno::EINTR => {}
            _ => return None,
        }
    }
}

/// A stopped child is not reported without `WUNTRACED`, so there are only two ways.
fn exit_of(status: i32) -> ChildExit {
    if libc::WIFEXITED(status) {
        ChildExit::Code(libc::WEXITSTATUS(status))
    } else {
        ChildExit::Signal(libc::WTERMSIG(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_keep_their_order() {
        let mut list = ChildList::default();
        for (pid, kind, slot) in
            [(1, ChildKind::Checkpointer, 0), (2, ChildKind::Backend, 7), (3, ChildKind::Backend, 8)]
        {
            list.add(Child { pid, kind, slot });
        }
        assert!(!list.promote_wal_sender(|slot| slot == 9));
        assert!(list.promote_wal_sender(|slot| slot == 8));
        assert!(!list.promote_wal_sender(|slot| slot == 8), "it is one already");
        assert_eq!(
            list.titles(&[ChildKind::WalSender, ChildKind::Checkpointer]),
            [(1, "checkpointer".to_owned()), (3, "walsender".to_owned())]
        );
        assert_eq!(list.remove(2).map(|c| c.slot), Some(7));
        assert_eq!(list.remove(2), None);
        assert_eq!(
            list.0.iter().map(|c| c.kind).collect::<Vec<_>>(),
            [ChildKind::Checkpointer, ChildKind::WalSender]
        );
    }

    #[test]
    fn ways_to_end() {
        assert_eq!(exit_of(0), ChildExit::Code(0));
        assert_eq!(exit_of(3 << 8), ChildExit::Code(3));
        assert_eq!(exit_of(9), ChildExit::Signal(9));
        assert_eq!(exit_of(11 | 0x80), ChildExit::Signal(11), "with a core file");
        assert_eq!(exit_of(34), ChildExit::Signal(34), "a real-time signal");
    }
}
