//! Queries: what the session gives the executor, and what it gets back.

use std::cell::RefCell;
use std::rc::Rc;

use commands::Context;
use common::{Oid, SqlState};
use elog::{Result, error};
use executor::{
    Column, Env, Execution, ExplainOptions, ParamTypes, Plan, RelationSource, TableInfo, VirtualRelation,
};
use parser::Statement;
use parser::ast::{DefElem, Expr, TableLockMode};
use types::Datum;
use types::fmgr::{Registry, Session as CallSession};

use crate::identity::{self, Identity};
use crate::objects::Objects;
use crate::portal::Row;
use crate::session::Session;
use crate::views::{self, VIEWS};

/// What name resolution sees of this session.
struct SessionEnv {
    identity: Rc<Identity>,
}

impl RelationSource for SessionEnv {
    fn lookup(&self, schema: Option<&str>, name: &str) -> Option<VirtualRelation> {
        if schema.is_some_and(|schema| schema != "pg_catalog") {
            return None;
        }
        let index = VIEWS.iter().position(|view| view.name == name)?;
        let view = &VIEWS[index];
        Some(VirtualRelation {
            oid: views::oid_at(index),
            columns: view.columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect(),
            scan: Rc::new(|session| {
                let none = Rc::default();
                let objects = session.hooks.downcast_ref::<Rc<Objects>>().unwrap_or(&none);
                Ok(Box::new((view.rows)(objects)?.into_iter().map(Ok)))
            }),
        })
    }
}

impl Env for SessionEnv {
    fn registry(&self) -> &Registry {
        crate::registry()
    }
    fn current_database(&self) -> &str {
        &self.identity.database_name
    }
    fn table(&self, schema: Option<&str>, name: &str, mode: TableLockMode) -> Result<Option<Rc<TableInfo>>> {
        executor::heap_table::lookup(schema, name, mode)
    }
    fn schema_exists(&self, name: &str) -> bool {
        catalog::namespace::schema_oid(name).is_ok_and(|oid| oid.is_some())
    }
}

fn env() -> SessionEnv {
    SessionEnv { identity: identity::get() }
}

/// What functions are told of the session, for a statement under way.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    transaction_start: i64,
    statement_start: i64,
    /// For the views about the session itself.
    objects: Rc<Objects>,
}

impl Calls {
    pub(crate) fn of(session: &Session) -> Calls {
        Calls {
            transaction_start: session.transaction.start,
            statement_start: session.transaction.statement_start,
            objects: Rc::clone(&session.objects),
        }
    }

    /// Lends it in the form that functions take.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&CallSession<'_>) -> T) -> T {
        work(&CallSession {
            transaction_timestamp: self.transaction_start,
            statement_timestamp: self.statement_start,
            hooks: &self.objects,
            check_interrupts: miscinit::interrupt::check,
        })
    }
}

