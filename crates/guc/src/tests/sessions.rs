//! SET, RESET and SHOW, with permissions and transactions.

use crate::state::for_test;
use crate::{
    GucAction, GucContext, GucSource, Privileges, at_sub_abort, at_sub_commit, at_xact_abort, at_xact_begin,
    at_xact_commit, current_setting, new_nest_level, note_first_query, reported, reset, reset_all, rows,
    set_config, set_dynamic_default, set_internal, set_option, show, take_reports, vars,
};

/// Runs a script, one command a line, and returns what it printed: values that were shown, and errors.
fn run(script: &str) -> Vec<String> {
    let mut printed = Vec::new();
    let mut levels = Vec::new();
    let mut context = GucContext::Superuser;
    for line in script.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let assign = |action| {
            let (name, value) = rest.split_once('=').expect("name=value");
            set_option(name, value, context, GucSource::Session, action)
        };
        let result = match verb {
            "user" => {
                context = GucContext::User;
                Ok(())
            }
            "set" => assign(GucAction::Set),
            "local" => assign(GucAction::Local),
            "save" => assign(GucAction::Save),
            "reset" if rest == "all" => {
                reset_all();
                Ok(())
            }
            "reset" => reset(rest, context),
            "show" => show(rest, &Privileges::ALL).map(|value| printed.push(value)),
            "begin" => {
                at_xact_begin();
                Ok(())
            }
            "commit" => {
                at_xact_commit();
                Ok(())
            }
            "rollback" => {
                at_xact_abort();
                Ok(())
            }
            "savepoint" => {
                levels.push(new_nest_level());
                Ok(())
            }
            "release" => {
                at_sub_commit(levels.pop().expect("a savepoint"));
                Ok(())
            }
            "rollback_to" => {
                at_sub_abort(levels.pop().expect("a savepoint"));
                Ok(())
            }
            "query" => {
                note_first_query();
                Ok(())
            }
            other => panic!("no such command: {other}"),
        };
        if let Err(error) = result {
            printed.push(format!("{} {error}", error.sqlstate));
        }
    }
    printed
}

#[track_caller]
fn check(script: &str, expected: &[&str]) {
    let _turn = for_test();
    assert_eq!(run(script), expected, "{script}");
}

#[test]
fn set_show_reset() {
    check(
        "show work_mem; set WORK_MEM=8MB; show Work_Mem; reset work_mem; show work_mem",
        &["4MB", "8MB", "4MB"],
    );
    check(
        "set DateStyle=german; show datestyle; set datestyle=postgres, us; show datestyle",
        &["German, DMY", "Postgres, MDY"],
    );
    check("set sort_mem=8MB; show work_mem", &["8MB"]);
    check(
        "show seed; set seed=0.5; show seed; show archive_command; show data_directory",
        &["unavailable", "unavailable", "(disabled)", ""],
    );
}

#[test]
fn who_may_set_what() {
    check(
        "set nosuch=1; show nosuch; reset nosuch; set port=1; set server_version=1; set fsync=off;
         set log_connections=on; set ignore_system_indexes=on; reset port",
        &[
            "42704 ERROR:  unrecognized configuration parameter \"nosuch\"",
            "42704 ERROR:  unrecognized configuration parameter \"nosuch\"",
            "42704 ERROR:  unrecognized configuration parameter \"nosuch\"",
            "55P02 ERROR:  parameter \"port\" cannot be changed without restarting the server",
            "55P02 ERROR:  parameter \"server_version\" cannot be changed",
            "55P02 ERROR:  parameter \"fsync\" cannot be changed now",
            "55P02 ERROR:  parameter \"log_connections\" cannot be set after connection start",
            "55P02 ERROR:  parameter \"ignore_system_indexes\" cannot be set after connection start",
            "55P02 ERROR:  parameter \"port\" cannot be changed without restarting the server",
        ],
    );
    check(
        "user; set log_statement=all; reset log_statement; set work_mem=1MB; show work_mem",
        &[
            "42501 ERROR:  permission denied to set parameter \"log_statement\"",
            "42501 ERROR:  permission denied to set parameter \"log_statement\"",
            "1MB",
        ],
    );
    let _turn = for_test();
    let hidden = show("config_file", &Privileges::NONE).unwrap_err();
    assert_eq!(
        hidden.message,
        "must be superuser or have privileges of pg_read_all_settings to examine \"config_file\""
    );
    let client = |context, name| {
        set_option(name, "on", context, GucSource::Client, GucAction::Set).map_err(|e| e.message.to_string())
    };
    assert_eq!(
        client(GucContext::Backend, "log_connections"),
        Err("permission denied to set parameter \"log_connections\"".to_owned())
    );
    assert_eq!(client(GucContext::SuperuserBackend, "log_connections"), Ok(()));
    assert_eq!(client(GucContext::Backend, "ignore_system_indexes"), Ok(()));
}

