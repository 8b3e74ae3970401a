//! What every process tells the others about itself: pg_stat_activity.
