//! Sizes, speeds and durations, as all who speak about a stop write them.

/// A size as SQL's `pg_size_pretty` writes it: `8192 bytes`, `412 MB`.
pub fn size(bytes: u64) -> String {
    if bytes < 10 * 1024 {
        return format!("{bytes} bytes");
    }
    // Half units, so that the last step can round.
    let mut halves = bytes >> 9;
    let mut units = ["kB", "MB", "GB", "TB", "PB"].into_iter().peekable();
    while let Some(unit) = units.next() {
        if halves < 20 * 1024 - 1 || units.peek().is_none() {
            return format!("{} {unit}", halves.div_ceil(2));
        }
        halves >>= 10;
    }
    String::new()
}

/// Bytes per second: `38 MB/s`.
pub fn speed(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second.round() as u64))
}

/// Files per second: `12 files/s`, `3.3 files/s`; a slow one as `one file in 25 s`.
pub fn file_speed(files_per_second: f64) -> String {
    match files_per_second {
        rate if rate >= 9.95 => format!("{rate:.0} files/s"),
        rate if rate >= 0.2 => format!("{rate:.1} files/s"),
        rate if rate > 1e-6 => format!("one file in {}", duration(1.0 / rate)),
        _ => "0 files/s".to_owned(),
    }
}

/// A number of files: `1 file`, `38 files`.
pub fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// An estimate: `less than 1 s`, `about 11 s`, `about 3 min`, `about 5 h`, `about 12 days`.
pub fn about(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    match seconds {
        s if s < 1.0 || s.is_nan() => "less than 1 s".to_owned(),
        s if s < 2.0 * MINUTE => format!("about {} s", s.round()),
        s if s < 2.0 * HOUR => format!("about {} min", (s / MINUTE).round()),
        s if s < 2.0 * DAY => format!("about {} h", (s / HOUR).round()),
        s if s < 1000.0 * DAY => format!("about {} days", (s / DAY).round()),
        _ => "years".to_owned(),
    }
}

/// A time that is known: `0.5 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    if seconds < 9.95 {
        let text = format!("{seconds:.1}");
        return format!("{} s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let whole = seconds.round() as u64;
    match whole {
        0..120 => format!("{whole} s"),
        120..7200 => two(whole / 60, "min", whole % 60, "s"),
        _ => two(whole / 3600, "h", whole / 60 % 60, "min"),
    }
}

/// Without characters that could steer a terminal, break a line or turn the order of writing around: names come from outside.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_steering(c) { '?' } else { c }).collect()
}

/// JSON that can be shown on a terminal: what [`printable`] replaces is escaped. Serialized JSON has such characters in strings alone.
pub fn printable_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        match is_steering(c) {
            true => {
                c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")))
            }
            false => text.push(c),
        }
    }
    text
}

fn is_steering(c: char) -> bool {
    // Marks of direction, separators of lines and whatever else is invisible.
    let is_invisible = matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' |
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_invisible
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_pg_size_pretty() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (432_013_312, "412 MB"),
            (u64::MAX, "16384 PB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(printable("a\u{1b}[31m\r\n\u{9b}1m\u{7f}"), "a?[31m???1m?");
        assert_eq!(printable("user\u{202e}nimda\u{2028}\u{200b}"), "user?nimda??");
        let nasty = "\"\u{1b}\n\u{9b}\u{202e}\u{e0001}日\u{7f}";
        let json = printable_json(&serde_json::to_string(nasty).unwrap());
        assert_eq!(json, r#""\"\u001b\n\u009b\u202e\udb40\udc01日\u007f""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), nasty);
        assert_eq!(printable("größer 日本 e\u{301}"), "größer 日本 e\u{301}");
    }

    #[test]
    fn speeds() {
        assert_eq!(speed(39_845_888.0), "38 MB/s");
        assert_eq!(speed(0.4), "0 bytes/s");
        for nonsense in [f64::NAN, f64::NEG_INFINITY, -1.0] {
            assert_eq!(speed(nonsense), "0 bytes/s");
            assert_eq!(file_speed(nonsense), "0 files/s");
        }
        for (rate, expected) in
            [(160.2, "160 files/s"), (9.96, "10 files/s"), (3.33, "3.3 files/s"), (0.04, "one file in 25 s")]
        {
            assert_eq!(file_speed(rate), expected, "{rate}");
        }
    }

    #[test]
    fn times() {
        for (seconds, expected) in [
            (-1.0, "less than 1 s"),
            (0.99, "less than 1 s"),
            (f64::NAN, "less than 1 s"),
            (11.4, "about 11 s"),
            (119.0, "about 119 s"),
            (180.0, "about 3 min"),
            (18_000.0, "about 5 h"),
            (1_000_000.0, "about 12 days"),
            (f64::INFINITY, "years"),
        ] {
            assert_eq!(about(seconds), expected, "{seconds}");
        }
        for (seconds, expected) in [
            (0.5, "0.5 s"),
            (1.0, "1 s"),
            (9.96, "10 s"),
            (12.3, "12 s"),
            (200.0, "3 min 20 s"),
            (300.0, "5 min"),
            (7_500.0, "2 h 5 min"),
            (f64::NAN, "0 s"),
            (-3.0, "0 s"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }
}
