//! What the grammar produces: statements and expressions, nothing looked up yet.
//!
//! Locations are byte offsets into the source text; [`crate::char_position`] turns one into what clients see.
//!
//! C counterpart: include/nodes/parsenodes.h and primnodes.h.

/// A byte offset into the source text. C: the `location` fields.
pub type Loc = u32;

/// A possibly qualified name, outermost part first.
pub type Name = Vec<String>;

/// An expression with its place. C: the nodes that `a_expr` can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What an error about it points at.
    pub loc: Loc,
    /// Longest way down to a leaf. Kept below [`crate::MAX_HEIGHT`], so that a recursive walk (and the drop
    /// that the compiler writes) cannot exhaust the stack.
    pub(crate) height: u16,
    /// What it is.
    pub kind: ExprKind,
}

impl Expr {
    /// A leaf.
    pub fn new(loc: Loc, kind: ExprKind) -> Expr {
        Expr { loc, height: 0, kind }
    }
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "operands are named as the grammar names them")]
pub enum ExprKind {
    /// An integer constant that fits.
    Integer(i32),
    /// Any other number, as written.
    Float(String),
    /// A string constant, of type unknown.
    String(String),
    /// `B'...'` or `X'...'`: the digits after a `b` or an `x`.
    BitString(String),
    Boolean(bool),
    Null,
    /// `$n`
    Param(u32),
    /// `a.b.c`; a trailing `*` is [`ExprKind::Star`] with the qualifiers.
    Column(Name),
    /// `*`, `t.*`
    Star(Name),
    /// DEFAULT in VALUES or SET.
    Default,
    Function(Box<FunctionCall>),
    /// A binary or (without `left`) prefix operator; `loc` is the operator's.
    Op {
        name: Name,
        left: Option<Box<Expr>>,
        right: Box<Expr>,
    },
    /// `left op ANY|ALL (array)`
    OpArray {
        name: Name,
        all: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Cast {
        arg: Box<Expr>,
        type_name: Box<TypeName>,
    },
    Case {
        arg: Option<Box<Expr>>,
        whens: Vec<(Expr, Expr)>,
        default: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    /// GREATEST or LEAST.
    MinMax {
        greatest: bool,
        args: Vec<Expr>,
    },
    NullIf(Box<Expr>, Box<Expr>),
    IsNull {
        arg: Box<Expr>,
        negated: bool,
    },
    /// IS (or IS NOT) TRUE, FALSE (`Some`) or UNKNOWN (`None`).
    IsBoolean {
        arg: Box<Expr>,
        value: Option<bool>,
        negated: bool,
    },
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    InList {
        left: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    Between {
        arg: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        symmetric: bool,
        negated: bool,
    },
    /// LIKE (`~~`), ILIKE (`~~*`), SIMILAR TO (`~`), already as the operator they stand for; `right` has the
    /// escape worked in.
    Like {
        kind: LikeKind,
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    Array(Vec<Expr>),
    Row {
        fields: Vec<Expr>,
        /// Written `ROW(...)`, not just `(..., ...)`.
        explicit: bool,
    },
    /// `arg[...]` and `(arg).field`.
    Indirection {
        arg: Box<Expr>,
        steps: Vec<Indirection>,
    },
    Collate {
        arg: Box<Expr>,
        collation: Name,
    },
    /// CURRENT_DATE and the like.
    ValueFunction {
        function: ValueFunction,
        precision: Option<i32>,
    },
    Sublink(Box<Sublink>),
    /// What the grammar knows but nothing behind it does.
    Unsupported(&'static str),
}

/// Which pattern match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum LikeKind {
    Like,
    ILike,
    Similar,
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named as in the grammar")]
pub enum Indirection {
    Field(String),
    Star,
    Subscript(Expr),
    Slice(Option<Expr>, Option<Expr>),
}

/// The functions that SQL spells without parentheses. C: `SQLValueFunctionOp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum ValueFunction {
    CurrentDate,
    CurrentTime,
    CurrentTimestamp,
    LocalTime,
    LocalTimestamp,
    CurrentRole,
    CurrentUser,
    User,
    SessionUser,
    CurrentCatalog,
    CurrentSchema,
}

/// A query within an expression. C: `SubLink`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sublink {
    /// How its rows are used.
    pub kind: SublinkKind,
    /// The query.
    pub query: SelectStmt,
}

/// How a sublink's rows are used.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "operands are named as the grammar names them")]
pub enum SublinkKind {
    Exists,
    /// `(SELECT ...)` as a value.
    Scalar,
    /// `ARRAY(SELECT ...)`
    Array,
    /// `test op ANY|ALL (SELECT ...)`; `name` is empty for IN. `op_loc` is the operator's.
    Quantified {
        test: Box<Expr>,
        name: Name,
        all: bool,
        negated: bool,
        op_loc: Loc,
    },
}

/// A function call. C: `FuncCall`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses of a call under their own names")]
pub struct FunctionCall {
    pub name: Name,
    pub args: Vec<Expr>,
    /// For each argument its name, if any has one.
    pub arg_names: Vec<Option<String>>,
    pub star: bool,
    pub distinct: bool,
    pub variadic: bool,
    pub order_by: Vec<SortBy>,
    pub within_group: bool,
    pub filter: Option<Box<Expr>>,
    pub over: bool,
    /// Came from SQL's special syntax, such as EXTRACT(x FROM y).
    pub sql_syntax: bool,
}

impl FunctionCall {
    /// A plain call.
    pub fn simple(name: Name, args: Vec<Expr>) -> FunctionCall {
        FunctionCall {
            name,
            args,
            arg_names: Vec::new(),
            star: false,
            distinct: false,
            variadic: false,
            order_by: Vec::new(),
            within_group: false,
            filter: None,
            over: false,
            sql_syntax: false,
        }
    }
}

/// A type as written. C: `TypeName`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeName {
    /// Where it begins.
    pub loc: Loc,
    /// The name; SQL's own spellings are already `pg_catalog.int4` and so on.
    pub name: Name,
    /// Modifiers: constants, for INTERVAL a field mask first.
    pub typmods: Vec<Expr>,
    /// Dimensions of an array type; 0 if it is none.
    pub array_dims: u32,
    /// SETOF was given.
    pub setof: bool,
}

/// ORDER BY one expression.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct SortBy {
    pub expr: Expr,
    pub direction: SortDirection,
    pub nulls_first: Option<bool>,
}

/// Which way.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum SortDirection {
    Default,
    Asc,
    Desc,
    Using(Name),
}

