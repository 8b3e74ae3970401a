//! Rotation scripts over a directory of their own; clocks are numbers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use elog::config::LogDestination;
use jiff::tz::TimeZone;
use tempfile::TempDir;

use super::*;

const STDERR: LogDestination = LogDestination::STDERR;
const BOTH: LogDestination = LogDestination { stderr: true, csvlog: true, jsonlog: false };
const HOUR: i64 = 3600;

fn settings(filename: &str, destination: LogDestination) -> Settings {
    Settings {
        directory: "log".into(),
        filename: filename.into(),
        rotation_age_minutes: 60,
        rotation_size_kb: 10,
        truncate_on_rotation: false,
        file_mode: 0o640,
        destination,
        timezone: TimeZone::UTC,
    }
}

struct Bench {
    dir: TempDir,
    collector: Collector,
}

impl Bench {
    fn new(settings: Settings) -> Bench {
        Bench::in_directory_of_mode(0o700, settings)
    }

    fn in_directory_of_mode(mode: u32, settings: Settings) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        let collector = Collector::open(dir.path(), settings, 0).unwrap();
        collector.write_metainfo().unwrap();
        Bench { dir, collector }
    }

    fn say(&mut self, text: &str, to: Destination) {
        self.collector.write(text.as_bytes(), to);
        self.collector.flush();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_else(|e| e.kind().to_string())
    }

    fn mode(&self, name: &str) -> u32 {
        self.dir.path().join(name).metadata().unwrap().mode() & 0o777
    }

    fn rotate_at(&mut self, now: i64) {
        let reports = self.collector.rotate_if_due(now);
        assert!(reports.is_empty(), "{reports:?}");
    }

    /// The messages of the reports that a rotation gives.
    fn complaints_at(&mut self, now: i64) -> Vec<String> {
        self.collector.rotate_if_due(now).iter().map(|e| e.message.to_string()).collect()
    }
}

#[test]
fn first_files_their_names_and_modes() {
    let mut b = Bench::new(settings("%H%M.log", BOTH));
    b.say("text\n", Destination::Stderr);
    b.say("row\n", Destination::Csvlog);
    b.say("{}\n", Destination::Jsonlog);
    assert_eq!(b.read("log/0000.log"), "text\n{}\n", "no json file is open, so the plain one takes it");
    assert_eq!(b.read("log/0000.csv"), "row\n");
    assert_eq!(b.read(METAINFO_FILE), "stderr log/0000.log\ncsvlog log/0000.csv\n");
    assert_eq!([b.mode("log"), b.mode("log/0000.log"), b.mode(METAINFO_FILE)], [0o700, 0o640, 0o600]);
    let b = Bench::in_directory_of_mode(0o750, settings("a.log", BOTH));
    assert_eq!([b.mode("log"), b.mode(METAINFO_FILE)], [0o750, 0o640]);
}

#[test]
fn by_age() {
    let mut b = Bench::new(settings("%H%M.log", BOTH));
    assert_eq!(b.collector.seconds_to_rotation(HOUR - 10), Some(10));
    b.rotate_at(HOUR - 1);
    assert_eq!(b.read("log/0100.log"), "entity not found");
    // Noticed late, named after the hour all the same.
    b.rotate_at(HOUR + 90);
    b.say("new\n", Destination::Csvlog);
    assert_eq!(b.read("log/0100.csv"), "new\n");
    assert_eq!(b.read(METAINFO_FILE), "stderr log/0100.log\ncsvlog log/0100.csv\n");
    assert_eq!(b.collector.seconds_to_rotation(HOUR + 90), Some(HOUR as u64 - 90));
}

#[test]
fn by_size_only_the_full_file() {
    let mut b = Bench::new(settings("%H%M%S.log", BOTH));
    b.say(&"x".repeat(10 * 1024), Destination::Csvlog);
    b.rotate_at(5);
    b.say("plain\n", Destination::Stderr);
    b.say("row\n", Destination::Csvlog);
    assert_eq!((b.read("log/000000.log").as_str(), b.read("log/000005.csv").as_str()), ("plain\n", "row\n"));
    assert_eq!(b.read(METAINFO_FILE), "stderr log/000000.log\ncsvlog log/000005.csv\n");
}

