//! VACUUM and ANALYZE.
//!
//! VACUUM works on each table in a transaction of its own, so that a long run holds nothing back; it commits the one that
//! it is called in and leaves another one open behind it.
//!
//! Differs from PG 15: ANALYZE counts rows and pages but gathers no statistics about columns: there is no planner that
//! would ask for them.
//!
//! C counterpart: commands/vacuum.c, commands/analyze.c.

use std::rc::Rc;

use catalog::Relation;
use catalog::create::{RelationStats, update_stats};
use catalog::{relation, syscache};
use common::{MultiXactId, Oid, SqlState};
use elog::{PgError, Result, ereport, error, pg_error};
use heap::vacuum::VacuumParams;
use lmgr::LockMode;
use parser::ast::{DefElem, OptionValue, VacuumRelation};
use pgstat::Maintenance;
use transam::{snapshot, xact};

use crate::vacuum_report::{self, Meter, Who};
use crate::{Context, frozen, not_supported};

/// What VACUUM's parentheses, or its older form without, ask for. C: `VacuumParams`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the options")]
pub struct Options {
    pub vacuum: bool,
    pub analyze: bool,
    pub verbose: bool,
    pub full: bool,
    pub freeze: bool,
    pub skip_locked: bool,
    pub disable_page_skipping: bool,
    pub truncate: Option<bool>,
    pub process_toast: Option<bool>,
    pub is_autovacuum: bool,
    pub is_wraparound: bool,
}

impl Options {
    /// # Errors
    /// 42601 for an option that there is not.
    pub fn parse(is_vacuum: bool, options: &[DefElem], source: &str) -> Result<Options> {
        let mut parsed = Options { vacuum: is_vacuum, analyze: !is_vacuum, ..Options::default() };
        let mut parallel = 0;
        for option in options {
            if option.name == "parallel" && is_vacuum {
                parallel = check_parallel(option, source)?;
                continue;
            }
            let on = boolean(option)?;
            match option.name.as_str() {
                "verbose" => parsed.verbose = on,
                "skip_locked" => parsed.skip_locked = on,
                "analyze" if is_vacuum => parsed.analyze = on,
                "full" if is_vacuum => parsed.full = on,
                "freeze" if is_vacuum => parsed.freeze = on,
                "disable_page_skipping" if is_vacuum => parsed.disable_page_skipping = on,
                "truncate" if is_vacuum => parsed.truncate = Some(on),
                "process_toast" if is_vacuum => parsed.process_toast = Some(on),
                // There are no indexes to do it with.
                "index_cleanup" if is_vacuum => {}
                name => {
                    let command = if is_vacuum { "VACUUM" } else { "ANALYZE" };
                    return Err(error!(SqlState::SYNTAX_ERROR, "unrecognized {command} option \"{name}\"")
                        .position(parser::char_position(source, option.loc as usize)));
                }
            }
        }
        if parsed.full && parallel > 0 {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "VACUUM FULL cannot be performed in parallel"
            ));
        }
        if parsed.full && parsed.process_toast == Some(false) {
            return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "PROCESS_TOAST required with VACUUM FULL"));
        }
        Ok(parsed)
    }
}

/// Number of workers, of which there are none here. C: the PARALLEL case of `ExecVacuum`.
fn check_parallel(option: &DefElem, source: &str) -> Result<i64> {
    let at = |text: &str| {
        error!(SqlState::SYNTAX_ERROR, "{text}").position(parser::char_position(source, option.loc as usize))
    };
    match &option.value {
        None => Err(at("parallel option requires a value between 0 and 1024")),
        Some(OptionValue::Integer(workers @ 0..=1024)) => Ok(i64::from(*workers)),
        Some(OptionValue::Integer(_)) => Err(at("parallel workers for vacuum must be between 0 and 1024")),
        Some(_) => Err(error!(SqlState::SYNTAX_ERROR, "parallel requires an integer value")),
    }
}

