//! Functions about statistics that are not parts of views: one returns a row of its own, some count for one database.
//!
//! C counterpart: utils/adt/pgstatfuncs.c.

use std::rc::Rc;

use common::Oid;
use elog::Result;
use types::fmgr::{Builtin, CallContext};
use types::{Datum, RecordValue, oid};

use crate::views::statistics;

pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(3195, "pg_stat_get_archiver", &[], oid::RECORD, pg_stat_get_archiver)
        .stable()
        .columns(statistics::ARCHIVER_COLUMNS),
    of_database(3065, "pg_stat_get_db_conflict_tablespace", |_, args| conflict(args, 0)),
    of_database(3066, "pg_stat_get_db_conflict_lock", |_, args| conflict(args, 1)),
    of_database(3067, "pg_stat_get_db_conflict_snapshot", |_, args| conflict(args, 2)),
    of_database(3068, "pg_stat_get_db_conflict_bufferpin", |_, args| conflict(args, 3)),
    of_database(3069, "pg_stat_get_db_conflict_startup_deadlock", |_, args| conflict(args, 4)),
    of_database(3070, "pg_stat_get_db_conflict_all", |_, args| {
        Ok(Datum::Int8(statistics::conflicts(database(args))?.iter().sum()))
    }),
];

const fn of_database(
    number: u32,
    name: &'static str,
    function: fn(&mut CallContext<'_>, &[Datum]) -> Result<Datum>,
) -> Builtin {
    Builtin::scalar(number, name, &[oid::OID], oid::INT8, function).stable()
}

fn database(args: &[Datum]) -> Oid {
    match args {
        [Datum::Oid(number)] => Oid(*number),
        _ => Oid::INVALID,
    }
}

/// One reason's, by its place in the view.
fn conflict(args: &[Datum], reason: usize) -> Result<Datum> {
    Ok(Datum::Int8(statistics::conflicts(database(args))?[reason]))
}

fn pg_stat_get_archiver(_: &mut CallContext<'_>, _: &[Datum]) -> Result<Datum> {
    let (names, types) = statistics::ARCHIVER_COLUMNS.iter().map(|(name, ty)| ((*name).into(), *ty)).unzip();
    Ok(Datum::Record(Rc::new(RecordValue { types, names, values: statistics::archiver_row()? })))
}
