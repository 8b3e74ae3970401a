//! PREPARE, EXECUTE, DEALLOCATE; DECLARE, FETCH, MOVE, CLOSE.
//!
//! C counterpart: `PrepareStmt`, `ExecuteStmt`, `DeallocateStmt`, `DeclareCursorStmt`, `FetchStmt`,
//! `ClosePortalStmt` of gram.y.

use elog::Result;

use crate::ast::{CursorOptions, FetchDirection, FetchStmt, Statement, TransactionStmt};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

impl Parser<'_> {
    pub(super) fn prepare(&mut self) -> Result<Statement> {
        self.advance();
        if self.is_kw(Kw::Transaction) && matches!(self.peek_at(1), Tok::Str(_)) {
            self.advance();
            return Ok(Statement::Transaction(TransactionStmt::PrepareTransaction(self.string()?)));
        }
        let name = self.col_id()?;
        let mut arg_types = Vec::new();
        if self.accept_char(b'(') {
            arg_types = self.comma_list(Parser::type_name)?;
            self.expect_char(b')')?;
        }
        self.expect(Kw::As)?;
        let query = Box::new(self.preparable()?.0);
        Ok(Statement::Prepare { name, arg_types, query })
    }

    pub(super) fn execute(&mut self) -> Result<Statement> {
        self.expect(Kw::Execute)?;
        let name = self.col_id()?;
        let mut args = Vec::new();
        if self.accept_char(b'(') {
            args = self.expr_list()?;
            self.expect_char(b')')?;
        }
        Ok(Statement::Execute { name, args })
    }

    pub(super) fn deallocate(&mut self) -> Result<Statement> {
        self.advance();
        // PREPARE is a noise word here unless nothing follows it.
        if self.is_kw(Kw::Prepare) && !matches!(self.peek_at(1), Tok::Eof | Tok::Char(b';')) {
            self.advance();
        }
        let all = self.accept(Kw::All);
        Ok(Statement::Deallocate(if all { None } else { Some(self.col_id()?) }))
    }

    pub(super) fn declare_cursor(&mut self) -> Result<Statement> {
        self.advance();
        let name = self.col_id()?;
        let mut options = CursorOptions::default();
        loop {
            match self.kw() {
                Some(Kw::Binary) => options.binary = true,
                Some(Kw::Insensitive) => options.insensitive = true,
                Some(Kw::Asensitive) => options.asensitive = true,
                Some(Kw::Scroll) => options.scroll = Some(true),
                Some(Kw::No) => {
                    self.advance();
                    if !self.is_kw(Kw::Scroll) {
                        return Err(self.syntax_error());
                    }
                    options.scroll = Some(false);
                }
                _ => break,
            }
            self.advance();
        }
        self.expect(Kw::Cursor)?;
        if self.accept(Kw::With) {
            self.expect(Kw::Hold)?;
            options.hold = true;
        } else if self.accept(Kw::Without) {
            self.expect(Kw::Hold)?;
        }
        self.expect(Kw::For)?;
        let (query, _) = self.select()?;
        Ok(Statement::DeclareCursor { name, options, query: Box::new(query) })
    }

    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let is_move = self.advance().kind == Tok::Keyword(Kw::Move);
        let (direction, count) = self.fetch_direction()?;
        if !self.accept(Kw::From) {
            self.accept(Kw::In);
        }
        let cursor = self.col_id()?;
        Ok(Statement::Fetch(FetchStmt { is_move, direction, count, cursor }))
    }

    fn fetch_direction(&mut self) -> Result<(FetchDirection, i64)> {
        use FetchDirection::{Absolute, Backward, Forward, Relative};
        // A cursor may be called like one of these words: then the statement ends behind it.
        let word = match self.peek_at(1) {
            Tok::Eof | Tok::Char(b';') => None,
            _ => self.kw(),
        };
        let fixed = match word {
            Some(Kw::Next) => Some((Forward, 1)),
            Some(Kw::Prior) => Some((Backward, 1)),
            Some(Kw::First) => Some((Absolute, 1)),
            Some(Kw::Last) => Some((Absolute, -1)),
            Some(Kw::All) => Some((Forward, i64::MAX)),
            _ => None,
        };
        if let Some(fixed) = fixed {
            self.advance();
            return Ok(fixed);
        }
        let direction = match word {
            Some(Kw::Absolute) => Absolute,
            Some(Kw::Relative) => Relative,
            Some(Kw::Forward) => Forward,
            Some(Kw::Backward) => Backward,
            _ if matches!(self.peek(), Tok::Integer | Tok::Char(b'-' | b'+')) => {
                return Ok((Forward, i64::from(self.signed_integer()?)));
            }
            _ => return Ok((Forward, 1)),
        };
        self.advance();
        if matches!(self.peek(), Tok::Integer | Tok::Char(b'-' | b'+')) {
            return Ok((direction, i64::from(self.signed_integer()?)));
        }
        match direction {
            Absolute | Relative => Err(self.syntax_error()),
            _ if self.accept(Kw::All) => Ok((direction, i64::MAX)),
            _ => Ok((direction, 1)),
        }
    }

    pub(super) fn close(&mut self) -> Result<Statement> {
        self.advance();
        let all = self.accept(Kw::All);
        Ok(Statement::ClosePortal(if all { None } else { Some(self.col_id()?) }))
    }
}
