//! An autovacuum worker: one pass over one database, then it ends.
//!
//! C counterpart: `AutoVacWorkerMain`, `do_autovacuum`.

use std::sync::atomic::Ordering::SeqCst;

use common::{BackendType, Oid, SqlState};
use elog::{PgError, Result, Severity, ereport, error, fatal};
use guc::{GucAction, GucContext, GucSource};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, ps_status};
use transam::procarray::PROC_IS_AUTOVACUUM;

use crate::hooks::{Job, TableRow, hooks};
use crate::needs::{Thresholds, needs};
use crate::shared::{self, MyPlace};

/// Entry point of a worker. C: `AutoVacWorkerMain`.
pub fn autovac_worker_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    // Whoever waits for a lock of ours may cancel us. C: in `InitProcess`.
    shmem::my_proc().status_flags.fetch_or(PROC_IS_AUTOVACUUM, SeqCst);
    interrupt::set_processor(process_interrupts);
    elog::set_panic_guard(|| shmem::held_lwlocks() == 0);
    let outcome = elog::catch_panic(work);
    if let Err(error) = &outcome {
        error.report();
        if error.severity >= Severity::Panic {
            std::process::abort();
        }
    }
    exit::proc_exit(i32::from(outcome.is_err_and(|error| error.severity >= Severity::Fatal)))
}

/// A worker is cancelled by whoever needs its lock more, and leaves when told to. C: `ProcessInterrupts`.
fn process_interrupts() -> Result<()> {
    if interrupt::take(Pending::ProcDie) {
        return Err(fatal!(
            SqlState::ADMIN_SHUTDOWN,
            "terminating autovacuum process due to administrator command"
        ));
    }
    if interrupt::take(Pending::QueryCancel) {
        return Err(error!(SqlState::QUERY_CANCELED, "canceling autovacuum task"));
    }
    if interrupt::is_pending(Pending::QuickDie) {
        exit::exit_now(2);
    }
    Ok(())
}

fn work() -> Result<()> {
    set_own_settings()?;
    let Some(place) = MyPlace::take() else {
        // The launcher gave up waiting.
        ereport!(Warning, "autovacuum worker started without a worker entry");
        return Ok(());
    };
    work_at(&place)
}

fn work_at(place: &MyPlace) -> Result<()> {
    let database = place.database();
    // Before anything can fail: a database that makes workers fail must not be chosen again at once.
    pgstat::report_autovacuum_start(database);
    let name = (hooks().connect)(database)?;
    ps_status::set_fixed(&format!("{}   {name}", BackendType::AutovacWorker.ps_title()));
    ereport!(Debug1, "autovacuum: processing database \"{name}\"");
    let outcome = process_database(place, database, &name);
    pgstat::report_stat(database, true);
    outcome
}

/// What a user may have set for sessions does not hold for a worker. C: the `SetConfigOption` calls.
fn set_own_settings() -> Result<()> {
    for (name, value) in [
        ("zero_damaged_pages", "false"),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("default_transaction_isolation", "read committed"),
        ("synchronous_commit", "local"),
    ] {
        guc::set_option(name, value, GucContext::Superuser, GucSource::Override, GucAction::Set)?;
    }
    Ok(())
}

