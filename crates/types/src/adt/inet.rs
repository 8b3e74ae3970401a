//! inet and cidr. C: network.c, inet_cidr_ntop.c, inet_net_pton.c.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::SqlState;
use elog::{Result, error};

use crate::io::{Reader, invalid_input};

/// An address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inet {
    /// The address, host bits included.
    pub addr: IpAddr,
    /// Length of the network part.
    pub bits: u8,
}

impl Inet {
    /// A host.
    pub fn host(addr: IpAddr) -> Inet {
        Inet { addr, bits: max_bits(&addr) }
    }

    fn network(&self) -> u128 {
        let shift = u32::from(max_bits(&self.addr) - self.bits);
        numeric(&self.addr).checked_shr(shift).and_then(|v| v.checked_shl(shift)).unwrap_or(0)
    }
}

fn max_bits(addr: &IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn numeric(addr: &IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn from_numeric(like: &IpAddr, value: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(value as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(value)),
    }
}

/// By the common prefix, then the prefix length, then the whole address; IPv4 first. C: `network_cmp_internal`.
impl Ord for Inet {
    fn cmp(&self, other: &Inet) -> Ordering {
        self.addr.is_ipv6().cmp(&other.addr.is_ipv6()).then_with(|| {
            let common = u32::from(max_bits(&self.addr) - self.bits.min(other.bits));
            let prefix = |i: &Inet| numeric(&i.addr).checked_shr(common).unwrap_or(0);
            prefix(self)
                .cmp(&prefix(other))
                .then(self.bits.cmp(&other.bits))
                .then(numeric(&self.addr).cmp(&numeric(&other.addr)))
        })
    }
}

impl PartialOrd for Inet {
    fn partial_cmp(&self, other: &Inet) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for Inet {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.addr.hash(state);
        self.bits.hash(state);
    }
}

fn parse(text: &str, is_cidr: bool) -> Option<Inet> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => {
            if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (address, Some(bits.parse::<u8>().ok()?))
        }
        None => (text, None),
    };
    let short_v4 = is_cidr && !address.contains(':') && address.split('.').count() < 4;
    let (addr, default_bits) = if short_v4 {
        // cidr takes `10.1` for 10.1.0.0/16, with at least the class's bits.
        let mut octets = [0u8; 4];
        let mut given = 0;
        for (slot, part) in octets.iter_mut().zip(address.split('.')) {
            *slot = part.parse().ok()?;
            given += 8;
        }
        let class = match octets[0] {
            0..=127 => 8,
            128..=191 => 16,
            192..=223 => 24,
            224..=239 => 4,
            _ => 32,
        };
        (IpAddr::from(octets), given.max(class))
    } else {
        let addr: IpAddr = address.parse().ok()?;
        (addr, max_bits(&addr))
    };
    let bits = bits.unwrap_or(default_bits);
    (bits <= max_bits(&addr)).then_some(Inet { addr, bits })
}

/// C: `network_in`.
pub(crate) fn input(text: &str, is_cidr: bool) -> Result<Inet> {
    let name = if is_cidr { "cidr" } else { "inet" };
    let value = parse(text, is_cidr).ok_or_else(|| invalid_input(name, text))?;
    if is_cidr && value.network() != numeric(&value.addr) {
        return Err(error!(SqlState::INVALID_TEXT_REPRESENTATION, "invalid cidr value: \"{text}\"")
            .detail("Value has bits set to right of mask."));
    }
    Ok(value)
}

/// C: `network_out`.
pub(crate) fn output(value: &Inet, is_cidr: bool, out: &mut String) {
    out.push_str(&value.addr.to_string());
    if is_cidr || value.bits != max_bits(&value.addr) {
        out.push('/');
        super::int::output(i64::from(value.bits), out);
    }
}

const WIRE_V4: u8 = 2;
const WIRE_V6: u8 = 3;

/// C: `network_send`.
pub(crate) fn send(value: &Inet, is_cidr: bool, out: &mut Vec<u8>) {
    let family = if value.addr.is_ipv4() { WIRE_V4 } else { WIRE_V6 };
    out.extend([family, value.bits, u8::from(is_cidr)]);
    match value.addr {
        IpAddr::V4(a) => {
            out.push(4);
            out.extend(a.octets());
        }
        IpAddr::V6(a) => {
            out.push(16);
            out.extend(a.octets());
        }
    }
}

