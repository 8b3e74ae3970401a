//! Write-ahead log: durability, checkpoints, archiving, recovery.

use crate::table::prelude::*;

settings! {
    "Write-Ahead Log / Settings" {
        int    COMMIT_DELAY           superuser  (0, 0..=100000)
            "Sets the delay in microseconds between transaction commit and flushing WAL to disk.";
        int    COMMIT_SIBLINGS        user       (5, 0..=1000)
            "Sets the minimum number of concurrent open transactions required before performing commit_delay.";
        bool   FSYNC                  sighup     (on)
            "Forces synchronization of updates to disk.",
            "The server will use the fsync() system call in several places to make sure that updates are physically written to disk. This ensures that a database cluster will recover to a consistent state after an operating system or hardware crash.";
        bool   FULL_PAGE_WRITES       sighup     (on)
            "Writes full pages to WAL when first modified after a checkpoint.",
            "A page write in process during an operating system crash might be only partially written to disk.  During recovery, the row changes stored in WAL are not enough to recover.  This option writes pages when first modified after a checkpoint to WAL so full recovery is possible.";
        enum   SYNCHRONOUS_COMMIT     user       ("on" of SYNCHRONOUS_COMMIT)
            "Sets the current transaction's synchronization level.";
        int    WAL_BUFFERS            postmaster (-1 blocks, -1..=262143) => wal_buffers
            "Sets the number of disk-page buffers in shared memory for WAL.";
        enum   WAL_COMPRESSION        superuser  ("off" of WAL_COMPRESSION)
            "Compresses full-page writes written in WAL file with specified method.";
        bool   WAL_INIT_ZERO          superuser  (on)
            "Writes zeroes to new WAL files before first use.";
        enum   WAL_LEVEL              postmaster ("replica" of WAL_LEVEL)
            "Sets the level of information written to the WAL.";
        bool   WAL_LOG_HINTS          postmaster (off)
            "Writes full pages to WAL when first modified after a checkpoint, even for a non-critical modification.";
        bool   WAL_RECYCLE            superuser  (on)
            "Recycles WAL files by renaming them.";
        int    WAL_SKIP_THRESHOLD     user       (2048 kB, 0..=i32::MAX)
            "Minimum size of new file to fsync instead of writing WAL.";
        enum   WAL_SYNC_METHOD        sighup     ("fdatasync" of WAL_SYNC_METHOD)
            "Selects the method used for forcing WAL updates to disk.";
        int    WAL_WRITER_DELAY       sighup     (200 ms, 1..=10000)
            "Time between WAL flushes performed in the WAL writer.";
        int    WAL_WRITER_FLUSH_AFTER sighup     (128 blocks, 0..=i32::MAX)
            "Amount of WAL written out by WAL writer that triggers a flush.";
    }
    "Write-Ahead Log / Checkpoints" {
        real   CHECKPOINT_COMPLETION_TARGET sighup (0.9, 0.0..=1.0)
            "Time spent flushing dirty buffers during checkpoint, as fraction of checkpoint interval.";
        int    CHECKPOINT_FLUSH_AFTER       sighup (32 blocks, 0..=256)
            "Number of pages after which previously performed writes are flushed to disk.";
        int    CHECKPOINT_TIMEOUT           sighup (300 s, 30..=86400)
            "Sets the maximum time between automatic WAL checkpoints.";
        int    CHECKPOINT_WARNING           sighup (30 s, 0..=i32::MAX)
            "Sets the maximum time before warning if checkpoints triggered by WAL volume happen too frequently.",
            "Write a message to the server log if checkpoints caused by the filling of WAL segment files happen more frequently than this amount of time. Zero turns off the warning.";
        int    MAX_WAL_SIZE                 sighup (1024 MB, 2..=i32::MAX)
            "Sets the WAL size that triggers a checkpoint.";
        int    MIN_WAL_SIZE                 sighup (80 MB, 2..=i32::MAX)
            "Sets the minimum size to shrink the WAL to.";
    }
    "Write-Ahead Log / Archiving" {
        string ARCHIVE_COMMAND     sighup     ("")
            "Sets the shell command that will be called to archive a WAL file.",
            "This is used only if \"archive_library\" is not set.";
        string ARCHIVE_LIBRARY     sighup     ("")
            "Sets the library that will be called to archive a WAL file.",
            "An empty string indicates that \"archive_command\" should be used.";
        int    ARCHIVE_MAX_WORKERS sighup     (1, 1..=32)
            "Sets the maximum number of archive commands that run at the same time.",
            "They are started in the order of the files. With 1, each file waits until the one before it is archived.";
        enum   ARCHIVE_MODE        postmaster ("off" of ARCHIVE_MODE)
            "Allows archiving of WAL files using archive_command.";
        int    ARCHIVE_TIMEOUT     sighup     (0 s, 0..=1073741823)
            "Sets the amount of time to wait before forcing a switch to the next WAL file.";
        int    ARCHIVER_SHUTDOWN_TIMEOUT sighup (-1 ms, -1..=i32::MAX)
            "Sets the maximum time that a shutdown waits for the archiver.",
            "What is not archived by then is archived after the next start. -1 means no limit, 0 does not wait.";
    }
    "Write-Ahead Log / Recovery" {
        enum   RECOVERY_PREFETCH      sighup     ("try" of ON_OFF_TRY)
            "Prefetch referenced blocks during recovery.",
            "Look ahead in the WAL to find references to uncached data.";
        int    WAL_DECODE_BUFFER_SIZE postmaster (524288 B, 65536..=1073741823)
            "Buffer size for reading ahead in the WAL during recovery.",
            "Maximum distance to read ahead in the WAL to prefetch referenced data blocks.";
    }
    "Write-Ahead Log / Archive Recovery" {
        string ARCHIVE_CLEANUP_COMMAND sighup ("")
            "Sets the shell command that will be executed at every restart point.";
        string RECOVERY_END_COMMAND    sighup ("")
            "Sets the shell command that will be executed once at the end of recovery.";
        string RESTORE_COMMAND         sighup ("")
            "Sets the shell command that will be called to retrieve an archived WAL file.";
    }
    "Write-Ahead Log / Recovery Target" {
        string RECOVERY_TARGET           postmaster ("") => recovery_target
            "Set to \"immediate\" to end recovery as soon as a consistent state is reached.";
        enum   RECOVERY_TARGET_ACTION    postmaster ("pause" of RECOVERY_TARGET_ACTION)
            "Sets the action to perform upon reaching the recovery target.";
        bool   RECOVERY_TARGET_INCLUSIVE postmaster (on)
            "Sets whether to include or exclude transaction with recovery target.";
        string RECOVERY_TARGET_LSN       postmaster ("") => recovery_target_lsn
            "Sets the LSN of the write-ahead log location up to which recovery will proceed.";
        string RECOVERY_TARGET_NAME      postmaster ("") => recovery_target_name
            "Sets the named restore point up to which recovery will proceed.";
        string RECOVERY_TARGET_TIME      postmaster ("") => recovery_target_time
            "Sets the time stamp up to which recovery will proceed.";
        string RECOVERY_TARGET_TIMELINE  postmaster ("latest") => recovery_target_timeline
            "Specifies the timeline to recover into.";
        string RECOVERY_TARGET_XID       postmaster ("")
            "Sets the transaction ID up to which recovery will proceed.";
    }
}
