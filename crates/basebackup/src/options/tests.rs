//! Options against what PostgreSQL 15 says to them.

use super::*;

fn options(text: &str) -> Vec<CommandOption> {
    let option = |part: &str| {
        let (name, value) = part.split_once(' ').map_or((part, None), |(name, value)| (name, Some(value)));
        let value = value.map(|value| match value.parse() {
            Ok(number) => OptionValue::Integer(number),
            Err(_) => OptionValue::Text(value.trim_matches('\'').to_owned()),
        });
        CommandOption { name: name.to_owned(), value }
    };
    text.split(", ").filter(|part| !part.is_empty()).map(option).collect()
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let shown = match Options::parse(&options(text)) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.sqlstate, error.message),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn nothing_said() {
    let parsed = Options::parse(&[]).unwrap();
    let expected = Options {
        label: "base backup".to_owned(),
        progress: false,
        fast_checkpoint: false,
        include_wal: false,
        wait: true,
        rate_kb: None,
        tablespace_map: false,
        verify_checksums: true,
        manifest: ManifestKind::None,
        checksum: Algorithm::None,
        target: Target::Client,
        compression: None,
    };
    assert_eq!(parsed, expected);
}

#[test]
fn all_said() {
    let text = "label x, progress, checkpoint FAST, wal on, wait 0, max_rate 32, tablespace_map 1, \
                verify_checksums off, manifest 'Force-Encode', manifest_checksums sha512, target server, \
                target_detail /b, compression zstd, compression_detail workers=2";
    let parsed = Options::parse(&options(text)).unwrap();
    let expected = Options {
        label: "x".to_owned(),
        progress: true,
        fast_checkpoint: true,
        include_wal: true,
        wait: false,
        rate_kb: Some(32),
        tablespace_map: true,
        verify_checksums: false,
        manifest: ManifestKind::ForceEncode,
        checksum: Algorithm::Sha512,
        target: Target::Server("/b".into()),
        compression: Some(Compression::Zstd { level: 3, workers: 2 }),
    };
    assert_eq!(parsed, expected);
}

#[test]
fn values_of_another_kind() {
    check("label", "42601: label requires a parameter");
    check("label 5", "ok");
    check("progress 2", "42601: progress requires a Boolean value");
    check("verify_checksums x", "42601: verify_checksums requires a Boolean value");
    check("checkpoint foo", "42601: unrecognized checkpoint type: \"foo\"");
    check("max_rate abc", "42601: max_rate requires a numeric value");
    check("max_rate", "42601: max_rate requires a numeric value");
    let range = "is outside the valid range for parameter \"MAX_RATE\" (32 .. 1048576)";
    check("max_rate 3", &format!("22003: 3 {range}"));
    check("max_rate 99999999999", &format!("22003: 1215752191 {range}"));
    check("manifest x", "42601: unrecognized manifest option: \"x\"");
    check("manifest 1", "ok");
    check("manifest yes, manifest_checksums md5", "42601: unrecognized checksum algorithm: \"md5\"");
    check("compression x", "42601: unrecognized compression algorithm: \"x\"");
}

#[test]
fn strangers_and_twins() {
    check("foo", "42601: unrecognized base backup option: \"foo\"");
    check("label a, label b", "42601: duplicate option \"label\"");
    check("tablespace_map, tablespace_map", "42601: duplicate option \"tablespace_map\"");
}

#[test]
fn what_does_not_go_together() {
    let text = "42601: manifest checksums require a backup manifest";
    check("manifest_checksums sha256", text);
    check("manifest no, manifest_checksums none", text);
    let text = "42601: compression detail cannot be specified unless compression is enabled";
    check("compression_detail 1", text);
    let text = "42601: invalid compression specification: compression algorithm \"none\" does not accept a \
                compression level";
    check("compression none, compression_detail 1", text);
}

#[test]
fn targets() {
    check("target x", "0A000: unrecognized target: \"x\"");
    check("target client, target_detail x", "42601: target \"client\" does not accept a target detail");
    check("target blackhole, target_detail x", "42601: target \"blackhole\" does not accept a target detail");
    check("target_detail x", "42601: target detail cannot be used without target");
    check("target server", "42601: target \"server\" requires a target detail");
    check("target client", "ok");
}
