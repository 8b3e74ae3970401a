//! `to_char`, `to_timestamp` and `to_date` with a template. C: formatting.c, the date half. Numbers are in
//! `formatting_number.rs`.

use common::SqlState;
use elog::{PgError, Result, error};

use super::datetime::{
    Civil, EPOCH_JULIAN, MONTHS, USECS_PER_SEC, WEEKDAYS, abbreviation_at, days_from_civil, days_in_month,
    iso_week, iso_week_start, offset_at, weekday,
};
use super::timestamp::{is_finite, to_utc};
use super::{date, interval};
use crate::Interval;
use crate::datum::{Date, Timestamp, TimestampTz};
use crate::settings::time_zone;

/// The template's keywords, longest first where one begins another. C: `DCH_keywords`.
const KEYWORDS: &[&str] = &[
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "DAY", "DDD", "DD", "DY", "Day", "Dy", "D", "FF1", "FF2",
    "FF3", "FF4", "FF5", "FF6", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J",
    "MI", "MM", "MONTH", "MON", "MS", "Month", "Mon", "OF", "P.M.", "PM", "Q", "RM", "SSSSS", "SSSS", "SS",
    "TZH", "TZM", "TZ", "US", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y", "a.d.", "a.m.", "ad", "am",
    "b.c.", "bc", "cc", "day", "ddd", "dd", "dy", "d", "ff1", "ff2", "ff3", "ff4", "ff5", "ff6", "hh24",
    "hh12", "hh", "iddd", "id", "iw", "iyyy", "iyy", "iy", "i", "j", "mi", "mm", "month", "mon", "ms", "of",
    "p.m.", "pm", "q", "rm", "sssss", "ssss", "ss", "tzh", "tzm", "tz", "us", "ww", "w", "y,yyy", "yyyy",
    "yyy", "yy", "y",
];

/// A piece of a template.
enum Node<'a> {
    Keyword { word: &'static str, fill: bool, ordinal: Option<bool> },
    Text(&'a str),
}

/// Splits a template into keywords, with FM before and TH behind, and text. C: `parse_format`.
fn parse(template: &str) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    let mut rest = template;
    let mut fill = true;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            (fill, rest) = (false, tail);
            continue;
        }
        if let Some(tail) = ["FX", "fx", "TM", "tm"].iter().find_map(|p| rest.strip_prefix(p)) {
            rest = tail;
            continue;
        }
        if let Some(word) = KEYWORDS.iter().find(|k| rest.starts_with(**k)) {
            rest = &rest[word.len()..];
            let mut ordinal = None;
            if let Some(tail) = rest.strip_prefix("TH") {
                (ordinal, rest) = (Some(true), tail);
            } else if let Some(tail) = rest.strip_prefix("th") {
                (ordinal, rest) = (Some(false), tail);
            }
            nodes.push(Node::Keyword { word, fill, ordinal });
            fill = true;
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            nodes.push(Node::Text(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        let skip = usize::from(rest.starts_with("\\\""));
        let len = rest[skip..].chars().next().map_or(0, char::len_utf8);
        nodes.push(Node::Text(&rest[skip..skip + len]));
        rest = &rest[skip + len..];
    }
    nodes
}

/// What the template's fields are taken from.
struct Source {
    c: Civil,
    /// Hours of an interval exceed a day.
    hours: i64,
    zone: Option<(i32, String)>,
    is_interval: bool,
}

pub(crate) fn ordinal_suffix(number: &str, upper: bool) -> &'static str {
    let teens = number.len() > 1 && number.as_bytes()[number.len() - 2] == b'1';
    let (small, large) = match number.as_bytes().last() {
        Some(b'1') if !teens => ("st", "ST"),
        Some(b'2') if !teens => ("nd", "ND"),
        Some(b'3') if !teens => ("rd", "RD"),
        _ => ("th", "TH"),
    };
    if upper { large } else { small }
}

const ROMAN: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

#[cold]
fn not_for_interval(word: &str) -> PgError {
    error!(
        SqlState::INVALID_DATETIME_FORMAT,
        "\"{word}\" format specification not supported for an interval value"
    )
}

impl Source {
    fn name(&self, names: &[&str], index: i32, word: &str, fill: bool, width: usize) -> Result<String> {
        if self.is_interval {
            return Err(error!(
                SqlState::INVALID_DATETIME_FORMAT,
                "invalid format specification for an interval value"
            )
            .hint("Intervals are not tied to specific calendar dates."));
        }
        let full = names[index as usize % names.len()];
        let short = word.len() <= 3 && !word.eq_ignore_ascii_case("day");
        let name = if short { &full[..3] } else { full };
        let cased = match (word.as_bytes()[0].is_ascii_uppercase(), word.as_bytes()[1].is_ascii_uppercase()) {
            (true, true) => name.to_uppercase(),
            (true, false) => name.to_string(),
            _ => name.to_lowercase(),
        };
        Ok(if fill && !short { format!("{cased:<width$}") } else { cased })
    }

