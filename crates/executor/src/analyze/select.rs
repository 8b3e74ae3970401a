//! A query's clauses, in the order in which they are looked at.
//!
//! C counterpart: `transformSelectStmt`, `transformValuesClause` of analyze.c and parse_target.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::Result;
use parser::ast::{Expr as AstExpr, ExprKind, Indirection, SelectBody, SelectStmt, SimpleSelect, Target};
use parser::start_of;
use types::cast::Context;
use types::{format_type, oid};

use super::Analyzer;
use super::clause::Sorted;
use super::locking::all_conditions;
use super::naming::column_name;
use super::scope::{Clause, Scope, ScopeColumn};
use crate::expr::{Expr, Node};
use crate::query::{Body, Column, Query, Select};

/// An output column while it is being made.
pub(super) struct TargetEntry {
    pub(super) name: String,
    pub(super) expr: Expr,
    /// Only there to sort by.
    pub(super) hidden: bool,
}

impl Analyzer<'_> {
    /// A whole query, in a scope of its own. With `keep_unknown`, columns may stay untyped (the branches of a set
    /// operation, which decide together).
    pub(super) fn query(&mut self, stmt: &SelectStmt, keep_unknown: Option<()>) -> Result<Query> {
        self.check_stack()?;
        self.scopes.push(Scope::new());
        let query = self.query_in_scope(stmt, keep_unknown.is_some());
        self.scopes.pop();
        query
    }

    fn query_in_scope(&mut self, stmt: &SelectStmt, keep_unknown: bool) -> Result<Query> {
        let first_cte = self.ctes.len();
        if let Some(with) = &stmt.with {
            self.with_clause(with)?;
        }
        let ctes = first_cte..self.ctes.len();
        self.check_locking_body(stmt)?;
        self.scope().locking.clone_from(&stmt.locking);
        let mut query = match &stmt.body {
            SelectBody::Simple(simple) => self.simple_select(simple, stmt, keep_unknown)?,
            SelectBody::Values(rows) => self.values(rows, stmt, keep_unknown)?,
            SelectBody::SetOperation { op, all, left, right } => {
                self.set_operation(*op, *all, left, right, stmt)?
            }
        };
        query.ctes = ctes;
        query.width = self.scope().width;
        Ok(query)
    }

    /// A query with nothing around its rows.
    pub(super) fn bare_query(&mut self, body: Body, columns: Vec<Column>) -> Query {
        Query {
            depth: self.depth(),
            width: self.scope().width,
            ctes: 0..0,
            body,
            distinct: None,
            order: Vec::new(),
            offset: None,
            limit: None,
            with_ties: false,
            row_locks: Vec::new(),
            lock_width: 0,
            recheck: None,
            columns,
        }
    }

    fn simple_select(
        &mut self,
        simple: &SimpleSelect,
        stmt: &SelectStmt,
        keep_unknown: bool,
    ) -> Result<Query> {
        if let Some(into) = &simple.into {
            let message = "SELECT ... INTO is not allowed here";
            return Err(self.error(SqlState::SYNTAX_ERROR, into.relation.loc, message));
        }
        let from = self.transform_from(&simple.from)?;
        let scope = self.scope();
        scope.input_width = scope.width;

        let mut targets = self.target_list(&simple.targets)?;
        let filter = self.condition(simple.where_clause.as_ref(), Clause::Where)?;
        let mut having = self.condition(simple.having.as_ref(), Clause::Having)?;
        let Sorted { order, group, distinct } =
            self.sort_clauses(simple, stmt, &mut targets, keep_unknown)?;
        let (limit, offset) = self.limit_clauses(stmt)?;
        if !keep_unknown {
            for target in &mut targets {
                let expr = std::mem::replace(&mut target.expr, placeholder());
                target.expr = self.settle_unknown(expr)?;
            }
        }
        let aggregate = self.aggregation(group, &mut targets, &mut having)?;
        let set_levels = std::mem::take(&mut self.scope().set_levels);
        let columns = visible_columns(&targets);
        let mut select = Select {
            from,
            filter,
            aggregate,
            having,
            set_levels,
            targets: targets.into_iter().map(|t| t.expr).collect(),
        };
        let row_locks = self.row_locks(stmt, &mut select)?;
        let recheck = match row_locks.is_empty() {
            true => None,
            false => all_conditions(select.from.as_ref(), select.filter.as_ref()),
        };
        let lock_width = self.scope().input_width;
        let mut query = self.bare_query(Body::Select(Rc::new(select)), columns);
        query.distinct = distinct;
        query.order = order;
        query.limit = limit;
        query.offset = offset;
        query.with_ties = stmt.with_ties;
        query.row_locks = row_locks;
        query.lock_width = lock_width;
        query.recheck = recheck;
        Ok(query)
    }

    /// WHERE or HAVING.
    pub(super) fn condition(&mut self, expr: Option<&AstExpr>, clause: Clause) -> Result<Option<Expr>> {
        let Some(expr) = expr else { return Ok(None) };
        let condition = self.clause_expr(expr, clause)?;
        self.coerce_to_boolean(condition, clause.words()).map(Some)
    }

    /// An expression that belongs to a clause.
    pub(super) fn clause_expr(&mut self, expr: &AstExpr, clause: Clause) -> Result<Expr> {
        let before = std::mem::replace(&mut self.scope().clause, clause);
        let analyzed = self.expr(expr);
        self.scope().clause = before;
        analyzed
    }

    // --- the target list ---

    fn target_list(&mut self, targets: &[Target]) -> Result<Vec<TargetEntry>> {
        self.target_list_in(targets, Clause::Targets)
    }

    /// A list of output columns that belongs to this clause.
    pub(super) fn target_list_in(&mut self, targets: &[Target], clause: Clause) -> Result<Vec<TargetEntry>> {
        let mut list = Vec::with_capacity(targets.len());
        for target in targets {
            let loc = target.expr.loc;
            let expanded = match &target.expr.kind {
                ExprKind::Star(name) if name.is_empty() => {
                    if self.scope().items.is_empty() {
                        let message = "SELECT * with no tables specified is not valid";
                        return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
                    }
                    self.star(loc)
                }
                ExprKind::Star(name) => self.table_star(name, loc)?,
                ExprKind::Indirection { arg, steps } if steps.last() == Some(&Indirection::Star) => {
                    self.record_star(arg, steps)?
                }
                _ => {
                    let expr = self.clause_expr(&target.expr, clause)?;
                    let name = target.label.clone().unwrap_or_else(|| column_name(&target.expr));
                    list.push(TargetEntry { name, expr, hidden: false });
                    continue;
                }
            };
            let entry = |c: ScopeColumn| TargetEntry { name: c.name, expr: c.expr, hidden: false };
            list.extend(expanded.into_iter().map(entry));
        }
        Ok(list)
    }

    /// `(expression).*`
    fn record_star(&mut self, arg: &AstExpr, steps: &[Indirection]) -> Result<Vec<ScopeColumn>> {
        let [Indirection::Star] = steps else {
            return Err(self.unsupported(arg.loc, "expansion of a nested row"));
        };
        let value = self.clause_expr(arg, Clause::Targets)?;
        let fields = self.record_fields(&value);
        if fields.is_empty() {
            let message = format!("type {} is not composite", format_type(value.ty, -1));
            return Err(self.error(SqlState::WRONG_OBJECT_TYPE, value.loc, message));
        }
        let column = |(index, (name, ty)): (usize, (String, Oid))| {
            let node = Node::Field { arg: Box::new(value.clone()), index };
            ScopeColumn { name, expr: Expr::new(ty, value.loc, node) }
        };
        Ok(fields.into_iter().enumerate().map(column).collect())
    }

    // --- VALUES ---

    fn values(&mut self, rows: &[Vec<AstExpr>], stmt: &SelectStmt, keep_unknown: bool) -> Result<Query> {
        let width = rows.first().map_or(0, Vec::len);
        let mut analyzed: Vec<Vec<Expr>> = Vec::with_capacity(rows.len());
        for row in rows {
            if row.len() != width {
                let loc = row.first().map_or(stmt.loc, start_of);
                let message = "VALUES lists must all be the same length";
                return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
            }
            let row: Result<Vec<Expr>> =
                row.iter().map(|expr| self.clause_expr(expr, Clause::Values)).collect();
            analyzed.push(row?);
        }
        let mut columns = Vec::with_capacity(width);
        for i in 0..width {
            let cells: Vec<&Expr> = analyzed.iter().map(|row| &row[i]).collect();
            let all_unknown = cells.iter().all(|c| c.ty == oid::UNKNOWN);
            let ty =
                if all_unknown && keep_unknown { oid::UNKNOWN } else { self.common_type(&cells, "VALUES")? };
            let typmod = Self::common_typmod(&cells, ty);
            for row in &mut analyzed {
                if ty != oid::UNKNOWN {
                    let cell = std::mem::replace(&mut row[i], placeholder());
                    row[i] = self.coerce_to_common(cell, ty, "VALUES")?;
                }
            }
            columns.push(Column { name: format!("column{}", i + 1), ty, typmod });
        }
        let order = self.output_order(stmt, &columns, None)?;
        let (limit, offset) = self.limit_clauses(stmt)?;
        let mut query = self.bare_query(Body::Values(Rc::new(analyzed)), columns);
        query.order = order;
        query.limit = limit;
        query.offset = offset;
        query.with_ties = stmt.with_ties;
        Ok(query)
    }

    /// A row of expressions without any query around them, each brought to its type.
    pub(super) fn arguments_query(&mut self, args: &[AstExpr], types: &[Oid]) -> Result<Query> {
        self.scopes.push(Scope::new());
        let mut row = Vec::with_capacity(args.len());
        let mut columns = Vec::with_capacity(args.len());
        for (i, (arg, ty)) in args.iter().zip(types).enumerate() {
            let expr = self.clause_expr(arg, Clause::Arguments)?;
            let (from, loc) = (expr.ty, expr.loc);
            let Some(expr) = self.coerce_to(expr, *ty, -1, Context::Assignment)? else {
                let message = format!(
                    "parameter ${} of type {} cannot be coerced to the expected type {}",
                    i + 1,
                    format_type(from, -1),
                    format_type(*ty, -1)
                );
                let e = self.error(SqlState::DATATYPE_MISMATCH, loc, message);
                return Err(e.hint("You will need to rewrite or cast the expression."));
            };
            row.push(expr);
            columns.push(Column { name: format!("column{}", i + 1), ty: *ty, typmod: -1 });
        }
        let mut query = self.bare_query(Body::Values(Rc::new(vec![row])), columns);
        query.width = self.scope().width;
        self.scopes.pop();
        Ok(query)
    }
}

/// Stands in for an expression that is being worked on.
pub(super) fn placeholder() -> Expr {
    Expr::constant(oid::UNKNOWN, 0, types::Datum::Null)
}

fn visible_columns(targets: &[TargetEntry]) -> Vec<Column> {
    let visible = targets.iter().filter(|t| !t.hidden);
    visible.map(|t| Column { name: t.name.clone(), ty: t.expr.ty, typmod: t.expr.typmod }).collect()
}
