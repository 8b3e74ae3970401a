//! WITH, and WITH RECURSIVE for a query that refers to itself.
//!
//! C counterpart: parse_cte.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use parser::ast::{CommonTableExpr, SelectBody, SelectStmt, SetOp, Statement, WithClause};
use types::format_type;

use super::Analyzer;
use super::clause::plain_key;
use crate::query::{Column, Cte, Query};

impl Analyzer<'_> {
    pub(super) fn with_clause(&mut self, with: &WithClause) -> Result<()> {
        for (i, cte) in with.ctes.iter().enumerate() {
            if with.ctes[..i].iter().any(|other| other.name == cte.name) {
                let message = format!("WITH query name \"{}\" specified more than once", cte.name);
                return Err(self.error(SqlState::DUPLICATE_ALIAS, cte.loc, message));
            }
        }
        for cte in &with.ctes {
            let outer_reach = std::mem::replace(&mut self.reach, usize::MAX);
            let found = match &*cte.query {
                Statement::Select(select) => self.recursive_cte(with, cte, select)?,
                _ => None,
            };
            let id = match (found, &*cte.query) {
                (Some(id), _) => id,
                (None, Statement::Select(select)) => {
                    let query = self.query(select, None)?;
                    let columns = self.cte_columns(cte, &query)?;
                    self.add_cte(cte, Rc::new(query), columns)
                }
                (None, change) => self.modifying_cte(cte, change).map_err(|e| {
                    // It is not visible to itself, which in PostgreSQL it is.
                    let missing = format!("relation \"{}\" does not exist", cte.name);
                    if !(with.recursive && e.message == missing) {
                        return e;
                    }
                    let name = &cte.name;
                    let message =
                        format!("recursive query \"{name}\" must not contain data-modifying statements");
                    self.error(SqlState::INVALID_RECURSION, cte.loc, message)
                })?,
            };
            self.cte_reach[id] = self.reach;
            self.reach = self.reach.min(outer_reach);
            self.scope().ctes.push((cte.name.clone(), id, false));
        }
        Ok(())
    }

    /// INSERT, UPDATE or DELETE in WITH.
    fn modifying_cte(&mut self, cte: &CommonTableExpr, change: &Statement) -> Result<usize> {
        if self.depth() > 0 {
            let message = "WITH clause containing a data-modifying statement must be at the top level";
            return Err(self.error(SqlState::FEATURE_NOT_SUPPORTED, cte.loc, message));
        }
        let query = match change {
            Statement::Insert(insert) => self.insert(insert)?,
            Statement::Update(update) => self.update(update)?,
            Statement::Delete(delete) => self.delete(delete)?,
            other => return Err(self.unsupported(cte.loc, &format!("{} in WITH", other.command_tag()))),
        };
        let columns = self.cte_columns(cte, &query)?;
        let id = self.add_cte(cte, Rc::new(query), columns);
        self.ctes[id].modifies = true;
        Ok(id)
    }

    fn add_cte(&mut self, cte: &CommonTableExpr, query: Rc<Query>, columns: Vec<Column>) -> usize {
        let name = cte.name.clone();
        self.ctes.push(Cte { name, query, recursive: None, keys: Vec::new(), columns, modifies: false });
        self.cte_reach.push(usize::MAX);
        self.ctes.len() - 1
    }

    /// Names from the list behind the CTE's own name replace those of the query.
    fn cte_columns(&self, cte: &CommonTableExpr, query: &Query) -> Result<Vec<Column>> {
        let mut columns = query.columns.clone();
        if cte.columns.len() > columns.len() {
            let message = format!(
                "WITH query \"{}\" has {} columns available but {} columns specified",
                cte.name,
                columns.len(),
                cte.columns.len()
            );
            return Err(self.error(SqlState::INVALID_COLUMN_REFERENCE, cte.loc, message));
        }
        for (column, name) in columns.iter_mut().zip(&cte.columns) {
            column.name.clone_from(name);
        }
        Ok(columns)
    }

    /// `first UNION [ALL] again`, where `again` refers to the CTE; `None` if it does not.
    fn recursive_cte(
        &mut self,
        with: &WithClause,
        cte: &CommonTableExpr,
        select: &SelectStmt,
    ) -> Result<Option<usize>> {
        let SelectBody::SetOperation { op: SetOp::Union, all, left, right } = &select.body else {
            return Ok(None);
        };
        if !with.recursive {
            return Ok(None);
        }
        let state = (self.ctes.len(), self.subplans.len(), self.reach);
        let first = self.query(left, None)?;
        let columns = self.cte_columns(cte, &first)?;
        let id = self.add_cte(cte, Rc::new(first), columns.clone());
        self.scope().ctes.push((cte.name.clone(), id, true));
        let outer_used = std::mem::replace(&mut self.working_used, false);
        let again = self.query(right, None);
        let used = std::mem::replace(&mut self.working_used, outer_used);
        self.scope().ctes.pop();
        if !used {
            // An ordinary UNION after all: forget the attempt.
            self.ctes.truncate(state.0);
            self.cte_reach.truncate(state.0);
            self.subplans.truncate(state.1);
            self.reach = state.2;
            return Ok(None);
        }
        let mut again = again?;
        if !select.order_by.is_empty() || select.limit.is_some() || select.offset.is_some() {
            let what = "ORDER BY, OFFSET or LIMIT in a recursive query";
            return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} is not implemented"));
        }
        if again.columns.len() != columns.len() {
            let message = "each UNION query must have the same number of columns";
            return Err(self.error(SqlState::SYNTAX_ERROR, right.loc, message));
        }
        for (i, column) in columns.iter().enumerate() {
            let loc = super::setop::output(&self.ctes[id].query, i).loc;
            self.fit_recursive_column(cte, &mut again, i, column, loc)?;
        }
        let keys = columns.iter().enumerate().map(|(i, c)| plain_key(i, c.ty)).collect();
        self.ctes[id].recursive = Some((Rc::new(again), *all));
        self.ctes[id].keys = keys;
        Ok(Some(id))
    }

    fn fit_recursive_column(
        &mut self,
        cte: &CommonTableExpr,
        again: &mut Query,
        index: usize,
        column: &Column,
        loc: u32,
    ) -> Result<()> {
        let types = [column.ty, again.columns[index].ty];
        let overall =
            types::parse_func::select_common_type(&types, "UNION").map_err(|e| self.at(e, cte.loc))?;
        if overall != column.ty {
            let message = format!(
                "recursive query \"{}\" column {} has type {} in non-recursive term but type {} overall",
                cte.name,
                index + 1,
                format_type(column.ty, column.typmod),
                format_type(overall, -1)
            );
            let e = self.error(SqlState::DATATYPE_MISMATCH, loc, message);
            return Err(e.hint("Cast the output of the non-recursive term to the correct type."));
        }
        self.retype(again, index, overall)
    }
}
