//! Values to stored bytes and back, and the bytes against PostgreSQL's.

use super::*;
use crate::io;

/// From text to stored bytes and back gives the same text; returns the bytes.
#[track_caller]
fn round_trip(ty: &str, text: &str) -> Vec<u8> {
    let ty = crate::type_by_name(ty).unwrap();
    let form = Form::of(ty).unwrap();
    let value = io::input(ty, -1, text).unwrap();
    let mut bytes = Vec::new();
    form.write(&value, &mut bytes).unwrap();
    let read = form.read(&bytes).unwrap();
    let mut shown = String::new();
    io::output(&read, ty, &mut shown);
    let mut expected = String::new();
    io::output(&value, ty, &mut expected);
    assert_eq!(shown, expected);
    bytes
}

#[track_caller]
fn check(ty: &str, text: &str, hex: &str) {
    let shown: String = round_trip(ty, text).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(shown, hex, "{ty} {text}");
}

#[test]
fn fixed_types() {
    check("bool", "t", "01");
    check("int2", "-2", "feff");
    check("int4", "258", "02010000");
    check("int8", "1", "0100000000000000");
    check("float8", "1.5", "000000000000f83f");
    check("tid", "(65538,3)", "010002000300");
    check("pg_lsn", "1/2", "0200000001000000");
    check("interval", "1 mon 2 days 00:00:00.000003", "03000000000000000200000001000000");
    check("date", "2000-01-02", "01000000");
    assert_eq!(round_trip("name", "abc").len(), 64);
    round_trip("timetz", "12:00:00+02");
    round_trip("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
}

/// The bytes are those of PostgreSQL 15's pages.
#[test]
fn numerics() {
    check("numeric", "0", "0080");
    check("numeric", "1", "00800100");
    check("numeric", "-1", "00a00100");
    check("numeric", "12345678.90", "0181d2042e162823");
    check("numeric", "0.0001", "7f820100");
    check("numeric", "NaN", "00c0");
    check("numeric", "Infinity", "00d0");
    check("numeric", "-Infinity", "00f0");
    for text in ["1e200", "1e-200", "-123456789012345678901234567890.123456789", "10000", "0.10", "99999999"]
    {
        round_trip("numeric", text);
    }
    // Scale beyond the short form.
    assert_eq!(&round_trip("numeric", &format!("0.{}1", "0".repeat(70)))[..2], &71u16.to_le_bytes());
}

#[test]
fn arrays() {
    check(
        "int4[]",
        "{1,2}",
        &["01000000", "00000000", "17000000", "02000000", "01000000", "01000000", "02000000"].concat(),
    );
    check("int4[]", "{}", &["00000000", "00000000", "17000000"].concat());
    // With a bitmap the data's offset is given, from the length word on.
    let header = ["01000000", "20000000", "17000000", "03000000", "01000000"].concat();
    check("int4[]", "{1,NULL,3}", &[&header, "0500000000000000", "01000000", "03000000"].concat());
    let header = ["01000000", "20000000", "19000000", "04000000", "01000000"].concat();
    let elements = ["1400000061000000", "1c00000062206300", "10000000"].concat();
    check("text[]", r#"{a,"b c",NULL,""}"#, &[&header, "0b00000000000000", &elements].concat());
    for text in ["{{a,b},{c,d}}", "[0:1]={x,y}"] {
        round_trip("text[]", text);
    }
    round_trip("numeric[]", "{1.5,NULL,-2}");
    round_trip("int8[]", "{1,2,3}");
    round_trip("oidvector", "1 2 3");
    round_trip("bool[]", "{t,f,NULL}");
}

#[test]
fn garbage_is_an_error() {
    for form in [
        Form::Int4,
        Form::Numeric,
        Form::Inet,
        Form::Array(oid::INT4),
        Form::Array(oid::TEXT),
        Form::Interval,
    ] {
        for bytes in [&b""[..], &[1], &[0xFF; 3], &[0xFF; 40], &[1; 30]] {
            let _ = form.read(bytes);
        }
    }
    assert!(Form::Text.read(&[0xFF]).is_err());
    assert!(Form::of(oid::VOID).is_none() && Form::of(oid::JSONB).is_none());
}
