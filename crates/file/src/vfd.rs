//! The virtual descriptor.
//!
//! Each process has a list of those that hold a kernel descriptor at the moment, with the time of their last
//! use; the time is a counter. Finding the oldest is a walk over the list, which happens only where an
//! open(2) follows anyway; in return the hot path is one store.
//!
//! C counterpart: the VFD part of fd.c.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

use bitflags::bitflags;
use common::file::CreateModes;
use elog::ereport;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise, posix_fallocate};
use shmem::wait_event::{self, WaitEvent};

use crate::fault::{self, Op};

bitflags! {
    /// How to open a file. C: the `O_*` flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// For reading.
        const READ = 1;
        /// For writing.
        const WRITE = 2;
        /// Make it if it is not there.
        const CREATE = 4;
        /// With CREATE: fail if it is there.
        const EXCLUSIVE = 8;
        /// Throw its content away.
        const TRUNCATE = 16;
        /// Every write is also an fsync (`wal_sync_method = open_sync`).
        const SYNC = 32;
        /// Every write is also an fdatasync (`open_datasync`).
        const DATA_SYNC = 64;
        /// Past the kernel's cache.
        const DIRECT = 128;
    }
}

/// Descriptors left to everything that is no virtual file: sockets, pipes, libraries. C: `NUM_RESERVED_FDS`, and what
/// `count_usable_fds` finds in use.
const RESERVED: usize = 40;
/// Fewer make no sense. C: `FD_MINFREE`.
const MIN_OPEN: usize = 48;

struct Vfd {
    path: PathBuf,
    flags: OpenFlags,
    mode: u32,
    handle: RefCell<Option<fs::File>>,
    last_use: Cell<u64>,
    /// Index in OPEN while `handle` is there.
    slot: Cell<usize>,
}

thread_local! {
    static OPEN: RefCell<Vec<Rc<Vfd>>> = const { RefCell::new(Vec::new()) };
    static CLOCK: Cell<u64> = const { Cell::new(0) };
    static MAX_OPEN: Cell<usize> = const { Cell::new(0) };
}

/// How many kernel descriptors this process may use for files. C: `max_safe_fds`.
pub fn max_open() -> usize {
    match MAX_OPEN.get() {
        0 => {
            let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
            let soft = limit.map_or(1024, |(soft, _)| soft.min(1 << 20) as usize);
            let max = (guc::vars::MAX_FILES_PER_PROCESS.get() as usize).min(soft);
            let max = max.saturating_sub(RESERVED).max(MIN_OPEN.min(soft / 2)).max(1);
            MAX_OPEN.set(max);
            max
        }
        max => max,
    }
}

/// For tests: use fewer.
#[cfg(test)]
pub(crate) fn set_max_open(max: usize) {
    MAX_OPEN.set(max);
}

/// Kernel descriptors in use by virtual files now.
pub fn open_count() -> usize {
    OPEN.with_borrow(Vec::len)
}

/// Gives all kernel descriptors back; the virtual files stay usable. For a process that just learned that files
/// may have been replaced or whose file system is to be unmounted. C: `closeAllVfds`.
pub fn close_all_kernel() {
    while close_oldest() {}
}

/// Modes for new files in this data directory. C: `pg_file_create_mode`.
pub(crate) fn create_modes() -> CreateModes {
    static MODES: OnceLock<CreateModes> = OnceLock::new();
    *MODES.get_or_init(|| {
        let dir = miscinit::globals::data_dir();
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        CreateModes::of_data_dir(dir).unwrap_or(CreateModes::OWNER)
    })
}

/// A virtual descriptor; closed when dropped. Belongs to the process that opened it.
pub struct File(Rc<Vfd>);

/// Opens a file; the path is absolute or relative to the data directory. C: `PathNameOpenFile`.
///
/// # Errors
/// The system's answer; see [`crate::file_error`].
pub fn open(path: &Path, flags: OpenFlags) -> io::Result<File> {
    open_with_mode(path, flags, create_modes().file)
}

/// As [`open`] with other permission bits for a new file. C: `PathNameOpenFilePerm`.
///
/// # Errors
/// As [`open`].
pub fn open_with_mode(path: &Path, flags: OpenFlags, mode: u32) -> io::Result<File> {
    let handle = open_kernel(path, flags, mode)?;
    let later = flags - OpenFlags::CREATE - OpenFlags::EXCLUSIVE - OpenFlags::TRUNCATE; // FD2
    let vfd = Rc::new(Vfd {
        path: path.to_path_buf(),
        flags: later,
        mode,
        handle: RefCell::new(None),
        last_use: Cell::new(0),
        slot: Cell::new(usize::MAX),
    });
    attach(&vfd, handle);
    Ok(File(vfd))
}

