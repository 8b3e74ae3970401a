//! The archiver's loops in a real cluster: what it does with a command that works, fails, dies or changes, and what
//! signals and deaths do to it.

use std::fs;

use integration::{Cluster, ClusterOptions, Server, Stop, Wire, on_each_server, procfs, wait_until};
use nix::sys::signal::Signal;

use crate::archiver_support::{Archiving, failing_cycle};

/// Without the times.
const STATISTICS: &str = "SELECT archived_count, last_archived_wal, last_archived_time IS NOT NULL, \
                          failed_count, last_failed_wal, last_failed_time IS NOT NULL FROM pg_stat_archiver";

/// Waits until `pg_stat_archiver` says this.
#[track_caller]
fn wait_for_statistics(archiving: &Archiving, expected: &str) {
    archiving.wait_for_row(STATISTICS, expected);
}

#[test]
fn a_finished_segment_is_archived() {
    on_each_server("a finished segment", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.wait_for_archiver();
        archiving.wait_for_activity("");
        wait_for_statistics(&archiving, "0||f|0||f");
        archiving.hold();
        let names = archiving.switches(3);
        archiving.wait_until_held_at(&names[0]);
        assert_eq!(archiving.ready(), names);
        archiving.release();
        archiving.wait_until_done(&names);
        archiving.wait_for_activity(&format!("last was {}", names[2]));
        assert_eq!(archiving.ready(), [""; 0]);
        assert_eq!(archiving.calls(), names, "in this order, and once each");
        assert_eq!(archiving.archived(), names);
        archiving.check();
        wait_for_statistics(&archiving, &format!("3|{}|t|0||f", names[2]));
        let mut session = Wire::connect(&archiving.cluster);
        session.query("SELECT pg_stat_reset_shared('archiver')");
        wait_for_statistics(&archiving, "0||f|0||f");
        assert_eq!(session.query("SELECT stats_reset IS NOT NULL FROM pg_stat_archiver"), ["t", "SELECT 1"]);
        session.quit();
        assert_eq!(archiving.archiver_lines(), [""; 0], "nothing to say about success");
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn three_failures_and_the_next_cycle() {
    on_each_server("three failures", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.wait_for_archiver();
        archiving.write("fail", "1");
        archiving.cluster.mark_log();
        let mut names = archiving.switches(1);
        let first = names[0].clone();
        let command = format!("sh SOCKETS/archive.sh pg_wal/{first} {first}");
        archiving.cluster.wait_for_new_log("failed too many times");
        assert_eq!(archiving.archiver_lines(), failing_cycle("1", &command, &first), "{server:?}");
        archiving.wait_for_activity(&format!("failed on {first}"));
        wait_for_statistics(&archiving, &format!("0||f|3|{first}|t"));
        // A finished segment begins the next cycle, which begins with the first file again.
        archiving.write("fail", "125");
        archiving.cluster.mark_log();
        names.extend(archiving.switches(1));
        archiving.cluster.wait_for_new_log("failed too many times");
        assert_eq!(archiving.archiver_lines(), failing_cycle("125", &command, &first), "{server:?}");
        assert_eq!(archiving.calls(), vec![first.clone(); 6]);
        assert_eq!(archiving.ready(), names);
        wait_for_statistics(&archiving, &format!("0||f|6|{first}|t"));
        archiving.remove("fail");
        names.extend(archiving.switches(1));
        archiving.wait_until_done(&names);
        wait_for_statistics(&archiving, &format!("3|{}|t|6|{first}|t", names[2]));
        archiving.wait_for_activity(&format!("last was {}", names[2]));
        archiving.check();
    });
}

#[test]
fn what_becomes_of_the_percent_signs() {
    on_each_server("percent signs", |server| {
        let archiving = Archiving::started(server, &["log_min_messages = debug3"]);
        archiving.set_command("echo %f %% %q %p 100% >> arguments; pwd >> arguments");
        archiving.wait_for_archiver();
        archiving.reload();
        let name = archiving.switches(1).swap_remove(0);
        archiving.wait_until_done(std::slice::from_ref(&name));
        let wrote = fs::read_to_string(archiving.cluster.data_dir().join("arguments")).unwrap_or_default();
        let expected = format!("{name} % %q pg_wal/{name} 100%\nDATA\n");
        assert_eq!(archiving.cluster.normalised(&wrote), expected);
        let log = archiving.cluster.wait_for_log("archived write-ahead log file");
        let log = archiving.cluster.normalised(&log);
        let command = format!("echo {name} % %q pg_wal/{name} 100% >> arguments; pwd >> arguments");
        assert!(log.contains(&format!("DEBUG:  executing archive command \"{command}\"\n")), "{log}");
        assert!(log.contains(&format!("DEBUG:  archived write-ahead log file \"{name}\"\n")), "{log}");
    });
}

/// Each in a server of its own: a lost archiver comes back after ten seconds only.
#[test]
fn a_command_that_dies_takes_the_archiver_with_it() {
    on_each_server("commands that die", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let names = archiving.switches(2);
        archiving.wait_until_held_at(&names[0]);
        assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0));
        let cases = [
            ("exit 126", "archive command failed with exit code 126"),
            ("no-such-program %f", "archive command failed with exit code 127"),
            ("exit 143", "archive command failed with exit code 143"),
            ("exit 255", "archive command failed with exit code 255"),
            ("kill -9 $$", "archive command was terminated by signal 9: Killed"),
            ("kill -3 $$", "archive command was terminated by signal 3: Quit"),
            ("kill -15 $$", "archive command was terminated by signal 15: Terminated"),
        ];
        for (number, (command, text)) in cases.iter().enumerate() {
            archiving.set_command(command);
            archiving.cluster.mark_log();
            archiving.cluster.start();
            archiving.cluster.wait_for_new_log("The failed archive command was: ");
            wait_until("the archiver is gone", || archiving.archiver().is_none());
            let command = command.replace("%f", &names[0]);
            let mut said = archiving.archiver_lines();
            // Version 12's postmaster says this, 15's does not.
            said.retain(|line| line != "LOG:  archiver process (PID N) exited with exit code 1");
            said.retain(|line| line != "LOG:  checkpoint complete");
            let expected =
                [format!("FATAL:  {text}"), format!("DETAIL:  The failed archive command was: {command}")];
            assert_eq!(said, expected, "{server:?}");
            assert_eq!(Wire::connect(&archiving.cluster).query("SELECT 1"), ["1", "SELECT 1"]);
            if number < cases.len() - 1 {
                // Nobody to wait for.
                assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
            }
        }
        wait_for_statistics(&archiving, "0||f|0||f");
        // With a better command a new archiver goes on where the last one was.
        archiving.release();
        archiving.set_command(&archiving.script());
        archiving.reload();
        archiving.wait_for_archiver();
        archiving.wait_until_done(&names);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn a_command_that_changes_in_mid_cycle() {
    on_each_server("another command in mid-cycle", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let names = archiving.switches(4);
        archiving.wait_until_held_at(&names[0]);
        archiving.set_command("cp %p ../archive/%f; echo new %f >> ../calls");
        archiving.reload();
        let log = archiving.cluster.wait_for_log("parameter \"archive_command\" changed to");
        assert!(log.contains("received SIGHUP, reloading configuration files"), "{log}");
        archiving.release();
        archiving.wait_until_done(&names);
        let mut expected = vec![names[0].clone()];
        expected.extend(names[1..].iter().map(|name| format!("new {name}")));
        assert_eq!(archiving.calls(), expected, "{server:?}");
        archiving.check();
    });
}

