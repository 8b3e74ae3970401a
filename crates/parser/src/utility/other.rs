//! The commands that no one can run yet. Those that the crate sqlparser knows go through its grammar, so that
//! their syntax errors show and their tree is there; the others are known by their first words.
//!
//! C counterpart: the rest of `stmt` in gram.y, and `CreateCommandTag` of tcop/utility.c for the tags.

use elog::{PgError, Result};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser as SqlParser, ParserError};

use crate::ast::Statement;
use crate::cursor::{MAX_HEIGHT, Parser};
use crate::keywords::Kw;
use crate::lexer::Tok;
use crate::stack;

/// Deepest nesting in sqlparser's own recursion.
const RECURSION_LIMIT: usize = 60;

/// Words that may stand between CREATE and the kind of object.
const CREATE_NOISE: [Kw; 11] = [
    Kw::Or,
    Kw::Replace,
    Kw::Temp,
    Kw::Temporary,
    Kw::Local,
    Kw::Global,
    Kw::Unlogged,
    Kw::Unique,
    Kw::Recursive,
    Kw::Constraint,
    Kw::Trusted,
];

/// First words (after the noise), the object's name in tags, and whether sqlparser reads it.
const OBJECTS: &[(&[Kw], &str, bool)] = &[
    (&[Kw::Table], "TABLE", true),
    (&[Kw::Index], "INDEX", true),
    (&[Kw::Materialized, Kw::View], "MATERIALIZED VIEW", true),
    (&[Kw::View], "VIEW", true),
    (&[Kw::Sequence], "SEQUENCE", true),
    (&[Kw::Schema], "SCHEMA", true),
    (&[Kw::Extension], "EXTENSION", true),
    (&[Kw::Function], "FUNCTION", false),
    (&[Kw::Procedure], "PROCEDURE", false),
    (&[Kw::Routine], "ROUTINE", false),
    (&[Kw::Aggregate], "AGGREGATE", false),
    (&[Kw::Operator, Kw::Class], "OPERATOR CLASS", false),
    (&[Kw::Operator, Kw::Family], "OPERATOR FAMILY", false),
    (&[Kw::Operator], "OPERATOR", false),
    (&[Kw::Type], "TYPE", false),
    (&[Kw::Domain], "DOMAIN", false),
    (&[Kw::Trigger], "TRIGGER", false),
    (&[Kw::Event, Kw::Trigger], "EVENT TRIGGER", false),
    (&[Kw::Rule], "RULE", false),
    (&[Kw::Policy], "POLICY", false),
    (&[Kw::Cast], "CAST", false),
    (&[Kw::Collation], "COLLATION", false),
    (&[Kw::Conversion], "CONVERSION", false),
    (&[Kw::Default, Kw::Conversion], "CONVERSION", false),
    (&[Kw::Tablespace], "TABLESPACE", false),
    (&[Kw::Publication], "PUBLICATION", false),
    (&[Kw::Subscription], "SUBSCRIPTION", false),
    (&[Kw::Server], "SERVER", false),
    (&[Kw::Foreign, Kw::Data], "FOREIGN DATA WRAPPER", false),
    (&[Kw::Foreign, Kw::Table], "FOREIGN TABLE", false),
    (&[Kw::User, Kw::Mapping], "USER MAPPING", false),
    (&[Kw::Statistics], "STATISTICS", false),
    (&[Kw::Text, Kw::Search, Kw::Configuration], "TEXT SEARCH CONFIGURATION", false),
    (&[Kw::Text, Kw::Search, Kw::Dictionary], "TEXT SEARCH DICTIONARY", false),
    (&[Kw::Text, Kw::Search, Kw::Parser], "TEXT SEARCH PARSER", false),
    (&[Kw::Text, Kw::Search, Kw::Template], "TEXT SEARCH TEMPLATE", false),
    (&[Kw::Transform], "TRANSFORM", false),
    (&[Kw::Language], "LANGUAGE", false),
    (&[Kw::Procedural, Kw::Language], "LANGUAGE", false),
    (&[Kw::Access, Kw::Method], "ACCESS METHOD", false),
    (&[Kw::Large, Kw::Object], "LARGE OBJECT", false),
    (&[Kw::Default, Kw::Privileges], "DEFAULT PRIVILEGES", false),
    (&[Kw::Owned], "OWNED", false),
    (&[Kw::Group], "ROLE", false),
];

