//! Finds out what every name in a statement means and which type every expression has.
//!
//! Read in this order: [`scope`] (what is visible where), `select` (the clauses of a query, in the order in which
//! they are looked at), `from`, then `expr` and its neighbours.
//!
//! C counterpart: src/backend/parser/{analyze,parse_*}.c.

mod agg;
mod call;
mod clause;
mod coerce;
mod dml;
mod expr;
mod from;
mod insert;
mod locking;
mod naming;
mod operator;
mod param;
mod scope;
mod select;
mod setop;
mod sublink;
mod table_expr;
mod typename;
mod with;

pub use table_expr::{CompiledExpr, ExprPurpose, RowRules, columns_read, compile_expr, expr_text};
pub use typename::resolve_type_name;

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use parser::ast::{LockStrength, RangeVar, Statement, TableLockMode};
use parser::{RawStmt, char_position, stack};

use crate::env::{Env, VirtualRelation};
use crate::expr::Expr;
use crate::query::{Analyzed, Cte, Query, SubPlan};
use crate::table::TableInfo;
use scope::Scope;

/// What is known of a statement's parameters beforehand.
#[derive(Clone, Copy, Debug)]
pub enum ParamTypes<'a> {
    /// These and no others; none at all in a simple query.
    Fixed(&'a [Oid]),
    /// The first ones; 0 and those beyond are inferred from their use.
    Infer(&'a [Oid]),
}

/// State of the analysis of one statement. C: `ParseState`.
pub(crate) struct Analyzer<'a> {
    source: &'a str,
    env: &'a dyn Env,
    params: Vec<Oid>,
    infer_params: bool,
    ctes: Vec<Cte>,
    /// For each of `ctes`, the outermost frame it reads.
    cte_reach: Vec<usize>,
    subplans: Vec<SubPlan>,
    /// One for each query that is open, outermost first.
    scopes: Vec<Scope>,
    /// Outermost frame read since the innermost subquery began.
    reach: usize,
    /// A recursive query referred to itself.
    working_used: bool,
    /// Tables with the strongest lock asked for.
    tables: Vec<(Rc<TableInfo>, TableLockMode)>,
    /// Rows are changed somewhere.
    modifies: bool,
    /// Strongest row lock asked for anywhere.
    row_lock: Option<LockStrength>,
}

/// What a name in FROM stands for.
pub(super) enum Relation {
    /// Answered from memory.
    Virtual(VirtualRelation),
    /// With rows.
    Table(Rc<TableInfo>),
}

/// Resolves all names and types of a query. `source` is the text that locations count in.
/// C: `parse_analyze_fixedparams`, `parse_analyze_varparams`.
pub fn analyze(raw: &RawStmt, source: &str, params: ParamTypes<'_>, env: &dyn Env) -> Result<Analyzed> {
    analyze_statement(&raw.stmt, source, params, env)
}

/// [`analyze`] for a statement inside another, as in PREPARE and EXPLAIN.
pub fn analyze_statement(
    statement: &Statement,
    source: &str,
    params: ParamTypes<'_>,
    env: &dyn Env,
) -> Result<Analyzed> {
    let mut analyzer = Analyzer::new(source, params, env);
    let (query, command) = match statement {
        Statement::Select(select) => (analyzer.query(select, None)?, "SELECT"),
        Statement::Insert(insert) => (analyzer.insert(insert)?, "INSERT"),
        Statement::Update(update) => (analyzer.update(update)?, "UPDATE"),
        Statement::Delete(delete) => (analyzer.delete(delete)?, "DELETE"),
        other => return Err(not_supported(other)),
    };
    analyzer.check_params()?;
    let command = match analyzer.row_lock {
        Some(strength) if command == "SELECT" => locking::locking_command(strength),
        _ => command,
    };
    Ok(analyzer.finish(query, command))
}

/// The values of constant expressions, as EXECUTE and CALL take them: each of the type wanted.
/// C: the loop of `EvaluateParams`.
pub fn analyze_arguments(
    args: &[parser::ast::Expr],
    types: &[Oid],
    source: &str,
    env: &dyn Env,
) -> Result<Analyzed> {
    let mut analyzer = Analyzer::new(source, ParamTypes::Fixed(&[]), env);
    let query = analyzer.arguments_query(args, types)?;
    Ok(analyzer.finish(query, "EXECUTE"))
}

