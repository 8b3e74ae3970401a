//! The table of all settings: facts only, one entry each, grouped as `pg_settings.category` groups them.
//!
//! An entry reads
//!
//! ```text
//! kind  NAME            context  (boot value and limits)  [FLAGS] => check
//!     "short description", "more";
//! int   WORK_MEM        user     (4096 kB, 64..=i32::MAX) [EXPLAIN]
//!     "Sets the maximum memory to be used for query workspaces.";
//! ```
//!
//! and makes both the typed handle `vars::WORK_MEM` and the [`Setting`] that everything else here works
//! from. The setting's name is the handle's in lower case, unless `: "DateStyle"` says otherwise. Numbers are
//! in the base unit beside them. C: the `ConfigureNames*` arrays of guc.c.

use std::sync::LazyLock;

use crate::check::Check;
use crate::var::{BoolVar, EnumVar, IntVar, RealVar, StringVar};

/// Who may change a setting, and when; each value allows what those before it do. C: `GucContext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GucContext {
    /// Nobody; shown only.
    Internal,
    /// Whoever starts the server.
    Postmaster,
    /// The configuration file, at any reload.
    Sighup,
    /// A superuser's connection request.
    SuperuserBackend,
    /// Any connection request.
    Backend,
    /// A superuser, within the session.
    Superuser,
    /// Anyone, within the session.
    User,
}

impl GucContext {
    /// The word in `pg_settings.context`.
    pub fn name(self) -> &'static str {
        match self {
            GucContext::Internal => "internal",
            GucContext::Postmaster => "postmaster",
            GucContext::Sighup => "sighup",
            GucContext::SuperuserBackend => "superuser-backend",
            GucContext::Backend => "backend",
            GucContext::Superuser => "superuser",
            GucContext::User => "user",
        }
    }
}

/// What a bare number counts. C: the `GUC_UNIT_*` flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing in particular; units are not accepted.
    None,
    /// Bytes.
    Bytes,
    /// Kilobytes.
    Kilobytes,
    /// Pages of 8 kB, of tables or of WAL.
    Blocks,
    /// Megabytes.
    Megabytes,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

impl Unit {
    /// The word in `pg_settings.unit`.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Unit::None => return None,
            Unit::Bytes => "B",
            Unit::Kilobytes => "kB",
            Unit::Blocks => "8kB",
            Unit::Megabytes => "MB",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
            Unit::Minutes => "min",
        })
    }
}

/// Properties of a setting, as in guc.h. C: the `GUC_*` flags.
pub mod flags {
    macro_rules! flags {
        ($($(#[doc = $doc:literal])+ $name:ident = $bit:expr;)*) => {
            $($(#[doc = $doc])+ pub const $name: u16 = 1 << $bit;)*
        };
    }
    flags! {
        /// `EXPLAIN (SETTINGS)` mentions it.
        EXPLAIN = 0;
        /// initdb's postgresql.conf leaves it out.
        NOT_IN_SAMPLE = 1;
        /// `postgres -C` needs shared memory worked out first.
        RUNTIME_COMPUTED = 2;
        /// `SHOW ALL` and pg_settings leave it out.
        NO_SHOW_ALL = 3;
        /// `RESET ALL` leaves it alone.
        NO_RESET_ALL = 4;
        /// Clients are told of every change (ParameterStatus).
        REPORT = 5;
        /// `SET x TO a, b` is allowed.
        LIST_INPUT = 6;
        /// Each element of such a list is quoted as an identifier.
        LIST_QUOTE = 7;
        /// Shown to superusers and pg_read_all_settings only.
        SUPERUSER_ONLY = 8;
        /// Means nothing in a configuration file.
        DISALLOW_IN_FILE = 9;
        /// `ALTER SYSTEM` refuses it.
        DISALLOW_IN_AUTO_FILE = 10;
        /// An identifier: cut to 63 bytes.
        IS_NAME = 11;
        /// Not in the table: a custom `a.b` that no module has claimed.
        CUSTOM_PLACEHOLDER = 12;
    }
}

/// A word that an enum setting accepts. C: `struct config_enum_entry`.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// The word that `SHOW` prints after this one was set.
    pub means: &'static str,
    /// Accepted, but left out of hints and of `pg_settings.enumvals`.
    pub hidden: bool,
}

/// Type, handle, boot value and limits. C: the tails of `struct config_bool` and its siblings.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the field names say it")]
pub enum Kind {
    Bool { var: &'static BoolVar, boot: bool },
    Int { var: &'static IntVar, boot: i32, min: i32, max: i32 },
    Real { var: &'static RealVar, boot: f64, min: f64, max: f64 },
    String { var: &'static StringVar, boot: Option<&'static str> },
    Enum { var: &'static EnumVar, boot: u8, choices: &'static [Choice] },
}

/// One entry of the table. C: `struct config_generic`, without what changes at run time.
#[derive(Debug)]
pub struct Setting {
    /// As `SHOW ALL` spells it; compared without regard to case.
    pub name: &'static str,
    /// `pg_settings.category`.
    pub category: &'static str,
    /// `pg_settings.short_desc`.
    pub short: &'static str,
    /// `pg_settings.extra_desc`.
    pub extra: Option<&'static str>,
    /// Who may change it.
    pub context: GucContext,
    /// Of [`flags`].
    pub flags: u16,
    /// Base unit of a number.
    pub unit: Unit,
    /// Type, limits and the cell itself.
    pub kind: Kind,
    /// What a value must pass besides type and limits.
    pub(crate) check: Option<Check>,
}

impl Setting {
    /// Has it (one of) these flags?
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// The word in `pg_settings.vartype`.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool { .. } => "bool",
            Kind::Int { .. } => "integer",
            Kind::Real { .. } => "real",
            Kind::String { .. } => "string",
            Kind::Enum { .. } => "enum",
        }
    }
}

/// The tables, in the order of PostgreSQL's `config_group`.
static TABLES: [&[Setting]; 11] = [
    connections::TABLE,
    resources::TABLE,
    wal::TABLE,
    replication::TABLE,
    query::TABLE,
    logging::TABLE,
    statistics::TABLE,
    client::TABLE,
    compat::TABLE,
    preset::TABLE,
    developer::TABLE,
];

/// Every setting by name, in the order of `SHOW ALL`. Built by whoever looks something up first, which is the
/// postmaster reading its command line; children inherit it. C: `guc_variables`.
static BY_NAME: LazyLock<Vec<&'static Setting>> = LazyLock::new(|| {
    let mut all: Vec<&Setting> = TABLES.into_iter().flatten().collect();
    all.sort_by(|a, b| compare_names(a.name, b.name));
    all
});

/// Every setting of the table, in the order of `SHOW ALL`.
pub fn all() -> &'static [&'static Setting] {
    &BY_NAME
}

/// Every setting in the table's own order, category by category.
pub(crate) fn in_groups() -> impl Iterator<Item = &'static Setting> {
    TABLES.into_iter().flatten()
}

