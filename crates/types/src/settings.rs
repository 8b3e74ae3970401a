//! The settings that change how values look, read off `guc` and kept in parsed form.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::tz::TimeZone;

/// Order of day, month and year in ambiguous input and in the non-ISO styles. C: `DateOrder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// Year first.
    Ymd,
    /// Day first.
    Dmy,
    /// Month first.
    Mdy,
}

/// How dates are written. C: `DateStyle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateStyle {
    /// `2024-01-31 12:00:00+01`.
    Iso,
    /// `01/31/2024 12:00:00.00 CET`.
    Sql,
    /// `Wed Jan 31 12:00:00 2024 CET`.
    Postgres,
    /// `31.01.2024 12:00:00.00 CET`.
    German,
}

/// How intervals are written. C: `IntervalStyle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 day 02:03:04`.
    Postgres,
    /// `@ 1 day 2 hours 3 mins 4 secs`.
    PostgresVerbose,
    /// `1 2:03:04`.
    SqlStandard,
    /// `P1DT2H3M4S`.
    Iso8601,
}

/// `extra_float_digits`.
pub(crate) fn extra_float_digits() -> i32 {
    guc::vars::EXTRA_FLOAT_DIGITS.get()
}

/// Whether `bytea_output` is `hex`.
pub(crate) fn bytea_hex() -> bool {
    guc::vars::BYTEA_OUTPUT.get() != "escape"
}

/// `IntervalStyle`.
pub fn interval_style() -> IntervalStyle {
    #[cfg(test)]
    if let Some(style) = TEST_INTERVAL_STYLE.with_borrow(|s| *s) {
        return style;
    }
    match guc::vars::INTERVALSTYLE.get() {
        "sql_standard" => IntervalStyle::SqlStandard,
        "postgres_verbose" => IntervalStyle::PostgresVerbose,
        "iso_8601" => IntervalStyle::Iso8601,
        _ => IntervalStyle::Postgres,
    }
}

struct Cached<T> {
    text: Arc<str>,
    value: T,
}

thread_local! {
    static DATE_STYLE: RefCell<Option<Cached<(DateStyle, DateOrder)>>> = const { RefCell::new(None) };
    static TIME_ZONE: RefCell<Option<Cached<TimeZone>>> = const { RefCell::new(None) };
}

/// The value parsed from a setting's text, parsed again only when the text has changed.
fn cached<T: Clone>(cell: &RefCell<Option<Cached<T>>>, text: Arc<str>, parse: fn(&str) -> T) -> T {
    let mut slot = cell.borrow_mut();
    match &*slot {
        Some(known) if Arc::ptr_eq(&known.text, &text) || known.text == text => known.value.clone(),
        _ => {
            let value = parse(&text);
            *slot = Some(Cached { text, value: value.clone() });
            value
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Settings of one test: `guc` holds one value for the whole process, and tests run side by side.
    pub(crate) static TEST_DATE_STYLE: RefCell<Option<&'static str>> = const { RefCell::new(None) };
    pub(crate) static TEST_TIME_ZONE: RefCell<Option<&'static str>> = const { RefCell::new(None) };
    pub(crate) static TEST_INTERVAL_STYLE: RefCell<Option<IntervalStyle>> = const { RefCell::new(None) };
}

/// Both halves of `DateStyle`.
pub fn date_style() -> (DateStyle, DateOrder) {
    #[cfg(test)]
    if let Some(text) = TEST_DATE_STYLE.with_borrow(|s| *s) {
        return parse_date_style(text);
    }
    DATE_STYLE.with(|cell| cached(cell, guc::vars::DATESTYLE.get(), parse_date_style))
}

fn parse_date_style(text: &str) -> (DateStyle, DateOrder) {
    let (mut style, mut order) = (DateStyle::Iso, DateOrder::Mdy);
    for word in text.split(',').map(|w| w.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "iso" => style = DateStyle::Iso,
            "sql" => style = DateStyle::Sql,
            "german" => (style, order) = (DateStyle::German, DateOrder::Dmy),
            w if w.starts_with("postgres") => style = DateStyle::Postgres,
            "ymd" => order = DateOrder::Ymd,
            w if w == "dmy" || w.starts_with("euro") => order = DateOrder::Dmy,
            w if w == "mdy" || w == "us" || w.starts_with("noneuro") => order = DateOrder::Mdy,
            _ => {}
        }
    }
    (style, order)
}

/// The session's time zone; UTC if the setting names none that is known.
pub fn time_zone() -> TimeZone {
    #[cfg(test)]
    if let Some(zone) = TEST_TIME_ZONE.with_borrow(|s| *s) {
        return crate::adt::datetime::zone_by_name(zone).unwrap_or(TimeZone::UTC);
    }
    TIME_ZONE.with(|cell| {
        cached(cell, guc::vars::TIMEZONE.get(), |name| {
            crate::adt::datetime::zone_by_name(name).unwrap_or(TimeZone::UTC)
        })
    })
}
