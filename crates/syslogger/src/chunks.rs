//! Putting messages together again from the chunks in the pipe.
//!
//! The writing side and the format are in [`elog::pipe`]. What arrives is a mix of whole chunks of many
//! processes and of plain text that some library or child program printed to its stderr. The first byte tells
//! them apart: a chunk begins with two zeros.
//!
//! - C1  Chunks of one pid are joined in the order they arrive; other pids' chunks in between do not matter.
//! - C2  Nothing that arrives is lost: what is no chunk is passed on as plain text.
//! - C3  Memory is bounded: a partial message beyond [`PARTIAL_LEN_MAX`] is passed on in pieces, and
//!   everything partial is when there is too much of it (writers that were killed half-way leave it behind).
//!
//! C counterpart: `process_pipe_input` and `flush_pipe_input` in syslogger.c, which have no bound.

use std::collections::BTreeMap;

use elog::pipe::{Destination, HEADER_LEN, IS_LAST, PAYLOAD_LEN_MAX};

/// Longest partial message kept, in bytes.
pub(crate) const PARTIAL_LEN_MAX: usize = 32 << 20;
/// Most processes with a partial message; more than can run at once are leftovers.
const PARTIAL_COUNT_MAX: usize = 4096;

/// Partial messages and the bytes of a chunk that has not fully arrived.
#[derive(Debug, Default)]
pub(crate) struct Reassembler {
    carry: Vec<u8>,
    partials: BTreeMap<i32, Partial>,
}

#[derive(Debug)]
struct Partial {
    to: Destination,
    bytes: Vec<u8>,
}

/// What stands at the beginning of some bytes.
enum Next {
    /// This many bytes that belong to no chunk.
    Text(usize),
    Chunk {
        pid: i32,
        to: Destination,
        last: bool,
        len: usize,
    },
    /// Perhaps a chunk, but not all of it is here.
    NeedMore,
}

impl Reassembler {
    /// Takes what was read from the pipe; calls `write` for each message that is now complete.
    pub(crate) fn feed(&mut self, input: &[u8], write: &mut impl FnMut(&[u8], Destination)) {
        if self.carry.is_empty() {
            let consumed = self.consume(input, write);
            self.carry.extend_from_slice(&input[consumed..]);
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(input);
        let consumed = self.consume(&carry, write);
        carry.drain(..consumed);
        self.carry = carry;
    }

    /// The pipe has been closed: passes on everything that is left.
    pub(crate) fn finish(&mut self, write: &mut impl FnMut(&[u8], Destination)) {
        self.flush_partials(write);
        let carry = std::mem::take(&mut self.carry);
        if !carry.is_empty() {
            write(&carry, Destination::Stderr);
        }
    }

    fn consume(&mut self, data: &[u8], write: &mut impl FnMut(&[u8], Destination)) -> usize {
        let mut at = 0;
        while at < data.len() {
            match look(&data[at..]) {
                Next::NeedMore => break,
                Next::Text(len) => {
                    write(&data[at..at + len], Destination::Stderr);
                    at += len;
                }
                Next::Chunk { pid, to, last, len } => {
                    let start = at + HEADER_LEN;
                    self.take_chunk(pid, to, last, &data[start..start + len], write);
                    at = start + len;
                }
            }
        }
        at
    }

    fn take_chunk(
        &mut self,
        pid: i32,
        to: Destination,
        last: bool,
        share: &[u8],
        write: &mut impl FnMut(&[u8], Destination),
    ) {
        // A process finishes one message before it begins another: a partial one for another file is from a
        // dead process with the same pid.
        if self.partials.get(&pid).is_some_and(|partial| partial.to != to)
            && let Some(stale) = self.partials.remove(&pid)
        {
            write(&stale.bytes, stale.to);
        }
        if last {
            match self.partials.remove(&pid) {
                None => write(share, to),
                Some(mut partial) => {
                    partial.bytes.extend_from_slice(share);
                    write(&partial.bytes, to);
                }
            }
            return;
        }
        if self.partials.len() >= PARTIAL_COUNT_MAX && !self.partials.contains_key(&pid) {
            self.flush_partials(write);
        }
        let partial = self.partials.entry(pid).or_insert_with(|| Partial { to, bytes: Vec::new() });
        partial.bytes.extend_from_slice(share);
        if partial.bytes.len() >= PARTIAL_LEN_MAX {
            write(&partial.bytes, to);
            partial.bytes = Vec::new();
        }
    }

    fn flush_partials(&mut self, write: &mut impl FnMut(&[u8], Destination)) {
        for partial in std::mem::take(&mut self.partials).into_values() {
            write(&partial.bytes, partial.to);
        }
    }
}

/// Decides what the first bytes are. `data` is not empty.
fn look(data: &[u8]) -> Next {
    // Text goes on to the next zero, which may be the beginning of a chunk.
    let text = || Next::Text(1 + data[1..].iter().position(|b| *b == 0).unwrap_or(data.len() - 1));
    if data[0] != 0 || data.get(1).is_some_and(|b| *b != 0) {
        return text();
    }
    let Some((header, rest)) = data.split_first_chunk::<HEADER_LEN>() else { return Next::NeedMore };
    let len = usize::from(u16::from_ne_bytes([header[2], header[3]]));
    let pid = i32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let mut destinations = Destination::ALL.into_iter().filter(|to| header[8] & to.flag() != 0);
    match (destinations.next(), destinations.next()) {
        (Some(to), None) if pid != 0 && (1..=PAYLOAD_LEN_MAX).contains(&len) => {
            if rest.len() < len {
                return Next::NeedMore;
            }
            Next::Chunk { pid, to, last: header[8] & IS_LAST != 0, len }
        }
        _ => text(),
    }
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
