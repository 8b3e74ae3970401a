//! What the others tell the collector.
//!
//! A datagram is a kind and a row of 64-bit numbers in the machine's order: sender and receiver are one program.
//! One that is cut or unknown is dropped.
//!
//! C counterpart: `PgStat_Msg*` of pgstat.h.

use activity::counters::{BuffersTaken, DatabaseTaken, WalTaken};
use activity::table_stats::Drained;
use common::Oid;

use crate::entry::WalFileName;

/// Longest message, so that it always arrives whole. C: `PGSTAT_MAX_MSG_SIZE`.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8000;
/// Numbers that a table takes in [`Message::Tables`].
const NUMBERS_PER_TABLE: usize = 14;
/// Tables of one message at most. C: `PGSTAT_NUM_TABENTRIES`.
pub(crate) const TABLES_PER_MESSAGE: usize = (MAX_MESSAGE_BYTES / 8 - 4) / NUMBERS_PER_TABLE;
/// Tables that one [`Message::DropTables`] can name. C: `PGSTAT_NUM_TABPURGE`.
pub(crate) const DROPS_PER_MESSAGE: usize = MAX_MESSAGE_BYTES / 8 - 4;

/// Which of the cluster's counters start again. C: `PgStat_Shared_Reset_Target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum SharedTarget {
    /// `archiver`
    Archiver = 1,
    /// `bgwriter`
    BgWriter = 2,
    /// `wal`
    Wal = 3,
}

/// What was done to all rows of a table. C: `PgStat_MsgVacuum`, `PgStat_MsgAnalyze`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Database, [`Oid::INVALID`] for a shared table.
    pub database: Oid,
    /// The table.
    pub table: Oid,
    /// By autovacuum, not by a user.
    pub autovacuum: bool,
    /// When it ended.
    pub time: i64,
    /// Rows found alive.
    pub live: i64,
    /// Rows found dead and left.
    pub dead: i64,
    /// Of ANALYZE: all columns were looked at, so changes count from 0 again.
    pub reset_changes: bool,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields that say what their names say")]
pub enum Message {
    /// Transactions that a session ended in a database.
    Transactions { database: Oid, commits: u32, rollbacks: u32 },
    /// A database's counters start again from nothing. C: `PgStat_MsgResetcounter`.
    Reset { database: Oid },
    /// Somebody wants a file no older than `cutoff`. C: `PgStat_MsgInquiry`.
    Inquiry { database: Oid, now: i64, cutoff: i64 },
    /// What a session did to tables of a database, or ([`Oid::INVALID`]) to shared ones. C: `PgStat_MsgTabstat`.
    Tables { database: Oid, tables: Vec<Drained> },
    /// What else a session did. C: part of `PgStat_MsgTabstat`, `PgStat_MsgTempFile`, `PgStat_MsgDeadlock`,
    /// `PgStat_MsgConnect`, `PgStat_MsgDisconnect`.
    Session { database: Oid, counts: DatabaseTaken },
    /// Tables that are no more. C: `PgStat_MsgTabpurge`.
    DropTables { database: Oid, tables: Vec<Oid> },
    /// A database that is no more. C: `PgStat_MsgDropdb`.
    DropDatabase { database: Oid },
    /// C: `PgStat_MsgResetsharedcounter`.
    ResetShared { target: SharedTarget },
    /// C: `PgStat_MsgResetsinglecounter`.
    ResetTable { database: Oid, table: Oid },
    /// An autovacuum worker begins on a database. C: `PgStat_MsgAutovacStart`.
    AutovacuumStart { database: Oid, time: i64 },
    /// C: `PgStat_MsgVacuum`.
    Vacuum(Maintenance),
    /// C: `PgStat_MsgAnalyze`.
    Analyze(Maintenance),
    /// C: `PgStat_MsgBgWriter`.
    Buffers(BuffersTaken),
    /// C: `PgStat_MsgWal`.
    Wal(WalTaken),
    /// The archiver handed a file to the archive, or failed to. C: `PgStat_MsgArchiver`.
    Archived { name: WalFileName, failed: bool, time: i64 },
}

