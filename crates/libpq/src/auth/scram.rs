//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: the server's side of the exchange.
//!
//! ```text
//! client-first   n,,n=,r=<client nonce>
//! server-first   r=<client nonce><server nonce>,s=<salt>,i=<iterations>
//! client-final   c=biws,r=<both nonces>,p=<proof that it has the client key>
//! server-final   v=<proof that we have the server key>
//! ```
//!
//! A role without a SCRAM verifier is asked all the same, with a salt made from its name and the cluster's mock
//! nonce, so that it cannot be told from one with a verifier; then it fails as a wrong password does (L4).
//!
//! The exchange itself ([`Exchange`]) knows no socket. The primitives are in [`catalog::scram`].
//!
//! C counterpart: libpq/auth-sasl.c, libpq/auth-scram.c; RFC 5802, RFC 7677, RFC 5929.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use catalog::scram::{
    DEFAULT_ITERATIONS, KEY_LEN, PasswordType, SALT_LEN, ScramVerifier, hmac_sha256, password_type,
    verify_client_proof,
};
use common::SqlState;
use elog::{PgError, Result, Severity, ereport, fatal};
use sha2::{Digest, Sha256};

use super::{Context, MOCK_NONCE_LEN, Verdict, read_response};
use crate::message::MessageReader;
use crate::message::reply::{self, AuthRequest};
use crate::port::{Incoming, Port, WaitPolicy};

const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";
/// C: `SCRAM_RAW_NONCE_LEN`.
const RAW_NONCE_LEN: usize = 18;
/// C: `PG_MAX_SASL_MESSAGE_LENGTH`.
const SASL_MESSAGE_MAX: usize = 1024;

/// Runs the exchange with the client. C: `CheckSASLAuth`.
pub(super) fn check_scram(
    port: &mut Port,
    context: &Context<'_>,
    stored: Option<&str>,
    policy: &mut dyn WaitPolicy,
) -> Result<Verdict> {
    let mechanisms: &[&str] = if port.is_encrypted() { &[PLUS, PLAIN] } else { &[PLAIN] };
    reply::authentication(port.out(), AuthRequest::Sasl(mechanisms));
    port.flush(policy)?;
    let mut body = Vec::new();
    let mut exchange = None;
    loop {
        match read_response(port, &mut body, "SASL", SASL_MESSAGE_MAX, policy)? {
            Incoming::Message(_) => {}
            Incoming::Eof => return Ok(Verdict::Eof),
            Incoming::Broken => return Ok(Verdict::Failed(None)),
        }
        let mut reader = MessageReader::new(&body);
        let (state, input) = match &mut exchange {
            Some(state) => (state, Some(reader.rest())),
            // The first message also says which mechanism, and may leave the rest for later.
            None => {
                let mechanism = reader.raw_string().map_err(fatally)?;
                let state = begin_exchange(port, context, mechanism, stored)?;
                let input = reader.value().map_err(fatally)?;
                reader.end().map_err(fatally)?;
                (exchange.insert(state), input)
            }
        };
        match state.step(input)? {
            Step::Continue(output) => {
                reply::authentication(port.out(), AuthRequest::SaslContinue(output.as_bytes()));
                port.flush(policy)?;
            }
            Step::Success(output) => {
                // No flush: AuthenticationOk follows at once.
                reply::authentication(port.out(), AuthRequest::SaslFinal(output.as_bytes()));
                return Ok(Verdict::Ok);
            }
            Step::Failure(detail) => return Ok(Verdict::Failed(detail)),
        }
    }
}

fn begin_exchange(
    port: &Port,
    context: &Context<'_>,
    mechanism: &[u8],
    stored: Option<&str>,
) -> Result<Exchange> {
    let channel = Channel {
        encrypted: port.is_encrypted(),
        end_point: port.tls().and_then(|tls| tls.server_end_point()).map(<[u8]>::to_vec),
    };
    let user = &context.parameters.user;
    Exchange::begin(mechanism, channel, user, stored, context.mock_nonce, server_nonce()?)
}

