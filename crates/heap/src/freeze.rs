//! Replacing old transaction ids in rows, so that the ids can be used again.
//!
//! A row whose inserter is older than the cutoff gets "frozen" flags; an old locker is removed from xmax; an old
//! multixact is dissolved, or made anew with the members that still matter. Planning is separate from doing: all
//! plans of a page are made first (they may fail, and may create multixacts), then applied in one critical section.
//!
//! C counterpart: `heap_prepare_freeze_tuple`, `FreezeMultiXactId`, `heap_execute_freeze_tuple`,
//! `heap_tuple_would_freeze` of heapam.c.

use common::{MultiXactId, OffsetNumber, SqlState, Xid};
use elog::{Result, error};
use transam::multixact;

use crate::header::{Header, HeaderMut, infomask, infomask2};
use crate::records::{FreezePlan, flag};
use crate::xmax;

/// What must be frozen, and how old a table claims its ids are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutoffs {
    /// pg_class.relfrozenxid: nothing older may be found.
    pub relfrozenxid: Xid,
    /// pg_class.relminmxid.
    pub relminmxid: MultiXactId,
    /// Ids before this one are frozen. C: `FreezeLimit`.
    pub xid: Xid,
    /// Multixacts before this one are dissolved. C: `MultiXactCutoff`.
    pub multi: MultiXactId,
}

/// The oldest ids left behind: becomes pg_class.relfrozenxid and relminmxid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub xid: Xid,
    pub multi: MultiXactId,
}

impl Oldest {
    /// An id stays in the table.
    pub(crate) fn keep_xid(&mut self, xid: Xid) {
        if xid.precedes(self.xid) {
            self.xid = xid;
        }
    }

    pub(crate) fn keep_multi(&mut self, multi: MultiXactId) {
        if multi.precedes(self.multi) {
            self.multi = multi;
        }
    }
}

/// What to do about a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    /// The change, if any is needed.
    pub plan: Option<FreezePlan>,
    /// Afterwards the row has no id that will ever need freezing.
    pub totally_frozen: bool,
}

#[cold]
fn corrupted(text: String) -> elog::PgError {
    error!(SqlState::DATA_CORRUPTED, "{text}")
}

/// Plans the freezing of one row. C: `heap_prepare_freeze_tuple`.
pub(crate) fn prepare(
    h: Header<'_>,
    offset: OffsetNumber,
    cut: &Cutoffs,
    oldest: &mut Oldest,
) -> Result<Prepared> {
    let mut plan =
        FreezePlan { xmax: h.raw_xmax(), offset, infomask2: h.infomask2(), infomask: h.infomask(), flags: 0 };
    let (xmin_frozen, mut changed) = prepare_xmin(h, cut, oldest, &mut plan)?;
    let xmax = h.raw_xmax();
    let mut freeze_xmax = false;
    let mut xmax_already_frozen = false;
    if h.infomask() & infomask::XMAX_IS_MULTI != 0 {
        match freeze_multi(h.multi_xmax(), h.infomask(), cut, oldest)? {
            MultiFate::Keep => {}
            MultiFate::Invalidate => freeze_xmax = true,
            MultiFate::Xid { xid, committed } => {
                plan.infomask &= !infomask::XMAX_BITS;
                plan.infomask |= if committed { infomask::XMAX_COMMITTED } else { 0 };
                plan.xmax = xid;
                changed = true;
            }
            MultiFate::Multi(multi) => {
                let new = xmax::multi(multi)?;
                plan.infomask = plan.infomask & !infomask::XMAX_BITS | new.mask;
                plan.infomask2 = plan.infomask2 & !infomask2::KEYS_UPDATED | new.mask2;
                plan.xmax = new.xid;
                changed = true;
            }
        }
    } else if xmax.is_normal() {
        freeze_xmax = prepare_plain_xmax(h, xmax, cut, oldest)?;
    } else if h.infomask() & infomask::XMAX_INVALID != 0 || !xmax.is_valid() {
        xmax_already_frozen = true;
    } else {
        return Err(corrupted(format!(
            "found xmax {xmax} (infomask 0x{:04x}) not frozen, not multi, not normal",
            h.infomask()
        )));
    }
    if freeze_xmax {
        plan.xmax = Xid::INVALID;
        plan.infomask = plan.infomask & !infomask::XMAX_BITS | infomask::XMAX_INVALID;
        plan.infomask2 &= !(infomask2::HOT_UPDATED | infomask2::KEYS_UPDATED);
        changed = true;
    }
    Ok(Prepared {
        plan: changed.then_some(plan),
        totally_frozen: xmin_frozen && (freeze_xmax || xmax_already_frozen),
    })
}

