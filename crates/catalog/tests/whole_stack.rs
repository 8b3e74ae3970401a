//! Catalogs over real files, WAL, buffers and transactions: tables come, change and go as their transactions do.
//!
//! A process has one data directory and one segment, so that all of it is one test.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use catalog::authid::{self, Membership, Role};
use catalog::bootstrap::ClusterSpec;
use catalog::create::ColumnSpec;
use catalog::encoding::Encoding;
use catalog::namespace::PUBLIC;
use catalog::{CheckSpec, CreateSpec, RelationStats, dependency, inval, namespace, syscache};
use common::pg_control::CheckPoint;
use common::{BackendType, ForkNumber, FullXid, Lsn, MultiXactId, Oid, TimeLineId, Xid};
use heap::{InsertOptions, Scan, ScanOptions};
use lmgr::LockMode;
use shmem::{Limits, Reservation, Segment};
use transam::StartupState;
use types::{Datum, oid};
use wal::{DecodedRecord, RmgrId};

const SEGMENT: u32 = 1 << 20;
const SYSTEM: u64 = 4711;
const DATABASE: Oid = Oid(5);
/// C: `XLOG_NEXTOID`.
const NEXT_OID: u8 = 0x30;

struct DataDir(PathBuf);

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A new cluster of one database.
fn make_cluster() -> DataDir {
    let dir = std::env::temp_dir().join(format!("catalog-stack-{}", std::process::id()));
    let subs = ["global", "base/5", "pg_wal/archive_status", "pg_xact", "pg_subtrans"];
    for sub in subs.into_iter().chain(["pg_multixact/offsets", "pg_multixact/members"]) {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for (path, bytes) in transam::bootstrap_files() {
        std::fs::write(dir.join(path), bytes).unwrap();
    }
    let spec = ClusterSpec {
        superuser: "postgres",
        password: None,
        encoding: Encoding::UTF8,
        collate: "C",
        ctype: "C",
        registry: types::fmgr::builtin_registry(),
        checksums: false,
    };
    for file in catalog::bootstrap::files(&spec).unwrap() {
        let below = if file.shared { "global" } else { "base/5" };
        std::fs::write(dir.join(below).join(file.name), file.bytes).unwrap();
    }
    control_file().create(&dir, 0o600).unwrap();
    DataDir(dir)
}

fn first_checkpoint() -> CheckPoint {
    CheckPoint {
        redo: wal::offline::first_checkpoint_lsn(SEGMENT),
        this_timeline: TimeLineId(1),
        prev_timeline: TimeLineId(1),
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(16_384),
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: 1,
        oldest_multi_db: Oid(1),
        time: 1_700_000_000,
        oldest_commit_ts_xid: Xid(0),
        newest_commit_ts_xid: Xid(0),
        oldest_active_xid: Xid(0),
    }
}

/// A session on a server of its own, in a thread of its own, as what a process remembers is thread-local. It ends
/// without a word, as in a crash. The next one begins by replaying all WAL.
fn session(dir: &DataDir, body: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(|| life(&dir.0, body)).join().unwrap());
}

fn life(dir: &Path, body: impl FnOnce()) {
    std::env::set_current_dir(dir).unwrap();
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    let limits =
        Limits { max_connections: 8, autovacuum_max_workers: 1, max_wal_senders: 0, ..Limits::default() };
    let procs = limits.max_procs() as usize;
    let mut r = Reservation::new();
    shmem::reserve(&mut r, limits);
    wal::reserve(&mut r);
    storage::reserve_with(&mut r, 256);
    transam::reserve(&mut r, procs);
    sinval::reserve(&mut r, procs);
    lmgr::reserve(&mut r, procs, procs);
    let segment = Segment::create_private(r).unwrap();
    shmem::init_process(BackendType::Backend, 0).unwrap();
    let state = StartupState {
        next_xid: FullXid::new(0, Xid(3)),
        next_oid: Oid(16_384),
        next_multi: MultiXactId(1),
        next_multi_offset: 0,
        oldest_xid: Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: MultiXactId(1),
        oldest_multi_db: Oid(1),
    };
    transam::startup(&state).unwrap();
    start_wal();
    transam::trim().unwrap();
    transam::procarray::add();
    storage::init_process();
    sinval::attach();
    lmgr::attach();
    heap::combocid::register();
    catalog::init();
    body();
    shmem::proc::release();
    std::env::set_current_dir("/").unwrap();
    segment.destroy();
}

