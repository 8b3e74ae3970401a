//! The password file: `host:port:database:user:password`, a line each, `*` for anything.
//!
//! C counterpart: `passwordFromFile`, `passwordFromFile`'s checks, fe-connect.c.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Whom a password is for.
pub(crate) struct Entry<'a> {
    /// Host, address, or `localhost` for the default socket directory.
    pub(crate) host: &'a str,
    /// As text.
    pub(crate) port: &'a str,
    /// Always `replication` here.
    pub(crate) database: &'a str,
    /// The role.
    pub(crate) user: &'a str,
}

/// The password of the first line that fits. A file that others may read is not used; that is logged.
pub(crate) fn lookup(file: &Path, entry: &Entry<'_>) -> Option<String> {
    let metadata = std::fs::metadata(file).ok()?;
    let shown = file.display();
    if !metadata.is_file() {
        elog::ereport!(Warning, "password file \"{shown}\" is not a plain file");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        elog::ereport!(
            Warning,
            "password file \"{shown}\" has group or world access; permissions should be u=rw (0600) or less"
        );
        return None;
    }
    let bytes = std::fs::read(file).ok()?;
    find(&String::from_utf8_lossy(&bytes), entry)
}

fn find(text: &str, entry: &Entry<'_>) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line.trim_end_matches('\r');
        for wanted in [entry.host, entry.port, entry.database, entry.user] {
            rest = field(rest, wanted)?;
        }
        Some(unescaped(rest))
    })
}

/// What follows the first field, if that is `wanted` or a star. C: `pwdfMatchesString`.
fn field<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut escaped = false;
    let end = line.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        ':' => Some(at),
        _ => None,
    })?;
    (unescaped(&line[..end]) == wanted).then(|| &line[end + 1..])
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let entry = Entry { host: "db1", port: "5433", database: "replication", user: "re:p" };
        assert_eq!(find(text, &entry).as_deref(), expected, "{text}");
    }

    #[test]
    fn the_first_line_that_fits() {
        check("", None);
        check("db1:5433:replication:re\\:p:secret", Some("secret"));
        check("#db1:5433:replication:re\\:p:x\n*:*:*:*:a\\:b\\\\c\n", Some("a:b\\c"));
        check("db2:*:*:*:wrong\ndb1:*:*:*:right\n*:*:*:*:late", Some("right"));
        check("db1:5433:postgres:re\\:p:secret", None);
        check("db1:5433:replication:re\\:p", None);
        check("db1:5433:replication:re\\:p:", Some(""));
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pgpass");
        std::fs::write(&file, "*:*:*:*:secret\n").unwrap();
        let entry = Entry { host: "h", port: "1", database: "replication", user: "u" };
        for (mode, expected) in [(0o640, None), (0o600, Some("secret".to_owned()))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(lookup(&file, &entry), expected);
        }
        assert_eq!(lookup(dir.path(), &entry), None);
    }
}
