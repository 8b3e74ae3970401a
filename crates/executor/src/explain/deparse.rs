//! Expressions as SQL text, for the lines below a plan's steps.
//!
//! C counterpart: utils/adt/ruleutils.c (`deparse_expression`, `get_rule_expr`).

use std::cell::Cell;
use std::collections::HashMap;

use parser::ast::quote_identifier;
use types::{Datum, format_type, io, oid};

use crate::exec::PlanData;
use crate::expr::{Expr, Node, SublinkKind};
use crate::query::{Action, Aggregate, AggregateCall, Body, From, Query, Select};
use crate::table::SYSTEM_COLUMNS;

/// What a slot of a frame is called.
#[derive(Clone)]
enum Name {
    /// A column: its item and its own name.
    Column(String, String),
    /// Something computed, as text.
    Computed(String),
}

/// The names of all slots of a statement.
pub(super) struct Names {
    slots: HashMap<(usize, usize), Name>,
    /// Items of FROM seen; with several, columns are shown with theirs.
    items: Cell<usize>,
    /// Values of the parameters, if they are known.
    params: Vec<Datum>,
}

impl Names {
    pub(super) fn of(data: &PlanData, params: &[Datum]) -> Names {
        let mut names = Names { slots: HashMap::new(), items: Cell::new(0), params: params.to_vec() };
        names.add_query(data, &data.query);
        for cte in &data.ctes {
            names.add_query(data, &cte.query);
            if let Some((again, _)) = &cte.recursive {
                names.add_query(data, again);
            }
        }
        for sub in &data.subplans {
            names.add_query(data, &sub.query);
        }
        names
    }

    fn add_query(&mut self, data: &PlanData, query: &Query) {
        match &query.body {
            Body::Values(_) => {}
            Body::SetOp(set) => {
                self.add_query(data, &set.left);
                self.add_query(data, &set.right);
            }
            Body::Select(select) => self.add_select(data, select, query.depth),
            Body::Modify(modify) => match &modify.action {
                Action::Insert { source, .. } => {
                    *self.items.get_mut() += 1;
                    source.iter().for_each(|source| self.add_query(data, source));
                }
                Action::Update(change) | Action::Delete(change) => {
                    self.add_select(data, &change.select, query.depth);
                }
            },
        }
    }

    fn add_select(&mut self, data: &PlanData, select: &Select, depth: usize) {
        if let Some(from) = &select.from {
            self.add_from(data, from, depth);
        }
        if let Some(aggregate) = &select.aggregate {
            self.add_aggregate(aggregate, depth);
        }
        for set in select.set_levels.iter().flatten() {
            let args: Vec<String> = set.args.iter().map(|arg| self.expr(arg)).collect();
            let name = set.call.function().map_or("", |f| f.name);
            self.slots.insert((depth, set.slot), Name::Computed(format!("{name}({})", args.join(", "))));
        }
    }

    fn add_from(&mut self, data: &PlanData, from: &From, depth: usize) {
        match from {
            From::Join(join) => {
                *self.items.get_mut() += 1;
                self.add_from(data, &join.left, depth);
                self.add_from(data, &join.right, depth);
            }
            From::Filter(filter) => self.add_from(data, &filter.0, depth),
            From::Table(scan) => {
                let attrs = scan.table.desc.attrs.iter().map(|a| a.name.to_string());
                let system = SYSTEM_COLUMNS.iter().map(|a| a.name().to_string());
                self.add_columns(depth, scan.base, &scan.alias, attrs.chain(system));
            }
            From::Relation { alias, base, relation } => {
                self.add_columns(depth, *base, alias, relation.columns.iter().map(|c| c.0.clone()));
            }
            From::Subquery { alias, base, query, .. } => {
                self.add_columns(depth, *base, alias, query.columns.iter().map(|c| c.name.clone()));
                self.add_query(data, query);
            }
            From::Cte { alias, base, id, .. } => {
                self.add_columns(depth, *base, alias, data.ctes[*id].columns.iter().map(|c| c.name.clone()));
            }
            From::Function(scan) => {
                let alias = &scan.alias;
                let mut columns = Vec::new();
                for function in &scan.functions {
                    match &function.source {
                        crate::query::FunctionSource::Call(call, _) if function.expand_record => {
                            let declared = call.function().map_or(&[][..], |f| f.columns);
                            columns.extend(declared.iter().map(|(name, _)| (*name).to_string()));
                        }
                        _ => columns.extend(std::iter::repeat_n(alias.clone(), function.width)),
                    }
                }
                columns.push("ordinality".to_string());
                self.add_columns(depth, scan.base, alias, columns.into_iter());
            }
        }
    }