    /// A number of so many digits, or as short as it is with FM.
    fn number(value: i64, digits: usize, fill: bool) -> String {
        if fill {
            let digits = if value < 0 { digits + 1 } else { digits };
            format!("{value:0digits$}")
        } else {
            value.to_string()
        }
    }

    fn year(&self, iso: bool) -> i32 {
        let year = if iso { iso_week(self.c.year, self.c.month, self.c.day).0 } else { self.c.year };
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    /// One keyword's text. C: `DCH_to_char`.
    fn field(&self, word: &str, fill: bool) -> Result<String> {
        let c = &self.c;
        let n = |value: i32, digits| Self::number(i64::from(value), digits, fill);
        let day_of_year = || (c.days() - days_from_civil(c.year, 1, 1) + 1) as i32;
        let upper = word.to_ascii_uppercase();
        Ok(match upper.as_str() {
            "A.M." | "P.M." | "AM" | "PM" => {
                let text = if self.hours % 24 >= 12 { "PM" } else { "AM" };
                styled(text, word)
            }
            "A.D." | "B.C." | "AD" | "BC" => styled(if c.year <= 0 { "BC" } else { "AD" }, word),
            "HH" | "HH12" => {
                let hour = if self.hours % 12 == 0 { 12 } else { self.hours % 12 };
                Self::number(hour, 2, fill)
            }
            "HH24" => Self::number(self.hours, 2, fill),
            "MI" => n(c.minute, 2),
            "SS" => n(c.second, 2),
            "MS" | "FF3" => n(c.usec / 1000, 3),
            "US" | "FF6" => n(c.usec, 6),
            "FF1" => n(c.usec / 100_000, 1),
            "FF2" => n(c.usec / 10_000, 2),
            "FF4" => n(c.usec / 100, 4),
            "FF5" => n(c.usec / 10, 5),
            "SSSS" | "SSSSS" => {
                (self.hours * 3600 + i64::from(c.minute) * 60 + i64::from(c.second)).to_string()
            }
            "TZ" | "TZH" | "TZM" | "OF" => self.zone_field(word, fill)?,
            "MONTH" | "MON" => self.name(&MONTHS, c.month - 1, word, fill, 9)?,
            "MM" => n(c.month, 2),
            "DAY" | "DY" => self.name(&WEEKDAYS, weekday(c.days()), word, fill, 9)?,
            "DDD" => n(day_of_year(), 3),
            "IDDD" => {
                let (year, _) = iso_week(c.year, c.month, c.day);
                Self::number(c.days() - iso_week_start(year, 1) + 1, 3, fill)
            }
            "DD" => n(c.day, 2),
            "D" => (weekday(c.days()) + 1).to_string(),
            "ID" => ((weekday(c.days()) + 6) % 7 + 1).to_string(),
            "WW" => n((day_of_year() - 1) / 7 + 1, 2),
            "IW" => n(iso_week(c.year, c.month, c.day).1, 2),
            "W" => ((c.day - 1) / 7 + 1).to_string(),
            "Q" => ((c.month - 1) / 3 + 1).to_string(),
            "CC" => {
                let year = c.year;
                let century = if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
                n(century, 2)
            }
            "Y,YYY" => {
                let year = self.year(false);
                format!("{},{:03}", year / 1000, year % 1000)
            }
            "YYYY" | "IYYY" => n(self.year(upper.starts_with('I')), 4),
            "YYY" | "IYY" => n(self.year(upper.starts_with('I')) % 1000, 3),
            "YY" | "IY" => n(self.year(upper.starts_with('I')) % 100, 2),
            "Y" | "I" => n(self.year(upper.starts_with('I')) % 10, 1),
            "J" => (c.days() + EPOCH_JULIAN).to_string(),
            "RM" => {
                let roman = ROMAN.get((12 - c.month) as usize).copied().unwrap_or("");
                let roman = if fill { format!("{roman:<4}") } else { roman.to_string() };
                if word == "rm" { roman.to_lowercase() } else { roman }
            }
            _ => String::new(),
        })
    }

    fn zone_field(&self, word: &str, _fill: bool) -> Result<String> {
        if self.is_interval {
            return Err(not_for_interval(word));
        }
        let Some((east, abbreviation)) = &self.zone else {
            return Ok(match word.to_ascii_uppercase().as_str() {
                "TZ" => String::new(),
                "TZM" => "00".into(),
                _ => "+00".into(),
            });
        };
        let sign = if *east < 0 { '-' } else { '+' };
        let (hours, minutes) = (east.abs() / 3600, east.abs() / 60 % 60);
        Ok(match word {
            "TZ" => abbreviation.to_uppercase(),
            "tz" => abbreviation.to_lowercase(),
            "TZH" | "tzh" => format!("{sign}{hours:02}"),
            "TZM" | "tzm" => format!("{minutes:02}"),
            _ if minutes != 0 => format!("{sign}{hours:02}:{minutes:02}"),
            _ => format!("{sign}{hours:02}"),
        })
    }
}

/// AM/PM and AD/BC, with dots and in the case of the keyword.
fn styled(text: &str, like: &str) -> String {
    let text = if like.contains('.') { format!("{}.{}.", &text[..1], &text[1..]) } else { text.to_string() };
    if like.as_bytes()[0].is_ascii_lowercase() { text.to_lowercase() } else { text }
}

fn render(source: &Source, template: &str) -> Result<Option<String>> {
    if template.is_empty() {
        return Ok(None);
    }
    let mut out = String::new();
    for node in parse(template) {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Keyword { word, fill, ordinal } => {
                let text = source.field(word, fill)?;
                out.push_str(&text);
                if let Some(upper) = ordinal {
                    out.push_str(ordinal_suffix(&text, upper));
                }
            }
        }
    }
    Ok(Some(out))
}

