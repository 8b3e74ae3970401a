//! Messages through a socket pair: whole, in pieces, too long, cut short, and random.

use std::time::{Duration, Instant};

use common::SqlState;
use elog::fatal;
use proptest::prelude::*;

use super::*;
use crate::message::{FrontendMessage, LARGE_MESSAGE_LIMIT, reply};
use crate::testing::{Patient, captured_log, port_pair};

#[test]
fn messages_arrive_whole_however_they_are_cut() {
    let (mut port, mut client) = port_pair();
    let mut body = Vec::new();
    for byte in b"Q\0\0\0\x0dselect 1\0S\0\0\0\x04" {
        client.send(&[*byte]);
    }
    assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Message(b'Q'));
    assert!(matches!(FrontendMessage::parse(b'Q', &body), Ok(FrontendMessage::Query("select 1"))));
    assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Message(b'S'));
    assert!(body.is_empty() && !port.has_buffered_input());
    client.close_write();
    assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Eof);
}

#[test]
fn big_messages_pass() {
    let (mut port, mut client) = port_pair();
    let big: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
    let sent = big.clone();
    let sender = std::thread::Builder::new().spawn(move || {
        client.send_message(b'd', &sent);
        client.send_message(b'S', b"");
        client.receive_all()
    });
    let mut body = Vec::new();
    assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Message(b'd'));
    assert!(body == big);
    assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Message(b'S'));
    assert!(body.capacity() < 1_000_000, "an idle session gives the memory back");
    reply::copy_data(port.out(), &big);
    assert!(port.is_send_pending());
    port.flush(&mut Patient).unwrap();
    assert!(!port.is_send_pending());
    drop(port);
    assert!(sender.unwrap().join().unwrap()[5..] == big);
}

#[test]
fn a_length_word_alone_allocates_nothing() {
    let (mut port, mut client) = port_pair();
    client.send(b"d");
    client.send(&(LARGE_MESSAGE_LIMIT as u32).to_be_bytes());
    client.send(&[0; 20_000]);
    client.close_write();
    let mut body = Vec::new();
    let (result, log) = captured_log(|| port.read_message(&mut body, &mut Patient));
    assert_eq!(result.unwrap(), Incoming::Broken);
    assert_eq!(log, ["incomplete message from client"]);
    assert!(body.capacity() < 200_000, "{}", body.capacity());
}

#[test]
fn broken_streams_are_logged() {
    for (bytes, expected) in [
        (&b"Q"[..], "unexpected EOF within message length word"),
        (b"Q\0\0\0", "unexpected EOF within message length word"),
        (b"Q\0\0\0\x03", "invalid message length"),
        (b"Q\x7f\xff\xff\xff", "invalid message length"),
        (b"S\0\0\x27\x11", "invalid message length"),
        (b"Q\0\0\0\x09ab", "incomplete message from client"),
    ] {
        let (mut port, mut client) = port_pair();
        client.send(bytes);
        client.close_write();
        let (result, log) = captured_log(|| port.read_message(&mut Vec::new(), &mut Patient));
        assert_eq!(result.unwrap(), Incoming::Broken, "{bytes:?}");
        assert_eq!(log, [expected]);
    }
    let (mut port, mut client) = port_pair();
    client.send(b"!");
    let error = port.read_message(&mut Vec::new(), &mut Patient).unwrap_err();
    assert_eq!(
        (error.severity, &*error.message),
        (elog::Severity::Fatal, "invalid frontend message type 33")
    );
}

#[test]
fn a_client_that_left_is_reported_once() {
    let (mut port, client) = port_pair();
    drop(client);
    assert!(!port.check_connection());
    reply::empty_query_response(port.out());
    let ((first, second), log) = captured_log(|| {
        let first = port.flush(&mut Patient).unwrap_err();
        reply::empty_query_response(port.out());
        (first, port.flush(&mut Patient).unwrap_err())
    });
    for error in [first, second] {
        assert_eq!(
            (error.sqlstate, &*error.message),
            (SqlState::CONNECTION_FAILURE, "connection to client lost")
        );
    }
    assert_eq!(log, ["could not send data to client: Broken pipe"]);
    assert!(port.is_lost());
}

