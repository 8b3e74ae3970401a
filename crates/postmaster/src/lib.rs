//! The postmaster: forks and supervises all other processes of a cluster, and owns no work.
//!
//! Started by: the user, `pg_ctl`, or init.
//! Woken by:   signals, clients at its sockets, and its timers; between them it sleeps.
//! Ends by:    SIGTERM, SIGINT, SIGQUIT = smart, fast, immediate stop; a startup process that fails.
//! If it dies: auxiliary processes leave at once, client sessions go on until their clients leave, the logger
//!             until the last of them has gone; no start is possible before that.
//! Differs from PG 15: the rules are a pure state machine; archiver and statistics collector are outside shared
//!             memory, as in 9.4 to 13; no background workers; no `sd_notify`, no Bonjour.
//!
//! Two halves. [`machine`] decides: from events to actions, without any system call. The driver does: it forks,
//! signals, waits and accepts, and knows no rule.
//!
//! Invariants:
//! - It has one thread for its whole life, and [`launch::fork_child`] is the only fork.
//! - It takes no lock in shared memory and owns no PGPROC; of shared memory it reads and writes atomics alone, so
//!   that no crashed child can wedge it.
//! - It never reads from or waits for a client.
//! - A stop does not depend on what is told of it: no failure to read or write something for a report delays it.
//!
//! C counterpart: postmaster/postmaster.c, postmaster/fork_process.c, the server half of libpq/pqcomm.c.

// Fork and signal dispositions are this crate's business.
#![allow(unsafe_code)]

pub mod machine; // 1. what is to be done

mod config; // 2. what the program contributes

mod postmaster_main; // 3. the start

mod server_loop; // 4. the loop, and what each action means

pub mod launch; // 5. the one fork

mod children; // 6. who lives, by pid

mod listen; // 7. sockets

mod signals; // 8. signals as input

mod timers; // 9. clocks

mod stop_report; // 10. what is told of a stop

mod exit; // 11. what is let go of, in which order

pub use config::{ChildTable, Hooks, PostmasterConfig};
pub use postmaster_main::postmaster_main;
