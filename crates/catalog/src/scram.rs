//! SCRAM-SHA-256 verifiers: what is stored in place of a password.
//!
//! `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, the three in base64. From it the server can check a
//! client's proof and prove itself, but nobody can log in with it. The exchange of messages is the
//! business of the crate `libpq`; here are the verifier and the keys it is made of.
//!
//! C counterpart: common/scram-common.c, the verifier half of libpq/auth-scram.c, libpq/crypt.c; RFC 5802.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::SqlState;
use elog::{Result, error};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Rounds of hashing for a new verifier. C: `SCRAM_DEFAULT_ITERATIONS`.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Bytes of salt for a new verifier. C: `SCRAM_DEFAULT_SALT_LEN`.
pub const SALT_LEN: usize = 16;
/// Bytes of a key. C: `SCRAM_KEY_LEN`.
pub const KEY_LEN: usize = 32;

const PREFIX: &str = "SCRAM-SHA-256$";

/// A parsed verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of hashing.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// Hash of the key the client proves to have.
    pub stored_key: [u8; KEY_LEN],
    /// The key the server proves to have.
    pub server_key: [u8; KEY_LEN],
}

impl ScramVerifier {
    /// The verifier of a password under this salt.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> ScramVerifier {
        let salted = salted_password(password, salt, iterations);
        ScramVerifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(hmac_sha256(&salted, &[b"Client Key"])).into(),
            server_key: hmac_sha256(&salted, &[b"Server Key"]),
        }
    }

    /// Reads the text form; `None` if it isn't one. C: `parse_scram_secret`.
    pub fn parse(text: &str) -> Option<ScramVerifier> {
        let (parameters, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        Some(ScramVerifier {
            iterations: iterations.parse().ok().filter(|n| (1..=i32::MAX as u32).contains(n))?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored_key).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server_key).ok()?.try_into().ok()?,
        })
    }

    /// Is it the verifier of this password? C: `scram_verify_plain_password`.
    pub fn verify_plain(&self, password: &[u8]) -> bool {
        let derived = ScramVerifier::derive(password, &self.salt, self.iterations);
        constant_time_eq(&derived.server_key, &self.server_key)
    }
}

/// The text form. C: `scram_build_secret`.
impl std::fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ScramVerifier { iterations, salt, stored_key, server_key } = self;
        let [salt, stored_key, server_key] =
            [&salt[..], stored_key, server_key].map(|bytes| BASE64.encode(bytes));
        write!(f, "{PREFIX}{iterations}:{salt}${stored_key}:{server_key}")
    }
}

/// A verifier of this password under a new random salt. C: `pg_be_scram_build_secret`.
pub fn build(password: &[u8]) -> Result<ScramVerifier> {
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt)
        .map_err(|_| error!(SqlState::INTERNAL_ERROR, "could not generate random salt"))?;
    Ok(ScramVerifier::derive(password, &salt, DEFAULT_ITERATIONS))
}

/// What `PASSWORD 'text'` means. C: `PasswordType`, `get_password_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordType {
    /// A password as typed.
    Plain,
    /// `md5` and 32 hexadecimal digits.
    Md5,
    /// A verifier as made here.
    ScramSha256,
}

/// Tells a verifier from a password.
pub fn password_type(text: &str) -> PasswordType {
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == 35 && text.strip_prefix("md5").is_some_and(is_hex) {
        PasswordType::Md5
    } else if ScramVerifier::parse(text).is_some() {
        PasswordType::ScramSha256
    } else {
        PasswordType::Plain
    }
}

/// What to store for `PASSWORD 'text'`: a verifier as it is, anything else as a SCRAM verifier. C:
/// `encrypt_password`.
pub fn encrypt_password(text: &str) -> Result<String> {
    match password_type(text) {
        PasswordType::Plain => Ok(build(text.as_bytes())?.to_string()),
        PasswordType::Md5 | PasswordType::ScramSha256 => Ok(text.to_owned()),
    }
}

/// The salted password, from which all keys come. C: `scram_SaltedPassword`.
pub fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; KEY_LEN] {
    let mut salted = [0; KEY_LEN];
    pbkdf2::pbkdf2_hmac::<Sha256>(&saslprep(password), salt, iterations, &mut salted);
    salted
}

