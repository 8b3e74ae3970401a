//! The options of `BASE_BACKUP`: what the replication grammar read, checked and given meaning.
//!
//! The grammar knows no names: it hands over a list of names with values of any kind, so that every complaint about them is
//! made here.
//!
//! C counterpart: `parse_basebackup_options` of replication/basebackup.c, `defGetString` and its siblings of
//! commands/define.c.

use common::SqlState;
use elog::{PgError, Result, error};

use crate::checksum::Algorithm;
use crate::compression::{self, Compression};
use crate::target::{self, Target};

/// What stands behind an option's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A number without sign.
    Integer(i64),
    /// A quoted text, or a bare word.
    Text(String),
}

/// One option, as the replication grammar has read it. C: `DefElem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// Its name in lower case.
    pub name: String,
    /// Its value, if there is one: `PROGRESS` alone means true.
    pub value: Option<OptionValue>,
}

/// Slowest rate a client may ask for, kB per second. C: `MAX_RATE_LOWER`.
const RATE_KB_MIN: i64 = 32;
/// Fastest. C: `MAX_RATE_UPPER`.
const RATE_KB_MAX: i64 = 1_048_576;

/// Whether there is a manifest, and how it spells names. C: `backup_manifest_option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestKind {
    None,
    /// Names that are UTF-8 as they are, others in hex.
    Plain,
    /// All names in hex: so that tests see some.
    ForceEncode,
}

/// A backup as the client wants it. C: `basebackup_options`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) label: String,
    /// The client is told how much will come: costs a walk through all directories beforehand.
    pub(crate) progress: bool,
    pub(crate) fast_checkpoint: bool,
    pub(crate) include_wal: bool,
    /// Wait until the archive has what the backup needs.
    pub(crate) wait: bool,
    pub(crate) rate_kb: Option<u32>,
    /// Links to tablespaces go into a file `tablespace_map` instead of the archive.
    pub(crate) tablespace_map: bool,
    pub(crate) verify_checksums: bool,
    pub(crate) manifest: ManifestKind,
    /// Checksum of each file in the manifest.
    pub(crate) checksum: Algorithm,
    pub(crate) target: Target,
    pub(crate) compression: Option<Compression>,
}

/// The options as they were said, before those that depend on each other are looked at together.
#[derive(Default)]
struct Said {
    label: Option<String>,
    progress: Option<bool>,
    fast_checkpoint: Option<bool>,
    include_wal: Option<bool>,
    wait: Option<bool>,
    rate_kb: Option<u32>,
    tablespace_map: Option<bool>,
    verify_checksums: Option<bool>,
    manifest: Option<ManifestKind>,
    checksum: Option<Algorithm>,
    target: Option<String>,
    target_detail: Option<String>,
    compression: Option<compression::Algorithm>,
    compression_detail: Option<String>,
}

impl Options {
    /// Makes sense of what was said.
    ///
    /// # Errors
    /// 42601 for what is unknown, said twice, has a value of another kind or does not go together; 22003 for a rate out of
    /// range; 0A000 for an unknown target; 42501 for a target the role may not use.
    pub(crate) fn parse(options: &[CommandOption]) -> Result<Options> {
        let mut said = Said::default();
        for option in options {
            said.take(option)?;
        }
        said.combine()
    }
}

impl Said {
    fn take(&mut self, option: &CommandOption) -> Result<()> {
        match option.name.as_str() {
            "label" => once(option, &mut self.label, text),
            "progress" => once(option, &mut self.progress, boolean),
            "checkpoint" => once(option, &mut self.fast_checkpoint, checkpoint_kind),
            "wal" => once(option, &mut self.include_wal, boolean),
            "wait" => once(option, &mut self.wait, boolean),
            "max_rate" => once(option, &mut self.rate_kb, rate),
            "tablespace_map" => once(option, &mut self.tablespace_map, boolean),
            "verify_checksums" => once(option, &mut self.verify_checksums, boolean),
            "manifest" => once(option, &mut self.manifest, manifest_kind),
            "manifest_checksums" => once(option, &mut self.checksum, checksum),
            "target" => once(option, &mut self.target, text),
            "target_detail" => once(option, &mut self.target_detail, text),
            "compression" => once(option, &mut self.compression, compression),
            "compression_detail" => once(option, &mut self.compression_detail, text),
            other => Err(syntax(format!("unrecognized base backup option: \"{other}\""))),
        }
    }

