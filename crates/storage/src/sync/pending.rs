//! What the checkpointer (or a process on its own) still has to sync and to remove.
//!
//! C counterpart: `pendingOps`, `pendingUnlinks`, `ProcessSyncRequests` of sync.c.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use activity::gauges;
use elog::{PgError, Result, Severity, ereport, errno_text, error, sqlstate_for_file_access};

use super::{Handler, Request, SyncTag, queue};

/// Files synced between two looks at the queue. C: `FSYNCS_PER_ABSORB`.
const SYNCS_PER_ABSORB: u32 = 10;
/// C: `UNLINKS_PER_ABSORB`.
const UNLINKS_PER_ABSORB: u32 = 10;

#[derive(Clone, Copy)]
struct Entry {
    /// Round in which it was first asked for.
    cycle: u16,
    canceled: bool,
}

#[derive(Default)]
struct Table {
    syncs: HashMap<SyncTag, Entry>,
    unlinks: VecDeque<(SyncTag, u16)>,
    sync_cycle: u16,
    checkpoint_cycle: u16,
    /// The last round was broken off: its entries count as old.
    sync_in_progress: bool,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::default());
}

/// What [`process_sync_requests`] did, for `log_checkpoints`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    /// Files synced. C: `ckpt_sync_rels`.
    pub files: u32,
    /// C: `ckpt_longest_sync`.
    pub longest: Duration,
    /// C: `ckpt_agg_sync_time`.
    pub total: Duration,
}

/// Takes what others have put into the queue. The checkpointer calls it often. C: `AbsorbSyncRequests`.
pub fn absorb() {
    if super::keeps_table() {
        for (request, tag) in queue::take_all() {
            remember(request, tag);
        }
        let waiting = TABLE.with_borrow(|table| (!table.sync_in_progress).then_some(table.syncs.len()));
        if let Some(files) = waiting {
            gauges::checkpoint().set_files_to_sync(files as u64);
        }
    }
}

/// C: `RememberSyncRequest`.
pub(super) fn remember(request: Request, tag: SyncTag) {
    TABLE.with_borrow_mut(|table| match request {
        Request::Sync => {
            let cycle = table.sync_cycle;
            let entry = table.syncs.entry(tag).or_insert(Entry { cycle, canceled: false });
            // Asked for anew after it was forgotten: counts from now.
            if entry.canceled {
                *entry = Entry { cycle, canceled: false };
            }
        }
        Request::Unlink => {
            let cycle = table.checkpoint_cycle;
            table.unlinks.push_back((tag, cycle));
        }
        Request::Forget => {
            if let Some(entry) = table.syncs.get_mut(&tag) {
                entry.canceled = true;
            }
        }
        Request::Filter => {
            let gone = |other: &SyncTag| other.handler == Handler::Relation && other.node.db == tag.node.db;
            table.syncs.iter_mut().filter(|(tag, _)| gone(tag)).for_each(|(_, e)| e.canceled = true);
            table.unlinks.retain(|(tag, _)| !gone(tag));
        }
    });
}

/// Before a checkpoint's redo pointer is set: what is asked to be removed from now on is for the checkpoint after
/// (SY3). C: `SyncPreCheckpoint`.
pub fn pre_checkpoint() {
    absorb();
    TABLE.with_borrow_mut(|table| table.checkpoint_cycle = table.checkpoint_cycle.wrapping_add(1));
}

/// After a checkpoint is on disk: removes the files of relations dropped before it began. C: `SyncPostCheckpoint`.
pub fn post_checkpoint() {
    let mut until_absorb = UNLINKS_PER_ABSORB;
    loop {
        let next = TABLE.with_borrow_mut(|table| {
            let now = table.checkpoint_cycle;
            table.unlinks.pop_front_if(|(_, cycle)| *cycle != now)
        });
        let Some((tag, _)) = next else { return };
        let path = tag.path();
        match file::unlink(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                ereport!(Warning, "could not remove file \"{}\": {}", path.display(), errno_text(&e));
            }
            _ => {}
        }
        until_absorb -= 1;
        if until_absorb == 0 {
            absorb();
            until_absorb = UNLINKS_PER_ABSORB;
        }
    }
}

