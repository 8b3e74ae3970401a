//! Every cluster's WAL is read by PostgreSQL's own `pg_waldump` when the test that made it is over: whatever the whole
//! suite writes, 15 can read.

use std::fs;

use common::Lsn;

use crate::{Cluster, Server, real_postgres};

/// A value of `pg_controldata`.
fn control_value(text: &str, label: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix(label)).map(|value| value.trim().to_owned())
}

/// Bytes before the first record of a segment.
const LONG_HEADER: u64 = 40;
/// The same on other pages.
const SHORT_HEADER: u64 = 24;
const PAGE: u64 = 8192;

/// The first segment of a timeline that is still there, and where it begins.
fn first_segment(cluster: &Cluster, timeline: u32, segment_bytes: u64) -> Option<(String, Lsn)> {
    let names = fs::read_dir(cluster.data_dir().join("pg_wal")).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let timeline = format!("{timeline:08X}");
    let first = names.filter(|name| name.len() == 24 && name.starts_with(&timeline)).min()?;
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(first.get(range)?, 16).ok();
    let per_id = 0x1_0000_0000 / segment_bytes;
    let start = Lsn((part(8..16)? * per_id + part(16..24)?) * segment_bytes);
    Some((first, start))
}

/// Reads all WAL of the latest checkpoint's timeline up to that checkpoint. Nothing to say about PostgreSQL's own
/// clusters, without PostgreSQL's programs, or where a test has broken pg_control; tests that break WAL do so in a copy.
///
/// # Panics
/// With what `pg_waldump` complains about.
pub(crate) fn check(cluster: &Cluster) {
    if cluster.server() == Server::Real || real_postgres().is_none() {
        return;
    }
    let Some(mut controldata) = cluster.client("pg_controldata") else { return };
    let output = cluster.run(controldata.arg(cluster.data_dir()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let end = control_value(&text, "Latest checkpoint location:").and_then(|lsn| lsn.parse::<Lsn>().ok());
    let bytes = control_value(&text, "Bytes per WAL segment:").and_then(|bytes| bytes.parse::<u64>().ok());
    let timeline =
        control_value(&text, "Latest checkpoint's TimeLineID:").and_then(|number| number.parse::<u32>().ok());
    let (Some(end), Some(bytes), Some(timeline)) = (end, bytes, timeline) else { return };
    let Some((segment, start)) = first_segment(cluster, timeline, bytes) else { return };
    let Some(mut waldump) = cluster.client("pg_waldump") else { return };
    // The checkpoint of `initdb` is the first record there is.
    if end <= start + LONG_HEADER {
        return;
    }
    // Asked for the end of a page's header, it would take what it has not read for a record.
    let header = if end.0 % bytes < PAGE { LONG_HEADER } else { SHORT_HEADER };
    let end = if end.0 % PAGE == header { Lsn(end.0 - header) } else { end };
    waldump.arg("-p").arg(cluster.data_dir().join("pg_wal")).arg("-q");
    waldump.args(["-s", &start.to_string(), "-e", &end.to_string()]);
    // With the segments' names, since another one may be made ready and hold nothing yet.
    let (number, per_id) = ((end.0 - 1) / bytes, 0x1_0000_0000 / bytes);
    let last = format!("{}{:08X}{:08X}", &segment[..8], number / per_id, number % per_id);
    waldump.arg(&segment);
    if last != segment {
        waldump.arg(last);
    }
    let output = cluster.run(&mut waldump);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "pg_waldump from {start} to {end}: {complaint}\n{}", cluster.log());
}
