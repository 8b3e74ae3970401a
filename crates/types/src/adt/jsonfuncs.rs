//! Functions on json and jsonb: member access, iteration, building. C: json.c, jsonfuncs.c, jsonb_op.c.

use common::{Oid, SqlState};
use elog::{Result, error};

use super::json::{Json, jsonb_datum, parse, write_spaced, write_string};
use super::varlena::variadic_values;
use crate::agg::AggState;
use crate::fmgr::{CallContext, RowIter};
use crate::type_info::{TypeKind, element_type_of};
use crate::{ArrayValue, Datum, RecordValue, io, oid, type_info};

/// A value of any type as JSON. C: `datum_to_json`, `datum_to_jsonb`.
fn to_tree(value: &Datum, ty: Oid) -> Result<Json> {
    Ok(match value {
        Datum::Null => Json::Null,
        Datum::Bool(v) => Json::Bool(*v),
        Datum::Array(array) => array_tree(array)?,
        Datum::Record(record) => record_tree(record)?,
        Datum::Text(text) if matches!(ty, oid::JSON | oid::JSONB) => parse(text)?,
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => Json::Number(io::output_string(value, ty)),
        Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_) => {
            let text = io::output_string(value, ty);
            let finite = !text.ends_with(|c: char| c.is_ascii_alphabetic());
            if finite { Json::Number(text) } else { Json::String(text) }
        }
        Datum::Timestamp(_) | Datum::TimestampTz(_) | Datum::Date(_) => Json::String(iso_time(value, ty)),
        _ => Json::String(io::output_string(value, ty)),
    })
}

/// Dates and times in ISO 8601 whatever DateStyle says, with the `T`. C: `JsonEncodeDateTime`.
fn iso_time(value: &Datum, ty: Oid) -> String {
    let text = io::output_string(value, ty);
    if matches!(value, Datum::Date(_)) {
        return text;
    }
    let text = text.replacen(' ', "T", 1);
    // The zone has its minutes here: +00:00.
    let zone_at =
        text.rfind(['+', '-']).filter(|at| matches!(value, Datum::TimestampTz(_)) && text.len() - at == 3);
    if zone_at.is_some() { format!("{text}:00") } else { text }
}

fn array_tree(array: &ArrayValue) -> Result<Json> {
    let mut items = Vec::with_capacity(array.values.len());
    for value in &array.values {
        items.push(to_tree(value, array.elem)?);
    }
    // Innermost dimension first: rows of it become the items of the next.
    for dim in array.dims.iter().skip(1).rev() {
        items = items.chunks(dim.len as usize).map(|c| Json::Array(c.to_vec())).collect();
    }
    Ok(Json::Array(items))
}

fn record_tree(record: &RecordValue) -> Result<Json> {
    let mut members = Vec::with_capacity(record.values.len());
    for (i, value) in record.values.iter().enumerate() {
        let name = record.names.get(i).map_or_else(|| format!("f{}", i + 1), |n| n.to_string());
        members.push((name, to_tree(value, record.types.get(i).copied().unwrap_or(oid::TEXT))?));
    }
    Ok(Json::Object(members))
}

/// As `to_json` prints: no blanks; a json inside keeps its own text. C: `datum_to_json`.
fn write_json(value: &Datum, ty: Oid, out: &mut String) -> Result<()> {
    match value {
        Datum::Text(text) if matches!(ty, oid::JSON | oid::JSONB) => out.push_str(text),
        Datum::Array(array) => {
            let mut values = array.values.iter();
            let lens: Vec<i32> = array.dims.iter().map(|d| d.len).collect();
            if lens.is_empty() {
                out.push_str("[]");
                return Ok(());
            }
            write_json_array(&mut values, &lens, array.elem, out)?;
        }
        Datum::Record(record) => {
            out.push('{');
            for (i, column) in record.values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let name = record.names.get(i).map_or_else(|| format!("f{}", i + 1), |n| n.to_string());
                write_string(&name, out);
                out.push(':');
                write_json(column, record.types.get(i).copied().unwrap_or(oid::TEXT), out)?;
            }
            out.push('}');
        }
        _ => write_spaced(&to_tree(value, ty)?, out),
    }
    Ok(())
}

