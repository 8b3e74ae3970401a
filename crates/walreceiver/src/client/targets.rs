//! From options to what can be tried: a list of hosts, and how each is to be spoken to.
//!
//! C counterpart: `connectOptions2`, fe-connect.c.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::conninfo::{Conninfo, service};
use super::passfile;

/// Where the server puts its socket when nobody says otherwise. C: `DEFAULT_PGSOCKET_DIR`.
pub(crate) const DEFAULT_SOCKET_DIRECTORY: &str = "/var/run/postgresql";
const DEFAULT_PORT: &str = "5432";
/// C: `UNIXSOCK_PATH_BUFLEN - 1`.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How much encryption. C: `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// C: `channel_binding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// What kind of session will do. C: `PGTargetServerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// One host of the list. C: `pg_conn_host`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// As given; the default socket directory if nothing was.
    pub(crate) name: String,
    /// As given in `hostaddr`, which saves asking for the name's address.
    pub(crate) address: String,
    pub(crate) port: String,
    pub(crate) password: Option<String>,
    /// The password is from here.
    pub(crate) password_file: Option<PathBuf>,
}

impl std::fmt::Debug for Host {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Host { name, address, port, .. } = self;
        write!(f, "{name}({address}):{port}")
    }
}

/// Where one attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// In the abstract namespace.
    Abstract(String),
    Tcp(SocketAddr),
}

/// All that the options come to.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) hosts: Vec<Host>,
    pub(crate) ssl_mode: SslMode,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) session_kind: SessionKind,
    pub(crate) info: Conninfo,
}

impl Settings {
    /// Nothing: for the moment between two owners.
    pub(crate) fn none() -> Settings {
        Settings {
            hosts: Vec::new(),
            ssl_mode: SslMode::Disable,
            channel_binding: ChannelBinding::Disable,
            session_kind: SessionKind::Any,
            info: Conninfo::empty(),
        }
    }

    /// Checks the options and makes the list. `info` has its defaults.
    ///
    /// # Errors
    /// libpq's text.
    pub(crate) fn new(info: Conninfo) -> Result<Settings, String> {
        let hosts = hosts(&info)?;
        let mut settings = Settings {
            hosts,
            ssl_mode: choice(&info, "sslmode", &SSL_MODES)?,
            channel_binding: choice(&info, "channel_binding", &CHANNEL_BINDINGS)?,
            session_kind: choice(&info, "target_session_attrs", &SESSION_KINDS)?,
            info,
        };
        check_tls_versions(&settings.info)?;
        if choice(&settings.info, "gssencmode", &[("disable", false), ("prefer", false), ("require", true)])?
        {
            return Err(
                "gssencmode value \"require\" invalid when GSSAPI support is not compiled in".to_owned()
            );
        }
        settings.add_passwords();
        Ok(settings)
    }

    /// A number, if it is given. C: `parse_int_param`.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i32>, String> {
        let Some(text) = self.info.get(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("invalid integer value \"{text}\" for connection option \"{name}\"")),
        }
    }

    /// The role.
    pub(crate) fn user(&self) -> &str {
        self.info.get("user").unwrap_or_default()
    }

    fn add_passwords(&mut self) {
        let given = self.info.nonempty("password").map(str::to_owned);
        let file = match self.info.nonempty("passfile") {
            Some(file) => Some(PathBuf::from(file)),
            None => service::home().map(|home| home.join(".pgpass")),
        };
        if let (Some(file), None) = (&file, self.info.get("passfile")) {
            // As libpq, which shows it among the options.
            let _ = self.info.set("passfile", file.display().to_string());
        }
        for host in &mut self.hosts {
            host.password.clone_from(&given);
            let Some(file) = file.as_ref().filter(|_| given.is_none()) else { continue };
            let name = if host.name.is_empty() { &host.address } else { &host.name };
            let entry = passfile::Entry {
                host: if name == DEFAULT_SOCKET_DIRECTORY { "localhost" } else { name },
                port: if host.port.is_empty() { DEFAULT_PORT } else { &host.port },
                database: self.info.get("dbname").unwrap_or_default(),
                user: self.info.get("user").unwrap_or_default(),
            };
            host.password = passfile::lookup(file, &entry);
            host.password_file = host.password.is_some().then(|| file.clone());
        }
    }
}

