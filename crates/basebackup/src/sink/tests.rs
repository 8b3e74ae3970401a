//! Sinks in front of one that writes down what arrives.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use libpq::{Direction, Port, WaitPolicy};
use miscinit::child::{ClientSocket, PeerAddr};

use super::*;
use crate::compression::Compression;

/// What arrived: a word for each call, and the bytes.
#[derive(Default)]
struct Arrived {
    calls: Vec<String>,
    bytes: Vec<u8>,
}

#[derive(Clone, Default)]
pub(crate) struct Collect(Rc<RefCell<Arrived>>);

impl Collect {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    fn call(&self, text: impl Into<String>) -> Result<()> {
        self.0.borrow_mut().calls.push(text.into());
        Ok(())
    }

    fn piece(&self, piece: &[u8]) -> Result<()> {
        assert!(piece.len() <= PIECE_BYTES_MAX, "S1");
        self.0.borrow_mut().bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Sink for Collect {
    fn next(&mut self) -> Option<&mut dyn Sink> {
        None
    }

    fn begin_archive(&mut self, _: &Progress, name: &str) -> Result<()> {
        self.call(format!("archive {name}"))
    }

    fn archive_contents(&mut self, _: &Progress, piece: &[u8]) -> Result<()> {
        self.piece(piece)
    }

    fn end_archive(&mut self, _: &Progress) -> Result<()> {
        self.call("end of archive")
    }

    fn begin_manifest(&mut self) -> Result<()> {
        self.call("manifest")
    }

    fn manifest_contents(&mut self, piece: &[u8]) -> Result<()> {
        self.piece(piece)
    }

    fn end_manifest(&mut self) -> Result<()> {
        self.call("end of manifest")
    }
}

fn progress() -> Progress {
    let tablespace = TablespaceInfo {
        oid: "16385".to_owned(),
        path: "/mnt/ts".to_owned(),
        relative_path: None,
        size_bytes: Some(4096),
    };
    Progress {
        parts: vec![Part::Tablespace(tablespace), Part::Main { size_bytes: None }],
        start_lsn: Lsn(0x0900_0028),
        start_timeline: TimeLineId(1),
        bytes_total: None,
        bytes_done: Cell::new(0),
        parts_done: Cell::new(0),
    }
}

/// Bytes that neither repeat nor are random.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at / 7) ^ (at >> 9)) as u8).collect()
}

/// Sends an archive and a manifest through `sink`.
fn send_through(sink: &mut dyn Sink, archive: &[u8]) {
    let progress = progress();
    sink.begin_archive(&progress, "base.tar").unwrap();
    for piece in archive.chunks(PIECE_BYTES_MAX) {
        sink.archive_contents(&progress, piece).unwrap();
    }
    sink.end_archive(&progress).unwrap();
    sink.begin_manifest().unwrap();
    sink.manifest_contents(b"{}").unwrap();
    sink.end_manifest().unwrap();
}

/// Compresses and returns the archive as it arrived.
#[track_caller]
fn compressed(compression: Compression, archive: &[u8]) -> Vec<u8> {
    let end = Collect::default();
    send_through(&mut Compress::new(Box::new(end.clone()), compression), archive);
    let arrived = end.0.take();
    let name = format!("archive base.tar{}", compression.suffix());
    assert_eq!(arrived.calls, [&name, "end of archive", "manifest", "end of manifest"]);
    // The manifest is not compressed.
    arrived.bytes.strip_suffix(b"{}").unwrap().to_vec()
}

#[test]
fn gzip() {
    let archive = content(200_000);
    for level in [-1, 1, 9] {
        let bytes = compressed(Compression::Gzip { level }, &archive);
        assert!(bytes.len() < archive.len());
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, archive);
    }
}

#[test]
fn lz4_frames() {
    let archive = content(600_000);
    for level in [0, 1, 12] {
        let bytes = compressed(Compression::Lz4 { level }, &archive);
        assert!(bytes.len() < archive.len());
        // Version 1 and no checksums; blocks of 256 kB.
        assert_eq!((bytes[4], bytes[5]), (0x40, 0x50));
        let mut back = Vec::new();
        lz4::Decoder::new(&bytes[..]).unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, archive);
    }
}

#[test]
fn zstd_frames() {
    let archive = content(600_000);
    for (level, workers) in [(3, 0), (-7, 0), (5, 2)] {
        let bytes = compressed(Compression::Zstd { level, workers }, &archive);
        assert!(bytes.len() < archive.len());
        assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), archive);
    }
}

#[test]
fn not_faster_than_asked_for() {
    let end = Collect::default();
    // 64 kB a second: 20 kB take at least the eighth of a second that 8 kB may take, twice.
    let mut sink = Throttle::new(Box::new(end.clone()), 64);
    let progress = progress();
    let began = std::time::Instant::now();
    sink.begin_backup(&progress).unwrap();
    sink.archive_contents(&progress, &content(20_000)).unwrap();
    assert!(began.elapsed() >= std::time::Duration::from_millis(250));
    assert_eq!(end.bytes().len(), 20_000);
}

