//! Which rule fits a connection.
//!
//! C counterpart: `check_hba`, `check_db`, `check_role` of hba.c.

use std::net::IpAddr;
use std::sync::Arc;

use elog::Result;

use super::HbaFile;
use super::address::{Address, in_network, is_near};
use super::line::{ConnType, HbaLine};
use super::token::Token;
use crate::auth::RoleSource;
use crate::hostname::RemoteName;

/// What is to be matched.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// The client's address; `None` over a Unix socket.
    pub ip: Option<IpAddr>,
    /// It is encrypted.
    pub encrypted: bool,
    /// It wants to replicate without a database.
    pub physical_replication: bool,
    /// The role it asks for.
    pub user: &'a str,
    /// The database it asks for.
    pub database: &'a str,
}

impl HbaFile {
    /// The first rule that fits; if none does, one that says so ([`super::Method::ImplicitReject`]).
    pub(crate) fn first_match(
        &self,
        connection: &Connection<'_>,
        remote_name: &mut RemoteName,
        roles: &dyn RoleSource,
    ) -> Result<Arc<HbaLine>> {
        for line in &self.lines {
            if fits_address(line, connection, remote_name)
                && fits_database(line, connection, roles)?
                && fits_role(line, connection, roles)?
            {
                return Ok(line.clone());
            }
        }
        Ok(Arc::new(HbaLine::implicit_reject()))
    }
}

fn fits_address(line: &HbaLine, connection: &Connection<'_>, remote_name: &mut RemoteName) -> bool {
    let (Some(ip), Some(address)) = (connection.ip, &line.address) else {
        return connection.ip.is_none() && line.conn_type == ConnType::Local;
    };
    let fits_encryption = match line.conn_type {
        ConnType::HostSsl => connection.encrypted,
        ConnType::HostNoSsl => !connection.encrypted,
        ConnType::HostGssEnc | ConnType::Local => false,
        ConnType::Host | ConnType::HostNoGssEnc => true,
    };
    fits_encryption
        && match address {
            Address::All => true,
            Address::SameHost => is_near(ip, false),
            Address::SameNet => is_near(ip, true),
            Address::Network { ip: network, mask } => in_network(ip, *network, *mask),
            Address::HostName(name) => remote_name.check(ip, name),
        }
}

fn fits_database(line: &HbaLine, connection: &Connection<'_>, roles: &dyn RoleSource) -> Result<bool> {
    let Connection { user, database, .. } = *connection;
    for token in &line.databases {
        let fits = if connection.physical_replication {
            // Only this word lets a walsender without a database in; "all" does not.
            token.is_keyword("replication")
        } else if token.is_keyword("all") {
            true
        } else if token.is_keyword("sameuser") {
            user == database
        } else if token.is_keyword("samerole") || token.is_keyword("samegroup") {
            roles.is_member(user, database)?
        } else {
            !token.is_keyword("replication") && token.text == database
        };
        if fits {
            return Ok(true);
        }
    }
    Ok(false)
}

fn fits_role(line: &HbaLine, connection: &Connection<'_>, roles: &dyn RoleSource) -> Result<bool> {
    for token in &line.roles {
        let fits = match token.text.strip_prefix('+') {
            Some(group) if !token.quoted => roles.is_member(connection.user, group)?,
            _ => token.is_keyword("all") || matches_name(token, connection.user),
        };
        if fits {
            return Ok(true);
        }
    }
    Ok(false)
}

fn matches_name(token: &Token, name: &str) -> bool {
    token.text == name
}
