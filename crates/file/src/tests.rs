//! Descriptors, faults and names.

use std::cell::RefCell;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::SqlState;
use shmem::wait_event::WaitEvent;

use crate::fault::{Action, Hook, Op};
use crate::*;

const EVENT: WaitEvent = WaitEvent::DATA_FILE_READ;
const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);
const NEW: OpenFlags = READ_WRITE.union(OpenFlags::CREATE);

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn bytes_come_back() {
    let dir = dir();
    let file = open(&dir.path().join("a"), NEW).unwrap();
    assert_eq!(file.write_at(b"hello", 10, EVENT).unwrap(), 5);
    assert_eq!(file.size().unwrap(), 15);
    let mut buf = [0; 10];
    assert_eq!(file.read_at(&mut buf, 12, EVENT).unwrap(), 3, "the file ends there");
    assert_eq!(&buf[..3], b"llo");
    let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(file.writev_at(&parts, 0, EVENT).unwrap(), 5);
    assert_eq!(file.read_at(&mut buf, 0, EVENT).unwrap(), 10);
    assert_eq!(&buf[..5], b"abcde");
    file.truncate(3, EVENT).unwrap();
    file.allocate(3, 100, EVENT).unwrap();
    assert_eq!(file.size().unwrap(), 103);
    file.sync(EVENT).unwrap();
    file.data_sync(EVENT).unwrap();
}

/// FD1, FD2.
#[test]
fn more_files_than_descriptors() {
    let dir = dir();
    vfd::set_max_open(4);
    let files: Vec<_> = (0..20u8)
        .map(|i| {
            let flags = NEW | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
            let file = open(&dir.path().join(i.to_string()), flags).unwrap();
            file.write_at(&[i], 0, EVENT).unwrap();
            file
        })
        .collect();
    assert_eq!(open_count(), 4);
    for _ in 0..3 {
        for (i, file) in files.iter().enumerate() {
            let mut byte = [0];
            file.read_at(&mut byte, 0, EVENT).unwrap();
            assert_eq!(byte[0] as usize, i);
            assert!(open_count() <= 4);
        }
    }
    close_all_kernel();
    assert_eq!(open_count(), 0);
    files[7].sync(EVENT).unwrap();
    assert_eq!(open_count(), 1);
    drop(files);
    assert_eq!(open_count(), 0);
    vfd::set_max_open(0);
}

#[test]
fn the_least_recently_used_goes_first() {
    let dir = dir();
    vfd::set_max_open(3);
    let make = |name: &str| open(&dir.path().join(name), NEW).unwrap();
    let (a, b, c) = (make("a"), make("b"), make("c"));
    a.size().unwrap();
    let _d = make("d");
    let is_open = |file: &File| format!("{file:?}").contains("Some");
    assert!(is_open(&a) && !is_open(&b) && is_open(&c));
    vfd::set_max_open(0);
}

type Seen = Rc<RefCell<Vec<(Op, PathBuf, u64, usize)>>>;

struct Script {
    seen: Seen,
    answer: fn(Op) -> Action,
}

impl Hook for Script {
    fn before(&self, op: Op, path: &Path, offset: u64, len: usize) -> Action {
        let name = PathBuf::from(path.file_name().unwrap());
        self.seen.borrow_mut().push((op, name, offset, len));
        (self.answer)(op)
    }
}

/// FD3, FD4.
#[test]
fn faults() {
    let dir = dir();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let hook = |answer| Box::new(Script { seen: seen.clone(), answer });
    fault::set_hook(Some(hook(|_| Action::Go)));
    let file = open(&dir.path().join("a"), NEW).unwrap();
    file.write_at(b"12345", 8, EVENT).unwrap();
    assert_eq!(*seen.borrow(), [(Op::Open, "a".into(), 0, 0), (Op::Write, "a".into(), 8, 5)]);
    fault::set_hook(Some(hook(|op| if op == Op::Write { Action::Short(2) } else { Action::Go })));
    let error = file.write_at(b"xyz", 0, EVENT).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert!(file.writev_at(&[IoSlice::new(b"abc")], 0, EVENT).is_err());
    let mut buf = [0; 2];
    file.read_at(&mut buf, 0, EVENT).unwrap();
    assert_eq!(&buf, b"ab", "what was allowed was written");
    fault::set_hook(Some(hook(|_| Action::Fail(libc::EIO))));
    for result in [file.sync(EVENT), file.truncate(0, EVENT), file.data_sync(EVENT)] {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
    }
    assert!(open(&dir.path().join("a"), READ_WRITE).is_err());
    assert!(unlink(&dir.path().join("a")).is_err());
    let error = fsync_path(&dir.path().join("a"), false).unwrap_err();
    assert!(error.message.ends_with("/a\": Input/output error"), "{}", error.message);
    assert_eq!((error.severity, error.sqlstate), (elog::Severity::Panic, SqlState::IO_ERROR), "FD5");
    fault::set_hook(None);
    assert_eq!(file.size().unwrap(), 13);
}

#[test]
fn names() {
    let dir = dir();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    open(&a, NEW).unwrap().write_at(b"a", 0, EVENT).unwrap();
    durable_rename(&a, &b).unwrap();
    assert!(!exists(&a) && exists(&b));
    let error = durable_rename(&a, &b).unwrap_err();
    assert_eq!(error.message, format!("could not open file \"{}\": No such file or directory", a.display()));
    assert_eq!(error.sqlstate, SqlState::UNDEFINED_FILE);
    durable_unlink(&b).unwrap();
    let error = durable_unlink(&b).unwrap_err();
    assert_eq!(
        error.message,
        format!("could not remove file \"{}\": No such file or directory", b.display())
    );
    let sub = dir.path().join("sub");
    create_dir(&sub).unwrap();
    let error = create_dir(&sub).unwrap_err();
    assert_eq!(error.message, format!("could not create directory \"{}\": File exists", sub.display()));
    fsync_path(&sub, true).unwrap();
    assert!(remove_dir_all(&sub) && !exists(&sub) && remove_dir_all(&sub));
}

#[test]
fn a_whole_directory_is_synced() {
    let dir = dir();
    std::fs::create_dir_all(dir.path().join("base/5")).unwrap();
    std::fs::create_dir(dir.path().join("pg_tblspc")).unwrap();
    std::fs::write(dir.path().join("base/5/1"), "x").unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    let begun = std::cell::RefCell::new(Vec::new());
    let begin = |file: &File| begun.borrow_mut().push(file.path().to_path_buf());
    let mut passes = Vec::new();
    sync_data_directory(&begin, &mut |pass, path| passes.push((pass, path.to_path_buf()))).unwrap();
    std::env::set_current_dir("/").unwrap();
    assert_eq!(begun.into_inner(), [PathBuf::from("./base/5/1")]);
    let at = |pass: &str, path: &str| {
        passes.iter().position(|(p, at)| p.ends_with(pass) && at == std::path::Path::new(path))
    };
    // Every file is begun before the first one is waited for; directories are only waited for.
    assert!(at("(pre-fsync)", "./base/5/1").unwrap() < at("(fsync)", "./base/5/1").unwrap());
    assert!(at("(fsync)", "./base/5").is_some() && at("(pre-fsync)", "./base/5").is_none());
}
