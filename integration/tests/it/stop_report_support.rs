//! What a stop says about itself, as a test reads it: forecasts, the status file, what `pg_ctl` shows, and clients that make a
//! stop slow.
//!
//! [`Watch`] looks at a stop from its order to its end and holds whatever it sees to what every stop promises: whole files, one
//! phase after the other, what is left only grows less.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use common::Lsn;
use integration::archive::{control, names_in};
use integration::{Cluster, Wire, pause, procfs, wait_for};
use serde_json::Value;

use crate::bounded_stop::segment_name;
use crate::replication_support::{Event, Program, SEGMENT_BYTES, Stream, ended, replication_session, rows};

/// In bytes.
pub(crate) const MB: u64 = 1 << 20;
/// The status file of a stop.
pub(crate) const STATUS: &str = "postmaster.stop";
/// What a stop and a forecast leave behind: nothing of these.
pub(crate) const FILES: [&str; 4] = [STATUS, "postmaster.forecast", "forecast", "deadline"];
/// The phases of a stop in their order.
const PHASES: [&str; 5] = ["sessions", "processes", "checkpoint", "wal", "leaving"];
/// The kinds of what a stop waits for.
const KINDS: [&str; 7] =
    ["session", "transaction", "process", "checkpoint", "walsender", "archiver", "total"];
/// What a stop may write itself: its last record and what comes with it.
const OWN_WAL: u64 = 16 * 1024;

/// One thing that a stop waits for, or would wait for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Item {
    pub(crate) kind: String,
    pub(crate) pid: Option<i32>,
    pub(crate) name: Option<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) unsent: Option<u64>,
    pub(crate) files: Option<u64>,
    pub(crate) initial: Option<u64>,
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) bound: Option<f64>,
    pub(crate) condition: Option<String>,
    pub(crate) detail: Option<String>,
}

impl Item {
    #[track_caller]
    fn of_json(value: &Value) -> Item {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let kind = text("kind").unwrap_or_else(|| panic!("no kind: {value}"));
        assert!(KINDS.contains(&kind.as_str()), "{value}");
        Item {
            kind,
            pid: value["pid"].as_i64().and_then(|pid| pid.try_into().ok()),
            name: text("name"),
            bytes: value["bytes"].as_u64(),
            unsent: value["unsent"].as_u64(),
            files: value["files"].as_u64(),
            initial: value["initial"].as_u64(),
            rate: value["rate"].as_f64(),
            seconds: value["seconds"].as_f64(),
            bound: value["bound"].as_f64(),
            condition: text("condition"),
            detail: text("detail"),
        }
    }

    /// A row of the SQL function: the step of the stop, and what is awaited in it.
    #[track_caller]
    fn of_row(row: &str) -> (Option<i32>, Item) {
        let columns: Vec<&str> = row.splitn(9, '|').collect();
        let [step, kind, pid, name, bytes, files, rate, seconds, detail] = columns[..] else {
            panic!("nine columns: {row}");
        };
        assert!(KINDS.contains(&kind), "{row}");
        let text = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        let item = Item {
            kind: kind.to_owned(),
            pid: parsed(pid),
            name: text(name),
            bytes: parsed(bytes),
            files: parsed(files),
            rate: parsed(rate),
            seconds: parsed(seconds),
            detail: text(detail),
            ..Item::default()
        };
        (parsed(step), item)
    }

    /// Says it that nothing moves? Known from JSON as a word, from SQL as text.
    pub(crate) fn is_not_moving(&self) -> bool {
        self.condition.as_deref() == Some("not_moving")
            || self.detail.as_deref().is_some_and(|detail| detail.contains("not moving"))
    }

    /// What is left, in bytes; of the archiver in files.
    fn left(&self) -> Option<u64> {
        if self.kind == "archiver" { self.files } else { self.bytes }
    }
}

/// A column that may be NULL.
#[track_caller]
fn parsed<T: std::str::FromStr>(column: &str) -> Option<T> {
    let value = || column.parse().unwrap_or_else(|_| panic!("{column} is no number"));
    (!column.is_empty()).then(value)
}

