//! EXPLAIN: the steps of a plan as an indented list.
//!
//! C counterpart: commands/explain.c.

mod deparse;

pub(crate) use deparse::{constant, operator_of};

use common::SqlState;
use elog::{Result, error};
use parser::ast::{DefElem, JoinKind, OptionValue, SetOp, quote_identifier};
use parser::char_position;
use types::Datum;

use crate::exec::{Plan, PlanData};
use crate::expr::Node;
use crate::query::{
    Action, Body, ChangeSource, From, InsertValue, Join, Modify, Query, Select, SetOperation, SortKey,
    TableScan,
};
use deparse::Names;

/// EXPLAIN's options, as far as they change what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the statement too.
    pub analyze: bool,
    /// Print the estimates, which are rough.
    pub costs: bool,
}

impl ExplainOptions {
    /// Reads the options of the statement. C: `ExplainQuery`.
    pub fn parse(options: &[DefElem], source: &str) -> Result<ExplainOptions> {
        let mut parsed = ExplainOptions { analyze: false, costs: true };
        let (mut timing, mut wal) = (false, false);
        for option in options {
            let at = |e: elog::PgError| e.position(char_position(source, option.loc as usize));
            match option.name.as_str() {
                "analyze" => parsed.analyze = boolean(option)?,
                "costs" => parsed.costs = boolean(option)?,
                "wal" => wal = boolean(option)?,
                "timing" => timing = boolean(option)?,
                "verbose" | "buffers" | "settings" | "summary" => {
                    boolean(option)?;
                }
                "format" => match &option.value {
                    Some(OptionValue::String(format)) if format == "text" => {}
                    Some(OptionValue::String(format))
                        if matches!(format.as_str(), "json" | "xml" | "yaml") =>
                    {
                        return Err(at(error!(
                            SqlState::FEATURE_NOT_SUPPORTED,
                            "EXPLAIN option FORMAT {} is not supported yet",
                            format.to_uppercase()
                        )));
                    }
                    other => {
                        let shown = other.as_ref().map_or(String::new(), shown);
                        return Err(at(error!(
                            SqlState::INVALID_PARAMETER_VALUE,
                            "unrecognized value for EXPLAIN option \"format\": \"{shown}\""
                        )));
                    }
                },
                name => {
                    return Err(at(error!(SqlState::SYNTAX_ERROR, "unrecognized EXPLAIN option \"{name}\"")));
                }
            }
        }
        for (on, name) in [(wal, "WAL"), (timing, "TIMING")] {
            if on && !parsed.analyze {
                return Err(error!(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "EXPLAIN option {name} requires ANALYZE"
                ));
            }
        }
        Ok(parsed)
    }
}

fn shown(value: &OptionValue) -> String {
    match value {
        OptionValue::String(s) | OptionValue::Float(s) => s.clone(),
        OptionValue::Integer(i) => i.to_string(),
        OptionValue::Boolean(b) => b.to_string(),
        OptionValue::Null | OptionValue::Roles(_) | OptionValue::Star | OptionValue::List(_) => String::new(),
    }
}

/// C: `defGetBoolean`.
fn boolean(option: &DefElem) -> Result<bool> {
    let Some(value) = &option.value else { return Ok(true) };
    match shown(value).to_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(error!(SqlState::SYNTAX_ERROR, "{} requires a Boolean value", option.name)),
    }
}

/// One step, what there is to say about it, and those below it.
struct Step {
    title: String,
    notes: Vec<String>,
    children: Vec<Step>,
    /// What a scan of a table is expected to be.
    scan: Option<Estimate>,
    /// Heads the step: `CTE x`, `SubPlan 1`.
    label: Option<String>,
}

impl Step {
    fn new(title: impl Into<String>, children: Vec<Step>) -> Step {
        Step { title: title.into(), notes: Vec::new(), children, scan: None, label: None }
    }

    /// Rough numbers: those of a table's scan are PostgreSQL's, other steps add what their rows cost.
    fn estimate(&self) -> Estimate {
        if let Some(scan) = self.scan {
            return scan;
        }
        let below: Vec<Estimate> = self.children.iter().map(Step::estimate).collect();
        let mut all = Estimate { startup: 0.0, total: 0.0, rows: 1.0, width: 0 };
        for child in &below {
            all.startup = all.startup.max(child.startup);
            all.total += child.total;
            all.rows = all.rows.max(child.rows);
            all.width += child.width;
        }
        match self.title.split(' ').next().unwrap_or_default() {
            "Insert" | "Update" | "Delete" => Estimate { rows: 0.0, width: 0, ..all },
            "Aggregate" => {
                let total = all.total + all.rows * cost::OPERATOR;
                Estimate { startup: total, total: total + cost::TUPLE, rows: 1.0, width: 8 }
            }
            "Sort" | "HashAggregate" | "Hash" => Estimate { startup: all.total, ..all },
            "Limit" => all,
            _ => Estimate { total: all.total + all.rows * cost::TUPLE, ..all },
        }
    }

