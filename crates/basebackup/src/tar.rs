//! Headers of the tar format, "ustar", as PostgreSQL writes them.
//!
//! ```text
//! 0    100  108 116 124  136   148 156  157  257   263 265  297   329   337   345    500   512
//! name mode uid gid size mtime sum type link magic 00  user group major minor prefix zeros
//! ```
//!
//! Numbers are octal digits and a blank; those too big for that are binary, big-endian, with the first bit set. The prefix is
//! never used: a name longer than 99 bytes is an error.
//!
//! C counterpart: port/tar.c, `_tarWriteHeader`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::SqlState;
use elog::{Result, error};

/// Everything in an archive begins at a multiple of it. C: `TAR_BLOCK_SIZE`.
pub(crate) const BLOCK: usize = 512;

/// Longest name and longest target of a link, in bytes; both end with a NUL.
const NAME_BYTES_MAX: usize = 99;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    File {
        size: u64,
    },
    Directory,
    /// To a directory: the only links there are.
    Link {
        target: &'a Path,
    },
}

/// What a header says beside the name and the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Permission bits; others are ignored.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Unix seconds.
    pub(crate) mtime: i64,
}

/// The header of an entry. C: `tarCreateHeader`.
///
/// # Errors
/// `file name too long for tar format`, `symbolic link target too long for tar format`.
pub(crate) fn header(name: &Path, kind: Kind<'_>, owner: Owner) -> Result<[u8; BLOCK]> {
    let name_bytes = name.as_os_str().as_bytes();
    if name_bytes.len() > NAME_BYTES_MAX {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "file name too long for tar format: \"{}\"",
            name.display()
        ));
    }
    let mut header = [0; BLOCK];
    header[..name_bytes.len()].copy_from_slice(name_bytes);
    let size = match kind {
        Kind::File { size } => {
            header[156] = b'0';
            size
        }
        Kind::Directory => {
            header[156] = b'5';
            end_with_slash(&mut header, name_bytes.len());
            0
        }
        Kind::Link { target } => {
            let target_bytes = target.as_os_str().as_bytes();
            if target_bytes.len() > NAME_BYTES_MAX {
                return Err(error!(
                    SqlState::INTERNAL_ERROR,
                    "symbolic link target too long for tar format: file name \"{}\", target \"{}\"",
                    name.display(),
                    target.display()
                ));
            }
            header[156] = b'2';
            header[157..157 + target_bytes.len()].copy_from_slice(target_bytes);
            end_with_slash(&mut header, name_bytes.len());
            0
        }
    };
    number(&mut header[100..108], u64::from(owner.mode & 0o7777));
    number(&mut header[108..116], u64::from(owner.uid));
    number(&mut header[116..124], u64::from(owner.gid));
    number(&mut header[124..136], size);
    number(&mut header[136..148], owner.mtime as u64);
    header[257..262].copy_from_slice(b"ustar");
    header[263..265].copy_from_slice(b"00");
    header[265..273].copy_from_slice(b"postgres");
    header[297..305].copy_from_slice(b"postgres");
    number(&mut header[329..337], 0);
    number(&mut header[337..345], 0);
    let sum = checksum(&header);
    number(&mut header[148..156], sum);
    Ok(header)
}

/// A directory's name has a slash at its end, and so, in PostgreSQL's archives, has that of a link.
fn end_with_slash(header: &mut [u8; BLOCK], name_len: usize) {
    header[name_len.min(NAME_BYTES_MAX)] = b'/';
    header[name_len.min(NAME_BYTES_MAX) + 1] = 0;
}

/// Sum of all bytes, the checksum's own counting as blanks. C: `tarChecksum`.
fn checksum(header: &[u8; BLOCK]) -> u64 {
    let own: u64 = header[148..156].iter().map(|b| u64::from(*b)).sum();
    header.iter().map(|b| u64::from(*b)).sum::<u64>() - own + 8 * u64::from(b' ')
}

/// C: `print_tar_number`.
fn number(field: &mut [u8], mut value: u64) {
    let last = field.len() - 1;
    if value < 1 << (last * 3) {
        field[last] = b' ';
        for digit in field[..last].iter_mut().rev() {
            *digit = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    } else {
        field[0] = 0x80;
        for byte in field[1..].iter_mut().rev() {
            *byte = value as u8;
            value >>= 8;
        }
    }
}

/// Zeros that a file of this size is followed by. C: `tarPaddingBytesRequired`.
pub(crate) fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { mode: 0o100600, uid: 65534, gid: 65534, mtime: 0o15300361324 };

    /// Bytes that PostgreSQL 15 sent for the same entry.
    #[test]
    fn a_file() {
        let header = header("backup_label".as_ref(), Kind::File { size: 201 }, OWNER).unwrap();
        assert_eq!(header[..13], *b"backup_label\0");
        let numbers = b"0000600 0177776 0177776 00000000311 15300361324 0015577 0\0";
        assert_eq!(header[100..158], *numbers);
        assert_eq!(header[257..275], *b"ustar\x0000postgres\0\0");
        assert_eq!(header[297..306], *b"postgres\0");
        assert_eq!(header[329..346], *b"0000000 0000000 \0");
    }

    #[test]
    fn directories_and_links_end_with_a_slash() {
        let directory = header("base/5".as_ref(), Kind::Directory, OWNER).unwrap();
        assert_eq!((&directory[..8], directory[156]), (&b"base/5/\0"[..], b'5'));
        let kind = Kind::Link { target: "/mnt/ts".as_ref() };
        let link = header("pg_tblspc/16385".as_ref(), kind, OWNER).unwrap();
        assert_eq!(link[..17], *b"pg_tblspc/16385/\0");
        assert_eq!(link[124..136], *b"00000000000 ");
        assert_eq!(link[156..165], *b"2/mnt/ts\0");
    }

    #[test]
    fn big_numbers_are_binary() {
        let big = 8 << 30;
        let header = header("16384".as_ref(), Kind::File { size: big }, OWNER).unwrap();
        assert_eq!(header[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let mut field = [0; 12];
        number(&mut field, big - 1);
        assert_eq!(field, *b"77777777777 ");
    }

    #[test]
    fn long_names() {
        let long = "x".repeat(100);
        let error = header(long.as_ref(), Kind::Directory, OWNER).unwrap_err();
        assert_eq!(error.message, format!("file name too long for tar format: \"{long}\""));
        assert!(header(long[1..].as_ref(), Kind::File { size: 0 }, OWNER).is_ok());
        let error = header("a".as_ref(), Kind::Link { target: long.as_ref() }, OWNER).unwrap_err();
        let text = "symbolic link target too long for tar format: file name \"a\", target ";
        assert_eq!(error.message, format!("{text}\"{long}\""));
    }

    #[test]
    fn padding_fills_the_block() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
