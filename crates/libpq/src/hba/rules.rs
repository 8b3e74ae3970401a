//! The files as the views `pg_hba_file_rules` and `pg_ident_file_mappings` show them: read anew, errors and
//! all, so that a change can be checked before it is loaded.
//!
//! C counterpart: utils/adt/hbafuncs.c.

use std::path::Path;

use elog::Result;

use super::line::{ClientCert, HbaLine};
use super::token::{Token, tokenize};
use super::{Address, ident, line, read_config_file};

/// A row of `pg_hba_file_rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRule {
    /// `line_number`
    pub line_number: i32,
    /// `type`
    pub kind: Option<&'static str>,
    /// `database`
    pub database: Option<Vec<String>>,
    /// `user_name`
    pub user_name: Option<Vec<String>>,
    /// `address`
    pub address: Option<String>,
    /// `netmask`
    pub netmask: Option<String>,
    /// `auth_method`
    pub auth_method: Option<&'static str>,
    /// `options`
    pub options: Option<Vec<String>>,
    /// `error`
    pub error: Option<String>,
}

/// A row of `pg_ident_file_mappings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMapping {
    /// `line_number`
    pub line_number: i32,
    /// `map_name`
    pub map_name: Option<String>,
    /// `sys_name`
    pub sys_name: Option<String>,
    /// `pg_username`
    pub pg_username: Option<String>,
    /// `error`
    pub error: Option<String>,
}

/// The rows of `pg_hba_file_rules`, from the file as it is now.
///
/// # Errors
/// If it cannot be read.
#[doc(alias = "pg_hba_file_rules")]
pub fn file_rules() -> Result<Vec<FileRule>> {
    let path = super::hba_path();
    Ok(rules_of(&path, &read_config_file(&path)?, guc::vars::SSL.get()))
}

/// The rows of `pg_ident_file_mappings`, from the file as it is now.
///
/// # Errors
/// If it cannot be read.
#[doc(alias = "pg_ident_file_mappings")]
pub fn file_mappings() -> Result<Vec<FileMapping>> {
    let path = super::ident_path();
    Ok(mappings_of(&path, &read_config_file(&path)?))
}

pub(super) fn rules_of(path: &Path, text: &str, ssl_enabled: bool) -> Vec<FileRule> {
    let lines = tokenize(path, text, &mut Vec::new());
    let row = |tokens: &super::token::TokenLine| {
        let (rule, error) = match &tokens.error {
            Some(error) => (None, Some(error.clone())),
            None => line::parse(tokens, path, ssl_enabled, &mut Vec::new()),
        };
        FileRule { line_number: tokens.number as i32, error, ..rule.as_ref().map(filled).unwrap_or_default() }
    };
    lines.iter().map(row).collect()
}

/// C: `fill_hba_line`.
fn filled(rule: &HbaLine) -> FileRule {
    let texts = |tokens: &[Token]| Some(tokens.iter().map(|token| token.text.clone()).collect());
    let (address, netmask) = match &rule.address {
        None => (None, None),
        Some(Address::All) => (Some("all".to_owned()), None),
        Some(Address::SameHost) => (Some("samehost".to_owned()), None),
        Some(Address::SameNet) => (Some("samenet".to_owned()), None),
        Some(Address::HostName(name)) => (Some(name.clone()), None),
        Some(Address::Network { ip, mask }) => (Some(ip.to_string()), Some(mask.to_string())),
    };
    let mut options = Vec::new();
    if let Some(map) = &rule.usermap {
        options.push(format!("map={map}"));
    }
    match rule.client_cert {
        ClientCert::Off => {}
        ClientCert::VerifyCa => options.push("clientcert=verify-ca".to_owned()),
        ClientCert::VerifyFull => options.push("clientcert=verify-full".to_owned()),
    }
    FileRule {
        line_number: 0,
        kind: Some(rule.conn_type.name()),
        database: texts(&rule.databases),
        user_name: texts(&rule.roles),
        address,
        netmask,
        auth_method: Some(rule.method.name()),
        options: (!options.is_empty()).then_some(options),
        error: None,
    }
}

pub(super) fn mappings_of(path: &Path, text: &str) -> Vec<FileMapping> {
    let lines = tokenize(path, text, &mut Vec::new());
    let row = |tokens: &super::token::TokenLine| {
        let line_number = tokens.number as i32;
        let failed =
            |error: String| FileMapping { line_number, error: Some(error), ..FileMapping::default() };
        if let Some(error) = &tokens.error {
            return failed(error.clone());
        }
        match ident::parse_line(tokens, path) {
            // Here the row itself says where.
            Err(error) if error.message.starts_with("missing entry") => {
                failed("missing entry at end of line".to_owned())
            }
            Err(error) => failed(error.message.to_string()),
            Ok(line) => FileMapping {
                line_number,
                map_name: Some(line.map),
                sys_name: Some(line.system_user),
                pg_username: Some(line.role),
                error: None,
            },
        }
    };
    lines.iter().map(row).collect()
}
