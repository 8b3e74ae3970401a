//! Histories that fork: each recovery to a point in the past begins a new timeline, in the same archive; the next one
//! chooses which to follow. The last, unfinished segment of the old one is archived as `.partial`.

use std::fs;
use std::path::Path;

use integration::archive::{self, control, names_in};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};

use crate::pitr_past::{Past, reopened, restorers, rows_of, run, stopped_with_rows, wait_until_promoted};
use crate::redo::{compare, crash};

/// Settings of a restored cluster that archives to the archive it came from.
fn archives_to(archive: &Path) -> [String; 2] {
    ["archive_mode = on".to_owned(), archive::archive_command(archive)]
}

/// A cluster that recovers from a base copy and writes on: one row, on a new timeline, archived.
#[track_caller]
fn begin_timeline(past: &Past, server: Server, settings: &[&str], row: i32) {
    let archive = past.archive();
    let more = archives_to(&archive);
    let config: Vec<&str> = settings.iter().copied().chain(more.iter().map(String::as_str)).collect();
    let cluster = past.restored(server, &config);
    cluster.start();
    wait_until_promoted(&cluster);
    run(&mut Wire::connect(&cluster), &format!("INSERT INTO past VALUES ({row}, 0)"));
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    let timeline = control(&cluster, "Latest checkpoint's TimeLineID").parse::<u32>().expect("a number");
    let history = format!("{timeline:08X}.history");
    assert!(names_in(&archive).contains(&history), "{history}: {:?}", names_in(&archive));
    let has_segment = |name: &String| name.len() == 24 && name.starts_with(&format!("{timeline:08X}"));
    assert!(names_in(&archive).iter().any(has_segment), "{:?}", names_in(&archive));
}

/// Restores with each server, which find the same rows, and begin the same timeline with the same history.
#[track_caller]
fn follow(past: &Past, server: Server, settings: &[&str], rows: &[String], timeline: u32, parents: &[u32]) {
    let mut seen = Vec::new();
    for restorer in restorers(server) {
        let cluster = past.restored(*restorer, settings);
        cluster.start();
        wait_until_promoted(&cluster);
        let what = format!("{settings:?}, {restorer:?}");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(control(&cluster, "Latest checkpoint's TimeLineID"), timeline.to_string(), "{what}");
        let file = cluster.data_dir().join(format!("pg_wal/{timeline:08X}.history"));
        let history = fs::read_to_string(file).expect("a history file");
        seen.push((cluster, history));
    }
    for (cluster, history) in &seen {
        let column = |line: &str| line.split('\t').next().and_then(|number| number.parse::<u32>().ok());
        let listed: Vec<u32> = history.lines().filter_map(column).collect();
        assert_eq!(listed, parents, "{settings:?}: {history}");
        assert!(history.trim_end().ends_with("no recovery target specified"), "{history}");
        assert_eq!(history, &seen[0].1);
        assert_eq!(cluster.milestones(), seen[0].0.milestones(), "{settings:?}");
    }
    if let [(ours, _), (real, _)] = seen.as_slice() {
        assert!(compare(&ours.data_dir(), &real.data_dir(), 0) > 0);
    }
    for (cluster, _) in seen {
        let cluster = reopened(cluster, server);
        assert_eq!(rows_of(&cluster), rows, "{settings:?}\n{}", cluster.log());
    }
}

/// Starts that must fail: what the log says, the same for each server.
#[track_caller]
fn refuse(server: Server, make: impl Fn(Server) -> Cluster, says: &[&str]) {
    for restorer in restorers(server) {
        let cluster = make(*restorer);
        cluster.spawn_postmaster(&[]);
        assert_eq!(cluster.wait_for_end().code(), Some(1), "{}", cluster.log());
        let log = cluster.milestones();
        let at = log.iter().position(|line| line.starts_with("FATAL")).unwrap_or(log.len());
        let end = (at + says.len()).min(log.len());
        let found: Vec<String> = log[at..end].iter().map(|line| cluster.normalised(line)).collect();
        assert_eq!(found, says, "{restorer:?}: {log:#?}");
    }
}

