//! A stop waits for the clients that receive WAL: the second reference document.
//!
//! What such a client has not read yet is in one of three places. In the server's files, if it is much: then the
//! walsender cannot even hear that a stop is under way, and the checkpoint waits. In the buffers of the connection: then
//! the checkpoint is written, and only the confirmation is missing. Or in the client, which has not confirmed it.

use std::fs;
use std::path::{Path, PathBuf};

use common::Lsn;
use integration::archive::{control, names_in};
use integration::{Cluster, Server, Stop, on_each_server, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::receivewal::same_as_the_server;
use crate::replication_support::{
    Event, Program, SEGMENT_BYTES, Stream, ask, flushed, folder, replication_session, started_primary,
    title_of_15, wait_for_answer, wait_for_state, walsender_pid, write_wal,
};
use crate::support::{refusal_in_a_stop, without_stop_report};

const SHUTTING_DOWN: [&str; 2] = ["FATAL:  57P03: the database system is shutting down", "EOF"];
const PAGE: u64 = 8192;

/// More than the buffers of a connection hold.
const MUCH: usize = 12_000;
/// Much less, in kilobytes as well.
const LITTLE: usize = 40;

/// Where the record of the shutdown checkpoint ends, which is the last one: 114 bytes, to the next multiple of 8.
pub(crate) fn checkpoint_end(cluster: &Cluster) -> Lsn {
    let start: u64 = control(cluster, "Latest checkpoint location").parse::<Lsn>().expect("a position").0;
    let end = start + 120;
    let next_page = start / PAGE * PAGE + PAGE;
    if end <= next_page {
        return Lsn(end);
    }
    Lsn(end + if next_page.is_multiple_of(SEGMENT_BYTES) { 40 } else { 24 })
}

/// The titles of the postmaster's children, without the one that PostgreSQL 15 has not got.
fn children(cluster: &Cluster) -> Vec<String> {
    let postmaster = cluster.postmaster_pid();
    let children = cluster.processes().into_iter().filter(|process| process.ppid == postmaster);
    let titles = children.map(|child| title_of_15(&child.title));
    let titles = titles.filter(|title| !title.contains("stats collector"));
    titles.filter_map(|title| title.strip_prefix("postgres: ").map(str::to_owned)).collect()
}

/// Waits until the children are these, by the beginnings of their titles.
#[track_caller]
fn wait_for_children(cluster: &Cluster, expected: &[&str]) {
    let mut last = Vec::new();
    wait_until(&format!("the children are {expected:?}"), || {
        last = children(cluster);
        last.len() == expected.len()
            && last.iter().zip(expected).all(|(title, begin)| title.starts_with(begin))
    });
}

/// A primary with a client.
struct Followed {
    cluster: Cluster,
    dir: PathBuf,
    client: Program,
}

impl Followed {
    /// The client streams, and has what was written before.
    #[track_caller]
    fn new(server: Server, config: &[&str]) -> Followed {
        let keep = ["wal_keep_size = '256MB'", "log_line_prefix = ''", "log_checkpoints = on"];
        let cluster = started_primary(server, &[&keep, config].concat());
        let dir = folder(&cluster, "received");
        let client = follow(&cluster, "follower", &dir);
        Followed { cluster, dir, client }
    }

    /// SIGSTOP to the client, and that much is written.
    #[track_caller]
    fn freeze_and_write(&self, kilobytes: usize) {
        self.client.freeze();
        write_wal(&self.cluster, kilobytes);
        self.cluster.mark_log();
    }

    /// Nobody comes in any more.
    #[track_caller]
    fn refuses(&self) {
        for _ in 0..3 {
            assert_eq!(refusal_in_a_stop(&self.cluster), SHUTTING_DOWN);
        }
        assert_eq!(self.cluster.pid_file_line(8).as_deref(), Some("stopping"));
    }

    /// After SIGCONT all ends well: nothing is left unsent.
    #[track_caller]
    fn resume_and_end(&self, mode: Stop) {
        self.client.resume();
        assert_eq!(self.cluster.wait_for_end().code(), Some(0), "{}", self.cluster.log());
        self.all_was_sent(mode);
    }

    /// The server has stopped. Its client has everything, and says why it ends.
    #[track_caller]
    fn all_was_sent(&self, mode: Stop) {
        assert_eq!(self.client.wait().code(), Some(1), "--no-loop");
        let said = self.client.said();
        assert!(said.contains("replication stream was terminated before stop point"), "{said}");
        assert_eq!(self.cluster.processes(), []);
        let end = checkpoint_end(&self.cluster);
        same_as_the_server(&self.cluster, &self.dir, end);
        assert_ends_with_something(&self.dir, end);
        let refused = "FATAL:  the database system is shutting down";
        let other = ["logical replication launcher", "terminating connection due to administrator", refused];
        let mut lines = self.cluster.new_log_lines();
        lines.retain(|line| !other.iter().any(|text| line.contains(text)));
        let lines = without_stop_report(lines);
        let mut expected = vec![format!("LOG:  received {} shutdown request", mode.word())];
        expected.extend((mode == Stop::Fast).then(|| "LOG:  aborting any active transactions".to_owned()));
        let rest = [
            "LOG:  shutting down",
            "LOG:  checkpoint starting: shutdown immediate",
            "LOG:  checkpoint complete",
            "LOG:  database system is shut down",
        ];
        expected.extend(rest.map(str::to_owned));
        assert_eq!(lines, expected);
    }

    /// The next start has nothing to recover if the last stop was a good one, and the client goes on where it was.
    #[track_caller]
    fn goes_on(&self, recovered: bool) {
        self.cluster.mark_log();
        self.cluster.start();
        assert_eq!(self.cluster.new_log().contains("automatic recovery in progress"), recovered);
        let again = follow(&self.cluster, "again", &self.dir);
        write_wal(&self.cluster, 100);
        self.cluster.mark_log();
        assert_eq!(self.cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(again.wait().code(), Some(1));
        let end = checkpoint_end(&self.cluster);
        same_as_the_server(&self.cluster, &self.dir, end);
        assert_ends_with_something(&self.dir, end);
    }
}

/// `pg_receivewal` that ends with its stream, once it streams.
#[track_caller]
fn follow(cluster: &Cluster, name: &str, dir: &Path) -> Program {
    let client = Program::receivewal(cluster, name, dir, &["-s", "1", "--no-loop"]);
    wait_for_state(cluster, name, "streaming");
    client
}

/// The last bytes are the end of the checkpoint's record, and nothing comes behind them.
#[track_caller]
fn assert_ends_with_something(dir: &Path, end: Lsn) {
    let names = names_in(dir);
    let last = names.iter().rfind(|name| name.ends_with(".partial")).expect("a partial segment");
    let bytes = fs::read(dir.join(last)).expect("own file");
    let at = (end.0 % SEGMENT_BYTES) as usize;
    // Padding follows the record's 114 bytes.
    assert!(bytes[at - 40..at].iter().any(|byte| *byte != 0), "{last} ends before {end}");
    assert!(bytes[at..].iter().all(|byte| *byte == 0), "{last} has something behind {end}");
}

#[test]
fn a_client_that_reads() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("stop with a client that reads", |server| {
        for mode in [Stop::Fast, Stop::Smart] {
            let followed = Followed::new(server, &[]);
            write_wal(&followed.cluster, MUCH);
            followed.cluster.mark_log();
            followed.cluster.signal_postmaster(mode.signal());
            assert_eq!(followed.cluster.wait_for_end().code(), Some(0));
            followed.all_was_sent(mode);
            followed.goes_on(false);
        }
    });
}

/// What is unsent fits the buffers: the checkpoint is written, and the walsender alone is waited for.
#[test]
fn a_client_that_stands_still_with_little() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("stop with little unsent", |server| {
        for mode in [Stop::Fast, Stop::Smart] {
            let followed = Followed::new(server, &[]);
            followed.freeze_and_write(LITTLE);
            let cluster = &followed.cluster;
            cluster.signal_postmaster(mode.signal());
            wait_for_children(cluster, &["walsender postgres [local] streaming 0/"]);
            assert_eq!(control(cluster, "Database cluster state"), "shut down");
            // All of it is sent, as its title says; what is missing is that somebody has it.
            let end = checkpoint_end(cluster);
            wait_until("the checkpoint is sent", || children(cluster)[0].ends_with(&end.to_string()));
            followed.refuses();
            assert!(!cluster.new_log().contains("database system is shut down"));
            followed.resume_and_end(mode);
            followed.goes_on(false);
        }
    });
}

