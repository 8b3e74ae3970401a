//! What a session may change for itself, locks, and how errors end a session.

use crate::table::prelude::*;

settings! {
    "Client Connection Defaults / Statement Behavior" {
        enum   BYTEA_OUTPUT                        user      ("hex" of BYTEA_OUTPUT)
            "Sets the output format for bytea.";
        bool   CHECK_FUNCTION_BODIES               user      (on)
            "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE.";
        enum   CLIENT_MIN_MESSAGES                 user      ("notice" of CLIENT_LEVELS)
            "Sets the message levels that are sent to the client.",
            "Each level includes all the levels that follow it. The later the level, the fewer messages are sent.";
        string DEFAULT_TABLE_ACCESS_METHOD         user      ("heap") [IS_NAME] => default_table_access_method
            "Sets the default table access method for new tables.";
        string DEFAULT_TABLESPACE                  user      ("") [IS_NAME]
            "Sets the default tablespace to create tables and indexes in.",
            "An empty string selects the database's default tablespace.";
        enum   DEFAULT_TOAST_COMPRESSION           user      ("pglz" of DEFAULT_TOAST_COMPRESSION)
            "Sets the default compression method for compressible values.";
        bool   DEFAULT_TRANSACTION_DEFERRABLE      user      (off)
            "Sets the default deferrable status of new transactions.";
        enum   DEFAULT_TRANSACTION_ISOLATION       user      ("read committed" of ISOLATION)
            "Sets the transaction isolation level of each new transaction.";
        bool   DEFAULT_TRANSACTION_READ_ONLY       user      (off) [REPORT]
            "Sets the default read-only status of new transactions.";
        int    GIN_PENDING_LIST_LIMIT              user      (4096 kB, 64..=i32::MAX)
            "Sets the maximum size of the pending list for GIN index.";
        int    IDLE_IN_TRANSACTION_SESSION_TIMEOUT user      (0 ms, 0..=i32::MAX)
            "Sets the maximum allowed idle time between queries, when in a transaction.",
            "A value of 0 turns off the timeout.";
        int    IDLE_SESSION_TIMEOUT                user      (0 ms, 0..=i32::MAX)
            "Sets the maximum allowed idle time between queries, when not in a transaction.",
            "A value of 0 turns off the timeout.";
        int    LOCK_TIMEOUT                        user      (0 ms, 0..=i32::MAX)
            "Sets the maximum allowed duration of any wait for a lock.",
            "A value of 0 turns off the timeout.";
        string RESTRICT_NONSYSTEM_RELATION_KIND    user      ("")
               [NOT_IN_SAMPLE LIST_INPUT] => nonsystem_relation_kind
            "Prohibits access to non-system relations of specified kinds.";
        bool   ROW_SECURITY                        user      (on)
            "Enable row security.",
            "When enabled, row security will be applied to all users.";
        string SEARCH_PATH                         user      ("\"$user\", public") [EXPLAIN LIST_INPUT LIST_QUOTE]
            "Sets the schema search order for names that are not schema-qualified.";
        enum   SESSION_REPLICATION_ROLE            superuser ("origin" of SESSION_REPLICATION_ROLE)
            "Sets the session's behavior for triggers and rewrite rules.";
        int    STATEMENT_TIMEOUT                   user      (0 ms, 0..=i32::MAX)
            "Sets the maximum allowed duration of any statement.",
            "A value of 0 turns off the timeout.";
        string TEMP_TABLESPACES                    user      ("") [LIST_INPUT LIST_QUOTE]
            "Sets the tablespace(s) to use for temporary tables and sort files.";
        bool   TRANSACTION_DEFERRABLE              user      (off)
               [NO_RESET_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE] => transaction_deferrable
            "Whether to defer a read-only serializable transaction until it can be executed with no possible serialization failures.";
        enum   TRANSACTION_ISOLATION               user      ("read committed" of ISOLATION)
               [NO_RESET_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE] => transaction_isolation
            "Sets the current transaction's isolation level.";
        bool   TRANSACTION_READ_ONLY               user      (off)
               [NO_RESET_ALL NOT_IN_SAMPLE DISALLOW_IN_FILE] => transaction_read_only
            "Sets the current transaction's read-only status.";
        int    VACUUM_FAILSAFE_AGE                 user      (1600000000, 0..=2100000000)
            "Age at which VACUUM should trigger failsafe to avoid a wraparound outage.";
        int    VACUUM_FREEZE_MIN_AGE               user      (50000000, 0..=1000000000)
            "Minimum age at which VACUUM should freeze a table row.";
        int    VACUUM_FREEZE_TABLE_AGE             user      (150000000, 0..=2000000000)
            "Age at which VACUUM should scan whole table to freeze tuples.";
        int    VACUUM_MULTIXACT_FAILSAFE_AGE       user      (1600000000, 0..=2100000000)
            "Multixact age at which VACUUM should trigger failsafe to avoid a wraparound outage.";
        int    VACUUM_MULTIXACT_FREEZE_MIN_AGE     user      (5000000, 0..=1000000000)
            "Minimum age at which VACUUM should freeze a MultiXactId in a table row.";
        int    VACUUM_MULTIXACT_FREEZE_TABLE_AGE   user      (150000000, 0..=2000000000)
            "Multixact age at which VACUUM should scan whole table to freeze tuples.";
        enum   XMLBINARY                           user      ("base64" of XMLBINARY)
            "Sets how binary values are to be encoded in XML.";
        enum   XMLOPTION                           user      ("content" of XMLOPTION)
            "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments.";
    }
    "Client Connection Defaults / Locale and Formatting" {
        string CLIENT_ENCODING            user      ("SQL_ASCII") [REPORT IS_NAME] => client_encoding
            "Sets the client's character set encoding.";
        string DATESTYLE: "DateStyle"     user      ("ISO, MDY") [REPORT LIST_INPUT] => datestyle
            "Sets the display format for date and time values.",
            "Also controls interpretation of ambiguous date inputs.";
        string DEFAULT_TEXT_SEARCH_CONFIG user      ("pg_catalog.simple")
            "Sets default text search configuration.";
        int    EXTRA_FLOAT_DIGITS         user      (1, -15..=3)
            "Sets the number of digits displayed for floating-point values.",
            "This affects real, double precision, and geometric data types. A zero or negative parameter value is added to the standard number of digits (FLT_DIG or DBL_DIG as appropriate). Any value greater than zero selects precise output mode.";
        enum   INTERVALSTYLE: "IntervalStyle" user      ("postgres" of INTERVALSTYLE) [REPORT]
            "Sets the display format for interval values.";
        string LC_MESSAGES                superuser ("") => lc_messages
            "Sets the language in which messages are displayed.";
        string LC_MONETARY                user      ("C")
            "Sets the locale for formatting monetary amounts.";
        string LC_NUMERIC                 user      ("C")
            "Sets the locale for formatting numbers.";
        string LC_TIME                    user      ("C")
            "Sets the locale for formatting date and time values.";
        string TIMEZONE: "TimeZone"       user      ("GMT") [REPORT] => timezone
            "Sets the time zone for displaying and interpreting time stamps.";
        string TIMEZONE_ABBREVIATIONS     user      (null) => timezone_abbreviations
            "Selects a file of time zone abbreviations.";
    }
    "Client Connection Defaults / Shared Library Preloading" {
        string JIT_PROVIDER              postmaster ("llvmjit") [SUPERUSER_ONLY]
            "JIT provider to use.";
        string LOCAL_PRELOAD_LIBRARIES   user       ("") [LIST_INPUT LIST_QUOTE]
            "Lists unprivileged shared libraries to preload into each backend.";
        string SESSION_PRELOAD_LIBRARIES superuser  ("") [LIST_INPUT LIST_QUOTE SUPERUSER_ONLY]
            "Lists shared libraries to preload into each backend.";
        string SHARED_PRELOAD_LIBRARIES  postmaster ("") [LIST_INPUT LIST_QUOTE SUPERUSER_ONLY]
            "Lists shared libraries to preload into server.";
    }
    "Client Connection Defaults / Other Defaults" {
        string DYNAMIC_LIBRARY_PATH   superuser ("$libdir") [SUPERUSER_ONLY]
            "Sets the path for dynamically loadable modules.",
            "If a dynamically loadable module needs to be opened and the specified name does not have a directory component (i.e., the name does not contain a slash), the system will search this path for the specified file.";
        int    GIN_FUZZY_SEARCH_LIMIT user      (0, 0..=i32::MAX)
            "Sets the maximum allowed result for exact search by GIN.";
    }
    "Lock Management" {
        int    DEADLOCK_TIMEOUT               superuser  (1000 ms, 1..=i32::MAX)
            "Sets the time to wait on a lock before checking for deadlock.";
        int    MAX_LOCKS_PER_TRANSACTION      postmaster (64, 10..=i32::MAX)
            "Sets the maximum number of locks per transaction.",
            "The shared lock table is sized on the assumption that at most max_locks_per_transaction * max_connections distinct objects will need to be locked at any one time.";
        int    MAX_PRED_LOCKS_PER_PAGE        sighup     (2, 0..=i32::MAX)
            "Sets the maximum number of predicate-locked tuples per page.",
            "If more than this number of tuples on the same page are locked by a connection, those locks are replaced by a page-level lock.";
        int    MAX_PRED_LOCKS_PER_RELATION    sighup     (-2, -2147483648..=i32::MAX)
            "Sets the maximum number of predicate-locked pages and tuples per relation.",
            "If more than this total of pages and tuples in the same relation are locked by a connection, those locks are replaced by a relation-level lock.";
        int    MAX_PRED_LOCKS_PER_TRANSACTION postmaster (64, 10..=i32::MAX)
            "Sets the maximum number of predicate locks per transaction.",
            "The shared predicate lock table is sized on the assumption that at most max_pred_locks_per_transaction * max_connections distinct objects will need to be locked at any one time.";
    }
    "Error Handling" {
        enum   BACKEND_ON_POSTMASTER_DEATH sighup     ("continue" of BACKEND_ON_POSTMASTER_DEATH)
            "Sets what a client session does when the postmaster is gone.",
            "With \"continue\" it serves its client until that one leaves; with \"exit\" it ends at its next wait, as in PostgreSQL 15.";
        bool   DATA_SYNC_RETRY             postmaster (off)
            "Whether to continue running after a failure to sync data files.";
        bool   EXIT_ON_ERROR               user       (off)
            "Terminate session on any error.";
        enum   RECOVERY_INIT_SYNC_METHOD   sighup     ("fsync" of RECOVERY_INIT_SYNC_METHOD)
            "Sets the method for synchronizing the data directory before crash recovery.";
        bool   RESTART_AFTER_CRASH         sighup     (on)
            "Reinitialize server after backend crash.";
    }
}
