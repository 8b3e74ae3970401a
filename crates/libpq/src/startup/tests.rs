//! Start-up packets over a socket pair: whole, malformed, cut short, and random.

use proptest::prelude::*;

use super::*;
use crate::testing::{Patient, captured_log, port_pair};

/// What a connection that sends `bytes` and then closes comes to, and what is left for the client.
fn run(bytes: &[u8]) -> (Result<Startup>, Vec<u8>) {
    let (mut port, mut client) = port_pair();
    client.send(bytes);
    client.close_write();
    let result = process_startup_packet(&mut port, &mut Patient);
    if let Err(error) = &result {
        port.report(error);
        port.flush(&mut Patient).unwrap();
    }
    drop(port);
    (result, client.receive_all())
}

fn packet(version: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = (body.len() as u32 + 8).to_be_bytes().to_vec();
    packet.extend(version.to_be_bytes());
    packet.extend(body);
    packet
}

#[track_caller]
fn check_fatal(bytes: &[u8], sqlstate: &str, message: &str) {
    let error = run(bytes).0.unwrap_err();
    assert_eq!((error.sqlstate.as_str(), &*error.message), (sqlstate, message));
    assert_eq!(error.severity, elog::Severity::Fatal);
}

#[track_caller]
fn session(body: &[u8]) -> StartupParameters {
    match run(&packet(PROTOCOL_LATEST, body)).0.unwrap() {
        Startup::Session(parameters) => parameters,
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters() {
    let all = session(
        b"user\0alice\0database\0db\0options\0-c a=b\0application_name\0ps\xc3\xa9l\0DateStyle\0ISO\0\0",
    );
    assert_eq!(all.user, "alice");
    assert_eq!(all.database, "db");
    assert_eq!(all.options.as_deref(), Some("-c a=b"));
    assert_eq!(all.application_name.as_deref(), Some("ps??l"));
    let settings = [("application_name", "psél"), ("DateStyle", "ISO")];
    assert_eq!(all.settings, settings.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(session(b"user\0alice\0\0").database, "alice");
    let long = session(format!("user\0{}\0\0", "x".repeat(100)).as_bytes());
    assert_eq!((long.user.len(), long.database.len()), (63, 63));
}

#[test]
fn replication() {
    let of = |value: &str| session(format!("user\0u\0replication\0{value}\0\0").as_bytes());
    assert_eq!((of("true").replication, of("true").database), (Replication::Physical, String::new()));
    assert_eq!((of("database").replication, of("database").database), (Replication::Logical, "u".to_owned()));
    for (value, expected) in [("off", Replication::No), ("0", Replication::No), ("T", Replication::Physical)]
    {
        assert_eq!(of(value).replication, expected);
    }
    check_fatal(
        &packet(PROTOCOL_LATEST, b"user\0u\0replication\0maybe\0\0"),
        "22023",
        "invalid value for parameter \"replication\": \"maybe\"",
    );
}

#[test]
fn fatal_answers() {
    let layout = "invalid startup packet layout: expected terminator as last byte";
    for body in [&b""[..], b"user\0a\0", b"user\0a\0\0\0", b"user\0", b"user", b"user\0a"] {
        check_fatal(&packet(PROTOCOL_LATEST, body), "08P01", layout);
    }
    let version =
        |major, minor| format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
    check_fatal(&packet(2 << 16, b""), "0A000", &version(2, 0));
    check_fatal(&packet(4 << 16 | 7, b"\0"), "0A000", &version(4, 7));
    check_fatal(
        &packet(PROTOCOL_LATEST, b"\0"),
        "28000",
        "no PostgreSQL user name specified in startup packet",
    );
    let mut twice = packet(SSL_REQUEST, b"");
    twice.extend(packet(SSL_REQUEST, b""));
    check_fatal(&twice, "08P01", "received unencrypted data after SSL request");
    let mut gss = packet(GSS_ENC_REQUEST, b"");
    gss.extend(b"junk");
    check_fatal(&gss, "08P01", "received unencrypted data after GSSAPI encryption request");
}

#[test]
fn an_old_client_gets_a_line_of_text() {
    let (_, sent) = run(&packet(2 << 16, b""));
    assert_eq!(sent, b"EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.0\n\0");
}

#[test]
fn newer_minor_versions_and_unknown_options_are_negotiated() {
    let (result, _) = run(&packet(3 << 16 | 9, b"user\0u\0_pq_.foo\0bar\0_pq_.x\0y\0\0"));
    assert!(matches!(result, Ok(Startup::Session(_))));
    let (mut port, mut client) = port_pair();
    client.send(&packet(3 << 16 | 9, b"user\0u\0_pq_.foo\0bar\0_pq_.x\0y\0\0"));
    process_startup_packet(&mut port, &mut Patient).unwrap();
    assert_eq!(port.out()[..], *b"v\0\0\0\x1c\0\x03\0\0\0\0\0\x02_pq_.foo\0_pq_.x\0");
}

#[test]
fn requests_are_answered_and_another_packet_follows() {
    let (mut port, mut client) = port_pair();
    let script = std::thread::Builder::new().spawn(move || {
        client.send(&packet(GSS_ENC_REQUEST, b""));
        assert_eq!(client.receive(1), b"N");
        client.send(&packet(SSL_REQUEST, b""));
        assert_eq!(client.receive(1), b"N");
        client.send(&packet(PROTOCOL_LATEST, b"user\0u\0\0"));
        client
    });
    let result = process_startup_packet(&mut port, &mut Patient).unwrap();
    assert!(matches!(result, Startup::Session(p) if p.user == "u"));
    script.unwrap().join().unwrap();
}

#[test]
fn cancel_requests() {
    let (result, _) = run(&packet(CANCEL_REQUEST, b"\0\0\x01\0\xff\xff\xff\xfe"));
    assert!(matches!(result, Ok(Startup::Cancel { pid: 256, cancel_key: -2 })));
    for body in [&b""[..], b"\0\0\0\x01\0\0\0", b"\0\0\0\x01\0\0\0\x02x"] {
        let ((result, _), log) = captured_log(|| run(&packet(CANCEL_REQUEST, body)));
        assert!(matches!(result, Ok(Startup::Closed)));
        assert_eq!(log, ["invalid length of startup packet"]);
    }
}

#[test]
fn what_only_the_log_learns() {
    for (bytes, expected) in [
        (&b""[..], None),
        (b"\0\0", Some("incomplete startup packet")),
        (b"\0\0\0\x09\0\x03\0\0", Some("incomplete startup packet")),
        (b"\0\0\0\0", Some("invalid length of startup packet")),
        (b"\0\0\0\x07abc", Some("invalid length of startup packet")),
        (b"\0\0\x27\x15", Some("invalid length of startup packet")),
        (b"\xff\xff\xff\xff", Some("invalid length of startup packet")),
        (b"GET / HTTP/1.1\r\n\r\n", Some("invalid length of startup packet")),
    ] {
        let ((result, sent), log) = captured_log(|| run(bytes));
        assert!(matches!(result, Ok(Startup::Closed)), "{bytes:?}");
        assert_eq!(log, Vec::from_iter(expected), "{bytes:?}");
        assert_eq!(sent, b"");
    }
}

#[test]
fn options_are_split() {
    for (options, expected) in [
        ("", &[][..]),
        ("  ", &[]),
        ("-c a=b --x=y", &["-c", "a=b", "--x=y"]),
        (r"-c a=b\ c \\ x\", &["-c", "a=b c", "\\", "x"]),
    ] {
        assert_eq!(split_options(options), expected, "{options:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_packets_end(version in prop_oneof![Just(PROTOCOL_LATEST), any::<u32>()], body: Vec<u8>) {
        let _ = run(&packet(version, &body));
    }

    #[test]
    fn random_bytes_end(bytes: Vec<u8>) {
        let _ = run(&bytes);
    }
}