/// What is unsent does not fit: not even the checkpoint begins.
#[test]
fn a_client_that_stands_still_with_much() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("stop with much unsent", |server| {
        for mode in [Stop::Fast, Stop::Smart] {
            let followed = Followed::new(server, &[]);
            followed.freeze_and_write(MUCH);
            let cluster = &followed.cluster;
            let written = flushed(cluster);
            cluster.signal_postmaster(mode.signal());
            wait_for_children(cluster, &["checkpointer", "walsender postgres [local] streaming 0/"]);
            cluster.wait_for_new_log("LOG:  shutting down");
            followed.refuses();
            assert_eq!(control(cluster, "Database cluster state"), "in production");
            assert!(!cluster.new_log().contains("checkpoint starting: shutdown"), "{}", cluster.new_log());
            let title = children(cluster).pop().expect("two children");
            let sent = title.rsplit(' ').next().and_then(|lsn| lsn.parse::<Lsn>().ok());
            assert!(sent.expect("a position") < written, "{title}, {written}");
            followed.resume_and_end(mode);
            followed.goes_on(false);
        }
    });
}

/// `wal_sender_timeout` ends the wait, in both cases. What was not sent is sent after the next start.
#[test]
fn a_client_that_stands_still_too_long() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("stop with a timeout", |server| {
        for kilobytes in [LITTLE, MUCH] {
            let followed = Followed::new(server, &["wal_sender_timeout = '4s'"]);
            followed.freeze_and_write(kilobytes);
            assert_eq!(followed.cluster.stop(Stop::Fast).code(), Some(0));
            let log = followed.cluster.new_log();
            assert!(log.contains("LOG:  terminating walsender process due to replication timeout"), "{log}");
            assert!(log.contains("STATEMENT:  START_REPLICATION 0/"), "{log}");
            assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
            assert_eq!(control(&followed.cluster, "Database cluster state"), "shut down");
            assert_eq!(followed.cluster.processes(), []);
            followed.client.resume();
            assert_eq!(followed.client.wait().code(), Some(1), "{}", followed.client.said());
            followed.cluster.append_config("wal_sender_timeout = '60s'");
            followed.goes_on(false);
        }
    });
}

