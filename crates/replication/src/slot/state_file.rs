//! The bytes of `pg_replslot/NAME/state`, those of PostgreSQL 15.
//!
//! ```text
//!   0  magic           8  version        16  name, 64 bytes      88  xmin            104  invalidated_at
//!   4  CRC-32C of      12 length of      80  database            92  catalog_xmin    112  confirmed_flush
//!      all behind it      what follows   84  persistency         96  restart_lsn     120  two_phase_at
//!                                                                128  two_phase, 129  plugin, 64 bytes
//! ```
//! In the byte order of the machine, padded to a multiple of 8.
//!
//! C counterpart: `ReplicationSlotOnDisk`.

use common::{Lsn, Oid, SqlState, Xid};
use elog::{PgError, error};

use super::{Data, Name, Persistency};

/// C: `SLOT_MAGIC`.
const MAGIC: u32 = 0x0105_1CA1;
/// C: `SLOT_VERSION`.
const VERSION: u32 = 2;
/// Magic and checksum: not part of what the checksum covers. C: `ReplicationSlotOnDiskNotChecksummedSize`.
const NOT_CHECKSUMMED: usize = 8;
/// What every version begins with. C: `ReplicationSlotOnDiskConstantSize`.
pub(super) const HEADER: usize = 16;
/// What follows in this version. C: `ReplicationSlotOnDiskV2Size`.
const BODY: usize = 184;
/// The whole.
pub(super) const SIZE: usize = HEADER + BODY;

/// C: in `SaveSlotToPath`.
pub(super) fn encode(data: &Data) -> [u8; SIZE] {
    let mut file = [0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_ne_bytes());
    put(8, &VERSION.to_ne_bytes());
    put(12, &(BODY as u32).to_ne_bytes());
    put(16, &data.name.bytes);
    put(80, &data.database.0.to_ne_bytes());
    put(84, &(data.persistency as u32).to_ne_bytes());
    put(88, &data.xmin.0.to_ne_bytes());
    put(92, &data.catalog_xmin.0.to_ne_bytes());
    put(96, &data.restart_lsn.0.to_ne_bytes());
    put(104, &data.invalidated_at.0.to_ne_bytes());
    put(112, &data.confirmed_flush.0.to_ne_bytes());
    put(120, &data.two_phase_at.0.to_ne_bytes());
    put(128, &[u8::from(data.two_phase)]);
    put(129, &data.plugin.bytes);
    let checksum = crc32c::crc32c(&file[NOT_CHECKSUMMED..]);
    file[4..8].copy_from_slice(&checksum.to_ne_bytes());
    file
}

fn word(file: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&file[at..at + 4]);
    u32::from_ne_bytes(bytes)
}

fn lsn(file: &[u8], at: usize) -> Lsn {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&file[at..at + 8]);
    Lsn(u64::from_ne_bytes(bytes))
}

fn name(file: &[u8], at: usize) -> Name {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(&file[at..at + 64]);
    // Always ended, whatever the file says.
    bytes[63] = 0;
    Name { bytes }
}

/// What a file says. `path` is for messages. C: the checks of `RestoreSlotFromDisk`.
///
/// # Errors
/// XX001 for what is no slot of this version, is cut short or damaged.
pub(super) fn decode(file: &[u8], path: &str) -> Result<Data, PgError> {
    let corrupted = |text: String| error!(SqlState::DATA_CORRUPTED, "{text}");
    let cut_short = |found: usize, wanted: usize| {
        corrupted(format!("could not read file \"{path}\": read {found} of {wanted}"))
    };
    if file.len() < HEADER {
        return Err(cut_short(file.len(), HEADER));
    }
    let (magic, version, length) = (word(file, 0), word(file, 8), word(file, 12));
    if magic != MAGIC {
        return Err(corrupted(format!(
            "replication slot file \"{path}\" has wrong magic number: {magic} instead of {MAGIC}"
        )));
    }
    if version != VERSION {
        return Err(corrupted(format!("replication slot file \"{path}\" has unsupported version {version}")));
    }
    if length as usize != BODY {
        return Err(corrupted(format!("replication slot file \"{path}\" has corrupted length {length}")));
    }
    if file.len() < SIZE {
        return Err(cut_short(file.len() - HEADER, BODY));
    }
    let (found, expected) = (crc32c::crc32c(&file[NOT_CHECKSUMMED..SIZE]), word(file, 4));
    if found != expected {
        return Err(corrupted(format!(
            "checksum mismatch for replication slot file \"{path}\": is {found}, should be {expected}"
        )));
    }
    let persistency = match word(file, 84) {
        0 => Persistency::Persistent,
        1 => Persistency::Ephemeral,
        _ => Persistency::Temporary,
    };
    Ok(Data {
        name: name(file, 16),
        database: Oid(word(file, 80)),
        persistency,
        xmin: Xid(word(file, 88)),
        catalog_xmin: Xid(word(file, 92)),
        restart_lsn: lsn(file, 96),
        invalidated_at: lsn(file, 104),
        confirmed_flush: lsn(file, 112),
        two_phase_at: lsn(file, 120),
        two_phase: file[128] != 0,
        plugin: name(file, 129),
    })
}
