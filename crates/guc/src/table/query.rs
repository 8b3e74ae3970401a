//! The planner: methods, costs, genetic search.

use crate::table::prelude::*;

settings! {
    "Query Tuning / Planner Method Configuration" {
        bool   ENABLE_ASYNC_APPEND            user (on) [EXPLAIN]
            "Enables the planner's use of async append plans.";
        bool   ENABLE_BITMAPSCAN              user (on) [EXPLAIN]
            "Enables the planner's use of bitmap-scan plans.";
        bool   ENABLE_GATHERMERGE             user (on) [EXPLAIN]
            "Enables the planner's use of gather merge plans.";
        bool   ENABLE_HASHAGG                 user (on) [EXPLAIN]
            "Enables the planner's use of hashed aggregation plans.";
        bool   ENABLE_HASHJOIN                user (on) [EXPLAIN]
            "Enables the planner's use of hash join plans.";
        bool   ENABLE_INCREMENTAL_SORT        user (on) [EXPLAIN]
            "Enables the planner's use of incremental sort steps.";
        bool   ENABLE_INDEXONLYSCAN           user (on) [EXPLAIN]
            "Enables the planner's use of index-only-scan plans.";
        bool   ENABLE_INDEXSCAN               user (on) [EXPLAIN]
            "Enables the planner's use of index-scan plans.";
        bool   ENABLE_MATERIAL                user (on) [EXPLAIN]
            "Enables the planner's use of materialization.";
        bool   ENABLE_MEMOIZE                 user (on) [EXPLAIN]
            "Enables the planner's use of memoization.";
        bool   ENABLE_MERGEJOIN               user (on) [EXPLAIN]
            "Enables the planner's use of merge join plans.";
        bool   ENABLE_NESTLOOP                user (on) [EXPLAIN]
            "Enables the planner's use of nested-loop join plans.";
        bool   ENABLE_PARALLEL_APPEND         user (on) [EXPLAIN]
            "Enables the planner's use of parallel append plans.";
        bool   ENABLE_PARALLEL_HASH           user (on) [EXPLAIN]
            "Enables the planner's use of parallel hash plans.";
        bool   ENABLE_PARTITION_PRUNING       user (on) [EXPLAIN]
            "Enables plan-time and execution-time partition pruning.",
            "Allows the query planner and executor to compare partition bounds to conditions in the query to determine which partitions must be scanned.";
        bool   ENABLE_PARTITIONWISE_AGGREGATE user (off) [EXPLAIN]
            "Enables partitionwise aggregation and grouping.";
        bool   ENABLE_PARTITIONWISE_JOIN      user (off) [EXPLAIN]
            "Enables partitionwise join.";
        bool   ENABLE_SEQSCAN                 user (on) [EXPLAIN]
            "Enables the planner's use of sequential-scan plans.";
        bool   ENABLE_SORT                    user (on) [EXPLAIN]
            "Enables the planner's use of explicit sort steps.";
        bool   ENABLE_TIDSCAN                 user (on) [EXPLAIN]
            "Enables the planner's use of TID scan plans.";
    }
    "Query Tuning / Planner Cost Constants" {
        real   CPU_INDEX_TUPLE_COST         user (0.005, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of processing each index entry during an index scan.";
        real   CPU_OPERATOR_COST            user (0.0025, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of processing each operator or function call.";
        real   CPU_TUPLE_COST               user (0.01, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of processing each tuple (row).";
        int    EFFECTIVE_CACHE_SIZE         user (524288 blocks, 1..=i32::MAX) [EXPLAIN]
            "Sets the planner's assumption about the total size of the data caches.",
            "That is, the total size of the caches (kernel cache and shared buffers) used for PostgreSQL data files. This is measured in disk pages, which are normally 8 kB each.";
        real   JIT_ABOVE_COST               user (100000.0, -1.0..=f64::MAX) [EXPLAIN]
            "Perform JIT compilation if query is more expensive.",
            "-1 disables JIT compilation.";
        real   JIT_INLINE_ABOVE_COST        user (500000.0, -1.0..=f64::MAX) [EXPLAIN]
            "Perform JIT inlining if query is more expensive.",
            "-1 disables inlining.";
        real   JIT_OPTIMIZE_ABOVE_COST      user (500000.0, -1.0..=f64::MAX) [EXPLAIN]
            "Optimize JIT-compiled functions if query is more expensive.",
            "-1 disables optimization.";
        int    MIN_PARALLEL_INDEX_SCAN_SIZE user (64 blocks, 0..=715827882) [EXPLAIN]
            "Sets the minimum amount of index data for a parallel scan.",
            "If the planner estimates that it will read a number of index pages too small to reach this limit, a parallel scan will not be considered.";
        int    MIN_PARALLEL_TABLE_SCAN_SIZE user (1024 blocks, 0..=715827882) [EXPLAIN]
            "Sets the minimum amount of table data for a parallel scan.",
            "If the planner estimates that it will read a number of table pages too small to reach this limit, a parallel scan will not be considered.";
        real   PARALLEL_SETUP_COST          user (1000.0, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of starting up worker processes for parallel query.";
        real   PARALLEL_TUPLE_COST          user (0.1, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of passing each tuple (row) from worker to leader backend.";
        real   RANDOM_PAGE_COST             user (4.0, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of a nonsequentially fetched disk page.";
        real   SEQ_PAGE_COST                user (1.0, 0.0..=f64::MAX) [EXPLAIN]
            "Sets the planner's estimate of the cost of a sequentially fetched disk page.";
    }
    "Query Tuning / Genetic Query Optimizer" {
        bool   GEQO                user (on) [EXPLAIN]
            "Enables genetic query optimization.",
            "This algorithm attempts to do planning without exhaustive searching.";
        int    GEQO_EFFORT         user (5, 1..=10) [EXPLAIN]
            "GEQO: effort is used to set the default for other GEQO parameters.";
        int    GEQO_GENERATIONS    user (0, 0..=i32::MAX) [EXPLAIN]
            "GEQO: number of iterations of the algorithm.",
            "Zero selects a suitable default value.";
        int    GEQO_POOL_SIZE      user (0, 0..=i32::MAX) [EXPLAIN]
            "GEQO: number of individuals in the population.",
            "Zero selects a suitable default value.";
        real   GEQO_SEED           user (0.0, 0.0..=1.0) [EXPLAIN]
            "GEQO: seed for random path selection.";
        real   GEQO_SELECTION_BIAS user (2.0, 1.5..=2.0) [EXPLAIN]
            "GEQO: selective pressure within the population.";
        int    GEQO_THRESHOLD      user (12, 2..=i32::MAX) [EXPLAIN]
            "Sets the threshold of FROM items beyond which GEQO is used.";
    }
    "Query Tuning / Other Planner Options" {
        enum   CONSTRAINT_EXCLUSION       user ("partition" of CONSTRAINT_EXCLUSION) [EXPLAIN]
            "Enables the planner to use constraints to optimize queries.",
            "Table scans will be skipped if their constraints guarantee that no rows match the query.";
        real   CURSOR_TUPLE_FRACTION      user (0.1, 0.0..=1.0) [EXPLAIN]
            "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved.";
        int    DEFAULT_STATISTICS_TARGET  user (100, 1..=10000)
            "Sets the default statistics target.",
            "This applies to table columns that have not had a column-specific target set via ALTER TABLE SET STATISTICS.";
        int    FROM_COLLAPSE_LIMIT        user (8, 1..=i32::MAX) [EXPLAIN]
            "Sets the FROM-list size beyond which subqueries are not collapsed.",
            "The planner will merge subqueries into upper queries if the resulting FROM list would have no more than this many items.";
        bool   JIT                        user (on) [EXPLAIN]
            "Allow JIT compilation.";
        int    JOIN_COLLAPSE_LIMIT        user (8, 1..=i32::MAX) [EXPLAIN]
            "Sets the FROM-list size beyond which JOIN constructs are not flattened.",
            "The planner will flatten explicit JOIN constructs into lists of FROM items whenever a list of no more than this many items would result.";
        enum   PLAN_CACHE_MODE            user ("auto" of PLAN_CACHE_MODE) [EXPLAIN]
            "Controls the planner's selection of custom or generic plan.",
            "Prepared statements can have custom and generic plans, and the planner will attempt to choose which is better.  This can be set to override the default behavior.";
        real   RECURSIVE_WORKTABLE_FACTOR user (10.0, 0.001..=1e6) [EXPLAIN]
            "Sets the planner's estimate of the average size of a recursive query's working table.";
    }
}
