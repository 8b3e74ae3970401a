//! Clusters that archive: small segments, and a command that notes each call and never overwrites.
//!
//! The command can be held in the middle of a file, so that what happens meanwhile is no matter of timing, and it
//! keeps evidence: a file that came twice with different content stays behind as a conflict, which [`Archiving::check`]
//! finds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use integration::archive::{control, names_in};
use integration::process::unprivileged_ids;
use integration::{Cluster, ClusterOptions, DEADLINE, Server, Wire, pause, wait_for, wait_until};
use nix::sys::signal::Signal;

/// `%p %f`. What it does is decided by files beside it: `hold` and `hold-NAME` make it wait before it does anything,
/// `delay` before it copies, `fail` makes it exit with the status in it.
const SCRIPT: &str = r#"d=DIR
echo "$2" >> $d/calls
while test -e $d/hold || test -e "$d/hold-$2"; do sleep 0.02; done
test -e $d/delay && sleep "$(cat $d/delay)"
test -e $d/fail && exit "$(cat $d/fail)"
if test -e "$d/archive/$2"; then
    cmp -s "$1" "$d/archive/$2" && exit 0
    cp "$1" "$d/conflicts-$2"
    exit 1
fi
cp "$1" "$d/archive/$2.part" && mv "$d/archive/$2.part" "$d/archive/$2" && exit 0
rm -f "$d/archive/$2.part"
exit 1
"#;

/// A cluster with `archive_mode = on` and [`SCRIPT`] for a command.
pub(crate) struct Archiving {
    pub(crate) cluster: Cluster,
}

impl Archiving {
    /// Not started. `config` comes last, so it may say otherwise.
    pub(crate) fn of(server: Server, config: &[&str]) -> Archiving {
        let quiet = ["autovacuum = off", "wal_keep_size = '64MB'", "log_line_prefix = ''"];
        let cluster = Cluster::with(ClusterOptions {
            server,
            initdb: vec!["--wal-segsize=1".to_owned()],
            config: quiet.iter().map(ToString::to_string).collect(),
        });
        let archiving = Archiving { cluster };
        fs::create_dir(archiving.folder()).expect("own folder");
        own(&archiving.folder());
        let folder = archiving.cluster.socket_dir().display().to_string();
        archiving.write("archive.sh", &SCRIPT.replace("DIR", &folder));
        archiving.cluster.append_config("archive_mode = on");
        archiving.set_command(&archiving.script());
        config.iter().for_each(|line| archiving.cluster.append_config(line));
        archiving
    }

    /// Started, with a table `t` to write to.
    pub(crate) fn started(server: Server, config: &[&str]) -> Archiving {
        let archiving = Archiving::of(server, config);
        archiving.start();
        archiving
    }