fn oid(number: i64) -> Option<Oid> {
    u32::try_from(number).ok().map(Oid)
}

fn put_drained(counts: &Drained, row: &mut Vec<i64>) {
    row.extend([
        i64::from(counts.rel.0),
        i64::from(counts.truncated),
        counts.seq_scan,
        counts.seq_tup_read,
        counts.tup_fetched,
        counts.tup_inserted,
        counts.tup_updated,
        counts.tup_deleted,
        counts.tup_hot_updated,
        counts.delta_live,
        counts.delta_dead,
        counts.changed,
        counts.blks_read,
        counts.blks_hit,
    ]);
}

fn take_drained(row: &mut dyn Iterator<Item = i64>, shared: bool) -> Option<Drained> {
    Some(Drained {
        rel: oid(row.next()?)?,
        shared,
        truncated: row.next()? != 0,
        seq_scan: row.next()?,
        seq_tup_read: row.next()?,
        tup_fetched: row.next()?,
        tup_inserted: row.next()?,
        tup_updated: row.next()?,
        tup_deleted: row.next()?,
        tup_hot_updated: row.next()?,
        delta_live: row.next()?,
        delta_dead: row.next()?,
        changed: row.next()?,
        blks_read: row.next()?,
        blks_hit: row.next()?,
    })
}

impl Maintenance {
    fn put(&self, row: &mut Vec<i64>) {
        row.extend([i64::from(self.database.0), i64::from(self.table.0), i64::from(self.autovacuum)]);
        row.extend([self.time, self.live, self.dead, i64::from(self.reset_changes)]);
    }

    fn take(row: &mut dyn Iterator<Item = i64>) -> Option<Maintenance> {
        Some(Maintenance {
            database: oid(row.next()?)?,
            table: oid(row.next()?)?,
            autovacuum: row.next()? != 0,
            time: row.next()?,
            live: row.next()?,
            dead: row.next()?,
            reset_changes: row.next()? != 0,
        })
    }
}

