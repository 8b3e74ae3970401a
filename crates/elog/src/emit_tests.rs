//! Whole entries in each format, compared with what PostgreSQL 15 wrote for the same report; and routing.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use common::SqlState;

use super::*;
use crate::config::{LogDestination, Verbosity};
use crate::session::SessionInfo;
use crate::{SourceLocation, ereport, error};

const PREFIX: &str = "<a=%a|u=%u|d=%d|r=%r|h=%h|b=%b|p=%p|P=%P|m=%m|n=%n|Q=%Q|i=%i|e=%e|c=%c|l=%l|s=%s|v=%v|x=%x|5u=%5u\
                      |-10u=%-10u|9p=%9p|z=%z|-12v=%-12v|5z%5z|%%|8P=%8P|%q-30r=%-30r> ";

fn recorded_config() -> LogConfig {
    LogConfig {
        log_line_prefix: PREFIX.into(),
        log_error_verbosity: Verbosity::Verbose,
        log_timezone: "CST-8".into(),
        ..LogConfig::default()
    }
}

fn recorded_session() -> SessionInfo {
    SessionInfo {
        backend_type: BackendType::Backend,
        pid: 16407,
        user: Some("postgres".into()),
        database: Some("postgres".into()),
        remote_host: Some("[local]".into()),
        session_start: UNIX_EPOCH + Duration::from_secs(0x6b01_6157),
        application_name: "psql".into(),
        command_tag: "SELECT".into(),
        vxid: Some((3, 4)),
        statement: Some(Rc::from("select \"a\nb\"")),
        ..SessionInfo::default()
    }
}

fn recorded_postmaster() -> SessionInfo {
    SessionInfo {
        pid: 16398,
        session_start: UNIX_EPOCH + Duration::from_secs(0x6b01_6156),
        ..SessionInfo::default()
    }
}

fn at(routine: &'static str, file: &'static str, line: u32) -> SourceLocation {
    SourceLocation { routine, file, line }
}

fn missing_column() -> PgError {
    let place = at("errorMissingColumn", "parse_relation.c", 3665);
    let text = "column \"a\nb\" does not exist";
    PgError::new(Severity::Error, SqlState::UNDEFINED_COLUMN, text, place).position(8)
}

fn redirecting() -> PgError {
    let place = at("SysLogger_Start", "syslogger.c", 712);
    let text = "redirecting log output to logging collector process";
    PgError::new(Severity::Log, SqlState::SUCCESSFUL_COMPLETION, text, place)
        .hint("Future log output will appear in directory \"log\".")
}

