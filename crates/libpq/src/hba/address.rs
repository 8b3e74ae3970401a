//! Addresses and masks of host lines.
//!
//! C counterpart: libpq/ifaddr.c, `check_ip` and `check_same_host_or_net` of hba.c.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use elog::{ereport, errno_text};
use nix::ifaddrs::getifaddrs;

/// Which clients a host line is for. C: `IPCompareMethod` with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `all`
    All,
    /// `samehost`: one of this machine's own addresses.
    SameHost,
    /// `samenet`: an address in a network this machine is in.
    SameNet,
    /// An address and which of its bits count.
    Network {
        /// As written; bits outside the mask do not matter.
        ip: IpAddr,
        /// Of the same family.
        mask: IpAddr,
    },
    /// A host name, or with a leading dot the end of one.
    HostName(String),
}

/// A numeric address as getaddrinfo reads one: IPv4 also in the short and octal forms of inet_aton, IPv6
/// also with a scope, which is ignored.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address = text.split_once('%').map_or(text, |(address, _scope)| address);
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    parse_inet_aton(text).map(IpAddr::V4)
}

/// One to four numbers, decimal, octal or hexadecimal; the last fills the bytes that are left.
fn parse_inet_aton(text: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = text
        .split('.')
        .map(|part| {
            if !part.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let lower = part.to_ascii_lowercase();
            match lower.strip_prefix("0x") {
                Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => {
                    u32::from_str_radix(hex, 16).ok()
                }
                Some(_) => None,
                None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
                None => part.parse().ok(),
            }
        })
        .collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|&n| n > 255) {
        return None;
    }
    let free_bits = 32 - 8 * first.len() as u32;
    if free_bits < 32 && *last >> free_bits != 0 {
        return None;
    }
    let high = first.iter().enumerate().fold(0, |value, (i, &n)| value | n << (24 - 8 * i));
    Some(Ipv4Addr::from(high | *last))
}

/// The mask of a prefix length, written as a number. C: `pg_sockaddr_cidr_mask`.
pub(super) fn cidr_mask(bits: &str, of: IpAddr) -> Option<IpAddr> {
    // strtol skips space and takes a sign.
    let digits = bits.trim_start().strip_prefix('+').unwrap_or(bits.trim_start());
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bits: u32 = digits.parse().ok()?;
    match of {
        IpAddr::V4(_) if bits <= 32 => Some(IpAddr::V4(u32::MAX.checked_shl(32 - bits).unwrap_or(0).into())),
        IpAddr::V6(_) if bits <= 128 => {
            Some(IpAddr::V6(u128::MAX.checked_shl(128 - bits).unwrap_or(0).into()))
        }
        _ => None,
    }
}

/// Same family and same bits under the mask. C: `pg_range_sockaddr`.
pub(super) fn in_network(client: IpAddr, ip: IpAddr, mask: IpAddr) -> bool {
    match (client, ip, mask) {
        (IpAddr::V4(client), IpAddr::V4(ip), IpAddr::V4(mask)) => {
            (client.to_bits() ^ ip.to_bits()) & mask.to_bits() == 0
        }
        (IpAddr::V6(client), IpAddr::V6(ip), IpAddr::V6(mask)) => {
            (client.to_bits() ^ ip.to_bits()) & mask.to_bits() == 0
        }
        _ => false,
    }
}

/// Is the client this machine, or with `whole_net` in one of its networks? C: `check_same_host_or_net`.
pub(super) fn is_near(client: IpAddr, whole_net: bool) -> bool {
    let interfaces = match getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(errno) => {
            ereport!(Log, "error enumerating network interfaces: {}", errno_text(errno));
            return false;
        }
    };
    let ip_of = |address: Option<nix::sys::socket::SockaddrStorage>| {
        let address = address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    interfaces.into_iter().any(|interface| {
        let Some(ip) = ip_of(interface.address) else { return false };
        match ip_of(interface.netmask).filter(|_| whole_net) {
            Some(mask) => in_network(client, ip, mask),
            None => client == ip,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_forms() {
        let v4 = |text: &str| parse_ip(text).map(|ip| ip.to_string());
        for (text, expected) in [
            ("1.2.3.4", Some("1.2.3.4")),
            ("127.1", Some("127.0.0.1")),
            ("0x7f000001", Some("127.0.0.1")),
            ("010.1", Some("8.0.0.1")),
            ("10", Some("0.0.0.10")),
            ("1.2.256", Some("1.2.1.0")),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("1.2.3.", None),
            ("08", None),
            ("0x", None),
            ("4294967296", None),
            ("", None),
            ("localhost", None),
            ("fe80::1%lo", Some("fe80::1")),
            ("::g", None),
        ] {
            assert_eq!(v4(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn masks() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(cidr_mask("0", ip("1.2.3.4")), Some(ip("0.0.0.0")));
        assert_eq!(cidr_mask("32", ip("1.2.3.4")), Some(ip("255.255.255.255")));
        assert_eq!(cidr_mask("+9", ip("1.2.3.4")), Some(ip("255.128.0.0")));
        assert_eq!(cidr_mask("0", ip("::1")), Some(ip("::")));
        assert_eq!(cidr_mask("65", ip("::1")), Some(ip("ffff:ffff:ffff:ffff:8000::")));
        for bad in ["", "33", "-1", "8x", "++8", "99999999999"] {
            assert_eq!(cidr_mask(bad, ip("1.2.3.4")), None, "{bad:?}");
        }
        assert!(in_network(ip("10.9.8.7"), ip("10.1.2.3"), ip("255.0.0.0")));
        assert!(!in_network(ip("11.9.8.7"), ip("10.1.2.3"), ip("255.0.0.0")));
        assert!(!in_network(ip("::ffff:10.0.0.1"), ip("10.0.0.1"), ip("255.0.0.0")));
    }

    #[test]
    fn this_machine_is_near() {
        assert!(is_near("127.0.0.1".parse().unwrap(), false));
        assert!(is_near("127.9.9.9".parse().unwrap(), true));
        assert!(!is_near("2001:db8:7:7::7".parse().unwrap(), true));
    }
}
