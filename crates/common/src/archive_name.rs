//! Which names in `pg_wal/archive_status` are of files that wait for the archiver.
//!
//! The archiver and whoever counts what it has left must agree on this: the server, and pg_ctl from outside.
//!
//! C counterpart: postmaster/pgarch.h and `pgarch_readyXlog`.

/// The directory of the status files, below the data directory.
pub const STATUS_DIR: &str = "pg_wal/archive_status";

/// Shortest name of a file that is archived. C: `MIN_XFN_CHARS`.
const MIN_NAME: usize = 16;
/// Longest. C: `MAX_XFN_CHARS`.
pub const MAX_NAME: usize = 40;
/// C: `VALID_XFN_CHARS`.
const NAME_CHARS: &[u8] = b"0123456789ABCDEF.history.backup.partial";

/// [`NAME_CHARS`], to be asked for each byte of 100,000 names.
static IS_NAME_CHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < NAME_CHARS.len() {
        table[NAME_CHARS[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether it is the name of a segment, a partial segment, or a history file of a timeline or a backup. Status files of
/// other names are left alone by the archiver, so they do not count as waiting either.
pub fn is_archivable_name(name: &str) -> bool {
    (MIN_NAME..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| IS_NAME_CHAR[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_that_are_archived() {
        for name in [
            "000000010000000000000001",
            "00000002.history",
            "000000010000000000000001.00000028.backup",
            "000000010000000000000001.partial",
        ] {
            assert!(is_archivable_name(name), "{name}");
        }
        for name in [
            "junk",
            "00000000000000000000000Z",
            "0000002.history",
            "000000010000000000000001.00000028.backup0",
        ] {
            assert!(!is_archivable_name(name), "{name}");
        }
    }
}
