//! The value of an expression.
//!
//! C counterpart: execExprInterp.c.

use std::cmp::Ordering;
use std::rc::Rc;

use elog::Result;
use parser::ast::ValueFunction;
use types::compare::compare;
use types::parse_func::Resolved;
use types::{Datum, RecordValue, cast, oid};

use super::array;
use super::{Cx, Row};
use crate::expr::{Expr, Node, RowOp};

impl Cx<'_> {
    /// Whether a condition holds: NULL does not.
    #[inline]
    pub(super) fn is_true(&mut self, condition: &Expr) -> Result<bool> {
        Ok(matches!(self.eval(condition)?, Datum::Bool(true)))
    }

    pub(super) fn eval(&mut self, expr: &Expr) -> Result<Datum> {
        match &expr.node {
            Node::Const(value) => Ok(value.clone()),
            Node::Param(index) => Ok(self.shared.params.get(*index).cloned().unwrap_or_default()),
            Node::Var { depth, slot } => Ok(self.shared.frames[*depth][*slot].clone()),
            Node::Call { call, args } => self.call(call, args),
            Node::Coerce { arg, explicit } => {
                let value = self.eval(arg)?;
                cast::coerce(value, arg.ty, expr.ty, expr.typmod, *explicit)
            }
            Node::And(args) => self.logical(args, false),
            Node::Or(args) => self.logical(args, true),
            Node::Not(arg) => Ok(match self.eval(arg)? {
                Datum::Bool(value) => Datum::Bool(!value),
                _ => Datum::Null,
            }),
            Node::IsNull { arg, negated } => {
                let value = self.eval(arg)?;
                Ok(Datum::Bool(is_null(&value, *negated)))
            }
            Node::IsBoolean { arg, value, negated } => {
                let actual = self.eval(arg)?.as_bool();
                Ok(Datum::Bool((actual == *value) != *negated))
            }
            Node::Sublink { plan, kind } => self.sublink(*plan, kind),
            _ => self.eval_construct(expr),
        }
    }

    fn eval_construct(&mut self, expr: &Expr) -> Result<Datum> {
        match &expr.node {
            Node::Case { whens, default } => {
                for (condition, result) in whens {
                    if self.is_true(condition)? {
                        return self.eval(result);
                    }
                }
                default.as_ref().map_or(Ok(Datum::Null), |d| self.eval(d))
            }
            Node::CaseArg { arg, depth, slot, case } => {
                let value = self.eval(arg)?;
                self.set(*depth, *slot, value);
                self.eval(case)
            }
            Node::Coalesce(args) => {
                for arg in args {
                    let value = self.eval(arg)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Node::MinMax { greatest, args } => self.min_max(expr, *greatest, args),
            Node::NullIf { equal, left, right, result } => {
                let (a, b) = (self.eval(left)?, self.eval(right)?);
                let same = !a.is_null() && !b.is_null() && holds(&equal.call(self.session, &[a, b])?);
                if same { Ok(Datum::Null) } else { self.eval(result) }
            }
            Node::IsDistinct { equal, left, right, negated } => {
                Ok(Datum::Bool(self.is_distinct(equal, left, right)? != *negated))
            }
            Node::OpArray { call, all, left, right } => self.op_array(call, *all, left, right),
            Node::Array { elem, items, nested } => {
                let values = self.eval_list(items)?;
                array::build(*elem, values, *nested)
            }
            Node::Row { fields, names } => {
                let values = self.eval_list(fields)?;
                let types = fields.iter().map(|f| f.ty).collect();
                Ok(Datum::Record(Rc::new(RecordValue { types, names: names.clone(), values })))
            }
            Node::RowCompare { op, pairs, equal, less } => self.compare_rows(*op, pairs, equal, less),
            Node::Subscript { arg, indexes } => {
                let value = self.eval(arg)?;
                let indexes = self.eval_list(indexes)?;
                Ok(array::element(&value, &indexes))
            }
            Node::Slice { arg, bounds } => {
                let value = self.eval(arg)?;
                let mut evaluated = Vec::with_capacity(bounds.len());
                for (low, high) in bounds {
                    let mut bound = |b: &Option<Expr>| b.as_ref().map(|e| self.eval(e)).transpose();
                    evaluated.push((bound(low)?, bound(high)?));
                }
                Ok(array::slice(&value, &evaluated))
            }
            Node::Field { arg, index } => Ok(match self.eval(arg)? {
                Datum::Record(record) => record.values.get(*index).cloned().unwrap_or_default(),
                _ => Datum::Null,
            }),
            Node::ValueFunction { function, typmod } => self.value_function(*function, expr, *typmod),
            _ => Ok(Datum::Null),
        }
    }

    /// Two NULLs are not distinct; a NULL and anything else are.
    fn is_distinct(&mut self, equal: &Resolved, left: &Expr, right: &Expr) -> Result<bool> {
        let (a, b) = (self.eval(left)?, self.eval(right)?);
        match (a.is_null(), b.is_null()) {
            (false, false) => Ok(!holds(&equal.call(self.session, &[a, b])?)),
            (x, y) => Ok(x != y),
        }
    }

    fn eval_list(&mut self, list: &[Expr]) -> Result<Row> {
        list.iter().map(|e| self.eval(e)).collect()
    }

    /// [`Cx::eval`], with a short way for the commonest operands: columns and constants of the integer types.
    #[inline]
    fn operand(&mut self, expr: &Expr) -> Result<Datum> {
        let value = match &expr.node {
            Node::Var { depth, slot } => &self.shared.frames[*depth][*slot],
            Node::Const(value) => value,
            _ => return self.eval(expr),
        };
        Ok(match value {
            Datum::Int4(value) => Datum::Int4(*value),
            Datum::Int8(value) => Datum::Int8(*value),
            value => value.clone(),
        })
    }

    /// Few arguments, the common case, need no allocation.
    fn call(&mut self, call: &Resolved, args: &[Expr]) -> Result<Datum> {
        match args {
            [] => call.call(self.session, &[]),
            [a] => {
                let args = [self.operand(a)?];
                call.call(self.session, &args)
            }
            [a, b] => {
                let args = [self.operand(a)?, self.operand(b)?];
                call.call(self.session, &args)
            }
            _ => {
                let args = self.eval_list(args)?;
                call.call(self.session, &args)
            }
        }
    }

    /// AND (`decisive` is false) or OR (true).
    fn logical(&mut self, args: &[Expr], decisive: bool) -> Result<Datum> {
        let mut unknown = false;
        for arg in args {
            match self.eval(arg)?.as_bool() {
                Some(value) if value == decisive => return Ok(Datum::Bool(decisive)),
                Some(_) => {}
                None => unknown = true,
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(!decisive) })
    }

    fn min_max(&mut self, expr: &Expr, greatest: bool, args: &[Expr]) -> Result<Datum> {
        let wanted = if greatest { Ordering::Greater } else { Ordering::Less };
        let mut best = Datum::Null;
        for arg in args {
            let value = self.eval(arg)?;
            if !value.is_null() && (best.is_null() || compare(expr.ty, &value, &best)? == wanted) {
                best = value;
            }
        }
        Ok(best)
    }

    fn op_array(&mut self, call: &Resolved, all: bool, left: &Expr, right: &Expr) -> Result<Datum> {
        let left = self.eval(left)?;
        let array = self.eval(right)?;
        let Datum::Array(array) = array else { return Ok(Datum::Null) };
        let mut unknown = false;
        for item in &array.values {
            match call.call(self.session, &[left.clone(), item.clone()])?.as_bool() {
                None => unknown = true,
                Some(value) if value != all => return Ok(Datum::Bool(value)),
                Some(_) => {}
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
    }

    /// C: `ExecEvalRowCompare` steps; equality goes on past a NULL, as one difference decides.
    fn compare_rows(
        &mut self,
        op: RowOp,
        pairs: &[(Expr, Expr)],
        equal: &[Rc<Resolved>],
        less: &[Rc<Resolved>],
    ) -> Result<Datum> {
        let mut unknown = false;
        for (i, (left, right)) in pairs.iter().enumerate() {
            let args = [self.eval(left)?, self.eval(right)?];
            match equal[i].call(self.session, &args)?.as_bool() {
                Some(true) => {}
                None if less.is_empty() => unknown = true,
                None => return Ok(Datum::Null),
                Some(false) if less.is_empty() => return Ok(Datum::Bool(op == RowOp::NotEqual)),
                Some(false) => {
                    let smaller = less[i].call(self.session, &args)?.as_bool();
                    let wants_smaller = matches!(op, RowOp::Less | RowOp::LessEqual);
                    return Ok(smaller.map_or(Datum::Null, |s| Datum::Bool(s == wants_smaller)));
                }
            }
        }
        Ok(match op {
            _ if unknown => Datum::Null,
            RowOp::Equal | RowOp::LessEqual | RowOp::GreaterEqual => Datum::Bool(true),
            RowOp::NotEqual | RowOp::Less | RowOp::Greater => Datum::Bool(false),
        })
    }

    /// The time functions all show the start of the transaction.
    fn value_function(&self, function: ValueFunction, expr: &Expr, typmod: i32) -> Result<Datum> {
        debug_assert!(!matches!(function, ValueFunction::CurrentUser), "made a call by the analysis");
        let now = Datum::TimestampTz(self.session.transaction_timestamp);
        let typmod = if function == ValueFunction::CurrentDate { -1 } else { typmod };
        cast::coerce(now, oid::TIMESTAMPTZ, expr.ty, typmod, false)
    }
}

fn holds(value: &Datum) -> bool {
    matches!(value, Datum::Bool(true))
}

/// A row is NULL if all its fields are, and NOT NULL if none is.
fn is_null(value: &Datum, negated: bool) -> bool {
    match value {
        Datum::Record(record) => record.values.iter().all(|v| v.is_null() != negated),
        other => other.is_null() != negated,
    }
}