/// Commands known by their first words.
const COMMANDS: &[(&[Kw], &str, bool)] = &[
    (&[Kw::Truncate], "TRUNCATE TABLE", true),
    (&[Kw::Merge], "MERGE", true),
    (&[Kw::Copy], "COPY", false),
    (&[Kw::Comment], "COMMENT", false),
    (&[Kw::Grant], "GRANT", false),
    (&[Kw::Revoke], "REVOKE", false),
    (&[Kw::Lock], "LOCK TABLE", false),
    (&[Kw::Cluster], "CLUSTER", false),
    (&[Kw::Reindex], "REINDEX", false),
    (&[Kw::Refresh], "REFRESH MATERIALIZED VIEW", false),
    (&[Kw::Security], "SECURITY LABEL", false),
    (&[Kw::Call], "CALL", false),
    (&[Kw::Do], "DO", false),
    (&[Kw::Import], "IMPORT FOREIGN SCHEMA", false),
    (&[Kw::Reassign], "REASSIGN OWNED", false),
];

impl Parser<'_> {
    pub(super) fn other(&mut self) -> Result<Statement> {
        let start = self.at;
        let verb = match self.kw() {
            Some(Kw::Create) => "CREATE",
            Some(Kw::Alter) => "ALTER",
            Some(Kw::Drop) => "DROP",
            _ => {
                let Some(&(_, tag, parsed)) = COMMANDS.iter().find(|row| self.accept_all(row.0)) else {
                    return Err(self.syntax_error());
                };
                return self.known(tag, parsed, start);
            }
        };
        self.advance();
        while verb == "CREATE" && self.kw().is_some_and(|kw| CREATE_NOISE.contains(&kw)) {
            self.advance();
        }
        let Some(&(_, object, parsed)) = OBJECTS.iter().find(|row| self.accept_all(row.0)) else {
            return Err(self.syntax_error());
        };
        // A table made from a query has a tag of its own, but who knows without reading on.
        self.known(tag(verb, object), parsed, start)
    }

    /// Behind the words that name the command.
    fn known(&mut self, tag: &'static str, parsed: bool, start: usize) -> Result<Statement> {
        if !parsed {
            return self.rest_unsupported(tag);
        }
        self.at = start;
        self.through_sqlparser(tag)
    }

    /// Passes over the rest of the statement.
    pub(super) fn rest_unsupported(&mut self, tag: &'static str) -> Result<Statement> {
        self.skip_statement()?;
        Ok(Statement::Unsupported(tag))
    }

    pub(super) fn skip_statement(&mut self) -> Result<()> {
        loop {
            match self.peek() {
                Tok::Eof | Tok::Char(b';') => return Ok(()),
                Tok::Bad => return Err(self.syntax_error()),
                _ => self.advance(),
            };
        }
    }

    fn through_sqlparser(&mut self, tag: &'static str) -> Result<Statement> {
        let begin = self.token().start as usize;
        let first = self.at;
        let mut operators = 0u32;
        while !matches!(self.peek(), Tok::Eof | Tok::Char(b';')) {
            if self.peek() == Tok::Bad {
                // Whatever else is wrong, the scan ended here.
                return Err(self.syntax_error());
            }
            operators += u32::from(is_chainable(self.peek()));
            self.advance();
        }
        // Its trees grow by one with each operator, and are dropped by recursion.
        if operators >= u32::from(MAX_HEIGHT) {
            return Err(stack::limit_exceeded());
        }
        // sqlparser takes a table without a list of columns, PostgreSQL does not.
        let has_columns = (first..self.at)
            .map(|i| self.token_by_index(i).kind)
            .any(|kind| matches!(kind, Tok::Char(b'(') | Tok::Keyword(Kw::As | Kw::Of | Kw::Partition)));
        if tag == "CREATE TABLE" && !has_columns {
            return Err(self.syntax_error());
        }
        let end = self.previous_end();
        let text = &self.source[begin..end];
        let dialect = PostgreSqlDialect {};
        let parsed = SqlParser::new(&dialect)
            .with_recursion_limit(RECURSION_LIMIT)
            .try_with_sql(text)
            .and_then(|mut parser| parser.parse_statements());
        match parsed {
            Ok(mut statements) if statements.len() == 1 => {
                Ok(Statement::Other { tag, ast: Box::new(statements.remove(0)) })
            }
            Ok(_) => Err(self.syntax_error()),
            Err(ParserError::RecursionLimitExceeded) => Err(stack::limit_exceeded()),
            Err(ParserError::ParserError(message) | ParserError::TokenizerError(message)) => {
                Err(self.located_error(&message, text, begin, first))
            }
        }
    }

    /// sqlparser says where in words; PostgreSQL's message about the token there is what clients get.
    fn located_error(&self, message: &str, text: &str, begin: usize, first: usize) -> PgError {
        let place = message.rsplit_once("at Line: ").and_then(|(_, place)| {
            let (line, column) = place.split_once(", Column: ")?;
            let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
            Some((line.parse::<usize>().ok()?, column[..digits].parse::<usize>().ok()?))
        });
        // Without a place it is the end of the statement, where the parser already is.
        let Some((line, column)) = place.filter(|(line, _)| *line > 0) else { return self.syntax_error() };
        let line_start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let in_line = text[line_start..].char_indices().nth(column.saturating_sub(1));
        let offset = (begin + line_start + in_line.map_or(0, |(i, _)| i)) as u32;
        let index = (first..self.at).find(|i| self.token_by_index(*i).end > offset);
        self.syntax_error_at(index.unwrap_or(self.at))
    }
}

