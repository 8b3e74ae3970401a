//! A query with all names and types settled: what `analyze` makes and the executor runs.
//!
//! C counterpart: `Query`, `RangeTblEntry`, `SetOperationStmt` of include/nodes/parsenodes.h, and the plan nodes
//! of plannodes.h, since there is no choice of plans to make yet.

use std::ops::Range;
use std::rc::Rc;

use common::Oid;
use parser::ast::{JoinKind, SetOp};
use types::fmgr::Builtin;
use types::parse_func::Resolved;

use crate::env::VirtualRelation;
use crate::expr::Expr;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Oid,
    /// Its type modifier, -1 for none.
    pub typmod: i32,
}

/// A query and everything around its rows, applied in the order of the fields.
#[derive(Clone, Debug)]
pub struct Query {
    /// Nesting: which frame is its own.
    pub depth: usize,
    /// Slots of its frame.
    pub width: usize,
    /// Common table expressions that it defines, to be forgotten when it starts over.
    pub ctes: Range<usize>,
    /// Where its rows come from.
    pub body: Body,
    /// Columns to be distinct in; all rows if they come from DISTINCT, the first of each if DISTINCT ON.
    pub distinct: Option<Vec<SortKey>>,
    /// How to sort.
    pub order: Vec<SortKey>,
    /// Rows to skip.
    pub offset: Option<Expr>,
    /// Rows to return at most.
    pub limit: Option<Expr>,
    /// Return rows that tie with the last.
    pub with_ties: bool,
    /// What the outside sees: the first columns of each row; more may follow for sorting.
    pub columns: Vec<Column>,
}

/// A column of the row to compare by.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// Which column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else.
    pub nulls_first: bool,
    /// Its type.
    pub ty: Oid,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum Body {
    /// SELECT.
    Select(Rc<Select>),
    /// VALUES.
    Values(Rc<Vec<Vec<Expr>>>),
    /// UNION, INTERSECT, EXCEPT; the keys span the whole row.
    SetOp(Rc<SetOperation>),
}

/// Two queries put together.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct SetOperation {
    pub op: SetOp,
    pub all: bool,
    pub left: Query,
    pub right: Query,
    pub keys: Vec<SortKey>,
}

/// SELECT, its clauses in the order in which they act.
#[derive(Clone, Debug)]
pub struct Select {
    /// FROM; without it there is one empty row.
    pub from: Option<From>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY and aggregates.
    pub aggregate: Option<Aggregate>,
    /// HAVING.
    pub having: Option<Expr>,
    /// Set-returning functions of the target list; each level may use those before it.
    pub set_levels: Vec<Vec<SetCall>>,
    /// The row, hidden columns for sorting included.
    pub targets: Vec<Expr>,
}

/// A set-returning function in a target list.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct SetCall {
    pub call: Rc<Resolved>,
    pub args: Vec<Expr>,
    /// Where its value of the moment goes.
    pub slot: usize,
    /// Its columns become one record.
    pub as_record: bool,
}

/// Grouping.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// What to group by; each value goes to its slot.
    pub keys: Vec<(Expr, usize)>,
    /// What to compute per group.
    pub calls: Vec<AggregateCall>,
}

/// One aggregate.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct AggregateCall {
    pub function: &'static Builtin,
    pub call: Rc<Resolved>,
    pub args: Vec<Expr>,
    /// Sorting within the aggregate: expressions behind the arguments.
    pub order: Vec<(Expr, SortKey)>,
    /// DISTINCT arguments, with how to tell them apart.
    pub distinct: Option<Vec<SortKey>>,
    pub filter: Option<Expr>,
    pub slot: usize,
}

/// An item of FROM. Each writes its columns to slots of the query's frame.
#[derive(Clone, Debug)]
pub enum From {
    /// Functions side by side.
    Function(Rc<FunctionScan>),
    /// A relation that the server answers.
    Relation {
        /// What it is called here.
        alias: String,
        /// First slot.
        base: usize,
        /// The relation.
        relation: Rc<VirtualRelation>,
    },
    /// A subquery.
    Subquery {
        /// What it is called here.
        alias: String,
        /// First slot.
        base: usize,
        /// The query.
        query: Rc<Query>,
        /// It reads items to its left, and starts over for each of their rows.
        lateral: bool,
    },
    /// A query of WITH, or the rows of its last round within itself.
    Cte {
        /// What it is called here.
        alias: String,
        /// First slot.
        base: usize,
        /// Number of columns.
        width: usize,
        /// Which one of the statement's.
        id: usize,
        /// The reference of a recursive query to itself.
        working: bool,
    },
    /// Two items.
    Join(Rc<Join>),
}

/// Functions in FROM.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct FunctionScan {
    pub alias: String,
    pub base: usize,
    pub functions: Vec<ScannedFunction>,
    pub ordinality: bool,
    /// Its arguments read other items.
    pub lateral: bool,
}

/// What a function in FROM is.
#[derive(Clone, Debug)]
pub enum FunctionSource {
    /// A call that may return a set.
    Call(Rc<Resolved>, Vec<Expr>),
    /// A value, which makes one row.
    Value(Expr),
}

impl FunctionSource {
    /// The arguments, or the value.
    pub fn exprs(&self) -> &[Expr] {
        match self {
            FunctionSource::Call(_, args) => args,
            FunctionSource::Value(value) => std::slice::from_ref(value),
        }
    }

    /// [`FunctionSource::exprs`], for changing them.
    pub fn exprs_mut(&mut self) -> &mut [Expr] {
        match self {
            FunctionSource::Call(_, args) => args,
            FunctionSource::Value(value) => std::slice::from_mut(value),
        }
    }
}

