//! `pg_basebackup` of PostgreSQL 15, unmodified: each copy is verified by `pg_verifybackup`, and a server starts on it.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::archive::{names_in, on_copy};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};

use crate::replication_support::{
    Program, ask, client, ended, folder, must, primary_with, rows, started_primary, wait_for_answer,
    wait_for_no_walsender, wait_for_state, write_wal,
};

/// A primary with a table of a thousand rows and one in a tablespace.
struct Source {
    cluster: Cluster,
    space: PathBuf,
}

impl Source {
    #[track_caller]
    fn new(server: Server) -> Source {
        Source::with(server, &[], &[])
    }

    #[track_caller]
    fn with(server: Server, initdb: &[&str], config: &[&str]) -> Source {
        let cluster = primary_with(server, initdb, config);
        cluster.start();
        let space = folder(&cluster, "space");
        let mut session = Wire::connect(&cluster);
        for sql in [
            "CREATE TABLE t AS SELECT g AS id, 'row ' || g AS value FROM generate_series(1, 1000) g",
            &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()),
            "CREATE TABLE far TABLESPACE elsewhere AS SELECT g AS id FROM generate_series(1, 500) g",
        ] {
            rows(&mut session, sql);
        }
        session.quit();
        Source { cluster, space }
    }

    /// `pg_basebackup` into a folder of this name, quickly; in the plain format the tablespace goes beside it.
    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = client(&self.cluster, "pg_basebackup", &["-c", "fast", "--no-sync", "-D"]);
        command.arg(self.cluster.path(name)).args(args);
        let mapped = ["-Ft", "--format=tar", "-t", "--target"];
        if !args.iter().any(|arg| mapped.iter().any(|word| arg.starts_with(word))) {
            let to = self.space_of(name);
            command.arg("-T").arg(format!("{}={}", self.space.display(), to.display()));
        }
        command
    }

    /// Where the tablespace of a copy is.
    fn space_of(&self, name: &str) -> PathBuf {
        self.cluster.path(&format!("{name}-space"))
    }

    /// Makes a copy that must succeed.
    #[track_caller]
    fn copy(&self, name: &str, args: &[&str]) -> PathBuf {
        let said = must(&mut self.command(name, args));
        assert!(!said.contains("WARNING"), "{said}");
        self.cluster.path(name)
    }

    /// `pg_verifybackup` finds nothing.
    #[track_caller]
    fn verify(&self, dir: &Path, args: &[&str]) {
        let said = must(client(&self.cluster, "pg_verifybackup", args).arg(dir));
        assert_eq!(said, "backup successfully verified\n");
    }

    /// A server starts on a copy and has all rows. The copy is copied before: a start would change it.
    #[track_caller]
    fn starts(&self, dir: &Path) -> Cluster {
        let copy = on_copy(self.cluster.server(), dir, &["hot_standby = on"]);
        copy.start();
        wait_for_answer(&copy, "SELECT count(*), min(value) FROM t", "1000|row 1");
        assert_eq!(ask(&copy, "SELECT count(*), max(id) FROM far"), "500|500");
        let log = copy.log();
        assert!(log.contains("LOG:  consistent recovery state reached at 0/"), "{log}");
        copy
    }

    /// The server is as it was: no walsender, no backup, and it can be copied again.
    #[track_caller]
    fn is_clean(&self) {
        wait_for_no_walsender(&self.cluster);
        assert_eq!(ask(&self.cluster, "SELECT count(*) FROM pg_stat_progress_basebackup"), "0");
        assert_eq!(ask(&self.cluster, "SELECT count(*) FROM pg_replication_slots WHERE temporary"), "0");
        for file in ["backup_label", "tablespace_map", "backup_manifest"] {
            assert!(!self.cluster.data_dir().join(file).exists(), "{file}");
        }
    }
}

