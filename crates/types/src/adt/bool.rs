//! boolean. C: bool.c.

use elog::Result;

use super::int::is_space;
use crate::Datum;
use crate::agg::AggState;
use crate::fmgr::CallContext;
use crate::io::invalid_input;

/// Any unique prefix of true, false, yes, no, on, off, or 1 and 0. C: `parse_bool_with_len`.
pub(crate) fn parse(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let is_prefix = |word: &str, min: usize| lower.len() >= min && word.starts_with(lower.as_str());
    if lower == "1" || is_prefix("true", 1) || is_prefix("yes", 1) || is_prefix("on", 2) {
        Some(true)
    } else if lower == "0" || is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) {
        Some(false)
    } else {
        None
    }
}

pub(crate) fn input(text: &str) -> Result<bool> {
    parse(text.trim_matches(is_space)).ok_or_else(|| invalid_input("boolean", text))
}

comparisons! {
    bool, bool, |a, b| a.cmp(&b) => booleq boolne boollt boolle boolgt boolge btboolcmp;
}

builtins! {
    fn booltext(a: bool) -> &'static str { if a { "true" } else { "false" } }
}

/// `bool_and`, `every`, `bool_or`. C: `bool_alltrue`, `bool_anytrue`.
struct BoolAgg {
    want_all: bool,
    seen: Option<bool>,
}

impl AggState for BoolAgg {
    fn add(&mut self, _: &mut CallContext<'_>, args: &[Datum]) -> Result<()> {
        if let Some(v) = args[0].as_bool() {
            let before = self.seen.unwrap_or(self.want_all);
            self.seen = Some(if self.want_all { before && v } else { before || v });
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut CallContext<'_>) -> Result<Datum> {
        Ok(self.seen.map_or(Datum::Null, Datum::Bool))
    }
}

pub(crate) fn bool_and() -> Box<dyn AggState> {
    Box::new(BoolAgg { want_all: true, seen: None })
}

pub(crate) fn bool_or() -> Box<dyn AggState> {
    Box::new(BoolAgg { want_all: false, seen: None })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        for yes in ["t", "TRUE", " yes ", "on", "1", "tr", "y"] {
            check("bool", yes, "t");
        }
        for no in ["f", "false", "no", "of", "0", "n"] {
            check("bool", no, "f");
        }
        for bad in ["", "o", "truee", "2", "00"] {
            check_error("bool", bad, &format!("22P02 invalid input syntax for type boolean: \"{bad}\""));
        }
    }
}