/// What the startup process does.
fn start_wal() {
    let first = Path::new("pg_wal/000000010000000000000001");
    if !first.exists() {
        let bytes = wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &first_checkpoint());
        std::fs::write(first, bytes).unwrap();
    }
    let timeline = TimeLineId(1);
    let control = control_file();
    wal::startup::attach(&control);
    wal::startup::begin_redo(control.checkpoint, false);
    storage::smgr::set_in_redo(true);
    let mut reader = wal::Reader::new("pg_wal", SEGMENT, timeline);
    reader.set_system_identifier(SYSTEM);
    reader.begin_read(control.checkpoint);
    let mut last = control.checkpoint;
    while let Ok(Some(record)) = reader.next() {
        last = record.lsn;
        replay(&record);
    }
    let broken = reader.broken_record();
    storage::redo::check_invalid_pages().unwrap();
    storage::smgr::set_in_redo(false);
    let end = wal::startup::find_end(&mut reader, last, broken).unwrap();
    wal::startup::begin_writing(&end, timeline, timeline);
    wal::startup::finish();
}

fn replay(record: &DecodedRecord<'_>) {
    transam::varsup::advance_past(record.xid);
    let replayed = match RmgrId::from_u8(record.rmgr).unwrap() {
        RmgrId::Xact => transam::redo::xact_redo(record),
        RmgrId::Clog => transam::redo::clog_redo(record),
        RmgrId::MultiXact => transam::redo::multixact_redo(record),
        RmgrId::Standby => transam::redo::standby_redo(record),
        RmgrId::Smgr => catalog::pending::redo(record),
        RmgrId::RelMap => catalog::relmapper::redo(record),
        RmgrId::Heap => heap::redo::heap_redo(record),
        RmgrId::Heap2 => heap::redo::heap2_redo(record),
        RmgrId::Xlog if record.operation() == NEXT_OID => {
            let oid = u32::from_le_bytes(record.main_data[..4].try_into().unwrap());
            transam::varsup::redo_next_oid(Oid(oid), false);
            Ok(())
        }
        _ => Ok(()),
    };
    replayed.unwrap();
}

fn control_file() -> common::pg_control::ControlFileData {
    use common::pg_control::{self, ControlFileData, DbState};
    let at = wal::offline::first_checkpoint_lsn(SEGMENT);
    ControlFileData {
        system_identifier: SYSTEM,
        pg_control_version: common::version::PG_CONTROL_VERSION,
        catalog_version_no: common::version::CATALOG_VERSION_NO,
        state: DbState::ShutDown,
        time: 1_700_000_000,
        checkpoint: at,
        checkpoint_copy: first_checkpoint(),
        unlogged_lsn: Lsn(1000),
        min_recovery_point: Lsn(0),
        min_recovery_point_timeline: TimeLineId(0),
        backup_start_point: Lsn(0),
        backup_end_point: Lsn(0),
        backup_end_required: false,
        wal_level: 1,
        wal_log_hints: false,
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_xacts: 0,
        max_locks_per_xact: 64,
        track_commit_timestamp: false,
        max_align: pg_control::MAX_ALIGN,
        float_format: pg_control::FLOAT_FORMAT,
        blcksz: pg_control::BLCKSZ,
        relseg_size: pg_control::RELSEG_SIZE,
        xlog_blcksz: pg_control::XLOG_BLCKSZ,
        xlog_seg_size: SEGMENT,
        name_data_len: 64,
        index_max_keys: pg_control::INDEX_MAX_KEYS,
        toast_max_chunk_size: pg_control::TOAST_MAX_CHUNK_SIZE,
        loblksize: pg_control::LOBLKSIZE,
        float8_by_val: true,
        data_checksum_version: 0,
        mock_authentication_nonce: [7; 32],
    }
}

fn in_transaction<T>(body: impl FnOnce() -> T) -> T {
    transam::start_transaction().unwrap();
    let result = body();
    transam::commit_transaction().unwrap();
    result
}

fn table(name: &str) -> CreateSpec {
    let columns = vec![
        ColumnSpec { not_null: true, ..ColumnSpec::new("a", oid::INT4, -1) },
        ColumnSpec { default: Some("'x'::text".into()), ..ColumnSpec::new("b", oid::TEXT, -1) },
    ];
    let mut spec = CreateSpec::new(name, PUBLIC, Oid(10), columns);
    spec.checks.push(CheckSpec {
        name: catalog::choose_check_name(name, Some("a"), |_| false),
        expression: "(a > 0)".into(),
        columns: vec![1],
        no_inherit: false,
    });
    spec
}

fn find(name: &str) -> Option<Oid> {
    namespace::lookup_relation(None, name).unwrap()
}

fn file_of(oid: Oid) -> String {
    catalog::open(oid, LockMode::AccessShare).unwrap().table.node.path(ForkNumber::Main)
}

