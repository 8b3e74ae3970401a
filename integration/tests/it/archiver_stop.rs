//! A stop waits until the archiver has made its last pass: the second reference document. And commands that do their
//! work badly: a full disk, a folder that cannot be written, one that hangs, one that talks too much.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration::{Server, Stop, Wire, on_each_server, process, procfs, skip, wait_until};
use nix::sys::signal::Signal;

use crate::archiver_support::{Archiving, failing_cycle};
use crate::faults::SmallDisk;
use crate::support::{refusal_in_a_stop, without_stop_report};

const SHUTTING_DOWN: [&str; 2] = ["FATAL:  57P03: the database system is shutting down", "EOF"];
const ADMIN_SHUTDOWN: [&str; 2] =
    ["FATAL:  57P01: terminating connection due to administrator command", "EOF"];

/// The archiver is the last one, and nobody comes in.
#[track_caller]
fn only_the_archiver_is_left(archiving: &Archiving, name: &str) {
    let cluster = &archiving.cluster;
    wait_until("the archiver is the only child", || cluster.roster().len() == 1);
    archiving.wait_until_held_at(name);
    assert_eq!(cluster.pid_file_line(8).as_deref(), Some("stopping"));
    for _ in 0..3 {
        assert_eq!(refusal_in_a_stop(cluster), SHUTTING_DOWN);
    }
    archiving.is_shut_down();
}

/// New log lines without refused clients and what only one of the servers says.
fn story(archiving: &Archiving) -> Vec<String> {
    let mut lines = archiving.cluster.new_log_lines();
    let left_out = [
        "background worker \"logical replication launcher\"",
        "FATAL:  the database system is shutting down",
        "FATAL:  terminating connection due to administrator command",
    ];
    lines.retain(|line| !left_out.iter().any(|text| line.contains(text)));
    without_stop_report(lines)
}

/// Twenty segments wait, each takes 0.3 s. The command is held twice: before the first of them, and in the middle.
fn twenty_segments(server: Server) -> (Archiving, Vec<String>) {
    let archiving = Archiving::started(server, &[]);
    archiving.hold();
    archiving.write("delay", "0.3");
    let names = archiving.switches(20);
    archiving.wait_until_held_at(&names[0]);
    archiving.write(&format!("hold-{}", names[10]), "");
    assert_eq!(archiving.ready(), names);
    archiving.cluster.mark_log();
    (archiving, names)
}

/// Asks for a stop and waits until no client is left.
#[track_caller]
fn ask_for_a_stop(archiving: &Archiving, mode: Stop) {
    let cluster = &archiving.cluster;
    let mut session = Wire::connect(cluster);
    cluster.signal_postmaster(mode.signal());
    if mode == Stop::Fast {
        assert_eq!(session.answer(), ADMIN_SHUTDOWN);
        return;
    }
    cluster.wait_for_new_log("received smart shutdown request");
    assert_eq!(refusal_in_a_stop(cluster), SHUTTING_DOWN);
    // As long as a client is there everything goes on.
    assert_eq!(session.query("SELECT 1"), ["1", "SELECT 1"]);
    assert!(cluster.roster().len() > 1);
    session.quit();
}

/// All is archived, and the log tells how it went.
#[track_caller]
fn all_is_archived(archiving: &Archiving, names: &[String], mode: Stop) {
    assert_eq!(archiving.ready(), [""; 0], "nothing waits any more");
    let calls = archiving.calls();
    assert!(calls.starts_with(names), "{calls:?}");
    assert!(calls.len() <= names.len() + 1, "what the stop itself has finished: {calls:?}");
    assert_eq!(archiving.archived(), calls);
    archiving.check();
    assert_eq!(archiving.cluster.processes(), []);
    let mut expected = vec![format!("LOG:  received {} shutdown request", mode.word())];
    expected.extend((mode == Stop::Fast).then(|| "LOG:  aborting any active transactions".to_owned()));
    let rest = [
        "LOG:  shutting down",
        "LOG:  checkpoint starting: shutdown immediate",
        "LOG:  checkpoint complete",
        "LOG:  database system is shut down",
    ];
    expected.extend(rest.map(str::to_owned));
    assert_eq!(story(archiving), expected);
    let refused = "FATAL:  the database system is shutting down";
    assert!(archiving.cluster.new_log_lines().iter().filter(|line| *line == refused).count() >= 4);
}

