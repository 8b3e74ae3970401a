//! Columns of text, aligned as psql aligns them.
//!
//! Called by: `forecast`. C counterpart: none here; psql's `print_aligned_text` looks like it.

use crate::render;

/// A column: its title, and whether its cells are numbers, which stand at the right.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) is_number: bool,
}

/// The lines of a table. Each row has as many cells as there are columns.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let width_of = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| render::width(cell));
        cells.max().unwrap_or(0).max(columns[at].title.len())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    let title = |column: &Column, width: usize| {
        let left = (width - column.title.len()) / 2;
        format!("{:left$}{:<rest$}", "", column.title, rest = width - left)
    };
    let titles = columns.iter().zip(&widths).map(|(column, width)| title(column, *width));
    let mut lines = vec![joined(titles.collect(), " | ")];
    lines.push(widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+"));
    for row in rows {
        let cells =
            row.iter().zip(columns).zip(&widths).map(|((cell, column), width)| match column.is_number {
                true => format!("{:1$}{cell}", "", width.saturating_sub(render::width(cell))),
                false => format!("{cell}{:1$}", "", width.saturating_sub(render::width(cell))),
            });
        lines.push(joined(cells.collect(), " | "));
    }
    lines
}

fn joined(cells: Vec<String>, between: &str) -> String {
    format!(" {}", cells.join(between)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_psql_prints_it() {
        let columns = [Column { title: "n", is_number: true }, Column { title: "name", is_number: false }];
        let row = |n: &str, name: &str| vec![n.to_owned(), name.to_owned()];
        let rows = [row("1", "größer"), row("100", ""), row("", "a")];
        let expected = "  n  |  name\n-----+--------\n   1 | größer\n 100 |\n     | a";
        assert_eq!(lines(&columns, &rows).join("\n"), expected);
        assert_eq!(lines(&columns, &[]).join("\n"), " n | name\n---+------");
    }
}
