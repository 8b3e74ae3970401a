//! The columns and constraints of CREATE TABLE, from what was written to what the catalogs store.
//!
//! C counterpart: `transformColumnDefinition`, `transformTableConstraint` of parser/parse_utilcmd.c,
//! `AddRelationNewConstraints` of catalog/heap.c.

use catalog::create::{CheckSpec, ColumnSpec};
use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use executor::{Column, ExprPurpose, columns_read, compile_expr, expr_text, resolve_type_name};
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
                return Err(error!(SqlState::DUPLICATE_COLUMN, "column \"{name}\" specified more than once"));
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
                return Err(
                    not_supported("collations other than the default are").position(cx.position(*loc))
                );
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
                    let made = compile_expr(&expr.expr, cx.source, purpose, &[], cx.env)?;
                    let text = expr_text(&expr.expr, cx.source, purpose, &[], cx.env, false)?;
                    spec.default = match text {
                        None if made.is_null() => None,
                        text => Some(stored(cx, text, &expr.text, purpose, &[])),
                    };
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
        let all = self.as_columns();
        let purpose = ExprPurpose::Check(table);
        let columns = columns_read(&check.expr.expr, cx.source, purpose, &all, cx.env)?;
        let taken = |name: &str| self.checks.iter().any(|check| check.name == name);
        let name = match &check.constraint.name {
            Some(name) if taken(name) => {
                return Err(error!(SqlState::DUPLICATE_OBJECT, "check constraint \"{name}\" already exists"));
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
        let text = expr_text(&check.expr.expr, cx.source, purpose, &all, cx.env, false)?;
        let expression = stored(cx, text, &check.expr.text, purpose, &all);
        let no_inherit = check.constraint.no_inherit;
        self.checks.push(CheckSpec { name, expression, columns, no_inherit });
        Ok(())
    }

    fn as_columns(&self) -> Vec<Option<Column>> {
        let column = |c: &ColumnSpec| Column { name: c.name.clone(), ty: c.type_id, typmod: c.typmod };
        self.columns.iter().map(|c| Some(column(c))).collect()
    }
}

/// What is stored of an expression: the settled text, if reading it again gives the same; else what was written.
fn stored(
    cx: &Context<'_>,
    settled: Option<String>,
    written: &str,
    purpose: ExprPurpose<'_>,
    columns: &[Option<Column>],
) -> String {
    let again = |text: &String| -> Option<String> {
        let parsed = parser::parse_expr(text).ok()?;
        expr_text(&parsed, text, purpose, columns, cx.env, false).ok()?
    };
    match settled {
        Some(text) if again(&text).as_ref() == Some(&text) => text,
        _ => format!("({written})"),
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
