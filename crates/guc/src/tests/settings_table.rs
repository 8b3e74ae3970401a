//! The table itself, alone and against the real server.

use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::table::{Kind, all, flags};
use crate::value::{self, Value};
use crate::{GucSource, find, rows, units};

const REAL_BIN: &str = "/usr/lib/postgresql/15/bin";

#[test]
fn names_are_unique_and_found_in_any_case() {
    let names: HashSet<String> = all().iter().map(|s| s.name.to_ascii_lowercase()).collect();
    assert_eq!(names.len(), all().len());
    for setting in all() {
        for spelling in [setting.name.to_owned(), setting.name.to_ascii_uppercase()] {
            assert!(find(&spelling).is_some_and(|found| std::ptr::eq(found, *setting)), "{spelling}");
        }
    }
    assert!(find("").is_none() && find("zzz").is_none() && find("work_men").is_none());
}

#[test]
fn boot_values_obey_their_own_rules() {
    let _turn = crate::state::for_test();
    for setting in all() {
        let boot = value::boot(setting);
        match (&setting.kind, &boot) {
            (Kind::Int { min, max, .. }, Value::Int(n)) => assert!(min <= n && n <= max, "{}", setting.name),
            (Kind::Real { min, max, .. }, Value::Real(n)) => {
                assert!(min <= n && n <= max, "{}", setting.name)
            }
            (Kind::Enum { choices, .. }, _) => {
                for choice in *choices {
                    let means = choices.iter().any(|c| c.name == choice.means);
                    assert!(means, "{}: {} stands for nothing", setting.name, choice.name);
                }
            }
            _ => {}
        }
        value::check(setting, boot.clone(), GucSource::Default)
            .unwrap_or_else(|e| panic!("{}: {e}", setting.name));
        assert_eq!(boot, value::current(setting), "{}", setting.name);
        let shown = value::with_units(setting, &boot);
        if !matches!(boot, Value::String(_)) {
            let again = value::parse(setting, &shown, GucSource::Default);
            assert_eq!(again.ok(), Some(boot), "{} does not read back {shown}", setting.name);
        }
    }
}

/// What differs from a build of PostgreSQL on purpose.
fn is_own_fact(name: &str) -> bool {
    // Paths and versions of the build, and a setting that only Debian's has.
    ["unix_socket_directories", "krb_server_keyfile", "server_version", "extension_destdir"].contains(&name)
}

/// `postgres --describe-config` needs no cluster and has nearly all settings.
#[test]
fn same_as_the_real_server() {
    let Ok(output) = Command::new(format!("{REAL_BIN}/postgres")).arg("--describe-config").output() else {
        eprintln!("SKIPPED: same_as_the_real_server: {REAL_BIN} is not here");
        return;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    let mut compared = 0;
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, context, category, vartype, boot, min, max, short, extra] = columns[..] else {
            panic!("nine columns expected: {line}");
        };
        if is_own_fact(name) {
            continue;
        }
        let setting = find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(setting.name, name);
        assert_eq!(setting.context.name(), context, "{name}");
        assert_eq!(setting.category, category, "{name}");
        let our_type = setting.type_name().to_ascii_uppercase();
        assert_eq!(if our_type == "BOOL" { "BOOLEAN" } else { &our_type }, vartype, "{name}");
        assert_eq!((setting.short, setting.extra.unwrap_or("")), (short, extra), "{name}");
        assert!(!setting.has(flags::NOT_IN_SAMPLE | flags::NO_SHOW_ALL | flags::DISALLOW_IN_FILE), "{name}");
        same_value(setting, boot, min, max);
        compared += 1;
    }
    assert!(compared > 290, "only {compared} settings compared");
}

/// Limits of numbers, and boot values of text: those of the others are not filled in when the tool prints.
fn same_value(setting: &crate::Setting, boot: &str, min: &str, max: &str) {
    let name = setting.name;
    let real = |text: &str| units::format_g(text.parse::<f64>().expect("a number"));
    match setting.kind {
        Kind::Bool { .. } => {}
        Kind::Int { min: from, max: to, .. } => {
            assert_eq!([from, to].map(|n| n.to_string()), [min, max], "{name}");
        }
        Kind::Real { min: from, max: to, .. } => {
            assert_eq!([from, to].map(units::format_g), [real(min), real(max)], "{name}");
        }
        Kind::String { boot: ours, .. } => assert_eq!(ours.unwrap_or(""), boot, "{name}"),
        Kind::Enum { .. } => assert_eq!(value::plain(setting, &value::boot(setting)), boot, "{name}"),
    }
}

