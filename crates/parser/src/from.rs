//! FROM: tables, functions, subqueries, joins.
//!
//! C counterpart: `table_ref`, `joined_table`, `func_table` of gram.y.

use elog::Result;

use crate::ast::{Alias, ColumnDef, Expr, FromItem, Join, JoinKind, RangeVar};
use crate::cursor::{MAX_HEIGHT, Parser};
use crate::keywords::{Category, Kw};
use crate::lexer::Tok;
use crate::stack;

impl Parser<'_> {
    /// C: `table_ref`, with all the joins that follow.
    pub(crate) fn table_ref(&mut self) -> Result<FromItem> {
        stack::check()?;
        let left = self.table_primary()?;
        self.joins(left)
    }

    fn joins(&mut self, mut left: FromItem) -> Result<FromItem> {
        while let Some((kind, natural, cross)) = self.join_words()? {
            // The right side may have joins of its own, whose conditions then come first: a JOIN b JOIN c ON ... ON
            let mut right = self.table_primary()?;
            while !natural && !cross && !matches!(self.kw(), Some(Kw::On | Kw::Using)) {
                match self.nested_join(right)? {
                    (item, true) => right = item,
                    (_, false) => return Err(self.syntax_error()),
                }
            }
            let mut join = Join { kind, natural, left, right, using: Vec::new(), on: None, alias: None };
            if !natural && !cross {
                self.join_condition(&mut join)?;
            }
            self.tallest += 1;
            if self.tallest >= MAX_HEIGHT {
                return Err(stack::limit_exceeded());
            }
            left = FromItem::Join(Box::new(join));
        }
        Ok(left)
    }

    /// One join of a right side; whether there was one.
    fn nested_join(&mut self, left: FromItem) -> Result<(FromItem, bool)> {
        stack::check()?;
        let start = self.at;
        let Some((kind, natural, cross)) = self.join_words()? else { return Ok((left, false)) };
        let mut right = self.table_primary()?;
        while !natural && !cross && !matches!(self.kw(), Some(Kw::On | Kw::Using)) {
            match self.nested_join(right)? {
                (item, true) => right = item,
                (_, false) => return Err(self.syntax_error()),
            }
        }
        let mut join = Join { kind, natural, left, right, using: Vec::new(), on: None, alias: None };
        if !natural && !cross {
            self.join_condition(&mut join)?;
        }
        self.tallest += 1;
        Ok((FromItem::Join(Box::new(join)), self.at > start))
    }

    fn join_words(&mut self) -> Result<Option<(JoinKind, bool, bool)>> {
        if self.accept(Kw::Cross) {
            self.expect(Kw::Join)?;
            return Ok(Some((JoinKind::Inner, false, true)));
        }
        let natural = self.accept(Kw::Natural);
        let kind = match self.kw() {
            Some(Kw::Join) => JoinKind::Inner,
            Some(Kw::Inner) => {
                self.advance();
                JoinKind::Inner
            }
            Some(kw @ (Kw::Left | Kw::Right | Kw::Full)) => {
                self.advance();
                self.accept(Kw::Outer);
                match kw {
                    Kw::Left => JoinKind::Left,
                    Kw::Right => JoinKind::Right,
                    _ => JoinKind::Full,
                }
            }
            _ if natural => return Err(self.syntax_error()),
            _ => return Ok(None),
        };
        self.expect(Kw::Join)?;
        Ok(Some((kind, natural, false)))
    }

    fn join_condition(&mut self, join: &mut Join) -> Result<()> {
        if self.accept(Kw::On) {
            join.on = Some(self.held_expr()?);
            return Ok(());
        }
        self.expect(Kw::Using)?;
        self.expect_char(b'(')?;
        join.using = self.comma_list(|p| {
            let loc = p.loc();
            Ok((p.col_id()?, loc))
        })?;
        self.expect_char(b')')?;
        if self.accept(Kw::As) {
            join.alias = Some(Alias { name: self.col_id()?, columns: Vec::new() });
        }
        Ok(())
    }

    fn table_primary(&mut self) -> Result<FromItem> {
        let loc = self.loc();
        let lateral = self.accept(Kw::Lateral);
        if self.is_char(b'(') {
            if self.query_begins() && !self.parenthesis_holds_join() {
                return self.subquery_ref(lateral);
            }
            if lateral {
                return Err(self.syntax_error());
            }
            return self.parenthesised_join();
        }
        if self.is_kw(Kw::Rows) && self.kw_at(1) == Some(Kw::From) && self.is_char_at(2, b'(') {
            return self.rows_from(lateral);
        }
        if self.is_kw(Kw::Xmltable) && self.is_char_at(1, b'(') {
            return Err(self.not_supported(loc, "XMLTABLE"));
        }
        if lateral || self.is_function_in_from() {
            return self.function_ref(lateral);
        }
        let relation = self.relation_expr()?;
        let alias = self.alias_if()?;
        if self.is_kw(Kw::Tablesample) {
            return Err(self.not_supported(self.loc(), "TABLESAMPLE"));
        }
        Ok(FromItem::Table { relation, alias })
    }

    /// In front of `(( ... (SELECT`: is the inner query only the first item of a join, `((SELECT ...) a JOIN b)`?
    /// It is if some parenthesis but the outermost is followed by an alias or a join.
    fn parenthesis_holds_join(&self) -> bool {
        let mut depth = 0usize;
        let mut ahead = 0;
        // Number of parentheses before the query itself.
        while self.is_char_at(ahead, b'(') {
            depth += 1;
            ahead += 1;
        }
        let opened = depth;
        loop {
            match self.peek_at(ahead) {
                Tok::Eof | Tok::Bad => return false,
                Tok::Char(b'(') => depth += 1,
                Tok::Char(b')') => {
                    depth -= 1;
                    if depth == 0 {
                        return false;
                    }
                    if depth < opened {
                        let next_is_query = matches!(
                            self.kw_at(ahead + 1),
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
                        );
                        return !next_is_query && self.peek_at(ahead + 1) != Tok::Char(b')');
                    }
                }
                _ => {}
            }
            ahead += 1;
        }
    }

    fn subquery_ref(&mut self, lateral: bool) -> Result<FromItem> {
        let loc = self.loc();
        let outer = std::mem::take(&mut self.tallest);
        let is_values = self.kw_at(1) == Some(Kw::Values);
        let (query, height) = self.select_with_parens()?;
        self.tallest = outer.max(height);
        let Some(alias) = self.alias_if()? else {
            let (what, example) = match is_values {
                true => ("VALUES in FROM must have an alias", "For example, FROM (VALUES ...) [AS] foo."),
                false => ("subquery in FROM must have an alias", "For example, FROM (SELECT ...) [AS] foo."),
            };
            return Err(self.complain(loc, what).hint(example));
        };
        Ok(FromItem::Subquery { lateral, query: Box::new(query), alias, loc })
    }

    /// `( a JOIN b ... ) [alias]`
    fn parenthesised_join(&mut self) -> Result<FromItem> {
        self.expect_char(b'(')?;
        let mut item = self.table_ref()?;
        // Only a join may stand in parentheses.
        if !matches!(item, FromItem::Join(_)) {
            return Err(self.syntax_error());
        }
        self.expect_char(b')')?;
        if let (Some(alias), FromItem::Join(join)) = (self.alias_if()?, &mut item) {
            join.alias = Some(alias);
        }
        Ok(item)
    }

    fn is_function_in_from(&self) -> bool {
        let mut ahead = 0;
        match self.peek() {
            Tok::Ident | Tok::QuotedIdent | Tok::UnicodeIdent => {}
            Tok::Keyword(kw) => match kw.category() {
                Category::Unreserved => {}
                Category::ColName | Category::TypeFuncName => return self.is_char_at(1, b'('),
                // CURRENT_DATE and the like.
                Category::Reserved => return self.value_function_begins(),
            },
            _ => return false,
        }
        while self.is_char_at(ahead + 1, b'.') {
            ahead += 2;
        }
        self.is_char_at(ahead + 1, b'(')
    }

    fn value_function_begins(&self) -> bool {
        matches!(
            self.kw(),
            Some(
                Kw::CurrentDate
                    | Kw::CurrentTime
                    | Kw::CurrentTimestamp
                    | Kw::Localtime
                    | Kw::Localtimestamp
                    | Kw::CurrentRole
                    | Kw::CurrentUser
                    | Kw::SessionUser
                    | Kw::User
                    | Kw::CurrentCatalog
            )
        )
    }

    fn function_ref(&mut self, lateral: bool) -> Result<FromItem> {
        let loc = self.loc();
        let function = self.function_in_from()?;
        let ordinality = self.ordinality();
        let (alias, coldefs) = self.function_alias()?;
        Ok(FromItem::Function {
            lateral,
            functions: vec![(function, Vec::new())],
            ordinality,
            alias,
            coldefs,
            loc,
        })
    }

    fn function_in_from(&mut self) -> Result<Expr> {
        if !self.is_function_in_from() {
            // LATERAL before a plain name.
            self.qualified_name()?;
            return Err(self.syntax_error());
        }
        let expr = self.primary()?;
        Ok(self.held(expr))
    }

    fn ordinality(&mut self) -> bool {
        self.accept_all(&[Kw::With, Kw::Ordinality])
    }

    fn rows_from(&mut self, lateral: bool) -> Result<FromItem> {
        let loc = self.loc();
        self.at += 3;
        let functions = self.comma_list(|p| {
            let function = p.function_in_from()?;
            let mut coldefs = Vec::new();
            if p.accept(Kw::As) {
                p.expect_char(b'(')?;
                coldefs = p.comma_list(Parser::column_definition)?;
                p.expect_char(b')')?;
            }
            Ok((function, coldefs))
        })?;
        self.expect_char(b')')?;
        let ordinality = self.ordinality();
        let (alias, coldefs) = self.function_alias()?;
        Ok(FromItem::Function { lateral, functions, ordinality, alias, coldefs, loc })
    }

    fn column_definition(&mut self) -> Result<ColumnDef> {
        let name = self.col_id()?;
        let type_name = self.type_name()?;
        if self.accept(Kw::Collate) {
            self.qualified_name()?;
        }
        Ok(ColumnDef { name, type_name })
    }

    /// An alias with either names or definitions of columns. C: `func_alias_clause`.
    fn function_alias(&mut self) -> Result<(Option<Alias>, Vec<ColumnDef>)> {
        let with_as = self.accept(Kw::As);
        let name = if with_as && self.is_char(b'(') {
            None
        } else if with_as {
            Some(self.col_id()?)
        } else {
            self.col_id_if()?
        };
        if !self.is_char(b'(') || (name.is_none() && !with_as) {
            return Ok((name.map(|name| Alias { name, columns: Vec::new() }), Vec::new()));
        }
        self.advance();
        let is_plain = matches!(self.peek_at(1), Tok::Char(b',' | b')'));
        if is_plain && let Some(name) = name {
            let columns = self.name_list()?;
            self.expect_char(b')')?;
            return Ok((Some(Alias { name, columns }), Vec::new()));
        }
        let coldefs = self.comma_list(Parser::column_definition)?;
        self.expect_char(b')')?;
        Ok((name.map(|name| Alias { name, columns: Vec::new() }), coldefs))
    }

    /// C: `opt_alias_clause`.
    pub(crate) fn alias_if(&mut self) -> Result<Option<Alias>> {
        let name = match self.accept(Kw::As) {
            true => Some(self.col_id()?),
            false => self.col_id_if()?,
        };
        let Some(name) = name else { return Ok(None) };
        let mut columns = Vec::new();
        if self.accept_char(b'(') {
            columns = self.name_list()?;
            self.expect_char(b')')?;
        }
        Ok(Some(Alias { name, columns }))
    }

    /// A table's name, with ONLY or `*`. C: `relation_expr`.
    pub(crate) fn relation_expr(&mut self) -> Result<RangeVar> {
        let only = self.accept(Kw::Only);
        let parenthesis = only && self.accept_char(b'(');
        let mut relation = self.range_var()?;
        relation.inherit = !only;
        if parenthesis {
            self.expect_char(b')')?;
        } else if !only {
            self.accept_char(b'*');
        }
        Ok(relation)
    }

    pub(crate) fn range_var(&mut self) -> Result<RangeVar> {
        let loc = self.loc();
        let name = self.qualified_name()?;
        if name.len() > 3 {
            let what = format!("improper qualified name (too many dotted names): {}", name.join("."));
            return Err(self.complain(loc, &what));
        }
        Ok(RangeVar { loc, name, inherit: true })
    }
}
