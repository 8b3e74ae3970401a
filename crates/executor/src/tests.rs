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
                Ok(Box::new(rows.into_iter().map(|(n, word)| Ok(vec![Datum::Int4(n), Datum::text(word)]))))
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

// --- parameters ---

fn infer(sql: &str, given: &[Oid]) -> Result<Vec<Oid>> {
    let raw = parser::parse(sql)?.remove(0);
    Ok(analyze(&raw, sql, ParamTypes::Infer(given), &env())?.param_types)
}

#[track_caller]
fn check_params(sql: &str, given: &[Oid], expected: &[Oid]) {
    assert_eq!(infer(sql, given).map_err(|e| e.to_string()), Ok(expected.to_vec()), "{sql}");
}

#[test]
fn parameter_types_follow_from_their_use() {
    check_params("select $1", &[], &[oid::TEXT]);
    check_params("select $1 + 1", &[], &[oid::INT4]);
    check_params("select $1::date, $2 || 'x'", &[], &[oid::DATE, oid::TEXT]);
    check_params("select 1 where $1", &[], &[oid::BOOL]);
    check_params("select 1 limit $1", &[], &[oid::INT8]);
    check_params("select $2, $1", &[oid::INT8, Oid(0)], &[oid::INT8, oid::TEXT]);
    check_params("select 1 in ($1, $2)", &[], &[oid::INT4, oid::INT4]);
    check_params("select * from generate_series(1, $1)", &[], &[oid::INT4]);
    check_params("values ($1, 1)", &[], &[oid::TEXT]);
    check_params("select 1 union select $1", &[], &[oid::INT4]);
    check_params("select case when $1 then $2 else 5 end", &[], &[oid::BOOL, oid::INT4]);
    check_params("select 1", &[oid::INT4], &[oid::INT4]);
}

#[track_caller]
fn check_params_error(sql: &str, expected: &str) {
    let lines = infer(sql, &[]).map_or_else(|e| error_lines(&e), |types| vec![format!("{types:?}")]);
    assert_eq!(lines.join(" / "), expected, "{sql}");
}

#[test]
fn parameters_without_a_type() {
    check_params_error("select $2::int", "ERROR 42P18 - could not determine data type of parameter $1");
    check_params_error("select $1 is null", "ERROR 42P18 - could not determine data type of parameter $1");
    check_params_error(
        "select substr($1, $1)",
        "ERROR 42P08 19 inconsistent types deduced for parameter $1 / DETAIL text versus integer",
    );
    check_params_error("select $0", "ERROR 42P02 8 there is no parameter $0");
    check_error("select $1", "ERROR 42P02 8 there is no parameter $1");
}

#[test]
fn parameter_values_reach_every_level() {
    let values = vec![Datum::Int4(40), Datum::text("x")];
    let types = [oid::INT4, oid::TEXT];
    let sql = "select $1 + 2, (select $2 || g from generate_series($1, 40) g)";
    let lines = run(&env(), sql, ParamTypes::Fixed(&types), values).unwrap();
    assert_eq!(lines[1..], ["42|x40"]);
}

#[test]
fn arguments_of_execute() {
    let sql = "execute p (1 + 1, 'x')";
    let parser::Statement::Execute { args, .. } = parser::parse(sql).unwrap().remove(0).stmt else {
        panic!("not EXECUTE")
    };
    let analyzed = analyze_arguments(&args, &[oid::INT8, oid::TEXT], sql, &env()).unwrap();
    let row = plan(analyzed).start(Vec::new()).next(&Session::detached(0)).unwrap().unwrap();
    assert!(matches!(row.as_slice(), [Datum::Int8(2), Datum::Text(s)] if &**s == "x"), "{row:?}");
    let wrong = analyze_arguments(&args, &[oid::INT8, oid::DATE], sql, &env()).unwrap_err();
    assert_eq!(wrong.message, "invalid input syntax for type date: \"x\"");
}

// --- relations ---

