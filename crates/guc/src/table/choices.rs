//! The words that enum settings accept, in the order in which hints list them.
//!
//! `also` names words that are accepted and never listed, with the listed word each stands for; `booleans`
//! does so for the six other ways to say on and off. C: the `config_enum_entry` arrays of guc.c.

use crate::table::Choice;

pub(crate) static ARCHIVE_MODE: &[Choice] = choices!["always", "on", "off"; booleans "on" "off"];
pub(crate) static BACKEND_ON_POSTMASTER_DEATH: &[Choice] = choices!["continue", "exit"];
pub(crate) static BACKSLASH_QUOTE: &[Choice] = choices!["safe_encoding", "on", "off"; booleans "on" "off"];
pub(crate) static BYTEA_OUTPUT: &[Choice] = choices!["escape", "hex"];
pub(crate) static CLIENT_LEVELS: &[Choice] = choices![
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error";
    also "debug" = "debug2", "info" = "info"
];
pub(crate) static COMPOSITE_TYPE_MISMATCH: &[Choice] = choices!["error", "warn", "disabled"];
pub(crate) static COMPUTE_QUERY_ID: &[Choice] = choices!["auto", "regress", "on", "off"; booleans "on" "off"];
pub(crate) static CONSTRAINT_EXCLUSION: &[Choice] = choices!["partition", "on", "off"; booleans "on" "off"];
pub(crate) static DEFAULT_TOAST_COMPRESSION: &[Choice] = choices!["pglz", "lz4"];
pub(crate) static DYNAMIC_SHARED_MEMORY: &[Choice] = choices!["posix", "sysv", "mmap"];
pub(crate) static FORCE_PARALLEL_MODE: &[Choice] = choices!["off", "on", "regress"; booleans "on" "off"];
pub(crate) static INTERVALSTYLE: &[Choice] =
    choices!["postgres", "postgres_verbose", "sql_standard", "iso_8601"];
pub(crate) static ISOLATION: &[Choice] =
    choices!["serializable", "repeatable read", "read committed", "read uncommitted"];
pub(crate) static LOG_ERROR_VERBOSITY: &[Choice] = choices!["terse", "default", "verbose"];
pub(crate) static LOG_STATEMENT: &[Choice] = choices!["none", "ddl", "mod", "all"];
pub(crate) static ON_OFF_TRY: &[Choice] = choices!["off", "on", "try"; booleans "on" "off"];
pub(crate) static PASSWORD_ENCRYPTION: &[Choice] = choices!["md5", "scram-sha-256"];
pub(crate) static PLAN_CACHE_MODE: &[Choice] = choices!["auto", "force_generic_plan", "force_custom_plan"];
pub(crate) static RECOVERY_INIT_SYNC_METHOD: &[Choice] = choices!["fsync", "syncfs"];
pub(crate) static RECOVERY_TARGET_ACTION: &[Choice] = choices!["pause", "promote", "shutdown"];
pub(crate) static SERVER_LEVELS: &[Choice] = choices![
    "debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log",
    "fatal", "panic"; also "debug" = "debug2"
];
pub(crate) static SESSION_REPLICATION_ROLE: &[Choice] = choices!["origin", "replica", "local"];
pub(crate) static SHARED_MEMORY_TYPE: &[Choice] = choices!["sysv", "mmap"];
pub(crate) static STATS_FETCH_CONSISTENCY: &[Choice] = choices!["none", "cache", "snapshot"];
pub(crate) static SYNCHRONOUS_COMMIT: &[Choice] = choices![
    "local", "remote_write", "remote_apply", "on", "off"; booleans "on" "off"
];
pub(crate) static SYSLOG_FACILITY: &[Choice] =
    choices!["local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];
pub(crate) static TLS_VERSION: &[Choice] = choices!["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
pub(crate) static TLS_VERSION_OR_NONE: &[Choice] = choices!["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
pub(crate) static TRACK_FUNCTIONS: &[Choice] = choices!["none", "pl", "all"];
pub(crate) static WAL_COMPRESSION: &[Choice] = choices![
    "pglz", "lz4", "zstd", "on" = "pglz", "off"; booleans "pglz" "off"
];
pub(crate) static WAL_LEVEL: &[Choice] =
    choices!["minimal", "replica", "logical"; also "archive" = "replica", "hot_standby" = "replica"];
pub(crate) static WAL_SYNC_METHOD: &[Choice] = choices!["fsync", "fdatasync", "open_sync", "open_datasync"];
pub(crate) static XMLBINARY: &[Choice] = choices!["base64", "hex"];
pub(crate) static XMLOPTION: &[Choice] = choices!["content", "document"];
