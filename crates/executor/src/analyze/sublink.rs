//! Queries within expressions.
//!
//! C counterpart: `transformSubLink` of parse_expr.c.

use std::rc::Rc;

use common::SqlState;
use elog::Result;
use parser::ast::{self, Expr as AstExpr, ExprKind, SelectStmt, Sublink, SublinkKind as AstKind};
use types::type_info::array_type_of;
use types::{format_type, oid};

use super::Analyzer;
use super::scope::var;
use crate::expr::{Expr, Node, SublinkKind};
use crate::query::{Query, SubPlan};

impl Analyzer<'_> {
    pub(super) fn sublink(&mut self, sublink: &Sublink, loc: u32) -> Result<Expr> {
        if let Some(what) = self.scope().clause.forbids_subqueries() {
            let message = format!("cannot use subquery in {what}");
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message));
        }
        match &sublink.kind {
            AstKind::Exists => {
                let (plan, _) = self.subplan(&sublink.query)?;
                Ok(Expr::new(oid::BOOL, loc, Node::Sublink { plan, kind: SublinkKind::Exists }))
            }
            AstKind::Scalar => {
                let (plan, query) = self.one_column(&sublink.query, loc)?;
                let column = &query.columns[0];
                let node = Node::Sublink { plan, kind: SublinkKind::Scalar };
                Ok(Expr { ty: column.ty, typmod: column.typmod, loc, node })
            }
            AstKind::Array => {
                let (plan, query) = self.one_column(&sublink.query, loc)?;
                let elem = query.columns[0].ty;
                let array = array_type_of(elem);
                if !array.is_valid() {
                    let message =
                        format!("could not find array type for data type {}", format_type(elem, -1));
                    return Err(self.error(SqlState::UNDEFINED_OBJECT, loc, message));
                }
                Ok(Expr::new(array, loc, Node::Sublink { plan, kind: SublinkKind::Array { elem } }))
            }
            AstKind::Quantified { test, name, all, negated, op_loc } => {
                let any = self.quantified(test, name, *all, &sublink.query, *op_loc)?;
                if !negated {
                    return Ok(any);
                }
                let loc = any.loc;
                Ok(Expr::new(oid::BOOL, loc, Node::Not(Box::new(any))))
            }
        }
    }

    /// Analyzes a query of the next depth and registers it with the statement.
    fn subplan(&mut self, stmt: &SelectStmt) -> Result<(usize, Rc<Query>)> {
        let outer_reach = std::mem::replace(&mut self.reach, usize::MAX);
        let query = Rc::new(self.query(stmt, None)?);
        let correlated = self.reach < query.depth;
        self.reach = self.reach.min(outer_reach);
        self.subplans.push(SubPlan { query: query.clone(), correlated });
        Ok((self.subplans.len() - 1, query))
    }

    /// A row of several columns as a value: its fields. For `SET (a, b) = (SELECT ...)`.
    pub(super) fn record_sublink(&mut self, stmt: &SelectStmt, loc: u32) -> Result<Vec<Expr>> {
        let (plan, query) = self.subplan(stmt)?;
        let node = Node::Sublink { plan, kind: SublinkKind::Record };
        let record = Expr::new(oid::RECORD, loc, node);
        let field = |(index, column): (usize, &crate::query::Column)| Expr {
            ty: column.ty,
            typmod: column.typmod,
            loc,
            node: Node::Field { arg: Box::new(record.clone()), index },
        };
        Ok(query.columns.iter().enumerate().map(field).collect())
    }

    fn one_column(&mut self, stmt: &SelectStmt, loc: u32) -> Result<(usize, Rc<Query>)> {
        let (plan, query) = self.subplan(stmt)?;
        if query.columns.len() != 1 {
            let message = "subquery must return only one column";
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        Ok((plan, query))
    }

    /// `test op ANY|ALL (query)`, IN.
    fn quantified(
        &mut self,
        test: &AstExpr,
        name: &ast::Name,
        all: bool,
        stmt: &SelectStmt,
        op_loc: u32,
    ) -> Result<Expr> {
        let tests: Vec<&AstExpr> = match &test.kind {
            ExprKind::Row { fields, .. } => fields.iter().collect(),
            _ => vec![test],
        };
        let tests: Result<Vec<Expr>> = tests.into_iter().map(|t| self.expr(t)).collect();
        let tests = tests?;
        let (plan, query) = self.subplan(stmt)?;
        for (too_many, message) in [
            (tests.len() < query.columns.len(), "subquery has too many columns"),
            (tests.len() > query.columns.len(), "subquery has too few columns"),
        ] {
            if too_many {
                return Err(self.error(SqlState::SYNTAX_ERROR, op_loc, message));
            }
        }
        let depth = self.depth();
        let slot = self.scope().allocate(tests.len());
        let equal = vec!["=".to_string()];
        let name = if name.is_empty() { &equal } else { name };
        let columns: Vec<Expr> = query
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| Expr { loc: op_loc, ..var(c.ty, c.typmod, depth, slot + i) })
            .collect();
        let start = tests.first().map_or(op_loc, |t| t.loc);
        let condition = self.compare_rows(name, tests, columns, op_loc)?;
        if condition.ty != oid::BOOL {
            let message = format!(
                "operator {} must return type boolean, not type {}",
                name.join("."),
                format_type(condition.ty, -1)
            );
            return Err(self.error(SqlState::DATATYPE_MISMATCH, op_loc, message));
        }
        let kind = SublinkKind::Quantified { all, depth, slot, condition: Box::new(condition) };
        Ok(Expr::new(oid::BOOL, start, Node::Sublink { plan, kind }))
    }
}