fn with(mut rows: Vec<String>, more: &[i32]) -> Vec<String> {
    rows.extend(more.iter().map(ToString::to_string));
    rows
}

#[test]
fn twice_in_a_row_and_the_old_ones_still_there() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("timelines", |server| {
        let past = Past::quiet(server);
        let all = past.numbers(past.rows.len());
        let promote = "recovery_target_action = promote";
        begin_timeline(&past, server, &["recovery_target_name = 'here'", promote], 100);
        let history = fs::read_to_string(past.archive().join("00000002.history")).expect("a history file");
        let columns: Vec<&str> = history.trim_end_matches('\n').split('\t').collect();
        assert_eq!((columns[0], columns[2]), ("1", "at restore point \"here\""), "{history:?}");
        let fork = columns[1].parse::<common::Lsn>().expect("a position");
        assert!(
            fork > past.rows[past.rows_here - 1].1.lsn && fork < past.rows[past.rows_here].1.lsn,
            "{history}"
        );

        // Timeline 2 to its end, which is the newest there is.
        let second = with(past.numbers(past.rows_here), &[100]);
        follow(&past, server, &[], &second, 3, &[1, 2]);
        begin_timeline(&past, server, &[], 200);
        // Now 3 is.
        let third = with(second.clone(), &[200]);
        follow(&past, server, &[], &third, 4, &[1, 2, 3]);
        follow(&past, server, &["recovery_target_timeline = 2"], &second, 4, &[1, 2]);
        follow(&past, server, &["recovery_target_timeline = current"], &all, 4, &[1]);
        follow(&past, server, &["recovery_target_timeline = 1"], &all, 4, &[1]);
        refuse(
            server,
            |server| past.restored(server, &["recovery_target_timeline = 9"]),
            &["FATAL:  recovery target timeline 9 does not exist"],
        );
        // From timeline 2 one can go back, but not to where 1 went without it.
        let fork = past.rows[past.rows_here].1.lsn;
        let to_fork = format!("recovery_target_lsn = '{fork}'");
        let early = ["recovery_target_timeline = 3", &to_fork, promote];
        let past_fork: Vec<Cluster> =
            restorers(server).iter().map(|server| past.restored(*server, &early)).collect();
        for cluster in past_fork {
            cluster.start();
            wait_until_promoted(&cluster);
            let (_cluster, rows) = stopped_with_rows(cluster, server);
            // That position is one of timeline 2 and holds nothing of what 1 had there.
            assert!(second.starts_with(&rows), "{rows:?}");
        }
    });
}

/// A cluster that has gone on beyond the fork cannot follow the timeline that begins there.
#[test]
fn timelines_that_cannot_be_followed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("no child of this server's history", |server| {
        let past = Past::quiet(server);
        let more = archives_to(&past.archive());
        let here = "recovery_target_name = 'here'";
        let config = [more[0].as_str(), &more[1], here, "recovery_target_action = promote"];
        let second = past.restored(server, &config);
        second.start();
        wait_until_promoted(&second);

        let beyond = |server: Server, row: usize| {
            let lsn = format!("recovery_target_lsn = '{}'", past.rows[row].1.lsn);
            let shutdown = "recovery_target_action = shutdown";
            let config = [lsn.as_str(), shutdown, "recovery_target_timeline = 1"];
            let cluster = past.restored(server, &config);
            cluster.spawn_postmaster(&[]);
            assert_eq!(cluster.wait_for_end().code(), Some(0), "{}", cluster.log());
            cluster.append_config("recovery_target_timeline = 2");
            cluster
        };
        let lacks = "FATAL:  requested timeline 2 does not contain minimum recovery point LSN on timeline 1";
        refuse(server, |server| beyond(server, past.rows_here), &[lacks]);
        refuse(
            server,
            |server| beyond(server, past.rows.len() - 1),
            &[
                "FATAL:  requested timeline 2 is not a child of this server's history",
                "DETAIL:  Latest checkpoint is at LSN on timeline 1, but in the history of the requested timeline, the server forked off from that timeline at LSN.",
            ],
        );

        let mut session = Wire::connect(&second);
        // A base copy of timeline 2 needs nothing of timeline 1.
        let base = archive::base_copy(&second, &mut session, "base", || ());
        assert_eq!(base.label_value("START TIMELINE"), "2");
        run(&mut session, "INSERT INTO past VALUES (100, 0)");
        session.quit();
        second.stop(Stop::Fast);
        for restorer in restorers(server) {
            let config = ["recovery_target_name = ''"];
            let cluster = archive::restored(*restorer, &base.dir, &past.archive(), &config);
            cluster.start();
            wait_until_promoted(&cluster);
            let (_cluster, rows) = stopped_with_rows(cluster, server);
            assert_eq!(rows, with(past.numbers(past.rows_here), &[100]));
        }
    });
}

