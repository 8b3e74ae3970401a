//! Tests of tables and of statements that change them, over rows in memory.
//!
//! The fake keeps every version of a row and shows a scan those that were there when its command began; another
//! transaction's change, seen only by whoever tries to change the same row, is put in by hand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::{CommandId, ItemPointer, Oid, SqlState};
use elog::{Result, error};
use heap::{
    Attribute, FailureData, LockOutcome, LockTupleMode, TmResult, Tuple, TupleDesc, TupleView, WaitPolicy,
    form_tuple,
};
use parser::ast::TableLockMode;
use types::fmgr::{Registry, Session};
use types::{Datum, io, oid};

use super::*;
use crate::table::{Generation, RowScan, TableAm, TableInserter};

/// One version of a row.
#[derive(Clone)]
struct Version {
    tuple: Tuple,
    made: CommandId,
    /// Deleted by this command of ours.
    gone: Option<CommandId>,
    /// Replaced (or deleted, `None`) by another transaction that scans do not see.
    overtaken: Option<Option<usize>>,
    /// Made by that transaction.
    foreign: bool,
    locked_by_other: bool,
}

#[derive(Default)]
struct State {
    versions: RefCell<Vec<Version>>,
    command: Cell<CommandId>,
    generation: Cell<Generation>,
    serializable: Cell<bool>,
    read_only: Cell<bool>,
    locks: RefCell<Vec<(String, TableLockMode)>>,
}

/// A table in memory.
struct Memory {
    name: String,
    desc: Rc<TupleDesc>,
    state: Rc<State>,
}

fn tid_of(index: usize) -> ItemPointer {
    ItemPointer { block: (index / 100) as u32, offset: (index % 100 + 1) as u16 }
}

fn index_of(tid: ItemPointer) -> usize {
    tid.block as usize * 100 + tid.offset as usize - 1
}

impl Memory {
    fn push(&self, tuple: &Tuple, foreign: bool) -> usize {
        let mut versions = self.state.versions.borrow_mut();
        let mut tuple = tuple.clone();
        tuple.tid = tid_of(versions.len());
        let made = self.state.command.get();
        versions.push(Version { tuple, made, gone: None, overtaken: None, foreign, locked_by_other: false });
        versions.len() - 1
    }

    fn status(&self, index: usize, cid: CommandId) -> (TmResult, FailureData) {
        let versions = self.state.versions.borrow();
        let version = &versions[index];
        let mut failure = FailureData { ctid: tid_of(index), cmax: cid, ..FailureData::default() };
        match (version.gone, version.overtaken) {
            (Some(by), _) => {
                failure.cmax = by;
                (TmResult::SelfModified, failure)
            }
            (None, Some(Some(next))) => {
                failure.ctid = tid_of(next);
                (TmResult::Updated, failure)
            }
            (None, Some(None)) => (TmResult::Deleted, failure),
            (None, None) => (TmResult::Ok, failure),
        }
    }
}

struct MemoryScan {
    rows: Vec<Tuple>,
    next: usize,
}

impl RowScan for MemoryScan {
    fn next(&mut self) -> Result<Option<TupleView<'_>>> {
        self.next += 1;
        Ok(self.rows.get(self.next - 1).map(Tuple::view))
    }
    fn restart(&mut self) -> Result<()> {
        self.next = 0;
        Ok(())
    }
}

struct Inserter {
    table: Memory,
}

impl TableInserter for Inserter {
    fn insert(&mut self, tuple: &mut Tuple, _: CommandId) -> Result<()> {
        tuple.tid = tid_of(self.table.push(tuple, false));
        Ok(())
    }
}

