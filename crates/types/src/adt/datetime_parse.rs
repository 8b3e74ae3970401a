//! Dates and times from text, in the many forms that PostgreSQL takes. C: `ParseDateTime`, `DecodeDateTime`,
//! `DecodeTimeOnly` of datetime.c.

use common::SqlState;
use elog::{PgError, Result, error};
use jiff::tz::TimeZone;

use super::datetime::{
    Civil, MAX_OFFSET_SECS, abbreviation_offset, civil_from_days, days_in_month, is_weekday_name,
    month_by_name, parse_offset, zone_by_name,
};
use super::int::is_space;
use crate::io::invalid_datetime;
use crate::settings::{DateOrder, date_style};

/// A zone as written in the text.
#[derive(Clone, Debug)]
pub(crate) enum Zone {
    /// Seconds east of UTC.
    Offset(i32),
    /// A name with rules.
    Named(TimeZone),
}

/// What the text meant.
#[derive(Clone, Debug)]
pub(crate) enum Parsed {
    /// A date and a time, with the zone if one was given.
    Moment(Civil, Option<Zone>),
    /// `infinity` and `-infinity`.
    Infinity(bool),
    /// `epoch`.
    Epoch,
    /// `now`.
    Now,
    /// `today` (0), `tomorrow` (1), `yesterday` (-1), with a time of day.
    RelativeDay(i64, Civil, Option<Zone>),
}

/// Why a text was refused; what the message says about it depends on the type. C: `DTERR_*`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Not a date or time at all.
    Format,
    /// A field is too large.
    Field,
    /// A month or day is too large: maybe day and month are swapped.
    MonthDay,
    /// The zone is too far away.
    Displacement,
    /// No such zone.
    UnknownZone(String),
}

impl Failure {
    /// The error to the user. C: `DateTimeParseError`.
    pub(crate) fn into_error(self, type_name: &str, text: &str) -> PgError {
        let overflow =
            || error!(SqlState::DATETIME_FIELD_OVERFLOW, "date/time field value out of range: \"{text}\"");
        match self {
            Failure::Format => invalid_datetime(type_name, text),
            Failure::Field => overflow(),
            Failure::MonthDay => overflow().hint("Perhaps you need a different \"datestyle\" setting."),
            Failure::Displacement => error!(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                "time zone displacement out of range: \"{text}\""
            ),
            Failure::UnknownZone(name) => super::datetime::unknown_zone(&name),
        }
    }
}

type Parse<T> = std::result::Result<T, Failure>;

/// Longest text that is looked at. C: `MAXDATELEN` bounds its fields likewise.
const MAX_TEXT: usize = 256;

/// Parses a date, a time or both, for the type that messages shall name.
pub(crate) fn parse(text: &str, type_name: &str) -> Result<Parsed> {
    Parser::new(text, false).and_then(Parser::run).map_err(|f| f.into_error(type_name, text))
}

/// Parses a time of day (`None` for `now`); a date is allowed beside it, and then the third result is true.
pub(crate) fn parse_time(text: &str, type_name: &str) -> Result<(Option<Civil>, Option<Zone>, bool)> {
    let run = || {
        let mut parser = Parser::new(text, true)?;
        parser.fields()?;
        if let Some(Parsed::Now) = parser.special {
            return Ok((None, None, false));
        }
        if !parser.has_time {
            return Err(Failure::Format);
        }
        parser.finish_time()?;
        if parser.has_date() {
            parser.finish_date()?;
        }
        Ok((Some(parser.civil), parser.zone.clone(), parser.has_date()))
    };
    run().map_err(|f| f.into_error(type_name, text))
}

struct Parser<'a> {
    words: Vec<&'a str>,
    order: DateOrder,
    civil: Civil,
    year: Option<i32>,
    two_digit_year: bool,
    month: Option<i32>,
    day: Option<i32>,
    day_of_year: Option<i32>,
    julian: Option<i64>,
    has_time: bool,
    time_only: bool,
    pm: Option<bool>,
    bc: bool,
    zone: Option<Zone>,
    special: Option<Parsed>,
    expect_time: bool,
}

