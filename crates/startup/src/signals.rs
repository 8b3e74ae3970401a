//! What the operator asks for: signal files, and the settings that go with them.
//!
//! `recovery.signal` asks for archive recovery up to a target, `standby.signal` for one that waits for more. Without either,
//! recovery is that after a crash, and none of the settings here counts.
//!
//! C counterpart: `readRecoverySignalFile`, `validateRecoveryParameters` of xlogrecovery.c.

use std::path::Path;

use common::{BackendType, SqlState, TimeLineId};
use elog::{Result, ereport, fatal, pg_error};
use miscinit::globals;
use wal::timeline;

use crate::state;
use crate::target::{Action, Target};

/// C: `STANDBY_SIGNAL_FILE`.
pub(crate) const STANDBY_SIGNAL: &str = "standby.signal";
/// C: `RECOVERY_SIGNAL_FILE`.
pub(crate) const RECOVERY_SIGNAL: &str = "recovery.signal";
/// Before version 12, the settings. C: `RECOVERY_COMMAND_FILE`.
const RECOVERY_CONF: &str = "recovery.conf";

/// Which recovery the files ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// `standby.signal`; the other is not even looked for then.
    pub(crate) standby: bool,
    /// `recovery.signal`.
    pub(crate) recovery: bool,
}

impl Signals {
    /// C: `ArchiveRecoveryRequested`.
    pub(crate) fn archive(self) -> bool {
        self.standby || self.recovery
    }

    /// Tells the other parts.
    fn announce(self) {
        state::with(|state| {
            state.archive_requested.set(self.archive());
            state.standby_requested.set(self.standby);
        });
        wal::restore::set_archive_recovery(self.archive());
    }

    /// The recovery that was asked for was over at the last start already, but for the removal of the files: as if there were
    /// none.
    ///
    /// # Errors
    /// As [`Signals::remove`].
    pub(crate) fn forget(self) -> Result<Signals> {
        ereport!(Log, "ignoring file \"{RECOVERY_SIGNAL}\" because its recovery has been completed");
        self.remove()?;
        let none = Signals::default();
        none.announce();
        Ok(none)
    }

    /// Recovery is over: the next start must not begin it again. C: in `StartupXLOG`.
    ///
    /// # Errors
    /// FATAL if one cannot be removed.
    pub(crate) fn remove(self) -> Result<()> {
        for (there, name) in [(self.standby, STANDBY_SIGNAL), (self.recovery, RECOVERY_SIGNAL)] {
            if there {
                file::durable_unlink(Path::new(name))
                    .map_err(|error| error.with_severity(elog::Severity::Fatal))?;
            }
        }
        Ok(())
    }
}

/// Looks for the files, and makes sure that they outlive a crash of the machine. C: `readRecoverySignalFile`.
///
/// # Errors
/// FATAL if there is a `recovery.conf`, which nobody would read.
pub(crate) fn read(data_dir: &Path) -> Result<Signals> {
    if data_dir.join(RECOVERY_CONF).exists() {
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "using recovery command file \"{RECOVERY_CONF}\" is not supported"
        ));
    }
    let _ = std::fs::remove_file(data_dir.join("recovery.done"));
    let mut signals = Signals::default();
    let present = |name: &str| {
        let found = std::fs::File::open(data_dir.join(name));
        let found = found.inspect(|file| drop(file.sync_all()));
        found.is_ok() || data_dir.join(name).exists()
    };
    signals.standby = present(STANDBY_SIGNAL);
    signals.recovery = !signals.standby && present(RECOVERY_SIGNAL);
    if signals.standby && globals::backend_type() == BackendType::StandaloneBackend {
        return Err(fatal!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "standby mode is not supported by single-user servers"
        ));
    }
    signals.announce();
    Ok(signals)
}

/// What the settings say about the end of recovery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    /// Where to stop. C: `recoveryTarget`.
    pub(crate) target: Target,
    /// Stop behind it rather than before it. C: `recoveryTargetInclusive`.
    pub(crate) inclusive: bool,
    /// What to do then. C: `recoveryTargetAction`.
    pub(crate) action: Action,
    /// Follow new timelines as they appear. C: `RECOVERY_TARGET_TIMELINE_LATEST`.
    pub(crate) latest_timeline: bool,
}