#[test]
fn connections_are_checked_behind_unread_input() {
    let (port, mut client) = port_pair();
    assert!(port.check_connection());
    client.send(b"unread");
    assert!(port.check_connection());
    client.close_write();
    assert!(!port.check_connection());
}

#[test]
fn sending_without_waiting_keeps_the_rest() {
    let (mut port, mut client) = port_pair();
    reply::copy_data(port.out(), &[7; 5_000_000]);
    port.flush_if_writable().unwrap();
    assert!(port.is_send_pending(), "nobody has read 5 MB");
    let reader = std::thread::Builder::new().spawn(move || client.receive_all().len());
    port.flush(&mut Patient).unwrap();
    drop(port);
    assert_eq!(reader.unwrap().join().unwrap(), 5_000_005);
}

/// Uses the process's own latch, and ends the wait when that is set or time is up.
struct Ending {
    deadline: Option<Instant>,
    interrupted: u32,
}

impl WaitPolicy for Ending {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        self.interrupted += 1;
        if self.interrupted > 1 { Err(fatal!(SqlState::ADMIN_SHUTDOWN, "interrupted")) } else { Ok(()) }
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let (mut port, _client) = port_pair();
    port.watch_postmaster = false;
    let mut policy = Ending { deadline: Some(Instant::now() + Duration::from_millis(20)), interrupted: 0 };
    let error = port.read_message(&mut Vec::new(), &mut policy).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::QUERY_CANCELED);
    assert_eq!(error.message, "canceling authentication due to timeout");
}

#[test]
fn a_wait_ends_when_the_policy_says_so() {
    let (mut port, _client) = port_pair();
    port.watch_postmaster = false;
    let mut policy = Ending { deadline: Some(Instant::now() + Duration::from_secs(60)), interrupted: 0 };
    shmem::latch::set(shmem::my_latch());
    let error = port.read_message(&mut Vec::new(), &mut policy).unwrap_err();
    assert_eq!(error.message, "interrupted");
}

/// Counts waits, to see how many calls a round trip costs.
struct Counting {
    waits: u32,
}

impl WaitPolicy for Counting {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, socket: BorrowedFd<'_>, direction: Direction, watch: bool) -> Result<Waited> {
        self.waits += 1;
        Patient.wait(socket, direction, watch)
    }
}