/// One function in FROM.
#[derive(Clone, Debug)]
pub struct ScannedFunction {
    /// Where its rows come from.
    pub source: FunctionSource,
    /// Number of columns.
    pub width: usize,
    /// Its value is a record to be taken apart.
    pub expand_record: bool,
    /// Name of the function.
    pub name: String,
}

/// A join.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct Join {
    pub kind: JoinKind,
    pub left: From,
    pub right: From,
    pub on: Option<Expr>,
    pub left_slots: Range<usize>,
    pub right_slots: Range<usize>,
    /// The right side depends on the left.
    pub lateral: bool,
}

/// A query of WITH.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub struct Cte {
    pub name: String,
    /// The query; of a recursive one the part to begin with.
    pub query: Rc<Query>,
    /// The part that repeats, and whether duplicates stay.
    pub recursive: Option<(Rc<Query>, bool)>,
    /// How rows are told apart in a recursive UNION.
    pub keys: Vec<SortKey>,
    pub columns: Vec<Column>,
}

/// A query in an expression.
#[derive(Clone, Debug)]
pub struct SubPlan {
    /// The query.
    pub query: Rc<Query>,
    /// It reads frames of other queries, so its result cannot be kept.
    pub correlated: bool,
}

/// A statement with all names and types settled.
#[derive(Clone, Debug)]
pub struct Analyzed {
    /// The outermost query.
    pub query: Query,
    /// All queries of WITH, at every level.
    pub ctes: Vec<Cte>,
    /// All queries in expressions.
    pub subplans: Vec<SubPlan>,
    /// Types of the parameters.
    pub param_types: Vec<Oid>,
}

impl Analyzed {
    /// The columns of the result.
    pub fn columns(&self) -> &[Column] {
        &self.query.columns
    }
}

impl Query {
    /// Calls `visit` on each expression of the query and the queries in its FROM and set operations (but not on
    /// those in expressions).
    pub fn for_each_expr(&self, visit: &mut dyn FnMut(&Expr)) {
        self.offset.iter().chain(&self.limit).for_each(&mut *visit);
        match &self.body {
            Body::Values(rows) => rows.iter().flatten().for_each(visit),
            Body::SetOp(set) => {
                set.left.for_each_expr(visit);
                set.right.for_each_expr(visit);
            }
            Body::Select(select) => select.for_each_expr(visit),
        }
    }

    /// [`Query::for_each_expr`], for changing them.
    pub fn for_each_expr_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        self.offset.iter_mut().chain(&mut self.limit).for_each(&mut *visit);
        match &mut self.body {
            Body::Values(rows) => Rc::make_mut(rows).iter_mut().flatten().for_each(visit),
            Body::SetOp(set) => {
                let set = Rc::make_mut(set);
                set.left.for_each_expr_mut(visit);
                set.right.for_each_expr_mut(visit);
            }
            Body::Select(select) => Rc::make_mut(select).for_each_expr_mut(visit),
        }
    }
}

impl Select {
    fn for_each_expr(&self, visit: &mut dyn FnMut(&Expr)) {
        if let Some(from) = &self.from {
            from.for_each_expr(visit);
        }
        self.filter.iter().chain(&self.having).chain(&self.targets).for_each(&mut *visit);
        if let Some(aggregate) = &self.aggregate {
            aggregate.keys.iter().for_each(|key| visit(&key.0));
            for call in &aggregate.calls {
                call.args.iter().chain(&call.filter).for_each(&mut *visit);
                call.order.iter().for_each(|(expr, _)| visit(expr));
            }
        }
        self.set_levels.iter().flatten().flat_map(|set| &set.args).for_each(visit);
    }

    fn for_each_expr_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        if let Some(from) = &mut self.from {
            from.for_each_expr_mut(visit);
        }
        self.filter.iter_mut().chain(&mut self.having).chain(&mut self.targets).for_each(&mut *visit);
        if let Some(aggregate) = &mut self.aggregate {
            aggregate.keys.iter_mut().for_each(|key| visit(&mut key.0));
            for call in &mut aggregate.calls {
                call.args.iter_mut().chain(&mut call.filter).for_each(&mut *visit);
                call.order.iter_mut().for_each(|(expr, _)| visit(expr));
            }
        }
        self.set_levels.iter_mut().flatten().flat_map(|set| &mut set.args).for_each(visit);
    }
}

impl From {
    /// Calls `visit` on each expression of the item.
    pub fn for_each_expr(&self, visit: &mut dyn FnMut(&Expr)) {
        match self {
            From::Function(scan) => {
                scan.functions.iter().flat_map(|f| f.source.exprs()).for_each(visit);
            }
            From::Subquery { query, .. } => query.for_each_expr(visit),
            From::Join(join) => {
                join.left.for_each_expr(visit);
                join.right.for_each_expr(visit);
                join.on.iter().for_each(visit);
            }
            From::Relation { .. } | From::Cte { .. } => {}
        }
    }

    fn for_each_expr_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match self {
            From::Function(scan) => {
                let functions = &mut Rc::make_mut(scan).functions;
                functions.iter_mut().flat_map(|f| f.source.exprs_mut()).for_each(visit);
            }
            From::Subquery { query, .. } => Rc::make_mut(query).for_each_expr_mut(visit),
            From::Join(join) => {
                let join = Rc::make_mut(join);
                join.left.for_each_expr_mut(visit);
                join.right.for_each_expr_mut(visit);
                join.on.iter_mut().for_each(visit);
            }
            From::Relation { .. } | From::Cte { .. } => {}
        }
    }
}
