//! COPY TO: rows of a table or a query as lines.
//!
//! C counterpart: commands/copyto.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};
use executor::table::TableInfo;
use executor::{Column, Execution, ParamTypes};
use heap::{Place, TupleView};
use miscinit::interrupt;
use parser::ast::{CopySource, CopyStmt, RangeVar, Statement};
use types::Datum;
use types::fmgr::Session;
use types::store::Form;

use super::options::{Columns, Format, Header, Options};
use super::{column_indexes, encode, forced};
use crate::{Context, rights};

/// Where the lines go.
pub trait Output {
    /// Takes one line, with its line end.
    ///
    /// # Errors
    /// What sending or writing says.
    fn line(&mut self, bytes: &[u8]) -> Result<()>;
}

/// COPY TO, ready to run.
pub struct CopyTo {
    options: Options,
    columns: Vec<Column>,
    force_quote: Vec<bool>,
    rows: Rows,
}

/// Where the rows come from.
enum Rows {
    Query(Box<Execution>),
    Table(TableRows),
}

/// A table's rows, written without making values of what is text already.
struct TableRows {
    info: Rc<TableInfo>,
    /// Of each column to write: its place among the table's, and how its bytes are read.
    columns: Vec<(usize, Form)>,
    /// Columns to look at: up to the last of those.
    upto: usize,
}

impl std::fmt::Debug for CopyTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyTo").field("options", &self.options).finish_non_exhaustive()
    }
}

impl CopyTo {
    /// Settles what is copied. C: `BeginCopyTo`.
    ///
    /// # Errors
    /// PostgreSQL's for options, names and queries.
    pub fn begin(cx: &Context<'_>, stmt: &CopyStmt) -> Result<CopyTo> {
        let options = Options::parse(&stmt.options, false, cx.source)?;
        let (query, table) = match &stmt.source {
            CopySource::Query(query) if query.select_into().is_some() => {
                return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "COPY (SELECT INTO) is not supported"));
            }
            CopySource::Query(query) => ((**query).clone(), None),
            CopySource::Table(relation, named) => table_query(cx, relation, named)?,
        };
        let analyzed = executor::analyze_statement(&query, cx.source, ParamTypes::Fixed(&[]), cx.env)?;
        let plan = executor::plan(analyzed);
        rights::check_plan(cx.role, cx.superuser, &plan)?;
        if plan.columns().is_empty() && !matches!(query, Statement::Select(_)) {
            return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "COPY query must have a RETURNING clause"));
        }
        let columns = plan.columns().to_vec();
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let force_quote = forced(cx, &names, &options.force_quote, "FORCE_QUOTE")?;
        let rows = table.map_or_else(|| Rows::Query(Box::new(plan.start(Vec::new()))), Rows::Table);
        Ok(CopyTo { options, columns, force_quote, rows })
    }

    /// Number of columns, which the client is told.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Sends all rows; returns their number. C: `DoCopyTo`.
    ///
    /// # Errors
    /// What the query and the output say.
    pub fn run(&mut self, session: &Session<'_>, output: &mut dyn Output) -> Result<u64> {
        let mut line = Vec::new();
        if self.options.header != Header::None {
            let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
            encode::header(&names, &self.options, &mut line);
            output.line(&line)?;
        }
        // FORCE_QUOTE * leaves NULL alone, as everything does.
        debug_assert!(self.options.format == Format::Csv || self.options.force_quote == Columns::None);
        let (options, columns, force_quote) = (&self.options, &self.columns, &self.force_quote);
        let mut lines = Lines { options, columns, force_quote, line, text: String::new() };
        match &mut self.rows {
            Rows::Query(execution) => {
                let (mut row, mut rows) = (Vec::new(), 0);
                while execution.next_into(session, &mut row)? {
                    lines.begin();
                    for (index, value) in row.iter().enumerate() {
                        lines.value(index, value);
                    }
                    output.line(lines.end())?;
                    rows += 1;
                }
                Ok(rows)
            }
            Rows::Table(table) => table.run(&mut lines, output),
        }
    }
}

