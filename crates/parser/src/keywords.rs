//! The key words of PostgreSQL 15, with what each may still be used as.
//!
//! C counterpart: src/common/keywords.c and include/parser/kwlist.h (a list of facts; the words and their
//! categories are those of the language itself).

/// How reserved a key word is. C: `*_KEYWORD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// May be any name.
    Unreserved,
    /// May name a column or table, not a function or type.
    ColName,
    /// May name a function or type, not a column or table.
    TypeFuncName,
    /// May name nothing but a label after AS.
    Reserved,
}

macro_rules! keywords {
    ($($variant:ident $word:literal $category:ident $bare_label:literal)*) => {
        /// A key word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each variant is the key word itself")]
        pub(crate) enum Kw { $($variant,)* }

        /// In the order of the words, for the binary search in [`lookup`].
        const TABLE: &[(&str, Kw, Category, bool)] =
            &[$(($word, Kw::$variant, Category::$category, $bare_label),)*];
    };
}

impl Kw {
    /// The word, in lower case.
    pub(crate) fn word(self) -> &'static str {
        TABLE[self as usize].0
    }

    /// How reserved it is.
    pub(crate) fn category(self) -> Category {
        TABLE[self as usize].2
    }

    /// Whether it may label an output column without AS.
    pub(crate) fn is_bare_label(self) -> bool {
        TABLE[self as usize].3
    }
}

/// The key word spelled like this, in any mix of cases. C: `ScanKeywordLookup`.
pub(crate) fn lookup(word: &str) -> Option<Kw> {
    const LONGEST: usize = 17; // current_timestamp
    let mut buffer = [0u8; LONGEST];
    let lower = buffer.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    let found = TABLE.binary_search_by(|row| row.0.as_bytes().cmp(lower)).ok()?;
    Some(TABLE[found].1)
}

