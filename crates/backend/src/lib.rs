//! A client's session: from the first byte to the last.
//!
//! Started by: the postmaster, one for each connection it accepts.
//! Woken by:   its client; its latch, when a signal left a note; the postmaster's death.
//! Ends by:    Terminate or end of file = exit 0. SIGTERM = FATAL 57P01, exit 1. SIGQUIT = a last word to the
//!             client, exit 2 at once. Death of the postmaster = what `backend_on_postmaster_death` says.
//! If it dies: exit 0 and 1 are ordinary; anything else is a crash and restarts all.
//! Differs from PG 15: it can outlive its postmaster, as up to 9.4; what is missing is refused with 0A000.
//!
//! The files in the order of a session's life:
//!
//! 1. `connection`: start-up packet, authentication, role, database, first answers;
//! 2. `session`: the loop over messages, and what an error does to it;
//! 3. `simple`, `extended`: the two query protocols; `portal`: what both run; `objects`: what has a name;
//! 4. `query`: queries; `utility`: commands; `prepare`, `cursor`, `roles`: the larger ones of them;
//! 5. `transaction`, `identity`: what a transaction and a SET ROLE mean for the session;
//! 6. `functions`, `views`: what only a server can answer;
//! 7. `replicating`: what is different for a walsender; `statement_log`: what the log says about statements;
//! 8. `wait`: what signals and the postmaster's death mean while all this goes on; `conflict`: what the startup process
//!    of a standby wants; `read_only`: what a standby refuses.
//!
//! C counterpart: tcop/postgres.c, tcop/pquery.c, tcop/utility.c, utils/init/postinit.c, and the child's half of
//! `BackendStartup` in postmaster.c.

#![forbid(unsafe_code)]

mod attach;
pub mod autovacuum;
mod conflict;
mod connection;
mod copy;
mod cursor;
mod extended;
mod functions;
mod identity;
mod objects;
mod portal;
mod prepare;
mod query;
mod read_only;
mod regtypes;
mod replicating;
mod roles;
mod session;
mod simple;
pub mod standalone;
mod statement_log;
mod transaction;
mod utility;
mod views;
mod wait;

use std::sync::OnceLock;

use miscinit::child::ChildStart;
use miscinit::exit;

use types::fmgr::Registry;

/// Entry point. C: `BackendRun`.
pub fn backend_main(start: ChildStart) -> ! {
    match connection::begin(start) {
        Some(session) => session.run(),
        None => exit::proc_exit(0),
    }
}

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Builds, before the first fork, what every session needs and none changes: the children share its memory.
pub fn prepare() {
    let _ = registry();
    types::io::set_catalog_hooks(regtypes::HOOKS);
}

/// All functions and operators: what `initdb` fills pg_proc and pg_operator with, too.
pub fn registry() -> &'static Registry {
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::with_builtins();
        functions::register(&mut registry);
        executor::register(&mut registry);
        registry
    })
}