    fn note(mut self, what: &str, shown: Option<String>) -> Step {
        self.notes.extend(shown.map(|shown| format!("{what}: {shown}")));
        self
    }
}

/// The lines of the QUERY PLAN column.
/// With `params`, those stand where the plan has parameters, as in a custom plan.
pub fn explain(plan: &Plan, options: ExplainOptions, params: &[Datum]) -> Vec<String> {
    let data = plan.data();
    let generic = guc::vars::PLAN_CACHE_MODE.get() == "force_generic_plan";
    let names = Names::of(data, if generic { &[] } else { params });
    let cx = Explainer { data, names };
    let mut root = cx.query_step(&data.query);
    for (i, sub) in data.subplans.iter().enumerate() {
        let mut step = cx.query_step(&sub.query);
        if sub.correlated {
            step.label = Some(format!("SubPlan {}", i + 1));
            root.children.push(step);
        } else {
            step.label = Some(format!("InitPlan {} (returns ${i})", i + 1));
            root.children.insert(0, step);
        }
    }
    let mut lines = Vec::new();
    print(&root, 0, options, &mut lines);
    lines
}

/// Indentation counts in pairs of blanks, as in C. C: `ExplainNode`.
fn print(step: &Step, mut indent: usize, options: ExplainOptions, lines: &mut Vec<String>) {
    let blanks = |indent: usize| "  ".repeat(indent);
    let costs = if options.costs { step.estimate().to_string() } else { String::new() };
    if let Some(label) = &step.label {
        lines.push(format!("{}{label}", blanks(indent)));
        indent += 1;
    }
    if indent > 0 {
        lines.push(format!("{}->  {}{costs}", blanks(indent), step.title));
        indent += 2;
    } else {
        lines.push(format!("{}{costs}", step.title));
    }
    lines.extend(step.notes.iter().map(|note| format!("{}  {note}", blanks(indent))));
    for child in &step.children {
        print(child, indent + 1, options, lines);
    }
}

/// Makes steps of a statement's parts.
struct Explainer<'a> {
    data: &'a PlanData,
    names: Names,
}

