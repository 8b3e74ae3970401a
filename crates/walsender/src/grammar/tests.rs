//! Sentences, and what they mean.

use super::*;

fn command(text: &str) -> Command {
    parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message))
}

#[track_caller]
fn fails(text: &str, expected: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!((&*error.message, error.sqlstate), (expected, SqlState::SYNTAX_ERROR), "{text}");
}

fn option(name: &str, value: Option<OptionValue>) -> CommandOption {
    CommandOption { name: name.to_owned(), value }
}

fn text(text: &str) -> Option<OptionValue> {
    Some(OptionValue::Text(text.to_owned()))
}

#[test]
fn simple_commands() {
    assert_eq!(command("IDENTIFY_SYSTEM"), Command::IdentifySystem);
    assert_eq!(command("  IDENTIFY_SYSTEM ; "), Command::IdentifySystem);
    assert_eq!(command("SHOW Wal_Level"), Command::Show("wal_level".into()));
    assert_eq!(command("SHOW \"Wal_Level\""), Command::Show("Wal_Level".into()));
    assert_eq!(command("SHOW a.b.c"), Command::Show("a.b.c".into()));
    assert_eq!(command("TIMELINE_HISTORY 7"), Command::TimelineHistory(TimeLineId(7)));
    assert_eq!(command("TIMELINE_HISTORY 99999999999"), Command::TimelineHistory(TimeLineId(0x4876_E7FF)));
    assert_eq!(command("READ_REPLICATION_SLOT s"), Command::ReadReplicationSlot("s".into()));
    let dropped = |wait| Command::DropReplicationSlot { name: "s".into(), wait };
    assert_eq!(command("DROP_REPLICATION_SLOT s"), dropped(false));
    assert_eq!(command("DROP_REPLICATION_SLOT s WAIT"), dropped(true));
}

#[test]
fn start_replication() {
    let start = |slot: Option<&str>, lsn, timeline: Option<u32>| {
        let slot = slot.map(str::to_owned);
        let (start, timeline) = (Lsn(lsn), timeline.map(TimeLineId));
        Command::StartReplication(StartReplication { slot, start, timeline })
    };
    assert_eq!(command("START_REPLICATION 0/3000000"), start(None, 0x300_0000, None));
    assert_eq!(command("START_REPLICATION PHYSICAL 0/3000000 TIMELINE 2"), start(None, 0x300_0000, Some(2)));
    assert_eq!(
        command("START_REPLICATION SLOT \"a\" PHYSICAL AbC/1f TIMELINE 12"),
        start(Some("a"), 0xABC_0000_001F, Some(12))
    );
    assert_eq!(command("START_REPLICATION SLOT ab 1/0"), start(Some("ab"), 1 << 32, None));
    for text in
        ["START_REPLICATION SLOT s LOGICAL 0/0", "START_REPLICATION SLOT s LOGICAL 0/0 (a, \"b\" 'x', c 'y')"]
    {
        assert_eq!(command(text), Command::StartLogical { slot: "s".into() });
    }
    fails("START_REPLICATION", "syntax error");
    fails("START_REPLICATION 1", "syntax error");
    fails("START_REPLICATION LOGICAL 0/0", "syntax error");
    fails("START_REPLICATION 0/1 SLOT s", "syntax error");
    fails("START_REPLICATION 0/1 TIMELINE 0", "invalid timeline 0");
    fails("START_REPLICATION 0/123456789", "invalid streaming start location");
}

#[test]
fn slots_are_made_in_both_syntaxes() {
    let made = |temporary, plugin: Option<&str>, options| {
        let plugin = plugin.map(str::to_owned);
        Command::CreateReplicationSlot(CreateSlot { name: "s".into(), temporary, plugin, options })
    };
    assert_eq!(command("CREATE_REPLICATION_SLOT s PHYSICAL"), made(false, None, vec![]));
    assert_eq!(
        command("CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL RESERVE_WAL"),
        made(true, None, vec![option("reserve_wal", text("true"))])
    );
    assert_eq!(
        command("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL, other 'x', n 7)"),
        made(
            false,
            None,
            vec![
                option("reserve_wal", None),
                option("other", text("x")),
                option("n", Some(OptionValue::Integer(7))),
            ]
        )
    );
    assert_eq!(
        command("CREATE_REPLICATION_SLOT s LOGICAL pgoutput NOEXPORT_SNAPSHOT TWO_PHASE"),
        made(
            false,
            Some("pgoutput"),
            vec![option("snapshot", text("nothing")), option("two_phase", text("true"))]
        )
    );
    fails("CREATE_REPLICATION_SLOT s", "syntax error");
    fails("CREATE_REPLICATION_SLOT s PHYSICAL ()", "syntax error");
    fails("CREATE_REPLICATION_SLOT s PHYSICAL LABEL", "syntax error");
}

