//! Replication: clusters that are followed, programs that follow them, and a client that reads a stream of WAL by hand.
//!
//! [`Program`] is a program beside a cluster, in a group of processes of its own. Dropping it resumes and kills all of
//! them: a program that a test has stopped with SIGSTOP is never left behind.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use common::Lsn;
use integration::process::{self, Process, unprivileged_ids};
use integration::{Cluster, ClusterOptions, Server, Wire, procfs, wait_for, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The size of the segments of [`primary`].
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;

/// A cluster that can be followed, with segments of 1 MB, not started. `config` comes last.
pub(crate) fn primary(server: Server, config: &[&str]) -> Cluster {
    primary_with(server, &[], config)
}

/// The same with more arguments for initdb.
pub(crate) fn primary_with(server: Server, initdb: &[&str], config: &[&str]) -> Cluster {
    let quiet = [
        "wal_level = replica",
        "autovacuum = off",
        "max_logical_replication_workers = 0",
        "log_checkpoints = off",
        "log_timezone = 'UTC'",
        "timezone = 'UTC'",
    ];
    Cluster::with(ClusterOptions {
        server,
        initdb: std::iter::once(&"--wal-segsize=1").chain(initdb).map(ToString::to_string).collect(),
        config: quiet.iter().chain(config).map(ToString::to_string).collect(),
    })
}

/// The same, started.
pub(crate) fn started_primary(server: Server, config: &[&str]) -> Cluster {
    let cluster = primary(server, config);
    cluster.start();
    cluster
}

/// The rows of a statement that must not fail, without its tag.
#[track_caller]
pub(crate) fn rows(session: &mut Wire, sql: &str) -> Vec<String> {
    let mut answer = session.query(sql);
    let failed = answer.iter().any(|line| line.starts_with("ERROR:  ") || line.starts_with("FATAL:  "));
    assert!(!failed && answer.last().is_some_and(|line| line != "EOF"), "{sql}: {answer:?}");
    answer.pop();
    answer
}

/// The same in a session of its own; several rows have `; ` between them.
#[track_caller]
pub(crate) fn ask(cluster: &Cluster, sql: &str) -> String {
    let mut session = Wire::connect(cluster);
    let answer = rows(&mut session, sql);
    session.quit();
    answer.join("; ")
}

/// Waits until a query of one row has this answer.
#[track_caller]
pub(crate) fn wait_for_answer(cluster: &Cluster, sql: &str, answer: &str) {
    let mut session = Wire::connect(cluster);
    let mut last = String::new();
    wait_until(&format!("\"{sql}\" is {answer}"), || {
        last = rows(&mut session, sql).join("; ");
        last == answer
    });
    session.quit();
}

/// A position in WAL that a query returns.
#[track_caller]
pub(crate) fn position(cluster: &Cluster, sql: &str) -> Lsn {
    let answer = ask(cluster, sql);
    answer.parse().unwrap_or_else(|_| panic!("{sql}: {answer} is no position"))
}

/// Where WAL is flushed up to.
#[track_caller]
pub(crate) fn flushed(cluster: &Cluster) -> Lsn {
    position(cluster, "SELECT pg_current_wal_flush_lsn()")
}

/// A column of the one walsender with this application name; `None` while there is none.
#[track_caller]
pub(crate) fn walsender(session: &mut Wire, name: &str, column: &str) -> Option<String> {
    let sql = format!("SELECT {column} FROM pg_stat_replication WHERE application_name = '{name}'");
    let mut found = rows(session, &sql);
    assert!(found.len() <= 1, "several walsenders of {name}: {found:?}");
    found.pop()
}

/// Waits until a client is in this state.
#[track_caller]
pub(crate) fn wait_for_state(cluster: &Cluster, name: &str, state: &str) {
    let mut session = Wire::connect(cluster);
    wait_until(&format!("{name} is in state {state}"), || {
        walsender(&mut session, name, "state").as_deref() == Some(state)
    });
    session.quit();
}

/// Waits until a client has confirmed WAL up to a position: `column` is `write_lsn`, `flush_lsn`, `replay_lsn` or
/// `sent_lsn`.
#[track_caller]
pub(crate) fn wait_for_position(cluster: &Cluster, name: &str, column: &str, least: Lsn) {
    let mut session = Wire::connect(cluster);
    wait_until(&format!("{column} of {name} is {least}"), || {
        let found = walsender(&mut session, name, column).and_then(|lsn| lsn.parse::<Lsn>().ok());
        found.is_some_and(|lsn| lsn >= least)
    });
    session.quit();
}

/// Waits until no walsender is left, in the view and among the processes.
#[track_caller]
pub(crate) fn wait_for_no_walsender(cluster: &Cluster) {
    wait_for_answer(cluster, "SELECT count(*) FROM pg_stat_replication", "0");
    wait_until("no walsender is left", || walsender_pids(cluster).is_empty());
}

/// A process title in PostgreSQL 15's words: this project's are the longer ones of its reference document.
pub(crate) fn title_of_15(title: &str) -> String {
    title.replace("wal sender process", "walsender").replace("checkpointer process", "checkpointer")
}

/// The walsenders among the cluster's processes.
pub(crate) fn walsender_pids(cluster: &Cluster) -> Vec<i32> {
    let all = cluster.processes();
    let walsenders =
        all.iter().filter(|process| title_of_15(&process.title).starts_with("postgres: walsender"));
    walsenders.map(|process| process.pid).collect()
}

/// The pid of the only walsender, once there is one.
#[track_caller]
pub(crate) fn walsender_pid(cluster: &Cluster) -> i32 {
    wait_for("there is one walsender", || match walsender_pids(cluster).as_slice() {
        [pid] => Some(*pid),
        _ => None,
    })
}

/// Writes about this many kilobytes of WAL, in one transaction, into a table `filler`, and returns where it is flushed up
/// to.
#[track_caller]
pub(crate) fn write_wal(cluster: &Cluster, kilobytes: usize) -> Lsn {
    let mut session = Wire::connect(cluster);
    rows(&mut session, "CREATE TABLE IF NOT EXISTS filler (id int, value text)");
    let row = "SELECT g, repeat('x', 950) FROM generate_series(1,";
    rows(&mut session, &format!("INSERT INTO filler {row} {kilobytes}) g"));
    let lsn = rows(&mut session, "SELECT pg_current_wal_flush_lsn()");
    session.quit();
    lsn[0].parse().unwrap_or_else(|_| panic!("{lsn:?} is no position"))
}

/// Finishes the segment that is written to now and returns its name. It is never an empty one.
#[track_caller]
pub(crate) fn switch_segment(cluster: &Cluster) -> String {
    let mut session = Wire::connect(cluster);
    rows(&mut session, "CREATE TABLE IF NOT EXISTS filler (id int, value text)");
    rows(&mut session, "INSERT INTO filler VALUES (0, 'switch')");
    let name = rows(&mut session, "SELECT pg_walfile_name(pg_switch_wal())");
    session.quit();
    name.into_iter().next().expect("a row")
}

/// A folder of the server's user, beside the data directory.
#[track_caller]
pub(crate) fn folder(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.path(name);
    fs::create_dir(&path).expect("own folder");
    let (uid, gid) = unprivileged_ids();
    chown(&path, Some(uid), Some(gid)).expect("own folder");
    path
}

/// A client program of PostgreSQL with its arguments. Callers have asked whether it is installed.
pub(crate) fn client(cluster: &Cluster, program: &str, args: &[&str]) -> Command {
    let mut command = cluster.client(program).expect("asked for before");
    command.args(args);
    command
}

/// A program that runs beside a cluster, alone in its group of processes.
#[derive(Debug)]
pub(crate) struct Program {
    process: Process,
    /// What it says, both outputs.
    output: PathBuf,
}

impl Program {
    /// Starts it. `name` is unique in the cluster's folder: the output goes to a file of that name.
    #[track_caller]
    pub(crate) fn spawn(cluster: &Cluster, name: &str, command: &mut Command) -> Program {
        let output = cluster.path(&format!("{name}.said"));
        let file = fs::File::create(&output).expect("own folder");
        let copy = file.try_clone().expect("another handle");
        Program { process: process::spawn(command.process_group(0).stdout(copy).stderr(file)), output }
    }

    /// `pg_receivewal -v` into a folder, until it is told to end. `name` is its application name too.
    #[track_caller]
    pub(crate) fn receivewal(cluster: &Cluster, name: &str, dir: &Path, args: &[&str]) -> Program {
        let mut command = client(cluster, "pg_receivewal", &["-v", "-D"]);
        command.arg(dir).args(args).env("PGAPPNAME", name);
        Program::spawn(cluster, name, &mut command)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read(&self.output).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn wait_until_says(&self, text: &str) -> String {
        wait_for(&format!("it says \"{text}\""), || Some(self.said()).filter(|said| said.contains(text)))
    }

    /// Sends it, and what it has started, a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.process.try_wait().is_none() {
            let _ = killpg(Pid::from_raw(self.pid()), signal);
        }
    }

    /// Stops it with SIGSTOP and waits until it stands still.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let state = || procfs::state_and_parent(self.pid()).map(|(state, _)| state);
        wait_until("it stands still", || state() == Some('T'));
    }

    /// Lets it go on after [`Program::freeze`].
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&self) -> ExitStatus {
        self.process.wait()
    }

    /// Waits for its end, which must be a good one, and returns what it has said.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        self.said()
    }

    /// SIGINT, as a user ends `pg_receivewal`: it finishes what it has begun and ends well.
    #[track_caller]
    pub(crate) fn interrupt(&self) -> String {
        self.signal(Signal::SIGINT);
        self.succeeds()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it has started may outlive it.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        if !std::thread::panicking() {
            self.process.wait();
        }
    }
}

