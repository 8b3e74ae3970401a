//! `to_char` and `to_number` with a numeric template. C: formatting.c, the number half.

use common::SqlState;
use elog::{Result, error};

use super::formatting::ordinal_suffix;
use super::numeric::{self, Numeric};

/// A numeric template taken apart. C: `NUMDesc`.
#[derive(Default)]
struct Template {
    tokens: Vec<Token>,
    /// Digit positions before the point.
    before: usize,
    /// Digit positions behind it.
    after: usize,
    /// Position of the first `0` before the point.
    zero_from: Option<usize>,
    /// Index of the last `0` behind the point.
    zero_to: usize,
    fill_mode: bool,
    sign_given: bool,
    bracket: bool,
    has_point: bool,
    shift: u32,
    scientific: bool,
    roman: Option<bool>,
}

#[derive(Clone, PartialEq)]
enum Token {
    Digit,
    Point,
    Group,
    /// `S`, `MI`, `PL`, `SG`.
    Sign(&'static str),
    Ordinal(bool),
    Text(String),
}

fn bad(message: &str) -> elog::PgError {
    error!(SqlState::SYNTAX_ERROR, "{message}")
}

/// C: `NUMDesc_prepare`.
fn parse(text: &str) -> Result<Template> {
    let mut t = Template::default();
    let mut rest = text;
    while !rest.is_empty() {
        let upper: String = rest.chars().take(4).collect::<String>().to_ascii_uppercase();
        let mut used = 2;
        if upper == "EEEE" {
            t.scientific = true;
            used = 4;
        } else if upper.starts_with("FM") {
            t.fill_mode = true;
        } else if upper.starts_with("MI") {
            t.tokens.push(Token::Sign("MI"));
            t.sign_given = true;
        } else if upper.starts_with("PL") {
            t.tokens.push(Token::Sign("PL"));
        } else if upper.starts_with("SG") {
            t.tokens.push(Token::Sign("SG"));
            t.sign_given = true;
        } else if upper.starts_with("PR") {
            t.bracket = true;
        } else if upper.starts_with("TH") {
            t.tokens.push(Token::Ordinal(rest.starts_with('T')));
        } else if upper.starts_with("RN") {
            t.roman = Some(rest.starts_with('R'));
        } else {
            used = t.single(rest)?;
        }
        rest = &rest[used..];
    }
    Ok(t)
}

impl Template {
    /// One-letter tokens. Returns the bytes used.
    fn single(&mut self, rest: &str) -> Result<usize> {
        let c = rest.chars().next().unwrap_or(' ');
        match c {
            '9' | '0' => {
                if self.shift > 0 || (self.has_v() && !self.has_point) {
                    self.shift += 1;
                }
                if self.has_point {
                    self.after += 1;
                    if c == '0' {
                        self.zero_to = self.after;
                    }
                } else {
                    self.before += 1;
                    if c == '0' && self.zero_from.is_none() {
                        self.zero_from = Some(self.before);
                    }
                }
                self.tokens.push(Token::Digit);
            }
            '.' | 'D' | 'd' => {
                if self.has_point {
                    return Err(bad("multiple decimal points"));
                }
                self.has_point = true;
                self.tokens.push(Token::Point);
            }
            ',' | 'G' | 'g' => self.tokens.push(Token::Group),
            'S' | 's' => {
                if self.sign_given {
                    return Err(bad("cannot use \"S\" twice"));
                }
                self.sign_given = true;
                self.tokens.push(Token::Sign("S"));
            }
            'V' | 'v' => self.tokens.push(Token::Text("\u{0}V".into())),
            'B' | 'b' | 'C' | 'c' => {}
            'L' | 'l' => self.tokens.push(Token::Text(" ".into())),
            '"' => {
                let quoted = &rest[1..];
                let end = quoted.find('"').unwrap_or(quoted.len());
                self.tokens.push(Token::Text(quoted[..end].to_string()));
                return Ok((end + 2).min(rest.len()));
            }
            c => self.tokens.push(Token::Text(c.to_string())),
        }
        Ok(c.len_utf8())
    }

    fn has_v(&self) -> bool {
        self.tokens.contains(&Token::Text("\u{0}V".into()))
    }
}

fn roman(n: i64) -> String {
    const PARTS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..4000).contains(&n) {
        return "#".repeat(15);
    }
    let mut left = n;
    let mut out = String::new();
    for (value, letters) in PARTS {
        while left >= value {
            out.push_str(letters);
            left -= value;
        }
    }
    out
}

