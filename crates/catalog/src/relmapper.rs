//! The relation map: which files the catalogs lie in that are needed to find any other file.
//!
//! pg_class says where each relation's files are; for pg_class itself, its companions and all shared catalogs a file
//! `pg_filenode.map` says so, one in each database's directory and one in `global`. It is 512 bytes long, so that it
//! is written as one, and is replaced by a write in place, as PostgreSQL 15 does it.
//!
//! ```text
//! 0    magic 0x592717     4    number of entries     8  62 times (OID, relfilenode)
//! 504  CRC-32C of the bytes before it     508  padding
//! ```
//!
//! Each process keeps both maps after the first look, until an invalidation message says that one was replaced.
//!
//! C counterpart: utils/cache/relmapper.c.

use std::cell::RefCell;
use std::path::Path;

use common::{GLOBAL_TABLESPACE, Oid, SqlState};
use elog::{Result, error};
use file::{OpenFlags, file_error};
use shmem::WaitEvent;

/// Name of the file. C: `RELMAPPER_FILENAME`.
pub const FILE_NAME: &str = "pg_filenode.map";
/// C: `RELMAPPER_FILEMAGIC`.
const MAGIC: u32 = 0x0059_2717;
/// C: `MAX_MAPPINGS`.
const MAX_MAPPINGS: usize = 62;
/// Bytes of the file. C: `sizeof(RelMapFile)`.
pub const FILE_SIZE: usize = 512;
const CRC_OFFSET: usize = 8 + MAX_MAPPINGS * 8;

/// A map. C: `RelMapFile`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelMap {
    /// Relation and its file, in order of the file.
    pub entries: Vec<(Oid, Oid)>,
}

