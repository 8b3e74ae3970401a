//! Many lives of a cluster, each with a sudden death in it, and at the end nothing is left of them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use integration::{Cluster, Stop, Wire, process, procfs, wait_for, wait_until};
use nix::sys::signal::Signal;

/// Cycles of both tests together, unless `PGANATOMY_LEAK_CYCLES` says otherwise.
const CYCLES: usize = 500;

fn cycles() -> usize {
    let given = std::env::var("PGANATOMY_LEAK_CYCLES").ok().and_then(|number| number.parse().ok());
    given.unwrap_or(CYCLES) / 2
}

/// Sessions that come and go, some of them by being cancelled.
struct Load {
    random: fastrand::Rng,
    sessions: Vec<Wire>,
}

impl Load {
    fn run(cluster: &Cluster, random: &mut fastrand::Rng) -> Load {
        let mut load = Load { random: random.fork(), sessions: Vec::new() };
        for _ in 0..load.random.usize(2..6) {
            let mut session = Wire::connect(cluster);
            match load.random.u8(..5) {
                0 => session.quit(),
                // Gone without a word.
                1 => drop(session),
                2 => {
                    session.begin("select pg_sleep(1000)");
                    cluster.wait_for_activity(session.pid, " SELECT");
                    session.cancel(cluster);
                    let cancelled = "ERROR:  57014: canceling statement due to user request";
                    assert_eq!(session.answer(), [cancelled]);
                    load.sessions.push(session);
                }
                3 => {
                    session.query("begin");
                    load.sessions.push(session);
                }
                _ => {
                    session.begin("select pg_sleep(1000)");
                    load.sessions.push(session);
                }
            }
        }
        load
    }
}

/// What a cluster may hold when no session is there.
struct Account {
    cluster: Cluster,
    postmasters: Vec<i32>,
    postmaster_files: Option<usize>,
    inode: u64,
    /// Semaphores and shared memory files of the server's user before anything was started.
    others: Vec<String>,
}

/// System V semaphores and files in /dev/shm that belong to the server's user. This server uses neither; the
/// real one, run by other tests at the same time, has files with its name; some of those have whole clusters there.
fn semaphores_and_files() -> Vec<String> {
    let (uid, _) = process::unprivileged_ids();
    let semaphores = fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    let own = |line: &&str| line.split_whitespace().nth(4) == Some(uid.to_string().as_str());
    let mut found: Vec<String> = semaphores.lines().filter(own).map(str::to_owned).collect();
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of_ours = entry.metadata().is_ok_and(|data| data.uid() == uid);
        if of_ours && !["PostgreSQL.", "pganatomy-"].iter().any(|others| name.starts_with(others)) {
            found.push(name);
        }
    }
    found.sort();
    found
}

impl Account {
    fn of(cluster: Cluster) -> Account {
        let inode = fs::metadata(cluster.data_dir()).expect("a data directory").ino();
        Account {
            cluster,
            postmasters: Vec::new(),
            postmaster_files: None,
            inode,
            others: semaphores_and_files(),
        }
    }

    fn start(&mut self) {
        self.cluster.start();
        self.postmasters.push(self.cluster.postmaster_pid());
        self.check_postmaster();
    }

    /// With no session, the postmaster has no more files open than it ever had. It may be caught with
    /// postmaster.pid open, so the least that was seen counts, and more is given time.
    fn check_postmaster(&mut self) {
        let pid = self.cluster.postmaster_pid();
        let least = self.postmaster_files.unwrap_or(usize::MAX);
        wait_until(&format!("the postmaster has {least} files open again"), || {
            procfs::open_files(pid) <= least
        });
        self.postmaster_files = Some(least.min(procfs::open_files(pid)));
    }

    /// Segments that any of the postmasters made, and that are still there.
    fn segments(&self) -> Vec<procfs::SysvSegment> {
        let mut segments = procfs::sysv_segments();
        segments.retain(|s| s.key.abs_diff(self.inode) < 8 && self.postmasters.contains(&s.creator_pid));
        segments
    }

