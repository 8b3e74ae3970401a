//! The logger process.
//!
//! It has no part in shared memory and hence no latch. Its two signals are held back except while it waits
//! in `ppoll`, so none can slip in between looking at the notes and falling asleep.
//!
//! C counterpart: `SysLoggerMain`.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use common::BackendType;
use elog::pipe::Destination;
use elog::{PgError, ereport, errno_text};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::signals::{self, Role};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::time::TimeSpec;

use crate::chunks::Reassembler;
use crate::collector::Collector;
use crate::settings::Settings;

/// What a pipe holds at most by default: one read takes all there is.
const READ_LEN: usize = 64 * 1024;

thread_local! {
    static COLLECTOR: RefCell<Option<Collector>> = const { RefCell::new(None) };
}

/// The logger, from fork to exit. [`prepare`](crate::prepare) must have succeeded in the parent.
pub fn syslogger_main(_start: ChildStart) -> ! {
    // It outlives crashes of the others, and may outlive the postmaster: it must hold nothing of either.
    shmem::close_death_watch_write_end();
    shmem::Segment::detach_in_child();
    signals::install(Role::Kind(BackendType::Logger));
    let mut held_back = SigSet::empty();
    held_back.add(Signal::SIGHUP);
    held_back.add(Signal::SIGUSR1);
    let _ = held_back.thread_block();
    miscinit::ps_status::set_fixed(BackendType::Logger.ps_title());
    let Some((pipe, collector)) = crate::start::take_over() else {
        elog::emergency("logger started without a pipe");
        miscinit::exit::proc_exit(1)
    };
    forget_inherited_stderr();
    COLLECTOR.set(Some(collector));
    elog::set_logger_writer(Some(write_own));
    report_all(with_collector(|files| files.write_metainfo().err().into_iter().collect()));
    run(File::from(pipe));
    ereport!(Debug1, "logger shutting down");
    miscinit::exit::proc_exit(0)
}

/// A logger that replaces a dead one was born with the pipe as its stderr: writing there, it would talk to
/// itself, and as long as it holds that end the pipe would never end.
fn forget_inherited_stderr() {
    if !elog::is_redirected() {
        return;
    }
    // If /dev/null is missing, the descriptors must be closed all the same; they are then plain absent.
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null.as_fd());
        let _ = nix::unistd::dup2_stderr(null.as_fd());
    } else {
        let _ = nix::unistd::close(libc::STDOUT_FILENO);
        let _ = nix::unistd::close(libc::STDERR_FILENO);
    }
}

/// Reads and writes until the pipe ends.
fn run(mut pipe: File) {
    let mut reassembler = Reassembler::default();
    let mut buffer = vec![0; READ_LEN];
    loop {
        if interrupt::take(Pending::ConfigReload) {
            reload();
        }
        if interrupt::take(Pending::RotateLog) {
            with_collector(Collector::request_rotation);
        }
        report_all(with_collector(|files| files.rotate_if_due(now())));
        if !wait_for_input(&pipe) {
            continue;
        }
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => with_collector(|files| {
                reassembler.feed(&buffer[..len], &mut |bytes, to| files.write(bytes, to));
                files.flush();
            }),
            Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
            Err(e) => ereport!(Log, "could not read from logger pipe: {}", errno_text(e)),
        }
    }
    with_collector(|files| {
        reassembler.finish(&mut |bytes, to| files.write(bytes, to));
        files.flush();
    });
}

/// Sleeps until there are bytes or the pipe has ended (`true`), or a signal came or a file's time has (`false`).
fn wait_for_input(pipe: &File) -> bool {
    let seconds = with_collector(|files| files.seconds_to_rotation(now()));
    let timeout = seconds.map(|seconds| TimeSpec::from(Duration::from_secs(seconds)));
    let mut let_in = SigSet::empty();
    let_in.add(Signal::SIGURG);
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    match ppoll(&mut fds, timeout, Some(let_in)) {
        Ok(ready) => ready > 0,
        Err(Errno::EINTR) => false,
        // Then let read wait: signals are noticed late, but no line is lost.
        Err(_) => true,
    }
}

fn reload() {
    if let Err(e) = miscinit::config::reload() {
        e.with_severity(elog::Severity::Log).report();
    }
    report_all(with_collector(|files| files.configure(Settings::read(), now())));
}

fn now() -> i64 {
    elog::Timestamp::now().seconds
}

/// The logger's own reports go straight to its files.
fn write_own(bytes: &[u8], to: Destination) {
    COLLECTOR.with(|files| {
        if let Ok(mut files) = files.try_borrow_mut()
            && let Some(files) = files.as_mut()
        {
            files.write(bytes, to);
            files.flush();
        }
    });
}

/// Reports nothing while it holds the files: that is why everything here returns its reports.
fn with_collector<T: Default>(work: impl FnOnce(&mut Collector) -> T) -> T {
    COLLECTOR.with_borrow_mut(|files| files.as_mut().map_or_else(T::default, work))
}

fn report_all(reports: Vec<PgError>) {
    reports.iter().for_each(PgError::report);
}
