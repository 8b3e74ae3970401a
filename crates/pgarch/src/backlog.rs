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
use crate::archive::News;

// The statistics collector has room for each of these names.
const _: () = assert!(wal::archive::MAX_NAME == pgstat::WalFileName::BYTES);

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
            if archive.is_ready(&file)? {
                return Ok(Some(file));
            }
            // An administrator has archived it by hand, for one.
            archive.publish(News::Gone);
        }
        self.look(archive, in_hand)?;
        Ok(self.0.pop().map(|Reverse((_, file))| file))
    }

    /// Looks into the directory, which also makes the number that is published exact.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn look(&mut self, archive: &mut impl Archive, in_hand: impl Fn(&str) -> bool) -> Result<()> {
        let mut names = archive.list_ready()?;
        names.retain(|name| wal::archive::is_archivable_name(name));
        archive.publish(News::Waiting(names.len()));
        names.retain(|name| !in_hand(name));
        self.0 = names.into_iter().map(|name| Reverse(rank(name))).collect();
        Ok(())
    }
}

/// All files that wait now, in order.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn all(archive: &mut impl Archive) -> Result<Vec<String>> {
    let mut backlog = Backlog::default();
    backlog.look(archive, |_| false)?;
    let mut ranks = backlog.0.into_vec();
    ranks.sort_unstable_by(|a, b| b.cmp(a));
    Ok(ranks.into_iter().map(|Reverse((_, name))| name).collect())
}

/// Histories of timelines before everything else: without one nothing of its timeline is found. The rest from old to
/// new, as far as the names tell. C: `ready_file_comparator`.
pub(crate) type Rank = (bool, String);

/// Where a file stands.
pub(crate) fn rank(name: String) -> Rank {
    (!wal::archive::is_history_name(&name), name)
}
