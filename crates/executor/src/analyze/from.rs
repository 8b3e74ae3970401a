//! FROM: which columns its items bring, and how joins show them.
//!
//! C counterpart: `transformFromClauseItem` of parse_clause.c and `addRangeTableEntryFor*` of parse_relation.c.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use parser::ast::{
    self, Alias, ColumnDef, Expr as AstExpr, ExprKind, FromItem, JoinKind, RangeVar, SelectStmt,
    TableLockMode,
};
use types::cast::Context;
use types::oid;

use super::Analyzer;
use super::Relation;
use super::clause::find_var;
use super::naming::function_name;
use super::scope::{Clause, ItemKind, ScopeColumn, ScopeItem, var};
use crate::expr::{Expr, Node};
use crate::query::{Column, From, FunctionScan, FunctionSource, Join, ScannedFunction, TableScan};
use crate::table::{SYSTEM_COLUMNS, TableInfo, system_type};

/// An analyzed item: what to run, its slots, and its entries among the scope's items.
pub(super) struct Item {
    pub(super) from: From,
    pub(super) slots: Range<usize>,
    pub(super) entries: Range<usize>,
}

/// The system columns of a table as names.
pub(super) fn system_scope(depth: usize, first_slot: usize) -> Vec<ScopeColumn> {
    let column = |(i, attribute): (usize, &heap::SystemAttribute)| ScopeColumn {
        name: attribute.name().to_string(),
        expr: var(system_type(*attribute), -1, depth, first_slot + i),
    };
    SYSTEM_COLUMNS.iter().enumerate().map(column).collect()
}

