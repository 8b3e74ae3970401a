//! INSERT, UPDATE, DELETE.
//!
//! C counterpart: `InsertStmt`, `UpdateStmt`, `DeleteStmt` of gram.y.

use elog::Result;

use crate::ast::{
    Assignment, DeleteStmt, Expr, ExprKind, InsertStmt, Loc, OnConflict, Statement, Target, UpdateStmt,
    WithClause,
};
use crate::cursor::Parser;
use crate::keywords::Kw;

impl Parser<'_> {
    pub(crate) fn insert(&mut self, with: Option<WithClause>) -> Result<Statement> {
        self.expect_all(&[Kw::Insert, Kw::Into])?;
        let relation = self.range_var()?;
        let alias = match self.accept(Kw::As) {
            true => Some(crate::ast::Alias { name: self.col_id()?, columns: Vec::new() }),
            false => None,
        };
        let mut columns = Vec::new();
        if self.is_char(b'(') && !self.query_begins() {
            self.advance();
            columns = self.comma_list(Parser::assigned_column)?;
            self.expect_char(b')')?;
        }
        let mut overriding_user = None;
        if self.accept(Kw::Overriding) {
            overriding_user = Some(self.is_kw(Kw::User));
            if !self.accept(Kw::User) {
                self.expect(Kw::System)?;
            }
            self.expect(Kw::Value)?;
        }
        let source = match columns.is_empty() && self.accept_all(&[Kw::Default, Kw::Values]) {
            true => None,
            false => {
                let (query, height) = self.select()?;
                self.tallest = self.tallest.max(height);
                Some(query)
            }
        };
        let on_conflict = self.on_conflict()?;
        let returning = self.returning()?;
        Ok(Statement::Insert(Box::new(InsertStmt {
            with,
            relation,
            alias,
            columns,
            overriding_user,
            source,
            on_conflict,
            returning,
        })))
    }

    /// A column that is given a value; subscripts and fields are not kept yet.
    fn assigned_column(&mut self) -> Result<(String, Loc)> {
        let loc = self.loc();
        let name = self.col_id()?;
        if self.is_char(b'[') || self.is_char(b'.') {
            return Err(self.not_supported(self.loc(), "assignment to a part of a column"));
        }
        Ok((name, loc))
    }

    fn on_conflict(&mut self) -> Result<Option<OnConflict>> {
        if !self.is_kw(Kw::On) {
            return Ok(None);
        }
        let loc = self.advance().start;
        self.expect(Kw::Conflict)?;
        let mut clause =
            OnConflict { loc, columns: Vec::new(), index_where: None, constraint: None, update: None };
        if self.accept_char(b'(') {
            clause.columns = self.comma_list(Parser::held_expr)?;
            self.expect_char(b')')?;
            if self.accept(Kw::Where) {
                clause.index_where = Some(self.held_expr()?);
            }
        } else if self.accept_all(&[Kw::On, Kw::Constraint]) {
            clause.constraint = Some(self.col_id()?);
        }
        self.expect(Kw::Do)?;
        if !self.accept(Kw::Nothing) {
            self.expect_all(&[Kw::Update, Kw::Set])?;
            let assignments = self.comma_list(Parser::assignment)?;
            let condition = if self.accept(Kw::Where) { Some(self.held_expr()?) } else { None };
            clause.update = Some((assignments, condition));
        }
        Ok(Some(clause))
    }

    fn returning(&mut self) -> Result<Vec<Target>> {
        if self.accept(Kw::Returning) { self.comma_list(Parser::target) } else { Ok(Vec::new()) }
    }

    fn assignment(&mut self) -> Result<Assignment> {
        if self.accept_char(b'(') {
            let columns = self.comma_list(Parser::assigned_column)?;
            self.expect_char(b')')?;
            self.expect_char(b'=')?;
            return Ok(Assignment { columns, multi: true, value: self.held_expr()? });
        }
        let column = self.assigned_column()?;
        self.expect_char(b'=')?;
        Ok(Assignment { columns: vec![column], multi: false, value: self.held_expr()? })
    }

    pub(crate) fn update(&mut self, with: Option<WithClause>) -> Result<Statement> {
        self.expect(Kw::Update)?;
        let relation = self.relation_expr()?;
        // SET is no reserved word, and yet never an alias here.
        let alias = if self.is_kw(Kw::Set) { None } else { self.alias_if()? };
        self.expect(Kw::Set)?;
        let assignments = self.comma_list(Parser::assignment)?;
        let from = if self.accept(Kw::From) { self.comma_list(Parser::table_ref)? } else { Vec::new() };
        let where_clause = self.where_or_current_of()?;
        let returning = self.returning()?;
        Ok(Statement::Update(Box::new(UpdateStmt {
            with,
            relation,
            alias,
            assignments,
            from,
            where_clause,
            returning,
        })))
    }

    pub(crate) fn delete(&mut self, with: Option<WithClause>) -> Result<Statement> {
        self.expect_all(&[Kw::Delete, Kw::From])?;
        let relation = self.relation_expr()?;
        let alias = self.alias_if()?;
        let using = if self.accept(Kw::Using) { self.comma_list(Parser::table_ref)? } else { Vec::new() };
        let where_clause = self.where_or_current_of()?;
        let returning = self.returning()?;
        Ok(Statement::Delete(Box::new(DeleteStmt { with, relation, alias, using, where_clause, returning })))
    }

    fn where_or_current_of(&mut self) -> Result<Option<Expr>> {
        if !self.accept(Kw::Where) {
            return Ok(None);
        }
        let loc = self.loc();
        if self.accept_all(&[Kw::Current, Kw::Of]) {
            self.col_id()?;
            return Ok(Some(Expr::new(loc, ExprKind::Unsupported("WHERE CURRENT OF"))));
        }
        self.held_expr().map(Some)
    }
}
