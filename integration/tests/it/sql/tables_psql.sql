-- What psql and other tools ask the catalogs.
create table pa(a int not null, b text default 'x' check (b <> ''));
create table pb(a int);
\dt
\dt pa
\dt nosuch
\dt public.*
\dt pg_catalog.pg_cl*
\dt+ pb
\d
\d nosuch
\d pa
\d pa*
\d+ pa
\dtS pg_am
\dti
\dv
\ds
\di
\dm
\dp
\z pa
\dn
\du
\du postgres
\dg
\db
\dT mytype
\df pg_sleep
\df nosuch
\dc nosuch
\dC nosuch
\dD
\des
\ddp
\drds
\dy
\dRp
\dAc nosuch
select relname, relkind from pg_class where relnamespace = 'public'::regnamespace order by 1;
select attname, attnum, atttypid::regtype, attlen, atttypmod, attnotnull, atthasdef, attisdropped, attidentity, attgenerated, attalign, attstorage, attbyval, attislocal, attinhcount, attndims, attstattarget, attcacheoff from pg_attribute where attrelid = 'pa'::regclass order by attnum;
select adnum, pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = 'pa'::regclass;
select n.nspname, c.relname, c.relkind from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname not in ('pg_catalog', 'pg_toast', 'information_schema') and c.relkind in ('r', 'p') order by 1, 2;
select count(*) > 50 from pg_class;
select nspname from pg_namespace where nspname !~ '^pg_t' and nspname <> 'information_schema' order by 1;
select datname, datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype, datistemplate, datallowconn, datconnlimit, dattablespace from pg_database order by 1;
select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolconnlimit, rolvaliduntil from pg_authid where oid < 16384 order by 1;
select rolname, rolsuper from pg_roles where rolname = 'postgres';
select usename, usesuper from pg_user;
select count(*) from pg_auth_members;
select * from pg_tablespace order by 1;
select amname, amtype from pg_am order by 1; -- differs: without index access methods
select extname, extversion from pg_extension; -- differs: without PL/pgSQL
select lanname from pg_language order by 1; -- differs: without PL/pgSQL
select typname, typlen, typbyval, typtype, typcategory, typdelim, typalign, typstorage from pg_type where typname in ('int4', 'text', 'bool', 'numeric', '_int4', 'json', 'pg_class', 'tid', 'pg_lsn') order by 1;
select t.oid::regtype, t.typname, t.typarray::regtype, n.nspname from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid in (16, 20, 21, 23, 25, 1700) order by t.oid;
select proname, pronargs, prorettype::regtype, proargtypes, provolatile, prosrc from pg_proc where proname = 'pg_sleep';
select oprname, oprleft::regtype, oprright::regtype, oprresult::regtype, oprcode from pg_operator where oprname = '+' and oprleft = 23 and oprright = 23;
select castsource::regtype, casttarget::regtype, castcontext from pg_cast where castsource = 23 order by 2; -- differs: not all types are there
select tablename, tableowner, schemaname, hasindexes, hasrules, hastriggers, rowsecurity from pg_tables where schemaname = 'public' order by 1;
select pg_table_is_visible('pa'::regclass), pg_get_userbyid(relowner), obj_description(oid, 'pg_class') from pg_class where relname = 'pa';
select format_type(atttypid, atttypmod), col_description(attrelid, attnum) from pg_attribute where attrelid = 'pa'::regclass and attnum > 0 order by attnum;
select pg_relation_size('pa'), pg_table_size('pb'), pg_total_relation_size('pb'), pg_relation_size('pb', 'fsm');
select pg_size_pretty(pg_relation_size('pg_class')) is not null, pg_database_size('postgres') > 1000000; -- differs: templates are smaller
select pg_relation_filepath('pa') like 'base/%', pg_relation_filenode('pa') = (select relfilenode from pg_class where relname = 'pa');
select has_table_privilege('pa', 'select'), has_table_privilege('postgres', 'pa', 'insert');
select null as table_cat, n.nspname as table_schem, c.relname as table_name, case n.nspname ~ '^pg_' or n.nspname = 'information_schema' when true then case when n.nspname = 'pg_catalog' or n.nspname = 'information_schema' then case c.relkind when 'r' then 'SYSTEM TABLE' when 'v' then 'SYSTEM VIEW' when 'i' then 'SYSTEM INDEX' else null end else null end when false then case c.relkind when 'r' then 'TABLE' when 'p' then 'PARTITIONED TABLE' when 'i' then 'INDEX' when 'v' then 'VIEW' else null end else null end as table_type, d.description as remarks from pg_catalog.pg_namespace n, pg_catalog.pg_class c left join pg_catalog.pg_description d on (c.oid = d.objoid and d.objsubid = 0 and d.classoid = 'pg_class'::regclass) where c.relnamespace = n.oid and c.relname like 'p_' order by table_type, table_schem, table_name;
select * from (select n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull or (t.typtype = 'd' and t.typnotnull) as attnotnull, a.atttypmod, a.attlen, t.typtypmod, row_number() over (partition by a.attrelid order by a.attnum) as attnum, nullif(a.attidentity, '') as attidentity, pg_catalog.pg_get_expr(def.adbin, def.adrelid) as adsrc, dsc.description, t.typbasetype, t.typtype from pg_catalog.pg_namespace n join pg_catalog.pg_class c on (c.relnamespace = n.oid) join pg_catalog.pg_attribute a on (a.attrelid = c.oid) join pg_catalog.pg_type t on (a.atttypid = t.oid) left join pg_catalog.pg_attrdef def on (a.attrelid = def.adrelid and a.attnum = def.adnum) left join pg_catalog.pg_description dsc on (c.oid = dsc.objoid and a.attnum = dsc.objsubid) where c.relkind in ('r', 'p', 'v', 'f', 'm') and a.attnum > 0 and not a.attisdropped and c.relname like 'pa') c where true order by nspname, c.relname, attnum; -- differs: window functions come later
select c.oid = 'pa'::regclass, a.attnum, a.attname, c.relname, n.nspname, a.attnotnull or (t.typtype = 'd' and t.typnotnull), a.attidentity != '' or pg_catalog.pg_get_expr(d.adbin, d.adrelid) like '%nextval(%' from pg_catalog.pg_class c join pg_catalog.pg_namespace n on (c.relnamespace = n.oid) join pg_catalog.pg_attribute a on (c.oid = a.attrelid) join pg_catalog.pg_type t on (a.atttypid = t.oid) left join pg_catalog.pg_attrdef d on (d.adrelid = a.attrelid and d.adnum = a.attnum) where c.relname = 'pa' and a.attnum > 0 order by a.attnum;
select t.typname, t.oid from pg_type t join pg_namespace n on t.typnamespace = n.oid where n.nspname <> 'pg_toast' and (t.typrelid = 0 or (select c.relkind = 'c' from pg_class c where c.oid = t.typrelid)) and typname in ('int4', 'hstore', 'text') order by 1;
select t.oid, t.typname as name, t.typarray as array_oid, t.oid::regtype::text as regtype, t.typdelim as delimiter from pg_type t where t.oid = to_regtype('int4') order by t.oid;
select oid, typname from pg_type where typname = 'pa' and false;
select locktype, relation::regclass, mode, granted from pg_locks where relation = 'pa'::regclass;
begin;
lock pa in share mode;
select locktype, relation::regclass, mode, granted from pg_locks where relation = 'pa'::regclass;
select locktype, mode, granted, fastpath from pg_locks where pid = pg_backend_pid() order by 1, 2; -- differs: catalogs are read without locks
rollback;
select relname, n_live_tup, n_dead_tup from pg_stat_user_tables where relname like 'p_' order by 1;
select objid = 'pa'::regclass, deptype, refclassid::regclass, refobjid::regnamespace from pg_depend where objid = 'pa'::regclass order by 2;
select description from pg_description where objoid = 'pg_catalog'::regnamespace; -- differs: descriptions come later
select count(*) from pg_index where indrelid = 'pa'::regclass;
select count(*) from pg_inherits;
select count(*) from pg_trigger;
select count(*) from pg_seclabel;
select count(*) from pg_policy;
select count(*) from pg_sequence;
select * from information_schema.tables; -- differs: information_schema comes later
drop table pa, pb;
