//! The statements about tables: CREATE TABLE and its kin, DROP, TRUNCATE, COPY, LOCK.
//!
//! Constructs that nothing behind the grammar knows yet (foreign keys, partitions) are kept by name and place, so
//! that whoever runs the statement can refuse them as what they are.
//!
//! C counterpart: `CreateStmt`, `ColumnDef`, `Constraint`, `IntoClause`, `DropStmt`, `TruncateStmt`, `CopyStmt`,
//! `LockStmt` of include/nodes/parsenodes.h.

use crate::ast::{DefElem, Expr, Loc, Name, RangeVar, RoleSpec, SelectBody, Statement, TypeName};

/// How long a table's contents live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persistence {
    /// An ordinary table. C: `RELPERSISTENCE_PERMANENT`.
    #[default]
    Permanent,
    /// TEMPORARY.
    Temporary,
    /// UNLOGGED.
    Unlogged,
}

/// CREATE TABLE.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CreateTableStmt {
    pub relation: RangeVar,
    pub persistence: Persistence,
    pub if_not_exists: bool,
    /// Columns, constraints and LIKE clauses, in the order written.
    pub elements: Vec<TableElement>,
    pub inherits: Vec<RangeVar>,
    /// PARTITION BY, PARTITION OF, OF type: which, and where it is written.
    pub unsupported: Option<(&'static str, Loc)>,
    /// Storage parameters; a qualified name is written with its dot.
    pub options: Vec<DefElem>,
    pub on_commit: Option<OnCommit>,
    pub tablespace: Option<String>,
    pub access_method: Option<String>,
}

/// What the parentheses of CREATE TABLE hold.
#[derive(Clone, Debug, PartialEq)]
pub enum TableElement {
    /// A column.
    Column(TableColumn),
    /// A constraint of the table.
    Constraint(Constraint),
    /// LIKE another table, with the options INCLUDING (true) and EXCLUDING (false).
    Like(RangeVar, Vec<(String, bool)>),
}

/// A column of CREATE TABLE. C: `ColumnDef`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct TableColumn {
    pub loc: Loc,
    pub name: String,
    pub type_name: TypeName,
    /// COMPRESSION method; `default` for DEFAULT.
    pub compression: Option<String>,
    pub collation: Option<(Name, Loc)>,
    pub constraints: Vec<Constraint>,
    /// The first DEFERRABLE (or NOT DEFERRABLE, INITIALLY ...) that belongs to no constraint: 42601 `misplaced
    /// DEFERRABLE clause` at its place. C: `transformConstraintAttrs`.
    pub misplaced: Option<(&'static str, Loc)>,
}

/// A constraint of a column or a table. C: `Constraint`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct Constraint {
    /// Of CONSTRAINT or, without it, of the constraint itself.
    pub loc: Loc,
    pub name: Option<String>,
    pub kind: ConstraintKind,
    /// DEFERRABLE (true) or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
    /// INITIALLY DEFERRED (true) or INITIALLY IMMEDIATE.
    pub initially_deferred: Option<bool>,
    pub not_valid: bool,
    pub no_inherit: bool,
}

/// An expression with its own text, which is what the catalog keeps of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceExpr {
    /// The expression; its places count in the statement's source.
    pub expr: Expr,
    /// As written, without blanks around it.
    pub text: String,
}

/// Which constraint.
#[derive(Clone, Debug, PartialEq)]
pub enum ConstraintKind {
    /// NOT NULL.
    NotNull,
    /// NULL.
    Null,
    /// DEFAULT.
    Default(SourceExpr),
    /// CHECK.
    Check(SourceExpr),
    /// PRIMARY KEY, with the columns of a table constraint.
    PrimaryKey(Vec<String>),
    /// UNIQUE, with the columns of a table constraint.
    Unique(Vec<String>),
    /// REFERENCES or FOREIGN KEY: the table referred to.
    ForeignKey(RangeVar),
    /// GENERATED ALWAYS AS (expression) STORED.
    Generated(SourceExpr),
    /// GENERATED ... AS IDENTITY; true for ALWAYS.
    Identity(bool),
    /// EXCLUDE.
    Exclude,
}

impl ConstraintKind {
    /// The words that a refusal names it by.
    pub fn words(&self) -> &'static str {
        match self {
            ConstraintKind::NotNull => "NOT NULL",
            ConstraintKind::Null => "NULL",
            ConstraintKind::Default(_) => "DEFAULT",
            ConstraintKind::Check(_) => "CHECK",
            ConstraintKind::PrimaryKey(_) => "PRIMARY KEY",
            ConstraintKind::Unique(_) => "UNIQUE",
            ConstraintKind::ForeignKey(_) => "FOREIGN KEY",
            ConstraintKind::Generated(_) => "GENERATED ALWAYS AS (...) STORED",
            ConstraintKind::Identity(_) => "GENERATED AS IDENTITY",
            ConstraintKind::Exclude => "EXCLUDE",
        }
    }
}

/// What happens to a temporary table at commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum OnCommit {
    PreserveRows,
    DeleteRows,
    Drop,
}

/// CREATE TABLE AS and SELECT INTO.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CreateTableAsStmt {
    pub into: IntoClause,
    pub if_not_exists: bool,
    /// A query, or EXECUTE.
    pub query: Box<Statement>,
    /// False for WITH NO DATA.
    pub with_data: bool,
    /// Written as SELECT INTO.
    pub is_select_into: bool,
}

/// The table that a query makes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct IntoClause {
    pub relation: RangeVar,
    pub persistence: Persistence,
    pub columns: Vec<String>,
    pub options: Vec<DefElem>,
    pub on_commit: Option<OnCommit>,
    pub tablespace: Option<String>,
    pub access_method: Option<String>,
}

