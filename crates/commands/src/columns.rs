//! The columns and constraints of CREATE TABLE, from what was written to what the catalogs store.
//!
//! C counterpart: `transformColumnDefinition`, `transformTableConstraint` of parser/parse_utilcmd.c,
//! `AddRelationNewConstraints` of catalog/heap.c.

use catalog::create::{CheckSpec, ColumnSpec};
use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use executor::{Column, ExprPurpose, compile_expr, resolve_type_name};
use parser::ast::{Constraint, ConstraintKind, SourceExpr, TableColumn, TableElement};
use types::format_type;
use types::store::Form;

use crate::{Context, not_supported};

/// What the parentheses of CREATE TABLE say.
#[derive(Default)]
pub(crate) struct Definition {
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) checks: Vec<CheckSpec>,
}

/// A CHECK that has no name yet, with the column that it is written at.
struct WrittenCheck<'a> {
    constraint: &'a Constraint,
    expr: &'a SourceExpr,
}

impl Definition {
    /// Settles types, defaults and constraints.
    pub(crate) fn new(cx: &Context<'_>, table: &str, elements: &[TableElement]) -> Result<Definition> {
        let mut definition = Definition::default();
        let mut checks = Vec::new();
        for element in elements {
            match element {
                TableElement::Column(column) => definition.add_column(cx, table, column, &mut checks)?,
                TableElement::Constraint(constraint) => match &constraint.kind {
                    ConstraintKind::Check(expr) => checks.push(WrittenCheck { constraint, expr }),
                    other => return Err(unsupported_constraint(cx, constraint, other)),
                },
                TableElement::Like(..) => return Err(not_supported("LIKE in CREATE TABLE is")),
            }
        }
        for (i, column) in definition.columns.iter().enumerate() {
            if definition.columns[..i].iter().any(|other| other.name == column.name) {
                let name = &column.name;
                return Err(error!(
                    SqlState::DUPLICATE_COLUMN,
                    "column \"{name}\" specified more than once"
                ));
            }
        }
        for check in checks {
            definition.add_check(cx, table, &check)?;
        }
        Ok(definition)
    }

    fn add_column<'a>(
        &mut self,
        cx: &Context<'_>,
        table: &str,
        column: &'a TableColumn,
        checks: &mut Vec<WrittenCheck<'a>>,
    ) -> Result<()> {
        let (type_id, typmod) = column_type(cx, column)?;
        let mut spec = ColumnSpec::new(&column.name, type_id, typmod);
        spec.dimensions = column.type_name.array_dims as i32;
        if let Some((collation, loc)) = &column.collation {
            let known = ["default", "C", "POSIX"].contains(&collation.last().map_or("", String::as_str));
            if !known {
                return Err(not_supported("collations other than the default are").position(cx.position(*loc)));
            }
        }
        let mut nullable = None;
        for constraint in &column.constraints {
            match &constraint.kind {
                ConstraintKind::NotNull | ConstraintKind::Null => {
                    let not_null = constraint.kind == ConstraintKind::NotNull;
                    if nullable.is_some_and(|nullable| nullable == not_null) {
                        return Err(error!(
                            SqlState::SYNTAX_ERROR,
                            "conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"",
                            column.name
                        )
                        .position(cx.position(constraint.loc)));
                    }
                    nullable = Some(!not_null);
                }
                ConstraintKind::Default(expr) => {
                    if spec.default.is_some() {
                        return Err(error!(
                            SqlState::SYNTAX_ERROR,
                            "multiple default values specified for column \"{}\" of table \"{table}\"",
                            column.name
                        )
                        .position(cx.position(constraint.loc)));
                    }
                    let purpose = ExprPurpose::Default(&column.name, type_id, -1);
                    compile_expr(&expr.expr, cx.source, purpose, &[], cx.env)?;
                    spec.default = Some(expr.text.clone());
                }
                ConstraintKind::Check(expr) => checks.push(WrittenCheck { constraint, expr }),
                other => return Err(unsupported_constraint(cx, constraint, other)),
            }
        }
        spec.not_null = nullable == Some(false);
        self.columns.push(spec);
        Ok(())
    }

    fn add_check(&mut self, cx: &Context<'_>, table: &str, check: &WrittenCheck<'_>) -> Result<()> {
        let columns = self.referenced(cx, table, check.expr)?;
        let taken = |name: &str| self.checks.iter().any(|check| check.name == name);
        let name = match &check.constraint.name {
            Some(name) if taken(name) => {
                return Err(error!(
                    SqlState::DUPLICATE_OBJECT,
                    "check constraint \"{name}\" already exists"
                ));
            }
            Some(name) => name.clone(),
            None => {
                let only = match columns.as_slice() {
                    [number] => self.columns.get(*number as usize - 1).map(|column| column.name.as_str()),
                    _ => None,
                };
                catalog::create::choose_check_name(table, only, taken)
            }
        };
        let expression = check.expr.text.clone();
        let no_inherit = check.constraint.no_inherit;
        self.checks.push(CheckSpec { name, expression, columns, no_inherit });
        Ok(())
    }

    /// Numbers of the columns that an expression mentions: those without which it means nothing.
    fn referenced(&self, cx: &Context<'_>, table: &str, expr: &SourceExpr) -> Result<Vec<i16>> {
        let all: Vec<Option<Column>> = self
            .columns
            .iter()
            .map(|c| Some(Column { name: c.name.clone(), ty: c.type_id, typmod: c.typmod }))
            .collect();
        let compiles = |columns: &[Option<Column>]| {
            compile_expr(&expr.expr, cx.source, ExprPurpose::Check(table), columns, cx.env)
        };
        compiles(&all)?;
        let mut numbers = Vec::new();
        for index in 0..all.len() {
            let mut without = all.clone();
            without[index] = None;
            if compiles(&without).is_err() {
                numbers.push(index as i16 + 1);
            }
        }
        Ok(numbers)
    }
}

fn column_type(cx: &Context<'_>, column: &TableColumn) -> Result<(Oid, i32)> {
    if let [name] = column.type_name.name.as_slice()
        && matches!(name.as_str(), "serial" | "bigserial" | "smallserial" | "serial4" | "serial8" | "serial2")
    {
        return Err(not_supported("sequences are").position(cx.position(column.type_name.loc)));
    }
    let (type_id, typmod) = resolve_type_name(&column.type_name, cx.source)?;
    let shown = || format_type(type_id, -1);
    match types::type_info(type_id) {
        Some(info) if info.kind == types::TypeKind::Pseudo => Err(error!(
            SqlState::INVALID_TABLE_DEFINITION,
            "column \"{}\" has pseudo-type {}",
            column.name,
            shown()
        )),
        _ if Form::of(type_id).is_none() => Err(not_supported(&format!("columns of type {} are", shown()))),
        _ => Ok((type_id, typmod)),
    }
}

fn unsupported_constraint(cx: &Context<'_>, constraint: &Constraint, kind: &ConstraintKind) -> PgError {
    not_supported(&format!("{} constraints are", kind.words())).position(cx.position(constraint.loc))
}
