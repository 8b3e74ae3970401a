-- What somebody else may do with a table: nothing, as long as there is no GRANT.
create role tr_other;
create role tr_owner;
create table mine(a int, b text);
insert into mine values (1, 'x');
set role tr_other;
select * from mine;
select count(*) from mine;
select 1 from mine where false;
select * from (select a from mine) x;
with x as (select a from mine) select 1; -- differs: an unused WITH query is kept here
select (select max(a) from mine);
insert into mine values (2);
insert into mine values (2) returning a;
update mine set a = 3;
delete from mine;
truncate mine;
lock mine in access share mode;
begin;
lock mine in access share mode;
rollback;
begin;
lock mine;
rollback;
copy mine to stdout;
copy (select * from mine) to stdout;
copy mine from stdin;
\.
explain select * from mine;
explain (costs off) delete from mine;
create table theirs as select * from mine;
prepare p as select * from mine;
execute p;
deallocate p;
select * from mine for update;
declare c cursor with hold for select * from mine;
vacuum mine;
analyze mine;
drop table mine;
drop table if exists mine;
drop table public.mine;
create table theirs(a int);
create table public.theirs(a int);
create table nosuch.theirs(a int);
create table pg_catalog.theirs(a int);
select count(*) > 0 from pg_class;
select count(*) > 0 from pg_type;
select count(*) from pg_authid;
select count(*) > 0 from pg_roles;
select count(*) > 0 from pg_database;
select count(*) > 0 from pg_statistic;
delete from pg_class; -- differs: catalogs are not changed by hand
vacuum pg_class;
truncate pg_class;
copy pg_namespace(nspname) to '/tmp/x';
checkpoint;
select pg_switch_wal();
\d mine
\dt mine
select relname from pg_class where relname = 'mine';
select pg_relation_size('mine') > 0;
select has_table_privilege('mine', 'select');
select has_table_privilege('mine', 'select,insert'), has_table_privilege('tr_owner', 'mine', 'update'), has_table_privilege('postgres', 'mine', 'delete');
select has_table_privilege('mine', 'nosuch');
select has_table_privilege('nosuch', 'select');
select has_table_privilege('nosuch', 'mine', 'select');
reset role;
grant select on mine to tr_other; -- differs: GRANT comes later
revoke select on mine from tr_other; -- differs: GRANT comes later
select count(*) from mine;
drop table mine;
drop role tr_other, tr_owner;
