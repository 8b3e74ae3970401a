//! The README's first command: a cluster to look at and to break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use clap::Args;
use integration::process::{self, Process};
use nix::sys::signal::{SigSet, Signal};

use crate::log_view::LogView;
use crate::{Result, cluster_dir, ps};

/// Options of `run-cluster`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Throw an existing cluster away first.
    #[arg(long)]
    fresh: bool,
    /// The port to listen on.
    #[arg(long, default_value_t = 5415)]
    port: u16,
    /// The data directory.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Archive finished WAL segments into the folder `archive` beside the data directory.
    #[arg(long)]
    archive: bool,
    /// A setting, `name=value`; may be repeated.
    #[arg(short, value_name = "NAME=VALUE")]
    c: Vec<String>,
    /// Build with optimisations.
    #[arg(long)]
    release: bool,
}

/// Runs until the server has ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    // Blocked before any thread starts (the build starts one), so that only the watcher below takes it. Children
    // begin with nothing blocked.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    interrupt.add(Signal::SIGTERM);
    interrupt.thread_block().map_err(|e| e.to_string())?;
    let programs = cluster_dir::build(options.release)?;
    let data_dir = options.data.clone().unwrap_or_else(cluster_dir::default_data_dir);
    let data_dir = std::path::absolute(&data_dir).map_err(|e| e.to_string())?;
    if options.fresh && data_dir.exists() {
        remove(&data_dir)?;
    }
    if !data_dir.join("PG_VERSION").exists() {
        cluster_dir::make_parent(&data_dir)?;
        init(&programs, &data_dir)?;
    }
    let archive = options.archive.then(|| data_dir.with_file_name("archive"));
    if let Some(archive) = &archive {
        if options.fresh && archive.exists() {
            // Its segments have the names that the new cluster's will have.
            fs::remove_dir_all(archive)
                .map_err(|e| format!("could not remove {}: {e}", archive.display()))?;
        }
        cluster_dir::make_own_folder(archive)?;
    }
    let server = start(&programs, &data_dir, archive.as_deref(), options);
    watch_interrupts(interrupt, server.pid());
    follow(&server, &data_dir, archive.as_deref())
}

/// Removes a cluster, but nothing that is not one.
fn remove(data_dir: &Path) -> Result<()> {
    if !data_dir.join("PG_VERSION").exists() {
        return Err(format!("{} is not a cluster: not removed", data_dir.display()));
    }
    if let Ok(file) = cluster_dir::pid_file(data_dir)
        && integration::procfs::is_alive(file.pid)
    {
        return Err(format!("a server (PID {}) runs on {}: stop it first", file.pid, data_dir.display()));
    }
    fs::remove_dir_all(data_dir).map_err(|e| format!("could not remove {}: {e}", data_dir.display()))
}

fn init(programs: &Path, data_dir: &Path) -> Result<()> {
    let mut initdb = cluster_dir::command(&programs.join("initdb"));
    initdb.arg("-D").arg(data_dir).args(["-U", "postgres", "-A", "trust", "--no-instructions"]);
    if process::spawn(&mut initdb).wait().success() { Ok(()) } else { Err("initdb failed".into()) }
}

fn start(programs: &Path, data_dir: &Path, archive: Option<&Path>, options: &Options) -> Process {
    let mut postgres = cluster_dir::command(&programs.join("postgres"));
    postgres.arg("-D").arg(data_dir).args(["-p", &options.port.to_string(), "-k", "/tmp"]);
    postgres.args(["-c", "logging_collector=on", "-c", "log_filename=postgresql.log"]);
    if let Some(archive) = archive {
        // What is there is whole and is never replaced; the same once more, after a crash, is no failure.
        let file = format!("\"{}/%f\"", archive.display());
        let fresh = format!("\"{}/new-%f\"", archive.display());
        let copy = format!("test ! -f {file} && cp \"%p\" {fresh} && mv {fresh} {file}");
        let command = format!("cmp -s \"%p\" {file} || {{ {copy}; }}");
        postgres.args(["-c", "archive_mode=on", "-c", &format!("archive_command={command}")]);
    }
    for setting in &options.c {
        postgres.args(["-c", setting]);
    }
    process::spawn(postgres.stdin(Stdio::null()))
}

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// First Ctrl-C: fast stop. Second: immediate.
#[allow(clippy::disallowed_methods, reason = "a thread of a tool, not of a server process")]
fn watch_interrupts(signals: SigSet, server: i32) {
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            let (signal, word) = match INTERRUPTS.fetch_add(1, SeqCst) {
                0 => (Signal::SIGINT, "fast (again for immediate)"),
                _ => (Signal::SIGQUIT, "immediate"),
            };
            eprintln!("\nstopping: {word}");
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), signal);
        }
    });
}

/// Shows the log, and the cluster once it is ready, until the server has ended and the log is complete.
fn follow(server: &Process, data_dir: &Path, archive: Option<&Path>) -> Result<()> {
    let mut view = LogView::from_end(&data_dir.join("log/postgresql.log"));
    let mut introduced = false;
    loop {
        let ended = server.try_wait();
        view.show_new();
        if let Some(status) = ended {
            println!("the server has ended: {status}");
            return if status.success() { Ok(()) } else { Err("the server did not end well".into()) };
        }
        if !introduced && ps::is_ready(data_dir, server.pid()) {
            introduced = true;
            introduce(data_dir, archive)?;
        }
        integration::pause();
    }
}

fn introduce(data_dir: &Path, archive: Option<&Path>) -> Result<()> {
    let file = cluster_dir::pid_file(data_dir)?;
    println!();
    ps::print_tree(data_dir, &file)?;
    println!();
    println!("connect    cargo xtask psql        (or: psql -h /tmp -p {} -U postgres postgres)", file.port);
    println!("look       cargo xtask ps");
    println!(
        "fill       CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g; SELECT ctid, xmin, * FROM t LIMIT 3;"
    );
    println!("break      kill -9 one of the processes above, read what follows, and SELECT count(*) FROM t;");
    println!("reload     edit {}, then: kill -HUP {}", data_dir.join("postgresql.conf").display(), file.pid);
    if let Some(archive) = archive {
        println!("archive    SELECT pg_switch_wal(); then: ls {}", archive.display());
    }
    println!("stop       Ctrl-C (fast), twice (immediate)");
    println!();
    Ok(())
}
