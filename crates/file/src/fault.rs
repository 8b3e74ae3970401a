//! How a test gets between the server and its files: a hook that sees every call first and may fail it.
//!
//! Without a hook it costs one load and one branch.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;

/// The call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// open(2), also of a file that was closed behind its owner's back.
    Open,
    /// pread(2).
    Read,
    /// pwrite(2), pwritev(2).
    Write,
    /// fsync(2), fdatasync(2).
    Sync,
    /// ftruncate(2), posix_fallocate(3).
    Truncate,
    /// rename(2).
    Rename,
    /// unlink(2).
    Unlink,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Go,
    /// It is not made and fails with this errno.
    Fail(i32),
    /// A read or write is made for at most this many bytes; after a short write the rest fails with ENOSPC.
    Short(usize),
}

/// Decides.
pub trait Hook {
    /// Called before each call. `offset` and `len` are those of reads and writes, else 0. Must not use this
    /// crate itself.
    fn before(&self, op: Op, path: &Path, offset: u64, len: usize) -> Action;
}

thread_local! {
    static HOOKED: Cell<bool> = const { Cell::new(false) };
    static HOOK: RefCell<Option<Box<dyn Hook>>> = const { RefCell::new(None) };
}

/// Sets or removes this process's hook.
pub fn set_hook(hook: Option<Box<dyn Hook>>) {
    HOOKED.set(hook.is_some());
    HOOK.set(hook);
}

/// Ok with the number of bytes that may be transferred.
#[inline]
pub(crate) fn ask(op: Op, path: &Path, offset: u64, len: usize) -> io::Result<usize> {
    if HOOKED.get() { ask_hook(op, path, offset, len) } else { Ok(len) }
}

#[cold]
fn ask_hook(op: Op, path: &Path, offset: u64, len: usize) -> io::Result<usize> {
    let action = HOOK.with_borrow(|hook| hook.as_ref().map(|hook| hook.before(op, path, offset, len)));
    match action {
        None | Some(Action::Go) => Ok(len),
        Some(Action::Fail(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Action::Short(n)) => Ok(n.min(len)),
    }
}
