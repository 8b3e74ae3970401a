//! Runs the scenarios one by one, and gives them a cluster to play with.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A scenario and its name.
pub(crate) type Scenario = (&'static str, fn());

/// Understands what `cargo test` passes on: names to pick by, `--list`, and options, which it ignores.
pub(crate) fn main(scenarios: &[Scenario]) -> ExitCode {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|arg| !arg.starts_with('-')).collect();
    let exact = arguments.iter().any(|arg| arg == "--exact");
    let wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|f| if exact { name == *f } else { name.contains(f.as_str()) })
    };
    let mut failed = 0;
    for (name, scenario) in scenarios.iter().filter(|(name, _)| wanted(name)) {
        if arguments.iter().any(|arg| arg == "--list") {
            println!("{name}: test");
            continue;
        }
        let passed = std::panic::catch_unwind(scenario).is_ok();
        failed += u8::from(!passed);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    }
    ExitCode::from(failed.min(1))
}

/// A directory and the postmaster in it.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    settings: Vec<String>,
    postmaster: Option<Child>,
}

/// A line that a toy backend greeted us with, and the connection, which keeps it alive.
pub(crate) struct Session {
    pub(crate) verdict: String,
    pub(crate) pid: i32,
    pub(crate) slot: i32,
    pub(crate) has_cancel_key: bool,
    /// DETAIL of the refusal, empty for none.
    pub(crate) detail: String,
    pub(crate) stream: BufReader<UnixStream>,
}

impl Cluster {
    /// A cluster that has not been started.
    pub(crate) fn new(settings: &[&str]) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let sockets = directory.path().display();
        let mut all = vec![
            "port=5432".into(),
            "listen_addresses=".into(),
            format!("unix_socket_directories={sockets}"),
        ];
        all.extend(settings.iter().map(|s| s.to_string()));
        Cluster { directory, settings: all, postmaster: None }
    }

    /// A running one, ready for connections.
    pub(crate) fn started(settings: &[&str]) -> Cluster {
        let mut cluster = Cluster::new(settings);
        cluster.start();
        cluster.wait_for_status("ready   ");
        cluster
    }

    pub(crate) fn start(&mut self) {
        assert!(self.postmaster.is_none(), "it runs already");
        self.postmaster = Some(self.spawn());
    }

    /// Starts a postmaster without keeping track of it.
    pub(crate) fn spawn(&self) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        Command::new(std::env::current_exe().unwrap())
            .env("TOY_DATA_DIR", self.directory.path())
            .env("TOY_SETTINGS", self.settings.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path(".s.PGSQL.5432")
    }

    pub(crate) fn pid(&self) -> i32 {
        self.postmaster.as_ref().unwrap().id() as i32
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the postmaster's end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut postmaster = self.postmaster.take().unwrap();
        let status: ExitStatus = wait_for("the postmaster's end", || postmaster.try_wait().unwrap());
        status.code()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What the server (not its toys) logged, without prefix; DETAIL and HINT lines included.
    pub(crate) fn server_log(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| !line.starts_with("TOY "));
        let message = |line: &str| {
            let start = ["LOG:  ", "FATAL:  ", "WARNING:  ", "DETAIL:  ", "HINT:  "]
                .iter()
                .find_map(|w| line.find(w));
            start.map_or(line.to_string(), |at| line[at..].to_string())
        };
        lines.map(message).collect()
    }

    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(&format!("\"{text}\" in the log:\n{}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    /// Line of postmaster.pid, counted from 1.
    pub(crate) fn pid_file_line(&self, number: usize) -> Option<String> {
        let content = fs::read_to_string(self.path("postmaster.pid")).ok()?;
        content.lines().nth(number - 1).map(str::to_owned)
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self, status: &str) {
        let what = format!("status \"{status}\"; log:\n{}", self.log());
        wait_for(&what, || (self.pid_file_line(8).as_deref() == Some(status)).then_some(()));
    }

    /// Pid of the toy of that kind in the present generation; it may take its time to be born.
    #[track_caller]
    pub(crate) fn toy(&self, kind: &str) -> i32 {
        let born = format!(" born {kind} ");
        wait_for(&format!("{kind}:\n{}", self.log()), || {
            let log = self.log();
            let births: Vec<&str> = log.lines().filter(|line| line.contains(&born)).collect();
            let expected = if kind == "logger" { 1 } else { self.generation().max(1) };
            let last = births.last().filter(|_| births.len() >= expected)?;
            last.split(' ').nth(1)?.parse().ok()
        })
    }

    /// How often the cluster has become ready.
    pub(crate) fn generation(&self) -> usize {
        self.log().matches("database system is ready to accept connections").count()
    }

    #[track_caller]
    pub(crate) fn wait_for_generation(&self, number: usize) {
        let what = format!("generation {number}; log:\n{}", self.log());
        wait_for(&what, || (self.generation() >= number).then_some(()));
    }

    /// Waits until nobody of a killed postmaster's family is left.
    #[track_caller]
    pub(crate) fn wait_for_end_of_toys(&self) {
        wait_for("the last toy's end", || self.processes().is_empty().then_some(()));
    }

    pub(crate) fn births(&self, kind: &str) -> usize {
        self.log().matches(&format!(" born {kind} ")).count()
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Session {
        let stream = UnixStream::connect(self.socket()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).unwrap();
        let mut words = greeting.splitn(5, ' ').map(str::trim_end);
        let mut word = || words.next().unwrap_or_else(|| panic!("greeting {greeting:?}")).to_string();
        Session {
            verdict: word(),
            pid: word().parse().unwrap(),
            slot: word().parse().unwrap(),
            has_cancel_key: word() == "true",
            detail: word(),
            stream,
        }
    }

    /// All living processes that were born in this cluster.
    fn processes(&self) -> Vec<i32> {
        reap_orphans();
        let needle = self.directory.path().as_os_str().as_encoded_bytes();
        let ours = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.windows(needle.len()).any(|window| window == needle)
        };
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(ours).collect()
    }

    /// Nothing of a stopped cluster may be left: no process, no file, no shared memory.
    #[track_caller]
    pub(crate) fn check_nothing_left(&self) {
        let own = ["postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"];
        for file in own.into_iter().chain(stopreport::files::ALL) {
            assert!(!self.path(file).exists(), "{file} is left");
        }
        self.wait_for_end_of_toys();
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let key =
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(self.directory.path()).unwrap()).to_string();
        let left = segments.lines().any(|line| line.split_whitespace().next() == Some(&key));
        assert!(!left, "shared memory is left");
    }
}

impl Drop for Cluster {
    /// Whatever became of the scenario, no process is left: not even a toy logger, which by design outlives all.
    fn drop(&mut self) {
        if let Some(mut postmaster) = self.postmaster.take() {
            if std::thread::panicking() {
                eprintln!("{}", self.log());
            }
            send(postmaster.id() as i32, Signal::SIGQUIT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while postmaster.try_wait().unwrap().is_none() {
                if Instant::now() > deadline {
                    let _ = postmaster.kill();
                }
                std::thread::yield_now();
            }
        }
        wait_for("the last toy's end", || {
            let left = self.processes();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Toys whose postmaster died are ours now.
fn reap_orphans() {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
}

/// Asks again and again, for as long as a loaded machine may need.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A TCP port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
