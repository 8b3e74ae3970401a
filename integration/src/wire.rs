//! A client that shows every message: what psql prints under `\set VERBOSITY verbose`, and the end of file.
//!
//! The `postgres` crate hides notices and what comes before a connection ends; the tests are about those.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use crate::{Cluster, DEADLINE};

/// What a connection is made of.
trait Transport: Read + Write + Send {
    fn no_more(&self);
}

impl Transport for TcpStream {
    fn no_more(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Transport for UnixStream {
    fn no_more(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// One connection. Answers are lists of lines:
/// - a row is its columns with `|` between them, a finished command its tag;
/// - a report is `ERROR:  42601: message`, then a line each for `DETAIL:  `, `HINT:  `;
/// - `EOF` is the end of the connection. ReadyForQuery ends an answer and is no line.
pub struct Wire {
    stream: Box<dyn Transport>,
    received: Vec<u8>,
    /// The server process, from BackendKeyData.
    pub pid: i32,
    /// The cancel key, from BackendKeyData.
    pub key: i32,
    /// The state of the transaction block at the last ReadyForQuery: `I`, `T` or `E`.
    pub transaction: char,
    /// Show where in the server a report comes from, as a line `LOCATION:  Routine`.
    pub show_routine: bool,
    ended: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection to process {}", self.pid)
    }
}

/// The start-up packet's body for these parameters.
pub fn startup_packet(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    body
}

impl Wire {
    /// A TCP connection on which nothing was said yet.
    #[track_caller]
    pub fn open(cluster: &Cluster) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", cluster.port())).expect("the server listens on TCP");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Wire::over(Box::new(stream))
    }

    /// As [`Wire::open`], on the Unix socket.
    #[track_caller]
    pub fn open_local(cluster: &Cluster) -> Wire {
        let path = cluster.socket_dir().join(format!(".s.PGSQL.{}", cluster.port()));
        let stream = UnixStream::connect(path).expect("the server listens on its Unix socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        Wire::over(Box::new(stream))
    }

    fn over(stream: Box<dyn Transport>) -> Wire {
        let received = Vec::new();
        Wire { stream, received, pid: 0, key: 0, transaction: '?', show_routine: false, ended: false }
    }

    /// A session of the superuser over TCP.
    #[track_caller]
    pub fn connect(cluster: &Cluster) -> Wire {
        let mut wire = Wire::open(cluster);
        let answer = wire.start_session(&[("user", "postgres"), ("database", "postgres")]);
        assert!(wire.pid != 0 && !wire.ended, "connecting: {answer:?}\n{}", cluster.log());
        wire
    }

    /// What a client that wants to connect as superuser is told: nothing if it may.
    #[track_caller]
    pub fn refusal(cluster: &Cluster) -> Vec<String> {
        Wire::open(cluster).start_session(&[("user", "postgres"), ("database", "postgres")])
    }

    /// Sends a start-up packet and returns the answer, without parameters and key.
    #[track_caller]
    pub fn start_session(&mut self, parameters: &[(&str, &str)]) -> Vec<String> {
        self.send_packet(&startup_packet(parameters));
        self.answer()
    }

    /// Sends bytes as they are. A server that no longer reads is no error: the answer will tell.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a body after its length, as start-up packets are sent.
    pub fn send_packet(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).expect("a short packet");
        self.send(&[&length.to_be_bytes()[..], body].concat());
    }

    /// Sends a message.
    pub fn send_message(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).expect("a short message");
        self.send(&[&[kind], &length.to_be_bytes()[..], body].concat());
    }

    /// Says that nothing more will be sent.
    pub fn no_more(&self) {
        self.stream.no_more();
    }

    /// Sends a query and does not wait for the answer.
    pub fn begin(&mut self, sql: &str) {
        self.send_message(b'Q', &[sql.as_bytes(), &[0]].concat());
    }

    /// Runs a query.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Vec<String> {
        self.begin(sql);
        self.answer()
    }

    /// Asks the server to cancel what this session runs, on a connection of its own.
    #[track_caller]
    pub fn cancel(&self, cluster: &Cluster) {
        let mut other = Wire::open(cluster);
        let words = [80_877_102_u32, self.pid as u32, self.key as u32];
        other.send_packet(&words.map(u32::to_be_bytes).concat());
        assert_eq!(other.answer(), ["EOF"], "a cancel request is never answered");
    }

