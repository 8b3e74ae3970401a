-- Backups: one at a time in a session, and nothing of one is left behind. Positions are the server's own: they are compared,
-- not shown.
\df pg_backup_*
\df pg_create_restore_point
\df pg_promote
\df pg_*replay*
\df pg_walfile_name_offset
\df pg_control_*
\df pg_stat_file
\df pg_ls_waldir
\df pg_ls_dir
\df pg_read_file
select pg_backup_stop();
select * from pg_backup_stop(false);
select pg_backup_start(repeat('x', 1025));
select pg_backup_start();
select pg_backup_start(null);
select pg_backup_start('a label', true) > '0/0' as started;
select pg_backup_start('another', true);
begin;
select pg_backup_start('in a block', true);
rollback;
select pg_is_in_backup();
select pg_backup_stop(null);
select lsn > '0/0' as lsn, split_part(labelfile, E'\n', 6) as label, spcmapfile is null as no_map, spcmapfile = '' as empty_map from pg_backup_stop(wait_for_archive => false);
select pg_backup_stop(false);
select pg_backup_start(label => 'two' || E'\n' || 'lines', fast => true) > '0/0' as started;
select regexp_replace(labelfile, '[0-9A-F/]*[0-9][0-9A-F/:-]*', '#', 'g') as label from pg_backup_stop(false);
select pg_backup_start(repeat('x', 1024), true) is not null as started;
select length(split_part(labelfile, E'\n', 6)) as label from pg_backup_stop(true);
-- A failed transaction does not end a backup, neither does one that is rolled back.
begin;
select pg_backup_start('rolled back', true) is not null as started;
select 1 / 0;
rollback;
select pg_backup_start('still there', true);
select split_part(labelfile, E'\n', 6) as label from pg_backup_stop(false);
-- The second of two starts further on.
select pg_backup_start('first', true) as first \gset
select lsn > :'first' as later from pg_backup_stop(false);
select pg_backup_start('second', true) > :'first' as further;
select 1 as one from pg_backup_stop(false);
-- Restore points.
select pg_create_restore_point('a point') > '0/0' as made;
select pg_create_restore_point(repeat('x', 63)) > '0/0' as made;
select pg_create_restore_point(repeat('x', 64));
select pg_create_restore_point(null);
-- Positions and files of WAL.
select pg_current_wal_flush_lsn() <= pg_current_wal_lsn() as flushed;
select pg_current_wal_lsn() <= pg_current_wal_insert_lsn() as written;
select pg_switch_wal() > '0/0' as switched;
select pg_walfile_name('0/1'), pg_walfile_name('0/1000000'), pg_walfile_name('1/0'), pg_walfile_name('1/0000001');
select * from pg_walfile_name_offset('16/B374D848');
select pg_walfile_name_offset('0/3000028');
select (pg_walfile_name_offset(lsn => '0/3000028')).file_offset;
select pg_wal_lsn_diff('1/0', '0/FFFFFFFF');
select count(*) > 0 as segments, bool_and(size = 16777216) as whole, bool_and(modification > '2020-01-01') as dated from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$';
select * from pg_ls_archive_statusdir();
-- Recovery, when there is none.
select pg_is_in_recovery();
select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp();
select pg_wal_replay_pause();
select pg_wal_replay_resume();
select pg_is_wal_replay_paused();
select pg_get_wal_replay_pause_state();
select pg_promote();
select pg_promote(wait => false);
select pg_promote(true, 0);
select pg_promote(null);
-- pg_control.
select pg_control_version, catalog_version_no, system_identifier > 0 as system, pg_control_last_modified > '2020-01-01' as dated from pg_control_system();
select checkpoint_lsn >= redo_lsn as after, redo_wal_file = pg_walfile_name(redo_lsn + 1) as file, timeline_id, prev_timeline_id, full_page_writes, next_multixact_id, next_multi_offset, oldest_xid_dbid, oldest_multi_xid, oldest_multi_dbid, oldest_commit_ts_xid, newest_commit_ts_xid from pg_control_checkpoint();
select next_xid ~ '^0:[0-9]+$' as xid, next_oid > 10000 as oid, oldest_active_xid::text::int8 > 0 as active, checkpoint_time > '2020-01-01' as dated from pg_control_checkpoint();
select * from pg_control_recovery();
select * from pg_control_init();
-- Files.
select pg_read_file('PG_VERSION');
select pg_read_file('PG_VERSION', 1, 1), pg_read_file('PG_VERSION', -2, 1), pg_read_file('PG_VERSION', 10, 1);
select pg_read_file('PG_VERSION', 0, -1);
select pg_read_file('PG_VERSION', 0, 9999999999);
select pg_read_file('no/such/file');
select pg_read_file('no/such/file', 0, 1, true);
select pg_read_file('no/such/file', 0, 1, false);
select pg_read_file('base');
select pg_read_file(null);
select pg_read_file('base/1/PG_VERSION', 0, 100, true);
select pg_read_binary_file('PG_VERSION'), pg_read_binary_file('PG_VERSION', 1, 1), pg_read_binary_file('none', 1, 1, true);
select length(pg_read_binary_file('global/pg_control'));
select count(*) from pg_ls_dir('pg_tblspc');
select * from pg_ls_dir('pg_tblspc', true, true) order by 1;
select name from pg_ls_dir('.') as name where name in ('base', 'global', 'pg_wal', 'postgresql.conf') order by 1;
select * from pg_ls_dir('no/such/dir');
select * from pg_ls_dir('no/such/dir', true, false);
select * from pg_ls_dir('PG_VERSION');
select size, creation, isdir, modification > '2020-01-01' as dated from pg_stat_file('PG_VERSION');
select size > 0 as size, isdir from pg_stat_file('base', false);
select * from pg_stat_file('no/such/file');
select * from pg_stat_file('no/such/file', true);
select (pg_stat_file('PG_VERSION')).size;
select * from pg_ls_logdir();
-- Who may.
create role backup_nobody;
create role backup_monitor in role pg_monitor;
set role backup_nobody;
select pg_backup_start('a');
select pg_backup_stop();
select pg_create_restore_point('a');
select pg_switch_wal();
select pg_wal_replay_pause();
select pg_wal_replay_resume();
select pg_promote();
select pg_is_in_recovery();
select pg_is_wal_replay_paused();
select pg_read_file('PG_VERSION');
select pg_read_binary_file('PG_VERSION');
select pg_stat_file('PG_VERSION');
select pg_ls_dir('.');
select pg_ls_waldir();
select pg_ls_archive_statusdir();
select pg_control_version from pg_control_system();
select pg_current_logfile();
set role backup_monitor;
select count(*) > 0 as segments from pg_ls_waldir();
select * from pg_ls_archive_statusdir();
select pg_ls_dir('.');
select pg_backup_start('a');
reset role;
drop role backup_nobody;
drop role backup_monitor;
