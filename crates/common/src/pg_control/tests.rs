//! The layout against PostgreSQL's own files and tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A value whose every field differs from its neighbours, so that a swapped pair shows.
fn sample() -> ControlFileData {
    ControlFileData {
        system_identifier: 7_000_000_000_000_000_001,
        pg_control_version: PG_CONTROL_VERSION,
        catalog_version_no: CATALOG_VERSION_NO,
        state: DbState::InProduction,
        time: 1_700_000_001,
        checkpoint: Lsn(0x0000_0001_0200_0028),
        checkpoint_copy: CheckPoint {
            redo: Lsn(0x0000_0001_0200_0010),
            this_timeline: TimeLineId(3),
            prev_timeline: TimeLineId(2),
            full_page_writes: true,
            next_full_xid: (7 << 32) | 739,
            next_oid: Oid(16_384),
            next_multi: 11,
            next_multi_offset: 12,
            oldest_xid: Xid(716),
            oldest_xid_db: Oid(1),
            oldest_multi: 5,
            oldest_multi_db: Oid(4),
            time: 1_700_000_002,
            oldest_commit_ts_xid: Xid(721),
            newest_commit_ts_xid: Xid(722),
            oldest_active_xid: Xid(738),
        },
        unlogged_lsn: Lsn(1000),
        min_recovery_point: Lsn(0x3000),
        min_recovery_point_timeline: TimeLineId(9),
        backup_start_point: Lsn(0x4000),
        backup_end_point: Lsn(0x5000),
        backup_end_required: true,
        wal_level: 2,
        wal_log_hints: true,
        max_connections: 101,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_xacts: 6,
        max_locks_per_xact: 64,
        track_commit_timestamp: true,
        max_align: MAX_ALIGN,
        float_format: FLOAT_FORMAT,
        blcksz: BLCKSZ,
        relseg_size: RELSEG_SIZE,
        xlog_blcksz: XLOG_BLCKSZ,
        xlog_seg_size: 16 << 20,
        name_data_len: 64,
        index_max_keys: INDEX_MAX_KEYS,
        toast_max_chunk_size: TOAST_MAX_CHUNK_SIZE,
        loblksize: LOBLKSIZE,
        float8_by_val: true,
        data_checksum_version: 1,
        mock_authentication_nonce: std::array::from_fn(|i| i as u8 + 1),
    }
}

/// A directory of this test alone with a `global` in it, removed when dropped.
struct DataDir(PathBuf);