/// Position in [`all`] of the setting with this name, whatever its case; old names of renamed settings count.
pub(crate) fn position(name: &str) -> Option<usize> {
    let search = |name: &str| BY_NAME.binary_search_by(|s| compare_names(s.name, name)).ok();
    search(name).or_else(|| {
        let (_, new) = RENAMED.iter().find(|(old, _)| old.eq_ignore_ascii_case(name))?;
        search(new)
    })
}

/// The setting with this name, whatever its case. C: `find_option`.
pub fn find(name: &str) -> Option<&'static Setting> {
    position(name).map(|i| BY_NAME[i])
}

/// C: `map_old_guc_names`.
static RENAMED: [(&str, &str); 2] = [("sort_mem", "work_mem"), ("vacuum_mem", "maintenance_work_mem")];

/// Order of names: ASCII without case. C: `guc_name_compare`.
pub(crate) fn compare_names(a: &str, b: &str) -> std::cmp::Ordering {
    a.bytes().map(|b| b.to_ascii_lowercase()).cmp(b.bytes().map(|b| b.to_ascii_lowercase()))
}

/// The list position of `word`. Runs at compile time: a boot value outside its list does not build.
pub(crate) const fn choice_index(choices: &[Choice], word: &str) -> u8 {
    let mut i = 0;
    while i < choices.len() {
        if same(choices[i].name, word) {
            return i as u8;
        }
        i += 1;
    }
    panic!("the boot value is not among the choices")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// ASCII lower case, at compile time, for names made from handles.
pub(crate) const fn lower_case<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = name.as_bytes()[i].to_ascii_lowercase();
        i += 1;
    }
    bytes
}

macro_rules! choices {
    ($($word:literal $(= $same:literal)?),* $(; also $($alias:literal = $means:literal),*)?) => {
        &[
            $($crate::table::Choice { name: $word, means: choices!(@means $word $($same)?), hidden: false },)*
            $($($crate::table::Choice { name: $alias, means: $means, hidden: true },)*)?
        ]
    };
    ($($word:literal $(= $same:literal)?),*; booleans $on:literal $off:literal) => {
        choices![$($word $(= $same)?),*;
            also "true" = $on, "false" = $off, "yes" = $on, "no" = $off, "1" = $on, "0" = $off]
    };
    (@means $word:literal) => { $word };
    (@means $word:literal $same:literal) => { $same };
}