#[test]
fn a_directory_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    let end = Collect::default();
    let mut sink = ServerDirectory::new(Box::new(end.clone()), &target).unwrap();
    send_through(&mut sink, &content(100_000));
    assert_eq!(std::fs::read(target.join("base.tar")).unwrap(), content(100_000));
    assert_eq!(std::fs::read(target.join("backup_manifest")).unwrap(), b"{}");
    assert_eq!(target.read_dir().unwrap().count(), 2);
    assert_eq!(end.0.borrow().bytes.len(), 100_002);

    let refused = |directory: &str| {
        let error = ServerDirectory::new(Box::new(Collect::default()), directory.as_ref()).err().unwrap();
        format!("{}: {}", error.sqlstate, error.message)
    };
    let shown = target.display();
    assert_eq!(
        refused(&target.to_string_lossy()),
        format!("58P02: directory \"{shown}\" exists but is not empty")
    );
    assert_eq!(refused("x"), "42602: relative path not allowed for backup stored on server");
}

struct Patient;

impl WaitPolicy for Patient {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: BorrowedFd<'_>, _: Direction, _: bool) -> Result<libpq::port::Waited> {
        panic!("what is sent here fits the socket's buffer");
    }
}

/// All that a client gets of a small backup: kind and body of each message.
fn messages(send_contents: bool) -> Vec<(char, Vec<u8>)> {
    let (server, mut client) = UnixStream::pair().unwrap();
    let mut port = Port::new(ClientSocket { fd: server.into(), peer: PeerAddr::Unix });
    let progress = progress();
    let mut policy = Patient;
    let mut sink = CopyStream::new(&mut port, &mut policy, send_contents);
    sink.begin_backup(&progress).unwrap();
    sink.begin_archive(&progress, "16385.tar").unwrap();
    progress.bytes_done.set(3);
    sink.archive_contents(&progress, b"abc").unwrap();
    sink.end_archive(&progress).unwrap();
    progress.parts_done.set(1);
    sink.begin_archive(&progress, "base.tar").unwrap();
    sink.begin_manifest().unwrap();
    sink.manifest_contents(b"{}").unwrap();
    sink.end_manifest().unwrap();
    sink.end_backup(Lsn(0x0900_0100), TimeLineId(1)).unwrap();
    port.flush(&mut Patient).unwrap();
    drop(port);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    let mut all = Vec::new();
    while let [kind, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        all.push((char::from(*kind), after[..length].to_vec()));
        rest = &after[length..];
    }
    all
}

/// Bytes as PostgreSQL 15 sends them.
#[test]
fn the_protocol() {
    let all = messages(true);
    let kinds: String = all.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, "TDCTDDCHddddddcTDC");
    let bodies: Vec<&[u8]> = all.iter().map(|(_, body)| &body[..]).collect();
    assert_eq!(
        bodies[0],
        b"\0\x02recptr\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\0\0\0\0\0\0tli\0\0\0\0\0\0\0\0\0\0\x14\xff\xff\0\0\0\0\0\0"
    );
    assert_eq!(bodies[1], b"\0\x02\0\0\0\x090/9000028\0\0\0\x011");
    assert_eq!(bodies[2], b"SELECT\0");
    assert_eq!(bodies[4], b"\0\x03\0\0\0\x0516385\0\0\0\x07/mnt/ts\0\0\0\x014");
    assert_eq!(bodies[5], b"\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(bodies[7], b"\0\0\0");
    let data: [&[u8]; 6] =
        [b"n16385.tar\0/mnt/ts\0", b"dabc", b"p\0\0\0\0\0\0\0\x03", b"nbase.tar\0\0", b"m", b"d{}"];
    assert_eq!(bodies[8..14], data);
    assert_eq!(bodies[16], b"\0\x02\0\0\0\x090/9000100\0\0\0\x011");
}

/// Has a report to bring to the client.
struct Reporting;

impl WaitPolicy for Reporting {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn take_reports(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"a notice");
    }
}

/// The client hears of it although nothing follows.
#[test]
fn reports_do_not_wait() {
    let (server, mut client) = UnixStream::pair().unwrap();
    let mut port = Port::new(ClientSocket { fd: server.into(), peer: PeerAddr::Unix });
    let mut policy = Reporting;
    let to_client = CopyStream::new(&mut port, &mut policy, true);
    Throttle::new(Box::new(to_client), 32).send_reports().unwrap();
    let mut arrived = [0; 8];
    client.set_nonblocking(true).unwrap();
    client.read_exact(&mut arrived).unwrap();
    assert_eq!(arrived, *b"a notice");
}

#[test]
fn who_only_looks_on_gets_no_contents() {
    let kinds: String = messages(false).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, "TDCTDDCHddddcTDC");
}