#[test]
fn tables_come_change_and_go() {
    let dir = make_cluster();
    session(&dir, || {
        roles_and_databases_before_a_database_is_chosen();
        catalog::set_my_database(DATABASE);
        created_and_dropped();
        undone();
        savepoints();
        stats_and_truncate();
        roles_change_with_the_transaction();
        cut_off();
    });
    session(&dir, || {
        catalog::set_my_database(DATABASE);
        recovered();
    });
}

fn roles_and_databases_before_a_database_is_chosen() {
    let nowhere = Path::new("");
    assert_eq!(authid::load(nowhere).unwrap().get("postgres").unwrap().oid, Oid(10));
    let found = catalog::database::load(nowhere).unwrap().find("postgres").unwrap().unwrap();
    assert_eq!(found.oid, DATABASE);
}

fn created_and_dropped() {
    let oid = in_transaction(|| {
        assert_eq!(find("pg_class"), Some(Oid(1259)));
        let oid = catalog::create_relation(&table("t")).unwrap();
        assert_eq!(find("t"), None, "not before the next command");
        transam::command_counter_increment().unwrap();
        assert_eq!(find("t"), Some(oid));
        let error = catalog::create_relation(&table("t")).unwrap_err();
        assert_eq!(&*error.message, "relation \"t\" already exists");
        oid
    });
    in_transaction(|| {
        let relation = catalog::open_by_name(None, "t", LockMode::RowExclusive).unwrap().unwrap();
        assert_eq!((relation.oid(), relation.desc.natts()), (oid, 2));
        assert_eq!(relation.default_of(2), Some("'x'::text"));
        assert_eq!(&*relation.checks[0].expression, "(a > 0)");
        assert!(relation.desc.attrs[0].not_null && !relation.desc.attrs[1].not_null);
        assert_eq!(namespace::relation_is_visible(oid).unwrap(), Some(true));
        assert_eq!(dependency::dependents(dependency::Object::relation(oid)).unwrap().len(), 3);
        let row = [Datum::Int4(1), Datum::text("one")];
        let mut tuple = heap::form_tuple(&relation.desc, &row).unwrap();
        let cid = transam::current_command_id(true);
        heap::insert(&relation.table, &mut tuple, cid, InsertOptions::default(), None).unwrap();
    });
    let file = in_transaction(|| {
        let relation = catalog::open(oid, LockMode::AccessShare).unwrap();
        let snapshot = transam::transaction_snapshot().unwrap();
        let mut scan = Scan::begin(&relation.table, snapshot, ScanOptions::default()).unwrap();
        let mut row = Vec::new();
        scan.next().unwrap().unwrap().deform(&relation.desc, 2, &mut row).unwrap();
        assert_eq!(row[1].as_str(), Some("one"));
        assert!(scan.next().unwrap().is_none());
        drop(scan);
        file_of(oid)
    });
    in_transaction(|| {
        catalog::open(oid, LockMode::AccessExclusive).unwrap();
        catalog::drop_relation(oid).unwrap();
        transam::command_counter_increment().unwrap();
        assert_eq!(find("t"), None);
        assert!(Path::new(&file).exists());
    });
    // What is left of it is empty, until the next checkpoint removes it.
    assert!(std::fs::metadata(&file).is_ok_and(|found| found.len() == 0));
    in_transaction(|| {
        let error = catalog::open(oid, LockMode::AccessShare).unwrap_err();
        assert_eq!(*error.message, *format!("could not open relation with OID {oid}"));
        assert!(syscache::type_by_name("_t", PUBLIC).unwrap().is_none());
    });
}

fn undone() {
    transam::start_transaction().unwrap();
    let oid = catalog::create_relation(&table("never")).unwrap();
    transam::command_counter_increment().unwrap();
    let file = file_of(oid);
    assert!(Path::new(&file).exists());
    transam::abort_transaction();
    assert!(std::fs::metadata(&file).map_or(true, |found| found.len() == 0));
    in_transaction(|| assert_eq!(find("never"), None));
}

fn savepoints() {
    transam::start_transaction().unwrap();
    let outer = catalog::create_relation(&table("outer")).unwrap();
    transam::command_counter_increment().unwrap();
    transam::start_subtransaction().unwrap();
    catalog::create_relation(&table("inner")).unwrap();
    transam::command_counter_increment().unwrap();
    assert!(find("inner").is_some());
    transam::abort_subtransaction();
    assert_eq!((find("inner"), find("outer")), (None, Some(outer)));
    transam::start_subtransaction().unwrap();
    catalog::drop_relation(outer).unwrap();
    transam::command_counter_increment().unwrap();
    assert_eq!(find("outer"), None);
    transam::abort_subtransaction();
    transam::start_subtransaction().unwrap();
    let kept = catalog::create_relation(&table("kept")).unwrap();
    transam::commit_subtransaction().unwrap();
    transam::commit_transaction().unwrap();
    in_transaction(|| {
        assert_eq!((find("inner"), find("outer"), find("kept")), (None, Some(outer), Some(kept)));
        assert!(Path::new(&file_of(outer)).exists() && Path::new(&file_of(kept)).exists());
    });
}

