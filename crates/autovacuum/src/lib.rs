//! The autovacuum launcher.
