//! `postgresql://user:password@host:port,host:port/database?option=value&…`, every part of it optional.
//!
//! C counterpart: `conninfo_uri_parse` and what it calls, fe-connect.c.

use super::Conninfo;

/// What follows the scheme, if the text is such a URI. C: `uri_prefix_length`.
pub(super) fn without_scheme(text: &str) -> Option<&str> {
    ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme))
}

/// C: `conninfo_uri_parse_options`.
pub(super) fn parse(info: &mut Conninfo, rest: &str, uri: &str) -> Result<(), String> {
    let mut rest = rest;
    // The user's part ends at an @ that comes before any slash.
    let end = rest.find(['@', '/']).unwrap_or(rest.len());
    if rest[end..].starts_with('@') {
        let (user, password) = match rest[..end].split_once(':') {
            Some((user, password)) => (user, password),
            None => (&rest[..end], ""),
        };
        store(info, "user", user)?;
        store(info, "password", password)?;
        rest = &rest[end + 1..];
    }
    rest = hosts(info, rest, uri)?;
    if let Some(path) = rest.strip_prefix('/') {
        let end = path.find('?').unwrap_or(path.len());
        store(info, "dbname", &path[..end])?;
        rest = &path[end..];
    }
    match rest.strip_prefix('?') {
        Some(parameters) => query(info, parameters),
        None => Ok(()),
    }
}

/// Decodes and sets a part that is not empty.
fn store(info: &mut Conninfo, name: &str, encoded: &str) -> Result<(), String> {
    if encoded.is_empty() { Ok(()) } else { info.set(name, decode(encoded)?) }
}

/// The list of hosts and ports; what follows it.
fn hosts<'a>(info: &mut Conninfo, text: &'a str, uri: &str) -> Result<&'a str, String> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    let mut rest = text;
    loop {
        let host;
        (host, rest) = match rest.strip_prefix('[') {
            Some(address) => bracketed(address, uri)?,
            None => rest.split_at(rest.find([':', '/', '?', ',']).unwrap_or(rest.len())),
        };
        hosts.push_str(host);
        if let Some(after) = rest.strip_prefix(':') {
            let port;
            (port, rest) = after.split_at(after.find(['/', '?', ',']).unwrap_or(after.len()));
            ports.push_str(port);
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
        hosts.push(',');
        ports.push(',');
    }
    store(info, "host", &hosts)?;
    store(info, "port", &ports)?;
    Ok(rest)
}

/// An IPv6 address, and what follows its bracket.
fn bracketed<'a>(text: &'a str, uri: &str) -> Result<(&'a str, &'a str), String> {
    let Some((address, rest)) = text.split_once(']') else {
        return Err(format!(
            "end of string reached when looking for matching \"]\" in IPv6 host address in URI: \"{uri}\""
        ));
    };
    if address.is_empty() {
        return Err(format!("IPv6 host address may not be empty in URI: \"{uri}\""));
    }
    match rest.chars().next() {
        None | Some(':' | '/' | '?' | ',') => Ok((address, rest)),
        Some(found) => Err(format!(
            "unexpected character \"{found}\" at position {} in URI (expected \":\" or \"/\"): \"{uri}\"",
            uri.len() - rest.len() + 1
        )),
    }
}

/// C: `conninfo_uri_parse_params`.
fn query(info: &mut Conninfo, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    for parameter in text.split('&') {
        let Some((name, value)) = parameter.split_once('=') else {
            if parameter.is_empty() {
                continue;
            }
            return Err(format!("missing key/value separator \"=\" in URI query parameter: \"{parameter}\""));
        };
        if value.contains('=') {
            return Err(format!("extra key/value separator \"=\" in URI query parameter: \"{name}\""));
        }
        let (name, value) = (decode(name)?, decode(value)?);
        // As JDBC says it.
        let result = match (&*name, &*value) {
            ("ssl", "true") => info.set("sslmode", "require"),
            _ => info.set(&name, value),
        };
        result.map_err(|_| format!("invalid URI query parameter: \"{name}\""))?;
    }
    Ok(())
}

/// `%41` is `A`. C: `conninfo_uri_decode`.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|c| char::from(*c).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(format!("invalid percent-encoded token: \"{text}\""));
        };
        let value = (high * 16 + low) as u8;
        if value == 0 {
            return Err(format!("forbidden value %00 in percent-encoded value: \"{text}\""));
        }
        bytes.push(value);
        rest = &after[2..];
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