/// Both at the same time, since each takes six seconds.
#[test]
fn fast_and_smart_wait_for_the_archive() {
    on_each_server("fast and smart stop with a backlog", |server| {
        let both = [Stop::Fast, Stop::Smart].map(|mode| (mode, twenty_segments(server)));
        for (mode, (archiving, names)) in &both {
            ask_for_a_stop(archiving, *mode);
            only_the_archiver_is_left(archiving, &names[0]);
            archiving.release();
        }
        for (_, (archiving, names)) in &both {
            archiving.wait_until_held_at(&names[10]);
            assert_eq!(refusal_in_a_stop(&archiving.cluster), SHUTTING_DOWN);
            archiving.remove(&format!("hold-{}", names[10]));
        }
        for (mode, (archiving, names)) in &both {
            assert_eq!(archiving.cluster.wait_for_end().code(), Some(0));
            all_is_archived(archiving, names, *mode);
            // All was written before: the next start has nothing to recover.
            archiving.remove("delay");
            archiving.cluster.mark_log();
            archiving.cluster.start();
            assert!(!archiving.cluster.new_log().contains("automatic recovery"));
        }
    });
}

#[test]
fn the_archiver_works_on_during_a_smart_stop() {
    on_each_server("archiving during a smart stop", |server| {
        let archiving = Archiving::started(server, &[]);
        let mut session = Wire::connect(&archiving.cluster);
        archiving.cluster.signal_postmaster(Stop::Smart.signal());
        archiving.cluster.wait_for_log("received smart shutdown request");
        let name = archiving.switch(&mut session);
        archiving.wait_until_done(&[name]);
        session.quit();
        assert_eq!(archiving.cluster.wait_for_end().code(), Some(0));
        archiving.check();
    });
}

#[test]
fn a_failing_command_ends_the_wait() {
    on_each_server("stop with a failing command", |server| {
        // At the same time, since each try takes its second.
        let both = [Stop::Fast, Stop::Smart].map(|mode| {
            let archiving = Archiving::started(server, &[]);
            archiving.write("fail", "1");
            (mode, archiving.switches(1).swap_remove(0), archiving)
        });
        for (mode, _, archiving) in &both {
            archiving.cluster.wait_for_log("failed too many times");
            archiving.cluster.mark_log();
            archiving.cluster.signal_postmaster(mode.signal());
        }
        for (mode, name, archiving) in &both {
            assert_eq!(archiving.cluster.wait_for_end().code(), Some(0));
            // A cycle of three tries. The segment that the stop itself finishes may have begun one before the last.
            let cycles = (archiving.calls().len() - 3) / 3;
            assert!(cycles == 1 || cycles == 2, "{cycles} cycles, {mode:?}, {server:?}");
            let command = format!("sh SOCKETS/archive.sh pg_wal/{name} {name}");
            let expected = vec![failing_cycle("1", &command, name); cycles].concat();
            assert_eq!(archiving.archiver_lines(), expected, "{mode:?}, {server:?}");
            assert_eq!(archiving.calls(), vec![name.clone(); 3 + 3 * cycles]);
            assert!(archiving.ready().contains(name) && archiving.archived().is_empty(), "all stay");
            assert!(archiving.cluster.new_log().contains("database system is shut down"));
            archiving.remove("fail");
            archiving.cluster.start();
            wait_until("all is archived", || archiving.ready().is_empty());
            archiving.check();
        }
    });
}