fn is_chainable(tok: Tok) -> bool {
    matches!(
        tok,
        Tok::Op
            | Tok::Typecast
            | Tok::LessEquals
            | Tok::GreaterEquals
            | Tok::NotEquals
            | Tok::Char(b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'<' | b'>' | b'=' | b'[' | b'.')
            | Tok::Keyword(
                Kw::And
                    | Kw::Or
                    | Kw::Not
                    | Kw::Is
                    | Kw::Union
                    | Kw::Except
                    | Kw::Intersect
                    | Kw::Join
                    | Kw::Collate
                    | Kw::At
                    | Kw::Like
                    | Kw::Ilike
                    | Kw::In
                    | Kw::Between
            )
    )
}

/// Verb and object as one static string.
fn tag(verb: &'static str, object: &'static str) -> &'static str {
    macro_rules! tags {
        ($($object:literal)*) => {
            match (verb, object) {
                $(
                    ("CREATE", $object) => concat!("CREATE ", $object),
                    ("ALTER", $object) => concat!("ALTER ", $object),
                    ("DROP", $object) => concat!("DROP ", $object),
                )*
                _ => verb,
            }
        };
    }
    tags! {
        "TABLE" "INDEX" "MATERIALIZED VIEW" "VIEW" "SEQUENCE" "SCHEMA" "EXTENSION" "FUNCTION" "PROCEDURE"
        "ROUTINE" "AGGREGATE" "OPERATOR CLASS" "OPERATOR FAMILY" "OPERATOR" "TYPE" "DOMAIN" "TRIGGER"
        "EVENT TRIGGER" "RULE" "POLICY" "CAST" "COLLATION" "CONVERSION" "TABLESPACE" "PUBLICATION"
        "SUBSCRIPTION" "SERVER" "FOREIGN DATA WRAPPER" "FOREIGN TABLE" "USER MAPPING" "STATISTICS"
        "TEXT SEARCH CONFIGURATION" "TEXT SEARCH DICTIONARY" "TEXT SEARCH PARSER" "TEXT SEARCH TEMPLATE"
        "TRANSFORM" "LANGUAGE" "ACCESS METHOD" "LARGE OBJECT" "DEFAULT PRIVILEGES" "OWNED" "ROLE"
    }
}
