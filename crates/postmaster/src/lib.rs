//! Forks and supervises the others; owns no work.
//!
//! Two halves. [`machine`] decides: a pure state machine from events to actions.
//! The driver does: it forks, signals, waits and accepts, and knows no rule.

pub mod machine;
