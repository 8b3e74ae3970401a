//! Checksums of whole files, for the manifest.
//!
//! C counterpart: common/checksum_helper.c.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// C: `pg_checksum_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    None,
    Crc32c,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// By its name in any case. C: `pg_checksum_parse_type`.
    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        Some(match name.to_ascii_lowercase().as_str() {
            "none" => Algorithm::None,
            "crc32c" => Algorithm::Crc32c,
            "sha224" => Algorithm::Sha224,
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => return None,
        })
    }

    /// As the manifest names it. C: `pg_checksum_type_name`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::None => "NONE",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Sha224 => "SHA224",
            Algorithm::Sha256 => "SHA256",
            Algorithm::Sha384 => "SHA384",
            Algorithm::Sha512 => "SHA512",
        }
    }
}

/// One file's, as far as it has been read. C: `pg_checksum_context`.
pub(crate) enum FileChecksum {
    None,
    Crc32c(u32),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl FileChecksum {
    /// C: `pg_checksum_init`.
    pub(crate) fn new(algorithm: Algorithm) -> FileChecksum {
        match algorithm {
            Algorithm::None => FileChecksum::None,
            Algorithm::Crc32c => FileChecksum::Crc32c(0),
            Algorithm::Sha224 => FileChecksum::Sha224(Sha224::new()),
            Algorithm::Sha256 => FileChecksum::Sha256(Sha256::new()),
            Algorithm::Sha384 => FileChecksum::Sha384(Sha384::new()),
            Algorithm::Sha512 => FileChecksum::Sha512(Sha512::new()),
        }
    }

    /// C: `pg_checksum_update`.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            FileChecksum::None => {}
            FileChecksum::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            FileChecksum::Sha224(sha) => sha.update(bytes),
            FileChecksum::Sha256(sha) => sha.update(bytes),
            FileChecksum::Sha384(sha) => sha.update(bytes),
            FileChecksum::Sha512(sha) => sha.update(bytes),
        }
    }

    /// Its bytes; a CRC's in the order they have in memory. C: `pg_checksum_final`.
    pub(crate) fn finish(self) -> Option<(Algorithm, Vec<u8>)> {
        Some(match self {
            FileChecksum::None => return None,
            FileChecksum::Crc32c(crc) => (Algorithm::Crc32c, crc.to_le_bytes().to_vec()),
            FileChecksum::Sha224(sha) => (Algorithm::Sha224, sha.finalize().to_vec()),
            FileChecksum::Sha256(sha) => (Algorithm::Sha256, sha.finalize().to_vec()),
            FileChecksum::Sha384(sha) => (Algorithm::Sha384, sha.finalize().to_vec()),
            FileChecksum::Sha512(sha) => (Algorithm::Sha512, sha.finalize().to_vec()),
        })
    }
}

/// Two digits a byte, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    pairs.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let algorithm = Algorithm::from_name(name).unwrap();
        let mut checksum = FileChecksum::new(algorithm);
        checksum.update(b"1234");
        checksum.update(b"56789");
        let (named, bytes) = checksum.finish().unwrap();
        assert_eq!((named.name(), hex(&bytes).as_str()), (algorithm.name(), expected));
    }

    #[test]
    fn known_values() {
        // e3069283 is CRC-32C's check value: PostgreSQL writes it as it lies in memory.
        check("Crc32c", "839206e3");
        check("sha224", "9b3e61bf29f17c75572fae2e86e17809a4513d07c8a18152acf34521");
        check("SHA256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        assert!(FileChecksum::new(Algorithm::None).finish().is_none());
        assert_eq!(Algorithm::from_name("md5"), None);
    }
}
