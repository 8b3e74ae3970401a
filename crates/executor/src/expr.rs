//! Expressions with all names and types settled.
//!
//! Each query of a statement has a *frame*: one row of slots, filled by its FROM items, its aggregates and its
//! set-returning functions as rows come by. A column is a frame's depth (0 is the outermost query) and a slot,
//! so a correlated subquery reads the frames of the queries around it.
//!
//! C counterpart: include/nodes/primnodes.h.

use std::rc::Rc;

use common::Oid;
use parser::ast::ValueFunction;
use types::Datum;
use types::parse_func::Resolved;

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Type of its value. [`types::oid::UNKNOWN`] for a constant that is still untyped.
    pub ty: Oid,
    /// Type modifier, -1 for none.
    pub typmod: i32,
    /// Where it begins in the source, for errors.
    pub loc: u32,
    /// What it is.
    pub node: Node,
}

/// The kinds of expressions.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "operands are named as in the grammar")]
pub enum Node {
    Const(Datum),
    /// `$n`, counted from 0.
    Param(usize),
    /// A slot of the frame at this depth.
    Var {
        depth: usize,
        slot: usize,
    },
    /// A call of a function or an operator.
    Call {
        call: Rc<Resolved>,
        args: Vec<Expr>,
    },
    /// To this expression's type and modifier.
    Coerce {
        arg: Box<Expr>,
        explicit: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    /// `CASE WHEN condition THEN result ...`
    Case {
        whens: Vec<(Expr, Expr)>,
        default: Option<Box<Expr>>,
    },
    /// `CASE arg WHEN value ...`: the argument goes to a slot that the conditions read.
    CaseArg {
        arg: Box<Expr>,
        depth: usize,
        slot: usize,
        case: Box<Expr>,
    },
    Coalesce(Vec<Expr>),
    MinMax {
        greatest: bool,
        args: Vec<Expr>,
    },
    /// NULL if `equal` holds, else the first argument (brought to the result's type already).
    NullIf {
        equal: Rc<Resolved>,
        left: Box<Expr>,
        right: Box<Expr>,
        result: Box<Expr>,
    },
    IsNull {
        arg: Box<Expr>,
        negated: bool,
    },
    IsBoolean {
        arg: Box<Expr>,
        value: Option<bool>,
        negated: bool,
    },
    /// `equal` decides unless one side is NULL.
    IsDistinct {
        equal: Rc<Resolved>,
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// `left op ANY|ALL (array)`; `elem` is the array's element type.
    OpArray {
        call: Rc<Resolved>,
        all: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// An array of these elements, or, if `nested`, of these arrays.
    Array {
        elem: Oid,
        items: Vec<Expr>,
        nested: bool,
    },
    Row {
        fields: Vec<Expr>,
        names: Vec<Rc<str>>,
    },
    /// Comparison of two rows, column by column.
    RowCompare {
        op: RowOp,
        pairs: Vec<(Expr, Expr)>,
        equal: Vec<Rc<Resolved>>,
        less: Vec<Rc<Resolved>>,
    },
    Subscript {
        arg: Box<Expr>,
        indexes: Vec<Expr>,
    },
    Slice {
        arg: Box<Expr>,
        bounds: Vec<(Option<Expr>, Option<Expr>)>,
    },
    Field {
        arg: Box<Expr>,
        index: usize,
    },
    ValueFunction {
        function: ValueFunction,
        typmod: i32,
    },
    /// A query as a value; the index of its plan in the statement.
    Sublink {
        plan: usize,
        kind: SublinkKind,
    },
}

/// How a comparison of rows works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operators' names")]
pub enum RowOp {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// How the rows of a subquery make a value.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain")]
pub enum SublinkKind {
    Exists,
    Scalar,
    /// All columns of the row as a record.
    Record,
    Array {
        elem: Oid,
    },
    /// `test op ANY|ALL (query)`: the row goes to the slots from `slot` on, where `condition` reads it.
    Quantified {
        all: bool,
        depth: usize,
        slot: usize,
        condition: Box<Expr>,
    },
}

impl Expr {
    /// An expression without a type modifier.
    pub fn new(ty: Oid, loc: u32, node: Node) -> Expr {
        Expr { ty, typmod: -1, loc, node }
    }

    /// A constant.
    pub fn constant(ty: Oid, loc: u32, value: Datum) -> Expr {
        Expr::new(ty, loc, Node::Const(value))
    }

    /// A NULL that has a type already.
    pub fn is_null_const(&self) -> bool {
        matches!(&self.node, Node::Const(value) if value.is_null())
    }

    /// Calls `visit` on each direct operand. Those of subqueries are not among them, but the test expression
    /// of a quantified one is.
    pub fn for_each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match &self.node {
            Node::Const(_) | Node::Param(_) | Node::Var { .. } | Node::ValueFunction { .. } => {}
            Node::Call { args, .. }
            | Node::And(args)
            | Node::Or(args)
            | Node::Coalesce(args)
            | Node::MinMax { args, .. }
            | Node::Array { items: args, .. }
            | Node::Row { fields: args, .. } => args.iter().for_each(visit),
            Node::Coerce { arg, .. }
            | Node::Not(arg)
            | Node::IsNull { arg, .. }
            | Node::IsBoolean { arg, .. }
            | Node::Field { arg, .. } => visit(arg),
            Node::Case { whens, default } => {
                for (condition, result) in whens {
                    visit(condition);
                    visit(result);
                }
                default.iter().for_each(|d| visit(d));
            }
            Node::CaseArg { arg, case, .. } => {
                visit(arg);
                visit(case);
            }
            Node::NullIf { left, right, result, .. } => {
                visit(left);
                visit(right);
                visit(result);
            }
            Node::IsDistinct { left, right, .. } | Node::OpArray { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Node::RowCompare { pairs, .. } => {
                for (left, right) in pairs {
                    visit(left);
                    visit(right);
                }
            }
            Node::Subscript { arg, indexes } => {
                visit(arg);
                indexes.iter().for_each(visit);
            }
            Node::Slice { arg, bounds } => {
                visit(arg);
                bounds.iter().flat_map(|(low, high)| low.iter().chain(high)).for_each(visit);
            }
            Node::Sublink { kind: SublinkKind::Quantified { condition, .. }, .. } => visit(condition),
            Node::Sublink { .. } => {}
        }
    }

    /// [`Expr::for_each_child`], for changing them.
    pub fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match &mut self.node {
            Node::Const(_) | Node::Param(_) | Node::Var { .. } | Node::ValueFunction { .. } => {}
            Node::Call { args, .. }
            | Node::And(args)
            | Node::Or(args)
            | Node::Coalesce(args)
            | Node::MinMax { args, .. }
            | Node::Array { items: args, .. }
            | Node::Row { fields: args, .. } => args.iter_mut().for_each(visit),
            Node::Coerce { arg, .. }
            | Node::Not(arg)
            | Node::IsNull { arg, .. }
            | Node::IsBoolean { arg, .. }
            | Node::Field { arg, .. } => visit(arg),
            Node::Case { whens, default } => {
                for (condition, result) in whens {
                    visit(condition);
                    visit(result);
                }
                default.iter_mut().for_each(|d| visit(d));
            }
            Node::CaseArg { arg, case, .. } => {
                visit(arg);
                visit(case);
            }
            Node::NullIf { left, right, result, .. } => {
                visit(left);
                visit(right);
                visit(result);
            }
            Node::IsDistinct { left, right, .. } | Node::OpArray { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Node::RowCompare { pairs, .. } => {
                for (left, right) in pairs {
                    visit(left);
                    visit(right);
                }
            }
            Node::Subscript { arg, indexes } => {
                visit(arg);
                indexes.iter_mut().for_each(visit);
            }
            Node::Slice { arg, bounds } => {
                visit(arg);
                bounds.iter_mut().flat_map(|(low, high)| low.iter_mut().chain(high)).for_each(visit);
            }
            Node::Sublink { kind: SublinkKind::Quantified { condition, .. }, .. } => visit(condition),
            Node::Sublink { .. } => {}
        }
    }

    /// Whether both compute the same from the same input, wherever they stand. C: `equal`.
    pub fn same(&self, other: &Expr) -> bool {
        if self.ty != other.ty || self.typmod != other.typmod || !self.node.same_kind(&other.node) {
            return false;
        }
        let mut mine = Vec::new();
        let mut theirs = Vec::new();
        self.for_each_child(&mut |child| mine.push(child));
        other.for_each_child(&mut |child| theirs.push(child));
        mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(a, b)| a.same(b))
    }
}

impl Node {
    /// Equality of everything but the operands.
    fn same_kind(&self, other: &Node) -> bool {
        let function = |call: &Resolved| (call.function().map(|f| f.oid), call.ret);
        match (self, other) {
            (Node::Const(a), Node::Const(b)) => format!("{a:?}") == format!("{b:?}"),
            (Node::Param(a), Node::Param(b)) => a == b,
            (Node::Var { depth: a, slot: b }, Node::Var { depth: c, slot: d }) => (a, b) == (c, d),
            (Node::Call { call: a, .. }, Node::Call { call: b, .. })
            | (Node::NullIf { equal: a, .. }, Node::NullIf { equal: b, .. }) => function(a) == function(b),
            (Node::Coerce { explicit: a, .. }, Node::Coerce { explicit: b, .. }) => a == b,
            (Node::MinMax { greatest: a, .. }, Node::MinMax { greatest: b, .. }) => a == b,
            (Node::Case { default: a, .. }, Node::Case { default: b, .. }) => a.is_some() == b.is_some(),
            (Node::IsNull { negated: a, .. }, Node::IsNull { negated: b, .. }) => a == b,
            (Node::IsBoolean { value: a, negated: b, .. }, Node::IsBoolean { value: c, negated: d, .. }) => {
                (a, b) == (c, d)
            }
            (
                Node::IsDistinct { equal: a, negated: b, .. },
                Node::IsDistinct { equal: c, negated: d, .. },
            ) => function(a) == function(c) && b == d,
            (Node::OpArray { call: a, all: b, .. }, Node::OpArray { call: c, all: d, .. }) => {
                function(a) == function(c) && b == d
            }
            (Node::Array { nested: a, .. }, Node::Array { nested: b, .. }) => a == b,
            (Node::RowCompare { op: a, .. }, Node::RowCompare { op: b, .. }) => a == b,
            (Node::Slice { .. }, Node::Slice { .. }) => false,
            (Node::Field { index: a, .. }, Node::Field { index: b, .. }) => a == b,
            (
                Node::ValueFunction { function: a, typmod: b },
                Node::ValueFunction { function: c, typmod: d },
            ) => (a, b) == (c, d),
            (Node::And(_), Node::And(_))
            | (Node::Or(_), Node::Or(_))
            | (Node::Not(_), Node::Not(_))
            | (Node::Coalesce(_), Node::Coalesce(_))
            | (Node::Row { .. }, Node::Row { .. })
            | (Node::Subscript { .. }, Node::Subscript { .. }) => true,
            // Subqueries and CASE with an argument are never taken for the same.
            _ => false,
        }
    }
}
