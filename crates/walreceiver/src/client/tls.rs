//! TLS, the client's side: what the options say about certificates.
//!
//! C counterpart: fe-secure-openssl.c (`initialize_SSL`), `pq_verify_peer_name_matches_certificate`.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use super::conninfo::service::home;
use super::targets::{Host, Settings, SslMode};

/// Begins a connection to this host, as the options want it; nothing has been exchanged yet.
///
/// # Errors
/// libpq's text.
pub(crate) fn client(settings: &Settings, host: &Host) -> Result<ClientConnection, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(settings, host, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(settings))
        .map_err(|error| format!("could not create SSL context: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate(settings)? {
        Some((chain, key, file)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            format!("certificate does not match private key file \"{}\": {error}", file.display())
        })?,
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.name.clone()).ok();
    config.enable_sni =
        settings.info.get("sslsni") != Some("0") && matches!(name, Some(ServerName::DnsName(_)));
    // Where there is no name that could be one, it is not sent either.
    let name = name.unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
    ClientConnection::new(Arc::new(config), name)
        .map_err(|error| format!("could not create SSL context: {error}"))
}

/// Hash of the server's certificate, for SCRAM's channel binding.
pub(crate) fn server_end_point(tls: &ClientConnection) -> Option<Vec<u8>> {
    libpq::tls::certificate_hash(tls.peer_certificates()?.first()?)
}

/// The text of a failure within TLS.
pub(crate) fn describe(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        // Ours, and said as libpq says it.
        Some(Error::General(text)) => text.clone(),
        Some(Error::InvalidCertificate(_)) => format!("SSL error: certificate verify failed: {error}"),
        _ => format!("SSL error: {error}"),
    }
}

fn versions(settings: &Settings) -> &'static [&'static rustls::SupportedProtocolVersion] {
    const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
    let is = |name, version: &str| settings.info.get(name).is_some_and(|v| v.eq_ignore_ascii_case(version));
    if is("ssl_max_protocol_version", "TLSv1.2") {
        const { BOTH.split_at(1).0 }
    } else if is("ssl_min_protocol_version", "TLSv1.3") {
        const { BOTH.split_at(1).1 }
    } else {
        const { &BOTH }
    }
}

/// The path that an option gives, else the file of that name in `~/.postgresql`, which need not be there.
fn path(settings: &Settings, option: &str, default: &str) -> Option<PathBuf> {
    match settings.info.nonempty(option) {
        Some(file) => Some(file.into()),
        None => home().map(|home| home.join(".postgresql").join(default)),
    }
}

fn read_pem<T>(path: &Path, read: impl FnOnce(&mut BufReader<File>) -> io::Result<T>) -> Result<T, String> {
    let file = File::open(path).map_err(|error| elog::errno_text(&error))?;
    read(&mut BufReader::new(file)).map_err(|error| error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    read_pem(path, |file| rustls_pemfile::certs(file).collect())
}

/// Our own certificate, if there is one: chain, key, and the key's file.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf);

fn certificate(settings: &Settings) -> Result<Option<Own>, String> {
    let Some(file) = path(settings, "sslcert", "postgresql.crt") else { return Ok(None) };
    if !file.exists() {
        if settings.info.nonempty("sslcert").is_none() {
            return Ok(None);
        }
        return Err(format!(
            "could not open certificate file \"{}\": No such file or directory",
            file.display()
        ));
    }
    let chain = certificates(&file)
        .map_err(|why| format!("could not read certificate file \"{}\": {why}", file.display()))?;
    let key_file = path(settings, "sslkey", "postgresql.key").unwrap_or_default();
    check_key(&key_file)?;
    let failed = |why: String| format!("could not load private key file \"{}\": {why}", key_file.display());
    let key = read_pem(&key_file, |file| rustls_pemfile::private_key(file)).map_err(failed)?;
    let key = key.ok_or_else(|| failed("no start line".into()))?;
    Ok(Some((chain, key, key_file)))
}

/// A key that others could read is refused.
fn check_key(file: &Path) -> Result<(), String> {
    let shown = file.display();
    let Ok(metadata) = std::fs::metadata(file) else {
        return Err(format!("certificate present, but not private key file \"{shown}\""));
    };
    if !metadata.is_file() {
        return Err(format!("private key file \"{shown}\" is not a regular file"));
    }
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(format!(
            "private key file \"{shown}\" has group or world access; file must have permissions u=rw (0600) or \
             less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root"
        ));
    }
    Ok(())
}

