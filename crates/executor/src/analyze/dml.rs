//! UPDATE and DELETE, and what they have in common with INSERT: assignment, RETURNING, constraints.
//!
//! C counterpart: `transformUpdateStmt`, `transformDeleteStmt`, `transformReturningList` of analyze.c,
//! `transformAssignedExpr` of parse_target.c.

use std::ops::Range;
use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use parser::ast::{
    Assignment, DeleteStmt, Expr as AstExpr, ExprKind, SublinkKind as AstKind, Target, UpdateStmt,
};
use parser::start_of;
use types::cast::Context;
use types::format_type;

use super::Analyzer;
use super::from::system_scope;
use super::insert::null_of;
use super::locking::all_conditions;
use super::scope::{Clause, Scope, var};
use crate::expr::{Expr, Node};
use crate::query::{Action, Body, ChangeSource, Column, From, Modify, Query, Select};
use crate::table::{SYSTEM_COLUMNS, TableInfo};

impl Analyzer<'_> {
    pub(super) fn update(&mut self, stmt: &UpdateStmt) -> Result<Query> {
        self.check_stack()?;
        self.scopes.push(Scope::new());
        let query = self.update_in_scope(stmt);
        self.scopes.pop();
        query
    }

    fn update_in_scope(&mut self, stmt: &UpdateStmt) -> Result<Query> {
        let first_cte = self.ctes.len();
        if let Some(with) = &stmt.with {
            self.with_clause(with)?;
        }
        let ctes = first_cte..self.ctes.len();
        let table = self.target_table(&stmt.relation, "update")?;
        let item = self.table_item(table.clone(), stmt.alias.as_ref(), true)?;
        let old_base = item.slots.start;
        let from = self.transform_from_behind(Some(item), &stmt.from)?;
        let width = self.scope().width;
        self.scope().input_width = width;
        let targets = self.update_targets(stmt, &table, old_base)?;
        let filter = self.condition(stmt.where_clause.as_ref(), Clause::Where)?;
        let change = change_source(from, filter, targets, old_base);
        // From here on the table's name means the new row.
        let base = self.new_row(&table);
        self.modify(table, Action::Update(Rc::new(change)), base, &stmt.returning, ctes)
    }

    pub(super) fn delete(&mut self, stmt: &DeleteStmt) -> Result<Query> {
        self.check_stack()?;
        self.scopes.push(Scope::new());
        let query = self.delete_in_scope(stmt);
        self.scopes.pop();
        query
    }

    fn delete_in_scope(&mut self, stmt: &DeleteStmt) -> Result<Query> {
        let first_cte = self.ctes.len();
        if let Some(with) = &stmt.with {
            self.with_clause(with)?;
        }
        let ctes = first_cte..self.ctes.len();
        let table = self.target_table(&stmt.relation, "delete from")?;
        let item = self.table_item(table.clone(), stmt.alias.as_ref(), true)?;
        let base = item.slots.start;
        let from = self.transform_from_behind(Some(item), &stmt.using)?;
        let width = self.scope().width;
        self.scope().input_width = width;
        let filter = self.condition(stmt.where_clause.as_ref(), Clause::Where)?;
        let change = change_source(from, filter, Vec::new(), base);
        self.modify(table, Action::Delete(Rc::new(change)), base, &stmt.returning, ctes)
    }

    /// The whole new row: what is set, and the old values of all other columns. C: `transformUpdateTargetList`.
    fn update_targets(
        &mut self,
        stmt: &UpdateStmt,
        table: &Rc<TableInfo>,
        old_base: usize,
    ) -> Result<Vec<Expr>> {
        let mut set: Vec<(usize, Expr)> = Vec::new();
        for assignment in &stmt.assignments {
            let values = self.assigned_values(assignment, table)?;
            for (column, value) in values {
                if set.iter().any(|(known, _)| *known == column) {
                    let name = &table.desc.attrs[column].name;
                    return Err(error!(
                        SqlState::SYNTAX_ERROR,
                        "multiple assignments to same column \"{name}\""
                    ));
                }
                set.push((column, value));
            }
        }
        let depth = self.depth();
        let mut targets = Vec::with_capacity(table.natts());
        for (i, attr) in table.desc.attrs.iter().enumerate() {
            let given = set.iter().position(|(column, _)| *column == i).map(|at| set.swap_remove(at).1);
            targets.push(match given {
                Some(value) => value,
                None if attr.is_dropped => null_of(table, i),
                None => var(attr.type_id, attr.typmod, depth, old_base + i),
            });
        }
        Ok(targets)
    }

    /// `a = value`, `(a, b) = (values)`, `(a, b) = (SELECT ...)`.
    fn assigned_values(
        &mut self,
        assignment: &Assignment,
        table: &Rc<TableInfo>,
    ) -> Result<Vec<(usize, Expr)>> {
        let value = &assignment.value;
        if !assignment.multi {
            let (name, loc) = &assignment.columns[0];
            let expr = self.update_value(value)?;
            let column = self.target_column(table, name, *loc)?;
            let expr = match expr {
                Some(expr) => self.assigned(expr, table, column)?,
                None => self.default_or_null(table, column)?,
            };
            return Ok(vec![(column, expr)]);
        }
        let exprs = self.multi_values(value, assignment.columns.len())?;
        let mut values = Vec::with_capacity(exprs.len());
        for ((name, loc), expr) in assignment.columns.iter().zip(exprs) {
            let column = self.target_column(table, name, *loc)?;
            let expr = match expr {
                Some(expr) => self.assigned(expr, table, column)?,
                None => self.default_or_null(table, column)?,
            };
            values.push((column, expr));
        }
        Ok(values)
    }

    /// A value, or `None` for DEFAULT.
    fn update_value(&mut self, value: &AstExpr) -> Result<Option<Expr>> {
        match value.kind {
            ExprKind::Default => Ok(None),
            _ => self.clause_expr(value, Clause::UpdateSource).map(Some),
        }
    }

    /// C: `transformMultiAssignRef`.
    fn multi_values(&mut self, value: &AstExpr, count: usize) -> Result<Vec<Option<Expr>>> {
        let loc = start_of(value);
        let wrong = |this: &Self| {
            let message = "number of columns does not match number of values";
            this.error(SqlState::SYNTAX_ERROR, loc, message)
        };
        match &value.kind {
            ExprKind::Row { fields, .. } => {
                if fields.len() != count {
                    return Err(wrong(self));
                }
                fields.iter().map(|field| self.update_value(field)).collect()
            }
            ExprKind::Sublink(sublink) if sublink.kind == AstKind::Scalar => {
                let columns = self.record_sublink(&sublink.query, value.loc)?;
                if columns.len() != count {
                    return Err(wrong(self));
                }
                Ok(columns.into_iter().map(Some).collect())
            }
            _ => {
                let message =
                    "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message))
            }
        }
    }

    // --- for all three ---

    /// Index of a column that is given a value. C: `attnameAttNum` and its complaint.
    pub(super) fn target_column(&self, table: &TableInfo, name: &str, loc: u32) -> Result<usize> {
        if let Some(index) = table.column(name) {
            return Ok(index);
        }
        // INSERT does not even look for these.
        if heap::system_attribute(name).is_some() && self.scopes.last().is_none_or(|s| s.input_width != 0) {
            let message = format!("cannot assign to system column \"{name}\"");
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message));
        }
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
        Err(self.error(SqlState::UNDEFINED_COLUMN, loc, message))
    }

    /// Brings a value to its column's type. C: `transformAssignedExpr`.
    pub(super) fn assigned(&mut self, expr: Expr, table: &TableInfo, column: usize) -> Result<Expr> {
        let attr = &table.desc.attrs[column];
        let (from, loc) = (expr.ty, expr.loc);
        match self.coerce_to(expr, attr.type_id, attr.typmod, Context::Assignment)? {
            Some(expr) => Ok(expr),
            None => {
                let message = format!(
                    "column \"{}\" is of type {} but expression is of type {}",
                    attr.name,
                    format_type(attr.type_id, -1),
                    format_type(from, -1)
                );
                let e = self.error(SqlState::DATATYPE_MISMATCH, loc, message);
                Err(e.hint("You will need to rewrite or cast the expression."))
            }
        }
    }

    /// Slots for the new row, which the table's name stands for from now on.
    fn new_row(&mut self, table: &TableInfo) -> usize {
        let depth = self.depth();
        let natts = table.natts();
        let base = self.scope().allocate(natts + SYSTEM_COLUMNS.len());
        let live = (0..natts).filter(|i| !table.desc.attrs[*i].is_dropped);
        if let Some(item) = self.scope().items.first_mut() {
            for (column, slot) in item.columns.iter_mut().zip(live) {
                column.expr.node = Node::Var { depth, slot: base + slot };
            }
            item.system = system_scope(depth, base + natts);
        }
        base
    }

    /// The command with its constraints and RETURNING.
    pub(super) fn modify(
        &mut self,
        table: Rc<TableInfo>,
        action: Action,
        base: usize,
        returning: &[Target],
        ctes: Range<usize>,
    ) -> Result<Query> {
        let (returned, columns) = self.returning(returning)?;
        let (not_null, checks) = match action {
            Action::Delete(_) => (Vec::new(), Vec::new()),
            _ => (not_null_columns(&table), self.checks(&table, base)?),
        };
        let system = base + table.natts()..base + table.natts() + SYSTEM_COLUMNS.len();
        let depth = self.depth();
        let mut returns_system = false;
        for expr in returned.iter().flatten() {
            returns_system |= super::from::reads_slots(expr, depth, &system);
        }
        let modify = Modify { table, action, base, not_null, checks, returning: returned, returns_system };
        let mut query = self.bare_query(Body::Modify(Rc::new(modify)), columns);
        query.ctes = ctes;
        Ok(query)
    }

    fn returning(&mut self, returning: &[Target]) -> Result<(Option<Vec<Expr>>, Vec<Column>)> {
        if returning.is_empty() {
            return Ok((None, Vec::new()));
        }
        let targets = self.target_list_in(returning, Clause::Returning)?;
        let mut exprs = Vec::with_capacity(targets.len());
        let mut columns = Vec::with_capacity(targets.len());
        for target in targets {
            let expr = self.settle_unknown(target.expr)?;
            columns.push(Column { name: target.name, ty: expr.ty, typmod: expr.typmod });
            exprs.push(expr);
        }
        Ok((Some(exprs), columns))
    }
}

/// Columns that must not be NULL.
pub(super) fn not_null_columns(table: &TableInfo) -> Vec<usize> {
    let attrs = table.desc.attrs.iter().enumerate();
    attrs.filter(|(_, a)| a.not_null && !a.is_dropped).map(|(i, _)| i).collect()
}

fn change_source(
    from: Option<From>,
    filter: Option<Expr>,
    targets: Vec<Expr>,
    old_base: usize,
) -> ChangeSource {
    let recheck = all_conditions(from.as_ref(), filter.as_ref());
    let select = Select { from, filter, aggregate: None, having: None, set_levels: Vec::new(), targets };
    ChangeSource { select: Rc::new(select), old_base, recheck }
}
