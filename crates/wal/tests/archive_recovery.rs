//! What archive recovery stands on: files from an archive by real commands, timelines that begin in the middle of a segment,
//! segments that stay until they are archived, the point that must be reached.
//! One test, since a process has one segment of shared memory.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use common::pg_control::{ControlFileData, DbState};
use common::{Lsn, TimeLineId, Xid};
use support::{Cluster, SEGMENT, SYSTEM, TLI, child, control_file, log_to, wait, waldump};
use wal::checkpoint::info;
use wal::recovery::{self, PauseState};
use wal::timeline::{self, History};
use wal::{Reader, Record, RmgrId, archive, recovery_point, recycle, restore, startup, timeline_switch};

const TWO: TimeLineId = TimeLineId(2);

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

fn insert(body: &[u8]) -> Lsn {
    let mut record = Record::new(RmgrId::Xlog, info::NOOP);
    record.with_xid(Xid(3)).data(body);
    record.insert()
}

/// The cluster's WAL directory, an archive beside it, and pg_control.
struct World {
    cluster: Cluster,
    archive: tempfile::TempDir,
}

impl World {
    fn wal(&self, name: &str) -> PathBuf {
        self.cluster.path().join(name)
    }

    fn archived(&self, name: &str) -> PathBuf {
        self.archive.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.cluster.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.as_bytes()[0].is_ascii_digit())
            .collect();
        names.sort();
        names
    }

    fn status(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cluster.path().join("archive_status")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn control() -> ControlFileData {
    wal::control_file::read().unwrap()
}

#[test]
fn archive_recovery() {
    let cluster = Cluster::new();
    let archive = tempfile::tempdir().unwrap();
    miscinit::globals::set_data_dir(archive.path().to_path_buf());
    fs::create_dir(archive.path().join("global")).unwrap();
    fs::write(archive.path().join("global/pg_control"), &control_file().to_bytes()[..]).unwrap();
    let world = World { cluster, archive };
    restoring(&world);
    commands_that_fail(&world);
    recovery_commands(&world);
    timelines(&world);
    the_point_to_reach();
    pausing();
    a_timeline_that_begins_within_a_segment(&world);
    a_timeline_that_begins_with_a_segment(&world);
    segments_stay_until_they_are_archived(&world);
    a_restartpoint_tidies_up(&world);
}

fn restoring(world: &World) {
    let fetch = |name: &str, size| restore::restore_archived_file(name, restore::RECOVERY_XLOG, size, false);
    let name = "000000010000000000000007";
    fs::write(world.archived(name), vec![7; 100]).unwrap();
    assert_eq!(fetch(name, None).unwrap(), None, "not before it is asked for");
    restore::set_archive_recovery(true);
    assert_eq!(fetch(name, None).unwrap(), None, "there is no command");
    set("restore_command", &format!("cp {}/%f %p 2>/dev/null", world.archive.path().display()));
    fs::write(world.wal(restore::RECOVERY_XLOG), "left over").unwrap();
    assert_eq!(fetch("000000010000000000000008", None).unwrap(), None);
    assert!(!world.wal(restore::RECOVERY_XLOG).exists(), "what was left over is gone");
    let found = fetch(name, Some(100)).unwrap().unwrap();
    assert_eq!(found, world.wal(restore::RECOVERY_XLOG));
    let error = fetch(name, Some(200)).unwrap_err();
    assert_eq!(error.message, format!("archive file \"{name}\" has wrong size: 100 instead of 200"));
    assert_eq!(error.severity, elog::Severity::Fatal);
    // A standby waits for the rest.
    restore::set_standby_mode(true);
    assert_eq!(fetch(name, Some(200)).unwrap(), None);
    assert!(fetch(name, Some(50)).is_err(), "too much is too much");
    restore::set_standby_mode(false);
    // A command that lies.
    set("restore_command", "true");
    assert_eq!(fetch(name, Some(100)).unwrap(), None);
    restored_files_get_their_names(world, name);
}

fn restored_files_get_their_names(world: &World, name: &str) {
    for (mode, status) in [("on", ".done"), ("always", ".ready")] {
        set("archive_mode", mode);
        fs::write(world.wal(restore::RECOVERY_XLOG), "new").unwrap();
        fs::write(world.wal(name), "old").unwrap();
        restore::keep_restored_segment(&world.wal(restore::RECOVERY_XLOG), name).unwrap();
        assert_eq!(fs::read(world.wal(name)).unwrap(), b"new");
        assert_eq!(world.status(), [format!("{name}{status}")]);
        archive::cleanup(name);
    }
    fs::remove_file(world.wal(name)).unwrap();
    set("archive_mode", "off");
}

fn commands_that_fail(world: &World) {
    let fetch = || restore::restore_archived_file("F", restore::RECOVERY_XLOG, None, false);
    for command in ["exit 1", "exit 125"] {
        set("restore_command", command);
        assert_eq!(fetch().unwrap(), None, "{command}");
    }
    for (command, how) in [
        ("kill -KILL $$", "child process was terminated by signal 9: Killed"),
        ("exit 126", "command not executable"),
        ("exit 127", "command not found"),
        ("exit 137", "child process exited with exit code 137"),
    ] {
        set("restore_command", command);
        let error = fetch().unwrap_err();
        assert_eq!(error.message, format!("could not restore file \"F\" from archive: {how}"));
        assert_eq!(error.severity, elog::Severity::Fatal);
    }
    // Stopping the cluster stops the command too.
    shmem::proc::release();
    for (command, what) in [("kill -TERM $$", "the command"), ("exit 143", "its shell")] {
        set("restore_command", command);
        let pid = child(|| drop(fetch()));
        assert_eq!(wait(pid), 1, "SIGTERM to {what}");
    }
    // A command that hangs does not keep the process from leaving.
    let marker = world.archived("started");
    set("restore_command", &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", marker.display()));
    let pid = child(|| {
        miscinit::signals::install(miscinit::signals::Role::Kind(common::BackendType::Startup));
        drop(fetch());
    });
    while !marker.exists() {
        std::thread::yield_now();
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(wait(pid), 1);
    // A postmaster would have sent the signal to the command as well.
    support::kill(fs::read_to_string(&marker).unwrap().trim().parse().unwrap());
    shmem::init_process(common::BackendType::Startup, 0).unwrap();
}

fn recovery_commands(world: &World) {
    let out = world.archived("out");
    // What is in pg_control: redo in segment 1 of timeline 1.
    let command = format!("echo %r %f %% > {}", out.display());
    restore::execute_recovery_command(&command, "archive_cleanup_command", false).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), "000000010000000000000001 %f %\n");
    set("restore_command", &format!("echo %r %p > {}; exit 1", out.display()));
    for (cleanup, name) in [(true, "000000010000000000000001"), (false, "000000000000000000000000")] {
        restore::restore_archived_file("F", restore::RECOVERY_XLOG, None, cleanup).unwrap();
        let path = world.wal(restore::RECOVERY_XLOG);
        assert_eq!(fs::read_to_string(&out).unwrap(), format!("{name} {}\n", path.display()));
    }
    let run = |fail| restore::execute_recovery_command("exit 130", "recovery_end_command", fail);
    let error = run(true).unwrap_err();
    let text = "recovery_end_command \"exit 130\": child process exited with exit code 130";
    assert_eq!((error.message.as_ref(), error.severity), (text, elog::Severity::Fatal));
    shmem::proc::release();
    let log = world.archived("log");
    let pid = child(|| {
        log_to(&log);
        run(false).unwrap();
    });
    assert_eq!(wait(pid), 0);
    assert!(fs::read_to_string(&log).unwrap().contains(&format!("WARNING:  {text}")));
    shmem::init_process(common::BackendType::Startup, 0).unwrap();
}

fn timelines(world: &World) {
    restore::set_archive_recovery(false);
    set("archive_mode", "on");
    assert_eq!(timeline::read_history(TLI).unwrap(), History::single(TLI));
    assert_eq!(timeline::read_history(TWO).unwrap(), History::single(TWO));
    timeline::write_history(TWO, TLI, Lsn(0x500_0148), "no recovery target specified").unwrap();
    let text = "1\t0/5000148\tno recovery target specified\n";
    assert_eq!(fs::read_to_string(world.wal("00000002.history")).unwrap(), text);
    assert_eq!(world.status(), ["00000002.history.ready"]);
    timeline::write_history(TimeLineId(3), TWO, Lsn(0x700_0000), "at restore point \"x\"").unwrap();
    let text = format!("{text}\n2\t0/7000000\tat restore point \"x\"\n");
    assert_eq!(fs::read_to_string(world.wal("00000003.history")).unwrap(), text);
    let history = timeline::read_history(TimeLineId(3)).unwrap();
    assert_eq!(history.tli_of_point(Lsn(0x600_0000)), Some(TWO));
    assert_eq!(timeline::find_newest(TLI).unwrap(), TimeLineId(3));
    // The archive knows of one more; it is fetched and kept.
    restore::set_archive_recovery(true);
    set("restore_command", &format!("cp {}/%f %p 2>/dev/null", world.archive.path().display()));
    fs::write(world.archived("00000004.history"), format!("{text}\n3\t0/8000000\tx\n")).unwrap();
    assert_eq!(timeline::find_newest(TLI).unwrap(), TimeLineId(4));
    assert!(!world.wal("00000004.history").exists());
    timeline::restore_history_files(TLI, TimeLineId(5)).unwrap();
    assert!(world.wal("00000004.history").exists());
    assert_eq!(timeline::read_history(TimeLineId(4)).unwrap().0.len(), 4);
    assert!(world.status().contains(&"00000004.history.done".to_owned()));
    assert!(!world.wal(restore::RECOVERY_HISTORY).exists());
    for name in ["00000002.history", "00000003.history", "00000004.history"] {
        fs::remove_file(world.wal(name)).unwrap();
        archive::cleanup(name);
    }
    restore::set_archive_recovery(false);
    set("archive_mode", "off");
}

/// The minimum recovery point follows replay, but only in archive recovery.
fn the_point_to_reach() {
    let point = || (control().min_recovery_point, control().min_recovery_point_timeline);
    startup::begin_redo(Lsn(0x10_0028), false);
    recovery_point::set_replayed(Lsn(0x20_0000), TLI);
    recovery_point::update(Lsn(0x18_0000), false).unwrap();
    assert_eq!(point(), (Lsn(0), TimeLineId(0)), "crash recovery goes to the end anyway");
    startup::switch_into_archive_recovery(Lsn(0x20_0000), TLI).unwrap();
    assert_eq!((point(), control().state), ((Lsn(0x20_0000), TLI), DbState::InArchiveRecovery));
    assert!(!startup::install_allowed());
    recovery_point::set_replaying(Lsn(0x30_0000), TWO);
    assert_eq!(recovery_point::replayed(), (Lsn(0x20_0000), TLI));
    recovery_point::update(Lsn(0x18_0000), false).unwrap();
    assert_eq!(point(), (Lsn(0x20_0000), TLI), "far enough");
    recovery_point::update(Lsn(0x21_0000), false).unwrap();
    assert_eq!(point(), (Lsn(0x30_0000), TWO), "as far as replay is");
    recovery_point::set_replayed(Lsn(0x40_0000), TWO);
    recovery_point::update(Lsn::INVALID, true).unwrap();
    assert_eq!(point(), (Lsn(0x40_0000), TWO));
    startup::reached_end_of_backup(Lsn(0x50_0000), TWO).unwrap();
    assert_eq!(point(), (Lsn(0x50_0000), TWO));
    // Recovery is over behind this process's back: there is no point any more, and none is made.
    wal::control_file::update(|control| control.min_recovery_point = Lsn(0)).unwrap();
    recovery_point::update(Lsn(0x60_0000), false).unwrap();
    assert_eq!(control().min_recovery_point, Lsn(0));
    recovery_point::forget();
    startup::begin_redo(Lsn(0x10_0028), false);
    startup::set_install_allowed(true);
}

fn pausing() {
    assert_eq!(recovery::pause_state(), PauseState::NotPaused);
    recovery::confirm_paused();
    assert_eq!(recovery::pause_state(), PauseState::NotPaused, "nobody asked");
    recovery::set_pause(true);
    assert_eq!(recovery::pause_state().text(), "pause requested");
    recovery::confirm_paused();
    recovery::set_pause(true);
    assert_eq!(recovery::pause_state().text(), "paused");
    assert!(!recovery::promote_is_triggered());
    shmem::latch::reset();
    recovery::set_promote_triggered();
    assert!(recovery::promote_is_triggered());
    assert_eq!(recovery::pause_state().text(), "not paused");
    assert!(shmem::latch::my_latch().is_set(), "the startup process is woken");
    assert_eq!(recovery::latest_xact_time(), None);
    recovery::set_latest_xact_time(-5);
    assert_eq!(recovery::latest_xact_time(), Some(-5));
    assert!(!recovery::reached_consistency() && !recovery::hot_standby_active());
    recovery::set_reached_consistency();
    recovery::set_hot_standby_active();
    assert!(recovery::reached_consistency() && recovery::hot_standby_active());
}

/// Ends recovery at the current end of WAL, as the startup process does: what comes is on the timeline `new`.
fn branch_off(old: TimeLineId, new: TimeLineId) -> Lsn {
    let mut reader = Reader::new(wal::segment::wal_dir(), SEGMENT, old);
    reader.set_system_identifier(SYSTEM);
    let end = startup::find_end(&mut reader, wal::last_record_start(), None).unwrap();
    startup::set_install_allowed(false);
    timeline_switch::init_new_timeline(old, end.end, new).unwrap();
    startup::begin_writing(&end, new, old);
    end.end
}

fn a_timeline_that_begins_within_a_segment(world: &World) {
    startup::finish();
    for i in 0..100 {
        wal::flush(insert(&[i; 1000]));
    }
    let last = wal::last_record_start();
    // What the old timeline has prepared, and what it has done behind the point.
    for name in ["000000010000000000000002", "000000010000000000000003"] {
        fs::copy(world.wal("000000010000000000000001"), world.wal(name)).unwrap();
    }
    fs::write(world.wal("archive_status/000000010000000000000003.ready"), "").unwrap();
    fs::write(world.wal("archive_status/000000020000000000000001.done"), "").unwrap();
    let end = branch_off(TLI, TWO);
    assert_eq!(world.status(), ["000000010000000000000003.ready"], "marks of an earlier timeline 2 are gone");
    set("archive_mode", "on");
    assert_eq!(wal::timeline(), TWO);
    let record = wal::records::end_of_recovery().unwrap();
    assert_eq!((control().min_recovery_point, control().min_recovery_point_timeline), (record, TWO));
    for i in 0..50 {
        wal::flush(insert(&[i; 1000]));
    }
    timeline_switch::clean_up_after_archive_recovery(TLI, end, TWO).unwrap();
    assert_eq!(
        world.names(),
        [
            "000000010000000000000001.partial",
            "000000010000000000000003",
            "000000020000000000000001",
            "000000020000000000000002"
        ],
        "2 serves again, 3 waits for the archiver"
    );
    assert_eq!(world.status(), ["000000010000000000000001.partial.ready", "000000010000000000000003.ready"]);
    // The new timeline's segment tells the whole story.
    let mut reader = Reader::new(world.cluster.path(), SEGMENT, TWO);
    reader.set_system_identifier(SYSTEM);
    reader.begin_read(last);
    assert_eq!(reader.next().unwrap().unwrap().end_lsn, end);
    let branch = reader.next().unwrap().unwrap();
    assert_eq!((branch.operation(), branch.end_lsn), (info::END_OF_RECOVERY, record));
    assert_eq!(&branch.main_data[8..], [2, 0, 0, 0, 1, 0, 0, 0]);
    let mut records = 0;
    while let Ok(Some(_)) = reader.next() {
        records += 1;
    }
    assert_eq!(records, 50);
    assert_eq!(reader.latest_page().1, TWO);
    let text = waldump(world.cluster.path(), last, &["-t", "2"]);
    assert!(text.is_none_or(|text| text.contains("END_OF_RECOVERY tli 2; prev tli 1;")));
    // And the old one ends where it ended: timelines never go back.
    let (partial, old) = ("000000010000000000000001.partial", "000000010000000000000001");
    file::durable_rename(&world.wal(partial), &world.wal(old)).unwrap();
    let mut reader = Reader::new(world.cluster.path(), SEGMENT, TLI);
    reader.begin_read(last);
    assert_eq!(reader.next().unwrap().unwrap().end_lsn, end);
    assert!(reader.next().is_err());
    for name in ["000000010000000000000001", "000000010000000000000003"] {
        fs::remove_file(world.wal(name)).unwrap();
    }
    archive::cleanup("000000010000000000000001.partial");
    archive::cleanup("000000010000000000000003");
    startup::finish();
}

fn a_timeline_that_begins_with_a_segment(world: &World) {
    wal::flush(wal::records::request_switch(false));
    let end = branch_off(TWO, TimeLineId(3));
    assert_eq!(end, Lsn(2 * u64::from(SEGMENT)));
    assert!(world.wal("000000030000000000000002").exists());
    assert!(!world.wal("000000030000000000000001").exists());
    wal::flush(insert(b"first"));
    timeline_switch::clean_up_after_archive_recovery(TWO, end, TimeLineId(3)).unwrap();
    assert!(!world.names().iter().any(|name| name.ends_with(".partial")), "the old segment is complete");
    startup::finish();
}

/// The archiver's marks decide what a checkpoint may remove.
fn segments_stay_until_they_are_archived(world: &World) {
    set("wal_recycle", "off");
    let three = TimeLineId(3);
    for _ in 0..3 {
        wal::flush(insert(b"x"));
        wal::flush(wal::records::request_switch(false));
    }
    let end = insert(b"y");
    wal::flush(end);
    let names = ["000000030000000000000002", "000000030000000000000003", "000000030000000000000004"];
    assert!(names.iter().all(|name| archive::is_ready(name)));
    archive::force_done(names[0]);
    let counts = recycle::remove_old_files(4, end, end, three).unwrap();
    assert_eq!((counts.removed, counts.recycled), (1, 0), "only what is done goes");
    assert!(!world.wal(names[0]).exists() && world.wal(names[1]).exists());
    assert!(!archive::status_path(names[0], ".done").exists(), "and its mark with it");
    // One that nobody has announced is announced now.
    archive::cleanup(names[1]);
    assert_eq!(recycle::remove_old_files(4, end, end, three).unwrap().removed, 0);
    assert!(archive::is_ready(names[1]));
    // wal_keep_size keeps what is archived as well.
    names.iter().for_each(|name| archive::force_done(name));
    set("wal_keep_size", "1MB");
    assert_eq!(recycle::after_checkpoint(end, end, three, true, Lsn(0), |_| Ok(false)).unwrap().removed, 1);
    assert!(!world.wal(names[1]).exists() && world.wal(names[2]).exists());
    set("wal_keep_size", "0");
    // So does somebody who lacks it, but not who needs only what is kept anyway.
    let needed = Lsn(5 * u64::from(SEGMENT) - 1);
    assert_eq!(recycle::after_checkpoint(end, end, three, true, needed, |_| Ok(false)).unwrap().removed, 0);
    assert!(world.wal(names[2]).exists());
    assert_eq!(recycle::after_checkpoint(end, end, three, true, end, |_| Ok(false)).unwrap().removed, 1);
    set("archive_mode", "off");
}

/// During recovery the end of WAL is where replay is, and segments get the names of the timeline replayed.
fn a_restartpoint_tidies_up(world: &World) {
    world.names().iter().for_each(|name| fs::remove_file(world.wal(name)).unwrap());
    set("wal_recycle", "on");
    shmem::proc::release();
    let make = |number: u64, tli: u32| {
        let path = wal::segment::path(TimeLineId(tli), number);
        fs::write(path, vec![0; SEGMENT as usize]).unwrap();
    };
    (10..=14).for_each(|number| make(number, 3));
    make(9, 2);
    startup::begin_redo(Lsn(0), true);
    let size = u64::from(SEGMENT);
    recovery_point::set_replayed(Lsn(14 * size + 100), TimeLineId(4));
    wal::checkpoint::set_restart_redo(Lsn(12 * size + 40));
    // This thread has seen recovery end, and never asks again; another has not.
    let dir = world.cluster.path();
    let check = |removed: u32, recycled: u32| {
        let work = || {
            wal::segment::set_wal_dir(Some(dir));
            shmem::init_process(common::BackendType::Checkpointer, 0).unwrap();
            let counts =
                recycle::after_restartpoint(Lsn(12 * size + 40), Lsn(0), Lsn(0), |_| Ok(false)).unwrap();
            shmem::proc::release();
            assert_eq!((counts.removed, counts.recycled), (removed, recycled), "{counts:?}");
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    };
    // Files from the archive could get those names: so nothing is renamed.
    startup::set_install_allowed(false);
    check(3, 0);
    make(10, 3);
    make(11, 3);
    startup::set_install_allowed(true);
    check(0, 2);
    let name = |number| wal::segment::name(TimeLineId(4), number, wal::geometry());
    assert!(world.wal(&name(14)).exists() && world.wal(&name(15)).exists(), "{:?}", world.names());
    assert!(Path::new(&world.wal("00000003000000000000000C")).exists());
}
