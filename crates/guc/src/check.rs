//! What a value must pass besides its type and limits. Each check is named in the table's entry, may replace
//! the value by its canonical form, and runs for every source, files and command line included.
//! C: the `check_*` hooks of guc.c and commands/variable.c.

use std::sync::{Arc, OnceLock};

use common::{Lsn, SqlState};

use crate::source::GucSource;
use crate::value::{Complaint, Value};
use crate::{encoding, list, session, standby_names, timezone, vars, xact};

/// A check: adjusts the value or complains.
pub(crate) type Check = fn(&mut Value, GucSource) -> Result<(), Complaint>;

type Checked = Result<(), Complaint>;

fn replace(value: &mut Value, text: impl Into<Arc<str>>) {
    *value = Value::String(Some(text.into()));
}

fn list_of(value: &Value) -> Result<Vec<String>, Complaint> {
    list::split_identifiers(value.text()).ok_or_else(|| Complaint::detail("List syntax is invalid."))
}

fn unknown_word(word: &str) -> Complaint {
    Complaint::detail(format!("Unrecognized key word: \"{word}\"."))
}

/// C: `check_log_destination`.
pub(crate) fn log_destination(value: &mut Value, _: GucSource) -> Checked {
    only_words(value, &["stderr", "csvlog", "jsonlog", "syslog"])
}

/// C: `check_restrict_nonsystem_relation_kind`.
pub(crate) fn nonsystem_relation_kind(value: &mut Value, _: GucSource) -> Checked {
    only_words(value, &["view", "foreign-table"])
}

/// The resource managers whose page images can be compared. C: `check_wal_consistency_checking`.
pub(crate) fn wal_consistency_checking(value: &mut Value, _: GucSource) -> Checked {
    let managers =
        ["all", "heap2", "heap", "btree", "hash", "gin", "gist", "sequence", "spgist", "brin", "generic"];
    only_words(value, &managers)
}

fn only_words(value: &Value, words: &[&str]) -> Checked {
    match list_of(value)?.iter().find(|word| !words.iter().any(|w| w.eq_ignore_ascii_case(word))) {
        Some(word) => Err(unknown_word(word)),
        None => Ok(()),
    }
}

/// Output style and field order, in any order and either alone; what is not named stays as it is. The
/// canonical form names both. C: `check_datestyle`.
pub(crate) fn datestyle(value: &mut Value, _: GucSource) -> Checked {
    let (old_style, old_order) = vars::DATESTYLE.with(split_datestyle);
    let (mut style, mut order): (Option<String>, Option<String>) = (None, None);
    let mut implied_order = None;
    let mut conflict = false;
    let mut choose = |slot: &mut Option<String>, word: &str| match slot {
        Some(old) if *old != word => conflict = true,
        _ => *slot = Some(word.to_owned()),
    };
    for word in list_of(value)? {
        match word.to_ascii_lowercase().as_str() {
            "iso" => choose(&mut style, "ISO"),
            "sql" => choose(&mut style, "SQL"),
            "german" => {
                choose(&mut style, "German");
                implied_order = Some("DMY".to_owned());
            }
            "ymd" => choose(&mut order, "YMD"),
            "us" | "mdy" => choose(&mut order, "MDY"),
            "dmy" => choose(&mut order, "DMY"),
            "default" => {
                let (reset_style, reset_order) = split_datestyle(&session::reset_text("DateStyle"));
                style = style.or(Some(reset_style));
                order = order.or(Some(reset_order));
            }
            other if other.starts_with("postgres") => choose(&mut style, "Postgres"),
            other if other.starts_with("euro") => choose(&mut order, "DMY"),
            other if other.starts_with("noneuro") => choose(&mut order, "MDY"),
            _ => return Err(unknown_word(&word)),
        }
    }
    if conflict {
        return Err(Complaint::detail("Conflicting \"datestyle\" specifications."));
    }
    let order = order.or(implied_order).unwrap_or(old_order);
    replace(value, format!("{}, {order}", style.unwrap_or(old_style)));
    Ok(())
}

fn split_datestyle(text: &str) -> (String, String) {
    let (style, order) = text.split_once(", ").unwrap_or((text, "MDY"));
    (style.to_owned(), order.to_owned())
}

/// C: `check_timezone`, `check_log_timezone`.
pub(crate) fn timezone(value: &mut Value, _: GucSource) -> Checked {
    let (name, _) = timezone::resolve(value.text())?;
    replace(value, name);
    Ok(())
}

