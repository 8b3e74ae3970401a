//! Files of relations come and go with transactions.
//!
//! A file is made at once, and removed again if the transaction aborts; a file of a dropped relation is removed once
//! the transaction has committed, as nothing could bring it back. The commit (or abort) record lists the files, so that
//! recovery removes them too. If the server crashes before, files that an unfinished transaction made stay behind:
//! they take space, nothing more.
//!
//! C counterpart: catalog/storage.c.

use std::cell::RefCell;

use common::{BlockNumber, ForkNumber, Oid, RelFileNode, SqlState};
use elog::{Result, error};
use transam::xact::{CommitExtras, Participant, Phase};
use wal::{Record, RmgrId};

use crate::inval;

/// C: `XLOG_SMGR_CREATE`, `XLOG_SMGR_TRUNCATE`.
const SMGR_CREATE: u8 = 0x10;
const SMGR_TRUNCATE: u8 = 0x20;
/// The record changes files outside of pages. C: `XLR_SPECIAL_REL_UPDATE`.
const SPECIAL_REL_UPDATE: u8 = 0x01;
/// Which forks a truncation record is about. C: `SMGR_TRUNCATE_HEAP`, `_VM`, `_FSM`.
const TRUNCATE_HEAP: u32 = 1;
const TRUNCATE_VM: u32 = 2;
const TRUNCATE_FSM: u32 = 4;

/// A file to be removed. C: `PendingRelDelete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    node: RelFileNode,
    /// At commit, or at abort?
    at_commit: bool,
    /// Level of the (sub)transaction.
    level: u32,
}

thread_local! {
    static PENDING: RefCell<Vec<Pending>> = const { RefCell::new(Vec::new()) };
}

/// Makes the main fork of a new relation; an abort removes it. `persistence` is pg_class's. C: `RelationCreateStorage`.
///
/// # Errors
/// What making the file says.
pub fn create_storage(node: RelFileNode, persistence: u8) -> Result<()> {
    storage::smgr::create(node, ForkNumber::Main, false)?;
    add(node, false);
    if persistence == b'p' {
        log_create(node, ForkNumber::Main);
    }
    if persistence == b'u' {
        storage::smgr::create(node, ForkNumber::Init, false)?;
        log_create(node, ForkNumber::Init);
        storage::smgr::immediate_sync(node, ForkNumber::Init)?;
    }
    Ok(())
}

/// The files go away if the transaction commits. C: `RelationDropStorage`.
pub fn drop_storage(node: RelFileNode) {
    add(node, true);
}

fn add(node: RelFileNode, at_commit: bool) {
    let level = transam::xact::nest_level();
    PENDING.with_borrow_mut(|pending| pending.push(Pending { node, at_commit, level }));
}

/// Was the relation's present file made by this transaction? C: `rd_newRelfilenodeSubid`.
pub fn is_new(node: RelFileNode) -> bool {
    PENDING.with_borrow(|pending| pending.iter().any(|file| file.node == node && !file.at_commit))
}

/// C: `log_smgrcreate`.
fn log_create(node: RelFileNode, fork: ForkNumber) {
    let mut data = node_bytes(node).to_vec();
    data.extend((fork as u32).to_le_bytes());
    let mut record = Record::new(RmgrId::Smgr, SMGR_CREATE | SPECIAL_REL_UPDATE);
    record.data(&data);
    record.insert();
}

fn node_bytes(node: RelFileNode) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (at, oid) in [node.spc, node.db, node.rel].iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&oid.0.to_le_bytes());
    }
    bytes
}

/// What transam calls. To be registered once, before the first transaction.
pub(crate) fn participant() -> Participant {
    Participant {
        at_commit: Some(at_commit),
        at_abort: Some(at_abort),
        // Its state lists them: whoever ends it removes them. C: `PostPrepare_smgr`.
        post_prepare: Some(|| drop(PENDING.take())),
        at_sub_commit: Some(at_sub_commit),
        at_sub_abort: Some(at_sub_abort),
        commit_record: Some(commit_record),
        ..Participant::new("files of relations", Phase::PendingDeletes)
    }
}

/// C: `smgrGetPendingDeletes`.
fn commit_record(extras: &mut CommitExtras, commit: bool, level: u32) {
    PENDING.with_borrow(|pending| {
        let due = pending.iter().filter(|file| file.at_commit == commit && file.level >= level);
        extras.dropped_files.extend(due.map(|file| file.node));
    });
}

fn at_commit() {
    let all = PENDING.take();
    unlink(all.into_iter().filter(|file| file.at_commit));
}

fn at_abort() {
    let all = PENDING.take();
    unlink(all.into_iter().filter(|file| !file.at_commit));
}

