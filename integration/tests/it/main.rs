//! Processes together: whole clusters started, stopped, reloaded, killed and fed nonsense.
//!
//! Where PostgreSQL 15 is installed, most of these run against it too: then what they expect is its behaviour.

mod crash; // each process killed in turn
mod pg_ctl; // the tool people start and stop it with
mod postmaster_killed; // the first reference document
mod start_failures; // what a start that cannot be says
mod start_stop; // what a start writes and leaves, and what a stop takes away
mod stop; // smart, fast, immediate, and single sessions sent away
mod support; // words that several of them use
