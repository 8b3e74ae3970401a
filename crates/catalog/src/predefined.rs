//! Roles that every cluster has, with PostgreSQL's object ids.
//!
//! C counterpart: catalog/pg_authid.dat, pg_auth_members as `system_views.sql` leaves it.

use common::Oid;

/// The superuser that initdb makes. C: `BOOTSTRAP_SUPERUSERID`.
pub const BOOTSTRAP_SUPERUSER: Oid = Oid(10);
/// The owner of the current database, whoever that is. C: `ROLE_PG_DATABASE_OWNER`.
pub const PG_DATABASE_OWNER: Oid = Oid(6171);
/// May read all tables. C: `ROLE_PG_READ_ALL_DATA`.
pub const PG_READ_ALL_DATA: Oid = Oid(6181);
/// May write all tables. C: `ROLE_PG_WRITE_ALL_DATA`.
pub const PG_WRITE_ALL_DATA: Oid = Oid(6182);
/// The three roles below it, for monitoring tools. C: `ROLE_PG_MONITOR`.
pub const PG_MONITOR: Oid = Oid(3373);
/// May see all settings. C: `ROLE_PG_READ_ALL_SETTINGS`.
pub const PG_READ_ALL_SETTINGS: Oid = Oid(3374);
/// May see other users' queries in the statistics views. C: `ROLE_PG_READ_ALL_STATS`.
pub const PG_READ_ALL_STATS: Oid = Oid(3375);
/// May run functions that lock tables to look at them. C: `ROLE_PG_STAT_SCAN_TABLES`.
pub const PG_STAT_SCAN_TABLES: Oid = Oid(3377);
/// May read files of the server. C: `ROLE_PG_READ_SERVER_FILES`.
pub const PG_READ_SERVER_FILES: Oid = Oid(4569);
/// May write files of the server. C: `ROLE_PG_WRITE_SERVER_FILES`.
pub const PG_WRITE_SERVER_FILES: Oid = Oid(4570);
/// May run programs on the server. C: `ROLE_PG_EXECUTE_SERVER_PROGRAM`.
pub const PG_EXECUTE_SERVER_PROGRAM: Oid = Oid(4571);
/// May cancel queries and end sessions of others. C: `ROLE_PG_SIGNAL_BACKEND`.
pub const PG_SIGNAL_BACKEND: Oid = Oid(4200);
/// May run CHECKPOINT. C: `ROLE_PG_CHECKPOINT`.
pub const PG_CHECKPOINT: Oid = Oid(4544);

/// Those roles but the superuser, in the order of PostgreSQL's catalog.
pub const ROLES: [(Oid, &str); 12] = [
    (PG_DATABASE_OWNER, "pg_database_owner"),
    (PG_READ_ALL_DATA, "pg_read_all_data"),
    (PG_WRITE_ALL_DATA, "pg_write_all_data"),
    (PG_MONITOR, "pg_monitor"),
    (PG_READ_ALL_SETTINGS, "pg_read_all_settings"),
    (PG_READ_ALL_STATS, "pg_read_all_stats"),
    (PG_STAT_SCAN_TABLES, "pg_stat_scan_tables"),
    (PG_READ_SERVER_FILES, "pg_read_server_files"),
    (PG_WRITE_SERVER_FILES, "pg_write_server_files"),
    (PG_EXECUTE_SERVER_PROGRAM, "pg_execute_server_program"),
    (PG_SIGNAL_BACKEND, "pg_signal_backend"),
    (PG_CHECKPOINT, "pg_checkpoint"),
];

/// Memberships among them: (role, member).
pub const MEMBERSHIPS: [(Oid, Oid); 3] =
    [(PG_READ_ALL_SETTINGS, PG_MONITOR), (PG_READ_ALL_STATS, PG_MONITOR), (PG_STAT_SCAN_TABLES, PG_MONITOR)];

/// The first id of an object that a user made. C: `FirstNormalObjectId`.
pub const FIRST_NORMAL_OID: Oid = Oid(16_384);

/// May no user take this name? C: `IsReservedName`.
pub fn is_reserved_name(name: &str) -> bool {
    name.starts_with("pg_")
}
