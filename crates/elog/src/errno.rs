//! What the system calls an error: the words behind `%m`.

use std::io;

use common::SqlState;
use nix::errno::Errno;

/// Anything that carries an `errno`.
pub trait AsErrno {
    /// The C library's words for it, "No such file or directory".
    fn errno_text(&self) -> String;
}

impl AsErrno for i32 {
    fn errno_text(&self) -> String {
        io::Error::from_raw_os_error(*self).errno_text()
    }
}

impl AsErrno for Errno {
    fn errno_text(&self) -> String {
        (*self as i32).errno_text()
    }
}

impl AsErrno for io::Error {
    fn errno_text(&self) -> String {
        let mut text = self.to_string();
        // The standard library gets the words from strerror_r and adds the number, which PostgreSQL does not.
        if let Some(code) = self.raw_os_error() {
            let suffix_len = format!(" (os error {code})").len();
            if text.ends_with(')') && text.len() > suffix_len {
                text.truncate(text.len() - suffix_len);
            }
        }
        text
    }
}

impl<T: AsErrno + ?Sized> AsErrno for &T {
    fn errno_text(&self) -> String {
        (**self).errno_text()
    }
}

/// The C library's words for a failed system call, as `%m` prints them. Takes an `i32`, a [`nix::errno::Errno`]
/// or an [`std::io::Error`], by value or by reference.
#[doc(alias = "strerror")]
pub fn errno_text(errno: impl AsErrno) -> String {
    errno.errno_text()
}

/// The SQLSTATE of a failed file operation. C: `errcode_for_file_access`.
pub fn sqlstate_for_file_access(error: &io::Error) -> SqlState {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES | Errno::EROFS) => SqlState::INSUFFICIENT_PRIVILEGE,
        Some(Errno::ENOENT) => SqlState::UNDEFINED_FILE,
        Some(Errno::EEXIST) => SqlState::DUPLICATE_FILE,
        Some(Errno::ENOTDIR | Errno::EISDIR | Errno::ENOTEMPTY) => SqlState::WRONG_OBJECT_TYPE,
        Some(Errno::ENOSPC) => SqlState::DISK_FULL,
        Some(Errno::ENOMEM) => SqlState::OUT_OF_MEMORY,
        Some(Errno::ENFILE | Errno::EMFILE) => SqlState::INSUFFICIENT_RESOURCES,
        Some(Errno::EIO) => SqlState::IO_ERROR,
        _ => SqlState::INTERNAL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, words: &str) {
        assert_eq!(errno_text(code), words);
        assert_eq!(errno_text(io::Error::from_raw_os_error(code)), words);
        assert_eq!(errno_text(Errno::from_raw(code)), words);
    }

    #[test]
    fn words_are_those_of_the_c_library() {
        check(libc::ENOENT, "No such file or directory");
        check(libc::ESRCH, "No such process");
        check(libc::EADDRINUSE, "Address already in use");
        check(libc::EACCES, "Permission denied");
    }

    #[test]
    fn unknown_numbers_and_errors_without_number_have_text() {
        assert_eq!(errno_text(54321), "Unknown error 54321");
        assert_eq!(errno_text(io::Error::other("unexpected end")), "unexpected end");
    }
}
