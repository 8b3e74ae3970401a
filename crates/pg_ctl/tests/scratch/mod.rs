//! A directory with a pg_ctl, a server that is a shell script, and a data directory; and conversations with them.
//!
//! Shared by the tests of this crate, not all of which use all of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::pg_control::{CheckPoint, ControlFileData, DbState};
use common::pidfile::PidFile;
use common::{Lsn, Oid, TimeLineId, Xid};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const REAL: &str = "/usr/lib/postgresql/15/bin/pg_ctl";
pub(crate) const UNPRIVILEGED: u32 = 65534;
/// No process has it: larger than any pid can be.
pub(crate) const NO_PID: &str = "2147483646";

/// A directory with `bin/pg_ctl`, a fake `bin/postgres`, and `data`.
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
    /// What `postgres -V` must print for the real pg_ctl to accept it.
    version: String,
}

impl Scratch {
    pub(crate) fn new(name: &str, program: &Path) -> Scratch {
        let dir = std::env::temp_dir().join(format!("pg_ctl-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::create_dir(dir.join("bin")).unwrap();
        std::fs::copy(program, dir.join("bin/pg_ctl")).unwrap();
        let fake = dir.join("bin/postgres");
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_postgres.sh"), &fake).unwrap();
        std::fs::set_permissions(fake, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(dir.join("data/global")).unwrap();
        std::fs::write(dir.join("data/PG_VERSION"), "15\n").unwrap();
        let version = Command::new(program).arg("-V").output().unwrap().stdout;
        let version = String::from_utf8(version).unwrap().trim().replacen("pg_ctl", "postgres", 1);
        let scratch = Scratch { dir, version };
        scratch.give_away();
        scratch
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.dir.join("data").join(name)
    }

    /// Everything belongs to the user who runs the programs.
    fn give_away(&self) {
        if common::user::is_root() {
            let owner = format!("{UNPRIVILEGED}:{UNPRIVILEGED}");
            assert!(Command::new("chown").args(["-R", &owner]).arg(&self.dir).status().unwrap().success());
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("bin/pg_ctl"));
        command.args(args).current_dir(&self.dir).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("FAKE_VERSION", &self.version);
        if common::user::is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command
    }

    /// Runs a command; returns its outputs and its exit code as text, without what changes between runs.
    pub(crate) fn run(&self, line: &str) -> String {
        let args = words(line);
        let mut command = self.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        // Files, not pipes: a server that was started holds them open.
        let (out, err) = (self.dir.join("out"), self.dir.join("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let pid_before = self.pid();
        let status = command.status().unwrap();
        let mut shown = format!("$ {line}\n");
        shown.push_str(&std::fs::read_to_string(out).unwrap());
        for line in std::fs::read_to_string(err).unwrap().lines() {
            shown.push_str(&format!("E {line}\n"));
        }
        shown.push_str(&format!("rc {}\n", status.code().unwrap_or(-1)));
        for pid in [pid_before, self.pid()].into_iter().flatten() {
            shown = shown.replace(&format!("PID: {}", pid.abs()), "PID: N");
        }
        // A server that is gone at the first look costs no dot.
        let shown = shown.replace("shut down... done", "shut down.... done");
        shown.replace(self.dir.to_str().unwrap(), "DIR")
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        let content = std::fs::read_to_string(self.data("postmaster.pid")).ok()?;
        PidFile::parse(&content).ok().map(|file| file.pid)
    }

    pub(crate) fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_secs(20), "{what} did not happen");
            std::thread::yield_now();
        }
    }

    /// A step that is no call of pg_ctl; see [`check`].
    pub(crate) fn prepare(&self, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "behaviour" => std::fs::write(self.data("behaviour"), rest).unwrap(),
            "pidfile" => std::fs::write(self.data("postmaster.pid"), rest.replace("\\n", "\n")).unwrap(),
            "opts" => std::fs::write(self.data("postmaster.opts"), rest.replace("\\n", "\n")).unwrap(),
            "remove" => std::fs::remove_file(self.data(rest)).unwrap(),
            "until-up" => self.wait_for("the start", || self.pid().is_some()),
            "until-down" => self.wait_for("the stop", || self.pid().is_none()),
            "until-signals" => self.wait_for(rest, || {
                let signals = std::fs::read_to_string(self.data("signals")).unwrap_or_default();
                signals.split_whitespace().collect::<Vec<_>>().join(" ") == rest
            }),
            "state" => {
                let state =
                    if rest == "standby" { DbState::InArchiveRecovery } else { DbState::InProduction };
                std::fs::write(self.data("global/pg_control"), &control_file(state).to_bytes()[..]).unwrap();
                // What a promotion will make of it.
                let primary = control_file(DbState::InProduction).to_bytes();
                std::fs::write(self.data("primary_control"), &primary[..]).unwrap();
            }
            "exists" => assert!(self.data(rest).exists(), "{rest}"),
            "absent" => assert!(!self.data(rest).exists(), "{rest}"),
            other => panic!("unknown step {other}"),
        }
        self.give_away();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The pid file of a test may name anybody: it must be our server.
        if let Some(pid) = self.pid()
            && let Ok(command_line) = std::fs::read(format!("/proc/{pid}/cmdline"))
            && String::from_utf8_lossy(&command_line)
                .contains(&*self.dir.join("bin/postgres").to_string_lossy())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Splits at spaces outside of single quotes.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn control_file(state: DbState) -> ControlFileData {
    use common::pg_control as build;
    ControlFileData {
        system_identifier: 1,
        pg_control_version: common::version::PG_CONTROL_VERSION,
        catalog_version_no: common::version::CATALOG_VERSION_NO,
        state,
        time: 0,
        checkpoint: Lsn(0x100_0028),
        checkpoint_copy: CheckPoint {
            redo: Lsn(0x100_0028),
            this_timeline: TimeLineId(1),
            prev_timeline: TimeLineId(1),
            full_page_writes: true,
            next_full_xid: 3,
            next_oid: Oid(10_000),
            next_multi: 1,
            next_multi_offset: 0,
            oldest_xid: Xid(3),
            oldest_xid_db: Oid(1),
            oldest_multi: 1,
            oldest_multi_db: Oid(1),
            time: 0,
            oldest_commit_ts_xid: Xid(0),
            newest_commit_ts_xid: Xid(0),
            oldest_active_xid: Xid(0),
        },
        unlogged_lsn: Lsn(1000),
        min_recovery_point: Lsn(0),
        min_recovery_point_timeline: TimeLineId(0),
        backup_start_point: Lsn(0),
        backup_end_point: Lsn(0),
        backup_end_required: false,
        wal_level: 1,
        wal_log_hints: false,
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_xacts: 0,
        max_locks_per_xact: 64,
        track_commit_timestamp: false,
        max_align: build::MAX_ALIGN,
        float_format: build::FLOAT_FORMAT,
        blcksz: build::BLCKSZ,
        relseg_size: build::RELSEG_SIZE,
        xlog_blcksz: build::XLOG_BLCKSZ,
        xlog_seg_size: 16 << 20,
        name_data_len: 64,
        index_max_keys: build::INDEX_MAX_KEYS,
        toast_max_chunk_size: build::TOAST_MAX_CHUNK_SIZE,
        loblksize: build::LOBLKSIZE,
        float8_by_val: true,
        data_checksum_version: 0,
        mock_authentication_nonce: [0; 32],
    }
}

pub(crate) fn hold(name: &str, program: &Path, conversation: &str) -> String {
    let scratch = Scratch::new(name, program);
    let mut shown = String::new();
    for line in conversation.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            shown.push_str(&scratch.run(command));
        } else if let Some(step) = line.strip_prefix("# ") {
            scratch.prepare(step);
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}

/// Lines that begin with `$` are commands, with `#` steps in between; all others are what is expected.
#[track_caller]
pub(crate) fn check(name: &str, conversation: &str) {
    check_ours(name, conversation);
    if !Path::new(REAL).exists() {
        eprintln!("SKIPPED: {REAL} is not installed");
        return;
    }
    let conversation = conversation.trim_start();
    let shown = hold(&format!("real-{name}"), Path::new(REAL), conversation);
    assert_eq!(shown, conversation, "the real pg_ctl");
}

/// Where we are better.
#[track_caller]
pub(crate) fn check_ours(name: &str, conversation: &str) {
    let conversation = conversation.trim_start();
    let shown = hold(name, Path::new(env!("CARGO_BIN_EXE_pg_ctl")), conversation);
    assert_eq!(shown, conversation, "our pg_ctl");
}
