//! Expressions that belong to a table, not to a query: DEFAULT, CHECK, the WHERE of COPY.
//!
//! The catalog keeps defaults and constraints as SQL text; each plan that needs one reads it again. For the
//! commands that define tables or fill them without a query there is [`compile_expr`], which makes an expression
//! that can be evaluated row by row, and [`RowRules`], all that a new row of a table has to go through.
//!
//! C counterpart: `cookDefault`, `cookConstraint` of catalog/heap.c, `ExecConstraints` of execMain.c,
//! `build_column_default` of rewriteHandler.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use parser::ast::Expr as AstExpr;
use types::cast::Context;
use types::fmgr::Session;
use types::{Datum, format_type};

use super::dml::not_null_columns;
use super::insert::null_of;
use super::scope::{Clause, ItemKind, Scope, ScopeColumn, ScopeItem, var};
use super::{Analyzer, ParamTypes};
use crate::env::Env;
use crate::exec::Standalone;
use crate::expr::{Expr, Node};
use crate::query::Column;
use crate::table::TableInfo;

/// What an expression is for: decides what it may contain and how errors name it.
#[derive(Clone, Copy, Debug)]
pub enum ExprPurpose<'a> {
    /// The default of a column of this name, type and modifier: no columns, no subqueries.
    Default(&'a str, Oid, i32),
    /// A CHECK constraint over the columns of the table of this name.
    Check(&'a str),
    /// One that was stored, to be shown: over the columns of the table of this name, of any type.
    Shown(&'a str),
    /// The WHERE of COPY FROM over the columns of the table of this name.
    CopyWhere(&'a str),
}

impl ExprPurpose<'_> {
    fn clause(self) -> Clause {
        match self {
            ExprPurpose::Default(..) => Clause::Default,
            ExprPurpose::Check(_) | ExprPurpose::Shown(_) => Clause::Check,
            ExprPurpose::CopyWhere(_) => Clause::CopyWhere,
        }
    }
}

/// An expression ready to be evaluated over rows. C: `ExprState`.
#[derive(Debug)]
pub struct CompiledExpr {
    run: Standalone,
    /// Type of its value.
    pub ty: Oid,
}

impl CompiledExpr {
    /// Whether it is nothing but NULL.
    pub fn is_null(&self) -> bool {
        self.run.is_null()
    }

    /// Its value for a row with the columns it was compiled for, dropped ones included. C: `ExecEvalExpr`.
    ///
    /// # Errors
    /// What its functions say.
    pub fn eval(&mut self, row: &[Datum], session: &Session<'_>) -> Result<Datum> {
        self.run.eval(row, session)
    }
}

/// Settles names and types of an expression about a table. `columns` are the table's, dropped ones as `None`;
/// `source` is the text that its places count in.
///
/// # Errors
/// What PostgreSQL says about such an expression, with its position.
pub fn compile_expr(
    expr: &AstExpr,
    source: &str,
    purpose: ExprPurpose<'_>,
    columns: &[Option<Column>],
    env: &dyn Env,
) -> Result<CompiledExpr> {
    let (made, width) = settled(expr, source, purpose, columns, env)?;
    let ty = made.ty;
    Ok(CompiledExpr { run: Standalone::new(made, width), ty })
}

/// An expression about a table as SQL text, as PostgreSQL shows it: `pretty` with few parentheses. `None` for a
/// constant NULL, which as a default is none, and for what has no text here.
/// C: `cookDefault` or `cookConstraint`, then `deparse_expression_pretty`.
///
/// # Errors
/// As [`compile_expr`].
pub fn expr_text(
    expr: &AstExpr,
    source: &str,
    purpose: ExprPurpose<'_>,
    columns: &[Option<Column>],
    env: &dyn Env,
    pretty: bool,
) -> Result<Option<String>> {
    let (made, _) = settled(expr, source, purpose, columns, env)?;
    if matches!((&made.node, purpose), (Node::Const(Datum::Null), ExprPurpose::Default(..))) {
        return Ok(None);
    }
    Ok(crate::deparse::deparse(&made, columns, pretty))
}

/// Numbers (from 1) of the columns that a condition about a table reads, in the order in which it mentions them.
/// C: `pull_var_clause` in `StoreRelCheck`.
///
/// # Errors
/// As [`compile_expr`].
pub fn columns_read(
    expr: &AstExpr,
    source: &str,
    purpose: ExprPurpose<'_>,
    columns: &[Option<Column>],
    env: &dyn Env,
) -> Result<Vec<i16>> {
    fn walk(expr: &Expr, width: usize, found: &mut Vec<i16>) {
        if let Node::Var { slot, .. } = expr.node {
            let number = slot as i16 + 1;
            if slot < width && !found.contains(&number) {
                found.push(number);
            }
        }
        expr.for_each_child(&mut |child| walk(child, width, found));
    }
    let (made, _) = settled(expr, source, purpose, columns, env)?;
    let mut found = Vec::new();
    walk(&made, columns.len(), &mut found);
    Ok(found)
}

/// An expression with its names and types, and the width of its frame.
fn settled(
    expr: &AstExpr,
    source: &str,
    purpose: ExprPurpose<'_>,
    columns: &[Option<Column>],
    env: &dyn Env,
) -> Result<(Expr, usize)> {
    let mut analyzer = Analyzer::new(source, ParamTypes::Fixed(&[]), env);
    analyzer.scopes.push(Scope::new());
    let scope = analyzer.scope();
    scope.allocate(columns.len());
    if let ExprPurpose::Check(name) | ExprPurpose::CopyWhere(name) | ExprPurpose::Shown(name) = purpose {
        scope.items.push(row_item(name, columns, 0, 0));
    }
    let made = analyzer.table_expr(expr, purpose)?;
    Ok((made, analyzer.scope().width))
}

fn row_item(name: &str, columns: &[Option<Column>], depth: usize, base: usize) -> ScopeItem {
    let column = |(i, c): (usize, &Option<Column>)| {
        let c = c.as_ref()?;
        Some(ScopeColumn { name: c.name.clone(), expr: var(c.ty, c.typmod, depth, base + i) })
    };
    ScopeItem {
        alias: name.to_string(),
        hidden_name: None,
        schema: None,
        columns: columns.iter().enumerate().filter_map(column).collect(),
        named: true,
        bare: true,
        is_scalar: false,
        system: Vec::new(),
        kind: ItemKind::Virtual,
    }
}

/// The columns of a table as [`compile_expr`] takes them.
pub(crate) fn columns_of(table: &TableInfo) -> Vec<Option<Column>> {
    let column = |a: &heap::Attribute| {
        (!a.is_dropped).then(|| Column { name: a.name.to_string(), ty: a.type_id, typmod: a.typmod })
    };
    table.desc.attrs.iter().map(column).collect()
}

impl Analyzer<'_> {
    fn table_expr(&mut self, expr: &AstExpr, purpose: ExprPurpose<'_>) -> Result<Expr> {
        let analyzed = self.clause_expr(expr, purpose.clause())?;
        if let ExprPurpose::Shown(_) = purpose {
            return Ok(analyzed);
        }
        let ExprPurpose::Default(name, ty, typmod) = purpose else {
            let what = if matches!(purpose, ExprPurpose::Check(_)) { "CHECK" } else { "WHERE" };
            return self.coerce_to_boolean(analyzed, what);
        };
        let from = analyzed.ty;
        match self.coerce_to(analyzed, ty, typmod, Context::Assignment)? {
            Some(expr) => Ok(expr),
            None => Err(error!(
                SqlState::DATATYPE_MISMATCH,
                "column \"{name}\" is of type {} but default expression is of type {}",
                format_type(ty, -1),
                format_type(from, -1)
            )
            .hint("You will need to rewrite or cast the expression.")),
        }
    }

    /// Reads stored text in a scope that shares this one's frame.
    fn stored_expr(
        &mut self,
        text: &str,
        purpose: ExprPurpose<'_>,
        columns: &[Option<Column>],
        base: usize,
    ) -> Result<Expr> {
        let depth = self.depth();
        let parsed = parser::parse_expr(text)?;
        let mut inner = Analyzer::new(text, ParamTypes::Fixed(&[]), self.env);
        inner.scopes = (0..=depth).map(|_| Scope::new()).collect();
        inner.scope().width = self.scope().width;
        if let ExprPurpose::Check(name) = purpose {
            inner.scope().items.push(row_item(name, columns, depth, base));
        }
        let made = inner.table_expr(&parsed, purpose)?;
        self.scope().width = inner.scope().width;
        Ok(made)
    }

    /// What a column gets if nothing is given. C: `build_column_default`.
    pub(super) fn default_or_null(&mut self, table: &Rc<TableInfo>, column: usize) -> Result<Expr> {
        let attr = &table.desc.attrs[column];
        match table.default_of(column) {
            Some(text) if !attr.is_dropped => {
                let text = text.clone();
                let purpose = ExprPurpose::Default(&attr.name, attr.type_id, attr.typmod);
                self.stored_expr(&text, purpose, &[], 0)
            }
            _ => Ok(null_of(table, column)),
        }
    }

    /// The CHECK constraints over the row in these slots.
    pub(super) fn checks(&mut self, table: &Rc<TableInfo>, base: usize) -> Result<Vec<(Rc<str>, Expr)>> {
        let columns = columns_of(table);
        let mut checks = Vec::with_capacity(table.checks.len());
        for (name, text) in &table.checks {
            let check = self.stored_expr(text, ExprPurpose::Check(&table.name), &columns, base)?;
            checks.push((name.clone(), check));
        }
        Ok(checks)
    }
}

/// What a new row of a table goes through when no query brings it: defaults and constraints. For COPY FROM.
#[derive(Debug)]
pub struct RowRules {
    table: Rc<TableInfo>,
    defaults: Vec<Option<CompiledExpr>>,
    not_null: Vec<usize>,
    checks: Vec<(Rc<str>, CompiledExpr)>,
}

impl RowRules {
    /// Reads the table's rules.
    ///
    /// # Errors
    /// If stored text cannot be understood any more.
    pub fn new(table: &Rc<TableInfo>, env: &dyn Env) -> Result<RowRules> {
        let columns = columns_of(table);
        let compile = |text: &str, purpose: ExprPurpose<'_>| {
            compile_expr(&parser::parse_expr(text)?, text, purpose, &columns, env)
        };
        let mut defaults = Vec::with_capacity(table.natts());
        for (i, attr) in table.desc.attrs.iter().enumerate() {
            defaults.push(match table.default_of(i) {
                Some(text) if !attr.is_dropped => {
                    Some(compile(text, ExprPurpose::Default(&attr.name, attr.type_id, attr.typmod))?)
                }
                _ => None,
            });
        }
        let mut checks = Vec::with_capacity(table.checks.len());
        for (name, text) in &table.checks {
            checks.push((name.clone(), compile(text, ExprPurpose::Check(&table.name))?));
        }
        Ok(RowRules { table: table.clone(), defaults, not_null: not_null_columns(table), checks })
    }

    /// The default of a column (index from 0), NULL if it has none.
    ///
    /// # Errors
    /// What the expression's functions say.
    pub fn default_of(&mut self, column: usize, session: &Session<'_>) -> Result<Datum> {
        match self.defaults.get_mut(column) {
            Some(Some(expr)) => expr.eval(&[], session),
            _ => Ok(Datum::Null),
        }
    }

    /// Checks a row with all columns, dropped ones included. C: `ExecConstraints`.
    ///
    /// # Errors
    /// 23502, 23514, with the row as detail.
    pub fn check(&mut self, row: &[Datum], session: &Session<'_>) -> Result<()> {
        crate::exec::check_not_null(&self.table, &self.not_null, row)?;
        for (name, check) in &mut self.checks {
            if matches!(check.eval(row, session)?, Datum::Bool(false)) {
                return Err(crate::exec::check_violated(&self.table, name, row));
            }
        }
        Ok(())
    }
}
