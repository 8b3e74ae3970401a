//! Tests of whole statements, most of them against what the real server answers.

use std::rc::Rc;

use common::Oid;
use elog::{PgError, Result};
use types::fmgr::{Builtin, CallContext, Registry, Session, builtin_registry};
use types::{Datum, io, oid};

use super::*;

fn user(_: &mut CallContext<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text("alice"))
}

static SERVER_FUNCTIONS: [Builtin; 2] = [
    Builtin::scalar(745, "current_user", &[], oid::NAME, user).stable(),
    Builtin::scalar(746, "session_user", &[], oid::NAME, user).stable(),
];

struct TestEnv {
    registry: Registry,
}

impl RelationSource for TestEnv {
    fn lookup(&self, schema: Option<&str>, name: &str) -> Option<VirtualRelation> {
        let known = schema.is_none_or(|s| s == "pg_catalog") && name == "pg_numbers";
        known.then(|| VirtualRelation {
            oid: Oid(11_999),
            columns: vec![("n".to_string(), oid::INT4), ("word".to_string(), oid::TEXT)],
            scan: Rc::new(|_| {
                let rows = [(1, "one"), (2, "two")];
                Ok(Box::new(
                    rows.into_iter().map(|(n, word)| Ok(vec![Datum::Int4(n), Datum::text(word)])),
                ))
            }),
        })
    }
}

impl Env for TestEnv {
    fn registry(&self) -> &Registry {
        &self.registry
    }

    fn current_database(&self) -> &str {
        "postgres"
    }
}

fn env() -> TestEnv {
    let mut registry = Registry::with_builtins();
    if builtin_registry().candidates("current_user").is_empty() {
        registry.add(&SERVER_FUNCTIONS);
    }
    TestEnv { registry }
}

/// Columns and rows as `testdata/queries.txt` shows them.
fn run(env: &TestEnv, sql: &str, params: ParamTypes<'_>, values: Vec<Datum>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for raw in parser::parse(sql)? {
        let plan = plan(analyze(&raw, sql, params, env)?);
        let columns = plan.columns().to_vec();
        let session = Session::detached(0);
        let mut execution = plan.start(values.clone());
        lines.push(match columns.is_empty() {
            true => "(no columns)".to_string(),
            false => columns.iter().map(|c| format!("{}:{}", c.name, c.ty)).collect::<Vec<_>>().join(" "),
        });
        while let Some(row) = execution.next(&session)? {
            let cells = row.iter().zip(&columns).map(|(value, column)| match value {
                Datum::Null => "\\N".to_string(),
                value => io::output_string(value, column.ty),
            });
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(lines)
}

fn error_lines(e: &PgError) -> Vec<String> {
    let position = e.position.map_or("-".to_string(), |p| p.to_string());
    let mut lines = vec![format!("ERROR {} {position} {}", e.sqlstate, e.message)];
    lines.extend(e.detail.iter().map(|d| format!("DETAIL {d}")));
    lines.extend(e.hint.iter().map(|h| format!("HINT {h}")));
    lines
}

fn answer(env: &TestEnv, sql: &str) -> Vec<String> {
    run(env, sql, ParamTypes::Fixed(&[]), Vec::new()).unwrap_or_else(|e| error_lines(&e))
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    let got = answer(&env(), sql);
    assert_eq!(got.get(1..).unwrap_or_default().join(" "), expected, "{sql}: {got:?}");
}

#[track_caller]
fn check_error(sql: &str, expected: &str) {
    assert_eq!(answer(&env(), sql).first().map(String::as_str), Some(expected), "{sql}");
}

/// `testdata/queries.txt` was recorded from PostgreSQL 15.
#[test]
fn answers_are_those_of_postgresql() {
    let env = env();
    let text = include_str!("testdata/queries.txt");
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut lines = text.lines().filter(|l| !l.starts_with("# ")).peekable();
    while let Some(sql) = lines.next() {
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|l| l.starts_with("    ")) {
            expected.push(&line[4..]);
        }
        count += 1;
        let got = answer(&env, sql);
        if got != expected {
            wrong.push(format!(
                "{sql}\n  expected {}\n  got      {}",
                expected.join("\n           "),
                got.join("\n           ")
            ));
        }
    }
    assert!(count > 300, "the file is cut short");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
