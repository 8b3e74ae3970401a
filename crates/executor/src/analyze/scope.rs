//! Which columns can be named where.
//!
//! C counterpart: `ParseNamespaceItem` and the name lookup of parse_relation.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result};
use parser::ast::LockingClause;
use types::oid;

use super::Analyzer;
use crate::expr::{Expr, Node};
use crate::query::{AggregateCall, SetCall};
use crate::table::TableInfo;

/// The clause that is being looked at. C: `ParseExprKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    Targets,
    Where,
    JoinOn,
    FromFunction,
    GroupBy,
    Having,
    OrderBy,
    DistinctOn,
    Limit,
    Offset,
    Values,
    /// VALUES of one row in INSERT, where sets may stand.
    ValuesSingle,
    Arguments,
    UpdateSource,
    Returning,
    Default,
    Check,
    CopyWhere,
}

impl Clause {
    /// As in `aggregate functions are not allowed in ...`.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Clause::Targets => "SELECT",
            Clause::Where => "WHERE",
            Clause::JoinOn => "JOIN conditions",
            Clause::FromFunction => "functions in FROM",
            Clause::GroupBy => "GROUP BY",
            Clause::Having => "HAVING",
            Clause::OrderBy => "ORDER BY",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::Limit => "LIMIT",
            Clause::Offset => "OFFSET",
            Clause::Values | Clause::ValuesSingle => "VALUES",
            Clause::Arguments => "EXECUTE parameters",
            Clause::UpdateSource => "UPDATE",
            Clause::Returning => "RETURNING",
            Clause::Default => "DEFAULT expressions",
            Clause::Check => "check constraints",
            Clause::CopyWhere => "COPY FROM WHERE conditions",
        }
    }

    /// The words of the refusal, where no subquery may stand.
    pub(crate) fn forbids_subqueries(self) -> Option<&'static str> {
        match self {
            Clause::Default => Some("DEFAULT expression"),
            Clause::Check => Some("check constraint"),
            Clause::CopyWhere => Some("COPY FROM WHERE condition"),
            _ => None,
        }
    }

    pub(crate) fn allows_aggregates(self) -> bool {
        matches!(self, Clause::Targets | Clause::Having | Clause::OrderBy | Clause::DistinctOn)
    }

    pub(crate) fn allows_sets(self) -> bool {
        matches!(
            self,
            Clause::Targets | Clause::OrderBy | Clause::DistinctOn | Clause::GroupBy | Clause::ValuesSingle
        )
    }
}

/// A column of a FROM item.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) name: String,
    pub(crate) expr: Expr,
}

/// A FROM item by its name.
#[derive(Clone, Debug)]
pub(crate) struct ScopeItem {
    /// The alias, or the relation's name.
    pub(crate) alias: String,
    /// The relation's own name, if an alias hides it.
    pub(crate) hidden_name: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) columns: Vec<ScopeColumn>,
    /// `alias.column` works.
    pub(crate) named: bool,
    /// `column` alone works, and `*` shows it.
    pub(crate) bare: bool,
    /// A function's single value: the alias alone stands for it.
    pub(crate) is_scalar: bool,
    /// What `*` does not show but a name finds.
    pub(crate) system: Vec<ScopeColumn>,
    /// What FOR UPDATE can lock, or why it cannot.
    pub(crate) kind: ItemKind,
}