#[test]
fn status_files_without_a_segment() {
    on_each_server("orphan status files", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.wait_for_archiver();
        archiving.hold();
        let mut names = archiving.switches(1);
        archiving.wait_until_held_at(&names[0]);
        let orphan = "0000000100000000000000FE";
        archiving.mark_ready(orphan);
        archiving.cluster.mark_log();
        // The next scan finds both.
        names.extend(archiving.switches(1));
        archiving.release();
        archiving.wait_until_done(&names);
        let status_file = format!("pg_wal/archive_status/{orphan}.ready");
        archiving.cluster.wait_for_new_log("removed orphan");
        let removed = format!("WARNING:  removed orphan archive status file \"{status_file}\"");
        assert_eq!(archiving.archiver_lines(), [removed], "{server:?}");
        assert_eq!(archiving.ready(), [""; 0]);
        // One that cannot be removed ends the cycle.
        fs::create_dir(archiving.cluster.data_dir().join(&status_file)).expect("own folder");
        archiving.cluster.mark_log();
        names.extend(archiving.switches(1));
        archiving.cluster.wait_for_new_log("removal of orphan");
        let kept = format!(
            "WARNING:  removal of orphan archive status file \"{status_file}\" failed too many times, will try again later"
        );
        assert_eq!(archiving.archiver_lines(), [kept], "{server:?}");
        archiving.wait_until_done(&names);
        fs::remove_dir(archiving.cluster.data_dir().join(&status_file)).expect("own folder");
        archiving.check();
    });
}

