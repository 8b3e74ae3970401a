//! Where a value came from, which decides what may replace it.

/// Weakest first: a setting keeps the value of the strongest source that gave one. C: `GucSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GucSource {
    /// Built in.
    Default,
    /// Worked out at start, say from `ulimit -s`.
    DynamicDefault,
    /// `PGPORT` and the like.
    EnvVar,
    /// postgresql.conf and what it includes.
    File,
    /// The server's command line.
    CommandLine,
    /// `ALTER ROLE ALL SET`.
    Global,
    /// `ALTER DATABASE ... SET`.
    Database,
    /// `ALTER ROLE ... SET`.
    User,
    /// `ALTER ROLE ... IN DATABASE ... SET`.
    DatabaseUser,
    /// The client's start-up packet.
    Client,
    /// Set by the server for its own reasons; nothing below replaces it.
    Override,
    /// Divides the defaults of a session, above, from what was asked for within it.
    Interactive,
    /// A trial that changes nothing.
    Test,
    /// `SET`.
    Session,
}

impl GucSource {
    /// The word in `pg_settings.source`. C: `GucSource_Names`.
    pub fn name(self) -> &'static str {
        match self {
            GucSource::Default | GucSource::DynamicDefault => "default",
            GucSource::EnvVar => "environment variable",
            GucSource::File => "configuration file",
            GucSource::CommandLine => "command line",
            GucSource::Global => "global",
            GucSource::Database => "database",
            GucSource::User => "user",
            GucSource::DatabaseUser => "database user",
            GucSource::Client => "client",
            GucSource::Override => "override",
            GucSource::Interactive => "interactive",
            GucSource::Test => "test",
            GucSource::Session => "session",
        }
    }
}

/// How long a change lasts. C: `GucAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GucAction {
    /// Until the session ends, unless the transaction rolls back: `SET`.
    Set,
    /// Until the transaction ends: `SET LOCAL`.
    Local,
    /// Until the nest level ends: a function's `SET` clause.
    Save,
}
