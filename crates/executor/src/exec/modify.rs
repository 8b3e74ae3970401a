//! INSERT, UPDATE, DELETE: one row at a time, as far as someone asks for RETURNING's rows, else to the end.
//!
//! A row that another transaction changed while we waited is looked at again in its newest version, and changed if it
//! still meets the conditions (READ COMMITTED); in REPEATABLE READ that is an error.
//!
//! C counterpart: nodeModifyTable.c; `ExecConstraints`, `EvalPlanQual` of execMain.c.

use std::rc::Rc;

use common::{CommandId, ItemPointer, SqlState};
use elog::{ErrorObject, PgError, Result, error};
use heap::{FailureData, LockTupleMode, SystemAttribute, TmResult, Tuple, TupleView, WaitPolicy};
use types::{Datum, io};

use super::lockrows::{concurrent, find_scan, unexpected};
use super::query::QueryState;
use super::scan::system_index;
use super::select::SelectState;
use super::{Cx, Row};
use crate::query::{Action, ChangeSource, InsertValue, Modify};
use crate::table::{SYSTEM_COLUMNS, TableInfo, TableInserter};

/// Longest value that an error's detail shows of a column. C: `maxfieldlen` of `ExecBuildSlotValueDescription`.
const MAX_SHOWN_BYTES: usize = 64;

/// A change under way.
pub(super) struct ModifyState {
    modify: Rc<Modify>,
    depth: usize,
    source: Source,
    inserter: Option<Box<dyn TableInserter>>,
    cid: Option<CommandId>,
    /// The row being formed, and the source's row, in buffers that stay.
    tuple: Tuple,
    input: Row,
}

enum Source {
    /// One row of defaults; true when it has been used.
    Defaults(bool),
    Query(Box<QueryState>),
    Change(Box<SelectState>),
}

impl ModifyState {
    pub(super) fn new(modify: &Rc<Modify>, depth: usize) -> ModifyState {
        let source = match &modify.action {
            Action::Insert { source: None, .. } => Source::Defaults(false),
            Action::Insert { source: Some(query), .. } => Source::Query(Box::new(QueryState::new(query))),
            Action::Update(change) | Action::Delete(change) => {
                Source::Change(Box::new(SelectState::new(&change.select, depth)))
            }
        };
        ModifyState {
            modify: modify.clone(),
            depth,
            source,
            inserter: None,
            cid: None,
            tuple: Tuple::new(),
            input: Row::new(),
        }
    }

    /// Changes rows until one is returned; false at the end. C: `ExecModifyTable`.
    pub(super) fn next_into(&mut self, cx: &mut Cx<'_>, row: &mut Row) -> Result<bool> {
        let modify = self.modify.clone();
        loop {
            cx.check_interrupts()?;
            let changed = match &modify.action {
                Action::Insert { values, source_base, .. } => {
                    if !self.next_source(cx)? {
                        return Ok(false);
                    }
                    self.insert(&modify, values, *source_base, cx)?;
                    true
                }
                Action::Update(change) | Action::Delete(change) => {
                    if !self.next_source(cx)? {
                        return Ok(false);
                    }
                    self.change(&modify, change, cx)?
                }
            };
            if !changed {
                continue;
            }
            // Only the outermost command's rows are counted.
            cx.shared.processed += u64::from(self.depth == 0);
            if let Some(returning) = &modify.returning {
                if modify.returns_system && !matches!(modify.action, Action::Delete(_)) {
                    self.show_system_columns(&modify, cx);
                }
                row.clear();
                for expr in returning {
                    row.push(cx.eval(expr)?);
                }
                return Ok(true);
            }
        }
    }

    /// The next row to insert in `input`, or to change in the frame.
    fn next_source(&mut self, cx: &mut Cx<'_>) -> Result<bool> {
        match &mut self.source {
            Source::Defaults(used) => Ok(!std::mem::replace(used, true)),
            Source::Query(query) => query.next_into(cx, &mut self.input),
            Source::Change(select) => select.next_input(cx),
        }
    }