fn boolean(option: &DefElem) -> Result<bool> {
    match &option.value {
        None => Ok(true),
        Some(OptionValue::Boolean(on)) => Ok(*on),
        Some(OptionValue::Integer(number @ 0..=1)) => Ok(*number != 0),
        Some(OptionValue::String(word)) => match word.to_ascii_lowercase().as_str() {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            // INDEX_CLEANUP has a third value.
            "auto" if option.name == "index_cleanup" => Ok(true),
            _ => Err(not_boolean(option)),
        },
        Some(_) => Err(not_boolean(option)),
    }
}

fn not_boolean(option: &DefElem) -> PgError {
    error!(SqlState::SYNTAX_ERROR, "{} requires a Boolean value", option.name)
}

/// VACUUM or ANALYZE of the tables named, or of all. C: `vacuum`.
///
/// # Errors
/// 42P01 for a table that is not there; what the work says.
pub fn run(cx: &Context<'_>, options: Options, relations: &[VacuumRelation]) -> Result<()> {
    if options.full {
        return Err(not_supported("VACUUM FULL is"));
    }
    let targets = targets(cx, options, relations)?;
    if !options.vacuum && relations.len() == 1 {
        // ANALYZE of one table may be part of a transaction.
        return targets.into_iter().try_for_each(|oid| analyze(cx, options, oid));
    }
    if options.vacuum {
        forget_dropped()?;
    }
    for oid in targets {
        if options.vacuum {
            next_transaction()?;
            if !vacuum_one(cx, options, oid)? {
                continue;
            }
        }
        if options.analyze {
            if options.vacuum {
                next_transaction()?;
            }
            let snapshot = transam::transaction_snapshot()?;
            let _active = snapshot::push_active(&snapshot);
            analyze(cx, options, oid)?;
        }
    }
    if options.vacuum {
        next_transaction()?;
        if !options.is_autovacuum {
            // A worker does so once, at its end.
            frozen::update_database()?;
        }
    }
    Ok(())
}

/// C: `CommitTransactionCommand` and `StartTransactionCommand` around each table.
fn next_transaction() -> Result<()> {
    xact::commit_transaction()?;
    xact::start_transaction()
}

/// Statistics of tables that are gone go away. Reads what the collector has, so that a dead one is noticed here.
/// C: `pgstat_vacuum_stat`.
fn forget_dropped() -> Result<()> {
    let database = catalog::my_database();
    let mut gone = Vec::new();
    for oid in pgstat::tables(database)?.into_keys() {
        if syscache::class(oid)?.is_none() {
            gone.push(oid);
        }
    }
    if !gone.is_empty() {
        pgstat::drop_tables(database, &gone);
    }
    Ok(())
}

/// C: `expand_vacuum_rel`, `get_all_vacuum_rels`.
fn targets(cx: &Context<'_>, options: Options, relations: &[VacuumRelation]) -> Result<Vec<Oid>> {
    let mut oids = Vec::new();
    for wanted in relations {
        let (schema, name) = cx.schema_and_name(&wanted.relation)?;
        if cx.env.lookup(schema, name).is_some() {
            let verb = if options.vacuum { "vacuum" } else { "analyze" };
            let text = format!("skipping \"{name}\" --- cannot {verb} non-tables or special system tables");
            pg_error!(Warning, SqlState::WARNING, "{text}").report();
            continue;
        }
        let oid = catalog::namespace::lookup_relation(schema, name)?.ok_or_else(|| {
            error!(
                SqlState::UNDEFINED_TABLE,
                "relation \"{}\" does not exist",
                wanted.relation.name.join(".")
            )
        })?;
        if !wanted.columns.is_empty() && !options.analyze {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "ANALYZE option must be specified when a column list is provided"
            ));
        }
        check_columns(oid, wanted)?;
        if may_process(cx, options, oid)? && !oids.contains(&oid) {
            oids.push(oid);
        }
    }
    if relations.is_empty() {
        for class in syscache::classes()? {
            let mine = class.relkind == b'r' && (cx.superuser || class.relowner == cx.role);
            if mine {
                oids.push(class.oid);
            }
        }
    }
    Ok(oids)
}

