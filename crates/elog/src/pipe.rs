//! The protocol on the pipe to the logger.
//!
//! A message is cut into chunks no longer than `PIPE_BUF`, each sent with one write, so that chunks of many
//! processes may mix but never tear. A chunk is 9 bytes of header and its share of the message:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | zero; text that some library prints to stderr never begins so |
//! | 2 | length of the share, native byte order, never 0 |
//! | 4 | pid of the writer |
//! | 1 | flags: one destination bit, and [`IS_LAST`] on the last chunk |
//!
//! C counterpart: `PipeProtoHeader` (syslogger.h) and `write_pipe_chunks` (elog.c). The reader is
//! `syslogger::chunks`.

/// Length of the header.
pub const HEADER_LEN: usize = 9;
/// Longest chunk, header included: what POSIX lets a pipe write without tearing it.
pub const CHUNK_LEN_MAX: usize = libc::PIPE_BUF;
/// Longest share of a message in one chunk.
pub const PAYLOAD_LEN_MAX: usize = CHUNK_LEN_MAX - HEADER_LEN;
/// Flag of the last chunk of a message.
pub const IS_LAST: u8 = 0x01;

/// Which of the log files a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Plain text.
    Stderr,
    /// CSV rows.
    Csvlog,
    /// JSON objects.
    Jsonlog,
}

impl Destination {
    /// Every destination, in the order of `current_logfiles`.
    pub const ALL: [Destination; 3] = [Destination::Stderr, Destination::Csvlog, Destination::Jsonlog];

    /// Its bit in a chunk's flags. C: `PIPE_PROTO_DEST_*`.
    pub fn flag(self) -> u8 {
        match self {
            Destination::Stderr => 0x10,
            Destination::Csvlog => 0x20,
            Destination::Jsonlog => 0x40,
        }
    }

    /// Its word in `log_destination`, `current_logfiles` and `pg_current_logfile()`.
    pub fn name(self) -> &'static str {
        match self {
            Destination::Stderr => "stderr",
            Destination::Csvlog => "csvlog",
            Destination::Jsonlog => "jsonlog",
        }
    }
}

/// Cuts a message into header and share of each chunk.
pub fn chunks(pid: i32, message: &[u8], to: Destination) -> impl Iterator<Item = ([u8; HEADER_LEN], &[u8])> {
    let count = message.len().div_ceil(PAYLOAD_LEN_MAX);
    message.chunks(PAYLOAD_LEN_MAX).enumerate().map(move |(i, share)| {
        let mut header = [0; HEADER_LEN];
        header[2..4].copy_from_slice(&(share.len() as u16).to_ne_bytes());
        header[4..8].copy_from_slice(&pid.to_ne_bytes());
        header[8] = to.flag() | if i + 1 == count { IS_LAST } else { 0 };
        (header, share)
    })
}

const _: () = assert!(CHUNK_LEN_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_is_one_last_chunk() {
        let all: Vec<_> = chunks(0x0102_0304, b"hi\n", Destination::Csvlog).collect();
        let expected = [&[0, 0][..], &3u16.to_ne_bytes(), &0x0102_0304i32.to_ne_bytes(), &[0x21]].concat();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0.as_slice(), all[0].1), (expected.as_slice(), &b"hi\n"[..]));
    }

    #[test]
    fn long_messages_are_cut_at_pipe_buf() {
        for (len, last_len) in [(PAYLOAD_LEN_MAX, PAYLOAD_LEN_MAX), (PAYLOAD_LEN_MAX + 1, 1), (10_000, 1826)]
        {
            let message = vec![b'x'; len];
            let all: Vec<_> = chunks(1, &message, Destination::Stderr).collect();
            assert!(all.iter().all(|(header, share)| header.len() + share.len() <= 4096));
            let (last, before) = all.split_last().unwrap();
            assert_eq!((last.0[8], last.1.len()), (0x11, last_len));
            assert!(before.iter().all(|(header, _)| header[8] == 0x10));
        }
    }

    #[test]
    fn an_empty_message_is_no_chunk() {
        assert_eq!(chunks(1, b"", Destination::Stderr).count(), 0);
    }
}