impl Explainer<'_> {
    fn query_step(&self, query: &Query) -> Step {
        let mut step = match &query.body {
            Body::Values(rows) if rows.len() == 1 => Step::new("Result", Vec::new()),
            Body::Values(_) => Step::new("Values Scan on \"*VALUES*\"", Vec::new()),
            Body::SetOp(set) => self.set_step(set),
            Body::Select(select) => self.select_step(select),
            Body::Modify(modify) => self.modify_step(modify),
        };
        if !query.order.is_empty() {
            let keys = query.order.iter().map(|key| self.sort_key(query, key));
            let keys: Vec<String> = keys.collect();
            step = Step::new("Sort", vec![step]).note("Sort Key", Some(keys.join(", ")));
        }
        if query.distinct.is_some() {
            let title = if query.order.is_empty() { "HashAggregate" } else { "Unique" };
            step = Step::new(title, vec![step]);
            if query.order.is_empty() {
                let keys = query.distinct.iter().flatten().map(|key| self.output(query, key.column));
                step = step.note("Group Key", Some(keys.collect::<Vec<_>>().join(", ")));
            }
        }
        if !query.row_locks.is_empty() {
            step = Step::new("LockRows", vec![step]);
        }
        if query.limit.is_some() || query.offset.is_some() {
            step = Step::new("Limit", vec![step]);
        }
        for id in query.ctes.clone().rev() {
            let cte = &self.data.ctes[id];
            let mut inner = self.query_step(&cte.query);
            if let Some((again, _)) = &cte.recursive {
                inner = Step::new("Recursive Union", vec![inner, self.query_step(again)]);
            }
            inner.label = Some(format!("CTE {}", cte.name));
            step.children.insert(0, inner);
        }
        step
    }

    fn set_step(&self, set: &SetOperation) -> Step {
        let children = vec![self.query_step(&set.left), self.query_step(&set.right)];
        let all = if set.all { " All" } else { "" };
        match set.op {
            SetOp::Union if set.all => Step::new("Append", children),
            SetOp::Union => Step::new("HashAggregate", vec![Step::new("Append", children)]),
            SetOp::Intersect => {
                Step::new(format!("HashSetOp Intersect{all}"), vec![Step::new("Append", children)])
            }
            SetOp::Except => Step::new(format!("HashSetOp Except{all}"), vec![Step::new("Append", children)]),
        }
    }

    /// The expression behind an output column.
    fn output(&self, query: &Query, column: usize) -> String {
        match &query.body {
            Body::Select(select) => {
                select.targets.get(column).map_or_else(String::new, |target| self.names.sort_expr(target))
            }
            _ => query.columns.get(column).map_or_else(String::new, |c| c.name.clone()),
        }
    }

    /// C: `show_sort_group_keys`, `show_sortorder_options`.
    fn sort_key(&self, query: &Query, key: &SortKey) -> String {
        let mut shown = self.output(query, key.column);
        if key.descending {
            shown += " DESC";
        }
        if key.nulls_first != key.descending {
            shown += if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" };
        }
        shown
    }

    fn modify_step(&self, modify: &Modify) -> Step {
        let (verb, child, alias) = match &modify.action {
            Action::Insert { source: Some(query), values, .. } => {
                ("Insert", self.insert_source_step(query, values), None)
            }
            Action::Insert { source: None, .. } => ("Insert", Step::new("Result", Vec::new()), None),
            Action::Update(change) => ("Update", self.select_step(&change.select), target_alias(change)),
            Action::Delete(change) => ("Delete", self.select_step(&change.select), target_alias(change)),
        };
        let name = &modify.table.name;
        Step::new(on(verb, name, alias.as_deref().unwrap_or(name)), vec![child])
    }

    /// A query that stays one of its own below INSERT has a step that fits its columns to the table's.
    fn insert_source_step(&self, query: &Query, values: &[InsertValue]) -> Step {
        let step = self.query_step(query);
        let is_one = match &query.body {
            Body::Values(_) | Body::Modify(_) => false,
            Body::SetOp(_) => true,
            Body::Select(select) => select.aggregate.is_some() || !select.set_levels.is_empty(),
        };
        let is_one = is_one || !query.order.is_empty() || query.limit.is_some() || query.distinct.is_some();
        let fits = values.iter().enumerate().all(|(i, v)| matches!(v, InsertValue::Column(c) if *c == i));
        if is_one && !fits { Step::new("Subquery Scan on \"*SELECT*\"", vec![step]) } else { step }
    }

    fn select_step(&self, select: &Select) -> Step {
        if let Some(Node::Const(Datum::Bool(false))) = select.filter.as_ref().map(|f| &f.node)
            && select.aggregate.is_none()
            && select.set_levels.is_empty()
        {
            return Step::new("Result", Vec::new()).note("One-Time Filter", Some("false".into()));
        }
        let mut step = match &select.from {
            None => Step::new("Result", Vec::new()),
            Some(from) => self.item_step(from),
        };
        let filter = select.filter.as_ref().map(|f| match select.from {
            Some(From::Table(_)) => self.names.scan_expr(f),
            _ => self.names.expr(f),
        });
        step = match select.from {
            None => step.note("One-Time Filter", filter),
            Some(_) => step.note("Filter", filter),
        };
        if let Some(aggregate) = &select.aggregate {
            let keys: Vec<String> = aggregate.keys.iter().map(|(key, _)| self.names.sort_expr(key)).collect();
            let title = if keys.is_empty() { "Aggregate" } else { "HashAggregate" };
            step = Step::new(title, vec![step]);
            if !keys.is_empty() {
                step = step.note("Group Key", Some(keys.join(", ")));
            }
            step = step.note("Filter", select.having.as_ref().map(|h| self.names.expr(h)));
        }
        for _ in &select.set_levels {
            step = Step::new("ProjectSet", vec![step]);
        }
        step
    }

    fn item_step(&self, from: &From) -> Step {
        match from {
            From::Function(scan) => {
                let name = scan.functions.first().map_or("", |f| f.name.as_str());
                Step::new(on("Function Scan", name, &scan.alias), Vec::new())
            }
            From::Relation { alias, .. } => Step::new(on("Function Scan", alias, alias), Vec::new()),
            From::Table(scan) => {
                let kind = if scan.tids.is_some() { "Tid Scan" } else { "Seq Scan" };
                let tids =
                    scan.tids.iter().flatten().map(|tid| format!("(ctid = {})", self.names.scan_expr(tid)));
                let title = on(kind, &scan.table.name, &scan.alias);
                Step { scan: Some(Estimate::of_scan(scan)), ..Step::new(title, Vec::new()) }
                    .note("TID Cond", tids.reduce(|a, b| format!("{a} OR {b}")))
                    .note("Filter", scan.filter.as_ref().map(|f| self.names.scan_expr(f)))
            }
            From::Filter(filter) => {
                let shown = match filter.0 {
                    From::Table(_) => self.names.scan_expr(&filter.1),
                    _ => self.names.expr(&filter.1),
                };
                self.item_step(&filter.0).note("Filter", Some(shown))
            }
            From::Subquery { alias, query, .. } => match &query.body {
                Body::Values(rows) if rows.len() > 1 => Step::new("Values Scan on \"*VALUES*\"", Vec::new()),
                _ => Step::new(format!("Subquery Scan on {alias}"), vec![self.query_step(query)]),
            },
            From::Cte { alias, id, working: true, .. } => {
                Step::new(on("WorkTable Scan", &self.data.ctes[*id].name, alias), Vec::new())
            }
            From::Cte { alias, id, .. } => {
                Step::new(on("CTE Scan", &self.data.ctes[*id].name, alias), Vec::new())
            }
            From::Join(join) => self.join_step(join),
        }
    }

    fn join_step(&self, join: &Join) -> Step {
        let kind = match join.kind {
            JoinKind::Inner => "",
            JoinKind::Left => " Left",
            JoinKind::Right => " Right",
            JoinKind::Full => " Full",
        };
        let (left, right) = (self.item_step(&join.left), self.item_step(&join.right));
        let filter = join.on.as_ref().map(|on| self.names.expr(on));
        if join.hash.is_empty() {
            let title =
                if kind.is_empty() { "Nested Loop".into() } else { format!("Nested Loop{kind} Join") };
            // The rows of the inner side are kept, as they come by again and again.
            let right = match &join.right {
                From::Table(_) if !join.lateral => Step::new("Materialize", vec![right]),
                _ => right,
            };
            return Step::new(title, vec![left, right]).note("Join Filter", filter);
        }
        let mut keys = join.hash.iter().map(|key| self.names.expr(&key.condition));
        let conditions = match join.hash.len() {
            1 => keys.next().unwrap_or_default(),
            _ => format!("({})", keys.collect::<Vec<_>>().join(" AND ")),
        };
        Step::new(format!("Hash{kind} Join"), vec![left, Step::new("Hash", vec![right])])
            .note("Hash Cond", Some(conditions))
            .note("Join Filter", filter)
    }
}

