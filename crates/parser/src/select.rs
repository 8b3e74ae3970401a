//! Queries: SELECT, VALUES, TABLE, WITH, set operations.
//!
//! A height is counted along with each query (see [`crate::MAX_HEIGHT`]): `tallest` in the parser is the
//! height of what was parsed since the innermost open query began.
//!
//! C counterpart: `SelectStmt` and below in gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{
    CommonTableExpr, Distinct, Expr, ExprKind, FromItem, IntoClause, Loc, LockStrength, LockWait,
    LockingClause, Persistence, SelectBody, SelectStmt, SetOp, SimpleSelect, SortBy, SortDirection,
    Statement, Target, WithClause,
};
use crate::cursor::{MAX_HEIGHT, Parser};
use crate::keywords::Kw;
use crate::lexer::Tok;
use crate::stack;

/// How tightly a set operation binds.
mod level {
    pub(super) const UNION: u8 = 1;
    pub(super) const INTERSECT: u8 = 2;
}

/// A query and its height.
type Query = (SelectStmt, u16);

fn taller(a: u16, b: u16) -> Result<u16> {
    let height = a.max(b) + 1;
    if height >= MAX_HEIGHT { Err(stack::limit_exceeded()) } else { Ok(height) }
}

impl SelectStmt {
    fn around(loc: Loc, body: SelectBody) -> SelectStmt {
        SelectStmt {
            loc,
            with: None,
            body,
            order_by: Vec::new(),
            offset: None,
            limit: None,
            with_ties: false,
            locking: Vec::new(),
        }
    }

    fn is_bare(&self) -> bool {
        self.with.is_none()
            && self.order_by.is_empty()
            && self.offset.is_none()
            && self.limit.is_none()
            && self.locking.is_empty()
    }
}

