//! Small parts; the program as a whole is tested in `tests/`.

use super::*;

#[test]
fn shell_words() {
    assert_eq!(shell_word("/data/d1"), "/data/d1");
    assert_eq!(shell_word("it's"), "'it'\"'\"'s'");
    assert_eq!(shell_word(""), "''");
    assert_eq!(shell_word("a b$c"), "'a b$c'");
}

#[test]
fn pg_ctl_is_called_as_we_were() {
    assert_eq!(pg_ctl_beside("initdb"), Path::new("pg_ctl"));
    assert_eq!(pg_ctl_beside("./initdb"), Path::new("./pg_ctl"));
    assert_eq!(pg_ctl_beside("/usr/bin/initdb"), Path::new("/usr/bin/pg_ctl"));
}