/// Before a session has begun, every error ends it.
fn fatally(error: PgError) -> PgError {
    error.with_severity(Severity::Fatal)
}

fn server_nonce() -> Result<String> {
    let mut raw = [0; RAW_NONCE_LEN];
    getrandom::fill(&mut raw)
        .map_err(|_| fatal!(SqlState::INTERNAL_ERROR, "could not generate random nonce"))?;
    Ok(BASE64.encode(raw))
}

/// What the connection offers for channel binding.
pub(super) struct Channel {
    /// TLS is in use.
    pub(super) encrypted: bool,
    /// Hash of the server's certificate, if it defines one.
    pub(super) end_point: Option<Vec<u8>>,
}

/// What to do after a message.
pub(super) enum Step {
    /// Send this and wait for the next.
    Continue(String),
    /// Send this; the client has proved itself.
    Success(String),
    /// It has not; the log may say why.
    Failure(Option<String>),
}

/// The state of one exchange. C: `scram_state`.
pub(super) struct Exchange {
    channel: Channel,
    binding_in_use: bool,
    verifier: ScramVerifier,
    /// Nothing the client says will help, and what the log says then. C: `doomed`, `logdetail`.
    doomed: Option<Option<String>>,
    server_nonce: String,
    /// What client-first left behind.
    first: Option<First>,
}

struct First {
    /// `n`, `y` or `p`.
    binding_flag: u8,
    client_first_bare: String,
    nonce: String,
    server_first: String,
}

impl Exchange {
    /// Begins with the mechanism that the client chose. C: `scram_init`.
    pub(super) fn begin(
        mechanism: &[u8],
        channel: Channel,
        user: &str,
        stored: Option<&str>,
        mock_nonce: &[u8; MOCK_NONCE_LEN],
        server_nonce: String,
    ) -> Result<Exchange> {
        let binding_in_use = if mechanism == PLUS.as_bytes() && channel.encrypted {
            true
        } else if mechanism == PLAIN.as_bytes() {
            false
        } else {
            return Err(fatal!(
                SqlState::PROTOCOL_VIOLATION,
                "client selected an invalid SASL authentication mechanism"
            ));
        };
        let mut detail = None;
        let verifier = stored.and_then(|stored| {
            let verifier = ScramVerifier::parse(stored);
            if verifier.is_none() {
                match password_type(stored) {
                    PasswordType::Md5 => {
                        detail = Some(format!("User \"{user}\" does not have a valid SCRAM secret."));
                    }
                    _ => ereport!(Log, "invalid SCRAM secret for user \"{user}\""),
                }
            }
            verifier
        });
        let (verifier, doomed) = match verifier {
            Some(verifier) => (verifier, None),
            None => (mock_verifier(user, mock_nonce), Some(detail)),
        };
        Ok(Exchange { channel, binding_in_use, verifier, doomed, server_nonce, first: None })
    }

    /// Takes the client's next message. C: `scram_exchange`.
    pub(super) fn step(&mut self, input: Option<&[u8]>) -> Result<Step> {
        // Without an initial response the client waits for a challenge; it is empty.
        let Some(input) = input else { return Ok(Step::Continue(String::new())) };
        if input.is_empty() {
            return Err(malformed("The message is empty."));
        }
        if input.contains(&0) {
            return Err(malformed("Message length does not match input length."));
        }
        // Bytes that are no text only ever make a proof or a nonce wrong.
        let input = &*String::from_utf8_lossy(input);
        match self.first.take() {
            None => {
                let first = self.read_client_first(input)?;
                let output = first.server_first.clone();
                self.first = Some(first);
                Ok(Step::Continue(output))
            }
            Some(first) => self.read_client_final(&first, input),
        }
    }

