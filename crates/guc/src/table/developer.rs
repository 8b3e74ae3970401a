//! For developers and for repair, and the few that belong to no group.

use crate::table::prelude::*;

settings! {
    "Developer Options" {
        bool   ALLOW_IN_PLACE_TABLESPACES    superuser         (off) [NOT_IN_SAMPLE]
            "Allows tablespaces directly inside pg_tblspc, for testing.";
        bool   ALLOW_SYSTEM_TABLE_MODS       superuser         (off) [NOT_IN_SAMPLE]
            "Allows modifications of the structure of system tables.";
        string BACKTRACE_FUNCTIONS           superuser         ("") [NOT_IN_SAMPLE]
            "Log backtrace for errors in these functions.";
        enum   COMPOSITE_TYPE_MISMATCH       superuser         ("error" of COMPOSITE_TYPE_MISMATCH) [NOT_IN_SAMPLE]
            "Sets how version mismatches of composite values are handled.",
            "Reading a composite value whose row type was altered incompatibly after the value was created normally causes PostgreSQL to report an error. This parameter controls that behavior. Anything other than \"error\", i.e. \"warn\" or \"disabled\", is not safe.";
        int    DEBUG_DISCARD_CACHES          superuser         (0, 0..=0) [NOT_IN_SAMPLE]
            "Aggressively flush system caches for debugging purposes.";
        enum   FORCE_PARALLEL_MODE           user              ("off" of FORCE_PARALLEL_MODE) [EXPLAIN NOT_IN_SAMPLE]
            "Forces use of parallel query facilities.",
            "If possible, run query using a parallel worker and with parallel restrictions.";
        bool   IGNORE_CHECKSUM_FAILURE       superuser         (off) [NOT_IN_SAMPLE]
            "Continues processing after a checksum failure.",
            "Detection of a checksum failure normally causes PostgreSQL to report an error, aborting the current transaction. Setting ignore_checksum_failure to true causes the system to ignore the failure (but still report a warning), and continue processing. This behavior could cause crashes or other serious problems. Only has an effect if checksums are enabled.";
        bool   IGNORE_INVALID_PAGES          postmaster        (off) [NOT_IN_SAMPLE]
            "Continues recovery after an invalid pages failure.",
            "Detection of WAL records having references to invalid pages during recovery causes PostgreSQL to raise a PANIC-level error, aborting the recovery. Setting ignore_invalid_pages to true causes the system to ignore invalid page references in WAL records (but still report a warning), and continue recovery. This behavior may cause crashes, data loss, propagate or hide corruption, or other serious problems. Only has an effect during recovery or in standby mode.";
        bool   IGNORE_SYSTEM_INDEXES         backend           (off) [NOT_IN_SAMPLE]
            "Disables reading from system indexes.",
            "It does not prevent updating the indexes, so it is safe to use.  The worst consequence is slowness.";
        bool   JIT_DEBUGGING_SUPPORT         superuser_backend (off) [NOT_IN_SAMPLE]
            "Register JIT-compiled functions with debugger.";
        bool   JIT_DUMP_BITCODE              superuser         (off) [NOT_IN_SAMPLE]
            "Write out LLVM bitcode to facilitate JIT debugging.";
        bool   JIT_EXPRESSIONS               user              (on) [NOT_IN_SAMPLE]
            "Allow JIT compilation of expressions.";
        bool   JIT_PROFILING_SUPPORT         superuser_backend (off) [NOT_IN_SAMPLE]
            "Register JIT-compiled functions with perf profiler.";
        bool   JIT_TUPLE_DEFORMING           user              (on) [NOT_IN_SAMPLE]
            "Allow JIT compilation of tuple deforming.";
        int    POST_AUTH_DELAY               backend           (0 s, 0..=2147) [NOT_IN_SAMPLE]
            "Sets the amount of time to wait after authentication on connection startup.",
            "This allows attaching a debugger to the process.";
        int    PRE_AUTH_DELAY                sighup            (0 s, 0..=60) [NOT_IN_SAMPLE]
            "Sets the amount of time to wait before authentication on connection startup.",
            "This allows attaching a debugger to the process.";
        bool   REMOVE_TEMP_FILES_AFTER_CRASH sighup            (on) [NOT_IN_SAMPLE]
            "Remove temporary files after backend crash.";
        bool   TRACE_NOTIFY                  user              (off) [NOT_IN_SAMPLE]
            "Generates debugging output for LISTEN and NOTIFY.";
        enum   TRACE_RECOVERY_MESSAGES       sighup            ("log" of CLIENT_LEVELS) [NOT_IN_SAMPLE]
            "Enables logging of recovery-related debugging information.",
            "Each level includes all the levels that follow it. The later the level, the fewer messages are sent.";
        bool   TRACE_SORT                    user              (off) [NOT_IN_SAMPLE]
            "Emit information about resource usage in sorting.";
        string WAL_CONSISTENCY_CHECKING      superuser         ("")
               [NOT_IN_SAMPLE LIST_INPUT] => wal_consistency_checking
            "Sets the WAL resource managers for which WAL consistency checks are done.",
            "Full-page images will be logged for all data blocks and cross-checked against the results of WAL replay.";
        bool   ZERO_DAMAGED_PAGES            superuser         (off) [NOT_IN_SAMPLE]
            "Continues processing past damaged page headers.",
            "Detection of a damaged page header normally causes PostgreSQL to report an error, aborting the current transaction. Setting zero_damaged_pages to true causes the system to instead report a warning, zero out the damaged page, and continue processing. This behavior will destroy data, namely all the rows on the damaged page.";
    }
    "Ungrouped" {
        bool   IS_SUPERUSER            internal (off) [NO_SHOW_ALL NO_RESET_ALL NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE]
            "Shows whether the current user is a superuser.";
        string ROLE                    user     ("none")
               [IS_NAME NO_SHOW_ALL NO_RESET_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Sets the current role.";
        real   SEED                    user     (0.0, -1.0..=1.0)
               [NO_SHOW_ALL NO_RESET_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Sets the seed for random-number generation.";
        string SESSION_AUTHORIZATION   user     (null)
               [IS_NAME NO_SHOW_ALL NO_RESET_ALL NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE]
            "Sets the session user name.";
        int    SSL_RENEGOTIATION_LIMIT user     (0 kB, 0..=0) [NO_SHOW_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "SSL renegotiation is no longer supported; this can only be 0.";
    }
}