#[test]
fn relations_of_the_server() {
    check("select * from pg_numbers", "1|one 2|two");
    check("select word from pg_catalog.pg_numbers p where p.n = 2", "two");
    check("select a.n, b.n from pg_numbers a, pg_numbers b where a.n < b.n", "1|2");
    check("select pg_numbers.word from pg_numbers order by n desc", "two one");
    check("select count(*) from pg_numbers, generate_series(1,3)", "6");
    check_error(
        "select * from nosuch.pg_numbers",
        "ERROR 42P01 15 relation \"nosuch.pg_numbers\" does not exist",
    );
    check_error(
        "select pg_numbers.n from pg_numbers p",
        "ERROR 42P01 8 invalid reference to FROM-clause entry for table \"pg_numbers\"",
    );
    check_error("insert into pg_numbers values (1)", "ERROR 55000 - cannot insert into view \"pg_numbers\"");
    check_error("create table t (a int)", "ERROR 0A000 - CREATE TABLE is not supported yet");
    check_error("grant select on t to u", "ERROR 0A000 - GRANT is not supported yet");
}

// --- running ---

#[test]
fn a_run_may_rest_after_any_row() {
    let sql = "select g from generate_series(1, 3) g";
    let raw = parser::parse(sql).unwrap().remove(0);
    let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), &env()).unwrap());
    let session = Session::detached(0);
    let (mut a, mut b) = (plan.start(Vec::new()), plan.start(Vec::new()));
    let mut seen = Vec::new();
    for _ in 0..4 {
        for run in [&mut a, &mut b] {
            seen.push(run.next(&session).unwrap().map(|row| row[0].as_i64().unwrap()));
        }
    }
    assert_eq!(seen, [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3), None, None]);
    assert_eq!(a.row_count(), 3);
}

thread_local! {
    static CHECKS_LEFT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A session that is cancelled after a number of looks at pending interrupts.
fn cancelled_after(checks: u32) -> Session<'static> {
    CHECKS_LEFT.set(checks);
    Session {
        check_interrupts: || {
            CHECKS_LEFT.set(CHECKS_LEFT.get().saturating_sub(1));
            match CHECKS_LEFT.get() {
                0 => Err(elog::error!(
                    common::SqlState::QUERY_CANCELED,
                    "canceling statement due to user request"
                )),
                _ => Ok(()),
            }
        },
        ..Session::detached(0)
    }
}

#[test]
fn every_loop_can_be_cancelled() {
    let many = "generate_series(1, 1000000000)";
    for sql in [
        format!("select count(*) from {many}"),
        format!("select * from {many} g where g < 0"),
        format!("select * from {many} g order by 1"),
        format!("select distinct 1 from {many}"),
        format!("select * from {many} offset 1000000000"),
        format!("select 1 from {many} a join {many} b on false"),
        format!("select 1 from {many} a full join {many} b on false where false"),
        format!("select x from (select {many} x) s where x < 0"),
        format!("select 1 where 0 in (select g from {many} g)"),
        format!("select array(select g from {many} g)"),
        format!("select 1 union select 1 from {many}"),
        format!("select 1 except all select g from {many} g"),
        "with recursive t as (select 1 union all select 1 from t) select count(*) from t".to_string(),
        "with recursive t as (select 1 as n union select n from t where n = 1) select 1 from t, t u \
         union all select 1 from (with recursive v as (select 1 union all select 1 from v) select count(*) from v) w"
            .to_string(),
        format!("select g from {many} g group by g having g < 0"),
    ] {
        let raw = parser::parse(&sql).unwrap().remove(0);
        let plan = plan(analyze(&raw, &sql, ParamTypes::Fixed(&[]), &env()).unwrap());
        let session = cancelled_after(20_000);
        let mut execution = plan.start(Vec::new());
        let error = loop {
            match execution.next(&session) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{sql} ended"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.sqlstate.as_str(), "57014", "{sql}: {error}");
    }
}

#[test]
fn deep_expressions_end_in_an_error_at_worst() {
    let env = env();
    for n in [100, 1000, 3900] {
        for sql in [
            format!("select 1{}", "+1".repeat(n)),
            format!("select {}true", "not ".repeat(n)),
            format!("select {}1{}", "abs(".repeat(n), ")".repeat(n)),
            format!("select {}1{}", "(select ".repeat(n), ")".repeat(n)),
            format!("select 1{}", " union select 1".repeat(n)),
            format!("select 1 where {}", vec!["1 = 1"; n].join(" and ")),
        ] {
            let lines = answer(&env, &sql);
            let fine = lines.len() == 2 || lines[0].starts_with("ERROR 54001");
            assert!(fine, "{}: {lines:?}", &sql[..30]);
        }
    }
}

#[track_caller]
fn check_explain(sql: &str, expected: &str) {
    let raw = parser::parse(sql).unwrap().remove(0);
    let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), &env()).unwrap());
    let options = ExplainOptions { analyze: false, costs: false };
    assert_eq!(explain(&plan, options, &[]).join("\n"), expected, "{sql}");
}

