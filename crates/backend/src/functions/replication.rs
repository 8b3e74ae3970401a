//! The functions behind `pg_stat_replication` and `pg_stat_wal_receiver`.
//!
//! C counterpart: replication/walsender.c, replication/walreceiver.c.

use std::rc::Rc;

use elog::Result;
use types::fmgr::{Builtin, CallContext, RowIter};
use types::{Datum, RecordValue, oid};

use crate::views::replication::{WAL_SENDERS, wal_senders};
use crate::views::walreceiver::{self, wal_receiver};

pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::set(3099, "pg_stat_get_wal_senders", &[], oid::RECORD, pg_stat_get_wal_senders)
        .not_strict()
        .stable()
        .columns(WAL_SENDERS),
    Builtin::scalar(3317, "pg_stat_get_wal_receiver", &[], oid::RECORD, pg_stat_get_wal_receiver)
        .not_strict()
        .stable()
        .columns(walreceiver::COLUMNS),
];

fn pg_stat_get_wal_senders(_: &mut CallContext<'_>, _: &[Datum]) -> Result<RowIter> {
    Ok(Box::new(wal_senders().into_iter().map(Ok)))
}

fn pg_stat_get_wal_receiver(_: &mut CallContext<'_>, _: &[Datum]) -> Result<Datum> {
    let Some(values) = wal_receiver() else { return Ok(Datum::Null) };
    let (names, types) = walreceiver::COLUMNS.iter().map(|(name, ty)| ((*name).into(), *ty)).unzip();
    Ok(Datum::Record(Rc::new(RecordValue { types, names, values })))
}
