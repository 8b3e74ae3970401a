//! Recovery that cannot go on: what is said then is what PostgreSQL says, and a second start goes on where the first
//! could not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use integration::archive::{self, control};
use integration::{Cluster, Server, Stop, Wire, on_each_server, procfs, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::pitr_past::{BEFORE, Past, restorers, rows_of, run, stopped_with_rows, wait_until_promoted};

/// What ends every start that failed.
const END: [&str; 4] = [
    "LOG:  startup process (PID N) exited with exit code 1",
    "LOG:  terminating any other active server processes",
    "LOG:  shutting down due to startup process failure",
    "LOG:  database system is shut down",
];

/// Starts that fail: from `from` on, the log is what is expected, and the same with both servers.
#[track_caller]
fn fails(server: Server, make: impl Fn(Server) -> Cluster, from: &str, says: &[&str]) {
    let mut logs: Vec<Vec<String>> = Vec::new();
    for restorer in restorers(server) {
        let cluster = make(*restorer);
        cluster.spawn_postmaster(&[]);
        assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
        let lines: Vec<String> = cluster.normalised(&cluster.log()).lines().map(str::to_owned).collect();
        let milestones = archive::milestones(&lines.join("\n"));
        let at = milestones.iter().position(|line| line.contains(from)).unwrap_or(milestones.len());
        let expected: Vec<&str> = says.iter().chain(&END).copied().collect();
        assert_eq!(milestones[at..], expected, "{restorer:?}: {milestones:#?}");
        logs.push(cluster.milestones());
    }
    assert_eq!(logs.first(), logs.last());
}

/// The first segment that a base copy needs.
fn first_segment(past: &Past) -> String {
    let line = past.base.label_value("START WAL LOCATION");
    line.split_once("(file ").expect("a file").1.trim_end_matches(')').to_owned()
}

/// A copy of the archive that a test may damage.
fn copied_archive(past: &Past, name: &str) -> PathBuf {
    let copy = past.cluster.path(name);
    past.cluster.sh(&format!("cp -r '{}' '{}'", past.archive().display(), copy.display()));
    copy
}

/// Settings that begin with a command for the shell.
fn restore_with(script: &str) -> String {
    format!("restore_command = '{}'", script.replace('\'', "''"))
}

#[test]
fn restore_commands_that_fail() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("restore_command", |server| {
        let past = Past::quiet(server);
        let first = first_segment(&past);
        let with = |script: &str| {
            let setting = restore_with(script);
            let past = &past;
            move |server| past.restored(server, &[&setting])
        };
        let no_checkpoint = [
            "FATAL:  could not locate required checkpoint record",
            "HINT:  If you are restoring from a backup, touch \"DATA/recovery.signal\" and add required recovery options.",
            "\tIf you are not restoring from a backup, try removing the file \"DATA/backup_label\".",
            "\tBe careful: removing \"DATA/backup_label\" will result in a corrupt cluster if restoring from a backup.",
        ];
        let invalid = ["LOG:  invalid checkpoint record"].iter().chain(&no_checkpoint).copied();
        let invalid: Vec<&str> = invalid.collect();
        fails(server, with("false"), "invalid checkpoint record", &invalid);
        fails(server, with("exit 125"), "invalid checkpoint record", &invalid);
        // It says that it did, but there is no file.
        fails(
            server,
            with("case %f in *.history) exit 1; esac; true"),
            "could not stat",
            &[
                &[
                    "LOG:  could not stat file \"pg_wal/RECOVERYXLOG\": No such file or directory",
                    "DETAIL:  restore_command returned a zero exit status, but stat() failed.",
                ][..],
                &invalid[..],
            ]
            .concat(),
        );
        fails(
            server,
            with("case %f in *.history) exit 1; esac; echo x > %p"),
            "wrong size",
            &[&format!("FATAL:  archive file \"{first}\" has wrong size: 2 instead of 1048576")],
        );
        fails(
            server,
            with("case %f in *.history) exit 1; esac; kill -9 $$"),
            "could not restore file",
            &[&format!(
                "FATAL:  could not restore file \"{first}\" from archive: child process was terminated by signal 9: Killed"
            )],
        );
        fails(
            server,
            with("case %f in *.history) exit 1; esac; exit 127"),
            "could not restore file",
            &[&format!("FATAL:  could not restore file \"{first}\" from archive: command not found")],
        );
        // Somebody ends the server, and the command first: that is no failure to tell about.
        fails(server, with("case %f in *.history) exit 1; esac; kill $$"), "startup process", &[]);
    });
}

