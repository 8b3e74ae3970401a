//! Operators and their precedence.
//!
//! C counterpart: `a_expr` and `b_expr` of gram.y, with its table of precedences.

use elog::Result;

use crate::ast::{Expr, ExprKind, LikeKind, Loc, Name, Sublink, SublinkKind};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::{Tok, Token};
use crate::primary::Parenthesised;
use crate::stack;

/// How tightly an operator binds, loosest first. The gaps between them make `prec + 1` "tighter than".
pub(crate) mod prec {
    pub(crate) const LOWEST: u8 = 0;
    pub(crate) const OR: u8 = 1;
    pub(crate) const AND: u8 = 2;
    pub(crate) const NOT: u8 = 3;
    pub(crate) const IS: u8 = 4;
    pub(crate) const COMPARE: u8 = 5;
    /// BETWEEN, IN, LIKE.
    pub(crate) const RANGE: u8 = 6;
    /// Any operator without a level of its own.
    pub(crate) const OTHER: u8 = 8;
    pub(crate) const ADD: u8 = 9;
    pub(crate) const MULTIPLY: u8 = 10;
    pub(crate) const POWER: u8 = 11;
    pub(crate) const AT: u8 = 12;
    pub(crate) const COLLATE: u8 = 13;
    pub(crate) const SIGN: u8 = 14;
    pub(crate) const CAST: u8 = 16;
}

/// Which of gram.y's two kinds of expressions: `b_expr` leaves out what would clash with the words around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    A,
    B,
}

/// What the current token does after a complete operand.
enum Infix {
    Operator(u8),
    And,
    Or,
    Is,
    IsNull(bool),
    In { negated: bool },
    Like { kind: LikeKind, negated: bool },
    Between { negated: bool },
    AtTimeZone,
    Collate,
    Cast,
}

impl Infix {
    fn prec(&self) -> u8 {
        match self {
            Infix::Operator(prec) => *prec,
            Infix::And => prec::AND,
            Infix::Or => prec::OR,
            Infix::Is | Infix::IsNull(_) => prec::IS,
            Infix::In { .. } | Infix::Like { .. } | Infix::Between { .. } => prec::RANGE,
            Infix::AtTimeZone => prec::AT,
            Infix::Collate => prec::COLLATE,
            Infix::Cast => prec::CAST,
        }
    }
}

