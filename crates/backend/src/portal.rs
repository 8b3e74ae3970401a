//! Prepared statements and portals: what both query protocols run.
//!
//! A prepared statement is parsed and has its names settled; a portal is one with its parameters, and may be
//! run a few rows at a time. A cursor is a portal that DECLARE made.
//!
//! C counterpart: utils/mmgr/portalmem.c, tcop/pquery.c, utils/cache/plancache.c.

use std::borrow::Cow;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use executor::Column;
use libpq::message::reply::{self, DataRow, Field};
use parser::ast::CursorOptions;
use parser::{RawStmt, Statement};
use types::{Datum, oid};

use crate::objects::Objects;
use crate::query::{Params, PreparedQuery, Running};
use crate::session::{Session, move_reports};
use crate::utility::{self, Answer};

/// A row on its way to the client.
pub(crate) type Row = Vec<Datum>;

/// What a prepared statement is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// No statement at all: the empty string.
    Empty,
    /// Goes through the executor.
    Query(PreparedQuery),
    /// Goes through `utility`; with the query it is about, for DECLARE and EXPLAIN.
    Utility(Option<PreparedQuery>),
}

/// A prepared statement. C: `CachedPlanSource`.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) text: Rc<str>,
    pub(crate) statement: Option<Statement>,
    pub(crate) kind: Kind,
    /// Of the rows it returns; `None` if it returns none.
    pub(crate) columns: Option<Vec<Column>>,
    /// The tag under which it completes, before the number of rows.
    pub(crate) tag: &'static str,
    /// Made by PREPARE.
    pub(crate) from_sql: bool,
    /// When, microseconds since 2000-01-01.
    pub(crate) created: i64,
}

impl Prepared {
    /// Settles what a statement means. C: `parse_analyze_varparams`.
    pub(crate) fn new(
        objects: &Objects,
        text: Rc<str>,
        statement: Option<RawStmt>,
        params: Params<'_>,
    ) -> Result<Prepared> {
        let statement = statement.map(|raw| match raw.stmt.select_into() {
            Some(create) => Statement::CreateTableAs(Box::new(create)),
            None => raw.stmt,
        });
        let (kind, columns) = match &statement {
            None => (Kind::Empty, None),
            Some(query) if is_query(query) => {
                let query = PreparedQuery::new(query, &text, params)?;
                let columns = columns_of(&query);
                (Kind::Query(query), columns)
            }
            Some(command) => {
                let inner = match command {
                    Statement::DeclareCursor { query, .. } => Some(Statement::Select(query.clone())),
                    Statement::Explain(_, inner) => explained(inner),
                    _ => None,
                };
                let inner = inner.map(|query| PreparedQuery::new(&query, &text, params)).transpose()?;
                (Kind::Utility(inner), utility::columns_of(objects, command))
            }
        };
        let tag = statement.as_ref().map_or("", Statement::command_tag);
        Ok(Prepared { text, statement, kind, columns, tag, from_sql: false, created: activity::now() })
    }

    /// The query alone, as a cursor or EXECUTE runs it.
    pub(crate) fn of_query(
        text: Rc<str>,
        query: PreparedQuery,
        tag: &'static str,
        from_sql: bool,
    ) -> Prepared {
        let columns = columns_of(&query);
        let created = activity::now();
        let kind = Kind::Query(query);
        Prepared { text, statement: None, kind, columns, tag, from_sql, created }
    }

    /// The query that it is or is about.
    pub(crate) fn query(&self) -> Option<&PreparedQuery> {
        match &self.kind {
            Kind::Query(query) | Kind::Utility(Some(query)) => Some(query),
            Kind::Empty | Kind::Utility(None) => None,
        }
    }

    /// Types of its parameters.
    pub(crate) fn param_types(&self) -> &[Oid] {
        self.query().map_or(&[], PreparedQuery::param_types)
    }

    /// May it run in a failed block?
    pub(crate) fn ends_failed_block(&self) -> bool {
        match &self.statement {
            Some(statement) => utility::ends_failed_block(statement),
            None => matches!(self.kind, Kind::Empty),
        }
    }

    /// BEGIN, COMMIT and their like.
    pub(crate) fn controls_transaction(&self) -> bool {
        matches!(self.statement, Some(Statement::Transaction(_)))
    }
}

