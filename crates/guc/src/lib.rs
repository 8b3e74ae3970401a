#![forbid(unsafe_code)]
//! Settings.

mod check;
mod table;
mod var;

pub use table::{Choice, GucContext, Kind, Setting, Unit, all, find, flags};
pub use var::{BoolVar, EnumVar, IntVar, RealVar, StringVar};

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
