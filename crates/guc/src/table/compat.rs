//! Older behaviours that can be asked for.

use crate::table::prelude::*;

settings! {
    "Version and Platform Compatibility / Previous PostgreSQL Versions" {
        bool   ARRAY_NULLS                 user      (on)
            "Enable input of NULL elements in arrays.",
            "When turned on, unquoted NULL in an array input value means a null value; otherwise it is taken literally.";
        enum   BACKSLASH_QUOTE             user      ("safe_encoding" of BACKSLASH_QUOTE)
            "Sets whether \"\\'\" is allowed in string literals.";
        bool   DEFAULT_WITH_OIDS           user      (off) [NO_SHOW_ALL NOT_IN_SAMPLE] => default_with_oids
            "WITH OIDS is no longer supported; this can only be false.";
        bool   ESCAPE_STRING_WARNING       user      (on)
            "Warn about backslash escapes in ordinary string literals.";
        bool   LO_COMPAT_PRIVILEGES        superuser (off)
            "Enables backward compatibility mode for privilege checks on large objects.",
            "Skips privilege checks when reading or modifying large objects, for compatibility with PostgreSQL releases prior to 9.0.";
        bool   QUOTE_ALL_IDENTIFIERS       user      (off)
            "When generating SQL fragments, quote all identifiers.";
        bool   STANDARD_CONFORMING_STRINGS user      (on) [REPORT]
            "Causes '...' strings to treat backslashes literally.";
        bool   SYNCHRONIZE_SEQSCANS        user      (on)
            "Enable synchronized sequential scans.";
    }
    "Version and Platform Compatibility / Other Platforms and Clients" {
        bool   TRANSFORM_NULL_EQUALS user (off)
            "Treats \"expr=NULL\" as \"expr IS NULL\".",
            "When turned on, expressions of the form expr = NULL (or NULL = expr) are treated as expr IS NULL, that is, they return true if expr evaluates to the null value, and false otherwise. The correct behavior of expr = NULL is to always return null (unknown).";
    }
}
