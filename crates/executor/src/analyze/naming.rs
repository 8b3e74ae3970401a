//! What a column without AS is called.
//!
//! C counterpart: `FigureColname` of parse_target.c.

use parser::ast::{Expr, ExprKind, Indirection, SelectBody, SelectStmt, SublinkKind, ValueFunction};

/// Name of an output column.
pub(super) fn column_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_string(), |(name, _)| name)
}

/// Name of a function in FROM, which differs in what has no name of its own. C: `FigureIndexColname`.
pub(super) fn function_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "unnamed".to_string(), |(name, _)| name)
}

/// The name, and whether it is more than the fallback of a type's name.
fn figure(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_string(), true));
    let weak = |name: &str| Some((name.to_string(), false));
    match &expr.kind {
        ExprKind::Column(name) => strong(name.last()?),
        ExprKind::Function(call) => strong(call.name.last()?),
        ExprKind::Indirection { arg, steps } => {
            let field = steps.iter().rev().find_map(|step| match step {
                Indirection::Field(name) => Some(name),
                _ => None,
            });
            match field {
                Some(name) => strong(name),
                None => figure(arg),
            }
        }
        ExprKind::Collate { arg, .. } => figure(arg),
        ExprKind::Cast { arg, type_name } => match figure(arg) {
            Some((name, true)) => Some((name, true)),
            _ => weak(type_name.name.last()?),
        },
        ExprKind::Case { default, .. } => match default.as_ref().and_then(|d| figure(d)) {
            Some((name, true)) => Some((name, true)),
            _ => weak("case"),
        },
        ExprKind::NullIf(..) => strong("nullif"),
        ExprKind::Coalesce(_) => strong("coalesce"),
        ExprKind::MinMax { greatest, .. } => strong(if *greatest { "greatest" } else { "least" }),
        ExprKind::Array(_) => strong("array"),
        ExprKind::Row { .. } => strong("row"),
        ExprKind::ValueFunction { function, .. } => strong(value_function_name(*function)),
        ExprKind::Sublink(sublink) => match &sublink.kind {
            SublinkKind::Exists => strong("exists"),
            SublinkKind::Array => strong("array"),
            SublinkKind::Scalar => first_column(&sublink.query).map(|name| (name, true)),
            SublinkKind::Quantified { .. } => None,
        },
        _ => None,
    }
}

fn first_column(query: &SelectStmt) -> Option<String> {
    match &query.body {
        SelectBody::Simple(simple) => {
            let target = simple.targets.first()?;
            match (&target.label, &target.expr.kind) {
                (Some(label), _) => Some(label.clone()),
                (None, ExprKind::Star(_)) => None,
                (None, _) => Some(column_name(&target.expr)),
            }
        }
        SelectBody::Values(_) => Some("column1".to_string()),
        SelectBody::SetOperation { left, .. } => first_column(left),
    }
}

/// The function's name in lower case.
pub(crate) fn value_function_name(function: ValueFunction) -> &'static str {
    match function {
        ValueFunction::CurrentDate => "current_date",
        ValueFunction::CurrentTime => "current_time",
        ValueFunction::CurrentTimestamp => "current_timestamp",
        ValueFunction::LocalTime => "localtime",
        ValueFunction::LocalTimestamp => "localtimestamp",
        ValueFunction::CurrentRole => "current_role",
        ValueFunction::CurrentUser => "current_user",
        ValueFunction::User => "user",
        ValueFunction::SessionUser => "session_user",
        ValueFunction::CurrentCatalog => "current_catalog",
        ValueFunction::CurrentSchema => "current_schema",
    }
}