/// Runs a client program to its end: exit code and what it said, standard output first.
#[track_caller]
pub(crate) fn ended(command: &mut Command) -> (Option<i32>, String) {
    let output = process::run(command);
    (output.status.code(), both(&output))
}

/// Runs a client program that must succeed, and returns what it said.
#[track_caller]
pub(crate) fn must(command: &mut Command) -> String {
    let (code, said) = ended(command);
    assert_eq!(code, Some(0), "{command:?}: {said}");
    said
}

fn both(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// A replication connection over TCP as the superuser; `database` is `true` for one without a database, `database` for
/// one that takes SQL too.
#[track_caller]
pub(crate) fn replication_session(cluster: &Cluster, kind: &str) -> Wire {
    let mut wire = Wire::open(cluster);
    let answer = wire.start_session(&[
        ("user", "postgres"),
        ("database", "postgres"),
        ("replication", kind),
        ("application_name", "by_hand"),
    ]);
    assert!(wire.pid != 0, "connecting for replication: {answer:?}\n{}", cluster.log());
    wire
}

/// What comes out of a stream of WAL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// WAL from a position on. `end` is where the server's WAL ended when it was sent.
    Wal { start: Lsn, end: Lsn, bytes: Vec<u8> },
    /// Nothing new up to a position; with `reply` the server wants to hear from us.
    Keepalive { end: Lsn, reply: bool },
    /// The server says no more.
    Done,
    /// The other lines of an answer up to ReadyForQuery or `EOF`: an error, or rows and tags after the stream.
    Answer(Vec<String>),
}