#[test]
fn an_immediate_stop_archives_nothing() {
    on_each_server("immediate stop with a backlog", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let names = archiving.switches(20);
        archiving.wait_until_held_at(&names[0]);
        archiving.cluster.mark_log();
        assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0));
        assert_eq!(archiving.calls(), names[..1]);
        assert_eq!(archiving.ready(), names);
        assert_eq!(archiving.cluster.processes(), []);
        let name = &names[0];
        let killed = [
            "FATAL:  archive command was terminated by signal 3: Quit".to_owned(),
            format!("DETAIL:  The failed archive command was: sh SOCKETS/archive.sh pg_wal/{name} {name}"),
        ];
        assert_eq!(archiving.archiver_lines(), killed, "{server:?}");
        archiving.release();
        archiving.cluster.start();
        let log = archiving.cluster.log();
        assert!(log.contains("automatic recovery in progress"), "{log}");
        archiving.wait_until_done(&names);
        let mut session = Wire::connect(&archiving.cluster);
        assert_eq!(session.query("SELECT count(*) FROM t"), ["20", "SELECT 1"]);
        session.quit();
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

/// A command that lets the SIGQUIT of an immediate stop pass and archives its file: the file is marked, or the next
/// archiver would offer it again to a command that refuses what is there.
#[test]
fn an_immediate_stop_that_the_command_survives() {
    on_each_server("a command that survives an immediate stop", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.set_command(&format!(
            "trap quit=1 QUIT; echo begun >> ../calls; until test $quit; do sleep 0.02; done; {}",
            archiving.script()
        ));
        archiving.wait_for_archiver();
        archiving.reload();
        let names = archiving.switches(1);
        wait_until("the command runs", || archiving.calls() == ["begun"]);
        assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0));
        assert_eq!(archiving.archived(), names, "{server:?}");
        assert_eq!((archiving.ready(), archiving.done()), (Vec::new(), names), "{server:?}");
        assert_eq!(archiving.cluster.processes(), []);
        archiving.set_command(&archiving.script());
        archiving.cluster.start();
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn a_command_that_hangs() {
    on_each_server("a command that hangs", |server| {
        let archiving = Archiving::started(server, &["archive_command = 'echo %f >> ../calls; sleep 1000'"]);
        for overtaken in [false, true] {
            if overtaken {
                archiving.cluster.start();
            }
            let names = archiving.switches(1);
            archiving.wait_for_archiver();
            wait_until("the command runs", || archiving.calls().len() == 1 + usize::from(overtaken));
            if overtaken {
                // A stop that waits: nothing of lower rank does anything more, an immediate one does.
                let output = archiving.cluster.pg_ctl(&["stop", "-m", "fast", "-t", "1"]);
                assert_eq!(output.status.code(), Some(1));
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains("server does not shut down"), "{said}");
                archiving.is_shut_down();
                archiving.cluster.signal_postmaster(Stop::Smart.signal());
                assert_eq!(refusal_in_a_stop(&archiving.cluster), SHUTTING_DOWN);
            }
            let postmaster = archiving.cluster.postmaster_pid();
            let output = archiving.cluster.pg_ctl(&["stop", "-m", "immediate"]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            wait_until("the postmaster has ended", || !procfs::is_alive(postmaster));
            assert_eq!(archiving.cluster.processes(), [], "the command included");
            assert!(archiving.ready().ends_with(&names) || overtaken);
        }
        archiving.set_command(&archiving.script());
        archiving.cluster.mark_log();
        archiving.cluster.start();
        // The stop had written its checkpoint before it waited.
        assert!(!archiving.cluster.new_log().contains("automatic recovery"), "{server:?}");
        wait_until("all is archived", || archiving.ready().is_empty());
        archiving.check();
    });
}