/// C: `network_recv`.
pub(crate) fn receive(r: &mut Reader<'_>, is_cidr: bool) -> Result<Inet> {
    let name = if is_cidr { "cidr" } else { "inet" };
    let bad = |what: &str| {
        error!(SqlState::INVALID_BINARY_REPRESENTATION, "invalid {what} in external \"{name}\" value")
    };
    let (family, bits, _, len) = (r.u8()?, r.u8()?, r.u8()?, r.u8()?);
    let addr = match (family, len) {
        (WIRE_V4, 4) => IpAddr::from(r.array::<4>()?),
        (WIRE_V6, 16) => IpAddr::from(r.array::<16>()?),
        (WIRE_V4 | WIRE_V6, _) => return Err(bad("length")),
        _ => return Err(bad("address family")),
    };
    if bits > max_bits(&addr) {
        return Err(bad("bits"));
    }
    let value = Inet { addr, bits };
    if is_cidr && value.network() != numeric(&addr) {
        return Err(error!(SqlState::INVALID_BINARY_REPRESENTATION, "invalid external \"cidr\" value")
            .detail("Value has bits set to right of mask."));
    }
    Ok(value)
}

fn contains(outer: &Inet, inner: &Inet) -> bool {
    outer.addr.is_ipv4() == inner.addr.is_ipv4() && outer.bits <= inner.bits && {
        let shift = u32::from(max_bits(&outer.addr) - outer.bits);
        numeric(&outer.addr).checked_shr(shift) == numeric(&inner.addr).checked_shr(shift)
    }
}

comparisons! {
    &Inet, &Inet, |a, b| a.cmp(b) => network_eq network_ne network_lt network_le network_gt network_ge network_cmp;
}

builtins! {
    fn network_host(a: &Inet) -> String { a.addr.to_string() }
    fn network_show(a: &Inet) -> String { format!("{}/{}", a.addr, a.bits) }
    fn inet_abbrev(a: &Inet) -> String {
        let mut out = String::new();
        output(a, false, &mut out);
        out
    }
    fn network_masklen(a: &Inet) -> i32 { i32::from(a.bits) }
    fn network_family(a: &Inet) -> i32 { if a.addr.is_ipv4() { 4 } else { 6 } }
    fn network_network(a: &Inet) -> Inet { Inet { addr: from_numeric(&a.addr, a.network()), bits: a.bits } }
    fn network_broadcast(a: &Inet) -> Inet {
        let host_bits = u32::from(max_bits(&a.addr) - a.bits);
        let ones = 1u128.checked_shl(host_bits).map_or(u128::MAX, |v| v - 1);
        Inet { addr: from_numeric(&a.addr, a.network() | ones), bits: a.bits }
    }
    fn network_netmask(a: &Inet) -> Inet {
        let host_bits = u32::from(max_bits(&a.addr) - a.bits);
        let ones = 1u128.checked_shl(host_bits).map_or(u128::MAX, |v| v - 1);
        Inet::host(from_numeric(&a.addr, !ones))
    }
    fn network_sub(a: &Inet, b: &Inet) -> bool { a.bits > b.bits && contains(b, a) }
    fn network_subeq(a: &Inet, b: &Inet) -> bool { contains(b, a) }
    fn network_sup(a: &Inet, b: &Inet) -> bool { a.bits < b.bits && contains(a, b) }
    fn network_supeq(a: &Inet, b: &Inet) -> bool { contains(a, b) }
    fn inet_to_cidr(a: &Inet) -> Inet { Inet { addr: from_numeric(&a.addr, a.network()), bits: a.bits } }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("inet", "192.168.0.1", "192.168.0.1");
        check("inet", "192.168.0.1/24", "192.168.0.1/24");
        check("inet", "::1/64", "::1/64");
        check("cidr", "10.1", "10.1.0.0/16");
        check("cidr", "192.168.0.0/24", "192.168.0.0/24");
        check_error("inet", "1.2.3", "22P02 invalid input syntax for type inet: \"1.2.3\"");
        check_error("cidr", "10.0.0.1/8", "22P02 invalid cidr value: \"10.0.0.1/8\"");
    }
}