impl IntoClause {
    /// With nothing but a name.
    pub(crate) fn new(relation: RangeVar, persistence: Persistence) -> IntoClause {
        IntoClause {
            relation,
            persistence,
            columns: Vec::new(),
            options: Vec::new(),
            on_commit: None,
            tablespace: None,
            access_method: None,
        }
    }
}

impl Statement {
    /// SELECT INTO as the CREATE TABLE AS that it means. C: `transformOptionalSelectInto`.
    pub fn select_into(&self) -> Option<CreateTableAsStmt> {
        let Statement::Select(select) = self else { return None };
        let mut select = select.clone();
        // INTO may stand in the leftmost query of a set operation only.
        let mut body = &mut select.body;
        let into = loop {
            match body {
                SelectBody::Simple(simple) => break simple.into.take()?,
                SelectBody::SetOperation { left, .. } => body = &mut left.body,
                SelectBody::Values(_) => return None,
            }
        };
        Some(CreateTableAsStmt {
            into,
            if_not_exists: false,
            query: Box::new(Statement::Select(select)),
            with_data: true,
            is_select_into: true,
        })
    }
}

/// What DROP drops. C: `ObjectType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum DropKind {
    Table,
    Sequence,
    View,
    MaterializedView,
    Index,
    ForeignTable,
    Schema,
}

impl DropKind {
    /// As in `"x" is not a table` and `view "x" does not exist`.
    pub fn word(self) -> &'static str {
        match self {
            DropKind::Table => "table",
            DropKind::Sequence => "sequence",
            DropKind::View => "view",
            DropKind::MaterializedView => "materialized view",
            DropKind::Index => "index",
            DropKind::ForeignTable => "foreign table",
            DropKind::Schema => "schema",
        }
    }
}

/// DROP TABLE, VIEW, INDEX, SEQUENCE, SCHEMA.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct DropStmt {
    pub kind: DropKind,
    pub names: Vec<RangeVar>,
    pub missing_ok: bool,
    pub cascade: bool,
    /// DROP INDEX CONCURRENTLY.
    pub concurrently: bool,
}

/// TRUNCATE.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct TruncateStmt {
    pub relations: Vec<RangeVar>,
    pub restart_identity: bool,
    pub cascade: bool,
}

/// LOCK TABLE.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct LockStmt {
    pub relations: Vec<RangeVar>,
    pub mode: TableLockMode,
    pub nowait: bool,
}

/// The modes of LOCK TABLE, with the numbers that they have in pg_locks' source. C: `LOCKMODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
#[repr(u8)]
pub enum TableLockMode {
    AccessShare = 1,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

/// COPY.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CopyStmt {
    pub source: CopySource,
    /// FROM: into the table.
    pub is_from: bool,
    pub target: CopyTarget,
    /// `format`, `freeze`, `delimiter`, `null`, `header`, `quote`, `escape`, `force_quote`, `force_not_null`,
    /// `force_null`, `encoding`, from either syntax; anything else that was written, too.
    pub options: Vec<DefElem>,
    pub where_clause: Option<Expr>,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq)]
pub enum CopySource {
    /// A table and the columns named, with their places.
    Table(RangeVar, Vec<(String, Loc)>),
    /// The rows of a query (SELECT, or INSERT and the like with RETURNING).
    Query(Box<Statement>),
}

/// Where to or from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyTarget {
    /// STDIN or STDOUT, whichever was written.
    Client,
    /// A file of the server's machine.
    File(String),
    /// PROGRAM.
    Program(String),
}

/// CREATE SCHEMA.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CreateSchemaStmt {
    /// `None`: as its owner is called.
    pub name: Option<String>,
    pub authorization: Option<RoleSpec>,
    pub if_not_exists: bool,
    /// Statements that fill it.
    pub elements: Vec<Statement>,
}

/// COMMENT ON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentStmt {
    /// What it is about.
    pub object: CommentObject,
    /// `None` removes it.
    pub text: Option<String>,
}

/// What a comment is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommentObject {
    /// A table.
    Table(RangeVar),
    /// A column: the table and its name. A name without a table has an empty [`RangeVar::name`]: `column name must be
    /// qualified`.
    Column(RangeVar, String),
    /// A schema.
    Schema(String),
    /// A database.
    Database(String),
}

/// A table of VACUUM or ANALYZE and the columns to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VacuumRelation {
    /// The table.
    pub relation: RangeVar,
    /// Columns for ANALYZE; all if empty.
    pub columns: Vec<String>,
}

/// How strongly FOR UPDATE and its kin lock. C: `LockClauseStrength`, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum LockStrength {
    ForKeyShare,
    ForShare,
    ForNoKeyUpdate,
    ForUpdate,
}

impl LockStrength {
    /// The words that error messages use. C: `LCS_asString`.
    pub fn words(self) -> &'static str {
        match self {
            LockStrength::ForKeyShare => "FOR KEY SHARE",
            LockStrength::ForShare => "FOR SHARE",
            LockStrength::ForNoKeyUpdate => "FOR NO KEY UPDATE",
            LockStrength::ForUpdate => "FOR UPDATE",
        }
    }
}

/// What to do about a row that someone else has locked. C: `LockWaitPolicy`; the later the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum LockWait {
    Wait,
    SkipLocked,
    NoWait,
}

/// FOR UPDATE and its kin. C: `LockingClause`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct LockingClause {
    pub loc: Loc,
    pub strength: LockStrength,
    /// OF: names of FROM items; all of them if empty.
    pub of: Vec<RangeVar>,
    pub wait: LockWait,
}
