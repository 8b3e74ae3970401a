//! Tokens to a rule of pg_hba.conf.
//!
//! C counterpart: `parse_hba_line` and `parse_hba_auth_opt` of hba.c.

use std::path::Path;

use common::SqlState;
use elog::{PgError, pg_error};

use super::address::{Address, cidr_mask, parse_ip};
use super::token::{Token, TokenLine};

/// Which kinds of connection a line is for. C: `ConnType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the file")]
pub enum ConnType {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
    HostGssEnc,
    HostNoGssEnc,
}

impl ConnType {
    const ALL: [(&'static str, ConnType); 6] = [
        ("local", ConnType::Local),
        ("host", ConnType::Host),
        ("hostssl", ConnType::HostSsl),
        ("hostnossl", ConnType::HostNoSsl),
        ("hostgssenc", ConnType::HostGssEnc),
        ("hostnogssenc", ConnType::HostNoGssEnc),
    ];

    /// The word in the file.
    pub fn name(self) -> &'static str {
        ConnType::ALL[self as usize].0
    }
}

/// How a client proves who it is. C: `UserAuth`, without the methods this build does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Refused.
    Reject,
    /// No line fits. Not a word of the file. C: `uaImplicitReject`.
    ImplicitReject,
    /// Not at all.
    Trust,
    /// The operating system says who is at the other end of a Unix socket.
    Peer,
    /// A password in the clear.
    Password,
    /// A hashed password, or SCRAM for a role that has a SCRAM verifier.
    Md5,
    /// SCRAM.
    Scram,
    /// The certificate names the user.
    Cert,
}

impl Method {
    /// The word in the file. C: `hba_authname`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Reject => "reject",
            Method::ImplicitReject => "implicit reject",
            Method::Trust => "trust",
            Method::Peer => "peer",
            Method::Password => "password",
            Method::Md5 => "md5",
            Method::Scram => "scram-sha-256",
            Method::Cert => "cert",
        }
    }
}

/// What is asked of a client's certificate. C: `ClientCertMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// Nothing.
    #[default]
    Off,
    /// There must be a valid one.
    VerifyCa,
    /// And its name must be the user's.
    VerifyFull,
}

/// One rule. C: `HbaLine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HbaLine {
    /// Where it stands.
    pub number: u32,
    /// The line as written.
    pub raw: String,
    /// For which connections.
    pub conn_type: ConnType,
    /// For which databases.
    pub databases: Vec<Token>,
    /// For which roles.
    pub roles: Vec<Token>,
    /// For which clients; `None` for a local line.
    pub address: Option<Address>,
    /// What to do with them.
    pub method: Method,
    /// `map=`: the map in pg_ident.conf.
    pub usermap: Option<String>,
    /// `clientcert=`
    pub client_cert: ClientCert,
    /// `clientname=DN`: compare the whole subject, not the common name.
    pub client_name_is_dn: bool,
}

impl HbaLine {
    /// What stands for "no line fits". C: the end of `check_hba`.
    pub(super) fn implicit_reject() -> HbaLine {
        HbaLine {
            number: 0,
            raw: String::new(),
            conn_type: ConnType::Local,
            databases: Vec::new(),
            roles: Vec::new(),
            address: None,
            method: Method::ImplicitReject,
            usermap: None,
            client_cert: ClientCert::Off,
            client_name_is_dn: false,
        }
    }
}

/// Why a line is no rule.
struct Complaint {
    logged: String,
    hint: Option<&'static str>,
    /// What the view `pg_hba_file_rules` shows instead.
    shown: Option<String>,
}

fn complaint(logged: impl Into<String>) -> Complaint {
    Complaint { logged: logged.into(), hint: None, shown: None }
}

impl Complaint {
    fn hint(mut self, hint: &'static str) -> Complaint {
        self.hint = Some(hint);
        self
    }

    fn log(&self, line: &TokenLine, path: &Path) -> PgError {
        let error = pg_error!(Log, SqlState::CONFIG_FILE_ERROR, "{}", self.logged);
        let error = match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        };
        error.context(format!("line {} of configuration file \"{}\"", line.number, path.display()))
    }
}

