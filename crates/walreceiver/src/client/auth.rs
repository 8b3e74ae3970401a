//! Proving who we are, in whatever way the server asks for.
//!
//! C counterpart: fe-auth.c (`pg_fe_sendauth`), fe-auth-scram.c.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use shmem::wait_event::WaitEvent;

use super::message::{append, c_string, int32};
use super::targets::{ChannelBinding, Host, Settings};
use super::wire::Wire;
use super::{Attempt, Failure, tls};

/// Some seconds of work; PostgreSQL has 4096.
const SCRAM_ITERATIONS_MAX: u64 = 10_000_000;

/// One exchange, from the first request to `AuthenticationOk`.
#[derive(Default)]
pub(crate) struct Authentication {
    scram: Option<ScramSha256>,
    /// The server has proved that it knows the password, too.
    server_proved: bool,
    /// The proof covers the TLS connection.
    bound: bool,
    /// A password was asked for. C: `password_needed`.
    pub(crate) used_password: bool,
}

/// The requests. C: `AUTH_REQ_*`.
mod request {
    pub(super) const OK: i32 = 0;
    pub(super) const PASSWORD: i32 = 3;
    pub(super) const MD5: i32 = 5;
    pub(super) const SASL: i32 = 10;
    pub(super) const SASL_CONTINUE: i32 = 11;
    pub(super) const SASL_FINAL: i32 = 12;
}

impl Authentication {
    /// Answers a request of the server; true when it is content. C: `pg_fe_sendauth`.
    ///
    /// # Errors
    /// libpq's texts.
    pub(crate) fn answer(
        &mut self,
        wire: &mut Wire,
        settings: &Settings,
        host: &Host,
        body: &[u8],
    ) -> Attempt<bool> {
        let Some((code, rest)) = int32(body) else {
            return Err(Failure::new("message contents do not agree with length in message type \"R\"\n"));
        };
        self.check_binding(settings, code)?;
        match code {
            request::OK if self.scram.is_some() && !self.server_proved => {
                return Err(Failure::new("server ended the SASL exchange without a proof of its own\n"));
            }
            request::OK => return Ok(true),
            request::PASSWORD => {
                let password = self.password(host)?;
                send(wire, &[password.as_bytes(), b"\0"]);
            }
            request::MD5 => {
                let Some((salt, _)) = rest.split_first_chunk::<4>() else {
                    return Err(Failure::new(
                        "message contents do not agree with length in message type \"R\"\n",
                    ));
                };
                let password = self.password(host)?;
                let hash = md5_hash(settings.user().as_bytes(), password.as_bytes(), *salt);
                send(wire, &[hash.as_bytes(), b"\0"]);
            }
            request::SASL => self.begin_sasl(wire, settings, host, rest)?,
            request::SASL_CONTINUE => {
                let scram = self.scram.as_mut().filter(|_| !self.server_proved).ok_or_else(|| {
                    Failure::new(
                        "fe_sendauth: invalid authentication request from server: AUTH_REQ_SASL_CONT without \
                         AUTH_REQ_SASL\n",
                    )
                })?;
                check_iterations(rest)?;
                scram.update(rest).map_err(scram_failed)?;
                send(wire, &[scram.message()]);
            }
            request::SASL_FINAL => {
                let scram = self.scram.as_mut().filter(|_| !self.server_proved);
                let scram = scram.ok_or_else(|| Failure::new("invalid SCRAM exchange state\n"))?;
                scram.finish(rest).map_err(scram_failed)?;
                self.server_proved = true;
            }
            6..=9 => return Err(Failure::new(format!("authentication method {code} not supported\n"))),
            2 => return Err(Failure::new("Kerberos 5 authentication not supported\n")),
            _ => return Err(Failure::new(format!("authentication method {code} not supported\n"))),
        }
        wire.flush(WaitEvent::LIBPQWALRECEIVER_CONNECT)?;
        Ok(false)
    }

