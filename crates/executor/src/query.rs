//! A query with all names and types settled: what `analyze` makes and the executor runs.
//!
//! C counterpart: `Query`, `RangeTblEntry`, `SetOperationStmt` of include/nodes/parsenodes.h, and the plan nodes
//! of plannodes.h, since there is no choice of plans to make yet.

use std::ops::Range;
use std::rc::Rc;

use common::Oid;
use heap::SystemAttribute;
use parser::ast::{JoinKind, LockStrength, LockWait, SetOp, TableLockMode};
use types::fmgr::Builtin;
use types::parse_func::Resolved;

use crate::env::VirtualRelation;
use crate::expr::Expr;
use crate::table::TableInfo;

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
    /// Rows to lock. Behind the columns of each row are then all the slots of FROM.
    pub row_locks: Vec<RowLock>,
    /// The number of those slots.
    pub lock_width: usize,
    /// All conditions that a row has to meet, to be asked again about a newer version of a locked row.
    pub recheck: Option<Expr>,
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

/// Which rows a query locks: FOR UPDATE and its kin. C: `PlanRowMark`.
#[derive(Clone, Debug)]
pub struct RowLock {
    /// The table.
    pub table: Rc<TableInfo>,
    /// First slot of its columns in the query's frame.
    pub base: usize,
    /// How strongly.
    pub strength: LockStrength,
    /// What to do about rows that others have locked.
    pub wait: LockWait,
}

/// INSERT, UPDATE or DELETE on one table. C: `ModifyTable`.
#[derive(Clone, Debug)]
pub struct Modify {
    /// The table.
    pub table: Rc<TableInfo>,
    /// What to do.
    pub action: Action,
    /// First slot of the new row (INSERT, UPDATE) or of the old one (DELETE): what CHECK and RETURNING read.
    /// The slots of the system columns follow those of the columns.
    pub base: usize,
    /// Columns (indexes from 0) that must not be NULL.
    pub not_null: Vec<usize>,
    /// CHECK constraints: name and condition over the new row.
    pub checks: Vec<(Rc<str>, Expr)>,
    /// RETURNING; without it there are no rows.
    pub returning: Option<Vec<Expr>>,
    /// RETURNING reads a system column.
    pub returns_system: bool,
}

/// What a [`Modify`] does.
#[derive(Clone, Debug)]
pub enum Action {
    /// INSERT.
    Insert {
        /// The rows; `None` for one row of defaults.
        source: Option<Rc<Query>>,
        /// For each column where its value comes from.
        values: Vec<InsertValue>,
        /// First slot for the source's row, if a value is computed from it.
        source_base: Option<usize>,
    },
    /// UPDATE: the new row's columns are the first targets of this, by number.
    Update(Rc<ChangeSource>),
    /// DELETE.
    Delete(Rc<ChangeSource>),
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub enum InsertValue {
    /// This column of the source.
    Column(usize),
    /// The column's default, or NULL.
    Value(Expr),
}

/// The rows to be changed.
#[derive(Clone, Debug)]
pub struct ChangeSource {
    /// FROM with the table in it, WHERE, and as targets the new row. Neither groups nor sets.
    pub select: Rc<Select>,
    /// First slot of the old row.
    pub old_base: usize,
    /// All conditions that a row has to meet, to be asked again about a newer version of it.
    pub recheck: Option<Expr>,
}

/// A scan of a table. C: `SeqScan`, `TidScan`.
#[derive(Clone, Debug)]
pub struct TableScan {
    /// What it is called here.
    pub alias: String,
    /// First slot; the system columns follow the columns.
    pub base: usize,
    /// The table.
    pub table: Rc<TableInfo>,
    /// Columns (indexes from 0) that someone reads; set when the plan is made.
    pub needed: Vec<usize>,
    /// System columns that someone reads.
    pub needed_system: Vec<SystemAttribute>,
    /// Conditions on this table alone; set when the plan is made.
    pub filter: Option<Expr>,
    /// `ctid = ...`: only these addresses are looked at.
    pub tids: Option<Vec<Expr>>,
    /// UPDATE, DELETE or FOR UPDATE works on its rows.
    pub is_target: bool,
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
    /// INSERT, UPDATE, DELETE; the rows are those of RETURNING.
    Modify(Rc<Modify>),
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
    /// A table.
    Table(Rc<TableScan>),
    /// Rows of an item that meet a condition; made when the plan is made.
    Filter(Rc<(From, Expr)>),
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
    /// Slots of the right side that someone reads, which is what is kept of its rows; set when the plan is made.
    pub right_needed: Vec<usize>,
    /// Equalities of the two sides, to find partners by; set when the plan is made. They are no longer in `on`.
    pub hash: Vec<HashKey>,
}

/// An equality of a join that partners are found by. C: `hashclauses`.
#[derive(Clone, Debug)]
pub struct HashKey {
    /// Over the left side.
    pub left: Expr,
    /// Over the right side.
    pub right: Expr,
    /// By the rules of this type; both sides are brought to bigint if it is that.
    pub ty: Oid,
    /// The equality, for showing it.
    pub condition: Expr,
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
    /// It changes data, so it runs to its end whether or not someone reads its rows.
    pub modifies: bool,
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
    /// The tables, with the locks that a run of it needs. C: `rtable`, `lockrels`.
    pub tables: Vec<(Rc<TableInfo>, TableLockMode)>,
    /// The command as tags and messages name it: `SELECT`, `INSERT`, `SELECT FOR UPDATE`.
    pub command: &'static str,
    /// It changes rows, at any level.
    pub modifies: bool,
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
        self.offset.iter().chain(&self.limit).chain(&self.recheck).for_each(&mut *visit);
        match &self.body {
            Body::Values(rows) => rows.iter().flatten().for_each(visit),
            Body::SetOp(set) => {
                set.left.for_each_expr(visit);
                set.right.for_each_expr(visit);
            }
            Body::Select(select) => select.for_each_expr(visit),
            Body::Modify(modify) => modify.for_each_expr(visit),
        }
    }

