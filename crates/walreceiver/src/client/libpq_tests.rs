//! Against the half of authentication and TLS that this project has for its server.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use elog::Result;
use libpq::auth::{self, Context, RolePassword, RoleSource};
use libpq::hba::{HbaFile, IdentFile, Rules};
use libpq::message::reply::{self, TransactionStatus};
use libpq::startup::{Startup, process_startup_packet};
use libpq::{Direction, Port, WaitPolicy, port::Waited};
use miscinit::child::{ClientSocket, PeerAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

struct Patient;

impl WaitPolicy for Patient {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, socket: BorrowedFd<'_>, direction: Direction, _: bool) -> Result<Waited> {
        let events = match direction {
            Direction::Read => PollFlags::POLLIN,
            Direction::Write => PollFlags::POLLOUT,
        };
        let ready = poll(&mut [PollFd::new(socket, events)], PollTimeout::from(20_000_u16)).unwrap();
        assert_eq!(ready, 1, "nothing happened on the socket");
        Ok(Waited::default())
    }
}

/// One role, with the password `geheim`.
struct Roles;

impl RoleSource for Roles {
    fn find(&self, role: &str) -> Result<Option<RolePassword>> {
        if role != "rep" {
            return Ok(None);
        }
        let password =
            catalog::scram::ScramVerifier::derive(b"geheim", b"0123456789abcdef", 4096).to_string();
        Ok(Some(RolePassword { password: Some(password), valid_until: None }))
    }

    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        Ok(role == of)
    }
}

/// The server's certificate and what signed it, with the permissions that version control does not keep.
fn certificates() -> &'static Path {
    static DIR: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../libpq/tests/data/tls"));
        for name in ["root.crt", "server.crt", "server.key", "client.crt", "client.key"] {
            fs::copy(source.join(name), dir.path().join(name)).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let path = dir.path().to_owned();
        for (name, value) in [
            ("ssl_cert_file", path.join("server.crt").display().to_string()),
            ("ssl_key_file", path.join("server.key").display().to_string()),
            ("ssl_ca_file", path.join("root.crt").display().to_string()),
            ("ssl", "on".to_owned()),
        ] {
            guc::set_internal(name, &value).unwrap();
        }
        libpq::tls::load().unwrap();
        (dir, path)
    })
    .1
}

/// Serves `connections`, one after the other.
fn serve(hba: &'static str, connections: usize) -> (u16, JoinHandle<()>) {
    certificates();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread =
        std::thread::Builder::new().spawn(move || (0..connections).for_each(|_| serve_one(&listener, hba)));
    (port, thread.unwrap())
}

fn serve_one(listener: &TcpListener, hba: &str) {
    let (socket, peer) = listener.accept().unwrap();
    let mut rest = socket.try_clone().unwrap();
    let mut port = Port::new(ClientSocket { fd: socket.into(), peer: PeerAddr::Tcp(peer) });
    // A client that does not like us may leave at any point.
    let Ok(Startup::Session(parameters)) = process_startup_packet(&mut port, &mut Patient) else { return };
    let hba = HbaFile::parse(Path::new("/pg_hba.conf"), hba, true).0.unwrap();
    let ident = IdentFile::parse(Path::new("/pg_ident.conf"), "").0.unwrap();
    let rules = Rules { hba: Arc::new(hba), ident: Arc::new(ident) };
    let context = Context {
        parameters: &parameters,
        rules: &rules,
        roles: &Roles,
        mock_nonce: &[7; 32],
        log_connections: false,
        md5_is_default: false,
    };
    match auth::authenticate(&mut port, &context, &mut Patient) {
        Ok(auth::Outcome::ClientLeft) => return,
        Ok(auth::Outcome::Authenticated) => reply::ready_for_query(port.out(), TransactionStatus::Idle),
        Err(error) => port.report(&error),
    }
    let _ = port.flush(&mut Patient);
    rest.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let _ = rest.read(&mut [0; 16]);
}

fn to(port: u16, more: &str) -> Attempt<Connection> {
    let text = format!("host=127.0.0.1 port={port} user=rep {more}");
    connect::connect_with(&text, "walreceiver", &|_| None)
}