/// Runs a command of `commands` with what it has to know of this session.
pub(crate) fn with_context<T>(
    session: &Session,
    source: &str,
    work: impl FnOnce(&Context<'_>) -> Result<T>,
) -> Result<T> {
    let env = env();
    let user = &env.identity.current_user;
    let in_use = |oid| session.objects.reads_table(oid);
    Calls::of(session).with(|calls| {
        work(&Context {
            env: &env,
            session: calls,
            source,
            role: user.oid,
            superuser: user.superuser,
            in_use: &in_use,
        })
    })
}

/// Lends what name resolution sees of this process.
pub(crate) fn with_env<T>(work: impl FnOnce(&dyn Env) -> T) -> T {
    work(&env())
}

/// Which parameters a statement may have.
#[derive(Clone, Copy)]
pub(crate) enum Params<'a> {
    /// None: the simple protocol.
    None,
    /// These, and more if they are used; 0 is for "find out".
    Infer(&'a [Oid]),
}

/// A query with its names and types settled. C: `CachedPlanSource` with its plan.
#[derive(Clone, Debug)]
pub(crate) struct PreparedQuery {
    /// Replaced when catalogs have changed.
    plan: RefCell<Plan>,
    /// Under which the plan was made. C: `search_path` of a `CachedPlanSource`.
    search_path: RefCell<String>,
    statement: Rc<Statement>,
    source: Rc<str>,
    columns: Vec<Column>,
    param_types: Vec<Oid>,
}

impl PreparedQuery {
    /// Settles names and types.
    pub(crate) fn new(statement: &Statement, source: &Rc<str>, params: Params<'_>) -> Result<PreparedQuery> {
        guc::note_first_query();
        let params = match params {
            Params::None => ParamTypes::Fixed(&[]),
            Params::Infer(types) => ParamTypes::Infer(types),
        };
        let plan = executor::plan(executor::analyze_statement(statement, source, params, &env())?);
        Ok(PreparedQuery {
            statement: Rc::new(statement.clone()),
            source: Rc::clone(source),
            columns: plan.columns().to_vec(),
            param_types: plan.param_types().to_vec(),
            plan: RefCell::new(plan),
            search_path: RefCell::new(guc::vars::SEARCH_PATH.get().to_string()),
        })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where the columns come from.
    pub(crate) fn origins(&self) -> Vec<(Oid, i16)> {
        self.plan.borrow().origins()
    }

    pub(crate) fn param_types(&self) -> &[Oid] {
        &self.param_types
    }

    /// INSERT, UPDATE, DELETE, or a query that does so in WITH.
    pub(crate) fn modifies(&self) -> bool {
        self.plan.borrow().modifies()
    }

    /// The plan as a command runs it that has a use of its own for the rows.
    pub(crate) fn current_plan(&self) -> Result<Plan> {
        self.revalidate()?;
        Ok(self.plan.borrow().clone())
    }

    /// Begins a run with parameters of those types.
    pub(crate) fn start(&self, params: Vec<Datum>, session: &Session) -> Result<Running> {
        guc::note_first_query();
        self.revalidate()?;
        Running::of(&self.plan.borrow(), params, session)
    }

    /// Takes the plan's locks again, and makes another plan if the catalogs are not what they were.
    /// C: `RevalidateCachedQuery`.
    fn revalidate(&self) -> Result<()> {
        let mut plan = self.plan.borrow_mut();
        let path = guc::vars::SEARCH_PATH.get();
        let mut same_path = *self.search_path.borrow() == *path;
        while !same_path || !plan.revalidate()? {
            let params = ParamTypes::Fixed(&self.param_types);
            let fresh = executor::analyze_statement(&self.statement, &self.source, params, &env())?;
            *plan = executor::plan(fresh);
            same_path = true;
            path.to_string().clone_into(&mut self.search_path.borrow_mut());
            if plan.columns() != self.columns {
                return Err(error!(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cached plan must not change result type"
                ));
            }
        }
        Ok(())
    }
}

/// The values of constant expressions, each of the type wanted.
pub(crate) fn constants(args: &[Expr], types: &[Oid], source: &str, session: &Session) -> Result<Row> {
    let plan = executor::plan(executor::analyze_arguments(args, types, source, &env())?);
    let mut running = Running::of(&plan, Vec::new(), session)?;
    let _active = running.activate();
    Ok(running.next()?.unwrap_or_default())
}

/// A query under way, with the snapshot it was begun with.
pub(crate) struct Running {
    execution: Execution,
    calls: Calls,
    /// Keeps what the query sees while its portal rests. C: `queryDesc->snapshot`.
    snapshot: transam::snapshot::Registered,
    /// What it reads.
    tables: Vec<Oid>,
}

impl Running {
    fn of(plan: &Plan, params: Vec<Datum>, session: &Session) -> Result<Running> {
        check_rights(plan)?;
        let snapshot = transam::transaction_snapshot()?;
        let snapshot = transam::snapshot::register(&snapshot);
        let tables = plan.tables().map(|(table, _)| table).collect();
        Ok(Running { execution: plan.start(params), calls: Calls::of(session), snapshot, tables })
    }

    /// Makes the query's snapshot the active one until the guard goes. C: `PushActiveSnapshot` in `PortalRunSelect`.
    pub(crate) fn activate(&self) -> transam::snapshot::ActiveGuard {
        transam::snapshot::push_active(self.snapshot.snapshot())
    }

    /// The next row; the query's snapshot must be active.
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        let execution = &mut self.execution;
        self.calls.with(|calls| execution.next(calls))
    }

    /// Whether a table is part of it.
    pub(crate) fn reads(&self, table: Oid) -> bool {
        self.tables.contains(&table)
    }

    /// [`Running::next`] into a buffer that stays; false behind the last row.
    pub(crate) fn next_into(&mut self, row: &mut Row) -> Result<bool> {
        let execution = &mut self.execution;
        self.calls.with(|calls| execution.next_into(calls, row))
    }

    /// The tag it completes under, with the number of rows. C: `PortalRun`'s `qc`.
    pub(crate) fn command_tag(&self) -> String {
        self.execution.command_tag()
    }
}

fn check_rights(plan: &Plan) -> Result<()> {
    let identity = identity::get();
    let user = &identity.current_user;
    commands::rights::check_plan(user.oid, user.superuser, plan)
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("rows", &self.execution.row_count()).finish_non_exhaustive()
    }
}

/// EXPLAIN: the plan as rows of one column. With ANALYZE the statement runs too, and its rows are dropped.
pub(crate) fn explain(
    options: &[DefElem],
    query: &PreparedQuery,
    params: Vec<Datum>,
    source: &str,
    session: &Session,
) -> Result<Vec<Row>> {
    let options = ExplainOptions::parse(options, source)?;
    check_rights(&query.plan.borrow())?;
    let shown = params.clone();
    if options.analyze {
        let mut running = query.start(params, session)?;
        let _active = running.activate();
        while running.next()?.is_some() {}
    }
    let lines = executor::explain(&query.plan.borrow(), options, &shown);
    Ok(lines.into_iter().map(|line| vec![Datum::text(line)]).collect())
}