    /// [`Query::for_each_expr`], for changing them.
    pub fn for_each_expr_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        self.offset.iter_mut().chain(&mut self.limit).chain(&mut self.recheck).for_each(&mut *visit);
        match &mut self.body {
            Body::Values(rows) => Rc::make_mut(rows).iter_mut().flatten().for_each(visit),
            Body::SetOp(set) => {
                let set = Rc::make_mut(set);
                set.left.for_each_expr_mut(visit);
                set.right.for_each_expr_mut(visit);
            }
            Body::Select(select) => Rc::make_mut(select).for_each_expr_mut(visit),
            Body::Modify(modify) => Rc::make_mut(modify).for_each_expr_mut(visit),
        }
    }
}

impl Modify {
    fn for_each_expr(&self, visit: &mut dyn FnMut(&Expr)) {
        self.checks.iter().for_each(|(_, check)| visit(check));
        self.returning.iter().flatten().for_each(&mut *visit);
        match &self.action {
            Action::Insert { source, values, .. } => {
                source.iter().for_each(|query| query.for_each_expr(visit));
                for value in values {
                    if let InsertValue::Value(expr) = value {
                        visit(expr);
                    }
                }
            }
            Action::Update(change) | Action::Delete(change) => {
                change.recheck.iter().for_each(&mut *visit);
                change.select.for_each_expr(visit);
            }
        }
    }

    fn for_each_expr_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        self.checks.iter_mut().for_each(|(_, check)| visit(check));
        self.returning.iter_mut().flatten().for_each(&mut *visit);
        match &mut self.action {
            Action::Insert { source, values, .. } => {
                source.iter_mut().for_each(|query| Rc::make_mut(query).for_each_expr_mut(visit));
                for value in values {
                    if let InsertValue::Value(expr) = value {
                        visit(expr);
                    }
                }
            }
            Action::Update(change) | Action::Delete(change) => {
                let change = Rc::make_mut(change);
                change.recheck.iter_mut().for_each(&mut *visit);
                Rc::make_mut(&mut change.select).for_each_expr_mut(visit);
            }
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
                join.on.iter().for_each(&mut *visit);
                join.hash.iter().for_each(|key| visit(&key.condition));
                join.hash.iter().flat_map(|key| [&key.left, &key.right]).for_each(visit);
            }
            From::Table(scan) => {
                scan.filter.iter().chain(scan.tids.iter().flatten()).for_each(visit);
            }
            From::Filter(filter) => {
                filter.0.for_each_expr(visit);
                visit(&filter.1);
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
                join.on.iter_mut().for_each(&mut *visit);
                join.hash.iter_mut().flat_map(|key| [&mut key.left, &mut key.right]).for_each(visit);
            }
            From::Table(scan) => {
                let scan = Rc::make_mut(scan);
                scan.filter.iter_mut().chain(scan.tids.iter_mut().flatten()).for_each(visit);
            }
            From::Filter(filter) => {
                let filter = Rc::make_mut(filter);
                filter.0.for_each_expr_mut(visit);
                visit(&mut filter.1);
            }
            From::Relation { .. } | From::Cte { .. } => {}
        }
    }
}
