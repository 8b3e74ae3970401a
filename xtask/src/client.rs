//! `cargo xtask psql`: the real one if it is installed, else a small client that reads lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use common::pidfile::PidFile;
use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{Result, cluster_dir};

/// Connects the terminal to the cluster.
pub(crate) fn run(data: Option<PathBuf>, args: &[String]) -> Result<()> {
    let data_dir = data.unwrap_or_else(cluster_dir::default_data_dir);
    let file = cluster_dir::pid_file(&data_dir)?;
    let Some(psql) = find_psql() else { return converse(&file) };
    let host = host(&file);
    let mut command = Command::new(psql);
    command.args(["-h", &host, "-p", &file.port.to_string()]);
    command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").args(args);
    let status = command.status().map_err(|e| format!("psql: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("psql ended with {status}")) }
}

/// PostgreSQL's psql: where Debian puts that of 15, else on the path.
pub(crate) fn find_psql() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("psql"));
    let debian = [PathBuf::from("/usr/lib/postgresql/15/bin/psql")];
    debian.into_iter().chain(on_path).find(|p| p.exists())
}

fn host(file: &PidFile) -> String {
    if file.socket_dir.is_empty() { "127.0.0.1".into() } else { file.socket_dir.clone() }
}

/// A connection as the superuser.
pub(crate) fn connect(file: &PidFile) -> Result<Client, postgres::Error> {
    let mut config = Client::configure();
    config.user("postgres").dbname("postgres").port(file.port).application_name("xtask");
    if file.socket_dir.is_empty() {
        config.host("127.0.0.1")
    } else {
        config.host_path(Path::new(&file.socket_dir))
    };
    config.connect(NoTls)
}

/// Reads a line, runs it, prints the answer; `\q` or end of input leaves.
fn converse(file: &PidFile) -> Result<()> {
    println!("psql is not installed; this is a small client. \\q leaves.");
    let mut client = connect(file).map_err(|e| e.to_string())?;
    let mut editor = rustyline::DefaultEditor::new().map_err(|e| e.to_string())?;
    while let Ok(line) = editor.readline("pganatomy=# ") {
        let _ = editor.add_history_entry(&line);
        match line.trim() {
            "\\q" => break,
            "" => {}
            sql => show(client.simple_query(sql)),
        }
        if client.is_closed() {
            println!("the server has closed the connection");
            break;
        }
    }
    Ok(())
}

fn show(answer: Result<Vec<SimpleQueryMessage>, postgres::Error>) {
    let messages = match answer {
        Ok(messages) => messages,
        Err(e) => {
            match e.as_db_error() {
                Some(error) => println!("{}:  {}", error.severity(), error.message()),
                None => println!("{e}"),
            }
            return;
        }
    };
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                let names: Vec<&str> = columns.iter().map(|c| c.name()).collect();
                println!("{}", names.join(" | "));
            }
            SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("")).collect();
                println!("{}", values.join(" | "));
            }
            SimpleQueryMessage::CommandComplete(rows) => println!("({rows} rows)"),
            _ => {}
        }
    }
}
