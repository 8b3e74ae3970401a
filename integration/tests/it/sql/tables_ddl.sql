-- CREATE, DROP and TRUNCATE TABLE, and what psql shows of tables.
create table d1(a int, b text default 'x', c numeric(10,2) not null default 1.5, d varchar(10), e char(3), f timestamp default now());
\d d1
\d+ d1
create table d1(a int);
create table if not exists d1(a int);
create table if not exists public.d1(z int);
create table d2(a int, a int);
create table d2(a int, b text, "A" int, B int);
create table d2(a nosuchtype);
create table d2(a int default b);
create table d2(a int default 'x');
create table d2(a int default 1 default 2);
create table d2(a int not null null);
create table d2(a int null not null);
create table d2(a int default (select 1));
create table d2(a int default sum(1));
create table d2(a int default nosuchfunc());
create table d2(a int default generate_series(1,3));
create table d2(a int check (b > 1));
create table d2(a int check (a));
create table d2(a int check (a + 1));
create table d2(a int check ((select 1) = 1));
create table d2(a int check (sum(a) > 1));
create table d2(a int check (generate_series(1,2) > 1));
create table d2(a record);
create table d2(a anyelement);
create table d2(a unknown);
create table d2(a varchar(0));
create table d2(a varchar(10485761));
create table d2(a numeric(1001));
create table d2(a numeric(10,2000));
create table d2(a timestamp(7)); -- differs: the place is not shown
create table d2(xmin int);
create table d2(ctid int);
create table d2(tableoid oid);
create table d2(cmax int, a int);
create table d2();
\d d2
insert into d2 default values;
select * from d2;
select count(*) from d2;
drop table d2;
drop table d2;
drop table if exists d2;
drop table if exists nosuchschema.d2;
drop table nosuchschema.d2;
drop table public.d2;
drop table d1, d2;
select count(*) from d1;
drop table if exists d2, d1, d3;
select count(*) from d1;
drop table pg_class;
drop table pg_catalog.pg_type;
drop table pg_tables;
drop table other_db.public.x;
drop table a.b.c.d;
create table pg_catalog.x(a int);
create table nosuchschema.x(a int);
create table other_db.public.x(a int);
create table postgres.public.qx(a int);
drop table postgres.public.qx;
create table pg_toast.x(a int);
create table information_schema_x(a int);
drop table information_schema_x;
create table ck(a int check (a > 0), b int constraint bpos check (b > 0), c int, check (a < b), constraint "big one" check (a + b + c < 100), check (c is not null or a > 5));
\d ck
\d+ ck
insert into ck values (1, 2, 3);
insert into ck values (0, 2, 3);
insert into ck values (1, 0, 3);
insert into ck values (3, 2, 3);
insert into ck values (3, 98, 3);
insert into ck values (3, 4, null);
insert into ck values (null, null, null);
insert into ck values (6, null, null);
update ck set a = -1;
update ck set a = 5, b = 4 where a = 1;
select * from ck order by a nulls first;
select conname, contype, conkey, connoinherit, convalidated, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'ck'::regclass order by conname;
drop table ck;
create table ck(a int constraint x check (a > 0) constraint x check (a > 1));
create table ck(a int, check (true), check (false));
\d ck
insert into ck values (1);
drop table ck;
create table ck(a int check (a > 0) no inherit);
\d ck
drop table ck;
create table ck(a int check (a > 0), check (a > 1), check (a > 2), b int check (b > 1), b_check int check (b_check > 0));
\d ck
drop table ck;
create table pk(a int primary key); -- differs: indexes come later
drop table if exists pk; -- differs: the table is there in PostgreSQL
create table nn(a int not null, b int not null default 5);
insert into nn values (1);
insert into nn values (null, 2);
insert into nn(b) values (2);
insert into nn values (1, null);
update nn set b = null;
insert into nn values (2, default), (default, 3);
select * from nn;
drop table nn;
create table df(a int default 1 + 2, b text default upper('abc') || 'd', c date default '2020-01-01', d float8 default -1, e bool default true, f int[] default '{1,2}', g text[] default array['a','b'], h timestamptz default current_timestamp, i text default current_user, j interval default '1 day', k bytea default '\x01', l bigint default 12345678901, m smallint default -3, n numeric default 1e10, o varchar(5) default 'abc', p char(4) default 'ab', q name default 'nm', r text default null, s int default null, t json default '{"a": 1}', u text default coalesce(null, 'z'), v int default case when 1 > 2 then 3 else 4 end, w text default 'it''s', x int default (length('abc'::text)), y real default 1.5, z oid default 77);
\d df
insert into df default values;
select a,b,c,d,e,f,g,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z from df;
drop table df;
create table dg(a varchar(3) default 'abcdef');
insert into dg default values;
drop table dg;
create table cx(a int, b text, check (a in (1,2,3)), check (b like 'x%'), check (a between 1 and 10), check (not (a = 4 and b = 'y')), check (length(b) > 0 or b is null), check (a::text <> '7'), check (coalesce(a, 0) + 1 > 0), check (b ~ '^x'), check (case when a > 1 then true else false end or a = 1), check (a = any (array[1,2,3])), check (a <> 9 or b is distinct from 'q'), check (upper(b) = b or lower(b) = b));
\d cx
drop table cx;
begin;
create table t1(a int);
insert into t1 values (1);
savepoint s;
create table t2(a int);
insert into t2 values (1);
drop table t1;
select * from t1;
rollback to s;
select * from t1;
select * from t2;
rollback to s;
truncate t1;
select * from t1;
rollback to s;
select * from t1;
release s;
commit;
\d t1
\d t2
begin;
drop table t1;
create table t1(b text, c text);
insert into t1 values ('x', 'y');
select * from t1;
rollback;
select * from t1;
begin;
truncate t1;
insert into t1 values (7);
select * from t1;
rollback;
select * from t1;
truncate table t1;
select * from t1;
truncate t1, t1;
truncate t1 restart identity cascade;
truncate only t1;
truncate nosuch;
truncate nosuch.nosuch;
truncate t1, nosuch;
truncate pg_class;
truncate pg_tables;
drop table t1;
create table src(a int, b text, c numeric(5,2), d varchar(7));
insert into src values (1,'one',1.5,'x'),(2,'two',2.5,'y'),(3,null,null,null);
create table ca as select * from src;
\d ca
create table ca as select 1;
create table if not exists ca as select 1;
create table cb as select a, a + 1, b || 'x' as bb, count(*) from src group by a, b order by a;
create table cb(x, y) as select a, b from src with no data;
select * from cb;
\d cb
drop table cb;
create table cb(x, y, z) as select a, b from src;
create table cb(x) as select a, b from src;
select * from cb;
drop table cb;
create table cb as select a, a from src;
create table cb as select 1 as a, 'x' as b, null as c, 1.5 as d, array[1,2] as e, now() as f;
\d cb
drop table cb;
create table cb as values (1,'a'),(2,'b');
\d cb
select * from cb;
drop table cb;
create table cb as table src;
select count(*) from cb;
drop table cb;
create table cb with (fillfactor=50) as select * from src;
select reloptions from pg_class where relname = 'cb';
drop table cb;
select a, b into cb from src where a < 3;
select * from cb;
drop table cb;
select a into cb from src union select 10 order by 1;
select * from cb;
drop table cb;
select a into src from src;
prepare q as select a, b from src where a = $1;
create table cb as execute q(2);
select * from cb;
drop table cb;
deallocate q;
create table cb as select row(1,2) as r;
explain (costs off) create table cb as select * from src;
with x as (select 1 as a) select * into cb from x;
table cb;
drop table ca, src, cb;
create table so(a int) with (fillfactor=70, autovacuum_enabled=false);
\d+ so
select relname, relkind, relpersistence, relnatts, relchecks, relhasindex, relhasrules, relispartition, reloptions, relreplident, relispopulated, relallvisible, relpages, reltuples from pg_class where oid = 'so'::regclass;
drop table so;
create table so(a int) with (fillfactor=5);
create table so(a int) with (fillfactor=abc);
create table so(a int) with (fillfactor);
create table so(a int) with (nosuch=1);
create table so(a int) with (fillfactor=10, fillfactor=20);
create table so(a int) with (autovacuum_enabled=maybe);
create table so(a int) with (autovacuum_vacuum_threshold=-5);
create table so(a int) with (autovacuum_vacuum_scale_factor=200);
create table so(a int) with (parallel_workers=2000);
create table so(a int) with (toast_tuple_target=100);
create table so(a int) with (vacuum_index_cleanup=bla);
create table so(a int) with (oids);
create table so(a int) with (oids=false);
create table so2(a int) without oids;
create table so(a int) with (toast.autovacuum_enabled=false);
create table so(a int) with (a.b=1);
drop table if exists so, so2;
create table so(a int) tablespace nosuch;
create table so(a int) tablespace pg_global;
create table so(a int) tablespace pg_default;
create table so2(a int) using heap;
create table so3(a int) using nosuch;
create table so3(a int) on commit drop;
drop table so, so2;
create table "Weird Name"("a b" int, "select" text, "ünï" int default 3);
insert into "Weird Name" values (1, 'x');
select "a b", "select", "ünï" from "Weird Name";
\d "Weird Name"
select '"Weird Name"'::regclass;
select 'Weird Name'::regclass;
drop table "Weird Name";
create table a_name_that_is_much_longer_than_the_sixty_three_bytes_that_postgresql_has_for_names(a int);
drop table a_name_that_is_much_longer_than_the_sixty_three_bytes_that_postgresql_has_for_names;
drop table if exists a_name_that_is_much_longer_than_the_sixty_three_bytes_that_postgresql_has_for_names;
set search_path = nosuch;
create table sp(a int);
show search_path;
set search_path = pg_catalog, public;
create table sp(a int);
set search_path = public;
create table sp(a int);
set search_path = '';
select * from sp;
select * from public.sp;
select 'public.sp'::regclass;
insert into public.sp values (4);
update public.sp set a = 5;
delete from public.sp;
\d sp
\d public.sp
reset search_path;
drop table sp;
-- types as names of tables
create table int4(a int);
drop table public.int4;
create table mytab(a int);
select 'mytab'::regtype;
select null::mytab; -- differs: rows as types come later
select (row(1)::mytab).a; -- differs: rows as types come later
create table uses(m mytab); -- differs: composite columns come later
drop table if exists uses; -- differs: composite columns come later
create table mytab2(a mytab[]); -- differs: arrays of rows come later
drop table if exists mytab2; -- differs: arrays of rows come later
select typname, typtype, typcategory, typlen, typrelid = 'mytab'::regclass from pg_type where typname in ('mytab', '_mytab') order by 1;
drop table mytab;
drop type nosuchtype; -- differs: types come later
-- system catalogs are protected
insert into pg_class default values; -- differs: catalogs are not changed by hand
delete from pg_type where false; -- differs: catalogs are not changed by hand
update pg_attribute set attname = attname where false; -- differs: catalogs are not changed by hand
create table pg_x(a int);
drop table pg_x;
drop view pg_class;
drop index pg_class;
drop view if exists nosuch;
drop sequence if exists nosuch;
drop index nosuch;
drop materialized view nosuch;
drop foreign table nosuch;
create table o1(a int);
drop view o1;
drop index o1;
drop sequence o1;
drop materialized view o1;
drop table o1 cascade;
drop table o1 restrict;
create table public.o1(a int); drop table public.o1 restrict;
create temporary table tmp(a int); -- differs: temporary tables come later
drop table if exists tmp; -- differs: temporary tables come later
create unlogged table unl(a int); -- differs: unlogged tables come later
drop table if exists unl; -- differs: unlogged tables come later
create table;
create table x;
create table x(;
create table x(a);
create table x(a int,);
create table x(a int) y;
create table x a int;
create table if exists x(a int);
create table x(a int check);
create table x(a int default);
create table x(a int constraint);
create table x(constraint c a int);
create table x(a int deferrable);
create table x(a int check (a > 1) deferrable);
create table x(a int check (a > 1) initially deferred);
create table select(a int);
drop table;
drop tables x;
drop table if x;
truncate;
truncate table;
create table x as;
