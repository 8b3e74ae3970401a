//! Roles come, change and go, in memory and as rows.

use super::*;

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
fn create_alter_drop() {
    let mut roles = Roles::initial("postgres", None);
    let alice = roles.create(Role { login: true, ..Role::new("alice") }).unwrap();
    assert_eq!(alice, Oid(16384));
    refused(roles.create(Role::new("alice")), "42710", "role \"alice\" already exists");
    roles.create(Role::new("bob")).unwrap();
    roles.alter("alice", |role| role.name = "al\\ice".into()).unwrap();
    refused(roles.alter("alice", |_| ()), "42704", "role \"alice\" does not exist");
    assert_eq!(roles.get("al\\ice").unwrap().oid, Oid(16384));
    roles.remove("bob").unwrap();
    assert!(roles.find("bob").unwrap().is_none());
}

/// PostgreSQL's epoch is 2000-01-01; infinity is the greatest value.
#[test]
fn rows_hold_what_a_role_is() {
    let mut roles = Roles::initial("postgres", Some("secret".into()));
    let until = |text: &str| Role { valid_until: Some(text.into()), ..Role::new(text) };
    roles.create(until("infinity")).unwrap();
    roles.create(until("2000-01-01 00:00:01+00")).unwrap();
    let (rows, members) = roles.to_rows().unwrap();
    assert_eq!((rows.len(), members.len()), (15, 3));
    assert_eq!(rows[0].rolpassword.as_deref(), Some("secret"));
    assert_eq!(rows[13].rolvaliduntil.map(|time| time.0), Some(i64::MAX));
    assert_eq!(rows[14].rolvaliduntil.map(|time| time.0), Some(1_000_000));
    roles.create(until("soon")).unwrap();
    assert_eq!(roles.to_rows().unwrap_err().sqlstate.as_str(), "22007");
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