/// Unpacks the archives of a copy as a user would, tablespaces beside it.
#[track_caller]
fn unpack(source: &Source, name: &str, decompress: &str) -> PathBuf {
    let (from, to) = (source.cluster.path(name), source.cluster.path(&format!("{name}-unpacked")));
    let space = source.space_of(name);
    source.cluster.sh(&format!(
        "set -e; mkdir -m 700 '{to}' '{space}'; cd '{from}'; for f in *.tar*; do \
         case $f in base.tar*) d='{to}';; pg_wal.tar*) d='{to}/pg_wal';; *) d='{space}';; esac; \
         case $f in *.gz|*.lz4|*.zst) {decompress} < $f | tar -x -C \"$d\";; *) tar -x -C \"$d\" -f $f;; esac; done; \
         test ! -e backup_manifest || cp backup_manifest '{to}/'",
        to = to.display(),
        space = space.display(),
        from = from.display(),
    ));
    // The map says where the tablespace was; it is elsewhere now.
    let map = fs::read_to_string(to.join("tablespace_map")).expect("a map of tablespaces");
    let oid = map.split(' ').next().expect("an oid").to_owned();
    assert_eq!(map, format!("{oid} {}\n", source.space.display()));
    source.cluster.sh(&format!(
        "sed -i 's|{}|{}|' '{to}/tablespace_map'",
        source.space.display(),
        space.display(),
        to = to.display(),
    ));
    to
}

#[test]
fn plain_with_each_kind_of_wal() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup plain", |server| {
        let source = Source::with(server, &[], &["wal_keep_size = '64MB'"]);
        for (name, args) in [
            ("stream", &["-X", "stream"][..]),
            ("fetch", &["-X", "fetch", "-l", "a 'label'"]),
            ("streamed-without-slot", &["-X", "stream", "--no-slot", "-P", "-v"]),
        ] {
            let dir = source.copy(name, args);
            source.verify(&dir, &[]);
            let label = fs::read_to_string(dir.join("backup_label")).expect("a label");
            let expected =
                if name == "fetch" { "LABEL: a 'label'\n" } else { "LABEL: pg_basebackup base backup\n" };
            assert!(label.contains(expected) && label.contains("BACKUP METHOD: streamed\n"), "{label}");
            assert!(!dir.join("tablespace_map").exists(), "the client has used it");
            assert!(names_in(&dir.join("pg_wal")).iter().any(|name| name.len() == 24), "WAL is included");
            assert_eq!(names_in(&source.space_of(name)).len(), 1);
            left_out(&dir);
            let copy = source.starts(&dir);
            assert_eq!(copy.stop(Stop::Fast).code(), Some(0));
        }
        // Without WAL it is for those who have an archive.
        let dir = source.copy("none", &["-X", "none"]);
        source.verify(&dir, &["-n"]);
        assert_eq!(names_in(&dir.join("pg_wal")), ["archive_status"]);
        let wal = source.cluster.data_dir().join("pg_wal");
        source.cluster.sh(&format!("cp '{}'/0000* '{}/pg_wal/'", wal.display(), dir.display()));
        source.starts(&dir);
        source.is_clean();
    });
}

/// What no copy has.
#[track_caller]
fn left_out(dir: &Path) {
    for file in [
        "postmaster.pid",
        "postmaster.opts",
        "backup_label.old",
        "pg_internal.init",
        "global/pg_internal.init",
    ] {
        assert!(!dir.join(file).exists(), "{file}");
    }
    for empty in
        ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"]
    {
        assert_eq!(names_in(&dir.join(empty)), [""; 0], "{empty}");
    }
}

