//! The driver end to end: real forks, signals and sockets, with toys for children.
//!
//! This program runs itself again as the postmaster (`TOY_DATA_DIR` tells it so). As the harness it is a child
//! subreaper, so that a toy whose postmaster died comes to it and can be reaped.

// The toys live below every safe wrapper: raw signals, `_exit`.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "this is a test, which clippy cannot tell without the standard harness"
)]

mod harness;
mod scenarios;
mod stops;
mod toys;

fn main() -> std::process::ExitCode {
    if std::env::var_os("TOY_DATA_DIR").is_some() {
        toys::run_postmaster();
    }
    harness::main(&[scenarios::ALL, stops::ALL].concat())
}
