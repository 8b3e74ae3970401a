//! Which standbys count, and what they all have.

use common::Lsn;

use super::candidates::{Standing, candidates, standing, sync_states};
use super::{Config, parse};
use crate::walsnd::{State, Status};

fn config(text: &str) -> Config {
    parse(text).unwrap()
}

/// A standby that streams and has the same position written, flushed and applied; its priority follows from its name.
fn standby(config: &Config, pid: i32, name: &str, lsn: u64) -> Status {
    Status {
        pid,
        state: State::Streaming,
        sent: Lsn(lsn),
        write: Lsn(lsn),
        flush: Lsn(lsn),
        apply: Lsn(lsn),
        write_lag: None,
        flush_lag: None,
        apply_lag: None,
        reply_time: None,
        sync_priority: config.priority_of(name),
    }
}

/// `standbys`: names and positions, pids from 1. `expected`: pids that count, position that is synced.
#[track_caller]
fn check(names: &str, standbys: &[(&str, u64)], counting: &[i32], synced: Option<u64>) {
    let config = config(names);
    let statuses: Vec<Status> =
        (1..).zip(standbys).map(|(pid, (name, lsn))| standby(&config, pid, name, *lsn)).collect();
    let found: Vec<i32> = candidates(&config, &statuses).iter().map(|status| status.pid).collect();
    assert_eq!(found, counting, "{names}");
    for status in &statuses {
        let am_sync = counting.contains(&status.pid);
        let synced = synced.filter(|_| am_sync).map(|lsn| [Lsn(lsn); 3]);
        assert_eq!(standing(&config, &statuses, status.pid), Standing { am_sync, synced }, "{names}");
    }
}

#[test]
fn the_first_of_the_list_count() {
    check("a, b", &[("b", 10), ("a", 20)], &[2], Some(20));
    check("a, b", &[("b", 10), ("c", 20)], &[1], Some(10));
    check("2 (a, b, c)", &[("c", 30), ("b", 10), ("a", 20)], &[3, 2], Some(10));
    check("2 (a, b, c)", &[("c", 30), ("a", 20)], &[2, 1], Some(20));
}

#[test]
fn too_few_standbys_release_nobody() {
    check("2 (a, b)", &[("a", 10), ("x", 20)], &[1], None);
    check("ANY 2 (a, b)", &[("a", 10)], &[1], None);
    check("a", &[], &[], None);
}

#[test]
fn of_two_with_one_name_the_earlier_place_counts() {
    check("a", &[("a", 10), ("a", 99)], &[1], Some(10));
    check("*", &[("x", 10), ("y", 99)], &[1], Some(10));
    check("2 (*)", &[("x", 10), ("y", 99), ("z", 50)], &[1, 2], Some(10));
}

#[test]
fn a_quorum_takes_the_fastest() {
    check("ANY 1 (a, b, c)", &[("a", 10), ("b", 30), ("c", 20)], &[1, 2, 3], Some(30));
    check("ANY 2 (a, b, c)", &[("a", 10), ("b", 30), ("c", 20)], &[1, 2, 3], Some(20));
    check("ANY 3 (a, b, c)", &[("a", 10), ("b", 30), ("c", 20)], &[1, 2, 3], Some(10));
    check("ANY 1 (a)", &[("x", 90), ("a", 10)], &[2], Some(10));
}

#[test]
fn each_column_of_a_quorum_is_of_its_own() {
    let config = config("ANY 2 (*)");
    let with = |pid, write, flush, apply| Status {
        write: Lsn(write),
        flush: Lsn(flush),
        apply: Lsn(apply),
        ..standby(&config, pid, "s", 0)
    };
    let statuses = [with(1, 90, 10, 10), with(2, 80, 70, 1), with(3, 50, 20, 20)];
    let synced = standing(&config, &statuses, 2).synced;
    assert_eq!(synced, Some([Lsn(80), Lsn(20), Lsn(10)]));
}

#[test]
fn who_does_not_stream_or_has_told_nothing_does_not_count() {
    let config = config("FIRST 1 (*)");
    let good = standby(&config, 9, "s", 10);
    for (state, counts) in [
        (State::Startup, false),
        (State::Backup, false),
        (State::Catchup, false),
        (State::Streaming, true),
        (State::Stopping, true),
    ] {
        assert_eq!(!candidates(&config, &[Status { state, ..good }]).is_empty(), counts, "{state:?}");
    }
    assert_eq!(candidates(&config, &[Status { flush: Lsn::INVALID, ..good }]), []);
    assert_eq!(candidates(&config, &[Status { sync_priority: 0, ..good }]), []);
}

#[test]
fn the_view_names_their_state() {
    let config = config("1 (a, b)");
    let a = standby(&config, 1, "a", 10);
    let b = standby(&config, 2, "b", 10);
    let c = standby(&config, 3, "c", 10);
    let silent = Status { flush: Lsn::INVALID, ..standby(&config, 4, "a", 0) };
    let states = sync_states(Some(&config), &[c, b, a, silent]);
    assert_eq!(states, [(0, "async"), (2, "potential"), (1, "sync"), (0, "async")]);
    let quorum = self::config("ANY 1 (a)");
    let statuses = [standby(&quorum, 1, "a", 1), standby(&quorum, 2, "b", 1)];
    assert_eq!(sync_states(Some(&quorum), &statuses), [(1, "quorum"), (0, "async")]);
    assert_eq!(sync_states(None, &[Status { sync_priority: 0, ..a }]), [(0, "async")]);
}
