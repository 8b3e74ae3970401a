//! The settings that the logger obeys, read in one go so that all decisions see the same ones.

use elog::config::LogDestination;
use elog::pipe::Destination;
use guc::vars;
use jiff::tz::TimeZone;

/// One reading of the settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) directory: String,
    pub(crate) filename: String,
    pub(crate) rotation_age_minutes: i32,
    pub(crate) rotation_size_kb: i32,
    pub(crate) truncate_on_rotation: bool,
    pub(crate) file_mode: u32,
    pub(crate) destination: LogDestination,
    pub(crate) timezone: TimeZone,
}

impl Settings {
    /// Reads them all.
    pub(crate) fn read() -> Settings {
        Settings {
            directory: vars::LOG_DIRECTORY.with(str::to_owned),
            filename: vars::LOG_FILENAME.with(str::to_owned),
            rotation_age_minutes: vars::LOG_ROTATION_AGE.get(),
            rotation_size_kb: vars::LOG_ROTATION_SIZE.get(),
            truncate_on_rotation: vars::LOG_TRUNCATE_ON_ROTATION.get(),
            file_mode: vars::LOG_FILE_MODE.get().unsigned_abs(),
            destination: vars::LOG_DESTINATION.with(LogDestination::parse).unwrap_or(LogDestination::STDERR),
            timezone: vars::LOG_TIMEZONE.with(elog::timezone).unwrap_or(TimeZone::UTC),
        }
    }

    /// Whether a destination has a file. The plain one always does: it takes what has nowhere else to go.
    pub(crate) fn wants_file(&self, to: Destination) -> bool {
        match to {
            Destination::Stderr => true,
            Destination::Csvlog => self.destination.csvlog,
            Destination::Jsonlog => self.destination.jsonlog,
        }
    }

    /// Whether a destination is in use, and so named in `current_logfiles`.
    pub(crate) fn is_used(&self, to: Destination) -> bool {
        match to {
            Destination::Stderr => self.destination.stderr,
            other => self.wants_file(other),
        }
    }

    /// The path of the file that begins at that second.
    pub(crate) fn path_at(&self, unix_seconds: i64, to: Destination) -> String {
        crate::naming::path_at(&self.directory, &self.filename, unix_seconds, &self.timezone, to)
    }
}
