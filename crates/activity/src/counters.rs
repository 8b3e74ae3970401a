//! What this process did besides changing tables, since the statistics collector was last told: WAL written,
//! buffers written, sessions, temporary files.
//!
//! Each counter is a cell of this process; the layers that do the work add to it, `pgstat` takes it. Counting
//! costs an addition. Times are microseconds.
//!
//! C counterparts: `pgWalUsage` and `PendingWalStats`, `PendingBgWriterStats`, `PendingCheckpointerStats`, the
//! `pgStat*` globals of pgstat_database.c.

use std::cell::Cell;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident / $taken:ident as $static:ident {
        $($(#[$field_doc:meta])* $field:ident,)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default)]
            pub struct $name { $($(#[$field_doc])* pub $field: Cell<i64>,)* }

            /// The same numbers, taken.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $taken { $($(#[$field_doc])* pub $field: i64,)* }

            impl $name {
                /// The numbers so far, without taking them.
                pub fn get(&self) -> $taken {
                    $taken { $($field: self.$field.get(),)* }
                }
                /// Takes the numbers: they start again from 0.
                pub fn take(&self) -> $taken {
                    $taken { $($field: self.$field.take(),)* }
                }
            }

            impl $taken {
                /// Adds `other` to each number.
                pub fn add(&mut self, other: &$taken) {
                    $(self.$field = self.$field.wrapping_add(other.$field);)*
                }
                /// Whether all numbers are 0.
                pub fn is_zero(&self) -> bool {
                    *self == $taken::default()
                }
                /// The numbers in the order of their declaration: for messages and files.
                pub fn to_array(&self) -> Vec<i64> {
                    vec![$(self.$field),*]
                }
                /// The reverse of [`Self::to_array`]; takes as many numbers as there are fields.
                pub fn from_numbers(numbers: &mut dyn Iterator<Item = i64>) -> Option<$taken> {
                    Some($taken { $($field: numbers.next()?,)* })
                }
            }

            thread_local! { static $static: $name = const { $name { $($field: Cell::new(0),)* } }; }
        )*
    };
}

counters! {
    /// WAL inserted and written. C: `WalUsage`, `PgStat_WalStats`.
    Wal / WalTaken as WAL {
        /// Records inserted.
        records,
        /// Full-page images among them.
        fpi,
        /// Bytes of the records.
        bytes,
        /// Times a page of the WAL buffers had to be written out to make room.
        buffers_full,
        /// Writes of WAL to disk.
        write,
        /// Syncs of WAL to disk.
        sync,
        /// Time spent on the writes, if `track_wal_io_timing` is on.
        write_micros,
        /// Time spent on the syncs, if `track_wal_io_timing` is on.
        sync_micros,
    }
    /// The buffer pool as background writer and checkpointer see it. C: `PgStat_BgWriterStats`,
    /// `PgStat_CheckpointerStats`.
    Buffers / BuffersTaken as BUFFERS {
        /// Checkpoints because the time had come. C: `timed_checkpoints`.
        checkpoints_timed,
        /// Checkpoints on request, also by the amount of WAL.
        checkpoints_requested,
        /// Milliseconds that checkpoints spent writing.
        checkpoint_write_millis,
        /// Milliseconds that checkpoints spent syncing.
        checkpoint_sync_millis,
        /// Buffers written by checkpoints.
        written_checkpoint,
        /// Buffers written by the background writer.
        written_clean,
        /// Times the background writer stopped because it had written enough in a round.
        max_written_clean,
        /// Buffers written by sessions themselves.
        written_backend,
        /// Syncs that sessions had to do themselves.
        fsync_backend,
        /// Buffers taken for new pages.
        alloc,
    }
    /// A session's own share of its database. C: `PgStat_MsgTabstat`'s and `PgStat_MsgDisconnect`'s numbers.
    Database / DatabaseTaken as DATABASE {
        /// Transactions committed.
        commits,
        /// Transactions rolled back.
        rollbacks,
        /// Time spent reading data files, if `track_io_timing` is on.
        blk_read_micros,
        /// Time spent writing data files, if `track_io_timing` is on.
        blk_write_micros,
        /// Temporary files made.
        temp_files,
        /// Bytes in them.
        temp_bytes,
        /// Deadlocks found.
        deadlocks,
        /// Statements and sessions of a standby ended for replay: because of a tablespace that goes.
        conflict_tablespace,
        /// Because of a lock.
        conflict_lock,
        /// Because of row versions that go.
        conflict_snapshot,
        /// Because of a page that was pinned.
        conflict_bufferpin,
        /// Because of a pin and a lock, each waiting for the other.
        conflict_startup_deadlock,
        /// Checksum failures found.
        checksum_failures,
        /// Time that the session has lasted.
        session_micros,
        /// Time spent running statements.
        active_micros,
        /// Time spent idle in a transaction.
        idle_in_transaction_micros,
        /// Sessions begun.
        sessions,
        /// Sessions lost to a broken connection.
        sessions_abandoned,
        /// Sessions ended by a FATAL.
        sessions_fatal,
        /// Sessions ended by an operator.
        sessions_killed,
    }
}

/// Looks at this process's WAL counters.
pub fn wal<R>(look: impl FnOnce(&Wal) -> R) -> R {
    WAL.with(look)
}

/// Looks at this process's buffer counters.
pub fn buffers<R>(look: impl FnOnce(&Buffers) -> R) -> R {
    BUFFERS.with(look)
}

/// Looks at this session's database counters.
pub fn database<R>(look: impl FnOnce(&Database) -> R) -> R {
    DATABASE.with(look)
}

/// Adds to a counter: `counters::wal(|w| counters::add(&w.records, 1))`.
#[inline]
pub fn add(counter: &Cell<i64>, n: i64) {
    counter.set(counter.get().wrapping_add(n));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_once_and_survive_as_an_array() {
        wal(|w| {
            add(&w.records, 2);
            add(&w.sync_micros, 9);
        });
        let taken = wal(Wal::take);
        assert_eq!((taken.records, taken.sync_micros), (2, 9));
        assert!(wal(Wal::take).is_zero());
        let again = WalTaken::from_numbers(&mut taken.to_array().into_iter()).unwrap();
        assert_eq!(again, taken);
        assert_eq!(WalTaken::from_numbers(&mut [1, 2].into_iter()), None);
    }
}
