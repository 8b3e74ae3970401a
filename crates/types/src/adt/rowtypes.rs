//! Row values: text and wire forms, comparison. C: rowtypes.c.

use elog::Result;

use crate::{Datum, RecordValue, io, oid};

/// `(1,"two words",)`: NULL is nothing at all. C: `record_out`.
pub(crate) fn output(record: &RecordValue, out: &mut String) {
    out.push('(');
    for (i, value) in record.values.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if value.is_null() {
            continue;
        }
        let text = io::output_string(value, column_type(record, i));
        let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || super::int::is_space(c);
        if !text.is_empty() && !text.contains(special) {
            out.push_str(&text);
            continue;
        }
        out.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push(')');
}

fn column_type(record: &RecordValue, column: usize) -> common::Oid {
    record.types.get(column).copied().unwrap_or(oid::TEXT)
}

/// C: `record_send`.
pub(crate) fn send(record: &RecordValue, out: &mut Vec<u8>) -> Result<()> {
    out.extend((record.values.len() as i32).to_be_bytes());
    for (i, value) in record.values.iter().enumerate() {
        let ty = column_type(record, i);
        out.extend(ty.0.to_be_bytes());
        send_element(value, ty, out)?;
    }
    Ok(())
}

/// A length word (-1 for NULL) and the value's wire form.
pub(crate) fn send_element(value: &Datum, ty: common::Oid, out: &mut Vec<u8>) -> Result<()> {
    if value.is_null() {
        out.extend((-1i32).to_be_bytes());
        return Ok(());
    }
    let at = out.len();
    out.extend([0; 4]);
    io::send(value, ty, out)?;
    let len = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

fn compare_records(a: &RecordValue, b: &RecordValue) -> Result<std::cmp::Ordering> {
    let a = Datum::Record(std::rc::Rc::new(a.clone()));
    let b = Datum::Record(std::rc::Rc::new(b.clone()));
    crate::compare::compare(oid::RECORD, &a, &b)
}

comparisons! {
    &RecordValue, &RecordValue, |a, b| compare_records(a, b)? => record_eq record_ne record_lt record_le record_gt record_ge btrecordcmp;
}