impl TableAm for Memory {
    fn lock_table(&self, mode: TableLockMode) -> Result<()> {
        self.state.locks.borrow_mut().push((self.name.clone(), mode));
        Ok(())
    }
    fn generation(&self) -> Generation {
        self.state.generation.get()
    }
    fn scan(&self) -> Result<Box<dyn RowScan>> {
        let now = self.state.command.get();
        let versions = self.state.versions.borrow();
        let seen = |v: &&Version| !v.foreign && v.made < now && v.gone.is_none_or(|gone| gone >= now);
        let rows = versions.iter().filter(seen).map(|v| v.tuple.clone()).collect();
        Ok(Box::new(MemoryScan { rows, next: 0 }))
    }
    fn fetch(&self, tid: ItemPointer) -> Result<Option<Tuple>> {
        let now = self.state.command.get();
        let versions = self.state.versions.borrow();
        let found = versions.get(index_of(tid)).filter(|v| v.made < now && v.gone.is_none_or(|g| g >= now));
        Ok(found.map(|v| v.tuple.clone()))
    }
    fn command_id(&self) -> CommandId {
        self.state.command.get()
    }
    fn uses_transaction_snapshot(&self) -> bool {
        self.state.serializable.get()
    }
    fn check_writable(&self, command: &str) -> Result<()> {
        match self.state.read_only.get() {
            true => Err(error!(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                "cannot execute {command} in a read-only transaction"
            )),
            false => Ok(()),
        }
    }
    fn inserter(&self) -> Box<dyn TableInserter> {
        let (name, desc, state) = (self.name.clone(), self.desc.clone(), self.state.clone());
        Box::new(Inserter { table: Memory { name, desc, state } })
    }
    fn delete(&self, tid: ItemPointer, cid: CommandId) -> Result<(TmResult, FailureData)> {
        let (result, failure) = self.status(index_of(tid), cid);
        if result == TmResult::Ok {
            self.state.versions.borrow_mut()[index_of(tid)].gone = Some(cid);
        }
        Ok((result, failure))
    }
    fn update(&self, tid: ItemPointer, new: &mut Tuple, cid: CommandId) -> Result<(TmResult, FailureData)> {
        let (result, failure) = self.delete(tid, cid)?;
        if result == TmResult::Ok {
            new.tid = tid_of(self.push(new, false));
        }
        Ok((result, failure))
    }
    fn lock_row(
        &self,
        tid: ItemPointer,
        cid: CommandId,
        _: LockTupleMode,
        policy: WaitPolicy,
        last_version: bool,
    ) -> Result<LockOutcome> {
        let (mut index, mut failure) = (index_of(tid), FailureData::default());
        let outcome = |result, failure, tuple| Ok(LockOutcome { result, failure, tuple });
        loop {
            let (result, about) = self.status(index, cid);
            let version = self.state.versions.borrow()[index].clone();
            match (result, version.overtaken) {
                (TmResult::Ok, _) if version.locked_by_other && policy == WaitPolicy::Skip => {
                    return outcome(TmResult::WouldBlock, failure, None);
                }
                (TmResult::Ok, _) if version.locked_by_other && policy == WaitPolicy::Error => {
                    return Err(error!(
                        SqlState::LOCK_NOT_AVAILABLE,
                        "could not obtain lock on row in relation \"{}\"", self.name
                    ));
                }
                (TmResult::Updated, Some(Some(next))) if last_version => {
                    index = next;
                    failure.traversed = true;
                }
                (TmResult::Ok, _) => return outcome(result, failure, Some(version.tuple)),
                _ => return outcome(result, about, None),
            }
        }
    }
}

/// A database of a few tables.
struct Db {
    registry: Registry,
    tables: Vec<(Rc<TableInfo>, Rc<State>)>,
}

impl RelationSource for Db {
    fn lookup(&self, _: Option<&str>, _: &str) -> Option<VirtualRelation> {
        None
    }
}

impl Env for Db {
    fn registry(&self) -> &Registry {
        &self.registry
    }
    fn current_database(&self) -> &str {
        "postgres"
    }
    fn table(&self, schema: Option<&str>, name: &str, mode: TableLockMode) -> Result<Option<Rc<TableInfo>>> {
        let found = self.tables.iter().find(|(t, _)| t.name == name && schema.is_none_or(|s| s == t.schema));
        if let Some((table, _)) = found {
            table.am.lock_table(mode)?;
        }
        Ok(found.map(|(table, _)| table.clone()))
    }
}

/// `a integer not null default 7, b text, c varchar(3)`, `check (a < 100)`.
fn attribute(num: i16, name: &str, ty: Oid, typmod: i32) -> Attribute {
    Attribute::new(name, num, ty, typmod)
}

impl Db {
    fn new() -> Db {
        let mut registry = Registry::with_builtins();
        register(&mut registry);
        let mut db = Db { registry, tables: Vec::new() };
        let mut a = attribute(1, "a", oid::INT4, -1);
        a.not_null = true;
        let mut dropped = attribute(2, "........pg.dropped.2........", oid::INT4, -1);
        dropped.is_dropped = true;
        let b = attribute(3, "b", oid::TEXT, -1);
        let c = attribute(4, "c", oid::VARCHAR, 3 + 4);
        db.add("t", vec![a, dropped, b, c], &[(1, "3 + 4")], &[("t_a_check", "a < 100")]);
        db.add("u", vec![attribute(1, "id", oid::INT4, -1), attribute(2, "x", oid::INT8, -1)], &[], &[]);
        db
    }

