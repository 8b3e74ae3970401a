//! One number for two commands of the same transaction.
//!
//! A row has room for one command id, but a row inserted and deleted by the same transaction needs two. Such a
//! row gets a *combo* command id, which this process alone can resolve into (cmin, cmax), and only during the
//! transaction: nobody else needs to know.
//!
//! C counterpart: utils/time/combocid.c.

use std::cell::RefCell;
use std::collections::HashMap;

use common::CommandId;
use transam::{Participant, Phase};

use crate::header::{Header, infomask};

#[derive(Default)]
struct Combos {
    pairs: Vec<(CommandId, CommandId)>,
    numbers: HashMap<(CommandId, CommandId), CommandId>,
}

thread_local! {
    static COMBOS: RefCell<Combos> = RefCell::default();
}

/// Makes this process forget its combo command ids when a transaction ends. Called once, at start.
pub fn register() {
    transam::register(Participant {
        at_commit: Some(forget),
        at_abort: Some(forget),
        ..Participant::new("combo command ids", Phase::Files)
    });
}

/// C: `AtEOXact_ComboCid`.
fn forget() {
    COMBOS.with_borrow_mut(|c| {
        c.pairs.clear();
        c.numbers.clear();
    });
}

/// The inserting command of a row of this transaction. C: `HeapTupleHeaderGetCmin`.
pub fn cmin(h: Header<'_>) -> CommandId {
    let cid = h.raw_cid();
    if h.infomask() & infomask::COMBOCID == 0 { cid } else { resolve(cid).0 }
}

/// The deleting command of a row of this transaction. C: `HeapTupleHeaderGetCmax`.
pub fn cmax(h: Header<'_>) -> CommandId {
    let cid = h.raw_cid();
    if h.infomask() & infomask::COMBOCID == 0 { cid } else { resolve(cid).1 }
}

fn resolve(combo: CommandId) -> (CommandId, CommandId) {
    // An unknown one can only come from a transaction that is over; its commands are all in the past.
    COMBOS.with_borrow(|c| c.pairs.get(combo as usize).copied().unwrap_or((0, 0)))
}

/// What to store as the deleting command: `cid` itself, or a combo command id (true) if this transaction
/// inserted the row too. C: `HeapTupleHeaderAdjustCmax`.
pub(crate) fn adjust_cmax(h: Header<'_>, cid: CommandId) -> (CommandId, bool) {
    if h.xmin_committed() || !transam::is_current(h.raw_xmin()) {
        return (cid, false);
    }
    (combine(cmin(h), cid), true)
}

fn combine(cmin: CommandId, cmax: CommandId) -> CommandId {
    COMBOS.with_borrow_mut(|c| {
        let Combos { pairs, numbers } = c;
        *numbers.entry((cmin, cmax)).or_insert_with(|| {
            pairs.push((cmin, cmax));
            pairs.len() as CommandId - 1
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_number_until_the_transaction_ends() {
        let (a, b) = (combine(1, 2), combine(1, 3));
        assert_ne!(a, b);
        assert_eq!(combine(1, 2), a);
        assert_eq!((resolve(a), resolve(b)), ((1, 2), (1, 3)));
        forget();
        assert_eq!(combine(9, 9), 0);
    }
}