#[track_caller]
fn check(hba: &'static str, more: &str, expected: Result<bool, &str>) {
    // One that is turned away may come again the other way.
    let (port, _thread) = serve(hba, 2);
    match (to(port, more), expected) {
        (Ok(connection), Ok(encrypted)) => assert_eq!(connection.wire.tls().is_some(), encrypted, "{more}"),
        (Err(Failure::Text(text)), Err(expected)) => assert!(text.contains(expected), "{more}: {text}"),
        (Ok(_), Err(_)) => panic!("{more}: connected"),
        (Err(failure), _) => panic!("{more}: {failure:?}"),
    }
}

const SCRAM: &str = "host all all all scram-sha-256\nhost replication all all scram-sha-256\n";
const PLAIN_ONLY: &str = "hostnossl replication all all trust\n";
const ENCRYPTED_ONLY: &str = "hostssl replication all all trust\n";

#[test]
fn scram_in_the_clear_and_bound_to_the_connection() {
    check(SCRAM, "password=geheim sslmode=disable", Ok(false));
    check(SCRAM, "password=geheim sslmode=require", Ok(true));
    check(SCRAM, "password=geheim sslmode=require channel_binding=require", Ok(true));
    check(SCRAM, "password=geheim sslmode=require channel_binding=disable", Ok(true));
    check(
        SCRAM,
        "password=wrong sslmode=disable",
        Err("FATAL:  password authentication failed for user \"rep\""),
    );
    check(
        SCRAM,
        "password=wrong sslmode=require",
        Err("FATAL:  password authentication failed for user \"rep\""),
    );
    check(SCRAM, "sslmode=require", Err("fe_sendauth: no password supplied"));
    check(
        SCRAM,
        "password=geheim sslmode=disable channel_binding=require",
        Err("channel binding required, but SSL not in use"),
    );
}

#[test]
fn a_server_that_wants_it_the_other_way() {
    check(PLAIN_ONLY, "sslmode=prefer", Ok(false));
    check(ENCRYPTED_ONLY, "sslmode=allow", Ok(true));
    check(ENCRYPTED_ONLY, "sslmode=prefer", Ok(true));
    check(PLAIN_ONLY, "sslmode=require", Err("no pg_hba.conf entry for replication connection"));
    check(ENCRYPTED_ONLY, "sslmode=disable", Err("no pg_hba.conf entry for replication connection"));
}

#[test]
fn certificates_are_checked() {
    let dir = certificates().display();
    let check = |more: &str, expected| check(ENCRYPTED_ONLY, more, expected);
    check(&format!("sslmode=verify-ca sslrootcert={dir}/root.crt"), Ok(true));
    check(&format!("sslmode=verify-full sslrootcert={dir}/root.crt"), Ok(true));
    check(
        &format!("sslmode=verify-full sslrootcert={dir}/root.crt host=localhost hostaddr=127.0.0.1"),
        Ok(true),
    );
    check(
        &format!("sslmode=verify-full sslrootcert={dir}/root.crt host=elsewhere hostaddr=127.0.0.1"),
        Err("does not match host name \"elsewhere\""),
    );
    check(
        &format!("sslmode=verify-ca sslrootcert={dir}/root.crt host=elsewhere hostaddr=127.0.0.1"),
        Ok(true),
    );
    // Signed by nobody we know; with a list of roots at hand, `require` looks, too.
    check(&format!("sslmode=verify-ca sslrootcert={dir}/client.crt"), Err("certificate verify failed"));
    check(&format!("sslmode=require sslrootcert={dir}/client.crt"), Err("certificate verify failed"));
    check(&format!("sslmode=verify-ca sslrootcert={dir}/server.crt"), Ok(true));
    check(
        &format!("sslmode=verify-ca sslrootcert={dir}/none.crt"),
        Err(
            "none.crt\" does not exist\nEither provide the file or change sslmode to disable server certificate",
        ),
    );
    check(
        &format!("sslmode=require sslcert={dir}/client.crt sslkey={dir}/none.key"),
        Err("certificate present, but not private key file"),
    );
    check(&format!("sslmode=require sslcert={dir}/client.crt sslkey={dir}/client.key"), Ok(true));
    check("sslmode=require ssl_max_protocol_version=TLSv1.2", Ok(true));
    check("sslmode=require ssl_min_protocol_version=TLSv1.3", Ok(true));
}
