//! What a stop of the server waits for, in figures and in words.
//!
//! One place for the arithmetic and the wording, so that the postmaster's log, its status file, the DETAIL of a refused client,
//! the SQL function `pg_shutdown_forecast` and `pg_ctl stop` never say two different things. It knows no shared memory and no
//! process: others observe ([`Observation`]), this crate judges.
//!
//! ```text
//! shutdown::observe() -> Observation --forecast()--> Vec<Item>    a server that runs: what a stop would wait for
//!                                   \--awaited()---> Vec<Item>    a stop under way: what it waits for now -> Status, a file
//! ```
//!
//! - [`Item`]: one thing that is waited for; [`Item::sentence`] is what an operator reads at night.
//! - [`Status`]: the content of `postmaster.stop`, one line of JSON. [`exchange`]: how `pg_ctl` gets an observation.
//! - [`estimate`]: how long. [`Plan`]: how a deadline is divided. [`words`]: sizes, speeds, durations.
//!
//! Invariants (numbered in this crate's README): SR1 a figure that nobody measured is absent or said to be assumed; SR2 the total
//! is absent exactly if something has neither an expected end nor a bound; SR3 no input makes it panic or loop; SR4 readers of the
//! files see a whole one or none; SR5 refused clients are told no names of users; SR6 answers are not mixed up.
//!
//! C counterpart: none; PostgreSQL stops in silence.

#![forbid(unsafe_code)]

pub mod estimate;
pub mod exchange;
pub mod files;
mod item;
mod observation;
mod plan;
mod status;
pub mod words;

pub use estimate::{awaited, forecast, remaining_seconds};
pub use item::{Condition, Initials, Item, Kind, condensed, list};
pub use observation::{
    ArchiverSeen, BoundsSeen, CheckpointPhase, CheckpointSeen, Observation, SessionSeen, WalSenderSeen,
};
pub use plan::Plan;
pub use status::{Mode, Phase, Status};
