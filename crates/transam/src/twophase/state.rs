//! The state of a prepared transaction as bytes: the data of the PREPARE record, and the file but for its checksum.
//!
//! ```text
//! header      72   magic 4, total length with checksum 4, xid 4, database 4, time 8, owner 4,
//!                  numbers of: subtransactions, files to drop at commit, at abort, statistics at commit, at abort,
//!                  messages (4 each), relation cache's file goes 1, pad 1, length of gid 2, origin 8, its time 8
//! gid              with a zero byte
//! subxids      4 each
//! files       12 each: tablespace, database, number; those of commit, then those of abort
//! statistics  12 each: kind, database, object; likewise
//! messages    16 each
//! records      8 + data: length 4, kind 1, pad 1, info 2; the last one is of kind 0
//! checksum     4   CRC-32C of all before; only in the file
//! ```
//!
//! Each of these parts, and each record's data, begins at a multiple of 8.
//!
//! C counterpart: `TwoPhaseFileHeader` (`xl_xact_prepare`), `TwoPhaseRecordOnDisk`, `StartPrepare`, `EndPrepare`.

use common::{Oid, RelFileNode, Xid};

/// C: `TWOPHASE_MAGIC`.
pub(super) const MAGIC: u32 = 0x57F9_4534;
/// C: `sizeof(TwoPhaseFileHeader)`.
pub(super) const HEADER: usize = 72;
/// C: `sizeof(TwoPhaseRecordOnDisk)`.
pub(super) const RECORD_HEADER: usize = 8;
pub(super) const CHECKSUM: usize = 4;

/// One record of another module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) info: u16,
    pub(super) data: Vec<u8>,
}

/// A statistics entry that goes with a table: kind, database, object. Passed on as it is. C: `xl_xact_stats_item`.
pub(crate) type StatsItem = [u8; 12];

/// All of it. What comes twice is for commit and for abort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) xid: Xid,
    pub(super) database: Oid,
    pub(super) prepared_at: i64,
    pub(super) owner: Oid,
    pub(super) gid: Vec<u8>,
    pub(super) children: Vec<Xid>,
    pub(super) commit_files: Vec<RelFileNode>,
    pub(super) abort_files: Vec<RelFileNode>,
    pub(super) commit_stats: Vec<StatsItem>,
    pub(super) abort_stats: Vec<StatsItem>,
    pub(super) invalidations: Vec<[u8; 16]>,
    pub(super) relcache_init_file: bool,
    pub(super) records: Vec<Record>,
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

fn node_bytes(node: &RelFileNode) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (part, oid) in bytes.chunks_exact_mut(4).zip([node.spc, node.db, node.rel]) {
        part.copy_from_slice(&oid.0.to_le_bytes());
    }
    bytes
}

impl State {
    /// As in WAL.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let mut part = |content: &[u8]| {
            bytes.extend_from_slice(content);
            pad(&mut bytes);
        };
        part(&[&self.gid[..], &[0]].concat());
        part(&crate::log::words(self.children.iter().map(|xid| xid.0)));
        part(&self.commit_files.iter().flat_map(node_bytes).collect::<Vec<_>>());
        part(&self.abort_files.iter().flat_map(node_bytes).collect::<Vec<_>>());
        part(self.commit_stats.as_flattened());
        part(self.abort_stats.as_flattened());
        part(self.invalidations.as_flattened());
        for record in self.records.iter().chain([&Record::default()]) {
            let mut head = [0; RECORD_HEADER];
            head[..4].copy_from_slice(&(record.data.len() as u32).to_le_bytes());
            head[4] = record.kind;
            head[6..].copy_from_slice(&record.info.to_le_bytes());
            part(&head);
            part(&record.data);
        }
        let total = (bytes.len() + CHECKSUM) as u32;
        bytes[4..8].copy_from_slice(&total.to_le_bytes());
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(crate::log::words([MAGIC, 0, self.xid.0, self.database.0]));
        bytes.extend(self.prepared_at.to_le_bytes());
        let counts = [
            self.children.len(),
            self.commit_files.len(),
            self.abort_files.len(),
            self.commit_stats.len(),
            self.abort_stats.len(),
            self.invalidations.len(),
        ];
        bytes.extend(crate::log::words(std::iter::once(self.owner.0).chain(counts.map(|n| n as u32))));
        bytes.extend([u8::from(self.relcache_init_file), 0]);
        bytes.extend((self.gid.len() as u16 + 1).to_le_bytes());
        // No replication origin.
        bytes.extend([0; 16]);
        bytes
    }

    /// From WAL or a file without its checksum; `None` if it is shorter than it says.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<State> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if word(0)? != MAGIC || bytes.len() < HEADER {
            return None;
        }
        let mut parts = Parts { bytes, at: HEADER };
        let gid_len = usize::from(u16::from_le_bytes([bytes[54], bytes[55]]));
        let gid = parts.take(gid_len)?;
        let count = |nth: usize| word(28 + 4 * nth).map(|n| n as usize);
        let mut state = State {
            xid: Xid(word(8)?),
            database: Oid(word(12)?),
            prepared_at: i64::from_le_bytes(bytes[16..24].try_into().ok()?),
            owner: Oid(word(24)?),
            gid: gid.split(|byte| *byte == 0).next()?.to_vec(),
            relcache_init_file: bytes[52] != 0,
            children: crate::log::read_words(parts.take(4 * count(0)?)?).map(Xid).collect(),
            ..State::default()
        };
        state.commit_files = parts.list::<12>(count(1)?)?.iter().map(node_of).collect();
        state.abort_files = parts.list::<12>(count(2)?)?.iter().map(node_of).collect();
        state.commit_stats = parts.list(count(3)?)?;
        state.abort_stats = parts.list(count(4)?)?;
        state.invalidations = parts.list(count(5)?)?;
        loop {
            let head = parts.take(RECORD_HEADER)?;
            let len = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
            if head[4] == 0 {
                return Some(state);
            }
            let info = u16::from_le_bytes([head[6], head[7]]);
            state.records.push(Record { kind: head[4], info, data: parts.take(len)?.to_vec() });
        }
    }
}

fn node_of(bytes: &[u8; 12]) -> RelFileNode {
    let oid = |at: usize| Oid(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    RelFileNode { spc: oid(0), db: oid(4), rel: oid(8) }
}

struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at = (self.at + len).next_multiple_of(8);
        Some(part)
    }

    fn list<const N: usize>(&mut self, count: usize) -> Option<Vec<[u8; N]>> {
        Some(self.take(count.checked_mul(N)?)?.as_chunks::<N>().0.to_vec())
    }
}