/// Settings of the planner at their defaults. C: `seq_page_cost` and so on.
mod cost {
    pub(super) const PAGE: f64 = 1.0;
    pub(super) const TUPLE: f64 = 0.01;
    pub(super) const OPERATOR: f64 = 0.0025;
}

/// Pages that a table which was never vacuumed is taken to have at least.
const UNKNOWN_PAGES: f64 = 10.0;
/// Header and item pointer of a row.
const ROW_OVERHEAD: usize = 24 + 4;
/// What a page has for rows.
const PAGE_BYTES: f64 = 8192.0 - 24.0;
/// Width of a value of a type without a fixed one.
const UNKNOWN_WIDTH: usize = 32;

/// What a step is expected to cost and to bring.
#[derive(Clone, Copy)]
struct Estimate {
    startup: f64,
    total: f64,
    rows: f64,
    width: usize,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Estimate { startup, total, rows, width } = self;
        write!(f, "  (cost={startup:.2}..{total:.2} rows={rows:.0} width={width})")
    }
}

impl Estimate {
    /// C: `estimate_rel_size`, `cost_seqscan`, `get_typavgwidth`.
    fn of_scan(scan: &TableScan) -> Estimate {
        let table = &scan.table;
        let attrs = table.desc.attrs.iter().filter(|a| !a.is_dropped);
        let width: usize = attrs.map(|a| if a.len > 0 { a.len as usize } else { UNKNOWN_WIDTH }).sum();
        let mut pages = f64::from(table.pages);
        let mut rows = table.tuples;
        if rows < 0.0 {
            pages = pages.max(UNKNOWN_PAGES);
            rows = pages * (PAGE_BYTES / (width + ROW_OVERHEAD) as f64).floor();
        }
        let mut total = pages * cost::PAGE + rows * cost::TUPLE;
        if scan.filter.is_some() {
            total += rows * cost::OPERATOR;
            // As for an inequality about which nothing is known.
            rows /= 3.0;
        }
        if scan.tids.is_some() {
            (total, rows) = (4.0 + cost::TUPLE, 1.0);
        }
        Estimate { startup: 0.0, total, rows, width }
    }
}

/// What the changed table is called in the command.
fn target_alias(change: &ChangeSource) -> Option<String> {
    fn find(from: &From, base: usize) -> Option<String> {
        match from {
            From::Table(scan) if scan.base == base => Some(scan.alias.clone()),
            From::Filter(filter) => find(&filter.0, base),
            From::Join(join) => find(&join.left, base).or_else(|| find(&join.right, base)),
            _ => None,
        }
    }
    find(change.select.from.as_ref()?, change.old_base)
}

fn on(kind: &str, name: &str, alias: &str) -> String {
    let (name, alias) = (quote_identifier(name), quote_identifier(alias));
    if name == alias { format!("{kind} on {name}") } else { format!("{kind} on {name} {alias}") }
}
