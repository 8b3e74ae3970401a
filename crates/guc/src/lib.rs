//! Settings: what they are, what they are set to, and who may change them when.
//!
//! - [`vars`] has one handle per setting: `guc::vars::MAX_CONNECTIONS.get()`. Reading one is an atomic load.
//! - [`set_option`], [`reset`], [`show`] and [`at_xact_begin`] and its siblings are SET, RESET, SHOW and their
//!   ties to transactions.
//! - [`process_config_file`] reads postgresql.conf at start and again at each SIGHUP; [`alter_system_set`] writes
//!   postgresql.auto.conf.
//! - [`rows`] is pg_settings, [`take_reports`] what clients must be told.
//!
//! Everything is process-local and inherited by fork: the postmaster reads its files, a new child has the
//! result at no cost, and a running child reads the files again when the postmaster passes SIGHUP on.
//!
//! C counterpart: src/backend/utils/misc (guc.c, guc-file.l), and the variables of commands/variable.c.

#![forbid(unsafe_code)]

// 1. The cells that everybody reads, and what each setting is.
mod table;
mod var;

// 2. From text to value and back, and what a value must pass.
mod check;
mod encoding;
mod list;
mod standby_names;
mod timezone;
mod units;
mod value;

// 3. Who set it, what outranks what, and what a transaction undoes.
mod name;
mod source;
mod state;
mod xact;

// 4. SET, RESET, SHOW, pg_settings, ParameterStatus.
mod session;
mod show;

// 5. Start-up: command line, environment, files; and files written.
mod alter_system;
mod command_line;
mod file;
pub mod sample;
mod startup;

pub use alter_system::{alter_system_reset, alter_system_reset_all, alter_system_set};
pub use check::set_recovery_time_check;
pub use command_line::{parse_long_option, split_options};
pub use encoding::canonical_encoding;
pub use file::{FileSettingRow, file_settings, process_config_file};
pub use list::{flatten_list, split_directories, split_guc_list, split_identifiers};
pub use session::{
    current_setting, reset, reset_all, set_config, set_dynamic_default, set_internal, set_option,
};
pub use show::{
    Privileges, SettingRow, reported, reports_enabled, rows, rows_for, show, show_all, take_reports,
};
pub use source::{GucAction, GucSource};
pub use standby_names::{StandbyConfig, StandbyMethod, parse_standby_names};
pub use startup::{
    StartupProblem, check_combinations, data_dir, initialize, select_config_files, set_data_dir,
    under_postmaster,
};
pub use state::generation;
pub use table::{Choice, GucContext, Kind, Setting, Unit, all, find, flags};
pub use timezone::{log_timezone, lookup_timezone, session_timezone, timestamptz_text};
pub use value::parse_bool;
pub use var::{BoolVar, EnumVar, IntVar, RealVar, StringVar};
pub use xact::{
    at_sub_abort, at_sub_commit, at_xact_abort, at_xact_begin, at_xact_commit, new_nest_level,
    note_first_query,
};

#[cfg(test)]
mod tests;

/// One handle per setting, named as the setting in upper case: `vars::MAX_CONNECTIONS.get()`.
pub mod vars {
    pub use crate::table::client::*;
    pub use crate::table::compat::*;
    pub use crate::table::connections::*;
    pub use crate::table::developer::*;
    pub use crate::table::logging::*;
    pub use crate::table::preset::*;
    pub use crate::table::query::*;
    pub use crate::table::replication::*;
    pub use crate::table::resources::*;
    pub use crate::table::statistics::*;
    pub use crate::table::wal::*;
}