#[test]
fn tar_and_compression() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup -F tar", |server| {
        let source = Source::new(server);
        for (name, args, suffix, decompress) in [
            ("tar", &["-Ft"][..], "", "cat"),
            ("tar-fetch", &["-Ft", "-X", "fetch"], "", "cat"),
            ("gzip-here", &["-Ft", "-z"], ".gz", "gzip -dc"),
            ("gzip", &["-Ft", "-Z", "server-gzip:3"], ".gz", "gzip -dc"),
            ("lz4", &["-Ft", "-Z", "server-lz4"], ".lz4", "lz4 -dc"),
            ("zstd", &["-Ft", "-Z", "server-zstd:level=3"], ".zst", "zstd -dc"),
            ("zstd-fetch", &["-Ft", "-Z", "server-zstd", "-X", "fetch"], ".zst", "zstd -dc"),
        ] {
            let dir = source.copy(name, args);
            let names = names_in(&dir);
            assert!(names.contains(&format!("base.tar{suffix}")), "{names:?}");
            assert!(names.contains(&"backup_manifest".to_owned()), "{names:?}");
            let fetched = args.contains(&"fetch");
            assert_eq!(names.iter().any(|name| name.starts_with("pg_wal.tar")), !fetched, "{names:?}");
            assert_eq!(names.len(), if fetched { 3 } else { 4 }, "one archive for the tablespace: {names:?}");
            let unpacked = unpack(&source, name, decompress);
            // The tablespace is where the map says, once a server has started on it.
            source.verify(&unpacked, &["-i", "pg_tblspc", "-i", "tablespace_map"]);
            source.starts(&unpacked);
        }
        // Compressed on the way alone.
        for method in ["gzip", "lz4", "zstd"] {
            let dir = source.copy(&format!("plain-{method}"), &["-Z", &format!("server-{method}")]);
            source.verify(&dir, &[]);
        }
        let refused = |args: &[&str]| {
            let (code, said) = ended(&mut source.command("refused", args));
            assert_eq!(code, Some(1), "{said}");
            said
        };
        for (method, complaint) in [
            ("server-gzip:10", "expects a compression level between 1 and 9"),
            ("server-lz4:13", "expects a compression level between 1 and 12"),
            ("server-zstd:level=x", "invalid compression specification"),
            ("server-nothing", "unrecognized compression algorithm"),
        ] {
            let said = refused(&["-Ft", "-Z", method]);
            assert!(said.contains(complaint), "{method}: {said}");
        }
        source.is_clean();
    });
}

#[test]
fn manifests() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("backup manifests", |server| {
        let source = Source::new(server);
        for algorithm in ["NONE", "CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"] {
            let dir = source.copy(algorithm, &["--manifest-checksums", algorithm]);
            let manifest = fs::read_to_string(dir.join("backup_manifest")).expect("a manifest");
            let line = format!("\"Checksum-Algorithm\": \"{algorithm}\"");
            assert_eq!(manifest.contains(&line), algorithm != "NONE", "{manifest}");
            assert!(manifest.starts_with("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n"));
            source.verify(&dir, &[]);
            if algorithm == "NONE" {
                continue;
            }
            // It is not that everything would be verified.
            let file = dir.join("PG_VERSION");
            fs::write(&file, "16\n").expect("own file");
            let (code, said) = ended(client(&source.cluster, "pg_verifybackup", &[]).arg(&dir));
            assert!(code == Some(1) && said.contains("checksum mismatch for file \"PG_VERSION\""), "{said}");
        }
        let dir = source.copy("encoded", &["--manifest-force-encode"]);
        let manifest = fs::read_to_string(dir.join("backup_manifest")).expect("a manifest");
        assert!(manifest.contains("\"Encoded-Path\": \"50475f56455253494f4e\""), "{manifest}");
        source.verify(&dir, &[]);
        let dir = source.copy("without", &["--no-manifest"]);
        assert!(!dir.join("backup_manifest").exists());
        source.starts(&dir);
        let (code, said) =
            ended(&mut source.command("refused", &["--no-manifest", "--manifest-checksums", "SHA256"]));
        assert_eq!(code, Some(1), "{said}");
    });
}

