//! The listening sockets: TCP by `listen_addresses`, Unix by `unix_socket_directories`.
//!
//! C counterparts: the socket part of `PostmasterMain`; `StreamServerPort`, `Lock_AF_UNIX`, `Setup_AF_UNIX`
//! (pqcomm.c).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use common::SqlState;
use common::pidfile::line;
use elog::{Result, ereport, errno_text, fatal, pg_error};
use miscinit::child::{ClientSocket, PeerAddr};
use miscinit::lockfile;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, listen, setsockopt, socket,
    sockopt,
};
use nix::unistd::{Gid, Group};

/// Longest path of a Unix socket. C: `UNIXSOCK_PATH_BUFLEN - 1`.
const UNIX_PATH_LEN_MAX: usize = 107;

/// One listening socket.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// All of them. Dropping it closes them; files of Unix sockets are removed by the postmaster's exit alone.
#[derive(Default)]
pub(crate) struct ListenSockets {
    listeners: Vec<Listener>,
    unix_paths: Vec<PathBuf>,
}

impl ListenSockets {
    /// Opens what the settings ask for, and writes lines 5 and 6 of postmaster.pid.
    ///
    /// # Errors
    /// FATAL if an address list is malformed or leads to no socket at all, or a socket's lock file is taken.
    pub(crate) fn open(port: u16, backlog: usize) -> Result<ListenSockets> {
        let backlog = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX).min(libc::SOMAXCONN));
        let mut opener =
            Opener { port, backlog: backlog.unwrap_or(Backlog::MAXCONN), sockets: ListenSockets::default() };
        let tcp_address = opener.open_tcp()?;
        opener.open_unix()?;
        if opener.sockets.listeners.is_empty() {
            return Err(fatal!(SqlState::INTERNAL_ERROR, "no socket created for listening"));
        }
        if tcp_address.is_none() {
            lockfile::add_line(line::LISTEN_ADDR, "");
        }
        Ok(opener.sockets)
    }

    /// The descriptors to poll, in the order that [`ListenSockets::accept`] counts by.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(|listener| match listener {
            Listener::Tcp(tcp) => tcp.as_fd(),
            Listener::Unix(unix) => unix.as_fd(),
        })
    }

    /// The next client of one socket; `WouldBlock` if there is none. One system call, which also tells the
    /// peer's address; options of the connection are the child's business.
    pub(crate) fn accept(&self, index: usize) -> io::Result<ClientSocket> {
        match &self.listeners[index] {
            Listener::Tcp(tcp) => {
                let (stream, addr) = tcp.accept()?;
                Ok(ClientSocket { fd: stream.into(), peer: PeerAddr::Tcp(unmapped(addr)) })
            }
            Listener::Unix(unix) => {
                let (stream, _) = unix.accept()?;
                Ok(ClientSocket { fd: stream.into(), peer: PeerAddr::Unix })
            }
        }
    }

    /// Closes the sockets, in a child or at the end.
    pub(crate) fn close(&mut self) {
        self.listeners.clear();
    }

    /// Files to remove at the end, and to touch from time to time.
    pub(crate) fn unix_paths(&self) -> &[PathBuf] {
        &self.unix_paths
    }

    /// Lest a cleaner of /tmp takes them for forgotten. C: `TouchSocketFiles`.
    pub(crate) fn touch(&self) {
        for path in &self.unix_paths {
            // A socket cannot be opened, so its times are set by name.
            let now = nix::sys::time::TimeVal::new(now_seconds(), 0);
            let _ = nix::sys::stat::utimes(path, &now, &now);
        }
    }
}

fn now_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}

