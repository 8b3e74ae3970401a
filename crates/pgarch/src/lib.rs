//! The archiver: hands finished WAL segments to `archive_command`, and remembers which are done.
#![forbid(unsafe_code)]
