//! Words of the replication language.
//!
//! Keywords are upper case only, as they are: `identify_system` is a name, so it is taken for SQL. Names fold to lower case unless
//! quoted. There are no comments.
//!
//! C counterpart: repl_scanner.l.

use common::version::NAMEDATALEN;
use common::{Lsn, SqlState};
use elog::{Result, error, pg_error};

use crate::grammar::syntax_error;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Keyword(Keyword),
    /// A name, or anything in double quotes.
    Name(String),
    /// Anything in single quotes.
    Text(String),
    /// An unsigned number; one that does not fit loses its high bits. C: `UCONST`.
    Number(u32),
    /// A position in WAL. C: `RECPTR`.
    Lsn(Lsn),
    /// Anything else, one byte of it.
    Other(u8),
}

macro_rules! keywords {
    ($($name:ident = $text:literal,)*) => {
        /// The words that mean something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Keyword { $($name,)* }

        impl Keyword {
            #[cfg(test)]
            pub(crate) const ALL: &[Keyword] = &[$(Keyword::$name,)*];

            fn find(word: &[u8]) -> Option<Keyword> {
                $(if word == $text.as_bytes() { return Some(Keyword::$name); })*
                None
            }

            /// The word as it is written.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Keyword::$name => $text,)* }
            }
        }
    };
}

keywords! {
    BaseBackup = "BASE_BACKUP",
    Fast = "FAST",
    IdentifySystem = "IDENTIFY_SYSTEM",
    ReadReplicationSlot = "READ_REPLICATION_SLOT",
    Show = "SHOW",
    Label = "LABEL",
    Nowait = "NOWAIT",
    Progress = "PROGRESS",
    MaxRate = "MAX_RATE",
    Wal = "WAL",
    TablespaceMap = "TABLESPACE_MAP",
    NoverifyChecksums = "NOVERIFY_CHECKSUMS",
    Timeline = "TIMELINE",
    StartReplication = "START_REPLICATION",
    CreateReplicationSlot = "CREATE_REPLICATION_SLOT",
    DropReplicationSlot = "DROP_REPLICATION_SLOT",
    TimelineHistory = "TIMELINE_HISTORY",
    Physical = "PHYSICAL",
    ReserveWal = "RESERVE_WAL",
    Logical = "LOGICAL",
    Slot = "SLOT",
    Temporary = "TEMPORARY",
    TwoPhase = "TWO_PHASE",
    ExportSnapshot = "EXPORT_SNAPSHOT",
    NoexportSnapshot = "NOEXPORT_SNAPSHOT",
    UseSnapshot = "USE_SNAPSHOT",
    Manifest = "MANIFEST",
    ManifestChecksums = "MANIFEST_CHECKSUMS",
    Wait = "WAIT",
}

/// Takes a command apart, word by word.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(command: &'a str) -> Lexer<'a> {
        Lexer { rest: command.as_bytes() }
    }

    /// The next word; `None` at the end.
    ///
    /// # Errors
    /// 42601 for a quote that is not closed, or half a position.
    pub(crate) fn next(&mut self) -> Result<Option<Token>> {
        let spaces = self.rest.iter().take_while(|b| is_space(**b)).count();
        self.rest = &self.rest[spaces..];
        let Some(&first) = self.rest.first() else { return Ok(None) };
        if let Some(token) = self.lsn()? {
            return Ok(Some(token));
        }
        Ok(Some(match first {
            b'0'..=b'9' => {
                let digits = self.take_while(|b| b.is_ascii_digit());
                // Wraps as `strtoul` and the cast of its result do, up to 64 bits.
                let value = digits.iter().try_fold(0_u64, |value, digit| {
                    value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
                });
                Token::Number(value.unwrap_or(u64::MAX) as u32)
            }
            b'"' => Token::Name(truncated(self.quoted(b'"')?)),
            b'\'' => Token::Text(self.quoted(b'\'')?),
            _ if is_name_start(first) => {
                let word = self.take_while(|b| is_name_start(b) || b.is_ascii_digit() || b == b'$');
                match Keyword::find(word) {
                    Some(keyword) => Token::Keyword(keyword),
                    None => Token::Name(truncated(lower(word))),
                }
            }
            other => {
                self.rest = &self.rest[1..];
                Token::Other(other)
            }
        }))
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take_while(|b| belongs(**b)).count();
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }

    /// `X/X`: longer than any name or number that begins like it, so it is tried first.
    fn lsn(&mut self) -> Result<Option<Token>> {
        let high = self.rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if high == 0 || self.rest.get(high) != Some(&b'/') {
            return Ok(None);
        }
        let low = self.rest[high + 1..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if low == 0 {
            return Ok(None);
        }
        let (word, rest) = self.rest.split_at(high + 1 + low);
        self.rest = rest;
        let part = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (part(&word[..high]), part(&word[high + 1..])) {
            (Some(high), Some(low)) => Ok(Some(Token::Lsn(Lsn(u64::from(high) << 32 | u64::from(low))))),
            _ => Err(error!(SqlState::SYNTAX_ERROR, "invalid streaming start location")),
        }
    }

    /// What is between quotes; a doubled one stands for itself.
    fn quoted(&mut self, quote: u8) -> Result<String> {
        let mut text = Vec::new();
        let mut at = 1;
        loop {
            match (self.rest.get(at), self.rest.get(at + 1)) {
                (Some(b), Some(next)) if *b == quote && *next == quote => {
                    text.push(quote);
                    at += 2;
                }
                (Some(b), _) if *b == quote => break,
                (Some(b), _) => {
                    text.push(*b);
                    at += 1;
                }
                (None, _) => return Err(syntax_error("unterminated quoted string")),
            }
        }
        self.rest = &self.rest[at + 1..];
        // A piece of the command, cut at ASCII characters.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// C: `downcase_truncate_identifier`, for ASCII letters.
fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// C: `truncate_identifier`, which tells the client.
fn truncated(mut name: String) -> String {
    if name.len() >= NAMEDATALEN {
        let end = name.floor_char_boundary(NAMEDATALEN - 1);
        let message = format!("identifier \"{name}\" will be truncated to \"{}\"", &name[..end]);
        pg_error!(Notice, SqlState::NAME_TOO_LONG, "{message}").report();
        name.truncate(end);
    }
    name
}