macro_rules! settings {
    ($($category:literal { $(
        $kind:ident $NAME:ident $(: $shown:literal)? $context:ident $value:tt
        $([$($flag:ident)*])? $(=> $check:ident)? $short:literal $(, $extra:literal)?;
    )* })*) => {
        $($(
            #[doc = $short]
            $(#[doc = ""] #[doc = $extra])?
            pub static $NAME: handle_type!($kind) = handle!($kind $value);
        )*)*
        pub(crate) static TABLE: &[Setting] = &[$($(
            Setting {
                name: name!($NAME $($shown)?),
                category: $category,
                short: $short,
                extra: optional!($($extra)?),
                context: context!($context),
                flags: 0 $($(| flags::$flag)*)?,
                unit: unit!($kind $value),
                kind: kind!($kind $NAME $value),
                check: optional!($(check::$check as Check)?),
            },
        )*)*];
    };
}

macro_rules! name {
    ($NAME:ident $shown:literal) => {
        $shown
    };
    ($NAME:ident) => {{
        const LOWER: [u8; stringify!($NAME).len()] = $crate::table::lower_case(stringify!($NAME));
        match std::str::from_utf8(&LOWER) {
            Ok(name) => name,
            Err(_) => panic!("a handle's name is ASCII"),
        }
    }};
}

macro_rules! optional {
    () => {
        None
    };
    ($some:expr) => {
        Some($some)
    };
}

#[rustfmt::skip]
macro_rules! context {
    (internal) => { GucContext::Internal };
    (postmaster) => { GucContext::Postmaster };
    (sighup) => { GucContext::Sighup };
    (superuser_backend) => { GucContext::SuperuserBackend };
    (backend) => { GucContext::Backend };
    (superuser) => { GucContext::Superuser };
    (user) => { GucContext::User };
}

#[rustfmt::skip]
macro_rules! handle_type {
    (bool) => { BoolVar };
    (int) => { IntVar };
    (real) => { RealVar };
    (string) => { StringVar };
    (enum) => { EnumVar };
}

#[rustfmt::skip]
macro_rules! handle {
    (bool (on)) => { BoolVar::new(true) };
    (bool (off)) => { BoolVar::new(false) };
    (int ($boot:literal $($unit:ident)?, $($range:tt)*)) => { IntVar::new($boot) };
    (int ($boot:path, $($range:tt)*)) => { IntVar::new($boot) };
    (real ($boot:literal $($unit:ident)?, $($range:tt)*)) => { RealVar::new($boot) };
    (string (null)) => { StringVar::new(None) };
    (string ($boot:expr)) => { StringVar::new(Some($boot)) };
    (enum ($boot:literal of $choices:ident)) => {
        EnumVar::new(choice_index(choices::$choices, $boot), choices::$choices)
    };
}

#[rustfmt::skip]
macro_rules! kind {
    (bool $NAME:ident (on)) => { Kind::Bool { var: &$NAME, boot: true } };
    (bool $NAME:ident (off)) => { Kind::Bool { var: &$NAME, boot: false } };
    (int $NAME:ident ($boot:literal $($unit:ident)?, $min:literal..=$max:expr)) => {
        Kind::Int { var: &$NAME, boot: $boot, min: $min, max: $max }
    };
    (int $NAME:ident ($boot:path, $min:literal..=$max:expr)) => {
        Kind::Int { var: &$NAME, boot: $boot, min: $min, max: $max }
    };
    (real $NAME:ident ($boot:literal $($unit:ident)?, $min:literal..=$max:expr)) => {
        Kind::Real { var: &$NAME, boot: $boot, min: $min, max: $max }
    };
    (string $NAME:ident (null)) => { Kind::String { var: &$NAME, boot: None } };
    (string $NAME:ident ($boot:expr)) => { Kind::String { var: &$NAME, boot: Some($boot) } };
    (enum $NAME:ident ($boot:literal of $choices:ident)) => {
        Kind::Enum { var: &$NAME, boot: choice_index(choices::$choices, $boot), choices: choices::$choices }
    };
}

#[rustfmt::skip]
macro_rules! unit {
    ($kind:ident ($boot:literal B, $($range:tt)*)) => { Unit::Bytes };
    ($kind:ident ($boot:literal kB, $($range:tt)*)) => { Unit::Kilobytes };
    ($kind:ident ($boot:literal blocks, $($range:tt)*)) => { Unit::Blocks };
    ($kind:ident ($boot:literal MB, $($range:tt)*)) => { Unit::Megabytes };
    ($kind:ident ($boot:literal ms, $($range:tt)*)) => { Unit::Millis };
    ($kind:ident ($boot:literal s, $($range:tt)*)) => { Unit::Seconds };
    ($kind:ident ($boot:literal min, $($range:tt)*)) => { Unit::Minutes };
    ($kind:ident $value:tt) => { Unit::None };
}

// Below the macros they use: that is what brings those into their scope.
pub(crate) mod choices;
pub(crate) mod client;
pub(crate) mod compat;
pub(crate) mod connections;
pub(crate) mod developer;
pub(crate) mod logging;
pub(crate) mod preset;
pub(crate) mod query;
pub(crate) mod replication;
pub(crate) mod resources;
pub(crate) mod statistics;
pub(crate) mod wal;

/// What a table file needs in scope.
mod prelude {
    pub(crate) use common::version;

    pub(crate) use super::{GucContext, Kind, Setting, Unit, choice_index, choices, flags};
    pub(crate) use crate::check::{self, Check};
    pub(crate) use crate::var::{BoolVar, EnumVar, IntVar, RealVar, StringVar};
}