    fn check_nothing_is_left(&self) {
        assert_eq!(self.cluster.processes(), []);
        assert_eq!(self.segments(), []);
        assert_eq!(semaphores_and_files(), self.others);
        let mut left: Vec<String> = fs::read_dir(self.cluster.socket_dir())
            .expect("own folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["data", "log"]);
    }
}

/// A session that sleeps does not see that its client has left: it is told.
fn send_sessions_away(cluster: &Cluster) {
    wait_until("no session is left", || {
        let processes = cluster.processes();
        let sessions: Vec<i32> =
            processes.iter().filter(|p| p.title.contains("127.0.0.1")).map(|p| p.pid).collect();
        for pid in &sessions {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGTERM);
        }
        sessions.is_empty()
    });
}

/// Start, load, kill -9 of a random process, recovery, stop.
fn cycle(account: &mut Account, random: &mut fastrand::Rng) {
    account.start();
    let cluster = &account.cluster;
    let load = Load::run(cluster, random);
    let victims = cluster.processes();
    let victim = random.choice(&victims).expect("a postmaster at least").clone();
    // A session of the load may have ended meanwhile: then this cycle is one without a death.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim.pid), Signal::SIGKILL);
    wait_until("the victim is gone", || !procfs::is_alive(victim.pid));
    if victim.pid == cluster.postmaster_pid() {
        drop(load);
        send_sessions_away(cluster);
        wait_until("everyone has left", || cluster.processes().is_empty());
        return;
    }
    drop(load);
    wait_for("it is open again", || Wire::refusal(cluster).is_empty().then_some(()));
    send_sessions_away(cluster);
    if !victim.title.contains("logger") {
        account.check_postmaster();
    }
    let how = random.choice([Stop::Smart, Stop::Fast, Stop::Immediate]).expect("three");
    assert_eq!(account.cluster.stop(how).code(), Some(0), "{how:?} after the death of {victim:?}");
    wait_until("the logger has left too", || account.cluster.processes().is_empty());
    account.check_nothing_is_left();
}

fn run_cycles(config: &[&str]) {
    let seed = fastrand::u64(..);
    println!("seed {seed}, {} cycles", cycles());
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::new();
    config.iter().for_each(|line| cluster.append_config(line));
    let mut account = Account::of(cluster);
    for number in 0..cycles() {
        if number % 50 == 49 {
            // A log of hundreds of lives slows down every look into it.
            let _ = fs::remove_file(account.cluster.log_path());
        }
        cycle(&mut account, &mut random);
    }
    account.start();
    assert_eq!(account.cluster.stop(Stop::Fast).code(), Some(0));
    wait_until("the logger has left too", || account.cluster.processes().is_empty());
    account.check_nothing_is_left();
}

#[test]
fn cycles_with_a_logger() {
    run_cycles(&["logging_collector = on", "log_filename = 'server.log'"]);
}

#[test]
fn cycles_without_a_logger() {
    run_cycles(&[]);
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let cluster = Cluster::started(&[]);
    Wire::connect(&cluster).quit();
    let settled = || cluster.processes().len();
    wait_until("the roster is complete", || cluster.roster().len() == 5 && settled() == 6);
    let postmaster = cluster.postmaster_pid();
    let files = procfs::open_files(postmaster);
    let memory = procfs::anonymous_kb(postmaster);
    for number in 0..1000 {
        match number % 4 {
            0 => drop(Wire::open(&cluster)),
            1 => drop(Wire::connect(&cluster)),
            2 => assert_eq!(Wire::open(&cluster).start_session(&[("user", "nobody")]).len(), 2),
            _ => Wire::connect(&cluster).quit(),
        }
    }
    wait_until("all sessions have ended", || settled() == 6);
    assert_eq!(procfs::open_files(postmaster), files);
    // A leak of a page for each connection would be 4 MB.
    let (before, after) = (memory.unwrap_or(0), procfs::anonymous_kb(postmaster).unwrap_or(0));
    assert!(after < before + 2000, "from {before} kB to {after} kB");
    // Slots too: as many sessions as ever can come.
    let sessions: Vec<Wire> = (0..100).map(|_| Wire::connect(&cluster)).collect();
    assert_eq!(Wire::refusal(&cluster)[0], "FATAL:  53300: sorry, too many clients already");
    drop(sessions);
    cluster.signal_postmaster(Signal::SIGINT);
    assert_eq!(cluster.wait_for_end().code(), Some(0));
}
