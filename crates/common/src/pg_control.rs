//! `global/pg_control`: the state of the cluster, the last checkpoint and the build it belongs to.
//!
//! The file is 8192 bytes long, of which the first 292 carry data, so that a single disk sector holds all of
//! it and an update is one write that happens or doesn't. Each struct here is written down once, by
//! `on_disk!`, which makes both the type that the server works with and the layout in the file.
//!
//! Invariants: the CRC covers everything before it; a file with a wrong CRC or a wrong version is never used;
//! a write is followed by an fsync before anyone relies on it.
//!
//! C counterpart: catalog/pg_control.h, common/controldata_utils.c.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::file::os_error_text;
use crate::version::{CATALOG_VERSION_NO, PG_CONTROL_VERSION};
use crate::{Lsn, Oid, TimeLineId, Xid};

/// Where the file is, below the data directory. C: `XLOG_CONTROL_FILE`.
pub const CONTROL_FILE: &str = "global/pg_control";
/// Length of the file, kept the same through all versions. C: `PG_CONTROL_FILE_SIZE`.
pub const CONTROL_FILE_SIZE: usize = 8192;
/// Where the CRC stands, and how many bytes it covers.
const CRC_OFFSET: usize = size_of::<RawControlFileData>();
/// Bytes that a valid file must at least have. C: `sizeof(ControlFileData)`.
const DATA_SIZE: usize = 296;

/// Looks at a file whose CRC is wrong before that is believed, and the time between two of them.
const MAX_LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// Alignment of tuples. C: `MAXIMUM_ALIGNOF`.
pub const MAX_ALIGN: u32 = 8;
/// A number whose bytes tell one floating-point format from another. C: `FLOATFORMAT_VALUE`.
pub const FLOAT_FORMAT: f64 = 1_234_567.0;
/// Bytes of a data page. C: `BLCKSZ`.
pub const BLCKSZ: u32 = 8192;
/// Pages of one file of a large relation: 1 GB. C: `RELSEG_SIZE`.
pub const RELSEG_SIZE: u32 = 131_072;
/// Bytes of a WAL page. C: `XLOG_BLCKSZ`.
pub const XLOG_BLCKSZ: u32 = 8192;
/// Columns of an index at most. C: `INDEX_MAX_KEYS`.
pub const INDEX_MAX_KEYS: u32 = 32;
/// Bytes of one chunk of a value moved out of line. C: `TOAST_MAX_CHUNK_SIZE`.
pub const TOAST_MAX_CHUNK_SIZE: u32 = 1996;
/// Bytes of one row of a large object. C: `LOBLKSIZE`.
pub const LOBLKSIZE: u32 = 2048;

/// A value in memory and its form in the file. A form that is an array holds the value first and then the
/// padding that C's alignment rules put behind it, always written as zeros.
trait Stored<Raw>: Sized {
    fn store(self) -> Raw;
    /// `None` if no value has this form.
    fn load(raw: Raw) -> Option<Self>;
}

