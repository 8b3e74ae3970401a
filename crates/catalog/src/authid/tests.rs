//! Roles come, change and go, in memory and in the file.

use std::path::PathBuf;

use super::*;

/// A directory of this test alone with a `global` in it, removed when dropped.
struct DataDir(PathBuf);

impl DataDir {
    fn new(name: &str) -> DataDir {
        let dir = std::env::temp_dir().join(format!("catalog-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("global")).unwrap();
        DataDir(dir)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, sqlstate: &str, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.sqlstate.as_str(), &*error.message), (sqlstate, message));
}

#[test]
fn initial_roles() {
    let roles = Roles::initial("po \"st\"\n", Some("secret".into()));
    let superuser = roles.get("po \"st\"\n").unwrap();
    assert!(superuser.superuser && superuser.login && superuser.bypassrls);
    assert_eq!((superuser.oid, superuser.password.as_deref()), (Oid(10), Some("secret")));
    let all = roles.all().unwrap();
    assert_eq!(all.len(), 13);
    for role in all {
        assert_eq!(roles.find(&role.name).unwrap().as_ref(), Some(&role));
        assert_eq!(roles.find_oid(role.oid).unwrap().as_ref(), Some(&role));
    }
    assert_eq!(roles.memberships().unwrap().len(), 3);
    assert!(roles.is_member_of(predefined::PG_MONITOR, predefined::PG_READ_ALL_STATS).unwrap());
    assert!(!roles.is_member_of(predefined::PG_READ_ALL_STATS, predefined::PG_MONITOR).unwrap());
}

#[test]
fn a_name_is_found_whole() {
    let mut roles = Roles::initial("postgres", None);
    roles.create(Role::new("postgres2")).unwrap();
    assert_eq!(roles.find("postgres2").unwrap().unwrap().name, "postgres2");
    for absent in ["postgre", "ostgres", "", "Postgres", "postgres\" 10", "member"] {
        assert_eq!(roles.find(absent).unwrap(), None, "{absent}");
    }
}

#[test]
fn create_alter_drop_on_disk() {
    let dir = DataDir::new("roles");
    refused(load(&dir.0), "58P01", "could not open file \"global/pg_auth\": No such file or directory");
    Roles::initial("postgres", None).save(&dir.0).unwrap();
    let alice = update(&dir.0, |roles| roles.create(Role { login: true, ..Role::new("alice") })).unwrap();
    assert_eq!(alice, Oid(16384));
    refused(
        update(&dir.0, |roles| roles.create(Role::new("alice"))),
        "42710",
        "role \"alice\" already exists",
    );
    update(&dir.0, |roles| {
        roles.create(Role::new("bob"))?;
        roles.alter("alice", |role| {
            role.name = "al\\ice".into();
            role.valid_until = Some("infinity".into());
        })
    })
    .unwrap();
    refused(
        update(&dir.0, |roles| {
            roles.remove("bob")?;
            roles.alter("alice", |_| ())
        }),
        "42704",
        "role \"alice\" does not exist",
    );
    let roles = load(&dir.0).unwrap();
    assert!(roles.find("bob").unwrap().is_some(), "a failed change leaves nothing behind");
    let alice = roles.get("al\\ice").unwrap();
    assert_eq!((alice.oid, alice.valid_until.as_deref()), (Oid(16384), Some("infinity")));
    assert_eq!(roles.get("bob").unwrap().oid, Oid(16385));
}

#[test]
fn reserved_and_required_roles_stay() {
    let mut roles = Roles::initial("postgres", None);
    refused(roles.create(Role::new("pg_x")), "42939", "role name \"pg_x\" is reserved");
    refused(roles.alter("pg_monitor", |_| ()), "42939", "role name \"pg_monitor\" is reserved");
    let text = "cannot drop role postgres because it is required by the database system";
    refused(roles.remove("postgres"), "2BP01", text);
    roles.create(Role::new("a")).unwrap();
    refused(
        roles.alter("a", |role| role.name = "postgres".into()),
        "42710",
        "role \"postgres\" already exists",
    );
    roles.alter("a", |role| role.oid = Oid(10)).unwrap();
    assert_eq!(roles.get("a").unwrap().oid, Oid(16384), "an oid never changes");
}

#[test]
fn memberships_follow_inheritance_and_go_with_the_role() {
    let mut roles = Roles::initial("postgres", None);
    let group = roles.create(Role::new("team")).unwrap();
    let member = roles.create(Role { inherit: false, ..Role::new("ann") }).unwrap();
    let grant = |role, member| Membership { role, member, grantor: Oid(10), admin: false };
    assert!(roles.grant(grant(predefined::PG_MONITOR, group)).unwrap());
    assert!(roles.grant(grant(group, member)).unwrap());
    assert!(!roles.grant(grant(group, member)).unwrap());
    assert!(roles.grant(Membership { admin: true, ..grant(group, member) }).unwrap());
    refused(roles.grant(grant(member, group)), "0LP01", "role \"ann\" is a member of role \"team\"");

    let settings = predefined::PG_READ_ALL_SETTINGS;
    assert!(roles.is_member_of(member, settings).unwrap());
    assert!(roles.has_privileges_of(group, settings).unwrap());
    assert!(!roles.has_privileges_of(member, settings).unwrap());
    assert!(roles.has_privileges_of(Oid(10), settings).unwrap(), "a superuser has all");
    assert!(!roles.is_member_of(Oid(10), settings).unwrap(), "but is in no group for that");

    roles.remove("team").unwrap();
    assert_eq!(roles.memberships().unwrap().len(), 3);
    assert!(!roles.revoke(group, member));
}

#[test]
fn a_damaged_line_is_an_error_for_its_role_only() {
    let dir = DataDir::new("damage");
    Roles::initial("postgres", None).save(&dir.0).unwrap();
    let path = dir.0.join(AUTH_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"pg_monitor\" 3373 inherit", "\"pg_monitor\" 3373 inherits"))
        .unwrap();
    let roles = load(&dir.0).unwrap();
    assert!(roles.find("postgres").unwrap().is_some());
    refused(roles.find("pg_monitor"), "XX001", "file \"global/pg_auth\" contains an invalid line");
    for garbage in [&b"\xff\xfe"[..], b"\"", b"\"a", b"\"a\" x\n\"b\"", b"\n\n\n"] {
        std::fs::write(&path, garbage).unwrap();
        let Ok(roles) = load(&dir.0) else { continue };
        let _ = (roles.all(), roles.find_oid(Oid(10)), roles.find("a"), roles.memberships());
    }
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let dir = DataDir::new("writers");
    Roles::initial("postgres", None).save(&dir.0).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = &dir.0;
            scope.spawn(move || {
                for i in 0..10 {
                    update(dir, |roles| roles.create(Role::new(format!("r{writer}_{i}")))).unwrap();
                }
            });
        }
    });
    let all = load(&dir.0).unwrap().all().unwrap();
    assert_eq!(all.len(), 13 + 40);
    let oids: HashSet<Oid> = all.iter().map(|role| role.oid).collect();
    assert_eq!(oids.len(), all.len(), "each has an oid of its own");
}
