//! Proving who the client is.
//!
//! [`client_authentication`] takes settings and rules of this process; [`authenticate`] is told everything. It finds
//! the rule of pg_hba.conf, runs its method, and either says AuthenticationOk or comes back with the FATAL error
//! that ends the session. What the client is told never
//! depends on whether the role exists (L4); the log gets the real reason as DETAIL.
//!
//! C counterpart: libpq/auth.c.

mod password; // 1. passwords in the clear and md5
mod peer; // 2. the operating system's word
mod roles; // 3. where passwords come from
mod scram; // 4. SCRAM-SHA-256

use std::sync::{Arc, PoisonError, RwLock};

use common::SqlState;
use elog::{PgError, Result, ereport, fatal};

use crate::hba::{ClientCert, Connection, HbaLine, Method, Rules};
use crate::message::reply::{self, AuthRequest};
use crate::port::{Incoming, Port, WaitPolicy};
use crate::startup::{Replication, StartupParameters};
use crate::tls;
pub use roles::{RolePassword, RoleSource};

/// Length of the cluster's mock authentication nonce, from pg_control. C: `MOCK_AUTH_NONCE_LEN`.
pub const MOCK_NONCE_LEN: usize = 32;
/// C: `PG_MAX_AUTH_TOKEN_LENGTH`.
const PASSWORD_MESSAGE_MAX: usize = 65_535;

/// What authentication needs to know besides the connection.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who asks for what.
    pub parameters: &'a StartupParameters,
    /// Both files; usually [`crate::hba::current`].
    pub rules: &'a Rules,
    /// Roles and their passwords.
    pub roles: &'a dyn RoleSource,
    /// Makes the salt of an unknown role the same each time it is asked for.
    pub mock_nonce: &'a [u8; MOCK_NONCE_LEN],
    /// `log_connections`
    pub log_connections: bool,
    /// `password_encryption = md5`: what an unknown role pretends to have.
    pub md5_is_default: bool,
}

/// How it ended, short of an error.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client is in; AuthenticationOk is in the send buffer, to leave with what follows.
    Authenticated,
    /// The client left instead of answering, as psql does to ask for a password: end quietly, exit code 0.
    ClientLeft,
}

/// What a method came to. C: `STATUS_*`, and the `logdetail` of a failure.
enum Verdict {
    Ok,
    Failed(Option<String>),
    Eof,
}

static MOCK_NONCE: RwLock<Option<[u8; MOCK_NONCE_LEN]>> = RwLock::new(None);

/// Tells the nonce in pg_control. The postmaster does, before it forks; without it [`crate::hba::load`] makes one up
/// that lasts until the next start. C: `GetMockAuthenticationNonce`.
pub fn set_mock_nonce(nonce: [u8; MOCK_NONCE_LEN]) {
    *MOCK_NONCE.write().unwrap_or_else(PoisonError::into_inner) = Some(nonce);
}

/// Makes sure that there is a nonce which a client cannot know.
pub(crate) fn mock_nonce() -> Result<[u8; MOCK_NONCE_LEN]> {
    if let Some(nonce) = *MOCK_NONCE.read().unwrap_or_else(PoisonError::into_inner) {
        return Ok(nonce);
    }
    let mut nonce = [0; MOCK_NONCE_LEN];
    getrandom::fill(&mut nonce)
        .map_err(|_| fatal!(SqlState::INTERNAL_ERROR, "could not generate random nonce"))?;
    set_mock_nonce(nonce);
    Ok(nonce)
}

/// Authenticates the client by the rules and settings of this process, or ends with the error to send.
/// A client that left without an answer ends the process at once, with status 0.
///
/// # Errors
/// Those of [`authenticate`].
#[doc(alias = "ClientAuthentication")]
pub fn client_authentication(
    port: &mut Port,
    parameters: &StartupParameters,
    roles: &dyn RoleSource,
    policy: &mut dyn WaitPolicy,
) -> Result<()> {
    let context = Context {
        parameters,
        rules: &crate::hba::current(),
        roles,
        mock_nonce: &mock_nonce()?,
        log_connections: guc::vars::LOG_CONNECTIONS.get(),
        md5_is_default: guc::vars::PASSWORD_ENCRYPTION.get() == "md5",
    };
    match authenticate(port, &context, policy)? {
        Outcome::Authenticated => Ok(()),
        // Nobody to tell and nothing to log: psql does this whenever it has to ask for a password.
        Outcome::ClientLeft => miscinit::exit::proc_exit(0),
    }
}

