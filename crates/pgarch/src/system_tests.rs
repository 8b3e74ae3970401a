//! The real world's part of the trait, in a directory of its own.

use miscinit::shell::Outcome;
use wal::segment;

use crate::Archive;
use crate::backlog::Backlog;
use crate::system::System;

/// A `pg_wal` of this thread's own.
struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("archive_status")).unwrap();
        segment::set_wal_dir(Some(dir.path()));
        Dir(dir)
    }

    fn mark(&self, name: &str) {
        std::fs::write(self.0.path().join("archive_status").join(name), "").unwrap();
    }

    fn has_mark(&self, name: &str) -> bool {
        self.0.path().join("archive_status").join(name).exists()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        segment::set_wal_dir(None);
    }
}

const SEGMENT: &str = "000000010000000000000001";

#[test]
fn marks() {
    let dir = Dir::new();
    let mut system = System::default();
    assert_eq!(system.list_ready().unwrap(), Vec::<String>::new());
    dir.mark(&format!("{SEGMENT}.ready"));
    dir.mark("000000010000000000000002.done");
    assert_eq!(system.list_ready().unwrap(), [SEGMENT]);
    assert!(system.is_ready(SEGMENT).unwrap() && system.is_missing(SEGMENT));
    std::fs::write(dir.0.path().join(SEGMENT), "").unwrap();
    assert!(!system.is_missing(SEGMENT));
    system.rename_to_done(SEGMENT).unwrap();
    assert!(dir.has_mark(&format!("{SEGMENT}.done")) && !system.is_ready(SEGMENT).unwrap());
    assert!(system.rename_to_done(SEGMENT).is_err(), "there is no mark any more");
    assert!(system.unlink_ready(SEGMENT).is_err());
    dir.mark(&format!("{SEGMENT}.ready"));
    system.unlink_ready(SEGMENT).unwrap();
    assert!(!dir.has_mark(&format!("{SEGMENT}.ready")));
}

#[test]
fn a_directory_that_cannot_be_read_ends_the_archiver() {
    let dir = Dir::new();
    std::fs::remove_dir(dir.0.path().join("archive_status")).unwrap();
    let error = Backlog::default().next(&mut System::default()).unwrap_err();
    assert!(error.message.starts_with("could not open directory \""), "{}", error.message);
}

#[test]
fn commands_run() {
    let mut system = System::default();
    for (command, outcome) in [
        ("exit 3", Outcome::Exited(3)),
        ("kill -TERM $$", Outcome::Signaled(15)),
        ("head -c 10000000 /dev/zero | tr '\\0' x | cat > /dev/null", Outcome::Exited(0)),
    ] {
        assert_eq!(system.run(command).unwrap(), outcome, "{command}");
    }
}

#[test]
fn a_large_backlog_is_read_once() {
    let dir = Dir::new();
    let mut system = System::default();
    let names: Vec<String> = (0..3000).map(|n| format!("{:024X}", n * 7 % 3000)).collect();
    names.iter().for_each(|name| dir.mark(&format!("{name}.ready")));
    let mut backlog = Backlog::default();
    let mut last = backlog.next(&mut system).unwrap().unwrap();
    // One that comes later than the look, and would be first.
    dir.mark("00000002.history.ready");
    for _ in 1..3000 {
        let next = backlog.next(&mut system).unwrap().unwrap();
        assert!(last < next, "{last} {next}");
        last = next;
    }
    assert_eq!(backlog.next(&mut system).unwrap().unwrap(), "00000002.history");
}