macro_rules! on_disk {
    ($(#[$doc:meta])* $name:ident as $raw:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty as $raw_type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        struct $raw { $($field: $raw_type,)* }

        impl Stored<$raw> for $name {
            fn store(self) -> $raw {
                $raw { $($field: self.$field.store(),)* }
            }
            fn load(raw: $raw) -> Option<$name> {
                Some($name { $($field: <$type as Stored<$raw_type>>::load(raw.$field)?,)* })
            }
        }
    };
}

on_disk! {
    /// A checkpoint, as its WAL record holds it and pg_control repeats it. C: `CheckPoint`.
    CheckPoint as RawCheckPoint {
        /// Where recovery starts to replay.
        redo: Lsn as u64,
        /// Timeline the record is on.
        this_timeline: TimeLineId as u32,
        /// Timeline before it, another one only if this record begins a timeline.
        prev_timeline: TimeLineId as u32,
        /// Value of `full_page_writes` at `redo`.
        full_page_writes: bool as [u8; 8],
        /// Next transaction id: epoch in the upper half.
        next_full_xid: u64 as u64,
        /// Next object id.
        next_oid: Oid as u32,
        /// Next multixact id.
        next_multi: u32 as u32,
        /// Next place in the multixact members.
        next_multi_offset: u32 as u32,
        /// Oldest transaction id that any table may still hold.
        oldest_xid: Xid as u32,
        /// Database that holds it.
        oldest_xid_db: Oid as u32,
        /// Oldest multixact id that any table may still hold.
        oldest_multi: u32 as u32,
        /// Database that holds it.
        oldest_multi_db: Oid as [u32; 2],
        /// Unix time of the checkpoint.
        time: i64 as i64,
        /// Oldest transaction with a commit timestamp.
        oldest_commit_ts_xid: Xid as u32,
        /// Newest transaction with a commit timestamp.
        newest_commit_ts_xid: Xid as u32,
        /// Oldest transaction that was running; 0 in a shutdown checkpoint.
        oldest_active_xid: Xid as [u32; 2],
    }
}

on_disk! {
    /// Everything in pg_control but its CRC. C: `ControlFileData`.
    ControlFileData as RawControlFileData {
        /// Made at initdb; the long header of each WAL segment repeats it.
        system_identifier: u64 as u64,
        /// Format of this file, [`PG_CONTROL_VERSION`].
        pg_control_version: u32 as u32,
        /// Format of the catalogs, [`CATALOG_VERSION_NO`].
        catalog_version_no: u32 as u32,
        /// What the cluster is doing, or how it ended.
        state: DbState as [u32; 2],
        /// Unix time of the last update of this file.
        time: i64 as i64,
        /// Where the last checkpoint's record is.
        checkpoint: Lsn as u64,
        /// What that record says.
        checkpoint_copy: CheckPoint as RawCheckPoint,
        /// Next made-up position for unlogged relations.
        unlogged_lsn: Lsn as u64,
        /// Recovery from an archive must get at least here before sessions may read.
        min_recovery_point: Lsn as u64,
        /// Timeline of `min_recovery_point`.
        min_recovery_point_timeline: TimeLineId as [u32; 2],
        /// Start of the base backup being recovered, until its end is reached.
        backup_start_point: Lsn as u64,
        /// End of a base backup that was taken from a standby.
        backup_end_point: Lsn as u64,
        /// The backup's end record must be seen before sessions may read.
        backup_end_required: bool as [u8; 4],
        /// `wal_level`: 0 minimal, 1 replica, 2 logical.
        wal_level: i32 as i32,
        /// `wal_log_hints`.
        wal_log_hints: bool as [u8; 4],
        /// `max_connections`.
        max_connections: i32 as i32,
        /// `max_worker_processes`.
        max_worker_processes: i32 as i32,
        /// `max_wal_senders`.
        max_wal_senders: i32 as i32,
        /// `max_prepared_transactions`.
        max_prepared_xacts: i32 as i32,
        /// `max_locks_per_transaction`.
        max_locks_per_xact: i32 as i32,
        /// `track_commit_timestamp`.
        track_commit_timestamp: bool as [u8; 4],
        /// [`MAX_ALIGN`] of the build that made the cluster.
        max_align: u32 as u32,
        /// [`FLOAT_FORMAT`] in that build's bytes.
        float_format: f64 as f64,
        /// [`BLCKSZ`] of that build.
        blcksz: u32 as u32,
        /// [`RELSEG_SIZE`] of that build.
        relseg_size: u32 as u32,
        /// [`XLOG_BLCKSZ`] of that build.
        xlog_blcksz: u32 as u32,
        /// Bytes of a WAL segment, chosen at initdb.
        xlog_seg_size: u32 as u32,
        /// `NAMEDATALEN` of that build.
        name_data_len: u32 as u32,
        /// [`INDEX_MAX_KEYS`] of that build.
        index_max_keys: u32 as u32,
        /// [`TOAST_MAX_CHUNK_SIZE`] of that build.
        toast_max_chunk_size: u32 as u32,
        /// [`LOBLKSIZE`] of that build.
        loblksize: u32 as u32,
        /// Are eight-byte numbers passed by value?
        float8_by_val: bool as [u8; 4],
        /// 1 if data pages carry checksums, else 0.
        data_checksum_version: u32 as u32,
        /// Random, so that a failed login of an unknown user can look like that of a known one.
        mock_authentication_nonce: [u8; 32] as [u8; 32],
    }
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<RawCheckPoint>() == 88);
    assert!(offset_of!(RawCheckPoint, next_full_xid) == 24);
    assert!(offset_of!(RawCheckPoint, time) == 64);
    assert!(offset_of!(RawControlFileData, time) == 24);
    assert!(offset_of!(RawControlFileData, checkpoint_copy) == 40);
    assert!(offset_of!(RawControlFileData, unlogged_lsn) == 128);
    assert!(offset_of!(RawControlFileData, backup_start_point) == 152);
    assert!(offset_of!(RawControlFileData, wal_level) == 172);
    assert!(offset_of!(RawControlFileData, track_commit_timestamp) == 200);
    assert!(offset_of!(RawControlFileData, float_format) == 208);
    assert!(offset_of!(RawControlFileData, mock_authentication_nonce) == 256);
    assert!(CRC_OFFSET == 288);
    assert!(DATA_SIZE <= 512, "an update must fit one disk sector");
};