    fn add(&mut self, name: &str, attrs: Vec<Attribute>, defaults: &[(i16, &str)], checks: &[(&str, &str)]) {
        let desc = Rc::new(TupleDesc::new(attrs));
        let state = Rc::new(State::default());
        state.command.set(1);
        let am = Rc::new(Memory { name: name.into(), desc: desc.clone(), state: state.clone() });
        let info = TableInfo {
            oid: Oid(16384 + self.tables.len() as u32),
            schema: "public".into(),
            name: name.into(),
            desc,
            defaults: defaults.iter().map(|(n, text)| (*n, Rc::from(*text))).collect(),
            checks: checks.iter().map(|(n, text)| (Rc::from(*n), Rc::from(*text))).collect(),
            kind: b'r',
            is_temporary: false,
            is_catalog: false,
            tuples: -1.0,
            pages: 0,
            am,
            generation: 0,
        };
        self.tables.push((Rc::new(info), state));
    }

    fn state(&self, name: &str) -> &Rc<State> {
        &self.tables.iter().find(|(t, _)| t.name == name).unwrap().1
    }

    fn execute(&self, sql: &str) -> Result<String> {
        let mut shown = Vec::new();
        for raw in parser::parse(sql)? {
            let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), self)?);
            let mut execution = plan.start(Vec::new());
            let session = Session::detached(0);
            let mut rows = Vec::new();
            while let Some(row) = execution.next(&session)? {
                let cells = row.iter().zip(plan.columns()).map(|(value, column)| match value {
                    Datum::Null => "\\N".to_string(),
                    value => io::output_string(value, column.ty),
                });
                rows.push(cells.collect::<Vec<_>>().join("|"));
            }
            shown.push(match execution.command_tag() {
                tag if tag.starts_with("SELECT") => rows.join(" "),
                tag if rows.is_empty() => tag,
                tag => format!("{} {tag}", rows.join(" ")),
            });
            self.next_command();
        }
        Ok(shown.join("; "))
    }

    fn next_command(&self) {
        for (_, state) in &self.tables {
            state.command.set(state.command.get() + 1);
        }
    }

    /// What the failed command has done is gone.
    fn undo_command(&self) {
        for (_, state) in &self.tables {
            let now = state.command.get();
            let mut versions = state.versions.borrow_mut();
            versions.retain(|v| v.made < now);
            versions.iter_mut().filter(|v| v.gone == Some(now)).for_each(|v| v.gone = None);
        }
    }

    /// What psql shows of one statement.
    fn lines(&self, sql: &str) -> Result<Vec<String>> {
        let raw = parser::parse(sql)?.remove(0);
        let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), self)?);
        let mut execution = plan.start(Vec::new());
        let session = Session::detached(0);
        let mut lines = Vec::new();
        let columns = plan.columns();
        if !columns.is_empty() {
            lines.push(columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join("|"));
        }
        while let Some(row) = execution.next(&session)? {
            let cells = row.iter().zip(columns).map(|(value, column)| match value {
                Datum::Null => "\\N".to_string(),
                value => io::output_string(value, column.ty),
            });
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
        if !plan.command().starts_with("SELECT") {
            lines.push(execution.command_tag());
        }
        Ok(lines)
    }

    fn answer(&self, sql: &str) -> String {
        self.execute(sql).unwrap_or_else(|e| {
            let place = e.position.map_or("-".into(), |p| p.to_string());
            let detail = e.detail.clone().map_or(String::new(), |d| format!(" ({d})"));
            format!("{} {place} {}{detail}", e.sqlstate, e.message)
        })
    }

    #[track_caller]
    fn check(&self, sql: &str, expected: &str) {
        assert_eq!(self.answer(sql), expected, "{sql}");
    }

    /// Another transaction replaces the row at an index, or deletes it.
    fn overtake(&self, table: &str, index: usize, new: Option<&[Datum]>) {
        let (info, state) = self.tables.iter().find(|(t, _)| t.name == table).unwrap();
        let memory = Memory { name: table.into(), desc: info.desc.clone(), state: state.clone() };
        let next = new.map(|values| memory.push(&form_tuple(&info.desc, values).unwrap(), true));
        state.versions.borrow_mut()[index].overtaken = Some(next);
    }
}

