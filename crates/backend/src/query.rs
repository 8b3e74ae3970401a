//! Queries: what the session gives the executor, and what it gets back.

use std::rc::Rc;

use common::Oid;
use elog::Result;
use executor::{
    Analyzed, Column, Env, Execution, ExplainOptions, ParamTypes, Plan, RelationSource, VirtualRelation,
};
use parser::Statement;
use parser::ast::DefElem;
use types::Datum;
use types::fmgr::{Registry, Session as CallSession};

use crate::identity::{self, Identity};
use crate::transaction::SessionTransaction;
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
        let rows = view.rows;
        Some(VirtualRelation {
            // From the range that a cluster's own first objects get at bootstrap.
            oid: Oid(12_000 + index as u32),
            columns: view.columns.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect(),
            scan: Rc::new(move |_| Ok(Box::new(rows()?.into_iter().map(Ok)))),
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

/// Which parameters a statement may have.
#[derive(Clone, Copy)]
pub(crate) enum Params<'a> {
    /// None: the simple protocol.
    None,
    /// These, and more if they are used; 0 is for "find out".
    Infer(&'a [Oid]),
}

/// A query with its names and types settled.
#[derive(Debug)]
pub(crate) struct PreparedQuery {
    plan: Plan,
}

impl PreparedQuery {
    /// Settles names and types.
    pub(crate) fn new(statement: &Statement, source: &str, params: Params<'_>) -> Result<PreparedQuery> {
        Ok(PreparedQuery { plan: executor::plan(analyze(statement, source, params)?) })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        self.plan.columns()
    }

    pub(crate) fn param_types(&self) -> &[Oid] {
        self.plan.param_types()
    }

    /// Begins a run with parameters of those types.
    pub(crate) fn start(&self, params: Vec<Datum>, transaction: &SessionTransaction) -> Running {
        Running {
            execution: self.plan.start(params),
            transaction_start: transaction.start,
            statement_start: transaction.statement_start,
        }
    }
}

fn analyze(statement: &Statement, source: &str, params: Params<'_>) -> Result<Analyzed> {
    let env = SessionEnv { identity: identity::get() };
    let params = match params {
        Params::None => ParamTypes::Fixed(&[]),
        Params::Infer(types) => ParamTypes::Infer(types),
    };
    executor::analyze_statement(statement, source, params, &env)
}

/// A query under way.
pub(crate) struct Running {
    execution: Execution,
    transaction_start: i64,
    statement_start: i64,
}

impl Running {
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Datum>>> {
        let session = CallSession {
            transaction_timestamp: self.transaction_start,
            statement_timestamp: self.statement_start,
            hooks: &(),
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
    statement: &Statement,
    source: &str,
    transaction: &SessionTransaction,
) -> Result<Vec<Vec<Datum>>> {
    let options = ExplainOptions::parse(options, source)?;
    let query = PreparedQuery::new(statement, source, Params::None)?;
    if options.analyze {
        let mut running = query.start(Vec::new(), transaction);
        while running.next()?.is_some() {}
    }
    let lines = executor::explain(&query.plan, options);
    Ok(lines.into_iter().map(|line| vec![Datum::text(line)]).collect())
}
