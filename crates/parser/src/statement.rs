//! The statements: queries, data changes and utility commands.
//!
//! C counterpart: include/nodes/parsenodes.h.

use crate::ast::{
    Alias, CommentStmt, CopyStmt, CreateSchemaStmt, CreateTableAsStmt, CreateTableStmt, DropStmt, Expr,
    FromItem, Loc, LockStmt, RangeVar, SelectStmt, Target, TruncateStmt, TypeName, VacuumRelation,
    WithClause,
};

/// A parsed statement.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the command of that name")]
pub enum Statement {
    /// SELECT, VALUES, TABLE, WITH ... SELECT.
    Select(Box<SelectStmt>),
    Insert(Box<InsertStmt>),
    Update(Box<UpdateStmt>),
    Delete(Box<DeleteStmt>),
    /// EXPLAIN, its options, the statement.
    Explain(Vec<DefElem>, Box<Statement>),
    Set(SetStmt),
    /// SHOW name; `all` for SHOW ALL.
    Show(String),
    Transaction(TransactionStmt),
    Checkpoint,
    Discard(DiscardTarget),
    /// ALTER SYSTEM SET or RESET.
    AlterSystem(SetStmt),
    Prepare {
        name: String,
        arg_types: Vec<TypeName>,
        query: Box<Statement>,
    },
    Execute {
        name: String,
        args: Vec<Expr>,
    },
    /// DEALLOCATE name, or ALL.
    Deallocate(Option<String>),
    DeclareCursor {
        name: String,
        options: CursorOptions,
        query: Box<SelectStmt>,
    },
    Fetch(FetchStmt),
    /// CLOSE name, or ALL.
    ClosePortal(Option<String>),
    Listen(String),
    Notify {
        channel: String,
        payload: Option<String>,
    },
    /// UNLISTEN name, or `*`.
    Unlisten(Option<String>),
    Load(String),
    /// VACUUM or ANALYZE.
    Vacuum {
        is_vacuum: bool,
        options: Vec<DefElem>,
        relations: Vec<VacuumRelation>,
    },
    CreateTable(Box<CreateTableStmt>),
    /// CREATE TABLE AS; SELECT INTO stays a [`Statement::Select`], see [`Statement::select_into`].
    CreateTableAs(Box<CreateTableAsStmt>),
    CreateSchema(CreateSchemaStmt),
    /// DROP of what has a schema, and of schemas.
    Drop(DropStmt),
    Truncate(TruncateStmt),
    Copy(Box<CopyStmt>),
    Lock(LockStmt),
    Comment(CommentStmt),
    /// CREATE ROLE, USER or GROUP.
    CreateRole {
        kind: RoleKind,
        name: String,
        options: Vec<DefElem>,
    },
    /// ALTER ROLE, USER or GROUP with options.
    AlterRole {
        role: RoleSpec,
        options: Vec<DefElem>,
    },
    /// ALTER ROLE ... SET; without a role for ALL.
    AlterRoleSet {
        role: Option<RoleSpec>,
        database: Option<String>,
        set: SetStmt,
    },
    DropRole {
        roles: Vec<RoleSpec>,
        missing_ok: bool,
    },
    CreateDatabase {
        name: String,
        options: Vec<DefElem>,
    },
    AlterDatabaseSet {
        name: String,
        set: SetStmt,
    },
    DropDatabase {
        name: String,
        missing_ok: bool,
        force: bool,
    },
    CreateTablespace(CreateTablespaceStmt),
    DropTablespace {
        name: String,
        missing_ok: bool,
    },
    /// What the grammar of the crate sqlparser recognised. The tag is PostgreSQL's.
    Other {
        tag: &'static str,
        ast: Box<sqlparser::ast::Statement>,
    },
    /// A command known by its first words only. `name` is the tag; the rest of its text was not looked at.
    Unsupported(&'static str),
}

/// CREATE TABLESPACE. C: `CreateTableSpaceStmt`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct CreateTablespaceStmt {
    pub name: String,
    pub owner: Option<RoleSpec>,
    pub location: String,
    pub options: Vec<DefElem>,
}

/// INSERT.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct InsertStmt {
    pub with: Option<WithClause>,
    pub relation: RangeVar,
    pub alias: Option<Alias>,
    pub columns: Vec<(String, Loc)>,
    /// OVERRIDING USER (true) or SYSTEM VALUE.
    pub overriding_user: Option<bool>,
    /// `None` for DEFAULT VALUES.
    pub source: Option<SelectStmt>,
    pub on_conflict: Option<OnConflict>,
    pub returning: Vec<Target>,
}

/// ON CONFLICT.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct OnConflict {
    pub loc: Loc,
    /// Index expressions of the arbiter, or
    pub columns: Vec<Expr>,
    pub index_where: Option<Expr>,
    /// the constraint's name.
    pub constraint: Option<String>,
    /// DO UPDATE SET; `None` for DO NOTHING.
    pub update: Option<(Vec<Assignment>, Option<Expr>)>,
}