/// What a FROM item is, as far as row locks go.
#[derive(Clone, Debug)]
pub(crate) enum ItemKind {
    /// A table, its first slot, and whether it is on the nullable side of an outer join.
    Table { table: Rc<TableInfo>, base: usize, nullable: bool },
    /// A relation without rows to lock.
    Virtual,
    /// The words that a refusal names it by.
    Other(&'static str),
    /// A subquery, whose own tables are locked.
    Subquery,
}

/// One query's names and frame.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Slots given out.
    pub(crate) width: usize,
    /// Slots of FROM; those behind hold aggregates and the like.
    pub(crate) input_width: usize,
    pub(crate) items: Vec<ScopeItem>,
    /// FOR UPDATE clauses of this query.
    pub(crate) locking: Vec<LockingClause>,
    /// Items before this one are out of sight: those to the left of a join whose condition is looked at.
    pub(crate) visible_from: usize,
    /// The whole scope is out of sight: a subquery in FROM that is not LATERAL.
    pub(crate) hidden: bool,
    /// Names of WITH: the index of the statement's CTE, and whether it is its own reference to itself.
    pub(crate) ctes: Vec<(String, usize, bool)>,
    pub(crate) clause: Clause,
    pub(crate) aggregates: Vec<AggregateCall>,
    /// Within an aggregate's arguments.
    pub(crate) in_aggregate: bool,
    /// Within CASE or COALESCE: their names forbid set-returning functions.
    pub(crate) conditional: Option<&'static str>,
    pub(crate) set_levels: Vec<Vec<SetCall>>,
}

impl Scope {
    pub(crate) fn new() -> Scope {
        Scope {
            width: 0,
            input_width: 0,
            items: Vec::new(),
            locking: Vec::new(),
            visible_from: 0,
            hidden: false,
            ctes: Vec::new(),
            clause: Clause::Targets,
            aggregates: Vec::new(),
            in_aggregate: false,
            conditional: None,
            set_levels: Vec::new(),
        }
    }

    /// The next `count` slots.
    pub(crate) fn allocate(&mut self, count: usize) -> usize {
        let base = self.width;
        self.width += count;
        base
    }
}

/// What looking for a name came to.
enum Found<T> {
    Yes(T),
    Ambiguous,
    No,
}

