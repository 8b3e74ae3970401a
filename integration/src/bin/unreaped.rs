//! Runs a command below a process that adopts orphans and never reaps them, like a bad init: whatever ends there
//! stays a zombie. Ends, and lets the zombies go, when its standard input is closed.

use std::io::Read;
use std::process::Command;

fn main() {
    nix::sys::prctl::set_child_subreaper(true).expect("Linux has subreapers");
    let mut args = std::env::args_os().skip(1);
    let program = args.next().expect("a command");
    #[allow(clippy::zombie_processes, reason = "that is its purpose")]
    let _child =
        Command::new(program).args(args).stdin(std::process::Stdio::null()).spawn().expect("it starts");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
