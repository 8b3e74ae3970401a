//! What elog does to the process it runs in: stderr, the logger's pipe, panics.
//!
//! Runs itself once per case and looks at what comes out.

#![allow(clippy::unwrap_used, reason = "a test: failing is what unwrap is for")]

use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use common::SqlState;
use elog::config::{LogConfig, LogDestination};
use elog::{Severity, ereport, error};

/// Names the case that this process is to play.
const CASE: &str = "ELOG_TEST_CASE";

fn main() {
    let Ok(case) = std::env::var(CASE) else { return check_all() };
    elog::config::apply(LogConfig { log_line_prefix: String::new(), ..LogConfig::default() });
    match case.as_str() {
        "stderr" => to_stderr(),
        "csvlog" => csvlog_without_logger(),
        "pipe" => to_pipe(),
        "facade" => facade(),
        "panic" => uncaught_panic(),
        "guarded" => guarded_panic(),
        "caught" => caught_panic(),
        other => panic!("no case {other}"),
    }
}

fn check_all() {
    check("stderr", "LOG:  hello\nHINT:  none\nlast words\n", None);
    check("csvlog", "LOG:  seen all the same\n", None);
    check("pipe", "", None);
    check("facade", "WARNING:  w\nLOG:  i\n", None);
    check(
        "panic",
        "PANIC:  unexpected panic: oops 7\nDETAIL:  The bug is at process.rs:",
        Some(libc::SIGABRT),
    );
    check("guarded", "PANIC:  unexpected panic: in a critical section\n", Some(libc::SIGABRT));
    check("caught", "ERROR:  unexpected panic: oops 8\nDETAIL:  The bug is at process.rs:", None);
}

#[track_caller]
fn check(case: &str, stderr_begin: &str, signal: Option<i32>) {
    let exe = std::env::current_exe().unwrap();
    let Output { status, stdout, stderr } =
        Command::new(exe).env(CASE, case).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(stderr.starts_with(stderr_begin), "{case}: {status}, stderr: {stderr}");
    assert_eq!(status.signal(), signal, "{case}: {status}, stderr: {stderr}");
    assert!(signal.is_some() || status.success(), "{case}: {status}, stderr: {stderr}");
    println!("{case}: ok {}", String::from_utf8_lossy(&stdout));
}

fn to_stderr() {
    elog::pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "hello").hint("none").report();
    elog::emergency("last words");
}

fn csvlog_without_logger() {
    let log_destination = LogDestination { stderr: false, csvlog: true, jsonlog: false };
    elog::config::apply(LogConfig {
        log_destination,
        log_line_prefix: String::new(),
        ..LogConfig::default()
    });
    ereport!(Log, "seen all the same");
}

/// One header, checked, and its share of the message.
fn read_chunk(reader: &mut PipeReader) -> (u8, Vec<u8>) {
    let mut header = [0; elog::pipe::HEADER_LEN];
    reader.read_exact(&mut header).unwrap();
    assert_eq!(header[..2], [0, 0]);
    assert_eq!(header[4..8], std::process::id().to_ne_bytes());
    let mut share = vec![0; usize::from(u16::from_ne_bytes([header[2], header[3]]))];
    reader.read_exact(&mut share).unwrap();
    (header[8], share)
}

fn to_pipe() {
    let (mut reader, writer) = pipe().unwrap();
    elog::redirect_to_syslogger(writer.as_fd()).unwrap();
    assert!(elog::is_redirected());
    let log_destination = LogDestination { stderr: true, csvlog: true, jsonlog: false };
    elog::config::apply(LogConfig {
        log_destination,
        log_line_prefix: String::new(),
        ..LogConfig::default()
    });
    let long = "x".repeat(elog::pipe::PAYLOAD_LEN_MAX);
    ereport!(Log, "{long}");
    let (flags, csv_begin) = read_chunk(&mut reader);
    assert_eq!((flags, csv_begin.len()), (0x20, elog::pipe::PAYLOAD_LEN_MAX));
    let (flags, csv_end) = read_chunk(&mut reader);
    assert_eq!(flags, 0x21);
    assert!(csv_end.ends_with(b",,0\n"));
    assert_eq!(read_chunk(&mut reader).0, 0x10);
    assert_eq!(read_chunk(&mut reader), (0x11, b"xxxxxx\n".to_vec()));
}

fn facade() {
    elog::install_logger();
    log::warn!("w");
    log::info!("i");
    log::debug!("d");
    elog::config::apply(LogConfig { log_min_messages: Severity::Error, ..LogConfig::default() });
    log::warn!("not any more");
}

fn uncaught_panic() {
    elog::panic_hook();
    panic!("oops {}", 7);
}

fn guarded_panic() {
    elog::panic_hook();
    elog::set_panic_guard(|| false);
    let _ = elog::catch_panic::<()>(|| panic!("in a critical section"));
}

fn caught_panic() {
    elog::panic_hook();
    let e = elog::catch_panic::<()>(|| panic!("oops {}", 8)).unwrap_err();
    assert_eq!((e.severity, e.sqlstate), (Severity::Error, SqlState::INTERNAL_ERROR));
    assert_eq!(e.location.file, "process.rs");
    e.report();
    // Life goes on.
    assert_eq!(elog::catch_panic::<()>(|| Err(error!(SqlState::NO_DATA, "x"))).unwrap_err().message, "x");
}