/// A copy made to be a standby: what `-R` writes, with a slot.
#[test]
fn made_to_follow() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup -R", |server| {
        let source = Source::new(server);
        let dir = source.copy("follower", &["-R", "--create-slot", "--slot", "follower"]);
        source.verify(&dir, &["-i", "postgresql.auto.conf", "-i", "standby.signal"]);
        assert_eq!(fs::read_to_string(dir.join("standby.signal")).expect("a signal file"), "");
        let settings = fs::read_to_string(dir.join("postgresql.auto.conf")).expect("settings");
        let port = format!("port={} ", source.cluster.port());
        assert!(
            settings.contains("primary_conninfo = 'user=postgres ") && settings.contains(&port),
            "{settings}"
        );
        assert!(settings.contains("primary_slot_name = 'follower'"), "{settings}");
        // The slot is there, and holds what the copy needs.
        let slots = "SELECT slot_name, temporary, active, restart_lsn IS NOT NULL FROM pg_replication_slots";
        assert_eq!(ask(&source.cluster, slots), "follower|f|f|t");
        let (code, said) = ended(&mut source.command("again", &["--create-slot", "--slot", "follower"]));
        assert!(code == Some(1) && said.contains("replication slot \"follower\" already exists"), "{said}");
        let dir = source.copy("used", &["--slot", "follower"]);
        source.verify(&dir, &[]);
        let (code, said) = ended(&mut source.command("none", &["--slot", "none"]));
        assert!(code == Some(1) && said.contains("replication slot \"none\" does not exist"), "{said}");
        ask(&source.cluster, "SELECT pg_drop_replication_slot('follower')");
        source.is_clean();
    });
}

/// As fast as it is allowed to be, and the limits of that.
#[test]
fn rate_and_checkpoints() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup --max-rate", |server| {
        let source = Source::new(server);
        let dir = source.copy("limited", &["--max-rate", "100M"]);
        source.verify(&dir, &[]);
        for rate in ["31k", "2000M", "x", "0"] {
            let (code, said) = ended(&mut source.command("refused", &["--max-rate", rate]));
            assert_eq!(code, Some(1), "{said}");
        }
        let mut session = crate::replication_support::replication_session(&source.cluster, "true");
        for (option, answer) in [
            (
                "MAX_RATE 31",
                "ERROR:  22023: 31 is outside the valid range for parameter \"MAX_RATE\" (32 .. 1048576)",
            ),
            (
                "MAX_RATE 1048577",
                "ERROR:  22023: 1048577 is outside the valid range for parameter \"MAX_RATE\" (32 .. 1048576)",
            ),
            ("CHECKPOINT 'slowly'", "ERROR:  42601: unrecognized checkpoint type: \"slowly\""),
            ("NOTHING", "ERROR:  42601: unrecognized base backup option: \"nothing\""),
            ("WAL, WAL", "ERROR:  42601: duplicate option \"wal\""),
            ("MANIFEST 'maybe'", "ERROR:  42601: unrecognized manifest option: \"maybe\""),
            ("MANIFEST_CHECKSUMS 'CRC32C'", "ERROR:  42601: manifest checksums require a backup manifest"),
            (
                "MANIFEST 'yes', MANIFEST_CHECKSUMS 'MD5'",
                "ERROR:  42601: unrecognized checksum algorithm: \"MD5\"",
            ),
            ("TARGET 'nowhere'", "ERROR:  42601: unrecognized target: \"nowhere\""),
            ("TARGET_DETAIL 'x'", "ERROR:  42601: target detail cannot be used without target"),
            (
                "TARGET 'blackhole', TARGET_DETAIL 'x'",
                "ERROR:  42601: target \"blackhole\" does not accept a target detail",
            ),
            ("COMPRESSION 'nothing'", "ERROR:  42601: unrecognized compression algorithm: \"nothing\""),
            (
                "COMPRESSION_DETAIL '1'",
                "ERROR:  42601: compression detail cannot be specified unless compression is enabled",
            ),
        ] {
            let said = session.query(&format!("BASE_BACKUP ({option})"));
            let message = |line: &str| line.splitn(3, ": ").nth(2).unwrap_or_default().to_owned();
            assert_eq!(said.first().map(|line| message(line)), Some(message(answer)), "{option}: {said:?}");
        }
        session.quit();
        // The checkpoint may take its time: it is not asked to hurry.
        source.cluster.append_config("log_checkpoints = on");
        source.cluster.signal_postmaster(nix::sys::signal::Signal::SIGHUP);
        wait_for_answer(&source.cluster, "SHOW log_checkpoints", "on");
        let mut spread =
            client(&source.cluster, "pg_basebackup", &["--checkpoint=spread", "--no-sync", "-Ft", "-D"]);
        let spread = Program::spawn(&source.cluster, "spread", spread.arg(source.cluster.path("spread")));
        source.cluster.wait_for_log("LOG:  checkpoint starting: force wait");
        // Somebody else is in a hurry.
        ask(&source.cluster, "CHECKPOINT");
        spread.succeeds();
        source.is_clean();
    });
}

