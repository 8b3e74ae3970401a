-- PREPARE, EXECUTE, DEALLOCATE, and what psql shows through the extended protocol.
PREPARE one AS SELECT 1;
EXECUTE one;
EXECUTE one(1);
PREPARE one AS SELECT 2;
PREPARE add(int, int) AS SELECT $1 + $2;
EXECUTE add(1, 2);
EXECUTE add('3', 4);
EXECUTE add(1);
EXECUTE add(1, 2, 3);
EXECUTE add('x', 1);
EXECUTE add(1, true);
EXECUTE add(NULL, 1);
PREPARE guess AS SELECT $1 || 'x', $2::date;
EXECUTE guess('a', '2020-01-01');
EXECUTE guess('a', 'nonsense');
PREPARE open AS SELECT $1;
EXECUTE open('text');
PREPARE clash AS SELECT $1 + 1, $1::text;
PREPARE bad AS SELECT nope;
PREPARE bad(nope) AS SELECT 1;
PREPARE bad(int) AS SELECT $2;
PREPARE utility AS SHOW work_mem;
PREPARE rows(int) AS SELECT g, g * $1 AS product FROM generate_series(1, 3) g;
EXECUTE rows(10);
EXECUTE rows(2.6);
EXECUTE rows(2.6::float8);
EXPLAIN (COSTS off) EXECUTE one;
BEGIN;
EXECUTE one;
PREPARE inblock AS SELECT 'kept';
ROLLBACK;
EXECUTE inblock;
SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name;
DEALLOCATE one;
EXECUTE one;
DEALLOCATE PREPARE add;
DEALLOCATE ALL;
EXECUTE rows(1);
SELECT count(*) FROM pg_prepared_statements;
PREPARE p AS VALUES (1, 'a'), (2, 'b');
EXECUTE p;
DISCARD ALL;
EXECUTE p;
SELECT 1 AS a, 'x' AS b, now() AS c, 1.5::numeric(5, 2) AS d, 'y'::varchar(10) AS e, ARRAY[1] AS f, NULL AS g \gdesc
SELECT $1 \gdesc
SELECT 1 \g
SELECT 1 AS x \gset
\echo :x
SELECT 'a' AS y \gx
SHOW work_mem \gdesc
EXPLAIN SELECT 1 \gdesc
BEGIN \gdesc
SELECT nope \gdesc
SELECT 'SELECT 1', 'SELECT 2' \gexec
\set FETCH_COUNT 2
SELECT g FROM generate_series(1, 5) g;
SELECT 1 / (3 - g) FROM generate_series(1, 5) g;
\unset FETCH_COUNT
SELECT g, g % 2 = 0 AS even FROM generate_series(1, 2) g \crosstabview
\set n 42
SELECT :n, :'n', :"n" FROM (SELECT 1 AS "42") t;
\pset null '(null)'
SELECT NULL;
\pset null ''
\x
SELECT 1 AS a, 'b' AS b;
\x
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1 / 0;
SELECT 'still here';
COMMIT;
\unset ON_ERROR_ROLLBACK
\errverbose
\encoding