/// A client that streams WAL by hand, and replies only when it is told to.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The connection.
    pub(crate) wire: Wire,
    /// Where the WAL that has come so far ends.
    pub(crate) received: Lsn,
}

impl Stream {
    /// Sends a command `START_REPLICATION` and waits for the beginning of the stream; otherwise the answer.
    #[track_caller]
    pub(crate) fn try_start(mut wire: Wire, command: &str) -> Result<Stream, Vec<String>> {
        wire.begin(command);
        let Some((kind, body)) = wire.next_message() else { return Err(vec!["EOF".to_owned()]) };
        if kind == b'W' {
            assert_eq!(body, [0, 0, 0], "text in no columns");
            return Ok(Stream { wire, received: Lsn(0) });
        }
        let mut lines = message_lines(kind, &body);
        lines.extend(wire.answer());
        Err(lines)
    }

    /// Streams without a slot from a position.
    #[track_caller]
    pub(crate) fn start(cluster: &Cluster, from: Lsn) -> Stream {
        let wire = replication_session(cluster, "true");
        let started = Stream::try_start(wire, &format!("START_REPLICATION {from}"));
        started.unwrap_or_else(|answer| panic!("START_REPLICATION {from}: {answer:?}"))
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Event {
        let Some((kind, body)) = self.wire.next_message() else {
            return Event::Answer(vec!["EOF".to_owned()]);
        };
        match (kind, body.first()) {
            (b'd', Some(b'w')) => {
                let (start, end) = (long(&body, 1), long(&body, 9));
                let bytes = body[25..].to_vec();
                self.received = Lsn(start + bytes.len() as u64);
                Event::Wal { start: Lsn(start), end: Lsn(end), bytes }
            }
            (b'd', Some(b'k')) => Event::Keepalive { end: Lsn(long(&body, 1)), reply: body[17] != 0 },
            (b'c', _) => Event::Done,
            _ => {
                let mut lines = message_lines(kind, &body);
                lines.extend(self.wire.answer());
                Event::Answer(lines)
            }
        }
    }

    /// Reads until WAL up to a position has come; the bytes. Keepalives are passed over.
    #[track_caller]
    pub(crate) fn read_to(&mut self, end: Lsn) -> Vec<u8> {
        let mut all = Vec::new();
        while self.received < end {
            match self.next() {
                Event::Wal { bytes, .. } => all.extend(bytes),
                Event::Keepalive { .. } => {}
                other => panic!("the stream ends before {end}: {other:?}"),
            }
        }
        all
    }

    /// Reads to the end: what comes after CopyDone and WAL is the answer.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<String> {
        loop {
            if let Event::Answer(lines) = self.next() {
                return lines;
            }
        }
    }