/// Copies that the server writes itself, or throws away.
#[test]
fn other_targets() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup --target", |server| {
        let source = Source::new(server);
        let to = source.cluster.path("written");
        let run = |args: &[&str]| {
            let mut command = client(&source.cluster, "pg_basebackup", &["-c", "fast", "--no-sync"]);
            ended(command.args(args))
        };
        let target = format!("server:{}", to.display());
        assert_eq!(run(&["-X", "fetch", "--target", &target]), (Some(0), String::new()));
        let names = names_in(&to);
        assert!(
            names.contains(&"base.tar".to_owned()) && names.contains(&"backup_manifest".to_owned()),
            "{names:?}"
        );
        let unpacked = unpack(&source, "written", "cat");
        source.verify(&unpacked, &["-i", "pg_tblspc", "-i", "tablespace_map"]);
        source.starts(&unpacked);
        // Once more is once too often.
        let (code, said) = run(&["-X", "fetch", "--target", &target]);
        assert!(code == Some(1) && said.contains("exists but is not empty"), "{said}");
        let (code, said) = run(&["-X", "none", "--target", "server:relative"]);
        assert!(
            code == Some(1) && said.contains("relative path not allowed for backup stored on server"),
            "{said}"
        );
        let to = source.cluster.path("compressed");
        let target = format!("server:{}", to.display());
        assert_eq!(run(&["-X", "none", "-Z", "gzip", "--target", &target]).0, Some(0));
        assert!(names_in(&to).contains(&"base.tar.gz".to_owned()), "{:?}", names_in(&to));

        assert_eq!(run(&["-X", "none", "--target", "blackhole"]).0, Some(0));
        let (code, said) = run(&["-X", "none", "--target", "blackhole:x"]);
        assert!(
            code == Some(1) && said.contains("target \"blackhole\" does not accept a target detail"),
            "{said}"
        );
        // Writing files on the server is not for everybody.
        ask(&source.cluster, "CREATE ROLE copier LOGIN REPLICATION");
        let (code, said) = run(&["-U", "copier", "-X", "none", "--target", &target]);
        assert!(code == Some(1), "{said}");
        assert!(
            said.contains("must be superuser or a role with privileges of the pg_write_server_files role"),
            "{said}"
        );
        assert_eq!(run(&["-U", "copier", "-X", "none", "--target", "blackhole"]).0, Some(0));
        source.is_clean();
    });
}

/// While sessions write: what was acknowledged before the copy was complete is in it.
#[test]
fn under_load() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup under load", |server| {
        let source = Source::with(server, &[], &["wal_keep_size = '64MB'"]);
        let cluster = &source.cluster;
        ask(cluster, "CREATE TABLE w (id int, value text)");
        let script = "INSERT INTO w SELECT g, repeat('w', 100) FROM generate_series(1, 40) g;";
        cluster.sh(&format!("echo \"{script}\" > load.sql"));
        let load = ["-n", "-f", "load.sql", "-c", "3", "-T", "600", "-R", "300"];
        let load = Program::spawn(cluster, "load", &mut client(cluster, "pgbench", &load));
        wait_until("the load has begun", || ask(cluster, "SELECT count(*) > 0 FROM w") == "t");
        for (name, args) in [("stream", &["-X", "stream"][..]), ("fetch", &["-X", "fetch"])] {
            let before: u64 = ask(cluster, "SELECT count(*) FROM w").parse().expect("a number");
            let dir = source.copy(name, args);
            source.verify(&dir, &[]);
            let copy = source.starts(&dir);
            let after: u64 = ask(&copy, "SELECT count(*) FROM w").parse().expect("a number");
            assert!(after >= before, "{after} of {before} rows");
            assert_eq!(after % 40, 0, "transactions are whole");
            assert_eq!(copy.stop(Stop::Fast).code(), Some(0));
        }
        drop(load);
        wait_for_answer(
            cluster,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'",
            "0",
        );
        source.is_clean();
    });
}