/// SELECT, VALUES, TABLE or a combination of them, with what may stand around it. C: `SelectStmt`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct SelectStmt {
    pub loc: Loc,
    pub with: Option<WithClause>,
    pub body: SelectBody,
    pub order_by: Vec<SortBy>,
    pub offset: Option<Expr>,
    pub limit: Option<Expr>,
    /// FETCH FIRST ... WITH TIES
    pub with_ties: bool,
    /// FOR UPDATE and the like.
    pub locking: Vec<LockingClause>,
}

/// The part between WITH and ORDER BY.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub enum SelectBody {
    Simple(Box<SimpleSelect>),
    Values(Vec<Vec<Expr>>),
    SetOperation { op: SetOp, all: bool, left: Box<SelectStmt>, right: Box<SelectStmt> },
}

/// Which set operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum SetOp {
    Union,
    Intersect,
    Except,
}

impl SetOp {
    /// The word that error messages use.
    pub fn word(self) -> &'static str {
        match self {
            SetOp::Union => "UNION",
            SetOp::Intersect => "INTERSECT",
            SetOp::Except => "EXCEPT",
        }
    }
}

/// SELECT ... HAVING.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct SimpleSelect {
    pub distinct: Option<Distinct>,
    pub targets: Vec<Target>,
    /// SELECT ... INTO.
    pub into: Option<IntoClause>,
    pub from: Vec<FromItem>,
    pub where_clause: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub having: Option<Expr>,
    /// A WINDOW clause is there.
    pub has_windows: bool,
}

/// DISTINCT.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub enum Distinct {
    All,
    On(Vec<Expr>),
}

/// An output column. C: `ResTarget`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub struct Target {
    pub expr: Expr,
    pub label: Option<String>,
}

/// WITH.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct WithClause {
    pub loc: Loc,
    pub recursive: bool,
    pub ctes: Vec<CommonTableExpr>,
}

/// One query of WITH.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CommonTableExpr {
    pub loc: Loc,
    pub name: String,
    pub columns: Vec<String>,
    pub query: Box<Statement>,
}

/// A table's name as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeVar {
    /// Where it begins.
    pub loc: Loc,
    /// catalog.schema.name, as much of it as was given.
    pub name: Name,
    /// Tables that inherit from it are meant, too: ONLY was not given.
    pub inherit: bool,
}

impl RangeVar {
    /// Database, schema and name.
    pub fn parts(&self) -> (Option<&str>, Option<&str>, &str) {
        match self.name.as_slice() {
            [catalog, schema, name, ..] => (Some(catalog), Some(schema), name),
            [schema, name] => (None, Some(schema), name),
            [name] => (None, None, name),
            [] => (None, None, ""),
        }
    }
}

/// An alias for a FROM item, with names for its columns.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub struct Alias {
    pub name: String,
    pub columns: Vec<String>,
}

/// An item of FROM.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub enum FromItem {
    Table {
        relation: RangeVar,
        alias: Option<Alias>,
    },
    Function {
        lateral: bool,
        /// One, or several with ROWS FROM; each may have a column definition list.
        functions: Vec<(Expr, Vec<ColumnDef>)>,
        ordinality: bool,
        alias: Option<Alias>,
        /// `AS (a int, ...)` of a single function.
        coldefs: Vec<ColumnDef>,
        loc: Loc,
    },
    Subquery {
        lateral: bool,
        query: Box<SelectStmt>,
        alias: Alias,
        loc: Loc,
    },
    Join(Box<Join>),
    Unsupported {
        what: &'static str,
        loc: Loc,
    },
}

/// A name and a type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub struct ColumnDef {
    pub name: String,
    pub type_name: TypeName,
}

/// Two FROM items joined.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct Join {
    pub kind: JoinKind,
    pub natural: bool,
    pub left: FromItem,
    pub right: FromItem,
    pub using: Vec<(String, Loc)>,
    pub on: Option<Expr>,
    pub alias: Option<Alias>,
}

/// Which rows without a partner remain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

pub use crate::statement::*;
pub use crate::table_stmt::*;
