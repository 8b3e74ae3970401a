//! Every escape, alone and padded. Expected texts follow what PostgreSQL 15 prints for the same settings.

use std::time::{Duration, UNIX_EPOCH};

use common::BackendType;

use super::*;

fn session() -> SessionInfo {
    SessionInfo {
        backend_type: BackendType::Backend,
        pid: 2850,
        user: Some("alice".into()),
        database: Some("shop".into()),
        remote_host: Some("127.0.0.1".into()),
        remote_port: Some("54321".into()),
        session_start: UNIX_EPOCH + Duration::from_secs(0x55bf_31ee),
        application_name: "psql".into(),
        command_tag: "SELECT".into(),
        vxid: Some((2, 11)),
        xid: 795,
        query_id: -42,
        ..SessionInfo::default()
    }
}

fn render(prefix: &str, session: &SessionInfo) -> String {
    let facts = LineFacts {
        session,
        pid: session.pid,
        now: Timestamp { seconds: 1_438_593_625, micros: 824_123 },
        timezone: &TimeZone::UTC,
        line_number: 3,
        sqlstate: SqlState::DIVISION_BY_ZERO,
    };
    let mut out = Vec::new();
    Prefix::compile(prefix).write(&mut out, &facts, &mut TimeCaches::default());
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(prefix: &str, for_client: &str, for_checkpointer: &str) {
    let aux = SessionInfo {
        backend_type: BackendType::Checkpointer,
        pid: 77,
        session_start: UNIX_EPOCH + Duration::from_secs(1),
        ..SessionInfo::default()
    };
    assert_eq!(render(prefix, &session()), for_client, "client backend, {prefix:?}");
    assert_eq!(render(prefix, &aux), for_checkpointer, "checkpointer, {prefix:?}");
}

#[test]
fn names() {
    check("<%a>", "<psql>", "<>");
    check("<%u>", "<alice>", "<>");
    check("<%d>", "<shop>", "<>");
    check("<%b>", "<client backend>", "<checkpointer>");
    check("<%r>", "<127.0.0.1(54321)>", "<>");
    check("<%h>", "<127.0.0.1>", "<>");
    check("<%i>", "<SELECT>", "<>");
}

#[test]
fn numbers() {
    check("<%p>", "<2850>", "<77>");
    check("<%P>", "<>", "<>");
    check("<%c>", "<55bf31ee.b22>", "<1.4d>");
    check("<%l>", "<3>", "<3>");
    check("<%v>", "<2/11>", "<>");
    check("<%x>", "<795>", "<0>");
    check("<%e>", "<22012>", "<22012>");
    check("<%Q>", "<-42>", "<0>");
}

#[test]
fn times() {
    check("<%t>", "<2015-08-03 09:20:25 UTC>", "<2015-08-03 09:20:25 UTC>");
    check("<%m>", "<2015-08-03 09:20:25.824 UTC>", "<2015-08-03 09:20:25.824 UTC>");
    check("<%n>", "<1438593625.824>", "<1438593625.824>");
    check("<%s>", "<2015-08-03 09:18:38 UTC>", "<1970-01-01 00:00:01 UTC>");
}

#[test]
fn q_stops_where_there_is_no_client() {
    check("%p %q%u@%d ", "2850 alice@shop ", "77 ");
}

#[test]
fn padding() {
    check("<%8u>", "<   alice>", "<        >");
    check("<%-8u>", "<alice   >", "<        >");
    check("<%2u>", "<alice>", "<  >");
    check("<%6p>", "<  2850>", "<    77>");
    check("<%-20r>", "<127.0.0.1(54321)    >", "<                    >");
    check("<%6v>", "<  2/11>", "<      >");
    check("<%-4P>", "<    >", "<    >");
    check("<%26t>", "<   2015-08-03 09:20:25 UTC>", "<   2015-08-03 09:20:25 UTC>");
}

#[test]
fn malformed_escapes_vanish() {
    check("100%% %z%5z|%", "100% |", "100% |");
    check("a%-5", "a", "a");
    check("%,x", "x", "x");
}

#[test]
fn absurd_padding_is_bounded() {
    assert_eq!(render("%99999999999999999999p", &session()).len(), 1000);
}

#[test]
fn unknown_names_and_unix_sockets() {
    let early = SessionInfo { remote_host: Some("[local]".into()), ..SessionInfo::default() };
    assert_eq!(render("%u|%d|%a|%r|%h", &early), "[unknown]|[unknown]|[unknown]|[local]|[local]");
}
