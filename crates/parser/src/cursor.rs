//! The token stream and what every part of the grammar asks of it.

use common::SqlState;
use elog::{PgError, Result, error};

use crate::ast::{Expr, ExprKind, Loc, Name};
use crate::keywords::{Category, Kw};
use crate::lexer::{Quote, Tok, Token, char_position, scan};
use crate::literal;
use crate::stack;

/// Greatest height of an expression or query. PostgreSQL gives up on a chain of operators somewhere between
/// 2000 and 5000 with its default `max_stack_depth`.
pub const MAX_HEIGHT: u16 = 4000;

pub(crate) struct Parser<'a> {
    pub(crate) source: &'a str,
    tokens: Vec<Token>,
    pub(crate) at: usize,
    /// Height of what the innermost open query holds so far.
    pub(crate) tallest: u16,
    /// A key word that a first attempt took for an operator and that must be a label: see `target`.
    pub(crate) label_stop: usize,
    lex_error: Option<PgError>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(source: &'a str, standard_conforming_strings: bool) -> Parser<'a> {
        let (tokens, lex_error) = scan(source, standard_conforming_strings);
        Parser { source, tokens, at: 0, tallest: 0, label_stop: usize::MAX, lex_error }
    }

    // --- looking ---

    pub(crate) fn token(&self) -> Token {
        self.token_at(0)
    }

    /// The last token is Eof or Bad and stays current for ever.
    pub(crate) fn token_at(&self, ahead: usize) -> Token {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    /// The token with this index, as [`Parser::at`] counts.
    pub(crate) fn token_by_index(&self, index: usize) -> Token {
        self.tokens[index.min(self.tokens.len() - 1)]
    }

    pub(crate) fn peek(&self) -> Tok {
        self.token().kind
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Tok {
        self.token_at(ahead).kind
    }

    pub(crate) fn kw(&self) -> Option<Kw> {
        self.kw_at(0)
    }

    pub(crate) fn kw_at(&self, ahead: usize) -> Option<Kw> {
        match self.peek_at(ahead) {
            Tok::Keyword(kw) => Some(kw),
            _ => None,
        }
    }

    pub(crate) fn is_kw(&self, kw: Kw) -> bool {
        self.kw() == Some(kw)
    }

    pub(crate) fn is_char(&self, c: u8) -> bool {
        self.peek() == Tok::Char(c)
    }

    pub(crate) fn is_char_at(&self, ahead: usize, c: u8) -> bool {
        self.peek_at(ahead) == Tok::Char(c)
    }

    pub(crate) fn loc(&self) -> Loc {
        self.token().start
    }

    /// Where the token before this one ended.
    pub(crate) fn previous_end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |i| self.tokens[i].end as usize)
    }

    pub(crate) fn text(&self, token: Token) -> &'a str {
        &self.source[token.start as usize..token.end as usize]
    }

    // --- taking ---

    pub(crate) fn advance(&mut self) -> Token {
        let token = self.token();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub(crate) fn accept(&mut self, kw: Kw) -> bool {
        let found = self.is_kw(kw);
        if found {
            self.advance();
        }
        found
    }

    pub(crate) fn accept_char(&mut self, c: u8) -> bool {
        let found = self.is_char(c);
        if found {
            self.advance();
        }
        found
    }

    /// All of these in a row, or none.
    pub(crate) fn accept_all(&mut self, words: &[Kw]) -> bool {
        let found = words.iter().enumerate().all(|(i, kw)| self.kw_at(i) == Some(*kw));
        if found {
            self.at += words.len();
        }
        found
    }

    pub(crate) fn expect(&mut self, kw: Kw) -> Result<()> {
        if self.accept(kw) { Ok(()) } else { Err(self.syntax_error()) }
    }

    pub(crate) fn expect_all(&mut self, words: &[Kw]) -> Result<()> {
        words.iter().try_for_each(|kw| self.expect(*kw))
    }

    pub(crate) fn expect_char(&mut self, c: u8) -> Result<()> {
        if self.accept_char(c) { Ok(()) } else { Err(self.syntax_error()) }
    }

    // --- errors ---

    /// The current token does not belong here. C: `scanner_yyerror`.
    pub(crate) fn syntax_error(&self) -> PgError {
        self.syntax_error_at(self.at)
    }

    /// The same about the token with this index.
    pub(crate) fn syntax_error_at(&self, index: usize) -> PgError {
        self.error_about(index, "syntax error")
    }

    /// Another complaint about the current token. C: `parser_yyerror`.
    pub(crate) fn error_here(&self, what: &str) -> PgError {
        self.error_about(self.at, what)
    }

    fn error_about(&self, index: usize, what: &str) -> PgError {
        let token = self.tokens[index.min(self.tokens.len() - 1)];
        let e = match (token.kind, &self.lex_error) {
            (Tok::Bad, Some(e)) => return e.clone(),
            (Tok::Eof | Tok::Bad, _) => error!(SqlState::SYNTAX_ERROR, "{what} at end of input"),
            _ => error!(SqlState::SYNTAX_ERROR, "{what} at or near \"{}\"", self.text(token)),
        };
        e.position(char_position(self.source, token.start as usize)).routine("scanner_yyerror")
    }

    /// Points an error at a place in the source.
    pub(crate) fn at(&self, e: PgError, loc: Loc) -> PgError {
        e.position(char_position(self.source, loc as usize))
    }

    /// An error of the grammar's own about something that is no syntax error.
    pub(crate) fn complain(&self, loc: Loc, message: &str) -> PgError {
        self.at(error!(SqlState::SYNTAX_ERROR, "{message}"), loc)
    }

    /// What the grammar knows and nothing else does.
    pub(crate) fn not_supported(&self, loc: Loc, what: &str) -> PgError {
        self.at(error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} is not supported yet"), loc)
    }

    /// An inner node above children of this height.
    pub(crate) fn node(&self, loc: Loc, child_height: u16, kind: ExprKind) -> Result<Expr> {
        if child_height >= MAX_HEIGHT {
            return Err(stack::limit_exceeded());
        }
        Ok(Expr { loc, height: child_height + 1, kind })
    }

    // --- names and constants ---

    /// A name that needs no quotes here, if the current token is one of that category or below.
    fn name_if(&mut self, allowed: fn(Category) -> bool) -> Result<Option<String>> {
        let token = self.token();
        let name = match token.kind {
            Tok::Ident => literal::downcase(self.text(token)),
            Tok::Keyword(kw) if allowed(kw.category()) => kw.word().to_string(),
            Tok::QuotedIdent => literal::unquote(self.text(token)),
            Tok::UnicodeIdent => return self.unicode_ident().map(Some),
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(name))
    }

    fn required(&mut self, allowed: fn(Category) -> bool) -> Result<String> {
        match self.name_if(allowed)? {
            Some(name) => Ok(name),
            None => Err(self.syntax_error()),
        }
    }

    /// C: `ColId`.
    pub(crate) fn col_id(&mut self) -> Result<String> {
        self.required(is_col_id)
    }

    pub(crate) fn col_id_if(&mut self) -> Result<Option<String>> {
        self.name_if(is_col_id)
    }

    pub(crate) fn is_col_id_at(&self, ahead: usize) -> bool {
        self.is_name_at(ahead, is_col_id)
    }

    /// C: `type_function_name`.
    pub(crate) fn type_function_name(&mut self) -> Result<String> {
        self.required(is_type_function_name)
    }

    pub(crate) fn is_type_function_name_at(&self, ahead: usize) -> bool {
        self.is_name_at(ahead, is_type_function_name)
    }

    fn is_name_at(&self, ahead: usize, allowed: fn(Category) -> bool) -> bool {
        match self.peek_at(ahead) {
            Tok::Ident | Tok::QuotedIdent | Tok::UnicodeIdent => true,
            Tok::Keyword(kw) => allowed(kw.category()),
            _ => false,
        }
    }

    /// C: `NonReservedWord`.
    pub(crate) fn non_reserved_word(&mut self) -> Result<String> {
        self.required(|c| c != Category::Reserved)
    }

    /// C: `ColLabel`.
    pub(crate) fn col_label(&mut self) -> Result<String> {
        self.required(|_| true)
    }

    /// A label without AS. C: `BareColLabel`.
    pub(crate) fn bare_label_if(&mut self) -> Result<Option<String>> {
        match self.kw() {
            Some(kw) if !kw.is_bare_label() => Ok(None),
            _ => self.name_if(|_| true),
        }
    }

    /// `name` or `a.b.c`. C: `any_name`, `qualified_name`.
    pub(crate) fn qualified_name(&mut self) -> Result<Name> {
        let mut name = vec![self.col_id()?];
        while self.accept_char(b'.') {
            name.push(self.col_label()?);
        }
        Ok(name)
    }

    /// Names between commas. C: `name_list`.
    pub(crate) fn name_list(&mut self) -> Result<Vec<String>> {
        self.comma_list(Parser::col_id)
    }

    pub(crate) fn comma_list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = vec![item(self)?];
        while self.accept_char(b',') {
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn unicode_ident(&mut self) -> Result<String> {
        let token = self.advance();
        let text = self.text(token);
        let escape = self.uescape()?;
        let inner = text[3..text.len() - 1].replace("\"\"", "\"");
        let mut name = literal::unicode_literal(self.source, token.start as usize + 3, &inner, escape)?;
        literal::truncate(&mut name);
        Ok(name)
    }

    /// UESCAPE 'x', or the backslash.
    fn uescape(&mut self) -> Result<char> {
        if !self.is_kw(Kw::Uescape) {
            return Ok('\\');
        }
        self.advance();
        let token = self.token();
        let Tok::Str(Quote::Plain) = token.kind else {
            return Err(self.uescape_error(token, "UESCAPE must be followed by a simple string literal"));
        };
        let value = literal::string(self.source, token.start as usize, token.end as usize, Quote::Plain)?;
        let mut chars = value.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None)
                if !c.is_ascii_hexdigit() && !matches!(c, '+' | '\'' | '"') && !c.is_ascii_whitespace() =>
            {
                self.advance();
                Ok(c)
            }
            _ => Err(self.uescape_error(token, "invalid Unicode escape character")),
        }
    }

    fn uescape_error(&self, token: Token, what: &str) -> PgError {
        self.complain(token.start, &format!("{what} at or near \"{}\"", self.text(token)))
    }

    /// A string constant (not B'' or X''). C: `Sconst`.
    pub(crate) fn string_if(&mut self) -> Result<Option<String>> {
        let token = self.token();
        let Tok::Str(quote) = token.kind else { return Ok(None) };
        if matches!(quote, Quote::Bit | Quote::Hex | Quote::National) {
            return Ok(None);
        }
        let value = literal::string(self.source, token.start as usize, token.end as usize, quote)?;
        self.advance();
        if quote == Quote::Unicode {
            let escape = self.uescape()?;
            return literal::unicode_literal(self.source, token.start as usize + 3, &value, escape).map(Some);
        }
        Ok(Some(value))
    }

    pub(crate) fn is_string(&self) -> bool {
        matches!(self.peek(), Tok::Str(q) if !matches!(q, Quote::Bit | Quote::Hex | Quote::National))
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        match self.string_if()? {
            Some(value) => Ok(value),
            None => Err(self.syntax_error()),
        }
    }

    /// An integer constant that fits in 32 bits. C: `Iconst`.
    pub(crate) fn integer(&mut self) -> Result<i32> {
        let token = self.token();
        match (token.kind, self.text(token).parse()) {
            (Tok::Integer, Ok(value)) => {
                self.advance();
                Ok(value)
            }
            _ => Err(self.syntax_error()),
        }
    }

    /// C: `SignedIconst`.
    pub(crate) fn signed_integer(&mut self) -> Result<i32> {
        let negative = self.accept_char(b'-');
        if !negative {
            self.accept_char(b'+');
        }
        let value = self.integer()?;
        Ok(if negative { -value } else { value })
    }
}

fn is_col_id(category: Category) -> bool {
    matches!(category, Category::Unreserved | Category::ColName)
}

fn is_type_function_name(category: Category) -> bool {
    matches!(category, Category::Unreserved | Category::TypeFuncName)
}