impl Parser<'_> {
    /// `( query )`, with any number of parentheses. C: `select_with_parens`.
    pub(crate) fn select_with_parens(&mut self) -> Result<Query> {
        stack::check()?;
        self.expect_char(b'(')?;
        let query = if self.is_char(b'(') {
            let (query, height) = self.select_with_parens()?;
            self.continue_select(query, height)?
        } else {
            self.select_no_parens()?
        };
        self.expect_char(b')')?;
        Ok(query)
    }

    /// A query that may begin with a parenthesis of its own. C: `SelectStmt`.
    pub(crate) fn select(&mut self) -> Result<Query> {
        if !self.is_char(b'(') {
            return self.select_no_parens();
        }
        let (query, height) = self.select_with_parens()?;
        self.continue_select(query, height)
    }

    /// WITH, the query, ORDER BY and so on. C: `select_no_parens`.
    pub(crate) fn select_no_parens(&mut self) -> Result<Query> {
        stack::check()?;
        let loc = self.loc();
        let (with, with_height) = self.with_clause()?;
        let first = if with.is_some() && self.is_char(b'(') {
            self.select_with_parens()?
        } else {
            self.simple_select()?
        };
        let (mut query, height) = self.continue_select(first.0, first.1)?;
        if with.is_some() {
            if query.with.is_some() {
                return Err(self.complain(loc, "multiple WITH clauses not allowed"));
            }
            query.with = with;
        }
        Ok((query, height.max(with_height)))
    }

    /// Whether what follows continues a query.
    pub(crate) fn select_goes_on(&self) -> bool {
        matches!(
            self.kw(),
            Some(
                Kw::Union
                    | Kw::Intersect
                    | Kw::Except
                    | Kw::Order
                    | Kw::Limit
                    | Kw::Offset
                    | Kw::Fetch
                    | Kw::For
            )
        )
    }

    /// Set operations and the clauses behind them, after a first operand.
    pub(crate) fn continue_select(&mut self, query: SelectStmt, height: u16) -> Result<Query> {
        let (mut query, mut height) = self.set_operations(query, height, level::UNION)?;
        let start = self.at;
        let mut extra = SelectStmt::around(query.loc, SelectBody::Values(Vec::new()));
        self.select_clauses(&mut extra, &mut height)?;
        if self.at == start {
            return Ok((query, height));
        }
        if !query.is_bare() && !matches!(query.body, SelectBody::SetOperation { .. }) || query.with.is_some()
        {
            self.reject_duplicates(&query, &extra)?;
        }
        if !extra.order_by.is_empty() {
            query.order_by = extra.order_by;
        }
        query.offset = extra.offset.or(query.offset);
        query.limit = extra.limit.or(query.limit);
        query.with_ties |= extra.with_ties;
        query.locking.extend(extra.locking);
        if query.with_ties && query.order_by.is_empty() {
            return Err(error!(
                SqlState::SYNTAX_ERROR,
                "WITH TIES cannot be specified without ORDER BY clause"
            ));
        }
        Ok((query, height))
    }

    /// C: `insertSelectOptions`.
    fn reject_duplicates(&self, query: &SelectStmt, extra: &SelectStmt) -> Result<()> {
        if let (false, Some(sort)) = (query.order_by.is_empty(), extra.order_by.first()) {
            return Err(self.complain(start_of(&sort.expr), "multiple ORDER BY clauses not allowed"));
        }
        if let (Some(_), Some(offset)) = (&query.offset, &extra.offset) {
            return Err(self.complain(start_of(offset), "multiple OFFSET clauses not allowed"));
        }
        if let (Some(_), Some(limit)) = (&query.limit, &extra.limit) {
            return Err(self.complain(start_of(limit), "multiple LIMIT clauses not allowed"));
        }
        Ok(())
    }

    fn set_operations(&mut self, mut left: SelectStmt, mut height: u16, min: u8) -> Result<Query> {
        stack::check()?;
        loop {
            let (op, op_level) = match self.kw() {
                Some(Kw::Union) => (SetOp::Union, level::UNION),
                Some(Kw::Except) => (SetOp::Except, level::UNION),
                Some(Kw::Intersect) => (SetOp::Intersect, level::INTERSECT),
                _ => return Ok((left, height)),
            };
            if op_level < min {
                return Ok((left, height));
            }
            self.advance();
            let all = self.accept(Kw::All);
            if !all {
                self.accept(Kw::Distinct);
            }
            let operand = if self.is_char(b'(') { self.select_with_parens()? } else { self.simple_select()? };
            let (right, right_height) = self.set_operations(operand.0, operand.1, op_level + 1)?;
            height = taller(height, right_height)?;
            let body = SelectBody::SetOperation { op, all, left: Box::new(left), right: Box::new(right) };
            left = SelectStmt::around(self.loc(), body);
            if let SelectBody::SetOperation { left: first, .. } = &left.body {
                left.loc = first.loc;
            }
        }
    }

    /// SELECT, VALUES or TABLE without anything around it. C: `simple_select`.
    fn simple_select(&mut self) -> Result<Query> {
        let loc = self.loc();
        let outer = std::mem::take(&mut self.tallest);
        let body = match self.kw() {
            Some(Kw::Select) => {
                self.advance();
                SelectBody::Simple(Box::new(self.select_core()?))
            }
            Some(Kw::Values) => {
                self.advance();
                SelectBody::Values(self.comma_list(Parser::values_row)?)
            }
            Some(Kw::Table) => {
                self.advance();
                let relation = self.relation_expr()?;
                let star = Target { expr: Expr::new(loc, ExprKind::Star(Vec::new())), label: None };
                let from = vec![FromItem::Table { relation, alias: None }];
                SelectBody::Simple(Box::new(SimpleSelect {
                    targets: vec![star],
                    from,
                    ..SimpleSelect::default()
                }))
            }
            _ => return Err(self.syntax_error()),
        };
        let height = std::mem::replace(&mut self.tallest, outer);
        Ok((SelectStmt::around(loc, body), taller(height, 0)?))
    }

    /// Counts an expression that the query holds.
    pub(crate) fn held(&mut self, expr: Expr) -> Expr {
        self.tallest = self.tallest.max(expr.height);
        expr
    }

    pub(crate) fn held_expr(&mut self) -> Result<Expr> {
        let expr = self.expr()?;
        Ok(self.held(expr))
    }

    fn values_row(&mut self) -> Result<Vec<Expr>> {
        self.expect_char(b'(')?;
        let row = self.comma_list(Parser::held_expr)?;
        self.expect_char(b')')?;
        Ok(row)
    }

    fn select_core(&mut self) -> Result<SimpleSelect> {
        let mut select = SimpleSelect { distinct: self.distinct()?, ..SimpleSelect::default() };
        if select.distinct.is_some() || !self.target_list_is_empty() {
            select.targets = self.comma_list(Parser::target)?;
        }
        if self.accept(Kw::Into) {
            select.into = Some(self.target_relation()?);
        }
        if self.accept(Kw::From) {
            select.from = self.comma_list(Parser::table_ref)?;
        }
        if self.accept(Kw::Where) {
            select.where_clause = Some(self.held_expr()?);
        }
        if self.accept_all(&[Kw::Group, Kw::By]) {
            if !self.accept(Kw::All) {
                self.accept(Kw::Distinct);
            }
            select.group_by = self.comma_list(Parser::group_item)?;
        } else if self.is_kw(Kw::Group) {
            self.advance();
            return Err(self.syntax_error());
        }
        if self.accept(Kw::Having) {
            select.having = Some(self.held_expr()?);
        }
        if self.accept(Kw::Window) {
            select.has_windows = true;
            self.comma_list(|p| {
                p.col_id()?;
                p.expect(Kw::As)?;
                p.window_specification()
            })?;
        }
        Ok(select)
    }

    fn distinct(&mut self) -> Result<Option<Distinct>> {
        if !self.accept(Kw::Distinct) {
            self.accept(Kw::All);
            return Ok(None);
        }
        if !self.accept(Kw::On) {
            return Ok(Some(Distinct::All));
        }
        self.expect_char(b'(')?;
        let list = self.comma_list(Parser::held_expr)?;
        self.expect_char(b')')?;
        Ok(Some(Distinct::On(list)))
    }

    /// A SELECT may have no columns at all.
    fn target_list_is_empty(&self) -> bool {
        match self.peek() {
            Tok::Eof | Tok::Char(b';' | b')') => true,
            Tok::Keyword(kw) => matches!(
                kw,
                Kw::Into
                    | Kw::From
                    | Kw::Where
                    | Kw::Group
                    | Kw::Having
                    | Kw::Window
                    | Kw::Union
                    | Kw::Intersect
                    | Kw::Except
                    | Kw::Order
                    | Kw::Limit
                    | Kw::Offset
                    | Kw::Fetch
                    | Kw::For
            ),
            _ => false,
        }
    }

    /// C: `target_el`.
    pub(crate) fn target(&mut self) -> Result<Target> {
        if self.is_char(b'*') {
            let loc = self.advance().start;
            return Ok(Target { expr: Expr::new(loc, ExprKind::Star(Vec::new())), label: None });
        }
        let expr = self.target_expr()?;
        let label = if self.accept(Kw::As) { Some(self.col_label()?) } else { self.bare_label_if()? };
        Ok(Target { expr, label })
    }

    /// `SELECT a is, b in FROM ...`: a word that could go on with the expression is its label if nothing of the
    /// kind follows. That shows when the attempt fails right behind the word.
    fn target_expr(&mut self) -> Result<Expr> {
        let start = self.at;
        let error = match self.held_expr() {
            Ok(expr) => return Ok(expr),
            Err(e) => e,
        };
        let Some(word) = self.at.checked_sub(1) else { return Err(error) };
        let is_label = matches!(self.token_by_index(word).kind, Tok::Keyword(kw) if kw.is_bare_label());
        if !is_label || word == self.label_stop || word <= start || !self.target_may_end() {
            return Err(error);
        }
        let failed = std::mem::replace(&mut self.at, start);
        self.label_stop = word;
        match self.held_expr() {
            Ok(expr) if self.at == word => Ok(expr),
            _ => {
                self.at = failed;
                Err(error)
            }
        }
    }

    fn target_may_end(&self) -> bool {
        self.is_char(b',') || self.target_list_is_empty()
    }

    /// C: `OptTempTableName`.
    fn target_relation(&mut self) -> Result<IntoClause> {
        let persistence = match self.kw() {
            // Each of these words may also be the table's own name.
            Some(kw @ (Kw::Local | Kw::Global | Kw::Temporary | Kw::Temp | Kw::Unlogged))
                if self.kw_at(1) == Some(Kw::Table) || self.is_col_id_at(1) =>
            {
                self.advance();
                let word = match kw {
                    Kw::Local | Kw::Global => self.advance().kind,
                    _ => Tok::Keyword(kw),
                };
                match word {
                    Tok::Keyword(Kw::Temporary | Kw::Temp) => Persistence::Temporary,
                    Tok::Keyword(Kw::Unlogged) if word == Tok::Keyword(kw) => Persistence::Unlogged,
                    _ => return Err(self.syntax_error_at(self.at - 1)),
                }
            }
            _ => Persistence::Permanent,
        };
        self.accept(Kw::Table);
        Ok(IntoClause::new(self.range_var()?, persistence))
    }

    fn group_item(&mut self) -> Result<Expr> {
        let loc = self.loc();
        if self.is_char(b'(') && self.is_char_at(1, b')') {
            self.at += 2;
            return Ok(Expr::new(loc, ExprKind::Row { fields: Vec::new(), explicit: false }));
        }
        match self.kw() {
            Some(Kw::Rollup | Kw::Cube) if self.is_char_at(1, b'(') => {
                self.at += 2;
                self.comma_list(Parser::held_expr)?;
            }
            Some(Kw::Grouping) if self.kw_at(1) == Some(Kw::Sets) => {
                stack::check()?;
                self.at += 2;
                self.expect_char(b'(')?;
                self.comma_list(Parser::group_item)?;
            }
            _ => return self.held_expr(),
        }
        self.expect_char(b')')?;
        Ok(Expr::new(loc, ExprKind::Unsupported("GROUPING SETS")))
    }

    pub(crate) fn sort_by(&mut self) -> Result<SortBy> {
        let expr = self.held_expr()?;
        let direction = match self.kw() {
            Some(Kw::Asc) => SortDirection::Asc,
            Some(Kw::Desc) => SortDirection::Desc,
            Some(Kw::Using) => SortDirection::Default,
            _ => {
                let nulls_first = self.nulls_order();
                return Ok(SortBy { expr, direction: SortDirection::Default, nulls_first });
            }
        };
        let using = self.advance().kind == Tok::Keyword(Kw::Using);
        let direction = if using { SortDirection::Using(self.operator_name()?) } else { direction };
        Ok(SortBy { expr, direction, nulls_first: self.nulls_order() })
    }

    fn nulls_order(&mut self) -> Option<bool> {
        if self.accept_all(&[Kw::Nulls, Kw::First]) {
            Some(true)
        } else if self.accept_all(&[Kw::Nulls, Kw::Last]) {
            Some(false)
        } else {
            None
        }
    }

    // --- around the query ---

    /// WITH and its height, if it is there.
    pub(crate) fn with_clause(&mut self) -> Result<(Option<WithClause>, u16)> {
        if !self.is_kw(Kw::With) {
            return Ok((None, 0));
        }
        let loc = self.advance().start;
        let recursive = self.accept(Kw::Recursive);
        let mut height = 0;
        let ctes = self.comma_list(|p| {
            let (cte, cte_height) = p.common_table_expr()?;
            height = height.max(cte_height);
            Ok(cte)
        })?;
        Ok((Some(WithClause { loc, recursive, ctes }), taller(height, 0)?))
    }

    fn common_table_expr(&mut self) -> Result<(CommonTableExpr, u16)> {
        let loc = self.loc();
        let name = self.col_id()?;
        let mut columns = Vec::new();
        if self.accept_char(b'(') {
            columns = self.name_list()?;
            self.expect_char(b')')?;
        }
        self.expect(Kw::As)?;
        if !self.accept(Kw::Materialized) && self.is_kw(Kw::Not) {
            self.expect_all(&[Kw::Not, Kw::Materialized])?;
        }
        self.expect_char(b'(')?;
        let (query, height) = self.preparable()?;
        self.expect_char(b')')?;
        if matches!(self.kw(), Some(Kw::Search | Kw::Cycle)) {
            return Err(self.not_supported(self.loc(), "SEARCH or CYCLE"));
        }
        Ok((CommonTableExpr { loc, name, columns, query: Box::new(query) }, height))
    }

    /// A statement that WITH, PREPARE and EXPLAIN accept, with its height. C: `PreparableStmt`.
    pub(crate) fn preparable(&mut self) -> Result<(Statement, u16)> {
        let (with, with_height) =
            if self.is_kw(Kw::With) && self.with_ends_in_dml() { self.with_clause()? } else { (None, 0) };
        let outer = std::mem::take(&mut self.tallest);
        let (statement, height) = match self.kw() {
            Some(Kw::Insert) => (self.insert(with)?, self.tallest),
            Some(Kw::Update) => (self.update(with)?, self.tallest),
            Some(Kw::Delete) => (self.delete(with)?, self.tallest),
            _ => {
                let (query, height) = self.select()?;
                (Statement::Select(Box::new(query)), height)
            }
        };
        self.tallest = outer;
        Ok((statement, taller(height, with_height)?))
    }

    /// Looks past a WITH clause for the word of the main statement.
    fn with_ends_in_dml(&self) -> bool {
        let mut depth = 0usize;
        let mut ahead = 1;
        loop {
            match self.peek_at(ahead) {
                Tok::Eof | Tok::Bad => return false,
                Tok::Char(b'(') => depth += 1,
                Tok::Char(b')') if depth == 0 => return false,
                Tok::Char(b')') => depth -= 1,
                Tok::Char(b';') if depth == 0 => return false,
                Tok::Keyword(kw) if depth == 0 => match kw {
                    Kw::Insert | Kw::Update | Kw::Delete if self.peek_at(ahead - 1) == Tok::Char(b')') => {
                        return true;
                    }
                    Kw::Select | Kw::Values => return false,
                    _ => {}
                },
                _ => {}
            }
            ahead += 1;
        }
    }

    /// ORDER BY, LIMIT, OFFSET, FETCH, FOR UPDATE, in the orders the grammar allows.
    fn select_clauses(&mut self, query: &mut SelectStmt, height: &mut u16) -> Result<()> {
        let outer = std::mem::take(&mut self.tallest);
        query.order_by = self.sort_clause()?;
        loop {
            match self.kw() {
                Some(Kw::For) => self.locking_clause(query)?,
                Some(Kw::Limit) if query.limit.is_none() => {
                    let loc = self.advance().start;
                    query.limit = Some(self.limit_value()?);
                    if self.is_char(b',') {
                        let e = self.complain(loc, "LIMIT #,# syntax is not supported");
                        return Err(e.hint("Use separate LIMIT and OFFSET clauses."));
                    }
                }
                Some(Kw::Fetch) if query.limit.is_none() => self.fetch_first(query)?,
                Some(Kw::Offset) if query.offset.is_none() => {
                    self.advance();
                    query.offset = Some(self.held_expr()?);
                    let _ = self.accept(Kw::Row) || self.accept(Kw::Rows);
                }
                _ => break,
            }
        }
        *height = taller(self.tallest, 0)?.max(*height);
        self.tallest = outer;
        Ok(())
    }

    fn limit_value(&mut self) -> Result<Expr> {
        if self.is_kw(Kw::All) {
            return Ok(Expr::new(self.advance().start, ExprKind::Null));
        }
        self.held_expr()
    }

    fn fetch_first(&mut self, query: &mut SelectStmt) -> Result<()> {
        let loc = self.advance().start;
        if !self.accept(Kw::First) {
            self.expect(Kw::Next)?;
        }
        query.limit = Some(match self.kw() {
            Some(Kw::Row | Kw::Rows) => Expr::new(loc, ExprKind::Integer(1)),
            _ => {
                let negative = self.is_char(b'-') || self.is_char(b'+');
                let expr = if negative { self.b_expr()? } else { self.primary()? };
                self.held(expr)
            }
        });
        if !self.accept(Kw::Row) {
            self.expect(Kw::Rows)?;
        }
        if self.accept_all(&[Kw::With, Kw::Ties]) {
            query.with_ties = true;
            return Ok(());
        }
        self.expect(Kw::Only)
    }

    fn locking_clause(&mut self, query: &mut SelectStmt) -> Result<()> {
        let loc = self.advance().start;
        let strength = if self.accept_all(&[Kw::Read, Kw::Only]) {
            return Ok(());
        } else if self.accept_all(&[Kw::No, Kw::Key, Kw::Update]) {
            LockStrength::ForNoKeyUpdate
        } else if self.accept_all(&[Kw::Key, Kw::Share]) {
            LockStrength::ForKeyShare
        } else if self.accept(Kw::Update) {
            LockStrength::ForUpdate
        } else if self.accept(Kw::Share) {
            LockStrength::ForShare
        } else {
            return Err(self.syntax_error());
        };
        let of = if self.accept(Kw::Of) { self.comma_list(Parser::range_var)? } else { Vec::new() };
        let wait = if self.accept(Kw::Nowait) {
            LockWait::NoWait
        } else if self.accept(Kw::Skip) {
            self.expect(Kw::Locked)?;
            LockWait::SkipLocked
        } else {
            LockWait::Wait
        };
        query.locking.push(LockingClause { loc, strength, of, wait });
        Ok(())
    }
}

/// The leftmost place of an expression. C: `exprLocation`.
pub fn start_of(expr: &Expr) -> Loc {
    let inner = match &expr.kind {
        ExprKind::Op { left: Some(first), .. }
        | ExprKind::OpArray { left: first, .. }
        | ExprKind::Cast { arg: first, .. }
        | ExprKind::IsNull { arg: first, .. }
        | ExprKind::IsBoolean { arg: first, .. }
        | ExprKind::IsDistinct { left: first, .. }
        | ExprKind::InList { left: first, .. }
        | ExprKind::Between { arg: first, .. }
        | ExprKind::Like { left: first, .. }
        | ExprKind::Indirection { arg: first, .. }
        | ExprKind::Collate { arg: first, .. } => start_of(first),
        ExprKind::And(args) | ExprKind::Or(args) => args.first().map_or(expr.loc, start_of),
        ExprKind::Function(call) if call.sql_syntax => {
            call.args.iter().map(start_of).min().unwrap_or(expr.loc)
        }
        ExprKind::Sublink(sublink) => match &sublink.kind {
            crate::ast::SublinkKind::Quantified { test, .. } => start_of(test),
            _ => expr.loc,
        },
        _ => expr.loc,
    };
    inner.min(expr.loc)
}
