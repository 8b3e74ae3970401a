//! The interlock: a System V segment that keeps a second postmaster out while a process of the first one lives.
//!
//! postmaster.pid is not enough: after a kill -9 of the postmaster its sessions go on working, and deleting
//! the file would let a second postmaster recover the same files under their hands. A System V segment has what
//! no file has, a count of attached processes that the kernel keeps, inherited through fork and lowered at
//! death. Only the header is in it; the memory itself is an anonymous mapping.
//!
//! - **I1** The key comes from the data directory's inode; one taken by somebody else moves us to the next.
//! - **I2** A segment is ours if magic, device and inode match; ours and attached: refuse to start.
//! - **I3** Every process that uses shared memory stays attached; the logger and the stats collector, which
//!   outlive a crash, detach.
//!
//! C counterpart: sysv_shmem.c. The header is byte for byte PostgreSQL's, so each refuses the other's directory.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::SqlState;
use elog::{PgError, Result, fatal};

use crate::errno_text;

/// What the interlock's memory holds. C: `PGShmemHeader`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    magic: i32,
    creator_pid: i32,
    total_size: u64,
    free_offset: u64,
    dsm_control: u32,
    _padding: u32,
    index: u64,
    device: u64,
    inode: u64,
}

const MAGIC: i32 = 679_834_894;
const HEADER_SIZE: usize = 56;
const _: () = assert!(size_of::<Header>() == HEADER_SIZE);

/// Where this process has it attached; 0 if it has not.
static ATTACHED_AT: AtomicUsize = AtomicUsize::new(0);

/// The interlock, held.
#[derive(Debug)]
pub(crate) struct Interlock {
    key: i32,
    id: i32,
}

/// What a segment with our key turned out to be. C: `IpcMemoryState`.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Could not find out: treat as in use.
    Unknown,
    /// Ours, and a process is attached.
    Attached,
    /// Gone while we looked.
    Gone,
    /// Not PostgreSQL's, or of another data directory.
    Foreign,
    /// Ours, left behind.
    Unattached,
}

impl Interlock {
    /// Takes it, or says who is in the way. C: `PGSharedMemoryCreate`.
    pub(crate) fn take(data_dir: &Path, total_size: usize) -> Result<Interlock> {
        let (device, inode) = identity(data_dir).map_err(|e| {
            fatal!(
                SqlState::INTERNAL_ERROR,
                "could not stat data directory \"{}\": {}",
                data_dir.display(),
                errno_text(&e)
            )
        })?;
        // I1. Keys are 32 bits; 0 would be IPC_PRIVATE.
        let mut key = inode as i32;
        loop {
            if key == libc::IPC_PRIVATE {
                key = key.wrapping_add(1);
            }
            if let Some(id) = create(key)? {
                let header = Header {
                    magic: MAGIC,
                    creator_pid: std::process::id() as i32,
                    total_size: total_size as u64,
                    free_offset: HEADER_SIZE as u64,
                    dsm_control: 0,
                    _padding: 0,
                    index: 0,
                    device,
                    inode,
                };
                attach_new(id, header)?;
                return Ok(Interlock { key, id });
            }
            // SAFETY: no memory arguments. Size 0 finds a segment of any size.
            let id = unsafe { libc::shmget(key, 0, 0) };
            let state = if id < 0 { State::Foreign } else { examine(id, device, inode) };
            match state {
                State::Attached | State::Unknown => {
                    return Err(still_in_use_error(i64::from(key) as u64, i64::from(id) as u64, data_dir));
                }
                State::Gone => {}
                State::Foreign => key = key.wrapping_add(1),
                // SAFETY: no memory arguments with IPC_RMID. Failing means somebody else removed it: try again;
                // if it cannot be removed at all it is not ours to use.
                State::Unattached => unsafe {
                    if libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) != 0 {
                        key = key.wrapping_add(1);
                    }
                },
            }
        }
    }

    /// As in line 7 of postmaster.pid.
    pub(crate) fn key(&self) -> u64 {
        i64::from(self.key) as u64
    }

    pub(crate) fn id(&self) -> u64 {
        i64::from(self.id) as u64
    }

    /// Detaches and removes it. C: `IpcMemoryDetach`, `IpcMemoryDelete`.
    pub(crate) fn destroy(self) {
        detach();
        // SAFETY: no memory arguments with IPC_RMID. That it is gone already is fine.
        unsafe { libc::shmctl(self.id, libc::IPC_RMID, ptr::null_mut()) };
    }
}

/// Gives the attachment up in this process only. C: the `shmdt` in `PGSharedMemoryDetach`.
pub fn detach() {
    let at = ATTACHED_AT.swap(0, Ordering::Relaxed);
    if at != 0 {
        // SAFETY: the address came from shmat and is used nowhere else.
        unsafe { libc::shmdt(at as *const c_void) };
    }
}

