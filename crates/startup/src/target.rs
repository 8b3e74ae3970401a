//! Where recovery is to stop: a decision about one record, before and after it is replayed.
//!
//! [`Target::before`] and [`Target::after`] look at a record and at what is known, and do nothing; the loop in `redo`
//! logs what they found and stops.
//!
//! C counterpart: `recoveryStopsBefore`, `recoveryStopsAfter`, `getRecordTimestamp`, `getRecoveryStopReason` of
//! xlogrecovery.c.

use common::{Lsn, SqlState, Xid};
use elog::{Result, Severity, fatal};
use transam::redo::Completion;
use wal::{DecodedRecord, RmgrId};

/// C: `RecoveryTargetType` with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The end of WAL.
    None,
    /// As soon as the data is consistent.
    Immediate,
    /// The end of this transaction.
    Xid(Xid),
    /// The last (or, exclusive, before the first) transaction that ended then; microseconds since 2000-01-01.
    Time(i64),
    /// A restore point.
    Name(String),
    /// A position.
    Lsn(Lsn),
}

/// What to do at the target. C: `RecoveryTargetAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Stand still until somebody says that this is the right point.
    Pause,
    /// Open the cluster.
    Promote,
    /// Leave with status 3, which makes the postmaster stop the cluster.
    Shutdown,
}

impl Action {
    /// From `recovery_target_action`: nobody could end a pause if nobody can connect.
    pub(crate) fn of_setting(setting: &str, hot_standby: bool) -> Action {
        match setting {
            "promote" => Action::Promote,
            "shutdown" => Action::Shutdown,
            _ if hot_standby => Action::Pause,
            _ => Action::Shutdown,
        }
    }
}

/// The end of a transaction, or a restore point, as the record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment<'a> {
    pub(crate) time: i64,
    pub(crate) what: Event<'a>,
}

/// What happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Commit(Xid),
    Abort(Xid),
    RestorePoint(&'a str),
}

/// What a record says that targets look at; `None` for all the others. C: `getRecordTimestamp` and what surrounds it.
pub(crate) fn moment<'a>(record: &DecodedRecord<'a>) -> Option<Moment<'a>> {
    if record.rmgr == RmgrId::Xact as u8 {
        let Completion { xid, commit, time } = transam::redo::completion(record)?;
        let what = if commit { Event::Commit(xid) } else { Event::Abort(xid) };
        return Some(Moment { time, what });
    }
    if record.rmgr == RmgrId::Xlog as u8 && record.operation() == wal::checkpoint::info::RESTORE_POINT {
        let (time, name) = record.main_data.split_first_chunk::<8>()?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).ok()?;
        return Some(Moment { time: i64::from_le_bytes(*time), what: Event::RestorePoint(name) });
    }
    None
}

/// Where recovery stopped. C: `recoveryStopAfter` and its companions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The record was replayed.
    pub(crate) after: bool,
    /// What made it stop.
    pub(crate) at: StopAt,
}

/// See [`Stop`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopAt {
    Consistency,
    Lsn(Lsn),
    End { commit: bool, xid: Xid, time: i64 },
    RestorePoint { name: String, time: i64 },
}

impl Stop {
    fn word(&self) -> &'static str {
        if self.after { "after" } else { "before" }
    }

    /// The line in the log.
    pub(crate) fn message(&self) -> String {
        let word = self.word();
        match &self.at {
            StopAt::Consistency => "recovery stopping after reaching consistency".to_owned(),
            StopAt::Lsn(lsn) => format!("recovery stopping {word} WAL location (LSN) \"{lsn}\""),
            StopAt::End { commit, xid, time } => {
                let what = if *commit { "commit" } else { "abort" };
                let time = guc::timestamptz_text(*time);
                format!("recovery stopping {word} {what} of transaction {}, time {time}", xid.0)
            }
            StopAt::RestorePoint { name, time } => {
                let time = guc::timestamptz_text(*time);
                format!("recovery stopping at restore point \"{name}\", time {time}")
            }
        }
    }
}