/// A segment of the right size with nothing in it is the end of WAL.
#[test]
fn garbage_from_the_archive() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("garbage", |server| {
        let past = Past::quiet(server);
        let archive = copied_archive(&past, "damaged");
        let first = first_segment(&past);
        let later = archive::names_in(&archive).into_iter().find(|name| *name > first && name.len() == 24);
        let later = archive.join(later.expect("a second segment"));
        fs::write(&later, vec![0x5A; 1 << 20]).expect("a writable archive");
        let mut logs = Vec::new();
        for restorer in restorers(server) {
            let cluster = past.restored_from(*restorer, &archive, &[]);
            cluster.start();
            wait_until_promoted(&cluster);
            logs.push(cluster.milestones());
            let (cluster, rows) = stopped_with_rows(cluster, server);
            assert!(past.numbers(past.rows.len()).starts_with(&rows), "{}", cluster.log());
        }
        assert_eq!(logs.first(), logs.last());
        assert!(logs[0].iter().any(|line| line.contains("invalid magic number 5A5A")), "{:#?}", logs[0]);
    });
}

#[test]
fn missing_segments_and_targets() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("missing segments", |server| {
        let past = Past::quiet(server);
        let last = past.rows.last().expect("rows").1.xid + 1000;
        let never = format!("recovery_target_xid = '{last}'");
        let not_reached = ["FATAL:  recovery ended before configured recovery target was reached"];
        let make = |server| past.restored(server, &[&never]);
        fails(server, make, "configured recovery target", &not_reached);

        // A target in the base copy's own time.
        let early = format!("recovery_target_lsn = '{}'", past.rows[BEFORE + 1].1.lsn);
        let make = |server| past.restored(server, &[&early, "recovery_target_inclusive = off"]);
        let too_early = ["FATAL:  requested recovery stop point is before consistent recovery point"];
        fails(server, make, "requested recovery stop point", &too_early);

        // A hole behind the base copy ends recovery there, unless a target says that there should be more.
        let archive = copied_archive(&past, "holed");
        let first = first_segment(&past);
        let names = archive::names_in(&archive);
        let hole = names.iter().rfind(|name| name.len() == 24 && **name != first).expect("segments");
        fs::remove_file(archive.join(hole)).expect("own file");
        for restorer in restorers(server) {
            let cluster = past.restored_from(*restorer, &archive, &[]);
            cluster.start();
            wait_until_promoted(&cluster);
            let (cluster, rows) = stopped_with_rows(cluster, server);
            assert!(past.numbers(past.rows.len()).starts_with(&rows), "{}", cluster.log());
        }
        let make = |server| past.restored_from(server, &archive, &[&never]);
        fails(server, make, "configured recovery target", &not_reached);
        // One at its beginning leaves nothing to begin with.
        fs::remove_file(archive.join(&first)).expect("own file");
        let make = |server| past.restored_from(server, &archive, &[]);
        fails(
            server,
            make,
            "FATAL",
            &[
                "FATAL:  could not locate required checkpoint record",
                "HINT:  If you are restoring from a backup, touch \"DATA/recovery.signal\" and add required recovery options.",
                "\tIf you are not restoring from a backup, try removing the file \"DATA/backup_label\".",
                "\tBe careful: removing \"DATA/backup_label\" will result in a corrupt cluster if restoring from a backup.",
            ],
        );
    });
}

/// A base copy whose WAL ends before `pg_backup_stop`.
#[test]
fn a_backup_that_never_ended() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("an unfinished backup", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        run(&mut session, "SELECT pg_switch_wal()");
        let mut saved = PathBuf::new();
        let base = archive::base_copy(&primary, &mut session, "base", || {
            let mut other = Wire::connect(&primary);
            run(&mut other, "INSERT INTO past VALUES (1)");
            primary.archive_all(&mut other);
            saved = primary.path("saved");
            primary.sh(&format!("cp -r '{}' '{}'", primary.archive_dir().display(), saved.display()));
        });
        fails(
            server,
            |server| archive::restored(server, &base.dir, &saved, &[]),
            "WAL ends before end of online backup",
            &[
                "FATAL:  WAL ends before end of online backup",
                "HINT:  All WAL generated while online backup was taken must be available at recovery.",
            ],
        );
    });
}

