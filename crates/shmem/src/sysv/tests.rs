//! The interlock against real System V segments.

use tempfile::TempDir;

use super::*;
use crate::testing::{Child, End, alone, segment, until};
use crate::{Reservation, Segment};

fn data_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn create_segment(data_dir: &Path) -> Result<Segment> {
    Segment::create(Reservation::new(), data_dir)
}

/// Number of processes attached; `None` if the segment is gone.
fn attached(id: u64) -> Option<u64> {
    // SAFETY: all-zero bytes are a valid shmid_ds.
    let mut status = unsafe { std::mem::zeroed::<libc::shmid_ds>() };
    // SAFETY: the buffer is a shmid_ds.
    (unsafe { libc::shmctl(id as i32, libc::IPC_STAT, &mut status) } == 0).then_some(status.shm_nattch)
}

/// A segment somebody else made, removed when it goes out of scope.
struct Stranger(i32);

impl Stranger {
    fn with_key(key: i32, size: usize) -> Stranger {
        // SAFETY: no memory arguments.
        let id = unsafe { libc::shmget(key, size, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
        assert!(id >= 0, "{}", io::Error::last_os_error());
        Stranger(id)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // SAFETY: no memory arguments with IPC_RMID.
        unsafe { libc::shmctl(self.0, libc::IPC_RMID, ptr::null_mut()) };
    }
}

#[test]
fn header_is_postgresqls() {
    let _alone = alone();
    let dir = data_dir();
    let segment = create_segment(dir.path()).unwrap();
    let (key, id) = segment.interlock_ids().unwrap();
    let inode = fs::metadata(dir.path()).unwrap().ino();
    assert_eq!(key as u32, inode as u32);
    let at = ATTACHED_AT.load(Ordering::Relaxed) as *const u8;
    // SAFETY: attached, HEADER_SIZE bytes long.
    let bytes = unsafe { std::slice::from_raw_parts(at, HEADER_SIZE) };
    assert_eq!(bytes[..4], 679_834_894i32.to_le_bytes());
    assert_eq!(bytes[4..8], (std::process::id() as i32).to_le_bytes());
    assert_eq!(bytes[8..16], (segment.size() as u64).to_le_bytes());
    assert_eq!(bytes[16..24], 56u64.to_le_bytes());
    assert_eq!(bytes[24..40], [0; 16]);
    assert_eq!(bytes[40..48], fs::metadata(dir.path()).unwrap().dev().to_le_bytes());
    assert_eq!(bytes[48..], inode.to_le_bytes());
    segment.destroy();
    assert_eq!(attached(id), None);
}

/// A session outlives its postmaster, the next postmaster is refused; the session ends, it may start.
#[test]
fn a_surviving_child_keeps_a_second_postmaster_out() {
    let _alone = alone();
    let dir = data_dir();
    let segment = create_segment(dir.path()).unwrap();
    let (key, id) = segment.interlock_ids().unwrap();
    assert_eq!(attached(id), Some(1));
    let session = Child::run(|| {
        loop {
            std::thread::park();
        }
    });
    let logger = Child::run(|| {
        Segment::detach_in_child();
        loop {
            std::thread::park();
        }
    });
    until(|| attached(id) == Some(2));
    // The postmaster is killed: it loses its attachment and cleans nothing up.
    detach();
    std::mem::forget(segment);
    assert!(in_use(dir.path(), key, id));
    let error = create_segment(dir.path()).err().unwrap();
    let message = format!("pre-existing shared memory block (key {key}, ID {id}) is still in use");
    assert_eq!((error.message.as_ref(), error.sqlstate.as_str()), (message.as_str(), "F0001"));
    assert_eq!(error.severity, elog::Severity::Fatal);
    let directory = dir.path().display();
    let hint = format!("Terminate any old server processes associated with data directory \"{directory}\".");
    assert_eq!(error.hint, Some(hint));
    drop(session);
    until(|| attached(id) == Some(0));
    assert!(!in_use(dir.path(), key, id), "the logger does not count");
    let next = create_segment(dir.path()).unwrap();
    assert_eq!(next.interlock_ids().unwrap().0, key, "the old one was removed, the key is free");
    assert_eq!(attached(id), None);
    drop(logger);
    next.destroy();
}

#[test]
fn a_foreign_segment_moves_us_to_the_next_key() {
    let _alone = alone();
    for size in [8, HEADER_SIZE, 8192] {
        let dir = data_dir();
        let key = fs::metadata(dir.path()).unwrap().ino() as i32;
        let stranger = Stranger::with_key(key, size);
        let segment = create_segment(dir.path()).unwrap();
        let (used, id) = segment.interlock_ids().unwrap();
        assert_eq!(used as i32, key.wrapping_add(1));
        assert!(in_use(dir.path(), used, id));
        assert!(!in_use(dir.path(), used, stranger.0 as u64), "not ours");
        segment.destroy();
    }
}

#[test]
fn another_directorys_segment_is_foreign() {
    let _alone = alone();
    let (ours, other) = (data_dir(), data_dir());
    let segment = create_segment(ours.path()).unwrap();
    let (key, id) = segment.interlock_ids().unwrap();
    assert!(in_use(ours.path(), key, id));
    assert!(!in_use(other.path(), key, id));
    segment.destroy();
    assert!(!in_use(ours.path(), key, id));
    assert!(!in_use(ours.path(), u64::MAX, u64::MAX), "nonsense in a pid file");
}

#[test]
fn reset_remakes_it() {
    let _alone = alone();
    let dir = data_dir();
    let mut segment = create_segment(dir.path()).unwrap();
    let (key, id) = segment.interlock_ids().unwrap();
    segment.reset().unwrap();
    let (key_after, id_after) = segment.interlock_ids().unwrap();
    assert_eq!(key_after, key);
    assert_eq!((attached(id), attached(id_after)), (None, Some(1)));
    segment.destroy();
    assert_eq!(attached(id_after), None);
}

#[test]
fn missing_directory_is_an_error() {
    let _alone = alone();
    let error = create_segment(Path::new("/nonexistent/data")).err().unwrap();
    let text = "could not stat data directory \"/nonexistent/data\": No such file or directory";
    assert_eq!(error.message, text);
}

#[test]
fn private_segment_has_no_interlock() {
    let _alone = alone();
    let segment = segment(|_| ());
    assert_eq!(segment.interlock_ids(), None);
    assert_eq!(Child::run(Segment::detach_in_child).wait(), End::Code(0));
    segment.destroy();
}