fn attach(vfd: &Rc<Vfd>, handle: fs::File) {
    vfd.handle.replace(Some(handle));
    vfd.last_use.set(tick());
    OPEN.with_borrow_mut(|open| {
        vfd.slot.set(open.len());
        open.push(vfd.clone());
    });
}

#[inline]
fn tick() -> u64 {
    let now = CLOCK.get() + 1;
    CLOCK.set(now);
    now
}

/// Opens, making room first (FD1). C: `BasicOpenFilePerm`, `ReleaseLruFiles`.
fn open_kernel(path: &Path, flags: OpenFlags, mode: u32) -> io::Result<fs::File> {
    while open_count() >= max_open() && close_oldest() {}
    let mut custom = libc::O_CLOEXEC;
    for (flag, bit) in [
        (OpenFlags::SYNC, libc::O_SYNC),
        (OpenFlags::DATA_SYNC, libc::O_DSYNC),
        (OpenFlags::DIRECT, libc::O_DIRECT),
        (OpenFlags::EXCLUSIVE, libc::O_EXCL),
    ] {
        if flags.contains(flag) {
            custom |= bit;
        }
    }
    let mut options = fs::OpenOptions::new();
    options
        .read(flags.contains(OpenFlags::READ))
        .write(flags.contains(OpenFlags::WRITE))
        .create(flags.contains(OpenFlags::CREATE))
        .truncate(flags.contains(OpenFlags::TRUNCATE))
        .mode(mode)
        .custom_flags(custom);
    loop {
        fault::ask(Op::Open, path, 0, 0)?;
        match options.open(path) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                ereport!(Log, "out of file descriptors: {}; release and retry", elog::errno_text(&e));
                if !close_oldest() {
                    return Err(e);
                }
            }
            other => return other,
        }
    }
}

/// Closes the kernel descriptor that was not used for longest. C: `ReleaseLruFile`.
fn close_oldest() -> bool {
    let oldest = OPEN.with_borrow(|open| {
        open.iter()
            .filter(|vfd| vfd.handle.try_borrow_mut().is_ok())
            .min_by_key(|vfd| vfd.last_use.get())
            .cloned()
    });
    match oldest {
        Some(vfd) => {
            detach(&vfd);
            true
        }
        None => false,
    }
}

fn detach(vfd: &Vfd) {
    if vfd.handle.take().is_none() {
        return;
    }
    OPEN.with_borrow_mut(|open| {
        let slot = vfd.slot.replace(usize::MAX);
        open.swap_remove(slot);
        if let Some(moved) = open.get(slot) {
            moved.slot.set(slot);
        }
    });
}

impl Drop for File {
    fn drop(&mut self) {
        // At thread exit the list may be gone already; then the descriptor goes with the Vfd.
        if OPEN.try_with(|_| ()).is_ok() {
            detach(&self.0);
        }
    }
}

