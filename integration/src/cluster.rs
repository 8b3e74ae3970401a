//! A cluster and what can be done to it.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::{self, Process, unprivileged, unprivileged_ids};
use crate::procfs::{self, ProcessInfo};
use crate::{Programs, Server, wait_for, wait_until};

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Wait for the clients to leave.
    Smart,
    /// Roll back, disconnect, checkpoint.
    Fast,
    /// At once, without a checkpoint.
    Immediate,
}

impl Stop {
    /// The postmaster's signal for it.
    pub fn signal(self) -> Signal {
        match self {
            Stop::Smart => Signal::SIGTERM,
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        }
    }

    /// The word after `pg_ctl stop -m`.
    pub fn word(self) -> &'static str {
        match self {
            Stop::Smart => "smart",
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        }
    }
}

/// What a cluster is made like.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Whose server.
    pub server: Server,
    /// More arguments for initdb.
    pub initdb: Vec<String>,
    /// Lines for postgresql.conf.
    pub config: Vec<String>,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions { server: Server::Ours, initdb: Vec::new(), config: Vec::new() }
    }
}

/// A data directory with, most of the time, a server on it. Dropping it kills and removes everything, after
/// PostgreSQL's `pg_waldump` has read its WAL.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    server: Server,
    /// Holds everything; removed on drop.
    folder: TempDir,
    port: u16,
    postmaster: RefCell<Option<Process>>,
    /// Bytes of the log that [`Cluster::wait_for_new_log`] has already shown.
    log_seen: Cell<usize>,
}

impl Cluster {
    /// A fresh cluster of this project's server, not started.
    pub fn new() -> Cluster {
        Cluster::with(ClusterOptions::default())
    }

    /// A fresh, started cluster of this project's server with these lines in postgresql.conf.
    pub fn started(config: &[&str]) -> Cluster {
        let config = config.iter().map(ToString::to_string).collect();
        let cluster = Cluster::with(ClusterOptions { config, ..ClusterOptions::default() });
        cluster.start();
        cluster
    }

    /// A fresh cluster, not started.
    ///
    /// # Panics
    /// If the server is not installed or initdb fails.
    pub fn with(options: ClusterOptions) -> Cluster {
        Cluster::without_data(options.server, Path::new("/tmp")).make_data(&options)
    }

    /// Runs initdb and writes the settings.
    ///
    /// # Panics
    /// If initdb fails.
    pub(crate) fn make_data(self, options: &ClusterOptions) -> Cluster {
        let output = self.run(
            self.command("initdb")
                .arg("-D")
                .arg(self.data_dir())
                .args(["-U", "postgres", "-N", "-A", "trust"])
                .args(&options.initdb),
        );
        assert!(output.status.success(), "initdb: {output:?}");
        self.append_own_config();
        options.config.iter().for_each(|line| self.append_config(line));
        self
    }

    /// A cluster, in a folder below `parent`, without a data directory yet.
    ///
    /// # Panics
    /// If the server is not installed.
    pub fn without_data(server: Server, parent: &Path) -> Cluster {
        let programs = Programs::of(server).expect("the server is installed");
        let folder = tempfile::Builder::new().prefix("pganatomy-").tempdir_in(parent).expect("room for it");
        let (uid, gid) = unprivileged_ids();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("own folder");
        chown(folder.path(), Some(uid), Some(gid)).expect("own folder");
        Cluster {
            programs,
            server,
            folder,
            port: free_port(),
            postmaster: RefCell::new(None),
            log_seen: Cell::new(0),
        }
    }

    /// The settings that make a server this cluster's: where it listens, and that it need not be durable.
    pub fn append_own_config(&self) {
        self.append_config("fsync = off");
        self.append_config(&format!("port = {}", self.port));
        self.append_config(&format!("unix_socket_directories = '{}'", self.socket_dir().display()));
        self.append_config("listen_addresses = '127.0.0.1'");
        if self.server == Server::Real {
            // Killed, it would leave its files in /dev/shm.
            self.append_config("dynamic_shared_memory_type = mmap");
        }
    }