impl Parser<'_> {
    /// C: `a_expr`.
    pub(crate) fn expr(&mut self) -> Result<Expr> {
        self.expr_above(prec::LOWEST, Mode::A)
    }

    /// C: `b_expr`.
    pub(crate) fn b_expr(&mut self) -> Result<Expr> {
        self.expr_above(prec::LOWEST, Mode::B)
    }

    /// C: `expr_list`.
    pub(crate) fn expr_list(&mut self) -> Result<Vec<Expr>> {
        self.comma_list(Parser::expr)
    }

    fn expr_above(&mut self, min: u8, mode: Mode) -> Result<Expr> {
        stack::check()?;
        let left = self.prefix(mode)?;
        self.continue_expr(left, min, mode)
    }

    fn prefix(&mut self, mode: Mode) -> Result<Expr> {
        let token = self.token();
        match token.kind {
            Tok::Char(b'-') => {
                self.advance();
                let operand = self.expr_above(prec::SIGN, mode)?;
                self.negate(operand, token.start)
            }
            Tok::Char(b'+') => {
                self.advance();
                let operand = self.expr_above(prec::SIGN, mode)?;
                self.operator_node(token.start, vec!["+".into()], None, operand)
            }
            Tok::Keyword(Kw::Not) if mode == Mode::A => {
                self.advance();
                let operand = self.expr_above(prec::NOT, mode)?;
                self.node(token.start, operand.height, ExprKind::Not(Box::new(operand)))
            }
            Tok::Op => {
                let name = self.operator_name()?;
                let operand = self.expr_above(prec::OTHER + 1, mode)?;
                self.operator_node(token.start, name, None, operand)
            }
            Tok::Keyword(Kw::Operator) if self.is_char_at(1, b'(') => {
                let name = self.operator_name()?;
                let operand = self.expr_above(prec::OTHER + 1, mode)?;
                self.operator_node(token.start, name, None, operand)
            }
            _ => self.primary(),
        }
    }

    /// A sign before a constant belongs to the constant. C: `doNegate`.
    fn negate(&self, mut operand: Expr, loc: Loc) -> Result<Expr> {
        match &mut operand.kind {
            ExprKind::Integer(value) => *value = -*value,
            ExprKind::Float(digits) => match digits.strip_prefix('-') {
                Some(positive) => *digits = positive.to_string(),
                None => digits.insert(0, '-'),
            },
            _ => return self.operator_node(loc, vec!["-".into()], None, operand),
        }
        operand.loc = loc;
        Ok(operand)
    }

    fn operator_node(&self, loc: Loc, name: Name, left: Option<Expr>, right: Expr) -> Result<Expr> {
        let height = left.as_ref().map_or(0, |l| l.height).max(right.height);
        self.node(loc, height, ExprKind::Op { name, left: left.map(Box::new), right: Box::new(right) })
    }

    /// Goes on after a complete operand, as long as operators bind at least as tightly as `min`.
    pub(crate) fn continue_expr(&mut self, mut left: Expr, min: u8, mode: Mode) -> Result<Expr> {
        // Level of an operator without associativity that just ended in an operand: no second may follow.
        let mut closed = None;
        while let Some(infix) = self.infix(mode) {
            let level = infix.prec();
            if level < min {
                break;
            }
            if closed == Some(level) {
                return Err(self.syntax_error());
            }
            let not_associative = matches!(level, prec::IS | prec::COMPARE | prec::RANGE);
            let ends_in_operand;
            (left, ends_in_operand) = self.infix_rest(left, infix, mode)?;
            closed = (not_associative && ends_in_operand).then_some(level);
        }
        Ok(left)
    }

    fn infix(&self, mode: Mode) -> Option<Infix> {
        if self.at == self.label_stop {
            return None;
        }
        let token = self.token();
        let always = match token.kind {
            Tok::Typecast => Some(Infix::Cast),
            Tok::Keyword(Kw::Is) if mode == Mode::A || self.distinct_follows() => Some(Infix::Is),
            Tok::Keyword(Kw::Operator) if self.is_char_at(1, b'(') => Some(Infix::Operator(prec::OTHER)),
            kind => operator_prec(kind).map(Infix::Operator),
        };
        if always.is_some() || mode == Mode::B {
            return always;
        }
        let Tok::Keyword(kw) = token.kind else { return None };
        match kw {
            Kw::And => Some(Infix::And),
            Kw::Or => Some(Infix::Or),
            Kw::Isnull => Some(Infix::IsNull(false)),
            Kw::Notnull => Some(Infix::IsNull(true)),
            Kw::At => Some(Infix::AtTimeZone),
            Kw::Collate => Some(Infix::Collate),
            Kw::Not => range_word(self.kw_at(1)?, true),
            // Within SUBSTRING it has no TO, and is no operator.
            Kw::Similar if self.kw_at(1) != Some(Kw::To) => None,
            other => range_word(other, false),
        }
    }

    /// IS [NOT] DISTINCT FROM, the one IS that `b_expr` has.
    fn distinct_follows(&self) -> bool {
        self.kw_at(1) == Some(Kw::Distinct)
            || (self.kw_at(1) == Some(Kw::Not) && self.kw_at(2) == Some(Kw::Distinct))
    }

    /// Takes the operator and what belongs to it; also tells whether that ended in an open operand.
    fn infix_rest(&mut self, left: Expr, infix: Infix, mode: Mode) -> Result<(Expr, bool)> {
        let loc = self.loc();
        match infix {
            Infix::Operator(level) => self.operator_rest(left, level, mode),
            Infix::Cast => {
                self.advance();
                let type_name = Box::new(self.type_name()?);
                let height = left.height;
                let kind = ExprKind::Cast { arg: Box::new(left), type_name };
                Ok((self.node(loc, height, kind)?, false))
            }
            Infix::And | Infix::Or => Ok((self.logical_rest(left, infix.prec())?, true)),
            Infix::Is => self.is_rest(left, mode),
            Infix::IsNull(negated) => {
                self.advance();
                let height = left.height;
                let kind = ExprKind::IsNull { arg: Box::new(left), negated };
                Ok((self.node(loc, height, kind)?, false))
            }
            Infix::In { negated } => {
                self.at += 1 + usize::from(negated);
                Ok((self.in_rest(left, loc, negated)?, false))
            }
            Infix::Like { kind, negated } => self.like_rest(left, kind, negated),
            Infix::Between { negated } => Ok((self.between_rest(left, negated)?, true)),
            Infix::AtTimeZone => {
                self.advance();
                self.expect_all(&[Kw::Time, Kw::Zone])?;
                let zone = self.expr_above(prec::AT + 1, mode)?;
                Ok((self.system_call(loc, "timezone", vec![zone, left])?, true))
            }
            Infix::Collate => {
                self.advance();
                let collation = self.qualified_name()?;
                let height = left.height;
                let kind = ExprKind::Collate { arg: Box::new(left), collation };
                Ok((self.node(loc, height, kind)?, false))
            }
        }
    }

    fn operator_rest(&mut self, left: Expr, level: u8, mode: Mode) -> Result<(Expr, bool)> {
        let loc = self.loc();
        let name = self.operator_name()?;
        if mode == Mode::A && matches!(self.kw(), Some(Kw::Any | Kw::Some | Kw::All)) {
            return Ok((self.quantified(left, name, loc)?, false));
        }
        let right = self.expr_above(level + 1, mode)?;
        Ok((self.operator_node(loc, name, Some(left), right)?, true))
    }

    /// ANY or ALL with a query or an array.
    fn quantified(&mut self, left: Expr, name: Name, loc: Loc) -> Result<Expr> {
        let all = self.advance().kind == Tok::Keyword(Kw::All);
        let left_height = left.height;
        if !self.is_char(b'(') {
            return Err(self.syntax_error());
        }
        if !self.query_begins() {
            self.advance();
            let right = self.expr()?;
            self.expect_char(b')')?;
            let height = right.height.max(left_height);
            let kind = ExprKind::OpArray { name, all, left: Box::new(left), right: Box::new(right) };
            return self.node(loc, height, kind);
        }
        match self.parenthesised()? {
            Parenthesised::Select(query, height) => {
                let kind =
                    SublinkKind::Quantified { test: Box::new(left), name, all, negated: false, op_loc: loc };
                let sublink = ExprKind::Sublink(Box::new(Sublink { kind, query: *query }));
                self.node(loc, height.max(left_height), sublink)
            }
            Parenthesised::Exprs(mut list) if list.len() == 1 => {
                let right = list.remove(0);
                let height = right.height.max(left_height);
                let kind = ExprKind::OpArray { name, all, left: Box::new(left), right: Box::new(right) };
                self.node(loc, height, kind)
            }
            Parenthesised::Exprs(_) => Err(self.syntax_error_at(self.at - 1)),
        }
    }

    /// `a AND b AND c` is one node. C: `makeAndExpr`.
    fn logical_rest(&mut self, left: Expr, level: u8) -> Result<Expr> {
        let loc = self.loc();
        let word = if level == prec::AND { Kw::And } else { Kw::Or };
        let mut height = left.height;
        let mut args = match left.kind {
            ExprKind::And(args) if level == prec::AND => args,
            ExprKind::Or(args) if level == prec::OR => args,
            _ => vec![left],
        };
        while self.accept(word) {
            let right = self.expr_above(level + 1, Mode::A)?;
            height = height.max(right.height);
            args.push(right);
        }
        let kind = if level == prec::AND { ExprKind::And(args) } else { ExprKind::Or(args) };
        self.node(loc, height, kind)
    }

    fn is_rest(&mut self, left: Expr, mode: Mode) -> Result<(Expr, bool)> {
        let loc = self.advance().start;
        let negated = self.accept(Kw::Not);
        let height = left.height;
        let arg = Box::new(left);
        let word = self.kw();
        let kind = match word {
            Some(Kw::Null) => ExprKind::IsNull { arg, negated },
            Some(Kw::True) => ExprKind::IsBoolean { arg, value: Some(true), negated },
            Some(Kw::False) => ExprKind::IsBoolean { arg, value: Some(false), negated },
            Some(Kw::Unknown) => ExprKind::IsBoolean { arg, value: None, negated },
            Some(Kw::Distinct) => {
                self.advance();
                self.expect(Kw::From)?;
                let right = Box::new(self.expr_above(prec::IS + 1, mode)?);
                let height = height.max(right.height);
                return Ok((
                    self.node(loc, height, ExprKind::IsDistinct { left: arg, right, negated })?,
                    true,
                ));
            }
            Some(Kw::Document | Kw::Normalized | Kw::Nfc | Kw::Nfd | Kw::Nfkc | Kw::Nfkd) => {
                return Err(self.not_supported(loc, "IS DOCUMENT or IS NORMALIZED"));
            }
            _ => return Err(self.syntax_error()),
        };
        self.advance();
        Ok((self.node(loc, height, kind)?, false))
    }

    fn in_rest(&mut self, left: Expr, loc: Loc, negated: bool) -> Result<Expr> {
        let left_height = left.height;
        if !self.is_char(b'(') {
            return Err(self.syntax_error());
        }
        match self.parenthesised()? {
            Parenthesised::Select(query, height) => {
                let test = Box::new(left);
                let kind =
                    SublinkKind::Quantified { test, name: Vec::new(), all: false, negated, op_loc: loc };
                let sublink = ExprKind::Sublink(Box::new(Sublink { kind, query: *query }));
                self.node(loc, height.max(left_height), sublink)
            }
            Parenthesised::Exprs(list) => {
                let height = list.iter().map(|e| e.height).fold(left_height, u16::max);
                self.node(loc, height, ExprKind::InList { left: Box::new(left), list, negated })
            }
        }
    }

    fn like_rest(&mut self, left: Expr, kind: LikeKind, negated: bool) -> Result<(Expr, bool)> {
        let loc = self.loc();
        self.at += 1 + usize::from(negated);
        if kind == LikeKind::Similar {
            self.expect(Kw::To)?;
        } else if matches!(self.kw(), Some(Kw::Any | Kw::Some | Kw::All)) {
            let name = like_operator(kind, negated).to_string();
            return Ok((self.quantified(left, vec![name], loc)?, false));
        }
        let mut right = self.expr_above(prec::RANGE + 1, Mode::A)?;
        let escape = match self.accept(Kw::Escape) {
            true => Some(self.expr_above(prec::RANGE + 1, Mode::A)?),
            false => None,
        };
        right = match (kind, escape) {
            (LikeKind::Similar, Some(escape)) => {
                self.system_call(loc, "similar_to_escape", vec![right, escape])?
            }
            (LikeKind::Similar, None) => self.system_call(loc, "similar_to_escape", vec![right])?,
            (_, Some(escape)) => self.system_call(loc, "like_escape", vec![right, escape])?,
            (_, None) => right,
        };
        let height = left.height.max(right.height);
        let node = ExprKind::Like { kind, left: Box::new(left), right: Box::new(right), negated };
        Ok((self.node(loc, height, node)?, true))
    }

    fn between_rest(&mut self, left: Expr, negated: bool) -> Result<Expr> {
        let loc = self.loc();
        self.at += 1 + usize::from(negated);
        let symmetric = self.accept(Kw::Symmetric);
        if !symmetric {
            self.accept(Kw::Asymmetric);
        }
        let low = self.b_expr()?;
        self.expect(Kw::And)?;
        let high = self.expr_above(prec::RANGE + 1, Mode::A)?;
        let height = left.height.max(low.height).max(high.height);
        let kind = ExprKind::Between {
            arg: Box::new(left),
            low: Box::new(low),
            high: Box::new(high),
            symmetric,
            negated,
        };
        self.node(loc, height, kind)
    }

    /// The operator here, with a schema if it has one. C: `qual_all_Op`.
    pub(crate) fn operator_name(&mut self) -> Result<Name> {
        if !self.accept(Kw::Operator) {
            return match operator_text(self.token(), self.source) {
                Some(text) => {
                    self.advance();
                    Ok(vec![text.to_string()])
                }
                None => Err(self.syntax_error()),
            };
        }
        self.expect_char(b'(')?;
        let mut name = Vec::new();
        while operator_text(self.token(), self.source).is_none() {
            name.push(self.col_id()?);
            self.expect_char(b'.')?;
        }
        name.extend(operator_text(self.advance(), self.source).map(str::to_string));
        self.expect_char(b')')?;
        Ok(name)
    }
}

