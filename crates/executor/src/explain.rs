//! EXPLAIN: the steps of a plan as an indented list.
//!
//! C counterpart: commands/explain.c.

use common::SqlState;
use elog::{Result, error};
use parser::ast::{DefElem, JoinKind, OptionValue, SetOp};
use parser::char_position;

use crate::exec::{Plan, PlanData};
use crate::query::{Body, From, Query, Select};

/// EXPLAIN's options, as far as they change what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Run the statement too.
    pub analyze: bool,
    /// Print the estimates, which are all zero.
    pub costs: bool,
}

impl ExplainOptions {
    /// Reads the options of the statement. C: `ExplainQuery`.
    pub fn parse(options: &[DefElem], source: &str) -> Result<ExplainOptions> {
        let mut parsed = ExplainOptions { analyze: false, costs: true };
        for option in options {
            let at = |e: elog::PgError| e.position(char_position(source, option.loc as usize));
            match option.name.as_str() {
                "analyze" => parsed.analyze = boolean(option)?,
                "costs" => parsed.costs = boolean(option)?,
                "verbose" | "buffers" | "wal" | "settings" | "timing" | "summary" => {
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
        Ok(parsed)
    }
}

fn shown(value: &OptionValue) -> String {
    match value {
        OptionValue::String(s) | OptionValue::Float(s) => s.clone(),
        OptionValue::Integer(i) => i.to_string(),
        OptionValue::Boolean(b) => b.to_string(),
        OptionValue::Null | OptionValue::Roles(_) => String::new(),
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

/// One step and those below it.
struct Step {
    title: String,
    children: Vec<Step>,
    /// Heads the step: `CTE x`, `SubPlan 1`.
    label: Option<String>,
}

impl Step {
    fn new(title: impl Into<String>, children: Vec<Step>) -> Step {
        Step { title: title.into(), children, label: None }
    }
}

/// The lines of the QUERY PLAN column.
pub fn explain(plan: &Plan, options: ExplainOptions) -> Vec<String> {
    let data = plan.data();
    let mut root = query_step(data, &data.query);
    for (i, sub) in data.subplans.iter().enumerate() {
        let mut step = query_step(data, &sub.query);
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
    let costs = if options.costs { "  (cost=0.00..0.00 rows=0 width=0)" } else { "" };
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
    for child in &step.children {
        print(child, indent + 1, options, lines);
    }
}

fn query_step(data: &PlanData, query: &Query) -> Step {
    let mut step = match &query.body {
        Body::Values(rows) if rows.len() == 1 => Step::new("Result", Vec::new()),
        Body::Values(_) => Step::new("Values Scan on \"*VALUES*\"", Vec::new()),
        Body::SetOp(set) => {
            let children = vec![query_step(data, &set.left), query_step(data, &set.right)];
            let all = if set.all { " All" } else { "" };
            match set.op {
                SetOp::Union if set.all => Step::new("Append", children),
                SetOp::Union => Step::new("HashAggregate", vec![Step::new("Append", children)]),
                SetOp::Intersect => {
                    Step::new(format!("HashSetOp Intersect{all}"), vec![Step::new("Append", children)])
                }
                SetOp::Except => {
                    Step::new(format!("HashSetOp Except{all}"), vec![Step::new("Append", children)])
                }
            }
        }
        Body::Select(select) => select_step(data, select),
    };
    if !query.order.is_empty() {
        step = Step::new("Sort", vec![step]);
    }
    if query.distinct.is_some() {
        step = Step::new(if query.order.is_empty() { "HashAggregate" } else { "Unique" }, vec![step]);
    }
    if query.limit.is_some() || query.offset.is_some() {
        step = Step::new("Limit", vec![step]);
    }
    for id in query.ctes.clone().rev() {
        let cte = &data.ctes[id];
        let mut inner = query_step(data, &cte.query);
        if let Some((again, _)) = &cte.recursive {
            inner = Step::new("Recursive Union", vec![inner, query_step(data, again)]);
        }
        inner.label = Some(format!("CTE {}", cte.name));
        step.children.insert(0, inner);
    }
    step
}

fn select_step(data: &PlanData, select: &Select) -> Step {
    let mut step = match &select.from {
        None => Step::new("Result", Vec::new()),
        Some(from) => from_step(data, from),
    };
    if let Some(aggregate) = &select.aggregate {
        let title = if aggregate.keys.is_empty() { "Aggregate" } else { "HashAggregate" };
        step = Step::new(title, vec![step]);
    }
    for _ in &select.set_levels {
        step = Step::new("ProjectSet", vec![step]);
    }
    step
}

fn on(kind: &str, name: &str, alias: &str) -> String {
    if name == alias { format!("{kind} on {name}") } else { format!("{kind} on {name} {alias}") }
}

fn from_step(data: &PlanData, from: &From) -> Step {
    match from {
        From::Function(scan) => {
            let name = scan.functions.first().map_or("", |f| f.name.as_str());
            Step::new(on("Function Scan", name, &scan.alias), Vec::new())
        }
        From::Relation { alias, .. } => Step::new(on("Function Scan", alias, alias), Vec::new()),
        From::Subquery { alias, query, .. } => match &query.body {
            Body::Values(rows) if rows.len() > 1 => Step::new("Values Scan on \"*VALUES*\"", Vec::new()),
            _ => Step::new(format!("Subquery Scan on {alias}"), vec![query_step(data, query)]),
        },
        From::Cte { alias, id, working: true, .. } => {
            Step::new(on("WorkTable Scan", &data.ctes[*id].name, alias), Vec::new())
        }
        From::Cte { alias, id, .. } => Step::new(on("CTE Scan", &data.ctes[*id].name, alias), Vec::new()),
        From::Join(join) => {
            let title = match join.kind {
                JoinKind::Inner => "Nested Loop",
                JoinKind::Left => "Nested Loop Left Join",
                JoinKind::Right => "Nested Loop Right Join",
                JoinKind::Full => "Nested Loop Full Join",
            };
            Step::new(title, vec![from_step(data, &join.left), from_step(data, &join.right)])
        }
    }
}
