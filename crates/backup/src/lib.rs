//! Online backups: `pg_backup_start` and `pg_backup_stop`, their label, tablespace map and history file.
#![forbid(unsafe_code)]