/// What a stop would wait for.
#[derive(Clone, Debug)]
pub(crate) struct Forecast {
    pub(crate) items: Vec<Item>,
    /// Until the end, as far as anybody can say.
    pub(crate) total: Option<f64>,
}

impl Forecast {
    #[track_caller]
    fn of(mut items: Vec<Item>) -> Forecast {
        let total = items.pop().expect("a row");
        assert_eq!(total.kind, "total", "{items:?}");
        let is_row = |item: &Item| item.kind != "total" && item.seconds.is_none_or(|seconds| seconds >= 0.0);
        assert!(items.iter().all(is_row), "{items:?}");
        let at = |kind: &str| items.iter().position(|item| item.kind == kind);
        for early in ["session", "transaction"] {
            assert!(at(early).is_none() || at(early) < at("checkpoint"), "the order of a stop: {items:?}");
        }
        Forecast { items, total: total.seconds }
    }

    /// As a session sees it.
    #[track_caller]
    pub(crate) fn by_sql(session: &mut Wire, mode: &str) -> Forecast {
        let rows = rows(session, &format!("SELECT * FROM pg_shutdown_forecast('{mode}')"));
        let (steps, items): (Vec<_>, Vec<_>) = rows.iter().map(|row| Item::of_row(row)).unzip();
        let steps: Vec<i32> = steps.into_iter().flatten().collect();
        assert!(steps.len() + 1 >= items.len() && steps.is_sorted(), "in the order of a stop: {rows:?}");
        Forecast::of(items)
    }

    /// As a program sees it. Nothing else happens.
    #[track_caller]
    pub(crate) fn by_program(cluster: &Cluster, mode: &str) -> Forecast {
        let output = cluster.pg_ctl(&["stop", "--forecast", "-m", mode, "--progress=json"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}{complaint}\n{}", cluster.log());
        let forecast = Forecast::of_text(&said);
        assert_eq!(files_of(cluster), [""; 0], "what was asked for is gone");
        forecast
    }

    /// Out of what `pg_ctl stop --forecast --progress=json` says: an object a line.
    #[track_caller]
    pub(crate) fn of_text(said: &str) -> Forecast {
        Forecast::of(json_values(said).iter().map(Item::of_json).collect())
    }

    /// Both.
    #[track_caller]
    pub(crate) fn both(cluster: &Cluster, mode: &str) -> [Forecast; 2] {
        let mut session = Wire::connect(cluster);
        let by_sql = Forecast::by_sql(&mut session, mode);
        session.quit();
        [by_sql, Forecast::by_program(cluster, mode)]
    }

    /// The rows of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Item> {
        self.items.iter().filter(|item| item.kind == kind).collect()
    }

    /// The only row of a kind.
    #[track_caller]
    pub(crate) fn one(&self, kind: &str) -> &Item {
        match self.all(kind)[..] {
            [item] => item,
            _ => panic!("one {kind}: {:?}", self.items),
        }
    }
}

/// JSON values one behind the other.
#[track_caller]
fn json_values(text: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.map(|value| value.unwrap_or_else(|e| panic!("{e}: {text}"))).collect()
}

/// Which of [`FILES`] are there.
pub(crate) fn files_of(cluster: &Cluster) -> Vec<&'static str> {
    FILES.into_iter().filter(|name| cluster.data_dir().join(name).exists()).collect()
}

/// The content of the status file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) pid: i32,
    pub(crate) mode: String,
    pub(crate) phase: String,
    pub(crate) since: f64,
    pub(crate) phase_since: f64,
    pub(crate) updated: f64,
    pub(crate) deadline: Option<f64>,
    pub(crate) awaited: Vec<Item>,
    pub(crate) seconds: Option<f64>,
}

