//! Decisions about records: where each kind of target stops, and where it does not.

use super::*;

const COMMIT_7: Moment<'static> = Moment { time: 1000, what: Event::Commit(Xid(7)) };
const ABORT_8: Moment<'static> = Moment { time: 2000, what: Event::Abort(Xid(8)) };
const POINT: Moment<'static> = Moment { time: 3000, what: Event::RestorePoint("here") };

/// Where replay stops in front of, or behind, these three.
fn stops(target: &Target, inclusive: bool) -> Vec<String> {
    let mut found = Vec::new();
    for moment in [COMMIT_7, ABORT_8, POINT] {
        for stop in [target.before_moment(inclusive, moment), target.after_moment(inclusive, moment)] {
            found.extend(stop.map(|stop| stop.message()));
        }
    }
    found
}

#[track_caller]
fn check(target: Target, inclusive: bool, expected: &[&str]) {
    guc::initialize().unwrap();
    let found = stops(&target, inclusive);
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(same, "{target:?} inclusive {inclusive}: {found:?}");
}

#[test]
fn transactions() {
    check(Target::Xid(Xid(7)), true, &["recovery stopping after commit of transaction 7, time 2000-01-01"]);
    check(Target::Xid(Xid(7)), false, &["recovery stopping before commit of transaction 7, time "]);
    check(Target::Xid(Xid(8)), true, &["recovery stopping after abort of transaction 8, time "]);
    check(Target::Xid(Xid(8)), false, &["recovery stopping before abort of transaction 8, time "]);
    check(Target::Xid(Xid(6)), true, &[]);
}

#[test]
fn times() {
    let before_8 = "recovery stopping before abort of transaction 8, time ";
    check(Target::Time(1000), true, &[before_8]);
    check(Target::Time(1001), true, &[before_8]);
    check(Target::Time(1001), false, &[before_8]);
    check(Target::Time(2000), true, &[]);
    check(Target::Time(1000), false, &["recovery stopping before commit of transaction 7", before_8]);
}

#[test]
fn names() {
    check(Target::Name("here".into()), true, &["recovery stopping at restore point \"here\", time "]);
    check(Target::Name("here".into()), false, &["recovery stopping at restore point \"here\", time "]);
    check(Target::Name("there".into()), true, &[]);
    check(Target::None, true, &[]);
}

#[test]
fn reasons() {
    guc::initialize().unwrap();
    let end = |after| Stop { after, at: StopAt::End { commit: true, xid: Xid(7), time: 0 } };
    let reason = |target: Target, stop: Option<Stop>| target.reason(stop.as_ref());
    assert_eq!(reason(Target::Xid(Xid(7)), Some(end(true))), "after transaction 7");
    assert_eq!(reason(Target::Time(5), Some(end(false))), "before 2000-01-01 00:00:00+00\n");
    let lsn = Stop { after: true, at: StopAt::Lsn(Lsn(0x300_0120)) };
    assert_eq!(reason(Target::Lsn(Lsn(1)), Some(lsn)), "after LSN 0/3000120\n");
    let point = Stop { after: true, at: StopAt::RestorePoint { name: "here".into(), time: 0 } };
    assert_eq!(reason(Target::Name("here".into()), Some(point)), "at restore point \"here\"");
    assert_eq!(reason(Target::Immediate, None), "reached consistency");
    assert_eq!(reason(Target::None, None), "no recovery target specified");
}

#[test]
fn settings() {
    guc::initialize().unwrap();
    let parse = |setting, value| Target::parse(setting, value).map_err(|error| error.message.to_string());
    assert_eq!(parse("recovery_target_lsn", "0/3000120"), Ok(Target::Lsn(Lsn(0x300_0120))));
    assert_eq!(parse("recovery_target_xid", "4294967303"), Ok(Target::Xid(Xid(7))));
    assert_eq!(parse("recovery_target_xid", "0x10"), Ok(Target::Xid(Xid(16))));
    assert_eq!(parse("recovery_target", "immediate"), Ok(Target::Immediate));
    assert_eq!(parse("recovery_target_time", "2000-01-01 00:00:01+00"), Ok(Target::Time(1_000_000)));
    let now = parse("recovery_target_time", "now").unwrap_err();
    assert_eq!(now, "invalid value for parameter \"recovery_target_time\": \"now\"");
    assert!(parse("recovery_target_time", "whenever").is_err());
    assert_eq!(parse("recovery_target_xid", "x"), Ok(Target::Xid(Xid(0))));
    assert!(parse("recovery_target_xid", "99999999999999999999").is_err());
    assert_eq!(Target::Name("here".into()).description().as_deref(), Some("\"here\""));
    assert_eq!(Target::Lsn(Lsn(0x300_0120)).description().unwrap(), "WAL location (LSN) \"0/3000120\"");
}

#[test]
fn a_pause_that_nobody_could_end_is_a_shutdown() {
    assert_eq!(Action::of_setting("pause", true), Action::Pause);
    assert_eq!(Action::of_setting("pause", false), Action::Shutdown);
    assert_eq!(Action::of_setting("promote", false), Action::Promote);
}
