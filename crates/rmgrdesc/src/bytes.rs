//! A record's data, field after field. What is not there is `None`: the description ends where the bytes do.

use common::{Lsn, Oid, RelFileNode};

/// The rest of a record's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
    /// Bytes taken so far.
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Bytes<'a> {
        Bytes { rest: data, at: 0 }
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.at += len;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// To the next multiple of eight. C: `MAXALIGN`.
    pub(crate) fn align(&mut self) -> Option<()> {
        self.take(self.at.next_multiple_of(8) - self.at).map(drop)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn lsn(&mut self) -> Option<Lsn> {
        self.u64().map(Lsn)
    }

    /// A `TimestampTz`, as reports show it.
    pub(crate) fn time(&mut self) -> Option<String> {
        self.array().map(i64::from_le_bytes).map(guc::timestamptz_text)
    }

    /// Tablespace, database, file number.
    pub(crate) fn node(&mut self) -> Option<RelFileNode> {
        Some(RelFileNode { spc: Oid(self.u32()?), db: Oid(self.u32()?), rel: Oid(self.u32()?) })
    }

    /// `len` bytes of text that ends before them if there is a zero byte.
    pub(crate) fn text(&mut self, len: usize) -> Option<String> {
        let bytes = self.take(len)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(len);
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Text up to a zero byte, which is taken as well.
    pub(crate) fn c_string(&mut self) -> Option<String> {
        let len = self.rest.iter().position(|byte| *byte == 0)?;
        self.text(len + 1)
    }

    /// Leaves `count` items of `size` bytes behind, and returns them.
    pub(crate) fn items(&mut self, count: i32, size: usize) -> Option<Items<'a>> {
        let count = usize::try_from(count).ok()?;
        Some(Items { bytes: self.take(count.checked_mul(size)?)?, size })
    }
}

/// Items of one size, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn each(self) -> impl Iterator<Item = Bytes<'a>> {
        self.bytes.chunks_exact(self.size).map(Bytes::new)
    }
}

impl Default for Items<'_> {
    fn default() -> Self {
        Items { bytes: &[], size: 1 }
    }
}
