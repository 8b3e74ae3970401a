//! The README's first command: a cluster to look at and to break, with standbys if wished for.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use clap::Args;
use integration::process::{self, Process};
use nix::sys::signal::{SigSet, Signal};

use crate::log_view::LogView;
use crate::{Result, cluster_dir, ps, standbys};

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
    /// Standbys that follow by streaming: in the folders `standby1` and so on beside the data directory, on the ports that follow.
    #[arg(long, default_value_t = 0)]
    standbys: u16,
    /// Commits wait for so many of the standbys.
    #[arg(long, default_value_t = 0, requires = "standbys")]
    sync: u16,
    /// A setting, `name=value`; may be repeated.
    #[arg(short, value_name = "NAME=VALUE")]
    c: Vec<String>,
    /// Build with optimisations.
    #[arg(long)]
    release: bool,
}

/// Runs until all servers have ended.
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
    if options.fresh {
        let standbys = standbys::existing(&data_dir).into_iter().filter(|_| options.standbys > 0);
        for old in std::iter::once(data_dir.clone()).chain(standbys).filter(|dir| dir.exists()) {
            remove(&old)?;
        }
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
    watch_interrupts(interrupt);
    let mut cluster = Cluster { options, programs, data_dir, archive, servers: Vec::new(), urgent: false };
    cluster.start(0);
    cluster.run()
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

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// First Ctrl-C: fast stop. Second: immediate.
#[allow(clippy::disallowed_methods, reason = "a thread of a tool, not of a server process")]
fn watch_interrupts(signals: SigSet) {
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            let word = match INTERRUPTS.fetch_add(1, SeqCst) {
                0 => "fast (again for immediate)",
                _ => "immediate",
            };
            eprintln!("\nstopping: {word}");
        }
    });
}

/// The primary, or a standby.
struct Server {
    label: String,
    data_dir: PathBuf,
    process: Process,
    view: LogView,
    ended: Option<ExitStatus>,
    /// It has been told to stop.
    told: bool,
}

impl Server {
    /// Shows what its log has gained; notes its end, whose lines are in the log by then.
    fn look(&mut self) {
        let ended = self.process.try_wait();
        self.view.show_new();
        if self.ended.is_none()
            && let Some(status) = ended
        {
            self.ended = Some(status);
            let name = if self.label.is_empty() { "the server" } else { &self.label };
            println!("{name} has ended: {status}");
        }
    }
}

/// All of them; the primary is the first.
struct Cluster<'a> {
    options: &'a Options,
    programs: PathBuf,
    data_dir: PathBuf,
    archive: Option<PathBuf>,
    servers: Vec<Server>,
    /// All have been told to stop at once.
    urgent: bool,
}