    /// C: `check_expected_areq`.
    fn check_binding(&self, settings: &Settings, code: i32) -> Attempt<()> {
        if settings.channel_binding != ChannelBinding::Require {
            return Ok(());
        }
        match code {
            request::SASL | request::SASL_CONTINUE | request::SASL_FINAL => Ok(()),
            request::OK if self.server_proved && self.bound => Ok(()),
            request::OK => Err(Failure::new(
                "channel binding required, but server authenticated client without channel binding\n",
            )),
            _ => Err(Failure::new(
                "channel binding required but not supported by server's authentication request\n",
            )),
        }
    }

    fn password<'a>(&mut self, host: &'a Host) -> Attempt<&'a str> {
        self.used_password = true;
        let password = host.password.as_deref().filter(|password| !password.is_empty());
        password.ok_or_else(|| Failure::new("fe_sendauth: no password supplied\n"))
    }

    /// Chooses a mechanism and sends its first message. C: `pg_SASL_init`.
    fn begin_sasl(
        &mut self,
        wire: &mut Wire,
        settings: &Settings,
        host: &Host,
        mut offered: &[u8],
    ) -> Attempt<()> {
        if self.scram.is_some() {
            return Err(Failure::new("duplicate SASL authentication request\n"));
        }
        let mode = settings.channel_binding;
        if mode == ChannelBinding::Require && wire.tls().is_none() {
            return Err(Failure::new("channel binding required, but SSL not in use\n"));
        }
        let (mut plain, mut plus) = (false, false);
        while !offered.is_empty() {
            let (name, rest) = c_string(offered);
            offered = rest;
            match name.as_str() {
                "" => break,
                SCRAM_SHA_256 => plain = true,
                SCRAM_SHA_256_PLUS if wire.tls().is_none() => {
                    return Err(Failure::new(
                        "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection\n",
                    ));
                }
                SCRAM_SHA_256_PLUS => plus = true,
                _ => {}
            }
        }
        let hash = wire.tls().filter(|_| mode != ChannelBinding::Disable).map(tls::server_end_point);
        let (mechanism, binding) = match hash {
            Some(Some(hash)) if plus => {
                self.bound = true;
                (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            // We could have, and the server did not offer it: it will notice if somebody in between took that away.
            Some(Some(_)) if plain => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            _ if plain => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
            _ => {
                return Err(Failure::new(
                    "none of the server's SASL authentication mechanisms are supported\n",
                ));
            }
        };
        if mode == ChannelBinding::Require && !self.bound {
            return Err(Failure::new(
                "channel binding is required, but server did not offer an authentication method that supports \
                 channel binding\n",
            ));
        }
        let password = self.password(host)?;
        let scram = ScramSha256::new(password.as_bytes(), binding);
        let first = scram.message();
        let length = (first.len() as i32).to_be_bytes();
        send(wire, &[mechanism.as_bytes(), b"\0", &length, first]);
        self.scram = Some(scram);
        Ok(())
    }
}

fn send(wire: &mut Wire, parts: &[&[u8]]) {
    append(wire.out(), b'p', |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
}

/// The server says how much work the proof is, and nothing interrupts it: a server that is not what it seems must not keep us
/// busy for hours. C has no limit. What is no number is found out by who parses all of it.
fn check_iterations(first: &[u8]) -> Attempt<()> {
    let count = first.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(b"i="));
    let count = count.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
    if count.is_some_and(|count| count > SCRAM_ITERATIONS_MAX) {
        return Err(Failure::new("malformed SCRAM message (invalid iteration count)\n"));
    }
    Ok(())
}

fn scram_failed(error: std::io::Error) -> Failure {
    let text = error.to_string();
    Failure::new(match text.strip_prefix("SCRAM error: ") {
        Some(why) => format!("error received from server in SCRAM exchange: {why}\n"),
        None if text == "SCRAM verification error" => "incorrect server signature\n".into(),
        None if text == "invalid nonce" => "invalid SCRAM response (nonce mismatch)\n".into(),
        None => format!("malformed SCRAM message ({text})\n"),
    })
}
