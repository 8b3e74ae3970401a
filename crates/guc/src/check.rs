//! What a value must pass besides its type and limits. C: the `check_*` hooks of guc.c and commands/variable.c.

/// Placeholder until the checks are in.
pub(crate) type Check = fn();