const SSL_MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const SESSION_KINDS: [(&str, SessionKind); 6] = [
    ("any", SessionKind::Any),
    ("read-write", SessionKind::ReadWrite),
    ("read-only", SessionKind::ReadOnly),
    ("primary", SessionKind::Primary),
    ("standby", SessionKind::Standby),
    ("prefer-standby", SessionKind::PreferStandby),
];

fn choice<T: Copy>(info: &Conninfo, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let given = info.get(name).unwrap_or_default();
    let found = choices.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| *value).ok_or_else(|| format!("invalid {name} value: \"{given}\""))
}

/// C: `sslVerifyProtocolVersion`, `sslVerifyProtocolRange`.
fn check_tls_versions(info: &Conninfo) -> Result<(), String> {
    const ORDER: [&str; 5] = ["", "tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"];
    let mut ranks = [0; 2];
    for (rank, name) in ranks.iter_mut().zip(["ssl_min_protocol_version", "ssl_max_protocol_version"]) {
        let given = info.get(name).unwrap_or_default();
        let found = ORDER.iter().position(|word| *word == given.to_ascii_lowercase());
        *rank = found.ok_or_else(|| format!("invalid {name} value: \"{given}\""))?;
    }
    if ranks[0] != 0 && ranks[1] != 0 && ranks[0] > ranks[1] {
        return Err("invalid SSL protocol version range".into());
    }
    Ok(())
}

fn hosts(info: &Conninfo) -> Result<Vec<Host>, String> {
    let list = |name: &str| info.nonempty(name).map(|text| text.split(',').collect::<Vec<_>>());
    let (names, addresses) = (list("host"), list("hostaddr"));
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return Err(format!(
            "could not match {} host names to {} hostaddr values",
            names.len(),
            addresses.len()
        ));
    }
    let ports = list("port").unwrap_or_default();
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("could not match {} port numbers to {count} hosts", ports.len()));
    }
    let part = |list: &[&str], at: usize| list.get(at).map(|text| (*text).to_owned()).unwrap_or_default();
    let hosts = (0..count).map(|at| {
        let mut host = Host {
            name: part(names.as_deref().unwrap_or_default(), at),
            address: part(addresses.as_deref().unwrap_or_default(), at),
            port: if ports.len() == 1 { ports[0].to_owned() } else { part(&ports, at) },
            password: None,
            password_file: None,
        };
        if host.name.is_empty() && host.address.is_empty() {
            host.name = DEFAULT_SOCKET_DIRECTORY.into();
        }
        host
    });
    Ok(hosts.collect())
}

impl Host {
    /// The port as a number. C: in `PQconnectPoll`.
    ///
    /// # Errors
    /// libpq's text.
    pub(crate) fn port_number(&self) -> Result<u16, String> {
        let text = if self.port.is_empty() { DEFAULT_PORT } else { &self.port };
        match text.trim().parse::<i32>() {
            Ok(number) if (1..=65535).contains(&number) => Ok(number as u16),
            Ok(_) => Err(format!("invalid port number: \"{text}\"")),
            Err(_) => Err(format!("invalid integer value \"{text}\" for connection option \"port\"")),
        }
    }

    fn is_socket_directory(&self) -> bool {
        self.address.is_empty() && self.name.starts_with(['/', '@'])
    }

