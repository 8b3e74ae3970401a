//! Whole authentications over a socket pair, with a small client in a thread.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use catalog::scram::{ScramVerifier, hmac_sha256, salted_password};
use miscinit::child::PeerAddr;
use sha2::{Digest, Sha256};

use super::*;
use crate::hba::{HbaFile, IdentFile};
use crate::testing::{Client, Patient, captured_log, port_pair_from};

#[derive(Default)]
struct Roles(HashMap<String, RolePassword>);

impl Roles {
    /// alice has a SCRAM verifier of `geheim`, bob an md5 hash of it, carol none, dave an expired one.
    fn usual() -> Roles {
        let of = |password: Option<&str>, valid_until: Option<&str>| RolePassword {
            password: password.map(str::to_owned),
            valid_until: valid_until.map(str::to_owned),
        };
        let verifier = ScramVerifier::derive(b"geheim", b"0123456789abcdef", 4096).to_string();
        Roles(HashMap::from([
            ("alice".to_owned(), of(Some(&verifier), None)),
            ("bob".to_owned(), of(Some(&format!("md5{}", md5_hex(b"geheimbob"))), None)),
            ("carol".to_owned(), of(None, None)),
            ("dave".to_owned(), of(Some(&verifier), Some("2001-01-01 00:00:00+00"))),
        ]))
    }
}

fn md5_hex(bytes: &[u8]) -> String {
    md5::Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl RoleSource for Roles {
    fn find(&self, role: &str) -> Result<Option<RolePassword>> {
        Ok(self.0.get(role).cloned())
    }
    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        Ok(role == of)
    }
}

const TCP: PeerAddr =
    PeerAddr::Tcp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5555));

/// Authenticates `user` against these files while `client` plays the other side.
fn run<T: Send + 'static>(
    peer: PeerAddr,
    (hba, ident): (&str, &str),
    user: &str,
    client: impl FnOnce(Client) -> T + Send + 'static,
) -> (Result<Outcome>, Vec<String>, T, Port) {
    let (mut port, other) = port_pair_from(peer);
    let (hba, complaints) = HbaFile::parse(Path::new("/data/pg_hba.conf"), hba, true);
    assert!(hba.is_some(), "{complaints:?}");
    let ident = IdentFile::parse(Path::new("/data/pg_ident.conf"), ident).0;
    let rules = Rules { hba: Arc::new(hba.unwrap()), ident: Arc::new(ident.unwrap()) };
    let parameters = StartupParameters {
        user: user.to_owned(),
        database: "db".to_owned(),
        ..StartupParameters::default()
    };
    let context = Context {
        parameters: &parameters,
        rules: &rules,
        roles: &Roles::usual(),
        mock_nonce: &[7; 32],
        log_connections: true,
        md5_is_default: false,
    };
    let other = std::thread::Builder::new().spawn(move || client(other)).unwrap();
    let (result, log) = captured_log(|| authenticate(&mut port, &context, &mut Patient));
    if let Err(error) = &result {
        port.report(error);
    }
    // Some of these clients have left by now.
    let (_, _) = captured_log(|| port.flush(&mut Patient));
    (result, log, other.join().unwrap(), port)
}

/// A client that says nothing.
fn silent(_: Client) {}

#[track_caller]
fn check_refused(result: Result<Outcome>, sqlstate: &str, message: &str, detail_log: Option<&str>) {
    let error = result.unwrap_err();
    assert_eq!((error.sqlstate.as_str(), &*error.message), (sqlstate, message));
    assert_eq!(error.severity, elog::Severity::Fatal);
    assert_eq!(error.detail, None, "what the client must not learn is for the log");
    assert_eq!(error.detail_log.as_deref(), detail_log);
}

#[test]
fn trust_and_reject() {
    let (result, _, (), mut port) = run(PeerAddr::Unix, ("local all all trust", ""), "alice", silent);
    assert_eq!(result.unwrap(), Outcome::Authenticated);
    assert_eq!(port.authn_id, None, "nobody proved anything");
    assert_eq!(port.hba.as_ref().unwrap().number, 1);
    assert!(port.out().is_empty());
    let (result, ..) = run(TCP, ("host all all all reject", ""), "alice", silent);
    check_refused(
        result,
        "28000",
        "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"alice\", database \"db\", no encryption",
        None,
    );
    let (result, ..) = run(TCP, ("local all all trust", ""), "alice", silent);
    check_refused(
        result,
        "28000",
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"db\", no encryption",
        None,
    );
    let (result, ..) = run(PeerAddr::Unix, ("host all all all trust", ""), "alice", silent);
    let text = "no pg_hba.conf entry for host \"[local]\", user \"alice\", database \"db\", no encryption";
    check_refused(result, "28000", text, None);
}