#[test]
fn what_is_archived_and_in_which_order() {
    on_each_server("order and names", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let segments = archiving.switches(2);
        archiving.wait_until_held_at(&segments[0]);
        archiving.cluster.stop(Stop::Immediate);
        let backup = format!("{}.00000028.backup", segments[0]);
        let history = ["00000002.history", "00000003.history"];
        for name in [backup.as_str(), history[1], history[0]] {
            archiving.cluster.write_file(&format!("pg_wal/{name}"), "by hand\n");
            archiving.mark_ready(name);
        }
        // Whatever is spelled with the characters of the possible names is taken for one, in the order of its bytes.
        let spelled = "0000000100000000000000a1";
        archiving.cluster.write_file(&format!("pg_wal/{spelled}"), "by hand\n");
        archiving.mark_ready(spelled);
        let junk = [
            "junk",
            "00000001000000000000000Z",
            "000000010000000",
            "000000010000000000000001.00000028.backup.x",
        ];
        for name in junk {
            archiving.cluster.write_file(&format!("pg_wal/{name}"), "");
            archiving.mark_ready(name);
        }
        archiving.cluster.write_file("pg_wal/archive_status/000000010000000000000099.readx", "");
        fs::remove_file(archiving.cluster.path("calls")).expect("own file");
        archiving.release();
        archiving.cluster.start();
        archiving.wait_until_done(&[spelled.to_owned()]);
        let expected = [history[0], history[1], &segments[0], &backup, &segments[1], spelled];
        assert_eq!(archiving.calls(), expected, "{server:?}");
        let mut left = archiving.ready();
        left.retain(|name| !segments.contains(name));
        let mut junk = junk.map(str::to_owned);
        junk.sort();
        assert_eq!(left, junk);
        for name in junk.iter().map(String::as_str).chain([spelled]) {
            fs::remove_file(archiving.cluster.data_dir().join("pg_wal").join(name)).expect("own file");
        }
        fs::remove_file(archiving.folder().join(spelled)).expect("own file");
        fs::remove_file(archiving.cluster.data_dir().join(format!("pg_wal/archive_status/{spelled}.done")))
            .expect("own file");
        archiving.check();
    });
}

#[test]
fn no_command_at_all() {
    on_each_server("an empty command", |server| {
        let archiving = Archiving::started(server, &["archive_command = ''"]);
        archiving.wait_for_archiver();
        archiving.cluster.mark_log();
        let mut names = archiving.switches(1);
        let log = archiving.cluster.wait_for_new_log("archive_mode enabled, yet");
        let text = "WARNING:  archive_mode enabled, yet archiving is not configured\n";
        assert!(archiving.cluster.normalised(&log).contains(text), "{log}");
        archiving.cluster.mark_log();
        names.extend(archiving.switches(1));
        archiving.cluster.wait_for_new_log("archive_mode enabled, yet");
        assert_eq!(archiving.ready(), names, "nothing is lost");
        // A stop does not wait for what nobody takes.
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        assert!(archiving.ready().starts_with(&names));
        archiving.set_command(&archiving.script());
        archiving.cluster.start();
        archiving.wait_until_done(&names);
        wait_until("nothing is left", || archiving.ready().is_empty());
        archiving.check();
    });
}