impl Status {
    #[track_caller]
    fn of_json(value: &Value) -> Status {
        let text =
            |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned();
        let time = |name: &str| value[name].as_f64().unwrap_or_else(|| panic!("no {name}: {value}"));
        let awaited = value["awaited"].as_array().unwrap_or_else(|| panic!("no list: {value}"));
        Status {
            pid: value["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid"),
            mode: text("mode"),
            phase: text("phase"),
            since: time("since"),
            phase_since: time("phase_since"),
            updated: time("updated"),
            deadline: value["deadline"].as_f64(),
            awaited: awaited.iter().map(Item::of_json).collect(),
            seconds: value["seconds"].as_f64(),
        }
    }

    /// As the file has it now; `None` without one.
    #[track_caller]
    pub(crate) fn read(cluster: &Cluster) -> Option<Status> {
        let text = fs::read_to_string(cluster.data_dir().join(STATUS)).ok()?;
        assert!(text.ends_with('\n') && text.lines().count() == 1, "one line, whole: {text:?}");
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Some(Status::of_json(&value))
    }

    /// All that `pg_ctl --progress=json` has shown.
    #[track_caller]
    pub(crate) fn shown(said: &str) -> Vec<Status> {
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with('{')).collect();
        let values = json_values(&lines.join("\n"));
        let statuses = values.iter().filter_map(|value| value.get("status"));
        statuses.filter(|status| !status.is_null()).map(Status::of_json).collect()
    }

    /// What is awaited of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Item> {
        self.awaited.iter().filter(|item| item.kind == kind).collect()
    }

    /// The only one of a kind that is awaited, if there is one.
    pub(crate) fn one(&self, kind: &str) -> Option<&Item> {
        match self.all(kind)[..] {
            [item] => Some(item),
            _ => None,
        }
    }

    /// The processes that are awaited, sorted.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self.awaited.iter().filter_map(|item| item.pid).collect();
        pids.sort_unstable();
        pids
    }

    fn phase_number(&self) -> usize {
        PHASES.iter().position(|phase| *phase == self.phase).unwrap_or_else(|| panic!("{self:?}"))
    }

    /// What must be so in every one.
    #[track_caller]
    fn check(&self, postmaster: i32) {
        assert_eq!(self.pid, postmaster);
        assert!(["smart", "fast", "immediate"].contains(&self.mode.as_str()), "{self:?}");
        assert!(self.since <= self.phase_since && self.phase_since <= self.updated, "{self:?}");
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64();
        // Clocks may be set back a little, not by hours.
        assert!((now - 600.0..now + 1.0).contains(&self.updated), "{now}: {self:?}");
        assert!(self.awaited.iter().all(|item| item.pid.is_some() && item.kind != "total"), "{self:?}");
        let _ = self.phase_number();
    }

    /// What must be so after another one of the same stop. `grows` is what may be added to what is left.
    #[track_caller]
    fn check_after(&self, before: &Status, grows: &[(&str, u64)]) {
        let both = format!("{before:?}\n{self:?}");
        assert_eq!(self.since, before.since, "{both}");
        assert!(self.phase_number() >= before.phase_number(), "{both}");
        assert!(self.updated >= before.updated && self.phase_since >= before.phase_since, "{both}");
        for item in &self.awaited {
            let known = before.awaited.iter().find(|b| (b.kind == item.kind) && b.pid == item.pid);
            let Some((left, was)) = known.and_then(|known| item.left().zip(known.left())) else { continue };
            let more = grows.iter().find(|(kind, _)| *kind == item.kind).map_or(0, |(_, more)| *more);
            assert!(left <= was + more, "more is left than before:\n{both}");
            assert!(item.initial.is_none_or(|initial| initial >= left), "{both}");
        }
    }
}

/// A stop as somebody sees it who looks all the time.
pub(crate) struct Watch<'a> {
    cluster: &'a Cluster,
    postmaster: i32,
    /// What can be added by the stop itself to what is left of a kind.
    grows: Vec<(&'static str, u64)>,
    pub(crate) seen: Vec<Status>,
    began: Instant,
    looked: Instant,
    /// The longest time between two looks: how much this machine lets its processes wait.
    longest_pause: Duration,
}