#[test]
fn custom_settings() {
    check(
        "set a.b=1; show A.B; set a.b.c=2; show a.b.c; reset a.b; show a.b; set a-b.c=1; reset x y; reset z.z",
        &[
            "1",
            "2",
            "",
            "42602 ERROR:  invalid configuration parameter name \"a-b.c\"\nDETAIL:  Custom parameter names must be \
         two or more simple identifiers separated by dots.",
            "42704 ERROR:  unrecognized configuration parameter \"x y\"",
        ],
    );
    let _turn = for_test();
    assert_eq!(current_setting("zz.y", true, &Privileges::NONE).expect("missing is fine"), None);
    assert!(current_setting("zz.y", false, &Privileges::NONE).is_err());
    let set = |value, local| set_config(Some("a.b"), value, local, GucContext::User, &Privileges::NONE);
    assert_eq!(set(Some("q"), false).expect("set"), "q");
    assert_eq!(set(None, false).expect("reset"), "");
    let error = set_config(None, Some("x"), false, GucContext::User, &Privileges::NONE).unwrap_err();
    assert_eq!((error.sqlstate.as_str(), error.message.as_ref()), ("22004", "SET requires parameter name"));
}

#[test]
fn rollback_and_commit() {
    check("begin; set work_mem=8MB; rollback; show work_mem", &["4MB"]);
    check("begin; set work_mem=8MB; commit; show work_mem", &["8MB"]);
    check("begin; local work_mem=8MB; show work_mem; commit; show work_mem", &["8MB", "4MB"]);
    check(
        "begin; set work_mem=8MB; local work_mem=16MB; show work_mem; commit; show work_mem",
        &["16MB", "8MB"],
    );
    check("begin; local work_mem=8MB; set work_mem=16MB; commit; show work_mem", &["16MB"]);
    check(
        "set work_mem=1MB; begin; set work_mem=8MB; reset work_mem; show work_mem; rollback; show work_mem",
        &["4MB", "1MB"],
    );
    check("set work_mem=1MB; begin; reset all; show work_mem; rollback; show work_mem", &["4MB", "1MB"]);
}

#[test]
fn savepoints() {
    let start = "begin; set work_mem=8MB; savepoint; set work_mem=16MB;";
    check(&format!("{start} rollback_to; show work_mem; commit; show work_mem"), &["8MB", "8MB"]);
    check(&format!("{start} release; show work_mem; commit; show work_mem"), &["16MB", "16MB"]);
    check(&format!("{start} release; rollback; show work_mem"), &["4MB"]);
    let local = "begin; set work_mem=8MB; savepoint; local work_mem=16MB;";
    check(&format!("{local} release; show work_mem; commit; show work_mem"), &["16MB", "8MB"]);
    check(&format!("{local} rollback_to; show work_mem; commit; show work_mem"), &["8MB", "8MB"]);
    let deep = "begin; savepoint; savepoint; set work_mem=8MB; release; show work_mem;";
    check(&format!("{deep} rollback_to; show work_mem; commit"), &["8MB", "4MB"]);
    check(&format!("{deep} release; commit; show work_mem"), &["8MB", "8MB"]);
    check("begin; savepoint; save work_mem=8MB; rollback_to; show work_mem; rollback", &["4MB"]);
}

#[test]
fn characteristics_of_a_transaction() {
    check(
        "begin; set transaction_isolation=serializable; show transaction_isolation; query;
         set transaction_isolation=read committed; set transaction_isolation=serializable; rollback;
         begin; show transaction_isolation; savepoint; set transaction_isolation=serializable; rollback",
        &[
            "serializable",
            "25001 ERROR:  SET TRANSACTION ISOLATION LEVEL must be called before any query",
            "read committed",
            "25001 ERROR:  SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
        ],
    );
    check(
        "set default_transaction_read_only=on; begin; show transaction_read_only; set transaction_read_only=off;
         set transaction_read_only=on; query; set transaction_read_only=off; savepoint;
         set transaction_read_only=off; rollback",
        &[
            "on",
            "25001 ERROR:  transaction read-write mode must be set before any query",
            "25001 ERROR:  cannot set transaction read-write mode inside a read-only transaction",
        ],
    );
    check(
        "begin; query; set transaction_deferrable=on; rollback",
        &["25001 ERROR:  SET TRANSACTION [NOT] DEFERRABLE must be called before any query"],
    );
}

