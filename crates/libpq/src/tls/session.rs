//! One encrypted connection over a socket that never blocks.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};
use rustls::{ProtocolVersion, ServerConnection};

use super::{ClientCertificate, Loaded, der};
use crate::port::{Direction, TryError};

/// The server's side of a TLS connection. C: `Port.ssl`.
pub(crate) struct Session {
    connection: ServerConnection,
    server_end_point: Option<Arc<[u8]>>,
}

/// How far a handshake got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Done,
    Blocked(Direction),
}

/// The facts that `pg_stat_ssl` and the log show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// `TLSv1.3`
    pub version: &'static str,
    /// The cipher suite by OpenSSL's name.
    pub cipher: &'static str,
    /// Bits of its key.
    pub bits: i32,
    /// What the client showed, if it did.
    pub client: Option<ClientCertificate>,
}

/// The socket as rustls wants it: blocking is an error of kind `WouldBlock`.
struct Nonblocking<'a>(&'a OwnedFd);

impl Read for Nonblocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match socket::recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }
}

impl Write for Nonblocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match socket::send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an I/O error of that socket means for a caller who wanted to go in `direction`.
fn failure(error: &io::Error, direction: Direction) -> TryError {
    if error.kind() == io::ErrorKind::WouldBlock {
        return TryError::Blocked(direction);
    }
    match error.raw_os_error() {
        Some(code) => TryError::Os(Errno::from_raw(code)),
        None => TryError::Tls(error.to_string()),
    }
}

impl Session {
    /// Begins; nothing has been exchanged yet.
    pub(crate) fn new(loaded: &Loaded) -> Result<Session, String> {
        let mut connection = ServerConnection::new(loaded.config.clone()).map_err(|e| e.to_string())?;
        // `write` below hands over one piece at a time and sends it before it takes the next.
        connection.set_buffer_limit(None);
        Ok(Session { connection, server_end_point: loaded.server_end_point.clone() })
    }

    /// Goes on with the handshake as far as it gets. The error is the reason to log.
    pub(crate) fn handshake(&mut self, socket: &OwnedFd) -> Result<Handshake, String> {
        let text = |error: TryError| match error {
            TryError::Os(errno) => elog::errno_text(errno),
            TryError::Tls(text) => text,
            TryError::Blocked(_) => "blocked".into(),
        };
        loop {
            match self.flush(socket) {
                Ok(()) => {}
                Err(TryError::Blocked(direction)) => return Ok(Handshake::Blocked(direction)),
                Err(error) => return Err(text(error)),
            }
            if !self.connection.is_handshaking() {
                return Ok(Handshake::Done);
            }
            match self.receive(socket) {
                Ok(true) => {}
                Ok(false) => return Err("EOF detected".into()),
                Err(TryError::Blocked(direction)) => return Ok(Handshake::Blocked(direction)),
                Err(error) => return Err(text(error)),
            }
        }
    }

    /// Takes what the socket has; false at its end.
    fn receive(&mut self, socket: &OwnedFd) -> Result<bool, TryError> {
        match self.connection.read_tls(&mut Nonblocking(socket)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(failure(&error, Direction::Read)),
        }
        if let Err(error) = self.connection.process_new_packets() {
            // An alert is ready that tells the client why; if it cannot leave now, it never will.
            let _ = self.flush(socket);
            return Err(TryError::Tls(error.to_string()));
        }
        Ok(true)
    }

    /// Reads decrypted bytes; `Ok(0)` at the end.
    pub(crate) fn read(&mut self, socket: &OwnedFd, target: &mut [u8]) -> Result<usize, TryError> {
        loop {
            match self.connection.reader().read(target) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The client went without a goodbye. C makes no difference either.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(failure(&error, Direction::Read)),
            }
            if !self.receive(socket)? {
                return Ok(0);
            }
            if self.connection.wants_write() {
                match self.flush(socket) {
                    Ok(()) | Err(TryError::Blocked(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Encrypts and sends a piece of `bytes`; returns how long it was. [`Session::flush`] sends the rest of it.
    pub(crate) fn write(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Result<usize, TryError> {
        const PIECE: usize = 64 * 1024;
        self.flush(socket)?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        let count =
            self.connection.writer().write(piece).map_err(|error| failure(&error, Direction::Write))?;
        match self.flush(socket) {
            // It has been taken: what could not leave yet is ours to send, not the caller's.
            Ok(()) | Err(TryError::Blocked(_)) => Ok(count),
            Err(error) => Err(error),
        }
    }

    /// Sends what has been encrypted.
    pub(crate) fn flush(&mut self, socket: &OwnedFd) -> Result<(), TryError> {
        while self.connection.wants_write() {
            self.connection
                .write_tls(&mut Nonblocking(socket))
                .map_err(|error| failure(&error, Direction::Write))?;
        }
        Ok(())
    }

    /// True if encrypted bytes wait to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Hash of our certificate. C: `be_tls_get_certificate_hash`.
    pub(crate) fn server_end_point(&self) -> Option<&[u8]> {
        self.server_end_point.as_deref()
    }

    /// Who the client is by its certificate, which has been verified. C: `peer_cn`, `peer_dn`.
    pub(crate) fn client_certificate(&self) -> Option<ClientCertificate> {
        self.connection.peer_certificates()?.first().and_then(|cert| der::describe(cert))
    }

    /// True if the client showed a certificate (which has been verified). C: `peer_cert_valid`.
    pub(crate) fn has_client_certificate(&self) -> bool {
        self.connection.peer_certificates().is_some_and(|chain| !chain.is_empty())
    }

    /// The facts for others to see.
    pub(crate) fn info(&self) -> Info {
        use rustls::CipherSuite as Suite;
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        };
        let (cipher, bits) = match self.connection.negotiated_cipher_suite().map(|suite| suite.suite()) {
            Some(Suite::TLS13_AES_256_GCM_SHA384) => ("TLS_AES_256_GCM_SHA384", 256),
            Some(Suite::TLS13_AES_128_GCM_SHA256) => ("TLS_AES_128_GCM_SHA256", 128),
            Some(Suite::TLS13_CHACHA20_POLY1305_SHA256) => ("TLS_CHACHA20_POLY1305_SHA256", 256),
            Some(Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => ("ECDHE-ECDSA-AES256-GCM-SHA384", 256),
            Some(Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => ("ECDHE-ECDSA-AES128-GCM-SHA256", 128),
            Some(Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => {
                ("ECDHE-ECDSA-CHACHA20-POLY1305", 256)
            }
            Some(Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => ("ECDHE-RSA-AES256-GCM-SHA384", 256),
            Some(Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => ("ECDHE-RSA-AES128-GCM-SHA256", 128),
            Some(Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => ("ECDHE-RSA-CHACHA20-POLY1305", 256),
            _ => ("unknown", 0),
        };
        Info { version, cipher, bits, client: self.client_certificate() }
    }
}