/// The primary is gone with its last segment unarchived: that segment is put into `pg_wal` by hand, and comes into the
/// archive as a part.
#[test]
fn the_last_segment_of_a_lost_primary() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server(".partial", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        run(&mut session, "INSERT INTO past VALUES (1)");
        primary.archive_all(&mut session);
        run(&mut session, "INSERT INTO past VALUES (2)");
        let last = run(&mut session, "SELECT pg_walfile_name(pg_current_wal_lsn())")[0].clone();
        crash(&primary);
        let mut logs = Vec::new();
        for restorer in restorers(server) {
            let archive = primary.path(&format!("archive-{restorer:?}"));
            primary.sh(&format!("cp -r '{}' '{}'", primary.archive_dir().display(), archive.display()));
            let more = archives_to(&archive);
            let cluster = archive::restored(*restorer, &base.dir, &archive, &[&more[0], &more[1]]);
            let segment = primary.data_dir().join("pg_wal").join(&last);
            cluster.sh(&format!(
                "cp '{}' '{}'",
                segment.display(),
                cluster.data_dir().join("pg_wal").display()
            ));
            cluster.start();
            wait_until_promoted(&cluster);
            let partial = format!("{last}.partial");
            wait_until("the part is archived", || names_in(&archive).contains(&partial));
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            let names = names_in(&archive);
            assert!(names.contains(&"00000002.history".to_owned()), "{names:?}");
            assert!(!names.contains(&last), "{names:?}");
            // The whole segment, as the primary left it.
            assert_eq!(fs::read(archive.join(&partial)).ok(), fs::read(&segment).ok());
            let done = cluster.data_dir().join("pg_wal/archive_status").join(format!("{partial}.done"));
            assert!(done.exists(), "{:?}", names_in(done.parent().expect("a directory")));
            logs.push(cluster.milestones());
            assert_eq!(rows_of(&reopened(cluster, server)), ["1", "2"]);
        }
        assert_eq!(logs.first(), logs.last());
    });
}

/// With `archive_mode = always` a restored segment goes to the restoring server's own archive too.
#[test]
fn an_archive_of_its_own_during_recovery() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("archive_mode = always", |server| {
        let past = Past::quiet(server);
        let mut archived = Vec::new();
        for restorer in restorers(server) {
            let own = past.cluster.path(&format!("own-{restorer:?}"));
            past.cluster.sh(&format!("mkdir '{}'", own.display()));
            let command = archive::archive_command(&own);
            let cluster = past.restored(*restorer, &["archive_mode = always", &command]);
            cluster.start();
            wait_until_promoted(&cluster);
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            let names: Vec<String> =
                names_in(&own).into_iter().filter(|name| name.starts_with("00000001")).collect();
            for name in names.iter().filter(|name| name.len() == 24) {
                assert_eq!(fs::read(own.join(name)).ok(), fs::read(past.archive().join(name)).ok(), "{name}");
            }
            archived.push(names);
        }
        assert!(archived[0].len() > 2, "{archived:?}");
        assert_eq!(archived.first(), archived.last());
    });
}