/// Of the rows that a query returns; INSERT and its like return none without RETURNING.
fn columns_of(query: &PreparedQuery) -> Option<Vec<Column>> {
    let columns = query.columns().to_vec();
    (!columns.is_empty() || !query.modifies()).then_some(columns)
}

/// The query whose plan EXPLAIN shows. C: the cases of `ExplainOneUtility`.
fn explained(inner: &Statement) -> Option<Statement> {
    match inner {
        Statement::CreateTableAs(create) => explained(&create.query),
        Statement::DeclareCursor { query, .. } => Some(Statement::Select(query.clone())),
        query if is_query(query) => match query.select_into() {
            Some(create) => Some(*create.query),
            None => Some(query.clone()),
        },
        _ => None,
    }
}

/// True for what the executor runs; the rest is a command.
pub(crate) fn is_query(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Select(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
    )
}

/// Where a portal stands.
#[derive(Debug)]
enum Progress {
    /// Not run yet.
    Ready,
    /// A query that may have more rows.
    Running(Box<Running>),
    /// A command that has run, with the rows not fetched yet and its tag.
    Answered(std::vec::IntoIter<Row>, Cow<'static, str>),
    /// Nothing more will come.
    Done,
    /// A run of it failed.
    Failed,
}

/// A prepared statement with its parameters. C: `Portal`.
#[derive(Debug)]
pub(crate) struct Portal {
    name: String,
    /// Of the prepared statement that Bind made it from.
    statement_name: String,
    prepared: Rc<Prepared>,
    params: Vec<Datum>,
    /// Formats of the columns: none, one for all, or one each.
    formats: Vec<i16>,
    progress: Progress,
    /// What DECLARE asked for; `None` for a portal of the protocol.
    declared: Option<CursorOptions>,
    /// Rows that were returned already and may be asked for again: with SCROLL or WITH HOLD.
    kept: Vec<Row>,
    /// 0 before the first row, then the number of the current row, at last one more than there are.
    position: usize,
    /// Number of rows, once the last one was passed.
    total: Option<usize>,
    /// Nest level of the (sub)transaction that made it; 0 once it outlived its transaction (B4).
    pub(crate) level: usize,
    held: bool,
    pub(crate) created: i64,
}

/// How a run of a portal ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// All done; the tag, with the number of rows where it has one.
    Complete(Cow<'static, str>),
    /// The limit was reached; there may be more.
    Suspended,
    /// There was no statement.
    Empty,
}

impl Portal {
    pub(crate) fn new(name: &str, prepared: Rc<Prepared>, params: Vec<Datum>, level: usize) -> Portal {
        Portal {
            name: name.to_owned(),
            statement_name: String::new(),
            prepared,
            params,
            formats: Vec::new(),
            progress: Progress::Ready,
            declared: None,
            kept: Vec::new(),
            position: 0,
            total: None,
            level,
            held: false,
            created: activity::now(),
        }
    }

    /// The same, with formats for its columns. C: `PortalSetResultFormat`.
    pub(crate) fn with_formats(mut self, formats: Vec<i16>) -> Result<Portal> {
        let columns = self.prepared.columns.as_ref().map_or(0, Vec::len);
        if formats.len() > 1 && formats.len() != columns {
            return Err(error!(
                SqlState::PROTOCOL_VIOLATION,
                "bind message has {} result formats but query has {columns} columns",
                formats.len()
            ));
        }
        self.formats = formats;
        Ok(self)
    }

    /// The same, remembering the name of its prepared statement.
    pub(crate) fn of_statement(mut self, name: &str) -> Portal {
        self.statement_name = name.to_owned();
        self
    }

    /// The same, as a cursor.
    pub(crate) fn with_options(mut self, options: CursorOptions) -> Portal {
        self.formats = if options.binary { vec![1] } else { Vec::new() };
        self.declared = Some(options);
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn statement_name(&self) -> &str {
        &self.statement_name
    }

    pub(crate) fn prepared(&self) -> &Rc<Prepared> {
        &self.prepared
    }

    pub(crate) fn params(&self) -> &[Datum] {
        &self.params
    }

    /// What DECLARE asked for; nothing special if it was not DECLARE.
    pub(crate) fn options(&self) -> CursorOptions {
        self.declared.unwrap_or_default()
    }

    /// Whether its query is open and reads a table.
    pub(crate) fn reads_table(&self, table: Oid) -> bool {
        matches!(&self.progress, Progress::Running(running) if running.reads(table))
    }

    /// Has it returned rows before?
    pub(crate) fn was_run(&self) -> bool {
        self.position > 0
    }

    /// WITH HOLD, but not held yet.
    pub(crate) fn wants_hold(&self) -> bool {
        self.options().hold && !self.held
    }

    /// It outlives its transaction.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    fn keeps_rows(&self) -> bool {
        self.options().scroll == Some(true)
    }