fn render(config: LogConfig, session: &SessionInfo, error: &PgError, millis: i64, to: Destination) -> String {
    let mut out = Vec::new();
    let now = Timestamp::from_unix_micros(millis * 1000);
    State::new(config).format(&mut out, error, now, session, session.pid, to);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_client_s_error_as_text() {
    let prefix = |line: u32| {
        format!(
            "<a=psql|u=postgres|d=postgres|r=[local]|h=[local]|b=client backend|p=16407|P=|m=2026-11-21 17:16:07.055 CST\
             |n=1795252567.055|Q=0|i=SELECT|e=42703|c=6b016157.4017|l={line}|s=2026-11-21 17:16:07 CST|v=3/4|x=0\
             |5u=postgres|-10u=postgres  |9p=    16407|z=|-12v=3/4         |5z|%|8P=        \
             |-30r=[local]                       > "
        )
    };
    let expected = format!(
        "{}ERROR:  42703: column \"a\n\tb\" does not exist at character 8\n\
         {}LOCATION:  errorMissingColumn, parse_relation.c:3665\n\
         {}STATEMENT:  select \"a\n\tb\"\n",
        prefix(1),
        prefix(2),
        prefix(3)
    );
    let got = render(
        recorded_config(),
        &recorded_session(),
        &missing_column(),
        1_795_252_567_055,
        Destination::Stderr,
    );
    assert_eq!(got, expected);
}

#[test]
fn a_postmaster_s_message_as_text() {
    let prefix = |line: u32| {
        format!(
            "<a=|u=|d=|r=|h=|b=postmaster|p=16398|P=|m=2026-11-21 17:16:06.959 CST|n=1795252566.959|Q=0|i=|e=00000\
             |c=6b016156.400e|l={line}|s=2026-11-21 17:16:06 CST|v=|x=0|5u=     |-10u=          |9p=    16398|z=\
             |-12v=            |5z|%|8P=        |"
        )
    };
    let expected = format!(
        "{}LOG:  00000: redirecting log output to logging collector process\n\
         {}HINT:  Future log output will appear in directory \"log\".\n\
         {}LOCATION:  SysLogger_Start, syslogger.c:712\n",
        prefix(1),
        prefix(2),
        prefix(3)
    );
    let session = recorded_postmaster();
    let got = render(recorded_config(), &session, &redirecting(), 1_795_252_566_959, Destination::Stderr);
    assert_eq!(got, expected);
}

#[test]
fn verbosity_decides_what_a_line_says() {
    let error = missing_column().detail("d1\nd2").hint("h").context("c");
    let mut config = LogConfig { log_line_prefix: "> ".into(), ..recorded_config() };
    let mut check = |verbosity, expected: &str| {
        config.log_error_verbosity = verbosity;
        assert_eq!(render(config.clone(), &recorded_session(), &error, 0, Destination::Stderr), expected);
    };
    check(
        Verbosity::Terse,
        "> ERROR:  column \"a\n\tb\" does not exist at character 8\n> STATEMENT:  select \"a\n\tb\"\n",
    );
    check(
        Verbosity::Default,
        "> ERROR:  column \"a\n\tb\" does not exist at character 8\n> DETAIL:  d1\n\td2\n> HINT:  h\n> CONTEXT:  c\n\
         > STATEMENT:  select \"a\n\tb\"\n",
    );
}

#[test]
fn the_log_prefers_its_own_detail_and_can_hide_the_statement() {
    let error = missing_column().detail("for the client").detail_log("for the log").hide_statement();
    let config = LogConfig { log_line_prefix: String::new(), ..LogConfig::default() };
    assert_eq!(
        render(config, &recorded_session(), &error, 0, Destination::Stderr),
        "ERROR:  column \"a\n\tb\" does not exist at character 8\nDETAIL:  for the log\n"
    );
}

#[test]
fn csv_rows() {
    let row = render(
        recorded_config(),
        &recorded_session(),
        &missing_column(),
        1_795_252_567_055,
        Destination::Csvlog,
    );
    assert_eq!(
        row,
        "2026-11-21 17:16:07.055 CST,\"postgres\",\"postgres\",16407,\"[local]\",6b016157.4017,1,\"SELECT\",\
         2026-11-21 17:16:07 CST,3/4,0,ERROR,42703,\"column \"\"a\nb\"\" does not exist\",,,,,,\"select \"\"a\nb\"\"\",8,\
         \"errorMissingColumn, parse_relation.c:3665\",\"psql\",\"client backend\",,0\n"
    );
    let session = recorded_postmaster();
    assert_eq!(
        render(recorded_config(), &session, &redirecting(), 1_795_252_566_959, Destination::Csvlog),
        "2026-11-21 17:16:06.959 CST,,,16398,,6b016156.400e,1,,2026-11-21 17:16:06 CST,,0,LOG,00000,\
         \"redirecting log output to logging collector process\",,\
         \"Future log output will appear in directory \"\"log\"\".\",,,,,,\
         \"SysLogger_Start, syslogger.c:712\",\"\",\"postmaster\",,0\n"
    );
}

#[test]
fn a_csv_row_of_a_tcp_client_has_its_port() {
    let session = SessionInfo {
        remote_host: Some("10.0.0.1".into()),
        remote_port: Some("5000".into()),
        leader_pid: 7,
        ..recorded_session()
    };
    let row = render(recorded_config(), &session, &missing_column(), 0, Destination::Csvlog);
    assert!(row.contains(",16407,\"10.0.0.1:5000\",6b016157.4017,"), "{row}");
    assert!(row.ends_with(",7,0\n"), "{row}");
}

#[test]
fn json_objects() {
    let object = render(
        recorded_config(),
        &recorded_session(),
        &missing_column(),
        1_795_252_567_055,
        Destination::Jsonlog,
    );
    assert_eq!(
        object,
        "{\"timestamp\":\"2026-11-21 17:16:07.055 CST\",\"user\":\"postgres\",\"dbname\":\"postgres\",\"pid\":16407,\
         \"remote_host\":\"[local]\",\"session_id\":\"6b016157.4017\",\"line_num\":1,\"ps\":\"SELECT\",\
         \"session_start\":\"2026-11-21 17:16:07 CST\",\"vxid\":\"3/4\",\"txid\":0,\"error_severity\":\"ERROR\",\
         \"state_code\":\"42703\",\"message\":\"column \\\"a\\nb\\\" does not exist\",\
         \"statement\":\"select \\\"a\\nb\\\"\",\"cursor_position\":8,\"func_name\":\"errorMissingColumn\",\
         \"file_name\":\"parse_relation.c\",\"file_line_num\":3665,\"application_name\":\"psql\",\
         \"backend_type\":\"client backend\",\"query_id\":0}\n"
    );
    let session = recorded_postmaster();
    let plain = LogConfig { log_error_verbosity: Verbosity::Default, ..recorded_config() };
    assert_eq!(
        render(plain, &session, &redirecting(), 1_795_252_566_959, Destination::Jsonlog),
        "{\"timestamp\":\"2026-11-21 17:16:06.959 CST\",\"pid\":16398,\"session_id\":\"6b016156.400e\",\"line_num\":1,\
         \"session_start\":\"2026-11-21 17:16:06 CST\",\"txid\":0,\"error_severity\":\"LOG\",\
         \"message\":\"redirecting log output to logging collector process\",\
         \"hint\":\"Future log output will appear in directory \\\"log\\\".\",\"backend_type\":\"postmaster\",\
         \"query_id\":0}\n"
    );
}

#[test]
fn the_line_count_starts_again_in_another_process() {
    let mut state = State::new(LogConfig { log_line_prefix: "%l ".into(), ..LogConfig::default() });
    let mut line = |session: &SessionInfo, to| {
        let mut out = Vec::new();
        state.format(&mut out, &redirecting(), Timestamp::default(), session, session.pid, to);
        String::from_utf8(out).unwrap().split(' ').next().unwrap().to_owned()
    };
    let (parent, child) = (recorded_postmaster(), recorded_session());
    assert_eq!(line(&parent, Destination::Stderr), "1");
    assert_eq!(line(&parent, Destination::Stderr), "3", "the HINT line counted too");
    assert_eq!(line(&child, Destination::Stderr), "1");
}

thread_local! {
    static LOGGED: RefCell<Vec<(Destination, String)>> = const { RefCell::new(Vec::new()) };
    static SENT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Reports once and returns (did the log get it, did the client get it).
fn report_to(config: LogConfig, severity: Severity) -> (bool, bool) {
    set_logger_writer(Some(|bytes, to| {
        LOGGED.with_borrow_mut(|all| all.push((to, String::from_utf8_lossy(bytes).into_owned())));
    }));
    set_client_sink(Some(|error| SENT.with_borrow_mut(|all| all.push(error.message.to_string()))));
    apply(config);
    error!(SqlState::INTERNAL_ERROR, "x").with_severity(severity).report();
    (!LOGGED.take().is_empty(), !SENT.take().is_empty())
}

#[test]
fn thresholds() {
    let config = |log_min_messages, client_min_messages| LogConfig {
        log_min_messages,
        client_min_messages,
        ..LogConfig::default()
    };
    use Severity::*;
    let usual = config(Warning, Notice);
    for (severity, expected) in [
        (Debug1, (false, false)),
        (Info, (false, true)),
        (Notice, (false, true)),
        (Warning, (true, true)),
        (WarningClientOnly, (false, true)),
        (Log, (true, false)),
        (LogServerOnly, (true, false)),
        (Error, (true, true)),
        (Fatal, (true, true)),
    ] {
        assert_eq!(report_to(usual.clone(), severity), expected, "{severity:?}");
    }
    assert_eq!(report_to(config(Error, Log), Log), (true, true), "LOG ranks above ERROR in the log");
    assert_eq!(report_to(config(Log, Error), Error), (false, true));
    assert_eq!(report_to(config(Log, Error), Info), (false, true), "INFO always reaches the client");
    assert_eq!(report_to(config(Fatal, Error), Log), (false, false));
    assert_eq!(report_to(config(Debug5, Debug5), LogServerOnly), (true, false));
    set_client_auth_in_progress(true);
    assert_eq!(report_to(config(Warning, Debug5), Warning), (true, false), "not while authenticating");
    assert_eq!(report_to(config(Warning, Debug5), Error), (true, true));
    set_client_auth_in_progress(false);
}

#[test]
fn each_destination_gets_its_format() {
    let all = LogDestination { stderr: true, csvlog: true, jsonlog: true };
    report_to(LogConfig { log_destination: all, ..LogConfig::default() }, Severity::Debug5);
    ereport!(Log, "hello");
    let logged = LOGGED.take();
    let kinds: Vec<_> = logged.iter().map(|(to, _)| *to).collect();
    assert_eq!(kinds, [Destination::Csvlog, Destination::Jsonlog, Destination::Stderr]);
    assert!(logged[1].1.starts_with("{\"timestamp\""), "{logged:?}");
}

#[test]
fn a_sink_that_fails_is_not_asked_again() {
    set_logger_writer(Some(|bytes, to| {
        LOGGED.with_borrow_mut(|all| all.push((to, String::from_utf8_lossy(bytes).into_owned())));
    }));
    apply(LogConfig { log_line_prefix: String::new(), ..LogConfig::default() });
    set_client_sink(Some(|_| error!(SqlState::CONNECTION_FAILURE, "connection lost").report()));
    error!(SqlState::DIVISION_BY_ZERO, "division by zero").report();
    let lines: Vec<_> = LOGGED.take().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["ERROR:  division by zero\n", "ERROR:  connection lost\n"]);
    assert_eq!(DEPTH.get(), 0);
}

#[test]
fn endless_recursion_ends() {
    set_logger_writer(Some(|_, _| ereport!(Log, "again")));
    apply(LogConfig::default());
    ereport!(Log, "first");
    assert_eq!(DEPTH.get(), 0);
}

#[test]
fn reports_from_inside_an_update_of_the_session_are_harmless() {
    assert_eq!(session::update(|_| report_to(LogConfig::default(), Severity::Log)), (true, false));
}

/// Splits one CSV row as COPY does; `None` for an unquoted empty field.
fn parse_row(row: &str) -> Vec<Option<String>> {
    let (mut fields, mut chars) = (Vec::new(), row.strip_suffix('\n').unwrap().chars().peekable());
    loop {
        let (mut field, mut quoted) = (String::new(), false);
        if chars.next_if_eq(&'"').is_some() {
            quoted = true;
            while let Some(c) = chars.next() {
                if c == '"' && chars.next_if_eq(&'"').is_none() {
                    break;
                }
                field.push(c);
            }
        }
        while let Some(c) = chars.next_if(|c| *c != ',') {
            assert!(!quoted, "text after a closing quote in {row:?}");
            field.push(c);
        }
        fields.push(Some(field).filter(|field| quoted || !field.is_empty()));
        if chars.next().is_none() {
            return fields;
        }
    }
}

proptest::proptest! {
    #[test]
    fn a_csv_row_has_26_columns_whatever_is_in_them(
        message in "[a\",\n\\\\ ä]{0,12}",
        detail in proptest::option::of("[a\",\n ]{0,12}"),
        statement in proptest::option::of("[a\",\n ]{0,12}"),
        user in "[a\",\n]{0,8}",
        position in proptest::option::of(0u32..3),
    ) {
        let mut error = missing_column();
        error.message = message.clone().into();
        error.detail = detail.clone();
        error.position = position;
        let statement: Option<Rc<str>> = statement.map(Rc::from);
        let session = SessionInfo { user: Some(user.clone()), statement: statement.clone(), ..recorded_session() };
        let fields = parse_row(&render(recorded_config(), &session, &error, 0, Destination::Csvlog));
        proptest::prop_assert_eq!(fields.len(), 26);
        proptest::prop_assert_eq!(fields[1].clone(), Some(user));
        proptest::prop_assert_eq!(fields[13].clone(), Some(message));
        proptest::prop_assert_eq!(fields[14].clone(), detail);
        proptest::prop_assert_eq!(fields[19].as_deref(), statement.as_deref());
        let shown = position.filter(|at| *at > 0 && statement.is_some());
        proptest::prop_assert_eq!(fields[20].clone(), shown.map(|at| at.to_string()));
    }
}
