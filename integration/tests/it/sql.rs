//! The same statements through psql against this server and the real PostgreSQL 15: the outputs are compared
//! line by line, once as psql prints errors by default and once with SQLSTATEs.
//!
//! The statements are in `sql/*.sql`. One that is known to differ ends in `-- differs: why`; the test fails when
//! it no longer does, so that the list can only shrink.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{Cluster, ClusterOptions, Programs, Server, process, skip};

/// At which line of a statement it is known to differ.
const DIFFERS: &str = "-- differs: ";

#[test]
fn answers_are_those_of_postgresql() {
    let Some(real) = cluster(Server::Real) else { skip!("PostgreSQL 15 is not installed") };
    let Some(ours) = cluster(Server::Ours) else { unreachable!("it has been built") };
    let mut problems = String::new();
    let mut statements = 0;
    for file in files() {
        let script = std::fs::read_to_string(&file).expect("a readable script");
        statements += script.lines().filter(|line| line.contains(';') || line.contains('\\')).count();
        for verbosity in ["default", "verbose"] {
            let expected = answers(&script, &psql(&real, &script, verbosity));
            let got = answers(&script, &psql(&ours, &script, verbosity));
            let found = differences(&expected, &got);
            if !found.is_empty() {
                let name = file.file_name().unwrap_or_default().display();
                let _ = write!(problems, "\n=== {name}, VERBOSITY {verbosity}\n{found}");
            }
        }
    }
    assert!(statements > 1000, "only {statements} statements: files are missing");
    assert!(problems.is_empty(), "{problems}");
}

fn cluster(server: Server) -> Option<Cluster> {
    Programs::of(server)?;
    let initdb = ["-E", "UTF8", "--locale=C.UTF-8"].map(str::to_owned).to_vec();
    let config = ["timezone = 'UTC'", "log_timezone = 'UTC'", "max_prepared_transactions = 5"]
        .map(str::to_owned)
        .to_vec();
    let cluster = Cluster::with(ClusterOptions { server, initdb, config });
    cluster.start();
    Some(cluster)
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sql");
    let entries = std::fs::read_dir(folder).expect("the scripts").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "sql")).collect();
    files.sort();
    files
}

/// What psql prints, to both its outputs in order, without the lines that say where in the server.
fn psql(cluster: &Cluster, script: &str, verbosity: &str) -> String {
    let psql = cluster.client("psql").expect("psql is installed");
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" -X -a -q -v VERBOSITY=\"$1\" 2>&1"])
        .arg(psql.get_program())
        .arg(verbosity);
    command.env_clear().envs(psql.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LC_ALL", "C.UTF-8").env("PGCLIENTENCODING", "UTF8").current_dir(cluster.socket_dir());
    process::unprivileged(&mut command);
    let output = process::run_with_input(&mut command, script.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = text.lines().filter(|line| !line.starts_with("LOCATION:"));
    kept.fold(String::new(), |text, line| text + line + "\n")
}

/// The output after each line of the script, which psql repeats before it; but for the data of COPY.
fn answers<'a>(script: &'a str, output: &str) -> Vec<(&'a str, String)> {
    let mut answers = Vec::new();
    let mut lines = statement_lines(script).into_iter().peekable();
    for line in output.lines() {
        match lines.next_if(|next| *next == line) {
            Some(next) => answers.push((next, String::new())),
            None => {
                if let Some((_, answer)) = answers.last_mut() {
                    let _ = writeln!(answer, "    {line}");
                }
            }
        }
    }
    assert_eq!(lines.next(), None, "psql did not get through:\n{output}");
    answers
}

/// The lines of a script without the data behind each COPY FROM STDIN, which ends in `\.` even if the command fails.
fn statement_lines(script: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut is_data = false;
    for line in script.lines() {
        if is_data {
            is_data = line != "\\.";
            continue;
        }
        lines.push(line);
        let copies = line.starts_with("copy") || line.starts_with("\\copy");
        is_data = copies && (line.contains("from stdin") || line.contains("from stdout"));
    }
    lines
}

fn differences(expected: &[(&str, String)], got: &[(&str, String)]) -> String {
    let mut found = String::new();
    for ((line, expected), (_, got)) in expected.iter().zip(got) {
        match (line.contains(DIFFERS), expected == got) {
            (false, false) => {
                let _ = write!(found, "{line}\n  expected\n{expected}  got\n{got}");
            }
            (true, true) => {
                let _ = writeln!(found, "{line}\n  is as it should be by now: drop the remark");
            }
            _ => {}
        }
    }
    found
}
