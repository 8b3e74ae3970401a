//! Which line pointers of a page to redirect, kill and free: the thinking half of pruning, without changing anything.
//!
//! A chain of versions made by HOT updates hangs on one line pointer, its root. Versions at its beginning that
//! nobody can see are removed; the root then points at the first one that is left ("redirect"), or, if none is
//! left, is marked dead, to be freed once no index points at it.
//!
//! C counterpart: `heap_page_prune`, `heap_prune_chain` of pruneheap.c.

use common::{OffsetNumber, SqlState, Xid};
use elog::{PgError, Result, error};
use page::Page;

use crate::header::{Header, MAX_TUPLES_PER_PAGE, infomask};
use crate::visibility::{VacuumState, Xids, update_xid};

/// What pruning a page comes to. C: `PruneState`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PrunePlan {
    /// Pairs of root and target.
    pub redirected: Vec<(OffsetNumber, OffsetNumber)>,
    pub dead: Vec<OffsetNumber>,
    pub unused: Vec<OffsetNumber>,
    /// The newest transaction whose deleted rows are removed: conflicts on standbys.
    pub latest_removed: Xid,
    /// When the page may be worth another look, invalid for never. C: `new_prune_xid`.
    pub prune_xid: Xid,
    /// Versions removed.
    pub deleted: usize,
}

impl PrunePlan {
    /// Nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.redirected.is_empty() && self.dead.is_empty() && self.unused.is_empty()
    }
}

/// States by offset number; `None` where there is no row. C: `PruneState.htsv`.
pub(crate) type States = [Option<VacuumState>; MAX_TUPLES_PER_PAGE + 1];

/// The deleter of a row whose flags may or may not say multixact. C: `HeapTupleHeaderGetUpdateXid`.
pub(crate) fn update_xid_of(h: Header<'_>, xids: &impl Xids) -> Result<Xid> {
    let mask = h.infomask();
    let is_update_multi = mask & (infomask::XMAX_INVALID | infomask::XMAX_LOCK_ONLY) == 0
        && mask & infomask::XMAX_IS_MULTI != 0;
    if is_update_multi { update_xid(h, xids) } else { Ok(h.raw_xmax()) }
}

/// C: `HeapTupleHeaderAdvanceLatestRemovedXid`.
pub(crate) fn advance_latest_removed(h: Header<'_>, xids: &impl Xids, latest: &mut Xid) -> Result<()> {
    let (xmin, xmax) = (h.xmin(), update_xid_of(h, xids)?);
    let inserted = h.xmin_committed() || !h.xmin_invalid() && xids.did_commit(xmin)?;
    if inserted && xmax != xmin && xmax.follows(*latest) {
        *latest = xmax;
    }
    Ok(())
}

struct Planner<'a, X> {
    page: &'a Page,
    states: &'a States,
    xids: &'a X,
    /// Line pointers whose fate is decided.
    marked: [bool; MAX_TUPLES_PER_PAGE + 1],
    plan: PrunePlan,
}

#[cold]
fn damaged(how: &str) -> PgError {
    error!(SqlState::DATA_CORRUPTED, "page cannot be pruned: {how}")
}

/// Plans the whole page.
///
/// # Errors
/// XX001 for a page that no heap leaves behind.
pub(crate) fn plan(page: &Page, states: &States, xids: &impl Xids) -> Result<PrunePlan> {
    if page.max_offset() as usize > MAX_TUPLES_PER_PAGE {
        return Err(damaged("too many line pointers"));
    }
    let mut planner =
        Planner { page, states, xids, marked: [false; MAX_TUPLES_PER_PAGE + 1], plan: PrunePlan::default() };
    for offset in 1..=page.max_offset() {
        let id = page.item_id(offset);
        if !planner.marked[offset as usize] && id.is_used() && !id.is_dead() {
            planner.chain(offset)?;
        }
    }
    Ok(planner.plan)
}