#[test]
fn peer() {
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    let (result, log, (), port) = run(PeerAddr::Unix, ("local all all peer", ""), &me, silent);
    assert_eq!(result.unwrap(), Outcome::Authenticated);
    assert_eq!(port.authn_id.as_ref(), Some(&me));
    let authenticated =
        format!("connection authenticated: identity=\"{me}\" method=peer (/data/pg_hba.conf:1)");
    assert_eq!(log, [&*authenticated]);
    let files = ("# who\nlocal all all peer map=m", &*format!("m {me} boss"));
    let (result, ..) = run(PeerAddr::Unix, files, "boss", silent);
    assert_eq!(result.unwrap(), Outcome::Authenticated);
    let (result, log, ..) = run(PeerAddr::Unix, files, "alice", silent);
    let no_match = format!("no match in usermap \"m\" for user \"alice\" authenticated as \"{me}\"");
    assert_eq!(log[1], no_match);
    check_refused(
        result,
        "28000",
        "Peer authentication failed for user \"alice\"",
        Some("Connection matched pg_hba.conf line 2: \"local all all peer map=m\""),
    );
}

/// Answers a request for a password.
fn answering(kind: u8, password: &'static [u8]) -> impl FnOnce(Client) -> u32 + Send {
    move |mut client| {
        let (message, body) = client.receive_message();
        assert_eq!(message, b'R');
        client.send_message(kind, password);
        u32::from_be_bytes(body[..4].try_into().unwrap())
    }
}

const PASSWORD: (&str, &str) = ("host all all all password", "");
const MATCHED: &str = "Connection matched pg_hba.conf line 1: \"host all all all password\"";

#[test]
fn cleartext_passwords() {
    for user in ["alice", "bob"] {
        let (result, _, request, port) = run(TCP, PASSWORD, user, answering(b'p', b"geheim\0"));
        assert_eq!((result.unwrap(), request), (Outcome::Authenticated, 3));
        assert_eq!(port.authn_id.as_deref(), Some(user));
    }
    for (user, reason) in [
        ("alice", "Password does not match for user \"alice\"."),
        ("bob", "Password does not match for user \"bob\"."),
        ("carol", "User \"carol\" has no password assigned."),
        ("dave", "User \"dave\" has an expired password."),
        ("eve", "Role \"eve\" does not exist."),
    ] {
        let (result, ..) = run(TCP, PASSWORD, user, answering(b'p', b"wrong\0"));
        let text = format!("password authentication failed for user \"{user}\"");
        check_refused(result, "28P01", &text, Some(&format!("{reason}\n{MATCHED}")));
    }
}

#[test]
fn malformed_passwords() {
    for (kind, body, sqlstate, text) in [
        (b'p', &b"\0"[..], "28P01", "empty password returned by client"),
        (b'p', b"", "08P01", "invalid password packet size"),
        (b'p', b"a\0b\0", "08P01", "invalid password packet size"),
        (b'p', b"ab", "08P01", "invalid password packet size"),
        (b'Q', b"select 1\0", "08P01", "expected password response, got message type 81"),
    ] {
        let (result, ..) = run(TCP, PASSWORD, "alice", answering(kind, body));
        check_refused(result, sqlstate, text, None);
    }
    let (result, log, ..) = run(TCP, PASSWORD, "alice", |mut client: Client| drop(client.receive_message()));
    assert_eq!(result.unwrap(), Outcome::ClientLeft);
    assert_eq!(log, [""; 0]);
}

#[test]
fn md5_passwords() {
    let client = |password: &'static str| {
        move |mut client: Client| {
            let (_, body) = client.receive_message();
            assert_eq!(body[..4], [0, 0, 0, 5]);
            let inner = md5_hex(format!("{password}bob").as_bytes());
            let outer = md5_hex(&[inner.as_bytes(), &body[4..]].concat());
            client.send_message(b'p', format!("md5{outer}\0").as_bytes());
        }
    };
    let files = ("host all all all md5", "");
    let (result, ..) = run(TCP, files, "bob", client("geheim"));
    assert_eq!(result.unwrap(), Outcome::Authenticated);
    let (result, ..) = run(TCP, files, "bob", client("wrong"));
    let detail = "Password does not match for user \"bob\".\n\
                  Connection matched pg_hba.conf line 1: \"host all all all md5\"";
    check_refused(result, "28P01", "password authentication failed for user \"bob\"", Some(detail));
    let (result, ..) = run(TCP, files, "alice", scram_client("geheim"));
    assert_eq!(result.unwrap(), Outcome::Authenticated, "a SCRAM verifier is used as such");
}

