//! Against a server that is a thread with a script.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use common::{Lsn, TimeLineId};
use proptest::prelude::*;

use super::message::append;
use super::replication::System;
use super::*;

/// The server's side of one connection.
pub(crate) struct Server(TcpStream);

impl Server {
    fn startup(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.0.read_exact(&mut body).unwrap();
        body
    }

    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut kind = [0];
        self.0.read_exact(&mut kind).unwrap();
        (kind[0], self.startup())
    }

    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) {
        let mut out = Vec::new();
        append(&mut out, kind, |out| out.extend_from_slice(body));
        self.0.write_all(&out).unwrap();
    }

    fn error(&mut self, severity: &str, code: &str, text: &str) {
        self.send(b'E', format!("S{severity}\0C{code}\0M{text}\0\0").as_bytes());
    }

    /// Refuses TLS, takes the start-up packet, lets the client in.
    pub(crate) fn let_in(&mut self) {
        self.startup_packet();
        self.accept();
    }

    fn startup_packet(&mut self) -> Vec<u8> {
        loop {
            let body = self.startup();
            if body[..4] == (1234_i32 << 16 | 5679).to_be_bytes() {
                self.0.write_all(b"N").unwrap();
            } else {
                return body;
            }
        }
    }

    fn accept(&mut self) {
        self.send(b'R', &0_i32.to_be_bytes());
        self.send(b'S', b"server_version\x0015.18 (ours)\0");
        self.send(b'S', b"in_hot_standby\0off\0");
        self.send(b'K', &[0, 0, 0, 42, 0, 0, 0, 1]);
        self.send(b'Z', b"I");
    }

    pub(crate) fn row(&mut self, columns: &[&[u8]]) {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for column in columns {
            body.extend_from_slice(&(column.len() as u32).to_be_bytes());
            body.extend_from_slice(column);
        }
        self.send(b'T', &(columns.len() as u16).to_be_bytes());
        self.send(b'D', &body);
        self.send(b'C', b"SELECT 1\0");
    }

    pub(crate) fn query(&mut self) -> String {
        let (kind, body) = self.receive();
        assert_eq!(kind, b'Q');
        String::from_utf8(body[..body.len() - 1].to_vec()).unwrap()
    }
}

/// A port, and a thread that serves one connection there.
pub(crate) fn server<T: Send + 'static>(
    script: impl FnOnce(Server) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::Builder::new().spawn(move || script(Server(listener.accept().unwrap().0)));
    (port, thread.unwrap())
}

pub(crate) fn to(port: u16, more: &str) -> Attempt<Connection> {
    let text = format!("host=127.0.0.1 port={port} user=rep gssencmode=disable {more}");
    connect::connect_with(&text, "walreceiver", &|_| None)
}

#[track_caller]
fn fails(port: u16, more: &str) -> String {
    match to(port, more) {
        Ok(_) => panic!("connected"),
        Err(Failure::Text(text)) => text,
        Err(other) => panic!("{other:?}"),
    }
}

fn prefix(port: u16) -> String {
    format!("connection to server at \"127.0.0.1\", port {port} failed: ")
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let question = "\n\tIs the server running on that host and accepting TCP/IP connections?\n";
    assert_eq!(fails(port, ""), format!("{}Connection refused{question}", prefix(port)));
    let dir = tempfile::tempdir().unwrap();
    let text = format!("host={} port=5499", dir.path().display());
    let Err(Failure::Text(text)) = connect::connect_with(&text, "w", &|_| None) else { panic!("connected") };
    assert_eq!(
        text,
        format!(
            "connection to server on socket \"{}/.s.PGSQL.5499\" failed: No such file or directory\n\tIs the server \
             running locally and accepting connections on that socket?\n",
            dir.path().display()
        )
    );
}

