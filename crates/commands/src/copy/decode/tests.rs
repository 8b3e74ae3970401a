//! Rows and columns that COPY FROM cuts out of its input, also where the input ends in the middle of something.

use super::*;
use crate::copy::encode;

struct Pieces<'a>(std::slice::Chunks<'a, u8>);

impl Input for Pieces<'_> {
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool> {
        let Some(piece) = self.0.next() else { return Ok(false) };
        buffer.extend_from_slice(piece);
        Ok(true)
    }
}

fn options(words: &str) -> Options {
    let sql = format!("copy t from stdin {words}");
    let Some(parser::Statement::Copy(copy)) = parser::parse(&sql).unwrap().pop().map(|raw| raw.stmt) else {
        panic!("{sql}")
    };
    Options::parse(&copy.options, true, &sql).unwrap()
}

/// All rows, columns separated by `|`, NULL shown as `~`; whatever way the input is cut into reads.
#[track_caller]
fn check(words: &str, input: &str, expected: &[&str]) {
    let options = options(words);
    for size in [1, 2, 3, 7, 1000] {
        let mut pieces = Pieces(input.as_bytes().chunks(size));
        let mut lines = Lines::new(&mut pieces, &options);
        let mut rows = Vec::new();
        let error = loop {
            let line = match lines.next() {
                Ok(Some(line)) => line.to_vec(),
                Ok(None) => break None,
                Err(error) => break Some(error.message.clone()),
            };
            let mut fields = Vec::new();
            let cut = match options.format {
                Format::Text => {
                    fields_of_text(&line, &options, &mut fields);
                    Ok(())
                }
                Format::Csv => fields_of_csv(&line, &options, &mut fields),
            };
            if let Err(error) = cut {
                break Some(error.message.clone());
            }
            let shown = |field: &Field<'_>| match field {
                None => "~".to_owned(),
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            };
            rows.push(fields.iter().map(shown).collect::<Vec<_>>().join("|"));
        };
        rows.extend(error.map(|message| format!("ERROR {message}")));
        assert_eq!(rows, expected, "in pieces of {size}");
    }
}

#[test]
fn text_format() {
    check("", "1\ta\n2\t\\N\n", &["1|a", "2|~"]);
    check("", "1\ta\n2\tb", &["1|a", "2|b"]);
    check("", "a\\tb\\\\\\x41\\101\\\n\tc\n", &["a\tb\\AA\n|c"]);
    check("", "1\n\\.\nignored\n", &["1"]);
    check("", "1\r\n2\r\n", &["1", "2"]);
    check("", "1\r2\r", &["1", "2"]);
    check("", "\n\n", &["", ""]);
    check("", "", &[]);
    check("", "1\n2\r\n", &["1", "ERROR literal carriage return found in data"]);
    check("(delimiter '|', null 'x')", "a|x|\\x\n", &["a|~|x"]);
}

#[test]
fn csv_format() {
    check("csv", "1,\"a,b\"\n2,\n", &["1|a,b", "2|~"]);
    check("csv", "\"\",\"x\"\"y\"\n", &["|x\"y"]);
    check("csv", "\"two\nlines\",3\n", &["two\nlines|3"]);
    check("csv", "a\"b,c\"d\n", &["ab,cd"]);
    check("csv", "1,\"open\n2\n", &["ERROR unterminated CSV quoted field"]);
    check("csv", "1\n\\.\nx\n", &["1"]);
    check("csv", "\\.x\n", &["\\.x"]);
    check("(format csv, escape '\\')", "\"a\\\"b\"\n", &["a\"b"]);
}

/// What COPY TO writes, COPY FROM reads.
#[test]
fn both_ways() {
    let value = "tab\t nl\n cr\r bs\\ q\" c, \u{8}\u{b}\u{c} é";
    for words in ["", "csv", "(delimiter ',')", "(format csv, quote '''', delimiter ';')"] {
        let options = options(words);
        let mut line = Vec::new();
        let mut fields = Vec::new();
        match options.format {
            Format::Text => {
                encode::text(value, options.delimiter, &mut line);
                fields_of_text(&line, &options, &mut fields);
            }
            Format::Csv => {
                encode::csv(value, &options, false, true, &mut line);
                fields_of_csv(&line, &options, &mut fields).unwrap();
            }
        }
        assert_eq!(fields, [Some(Cow::Borrowed(value.as_bytes()))], "{words}");
    }
}