#[test]
fn an_archive_that_is_full() {
    on_each_server("a full archive", |server| {
        let archiving = Archiving::started(server, &[]);
        let Some(disk) = SmallDisk::in_place_of(&archiving.folder(), 2_500_000) else {
            skip!("a tmpfs cannot be mounted");
        };
        let mut names = archiving.switches(2);
        archiving.wait_until_done(&names);
        names.extend(archiving.switches(1));
        let log = archiving.cluster.wait_for_log("failed too many times");
        assert!(log.contains("No space left on device"), "cp says why: {log}");
        assert_eq!(archiving.archived(), names[..2], "and nothing by halves");
        assert_eq!(archiving.ready(), names[2..]);
        assert_eq!(Wire::connect(&archiving.cluster).query("SELECT 1"), ["1", "SELECT 1"]);
        disk.grow("20m");
        names.extend(archiving.switches(1));
        archiving.wait_until_done(&names);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn an_archive_that_may_not_be_written() {
    on_each_server("an unwritable archive", |server| {
        let archiving = Archiving::started(server, &[]);
        let allow = |mode| {
            fs::set_permissions(archiving.folder(), fs::Permissions::from_mode(mode)).expect("own folder");
        };
        allow(0o555);
        let mut names = archiving.switches(1);
        let log = archiving.cluster.wait_for_log("failed too many times");
        assert!(log.contains("Permission denied"), "cp says why: {log}");
        assert_eq!(archiving.ready(), names);
        allow(0o755);
        names.extend(archiving.switches(1));
        archiving.wait_until_done(&names);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn a_command_that_talks_too_much() {
    const TALK: u64 = 10_000_000;
    on_each_server("ten megabytes to stderr", |server| {
        let archiving =
            Archiving::started(server, &["logging_collector = on", "log_filename = 'server.log'"]);
        archiving
            .set_command(&format!("head -c {TALK} /dev/zero | tr ''\\\\0'' x >&2; {}", archiving.script()));
        archiving.wait_for_archiver();
        archiving.reload();
        let names = archiving.switches(2);
        archiving.wait_until_done(&names);
        let collected = archiving.cluster.data_dir().join("log/server.log");
        let length = || fs::metadata(&collected).map_or(0, |metadata| metadata.len());
        wait_until("the log has it all", || length() >= TALK * names.len() as u64);
        archiving.set_command(&archiving.script());
        archiving.reload();
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

/// Stops and crashes of all kinds in the middle of archiving; in the end all WAL is in the archive, in one piece.
#[test]
fn no_segment_is_lost() {
    on_each_server("stops and crashes while archiving", |server| {
        let archiving = Archiving::started(server, &[]);
        let mut names = Vec::new();
        for how in ["immediate", "postmaster", "session", "fast", "everyone", "smart"] {
            archiving.hold();
            names.extend(archiving.switches(3));
            wait_until("it has begun", || archiving.calls().last().is_some_and(|name| names.contains(name)));
            match how {
                "immediate" => assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0)),
                "postmaster" => archiving.cluster.kill(archiving.cluster.postmaster_pid()),
                "session" => {
                    let session = Wire::connect(&archiving.cluster);
                    archiving.cluster.mark_log();
                    archiving.cluster.kill(session.pid);
                    archiving.cluster.wait_for_new_log("ready to accept connections");
                    archiving.release();
                    continue;
                }
                "everyone" => {
                    let all = archiving.cluster.processes();
                    for process in &all {
                        let pid = nix::unistd::Pid::from_raw(process.pid);
                        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
                    }
                }
                _ => archiving.cluster.signal_postmaster(if how == "fast" {
                    Signal::SIGINT
                } else {
                    Signal::SIGTERM
                }),
            }
            archiving.release();
            wait_until("everyone is gone", || archiving.cluster.processes().is_empty());
            archiving.cluster.start();
        }
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(archiving.ready(), [""; 0]);
        archiving.check();
        let archived = archiving.archived();
        names.iter().for_each(|name| assert!(archived.contains(name), "{name} is lost"));
        let Some(mut waldump) = archiving.cluster.client("pg_waldump") else { return };
        waldump.arg("-q").arg("-p").arg(archiving.folder());
        waldump.arg(&archived[0]).arg(&archived[archived.len() - 1]);
        let output = process::run(&mut waldump);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}