/// PostgreSQL 15 begins a crash cycle, since its archiver has a place in shared memory.
#[test]
fn kill_9_disturbs_nobody() {
    let archiving = Archiving::started(Server::Ours, &[]);
    let archiver = archiving.wait_for_archiver();
    let mut session = Wire::connect(&archiving.cluster);
    assert_eq!(session.query("BEGIN"), ["BEGIN"]);
    archiving.hold();
    let names = archiving.switches(3);
    archiving.wait_until_held_at(&names[0]);
    let others = |cluster: &Cluster| -> Vec<i32> {
        let all = cluster.processes();
        all.into_iter().filter(|p| p.ppid == cluster.postmaster_pid()).map(|p| p.pid).collect()
    };
    let mut before = others(&archiving.cluster);
    before.retain(|pid| *pid != archiver);
    archiving.cluster.mark_log();
    archiving.cluster.kill(archiver);
    let log = archiving.cluster.wait_for_new_log("was terminated by signal 9: Killed");
    let died = "LOG:  archiver process (PID N) was terminated by signal 9: Killed\n";
    assert!(archiving.cluster.normalised(&log).contains(died), "{log}");
    // The command goes on without it, and the next archiver's meets what it left.
    archiving.release();
    let again = archiving.wait_for_archiver();
    assert_ne!(again, archiver);
    archiving.wait_until_done(&names);
    let mut after = others(&archiving.cluster);
    after.retain(|pid| *pid != again);
    before.iter().for_each(|pid| assert!(after.contains(pid), "{pid} was disturbed"));
    assert_eq!(session.query("COMMIT"), ["COMMIT"]);
    let log = archiving.cluster.new_log();
    assert!(!log.contains("terminating any other active server processes"), "{log}");
    session.quit();
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

#[test]
fn the_postmaster_killed() {
    on_each_server("the archiver without a postmaster", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let names = archiving.switches(3);
        archiving.wait_until_held_at(&names[0]);
        let archiver = archiving.wait_for_archiver();
        archiving.cluster.kill(archiving.cluster.postmaster_pid());
        assert!(procfs::is_alive(archiver), "it waits for its command");
        archiving.release();
        wait_until("the archiver has left", || !procfs::is_alive(archiver));
        assert_eq!(archiving.calls(), names[..1], "the file in hand, and no further one");
        assert_eq!(archiving.done(), names[..1]);
        assert_eq!(archiving.ready(), names[1..]);
        wait_until("everyone is gone", || archiving.cluster.processes().is_empty());
        archiving.cluster.start();
        archiving.wait_until_done(&names);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn sigterm_and_sigusr2_by_hand() {
    on_each_server("signals to the archiver", |server| {
        let archiving = Archiving::started(server, &[]);
        archiving.hold();
        let mut names = archiving.switches(3);
        archiving.wait_until_held_at(&names[0]);
        let archiver = archiving.wait_for_archiver();
        archiving.cluster.mark_log();
        // It finishes what it has in hand and begins nothing else, but it stays for a minute.
        archiving.cluster.signal(archiver, Signal::SIGTERM);
        archiving.release();
        archiving.wait_until_done(&names[..1]);
        archiving.wait_for_activity(&format!("last was {}", names[0]));
        archiving.cluster.wait_until_asleep(archiver);
        names.extend(archiving.switches(1));
        assert_eq!(archiving.archiver(), Some(archiver));
        archiving.cluster.signal(archiver, Signal::SIGUSR2);
        wait_until("it has left", || !procfs::is_alive(archiver));
        assert_eq!(archiving.calls(), names[..1]);
        // The next one does all. It comes ten seconds after the last at the earliest, but at once with a restart.
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.cluster.start();
        let next = archiving.wait_for_archiver();
        wait_until("it has done all", || archiving.ready().is_empty());
        archiving.hold();
        let more = archiving.switches(3);
        archiving.wait_until_held_at(&more[0]);
        // One last pass over everything.
        archiving.cluster.signal(next, Signal::SIGUSR2);
        archiving.release();
        wait_until("it has left", || !procfs::is_alive(next));
        assert_eq!(archiving.ready(), [""; 0]);
        names.extend(more);
        archiving.wait_until_done(&names);
        assert_eq!(archiving.archiver_lines(), [""; 0], "{server:?}");
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    });
}

#[test]
fn archive_timeout_finishes_segments() {
    on_each_server("archive_timeout", |server| {
        let archiving = Archiving::started(server, &["archive_timeout = 1"]);
        if server == Server::Real {
            // Its checkpointer, started in recovery, does not think of it before something else wakes it.
            assert_eq!(Wire::connect(&archiving.cluster).query("CHECKPOINT"), ["CHECKPOINT"]);
        }
        for _ in 0..2 {
            let mut session = Wire::connect(&archiving.cluster);
            // The row comes into this segment, or into a later one.
            let name = session.query("SELECT pg_walfile_name(pg_current_wal_lsn())").swap_remove(0);
            assert_eq!(session.query("INSERT INTO t VALUES (1)"), ["INSERT 0 1"]);
            session.quit();
            wait_until("its segment is archived", || archiving.done().iter().any(|done| *done >= name));
        }
        archiving.cluster.stop(Stop::Fast);
        archiving.check();
    });
}

#[test]
fn archive_mode_off_and_always() {
    on_each_server("archive_mode", |server| {
        let archiving = Archiving::started(server, &["archive_mode = off"]);
        let mut names = archiving.switches(2);
        assert_eq!(archiving.archiver(), None);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!((archiving.ready(), archiving.calls()), (Vec::new(), Vec::new()));
        archiving.cluster.append_config("archive_mode = always");
        archiving.cluster.start();
        // What was finished before is not the archiver's business until a checkpoint looks at it.
        names.clear();
        names.extend(archiving.switches(2));
        archiving.wait_until_done(&names);
        let mut session = Wire::connect(&archiving.cluster);
        assert_eq!(session.query("SHOW archive_mode"), ["always", "SHOW"]);
        let refused = session.query("SET archive_mode = off");
        assert_eq!(
            refused,
            ["ERROR:  55P02: parameter \"archive_mode\" cannot be changed without restarting the server"]
        );
        session.quit();
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// A standby of nobody.
#[track_caller]
fn start_as_standby(archiving: &Archiving) {
    let cluster = &archiving.cluster;
    cluster.append_config("restore_command = 'false'");
    cluster.write_file("standby.signal", "");
    cluster.mark_log();
    cluster.spawn_postmaster(&[]);
    cluster.wait_for_new_log("database system is ready to accept read-only connections");
}

#[test]
fn recovery_and_the_archiver() {
    on_each_server("archiving in recovery", |server| {
        let archiving = Archiving::started(server, &["archive_mode = always"]);
        let cluster = &archiving.cluster;
        archiving.hold();
        let names = archiving.switches(2);
        archiving.wait_until_held_at(&names[0]);
        let unfinished = Wire::connect(cluster).query("INSERT INTO t VALUES (1)");
        assert_eq!(unfinished, ["INSERT 0 1"]);
        assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0));
        // What waits is archived by a standby too, if it is told to.
        start_as_standby(&archiving);
        archiving.wait_until_held_at(&names[0]);
        archiving.release();
        archiving.wait_until_done(&names);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("archive_mode = on");
        start_as_standby(&archiving);
        assert_eq!(archiving.archiver(), None);
        // Promoted, it has an archiver, which begins with the history of the new timeline.
        fs::remove_file(cluster.path("calls")).expect("own file");
        archiving.hold();
        assert_eq!(cluster.pg_ctl(&["promote"]).status.code(), Some(0));
        archiving.wait_until_held_at("00000002.history");
        let mut waiting = archiving.ready();
        let partial = waiting.iter().find(|name| name.ends_with(".partial")).cloned();
        let partial = partial.unwrap_or_else(|| panic!("the old timeline's last segment: {waiting:?}"));
        waiting.extend(archiving.switches(1));
        archiving.release();
        archiving.wait_until_done(&waiting);
        assert_eq!(archiving.calls()[..2], ["00000002.history".to_owned(), partial], "{server:?}");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

#[test]
fn minimal_wal_is_not_enough() {
    on_each_server("wal_level = minimal", |server| {
        let config = ["archive_mode = on", "wal_level = minimal", "max_wal_senders = 0"];
        let config = config.map(str::to_owned).to_vec();
        let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
        let output = cluster.run_postmaster(&[]);
        assert_eq!(output.status.code(), Some(1));
        let said = cluster.normalised(&String::from_utf8_lossy(&output.stderr));
        let expected = "FATAL:  WAL archival cannot be enabled when wal_level is \"minimal\"\n";
        assert!(said.ends_with(expected), "{said}");
    });
}