impl File {
    /// Runs `call` with the kernel descriptor, opening it if need be. C: `FileAccess`.
    #[inline]
    fn with<R>(&self, call: impl FnOnce(&fs::File) -> io::Result<R>) -> io::Result<R> {
        self.0.last_use.set(tick());
        if let Some(handle) = &*self.0.handle.borrow() {
            return call(handle);
        }
        self.reopen()?;
        match &*self.0.handle.borrow() {
            Some(handle) => call(handle),
            None => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    #[cold]
    fn reopen(&self) -> io::Result<()> {
        let handle = open_kernel(&self.0.path, self.0.flags, self.0.mode)?;
        attach(&self.0, handle);
        Ok(())
    }

    /// Reads up to the buffer's length; less only at the end of the file. C: `FileRead`.
    ///
    /// # Errors
    /// The system's answer.
    #[inline]
    pub fn read_at(&self, buf: &mut [u8], offset: u64, event: WaitEvent) -> io::Result<usize> {
        let len = fault::ask(Op::Read, &self.0.path, offset, buf.len())?;
        wait_event::start(event);
        let result = self.with(|handle| {
            let mut done = 0;
            while done < len {
                match handle.read_at(&mut buf[done..len], offset + done as u64) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(done)
        });
        wait_event::end();
        result
    }

    /// Writes all of it (FD3) and returns its length. C: `FileWrite`.
    ///
    /// # Errors
    /// The system's answer, ENOSPC if it took nothing.
    #[inline]
    pub fn write_at(&self, buf: &[u8], offset: u64, event: WaitEvent) -> io::Result<usize> {
        let len = fault::ask(Op::Write, &self.0.path, offset, buf.len())?;
        wait_event::start(event);
        let result = self.with(|handle| {
            let mut done = 0;
            while done < len {
                match handle.write_at(&buf[done..len], offset + done as u64) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            if done < buf.len() { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(done) }
        });
        wait_event::end();
        result
    }

    /// Writes several pieces one behind the other (FD3), usually with one system call. C: `pg_pwritev_with_retry`.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn writev_at(&self, parts: &[IoSlice<'_>], offset: u64, event: WaitEvent) -> io::Result<usize> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let allowed = fault::ask(Op::Write, &self.0.path, offset, total)?;
        if allowed < total || parts.len() > 1024 {
            return self.write_one_by_one(parts, offset, event);
        }
        wait_event::start(event);
        let result = self.with(|handle| {
            loop {
                match nix::sys::uio::pwritev(handle, parts, offset as i64) {
                    Ok(n) => return Ok(n),
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        });
        wait_event::end();
        let mut skip = result?;
        // A short write is rare: finish piece by piece.
        let mut at = offset;
        for part in parts {
            let done = skip.min(part.len());
            if done < part.len() {
                self.write_at(&part[done..], at + done as u64, event)?;
            }
            skip -= done;
            at += part.len() as u64;
        }
        Ok(total)
    }

    fn write_one_by_one(&self, parts: &[IoSlice<'_>], offset: u64, event: WaitEvent) -> io::Result<usize> {
        let mut done = 0;
        for part in parts {
            done += self.write_at(part, offset + done as u64, event)?;
        }
        Ok(done)
    }

    /// Makes bytes and length durable, unless `fsync` is off. C: `FileSync`, `pg_fsync`.
    ///
    /// # Errors
    /// The system's answer; see [`crate::data_sync_severity`] for how bad that is.
    pub fn sync(&self, event: WaitEvent) -> io::Result<()> {
        self.sync_with(event, fs::File::sync_all)
    }

    /// Makes bytes durable, and of the inode what is needed to read them, unless `fsync` is off. C: `pg_fdatasync`.
    ///
    /// # Errors
    /// As [`File::sync`].
    pub fn data_sync(&self, event: WaitEvent) -> io::Result<()> {
        self.sync_with(event, fs::File::sync_data)
    }

    fn sync_with(&self, event: WaitEvent, call: fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
        if !guc::vars::FSYNC.get() {
            return Ok(());
        }
        fault::ask(Op::Sync, &self.0.path, 0, 0)?;
        let _waiting = wait_event::during(event);
        self.with(call)
    }

    /// Cuts or extends it to `len` bytes. C: `FileTruncate`.
    ///
    /// # Errors
    /// The system's answer.
    pub fn truncate(&self, len: u64, event: WaitEvent) -> io::Result<()> {
        fault::ask(Op::Truncate, &self.0.path, len, 0)?;
        let _waiting = wait_event::during(event);
        self.with(|handle| handle.set_len(len))
    }

    /// Extends it with zeros that have their place on disk. C: `FileFallocate`.
    ///
    /// # Errors
    /// The system's answer.
    pub fn allocate(&self, offset: u64, len: u64, event: WaitEvent) -> io::Result<()> {
        fault::ask(Op::Truncate, &self.0.path, offset, len as usize)?;
        let _waiting = wait_event::during(event);
        self.with(|handle| Ok(posix_fallocate(handle, offset as i64, len as i64)?))
    }

    /// Its length in bytes. C: `FileSize`.
    ///
    /// # Errors
    /// The system's answer.
    pub fn size(&self) -> io::Result<u64> {
        self.with(|handle| Ok(nix::unistd::lseek(handle, 0, nix::unistd::Whence::SeekEnd)? as u64))
    }

    /// Tells the kernel that this range will be read soon. C: `FilePrefetch`.
    ///
    /// # Errors
    /// The system's answer; of no consequence.
    pub fn prefetch(&self, offset: u64, len: u64, event: WaitEvent) -> io::Result<()> {
        let _waiting = wait_event::during(event);
        self.with(|handle| {
            let advice = PosixFadviseAdvice::POSIX_FADV_WILLNEED;
            Ok(posix_fadvise(handle, offset as i64, len as i64, advice)?)
        })
    }

    /// Runs `call` with the kernel descriptor, which is valid only meanwhile.
    ///
    /// # Errors
    /// If the file cannot be opened again, or what `call` returns.
    pub fn with_fd<R>(&self, call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        self.with(|handle| call(handle.as_fd()))
    }

    /// As it was opened. C: `FilePathName`.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fd = self.0.handle.try_borrow().ok().and_then(|h| h.as_ref().map(AsRawFd::as_raw_fd));
        f.debug_struct("File").field("path", &self.0.path).field("fd", &fd).finish()
    }
}
