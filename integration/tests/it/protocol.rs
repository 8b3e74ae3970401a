//! The frontend/backend protocol, message by message.
//!
//! Each file in `protocol/` is a conversation: lines with `>` are what the client does, lines with `<` what the
//! server answers, the rest is for the reader. What was recorded from the real PostgreSQL 15 is expected of both.
//!
//! | command | what it does |
//! |---|---|
//! | `connect user=u database=d ...` | new connection, start-up packet of version 3.0 |
//! | `version MAJOR.MINOR user=u ...` | the same with another version |
//! | `ssl`, `gss` | new connection, request for encryption |
//! | `query SQL` | Query |
//! | `parse NAME [types] SQL` | Parse; `-` is the empty name |
//! | `bind PORTAL NAME [formats] [values] [formats]` | Bind; a value is text, `NULL`, or `x:` and hexadecimal digits |
//! | `describe S NAME`, `close P NAME` | Describe and Close of a statement or portal |
//! | `execute PORTAL MAX` | Execute |
//! | `sync`, `flush`, `terminate` | the message of that name |
//! | `message TYPE HEX` | any message |
//! | `stream SQL` | Query, answered by a stream; the messages of the stream themselves are not shown |
//! | `caughtup` | reads the stream up to the end of WAL |
//! | `copydone` | CopyDone, and the rest of the stream |
//! | `eof` | the client closes its side |

mod client;

use std::fmt::Write;

use integration::{Cluster, ClusterOptions, Programs, Server, Wire, on_each_server};

use crate::transcript;
use client::Client;

fn cluster(server: Server) -> Cluster {
    assert!(Programs::of(server).is_some());
    let initdb = ["-E", "UTF8", "--locale=C.UTF-8"].map(str::to_owned).to_vec();
    let config = ["timezone = 'UTC'", "log_timezone = 'UTC'"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(ClusterOptions { server, initdb, config });
    cluster.start();
    cluster
}

#[test]
fn conversations() {
    on_each_server("protocol", |server| {
        let cluster = cluster(server);
        for name in ["start", "simple", "extended", "errors", "portals", "formats", "settings"] {
            let file = format!("protocol/{name}.txt");
            transcript::check(&file, server, &play(&cluster, &transcript::read(&file)));
        }
        if server == Server::Ours {
            gss_is_refused(&cluster);
        }
        eof_within_a_transaction_is_logged(&cluster);
        a_cancel_request_with_a_wrong_key_is_logged(&cluster);
    });
}

/// The conversation with the server's lines as they are now.
pub(crate) fn play(cluster: &Cluster, script: &str) -> String {
    let mut text = String::new();
    let mut client: Option<Client> = None;
    for line in script.lines().filter(|line| !line.starts_with("< ")) {
        let _ = writeln!(text, "{line}");
        let Some(command) = line.strip_prefix("> ") else { continue };
        for answer in act(cluster, &mut client, command) {
            let _ = writeln!(text, "< {answer}");
        }
    }
    text
}

fn act(cluster: &Cluster, client: &mut Option<Client>, command: &str) -> Vec<String> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "connect" => return client.insert(Client::open(cluster)).start((3, 0), rest),
        "version" => {
            let (version, parameters) = rest.split_once(' ').unwrap_or((rest, ""));
            let (major, minor) = version.split_once('.').expect("MAJOR.MINOR");
            let version = (major.parse().expect("a number"), minor.parse().expect("a number"));
            return client.insert(Client::open(cluster)).start(version, parameters);
        }
        "ssl" => return client.insert(Client::open(cluster)).request_encryption(80_877_103),
        "gss" => return client.insert(Client::open(cluster)).request_encryption(80_877_104),
        _ => {}
    }
    client.as_mut().expect("a script begins with a connection").act(verb, rest)
}

/// The real server may have it built in.
fn gss_is_refused(cluster: &Cluster) {
    assert_eq!(act(cluster, &mut None, "gss"), ["N"]);
}

fn eof_within_a_transaction_is_logged(cluster: &Cluster) {
    cluster.mark_log();
    let mut session = Wire::connect(cluster);
    session.query("BEGIN");
    session.no_more();
    let log = cluster.wait_for_new_log("with an open transaction");
    assert!(log.contains("LOG:  unexpected EOF on client connection with an open transaction"), "{log}");
}

fn a_cancel_request_with_a_wrong_key_is_logged(cluster: &Cluster) {
    cluster.mark_log();
    let mut session = Wire::connect(cluster);
    let pid = session.pid;
    session.key ^= 1;
    session.cancel(cluster);
    cluster.wait_for_new_log(&format!("LOG:  wrong key in cancel request for process {pid}"));
    session.pid = 1;
    session.cancel(cluster);
    cluster.wait_for_new_log("LOG:  PID 1 in cancel request did not match any process");
    assert_eq!(session.query("SELECT 1"), ["1", "SELECT 1"]);
}
