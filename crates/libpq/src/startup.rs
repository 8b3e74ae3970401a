//! The first packets of a connection: what the client wants, and of which server.
//!
//! A start-up packet has no type byte, only a length and a version word. Three "versions" are not versions but
//! requests: cancel a query, speak TLS, speak GSS encryption. After the answer to one of the latter two
//! the client sends another packet, so this reads up to three.
//!
//! C counterpart: `ProcessStartupPacket` of postmaster.c.

use common::SqlState;
use common::version::NAMEDATALEN;
use elog::{PgError, Result, fatal};

use crate::message::{MessageReader, reply};
use crate::port::{Port, WaitPolicy, protocol_violation};
use crate::tls;

/// The one version we speak, 3.0. C: `PG_PROTOCOL_LATEST`.
pub const PROTOCOL_LATEST: u32 = 3 << 16;
const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;
const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSS_ENC_REQUEST: u32 = 1234 << 16 | 5680;

/// C: `MAX_STARTUP_PACKET_LENGTH`.
const PACKET_LENGTH_MAX: usize = 10_000;

/// What a new connection turned out to be.
#[derive(Debug)]
pub enum Startup {
    /// Somebody wants a session.
    Session(StartupParameters),
    /// Somebody wants a query of another session cancelled. There is no answer to it.
    Cancel {
        /// The other session.
        pid: i32,
        /// What must equal its key.
        cancel_key: i32,
    },
    /// The client left or could not be understood; what there is to say about it has been logged.
    Closed,
}

/// Whether the session replicates. C: `am_walsender`, `am_db_walsender`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replication {
    /// An ordinary session.
    #[default]
    No,
    /// A walsender without a database.
    Physical,
    /// A walsender in a database.
    Logical,
}

/// What a start-up packet asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartupParameters {
    /// Never empty; cut to the length of a name.
    pub user: String,
    /// The user's name if none was given; empty for physical replication; cut to the length of a name.
    pub database: String,
    /// Command-line options, as in `PGOPTIONS`; see [`split_options`].
    pub options: Option<String>,
    /// Ordinary session or walsender.
    pub replication: Replication,
    /// Free of anything but printable ASCII; it is in `settings` too, as sent.
    pub application_name: Option<String>,
    /// Any other name and value, in order: settings.
    pub settings: Vec<(String, String)>,
}

/// Reads packets until it is clear what the client wants.
///
/// # Errors
/// FATAL for a packet that is well-formed enough for the client to understand the answer, and what the policy
/// decides while waiting.
pub fn process_startup_packet(port: &mut Port, policy: &mut dyn WaitPolicy) -> Result<Startup> {
    let (mut ssl_done, mut gss_done) = (false, false);
    loop {
        let Some(packet) = read_packet(port, policy, ssl_done || gss_done)? else {
            return Ok(Startup::Closed);
        };
        let Some((version, body)) = packet.split_first_chunk() else { return Ok(Startup::Closed) };
        match u32::from_be_bytes(*version) {
            CANCEL_REQUEST => return Ok(cancel_request(body)),
            SSL_REQUEST if !ssl_done => {
                // Encryption makes no sense between processes of one machine.
                let loaded = if port.remote_ip().is_some() { tls::loaded() } else { None };
                if !answer(port, if loaded.is_some() { b'S' } else { b'N' }, "SSL", policy)? {
                    return Ok(Startup::Closed);
                }
                ssl_done = true;
                if let Some(loaded) = &loaded {
                    // Whatever arrived before the handshake would be taken for encrypted if it stayed.
                    let injected = port.has_buffered_input();
                    if !port.start_tls(loaded, policy)? {
                        return Ok(Startup::Closed);
                    }
                    gss_done = true;
                    if injected {
                        return Err(unencrypted_data("SSL request"));
                    }
                } else if port.has_buffered_input() {
                    return Err(unencrypted_data("SSL request"));
                }
            }
            GSS_ENC_REQUEST if !gss_done => {
                if !answer(port, b'N', "GSSAPI", policy)? {
                    return Ok(Startup::Closed);
                }
                gss_done = true;
                if port.has_buffered_input() {
                    return Err(unencrypted_data("GSSAPI encryption request"));
                }
            }
            version => return session(port, version, body).map(Startup::Session),
        }
    }
}

/// One packet without its length word. `None`: there is none, and what should be logged has been.
fn read_packet(port: &mut Port, policy: &mut dyn WaitPolicy, after_request: bool) -> Result<Option<Vec<u8>>> {
    let length = match port.read_exactly(4, policy)? {
        Ok(word) => u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize,
        // Port scanners and health checks come and go without a word; so may a client that wanted TLS only.
        Err(0) => return Ok(None),
        Err(_) => {
            if !after_request {
                protocol_violation("incomplete startup packet").report();
            }
            return Ok(None);
        }
    };
    if !(8..=PACKET_LENGTH_MAX + 4).contains(&length) {
        protocol_violation("invalid length of startup packet").report();
        return Ok(None);
    }
    let packet = port.read_packet(length - 4, policy)?;
    if packet.is_none() {
        protocol_violation("incomplete startup packet").report();
    }
    Ok(packet)
}