/// Decides about the server's certificate.
#[derive(Debug)]
struct Verifier {
    /// Whom to trust; `None`: everybody.
    trusted: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    /// The host name that the certificate must be for; `None`: any.
    host: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(settings: &Settings, host: &Host, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
        let must = settings.ssl_mode >= SslMode::VerifyCa;
        let mut verifier = Verifier {
            trusted: None,
            roots: Vec::new(),
            host: (settings.ssl_mode == SslMode::VerifyFull).then(|| host.name.clone()),
            provider: provider.clone(),
        };
        if verifier.host.as_deref() == Some("") {
            return Err("host name must be specified for a verified SSL connection".into());
        }
        let Some(file) = path(settings, "sslrootcert", "root.crt") else {
            return match must {
                true => {
                    Err("could not get home directory to locate root certificate file\nEither provide the \
                             file or change sslmode to disable server certificate verification."
                        .into())
                }
                false => Ok(verifier),
            };
        };
        let shown = file.display();
        if !file.exists() {
            return match must {
                true => Err(format!(
                    "root certificate file \"{shown}\" does not exist\nEither provide the file or change sslmode \
                     to disable server certificate verification."
                )),
                false => Ok(verifier),
            };
        }
        let failed = |why: String| format!("could not read root certificate file \"{shown}\": {why}");
        verifier.roots = certificates(&file).map_err(failed)?;
        let mut store = RootCertStore::empty();
        for root in &verifier.roots {
            store.add(root.clone()).map_err(|error| failed(error.to_string()))?;
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
        if let Some(crl) = path(settings, "sslcrl", "root.crl").filter(|file| file.exists()) {
            let lists = read_pem(&crl, |file| rustls_pemfile::crls(file).collect::<io::Result<Vec<_>>>())
                .map_err(|why| {
                    format!("could not read certificate revocation list \"{}\": {why}", crl.display())
                })?;
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        verifier.trusted = Some(builder.build().map_err(|error| failed(error.to_string()))?);
        Ok(verifier)
    }

    /// Is the certificate for the host that was asked for? By its alternative names; by its common name if it has none.
    fn check_host(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(host) = &self.host else { return Ok(()) };
        let parsed = ParsedCertificate::try_from(certificate)?;
        let common = libpq::tls::certificate_common_name(certificate);
        let mismatch = |names: &[String]| {
            let name = names.first().cloned().or_else(|| common.clone()).unwrap_or_default();
            let others = match names.len() {
                0 | 1 => String::new(),
                2 => " (and 1 other name)".into(),
                count => format!(" (and {} other names)", count - 1),
            };
            Error::General(format!(
                "server certificate for \"{name}\"{others} does not match host name \"{host}\""
            ))
        };
        let Ok(name) = ServerName::try_from(host.clone()) else { return Err(mismatch(&[])) };
        match rustls::client::verify_server_name(&parsed, &name) {
            Ok(()) => Ok(()),
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented, ..
            })) => {
                if presented.is_empty() && common.as_deref().is_some_and(|common| name_matches(common, host))
                {
                    return Ok(());
                }
                let names: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
                Err(mismatch(&names))
            }
            Err(_) => Err(mismatch(&[])),
        }
    }
}

/// `db1.example.com` from `DnsName("db1.example.com")`.
fn plain_name(presented: &str) -> String {
    presented.split('"').nth(1).unwrap_or(presented).to_owned()
}

/// Does a certificate's name, perhaps `*.domain`, stand for the host? C: `wildcard_certificate_match`.
fn name_matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = pattern.strip_prefix('*').filter(|domain| domain.starts_with('.') && domain.len() > 1)
    else {
        return false;
    };
    let Some(at) = host.len().checked_sub(domain.len()).filter(|at| *at > 0 && host.is_char_boundary(*at))
    else {
        return false;
    };
    host[at..].eq_ignore_ascii_case(domain) && !host[..at].contains('.')
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else { return Ok(ServerCertVerified::assertion()) };
        match trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Ok(_) => {}
            // The chain was found good before the name was looked at, and that is up to us.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            // A certificate that signed itself, and is named as a root: OpenSSL takes it, whatever it says it is for.
            Err(Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::UnknownIssuer))
                if self.roots.iter().any(|root| root == end_entity) => {}
            Err(error) => return Err(error),
        }
        self.check_host(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::name_matches;

    #[test]
    fn names_of_certificates() {
        assert!(name_matches("db.example.com", "DB.example.com"));
        assert!(name_matches("*.example.com", "db.example.com"));
        assert!(!name_matches("*.example.com", "a.db.example.com"));
        assert!(!name_matches("*.example.com", ".example.com"));
        assert!(!name_matches("*", "db"));
        assert!(!name_matches("*.", "db."));
        assert!(!name_matches("db", "db2"));
    }
}
