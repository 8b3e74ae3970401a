//! Invalidation: when catalogs change, caches forget.
//!
//! A change registers a message. At the end of the command the session's own caches obey, so that the next command
//! sees the change; at commit the messages go to all other sessions through the shared queue; at abort the session
//! forgets once more what it cached of the undone change. A session takes in what others sent when a transaction
//! begins, and when it has got a lock on a relation: whoever holds a lock sees a catalog at least as new as that.
//!
//! C counterpart: utils/cache/inval.c.

use std::cell::{Cell, RefCell};

use common::{Oid, RelFileNode};
use elog::Result;
use sinval::Message;
use transam::xact::{CommitExtras, Participant, Phase};

use crate::{relcache, relmapper, syscache, tables};

/// Messages of one (sub)transaction.
#[derive(Default)]
struct Level {
    level: u32,
    /// Of commands that are over: obeyed here, to be sent at commit. C: `PriorCmdInvalidMsgs`.
    prior: Vec<Message>,
    /// Of the running command. C: `CurrentCmdInvalidMsgs`.
    current: Vec<Message>,
}

#[derive(Default)]
struct State {
    /// Outermost first.
    levels: Vec<Level>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
    static GENERATION: Cell<u64> = const { Cell::new(1) };
}

/// A number that grows whenever any cache was told to forget something: plans and lookups made under another
/// number must be made again. C: `SharedInvalidMessageCounter`, plan cache invalidation.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// A relation's pg_class, pg_attribute, pg_attrdef or pg_constraint rows change. C: `CacheInvalidateRelcache`.
pub fn register_relcache(relation: Oid) {
    let database = if tables::is_shared(relation) { Oid::INVALID } else { crate::my_database() };
    add(Message::relcache(database, relation));
}

/// A catalog's rows change: everything cached of it is stale. C: `CacheInvalidateCatalog`, and in place of
/// `CacheInvalidateHeapTuple`, since caches here hold whole catalogs.
pub fn register_catalog(catalog: Oid) {
    let database = if tables::is_shared(catalog) { Oid::INVALID } else { crate::my_database() };
    add(Message::catalog(database, catalog));
}

/// Files of a relation go away or shrink: other sessions must close them. Sent at once, as it may not be lost.
/// C: `CacheInvalidateSmgr`.
pub fn send_smgr(node: RelFileNode) {
    sinval::send(&[Message::smgr(-1, node)]);
}

/// The relation map of a database (invalid: of the cluster) was replaced. Sent at once.
/// C: `CacheInvalidateRelmap`.
pub fn send_relmap(database: Oid) {
    sinval::send(&[Message::relmap(database)]);
}

fn add(message: Message) {
    STATE.with_borrow_mut(|state| {
        let level = transam::xact::nest_level().max(1);
        if state.levels.last().is_none_or(|last| last.level < level) {
            state.levels.push(Level { level, ..Level::default() });
        }
        if let Some(last) = state.levels.last_mut()
            && !last.current.contains(&message)
        {
            last.current.push(message);
        }
    });
}

/// Takes in what other sessions sent. C: `AcceptInvalidationMessages`.
///
/// # Errors
/// None today; reading the relation map again may fail one day.
pub fn accept() -> Result<()> {
    sinval::receive(obey, forget_all);
    Ok(())
}

/// Makes the caches obey one message. C: `LocalExecuteInvalidationMessage`.
pub fn obey(message: &Message) {
    bump();
    match message.decode() {
        sinval::Decoded::Relcache { database, relation } => {
            if is_ours(database) {
                relcache::forget(relation);
            }
        }
        sinval::Decoded::Catalog { database, catalog } => {
            if is_ours(database) {
                transam::snapshot::invalidate_catalog_snapshot();
                syscache::forget_catalog(catalog);
            }
        }
        sinval::Decoded::Catcache { database, .. } | sinval::Decoded::Snapshot { database, .. } => {
            if is_ours(database) {
                transam::snapshot::invalidate_catalog_snapshot();
                syscache::forget_all();
            }
        }
        sinval::Decoded::Smgr { node } => {
            storage::smgr::release(node);
            relcache::forget_end(node);
        }
        sinval::Decoded::Relmap { database } => {
            if is_ours(database) {
                relmapper::reload(!database.is_valid());
            }
        }
    }
}

fn is_ours(database: Oid) -> bool {
    !database.is_valid() || database == crate::my_database()
}

/// Everything may be stale: the shared queue overran us. C: `InvalidateSystemCaches`.
pub fn forget_all() {
    bump();
    transam::snapshot::invalidate_catalog_snapshot();
    syscache::forget_all();
    relcache::forget_all();
    relmapper::forget();
    storage::smgr::close_all();
}

fn bump() {
    GENERATION.set(GENERATION.get() + 1);
}

/// What transam calls. To be registered once, before the first transaction.
pub(crate) fn participant() -> Participant {
    Participant {
        at_start: Some(at_start),
        at_commit: Some(at_commit),
        at_abort: Some(at_abort),
        // As if it had aborted: nobody else believes that it has committed, so our caches must not. C: `PostPrepare_Inval`.
        post_prepare: Some(at_abort),
        at_sub_commit: Some(at_sub_commit),
        at_sub_abort: Some(at_sub_abort),
        commit_record: Some(commit_record),
        on_command_end: Some(on_command_end),
        ..Participant::new("invalidation", Phase::Invalidation)
    }
}

