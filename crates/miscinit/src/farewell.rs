//! The last words to a client of a process that must leave at once, prepared as bytes so that a signal
//! handler can send them.
//!
//! C counterpart: the `ereport(WARNING_CLIENT_ONLY ...)` calls of `quickdie` in tcop/postgres.c.

use shmem::pmsignal::QuitSignalReason;

/// What a farewell says: SQLSTATE, message, DETAIL, HINT.
struct Words(&'static [u8; 5], &'static [u8], &'static [u8], &'static [u8]);

const CRASH_WORDS: Words = Words(
    b"57P02",
    b"terminating connection because of crash of another server process",
    b"The postmaster has commanded this server process to roll back the current transaction and exit, because another server process exited abnormally and possibly corrupted shared memory.",
    b"In a moment you should be able to reconnect to the database and repeat your command.",
);
const STOP_WORDS: Words =
    Words(b"57P01", b"terminating connection due to immediate shutdown command", b"", b"");
const STRAY_WORDS: Words =
    Words(b"57P01", b"terminating connection because of unexpected SIGQUIT signal", b"", b"");

static CRASH: [u8; length(&CRASH_WORDS)] = notice(&CRASH_WORDS);
static STOP: [u8; length(&STOP_WORDS)] = notice(&STOP_WORDS);
static STRAY: [u8; length(&STRAY_WORDS)] = notice(&STRAY_WORDS);

/// The whole NoticeResponse for a reason.
pub fn message(reason: QuitSignalReason) -> &'static [u8] {
    match reason {
        QuitSignalReason::ForCrash => &CRASH,
        QuitSignalReason::ForStop => &STOP,
        QuitSignalReason::NotSent => &STRAY,
    }
}

/// Bytes of the whole NoticeResponse: each field costs a tag and a nul, the message a type and a length.
const fn length(words: &Words) -> usize {
    let Words(code, text, detail, hint) = words;
    1 + 4
        + 2 * (b"WARNING".len() + 2)
        + code.len()
        + 2
        + text.len()
        + 2
        + optional(detail)
        + optional(hint)
        + 1
}

const fn optional(text: &[u8]) -> usize {
    if text.is_empty() { 0 } else { text.len() + 2 }
}

/// Builds a NoticeResponse of exactly N bytes; a wrong N fails to compile.
const fn notice<const N: usize>(words: &Words) -> [u8; N] {
    let Words(code, text, detail, hint) = words;
    let mut out = [0u8; N];
    out[0] = b'N';
    let length = (N - 1) as u32;
    let length = length.to_be_bytes();
    let mut at = 1;
    while at < 5 {
        out[at] = length[at - 1];
        at += 1;
    }
    at = field(&mut out, at, b'S', b"WARNING");
    at = field(&mut out, at, b'V', b"WARNING");
    at = field(&mut out, at, b'C', *code);
    at = field(&mut out, at, b'M', text);
    if !detail.is_empty() {
        at = field(&mut out, at, b'D', detail);
    }
    if !hint.is_empty() {
        at = field(&mut out, at, b'H', hint);
    }
    assert!(at + 1 == N, "N is not the message's length");
    out
}

const fn field<const N: usize>(out: &mut [u8; N], mut at: usize, tag: u8, text: &[u8]) -> usize {
    out[at] = tag;
    at += 1;
    let mut i = 0;
    while i < text.len() {
        out[at] = text[i];
        at += 1;
        i += 1;
    }
    at + 1 // the terminating nul is already there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_one_whole_notice() {
        for reason in [QuitSignalReason::ForCrash, QuitSignalReason::ForStop, QuitSignalReason::NotSent] {
            let bytes = message(reason);
            assert_eq!(bytes[0], b'N');
            assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize, bytes.len() - 1);
            assert!(bytes.ends_with(b"\0\0"));
        }
    }
}
