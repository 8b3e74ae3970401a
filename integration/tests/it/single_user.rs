//! `postgres --single`: a session without a postmaster.

use std::process::Command;

use integration::{Cluster, Server, on_each_server, process};
use nix::sys::signal::Signal;

use crate::support::{Said, cluster_of};

/// The program on this cluster, with options, for one database.
fn single(cluster: &Cluster, options: &[&str], database: &str) -> Command {
    let mut command = cluster.command("postgres");
    command.arg("--single").arg("-D").arg(cluster.data_dir()).args(options).arg(database);
    command
}

/// What it prints behind its banner, and how it ends.
fn answers(cluster: &Cluster, options: &[&str], database: &str, input: &str) -> (String, i32) {
    let output = process::run_with_input(&mut single(cluster, options, database), input.as_bytes());
    let said = Said::of(cluster, &output);
    let printed = said.stdout.lines().skip(2).collect::<Vec<_>>().join("\n");
    (printed, said.code.unwrap_or(-1))
}

const INPUT: &str = "select 1 as a, 'x'::text as b, null as c\nselect \\\n2\n\nselect bad\n";
const PRINTED: &str = "\
backend> \t 1: a\t(typeid = 23, len = 4, typmod = -1, byval = t)
\t 2: b\t(typeid = 25, len = -1, typmod = -1, byval = f)
\t 3: c\t(typeid = 25, len = -1, typmod = -1, byval = f)
\t----
\t 1: a = \"1\"\t(typeid = 23, len = 4, typmod = -1, byval = t)
\t 2: b = \"x\"\t(typeid = 25, len = -1, typmod = -1, byval = f)
\t----
backend> \t 1: ?column?\t(typeid = 23, len = 4, typmod = -1, byval = t)
\t----
\t 1: ?column? = \"2\"\t(typeid = 23, len = 4, typmod = -1, byval = t)
\t----
backend> backend> backend> ";

#[test]
fn what_the_terminal_shows() {
    on_each_server("single user", |server: Server| {
        let cluster = cluster_of(server, &[]);
        assert_eq!(answers(&cluster, &[], "postgres", INPUT), (PRINTED.to_owned(), 0));
        // Nothing but the echo: these two answer with no rows.
        let echoed = "backend> statement: begin\n;\n\nbackend> statement: rollback;\n\nbackend> ";
        let input = "begin\n;\n\nrollback;\n\n";
        assert_eq!(answers(&cluster, &["-j", "-E"], "postgres", input), (echoed.to_owned(), 0));
        // A database that takes no connections can be looked at; one that is not there cannot.
        assert_eq!(answers(&cluster, &[], "template0", ""), ("backend> ".to_owned(), 0));
        assert_eq!(answers(&cluster, &[], "nowhere", ""), (String::new(), 1));
    });
}

#[test]
fn nobody_reads() {
    on_each_server("single user without a reader", |server: Server| {
        let cluster = cluster_of(server, &[]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = process::spawn(single(&cluster, &[], "postgres").stdout(writer)).wait();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let again = process::run(&mut single(&cluster, &[], "postgres"));
        let log = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(!log.contains("interrupted"), "it was shut down properly: {log}");
    });
}

#[test]
fn a_killed_one_is_recovered_from() {
    on_each_server("single user killed", |server: Server| {
        let cluster = cluster_of(server, &[]);
        let (input, _writer) = std::io::pipe().expect("a pipe");
        let killed = process::spawn(single(&cluster, &[], "postgres").stdin(input));
        let pid = format!("-{}", killed.pid());
        integration::wait_until("its lock file", || cluster.pid_file_line(1).as_deref() == Some(&pid));
        let refused = process::run(&mut single(&cluster, &[], "postgres"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let hint = format!("Is another postgres (PID {}) running in data directory", killed.pid());
        assert!(refused.status.code() == Some(1) && said.contains(&hint), "{said}");
        killed.signal(Signal::SIGKILL);
        killed.wait();
        let (_, code) = answers(&cluster, &[], "postgres", "create table t (a int)\n");
        assert_eq!(code, 0);
        cluster.start();
        cluster.connect().batch_execute("insert into t values (1)").expect("what it made is there");
    });
}