/// C: the column list of `do_analyze_rel`.
fn check_columns(oid: Oid, wanted: &VacuumRelation) -> Result<()> {
    if wanted.columns.is_empty() {
        return Ok(());
    }
    let Some(relation) = relation::try_open(oid, LockMode::AccessShare)? else { return Ok(()) };
    for (index, column) in wanted.columns.iter().enumerate() {
        let name: &str = column.as_ref();
        let known = relation.desc.attrs.iter().any(|a| !a.is_dropped && &*a.name == name);
        if !known {
            return Err(error!(
                SqlState::UNDEFINED_COLUMN,
                "column \"{name}\" of relation \"{}\" does not exist",
                relation.name()
            ));
        }
        if wanted.columns[..index].contains(column) {
            return Err(error!(
                SqlState::DUPLICATE_COLUMN,
                "column \"{name}\" of relation \"{}\" appears more than once",
                relation.name()
            ));
        }
    }
    Ok(())
}

/// Kind and rights; false after a WARNING. C: `vacuum_is_relation_owner`, the relkind check of `vacuum_rel`.
fn may_process(cx: &Context<'_>, options: Options, oid: Oid) -> Result<bool> {
    let Some(class) = syscache::class(oid)? else { return Ok(false) };
    let verb = if options.vacuum { "vacuum" } else { "analyze" };
    let skip = |text: String| {
        pg_error!(Warning, SqlState::WARNING, "{text}").report();
        Ok(false)
    };
    if class.relkind != b'r' {
        return skip(format!(
            "skipping \"{}\" --- cannot {verb} non-tables or special system tables",
            class.relname
        ));
    }
    if cx.superuser || class.relowner == cx.role {
        return Ok(true);
    }
    let who = if class.relisshared {
        "only superuser can"
    } else if class.oid.0 < 16_384 {
        "only superuser or database owner can"
    } else {
        "only table or database owner can"
    };
    skip(format!("skipping \"{}\" --- {who} {verb} it", class.relname))
}

/// The table, locked; `None` after a WARNING if it is locked and SKIP LOCKED was said, or gone.
/// C: `vacuum_open_relation`.
fn open(options: Options, oid: Oid) -> Result<Option<Rc<Relation>>> {
    let mode = LockMode::ShareUpdateExclusive;
    if !options.skip_locked {
        return relation::try_open(oid, mode);
    }
    if lmgr::conditional_lock_relation(relation::lock_database(oid), oid, mode)? {
        return relation::open_locked(oid).map(Some);
    }
    // A worker says so only where it would have said what it did.
    let severity = match options.is_autovacuum {
        false => elog::Severity::Warning,
        true if guc::vars::LOG_AUTOVACUUM_MIN_DURATION.get() >= 0 => elog::Severity::Log,
        true => return Ok(None),
    };
    let name = syscache::class(oid)?.map_or_else(|| oid.to_string(), |class| class.relname.clone());
    let verb = if options.vacuum { "vacuum" } else { "analyze" };
    error!(SqlState::LOCK_NOT_AVAILABLE, "skipping {verb} of \"{name}\" --- lock not available")
        .with_severity(severity)
        .report();
    Ok(None)
}

/// False if the table was skipped. C: `vacuum_rel`.
fn vacuum_one(cx: &Context<'_>, options: Options, oid: Oid) -> Result<bool> {
    let Some(relation) = open(options, oid)? else { return Ok(false) };
    let _in_vacuum = transam::procarray::in_vacuum(options.is_wraparound);
    let snapshot = transam::transaction_snapshot()?;
    let _active = snapshot::push_active(&snapshot);
    let name = qualified_name(cx, &relation)?;
    if options.verbose {
        ereport!(Info, "vacuuming \"{name}\"");
    }
    let meter = Meter::start();
    let report = heap::vacuum::vacuum(&relation.table, &params(options, &relation))?;
    update_stats(
        oid,
        &RelationStats {
            pages: report.relpages,
            tuples: report.reltuples as f32,
            all_visible: report.relallvisible,
            frozen_xid: report.new_frozen_xid,
            min_multi: report.new_min_multi,
        },
    )?;
    let dead = report.dead_tuples;
    pgstat::report_vacuum(done(options, &relation, report.reltuples as i64, dead as i64));
    if wants_report(options, &relation, &meter) {
        let who = Who { autovacuum: options.is_autovacuum, wraparound: options.is_wraparound };
        let before = (relation.class.relfrozenxid, MultiXactId(relation.class.relminmxid.0));
        say(options, &vacuum_report::vacuumed(&name, who, &report, before, &meter));
    }
    Ok(true)
}