    /// Ends the session as a client should and waits until the server has closed it.
    #[track_caller]
    pub fn quit(mut self) {
        self.send_message(b'X', &[]);
        assert_eq!(self.answer(), ["EOF"]);
    }

    /// All messages up to the next ReadyForQuery or the end of the connection.
    #[track_caller]
    pub fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((kind, body)) = self.next_message() {
            match kind {
                b'Z' => {
                    self.transaction = body.first().map_or('?', |byte| char::from(*byte));
                    return lines;
                }
                b'E' | b'N' => lines.extend(report(&body, self.show_routine)),
                b'K' => {
                    self.pid = number(&body, 0);
                    self.key = number(&body, 4);
                }
                _ => lines.extend(plain_message(kind, &body)),
            }
        }
        self.ended = true;
        lines.push("EOF".to_owned());
        lines
    }

    /// The next byte as it is: the answer to an encryption request.
    #[track_caller]
    pub fn byte(&mut self) -> Option<u8> {
        while self.received.is_empty() {
            if !self.receive() {
                return None;
            }
        }
        Some(self.received.remove(0))
    }

    /// All bytes up to the end of the connection, as they are.
    #[track_caller]
    pub fn bytes_to_the_end(&mut self) -> Vec<u8> {
        while self.receive() {}
        std::mem::take(&mut self.received)
    }

    /// The next message, its type and its body; `None` at the end of the connection. For conversations that are no
    /// questions and answers: streams of WAL.
    #[track_caller]
    pub fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [kind, a, b, c, d, rest @ ..] = self.received.as_slice() {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
                if rest.len() >= length {
                    let message = (*kind, rest[..length].to_vec());
                    self.received.drain(..5 + length);
                    return Some(message);
                }
            }
            if !self.receive() {
                return None;
            }
        }
    }

    /// False at the end. A reset is an end too: the server closes with what it did not read.
    #[track_caller]
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 8192];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) if e.kind() == ErrorKind::ConnectionReset || e.kind() == ErrorKind::BrokenPipe => false,
            Err(e) => panic!("the server does not answer: {e}"),
        }
    }
}

fn number(body: &[u8], at: usize) -> i32 {
    body.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes)
}

/// The lines of an error or notice.
fn report(body: &[u8], show_routine: bool) -> Vec<String> {
    let fields: Vec<(u8, String)> = body
        .split(|byte| *byte == 0)
        .filter_map(|field| Some((*field.first()?, String::from_utf8_lossy(field.get(1..)?).into_owned())))
        .collect();
    let field = |code| fields.iter().find(|(c, _)| *c == code).map(|(_, text)| text.as_str());
    let text = |code| field(code).unwrap_or("-");
    let mut lines = vec![format!("{}:  {}: {}", text(b'V'), text(b'C'), text(b'M'))];
    for (code, label) in [(b'D', "DETAIL"), (b'H', "HINT")] {
        lines.extend(field(code).map(|text| format!("{label}:  {text}")));
    }
    if show_routine {
        lines.push(format!("LOCATION:  {}", text(b'R')));
    }
    lines
}

/// A message that is no report, if it is worth a line.
fn plain_message(kind: u8, body: &[u8]) -> Option<String> {
    let text = || String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
    match kind {
        b'D' => Some(row(body)),
        b'C' => Some(text()),
        b'I' => Some("empty query".to_owned()),
        b'T' | b'S' => None,
        b'R' if number(body, 0) == 0 => None,
        b'R' => Some(format!("authentication request {}", number(body, 0))),
        b'v' => Some("NegotiateProtocolVersion".to_owned()),
        b'1' => Some("ParseComplete".to_owned()),
        b'2' => Some("BindComplete".to_owned()),
        b'3' => Some("CloseComplete".to_owned()),
        b'n' => Some("NoData".to_owned()),
        b't' => Some("ParameterDescription".to_owned()),
        b's' => Some("PortalSuspended".to_owned()),
        _ => Some(format!("message {:?}", char::from(kind))),
    }
}

/// A row as `psql -A -t` shows it.
fn row(body: &[u8]) -> String {
    let mut columns = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while rest.len() >= 4 {
        let length = number(rest, 0);
        rest = &rest[4..];
        let length = usize::try_from(length).unwrap_or(0).min(rest.len());
        let (column, after) = rest.split_at(length);
        columns.push(String::from_utf8_lossy(column).into_owned());
        rest = after;
    }
    columns.join("|")
}
