//! The process's title in `ps`: `postgres: [CLUSTER: ]FIXED ACTIVITY`.
//!
//! Linux shows the bytes between the process's `arg_start` and `env_end`. [`init`] moves the environment
//! elsewhere once, in the postmaster, so that children can write their titles over both; after that a
//! title is a memory copy without a system call.
//!
//! C counterpart: utils/misc/ps_status.c.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

static AREA: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static AREA_LEN: AtomicUsize = AtomicUsize::new(0);

/// The title so far: its fixed part, and what is in the area.
struct Title {
    text: Vec<u8>,
    fixed_len: usize,
    /// Bytes of the area that are not nul, to be cleared when the title gets shorter.
    dirty_len: usize,
}

thread_local! {
    static TITLE: RefCell<Title> =
        const { RefCell::new(Title { text: Vec::new(), fixed_len: 0, dirty_len: usize::MAX }) };
}

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Makes room for titles. Call once, early, in the single-threaded postmaster. On failure titles stay as
/// they are, which is harmless. C: `save_ps_display_args`.
pub fn init() {
    if !AREA.load(Relaxed).is_null() {
        return;
    }
    let Some((start, end)) = arg_and_env_area() else { return };
    relocate_environment();
    AREA_LEN.store(end - start, Relaxed);
    AREA.store(std::ptr::with_exposed_provenance_mut(start), Relaxed);
}

/// `arg_start` and `env_end`, fields 48 and 51 of /proc/self/stat.
fn arg_and_env_area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold blanks; what follows its last ')' starts with field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (arg_start, arg_end, env_start, env_end) = (field(48)?, field(49)?, field(50)?, field(51)?);
    let contiguous = arg_start < arg_end && arg_end == env_start && env_start <= env_end;
    contiguous.then_some((arg_start, env_end))
}

fn relocate_environment() {
    // SAFETY: the postmaster is single-threaded here, so nobody else reads or changes `environ`. Each entry
    // is a nul-terminated string and the array ends with null; the copies are leaked on purpose.
    unsafe {
        let mut copies: Vec<*mut c_char> = Vec::new();
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            copies.push(CStr::from_ptr(*entry).to_owned().into_raw());
            entry = entry.add(1);
        }
        copies.push(std::ptr::null_mut());
        environ = copies.leak().as_mut_ptr();
    }
}

/// Sets the fixed part, `checkpointer process` or `alice shop [local]`, and an empty activity.
/// C: `init_ps_display`.
pub fn set_fixed(fixed: &str) {
    let cluster = guc::vars::CLUSTER_NAME.get();
    TITLE.with_borrow_mut(|title| {
        title.text.clear();
        title.text.extend_from_slice(b"postgres: ");
        if !cluster.is_empty() {
            title.text.extend_from_slice(cluster.as_bytes());
            title.text.extend_from_slice(b": ");
        }
        title.text.extend_from_slice(fixed.as_bytes());
        title.text.push(b' ');
        title.fixed_len = title.text.len();
        title.write();
    });
}

/// What follows the fixed part now. C: `get_ps_display`.
fn activity() -> Vec<u8> {
    TITLE.with_borrow(|title| title.text.get(title.fixed_len..).unwrap_or_default().to_vec())
}

/// Adds `waiting` to the activity until the guard is dropped. C: in `WaitOnLock`.
pub fn show_waiting() -> Waiting {
    show_suffix("waiting")
}

/// Adds a blank and this to the activity until the guard is dropped. C: in `SyncRepWaitForLSN`.
pub fn show_suffix(suffix: &str) -> Waiting {
    let before = String::from_utf8_lossy(&activity()).into_owned();
    set_activity(&format!("{before} {suffix}"));
    Waiting(before)
}

/// See [`show_waiting`].
#[must_use = "the wait is over when this is dropped"]
#[derive(Debug)]
pub struct Waiting(String);

impl Drop for Waiting {
    fn drop(&mut self) {
        set_activity(&self.0);
    }
}

/// Sets what follows the fixed part: `idle`, `SELECT`. Also what `%i` in `log_line_prefix` shows. Costs a
/// copy of a few bytes; none at all with `update_process_title` off. C: `set_ps_display`.
pub fn set_activity(activity: &str) {
    if !guc::vars::UPDATE_PROCESS_TITLE.get() {
        return;
    }
    TITLE.with_borrow_mut(|title| {
        let fixed_len = title.fixed_len;
        if fixed_len == 0 || &title.text[fixed_len..] == activity.as_bytes() {
            return;
        }
        title.text.truncate(fixed_len);
        title.text.extend_from_slice(activity.as_bytes());
        title.write();
    });
}

impl Title {
    fn write(&mut self) {
        let area = AREA.load(Relaxed);
        if area.is_null() {
            return;
        }
        let len = AREA_LEN.load(Relaxed);
        let shown = self.text.len().min(len - 1);
        // SAFETY: `area` and `len` are the argument area, writable for the life of the process and, after
        // `init`, referred to by nobody else; `shown < len`, so the last byte stays nul.
        unsafe {
            std::ptr::copy_nonoverlapping(self.text.as_ptr(), area, shown);
            let dirty = self.dirty_len.min(len);
            if dirty > shown {
                std::ptr::write_bytes(area.add(shown), 0, dirty - shown);
            }
        }
        self.dirty_len = shown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_shows_the_title() {
        let path = std::env::var_os("PATH");
        init();
        assert_eq!(std::env::var_os("PATH"), path, "the environment has moved, not vanished");
        let shown = || {
            let bytes = std::fs::read("/proc/self/cmdline").unwrap();
            String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_string()
        };
        set_fixed("checkpointer process");
        assert_eq!(shown(), "postgres: checkpointer process ");
        set_activity("performing shutdown checkpoint");
        assert_eq!(shown(), "postgres: checkpointer process performing shutdown checkpoint");
        set_activity("");
        assert_eq!(shown(), "postgres: checkpointer process ");
    }
}