fn of_timestamp(usecs: i64, zone: Option<(i32, String)>) -> Source {
    let c = Civil::from_usecs(usecs);
    Source { c, hours: i64::from(c.hour), zone, is_interval: false }
}

builtins! {
    fn timestamp_to_char(a: Timestamp, template: &str) -> Option<String> {
        if is_finite(a.0) { render(&of_timestamp(a.0, None), template)? } else { None }
    }
    fn timestamptz_to_char(a: TimestampTz, template: &str) -> Option<String> {
        if !is_finite(a.0) {
            return Ok(None);
        }
        let zone = time_zone();
        let east = offset_at(&zone, a.0);
        let local = a.0.saturating_add(i64::from(east) * USECS_PER_SEC);
        render(&of_timestamp(local, Some((east, abbreviation_at(&zone, a.0)))), template)?
    }
    fn interval_to_char(a: Interval, template: &str) -> Option<String> {
        let f = interval::fields(&a);
        let c = Civil {
            year: f.years,
            month: f.months,
            day: f.days,
            hour: 0,
            minute: f.minutes,
            second: f.seconds,
            usec: f.usecs,
        };
        render(&Source { c, hours: f.hours, zone: None, is_interval: true }, template)?
    }
    fn to_timestamp(text: &str, template: &str) -> TimestampTz {
        let (local, east) = read(text, template)?;
        TimestampTz(match east {
            Some(east) => local - i64::from(east) * USECS_PER_SEC,
            None => to_utc(local)?,
        })
    }
    fn to_date(text: &str, template: &str) -> Date {
        let (local, _) = read(text, template)?;
        Date(date::from_days(local.div_euclid(super::datetime::USECS_PER_DAY))?)
    }
}

#[cold]
fn bad_value(text: &str, word: &str) -> PgError {
    error!(SqlState::INVALID_DATETIME_FORMAT, "invalid value \"{text}\" for \"{word}\"")
}

/// What a text gave for each field of a template. C: `TmFromChar`.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    month: Option<i32>,
    day: Option<i32>,
    day_of_year: Option<i32>,
    julian: Option<i32>,
    iso_year: Option<i32>,
    iso_week: Option<i32>,
    iso_day: Option<i32>,
    hour: i32,
    pm: Option<bool>,
    hour12: bool,
    minute: i32,
    second: i32,
    usec: i32,
    bc: bool,
    east: Option<i32>,
    day_secs: Option<i32>,
}

