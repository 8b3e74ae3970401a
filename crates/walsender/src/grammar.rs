//! The replication language: a recursive descent over [`crate::lexer`].
//!
//! C counterpart: repl_gram.y. Its errors are bare: no position, no word.

use basebackup::options::{CommandOption, OptionValue};
use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, error};

use crate::lexer::{Keyword, Lexer, Token};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    IdentifySystem,
    /// With its dots.
    Show(String),
    TimelineHistory(TimeLineId),
    ReadReplicationSlot(String),
    CreateReplicationSlot(CreateSlot),
    DropReplicationSlot {
        name: String,
        wait: bool,
    },
    StartReplication(StartReplication),
    /// `START_REPLICATION SLOT s LOGICAL …`; its options are read and forgotten.
    StartLogical {
        slot: String,
    },
    BaseBackup(Vec<CommandOption>),
}

/// C: `CreateReplicationSlotCmd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateSlot {
    pub(crate) name: String,
    pub(crate) temporary: bool,
    /// The output plugin of a logical slot.
    pub(crate) plugin: Option<String>,
    pub(crate) options: Vec<CommandOption>,
}

/// C: `StartReplicationCmd` for physical replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartReplication {
    pub(crate) slot: Option<String>,
    pub(crate) start: Lsn,
    /// The newest one if none is named.
    pub(crate) timeline: Option<TimeLineId>,
}

/// Whether the string begins like a replication command: otherwise it is SQL. C: `replication_scanner_is_replication_command`.
///
/// # Errors
/// As the lexer, for its first word.
pub(crate) fn is_replication_command(command: &str) -> Result<bool> {
    use Keyword as K;
    let first = Lexer::new(command).next()?;
    Ok(matches!(
        first,
        Some(Token::Keyword(
            K::IdentifySystem
                | K::BaseBackup
                | K::StartReplication
                | K::CreateReplicationSlot
                | K::DropReplicationSlot
                | K::ReadReplicationSlot
                | K::TimelineHistory
                | K::Show
        ))
    ))
}

/// C: `replication_yyparse`.
///
/// # Errors
/// 42601 with PostgreSQL's words.
pub(crate) fn parse(command: &str) -> Result<Command> {
    let mut parser = Parser { lexer: Lexer::new(command), ahead: None };
    let command = parser.command()?;
    parser.eat(&Token::Other(b';'))?;
    match parser.next()? {
        None => Ok(command),
        Some(_) => Err(bare_syntax_error()),
    }
}

/// 42601 with this text.
pub(crate) fn syntax_error(text: &str) -> PgError {
    error!(SqlState::SYNTAX_ERROR, "{text}")
}

