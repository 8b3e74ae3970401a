//! pgBackRest as people use it: stanza, full and incremental backups, the archive through it, and restores to every kind of
//! target. It is Debian's package, unmodified, and takes this server for PostgreSQL.
//!
//! ```text
//!   rows  1      full  2      incr  3 (lsn)  4 (time)  5 (xid)  6 (name)  7      timeline 1
//!                                                                  `---- 60     timeline 2
//! ```

use std::path::Path;
use std::process::Command;

use integration::{Cluster, ClusterOptions, Server, Stop, Wire, on_each_server, process, skip, wait_until};

const PROGRAM: &str = "/usr/bin/pgbackrest";

/// Its folders and its configuration, in the folder of the first cluster; it makes most of them itself.
struct Repository<'a> {
    owner: &'a Cluster,
}

impl Repository<'_> {
    fn of(owner: &Cluster) -> Repository<'_> {
        let folder = |name: &str| owner.path(name).display().to_string();
        let settings = [
            format!("repo1-path={}", folder("repo")),
            format!("log-path={}", folder("pgbackrest-log")),
            format!("lock-path={}", folder("lock")),
            format!("spool-path={}", folder("spool")),
            "log-level-console=info".to_owned(),
            "log-level-file=off".to_owned(),
            "repo1-retention-full=9".to_owned(),
            "compress-level=1".to_owned(),
            "start-fast=y".to_owned(),
        ];
        let text = format!(
            "[global]\n{}\n\n[main]\npg1-path={}\npg1-port={}\npg1-socket-path={}\npg1-user=postgres\n",
            settings.join("\n"),
            owner.data_dir().display(),
            owner.port(),
            owner.socket_dir().display()
        );
        std::fs::write(owner.path("pgbackrest.conf"), text).expect("the cluster's folder");
        let repository = Repository { owner };
        owner.append_config(&repository.archive_command(owner));
        repository
    }

    /// What it needs to know to find a cluster's files.
    fn words(&self, cluster: &Cluster) -> Vec<String> {
        let mut words = vec![
            format!("--config={}", self.owner.path("pgbackrest.conf").display()),
            "--stanza=main".to_owned(),
        ];
        if cluster.port() != self.owner.port() {
            words.push(format!("--pg1-path={}", cluster.data_dir().display()));
        }
        words
    }

    fn archive_command(&self, cluster: &Cluster) -> String {
        format!("archive_command = '{PROGRAM} {} archive-push \"%p\"'", self.words(cluster).join(" "))
    }

    /// Runs a command about a cluster, which must succeed without a warning; returns what it says.
    #[track_caller]
    fn run(&self, cluster: &Cluster, args: &[&str]) -> String {
        let mut command = cluster.environment(Command::new(PROGRAM));
        command.args(self.words(cluster)).args(args);
        if cluster.port() != self.owner.port() && args[0] != "restore" {
            // Who connects must know where to.
            command.arg(format!("--pg1-port={}", cluster.port()));
            command.arg(format!("--pg1-socket-path={}", cluster.socket_dir().display()));
        }
        let output = process::run(&mut command);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let is_fine = output.status.success() && !said.contains("WARN:") && !said.contains("ERROR:");
        assert!(is_fine, "pgbackrest {args:?}: {:?}\n{said}\n{}", output.status, cluster.log());
        said
    }

    /// A cluster of its own restored to a target, and what it then has.
    #[track_caller]
    fn restore(&self, target: &[&str]) -> Cluster {
        let cluster = Cluster::without_data(self.owner.server(), Path::new("/tmp"));
        self.run(&cluster, &[&["restore"], target].concat());
        cluster.append_own_config();
        cluster
    }
}

fn insert(session: &mut Wire, n: i32) {
    let done = session.query(&format!("INSERT INTO marks VALUES ({n})"));
    assert_eq!(done, ["INSERT 0 1"]);
}

fn value(session: &mut Wire, sql: &str) -> String {
    let answer = session.query(sql);
    assert_eq!(answer.len(), 2, "{answer:?}");
    answer[0].clone()
}