/// HMAC-SHA-256 of the parts, one after the other.
pub fn hmac_sha256(key: &[u8; KEY_LEN], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    // A key of this length always fits: HMAC takes any.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; KEY_LEN] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Does the client's proof belong to the stored key? `auth_message` as RFC 5802 defines it.
/// C: `verify_client_proof`.
pub fn verify_client_proof(verifier: &ScramVerifier, auth_message: &[&[u8]], proof: &[u8; KEY_LEN]) -> bool {
    let signature = hmac_sha256(&verifier.stored_key, auth_message);
    let client_key: [u8; KEY_LEN] = std::array::from_fn(|i| proof[i] ^ signature[i]);
    let stored_key: [u8; KEY_LEN] = Sha256::digest(client_key).into();
    constant_time_eq(&stored_key, &verifier.stored_key)
}

/// The password as both sides hash it: normalised if it is text that RFC 4013 allows, else its bytes as
/// they are, so that any password can be used. C: `pg_saslprep`.
pub fn saslprep(password: &[u8]) -> Cow<'_, [u8]> {
    let Some(text) = std::str::from_utf8(password).ok().filter(|text| !text.is_ascii()) else {
        return Cow::Borrowed(password);
    };
    match stringprep::saslprep(text) {
        Ok(Cow::Owned(prepared)) if !prepared.is_empty() => Cow::Owned(prepared.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}

/// Compares in a time that does not depend on where the two differ.
pub fn constant_time_eq(a: &[u8; KEY_LEN], b: &[u8; KEY_LEN]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verifier of the password in RFC 7677 (pencil) under the salt given there.
    const OF_PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    /// The whole exchange of that example: the client proves itself, then the server does.
    #[test]
    fn rfc_7677_example() {
        let verifier = ScramVerifier::parse(OF_PENCIL).unwrap();
        assert_eq!(verifier, ScramVerifier::derive(b"pencil", &verifier.salt, 4096));
        assert_eq!(verifier.to_string(), OF_PENCIL);
        let auth_message: [&[u8]; 5] = [
            b"n=user,r=rOprNGfwEbeRWgbNEkqO,",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b",c=biws,",
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            b"",
        ];
        let proof =
            BASE64.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap().try_into().unwrap();
        assert!(verify_client_proof(&verifier, &auth_message, &proof));
        assert!(!verify_client_proof(&verifier, &auth_message[1..], &proof));
        let signature = BASE64.encode(hmac_sha256(&verifier.server_key, &auth_message));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn passwords_and_verifiers_are_told_apart() {
        assert_eq!(password_type(OF_PENCIL), PasswordType::ScramSha256);
        assert_eq!(password_type("md5d41d8cd98f00b204e9800998ecf8427e"), PasswordType::Md5);
        assert_eq!(password_type("md5d41d8cd98f00b204e9800998ecf8427E"), PasswordType::Plain);
        assert_eq!(encrypt_password(OF_PENCIL).unwrap(), OF_PENCIL);
        let stored = encrypt_password("geheim").unwrap();
        let verifier = ScramVerifier::parse(&stored).unwrap();
        assert!(verifier.verify_plain(b"geheim"));
        assert!(!verifier.verify_plain(b"Geheim"));
        assert_ne!(stored, encrypt_password("geheim").unwrap(), "each has a salt of its own");
    }

    #[test]
    fn malformed_verifiers_are_refused() {
        for cut in 0..OF_PENCIL.len() {
            assert_eq!(ScramVerifier::parse(&OF_PENCIL[..cut]), None);
        }
        assert_eq!(ScramVerifier::parse(&OF_PENCIL.replace("4096", "0")), None);
        assert_eq!(ScramVerifier::parse(&OF_PENCIL.replace("4096", "-1")), None);
    }

    #[test]
    fn passwords_are_normalised_where_possible() {
        assert_eq!(&*saslprep("I\u{ad}X".as_bytes()), b"IX");
        assert_eq!(&*saslprep("\u{2168}".as_bytes()), b"IX");
        assert_eq!(&*saslprep(b"\xff\xfe"), b"\xff\xfe");
        assert_eq!(&*saslprep(b"a\x07"), b"a\x07");
    }
}
