//! Several archive commands at a time (`archive_max_workers`), and a stop that does not wait for them for ever
//! (`archiver_shutdown_timeout`). PostgreSQL has neither.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::{Cluster, DEADLINE, Server, Stop, Wire, archive, pause, process, procfs, skip, wait_until};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::archiver_support::Archiving;

/// `%p %f`. Files beside it decide what it does: `hold` and `hold-NAME` make it wait, `barrier` until that many commands
/// have begun, `delay` for so long; `fail-NAME` makes it fail. It notes when it begins and ends, and how many of its kind
/// run. What it has not finished has a name of its own, since after `kill -9` of an archiver two may be at one file.
const SCRIPT: &str = r#"d=DIR
echo "begin $2" >> $d/events
: > "$d/run/$2"
ls $d/run | wc -l >> $d/counts
end() {
    echo "end $2" >> $d/events
    rm -f "$d/run/$2"
    exit $1
}
while test -e $d/hold || test -e "$d/hold-$2"; do sleep 0.02; done
if test -e $d/barrier; then
    : > "$d/begun/$2"
    until test "$(ls $d/begun | wc -l)" -ge "$(cat $d/barrier)"; do sleep 0.02; done
fi
test -e $d/delay && sleep "$(cat $d/delay)"
test -e "$d/fail-$2" && end 1 "$2"
if test -e "$d/archive/$2"; then
    cmp -s "$1" "$d/archive/$2" && end 0 "$2"
    cp "$1" "$d/conflicts-$2"
    end 1 "$2"
fi
cp "$1" "$d/parts/$2.$$" && mv "$d/parts/$2.$$" "$d/archive/$2" && end 0 "$2"
end 1 "$2"
"#;

/// A cluster whose archiver runs so many of [`SCRIPT`] at a time; not started.
fn with_workers(workers: usize, config: &[&str]) -> Archiving {
    let archiving = Archiving::of(Server::Ours, config);
    let folder = archiving.cluster.socket_dir().display().to_string();
    archiving.write("parallel.sh", &SCRIPT.replace("DIR", &folder));
    archiving.cluster.sh(&format!("mkdir '{folder}/run' '{folder}/begun' '{folder}/parts'"));
    archiving.set_command(&format!("sh {folder}/parallel.sh %p %f"));
    archiving.cluster.append_config(&format!("archive_max_workers = {workers}"));
    archiving
}

/// The same, started, with a table `t`.
fn started(workers: usize, config: &[&str]) -> Archiving {
    let archiving = with_workers(workers, config);
    archiving.start();
    archiving
}