    fn add_columns(&mut self, depth: usize, base: usize, alias: &str, columns: impl Iterator<Item = String>) {
        *self.items.get_mut() += 1;
        for (i, column) in columns.enumerate() {
            self.slots.insert((depth, base + i), Name::Column(alias.to_string(), column));
        }
    }

    fn add_aggregate(&mut self, aggregate: &Aggregate, depth: usize) {
        for (key, slot) in &aggregate.keys {
            let name = match &key.node {
                Node::Var { depth, slot } => self.slots.get(&(*depth, *slot)).cloned(),
                _ => None,
            };
            let name = name.unwrap_or_else(|| Name::Computed(self.expr(key)));
            self.slots.insert((depth, *slot), name);
        }
        for call in &aggregate.calls {
            let shown = self.aggregate_call(call);
            self.slots.insert((depth, call.slot), Name::Computed(shown));
        }
    }

    fn aggregate_call(&self, call: &AggregateCall) -> String {
        let args: Vec<String> = call.args.iter().map(|arg| self.expr(arg)).collect();
        let args = if args.is_empty() { "*".to_string() } else { args.join(", ") };
        let distinct = if call.distinct.is_some() { "DISTINCT " } else { "" };
        format!("{}({distinct}{args})", call.function.name)
    }

    // --- expressions ---

    /// As a key of a sort or a group: what is computed below is in parentheses.
    pub(super) fn sort_expr(&self, expr: &Expr) -> String {
        match &expr.node {
            Node::Var { depth, slot } => match self.slots.get(&(*depth, *slot)) {
                Some(Name::Computed(shown)) => format!("({shown})"),
                _ => self.expr(expr),
            },
            Node::Call { .. } if !self.expr(expr).starts_with('(') => format!("({})", self.expr(expr)),
            _ => self.expr(expr),
        }
    }

    /// Of a scan's own condition: its columns need no prefix. C: `show_scan_qual`.
    pub(super) fn scan_expr(&self, expr: &Expr) -> String {
        let items = self.items.replace(0);
        let shown = self.expr(expr);
        self.items.set(items);
        shown
    }

    fn list(&self, exprs: &[Expr], separator: &str) -> String {
        exprs.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(separator)
    }

    pub(super) fn expr(&self, expr: &Expr) -> String {
        match &expr.node {
            Node::Const(value) => constant(value, expr),
            Node::Param(index) => match self.params.get(*index) {
                Some(value) => constant(value, expr),
                None => format!("${}", index + 1),
            },
            Node::Var { depth, slot } => match self.slots.get(&(*depth, *slot)) {
                Some(Name::Column(alias, column)) if self.items.get() > 1 => {
                    format!("{}.{}", quote_identifier(alias), quote_identifier(column))
                }
                Some(Name::Column(_, column)) => quote_identifier(column),
                Some(Name::Computed(shown)) => shown.clone(),
                None => "?".to_string(),
            },
            Node::Call { call, args } => {
                let function = call.function();
                match (operator_of(function.map_or(0, |f| f.oid.0)), args.as_slice()) {
                    (Some(name), [left, right]) => {
                        format!("({} {name} {})", self.expr(left), self.expr(right))
                    }
                    (Some(name), [only]) => format!("({name} {})", self.expr(only)),
                    _ => {
                        let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
                        format!("{}({})", function.map_or("", |f| f.name), args.join(", "))
                    }
                }
            }
            Node::Coerce { arg, .. } => {
                let shown = self.expr(arg);
                let shown = if shown.starts_with('(') { shown } else { format!("({shown})") };
                format!("{shown}::{}", format_type(expr.ty, expr.typmod))
            }
            Node::And(args) => format!("({})", self.list(args, " AND ")),
            Node::Or(args) => format!("({})", self.list(args, " OR ")),
            Node::Not(arg) => format!("(NOT {})", self.expr(arg)),
            Node::IsNull { arg, negated } => {
                format!("({} IS {}NULL)", self.expr(arg), if *negated { "NOT " } else { "" })
            }
            _ => self.construct(expr),
        }
    }

