//! Rows as PostgreSQL 15 forms them; the bytes are from its pages.

use std::rc::Rc;

use types::store::Form;
use types::{Datum, Interval, Numeric, oid};

use super::*;
use crate::deform::Place;
use crate::desc::{Attribute, TupleDesc};
use crate::header::infomask;

/// `create table g(a int2, b int4, c int8, d text, e bool, f float8, n name, num numeric, u uuid, by bytea,
/// ts timestamp, dt date, arr int4[], ch "char", iv interval)`
fn desc() -> TupleDesc {
    let types = [
        oid::INT2,
        oid::INT4,
        oid::INT8,
        oid::TEXT,
        oid::BOOL,
        oid::FLOAT8,
        oid::NAME,
        oid::NUMERIC,
        oid::UUID,
        oid::BYTEA,
        oid::TIMESTAMP,
        oid::DATE,
        oid::_INT4,
        oid::CHAR,
        oid::INTERVAL,
    ];
    TupleDesc::new(types.iter().zip(1..).map(|(t, n)| Attribute::new("c", n, *t, -1)).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[track_caller]
fn check(values: &[Datum], len: usize, mask: u16, hoff: usize, data: &str) {
    let desc = desc();
    let tuple = form_tuple(&desc, values).unwrap();
    let h = tuple.header();
    assert_eq!(hex(&tuple.bytes()[h.hoff()..]), data);
    assert_eq!((tuple.len(), h.natts(), h.hoff()), (len, 15, hoff));
    // 2048 is XMAX_INVALID, which inserting adds.
    assert_eq!(h.infomask() | infomask::XMAX_INVALID, mask);

    let mut back = Vec::new();
    tuple.view().deform(&desc, 15, &mut back).unwrap();
    let text = |values: &[Datum]| format!("{values:?}");
    assert_eq!(text(&back), text(values));
    for (i, value) in values.iter().enumerate() {
        let one = tuple.view().attr(&desc, i as i16 + 1).unwrap();
        assert_eq!(format!("{one:?}"), format!("{value:?}"), "column {i}");
    }
    // Taking it apart in two steps is the same.
    let mut steps = Vec::new();
    let mut places = Vec::new();
    tuple.view().places(&desc, 15, &mut places).unwrap();
    for (i, (place, value)) in places.iter().zip(values).enumerate() {
        let read = match place {
            Place::Bytes(range) => {
                Form::of(desc.attrs[i].type_id).unwrap().read(&tuple.bytes()[range.clone()]).unwrap()
            }
            Place::Null | Place::Missing => Datum::Null,
        };
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "column {i}");
    }
    let mut deformer = crate::Deformer::default();
    deformer.deform(&desc, tuple.view(), 6, &mut steps).unwrap();
    deformer.deform(&desc, tuple.view(), 15, &mut steps).unwrap();
    assert_eq!(text(&steps), text(values));
}

fn nulls() -> Vec<Datum> {
    vec![Datum::Null; 15]
}

#[test]
fn a_row_of_all_kinds() {
    let uuid =
        [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
    let values = [
        Datum::Int2(1),
        Datum::Int4(2),
        Datum::Int8(3),
        Datum::text("hello"),
        Datum::Bool(true),
        Datum::Float8(1.5),
        Datum::text("nm"),
        Datum::numeric(Numeric::new(1250, 2)),
        Datum::Uuid(uuid),
        Datum::bytea([1, 2]),
        Datum::Timestamp(631_152_000_000_000),
        Datum::Date(7306),
        Datum::array(oid::INT4, vec![Datum::Int4(1), Datum::Int4(2), Datum::Int4(3)]),
        Datum::Char(b'x'),
        Datum::Interval(Interval { months: 1, days: 2, usecs: 3_000_000 }),
    ];
    check(&values, 216, 2050, 24, ROW);
}

/// With a short header: 126 bytes of text, and NULLs.
#[test]
fn a_row_with_nulls() {
    let mut values = nulls();
    values[0] = Datum::Int2(1);
    values[2] = Datum::Int8(3);
    values[3] = Datum::Text(Rc::from("y".repeat(126)));
    values[5] = Datum::Float8(1.5);
    values[7] = Datum::numeric(Numeric::new(-1, 0));
    let data = format!("01000000000000000300000000000000ff{}00000000000000f83f0b00a00100", "79".repeat(126));
    check(&values, 189, 2051, 32, &data);
}

/// 127 bytes need the long header, at a multiple of four.
#[test]
fn a_row_with_a_long_value() {
    let mut values = nulls();
    values[0] = Datum::Int2(1);
    values[2] = Datum::Int8(3);
    values[3] = Datum::Text(Rc::from("y".repeat(127)));
    values[4] = Datum::Bool(true);
    let data = format!("010000000000000003000000000000000c020000{}01", "79".repeat(127));
    check(&values, 180, 2051, 32, &data);
}

#[test]
fn columns_added_later_have_their_missing_value() {
    let old = TupleDesc::new(vec![Attribute::new("a", 1, oid::INT4, -1)]);
    let mut added = Attribute::new("b", 2, oid::INT4, -1);
    added.missing = Some(Datum::Int4(7));
    let new = TupleDesc::new(vec![
        Attribute::new("a", 1, oid::INT4, -1),
        added,
        Attribute::new("c", 3, oid::INT4, -1),
    ]);
    let tuple = form_tuple(&old, &[Datum::Int4(1)]).unwrap();
    let mut values = Vec::new();
    tuple.view().deform(&new, 3, &mut values).unwrap();
    assert!(matches!(values[..], [Datum::Int4(1), Datum::Int4(7), Datum::Null]), "{values:?}");
}

#[test]
fn a_row_cut_short_is_an_error() {
    let desc = desc();
    let mut values = nulls();
    values[3] = Datum::text("hello");
    let tuple = form_tuple(&desc, &values).unwrap();
    let mut out = Vec::new();
    for len in 32..tuple.len() {
        let cut = TupleView { bytes: &tuple.bytes()[..len], ..tuple.view() };
        assert!(cut.deform(&desc, 15, &mut out).is_err(), "{len}");
    }
}

const ROW: &str = "010000000200000003000000000000000d68656c6c6f0100000000000000f83f6e6d0000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0f00810c00881300112233445566778899aabbccddeeff0701020000000000000060c286073e02008a1c000043010000\
    0000000000170000000300000001000000010000000200000003000000780000c0c62d00000000000200000001000000";
