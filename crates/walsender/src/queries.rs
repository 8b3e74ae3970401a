//! Commands that only ask: IDENTIFY_SYSTEM, SHOW, TIMELINE_HISTORY, READ_REPLICATION_SLOT.
//!
//! C counterpart: `IdentifySystem`, `SendTimeLineHistory`, `ReadReplicationSlot` of walsender.c, `GetPGVariable` of guc.c.

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, error};
use file::OpenFlags;
use guc::Privileges;
use libpq::Port;
use replication::slot;
use shmem::wait_event::WaitEvent;
use wal::timeline;

use crate::position;
use crate::rows::{self, Kind};

/// C: `IdentifySystem`.
pub(crate) fn identify_system(port: &mut Port, database: Option<&str>) -> Result<()> {
    let identifier = wal::control_file::read()?.system_identifier.to_string();
    let (flushed, timeline) = position::flushed();
    let columns =
        [("systemid", Kind::Text), ("timeline", Kind::Int4), ("xlogpos", Kind::Text), ("dbname", Kind::Text)];
    rows::columns(port, &columns);
    let (timeline, flushed) = (timeline.0.to_string(), flushed.to_string());
    rows::row(port, &[Some(&identifier), Some(&timeline), Some(&flushed), database]);
    Ok(())
}

/// C: `GetPGVariable`.
pub(crate) fn show(port: &mut Port, name: &str, privileges: &Privileges) -> Result<()> {
    if name == "all" {
        let columns = [("name", Kind::Text), ("setting", Kind::Text), ("description", Kind::Text)];
        rows::columns(port, &columns);
        for (name, setting, description) in guc::show_all(privileges) {
            rows::row(port, &[Some(name), Some(&setting), Some(description)]);
        }
        return Ok(());
    }
    let value = guc::show(name, privileges)?;
    let shown = guc::find(name).map_or(name, |setting| setting.name);
    rows::columns(port, &[(shown, Kind::Text)]);
    rows::row(port, &[Some(&value)]);
    Ok(())
}

/// The columns come before the file is opened, even if it cannot be. C: `SendTimeLineHistory`.
pub(crate) fn timeline_history(port: &mut Port, wanted: TimeLineId) -> Result<()> {
    rows::columns_with(port, &[("filename", Kind::Text), ("content", Kind::Text)], 0);
    let path = timeline::path(wanted);
    let failed = |verb: &str, error: std::io::Error| file::file_error(verb, &path, &error);
    let history = file::open(&path, OpenFlags::READ).map_err(|error| failed("open", error))?;
    let size = history.size().map_err(|error| failed("seek to end of", error))?;
    let mut content = vec![0; size as usize];
    let count = history
        .read_at(&mut content, 0, WaitEvent::WALSENDER_TIMELINE_HISTORY_READ)
        .map_err(|error| failed("read", error))?;
    if count < content.len() {
        return Err(error!(
            SqlState::DATA_CORRUPTED,
            "could not read file \"{}\": read {count} of {}",
            path.display(),
            content.len()
        ));
    }
    // As it is: the standby makes a file of it.
    rows::row_of_bytes(port, &[Some(timeline::file_name(wanted).as_bytes()), Some(&content)]);
    Ok(())
}

/// C: `ReadReplicationSlot`.
pub(crate) fn read_slot(port: &mut Port, name: &str) -> Result<()> {
    let columns = [("slot_type", Kind::Text), ("restart_lsn", Kind::Text), ("restart_tli", Kind::Int8)];
    let found = slot::read(name);
    if let Some(slot) = &found
        && slot.database.is_valid()
    {
        return Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot use READ_REPLICATION_SLOT with a logical replication slot"
        ));
    }
    let restart = found.as_ref().map(|slot| slot.restart_lsn).filter(|lsn| *lsn != Lsn::INVALID);
    let timeline = restart.map(timeline_of).transpose()?.flatten();
    let (restart, timeline) = (restart.map(|lsn| lsn.to_string()), timeline.map(|tli| tli.0.to_string()));
    rows::columns(port, &columns);
    rows::row(port, &[found.map(|_| "physical"), restart.as_deref(), timeline.as_deref()]);
    Ok(())
}

/// Which timeline a position is on, in the history of the one that this server is on.
fn timeline_of(lsn: Lsn) -> Result<Option<TimeLineId>> {
    let current = if wal::in_recovery() { wal::recovery_point::replayed().1 } else { wal::timeline() };
    Ok(timeline::read_history(current)?.tli_of_point(lsn))
}
