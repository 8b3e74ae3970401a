//! TLS: the certificate and key, loaded once, and the encrypted connection.
//!
//! The postmaster calls [`load`] at start and on SIGHUP; children inherit the result, so the key file is read
//! by one process and needs to be readable only then (L5). A session that began with the old certificate
//! keeps it.
//!
//! Differs from PG 15: rustls in place of OpenSSL, hence TLS 1.2 and 1.3 only (asking for an older minimum
//! gives 1.2), cipher lists and curves are rustls's own, no passphrase-protected keys, and texts inside messages
//! (`could not accept SSL connection: ...`) are rustls's words.
//!
//! C counterpart: libpq/be-secure-openssl.c, libpq/be-secure-common.c.

mod der; // 3. the few fields of a certificate that we need
mod load; // 1. files to configuration
mod session; // 2. one connection

use std::sync::{Arc, PoisonError, RwLock};

use common::SqlState;
use elog::{Result, ereport, fatal, pg_error};

pub use der::ClientCertificate;
pub use load::{Files, Loaded};
pub use session::Info;
pub(crate) use session::{Handshake, Session};

/// What sessions use. C: `SSL_context`, `LoadedSSL`.
static LOADED: RwLock<Option<Arc<Loaded>>> = RwLock::new(None);

/// The configuration to offer, if `ssl` is on and its files were good.
pub fn loaded() -> Option<Arc<Loaded>> {
    LOADED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set_loaded(loaded: Option<Arc<Loaded>>) {
    *LOADED.write().unwrap_or_else(PoisonError::into_inner) = loaded;
}

/// Loads what the settings name, or nothing with `ssl = off`. The postmaster calls it at start.
/// C: `secure_initialize(true)`.
///
/// # Errors
/// FATAL F0000, with the file's name.
pub fn load() -> Result<()> {
    set_loaded(None);
    if guc::vars::SSL.get() {
        let loaded = Files::from_settings().load().map_err(|e| e.with_severity(elog::Severity::Fatal))?;
        set_loaded(Some(Arc::new(loaded)));
    }
    Ok(())
}

/// Loads it again on SIGHUP; what was there stays if that fails, after a complaint in the log.
/// C: the SSL part of `SIGHUP_handler`.
pub fn reload() {
    if !guc::vars::SSL.get() {
        set_loaded(None);
        return;
    }
    match Files::from_settings().load() {
        Ok(loaded) => set_loaded(Some(Arc::new(loaded))),
        Err(error) => {
            error.with_severity(elog::Severity::Log).report();
            ereport!(Log, "SSL configuration was not reloaded");
        }
    }
}

/// The hash of a certificate that RFC 5929 calls `tls-server-end-point`: what the walreceiver binds its SCRAM exchange to.
/// C: `pgtls_get_peer_certificate_hash`.
pub fn certificate_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    der::server_end_point(certificate)
}

/// The common name of a certificate's subject, if it has one.
pub fn certificate_common_name(certificate: &[u8]) -> Option<String> {
    der::describe(certificate)?.common_name
}

/// Logs that a connection could not be encrypted. C: the `COMMERROR`s of `be_tls_open_server`.
pub(crate) fn log_failed_accept(text: &str) {
    pg_error!(LogServerOnly, SqlState::PROTOCOL_VIOLATION, "{text}").report();
}

/// Refuses to check a client's certificate against nothing. C: in `ClientAuthentication`.
///
/// # Errors
/// FATAL F0000.
pub(crate) fn require_root_certificates() -> Result<()> {
    if loaded().is_some_and(|loaded| loaded.verifies_clients) {
        return Ok(());
    }
    Err(fatal!(
        SqlState::CONFIG_FILE_ERROR,
        "client certificates can only be checked if a root certificate store is available"
    ))
}

#[cfg(test)]
mod tests;
