//! Rust panics: bugs that reached the log.
//!
//! A panic inside [`catch_panic`] becomes an ERROR, SQLSTATE XX000, and costs one transaction, provided that
//! nothing shared can be half done: the guard set with [`set_panic_guard`] says so (no critical section open,
//! no lightweight lock held). Any other panic is a PANIC: it is logged and the process aborts, and the
//! postmaster runs the crash cycle. It must not unwind further, since below a child's main function lie the
//! frames of the postmaster it was forked from.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use common::SqlState;

use crate::{PgError, Result, Severity, SourceLocation, error};

thread_local! {
    static CATCHERS: Cell<u32> = const { Cell::new(0) };
    static CAUGHT: RefCell<Option<PgError>> = const { RefCell::new(None) };
    static MAY_CONTINUE: Cell<Option<fn() -> bool>> = const { Cell::new(None) };
    static CRITICAL_SECTIONS: Cell<u32> = const { Cell::new(0) };
}

/// Opens a critical section: until it is closed, shared data may be half changed, so any failure ends in a
/// PANIC. Sections nest. C: `START_CRIT_SECTION`.
pub fn start_critical_section() {
    CRITICAL_SECTIONS.set(CRITICAL_SECTIONS.get() + 1);
}

/// Closes the innermost one. C: `END_CRIT_SECTION`.
pub fn end_critical_section() {
    let open = CRITICAL_SECTIONS.get();
    assert!(open > 0, "no critical section is open");
    CRITICAL_SECTIONS.set(open - 1);
}

/// Whether one is open. C: `CritSectionCount > 0`.
pub fn in_critical_section() -> bool {
    CRITICAL_SECTIONS.get() > 0
}

/// Reports the error as a PANIC and aborts the process: the postmaster runs the crash cycle. For failures
/// after which what is in shared memory or on disk is unknown. C: `ereport(PANIC, ...)`.
pub fn abort(error: PgError) -> ! {
    error.with_severity(Severity::Panic).report();
    std::process::abort()
}

/// Installs the hook described above. For server processes, not for tests: it aborts.
pub fn panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let may_continue = !in_critical_section() && MAY_CONTINUE.get().is_none_or(|asks| asks());
        if CATCHERS.get() > 0 && may_continue {
            CAUGHT.set(Some(report_of(info, Severity::Error)));
            return;
        }
        report_of(info, Severity::Panic).report();
        std::process::abort();
    }));
}

/// Registers who knows whether the process can go on after a panic.
pub fn set_panic_guard(may_continue: fn() -> bool) {
    MAY_CONTINUE.set(Some(may_continue));
}

/// Runs one unit of work; a panic in it comes back as an ERROR. The work's own data must be thrown away then,
/// as after any other error.
pub fn catch_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CATCHERS.set(CATCHERS.get() - 1);
        }
    }
    CATCHERS.set(CATCHERS.get() + 1);
    let leave = Leave;
    let outcome = catch_unwind(AssertUnwindSafe(work));
    drop(leave);
    outcome.unwrap_or_else(|payload| {
        let text = payload_text(payload.as_ref());
        Err(CAUGHT.take().unwrap_or_else(|| error!(SqlState::INTERNAL_ERROR, "unexpected panic: {text}")))
    })
}

fn report_of(info: &PanicHookInfo<'_>, severity: Severity) -> PgError {
    let mut location = SourceLocation { routine: "panic", file: "unknown", line: 0 };
    if let Some(at) = info.location() {
        location.line = at.line();
        // The file's name lives as long as the panic message; the log wants it for good. One leak a bug.
        location.file = error::file_of(Box::leak(at.file().to_owned().into_boxed_str()));
    }
    let text = payload_text(info.payload());
    let message = format!("unexpected panic: {text}");
    let place = format!("The bug is at {}:{}.", location.file, location.line);
    PgError::new(severity, SqlState::INTERNAL_ERROR, message, location).detail_log(place)
}

fn payload_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_an_internal_error() {
        let e = catch_panic::<()>(|| panic!("index {} out of range", 7)).unwrap_err();
        assert_eq!(e.sqlstate, SqlState::INTERNAL_ERROR);
        assert_eq!(e.severity, Severity::Error);
        assert!(e.message.contains("index 7 out of range"), "{e}");
        assert_eq!(CATCHERS.get(), 0);
    }

    #[test]
    fn results_pass_through() {
        assert_eq!(catch_panic(|| Ok(3)).unwrap(), 3);
        assert_eq!(
            catch_panic::<()>(|| Err(error!(SqlState::DIVISION_BY_ZERO, "x"))).unwrap_err().message,
            "x"
        );
    }
}
