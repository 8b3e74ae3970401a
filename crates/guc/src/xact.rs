//! Settings and transactions: what `SET` did in a transaction that rolls back is undone, what `SET LOCAL`
//! did is undone at its end either way, and savepoints nest.
//!
//! The first change of a setting at a nest level pushes its older value. Going out of the level pops it: on
//! rollback the value comes back; on commit the entry is merged into the level below, or dropped at level 1.
//! C: `push_old_value` and `AtEOXact_GUC` in guc.c.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::source::{GucAction, GucSource};
use crate::state::{self, State};
use crate::table::GucContext;
use crate::value::{self, Value};
use crate::vars;

/// A value with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Older {
    pub(crate) value: Value,
    pub(crate) source: GucSource,
    pub(crate) context: GucContext,
}

/// What happened to the setting at this level. C: `GucStackState`.
#[derive(Clone, Debug)]
enum Change {
    /// A function's SET clause.
    Save,
    /// SET.
    Set,
    /// SET LOCAL.
    Local,
    /// SET, then SET LOCAL; what the SET asked for waits here.
    SetThenLocal(Older),
}

/// C: `GucStack`.
#[derive(Clone, Debug)]
pub(crate) struct StackEntry {
    nest_level: usize,
    change: Change,
    /// The value before the first change at this level.
    pub(crate) prior: Older,
}

/// The transaction has run its first query, so its characteristics are settled. C: `FirstSnapshotSet`.
static FIRST_QUERY_RAN: AtomicBool = AtomicBool::new(false);

impl State {
    fn present(&self, index: usize) -> Older {
        let record = &self.records[index];
        Older { value: value::current(record.setting), source: record.source, context: record.context }
    }

    /// G3: remembers the value that is about to change. C: `push_old_value`.
    pub(crate) fn push_old(&mut self, index: usize, action: GucAction) {
        if self.nest_level == 0 {
            return;
        }
        let prior = self.present(index);
        let nest_level = self.nest_level;
        let stack = &mut self.records[index].stack;
        if let Some(entry) = stack.last_mut().filter(|entry| entry.nest_level >= nest_level) {
            match (action, &entry.change) {
                (GucAction::Set, _) => entry.change = Change::Set,
                (GucAction::Local, Change::Set) => entry.change = Change::SetThenLocal(prior),
                (GucAction::Local | GucAction::Save, _) => {}
            }
            return;
        }
        let change = match action {
            GucAction::Save => Change::Save,
            GucAction::Set => Change::Set,
            GucAction::Local => Change::Local,
        };
        if stack.is_empty() {
            self.stacked.push(index);
        }
        self.records[index].stack.push(StackEntry { nest_level, change, prior });
    }

    /// Leaves all levels from `level` on. C: `AtEOXact_GUC`.
    fn end_levels(&mut self, level: usize, commit: bool) {
        let mut still_stacked = Vec::new();
        for index in std::mem::take(&mut self.stacked) {
            self.unwind(index, level, commit);
            if !self.records[index].stack.is_empty() {
                still_stacked.push(index);
            }
        }
        self.stacked = still_stacked;
        self.nest_level = level.saturating_sub(1);
    }

    fn unwind(&mut self, index: usize, level: usize, commit: bool) {
        let record = &mut self.records[index];
        while record.stack.last().is_some_and(|entry| entry.nest_level >= level) {
            let Some(mut entry) = record.stack.pop() else { return };
            let back_to = match entry.change {
                Change::Save => Some(entry.prior),
                _ if !commit => Some(entry.prior),
                Change::Local if level == 1 => Some(entry.prior),
                Change::SetThenLocal(masked) if level == 1 => Some(masked),
                Change::Set if level == 1 => None,
                _ => match record.stack.last_mut() {
                    Some(below) if below.nest_level + 1 >= entry.nest_level => {
                        merge(below, entry);
                        None
                    }
                    _ => {
                        // The level below has no entry of its own: this one becomes it.
                        entry.nest_level -= 1;
                        record.stack.push(entry);
                        return;
                    }
                },
            };
            if let Some(older) = back_to
                && (older.value != value::current(record.setting) || older.source != record.source)
            {
                record.put(&older.value, older.source, older.context);
            }
        }
    }
}

/// A savepoint's entry goes into the one of the level around it.
fn merge(below: &mut StackEntry, entry: StackEntry) {
    match (entry.change, &below.change) {
        (Change::Set, _) => below.change = Change::Set,
        (Change::Local, Change::Set) => below.change = Change::SetThenLocal(entry.prior),
        (Change::SetThenLocal(masked), _) => below.change = Change::SetThenLocal(masked),
        (Change::Local | Change::Save, _) => {}
    }
}

/// Begins a transaction, and gives it its default characteristics. C: `AtStart_GUC` and part of
/// `StartTransaction`.
pub fn at_xact_begin() {
    state::lock().nest_level = 1;
    FIRST_QUERY_RAN.store(false, Relaxed);
    vars::TRANSACTION_ISOLATION.set(vars::DEFAULT_TRANSACTION_ISOLATION.index());
    vars::TRANSACTION_READ_ONLY.set(vars::DEFAULT_TRANSACTION_READ_ONLY.get() || vars::IN_HOT_STANDBY.get());
    vars::TRANSACTION_DEFERRABLE.set(vars::DEFAULT_TRANSACTION_DEFERRABLE.get());
}

/// Ends the transaction; `SET` stays, `SET LOCAL` goes.
pub fn at_xact_commit() {
    state::lock().end_levels(1, true);
}

/// Ends the transaction; all it set goes.
pub fn at_xact_abort() {
    state::lock().end_levels(1, false);
}

/// Opens a nest level, for a savepoint or a function with SET clauses, and names it. C: `NewGUCNestLevel`.
pub fn new_nest_level() -> usize {
    let mut state = state::lock();
    state.nest_level += 1;
    state.nest_level
}

/// Leaves `level` and those within it, keeping what was set: `RELEASE SAVEPOINT`.
pub fn at_sub_commit(level: usize) {
    state::lock().end_levels(level.max(2), true);
}

/// Leaves `level` and those within it, undoing what was set: `ROLLBACK TO SAVEPOINT`, or a function's end.
pub fn at_sub_abort(level: usize) {
    state::lock().end_levels(level.max(2), false);
}

/// From here on the transaction's isolation, read-only and deferrable modes are settled. To be called when
/// a transaction runs its first query.
pub fn note_first_query() {
    FIRST_QUERY_RAN.store(true, Relaxed);
}

pub(crate) fn first_query_ran() -> bool {
    FIRST_QUERY_RAN.load(Relaxed)
}

pub(crate) fn nest_level() -> usize {
    state::lock().nest_level
}