/// The sets that PostgreSQL ships. C: `check_timezone_abbreviations`.
pub(crate) fn timezone_abbreviations(value: &mut Value, _: GucSource) -> Checked {
    let known = ["Default", "Australia", "India"];
    if value.text().is_empty() || known.contains(&value.text()) { Ok(()) } else { Err(Complaint::default()) }
}

/// C: `check_client_encoding`.
pub(crate) fn client_encoding(value: &mut Value, _: GucSource) -> Checked {
    let canonical = encoding::canonical_encoding(value.text()).ok_or_else(Complaint::default)?;
    let server = vars::SERVER_ENCODING.get();
    if &*server == "UTF8" && !matches!(canonical, "UTF8" | "SQL_ASCII") {
        // Nothing here converts text; sending it as it is would be wrong without a word.
        let detail = format!("Conversion between {canonical} and {server} is not supported.");
        return Err(Complaint {
            sqlstate: Some(SqlState::FEATURE_NOT_SUPPORTED),
            ..Complaint::detail(detail)
        });
    }
    // Old drivers ask for UNICODE and want to read that back.
    if value.text() != "UNICODE" {
        replace(value, canonical);
    }
    Ok(())
}

/// Titles and logs show it, so anything but printable ASCII becomes `?`. C: `check_application_name`,
/// `check_cluster_name`.
pub(crate) fn printable_ascii(value: &mut Value, _: GucSource) -> Checked {
    let plain = |b: u8| (b' '..=b'~').contains(&b);
    if !value.text().bytes().all(plain) {
        let clean: String =
            value.text().bytes().map(|b| if plain(b) { char::from(b) } else { '?' }).collect();
        replace(value, clean);
    }
    Ok(())
}

/// C: `check_transaction_isolation`.
pub(crate) fn transaction_isolation(value: &mut Value, _: GucSource) -> Checked {
    let text = match xact::nest_level() {
        0 => return Ok(()),
        _ if *value == Value::Enum(vars::TRANSACTION_ISOLATION.index()) => return Ok(()),
        _ if xact::first_query_ran() => "SET TRANSACTION ISOLATION LEVEL must be called before any query",
        1 => return not_serializable_in_recovery(value),
        _ => "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
    };
    Err(Complaint::message(SqlState::ACTIVE_SQL_TRANSACTION, text))
}

fn not_serializable_in_recovery(value: &Value) -> Checked {
    let asked = match value {
        Value::Enum(index) => vars::TRANSACTION_ISOLATION.word(*index),
        _ => return Ok(()),
    };
    if asked != "serializable" || !vars::IN_HOT_STANDBY.get() {
        return Ok(());
    }
    let complaint =
        Complaint::message(SqlState::FEATURE_NOT_SUPPORTED, "cannot use serializable mode in a hot standby");
    Err(Complaint { hint: Some("You can use REPEATABLE READ instead.".to_owned()), ..complaint })
}

/// Read-only may be entered at any time, and left only before it mattered. C: `check_transaction_read_only`.
pub(crate) fn transaction_read_only(value: &mut Value, _: GucSource) -> Checked {
    let level = xact::nest_level();
    if level == 0 || *value == Value::Bool(true) || !vars::TRANSACTION_READ_ONLY.get() {
        return Ok(());
    }
    let active = SqlState::ACTIVE_SQL_TRANSACTION;
    if level > 1 {
        let text = "cannot set transaction read-write mode inside a read-only transaction";
        return Err(Complaint::message(active, text));
    }
    if xact::first_query_ran() {
        return Err(Complaint::message(active, "transaction read-write mode must be set before any query"));
    }
    if vars::IN_HOT_STANDBY.get() {
        let text = "cannot set transaction read-write mode during recovery";
        return Err(Complaint::message(SqlState::FEATURE_NOT_SUPPORTED, text));
    }
    Ok(())
}

/// C: `check_transaction_deferrable`.
pub(crate) fn transaction_deferrable(_: &mut Value, _: GucSource) -> Checked {
    let text = match xact::nest_level() {
        0 => return Ok(()),
        level if level > 1 => "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction",
        _ if xact::first_query_ran() => "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
        _ => return Ok(()),
    };
    Err(Complaint::message(SqlState::ACTIVE_SQL_TRANSACTION, text))
}

/// C: `check_default_with_oids`.
pub(crate) fn default_with_oids(value: &mut Value, _: GucSource) -> Checked {
    let text = "tables declared WITH OIDS are not supported";
    refuse(*value == Value::Bool(true), || Complaint::message(SqlState::FEATURE_NOT_SUPPORTED, text))
}