    pub(crate) fn format(&self, column: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(0),
        }
    }

    /// Appends the RowDescription, or NoData.
    pub(crate) fn describe(&self, out: &mut Vec<u8>) {
        describe_columns(out, &self.prepared, |column| self.format(column));
    }

    /// Makes it ready to return rows: begins a query, or runs a command to its end. C: `PortalStart`, and
    /// `FillPortalStore` for commands.
    pub(crate) fn start(&mut self, session: &mut Session) -> Result<()> {
        if !matches!(self.progress, Progress::Ready) {
            return Ok(());
        }
        let prepared = Rc::clone(&self.prepared);
        self.progress = match &prepared.kind {
            Kind::Empty => Progress::Done,
            Kind::Query(query) => Progress::Running(Box::new(query.start(self.params.clone(), session)?)),
            Kind::Utility(_) => match utility::run(session, &prepared, &self.params)? {
                Answer::Tag(tag) => Progress::Answered(Vec::new().into_iter(), tag),
                Answer::Rows(rows, tag) => Progress::Answered(rows.into_iter(), tag),
                Answer::Query(running) => Progress::Running(running),
            },
        };
        Ok(())
    }

    /// Runs it until it is done or `max_rows` (0: no limit) were sent. What it changed is visible to the next
    /// statement. C: `PortalRun`, and the `CommandCounterIncrement` after it.
    pub(crate) fn run(&mut self, session: &mut Session, max_rows: usize) -> Result<Ran> {
        self.start(session)?;
        let prepared = Rc::clone(&self.prepared);
        if let Kind::Empty = prepared.kind {
            return Ok(Ran::Empty);
        }
        self.check_runnable()?;
        let limit = if max_rows == 0 { usize::MAX } else { max_rows };
        let mut sent = 0;
        let (mut row, mut text) = (Row::new(), String::new());
        let columns = prepared.columns.as_deref().unwrap_or_default();
        while sent < limit {
            if !self.advance_into(&mut row)? {
                if transam::xact::in_transaction() {
                    transam::xact::command_counter_increment()?;
                }
                return Ok(self.complete(sent));
            }
            self.send_row(session, columns, &row, &mut text)?;
            sent += 1;
        }
        Ok(Ran::Suspended)
    }

