//! What was measured, as a table of medians and as JSON.

use serde_json::{Value, json};

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Times, memory.
    Lower,
    /// Rates.
    Higher,
}

impl Better {
    fn word(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    MegabytesPerSecond,
    Kilobytes,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::PerSecond => "1/s",
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Kilobytes => "kB",
        }
    }

    /// A number for people: three digits that matter.
    fn show(self, number: f64) -> String {
        match self {
            Unit::Seconds if number < 1.0 => format!("{:.1} ms", number * 1000.0),
            Unit::Seconds => format!("{number:.2} s"),
            Unit::PerSecond => format!("{number:.0} /s"),
            Unit::MegabytesPerSecond => format!("{number:.0} MB/s"),
            Unit::Kilobytes => format!("{number:.0} kB"),
        }
    }
}

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) better: Better,
    /// The ratio ours/PG that the project aims at.
    pub(crate) aim: f64,
}

/// A metric's samples of both servers; empty where a server was not measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) metric: Metric,
    pub(crate) ours: Vec<f64>,
    pub(crate) real: Vec<f64>,
}

impl Row {
    pub(crate) fn new(metric: Metric) -> Row {
        Row { metric, ours: Vec::new(), real: Vec::new() }
    }

    /// Our median in terms of PostgreSQL's.
    fn ratio(&self) -> Option<f64> {
        let real = median(&self.real).filter(|real| *real > 0.0)?;
        Some(median(&self.ours)? / real)
    }

    /// Is the aim reached?
    fn is_reached(&self) -> Option<bool> {
        let ratio = self.ratio()?;
        Some(match self.metric.better {
            Better::Lower => ratio <= self.metric.aim,
            Better::Higher => ratio >= self.metric.aim,
        })
    }

    fn cells(&self) -> [String; 6] {
        let show =
            |samples: &[f64]| median(samples).map_or("-".into(), |number| self.metric.unit.show(number));
        let sign = if self.metric.better == Better::Lower { "<=" } else { ">=" };
        let verdict = self.is_reached().map_or("", |reached| if reached { " reached" } else { " missed" });
        [
            self.metric.name.to_owned(),
            show(&self.ours),
            show(&self.real),
            self.ratio().map_or("-".into(), show_ratio),
            self.metric.better.word().to_owned(),
            format!("{sign} {:.2}{verdict}", self.metric.aim),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.metric.name,
            "unit": self.metric.unit.word(),
            "better": self.metric.better.word(),
            "ours": samples_json(&self.ours),
            "postgresql": samples_json(&self.real),
            "ratio": self.ratio(),
            "aim": self.metric.aim,
            "reached": self.is_reached(),
        })
    }
}

/// Two digits that matter at least.
fn show_ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

fn samples_json(samples: &[f64]) -> Value {
    json!({ "median": median(samples), "samples": samples })
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

/// The table, in Markdown that lines up, so that it can be pasted into the README.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["median", "pganatomy", "PostgreSQL 15", "ours/PG", "better is", "aim"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let widths: Vec<usize> =
        (0..6).map(|i| lines.iter().map(|cells| cells[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, cells) in lines.iter().enumerate() {
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let is_number = (1..4).contains(&i);
            text += &if is_number { format!("| {cell:>width$} ") } else { format!("| {cell:<width$} ") };
        }
        text += "|\n";
        if number == 0 {
            for (i, width) in widths.iter().enumerate() {
                let end = if (1..4).contains(&i) { ":" } else { "-" };
                text += &format!("|{}{end}", "-".repeat(width + 1));
            }
            text += "|\n";
        }
    }
    text
}

/// Everything, for programs.
pub(crate) fn json(bench: &str, facts: Value, rows: &[Row]) -> Value {
    let metrics: Vec<Value> = rows.iter().map(Row::json).collect();
    json!({ "bench": bench, "facts": facts, "metrics": metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Metric = Metric { name: "start", unit: Unit::Seconds, better: Better::Lower, aim: 1.0 };
    const RATE: Metric = Metric { name: "connect", unit: Unit::PerSecond, better: Better::Higher, aim: 3.0 };

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn small_ratios_are_not_zero() {
        assert_eq!([0.0034, 0.25, 3.046].map(show_ratio), ["0.003", "0.25", "3.05"]);
    }

    #[test]
    fn the_table_lines_up() {
        let mut start = Row::new(START);
        start.ours = vec![0.012];
        start.real = vec![0.048];
        let mut rate = Row::new(RATE);
        rate.ours = vec![2000.0, 2000.0];
        rate.real = vec![1000.0];
        let expected = "\
| median  | pganatomy | PostgreSQL 15 | ours/PG | better is | aim             |
|---------|----------:|--------------:|--------:|-----------|-----------------|
| start   |   12.0 ms |       48.0 ms |    0.25 | lower     | <= 1.00 reached |
| connect |   2000 /s |       1000 /s |    2.00 | higher    | >= 3.00 missed  |
";
        assert_eq!(table(&[start, rate]), expected);
    }

    #[test]
    fn a_server_that_was_not_measured_has_no_ratio() {
        let mut row = Row::new(START);
        row.ours = vec![1.5];
        assert_eq!(row.cells(), ["start", "1.50 s", "-", "-", "lower", "<= 1.00"]);
        let value = json("x", json!({}), &[row]);
        assert_eq!(value["metrics"][0]["ours"]["median"], 1.5);
        assert_eq!(value["metrics"][0]["postgresql"]["median"], Value::Null);
        assert_eq!(value["metrics"][0]["ratio"], Value::Null);
    }
}