/// What the cluster is doing, or how it ended. C: `DBState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DbState {
    /// Between initdb's first write and its end.
    StartingUp = 0,
    /// Stopped with a shutdown checkpoint: nothing to recover.
    ShutDown,
    /// A standby that stopped with a restartpoint.
    ShutDownInRecovery,
    /// Writing the shutdown checkpoint.
    ShuttingDown,
    /// Replaying after a crash.
    InCrashRecovery,
    /// Replaying from an archive or a primary.
    InArchiveRecovery,
    /// Open for writing, or crashed while it was.
    InProduction,
}

impl DbState {
    const ALL: [DbState; 7] = [
        DbState::StartingUp,
        DbState::ShutDown,
        DbState::ShutDownInRecovery,
        DbState::ShuttingDown,
        DbState::InCrashRecovery,
        DbState::InArchiveRecovery,
        DbState::InProduction,
    ];

    /// The words of pg_controldata.
    pub fn description(self) -> &'static str {
        match self {
            DbState::StartingUp => "starting up",
            DbState::ShutDown => "shut down",
            DbState::ShutDownInRecovery => "shut down in recovery",
            DbState::ShuttingDown => "shutting down",
            DbState::InCrashRecovery => "in crash recovery",
            DbState::InArchiveRecovery => "in archive recovery",
            DbState::InProduction => "in production",
        }
    }
}

/// Values that look the same in memory and in the file, alone or followed by padding of their own width.
macro_rules! stored {
    ($($type:ty => $raw:ty: $to:expr, $from:expr;)*) => {
        $(impl Stored<$raw> for $type {
            fn store(self) -> $raw { let to: fn($type) -> $raw = $to; to(self) }
            fn load(raw: $raw) -> Option<$type> { let from: fn($raw) -> $type = $from; Some(from(raw)) }
        })*
    };
}

stored! {
    u32 => u32: |v| v, |r| r;
    i32 => i32: |v| v, |r| r;
    u64 => u64: |v| v, |r| r;
    i64 => i64: |v| v, |r| r;
    f64 => f64: |v| v, |r| r;
    [u8; 32] => [u8; 32]: |v| v, |r| r;
    Lsn => u64: |v| v.0, Lsn;
    Oid => u32: |v| v.0, Oid;
    Xid => u32: |v| v.0, Xid;
    TimeLineId => u32: |v| v.0, TimeLineId;
    Oid => [u32; 2]: |v| [v.0, 0], |r| Oid(r[0]);
    Xid => [u32; 2]: |v| [v.0, 0], |r| Xid(r[0]);
    TimeLineId => [u32; 2]: |v| [v.0, 0], |r| TimeLineId(r[0]);
    bool => [u8; 4]: |v| [u8::from(v), 0, 0, 0], |r| r[0] != 0;
    bool => [u8; 8]: |v| [u8::from(v), 0, 0, 0, 0, 0, 0, 0], |r| r[0] != 0;
}