impl<'a> Watch<'a> {
    /// From now on; the stop is ordered next. With an archive, the stop closes a segment of that many bytes.
    #[track_caller]
    pub(crate) fn new(cluster: &'a Cluster, segment: Option<u64>) -> Watch<'a> {
        assert_eq!(files_of(cluster), [""; 0], "nothing tells of a stop before there is one");
        let wal = OWN_WAL + segment.unwrap_or(0);
        Watch {
            cluster,
            postmaster: cluster.postmaster_pid(),
            grows: vec![("walsender", wal), ("archiver", u64::from(segment.is_some()))],
            seen: Vec::new(),
            began: Instant::now(),
            looked: Instant::now(),
            longest_pause: Duration::ZERO,
        }
    }

    /// One look; false once the postmaster has ended.
    #[track_caller]
    fn look(&mut self) -> bool {
        self.longest_pause = self.longest_pause.max(self.looked.elapsed());
        self.looked = Instant::now();
        let is_alive = procfs::is_alive(self.postmaster);
        let Some(status) = Status::read(self.cluster) else { return is_alive };
        assert!(is_alive || self.seen.last() == Some(&status), "the file outlives its server: {status:?}");
        match self.seen.last() {
            Some(last) if *last == status => {}
            Some(last) => status.check_after(last, &self.grows),
            None => {}
        }
        if self.seen.last() != Some(&status) {
            status.check(self.postmaster);
            self.seen.push(status);
        }
        is_alive
    }

    /// Looks until the last status is like this, and returns it.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        wait_for(&format!("the stop says {what}, not {:?}", self.seen.last()), || {
            let is_alive = self.look();
            let last = self.seen.last().filter(|status| is_so(status)).cloned();
            assert!(is_alive || last.is_some(), "the stop is over before {what}: {:#?}", self.seen);
            last
        })
    }

    /// Looks on while the test has something else to wait for.
    #[track_caller]
    pub(crate) fn meanwhile(&mut self, what: &str, is_so: impl Fn() -> bool) {
        wait_for(what, || {
            assert!(self.look(), "the stop is over before {what}");
            is_so().then_some(())
        });
    }

    /// Looks until the postmaster has ended, and returns how long the stop took.
    #[track_caller]
    pub(crate) fn until_over(&mut self) -> Duration {
        wait_for("the stop is over", || (!self.look()).then_some(()));
        let took = self.began.elapsed();
        assert_eq!(files_of(self.cluster), [""; 0], "they end with the stop");
        took
    }

    /// The phases that were seen.
    pub(crate) fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = self.seen.iter().map(|status| status.phase.as_str()).collect();
        phases.dedup();
        phases
    }

    /// What was left of something, each time that it was awaited.
    pub(crate) fn left_of(&self, kind: &str) -> Vec<u64> {
        self.seen.iter().filter_map(|status| status.one(kind)?.left()).collect()
    }

    /// The promise, bound + 2 s, for a machine that has time; one that lets this test wait lets the server wait too.
    #[track_caller]
    pub(crate) fn ended_within(&self, took: Duration, bound: Duration) {
        let limit = bound + Duration::from_secs(2) + 10 * self.longest_pause;
        eprintln!("stop with the bound {bound:?}: {took:?}; longest pause {:?}", self.longest_pause);
        assert!(took <= limit, "{took:?}, more than {limit:?}: {:#?}", self.seen);
    }
}

/// The forecast of a steady rate is right within a factor of two.
#[track_caller]
pub(crate) fn is_within_factor_2(expected: f64, took: Duration) {
    let took = took.as_secs_f64();
    eprintln!("expected {expected:.2} s, took {took:.2} s");
    assert!((expected / 2.0..=expected * 2.0).contains(&took), "expected {expected} s, took {took} s");
}

/// `pg_ctl stop` with these words, in the background; what it says is in its file.
#[track_caller]
pub(crate) fn pg_ctl_stop(cluster: &Cluster, name: &str, words: &[&str]) -> Program {
    let mut command = cluster.command("pg_ctl");
    command.arg("-D").arg(cluster.data_dir()).arg("stop").args(words);
    Program::spawn(cluster, name, &mut command)
}

