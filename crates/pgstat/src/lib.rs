//! The statistics collector.
