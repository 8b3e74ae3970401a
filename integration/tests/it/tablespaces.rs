//! Tables outside of the data directory: after crashes, replayed by PostgreSQL, in backups.
//!
//! What the statements say is in `sql/tablespaces.sql`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use integration::archive::{self, names_in};
use integration::{
    Cluster, ClusterOptions, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until,
};

use crate::pitr_past::{reopened, restorers, run, wait_until_promoted};
use crate::redo::{compare, copy_of, crash, recover, workload};

const VERSION: &str = "PG_15_202209061";

/// A directory for a tablespace, in the cluster's folder.
fn space(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.path(name);
    cluster.sh(&format!("mkdir -m 700 '{}'", path.display()));
    path
}

fn create(session: &mut Wire, name: &str, location: &Path) {
    run(session, &format!("CREATE TABLESPACE {name} LOCATION '{}'", location.display()));
}

fn oid_of(session: &mut Wire, name: &str) -> String {
    run(session, &format!("SELECT oid FROM pg_tablespace WHERE spcname = '{name}'"))[0].clone()
}

fn count(session: &mut Wire, table: &str) -> String {
    run(session, &format!("SELECT count(*) FROM {table}"))[0].clone()
}

/// Ends everything at once and starts again.
fn crash_and_start(cluster: &Cluster) -> Wire {
    crash(cluster);
    let _ = fs::remove_file(cluster.data_dir().join("postmaster.pid"));
    cluster.start();
    Wire::connect(cluster)
}