impl TableRows {
    /// C: the table's branch of `DoCopyTo`.
    fn run(&self, lines: &mut Lines<'_>, output: &mut dyn Output) -> Result<u64> {
        let mut scan = self.info.am.scan()?;
        let (mut places, mut rows) = (Vec::new(), 0);
        while let Some(tuple) = scan.next()? {
            interrupt::check()?;
            tuple.places(&self.info.desc, self.upto, &mut places)?;
            lines.begin();
            for (index, (column, form)) in self.columns.iter().enumerate() {
                self.column(lines, index, tuple, (*column, &places[*column]), *form)?;
            }
            output.line(lines.end())?;
            rows += 1;
        }
        Ok(rows)
    }

    fn column(
        &self,
        lines: &mut Lines<'_>,
        index: usize,
        tuple: TupleView<'_>,
        (column, place): (usize, &Place),
        form: Form,
    ) -> Result<()> {
        match place {
            Place::Null => lines.value(index, &Datum::Null),
            Place::Missing => {
                lines.value(index, self.info.desc.attrs[column].missing.as_ref().unwrap_or(&Datum::Null));
            }
            Place::Bytes(range) => {
                let bytes = &tuple.bytes[range.clone()];
                match form.as_text(bytes)? {
                    Some(shown) => lines.shown(index, shown),
                    None => lines.value(index, &form.read(bytes)?),
                }
            }
        }
        Ok(())
    }
}

/// Makes one line after the other. C: `CopyOneRowTo`.
struct Lines<'a> {
    options: &'a Options,
    columns: &'a [Column],
    force_quote: &'a [bool],
    line: Vec<u8>,
    text: String,
}

impl Lines<'_> {
    fn begin(&mut self) {
        self.line.clear();
    }

    fn end(&mut self) -> &[u8] {
        self.line.push(b'\n');
        &self.line
    }

    fn value(&mut self, index: usize, value: &Datum) {
        match value {
            Datum::Null => {
                self.separate(index);
                self.line.extend_from_slice(self.options.null.as_bytes());
            }
            // A string is its own text form.
            Datum::Text(shown) => self.shown(index, shown),
            value => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                types::io::output(value, self.columns[index].ty, &mut text);
                self.shown(index, &text);
                self.text = text;
            }
        }
    }

    fn shown(&mut self, index: usize, shown: &str) {
        self.separate(index);
        match self.options.format {
            Format::Text => encode::text(shown, self.options.delimiter, &mut self.line),
            Format::Csv => {
                let (force, alone) = (self.force_quote[index], self.columns.len() == 1);
                encode::csv(shown, self.options, force, alone, &mut self.line);
            }
        }
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.line.push(self.options.delimiter);
        }
    }
}

/// `SELECT columns FROM ONLY table`, which says what may be read; and the table's own rows, if all columns can be read
/// from their bytes.
fn table_query(
    cx: &Context<'_>,
    relation: &RangeVar,
    named: &[(String, parser::ast::Loc)],
) -> Result<(Statement, Option<TableRows>)> {
    let (schema, name) = cx.schema_and_name(relation)?;
    super::require_schema(cx, schema)?;
    let missing =
        || error!(SqlState::UNDEFINED_TABLE, "relation \"{}\" does not exist", relation.name.join("."));
    let mode = parser::ast::TableLockMode::AccessShare;
    let table = cx.env.table(schema, name, mode)?;
    let table = match table {
        Some(table) if table.kind == b'r' => table,
        Some(table) => {
            return Err(error!(
                SqlState::WRONG_OBJECT_TYPE,
                "cannot copy from non-table relation \"{}\"", table.name
            ));
        }
        // A view that the server answers.
        None if cx.env.lookup(schema, name).is_some() => {
            return Err(error!(SqlState::WRONG_OBJECT_TYPE, "cannot copy from view \"{name}\"")
                .hint("Try the COPY (SELECT ...) TO variant."));
        }
        None => return Err(missing()),
    };
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let indexes = column_indexes(&table, named)?;
    let columns: Vec<String> = indexes.iter().map(|i| quote(&table.desc.attrs[*i].name)).collect();
    let sql =
        format!("SELECT {} FROM ONLY {}.{}", columns.join(", "), quote(&table.schema), quote(&table.name));
    let statement = parser::parse(&sql)?.pop().map(|raw| raw.stmt).ok_or_else(missing)?;
    let form = |i: &usize| Some((*i, Form::of(table.desc.attrs[*i].type_id)?));
    let columns: Option<Vec<_>> = indexes.iter().map(form).collect();
    let upto = indexes.iter().max().map_or(0, |last| last + 1);
    Ok((statement, columns.map(|columns| TableRows { info: table.clone(), columns, upto })))
}