/// A page that is not what its checksum says.
#[test]
fn a_corrupted_page() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup and checksums", |server| {
        let source = Source::with(server, &["--data-checksums"], &[]);
        let cluster = &source.cluster;
        ask(cluster, "CHECKPOINT");
        let file = ask(cluster, "SELECT pg_relation_filepath('t')");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        flip_a_byte(&cluster.data_dir().join(&file), 8192 + 4000);
        cluster.start();
        let (code, said) = ended(&mut source.command("corrupted", &["--no-slot"]));
        assert_eq!(code, Some(1), "{said}");
        let failed =
            format!("WARNING:  checksum verification failed in file \"./{file}\", block 1: calculated ");
        assert!(said.contains(&failed), "{said}");
        assert!(said.contains("pg_basebackup: error: checksum error occurred"), "{said}");
        assert_eq!(
            ask(cluster, "SELECT checksum_failures FROM pg_stat_database WHERE datname = 'postgres'"),
            "1"
        );
        // It is there all the same, if one does not look.
        let dir = source.copy("unlooked", &["--no-verify-checksums"]);
        source.verify(&dir, &[]);
        assert_eq!(
            fs::read(dir.join(&file)).expect("a copy"),
            fs::read(cluster.data_dir().join(&file)).expect("it")
        );
        source.is_clean();
    });
}

/// A relation's file whose last page is not whole, as a crash may leave it: its checksums are looked at until then, and it is copied
/// as it is.
#[test]
fn a_page_that_is_not_whole() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup and half a page", |server| {
        let source = Source::with(server, &["--data-checksums"], &[]);
        let cluster = &source.cluster;
        ask(cluster, "CHECKPOINT");
        let file = ask(cluster, "SELECT pg_relation_filepath('t')");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        let path = cluster.data_dir().join(&file);
        let blocks = fs::metadata(&path).expect("own file").len() / 8192;
        let append = |bytes: &[u8]| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).expect("own file");
            file.write_all(bytes).expect("own file");
        };
        append(&[7; 1000]);
        cluster.start();
        // The file is read in pieces of 32 kB: in the last of them nothing is looked at.
        let (blocks_read, rest) = (blocks / 4 * 4, blocks % 4 * 8192 + 1000);
        let warning = format!(
            "WARNING:  could not verify checksum in file \"./{file}\", block {blocks_read}: \
             read buffer size {rest} and page size 8192 differ"
        );
        let (code, said) = ended(&mut source.command("half", &[]));
        assert!(said.contains(&warning), "{said}");
        assert_eq!((code, said.matches("WARNING").count()), (Some(0), 1), "{said}");
        let dir = cluster.path("half");
        source.verify(&dir, &[]);
        assert_eq!(fs::read(dir.join(&file)).expect("a copy"), fs::read(&path).expect("it"));
        assert_eq!(
            ask(cluster, "SELECT checksum_failures FROM pg_stat_database WHERE datname = 'postgres'"),
            "0"
        );
        source.starts(&dir).stop(Stop::Fast);
        // A wrong page before it is found all the same.
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        flip_a_byte(&path, 8192 + 4000);
        cluster.start();
        let (code, said) = ended(&mut source.command("both", &["--no-slot"]));
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains(&format!("checksum verification failed in file \"./{file}\", block 1: ")),
            "{said}"
        );
        assert!(said.contains(&warning), "{said}");
        let total = format!("WARNING:  file \"./{file}\" has a total of 1 checksum verification failure");
        assert!(said.contains(&total), "{said}");
        source.is_clean();
    });
}

fn flip_a_byte(path: &Path, at: u64) {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).expect("own file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).expect("that long");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&[!byte[0]])).expect("own file");
}