/// Whether the segment with this identifier (line 7 of a stale postmaster.pid) still has users that belong
/// to this data directory. The key is what the error message shows. C: `PGSharedMemoryIsInUse`.
pub fn in_use(data_dir: &Path, key: u64, id: u64) -> bool {
    let _ = key;
    let Ok(id) = i32::try_from(id as i64) else { return false };
    let Ok((device, inode)) = identity(data_dir) else { return true };
    match examine(id, device, inode) {
        State::Attached | State::Unknown => true,
        State::Gone | State::Foreign | State::Unattached => false,
    }
}

/// FATAL with HINT, for a segment that [`in_use`] has found.
pub fn still_in_use_error(key: u64, id: u64, data_dir: &Path) -> PgError {
    fatal!(
        SqlState::LOCK_FILE_EXISTS,
        "pre-existing shared memory block (key {key}, ID {id}) is still in use"
    )
    .hint(format!(
        "Terminate any old server processes associated with data directory \"{}\".",
        data_dir.display()
    ))
}

fn identity(data_dir: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(data_dir)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Makes a segment with this key; `None` if the key is taken. C: `InternalIpcMemoryCreate`.
fn create(key: i32) -> Result<Option<i32>> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
    // SAFETY: no memory arguments.
    let id = unsafe { libc::shmget(key, HEADER_SIZE, flags) };
    if id >= 0 {
        return Ok(Some(id));
    }
    let os_error = io::Error::last_os_error();
    match os_error.raw_os_error() {
        // EINVAL: a segment with this key exists and is smaller than our header. EIDRM: it is being removed.
        Some(libc::EEXIST | libc::EACCES | libc::EIDRM) => Ok(None),
        // SAFETY: no memory arguments.
        Some(libc::EINVAL) if unsafe { libc::shmget(key, 0, 0) } >= 0 => Ok(None),
        _ => Err(create_failed(key, flags, &os_error)),
    }
}

fn create_failed(key: i32, flags: i32, os_error: &io::Error) -> PgError {
    let error =
        fatal!(SqlState::INTERNAL_ERROR, "could not create shared memory segment: {}", errno_text(os_error))
            .detail(format!(
                "Failed system call was shmget(key={}, size={HEADER_SIZE}, 0{flags:o}).",
                key as u32
            ));
    match os_error.raw_os_error() {
        Some(libc::ENOSPC) => error.hint(
            "This error does *not* mean that you have run out of disk space.  It occurs either if all available \
             shared memory IDs have been taken, in which case you need to raise the SHMMNI parameter in your \
             kernel, or because the system's overall limit for shared memory has been reached.\n\
             The PostgreSQL documentation contains more information about shared memory configuration.",
        ),
        _ => error,
    }
}

fn attach_new(id: i32, header: Header) -> Result<()> {
    // SAFETY: a null address lets the kernel choose where.
    let at = unsafe { libc::shmat(id, ptr::null(), 0) };
    if at as isize == -1 {
        let os_error = io::Error::last_os_error();
        // SAFETY: no memory arguments with IPC_RMID; nobody else knows this segment yet.
        unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) };
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "could not attach shared memory segment: {}",
            errno_text(&os_error)
        )
        .detail(format!("Failed system call was shmat(id={id}, addr=(nil), flags=0x0).")));
    }
    // SAFETY: at least HEADER_SIZE bytes, page-aligned, made by us a moment ago.
    unsafe { at.cast::<Header>().write(header) };
    ATTACHED_AT.store(at as usize, Ordering::Relaxed);
    Ok(())
}

/// Whose it is and whether anybody uses it (I2). C: `PGSharedMemoryAttach`.
fn examine(id: i32, device: u64, inode: u64) -> State {
    // SAFETY: all-zero bytes are a valid shmid_ds, and shmctl fills it in.
    let mut status = unsafe { std::mem::zeroed::<libc::shmid_ds>() };
    // SAFETY: the buffer is a shmid_ds, as IPC_STAT wants.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, &mut status) } != 0 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINVAL | libc::EIDRM) => State::Gone,
            Some(libc::EACCES) => State::Foreign,
            _ => State::Unknown,
        };
    }
    if (status.shm_segsz as usize) < HEADER_SIZE {
        return State::Foreign;
    }
    // Read-only would do, but is not what PostgreSQL asks for: a segment we may only read is not ours.
    // SAFETY: a null address lets the kernel choose where.
    let at = unsafe { libc::shmat(id, ptr::null(), 0) };
    if at as isize == -1 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINVAL | libc::EIDRM) => State::Gone,
            Some(libc::EACCES) => State::Foreign,
            _ => State::Unknown,
        };
    }
    // SAFETY: at least HEADER_SIZE bytes (checked above), page-aligned; integers may hold any bytes. Then
    // detached, and not used again.
    let header = unsafe {
        let header = at.cast::<Header>().read();
        libc::shmdt(at);
        header
    };
    if header.magic != MAGIC || header.device != device || header.inode != inode {
        return State::Foreign;
    }
    // As counted before we attached ourselves.
    if status.shm_nattch == 0 { State::Unattached } else { State::Attached }
}

#[cfg(test)]
mod tests;