#[test]
fn plans_are_shown_as_postgresql_shows_them() {
    check_explain("select 1", "Result");
    check_explain("select * from generate_series(1,2) g", "Function Scan on generate_series g");
    check_explain("select * from generate_series(1,2)", "Function Scan on generate_series");
    check_explain("values (1),(2)", "Values Scan on \"*VALUES*\"");
    check_explain("select generate_series(1,2) limit 1", "Limit\n  ->  ProjectSet\n        ->  Result");
    check_explain(
        "select count(*) from generate_series(1,2) a order by 1",
        "Sort\n  Sort Key: (count(*))\n  ->  Aggregate\n        ->  Function Scan on generate_series a",
    );
    check_explain("select (select 1)", "Result\n  InitPlan 1 (returns $0)\n    ->  Result");
    check_explain(
        "with a as (select 1) select * from a, a b",
        "Nested Loop\n  CTE a\n    ->  Result\n  ->  CTE Scan on a\n  ->  CTE Scan on a b",
    );
    check_explain("select 1 union all select 2", "Append\n  ->  Result\n  ->  Result");
}

mod soup {
    use proptest::prelude::*;

    use super::*;

    const WORDS: &[&str] = &[
        "select",
        "select",
        "from",
        "where",
        "(",
        ")",
        "(",
        ")",
        ",",
        "a",
        "x",
        "1",
        "2.5",
        "'x'",
        "null",
        "+",
        "-",
        "*",
        "=",
        "<",
        "::int",
        "::text",
        "and",
        "or",
        "not",
        "in",
        "between",
        "is",
        "case",
        "when",
        "then",
        "else",
        "end",
        "union",
        "all",
        "order by",
        "limit",
        "values",
        "with a as",
        "array[",
        "]",
        ".",
        "any",
        "row",
        "exists",
        "group by",
        "having",
        "count(*)",
        "sum(x)",
        "generate_series(1,3)",
        "(values (1),(2)) t(x)",
        "as",
        "join",
        "left join",
        "on",
        "using (x)",
        "lateral",
        "distinct",
        "coalesce",
        "nullif",
        "t",
        "$1",
        "as x",
        "(select 1)",
        "(select x)",
        "true",
        "interval '1 day'",
        "like",
        "[1]",
        "offset",
        "intersect",
        "asc",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn any_words_in_any_order(picks in proptest::collection::vec(0..WORDS.len(), 0..24)) {
            let text: Vec<&str> = picks.into_iter().map(|i| WORDS[i]).collect();
            let sql = format!("select {}", text.join(" "));
            let env = env();
            for raw in parser::parse(&sql).unwrap_or_default() {
                let Ok(analyzed) = analyze(&raw, &sql, ParamTypes::Infer(&[]), &env) else { continue };
                let values = analyzed.param_types.iter().map(|_| Datum::Null).collect();
                let mut execution = plan(analyzed).start(values);
                let session = cancelled_after(10_000);
                while let Ok(Some(_)) = execution.next(&session) {}
            }
        }
    }
}