/// Splits at blanks, and where a digit run meets letters or a zone's sign follows a time. C: `ParseDateTime`.
fn split(text: &str, time_only: bool) -> Parse<Vec<&str>> {
    let mut words = Vec::new();
    let scan = Scan { text, time_only };
    let mut at = 0;
    while let Some(&first) = text.as_bytes().get(at) {
        let start = at;
        at = match first {
            b'0'..=b'9' => scan.number(at),
            b'.' => scan.run(at + 1, &|b| b.is_ascii_digit()),
            b'+' | b'-' => scan.signed(at)?,
            _ if first.is_ascii_alphabetic() => scan.letters(at),
            _ if is_space(char::from(first)) || first.is_ascii_punctuation() => {
                at += 1;
                continue;
            }
            _ => return Err(Failure::Format),
        };
        words.push(&text[start..at]);
        if words.len() > 25 {
            return Err(Failure::Format);
        }
    }
    Ok(words)
}

/// Finds where the word that starts at an offset ends.
struct Scan<'a> {
    text: &'a str,
    time_only: bool,
}

impl Scan<'_> {
    fn run(&self, from: usize, ok: &dyn Fn(u8) -> bool) -> usize {
        let bytes = self.text.as_bytes();
        bytes[from..].iter().position(|b| !ok(*b)).map_or(bytes.len(), |n| from + n)
    }

    /// A number, a time or a date.
    fn number(&self, start: usize) -> usize {
        let at = self.run(start, &|b| b.is_ascii_digit());
        match self.text.as_bytes().get(at) {
            Some(b':') => self.run(at, &|b| b.is_ascii_digit() || matches!(b, b':' | b'.')),
            // 040506-08 is a time and a zone where a time is wanted.
            Some(b'-')
                if self.time_only && matches!(at - start, 4 | 6) && !self.text[at + 1..].contains('-') =>
            {
                at
            }
            Some(&delim @ (b'-' | b'/')) => {
                let end = self.run(at, &|b| b.is_ascii_alphanumeric() || b == delim);
                // A letter may end a date: 2024-01-31T12:00.
                let word = &self.text[start..end];
                match word.rfind(['T', 't']) {
                    Some(t)
                        if word[..t].ends_with(|c: char| c.is_ascii_digit())
                            && word[t + 1..].bytes().all(|b| b.is_ascii_digit())
                            && word[..t].matches(char::from(delim)).count() >= 2 =>
                    {
                        start + t
                    }
                    _ => end,
                }
            }
            Some(b'.') => self.run(at, &|b| b.is_ascii_alphanumeric() || b == b'.'),
            _ => at,
        }
    }

    /// A word, a zone's name, a date that begins with the month, a Julian day.
    fn letters(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let at = self.run(start, &|b| b.is_ascii_alphabetic());
        let zone_like = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+' | b':');
        match bytes.get(at) {
            Some(b'/' | b'_' | b'-') => self.run(at, &zone_like),
            Some(b'+') if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => self.run(at, &zone_like),
            Some(_) if at - start == 1 && matches!(bytes[start], b'J' | b'j') => {
                self.run(at, &|b| b.is_ascii_digit() || b == b'.')
            }
            // EST5EDT, but not FEB10 or T12.
            Some(b)
                if b.is_ascii_digit() && at - start > 2 && month_by_name(&self.text[start..at]).is_none() =>
            {
                self.run(at, &zone_like)
            }
            _ => at,
        }
    }

    /// A zone's offset, or a signed infinity.
    fn signed(&self, start: usize) -> Parse<usize> {
        let after = self.run(start + 1, &|b| is_space(char::from(b)));
        match self.text.as_bytes().get(after) {
            Some(b) if b.is_ascii_digit() => {
                Ok(self.run(after, &|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-')))
            }
            Some(b) if b.is_ascii_alphabetic() => Ok(self.run(after, &|b| b.is_ascii_alphabetic())),
            _ => Err(Failure::Format),
        }
    }
}

fn number(text: &str) -> Parse<i32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::Format);
    }
    text.parse().map_err(|_| Failure::Field)
}

