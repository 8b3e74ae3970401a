//! The background writer.