/// C: `numeric_to_char` and its kin, `NUM_processor`.
fn to_char(value: &Numeric, template: &str) -> Result<String> {
    let t = parse(template)?;
    if let Some(upper) = t.roman {
        let text =
            roman(numeric::round_to(value, 0).to_i128().and_then(|v| i64::try_from(v).ok()).unwrap_or(0));
        let text = if upper { text } else { text.to_lowercase() };
        return Ok(if t.fill_mode { text } else { format!("{text:>15}") });
    }
    if value.is_nan() && !t.scientific {
        return Ok(if t.fill_mode { "NaN".into() } else { " NaN".into() });
    }
    if t.scientific {
        let digits = t.after.min(1000);
        let text = match value {
            Numeric::Finite { .. } => format!("{:.*e}", digits, value.to_f64()),
            _ => "#.####".into(),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        let lead = if mantissa.starts_with('-') || t.fill_mode { "" } else { " " };
        return Ok(format!("{lead}{mantissa}e{sign}{:02}", exponent.abs()));
    }
    let shifted = match t.shift {
        0 => value.clone(),
        n => numeric::multiply(value, &Numeric::new(numeric::pow10(n), 0)),
    };
    let rounded = numeric::round_to(&shifted, t.after as i64);
    let negative = rounded.signum() < 0;
    let magnitude = if negative { numeric::negate(&rounded) } else { rounded };
    let text = match &magnitude {
        Numeric::Finite { .. } => magnitude.to_string(),
        _ => String::new(),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = if whole == "0" && t.before > 0 { "" } else { whole };
    let overflow = whole.len() > t.before || text.is_empty();
    let writer = Writer {
        t: &t,
        whole,
        fraction,
        negative,
        overflow,
        before_seen: 0,
        after_seen: 0,
        in_point: false,
        place_kept: false,
        sign_written: false,
        out: String::new(),
    };
    Ok(writer.run())
}

/// The number on its way through a template's tokens. C: `NUMProc`.
struct Writer<'a> {
    t: &'a Template,
    /// Digits before the point; empty for 0.
    whole: &'a str,
    fraction: &'a str,
    negative: bool,
    /// More digits than the template has room for.
    overflow: bool,
    /// Digit positions passed so far, before and behind the point.
    before_seen: usize,
    after_seen: usize,
    in_point: bool,
    place_kept: bool,
    sign_written: bool,
    out: String,
}

impl Writer<'_> {
    fn run(mut self) -> String {
        for token in &self.t.tokens {
            if !self.place_kept && matches!(token, Token::Digit | Token::Point) {
                // A positive number's sign is a blank, at the first position of the digits.
                if !self.negative && !self.t.fill_mode && (self.implicit_sign() || self.t.bracket) {
                    self.out.push(' ');
                }
                self.place_kept = true;
            }
            self.token(token);
        }
        if self.t.bracket {
            self.mark_or_blank('>', self.negative);
        }
        self.out
    }

    fn token(&mut self, token: &Token) {
        match token {
            Token::Digit if self.in_point => self.fraction_digit(),
            Token::Digit => self.whole_digit(),
            Token::Point => {
                self.lead_sign();
                self.out.push('.');
                self.in_point = true;
            }
            Token::Group => {
                if self.before_seen >= self.zero_from() || self.overflow || self.sign_written {
                    self.out.push(',');
                } else if !self.t.fill_mode {
                    self.out.push(' ');
                }
            }
            Token::Sign("S") if self.leading_s() => {}
            Token::Sign("MI") => self.mark_or_blank('-', self.negative),
            Token::Sign("PL") => self.mark_or_blank('+', !self.negative),
            Token::Sign(_) => self.out.push(self.sign_mark()),
            Token::Ordinal(upper) => {
                if !self.negative && self.fraction.is_empty() {
                    let number = if self.whole.is_empty() { "0" } else { self.whole };
                    self.out.push_str(ordinal_suffix(number, *upper));
                }
            }
            Token::Text(text) if text.starts_with('\0') => {}
            Token::Text(text) => self.out.push_str(text),
        }
    }

    /// Position of the first digit that the number has.
    fn first_digit(&self) -> usize {
        self.t.before - self.whole.len().min(self.t.before) + 1
    }

    /// Zeros are shown from the first `0` of the template, or for a lone 0.
    fn zero_from(&self) -> usize {
        let from = self.t.zero_from.unwrap_or(usize::MAX).min(self.first_digit());
        let lone_zero =
            self.whole.is_empty() && (self.t.after == 0 || !self.t.has_point) && self.t.zero_from.is_none();
        if lone_zero { self.t.before.min(from) } else { from }
    }

    fn whole_digit(&mut self) {
        self.before_seen += 1;
        let first = self.first_digit();
        let shown = self.before_seen >= self.zero_from() || self.overflow;
        if shown {
            self.lead_sign();
        }
        if self.overflow {
            self.out.push('#');
        } else if self.before_seen >= first {
            self.out.push(char::from(self.whole.as_bytes()[self.before_seen - first]));
        } else if shown {
            self.out.push('0');
        } else if !self.t.fill_mode {
            self.out.push(' ');
        }
    }

    fn fraction_digit(&mut self) {
        self.after_seen += 1;
        let kept = match self.t.fill_mode {
            true => self.fraction.trim_end_matches('0').len().max(self.t.zero_to),
            false => self.t.after,
        };
        if self.overflow {
            self.out.push('#');
        } else if self.after_seen <= kept {
            let digit = self.fraction.as_bytes().get(self.after_seen - 1);
            self.out.push(digit.map_or('0', |b| char::from(*b)));
        }
    }

    fn sign_mark(&self) -> char {
        if self.negative { '-' } else { '+' }
    }

    /// No sign in the template: `-` or a blank goes before the digits.
    fn implicit_sign(&self) -> bool {
        !self.t.sign_given && !self.t.bracket
    }

    /// An `S` before the digits.
    fn leading_s(&self) -> bool {
        let at = |wanted| self.t.tokens.iter().position(|k| *k == wanted);
        at(Token::Sign("S")).is_some_and(|s| at(Token::Digit).is_some_and(|d| s < d))
    }

    fn mark_or_blank(&mut self, mark: char, show: bool) {
        if show {
            self.out.push(mark);
        } else if !self.t.fill_mode {
            self.out.push(' ');
        }
    }

    /// The sign goes right before the first digit shown.
    fn lead_sign(&mut self) {
        if std::mem::replace(&mut self.sign_written, true) {
            return;
        }
        if self.leading_s() {
            self.out.push(self.sign_mark());
        } else if self.negative && (self.implicit_sign() || self.t.bracket) {
            self.out.push(if self.t.bracket { '<' } else { '-' });
        }
    }
}