/// Sends the messages of a prepared transaction that commits now; our own caches take them in with everybody's.
/// C: in `FinishPreparedTransaction`.
pub fn send_prepared(messages: &[[u8; 16]], _init_file: bool) {
    let messages: Vec<Message> = messages.iter().map(|bytes| Message::from_bytes(*bytes)).collect();
    sinval::send(&messages);
}

/// C: `AtStart_Cache`.
fn at_start() {
    // Reading the queue cannot fail; what it makes stale is read again when it is needed.
    let _ = accept();
}

/// C: `CommandEndInvalidationMessages`.
fn on_command_end() -> Result<()> {
    let fresh = STATE.with_borrow_mut(|state| {
        let Some(last) = state.levels.last_mut() else { return Vec::new() };
        let fresh = std::mem::take(&mut last.current);
        last.prior.extend_from_slice(&fresh);
        fresh
    });
    fresh.iter().for_each(obey);
    Ok(())
}

/// C: `AtEOXact_Inval(true)`.
fn at_commit() {
    let levels = STATE.with_borrow_mut(|state| std::mem::take(&mut state.levels));
    let messages: Vec<Message> =
        levels.into_iter().flat_map(|level| level.prior.into_iter().chain(level.current)).collect();
    if messages.is_empty() {
        return;
    }
    messages.iter().for_each(obey);
    sinval::send(&messages);
}

/// C: `AtEOXact_Inval(false)`.
fn at_abort() {
    let levels = STATE.with_borrow_mut(|state| std::mem::take(&mut state.levels));
    undo(levels);
}

fn at_sub_commit(level: u32) {
    STATE.with_borrow_mut(|state| {
        if state.levels.last().is_none_or(|last| last.level < level) {
            return;
        }
        let Some(child) = state.levels.pop() else { return };
        if state.levels.last().is_none_or(|last| last.level < level - 1) {
            state.levels.push(Level { level: level - 1, ..child });
        } else if let Some(parent) = state.levels.last_mut() {
            parent.prior.extend(child.prior);
            parent.current.extend(child.current);
        }
    });
}

fn at_sub_abort(level: u32) {
    let undone = STATE.with_borrow_mut(|state| {
        let keep = state.levels.iter().take_while(|of| of.level < level).count();
        state.levels.split_off(keep)
    });
    undo(undone);
}

/// What was cached from changes that are undone now goes away; nobody else ever saw it.
fn undo(levels: Vec<Level>) {
    levels.iter().flat_map(|level| level.prior.iter().chain(&level.current)).for_each(obey);
}

fn commit_record(extras: &mut CommitExtras, commit: bool, _level: u32) {
    if commit {
        extras.database = (crate::my_database(), common::DEFAULT_TABLESPACE);
        STATE.with_borrow(|state| {
            let messages = state.levels.iter().flat_map(|level| level.prior.iter().chain(&level.current));
            extras.invalidations.extend(messages.map(|message| message.to_bytes()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(commit: bool) -> usize {
        let mut extras = CommitExtras::default();
        commit_record(&mut extras, commit, 1);
        extras.invalidations.len()
    }

    /// A change is obeyed at the end of the command, again at the end of the transaction, and told to others at commit only.
    #[test]
    fn a_message_from_change_to_commit() {
        let start = generation();
        register_catalog(tables::PG_CLASS.oid);
        register_catalog(tables::PG_CLASS.oid);
        register_relcache(Oid(16_384));
        assert_eq!((generation(), messages(true), messages(false)), (start, 2, 0));
        on_command_end().unwrap();
        assert_eq!(generation(), start + 2);
        on_command_end().unwrap();
        assert_eq!(generation(), start + 2, "each command's messages are obeyed once");
        at_commit();
        assert_eq!((generation(), messages(true)), (start + 4, 0));

        register_catalog(tables::PG_AUTHID.oid);
        at_abort();
        assert_eq!((generation(), messages(true)), (start + 5, 0));
    }

    #[test]
    fn savepoints_keep_their_messages_apart() {
        let message = |oid| Message::catalog(Oid(5), Oid(oid));
        let level = |level, oid| Level { level, prior: vec![message(oid)], current: vec![message(oid + 1)] };
        let levels =
            |state: &State| state.levels.iter().map(|of| (of.level, of.prior.len())).collect::<Vec<_>>();
        STATE.with_borrow_mut(|state| state.levels = vec![level(1, 10), level(3, 30)]);
        at_sub_commit(3);
        STATE.with_borrow(|state| assert_eq!(levels(state), [(1, 1), (2, 1)]));
        at_sub_commit(2);
        STATE.with_borrow(|state| assert_eq!(levels(state), [(1, 2)]));
        STATE.with_borrow_mut(|state| state.levels.push(level(2, 20)));
        at_sub_abort(2);
        STATE.with_borrow(|state| assert_eq!(levels(state), [(1, 2)]));
        STATE.take();
    }
}