    /// A standby's reply: written, flushed and applied up to these positions.
    pub(crate) fn reply(&mut self, positions: [Lsn; 3], ask_back: bool) {
        let mut body = vec![b'r'];
        positions.iter().for_each(|lsn| body.extend(lsn.0.to_be_bytes()));
        // A second after the beginning of time.
        body.extend(1_000_000_i64.to_be_bytes());
        body.push(u8::from(ask_back));
        self.wire.send_message(b'd', &body);
    }

    /// Says that all that has come is written, flushed and applied.
    pub(crate) fn confirm(&mut self) {
        self.reply([self.received; 3], false);
    }
}

/// A message outside of a stream, as [`Wire::answer`] shows it: a tag, an error's lines, or what it is.
fn message_lines(kind: u8, body: &[u8]) -> Vec<String> {
    if kind == b'C' {
        return vec![String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned()];
    }
    if kind != b'E' && kind != b'N' {
        return vec![format!("message {:?} {:?}", char::from(kind), String::from_utf8_lossy(body))];
    }
    let fields = body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let fields: Vec<(u8, String)> =
        fields.map(|(code, text)| (*code, String::from_utf8_lossy(text).into_owned())).collect();
    let text = |code| fields.iter().find(|(c, _)| *c == code).map_or("-", |(_, text)| text.as_str());
    let mut lines = vec![format!("{}:  {}: {}", text(b'V'), text(b'C'), text(b'M'))];
    for (code, label) in [(b'D', "DETAIL"), (b'H', "HINT")] {
        lines.extend(fields.iter().find(|(c, _)| *c == code).map(|(_, text)| format!("{label}:  {text}")));
    }
    lines
}

fn long(body: &[u8], at: usize) -> u64 {
    body.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}
