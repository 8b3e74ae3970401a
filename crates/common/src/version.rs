//! The version this server presents, and the numbers its files carry.

/// What `SHOW server_version` and the start-up parameter say. Clients parse the leading number.
pub const PG_VERSION: &str = "15.20";
/// `server_version_num`.
pub const PG_VERSION_NUM: i32 = 150020;
/// What `PG_VERSION` files hold, and what a data directory must be of.
pub const PG_MAJORVERSION: &str = "15";
/// What `SELECT version()` says and the log's first line repeats.
pub const PG_VERSION_STR: &str = concat!(
    "PostgreSQL 15.20 (pganatomy ",
    env!("CARGO_PKG_VERSION"),
    ") on x86_64-pc-linux-gnu, compiled by rustc, 64-bit"
);
/// Second line of `postgres --version` and friends, in parentheses after the version.
pub const PACKAGE: &str = concat!("pganatomy ", env!("CARGO_PKG_VERSION"));
/// C: `PG_CONTROL_VERSION`.
pub const PG_CONTROL_VERSION: u32 = 1300;
/// C: `CATALOG_VERSION_NO`.
pub const CATALOG_VERSION_NO: u32 = 202_209_061;
/// The port a server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 5432;
/// Where the Unix socket goes when `unix_socket_directories` is not set.
pub const DEFAULT_SOCKET_DIR: &str = "/tmp";
/// Bytes of an identifier with its final nul. C: `NAMEDATALEN`.
pub const NAMEDATALEN: usize = 64;