    /// C: `read_client_first_message`, `build_server_first_message`.
    fn read_client_first(&self, input: &str) -> Result<First> {
        let mut scanner = Scanner(input);
        let binding_flag = self.read_binding_flag(&mut scanner)?;
        if scanner.peek() == b'a' {
            return Err(fatal!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "client uses authorization identity, but it is not supported"
            ));
        }
        if scanner.peek() != b',' {
            let found = scanner.shown();
            return Err(malformed(&format!("Unexpected attribute \"{found}\" in client-first-message.")));
        }
        scanner.skip();
        let client_first_bare = scanner.0.to_owned();
        if scanner.peek() == b'm' {
            return Err(fatal!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "client requires an unsupported SCRAM extension"
            ));
        }
        // The name is ignored: the start-up packet has said it.
        scanner.attribute('n')?;
        let client_nonce = scanner.attribute('r')?;
        if !client_nonce.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b',') {
            return Err(fatal!(SqlState::PROTOCOL_VIOLATION, "non-printable characters in SCRAM nonce"));
        }
        while !scanner.0.is_empty() {
            scanner.any_attribute()?;
        }
        let nonce = format!("{client_nonce}{}", self.server_nonce);
        let server_first =
            format!("r={nonce},s={},i={}", BASE64.encode(&self.verifier.salt), self.verifier.iterations);
        Ok(First { binding_flag, client_first_bare, nonce, server_first })
    }

    /// What the client says about channel binding, against what we offered and what it chose.
    fn read_binding_flag(&self, scanner: &mut Scanner<'_>) -> Result<u8> {
        let binding_flag = scanner.peek();
        match binding_flag {
            b'n' | b'y' if self.binding_in_use => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel \
                     binding data.",
                ));
            }
            b'y' if self.channel.encrypted => {
                // Somebody in between may have cut the PLUS from what we offered.
                return Err(fatal!(
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    "SCRAM channel binding negotiation error"
                )
                .detail(
                    "The client supports SCRAM channel binding but thinks the server does not.  However, this \
                     server does support channel binding.",
                ));
            }
            b'n' | b'y' => {
                scanner.skip();
                if scanner.peek() != b',' {
                    let found = scanner.shown();
                    return Err(malformed(&format!("Comma expected, but found character \"{found}\".")));
                }
                scanner.skip();
            }
            b'p' if !self.binding_in_use => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes \
                     channel binding data.",
                ));
            }
            b'p' => {
                let kind = scanner.attribute('p')?;
                if kind != "tls-server-end-point" {
                    return Err(fatal!(
                        SqlState::PROTOCOL_VIOLATION,
                        "unsupported SCRAM channel-binding type \"{}\"",
                        shown_string(kind)
                    ));
                }
            }
            _ => {
                let found = scanner.shown();
                return Err(malformed(&format!("Unexpected channel-binding flag \"{found}\".")));
            }
        }
        Ok(binding_flag)
    }

    /// C: `read_client_final_message`, `verify_final_nonce`, `verify_client_proof`,
    /// `build_server_final_message`.
    fn read_client_final(&mut self, first: &First, input: &str) -> Result<Step> {
        let mut scanner = Scanner(input);
        self.check_binding(first, scanner.attribute('c')?)?;
        let nonce = scanner.attribute('r')?;
        let (without_proof, proof) = loop {
            // Up to here without the comma.
            let so_far = input.len() - scanner.0.len();
            if let ('p', value) = scanner.any_attribute()? {
                break (&input[..so_far.saturating_sub(1)], value);
            }
        };
        let decoded = BASE64.decode(proof).ok().and_then(|proof| <[u8; KEY_LEN]>::try_from(proof).ok());
        let Some(proof) = decoded else {
            return Err(malformed("Malformed proof in client-final-message."));
        };
        if !scanner.0.is_empty() {
            return Err(malformed("Garbage found at the end of client-final-message."));
        }
        if nonce != first.nonce {
            return Err(fatal!(SqlState::PROTOCOL_VIOLATION, "invalid SCRAM response")
                .detail("Nonce does not match."));
        }
        let auth_message: [&[u8]; 5] = [
            first.client_first_bare.as_bytes(),
            b",",
            first.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        // The proof is checked even if all is lost, to take the same time.
        let proved = verify_client_proof(&self.verifier, &auth_message, &proof);
        match &mut self.doomed {
            Some(detail) => Ok(Step::Failure(detail.take())),
            None if !proved => Ok(Step::Failure(None)),
            None => {
                let signature = hmac_sha256(&self.verifier.server_key, &auth_message);
                Ok(Step::Success(format!("v={}", BASE64.encode(signature))))
            }
        }
    }

    /// The client must see the same certificate as we show, and stand by what it said first.
    fn check_binding(&self, first: &First, given: &str) -> Result<()> {
        if !self.binding_in_use {
            return match (given, first.binding_flag) {
                ("biws", b'n') | ("eSws", b'y') => Ok(()),
                _ => Err(fatal!(
                    SqlState::PROTOCOL_VIOLATION,
                    "unexpected SCRAM channel-binding attribute in client-final-message"
                )),
            };
        }
        let Some(end_point) = &self.channel.end_point else {
            return Err(fatal!(SqlState::INTERNAL_ERROR, "could not get server certificate hash"));
        };
        let mut expected = b"p=tls-server-end-point,,".to_vec();
        expected.extend_from_slice(end_point);
        if given == BASE64.encode(expected) {
            return Ok(());
        }
        Err(fatal!(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "SCRAM channel binding check failed"))
    }
}

