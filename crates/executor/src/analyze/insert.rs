//! INSERT.
//!
//! The target's columns have slots in the command's own frame, where CHECK constraints and RETURNING read the new
//! row; the query that brings the rows has a frame one deeper and sees none of them.
//!
//! C counterpart: `transformInsertStmt`, `transformInsertRow`, `transformOnConflictClause` of analyze.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use parser::ast::{Expr as AstExpr, ExprKind, InsertStmt, OnConflict, SelectBody, SelectStmt};
use parser::start_of;

use super::Analyzer;
use super::scope::{Clause, Scope, var};
use super::select::placeholder;
use crate::expr::{Expr, Node};
use crate::query::{Action, Body, Column, InsertValue, Query, Select};
use crate::table::TableInfo;

/// The columns that the source's columns go to: index, and where the name is written if it is.
type Targets = Vec<(usize, Option<u32>)>;

/// The query, for each of the first target columns where its value comes from, and the slots that the query's row has
/// to be put in, if any value is computed from it.
type Rows = (Query, Vec<InsertValue>, Option<usize>);

impl Analyzer<'_> {
    pub(super) fn insert(&mut self, stmt: &InsertStmt) -> Result<Query> {
        self.check_stack()?;
        self.scopes.push(Scope::new());
        let query = self.insert_in_scope(stmt);
        self.scopes.pop();
        query
    }

    fn insert_in_scope(&mut self, stmt: &InsertStmt) -> Result<Query> {
        let first_cte = self.ctes.len();
        if let Some(with) = &stmt.with {
            self.with_clause(with)?;
        }
        let ctes = first_cte..self.ctes.len();
        let table = self.target_table(&stmt.relation, "insert into")?;
        let item = self.table_item(table.clone(), stmt.alias.as_ref(), true)?;
        let base = item.slots.start;
        let targets = self.insert_targets(stmt, &table)?;
        let depth = self.depth();
        self.scopes[depth].hidden = true;
        let rows = match &stmt.source {
            Some(source) => self.insert_source(source, &table, &targets, !stmt.columns.is_empty()),
            None => Ok(None),
        };
        self.scopes[depth].hidden = false;
        let rows = rows?;
        let mut values = self.default_values(&table)?;
        let mut source_base = None;
        let source = match rows {
            Some((query, sources, slots)) => {
                source_base = slots;
                for ((column, _), value) in targets.iter().zip(sources) {
                    values[*column] = value;
                }
                Some(Rc::new(query))
            }
            None => None,
        };
        if let Some(clause) = &stmt.on_conflict {
            self.on_conflict(clause, &table)?;
        }
        let action = Action::Insert { source, values, source_base };
        self.modify(table, action, base, &stmt.returning, ctes)
    }

    /// C: `checkInsertTargets`.
    fn insert_targets(&self, stmt: &InsertStmt, table: &TableInfo) -> Result<Targets> {
        if stmt.columns.is_empty() {
            let live = table.desc.attrs.iter().enumerate().filter(|(_, a)| !a.is_dropped);
            return Ok(live.map(|(i, _)| (i, None)).collect());
        }
        let mut targets: Targets = Vec::with_capacity(stmt.columns.len());
        for (name, loc) in &stmt.columns {
            let column = self.target_column(table, name, *loc)?;
            if targets.iter().any(|(known, _)| *known == column) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(self.error(SqlState::DUPLICATE_COLUMN, *loc, message));
            }
            targets.push((column, Some(*loc)));
        }
        Ok(targets)
    }

    /// The rows, and for each target column where its value comes from.
    fn insert_source(
        &mut self,
        source: &SelectStmt,
        table: &Rc<TableInfo>,
        targets: &Targets,
        named: bool,
    ) -> Result<Option<Rows>> {
        let plain = source.with.is_none()
            && source.order_by.is_empty()
            && source.limit.is_none()
            && source.offset.is_none()
            && source.locking.is_empty();
        let (query, count) = match &source.body {
            SelectBody::Values(rows) if plain => {
                self.scopes.push(Scope::new());
                let query = self.insert_values(rows, table, targets, named);
                self.scopes.pop();
                let query = query?;
                let count = query.columns.len();
                (query, count)
            }
            _ => {
                let query = self.query(source, Some(()))?;
                let first = |i: usize| super::setop::output(&query, i).loc;
                self.check_width(query.columns.len(), targets, named, first)?;
                return self.insert_query(query, table, targets).map(Some);
            }
        };
        Ok(Some((query, (0..count).map(InsertValue::Column).collect(), None)))
    }

    fn check_width(
        &self,
        width: usize,
        targets: &Targets,
        named: bool,
        place: impl Fn(usize) -> u32,
    ) -> Result<()> {
        if width > targets.len() {
            let message = "INSERT has more expressions than target columns";
            return Err(self.error(SqlState::SYNTAX_ERROR, place(targets.len()), message));
        }
        if named && width < targets.len() {
            let loc = targets[width].1.unwrap_or(0);
            let message = "INSERT has more target columns than expressions";
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        Ok(())
    }

    /// VALUES, each value brought to its column's type, DEFAULT replaced by what it stands for.
    fn insert_values(
        &mut self,
        rows: &[Vec<AstExpr>],
        table: &Rc<TableInfo>,
        targets: &Targets,
        named: bool,
    ) -> Result<Query> {
        let width = rows.first().map_or(0, Vec::len);
        let clause = if rows.len() == 1 { Clause::ValuesSingle } else { Clause::Values };
        let mut analyzed = Vec::with_capacity(rows.len());
        for row in rows {
            if row.len() != width {
                let loc = row.first().map_or(0, start_of);
                return Err(self.error(
                    SqlState::SYNTAX_ERROR,
                    loc,
                    "VALUES lists must all be the same length",
                ));
            }
            let mut values = Vec::with_capacity(width);
            let mut exprs = Vec::with_capacity(width);
            for expr in row {
                exprs.push(match expr.kind {
                    ExprKind::Default => None,
                    _ => Some(self.clause_expr(expr, clause)?),
                });
            }
            self.check_width(width, targets, named, |i| start_of(&row[i]))?;
            for (expr, (column, _)) in exprs.into_iter().zip(targets) {
                values.push(match expr {
                    None => self.default_or_null(table, *column)?,
                    Some(expr) => self.assigned(expr, table, *column)?,
                });
            }
            analyzed.push(values);
        }
        let columns = targets.iter().take(width).map(|(i, _)| target_as_column(table, *i)).collect();
        let set_levels = std::mem::take(&mut self.scope().set_levels);
        let body = match analyzed.pop() {
            Some(only) if !set_levels.is_empty() => Body::Select(Rc::new(Select {
                from: None,
                filter: None,
                aggregate: None,
                having: None,
                set_levels,
                targets: only,
            })),
            last => {
                analyzed.extend(last);
                Body::Values(Rc::new(analyzed))
            }
        };
        Ok(self.bare_query(body, columns))
    }

    /// A query whose columns are brought to the types of the target's, row by row where that cannot be done within.
    fn insert_query(&mut self, mut query: Query, table: &Rc<TableInfo>, targets: &Targets) -> Result<Rows> {
        let width = query.columns.len();
        let depth = self.depth();
        let source_base = self.scope().allocate(width);
        let mut values = Vec::with_capacity(width);
        for (i, (column, _)) in targets.iter().take(width).enumerate() {
            if query.columns[i].ty == types::oid::UNKNOWN {
                let ty = table.desc.attrs[*column].type_id;
                self.retype(&mut query, i, ty)?;
            }
            let Column { ty, typmod, .. } = query.columns[i];
            let loc = super::setop::output(&query, i).loc;
            let expr = Expr { loc, ..var(ty, typmod, depth, source_base + i) };
            let assigned = self.assigned(expr, table, *column)?;
            values.push(match assigned.node {
                Node::Var { .. } => InsertValue::Column(i),
                _ => InsertValue::Value(assigned),
            });
        }
        let computed = values.iter().any(|v| matches!(v, InsertValue::Value(_)));
        Ok((query, values, computed.then_some(source_base)))
    }

    fn default_values(&mut self, table: &Rc<TableInfo>) -> Result<Vec<InsertValue>> {
        (0..table.natts()).map(|i| self.default_or_null(table, i).map(InsertValue::Value)).collect()
    }

    /// There are no unique indexes, so nothing can be in conflict; a target to infer one from cannot be met.
    fn on_conflict(&self, clause: &OnConflict, table: &TableInfo) -> Result<()> {
        if let Some(name) = &clause.constraint {
            return Err(error!(
                SqlState::UNDEFINED_OBJECT,
                "constraint \"{name}\" for table \"{}\" does not exist", table.name
            ));
        }
        if !clause.columns.is_empty() {
            return Err(error!(
                SqlState::INVALID_COLUMN_REFERENCE,
                "there is no unique or exclusion constraint matching the ON CONFLICT specification"
            ));
        }
        if clause.update.is_some() {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(self
                .error(SqlState::SYNTAX_ERROR, clause.loc, message)
                .hint("For example, ON CONFLICT (column_name)."));
        }
        Ok(())
    }
}

fn target_as_column(table: &TableInfo, index: usize) -> Column {
    let attr = &table.desc.attrs[index];
    Column { name: attr.name.to_string(), ty: attr.type_id, typmod: attr.typmod }
}

/// What a dropped column gets.
pub(super) fn null_of(table: &TableInfo, index: usize) -> Expr {
    let attr = &table.desc.attrs[index];
    Expr { ty: attr.type_id, typmod: attr.typmod, ..placeholder() }
}