/// `testdata/tables.txt` was recorded from PostgreSQL 15, with the same tables.
#[test]
fn answers_over_tables_are_those_of_postgresql() {
    let db = Db::new();
    let mut lines = include_str!("testdata/tables.txt").lines().filter(|l| !l.starts_with("# ")).peekable();
    let mut wrong = Vec::new();
    while let Some(sql) = lines.next() {
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|l| l.starts_with("    ")) {
            expected.push(line[4..].to_string());
        }
        let got = db.lines(sql).unwrap_or_else(|e| {
            db.undo_command();
            let place = e.position.map_or("-".into(), |p| p.to_string());
            let mut lines = vec![format!("ERROR {} {place} {}", e.sqlstate, e.message)];
            lines.extend(e.detail.iter().map(|d| format!("DETAIL {d}")));
            lines.extend(e.hint.iter().map(|h| format!("HINT {h}")));
            lines
        });
        if got != expected {
            wrong.push(format!("{sql}\n  expected {expected:?}\n  got      {got:?}"));
        }
        db.next_command();
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn insert_takes_values_defaults_and_queries() {
    let db = Db::new();
    db.check("insert into t values (1, 'one', 'x')", "INSERT 0 1");
    db.check("insert into t (b) values ('two'), (default)", "INSERT 0 2");
    db.check("insert into t default values", "INSERT 0 1");
    db.check(
        "insert into t (c, a) values ('abc', 2.6) returning *, ctid, tableoid",
        "3||abc|(0,5)|16384 INSERT 0 1".replace("||", "|\\N|").as_str(),
    );
    db.check("insert into t select g, 'n' || g from generate_series(10, 12) g", "INSERT 0 3");
    db.check("insert into t values (generate_series(20, 22))", "INSERT 0 3");
    db.check(
        "select a, b, c from t",
        "1|one|x 7|two|\\N 7|\\N|\\N 7|\\N|\\N 3|\\N|abc 10|n10|\\N 11|n11|\\N 12|n12|\\N \
        20|\\N|\\N 21|\\N|\\N 22|\\N|\\N",
    );
    db.check("select count(*), sum(a) from t", "11|121");
    db.check(
        "insert into u select a, a from t where b is not null returning x * 2",
        "2 14 20 22 24 INSERT 0 5",
    );
}

#[test]
fn insert_refuses_what_postgresql_refuses() {
    let db = Db::new();
    let failing = "Failing row contains (null, x, null).";
    db.check(
        "insert into t values (null, 'x')",
        &format!(
            "23502 - null value in column \"a\" of relation \"t\" violates not-null constraint ({failing})"
        ),
    );
    db.check(
        "insert into t values (100, 'x')",
        "23514 - new row for relation \"t\" violates check constraint \"t_a_check\" (Failing row contains (100, x, null).)",
    );
    db.check(
        "insert into t values (1, 'x', 'y', 'z')",
        "42601 36 INSERT has more expressions than target columns",
    );
    db.check("insert into t (a, b) values (1)", "42601 19 INSERT has more target columns than expressions");
    db.check("insert into t (a, a) values (1, 2)", "42701 19 column \"a\" specified more than once");
    db.check("insert into t (nope) values (1)", "42703 16 column \"nope\" of relation \"t\" does not exist");
    db.check("insert into nope values (1)", "42P01 13 relation \"nope\" does not exist");
    db.check(
        "insert into t values (true)",
        "42804 23 column \"a\" is of type integer but expression is of type boolean",
    );
    db.check(
        "insert into t values (1, 'x', 'toolong')",
        "22001 - value too long for type character varying(3)",
    );
    db.check(
        "insert into t (a, ctid) values (1, 2)",
        "42703 19 column \"ctid\" of relation \"t\" does not exist",
    );
    db.check("insert into t values (1) on conflict do nothing", "INSERT 0 1");
    db.check(
        "insert into t values (1) on conflict (a) do nothing",
        "42P10 - there is no unique or exclusion constraint matching the ON CONFLICT specification",
    );
    db.check("insert into t values (a)", "42703 23 column \"a\" does not exist");
}

#[test]
fn system_columns_are_found_by_name_only() {
    let db = Db::new();
    db.check("insert into t values (1), (2)", "INSERT 0 2");
    db.check("select ctid, * from t", "(0,1)|1|\\N|\\N (0,2)|2|\\N|\\N");
    db.check("select t.ctid, tableoid from t where ctid = '(0,2)'", "(0,2)|16384");
    db.check("select ctid from t, u", "42702 8 column reference \"ctid\" is ambiguous");
    db.check("select t from t", "(1,,) (2,,)");
    db.check("select public.t.a from public.t", "1 2");
    db.check("select count(*) from t x where x.a = 2", "1");
    db.check("select nope from t", "42703 8 column \"nope\" does not exist");
}

#[test]
fn update_and_delete_change_what_the_condition_names() {
    let db = Db::new();
    db.check("insert into t select g, 'r' || g from generate_series(1, 5) g", "INSERT 0 5");
    db.check("update t set a = a + 10 where a > 3", "UPDATE 2");
    db.check("select a from t order by a", "1 2 3 14 15");
    db.check(
        "update t set (a, b) = (a - 10, default), c = 'z' where a = 14 returning a, b, c",
        "4|\\N|z UPDATE 1",
    );
    db.check(
        "update t set a = 200 where a = 1",
        "23514 - new row for relation \"t\" violates check constraint \
        \"t_a_check\" (Failing row contains (200, r1, null).)",
    );
    db.check("update t set (a, c) = (select 50, 'q') where a = 15", "UPDATE 1");
    db.check("delete from t where a < 3 returning b", "r1 r2 DELETE 2");
    db.check("delete from t x using u where x.a = u.id", "DELETE 0");
    db.check("insert into u values (3, 1), (3, 2), (4, 9)", "INSERT 0 3");
    db.check("update t set a = 60 + u.x from u where t.a = u.id returning t.a, u.id", "61|3 69|4 UPDATE 2");
    db.check("delete from t using u where a = 60 + x returning *", "61|r3|\\N|3|1 69|\\N|z|4|9 DELETE 2");
    db.check("select a, b, c from t", "50|r5|q");
    db.check("update t set nope = 1", "42703 14 column \"nope\" of relation \"t\" does not exist");
    db.check("update t set a = 1, a = 2", "42601 - multiple assignments to same column \"a\"");
    db.check("update t set ctid = null", "0A000 14 cannot assign to system column \"ctid\"");
    db.check("update t set a = sum(a)", "42803 18 aggregate functions are not allowed in UPDATE");
}

#[test]
fn with_may_change_data() {
    let db = Db::new();
    db.check("with n as (insert into t values (1), (2) returning a) select sum(a) from n", "3");
    db.check("with n as (delete from t returning a, b) insert into u select a, 5 from n", "INSERT 0 2");
    db.check("with n as (insert into t values (9)) select 1", "1");
    db.check("select a from t", "9");
    db.check(
        "select * from (with n as (delete from t returning a) select * from n) x",
        "0A000 21 WITH clause containing a data-modifying statement must be at the top level",
    );
    db.check(
        "with n as (delete from t) select * from n",
        "0A000 41 WITH query \"n\" does not have a RETURNING clause",
    );
    db.check("with x as (select 3 as y) insert into u select y, y from x", "INSERT 0 1");
}

#[test]
fn a_row_that_someone_else_changed_is_looked_at_again() {
    let db = Db::new();
    db.check("insert into t values (1, 'x'), (2, 'y'), (3, 'z')", "INSERT 0 3");
    let row = |a: i32, b: &str| [Datum::Int4(a), Datum::Null, Datum::text(b), Datum::Null];
    db.overtake("t", 0, Some(&row(11, "other")));
    db.overtake("t", 1, Some(&row(99, "gone")));
    db.overtake("t", 2, None);
    db.check("update t set a = a + 1 where a < 50 returning a, b", "12|other UPDATE 1");
    db.state("t").serializable.set(true);
    db.check("delete from t where a = 2", "40001 - could not serialize access due to concurrent update");
    db.check("delete from t where a = 3", "40001 - could not serialize access due to concurrent delete");
    db.check(
        "select * from t where a = 2 for update",
        "40001 - could not serialize access due to concurrent update",
    );
}

#[test]
fn for_update_locks_rows() {
    let db = Db::new();
    db.check("insert into t values (1, 'x'), (2, 'y'), (3, 'z')", "INSERT 0 3");
    db.check("insert into u values (1, 10), (3, 30)", "INSERT 0 2");
    db.overtake("t", 0, Some(&[Datum::Int4(4), Datum::Null, Datum::text("new"), Datum::Null]));
    db.state("t").versions.borrow_mut()[1].locked_by_other = true;
    db.check("select a, b from t order by a desc limit 2 for update skip locked", "3|z 4|new");
    db.check("select a from t where a = 1 for share", "");
    db.check(
        "select a from t where a = 2 for update nowait",
        "55P03 - could not obtain lock on row in relation \"t\"",
    );
    db.check("select x from t join u on a = id for update of t", "30");
    db.check("select x from u for no key update", "10 30");
    db.check("select 1 for update", "1");
    db.check("select distinct a from t for update", "0A000 - FOR UPDATE is not allowed with DISTINCT clause");
    db.check("select count(*) from t for share", "0A000 - FOR SHARE is not allowed with aggregate functions");
    db.check(
        "select a from t for update of nope",
        "42P01 31 relation \"nope\" in FOR UPDATE clause not found in FROM clause",
    );
    db.check(
        "select a from u left join t on a = id for update",
        "0A000 - FOR UPDATE cannot be applied to the nullable side of an outer join",
    );
    db.state("t").read_only.set(true);
    db.check(
        "select a from t for update",
        "25006 - cannot execute SELECT FOR UPDATE in a read-only transaction",
    );
    db.check("delete from t", "25006 - cannot execute DELETE in a read-only transaction");
    db.check("select a from t where a = 3", "3");
}

#[test]
fn joins_by_equality_find_the_same_rows() {
    let db = Db::new();
    db.check("insert into t select g, 'r' || g from generate_series(1, 4) g", "INSERT 0 4");
    db.check("insert into u values (2, 20), (3, 30), (3, 31), (null, 1), (9, 90)", "INSERT 0 5");
    db.check("select a, x from t join u on a = id order by 1, 2", "2|20 3|30 3|31");
    db.check("select a, x from t, u where id = a and x > 20 order by x", "3|30 3|31");
    db.check("select a, x from t left join u on a = id and x < 31 order by 1", "1|\\N 2|20 3|30 4|\\N");
    db.check("select a, x from t right join u on a = id order by x", "\\N|1 2|20 3|30 3|31 \\N|90");
    db.check(
        "select a, x from t full join u on a = id order by a, x",
        "1|\\N 2|20 3|30 3|31 4|\\N \\N|1 \\N|90",
    );
    db.check("select a, x from t join u on a = x - 17 order by 1", "3|20");
    db.check("select t.a, v.a from t join t v on t.a = v.a + 1 where v.b <> 'r2' order by 1", "2|1 4|3");
    db.check("select a from t where exists (select 1 from u where id = a) order by a", "2 3");
    db.check("select a, (select max(x) from u where id = t.a) from t where a in (2, 4)", "2|20 4|\\N");
}

#[test]
fn plans_know_their_locks_and_their_age() {
    let db = Db::new();
    let modes = |sql: &str, table: &str| {
        db.state(table).locks.borrow_mut().clear();
        db.execute(sql).unwrap();
        db.state(table).locks.borrow().iter().map(|(_, mode)| *mode).collect::<Vec<_>>()
    };
    assert_eq!(modes("select 1 from t", "t"), [TableLockMode::AccessShare]);
    assert_eq!(modes("select 1 from t for share", "t"), [TableLockMode::RowShare]);
    assert_eq!(modes("delete from t", "t"), [TableLockMode::RowExclusive]);
    assert_eq!(modes("insert into t select id from u", "u"), [TableLockMode::AccessShare]);
    let sql = "update t set a = id from u";
    let raw = parser::parse(sql).unwrap().remove(0);
    let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), &db).unwrap());
    assert_eq!(plan.command(), "UPDATE");
    assert!(plan.modifies() && plan.revalidate().unwrap());
    assert_eq!(db.state("u").locks.borrow().last().unwrap().1, TableLockMode::AccessShare);
    db.state("u").generation.set(1);
    assert!(plan.is_stale() && !plan.revalidate().unwrap());
}

