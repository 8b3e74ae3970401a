//! A standby of a primary that is a script: WAL comes in pieces of any size, the walreceiver dies, what comes is damaged, the
//! primary is another one afterwards.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use replication::walrcv::Flushed;

use super::*;
use crate::source::Upstream;

/// What happens while the startup process sleeps.
#[derive(Clone, Debug)]
enum Step {
    /// Everything up to here has arrived; behind it lies something else.
    Upto(u64),
    /// Up to here, but the last 12,000 bytes are not what was sent.
    Damaged(u64),
    /// The walreceiver ends.
    Dies,
    /// The timeline ends; the primary has another one, with this history.
    Ends(String),
    /// A promotion is asked for.
    Promote,
    /// The settings have changed.
    Reload,
}

/// The walreceiver and its primary.
struct Script {
    /// The primary's `pg_wal`.
    primary: PathBuf,
    steps: VecDeque<Step>,
    streaming: bool,
    flushed: Flushed,
    /// What was asked of it.
    said: Vec<String>,
}

struct Fake(Rc<RefCell<Script>>);

impl Script {
    fn new(primary: &Path, steps: Vec<Step>) -> Script {
        let none = Flushed { lsn: Lsn(0), latest_chunk_start: Lsn(0), timeline: TimeLineId(0) };
        let steps = VecDeque::from(steps);
        Script { primary: primary.to_owned(), steps, streaming: false, flushed: none, said: Vec::new() }
    }

    /// From the beginning of its segment up to `upto`, within one segment.
    fn receive(&mut self, upto: u64, damage: bool) {
        let number = Lsn(upto - 1).0 / u64::from(SEGMENT);
        let name = wal::segment::name(self.flushed.timeline, number, wal::geometry());
        let mut bytes = std::fs::read(self.primary.join(&name)).unwrap();
        let valid = (upto - number * u64::from(SEGMENT)) as usize;
        bytes[valid..].fill(0xAA);
        if damage {
            bytes[valid - 12_000..valid].fill(0xBB);
        }
        std::fs::write(Path::new("pg_wal").join(name), bytes).unwrap();
        self.flushed.latest_chunk_start = self.flushed.lsn;
        self.flushed.lsn = Lsn(upto);
    }

    fn step(&mut self) {
        match self.steps.pop_front().expect("the startup process waits, and nothing is left to come") {
            Step::Upto(upto) => self.receive(upto, false),
            Step::Damaged(upto) => self.receive(upto, true),
            Step::Dies => self.streaming = false,
            Step::Ends(history) => {
                std::fs::copy(self.primary.join(&history), Path::new("pg_wal").join(&history)).unwrap();
                self.streaming = false;
            }
            Step::Promote => wal::recovery::set_promote_triggered(),
            Step::Reload => crate::source::request_restart(true),
        }
    }
}

impl Upstream for Fake {
    fn request(&mut self, timeline: TimeLineId, start: Lsn) {
        assert!(wal::startup::install_allowed());
        let mut script = self.0.borrow_mut();
        assert!(!script.streaming);
        // As the real one does before it streams.
        let history = wal::timeline::file_name(timeline);
        if timeline != TimeLineId(1) {
            std::fs::copy(script.primary.join(&history), Path::new("pg_wal").join(&history)).unwrap();
        }
        let start = start.0 / u64::from(SEGMENT);
        script.said.push(format!("start timeline {} segment {start}", timeline.0));
        script.streaming = true;
        // What has been received on this timeline stays received.
        if script.flushed.timeline != timeline {
            script.flushed = Flushed { lsn: Lsn(start * u64::from(SEGMENT)), timeline, ..script.flushed };
        }
    }

    fn forget(&mut self) {
        let mut script = self.0.borrow_mut();
        assert!(!script.streaming);
        script.flushed.timeline = TimeLineId(0);
    }

    fn streaming(&self) -> bool {
        self.0.borrow().streaming
    }

    fn shutdown(&mut self) -> Result<()> {
        let mut script = self.0.borrow_mut();
        if std::mem::take(&mut script.streaming) {
            script.said.push("stop".to_owned());
        }
        Ok(())
    }

