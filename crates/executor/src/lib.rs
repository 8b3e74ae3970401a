//! Turns a statement into a plan and the plan into rows.
//!
//! Three steps: [`analyze`] finds out what every name means and which type every expression has; [`plan`] makes
//! the result something that can be run; [`Plan::start`] begins a run, and [`Execution::next`] returns its rows
//! one by one, so that a portal can stop after any of them and go on later.
//!
//! ```no_run
//! # fn example(env: &dyn executor::Env, session: &types::fmgr::Session<'_>) -> elog::Result<()> {
//! let source = "SELECT g * 2 AS double FROM generate_series(1, 3) g";
//! let statements = parser::parse(source)?;
//! let analyzed = executor::analyze(&statements[0], source, executor::ParamTypes::Fixed(&[]), env)?;
//! let mut execution = executor::plan(analyzed).start(Vec::new());
//! while let Some(row) = execution.next(session)? {
//!     println!("{row:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Invariants:
//! - Ex1  Every loop over rows asks `Session::check_interrupts`.
//! - Ex2  While a query runs, its frame is in the statement's list of frames at the query's depth; between two of
//!   its rows the frame is its own again.
//! - Ex3  A value's `Datum` variant is the one its expression's type has: `analyze` puts a coercion wherever
//!   types differ.
//! - Ex4  What an expression reads of a row is listed in the row's scan; the rest of the row's slots is NULL.
//! - Ex5  A command's own changes are not seen by its scans.
//! - Ex6  Locks are taken when a name is looked up, and again by [`Plan::revalidate`].
//!
//! C counterpart: src/backend/parser/{analyze,parse_*}.c and src/backend/executor.

#![forbid(unsafe_code)]

mod env; // 1. what it can ask about the session
pub mod expr; // 2. expressions and queries with all names settled
pub mod query;
pub mod table; // ... and of tables
mod tid; // ... and of rows' addresses

mod analyze; // 3. from names to meanings
mod optimize; // 4. what is decided before it runs

mod deparse; // ... and back to text
mod exec; // 5. from meanings to rows
mod explain; // 6. how it would be run
pub mod heap_table;
mod origin; // ... and to tables // 7. the tables that there really are

#[cfg(test)]
mod dml_tests;
#[cfg(test)]
mod tests;

pub use analyze::{
    CompiledExpr, ExprPurpose, ParamTypes, RowRules, analyze, analyze_arguments, analyze_statement,
    columns_read, compile_expr, expr_text, not_supported, resolve_type_name,
};
pub use env::{Env, RelationScan, RelationSource, VirtualRelation};
pub use exec::{Execution, Plan, Row, plan};
pub use explain::{ExplainOptions, explain};
pub use query::{Analyzed, Column};
pub use table::TableInfo;
pub use tid::register;
