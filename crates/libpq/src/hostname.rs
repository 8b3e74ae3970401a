//! Names behind addresses, for the lines of pg_hba.conf that name a host.
//!
//! The only place of this crate with `unsafe`: the standard library resolves names to addresses, but not back.

#![allow(unsafe_code)]

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// What is known about the name of a client. C: `remote_hostname`, `remote_hostname_resolv`,
/// `remote_hostname_errcode` of `Port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RemoteName {
    /// Nobody has asked.
    #[default]
    Unknown,
    /// The address has no name, and why.
    NoName(String),
    /// It has this name; whether that leads back to the address has not been asked.
    Unchecked(String),
    /// The name leads back to the address.
    Matches(String),
    /// The name leads elsewhere.
    Differs(String),
    /// The name leads nowhere, and why.
    Unresolved(String, String),
}

impl RemoteName {
    /// The client's name, if it has one. Asks the resolver once.
    pub(crate) fn reverse(&mut self, ip: IpAddr) -> Option<&str> {
        if *self == RemoteName::Unknown {
            *self = match name_of(ip) {
                Ok(name) => RemoteName::Unchecked(name),
                Err(why) => RemoteName::NoName(why),
            };
        }
        match self {
            RemoteName::Unchecked(name) | RemoteName::Matches(name) => Some(name),
            RemoteName::Differs(name) | RemoteName::Unresolved(name, _) => Some(name),
            RemoteName::Unknown | RemoteName::NoName(_) => None,
        }
    }

    /// True if the client's name is (or ends in, for `.suffix`) `wanted` and leads back to its address.
    /// C: `check_hostname`.
    pub(crate) fn check(&mut self, ip: IpAddr, wanted: &str) -> bool {
        let Some(name) = self.reverse(ip) else { return false };
        if !host_name_matches(wanted, name) {
            return false;
        }
        if let RemoteName::Unchecked(name) = self {
            let name = std::mem::take(name);
            *self = match addresses_of(&name) {
                Ok(found) if found.contains(&ip) => RemoteName::Matches(name),
                Ok(_) => RemoteName::Differs(name),
                Err(why) => RemoteName::Unresolved(name, why),
            };
        }
        matches!(self, RemoteName::Matches(_))
    }

    /// What the log adds when no line matched. C: `HOSTNAME_LOOKUP_DETAIL`.
    pub(crate) fn detail(&self) -> Option<String> {
        Some(match self {
            RemoteName::Unknown => return None,
            RemoteName::NoName(why) => format!("Could not resolve client IP address to a host name: {why}."),
            RemoteName::Unchecked(name) => {
                format!("Client IP address resolved to \"{name}\", forward lookup not checked.")
            }
            RemoteName::Matches(name) => {
                format!("Client IP address resolved to \"{name}\", forward lookup matches.")
            }
            RemoteName::Differs(name) => {
                format!("Client IP address resolved to \"{name}\", forward lookup does not match.")
            }
            RemoteName::Unresolved(name, why) => {
                format!("Could not translate client host name \"{name}\" to IP address: {why}.")
            }
        })
    }
}

/// C: `hostname_match`.
fn host_name_matches(wanted: &str, name: &str) -> bool {
    if wanted.starts_with('.') {
        let (wanted, name) = (wanted.as_bytes(), name.as_bytes());
        name.len() >= wanted.len() && name[name.len() - wanted.len()..].eq_ignore_ascii_case(wanted)
    } else {
        wanted.eq_ignore_ascii_case(name)
    }
}

fn addresses_of(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|e| {
        let text = e.to_string();
        text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
    })?;
    Ok(found.map(|address| address.ip()).collect())
}

fn name_of(ip: IpAddr) -> Result<String, String> {
    use nix::sys::socket::{SockaddrLike, SockaddrStorage};
    let address = SockaddrStorage::from(SocketAddr::new(ip, 0));
    let mut host = [0_u8; 1025];
    // SAFETY: `address` holds a socket address of `address.len()` bytes and `host` room for the length we say;
    // getnameinfo keeps neither pointer.
    let code = unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.len(),
            host.as_mut_ptr().cast(),
            host.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if code == 0 {
        let length = host.iter().position(|&b| b == 0).unwrap_or(host.len());
        return Ok(String::from_utf8_lossy(&host[..length]).into_owned());
    }
    // SAFETY: gai_strerror returns a static NUL-terminated text for any number.
    let text = unsafe { std::ffi::CStr::from_ptr(libc::gai_strerror(code)) };
    Err(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_suffixes() {
        for (wanted, name, expected) in [
            ("a.example.com", "A.example.COM", true),
            ("a.example.com", "b.example.com", false),
            (".example.com", "a.example.com", true),
            (".example.com", "example.com", false),
            (".m", "é.m", true),
            ("", "", true),
        ] {
            assert_eq!(host_name_matches(wanted, name), expected, "{wanted} {name}");
        }
    }

    #[test]
    fn an_address_without_a_name_matches_nothing() {
        // TEST-NET-1 has no reverse entries, whether or not there is a resolver.
        let mut name = RemoteName::NoName("Name or service not known".into());
        assert!(!name.check("192.0.2.1".parse().unwrap(), "example.com"));
        assert_eq!(
            name.detail().unwrap(),
            "Could not resolve client IP address to a host name: Name or service not known."
        );
    }
}
