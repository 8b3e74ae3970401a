//! The file by which a server learns how long its stop may take.
//!
//! Made before the signal, so that the server finds it when it gets that; the server takes it away. If it does not
//! within five seconds it is one that knows no deadlines, such as PostgreSQL's own, and the file is taken back: so it
//! is either obeyed or gone, and never met by a server that is started later.
//!
//! Called by: `stop`. C counterpart: none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::file::{os_error_text, rename};
use stopreport::files;

use crate::options::Options;
use crate::report::{Failure, Outcome, complain};

/// How long a server may take to react to a signal.
pub(crate) const REACTION_MAX: Duration = Duration::from_secs(5);

/// The file, from its making until it is known what became of it. Dropped before that, it is taken back.
#[derive(Debug)]
pub(crate) struct Deadline {
    path: PathBuf,
    is_pending: bool,
}

impl Deadline {
    /// Makes the file, if a deadline was given.
    pub(crate) fn place(options: &Options) -> Outcome<Option<Deadline>> {
        let Some(duration) = options.deadline else { return Ok(None) };
        let path = options.data_dir.join(files::DEADLINE);
        write_whole(&options.data_dir, &path, &format!("{}\n", duration.as_secs_f64())).map_err(|error| {
            Failure::new(format!("could not write deadline file \"{}\": {error}", path.display()))
        })?;
        Ok(Some(Deadline { path, is_pending: true }))
    }

    /// Has the server taken it?
    pub(crate) fn is_settled(&mut self) -> bool {
        if self.is_pending && !self.path.exists() {
            self.is_pending = false;
        }
        !self.is_pending
    }

    /// To be called again and again while the server stops: warns if it will not obey.
    pub(crate) fn look(&mut self, elapsed: Duration) {
        if !self.is_settled() && elapsed >= REACTION_MAX {
            self.give_up();
        }
    }

    /// Takes the file back and says so, if the server has not taken it.
    pub(crate) fn give_up(&mut self) {
        if self.withdraw() {
            complain("pg_ctl: warning: server does not support --deadline, the stop has no bound");
        }
    }

    /// Says whether it was still there: who removes it has it.
    fn withdraw(&mut self) -> bool {
        std::mem::take(&mut self.is_pending) && std::fs::remove_file(&self.path).is_ok()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Under another name first, as somebody else's stop may make the server look at any moment. A name of this process alone,
/// as two of us may be at it; one that a base backup leaves out.
fn write_whole(dir: &Path, path: &Path, content: &str) -> Result<(), String> {
    let fresh = dir.join(format!("pgsql_tmp.deadline.{}", std::process::id()));
    let written = std::fs::write(&fresh, content)
        .map_err(|error| os_error_text(&error))
        .and_then(|()| rename(&fresh, path).map_err(|error| os_error_text(&error.source)));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}
