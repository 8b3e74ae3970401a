//! SQL text to statements, with PostgreSQL's error text and position.
//!
//! [`parse`] scans the text once and reads statement after statement from the tokens by recursive descent, so a
//! syntax error is about the very token that PostgreSQL's own parser stumbles over. Queries, data changes and
//! utility commands have a grammar here; commands that nothing can run yet go through the crate sqlparser.
//!
//! ```
//! let statements = parser::parse("BEGIN; SELECT 1").unwrap();
//! assert_eq!(statements[1].stmt.command_tag(), "SELECT");
//! let error = parser::parse("SELECT 1 FROM FROM").unwrap_err();
//! assert_eq!(error.message, "syntax error at or near \"FROM\"");
//! assert_eq!(error.position, Some(15));
//! ```
//!
//! Invariants:
//! - Pa1  No statement makes it panic, loop, or use more stack than [`stack`] allows: each function that
//!   recurses asks [`stack::check`], and each tree stays below [`MAX_HEIGHT`].
//! - Pa2  A location is a byte offset into the whole text, and lies on a character's first byte.
//!
//! C counterpart: src/backend/parser/{scan.l,gram.y,parser.c}.

#![forbid(unsafe_code)]

pub mod ast; // 1. what comes out
mod statement;
mod table_stmt;
mod tag;

mod keywords; // 2. words
mod lexer; // 3. characters to tokens
mod literal;

mod cursor; // 4. tokens to trees
mod dml;
mod expr;
mod from;
mod func;
mod primary;
mod select;
mod typename;
mod utility;

pub mod stack; // 5. and not too deep

#[cfg(test)]
mod tests;

pub use ast::Statement;
pub use cursor::MAX_HEIGHT;
pub use expr::like_operator;
pub use lexer::char_position;
pub use select::start_of;

use cursor::Parser;
use elog::Result;
use lexer::Tok;

/// A statement and the part of the text it came from. C: `RawStmt`.
#[derive(Clone, Debug, PartialEq)]
pub struct RawStmt {
    /// The statement.
    pub stmt: Statement,
    /// Byte offset of its first character, blanks and comments before it included.
    pub start: usize,
    /// Bytes up to its semicolon or the end of the text.
    pub len: usize,
}

impl RawStmt {
    /// The statement's own text.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.start + self.len).unwrap_or(source).trim()
    }

    /// See [`Statement::command_tag`].
    pub fn command_tag(&self) -> &'static str {
        self.stmt.command_tag()
    }
}

/// An expression alone, as the catalog keeps defaults and constraints.
pub fn parse_expr(source: &str) -> Result<ast::Expr> {
    let mut parser = Parser::new(source, true);
    let expr = parser.expr()?;
    match parser.peek() {
        Tok::Eof => Ok(expr),
        _ => Err(parser.syntax_error()),
    }
}

/// All statements of a text, empty ones left out. C: `raw_parser`.
pub fn parse(source: &str) -> Result<Vec<RawStmt>> {
    parse_with(source, true)
}

/// [`parse`] for a session whose `standard_conforming_strings` may be off.
pub fn parse_with(source: &str, standard_conforming_strings: bool) -> Result<Vec<RawStmt>> {
    let mut parser = Parser::new(source, standard_conforming_strings);
    let mut statements = Vec::new();
    let mut start = 0;
    loop {
        if parser.peek() == Tok::Eof {
            return Ok(statements);
        }
        if parser.is_char(b';') {
            start = parser.advance().end as usize;
            continue;
        }
        parser.tallest = 0;
        let stmt = parser.statement()?;
        if !matches!(parser.peek(), Tok::Eof | Tok::Char(b';')) {
            return Err(parser.syntax_error());
        }
        let len = parser.token().start as usize - start;
        statements.push(RawStmt { stmt, start, len });
    }
}