#[test]
fn an_immediate_stop_waits_for_nobody() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("immediate stop with a client that stands still", |server| {
        for (kilobytes, overtaken) in [(LITTLE, true), (MUCH, false), (MUCH, true)] {
            let followed = Followed::new(server, &[]);
            followed.freeze_and_write(kilobytes);
            let cluster = &followed.cluster;
            if overtaken {
                cluster.signal_postmaster(Stop::Fast.signal());
                wait_until("only the walsender is waited for", || {
                    let left = children(cluster);
                    left.len() == if kilobytes == LITTLE { 1 } else { 2 }
                });
            }
            assert_eq!(cluster.stop(Stop::Immediate).code(), Some(0));
            assert_eq!(cluster.processes(), []);
            followed.client.resume();
            assert_eq!(followed.client.wait().code(), Some(1), "{}", followed.client.said());
            // A stop that had written its checkpoint is one after all.
            let recovered = !(overtaken && kilobytes == LITTLE);
            followed.goes_on(recovered);
        }
    });
}

/// One of several stands still: the others have all of it, and leave before.
#[test]
fn the_slowest_of_several() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("stop with several clients", |server| {
        let followed = Followed::new(server, &[]);
        let cluster = &followed.cluster;
        let dir = folder(cluster, "second");
        let second = follow(cluster, "second", &dir);
        followed.freeze_and_write(LITTLE);
        cluster.signal_postmaster(Stop::Fast.signal());
        assert_eq!(second.wait().code(), Some(1), "{}", second.said());
        wait_for_children(cluster, &["walsender postgres [local] streaming 0/"]);
        let end = checkpoint_end(cluster);
        same_as_the_server(cluster, &dir, end);
        assert_ends_with_something(&dir, end);
        followed.refuses();
        followed.resume_and_end(Stop::Fast);
    });
}

