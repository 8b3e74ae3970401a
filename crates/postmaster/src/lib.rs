//! Forks and supervises the others; owns no work.