/// Whether xmin is or becomes frozen, and whether that is a change.
fn prepare_xmin(
    h: Header<'_>,
    cut: &Cutoffs,
    oldest: &mut Oldest,
    plan: &mut FreezePlan,
) -> Result<(bool, bool)> {
    let xmin = h.xmin();
    if !xmin.is_normal() {
        return Ok((true, false));
    }
    if xmin.precedes(cut.relfrozenxid) {
        return Err(corrupted(format!("found xmin {xmin} from before relfrozenxid {}", cut.relfrozenxid)));
    }
    if !xmin.precedes(cut.xid) {
        oldest.keep_xid(xmin);
        return Ok((false, false));
    }
    if !transam::try_did_commit(xmin)? {
        return Err(corrupted(format!(
            "uncommitted xmin {xmin} from before xid cutoff {} needs to be frozen",
            cut.xid
        )));
    }
    plan.infomask |= infomask::XMIN_FROZEN;
    Ok((true, true))
}

/// Whether a single xmax goes.
fn prepare_plain_xmax(h: Header<'_>, xmax: Xid, cut: &Cutoffs, oldest: &mut Oldest) -> Result<bool> {
    if xmax.precedes(cut.relfrozenxid) {
        return Err(corrupted(format!("found xmax {xmax} from before relfrozenxid {}", cut.relfrozenxid)));
    }
    if !xmax.precedes(cut.xid) {
        oldest.keep_xid(xmax);
        return Ok(false);
    }
    // A committed deleter's row should have been pruned before.
    if !infomask::is_locked_only(h.infomask()) && transam::try_did_commit(xmax)? {
        return Err(corrupted(format!("cannot freeze committed xmax {xmax}")));
    }
    Ok(true)
}

/// What becomes of a multixact. C: the `FRM_*` flags.
enum MultiFate {
    Keep,
    Invalidate,
    Xid { xid: Xid, committed: bool },
    Multi(MultiXactId),
}

/// C: `FreezeMultiXactId`.
fn freeze_multi(multi: MultiXactId, mask: u16, cut: &Cutoffs, oldest: &mut Oldest) -> Result<MultiFate> {
    let only_locked = infomask::is_locked_only(mask);
    if !multi.is_valid() || infomask::is_locked_upgraded(mask) {
        return Ok(MultiFate::Invalidate);
    }
    if multi.precedes(cut.relminmxid) {
        return Err(corrupted(format!(
            "found multixact {} from before relminmxid {}",
            multi.0, cut.relminmxid.0
        )));
    }
    if multi.precedes(cut.multi) {
        return freeze_old_multi(multi, only_locked, cut, oldest);
    }
    let members = multixact::members(multi, false, only_locked)?;
    if members.is_empty() {
        return Ok(MultiFate::Invalidate);
    }
    if !members.iter().any(|(xid, _)| xid.precedes(cut.xid)) {
        members.iter().for_each(|(xid, _)| oldest.keep_xid(*xid));
        oldest.keep_multi(multi);
        return Ok(MultiFate::Keep);
    }
    let mut kept = Vec::new();
    let mut updater = None;
    for (xid, status) in members {
        let alive = transam::is_current(xid) || transam::try_is_in_progress(xid)?;
        if !status.is_update() {
            if alive {
                kept.push((xid, status));
            }
            continue;
        }
        if xid.precedes(cut.relfrozenxid) {
            return Err(old_updater(xid, cut));
        }
        let committed = !alive && transam::try_did_commit(xid)?;
        if alive || committed {
            if xid.precedes(cut.xid) {
                return Err(corrupted(format!("found update xid {xid} from before xid cutoff {}", cut.xid)));
            }
            updater = Some((xid, committed));
            kept.push((xid, status));
        }
    }
    Ok(match (kept.len(), updater) {
        (0, _) => MultiFate::Invalidate,
        (1, Some((xid, committed))) => {
            oldest.keep_xid(xid);
            MultiFate::Xid { xid, committed }
        }
        _ => {
            kept.iter().for_each(|(xid, _)| oldest.keep_xid(*xid));
            let new = multixact::create_from_members(&kept)?;
            oldest.keep_multi(new);
            MultiFate::Multi(new)
        }
    })
}

