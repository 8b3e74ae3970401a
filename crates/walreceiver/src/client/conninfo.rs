//! Connection strings: `host=db1 port=5433 user=rep`, or `postgresql://rep@db1:5433`.
//!
//! An option comes from the string, else from an environment variable, else from what was compiled in. The list of options
//! is libpq's, also of those that mean nothing here: a string that works for `psql` must not be refused.
//!
//! C counterpart: `PQconninfoOptions`, `conninfo_parse`, `conninfo_add_defaults` of fe-connect.c; `libpqrcv_get_conninfo`.

pub(crate) mod service;
mod uri;

#[cfg(test)]
mod tests;

/// Who may see an option's value. C: `dispchar`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Plainly,
    /// As stars.
    Secret,
    /// Not at all.
    Never,
}

/// One option. C: `internalPQconninfoOption`.
struct OptionDef {
    name: &'static str,
    env: Option<&'static str>,
    compiled: Option<&'static str>,
    shown: Shown,
}

const fn option(name: &'static str, env: &'static str, compiled: &'static str, shown: Shown) -> OptionDef {
    OptionDef {
        name,
        env: if env.is_empty() { None } else { Some(env) },
        compiled: if compiled.is_empty() { None } else { Some(compiled) },
        shown,
    }
}

use Shown::{Never, Plainly, Secret};

/// In the order in which pg_stat_wal_receiver shows them.
#[rustfmt::skip]
const OPTIONS: [OptionDef; 38] = [
    option("service",                   "PGSERVICE",               "",         Plainly),
    option("user",                      "PGUSER",                  "",         Plainly),
    option("password",                  "PGPASSWORD",              "",         Secret),
    option("passfile",                  "PGPASSFILE",              "",         Plainly),
    option("channel_binding",           "PGCHANNELBINDING",        "prefer",   Plainly),
    option("connect_timeout",           "PGCONNECT_TIMEOUT",       "",         Plainly),
    option("dbname",                    "PGDATABASE",              "",         Plainly),
    option("host",                      "PGHOST",                  "",         Plainly),
    option("hostaddr",                  "PGHOSTADDR",              "",         Plainly),
    option("port",                      "PGPORT",                  "5432",     Plainly),
    option("client_encoding",           "PGCLIENTENCODING",        "",         Plainly),
    option("options",                   "PGOPTIONS",               "",         Plainly),
    option("application_name",          "PGAPPNAME",               "",         Plainly),
    option("fallback_application_name", "",                        "",         Plainly),
    option("keepalives",                "",                        "",         Plainly),
    option("keepalives_idle",           "",                        "",         Plainly),
    option("keepalives_interval",       "",                        "",         Plainly),
    option("keepalives_count",          "",                        "",         Plainly),
    option("tcp_user_timeout",          "",                        "",         Plainly),
    option("sslmode",                   "PGSSLMODE",               "prefer",   Plainly),
    option("sslcompression",            "PGSSLCOMPRESSION",        "0",        Plainly),
    option("sslcert",                   "PGSSLCERT",               "",         Plainly),
    option("sslkey",                    "PGSSLKEY",                "",         Plainly),
    option("sslpassword",               "",                        "",         Secret),
    option("sslrootcert",               "PGSSLROOTCERT",           "",         Plainly),
    option("sslcrl",                    "PGSSLCRL",                "",         Plainly),
    option("sslcrldir",                 "PGSSLCRLDIR",             "",         Plainly),
    option("sslsni",                    "PGSSLSNI",                "1",        Plainly),
    option("requirepeer",               "PGREQUIREPEER",           "",         Plainly),
    option("ssl_min_protocol_version",  "PGSSLMINPROTOCOLVERSION", "TLSv1.2",  Plainly),
    option("ssl_max_protocol_version",  "PGSSLMAXPROTOCOLVERSION", "",         Plainly),
    option("gssencmode",                "PGGSSENCMODE",            "prefer",   Plainly),
    option("krbsrvname",                "PGKRBSRVNAME",            "postgres", Plainly),
    option("gsslib",                    "PGGSSLIB",                "",         Plainly),
    option("replication",               "",                        "",         Never),
    option("target_session_attrs",      "PGTARGETSESSIONATTRS",    "any",      Plainly),
    // Of the protocol's version 2, gone long ago; accepted and without effect.
    option("authtype",                  "",                        "",         Never),
    option("tty",                       "",                        "",         Never),
];