impl RelMap {
    /// The file that a mapped relation lies in. C: `RelationMapOidToFilenode`.
    pub fn filenode(&self, relation: Oid) -> Option<Oid> {
        self.entries.iter().find(|(oid, _)| *oid == relation).map(|(_, file)| *file)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> [u8; FILE_SIZE] {
        let mut bytes = [0; FILE_SIZE];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for ((oid, file), at) in self.entries.iter().take(MAX_MAPPINGS).zip((8..).step_by(8)) {
            bytes[at..at + 4].copy_from_slice(&oid.0.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&file.0.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the file's bytes; `name` is for messages. C: `read_relmap_file`.
    ///
    /// # Errors
    /// FATAL in PostgreSQL, an error here: `relation mapping file "%s" contains invalid data` or `… incorrect checksum`.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<RelMap> {
        let word = |at: usize| {
            bytes.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        };
        let count = word(4) as usize;
        if bytes.len() < CRC_OFFSET + 4 || word(0) != MAGIC || count > MAX_MAPPINGS {
            return Err(error!(
                SqlState::DATA_CORRUPTED,
                "relation mapping file \"{name}\" contains invalid data"
            ));
        }
        if crc32c::crc32c(&bytes[..CRC_OFFSET]) != word(CRC_OFFSET) {
            return Err(error!(
                SqlState::DATA_CORRUPTED,
                "relation mapping file \"{name}\" contains incorrect checksum"
            ));
        }
        let entries = (0..count).map(|i| 8 + i * 8).map(|at| (Oid(word(at)), Oid(word(at + 4)))).collect();
        Ok(RelMap { entries })
    }

    /// Reads a map from a directory (`global` or `base/5`).
    ///
    /// # Errors
    /// What the operating system says, with PostgreSQL's text; those of [`RelMap::from_bytes`].
    pub fn read(directory: &Path) -> Result<RelMap> {
        let path = directory.join(FILE_NAME);
        let file = file::open(&path, OpenFlags::READ).map_err(|e| file_error("open", &path, &e))?;
        let mut bytes = [0; FILE_SIZE];
        let read = file.read_at(&mut bytes, 0, WaitEvent::RELATION_MAP_READ);
        let read = read.map_err(|e| file_error("read", &path, &e))?;
        let name = path.display();
        if read != FILE_SIZE {
            return Err(error!(
                SqlState::DATA_CORRUPTED,
                "could not read file \"{name}\": read {read} of {FILE_SIZE}"
            ));
        }
        RelMap::from_bytes(&bytes, &name.to_string())
    }
}

#[derive(Default)]
struct Maps {
    shared: Option<RelMap>,
    local: Option<RelMap>,
}

thread_local! {
    static MAPS: RefCell<Maps> = RefCell::default();
}

/// The file of a mapped relation now. C: `RelationMapOidToFilenode`.
///
/// # Errors
/// If the map cannot be read or does not know the relation.
pub fn filenode(relation: Oid, shared: bool) -> Result<Oid> {
    MAPS.with_borrow_mut(|maps| {
        let map = if shared { &mut maps.shared } else { &mut maps.local };
        let map = match map {
            Some(map) => map,
            None => {
                let database = if shared { Oid::INVALID } else { crate::my_database() };
                map.insert(RelMap::read(Path::new(&directory(database)))?)
            }
        };
        map.filenode(relation).ok_or_else(|| {
            error!(SqlState::INTERNAL_ERROR, "could not find relation mapping for relation \"{relation}\"")
        })
    })
}

/// Where a database's map is; that of the cluster for the invalid OID. Relative to the data directory.
pub fn directory(database: Oid) -> String {
    if database.is_valid() { format!("base/{database}") } else { "global".to_owned() }
}

/// Reads one map anew when it is next needed. C: `RelationMapInvalidate`.
pub fn reload(shared: bool) {
    MAPS.with_borrow_mut(|maps| if shared { maps.shared = None } else { maps.local = None });
}

/// Reads both maps anew when they are next needed. C: `RelationMapInvalidateAll`.
pub fn forget() {
    MAPS.take();
}

/// Replays `RM_RELMAP_ID`: writes the map that the record holds. C: `relmap_redo`.
///
/// # Errors
/// What writing the file says; PANIC-worthy for the caller.
pub fn redo(record: &wal::DecodedRecord<'_>) -> Result<()> {
    let info = record.info & 0xF0;
    let data = record.main_data;
    if info != 0 || data.len() < 12 + FILE_SIZE {
        return Err(error!(SqlState::INTERNAL_ERROR, "relmap_redo: unknown op code {info}"));
    }
    let word = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    let (database, tablespace) = (Oid(word(0)), Oid(word(4)));
    let database = if tablespace == GLOBAL_TABLESPACE { Oid::INVALID } else { database };
    write(database, &data[12..12 + FILE_SIZE])?;
    crate::inval::send_relmap(database);
    reload(!database.is_valid());
    Ok(())
}

/// Writes a map's file in place and makes it durable. C: `write_relmap_file`.
fn write(database: Oid, bytes: &[u8]) -> Result<()> {
    let path = Path::new(&directory(database)).join(FILE_NAME);
    let file = file::open(&path, OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE);
    let file = file.map_err(|e| file_error("open", &path, &e))?;
    let written = file.write_at(bytes, 0, WaitEvent::RELATION_MAP_WRITE);
    written.map_err(|e| file_error("write", &path, &e))?;
    file.sync(WaitEvent::RELATION_MAP_SYNC).map_err(|e| file_error("fsync", &path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_survives_its_file() {
        let map = RelMap { entries: vec![(Oid(1259), Oid(1259)), (Oid(1249), Oid(16400))] };
        let bytes = map.to_bytes();
        assert_eq!(bytes[..16], [0x17, 0x27, 0x59, 0, 2, 0, 0, 0, 0xeb, 4, 0, 0, 0xeb, 4, 0, 0]);
        assert_eq!(RelMap::from_bytes(&bytes, "x").unwrap(), map);
        assert_eq!(map.filenode(Oid(1249)), Some(Oid(16400)));
        let mut torn = bytes;
        torn[20] ^= 1;
        let error = RelMap::from_bytes(&torn, "x").unwrap_err();
        assert_eq!(&*error.message, "relation mapping file \"x\" contains incorrect checksum");
        assert!(RelMap::from_bytes(&bytes[..100], "x").is_err());
    }
}
