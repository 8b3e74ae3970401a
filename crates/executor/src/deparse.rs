//! Defaults and conditions of tables as SQL text, the way PostgreSQL shows and this server stores them.
//!
//! Called by the commands that define tables, which store the plain form, and by `pg_get_expr` and
//! `pg_get_constraintdef`, which read it again to show the pretty one: with few parentheses, and CASE in lines.
//! EXPLAIN has its own, `explain/deparse.rs`, because there columns are slots of many scans.
//!
//! C counterpart: utils/adt/ruleutils.c (`get_rule_expr`, `isSimpleNode`).

use parser::ast::{ValueFunction, quote_identifier};
use types::{format_type, oid};

use crate::explain::{constant, operator_of};
use crate::expr::{Expr, Node, RowOp};
use crate::query::Column;

/// What an expression stands in: decides about its parentheses. What has separators of its own, as the arguments of
/// a function, needs none.
#[derive(Clone, Copy)]
enum Parent<'a> {
    /// A cast.
    Cast,
    /// An operator, and whether this is its first argument.
    Operator(&'a str, bool),
    And,
    Or,
    Not,
    /// IS NULL and its like.
    Test,
}

/// Text under way.
pub(crate) struct Deparser<'a> {
    columns: &'a [Option<Column>],
    pretty: bool,
    indent: usize,
    /// The slot that the conditions of a `CASE arg` read.
    case_slot: Option<usize>,
    out: String,
    /// Something has no text here.
    failed: bool,
}

/// The text of an expression over a table's columns; `None` for what only a query can have.
pub(crate) fn deparse(expr: &Expr, columns: &[Option<Column>], pretty: bool) -> Option<String> {
    let mut deparser =
        Deparser { columns, pretty, indent: 0, case_slot: None, out: String::new(), failed: false };
    deparser.expr(expr, false);
    (!deparser.failed).then_some(deparser.out)
}

fn operator_name(expr: &Expr) -> Option<(&'static str, &[Expr])> {
    let Node::Call { call, args } = &expr.node else { return None };
    let name = operator_of(call.function()?.oid.0)?;
    (args.len() == 1 || args.len() == 2).then_some((name, args.as_slice()))
}

/// Whether an expression needs no parentheses within another. C: `isSimpleNode`.
fn is_simple(expr: &Expr, parent: Parent<'_>) -> bool {
    match &expr.node {
        Node::Coerce { arg, .. } => is_simple(arg, Parent::Cast),
        Node::Call { .. } => match operator_name(expr) {
            None => true,
            Some((name, args)) => match parent {
                Parent::Operator(outer, first) => args.len() == 2 && binds_tighter(name, outer, first),
                Parent::And | Parent::Or | Parent::Not => true,
                Parent::Cast | Parent::Test => false,
            },
        },
        Node::IsNull { .. } | Node::IsBoolean { .. } | Node::IsDistinct { .. } => {
            matches!(parent, Parent::And | Parent::Or | Parent::Not)
        }
        Node::And(_) | Node::Not(_) => matches!(parent, Parent::And | Parent::Or),
        Node::Or(_) => matches!(parent, Parent::Or),
        Node::OpArray { .. } | Node::RowCompare { .. } => false,
        _ => true,
    }
}

/// Of the arithmetic operators alone.
fn binds_tighter(name: &str, outer: &str, first: bool) -> bool {
    let level = |name: &str| match name {
        "+" | "-" => Some(0),
        "*" | "/" | "%" => Some(1),
        _ => None,
    };
    match (level(name), level(outer)) {
        (Some(inner), Some(outer)) => inner > outer || (inner == outer && first),
        _ => false,
    }
}