/// The options of a connection. An option can be given as empty, which is not the same as not given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Conninfo([Option<String>; OPTIONS.len()]);

impl std::fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_display())
    }
}

impl Conninfo {
    /// Nothing given.
    pub(crate) fn empty() -> Conninfo {
        Conninfo([const { None }; OPTIONS.len()])
    }

    /// What the string gives, nothing else. A string that is none (no `=`, no URI) is taken for a database's name, which a
    /// walreceiver does not care about.
    ///
    /// # Errors
    /// libpq's text.
    pub(crate) fn parse(text: &str) -> Result<Conninfo, String> {
        let mut info = Conninfo::empty();
        if let Some(rest) = uri::without_scheme(text) {
            uri::parse(&mut info, rest, text)?;
        } else if text.contains('=') {
            info.parse_key_values(text)?;
        }
        Ok(info)
    }

    /// C: `conninfo_parse`.
    fn parse_key_values(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.trim_start_matches(is_space);
        while !rest.is_empty() {
            let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let Some(after) = after.trim_start_matches(is_space).strip_prefix('=') else {
                return Err(format!("missing \"=\" after \"{name}\" in connection info string"));
            };
            let (value, after) = value(after.trim_start_matches(is_space))?;
            self.set(name, value)?;
            rest = after.trim_start_matches(is_space);
        }
        Ok(())
    }

    /// Sets an option. C: `conninfo_storeval`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) -> Result<(), String> {
        let at = index(name).ok_or_else(|| format!("invalid connection option \"{name}\""))?;
        self.0[at] = Some(value.into());
        Ok(())
    }

    /// An option, if it was given or has a default; it may be empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0[index(name)?].as_deref()
    }

    /// An option that is given and not empty.
    pub(crate) fn nonempty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Completes it: the service file's section, the environment, compiled-in values, the operating system's user.
    /// C: `conninfo_add_defaults`.
    ///
    /// # Errors
    /// A service that is not defined.
    pub(crate) fn add_defaults(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        service::apply(self, env)?;
        for (def, value) in OPTIONS.iter().zip(&mut self.0) {
            if value.is_none() {
                *value = def.env.and_then(env).or_else(|| def.compiled.map(str::to_owned));
            }
        }
        if self.get("user").is_none() {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
            if let Ok(Some(user)) = user {
                self.set("user", user.name)?;
            }
        }
        Ok(())
    }

    /// For people to see: what is set, passwords as stars. C: `libpqrcv_get_conninfo`.
    pub(crate) fn to_display(&self) -> String {
        let shown = OPTIONS.iter().zip(&self.0).filter_map(|(def, value)| {
            let value = value.as_deref().filter(|value| !value.is_empty())?;
            match def.shown {
                Plainly => Some(format!("{}={value}", def.name)),
                Secret => Some(format!("{}=********", def.name)),
                Never => None,
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

fn index(name: &str) -> Option<usize> {
    OPTIONS.iter().position(|option| option.name == name)
}

/// C: `isspace` of the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// A value, plain or in quotes, a backslash before what is to be taken as it is; and what follows.
fn value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.strip_prefix('\'');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted.is_some() => return Ok((value, &text[at + 1..])),
            c if quoted.is_none() && is_space(c) => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted.is_some() {
        return Err("unterminated quoted string in connection info string".into());
    }
    Ok((value, ""))
}
