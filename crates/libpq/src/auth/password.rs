//! Passwords in the clear, and the md5 exchange of old clusters.
//!
//! C counterpart: `CheckPasswordAuth`, `CheckMD5Auth`, `recv_password_packet` of auth.c; libpq/crypt.c.

use catalog::scram::{PasswordType, ScramVerifier, password_type};
use common::SqlState;
use elog::{Result, ereport, fatal};
use md5::{Digest, Md5};

use super::{Context, PASSWORD_MESSAGE_MAX, Verdict, read_response, roles, set_authn_id};
use crate::message::reply::{self, AuthRequest};
use crate::port::{Incoming, Port, WaitPolicy};

/// The method `password`.
pub(super) fn check_cleartext(
    port: &mut Port,
    context: &Context<'_>,
    policy: &mut dyn WaitPolicy,
) -> Result<Verdict> {
    reply::authentication(port.out(), AuthRequest::CleartextPassword);
    port.flush(policy)?;
    let Some(given) = receive_password(port, policy)? else { return Ok(Verdict::Eof) };
    let user = &context.parameters.user;
    let (stored, detail) = roles::stored_password(context.roles, user)?;
    let Some(stored) = stored else { return Ok(Verdict::Failed(detail)) };
    let matches = match password_type(&stored) {
        PasswordType::ScramSha256 => ScramVerifier::parse(&stored).is_some_and(|v| v.verify_plain(&given)),
        PasswordType::Md5 => md5_hash(&[&given, user.as_bytes()]) == stored,
        PasswordType::Plain => {
            let detail = format!("Password of user \"{user}\" is in unrecognized format.");
            return Ok(Verdict::Failed(Some(detail)));
        }
    };
    if !matches {
        return Ok(Verdict::Failed(Some(mismatch(user))));
    }
    if let Some(rule) = port.hba.clone() {
        set_authn_id(port, context, &rule, user);
    }
    Ok(Verdict::Ok)
}

/// The method `md5` for a role with an md5 hash, or none at all.
pub(super) fn check_md5(
    port: &mut Port,
    user: &str,
    stored: Option<&str>,
    policy: &mut dyn WaitPolicy,
) -> Result<Verdict> {
    let mut salt = [0; 4];
    if getrandom::fill(&mut salt).is_err() {
        ereport!(Log, "could not generate random MD5 salt");
        return Ok(Verdict::Failed(None));
    }
    reply::authentication(port.out(), AuthRequest::Md5Password(salt));
    port.flush(policy)?;
    let Some(given) = receive_password(port, policy)? else { return Ok(Verdict::Eof) };
    let Some(hash) = stored.and_then(|stored| stored.strip_prefix("md5")) else {
        return Ok(Verdict::Failed(None));
    };
    if md5_hash(&[hash.as_bytes(), &salt]).as_bytes() == given {
        Ok(Verdict::Ok)
    } else {
        Ok(Verdict::Failed(Some(mismatch(user))))
    }
}

fn mismatch(user: &str) -> String {
    format!("Password does not match for user \"{user}\".")
}

/// `md5` and the digest in hexadecimal. C: `pg_md5_encrypt`.
fn md5_hash(parts: &[&[u8]]) -> String {
    let mut hasher = Md5::new();
    parts.iter().for_each(|part| hasher.update(part));
    let digest = hasher.finalize();
    digest.iter().fold("md5".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// The password the client sent; `None` if it left. C: `recv_password_packet`.
fn receive_password(port: &mut Port, policy: &mut dyn WaitPolicy) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    match read_response(port, &mut body, "password", PASSWORD_MESSAGE_MAX, policy)? {
        Incoming::Message(_) => {}
        Incoming::Eof | Incoming::Broken => return Ok(None),
    }
    // One string and nothing else.
    if body.pop() != Some(0) || body.contains(&0) {
        return Err(fatal!(SqlState::PROTOCOL_VIOLATION, "invalid password packet size"));
    }
    if body.is_empty() {
        // Some methods elsewhere take an empty password for a guest's; here it is always a mistake.
        return Err(fatal!(SqlState::INVALID_PASSWORD, "empty password returned by client"));
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_as_stored() {
        assert_eq!(md5_hash(&[b""]), "md5d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hash(&[b"a", b"bc"]), "md5900150983cd24fb0d6963f7d28e17f72");
    }
}