/// Ended in the middle, from both sides: nothing of it is left, and the next copy is a good one.
#[test]
fn given_up() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_basebackup given up", |server| {
        let source = Source::new(server);
        let cluster = &source.cluster;
        write_wal(cluster, 3000);
        for (round, how) in ["interrupted", "killed", "terminated", "canceled"].iter().enumerate() {
            // So slowly that it is not over.
            let mut command = source
                .command(how, &["--max-rate", "32k", "-X", if round % 2 == 0 { "stream" } else { "fetch" }]);
            let copying = Program::spawn(cluster, how, &mut command);
            wait_for_state(cluster, "pg_basebackup' AND state = 'backup", "backup");
            let progress = "SELECT phase, backup_total > 0, tablespaces_total, tablespaces_streamed FROM pg_stat_progress_basebackup";
            wait_for_answer(cluster, progress, "streaming database files|t|2|0");
            let pid = ask(cluster, "SELECT pid FROM pg_stat_progress_basebackup");
            match *how {
                "interrupted" => copying.signal(nix::sys::signal::Signal::SIGINT),
                "killed" => copying.signal(nix::sys::signal::Signal::SIGKILL),
                "terminated" => assert_eq!(ask(cluster, &format!("SELECT pg_terminate_backend({pid})")), "t"),
                _ => assert_eq!(ask(cluster, &format!("SELECT pg_cancel_backend({pid})")), "t"),
            }
            assert_ne!(copying.wait().code(), Some(0), "{}", copying.said());
            source.is_clean();
            // One that can, cleans up behind itself.
            let by_signal = ["interrupted", "killed"].contains(how);
            assert_eq!(by_signal, cluster.path(how).exists(), "{how}");
        }
        let dir = source.copy("good", &[]);
        source.verify(&dir, &[]);
        let copy = source.starts(&dir);
        assert_eq!(ask(&copy, "SELECT count(*) FROM filler"), "3000");
        // A stop does not wait for a copy.
        let slowly = source.command("slow", &["--max-rate", "32k", "-X", "none"]);
        let mut slowly = slowly;
        let copying = Program::spawn(cluster, "slow", &mut slowly);
        wait_for_answer(cluster, "SELECT phase FROM pg_stat_progress_basebackup", "streaming database files");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(copying.wait().code(), Some(1), "{}", copying.said());
        cluster.start();
        source.is_clean();
    });
}

/// Several at the same time, and one into a folder that is not empty.
#[test]
fn several_at_once() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("several pg_basebackup", |server| {
        let source = started_with_space(server);
        let names = ["one", "two", "three"];
        let running: Vec<Program> = names
            .iter()
            .map(|name| Program::spawn(&source.cluster, name, &mut source.command(name, &["-X", "stream"])))
            .collect();
        running.iter().for_each(|program| drop(program.succeeds()));
        for name in names {
            source.verify(&source.cluster.path(name), &[]);
        }
        let (code, said) = ended(&mut source.command("one", &[]));
        assert!(code == Some(1) && said.contains("exists but is not empty"), "{said}");
        source.is_clean();
    });
}

fn started_with_space(server: Server) -> Source {
    Source::with(server, &[], &["max_wal_senders = 6", "wal_keep_size = '64MB'"])
}

/// What is not allowed to copy, and to whom.
#[test]
fn who_may_copy() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("who may copy", |server| {
        let cluster = started_primary(server, &[]);
        ask(&cluster, "CREATE ROLE plain LOGIN");
        ask(&cluster, "CREATE ROLE copier LOGIN REPLICATION");
        let dir = cluster.path("copy");
        let copy = |user: &str| {
            let mut command =
                client(&cluster, "pg_basebackup", &["-c", "fast", "--no-sync", "-U", user, "-D"]);
            ended(command.arg(&dir))
        };
        let (code, said) = copy("plain");
        assert!(code == Some(1), "{said}");
        assert!(said.contains("FATAL:  must be superuser or replication role to start walsender"), "{said}");
        assert_eq!(copy("copier"), (Some(0), String::new()));
        must(client(&cluster, "pg_verifybackup", &[]).arg(&dir));
    });
}
