//! Getting a connection: each host of the list, each of its addresses, encrypted or not, until one is good.
//!
//! C counterpart: `libpqrcv_connect`; `PQconnectPoll`, `connectOptions2` of fe-connect.c.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, getsockopt, setsockopt, sockopt,
};
use shmem::latch::Wake;
use shmem::wait_event::WaitEvent;

use super::auth::Authentication;
use super::conninfo::Conninfo;
use super::message::{ServerError, append, c_string, int32};
use super::targets::{Address, Host, SessionKind, Settings, SslMode};
use super::wire::{self, TIMEOUT, Wire};
use super::{Attempt, Failure, tls};

/// Protocol 3.0.
const PROTOCOL: i32 = 3 << 16;
/// C: `NEGOTIATE_SSL_CODE`.
const SSL_REQUEST: i32 = 1234 << 16 | 5679;
const EVENT: WaitEvent = WaitEvent::LIBPQWALRECEIVER_CONNECT;
/// What we remember of what the server tells of itself.
const PARAMETERS: [&str; 3] = ["server_version", "in_hot_standby", "default_transaction_read_only"];

/// A connection to a primary that has let us in. C: `WalReceiverConn`.
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    settings: Settings,
    /// Index in the list of the host that it is.
    host: usize,
    backend_pid: i32,
    parameters: Vec<(String, String)>,
    /// What PostgreSQL's library still remembers of an earlier error when it reports a later one.
    pub(crate) last_error: String,
    /// No stream runs on it.
    pub(crate) stream_over: bool,
}

/// What to do after an attempt has failed.
enum Next {
    /// Try the next address, or host.
    Address(String),
    /// Once more, in the clear or encrypted, as it was not now.
    OtherEncryption(String),
    /// Others would not do better.
    GiveUp(String),
}

/// The result of one attempt: failures that end the process are apart from those that lead to the next.
type Tried<T> = Attempt<Result<T, Next>>;

/// Connects for physical replication. C: `libpqrcv_connect`.
///
/// # Errors
/// libpq's text, one or more lines, each with its newline; or this process must end.
pub(crate) fn connect(conninfo: &str, application_name: &str) -> Attempt<Connection> {
    connect_with(conninfo, application_name, &|name| std::env::var(name).ok())
}