impl Analyzer<'_> {
    /// All of FROM; items between commas are joined without a condition.
    pub(super) fn transform_from(&mut self, items: &[FromItem]) -> Result<Option<From>> {
        self.transform_from_behind(None, items)
    }

    /// [`Analyzer::transform_from`] with an item that is there already: the table that a command changes.
    pub(super) fn transform_from_behind(
        &mut self,
        first: Option<Item>,
        items: &[FromItem],
    ) -> Result<Option<From>> {
        let mut joined = first;
        for item in items {
            let right = self.transform_item(item)?;
            joined = Some(match joined {
                None => right,
                Some(left) => self.joined(JoinKind::Inner, left, right, None)?,
            });
        }
        self.check_aliases()?;
        Ok(joined.map(|item| item.from))
    }

    /// C: `checkNameSpaceConflicts`.
    fn check_aliases(&mut self) -> Result<()> {
        let items = &self.scope().items;
        let named: Vec<&ScopeItem> = items.iter().filter(|i| i.named).collect();
        for (i, item) in named.iter().enumerate() {
            if named[..i].iter().any(|other| other.alias == item.alias && other.schema == item.schema) {
                let alias = &item.alias;
                return Err(error!(
                    SqlState::DUPLICATE_ALIAS,
                    "table name \"{alias}\" specified more than once"
                ));
            }
        }
        Ok(())
    }

    fn transform_item(&mut self, item: &FromItem) -> Result<Item> {
        self.check_stack()?;
        match item {
            FromItem::Table { relation, alias } => self.table(relation, alias.as_ref()),
            FromItem::Function { functions, ordinality, alias, coldefs, loc, .. } => {
                self.function_item(functions, *ordinality, alias.as_ref(), coldefs, *loc)
            }
            FromItem::Subquery { lateral, query, alias, .. } => self.subquery(*lateral, query, alias),
            FromItem::Join(join) => self.join(join),
            FromItem::Unsupported { what, loc } => Err(self.unsupported(*loc, what)),
        }
    }

    /// Gives slots to columns and enters them under a name.
    fn enter(
        &mut self,
        name: String,
        alias: Option<&Alias>,
        columns: &[Column],
        is_scalar: bool,
    ) -> Result<(usize, Range<usize>, Range<usize>)> {
        let depth = self.depth();
        let base = self.scope().allocate(columns.len());
        let shown = alias.map_or(&name, |a| &a.name).clone();
        let new_names = alias.map_or(&[][..], |a| &a.columns);
        if new_names.len() > columns.len() {
            return Err(error!(
                SqlState::INVALID_COLUMN_REFERENCE,
                "table \"{shown}\" has {} columns available but {} columns specified",
                columns.len(),
                new_names.len()
            ));
        }
        let columns = columns.iter().enumerate().map(|(i, column)| ScopeColumn {
            name: new_names.get(i).unwrap_or(&column.name).clone(),
            expr: var(column.ty, column.typmod, depth, base + i),
        });
        let columns: Vec<ScopeColumn> = columns.collect();
        let width = columns.len();
        let hidden_name = (alias.is_some() && shown != name).then_some(name);
        let scope = self.scope();
        let first = scope.items.len();
        let alias = shown;
        scope.items.push(ScopeItem {
            alias,
            hidden_name,
            schema: None,
            columns,
            named: true,
            bare: true,
            is_scalar,
            system: Vec::new(),
            kind: ItemKind::Virtual,
        });
        Ok((base, base..base + width, first..first + 1))
    }

    // --- tables and queries ---

    fn table(&mut self, relation: &RangeVar, alias: Option<&Alias>) -> Result<Item> {
        if let [name] = relation.name.as_slice()
            && let Some((id, working)) = self.find_cte(name)
        {
            return self.cte_item(name, (id, working), alias, relation.loc);
        }
        let shown = alias.map_or_else(|| relation.parts().2, |a| &a.name);
        let mode = match self.is_locked_name(shown) {
            true => TableLockMode::RowShare,
            false => TableLockMode::AccessShare,
        };
        let found = match self.relation(relation, mode)? {
            Relation::Virtual(found) => found,
            Relation::Table(table) => return self.table_item(table, alias, false),
        };
        let columns: Vec<Column> = found
            .columns
            .iter()
            .map(|(name, ty)| Column { name: name.clone(), ty: *ty, typmod: -1 })
            .collect();
        let name = relation.name.last().cloned().unwrap_or_default();
        let shown = alias.map_or_else(|| name.clone(), |a| a.name.clone());
        let (base, slots, entries) = self.enter(name, alias, &columns, false)?;
        if relation.name.len() > 1 {
            let schema = relation.name[relation.name.len() - 2].clone();
            self.scope().items[entries.start].schema = Some(schema);
        }
        Ok(Item { from: From::Relation { alias: shown, base, relation: Rc::new(found) }, slots, entries })
    }

    /// A table with rows: its columns' slots, dropped ones included, and those of the system columns behind them.
    pub(super) fn table_item(
        &mut self,
        table: Rc<TableInfo>,
        alias: Option<&Alias>,
        is_target: bool,
    ) -> Result<Item> {
        let depth = self.depth();
        let attrs = &table.desc.attrs;
        let visible: Vec<Column> = attrs
            .iter()
            .filter(|a| !a.is_dropped)
            .map(|a| Column { name: a.name.to_string(), ty: a.type_id, typmod: a.typmod })
            .collect();
        let (base, _, entries) = self.enter(table.name.clone(), alias, &visible, false)?;
        // What dropped columns and the system columns need beyond the visible ones.
        let natts = attrs.len();
        let width = natts + SYSTEM_COLUMNS.len();
        self.scope().allocate(width - visible.len());
        let live = (0..natts).filter(|i| !attrs[*i].is_dropped);
        let item = &mut self.scope().items[entries.start];
        for (column, slot) in item.columns.iter_mut().zip(live) {
            column.expr.node = Node::Var { depth, slot: base + slot };
        }
        item.system = system_scope(depth, base + natts);
        item.kind = ItemKind::Table { table: table.clone(), base, nullable: false };
        if alias.is_none() {
            item.schema = Some(table.schema.clone());
        }
        let alias = item.alias.clone();
        let scan = TableScan {
            alias,
            base,
            table,
            needed: Vec::new(),
            needed_system: Vec::new(),
            filter: None,
            tids: None,
            is_target,
        };
        Ok(Item { from: From::Table(Rc::new(scan)), slots: base..base + width, entries })
    }

    /// WITH queries of outer scopes are visible even where their columns are not.
    fn find_cte(&self, name: &str) -> Option<(usize, bool)> {
        let all = self.scopes.iter().rev().flat_map(|scope| scope.ctes.iter().rev());
        all.filter(|cte| cte.0 == name).map(|cte| (cte.1, cte.2)).next()
    }

    fn cte_item(
        &mut self,
        name: &str,
        (id, working): (usize, bool),
        alias: Option<&Alias>,
        loc: u32,
    ) -> Result<Item> {
        if working {
            self.working_used = true;
            // Its rows change with each round: whoever reads it cannot keep its result.
            let owner = self.ctes[id].query.depth.saturating_sub(1);
            self.reaches(owner);
        }
        let reach = self.cte_reach[id];
        self.reaches(reach);
        if let crate::query::Body::Modify(modify) = &self.ctes[id].query.body
            && modify.returning.is_none()
        {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message));
        }
        let columns = self.ctes[id].columns.clone();
        let shown = alias.map_or(name, |a| &a.name).to_string();
        let (base, slots, entries) = self.enter(name.to_string(), alias, &columns, false)?;
        self.scope().items[entries.start].kind = ItemKind::Other("a WITH query");
        let from = From::Cte { alias: shown, base, width: columns.len(), id, working };
        Ok(Item { from, slots, entries })
    }

    fn subquery(&mut self, lateral: bool, stmt: &SelectStmt, alias: &Alias) -> Result<Item> {
        let depth = self.depth();
        let outer_reach = std::mem::replace(&mut self.reach, usize::MAX);
        let was_hidden = std::mem::replace(&mut self.scope().hidden, !lateral);
        let locked = self.with_outer_locks(stmt, &alias.name);
        let query = self.query(locked.as_ref().unwrap_or(stmt), None);
        self.scopes[depth].hidden = was_hidden;
        let query = query?;
        // It depends on the row to its left if it reads this query's own frame.
        let lateral = self.reach <= depth && lateral;
        self.reach = self.reach.min(outer_reach);
        let columns = query.columns.clone();
        let (base, slots, entries) = self.enter(alias.name.clone(), Some(alias), &columns, false)?;
        self.scope().items[entries.start].kind = ItemKind::Subquery;
        let from = From::Subquery { alias: alias.name.clone(), base, query: Rc::new(query), lateral };
        Ok(Item { from, slots, entries })
    }

    // --- functions ---

    fn function_item(
        &mut self,
        functions: &[(AstExpr, Vec<ColumnDef>)],
        ordinality: bool,
        alias: Option<&Alias>,
        coldefs: &[ColumnDef],
        loc: u32,
    ) -> Result<Item> {
        let depth = self.depth();
        let written = functions.len();
        let functions = one_array_each(functions);
        let single = functions.len() == 1;
        if !single && !coldefs.is_empty() {
            return Err(self.ambiguous_column_definitions(written, loc));
        }
        let mut columns = Vec::new();
        let mut scanned = Vec::new();
        for (expr, own_coldefs) in functions.as_ref() {
            let source = self.function_in_from(expr)?;
            let name = function_name(expr);
            let coldefs = if single && own_coldefs.is_empty() { coldefs } else { own_coldefs };
            // A lone function's single column takes the alias as its name.
            let column_name = alias.filter(|_| single).map_or(&name, |a| &a.name).clone();
            let (mut own, expand_record) = self.function_columns(&source, column_name, coldefs, expr.loc)?;
            let width = own.len();
            columns.append(&mut own);
            scanned.push(ScannedFunction { source, width, expand_record, name });
        }
        let is_scalar = single && !ordinality && columns.len() == 1 && !scanned[0].expand_record;
        if ordinality {
            if !coldefs.is_empty() {
                let message = "WITH ORDINALITY cannot be used with a column definition list";
                return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
            }
            columns.push(Column { name: "ordinality".into(), ty: oid::INT8, typmod: -1 });
        }
        let mut lateral = false;
        for function in &scanned {
            let depends = |expr: &Expr| find_var(expr, depth).is_some() || has_sublink(expr);
            lateral |= function.source.exprs().iter().any(depends);
        }
        let name = scanned[0].name.clone();
        let shown = alias.map_or_else(|| name.clone(), |a| a.name.clone());
        let (base, slots, entries) = self.enter(name, alias, &columns, is_scalar)?;
        self.scope().items[entries.start].kind = ItemKind::Other("a function");
        let scan = FunctionScan { alias: shown, base, functions: scanned, ordinality, lateral };
        Ok(Item { from: From::Function(Rc::new(scan)), slots, entries })
    }

    /// Of which of several functions would they be? `written` of them stood in the text.
    fn ambiguous_column_definitions(&self, written: usize, loc: u32) -> PgError {
        let (what, hint) = if written == 1 {
            let hint = "Use separate UNNEST() calls inside ROWS FROM(), and attach a column definition list to each one.";
            ("UNNEST() with multiple arguments", hint)
        } else {
            let hint = "Put a separate column definition list for each function inside ROWS FROM().";
            ("ROWS FROM() with multiple functions", hint)
        };
        let message = format!("{what} cannot have a column definition list");
        self.error(SqlState::SYNTAX_ERROR, loc, message).hint(hint)
    }

    /// The columns a function in FROM has, and whether they are the fields of one record.
    fn function_columns(
        &mut self,
        source: &FunctionSource,
        name: String,
        coldefs: &[ColumnDef],
        loc: u32,
    ) -> Result<(Vec<Column>, bool)> {
        let (ty, typmod, declared) = match source {
            FunctionSource::Call(call, _) => (call.ret, -1, call.function().map_or(&[][..], |f| f.columns)),
            FunctionSource::Value(value) => (value.ty, value.typmod, &[][..]),
        };
        let returns_record = ty == oid::RECORD && declared.is_empty();
        if !coldefs.is_empty() {
            if !returns_record {
                let message = match declared.is_empty() {
                    true => "a column definition list is only allowed for functions returning \"record\"",
                    false => "a column definition list is redundant for a function with OUT parameters",
                };
                return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
            }
            let mut columns = Vec::new();
            for def in coldefs {
                let (ty, typmod) = self.type_name(&def.type_name)?;
                columns.push(Column { name: def.name.clone(), ty, typmod });
            }
            return Ok((columns, true));
        }
        if returns_record {
            let message = "a column definition list is required for functions returning \"record\"";
            return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
        }
        if declared.is_empty() {
            return Ok((vec![Column { name, ty, typmod }], false));
        }
        let column = |(name, ty): &(&str, Oid)| Column { name: (*name).to_string(), ty: *ty, typmod: -1 };
        Ok((declared.iter().map(column).collect(), true))
    }

    // --- joins ---

    fn joined(&mut self, kind: JoinKind, left: Item, right: Item, on: Option<Expr>) -> Result<Item> {
        let depth = self.depth();
        let mut lateral = false;
        let slots = left.slots.clone();
        right.from.for_each_expr(&mut |expr| lateral |= reads_slots(expr, depth, &slots));
        lateral |= is_lateral(&right.from);
        if lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
            return Err(error!(SqlState::INVALID_COLUMN_REFERENCE, "invalid reference to FROM-clause entry")
                .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference."));
        }
        let slots = left.slots.start..right.slots.end;
        let all_entries = left.entries.start..right.entries.end;
        let join = Join {
            kind,
            left: left.from,
            right: right.from,
            on,
            left_slots: left.slots,
            right_slots: right.slots,
            lateral,
            right_needed: Vec::new(),
            hash: Vec::new(),
        };
        let nullable: &[Range<usize>] = match kind {
            JoinKind::Inner => &[],
            JoinKind::Left => &[right.entries],
            JoinKind::Right => &[left.entries],
            JoinKind::Full => &[left.entries, right.entries],
        };
        for side in nullable {
            for item in &mut self.scope().items[side.clone()] {
                if let ItemKind::Table { nullable, .. } = &mut item.kind {
                    *nullable = true;
                }
            }
        }
        Ok(Item { from: From::Join(Rc::new(join)), slots, entries: all_entries })
    }

    fn join(&mut self, join: &ast::Join) -> Result<Item> {
        let left = self.transform_item(&join.left)?;
        let right = self.transform_item(&join.right)?;
        let left_columns = self.bare_columns(&left.entries);
        let right_columns = self.bare_columns(&right.entries);
        let using: Vec<(String, u32)> = if join.natural {
            let common = left_columns.iter().filter(|l| right_columns.iter().any(|r| r.name == l.name));
            common.map(|c| (c.name.clone(), 0)).collect()
        } else {
            join.using.clone()
        };
        let (merged, mut on) = self.merge_columns(join.kind, &using, &left_columns, &right_columns)?;
        if let Some(condition) = &join.on {
            let before = std::mem::replace(&mut self.scope().visible_from, left.entries.start);
            let condition = self.clause_expr(condition, Clause::JoinOn);
            self.scope().visible_from = before;
            on = Some(self.coerce_to_boolean(condition?, "JOIN/ON")?);
        }
        let is_merged = |c: &ScopeColumn| using.iter().any(|(name, _)| *name == c.name);
        let mut columns = merged;
        columns.extend(left_columns.into_iter().filter(|c| !is_merged(c)));
        columns.extend(right_columns.into_iter().filter(|c| !is_merged(c)));
        let mut item = self.joined(join.kind, left, right, on)?;
        let has_alias = join.alias.is_some();
        for entry in &mut self.scope().items[item.entries.clone()] {
            entry.bare = false;
            entry.named &= !has_alias;
        }
        if let Some(alias) = &join.alias {
            for (column, name) in columns.iter_mut().zip(&alias.columns) {
                column.name.clone_from(name);
            }
        }
        let alias = join.alias.as_ref().map_or_else(|| "unnamed_join".to_string(), |a| a.name.clone());
        self.scope().items.push(ScopeItem {
            alias,
            hidden_name: None,
            schema: None,
            columns,
            named: has_alias,
            bare: true,
            is_scalar: false,
            system: Vec::new(),
            kind: ItemKind::Other("a join"),
        });
        item.entries.end += 1;
        Ok(item)
    }

    fn bare_columns(&mut self, entries: &Range<usize>) -> Vec<ScopeColumn> {
        let items = &self.scope().items[entries.clone()];
        items.iter().filter(|i| i.bare).flat_map(|i| i.columns.clone()).collect()
    }

    /// USING: the columns shown once, and the condition that makes them equal.
    fn merge_columns(
        &mut self,
        kind: JoinKind,
        using: &[(String, u32)],
        left: &[ScopeColumn],
        right: &[ScopeColumn],
    ) -> Result<(Vec<ScopeColumn>, Option<Expr>)> {
        let mut merged = Vec::new();
        let mut conditions = Vec::new();
        for (i, (name, loc)) in using.iter().enumerate() {
            if using[..i].iter().any(|(other, _)| other == name) {
                let message = format!("column name \"{name}\" appears more than once in USING clause");
                return Err(self.error(SqlState::DUPLICATE_COLUMN, *loc, message));
            }
            let l = using_column(name, left, "left")?;
            let r = using_column(name, right, "right")?;
            conditions.push(self.operator(&vec!["=".into()], Some(l.clone()), r.clone(), *loc)?);
            let ty = self.common_type(&[&l, &r], "JOIN/USING")?;
            let l = self.coerce(l, ty, -1, Context::Implicit)?;
            let r = self.coerce(r, ty, -1, Context::Implicit)?;
            let expr = match kind {
                JoinKind::Inner | JoinKind::Left => l,
                JoinKind::Right => r,
                JoinKind::Full => Expr::new(ty, *loc, Node::Coalesce(vec![l, r])),
            };
            merged.push(ScopeColumn { name: name.clone(), expr });
        }
        let on = match conditions.len() {
            0 => None,
            1 => conditions.pop(),
            _ => Some(Expr::new(oid::BOOL, 0, Node::And(conditions))),
        };
        Ok((merged, on))
    }
}