/// C: `check_bonjour`.
pub(crate) fn bonjour(value: &mut Value, _: GucSource) -> Checked {
    let text = "Bonjour is not supported by this build";
    refuse(*value == Value::Bool(true), || Complaint::message(SqlState::INVALID_PARAMETER_VALUE, text))
}

fn refuse(when: bool, complaint: impl FnOnce() -> Complaint) -> Checked {
    if when { Err(complaint()) } else { Ok(()) }
}

/// C: `check_stage_log_stats`.
pub(crate) fn stage_log_stats(value: &mut Value, _: GucSource) -> Checked {
    refuse(*value == Value::Bool(true) && vars::LOG_STATEMENT_STATS.get(), || {
        Complaint::detail("Cannot enable parameter when \"log_statement_stats\" is true.")
    })
}

/// C: `check_log_stats`.
pub(crate) fn log_statement_stats(value: &mut Value, _: GucSource) -> Checked {
    let stages =
        vars::LOG_PARSER_STATS.get() || vars::LOG_PLANNER_STATS.get() || vars::LOG_EXECUTOR_STATS.get();
    refuse(*value == Value::Bool(true) && stages, || {
        Complaint::detail(
            "Cannot enable \"log_statement_stats\" when \"log_parser_stats\", \"log_planner_stats\", \
             or \"log_executor_stats\" is true.",
        )
    })
}

/// C: `check_max_stack_depth`.
pub(crate) fn max_stack_depth(value: &mut Value, _: GucSource) -> Checked {
    let Some(limit_kb) = crate::startup::stack_limit_kb() else { return Ok(()) };
    let too_deep = matches!(value, Value::Int(depth_kb) if *depth_kb > limit_kb);
    refuse(too_deep, || Complaint {
        detail: Some(format!("\"max_stack_depth\" must not exceed {limit_kb}kB.")),
        hint: Some(
            "Increase the platform's stack depth limit via \"ulimit -s\" or local equivalent.".to_owned(),
        ),
        ..Complaint::default()
    })
}

/// As many processes as have a backend id. C: `MAX_BACKENDS`.
const MAX_BACKENDS: i64 = 0x3FFFF;

fn backends_fit(value: &Value, others: [i32; 3]) -> Checked {
    let Value::Int(this) = value else { return Ok(()) };
    // One more for the autovacuum launcher.
    let total = i64::from(*this) + others.into_iter().map(i64::from).sum::<i64>() + 1;
    refuse(total > MAX_BACKENDS, Complaint::default)
}

/// C: `check_max_connections`.
pub(crate) fn max_connections(value: &mut Value, _: GucSource) -> Checked {
    let others = [&vars::AUTOVACUUM_MAX_WORKERS, &vars::MAX_WORKER_PROCESSES, &vars::MAX_WAL_SENDERS];
    backends_fit(value, others.map(|v| v.get()))
}

/// C: `check_autovacuum_max_workers`.
pub(crate) fn autovacuum_max_workers(value: &mut Value, _: GucSource) -> Checked {
    let others = [&vars::MAX_CONNECTIONS, &vars::MAX_WORKER_PROCESSES, &vars::MAX_WAL_SENDERS];
    backends_fit(value, others.map(|v| v.get()))
}

/// C: `check_max_worker_processes`.
pub(crate) fn max_worker_processes(value: &mut Value, _: GucSource) -> Checked {
    let others = [&vars::MAX_CONNECTIONS, &vars::AUTOVACUUM_MAX_WORKERS, &vars::MAX_WAL_SENDERS];
    backends_fit(value, others.map(|v| v.get()))
}

/// C: `check_max_wal_senders`.
pub(crate) fn max_wal_senders(value: &mut Value, _: GucSource) -> Checked {
    let others = [&vars::MAX_CONNECTIONS, &vars::AUTOVACUUM_MAX_WORKERS, &vars::MAX_WORKER_PROCESSES];
    backends_fit(value, others.map(|v| v.get()))
}

/// -1 leaves the choice to the server; there must be four pages at least. C: `check_wal_buffers`.
pub(crate) fn wal_buffers(value: &mut Value, _: GucSource) -> Checked {
    if matches!(value, Value::Int(pages) if (0..4).contains(pages)) {
        *value = Value::Int(4);
    }
    Ok(())
}

/// -1 means maintenance_work_mem; less than 1MB is taken as that. C: `check_autovacuum_work_mem`.
pub(crate) fn autovacuum_work_mem(value: &mut Value, _: GucSource) -> Checked {
    if matches!(value, Value::Int(kb) if (0..1024).contains(kb)) {
        *value = Value::Int(1024);
    }
    Ok(())
}