/// Settings and files that cannot be: said before anything is touched.
#[test]
fn refusals() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("refusals", |server| {
        let past = Past::quiet(server);
        let two = ["recovery_target_xid = '1000'", "recovery_target_name = 'here'"];
        for restorer in restorers(server) {
            let cluster = past.restored(*restorer, &two);
            let output = cluster.run_postmaster(&[]);
            let said = cluster.normalised(&String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("multiple recovery targets specified"), "{said}");
        }
        fails(
            server,
            |server| past.restored(server, &["restore_command = ''"]),
            "must specify restore_command",
            &["FATAL:  must specify restore_command when standby mode is not enabled"],
        );
        let damaged_label = |server, label: String| {
            let cluster = past.restored(server, &[]);
            cluster.write_file("backup_label", &label);
            cluster
        };
        let label = &past.base.label;
        for bad in ["", "START WAL LOCATION: nowhere\n", &label[label.find('\n').unwrap_or(0) + 1..]] {
            fails(
                server,
                |server| damaged_label(server, bad.to_owned()),
                "FATAL",
                &["FATAL:  invalid data in file \"backup_label\""],
            );
        }
        // Without the label, the checkpoint of pg_control is the beginning, and there is no WAL for it.
        let without_label = |server| {
            let cluster = archive::on_copy(server, &past.base.dir, &[]);
            fs::remove_file(cluster.data_dir().join("backup_label")).expect("own file");
            cluster
        };
        for restorer in restorers(server) {
            let cluster = without_label(*restorer);
            cluster.spawn_postmaster(&[]);
            assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
            let log = cluster.log();
            assert!(log.contains("PANIC:  could not locate a valid checkpoint record"), "{log}");
        }
    });
}

/// Hot standby needs as much room as the primary had.
#[test]
fn too_low_settings() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("too low settings", |server| {
        let past = Past::quiet(server);
        for (setting, detail) in [
            (
                "max_connections = 20",
                "max_connections = 20 is a lower setting than on the primary server, where its value was 100.",
            ),
            (
                "max_worker_processes = 3",
                "max_worker_processes = 3 is a lower setting than on the primary server, where its value was 8.",
            ),
            (
                "max_locks_per_transaction = 10",
                "max_locks_per_transaction = 10 is a lower setting than on the primary server, where its value was 64.",
            ),
        ] {
            fails(
                server,
                |server| past.restored(server, &["max_wal_senders = 10", setting]),
                "FATAL",
                &[
                    "FATAL:  recovery aborted because of insufficient parameter settings",
                    &format!("DETAIL:  {detail}"),
                    "HINT:  You can restart the server after making the necessary configuration changes.",
                ],
            );
        }
        // Without readers nobody needs it.
        let cluster = past.restored(server, &["max_connections = 20", "hot_standby = off"]);
        cluster.start();
        wait_until_promoted(&cluster);
        assert_eq!(rows_of(&cluster), past.numbers(past.rows.len()));
    });
}

/// A `restore_command` that waits at one file until another file is there.
struct Gate {
    open: PathBuf,
    waiting: PathBuf,
    command: String,
}

impl Gate {
    fn at(cluster: &Cluster, archive: &Path, segment: &str, name: &str) -> Gate {
        let (open, waiting) =
            (cluster.path(&format!("{name}.open")), cluster.path(&format!("{name}.waiting")));
        let script = format!(
            "if test %f = {segment}; then touch {waiting}; while ! test -e {open}; do sleep 0.01; done; fi; \
             test -f {archive}/%f && cp {archive}/%f %p",
            waiting = waiting.display(),
            open = open.display(),
            archive = archive.display()
        );
        Gate { open, waiting, command: restore_with(&script) }
    }

    /// Waits until recovery stands before the gate.
    fn wait(&self) {
        wait_until("recovery waits for a segment", || self.waiting.exists());
    }