    fn flushed(&self) -> Flushed {
        self.0.borrow().flushed
    }

    fn force_reply(&mut self) {}

    fn sleep(&mut self) {
        self.0.borrow_mut().step();
    }
}

/// Starts as a standby of the script; returns what the script was asked.
fn follow(primary: &Path, steps: Vec<Step>) -> Vec<String> {
    let script = Rc::new(RefCell::new(Script::new(primary, steps)));
    start_with(&Counted::default(), Box::new(Fake(Rc::clone(&script)))).unwrap();
    let script = script.borrow();
    assert!(script.steps.is_empty(), "never waited for: {:?}", script.steps);
    assert!(wal::startup::install_allowed());
    script.said.clone()
}

/// Pieces of so many bytes, from one position to another.
fn pieces(from: Lsn, upto: Lsn, size: u64) -> Vec<Step> {
    let inner = (from.0 + size..upto.0).step_by(size as usize);
    inner.chain([upto.0]).map(Step::Upto).collect()
}

/// The cluster in `dir` is a copy again, without WAL.
fn put_back(dir: &Path, base: &Path) {
    for sub in ["pg_wal", "base", "global", "pg_xact"] {
        std::fs::remove_dir_all(dir.join(sub)).unwrap();
    }
    copy_all(base, dir);
    std::fs::remove_dir_all(dir.join("pg_wal")).unwrap();
    std::fs::create_dir(dir.join("pg_wal")).unwrap();
    std::fs::write(dir.join("standby.signal"), "").unwrap();
}

/// A stopped cluster, and WAL that its primary wrote afterwards.
struct Past<'a> {
    dir: &'a Path,
    base: &'a Path,
    timeline: TimeLineId,
    /// Where that WAL begins and ends, in this segment.
    from: Lsn,
    end: Lsn,
    segment: u64,
}

impl Past<'_> {
    fn start(&self, timeline: TimeLineId) -> String {
        format!("start timeline {} segment {}", timeline.0, self.segment)
    }

    /// Through death, damage and a change of settings, to a promotion; returns where the new timeline ends.
    fn every_accident(&self, primary: &Path) -> Lsn {
        put_back(self.dir, self.base);
        let middle = Lsn(self.from.0 + 9000);
        let accidents = vec![
            Step::Dies,
            Step::Upto(middle.0),
            Step::Damaged(middle.0 + 12_000),
            Step::Upto(middle.0),
            Step::Reload,
        ];
        let steps =
            [pieces(self.from, middle, 701), accidents, pieces(middle, self.end, 3001), vec![Step::Promote]];
        let (start, stop) = (self.start(self.timeline), "stop".to_owned());
        life(self.dir, || {
            let said = follow(primary, steps.concat());
            // Begun; after its death; after the damage; with other settings; and the end.
            assert_eq!(said, [&start, &start, &stop, &start, &stop, &start, &stop].map(String::clone));
            for block in 20..60 {
                assert_eq!(item_of(block), format!("block {block}").as_bytes());
            }
            assert_eq!(item_of(60), b"the last one");
            assert_eq!(wal::timeline().0, self.timeline.0 + 1);
            log_page(61, b"on the new timeline");
            wal::insert_lsn()
        })
    }

    /// The same when its own segment goes on beyond that point, with what the old primary did that nobody else has; the history
    /// of the new timeline is there from the beginning.
    fn what_nobody_followed_is_not_replayed(&self, old_primary: &Path, primary: &Path, last: Lsn) {
        put_back(self.dir, self.base);
        let next = TimeLineId(self.timeline.0 + 1);
        let own = wal::segment::name(self.timeline, self.segment, wal::geometry());
        let history = wal::timeline::file_name(next);
        std::fs::copy(old_primary.join(&own), self.dir.join("pg_wal").join(&own)).unwrap();
        std::fs::copy(primary.join(&history), self.dir.join("pg_wal").join(&history)).unwrap();
        let steps = [pieces(self.end, last, 5000), vec![Step::Promote]].concat();
        life(self.dir, || {
            let said = follow(primary, steps);
            assert_eq!(said, [self.start(next), "stop".to_owned()]);
            assert_eq!(item_of(61), b"on the new timeline");
            assert_eq!(item_of(60), b"the last one", "and not what the old primary made of it");
        });
    }

    /// To where another standby left, and then along its timeline.
    fn along_a_new_timeline(&self, primary: &Path, last: Lsn) {
        put_back(self.dir, self.base);
        let next = TimeLineId(self.timeline.0 + 1);
        let steps = [
            pieces(self.from, self.end, 40_000),
            vec![Step::Ends(wal::timeline::file_name(next))],
            pieces(self.end, last, 5000),
            vec![Step::Promote],
        ];
        life(self.dir, || {
            let said = follow(primary, steps.concat());
            assert_eq!(said, [self.start(self.timeline), self.start(next), "stop".to_owned()]);
            assert_eq!(item_of(60), b"the last one");
            assert_eq!(item_of(61), b"on the new timeline");
            assert_eq!(wal::timeline().0, next.0 + 1);
            checkpointer::request_checkpoint(CheckpointFlags::SHUTDOWN).unwrap();
        });
    }
}

