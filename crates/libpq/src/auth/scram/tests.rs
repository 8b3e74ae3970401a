//! The exchange against the examples of the RFCs, PostgreSQL's mock salt, and malformed messages.

use proptest::prelude::*;

use super::*;

/// `pencil` with the salt of RFC 7677, section 3.
const OF_PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn open_channel() -> Channel {
    Channel { encrypted: false, end_point: None }
}

fn exchange_for(stored: Option<&str>) -> Exchange {
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
    Exchange::begin(b"SCRAM-SHA-256", open_channel(), "user", stored, &[0; 32], nonce).unwrap()
}

#[track_caller]
fn continued(step: Result<Step>) -> String {
    match step.unwrap() {
        Step::Continue(output) => output,
        Step::Success(_) | Step::Failure(_) => panic!("the exchange is over"),
    }
}

#[test]
fn rfc_7677_example() {
    let mut exchange = exchange_for(Some(OF_PENCIL));
    assert_eq!(continued(exchange.step(None)), "", "without an initial response the client is asked for one");
    assert_eq!(
        continued(exchange.step(Some(CLIENT_FIRST.as_bytes()))),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    match exchange.step(Some(CLIENT_FINAL.as_bytes())).unwrap() {
        Step::Success(output) => assert_eq!(output, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
        Step::Continue(_) | Step::Failure(_) => panic!("not accepted"),
    }
}

#[track_caller]
fn check_failure(stored: Option<&str>, client_final: &str, detail: Option<&str>) {
    let mut exchange = exchange_for(stored);
    continued(exchange.step(Some(CLIENT_FIRST.as_bytes())));
    match exchange.step(Some(client_final.as_bytes())).unwrap() {
        Step::Failure(found) => assert_eq!(found.as_deref(), detail),
        Step::Continue(_) | Step::Success(_) => panic!("accepted"),
    }
}

#[test]
fn failures() {
    let wrong = CLIENT_FINAL.replace("p=dH", "p=eH");
    check_failure(Some(OF_PENCIL), &wrong, None);
    check_failure(None, CLIENT_FINAL, None);
    check_failure(
        Some("md5d41d8cd98f00b204e9800998ecf8427e"),
        CLIENT_FINAL,
        Some("User \"user\" does not have a valid SCRAM secret."),
    );
}

/// What PostgreSQL 15 answered for a role that does not exist, in a cluster with this nonce in pg_control.
#[test]
fn mock_salt_is_postgresqls() {
    let nonce: Vec<u8> = (0..32)
        .map(|i| {
            let hex = "a135ee7fe26579f4c23c76c7a64a71e7beb8497ad281a9494b02380e7df23376";
            u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()
        })
        .collect();
    let verifier = mock_verifier("nobody1", &nonce.try_into().unwrap());
    assert_eq!(BASE64.encode(&verifier.salt), "65CeldE33fHuuoalO6K4Fw==");
    assert_eq!(verifier.iterations, 4096);
}

#[test]
fn channel_binding() {
    let channel = || Channel { encrypted: true, end_point: Some(b"hash".to_vec()) };
    let begin = |mechanism: &[u8]| {
        Exchange::begin(mechanism, channel(), "user", Some(OF_PENCIL), &[0; 32], "N".into()).unwrap()
    };
    let mut plus = begin(b"SCRAM-SHA-256-PLUS");
    continued(plus.step(Some(b"p=tls-server-end-point,,n=,r=abc")));
    let other = BASE64.encode(b"p=tls-server-end-point,,other");
    let message = format!("c={other},r=abcN,p={}", BASE64.encode([0; 32]));
    let error = plus.step(Some(message.as_bytes())).err().unwrap();
    assert_eq!(&*error.message, "SCRAM channel binding check failed");
    let mut plus = begin(b"SCRAM-SHA-256-PLUS");
    continued(plus.step(Some(b"p=tls-server-end-point,,n=,r=abc")));
    let right = BASE64.encode(b"p=tls-server-end-point,,hash");
    let message = format!("c={right},r=abcN,p={}", BASE64.encode([0; 32]));
    assert!(
        matches!(plus.step(Some(message.as_bytes())), Ok(Step::Failure(None))),
        "only the proof is wrong"
    );
    let error = begin(b"SCRAM-SHA-256-PLUS").step(Some(b"p=tls-unique,,n=,r=abc")).err().unwrap();
    assert_eq!(&*error.message, "unsupported SCRAM channel-binding type \"tls-unique\"");
    let error = begin(b"SCRAM-SHA-256").step(Some(b"y,,n=,r=abc")).err().unwrap();
    assert_eq!(&*error.message, "SCRAM channel binding negotiation error");
    let error = begin(b"SCRAM-SHA-256-PLUS").step(Some(b"n,,n=,r=abc")).err().unwrap();
    assert!(error.detail.as_ref().unwrap().starts_with("The client selected SCRAM-SHA-256-PLUS, but"));
    for mechanism in [&b"SCRAM-SHA-256-PLUS"[..], b"SCRAM-SHA-1", b""] {
        let begun = Exchange::begin(mechanism, open_channel(), "user", None, &[0; 32], "N".into());
        assert_eq!(begun.err().unwrap().message, "client selected an invalid SASL authentication mechanism");
    }
}

/// The answer to a first message, or with one ahead of it to a final one: `SQLSTATE message | detail`.
#[track_caller]
fn check_error(input: &str, expected: &str) {
    let mut exchange = exchange_for(Some(OF_PENCIL));
    if input.starts_with("c=") {
        continued(exchange.step(Some(b"n,,n=,r=abc")));
    }
    let error = exchange.step(Some(input.as_bytes())).err().expect("an error");
    let detail = error.detail.as_ref().map(|detail| format!(" | {detail}")).unwrap_or_default();
    assert_eq!(format!("{} {}{detail}", error.sqlstate, error.message), expected);
}

/// Texts as the real server gave them for the same bytes.
#[test]
fn malformed_messages() {
    let malformed = |detail: &str| format!("08P01 malformed SCRAM message | {detail}");
    check_error("", &malformed("The message is empty."));
    check_error("n,,n=,r=a\0bc", &malformed("Message length does not match input length."));
    check_error("x,,n=,r=abc", &malformed("Unexpected channel-binding flag \"'x'\"."));
    check_error("nx,,n=,r=abc", &malformed("Comma expected, but found character \"'x'\"."));
    check_error("n", &malformed("Comma expected, but found character \"0x00\"."));
    check_error(
        "p=tls-server-end-point,,n=,r=abc",
        &malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel \
             binding data.",
        ),
    );
    check_error("n,a=foo,n=,r=abc", "0A000 client uses authorization identity, but it is not supported");
    check_error("n,b=foo,n=,r=abc", &malformed("Unexpected attribute \"'b'\" in client-first-message."));
    check_error("n,,m=foo,n=,r=abc", "0A000 client requires an unsupported SCRAM extension");
    check_error("n,,x=,r=abc", &malformed("Expected attribute \"n\" but found \"'x'\"."));
    check_error("n,,n!,r=abc", &malformed("Expected character \"=\" for attribute \"n\"."));
    check_error("n,,n=,r=a\x01bc", "08P01 non-printable characters in SCRAM nonce");
    check_error("n,,n=,r=\u{fffd}", "08P01 non-printable characters in SCRAM nonce");
    check_error("n,,n=,r=abc,!x", &malformed("Attribute expected, but found invalid character \"'!'\"."));
    check_error("n,,n=,r=abc,xx", &malformed("Expected character \"=\" for attribute \"x\"."));
    let unexpected = "08P01 unexpected SCRAM channel-binding attribute in client-final-message";
    check_error("c=eSws,r=abc,p=xx", unexpected);
    check_error("c=biws,r=abc", &malformed("Attribute expected, but found end of string."));
    check_error("c=biws,r=abc,p=xx", &malformed("Malformed proof in client-final-message."));
    let proof = BASE64.encode([b'x'; 32]);
    check_error(
        &format!("c=biws,r=abc,p={proof},z="),
        &malformed("Garbage found at the end of client-final-message."),
    );
    check_error(&format!("c=biws,r=abc,p={proof}"), "08P01 invalid SCRAM response | Nonce does not match.");
}

proptest! {
    #[test]
    fn random_messages_never_panic(
        first in "[npy]?,?a?,?([nrm]=?[a-z]?,?){0,3}\\PC{0,5}",
        last in "c?=?(biws)?,?r?=?(abcN)?,?\\PC{0,5}(p=)?[a-zA-Z=]{0,44}",
    ) {
        let mut exchange = exchange_for(Some(OF_PENCIL));
        if exchange.step(Some(first.as_bytes())).is_ok() {
            prop_assert!(!matches!(exchange.step(Some(last.as_bytes())), Ok(Step::Success(_))));
        }
    }
}