#[test]
fn on_request() {
    let mut b = Bench::new(settings("%H%M%S.log", STDERR));
    b.collector.request_rotation();
    b.rotate_at(7);
    assert_eq!(b.read(METAINFO_FILE), "stderr log/000007.log\n");
    b.rotate_at(8);
    assert_eq!(b.read(METAINFO_FILE), "stderr log/000007.log\n", "a request counts once");
}

#[test]
fn truncation_by_age_only_and_never_of_the_same_file() {
    let mut b = Bench::new(Settings { truncate_on_rotation: true, ..settings("%M%S.log", STDERR) });
    fs::write(b.dir.path().join("log/0007.log"), "old\n").unwrap();
    b.collector.request_rotation();
    b.rotate_at(7);
    assert_eq!(b.read("log/0007.log"), "old\n", "a request appends");
    // Three hours later the name is the one of the first file.
    b.say("first\n", Destination::Stderr);
    fs::write(b.dir.path().join("log/0000.log"), "from yesterday\n").unwrap();
    b.rotate_at(HOUR);
    b.say("now\n", Destination::Stderr);
    assert_eq!(b.read("log/0000.log"), "now\n");
    b.rotate_at(2 * HOUR);
    assert_eq!(b.read("log/0000.log"), "now\n", "still the same file");
}

#[test]
fn reload_changes_directory_name_and_destinations() {
    let mut b = Bench::new(settings("a.log", STDERR));
    let reports =
        b.collector.configure(Settings { directory: "elsewhere".into(), ..settings("b.log", BOTH) }, 1);
    assert!(reports.is_empty(), "{reports:?}");
    b.rotate_at(1);
    assert_eq!(b.read(METAINFO_FILE), "stderr elsewhere/b.log\ncsvlog elsewhere/b.csv\n");
    let _ = b.collector.configure(Settings { directory: "elsewhere".into(), ..settings("b.log", STDERR) }, 2);
    b.rotate_at(2);
    b.say("row\n", Destination::Csvlog);
    assert_eq!(b.read("elsewhere/b.log"), "row\n", "the csv file is closed");
    let none = LogDestination { stderr: false, ..STDERR };
    let _ = b.collector.configure(Settings { directory: "elsewhere".into(), ..settings("b.log", none) }, 3);
    assert_eq!(b.read(METAINFO_FILE), "entity not found");
}

#[test]
fn a_reload_without_change_changes_no_file() {
    let mut b = Bench::new(settings("%S.log", BOTH));
    assert!(b.collector.configure(settings("%S.log", BOTH), 9).is_empty());
    b.rotate_at(9);
    assert_eq!(b.read(METAINFO_FILE), "stderr log/00.log\ncsvlog log/00.csv\n");
}

#[test]
fn a_file_that_cannot_be_opened_leaves_the_old_one_until_sighup() {
    let mut b = Bench::new(settings("%H.log", STDERR));
    fs::create_dir(b.dir.path().join("log/01.log")).unwrap();
    let expected = [
        "could not open log file \"log/01.log\": Is a directory",
        "disabling automatic rotation (use SIGHUP to re-enable)",
    ];
    assert_eq!(b.complaints_at(HOUR), expected);
    assert_eq!(b.complaints_at(HOUR + 1), [""; 0], "said once");
    assert_eq!(b.collector.seconds_to_rotation(HOUR + 1), None);
    b.say("still here\n", Destination::Stderr);
    assert_eq!(b.read("log/00.log"), "still here\n");
    fs::remove_dir(b.dir.path().join("log/01.log")).unwrap();
    assert!(b.collector.configure(settings("%H.log", STDERR), HOUR + 2).is_empty());
    b.rotate_at(HOUR + 2);
    assert_eq!(b.read(METAINFO_FILE), "stderr log/01.log\n");
}

#[test]
fn the_first_file_must_open() {
    let dir = tempfile::tempdir().unwrap();
    let e = Collector::open(dir.path(), settings("no/such/place.log", STDERR), 0).unwrap_err();
    assert_eq!(e.message, "could not open log file \"log/no/such/place.log\": No such file or directory");
    assert_eq!((e.severity, e.sqlstate), (elog::Severity::Fatal, SqlState::UNDEFINED_FILE));
}

#[test]
fn existing_files_are_appended_to_and_counted() {
    let mut b = Bench::new(settings("a.log", STDERR));
    b.say("one\n", Destination::Stderr);
    let again = LogFile::open(b.dir.path(), "log/a.log".into(), 0o600, false).unwrap();
    assert_eq!(again.len(), 4);
}