/// What the collector is told.
fn done(options: Options, relation: &Relation, live: i64, dead: i64) -> Maintenance {
    Maintenance {
        database: relation::lock_database(relation.oid()),
        table: relation.oid(),
        autovacuum: options.is_autovacuum,
        time: activity::now(),
        live,
        dead,
        reset_changes: true,
    }
}

fn params(options: Options, relation: &Relation) -> VacuumParams {
    let age = |value: i32| if options.freeze { 0 } else { value };
    VacuumParams {
        freeze_min_age: age(-1),
        freeze_table_age: age(-1),
        multixact_freeze_min_age: age(-1),
        multixact_freeze_table_age: age(-1),
        disable_page_skipping: options.disable_page_skipping,
        truncate: options.truncate.unwrap_or(true),
        relfrozenxid: relation.class.relfrozenxid,
        relminmxid: MultiXactId(relation.class.relminmxid.0),
        relpages: relation.class.relpages as u32,
        reltuples: f64::from(relation.class.reltuples),
        is_autovacuum: options.is_autovacuum,
        verbose: options.verbose,
    }
}

fn qualified_name(cx: &Context<'_>, relation: &Relation) -> Result<String> {
    let schema = syscache::namespace(relation.class.relnamespace)?;
    let schema = schema.map_or_else(String::new, |schema| schema.nspname.clone());
    Ok(format!("{}.{schema}.{}", cx.env.current_database(), relation.name()))
}

/// Always under VERBOSE; of an autovacuum worker if it took long. C: the check of `log_min_duration`.
fn wants_report(options: Options, relation: &Relation, meter: &Meter) -> bool {
    let own = || {
        let stored = relation.class.reloptions.as_ref()?;
        let mut values =
            stored.iter().filter_map(|option| option.strip_prefix("log_autovacuum_min_duration="));
        values.next()?.parse().ok()
    };
    let threshold = || own().unwrap_or_else(|| guc::vars::LOG_AUTOVACUUM_MIN_DURATION.get());
    options.verbose || (options.is_autovacuum && meter.exceeds(threshold()))
}

fn say(options: Options, text: &str) {
    if options.verbose {
        ereport!(Info, "{text}");
    } else {
        ereport!(Log, "{text}");
    }
}

/// Counts rows and pages. C: `analyze_rel`, without column statistics.
fn analyze(cx: &Context<'_>, options: Options, oid: Oid) -> Result<()> {
    let Some(relation) = open(Options { vacuum: false, ..options }, oid)? else { return Ok(()) };
    if options.verbose {
        ereport!(Info, "analyzing \"{}.{}\"", schema_of(&relation)?, relation.name());
    }
    let meter = Meter::start();
    let snapshot = transam::transaction_snapshot()?;
    let scan_options = heap::ScanOptions { count: false, ..heap::ScanOptions::default() };
    let mut scan = heap::Scan::begin(&relation.table, snapshot, scan_options)?;
    let mut rows = 0u64;
    while scan.next()?.is_some() {
        rows += 1;
        if rows.is_multiple_of(4096) {
            miscinit::interrupt::check()?;
        }
    }
    drop(scan);
    let pages = relation.table.nblocks()?;
    let (all_visible, _) = heap::vm::count(&relation.table)?;
    let stats = RelationStats { pages, tuples: rows as f32, all_visible, frozen_xid: None, min_multi: None };
    update_stats(oid, &stats)?;
    pgstat::report_analyze(done(options, &relation, rows as i64, 0));
    if wants_report(options, &relation, &meter) {
        let name = qualified_name(cx, &relation)?;
        say(options, &vacuum_report::analyzed(&name, options.is_autovacuum, &meter));
    }
    Ok(())
}

fn schema_of(relation: &Relation) -> Result<String> {
    let schema = syscache::namespace(relation.class.relnamespace)?;
    Ok(schema.map_or_else(String::new, |schema| schema.nspname.clone()))
}