impl Target {
    /// From the settings, of which only one is set: `guc` has refused to start otherwise.
    ///
    /// # Errors
    /// FATAL if it is not what it should be.
    pub(crate) fn of_settings() -> Result<Target> {
        let settings = [
            ("recovery_target", guc::vars::RECOVERY_TARGET.get()),
            ("recovery_target_lsn", guc::vars::RECOVERY_TARGET_LSN.get()),
            ("recovery_target_name", guc::vars::RECOVERY_TARGET_NAME.get()),
            ("recovery_target_time", guc::vars::RECOVERY_TARGET_TIME.get()),
            ("recovery_target_xid", guc::vars::RECOVERY_TARGET_XID.get()),
        ];
        let set = settings.into_iter().find(|(_, value)| !value.is_empty());
        let Some((name, value)) = set else { return Ok(Target::None) };
        Target::parse(name, &value)
    }

    fn parse(setting: &str, value: &str) -> Result<Target> {
        let invalid = || {
            let text = format!("invalid value for parameter \"{setting}\": \"{value}\"");
            fatal!(SqlState::INVALID_PARAMETER_VALUE, "{text}")
        };
        Ok(match setting {
            "recovery_target_lsn" => Target::Lsn(value.parse().map_err(|_| invalid())?),
            "recovery_target_name" => Target::Name(value.to_owned()),
            "recovery_target_time" => Target::Time(parse_time(value)?),
            // Numbers count modulo 2^32, as all transaction ids do in settings.
            "recovery_target_xid" => Target::Xid(Xid(parse_xid(value).ok_or_else(invalid)?)),
            _ => Target::Immediate,
        })
    }

    /// For `starting point-in-time recovery to …`; `None` for the end of WAL.
    pub(crate) fn description(&self) -> Option<String> {
        Some(match self {
            Target::None => return None,
            Target::Immediate => "earliest consistent point".to_owned(),
            Target::Xid(xid) => format!("XID {}", xid.0),
            Target::Time(time) => guc::timestamptz_text(*time),
            Target::Name(name) => format!("\"{name}\""),
            Target::Lsn(lsn) => format!("WAL location (LSN) \"{lsn}\""),
        })
    }

    /// Whether to stop before a record. C: `recoveryStopsBefore`.
    pub(crate) fn before(
        &self,
        inclusive: bool,
        record: &DecodedRecord<'_>,
        consistent: bool,
    ) -> Option<Stop> {
        match self {
            Target::None => None,
            Target::Immediate => consistent.then_some(Stop { after: false, at: StopAt::Consistency }),
            Target::Lsn(lsn) if !inclusive && record.lsn >= *lsn => {
                Some(Stop { after: false, at: StopAt::Lsn(record.lsn) })
            }
            _ => self.before_moment(inclusive, moment(record)?),
        }
    }

    /// The part about ends of transactions. There can be many with one time: inclusive means behind the last of them. Ids
    /// are compared for equality: who began later may end earlier.
    fn before_moment(&self, inclusive: bool, moment: Moment<'_>) -> Option<Stop> {
        let (commit, xid) = match moment.what {
            Event::Commit(xid) => (true, xid),
            Event::Abort(xid) => (false, xid),
            Event::RestorePoint(_) => return None,
        };
        let stops = match self {
            Target::Xid(target) => !inclusive && xid == *target,
            Target::Time(target) if inclusive => moment.time > *target,
            Target::Time(target) => moment.time >= *target,
            _ => false,
        };
        stops.then_some(Stop { after: false, at: StopAt::End { commit, xid, time: moment.time } })
    }

    /// Whether to stop behind a record. C: `recoveryStopsAfter`.
    pub(crate) fn after(
        &self,
        inclusive: bool,
        record: &DecodedRecord<'_>,
        consistent: bool,
    ) -> Option<Stop> {
        match self {
            Target::Lsn(lsn) if inclusive && record.lsn >= *lsn => {
                Some(Stop { after: true, at: StopAt::Lsn(record.lsn) })
            }
            // Only where a transaction ends: in between, the next look is that before the next record.
            Target::Immediate if consistent && record.rmgr == RmgrId::Xact as u8 => {
                Some(Stop { after: true, at: StopAt::Consistency })
            }
            Target::Name(_) | Target::Xid(_) => self.after_moment(inclusive, moment(record)?),
            _ => None,
        }
    }

