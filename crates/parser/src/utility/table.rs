//! CREATE TABLE and CREATE TABLE AS.
//!
//! C counterpart: `CreateStmt`, `columnDef`, `TableConstraint`, `CreateAsStmt` of gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{
    Constraint, ConstraintKind, CreateTableAsStmt, CreateTableStmt, DefElem, Expr, IntoClause, Loc, OnCommit,
    OptionValue, Persistence, RangeVar, SourceExpr, Statement, TableColumn, TableElement,
};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

/// What may follow the columns of a table. C: `OptInherit` to `OptTableSpace`.
#[derive(Default)]
struct TableTail {
    access_method: Option<String>,
    options: Vec<DefElem>,
    on_commit: Option<OnCommit>,
    tablespace: Option<String>,
}

impl Parser<'_> {
    /// CREATE [TEMP | UNLOGGED] TABLE.
    pub(super) fn create_table_begins(&self) -> bool {
        let mut ahead = 1;
        while matches!(
            self.kw_at(ahead),
            Some(Kw::Local | Kw::Global | Kw::Temporary | Kw::Temp | Kw::Unlogged)
        ) {
            ahead += 1;
        }
        self.kw_at(ahead) == Some(Kw::Table)
    }

    pub(super) fn create_table(&mut self) -> Result<Statement> {
        self.expect(Kw::Create)?;
        let persistence = self.table_persistence()?;
        self.expect(Kw::Table)?;
        let if_not_exists = self.accept_all(&[Kw::If, Kw::Not, Kw::Exists]);
        let relation = self.range_var()?;
        let names_only =
            self.is_char(b'(') && self.is_col_id_at(1) && matches!(self.peek_at(2), Tok::Char(b',' | b')'));
        let query_follows =
            matches!(self.kw(), Some(Kw::As | Kw::Using | Kw::With | Kw::Without | Kw::On | Kw::Tablespace));
        if names_only || query_follows {
            return self.create_table_as(relation, persistence, if_not_exists);
        }
        let mut stmt = CreateTableStmt {
            relation,
            persistence,
            if_not_exists,
            elements: Vec::new(),
            inherits: Vec::new(),
            unsupported: None,
            options: Vec::new(),
            on_commit: None,
            tablespace: None,
            access_method: None,
        };
        if !self.table_columns(&mut stmt)? {
            // What the rest of such a statement may be is nobody's business yet.
            self.skip_statement()?;
            return Ok(Statement::CreateTable(Box::new(stmt)));
        }
        let tail = self.table_tail()?;
        stmt.access_method = tail.access_method;
        stmt.options = tail.options;
        stmt.on_commit = tail.on_commit;
        stmt.tablespace = tail.tablespace;
        Ok(Statement::CreateTable(Box::new(stmt)))
    }

    /// The columns and INHERITS. False for a table whose definition goes on in ways that are not kept.
    fn table_columns(&mut self, stmt: &mut CreateTableStmt) -> Result<bool> {
        let loc = self.loc();
        if self.accept(Kw::Of) {
            self.qualified_name()?;
            stmt.unsupported = Some(("CREATE TABLE ... OF", loc));
            return Ok(false);
        }
        if self.accept(Kw::Partition) {
            self.expect(Kw::Of)?;
            self.range_var()?;
            stmt.unsupported = Some(("CREATE TABLE ... PARTITION OF", loc));
            return Ok(false);
        }
        self.expect_char(b'(')?;
        if !self.is_char(b')') {
            stmt.elements = self.comma_list(Parser::table_element)?;
        }
        self.expect_char(b')')?;
        if self.accept(Kw::Inherits) {
            self.expect_char(b'(')?;
            stmt.inherits = self.comma_list(Parser::range_var)?;
            self.expect_char(b')')?;
        }
        let loc = self.loc();
        if self.accept(Kw::Partition) {
            self.expect(Kw::By)?;
            stmt.unsupported = Some(("PARTITION BY", loc));
            return Ok(false);
        }
        Ok(true)
    }

    /// C: `OptTemp`.
    fn table_persistence(&mut self) -> Result<Persistence> {
        if self.accept(Kw::Unlogged) {
            return Ok(Persistence::Unlogged);
        }
        let scope = self.accept(Kw::Local) || self.accept(Kw::Global);
        if self.accept(Kw::Temporary) || self.accept(Kw::Temp) {
            return Ok(Persistence::Temporary);
        }
        if scope { Err(self.syntax_error()) } else { Ok(Persistence::Permanent) }
    }

    fn create_table_as(
        &mut self,
        relation: RangeVar,
        persistence: Persistence,
        if_not_exists: bool,
    ) -> Result<Statement> {
        let mut into = IntoClause::new(relation, persistence);
        into.columns = self.column_names_if()?;
        let tail = self.table_tail()?;
        into.access_method = tail.access_method;
        into.options = tail.options;
        into.on_commit = tail.on_commit;
        into.tablespace = tail.tablespace;
        self.expect(Kw::As)?;
        let query = if self.is_kw(Kw::Execute) {
            self.execute()?
        } else {
            let (query, height) = self.select()?;
            self.tallest = self.tallest.max(height);
            Statement::Select(Box::new(query))
        };
        let mut with_data = true;
        if self.accept(Kw::With) {
            with_data = !self.accept(Kw::No);
            self.expect(Kw::Data)?;
        }
        Ok(Statement::CreateTableAs(Box::new(CreateTableAsStmt {
            into,
            if_not_exists,
            query: Box::new(query),
            with_data,
            is_select_into: false,
        })))
    }

    fn table_tail(&mut self) -> Result<TableTail> {
        let mut tail = TableTail::default();
        if self.accept(Kw::Using) {
            tail.access_method = Some(self.col_id()?);
        }
        if self.accept(Kw::Without) {
            // An old way to ask for what is the only way now.
            self.expect(Kw::Oids)?;
        } else if self.is_kw(Kw::With) {
            self.advance();
            tail.options = self.storage_parameters()?;
        }
        if self.accept(Kw::On) {
            self.expect(Kw::Commit)?;
            tail.on_commit = Some(if self.accept(Kw::Drop) {
                OnCommit::Drop
            } else if self.accept(Kw::Delete) {
                self.expect(Kw::Rows)?;
                OnCommit::DeleteRows
            } else {
                self.expect_all(&[Kw::Preserve, Kw::Rows])?;
                OnCommit::PreserveRows
            });
        }
        if self.accept(Kw::Tablespace) {
            tail.tablespace = Some(self.col_id()?);
        }
        Ok(tail)
    }

    /// `(name = value, ...)`. C: `reloptions`.
    pub(super) fn storage_parameters(&mut self) -> Result<Vec<DefElem>> {
        self.expect_char(b'(')?;
        let options = self.comma_list(|p| {
            let loc = p.loc();
            let mut name = p.col_label()?;
            if p.accept_char(b'.') {
                name = format!("{name}.{}", p.col_label()?);
            }
            let value = if p.accept_char(b'=') { Some(p.definition_value()?) } else { None };
            Ok(DefElem { name, value, loc })
        })?;
        self.expect_char(b')')?;
        Ok(options)
    }

    /// A number, a word of any kind, or a string. C: `def_arg`.
    fn definition_value(&mut self) -> Result<OptionValue> {
        match self.kw() {
            Some(kw) => {
                self.advance();
                Ok(OptionValue::String(kw.word().to_string()))
            }
            None => self.option_value(),
        }
    }

    /// `(a, b)`, if it is there. C: `opt_column_list`.
    pub(super) fn column_names_if(&mut self) -> Result<Vec<String>> {
        if !self.is_char(b'(') {
            return Ok(Vec::new());
        }
        self.column_names()
    }

    fn column_names(&mut self) -> Result<Vec<String>> {
        self.expect_char(b'(')?;
        let names = self.name_list()?;
        self.expect_char(b')')?;
        Ok(names)
    }

    /// C: `TableElement`.
    fn table_element(&mut self) -> Result<TableElement> {
        match self.kw() {
            Some(Kw::Like) => self.like_clause(),
            Some(Kw::Constraint | Kw::Check | Kw::Unique | Kw::Primary | Kw::Foreign) => {
                self.table_constraint().map(TableElement::Constraint)
            }
            Some(Kw::Exclude) if self.is_char_at(1, b'(') || self.kw_at(1) == Some(Kw::Using) => {
                self.table_constraint().map(TableElement::Constraint)
            }
            _ => self.table_column().map(TableElement::Column),
        }
    }

    /// C: `TableLikeClause`.
    fn like_clause(&mut self) -> Result<TableElement> {
        self.expect(Kw::Like)?;
        let relation = self.range_var()?;
        let mut options = Vec::new();
        while let Some(kw @ (Kw::Including | Kw::Excluding)) = self.kw() {
            self.advance();
            match self.kw() {
                Some(
                    what @ (Kw::Comments
                    | Kw::Compression
                    | Kw::Constraints
                    | Kw::Defaults
                    | Kw::Identity
                    | Kw::Generated
                    | Kw::Indexes
                    | Kw::Statistics
                    | Kw::Storage
                    | Kw::All),
                ) => {
                    self.advance();
                    options.push((what.word().to_string(), kw == Kw::Including));
                }
                _ => return Err(self.syntax_error()),
            }
        }
        Ok(TableElement::Like(relation, options))
    }

    /// C: `columnDef`.
    fn table_column(&mut self) -> Result<TableColumn> {
        let loc = self.loc();
        let name = self.col_id()?;
        let type_name = self.type_name()?;
        let mut column = TableColumn {
            loc,
            name,
            type_name,
            compression: None,
            collation: None,
            constraints: Vec::new(),
            misplaced: None,
        };
        if self.accept(Kw::Compression) {
            column.compression =
                Some(if self.accept(Kw::Default) { "default".to_string() } else { self.col_id()? });
        }
        loop {
            let loc = self.loc();
            if self.accept(Kw::Collate) {
                let collation = self.qualified_name()?;
                if column.collation.is_some() {
                    return Err(self.complain(loc, "multiple COLLATE clauses not allowed"));
                }
                column.collation = Some((collation, loc));
            } else if self.constraint_attribute(&mut column)? {
            } else if let Some(constraint) = self.column_constraint()? {
                column.constraints.push(constraint);
            } else {
                return Ok(column);
            }
        }
    }

    /// DEFERRABLE and the like behind a column's constraint. C: `ConstraintAttr`, `transformConstraintAttrs`.
    fn constraint_attribute(&mut self, column: &mut TableColumn) -> Result<bool> {
        let loc = self.loc();
        let (words, deferrable, deferred) = if self.accept(Kw::Deferrable) {
            ("DEFERRABLE", Some(true), None)
        } else if self.accept_all(&[Kw::Not, Kw::Deferrable]) {
            ("NOT DEFERRABLE", Some(false), None)
        } else if self.accept_all(&[Kw::Initially, Kw::Deferred]) {
            ("INITIALLY DEFERRED", None, Some(true))
        } else if self.accept(Kw::Initially) {
            self.expect(Kw::Immediate)?;
            ("INITIALLY IMMEDIATE", None, Some(false))
        } else {
            return Ok(false);
        };
        let takes = |kind: &ConstraintKind| {
            matches!(
                kind,
                ConstraintKind::PrimaryKey(_) | ConstraintKind::Unique(_) | ConstraintKind::ForeignKey(_)
            )
        };
        match column.constraints.last_mut() {
            Some(constraint) if takes(&constraint.kind) => {
                constraint.deferrable = deferrable.or(constraint.deferrable);
                constraint.initially_deferred = deferred.or(constraint.initially_deferred);
            }
            _ => column.misplaced = column.misplaced.or(Some((words, loc))),
        }
        Ok(true)
    }

    fn constraint_name(&mut self) -> Result<Option<String>> {
        if self.accept(Kw::Constraint) { self.col_id().map(Some) } else { Ok(None) }
    }

    /// C: `ColConstraint`.
    fn column_constraint(&mut self) -> Result<Option<Constraint>> {
        let loc = self.loc();
        let name = self.constraint_name()?;
        let mut no_inherit = false;
        let kind = match self.kw() {
            Some(Kw::Not) => {
                self.expect_all(&[Kw::Not, Kw::Null])?;
                ConstraintKind::NotNull
            }
            Some(Kw::Null) => {
                self.advance();
                ConstraintKind::Null
            }
            Some(Kw::Unique) => {
                self.advance();
                self.nulls_distinct()?;
                self.index_parameters()?;
                ConstraintKind::Unique(Vec::new())
            }
            Some(Kw::Primary) => {
                self.expect_all(&[Kw::Primary, Kw::Key])?;
                self.index_parameters()?;
                ConstraintKind::PrimaryKey(Vec::new())
            }
            Some(Kw::Check) => {
                let check = self.check_condition()?;
                no_inherit = self.accept_all(&[Kw::No, Kw::Inherit]);
                ConstraintKind::Check(check)
            }
            Some(Kw::Default) => {
                self.advance();
                ConstraintKind::Default(self.source_expr(Parser::b_expr)?)
            }
            Some(Kw::Generated) => self.generated()?,
            Some(Kw::References) => self.references()?,
            _ if name.is_some() => return Err(self.syntax_error()),
            _ => return Ok(None),
        };
        Ok(Some(Constraint { no_inherit, ..constraint(loc, name, kind) }))
    }

    /// An expression and its text.
    fn source_expr(&mut self, parse: fn(&mut Self) -> Result<Expr>) -> Result<SourceExpr> {
        let start = self.loc() as usize;
        let expr = parse(self)?;
        let expr = self.held(expr);
        let text = self.source[start..self.previous_end()].to_string();
        Ok(SourceExpr { expr, text })
    }

    fn check_condition(&mut self) -> Result<SourceExpr> {
        self.expect(Kw::Check)?;
        self.expect_char(b'(')?;
        let condition = self.source_expr(Parser::expr)?;
        self.expect_char(b')')?;
        Ok(condition)
    }

    /// C: `opt_unique_null_treatment`.
    fn nulls_distinct(&mut self) -> Result<()> {
        if self.is_kw(Kw::Nulls) && matches!(self.kw_at(1), Some(Kw::Distinct | Kw::Not)) {
            self.advance();
            self.accept(Kw::Not);
            self.expect(Kw::Distinct)?;
        }
        Ok(())
    }

    /// C: `opt_definition OptConsTableSpace`.
    fn index_parameters(&mut self) -> Result<()> {
        if self.accept(Kw::With) {
            self.storage_parameters()?;
        }
        if self.accept_all(&[Kw::Using, Kw::Index, Kw::Tablespace]) {
            self.col_id()?;
        }
        Ok(())
    }

    /// GENERATED ALWAYS AS ..., GENERATED BY DEFAULT AS IDENTITY.
    fn generated(&mut self) -> Result<ConstraintKind> {
        self.expect(Kw::Generated)?;
        let when = self.loc();
        let always = self.accept(Kw::Always);
        if !always {
            self.expect_all(&[Kw::By, Kw::Default])?;
        }
        self.expect(Kw::As)?;
        if self.accept(Kw::Identity) {
            if self.accept_char(b'(') {
                self.skip_parentheses()?;
            }
            return Ok(ConstraintKind::Identity(always));
        }
        self.expect_char(b'(')?;
        let value = self.source_expr(Parser::expr)?;
        self.expect_char(b')')?;
        self.expect(Kw::Stored)?;
        if !always {
            return Err(self.complain(when, "for a generated column, GENERATED ALWAYS must be specified"));
        }
        Ok(ConstraintKind::Generated(value))
    }

    /// Up to the parenthesis that closes an open one.
    fn skip_parentheses(&mut self) -> Result<()> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.peek() {
                Tok::Eof | Tok::Bad | Tok::Char(b';') => return Err(self.syntax_error()),
                Tok::Char(b'(') => depth += 1,
                Tok::Char(b')') => depth -= 1,
                _ => {}
            }
            self.advance();
        }
        Ok(())
    }

    /// REFERENCES, its columns, MATCH and the actions.
    fn references(&mut self) -> Result<ConstraintKind> {
        self.expect(Kw::References)?;
        let relation = self.range_var()?;
        self.column_names_if()?;
        if self.accept(Kw::Match) && !self.accept(Kw::Full) && !self.accept(Kw::Partial) {
            self.expect(Kw::Simple)?;
        }
        while self.accept(Kw::On) {
            if !self.accept(Kw::Delete) {
                self.expect(Kw::Update)?;
            }
            if self.accept(Kw::No) {
                self.expect(Kw::Action)?;
            } else if self.accept(Kw::Set) {
                if !self.accept(Kw::Null) {
                    self.expect(Kw::Default)?;
                }
                self.column_names_if()?;
            } else if !self.accept(Kw::Restrict) {
                self.expect(Kw::Cascade)?;
            }
        }
        Ok(ConstraintKind::ForeignKey(relation))
    }

    /// C: `TableConstraint`.
    fn table_constraint(&mut self) -> Result<Constraint> {
        let loc = self.loc();
        let name = self.constraint_name()?;
        let kind = match self.kw() {
            Some(Kw::Check) => ConstraintKind::Check(self.check_condition()?),
            Some(Kw::Unique) => {
                self.advance();
                ConstraintKind::Unique(self.key_columns()?)
            }
            Some(Kw::Primary) => {
                self.expect_all(&[Kw::Primary, Kw::Key])?;
                ConstraintKind::PrimaryKey(self.key_columns()?)
            }
            Some(Kw::Foreign) => {
                self.expect_all(&[Kw::Foreign, Kw::Key])?;
                self.column_names()?;
                self.references()?
            }
            Some(Kw::Exclude) => {
                self.advance();
                if self.accept(Kw::Using) {
                    self.col_id()?;
                }
                self.expect_char(b'(')?;
                self.skip_parentheses()?;
                self.index_parameters()?;
                if self.accept(Kw::Where) {
                    self.expect_char(b'(')?;
                    self.skip_parentheses()?;
                }
                ConstraintKind::Exclude
            }
            _ => return Err(self.syntax_error()),
        };
        let mut made = constraint(loc, name, kind);
        self.constraint_attributes(&mut made)?;
        Ok(made)
    }

    /// `(columns) ...` or USING INDEX, behind UNIQUE and PRIMARY KEY.
    fn key_columns(&mut self) -> Result<Vec<String>> {
        self.nulls_distinct()?;
        if self.accept_all(&[Kw::Using, Kw::Index]) {
            self.col_id()?;
            return Ok(Vec::new());
        }
        let columns = self.column_names()?;
        if self.accept(Kw::Include) {
            self.column_names()?;
        }
        self.index_parameters()?;
        Ok(columns)
    }

    /// C: `ConstraintAttributeSpec`, `processCASbits`.
    fn constraint_attributes(&mut self, constraint: &mut Constraint) -> Result<()> {
        let is_check = matches!(constraint.kind, ConstraintKind::Check(_));
        let takes_not_valid = is_check || matches!(constraint.kind, ConstraintKind::ForeignKey(_));
        loop {
            let (word, allowed) = if self.accept(Kw::Deferrable) {
                constraint.deferrable = Some(true);
                ("DEFERRABLE", !is_check)
            } else if self.accept_all(&[Kw::Not, Kw::Deferrable]) {
                constraint.deferrable = Some(false);
                ("", true)
            } else if self.accept_all(&[Kw::Initially, Kw::Immediate]) {
                constraint.initially_deferred = Some(false);
                ("", true)
            } else if self.accept_all(&[Kw::Initially, Kw::Deferred]) {
                constraint.initially_deferred = Some(true);
                ("DEFERRABLE", !is_check)
            } else if self.accept_all(&[Kw::Not, Kw::Valid]) {
                constraint.not_valid = true;
                ("NOT VALID", takes_not_valid)
            } else if self.accept_all(&[Kw::No, Kw::Inherit]) {
                constraint.no_inherit = true;
                ("NO INHERIT", is_check)
            } else {
                return Ok(());
            };
            if !allowed {
                // PostgreSQL gives no place for this one.
                let kind = constraint.kind.words();
                return Err(error!(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "{kind} constraints cannot be marked {word}"
                ));
            }
        }
    }
}

fn constraint(loc: Loc, name: Option<String>, kind: ConstraintKind) -> Constraint {
    Constraint {
        loc,
        name,
        kind,
        deferrable: None,
        initially_deferred: None,
        not_valid: false,
        no_inherit: false,
    }
}