    /// The addresses to try. Asking for a name's addresses can take its time, as in libpq.
    ///
    /// # Errors
    /// libpq's text.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, String> {
        let port = self.port_number()?;
        if self.is_socket_directory() {
            let path = format!("{}/.s.PGSQL.{port}", self.name);
            if path.len() > SOCKET_PATH_BYTES_MAX {
                return Err(format!(
                    "Unix-domain socket path \"{path}\" is too long (maximum {SOCKET_PATH_BYTES_MAX} bytes)"
                ));
            }
            return Ok(vec![match path.strip_prefix('@') {
                Some(name) => Address::Abstract(name.to_owned()),
                None => Address::Unix(path.into()),
            }]);
        }
        if !self.address.is_empty() {
            return match self.address.parse::<IpAddr>() {
                Ok(ip) => Ok(vec![Address::Tcp(SocketAddr::new(ip, port))]),
                Err(_) => Err(format!(
                    "could not parse network address \"{}\": Name or service not known",
                    self.address
                )),
            };
        }
        let failed = |why: &str| format!("could not translate host name \"{}\" to address: {why}", self.name);
        match (self.name.as_str(), port).to_socket_addrs() {
            Ok(found) => {
                let mut addresses: Vec<Address> = found.map(Address::Tcp).collect();
                addresses.dedup();
                if addresses.is_empty() {
                    return Err(failed("Name or service not known"));
                }
                Ok(addresses)
            }
            Err(error) => {
                let text = error.to_string();
                let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
                Err(failed(why))
            }
        }
    }

    /// What a failure to connect there begins with. C: `emitHostIdentityInfo`.
    pub(crate) fn prefix(&self, address: &Address) -> String {
        let port = if self.port.is_empty() { DEFAULT_PORT } else { &self.port };
        match address {
            Address::Unix(path) => format!("connection to server on socket \"{}\" failed: ", path.display()),
            Address::Abstract(name) => format!("connection to server on socket \"@{name}\" failed: "),
            Address::Tcp(tcp) => {
                let ip = tcp.ip().to_string();
                let shown = if self.address.is_empty() { &self.name } else { &self.address };
                if *shown == ip {
                    format!("connection to server at \"{shown}\", port {port} failed: ")
                } else {
                    format!("connection to server at \"{shown}\" ({ip}), port {port} failed: ")
                }
            }
        }
    }

    /// The name that the view shows. C: `PQhost`.
    pub(crate) fn shown(&self) -> &str {
        if self.name.is_empty() { &self.address } else { &self.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let mut info = Conninfo::parse(text)?;
        info.add_defaults(&|_| None)?;
        info.set("passfile", "")?;
        Settings::new(info)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        let settings = settings(text).unwrap();
        let hosts: Vec<_> = settings.hosts.iter().map(|h| (&*h.name, &*h.address, &*h.port)).collect();
        assert_eq!(hosts, expected, "{text}");
    }

    #[test]
    fn lists_of_hosts() {
        check("", &[(DEFAULT_SOCKET_DIRECTORY, "", "5432")]);
        check("host=a port=1", &[("a", "", "1")]);
        check("host=a,b port=1", &[("a", "", "1"), ("b", "", "1")]);
        check("host=a,b,/s port=1,,3", &[("a", "", "1"), ("b", "", ""), ("/s", "", "3")]);
        check("host=a, hostaddr=1.2.3.4,::1", &[("a", "1.2.3.4", "5432"), ("", "::1", "5432")]);
        for (text, error) in [
            ("host=a,b hostaddr=1.2.3.4", "could not match 2 host names to 1 hostaddr values"),
            ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
            ("sslmode=maybe", "invalid sslmode value: \"maybe\""),
            ("channel_binding=x", "invalid channel_binding value: \"x\""),
            ("target_session_attrs=x", "invalid target_session_attrs value: \"x\""),
            ("ssl_min_protocol_version=SSLv2", "invalid ssl_min_protocol_version value: \"SSLv2\""),
            ("ssl_max_protocol_version=TLSv1.1", "invalid SSL protocol version range"),
        ] {
            assert_eq!(settings(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn addresses_and_prefixes() {
        let host = |text: &str| settings(text).unwrap().hosts.remove(0);
        let only = |text: &str| host(text).addresses().map(|list| host(text).prefix(&list[0]));
        assert_eq!(
            only("host=127.0.0.1").unwrap(),
            "connection to server at \"127.0.0.1\", port 5432 failed: "
        );
        let named = only("host=db hostaddr=10.0.0.1 port=7").unwrap();
        assert_eq!(named, "connection to server at \"10.0.0.1\", port 7 failed: ");
        let socket = only("host=/tmp/x").unwrap();
        assert_eq!(socket, "connection to server on socket \"/tmp/x/.s.PGSQL.5432\" failed: ");
        assert_eq!(only("host=@x").unwrap(), "connection to server on socket \"@x/.s.PGSQL.5432\" failed: ");
        assert_eq!(only("host=a port=70000").unwrap_err(), "invalid port number: \"70000\"");
        assert!(only("hostaddr=x").unwrap_err().starts_with("could not parse network address \"x\": "));
        let long = format!("host=/{}", "x".repeat(120));
        assert!(only(&long).unwrap_err().ends_with("is too long (maximum 107 bytes)"));
    }
}
