-- EXPLAIN of plans that are the same without indexes.
create table p(a int, b text, c numeric);
create table q(a int, d text);
explain (costs off) select * from p;
explain (costs off) select * from p where a = 1;
explain (costs off) select * from p where a > 1 and b = 'x';
explain (costs off) select * from p where a = 1 or b like 'x%' or c is null;
explain (costs off) select * from p x where x.a = 1;
explain (costs off) select * from only p;
explain (costs off) select a from p order by a;
explain (costs off) select a from p order by a desc nulls last, b;
explain (costs off) select a from p limit 1;
explain (costs off) select a from p limit 1 offset 2;
explain (costs off) select a from p order by b limit 1;
explain (costs off) select count(*) from p;
explain (costs off) select sum(a), max(c) from p where b is not null;
explain (costs off) select a, count(*) from p group by a;
explain (costs off) select distinct a from p;
explain (costs off) select a from p group by a having count(*) > 1;
explain (costs off) select a from p union all select a from q;
explain (costs off) select 1 from p where false;
explain (costs off) select * from p where 1 = 2; -- differs: there is no planner yet
explain (costs off) insert into p values (1);
explain (costs off) insert into p values (1), (2);
explain (costs off) insert into p(a) select a from q;
explain (costs off) insert into p values (1) returning a;
explain (costs off) update p set a = 1;
explain (costs off) update p set a = a + 1 where b = 'x';
explain (costs off) delete from p;
explain (costs off) delete from p where a = 1 returning *;
explain (costs off) delete from p x where x.a < 3;
explain (costs off) select * from p for update;
explain (costs off) select * from p where a = 1 for share;
explain (costs off) select * from p where ctid = '(0,1)';
explain (costs off) select * from p where a = (select 1);
explain (costs off) select * from p where a = (select max(a) from q);
explain (costs off) select * from (select * from p) x; -- differs: there is no planner yet
explain (costs off) select * from (select a from p where a > 1) x where a < 5; -- differs: there is no planner yet
explain (costs off) with x as materialized (select * from p) select * from x;
explain (costs off) select * from p, lateral (select p.a) x; -- differs: there is no planner yet
explain (costs off) select generate_series(1, a) from p;
explain (costs off) select * from p tablesample system (1); -- differs: TABLESAMPLE comes later
explain (costs off, verbose) select a, b || 'x' from p where a = 1; -- differs: VERBOSE comes later
explain (costs off, verbose) insert into p values (1, 'x'); -- differs: VERBOSE comes later
explain (costs off, verbose) update p set a = 2 where a = 1; -- differs: VERBOSE comes later
explain (costs off, verbose) delete from p where a = 1 returning a; -- differs: VERBOSE comes later
explain (costs off, analyze, timing off, summary off) select * from p where a = 1; -- differs: ANALYZE does not count rows yet
explain (costs off, analyze, timing off, summary off) insert into p values (1), (2), (3); -- differs: ANALYZE does not count rows yet
explain (costs off, analyze, timing off, summary off) select * from p where a > 1; -- differs: ANALYZE does not count rows yet
explain (costs off, analyze, timing off, summary off) update p set b = 'x' where a = 2; -- differs: ANALYZE does not count rows yet
explain (costs off, analyze, timing off, summary off) delete from p where a = 3; -- differs: ANALYZE does not count rows yet
select * from p order by a;
explain select * from nosuch;
explain (costs off) select nosuch from p;
explain (costs off) create table zz(a int); -- differs: there is no planner yet
explain (costs off) truncate p;
explain (costs off) vacuum p;
explain (costs off) create table zz as select * from p;
explain (costs off) select * into zz from p;
explain (analyze, costs off, timing off, summary off) create table zz as select * from p; -- differs: ANALYZE does not count rows yet
select * from zz order by a; -- differs: comes later
drop table if exists zz; -- differs: comes later
explain (costs off) declare c cursor for select * from p;
explain (nosuch) select 1;
explain (costs off, format json) select * from p; -- differs: there is no planner yet
explain (buffers) select * from p;
explain (timing) select * from p;
explain (wal) select * from p;
drop table p, q;