/// Reads text by a template into a local time and the zone's offset if it had one. C: `do_to_timestamp`.
fn read(text: &str, template: &str) -> Result<(i64, Option<i32>)> {
    let mut fields = Fields::default();
    let mut rest = text.trim_start();
    let nodes = parse(template);
    for (i, node) in nodes.iter().enumerate() {
        match node {
            Node::Text(separator) => {
                // Any one separator stands for any other, and blanks are free.
                let is_letter = separator.chars().all(char::is_alphanumeric);
                if is_letter {
                    rest = rest.strip_prefix(separator).unwrap_or_else(|| skip_one(rest));
                } else {
                    rest = rest.trim_start();
                    if rest.starts_with(|c: char| {
                        !c.is_alphanumeric() && c.is_ascii() && !matches!(c, '+' | '-')
                    }) || (rest.starts_with('-') && *separator == "-")
                    {
                        rest = skip_one(rest);
                    }
                }
            }
            Node::Keyword { word, ordinal, .. } => {
                rest = rest.trim_start();
                if rest.is_empty() {
                    break;
                }
                let next_is_number = matches!(nodes.get(i + 1), Some(Node::Keyword { .. }));
                rest = fields.take(word, rest, next_is_number)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    fields.finish(text)
}

fn skip_one(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Digits at the head, at most `max` if another number follows directly.
fn digits<'a>(text: &'a str, max: usize, bounded: bool, word: &str) -> Result<(i32, usize, &'a str)> {
    let sign = usize::from(text.starts_with(['-', '+']));
    let len = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let len = if bounded { len.min(max) } else { len };
    if len == 0 {
        let shown: String = text.chars().take(max.max(1)).collect();
        return Err(bad_value(&shown, word).detail("Value must be an integer."));
    }
    let value = text[..sign + len].parse().map_err(|_| {
        error!(SqlState::DATETIME_FIELD_OVERFLOW, "value for \"{word}\" in source string is out of range")
    })?;
    Ok((value, len, &text[sign + len..]))
}

fn take_name<'a>(names: &[&str], text: &'a str, short: bool, word: &str) -> Result<(i32, &'a str)> {
    for (i, name) in names.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if text.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
            return Ok((i as i32, &text[name.len()..]));
        }
    }
    let shown = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    Err(bad_value(shown, word)
        .detail("The given value did not match any of the allowed values for this field."))
}