    /// The same directory with another server from the next start on.
    ///
    /// # Panics
    /// If that server is not installed.
    pub fn handed_to(mut self, server: Server) -> Cluster {
        self.programs = Programs::of(server).expect("the server is installed");
        self.server = server;
        self
    }

    /// Whose server it is.
    pub fn server(&self) -> Server {
        self.server
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the cluster's own temporary folder, outside the data directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds a line to postgresql.conf. It counts from the next start or reload.
    pub fn append_config(&self, line: &str) {
        self.append_to("postgresql.conf", line);
    }

    /// Adds a line to a file in the data directory.
    pub fn append_to(&self, file: &str, line: &str) {
        let path = self.data_dir().join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        self.write_file(file, &format!("{text}{line}\n"));
    }

    /// Writes a file in the data directory, owned by the server's user.
    pub fn write_file(&self, file: &str, text: &str) {
        let path = self.data_dir().join(file);
        // Under another name first: a server that is reading the file sees the old one or the new one, whole.
        let fresh = self.data_dir().join(format!("{file}.fresh"));
        fs::write(&fresh, text).expect("a writable data directory");
        let (uid, gid) = unprivileged_ids();
        chown(&fresh, Some(uid), Some(gid)).expect("own file");
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).expect("own file");
        common::file::rename(&fresh, &path).expect("own file");
    }

    /// A command for one of the server's programs, to be run as the unprivileged user, with an environment
    /// that names this cluster.
    pub fn command(&self, program: &str) -> Command {
        self.environment(Command::new(self.programs.path(program)))
    }

    /// A client program of the real PostgreSQL (psql, pgbench, pg_isready), aimed at this cluster's Unix
    /// socket. `None` if it is not installed.
    pub fn client(&self, program: &str) -> Option<Command> {
        let path = crate::real_postgres()?.path(program);
        Some(self.environment(Command::new(path)))
    }

    /// Makes a command one of the unprivileged user, with an environment that names this cluster.
    pub fn environment(&self, mut command: Command) -> Command {
        unprivileged(&mut command);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("HOME", self.folder.path())
            .env("PGHOST", self.socket_dir())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, command: &mut Command) -> Output {
        process::run(command)
    }

    /// Runs psql on a script. Panics if psql is not installed: callers [`crate::skip!`] before.
    #[track_caller]
    pub fn psql(&self, script: &str) -> Output {
        let mut psql = self.client("psql").expect("psql is installed");
        process::run_with_input(psql.args(["-X", "-q", "-A", "-t"]), script.as_bytes())
    }

    /// A connection over TCP as the superuser.
    ///
    /// # Errors
    /// What the server answers.
    pub fn try_connect(&self) -> Result<postgres::Client, postgres::Error> {
        self.client_config().connect(postgres::NoTls)
    }

    /// As [`Cluster::try_connect`], for clusters that must accept.
    #[track_caller]
    pub fn connect(&self) -> postgres::Client {
        self.try_connect().unwrap_or_else(|e| panic!("connecting: {e:?}\n{}", self.log()))
    }

    /// What a connection over TCP needs to know.
    pub fn client_config(&self) -> postgres::Config {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname("postgres");
        config
    }

    /// Starts the postmaster as a child of the test, and waits until it is ready.
    #[track_caller]
    pub fn start(&self) {
        self.spawn_postmaster(&[]);
        self.wait_until_ready();
    }

    /// Starts the postmaster without waiting.
    #[track_caller]
    pub fn spawn_postmaster(&self, args: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log file");
        // pg_ctl, run by the server's user, may want to write on.
        let (uid, gid) = unprivileged_ids();
        chown(self.log_path(), Some(uid), Some(gid)).expect("own file");
        let stdout = log.try_clone().expect("another handle");
        self.spawn_postmaster_to(args, stdout.into(), log.into());
    }

