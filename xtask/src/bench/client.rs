//! A session over the Unix socket, as bare as can be: it tells the backend's pid, which pgbench does not, and
//! stands in for pgbench where PostgreSQL is not installed.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::Result;

/// Protocol 3.0.
const PROTOCOL: i32 = 3 << 16;
/// A message longer than this is not what we asked for.
const LENGTH_MAX: usize = 1 << 20;

/// An open session of the superuser, who is trusted.
#[derive(Debug)]
pub(crate) struct Session {
    stream: BufReader<UnixStream>,
    /// Process id of the backend.
    pub(crate) pid: i32,
}

impl Session {
    /// Connects and waits until the server is ready for a query.
    pub(crate) fn open(socket_dir: &Path, port: u16) -> Result<Session> {
        let path = socket_dir.join(format!(".s.PGSQL.{port}"));
        let stream = UnixStream::connect(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Session::begin(stream)
    }

    fn begin(stream: UnixStream) -> Result<Session> {
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut packet = Vec::new();
        packet.extend((8 + parameters.len() as i32).to_be_bytes());
        packet.extend(PROTOCOL.to_be_bytes());
        packet.extend(parameters);
        let mut session = Session { stream: BufReader::new(stream), pid: 0 };
        session.send(&packet)?;
        session.wait_until_ready()?;
        Ok(session)
    }

    /// Runs one statement by the simple protocol and throws its result away.
    pub(crate) fn run(&mut self, sql: &str) -> Result<()> {
        let mut packet = vec![b'Q'];
        packet.extend((5 + sql.len() as i32).to_be_bytes());
        packet.extend(sql.as_bytes());
        packet.push(0);
        self.send(&packet)?;
        self.wait_until_ready()
    }

    /// Says goodbye.
    pub(crate) fn close(mut self) -> Result<()> {
        self.send(&[b'X', 0, 0, 0, 4])
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).map_err(|e| format!("sending to the server: {e}"))
    }

    /// Reads messages up to ReadyForQuery. An error of the server ends it.
    fn wait_until_ready(&mut self) -> Result<()> {
        let mut error = None;
        loop {
            let mut head = [0; 5];
            let read = self.stream.read_exact(&mut head);
            // A FATAL error is followed by nothing.
            read.map_err(|e| error.take().unwrap_or_else(|| format!("reading from the server: {e}")))?;
            let [kind, length @ ..] = head;
            let length = u32::from_be_bytes(length) as usize;
            if !(4..=LENGTH_MAX).contains(&length) {
                return Err(format!("a message of {length} bytes"));
            }
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).map_err(|e| format!("reading from the server: {e}"))?;
            match kind {
                b'K' => self.pid = body.first_chunk().map_or(0, |pid| i32::from_be_bytes(*pid)),
                b'E' => error = Some(message_of(&body)),
                b'R' if body != 0_i32.to_be_bytes() => return Err("the server asks for a password".into()),
                b'Z' => return error.map_or(Ok(()), Err),
                _ => {}
            }
        }
    }
}

/// Field M of an error: fields are a letter, a text and a zero.
fn message_of(body: &[u8]) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let text = fields.find_map(|field| field.strip_prefix(b"M"));
    text.map_or_else(|| "an error without a text".into(), |text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (4 + body.len() as u32).to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    /// A session with a server that says this and hangs up.
    fn with_server(says: &[Vec<u8>]) -> Result<(Session, UnixStream)> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&says.concat()).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let session = Session::begin(ours);
        let mut sent = [0; 8];
        theirs.read_exact(&mut sent).unwrap();
        assert_eq!(sent, [0, 0, 0, 41, 0, 3, 0, 0]);
        Ok((session?, theirs))
    }

    #[test]
    fn a_session_knows_its_backend() {
        let key = [&77_i32.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
        let says =
            [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'K', &key), message(b'Z', b"I")];
        assert_eq!(with_server(&says).unwrap().0.pid, 77);
    }

    #[test]
    fn a_statement_ends_with_ready() {
        let says = [message(b'Z', b"I"), message(b'D', b"x"), message(b'Z', b"I")];
        let (mut session, _server) = with_server(&says).unwrap();
        session.run("SELECT 1").unwrap();
        assert!(session.run("SELECT 1").unwrap_err().starts_with("reading from the server"));
    }

    #[test]
    fn refusals_are_told() {
        let error = message(b'E', b"SFATAL\0Msorry, too many clients already\0\0");
        assert_eq!(with_server(&[error]).unwrap_err(), "sorry, too many clients already");
        assert_eq!(
            with_server(&[message(b'R', &[0, 0, 0, 10])]).unwrap_err(),
            "the server asks for a password"
        );
        assert_eq!(
            with_server(&[b"S\xff\xff\xff\xff".to_vec()]).unwrap_err(),
            "a message of 4294967295 bytes"
        );
    }
}
