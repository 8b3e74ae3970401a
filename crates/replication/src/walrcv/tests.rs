//! What needs no shared memory; the states are in `tests/walrcv.rs`, since a process has one segment.

use super::*;

#[test]
fn texts_are_cut_between_characters() {
    let mut text = Text::EMPTY;
    text.set("hällo", 3);
    assert_eq!(text.get(), "h", "ä has two bytes, and one is the end mark's");
    text.set("hällo", 4);
    assert_eq!(text.get(), "hä");
    text.set(&"x".repeat(5000), CONNINFO_BYTES_MAX);
    assert_eq!(text.get().len(), CONNINFO_BYTES_MAX - 1);
    text.set("", 64);
    assert_eq!(text.get(), "");
}

#[test]
fn milliseconds_are_never_too_few() {
    for (micros, millis) in [(-5, 0), (0, 0), (1, 1), (1000, 1), (1001, 2)] {
        assert_eq!(whole_ms(micros), millis, "{micros}");
    }
}

#[test]
fn without_shared_memory_there_is_no_walreceiver() {
    assert!(!running() && !streaming());
    assert_eq!(flushed().lsn, Lsn::INVALID);
    assert!(status().is_none());
    shutdown().unwrap();
    force_reply();
}
