//! How clients will log in: the methods for pg_hba.conf.
//!
//! C counterpart: `auth_methods_host`, `check_authmethod_valid`, `check_need_password` in initdb.c.

use crate::report::{Result, fail};

/// The two kinds of lines that initdb writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Over the Unix socket.
    Local,
    /// Over TCP from this machine.
    Host,
}

/// Methods that the server knows, and for which kind. Those of PostgreSQL that need a service outside
/// (GSSAPI, LDAP, PAM, RADIUS ...) are missing.
const METHODS: [(&str, bool, bool); 8] = [
    ("trust", true, true),
    ("reject", true, true),
    ("scram-sha-256", true, true),
    ("md5", true, true),
    ("password", true, true),
    ("peer", true, false),
    ("ident", false, true),
    ("cert", false, true),
];

/// Can this kind of connection use that method?
pub(crate) fn check(method: &str, connection: Connection) -> Result<()> {
    let (known, kind) = match connection {
        Connection::Local => (METHODS.iter().any(|(name, local, _)| *name == method && *local), "local"),
        Connection::Host => (METHODS.iter().any(|(name, _, host)| *name == method && *host), "host"),
    };
    if known {
        return Ok(());
    }
    fail(format!("invalid authentication method \"{method}\" for \"{kind}\" connections"))
}

/// Would nobody get in without a password?
pub(crate) fn needs_password(method: &str) -> bool {
    matches!(method, "md5" | "password" | "scram-sha-256")
}