/// The client's side of SCRAM-SHA-256. Returns the server's last message.
fn scram_client(password: &'static str) -> impl FnOnce(Client) -> Option<String> + Send {
    move |mut client| {
        let (_, body) = client.receive_message();
        assert_eq!(body, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let first_bare = "n=,r=clientnonce";
        let first = format!("n,,{first_bare}");
        let mut message = b"SCRAM-SHA-256\0".to_vec();
        message.extend((first.len() as u32).to_be_bytes());
        message.extend(first.as_bytes());
        client.send_message(b'p', &message);
        let (_, body) = client.receive_message();
        assert_eq!(body[..4], [0, 0, 0, 11]);
        let server_first = String::from_utf8(body[4..].to_vec()).unwrap();
        let attribute = |text: &str, name: &str| {
            text.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned()
        };
        let nonce = attribute(&server_first, "r=");
        let salt = BASE64.decode(attribute(&server_first, "s=")).unwrap();
        let salted =
            salted_password(password.as_bytes(), &salt, attribute(&server_first, "i=").parse().unwrap());
        let client_key = hmac_sha256(&salted, &[b"Client Key"]);
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{first_bare},{server_first},{without_proof}");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let signature = hmac_sha256(&stored_key, &[auth_message.as_bytes()]);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
        client.send_message(b'p', format!("{without_proof},p={}", BASE64.encode(proof)).as_bytes());
        let (kind, body) = client.receive_message();
        if kind == b'E' {
            return None;
        }
        assert_eq!((kind, &body[..4]), (b'R', &[0, 0, 0, 12][..]));
        let server_key = hmac_sha256(&salted, &[b"Server Key"]);
        let expected = BASE64.encode(hmac_sha256(&server_key, &[auth_message.as_bytes()]));
        assert_eq!(&body[4..], format!("v={expected}").as_bytes(), "the server proves itself, too");
        let (ok, body) = client.receive_message();
        assert_eq!((ok, &body[..]), (b'R', &[0; 4][..]));
        Some(server_first)
    }
}

const SCRAM: (&str, &str) = ("host all all all scram-sha-256", "");

#[test]
fn scram() {
    let (result, log, reply, port) = run(TCP, SCRAM, "alice", scram_client("geheim"));
    assert_eq!(result.unwrap(), Outcome::Authenticated);
    assert!(reply.is_some());
    assert_eq!(port.authn_id.as_deref(), Some("alice"));
    let said = "connection authenticated: identity=\"alice\" method=scram-sha-256 (/data/pg_hba.conf:1)";
    assert_eq!(log, [said]);
}

#[test]
fn scram_failures_look_alike() {
    let matched = "Connection matched pg_hba.conf line 1: \"host all all all scram-sha-256\"";
    for (user, reason) in [
        ("alice", None),
        ("bob", Some("User \"bob\" does not have a valid SCRAM secret.")),
        ("carol", Some("User \"carol\" has no password assigned.")),
        ("dave", Some("User \"dave\" has an expired password.")),
        ("eve", Some("Role \"eve\" does not exist.")),
    ] {
        let (result, _, reply, _) = run(TCP, SCRAM, user, scram_client("wrong"));
        assert_eq!(reply, None);
        let detail = reason.map_or(matched.to_owned(), |reason| format!("{reason}\n{matched}"));
        let text = format!("password authentication failed for user \"{user}\"");
        check_refused(result, "28P01", &text, Some(&detail));
    }
}

#[test]
fn a_broken_sasl_exchange() {
    let (result, ..) = run(TCP, SCRAM, "alice", answering(b'Q', b"x\0"));
    check_refused(result, "08P01", "expected SASL response, got message type 81", None);
    let (result, ..) = run(TCP, SCRAM, "alice", answering(b'p', b"SCRAM-SHA-256\0\0\0\x02\0abc"));
    check_refused(result, "08P01", "insufficient data left in message", None);
    // The mechanism is looked at before the rest.
    let (result, ..) = run(TCP, SCRAM, "alice", answering(b'p', b"ab\0\0"));
    check_refused(result, "08P01", "client selected an invalid SASL authentication mechanism", None);
    let (result, ..) = run(TCP, SCRAM, "alice", answering(b'p', b"ab"));
    check_refused(result, "08P01", "invalid string in message", None);
    let (result, log, ..) = run(TCP, SCRAM, "alice", |mut client: Client| {
        client.receive_message();
        client.send(b"p\0\0\x08\x08");
        client
    });
    let detail = "Connection matched pg_hba.conf line 1: \"host all all all scram-sha-256\"";
    check_refused(result, "28P01", "password authentication failed for user \"alice\"", Some(detail));
    assert_eq!(log, ["invalid message length"]);
}