/// `.123456` to microseconds, rounded. May be a whole second.
fn fraction_usecs(digits: &str) -> Parse<i32> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::Format);
    }
    let mut usecs = 0;
    for i in 0..6 {
        usecs = usecs * 10 + digits.as_bytes().get(i).map_or(0, |b| i32::from(b - b'0'));
    }
    let round_up = digits.as_bytes().get(6).is_some_and(|b| *b >= b'5');
    Ok(usecs + i32::from(round_up))
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, time_only: bool) -> Parse<Parser<'a>> {
        if text.len() > MAX_TEXT {
            return Err(Failure::Format);
        }
        Ok(Parser {
            words: split(text, time_only)?,
            order: date_style().1,
            civil: Civil::default(),
            year: None,
            two_digit_year: false,
            month: None,
            day: None,
            day_of_year: None,
            julian: None,
            has_time: false,
            time_only,
            pm: None,
            bc: false,
            zone: None,
            special: None,
            expect_time: false,
        })
    }

    fn has_date(&self) -> bool {
        self.year.is_some() || self.month.is_some() || self.julian.is_some()
    }

    fn date_complete(&self) -> bool {
        self.julian.is_some()
            || (self.year.is_some() && self.day_of_year.is_some())
            || (self.year.is_some() && self.month.is_some() && self.day.is_some())
    }

    fn run(mut self) -> Parse<Parsed> {
        self.fields()?;
        match self.special.take() {
            Some(Parsed::RelativeDay(offset, ..)) => {
                if self.has_date() {
                    return Err(Failure::Format);
                }
                self.finish_time()?;
                return Ok(Parsed::RelativeDay(offset, self.civil, self.zone));
            }
            Some(special) => {
                return if self.has_date() || self.has_time { Err(Failure::Format) } else { Ok(special) };
            }
            None => {}
        }
        if !self.date_complete() {
            return Err(Failure::Format);
        }
        self.finish_time()?;
        self.finish_date()?;
        Ok(Parsed::Moment(self.civil, self.zone))
    }

    fn fields(&mut self) -> Parse<()> {
        if self.words.is_empty() {
            return Err(Failure::Format);
        }
        let words = std::mem::take(&mut self.words);
        words.into_iter().try_for_each(|word| self.field(word))
    }

    fn field(&mut self, word: &str) -> Parse<()> {
        match word.as_bytes()[0] {
            b'0'..=b'9' if word.contains(':') => self.clock(word),
            b'0'..=b'9' if word.contains(['-', '/']) => self.date(word),
            b'0'..=b'9' if word.matches('.').count() == 2 => self.date(word),
            b'0'..=b'9' => self.plain_number(word),
            b'.' => {
                self.civil.usec = fraction_usecs(&word[1..])?;
                Ok(())
            }
            b'+' | b'-' => self.signed(word),
            _ => self.word(word),
        }
    }

    /// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.ffffff`. C: `DecodeTime`.
    fn clock(&mut self, word: &str) -> Parse<()> {
        if self.has_time {
            return Err(Failure::Format);
        }
        let mut parts = word.split(':');
        let hour = number(parts.next().unwrap_or_default())?;
        let second_part = parts.next().unwrap_or_default();
        let third = parts.next();
        if parts.next().is_some() {
            return Err(Failure::Format);
        }
        let (minute, seconds) = match (third, second_part.split_once('.')) {
            // mm:ss.fff has no hours.
            (None, Some(_)) => {
                self.civil.hour = 0;
                (hour, second_part)
            }
            (seconds, _) => {
                self.civil.hour = hour;
                (number(second_part)?, seconds.unwrap_or("0"))
            }
        };
        self.civil.minute = minute;
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        self.civil.second = number(whole)?;
        self.civil.usec = fraction_usecs(fraction)?;
        self.has_time = true;
        Ok(())
    }

    /// `2024-01-31`, `31.1.2024`, `31-Jan-2024`. C: `DecodeDate`.
    fn date(&mut self, word: &str) -> Parse<()> {
        let mut numbers = Vec::new();
        for part in word.split(['-', '/', '.']).filter(|p| !p.is_empty()) {
            if part.bytes().all(|b| b.is_ascii_digit()) {
                numbers.push(part);
            } else {
                let month = month_by_name(part).ok_or(Failure::Format)?;
                if self.month.replace(month).is_some() {
                    return Err(Failure::Format);
                }
            }
        }
        if numbers.len() + usize::from(self.month.is_some()) > 3 {
            return Err(Failure::Format);
        }
        for part in numbers {
            self.date_number(part)?;
        }
        Ok(())
    }

    /// A number within a date: which field it is depends on what is known already. C: `DecodeNumber`.
    fn date_number(&mut self, text: &str) -> Parse<()> {
        let value = number(text)?;
        let digits = text.len();
        if digits == 3 && self.year.is_some() && self.month.is_none() && (1..=366).contains(&value) {
            self.day_of_year = Some(value);
            return Ok(());
        }
        let year_first = digits >= 3 && self.year.is_none();
        match (self.year, self.month, self.day) {
            _ if year_first => self.set_year(value, digits),
            (None, None, None) => match self.order {
                DateOrder::Ymd => self.set_year(value, digits),
                DateOrder::Dmy => self.day = Some(value),
                DateOrder::Mdy => self.month = Some(value),
            },
            (Some(_), None, _) => self.month = Some(value),
            (_, None, Some(_)) => self.month = Some(value),
            (None, Some(_), None) if self.order == DateOrder::Ymd && digits == 2 => {
                self.set_year(value, digits)
            }
            (_, Some(_), None) => self.day = Some(value),
            (None, Some(_), Some(_)) => self.set_year(value, digits),
            _ => return Err(Failure::Format),
        }
        Ok(())
    }

    fn set_year(&mut self, value: i32, digits: usize) {
        self.year = Some(value);
        self.two_digit_year = digits <= 2;
    }

    /// A number on its own: part of a spelled-out date, `20240131`, `120000`. C: `DecodeNumberField`.
    fn plain_number(&mut self, word: &str) -> Parse<()> {
        let (digits, fraction) = word.split_once('.').unwrap_or((word, ""));
        let packed_time = self.expect_time || self.date_complete() || (self.time_only && digits.len() >= 4);
        if packed_time && !self.has_time {
            let (h, m, s) = match digits.len() {
                6 => (&digits[..2], &digits[2..4], &digits[4..]),
                4 => (&digits[..2], &digits[2..], "0"),
                _ => return Err(Failure::Format),
            };
            (self.civil.hour, self.civil.minute, self.civil.second) = (number(h)?, number(m)?, number(s)?);
            self.civil.usec = fraction_usecs(fraction)?;
            self.has_time = true;
            return Ok(());
        }
        if word.contains('.') {
            return self.date(word);
        }
        match digits.len() {
            8 if !self.has_date() => {
                self.set_year(number(&digits[..4])?, 4);
                self.month = Some(number(&digits[4..6])?);
                self.day = Some(number(&digits[6..])?);
                Ok(())
            }
            6 if !self.has_date() => {
                self.set_year(number(&digits[..2])?, 2);
                self.month = Some(number(&digits[2..4])?);
                self.day = Some(number(&digits[4..])?);
                Ok(())
            }
            7 if !self.has_date() => {
                self.set_year(number(&digits[..4])?, 4);
                self.day_of_year = Some(number(&digits[4..])?);
                Ok(())
            }
            _ => self.date_number(digits),
        }
    }

    /// A zone's offset behind a time, or a signed infinity.
    fn signed(&mut self, word: &str) -> Parse<()> {
        let rest = word[1..].trim_start_matches(is_space);
        if rest.eq_ignore_ascii_case("infinity") || rest.eq_ignore_ascii_case("inf") {
            return self.set_special(Parsed::Infinity(word.starts_with('+')));
        }
        if !(self.has_time || self.date_complete()) || self.zone.is_some() {
            return Err(Failure::Format);
        }
        let offset = parse_offset(&format!("{}{rest}", &word[..1])).ok_or(Failure::Format)?;
        if offset.abs() >= MAX_OFFSET_SECS {
            return Err(Failure::Displacement);
        }
        self.zone = Some(Zone::Offset(offset));
        Ok(())
    }

    fn set_special(&mut self, special: Parsed) -> Parse<()> {
        if self.special.replace(special).is_some() { Err(Failure::Format) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Parse<()> {
        let lower = word.to_ascii_lowercase();
        let zero = Civil::default();
        match lower.as_str() {
            "infinity" | "inf" => return self.set_special(Parsed::Infinity(true)),
            "epoch" => return self.set_special(Parsed::Epoch),
            "now" => return self.set_special(Parsed::Now),
            "today" => return self.set_special(Parsed::RelativeDay(0, zero, None)),
            "tomorrow" => return self.set_special(Parsed::RelativeDay(1, zero, None)),
            "yesterday" => return self.set_special(Parsed::RelativeDay(-1, zero, None)),
            "allballs" => {
                self.has_time = true;
                self.zone = Some(Zone::Offset(0));
                return Ok(());
            }
            "am" | "a.m." => self.pm = Some(false),
            "pm" | "p.m." => self.pm = Some(true),
            "bc" | "b.c." => self.bc = true,
            "ad" | "a.d." | "at" | "on" | "dow" | "zone" | "time" => {}
            "t" if self.has_date() || self.time_only => self.expect_time = true,
            _ if lower.starts_with('j') && lower.len() > 1 && lower.as_bytes()[1].is_ascii_digit() => {
                return self.julian_day(&lower[1..]);
            }
            _ => return self.named(word),
        }
        Ok(())
    }

    fn julian_day(&mut self, digits: &str) -> Parse<()> {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let day: i64 = whole.parse().map_err(|_| Failure::Field)?;
        if !(0..=2_147_483_493).contains(&day) {
            return Err(Failure::Field);
        }
        self.julian = Some(day);
        if !fraction.is_empty() {
            let part: f64 = format!("0.{fraction}").parse().map_err(|_| Failure::Format)?;
            let time = Civil::from_time((part * super::datetime::USECS_PER_DAY as f64).round() as i64);
            self.civil = time;
            self.has_time = true;
        }
        Ok(())
    }

    /// A month, a day of the week, a zone.
    fn named(&mut self, word: &str) -> Parse<()> {
        if let Some(month) = month_by_name(word) {
            // "8 January": a number read as the month before is the day.
            if let Some(before) = self.month.replace(month) {
                if self.day.is_some() {
                    return Err(Failure::Format);
                }
                self.day = Some(before);
            }
            return Ok(());
        }
        if is_weekday_name(word) {
            return Ok(());
        }
        if word.contains('-')
            && !word.contains('/')
            && month_by_name(word.split('-').next().unwrap_or("")).is_some()
        {
            return self.date(word);
        }
        if self.zone.is_some() {
            return Err(Failure::Format);
        }
        if let Some(east) = abbreviation_offset(word) {
            self.zone = Some(Zone::Offset(east));
            return Ok(());
        }
        if let Some(zone) = zone_by_name(word) {
            self.zone = Some(Zone::Named(zone));
            return Ok(());
        }
        if word.contains('/') {
            Err(Failure::UnknownZone(word.to_ascii_lowercase()))
        } else {
            Err(Failure::Format)
        }
    }

    /// Applies AM and PM and checks the clock. C: the end of `DecodeDateTime`.
    fn finish_time(&mut self) -> Parse<()> {
        let c = &mut self.civil;
        if let Some(pm) = self.pm {
            if !(0..=12).contains(&c.hour) {
                return Err(Failure::Field);
            }
            if pm && c.hour < 12 {
                c.hour += 12;
            } else if !pm && c.hour == 12 {
                c.hour = 0;
            }
        }
        let end_of_day = c.hour == 24 && c.minute == 0 && c.second == 0 && c.usec == 0;
        let in_range = c.hour < 24 && c.minute < 60 && c.second <= 60 && c.usec <= 1_000_000;
        if in_range || end_of_day { Ok(()) } else { Err(Failure::Field) }
    }

    /// Settles the year and checks month and day. C: `ValidateDate`.
    fn finish_date(&mut self) -> Parse<()> {
        if let Some(julian) = self.julian {
            (self.civil.year, self.civil.month, self.civil.day) =
                civil_from_days(julian - super::datetime::EPOCH_JULIAN);
            return Ok(());
        }
        let mut year = self.year.ok_or(Failure::Format)?;
        if self.bc {
            if year <= 0 {
                return Err(Failure::Field);
            }
            year = 1 - year;
        } else if self.two_digit_year {
            year += if year < 70 { 2000 } else { 1900 };
        } else if year <= 0 {
            return Err(Failure::Field);
        }
        self.civil.year = year;
        if let Some(day_of_year) = self.day_of_year {
            let days = super::datetime::days_from_civil(year, 1, 1) + i64::from(day_of_year) - 1;
            (_, self.civil.month, self.civil.day) = civil_from_days(days);
            if civil_from_days(days).0 != year || day_of_year < 1 {
                return Err(Failure::Field);
            }
            return Ok(());
        }
        let (month, day) = (self.month.ok_or(Failure::Format)?, self.day.ok_or(Failure::Format)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Failure::MonthDay);
        }
        if day > days_in_month(year, month) {
            return Err(Failure::Field);
        }
        (self.civil.month, self.civil.day) = (month, day);
        Ok(())
    }
}