/// `begin NAME` and `end NAME` of all commands so far.
fn events(archiving: &Archiving) -> Vec<String> {
    let text = fs::read_to_string(archiving.cluster.path("events")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The files that commands were begun for, sorted, each as often as that.
fn begun(archiving: &Archiving) -> Vec<String> {
    let mut names: Vec<String> =
        events(archiving).iter().filter_map(|line| line.strip_prefix("begin ").map(str::to_owned)).collect();
    names.sort();
    names
}

/// Waits until commands for these files, and no others, are begun.
#[track_caller]
fn wait_until_begun(archiving: &Archiving, names: &[String]) {
    wait_until("the commands run", || begun(archiving) == names);
}

/// Waits until `pg_stat_archiver` says this: count of successes, newest without a gap, whether there are failures.
#[track_caller]
fn wait_for_statistics(archiving: &Archiving, expected: &str) {
    let question = "SELECT archived_count, last_archived_wal, failed_count > 0 FROM pg_stat_archiver";
    archiving.wait_for_row(question, expected);
}

#[test]
fn settings() {
    let archiving = with_workers(1, &[]);
    let conf = fs::read_to_string(archiving.cluster.data_dir().join("postgresql.conf")).expect("own file");
    for line in ["#archive_max_workers = 1 ", "#archiver_shutdown_timeout = -1 "] {
        assert!(conf.contains(line), "{line}");
    }
    archiving.cluster.start();
    let mut session = Wire::connect(&archiving.cluster);
    let names = "name IN ('archive_max_workers', 'archiver_shutdown_timeout')";
    let columns = "name, boot_val, unit, context, min_val, max_val";
    let rows = session.query(&format!("SELECT {columns} FROM pg_settings WHERE {names} ORDER BY name"));
    assert_eq!(
        rows,
        [
            "archive_max_workers|1||sighup|1|32",
            "archiver_shutdown_timeout|-1|ms|sighup|-1|2147483647",
            "SELECT 2"
        ]
    );
    archiving.cluster.append_config("archiver_shutdown_timeout = '90s'");
    archiving.cluster.append_config("archive_max_workers = 33");
    archiving.cluster.mark_log();
    archiving.reload();
    archiving.cluster.wait_for_new_log("33 is outside the valid range");
    archiving.cluster.append_config("archive_max_workers = 32");
    archiving.reload();
    wait_until("both are in force", || {
        session.query("SHOW archive_max_workers")[0] == "32"
            && session.query("SHOW archiver_shutdown_timeout")[0] == "90s"
    });
    session.quit();
}

/// No command of the first eight ends before all of them have begun; and there are never more.
#[test]
fn eight_at_a_time() {
    let archiving = with_workers(8, &[]);
    archiving.write("barrier", "8");
    archiving.hold();
    archiving.start();
    let names = archiving.switches(24);
    wait_until_begun(&archiving, &names[..8]);
    archiving.wait_for_activity(&format!("archiving {} and 7 more", names[0]));
    archiving.release();
    archiving.wait_until_done(&names);
    wait_for_statistics(&archiving, &format!("24|{}|f", names[23]));
    wait_until("no command runs", || {
        archiving.activity().is_some_and(|title| title.starts_with("last was "))
    });
    assert_eq!(begun(&archiving), names, "once each");
    let counts = fs::read_to_string(archiving.cluster.path("counts")).expect("own file");
    let most = counts.lines().filter_map(|line| line.trim().parse::<usize>().ok()).max();
    assert_eq!(most, Some(8));
    assert_eq!(archiving.archiver_lines(), [""; 0], "nothing to say about success");
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// Each history file is archived before the next command begins.
#[test]
fn histories_go_first_and_alone() {
    let archiving = started(4, &[]);
    archiving.hold();
    let names = archiving.switches(6);
    wait_until_begun(&archiving, &names[..4]);
    assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0));
    wait_until("nothing is left", || archiving.cluster.processes().is_empty());
    let histories = ["00000002.history", "00000003.history"];
    for name in histories.iter().rev() {
        archiving.cluster.write_file(&format!("pg_wal/{name}"), "by hand\n");
        archiving.mark_ready(name);
    }
    fs::remove_file(archiving.cluster.path("events")).expect("own file");
    archiving.release();
    archiving.cluster.start();
    archiving.wait_until_done(&names);
    let expected: Vec<String> =
        histories.iter().flat_map(|name| [format!("begin {name}"), format!("end {name}")]).collect();
    let events = events(&archiving);
    assert_eq!(events[..4], expected, "{events:?}");
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// One file fails: those begun with it are archived, no other is begun, and the newest without a gap is the one before.
#[test]
fn a_failing_file_in_the_middle() {
    let archiving = started(4, &[]);
    archiving.hold();
    let mut names = archiving.switches(8);
    wait_until_begun(&archiving, &names[..4]);
    for other in [0, 1, 3] {
        archiving.write(&format!("hold-{}", names[other]), "");
    }
    let failing = names[2].clone();
    archiving.write(&format!("fail-{failing}"), "");
    archiving.cluster.mark_log();
    archiving.release();
    archiving.cluster.wait_for_new_log("archive command failed with exit code 1");
    for other in [3, 1, 0] {
        archiving.remove(&format!("hold-{}", names[other]));
        archiving.wait_until_done(&names[other..=other]);
    }
    wait_for_statistics(&archiving, &format!("3|{}|t", names[1]));
    let gave_up = format!("\"{failing}\" failed too many times, will try again later");
    archiving.cluster.wait_for_new_log(&gave_up);
    // The next cycle too begins with it alone.
    archiving.cluster.mark_log();
    names.extend(archiving.switches(1));
    archiving.cluster.wait_for_new_log(&gave_up);
    let mut others = begun(&archiving);
    others.retain(|name| *name != failing);
    assert_eq!(others, [0, 1, 3].map(|index| names[index].clone()));
    let mut waiting = names.clone();
    waiting.retain(|name| !others.contains(name));
    assert_eq!(archiving.ready(), waiting);
    archiving.remove(&format!("fail-{failing}"));
    names.extend(archiving.switches(1));
    archiving.wait_until_done(&names);
    wait_for_statistics(&archiving, &format!("{}|{}|t", names.len(), names[names.len() - 1]));
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// A backup needs all its WAL in the archive, not only the last of it.
#[test]
fn the_end_of_a_backup_waits_for_all_segments() {
    let archiving = started(4, &[]);
    archiving.wait_for_archiver();
    let cluster = &archiving.cluster;
    let mut session = Wire::connect(cluster);
    assert_eq!(session.query("SELECT pg_backup_start('b', true)").len(), 2);
    // The switch at the start of a backup has finished a segment too.
    wait_until("nothing waits", || archiving.ready().is_empty());
    let first = session.query("SELECT pg_walfile_name(pg_current_wal_lsn())").swap_remove(0);
    archiving.write(&format!("hold-{first}"), "");
    let names = archiving.switches(3);
    assert_eq!(names[0], first);
    let backend = session.pid;
    session.begin("SELECT 1 FROM pg_backup_stop(true)");
    archiving.wait_until_done(&names[1..]);
    let history = |name: &String| name.ends_with(".backup");
    wait_until("the backup's history is archived", || archiving.done().iter().any(history));
    // It looks once a second.
    let slept = || {
        let status = fs::read_to_string(format!("/proc/{backend}/status")).expect("a living session");
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.and_then(|count| count.trim().parse::<u64>().ok()).expect("a number")
    };
    let before = slept();
    wait_until("it has looked again", || slept() >= before + 2);
    let waits = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {backend}");
    assert_eq!(Wire::connect(cluster).query(&waits)[0], "BackupWaitWalArchive");
    archiving.remove(&format!("hold-{first}"));
    let answer = session.answer();
    assert_eq!(answer.last().map(String::as_str), Some("SELECT 1"), "{answer:?}");
    assert!(archiving.done().contains(&first));
}

/// All commands die of an immediate stop, and nothing is begun after it.
#[test]
fn an_immediate_stop_takes_all_commands() {
    let archiving = started(4, &[]);
    archiving.hold();
    let names = archiving.switches(8);
    wait_until_begun(&archiving, &names[..4]);
    archiving.cluster.mark_log();
    assert_eq!(archiving.cluster.stop(Stop::Immediate).code(), Some(0));
    assert_eq!(archiving.cluster.processes(), []);
    assert_eq!((archiving.ready(), begun(&archiving)), (names.clone(), names[..4].to_vec()));
    let said = archiving.archiver_lines();
    let fatal = "FATAL:  archive command was terminated by signal 3: Quit";
    assert_eq!(said.iter().filter(|line| *line == fatal).count(), 1, "{said:?}");
    archiving.release();
    archiving.cluster.start();
    archiving.wait_until_done(&names);
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// A command killed in the middle ends the archiver, which waits for the others and marks what they did.
#[test]
fn a_killed_command_does_not_lose_the_others_work() {
    let archiving = started(4, &[]);
    archiving.hold();
    let names = archiving.switches(8);
    wait_until_begun(&archiving, &names[..4]);
    let archiver = archiving.wait_for_archiver();
    let victim = archiving
        .cluster
        .processes()
        .into_iter()
        .find(|process| process.ppid == archiver && process.title.ends_with(&names[1]));
    archiving.cluster.kill(victim.expect("its command runs").pid);
    assert!(procfs::is_alive(archiver), "it waits for the others");
    archiving.release();
    wait_until("the archiver has left", || !procfs::is_alive(archiver));
    let archived = [0, 2, 3].map(|index| names[index].clone());
    assert_eq!((archiving.done(), begun(&archiving)), (archived.to_vec(), names[..4].to_vec()));
    let log = archiving.cluster.log();
    assert!(log.contains("FATAL:  archive command was terminated by signal 9: Killed\n"), "{log}");
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.cluster.start();
    archiving.wait_until_done(&names);
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// The time of a stop is up: it ends cleanly, says what is left, and the next start archives it.
#[test]
fn a_stop_that_has_a_bound() {
    for (segments, command) in [(3, ""), (14, "trap \"\" TERM; ")] {
        let archiving = with_workers(2, &["archiver_shutdown_timeout = '1s'"]);
        let script = format!("{command}sh {}/parallel.sh %p %f", archiving.cluster.socket_dir().display());
        archiving.set_command(&script);
        archiving.start();
        archiving.hold();
        let names = archiving.switches(segments);
        wait_until_begun(&archiving, &names[..2]);
        archiving.cluster.mark_log();
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        let left = archiving.ready();
        assert!(left.starts_with(&names), "{left:?}");
        let count = left.len();
        let ended = format!(
            "LOG:  archiving ended by \"archiver_shutdown_timeout\": \
             {count} files are left to be archived after the next start"
        );
        let which = format!("DETAIL:  Not archived: {}.", left.join(", "));
        assert_eq!(archiving.archiver_lines(), [ended, which]);
        assert_eq!(begun(&archiving), names[..2], "nothing else was begun");
        let log = archiving.cluster.new_log();
        assert!(log.contains("LOG:  database system is shut down\n"), "{log}");
        archiving.is_shut_down();
        archiving.cluster.append_config("archiver_shutdown_timeout = -1");
        archiving.cluster.mark_log();
        archiving.cluster.start();
        assert!(!archiving.cluster.new_log().contains("automatic recovery"), "it was a clean stop");
        archiving.release();
        archiving.wait_until_done(&left);
        assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
    }
}

/// 500 segments, each with `sleep 0.05; cp`: eight workers need at most a sixth of the time of one.
#[test]
fn a_backlog_drains_faster() {
    const SEGMENTS: usize = 500;
    const FACTOR: u32 = 6;
    let archiving = Archiving::started(Server::Ours, &["wal_keep_size = '4GB'", "archive_command = ''"]);
    let names = archiving.switches(SEGMENTS);
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.set_command(&format!("sleep 0.05; cp %p {}/%f", archiving.folder().display()));
    let one = time_to_drain(&archiving, &names, 1);
    // Eight need more of the processors, which others may need as well just then: the best of a few runs counts.
    for _ in 0..5 {
        let eight = time_to_drain(&archiving, &names, 8);
        eprintln!("{SEGMENTS} segments: {one:?} with one worker, {eight:?} with eight");
        if eight * FACTOR <= one {
            return;
        }
    }
    let shells = time_of_shells(&archiving, SEGMENTS, 8);
    assert!(
        shells * FACTOR > one,
        "never in a sixth of the time, and without an archiver it takes {shells:?}"
    );
    skip!(
        "this machine has too much else to do: eight shells without an archiver need {shells:?} of {one:?}"
    );
}

/// The same commands without an archiver: what eight at a time can be on this machine now.
fn time_of_shells(archiving: &Archiving, count: usize, at_a_time: usize) -> Duration {
    let [numbers, copies] = ["numbers", "copies"].map(|name| archiving.cluster.path(name));
    fs::write(&numbers, (0..count).map(|number| format!("{number}\n")).collect::<String>())
        .expect("own file");
    fs::create_dir(&copies).expect("own folder");
    let segment = archiving.folder().join(archiving.archived().swap_remove(0));
    let command = format!("sleep 0.05; cp {} {}/{{}}", segment.display(), copies.display());
    let began = Instant::now();
    let mut shells = Command::new("nice");
    shells.args(["-n", "-15", "xargs", "-P", &at_a_time.to_string(), "-I", "{}", "-a"]);
    let output = process::run(shells.arg(numbers).args(["sh", "-c", &command]));
    assert!(output.status.success(), "{output:?}");
    began.elapsed()
}

/// From the first archived segment to the last. All wait again afterwards.
#[track_caller]
fn time_to_drain(archiving: &Archiving, names: &[String], workers: usize) -> Duration {
    let status = archiving.cluster.data_dir().join("pg_wal/archive_status");
    archiving.cluster.append_config(&format!("archive_max_workers = {workers}"));
    let began = Instant::now();
    archiving.cluster.start();
    // The other tests shall not decide this one; where that is not allowed they may.
    let archiver = archiving.wait_for_archiver().to_string();
    process::run(Command::new("renice").args(["-n", "-15", "-p", &archiver]));
    let mut since = began;
    let mut left: Vec<&String> = names.iter().rev().collect();
    while let Some(next) = left.last() {
        assert!(began.elapsed() < 10 * DEADLINE, "{} are not archived", left.len());
        if status.join(format!("{next}.done")).exists() {
            left.pop();
            continue;
        }
        if left.len() == names.len() {
            since = Instant::now();
        }
        pause();
    }
    let took = since.elapsed();
    assert_eq!(archiving.cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
    for name in archiving.done() {
        let [done, ready] = ["done", "ready"].map(|suffix| status.join(format!("{name}.{suffix}")));
        common::file::rename(&done, &ready).expect("own files");
    }
    took
}

/// While a backlog of 500 segments drains, eight at a time, archiver, one of its commands or the postmaster is killed, 50
/// times: all segments come into the archive, each as it was, and a cluster restored from there has every row.
/// `PGANATOMY_ROUNDS` is another number of kills, `PGANATOMY_SEED` repeats a run as far as time allows.
#[test]
fn killed_at_random() {
    const SEGMENTS: usize = 500;
    /// So many wait at least when one is killed.
    const AT_LEAST: usize = 40;
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let rounds = number("PGANATOMY_ROUNDS").unwrap_or(50);
    let seed = number("PGANATOMY_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("PGANATOMY_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // A stop between two rounds does not drain the backlog: it gives up at once.
    let archiving = started(8, &["wal_keep_size = '4GB'", "archiver_shutdown_timeout = 0"]);
    archiving.write("delay", "0.05");
    let cluster = &archiving.cluster;
    let base = archive::base_copy(cluster, &mut Wire::connect(cluster), "base", || ());
    archiving.hold();
    let mut names = archiving.switches(SEGMENTS);
    archiving.release();
    for round in 0..rounds {
        archiving.wait_for_archiver();
        if archiving.ready().len() < AT_LEAST {
            names.extend(archiving.switches(AT_LEAST));
        }
        let goal = archiving.archived().len() + random.usize(..8);
        let victim = ["archiver", "command", "postmaster"][random.usize(..3)];
        eprintln!("round {round}: {victim} when {goal} are archived");
        wait_until("so many are archived", || archiving.archived().len() >= goal);
        kill_one(&archiving, victim, &mut random);
        go_on(cluster, victim, &mut random);
    }
    archiving.wait_for_archiver();
    archiving.wait_until_done(&names);
    // What the stops have closed too: the last one gives up in the middle of it, as they did.
    wait_until("nothing waits", || archiving.ready().is_empty());
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
    let restored = archive::restored(Server::Ours, &base.dir, &archiving.folder(), &[]);
    restored.start();
    let mut session = Wire::connect(&restored);
    wait_until("recovery is over", || session.query("SELECT pg_is_in_recovery()")[0] == "f");
    assert_eq!(session.query("SELECT count(*) FROM t")[0], names.len().to_string());
    session.quit();
}

/// After a kill: the server starts again, or goes on without the victim.
#[track_caller]
fn go_on(cluster: &Cluster, victim: &str, random: &mut fastrand::Rng) {
    if victim == "postmaster" {
        wait_until("everyone is gone", || cluster.processes().is_empty());
    } else {
        match random.usize(..16) {
            // The next archiver comes up to ten seconds after the last: not often.
            0 => return,
            1..8 => assert_eq!(cluster.stop(Stop::Fast).code(), Some(0)),
            _ => assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0)),
        }
    }
    cluster.start();
}

/// Kills one of its kind, if there is one.
fn kill_one(archiving: &Archiving, victim: &str, random: &mut fastrand::Rng) {
    let cluster = &archiving.cluster;
    let pid = match victim {
        "postmaster" => cluster.postmaster_pid(),
        "archiver" => archiving.wait_for_archiver(),
        _ => {
            let archiver = archiving.wait_for_archiver();
            let processes = cluster.processes().into_iter().filter(|process| process.ppid == archiver);
            let commands: Vec<i32> = processes.map(|process| process.pid).collect();
            if commands.is_empty() {
                return;
            }
            commands[random.usize(..commands.len())]
        }
    };
    // It may end by itself in this moment.
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    wait_until("the killed process is gone", || !procfs::is_alive(pid));
}