/// A verifier for a role that has none, always the same for the same name. C: `mock_scram_secret`.
fn mock_verifier(user: &str, mock_nonce: &[u8; MOCK_NONCE_LEN]) -> ScramVerifier {
    let digest = Sha256::new().chain_update(user).chain_update(mock_nonce).finalize();
    ScramVerifier {
        iterations: DEFAULT_ITERATIONS,
        salt: digest[..SALT_LEN].to_vec(),
        stored_key: [0; KEY_LEN],
        server_key: [0; KEY_LEN],
    }
}

fn malformed(detail: &str) -> PgError {
    fatal!(SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message").detail(detail)
}

/// Walks over `a=value,b=value`. C: `read_attr_value`, `read_any_attr`.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// The next byte; 0 at the end.
    fn peek(&self) -> u8 {
        self.0.bytes().next().unwrap_or(0)
    }

    /// Steps over a byte that `peek` has seen to be ASCII.
    fn skip(&mut self) {
        self.0 = self.0.get(1..).unwrap_or("");
    }

    /// The next byte for a message. C: `sanitize_char`.
    fn shown(&self) -> String {
        match self.peek() {
            b @ 0x21..=0x7e => format!("'{}'", char::from(b)),
            b => format!("0x{b:02x}"),
        }
    }

    fn attribute(&mut self, name: char) -> Result<&'a str> {
        if char::from(self.peek()) != name {
            let found = self.shown();
            return Err(malformed(&format!("Expected attribute \"{name}\" but found \"{found}\".")));
        }
        self.value(name)
    }

    fn any_attribute(&mut self) -> Result<(char, &'a str)> {
        let name = char::from(self.peek());
        if self.0.is_empty() {
            return Err(malformed("Attribute expected, but found end of string."));
        }
        if !name.is_ascii_alphabetic() {
            let found = self.shown();
            return Err(malformed(&format!("Attribute expected, but found invalid character \"{found}\".")));
        }
        Ok((name, self.value(name)?))
    }

    fn value(&mut self, name: char) -> Result<&'a str> {
        self.skip();
        let Some(rest) = self.0.strip_prefix('=') else {
            return Err(malformed(&format!("Expected character \"=\" for attribute \"{name}\".")));
        };
        let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
        self.0 = rest;
        Ok(value)
    }
}

/// A piece of text from the client for a message. C: `sanitize_str`.
fn shown_string(text: &str) -> String {
    text.bytes().take(30).map(|b| if (0x21..=0x7e).contains(&b) { char::from(b) } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
