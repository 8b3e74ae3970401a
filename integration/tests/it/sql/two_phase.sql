-- Two-phase commit: what may be prepared, what others see of it, who may end it.
create table tp (i int, t text);
insert into tp values (1, 'one'), (2, 'two');
select name, setting, context from pg_settings where name = 'max_prepared_transactions';
-- nothing to prepare
prepare transaction 'none';
begin; prepare transaction 'empty';
select gid, owner = current_user as mine, database = current_database() as here from pg_prepared_xacts;
rollback prepared 'empty';
-- rows are invisible until the commit
begin;
insert into tp values (3, 'three');
savepoint a;
insert into tp values (4, 'four');
release a;
savepoint b;
insert into tp values (5, 'five');
rollback to b;
update tp set t = 'ONE' where i = 1;
prepare transaction 'first';
show transaction_isolation;
select * from tp order by i;
select gid from pg_prepared_xacts;
select gid, ownerid > 0 as owner, dbid > 0 as db, prepared <= now() as before from pg_prepared_xact();
select locktype, mode, pid, granted, fastpath from pg_locks where pid is null order by 1, 2;
select count(*) from pg_locks l join pg_prepared_xacts p on p.transaction = l.transactionid;
-- its row is locked
set lock_timeout = '50ms';
update tp set t = 'other' where i = 1;
update tp set t = 'TWO' where i = 2;
lock table tp in share mode;
begin; lock table tp in access share mode; commit;
truncate tp;
reset lock_timeout;
-- identifiers
begin; prepare transaction 'first';
begin; insert into tp values (9, 'nine'); prepare transaction 'first';
begin; prepare transaction 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx';
commit prepared 'unknown';
rollback prepared 'unknown';
prepare transaction unquoted;
commit prepared;
rollback prepared 5;
-- not inside a block
begin; commit prepared 'first';
rollback;
begin; rollback prepared 'first';
rollback;
select 1 \; commit prepared 'first';
commit prepared 'first';
commit prepared 'first';
select * from tp order by i;
-- rolled back
begin; delete from tp; prepare transaction 'second';
select count(*) from tp;
rollback prepared 'second';
select count(*) from tp;
-- a failed block
begin; select 1/0; 
prepare transaction 'failed';
select gid from pg_prepared_xacts;
commit prepared 'failed';
-- several statements in one string
insert into tp values (6, 'six') \; prepare transaction 'string';
select count(*) from tp;
commit prepared 'string';
select count(*) from tp;
-- tables
begin; create table tp_new (i int); insert into tp_new values (1); prepare transaction 'make';
select * from tp_new;
create table tp_other (i int);
commit prepared 'make';
select * from tp_new;
begin; drop table tp_new; prepare transaction 'drop';
set lock_timeout = '50ms';
select * from tp_new;
reset lock_timeout;
rollback prepared 'drop';
select * from tp_new;
begin; truncate tp_new; insert into tp_new values (2); prepare transaction 'empty it';
commit prepared 'empty it';
select * from tp_new;
begin; drop table tp_new; prepare transaction 'drop';
commit prepared 'drop';
select * from tp_new;
drop table tp_other;
-- advisory locks
begin; select pg_advisory_lock(1); select pg_advisory_xact_lock_shared(1); prepare transaction 'both';
select pg_advisory_unlock(1);
begin; select pg_advisory_xact_lock(2); prepare transaction 'advisory';
select pg_try_advisory_lock(2);
rollback prepared 'advisory';
select pg_try_advisory_lock(2), pg_advisory_unlock(2);
begin; select pg_advisory_lock(3); select pg_advisory_xact_lock(4); prepare transaction 'advisory';
select objid, pid is null as prepared from pg_locks where locktype = 'advisory' order by 1;
select pg_advisory_unlock(3);
commit prepared 'advisory';
-- cursors, settings, characteristics
begin; declare c cursor with hold for select 1; prepare transaction 'hold';
begin; declare c cursor for select 1; prepare transaction 'cursor';
fetch c;
commit prepared 'cursor';
begin; set local work_mem = '1MB'; set statement_timeout = '77s'; prepare transaction 'settings';
show work_mem;
show statement_timeout;
rollback prepared 'settings';
show statement_timeout;
reset statement_timeout;
begin read only; select 1; prepare transaction 'ro';
show transaction_read_only;
commit prepared 'ro';
-- too many
begin; prepare transaction '1';
begin; prepare transaction '2';
begin; prepare transaction '3';
begin; prepare transaction '4';
begin; prepare transaction '5';
begin; prepare transaction '6';
select gid from pg_prepared_xacts order by gid;
-- who may
create role tp_user;
set role tp_user;
rollback prepared '1';
begin; prepare transaction '6';
reset role;
rollback prepared '5';
set role tp_user;
begin; prepare transaction 'theirs';
select gid, owner from pg_prepared_xacts order by gid;
commit prepared 'theirs';
begin; prepare transaction 'theirs';
reset role;
rollback prepared 'theirs';
rollback prepared '1';
rollback prepared '2';
rollback prepared '3';
commit prepared '4';
select gid from pg_prepared_xacts order by gid;
drop role tp_user;
drop table tp;