/// By hand: the last record comes, the server asks for a reply, and only the confirmation of all of it lets it end, with
/// a tag and no CopyDone.
#[test]
fn the_confirmation_that_is_waited_for() {
    on_each_server("stop and confirmation", |server| {
        for flush_is_told in [true, false] {
            let cluster = started_primary(server, &[]);
            let start = flushed(&cluster);
            let mut stream = Stream::start(&cluster, start);
            let end = write_wal(&cluster, 100);
            stream.read_to(end);
            stream.confirm();
            cluster.signal_postmaster(Stop::Fast.signal());
            wait_for_children(&cluster, &["walsender postgres 127.0.0.1("]);
            let end = checkpoint_end(&cluster);
            stream.read_to(end);
            assert_eq!(stream.received, end, "nothing comes after the checkpoint");
            let confirm = |stream: &mut Stream, lsn: Lsn, ask_back| {
                let told = if flush_is_told { [lsn; 3] } else { [lsn, Lsn(0), Lsn(0)] };
                stream.reply(told, ask_back);
            };
            wait_for_question(&mut stream);
            // Nearly all is not all.
            for _ in 0..3 {
                confirm(&mut stream, Lsn(end.0 - 8), true);
                assert!(matches!(stream.next(), Event::Keepalive { end: told, .. } if told == end));
                assert_eq!(children(&cluster).len(), 1);
            }
            confirm(&mut stream, end, false);
            assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
            assert_eq!(cluster.wait_for_end().code(), Some(0));
            cluster.start();
            wait_for_answer(&cluster, "SELECT count(*) FROM filler", "100");
        }
    });
}

/// A keepalive that wants a reply.
#[track_caller]
fn wait_for_question(stream: &mut Stream) {
    loop {
        match stream.next() {
            Event::Keepalive { reply: true, .. } => return,
            Event::Keepalive { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A client that goes away during the wait is waited for no longer; neither is one that has not begun to stream.
#[test]
fn clients_that_are_not_waited_for() {
    on_each_server("stop without a client to wait for", |server| {
        for mode in [Stop::Fast, Stop::Smart] {
            let cluster = started_primary(server, &[]);
            let mut idle = replication_session(&cluster, "true");
            assert_eq!(idle.query("IDENTIFY_SYSTEM").len(), 2);
            let start = flushed(&cluster);
            let stream = Stream::start(&cluster, start);
            write_wal(&cluster, 50);
            cluster.signal_postmaster(mode.signal());
            assert_eq!(
                idle.answer(),
                ["FATAL:  57P01: terminating connection due to administrator command", "EOF"]
            );
            wait_for_children(&cluster, &["walsender postgres 127.0.0.1("]);
            drop(stream);
            assert_eq!(cluster.wait_for_end().code(), Some(0));
            assert_eq!(control(&cluster, "Database cluster state"), "shut down");
        }
    });
}

/// Killed while it is waited for: the checkpoint is written, so the stop has been a good one.
#[test]
fn signals_while_it_is_waited_for() {
    on_each_server("signals during a slow stop", |server| {
        for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGKILL, 1)] {
            let cluster = started_primary(server, &[]);
            let start = flushed(&cluster);
            let mut stream = Stream::start(&cluster, start);
            write_wal(&cluster, 50);
            cluster.signal_postmaster(Stop::Fast.signal());
            wait_for_children(&cluster, &["walsender postgres 127.0.0.1("]);
            cluster.wait_until_asleep(walsender_pid(&cluster));
            cluster.signal(walsender_pid(&cluster), signal);
            let farewell = stream.rest();
            let expected = "FATAL:  57P01: terminating connection due to administrator command";
            assert_eq!(
                farewell.iter().any(|line| line == expected),
                signal == Signal::SIGTERM,
                "{farewell:?}"
            );
            assert_eq!(cluster.wait_for_end().code(), Some(code), "{}", cluster.log());
            assert_eq!(control(&cluster, "Database cluster state"), "shut down");
            assert_eq!(cluster.processes(), []);
            cluster.start();
            assert_eq!(ask(&cluster, "SELECT count(*) FROM filler"), "50");
        }
    });
}