/// The marks, and the timeline that is written to, once recovery is over.
#[track_caller]
fn state(cluster: &Cluster) -> (String, String) {
    let mut session = Wire::connect(cluster);
    // Readers are let in before recovery is over.
    wait_until("recovery is over", || value(&mut session, "SELECT pg_is_in_recovery()") == "f");
    let marks = value(&mut session, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM marks");
    let file = value(&mut session, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
    session.quit();
    (marks, file[..8].to_owned())
}

fn primary(server: Server) -> Cluster {
    // With checksums pgBackRest looks at every page that it copies.
    let initdb = ["--wal-segsize=1", "-k"].map(str::to_owned).to_vec();
    let config =
        ["archive_mode = on", "timezone = 'UTC'", "log_timezone = 'UTC'"].map(str::to_owned).to_vec();
    Cluster::with(ClusterOptions { server, initdb, config })
}

#[test]
fn pgbackrest_takes_it_for_postgresql() {
    if !Path::new(PROGRAM).exists() {
        skip!("pgbackrest is not installed");
    }
    on_each_server("pgBackRest", |server| {
        let cluster = primary(server);
        let repository = Repository::of(&cluster);
        cluster.start();
        let full = back_up(&repository);
        let targets = write_on(&repository);
        restore_each(&repository, &full, &targets);
        fork_and_return(&repository);
    });
}

/// The stanza, a full and an incremental backup; returns the label of the full one.
fn back_up(repository: &Repository<'_>) -> String {
    let cluster = repository.owner;
    let created = repository.run(cluster, &["stanza-create"]);
    assert!(created.contains("stanza-create command end: completed successfully"), "{created}");
    let checked = repository.run(cluster, &["check"]);
    assert!(checked.contains("successfully archived to"), "{checked}");

    let mut session = Wire::connect(cluster);
    session.query("CREATE TABLE marks (n int)");
    insert(&mut session, 1);
    let full = repository.run(cluster, &["backup", "--type=full"]);
    let label = full.lines().find_map(|line| line.split_once("new backup label = ")).expect("a label").1;
    assert!(label.ends_with('F'), "{full}");
    insert(&mut session, 2);
    let incr = repository.run(cluster, &["backup", "--type=incr"]);
    assert!(incr.contains(&format!("last backup label = {label}")), "{incr}");
    assert!(incr.contains(&format!("new backup label = {label}_")), "{incr}");
    let info = repository.run(cluster, &["info"]);
    assert!(info.contains("status: ok") && info.contains("incr backup"), "{info}");
    session.quit();
    label.to_owned()
}

/// What to restore to.
struct Targets {
    lsn: String,
    time: String,
    xid: String,
}

fn write_on(repository: &Repository<'_>) -> Targets {
    let mut session = Wire::connect(repository.owner);
    insert(&mut session, 3);
    let lsn = value(&mut session, "SELECT pg_current_wal_insert_lsn()");
    insert(&mut session, 4);
    let time = value(&mut session, "SELECT clock_timestamp()");
    session.query("BEGIN");
    insert(&mut session, 5);
    let xid = value(&mut session, "SELECT txid_current()");
    session.query("COMMIT");
    insert(&mut session, 6);
    session.query("SELECT pg_create_restore_point('here')");
    insert(&mut session, 7);
    session.quit();
    // Ends the segment, and waits until it is in the archive.
    repository.run(repository.owner, &["check"]);
    Targets { lsn, time, xid }
}

fn restore_each(repository: &Repository<'_>, full: &str, targets: &Targets) {
    let set = format!("--set={full}");
    let target = |name: &str| format!("--target={name}");
    let (lsn, time, xid) = (target(&targets.lsn), target(&targets.time), target(&targets.xid));
    let cases: [(&[&str], &str); 8] = [
        (&[&set, "--type=immediate"], "1"),
        (&["--type=immediate"], "1 2"),
        (&["--type=lsn", &lsn], "1 2 3"),
        (&["--type=time", &time], "1 2 3 4"),
        (&["--type=xid", "--target-exclusive", &xid], "1 2 3 4"),
        (&["--type=xid", &xid], "1 2 3 4 5"),
        (&["--type=name", "--target=here"], "1 2 3 4 5 6"),
        (&["--type=default"], "1 2 3 4 5 6 7"),
    ];
    for (target, expected) in cases {
        let promote: &[&str] =
            if target.contains(&"--type=default") { &[] } else { &["--target-action=promote"] };
        let restored = repository.restore(&[target, promote, &["--archive-mode=off"]].concat());
        restored.start();
        let got = state(&restored);
        assert_eq!(got, (expected.to_owned(), "00000002".to_owned()), "{target:?}\n{}", restored.log());
        assert_eq!(restored.stop(Stop::Fast).code(), Some(0), "{}", restored.log());
    }
}

/// One more restored cluster goes on and archives; then the first one is restored in place, and follows it.
fn fork_and_return(repository: &Repository<'_>) {
    let fork = repository.restore(&["--type=name", "--target=here", "--target-action=promote"]);
    fork.append_config(&repository.archive_command(&fork));
    fork.start();
    assert_eq!(state(&fork), ("1 2 3 4 5 6".to_owned(), "00000002".to_owned()), "{}", fork.log());
    let mut session = Wire::connect(&fork);
    insert(&mut session, 60);
    session.quit();
    repository.run(&fork, &["check"]);
    assert_eq!(fork.stop(Stop::Fast).code(), Some(0), "{}", fork.log());

    let primary = repository.owner;
    assert_eq!(state(primary), ("1 2 3 4 5 6 7".to_owned(), "00000001".to_owned()));
    assert_eq!(primary.stop(Stop::Fast).code(), Some(0), "{}", primary.log());
    repository.run(primary, &["restore", "--delta"]);
    primary.start();
    assert_eq!(state(primary), ("1 2 3 4 5 6 60".to_owned(), "00000003".to_owned()), "{}", primary.log());
    repository.run(primary, &["check"]);
    let backup = repository.run(primary, &["backup", "--type=full"]);
    assert!(backup.contains("backup command end: completed successfully"), "{backup}");
    assert_eq!(primary.stop(Stop::Fast).code(), Some(0), "{}", primary.log());
}
