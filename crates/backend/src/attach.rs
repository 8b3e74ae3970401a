//! How a process joins the data: locks, snapshots, invalidation, caches, statistics.
//!
//! For everything that runs transactions: client sessions and autovacuum workers.
//!
//! C counterpart: `InitProcessPhase2`, `SharedInvalBackendInit`, `RelationCacheInitialize` and their neighbours in
//! `InitPostgres`.

use common::Oid;
use miscinit::exit;
use transam::{procarray, snapshot, xact};

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
    catalog::namespace::set_current_role_source(|| identity::get().current_user.oid);
    pgstat::register();
    transam::varsup::set_database_name_hook(database_name);
    // Whatever way the session ends: what it has not committed is undone while it can still say so.
    exit::on_shmem_exit(|_| {
        snapshot::invalidate_catalog_snapshot();
        xact::abort_transaction();
    });
}

/// For warnings about the end of transaction ids; outside a transaction nothing can be looked up. C: the calls of
/// `get_database_name` in varsup.c.
fn database_name(database: Oid) -> Option<String> {
    if !transam::in_transaction() {
        return None;
    }
    let row = catalog::syscache::database(database).ok().flatten()?;
    Some(row.datname.clone())
}
