//! Tests of options.

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn parsed(line: &str) -> (Mode, Options) {
    parse("pg_ctl", &words(line)).unwrap()
}

#[track_caller]
fn refused(line: &str, expected: &str) {
    let failure = parse("pg_ctl", &words(line)).unwrap_err();
    assert!(
        format!("{failure:?}").contains(&format!("{expected:?}")[1..expected.len()]),
        "{line}: {failure:?}"
    );
}

#[test]
fn a_stop_without_wishes() {
    let (mode, options) = parsed("stop -D d");
    assert_eq!(mode, Mode::Stop);
    assert_eq!((options.deadline, options.forecast, options.progress), (None, false, None));
    assert_eq!(options.progress_style(), ProgressStyle::Auto);
}

#[test]
fn a_stop_with_wishes() {
    let (_, options) = parsed("stop -D d -m smart --deadline=1.5min --progress json");
    assert_eq!(options.deadline, Some(Duration::from_secs(90)));
    assert_eq!(options.timeout, Duration::from_secs(100));
    assert_eq!(options.progress_style(), ProgressStyle::Json);
    assert!(parsed("restart -D d --forecast").1.forecast);
    // The beginning of a long option stands for all of it.
    assert_eq!(parsed("stop -D d --prog bar").1.progress, Some(ProgressStyle::Bar));
}

#[test]
fn a_deadline_is_waited_for() {
    assert_eq!(parsed("stop -D d --deadline=2s").1.timeout, parsed("stop -D d").1.timeout);
    assert_eq!(parsed("stop -D d --deadline=10min").1.timeout, Duration::from_secs(610));
    // Not against an order to the contrary.
    assert_eq!(parsed("stop -D d --deadline=10min -t 5").1.timeout, Duration::from_secs(5));
}

#[test]
fn what_does_not_go_together() {
    refused("stop -D d -m i --deadline=5", "option --deadline cannot be used with immediate mode");
    for (line, name) in [
        ("start --forecast", "forecast"),
        ("reload --progress=bar", "progress"),
        ("status --deadline 5", "deadline"),
    ] {
        refused(&format!("-D d {line}"), &format!("option --{name} can be used only with"));
    }
}

#[test]
fn values_that_are_none() {
    refused("stop --deadline=soon", "HINT: A time is a number of seconds");
    refused("stop --deadline=0", "for option --deadline is out of range (1 ms .. 24 d)");
    refused("stop --progress=colourful", "HINT: Valid values are");
    refused("stop --forecast=yes", "option '--forecast' doesn't allow an argument");
    refused("stop --deadline", "option '--deadline' requires an argument");
}
