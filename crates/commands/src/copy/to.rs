//! COPY TO: rows of a table or a query as lines.
//!
//! C counterpart: commands/copyto.c.

use common::SqlState;
use elog::{Result, error};
use executor::{Column, Execution, ParamTypes};
use parser::ast::{CopySource, CopyStmt, RangeVar, Statement};
use types::Datum;
use types::fmgr::Session;

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
    execution: Execution,
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
        let query = match &stmt.source {
            CopySource::Query(query) if query.select_into().is_some() => {
                return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "COPY (SELECT INTO) is not supported"));
            }
            CopySource::Query(query) => (**query).clone(),
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
        Ok(CopyTo { options, columns, force_quote, execution: plan.start(Vec::new()) })
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
        let (mut row, mut text, mut rows) = (Vec::new(), String::new(), 0);
        // FORCE_QUOTE * leaves NULL alone, as everything does.
        debug_assert!(self.options.format == Format::Csv || self.options.force_quote == Columns::None);
        while self.execution.next_into(session, &mut row)? {
            line.clear();
            for (index, (column, value)) in self.columns.iter().zip(&row).enumerate() {
                if index > 0 {
                    line.push(self.options.delimiter);
                }
                if value.is_null() {
                    line.extend_from_slice(self.options.null.as_bytes());
                    continue;
                }
                // A string is its own text form.
                let shown: &str = match value {
                    Datum::Text(shown) => shown,
                    value => {
                        text.clear();
                        types::io::output(value, column.ty, &mut text);
                        &text
                    }
                };
                match self.options.format {
                    Format::Text => encode::text(shown, self.options.delimiter, &mut line),
                    Format::Csv => {
                        let (force, alone) = (self.force_quote[index], self.columns.len() == 1);
                        encode::csv(shown, &self.options, force, alone, &mut line);
                    }
                }
            }
            line.push(b'\n');
            output.line(&line)?;
            rows += 1;
        }
        Ok(rows)
    }
}

/// `SELECT columns FROM ONLY table`.
fn table_query(
    cx: &Context<'_>,
    relation: &RangeVar,
    named: &[(String, parser::ast::Loc)],
) -> Result<Statement> {
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
    let statement = parser::parse(&sql)?.pop().map(|raw| raw.stmt);
    statement.ok_or_else(missing)
}