fn write_json_array<'a>(
    values: &mut impl Iterator<Item = &'a Datum>,
    lens: &[i32],
    elem: Oid,
    out: &mut String,
) -> Result<()> {
    let Some((first, below)) = lens.split_first() else {
        return values.next().map_or(Ok(()), |v| write_json(v, elem, out));
    };
    out.push('[');
    for i in 0..*first {
        if i > 0 {
            out.push(',');
        }
        write_json_array(values, below, elem, out)?;
    }
    out.push(']');
    Ok(())
}

fn json_text(value: &Datum, ty: Oid) -> Result<String> {
    let mut out = String::new();
    write_json(value, ty, &mut out)?;
    Ok(out)
}

fn compact(value: &Json) -> String {
    let mut out = String::new();
    write_spaced(value, &mut out);
    out
}

/// The text of a scalar, or the JSON text of a container; NULL for null. C: the `_text` accessors.
fn as_text(value: Json) -> Datum {
    match value {
        Json::Null => Datum::Null,
        Json::String(text) => Datum::text(text),
        other => Datum::text(compact(&other)),
    }
}

fn member(value: Json, name: &str) -> Option<Json> {
    match value {
        // The last one wins if a json has several.
        Json::Object(members) => members.into_iter().rev().find(|(n, _)| n == name).map(|(_, v)| v),
        _ => None,
    }
}

fn item(value: Json, index: i32) -> Option<Json> {
    match value {
        Json::Array(mut items) => {
            let at = if index < 0 { items.len() as i64 + i64::from(index) } else { i64::from(index) };
            let at = usize::try_from(at).ok().filter(|at| *at < items.len())?;
            Some(items.swap_remove(at))
        }
        _ => None,
    }
}

fn at_path(value: Json, path: &ArrayValue) -> Option<Json> {
    let mut value = value;
    for step in &path.values {
        let step = step.as_str()?;
        value = match &value {
            Json::Array(_) => item(value, step.parse().ok()?)?,
            _ => member(value, step)?,
        };
    }
    Some(value)
}

/// Back to a value of the call's type: jsonb is normal already, json keeps the order it had.
fn give(value: Option<Json>) -> Option<Datum> {
    value.map(|v| Datum::text(compact(&v)))
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn array_len(value: &Json) -> Result<i32> {
    match value {
        Json::Array(items) => Ok(items.len() as i32),
        Json::Object(_) => {
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a non-array"))
        }
        _ => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot get array length of a scalar")),
    }
}

/// Whether jsonb `a` contains `b`. C: `JsonbDeepContains`.
fn contains(a: &Json, b: &Json, top: bool) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            b.iter().all(|(name, y)| a.iter().any(|(n, x)| n == name && contains(x, y, false)))
        }
        (Json::Array(a), Json::Array(b)) => b.iter().all(|y| a.iter().any(|x| contains(x, y, false))),
        (Json::Array(a), scalar) if top => a.contains(scalar),
        (a, b) => a == b,
    }
}

fn has_key(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(members) => members.iter().any(|(n, _)| n == key),
        Json::Array(items) => items.iter().any(|v| matches!(v, Json::String(s) if s == key)),
        Json::String(s) => s == key,
        _ => false,
    }
}

fn pretty(value: &Json, depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth * 4));
    };
    match value {
        Json::Array(items) => {
            out.push('[');
            for (i, v) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                pretty(v, depth + 1, out);
            }
            indent(depth, out);
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (name, v)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(depth + 1, out);
                write_string(name, out);
                out.push_str(": ");
                pretty(v, depth + 1, out);
            }
            indent(depth, out);
            out.push('}');
        }
        other => write_spaced(other, out),
    }
}

