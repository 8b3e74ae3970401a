//! What a slot may be called, and whether there may be slots at all.
//!
//! C counterpart: `ReplicationSlotValidateName`, `CheckSlotRequirements`.

use common::SqlState;
use elog::{Result, error};

/// Longest name and its final zero byte. C: `NAMEDATALEN`.
const NAME_BYTES: usize = 64;

/// A name becomes the name of a directory, so only what every file system takes is allowed.
/// C: `ReplicationSlotValidateName`.
///
/// # Errors
/// 42602 for a name that is empty or has another character, 42622 for one that is too long.
pub fn validate_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(error!(SqlState::INVALID_NAME, "replication slot name \"{name}\" is too short"));
    }
    if name.len() >= NAME_BYTES {
        return Err(error!(SqlState::NAME_TOO_LONG, "replication slot name \"{name}\" is too long"));
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        let text = "Replication slot names may only contain lower case letters, numbers, and the underscore character.";
        return Err(error!(
            SqlState::INVALID_NAME,
            "replication slot name \"{name}\" contains invalid character"
        )
        .hint(text));
    }
    Ok(())
}

/// Are there to be slots on this server? C: `CheckSlotRequirements`.
///
/// # Errors
/// 55000 if the settings exclude it.
pub fn check_requirements() -> Result<()> {
    let code = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    if guc::vars::MAX_REPLICATION_SLOTS.get() == 0 {
        return Err(error!(code, "replication slots can only be used if max_replication_slots > 0"));
    }
    if guc::vars::WAL_LEVEL.get() == "minimal" {
        return Err(error!(code, "replication slots can only be used if wal_level >= replica"));
    }
    Ok(())
}
