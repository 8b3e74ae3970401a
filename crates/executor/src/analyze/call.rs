//! Function calls: ordinary functions, aggregates, set-returning functions.
//!
//! C counterpart: parse_func.c (`ParseFuncOrColumn`) and parse_agg.c (`transformAggregateCall`).

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use parser::ast::{Expr as AstExpr, ExprKind, FunctionCall, SortBy};
use types::cast::Context;
use types::fmgr::FuncImpl;
use types::parse_func::{ArgSource, CallArgs, CallTarget, Resolved, resolve_call};
use types::{format_type, io, oid};

use super::Analyzer;
use super::clause::plain_key;
use super::scope::{Clause, var};
use crate::expr::{Expr, Node};
use crate::query::{AggregateCall, FunctionSource, SetCall, SortKey};

impl Analyzer<'_> {
    pub(super) fn function(&mut self, call: &FunctionCall, loc: u32) -> Result<Expr> {
        self.check_call_name(call, loc)?;
        let is_aggregate = self.names_aggregate(call);
        if call.over {
            return Err(self.unsupported(loc, "a window function"));
        }
        if is_aggregate {
            return self.aggregate(call, loc);
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.expr(arg)?);
        }
        let resolved = self.resolve(call, &args, loc)?;
        self.reject_aggregate_clauses(call, loc)?;
        let (resolved, args) = self.apply_call(resolved, args)?;
        if let CallTarget::Coercion = resolved.target {
            return self.finish_coercion(resolved.ret, args, loc);
        }
        if resolved.function().is_some_and(|f| f.retset) {
            return self.set_call(resolved, args, loc);
        }
        Ok(Expr::new(resolved.ret, loc, Node::Call { call: resolved, args }))
    }

    /// A call in FROM: it may return a set. Anything that is not a call is a value of one row.
    pub(super) fn function_in_from(&mut self, expr: &AstExpr) -> Result<FunctionSource> {
        let ExprKind::Function(call) = &expr.kind else {
            return self.clause_expr(expr, Clause::FromFunction).map(FunctionSource::Value);
        };
        self.check_call_name(call, expr.loc)?;
        if self.names_aggregate(call) || call.over {
            return self.clause_expr(expr, Clause::FromFunction).map(FunctionSource::Value);
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.clause_expr(arg, Clause::FromFunction)?);
        }
        let resolved = self.resolve(call, &args, expr.loc)?;
        self.reject_aggregate_clauses(call, expr.loc)?;
        let (resolved, args) = self.apply_call(resolved, args)?;
        if let CallTarget::Coercion = resolved.target {
            return self.finish_coercion(resolved.ret, args, expr.loc).map(FunctionSource::Value);
        }
        Ok(FunctionSource::Call(resolved, args))
    }

    /// `date('now')`.
    fn finish_coercion(&mut self, ty: Oid, args: Vec<Expr>, loc: u32) -> Result<Expr> {
        match args.into_iter().next() {
            Some(arg) => {
                let arg = self.located(arg, loc);
                self.coerce(arg, ty, -1, Context::Explicit)
            }
            None => Err(error!(SqlState::INTERNAL_ERROR, "a cast without an argument")),
        }
    }

    // --- finding it ---

    /// The schema, if one was given, and the marks that any call may carry.
    fn check_call_name(&self, call: &FunctionCall, loc: u32) -> Result<()> {
        if call.name.len() > 3 {
            let message = format!("improper qualified name (too many dotted names): {}", call.name.join("."));
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        if let [.., schema, _] = call.name.as_slice()
            && !self.env.schema_exists(schema)
        {
            let message = format!("schema \"{schema}\" does not exist");
            return Err(self.error(SqlState::UNDEFINED_SCHEMA, loc, message));
        }
        Ok(())
    }

    fn in_catalog(call: &FunctionCall) -> bool {
        match call.name.as_slice() {
            [.., schema, _] => schema == "pg_catalog",
            _ => true,
        }
    }

    /// Aggregates and functions never share a name.
    fn names_aggregate(&self, call: &FunctionCall) -> bool {
        let name = call.name.last().map_or("", String::as_str);
        let candidates = self.env.registry().candidates(name);
        Self::in_catalog(call) && candidates.iter().any(|f| matches!(f.func, FuncImpl::Aggregate(_)))
    }

    fn resolve(&mut self, call: &FunctionCall, args: &[Expr], loc: u32) -> Result<Resolved> {
        let types: Vec<Oid> = args.iter().map(|a| a.ty).collect();
        let first_named = call.arg_names.iter().position(Option::is_some).unwrap_or(call.arg_names.len());
        if let Some(n) = call.arg_names[first_named..].iter().position(Option::is_none) {
            let loc = args.get(first_named + n).map_or(loc, |a| a.loc);
            let message = "positional argument cannot follow named argument";
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        let names: Vec<&str> = call.arg_names.iter().flatten().map(String::as_str).collect();
        let wanted = CallArgs { types: &types, names: &names, variadic: call.variadic };
        let written = match call.sql_syntax {
            true => call.name.last().cloned().unwrap_or_default(),
            false => call.name.join("."),
        };
        let looked_up = match Self::in_catalog(call) {
            true => call.name.last().map_or("", String::as_str),
            false => written.as_str(),
        };
        let found = resolve_call(self.env.registry(), looked_up, &wanted);
        found.map_err(|e| self.at(rename(e, looked_up, &call.name.join(".")), loc))
    }

    /// What only aggregates take.
    fn reject_aggregate_clauses(&self, call: &FunctionCall, loc: u32) -> Result<()> {
        let name = call.name.join(".");
        let message = if call.star {
            format!("{name}(*) specified, but {name} is not an aggregate function")
        } else if call.distinct {
            format!("DISTINCT specified, but {name} is not an aggregate function")
        } else if call.within_group {
            format!("WITHIN GROUP specified, but {name} is not an aggregate function")
        } else if !call.order_by.is_empty() {
            format!("ORDER BY specified, but {name} is not an aggregate function")
        } else if call.filter.is_some() {
            format!("FILTER specified, but {name} is not an aggregate function")
        } else {
            return Ok(());
        };
        Err(self.error(SqlState::WRONG_OBJECT_TYPE, loc, message))
    }

    /// Puts arguments in the function's order, adds defaults, brings all to the declared types.
    pub(super) fn apply_call(
        &mut self,
        mut call: Resolved,
        args: Vec<Expr>,
    ) -> Result<(Rc<Resolved>, Vec<Expr>)> {
        let mut given: Vec<Option<Expr>> = args.into_iter().map(Some).collect();
        let mut ordered = Vec::with_capacity(call.sources.len());
        for (source, ty) in call.sources.iter().zip(&call.arg_types) {
            let arg = match source {
                ArgSource::Given(index) => given.get_mut(*index).and_then(Option::take),
                ArgSource::Default(None) => Some(Expr::constant(*ty, 0, types::Datum::Null)),
                ArgSource::Default(Some(text)) => Some(Expr::constant(*ty, 0, io::input(*ty, -1, text)?)),
            };
            let Some(arg) = arg else {
                return Err(error!(SqlState::INTERNAL_ERROR, "an argument was used twice"));
            };
            ordered.push(self.coerce(arg, *ty, -1, Context::Implicit)?);
        }
        // A function that takes "any" asks for the types it got.
        for (ty, arg) in call.arg_types.iter_mut().zip(&ordered).filter(|(ty, _)| **ty == oid::ANY) {
            *ty = arg.ty;
        }
        Ok((Rc::new(call), ordered))
    }

    // --- sets ---

    /// A set-returning function in a target list: its rows come by in a slot. C: `check_srf_call_placement`.
    fn set_call(&mut self, call: Rc<Resolved>, args: Vec<Expr>, loc: u32) -> Result<Expr> {
        let depth = self.depth();
        let scope = self.scope();
        let (clause, in_aggregate, conditional) = (scope.clause, scope.in_aggregate, scope.conditional);
        let refuse = |message: String| self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message);
        if in_aggregate {
            return Err(refuse(
                "aggregate function calls cannot contain set-returning function calls".into(),
            )
            .hint("You might be able to move the set-returning function into a LATERAL FROM item."));
        }
        if let Some(what) = conditional {
            return Err(refuse(format!("set-returning functions are not allowed in {what}"))
                .hint("You might be able to move the set-returning function into a LATERAL FROM item."));
        }
        if clause == Clause::FromFunction {
            return Err(refuse("set-returning functions must appear at top level of FROM".into()));
        }
        if !clause.allows_sets() {
            return Err(refuse(format!("set-returning functions are not allowed in {}", clause.words())));
        }
        let ty = call.ret;
        let as_record = call.function().is_some_and(|f| !f.columns.is_empty());
        let scope = self.scope();
        let slot = scope.allocate(1);
        let below = scope.set_levels.iter().rposition(|level| {
            level.iter().any(|set| args.iter().any(|arg| reads_slot(arg, depth, set.slot)))
        });
        let level = below.map_or(0, |n| n + 1);
        if scope.set_levels.len() <= level {
            scope.set_levels.push(Vec::new());
        }
        scope.set_levels[level].push(SetCall { call, args, slot, as_record });
        Ok(Expr { loc, ..var(ty, -1, depth, slot) })
    }

    // --- aggregates ---

    fn aggregate(&mut self, call: &FunctionCall, loc: u32) -> Result<Expr> {
        let scope = self.scope();
        if scope.in_aggregate {
            let message = "aggregate function calls cannot be nested";
            return Err(self.error(SqlState::GROUPING_ERROR, loc, message));
        }
        if !scope.clause.allows_aggregates() {
            let message = format!("aggregate functions are not allowed in {}", scope.clause.words());
            return Err(self.error(SqlState::GROUPING_ERROR, loc, message));
        }
        self.scope().in_aggregate = true;
        let made = self.aggregate_parts(call, loc);
        self.scope().in_aggregate = false;
        let mut made = made?;
        let depth = self.depth();
        let ty = made.call.ret;
        let scope = self.scope();
        let slot = scope.allocate(1);
        made.slot = slot;
        scope.aggregates.push(made);
        Ok(Expr { loc, ..var(ty, -1, depth, slot) })
    }

    /// Everything of an aggregate but its slot.
    fn aggregate_parts(&mut self, call: &FunctionCall, loc: u32) -> Result<AggregateCall> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.expr(arg)?);
        }
        if args.is_empty() && !call.star && self.takes_star_only(call) {
            let name = call.name.join(".");
            let message = format!("{name}(*) must be used to call a parameterless aggregate function");
            return Err(self.error(SqlState::WRONG_OBJECT_TYPE, loc, message));
        }
        let resolved = self.resolve(call, &args, loc)?;
        let (resolved, args) = self.apply_call(resolved, args)?;
        let Some(function) = resolved.function() else {
            return Err(error!(SqlState::INTERNAL_ERROR, "an aggregate turned out to be a cast"));
        };
        if call.within_group {
            return Err(self.unsupported(loc, "WITHIN GROUP"));
        }
        let order = self.aggregate_order(&call.order_by, args.len())?;
        let mut distinct = None;
        if call.distinct {
            let keys: Vec<_> = args.iter().enumerate().map(|(i, a)| plain_key(i, a.ty)).collect();
            for arg in &args {
                self.require_equality(arg, arg.loc)?;
            }
            if order.iter().any(|(expr, _)| !args.iter().any(|a| a.same(expr))) {
                let message =
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, loc, message));
            }
            distinct = Some(keys);
        }
        let filter = match &call.filter {
            Some(filter) => {
                let condition = self.expr(filter)?;
                Some(self.coerce_to_boolean(condition, "FILTER")?)
            }
            None => None,
        };
        Ok(AggregateCall { function, call: resolved, args, order, distinct, filter, slot: 0 })
    }

    fn takes_star_only(&self, call: &FunctionCall) -> bool {
        let name = call.name.last().map_or("", String::as_str);
        self.env.registry().candidates(name).iter().any(|f| f.args.is_empty())
    }

    fn aggregate_order(&mut self, order_by: &[SortBy], first: usize) -> Result<Vec<(Expr, SortKey)>> {
        let mut order = Vec::with_capacity(order_by.len());
        for sort in order_by {
            let expr = self.expr(&sort.expr)?;
            let expr = self.settle_unknown(expr)?;
            let key = self.sort_key(sort, first + order.len(), expr.ty)?;
            order.push((expr, key));
        }
        Ok(order)
    }

    /// Names and types of a record's columns, as far as they can be known.
    pub(super) fn record_fields(&self, value: &Expr) -> Vec<(String, Oid)> {
        let of_function = |call: &Resolved| -> Vec<(String, Oid)> {
            let columns = call.function().map_or(&[][..], |f| f.columns);
            columns.iter().map(|(name, ty)| ((*name).to_string(), *ty)).collect()
        };
        match &value.node {
            Node::Row { fields, names } if names.len() == fields.len() => {
                names.iter().zip(fields).map(|(n, f)| (n.to_string(), f.ty)).collect()
            }
            Node::Row { fields, .. } => {
                fields.iter().enumerate().map(|(i, f)| (format!("f{}", i + 1), f.ty)).collect()
            }
            // See `whole_row`.
            Node::Case { default: Some(row), .. } => self.record_fields(row),
            Node::Call { call, .. } => of_function(call),
            Node::Var { depth, slot } => {
                let sets = self.scopes.get(*depth).into_iter().flat_map(|s| s.set_levels.iter().flatten());
                sets.filter(|set| set.slot == *slot).flat_map(|set| of_function(&set.call)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `(record).field`
    pub(super) fn field(&self, value: Expr, name: &str, loc: u32) -> Result<Expr> {
        let fields = self.record_fields(&value);
        match fields.iter().position(|(field, _)| field == name) {
            Some(index) => {
                let ty = fields[index].1;
                Ok(Expr::new(ty, loc, Node::Field { arg: Box::new(value), index }))
            }
            None if value.ty == oid::RECORD => {
                let message = format!("could not identify column \"{name}\" in record data type");
                Err(self.error(SqlState::UNDEFINED_COLUMN, loc, message))
            }
            None => {
                let message = format!(
                    "column notation .{name} applied to type {}, which is not a composite type",
                    format_type(value.ty, -1)
                );
                Err(self.error(SqlState::WRONG_OBJECT_TYPE, loc, message))
            }
        }
    }
}

/// Messages show the name as it was written.
fn rename(mut e: PgError, looked_up: &str, written: &str) -> PgError {
    if looked_up != written {
        let shown = e.message.replacen(&format!("function {looked_up}("), &format!("function {written}("), 1);
        e.message = shown.into();
    }
    e
}

fn reads_slot(expr: &Expr, wanted_depth: usize, wanted: usize) -> bool {
    if matches!(expr.node, Node::Var { depth, slot } if (depth, slot) == (wanted_depth, wanted)) {
        return true;
    }
    let mut found = false;
    expr.for_each_child(&mut |child| found |= reads_slot(child, wanted_depth, wanted));
    found
}
