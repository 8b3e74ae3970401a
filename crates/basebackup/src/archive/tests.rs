//! Archives as they arrive at the end of the pipeline.

use std::fs;

use super::*;
use crate::checksum::Algorithm;
use crate::options::ManifestKind;
use crate::sink::tests::Collect;

/// An archive whose bytes end in what is returned with it.
fn archive() -> (Archive<'static>, Collect) {
    let end = Collect::default();
    let manifest = Manifest::new(ManifestKind::Plain, Algorithm::Crc32c);
    (Archive::new(Stream::new(Box::new(end.clone())), manifest, true), end)
}

/// Sends a file of this content which was `size` bytes long when somebody looked.
#[track_caller]
fn check(content: &[u8], size: u64, expected: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let (looked_at, path) = (dir.path().join("before"), dir.path().join("16384"));
    fs::File::create(&looked_at).unwrap().set_len(size).unwrap();
    fs::write(&path, content).unwrap();
    let metadata = fs::metadata(&looked_at).unwrap();

    let (mut archive, end) = archive();
    let name = Path::new("base/5/16384");
    assert!(archive.add_file(&path, name, &metadata, true, Place::default()).unwrap());
    archive.end().unwrap();

    let bytes = end.bytes();
    let header = tar::header(name, Kind::File { size }, owner(&metadata)).unwrap();
    assert!(bytes[..tar::BLOCK] == header);
    assert!(bytes[tar::BLOCK..].starts_with(expected));
    let rest = &bytes[tar::BLOCK + expected.len()..];
    assert_eq!(rest.len(), tar::padding(size) + 2 * tar::BLOCK);
    assert!(rest.iter().all(|b| *b == 0));
}

#[test]
fn a_file_that_stays_as_it_is() {
    check(b"", 0, b"");
    check(b"abc", 3, b"abc");
    let long: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    check(&long, 100_000, &long);
}

#[test]
fn a_file_that_grew_is_sent_as_it_was() {
    check(b"abcdef", 3, b"abc");
}

#[test]
fn a_file_that_was_cut_off_is_filled_up() {
    let mut expected = vec![b'x'; 40_000];
    expected.resize(70_001, 0);
    check(&[b'x'; 40_000], 70_001, &expected);
}

#[test]
fn a_file_that_vanished() {
    let (mut archive, end) = archive();
    let metadata = fs::metadata("/").unwrap();
    let gone = Path::new("/nonexistent/1");
    assert!(!archive.add_file(gone, gone, &metadata, true, Place::default()).unwrap());
    assert!(end.bytes().is_empty());
    let error = archive.add_file(gone, gone, &metadata, false, Place::default()).unwrap_err();
    assert_eq!(error.message, "could not open file \"/nonexistent/1\": No such file or directory");
}

#[test]
fn content_that_is_in_no_file() {
    let (mut archive, end) = archive();
    archive.add_content("backup_label", b"LABEL: x\n").unwrap();
    let bytes = end.bytes();
    assert_eq!(bytes.len(), 2 * tar::BLOCK);
    assert!(bytes.starts_with(b"backup_label\0"));
    assert!(bytes[tar::BLOCK..].starts_with(b"LABEL: x\n\0"));
}