/// The column that USING means on one side.
fn using_column(name: &str, columns: &[ScopeColumn], side: &str) -> Result<Expr> {
    let mut matching = columns.iter().filter(|c| c.name == name);
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found.expr.clone()),
        (Some(_), Some(_)) => {
            let message = format!("common column name \"{name}\" appears more than once in {side} table");
            Err(error!(SqlState::AMBIGUOUS_COLUMN, "{message}"))
        }
        (None, _) => {
            let message =
                format!("column \"{name}\" specified in USING clause does not exist in {side} table");
            Err(error!(SqlState::UNDEFINED_COLUMN, "{message}"))
        }
    }
}

/// Whether the item starts over for each row to its left.
fn is_lateral(from: &From) -> bool {
    match from {
        From::Function(scan) => scan.lateral,
        From::Subquery { lateral, .. } => *lateral,
        From::Join(join) => is_lateral(&join.left) || is_lateral(&join.right),
        From::Filter(filter) => is_lateral(&filter.0),
        From::Relation { .. } | From::Table(_) | From::Cte { .. } => false,
    }
}

pub(super) fn reads_slots(expr: &Expr, wanted: usize, slots: &Range<usize>) -> bool {
    if matches!(&expr.node, Node::Var { depth, slot } if *depth == wanted && slots.contains(slot)) {
        return true;
    }
    let mut found = false;
    expr.for_each_child(&mut |child| found |= reads_slots(child, wanted, slots));
    found
}

