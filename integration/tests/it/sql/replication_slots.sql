-- Replication slots: what they are called, who may have them, what becomes of them. Positions are the server's own: they are
-- compared, not shown.
select * from pg_replication_slots where false;
select * from pg_stat_replication_slots;
\df pg_*replication_slot*
select slot_name, lsn from pg_create_physical_replication_slot('alpha');
select slot_name, lsn > '0/0' as reserved from pg_create_physical_replication_slot('beta', true);
select slot_name, lsn > '0/0' as reserved from pg_create_physical_replication_slot('gamma', immediately_reserve => true, temporary => true);
select slot_name, plugin, slot_type, datoid, database, temporary, active, active_pid = pg_backend_pid() as mine, xmin, catalog_xmin, restart_lsn > '0/0' as reserved, confirmed_flush_lsn, wal_status, safe_wal_size, two_phase from pg_replication_slots order by 1;
-- An error takes temporary ones along.
select 1 / 0;
select slot_name, temporary, active from pg_get_replication_slots() order by 1;
select pg_create_physical_replication_slot('alpha');
select pg_create_physical_replication_slot('Upper');
select pg_create_physical_replication_slot('with-dash');
select pg_create_physical_replication_slot('');
select pg_create_physical_replication_slot(null) is null;
select length((pg_create_physical_replication_slot(repeat('x', 70))).slot_name);
select pg_drop_replication_slot(repeat('x', 63));
-- Advancing.
select pg_replication_slot_advance('alpha', '0/1');
select regexp_replace(pg_replication_slot_advance('beta', pg_current_wal_lsn())::text, '[0-9A-F]+/[0-9A-F]+', '#');
select pg_replication_slot_advance('beta', '0/0');
select pg_replication_slot_advance('nobody', '0/1');
select end_lsn <= pg_current_wal_flush_lsn() as never_beyond from pg_replication_slot_advance('beta', 'FFFFFFFF/0');
-- Copies.
select pg_copy_physical_replication_slot('beta', 'delta');
select slot_name, lsn from pg_copy_physical_replication_slot('beta', 'epsilon', true);
select b.restart_lsn = d.restart_lsn as same from pg_replication_slots b, pg_replication_slots d where b.slot_name = 'beta' and d.slot_name = 'delta';
select pg_copy_physical_replication_slot('alpha', 'zeta');
select pg_copy_physical_replication_slot('nobody', 'zeta');
select pg_copy_physical_replication_slot('beta', 'delta');
-- In a block, rolled back or not: slots know nothing of transactions.
begin;
select pg_create_physical_replication_slot('zeta');
rollback;
select pg_drop_replication_slot('zeta');
-- No more than max_replication_slots.
select pg_create_physical_replication_slot('n' || i) from generate_series(1, 7) i;
select pg_create_physical_replication_slot('one_more');
select pg_drop_replication_slot('n' || i) from generate_series(1, 7) i;
-- Logical ones need more.
select pg_create_logical_replication_slot('logical', 'test_decoding');
select * from pg_logical_slot_get_changes('alpha', null, null);
select * from pg_logical_slot_peek_binary_changes('alpha', null, null, 'a', 'b');
select pg_copy_logical_replication_slot('alpha', 'zeta');
select * from pg_stat_replication_slots;
select * from pg_stat_get_replication_slot('nobody');
select pg_stat_reset_replication_slot('alpha');
select pg_stat_reset_replication_slot('nobody');
select pg_stat_reset_replication_slot(null);
-- Rights.
create role slots_nobody;
create role slots_replica replication;
set role slots_nobody;
select pg_create_physical_replication_slot('eta');
select pg_drop_replication_slot('alpha');
select pg_replication_slot_advance('alpha', '0/1');
select pg_copy_physical_replication_slot('alpha', 'eta');
select pg_create_logical_replication_slot('eta', 'test_decoding');
select slot_name from pg_replication_slots order by 1;
reset role;
set role slots_replica;
select pg_create_physical_replication_slot('eta');
select pg_drop_replication_slot('eta');
reset role;
drop role slots_nobody, slots_replica;
select pg_drop_replication_slot(slot_name) from pg_replication_slots;
select pg_drop_replication_slot('alpha');
select count(*) from pg_replication_slots;