fn strip_nulls(value: Json) -> Json {
    match value {
        Json::Object(members) => Json::Object(
            members.into_iter().filter(|(_, v)| *v != Json::Null).map(|(n, v)| (n, strip_nulls(v))).collect(),
        ),
        Json::Array(items) => Json::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

/// `||` of jsonb. C: `IteratorConcat`.
fn concat(a: Json, b: Json) -> Json {
    match (a, b) {
        (Json::Object(mut a), Json::Object(b)) => {
            a.extend(b);
            Json::Object(a)
        }
        (Json::Array(mut a), Json::Array(b)) => {
            a.extend(b);
            Json::Array(a)
        }
        (Json::Array(mut a), b) => {
            a.push(b);
            Json::Array(a)
        }
        (a, Json::Array(mut b)) => {
            b.insert(0, a);
            Json::Array(b)
        }
        (a, b) => Json::Array(vec![a, b]),
    }
}

/// The order of jsonb's btree: by kind, then size, then contents. C: `compareJsonbContainers`.
fn compare(a: &Json, b: &Json) -> std::cmp::Ordering {
    let rank = |v: &Json| match v {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Number(a), Json::Number(b)) => {
            let number = |t: &str| super::numeric::input(t, -1).ok();
            number(a).cmp(&number(b))
        }
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        (Json::Array(a), Json::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            let orders = a.iter().zip(b).map(|(x, y)| compare(x, y));
            orders.into_iter().find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        }),
        (Json::Object(a), Json::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let orders = a.iter().zip(b).map(|((m, x), (n, y))| m.cmp(n).then_with(|| compare(x, y)));
            orders.into_iter().find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        }),
        _ => std::cmp::Ordering::Equal,
    })
}

fn compare_text(a: &str, b: &str) -> Result<std::cmp::Ordering> {
    Ok(compare(&parse(a)?, &parse(b)?))
}

comparisons! {
    &str, &str, |a, b| compare_text(a, b)? => jsonb_eq jsonb_ne jsonb_lt jsonb_le jsonb_gt jsonb_ge jsonb_cmp;
}

fn number(text: &str, to: &str) -> Result<super::numeric::Numeric> {
    match parse(text)? {
        Json::Number(n) => super::numeric::input(&n, -1),
        other => {
            let what = match type_name(&other) {
                "null" => "jsonb null",
                "boolean" => "jsonb boolean",
                "string" => "jsonb string",
                "array" => "jsonb array",
                _ => "jsonb object",
            };
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot cast {what} to type {to}"))
        }
    }
}