/// Syncs every file that was registered before this call. C: `ProcessSyncRequests`.
///
/// # Errors
/// `could not fsync file`, PANIC unless `data_sync_retry` (SY2); what is not synced stays registered.
pub fn process_sync_requests() -> Result<SyncStats> {
    absorb();
    let due = begin_round();
    let gauge = gauges::checkpoint();
    gauge.set_files_to_sync(due.len() as u64);
    let mut stats = SyncStats::default();
    let mut until_absorb = SYNCS_PER_ABSORB;
    for (done, tag) in (1..).zip(due) {
        if guc::vars::FSYNC.get() {
            until_absorb -= 1;
            if until_absorb == 0 {
                absorb();
                until_absorb = SYNCS_PER_ABSORB;
            }
            sync_one(&tag, &mut stats)?;
        }
        TABLE.with_borrow_mut(|table| table.syncs.remove(&tag));
        gauge.set_files_synced(done);
    }
    TABLE.with_borrow_mut(|table| table.sync_in_progress = false);
    Ok(stats)
}

/// Tells entries that are due from those that come while the round is running, and returns the former.
fn begin_round() -> Vec<SyncTag> {
    TABLE.with_borrow_mut(|table| {
        if table.sync_in_progress {
            let old = table.sync_cycle;
            table.syncs.values_mut().for_each(|entry| entry.cycle = old);
        }
        let due = table.sync_cycle;
        table.sync_cycle = table.sync_cycle.wrapping_add(1);
        table.sync_in_progress = true;
        // Files of one directory together; the order does not matter otherwise.
        let mut tags: Vec<_> = table.syncs.iter().filter(|(_, e)| e.cycle == due).map(|(t, _)| *t).collect();
        tags.sort_unstable_by_key(|tag| (tag.handler as u8, tag.node, tag.fork, tag.segment));
        tags
    })
}

fn canceled(tag: &SyncTag) -> bool {
    TABLE.with_borrow(|table| table.syncs.get(tag).is_none_or(|entry| entry.canceled))
}

/// A file that is gone is no error if the request to forget it is on its way: it was sent before the file was
/// removed. C: the inner loop of `ProcessSyncRequests`.
fn sync_one(tag: &SyncTag, stats: &mut SyncStats) -> Result<()> {
    let mut failures = 0;
    while !canceled(tag) {
        let began = Instant::now();
        let Err(e) = tag.sync() else {
            let took = began.elapsed();
            stats.files += 1;
            stats.total += took;
            stats.longest = stats.longest.max(took);
            ereport!(
                Debug1,
                "checkpoint sync: number={} file={} time={:.3} ms",
                stats.files,
                tag.path().display(),
                took.as_secs_f64() * 1000.0
            );
            return Ok(());
        };
        if e.kind() != io::ErrorKind::NotFound || failures > 0 {
            return Err(failed(tag, &e, "").with_severity(file::data_sync_severity(Severity::Error)));
        }
        failed(tag, &e, " but retrying").with_severity(Severity::Debug1).report();
        failures += 1;
        absorb();
    }
    Ok(())
}

fn failed(tag: &SyncTag, e: &io::Error, what_next: &str) -> PgError {
    let path = tag.path();
    error!(
        sqlstate_for_file_access(e),
        "could not fsync file \"{}\"{what_next}: {}",
        path.display(),
        errno_text(e)
    )
}

/// (files to sync, files to remove) known to this process.
#[cfg(test)]
pub(crate) fn counts() -> (usize, usize) {
    TABLE.with_borrow(|table| (table.syncs.values().filter(|e| !e.canceled).count(), table.unlinks.len()))
}
