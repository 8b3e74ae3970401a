//! What a server needs to find: pg_control, the first checkpoint, the commit log, and the catalogs of the three databases.
//!
//! What is in the catalogs is the business of `catalog::bootstrap`, which also makes the pages; here they are written.
//!
//! C counterpart: `BootStrapXLOG` (xlog.c), `BootStrapCLOG` and its like, `bootstrap_template1` and the
//! functions after it in initdb.c.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use catalog::bootstrap::{ClusterSpec, NewFile};
use catalog::database::{POSTGRES, TEMPLATE0, TEMPLATE1};
use common::file::CreateModes;
use common::pg_control::{self, CheckPoint, ControlFileData, DbState};
use common::version::{CATALOG_VERSION_NO, NAMEDATALEN, PG_CONTROL_VERSION};
use common::{Lsn, Oid, TimeLineId, Xid};

use crate::conf::MAX_CONNECTIONS;
use crate::layout::{make_dir, write_new, write_version};
use crate::locale::Locales;
use crate::options::Options;
use crate::report::{Failure, Result, say};

/// All below are the objects' of a new cluster. C: `FirstNormalObjectId`.
const FIRST_NORMAL_OID: Oid = Oid(16_384);
/// C: `FirstMultiXactId`.
const FIRST_MULTI: u32 = 1;
/// C: `FirstNormalUnloggedLSN`.
const FIRST_UNLOGGED_LSN: Lsn = Lsn(1000);
/// `wal_level = replica`.
const WAL_LEVEL_REPLICA: i32 = 1;

/// Files of 32-bit and 2-bit entries that exist from the start, one page of zeros each.
const ZEROED_PAGES: [&str; 4] =
    ["pg_xact/0000", "pg_subtrans/0000", "pg_multixact/offsets/0000", "pg_multixact/members/0000"];

/// Fills the directories.
pub(crate) fn run(
    options: &Options,
    locales: &Locales,
    superuser: &str,
    password: Option<String>,
    modes: CreateModes,
) -> Result<()> {
    let data_dir = &options.data_dir;
    say("running bootstrap script ... ");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Unlikely to be another cluster's: the time, to the microsecond, and the process.
    let system_identifier = (now.as_secs() << 32)
        | (u64::from(now.subsec_micros()) << 12)
        | u64::from(std::process::id() & 0xFFF);
    let control = first_control_file(options, system_identifier, now.as_secs() as i64)?;
    crate::wal::write_first_segment(
        data_dir,
        system_identifier,
        options.wal_segment_bytes,
        &control.checkpoint_copy,
    )?;
    for name in ZEROED_PAGES {
        write_new(&data_dir.join(name), &[0; pg_control::BLCKSZ as usize])?;
    }
    let verifier = password.map(|password| catalog::scram::encrypt_password(&password)).transpose()?;
    let catalogs = catalog::bootstrap::files(&ClusterSpec {
        superuser,
        password: verifier.as_deref(),
        encoding: locales.encoding,
        collate: &locales.collate,
        ctype: &locales.ctype,
        registry: backend::registry(),
        checksums: options.data_checksums,
    })?;
    write_files(&data_dir.join("global"), catalogs.iter().filter(|file| file.shared))?;
    write_database(data_dir, TEMPLATE1, &catalogs)?;
    control.create(data_dir, modes.file)?;
    say("ok\n");

    say("performing post-bootstrap initialization ... ");
    for oid in [TEMPLATE0, POSTGRES] {
        make_dir(&database_dir(data_dir, oid), modes)?;
        write_database(data_dir, oid, &catalogs)?;
    }
    say("ok\n");
    Ok(())
}

/// A database's directory: its catalogs, the relation map, its version.
fn write_database(data_dir: &Path, database: Oid, catalogs: &[NewFile]) -> Result<()> {
    let dir = database_dir(data_dir, database);
    write_files(&dir, catalogs.iter().filter(|file| !file.shared))?;
    write_version(&dir)
}

fn write_files<'a>(dir: &Path, files: impl Iterator<Item = &'a NewFile>) -> Result<()> {
    for file in files {
        write_new(&dir.join(&file.name), &file.bytes)?;
    }
    Ok(())
}

fn database_dir(data_dir: &Path, database: Oid) -> std::path::PathBuf {
    data_dir.join("base").join(database.to_string())
}

fn first_control_file(options: &Options, system_identifier: u64, now: i64) -> Result<ControlFileData> {
    let mut mock_authentication_nonce = [0; 32];
    getrandom::fill(&mut mock_authentication_nonce)
        .map_err(|_| Failure::new("could not generate secret authorization token"))?;
    let checkpoint = wal::offline::first_checkpoint_lsn(options.wal_segment_bytes);
    Ok(ControlFileData {
        system_identifier,
        pg_control_version: PG_CONTROL_VERSION,
        catalog_version_no: CATALOG_VERSION_NO,
        state: DbState::ShutDown,
        time: now,
        checkpoint,
        checkpoint_copy: CheckPoint {
            redo: checkpoint,
            this_timeline: TimeLineId(1),
            prev_timeline: TimeLineId(1),
            full_page_writes: true,
            next_full_xid: u64::from(Xid::FIRST_NORMAL.0),
            next_oid: FIRST_NORMAL_OID,
            next_multi: FIRST_MULTI,
            next_multi_offset: 0,
            oldest_xid: Xid::FIRST_NORMAL,
            oldest_xid_db: TEMPLATE1,
            oldest_multi: FIRST_MULTI,
            oldest_multi_db: TEMPLATE1,
            time: now,
            oldest_commit_ts_xid: Xid::INVALID,
            newest_commit_ts_xid: Xid::INVALID,
            oldest_active_xid: Xid::INVALID,
        },
        unlogged_lsn: FIRST_UNLOGGED_LSN,
        min_recovery_point: Lsn::INVALID,
        min_recovery_point_timeline: TimeLineId(0),
        backup_start_point: Lsn::INVALID,
        backup_end_point: Lsn::INVALID,
        backup_end_required: false,
        wal_level: WAL_LEVEL_REPLICA,
        wal_log_hints: false,
        max_connections: MAX_CONNECTIONS,
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
        xlog_seg_size: options.wal_segment_bytes,
        name_data_len: NAMEDATALEN as u32,
        index_max_keys: pg_control::INDEX_MAX_KEYS,
        toast_max_chunk_size: pg_control::TOAST_MAX_CHUNK_SIZE,
        loblksize: pg_control::LOBLKSIZE,
        float8_by_val: true,
        data_checksum_version: u32::from(options.data_checksums),
        mock_authentication_nonce,
    })
}