impl Analyzer<'_> {
    /// `a`, `a.b`, `a.b.c`, `a.b.c.d`. C: `transformColumnRef`.
    pub(super) fn column_ref(&mut self, name: &[String], loc: u32) -> Result<Expr> {
        if self.scopes.last().is_some_and(|scope| scope.clause == Clause::Default) {
            let message = "cannot use column reference in DEFAULT expression";
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, loc, message));
        }
        match name {
            [column] => self.bare_column(column, loc),
            [table, column] => self.table_column(None, table, column, loc),
            [schema, table, column] => self.table_column(Some(schema), table, column, loc),
            [database, schema, table, column] if database == self.env.current_database() => {
                self.table_column(Some(schema), table, column, loc)
            }
            [_, _, _, _] => Err(self.error(
                SqlState::FEATURE_NOT_SUPPORTED,
                loc,
                format!("cross-database references are not implemented: {}", name.join(".")),
            )),
            _ => Err(self.error(
                SqlState::SYNTAX_ERROR,
                loc,
                format!("improper qualified name (too many dotted names): {}", name.join(".")),
            )),
        }
    }

    fn bare_column(&mut self, column: &str, loc: u32) -> Result<Expr> {
        for level in (0..self.scopes.len()).rev() {
            let scope = &self.scopes[level];
            if scope.hidden {
                continue;
            }
            match find_bare(&scope.items[scope.visible_from..], column) {
                Found::Yes(expr) => return Ok(self.column_found(expr, level, loc)),
                Found::Ambiguous => {
                    let message = format!("column reference \"{column}\" is ambiguous");
                    return Err(self.error(SqlState::AMBIGUOUS_COLUMN, loc, message));
                }
                Found::No => {}
            }
        }
        // A table's name alone stands for its row.
        if let Some((level, index)) = self.find_item(None, column) {
            return Ok(self.whole_row(level, index, loc));
        }
        Err(self.no_column(None, column, loc))
    }

    fn table_column(&mut self, schema: Option<&str>, table: &str, column: &str, loc: u32) -> Result<Expr> {
        let Some((level, index)) = self.find_item(schema, table) else {
            return Err(self.no_table(table, loc));
        };
        let item = &self.scopes[level].items[index];
        let mut matching = item.columns.iter().chain(&item.system).filter(|c| c.name == column);
        match (matching.next(), matching.next()) {
            (Some(found), None) => {
                let expr = found.expr.clone();
                Ok(self.column_found(expr, level, loc))
            }
            (Some(_), Some(_)) => {
                let message = format!("column reference \"{column}\" is ambiguous");
                Err(self.error(SqlState::AMBIGUOUS_COLUMN, loc, message))
            }
            (None, _) => Err(self.no_column(Some(table), column, loc)),
        }
    }

    fn column_found(&mut self, expr: Expr, level: usize, loc: u32) -> Expr {
        self.reaches(level);
        self.located(expr, loc)
    }

    /// The item of that name, from the innermost scope outwards.
    pub(super) fn find_item(&self, schema: Option<&str>, name: &str) -> Option<(usize, usize)> {
        (0..self.scopes.len()).rev().filter(|level| !self.scopes[*level].hidden).find_map(|level| {
            let scope = &self.scopes[level];
            let matches = |item: &ScopeItem| {
                item.named
                    && item.alias == name
                    && schema.is_none_or(|s| item.schema.as_deref() == Some(s) && item.hidden_name.is_none())
            };
            let visible = &scope.items[scope.visible_from..];
            visible.iter().position(matches).map(|i| (level, i + scope.visible_from))
        })
    }

    /// A whole row as a value. C: `transformWholeRowRef`.
    fn whole_row(&mut self, level: usize, index: usize, loc: u32) -> Expr {
        self.reaches(level);
        let item = &self.scopes[level].items[index];
        if let (true, [only]) = (item.is_scalar, item.columns.as_slice()) {
            return self.located(only.expr.clone(), loc);
        }
        let fields = item.columns.iter().map(|c| c.expr.clone()).collect();
        let names = item.columns.iter().map(|c| c.name.as_str().into()).collect();
        let row = Expr::new(oid::RECORD, loc, Node::Row { fields, names });
        let own_row = item.system.iter().find(|c| c.name == "tableoid");
        match (&item.kind, own_row) {
            // Where an outer join found no row there is none, which is not the same as a row of NULLs.
            (ItemKind::Table { nullable: true, .. }, Some(tableoid)) => {
                let arg = Box::new(tableoid.expr.clone());
                let missing = Expr::new(oid::BOOL, loc, Node::IsNull { arg, negated: false });
                let none = Expr::constant(oid::RECORD, loc, types::Datum::Null);
                let whens = vec![(missing, none)];
                Expr::new(oid::RECORD, loc, Node::Case { whens, default: Some(Box::new(row)) })
            }
            _ => row,
        }
    }

    /// All columns that `*` shows.
    pub(super) fn star(&mut self, loc: u32) -> Vec<ScopeColumn> {
        let depth = self.depth();
        self.reaches(depth);
        let columns = self.scope().items.iter().filter(|i| i.bare).flat_map(|i| i.columns.clone());
        columns.map(|c| ScopeColumn { expr: Expr { loc, ..c.expr }, ..c }).collect()
    }

    /// `table.*` within an expression: its row.
    pub(super) fn row_of(&mut self, name: &[String], loc: u32) -> Result<Expr> {
        let (level, index) = self.item_of(name, loc)?;
        Ok(self.whole_row(level, index, loc))
    }

    /// All columns that `table.*` shows.
    pub(super) fn table_star(&mut self, name: &[String], loc: u32) -> Result<Vec<ScopeColumn>> {
        let (level, index) = self.item_of(name, loc)?;
        self.reaches(level);
        let columns = self.scopes[level].items[index].columns.clone();
        Ok(columns.into_iter().map(|c| ScopeColumn { expr: Expr { loc, ..c.expr }, ..c }).collect())
    }

    fn item_of(&self, name: &[String], loc: u32) -> Result<(usize, usize)> {
        let (schema, table) = match name {
            [table] => (None, table),
            [schema, table] | [_, schema, table] => (Some(schema.as_str()), table),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {}", name.join("."));
                return Err(self.error(SqlState::SYNTAX_ERROR, loc, message));
            }
        };
        self.find_item(schema, table).ok_or_else(|| self.no_table(table, loc))
    }

    // --- errors ---

    /// C: `errorMissingRTE`.
    fn no_table(&self, table: &str, loc: u32) -> PgError {
        let items = || self.scopes.iter().rev().flat_map(|scope| &scope.items);
        let invalid = || {
            let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
            self.error(SqlState::UNDEFINED_TABLE, loc, message)
        };
        if let Some(item) = items().find(|i| i.hidden_name.as_deref() == Some(table)) {
            return invalid()
                .hint(format!("Perhaps you meant to reference the table alias \"{}\".", item.alias));
        }
        if items().any(|i| i.alias == table) {
            return invalid().hint(format!(
                "There is an entry for table \"{table}\", but it cannot be referenced from this part of the query."
            ));
        }
        let message = format!("missing FROM-clause entry for table \"{table}\"");
        self.error(SqlState::UNDEFINED_TABLE, loc, message)
    }

    /// C: `errorMissingColumn`.
    fn no_column(&self, table: Option<&str>, column: &str, loc: u32) -> PgError {
        let message = match table {
            Some(table) => format!("column {table}.{column} does not exist"),
            None => format!("column \"{column}\" does not exist"),
        };
        let e = self.error(SqlState::UNDEFINED_COLUMN, loc, message);
        let items = || self.scopes.iter().rev().flat_map(|scope| &scope.items).filter(|i| i.named);
        let exact = items()
            .filter(|i| table.is_none_or(|t| i.alias == t))
            .find(|i| i.columns.iter().any(|c| c.name == column));
        if let Some(item) = exact {
            return e.hint(format!(
                "There is a column named \"{column}\" in table \"{}\", but it cannot be referenced from this \
                 part of the query.",
                item.alias
            ));
        }
        let close = close_columns(items(), table, column);
        match close.as_slice() {
            [one] => e.hint(format!("Perhaps you meant to reference the column \"{one}\".")),
            [one, two] => e.hint(format!(
                "Perhaps you meant to reference the column \"{one}\" or the column \"{two}\"."
            )),
            _ => e,
        }
    }

    /// The name that an ungrouped column has in messages.
    pub(super) fn slot_name(&self, depth: usize, slot: usize) -> String {
        let items = self.scopes.get(depth).map_or(&[][..], |scope| &scope.items);
        let is_slot = |c: &&ScopeColumn| matches!(c.expr.node, Node::Var { depth: d, slot: s } if (d, s) == (depth, slot));
        let found = items.iter().filter(|i| i.named).find_map(|i| Some((i, i.columns.iter().find(is_slot)?)));
        found.map_or_else(String::new, |(item, column)| format!("{}.{}", item.alias, column.name))
    }
}