/// pg_settings of a cluster made for the purpose has all of them, with boot values and flags.
#[test]
fn same_pg_settings_as_the_real_server() {
    let Some(text) = real_pg_settings() else {
        eprintln!("SKIPPED: same_pg_settings_as_the_real_server: {REAL_BIN} is not here, or will not run");
        return;
    };
    let _turn = crate::state::for_test();
    let own = rows();
    let mut names = HashSet::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, unit, category, context, vartype, min, max, enumvals, boot, flags_shown] = columns[..]
        else {
            panic!("ten columns expected: {line}");
        };
        names.insert(name.to_owned());
        if is_own_fact(name) {
            continue;
        }
        let row = own.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is missing"));
        let enumvals_here = row.enumvals.as_ref().map(|words| words.join(";"));
        let or_null = |text: Option<&str>| text.unwrap_or("\\N").to_owned();
        assert_eq!((or_null(row.unit).as_str(), row.category), (unit, category), "{name}");
        assert_eq!((row.context, row.vartype), (context, vartype), "{name}");
        assert_eq!([or_null(row.min_val.as_deref()), or_null(row.max_val.as_deref())], [min, max], "{name}");
        assert_eq!(or_null(enumvals_here.as_deref()), enumvals, "{name}");
        if !["ssl_library"].contains(&name) {
            assert_eq!(or_null(row.boot_val.as_deref()), boot, "{name}");
        }
        assert_eq!(shown_flags(name), flags_shown, "{name}");
    }
    let ours: Vec<&str> = own.iter().map(|row| row.name).filter(|name| !names.contains(*name)).collect();
    let own = [
        "archive_max_workers",
        "archiver_shutdown_timeout",
        "backend_on_postmaster_death",
        "stats_temp_directory",
        "wal_sender_shutdown_timeout",
    ];
    assert_eq!(ours, own, "only these are our own");
    assert!(names.len() > 350);
}

/// Those that pg_settings_get_flags shows, in its order.
fn shown_flags(name: &str) -> String {
    let setting = find(name).expect("a setting");
    let all = [
        (flags::EXPLAIN, "EXPLAIN"),
        (flags::NO_RESET_ALL, "NO_RESET_ALL"),
        (flags::NO_SHOW_ALL, "NO_SHOW_ALL"),
        (flags::NOT_IN_SAMPLE, "NOT_IN_SAMPLE"),
        (flags::RUNTIME_COMPUTED, "RUNTIME_COMPUTED"),
    ];
    all.iter().filter(|(flag, _)| setting.has(*flag)).map(|(_, word)| *word).collect::<Vec<_>>().join(";")
}

/// Runs initdb and a server without a postmaster; as nobody if the test runs as root, whom they refuse.
fn real_pg_settings() -> Option<String> {
    const QUERY: &str = "copy (select name, unit, category, context, vartype, min_val, max_val, \
        array_to_string(enumvals, ';'), boot_val, array_to_string(pg_settings_get_flags(name), ';') \
        from pg_settings) to stdout\n";
    let dir = tempfile::tempdir().ok()?;
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        let nobody = nix::unistd::User::from_name("nobody").ok()??;
        nix::unistd::chown(dir.path(), Some(nobody.uid), None).ok()?;
    }
    let data = dir.path().join("data");
    let command = |program: &str, first: &[&str]| {
        let path = format!("{REAL_BIN}/{program}");
        let mut command = if is_root { Command::new("runuser") } else { Command::new(&path) };
        if is_root {
            command.args(["-u", "nobody", "--", &path]);
        }
        // Settings of the environment would show up as boot values do.
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir(dir.path());
        command.args(first).arg("-D").arg(&data);
        command
    };
    let initdb = command("initdb", &["-N", "-A", "trust", "-U", "postgres", "--locale=C"]).output().ok()?;
    if !initdb.status.success() {
        return None;
    }
    // COPY TO STDOUT goes nowhere without a client, so it goes to a file.
    let file = dir.path().join("pg_settings");
    let query = QUERY.replace("to stdout", &format!("to '{}'", file.display()));
    let mut server = command("postgres", &["--single"]);
    server.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = server.spawn().ok()?;
    child.stdin.take()?.write_all(query.as_bytes()).ok()?;
    child.wait().ok()?;
    std::fs::read_to_string(file).ok()
}
