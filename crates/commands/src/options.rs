//! Storage parameters: what stands in `WITH (...)` of CREATE TABLE.
//!
//! C counterpart: access/common/reloptions.c.

use common::SqlState;
use elog::{PgError, Result, error};
use parser::ast::{DefElem, OptionValue};

/// What values a parameter takes.
enum Kind {
    Bool,
    Int(i64, i64),
    Real(f64, f64),
    /// The words it takes and how a message lists them.
    Enum(&'static [&'static str], &'static str),
}

/// Greatest cost delay and limit, ages and so on are PostgreSQL's. C: the `RELOPT_KIND_HEAP` rows.
#[rustfmt::skip]
const KNOWN: [(&str, Kind); 22] = [
    ("fillfactor", Kind::Int(10, 100)),
    ("autovacuum_enabled", Kind::Bool),
    ("autovacuum_vacuum_threshold", Kind::Int(0, i32::MAX as i64)),
    ("autovacuum_vacuum_scale_factor", Kind::Real(0.0, 100.0)),
    ("autovacuum_vacuum_insert_threshold", Kind::Int(-1, i32::MAX as i64)),
    ("autovacuum_vacuum_insert_scale_factor", Kind::Real(0.0, 100.0)),
    ("autovacuum_analyze_threshold", Kind::Int(0, i32::MAX as i64)),
    ("autovacuum_analyze_scale_factor", Kind::Real(0.0, 100.0)),
    ("autovacuum_vacuum_cost_delay", Kind::Real(0.0, 100.0)),
    ("autovacuum_vacuum_cost_limit", Kind::Int(1, 10_000)),
    ("autovacuum_freeze_min_age", Kind::Int(0, 1_000_000_000)),
    ("autovacuum_freeze_max_age", Kind::Int(100_000, 2_000_000_000)),
    ("autovacuum_freeze_table_age", Kind::Int(0, 2_000_000_000)),
    ("autovacuum_multixact_freeze_min_age", Kind::Int(0, 1_000_000_000)),
    ("autovacuum_multixact_freeze_max_age", Kind::Int(10_000, 2_000_000_000)),
    ("autovacuum_multixact_freeze_table_age", Kind::Int(0, 2_000_000_000)),
    ("log_autovacuum_min_duration", Kind::Int(-1, i32::MAX as i64)),
    ("parallel_workers", Kind::Int(0, 1024)),
    ("toast_tuple_target", Kind::Int(128, 8160)),
    ("vacuum_index_cleanup", Kind::Enum(&["auto", "on", "off", "true", "false", "yes", "no", "1", "0"],
        "Valid values are \"on\", \"off\", and \"auto\".")),
    ("vacuum_truncate", Kind::Bool),
    ("user_catalog_table", Kind::Bool),
];

/// C: the `RELOPT_KIND_TABLESPACE` rows.
#[rustfmt::skip]
const OF_TABLESPACES: [(&str, Kind); 4] = [
    ("random_page_cost", Kind::Real(0.0, f64::MAX)),
    ("seq_page_cost", Kind::Real(0.0, f64::MAX)),
    ("effective_io_concurrency", Kind::Int(0, 1000)),
    ("maintenance_io_concurrency", Kind::Int(0, 1000)),
];

fn invalid(text: String) -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "{text}")
}

/// `name=value` each, as pg_class keeps them. C: `transformRelOptions`, `heap_reloptions`.
///
/// # Errors
/// 22023 for names and values that PostgreSQL does not know.
pub(crate) fn storage_options(options: &[DefElem]) -> Result<Vec<String>> {
    stored(options, &KNOWN, true)
}

/// The same for a tablespace. C: `tablespace_reloptions`.
///
/// # Errors
/// As [`storage_options`].
pub(crate) fn tablespace_options(options: &[DefElem]) -> Result<Vec<String>> {
    stored(options, &OF_TABLESPACES, false)
}

fn stored(options: &[DefElem], known: &[(&str, Kind)], of_table: bool) -> Result<Vec<String>> {
    let mut stored: Vec<String> = Vec::new();
    for option in options {
        let name = option.name.as_str();
        let value = match &option.value {
            None => "true".to_owned(),
            Some(OptionValue::Boolean(on)) => on.to_string(),
            Some(OptionValue::Integer(number)) => number.to_string(),
            Some(OptionValue::Float(text) | OptionValue::String(text)) => text.clone(),
            Some(_) => return Err(invalid(format!("invalid value for option \"{name}\""))),
        };
        if of_table && name == "oids" {
            if matches!(value.as_str(), "false" | "off" | "0") {
                continue;
            }
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "tables declared WITH OIDS are not supported"
            ));
        }
        if let Some((space, name)) = name.split_once('.') {
            if !of_table || space != "toast" {
                return Err(invalid(format!("unrecognized parameter namespace \"{space}\"")));
            }
            // They are about a TOAST table, which there is none of.
            check(known, name, &value)?;
            continue;
        }
        check(known, name, &value)?;
        if stored.iter().any(|other| other.split('=').next() == Some(name)) {
            return Err(invalid(format!("parameter \"{name}\" specified more than once")));
        }
        stored.push(format!("{name}={value}"));
    }
    Ok(stored)
}

/// C: `parse_one_reloption`.
fn check(known: &[(&str, Kind)], name: &str, value: &str) -> Result<()> {
    let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
        return Err(invalid(format!("unrecognized parameter \"{name}\"")));
    };
    let wrong = |what: &str| invalid(format!("invalid value for {what} option \"{name}\": {value}"));
    let outside = |low: String, high: String| {
        invalid(format!("value {value} out of bounds for option \"{name}\""))
            .detail(format!("Valid values are between \"{low}\" and \"{high}\"."))
    };
    match kind {
        Kind::Bool => match guc::parse_bool(value) {
            Some(_) => Ok(()),
            None => Err(wrong("boolean")),
        },
        Kind::Int(low, high) => match value.parse::<i64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(_) => Err(outside(low.to_string(), high.to_string())),
            Err(_) => Err(wrong("integer")),
        },
        Kind::Real(low, high) => match value.parse::<f64>() {
            Ok(number) if (*low..=*high).contains(&number) => Ok(()),
            Ok(_) => Err(outside(format!("{low:.6}"), format!("{high:.6}"))),
            Err(_) => Err(wrong("floating point")),
        },
        Kind::Enum(words, listed) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
                Ok(())
            } else {
                Err(wrong("enum").detail(*listed))
            }
        }
    }
}
