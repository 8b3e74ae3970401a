//! UNION, INTERSECT, EXCEPT.
//!
//! C counterpart: `transformSetOperationStmt`, `transformSetOperationTree` of analyze.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::Result;
use parser::ast::{SelectBody, SelectStmt, SetOp};
use parser::start_of;
use types::cast::Context;
use types::oid;

use super::Analyzer;
use super::clause::plain_key;
use super::scope::var;
use super::select::placeholder;
use crate::expr::Expr;
use crate::query::{Body, Column, From, Query, Select, SetOperation};

impl Analyzer<'_> {
    pub(super) fn set_operation(
        &mut self,
        op: SetOp,
        all: bool,
        left: &SelectStmt,
        right: &SelectStmt,
        stmt: &SelectStmt,
    ) -> Result<Query> {
        let left_query = self.query(left, Some(()))?;
        let right_query = self.query(right, Some(()))?;
        let (set, columns) = self.combine(op, all, (left_query, left), (right_query, right))?;
        let order = self.output_order(stmt, &columns, Some(op))?;
        let (limit, offset) = self.limit_clauses(stmt)?;
        let mut query = self.bare_query(Body::SetOp(Rc::new(set)), columns);
        query.order = order;
        query.limit = limit;
        query.offset = offset;
        query.with_ties = stmt.with_ties;
        Ok(query)
    }

    /// Brings the columns of both sides together.
    pub(super) fn combine(
        &mut self,
        op: SetOp,
        all: bool,
        (mut left, _): (Query, &SelectStmt),
        (mut right, right_stmt): (Query, &SelectStmt),
    ) -> Result<(SetOperation, Vec<Column>)> {
        if left.columns.len() != right.columns.len() {
            let message = format!("each {} query must have the same number of columns", op.word());
            return Err(self.error(SqlState::SYNTAX_ERROR, first_target(right_stmt), message));
        }
        let mut columns = Vec::with_capacity(left.columns.len());
        for i in 0..left.columns.len() {
            let sides = [output(&left, i), output(&right, i)];
            let refs: Vec<&Expr> = sides.iter().collect();
            let ty = self.common_type(&refs, op.word())?;
            let typmod = Self::common_typmod(&refs, ty);
            self.retype(&mut left, i, ty)?;
            self.retype(&mut right, i, ty)?;
            columns.push(Column { name: left.columns[i].name.clone(), ty, typmod });
        }
        let mut keys = Vec::new();
        if !all || op != SetOp::Union {
            for (i, column) in columns.iter().enumerate() {
                self.require_equality(&output(&left, i), output(&left, i).loc)?;
                keys.push(plain_key(i, column.ty));
            }
        }
        Ok((SetOperation { op, all, left, right, keys }, columns))
    }

    /// Makes a query return a column as another type.
    pub(super) fn retype(&mut self, query: &mut Query, column: usize, ty: Oid) -> Result<()> {
        if query.columns[column].ty == ty {
            return Ok(());
        }
        let is_key = query.distinct.is_some() || query.order.iter().any(|k| k.column == column);
        let in_place = !is_key || query.columns[column].ty == oid::UNKNOWN;
        match &mut query.body {
            Body::Values(rows) if query.order.is_empty() => {
                for row in Rc::make_mut(rows) {
                    let cell = std::mem::replace(&mut row[column], placeholder());
                    row[column] = self.coerce(cell, ty, -1, Context::Implicit)?;
                }
            }
            Body::Select(select) if in_place => {
                let select = Rc::make_mut(select);
                let target = std::mem::replace(&mut select.targets[column], placeholder());
                select.targets[column] = self.coerce(target, ty, -1, Context::Implicit)?;
                for key in query.distinct.iter_mut().flatten().chain(&mut query.order) {
                    if key.column == column {
                        key.ty = ty;
                    }
                }
            }
            _ => return self.wrap_and_retype(query, column, ty),
        }
        query.columns[column].ty = ty;
        query.columns[column].typmod = -1;
        Ok(())
    }

    /// Puts a SELECT around a query whose own clauses depend on the column as it was. Its frame is its own,
    /// although it shares the depth: the inner query never looks at it.
    fn wrap_and_retype(&mut self, query: &mut Query, column: usize, ty: Oid) -> Result<()> {
        let depth = query.depth;
        let width = query.columns.len();
        let mut columns = query.columns.clone();
        let mut targets: Vec<Expr> =
            columns.iter().enumerate().map(|(slot, c)| var(c.ty, c.typmod, depth, slot)).collect();
        let target = std::mem::replace(&mut targets[column], placeholder());
        targets[column] = self.coerce(target, ty, -1, Context::Implicit)?;
        columns[column] = Column { ty, typmod: -1, ..columns[column].clone() };
        let mut outer = self.bare_query(Body::Values(Rc::new(Vec::new())), columns);
        outer.depth = depth;
        outer.width = width;
        let inner = Rc::new(std::mem::replace(query, outer));
        let from = From::Subquery { alias: "*SELECT*".into(), base: 0, query: inner, lateral: false };
        query.body = Body::Select(Rc::new(Select {
            from: Some(from),
            filter: None,
            aggregate: None,
            having: None,
            set_levels: Vec::new(),
            targets,
        }));
        Ok(())
    }
}

/// What a query returns in a column, for its type and its place in the source.
pub(super) fn output(query: &Query, column: usize) -> Expr {
    let Column { ty, typmod, .. } = query.columns[column];
    let mut expr = match &query.body {
        Body::Select(select) => Expr { loc: select.targets[column].loc, ..var(ty, typmod, 0, 0) },
        Body::Values(rows) => {
            Expr { loc: rows.first().map_or(0, |r| r[column].loc), ..var(ty, typmod, 0, 0) }
        }
        Body::SetOp(set) => output(&set.left, column),
        Body::Modify(modify) => {
            let loc = modify.returning.as_ref().and_then(|r| r.get(column)).map_or(0, |e| e.loc);
            Expr { loc, ..var(ty, typmod, 0, 0) }
        }
    };
    (expr.ty, expr.typmod) = (ty, typmod);
    expr
}

fn first_target(stmt: &SelectStmt) -> u32 {
    match &stmt.body {
        SelectBody::Simple(simple) => simple.targets.first().map_or(stmt.loc, |t| start_of(&t.expr)),
        SelectBody::Values(rows) => rows.first().and_then(|r| r.first()).map_or(stmt.loc, start_of),
        SelectBody::SetOperation { left, .. } => first_target(left),
    }
}
