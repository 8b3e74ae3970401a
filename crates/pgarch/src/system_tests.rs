//! The real world's part of the trait, in a directory of its own.

use std::time::Duration;

use miscinit::shell::Outcome;
use wal::segment;

use crate::Archive;
use crate::archive::{Force, Ticket};
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
    let error = Backlog::default().next(&mut System::default(), |_| false).unwrap_err();
    assert!(error.message.starts_with("could not open directory \""), "{}", error.message);
}

/// SIGQUIT's meaning belongs to the process.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The next command that ends.
fn next_end(system: &mut System) -> (Ticket, Outcome) {
    loop {
        if let Some((ticket, outcome)) = system.wait_for_command(None) {
            return (ticket, outcome.unwrap());
        }
    }
}

#[test]
fn commands_run() {
    let _alone = ALONE.lock().unwrap();
    let mut system = System::default();
    for (command, outcome) in [
        ("exit 3", Outcome::Exited(3)),
        ("kill -TERM $$", Outcome::Signaled(15)),
        ("head -c 10000000 /dev/zero | tr '\\0' x | cat > /dev/null", Outcome::Exited(0)),
    ] {
        let ticket = system.start(command).unwrap();
        assert_eq!(next_end(&mut system), (ticket, outcome), "{command}");
    }
}

#[test]
fn commands_run_beside_each_other() {
    let _alone = ALONE.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut system = System::default();
    // Each waits for the next, and the last begins when all others run.
    let dir = folder.path().display();
    let until = |n: usize| format!("until test -e {dir}/{n}; do sleep 0.01; done; : > {dir}/{}", n - 1);
    let tickets: Vec<Ticket> = (1..9).map(|n| system.start(&until(n)).unwrap()).collect();
    assert!(system.wait_for_command(Some(Duration::from_millis(1))).is_none());
    std::fs::write(format!("{dir}/8"), "").unwrap();
    let mut ended: Vec<Ticket> = (1..9).map(|_| next_end(&mut system).0).collect();
    ended.sort_unstable();
    assert_eq!(ended, tickets);
    // Not SIGTERM: that goes to the whole group, to which this test may belong.
    let tickets = [1, 2].map(|_| system.start("exec sleep 1000").unwrap());
    system.force(Force::Kill);
    let mut ended = [1, 2].map(|_| next_end(&mut system));
    ended.sort_unstable_by_key(|(ticket, _)| *ticket);
    assert_eq!(ended, tickets.map(|ticket| (ticket, Outcome::Signaled(9))));
}

#[test]
fn a_large_backlog_is_read_once() {
    let dir = Dir::new();
    let mut system = System::default();
    let names: Vec<String> = (0..3000).map(|n| format!("{:024X}", n * 7 % 3000)).collect();
    names.iter().for_each(|name| dir.mark(&format!("{name}.ready")));
    let mut backlog = Backlog::default();
    let mut last = backlog.next(&mut system, |_| false).unwrap().unwrap();
    // One that comes later than the look, and would be first.
    dir.mark("00000002.history.ready");
    for _ in 1..3000 {
        let next = backlog.next(&mut system, |_| false).unwrap().unwrap();
        assert!(last < next, "{last} {next}");
        last = next;
    }
    assert_eq!(backlog.next(&mut system, |_| false).unwrap().unwrap(), "00000002.history");
}
