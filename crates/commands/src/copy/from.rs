//! COPY FROM: lines into a table.
//!
//! Rows are gathered and inserted many at a time: one WAL record and one lock a page instead of one a row.
//!
//! C counterpart: commands/copyfrom.c, copyfromparse.c.

use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use executor::{CompiledExpr, ExprPurpose, RowRules, TableInfo, compile_expr};
use heap::{BulkInsert, InsertOptions, Tuple, TupleDesc};
use parser::ast::{CopySource, CopyStmt, TableLockMode};
use types::Datum;
use types::fmgr::Session;

use super::decode::{self, Field, Input, Lines};
use super::options::{Format, Header, Options};
use super::{column_indexes, forced};
use crate::Context;
use crate::rights::{self, Right};

/// Rows that are gathered before they are inserted, and their bytes. C: `MAX_BUFFERED_TUPLES`, `MAX_BUFFERED_BYTES`.
const MAX_BUFFERED_ROWS: usize = 1000;
const MAX_BUFFERED_BYTES: usize = 65_535;
/// Characters of a line or value that an error shows. C: `MAX_COPY_DATA_DISPLAY`.
const MAX_SHOWN: usize = 100;

/// COPY FROM, ready to run.
pub struct CopyFrom {
    options: Options,
    table: Rc<TableInfo>,
    heap: Rc<heap::Table>,
    /// Columns in the order of the input.
    columns: Vec<usize>,
    force_not_null: Vec<bool>,
    force_null: Vec<bool>,
    filter: Option<CompiledExpr>,
    rules: RowRules,
}

impl std::fmt::Debug for CopyFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyFrom").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Rows on their way into the table.
struct Batch {
    tuples: Vec<Tuple>,
    used: usize,
    bytes: usize,
    bulk: BulkInsert,
}

impl CopyFrom {
    /// Settles where the rows go. C: `BeginCopyFrom`.
    ///
    /// # Errors
    /// PostgreSQL's for options and names.
    pub fn begin(cx: &Context<'_>, stmt: &CopyStmt) -> Result<CopyFrom> {
        let options = Options::parse(&stmt.options, true, cx.source)?;
        let CopySource::Table(relation, named) = &stmt.source else {
            return Err(error!(SqlState::SYNTAX_ERROR, "COPY FROM needs a table"));
        };
        let (schema, name) = cx.schema_and_name(relation)?;
        super::require_schema(cx, schema)?;
        let missing =
            || error!(SqlState::UNDEFINED_TABLE, "relation \"{}\" does not exist", relation.name.join("."));
        let table = cx.env.table(schema, name, TableLockMode::RowExclusive)?.ok_or_else(missing)?;
        transam::xact::prevent_if_read_only("COPY FROM")?;
        if table.kind != b'r' {
            let text = format!("cannot copy to non-table relation \"{}\"", table.name);
            return Err(error!(SqlState::WRONG_OBJECT_TYPE, "{text}"));
        }
        let opened = catalog::relation::open_locked(table.oid)?;
        rights::require(cx.role, cx.superuser, &opened.class, Right::Write)?;
        if table.is_catalog {
            return Err(rights::denied(&table.name));
        }
        let columns = column_indexes(&table, named)?;
        let names: Vec<String> = columns.iter().map(|i| table.desc.attrs[*i].name.to_string()).collect();
        let force_not_null = forced(cx, &names, &options.force_not_null, "FORCE_NOT_NULL")?;
        let force_null = forced(cx, &names, &options.force_null, "FORCE_NULL")?;
        let all: Vec<_> = table
            .desc
            .attrs
            .iter()
            .map(|a| {
                (!a.is_dropped).then(|| executor::Column {
                    name: a.name.to_string(),
                    ty: a.type_id,
                    typmod: a.typmod,
                })
            })
            .collect();
        let filter = stmt.where_clause.as_ref();
        let filter = filter
            .map(|expr| compile_expr(expr, cx.source, ExprPurpose::CopyWhere(&table.name), &all, cx.env))
            .transpose()?;
        let rules = RowRules::new(&table, cx.env)?;
        let heap = Rc::clone(&opened.table);
        Ok(CopyFrom { options, table, heap, columns, force_not_null, force_null, filter, rules })
    }