    fn open(&self) {
        fs::write(&self.open, "").expect("own folder");
        let _ = fs::set_permissions(&self.open, fs::Permissions::from_mode(0o644));
    }
}

/// The segment in which recovery of this past is consistent already, but not over.
fn last_segment(past: &Past) -> String {
    archive::names_in(&past.archive()).into_iter().rfind(|name| name.len() == 24).expect("segments")
}

/// Recovery is interrupted in the middle, in each way, and goes on at the next start.
#[test]
fn interrupted_and_started_again() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("interrupted recovery", |server| {
        let past = Past::quiet(server);
        for restorer in restorers(server) {
            for (name, state) in [
                ("killed", "in archive recovery"),
                ("immediate", "in archive recovery"),
                ("fast", "shut down in recovery"),
            ] {
                let gate = Gate::at(
                    &past.cluster,
                    &past.archive(),
                    &last_segment(&past),
                    &format!("{name}{restorer:?}"),
                );
                let cluster = past.restored(*restorer, &[&gate.command]);
                cluster.spawn_postmaster(&[]);
                gate.wait();
                match name {
                    "killed" => {
                        cluster.kill(cluster.wait_for_process("postgres: startup"));
                        assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
                        let log = cluster.log();
                        assert!(log.contains(") was terminated by signal 9: Killed"), "{log}");
                    }
                    "immediate" => assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0)),
                    _ => assert_eq!(cluster.stop(Stop::Fast).code(), Some(0)),
                }
                let what = format!("{name}, {restorer:?}");
                assert_eq!(control(&cluster, "Database cluster state"), state, "{what}");
                assert_eq!(control(&cluster, "Backup start location"), "0/0", "{what}");
                assert!(!cluster.data_dir().join("backup_label").exists(), "{what}");
                gate.open();
                // The command outlives a startup process that was killed, and would write on.
                wait_until("the command has ended", || cluster.processes().is_empty());
                cluster.mark_log();
                cluster.start();
                cluster.wait_for_new_log("ready to accept connections");
                wait_until_promoted(&cluster);
                let log = cluster.new_log();
                let begins = if state == "shut down in recovery" {
                    "LOG:  database system was shut down in recovery at "
                } else {
                    "LOG:  database system was interrupted while in recovery at log time "
                };
                assert!(log.contains(begins), "{what}: {log}");
                let (_cluster, rows) = stopped_with_rows(cluster, server);
                assert_eq!(rows, past.numbers(past.rows.len()), "{what}");
            }
        }
    });
}

/// The checkpoint at the end may take long. A crash before it is complete must not make recovery forget its target: PostgreSQL
/// has no signal file by then, and goes on to the end of the old timeline.
#[test]
fn a_crash_before_the_last_checkpoint() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let past = Past::quiet(Server::Ours);
    let gate = Gate::at(&past.cluster, &past.archive(), &first_segment(&past), "first");
    let target = ["recovery_target_name = 'here'", "recovery_target_action = promote", &gate.command];
    let cluster = past.restored(Server::Ours, &target);
    cluster.spawn_postmaster(&[]);
    gate.wait();
    // The postmaster kills it in the end.
    cluster.signal(cluster.wait_for_process("postgres: checkpointer"), Signal::SIGSTOP);
    gate.open();
    cluster.wait_for_log("archive recovery complete");
    cluster.kill(cluster.wait_for_process("postgres: startup"));
    assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
    assert!(cluster.data_dir().join("recovery.signal").exists());
    cluster.mark_log();
    cluster.start();
    cluster.wait_for_new_log("selected new timeline ID: 3");
    cluster.wait_for_new_log("ready to accept connections");
    wait_until_promoted(&cluster);
    assert!(!cluster.data_dir().join("recovery.signal").exists());
    let (_cluster, rows) = stopped_with_rows(cluster, Server::Ours);
    assert_eq!(rows, past.numbers(past.rows_here));
}