/// Authenticates the client, or ends with the error to send. C: `ClientAuthentication`.
///
/// # Errors
/// FATAL 28000 or 28P01 for a client that may not come in, 08P01 for one that does not follow the protocol, and
/// what the policy decides while waiting.
pub fn authenticate(port: &mut Port, context: &Context<'_>, policy: &mut dyn WaitPolicy) -> Result<Outcome> {
    let rule = find_rule(port, context)?;
    port.hba = Some(rule.clone());
    if rule.client_cert != ClientCert::Off {
        // A wrong certificate has already ended the handshake; here it can only be missing.
        tls::require_root_certificates()?;
        if !port.tls().is_some_and(tls::Session::has_client_certificate) {
            return Err(fatal!(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "connection requires a valid client certificate"
            ));
        }
    }
    let mut verdict = match rule.method {
        Method::Reject | Method::ImplicitReject => return Err(rejected(port, context, rule.method)),
        Method::Trust | Method::Cert => Verdict::Ok,
        Method::Peer => peer::check_peer(port, context, &rule)?,
        Method::Password => password::check_cleartext(port, context, policy)?,
        Method::Md5 | Method::Scram => challenge(port, context, &rule, policy)?,
    };
    if rule.client_cert == ClientCert::VerifyFull && matches!(verdict, Verdict::Ok) {
        verdict = check_certificate(port, context, &rule)?;
    }
    match verdict {
        Verdict::Ok => {
            reply::authentication(port.out(), AuthRequest::Ok);
            Ok(Outcome::Authenticated)
        }
        Verdict::Eof => Ok(Outcome::ClientLeft),
        Verdict::Failed(detail) => Err(failed(&rule, &context.parameters.user, detail)),
    }
}

/// C: `hba_getauthmethod`.
fn find_rule(port: &mut Port, context: &Context<'_>) -> Result<Arc<HbaLine>> {
    let connection = Connection {
        ip: port.remote_ip(),
        encrypted: port.is_encrypted(),
        physical_replication: context.parameters.replication == Replication::Physical,
        user: &context.parameters.user,
        database: &context.parameters.database,
    };
    context.rules.hba.first_match(&connection, &mut port.remote_name, context.roles)
}

/// What a client learns whom pg_hba.conf turns away.
fn rejected(port: &Port, context: &Context<'_>, method: Method) -> PgError {
    let host = port.remote_host();
    let StartupParameters { user, database, .. } = context.parameters;
    let encryption = if port.is_encrypted() { "SSL encryption" } else { "no encryption" };
    let physical = context.parameters.replication == Replication::Physical;
    let explicit = method == Method::Reject;
    let text = match (explicit, physical) {
        (true, true) => {
            format!(
                "pg_hba.conf rejects replication connection for host \"{host}\", user \"{user}\", {encryption}"
            )
        }
        (true, false) => format!(
            "pg_hba.conf rejects connection for host \"{host}\", user \"{user}\", database \"{database}\", \
             {encryption}"
        ),
        (false, true) => format!(
            "no pg_hba.conf entry for replication connection from host \"{host}\", user \"{user}\", {encryption}"
        ),
        (false, false) => format!(
            "no pg_hba.conf entry for host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
        ),
    };
    let error =
        fatal!(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "{text}").routine("ClientAuthentication");
    match port.remote_name.detail() {
        Some(detail) if !explicit => error.detail_log(detail),
        _ => error,
    }
}

