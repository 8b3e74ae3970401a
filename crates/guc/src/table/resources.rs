//! Memory, disk, kernel objects, and the pace of background work.

use crate::table::prelude::*;

settings! {
    "Resource Usage / Memory" {
        int    AUTOVACUUM_WORK_MEM        sighup     (-1 kB, -1..=i32::MAX) => autovacuum_work_mem
            "Sets the maximum memory to be used by each autovacuum worker process.";
        enum   DYNAMIC_SHARED_MEMORY_TYPE postmaster ("posix" of DYNAMIC_SHARED_MEMORY)
            "Selects the dynamic shared memory implementation used.";
        real   HASH_MEM_MULTIPLIER        user       (2.0, 1.0..=1000.0) [EXPLAIN]
            "Multiple of work_mem to use for hash tables.";
        int    HUGE_PAGE_SIZE             postmaster (0 kB, 0..=i32::MAX)
            "The size of huge page that should be requested.";
        enum   HUGE_PAGES                 postmaster ("try" of ON_OFF_TRY)
            "Use of huge pages on Linux or Windows.";
        int    LOGICAL_DECODING_WORK_MEM  user       (65536 kB, 64..=i32::MAX)
            "Sets the maximum memory to be used for logical decoding.",
            "This much memory can be used by each internal reorder buffer before spilling to disk.";
        int    MAINTENANCE_WORK_MEM       user       (65536 kB, 1024..=i32::MAX)
            "Sets the maximum memory to be used for maintenance operations.",
            "This includes operations such as VACUUM and CREATE INDEX.";
        int    MAX_PREPARED_TRANSACTIONS  postmaster (0, 0..=262143)
            "Sets the maximum number of simultaneously prepared transactions.";
        int    MAX_STACK_DEPTH            superuser  (100 kB, 100..=i32::MAX) => max_stack_depth
            "Sets the maximum stack depth, in kilobytes.";
        int    MIN_DYNAMIC_SHARED_MEMORY  postmaster (0 MB, 0..=i32::MAX)
            "Amount of dynamic shared memory reserved at startup.";
        int    SHARED_BUFFERS             postmaster (16384 blocks, 16..=1073741823)
            "Sets the number of shared memory buffers used by the server.";
        enum   SHARED_MEMORY_TYPE         postmaster ("mmap" of SHARED_MEMORY_TYPE)
            "Selects the shared memory implementation used for the main shared memory region.";
        int    TEMP_BUFFERS               user       (1024 blocks, 100..=1073741823) [EXPLAIN]
            "Sets the maximum number of temporary buffers used by each session.";
        int    WORK_MEM                   user       (4096 kB, 64..=i32::MAX) [EXPLAIN]
            "Sets the maximum memory to be used for query workspaces.",
            "This much memory can be used by each internal sort operation and hash table before switching to temporary disk files.";
    }
    "Resource Usage / Disk" {
        int    TEMP_FILE_LIMIT superuser (-1 kB, -1..=i32::MAX)
            "Limits the total size of all temporary files used by each process.",
            "-1 means no limit.";
    }
    "Resource Usage / Kernel Resources" {
        int    MAX_FILES_PER_PROCESS postmaster (1000, 64..=i32::MAX)
            "Sets the maximum number of simultaneously open files for each server process.";
    }
    "Resource Usage / Cost-Based Vacuum Delay" {
        real   VACUUM_COST_DELAY      user (0.0 ms, 0.0..=100.0)
            "Vacuum cost delay in milliseconds.";
        int    VACUUM_COST_LIMIT      user (200, 1..=10000)
            "Vacuum cost amount available before napping.";
        int    VACUUM_COST_PAGE_DIRTY user (20, 0..=10000)
            "Vacuum cost for a page dirtied by vacuum.";
        int    VACUUM_COST_PAGE_HIT   user (1, 0..=10000)
            "Vacuum cost for a page found in the buffer cache.";
        int    VACUUM_COST_PAGE_MISS  user (2, 0..=10000)
            "Vacuum cost for a page not found in the buffer cache.";
    }
    "Resource Usage / Background Writer" {
        int    BGWRITER_DELAY          sighup (200 ms, 10..=10000)
            "Background writer sleep time between rounds.";
        int    BGWRITER_FLUSH_AFTER    sighup (64 blocks, 0..=256)
            "Number of pages after which previously performed writes are flushed to disk.";
        int    BGWRITER_LRU_MAXPAGES   sighup (100, 0..=1073741823)
            "Background writer maximum number of LRU pages to flush per round.";
        real   BGWRITER_LRU_MULTIPLIER sighup (2.0, 0.0..=10.0)
            "Multiple of the average buffer usage to free per round.";
    }
    "Resource Usage / Asynchronous Behavior" {
        int    BACKEND_FLUSH_AFTER              user       (0 blocks, 0..=256)
            "Number of pages after which previously performed writes are flushed to disk.";
        int    EFFECTIVE_IO_CONCURRENCY         user       (1, 0..=1000) [EXPLAIN]
            "Number of simultaneous requests that can be handled efficiently by the disk subsystem.";
        int    MAINTENANCE_IO_CONCURRENCY       user       (10, 0..=1000) [EXPLAIN]
            "A variant of effective_io_concurrency that is used for maintenance work.";
        int    MAX_PARALLEL_MAINTENANCE_WORKERS user       (2, 0..=1024)
            "Sets the maximum number of parallel processes per maintenance operation.";
        int    MAX_PARALLEL_WORKERS             user       (8, 0..=1024) [EXPLAIN]
            "Sets the maximum number of parallel workers that can be active at one time.";
        int    MAX_PARALLEL_WORKERS_PER_GATHER  user       (2, 0..=1024) [EXPLAIN]
            "Sets the maximum number of parallel processes per executor node.";
        int    MAX_WORKER_PROCESSES             postmaster (8, 0..=262143) => max_worker_processes
            "Maximum number of concurrent worker processes.";
        int    OLD_SNAPSHOT_THRESHOLD           postmaster (-1 min, -1..=86400)
            "Time before a snapshot is too old to read pages changed after the snapshot was taken.",
            "A value of -1 disables this feature.";
        bool   PARALLEL_LEADER_PARTICIPATION    user       (on) [EXPLAIN]
            "Controls whether Gather and Gather Merge also run subplans.",
            "Should gather nodes also run subplans or just gather tuples?";
    }
}
