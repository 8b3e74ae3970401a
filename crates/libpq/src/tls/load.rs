//! From the files that the settings name to a configuration.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::SqlState;
use elog::{PgError, Result, errno_text, error};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::der;

/// A loaded configuration. C: `SSL_CTX`.
#[derive(Debug)]
pub struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// Hash of our certificate for SCRAM's channel binding; `None` if its signature defines none.
    pub(super) server_end_point: Option<Arc<[u8]>>,
    /// There are root certificates: a client may show a certificate, and a wrong one ends the connection.
    pub(super) verifies_clients: bool,
}

/// The settings that matter, as paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `ssl_cert_file`
    pub certificate: PathBuf,
    /// `ssl_key_file`
    pub key: PathBuf,
    /// `ssl_ca_file`
    pub roots: Option<PathBuf>,
    /// `ssl_crl_file`
    pub revocations: Option<PathBuf>,
    /// `ssl_min_protocol_version`
    pub min_version: String,
    /// `ssl_max_protocol_version`
    pub max_version: String,
}

impl Files {
    /// Names relative to the data directory, as the server's working directory is in C.
    pub(super) fn from_settings() -> Files {
        let path = |name: &str| miscinit::globals::data_dir().join(name);
        let optional = |name: &str| if name.is_empty() { None } else { Some(path(name)) };
        Files {
            certificate: path(&guc::vars::SSL_CERT_FILE.get()),
            key: path(&guc::vars::SSL_KEY_FILE.get()),
            roots: optional(&guc::vars::SSL_CA_FILE.get()),
            revocations: optional(&guc::vars::SSL_CRL_FILE.get()),
            min_version: guc::vars::SSL_MIN_PROTOCOL_VERSION.get().to_owned(),
            max_version: guc::vars::SSL_MAX_PROTOCOL_VERSION.get().to_owned(),
        }
    }

    /// Reads and checks everything. C: `be_tls_init`.
    ///
    /// # Errors
    /// F0000, naming the file.
    pub fn load(&self) -> Result<Loaded> {
        let chain = self.load_chain()?;
        let key = self.load_key()?;
        let versions = self.versions()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| config_error(format!("could not create SSL context: {e}")))?;
        let builder = match &self.roots {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(load_roots(file)?), provider);
                if let Some(file) = &self.revocations {
                    verifier = verifier.with_crls(load_revocations(file)?);
                }
                // Unless a line of pg_hba.conf asks for one, a client needs no certificate.
                let verifier = verifier.allow_unauthenticated().build().map_err(|e| {
                    config_error(format!("could not load root certificate file \"{}\": {e}", file.display()))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let server_end_point = chain.first().and_then(|cert| der::server_end_point(cert)).map(Arc::from);
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| config_error(format!("check of private key failed: {e}")))?;
        // A session lives in one process; nothing could be resumed in another. C turns both off, too.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Loaded { config: Arc::new(config), server_end_point, verifies_clients: self.roots.is_some() })
    }

    fn load_chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        let failed = |why: String| {
            config_error(format!(
                "could not load server certificate file \"{}\": {why}",
                self.certificate.display()
            ))
        };
        let chain =
            read_pem(&self.certificate, |file| rustls_pemfile::certs(file).collect::<io::Result<Vec<_>>>())
                .map_err(failed)?;
        if chain.is_empty() { Err(failed("no start line".into())) } else { Ok(chain) }
    }

    fn load_key(&self) -> Result<PrivateKeyDer<'static>> {
        check_key_permissions(&self.key)?;
        let failed = |why: String| {
            config_error(format!("could not load private key file \"{}\": {why}", self.key.display()))
        };
        let text = fs::read(&self.key).map_err(|e| failed(errno_text(&e)))?;
        match rustls_pemfile::private_key(&mut &text[..]) {
            Ok(Some(key)) => Ok(key),
            _ if contains(&text, b"ENCRYPTED") => Err(config_error(format!(
                "private key file \"{}\" cannot be loaded because it requires a passphrase",
                self.key.display()
            ))),
            Ok(None) => Err(failed("no start line".into())),
            Err(e) => Err(failed(e.to_string())),
        }
    }

    fn versions(&self) -> Result<&'static [&'static SupportedProtocolVersion]> {
        const RANGE: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
        const ORDER: [&str; 5] = ["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
        let rank = |name: &str| ORDER.iter().position(|v| v.eq_ignore_ascii_case(name)).unwrap_or(0);
        let (min, max) = (rank(&self.min_version), rank(&self.max_version));
        let max = if max == 0 { ORDER.len() - 1 } else { max };
        if min > max {
            return Err(config_error("could not set SSL protocol version range".into())
                .detail("\"ssl_min_protocol_version\" cannot be higher than \"ssl_max_protocol_version\"."));
        }
        match (min, max) {
            (_, ..3) => Err(config_error(format!(
                "\"ssl_max_protocol_version\" setting \"{}\" not supported by this build",
                self.max_version
            ))),
            (_, 3) => Ok(const { RANGE.split_at(1).0 }),
            (4.., _) => Ok(const { RANGE.split_at(1).1 }),
            _ => Ok(const { &RANGE }),
        }
    }
}

fn load_roots(file: &Path) -> Result<RootCertStore> {
    let failed = |why: String| {
        config_error(format!("could not load root certificate file \"{}\": {why}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    let found =
        read_pem(file, |file| rustls_pemfile::certs(file).collect::<io::Result<Vec<_>>>()).map_err(failed)?;
    for certificate in found {
        roots.add(certificate).map_err(|e| failed(e.to_string()))?;
    }
    if roots.is_empty() { Err(failed("no certificate or crl found".into())) } else { Ok(roots) }
}

fn load_revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    read_pem(file, |file| rustls_pemfile::crls(file).collect::<io::Result<Vec<_>>>()).map_err(|why| {
        config_error(format!(
            "could not load SSL certificate revocation list file \"{}\": {why}",
            file.display()
        ))
    })
}

fn read_pem<T>(path: &Path, read: impl FnOnce(&mut BufReader<File>) -> io::Result<T>) -> Result<T, String> {
    let file = File::open(path).map_err(|e| errno_text(&e))?;
    read(&mut BufReader::new(file)).map_err(|e| e.to_string())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// A key that others could read is refused. C: `check_ssl_key_file_permissions`.
fn check_key_permissions(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|e| {
        error!(
            elog::sqlstate_for_file_access(&e),
            "could not access private key file \"{shown}\": {}",
            errno_text(&e)
        )
    })?;
    if !metadata.is_file() {
        return Err(config_error(format!("private key file \"{shown}\" is not a regular file")));
    }
    let me = nix::unistd::geteuid().as_raw();
    if metadata.uid() != me && metadata.uid() != 0 {
        return Err(config_error(format!(
            "private key file \"{shown}\" must be owned by the database user or root"
        )));
    }
    let forbidden = if metadata.uid() == me { 0o077 } else { 0o037 };
    if metadata.mode() & forbidden != 0 {
        return Err(config_error(format!("private key file \"{shown}\" has group or world access")).detail(
            "File must have permissions u=rw (0600) or less if owned by the database user, or permissions \
             u=rw,g=r (0640) or less if owned by root.",
        ));
    }
    Ok(())
}

fn config_error(text: String) -> PgError {
    error!(SqlState::CONFIG_FILE_ERROR, "{text}")
}