#[test]
fn the_startup_packet_and_the_commands() {
    let (port, thread) = server(|mut server| {
        let startup = server.startup_packet();
        server.accept();
        assert_eq!(server.query(), "IDENTIFY_SYSTEM");
        server.row(&[b"7000000000000000001", b"3", b"1/2A", b""]);
        server.send(b'Z', b"I");
        assert_eq!(server.query(), "TIMELINE_HISTORY 3");
        server.row(&[b"00000003.history", b"1\t0/1\tx\n"]);
        server.send(b'Z', b"I");
        assert_eq!(
            server.query(),
            "CREATE_REPLICATION_SLOT \"pg_walreceiver_42\" TEMPORARY PHYSICAL (RESERVE_WAL)"
        );
        server.error("ERROR", "53400", "all replication slots are in use");
        server.send(b'Z', b"I");
        startup
    });
    let mut connection = to(port, "application_name=a options='-c x=y'").unwrap();
    let system = connection.identify_system().unwrap();
    let expected = System {
        identifier: "7000000000000000001".into(),
        timeline: TimeLineId(3),
        flushed: Lsn(0x1_0000_002A),
    };
    assert_eq!(system, expected);
    let history = connection.timeline_history(TimeLineId(3)).unwrap();
    assert_eq!(history, ("00000003.history".into(), b"1\t0/1\tx\n".to_vec()));
    assert_eq!((connection.backend_pid(), connection.server_version()), (42, 150_000));
    assert_eq!(connection.sender(), (Some("127.0.0.1"), i32::from(port)));
    let error = connection.create_temporary_slot("pg_walreceiver_42").unwrap_err();
    assert_eq!(
        error.message,
        "could not create replication slot \"pg_walreceiver_42\": ERROR:  all replication slots are in use"
    );
    let startup = thread.join().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&startup[4..]),
        "user\0rep\0database\0replication\0replication\0true\0options\0-c x=y\0application_name\0a\0\0"
    );
}

/// Receives until something comes that is not nothing.
fn receive(connection: &mut Connection) -> elog::Result<Option<Vec<u8>>> {
    loop {
        match connection.receive()? {
            Received::Data(range) => return Ok(Some(connection.wire.body(range).to_vec())),
            Received::End => return Ok(None),
            Received::Nothing => {
                let event = shmem::wait_event::WaitEvent::WAL_RECEIVER_MAIN;
                connection.wire.wait(shmem::latch::Wake::SOCKET_READABLE, event).unwrap();
            }
        }
    }
}

fn start(server: &mut Server) {
    assert_eq!(server.query(), "START_REPLICATION SLOT \"s\" 0/3000000 TIMELINE 2");
    server.send(b'W', &[0, 0, 0]);
}

#[test]
fn a_stream_to_the_end_of_its_timeline() {
    let large = vec![b'x'; 3 << 20];
    let sent = large.clone();
    let (port, thread) = server(move |mut server| {
        server.let_in();
        start(&mut server);
        server.send(b'd', b"wone");
        server.send(b'd', b"");
        server.send(b'd', &sent);
        assert_eq!(server.receive(), (b'd', b"reply".to_vec()));
        server.send(b'c', b"");
        assert_eq!(server.receive().0, b'c');
        server.row(&[b"3", b"0/3000100"]);
        server.send(b'C', b"START_STREAMING\0");
        server.send(b'Z', b"I");
        assert_eq!(server.query(), "START_REPLICATION 0/0 TIMELINE 9");
        server.send(b'C', b"START_STREAMING\0");
        server.send(b'Z', b"I");
        assert_eq!(server.receive().0, b'X');
    });
    let mut connection = to(port, "").unwrap();
    assert!(connection.start_streaming(Some("s"), Lsn(0x300_0000), TimeLineId(2)).unwrap());
    assert_eq!(receive(&mut connection).unwrap().unwrap(), b"wone");
    assert_eq!(receive(&mut connection).unwrap().unwrap(), b"");
    assert!(receive(&mut connection).unwrap().unwrap() == large);
    connection.send(b"reply");
    assert_eq!(receive(&mut connection).unwrap(), None);
    assert_eq!(connection.end_streaming().unwrap(), Some(TimeLineId(3)));
    assert!(!connection.start_streaming(None, Lsn(0), TimeLineId(9)).unwrap());
    connection.close();
    thread.join().unwrap();
}

