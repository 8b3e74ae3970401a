-- Tablespaces. Directories are made below psql's working directory, which differs from server to server.
\! mkdir -p -m 700 ts_a ts_b
\set a `pwd` '/ts_a'
\set b `pwd` '/ts_b'
\set b_odd `pwd` '//ts_b/./x/..//'
\set none `pwd` '/ts_none'
create tablespace ts_bad location 'relative/path';
create tablespace ts_bad location '';
create tablespace ts_bad location '/it''s';
create tablespace pg_bad location '/nowhere/at/all';
create tablespace ts_bad location '/nowhere/at/all';
create tablespace ts_bad location '/dev/null';
create tablespace ts_bad owner nobody_such location '/nowhere';
create tablespace ts_bad;
create tablespace ts_bad location;
create tablespace location '/x';
create tablespace ts_bad location '/x' with (nothing = 1);
create tablespace ts_bad location '/x' with (seq_page_cost = 'x');
create tablespace ts_bad location '/x' with (random_page_cost = -1);
create tablespace ts_bad location '/x' with (effective_io_concurrency = 2000);
create tablespace ts_bad location '/x' with (fillfactor = 20);
create tablespace ts_bad location '/01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789';
begin;
create tablespace ts_a location '/x';
rollback;
begin;
drop tablespace ts_a;
rollback;
create tablespace ts_a location :'a';
create tablespace ts_a location :'b';
\set shown :VERBOSITY
\set VERBOSITY sqlstate
create tablespace ts_b location :'a';
create tablespace ts_b location :'none';
\set VERBOSITY :shown
create role ts_owner;
create tablespace ts_b owner ts_owner location :'b_odd' with (seq_page_cost = 1.5, effective_io_concurrency = 7);
select spcname, pg_get_userbyid(spcowner) as owner, spcacl, spcoptions from pg_tablespace order by oid;
select pg_tablespace_location(oid) = :'a' as a, pg_tablespace_location(oid) = :'b' as b from pg_tablespace order by oid;
select pg_tablespace_location(0), pg_tablespace_location(1663), pg_tablespace_location(1664);
select pg_tablespace_size('ts_nosuch');
select pg_tablespace_size(4711);
select pg_tablespace_size('ts_a') = 0, pg_tablespace_size('pg_default') > 0, pg_tablespace_size('pg_global') > 0;
\! ls ts_a ts_b
-- tables
create table ts_t1 (i int) tablespace ts_a;
create table ts_t2 tablespace ts_b as select g as i from generate_series(1, 1000) g;
create table ts_t3 (i int) tablespace ts_nosuch;
create table ts_t3 (i int) tablespace pg_global;
create table ts_t3 (i int) tablespace pg_default;
create table ts_t4 tablespace ts_nosuch as select 1;
insert into ts_t1 select * from generate_series(1, 100);
select relname, coalesce(spcname, 'none') from pg_class c left join pg_tablespace t on t.oid = c.reltablespace where relname like 'ts\_%' order by 1;
select tablename, tablespace from pg_tables where tablename like 'ts\_%' or tablename in ('pg_class', 'pg_database') order by 1;
select pg_relation_filepath('ts_t1') ~ '^pg_tblspc/\d+/PG_15_202209061/\d+/\d+$' as there;
select pg_relation_size('ts_t1'), pg_relation_size('ts_t2'), pg_tablespace_size('ts_a') > 8192;
select count(*), sum(i) from ts_t1;
select count(*), sum(i) from ts_t2;
truncate ts_t1;
select pg_relation_filepath('ts_t1') ~ '^pg_tblspc/\d+/PG_15_202209061/\d+/\d+$' as there, pg_relation_size('ts_t1');
begin;
truncate ts_t2;
create table ts_t5 (i int) tablespace ts_a;
insert into ts_t5 values (1);
rollback;
select count(*) from ts_t2;
vacuum ts_t2;
analyze ts_t1;
-- default_tablespace
set default_tablespace = ts_nosuch;
set default_tablespace = 'ts_a';
show default_tablespace;
create table ts_t5 (i int);
create table ts_t6 (i int) tablespace pg_default;
create table ts_t7 as select 1 as one;
select 1 as one into ts_t8;
alter system set default_tablespace = 'ts_nosuch';
set local default_tablespace = 'ts_nosuch';
select set_config('default_tablespace', 'ts_nosuch', false);
set default_tablespace = pg_default;
create table ts_t9 (i int);
set default_tablespace = pg_global;
create table ts_t10 (i int);
reset default_tablespace;
select relname, coalesce(spcname, 'none') from pg_class c left join pg_tablespace t on t.oid = c.reltablespace where relname like 'ts\_%' order by 1;
\d ts_t1
\d ts_t6
drop table ts_t5, ts_t6, ts_t7, ts_t8, ts_t9;
-- rights
create role ts_user;
set role ts_user;
create tablespace ts_bad location '/x';
create table ts_mine (i int) tablespace ts_a;
set default_tablespace = ts_a;
create table ts_mine (i int);
create table ts_mine (i int) tablespace pg_global;
reset default_tablespace;
drop tablespace ts_a;
drop tablespace pg_default;
drop tablespace if exists ts_nosuch;
drop tablespace ts_nosuch;
select pg_tablespace_size('ts_a');
reset role;
drop role ts_owner;
drop tablespace pg_default;
drop tablespace pg_global;
drop tablespace if exists ts_nosuch;
drop tablespace ts_nosuch;
drop tablespace ts_a;
drop tablespace ts_b;
begin read only;
create tablespace ts_c location '/x';
rollback;
begin read only;
drop tablespace ts_a;
rollback;
-- emptied, they go
drop table ts_t1;
drop tablespace ts_a;
drop table ts_t2;
set role ts_owner;
drop tablespace ts_b;
reset role;
drop role ts_owner, ts_user;
drop table ts_t3;
select spcname from pg_tablespace order by 1;
\! ls ts_a ts_b
-- in place
set allow_in_place_tablespaces = on;
create tablespace ts_in location '';
select pg_tablespace_location(oid) ~ '^pg_tblspc/\d+$' as there from pg_tablespace where spcname = 'ts_in';
create table ts_t1 tablespace ts_in as select 1 as one;
select * from ts_t1;
drop tablespace ts_in;
drop table ts_t1;
drop tablespace ts_in;
\db
-- inside the data directory
select current_setting('data_directory') || '/ts_inside' as inside \gset
\setenv INSIDE :inside
\! mkdir -m 700 "$INSIDE"
create tablespace ts_inside location :'inside';
create table ts_t1 tablespace ts_inside as select 1 as one;
drop table ts_t1;
drop tablespace ts_inside;
\! rmdir "$INSIDE"
select spcname from pg_tablespace order by 1;
\! rmdir ts_a ts_b
