//! Strings as libpq reads them.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let info = Conninfo::parse(text).unwrap();
    let found: Vec<(&str, &str)> =
        OPTIONS.iter().zip(&info.0).filter_map(|(def, value)| Some((def.name, value.as_deref()?))).collect();
    assert_eq!(found, expected, "{text}");
}

#[track_caller]
fn wrong(text: &str, expected: &str) {
    assert_eq!(Conninfo::parse(text).unwrap_err(), expected, "{text}");
}

#[test]
fn keys_and_values() {
    check("", &[]);
    check("  ", &[]);
    check("nothing", &[]);
    check("host=a port=1", &[("host", "a"), ("port", "1")]);
    check(" user = x\tpassword\n=\n'it'", &[("user", "x"), ("password", "it")]);
}

#[test]
fn quotes_and_backslashes() {
    check("password='a b'", &[("password", "a b")]);
    check("password='it\\'s \\\\'", &[("password", "it's \\")]);
    check("password=a\\ b user=x", &[("user", "x"), ("password", "a b")]);
    check("password= user=x", &[("password", "user=x")]);
    check("password='' user=x", &[("user", "x"), ("password", "")]);
    check("password=ab\\", &[("password", "ab")]);
}

#[test]
fn what_is_no_connection_string() {
    wrong("host =a port", "missing \"=\" after \"port\" in connection info string");
    wrong("host a=b", "missing \"=\" after \"host\" in connection info string");
    wrong("password='a", "unterminated quoted string in connection info string");
    wrong("hosst=a", "invalid connection option \"hosst\"");
}

#[test]
fn uris() {
    check("postgresql://", &[]);
    check("postgres://h", &[("host", "h")]);
    check(
        "postgresql://u:p%40@h1:1,[::1]:2,h3/db?sslmode=require&application_name=a%20b",
        &[
            ("user", "u"),
            ("password", "p@"),
            ("dbname", "db"),
            ("host", "h1,::1,h3"),
            ("port", "1,2,"),
            ("application_name", "a b"),
            ("sslmode", "require"),
        ],
    );
    check("postgresql:///db?host=%2Ftmp", &[("dbname", "db"), ("host", "/tmp")]);
    check("postgresql://u@/?ssl=true", &[("user", "u"), ("sslmode", "require")]);
    check("postgresql://:5433", &[("port", "5433")]);
    wrong("postgresql://h?x=1", "invalid URI query parameter: \"x\"");
    wrong("postgresql://h?host", "missing key/value separator \"=\" in URI query parameter: \"host\"");
    wrong("postgresql://h?host=a=b", "extra key/value separator \"=\" in URI query parameter: \"host\"");
    wrong("postgresql://%zz", "invalid percent-encoded token: \"%zz\"");
    wrong("postgresql://%00", "forbidden value %00 in percent-encoded value: \"%00\"");
    wrong("postgresql://[]", "IPv6 host address may not be empty in URI: \"postgresql://[]\"");
    wrong(
        "postgresql://[::1",
        "end of string reached when looking for matching \"]\" in IPv6 host address in URI: \
         \"postgresql://[::1\"",
    );
    wrong(
        "postgresql://[::1]x",
        "unexpected character \"x\" at position 19 in URI (expected \":\" or \"/\"): \"postgresql://[::1]x\"",
    );
}

#[test]
fn defaults_and_what_is_shown() {
    let env = |name: &str| match name {
        "PGHOST" => Some("envhost".to_owned()),
        "PGPASSWORD" => Some("envsecret".to_owned()),
        _ => None,
    };
    let mut info = Conninfo::parse("user=rep port=7 sslpassword=x tty=y").unwrap();
    info.set("replication", "true").unwrap();
    info.add_defaults(&env).unwrap();
    assert_eq!(
        info.to_display(),
        "user=rep password=******** channel_binding=prefer host=envhost port=7 sslmode=prefer sslcompression=0 \
         sslpassword=******** sslsni=1 ssl_min_protocol_version=TLSv1.2 gssencmode=prefer krbsrvname=postgres \
         target_session_attrs=any"
    );
    assert_eq!(format!("{info:?}"), info.to_display(), "no secret in a debug print");
    // Given, though empty: the environment is not asked.
    let mut info = Conninfo::parse("host=''").unwrap();
    info.add_defaults(&env).unwrap();
    assert_eq!((info.get("host"), info.nonempty("host")), (Some(""), None));
}

#[test]
fn services() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("services");
    std::fs::write(&file, "# all of them\n[one]\nhost=h1\nport=1\n\n[two]\nhost = x\n[three]\nservice=one\n")
        .unwrap();
    let path = file.display().to_string();
    let env = |name: &str| match name {
        "PGSERVICEFILE" => Some(path.clone()),
        "PGSYSCONFDIR" => Some("/nowhere".to_owned()),
        _ => None,
    };
    let with = |text: &str| {
        let mut info = Conninfo::parse(text).unwrap();
        info.add_defaults(&env).map(|()| info)
    };
    let info = with("service=one port=7").unwrap();
    assert_eq!((info.get("host"), info.get("port")), (Some("h1"), Some("7")));
    assert_eq!(with("service=four").unwrap_err(), "definition of service \"four\" not found");
    assert!(with("service=two").unwrap_err().starts_with("syntax error in service file "));
    assert!(with("service=three").unwrap_err().starts_with("nested service specifications not supported"));
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn encoded(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = Conninfo::parse(&text);
        let _ = Conninfo::parse(&format!("postgresql://{text}"));
        let _ = Conninfo::parse(&format!("host={text}"));
    }

    #[test]
    fn any_value_can_be_said_both_ways(password in "[^\0]*", host in "[^\0]+") {
        let text = format!("password = {} host={}", quoted(&password), quoted(&host));
        let info = Conninfo::parse(&text).unwrap();
        prop_assert_eq!(info.get("password"), Some(&*password));
        prop_assert_eq!(info.get("host"), Some(&*host));
        let uri = format!("postgresql://?password={}&host={}", encoded(&password), encoded(&host));
        let info = Conninfo::parse(&uri).unwrap();
        prop_assert_eq!(info.get("password"), Some(&*password));
        prop_assert_eq!(info.get("host"), Some(&*host));
    }

    #[test]
    fn no_password_is_shown(password in "[a-z]{12,}") {
        let mut info = Conninfo::parse(&format!("password={password} host=h")).unwrap();
        info.add_defaults(&|_| None).unwrap();
        prop_assert!(!info.to_display().contains(&password));
    }
}
