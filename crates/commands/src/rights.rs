//! Who may do what with a table.
//!
//! There is no GRANT yet: the owner and superusers may do everything, others may read the catalogs but for those
//! that keep secrets, and members of the predefined roles may read or write all data.
//!
//! Called by `backend` when a plan is started, and by the commands here.
//!
//! C counterpart: `ExecCheckRTPerms` of executor/execMain.c, `pg_class_aclmask` of catalog/aclchk.c.

use catalog::rows::PgClassRow;
use catalog::syscache;
use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use executor::Plan;
use parser::ast::TableLockMode;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read rows.
    Select,
    /// Change rows.
    Write,
    /// What only an owner may: TRUNCATE and locks that keep writers out.
    Truncate,
}

/// C: `ROLE_PG_READ_ALL_DATA`, `ROLE_PG_WRITE_ALL_DATA`.
const PG_READ_ALL_DATA: Oid = Oid(6181);
const PG_WRITE_ALL_DATA: Oid = Oid(6182);

/// Catalogs that others than superusers cannot read. C: the REVOKEs of system_views.sql.
const SECRET: [&str; 8] = [
    "pg_authid",
    "pg_largeobject",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_user_mapping",
    "pg_replication_origin",
    "pg_parameter_acl",
];

/// Whether a role has a right. C: `pg_class_aclcheck`.
///
/// # Errors
/// What reading the roles says.
pub fn may(role: Oid, superuser: bool, class: &PgClassRow, right: Right) -> Result<bool> {
    if superuser {
        return Ok(true);
    }
    let is_catalog = class.oid.0 < 16_384;
    if is_catalog {
        let open = !SECRET.contains(&class.relname.as_str());
        return Ok(right == Right::Select && open);
    }
    let roles = catalog::authid::load(miscinit::globals::data_dir())?;
    if roles.has_privileges_of(role, class.relowner)? {
        return Ok(true);
    }
    match right {
        Right::Select => roles.has_privileges_of(role, PG_READ_ALL_DATA),
        Right::Write => roles.has_privileges_of(role, PG_WRITE_ALL_DATA),
        Right::Truncate => Ok(false),
    }
}

/// 42501 `permission denied for table %s` unless the role has the right. C: `aclcheck_error`.
///
/// # Errors
/// That one.
pub fn require(role: Oid, superuser: bool, class: &PgClassRow, right: Right) -> Result<()> {
    if may(role, superuser, class, right)? { Ok(()) } else { Err(denied(&class.relname)) }
}

pub(crate) fn denied(name: &str) -> PgError {
    error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied for table {name}")
}

/// All tables of a plan, in the order in which they were looked up. C: `ExecCheckRTPerms`.
///
/// # Errors
/// 42501 `permission denied for table %s`.
pub fn check_plan(role: Oid, superuser: bool, plan: &Plan) -> Result<()> {
    if superuser {
        return Ok(());
    }
    for (table, mode) in plan.tables() {
        let Some(class) = syscache::class(table)? else { continue };
        let right = if mode == TableLockMode::AccessShare { Right::Select } else { Right::Write };
        require(role, superuser, &class, right)?;
    }
    Ok(())
}