/// C: `auth_failed`.
fn failed(rule: &HbaLine, user: &str, detail: Option<String>) -> PgError {
    let (sqlstate, text) = match rule.method {
        // A client may ask for another password on this code.
        Method::Password | Method::Md5 | Method::Scram => (SqlState::INVALID_PASSWORD, "password"),
        Method::Peer => (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "Peer"),
        Method::Cert => (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "certificate"),
        Method::Trust | Method::Reject | Method::ImplicitReject => {
            (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "\"trust\"")
        }
    };
    let matched = format!("Connection matched pg_hba.conf line {}: \"{}\"", rule.number, rule.raw);
    let detail = detail.map_or_else(|| matched.clone(), |detail| format!("{detail}\n{matched}"));
    fatal!(sqlstate, "{text} authentication failed for user \"{user}\"")
        .detail_log(detail)
        .routine("auth_failed")
}

/// SCRAM, or for an old md5 hash under the method `md5` that. C: `CheckPWChallengeAuth`.
fn challenge(
    port: &mut Port,
    context: &Context<'_>,
    rule: &HbaLine,
    policy: &mut dyn WaitPolicy,
) -> Result<Verdict> {
    let user = &context.parameters.user;
    let (stored, detail) = roles::stored_password(context.roles, user)?;
    let has_md5 = match &stored {
        Some(stored) => roles::is_md5(stored),
        None => context.md5_is_default,
    };
    let verdict = if rule.method == Method::Md5 && has_md5 {
        password::check_md5(port, user, stored.as_deref(), policy)?
    } else {
        scram::check_scram(port, context, stored.as_deref(), policy)?
    };
    match verdict {
        Verdict::Ok => {
            set_authn_id(port, context, rule, user);
            Ok(Verdict::Ok)
        }
        // Why there was no password to compare with is more than that the mock one did not fit.
        Verdict::Failed(other) => Ok(Verdict::Failed(detail.or(other))),
        Verdict::Eof => Ok(Verdict::Eof),
    }
}

/// The certificate's name must be the user's, directly or through a map. C: `CheckCertAuth`.
fn check_certificate(port: &mut Port, context: &Context<'_>, rule: &HbaLine) -> Result<Verdict> {
    let user = &context.parameters.user;
    let certificate = port.tls().and_then(tls::Session::client_certificate);
    let name = match &certificate {
        Some(certificate) if rule.client_name_is_dn => Some(certificate.subject_rfc2253.clone()),
        Some(certificate) => certificate.common_name.clone(),
        None => None,
    };
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        ereport!(
            Log,
            "certificate authentication failed for user \"{user}\": client certificate contains no user name"
        );
        return Ok(Verdict::Failed(None));
    };
    if rule.method == Method::Cert {
        let dn = certificate.map(|certificate| certificate.subject_rfc2253).unwrap_or_default();
        set_authn_id(port, context, rule, &dn);
    }
    if context.rules.ident.check_usermap(rule.usermap.as_deref(), user, &name) {
        return Ok(Verdict::Ok);
    }
    if rule.method != Method::Cert {
        let what = if rule.client_name_is_dn { "DN" } else { "CN" };
        ereport!(
            Log,
            "certificate validation (clientcert=verify-full) failed for user \"{user}\": {what} mismatch"
        );
    }
    Ok(Verdict::Failed(None))
}

/// Notes who the client proved to be, which is not always the role it becomes. C: `set_authn_id`.
fn set_authn_id(port: &mut Port, context: &Context<'_>, rule: &HbaLine, id: &str) {
    port.authn_id = Some(id.to_owned());
    if context.log_connections {
        ereport!(
            Log,
            "connection authenticated: identity=\"{id}\" method={} ({}:{})",
            rule.method.name(),
            context.rules.hba.path.display(),
            rule.number
        );
    }
}

/// Reads the `p` message that answers a request into `body`; false if the client left or cannot be understood,
/// which has been logged. `what` is how the complaint about another message calls it.
fn read_response(
    port: &mut Port,
    body: &mut Vec<u8>,
    what: &str,
    max: usize,
    policy: &mut dyn WaitPolicy,
) -> Result<Incoming> {
    port.read_limited(body, policy, |kind| {
        if kind == b'p' {
            return Ok(max);
        }
        Err(fatal!(SqlState::PROTOCOL_VIOLATION, "expected {what} response, got message type {kind}"))
    })
}

#[cfg(test)]
mod tests;