fn find_bare(items: &[ScopeItem], column: &str) -> Found<Expr> {
    let all = items.iter().filter(|i| i.bare).flat_map(|i| i.columns.iter().chain(&i.system));
    let mut matching = all.filter(|c| c.name == column);
    match (matching.next(), matching.next()) {
        (Some(found), None) => Found::Yes(found.expr.clone()),
        (Some(_), Some(_)) => Found::Ambiguous,
        (None, _) => Found::No,
    }
}

/// Up to two columns with a name close to the one asked for. C: `searchRangeTableForCol`.
fn close_columns<'s>(
    items: impl Iterator<Item = &'s ScopeItem>,
    table: Option<&str>,
    column: &str,
) -> Vec<String> {
    const GREATEST_DISTANCE: usize = 3;
    let mut best = GREATEST_DISTANCE + 1;
    let mut found = Vec::new();
    for item in items {
        let alias_distance = table.map_or(0, |t| distance(t, &item.alias));
        for candidate in &item.columns {
            let total = alias_distance + distance(column, &candidate.name);
            if total > column.chars().count() / 2 || total > best {
                continue;
            }
            if total < best {
                found.clear();
                best = total;
            }
            found.push(format!("{}.{}", item.alias, candidate.name));
        }
    }
    if found.len() > 2 { Vec::new() } else { found }
}

/// Number of single-character edits between two words. C: `varstr_levenshtein`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A slot as an expression.
pub(super) fn var(ty: Oid, typmod: i32, depth: usize, slot: usize) -> Expr {
    Expr { ty, typmod, loc: 0, node: Node::Var { depth, slot } }
}
