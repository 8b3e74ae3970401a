//! pg_hba.conf and pg_ident.conf: who may come in how.
//!
//! The postmaster parses both files at start and on SIGHUP; a child finds them parsed ([`current`]) and only
//! matches. A file with an error in any line changes nothing: after [`reload`] the old rules still hold.
//!
//! A line becomes tokens (`token`: quotes, comma lists, `@file`), tokens become an [`HbaLine`] (`line`), the first
//! line that fits a connection decides (`check`). Each step is a function of its input; only this file touches
//! settings and the log.
//!
//! C counterpart: libpq/hba.c, and utils/adt/hbafuncs.c for [`rules`].

mod address; // 2. addresses and masks
mod check; // 4. which rule fits
mod ident; // 5. pg_ident.conf
mod line; // 3. tokens to a rule
pub mod rules;
mod token; // 1. text to tokens // 6. as the views show them

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use common::SqlState;
use elog::{PgError, Result, ereport, errno_text, error, fatal};

pub use address::Address;
pub use check::Connection;
pub use ident::{IdentFile, IdentLine};
pub use line::{ClientCert, ConnType, HbaLine, Method};
pub use rules::{FileMapping, FileRule, file_mappings, file_rules};
pub use token::Token;

/// Both files, parsed.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `pg_hba.conf`.
    pub hba: Arc<HbaFile>,
    /// `pg_ident.conf`.
    pub ident: Arc<IdentFile>,
}

/// A parsed pg_hba.conf. C: `parsed_hba_lines`.
#[derive(Clone, Debug, Default)]
pub struct HbaFile {
    /// Where it was read from, for messages.
    pub path: PathBuf,
    /// Its rules, first to last.
    pub lines: Vec<Arc<HbaLine>>,
}

static CURRENT: RwLock<Option<Rules>> = RwLock::new(None);

/// The rules of this process. Empty, so that nobody gets in, before [`load`].
pub fn current() -> Rules {
    CURRENT.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

fn set_current(rules: Rules) {
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(rules);
}

/// `hba_file`, or its place in the data directory.
pub(crate) fn hba_path() -> PathBuf {
    configured(&guc::vars::HBA_FILE.get(), "pg_hba.conf")
}

/// `ident_file`, or its place in the data directory.
pub(crate) fn ident_path() -> PathBuf {
    configured(&guc::vars::IDENT_FILE.get(), "pg_ident.conf")
}

fn configured(setting: &str, default: &str) -> PathBuf {
    miscinit::globals::data_dir().join(if setting.is_empty() { default } else { setting })
}

/// Reads both files at the start of the postmaster. C: `load_hba` and `load_ident` in `PostmasterMain`.
///
/// # Errors
/// FATAL `could not load pg_hba.conf` after the reasons have been logged. A bad pg_ident.conf is only logged:
/// most methods do without it.
pub fn load() -> Result<()> {
    // Here, in the parent: a nonce made by each child for itself would give unknown roles away.
    crate::auth::mock_nonce()?;
    let hba = read_logged(HbaFile::read(&hba_path(), guc::vars::SSL.get()))
        .ok_or_else(|| fatal!(SqlState::INTERNAL_ERROR, "could not load pg_hba.conf"))?;
    let ident = read_logged(IdentFile::read(&ident_path())).unwrap_or_default();
    set_current(Rules { hba: Arc::new(hba), ident: Arc::new(ident) });
    Ok(())
}

/// Reads both files again on SIGHUP. A file with errors is logged and the old one kept.
pub fn reload() {
    let mut rules = current();
    match read_logged(HbaFile::read(&hba_path(), guc::vars::SSL.get())) {
        Some(hba) => rules.hba = Arc::new(hba),
        None => ereport!(Log, "pg_hba.conf was not reloaded"),
    }
    match read_logged(IdentFile::read(&ident_path())) {
        Some(ident) => rules.ident = Arc::new(ident),
        None => ereport!(Log, "pg_ident.conf was not reloaded"),
    }
    set_current(rules);
}

/// The file unless something forbids using it; everything there is to say goes to the log.
fn read_logged<T>((file, complaints): (Option<T>, Vec<PgError>)) -> Option<T> {
    complaints.iter().for_each(PgError::report);
    file
}

impl HbaFile {
    /// Reads and parses a file: the rules unless there is an error, and what to log, in order. C: `load_hba`.
    pub fn read(path: &Path, ssl_enabled: bool) -> (Option<HbaFile>, Vec<PgError>) {
        match read_config_file(path) {
            Ok(text) => HbaFile::parse(path, &text, ssl_enabled),
            Err(error) => (None, vec![error.with_severity(elog::Severity::Log)]),
        }
    }

    /// The same with the text already read; `path` is for messages and for what `@file` is relative to.
    pub fn parse(path: &Path, text: &str, ssl_enabled: bool) -> (Option<HbaFile>, Vec<PgError>) {
        let mut complaints = Vec::new();
        let tokenized = token::tokenize(path, text, &mut complaints);
        let mut lines = Vec::new();
        let mut good = true;
        for tokens in &tokenized {
            let parsed = match tokens.error {
                // Said already.
                Some(_) => None,
                None => line::parse(tokens, path, ssl_enabled, &mut complaints).0,
            };
            // After an error, the rest is still parsed so that all errors are seen at once.
            good &= parsed.is_some();
            lines.extend(parsed.map(Arc::new));
        }
        if good && lines.is_empty() {
            complaints.push(elog::pg_error!(
                Log,
                SqlState::CONFIG_FILE_ERROR,
                "configuration file \"{}\" contains no entries",
                path.display()
            ));
            good = false;
        }
        (good.then(|| HbaFile { path: path.to_owned(), lines }), complaints)
    }
}

/// The text of a file; bytes that are no UTF-8 become replacement characters and match no name.
fn read_config_file(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| {
        error!(
            elog::sqlstate_for_file_access(&e),
            "could not open configuration file \"{}\": {}",
            path.display(),
            errno_text(&e)
        )
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