impl DataDir {
    fn new(name: &str) -> DataDir {
        let dir = std::env::temp_dir().join(format!("common-control-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("global")).unwrap();
        DataDir(dir)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const REAL_BIN: &str = "/usr/lib/postgresql/15/bin";

/// Path of one of PostgreSQL's programs, or a loud note that the test is skipped.
fn real_program(name: &str) -> Option<PathBuf> {
    let path = Path::new(REAL_BIN).join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not installed", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn write_and_read_back() {
    let dir = DataDir::new("round");
    assert!(matches!(ControlFileData::read(&dir.0), Err(ControlFileError::Missing(_))));
    assert!(sample().write(&dir.0).is_err(), "an update does not make the file");
    sample().create(&dir.0, 0o600).unwrap();
    assert_eq!(ControlFileData::read(&dir.0).unwrap(), sample());
    let mut changed = sample();
    changed.state = DbState::ShutDown;
    changed.write(&dir.0).unwrap();
    assert_eq!(ControlFileData::read(&dir.0).unwrap(), changed);
    assert_eq!(std::fs::metadata(dir.0.join(CONTROL_FILE)).unwrap().len(), CONTROL_FILE_SIZE as u64);
}

#[test]
fn half_of_a_write_is_looked_at_again() {
    let mut looks = 0;
    let found = settled(|| {
        looks += 1;
        if looks < 3 { Err(ControlFileError::WrongCrc) } else { Ok(looks) }
    });
    assert_eq!(found.unwrap(), 3);
    let mut looks = 0;
    let damaged = settled::<()>(|| {
        looks += 1;
        Err(ControlFileError::WrongCrc)
    });
    assert!(matches!(damaged, Err(ControlFileError::WrongCrc)));
    assert_eq!(looks, MAX_LOOKS);
    let mut looks = 0;
    let missing = settled::<()>(|| {
        looks += 1;
        Err(ControlFileError::Missing(CONTROL_FILE.into()))
    });
    assert!(missing.is_err() && looks == 1, "only that can be half of a write");
}

#[test]
fn damage_is_named() {
    let dir = DataDir::new("damage");
    sample().create(&dir.0, 0o600).unwrap();
    let good = std::fs::read(dir.0.join(CONTROL_FILE)).unwrap();
    let read_with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(dir.0.join(CONTROL_FILE), bytes).unwrap();
        ControlFileData::read(&dir.0).unwrap_err()
    };
    for length in [0, 1, 287, 288, 291, 295] {
        let error = read_with(&|bytes| bytes.truncate(length));
        assert!(matches!(error, ControlFileError::TooShort { read, .. } if read == length), "{error}");
    }
    assert!(matches!(read_with(&|bytes| bytes[40] ^= 1), ControlFileError::WrongCrc));
    let error = read_with(&|bytes| bytes[8..12].copy_from_slice(&1201u32.to_ne_bytes()));
    assert_eq!(error.to_string(), "database files are incompatible with server");
    assert_eq!(
        error.detail().unwrap(),
        "The database cluster was initialized with PG_CONTROL_VERSION 1201, but the server was compiled with PG_CONTROL_VERSION 1300."
    );
    assert_eq!(error.hint(), Some("It looks like you need to initdb."));
    let error = read_with(&|bytes| bytes[8..12].reverse());
    assert!(matches!(error, ControlFileError::WrongVersion { byte_swapped: true, .. }));
    assert!(error.detail().unwrap().contains("PG_CONTROL_VERSION 335872000 (0x14050000), but"));
}

#[test]
fn other_builds_are_refused() {
    let refused = |change: &dyn Fn(&mut ControlFileData)| {
        let mut control = sample();
        change(&mut control);
        control.check_compatible().unwrap_err()
    };
    assert!(matches!(refused(&|c| c.catalog_version_no = 1), ControlFileError::WrongCatalogVersion(1)));
    assert!(matches!(refused(&|c| c.float_format = 1.0), ControlFileError::IncompatibleNumbers(_)));
    assert!(matches!(refused(&|c| c.xlog_seg_size = 3), ControlFileError::InvalidSegmentSize(3)));
    let error = refused(&|c| c.blcksz = 4096);
    assert_eq!(
        error.detail().unwrap(),
        "The database cluster was initialized with BLCKSZ 4096, but the server was compiled with BLCKSZ 8192."
    );
    assert_eq!(error.hint(), Some("It looks like you need to recompile or initdb."));
}

#[test]
fn unknown_state_is_refused() {
    let mut bytes = sample().to_bytes();
    bytes[16] = 7;
    let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
    bytes[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_ne_bytes());
    assert!(matches!(ControlFileData::from_bytes(&bytes[..]), Err(ControlFileError::InvalidState(7))));
}

#[test]
fn checkpoint_body_round_trips() {
    let checkpoint = sample().checkpoint_copy;
    let bytes = checkpoint.to_bytes();
    assert_eq!(CheckPoint::from_bytes(&bytes), Some(checkpoint));
    assert_eq!(CheckPoint::from_bytes(&bytes[1..]), None);
}

#[test]
fn pg_controldata_reads_ours() {
    let Some(program) = real_program("pg_controldata") else { return };
    let dir = DataDir::new("ours");
    sample().create(&dir.0, 0o600).unwrap();
    let output = Command::new(program).arg("-D").arg(&dir.0).env("LC_ALL", "C").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let value = |label: &str| {
        text.lines().find_map(|l| l.strip_prefix(label)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    for (label, expected) in [
        ("pg_control version number", "1300"),
        ("Catalog version number", "202209061"),
        ("Database system identifier", "7000000000000000001"),
        ("Database cluster state", "in production"),
        ("Latest checkpoint location", "1/2000028"),
        ("Latest checkpoint's REDO location", "1/2000010"),
        ("Latest checkpoint's TimeLineID", "3"),
        ("Latest checkpoint's PrevTimeLineID", "2"),
        ("Latest checkpoint's full_page_writes", "on"),
        ("Latest checkpoint's NextXID", "7:739"),
        ("Latest checkpoint's NextOID", "16384"),
        ("Latest checkpoint's NextMultiXactId", "11"),
        ("Latest checkpoint's NextMultiOffset", "12"),
        ("Latest checkpoint's oldestXID", "716"),
        ("Latest checkpoint's oldestXID's DB", "1"),
        ("Latest checkpoint's oldestActiveXID", "738"),
        ("Latest checkpoint's oldestMultiXid", "5"),
        ("Latest checkpoint's oldestMulti's DB", "4"),
        ("Latest checkpoint's oldestCommitTsXid", "721"),
        ("Latest checkpoint's newestCommitTsXid", "722"),
        ("Fake LSN counter for unlogged rels", "0/3E8"),
        ("Minimum recovery ending location", "0/3000"),
        ("Min recovery ending loc's timeline", "9"),
        ("Backup start location", "0/4000"),
        ("Backup end location", "0/5000"),
        ("End-of-backup record required", "yes"),
        ("wal_level setting", "logical"),
        ("wal_log_hints setting", "on"),
        ("max_connections setting", "101"),
        ("max_worker_processes setting", "8"),
        ("max_wal_senders setting", "10"),
        ("max_prepared_xacts setting", "6"),
        ("max_locks_per_xact setting", "64"),
        ("track_commit_timestamp setting", "on"),
        ("Bytes per WAL segment", "16777216"),
        ("Data page checksum version", "1"),
    ] {
        assert_eq!(value(label), expected, "{label}");
    }
    assert!(value("Mock authentication nonce").starts_with("0102030405"));
}

#[test]
fn bytes_of_the_real_initdb_survive_a_round_trip() {
    let Some(program) = real_program("initdb") else { return };
    let dir = DataDir::new("real");
    let data = dir.0.join("cluster");
    // initdb refuses root; anyone can write in a directory that is open to all.
    std::fs::set_permissions(&dir.0, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = Command::new(program);
    command.arg("-D").arg(&data).args(["-N", "-A", "trust", "--no-instructions", "--locale=C"]);
    if crate::user::is_root() {
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
    }
    let output = command.current_dir("/").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(data.join(CONTROL_FILE)).unwrap();
    let control = ControlFileData::read(&data).unwrap();
    assert_eq!(&control.to_bytes()[..], &bytes[..]);
    assert_eq!(control.state, DbState::ShutDown);
}
