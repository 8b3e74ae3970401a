//! `pg_stat_progress_basebackup`: how far base backups are.
//!
//! C counterpart: `pg_stat_progress_basebackup` of catalog/system_views.sql, `pg_stat_get_progress_info` of
//! utils/adt/pgstatfuncs.c.

use activity::progress::{BaseBackupPhase, Command, UNKNOWN, base_backup as param};
use elog::Result;
use types::{Datum, oid};

use super::{Columns, Rows};
use crate::identity;
use crate::objects::Objects;

pub(super) const BASE_BACKUP_COLUMNS: Columns = &[
    ("pid", oid::INT4),
    ("phase", oid::TEXT),
    ("backup_total", oid::INT8),
    ("backup_streamed", oid::INT8),
    ("tablespaces_total", oid::INT8),
    ("tablespaces_streamed", oid::INT8),
];

/// The numbers are for who has the privileges of that session's role.
pub(super) fn base_backups(_: &Objects) -> Result<Rows> {
    let sight = identity::get().statistics_sight();
    let mut rows = Rows::new();
    for process in activity::snapshot() {
        let Some((Command::BaseBackup, params)) = process.progress else { continue };
        let mut row = vec![Datum::Int4(process.pid)];
        if sight.sees(process.usesysid) {
            row.push(Datum::text(BaseBackupPhase::text(params[param::PHASE])));
            let total = params[param::BYTES_TOTAL];
            row.push(if total == UNKNOWN { Datum::Null } else { Datum::Int8(total) });
            let rest = [param::BYTES_DONE, param::PARTS_TOTAL, param::PARTS_DONE];
            row.extend(rest.map(|at| Datum::Int8(params[at])));
        } else {
            row.extend([const { Datum::Null }; 5]);
        }
        rows.push(row);
    }
    Ok(rows)
}
