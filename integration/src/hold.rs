//! A cluster that is held while it starts: its startup process has begun and cannot go on.
//!
//! The log is a pipe with exactly enough room for what the postmaster says before it forks; the startup
//! process blocks in its first line, and is stopped there before the pipe is emptied.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::process::{self, Process};
use crate::{Cluster, Stop, procfs, wait_until};

/// The smallest a pipe can be.
const PIPE_BYTES: usize = 4096;

/// What comes after the lines of the postmaster alone.
const FIRST_LINE_OF_STARTUP: &str = "LOG:  database system was";

/// A startup process that is stopped in its first line.
#[derive(Debug)]
pub struct HeldStartup {
    /// Its pid. SIGCONT lets it go on.
    pub pid: i32,
    /// Copies the pipe to the log.
    copier: Process,
}

impl HeldStartup {
    /// Waits until all that was logged is in the log, for servers that have ended.
    #[track_caller]
    pub fn finish_log(&self) {
        self.copier.wait();
    }
}

impl Cluster {
    /// Starts the server and stops its startup process. The cluster must have run once, with
    /// `log_line_prefix = ''`, so that the length of its first lines is known.
    #[track_caller]
    pub fn start_held(&self) -> HeldStartup {
        let log = self.log();
        let length = log.find(FIRST_LINE_OF_STARTUP).expect("a first run without log_line_prefix");
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32)).expect("a small pipe");
        assert_eq!(size as usize, PIPE_BYTES, "pages are larger here");
        writer.write_all(&vec![b'\n'; PIPE_BYTES - length]).expect("room for it");
        self.spawn_postmaster_to(&[], writer.try_clone().expect("another handle").into(), writer.into());
        let pid = self.wait_for_process("postgres: startup");
        wait_until("startup waits for the log", || {
            ["pipe", "0"].iter().any(|w| wait_channel(pid).contains(w))
        });
        self.signal(pid, Signal::SIGSTOP);
        wait_until("startup is stopped", || procfs::state_and_parent(pid).is_some_and(|(s, _)| s == 'T'));
        let log: File = OpenOptions::new().append(true).open(self.log_path()).expect("the log");
        let copier = process::spawn(Command::new("cat").stdin(reader).stdout(log));
        HeldStartup { pid, copier }
    }

    /// Prepares [`Cluster::start_held`]: a run that ends without a shutdown checkpoint.
    #[track_caller]
    pub fn run_once_and_crash(&self) {
        self.append_config("log_line_prefix = ''");
        self.start();
        self.wait_for_log("ready to accept connections");
        self.stop(Stop::Immediate);
    }
}

/// What a process waits for in the kernel; `0` where the kernel does not tell.
fn wait_channel(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default()
}
