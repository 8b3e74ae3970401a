//! How deep the call stack may grow before a statement is refused.
//!
//! C counterpart: `check_stack_depth` and `set_stack_base` in tcop/postgres.c.

use std::cell::Cell;

use common::SqlState;
use elog::{PgError, Result, error};

/// Fits in the 2 MB that a thread of a test has, whatever else runs there.
const DEFAULT_LIMIT_KB: usize = 1024;

thread_local! {
    static BASE: Cell<usize> = const { Cell::new(0) };
    static LIMIT_KB: Cell<usize> = const { Cell::new(DEFAULT_LIMIT_KB) };
}

/// Takes the caller's frame as the bottom of the stack. C: `set_stack_base`.
#[inline(never)]
pub fn set_base() {
    let here = 0u8;
    BASE.set(&raw const here as usize);
}

/// Sets how much stack may be used, in kB (`max_stack_depth`).
pub fn set_limit_kb(limit_kb: usize) {
    LIMIT_KB.set(limit_kb);
}

/// To be called by every function that a statement can make recurse. C: `check_stack_depth`.
pub fn check() -> Result<()> {
    let here = 0u8;
    let here = &raw const here as usize;
    let base = BASE.get();
    if base == 0 {
        BASE.set(here);
        return Ok(());
    }
    if base.abs_diff(here) > LIMIT_KB.get() * 1024 { Err(limit_exceeded()) } else { Ok(()) }
}

/// The statement is nested too deeply.
pub(crate) fn limit_exceeded() -> PgError {
    error!(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .hint(format!(
            "Increase the configuration parameter \"max_stack_depth\" (currently {}kB), after ensuring the \
             platform's stack depth limit is adequate.",
            LIMIT_KB.get()
        ))
        .routine("check_stack_depth")
}
