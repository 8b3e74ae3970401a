//! Type names and their modifiers.
//!
//! C counterpart: parse_type.c and the typmodin functions.

use common::{Oid, SqlState};
use elog::{PgError, Result, ereport, error};
use parser::ast::{ExprKind, TypeName};
use parser::char_position;
use types::type_info::TypeInfo;
use types::{format_type, oid, type_by_name, type_info};

use super::Analyzer;

/// Longest `varchar(n)`. C: `MaxAttrSize`.
const MAX_CHARACTERS: i32 = 10_485_760;
/// A length is stored with the header that C values have.
const HEADER: i32 = 4;
/// An interval with all its digits. C: `INTERVAL_FULL_PRECISION`.
const FULL_PRECISION: i32 = 0xFFFF;

impl Analyzer<'_> {
    pub(super) fn type_name(&self, name: &TypeName) -> Result<(Oid, i32)> {
        resolve_type_name(name, self.source)
    }
}

/// Type and modifier of a type name. C: `typenameTypeIdAndMod`.
pub fn resolve_type_name(name: &TypeName, source: &str) -> Result<(Oid, i32)> {
    let at = |e: PgError| e.position(char_position(source, name.loc as usize));
    let found = match name.name.as_slice() {
        [schema, last] if schema == "pg_catalog" => lookup(last),
        [last] => lookup(last),
        _ => None,
    };
    let Some(base) = found else {
        let shown = name.name.join(".") + &"[]".repeat(name.array_dims.min(1) as usize);
        return Err(at(error!(SqlState::UNDEFINED_OBJECT, "type \"{shown}\" does not exist")));
    };
    let typmod = if name.typmods.is_empty() { -1 } else { modifier(name, base).map_err(at)? };
    if name.array_dims == 0 {
        return Ok((base.oid, typmod));
    }
    if !base.array.is_valid() {
        let shown = format_type(base.oid, -1);
        return Err(at(error!(SqlState::UNDEFINED_OBJECT, "type \"{shown}[]\" does not exist")));
    }
    Ok((base.array, typmod))
}

/// By the name in pg_type only: SQL's spellings have been dealt with by the grammar.
fn lookup(name: &str) -> Option<&'static TypeInfo> {
    type_by_name(name).and_then(type_info).filter(|info| info.name == name)
}

fn modifier(name: &TypeName, ty: &TypeInfo) -> Result<i32> {
    let mut values = Vec::with_capacity(name.typmods.len());
    for item in &name.typmods {
        match item.kind {
            ExprKind::Integer(value) => values.push(value),
            _ => {
                return Err(match ty.oid {
                    oid::VARCHAR | oid::BPCHAR | oid::NUMERIC | oid::BIT | oid::VARBIT => error!(
                        SqlState::SYNTAX_ERROR,
                        "type modifiers must be simple constants or identifiers"
                    ),
                    _ => no_modifier(ty),
                });
            }
        }
    }
    match ty.oid {
        oid::VARCHAR => length(&values, "varchar"),
        oid::BPCHAR => length(&values, "char"),
        oid::BIT => bits(&values, "bit"),
        oid::VARBIT => bits(&values, "varbit"),
        oid::NUMERIC => numeric(&values),
        oid::TIME | oid::TIMETZ => precision(&values, "TIME", ty.oid == oid::TIMETZ),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => precision(&values, "TIMESTAMP", ty.oid == oid::TIMESTAMPTZ),
        oid::INTERVAL => interval(&values),
        _ => Err(no_modifier(ty)),
    }
}

fn no_modifier(ty: &TypeInfo) -> PgError {
    error!(SqlState::SYNTAX_ERROR, "type modifier is not allowed for type \"{}\"", ty.name)
}

fn invalid() -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "invalid type modifier")
}

/// C: `anychar_typmodin`.
fn length(values: &[i32], name: &str) -> Result<i32> {
    let [n] = *values else { return Err(invalid()) };
    if n < 1 {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "length for type {name} must be at least 1"));
    }
    if n > MAX_CHARACTERS {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "length for type {name} cannot exceed {MAX_CHARACTERS}"
        ));
    }
    Ok(n + HEADER)
}

/// C: `anybit_typmodin`.
fn bits(values: &[i32], name: &str) -> Result<i32> {
    let [n] = *values else { return Err(invalid()) };
    if n < 1 {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "length for type {name} must be at least 1"));
    }
    Ok(n)
}

/// C: `numerictypmodin`.
fn numeric(values: &[i32]) -> Result<i32> {
    let (precision, scale) = match *values {
        [precision] => (precision, 0),
        [precision, scale] => (precision, scale),
        _ => return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "invalid NUMERIC type modifier")),
    };
    if !(1..=1000).contains(&precision) {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "NUMERIC precision {precision} must be between 1 and 1000"
        ));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "NUMERIC scale {scale} must be between -1000 and 1000"
        ));
    }
    Ok(((precision << 16) | (scale & 0x7FF)) + HEADER)
}

/// C: `anytimestamp_typmod_check`, `anytime_typmod_check`.
fn precision(values: &[i32], name: &str, zone: bool) -> Result<i32> {
    let [n] = *values else { return Err(invalid()) };
    let zone = if zone { " WITH TIME ZONE" } else { "" };
    if n < 0 {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "{name}({n}){zone} precision must not be negative"
        ));
    }
    if n > 6 {
        ereport!(Warning, "{name}({n}){zone} precision reduced to maximum allowed, 6");
    }
    Ok(n.min(6))
}

/// C: `intervaltypmodin`.
fn interval(values: &[i32]) -> Result<i32> {
    let (range, precision) = match *values {
        [range] => (range, FULL_PRECISION),
        [_, precision] if precision < 0 => {
            return Err(error!(
                SqlState::INVALID_PARAMETER_VALUE,
                "INTERVAL({precision}) precision must not be negative"
            ));
        }
        [range, precision] => {
            if precision > 6 {
                ereport!(Warning, "INTERVAL({precision}) precision reduced to maximum allowed, 6");
            }
            (range, precision.min(6))
        }
        _ => return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "invalid INTERVAL type modifier")),
    };
    Ok((range & 0x7FFF) << 16 | precision)
}