/// C: the part of `check_default_table_access_method` that needs no catalog.
pub(crate) fn default_table_access_method(value: &mut Value, _: GucSource) -> Checked {
    refuse(value.text().is_empty(), || Complaint::detail("default_table_access_method cannot be empty."))
}

/// C: `check_recovery_target`.
pub(crate) fn recovery_target(value: &mut Value, _: GucSource) -> Checked {
    refuse(!matches!(value.text(), "" | "immediate"), || {
        Complaint::detail("The only allowed value is \"immediate\".")
    })
}

/// C: `check_recovery_target_lsn`.
pub(crate) fn recovery_target_lsn(value: &mut Value, _: GucSource) -> Checked {
    let text = value.text();
    refuse(!text.is_empty() && text.parse::<Lsn>().is_err(), Complaint::default)
}

/// C: `check_recovery_target_name`.
pub(crate) fn recovery_target_name(value: &mut Value, _: GucSource) -> Checked {
    refuse(value.text().len() >= 64, || {
        Complaint::detail("recovery_target_name is too long (maximum 63 characters).")
    })
}

/// Whether a text is a moment: who knows lies above this crate.
static IS_MOMENT: OnceLock<fn(&str) -> bool> = OnceLock::new();

/// Registers who knows the moments that `recovery_target_time` may name; without it everything is taken. To be called
/// before the files are read. The first registration counts.
pub fn set_recovery_time_check(is_moment: fn(&str) -> bool) {
    let _ = IS_MOMENT.set(is_moment);
}

/// C: `check_recovery_target_time`.
pub(crate) fn recovery_target_time(value: &mut Value, _: GucSource) -> Checked {
    let text = value.text();
    let known = IS_MOMENT.get().is_none_or(|is_moment| is_moment(text));
    refuse(!text.is_empty() && !known, Complaint::default)
}

/// After the files are read at start: recovery has one target. C: `error_multiple_recovery_targets`.
pub(crate) fn one_recovery_target() -> elog::Result<()> {
    let targets = [
        &vars::RECOVERY_TARGET,
        &vars::RECOVERY_TARGET_LSN,
        &vars::RECOVERY_TARGET_NAME,
        &vars::RECOVERY_TARGET_TIME,
        &vars::RECOVERY_TARGET_XID,
    ];
    if targets.into_iter().filter(|target| !target.get().is_empty()).count() < 2 {
        return Ok(());
    }
    Err(elog::fatal!(SqlState::INVALID_PARAMETER_VALUE, "multiple recovery targets specified").detail(
        "At most one of recovery_target, recovery_target_lsn, recovery_target_name, recovery_target_time, \
         recovery_target_xid may be set.",
    ))
}

/// C: `check_recovery_target_timeline`.
pub(crate) fn recovery_target_timeline(value: &mut Value, _: GucSource) -> Checked {
    let text = value.text();
    let number = text.starts_with(|c: char| c.is_ascii_digit());
    refuse(!matches!(text, "current" | "latest") && !number, || {
        Complaint::detail("recovery_target_timeline is not a valid number.")
    })
}

/// C: `check_primary_slot_name`.
pub(crate) fn primary_slot_name(value: &mut Value, _: GucSource) -> Checked {
    let name = value.text();
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    refuse(!name.bytes().all(allowed), || Complaint {
        sqlstate: Some(SqlState::INVALID_NAME),
        detail: Some(format!("replication slot name \"{name}\" contains invalid character")),
        hint: Some(
            "Replication slot names may only contain lower case letters, numbers, and the underscore \
             character."
                .to_owned(),
        ),
        ..Complaint::default()
    })
}

/// C: `check_synchronous_standby_names`.
pub(crate) fn synchronous_standby_names(value: &mut Value, _: GucSource) -> Checked {
    if value.text().is_empty() {
        return Ok(());
    }
    let config = standby_names::parse_standby_names(value.text())
        .map_err(|error| Complaint { sqlstate: Some(SqlState::SYNTAX_ERROR), ..Complaint::detail(error) })?;
    refuse(config.num_sync <= 0, || {
        let text = format!("number of synchronous standbys ({}) must be greater than zero", config.num_sync);
        Complaint::message(SqlState::INVALID_PARAMETER_VALUE, text)
    })
}

/// An empty `lc_messages` would mean the environment's, which a session may not look at. C:
/// `check_locale_messages`, without asking the C library.
pub(crate) fn lc_messages(value: &mut Value, source: GucSource) -> Checked {
    refuse(value.text().is_empty() && source != GucSource::Default, Complaint::default)
}
