//! Constants, names, parentheses and the constructs that begin with a key word.
//!
//! C counterpart: `c_expr`, `AexprConst`, `columnref`, `indirection`, `case_expr` of gram.y.

use elog::Result;

use crate::ast::{
    Expr, ExprKind, Indirection, Loc, SelectStmt, Sublink, SublinkKind, TypeName, ValueFunction,
};
use crate::cursor::Parser;
use crate::expr::{Mode, prec};
use crate::keywords::{Category, Kw};
use crate::lexer::{Quote, Tok};
use crate::literal;

/// What stood between parentheses.
pub(crate) enum Parenthesised {
    /// A query, and its height.
    Select(Box<SelectStmt>, u16),
    /// One or more expressions.
    Exprs(Vec<Expr>),
}

impl Parser<'_> {
    pub(crate) fn primary(&mut self) -> Result<Expr> {
        let token = self.token();
        let loc = token.start;
        match token.kind {
            Tok::Integer | Tok::Float => {
                self.advance();
                let digits = self.text(token);
                let kind = match digits.parse::<i32>() {
                    Ok(value) if token.kind == Tok::Integer => ExprKind::Integer(value),
                    _ => ExprKind::Float(digits.to_string()),
                };
                Ok(Expr::new(loc, kind))
            }
            Tok::Str(quote) => self.string_constant(quote),
            Tok::Param(number) => {
                self.advance();
                self.indirection(Expr::new(loc, ExprKind::Param(number)))
            }
            Tok::Char(b'(') => self.parenthesised_primary(),
            Tok::Ident | Tok::QuotedIdent | Tok::UnicodeIdent => self.name_primary(),
            Tok::Keyword(kw) => self.keyword_primary(kw, loc),
            _ => Err(self.syntax_error()),
        }
    }

    fn string_constant(&mut self, quote: Quote) -> Result<Expr> {
        let token = self.token();
        let text = |p: &Self| literal::string(p.source, token.start as usize, token.end as usize, quote);
        let expr = match quote {
            Quote::Bit | Quote::Hex => {
                let prefix = if quote == Quote::Bit { 'b' } else { 'x' };
                Expr::new(token.start, ExprKind::BitString(format!("{prefix}{}", text(self)?)))
            }
            Quote::National => {
                // N'...' is a constant of type char without a length.
                let arg = Box::new(Expr::new(token.start, ExprKind::String(text(self)?)));
                let type_name = Box::new(TypeName::system(token.start, "bpchar"));
                self.node(token.start, 0, ExprKind::Cast { arg, type_name })?
            }
            _ => return Ok(Expr::new(token.start, ExprKind::String(self.string()?))),
        };
        self.advance();
        Ok(expr)
    }

    // --- parentheses ---

    /// Past any opening parentheses from here: does a query begin?
    pub(crate) fn query_begins(&self) -> bool {
        let mut ahead = 0;
        while self.is_char_at(ahead, b'(') {
            ahead += 1;
        }
        matches!(self.kw_at(ahead), Some(Kw::Select | Kw::Values | Kw::With | Kw::Table))
    }

    /// At `(`. A query in parentheses may turn out to be the first operand of a longer query or of an
    /// expression, which shows only behind its closing parenthesis.
    pub(crate) fn parenthesised(&mut self) -> Result<Parenthesised> {
        crate::stack::check()?;
        self.expect_char(b'(')?;
        if !self.query_begins() {
            let list = self.expr_list()?;
            self.expect_char(b')')?;
            return Ok(Parenthesised::Exprs(list));
        }
        if !self.is_char(b'(') {
            let (query, height) = self.select_no_parens()?;
            self.expect_char(b')')?;
            return Ok(Parenthesised::Select(Box::new(query), height));
        }
        let loc = self.loc();
        let first = match self.parenthesised()? {
            Parenthesised::Select(query, height) if self.select_goes_on() || self.is_char(b')') => {
                let (query, height) = self.continue_select(*query, height)?;
                self.expect_char(b')')?;
                return Ok(Parenthesised::Select(Box::new(query), height));
            }
            inner => self.finish_parenthesised(inner, loc)?,
        };
        let first = self.continue_expr(first, prec::LOWEST, Mode::A)?;
        let mut list = vec![first];
        while self.accept_char(b',') {
            list.push(self.expr()?);
        }
        self.expect_char(b')')?;
        Ok(Parenthesised::Exprs(list))
    }

    pub(crate) fn parenthesised_primary(&mut self) -> Result<Expr> {
        let loc = self.loc();
        let inner = self.parenthesised()?;
        self.finish_parenthesised(inner, loc)
    }

    /// Makes an operand of what stood in parentheses: a query's value, a row, or just the expression.
    fn finish_parenthesised(&mut self, inner: Parenthesised, loc: Loc) -> Result<Expr> {
        let expr = match inner {
            Parenthesised::Select(query, height) => {
                let sublink = Sublink { kind: SublinkKind::Scalar, query: *query };
                self.node(loc, height, ExprKind::Sublink(Box::new(sublink)))?
            }
            Parenthesised::Exprs(mut list) if list.len() == 1 => list.remove(0),
            Parenthesised::Exprs(fields) => {
                let height = tallest(&fields);
                // A row without the key word takes no indirection.
                return self.row_tail(self.node(loc, height, ExprKind::Row { fields, explicit: false })?);
            }
        };
        self.indirection(expr)
    }

    /// `row OVERLAPS row`.
    fn row_tail(&mut self, row: Expr) -> Result<Expr> {
        if !self.is_kw(Kw::Overlaps) {
            return Ok(row);
        }
        let loc = self.advance().start;
        let right = self.primary()?;
        match (row.kind, right.kind) {
            (ExprKind::Row { fields: mut left, .. }, ExprKind::Row { fields: mut right, .. })
                if left.len() == 2 && right.len() == 2 =>
            {
                left.append(&mut right);
                self.system_call(loc, "overlaps", left)
            }
            _ => Err(self.complain(loc, "wrong number of parameters on left side of OVERLAPS expression")),
        }
    }

    // --- names ---

    /// A column, a function call, or `type 'constant'`.
    fn name_primary(&mut self) -> Result<Expr> {
        let loc = self.loc();
        let only_function = matches!(self.kw().map(Kw::category), Some(Category::TypeFuncName));
        let first = if only_function { self.type_function_name()? } else { self.col_id()? };
        let mut name = vec![first];
        while self.is_char(b'.') && !only_function {
            self.advance();
            if self.accept_char(b'*') {
                if self.is_char(b'.') || self.is_char(b'[') {
                    self.indirection(Expr::new(loc, ExprKind::Null))?;
                    return Err(self.error_here("improper use of \"*\""));
                }
                return Ok(Expr::new(loc, ExprKind::Star(name)));
            }
            name.push(self.col_label()?);
        }
        if self.is_char(b'(') {
            return self.function_call(name, loc);
        }
        if self.is_string() {
            let type_name = TypeName { loc, name, typmods: Vec::new(), array_dims: 0, setof: false };
            return self.typed_constant(type_name, loc);
        }
        if only_function {
            return Err(self.syntax_error());
        }
        self.indirection(Expr::new(loc, ExprKind::Column(name)))
    }

    /// `type 'constant'`, at the constant.
    pub(crate) fn typed_constant(&mut self, type_name: TypeName, loc: Loc) -> Result<Expr> {
        let at = self.loc();
        let arg = Box::new(Expr::new(at, ExprKind::String(self.string()?)));
        self.node(loc, 0, ExprKind::Cast { arg, type_name: Box::new(type_name) })
    }

    /// `.field`, `.*`, `[subscript]`, `[low:high]`.
    pub(crate) fn indirection(&mut self, arg: Expr) -> Result<Expr> {
        let mut steps = Vec::new();
        let mut height = arg.height;
        loop {
            if self.accept_char(b'.') {
                if self.accept_char(b'*') {
                    steps.push(Indirection::Star);
                    break;
                }
                steps.push(Indirection::Field(self.col_label()?));
            } else if self.accept_char(b'[') {
                let step = self.subscript()?;
                let inner = match &step {
                    Indirection::Subscript(e) => e.height,
                    Indirection::Slice(low, high) => {
                        low.iter().chain(high).map(|e| e.height).max().unwrap_or(0)
                    }
                    Indirection::Field(_) | Indirection::Star => 0,
                };
                height = height.max(inner);
                steps.push(step);
            } else {
                break;
            }
        }
        if steps.is_empty() {
            return Ok(arg);
        }
        let loc = arg.loc;
        self.node(loc, height, ExprKind::Indirection { arg: Box::new(arg), steps })
    }

    fn subscript(&mut self) -> Result<Indirection> {
        let low = if self.is_char(b':') { None } else { Some(self.expr()?) };
        let step = if self.accept_char(b':') {
            let high = if self.is_char(b']') { None } else { Some(self.expr()?) };
            Indirection::Slice(low, high)
        } else {
            match low {
                Some(index) => Indirection::Subscript(index),
                None => return Err(self.syntax_error()),
            }
        };
        self.expect_char(b']')?;
        Ok(step)
    }

    // --- key words ---

    fn keyword_primary(&mut self, kw: Kw, loc: Loc) -> Result<Expr> {
        let paren_follows = self.is_char_at(1, b'(');
        match kw {
            Kw::True | Kw::False => {
                self.advance();
                Ok(Expr::new(loc, ExprKind::Boolean(kw == Kw::True)))
            }
            Kw::Null => {
                self.advance();
                Ok(Expr::new(loc, ExprKind::Null))
            }
            Kw::Default => {
                self.advance();
                Ok(Expr::new(loc, ExprKind::Default))
            }
            Kw::Case => self.case(),
            Kw::Array => self.array(),
            Kw::Row if paren_follows => self.row(),
            Kw::Exists if paren_follows => {
                self.advance();
                let (query, height) = self.select_with_parens()?;
                let sublink = Sublink { kind: SublinkKind::Exists, query };
                self.node(loc, height, ExprKind::Sublink(Box::new(sublink)))
            }
            Kw::Cast => self.cast(),
            _ if value_function(kw).is_some() => self.value_function(kw),
            _ if self.type_constant_begins(kw) => {
                let (type_name, rest) = self.const_type_name()?;
                let mut expr = self.typed_constant(type_name, loc)?;
                if rest {
                    self.interval_constant_rest(&mut expr)?;
                }
                Ok(expr)
            }
            _ if paren_follows && kw.category() == Category::ColName => self.special_call(kw, loc),
            Kw::Collation if self.kw_at(1) == Some(Kw::For) => Err(self.not_supported(loc, "COLLATION FOR")),
            _ if kw.category() != Category::Reserved => self.name_primary(),
            _ => Err(self.syntax_error()),
        }
    }

    fn case(&mut self) -> Result<Expr> {
        let loc = self.advance().start;
        let arg = if self.is_kw(Kw::When) { None } else { Some(Box::new(self.expr()?)) };
        let mut height = arg.as_ref().map_or(0, |a| a.height);
        let mut whens = Vec::new();
        loop {
            self.expect(Kw::When)?;
            let condition = self.expr()?;
            self.expect(Kw::Then)?;
            let result = self.expr()?;
            height = height.max(condition.height).max(result.height);
            whens.push((condition, result));
            if !self.is_kw(Kw::When) {
                break;
            }
        }
        let default = if self.accept(Kw::Else) { Some(Box::new(self.expr()?)) } else { None };
        self.expect(Kw::End)?;
        height = default.iter().fold(height, |h, d| h.max(d.height));
        self.node(loc, height, ExprKind::Case { arg, whens, default })
    }

    fn array(&mut self) -> Result<Expr> {
        let loc = self.advance().start;
        if self.is_char(b'(') {
            let (query, height) = self.select_with_parens()?;
            let sublink = Sublink { kind: SublinkKind::Array, query };
            return self.node(loc, height, ExprKind::Sublink(Box::new(sublink)));
        }
        if !self.is_char(b'[') {
            return Err(self.syntax_error());
        }
        self.array_items(loc)
    }

    /// `[a, b]` or `[[a], [b]]`.
    fn array_items(&mut self, loc: Loc) -> Result<Expr> {
        crate::stack::check()?;
        self.expect_char(b'[')?;
        let mut items = Vec::new();
        if !self.is_char(b']') {
            items = match self.is_char(b'[') {
                true => self.comma_list(|p| {
                    let at = p.loc();
                    p.array_items(at)
                })?,
                false => self.expr_list()?,
            };
        }
        self.expect_char(b']')?;
        let height = tallest(&items);
        self.node(loc, height, ExprKind::Array(items))
    }

    fn row(&mut self) -> Result<Expr> {
        let loc = self.advance().start;
        self.expect_char(b'(')?;
        let fields = if self.is_char(b')') { Vec::new() } else { self.expr_list()? };
        self.expect_char(b')')?;
        let height = tallest(&fields);
        let row = self.node(loc, height, ExprKind::Row { fields, explicit: true })?;
        self.row_tail(row)
    }

    fn cast(&mut self) -> Result<Expr> {
        let loc = self.advance().start;
        self.expect_char(b'(')?;
        let arg = Box::new(self.expr()?);
        self.expect(Kw::As)?;
        let type_name = Box::new(self.type_name()?);
        self.expect_char(b')')?;
        let height = arg.height;
        self.node(loc, height, ExprKind::Cast { arg, type_name })
    }

    fn value_function(&mut self, kw: Kw) -> Result<Expr> {
        let loc = self.advance().start;
        let Some((function, takes_precision)) = value_function(kw) else { return Err(self.syntax_error()) };
        let mut precision = None;
        if takes_precision && self.accept_char(b'(') {
            precision = Some(self.integer()?);
            self.expect_char(b')')?;
        }
        // CURRENT_SCHEMA may also be called like a function.
        if kw == Kw::CurrentSchema && self.is_char(b'(') {
            return self.function_call(vec!["current_schema".into()], loc);
        }
        Ok(Expr::new(loc, ExprKind::ValueFunction { function, precision }))
    }
}

pub(crate) fn tallest(list: &[Expr]) -> u16 {
    list.iter().map(|e| e.height).max().unwrap_or(0)
}

fn value_function(kw: Kw) -> Option<(ValueFunction, bool)> {
    Some(match kw {
        Kw::CurrentDate => (ValueFunction::CurrentDate, false),
        Kw::CurrentTime => (ValueFunction::CurrentTime, true),
        Kw::CurrentTimestamp => (ValueFunction::CurrentTimestamp, true),
        Kw::Localtime => (ValueFunction::LocalTime, true),
        Kw::Localtimestamp => (ValueFunction::LocalTimestamp, true),
        Kw::CurrentRole => (ValueFunction::CurrentRole, false),
        Kw::CurrentUser => (ValueFunction::CurrentUser, false),
        Kw::SessionUser => (ValueFunction::SessionUser, false),
        Kw::User => (ValueFunction::User, false),
        Kw::CurrentCatalog => (ValueFunction::CurrentCatalog, false),
        Kw::CurrentSchema => (ValueFunction::CurrentSchema, false),
        _ => return None,
    })
}