fn has_sublink(expr: &Expr) -> bool {
    if matches!(expr.node, Node::Sublink { .. }) {
        return true;
    }
    let mut found = false;
    expr.for_each_child(&mut |child| found |= has_sublink(child));
    found
}

/// `unnest(a, b)` in FROM means `ROWS FROM (unnest(a), unnest(b))`: there is no function that would do it.
/// C: in `transformRangeFunction`.
fn one_array_each(functions: &[(AstExpr, Vec<ColumnDef>)]) -> Cow<'_, [(AstExpr, Vec<ColumnDef>)]> {
    let is_plural = |(expr, own): &(AstExpr, Vec<ColumnDef>)| match &expr.kind {
        ExprKind::Function(call) => {
            let is_plain = !call.star && !call.distinct && !call.variadic && !call.over;
            let is_plain = is_plain && call.order_by.is_empty() && call.filter.is_none();
            call.name == ["unnest"] && call.args.len() > 1 && is_plain && own.is_empty()
        }
        _ => false,
    };
    if !functions.iter().any(is_plural) {
        return Cow::Borrowed(functions);
    }
    let mut apart = Vec::new();
    for function in functions {
        match &function.0.kind {
            ExprKind::Function(call) if is_plural(function) => {
                for arg in &call.args {
                    let mut one = (**call).clone();
                    one.name = vec!["pg_catalog".into(), "unnest".into()];
                    (one.args, one.arg_names) = (vec![arg.clone()], vec![None]);
                    // As deep as before at most.
                    let mut expr = function.0.clone();
                    expr.kind = ExprKind::Function(Box::new(one));
                    apart.push((expr, Vec::new()));
                }
            }
            _ => apart.push(function.clone()),
        }
    }
    Cow::Owned(apart)
}
