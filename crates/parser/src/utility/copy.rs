//! COPY, in its present syntax and the two before it.
//!
//! C counterpart: `CopyStmt` of gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{CopySource, CopyStmt, CopyTarget, DefElem, Loc, OptionValue, Statement};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

impl Parser<'_> {
    pub(super) fn copy(&mut self) -> Result<Statement> {
        self.expect(Kw::Copy)?;
        let mut options = Vec::new();
        if self.is_char(b'(') {
            self.advance();
            let (query, height) = self.preparable()?;
            self.tallest = self.tallest.max(height);
            self.expect_char(b')')?;
            self.expect(Kw::To)?;
            let target = self.copy_target()?;
            self.copy_options(&mut options)?;
            let source = CopySource::Query(Box::new(query));
            let stmt = CopyStmt { source, is_from: false, target, options, where_clause: None };
            return Ok(Statement::Copy(Box::new(stmt)));
        }
        if self.is_kw(Kw::Binary) && self.is_col_id_at(1) {
            let loc = self.advance().start;
            options.push(format_option("binary", loc));
        }
        let relation = self.range_var()?;
        let mut columns = Vec::new();
        if self.accept_char(b'(') {
            columns = self.comma_list(|p| {
                let loc = p.loc();
                Ok((p.col_id()?, loc))
            })?;
            self.expect_char(b')')?;
        }
        let is_from = self.accept(Kw::From);
        if !is_from {
            self.expect(Kw::To)?;
        }
        let target = self.copy_target()?;
        let loc = self.loc();
        let old_delimiters =
            self.is_kw(Kw::Delimiters) || (self.is_kw(Kw::Using) && self.kw_at(1) == Some(Kw::Delimiters));
        if old_delimiters {
            self.accept(Kw::Using);
            self.expect(Kw::Delimiters)?;
            options.push(text_option("delimiter", self.string()?, loc));
        }
        self.copy_options(&mut options)?;
        let where_loc = self.loc();
        let where_clause = if self.accept(Kw::Where) { Some(self.held_expr()?) } else { None };
        if where_clause.is_some() && !is_from {
            return Err(self.complain(where_loc, "WHERE clause not allowed with COPY TO"));
        }
        let source = CopySource::Table(relation, columns);
        Ok(Statement::Copy(Box::new(CopyStmt { source, is_from, target, options, where_clause })))
    }

    fn copy_target(&mut self) -> Result<CopyTarget> {
        let program = self.accept(Kw::Program);
        if matches!(self.kw(), Some(Kw::Stdin | Kw::Stdout)) {
            if program {
                // PostgreSQL gives no place for this one.
                return Err(error!(SqlState::SYNTAX_ERROR, "STDIN/STDOUT not allowed with PROGRAM"));
            }
            self.advance();
            return Ok(CopyTarget::Client);
        }
        let name = self.string()?;
        Ok(if program { CopyTarget::Program(name) } else { CopyTarget::File(name) })
    }

    /// C: `opt_with copy_options`.
    fn copy_options(&mut self, options: &mut Vec<DefElem>) -> Result<()> {
        self.accept(Kw::With);
        if self.accept_char(b'(') {
            options.extend(self.comma_list(Parser::copy_generic_option)?);
            return self.expect_char(b')');
        }
        while let Some(option) = self.copy_old_option()? {
            options.push(option);
        }
        Ok(())
    }

    /// C: `copy_generic_opt_elem`.
    fn copy_generic_option(&mut self) -> Result<DefElem> {
        let loc = self.loc();
        let name = self.col_label()?;
        let value = match self.peek() {
            Tok::Char(b',' | b')') => None,
            Tok::Char(b'*') => {
                self.advance();
                Some(OptionValue::Star)
            }
            Tok::Char(b'(') => {
                self.advance();
                let words = self.comma_list(|p| match p.option_value()? {
                    OptionValue::String(word) => Ok(word),
                    _ => Err(p.syntax_error_at(p.at - 1)),
                })?;
                self.expect_char(b')')?;
                Some(OptionValue::List(words))
            }
            _ => Some(self.option_value()?),
        };
        Ok(DefElem { name, value, loc })
    }

    /// C: `copy_opt_item`.
    fn copy_old_option(&mut self) -> Result<Option<DefElem>> {
        let loc = self.loc();
        let Some(kw) = self.kw() else { return Ok(None) };
        let option = match kw {
            Kw::Binary | Kw::Csv => {
                self.advance();
                format_option(kw.word(), loc)
            }
            Kw::Freeze | Kw::Header => {
                self.advance();
                DefElem { name: kw.word().to_string(), value: Some(OptionValue::Boolean(true)), loc }
            }
            Kw::Delimiter | Kw::Null | Kw::Quote | Kw::Escape => {
                self.advance();
                self.accept(Kw::As);
                text_option(kw.word(), self.string()?, loc)
            }
            Kw::Encoding => {
                self.advance();
                text_option("encoding", self.string()?, loc)
            }
            Kw::Force => {
                self.advance();
                self.copy_force_option(loc)?
            }
            _ => return Ok(None),
        };
        Ok(Some(option))
    }

    fn copy_force_option(&mut self, loc: Loc) -> Result<DefElem> {
        let name = if self.accept(Kw::Quote) {
            "force_quote"
        } else if self.accept_all(&[Kw::Not, Kw::Null]) {
            "force_not_null"
        } else if self.accept(Kw::Null) {
            "force_null"
        } else {
            return Err(self.syntax_error());
        };
        let value = match name == "force_quote" && self.accept_char(b'*') {
            true => OptionValue::Star,
            false => OptionValue::List(self.name_list()?),
        };
        Ok(DefElem { name: name.to_string(), value: Some(value), loc })
    }
}

fn text_option(name: &str, value: String, loc: Loc) -> DefElem {
    DefElem { name: name.to_string(), value: Some(OptionValue::String(value)), loc }
}

fn format_option(format: &str, loc: Loc) -> DefElem {
    text_option("format", format.to_string(), loc)
}