    fn combine(self) -> Result<Options> {
        let manifest = self.manifest.unwrap_or(ManifestKind::None);
        let checksum = match (manifest, self.checksum) {
            (ManifestKind::None, Some(_)) => {
                return Err(syntax("manifest checksums require a backup manifest".into()));
            }
            (ManifestKind::None, None) => Algorithm::None,
            (_, said) => said.unwrap_or(Algorithm::Crc32c),
        };
        let target = target::parse(self.target.as_deref(), self.target_detail)?;
        let compression = match (self.compression, self.compression_detail) {
            (None, Some(_)) => {
                let text = "compression detail cannot be specified unless compression is enabled";
                return Err(syntax(text.into()));
            }
            (None, None) => None,
            (Some(algorithm), detail) => Compression::parse(algorithm, detail.as_deref())
                .map_err(|why| syntax(format!("invalid compression specification: {why}")))?,
        };
        Ok(Options {
            label: self.label.unwrap_or_else(|| "base backup".to_owned()),
            progress: self.progress.unwrap_or(false),
            fast_checkpoint: self.fast_checkpoint.unwrap_or(false),
            include_wal: self.include_wal.unwrap_or(false),
            wait: self.wait.unwrap_or(true),
            rate_kb: self.rate_kb,
            tablespace_map: self.tablespace_map.unwrap_or(false),
            verify_checksums: self.verify_checksums.unwrap_or(true),
            manifest,
            checksum,
            target,
            compression,
        })
    }
}

pub(crate) fn syntax(text: String) -> PgError {
    error!(SqlState::SYNTAX_ERROR, "{text}")
}

/// Reads one value into its place, which must still be empty.
fn once<T>(
    option: &CommandOption,
    place: &mut Option<T>,
    read: impl FnOnce(&CommandOption) -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(syntax(format!("duplicate option \"{}\"", option.name)));
    }
    *place = Some(read(option)?);
    Ok(())
}

/// C: `defGetString`.
fn text(option: &CommandOption) -> Result<String> {
    match &option.value {
        None => Err(syntax(format!("{} requires a parameter", option.name))),
        Some(OptionValue::Integer(number)) => Ok(number.to_string()),
        Some(OptionValue::Text(text)) => Ok(text.clone()),
    }
}

/// C: `defGetBoolean`.
fn boolean(option: &CommandOption) -> Result<bool> {
    let value = match &option.value {
        None => Some(true),
        Some(OptionValue::Integer(number)) => match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Some(OptionValue::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
    };
    value.ok_or_else(|| syntax(format!("{} requires a Boolean value", option.name)))
}

fn checkpoint_kind(option: &CommandOption) -> Result<bool> {
    let kind = text(option)?;
    match kind.to_ascii_lowercase().as_str() {
        "fast" => Ok(true),
        "spread" => Ok(false),
        _ => Err(syntax(format!("unrecognized checkpoint type: \"{kind}\""))),
    }
}

fn rate(option: &CommandOption) -> Result<u32> {
    let Some(OptionValue::Integer(rate)) = option.value else {
        return Err(syntax(format!("{} requires a numeric value", option.name)));
    };
    if !(RATE_KB_MIN..=RATE_KB_MAX).contains(&rate) {
        // PostgreSQL shows what fits an int.
        let shown = rate as i32;
        return Err(error!(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "{shown} is outside the valid range for parameter \"MAX_RATE\" ({RATE_KB_MIN} .. {RATE_KB_MAX})"
        ));
    }
    Ok(rate as u32)
}

fn manifest_kind(option: &CommandOption) -> Result<ManifestKind> {
    let kind = text(option)?;
    match guc::parse_bool(&kind) {
        Some(true) => Ok(ManifestKind::Plain),
        Some(false) => Ok(ManifestKind::None),
        None if kind.eq_ignore_ascii_case("force-encode") => Ok(ManifestKind::ForceEncode),
        None => Err(syntax(format!("unrecognized manifest option: \"{kind}\""))),
    }
}

fn checksum(option: &CommandOption) -> Result<Algorithm> {
    let name = text(option)?;
    Algorithm::from_name(&name).ok_or_else(|| syntax(format!("unrecognized checksum algorithm: \"{name}\"")))
}

fn compression(option: &CommandOption) -> Result<compression::Algorithm> {
    let name = text(option)?;
    compression::Algorithm::from_name(&name)
        .ok_or_else(|| syntax(format!("unrecognized compression algorithm: \"{name}\"")))
}

#[cfg(test)]
mod tests;
