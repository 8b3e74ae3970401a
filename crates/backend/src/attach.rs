//! How a process joins the data: locks, snapshots, invalidation, caches, statistics.
//!
//! For everything that runs transactions: client sessions and autovacuum workers.
//!
//! C counterpart: `InitProcessPhase2`, `SharedInvalBackendInit`, `RelationCacheInitialize` and their neighbours in
//! `InitPostgres`.

use miscinit::exit;
use transam::xact::{self, Participant, Phase};
use transam::{procarray, snapshot};

use crate::identity;

/// Joins. The process has its PGPROC; what it joins here it leaves at its exit, in the opposite order.
pub(crate) fn attach() {
    storage::init_process();
    procarray::add();
    exit::on_shmem_exit(|_| procarray::remove());
    sinval::attach();
    exit::on_shmem_exit(|_| sinval::detach());
    lmgr::attach();
    catalog::init();
    heap::combocid::register();
    activity::table_stats::set_nest_level_source(xact::nest_level);
    catalog::namespace::set_current_role_source(|| identity::get().current_user.oid);
    xact::register(Participant {
        at_commit: Some(|| pgstat::at_xact_end(true)),
        at_abort: Some(|| pgstat::at_xact_end(false)),
        at_sub_commit: Some(|level| pgstat::at_subxact_end(level, true)),
        at_sub_abort: Some(|level| pgstat::at_subxact_end(level, false)),
        ..Participant::new("statistics", Phase::Statistics)
    });
    // Whatever way the session ends: what it has not committed is undone while it can still say so.
    exit::on_shmem_exit(|_| {
        snapshot::invalidate_catalog_snapshot();
        xact::abort_transaction();
    });
}