impl Stored<[u32; 2]> for DbState {
    fn store(self) -> [u32; 2] {
        [self as u32, 0]
    }
    fn load(raw: [u32; 2]) -> Option<DbState> {
        DbState::ALL.get(usize::try_from(raw[0]).ok()?).copied()
    }
}

/// Why pg_control could not be used. `Display` is the primary message of PostgreSQL's report.
#[derive(Debug)]
pub enum ControlFileError {
    /// There is no such file.
    Missing(PathBuf),
    /// A system call failed; the verb is "open", "read", "write", "fsync" ...
    Io {
        /// What was being done.
        verb: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file ends before its data does.
    TooShort {
        /// Which file.
        path: PathBuf,
        /// Bytes it has.
        read: usize,
        /// Bytes it needs.
        expected: usize,
    },
    /// Written by another version; if only the byte order differs, `byte_swapped`.
    WrongVersion {
        /// What the file says.
        version: u32,
        /// It is a small number in the other byte order.
        byte_swapped: bool,
    },
    /// The CRC does not match.
    WrongCrc,
    /// Right format, other catalogs.
    WrongCatalogVersion(u32),
    /// Made by a build with other constants: the C name of the first that differs, its value, and ours.
    Incompatible {
        /// C name of the constant.
        name: &'static str,
        /// What the file says.
        found: u32,
        /// What this build has.
        ours: u32,
    },
    /// Made on a machine with other floating-point numbers, or with eight-byte values by reference.
    IncompatibleNumbers(&'static str),
    /// The state is none of [`DbState`].
    InvalidState(u32),
    /// Not a power of two between 1 MB and 1 GB.
    InvalidSegmentSize(u32),
}

impl fmt::Display for ControlFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlFileError::Missing(path) => {
                write!(f, "could not open file \"{}\": No such file or directory", path.display())
            }
            ControlFileError::Io { verb, path, source } => {
                write!(f, "could not {verb} file \"{}\": {}", path.display(), os_error_text(source))
            }
            ControlFileError::TooShort { path, read, expected } => {
                write!(f, "could not read file \"{}\": read {read} of {expected}", path.display())
            }
            ControlFileError::WrongCrc => f.write_str("incorrect checksum in control file"),
            ControlFileError::InvalidState(_) => {
                f.write_str("control file contains invalid database cluster state")
            }
            ControlFileError::InvalidSegmentSize(bytes) => write!(
                f,
                "WAL segment size must be a power of two between 1 MB and 1 GB, but the control file specifies {bytes} {}",
                if *bytes == 1 { "byte" } else { "bytes" }
            ),
            ControlFileError::WrongVersion { .. }
            | ControlFileError::WrongCatalogVersion(_)
            | ControlFileError::Incompatible { .. }
            | ControlFileError::IncompatibleNumbers(_) => {
                f.write_str("database files are incompatible with server")
            }
        }
    }
}

impl ControlFileError {
    /// The DETAIL of PostgreSQL's report.
    pub fn detail(&self) -> Option<String> {
        let differs = |name: &str, found: String, ours: String| {
            format!(
                "The database cluster was initialized with {name} {found}, but the server was compiled with {name} {ours}."
            )
        };
        match self {
            ControlFileError::WrongVersion { version, byte_swapped: true } => Some(differs(
                "PG_CONTROL_VERSION",
                // Signed on purpose: that is how PostgreSQL prints the swapped number.
                format!("{} (0x{version:08x})", *version as i32),
                format!("{PG_CONTROL_VERSION} (0x{PG_CONTROL_VERSION:08x})"),
            )),
            ControlFileError::WrongVersion { version, byte_swapped: false } => {
                Some(differs("PG_CONTROL_VERSION", version.to_string(), PG_CONTROL_VERSION.to_string()))
            }
            ControlFileError::WrongCatalogVersion(version) => {
                Some(differs("CATALOG_VERSION_NO", version.to_string(), CATALOG_VERSION_NO.to_string()))
            }
            ControlFileError::Incompatible { name, found, ours } => {
                Some(differs(name, found.to_string(), ours.to_string()))
            }
            ControlFileError::IncompatibleNumbers(detail) => Some((*detail).to_owned()),
            _ => None,
        }
    }