keywords! {
    Abort "abort" Unreserved true
    Absolute "absolute" Unreserved true
    Access "access" Unreserved true
    Action "action" Unreserved true
    Add "add" Unreserved true
    Admin "admin" Unreserved true
    After "after" Unreserved true
    Aggregate "aggregate" Unreserved true
    All "all" Reserved true
    Also "also" Unreserved true
    Alter "alter" Unreserved true
    Always "always" Unreserved true
    Analyse "analyse" Reserved true
    Analyze "analyze" Reserved true
    And "and" Reserved true
    Any "any" Reserved true
    Array "array" Reserved false
    As "as" Reserved false
    Asc "asc" Reserved true
    Asensitive "asensitive" Unreserved true
    Assertion "assertion" Unreserved true
    Assignment "assignment" Unreserved true
    Asymmetric "asymmetric" Reserved true
    At "at" Unreserved true
    Atomic "atomic" Unreserved true
    Attach "attach" Unreserved true
    Attribute "attribute" Unreserved true
    Authorization "authorization" TypeFuncName true
    Backward "backward" Unreserved true
    Before "before" Unreserved true
    Begin "begin" Unreserved true
    Between "between" ColName true
    Bigint "bigint" ColName true
    Binary "binary" TypeFuncName true
    Bit "bit" ColName true
    Boolean "boolean" ColName true
    Both "both" Reserved true
    Breadth "breadth" Unreserved true
    By "by" Unreserved true
    Cache "cache" Unreserved true
    Call "call" Unreserved true
    Called "called" Unreserved true
    Cascade "cascade" Unreserved true
    Cascaded "cascaded" Unreserved true
    Case "case" Reserved true
    Cast "cast" Reserved true
    Catalog "catalog" Unreserved true
    Chain "chain" Unreserved true
    Char "char" ColName false
    Character "character" ColName false
    Characteristics "characteristics" Unreserved true
    Check "check" Reserved true
    Checkpoint "checkpoint" Unreserved true
    Class "class" Unreserved true
    Close "close" Unreserved true
    Cluster "cluster" Unreserved true
    Coalesce "coalesce" ColName true
    Collate "collate" Reserved true
    Collation "collation" TypeFuncName true
    Column "column" Reserved true
    Columns "columns" Unreserved true
    Comment "comment" Unreserved true
    Comments "comments" Unreserved true
    Commit "commit" Unreserved true
    Committed "committed" Unreserved true
    Compression "compression" Unreserved true
    Concurrently "concurrently" TypeFuncName true
    Configuration "configuration" Unreserved true
    Conflict "conflict" Unreserved true
    Connection "connection" Unreserved true
    Constraint "constraint" Reserved true
    Constraints "constraints" Unreserved true
    Content "content" Unreserved true
    Continue "continue" Unreserved true
    Conversion "conversion" Unreserved true
    Copy "copy" Unreserved true
    Cost "cost" Unreserved true
    Create "create" Reserved false
    Cross "cross" TypeFuncName true
    Csv "csv" Unreserved true
    Cube "cube" Unreserved true
    Current "current" Unreserved true
    CurrentCatalog "current_catalog" Reserved true
    CurrentDate "current_date" Reserved true
    CurrentRole "current_role" Reserved true
    CurrentSchema "current_schema" TypeFuncName true
    CurrentTime "current_time" Reserved true
    CurrentTimestamp "current_timestamp" Reserved true
    CurrentUser "current_user" Reserved true
    Cursor "cursor" Unreserved true
    Cycle "cycle" Unreserved true
    Data "data" Unreserved true
    Database "database" Unreserved true
    Day "day" Unreserved false
    Deallocate "deallocate" Unreserved true
    Dec "dec" ColName true
    Decimal "decimal" ColName true
    Declare "declare" Unreserved true
    Default "default" Reserved true
    Defaults "defaults" Unreserved true
    Deferrable "deferrable" Reserved true
    Deferred "deferred" Unreserved true
    Definer "definer" Unreserved true
    Delete "delete" Unreserved true
    Delimiter "delimiter" Unreserved true
    Delimiters "delimiters" Unreserved true
    Depends "depends" Unreserved true
    Depth "depth" Unreserved true
    Desc "desc" Reserved true
    Detach "detach" Unreserved true
    Dictionary "dictionary" Unreserved true
    Disable "disable" Unreserved true
    Discard "discard" Unreserved true
    Distinct "distinct" Reserved true
    Do "do" Reserved true
    Document "document" Unreserved true
    Domain "domain" Unreserved true
    Double "double" Unreserved true
    Drop "drop" Unreserved true
    Each "each" Unreserved true
    Else "else" Reserved true
    Enable "enable" Unreserved true
    Encoding "encoding" Unreserved true
    Encrypted "encrypted" Unreserved true
    End "end" Reserved true
    Enum "enum" Unreserved true
    Escape "escape" Unreserved true
    Event "event" Unreserved true
    Except "except" Reserved false
    Exclude "exclude" Unreserved true
    Excluding "excluding" Unreserved true
    Exclusive "exclusive" Unreserved true
    Execute "execute" Unreserved true
    Exists "exists" ColName true
    Explain "explain" Unreserved true
    Expression "expression" Unreserved true
    Extension "extension" Unreserved true
    External "external" Unreserved true
    Extract "extract" ColName true
    False "false" Reserved true
    Family "family" Unreserved true
    Fetch "fetch" Reserved false
    Filter "filter" Unreserved false
    Finalize "finalize" Unreserved true
    First "first" Unreserved true
    Float "float" ColName true
    Following "following" Unreserved true
    For "for" Reserved false
    Force "force" Unreserved true
    Foreign "foreign" Reserved true
    Forward "forward" Unreserved true
    Freeze "freeze" TypeFuncName true
    From "from" Reserved false
    Full "full" TypeFuncName true
    Function "function" Unreserved true
    Functions "functions" Unreserved true
    Generated "generated" Unreserved true
    Global "global" Unreserved true
    Grant "grant" Reserved false
    Granted "granted" Unreserved true
    Greatest "greatest" ColName true
    Group "group" Reserved false
    Grouping "grouping" ColName true
    Groups "groups" Unreserved true
    Handler "handler" Unreserved true
    Having "having" Reserved false
    Header "header" Unreserved true
    Hold "hold" Unreserved true
    Hour "hour" Unreserved false
    Identity "identity" Unreserved true
    If "if" Unreserved true
    Ilike "ilike" TypeFuncName true
    Immediate "immediate" Unreserved true
    Immutable "immutable" Unreserved true
    Implicit "implicit" Unreserved true
    Import "import" Unreserved true
    In "in" Reserved true
    Include "include" Unreserved true
    Including "including" Unreserved true
    Increment "increment" Unreserved true
    Index "index" Unreserved true
    Indexes "indexes" Unreserved true
    Inherit "inherit" Unreserved true
    Inherits "inherits" Unreserved true
    Initially "initially" Reserved true
    Inline "inline" Unreserved true
    Inner "inner" TypeFuncName true
    Inout "inout" ColName true
    Input "input" Unreserved true
    Insensitive "insensitive" Unreserved true
    Insert "insert" Unreserved true
    Instead "instead" Unreserved true
    Int "int" ColName true
    Integer "integer" ColName true
    Intersect "intersect" Reserved false
    Interval "interval" ColName true
    Into "into" Reserved false
    Invoker "invoker" Unreserved true
    Is "is" TypeFuncName true
    Isnull "isnull" TypeFuncName false
    Isolation "isolation" Unreserved true
    Join "join" TypeFuncName true
    Key "key" Unreserved true
    Label "label" Unreserved true
    Language "language" Unreserved true
    Large "large" Unreserved true
    Last "last" Unreserved true
    Lateral "lateral" Reserved true
    Leading "leading" Reserved true
    Leakproof "leakproof" Unreserved true
    Least "least" ColName true
    Left "left" TypeFuncName true
    Level "level" Unreserved true
    Like "like" TypeFuncName true
    Limit "limit" Reserved false
    Listen "listen" Unreserved true
    Load "load" Unreserved true
    Local "local" Unreserved true
    Localtime "localtime" Reserved true
    Localtimestamp "localtimestamp" Reserved true
    Location "location" Unreserved true
    Lock "lock" Unreserved true
    Locked "locked" Unreserved true
    Logged "logged" Unreserved true
    Mapping "mapping" Unreserved true
    Match "match" Unreserved true
    Matched "matched" Unreserved true
    Materialized "materialized" Unreserved true
    Maxvalue "maxvalue" Unreserved true
    Merge "merge" Unreserved true
    Method "method" Unreserved true
    Minute "minute" Unreserved false
    Minvalue "minvalue" Unreserved true
    Mode "mode" Unreserved true
    Month "month" Unreserved false
    Move "move" Unreserved true
    Name "name" Unreserved true
    Names "names" Unreserved true
    National "national" ColName true
    Natural "natural" TypeFuncName true
    Nchar "nchar" ColName true
    New "new" Unreserved true
    Next "next" Unreserved true
    Nfc "nfc" Unreserved true
    Nfd "nfd" Unreserved true
    Nfkc "nfkc" Unreserved true
    Nfkd "nfkd" Unreserved true
    No "no" Unreserved true
    None "none" ColName true
    Normalize "normalize" ColName true
    Normalized "normalized" Unreserved true
    Not "not" Reserved true
    Nothing "nothing" Unreserved true
    Notify "notify" Unreserved true
    Notnull "notnull" TypeFuncName false
    Nowait "nowait" Unreserved true
    Null "null" Reserved true
    Nullif "nullif" ColName true
    Nulls "nulls" Unreserved true
    Numeric "numeric" ColName true
    Object "object" Unreserved true
    Of "of" Unreserved true
    Off "off" Unreserved true
    Offset "offset" Reserved false
    Oids "oids" Unreserved true
    Old "old" Unreserved true
    On "on" Reserved false
    Only "only" Reserved true
    Operator "operator" Unreserved true
    Option "option" Unreserved true
    Options "options" Unreserved true
    Or "or" Reserved true
    Order "order" Reserved false
    Ordinality "ordinality" Unreserved true
    Others "others" Unreserved true
    Out "out" ColName true
    Outer "outer" TypeFuncName true
    Over "over" Unreserved false
    Overlaps "overlaps" TypeFuncName false
    Overlay "overlay" ColName true
    Overriding "overriding" Unreserved true
    Owned "owned" Unreserved true
    Owner "owner" Unreserved true
    Parallel "parallel" Unreserved true
    Parameter "parameter" Unreserved true
    Parser "parser" Unreserved true
    Partial "partial" Unreserved true
    Partition "partition" Unreserved true
    Passing "passing" Unreserved true
    Password "password" Unreserved true
    Placing "placing" Reserved true
    Plans "plans" Unreserved true
    Policy "policy" Unreserved true
    Position "position" ColName true
    Preceding "preceding" Unreserved true
    Precision "precision" ColName false
    Prepare "prepare" Unreserved true
    Prepared "prepared" Unreserved true
    Preserve "preserve" Unreserved true
    Primary "primary" Reserved true
    Prior "prior" Unreserved true
    Privileges "privileges" Unreserved true
    Procedural "procedural" Unreserved true
    Procedure "procedure" Unreserved true
    Procedures "procedures" Unreserved true
    Program "program" Unreserved true
    Publication "publication" Unreserved true
    Quote "quote" Unreserved true
    Range "range" Unreserved true
    Read "read" Unreserved true
    Real "real" ColName true
    Reassign "reassign" Unreserved true
    Recheck "recheck" Unreserved true
    Recursive "recursive" Unreserved true
    Ref "ref" Unreserved true
    References "references" Reserved true
    Referencing "referencing" Unreserved true
    Refresh "refresh" Unreserved true
    Reindex "reindex" Unreserved true
    Relative "relative" Unreserved true
    Release "release" Unreserved true
    Rename "rename" Unreserved true
    Repeatable "repeatable" Unreserved true
    Replace "replace" Unreserved true
    Replica "replica" Unreserved true
    Reset "reset" Unreserved true
    Restart "restart" Unreserved true
    Restrict "restrict" Unreserved true
    Return "return" Unreserved true
    Returning "returning" Reserved false
    Returns "returns" Unreserved true
    Revoke "revoke" Unreserved true
    Right "right" TypeFuncName true
    Role "role" Unreserved true
    Rollback "rollback" Unreserved true
    Rollup "rollup" Unreserved true
    Routine "routine" Unreserved true
    Routines "routines" Unreserved true
    Row "row" ColName true
    Rows "rows" Unreserved true
    Rule "rule" Unreserved true
    Savepoint "savepoint" Unreserved true
    Schema "schema" Unreserved true
    Schemas "schemas" Unreserved true
    Scroll "scroll" Unreserved true
    Search "search" Unreserved true
    Second "second" Unreserved false
    Security "security" Unreserved true
    Select "select" Reserved true
    Sequence "sequence" Unreserved true
    Sequences "sequences" Unreserved true
    Serializable "serializable" Unreserved true
    Server "server" Unreserved true
    Session "session" Unreserved true
    SessionUser "session_user" Reserved true
    Set "set" Unreserved true
    Setof "setof" ColName true
    Sets "sets" Unreserved true
    Share "share" Unreserved true
    Show "show" Unreserved true
    Similar "similar" TypeFuncName true
    Simple "simple" Unreserved true
    Skip "skip" Unreserved true
    Smallint "smallint" ColName true
    Snapshot "snapshot" Unreserved true
    Some "some" Reserved true
    Sql "sql" Unreserved true
    Stable "stable" Unreserved true
    Standalone "standalone" Unreserved true
    Start "start" Unreserved true
    Statement "statement" Unreserved true
    Statistics "statistics" Unreserved true
    Stdin "stdin" Unreserved true
    Stdout "stdout" Unreserved true
    Storage "storage" Unreserved true
    Stored "stored" Unreserved true
    Strict "strict" Unreserved true
    Strip "strip" Unreserved true
    Subscription "subscription" Unreserved true
    Substring "substring" ColName true
    Support "support" Unreserved true
    Symmetric "symmetric" Reserved true
    Sysid "sysid" Unreserved true
    System "system" Unreserved true
    Table "table" Reserved true
    Tables "tables" Unreserved true
    Tablesample "tablesample" TypeFuncName true
    Tablespace "tablespace" Unreserved true
    Temp "temp" Unreserved true
    Template "template" Unreserved true
    Temporary "temporary" Unreserved true
    Text "text" Unreserved true
    Then "then" Reserved true
    Ties "ties" Unreserved true
    Time "time" ColName true
    Timestamp "timestamp" ColName true
    To "to" Reserved false
    Trailing "trailing" Reserved true
    Transaction "transaction" Unreserved true
    Transform "transform" Unreserved true
    Treat "treat" ColName true
    Trigger "trigger" Unreserved true
    Trim "trim" ColName true
    True "true" Reserved true
    Truncate "truncate" Unreserved true
    Trusted "trusted" Unreserved true
    Type "type" Unreserved true
    Types "types" Unreserved true
    Uescape "uescape" Unreserved true
    Unbounded "unbounded" Unreserved true
    Uncommitted "uncommitted" Unreserved true
    Unencrypted "unencrypted" Unreserved true
    Union "union" Reserved false
    Unique "unique" Reserved true
    Unknown "unknown" Unreserved true
    Unlisten "unlisten" Unreserved true
    Unlogged "unlogged" Unreserved true
    Until "until" Unreserved true
    Update "update" Unreserved true
    User "user" Reserved true
    Using "using" Reserved true
    Vacuum "vacuum" Unreserved true
    Valid "valid" Unreserved true
    Validate "validate" Unreserved true
    Validator "validator" Unreserved true
    Value "value" Unreserved true
    Values "values" ColName true
    Varchar "varchar" ColName true
    Variadic "variadic" Reserved true
    Varying "varying" Unreserved false
    Verbose "verbose" TypeFuncName true
    Version "version" Unreserved true
    View "view" Unreserved true
    Views "views" Unreserved true
    Volatile "volatile" Unreserved true
    When "when" Reserved true
    Where "where" Reserved false
    Whitespace "whitespace" Unreserved true
    Window "window" Reserved false
    With "with" Reserved false
    Within "within" Unreserved false
    Without "without" Unreserved false
    Work "work" Unreserved true
    Wrapper "wrapper" Unreserved true
    Write "write" Unreserved true
    Xml "xml" Unreserved true
    Xmlattributes "xmlattributes" ColName true
    Xmlconcat "xmlconcat" ColName true
    Xmlelement "xmlelement" ColName true
    Xmlexists "xmlexists" ColName true
    Xmlforest "xmlforest" ColName true
    Xmlnamespaces "xmlnamespaces" ColName true
    Xmlparse "xmlparse" ColName true
    Xmlpi "xmlpi" ColName true
    Xmlroot "xmlroot" ColName true
    Xmlserialize "xmlserialize" ColName true
    Xmltable "xmltable" ColName true
    Year "year" Unreserved false
    Yes "yes" Unreserved true
    Zone "zone" Unreserved true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_matches_discriminants() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.1 as usize, i);
            assert_eq!(lookup(&row.0.to_uppercase()), Some(row.1));
        }
        assert_eq!(lookup("selec"), None);
        assert_eq!(lookup("a_word_longer_than_any_key_word"), None);
        assert_eq!(Kw::Select.category(), Category::Reserved);
    }
}
