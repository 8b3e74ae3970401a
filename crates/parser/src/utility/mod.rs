//! Which command a statement is, and the commands that need no more than a few words.
//!
//! C counterpart: `stmt` and the utility statements of gram.y.

mod copy;
mod cursors;
mod other;
mod role;
mod set;
mod table;
mod table_commands;
mod transaction;

use elog::Result;

use crate::ast::{DefElem, DiscardTarget, OptionValue, Statement, VacuumRelation};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

impl Parser<'_> {
    /// One statement, without the semicolon. C: `toplevel_stmt`.
    pub(crate) fn statement(&mut self) -> Result<Statement> {
        let Some(kw) = self.kw() else {
            return match self.peek() {
                Tok::Char(b'(') => self.query_statement(),
                _ => Err(self.syntax_error()),
            };
        };
        match kw {
            Kw::Select | Kw::Values | Kw::Table | Kw::With | Kw::Insert | Kw::Update | Kw::Delete => {
                self.query_statement()
            }
            Kw::Set => self.set_statement(),
            Kw::Reset => self.reset_statement(),
            Kw::Show => self.show_statement(),
            Kw::Begin | Kw::Start | Kw::Commit | Kw::End | Kw::Rollback | Kw::Abort => {
                self.transaction_statement(kw)
            }
            Kw::Savepoint | Kw::Release => self.transaction_statement(kw),
            Kw::Prepare => self.prepare(),
            Kw::Execute => self.execute(),
            Kw::Deallocate => self.deallocate(),
            Kw::Declare => self.declare_cursor(),
            Kw::Fetch | Kw::Move => self.fetch(),
            Kw::Close => self.close(),
            Kw::Explain => self.explain(),
            Kw::Checkpoint => self.word(Statement::Checkpoint),
            Kw::Discard => self.discard(),
            Kw::Listen | Kw::Notify | Kw::Unlisten => self.listen(kw),
            Kw::Load => {
                self.advance();
                Ok(Statement::Load(self.string()?))
            }
            Kw::Vacuum | Kw::Analyze | Kw::Analyse => self.vacuum(kw),
            Kw::Create => self.create(),
            Kw::Truncate => self.truncate(),
            Kw::Copy => self.copy(),
            Kw::Lock => self.lock(),
            Kw::Comment => self.comment(),
            Kw::Alter => self.alter(),
            Kw::Drop => self.drop(),
            _ => self.other(),
        }
    }

    fn word(&mut self, statement: Statement) -> Result<Statement> {
        self.advance();
        Ok(statement)
    }

    fn query_statement(&mut self) -> Result<Statement> {
        Ok(self.preparable()?.0)
    }

    fn create(&mut self) -> Result<Statement> {
        match self.kw_at(1) {
            Some(Kw::User) if self.kw_at(2) == Some(Kw::Mapping) => self.other(),
            Some(Kw::Role | Kw::User | Kw::Group) => self.create_role(),
            Some(Kw::Database) => self.create_database(),
            Some(Kw::Tablespace) => self.create_tablespace(),
            Some(Kw::Schema) => self.create_schema(),
            _ if self.create_table_begins() => self.create_table(),
            _ => self.other(),
        }
    }

    fn alter(&mut self) -> Result<Statement> {
        match self.kw_at(1) {
            Some(Kw::System) => self.alter_system(),
            Some(Kw::User) if self.kw_at(2) == Some(Kw::Mapping) => self.other(),
            Some(Kw::Role | Kw::User) => self.alter_role(),
            Some(Kw::Database) => self.alter_database(),
            _ => self.other(),
        }
    }

    fn drop(&mut self) -> Result<Statement> {
        match self.kw_at(1) {
            Some(Kw::User) if self.kw_at(2) == Some(Kw::Mapping) => self.other(),
            Some(Kw::Role | Kw::User | Kw::Group) => self.drop_role(),
            Some(Kw::Database) => self.drop_database(),
            Some(Kw::Tablespace) => self.drop_tablespace(),
            _ => match self.drop_kind() {
                Some(kind) => self.drop_objects(kind),
                None => self.other(),
            },
        }
    }

    fn discard(&mut self) -> Result<Statement> {
        self.advance();
        let target = match self.kw() {
            Some(Kw::All) => DiscardTarget::All,
            Some(Kw::Plans) => DiscardTarget::Plans,
            Some(Kw::Sequences) => DiscardTarget::Sequences,
            Some(Kw::Temp | Kw::Temporary) => DiscardTarget::Temp,
            _ => return Err(self.syntax_error()),
        };
        self.word(Statement::Discard(target))
    }

    fn listen(&mut self, kw: Kw) -> Result<Statement> {
        self.advance();
        if kw == Kw::Unlisten {
            let all = self.accept_char(b'*');
            return Ok(Statement::Unlisten(if all { None } else { Some(self.col_id()?) }));
        }
        let channel = self.col_id()?;
        if kw == Kw::Listen {
            return Ok(Statement::Listen(channel));
        }
        let payload = if self.accept_char(b',') { Some(self.string()?) } else { None };
        Ok(Statement::Notify { channel, payload })
    }

    fn vacuum(&mut self, kw: Kw) -> Result<Statement> {
        self.advance();
        let is_vacuum = kw == Kw::Vacuum;
        let mut options = Vec::new();
        if self.is_char(b'(') {
            options = self.option_list()?;
        } else {
            // The old spelling without parentheses, in its fixed order.
            let words: &[Kw] =
                if is_vacuum { &[Kw::Full, Kw::Freeze, Kw::Verbose, Kw::Analyze] } else { &[Kw::Verbose] };
            for word in words {
                let loc = self.loc();
                if self.accept(*word) || (*word == Kw::Analyze && self.accept(Kw::Analyse)) {
                    options.push(DefElem { name: word.word().to_string(), value: None, loc });
                }
            }
        }
        let mut relations = Vec::new();
        if self.is_col_id_at(0) {
            relations = self.comma_list(|p| {
                Ok(VacuumRelation { relation: p.range_var()?, columns: p.column_names_if()? })
            })?;
        }
        Ok(Statement::Vacuum { is_vacuum, options, relations })
    }

    /// EXPLAIN [ANALYZE] [VERBOSE] statement, or EXPLAIN (options) statement.
    fn explain(&mut self) -> Result<Statement> {
        self.advance();
        let mut options = Vec::new();
        if self.is_char(b'(') && !self.query_begins() {
            options = self.option_list()?;
        } else {
            for (word, name) in [(Kw::Analyze, "analyze"), (Kw::Verbose, "verbose")] {
                let loc = self.loc();
                if self.accept(word) || (word == Kw::Analyze && self.accept(Kw::Analyse)) {
                    options.push(DefElem { name: name.to_string(), value: None, loc });
                }
            }
        }
        let statement = match self.kw() {
            Some(Kw::Execute) => self.execute()?,
            Some(Kw::Declare) => self.declare_cursor()?,
            Some(Kw::Create) => self.create()?,
            _ => self.query_statement()?,
        };
        Ok(Statement::Explain(options, Box::new(statement)))
    }

    /// `(name [value], ...)`. C: `utility_option_list`.
    pub(crate) fn option_list(&mut self) -> Result<Vec<DefElem>> {
        self.expect_char(b'(')?;
        let options = self.comma_list(|p| {
            let loc = p.loc();
            let name = match p.kw() {
                // ANALYZE is reserved, yet an option.
                Some(Kw::Analyze | Kw::Analyse) => {
                    p.advance();
                    "analyze".to_string()
                }
                _ => p.non_reserved_word()?,
            };
            let value = match p.peek() {
                Tok::Char(b',' | b')') => None,
                _ => Some(p.option_value()?),
            };
            Ok(DefElem { name, value, loc })
        })?;
        self.expect_char(b')')?;
        Ok(options)
    }

    /// A number, a word or a string. C: `opt_boolean_or_string`, `NumericOnly`.
    pub(crate) fn option_value(&mut self) -> Result<OptionValue> {
        if let Some(kw @ (Kw::True | Kw::False | Kw::On)) = self.kw() {
            self.advance();
            return Ok(OptionValue::String(kw.word().to_string()));
        }
        if let Some(number) = self.signed_number_if()? {
            return Ok(match number.parse() {
                Ok(value) => OptionValue::Integer(value),
                Err(_) => OptionValue::Float(number),
            });
        }
        Ok(OptionValue::String(self.word_or_string()?))
    }

    /// C: `NonReservedWord_or_Sconst`.
    pub(crate) fn word_or_string(&mut self) -> Result<String> {
        match self.string_if()? {
            Some(value) => Ok(value),
            None => self.non_reserved_word(),
        }
    }

    /// A number as written, with a minus sign if it has one. C: `NumericOnly`.
    pub(crate) fn signed_number_if(&mut self) -> Result<Option<String>> {
        let sign = self.is_char(b'-') || self.is_char(b'+');
        let token = self.token_at(usize::from(sign));
        if !matches!(token.kind, Tok::Integer | Tok::Float) {
            return Ok(None);
        }
        let minus = if self.is_char(b'-') { "-" } else { "" };
        self.at += 1 + usize::from(sign);
        Ok(Some(format!("{minus}{}", self.text(token))))
    }
}
