//! CREATE TABLE AS and SELECT INTO: a table with a query's columns and rows.
//!
//! C counterpart: commands/createas.c.

use catalog::create::{ColumnSpec, CreateSpec, create_relation};
use catalog::relation;
use common::SqlState;
use elog::{Result, error};
use executor::{Column, ParamTypes, Plan};
use heap::{BulkInsert, InsertOptions, Tuple};
use parser::ast::{CreateTableAsStmt, Persistence};
use types::store::Form;
use types::{Datum, format_type, oid};

use crate::{Context, not_supported, rights, table, tablespace};

/// Makes the table and fills it; returns the number of rows, `None` if the table was there and may be. The caller has
/// pushed the query's snapshot; of `CREATE TABLE AS EXECUTE` it brings the plan and its parameters. C: `ExecCreateTableAs`.
///
/// # Errors
/// Those of the query and of CREATE TABLE.
pub fn run(
    cx: &Context<'_>,
    stmt: &CreateTableAsStmt,
    executed: Option<(Plan, Vec<Datum>)>,
) -> Result<Option<u64>> {
    let into = &stmt.into;
    if into.persistence != Persistence::Permanent {
        return Err(not_supported("temporary and unlogged tables are"));
    }
    let (plan, params) = match executed {
        Some(executed) => executed,
        None => {
            let none = ParamTypes::Fixed(&[]);
            let analyzed = executor::analyze_statement(&stmt.query, cx.source, none, cx.env)?;
            (executor::plan(analyzed), Vec::new())
        }
    };
    rights::check_plan(cx.role, cx.superuser, &plan)?;
    let Some((schema, name)) = table::new_name(cx, &into.relation, stmt.if_not_exists)? else {
        return Ok(None);
    };
    let tablespace = tablespace::of_new_table(cx, into.tablespace.as_deref())?;
    let columns = columns(&plan, &into.columns)?;
    let mut spec = CreateSpec::new(name, schema, cx.role, columns);
    spec.options = crate::options::storage_options(&into.options)?;
    spec.tablespace = tablespace;
    let oid = create_relation(&spec)?;
    transam::xact::command_counter_increment()?;
    if !stmt.with_data {
        return Ok(Some(0));
    }
    fill(cx, &plan, params, oid).map(Some)
}

fn columns(plan: &Plan, names: &[String]) -> Result<Vec<ColumnSpec>> {
    if names.len() > plan.columns().len() {
        return Err(error!(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    let column = |(index, column): (usize, &Column)| {
        let ty = if column.ty == oid::UNKNOWN { oid::TEXT } else { column.ty };
        let name = names.get(index).unwrap_or(&column.name);
        if ty == oid::VOID || ty == oid::RECORD {
            return Err(error!(
                SqlState::INVALID_TABLE_DEFINITION,
                "column \"{name}\" has pseudo-type {}",
                format_type(ty, -1)
            ));
        }
        if Form::of(ty).is_none() {
            return Err(not_supported(&format!("columns of type {} are", format_type(ty, -1))));
        }
        Ok(ColumnSpec::new(name, ty, column.typmod))
    };
    plan.columns().iter().enumerate().map(column).collect()
}

fn fill(cx: &Context<'_>, plan: &Plan, params: Vec<Datum>, oid: common::Oid) -> Result<u64> {
    let relation = relation::open_locked(oid)?;
    let cid = transam::xact::current_command_id(true);
    // A table that nobody else sees has no free space worth looking for.
    let options = InsertOptions { skip_fsm: true, ..InsertOptions::default() };
    let (mut bulk, mut tuple, mut row) = (BulkInsert::new(), Tuple::new(), Vec::new());
    let mut execution = plan.start(params);
    let mut rows = 0;
    while execution.next_into(cx.session, &mut row)? {
        tuple.form(&relation.desc, &row)?;
        heap::insert(&relation.table, &mut tuple, cid, options, Some(&mut bulk))?;
        rows += 1;
    }
    Ok(rows)
}
