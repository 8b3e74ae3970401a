//! CREATE_REPLICATION_SLOT and DROP_REPLICATION_SLOT.
//!
//! C counterpart: `parseCreateReplSlotOptions`, `CreateReplicationSlot`, `DropReplicationSlot` of walsender.c,
//! `CheckLogicalDecodingRequirements` of logical.c, `defGetBoolean` of define.c.

use basebackup::options::{CommandOption, OptionValue};
use common::SqlState;
use elog::{PgError, Result, error};
use libpq::Port;
use replication::slot::{self, Persistency};

use crate::grammar::{CreateSlot, syntax_error};
use crate::rows::{self, Kind};

/// C: `CreateReplicationSlot`.
pub(crate) fn create(port: &mut Port, create: &CreateSlot, in_database: bool) -> Result<()> {
    let reserve_wal = parse_options(create)?;
    if create.plugin.is_some() {
        check_logical_requirements(in_database)?;
        return Err(logical_not_supported());
    }
    let persistency = if create.temporary { Persistency::Temporary } else { Persistency::Persistent };
    slot::create(&create.name, persistency)?;
    if reserve_wal {
        slot::reserve_wal()?;
        slot::mark_dirty();
        if !create.temporary {
            slot::save()?;
        }
    }
    let columns = [
        ("slot_name", Kind::Text),
        ("consistent_point", Kind::Text),
        ("snapshot_name", Kind::Text),
        ("output_plugin", Kind::Text),
    ];
    rows::columns(port, &columns);
    let name = slot::mine().map_or_else(|| create.name.clone(), |slot| slot.name.to_string());
    // A physical slot has no consistent point.
    rows::row(port, &[Some(&name), Some("0/0"), None, None]);
    slot::release();
    Ok(())
}

/// C: `DropReplicationSlot`.
pub(crate) fn drop_slot(name: &str, wait: bool) -> Result<()> {
    slot::drop_slot(name, !wait)
}

/// Whether WAL is to be reserved at once; what is for logical slots is checked and forgotten. C: `parseCreateReplSlotOptions`.
fn parse_options(create: &CreateSlot) -> Result<bool> {
    let conflicting = || syntax_error("conflicting or redundant options");
    let is_logical = create.plugin.is_some();
    let (mut snapshot, mut reserve_wal, mut two_phase) = (false, None, false);
    for option in &create.options {
        match option.name.as_str() {
            "snapshot" => {
                if std::mem::replace(&mut snapshot, true) || !is_logical {
                    return Err(conflicting());
                }
                check_snapshot_action(option)?;
            }
            "reserve_wal" => {
                if reserve_wal.is_some() || is_logical {
                    return Err(conflicting());
                }
                reserve_wal = Some(boolean(option)?);
            }
            "two_phase" => {
                if std::mem::replace(&mut two_phase, true) || !is_logical {
                    return Err(conflicting());
                }
                boolean(option)?;
            }
            other => return Err(error!(SqlState::INTERNAL_ERROR, "unrecognized option: {other}")),
        }
    }
    Ok(reserve_wal.unwrap_or(false))
}

fn check_snapshot_action(option: &CommandOption) -> Result<()> {
    let action = match &option.value {
        Some(OptionValue::Text(text)) => text.clone(),
        Some(OptionValue::Integer(number)) => number.to_string(),
        None => return Err(syntax_error("snapshot requires a parameter")),
    };
    if ["export", "nothing", "use"].contains(&action.as_str()) {
        return Ok(());
    }
    Err(error!(
        SqlState::INVALID_PARAMETER_VALUE,
        "unrecognized value for CREATE_REPLICATION_SLOT option \"snapshot\": \"{action}\""
    ))
}

/// C: `defGetBoolean`.
fn boolean(option: &CommandOption) -> Result<bool> {
    let value = match &option.value {
        None => Some(true),
        Some(OptionValue::Integer(0)) => Some(false),
        Some(OptionValue::Integer(1)) => Some(true),
        Some(OptionValue::Integer(_)) => None,
        Some(OptionValue::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
    };
    value.ok_or_else(|| syntax_error(&format!("{} requires a Boolean value", option.name)))
}

/// What logical replication asks for before anything else. C: `CheckLogicalDecodingRequirements`.
///
/// # Errors
/// 55000, with PostgreSQL's words.
pub(crate) fn check_logical_requirements(in_database: bool) -> Result<()> {
    slot::check_requirements()?;
    let not_ready = |text: &str| error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{text}");
    if guc::vars::WAL_LEVEL.get() != "logical" {
        return Err(not_ready("logical decoding requires wal_level >= logical"));
    }
    if !in_database {
        return Err(not_ready("logical decoding requires a database connection"));
    }
    if wal::in_recovery() {
        return Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "logical decoding cannot be used while in recovery"
        ));
    }
    Ok(())
}

/// 0A000: there is no logical decoding.
pub(crate) fn logical_not_supported() -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "logical replication is not supported")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{self, Command};

    fn options(command: &str) -> std::result::Result<bool, String> {
        let Command::CreateReplicationSlot(create) = grammar::parse(command).unwrap() else { panic!() };
        parse_options(&create).map_err(|error| error.message.to_string())
    }

    #[test]
    fn options_of_a_slot() {
        let conflicting = || Err("conflicting or redundant options".to_owned());
        for (text, expected) in [
            ("CREATE_REPLICATION_SLOT s PHYSICAL", Ok(false)),
            ("CREATE_REPLICATION_SLOT s PHYSICAL RESERVE_WAL", Ok(true)),
            ("CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL (RESERVE_WAL)", Ok(true)),
            ("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL 0)", Ok(false)),
            ("CREATE_REPLICATION_SLOT s PHYSICAL (reserve_wal 'On')", Ok(true)),
            ("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL, RESERVE_WAL)", conflicting()),
            ("CREATE_REPLICATION_SLOT s PHYSICAL (SNAPSHOT 'use')", conflicting()),
            ("CREATE_REPLICATION_SLOT s LOGICAL p (RESERVE_WAL)", conflicting()),
            ("CREATE_REPLICATION_SLOT s LOGICAL p NOEXPORT_SNAPSHOT TWO_PHASE", Ok(false)),
            (
                "CREATE_REPLICATION_SLOT s LOGICAL p (SNAPSHOT 'x')",
                Err("unrecognized value for CREATE_REPLICATION_SLOT option \"snapshot\": \"x\"".to_owned()),
            ),
            (
                "CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL 'maybe')",
                Err("reserve_wal requires a Boolean value".to_owned()),
            ),
            ("CREATE_REPLICATION_SLOT s PHYSICAL (foo 1)", Err("unrecognized option: foo".to_owned())),
        ] {
            assert_eq!(options(text), expected, "{text}");
        }
    }
}
