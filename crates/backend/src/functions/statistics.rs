//! Functions about statistics that return a row of their own.
//!
//! C counterpart: utils/adt/pgstatfuncs.c.

use std::rc::Rc;

use elog::Result;
use types::fmgr::{Builtin, CallContext};
use types::{Datum, RecordValue};

use crate::views::statistics;

pub(super) static FUNCTIONS: &[Builtin] =
    &[Builtin::scalar(3195, "pg_stat_get_archiver", &[], types::oid::RECORD, pg_stat_get_archiver)
        .stable()
        .columns(statistics::ARCHIVER_COLUMNS)];

fn pg_stat_get_archiver(_: &mut CallContext<'_>, _: &[Datum]) -> Result<Datum> {
    let (names, types) = statistics::ARCHIVER_COLUMNS.iter().map(|(name, ty)| ((*name).into(), *ty)).unzip();
    Ok(Datum::Record(Rc::new(RecordValue { types, names, values: statistics::archiver_row()? })))
}