#[test]
fn after_a_crash() {
    on_each_server("tablespaces and crashes", |server| {
        let config = ["autovacuum = off".to_owned(), "allow_in_place_tablespaces = on".to_owned()].to_vec();
        let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let (here, gone) = (space(&cluster, "here"), space(&cluster, "gone"));
        create(&mut session, "here", &here);
        let link = cluster.data_dir().join("pg_tblspc").join(oid_of(&mut session, "here"));
        run(&mut session, "CREATE TABLE kept TABLESPACE here AS SELECT generate_series(1, 1000) AS i");
        run(&mut session, "CREATE TABLE dropped TABLESPACE here AS SELECT generate_series(1, 1000) AS i");
        // All of it is in WAL that will be replayed, what is not there any more too.
        create(&mut session, "gone", &gone);
        run(&mut session, "CREATE TABLE lost TABLESPACE gone AS SELECT 1 AS i");
        run(&mut session, "DROP TABLE lost");
        run(&mut session, "DROP TABLESPACE gone");
        run(&mut session, "DROP TABLE dropped");
        let mut session = crash_and_start(&cluster);
        assert_eq!(count(&mut session, "kept"), "1000");
        let database = here.join(VERSION).join("5");
        let tables = |dir: &Path| names_in(dir).iter().filter(|name| !name.contains('_')).count();
        assert_eq!(tables(&database), 1, "{:?}", names_in(&database));
        assert_eq!(names_in(&gone), [""; 0], "its directory is removed");
        assert_eq!(names_in(&cluster.data_dir().join("pg_tblspc")).len(), 1);
        assert_eq!(fs::read_link(&link).expect("a link"), here);
        // What replay finds done already, and what somebody has undone.
        run(&mut session, "CREATE TABLESPACE in_place LOCATION ''");
        run(&mut session, "CREATE TABLE in_place TABLESPACE in_place AS SELECT 1 AS i");
        run(&mut session, "INSERT INTO kept SELECT generate_series(1, 10)");
        run(&mut session, "TRUNCATE in_place");
        let mut session = crash_and_start(&cluster);
        assert_eq!(count(&mut session, "kept"), "1010");
        assert_eq!(count(&mut session, "in_place"), "0");
        run(&mut session, "DROP TABLE kept");
        run(&mut session, "DROP TABLESPACE here");
        run(&mut session, "DROP TABLE in_place");
        run(&mut session, "DROP TABLESPACE in_place");
        assert_eq!(names_in(&here), [""; 0]);
        assert_eq!(names_in(&cluster.data_dir().join("pg_tblspc")), [""; 0]);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// Replay needs the directory of every tablespace that WAL makes.
#[test]
fn a_location_that_is_gone() {
    on_each_server("tablespace without its directory", |server| {
        let cluster = Cluster::with(ClusterOptions { server, ..ClusterOptions::default() });
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let here = space(&cluster, "here");
        create(&mut session, "here", &here);
        crash(&cluster);
        let _ = fs::remove_file(cluster.data_dir().join("postmaster.pid"));
        fs::remove_dir_all(&here).expect("it is ours");
        cluster.mark_log();
        cluster.spawn_postmaster(&[]);
        assert_ne!(cluster.wait_for_end().code(), Some(0));
        let log = cluster.new_log();
        for text in [
            format!("FATAL:  directory \"{}\" does not exist", here.display()),
            "HINT:  Create this directory for the tablespace before restarting the server.".to_owned(),
            "CONTEXT:  WAL redo at ".to_owned(),
        ] {
            assert!(log.contains(&text), "{text} is not in {log}");
        }
        space(&cluster, "here");
        cluster.start();
        run(&mut Wire::connect(&cluster), "CREATE TABLE t TABLESPACE here AS SELECT 1 AS i");
    });
}

/// See `redo`: all tables of its load are in a tablespace, one in place, so that each copy has its own.
#[test]
fn pages_are_those_of_postgresql() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PGANATOMY_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let config = ["autovacuum = off", "allow_in_place_tablespaces = on"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(ClusterOptions { config, ..ClusterOptions::default() });
    cluster.start();
    let mut session = Wire::connect(&cluster);
    run(&mut session, "CREATE TABLESPACE load LOCATION ''");
    cluster.append_config("default_tablespace = 'load'");
    run(&mut session, "SELECT pg_reload_conf()");
    wait_until("tables go to the tablespace", || {
        run(&mut Wire::connect(&cluster), "SHOW default_tablespace")[0] == "load"
    });
    run(&mut Wire::connect(&cluster), "CREATE TABLE shared (id int)");
    let client_config = cluster.client_config();
    thread::scope(|scope| {
        for number in 0..3 {
            let rng = rng.fork();
            let config = &client_config;
            scope.spawn(move || workload(config, number, rng));
        }
        let position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8";
        let mut now = || run(&mut session, position)[0].parse::<u64>().expect("a number");
        let start = now();
        wait_until("enough was written", || now() - start >= 8 << 20);
        // Tablespaces that come and go meanwhile, one with what the crash interrupts.
        run(&mut session, "CREATE TABLESPACE short LOCATION ''");
        run(&mut session, "CREATE TABLE short TABLESPACE short AS SELECT generate_series(1, 500) AS i");
        run(&mut session, "DROP TABLE short");
        run(&mut session, "DROP TABLESPACE short");
        run(&mut session, "CREATE TABLESPACE late LOCATION ''");
        run(&mut session, "CREATE TABLE late TABLESPACE late AS SELECT generate_series(1, 500) AS i");
        crash(&cluster);
    });
    let (ours, real) = (copy_of(&cluster, "ours"), copy_of(&cluster, "real"));
    recover(&cluster, Server::Real, &real);
    recover(&cluster, Server::Ours, &ours);
    assert_eq!(names_in(&ours.join("pg_tblspc")), names_in(&real.join("pg_tblspc")), "seed {seed}");
    assert_eq!(names_in(&ours.join("pg_tblspc")).len(), 2, "seed {seed}");
    let pages = compare(&ours, &real, seed);
    println!("{pages} pages are the same");
    assert!(pages > 0);
}

#[test]
fn in_a_backup() {
    on_each_server("tablespaces in backups", |server| {
        let cluster = archive::archiving(server, &[]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let here = space(&cluster, "here");
        create(&mut session, "here", &here);
        let oid = oid_of(&mut session, "here");
        run(&mut session, "CREATE TABLE t TABLESPACE here AS SELECT generate_series(1, 1000) AS i");
        // The data directory's copy has the link; what it points to is copied beside it, while the backup goes on.
        let copy = cluster.path("here_copy");
        let mut other = Wire::connect(&cluster);
        let base = archive::base_copy(&cluster, &mut session, "base", || {
            run(&mut other, "INSERT INTO t SELECT generate_series(1, 200)");
            cluster.sh(&format!("cp -r '{}' '{}'", here.display(), copy.display()));
            run(&mut other, "INSERT INTO t SELECT generate_series(1, 30)");
        });
        assert_eq!(base.tablespace_map, format!("{oid} {}\n", here.display()));
        run(&mut session, "INSERT INTO t VALUES (1), (2), (3), (4)");
        // One that comes and goes in WAL behind the backup.
        create(&mut session, "gone", &space(&cluster, "gone"));
        run(&mut session, "CREATE TABLE lost TABLESPACE gone AS SELECT 1 AS i");
        run(&mut session, "DROP TABLE lost");
        run(&mut session, "DROP TABLESPACE gone");
        cluster.archive_all(&mut session);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        for restorer in restorers(server) {
            // To another place: the map says where.
            let elsewhere = cluster.path(&format!("elsewhere_{restorer:?}"));
            restore(&cluster, *restorer, &base.dir, &oid, &copy, &elsewhere, server);
            // To the same.
            fs::remove_dir_all(&here).expect("it is ours");
            restore(&cluster, *restorer, &base.dir, &oid, &copy, &here, server);
        }
    });
}

/// Restores the base copy with the tablespace's files at `place`, and looks at the table.
fn restore(
    primary: &Cluster,
    restorer: Server,
    base: &Path,
    oid: &str,
    copy: &Path,
    place: &Path,
    reader: Server,
) {
    primary.sh(&format!("cp -a '{}' '{}'", copy.display(), place.display()));
    let cluster = archive::restored(restorer, base, &primary.archive_dir(), &[]);
    cluster.write_file("tablespace_map", &format!("{oid} {}\n", place.display()));
    cluster.start();
    wait_until_promoted(&cluster);
    let link = cluster.data_dir().join("pg_tblspc").join(oid);
    assert_eq!(fs::read_link(&link).expect("a link"), place);
    assert_eq!(names_in(&cluster.data_dir().join("pg_tblspc")), [oid]);
    assert!(cluster.data_dir().join("tablespace_map.old").exists());
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{}", cluster.log());
    let cluster = reopened(cluster, reader);
    let mut session = Wire::connect(&cluster);
    assert_eq!(count(&mut session, "t"), "1234");
    run(&mut session, "DROP TABLE t");
    run(&mut session, "DROP TABLESPACE here");
    assert_eq!(names_in(place), [""; 0]);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
}