builtins! {
    fn json_object_field(a: &str, name: &str) -> Option<Datum> { give(member(parse(a)?, name)) }
    fn jsonb_object_field(a: &str, name: &str) -> Option<Datum> { give(member(parse(a)?, name)) }
    fn json_object_field_text(a: &str, name: &str) -> Option<Datum> { member(parse(a)?, name).map(as_text) }
    fn jsonb_object_field_text(a: &str, name: &str) -> Option<Datum> { member(parse(a)?, name).map(as_text) }
    fn json_array_element(a: &str, n: i32) -> Option<Datum> { give(item(parse(a)?, n)) }
    fn jsonb_array_element(a: &str, n: i32) -> Option<Datum> { give(item(parse(a)?, n)) }
    fn json_array_element_text(a: &str, n: i32) -> Option<Datum> { item(parse(a)?, n).map(as_text) }
    fn jsonb_array_element_text(a: &str, n: i32) -> Option<Datum> { item(parse(a)?, n).map(as_text) }
    fn json_extract_path(a: &str, path: &ArrayValue) -> Option<Datum> { give(at_path(parse(a)?, path)) }
    fn jsonb_extract_path(a: &str, path: &ArrayValue) -> Option<Datum> { give(at_path(parse(a)?, path)) }
    fn json_extract_path_text(a: &str, path: &ArrayValue) -> Option<Datum> { at_path(parse(a)?, path).map(as_text) }
    fn jsonb_extract_path_text(a: &str, path: &ArrayValue) -> Option<Datum> { at_path(parse(a)?, path).map(as_text) }
    fn json_typeof(a: &str) -> &'static str { type_name(&parse(a)?) }
    fn jsonb_typeof(a: &str) -> &'static str { type_name(&parse(a)?) }
    fn json_array_length(a: &str) -> i32 { array_len(&parse(a)?)? }
    fn jsonb_array_length(a: &str) -> i32 { array_len(&parse(a)?)? }
    fn json_strip_nulls(a: &str) -> String {
        let mut out = String::new();
        super::json::write_compact(&strip_nulls(parse(a)?), &mut out);
        out
    }
    fn jsonb_strip_nulls(a: &str) -> Datum { jsonb_datum(strip_nulls(parse(a)?))? }
    fn jsonb_pretty(a: &str) -> String {
        let mut out = String::new();
        pretty(&parse(a)?, 0, &mut out);
        out
    }
    fn jsonb_contains(a: &str, b: &str) -> bool { contains(&parse(a)?, &parse(b)?, true) }
    fn jsonb_contained(a: &str, b: &str) -> bool { contains(&parse(b)?, &parse(a)?, true) }
    fn jsonb_exists(a: &str, key: &str) -> bool { has_key(&parse(a)?, key) }
    fn jsonb_exists_any(a: &str, keys: &ArrayValue) -> bool {
        let value = parse(a)?;
        keys.values.iter().filter_map(Datum::as_str).any(|k| has_key(&value, k))
    }
    fn jsonb_exists_all(a: &str, keys: &ArrayValue) -> bool {
        let value = parse(a)?;
        keys.values.iter().filter_map(Datum::as_str).all(|k| has_key(&value, k))
    }
    fn jsonb_concat(a: &str, b: &str) -> Datum { jsonb_datum(concat(parse(a)?, parse(b)?))? }
    fn jsonb_delete(a: &str, key: &str) -> Datum {
        jsonb_datum(match parse(a)? {
            Json::Object(members) => Json::Object(members.into_iter().filter(|(n, _)| n != key).collect()),
            Json::Array(items) => {
                Json::Array(items.into_iter().filter(|v| !matches!(v, Json::String(s) if s == key)).collect())
            }
            _ => return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot delete from scalar")),
        })?
    }
    fn jsonb_delete_idx(a: &str, n: i32) -> Datum {
        jsonb_datum(match parse(a)? {
            Json::Array(mut items) => {
                let at = if n < 0 { items.len() as i64 + i64::from(n) } else { i64::from(n) };
                if let Some(at) = usize::try_from(at).ok().filter(|at| *at < items.len()) {
                    items.remove(at);
                }
                Json::Array(items)
            }
            Json::Object(_) => {
                return Err(error!(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "cannot delete from object using integer index"
                ));
            }
            _ => return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot delete from scalar")),
        })?
    }
    fn jsonb_bool(a: &str) -> bool {
        match parse(a)? {
            Json::Bool(v) => v,
            _ => return Err(number(a, "boolean").err().unwrap_or_else(|| {
                error!(SqlState::INVALID_PARAMETER_VALUE, "cannot cast jsonb numeric to type boolean")
            })),
        }
    }
    fn jsonb_numeric(a: &str) -> super::numeric::Numeric { number(a, "numeric")? }
    fn jsonb_int2(a: &str) -> i16 { super::numeric::to_integer(&number(a, "smallint")?, "smallint", i16::MIN.into(), i16::MAX.into())? as i16 }
    fn jsonb_int4(a: &str) -> i32 { super::numeric::to_integer(&number(a, "integer")?, "integer", i32::MIN.into(), i32::MAX.into())? as i32 }
    fn jsonb_int8(a: &str) -> i64 { super::numeric::to_integer(&number(a, "bigint")?, "bigint", i64::MIN.into(), i64::MAX.into())? as i64 }
    fn jsonb_float8(a: &str) -> f64 { number(a, "double precision")?.to_f64() }
    fn jsonb_float4(a: &str) -> f32 { number(a, "real")?.to_f64() as f32 }
    fn to_json(@cx; a: &Datum) -> String { json_text(a, cx.arg_type(0))? }
    fn to_jsonb(@cx; a: &Datum) -> Datum { jsonb_datum(to_tree(a, cx.arg_type(0))?)? }
    fn row_to_json(a: &Datum) -> String { json_text(a, oid::RECORD)? }
    fn array_to_json(@cx; a: &Datum) -> String { json_text(a, cx.arg_type(0))? }
    fn json_build_object_noargs() -> &'static str { "{}" }
    fn json_build_array_noargs() -> &'static str { "[]" }
    fn jsonb_build_object_noargs() -> &'static str { "{}" }
    fn jsonb_build_array_noargs() -> &'static str { "[]" }
}

