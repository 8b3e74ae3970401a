//! Expressions.
//!
//! C counterpart: parse_expr.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::Result;
use parser::ast::{self, Expr as AstExpr, ExprKind, Indirection, LikeKind, TypeName, ValueFunction};
use parser::{like_operator, start_of};
use types::cast::Context;
use types::parse_func::resolve_function;
use types::type_info::{array_type_of, element_type_of};
use types::{Datum, format_type, io, oid};

use super::Analyzer;
use super::naming::value_function_name;
use super::scope::var;
use crate::expr::{Expr, Node};

impl Analyzer<'_> {
    /// C: `transformExprRecurse`.
    pub(super) fn expr(&mut self, expr: &AstExpr) -> Result<Expr> {
        self.check_stack()?;
        let loc = expr.loc;
        match &expr.kind {
            ExprKind::Integer(value) => Ok(Expr::constant(oid::INT4, loc, Datum::Int4(*value))),
            ExprKind::Float(digits) => self.number(digits, loc),
            ExprKind::String(text) => Ok(Expr::constant(oid::UNKNOWN, loc, Datum::text(text))),
            ExprKind::BitString(text) => {
                let value = io::input(oid::BIT, -1, text).map_err(|e| self.at(e, loc))?;
                Ok(Expr::constant(oid::BIT, loc, value))
            }
            ExprKind::Boolean(value) => Ok(Expr::constant(oid::BOOL, loc, Datum::Bool(*value))),
            ExprKind::Null => Ok(Expr::constant(oid::UNKNOWN, loc, Datum::Null)),
            ExprKind::Param(number) => self.param_ref(*number, loc),
            ExprKind::Column(name) => self.column_ref(name, loc),
            ExprKind::Function(call) => self.function(call, loc),
            ExprKind::Op { name, left, right } => self.operator_expr(name, left.as_deref(), right, loc),
            ExprKind::And(args) => self.logical(args, "AND", loc),
            ExprKind::Or(args) => self.logical(args, "OR", loc),
            ExprKind::Not(arg) => {
                let arg = self.expr(arg)?;
                let arg = self.coerce_to_boolean(arg, "NOT")?;
                Ok(Expr::new(oid::BOOL, loc, Node::Not(Box::new(arg))))
            }
            ExprKind::Cast { arg, type_name } => self.cast(arg, type_name, expr),
            ExprKind::IsNull { arg, negated } => {
                let arg = Box::new(self.expr(arg)?);
                let start = arg.loc;
                Ok(Expr::new(oid::BOOL, start, Node::IsNull { arg, negated: *negated }))
            }
            ExprKind::IsBoolean { arg, value, negated } => self.is_boolean(arg, *value, *negated),
            ExprKind::Sublink(sublink) => self.sublink(sublink, loc),
            _ => self.construct(expr),
        }
    }

    /// The rest: constructs that do not evaluate all their operands, or build values.
    fn construct(&mut self, expr: &AstExpr) -> Result<Expr> {
        let loc = expr.loc;
        match &expr.kind {
            ExprKind::Case { arg, whens, default } => {
                self.case(arg.as_deref(), whens, default.as_deref(), loc)
            }
            ExprKind::Coalesce(args) => {
                let (args, ty, typmod) = self.alike(args, "COALESCE")?;
                Ok(Expr { ty, typmod, loc, node: Node::Coalesce(args) })
            }
            ExprKind::MinMax { greatest, args } => {
                let word = if *greatest { "GREATEST" } else { "LEAST" };
                let (args, ty, typmod) = self.alike(args, word)?;
                Ok(Expr { ty, typmod, loc, node: Node::MinMax { greatest: *greatest, args } })
            }
            ExprKind::NullIf(left, right) => self.null_if(left, right, loc),
            ExprKind::IsDistinct { left, right, negated } => self.is_distinct(left, right, *negated, loc),
            ExprKind::InList { left, list, negated } => self.in_list(left, list, *negated, loc),
            ExprKind::Between { arg, low, high, symmetric, negated } => {
                self.between(arg, (low, high), *symmetric, *negated, loc)
            }
            ExprKind::Like { kind, left, right, negated } => self.like(*kind, left, right, *negated, loc),
            ExprKind::OpArray { name, all, left, right } => self.op_array(name, *all, left, right, loc),
            ExprKind::Array(items) => self.array(items, Oid::INVALID, loc),
            ExprKind::Row { fields, .. } => {
                let mut exprs = Vec::with_capacity(fields.len());
                for field in fields {
                    match &field.kind {
                        ExprKind::Star(name) if !name.is_empty() => {
                            exprs.extend(self.table_star(name, field.loc)?.into_iter().map(|c| c.expr));
                        }
                        _ => exprs.push(self.expr(field)?),
                    }
                }
                Ok(Expr::new(oid::RECORD, loc, Node::Row { fields: exprs, names: Vec::new() }))
            }
            ExprKind::Indirection { arg, steps } => self.indirection(arg, steps),
            ExprKind::Collate { arg, collation } => self.collate(arg, collation, loc),
            ExprKind::ValueFunction { function, precision } => {
                self.value_function(*function, precision.unwrap_or(-1), loc)
            }
            ExprKind::Star(name) if !name.is_empty() => self.row_of(name, loc),
            ExprKind::Star(_) => {
                Err(self.error(SqlState::SYNTAX_ERROR, loc, "row expansion via \"*\" is not supported here"))
            }
            ExprKind::Default => {
                Err(self.error(SqlState::SYNTAX_ERROR, loc, "DEFAULT is not allowed in this context"))
            }
            ExprKind::Unsupported(what) => Err(self.unsupported(loc, what)),
            other => Err(self.unsupported(loc, &format!("{other:?}"))),
        }
    }

    /// The narrowest type that holds a number. C: `make_const`.
    fn number(&self, digits: &str, loc: u32) -> Result<Expr> {
        if let Ok(value) = digits.parse::<i64>() {
            return Ok(match i32::try_from(value) {
                Ok(small) => Expr::constant(oid::INT4, loc, Datum::Int4(small)),
                Err(_) => Expr::constant(oid::INT8, loc, Datum::Int8(value)),
            });
        }
        let value = io::input(oid::NUMERIC, -1, digits).map_err(|e| self.at(e, loc))?;
        Ok(Expr::constant(oid::NUMERIC, loc, value))
    }

    fn operator_expr(
        &mut self,
        name: &ast::Name,
        left: Option<&AstExpr>,
        right: &AstExpr,
        loc: u32,
    ) -> Result<Expr> {
        if let (Some(ExprKind::Row { fields: a, .. }), ExprKind::Row { fields: b, .. }) =
            (left.map(|l| &l.kind), &right.kind)
        {
            let left: Result<Vec<Expr>> = a.iter().map(|f| self.expr(f)).collect();
            let right: Result<Vec<Expr>> = b.iter().map(|f| self.expr(f)).collect();
            return self.compare_rows(name, left?, right?, loc);
        }
        let left = match left {
            Some(left) => Some(self.expr(left)?),
            None => None,
        };
        let right = self.expr(right)?;
        self.operator(name, left, right, loc)
    }

    fn logical(&mut self, args: &[AstExpr], word: &str, loc: u32) -> Result<Expr> {
        let mut list = Vec::with_capacity(args.len());
        for arg in args {
            let arg = self.expr(arg)?;
            list.push(self.coerce_to_boolean(arg, word)?);
        }
        let node = if word == "AND" { Node::And(list) } else { Node::Or(list) };
        Ok(Expr::new(oid::BOOL, args.first().map_or(loc, start_of), node))
    }

    /// C: `transformTypeCast`.
    fn cast(&mut self, arg: &AstExpr, type_name: &TypeName, cast: &AstExpr) -> Result<Expr> {
        let (ty, typmod) = self.type_name(type_name)?;
        let elem = element_type_of(ty);
        let value = match &arg.kind {
            ExprKind::Array(items) if elem.is_valid() => self.array(items, ty, arg.loc)?,
            _ => self.expr(arg)?,
        };
        let from = value.ty;
        match self.coerce_to(value, ty, typmod, Context::Explicit)? {
            Some(mut expr) => {
                // A constant stays where it is written.
                if !matches!(expr.node, Node::Const(_)) {
                    expr.loc = start_of(cast);
                }
                Ok(expr)
            }
            None => {
                let message =
                    format!("cannot cast type {} to {}", format_type(from, -1), format_type(ty, -1));
                Err(self.error(SqlState::CANNOT_COERCE, cast.loc, message))
            }
        }
    }

    fn is_boolean(&mut self, arg: &AstExpr, value: Option<bool>, negated: bool) -> Result<Expr> {
        let arg = self.expr(arg)?;
        let word = match value {
            Some(true) => "TRUE",
            Some(false) => "FALSE",
            None => "UNKNOWN",
        };
        let what = format!("IS {}{word}", if negated { "NOT " } else { "" });
        let arg = Box::new(self.coerce_to_boolean(arg, &what)?);
        Ok(Expr::new(oid::BOOL, arg.loc, Node::IsBoolean { arg, value, negated }))
    }

    /// Expressions brought to one type.
    fn alike(&mut self, args: &[AstExpr], word: &'static str) -> Result<(Vec<Expr>, Oid, i32)> {
        let before = self.scope().conditional;
        if word == "COALESCE" {
            self.scope().conditional = Some(word);
        }
        let list: Result<Vec<Expr>> = args.iter().map(|arg| self.expr(arg)).collect();
        self.scope().conditional = before;
        self.make_alike(list?, word)
    }

    fn make_alike(&mut self, list: Vec<Expr>, word: &str) -> Result<(Vec<Expr>, Oid, i32)> {
        let refs: Vec<&Expr> = list.iter().collect();
        let ty = self.common_type(&refs, word)?;
        let typmod = Self::common_typmod(&refs, ty);
        let list: Result<Vec<Expr>> = list.into_iter().map(|e| self.coerce_to_common(e, ty, word)).collect();
        Ok((list?, ty, typmod))
    }

    fn null_if(&mut self, left: &AstExpr, right: &AstExpr, loc: u32) -> Result<Expr> {
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let unknown = left.ty == oid::UNKNOWN;
        let original = left.clone();
        let (equal, left, right) = self.equality("=", left, right, loc)?;
        // The result is the first argument as it was, unless it had no type of its own.
        let result = if unknown { left.clone() } else { original };
        let (ty, typmod) = (result.ty, result.typmod);
        let node =
            Node::NullIf { equal, left: Box::new(left), right: Box::new(right), result: Box::new(result) };
        Ok(Expr { ty, typmod, loc, node })
    }

    fn is_distinct(&mut self, left: &AstExpr, right: &AstExpr, negated: bool, loc: u32) -> Result<Expr> {
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let start = left.loc;
        // Against a bare NULL it is IS NULL, whatever the type.
        for (null, other) in [(&right, &left), (&left, &right)] {
            if null.is_null_const() && null.ty == oid::UNKNOWN {
                let node = Node::IsNull { arg: Box::new(other.clone()), negated: !negated };
                return Ok(Expr::new(oid::BOOL, start, node));
            }
        }
        let (equal, left, right) = self.equality("=", left, right, loc)?;
        let node = Node::IsDistinct { equal, left: Box::new(left), right: Box::new(right), negated };
        Ok(Expr::new(oid::BOOL, start, node))
    }

    /// C: `transformAExprIn`.
    fn in_list(&mut self, left: &AstExpr, list: &[AstExpr], negated: bool, loc: u32) -> Result<Expr> {
        let op = vec![if negated { "<>" } else { "=" }.to_string()];
        let is_row = |e: &AstExpr| matches!(e.kind, ExprKind::Row { .. });
        if !is_row(left) && list.len() > 1 {
            let test = self.expr(left)?;
            let items: Result<Vec<Expr>> = list.iter().map(|e| self.expr(e)).collect();
            let items = items?;
            let types: Vec<Oid> = std::iter::once(test.ty).chain(items.iter().map(|e| e.ty)).collect();
            let common = types::parse_func::select_common_type(&types, "IN").ok();
            let array = common.map_or(Oid::INVALID, array_type_of);
            if let Some(elem) = common.filter(|_| array.is_valid()) {
                let start = test.loc;
                let coerced: Result<Vec<Expr>> =
                    items.into_iter().map(|e| self.coerce_to_common(e, elem, "IN")).collect();
                let probe = var(elem, -1, 0, 0);
                let (call, left, _) = self.equality(&op[0], test, probe, loc)?;
                let node = Node::Array { elem, items: coerced?, nested: false };
                let right = Box::new(Expr::new(array, loc, node));
                let node = Node::OpArray { call, all: negated, left: Box::new(left), right };
                return Ok(Expr::new(oid::BOOL, start, node));
            }
        }
        let mut comparisons = Vec::with_capacity(list.len());
        for item in list {
            let comparison = self.operator_expr(&op, Some(left), item, loc)?;
            comparisons.push(self.coerce_to_boolean(comparison, if negated { "AND" } else { "OR" })?);
        }
        if comparisons.len() == 1
            && let Some(only) = comparisons.pop()
        {
            return Ok(only);
        }
        let node = if negated { Node::And(comparisons) } else { Node::Or(comparisons) };
        Ok(Expr::new(oid::BOOL, start_of(left), node))
    }

    /// C: `transformAExprBetween`.
    fn between(
        &mut self,
        arg: &AstExpr,
        (low, high): (&AstExpr, &AstExpr),
        symmetric: bool,
        negated: bool,
        loc: u32,
    ) -> Result<Expr> {
        let (at_least, at_most) = if negated { ("<", ">") } else { (">=", "<=") };
        let mut within = |low: &AstExpr, high: &AstExpr| -> Result<Expr> {
            let first = self.operator_expr(&vec![at_least.to_string()], Some(arg), low, loc)?;
            let second = self.operator_expr(&vec![at_most.to_string()], Some(arg), high, loc)?;
            let both = vec![first, second];
            let node = if negated { Node::Or(both) } else { Node::And(both) };
            Ok(Expr::new(oid::BOOL, start_of(arg), node))
        };
        let straight = within(low, high)?;
        if !symmetric {
            return Ok(straight);
        }
        let reversed = within(high, low)?;
        let either = vec![straight, reversed];
        let node = if negated { Node::And(either) } else { Node::Or(either) };
        Ok(Expr::new(oid::BOOL, start_of(arg), node))
    }

    fn like(
        &mut self,
        kind: LikeKind,
        left: &AstExpr,
        right: &AstExpr,
        negated: bool,
        loc: u32,
    ) -> Result<Expr> {
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        self.operator(&vec![like_operator(kind, negated).to_string()], Some(left), right, loc)
    }

    /// `left op ANY|ALL (array)`. C: `make_scalar_array_op`.
    fn op_array(
        &mut self,
        name: &ast::Name,
        all: bool,
        left: &AstExpr,
        right: &AstExpr,
        loc: u32,
    ) -> Result<Expr> {
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let start = left.loc;
        let mut elem = element_type_of(right.ty);
        if right.ty == oid::UNKNOWN {
            // An untyped array has elements of the other side's type.
            elem = if left.ty == oid::UNKNOWN { oid::TEXT } else { left.ty };
        } else if !elem.is_valid() {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(self.error(SqlState::WRONG_OBJECT_TYPE, loc, message));
        }
        let probe = var(elem, -1, 0, 0);
        let symbol = name.last().cloned().unwrap_or_default();
        let (call, left, probe) = self.equality(&symbol, left, probe, loc)?;
        if call.ret != oid::BOOL {
            let message = "op ANY/ALL (array) requires operator to yield boolean";
            return Err(self.error(SqlState::WRONG_OBJECT_TYPE, loc, message));
        }
        let array = array_type_of(probe.ty);
        let right = self.coerce(right, array, -1, Context::Implicit)?;
        let node = Node::OpArray { call, all, left: Box::new(left), right: Box::new(right) };
        Ok(Expr::new(oid::BOOL, start, node))
    }

    /// C: `transformCaseExpr`.
    fn case(
        &mut self,
        arg: Option<&AstExpr>,
        whens: &[(AstExpr, AstExpr)],
        default: Option<&AstExpr>,
        loc: u32,
    ) -> Result<Expr> {
        let before = self.scope().conditional.replace("CASE");
        let made = self.case_parts(arg, whens, default, loc);
        self.scope().conditional = before;
        made
    }

    fn case_parts(
        &mut self,
        arg: Option<&AstExpr>,
        whens: &[(AstExpr, AstExpr)],
        default: Option<&AstExpr>,
        loc: u32,
    ) -> Result<Expr> {
        let depth = self.depth();
        let arg = match arg {
            Some(arg) => {
                let value = self.expr(arg)?;
                let value = self.settle_unknown(value)?;
                let slot = self.scope().allocate(1);
                Some((value, slot))
            }
            None => None,
        };
        let mut conditions = Vec::with_capacity(whens.len());
        let mut results = Vec::with_capacity(whens.len() + 1);
        for (condition, result) in whens {
            let condition = match &arg {
                None => self.expr(condition)?,
                Some((value, slot)) => {
                    let right = self.expr(condition)?;
                    let left = Expr { loc: right.loc, ..var(value.ty, value.typmod, depth, *slot) };
                    self.operator(&vec!["=".to_string()], Some(left), right, condition.loc)?
                }
            };
            conditions.push(self.coerce_to_boolean(condition, "CASE/WHEN")?);
            results.push(self.expr(result)?);
        }
        // The default decides first about the type, as in C.
        let default = match default {
            Some(default) => self.expr(default)?,
            None => Expr::constant(oid::UNKNOWN, loc, Datum::Null),
        };
        results.insert(0, default);
        let (results, ty, typmod) = self.make_alike(results, "CASE")?;
        let mut results = results.into_iter();
        let default = results.next().map(Box::new);
        let whens = conditions.into_iter().zip(results).collect();
        let case = Expr { ty, typmod, loc, node: Node::Case { whens, default } };
        Ok(match arg {
            None => case,
            Some((arg, slot)) => {
                let node = Node::CaseArg { arg: Box::new(arg), depth, slot, case: Box::new(case) };
                Expr { ty, typmod, loc, node }
            }
        })
    }

    /// `ARRAY[...]`; `wanted` is the type of a cast around it, if there is one. C: `transformArrayExpr`.
    fn array(&mut self, items: &[AstExpr], wanted: Oid, loc: u32) -> Result<Expr> {
        let nested = matches!(items.first().map(|i| &i.kind), Some(ExprKind::Array(_)));
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(match &item.kind {
                ExprKind::Array(inner) => self.array(inner, wanted, item.loc)?,
                _ => self.expr(item)?,
            });
        }
        let nested = nested || list.first().is_some_and(|e| element_type_of(e.ty).is_valid());
        let target = if wanted.is_valid() { element_type_of(wanted) } else { Oid::INVALID };
        if list.is_empty() && !wanted.is_valid() {
            let e = self.error(SqlState::INDETERMINATE_DATATYPE, loc, "cannot determine type of empty array");
            return Err(e.hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let item_type = match (nested, wanted.is_valid()) {
            (true, true) => wanted,
            (false, true) => target,
            _ => self.common_type(&list.iter().collect::<Vec<_>>(), "ARRAY")?,
        };
        let context = if wanted.is_valid() { Context::Explicit } else { Context::Implicit };
        let mut coerced = Vec::with_capacity(list.len());
        for item in list {
            let (from, at) = (item.ty, item.loc);
            match self.coerce_to(item, item_type, -1, context)? {
                Some(item) => coerced.push(item),
                None => {
                    let (from, to) = (format_type(from, -1), format_type(item_type, -1));
                    let message = format!("cannot cast type {from} to {to}");
                    return Err(self.error(SqlState::CANNOT_COERCE, at, message));
                }
            }
        }
        let (elem, ty) = match nested {
            true => (element_type_of(item_type), item_type),
            false => (item_type, array_type_of(item_type)),
        };
        if !ty.is_valid() {
            let message = format!("could not find array type for data type {}", format_type(elem, -1));
            return Err(self.error(SqlState::UNDEFINED_OBJECT, loc, message));
        }
        Ok(Expr::new(ty, loc, Node::Array { elem, items: coerced, nested }))
    }

    fn indirection(&mut self, arg: &AstExpr, steps: &[Indirection]) -> Result<Expr> {
        let mut value = self.expr(arg)?;
        let mut rest = steps;
        while let Some(step) = rest.first() {
            match step {
                Indirection::Field(name) => {
                    let loc = value.loc;
                    value = self.field(value, name, loc)?;
                    rest = &rest[1..];
                }
                Indirection::Star => {
                    let message = "row expansion via \"*\" is not supported here";
                    return Err(self.error(SqlState::SYNTAX_ERROR, value.loc, message));
                }
                Indirection::Subscript(_) | Indirection::Slice(..) => {
                    let is_subscript =
                        |s: &&Indirection| matches!(s, Indirection::Subscript(_) | Indirection::Slice(..));
                    let count = rest.iter().take_while(is_subscript).count();
                    value = self.subscripts(value, &rest[..count])?;
                    rest = &rest[count..];
                }
            }
        }
        Ok(value)
    }

    /// C: `transformContainerSubscripts`.
    fn subscripts(&mut self, value: Expr, steps: &[Indirection]) -> Result<Expr> {
        let elem = element_type_of(value.ty);
        let loc = value.loc;
        if !elem.is_valid() {
            let message = format!(
                "cannot subscript type {} because it does not support subscripting",
                format_type(value.ty, -1)
            );
            return Err(self.error(SqlState::DATATYPE_MISMATCH, loc, message));
        }
        let is_slice = steps.iter().any(|s| matches!(s, Indirection::Slice(..)));
        let mut indexes = Vec::new();
        let mut bounds = Vec::new();
        for step in steps {
            match step {
                Indirection::Subscript(index) if is_slice => {
                    // Among slices, [n] means [1:n].
                    bounds.push((None, Some(self.array_index(index)?)));
                }
                Indirection::Subscript(index) => indexes.push(self.array_index(index)?),
                Indirection::Slice(low, high) => {
                    let mut bound = |b: &Option<AstExpr>| b.as_ref().map(|e| self.array_index(e)).transpose();
                    bounds.push((bound(low)?, bound(high)?));
                }
                Indirection::Field(_) | Indirection::Star => {}
            }
        }
        let (ty, typmod, arg) = (value.ty, value.typmod, Box::new(value));
        Ok(match is_slice {
            true => Expr { ty, typmod, loc, node: Node::Slice { arg, bounds } },
            false => Expr { ty: elem, typmod, loc, node: Node::Subscript { arg, indexes } },
        })
    }

    fn array_index(&mut self, index: &AstExpr) -> Result<Expr> {
        let value = self.expr(index)?;
        let loc = value.loc;
        match self.coerce_to(value, oid::INT4, -1, Context::Assignment)? {
            Some(value) => Ok(value),
            None => {
                let message = "array subscript must have type integer";
                Err(self.error(SqlState::DATATYPE_MISMATCH, loc, message))
            }
        }
    }

    /// There is one order of strings, so a collation only has to exist.
    fn collate(&mut self, arg: &AstExpr, collation: &ast::Name, loc: u32) -> Result<Expr> {
        let value = self.expr(arg)?;
        let value = self.settle_unknown(value)?;
        let base = element_type_of(value.ty);
        let base = if base.is_valid() { base } else { value.ty };
        if !matches!(base, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME) {
            let message = format!("collations are not supported by type {}", format_type(value.ty, -1));
            return Err(self.error(SqlState::DATATYPE_MISMATCH, loc, message));
        }
        let name = collation.last().map_or("", String::as_str);
        if !matches!(name, "C" | "POSIX" | "default" | "ucs_basic") {
            let message =
                format!("collation \"{}\" for encoding \"UTF8\" does not exist", collation.join("."));
            return Err(self.error(SqlState::UNDEFINED_OBJECT, loc, message));
        }
        Ok(value)
    }

    /// C: `transformSQLValueFunction`.
    fn value_function(&mut self, function: ValueFunction, typmod: i32, loc: u32) -> Result<Expr> {
        let ty = match function {
            ValueFunction::CurrentDate => oid::DATE,
            ValueFunction::CurrentTime => oid::TIMETZ,
            ValueFunction::CurrentTimestamp => oid::TIMESTAMPTZ,
            ValueFunction::LocalTime => oid::TIME,
            ValueFunction::LocalTimestamp => oid::TIMESTAMP,
            user => {
                // What the session is called is asked of a function of the same meaning.
                let name = match user {
                    ValueFunction::CurrentCatalog => "current_database",
                    ValueFunction::CurrentRole | ValueFunction::User => "current_user",
                    other => value_function_name(other),
                };
                let call = resolve_function(self.env.registry(), name, &[]).map_err(|e| self.at(e, loc))?;
                return Ok(Expr::new(call.ret, loc, Node::Call { call: Rc::new(call), args: Vec::new() }));
            }
        };
        let typmod = typmod.min(6);
        Ok(Expr { ty, typmod, loc, node: Node::ValueFunction { function, typmod } })
    }
}
