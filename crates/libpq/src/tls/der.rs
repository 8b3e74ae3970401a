//! The few fields of an X.509 certificate that the server itself looks at. Whether a certificate is valid is
//! decided by rustls; this only reads what has been accepted, or is our own.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// Who a client is by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name of its subject; `None` if it has none or it holds a NUL.
    pub common_name: Option<String>,
    /// The whole subject, `/C=../CN=..` as `pg_stat_ssl.client_dn` shows it.
    pub subject: String,
    /// The whole subject the other way round, `CN=..,C=..`, as pg_ident.conf compares it.
    pub subject_rfc2253: String,
    /// The whole issuer in the form of `subject`.
    pub issuer: String,
    /// The serial number, decimal.
    pub serial: String,
}

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const INTEGER: u8 = 0x02;
const EXPLICIT_VERSION: u8 = 0xa0;

/// Takes one element off the front: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Four bytes of length are more than any certificate has.
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(b, _)| b.len() <= 4)?;
        (bytes.iter().fold(0_usize, |n, &b| n << 8 | usize::from(b)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, _, _)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The hash of the certificate that RFC 5929 calls `tls-server-end-point`: with the hash function of its
/// signature, or SHA-256 where that is MD5 or SHA-1. C: `be_tls_get_certificate_hash`.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = expect(certificate, SEQUENCE)?;
    let (_, rest) = expect(body, SEQUENCE)?;
    let (algorithm, _) = expect(rest, SEQUENCE)?;
    let (oid, parameters) = expect(algorithm, OBJECT_ID)?;
    let sha256 = || Sha256::digest(certificate).to_vec();
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
    const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
    const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3];
    if oid == ECDSA_SHA1 {
        return Some(sha256());
    }
    match oid.split_last()? {
        (4 | 5 | 11, RSA) | (2, ECDSA_SHA2) => Some(sha256()),
        (12, RSA) | (3, ECDSA_SHA2) => Some(Sha384::digest(certificate).to_vec()),
        (13, RSA) | (4, ECDSA_SHA2) => Some(Sha512::digest(certificate).to_vec()),
        // RSA-PSS names its hash in the parameters; without any it is SHA-1.
        (10, RSA) => Some(match pss_hash(parameters) {
            Some(2) => Sha384::digest(certificate).to_vec(),
            Some(3) => Sha512::digest(certificate).to_vec(),
            _ => sha256(),
        }),
        // Ed25519 and the like have no hash of their own.
        _ => None,
    }
}

/// The last number of the SHA-2 object identifier in RSA-PSS parameters.
fn pss_hash(parameters: &[u8]) -> Option<u8> {
    const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
    let (parameters, _) = expect(parameters, SEQUENCE)?;
    let (hash, _) = expect(parameters, 0xa0)?;
    let (algorithm, _) = expect(hash, SEQUENCE)?;
    let (oid, _) = expect(algorithm, OBJECT_ID)?;
    oid.split_last().filter(|(_, family)| *family == SHA2).map(|(last, _)| *last)
}

/// Subject, issuer and serial number.
pub(super) fn describe(certificate: &[u8]) -> Option<ClientCertificate> {
    let (body, _) = expect(certificate, SEQUENCE)?;
    let (mut tbs, _) = expect(body, SEQUENCE)?;
    if let Some((_, rest)) = expect(tbs, EXPLICIT_VERSION) {
        tbs = rest;
    }
    let (serial, rest) = expect(tbs, INTEGER)?;
    let (_algorithm, rest) = expect(rest, SEQUENCE)?;
    let (issuer, rest) = expect(rest, SEQUENCE)?;
    let (_validity, rest) = expect(rest, SEQUENCE)?;
    let (subject, _) = expect(rest, SEQUENCE)?;
    let subject = attributes(subject)?;
    let common_name = subject.iter().rev().find(|(name, _)| name == "CN").map(|(_, value)| value.clone());
    Some(ClientCertificate {
        // A NUL inside is how a forged name hides its second half.
        common_name: common_name.filter(|name| !name.contains('\0')),
        subject: one_line(&subject),
        subject_rfc2253: rfc2253(&subject),
        issuer: one_line(&attributes(issuer)?),
        serial: serial_text(serial),
    })
}

/// A number of any length in decimal.
fn serial_text(bytes: &[u8]) -> String {
    // Lowest digit first.
    let mut digits = vec![0_u8];
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

/// The attributes of a distinguished name, in order.
fn attributes(mut rdns: &[u8]) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while !rdns.is_empty() {
        let (_set, mut attributes, rest) = element(rdns)?;
        rdns = rest;
        while !attributes.is_empty() {
            let (attribute, rest) = expect(attributes, SEQUENCE)?;
            attributes = rest;
            let (oid, value) = expect(attribute, OBJECT_ID)?;
            let (_string_type, value, _) = element(value)?;
            found.push((attribute_name(oid), String::from_utf8_lossy(value).into_owned()));
        }
    }
    Some(found)
}

/// OpenSSL's one-line form, `/C=../CN=..`.
fn one_line(attributes: &[(String, String)]) -> String {
    attributes.iter().map(|(name, value)| format!("/{name}={value}")).collect()
}

/// Last first, with commas, special characters escaped.
fn rfc2253(attributes: &[(String, String)]) -> String {
    let escaped = |value: &str| {
        let mut text = String::new();
        for (at, c) in value.char_indices() {
            let at_edge = at == 0 || at + c.len_utf8() == value.len();
            if ",+\"\\<>;".contains(c) || (c == ' ' && at_edge) || (c == '#' && at == 0) {
                text.push('\\');
            }
            text.push(c);
        }
        text
    };
    let parts: Vec<String> =
        attributes.iter().rev().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    parts.join(",")
}

fn attribute_name(oid: &[u8]) -> String {
    let known = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        _ => return oid.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            server_end_point(&bytes);
            describe(&bytes);
        }
    }

    #[test]
    fn serial_numbers_are_decimal() {
        for (bytes, expected) in
            [(&[0][..], "0"), (&[0, 0xff], "255"), (&[1, 0, 0, 0, 0, 0, 0, 0, 0], "18446744073709551616")]
        {
            assert_eq!(serial_text(bytes), expected);
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        assert_eq!(element(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(element(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
        assert_eq!(element(&[0x30, 2, 1]), None);
        assert_eq!(element(&[0x30, 0x81, 1, 7, 8]), Some((0x30, &[7][..], &[8][..])));
    }
}
