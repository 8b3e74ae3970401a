//! A client that shows each message of the server as a line.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use integration::wire::startup_packet;
use integration::{Cluster, DEADLINE};

pub(crate) struct Client {
    stream: TcpStream,
    /// Messages whose answer has not been read: how many of them end with a line of their own.
    unanswered: usize,
}

impl Client {
    pub(crate) fn open(cluster: &Cluster) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", cluster.port())).expect("the server listens on TCP");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Client { stream, unanswered: 0 }
    }

    /// Sends a start-up packet. Of the settings the answer names only the names: their values are not the same
    /// everywhere.
    pub(crate) fn start(&mut self, version: (u16, u16), parameters: &str) -> Vec<String> {
        let parameters: Vec<(&str, &str)> =
            parameters.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let mut body = startup_packet(&parameters);
        body[..2].copy_from_slice(&version.0.to_be_bytes());
        body[2..4].copy_from_slice(&version.1.to_be_bytes());
        self.send(&[&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat());
        let mut lines = self.read_until(|kind| kind == b'Z');
        let names =
            |line: &String| Some(line.strip_prefix("ParameterStatus ")?.split('=').next()?.to_owned());
        let mut reported: Vec<String> = lines.iter().filter_map(names).collect();
        reported.sort();
        if let Some(first) = lines.iter().position(|line| line.starts_with("ParameterStatus ")) {
            lines.retain(|line| !line.starts_with("ParameterStatus "));
            lines.insert(first, format!("ParameterStatus of {}", reported.join(", ")));
        }
        lines
    }

    /// The answer is a single byte.
    pub(crate) fn request_encryption(&mut self, code: u32) -> Vec<String> {
        self.send(&[8_u32.to_be_bytes(), code.to_be_bytes()].concat());
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(1) => vec![char::from(byte[0]).to_string()],
            other => vec![format!("{other:?}")],
        }
    }

    /// Sends what a command says, and reads the answer if it is one that must be answered now.
    pub(crate) fn act(&mut self, verb: &str, rest: &str) -> Vec<String> {
        let words: Vec<&str> = rest.split(' ').collect();
        let name = |index: usize| words.get(index).copied().filter(|word| *word != "-").unwrap_or("");
        self.unanswered += 1;
        match verb {
            "query" => {
                self.message(b'Q', &text(rest));
                self.unanswered = 0;
                return self.read_until(|kind| kind == b'Z');
            }
            "stream" => {
                self.message(b'Q', &text(rest));
                self.unanswered = 0;
                return self.read_until(|kind| kind == b'W' || kind == b'Z');
            }
            "caughtup" => self.catch_up(),
            "copydone" => {
                self.message(b'c', &[]);
                return self.read_until(|kind| kind == b'Z');
            }
            "parse" => {
                let sql = words.get(2..).unwrap_or_default().join(" ");
                let types = list(name(1)).map(|ty| ty.parse::<u32>().expect("an oid").to_be_bytes());
                let types: Vec<[u8; 4]> = types.collect();
                let body =
                    [text(name(0)), text(&sql), (types.len() as u16).to_be_bytes().into(), types.concat()];
                self.message(b'P', &body.concat());
            }
            "bind" => {
                let body =
                    [text(name(0)), text(name(1)), formats(name(2)), values(name(3)), formats(name(4))];
                self.message(b'B', &body.concat());
            }
            "describe" => self.message(b'D', &[name(0).as_bytes(), &text(name(1))].concat()),
            "close" => self.message(b'C', &[name(0).as_bytes(), &text(name(1))].concat()),
            "execute" => {
                let max: i32 = name(1).parse().expect("a number of rows");
                self.message(b'E', &[text(name(0)), max.to_be_bytes().into()].concat());
            }
            "message" => self.message(name(0).as_bytes()[0], &hex(name(1))),
            "bytes" => self.send(&hex(name(0))),
            "sync" => {
                self.message(b'S', &[]);
                self.unanswered = 0;
                return self.read_until(|kind| kind == b'Z');
            }
            "flush" => {
                self.message(b'H', &[]);
                let mut left = self.unanswered - 1;
                self.unanswered = 0;
                return self.read_until(|kind| {
                    left -= usize::from(b"123TnCsI".contains(&kind));
                    left == 0 || kind == b'E'
                });
            }
            "terminate" => {
                self.message(b'X', &[]);
                return self.read_until(|_| false);
            }
            "eof" => {
                let _ = self.stream.shutdown(Shutdown::Write);
                return self.read_until(|_| false);
            }
            "read" => return self.read_until(|kind| kind == b'Z'),
            other => panic!("no such command: {other}"),
        }
        Vec::new()
    }

    /// A server that no longer reads is no error: the answer will tell.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        self.send(&[&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat());
    }

    /// Reads a stream up to the end of WAL. A server that gives up on a client closes with what it did not read, and then what is
    /// on its way to the client may be lost, and with it the reason.
    fn catch_up(&mut self) {
        loop {
            let mut head = [0; 5];
            assert!(self.read_exact(&mut head), "the stream ends");
            let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
            assert!(self.read_exact(&mut body), "a message is cut short");
            let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
            if head[0] == b'd' && body[0] == b'w' && number(1) + (body.len() - 25) as u64 >= number(9) {
                return;
            }
        }
    }

    /// Lines for all messages up to one that `is_last`, or to the end of the connection.
    fn read_until(&mut self, mut is_last: impl FnMut(u8) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut head = [0; 5];
            if !self.read_exact(&mut head) {
                lines.push("end of connection".to_owned());
                return lines;
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let mut body = vec![0; length];
            assert!(self.read_exact(&mut body), "a message is cut short after {lines:?}");
            // How WAL is cut into messages, and when there is nothing to send, is no matter of the conversation.
            if head[0] != b'd' {
                lines.push(shown(head[0], &body));
            }
            if is_last(head[0]) {
                return lines;
            }
        }
    }

    /// False at the end. A reset is an end too: the server closes with what it did not read.
    fn read_exact(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read_exact(buffer) {
            Ok(()) => true,
            Err(e) if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&e.kind()) => false,
            Err(e) => panic!("the server does not answer: {e}"),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// The items of `[a,b]`.
fn list(word: &str) -> impl Iterator<Item = &str> {
    let inner = word.trim_start_matches('[').trim_end_matches(']');
    inner.split(',').filter(|item| !item.is_empty())
}

fn formats(word: &str) -> Vec<u8> {
    let codes: Vec<[u8; 2]> =
        list(word).map(|code| code.parse::<i16>().expect("a format code").to_be_bytes()).collect();
    [&(codes.len() as u16).to_be_bytes()[..], &codes.concat()].concat()
}

fn values(word: &str) -> Vec<u8> {
    let mut count = 0_u16;
    let mut body = Vec::new();
    for item in list(word) {
        count += 1;
        let bytes = match (item, item.strip_prefix("x:")) {
            ("NULL", _) => {
                body.extend((-1_i32).to_be_bytes());
                continue;
            }
            (_, Some(digits)) => hex(digits),
            (item, None) => item.as_bytes().to_vec(),
        };
        body.extend((bytes.len() as u32).to_be_bytes());
        body.extend(bytes);
    }
    [&count.to_be_bytes()[..], &body].concat()
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal digits"))
        .collect()
}

/// A message as a line.
fn shown(kind: u8, body: &[u8]) -> String {
    let mut body = Body(body);
    match kind {
        b'R' => match body.i32() {
            0 => "AuthenticationOk".to_owned(),
            other => format!("Authentication {other}"),
        },
        b'S' => format!("ParameterStatus {}={}", body.text(), body.text()),
        b'K' => "BackendKeyData".to_owned(),
        b'Z' => format!("ReadyForQuery {}", char::from(body.u8())),
        b'T' => (0..body.i16()).fold("RowDescription".to_owned(), |line, _| line + &field(&mut body)),
        b'D' => {
            let columns: Vec<String> = (0..body.i16()).map(|_| body.value()).collect();
            format!("DataRow {}", columns.join(" | "))
        }
        b'C' => format!("CommandComplete {}", body.text()),
        b'E' => report("ErrorResponse", &mut body),
        b'N' => report("NoticeResponse", &mut body),
        b'I' => "EmptyQueryResponse".to_owned(),
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'n' => "NoData".to_owned(),
        b's' => "PortalSuspended".to_owned(),
        b'W' => format!("CopyBothResponse {:?}", body.0),
        b'H' => format!("CopyOutResponse {:?}", body.0),
        b'c' => "CopyDone".to_owned(),
        b't' => (0..body.i16())
            .fold("ParameterDescription".to_owned(), |line, _| format!("{line} {}", body.i32())),
        b'v' => {
            let minor = body.i32() & 0xffff;
            let options: Vec<String> = (0..body.i32()).map(|_| body.text()).collect();
            format!("NegotiateProtocolVersion 3.{minor} [{}]", options.join(", "))
        }
        other => format!("message {:?} {:?}", char::from(other), body.0),
    }
}

/// Name, type, length, modifier and format of a column. It never has a table.
fn field(body: &mut Body<'_>) -> String {
    let name = body.text();
    let (table, column) = (body.i32(), body.i16());
    let (ty, length, typmod, format) = (body.i32(), body.i16(), body.i32(), body.i16());
    assert!(table == 0 && column == 0 || table > 0, "{table} {column}");
    format!(" {name}:{ty}:{length}:{typmod}:{format}")
}

/// All fields but those that say where in the server.
fn report(kind: &str, body: &mut Body<'_>) -> String {
    let mut line = kind.to_owned();
    loop {
        match body.u8() {
            0 => return line,
            b'F' | b'L' | b'R' => drop(body.text()),
            code => {
                let _ = write!(line, " {}={:?}", char::from(code), body.text());
            }
        }
    }
}

/// A message's body, read from the front.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }
    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }
    fn i16(&mut self) -> i16 {
        self.take(2).try_into().map_or(0, i16::from_be_bytes)
    }
    fn i32(&mut self) -> i32 {
        self.take(4).try_into().map_or(0, i32::from_be_bytes)
    }
    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a NUL");
        let text = String::from_utf8_lossy(self.take(end)).into_owned();
        self.take(1);
        text
    }
    /// A column of a row: its text, or hexadecimal digits if it is none.
    fn value(&mut self) -> String {
        let length = self.i32();
        if length < 0 {
            return "NULL".to_owned();
        }
        let bytes = self.take(length as usize);
        match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control()) => text.to_owned(),
            _ => bytes.iter().fold("x:".to_owned(), |line, byte| line + &format!("{byte:02x}")),
        }
    }
}
