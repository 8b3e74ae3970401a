//! How a process ends: callbacks, last registered first, then `_exit`.
//!
//! Two lists, as in PostgreSQL. The shared-memory list releases what other processes can see (the PGPROC,
//! the activity entry); it runs first. The process list does the rest (sockets, lock files).
//!
//! C counterpart: storage/ipc/ipc.c.

use std::cell::{Cell, RefCell};

/// Called with the exit code the process will have.
pub type ExitCallback = Box<dyn FnOnce(i32)>;

thread_local! {
    static ON_SHMEM_EXIT: RefCell<Vec<ExitCallback>> = const { RefCell::new(Vec::new()) };
    static ON_PROC_EXIT: RefCell<Vec<ExitCallback>> = const { RefCell::new(Vec::new()) };
    static IN_PROGRESS: Cell<bool> = const { Cell::new(false) };
}

/// Registers work on shared memory to be undone. C: `on_shmem_exit`.
pub fn on_shmem_exit(callback: impl FnOnce(i32) + 'static) {
    ON_SHMEM_EXIT.with_borrow_mut(|list| list.push(Box::new(callback)));
}

/// Registers private work to be undone. C: `on_proc_exit`.
pub fn on_proc_exit(callback: impl FnOnce(i32) + 'static) {
    ON_PROC_EXIT.with_borrow_mut(|list| list.push(Box::new(callback)));
}

/// True once [`proc_exit`] has begun. C: `proc_exit_inprogress`.
pub fn in_progress() -> bool {
    IN_PROGRESS.get()
}

/// Runs and empties the shared-memory list. The postmaster also calls it between two lives of the segment.
pub fn shmem_exit(code: i32) {
    run(&ON_SHMEM_EXIT, code);
}

/// Ends the process. A callback that panics costs itself, not the callbacks after it. C: `proc_exit`.
pub fn proc_exit(code: i32) -> ! {
    IN_PROGRESS.set(true);
    shmem_exit(code);
    run(&ON_PROC_EXIT, code);
    exit_now(code)
}

/// `_exit`: no callback, no destructor, nothing of a parent's that was inherited.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any status, does not return and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Forgets the parent's callbacks after a fork (M3). C: `on_exit_reset`.
pub fn reset() {
    // Forgotten, not dropped: dropping would run destructors of what the parent still owns.
    for list in [&ON_SHMEM_EXIT, &ON_PROC_EXIT] {
        list.with_borrow_mut(|list| std::mem::take(list).into_iter().for_each(std::mem::forget));
    }
    IN_PROGRESS.set(false);
}

fn run(list: &'static std::thread::LocalKey<RefCell<Vec<ExitCallback>>>, code: i32) {
    // Popped one by one, outside the borrow: a callback may register another.
    while let Some(callback) = list.with_borrow_mut(Vec::pop) {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(code)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn last_registered_runs_first_and_a_panic_costs_only_itself() {
        let order = Rc::new(RefCell::new(Vec::new()));
        for i in 1..=3 {
            let order = order.clone();
            on_shmem_exit(move |code| {
                assert!(i != 2, "the second one fails");
                order.borrow_mut().push((i, code));
            });
        }
        shmem_exit(7);
        assert_eq!(*order.borrow(), [(3, 7), (1, 7)]);
        shmem_exit(7);
        assert_eq!(order.borrow().len(), 2, "callbacks run once");
    }
}
