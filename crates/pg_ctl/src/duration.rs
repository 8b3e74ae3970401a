//! Times on the command line, in the units of PostgreSQL's settings: `30s`, `500ms`, `0.5min`, `2 h`, `1d`; a plain
//! number means seconds.
//!
//! Called by: `options`. C counterpart: `convert_to_base_unit` (guc.c) has the same units and takes fractions as well.

use std::time::Duration;

/// The longest time that may be given: what fits into a setting in milliseconds, in whole days.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 86_400);

/// The shortest.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotATime {
    /// Not a number with one of the units.
    Malformed,
    /// Shorter than [`SHORTEST`] or longer than [`LONGEST`].
    OutOfRange,
}

/// Reads a time. Spaces around the number and the unit do no harm.
pub(crate) fn parse(text: &str) -> Result<Duration, NotATime> {
    let text = text.trim();
    let (number, unit) = text.split_at(number_length(text));
    let seconds_per_unit = match unit.trim_start() {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(NotATime::Malformed),
    };
    let number: f64 = number.parse().map_err(|_| NotATime::Malformed)?;
    let duration =
        Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| NotATime::OutOfRange)?;
    if (SHORTEST..=LONGEST).contains(&duration) { Ok(duration) } else { Err(NotATime::OutOfRange) }
}

/// How much of the text is the number: sign, digits and point, and an exponent if digits follow its letter.
fn number_length(text: &str) -> usize {
    let of = |text: &str, allowed: fn(char) -> bool| text.find(|c| !allowed(c)).unwrap_or(text.len());
    let mantissa = of(text, |c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let Some(exponent) = text[mantissa..].strip_prefix(['e', 'E']) else { return mantissa };
    let sign = usize::from(exponent.starts_with(['+', '-']));
    match of(&exponent[sign..], |c| c.is_ascii_digit()) {
        0 => mantissa,
        digits => mantissa + 1 + sign + digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text:?}");
    }

    #[test]
    fn each_unit() {
        check("30", 30_000);
        check("30s", 30_000);
        check("500ms", 500);
        check("20000us", 20);
        check("2min", 120_000);
        check("1h", 3_600_000);
        check("1d", 86_400_000);
    }

    #[test]
    fn fractions_spaces_and_exponents() {
        check(" 1.5 s ", 1500);
        check(".5min", 30_000);
        check("1e3ms", 1000);
        check("2E+0", 2000);
        check("+3", 3000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", " ", "s", "soon", "30x", "30 s s", "1..2", "1,5s", "30S", "e3", "3e", "nan", "inf", "--3",
            "0x1e",
        ] {
            assert_eq!(parse(text), Err(NotATime::Malformed), "{text:?}");
        }
        for text in ["0", "-1", "0.0001ms", "1e300", "25d", "1e9"] {
            assert_eq!(parse(text), Err(NotATime::OutOfRange), "{text:?}");
        }
    }
}
