//! Compression of page images, by `wal_compression`.
//!
//! C counterpart: `XLogCompressBackupBlock` of xloginsert.c, the second half of `RestoreBlockImage` of xlogreader.c.

pub mod pglz;

use std::cell::RefCell;

use crate::decode::image_flags;

/// How images are compressed. C: `WalCompression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Pglz,
    Lz4,
    Zstd,
}

impl Method {
    /// What the setting says now; `None` for off. C: `wal_compression`.
    pub(crate) fn configured() -> Option<Method> {
        match guc::vars::WAL_COMPRESSION.get() {
            "pglz" => Some(Method::Pglz),
            "lz4" => Some(Method::Lz4),
            "zstd" => Some(Method::Zstd),
            _ => None,
        }
    }

    /// Its bit in the image's flags.
    pub(crate) fn flag(self) -> u8 {
        match self {
            Method::Pglz => image_flags::PGLZ,
            Method::Lz4 => image_flags::LZ4,
            Method::Zstd => image_flags::ZSTD,
        }
    }

    /// The method of an image with these flags.
    pub(crate) fn of_flags(flags: u8) -> Option<Method> {
        match flags & image_flags::COMPRESSED {
            image_flags::PGLZ => Some(Method::Pglz),
            image_flags::LZ4 => Some(Method::Lz4),
            image_flags::ZSTD => Some(Method::Zstd),
            _ => None,
        }
    }
}

/// Level that C's library takes by default. C: `ZSTD_CLEVEL_DEFAULT`.
const ZSTD_LEVEL: i32 = 3;

thread_local! {
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `input` compressed to `out`; false (and `out` as it was) unless that takes less than `limit` bytes.
pub(crate) fn compress(method: Method, input: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
    let start = out.len();
    let done = match method {
        Method::Pglz => pglz::compress(input, out),
        Method::Lz4 => {
            out.resize(start + lz4_flex::block::get_maximum_output_size(input.len()), 0);
            match lz4_flex::block::compress_into(input, &mut out[start..]) {
                Ok(len) => {
                    out.truncate(start + len);
                    true
                }
                Err(_) => false,
            }
        }
        Method::Zstd => zstd_compress(input, out),
    };
    if done && out.len() - start < limit {
        return true;
    }
    out.truncate(start);
    false
}

fn zstd_compress(input: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.resize(start + zstd::zstd_safe::compress_bound(input.len()), 0);
    ZSTD.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        let Some(compressor) = slot else { return false };
        match compressor.compress_to_buffer(input, &mut out[start..]) {
            Ok(len) => {
                out.truncate(start + len);
                true
            }
            Err(_) => false,
        }
    })
}

/// Decompresses into exactly `out.len()` bytes; false if the input is broken.
pub(crate) fn decompress(method: Method, input: &[u8], out: &mut [u8]) -> bool {
    match method {
        Method::Pglz => pglz::decompress(input, out),
        Method::Lz4 => lz4_flex::block::decompress_into(input, out).is_ok_and(|len| len == out.len()),
        Method::Zstd => zstd::bulk::decompress_to_buffer(input, out).is_ok_and(|len| len == out.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_gives_back_what_it_took() {
        let mut page = vec![0; 8192];
        for (i, byte) in page.iter_mut().enumerate().skip(4000) {
            *byte = (i / 60 % 251) as u8 ^ u8::from(i % 17 == 0);
        }
        for method in [Method::Pglz, Method::Lz4, Method::Zstd] {
            let mut out = vec![7];
            assert!(compress(method, &page, &mut out, 8192), "{method:?}");
            assert!(out.len() < 4000, "{method:?}: {}", out.len());
            let mut back = vec![1; 8192];
            assert!(decompress(method, &out[1..], &mut back));
            assert_eq!(back, page);
            assert!(!decompress(method, &out[1..], &mut back[..8000]));
            assert!(!decompress(method, &out[1..out.len() - 1], &mut back));
        }
    }
}
