//! Names to OIDs and back, for `regclass` and its kin.
//!
//! C counterpart: utils/adt/regproc.c.

use common::{Oid, SqlState};
use elog::{Result, error};
use types::io::CatalogHooks;
use types::oid;

use crate::functions::find_relation;
use crate::views;

/// What `types` is given once, before the first fork.
pub(crate) const HOOKS: CatalogHooks = CatalogHooks { reg_input: input, reg_output: output };

fn input(ty: Oid, text: &str) -> Result<u32> {
    let missing = |state: SqlState, kind: &str| error!(state, "{kind} \"{text}\" does not exist");
    let found = match ty {
        oid::REGCLASS => find_relation(text)?.or_else(|| views::oid_of(text)),
        oid::REGTYPE => match types::type_by_name(text) {
            Some(ty) => Some(ty),
            None => catalog::namespace::lookup_type(None, text)?,
        },
        oid::REGNAMESPACE => catalog::namespace::schema_oid(text)?,
        oid::REGROLE => catalog::syscache::role_by_name(text)?.map(|role| role.oid),
        oid::REGPROC => {
            let name = text.strip_prefix("pg_catalog.").unwrap_or(text);
            match crate::registry().candidates(name) {
                [one] => Some(one.oid),
                [] => None,
                _ => {
                    return Err(error!(
                        SqlState::AMBIGUOUS_FUNCTION,
                        "more than one function named \"{text}\""
                    ));
                }
            }
        }
        _ => {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "input of type {} is not supported",
                types::format_type(ty, -1)
            ));
        }
    };
    let error = || match ty {
        oid::REGCLASS => missing(SqlState::UNDEFINED_TABLE, "relation"),
        oid::REGTYPE => missing(SqlState::UNDEFINED_OBJECT, "type"),
        oid::REGNAMESPACE => missing(SqlState::INVALID_SCHEMA_NAME, "schema"),
        oid::REGROLE => missing(SqlState::UNDEFINED_OBJECT, "role"),
        _ => missing(SqlState::UNDEFINED_FUNCTION, "function"),
    };
    found.map(|oid| oid.0).ok_or_else(error)
}

/// The shortest name that means the object; `None` shows the number.
fn output(ty: Oid, value: u32) -> Option<String> {
    let value = Oid(value);
    match ty {
        oid::REGCLASS => relation_name(value),
        oid::REGNAMESPACE => {
            let row = catalog::syscache::namespace(value).ok().flatten()?;
            Some(types::adt::text_format::quote_identifier(&row.nspname))
        }
        oid::REGROLE => {
            let row = catalog::syscache::role(value).ok().flatten()?;
            Some(types::adt::text_format::quote_identifier(&row.rolname))
        }
        oid::REGPROC => crate::registry().by_oid(value).map(|function| function.name.to_owned()),
        oid::REGTYPE => {
            let row = catalog::syscache::type_row(value).ok().flatten()?;
            Some(types::adt::text_format::quote_identifier(&row.typname))
        }
        _ => None,
    }
}

/// C: `regclassout`.
fn relation_name(oid: Oid) -> Option<String> {
    let Some(class) = catalog::syscache::class(oid).ok().flatten() else {
        return views::name_of(oid).map(str::to_owned);
    };
    let name = types::adt::text_format::quote_identifier(&class.relname);
    if catalog::namespace::relation_is_visible(oid).ok().flatten() == Some(true) {
        return Some(name);
    }
    let schema = catalog::syscache::namespace(class.relnamespace).ok().flatten()?;
    Some(format!("{}.{name}", types::adt::text_format::quote_identifier(&schema.nspname)))
}