    fn after_moment(&self, inclusive: bool, moment: Moment<'_>) -> Option<Stop> {
        let time = moment.time;
        let at = match (self, moment.what) {
            // There may be several of one name: the first one counts.
            (Target::Name(target), Event::RestorePoint(name)) if name == target => {
                StopAt::RestorePoint { name: name.to_owned(), time }
            }
            (Target::Xid(target), Event::Commit(xid)) if inclusive && xid == *target => {
                StopAt::End { commit: true, xid, time }
            }
            (Target::Xid(target), Event::Abort(xid)) if inclusive && xid == *target => {
                StopAt::End { commit: false, xid, time }
            }
            _ => return None,
        };
        Some(Stop { after: true, at })
    }

    /// What the history of the new timeline says about why it began; with `stop`, where recovery stopped.
    /// C: `getRecoveryStopReason`.
    pub(crate) fn reason(&self, stop: Option<&Stop>) -> String {
        let word = stop.map_or("before", Stop::word);
        match (self, stop.map(|stop| &stop.at)) {
            (Target::Time(_), Some(StopAt::End { time, .. })) => {
                format!("{word} {}\n", guc::timestamptz_text(*time))
            }
            (Target::Time(_), _) => format!("{word} {}\n", guc::timestamptz_text(0)),
            (Target::Xid(_), Some(StopAt::End { xid, .. })) => format!("{word} transaction {}", xid.0),
            (Target::Xid(_), _) => format!("{word} transaction 0"),
            (Target::Lsn(_), Some(StopAt::Lsn(lsn))) => format!("{word} LSN {lsn}\n"),
            (Target::Lsn(_), _) => format!("{word} LSN 0/0\n"),
            (Target::Name(_), Some(StopAt::RestorePoint { name, .. })) => {
                format!("at restore point \"{name}\"")
            }
            (Target::Name(_), _) => "at restore point \"\"".to_owned(),
            (Target::Immediate, _) => "reached consistency".to_owned(),
            (Target::None, _) => "no recovery target specified".to_owned(),
        }
    }
}

/// The number that the text begins with, in C's notation; 0 without one, and without a complaint. C: `strtoul(.., 0)` of
/// `check_recovery_target_xid`.
fn parse_xid(value: &str) -> Option<u32> {
    let value = value.trim_start();
    let hex = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"));
    let (radix, digits) = match hex {
        Some(digits) => (16, digits),
        None if value.starts_with('0') => (8, value),
        None => (10, value),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return Some(0);
    }
    u64::from_str_radix(&digits[..end], radix).ok().map(|number| number as u32)
}

/// Whether `recovery_target_time` may be this: for `guc::set_recovery_time_check`. C: `check_recovery_target_time`.
pub fn is_recovery_time(value: &str) -> bool {
    parse_time(value).is_ok()
}

/// C: `timestamptz_in` in `validateRecoveryParameters`.
fn parse_time(value: &str) -> Result<i64> {
    let invalid = |error: elog::PgError| error.with_severity(Severity::Fatal);
    // What depends on today would mean something else after a crash.
    if ["now", "today", "tomorrow", "yesterday"].contains(&value.trim().to_ascii_lowercase().as_str()) {
        let text = format!("invalid value for parameter \"recovery_target_time\": \"{value}\"");
        return Err(fatal!(SqlState::INVALID_PARAMETER_VALUE, "{text}"));
    }
    match types::io::input(types::oid::TIMESTAMPTZ, -1, value).map_err(invalid)? {
        types::Datum::TimestampTz(time) => Ok(time),
        _ => Err(fatal!(SqlState::INTERNAL_ERROR, "recovery_target_time is no time")),
    }
}

#[cfg(test)]
mod tests;