/// Parses one line: the rule, and what the view shows as its error. A rule that cannot match is still a
/// rule, but has an error to show. What there is to log goes into `complaints`.
pub(super) fn parse(
    line: &TokenLine,
    path: &Path,
    ssl_enabled: bool,
    complaints: &mut Vec<PgError>,
) -> (Option<HbaLine>, Option<String>) {
    let mut shown = None;
    let mut fields = line.fields.iter();
    let parsed = parse_conn_type(&mut fields).and_then(|conn_type| {
        if let Some(useless) = cannot_match(conn_type, ssl_enabled) {
            complaints.push(useless.log(line, path));
            shown = Some(useless.logged);
        }
        parse_rest(conn_type, &mut fields, line)
    });
    match parsed {
        Ok(rule) => (Some(rule), shown),
        Err(complaint) => {
            complaints.push(complaint.log(line, path));
            (None, complaint.shown.or(shown).or(Some(complaint.logged)))
        }
    }
}

type Fields<'a> = std::slice::Iter<'a, Vec<Token>>;

/// The next field, which must be there.
fn next<'a>(fields: &mut Fields<'a>, what: &str) -> Result<&'a [Token], Complaint> {
    fields.next().map(Vec::as_slice).ok_or_else(|| complaint(format!("end-of-line before {what}")))
}

/// The next field, which must be one token.
fn next_single<'a>(
    fields: &mut Fields<'a>,
    missing: &str,
    several: Complaint,
) -> Result<&'a Token, Complaint> {
    match next(fields, missing)? {
        [token] => Ok(token),
        _ => Err(several),
    }
}

fn parse_conn_type(fields: &mut Fields<'_>) -> Result<ConnType, Complaint> {
    let several = complaint("multiple values specified for connection type")
        .hint("Specify exactly one connection type per line.");
    let token = next_single(fields, "connection type", several)?;
    let known = ConnType::ALL.iter().find(|(name, _)| *name == token.text);
    known
        .map(|(_, conn_type)| *conn_type)
        .ok_or_else(|| complaint(format!("invalid connection type \"{}\"", token.text)))
}

fn cannot_match(conn_type: ConnType, ssl_enabled: bool) -> Option<Complaint> {
    match conn_type {
        ConnType::HostSsl if !ssl_enabled => Some(
            complaint("hostssl record cannot match because SSL is disabled")
                .hint("Set ssl = on in postgresql.conf."),
        ),
        ConnType::HostGssEnc => {
            Some(complaint("hostgssenc record cannot match because GSSAPI is not supported by this build"))
        }
        _ => None,
    }
}

fn parse_rest(conn_type: ConnType, fields: &mut Fields<'_>, line: &TokenLine) -> Result<HbaLine, Complaint> {
    let databases = next(fields, "database specification")?.to_vec();
    let roles = next(fields, "role specification")?.to_vec();
    let address = match conn_type {
        ConnType::Local => None,
        _ => Some(parse_address(fields)?),
    };
    let several = complaint("multiple values specified for authentication type")
        .hint("Specify exactly one authentication type per line.");
    let method = parse_method(&next_single(fields, "authentication method", several)?.text, conn_type)?;
    let mut rule = HbaLine {
        number: line.number,
        raw: line.raw.clone(),
        conn_type,
        databases,
        roles,
        address,
        method,
        ..HbaLine::implicit_reject()
    };
    for token in fields.flatten() {
        let Some((name, value)) = token.text.split_once('=') else {
            return Err(complaint(format!("authentication option not in name=value format: {}", token.text)));
        };
        parse_option(&mut rule, name, value)?;
    }
    if method == Method::Cert {
        // The method itself is this check.
        rule.client_cert = ClientCert::VerifyFull;
    }
    Ok(rule)
}

fn parse_address(fields: &mut Fields<'_>) -> Result<Address, Complaint> {
    let several =
        complaint("multiple values specified for host address").hint("Specify one address range per line.");
    let token = next_single(fields, "IP address specification", several)?;
    if token.is_keyword("all") {
        return Ok(Address::All);
    } else if token.is_keyword("samehost") {
        return Ok(Address::SameHost);
    } else if token.is_keyword("samenet") {
        return Ok(Address::SameNet);
    }
    let (host, cidr) = match token.text.split_once('/') {
        Some((host, bits)) => (host, Some(bits)),
        None => (&*token.text, None),
    };
    let Some(ip) = parse_ip(host) else {
        return match cidr {
            None => Ok(Address::HostName(host.to_owned())),
            Some(_) => Err(complaint(format!(
                "specifying both host name and CIDR mask is invalid: \"{}\"",
                token.text
            ))),
        };
    };
    let mask = match cidr {
        Some(bits) => cidr_mask(bits, ip)
            .ok_or_else(|| complaint(format!("invalid CIDR mask in address \"{}\"", token.text)))?,
        None => parse_mask(fields)?,
    };
    if ip.is_ipv4() != mask.is_ipv4() {
        return Err(complaint("IP address and mask do not match"));
    }
    Ok(Address::Network { ip, mask })
}