impl<X: Xids> Planner<'_, X> {
    /// The chain that begins at this line pointer. C: `heap_prune_chain`.
    fn chain(&mut self, root: OffsetNumber) -> Result<()> {
        let root_id = self.page.item_id(root);
        if root_id.is_normal() {
            let h = Header(self.page.item(root));
            if h.is_heap_only() {
                // Part of another chain, unless its update was rolled back: then nothing leads to it.
                if self.states[root as usize] == Some(VacuumState::Dead) && !h.is_hot_updated() {
                    self.unused(root);
                    advance_latest_removed(h, self.xids, &mut self.plan.latest_removed)?;
                }
                return Ok(());
            }
        }
        let mut items: Vec<OffsetNumber> = Vec::new();
        let latest_dead = self.walk(root, &mut items)?;
        let Some(latest_dead) = latest_dead else {
            if items.len() < 2 && root_id.is_redirect() {
                // It leads nowhere: its target was freed above, as a dead end.
                self.dead(root);
            }
            return Ok(());
        };
        // Everything after the root, up to and including the last dead version, goes.
        let mut i = 1;
        while i < items.len() && items[i - 1] != latest_dead {
            self.unused(items[i]);
            i += 1;
        }
        if root_id.is_normal() {
            self.plan.deleted += 1;
        }
        match items.get(i) {
            None => self.dead(root),
            Some(target) => {
                self.plan.redirected.push((root, *target));
                self.marked[root as usize] = true;
                self.marked[*target as usize] = true;
            }
        }
        Ok(())
    }

    /// Follows a chain as long as its versions are dead or may soon be; the last dead one.
    fn walk(&mut self, root: OffsetNumber, items: &mut Vec<OffsetNumber>) -> Result<Option<OffsetNumber>> {
        let mut latest_dead = None;
        let mut prior_xmax = Xid::INVALID;
        let mut offset = root;
        // The array may have been cut off behind a line pointer that a chain still names.
        while (1..=self.page.max_offset()).contains(&offset) && !self.marked[offset as usize] {
            let id = self.page.item_id(offset);
            if !id.is_used() || id.is_dead() {
                break;
            }
            if id.is_redirect() {
                if !items.is_empty() {
                    break;
                }
                items.push(offset);
                offset = id.redirect_to();
                continue;
            }
            let h = Header(self.page.item(offset));
            if items.len() > MAX_TUPLES_PER_PAGE {
                return Err(damaged("a chain of row versions leads into itself"));
            }
            if prior_xmax.is_valid() && h.xmin() != prior_xmax {
                break;
            }
            items.push(offset);
            match self.states[offset as usize] {
                Some(VacuumState::Dead) => {
                    latest_dead = Some(offset);
                    advance_latest_removed(h, self.xids, &mut self.plan.latest_removed)?;
                }
                Some(VacuumState::RecentlyDead) => self.prunable(update_xid_of(h, self.xids)?),
                Some(VacuumState::DeleteInProgress) => {
                    self.prunable(update_xid_of(h, self.xids)?);
                    break;
                }
                _ => break,
            }
            if !h.is_hot_updated() {
                break;
            }
            offset = h.ctid().offset;
            prior_xmax = update_xid_of(h, self.xids)?;
        }
        Ok(latest_dead)
    }

    fn unused(&mut self, offset: OffsetNumber) {
        self.plan.unused.push(offset);
        self.plan.deleted += 1;
        self.marked[offset as usize] = true;
    }

    fn dead(&mut self, offset: OffsetNumber) {
        self.plan.dead.push(offset);
        self.marked[offset as usize] = true;
    }

    /// C: `heap_prune_record_prunable`.
    fn prunable(&mut self, xid: Xid) {
        let old = self.plan.prune_xid;
        if !old.is_valid() || xid.precedes(old) {
            self.plan.prune_xid = xid;
        }
    }
}
