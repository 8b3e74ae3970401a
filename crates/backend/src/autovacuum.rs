//! What autovacuum needs of the layers that it lies below: catalogs, and VACUUM itself.
//!
//! The launcher only reads pg_database; a worker becomes a session without a client.
//!
//! C counterpart: the parts of postmaster/autovacuum.c that read catalogs and run commands.

use std::cell::Cell;

use autovacuum::{Ages, DatabaseRow, Hooks, Job, StorageOptions, TableRow};
use catalog::rows::PgClassRow;
use catalog::syscache;
use commands::Context;
use commands::vacuum::Options;
use common::{MultiXactId, Oid, SqlState};
use elog::{Result, fatal};
use parser::ast::{RangeVar, VacuumRelation};
use transam::xact;
use types::fmgr::Session as CallSession;

use crate::identity::{self, Identity, RoleId};
use crate::{attach, query};

/// Superuser that `initdb` made: whose name a worker works in. C: `BOOTSTRAP_SUPERUSERID`.
const BOOTSTRAP_SUPERUSER: Oid = Oid(10);

thread_local! {
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
}

/// The functions, for the program to hand over.
pub fn hooks() -> Hooks {
    Hooks { databases, ages, connect, tables, run, finish }
}

/// Joins the data, once.
fn attach_once() {
    if !ATTACHED.replace(true) {
        attach::attach();
    }
}

/// Work in a transaction of its own.
fn in_transaction<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    attach_once();
    xact::set_statement_start(activity::now());
    xact::start_transaction()?;
    match work() {
        Ok(value) => xact::commit_transaction().map(|()| value),
        Err(error) => {
            xact::abort_transaction();
            Err(error)
        }
    }
}

fn databases() -> Result<Vec<DatabaseRow>> {
    in_transaction(|| {
        // Also those that let nobody in: their rows grow old all the same.
        Ok(syscache::databases()?
            .into_iter()
            .map(|row| DatabaseRow {
                oid: row.oid,
                name: row.datname.clone(),
                frozen_xid: row.datfrozenxid,
                min_multi: MultiXactId(row.datminmxid.0),
            })
            .collect())
    })
}

fn ages() -> Ages {
    Ages {
        next_xid: transam::varsup::read_next_xid(),
        next_multi: transam::multixact::read_next(),
        ..Ages::default()
    }
}

fn connect(database: Oid) -> Result<String> {
    attach_once();
    shmem::my_proc().database_id.store(database.0, std::sync::atomic::Ordering::Relaxed);
    let found = in_transaction(|| syscache::database(database))?;
    let Some(row) = found else {
        return Err(fatal!(SqlState::UNDEFINED_DATABASE, "database with OID {database} does not exist"));
    };
    catalog::set_my_database(database);
    let user = RoleId { oid: BOOTSTRAP_SUPERUSER, name: String::new(), superuser: true };
    identity::set(Identity {
        authenticated: user.clone(),
        session_user: user.clone(),
        current_user: user,
        database,
        database_name: row.datname.clone(),
        client: None,
        socket: -1,
    });
    activity::report_session((database, &row.datname), (Oid::INVALID, ""), None, false);
    Ok(row.datname.clone())
}

fn tables() -> Result<Vec<TableRow>> {
    in_transaction(|| {
        let mut rows = Vec::new();
        for class in syscache::classes()? {
            if !matches!(class.relkind, b'r' | b'm' | b't') || class.relpersistence == b't' {
                continue;
            }
            let schema = syscache::namespace(class.relnamespace)?;
            rows.push(TableRow {
                oid: class.oid,
                schema: schema.map_or_else(String::new, |schema| schema.nspname.clone()),
                name: class.relname.clone(),
                shared: class.relisshared,
                toast: class.relkind == b't',
                reltuples: f64::from(class.reltuples),
                frozen_xid: class.relfrozenxid,
                min_multi: MultiXactId(class.relminmxid.0),
                options: options_of(&class),
            });
        }
        Ok(rows)
    })
}

/// The storage parameters about autovacuum. C: `extract_autovac_opts`.
fn options_of(class: &PgClassRow) -> Option<StorageOptions> {
    let stored = class.reloptions.as_ref()?;
    let value = |name: &str| {
        let option = stored.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
        option.map(str::to_owned)
    };
    let integer = |name: &str| value(name).and_then(|text| text.parse::<i32>().ok());
    let float = |name: &str| value(name).and_then(|text| text.parse::<f64>().ok());
    let off = ["false", "off", "no", "0"];
    Some(StorageOptions {
        disabled: value("autovacuum_enabled").is_some_and(|text| off.contains(&text.as_str())),
        vacuum_threshold: integer("autovacuum_vacuum_threshold"),
        vacuum_scale_factor: float("autovacuum_vacuum_scale_factor"),
        vacuum_insert_threshold: integer("autovacuum_vacuum_insert_threshold"),
        vacuum_insert_scale_factor: float("autovacuum_vacuum_insert_scale_factor"),
        analyze_threshold: integer("autovacuum_analyze_threshold"),
        analyze_scale_factor: float("autovacuum_analyze_scale_factor"),
        freeze_max_age: integer("autovacuum_freeze_max_age"),
        multixact_freeze_max_age: integer("autovacuum_multixact_freeze_max_age"),
    })
}

fn run(job: &Job) -> Result<()> {
    let options = Options {
        vacuum: job.vacuum,
        analyze: job.analyze,
        skip_locked: !job.for_wraparound,
        is_autovacuum: true,
        is_wraparound: job.for_wraparound,
        ..Options::default()
    };
    let name = vec![job.table.schema.clone(), job.table.name.clone()];
    let target = VacuumRelation { relation: RangeVar { loc: 0, name, inherit: false }, columns: Vec::new() };
    in_transaction(|| {
        let session = CallSession {
            transaction_timestamp: xact::start_time(),
            statement_timestamp: xact::start_time(),
            hooks: &(),
            check_interrupts: miscinit::interrupt::check,
        };
        query::with_env(|env| {
            let cx = Context {
                env,
                session: &session,
                source: "",
                role: BOOTSTRAP_SUPERUSER,
                in_use: &|_| false,
                superuser: true,
            };
            commands::vacuum::run(&cx, options, std::slice::from_ref(&target))
        })
    })
}

/// C: the call of `vac_update_datfrozenxid` in `do_autovacuum`.
fn finish() -> Result<()> {
    in_transaction(commands::frozen::update_database)
}