impl Fields {
    fn half_or_era<'a>(&mut self, word: &str, text: &'a str) -> Result<&'a str> {
        let (head, rest) = text.split_at(text.floor_char_boundary(word.len()));
        match head.to_ascii_uppercase().replace('.', "").as_str() {
            "AM" => self.pm = Some(false),
            "PM" => self.pm = Some(true),
            "AD" => self.bc = false,
            "BC" => self.bc = true,
            _ => return Err(bad_value(head, word)),
        }
        self.hour12 |= self.pm.is_some();
        Ok(rest)
    }

    fn take<'a>(&mut self, word: &str, text: &'a str, bounded: bool) -> Result<&'a str> {
        let upper = word.to_ascii_uppercase();
        let number = |max: usize| digits(text, max, bounded, word);
        Ok(match upper.as_str() {
            "A.M." | "P.M." | "AM" | "PM" | "A.D." | "B.C." | "AD" | "BC" => self.half_or_era(word, text)?,
            "HH" | "HH12" => {
                let (v, _, rest) = number(2)?;
                (self.hour, self.hour12) = (v, true);
                rest
            }
            "HH24" => store(number(2)?, &mut self.hour),
            "MI" => store(number(2)?, &mut self.minute),
            "SS" => store(number(2)?, &mut self.second),
            "SSSS" | "SSSSS" => store_opt(number(5)?, &mut self.day_secs),
            "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                let places = match upper.as_str() {
                    "MS" => 3,
                    "US" => 6,
                    ff => ff[2..].parse().unwrap_or(6),
                };
                let (v, len, rest) = digits(text, places, true, word)?;
                self.usec = v * 10i32.pow(6u32.saturating_sub(len as u32));
                rest
            }
            "TZ" | "TZH" | "TZM" | "OF" => {
                let len = text.bytes().take_while(|b| matches!(b, b'+' | b'-' | b':' | b'0'..=b'9')).count();
                let east = super::datetime::parse_offset(&text[..len]);
                self.east = Some(east.ok_or_else(|| bad_value(text, word))?);
                &text[len..]
            }
            "MONTH" | "MON" => {
                let (v, rest) = take_name(&MONTHS, text, upper == "MON", word)?;
                self.month = Some(v + 1);
                rest
            }
            "DAY" | "DY" => take_name(&WEEKDAYS, text, upper == "DY", word)?.1,
            "MM" => store_opt(number(2)?, &mut self.month),
            "DDD" => store_opt(number(3)?, &mut self.day_of_year),
            "DD" => store_opt(number(2)?, &mut self.day),
            "D" | "W" | "WW" | "Q" | "CC" | "IDDD" => number(word.len())?.2,
            "ID" => store_opt(number(1)?, &mut self.iso_day),
            "IW" => store_opt(number(2)?, &mut self.iso_week),
            "IYYY" => store_opt(number(4)?, &mut self.iso_year),
            "YYYY" => store_opt(number(4)?, &mut self.year),
            "Y,YYY" => {
                let (thousands, _, rest) = digits(text, 4, false, word)?;
                let (units, _, rest) = digits(rest.strip_prefix(',').unwrap_or(rest), 3, true, word)?;
                self.year = Some(thousands.saturating_mul(1000).saturating_add(units));
                rest
            }
            "YYY" | "YY" | "Y" => {
                let (v, len, rest) = number(word.len())?;
                // Years near 2020 are meant.
                self.year = Some(match len {
                    1 | 2 if v < 70 => 2000 + v,
                    1 | 2 => 1900 + v,
                    3 if v < 520 => 2000 + v,
                    3 => 1000 + v,
                    _ => v,
                });
                rest
            }
            "J" => store_opt(number(9)?, &mut self.julian),
            _ => text,
        })
    }

    fn finish(self, text: &str) -> Result<(i64, Option<i32>)> {
        let out_of_range =
            || error!(SqlState::DATETIME_FIELD_OVERFLOW, "date/time field value out of range: \"{text}\"");
        let mut hour = self.hour;
        if self.hour12 {
            let midnight = hour == 0 && self.pm.is_some();
            if !(1..=12).contains(&hour) && !midnight {
                return Err(error!(
                    SqlState::INVALID_DATETIME_FORMAT,
                    "hour \"{hour}\" is invalid for the 12-hour clock"
                )
                .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            match self.pm {
                Some(true) if hour < 12 => hour += 12,
                Some(false) if hour == 12 => hour = 0,
                _ => {}
            }
        }
        if !(0..=24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..=60).contains(&self.second) {
            return Err(out_of_range());
        }
        let mut year = self.year.unwrap_or(if self.bc { 1 } else { 0 });
        if self.year.is_none() && !self.bc {
            // No year at all is 1 BC, as in PostgreSQL.
            year = 0;
        } else if self.bc {
            year = 1 - year;
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return Err(out_of_range());
        }
        let mut days = days_from_civil(year, month, day);
        if let Some(n) = self.day_of_year {
            days = days_from_civil(year, 1, 1) + i64::from(n) - 1;
        }
        if let Some(iso_year) = self.iso_year {
            days = iso_week_start(iso_year, self.iso_week.unwrap_or(1))
                + i64::from(self.iso_day.unwrap_or(1))
                - 1;
        }
        if let Some(julian) = self.julian {
            days = i64::from(julian) - EPOCH_JULIAN;
        }
        let clock =
            Civil { hour, minute: self.minute, second: self.second, usec: self.usec, ..Civil::default() };
        let time =
            self.day_secs.map_or(clock.time_usecs(), |s| i64::from(s) * USECS_PER_SEC + i64::from(self.usec));
        let local = days.checked_mul(super::datetime::USECS_PER_DAY).and_then(|d| d.checked_add(time));
        let local =
            local.filter(|v| super::timestamp::is_valid(*v)).ok_or_else(super::timestamp::out_of_range)?;
        Ok((local, self.east))
    }
}

fn store<'a>(found: (i32, usize, &'a str), slot: &mut i32) -> &'a str {
    *slot = found.0;
    found.2
}

fn store_opt<'a>(found: (i32, usize, &'a str), slot: &mut Option<i32>) -> &'a str {
    *slot = Some(found.0);
    found.2
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn dates() {
        check_all(
            "
            to_char(timestamp:2024-01-31 15:04:05.678 | text:YYYY-MM-DD HH24:MI:SS.MS) => 2024-01-31 15:04:05.678
            to_char(timestamp:2024-01-31 15:04:05 | text:Day, DDth Month YYYY HH12:MI AM) => Wednesday, 31st January   2024 03:04 PM
            to_char(timestamp:2024-01-31 15:04:05 | text:FMDay, FMDD FMMonth \"of\" YY, Q IW DDD J) => Wednesday, 31 January of 24, 1 05 031 2460341
            to_char(timestamptz:2024-01-31 15:04:05+00 | text:TZ OF tz) => GMT +00 gmt
            to_char(interval:27:05:06 | text:HH24:MI:SS) => 27:05:06
            to_timestamp(text:2024-01-31 15:04 | text:YYYY-MM-DD HH24:MI) => 2024-01-31 15:04:00+00
            to_date(text:31 Jan 2024 | text:DD Mon YYYY) => 2024-01-31
            to_date(text:20240131 | text:YYYYMMDD) => 2024-01-31
            to_date(text:2024-13-01 | text:YYYY-MM-DD) => ERROR 22008 date/time field value out of range: \"2024-13-01\"
            ",
        );
    }
}