impl Message {
    /// The bytes of the datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        let kind = self.put(&mut row);
        let mut bytes = Vec::with_capacity(1 + row.len() * 8);
        bytes.push(kind);
        bytes.extend(row.into_iter().flat_map(i64::to_ne_bytes));
        bytes
    }

    fn put(&self, row: &mut Vec<i64>) -> u8 {
        let number = |oid: &Oid| i64::from(oid.0);
        match self {
            Message::Transactions { database, commits, rollbacks } => {
                row.extend([number(database), i64::from(*commits), i64::from(*rollbacks)]);
                1
            }
            Message::Reset { database } => {
                row.push(number(database));
                2
            }
            Message::Inquiry { database, now, cutoff } => {
                row.extend([number(database), *now, *cutoff]);
                3
            }
            Message::Tables { database, tables } => {
                row.extend([number(database), tables.len() as i64]);
                tables.iter().for_each(|table| put_drained(table, row));
                4
            }
            Message::Session { database, counts } => {
                row.push(number(database));
                row.extend(counts.to_array());
                5
            }
            Message::DropTables { database, tables } => {
                row.extend([number(database), tables.len() as i64]);
                row.extend(tables.iter().map(number));
                6
            }
            Message::DropDatabase { database } => {
                row.push(number(database));
                7
            }
            Message::ResetShared { target } => {
                row.push(*target as i64);
                8
            }
            Message::ResetTable { database, table } => {
                row.extend([number(database), number(table)]);
                9
            }
            Message::AutovacuumStart { database, time } => {
                row.extend([number(database), *time]);
                10
            }
            Message::Vacuum(what) => {
                what.put(row);
                11
            }
            Message::Analyze(what) => {
                what.put(row);
                12
            }
            Message::Buffers(counts) => {
                row.extend(counts.to_array());
                13
            }
            Message::Wal(counts) => {
                row.extend(counts.to_array());
                14
            }
            Message::Archived { name, failed, time } => {
                name.put(row);
                row.extend([i64::from(*failed), *time]);
                15
            }
        }
    }

    /// The message in a datagram; `None` for one that is cut or unknown.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let (kind, rest) = bytes.split_first()?;
        let (words, rest) = rest.as_chunks::<8>();
        let mut row = words.iter().map(|word| i64::from_ne_bytes(*word));
        let message = Message::take(*kind, &mut row)?;
        (rest.is_empty() && row.next().is_none()).then_some(message)
    }

    fn take(kind: u8, row: &mut dyn Iterator<Item = i64>) -> Option<Message> {
        let count = |n: i64| u32::try_from(n).ok();
        Some(match kind {
            1 => Message::Transactions {
                database: oid(row.next()?)?,
                commits: count(row.next()?)?,
                rollbacks: count(row.next()?)?,
            },
            2 => Message::Reset { database: oid(row.next()?)? },
            3 => Message::Inquiry { database: oid(row.next()?)?, now: row.next()?, cutoff: row.next()? },
            4 => {
                let database = oid(row.next()?)?;
                let tables = 0..row.next()?;
                let tables =
                    tables.map(|_| take_drained(row, !database.is_valid())).collect::<Option<_>>()?;
                Message::Tables { database, tables }
            }
            5 => Message::Session { database: oid(row.next()?)?, counts: DatabaseTaken::from_numbers(row)? },
            6 => {
                let database = oid(row.next()?)?;
                let tables = 0..row.next()?;
                let tables = tables.map(|_| oid(row.next()?)).collect::<Option<_>>()?;
                Message::DropTables { database, tables }
            }
            7 => Message::DropDatabase { database: oid(row.next()?)? },
            8 => Message::ResetShared {
                target: match row.next()? {
                    1 => SharedTarget::Archiver,
                    2 => SharedTarget::BgWriter,
                    3 => SharedTarget::Wal,
                    _ => return None,
                },
            },
            9 => Message::ResetTable { database: oid(row.next()?)?, table: oid(row.next()?)? },
            10 => Message::AutovacuumStart { database: oid(row.next()?)?, time: row.next()? },
            11 => Message::Vacuum(Maintenance::take(row)?),
            12 => Message::Analyze(Maintenance::take(row)?),
            13 => Message::Buffers(BuffersTaken::from_numbers(row)?),
            14 => Message::Wal(WalTaken::from_numbers(row)?),
            15 => Message::Archived {
                name: WalFileName::take(row)?,
                failed: row.next()? != 0,
                time: row.next()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_cut_ones_do_not() {
        let table = Drained { rel: Oid(16384), truncated: true, delta_dead: -3, ..Drained::default() };
        let work = Maintenance {
            database: Oid(5),
            table: Oid(16384),
            autovacuum: true,
            time: 77,
            live: 1,
            dead: 0,
            reset_changes: true,
        };
        let counts = DatabaseTaken { commits: 3, sessions_killed: 1, ..DatabaseTaken::default() };
        for message in [
            Message::Transactions { database: Oid(5), commits: 3, rollbacks: 1 },
            Message::Reset { database: Oid(5) },
            Message::Inquiry { database: Oid(5), now: 2, cutoff: 1 },
            Message::Tables { database: Oid(5), tables: vec![table; TABLES_PER_MESSAGE] },
            Message::Session { database: Oid(5), counts },
            Message::DropTables { database: Oid(5), tables: vec![Oid(1); DROPS_PER_MESSAGE] },
            Message::DropDatabase { database: Oid(5) },
            Message::ResetShared { target: SharedTarget::Wal },
            Message::ResetTable { database: Oid(5), table: Oid(u32::MAX) },
            Message::AutovacuumStart { database: Oid(5), time: 9 },
            Message::Vacuum(work),
            Message::Analyze(work),
            Message::Buffers(BuffersTaken { alloc: 9, ..BuffersTaken::default() }),
            Message::Wal(WalTaken { bytes: 1 << 40, ..WalTaken::default() }),
            Message::Archived { name: WalFileName::new("00000002.history"), failed: true, time: -7 },
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_MESSAGE_BYTES, "{} bytes", bytes.len());
            assert_eq!(Message::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Message::decode(&bytes[..bytes.len() - 8]), None);
            assert_eq!(Message::decode(&bytes), Some(message));
        }
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[99, 0, 0]), None);
    }
}