/// A crash behind that checkpoint, before the signal file is gone: the target, which lies behind, is not looked for again.
#[test]
fn a_crash_behind_the_last_checkpoint() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let past = Past::quiet(Server::Ours);
    let target = [
        "recovery_target_name = 'here'",
        "recovery_target_action = promote",
        "recovery_end_command = 'touch ended; exec sleep 1000'",
    ];
    let cluster = past.restored(Server::Ours, &target);
    cluster.spawn_postmaster(&[]);
    wait_until("the command runs", || cluster.data_dir().join("ended").exists());
    assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0), "{}", cluster.log());
    assert_eq!(control(&cluster, "Database cluster state"), "shut down");
    // As if it had been a moment earlier.
    cluster.write_file("recovery.signal", "");
    cluster.append_config("recovery_end_command = ''");
    cluster.mark_log();
    cluster.start();
    cluster.wait_for_new_log("its recovery has been completed");
    wait_until_promoted(&cluster);
    assert!(!cluster.data_dir().join("recovery.signal").exists());
    assert!(!cluster.data_dir().join("pg_wal/00000003.history").exists());
    let (_cluster, rows) = stopped_with_rows(cluster, Server::Ours);
    assert_eq!(rows, past.numbers(past.rows_here));
}

/// A command that hangs keeps nobody from stopping the server.
#[test]
fn a_restore_command_that_hangs() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("a restore_command that hangs", |server| {
        let past = Past::quiet(server);
        let first = first_segment(&past);
        for how in [Stop::Fast, Stop::Immediate, Stop::Smart] {
            let gate = Gate::at(&past.cluster, &past.archive(), &first, how.word());
            let cluster = past.restored(server, &[&gate.command]);
            cluster.spawn_postmaster(&[]);
            gate.wait();
            let startup = cluster.wait_for_process("postgres: startup");
            assert!(
                cluster.title(startup).ends_with(&format!("waiting for {first}")),
                "{}",
                cluster.title(startup)
            );
            assert_eq!(cluster.stop(how).code(), Some(0), "{how:?}");
            assert!(!procfs::is_alive(startup));
            gate.open();
            wait_until("the command has ended", || cluster.processes().is_empty());
        }
    });
}

/// The primary gets more room than its standby: readers may stay until somebody says that they may not.
#[test]
fn settings_that_become_too_low() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("settings that become too low", |server| {
        let primary = archive::archiving(server, &["max_connections = 20"]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        session.quit();
        primary.stop(Stop::Fast);
        primary.append_config("max_connections = 30");
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "INSERT INTO past VALUES (1)");
        primary.archive_all(&mut session);
        let cluster = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
        cluster.append_config(&archive::restore_command(&primary.archive_dir()));
        cluster.write_file("standby.signal", "");
        cluster.start();
        let log = cluster.wait_for_log(
            "HINT:  You can then restart the server after making the necessary configuration changes.",
        );
        // Both lines have a context: the record, told in more or fewer words.
        let without_context = |log: &str| {
            let lines = log.lines().filter(|line| !line.starts_with("CONTEXT")).map(str::to_owned);
            lines.collect::<Vec<_>>().join("\n")
        };
        let log = without_context(&cluster.normalised(&log));
        let lower =
            "max_connections = 20 is a lower setting than on the primary server, where its value was 30.";
        let expected = format!(
            "WARNING:  hot standby is not possible because of insufficient parameter settings\n\
             DETAIL:  {lower}\n\
             LOG:  recovery has paused\n\
             DETAIL:  If recovery is unpaused, the server will shut down.\n\
             HINT:  You can then restart the server after making the necessary configuration changes."
        );
        assert!(log.contains(&expected), "{log}");
        let mut reader = Wire::connect(&cluster);
        assert_eq!(run(&mut reader, "SELECT count(*) FROM past")[0], "0");
        reader.begin("SELECT pg_wal_replay_resume()");
        assert_eq!(cluster.wait_for_end().code(), Some(1));
        let log = without_context(&cluster.normalised(&cluster.log()));
        let fatal =
            format!("FATAL:  recovery aborted because of insufficient parameter settings\nDETAIL:  {lower}");
        assert!(log.contains(&fatal), "{log}");
        cluster.append_config("max_connections = 30");
        cluster.start();
        wait_until("the standby has followed", || {
            Wire::connect(&cluster).query("SELECT count(*) FROM past").first().map(String::as_str)
                == Some("1")
        });
    });
}
