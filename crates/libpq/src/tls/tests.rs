//! Loading of good and bad files, and handshakes with a rustls client over a socket pair.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use common::Oid;
use miscinit::child::{ClientSocket, PeerAddr};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::auth::{self, RolePassword, RoleSource};
use crate::hba::{HbaFile, Rules};
use crate::message::reply::{self, TransactionStatus};
use crate::port::{Incoming, Port};
use crate::startup::{Startup, process_startup_packet};
use crate::testing::{Client, Patient, captured_log, port_pair, port_pair_from};

/// A copy of the test certificates, with the permissions that version control does not keep.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Certificates {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls"));
        for name in ["root.crt", "server.crt", "server.key", "client.crt", "client.key"] {
            fs::copy(source.join(name), dir.path().join(name)).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        Certificates(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.path("server.crt"),
            key: self.path("server.key"),
            roots: Some(self.path("root.crt")),
            min_version: "TLSv1.2".to_owned(),
            ..Files::default()
        }
    }

    fn client_config(&self, with_certificate: bool) -> ClientConfig {
        let certs = |name: &str| {
            let text = fs::read(self.path(name)).unwrap();
            rustls_pemfile::certs(&mut &text[..]).collect::<Result<Vec<_>, _>>().unwrap()
        };
        let mut roots = RootCertStore::empty();
        roots.add(certs("root.crt").remove(0)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        if !with_certificate {
            return builder.with_no_client_auth();
        }
        let key = fs::read(self.path("client.key")).unwrap();
        let key = rustls_pemfile::private_key(&mut &key[..]).unwrap().unwrap();
        builder.with_client_auth_cert(certs("client.crt"), key).unwrap()
    }
}

fn connect(config: ClientConfig, client: Client) -> StreamOwned<ClientConnection, UnixStream> {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), client.0)
}

/// A port that has been asked for TLS by a client running `script`.
fn with_client<T: Send + 'static>(
    loaded: &Loaded,
    config: ClientConfig,
    script: impl FnOnce(StreamOwned<ClientConnection, UnixStream>) -> T + Send + 'static,
    server: impl FnOnce(&mut Port),
) -> T {
    let (mut port, client) = port_pair();
    let client = std::thread::Builder::new().spawn(move || script(connect(config, client))).unwrap();
    assert!(port.start_tls(loaded, &mut Patient).unwrap());
    server(&mut port);
    drop(port);
    client.join().unwrap()
}

#[test]
fn messages_in_both_directions() {
    let certificates = Certificates::new();
    let loaded = certificates.files().load().unwrap();
    let big = vec![b'x'; 1_000_000];
    let sent = big.clone();
    let script = move |mut stream: StreamOwned<ClientConnection, UnixStream>| {
        let mut message = b"d".to_vec();
        message.extend((sent.len() as u32 + 4).to_be_bytes());
        message.extend(&sent);
        stream.write_all(&message).unwrap();
        let mut answer = vec![0; message.len()];
        stream.read_exact(&mut answer).unwrap();
        answer == message
    };
    let echoed = with_client(&loaded, certificates.client_config(false), script, |port| {
        let mut body = Vec::new();
        assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Message(b'd'));
        assert!(body == big);
        crate::message::reply::copy_data(port.out(), &body);
        port.flush(&mut Patient).unwrap();
        let info = port.tls_info().unwrap();
        assert_eq!((info.version, info.cipher, info.bits), ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256));
        assert_eq!(info.client, None);
        assert_eq!(port.read_message(&mut body, &mut Patient).unwrap(), Incoming::Eof);
    });
    assert!(echoed);
}

#[test]
fn client_certificates() {
    let certificates = Certificates::new();
    let loaded = certificates.files().load().unwrap();
    let script = |mut stream: StreamOwned<ClientConnection, UnixStream>| {
        stream.write_all(b"S\0\0\0\x04").unwrap();
    };
    with_client(&loaded, certificates.client_config(true), script, |port| {
        let client = port.tls_info().unwrap().client.unwrap();
        assert_eq!(client.common_name.as_deref(), Some("alice"));
        assert_eq!(client.subject, "/C=DE/O=Test/CN=alice");
        assert_eq!(client.subject_rfc2253, "CN=alice,O=Test,C=DE");
        assert_eq!(client.issuer, "/CN=Test root");
        let serial = u128::from_str_radix("4A065BC599EF4431BD3A556F76F8657", 16).unwrap();
        assert!(client.serial.len() > serial.to_string().len(), "{}", client.serial);
        assert!(port.tls().unwrap().has_client_certificate());
    });
}

/// What `openssl x509 -fingerprint` says about the two certificates.
#[test]
fn end_point_hashes_use_the_signatures_hash() {
    let certificates = Certificates::new();
    let loaded = certificates.files().load().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    assert_eq!(
        hex(loaded.server_end_point.as_ref().unwrap()),
        "BBDF1E1E20BCD769470CFEB52C7A2CB98B0E96E984E43DF946F0CCDB91009728"
    );
    let text = fs::read(certificates.path("client.crt")).unwrap();
    let client = rustls_pemfile::certs(&mut &text[..]).next().unwrap().unwrap();
    assert_eq!(
        hex(&der::server_end_point(&client).unwrap()),
        "D96C28187999247 6EA397B66DF4E71FC0F75E51962563F5DD758DA14FCA2E264A552B343146783 62BC5C5396508273A1"
            .replace(' ', "")
    );
}

