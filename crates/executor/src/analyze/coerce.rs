//! From the type an expression has to the one that is wanted.
//!
//! C counterpart: parse_coerce.c.

use common::{Oid, SqlState};
use elog::Result;
use types::cast::{self, Context};
use types::parse_func::select_common_type;
use types::{Datum, format_type, io, oid};

use super::Analyzer;
use crate::expr::{Expr, Node};

impl Analyzer<'_> {
    /// Brings an expression to a type, if that is allowed. C: `coerce_to_target_type`.
    pub(super) fn coerce_to(
        &mut self,
        expr: Expr,
        ty: Oid,
        typmod: i32,
        context: Context,
    ) -> Result<Option<Expr>> {
        if !self.can_coerce_expr(&expr, ty, context) {
            return Ok(None);
        }
        self.coerce(expr, ty, typmod, context).map(Some)
    }

    fn can_coerce_expr(&self, expr: &Expr, ty: Oid, context: Context) -> bool {
        cast::can_coerce(expr.ty, ty, context)
    }

    /// Brings an expression to a type; that it may be is known already. C: `coerce_type`.
    pub(super) fn coerce(&mut self, expr: Expr, ty: Oid, typmod: i32, context: Context) -> Result<Expr> {
        let explicit = context == Context::Explicit;
        if expr.ty == oid::UNKNOWN
            && let Node::Param(index) = expr.node
        {
            let loc = expr.loc;
            let param = self.infer_param(index, ty, loc)?;
            return self.coerce(param, ty, typmod, context);
        }
        if (expr.ty == ty && (typmod < 0 || expr.typmod == typmod)) || ty == oid::ANY {
            return Ok(expr);
        }
        if expr.ty == oid::UNKNOWN
            && let Node::Const(value) = &expr.node
        {
            return self.typed_constant(value.clone(), ty, typmod, explicit, expr.loc);
        }
        // The slot of a row of records keeps its type.
        if expr.ty == oid::RECORD && ty == oid::RECORD {
            return Ok(expr);
        }
        let loc = expr.loc;
        let node = Node::Coerce { arg: Box::new(expr), explicit };
        Ok(Expr { ty, typmod, loc, node })
    }

    /// An untyped constant is read as the type wanted, now.
    fn typed_constant(
        &mut self,
        value: Datum,
        ty: Oid,
        typmod: i32,
        explicit: bool,
        loc: u32,
    ) -> Result<Expr> {
        let value = match value {
            Datum::Null => Datum::Null,
            text => {
                let text = text.as_str().unwrap_or_default();
                // Only interval's input needs the modifier; for the others it is a length coercion afterwards.
                let input_typmod = if ty == oid::INTERVAL { typmod } else { -1 };
                let value = io::input(ty, input_typmod, text).map_err(|e| self.at(e, loc))?;
                cast::apply_typmod(value, ty, typmod, explicit)?
            }
        };
        Ok(Expr { ty, typmod, loc, node: Node::Const(value) })
    }

    /// Where only a boolean makes sense. C: `coerce_to_boolean`.
    pub(super) fn coerce_to_boolean(&mut self, expr: Expr, what: &str) -> Result<Expr> {
        self.coerce_to_specific(expr, oid::BOOL, what)
    }

    /// `argument of LIMIT must be type bigint, not type text`. C: `coerce_to_specific_type`.
    pub(super) fn coerce_to_specific(&mut self, expr: Expr, ty: Oid, what: &str) -> Result<Expr> {
        let (from, loc) = (expr.ty, expr.loc);
        match self.coerce_to(expr, ty, -1, Context::Assignment)? {
            Some(expr) => Ok(expr),
            None => Err(self.error(
                SqlState::DATATYPE_MISMATCH,
                loc,
                format!(
                    "argument of {what} must be type {}, not type {}",
                    format_type(ty, -1),
                    format_type(from, -1)
                ),
            )),
        }
    }

    /// The type that all these can be brought to; errors point at the expression that does not fit.
    pub(super) fn common_type(&self, exprs: &[&Expr], context: &str) -> Result<Oid> {
        let types: Vec<Oid> = exprs.iter().map(|e| e.ty).collect();
        select_common_type(&types, context).map_err(|e| {
            // The first prefix that fails tells which one it is.
            let culprit = (1..=types.len()).find(|n| select_common_type(&types[..*n], context).is_err());
            let loc = culprit.and_then(|n| exprs.get(n - 1)).map_or(0, |e| e.loc);
            self.at(e, loc)
        })
    }

    /// The modifier that all share, or none. C: `select_common_typmod`.
    pub(super) fn common_typmod(exprs: &[&Expr], ty: Oid) -> i32 {
        let Some(first) = exprs.first() else { return -1 };
        let alike = exprs.iter().all(|e| e.ty == ty && e.typmod == first.typmod);
        if alike { first.typmod } else { -1 }
    }

    /// C: `coerce_to_common_type`.
    pub(super) fn coerce_to_common(&mut self, expr: Expr, ty: Oid, context: &str) -> Result<Expr> {
        let (from, loc) = (expr.ty, expr.loc);
        match self.coerce_to(expr, ty, -1, Context::Implicit)? {
            Some(expr) => Ok(expr),
            None => Err(self.error(
                SqlState::CANNOT_COERCE,
                loc,
                format!(
                    "{context} could not convert type {} to {}",
                    format_type(from, -1),
                    format_type(ty, -1)
                ),
            )),
        }
    }

    /// An output column that is still untyped is text.
    pub(super) fn settle_unknown(&mut self, expr: Expr) -> Result<Expr> {
        if expr.ty == oid::UNKNOWN { self.coerce(expr, oid::TEXT, -1, Context::Implicit) } else { Ok(expr) }
    }
}
