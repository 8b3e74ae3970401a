//! Names of settings that are not in the table: `extension.setting`.

use common::SqlState;
use elog::{Result, error};

use crate::table::{GucContext, Kind, Setting, Unit, flags};
use crate::var::StringVar;

/// Two or more identifiers with dots between. C: `valid_custom_variable_name`.
pub(crate) fn is_custom(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || c == '$';
    name.contains('.') && name.split('.').all(|part| part.starts_with(starts) && part.chars().all(goes_on))
}

/// May a setting of this name be made? C: the end of `find_option`.
pub(crate) fn check_custom(name: &str) -> Result<()> {
    if is_custom(name) {
        return Ok(());
    }
    if !name.contains('.') {
        return Err(unrecognized(name));
    }
    Err(error!(SqlState::INVALID_NAME, "invalid configuration parameter name \"{name}\"")
        .detail("Custom parameter names must be two or more simple identifiers separated by dots."))
}

pub(crate) fn unrecognized(name: &str) -> elog::PgError {
    error!(SqlState::UNDEFINED_OBJECT, "unrecognized configuration parameter \"{name}\"")
}

/// A setting of this name, for the rest of the process's life; each distinct name is made once. C:
/// `add_placeholder_variable`.
pub(crate) fn placeholder(name: &str) -> &'static Setting {
    let var: &'static StringVar = Box::leak(Box::new(StringVar::new(None)));
    Box::leak(Box::new(Setting {
        name: Box::leak(name.to_owned().into_boxed_str()),
        category: "Customized Options",
        short: "",
        extra: None,
        context: GucContext::User,
        flags: flags::NO_SHOW_ALL | flags::NOT_IN_SAMPLE | flags::CUSTOM_PLACEHOLDER,
        unit: Unit::None,
        kind: Kind::String { var, boot: None },
        check: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_names() {
        for good in ["a.b", "a.b.c", "_x.y$1", "é.b"] {
            assert!(is_custom(good), "{good}");
        }
        for bad in ["a", "a b.c", "1.x", "a.", ".a", "a..b", "a-b.c", "a.$b", ""] {
            assert!(!is_custom(bad), "{bad}");
        }
        assert_eq!(check_custom("nosuch").unwrap_err().sqlstate, SqlState::UNDEFINED_OBJECT);
        assert_eq!(check_custom("a.").unwrap_err().sqlstate, SqlState::INVALID_NAME);
    }
}