#[cold]
fn old_updater(xid: Xid, cut: &Cutoffs) -> elog::PgError {
    corrupted(format!("found update xid {xid} from before relfrozenxid {}", cut.relfrozenxid))
}

/// A multixact from before the cutoff: nobody in it runs any more.
fn freeze_old_multi(
    multi: MultiXactId,
    only_locked: bool,
    cut: &Cutoffs,
    oldest: &mut Oldest,
) -> Result<MultiFate> {
    if multixact::is_running(multi, only_locked)? {
        return Err(corrupted(format!(
            "multixact {} from before cutoff {} found to be still running",
            multi.0, cut.multi.0
        )));
    }
    if only_locked {
        return Ok(MultiFate::Invalidate);
    }
    let xid = xmax::updater(multi)?;
    if xid.precedes(cut.relfrozenxid) {
        return Err(old_updater(xid, cut));
    }
    if xid.precedes(cut.xid) {
        if transam::try_did_commit(xid)? {
            return Err(corrupted(format!("cannot freeze committed update xid {xid}")));
        }
        return Ok(MultiFate::Invalidate);
    }
    oldest.keep_xid(xid);
    Ok(MultiFate::Xid { xid, committed: false })
}

/// Changes a row as planned. C: `heap_execute_freeze_tuple`.
pub(crate) fn execute(h: &mut HeaderMut<'_>, plan: &FreezePlan) {
    h.set_xmax(plan.xmax);
    if plan.flags & flag::FREEZE_XVAC != 0 {
        h.set_raw_cid(Xid::FROZEN.0);
    }
    if plan.flags & flag::INVALID_XVAC != 0 {
        h.set_raw_cid(Xid::INVALID.0);
    }
    h.set_infomask(plan.infomask);
    h.set_infomask2(plan.infomask2);
}

/// Whether a row that cannot be changed now (its page is pinned by others) would need freezing; its ids go into
/// `oldest` all the same. C: `heap_tuple_would_freeze`.
pub(crate) fn would_freeze(h: Header<'_>, cut: &Cutoffs, oldest: &mut Oldest) -> Result<bool> {
    let mut would = false;
    let mut see = |xid: Xid, oldest: &mut Oldest| {
        if xid.is_normal() {
            oldest.keep_xid(xid);
            would |= xid.precedes(cut.xid);
        }
    };
    see(h.xmin(), oldest);
    if h.infomask() & infomask::XMAX_IS_MULTI == 0 {
        see(h.raw_xmax(), oldest);
        return Ok(would);
    }
    let multi = h.multi_xmax();
    if !multi.is_valid() {
        return Ok(would);
    }
    if infomask::is_locked_upgraded(h.infomask()) {
        oldest.keep_multi(multi);
        return Ok(true);
    }
    for (xid, _) in multixact::members(multi, false, infomask::is_locked_only(h.infomask()))? {
        see(xid, oldest);
    }
    oldest.keep_multi(multi);
    Ok(would || multi.precedes(cut.multi))
}
