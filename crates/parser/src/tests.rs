//! Tests of the grammar, most of them against what the real server says.

use super::*;

fn outcome(sql: &str) -> String {
    match parse(sql) {
        Ok(_) => "ok".to_string(),
        Err(e) => {
            let position = e.position.map_or("-".to_string(), |p| p.to_string());
            format!("{} {position} {}", e.sqlstate, e.message)
        }
    }
}

/// `testdata/syntax.txt` was recorded from PostgreSQL 15.
#[test]
fn syntax_errors_are_those_of_postgresql() {
    let mut lines =
        include_str!("testdata/syntax.txt").lines().filter(|l| !l.starts_with("# ") && !l.is_empty());
    let mut wrong = Vec::new();
    let mut count = 0;
    while let (Some(sql), Some(expected)) = (lines.next(), lines.next()) {
        count += 1;
        let got = outcome(&sql.replace("\\n", "\n"));
        if got != expected.trim().replace("\\n", "\n") {
            wrong.push(format!("{sql}\n  expected {}\n  got      {got}", expected.trim()));
        }
    }
    assert!(count > 500, "the file is cut short");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[track_caller]
fn check_tags(sql: &str, expected: &str) {
    let tags: Vec<&str> = parse(sql).unwrap().iter().map(RawStmt::command_tag).collect();
    assert_eq!(tags.join(", "), expected, "{sql}");
}

#[test]
fn tags() {
    check_tags(
        "select 1; values (1); table a; with a as (select 1) select 2",
        "SELECT, SELECT, SELECT, SELECT",
    );
    check_tags("select 1 into a", "SELECT INTO");
    check_tags(
        "with a as (select 1) insert into b select 2; update t set a = 1; delete from t",
        "INSERT, UPDATE, DELETE",
    );
    check_tags(
        "begin; start transaction; end; abort; rollback to a",
        "BEGIN, START TRANSACTION, COMMIT, ROLLBACK, ROLLBACK",
    );
    check_tags("set a = 1; reset a; show a; discard temporary", "SET, RESET, SHOW, DISCARD TEMP");
    check_tags(
        "create temp table t (a int); create unique index i on t (a); drop view v",
        "CREATE TABLE, CREATE INDEX, DROP VIEW",
    );
    check_tags("do $$ x; y $$; grant a to b; copy t from stdin", "DO, GRANT, COPY");
    check_tags(
        "deallocate all; close all; move in a; analyze",
        "DEALLOCATE ALL, CLOSE CURSOR ALL, MOVE, ANALYZE",
    );
    check_tags(";; ;", "");
}

#[test]
fn tags_of_tables() {
    check_tags(
        "create table t as select 1; create table t (a int); drop index i; drop schema s; truncate t",
        "CREATE TABLE AS, CREATE TABLE, DROP INDEX, DROP SCHEMA, TRUNCATE TABLE",
    );
    check_tags("lock t; comment on table t is null; create schema s", "LOCK TABLE, COMMENT, CREATE SCHEMA");
}

#[test]
fn tables_keep_the_text_of_their_expressions() {
    let sql = "create table t (a int default  1 + 2 , check ( a > 0 and b ) no inherit)";
    let Statement::CreateTable(stmt) = &parse(sql).unwrap()[0].stmt else { panic!("not CREATE TABLE") };
    let [ast::TableElement::Column(column), ast::TableElement::Constraint(check)] = stmt.elements.as_slice()
    else {
        panic!("not a column and a constraint")
    };
    let ast::ConstraintKind::Default(default) = &column.constraints[0].kind else { panic!("no default") };
    assert_eq!(default.text, "1 + 2");
    let ast::ConstraintKind::Check(condition) = &check.kind else { panic!("no check") };
    assert_eq!((condition.text.as_str(), check.no_inherit), ("a > 0 and b", true));
    assert!(parse_expr(&condition.text).is_ok() && parse_expr("a b").is_err() && parse_expr("1 1").is_err());
}

#[test]
fn select_into_is_create_table_as() {
    let statements = parse("select 1 into temp t union select 2; select 1").unwrap();
    let made = statements[0].stmt.select_into().unwrap();
    assert_eq!(made.into.relation.name, ["t"]);
    assert_eq!(made.into.persistence, ast::Persistence::Temporary);
    assert!(made.query.select_into().is_none() && statements[1].stmt.select_into().is_none());
}

#[test]
fn old_copy_options_are_the_new_ones() {
    let copy = |sql: &str| match &parse(sql).unwrap()[0].stmt {
        Statement::Copy(copy) => {
            copy.options.iter().map(|o| (o.name.clone(), o.value.clone())).collect::<Vec<_>>()
        }
        _ => panic!("not COPY"),
    };
    let old = copy("copy t from stdin with delimiter as ';' null 'x' csv force not null a, b");
    let new = copy("copy t from stdin (delimiter ';', null 'x', format csv, force_not_null (a, b))");
    assert_eq!(old, new);
}

#[track_caller]
fn check_split(sql: &str, expected: &[&str]) {
    let texts: Vec<&str> = parse(sql).unwrap().iter().map(|raw| raw.text(sql)).collect();
    assert_eq!(texts, expected, "{sql}");
}

#[test]
fn statements_are_split_at_their_own_semicolons() {
    check_split("select 1; select 2;", &["select 1", "select 2"]);
    check_split("select ';'; select \";\"; select $$;$$", &["select ';'", "select \";\"", "select $$;$$"]);
    check_split(
        "select E'\\';' ; /* ; /* ; */ */ select 2 -- ;\n",
        &["select E'\\';'", "/* ; /* ; */ */ select 2 -- ;"],
    );
    check_split(";;select 1;;", &["select 1"]);
    check_split("do $a$ begin; end; $a$; begin", &["do $a$ begin; end; $a$", "begin"]);
}

#[test]
fn backslashes_without_standard_conforming_strings() {
    assert!(parse_with(r"select 'a\' b'", false).is_ok());
    assert!(parse_with(r"select 'a\' b'", true).is_err());
}

#[test]
fn values_of_set() {
    let sql = "set a to b, 'C d', -1.5, on";
    let Statement::Set(set) = &parse(sql).unwrap()[0].stmt else { panic!("not SET") };
    let ast::SetAction::Value { values, .. } = &set.action else { panic!("no values") };
    assert_eq!(ast::SetValue::flatten(values, false), "b, C d, -1.5, on");
    assert_eq!(ast::SetValue::flatten(values, true), "b, \"C d\", -1.5, \"on\"");
}

#[track_caller]
fn check_expr(sql: &str, expected: &str) {
    fn show(e: &ast::Expr) -> String {
        match &e.kind {
            ast::ExprKind::Integer(i) => i.to_string(),
            ast::ExprKind::Column(name) => name.join("."),
            ast::ExprKind::Op { name, left: Some(left), right } => {
                format!("({} {} {})", show(left), name.join("."), show(right))
            }
            ast::ExprKind::Op { name, left: None, right } => format!("({} {})", name.join("."), show(right)),
            ast::ExprKind::And(args) => args.iter().map(show).collect::<Vec<_>>().join(" & "),
            ast::ExprKind::Or(args) => format!("[{}]", args.iter().map(show).collect::<Vec<_>>().join(" | ")),
            ast::ExprKind::Not(arg) => format!("(not {})", show(arg)),
            ast::ExprKind::Cast { arg, type_name } => {
                format!("({}::{})", show(arg), type_name.name.join("."))
            }
            ast::ExprKind::IsNull { arg, .. } => format!("({} is null)", show(arg)),
            ast::ExprKind::Between { arg, low, high, .. } => {
                format!("({} between {} and {})", show(arg), show(low), show(high))
            }
            other => format!("{other:?}"),
        }
    }
    let statements = parse(&format!("select {sql}")).unwrap();
    let Statement::Select(select) = &statements[0].stmt else { panic!("not SELECT") };
    let ast::SelectBody::Simple(simple) = &select.body else { panic!("not simple") };
    assert_eq!(show(&simple.targets[0].expr), expected, "{sql}");
}

#[test]
fn precedence() {
    check_expr("1 + 2 * 3 ^ 4", "(1 + (2 * (3 ^ 4)))");
    check_expr("2 ^ 3 ^ 4", "((2 ^ 3) ^ 4)");
    check_expr("-1", "-1");
    check_expr("- 2 ^ 2", "(-2 ^ 2)");
    check_expr("-a ^ 2", "((- a) ^ 2)");
    check_expr("-a::text", "(- (a::text))");
    check_expr("a || b + c", "(a || (b + c))");
    check_expr("a || b = c", "((a || b) = c)");
    check_expr("not a = b and c or d", "[(not (a = b)) & c | d]");
    check_expr("a = b is null", "((a = b) is null)");
    check_expr("a and b and c and d", "a & b & c & d");
    check_expr("a between b + 1 and c + 1 and d", "(a between (b + 1) and (c + 1)) & d");
    check_expr("a - b - c", "((a - b) - c)");
    check_expr("! a || b", "((! a) || b)");
}

#[test]
fn deep_nesting_is_refused_not_crashed_on() {
    let deep = |open: &str, middle: &str, close: &str, n: usize| {
        format!("select {}{middle}{}", open.repeat(n), close.repeat(n))
    };
    let n = 200_000;
    for sql in [
        deep("(", "1", ")", n),
        deep("1+", "1", "", n),
        deep("not ", "true", "", n),
        deep("(select ", "1", ")", n),
        deep("- ", "a", "", n),
        deep("f(", "1", ")", n),
        deep("array[", "1", "]", n),
        deep("case when ", "1", " then 1 end", n),
        deep("", "1", "::int", n),
        deep("", "1 union select 1", " union select 1", n),
        deep("", "1", " between 1 and 1 + 1", 1).replace("1 + 1", &"1 + ".repeat(n)),
        format!("select * from a{}", " cross join b".repeat(n)),
        format!("select * from {}a", "(".repeat(n)),
        format!("create table t (a int default {}1)", "1+".repeat(n)),
        format!("create table t (a int default {}1)", "(".repeat(n)),
    ] {
        let error = parse(&sql).unwrap_err();
        let head = &sql[..40];
        assert!(matches!(error.sqlstate.as_str(), "54001" | "42601"), "{head}: {error}");
    }
    // What PostgreSQL accepts is accepted.
    assert!(parse(&deep("1+", "1", "", 2000)).is_ok());
    assert!(parse(&deep("(", "1", ")", 100)).is_ok());
    let long = format!("select 1 where {}", vec!["a = 1"; 20_000].join(" and "));
    assert!(parse(&long).is_ok());
}

mod soup {
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "select",
        "from",
        "where",
        "(",
        ")",
        "(",
        ")",
        ",",
        "a",
        "b",
        "1",
        "2.5",
        "'x'",
        "\"q\"",
        "+",
        "-",
        "*",
        "=",
        "<",
        "::",
        "int",
        "and",
        "or",
        "not",
        "in",
        "between",
        "is",
        "null",
        "case",
        "when",
        "then",
        "else",
        "end",
        "union",
        "all",
        "order",
        "by",
        "limit",
        "values",
        "with",
        "as",
        "array",
        "[",
        "]",
        ".",
        ";",
        "$1",
        "cast",
        "like",
        "escape",
        "join",
        "on",
        "using",
        "left",
        "lateral",
        "set",
        "to",
        "show",
        "create",
        "table",
        "drop",
        "insert",
        "into",
        "update",
        "delete",
        "begin",
        "any",
        "row",
        "exists",
        "interval",
        "extract",
        "substring",
        "for",
        "trim",
        "E'\\",
        "$$",
        "/*",
        "--",
        "\n",
        "é",
        "U&'\\00e9'",
        "vacuum",
        "role",
        "alter",
        "system",
        "fetch",
        "declare",
        "cursor",
        "explain",
        "operator",
        "distinct",
        "group",
        "having",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_words_in_any_order(picks in proptest::collection::vec(0..WORDS.len(), 0..40)) {
            let text: Vec<&str> = picks.into_iter().map(|i| WORDS[i]).collect();
            for separator in [" ", ""] {
                let sql = text.join(separator);
                if let Err(e) = super::parse(&sql) {
                    let position = e.position.unwrap_or(1) as usize;
                    prop_assert!(position <= sql.chars().count() + 1, "{sql}: {e} at {position}");
                }
                let _ = super::parse_with(&sql, false);
            }
        }

        #[test]
        fn any_characters(sql in "\\PC{0,60}") {
            let _ = super::parse(&sql);
            let _ = super::parse(&format!("select {sql}"));
            let _ = super::parse(&format!("select E'{sql}' u&'{sql}' uescape '!' from \"{sql}\""));
        }
    }
}
