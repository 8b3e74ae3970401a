-- EXPLAIN of what has only one plan.
EXPLAIN (COSTS off) SELECT 1;
EXPLAIN (COSTS off) SELECT * FROM generate_series(1, 3);
EXPLAIN (COSTS off) SELECT * FROM generate_series(1, 3) AS g;
EXPLAIN (COSTS off) VALUES (1), (2);
EXPLAIN (COSTS off) SELECT * FROM generate_series(1, 3) g LIMIT 1;
EXPLAIN (COSTS off) SELECT count(*) FROM generate_series(1, 3) g;
EXPLAIN (COSTS off) SELECT generate_series(1, 3);
EXPLAIN (COSTS off) SELECT 1 UNION ALL SELECT 2;
EXPLAIN (COSTS maybe) SELECT 1;
EXPLAIN (NONSENSE) SELECT 1;
EXPLAIN (FORMAT nonsense) SELECT 1;
EXPLAIN SELECT nope;
EXPLAIN