fn stats_and_truncate() {
    let oid = in_transaction(|| find("outer").unwrap());
    let generation = inval::generation();
    in_transaction(|| {
        let stats = RelationStats { pages: 3, tuples: 100.0, ..RelationStats::default() };
        catalog::update_stats(oid, &stats).unwrap();
    });
    assert_ne!(generation, inval::generation());
    in_transaction(|| {
        let stats = RelationStats { pages: 2, tuples: 64.0, ..RelationStats::default() };
        catalog::update_stats(Oid(1259), &stats).unwrap();
    });
    let of_class = in_transaction(|| catalog::open(Oid(1259), LockMode::AccessShare).unwrap());
    assert_eq!((of_class.class.relpages, of_class.class.reltuples), (2, 64.0));
    let before = in_transaction(|| {
        assert_eq!(syscache::class(oid).unwrap().unwrap().relpages, 3);
        catalog::open(oid, LockMode::AccessShare).unwrap().table.node
    });
    in_transaction(|| {
        catalog::open(oid, LockMode::AccessExclusive).unwrap();
        catalog::truncate_relation(oid).unwrap();
    });
    in_transaction(|| {
        let relation = catalog::open(oid, LockMode::AccessShare).unwrap();
        assert_ne!(relation.table.node, before);
        assert_eq!(relation.class.relpages, 0);
    });
}

fn roles_change_with_the_transaction() {
    let nowhere = Path::new("");
    let exists = |name| in_transaction(|| authid::load(nowhere).unwrap().find(name).unwrap().is_some());
    transam::start_transaction().unwrap();
    authid::update(nowhere, |roles| roles.create(Role::new("joe"))).unwrap();
    assert!(authid::load(nowhere).unwrap().find("joe").unwrap().is_some());
    transam::abort_transaction();
    assert!(!exists("joe"));
    in_transaction(|| {
        let joe = authid::update(nowhere, |roles| roles.create(Role::new("joe"))).unwrap();
        let role = Oid(3373);
        let membership = Membership { role, member: joe, grantor: Oid(10), admin: false };
        authid::update(nowhere, |roles| roles.grant(membership)).unwrap();
        authid::update(nowhere, |roles| roles.alter("joe", |joe| joe.name = "jim".into())).unwrap();
    });
    assert!(exists("jim") && !exists("joe"));
    in_transaction(|| authid::update(nowhere, |roles| roles.remove("jim")).unwrap());
    assert!(!exists("jim"));
    in_transaction(|| assert_eq!(authid::load(nowhere).unwrap().memberships().unwrap().len(), 3));
}

/// A transaction that a crash ends, and the last one before it.
fn cut_off() {
    in_transaction(|| {
        let relation = catalog::open_by_name(None, "kept", LockMode::RowExclusive).unwrap().unwrap();
        let mut tuple = heap::form_tuple(&relation.desc, &[Datum::Int4(7), Datum::Null]).unwrap();
        let cid = transam::current_command_id(true);
        heap::insert(&relation.table, &mut tuple, cid, InsertOptions::default(), None).unwrap();
    });
    transam::start_transaction().unwrap();
    catalog::create_relation(&table("cut_off")).unwrap();
    catalog::drop_relation(find("kept").unwrap()).unwrap();
}

fn recovered() {
    in_transaction(|| {
        for gone in ["t", "never", "inner", "cut_off"] {
            assert_eq!(find(gone), None);
        }
        let relation = catalog::open_by_name(None, "kept", LockMode::AccessShare).unwrap().unwrap();
        let snapshot = transam::transaction_snapshot().unwrap();
        let mut scan = Scan::begin(&relation.table, snapshot, ScanOptions::default()).unwrap();
        let row = scan.next().unwrap().unwrap();
        assert!(matches!(row.attr(&relation.desc, 1).unwrap(), Datum::Int4(7)));
        assert!(scan.next().unwrap().is_none());
        assert!(Path::new(&file_of(find("outer").unwrap())).exists());
    });
    assert!(authid::load(Path::new("")).unwrap().find("jim").unwrap().is_none());
    let oid = in_transaction(|| catalog::create_relation(&table("t")).unwrap());
    in_transaction(|| assert_eq!(find("t"), Some(oid)));
}