    /// The HINT of PostgreSQL's report.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ControlFileError::WrongVersion { byte_swapped: true, .. } => Some(
                "This could be a problem of mismatched byte ordering.  It looks like you need to initdb.",
            ),
            ControlFileError::WrongVersion { .. }
            | ControlFileError::WrongCatalogVersion(_)
            | ControlFileError::IncompatibleNumbers(FLOATS_DIFFER) => {
                Some("It looks like you need to initdb.")
            }
            ControlFileError::Incompatible { .. } | ControlFileError::IncompatibleNumbers(_) => {
                Some("It looks like you need to recompile or initdb.")
            }
            _ => None,
        }
    }
}

impl std::error::Error for ControlFileError {}

const FLOATS_DIFFER: &str = "The database cluster appears to use a different floating-point number format than the server executable.";
const NOT_BY_VALUE: &str = "The database cluster was initialized without USE_FLOAT8_BYVAL but the server was compiled with USE_FLOAT8_BYVAL.";

impl CheckPoint {
    /// Bytes of the record's body in WAL.
    pub const SIZE: usize = size_of::<RawCheckPoint>();

    /// The record's body as WAL holds it.
    pub fn to_bytes(&self) -> [u8; CheckPoint::SIZE] {
        let mut bytes = [0; CheckPoint::SIZE];
        bytes.copy_from_slice(self.clone().store().as_bytes());
        bytes
    }

    /// The checkpoint in a record's body, unless that is too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<CheckPoint> {
        let (raw, _) = RawCheckPoint::read_from_prefix(bytes).ok()?;
        CheckPoint::load(raw)
    }
}

impl ControlFileData {
    /// Reads and checks the file of this data directory: version, CRC, state, catalogs, build constants.
    ///
    /// Somebody may be writing it at the same moment, and not every file system shows a write as a whole: a wrong CRC is
    /// believed only if it stays. C: `ReadControlFile`; `get_controlfile` for the second look.
    pub fn read(data_dir: &Path) -> Result<ControlFileData, ControlFileError> {
        settled(|| ControlFileData::read_once(data_dir))
    }

