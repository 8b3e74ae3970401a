//! Statistics collection and autovacuum, which feeds on it.

use crate::table::prelude::*;

settings! {
    "Statistics / Monitoring" {
        enum   COMPUTE_QUERY_ID    superuser ("auto" of COMPUTE_QUERY_ID)
            "Enables in-core computation of query identifiers.";
        bool   LOG_EXECUTOR_STATS  superuser (off) => stage_log_stats
            "Writes executor performance statistics to the server log.";
        bool   LOG_PARSER_STATS    superuser (off) => stage_log_stats
            "Writes parser performance statistics to the server log.";
        bool   LOG_PLANNER_STATS   superuser (off) => stage_log_stats
            "Writes planner performance statistics to the server log.";
        bool   LOG_STATEMENT_STATS superuser (off) => log_statement_stats
            "Writes cumulative performance statistics to the server log.";
    }
    "Statistics / Cumulative Query and Index Statistics" {
        enum   STATS_FETCH_CONSISTENCY   user       ("cache" of STATS_FETCH_CONSISTENCY)
            "Sets the consistency of accesses to statistics data.";
        string STATS_TEMP_DIRECTORY      sighup     ("pg_stat_tmp") [SUPERUSER_ONLY]
            "Writes temporary statistics files to the specified directory.";
        bool   TRACK_ACTIVITIES          superuser  (on)
            "Collects information about executing commands.",
            "Enables the collection of information on the currently executing command of each session, along with the time at which that command began execution.";
        int    TRACK_ACTIVITY_QUERY_SIZE postmaster (1024 B, 100..=1048576)
            "Sets the size reserved for pg_stat_activity.query, in bytes.";
        bool   TRACK_COUNTS              superuser  (on)
            "Collects statistics on database activity.";
        enum   TRACK_FUNCTIONS           superuser  ("none" of TRACK_FUNCTIONS)
            "Collects function-level statistics on database activity.";
        bool   TRACK_IO_TIMING           superuser  (off)
            "Collects timing statistics for database I/O activity.";
        bool   TRACK_WAL_IO_TIMING       superuser  (off)
            "Collects timing statistics for WAL I/O activity.";
    }
    "Autovacuum" {
        bool   AUTOVACUUM                            sighup     (on)
            "Starts the autovacuum subprocess.";
        real   AUTOVACUUM_ANALYZE_SCALE_FACTOR       sighup     (0.1, 0.0..=100.0)
            "Number of tuple inserts, updates, or deletes prior to analyze as a fraction of reltuples.";
        int    AUTOVACUUM_ANALYZE_THRESHOLD          sighup     (50, 0..=i32::MAX)
            "Minimum number of tuple inserts, updates, or deletes prior to analyze.";
        int    AUTOVACUUM_FREEZE_MAX_AGE             postmaster (200000000, 100000..=2000000000)
            "Age at which to autovacuum a table to prevent transaction ID wraparound.";
        int    AUTOVACUUM_MAX_WORKERS                postmaster (3, 1..=262143) => autovacuum_max_workers
            "Sets the maximum number of simultaneously running autovacuum worker processes.";
        int    AUTOVACUUM_MULTIXACT_FREEZE_MAX_AGE   postmaster (400000000, 10000..=2000000000)
            "Multixact age at which to autovacuum a table to prevent multixact wraparound.";
        int    AUTOVACUUM_NAPTIME                    sighup     (60 s, 1..=2147483)
            "Time to sleep between autovacuum runs.";
        real   AUTOVACUUM_VACUUM_COST_DELAY          sighup     (2.0 ms, -1.0..=100.0)
            "Vacuum cost delay in milliseconds, for autovacuum.";
        int    AUTOVACUUM_VACUUM_COST_LIMIT          sighup     (-1, -1..=10000)
            "Vacuum cost amount available before napping, for autovacuum.";
        real   AUTOVACUUM_VACUUM_INSERT_SCALE_FACTOR sighup     (0.2, 0.0..=100.0)
            "Number of tuple inserts prior to vacuum as a fraction of reltuples.";
        int    AUTOVACUUM_VACUUM_INSERT_THRESHOLD    sighup     (1000, -1..=i32::MAX)
            "Minimum number of tuple inserts prior to vacuum, or -1 to disable insert vacuums.";
        real   AUTOVACUUM_VACUUM_SCALE_FACTOR        sighup     (0.2, 0.0..=100.0)
            "Number of tuple updates or deletes prior to vacuum as a fraction of reltuples.";
        int    AUTOVACUUM_VACUUM_THRESHOLD           sighup     (50, 0..=i32::MAX)
            "Minimum number of tuple updates or deletes prior to vacuum.";
    }
}
