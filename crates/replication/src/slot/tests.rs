//! The format on disk: a file that PostgreSQL 15 wrote, and files that nobody wrote like that.

use common::{Lsn, Oid, Xid};

use super::state_file::{SIZE, decode, encode};
use super::{Data, Name, Persistency, validate_name};

/// `pg_create_physical_replication_slot('beta', true)` on PostgreSQL 15.
const REAL: &[u8] = include_bytes!("testdata/beta.state");

#[test]
fn what_postgresql_wrote() {
    let data = decode(REAL, "pg_replslot/beta/state").unwrap();
    let expected = Data { name: Name::new("beta"), restart_lsn: Lsn(0x151_1A88), ..Data::EMPTY };
    assert_eq!(data, expected);
    assert_eq!(encode(&data).as_slice(), REAL);
}

#[test]
fn all_fields_survive() {
    let data = Data {
        name: Name::new("s_1"),
        database: Oid(5),
        persistency: Persistency::Ephemeral,
        xmin: Xid(700),
        catalog_xmin: Xid(701),
        restart_lsn: Lsn(0x1_2345_6789),
        invalidated_at: Lsn(3),
        confirmed_flush: Lsn(4),
        two_phase_at: Lsn(5),
        two_phase: true,
        plugin: Name::new("test_decoding"),
    };
    assert_eq!(decode(&encode(&data), "x").unwrap(), data);
}

#[test]
fn damage_is_told_apart() {
    let damaged = |at: usize, byte: u8| {
        let mut bytes = REAL.to_vec();
        bytes[at] = byte;
        decode(&bytes, "s").unwrap_err().message.to_string()
    };
    assert_eq!(
        damaged(0, 0),
        "replication slot file \"s\" has wrong magic number: 17112064 instead of 17112225"
    );
    assert_eq!(damaged(8, 3), "replication slot file \"s\" has unsupported version 3");
    assert_eq!(damaged(12, 0), "replication slot file \"s\" has corrupted length 0");
    assert!(damaged(96, 0).starts_with("checksum mismatch for replication slot file \"s\": is "));
    for (len, text) in
        [(10, "could not read file \"s\": read 10 of 16"), (100, "could not read file \"s\": read 84 of 184")]
    {
        assert_eq!(&*decode(&REAL[..len], "s").unwrap_err().message, text);
    }
    assert_eq!(REAL.len(), SIZE);
}

#[test]
fn names() {
    for (name, text) in [
        ("", "replication slot name \"\" is too short"),
        ("Upper", "replication slot name \"Upper\" contains invalid character"),
        ("a-b", "replication slot name \"a-b\" contains invalid character"),
    ] {
        assert_eq!(&*validate_name(name).unwrap_err().message, text);
    }
    let long = "x".repeat(64);
    assert!(validate_name(&long).unwrap_err().message.ends_with("is too long"));
    validate_name(&long[1..]).unwrap();
    validate_name("node_7").unwrap();
}