fn cancel_request(body: &[u8]) -> Startup {
    let mut reader = MessageReader::new(body);
    match (reader.int32(), reader.int32(), reader.end()) {
        (Ok(pid), Ok(cancel_key), Ok(())) => Startup::Cancel { pid, cancel_key },
        _ => {
            protocol_violation("invalid length of startup packet").report();
            Startup::Closed
        }
    }
}

/// Sends the one byte that answers an encryption request; false if it could not be sent, which is logged.
fn answer(port: &mut Port, byte: u8, what: &str, policy: &mut dyn WaitPolicy) -> Result<bool> {
    port.out().push(byte);
    let flushed = port.flush(policy);
    if flushed.is_err() && port.is_lost() {
        protocol_violation(&format!("failed to send {what} negotiation response")).report();
        return Ok(false);
    }
    flushed.map(|()| true)
}

fn unencrypted_data(after: &str) -> PgError {
    fatal!(SqlState::PROTOCOL_VIOLATION, "received unencrypted data after {after}").detail(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )
}

fn session(port: &mut Port, version: u32, body: &[u8]) -> Result<StartupParameters> {
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != PROTOCOL_LATEST >> 16 {
        port.speaks_old_protocol = major < 3;
        return Err(fatal!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"
        ));
    }
    let (mut parameters, unrecognized) = parse_parameters(body)?;
    if minor > 0 || !unrecognized.is_empty() {
        // No flush: more will follow.
        reply::negotiate_protocol_version(port.out(), unrecognized.iter().map(String::as_str));
    }
    if parameters.user.is_empty() {
        return Err(fatal!(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "no PostgreSQL user name specified in startup packet"
        ));
    }
    if parameters.database.is_empty() {
        parameters.database.clone_from(&parameters.user);
    }
    truncate_name(&mut parameters.database);
    truncate_name(&mut parameters.user);
    if parameters.replication == Replication::Physical {
        parameters.database.clear();
    }
    Ok(parameters)
}

/// The names and values behind the version word, and the protocol options among them, none of which we know.
fn parse_parameters(body: &[u8]) -> Result<(StartupParameters, Vec<String>)> {
    let mut parameters = StartupParameters::default();
    let mut unrecognized = Vec::new();
    // C keeps the bytes as they are. A name that is no UTF-8 finds no role or database either way.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut reader = MessageReader::new(body);
    loop {
        let terminated = reader.rest() == [0];
        let (Ok(name), Ok(value)) = (reader.raw_string(), reader.raw_string()) else {
            if terminated {
                return Ok((parameters, unrecognized));
            }
            return Err(bad_layout());
        };
        if name.is_empty() {
            // The terminator, but something follows it.
            return Err(bad_layout());
        }
        match name {
            b"database" => parameters.database = text(value),
            b"user" => parameters.user = text(value),
            b"options" => parameters.options = Some(text(value)),
            b"replication" => parameters.replication = parse_replication(&text(value))?,
            _ if name.starts_with(b"_pq_.") => unrecognized.push(text(name)),
            _ => {
                if name == b"application_name" {
                    parameters.application_name = Some(clean_ascii(value));
                }
                parameters.settings.push((text(name), text(value)));
            }
        }
    }
}

fn bad_layout() -> PgError {
    fatal!(SqlState::PROTOCOL_VIOLATION, "invalid startup packet layout: expected terminator as last byte")
}

/// `replication` is a boolean or the word `database`.
fn parse_replication(value: &str) -> Result<Replication> {
    if value == "database" {
        return Ok(Replication::Logical);
    }
    match parse_bool(value) {
        Some(true) => Ok(Replication::Physical),
        Some(false) => Ok(Replication::No),
        None => Err(fatal!(
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid value for parameter \"replication\": \"{value}\""
        )
        .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")),
    }
}

/// Any unambiguous beginning of true, false, yes, no, on, off; 1, 0. C: `parse_bool`.
fn parse_bool(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || value == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0" {
        Some(false)
    } else {
        None
    }
}

/// C: `pg_clean_ascii`.
fn clean_ascii(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| if (32..=126).contains(&b) { char::from(b) } else { '?' }).collect()
}

/// Cuts a name to what an identifier holds, without splitting a character.
fn truncate_name(name: &mut String) {
    name.truncate(name.floor_char_boundary(NAMEDATALEN - 1));
}

/// Splits an options string at spaces; a backslash takes the next character as it is. C: `pg_split_opts`.
pub fn split_options(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut rest = options.chars().peekable();
    loop {
        while rest.next_if(|c| is_space(*c)).is_some() {}
        if rest.peek().is_none() {
            return arguments;
        }
        let mut argument = String::new();
        let mut escaped = false;
        while let Some(c) = rest.next_if(|c| escaped || !is_space(*c)) {
            if escaped || c != '\\' {
                argument.push(c);
            }
            escaped = !escaped && c == '\\';
        }
        arguments.push(argument);
    }
}

/// C: `isspace` in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests;