    /// C: `MarkPortalActive`.
    pub(crate) fn check_runnable(&self) -> Result<()> {
        let spent = match self.progress {
            Progress::Failed => true,
            // A query at its end has no more rows; a command runs once.
            Progress::Done => self.prepared.columns.is_none(),
            _ => false,
        };
        if spent {
            return Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "portal \"{}\" cannot be run", self.name
            ));
        }
        Ok(())
    }

    /// Nothing can be had from it any more. C: `MarkPortalFailed`.
    pub(crate) fn fail(&mut self) {
        self.progress = Progress::Failed;
    }

    /// The next row; `None` behind the last.
    pub(crate) fn advance(&mut self) -> Result<Option<Row>> {
        if self.total.is_some_and(|total| self.position > total) {
            return Ok(None);
        }
        if let Some(row) = self.kept.get(self.position) {
            self.position += 1;
            return Ok(Some(row.clone()));
        }
        let row = match &mut self.progress {
            Progress::Running(running) => {
                let _active = running.activate();
                running.next()?
            }
            Progress::Answered(rows, _) => rows.next(),
            Progress::Ready | Progress::Done | Progress::Failed => None,
        };
        match &row {
            Some(row) if self.keeps_rows() => self.kept.push(row.clone()),
            Some(_) => {}
            None => self.total = Some(self.position),
        }
        self.position += 1;
        Ok(row)
    }

    /// [`Portal::advance`] into a buffer that stays; false behind the last row.
    fn advance_into(&mut self, row: &mut Row) -> Result<bool> {
        let once = self.total.is_none() && self.kept.is_empty() && !self.keeps_rows();
        if once && let Progress::Running(running) = &mut self.progress {
            let _active = running.activate();
            let found = running.next_into(row)?;
            if !found {
                self.total = Some(self.position);
            }
            self.position += 1;
            return Ok(found);
        }
        let next = self.advance()?;
        let found = next.is_some();
        *row = next.unwrap_or_default();
        Ok(found)
    }

    /// The row before the current one; `None` before the first.
    pub(crate) fn retreat(&mut self) -> Option<Row> {
        self.position = self.position.saturating_sub(1);
        self.current()
    }

    /// The current row, if it was kept.
    pub(crate) fn current(&self) -> Option<Row> {
        self.kept.get(self.position.checked_sub(1)?).cloned()
    }

    /// See the field.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Is there a current row?
    pub(crate) fn is_on_row(&self) -> bool {
        self.position > 0 && self.total.is_none_or(|total| self.position <= total)
    }

    /// Goes to a row that was passed before. For a portal that keeps its rows.
    pub(crate) fn go_back_to(&mut self, position: usize) {
        self.position = self.position.min(position);
    }

    /// Reads all rows that are left, so that the transaction may end. C: `PersistHoldablePortal`.
    pub(crate) fn hold(&mut self) -> Result<()> {
        let position = self.position;
        let mut rest = Vec::new();
        while let Some(row) = self.advance()? {
            rest.push(row);
        }
        if !self.keeps_rows() {
            // Rows that nobody can go back to need no place, but the numbering goes on.
            self.progress = Progress::Answered(rest.into_iter(), Cow::Borrowed("SELECT"));
            self.total = None;
        } else {
            self.progress = Progress::Done;
        }
        self.position = position;
        self.held = true;
        Ok(())
    }

    fn complete(&mut self, sent: usize) -> Ran {
        if let Progress::Answered(_, tag) = &self.progress
            && !self.held
        {
            let tag = tag.clone();
            if self.prepared.columns.is_none() {
                self.progress = Progress::Done;
            }
            return Ran::Complete(tag);
        }
        let tag = match &self.progress {
            Progress::Running(running) if self.prepared.tag != "SELECT" => running.command_tag(),
            _ => format!("SELECT {sent}"),
        };
        self.progress = Progress::Done;
        Ran::Complete(Cow::Owned(tag))
    }

    /// `text` is a buffer to reuse from row to row.
    fn send_row(
        &self,
        session: &mut Session,
        columns: &[Column],
        row: &[Datum],
        text: &mut String,
    ) -> Result<()> {
        move_reports(&mut session.port);
        let mut data_row = DataRow::begin(session.port.out(), columns.len());
        for (index, (column, value)) in columns.iter().zip(row).enumerate() {
            match self.format(index) {
                _ if value.is_null() => data_row.null(),
                0 => {
                    text.clear();
                    types::io::output(value, column.ty, text);
                    data_row.text(text);
                }
                1 => data_row.with(|out| types::io::send(value, column.ty, out))?,
                other => {
                    return Err(error!(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "unsupported format code: {other}"
                    ));
                }
            }
        }
        data_row.finish();
        session.flush_if_large()
    }
}

/// Appends a RowDescription, or NoData if there are no rows to describe.
pub(crate) fn describe_columns(out: &mut Vec<u8>, prepared: &Prepared, format: impl Fn(usize) -> i16) {
    let Some(columns) = &prepared.columns else { return reply::no_data(out) };
    let origins = match &prepared.kind {
        Kind::Query(query) => query.origins(),
        Kind::Empty | Kind::Utility(_) => Vec::new(),
    };
    let origin = |index: usize| origins.get(index).copied().unwrap_or((Oid::INVALID, 0));
    let fields = columns.iter().enumerate().map(|(index, column)| Field {
        name: &column.name,
        table: origin(index).0,
        column: origin(index).1,
        type_oid: shown_type(column.ty),
        type_len: types::type_info(shown_type(column.ty)).map_or(-1, |info| info.typlen),
        typmod: column.typmod,
        format: format(index),
    });
    reply::row_description(out, fields);
}

/// A literal that nothing gave a type leaves as text.
fn shown_type(ty: Oid) -> Oid {
    if ty == oid::UNKNOWN { oid::TEXT } else { ty }
}