fn parse_mask(fields: &mut Fields<'_>) -> Result<std::net::IpAddr, Complaint> {
    let several = complaint("multiple values specified for netmask");
    let token = next_single(fields, "netmask specification", several).map_err(|missing| {
        if missing.logged.starts_with("end-of-line") {
            missing.hint("Specify an address range in CIDR notation, or provide a separate netmask.")
        } else {
            missing
        }
    })?;
    parse_ip(&token.text)
        .ok_or_else(|| complaint(format!("invalid IP mask \"{}\": Name or service not known", token.text)))
}

fn parse_method(word: &str, conn_type: ConnType) -> Result<Method, Complaint> {
    let local = conn_type == ConnType::Local;
    let method = match word {
        "trust" => Method::Trust,
        "reject" => Method::Reject,
        "peer" => Method::Peer,
        // Over a Unix socket "ident" has always meant "peer".
        "ident" if local => Method::Peer,
        "password" => Method::Password,
        "md5" => Method::Md5,
        "scram-sha-256" => Method::Scram,
        "cert" => Method::Cert,
        "ident" | "gss" | "sspi" | "pam" | "bsd" | "ldap" | "radius" => {
            return Err(complaint(format!(
                "invalid authentication method \"{word}\": not supported by this build"
            )));
        }
        _ => return Err(complaint(format!("invalid authentication method \"{word}\""))),
    };
    match method {
        Method::Peer if !local => Err(complaint("peer authentication is only supported on local sockets")),
        Method::Cert if conn_type != ConnType::HostSsl => {
            Err(complaint("cert authentication is only supported on hostssl connections"))
        }
        _ => Ok(method),
    }
}

/// C: `parse_hba_auth_opt`.
fn parse_option(rule: &mut HbaLine, name: &str, value: &str) -> Result<(), Complaint> {
    let only_for = |methods: &str| {
        Err(complaint(format!(
            "authentication option \"{name}\" is only valid for authentication methods {methods}"
        )))
    };
    let needs_ssl = || {
        if rule.conn_type == ConnType::HostSsl {
            return Ok(());
        }
        Err(complaint(format!("{name} can only be configured for \"hostssl\" rows")))
    };
    match name {
        "map" if !matches!(rule.method, Method::Peer | Method::Cert) => {
            return only_for("ident, peer, gssapi, sspi, and cert");
        }
        "map" => rule.usermap = Some(value.to_owned()),
        "clientcert" => {
            needs_ssl()?;
            rule.client_cert = match value {
                "verify-full" => ClientCert::VerifyFull,
                "verify-ca" if rule.method == Method::Cert => {
                    let words = |verb| {
                        format!("clientcert {verb} \"verify-full\" when using \"cert\" authentication")
                    };
                    let shown = Some(words("can only be set to"));
                    return Err(Complaint { shown, ..complaint(words("only accepts")) });
                }
                "verify-ca" => ClientCert::VerifyCa,
                _ => return Err(complaint(format!("invalid value for clientcert: \"{value}\""))),
            };
        }
        "clientname" => {
            needs_ssl()?;
            rule.client_name_is_dn = match value {
                "CN" => false,
                "DN" => true,
                _ => return Err(complaint(format!("invalid value for clientname: \"{value}\""))),
            };
        }
        // Options of methods that this build does not have, and so of no line that gets here.
        "pamservice" | "pam_use_hostname" => return only_for("pam"),
        "ldapurl"
        | "ldaptls"
        | "ldapscheme"
        | "ldapserver"
        | "ldapport"
        | "ldapbinddn"
        | "ldapbindpasswd"
        | "ldapsearchattribute"
        | "ldapsearchfilter"
        | "ldapbasedn"
        | "ldapprefix"
        | "ldapsuffix" => {
            return only_for("ldap");
        }
        "krb_realm" | "include_realm" => return only_for("gssapi and sspi"),
        "compat_realm" | "upn_username" => return only_for("sspi"),
        "radiusservers" | "radiusports" | "radiussecrets" | "radiusidentifiers" => return only_for("radius"),
        _ => return Err(complaint(format!("unrecognized authentication option name: \"{name}\""))),
    }
    Ok(())
}
