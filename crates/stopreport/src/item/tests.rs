//! Sentences, bars and lists.

use super::*;

fn walsender() -> Item {
    Item {
        pid: Some(4711),
        name: Some("s1".to_owned()),
        bytes: Some(412 << 20),
        rate: Some(38.0 * 1024.0 * 1024.0),
        seconds: Some(10.8),
        condition: Condition::Moving,
        ..Item::new(Kind::WalSender)
    }
}

fn archiver() -> Item {
    Item {
        pid: Some(33),
        files: Some(38),
        rate: Some(3.31),
        seconds: Some(11.5),
        condition: Condition::Moving,
        ..Item::new(Kind::Archiver)
    }
}

#[track_caller]
fn check(item: Item, expected: &str) {
    assert_eq!(item.sentence(), expected);
}

#[test]
fn a_walsender() {
    check(walsender(), "walsender \"s1\" (PID 4711): 412 MB not yet confirmed, 38 MB/s, about 11 s");
    check(
        Item { unsent: Some(380 << 20), ..walsender() },
        "walsender \"s1\" (PID 4711): 412 MB not yet confirmed (380 MB not even sent), 38 MB/s, about 11 s",
    );
    check(
        Item {
            condition: Condition::NotMoving,
            seconds: None,
            detail: Some("not moving for 12 s".to_owned()),
            bound: Some(10.0),
            ..walsender()
        },
        "walsender \"s1\" (PID 4711): 412 MB not yet confirmed, not moving for 12 s, given up after 10 s",
    );
    check(
        Item { bytes: Some(0), seconds: Some(0.0), ..walsender() },
        "walsender \"s1\" (PID 4711): everything confirmed",
    );
    check(
        Item { name: None, ..walsender() },
        "walsender (PID 4711): 412 MB not yet confirmed, 38 MB/s, about 11 s",
    );
}

#[test]
fn an_archiver() {
    check(archiver(), "archiver (PID 33): 38 files waiting, 3.3 files/s, about 12 s");
    check(
        Item { files: Some(1), rate: Some(0.04), seconds: Some(25.0), ..archiver() },
        "archiver (PID 33): 1 file waiting, one file in 25 s, about 25 s",
    );
    check(
        Item {
            condition: Condition::Failing,
            seconds: None,
            detail: Some("failing: archive command failed with exit code 1".to_owned()),
            ..archiver()
        },
        "archiver (PID 33): 38 files waiting, failing: archive command failed with exit code 1",
    );
}

#[test]
fn what_a_bound_does() {
    check(
        Item { bound: Some(20.0), ..walsender() },
        "walsender \"s1\" (PID 4711): 412 MB not yet confirmed, 38 MB/s, about 11 s, at most 20 s",
    );
    check(
        Item { bound: Some(2.5), ..walsender() },
        "walsender \"s1\" (PID 4711): 412 MB not yet confirmed, 38 MB/s, about 11 s, given up after 2.5 s with about 317 MB left",
    );
    check(
        Item { bound: Some(5.0), ..archiver() },
        "archiver (PID 33): 38 files waiting, 3.3 files/s, about 12 s, given up after 5 s with about 22 files left",
    );
}

#[test]
fn a_checkpoint() {
    let item = Item {
        pid: Some(12),
        name: Some("restartpoint".to_owned()),
        bytes: Some(64 << 20),
        files: Some(14),
        rate: Some(32.0 * 1024.0 * 1024.0),
        seconds: Some(2.0),
        condition: Condition::Moving,
        ..Item::new(Kind::Checkpoint)
    };
    check(item.clone(), "restartpoint (PID 12): 64 MB to write, 14 files to sync, 32 MB/s, about 2 s");
    check(Item { bytes: Some(0), seconds: None, ..item.clone() }, "restartpoint (PID 12): 14 files to sync");
    check(
        Item { bytes: Some(0), files: Some(0), seconds: Some(0.0), ..item },
        "restartpoint (PID 12): nothing to write",
    );
}

#[test]
fn names_cannot_steer_a_terminal() {
    let item = Item {
        name: Some("a\u{1b}[2J\nb".to_owned()),
        bytes: None,
        rate: None,
        seconds: None,
        ..walsender()
    };
    check(item, "walsender \"a?[2J?b\" (PID 4711)");
}

#[test]
fn figures_that_mean_nothing_are_harmless() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX, f64::MIN_POSITIVE] {
        for kind in [Kind::WalSender, Kind::Archiver, Kind::Checkpoint, Kind::Session, Kind::Total] {
            let item = Item {
                kind,
                files: Some(u64::MAX),
                unsent: Some(u64::MAX),
                rate: Some(number),
                seconds: Some(number),
                bound: Some(number),
                ..walsender()
            };
            assert!(!item.sentence().is_empty());
            let again: Item = serde_json::from_str(&serde_json::to_string(&item).unwrap()).unwrap();
            assert!(!again.sentence().is_empty());
        }
    }
}

#[test]
fn many_sessions_become_a_number() {
    let session = |pid| Item {
        pid: Some(pid),
        name: Some("alice@shop".to_owned()),
        condition: Condition::WaitsForClient,
        detail: Some("waits for its client, idle".to_owned()),
        ..Item::new(Kind::Session)
    };
    let items = vec![session(1), session(2), session(3), walsender(), session(4)];
    let expected = "session alice@shop (PID 1): waits for its client, idle; 3 more sessions; walsender \"s1\" (PID \
                    4711): 412 MB not yet confirmed, 38 MB/s, about 11 s";
    assert_eq!(list(&items, 1), expected);
    assert_eq!(condensed(items.clone(), 4), items);
    assert_eq!(condensed(items.clone(), 3).last().unwrap().sentence(), "1 more session");
    assert_eq!(condensed(items, 0)[0].sentence(), "4 sessions");
    assert_eq!(list(&[], 3), "nothing");
}

#[test]
fn a_bar_is_drawn_against_the_most_that_was_left() {
    let mut initials = Initials::default();
    let mut note = |bytes: u64, files: u64| {
        let mut items =
            [Item { bytes: Some(bytes), ..walsender() }, Item { files: Some(files), ..archiver() }];
        initials.note(&mut items);
        items.map(|item| (item.initial, item.fraction_done()))
    };
    assert_eq!(note(100, 0), [(Some(100), Some(0.0)), (Some(0), None)]);
    assert_eq!(note(400, 4), [(Some(400), Some(0.0)), (Some(4), Some(0.0))]);
    assert_eq!(note(100, 1), [(Some(400), Some(0.75)), (Some(4), Some(0.75))]);
    assert_eq!(note(0, 0), [(Some(400), Some(1.0)), (Some(4), Some(1.0))]);
    let mut session = [Item::new(Kind::Session)];
    initials.note(&mut session);
    assert_eq!(session[0].initial, None);
}

#[test]
fn words_in_json_are_those_of_the_sql_function() {
    for kind in [
        Kind::Session,
        Kind::Transaction,
        Kind::Checkpoint,
        Kind::WalSender,
        Kind::Archiver,
        Kind::Process,
        Kind::Total,
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.word()));
    }
}