/// C: `do_autovacuum`.
fn process_database(place: &MyPlace, database: Oid, name: &str) -> Result<()> {
    let tables = (hooks().tables)()?;
    forget_dropped(database, &tables)?;
    for table in tables {
        if look(database, &table)?.is_none() {
            continue;
        }
        interrupt::check()?;
        if interrupt::take(Pending::ConfigReload) {
            auxprocess::reload_config();
        }
        let claimed = {
            let proof = shared::schedule_lock();
            place.claim(&proof, table.oid, table.shared)
        };
        if !claimed {
            continue;
        }
        // Another worker may have done it since the counters were read.
        pgstat::clear_snapshot();
        let outcome = match look(database, &table) {
            Ok(Some(job)) => {
                place.set_cost(cost_limit(), cost_delay());
                run(&job, name)
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        place.release_table();
        outcome?;
    }
    (hooks().finish)()
}

fn look(database: Oid, table: &TableRow) -> Result<Option<Job>> {
    let home = if table.shared { Oid::INVALID } else { database };
    let entry = pgstat::table(home, table.oid)?;
    let found = needs(table, entry.as_ref(), &(hooks().ages)(), &Thresholds::current());
    let job = Job {
        table: table.clone(),
        vacuum: found.vacuum,
        analyze: found.analyze,
        for_wraparound: found.wraparound,
    };
    Ok((found.vacuum || found.analyze).then_some(job))
}

/// An error costs the table its turn, not the others theirs.
fn run(job: &Job, database: &str) -> Result<()> {
    activity::report_activity(activity::State::Active, Some(&activity_text(job)));
    let outcome = (hooks().run)(job);
    activity::report_activity(activity::State::Idle, None);
    match outcome {
        Err(error) if error.severity < Severity::Fatal => {
            with_context(error, job, database).report();
            Ok(())
        }
        outcome => outcome,
    }
}

fn with_context(error: PgError, job: &Job, database: &str) -> PgError {
    let verb = if job.vacuum { "vacuum" } else { "analyze" };
    let TableRow { schema, name, .. } = &job.table;
    error.context(format!("automatic {verb} of table \"{database}.{schema}.{name}\""))
}

/// What `pg_stat_activity` shows. C: `autovac_report_activity`.
fn activity_text(job: &Job) -> String {
    let work = match (job.vacuum, job.analyze) {
        (true, true) => "VACUUM ANALYZE",
        (true, false) => "VACUUM",
        _ => "ANALYZE",
    };
    let TableRow { schema, name, .. } = &job.table;
    let why = if job.for_wraparound { " (to prevent wraparound)" } else { "" };
    format!("autovacuum: {work} {schema}.{name}{why}")
}

/// Counters of tables that are no more. C: `pgstat_vacuum_stat`.
fn forget_dropped(database: Oid, tables: &[TableRow]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let known = pgstat::tables(database)?;
    let dropped: Vec<Oid> =
        known.into_keys().filter(|oid| !tables.iter().any(|table| table.oid == *oid)).collect();
    pgstat::drop_tables(database, &dropped);
    Ok(())
}

/// Wanted cost limit. C: the choice in `table_recheck_autovac`.
fn cost_limit() -> i32 {
    let own = guc::vars::AUTOVACUUM_VACUUM_COST_LIMIT.get();
    if own > 0 { own } else { guc::vars::VACUUM_COST_LIMIT.get() }
}

/// Wanted cost delay, milliseconds.
fn cost_delay() -> f64 {
    let own = guc::vars::AUTOVACUUM_VACUUM_COST_DELAY.get();
    if own >= 0.0 { own } else { guc::vars::VACUUM_COST_DELAY.get() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{MultiXactId, Xid};

    #[test]
    fn texts() {
        let table = TableRow {
            oid: Oid(16384),
            schema: "public".into(),
            name: "t".into(),
            shared: false,
            toast: false,
            reltuples: 0.0,
            frozen_xid: Xid(3),
            min_multi: MultiXactId(1),
            options: None,
        };
        let mut job = Job { table, vacuum: true, analyze: true, for_wraparound: false };
        assert_eq!(activity_text(&job), "autovacuum: VACUUM ANALYZE public.t");
        job.analyze = false;
        job.for_wraparound = true;
        assert_eq!(activity_text(&job), "autovacuum: VACUUM public.t (to prevent wraparound)");
        let error = with_context(error!(SqlState::INTERNAL_ERROR, "x"), &job, "shop");
        assert_eq!(error.context.as_deref(), Some("automatic vacuum of table \"shop.public.t\""));
        job.vacuum = false;
        (job.analyze, job.for_wraparound) = (true, false);
        assert_eq!(activity_text(&job), "autovacuum: ANALYZE public.t");
    }
}