#[test]
fn backups_in_both_syntaxes() {
    assert_eq!(command("BASE_BACKUP"), Command::BaseBackup(vec![]));
    let old = "BASE_BACKUP LABEL 'it''s' PROGRESS FAST WAL NOWAIT MAX_RATE 32 TABLESPACE_MAP NOVERIFY_CHECKSUMS \
               MANIFEST 'yes' MANIFEST_CHECKSUMS 'NONE'";
    assert_eq!(
        command(old),
        Command::BaseBackup(vec![
            option("label", text("it's")),
            option("progress", text("true")),
            option("checkpoint", text("fast")),
            option("wal", text("true")),
            option("wait", text("false")),
            option("max_rate", Some(OptionValue::Integer(32))),
            option("tablespace_map", text("true")),
            option("verify_checksums", text("false")),
            option("manifest", text("yes")),
            option("manifest_checksums", text("NONE")),
        ])
    );
    let new = "BASE_BACKUP ( LABEL 'pg_basebackup base backup',  PROGRESS,  CHECKPOINT 'fast',  WAIT 0,  MANIFEST 'yes', \
               TARGET 'client')";
    assert_eq!(
        command(new),
        Command::BaseBackup(vec![
            option("label", text("pg_basebackup base backup")),
            option("progress", None),
            option("checkpoint", text("fast")),
            option("wait", Some(OptionValue::Integer(0))),
            option("manifest", text("yes")),
            option("target", text("client")),
        ])
    );
    fails("BASE_BACKUP (LABEL 'x'", "syntax error");
    fails("BASE_BACKUP LABEL", "syntax error");
    fails("BASE_BACKUP LABEL 'x", "unterminated quoted string");
}

#[test]
fn what_is_not_of_the_language() {
    assert!(is_replication_command("SHOW x").unwrap());
    for sql in ["show x", "select 1", "", " ;", "\"SHOW\" x", "-- c\nSHOW x", "LABEL", "0/1"] {
        assert!(!is_replication_command(sql).unwrap(), "{sql}");
    }
    fails("IDENTIFY_SYSTEM; SHOW x", "syntax error");
    fails("IDENTIFY_SYSTEM $", "syntax error");
    fails("SHOW 'x'", "syntax error");
    fails("TIMELINE_HISTORY 0", "invalid timeline 0");
}

#[test]
fn keywords_are_their_own_words() {
    for keyword in Keyword::ALL {
        assert_eq!(Lexer::new(keyword.text()).next().unwrap(), Some(Token::Keyword(*keyword)));
        let longer = format!("{}_", keyword.text());
        assert!(matches!(Lexer::new(&longer).next().unwrap(), Some(Token::Name(_))));
    }
    let long = "x".repeat(100);
    assert_eq!(Lexer::new(&long).next().unwrap(), Some(Token::Name("x".repeat(63))));
    assert_eq!(Lexer::new("\"a\"\"b\"").next().unwrap(), Some(Token::Name("a\"b".into())));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _ = is_replication_command(&text);
        let _ = parse(&text);
    }

    #[test]
    fn no_words_make_it_panic(words in proptest::collection::vec(
        proptest::prop_oneof![
            proptest::sample::select(Keyword::ALL).prop_map(|k| k.text().to_owned()),
            proptest::sample::select(vec!["(", ")", ",", ";", "'x'", "\"y\"", "z", "7", "0/1", "'", "."]).prop_map(str::to_owned),
        ], 0..12,
    )) {
        let _ = parse(&words.join(" "));
    }
}

use proptest::strategy::Strategy as _;