    /// Starts it for the first time, and makes the table.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.cluster.start();
        assert_eq!(Wire::connect(&self.cluster).query("CREATE TABLE t (a int)"), ["CREATE TABLE"]);
    }

    /// Where the command copies to.
    pub(crate) fn folder(&self) -> PathBuf {
        self.cluster.path("archive")
    }

    /// The archive command that [`Archiving::of`] sets.
    pub(crate) fn script(&self) -> String {
        format!("sh {} %p %f", self.cluster.path("archive.sh").display())
    }

    /// Another command, from the next start or reload on.
    pub(crate) fn set_command(&self, command: &str) {
        self.cluster.append_config(&format!("archive_command = '{}'", command.replace('\'', "''")));
    }

    /// Reloads, and makes sure that the archiver has heard of it.
    #[track_caller]
    pub(crate) fn reload(&self) {
        self.cluster.signal_postmaster(Signal::SIGHUP);
        if let Some(pid) = self.archiver() {
            self.cluster.signal(pid, Signal::SIGHUP);
        }
    }

    /// A file beside the archive, written whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let fresh = self.cluster.path("fresh");
        fs::write(&fresh, text).expect("own folder");
        own(&fresh);
        common::file::rename(&fresh, &self.cluster.path(name)).expect("own folder");
    }

    /// A file beside the archive is no more.
    #[track_caller]
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.cluster.path(name)).expect("own file");
    }

    /// The command stands still before its next file.
    pub(crate) fn hold(&self) {
        self.write("hold", "");
    }

    /// The command goes on.
    #[track_caller]
    pub(crate) fn release(&self) {
        self.remove("hold");
    }

    /// Finishes a segment and returns its name.
    #[track_caller]
    pub(crate) fn switch(&self, session: &mut Wire) -> String {
        assert_eq!(session.query("INSERT INTO t VALUES (1)"), ["INSERT 0 1"]);
        let answer = session.query("SELECT pg_walfile_name(pg_switch_wal())");
        assert_eq!(answer.len(), 2, "{answer:?}");
        answer.into_iter().next().expect("two lines")
    }

    /// Finishes that many.
    #[track_caller]
    pub(crate) fn switches(&self, count: usize) -> Vec<String> {
        let mut session = Wire::connect(&self.cluster);
        let names = (0..count).map(|_| self.switch(&mut session)).collect();
        session.quit();
        names
    }

    /// A status file made by hand.
    pub(crate) fn mark_ready(&self, name: &str) {
        self.cluster.write_file(&format!("pg_wal/archive_status/{name}.ready"), "");
    }

    /// What the command was called for, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.cluster.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The names that wait to be archived, sorted.
    pub(crate) fn ready(&self) -> Vec<String> {
        self.status_files(".ready")
    }

    /// The names that are archived, sorted.
    pub(crate) fn done(&self) -> Vec<String> {
        self.status_files(".done")
    }

    fn status_files(&self, suffix: &str) -> Vec<String> {
        let names = names_in(&self.cluster.data_dir().join("pg_wal/archive_status"));
        names.iter().filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
    }

    /// What is in the archive, sorted.
    pub(crate) fn archived(&self) -> Vec<String> {
        names_in(&self.folder())
    }

    /// The archiver's pid, if there is one.
    pub(crate) fn archiver(&self) -> Option<i32> {
        self.cluster.find_process("postgres: archiver")
    }

    /// Waits for the archiver. PostgreSQL starts a lost one only when something wakes the postmaster.
    #[track_caller]
    pub(crate) fn wait_for_archiver(&self) -> i32 {
        let mut looks = 0;
        wait_for("there is an archiver", || {
            looks += 1;
            // Now and then: each time costs a process.
            if looks % 100 == 0 && self.cluster.server() == Server::Real {
                let _ = Wire::refusal(&self.cluster);
            }
            self.archiver()
        })
    }

    /// What the archiver's title says it does: `archiving F`, `last was F`, `failed on F` or nothing.
    pub(crate) fn activity(&self) -> Option<String> {
        let title = self
            .cluster
            .processes()
            .into_iter()
            .find_map(|process| process.title.strip_prefix("postgres: archiver").map(str::to_owned))?;
        Some(title.strip_prefix(" process").unwrap_or(&title).trim().to_owned())
    }

    #[track_caller]
    pub(crate) fn wait_for_activity(&self, activity: &str) {
        wait_until(&format!("the archiver says \"{activity}\", not {:?}", self.activity()), || {
            self.activity().as_deref() == Some(activity)
        });
    }

    /// Waits until the command is called for the first of these: the others wait.
    #[track_caller]
    pub(crate) fn wait_until_held_at(&self, name: &str) {
        self.wait_for_activity(&format!("archiving {name}"));
        wait_until("the command runs", || self.calls().last().is_some_and(|call| call == name));
    }

    /// Waits until all these are done, as the archiver sees it.
    #[track_caller]
    pub(crate) fn wait_until_done(&self, names: &[String]) {
        wait_until(&format!("{names:?} are archived, not only {:?}", self.done()), || {
            let done = self.done();
            names.iter().all(|name| done.contains(name))
        });
    }

    /// Waits until the first row of a query's answer is this.
    #[track_caller]
    pub(crate) fn wait_for_row(&self, query: &str, expected: &str) {
        let mut session = Wire::connect(&self.cluster);
        let mut last = String::new();
        let began = Instant::now();
        while last != expected {
            assert!(began.elapsed() < DEADLINE, "{last}, not {expected}");
            pause();
            last = session.query(query).swap_remove(0);
        }
        session.quit();
    }

    /// The control file says that the shutdown checkpoint is written, if there is a program to ask.
    #[track_caller]
    pub(crate) fn is_shut_down(&self) {
        if self.cluster.client("pg_controldata").is_some() {
            assert_eq!(control(&self.cluster, "Database cluster state"), "shut down");
        }
    }

    /// New log lines of the archiver: what it says about the command, without other processes' lines.
    pub(crate) fn archiver_lines(&self) -> Vec<String> {
        let mut lines = self.cluster.new_log_lines();
        let of_archiver = ["archiv", "orphan"];
        lines.retain(|line| {
            of_archiver.iter().any(|word| line.contains(word))
                && !line.contains("parameter \"archive_command\"")
        });
        lines
    }

    /// The archive is what it should be: the segments from the first to the last without a gap, nothing that came
    /// twice with different content, everything marked as done is there, equal to what the server still has.
    #[track_caller]
    pub(crate) fn check(&self) {
        let conflicts = names_in(self.cluster.socket_dir());
        let conflicts: Vec<_> = conflicts.iter().filter(|name| name.starts_with("conflicts-")).collect();
        assert!(conflicts.is_empty(), "archived twice with different content: {conflicts:?}");
        let archived = self.archived();
        for name in self.done() {
            assert!(archived.contains(&name), "{name} is done and not in the archive: {archived:?}");
        }
        let mut equal = 0;
        for name in &archived {
            let copy = fs::read(self.folder().join(name)).expect("an archived file");
            if let Ok(original) = fs::read(self.cluster.data_dir().join("pg_wal").join(name)) {
                assert!(copy == original, "{name} differs in the archive");
                equal += 1;
            }
        }
        assert!(equal > 0 || archived.is_empty(), "nothing left to compare with {archived:?}");
        let segments: Vec<u64> =
            archived.iter().filter(|name| name.len() == 24).map(|name| number(name)).collect();
        assert!(segments.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap in {archived:?}");
    }
}

/// The lines of one cycle in which the command fails.
pub(crate) fn failing_cycle(code: &str, command: &str, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(format!("LOG:  archive command failed with exit code {code}"));
        lines.push(format!("DETAIL:  The failed archive command was: {command}"));
    }
    lines.push(format!(
        "WARNING:  archiving write-ahead log file \"{name}\" failed too many times, will try again later"
    ));
    lines
}

/// The number of a segment of one megabyte.
fn number(name: &str) -> u64 {
    let part = |range| u64::from_str_radix(&name[range], 16).expect("a segment's name");
    part(8..16) * 4096 + part(16..24)
}

/// Gives a file or folder to the server's user.
fn own(path: &Path) {
    let (uid, gid) = unprivileged_ids();
    chown(path, Some(uid), Some(gid)).expect("own file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("own file");
}