/// Picks the digits out of a text by a template. C: `numeric_to_number`.
fn to_number(text: &str, template: &str) -> Result<Option<Numeric>> {
    if template.is_empty() {
        return Ok(None);
    }
    let t = parse(template)?;
    if t.roman.is_some() {
        return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "\"RN\" not supported for input"));
    }
    let mut digits = String::new();
    let mut negative = false;
    let mut fraction = None;
    for c in text.chars() {
        match c {
            '0'..='9' => match fraction {
                Some(n) if n >= t.after => break,
                Some(n) => {
                    fraction = Some(n + 1);
                    digits.push(c);
                }
                None => digits.push(c),
            },
            '-' | '<' => negative = true,
            '.' if t.has_point && fraction.is_none() => {
                fraction = Some(0);
                digits.push('.');
            }
            '.' => break,
            _ => {}
        }
    }
    if digits.is_empty() || digits == "." {
        return Err(crate::io::invalid_input("numeric", " "));
    }
    let value = numeric::input(&digits, -1)?;
    let value = numeric::round_to(&value, t.after as i64);
    Ok(Some(if negative { numeric::negate(&value) } else { value }))
}

builtins! {
    fn numeric_to_char(a: &Numeric, template: &str) -> String { to_char(a, template)? }
    fn int4_to_char(a: i32, template: &str) -> String { to_char(&Numeric::from_i64(i64::from(a)), template)? }
    fn int8_to_char(a: i64, template: &str) -> String { to_char(&Numeric::from_i64(a), template)? }
    fn float4_to_char(a: f32, template: &str) -> String { to_char(&numeric::from_float(f64::from(a), 6)?, template)? }
    fn float8_to_char(a: f64, template: &str) -> String { to_char(&numeric::from_float(a, 15)?, template)? }
    fn numeric_to_number(a: &str, template: &str) -> Option<Numeric> { to_number(a, template)? }
}
