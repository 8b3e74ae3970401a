//! `pg_shutdown_forecast(mode)`: what a stop of the server would wait for, were it ordered now.
//!
//! One row a thing, in the order in which the stop comes to them, the last one the total. What is seen is `shutdown::observe`'s, what
//! follows from it `stopreport`'s, which also serves `pg_ctl stop --forecast`; here are who may ask, and what a session knows
//! better: how many files wait for the archiver now, and which session is the one that asks. That one is no row of a fast
//! stop (its transaction is this question), and of a smart one it is: it would be waited for.
//!
//! The columns: `step` is the same for what works side by side, NULL for the total; `bytes` are those left to write or to be
//! confirmed by a receiver; `files` those left to sync or to archive; `rate` is in bytes a second, in files a second for the archiver;
//! `seconds` is NULL if nobody can say, and then `detail` says why.
//!
//! C counterpart: none.

use std::io;

use common::{Oid, SqlState};
use elog::{Result, errno_text, error};
use miscinit::globals;
use shutdown::Scope;
use stopreport::{Item, Kind, Mode};
use types::fmgr::{Builtin, CallContext, RowIter};
use types::{Datum, oid};

use super::only_monitor;

/// This project's own; its OID is from the range that PostgreSQL keeps for development.
pub(super) static FUNCTIONS: &[Builtin] =
    &[Builtin::set(9001, NAME, &[oid::TEXT], oid::RECORD, pg_shutdown_forecast)
        .volatile()
        .names(&["mode"])
        .defaults(&[Some("fast")])
        .columns(COLUMNS)];

const NAME: &str = "pg_shutdown_forecast";

const COLUMNS: &[(&str, Oid)] = &[
    ("step", oid::INT4),
    ("kind", oid::TEXT),
    ("pid", oid::INT4),
    ("name", oid::TEXT),
    ("bytes", oid::INT8),
    ("files", oid::INT8),
    ("rate", oid::FLOAT8),
    ("seconds", oid::FLOAT8),
    ("detail", oid::TEXT),
];

fn pg_shutdown_forecast(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    only_monitor(NAME)?;
    let mode = parse_mode(args.first().and_then(Datum::as_str).unwrap_or_default())?;
    let me = globals::my_proc_pid();
    let mut seen = shutdown::observe(Scope::Everything);
    if let Some(archiver) = &mut seen.archiver {
        archiver.files = shutdown::count_ready().map_err(|e| unreadable(&e))?;
    }
    if mode != Mode::Smart {
        seen.sessions.retain(|session| session.pid != me);
    }
    let mut items = stopreport::forecast(&seen, mode);
    let mine = items.iter_mut().find(|item| item.kind == Kind::Session && item.pid == Some(me));
    if let Some(mine) = mine {
        mine.detail = Some("waits for its client: the session that asks".to_owned());
    }
    Ok(Box::new(items.into_iter().map(|item| Ok(row(item)))))
}

fn parse_mode(word: &str) -> Result<Mode> {
    Mode::parse(word).ok_or_else(|| {
        error!(SqlState::INVALID_PARAMETER_VALUE, "unrecognized shutdown mode \"{word}\"")
            .hint("Available modes are \"smart\", \"fast\" and \"immediate\".")
    })
}

fn unreadable(e: &io::Error) -> elog::PgError {
    let code = elog::sqlstate_for_file_access(e);
    error!(code, "could not open directory \"pg_wal/archive_status\": {}", errno_text(e))
}

fn row(item: Item) -> Vec<Datum> {
    fn known<T>(value: Option<T>, datum: impl FnOnce(T) -> Datum) -> Datum {
        value.map_or(Datum::Null, datum)
    }
    let count = |value: Option<u64>| known(value, |n| Datum::Int8(i64::try_from(n).unwrap_or(i64::MAX)));
    let remarks = item.remarks();
    vec![
        known(item.kind.step(), Datum::Int4),
        Datum::text(item.kind.word()),
        known(item.pid, Datum::Int4),
        known(item.name, Datum::text),
        count(item.bytes),
        count(item.files),
        known(item.rate, Datum::Float8),
        known(item.seconds, Datum::Float8),
        known(remarks, Datum::text),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(parse_mode("smart").unwrap(), Mode::Smart);
        let error = parse_mode("x").unwrap_err();
        assert_eq!(error.message, "unrecognized shutdown mode \"x\"");
    }

    #[test]
    fn a_row_has_as_many_values_as_columns() {
        let item = Item { files: Some(u64::MAX), rate: Some(0.5), ..Item::new(Kind::Archiver) };
        let row = row(item);
        assert_eq!(row.len(), COLUMNS.len());
        assert!(matches!(row[5], Datum::Int8(i64::MAX)) && matches!(row[7], Datum::Null));
    }
}