#[test]
fn expressions_of_tables_stand_alone() {
    let db = Db::new();
    let session = Session::detached(0);
    let (table, _) = &db.tables[0];
    let mut rules = RowRules::new(table, &db).unwrap();
    assert!(matches!(rules.default_of(0, &session).unwrap(), Datum::Int4(7)));
    assert!(rules.default_of(2, &session).unwrap().is_null());
    let row = |a: Datum| [a, Datum::Null, Datum::text("b"), Datum::Null];
    assert!(rules.check(&row(Datum::Int4(1)), &session).is_ok());
    assert_eq!(rules.check(&row(Datum::Null), &session).unwrap_err().sqlstate, SqlState::NOT_NULL_VIOLATION);
    assert_eq!(
        rules.check(&row(Datum::Int4(100)), &session).unwrap_err().sqlstate,
        SqlState::CHECK_VIOLATION
    );
    let refused = |text: &str, purpose: ExprPurpose<'_>| {
        let expr = parser::parse_expr(text).unwrap();
        let columns = [Some(Column { name: "a".into(), ty: oid::INT4, typmod: -1 })];
        let e = compile_expr(&expr, text, purpose, &columns, &db).unwrap_err();
        format!("{} {} {}", e.sqlstate, e.position.unwrap_or(0), e.message)
    };
    let default = ExprPurpose::Default("a", oid::INT4, -1);
    assert_eq!(refused("1 + a", default), "0A000 5 cannot use column reference in DEFAULT expression");
    assert_eq!(refused("(select 1)", default), "0A000 1 cannot use subquery in DEFAULT expression");
    assert_eq!(
        refused("true", default),
        "42804 0 column \"a\" is of type integer but default expression is of type boolean"
    );
    let check = ExprPurpose::Check("t");
    assert_eq!(refused("a", check), "42804 1 argument of CHECK must be type boolean, not type integer");
    assert_eq!(refused("b > 1", check), "42703 1 column \"b\" does not exist");
    assert_eq!(
        refused("sum(a) > 1", check),
        "42803 1 aggregate functions are not allowed in check constraints"
    );
}

