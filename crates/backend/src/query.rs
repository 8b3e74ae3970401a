//! Queries: what the session gives the executor, and what it gets back.

use std::rc::Rc;

use common::Oid;
use elog::Result;
use executor::{Column, Env, Execution, ExplainOptions, ParamTypes, Plan, RelationSource, VirtualRelation};
use parser::Statement;
use parser::ast::{DefElem, Expr};
use types::Datum;
use types::fmgr::{Registry, Session as CallSession};

use crate::identity::{self, Identity};
use crate::objects::Objects;
use crate::portal::Row;
use crate::session::Session;
use crate::views::VIEWS;

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
            // From the range that a cluster's own first objects get at bootstrap.
            oid: Oid(12_000 + index as u32),
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
}

fn env() -> SessionEnv {
    SessionEnv { identity: identity::get() }
}

/// Which parameters a statement may have.
#[derive(Clone, Copy)]
pub(crate) enum Params<'a> {
    /// None: the simple protocol.
    None,
    /// These, and more if they are used; 0 is for "find out".
    Infer(&'a [Oid]),
}

/// A query with its names and types settled.
#[derive(Clone, Debug)]
pub(crate) struct PreparedQuery {
    plan: Plan,
}

impl PreparedQuery {
    /// Settles names and types.
    pub(crate) fn new(statement: &Statement, source: &str, params: Params<'_>) -> Result<PreparedQuery> {
        guc::note_first_query();
        let params = match params {
            Params::None => ParamTypes::Fixed(&[]),
            Params::Infer(types) => ParamTypes::Infer(types),
        };
        let analyzed = executor::analyze_statement(statement, source, params, &env())?;
        Ok(PreparedQuery { plan: executor::plan(analyzed) })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        self.plan.columns()
    }

    pub(crate) fn param_types(&self) -> &[Oid] {
        self.plan.param_types()
    }

    /// Begins a run with parameters of those types.
    pub(crate) fn start(&self, params: Vec<Datum>, session: &Session) -> Running {
        guc::note_first_query();
        Running::of(&self.plan, params, session)
    }
}

/// The values of constant expressions, each of the type wanted.
pub(crate) fn constants(args: &[Expr], types: &[Oid], source: &str, session: &Session) -> Result<Row> {
    let plan = executor::plan(executor::analyze_arguments(args, types, source, &env())?);
    Ok(Running::of(&plan, Vec::new(), session).next()?.unwrap_or_default())
}

/// A query under way.
pub(crate) struct Running {
    execution: Execution,
    transaction_start: i64,
    statement_start: i64,
    /// For the views about the session itself.
    objects: Rc<Objects>,
}

impl Running {
    fn of(plan: &Plan, params: Vec<Datum>, session: &Session) -> Running {
        Running {
            execution: plan.start(params),
            transaction_start: session.transaction.start,
            statement_start: session.transaction.statement_start,
            objects: Rc::clone(&session.objects),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        let session = CallSession {
            transaction_timestamp: self.transaction_start,
            statement_timestamp: self.statement_start,
            hooks: &self.objects,
            check_interrupts: miscinit::interrupt::check,
        };
        self.execution.next(&session)
    }
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
    if options.analyze {
        let mut running = query.start(params, session);
        while running.next()?.is_some() {}
    }
    let lines = executor::explain(&query.plan, options);
    Ok(lines.into_iter().map(|line| vec![Datum::text(line)]).collect())
}
