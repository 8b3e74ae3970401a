//! Facts about this build and cluster, shown as settings and never set by anyone.

use crate::table::prelude::*;

settings! {
    "Preset Options" {
        int    BLOCK_SIZE                       internal (8192, 8192..=8192) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the size of a disk block.";
        bool   DATA_CHECKSUMS                   internal (off) [NOT_IN_SAMPLE RUNTIME_COMPUTED DISALLOW_IN_FILE]
            "Shows whether data checksums are turned on for this cluster.";
        int    DATA_DIRECTORY_MODE              internal (0o700, 0..=0o777)
               [NOT_IN_SAMPLE RUNTIME_COMPUTED DISALLOW_IN_FILE]
            "Shows the mode of the data directory.",
            "The parameter value is a numeric mode specification in the form accepted by the chmod and umask system calls. (To use the customary octal format the number must start with a 0 (zero).)";
        bool   DEBUG_ASSERTIONS                 internal (off) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows whether the running server has assertion checks enabled.";
        bool   IN_HOT_STANDBY                   internal (off) [NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE]
            "Shows whether hot standby is currently active.";
        bool   INTEGER_DATETIMES                internal (on) [NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE]
            "Shows whether datetimes are integer based.";
        string LC_COLLATE                       internal ("C") [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the collation order locale.";
        string LC_CTYPE                         internal ("C") [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the character classification and case conversion locale.";
        int    MAX_FUNCTION_ARGS                internal (100, 100..=100) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the maximum number of function arguments.";
        int    MAX_IDENTIFIER_LENGTH            internal (63, 63..=63) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the maximum identifier length.";
        int    MAX_INDEX_KEYS                   internal (32, 32..=32) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the maximum number of index keys.";
        int    SEGMENT_SIZE                     internal (131072 blocks, 131072..=131072)
               [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the number of pages per disk file.";
        string SERVER_ENCODING                  internal ("SQL_ASCII") [NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE IS_NAME]
            "Shows the server (database) character set encoding.";
        string SERVER_VERSION                   internal (version::PG_VERSION) [NOT_IN_SAMPLE REPORT DISALLOW_IN_FILE]
            "Shows the server version.";
        int    SERVER_VERSION_NUM               internal (version::PG_VERSION_NUM, 150020..=150020)
               [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the server version as an integer.";
        int    SHARED_MEMORY_SIZE               internal (0 MB, 0..=i32::MAX)
               [NOT_IN_SAMPLE RUNTIME_COMPUTED DISALLOW_IN_FILE]
            "Shows the size of the server's main shared memory area (rounded up to the nearest MB).";
        int    SHARED_MEMORY_SIZE_IN_HUGE_PAGES internal (-1, -1..=i32::MAX)
               [NOT_IN_SAMPLE RUNTIME_COMPUTED DISALLOW_IN_FILE]
            "Shows the number of huge pages needed for the main shared memory area.",
            "-1 indicates that the value could not be determined.";
        string SSL_LIBRARY                      internal ("rustls") [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the name of the SSL library.";
        int    WAL_BLOCK_SIZE                   internal (8192, 8192..=8192) [NOT_IN_SAMPLE DISALLOW_IN_FILE]
            "Shows the block size in the write ahead log.";
        int    WAL_SEGMENT_SIZE                 internal (16777216 B, 1048576..=1073741824)
               [NOT_IN_SAMPLE RUNTIME_COMPUTED DISALLOW_IN_FILE]
            "Shows the size of write ahead log segments.";
    }
}