/// `column = value`, or `(a, b) = row`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub struct Assignment {
    pub columns: Vec<(String, Loc)>,
    pub multi: bool,
    pub value: Expr,
}

/// UPDATE.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct UpdateStmt {
    pub with: Option<WithClause>,
    pub relation: RangeVar,
    pub alias: Option<Alias>,
    pub assignments: Vec<Assignment>,
    pub from: Vec<FromItem>,
    pub where_clause: Option<Expr>,
    pub returning: Vec<Target>,
}

/// DELETE.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the clauses under their own names")]
pub struct DeleteStmt {
    pub with: Option<WithClause>,
    pub relation: RangeVar,
    pub alias: Option<Alias>,
    pub using: Vec<FromItem>,
    pub where_clause: Option<Expr>,
    pub returning: Vec<Target>,
}

/// An option: a name and perhaps a value. C: `DefElem`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub struct DefElem {
    pub name: String,
    pub value: Option<OptionValue>,
    pub loc: Loc,
}

/// An option's value as written.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub enum OptionValue {
    Boolean(bool),
    Integer(i32),
    /// A number too big or with a fraction.
    Float(String),
    /// A word or a string.
    String(String),
    /// PASSWORD NULL, for one.
    Null,
    /// Role names.
    Roles(Vec<RoleSpec>),
    /// `*`
    Star,
    /// Words in parentheses.
    List(Vec<String>),
}

/// SET and RESET in all their forms. C: `VariableSetStmt`.
#[derive(Clone, Debug, PartialEq)]
pub struct SetStmt {
    /// SET LOCAL.
    pub local: bool,
    /// What is set; `transaction` and `session characteristics` are listed as values.
    pub action: SetAction,
}

/// What SET does.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub enum SetAction {
    /// SET name = values. Their text goes together as `guc` wants it: see [`SetValue::flatten`].
    Value {
        name: String,
        values: Vec<SetValue>,
    },
    /// SET name TO DEFAULT.
    Default {
        name: String,
    },
    /// SET name FROM CURRENT.
    FromCurrent {
        name: String,
    },
    /// RESET name.
    Reset {
        name: String,
    },
    ResetAll,
    /// SET TRANSACTION modes.
    Transaction(Vec<TransactionMode>),
    /// SET TRANSACTION SNAPSHOT.
    TransactionSnapshot(String),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION modes.
    SessionCharacteristics(Vec<TransactionMode>),
}

/// One value of SET.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "plain")]
pub enum SetValue {
    /// A word or a string: quoted when it joins a list that the setting quotes.
    String(String),
    /// A number, with its sign.
    Number(String),
}

impl SetValue {
    /// The values as one string. `quote` is for settings whose value is a list of names
    /// (C: `GUC_LIST_QUOTE`). C: `flatten_set_variable_args`.
    pub fn flatten(values: &[SetValue], quote: bool) -> String {
        let one = |value: &SetValue| match value {
            SetValue::Number(n) => n.clone(),
            SetValue::String(s) if quote => quote_identifier(s),
            SetValue::String(s) => s.clone(),
        };
        values.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The name in double quotes if it needs them. C: `quote_identifier`.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let reserved = || {
        crate::keywords::lookup(name).is_some_and(|kw| kw.category() != crate::keywords::Category::Unreserved)
    };
    if plain && !reserved() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// One mode of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// `read committed` and so on, as the setting spells it.
    Isolation(&'static str),
    /// READ ONLY or READ WRITE.
    ReadOnly(bool),
    /// DEFERRABLE or NOT DEFERRABLE.
    Deferrable(bool),
}

/// Transaction control. C: `TransactionStmt`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is the command of that name")]
pub enum TransactionStmt {
    Begin(Vec<TransactionMode>),
    /// Like BEGIN, with its own tag.
    Start(Vec<TransactionMode>),
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    PrepareTransaction(String),
    CommitPrepared(String),
    RollbackPrepared(String),
}

/// What DISCARD drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temp,
}

/// DECLARE's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub struct CursorOptions {
    pub binary: bool,
    pub insensitive: bool,
    pub asensitive: bool,
    /// SCROLL (true) or NO SCROLL.
    pub scroll: Option<bool>,
    pub hold: bool,
}

/// FETCH or MOVE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain")]
pub struct FetchStmt {
    pub is_move: bool,
    pub direction: FetchDirection,
    /// `i64::MAX` is ALL.
    pub count: i64,
    pub cursor: String,
}

/// Which way FETCH goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum FetchDirection {
    Forward,
    Backward,
    Absolute,
    Relative,
}

/// How a role was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum RoleKind {
    Role,
    User,
    Group,
}

/// A role by name or by function. C: `RoleSpec`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the grammar")]
pub enum RoleSpec {
    Name(String),
    CurrentRole,
    CurrentUser,
    SessionUser,
    Public,
}
