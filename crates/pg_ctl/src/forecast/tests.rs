//! Tests of forecast.

use stopreport::{Condition, Kind};

use super::*;

#[test]
fn only_what_the_archiver_takes_counts() {
    let dir = tempfile::tempdir().unwrap();
    assert!(count_ready(dir.path()).is_err());
    let status = dir.path().join(archive_name::STATUS_DIR);
    std::fs::create_dir_all(&status).unwrap();
    for name in [
        "000000010000000000000001.ready",
        "000000010000000000000002.done",
        "00000002.history.ready",
        "junk.ready",
        "000000010000000000000003",
    ] {
        std::fs::write(status.join(name), "").unwrap();
    }
    assert_eq!(count_ready(dir.path()).unwrap(), 2);
}

fn items() -> Vec<Item> {
    vec![
        Item {
            pid: Some(4711),
            name: Some("s1\u{7}".to_owned()),
            bytes: Some(412 << 20),
            unsent: Some(1),
            rate: Some(38e6),
            seconds: Some(11.2),
            condition: Condition::Moving,
            ..Item::new(Kind::WalSender)
        },
        Item { files: Some(100), condition: Condition::Unknown, ..Item::new(Kind::Archiver) },
        Item { detail: Some("nobody can say".to_owned()), ..Item::new(Kind::Total) },
    ]
}

#[test]
fn the_table() {
    let expected = [
        " step |   kind    | pid  | name | bytes  | files |  rate   |  seconds   |     detail",
        "------+-----------+------+------+--------+-------+---------+------------+----------------",
        "    3 | walsender | 4711 | s1?  | 412 MB |       | 36 MB/s | about 11 s |",
        "    3 | archiver  |      |      |        |   100 |         |            |",
        "      | total     |      |      |        |       |         |            | nobody can say",
    ];
    assert_eq!(table(&items()), expected);
}

#[test]
fn rows_for_programs() {
    let row: serde_json::Value = serde_json::from_str(&json_row(&items()[0])).unwrap();
    assert_eq!((row["step"].as_i64(), row["kind"].as_str()), (Some(3), Some("walsender")));
    assert_eq!((row["bytes"].as_u64(), row["seconds"].as_f64()), (Some(412 << 20), Some(11.2)));
    let total: serde_json::Value = serde_json::from_str(&json_row(&items()[2])).unwrap();
    assert!(total.get("step").is_none() && total.get("bytes").is_none());
    assert!(json_row(&items()[0]).starts_with("{\"step\":3,\"kind\":\"walsender\","));
}