fn operator_text(token: Token, source: &str) -> Option<&str> {
    match token.kind {
        Tok::NotEquals => Some("<>"),
        kind => operator_prec(kind).map(|_| &source[token.start as usize..token.end as usize]),
    }
}

/// The level of an operator token.
fn operator_prec(kind: Tok) -> Option<u8> {
    match kind {
        Tok::Char(b'<' | b'>' | b'=') | Tok::LessEquals | Tok::GreaterEquals | Tok::NotEquals => {
            Some(prec::COMPARE)
        }
        Tok::Op => Some(prec::OTHER),
        Tok::Char(b'+' | b'-') => Some(prec::ADD),
        Tok::Char(b'*' | b'/' | b'%') => Some(prec::MULTIPLY),
        Tok::Char(b'^') => Some(prec::POWER),
        _ => None,
    }
}

fn range_word(kw: Kw, negated: bool) -> Option<Infix> {
    match kw {
        Kw::In => Some(Infix::In { negated }),
        Kw::Between => Some(Infix::Between { negated }),
        Kw::Like => Some(Infix::Like { kind: LikeKind::Like, negated }),
        Kw::Ilike => Some(Infix::Like { kind: LikeKind::ILike, negated }),
        Kw::Similar => Some(Infix::Like { kind: LikeKind::Similar, negated }),
        _ => None,
    }
}

/// The operator behind a pattern match.
pub fn like_operator(kind: LikeKind, negated: bool) -> &'static str {
    match (kind, negated) {
        (LikeKind::Like, false) => "~~",
        (LikeKind::Like, true) => "!~~",
        (LikeKind::ILike, false) => "~~*",
        (LikeKind::ILike, true) => "!~~*",
        (LikeKind::Similar, false) => "~",
        (LikeKind::Similar, true) => "!~",
    }
}