impl Deparser<'_> {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// The parentheses that only the plain form has.
    fn open(&mut self) {
        if !self.pretty {
            self.out.push('(');
        }
    }

    fn close(&mut self) {
        if !self.pretty {
            self.out.push(')');
        }
    }

    /// C: `get_rule_expr_paren`.
    fn paren(&mut self, expr: &Expr, implicit: bool, parent: Parent<'_>) {
        let needed = self.pretty && !is_simple(expr, parent);
        if needed {
            self.out.push('(');
        }
        self.expr(expr, implicit);
        if needed {
            self.out.push(')');
        }
    }

    fn list(&mut self, exprs: &[Expr]) {
        for (i, expr) in exprs.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            self.expr(expr, true);
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) {
        self.push(name);
        self.push("(");
        self.list(args);
        self.push(")");
    }

    /// `implicit`: conversions that were not written are shown. C: `get_rule_expr`.
    fn expr(&mut self, expr: &Expr, implicit: bool) {
        match &expr.node {
            Node::Const(value) => self.push(&constant(value, expr)),
            Node::Var { slot, .. } => match self.columns.get(*slot) {
                Some(Some(column)) => self.push(&quote_identifier(&column.name)),
                _ => self.failed = true,
            },
            Node::Call { call, args } => match operator_name(expr) {
                Some((name, args)) => self.operator(name, args),
                None => match call.function() {
                    // The grammar's words for them.
                    Some(f) if args.is_empty() && matches!(f.name, "current_user" | "session_user") => {
                        self.push(&f.name.to_uppercase());
                    }
                    Some(function) => self.call(&quote_identifier(function.name), args),
                    None => self.failed = true,
                },
            },
            Node::Coerce { arg, explicit } => self.coerce(expr, arg, *explicit || implicit),
            Node::And(args) => self.logical(args, " AND ", Parent::And),
            Node::Or(args) => self.logical(args, " OR ", Parent::Or),
            Node::Not(arg) => {
                self.open();
                self.push("NOT ");
                self.paren(arg, false, Parent::Not);
                self.close();
            }
            Node::IsNull { arg, negated } => {
                self.test(arg, if *negated { " IS NOT NULL" } else { " IS NULL" });
            }
            Node::IsBoolean { arg, value, negated } => {
                let word = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                let not = if *negated { "NOT " } else { "" };
                self.test(arg, &format!(" IS {not}{word}"));
            }
            _ => self.construct(expr),
        }
    }

    fn operator(&mut self, name: &str, args: &[Expr]) {
        self.open();
        match args {
            [left, right] => {
                self.paren(left, true, Parent::Operator(name, true));
                self.push(&format!(" {name} "));
                self.paren(right, true, Parent::Operator(name, false));
            }
            [only] => {
                self.push(&format!("{name} "));
                self.paren(only, true, Parent::Operator("", false));
            }
            _ => self.failed = true,
        }
        self.close();
    }

    fn test(&mut self, arg: &Expr, words: &str) {
        self.open();
        self.paren(arg, true, Parent::Test);
        self.push(words);
        self.close();
    }

    fn logical(&mut self, args: &[Expr], word: &str, parent: Parent<'_>) {
        self.open();
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.push(word);
            }
            self.paren(arg, false, parent);
        }
        self.close();
    }

    /// C: `get_coercion_expr`.
    fn coerce(&mut self, expr: &Expr, arg: &Expr, shown: bool) {
        if let (Node::Const(value), oid::UNKNOWN) = (&arg.node, arg.ty) {
            let typed = Expr { ty: expr.ty, typmod: -1, ..arg.clone() };
            self.push(&constant(value, &typed));
            return;
        }
        if !shown {
            self.paren(arg, false, Parent::Cast);
            return;
        }
        self.open();
        self.paren(arg, false, Parent::Cast);
        self.close();
        self.push(&format!("::{}", format_type(expr.ty, expr.typmod)));
    }

    fn construct(&mut self, expr: &Expr) {
        match &expr.node {
            Node::IsDistinct { left, right, negated, .. } => {
                self.open();
                self.paren(left, true, Parent::Test);
                self.push(if *negated { " IS NOT DISTINCT FROM " } else { " IS DISTINCT FROM " });
                self.paren(right, true, Parent::Test);
                self.close();
            }
            Node::OpArray { call, all, left, right } => {
                let name = call.function().and_then(|f| operator_of(f.oid.0)).unwrap_or("=");
                self.open();
                self.paren(left, true, Parent::Test);
                self.push(&format!(" {name} {} (", if *all { "ALL" } else { "ANY" }));
                self.paren(right, true, Parent::Test);
                self.push(")");
                self.close();
            }
            Node::Coalesce(args) => self.call("COALESCE", args),
            Node::MinMax { greatest, args } => {
                self.call(if *greatest { "GREATEST" } else { "LEAST" }, args);
            }
            Node::NullIf { left, right, .. } => {
                self.push("NULLIF(");
                self.expr(left, true);
                self.push(", ");
                self.expr(right, true);
                self.push(")");
            }
            Node::Array { items, .. } => {
                self.push("ARRAY[");
                self.list(items);
                self.push("]");
                if items.is_empty() {
                    self.push(&format!("::{}", format_type(expr.ty, -1)));
                }
            }
            Node::Row { fields, .. } => self.call("ROW", fields),
            Node::RowCompare { op, pairs, .. } => self.row_compare(*op, pairs),
            Node::Subscript { arg, indexes } => {
                let bare = matches!(arg.node, Node::Var { .. });
                self.push(if bare { "" } else { "(" });
                self.expr(arg, true);
                self.push(if bare { "" } else { ")" });
                for index in indexes {
                    self.push("[");
                    self.expr(index, false);
                    self.push("]");
                }
            }
            Node::Case { whens, default } => self.case(None, whens, default.as_deref(), expr),
            Node::CaseArg { arg, slot, case, .. } => match &case.node {
                Node::Case { whens, default } => {
                    let outer = self.case_slot.replace(*slot);
                    self.case(Some(arg), whens, default.as_deref(), case);
                    self.case_slot = outer;
                }
                _ => self.failed = true,
            },
            Node::ValueFunction { function, typmod } => self.value_function(*function, *typmod),
            _ => self.failed = true,
        }
    }

    fn row_compare(&mut self, op: RowOp, pairs: &[(Expr, Expr)]) {
        let name = match op {
            RowOp::Equal => "=",
            RowOp::NotEqual => "<>",
            RowOp::Less => "<",
            RowOp::LessEqual => "<=",
            RowOp::Greater => ">",
            RowOp::GreaterEqual => ">=",
        };
        let (left, right): (Vec<Expr>, Vec<Expr>) = pairs.iter().cloned().unzip();
        self.push("(");
        self.call("ROW", &left);
        self.push(&format!(" {name} "));
        self.call("ROW", &right);
        self.push(")");
    }

    /// Begins a line in the pretty form, and is a blank in the plain one. C: `appendContextKeyword`.
    fn line(&mut self, keyword: &str) {
        if self.pretty {
            let kept = self.out.trim_end_matches(' ').len();
            self.out.truncate(kept);
            self.out.push('\n');
            let indent = self.indent;
            self.out.extend(std::iter::repeat_n(' ', indent));
        } else if keyword != "CASE" {
            self.out.push(' ');
        }
        self.push(keyword);
    }

    fn case(&mut self, arg: Option<&Expr>, whens: &[(Expr, Expr)], default: Option<&Expr>, whole: &Expr) {
        const STEP: usize = 4;
        self.line("CASE");
        self.indent += STEP;
        if let Some(arg) = arg {
            self.push(" ");
            self.expr(arg, true);
        }
        for (condition, result) in whens {
            self.line("WHEN ");
            match self.compared(condition) {
                Some(value) => self.expr(value, false),
                None => self.expr(condition, false),
            }
            self.push(" THEN ");
            self.expr(result, true);
        }
        self.line("ELSE ");
        match default {
            Some(default) => self.expr(default, true),
            None => self.push(&format!("NULL::{}", format_type(whole.ty, -1))),
        }
        self.indent -= STEP;
        self.line("END");
    }

    /// What a condition of `CASE arg` compares the argument with.
    fn compared<'e>(&self, condition: &'e Expr) -> Option<&'e Expr> {
        let wanted = self.case_slot?;
        let (_, [left, right]) = operator_name(condition)? else { return None };
        let left = if let Node::Coerce { arg, .. } = &left.node { arg } else { left };
        matches!(left.node, Node::Var { slot, .. } if slot == wanted).then_some(right)
    }

    fn value_function(&mut self, function: ValueFunction, typmod: i32) {
        let Some(name) = value_function_name(function) else {
            self.failed = true;
            return;
        };
        self.push(name);
        if typmod >= 0 {
            self.push(&format!("({typmod})"));
        }
    }
}

fn value_function_name(function: ValueFunction) -> Option<&'static str> {
    Some(match function {
        ValueFunction::CurrentDate => "CURRENT_DATE",
        ValueFunction::CurrentTime => "CURRENT_TIME",
        ValueFunction::CurrentTimestamp => "CURRENT_TIMESTAMP",
        ValueFunction::LocalTime => "LOCALTIME",
        ValueFunction::LocalTimestamp => "LOCALTIMESTAMP",
        ValueFunction::CurrentRole => "CURRENT_ROLE",
        ValueFunction::CurrentUser => "CURRENT_USER",
        ValueFunction::User => "USER",
        ValueFunction::SessionUser => "SESSION_USER",
        ValueFunction::CurrentCatalog => "CURRENT_CATALOG",
        ValueFunction::CurrentSchema => "CURRENT_SCHEMA",
    })
}
