//! Conversations in text form: recorded from the real PostgreSQL 15, expected of both.
//!
//! A transcript is a file next to the tests. Where the real server is installed it must still say the same.
//! `PGANATOMY_RECORD=1` writes the file anew from what the real server says.

use std::path::PathBuf;

use integration::Server;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)
}

/// The text of a file next to the tests.
pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_default()
}

/// Compares what a server said with the file.
#[track_caller]
pub(crate) fn check(name: &str, server: Server, got: &str) {
    if std::env::var_os("PGANATOMY_RECORD").is_some() {
        if server == Server::Real {
            std::fs::write(path(name), got).expect("a writable transcript");
        }
        return;
    }
    let expected = read(name);
    if expected == got {
        return;
    }
    let differs = expected.lines().zip(got.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| expected.lines().count().min(got.lines().count()));
    let around = |text: &str| {
        let lines = text.lines().enumerate().skip(at.saturating_sub(8)).take(16);
        lines.map(|(n, line)| format!("{}{line}\n", if n == at { "> " } else { "  " })).collect::<String>()
    };
    panic!("{name}, line {}, {server:?}: expected\n{}got\n{}", at + 1, around(&expected), around(got));
}