impl Wish {
    /// After a crash: to the end of WAL.
    pub(crate) const CRASH: Wish =
        Wish { target: Target::None, inclusive: true, action: Action::Promote, latest_timeline: false };

    /// From the settings; checks them, and settles which timeline is recovered to, beginning with the one that pg_control
    /// knows of. C: `validateRecoveryParameters`.
    ///
    /// # Errors
    /// FATAL if they contradict each other, or ask for a timeline that does not exist.
    pub(crate) fn read(signals: Signals, known: TimeLineId) -> Result<Wish> {
        state::with(|state| state.target_timeline.set(known));
        if !signals.archive() {
            return Ok(Wish::CRASH);
        }
        check_sources(signals)?;
        let target = Target::of_settings()?;
        let action =
            Action::of_setting(guc::vars::RECOVERY_TARGET_ACTION.get(), guc::vars::HOT_STANDBY.get());
        let inclusive = guc::vars::RECOVERY_TARGET_INCLUSIVE.get();
        let setting = guc::vars::RECOVERY_TARGET_TIMELINE.get();
        let timeline = target_timeline(&setting, known)?;
        state::with(|state| state.target_timeline.set(timeline));
        Ok(Wish { target, inclusive, action, latest_timeline: &*setting == "latest" })
    }
}

/// Without a place to get WAL from, recovery would end before it begins.
fn check_sources(signals: Signals) -> Result<()> {
    let no_command = guc::vars::RESTORE_COMMAND.get().is_empty();
    let no_primary = guc::vars::PRIMARY_CONNINFO.get().is_empty();
    if !signals.standby {
        if no_command {
            return Err(fatal!(
                SqlState::INVALID_PARAMETER_VALUE,
                "must specify restore_command when standby mode is not enabled"
            ));
        }
        return Ok(());
    }
    if no_command && no_primary {
        pg_error!(Warning, SqlState::WARNING, "specified neither primary_conninfo nor restore_command")
            .hint(
                "The database server will regularly poll the pg_wal subdirectory to check for files placed \
             there.",
            )
            .report();
    }
    Ok(())
}

/// `recovery_target_timeline` as a number.
fn target_timeline(setting: &str, known: TimeLineId) -> Result<TimeLineId> {
    match setting {
        "latest" => timeline::find_newest(known),
        "current" | "" => Ok(known),
        number => {
            let wanted = TimeLineId(number.parse().unwrap_or(0));
            // The first has no history file.
            if wanted != TimeLineId(1) && !timeline::exists(wanted)? {
                let text = format!("recovery target timeline {} does not exist", wanted.0);
                return Err(fatal!(SqlState::INTERNAL_ERROR, "{text}"));
            }
            Ok(wanted)
        }
    }
}

/// Says what has begun. C: the end of `InitWalRecovery`'s first part.
pub(crate) fn log_begin(signals: Signals, target: &Target) {
    if signals.standby {
        ereport!(Log, "entering standby mode");
    } else if signals.recovery {
        match target.description() {
            Some(what) => ereport!(Log, "starting point-in-time recovery to {what}"),
            None => ereport!(Log, "starting archive recovery"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standby_counts_more_than_recovery() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Signals::default());
        std::fs::write(dir.path().join(RECOVERY_SIGNAL), "").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Signals { standby: false, recovery: true });
        std::fs::write(dir.path().join(STANDBY_SIGNAL), "").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Signals { standby: true, recovery: false });
        assert!(state::archive_requested());
        std::fs::write(dir.path().join(RECOVERY_CONF), "").unwrap();
        assert!(read(dir.path()).is_err());
    }

    #[test]
    fn timelines_by_name_and_number() {
        let dir = tempfile::tempdir().unwrap();
        wal::segment::set_wal_dir(Some(dir.path()));
        std::fs::write(dir.path().join("00000002.history"), "1\t0/5000000\twhy\n").unwrap();
        let one = TimeLineId(1);
        for (setting, expected) in [("current", 1), ("latest", 2), ("1", 1), ("2", 2)] {
            assert_eq!(target_timeline(setting, one).unwrap(), TimeLineId(expected), "{setting}");
        }
        let error = target_timeline("7", one).unwrap_err();
        assert_eq!(error.message, "recovery target timeline 7 does not exist");
    }
}
