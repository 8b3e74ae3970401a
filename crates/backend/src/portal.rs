//! Prepared statements and portals: what both query protocols run.
//!
//! A prepared statement is parsed and has its names settled; a portal is one with its parameters, and may be
//! run a few rows at a time.
//!
//! C counterpart: utils/mmgr/portalmem.c, tcop/pquery.c, commands/prepare.c.

use std::borrow::Cow;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use libpq::message::reply::{self, DataRow, Field};
use parser::{RawStmt, Statement};
use types::{Datum, oid};

use crate::query::{Params, PreparedQuery, Running};
use crate::session::{Session, move_reports};
use crate::utility::{self, Answer};
use executor::Column;

/// What a prepared statement is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// No statement at all: the empty string.
    Empty,
    /// Goes through the executor.
    Query(PreparedQuery),
    /// Goes through `utility`.
    Utility,
}

/// A prepared statement. C: `CachedPlanSource`.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) text: Rc<str>,
    pub(crate) statement: Option<RawStmt>,
    pub(crate) kind: Kind,
    /// Of the rows it returns; `None` if it returns none.
    pub(crate) columns: Option<Vec<Column>>,
}

impl Prepared {
    /// Settles what a statement means. C: `parse_analyze_varparams`.
    pub(crate) fn new(text: Rc<str>, statement: Option<RawStmt>, params: Params<'_>) -> Result<Prepared> {
        let (kind, columns) = match &statement {
            None => (Kind::Empty, None),
            Some(raw) if is_query(&raw.stmt) => {
                let query = PreparedQuery::new(&raw.stmt, &text, params)?;
                let columns = query.columns().to_vec();
                (Kind::Query(query), Some(columns))
            }
            Some(raw) => {
                let columns = utility::columns_of(&raw.stmt)?;
                let column = |(name, ty)| Column { name, ty, typmod: -1 };
                (Kind::Utility, columns.map(|columns| columns.into_iter().map(column).collect()))
            }
        };
        Ok(Prepared { text, statement, kind, columns })
    }

    /// Types of its parameters.
    pub(crate) fn param_types(&self) -> &[Oid] {
        match &self.kind {
            Kind::Query(query) => query.param_types(),
            Kind::Empty | Kind::Utility => &[],
        }
    }

    /// The tag under which it completes, before the number of rows.
    pub(crate) fn tag(&self) -> &'static str {
        self.statement.as_ref().map_or("", RawStmt::command_tag)
    }

    /// May it run in a failed block?
    pub(crate) fn ends_failed_block(&self) -> bool {
        self.statement.as_ref().is_none_or(|raw| utility::ends_failed_block(&raw.stmt))
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
    Running(Running),
    /// A command that has run, with the rows not fetched yet and its tag.
    Answered(std::vec::IntoIter<Vec<Datum>>, &'static str),
    /// Nothing more will come.
    Done,
}

/// A prepared statement with its parameters. C: `Portal`.
#[derive(Debug)]
pub(crate) struct Portal {
    prepared: Rc<Prepared>,
    params: Vec<Datum>,
    /// Formats of the columns: none, one for all, or one each.
    formats: Vec<i16>,
    progress: Progress,
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
    pub(crate) fn new(prepared: Rc<Prepared>, params: Vec<Datum>, formats: Vec<i16>) -> Result<Portal> {
        let columns = prepared.columns.as_ref().map_or(0, Vec::len);
        if formats.len() > 1 && formats.len() != columns {
            return Err(error!(
                SqlState::PROTOCOL_VIOLATION,
                "bind message has {} result formats but query has {columns} columns",
                formats.len()
            ));
        }
        Ok(Portal { prepared, params, formats, progress: Progress::Ready })
    }

    /// No portal outlives its transaction: there are no holdable cursors yet.
    pub(crate) fn survives_transaction(&self) -> bool {
        false
    }

    pub(crate) fn prepared(&self) -> &Rc<Prepared> {
        &self.prepared
    }

    fn format(&self, column: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(0),
        }
    }

    /// Appends the RowDescription, or NoData.
    pub(crate) fn describe(&self, out: &mut Vec<u8>) {
        describe_columns(out, self.prepared.columns.as_deref(), |column| self.format(column));
    }

    /// Runs it until it is done or `max_rows` (0: no limit) were sent. C: `PortalRun`.
    pub(crate) fn run(&mut self, session: &mut Session, max_rows: usize) -> Result<Ran> {
        if let Progress::Ready = self.progress {
            self.progress = self.start(session)?;
        }
        let prepared = Rc::clone(&self.prepared);
        if let Kind::Empty = prepared.kind {
            return Ok(Ran::Empty);
        }
        let limit = if max_rows == 0 { usize::MAX } else { max_rows };
        let mut sent = 0;
        let mut text = String::new();
        let columns = prepared.columns.as_deref().unwrap_or_default();
        while sent < limit {
            let row = match &mut self.progress {
                Progress::Running(running) => running.next()?,
                Progress::Answered(rows, _) => rows.next(),
                Progress::Ready | Progress::Done => None,
            };
            let Some(row) = row else { return Ok(self.complete(&prepared, sent)) };
            self.send_row(session, columns, &row, &mut text)?;
            sent += 1;
        }
        Ok(Ran::Suspended)
    }

    fn start(&self, session: &mut Session) -> Result<Progress> {
        Ok(match &self.prepared.kind {
            Kind::Empty => Progress::Done,
            Kind::Query(query) => Progress::Running(query.start(self.params.clone(), &session.transaction)),
            Kind::Utility => {
                let Some(raw) = &self.prepared.statement else { return Ok(Progress::Done) };
                match utility::run(session, &raw.stmt, &self.prepared.text, self.prepared.tag())? {
                    Answer::Tag(tag) => Progress::Answered(Vec::new().into_iter(), tag),
                    Answer::Rows(rows, tag) => Progress::Answered(rows.into_iter(), tag),
                }
            }
        })
    }

    fn complete(&mut self, prepared: &Prepared, sent: usize) -> Ran {
        let progress = std::mem::replace(&mut self.progress, Progress::Done);
        Ran::Complete(match (&prepared.kind, progress) {
            (_, Progress::Answered(_, tag)) => Cow::Borrowed(tag),
            (Kind::Query(_), _) if prepared.tag() == "SELECT" => Cow::Owned(format!("SELECT {sent}")),
            _ => Cow::Borrowed(prepared.tag()),
        })
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
            if value.is_null() {
                data_row.null();
            } else if self.format(index) == 0 {
                text.clear();
                types::io::output(value, column.ty, text);
                data_row.text(text);
            } else {
                data_row.with(|out| types::io::send(value, column.ty, out))?;
            }
        }
        data_row.finish();
        session.flush_if_large()
    }
}

/// Appends a RowDescription, or NoData if there are no rows to describe.
pub(crate) fn describe_columns(out: &mut Vec<u8>, columns: Option<&[Column]>, format: impl Fn(usize) -> i16) {
    let Some(columns) = columns else { return reply::no_data(out) };
    let fields = columns.iter().enumerate().map(|(index, column)| Field {
        name: &column.name,
        table: Oid::INVALID,
        column: 0,
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