    /// As [`Cluster::spawn_postmaster`], with other outputs.
    #[track_caller]
    pub fn spawn_postmaster_to(&self, args: &[&str], stdout: Stdio, stderr: Stdio) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data_dir()).args(args).stdout(stdout).stderr(stderr);
        *self.postmaster.borrow_mut() = Some(process::spawn(&mut command));
    }

    /// Waits until line 8 of postmaster.pid says ready, for the postmaster that was started last.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_until("the server is ready", || {
            let ended = self.postmaster.borrow().as_ref().and_then(Process::try_wait);
            assert!(ended.is_none(), "the postmaster ended with {ended:?}\n{}", self.log());
            // One look at the file: between two it may become another postmaster's.
            let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
            let mut lines = text.lines();
            let pid = lines.next().and_then(|line| line.parse().ok());
            pid == Some(self.postmaster_pid()) && lines.nth(6) == Some("ready   ")
        });
    }

    /// A line of postmaster.pid, counted from 1.
    pub fn pid_file_line(&self, number: usize) -> Option<String> {
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?;
        text.lines().nth(number - 1).map(str::to_owned)
    }

    fn pid_file_pid(&self) -> i32 {
        self.pid_file_line(1).and_then(|line| line.parse().ok()).unwrap_or(0)
    }

    /// The postmaster's pid; 0 if none was started.
    pub fn postmaster_pid(&self) -> i32 {
        self.postmaster.borrow().as_ref().map_or(0, Process::pid)
    }

    /// Sends the postmaster a signal.
    pub fn signal_postmaster(&self, signal: Signal) {
        if let Some(postmaster) = self.postmaster.borrow().as_ref() {
            postmaster.signal(signal);
        }
    }

    /// Waits until the postmaster has ended and returns how.
    #[track_caller]
    pub fn wait_for_end(&self) -> ExitStatus {
        let postmaster = self.postmaster.borrow();
        postmaster.as_ref().expect("a postmaster was started").wait()
    }

    /// Stops the postmaster and returns how it ended.
    #[track_caller]
    pub fn stop(&self, how: Stop) -> ExitStatus {
        self.signal_postmaster(how.signal());
        self.wait_for_end()
    }

    /// Runs pg_ctl on this cluster.
    #[track_caller]
    pub fn pg_ctl(&self, args: &[&str]) -> Output {
        let output = process::run(self.command("pg_ctl").arg("-D").arg(self.data_dir()).args(args));
        if self.pid_file_pid() > 0 && self.pid_file_pid() != self.postmaster_pid() {
            self.adopt_postmaster();
        }
        output
    }

    /// Takes the process that postmaster.pid names for this cluster's postmaster, whoever started it.
    #[track_caller]
    pub fn adopt_postmaster(&self) {
        // Signals to process 0 would go to the test itself.
        assert!(self.pid_file_pid() > 0, "there is no postmaster\n{}", self.log());
        *self.postmaster.borrow_mut() = Some(Process::adopt(self.pid_file_pid()));
    }

    /// Runs the server to its end, for starts that must fail, and returns what it wrote.
    #[track_caller]
    pub fn run_postmaster(&self, args: &[&str]) -> Output {
        process::run(self.command("postgres").arg("-D").arg(self.data_dir()).args(args))
    }

    /// The titles of the postmaster's children except client sessions, in the order of their birth.
    pub fn roster(&self) -> Vec<String> {
        let postmaster = self.postmaster_pid();
        let children = self.processes().into_iter().filter(|process| process.ppid == postmaster);
        let titles = children.filter_map(|child| child.title.strip_prefix("postgres: ").map(str::to_owned));
        titles.filter(|title| !title.contains(" [local]") && !title.contains("127.0.0.1")).collect()
    }

    /// The title of a process; empty once it is gone.
    pub fn title(&self, pid: i32) -> String {
        let found = self.processes().into_iter().find(|process| process.pid == pid);
        found.map(|process| process.title).unwrap_or_default()
    }

    /// Waits until the title of a process ends like this: `idle`, `SELECT`.
    #[track_caller]
    pub fn wait_for_activity(&self, pid: i32, activity: &str) {
        wait_until(&format!("process {pid} does {activity}"), || self.title(pid).ends_with(activity));
    }

    /// Waits until a process sleeps: a session that has sent its answer may still be about to. What hits
    /// PostgreSQL in that moment keeps it from sending anything else.
    #[track_caller]
    pub fn wait_until_asleep(&self, pid: i32) {
        wait_until(&format!("process {pid} sleeps"), || {
            procfs::state_and_parent(pid).is_none_or(|(state, _)| state == 'S')
        });
    }

    /// All living processes of the cluster.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        procfs::processes_in(&self.data_dir())
    }

    /// The pid of the process whose title begins like this, once there is one.
    #[track_caller]
    pub fn wait_for_process(&self, title: &str) -> i32 {
        wait_for(&format!("there is a process \"{title}\""), || self.find_process(title))
    }

    /// The pid of the process whose title begins like this.
    pub fn find_process(&self, title: &str) -> Option<i32> {
        self.processes()
            .into_iter()
            .find(|process| process.title.starts_with(title))
            .map(|process| process.pid)
    }

    /// Sends SIGKILL to a process of this cluster and waits until it is gone.
    #[track_caller]
    pub fn kill(&self, pid: i32) {
        self.signal(pid, Signal::SIGKILL);
        wait_until("the killed process is gone", || !procfs::is_alive(pid));
    }

    /// Sends a signal to a process of this cluster.
    #[track_caller]
    pub fn signal(&self, pid: i32, signal: Signal) {
        assert!(self.processes().iter().any(|p| p.pid == pid), "{pid} is no process of this cluster");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }

    /// The file that the postmaster's standard error goes to.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// All that was logged so far.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Waits until the log holds `text`, and returns the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        wait_for(&format!("the log says \"{text}\""), || Some(self.log()).filter(|log| log.contains(text)))
    }

    /// From here on [`Cluster::wait_for_new_log`] looks only at new lines.
    pub fn mark_log(&self) {
        self.log_seen.set(self.log().len());
    }

    /// What was logged since [`Cluster::mark_log`].
    pub fn new_log(&self) -> String {
        self.log().get(self.log_seen.get()..).unwrap_or_default().to_owned()
    }

    /// As [`Cluster::wait_for_log`], for lines since [`Cluster::mark_log`].
    #[track_caller]
    pub fn wait_for_new_log(&self, text: &str) -> String {
        wait_for(&format!("the log says \"{text}\" again"), || {
            Some(self.new_log()).filter(|log| log.contains(text))
        })
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal_postmaster(Signal::SIGKILL);
        // Not only the postmaster's children: sessions may outlive it, and a test may have started several.
        let gone = || {
            let left = self.processes();
            for process in &left {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            left.is_empty()
        };
        if std::thread::panicking() {
            eprintln!("log of the cluster:\n{}", self.log());
            (0..1000).take_while(|_| !gone()).for_each(|_| crate::pause());
        } else {
            wait_until("all processes of the cluster are gone", gone);
        }
        if let Some(line) = self.pid_file_line(7) {
            remove_segment(&line);
        }
        if !std::thread::panicking() {
            crate::wal_check::check(self);
        }
    }
}

/// Removes the interlock segment of a server that was killed.
fn remove_segment(line: &str) {
    let id = line.split_whitespace().nth(1).and_then(|id| id.parse::<i32>().ok());
    if let Some(id) = id {
        let mut command = Command::new("ipcrm");
        process::run(command.args(["-m", &id.to_string()]));
    }
}

/// A port that nobody listens on right now. Not one of those that the kernel gives to clients' ends of connections:
/// between two starts of a cluster somebody's client would have it.
fn free_port() -> u16 {
    crate::wait_for("there is a free port", || {
        let port = fastrand::u16(10_000..32_768);
        std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    })
}