#[test]
fn checks() {
    check(
        "set log_parser_stats=on; set log_statement_stats=on; set default_with_oids=on;
         set default_table_access_method=; set application_name=\u{e9} x\ty; show application_name;
         set datestyle=iso,german; set datestyle=foo; set client_encoding=foo; set client_encoding=utf-8;
         show client_encoding; set timezone=foo; set timezone=europe/paris; show timezone",
        &[
            "22023 ERROR:  invalid value for parameter \"log_statement_stats\": 1\nDETAIL:  Cannot enable \
             \"log_statement_stats\" when \"log_parser_stats\", \"log_planner_stats\", or \
             \"log_executor_stats\" is true.",
            "0A000 ERROR:  tables declared WITH OIDS are not supported",
            "22023 ERROR:  invalid value for parameter \"default_table_access_method\": \"\"\nDETAIL:  \
             default_table_access_method cannot be empty.",
            "?? x?y",
            "22023 ERROR:  invalid value for parameter \"DateStyle\": \"iso,german\"\nDETAIL:  Conflicting \
             \"datestyle\" specifications.",
            "22023 ERROR:  invalid value for parameter \"DateStyle\": \"foo\"\nDETAIL:  Unrecognized key word: \
             \"foo\".",
            "22023 ERROR:  invalid value for parameter \"client_encoding\": \"foo\"",
            "UTF8",
            "22023 ERROR:  invalid value for parameter \"TimeZone\": \"foo\"",
            "Europe/Paris",
        ],
    );
}

#[test]
fn datestyle_keeps_what_is_not_named() {
    for (words, style) in [
        ("ISO, MDY", "ISO, MDY"),
        ("DMY", "ISO, DMY"),
        ("postgresql,european", "Postgres, DMY"),
        ("us", "ISO, MDY"),
        ("", "ISO, MDY"),
        ("\"ISO\" , \"ymd\"", "ISO, YMD"),
        ("noneuro,german", "German, MDY"),
        ("german", "German, DMY"),
        ("sql", "SQL, MDY"),
        ("iso,default", "ISO, MDY"),
    ] {
        check(&format!("set datestyle={words}; show datestyle"), &[style]);
    }
}

#[test]
fn stronger_sources_win() {
    let _turn = for_test();
    let set = |value, context, source| set_option("work_mem", value, context, source, GucAction::Set);
    let start = GucContext::Postmaster;
    set("2MB", start, GucSource::CommandLine).expect("from the command line");
    set("1MB", start, GucSource::File).expect("outranked, and no error");
    assert_eq!(vars::WORK_MEM.get(), 2048);
    set("3MB", GucContext::Superuser, GucSource::User).expect("from the role");
    set("5MB", GucContext::User, GucSource::Session).expect("from the session");
    set("4MB", GucContext::User, GucSource::Client).expect("a new reset value only");
    assert_eq!(vars::WORK_MEM.get(), 5120);
    reset("work_mem", GucContext::User).expect("reset");
    assert_eq!(vars::WORK_MEM.get(), 4096);
    let row = rows().into_iter().find(|row| row.name == "work_mem").expect("the row");
    assert_eq!((row.setting.as_str(), row.source, row.unit), ("4096", "client", Some("kB")));
    // A bad value from the catalogs is a WARNING, not an error.
    set("abc", GucContext::Superuser, GucSource::Database).expect("reported only");
}

#[test]
fn dynamic_defaults_and_facts() {
    let _turn = for_test();
    set_dynamic_default("wal_buffers", "512").expect("worked out");
    set_internal("server_encoding", "UTF8").expect("stated");
    set_internal("data_checksums", "on").expect("stated");
    assert_eq!(show("wal_buffers", &Privileges::NONE).expect("shown"), "4MB");
    assert_eq!(&*vars::SERVER_ENCODING.get(), "UTF8");
    assert!(vars::DATA_CHECKSUMS.get());
}

#[test]
fn clients_are_told_of_net_changes() {
    let _turn = for_test();
    let first = reported();
    let names: Vec<&str> = first.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "application_name",
            "client_encoding",
            "DateStyle",
            "default_transaction_read_only",
            "in_hot_standby",
            "integer_datetimes",
            "IntervalStyle",
            "is_superuser",
            "server_encoding",
            "server_version",
            "session_authorization",
            "standard_conforming_strings",
            "TimeZone"
        ]
    );
    assert!(take_reports().is_empty());
    run("set application_name=x; set work_mem=1MB");
    assert_eq!(take_reports(), [("application_name", "x".to_owned())]);
    run("begin; set application_name=y; rollback");
    assert!(take_reports().is_empty(), "it is x again");
}
