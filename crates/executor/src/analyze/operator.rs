//! Operators, and comparisons of rows.
//!
//! C counterpart: parse_oper.c and `make_row_comparison_op` of parse_expr.c.

use std::rc::Rc;

use common::SqlState;
use elog::Result;
use parser::ast::Name;
use types::oid;
use types::parse_func::{Resolved, resolve_operator};

use super::Analyzer;
use crate::expr::{Expr, Node, RowOp};

impl Analyzer<'_> {
    /// A binary or (without `left`) prefix operator. C: `make_op`.
    pub(super) fn operator(
        &mut self,
        name: &Name,
        left: Option<Expr>,
        right: Expr,
        loc: u32,
    ) -> Result<Expr> {
        let call = self.find_operator(name, left.as_ref(), &right, loc)?;
        let start = left.as_ref().map_or(loc, |l| l.loc.min(loc));
        let args: Vec<Expr> = left.into_iter().chain([right]).collect();
        let (call, args) = self.apply_call(call, args)?;
        Ok(Expr::new(call.ret, start, Node::Call { call, args }))
    }

    fn find_operator(&self, name: &Name, left: Option<&Expr>, right: &Expr, loc: u32) -> Result<Resolved> {
        let (schema, symbol) = match name.as_slice() {
            [symbol] => (None, symbol),
            [schema, symbol] => (Some(schema), symbol),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {}", name.join("."));
                return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
            }
        };
        if let Some(schema) = schema
            && !self.env.schema_exists(schema)
        {
            let message = format!("schema \"{schema}\" does not exist");
            return Err(self.error(SqlState::UNDEFINED_SCHEMA, loc, message));
        }
        // Only pg_catalog has operators; elsewhere one with an impossible name is looked for in vain.
        let found = match schema.is_none_or(|s| s == "pg_catalog") {
            true => resolve_operator(self.env.registry(), symbol, left.map(|l| l.ty), right.ty),
            false => resolve_operator(self.env.registry(), &name.join("."), left.map(|l| l.ty), right.ty),
        };
        found.map(|op| op.call).map_err(|e| self.at(e, loc))
    }

    /// The operator that tells two values apart, with both brought to what it takes.
    pub(super) fn equality(
        &mut self,
        name: &str,
        left: Expr,
        right: Expr,
        loc: u32,
    ) -> Result<(Rc<Resolved>, Expr, Expr)> {
        let call = self.find_operator(&vec![name.to_string()], Some(&left), &right, loc)?;
        let (call, args) = self.apply_call(call, vec![left, right])?;
        let mut args = args.into_iter();
        match (args.next(), args.next()) {
            (Some(left), Some(right)) => Ok((call, left, right)),
            _ => Err(elog::error!(SqlState::INTERNAL_ERROR, "operator {name} lost its operands")),
        }
    }

    /// `row op row`; of one column it is the operator itself.
    pub(super) fn compare_rows(
        &mut self,
        name: &Name,
        left: Vec<Expr>,
        right: Vec<Expr>,
        loc: u32,
    ) -> Result<Expr> {
        if left.len() != right.len() {
            let message = "unequal number of entries in row expressions";
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        if left.is_empty() {
            let message = "cannot compare rows of zero length";
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message));
        }
        let start = left.first().map_or(loc, |l| l.loc);
        let mut pairs: Vec<(Expr, Expr)> = left.into_iter().zip(right).collect();
        if pairs.len() == 1
            && let Some((left, right)) = pairs.pop()
        {
            return self.operator(name, Some(left), right, loc);
        }
        let op = match name.last().map(String::as_str) {
            Some("=") => RowOp::Equal,
            Some("<>") => RowOp::NotEqual,
            Some("<") => RowOp::Less,
            Some("<=") => RowOp::LessEqual,
            Some(">") => RowOp::Greater,
            Some(">=") => RowOp::GreaterEqual,
            other => {
                let message = format!(
                    "could not determine interpretation of row comparison operator {}",
                    other.unwrap_or_default()
                );
                let e = self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message);
                return Err(
                    e.hint("Row comparison operators must be associated with btree operator families.")
                );
            }
        };
        let ordered = !matches!(op, RowOp::Equal | RowOp::NotEqual);
        let (mut equal, mut less, mut coerced) = (Vec::new(), Vec::new(), Vec::new());
        for (left, right) in pairs {
            let (call, left, right) = self.equality("=", left, right, loc)?;
            equal.push(call);
            if ordered {
                let (call, _, _) = self.equality("<", left.clone(), right.clone(), loc)?;
                less.push(call);
            }
            coerced.push((left, right));
        }
        Ok(Expr::new(oid::BOOL, start, Node::RowCompare { op, pairs: coerced, equal, less }))
    }
}