fn check_key(value: &Datum, ty: Oid, argument: usize) -> Result<String> {
    if value.is_null() {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "argument {argument} cannot be null")
            .hint("Object keys should be text."));
    }
    let scalar = !element_type_of(ty).is_valid()
        && !matches!(ty, oid::JSON | oid::JSONB | oid::RECORD)
        && type_info(ty).is_none_or(|t| t.kind != TypeKind::Pseudo || t.oid == oid::UNKNOWN);
    if !scalar {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "key value must be scalar, not array, composite, or json"
        ));
    }
    Ok(if let Datum::Bool(v) = value { v.to_string() } else { io::output_string(value, ty) })
}

fn pairs(values: Vec<(Datum, Oid)>) -> Result<Vec<(String, (Datum, Oid))>> {
    if !values.len().is_multiple_of(2) {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "argument list must have even number of elements"
        )
        .hint("The arguments of json_build_object() must consist of alternating keys and values."));
    }
    let mut found = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some((key, key_type)), Some(value)) = (values.next(), values.next()) {
        found.push((check_key(&key, key_type, found.len() * 2 + 1)?, value));
    }
    Ok(found)
}

/// `json_build_object(VARIADIC "any")`.
pub(crate) fn json_build_object(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let mut out = String::from("{");
    for (i, (name, (value, ty))) in pairs(variadic_values(cx, args, 0))?.into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_string(&name, &mut out);
        out.push_str(" : ");
        write_json(&value, ty, &mut out)?;
    }
    out.push('}');
    Ok(Datum::text(out))
}

/// `json_build_array(VARIADIC "any")`.
pub(crate) fn json_build_array(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let mut out = String::from("[");
    for (i, (value, ty)) in variadic_values(cx, args, 0).into_iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_json(&value, ty, &mut out)?;
    }
    out.push(']');
    Ok(Datum::text(out))
}

/// `jsonb_build_object(VARIADIC "any")`.
pub(crate) fn jsonb_build_object(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let mut members = Vec::new();
    for (name, (value, ty)) in pairs(variadic_values(cx, args, 0))? {
        members.push((name, to_tree(&value, ty)?));
    }
    jsonb_datum(Json::Object(members))
}

/// `jsonb_build_array(VARIADIC "any")`.
pub(crate) fn jsonb_build_array(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let items: Result<Vec<Json>> =
        variadic_values(cx, args, 0).into_iter().map(|(value, ty)| to_tree(&value, ty)).collect();
    jsonb_datum(Json::Array(items?))
}

fn rows(rows: Vec<Vec<Datum>>) -> Result<RowIter> {
    Ok(Box::new(rows.into_iter().map(Ok)))
}

fn members_of(args: &[Datum], function: &str) -> Result<Vec<(String, Json)>> {
    match parse(args[0].as_str().unwrap_or("null"))? {
        Json::Object(members) => Ok(members),
        Json::Array(_) => {
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot call {function} on an array"))
        }
        _ => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot call {function} on a scalar")),
    }
}

fn items_of(args: &[Datum]) -> Result<Vec<Json>> {
    match parse(args[0].as_str().unwrap_or("null"))? {
        Json::Array(items) => Ok(items),
        Json::Object(_) => {
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot extract elements from an object"))
        }
        _ => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "cannot extract elements from a scalar")),
    }
}

macro_rules! json_sets {
    ($($keys:ident $each:ident $each_text:ident $elements:ident $elements_text:ident;)*) => {$(
        pub(crate) fn $keys(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
            rows(members_of(args, stringify!($keys))?.into_iter().map(|(n, _)| vec![Datum::text(n)]).collect())
        }
        pub(crate) fn $each(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
            let members = members_of(args, stringify!($each))?;
            rows(members.into_iter().map(|(n, v)| vec![Datum::text(n), Datum::text(compact(&v))]).collect())
        }
        pub(crate) fn $each_text(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
            let members = members_of(args, stringify!($each_text))?;
            rows(members.into_iter().map(|(n, v)| vec![Datum::text(n), as_text(v)]).collect())
        }
        pub(crate) fn $elements(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
            rows(items_of(args)?.into_iter().map(|v| vec![Datum::text(compact(&v))]).collect())
        }
        pub(crate) fn $elements_text(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
            rows(items_of(args)?.into_iter().map(|v| vec![as_text(v)]).collect())
        }
    )*};
}