#[test]
fn what_is_there_is_read_without_waiting() {
    let (mut port, mut client) = port_pair();
    let mut policy = Counting { waits: 0 };
    for _ in 0..50 {
        client.send_message(b'S', b"");
        client.send_message(b'H', b"");
        port.read_message(&mut Vec::new(), &mut policy).unwrap();
        port.read_message(&mut Vec::new(), &mut policy).unwrap();
    }
    assert_eq!(policy.waits, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_streams_end(bytes in proptest::collection::vec(
        prop_oneof![4 => any::<u8>(), 2 => Just(0), 1 => Just(b'Q'), 1 => Just(4), 1 => Just(b'B')], 0..60)) {
        let (mut port, mut client) = port_pair();
        client.send(&bytes);
        client.close_write();
        let mut body = Vec::new();
        let ((), _) = captured_log(|| {
            while let Ok(Incoming::Message(kind)) = port.read_message(&mut body, &mut Patient) {
                let _ = FrontendMessage::parse(kind, &body);
            }
        });
    }
}

#[test]
fn a_direct_message_goes_before_what_comes_later() {
    let (mut port, mut client) = port_pair();
    // More than the socket takes at once.
    let length = 1_000_000;
    let message = port.direct_buffer(length + 100);
    message[0] = b'd';
    message[1..5].copy_from_slice(&(length as u32 - 1).to_be_bytes());
    message[5..length].fill(7);
    assert!(!port.is_send_pending(), "not before it is said to go");
    port.send_direct(length);
    port.flush_if_writable().unwrap();
    assert!(port.is_send_pending());
    reply::copy_done(port.out());
    let reader = std::thread::Builder::new().spawn(move || {
        let first = client.receive_message();
        (first, client.receive_message(), client)
    });
    port.flush(&mut Patient).unwrap();
    assert!(!port.is_send_pending());
    let ((kind, body), last, client) = reader.unwrap().join().unwrap();
    assert!(kind == b'd' && body.len() == length - 5 && body.iter().all(|b| *b == 7));
    assert_eq!(last, (b'c', Vec::new()));
    drop(client);
    port.direct_buffer(10);
    port.send_direct(10);
    port.flush(&mut Patient).unwrap_err();
    assert!(port.is_lost() && !port.is_send_pending());
}

#[test]
fn reading_what_is_there_does_not_wait() {
    let limit = |kind: u8| match kind {
        b'd' => Ok(100),
        other => Err(fatal!(SqlState::PROTOCOL_VIOLATION, "no place for {}", char::from(other))),
    };
    let (mut port, mut client) = port_pair();
    let mut body = Vec::new();
    assert_eq!(port.try_read_message(&mut body, &mut Patient, limit).unwrap(), None);
    client.send_message(b'd', b"one");
    client.send_message(b'd', b"");
    for expected in [&b"one"[..], b""] {
        let read = port.try_read_message(&mut body, &mut Patient, limit).unwrap();
        assert_eq!((read, &*body), (Some(Incoming::Message(b'd')), expected));
        // Both came with the first read; behind the second one there is nothing to be looked for.
        assert_eq!(port.is_drained(), expected.is_empty());
    }
    assert_eq!(port.try_read_message(&mut body, &mut Patient, limit).unwrap(), None);
    // Half a message is none yet, wherever it is cut; its type is looked at all the same.
    for cut in [1, 4, 5, 7] {
        let whole = b"d\0\0\0\x07two";
        client.send(&whole[..cut]);
        assert_eq!(port.try_read_message(&mut body, &mut Patient, limit).unwrap(), None, "{cut}");
        assert!(!port.is_drained(), "{cut}");
        client.send(&whole[cut..]);
        let read = port.try_read_message(&mut body, &mut Patient, limit).unwrap();
        assert_eq!((read, &*body), (Some(Incoming::Message(b'd')), &b"two"[..]), "{cut}");
        assert!(port.is_drained(), "{cut}");
    }
    // So much that a read fills the buffer: there may be more, and it is not said that there is none.
    client.send(&b"d\0\0\0\x07two".repeat(2048));
    for left in (0..2048).rev() {
        let read = port.try_read_message(&mut body, &mut Patient, limit).unwrap();
        assert_eq!(read, Some(Incoming::Message(b'd')), "{left}");
        assert!(!port.is_drained(), "{left}");
    }
    assert_eq!(port.try_read_message(&mut body, &mut Patient, limit).unwrap(), None);
    client.send_message(b'd', &[0; 200]);
    let (read, log) = captured_log(|| port.try_read_message(&mut body, &mut Patient, limit));
    assert_eq!((read.unwrap(), log), (Some(Incoming::Broken), vec!["invalid message length".to_owned()]));
    let (mut port, mut client) = port_pair();
    client.send_message(b'Q', b"x");
    let error = port.try_read_message(&mut body, &mut Patient, limit).unwrap_err();
    assert_eq!(error.message, "no place for Q");
    let (mut port, client) = port_pair();
    client.close_write();
    let read = port.try_read_message(&mut body, &mut Patient, limit).unwrap();
    assert_eq!(read, Some(Incoming::Eof));
    let (mut port, mut client) = port_pair();
    client.send(b"d\0\0\0\x07tw");
    client.close_write();
    let (read, log) = captured_log(|| port.try_read_message(&mut body, &mut Patient, limit));
    let expected = (Some(Incoming::Broken), vec!["incomplete message from client".to_owned()]);
    assert_eq!((read.unwrap(), log), expected);
}