impl Cluster<'_> {
    /// Starts the primary (0) or a standby.
    fn start(&mut self, number: u16) {
        let alone = self.options.standbys == 0;
        let (label, data_dir) = match number {
            0 if alone => (String::new(), self.data_dir.clone()),
            0 => ("primary".to_owned(), self.data_dir.clone()),
            _ => (standbys::name(number), standbys::data_dir(&self.data_dir, number)),
        };
        let mut postgres = cluster_dir::command(&self.programs.join("postgres"));
        let port = self.options.port + number;
        postgres.arg("-D").arg(&data_dir).args(["-p", &port.to_string(), "-k", "/tmp"]);
        postgres.args(["-c", "logging_collector=on", "-c", "log_filename=postgresql.log"]);
        if !alone {
            // In the titles of its processes.
            postgres.args(["-c", &format!("cluster_name={label}")]);
        }
        if let Some(archive) = &self.archive {
            // A standby archives nothing before it is promoted.
            postgres.args(["-c", "archive_mode=on", "-c", &archive_command(archive)]);
        }
        if self.options.sync > 0 && number == 0 {
            let names: Vec<String> = (1..=self.options.standbys).map(standbys::name).collect();
            let names = format!("FIRST {} ({})", self.options.sync, names.join(", "));
            postgres.args(["-c", &format!("synchronous_standby_names={names}")]);
        }
        for setting in &self.options.c {
            postgres.args(["-c", setting]);
        }
        // Ctrl-C at a terminal goes to a whole group of processes: this decides who stops when, not the terminal.
        postgres.process_group(0);
        let view = LogView::from_end(&data_dir.join("log/postgresql.log"), &label);
        let process = process::spawn(postgres.stdin(Stdio::null()));
        self.servers.push(Server { label, data_dir, process, view, ended: None, told: false });
    }

    /// Makes and starts standbys when the primary is ready, and says what there is when all are; until all have ended.
    fn run(&mut self) -> Result<()> {
        let mut introduced = false;
        loop {
            self.turn();
            if self.servers.iter().all(|server| server.ended.is_some()) {
                let good = self.servers.iter().all(|server| server.ended.is_some_and(|s| s.success()));
                return if good { Ok(()) } else { Err("a server did not end well".into()) };
            }
            if introduced || INTERRUPTS.load(SeqCst) > 0 || !self.all_ready() {
                continue;
            }
            match u16::try_from(self.servers.len()) {
                Ok(next) if next <= self.options.standbys => {
                    if let Err(message) = self.add_standby(next) {
                        eprintln!("xtask: {message}");
                        INTERRUPTS.fetch_max(1, SeqCst);
                    }
                }
                _ => {
                    introduced = true;
                    self.introduce()?;
                }
            }
        }
    }

    /// Logs, ends, orders to stop; then a short pause.
    fn turn(&mut self) {
        self.servers.iter_mut().for_each(Server::look);
        let wanted = INTERRUPTS.load(SeqCst);
        let alive = self.servers.iter_mut().filter(|server| server.ended.is_none());
        if wanted > 1 && !std::mem::replace(&mut self.urgent, true) {
            alive.for_each(|server| server.process.signal(Signal::SIGQUIT));
        } else if wanted == 1
            && let Some(first) = alive.into_iter().next()
            && !std::mem::replace(&mut first.told, true)
        {
            // One after the other, the primary first: its standbys are to get all of its WAL.
            first.process.signal(Signal::SIGINT);
        }
        integration::pause();
    }

    fn all_ready(&self) -> bool {
        let mut living = self.servers.iter().filter(|server| server.ended.is_none());
        living.all(|server| ps::is_ready(&server.data_dir, server.process.pid()))
    }

    fn add_standby(&mut self, number: u16) -> Result<()> {
        let primary = self.data_dir.clone();
        let archive = self.archive.clone();
        let plan = standbys::Plan { primary: &primary, number, archive: archive.as_deref() };
        let data_dir = standbys::data_dir(&primary, number);
        let exists = data_dir.join("PG_VERSION").exists();
        if !exists && let Some(backup) = plan.begin()? {
            let status = loop {
                match backup.try_wait() {
                    Some(status) => break status,
                    None => self.turn(),
                }
            };
            if !status.success() {
                return Err(format!("{} could not be made: {status}", data_dir.display()));
            }
            plan.finish()?;
        }
        self.start(number);
        Ok(())
    }

    fn introduce(&self) -> Result<()> {
        let file = cluster_dir::pid_file(&self.data_dir)?;
        println!();
        ps::print_all(&self.data_dir)?;
        println!();
        println!(
            "connect    cargo xtask psql        (or: psql -h /tmp -p {} -U postgres postgres)",
            file.port
        );
        if let Some(standby) = self.servers.iter().skip(1).find(|server| server.ended.is_none()) {
            println!("           cargo xtask psql --data {}", standby.data_dir.display());
        }
        println!("look       cargo xtask ps");
        println!(
            "fill       CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g; SELECT ctid, xmin, * FROM t LIMIT 3;"
        );
        println!(
            "break      kill -9 one of the processes above, read what follows, and SELECT count(*) FROM t;"
        );
        println!(
            "reload     edit {}, then: kill -HUP {}",
            self.data_dir.join("postgresql.conf").display(),
            file.pid
        );
        if let Some(archive) = &self.archive {
            println!("archive    SELECT pg_switch_wal(); then: ls {}", archive.display());
        }
        if self.options.standbys > 0 {
            println!(
                "watch      SELECT * FROM pg_stat_replication; on a standby: SELECT * FROM pg_stat_wal_receiver;"
            );
            println!("promote    on a standby: SELECT pg_promote();");
        }
        println!("stop       Ctrl-C (fast), twice (immediate)");
        println!();
        Ok(())
    }
}

/// What is there is whole and is never replaced; the same once more, after a crash, is no failure.
fn archive_command(archive: &Path) -> String {
    let file = format!("\"{}/%f\"", archive.display());
    let fresh = format!("\"{}/new-%f\"", archive.display());
    let copy = format!("test ! -f {file} && cp \"%p\" {fresh} && mv {fresh} {file}");
    format!("archive_command=cmp -s \"%p\" {file} || {{ {copy}; }}")
}