    fn construct(&self, expr: &Expr) -> String {
        match &expr.node {
            Node::IsBoolean { arg, value, negated } => {
                let not = if *negated { "NOT " } else { "" };
                let word = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                format!("({} IS {not}{word})", self.expr(arg))
            }
            Node::IsDistinct { left, right, negated, .. } => {
                let not = if *negated { "NOT " } else { "" };
                format!("({} IS {not}DISTINCT FROM {})", self.expr(left), self.expr(right))
            }
            Node::OpArray { call, all, left, right } => {
                let name = operator_of(call.function().map_or(0, |f| f.oid.0)).unwrap_or("=");
                let word = if *all { "ALL" } else { "ANY" };
                format!("({} {name} {word} ({}))", self.expr(left), self.expr(right))
            }
            Node::Coalesce(args) => format!("COALESCE({})", self.list(args, ", ")),
            Node::MinMax { greatest, args } => {
                format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, self.list(args, ", "))
            }
            Node::NullIf { left, right, .. } => {
                format!("NULLIF({}, {})", self.expr(left), self.expr(right))
            }
            Node::Array { items, .. } => match items.iter().all(|i| matches!(i.node, Node::Const(_))) {
                true => {
                    let cells = items.iter().map(|i| match &i.node {
                        Node::Const(Datum::Null) => "NULL".to_string(),
                        Node::Const(value) => io::output_string(value, i.ty),
                        _ => String::new(),
                    });
                    let cells: Vec<String> = cells.collect();
                    format!("'{{{}}}'::{}", cells.join(","), format_type(expr.ty, -1))
                }
                false => format!("ARRAY[{}]", self.list(items, ", ")),
            },
            Node::Row { fields, .. } => format!("ROW({})", self.list(fields, ", ")),
            Node::Sublink { plan, kind } => match kind {
                SublinkKind::Quantified { .. } => format!("(hashed SubPlan {})", plan + 1),
                _ => format!("${plan}"),
            },
            Node::Case { whens, default } => {
                let mut shown = "CASE".to_string();
                for (condition, result) in whens {
                    shown += &format!(" WHEN {} THEN {}", self.expr(condition), self.expr(result));
                }
                if let Some(default) = default {
                    shown += &format!(" ELSE {}", self.expr(default));
                }
                shown + " END"
            }
            _ => "(...)".to_string(),
        }
    }
}

/// C: `get_const_expr`.
pub(crate) fn constant(value: &Datum, expr: &Expr) -> String {
    let ty = match (expr.ty, expr.typmod) {
        // Without a length it is not `character`, which would mean a length of 1.
        (oid::BPCHAR, -1) => "bpchar".to_string(),
        (ty, typmod) => format_type(ty, typmod),
    };
    match value {
        Datum::Null => format!("NULL::{ty}"),
        Datum::Bool(value) => value.to_string(),
        Datum::Int4(value) if *value >= 0 => value.to_string(),
        other => {
            let text = io::output_string(other, expr.ty).replace('\'', "''");
            let is_plain = expr.ty == oid::NUMERIC && !text.starts_with('-') && text.contains('.');
            if is_plain { text } else { format!("'{text}'::{ty}") }
        }
    }
}

/// The operator whose function this is.
pub(crate) fn operator_of(function: u32) -> Option<&'static str> {
    use std::cell::RefCell;
    thread_local! {
        static BY_FUNCTION: RefCell<HashMap<u32, &'static str>> = RefCell::default();
    }
    BY_FUNCTION.with_borrow_mut(|map| {
        if map.is_empty() {
            let registry = types::fmgr::builtin_registry();
            map.extend(registry.all_operators().map(|op| (op.code.0, op.name)));
            map.extend(crate::tid::operators().iter().map(|op| (op.code.0, op.name)));
        }
        map.get(&function).copied()
    })
}
