//! The postmaster under test and its toy children.
//!
//! A toy obeys signals as the real process does, and does nothing else. Files in the data directory change its
//! mind: `hold_startup` keeps the startup process at work, `fail_startup` makes it fail, `stubborn` makes a
//! backend ignore all that can be ignored, `hold_checkpoint` keeps the checkpointer at its last checkpoint, `panic` breaks what
//! observes a stop. Every toy appends what it sees to the server log on stderr.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use common::BackendType;
use guc::{GucAction, GucContext, GucSource};
use miscinit::child::{CanAccept, ChildStart};
use nix::sys::signal::{SigSet, Signal};
use postmaster::{ChildTable, Hooks, PostmasterConfig, postmaster_main};
use stopreport::{CheckpointPhase, CheckpointSeen, Observation};

use crate::harness::wait_for;

/// Becomes the postmaster that the environment describes.
pub(crate) fn run_postmaster() -> ! {
    let data_dir = std::env::var("TOY_DATA_DIR").unwrap();
    std::env::set_current_dir(&data_dir).unwrap();
    miscinit::globals::set_data_dir(Path::new(&data_dir).to_owned());
    guc::initialize().unwrap();
    for setting in std::env::var("TOY_SETTINGS").unwrap().lines() {
        let (name, value) = setting.split_once('=').unwrap();
        guc::set_option(name, value, GucContext::Postmaster, GucSource::CommandLine, GucAction::Set).unwrap();
    }
    miscinit::config::apply_log_settings();
    let kinds = [
        BackendType::Logger,
        BackendType::Startup,
        BackendType::Checkpointer,
        BackendType::BgWriter,
        BackendType::WalWriter,
        BackendType::AutovacLauncher,
        BackendType::StatsCollector,
        BackendType::Backend,
    ];
    let children = kinds.into_iter().fold(ChildTable::new(), |table, kind| table.with(kind, toy_main));
    let hooks = Hooks {
        crashed_activity: |_| Some("select toy()".into()),
        observe_stop: observe,
        observe_everything: observe,
        set_deadline: |total, mode| say(&format!("{mode} stop within {total:?}")),
        ..Hooks::default()
    };
    postmaster_main(PostmasterConfig::new(children, hooks))
}

/// What shared memory would tell.
fn observe() -> Observation {
    say("observes");
    assert!(!Path::new("panic").exists(), "the observer panics");
    let phase = CheckpointPhase::Writing;
    let checkpoint =
        CheckpointSeen { phase, bytes: 50 << 20, rate: Some((10 << 20) as f64), ..Default::default() };
    Observation { checkpoint, ..Observation::default() }
}

fn toy_main(start: ChildStart) -> ! {
    say(&format!("born {} can_accept={:?}", start.kind.description(), start.can_accept));
    // Whatever goes wrong in a test, no toy outlives its postmaster; the logger does so by design.
    if start.kind != BackendType::Logger {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
        // It may have died before we asked.
        if !shmem::postmaster_alive() {
            leave(1);
        }
    }
    // These two hold nothing in shared memory, or a crash would have to wait for them.
    if matches!(start.kind, BackendType::Logger | BackendType::StatsCollector) {
        shmem::Segment::detach_in_child();
    }
    match start.kind {
        BackendType::Startup if Path::new("fail_startup").exists() => leave(1),
        BackendType::Startup if !Path::new("hold_startup").exists() => leave(0),
        BackendType::Backend => backend(start),
        kind => obey(kind),
    }
}

/// Waits for signals and does what they mean to this kind.
fn obey(kind: BackendType) -> ! {
    // All are blocked since birth, so they wait for us here.
    let all = SigSet::all();
    loop {
        let signal = all.wait().unwrap();
        match (signal, kind) {
            (Signal::SIGHUP, _) => say(&format!("{} reloads", kind.description())),
            (_, BackendType::Logger) => {}
            (Signal::SIGQUIT, BackendType::StatsCollector) => leave(0),
            (Signal::SIGQUIT, _) => leave(2),
            (Signal::SIGTERM, BackendType::Startup | BackendType::Backend) => leave(1),
            (Signal::SIGTERM, BackendType::Checkpointer | BackendType::StatsCollector) => {}
            (Signal::SIGTERM, _) => leave(0),
            (Signal::SIGUSR2, BackendType::Checkpointer) => {
                let held = || Path::new("hold_checkpoint").exists();
                wait_for("the end of the checkpoint", || (!held()).then_some(()));
                leave(0)
            }
            _ => {}
        }
    }
}

/// Greets its client; then ends with the client or by a signal.
fn backend(start: ChildStart) -> ! {
    let client = start.client.unwrap();
    let mut stream = std::net::TcpStream::from(client.fd);
    let pid = std::process::id();
    // One write, and no matter if it fails: the client may be satisfied with less, and have left.
    let (verdict, slot, has_key) = (start.can_accept, start.slot, start.cancel_key != 0);
    let greeting = format!("{verdict:?} {pid} {slot} {has_key} {}\n", start.detail.unwrap_or_default());
    let _ = stream.write_all(greeting.as_bytes());
    if start.can_accept != CanAccept::Ok {
        leave(1);
    }
    if Path::new("stubborn").exists() {
        loop {
            SigSet::all().wait().unwrap();
        }
    }
    // SIGIO by the client's socket makes "the client left" a signal among others.
    let fd = stream.as_raw_fd();
    // SAFETY: plain fcntl calls on a descriptor that lives as long as this process.
    unsafe {
        libc::fcntl(fd, libc::F_SETOWN, libc::getpid());
        libc::fcntl(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK);
    }
    loop {
        // Looked at before each wait: the client may have left before SIGIO was asked for.
        match stream.read(&mut [0; 16]) {
            Ok(0) => leave(0),
            Ok(_) => continue,
            Err(_) => {}
        }
        match SigSet::all().wait().unwrap() {
            Signal::SIGQUIT => leave(2),
            Signal::SIGTERM => leave(1),
            Signal::SIGHUP => say("client backend reloads"),
            _ => {}
        }
    }
}

fn leave(code: i32) -> ! {
    miscinit::exit::exit_now(code)
}

/// One write, so that lines of different toys do not mix.
fn say(what: &str) {
    let _ = std::io::stderr().write_all(format!("TOY {} {what}\n", std::process::id()).as_bytes());
}
