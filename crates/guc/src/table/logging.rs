//! Where log lines go, which statements make one, and what they carry.

use crate::table::prelude::*;

settings! {
    "Reporting and Logging / Where to Log" {
        string EVENT_SOURCE             postmaster ("PostgreSQL")
            "Sets the application name used to identify PostgreSQL messages in the event log.";
        string LOG_DESTINATION          sighup     ("stderr") [LIST_INPUT] => log_destination
            "Sets the destination for server log output.",
            "Valid values are combinations of \"stderr\", \"syslog\", \"csvlog\", \"jsonlog\", and \"eventlog\", depending on the platform.";
        string LOG_DIRECTORY            sighup     ("log") [SUPERUSER_ONLY]
            "Sets the destination directory for log files.",
            "Can be specified as relative to the data directory or as absolute path.";
        int    LOG_FILE_MODE            sighup     (0o600, 0..=0o777)
            "Sets the file permissions for log files.",
            "The parameter value is expected to be a numeric mode specification in the form accepted by the chmod and umask system calls. (To use the customary octal format the number must start with a 0 (zero).)";
        string LOG_FILENAME             sighup     ("postgresql-%Y-%m-%d_%H%M%S.log") [SUPERUSER_ONLY]
            "Sets the file name pattern for log files.";
        int    LOG_ROTATION_AGE         sighup     (1440 min, 0..=35791394)
            "Sets the amount of time to wait before forcing log file rotation.";
        int    LOG_ROTATION_SIZE        sighup     (10240 kB, 0..=2097151)
            "Sets the maximum size a log file can reach before being rotated.";
        bool   LOG_TRUNCATE_ON_ROTATION sighup     (off)
            "Truncate existing log files of same name during log rotation.";
        bool   LOGGING_COLLECTOR        postmaster (off)
            "Start a subprocess to capture stderr, csvlog and/or jsonlog into log files.";
        enum   SYSLOG_FACILITY          sighup     ("local0" of SYSLOG_FACILITY)
            "Sets the syslog \"facility\" to be used when syslog enabled.";
        string SYSLOG_IDENT             sighup     ("postgres")
            "Sets the program name used to identify PostgreSQL messages in syslog.";
        bool   SYSLOG_SEQUENCE_NUMBERS  sighup     (on)
            "Add sequence number to syslog messages to avoid duplicate suppression.";
        bool   SYSLOG_SPLIT_MESSAGES    sighup     (on)
            "Split messages sent to syslog by lines and to fit into 1024 bytes.";
    }
    "Reporting and Logging / When to Log" {
        int    LOG_MIN_DURATION_SAMPLE       superuser (-1 ms, -1..=i32::MAX)
            "Sets the minimum execution time above which a sample of statements will be logged. Sampling is determined by log_statement_sample_rate.",
            "Zero logs a sample of all queries. -1 turns this feature off.";
        int    LOG_MIN_DURATION_STATEMENT    superuser (-1 ms, -1..=i32::MAX)
            "Sets the minimum execution time above which all statements will be logged.",
            "Zero prints all queries. -1 turns this feature off.";
        enum   LOG_MIN_ERROR_STATEMENT       superuser ("error" of SERVER_LEVELS)
            "Causes all statements generating error at or above this level to be logged.",
            "Each level includes all the levels that follow it. The later the level, the fewer messages are sent.";
        enum   LOG_MIN_MESSAGES              superuser ("warning" of SERVER_LEVELS)
            "Sets the message levels that are logged.",
            "Each level includes all the levels that follow it. The later the level, the fewer messages are sent.";
        int    LOG_STARTUP_PROGRESS_INTERVAL sighup    (10000 ms, 0..=i32::MAX)
            "Time between progress updates for long-running startup operations.",
            "0 turns this feature off.";
        real   LOG_STATEMENT_SAMPLE_RATE     superuser (1.0, 0.0..=1.0)
            "Fraction of statements exceeding log_min_duration_sample to be logged.",
            "Use a value between 0.0 (never log) and 1.0 (always log).";
        real   LOG_TRANSACTION_SAMPLE_RATE   superuser (0.0, 0.0..=1.0)
            "Sets the fraction of transactions from which to log all statements.",
            "Use a value between 0.0 (never log) and 1.0 (log all statements for all transactions).";
    }
    "Reporting and Logging / What to Log" {
        string APPLICATION_NAME                  user              ("")
               [NOT_IN_SAMPLE REPORT IS_NAME] => printable_ascii
            "Sets the application name to be reported in statistics and logs.";
        bool   DEBUG_PRETTY_PRINT                user              (on)
            "Indents parse and plan tree displays.";
        bool   DEBUG_PRINT_PARSE                 user              (off)
            "Logs each query's parse tree.";
        bool   DEBUG_PRINT_PLAN                  user              (off)
            "Logs each query's execution plan.";
        bool   DEBUG_PRINT_REWRITTEN             user              (off)
            "Logs each query's rewritten parse tree.";
        int    LOG_AUTOVACUUM_MIN_DURATION       sighup            (600000 ms, -1..=i32::MAX)
            "Sets the minimum execution time above which autovacuum actions will be logged.",
            "Zero prints all actions. -1 turns autovacuum logging off.";
        bool   LOG_CHECKPOINTS                   sighup            (on)
            "Logs each checkpoint.";
        bool   LOG_CONNECTIONS                   superuser_backend (off)
            "Logs each successful connection.";
        bool   LOG_DISCONNECTIONS                superuser_backend (off)
            "Logs end of a session, including duration.";
        bool   LOG_DURATION                      superuser         (off)
            "Logs the duration of each completed SQL statement.";
        enum   LOG_ERROR_VERBOSITY               superuser         ("default" of LOG_ERROR_VERBOSITY)
            "Sets the verbosity of logged messages.";
        bool   LOG_HOSTNAME                      sighup            (off)
            "Logs the host name in the connection logs.",
            "By default, connection logs only show the IP address of the connecting host. If you want them to show the host name you can turn this on, but depending on your host name resolution setup it might impose a non-negligible performance penalty.";
        string LOG_LINE_PREFIX                   sighup            ("%m [%p] ")
            "Controls information prefixed to each log line.",
            "If blank, no prefix is used.";
        bool   LOG_LOCK_WAITS                    superuser         (off)
            "Logs long lock waits.";
        int    LOG_PARAMETER_MAX_LENGTH          superuser         (-1 B, -1..=1073741823)
            "Sets the maximum length in bytes of data logged for bind parameter values when logging statements.",
            "-1 to print values in full.";
        int    LOG_PARAMETER_MAX_LENGTH_ON_ERROR user              (0 B, -1..=1073741823)
            "Sets the maximum length in bytes of data logged for bind parameter values when logging statements, on error.",
            "-1 to print values in full.";
        bool   LOG_RECOVERY_CONFLICT_WAITS       sighup            (off)
            "Logs standby recovery conflict waits.";
        bool   LOG_REPLICATION_COMMANDS          superuser         (off)
            "Logs each replication command.";
        enum   LOG_STATEMENT                     superuser         ("none" of LOG_STATEMENT)
            "Sets the type of statements logged.";
        int    LOG_TEMP_FILES                    superuser         (-1 kB, -1..=i32::MAX)
            "Log the use of temporary files larger than this number of kilobytes.",
            "Zero logs all files. The default is -1 (turning this feature off).";
        string LOG_TIMEZONE                      sighup            ("GMT") => timezone
            "Sets the time zone to use in log messages.";
    }
    "Reporting and Logging / Process Title" {
        string CLUSTER_NAME         postmaster ("") [IS_NAME] => printable_ascii
            "Sets the name of the cluster, which is included in the process title.";
        bool   UPDATE_PROCESS_TITLE superuser  (on)
            "Updates the process title to show the active SQL command.",
            "Enables updating of the process title every time a new SQL command is received by the server.";
    }
}