    /// Number of columns, which the client is told.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Reads all lines and inserts the rows; returns their number. C: `CopyFrom`.
    ///
    /// # Errors
    /// 22P04 for lines that are no rows, those of the types' input functions and of constraints, all with the line
    /// they are about as context.
    pub fn run(&mut self, session: &Session<'_>, input: &mut dyn Input) -> Result<u64> {
        let options = self.options.clone();
        let mut lines = Lines::new(input, &options);
        let mut row: Vec<Datum> = vec![Datum::Null; self.table.natts()];
        let given: Vec<bool> = (0..row.len()).map(|i| self.columns.contains(&i)).collect();
        let mut batch = Batch { tuples: Vec::new(), used: 0, bytes: 0, bulk: BulkInsert::new() };
        let mut rows = 0;
        let mut is_header = options.header != Header::None;
        loop {
            (session.check_interrupts)()?;
            let number = lines.number + 1;
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => return Err(error.context(format!("COPY {}, line {number}", self.table.name))),
            };
            if std::mem::take(&mut is_header) {
                if options.header == Header::Match {
                    self.check_header(line, &options, number)?;
                }
                continue;
            }
            let stored = self.row_of(line, &options, number, &given, &mut row, session)?;
            if stored {
                self.add(&row, &mut batch).map_err(|e| self.with_line(e, number, line))?;
                rows += 1;
            }
        }
        self.flush(&mut batch)?;
        Ok(rows)
    }

    /// Makes a row of a line; false if WHERE is against it.
    fn row_of(
        &mut self,
        line: &[u8],
        options: &Options,
        number: u64,
        given: &[bool],
        row: &mut [Datum],
        session: &Session<'_>,
    ) -> Result<bool> {
        let mut fields: Vec<Field<'_>> = Vec::with_capacity(self.columns.len());
        self.cut(line, options, &mut fields).map_err(|e| self.with_line(e, number, line))?;
        self.values(&fields, options, number, line, row)?;
        for (column, given) in given.iter().enumerate() {
            if !given {
                let value = self.rules.default_of(column, session);
                row[column] = value.map_err(|e| self.with_line(e, number, line))?;
            }
        }
        if let Some(filter) = &mut self.filter {
            let value = filter.eval(row, session);
            let passes =
                matches!(value.map_err(|e| with_line(&self.table, e, number, line))?, Datum::Bool(true));
            if !passes {
                return Ok(false);
            }
        }
        self.rules.check(row, session).map_err(|e| with_line(&self.table, e, number, line))?;
        Ok(true)
    }

    fn cut<'l>(&self, line: &'l [u8], options: &Options, fields: &mut Vec<Field<'l>>) -> Result<()> {
        match options.format {
            Format::Csv => decode::fields_of_csv(line, options, fields)?,
            // A table without columns has empty lines.
            Format::Text if self.columns.is_empty() && line.is_empty() => {}
            Format::Text => decode::fields_of_text(line, options, fields),
        }
        if fields.len() > self.columns.len() {
            return Err(bad_format("extra data after last expected column"));
        }
        Ok(())
    }

    fn values(
        &self,
        fields: &[Field<'_>],
        options: &Options,
        number: u64,
        line: &[u8],
        row: &mut [Datum],
    ) -> Result<()> {
        for (index, (field, column)) in fields.iter().zip(&self.columns).enumerate() {
            let attr = &self.table.desc.attrs[*column];
            let mut bytes = field.as_deref();
            if options.format == Format::Csv {
                match bytes {
                    None if self.force_not_null[index] => bytes = Some(options.null.as_bytes()),
                    Some(b) if self.force_null[index] && b == options.null.as_bytes() => bytes = None,
                    _ => {}
                }
            }
            let Some(bytes) = bytes else {
                row[*column] = Datum::Null;
                continue;
            };
            let value = text_of(bytes).map_err(|e| self.with_line(e, number, line)).and_then(|text| {
                types::io::input(attr.type_id, attr.typmod, text).map_err(|e| {
                    let (table, name) = (&self.table.name, &attr.name);
                    e.context(format!("COPY {table}, line {number}, column {name}: \"{}\"", shown(bytes)))
                })
            });
            row[*column] = value?;
        }
        // Only now, as PostgreSQL reads values one by one.
        if let Some(missing) = self.columns.get(fields.len()) {
            let name = &self.table.desc.attrs[*missing].name;
            let error = bad_format(&format!("missing data for column \"{name}\""));
            return Err(self.with_line(error, number, line));
        }
        Ok(())
    }

    /// C: `NextCopyFromRawFields` for HEADER MATCH.
    fn check_header(&self, line: &[u8], options: &Options, number: u64) -> Result<()> {
        let mut fields = Vec::new();
        match options.format {
            Format::Csv => decode::fields_of_csv(line, options, &mut fields)?,
            Format::Text => decode::fields_of_text(line, options, &mut fields),
        }
        let failed = |text: String| Err(self.with_line(bad_format(&text), number, line));
        if fields.len() != self.columns.len() {
            return failed(format!(
                "wrong number of fields in header line: got {}, expected {}",
                fields.len(),
                self.columns.len()
            ));
        }
        for (index, (field, column)) in fields.iter().zip(&self.columns).enumerate() {
            let expected = &self.table.desc.attrs[*column].name;
            let number = index + 1;
            match field {
                None => {
                    return failed(format!(
                        "column name mismatch in header line field {number}: got null value (\"{}\"), expected \"{expected}\"",
                        options.null
                    ));
                }
                Some(name) if **name != *expected.as_bytes() => {
                    return failed(format!(
                        "column name mismatch in header line field {number}: got \"{}\", expected \"{expected}\"",
                        String::from_utf8_lossy(name)
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn add(&self, row: &[Datum], batch: &mut Batch) -> Result<()> {
        if batch.used == batch.tuples.len() {
            batch.tuples.push(Tuple::new());
        }
        let desc: &TupleDesc = &self.table.desc;
        let tuple = &mut batch.tuples[batch.used];
        tuple.form(desc, row)?;
        batch.bytes += tuple.len();
        batch.used += 1;
        if batch.used >= MAX_BUFFERED_ROWS || batch.bytes >= MAX_BUFFERED_BYTES {
            self.flush(batch)?;
        }
        Ok(())
    }

    /// C: `CopyMultiInsertInfoFlush`.
    fn flush(&self, batch: &mut Batch) -> Result<()> {
        let cid = transam::xact::current_command_id(true);
        let tuples = &mut batch.tuples[..batch.used];
        if !tuples.is_empty() {
            heap::multi_insert(&self.heap, tuples, cid, InsertOptions::default(), Some(&mut batch.bulk))?;
        }
        batch.used = 0;
        batch.bytes = 0;
        Ok(())
    }

    fn with_line(&self, error: PgError, number: u64, line: &[u8]) -> PgError {
        with_line(&self.table, error, number, line)
    }
}

/// C: `CopyFromErrorCallback`.
fn with_line(table: &TableInfo, error: PgError, number: u64, line: &[u8]) -> PgError {
    error.context(format!("COPY {}, line {number}: \"{}\"", table.name, shown(line)))
}

/// C: `limit_printout_length`.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= MAX_SHOWN {
        return text.into_owned();
    }
    let mut end = MAX_SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

fn bad_format(text: &str) -> PgError {
    error!(SqlState::BAD_COPY_FILE_FORMAT, "{text}")
}

fn text_of(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => Err(types::io::invalid_utf8(&[0])),
        Err(e) => {
            let bad = &bytes[e.valid_up_to()..];
            Err(types::io::invalid_utf8(&bad[..bad.len().min(e.error_len().unwrap_or(bad.len()))]))
        }
    }
}