#[track_caller]
fn check_load_error(files: &Files, certificates: &Certificates, expected: &str) {
    let error = files.load().unwrap_err();
    let text = error.message.replace(certificates.0.path().to_str().unwrap(), "DIR");
    assert_eq!(text, expected);
}

#[test]
fn bad_files_are_named() {
    let certificates = Certificates::new();
    let good = certificates.files();
    let files = Files { certificate: certificates.path("nofile"), ..good.clone() };
    let text = "could not load server certificate file \"DIR/nofile\": No such file or directory";
    check_load_error(&files, &certificates, text);
    let files = Files { certificate: certificates.path("server.key"), ..good.clone() };
    let text = "could not load server certificate file \"DIR/server.key\": no start line";
    check_load_error(&files, &certificates, text);
    let files = Files { key: certificates.path("nofile"), ..good.clone() };
    let text = "could not access private key file \"DIR/nofile\": No such file or directory";
    check_load_error(&files, &certificates, text);
    let files = Files { key: certificates.path(""), ..good.clone() };
    check_load_error(&files, &certificates, "private key file \"DIR/\" is not a regular file");
    let files = Files { key: certificates.path("server.crt"), ..good.clone() };
    let text = "could not load private key file \"DIR/server.crt\": no start line";
    check_load_error(&files, &certificates, text);
    let files = Files { key: certificates.path("client.key"), ..good.clone() };
    assert!(files.load().unwrap_err().message.starts_with("check of private key failed: "));
    let files = Files { roots: Some(certificates.path("nofile")), ..good.clone() };
    let text = "could not load root certificate file \"DIR/nofile\": No such file or directory";
    check_load_error(&files, &certificates, text);
    let files = Files { max_version: "TLSv1.1".into(), ..good.clone() };
    check_load_error(&files, &certificates, "could not set SSL protocol version range");
    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o640)).unwrap();
    check_load_error(&good, &certificates, "private key file \"DIR/server.key\" has group or world access");
    assert!(
        good.load()
            .unwrap_err()
            .detail
            .as_ref()
            .unwrap()
            .starts_with("File must have permissions u=rw (0600)")
    );
    fs::write(certificates.path("server.key"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
    fs::set_permissions(&good.key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(good.load().unwrap_err().message.ends_with("because it requires a passphrase"));
}

#[test]
fn a_failed_handshake_is_logged() {
    let certificates = Certificates::new();
    let loaded = certificates.files().load().unwrap();
    for (bytes, expected) in [
        (&b""[..], "could not accept SSL connection: EOF detected"),
        (b"\x16\x03\x01", "could not accept SSL connection: EOF detected"),
        (b"\0\0\0\x08\0\x03\0\0", "could not accept SSL connection: received corrupt message of type"),
    ] {
        let (mut port, mut client) = port_pair();
        client.send(bytes);
        client.close_write();
        let (result, log) = captured_log(|| port.start_tls(&loaded, &mut Patient));
        assert!(!result.unwrap());
        assert!(log.len() == 1 && log[0].starts_with(expected), "{log:?}");
    }
}

/// Two tests set what the whole process uses.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The whole way through the start-up packet, also for the man in the middle who sends ahead.
#[test]
fn ssl_requests() {
    const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    const STARTUP: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0u\0\0";
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let certificates = Certificates::new();
    set_loaded(Some(Arc::new(certificates.files().load().unwrap())));
    let tcp = PeerAddr::Tcp("127.0.0.1:5555".parse().unwrap());
    for ahead in [&b""[..], b"junk"] {
        let (mut port, mut client) = port_pair_from(tcp);
        let config = certificates.client_config(false);
        let first = [SSL_REQUEST, ahead].concat();
        let script = move || {
            client.send(&first);
            assert_eq!(client.receive(1), b"S");
            let mut stream = connect(config, client);
            // With junk ahead the server leaves in the middle of this.
            let _ = stream.write_all(STARTUP);
            stream
        };
        let client = std::thread::Builder::new().spawn(script).unwrap();
        let result = process_startup_packet(&mut port, &mut Patient);
        assert!(port.is_encrypted());
        if ahead.is_empty() {
            assert!(matches!(result.unwrap(), Startup::Session(p) if p.user == "u"));
        } else {
            assert_eq!(result.unwrap_err().message, "received unencrypted data after SSL request");
        }
        client.join().unwrap();
    }
    set_loaded(None);
}

/// alice's password is `geheim`.
struct Alice;

impl RoleSource for Alice {
    fn find(&self, role: &str) -> Result<Option<RolePassword>> {
        let verifier = catalog::scram::ScramVerifier::derive(b"geheim", b"0123456789abcdef", 4096);
        let password = Some(verifier.to_string());
        Ok((role == "alice").then_some(RolePassword { password, valid_until: None }))
    }
    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        Ok(role == of)
    }
}

/// Serves one connection: whoever gets in is told its user name for each query.
fn serve(listener: &TcpListener, hba: &str) -> Result<()> {
    let (socket, peer) = listener.accept().unwrap();
    let mut port = Port::new(ClientSocket { fd: socket.into(), peer: PeerAddr::Tcp(peer) });
    let result = serve_session(&mut port, hba);
    if let Err(error) = &result {
        port.report(error);
        port.flush(&mut Patient)?;
    }
    result
}

fn serve_session(port: &mut Port, hba: &str) -> Result<()> {
    let Startup::Session(parameters) = process_startup_packet(port, &mut Patient)? else { return Ok(()) };
    let hba = HbaFile::parse(Path::new("pg_hba.conf"), hba, true).0.unwrap();
    let rules = Rules { hba: Arc::new(hba), ..Rules::default() };
    let context = auth::Context {
        parameters: &parameters,
        rules: &rules,
        roles: &Alice,
        mock_nonce: &[7; 32],
        log_connections: false,
        md5_is_default: false,
    };
    if auth::authenticate(port, &context, &mut Patient)? == auth::Outcome::ClientLeft {
        return Ok(());
    }
    reply::parameter_status(port.out(), "server_version", "15.20");
    reply::ready_for_query(port.out(), TransactionStatus::Idle);
    port.flush(&mut Patient)?;
    let mut body = Vec::new();
    while port.read_message(&mut body, &mut Patient)? == Incoming::Message(b'Q') {
        let name = "current_user";
        let (table, type_oid) = (Oid::INVALID, Oid(19));
        let field = reply::Field { name, table, column: 0, type_oid, type_len: 64, typmod: -1, format: 0 };
        reply::row_description(port.out(), [field].into_iter());
        let mut row = reply::DataRow::begin(port.out(), 1);
        row.text(&parameters.user);
        row.finish();
        reply::command_complete(port.out(), "SELECT 1");
        reply::ready_for_query(port.out(), TransactionStatus::Idle);
        port.flush(&mut Patient)?;
    }
    Ok(())
}

/// The real client, with everything it can check about us.
#[test]
fn psql_gets_in() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("SKIPPED: psql is not installed");
        return;
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap();
    let certificates = Certificates::new();
    set_loaded(Some(Arc::new(certificates.files().load().unwrap())));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = certificates.0.path().display();
    let plus = "sslmode=verify-full host=localhost hostaddr=127.0.0.1 channel_binding=require";
    let with_certificate = format!("sslmode=require sslcert={dir}/client.crt sslkey={dir}/client.key");
    for (hba, options, password, expected) in [
        ("hostssl all all all scram-sha-256", plus, "geheim", Ok(())),
        ("hostssl all all all scram-sha-256", "sslmode=require channel_binding=disable", "geheim", Ok(())),
        (
            "hostssl all all all scram-sha-256",
            "sslmode=require ssl_max_protocol_version=TLSv1.2",
            "geheim",
            Ok(()),
        ),
        ("host all all all scram-sha-256", "sslmode=disable", "geheim", Ok(())),
        ("host all all all md5", "sslmode=disable", "geheim", Ok(())),
        ("host all all all password", "sslmode=disable", "geheim", Ok(())),
        ("hostssl all all all cert", &with_certificate, "", Ok(())),
        ("hostssl all all all trust clientcert=verify-full", &with_certificate, "", Ok(())),
        (
            "hostssl all all all cert",
            "sslmode=require sslcert=none",
            "",
            Err("connection requires a valid client certificate"),
        ),
        (
            "host all all all scram-sha-256",
            plus,
            "wrong",
            Err("password authentication failed for user \"alice\""),
        ),
        (
            "hostnossl all all all trust",
            "sslmode=require",
            "",
            Err(
                "no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"db\", SSL encryption",
            ),
        ),
        (
            "hostssl all all all trust",
            "sslmode=disable",
            "",
            Err(
                "no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"db\", no encryption",
            ),
        ),
    ] {
        let host = if options.contains("host=") { "" } else { "host=127.0.0.1" };
        let conninfo =
            format!("{host} port={port} user=alice dbname=db sslrootcert={dir}/root.crt {options}");
        let mut psql = Command::new("psql");
        psql.args([&conninfo, "-XAtc", "select 1"]).env("PGPASSWORD", password);
        let psql = std::thread::Builder::new().spawn(move || psql.output().unwrap()).unwrap();
        let (result, _) = captured_log(|| serve(&listener, hba));
        let output = psql.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match (result, expected) {
            (Ok(()), Ok(())) => assert_eq!(output.stdout, b"alice\n", "{hba} {options}: {said}"),
            (Err(error), Err(text)) => {
                assert_eq!(error.message, text, "{hba} {options}");
                assert!(said.contains(text), "{said}");
            }
            (result, _) => panic!("{hba} {options}: {result:?}, {said}"),
        }
    }
    set_loaded(None);
}