/// Sockets are v6-only, so a mapped address cannot come in; if it did, hba rules for v4 shall match it.
fn unmapped(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

struct Opener {
    port: u16,
    backlog: Backlog,
    sockets: ListenSockets,
}

impl Opener {
    /// Returns the first address that worked, as spelled in the setting.
    fn open_tcp(&mut self) -> Result<Option<String>> {
        let setting = guc::vars::LISTEN_ADDRESSES.get();
        if setting.is_empty() {
            return Ok(None);
        }
        let hosts = guc::split_guc_list(&setting).ok_or_else(|| list_syntax("listen_addresses"))?;
        let mut first = None;
        for host in &hosts {
            if !self.open_host(host) {
                ereport!(Warning, "could not create listen socket for \"{host}\"");
            } else if first.is_none() {
                lockfile::add_line(line::LISTEN_ADDR, host);
                first = Some(host.clone());
            }
        }
        if first.is_none() && !hosts.is_empty() {
            return Err(fatal!(SqlState::INTERNAL_ERROR, "could not create any TCP/IP sockets"));
        }
        Ok(first)
    }

    /// True if at least one of the host's addresses could be listened on.
    fn open_host(&mut self, host: &str) -> bool {
        let addresses: Vec<SocketAddr> = match host {
            "*" => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
                .map(|ip: IpAddr| SocketAddr::new(ip, self.port))
                .into(),
            _ => match (host, self.port).to_socket_addrs() {
                Ok(found) => found.collect(),
                Err(e) => {
                    let reason = resolver_text(&e);
                    let port = self.port;
                    ereport!(
                        Log,
                        "could not translate host name \"{host}\", service \"{port}\" to address: {reason}"
                    );
                    return false;
                }
            },
        };
        let before = self.sockets.listeners.len();
        for address in addresses {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let (ip, port) = (address.ip(), self.port);
            if let Some(listener) = self.tcp_socket(address, family) {
                ereport!(Log, "listening on {family} address \"{ip}\", port {port}");
                self.sockets.listeners.push(Listener::Tcp(listener));
            }
        }
        self.sockets.listeners.len() > before
    }

    /// What goes wrong is logged: another address may still do.
    fn tcp_socket(&self, address: SocketAddr, family: &str) -> Option<TcpListener> {
        let ip = address.ip().to_string();
        let domain = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = self.new_socket(domain, family, &ip)?;
        let option = |name: &str, result: nix::Result<()>| {
            result.map_err(|e| {
                let reason = errno_text(e);
                ereport!(Log, "setsockopt({name}) failed for {family} address \"{ip}\": {reason}");
            })
        };
        // A port whose last connections are still being forgotten by the kernel may be taken again at once.
        option("SO_REUSEADDR", setsockopt(&fd, sockopt::ReuseAddr, &true)).ok()?;
        if address.is_ipv6() {
            // "*" means one socket for each family.
            option("IPV6_V6ONLY", setsockopt(&fd, sockopt::Ipv6V6Only, &true)).ok()?;
        }
        let port = self.port;
        let hint = format!(
            "Is another postmaster already running on port {port}? If not, wait a few seconds and retry."
        );
        self.bind_and_listen(&fd, &SockaddrStorage::from(address), family, &ip, &hint)?;
        Some(TcpListener::from(fd))
    }

    fn new_socket(&self, domain: AddressFamily, family: &str, address: &str) -> Option<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let created = socket(domain, SockType::Stream, flags, None);
        created
            .map_err(|e| {
                let reason = errno_text(e);
                ereport!(Log, "could not create {family} socket for address \"{address}\": {reason}");
            })
            .ok()
    }

    fn bind_and_listen(
        &self,
        fd: &OwnedFd,
        sockaddr: &dyn nix::sys::socket::SockaddrLike,
        family: &str,
        address: &str,
        hint_in_use: &str,
    ) -> Option<()> {
        use std::os::fd::AsRawFd;
        if let Err(e) = bind(fd.as_raw_fd(), sockaddr) {
            let reason = errno_text(e);
            let mut report = pg_error!(
                Log,
                SqlState::SUCCESSFUL_COMPLETION,
                "could not bind {family} address \"{address}\": {reason}"
            );
            if e == Errno::EADDRINUSE {
                report = report.hint(hint_in_use);
            }
            report.report();
            return None;
        }
        listen(fd, self.backlog)
            .map_err(|e| {
                let reason = errno_text(e);
                ereport!(Log, "could not listen on {family} address \"{address}\": {reason}");
            })
            .ok()
    }

    fn open_unix(&mut self) -> Result<()> {
        let setting = guc::vars::UNIX_SOCKET_DIRECTORIES.get();
        if setting.is_empty() {
            return Ok(());
        }
        let directories =
            guc::split_directories(&setting).ok_or_else(|| list_syntax("unix_socket_directories"))?;
        let mut success = false;
        for directory in &directories {
            if !self.open_unix_in(directory)? {
                ereport!(Warning, "could not create Unix-domain socket in directory \"{directory}\"");
                continue;
            }
            if !success {
                lockfile::add_line(line::SOCKET_DIR, directory);
            }
            success = true;
        }
        if !success && !directories.is_empty() {
            return Err(fatal!(SqlState::INTERNAL_ERROR, "could not create any Unix-domain sockets"));
        }
        Ok(())
    }

    fn open_unix_in(&mut self, directory: &str) -> Result<bool> {
        let port = self.port;
        let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
        let shown = path.display().to_string();
        if shown.len() > UNIX_PATH_LEN_MAX {
            ereport!(
                Log,
                "Unix-domain socket path \"{shown}\" is too long (maximum {UNIX_PATH_LEN_MAX} bytes)"
            );
            return Ok(false);
        }
        let Some(fd) = self.new_socket(AddressFamily::Unix, "Unix", &shown) else { return Ok(false) };
        // The lock file says that no living server uses the socket; a file that is there is a leftover.
        lockfile::create_socket(&path, directory, port)?;
        let _ = std::fs::remove_file(&path);
        let Ok(sockaddr) = UnixAddr::new(&path) else { return Ok(false) };
        let hint = format!("Is another postmaster already running on port {port}?");
        if self.bind_then_open_to_all(&fd, &sockaddr, &path, &shown, &hint).is_none() {
            return Ok(false);
        }
        ereport!(Log, "listening on Unix socket \"{shown}\"");
        self.sockets.listeners.push(Listener::Unix(UnixListener::from(fd)));
        Ok(true)
    }

    fn bind_then_open_to_all(
        &mut self,
        fd: &OwnedFd,
        sockaddr: &UnixAddr,
        path: &Path,
        shown: &str,
        hint: &str,
    ) -> Option<()> {
        self.bind_and_listen(fd, sockaddr, "Unix", shown, hint)?;
        self.sockets.unix_paths.push(path.to_owned());
        set_group(path, shown)?;
        let mode = u32::try_from(guc::vars::UNIX_SOCKET_PERMISSIONS.get()).unwrap_or(0o777);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .map_err(|e| {
                let reason = errno_text(&e);
                ereport!(Log, "could not set permissions of file \"{shown}\": {reason}");
            })
            .ok()
    }
}

/// `unix_socket_group`, by number or by name. C: the first half of `Setup_AF_UNIX`.
fn set_group(path: &Path, shown: &str) -> Option<()> {
    let group = guc::vars::UNIX_SOCKET_GROUP.get();
    if group.is_empty() {
        return Some(());
    }
    let gid = match group.parse::<u32>() {
        Ok(number) => Some(Gid::from_raw(number)),
        Err(_) => Group::from_name(&group).ok().flatten().map(|found| found.gid),
    };
    let Some(gid) = gid else {
        ereport!(Log, "group \"{group}\" does not exist");
        return None;
    };
    nix::unistd::chown(path, None, Some(gid))
        .map_err(|e| {
            let reason = errno_text(e);
            ereport!(Log, "could not set group of file \"{shown}\": {reason}");
        })
        .ok()
}

fn list_syntax(parameter: &str) -> elog::PgError {
    fatal!(SqlState::INVALID_PARAMETER_VALUE, "invalid list syntax in parameter \"{parameter}\"")
}

/// The resolver's words without those that the standard library puts around them.
fn resolver_text(e: &io::Error) -> String {
    let text = errno_text(e);
    text.strip_prefix("failed to lookup address information: ").map_or(text.clone(), str::to_owned)
}
