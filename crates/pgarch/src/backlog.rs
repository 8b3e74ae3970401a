//! Which file comes next: one look into the directory serves for all the files found in it.
//!
//! PostgreSQL 12 reads the directory again for each file, which with 100,000 of them takes hours; 15 remembers the
//! first 64. Here a look puts all the names on a heap, and each file after that costs one `stat`, to see that it still waits.
//! What comes later than the look waits for the next, which follows when the list is used up. Only a timeline's
//! history must not wait: who writes one says so in shared memory, and the list is made anew (A5).
//!
//! C counterpart: `pgarch_readyXlog`, `ready_file_comparator`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use elog::Result;

use crate::Archive;

/// Shortest name of a file that is archived. C: `MIN_XFN_CHARS`.
const MIN_NAME: usize = 16;
/// Longest. C: `MAX_XFN_CHARS`.
const MAX_NAME: usize = pgstat::WalFileName::BYTES;
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

/// The files that were found waiting and have not been taken yet. A heap, since the first is wanted long before the last
/// has its place.
#[derive(Debug, Default)]
pub(crate) struct Backlog(BinaryHeap<Reverse<Rank>>);

impl Backlog {
    /// The next file, or `None` if no file waits but those in hand.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn next(
        &mut self,
        archive: &mut impl Archive,
        in_hand: impl Fn(&str) -> bool,
    ) -> Result<Option<String>> {
        if archive.take_rescan_request() {
            self.0.clear();
        }
        while let Some(Reverse((_, file))) = self.0.pop() {
            // Somebody may have removed it, an administrator who archived by hand for one.
            if !in_hand(&file) && archive.is_ready(&file)? {
                return Ok(Some(file));
            }
        }
        let waiting = archive.list_ready()?.into_iter().filter(|name| is_archivable(name) && !in_hand(name));
        self.0 = waiting.map(|name| Reverse(rank(name))).collect();
        Ok(self.0.pop().map(|Reverse((_, file))| file))
    }
}

/// All files that wait now, in order.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn all(archive: &mut impl Archive) -> Result<Vec<String>> {
    let names = archive.list_ready()?.into_iter().filter(|name| is_archivable(name));
    let mut ranks: Vec<Rank> = names.map(rank).collect();
    ranks.sort_unstable();
    Ok(ranks.into_iter().map(|(_, name)| name).collect())
}

/// Histories of timelines before everything else: without one nothing of its timeline is found. The rest from old to
/// new, as far as the names tell. C: `ready_file_comparator`.
pub(crate) type Rank = (bool, String);

/// Where a file stands.
pub(crate) fn rank(name: String) -> Rank {
    (!wal::archive::is_history_name(&name), name)
}

/// Whether it is the name of a segment, a partial segment, or a history file of a timeline or a backup; others are left
/// alone.
fn is_archivable(name: &str) -> bool {
    (MIN_NAME..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| IS_NAME_CHAR[usize::from(byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "000000010000000000000001",
            "00000002.history",
            "000000010000000000000001.00000028.backup",
            "000000010000000000000001.partial",
        ] {
            assert!(is_archivable(name), "{name}");
        }
        for name in [
            "junk",
            "00000000000000000000000Z",
            "0000002.history",
            "000000010000000000000001.00000028.backup0",
        ] {
            assert!(!is_archivable(name), "{name}");
        }
    }
}