#[track_caller]
fn check_explain(db: &Db, sql: &str, expected: &str) {
    let raw = parser::parse(sql).unwrap().remove(0);
    let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), db).unwrap());
    let options = ExplainOptions { analyze: false, costs: false };
    assert_eq!(explain(&plan, options, &[]).join("\n"), expected, "{sql}");
}

/// What PostgreSQL 15 shows for the same tables, with `enable_mergejoin` off.
#[test]
fn plans_over_tables() {
    let db = Db::new();
    check_explain(&db, "select * from t", "Seq Scan on t");
    check_explain(
        &db,
        "select * from t x where a > 1 and b = 'y'",
        "Seq Scan on t x\n  Filter: ((a > 1) AND (b = 'y'::text))",
    );
    check_explain(&db, "insert into t values (1)", "Insert on t\n  ->  Result");
    check_explain(&db, "insert into t values (1), (2)", "Insert on t\n  ->  Values Scan on \"*VALUES*\"");
    check_explain(
        &db,
        "update t set a = 1 where a = 2",
        "Update on t\n  ->  Seq Scan on t\n        Filter: (a = 2)",
    );
    check_explain(&db, "delete from t", "Delete on t\n  ->  Seq Scan on t");
    check_explain(&db, "select * from t for update", "LockRows\n  ->  Seq Scan on t");
    check_explain(
        &db,
        "select 1 from t join u on a = id",
        "Hash Join\n  Hash Cond: (t.a = u.id)\n  ->  Seq Scan on t\n  ->  Hash\n        ->  Seq Scan on u",
    );
    check_explain(
        &db,
        "select * from t where ctid = '(0,1)'",
        "Tid Scan on t\n  TID Cond: (ctid = '(0,1)'::tid)",
    );
    check_explain(&db, "select a from t order by a desc", "Sort\n  Sort Key: a DESC\n  ->  Seq Scan on t");
    check_explain(
        &db,
        "select b, count(*) from t group by b",
        "HashAggregate\n  Group Key: b\n  ->  Seq Scan on t",
    );
}

#[test]
fn a_scan_costs_what_postgresql_says() {
    let db = Db::new();
    let sql = "insert into u select * from u";
    let raw = parser::parse(sql).unwrap().remove(0);
    let plan = plan(analyze(&raw, sql, ParamTypes::Fixed(&[]), &db).unwrap());
    let lines = explain(&plan, ExplainOptions { analyze: false, costs: true }, &[]);
    assert_eq!(lines[1], "  ->  Seq Scan on u  (cost=0.00..30.40 rows=2040 width=12)");
}