fn bare_syntax_error() -> PgError {
    syntax_error("syntax error")
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Token>,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Option<Token>> {
        match self.ahead.take() {
            Some(token) => Ok(Some(token)),
            None => self.lexer.next(),
        }
    }

    fn peek(&mut self) -> Result<Option<&Token>> {
        if self.ahead.is_none() {
            self.ahead = self.lexer.next()?;
        }
        Ok(self.ahead.as_ref())
    }

    /// Takes the word if it comes next.
    fn eat(&mut self, token: &Token) -> Result<bool> {
        if self.peek()? == Some(token) {
            self.ahead = None;
            return Ok(true);
        }
        Ok(false)
    }

    fn eat_keyword(&mut self, keyword: Keyword) -> Result<bool> {
        self.eat(&Token::Keyword(keyword))
    }

    fn expect(&mut self, token: &Token) -> Result<()> {
        if self.eat(token)? { Ok(()) } else { Err(bare_syntax_error()) }
    }

    fn name(&mut self) -> Result<String> {
        match self.next()? {
            Some(Token::Name(name)) => Ok(name),
            _ => Err(bare_syntax_error()),
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.next()? {
            Some(Token::Text(text)) => Ok(text),
            _ => Err(bare_syntax_error()),
        }
    }

    fn number(&mut self) -> Result<u32> {
        match self.next()? {
            Some(Token::Number(number)) => Ok(number),
            _ => Err(bare_syntax_error()),
        }
    }

    fn command(&mut self) -> Result<Command> {
        use Keyword as K;
        let Some(Token::Keyword(keyword)) = self.next()? else { return Err(bare_syntax_error()) };
        Ok(match keyword {
            K::IdentifySystem => Command::IdentifySystem,
            K::Show => Command::Show(self.dotted_name()?),
            K::TimelineHistory => Command::TimelineHistory(self.timeline()?),
            K::ReadReplicationSlot => Command::ReadReplicationSlot(self.dotted_name()?),
            K::CreateReplicationSlot => Command::CreateReplicationSlot(self.create_slot()?),
            K::DropReplicationSlot => {
                let name = self.name()?;
                Command::DropReplicationSlot { name, wait: self.eat_keyword(K::Wait)? }
            }
            K::StartReplication => self.start_replication()?,
            K::BaseBackup => Command::BaseBackup(self.options(Self::old_backup_option)?),
            _ => return Err(bare_syntax_error()),
        })
    }

    fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.name()?;
        while self.eat(&Token::Other(b'.'))? {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    fn timeline(&mut self) -> Result<TimeLineId> {
        match self.number()? {
            0 => Err(syntax_error("invalid timeline 0")),
            number => Ok(TimeLineId(number)),
        }
    }

    fn create_slot(&mut self) -> Result<CreateSlot> {
        let name = self.name()?;
        let temporary = self.eat_keyword(Keyword::Temporary)?;
        let plugin = match self.next()? {
            Some(Token::Keyword(Keyword::Physical)) => None,
            Some(Token::Keyword(Keyword::Logical)) => Some(self.name()?),
            _ => return Err(bare_syntax_error()),
        };
        let options = self.options(Self::old_slot_option)?;
        Ok(CreateSlot { name, temporary, plugin, options })
    }

    fn start_replication(&mut self) -> Result<Command> {
        let slot = if self.eat_keyword(Keyword::Slot)? { Some(self.name()?) } else { None };
        if let Some(slot) = &slot
            && self.eat_keyword(Keyword::Logical)?
        {
            let slot = slot.clone();
            self.lsn()?;
            self.plugin_options()?;
            return Ok(Command::StartLogical { slot });
        }
        self.eat_keyword(Keyword::Physical)?;
        let start = self.lsn()?;
        let timeline = if self.eat_keyword(Keyword::Timeline)? { Some(self.timeline()?) } else { None };
        Ok(Command::StartReplication(StartReplication { slot, start, timeline }))
    }

    fn lsn(&mut self) -> Result<Lsn> {
        match self.next()? {
            Some(Token::Lsn(lsn)) => Ok(lsn),
            _ => Err(bare_syntax_error()),
        }
    }

    fn plugin_options(&mut self) -> Result<()> {
        if !self.eat(&Token::Other(b'('))? {
            return Ok(());
        }
        loop {
            self.name()?;
            if let Some(Token::Text(_)) = self.peek()? {
                self.ahead = None;
            }
            if !self.eat(&Token::Other(b','))? {
                return self.expect(&Token::Other(b')'));
            }
        }
    }

    /// Options in brackets; without brackets, those of the syntax before version 15, which `old` knows.
    fn options(
        &mut self,
        old: fn(&mut Self, Keyword) -> Result<Option<CommandOption>>,
    ) -> Result<Vec<CommandOption>> {
        let mut options = Vec::new();
        if !self.eat(&Token::Other(b'('))? {
            while let Some(Token::Keyword(keyword)) = self.peek()? {
                let keyword = *keyword;
                self.ahead = None;
                options.push(old(self, keyword)?.ok_or_else(bare_syntax_error)?);
            }
            return Ok(options);
        }
        loop {
            options.push(self.option()?);
            if !self.eat(&Token::Other(b','))? {
                self.expect(&Token::Other(b')'))?;
                return Ok(options);
            }
        }
    }

    /// C: `generic_option`.
    fn option(&mut self) -> Result<CommandOption> {
        let name = match self.next()? {
            Some(Token::Name(name)) => name,
            Some(Token::Keyword(keyword)) => keyword.text().to_ascii_lowercase(),
            _ => return Err(bare_syntax_error()),
        };
        let value = match self.peek()? {
            Some(Token::Name(text) | Token::Text(text)) => Some(OptionValue::Text(text.clone())),
            Some(Token::Number(number)) => Some(OptionValue::Integer(i64::from(*number))),
            _ => return Ok(CommandOption { name, value: None }),
        };
        self.ahead = None;
        Ok(CommandOption { name, value })
    }

    /// C: `base_backup_legacy_opt`.
    fn old_backup_option(&mut self, keyword: Keyword) -> Result<Option<CommandOption>> {
        use Keyword as K;
        let (name, value) = match keyword {
            K::Label => ("label", OptionValue::Text(self.text()?)),
            K::Progress => ("progress", boolean(true)),
            K::Fast => ("checkpoint", OptionValue::Text("fast".to_owned())),
            K::Wal => ("wal", boolean(true)),
            K::Nowait => ("wait", boolean(false)),
            K::MaxRate => ("max_rate", OptionValue::Integer(i64::from(self.number()?))),
            K::TablespaceMap => ("tablespace_map", boolean(true)),
            K::NoverifyChecksums => ("verify_checksums", boolean(false)),
            K::Manifest => ("manifest", OptionValue::Text(self.text()?)),
            K::ManifestChecksums => ("manifest_checksums", OptionValue::Text(self.text()?)),
            _ => return Ok(None),
        };
        Ok(Some(CommandOption { name: name.to_owned(), value: Some(value) }))
    }

    /// C: `create_slot_legacy_opt`.
    fn old_slot_option(&mut self, keyword: Keyword) -> Result<Option<CommandOption>> {
        use Keyword as K;
        let text = |text: &str| OptionValue::Text(text.to_owned());
        let (name, value) = match keyword {
            K::ExportSnapshot => ("snapshot", text("export")),
            K::NoexportSnapshot => ("snapshot", text("nothing")),
            K::UseSnapshot => ("snapshot", text("use")),
            K::ReserveWal => ("reserve_wal", boolean(true)),
            K::TwoPhase => ("two_phase", boolean(true)),
            _ => return Ok(None),
        };
        Ok(Some(CommandOption { name: name.to_owned(), value: Some(value) }))
    }
}

/// C: `makeBoolean`; `defGetBoolean` takes these words for it.
fn boolean(value: bool) -> OptionValue {
    OptionValue::Text(if value { "true" } else { "false" }.to_owned())
}

#[cfg(test)]
mod tests;