impl<'a> Analyzer<'a> {
    fn new(source: &'a str, params: ParamTypes<'_>, env: &'a dyn Env) -> Analyzer<'a> {
        let (types, infer_params) = match params {
            ParamTypes::Fixed(types) => (types, false),
            ParamTypes::Infer(types) => (types, true),
        };
        let params = types.iter().map(|ty| if ty.is_valid() { *ty } else { types::oid::UNKNOWN }).collect();
        Analyzer {
            source,
            env,
            params,
            infer_params,
            ctes: Vec::new(),
            cte_reach: Vec::new(),
            subplans: Vec::new(),
            scopes: Vec::new(),
            reach: usize::MAX,
            working_used: false,
            tables: Vec::new(),
            modifies: false,
            row_lock: None,
        }
    }

    fn finish(self, query: Query, command: &'static str) -> Analyzed {
        Analyzed {
            query,
            ctes: self.ctes,
            subplans: self.subplans,
            param_types: self.params,
            tables: self.tables,
            command,
            modifies: self.modifies,
        }
    }

    // --- errors ---

    /// Points an error at a byte of the source. C: `parser_errposition`.
    fn at(&self, e: PgError, loc: u32) -> PgError {
        if e.position.is_some() { e } else { e.position(char_position(self.source, loc as usize)) }
    }

    fn error(&self, state: SqlState, loc: u32, message: impl AsRef<str>) -> PgError {
        self.at(error!(state, "{}", message.as_ref()), loc)
    }

    fn unsupported(&self, loc: u32, what: &str) -> PgError {
        self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, format!("{what} is not supported yet"))
    }

    fn check_stack(&self) -> Result<()> {
        stack::check()
    }

    // --- scopes ---

    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::new());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    fn depth(&self) -> usize {
        self.scopes.len().saturating_sub(1)
    }

    /// Notes that a frame is read.
    fn reaches(&mut self, depth: usize) {
        self.reach = self.reach.min(depth);
    }

    // --- what is not a query ---

    /// The relation of that name, or PostgreSQL's error about it. C: `parserOpenTable`.
    fn relation(&mut self, relation: &RangeVar, mode: TableLockMode) -> Result<Relation> {
        let (schema, name) = match relation.name.as_slice() {
            [name] => (None, name),
            [schema, name] => (Some(schema), name),
            [database, schema, name] if database == self.env.current_database() => (Some(schema), name),
            _ => {
                return Err(self.error(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    relation.loc,
                    format!("cross-database references are not implemented: \"{}\"", relation.name.join(".")),
                ));
            }
        };
        let schema_name = schema.map(String::as_str);
        if let Some(found) = self.env.lookup(schema_name, name) {
            return Ok(Relation::Virtual(found));
        }
        let Some(table) = self.env.table(schema_name, name, mode).map_err(|e| match e.sqlstate {
            // C: `pcb_error_callback` makes the same exception.
            SqlState::QUERY_CANCELED => e,
            _ => self.at(e, relation.loc),
        })?
        else {
            let shown = schema.map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"));
            let message = format!("relation \"{shown}\" does not exist");
            return Err(self.error(SqlState::UNDEFINED_TABLE, relation.loc, message));
        };
        match table.kind {
            b'r' | b'p' | b'm' | b't' => {}
            b'i' | b'I' | b'c' => {
                let what = if table.kind == b'c' { "composite types" } else { "indexes" };
                let message = format!("cannot open relation \"{}\"", table.name);
                return Err(self
                    .error(SqlState::WRONG_OBJECT_TYPE, relation.loc, message)
                    .detail(format!("This operation is not supported for {what}.")));
            }
            _ => return Err(self.unsupported(relation.loc, "this kind of relation")),
        }
        self.note_table(&table, mode);
        Ok(Relation::Table(table))
    }

    /// Remembers what a run of the plan has to lock.
    fn note_table(&mut self, table: &Rc<TableInfo>, mode: TableLockMode) {
        match self.tables.iter_mut().find(|(known, _)| known.oid == table.oid) {
            Some((_, known)) if *known as u8 >= mode as u8 => {}
            Some((_, known)) => *known = mode,
            None => self.tables.push((table.clone(), mode)),
        }
    }

    /// The table that a command changes. C: `setTargetTable`.
    fn target_table(&mut self, relation: &RangeVar, verb: &str) -> Result<Rc<TableInfo>> {
        match self.relation(relation, TableLockMode::RowExclusive)? {
            // Caches would not learn of it.
            Relation::Table(table) if table.is_catalog => {
                Err(self.unsupported(relation.loc, "a change of a system catalog by hand"))
            }
            Relation::Table(table) => {
                self.modifies = true;
                Ok(table)
            }
            Relation::Virtual(_) => Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cannot {verb} view \"{}\"",
                relation.parts().2
            )),
        }
    }

    /// Types that stayed open although parameters were to be inferred. C: `check_variable_parameters`.
    fn check_params(&self) -> Result<()> {
        match self.params.iter().position(|ty| *ty == types::oid::UNKNOWN) {
            Some(n) => Err(error!(
                SqlState::INDETERMINATE_DATATYPE,
                "could not determine data type of parameter ${}",
                n + 1
            )),
            None => Ok(()),
        }
    }

    /// A copy of an expression's place with another.
    fn located(&self, mut expr: Expr, loc: u32) -> Expr {
        expr.loc = loc;
        expr
    }
}

/// `CREATE TABLE is not supported yet`.
pub fn not_supported(statement: &Statement) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{} is not supported yet", statement.command_tag())
}