#[test]
fn a_primary_that_shuts_down() {
    let (port, thread) = server(|mut server| {
        server.let_in();
        start(&mut server);
        server.send(b'C', b"COPY 0\0");
    });
    let mut connection = to(port, "").unwrap();
    assert!(connection.start_streaming(Some("s"), Lsn(0x300_0000), TimeLineId(2)).unwrap());
    assert_eq!(receive(&mut connection).unwrap(), None);
    assert_eq!(
        connection.end_streaming().unwrap_err().message,
        "could not send end-of-streaming message to primary: server closed the connection unexpectedly\n\tThis \
         probably means the server terminated abnormally\n\tbefore or while processing the request.\nno COPY in \
         progress"
    );
    thread.join().unwrap();
}

#[test]
fn errors_within_the_stream() {
    let (port, thread) = server(|mut server| {
        server.let_in();
        start(&mut server);
        server.send(b'd', b"k");
        server.error(
            "ERROR",
            "58P01",
            "requested WAL segment 000000010000000000000001 has already been removed",
        );
    });
    let mut connection = to(port, "").unwrap();
    assert!(connection.start_streaming(Some("s"), Lsn(0x300_0000), TimeLineId(2)).unwrap());
    assert_eq!(receive(&mut connection).unwrap().unwrap(), b"k");
    assert_eq!(
        receive(&mut connection).unwrap_err().message,
        "could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000001 has already \
         been removed"
    );
    thread.join().unwrap();
    let (port, thread) = server(|mut server| {
        server.let_in();
        start(&mut server);
    });
    let mut connection = to(port, "").unwrap();
    assert!(connection.start_streaming(Some("s"), Lsn(0x300_0000), TimeLineId(2)).unwrap());
    let error = receive(&mut connection).unwrap_err();
    assert!(
        error.message.starts_with("could not receive data from WAL stream: server closed the connection")
    );
    thread.join().unwrap();
}

#[test]
fn passwords() {
    let (port, thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', &3_i32.to_be_bytes());
        let answer = server.receive();
        server.accept();
        answer
    });
    to(port, "password=secret").unwrap();
    assert_eq!(thread.join().unwrap(), (b'p', b"secret\0".to_vec()));
    let (port, thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
        let answer = server.receive();
        server.error("FATAL", "28P01", "password authentication failed for user \"rep\"");
        answer
    });
    let text = fails(port, "password=secret");
    assert_eq!(text, format!("{}FATAL:  password authentication failed for user \"rep\"\n", prefix(port)));
    let (kind, body) = thread.join().unwrap();
    assert_eq!((kind, body.len(), &body[..3]), (b'p', 36, &b"md5"[..]));
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', &3_i32.to_be_bytes());
    });
    assert_eq!(fails(port, ""), format!("{}fe_sendauth: no password supplied\n", prefix(port)));
}

#[test]
fn a_server_must_prove_itself_too() {
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        server.receive();
        server.accept();
    });
    assert!(fails(port, "password=x").contains("without a proof of its own"));
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0");
    });
    assert!(fails(port, "password=x").contains("over a non-SSL connection"));
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        server.accept();
    });
    assert!(fails(port, "channel_binding=require").contains("without channel binding"));
}

#[test]
fn one_host_after_the_other() {
    let (starting, _a) = server(|mut server| {
        server.startup_packet();
        server.error("FATAL", "57P03", "the database system is starting up");
    });
    let (standby, _b) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', &0_i32.to_be_bytes());
        server.send(b'S', b"in_hot_standby\0on\0");
        server.send(b'Z', b"I");
    });
    let (primary, _c) = server(|mut server| {
        server.let_in();
        let _ = server.0.read(&mut [0]);
    });
    let text = format!(
        "host=127.0.0.1,127.0.0.1,127.0.0.1 port={starting},{standby},{primary} user=u target_session_attrs=primary"
    );
    let connection = connect::connect_with(&text, "w", &|_| None).unwrap();
    assert_eq!(connection.sender().1, i32::from(primary));
}

#[test]
fn encryption_that_is_wanted_and_not_there() {
    let (port, _thread) = server(|mut server| {
        let _ = server.startup();
        server.0.write_all(b"N").unwrap();
        let _ = server.0.read(&mut [0]);
    });
    let text = fails(port, "sslmode=require");
    assert_eq!(text, format!("{}server does not support SSL, but SSL was required\n", prefix(port)));
}