    /// Taken with the first row, so that a command without any does not count as a change.
    fn command_id(&mut self) -> CommandId {
        *self.cid.get_or_insert_with(|| self.modify.table.am.command_id())
    }

    fn insert(
        &mut self,
        modify: &Modify,
        values: &[InsertValue],
        source_base: Option<usize>,
        cx: &mut Cx<'_>,
    ) -> Result<()> {
        if let Some(base) = source_base {
            cx.set_row(self.depth, base, self.input.iter().cloned());
        }
        for (i, value) in values.iter().enumerate() {
            let value = match value {
                InsertValue::Column(column) => std::mem::take(&mut self.input[*column]),
                InsertValue::Value(expr) => cx.eval(expr)?,
            };
            cx.shared.frames[self.depth][modify.base + i] = value;
        }
        self.form(modify, cx)?;
        let cid = self.command_id();
        let inserter = self.inserter.get_or_insert_with(|| modify.table.am.inserter());
        inserter.insert(&mut self.tuple, cid)
    }

    /// Checks the new row in the frame and makes a tuple of it. C: `ExecConstraints`.
    fn form(&mut self, modify: &Modify, cx: &mut Cx<'_>) -> Result<()> {
        let slots = modify.base..modify.base + modify.table.natts();
        check_not_null(&modify.table, &modify.not_null, &cx.shared.frames[self.depth][slots.clone()])?;
        for (name, check) in &modify.checks {
            // NULL passes.
            if matches!(cx.eval(check)?, Datum::Bool(false)) {
                return Err(check_violated(&modify.table, name, &cx.shared.frames[self.depth][slots]));
            }
        }
        self.tuple.form(&modify.table.desc, &cx.shared.frames[self.depth][slots])?;
        self.tuple.table_oid = modify.table.oid;
        Ok(())
    }

    /// Updates or deletes the row in the frame. False if it turned out that there is nothing to change.
    /// C: `ExecUpdate`, `ExecDelete`.
    fn change(&mut self, modify: &Modify, change: &ChangeSource, cx: &mut Cx<'_>) -> Result<bool> {
        let table = &modify.table;
        let is_update = matches!(modify.action, Action::Update(_));
        let what = if is_update { "update" } else { "delete" };
        let Some(mut tid) = cx.tid_at(self.depth, change.old_base + table.natts()) else { return Ok(false) };
        let cid = self.command_id();
        loop {
            let (result, failure) = if is_update {
                self.form_update(modify, cx)?;
                table.am.update(tid, &mut self.tuple, cid)?
            } else {
                table.am.delete(tid, cid)?
            };
            let serializable = table.am.uses_transaction_snapshot();
            match result {
                TmResult::Ok => return Ok(true),
                TmResult::SelfModified => return already_changed(failure, cid, what).map(|()| false),
                TmResult::Updated if serializable => return Err(concurrent("update")),
                TmResult::Deleted if serializable => return Err(concurrent("delete")),
                TmResult::Deleted => return Ok(false),
                TmResult::Updated => match self.follow(table, change, tid, cid, is_update, cx)? {
                    Some(newer) => tid = newer,
                    None => return Ok(false),
                },
                TmResult::Invisible => {
                    let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
                    return Err(error!(state, "attempted to {what} invisible tuple"));
                }
                other => return Err(unexpected(other, what)),
            }
        }
    }

    /// The new row from the old one in the frame.
    fn form_update(&mut self, modify: &Modify, cx: &mut Cx<'_>) -> Result<()> {
        if let Source::Change(select) = &self.source {
            select.project(cx, &mut self.input)?;
        }
        cx.set_row(self.depth, modify.base, self.input.drain(..));
        self.form(modify, cx)
    }

