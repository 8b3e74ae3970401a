//! The WAL writer.
