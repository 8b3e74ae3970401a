//! What the postmaster owns outside its memory, and the order in which it lets go of it.
//!
//! | order | what | by whom |
//! |---|---|---|
//! | 1 | shared memory and its interlock | [`Belongings::exit`] |
//! | 2 | `external_pid_file`, listening sockets and their files, what was told of the stop | a callback of [`Belongings::own`] |
//! | 3 | socket lock files, postmaster.pid | `miscinit::lockfile` |
//! | 4 | `database system is shut down` | `miscinit::lockfile` |
//!
//! The interlock goes before postmaster.pid, so that whoever sees the file gone can start at once; the status file of the
//! stop goes before it, so that whoever still sees postmaster.pid and no status reads the right thing: it is about to be over.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use common::pidfile::line;
use miscinit::{exit, lockfile};
use shmem::Segment;

use crate::listen::ListenSockets;

/// The things to let go of.
#[derive(Default)]
pub(crate) struct Belongings {
    pub(crate) segment: RefCell<Option<Segment>>,
    pub(crate) sockets: RefCell<ListenSockets>,
    pub(crate) external_pid_file: RefCell<Option<PathBuf>>,
}

impl Belongings {
    /// Belongings that are let go of at exit, whichever way it comes. Called after postmaster.pid was made, so
    /// that the callback runs before the one that removes it.
    pub(crate) fn own() -> Rc<Belongings> {
        let belongings = Rc::new(Belongings::default());
        let shared = Rc::clone(&belongings);
        exit::on_shmem_exit(move |_| drop(shared.segment.take()));
        let files = Rc::clone(&belongings);
        exit::on_proc_exit(move |_| files.remove_files());
        belongings
    }

    /// C: `ExitPostmaster`.
    pub(crate) fn exit(&self, code: i32) -> ! {
        exit::proc_exit(code)
    }

    /// Line 7 of postmaster.pid.
    pub(crate) fn write_shmem_line(&self) {
        if let Some((key, id)) = self.segment.borrow().as_ref().and_then(Segment::interlock_ids) {
            lockfile::add_line(line::SHMEM_KEY, &format!("{key:9} {id:9}"));
        }
    }

    /// C: `CloseServerPorts`, `unlink_external_pid_file`.
    fn remove_files(&self) {
        if let Some(path) = self.external_pid_file.take() {
            let _ = std::fs::remove_file(path);
        }
        stopreport::files::remove_all(miscinit::globals::data_dir());
        let mut sockets = self.sockets.borrow_mut();
        sockets.close();
        for path in sockets.unix_paths() {
            let _ = std::fs::remove_file(path);
        }
    }
}
