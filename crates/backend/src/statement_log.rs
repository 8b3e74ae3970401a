//! What the log says about statements: `log_statement`, `log_duration`, `log_min_duration_statement`.
//!
//! C counterpart: `check_log_statement`, `check_log_duration`, `errdetail_execute` and `errdetail_params` of
//! tcop/postgres.c, `GetCommandLogLevel` of tcop/utility.c.

use std::fmt::Write;

use common::{Oid, SqlState};
use elog::pg_error;
use parser::Statement;
use parser::ast::OptionValue;
use types::Datum;

use crate::objects::Objects;

/// C: `LogStmtLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Ddl,
    Mod,
    All,
}

/// Writes a line about statements that are about to run, if they are of a class to be logged; says whether it
/// did. `what` is the line's text.
pub(crate) fn statement<'a>(
    statements: impl Iterator<Item = &'a Statement> + Clone,
    objects: &Objects,
    what: impl FnOnce() -> String,
    detail: impl FnOnce() -> Option<String>,
) -> bool {
    let limit = match guc::vars::LOG_STATEMENT.get() {
        "all" => None,
        "mod" => Some(Class::Mod),
        "ddl" => Some(Class::Ddl),
        _ => return false,
    };
    if let Some(limit) = limit
        && !statements.clone().any(|statement| class_of(statement, objects) <= limit)
    {
        return false;
    }
    let detail = detail().or_else(|| prepared_text(statements, objects));
    line(what(), detail);
    true
}

/// Is any duration to be logged? C: the first test of `check_log_duration`.
pub(crate) fn durations_are_wanted() -> bool {
    guc::vars::LOG_DURATION.get() || guc::vars::LOG_MIN_DURATION_STATEMENT.get() >= 0
}

/// Writes how long a statement took, if that is wanted. `start` is when it arrived, in microseconds; `what` is
/// the text that goes with the duration unless [`statement`] has written it already.
pub(crate) fn duration(start: i64, was_logged: bool, what: impl FnOnce() -> (String, Option<String>)) {
    if !durations_are_wanted() {
        return;
    }
    let limit_ms = i64::from(guc::vars::LOG_MIN_DURATION_STATEMENT.get());
    let always = guc::vars::LOG_DURATION.get();
    let micros = (activity::now() - start).max(0);
    let exceeded = limit_ms >= 0 && micros / 1000 >= limit_ms;
    if !exceeded && !always {
        return;
    }
    let took = format!("duration: {}.{:03} ms", micros / 1000, micros % 1000);
    if exceeded && !was_logged {
        let (what, detail) = what();
        line(format!("{took}  {what}"), detail);
    } else {
        line(took, None);
    }
}

fn line(text: String, detail: Option<String>) {
    let report = pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}").hide_statement();
    match detail {
        Some(detail) => report.detail(detail).report(),
        None => report.report(),
    }
}

/// EXECUTE says what it runs. C: `errdetail_execute`.
pub(crate) fn prepared_text<'a>(
    mut statements: impl Iterator<Item = &'a Statement>,
    objects: &Objects,
) -> Option<String> {
    statements.find_map(|statement| match statement {
        Statement::Execute { name, .. } => {
            let prepared = objects.find_statement(name)?;
            Some(format!("prepare: {}", prepared.text))
        }
        _ => None,
    })
}

/// C: `errdetail_params`.
pub(crate) fn parameters(values: &[Datum], types: &[Oid]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let mut text = "parameters: ".to_owned();
    for (index, (value, ty)) in values.iter().zip(types).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let shown = match value {
            Datum::Null => "NULL".to_owned(),
            value => format!("'{}'", types::io::output_string(value, *ty).replace('\'', "''")),
        };
        let _ = write!(text, "{comma}${} = {shown}", index + 1);
    }
    Some(text)
}

/// C: `GetCommandLogLevel`.
fn class_of(statement: &Statement, objects: &Objects) -> Class {
    use Statement as S;
    match statement {
        S::Select(select) if makes_table(select) => Class::Ddl,
        S::Insert(_) | S::Update(_) | S::Delete(_) => Class::Mod,
        S::Prepare { query, .. } => class_of(query, objects),
        S::Execute { name, .. } => objects
            .find_statement(name)
            .and_then(|prepared| prepared.statement.as_ref().map(|inner| class_of(inner, objects)))
            .unwrap_or(Class::All),
        S::Explain(options, inner) => {
            let off = Some(OptionValue::Boolean(false));
            match options.iter().any(|option| option.name == "analyze" && option.value != off) {
                true => class_of(inner, objects),
                false => Class::All,
            }
        }
        S::AlterSystem(_)
        | S::CreateRole { .. }
        | S::AlterRole { .. }
        | S::AlterRoleSet { .. }
        | S::DropRole { .. }
        | S::CreateDatabase { .. }
        | S::AlterDatabaseSet { .. }
        | S::DropDatabase { .. }
        | S::CreateTablespace(_)
        | S::DropTablespace { .. } => Class::Ddl,
        S::Other { tag, .. } | S::Unsupported(tag) => class_of_tag(tag),
        _ => Class::All,
    }
}

fn makes_table(select: &parser::ast::SelectStmt) -> bool {
    matches!(&select.body, parser::ast::SelectBody::Simple(simple) if simple.into.is_some())
}

/// Commands known by their tag alone.
fn class_of_tag(tag: &str) -> Class {
    let first = tag.split(' ').next().unwrap_or_default();
    match first {
        "CREATE" | "ALTER" | "DROP" | "COMMENT" | "GRANT" | "REVOKE" | "REASSIGN" | "SECURITY" | "IMPORT" => {
            Class::Ddl
        }
        "TRUNCATE" | "COPY" | "MERGE" => Class::Mod,
        _ => Class::All,
    }
}