/// The latch that a walreceiver set before its end was seen does not cut the rest short.
fn rests_after_a_quick_end(dir: &Path) {
    let interval = std::time::Duration::from_millis(30);
    set("wal_retrieve_retry_interval", "30ms");
    life(dir, || {
        let mut source = Source::new(true, Box::new(crate::source::WalReceiver));
        let request = wal::PageRequest { page: Lsn(8192), need: 100, record: Lsn(8192) };
        let began = std::time::Instant::now();
        source.rest(request).unwrap();
        shmem::latch::set_my_latch_from_handler();
        source.rest(request).unwrap();
        assert!(began.elapsed() >= interval, "{:?}", began.elapsed());
    });
    set("wal_retrieve_retry_interval", "1ms");
}

/// See the module.
pub(super) fn follows_a_primary(dir: &Path) {
    let outside = tempfile::tempdir().unwrap();
    let [base, first, lost, second] =
        ["base", "first", "lost", "second"].map(|name| outside.path().join(name));
    for (name, value) in [
        ("recovery_target_name", ""),
        ("recovery_target_timeline", "latest"),
        ("restore_command", ""),
        ("primary_conninfo", "host=nowhere"),
        ("wal_retrieve_retry_interval", "1ms"),
    ] {
        set(name, value);
    }
    rests_after_a_quick_end(dir);
    let (timeline, from) = life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        checkpointer::request_checkpoint(CheckpointFlags::SHUTDOWN).unwrap();
        (wal::timeline(), wal::control_file::read().unwrap().checkpoint)
    });
    copy_all(dir, &base);
    let end = life(dir, || {
        start_cluster(&NoCheckpoint).unwrap();
        for block in 20..60 {
            log_page(block, format!("block {block}").as_bytes());
        }
        // A record over several pages, whose end a piece will not have.
        wal::flush(wal::records::log_noop(&[7; 30_000]));
        log_page(60, b"the last one");
        wal::insert_lsn()
    });
    copy_all(&dir.join("pg_wal"), &first);
    life(dir, || {
        start_cluster(&Counted::default()).unwrap();
        log_page(60, b"nobody has this");
    });
    copy_all(&dir.join("pg_wal"), &lost);
    let segment = from.0 / u64::from(SEGMENT);
    assert_eq!(segment, Lsn(end.0 - 1).0 / u64::from(SEGMENT), "the script has one segment");
    let past = Past { dir, base: &base, timeline, from, end, segment };
    let last = past.every_accident(&first);
    assert!(!dir.join("standby.signal").exists());
    copy_all(&dir.join("pg_wal"), &second);
    past.what_nobody_followed_is_not_replayed(&lost, &second, last);
    past.along_a_new_timeline(&second, last);
    set("primary_conninfo", "");
}