    /// Locks the newest version of a row that someone else has updated and asks again whether it is to be changed.
    /// C: `EvalPlanQual`.
    fn follow(
        &mut self,
        table: &Rc<TableInfo>,
        change: &ChangeSource,
        tid: ItemPointer,
        cid: CommandId,
        is_update: bool,
        cx: &mut Cx<'_>,
    ) -> Result<Option<ItemPointer>> {
        let mode = if is_update { LockTupleMode::NoKeyExclusive } else { LockTupleMode::Exclusive };
        let outcome = table.am.lock_row(tid, cid, mode, WaitPolicy::Block, true)?;
        let what = if is_update { "update" } else { "delete" };
        let tuple = match (outcome.result, outcome.tuple) {
            (TmResult::Ok, Some(tuple)) => tuple,
            (TmResult::SelfModified, _) => {
                return already_changed(outcome.failure, cid, what).map(|()| None);
            }
            (TmResult::Deleted, _) => return Ok(None),
            (other, _) => return Err(unexpected(other, "lock")),
        };
        let view: TupleView<'_> = tuple.view();
        if let Some(scan) = change.select.from.as_ref().and_then(|from| find_scan(from, change.old_base)) {
            cx.load_version(scan, self.depth, view)?;
        }
        match &change.recheck {
            Some(condition) if !cx.is_true(condition)? => Ok(None),
            _ => Ok(Some(tuple.tid)),
        }
    }

    /// The new row's system columns, for RETURNING.
    fn show_system_columns(&self, modify: &Modify, cx: &mut Cx<'_>) {
        let first = modify.base + modify.table.natts();
        for attribute in SYSTEM_COLUMNS {
            let value = match attribute {
                SystemAttribute::Tableoid => Datum::Oid(modify.table.oid.0),
                other => self.tuple.view().system(other),
            };
            cx.set(self.depth, first + system_index(attribute), value);
        }
    }
}

/// This transaction has changed the row already: by the same command, then once is enough.
fn already_changed(failure: FailureData, cid: CommandId, what: &str) -> Result<()> {
    if failure.cmax == cid {
        return Ok(());
    }
    Err(error!(
        SqlState::TRIGGERED_DATA_CHANGE_VIOLATION,
        "tuple to be {what}d was already modified by an operation triggered by the current command"
    )
    .hint("Consider using an AFTER trigger instead of a BEFORE trigger to propagate changes to other rows."))
}

/// 23502 if one of these columns is NULL in a row of the table.
pub(crate) fn check_not_null(table: &TableInfo, columns: &[usize], row: &[Datum]) -> Result<()> {
    match columns.iter().find(|column| row.get(**column).is_none_or(Datum::is_null)) {
        None => Ok(()),
        Some(column) => {
            let name = &table.desc.attrs[*column].name;
            Err(error!(
                SqlState::NOT_NULL_VIOLATION,
                "null value in column \"{name}\" of relation \"{}\" violates not-null constraint", table.name
            )
            .detail(format!("Failing row contains {}.", shown_row(table, row)))
            .object(ErrorObject { column: Some(name.to_string()), ..object(table) }))
        }
    }
}

/// 23514 about a constraint that a row breaks.
pub(crate) fn check_violated(table: &TableInfo, constraint: &str, row: &[Datum]) -> PgError {
    error!(
        SqlState::CHECK_VIOLATION,
        "new row for relation \"{}\" violates check constraint \"{constraint}\"", table.name
    )
    .detail(format!("Failing row contains {}.", shown_row(table, row)))
    .object(ErrorObject { constraint: Some(constraint.to_string()), ..object(table) })
}

fn object(table: &TableInfo) -> ErrorObject {
    ErrorObject { schema: table.schema.clone(), table: table.name.clone(), ..ErrorObject::default() }
}

/// C: `ExecBuildSlotValueDescription`.
fn shown_row(table: &TableInfo, row: &[Datum]) -> String {
    let columns = table.desc.attrs.iter().zip(row).filter(|(attr, _)| !attr.is_dropped);
    let cells = columns.map(|(attr, value)| match value {
        Datum::Null => "null".to_string(),
        value => {
            let text = io::output_string(value, attr.type_id);
            match text.len() <= MAX_SHOWN_BYTES {
                true => text,
                false => {
                    let end = (0..=MAX_SHOWN_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                    format!("{}...", &text[..end])
                }
            }
        }
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}
