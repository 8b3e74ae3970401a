//! The tests that run real clusters.
