//! Manifests against what PostgreSQL 15 wrote.

use super::*;

const PG_VERSION: &[u8] = b"15\n";
/// 2026-11-21 18:27:31.
const TIME: i64 = 1_795_285_651;

fn manifest(kind: ManifestKind, algorithm: Algorithm) -> Manifest {
    let mut manifest = Manifest::new(kind, algorithm);
    for (tablespace, path) in [(None, "PG_VERSION"), (Some("16385"), "PG_15_202209061/5/\"1\"")] {
        let mut checksum = manifest.file_checksum();
        checksum.update(PG_VERSION);
        manifest.add_file(tablespace, path.as_ref(), 3, TIME, checksum);
    }
    manifest
}

#[test]
fn files() {
    let expected = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n\
        { \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": \"2026-11-21 18:27:31 GMT\", \
        \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"8a744722\" },\n\
        { \"Path\": \"pg_tblspc/16385/PG_15_202209061/5/\\\"1\\\"\", \"Size\": 3, \
        \"Last-Modified\": \"2026-11-21 18:27:31 GMT\", \
        \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"8a744722\" }";
    assert_eq!(manifest(ManifestKind::Plain, Algorithm::Crc32c).text, expected);
}

#[test]
fn names_in_hex_and_no_checksums() {
    let text = manifest(ManifestKind::ForceEncode, Algorithm::None).text;
    let expected = "\n{ \"Encoded-Path\": \"50475f56455253494f4e\", \"Size\": 3, \
                    \"Last-Modified\": \"2026-11-21 18:27:31 GMT\" },\n";
    assert!(text.contains(expected), "{text}");
    let mut manifest = Manifest::new(ManifestKind::Plain, Algorithm::None);
    manifest.add_file(None, Path::new(OsStr::from_bytes(b"a\xff")), 0, 0, FileChecksum::None);
    let expected =
        "{ \"Encoded-Path\": \"61ff\", \"Size\": 0, \"Last-Modified\": \"1970-01-01 00:00:00 GMT\" }";
    assert!(manifest.text.ends_with(expected), "{}", manifest.text);
}

#[test]
fn the_whole_text_has_a_checksum_of_its_own() {
    let mut manifest = manifest(ManifestKind::Plain, Algorithm::Sha224);
    manifest.add_wal((Lsn(0x0900_0028), TimeLineId(1)), (Lsn(0x0900_0100), TimeLineId(1))).unwrap();
    manifest.end();
    let (before, last) = manifest.text.rsplit_once("\n\"Manifest-Checksum\": ").unwrap();
    let ranges = "\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/9000028\", \"End-LSN\": \"0/9000100\" }\n],";
    assert!(before.ends_with(ranges), "{before}");
    assert_eq!(last, format!("\"{}\"}}\n", hex(&Sha256::digest(format!("{before}\n")))));
}

#[test]
fn json_escapes() {
    let mut out = String::new();
    escape_json(&mut out, "a\"b\\c\n\r\t\x08\x0c\x01é");
    assert_eq!(out, "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001é\"");
}

/// Ranges from 0/START on timeline `start` to 0/900 on timeline `end`.
#[track_caller]
fn check_ranges(
    history: &str,
    start: (u64, u32),
    end: u32,
    expected: std::result::Result<&[(u32, u64, u64)], &str>,
) {
    let history = History::parse(history, TimeLineId(end), "x").unwrap();
    let (start, end) = ((Lsn(start.0), TimeLineId(start.1)), (Lsn(0x900), TimeLineId(end)));
    let found = wal_ranges(&history, start, end).map_err(|error| error.message.clone());
    let found = found.map(|found| found.iter().map(|(t, from, to)| (t.0, from.0, to.0)).collect::<Vec<_>>());
    assert_eq!(found.as_deref().map_err(|text| text.as_ref()), expected);
}

#[test]
fn wal_of_several_timelines() {
    let history = "1\t0/300\tx\n2\t0/500\tx\n";
    check_ranges(history, (0x600, 3), 3, Ok(&[(3, 0x600, 0x900)]));
    check_ranges(history, (0x400, 2), 3, Ok(&[(3, 0x500, 0x900), (2, 0x400, 0x500)]));
    check_ranges(history, (0x100, 1), 3, Ok(&[(3, 0x500, 0x900), (2, 0x300, 0x500), (1, 0x100, 0x300)]));
}

#[test]
fn timelines_that_do_not_belong_together() {
    let history = "1\t0/300\tx\n2\t0/500\tx\n";
    check_ranges(history, (0x100, 7), 3, Err("expected start timeline 7 but found timeline 1"));
    check_ranges(history, (0x400, 1), 3, Err("start timeline 1 not found in history of timeline 3"));
}
