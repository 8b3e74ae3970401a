//! Sending WAL to standbys and receiving it there.

use crate::table::prelude::*;

settings! {
    "Replication / Sending Servers" {
        int    MAX_REPLICATION_SLOTS   postmaster (10, 0..=262143)
            "Sets the maximum number of simultaneously defined replication slots.";
        int    MAX_SLOT_WAL_KEEP_SIZE  sighup     (-1 MB, -1..=i32::MAX)
            "Sets the maximum WAL size that can be reserved by replication slots.",
            "Replication slots will be marked as failed, and segments released for deletion or recycling, if this much space is occupied by WAL on disk.";
        int    MAX_WAL_SENDERS         postmaster (10, 0..=262143) => max_wal_senders
            "Sets the maximum number of simultaneously running WAL sender processes.";
        string OUTPUT_PLUGIN_LIBRARIES superuser  ("pgoutput, test_decoding") [LIST_INPUT LIST_QUOTE SUPERUSER_ONLY]
            "Lists libraries that may be named as logical decoding output plugins.",
            "Users with REPLICATION privileges may only use plugins in this list when creating logical replication slots.";
        bool   TRACK_COMMIT_TIMESTAMP  postmaster (off)
            "Collects transaction commit time.";
        int    WAL_KEEP_SIZE           sighup     (0 MB, 0..=i32::MAX)
            "Sets the size of WAL files held for standby servers.";
        // PostgreSQL 19's; not in 15.
        int    WAL_SENDER_SHUTDOWN_TIMEOUT user (-1 ms, -1..=i32::MAX)
            "Sets the maximum time to wait for WAL to be replicated during shutdown.",
            "-1 waits until the receiver has confirmed all of it, 0 does not wait.";
        int    WAL_SENDER_TIMEOUT      user       (60000 ms, 0..=i32::MAX)
            "Sets the maximum time to wait for WAL replication.";
    }
    "Replication / Primary Server" {
        string SYNCHRONOUS_STANDBY_NAMES sighup ("") [LIST_INPUT] => synchronous_standby_names
            "Number of synchronous standbys and list of names of potential synchronous ones.";
        int    VACUUM_DEFER_CLEANUP_AGE  sighup (0, 0..=1000000)
            "Number of transactions by which VACUUM and HOT cleanup should be deferred, if any.";
    }
    "Replication / Standby Servers" {
        bool   HOT_STANDBY                   postmaster (on)
            "Allows connections and queries during recovery.";
        bool   HOT_STANDBY_FEEDBACK          sighup     (off)
            "Allows feedback from a hot standby to the primary that will avoid query conflicts.";
        int    MAX_STANDBY_ARCHIVE_DELAY     sighup     (30000 ms, -1..=i32::MAX)
            "Sets the maximum delay before canceling queries when a hot standby server is processing archived WAL data.";
        int    MAX_STANDBY_STREAMING_DELAY   sighup     (30000 ms, -1..=i32::MAX)
            "Sets the maximum delay before canceling queries when a hot standby server is processing streamed WAL data.";
        string PRIMARY_CONNINFO              sighup     ("") [SUPERUSER_ONLY]
            "Sets the connection string to be used to connect to the sending server.";
        string PRIMARY_SLOT_NAME             sighup     ("") => primary_slot_name
            "Sets the name of the replication slot to use on the sending server.";
        string PROMOTE_TRIGGER_FILE          sighup     ("")
            "Specifies a file name whose presence ends recovery in the standby.";
        int    RECOVERY_MIN_APPLY_DELAY      sighup     (0 ms, 0..=i32::MAX)
            "Sets the minimum delay for applying changes during recovery.";
        bool   WAL_RECEIVER_CREATE_TEMP_SLOT sighup     (off)
            "Sets whether a WAL receiver should create a temporary replication slot if no permanent slot is configured.";
        int    WAL_RECEIVER_STATUS_INTERVAL  sighup     (10 s, 0..=2147483)
            "Sets the maximum interval between WAL receiver status reports to the sending server.";
        int    WAL_RECEIVER_TIMEOUT          sighup     (60000 ms, 0..=i32::MAX)
            "Sets the maximum wait time to receive data from the sending server.";
        int    WAL_RETRIEVE_RETRY_INTERVAL   sighup     (5000 ms, 1..=i32::MAX)
            "Sets the time to wait before retrying to retrieve WAL after a failed attempt.";
    }
    "Replication / Subscribers" {
        int    MAX_LOGICAL_REPLICATION_WORKERS   postmaster (4, 0..=262143)
            "Maximum number of logical replication worker processes.";
        int    MAX_SYNC_WORKERS_PER_SUBSCRIPTION sighup     (2, 0..=262143)
            "Maximum number of table synchronization workers per subscription.";
    }
}