/// C: `AtSubCommit_smgr`.
fn at_sub_commit(level: u32) {
    PENDING.with_borrow_mut(|pending| {
        for file in pending.iter_mut().filter(|file| file.level >= level) {
            file.level = level - 1;
        }
    });
}

/// C: `AtSubAbort_smgr`.
fn at_sub_abort(level: u32) {
    let undone: Vec<Pending> = PENDING.with_borrow_mut(|pending| {
        let undone = pending.iter().copied().filter(|file| file.level >= level).collect();
        pending.retain(|file| file.level < level);
        undone
    });
    unlink(undone.into_iter().filter(|file| !file.at_commit));
}

/// C: `smgrDoPendingDeletes`. The transaction is over: what cannot be removed stays behind, with a warning.
fn unlink(files: impl Iterator<Item = Pending>) {
    let nodes: Vec<RelFileNode> = files.map(|file| file.node).collect();
    if !nodes.is_empty() {
        drop_files(&nodes);
    }
}

/// Removes the files of relations, after the record that says so; what cannot be removed stays behind, with a warning.
/// C: `DropRelationFiles`.
pub fn drop_files(nodes: &[RelFileNode]) {
    if let Err(error) = storage::drop_relations_all_buffers(nodes) {
        error.with_severity(elog::Severity::Warning).report();
    }
    storage::smgr::unlink(nodes, false);
    nodes.iter().for_each(|node| inval::send_smgr(*node));
}

/// Replays `RM_SMGR_ID`. C: `smgr_redo`.
///
/// # Errors
/// What the files say; an unknown record.
pub fn redo(record: &wal::DecodedRecord<'_>) -> Result<()> {
    let data = record.main_data;
    let info = record.info & 0xF0;
    let word = |at: usize| {
        data.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    };
    let node_at = |at| RelFileNode { spc: Oid(word(at)), db: Oid(word(at + 4)), rel: Oid(word(at + 8)) };
    match info {
        SMGR_CREATE if data.len() >= 16 => {
            let fork = ForkNumber::from_u8(word(12) as u8).unwrap_or_default();
            storage::smgr::create(node_at(0), fork, true)
        }
        SMGR_TRUNCATE if data.len() >= 20 => redo_truncate(record.end_lsn, word(0), node_at(4), word(16)),
        _ => Err(error!(SqlState::INTERNAL_ERROR, "smgr_redo: unknown op code {info}")),
    }
}

/// The record must be on disk before the file shrinks: else a crash could leave a short file that WAL still writes into.
fn redo_truncate(end_lsn: common::Lsn, blocks: BlockNumber, node: RelFileNode, flags: u32) -> Result<()> {
    storage::smgr::create(node, ForkNumber::Main, true)?;
    wal::flush(end_lsn);
    let mut forks = Vec::new();
    if flags & TRUNCATE_HEAP != 0 {
        forks.push((ForkNumber::Main, blocks));
        storage::redo::forget_truncated(node, ForkNumber::Main, blocks);
    }
    if flags & TRUNCATE_FSM != 0 {
        let keep = storage::freespace::prepare_truncate(node, blocks, false)?;
        forks.extend(keep.map(|keep| (ForkNumber::Fsm, keep)));
    }
    if flags & TRUNCATE_VM != 0 {
        let keep = heap::vm::prepare_truncate(node, blocks)?;
        forks.extend(keep.map(|keep| (ForkNumber::VisibilityMap, keep)));
    }
    // Sessions of a standby have its segments open.
    inval::send_smgr(node);
    storage::smgr::truncate(node, &forks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rel: u32, at_commit: bool, level: u32) -> Pending {
        let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(rel) };
        Pending { node, at_commit, level }
    }

    fn listed(commit: bool, level: u32) -> Vec<u32> {
        let mut extras = CommitExtras::default();
        commit_record(&mut extras, commit, level);
        extras.dropped_files.iter().map(|node| node.rel.0).collect()
    }

    #[test]
    fn records_list_what_goes_away() {
        PENDING.set(vec![file(1, true, 1), file(2, false, 1), file(3, false, 2), file(4, true, 2)]);
        assert_eq!(listed(true, 1), [1, 4]);
        assert_eq!(listed(false, 1), [2, 3]);
        assert_eq!(listed(false, 2), [3], "an aborted savepoint removes what it made");
        at_sub_commit(2);
        assert_eq!(listed(false, 2), [0u32; 0]);
        assert!(is_new(file(3, false, 1).node) && !is_new(file(4, true, 1).node));
        PENDING.take();
    }

    #[test]
    fn nodes_are_tablespace_database_file() {
        let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16384) };
        assert_eq!(node_bytes(node), [0x7f, 6, 0, 0, 5, 0, 0, 0, 0, 0x40, 0, 0]);
    }
}
