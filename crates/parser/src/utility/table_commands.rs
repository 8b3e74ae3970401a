//! DROP, TRUNCATE, LOCK, CREATE SCHEMA, COMMENT.
//!
//! C counterpart: `DropStmt`, `TruncateStmt`, `LockStmt`, `CreateSchemaStmt`, `CommentStmt` of gram.y.

use elog::Result;

use crate::ast::{
    CommentObject, CommentStmt, CreateSchemaStmt, DropKind, DropStmt, LockStmt, RangeVar, Statement,
    TableLockMode, TruncateStmt,
};
use crate::cursor::Parser;
use crate::keywords::Kw;

impl Parser<'_> {
    /// What DROP at the current place drops, as far as it has an own statement.
    pub(super) fn drop_kind(&self) -> Option<DropKind> {
        Some(match (self.kw_at(1)?, self.kw_at(2)) {
            (Kw::Table, _) => DropKind::Table,
            (Kw::Sequence, _) => DropKind::Sequence,
            (Kw::View, _) => DropKind::View,
            (Kw::Materialized, Some(Kw::View)) => DropKind::MaterializedView,
            (Kw::Index, _) => DropKind::Index,
            (Kw::Foreign, Some(Kw::Table)) => DropKind::ForeignTable,
            (Kw::Schema, _) => DropKind::Schema,
            _ => return None,
        })
    }

    pub(super) fn drop_objects(&mut self, kind: DropKind) -> Result<Statement> {
        self.at += 2 + usize::from(matches!(kind, DropKind::MaterializedView | DropKind::ForeignTable));
        let concurrently = kind == DropKind::Index && self.accept(Kw::Concurrently);
        let missing_ok = self.accept_all(&[Kw::If, Kw::Exists]);
        let names = self.comma_list(|p| {
            let loc = p.loc();
            let name = if kind == DropKind::Schema { vec![p.col_id()?] } else { p.qualified_name()? };
            Ok(RangeVar { loc, name, inherit: true })
        })?;
        let cascade = self.drop_behavior();
        Ok(Statement::Drop(DropStmt { kind, names, missing_ok, cascade, concurrently }))
    }

    /// C: `opt_drop_behavior`.
    fn drop_behavior(&mut self) -> bool {
        let cascade = self.accept(Kw::Cascade);
        if !cascade {
            self.accept(Kw::Restrict);
        }
        cascade
    }

    pub(super) fn truncate(&mut self) -> Result<Statement> {
        self.expect(Kw::Truncate)?;
        self.accept(Kw::Table);
        let relations = self.comma_list(Parser::relation_expr)?;
        let restart_identity = self.is_kw(Kw::Restart);
        if restart_identity || self.is_kw(Kw::Continue) {
            self.advance();
            self.expect(Kw::Identity)?;
        }
        let cascade = self.drop_behavior();
        Ok(Statement::Truncate(TruncateStmt { relations, restart_identity, cascade }))
    }

    pub(super) fn lock(&mut self) -> Result<Statement> {
        self.expect(Kw::Lock)?;
        self.accept(Kw::Table);
        let relations = self.comma_list(Parser::relation_expr)?;
        let mut mode = TableLockMode::AccessExclusive;
        if self.accept(Kw::In) {
            mode = self.lock_mode()?;
            self.expect(Kw::Mode)?;
        }
        let nowait = self.accept(Kw::Nowait);
        Ok(Statement::Lock(LockStmt { relations, mode, nowait }))
    }

    /// C: `lock_type`.
    fn lock_mode(&mut self) -> Result<TableLockMode> {
        if self.accept(Kw::Access) {
            if self.accept(Kw::Share) {
                return Ok(TableLockMode::AccessShare);
            }
            self.expect(Kw::Exclusive)?;
            return Ok(TableLockMode::AccessExclusive);
        }
        if self.accept(Kw::Row) {
            if self.accept(Kw::Share) {
                return Ok(TableLockMode::RowShare);
            }
            self.expect(Kw::Exclusive)?;
            return Ok(TableLockMode::RowExclusive);
        }
        if self.accept(Kw::Share) {
            if self.accept_all(&[Kw::Update, Kw::Exclusive]) {
                return Ok(TableLockMode::ShareUpdateExclusive);
            }
            if self.accept_all(&[Kw::Row, Kw::Exclusive]) {
                return Ok(TableLockMode::ShareRowExclusive);
            }
            return Ok(TableLockMode::Share);
        }
        self.expect(Kw::Exclusive)?;
        Ok(TableLockMode::Exclusive)
    }

    pub(super) fn create_schema(&mut self) -> Result<Statement> {
        self.expect_all(&[Kw::Create, Kw::Schema])?;
        let if_not_exists = self.accept_all(&[Kw::If, Kw::Not, Kw::Exists]);
        let mut name = None;
        if !self.is_kw(Kw::Authorization) {
            name = Some(self.col_id()?);
        }
        let authorization = if self.accept(Kw::Authorization) { Some(self.role_spec()?) } else { None };
        let mut elements = Vec::new();
        while matches!(self.kw(), Some(Kw::Create | Kw::Grant)) {
            let loc = self.loc();
            if if_not_exists {
                return Err(self
                    .not_supported_as_is(loc, "CREATE SCHEMA IF NOT EXISTS cannot include schema elements"));
            }
            elements.push(if self.create_table_begins() { self.create_table()? } else { self.other()? });
        }
        Ok(Statement::CreateSchema(CreateSchemaStmt { name, authorization, if_not_exists, elements }))
    }

    fn not_supported_as_is(&self, loc: u32, message: &str) -> elog::PgError {
        self.at(elog::error!(common::SqlState::FEATURE_NOT_SUPPORTED, "{message}"), loc)
    }

    pub(super) fn comment(&mut self) -> Result<Statement> {
        let start = self.at;
        self.expect_all(&[Kw::Comment, Kw::On])?;
        let object = match self.kw() {
            Some(Kw::Table) => {
                self.advance();
                CommentObject::Table(self.range_var()?)
            }
            Some(Kw::Column) => {
                self.advance();
                let loc = self.loc();
                let mut name = self.qualified_name()?;
                let column = name.pop().unwrap_or_default();
                CommentObject::Column(RangeVar { loc, name, inherit: true }, column)
            }
            Some(Kw::Schema) => {
                self.advance();
                CommentObject::Schema(self.col_id()?)
            }
            Some(Kw::Database) => {
                self.advance();
                CommentObject::Database(self.col_id()?)
            }
            _ => {
                self.at = start;
                return self.other();
            }
        };
        self.expect(Kw::Is)?;
        let text = if self.accept(Kw::Null) { None } else { Some(self.string()?) };
        Ok(Statement::Comment(CommentStmt { object, text }))
    }
}