json_sets! {
    json_object_keys json_each json_each_text json_array_elements json_array_elements_text;
    jsonb_object_keys jsonb_each jsonb_each_text jsonb_array_elements jsonb_array_elements_text;
}

/// `json_agg`, `json_object_agg` and their jsonb forms.
struct JsonAgg {
    object: bool,
    parts: Vec<(String, Datum)>,
    seen: bool,
}

impl AggState for JsonAgg {
    fn add(&mut self, cx: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        self.seen = true;
        let name = if self.object {
            if args[0].is_null() {
                return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"));
            }
            check_key(&args[0], cx.arg_type(0), 1)?
        } else {
            String::new()
        };
        self.parts.push((name, args[usize::from(self.object)].clone()));
        Ok(())
    }

    fn finish(&mut self, cx: &mut CallContext<'_>) -> Result<Datum> {
        if !self.seen {
            return Ok(Datum::Null);
        }
        let ty = cx.arg_type(usize::from(self.object));
        if cx.ret_type == oid::JSONB {
            let mut members = Vec::new();
            for (name, value) in &self.parts {
                members.push((name.clone(), to_tree(value, ty)?));
            }
            return jsonb_datum(if self.object {
                Json::Object(members)
            } else {
                Json::Array(members.into_iter().map(|m| m.1).collect())
            });
        }
        let mut out = String::from(if self.object { "{ " } else { "[" });
        for (i, (name, value)) in self.parts.iter().enumerate() {
            if i > 0 {
                // A row or array inside begins a new line in json_agg's text.
                let newline = !self.object && matches!(value, Datum::Record(_) | Datum::Array(_));
                out.push_str(if newline { ", \n " } else { ", " });
            }
            if self.object {
                write_string(name, &mut out);
                out.push_str(" : ");
            }
            write_json(value, ty, &mut out)?;
        }
        out.push_str(if self.object { " }" } else { "]" });
        Ok(Datum::text(out))
    }
}

pub(crate) fn json_agg() -> Box<dyn AggState> {
    Box::new(JsonAgg { object: false, parts: Vec::new(), seen: false })
}

pub(crate) fn json_object_agg() -> Box<dyn AggState> {
    Box::new(JsonAgg { object: true, parts: Vec::new(), seen: false })
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn access() {
        check_all(
            r#"
            json:{"a":{"b":[1,"x"]}}  ->  text:a => {"b": [1, "x"]}
            jsonb:{"a":{"b":[1,"x"]}}  #>>  text[]:{a,b,1} => x
            jsonb:[1,2,3]  ->  int4:-1 => 3
            jsonb:{"a":null}  ->>  text:a => <null>
            jsonb:{"a":1,"b":2}  @>  jsonb:{"b":2} => t
            jsonb:{"a":1}  ?  text:a => t
            jsonb:{"a":1}  ||  jsonb:{"b":2} => {"a": 1, "b": 2}
            jsonb:{"a":1,"b":2}  -  text:a => {"b": 2}
            jsonb_typeof(jsonb:[1]) => array
            jsonb_array_length(jsonb:[1,2]) => 2
            json_object_keys(json:{"x":1,"y":2}) => x y
            json_array_elements(json:[1,"a",null]) => 1 "a" null
            int4(jsonb:5.6) => 6
            "#,
        );
    }

    #[test]
    fn building() {
        check_all(
            r#"
            json_build_object(text:a | int4:1 | text:b | bool:t) => {"a" : 1, "b" : true}
            json_build_array(int4:1 | text:x | null) => [1, "x", null]
            jsonb_build_object(text:b | int4:1 | text:a | float8:1.5) => {"a": 1.5, "b": 1}
            to_json(int4[]:{{1,2},{3,4}}) => [[1,2],[3,4]]
            to_json(timestamp:2024-01-31 12:00) => "2024-01-31T12:00:00"
            to_jsonb(text:a"b) => "a\"b"
            json_build_object(text:a) => ERROR 22023 argument list must have even number of elements
            json_strip_nulls(json:{"a":null,"b":[1,null]}) => {"b":[1,null]}
            "#,
        );
    }
}