/// The server has stopped as it should, and says so.
#[track_caller]
pub(crate) fn stopped_well(cluster: &Cluster) {
    assert_eq!(cluster.wait_for_end().code(), Some(0), "{}", cluster.log());
    assert_eq!(control(cluster, "Database cluster state"), "shut down");
    assert_eq!(cluster.processes(), []);
    let log = cluster.new_log();
    assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
}

/// Who comes now is refused, and hears whom the server waits for.
#[track_caller]
pub(crate) fn refused(cluster: &Cluster, mode: &str, reasons: &[&str]) {
    let answer = Wire::refusal(cluster);
    let [fatal, detail, eof] = &answer[..] else { panic!("a DETAIL: {answer:?}") };
    assert_eq!(
        (fatal.as_str(), eof.as_str()),
        ("FATAL:  57P03: the database system is shutting down", "EOF")
    );
    assert!(
        detail.starts_with("DETAIL:  The server ") && detail.contains(&format!(" in {mode} mode ")),
        "{detail}"
    );
    for reason in reasons {
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
}

/// A client of an application.
#[track_caller]
pub(crate) fn session(cluster: &Cluster, application: &str) -> Wire {
    let mut wire = Wire::open(cluster);
    let answer = wire.start_session(&[
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", application),
    ]);
    assert!(wire.pid != 0, "connecting: {answer:?}\n{}", cluster.log());
    wire
}

/// How far a walsender is, as `pg_stat_replication` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) pid: i32,
    /// All before this is sent.
    pub(crate) sent: Lsn,
    /// All before this is confirmed, as far as the receiver tells: flushed, or else written.
    pub(crate) confirmed: Lsn,
    /// The end of flushed WAL.
    pub(crate) end: Lsn,
}

impl Position {
    #[track_caller]
    pub(crate) fn of(session: &mut Wire, name: &str) -> Position {
        let columns = "pid, sent_lsn, write_lsn, flush_lsn, pg_current_wal_flush_lsn()";
        let sql = format!("SELECT {columns} FROM pg_stat_replication WHERE application_name = '{name}'");
        let row = rows(session, &sql).join("; ");
        let columns: Vec<&str> = row.split('|').collect();
        let [pid, sent, written, flushed, end] = columns[..] else { panic!("{name}: {row}") };
        let confirmed = if flushed.is_empty() { written } else { flushed };
        let lsn = |text: &str| text.parse().unwrap_or_else(|_| panic!("{row}"));
        Position {
            pid: pid.parse().expect("a pid"),
            sent: lsn(sent),
            confirmed: lsn(confirmed),
            end: lsn(end),
        }
    }

    /// Written and not confirmed.
    pub(crate) fn missing(&self) -> u64 {
        self.end.0 - self.confirmed.0
    }

    /// Written and not even sent.
    pub(crate) fn unsent(&self) -> u64 {
        self.end.0 - self.sent.0
    }
}

/// A receiver that reads and confirms a fixed number of bytes in each second, until its stream ends.
pub(crate) struct SlowReader {
    received: Arc<AtomicU64>,
    thread: JoinHandle<(Vec<u8>, Vec<String>)>,
}