    /// One look at it.
    fn read_once(data_dir: &Path) -> Result<ControlFileData, ControlFileError> {
        let path = data_dir.join(CONTROL_FILE);
        let failed = |verb, source| ControlFileError::Io { verb, path: path.clone(), source };
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ControlFileError::Missing(path.clone()),
            _ => failed("open", e),
        })?;
        // No more than the file should have, whatever is there instead of it.
        let mut bytes = Vec::with_capacity(CONTROL_FILE_SIZE);
        file.take(CONTROL_FILE_SIZE as u64).read_to_end(&mut bytes).map_err(|e| failed("read", e))?;
        if bytes.len() < DATA_SIZE {
            return Err(ControlFileError::TooShort { path, read: bytes.len(), expected: DATA_SIZE });
        }
        let control = ControlFileData::from_bytes(&bytes)?;
        control.check_compatible()?;
        Ok(control)
    }

    /// Decodes a file's bytes, checking version, CRC and state only.
    pub fn from_bytes(bytes: &[u8]) -> Result<ControlFileData, ControlFileError> {
        let too_short = || ControlFileError::TooShort {
            path: CONTROL_FILE.into(),
            read: bytes.len(),
            expected: DATA_SIZE,
        };
        let (raw, rest) = RawControlFileData::read_from_prefix(bytes).map_err(|_| too_short())?;
        let (stored_crc, _) = u32::read_from_prefix(rest).map_err(|_| too_short())?;
        // The version first: with another format the CRC is somewhere else.
        let version = raw.pg_control_version;
        if version != PG_CONTROL_VERSION {
            let byte_swapped = version.is_multiple_of(65536) && version / 65536 != 0;
            return Err(ControlFileError::WrongVersion { version, byte_swapped });
        }
        if crc32c::crc32c(raw.as_bytes()) != stored_crc {
            return Err(ControlFileError::WrongCrc);
        }
        ControlFileData::load(raw).ok_or(ControlFileError::InvalidState(raw.state[0]))
    }

    /// Was the cluster made by a build whose files this one can read?
    fn check_compatible(&self) -> Result<(), ControlFileError> {
        if self.catalog_version_no != CATALOG_VERSION_NO {
            return Err(ControlFileError::WrongCatalogVersion(self.catalog_version_no));
        }
        if self.max_align != MAX_ALIGN {
            return Err(ControlFileError::Incompatible {
                name: "MAXALIGN",
                found: self.max_align,
                ours: MAX_ALIGN,
            });
        }
        if self.float_format != FLOAT_FORMAT {
            return Err(ControlFileError::IncompatibleNumbers(FLOATS_DIFFER));
        }
        for (name, found, ours) in [
            ("BLCKSZ", self.blcksz, BLCKSZ),
            ("RELSEG_SIZE", self.relseg_size, RELSEG_SIZE),
            ("XLOG_BLCKSZ", self.xlog_blcksz, XLOG_BLCKSZ),
            ("NAMEDATALEN", self.name_data_len, crate::version::NAMEDATALEN as u32),
            ("INDEX_MAX_KEYS", self.index_max_keys, INDEX_MAX_KEYS),
            ("TOAST_MAX_CHUNK_SIZE", self.toast_max_chunk_size, TOAST_MAX_CHUNK_SIZE),
            ("LOBLKSIZE", self.loblksize, LOBLKSIZE),
        ] {
            if found != ours {
                return Err(ControlFileError::Incompatible { name, found, ours });
            }
        }
        if !self.float8_by_val {
            return Err(ControlFileError::IncompatibleNumbers(NOT_BY_VALUE));
        }
        if !is_valid_segment_size(self.xlog_seg_size) {
            return Err(ControlFileError::InvalidSegmentSize(self.xlog_seg_size));
        }
        Ok(())
    }

    /// The whole file's bytes, CRC included.
    pub fn to_bytes(&self) -> Box<[u8; CONTROL_FILE_SIZE]> {
        let mut bytes = Box::new([0; CONTROL_FILE_SIZE]);
        bytes[..CRC_OFFSET].copy_from_slice(self.clone().store().as_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_ne_bytes());
        bytes
    }

    /// Overwrites the file of this data directory by one write and makes that durable. The file must exist.
    /// C: `update_controlfile`.
    pub fn write(&self, data_dir: &Path) -> Result<(), ControlFileError> {
        self.write_to(data_dir, OpenOptions::new().write(true))
    }

    /// Makes the file of a new data directory, with these permission bits. C: `WriteControlFile`.
    pub fn create(&self, data_dir: &Path, mode: u32) -> Result<(), ControlFileError> {
        self.write_to(data_dir, OpenOptions::new().write(true).create_new(true).mode(mode))
    }

    fn write_to(&self, data_dir: &Path, options: &OpenOptions) -> Result<(), ControlFileError> {
        let path = data_dir.join(CONTROL_FILE);
        let failed = |verb, source| ControlFileError::Io { verb, path: path.clone(), source };
        let file = options.open(&path).map_err(|e| failed("open", e))?;
        file.write_all_at(&self.to_bytes()[..], 0).map_err(|e| failed("write", e))?;
        file.sync_all().map_err(|e| failed("fsync", e))
    }
}

/// Looks again while what is there may be half of a write. The writer needs no more than microseconds for the copy.
fn settled<T>(mut look: impl FnMut() -> Result<T, ControlFileError>) -> Result<T, ControlFileError> {
    for _ in 1..MAX_LOOKS {
        match look() {
            Err(ControlFileError::WrongCrc) => std::thread::sleep(BETWEEN_LOOKS),
            outcome => return outcome,
        }
    }
    look()
}

/// Is this a size that a WAL segment can have? C: `IsValidWalSegSize`.
pub fn is_valid_segment_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes)
}

#[cfg(test)]
mod tests;