/// As [`connect`], in another environment.
pub(crate) fn connect_with(
    conninfo: &str,
    application_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Attempt<Connection> {
    let info = prepare(conninfo, application_name, env).map_err(Failure::Text)?;
    let mut settings = Settings::new(info).map_err(Failure::Text)?;
    let mut errors = String::new();
    let kind = settings.session_kind;
    let passes = match kind {
        SessionKind::PreferStandby => vec![SessionKind::Standby, SessionKind::Any],
        kind => vec![kind],
    };
    for wanted in passes {
        for at in 0..settings.hosts.len() {
            // Asking for an address may have taken its time.
            miscinit::interrupt::check()?;
            let addresses = match settings.hosts[at].addresses() {
                Ok(addresses) => addresses,
                Err(text) => {
                    append_line(&mut errors, &text);
                    continue;
                }
            };
            for address in addresses {
                match try_address(&settings, at, &address, wanted, &mut errors)? {
                    Ok(mut connection) => {
                        connection.host = at;
                        connection.settings = std::mem::replace(&mut settings, Settings::none());
                        return Ok(connection);
                    }
                    Err(true) => {}
                    Err(false) => return Err(Failure::Text(errors)),
                }
            }
        }
    }
    Err(Failure::Text(errors))
}

fn prepare(
    conninfo: &str,
    application_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Conninfo, String> {
    let mut info = Conninfo::parse(conninfo)?;
    info.set("replication", "true")?;
    // Means nothing to the server, but is what a password file has.
    info.set("dbname", "replication")?;
    if info.get("fallback_application_name").is_none() {
        info.set("fallback_application_name", application_name)?;
    }
    info.add_defaults(env)?;
    Ok(info)
}

fn append_line(errors: &mut String, text: &str) {
    errors.push_str(text);
    if !errors.ends_with('\n') {
        errors.push('\n');
    }
}

/// One address, with and without encryption where both will do. The error is whether to go on.
fn try_address(
    settings: &Settings,
    host: usize,
    address: &Address,
    wanted: SessionKind,
    errors: &mut String,
) -> Attempt<Result<Connection, bool>> {
    let can_encrypt = matches!(address, Address::Tcp(_)) && settings.ssl_mode != SslMode::Disable;
    let first = can_encrypt && settings.ssl_mode != SslMode::Allow;
    for encrypted in [first, !first] {
        let prefix = settings.hosts[host].prefix(address);
        let mut fail = |text: &str| append_line(errors, &format!("{prefix}{text}"));
        match try_once(settings, &settings.hosts[host], address, encrypted, wanted) {
            Ok(Ok(connection)) => return Ok(Ok(connection)),
            Ok(Err(Next::Address(text))) => {
                fail(&text);
                return Ok(Err(true));
            }
            Ok(Err(Next::OtherEncryption(text))) => {
                fail(&text);
                let may = matches!(settings.ssl_mode, SslMode::Allow | SslMode::Prefer) && can_encrypt;
                if !may || encrypted != first {
                    return Ok(Err(false));
                }
            }
            Ok(Err(Next::GiveUp(text))) | Err(Failure::Text(text)) => {
                fail(&text);
                // Another host may still answer.
                return Ok(Err(text == TIMEOUT));
            }
            Err(interrupted) => return Err(interrupted),
        }
    }
    Ok(Err(false))
}

fn try_once(
    settings: &Settings,
    host: &Host,
    address: &Address,
    encrypted: bool,
    wanted: SessionKind,
) -> Tried<Connection> {
    let deadline = deadline(settings)?;
    let socket = match open(settings, address, deadline)? {
        Ok(socket) => socket,
        Err(next) => return Ok(Err(next)),
    };
    let mut wire = Wire::new(socket, deadline);
    let mut is_encrypted = false;
    if encrypted {
        match encrypt(&mut wire, settings, host)? {
            Ok(did) => is_encrypted = did,
            Err(next) => return Ok(Err(next)),
        }
    }
    if settings.ssl_mode >= SslMode::Require && !is_encrypted && matches!(address, Address::Tcp(_)) {
        return Ok(Err(Next::GiveUp("server does not support SSL, but SSL was required".into())));
    }
    send_startup(&mut wire, settings);
    wire.flush(EVENT)?;
    let mut connection = Connection {
        wire,
        settings: Settings::none(),
        host: 0,
        backend_pid: 0,
        parameters: Vec::new(),
        last_error: String::new(),
        stream_over: false,
    };
    if let Err(next) = connection.begin_session(settings, host, is_encrypted)? {
        return Ok(Err(next));
    }
    if let Err(text) = connection.check_kind(wanted) {
        return Ok(Err(Next::Address(text)));
    }
    connection.wire.set_deadline(None);
    Ok(Ok(connection))
}

/// `connect_timeout` seconds from now, for one address. C: in `connectDBComplete`.
fn deadline(settings: &Settings) -> Attempt<Option<Instant>> {
    let seconds = settings.integer("connect_timeout").map_err(Failure::Text)?.unwrap_or(0);
    // The clock may be about to tick.
    Ok((seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds.max(2) as u64)))
}

fn system_call(what: &str, errno: Errno) -> Failure {
    Failure::new(format!("{what}: {}", elog::errno_text(errno)))
}

/// A connected socket.
fn open(settings: &Settings, address: &Address, deadline: Option<Instant>) -> Tried<OwnedFd> {
    let family = match address {
        Address::Unix(_) | Address::Abstract(_) => AddressFamily::Unix,
        Address::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
        Address::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = match socket::socket(family, SockType::Stream, flags, None) {
        Ok(socket) => socket,
        Err(errno) => {
            return Ok(Err(Next::Address(format!("could not create socket: {}", elog::errno_text(errno)))));
        }
    };
    let fd = socket.as_raw_fd();
    let begun = match address {
        Address::Unix(path) => UnixAddr::new(path).and_then(|addr| socket::connect(fd, &addr)),
        Address::Abstract(name) => {
            UnixAddr::new_abstract(name.as_bytes()).and_then(|addr| socket::connect(fd, &addr))
        }
        Address::Tcp(tcp) => {
            set_options(settings, &socket)?;
            socket::connect(fd, &SockaddrStorage::from(*tcp))
        }
    };
    let result = match begun {
        Err(Errno::EINPROGRESS | Errno::EINTR) => {
            wire::wait(fd, Wake::SOCKET_WRITEABLE, deadline, EVENT)?;
            let code = getsockopt(&socket, sockopt::SocketError)
                .map_err(|errno| system_call("could not get socket error status", errno))?;
            if code == 0 { Ok(()) } else { Err(Errno::from_raw(code)) }
        }
        begun => begun,
    };
    if let Err(errno) = result {
        return Ok(Err(Next::Address(refused(address, errno))));
    }
    match check_peer(settings, address, &socket) {
        Ok(()) => Ok(Ok(socket)),
        Err(text) => Ok(Err(Next::GiveUp(text))),
    }
}

/// C: `connectFailureMessage`.
fn refused(address: &Address, errno: Errno) -> String {
    let question = match address {
        Address::Unix(_) | Address::Abstract(_) => {
            "Is the server running locally and accepting connections on that socket?"
        }
        Address::Tcp(_) => "Is the server running on that host and accepting TCP/IP connections?",
    };
    format!("{}\n\t{question}", elog::errno_text(errno))
}

/// C: `connectNoDelay`, `useKeepalives` and what follows them.
fn set_options(settings: &Settings, socket: &OwnedFd) -> Attempt<()> {
    let number = |name: &str| settings.integer(name).map_err(Failure::Text);
    setsockopt(socket, sockopt::TcpNoDelay, &true)
        .map_err(|errno| system_call("could not set socket to TCP no delay mode", errno))?;
    if number("keepalives")?.unwrap_or(1) != 0 {
        let failed = |name: &str, errno| system_call(&format!("setsockopt({name}) failed"), errno);
        setsockopt(socket, sockopt::KeepAlive, &true).map_err(|e| failed("SO_KEEPALIVE", e))?;
        if let Some(seconds) = number("keepalives_idle")?.filter(|n| *n > 0) {
            setsockopt(socket, sockopt::TcpKeepIdle, &(seconds as u32))
                .map_err(|e| failed("TCP_KEEPIDLE", e))?;
        }
        if let Some(seconds) = number("keepalives_interval")?.filter(|n| *n > 0) {
            setsockopt(socket, sockopt::TcpKeepInterval, &(seconds as u32))
                .map_err(|e| failed("TCP_KEEPINTVL", e))?;
        }
        if let Some(count) = number("keepalives_count")?.filter(|n| *n > 0) {
            setsockopt(socket, sockopt::TcpKeepCount, &(count as u32))
                .map_err(|e| failed("TCP_KEEPCNT", e))?;
        }
    }
    if let Some(millis) = number("tcp_user_timeout")?.filter(|n| *n > 0) {
        setsockopt(socket, sockopt::TcpUserTimeout, &(millis as u32))
            .map_err(|errno| system_call("setsockopt(TCP_USER_TIMEOUT) failed", errno))?;
    }
    Ok(())
}

/// `requirepeer`: the server at the other end of a socket must be this user's.
fn check_peer(settings: &Settings, address: &Address, socket: &OwnedFd) -> Result<(), String> {
    let Some(wanted) = settings.info.nonempty("requirepeer") else { return Ok(()) };
    if matches!(address, Address::Tcp(_)) {
        return Ok(());
    }
    let peer = getsockopt(socket, sockopt::PeerCredentials)
        .map_err(|errno| format!("could not get peer credentials: {}", elog::errno_text(errno)))?;
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(peer.uid())).ok().flatten();
    let Some(user) = user else { return Err(format!("local user with ID {} does not exist", peer.uid())) };
    if user.name == wanted {
        return Ok(());
    }
    Err(format!("requirepeer specifies \"{wanted}\", but actual peer user name is \"{}\"", user.name))
}

/// Asks for encryption; false if the server has none.
fn encrypt(wire: &mut Wire, settings: &Settings, host: &Host) -> Tried<bool> {
    append(wire.out(), 0, |out| out.extend_from_slice(&SSL_REQUEST.to_be_bytes()));
    wire.flush(EVENT)?;
    let answer = loop {
        if let Some(answer) = wire.next_byte() {
            break answer;
        }
        wire.read_or_wait(EVENT)?;
    };
    match answer {
        b'S' => {
            // What is wrong with our own files is wrong with or without the server.
            let client = match tls::client(settings, host) {
                Ok(client) => client,
                Err(text) => return Ok(Err(Next::OtherEncryption(text))),
            };
            match wire.start_tls(client) {
                Ok(()) => Ok(Ok(true)),
                Err(Failure::Text(text)) if text == TIMEOUT => Ok(Err(Next::Address(text))),
                Err(Failure::Text(text)) => Ok(Err(Next::OtherEncryption(text))),
                Err(interrupted) => Err(interrupted),
            }
        }
        b'N' => Ok(Ok(false)),
        // Too early for the server to have agreed on anything: it may be anybody's text.
        b'E' => Ok(Err(Next::GiveUp("server sent an error response during SSL exchange".into()))),
        other => Ok(Err(Next::GiveUp(format!(
            "received invalid response to SSL negotiation: {}",
            char::from(other)
        )))),
    }
}

/// C: `build_startup_packet`.
fn send_startup(wire: &mut Wire, settings: &Settings) {
    let info = &settings.info;
    let application = info.nonempty("application_name").or(info.nonempty("fallback_application_name"));
    let parameters = [
        ("user", info.nonempty("user")),
        ("database", info.nonempty("dbname")),
        ("replication", info.nonempty("replication")),
        ("options", info.nonempty("options")),
        ("application_name", application),
        ("client_encoding", info.nonempty("client_encoding").filter(|name| *name != "auto")),
    ];
    append(wire.out(), 0, |out| {
        out.extend_from_slice(&PROTOCOL.to_be_bytes());
        for (name, value) in parameters {
            if let Some(value) = value {
                for text in [name, value] {
                    out.extend_from_slice(text.as_bytes());
                    out.push(0);
                }
            }
        }
        out.push(0);
    });
}

impl Connection {
    /// From the start-up packet to `ReadyForQuery`.
    fn begin_session(&mut self, settings: &Settings, host: &Host, encrypted: bool) -> Tried<()> {
        let mut authentication = Authentication::default();
        let mut let_in = false;
        loop {
            let message = match self.wire.wait_for_message(EVENT) {
                Ok(message) => message,
                Err(Failure::Text(text)) if text == TIMEOUT => return Ok(Err(Next::Address(text))),
                Err(failure) => return Err(failure),
            };
            match message.kind {
                b'R' if !let_in => {
                    let_in = authentication.answer(&mut self.wire, settings, host, &message.body)?;
                    if let_in {
                        self.wire.trust();
                    }
                }
                b'E' => {
                    let error = ServerError::parse(&message.body);
                    let mut text = error.text();
                    if let Some(file) = &host.password_file
                        && authentication.used_password
                        && error.sqlstate() == "28P01"
                    {
                        text.push_str(&format!("password retrieved from file \"{}\"\n", file.display()));
                    }
                    // Starting up or shutting down: that is this one only.
                    if error.sqlstate() == "57P03" {
                        return Ok(Err(Next::Address(text)));
                    }
                    // A server may let us in one way and not the other.
                    let may = !let_in && (encrypted || settings.ssl_mode == SslMode::Allow);
                    return Ok(Err(if may { Next::OtherEncryption(text) } else { Next::GiveUp(text) }));
                }
                b'K' if let_in => self.backend_pid = int32(&message.body).map_or(0, |(pid, _)| pid),
                b'Z' if let_in => return Ok(Ok(())),
                b'N' | b'v' | b'S' | b'A' => self.take_note(message.kind, &message.body),
                other if let_in => {
                    let text = format!(
                        "unexpected message from server during startup: got message type \"{}\"",
                        char::from(other)
                    );
                    return Ok(Err(Next::GiveUp(text)));
                }
                other => {
                    let text = format!(
                        "expected authentication request from server, but received {}",
                        char::from(other)
                    );
                    return Ok(Err(Next::GiveUp(text)));
                }
            }
        }
    }

    /// A message that can come at any time.
    pub(crate) fn take_note(&mut self, kind: u8, body: &[u8]) {
        match kind {
            b'S' => {
                let (name, rest) = c_string(body);
                if PARAMETERS.contains(&name.as_str()) {
                    let (value, _) = c_string(rest);
                    self.parameters.retain(|(known, _)| *known != name);
                    self.parameters.push((name, value));
                }
            }
            b'N' => {
                let text = ServerError::parse(body).text();
                elog::ereport!(Log, "{}", text.trim_end());
            }
            _ => {}
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Is the session of the kind that is wanted? By what the server has told of itself.
    fn check_kind(&self, wanted: SessionKind) -> Result<(), String> {
        let standby = self.parameter("in_hot_standby") == Some("on");
        let read_only = standby || self.parameter("default_transaction_read_only") == Some("on");
        let wrong = match wanted {
            SessionKind::ReadWrite if read_only => "session is read-only",
            SessionKind::ReadOnly if !read_only => "session is not read-only",
            SessionKind::Primary if standby => "server is in hot standby mode",
            SessionKind::Standby if !standby => "server is not in hot standby mode",
            _ => return Ok(()),
        };
        Err(wrong.into())
    }

    /// The process that serves us. C: `PQbackendPID`.
    pub(crate) fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The options for people to see. C: `libpqrcv_get_conninfo`.
    pub(crate) fn conninfo(&self) -> String {
        self.settings.info.to_display()
    }

    /// Host and port of the server. C: `libpqrcv_get_senderinfo`.
    pub(crate) fn sender(&self) -> (Option<&str>, i32) {
        match self.settings.hosts.get(self.host) {
            Some(host) => (Some(host.shown()), host.port_number().map_or(0, i32::from)),
            None => (None, 0),
        }
    }

    /// Version of the server as a number, 0 if it is not known. C: `PQserverVersion`.
    pub(crate) fn server_version(&self) -> u32 {
        let Some(text) = self.parameter("server_version") else { return 0 };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..digits].parse::<u32>().map_or(0, |major| major * 10_000)
    }

    /// Ends it. C: `libpqrcv_disconnect`.
    pub(crate) fn close(self) {
        self.wire.close();
    }
}