/// An answer in the clear may be anybody's; it does not make us go on in the clear.
#[test]
fn an_error_instead_of_encryption() {
    let (port, _thread) = server(|mut server| {
        let _ = server.startup();
        server.error("FATAL", "53300", "sorry, too many clients already");
        let _ = server.0.read(&mut [0]);
    });
    let text = fails(port, "sslmode=prefer");
    assert_eq!(text, format!("{}server sent an error response during SSL exchange\n", prefix(port)));
}

#[test]
fn a_server_that_says_nothing() {
    let (port, thread) = server(|mut server| {
        server.startup();
        let _ = server.0.read(&mut [0; 16]);
    });
    let text = fails(port, "connect_timeout=1 sslmode=disable");
    assert_eq!(text, format!("{}timeout expired\n", prefix(port)));
    thread.join().unwrap();
}

#[test]
fn a_server_that_never_pauses() {
    let (port, thread) = server(|mut server| {
        server.startup();
        let mut notice = Vec::new();
        append(&mut notice, b'S', |out| out.extend_from_slice(b"name\0value\0"));
        let many = notice.repeat(1000);
        while server.0.write_all(&many).is_ok() {}
    });
    let text = fails(port, "connect_timeout=1 sslmode=disable");
    assert_eq!(text, format!("{}timeout expired\n", prefix(port)));
    thread.join().unwrap();
}

#[test]
fn a_server_that_wants_too_much() {
    // Work: an order to leave would not be heard for hours.
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        server.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let (_, first) = server.receive();
        let first = String::from_utf8_lossy(&first).into_owned();
        let nonce = first.split("r=").nth(1).unwrap();
        let answer = format!("r={nonce}x,s=QSXCR+Q6sek8bf92,i=4000000000");
        server.send(b'R', &[&11_i32.to_be_bytes(), answer.as_bytes()].concat());
        let _ = server.0.read(&mut [0]);
    });
    assert!(fails(port, "password=x").contains("invalid iteration count"));
    // Memory, before it has let us in.
    let (port, _thread) = server(|mut server| {
        server.startup_packet();
        let _ = server.0.write_all(b"E\x3f\0\0\0");
        let _ = server.0.read(&mut [0]);
    });
    assert!(fails(port, "").contains("lost synchronization with server: got message type \"E\""));
    // Memory, afterwards.
    let (port, _thread) = server(|mut server| {
        server.let_in();
        server.query();
        for _ in 0..1000 {
            server.send(b'D', b"\0\0");
        }
        let _ = server.0.read(&mut [0]);
    });
    let error = to(port, "").unwrap().identify_system().unwrap_err();
    assert!(error.message.ends_with("more rows than any of our commands has"), "{}", error.message);
}

#[test]
fn a_server_that_does_not_read() {
    let (port, thread) = server(|mut server| {
        server.let_in();
        start(&mut server);
        server
    });
    let mut connection = to(port, "").unwrap();
    assert!(connection.start_streaming(Some("s"), Lsn(0x300_0000), TimeLineId(2)).unwrap());
    let _server = thread.join().unwrap();
    for _ in 0..100_000 {
        connection.send(&[b'r'; 100]);
    }
    assert!(connection.wire.out().len() < 66_000, "{}", connection.wire.out().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a server sends, it ends in an error or in a connection, and never in a panic.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), seed in 0_usize..3) {
        let start: &[u8] = [&b""[..], b"R\0\0\0\x08\0\0\0\0", b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"][seed];
        let sent = [start, &bytes].concat();
        let (port, thread) = server(move |mut server| {
            server.startup();
            let _ = server.0.write_all(&sent);
            let _ = server.0.shutdown(std::net::Shutdown::Write);
            let _ = server.0.read_to_end(&mut Vec::new());
        });
        if let Ok(mut connection) = to(port, "sslmode=disable password=x") {
            let _ = connection.identify_system();
            while matches!(connection.receive(), Ok(Received::Data(_))) {}
        }
        thread.join().unwrap();
    }
}