impl SlowReader {
    /// From a position on, as application `by_hand`.
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "a thread of the test, not of a server process")]
    pub(crate) fn start(cluster: &Cluster, from: Lsn, bytes_per_second: f64) -> SlowReader {
        let wire = replication_session(cluster, "true");
        let stream = Stream::try_start(wire, &format!("START_REPLICATION {from}"));
        let mut stream = stream.unwrap_or_else(|answer| panic!("START_REPLICATION {from}: {answer:?}"));
        let received = Arc::new(AtomicU64::new(from.0));
        let told = Arc::clone(&received);
        let thread = std::thread::spawn(move || {
            let mut all: Vec<u8> = Vec::new();
            // The time that what has come was due; who is early waits, and nobody catches up for what was not there.
            let mut due = Instant::now();
            loop {
                match stream.next() {
                    Event::Wal { bytes, .. } => {
                        due = due.max(Instant::now() - Duration::from_millis(100))
                            + Duration::from_secs_f64(bytes.len() as f64 / bytes_per_second);
                        all.extend(bytes);
                        while Instant::now() < due {
                            pause();
                        }
                    }
                    Event::Keepalive { .. } | Event::Done => {}
                    Event::Answer(lines) => return (all, lines),
                }
                told.store(stream.received.0.max(from.0), Ordering::Relaxed);
                stream.confirm();
            }
        });
        SlowReader { received, thread }
    }

    /// What it has, up to here.
    pub(crate) fn received(&self) -> Lsn {
        Lsn(self.received.load(Ordering::Relaxed))
    }

    /// All bytes from the position where it began, once its stream has ended as it should.
    #[track_caller]
    pub(crate) fn all(self) -> Vec<u8> {
        let (all, farewell) = self.thread.join().expect("it reads to the end");
        assert_eq!(farewell, ["COPY 0", "EOF"]);
        all
    }
}

/// What `pg_ctl stop` says with these words, and its exit code.
#[track_caller]
pub(crate) fn pg_ctl_says(cluster: &Cluster, words: &[&str]) -> (Option<i32>, String) {
    let mut command = cluster.command("pg_ctl");
    command.arg("-D").arg(cluster.data_dir()).arg("stop").args(words);
    ended(&mut command)
}

/// Writes this many bytes of WAL and more, in rows that are as large as can be, and returns where it is flushed up to.
#[track_caller]
pub(crate) fn write_large_rows(cluster: &Cluster, bytes: u64) -> Lsn {
    let mut session = Wire::connect(cluster);
    rows(&mut session, "CREATE TABLE IF NOT EXISTS large (id int, value text)");
    let first: Lsn = rows(&mut session, "SELECT pg_current_wal_flush_lsn()")[0].parse().expect("a position");
    let mut end = first;
    while end.0 - first.0 < bytes {
        // A row fills its page.
        let count = (bytes - (end.0 - first.0)).div_ceil(7900).min(8000);
        let row = "SELECT g, repeat('x', 7900) FROM generate_series(1,";
        rows(&mut session, &format!("INSERT INTO large {row} {count}) g"));
        end = rows(&mut session, "SELECT pg_current_wal_flush_lsn()")[0].parse().expect("a position");
    }
    session.quit();
    end
}

/// Another name for each segment that there is: a stop may remove them or give them other names, and writes into none of them
/// what another one holds.
#[track_caller]
pub(crate) fn keep_segments(cluster: &Cluster) {
    cluster.sh("mkdir kept && ln data/pg_wal/????????????????????????  kept/");
}

/// A receiver has all of WAL in its folder, from its first segment up to a position, after [`keep_segments`].
#[track_caller]
pub(crate) fn has_all_segments(cluster: &Cluster, dir: &std::path::Path, end: Lsn) {
    let mut names = names_in(dir).into_iter();
    let first = names.next().expect("something was received");
    let number = |range| u64::from_str_radix(&first[range], 16).expect("a segment's name");
    let mut segment = (number(8..16) << 32) / SEGMENT_BYTES + number(16..24);
    while segment * SEGMENT_BYTES < end.0 {
        let name = segment_name(segment);
        let original = fs::read(cluster.data_dir().join("pg_wal").join(&name));
        let original = original.or_else(|_| fs::read(cluster.path("kept").join(&name))).expect("known WAL");
        let received = fs::read(dir.join(&name));
        let received = received.or_else(|_| fs::read(dir.join(format!("{name}.partial"))));
        let received = received.unwrap_or_else(|e| panic!("{name}: {e}"));
        let length = SEGMENT_BYTES.min(end.0 - segment * SEGMENT_BYTES) as usize;
        assert!(received[..length] == original[..length], "{name}, of WAL up to {end}");
        segment += 1;
    }
}
