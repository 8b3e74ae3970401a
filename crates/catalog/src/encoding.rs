//! Character encodings by PostgreSQL's numbers and names.
//!
//! C counterpart: common/encnames.c, mb/pg_wchar.h.

use std::fmt;

/// A character encoding. C: `pg_enc`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding(u8);

/// Canonical names; the place in the list is the number in `pg_database.encoding`.
const NAMES: [&str; 42] = [
    "SQL_ASCII",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "UTF8",
    "MULE_INTERNAL",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1256",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "WIN1251",
    "WIN1252",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "WIN1250",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1257",
    "KOI8U",
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

/// Other names, without anything that is neither letter nor digit. A leading `windows` is the same as
/// `win` and is not listed.
const ALIASES: [(&str, &str); 24] = [
    ("unicode", "UTF8"),
    ("iso88591", "LATIN1"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88599", "LATIN5"),
    ("iso885910", "LATIN6"),
    ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"),
    ("iso885915", "LATIN9"),
    ("iso885916", "LATIN10"),
    ("abc", "WIN1258"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("vscii", "WIN1258"),
    ("alt", "WIN866"),
    ("win", "WIN1251"),
    ("koi8", "KOI8R"),
    ("mskanji", "SJIS"),
    ("shiftjis", "SJIS"),
    ("win932", "SJIS"),
    ("win936", "GBK"),
    ("win949", "UHC"),
    ("win950", "BIG5"),
];

impl Encoding {
    /// Bytes without meaning beyond ASCII; never converted.
    pub const SQL_ASCII: Encoding = Encoding(0);
    /// Unicode.
    pub const UTF8: Encoding = Encoding(6);
    /// The last that a server may use; those after it are for clients. C: `PG_ENCODING_BE_LAST`.
    const LAST_OF_SERVER: Encoding = Encoding(34);

    /// The encoding of this name; case and everything but letters and digits do not matter.
    /// C: `pg_char_to_encoding`.
    pub fn from_name(name: &str) -> Option<Encoding> {
        let mut clean = clean(name);
        if let Some(number) = clean.strip_prefix("windows") {
            clean = format!("win{number}");
        }
        let canonical = ALIASES.iter().find(|(alias, _)| *alias == clean).map(|(_, canonical)| *canonical);
        let position = match canonical {
            Some(canonical) => NAMES.iter().position(|name| *name == canonical),
            None => NAMES.iter().position(|name| self::clean(name) == clean),
        };
        position.and_then(|position| u8::try_from(position).ok()).map(Encoding)
    }

    /// The encoding with this number.
    pub fn from_id(id: i32) -> Option<Encoding> {
        u8::try_from(id).ok().filter(|id| usize::from(*id) < NAMES.len()).map(Encoding)
    }

    /// The canonical name. C: `pg_encoding_to_char`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The number in `pg_database.encoding`.
    pub fn id(self) -> i32 {
        i32::from(self.0)
    }

    /// May a database be in it? C: `PG_VALID_BE_ENCODING`.
    pub fn is_for_server(self) -> bool {
        self.0 <= Encoding::LAST_OF_SERVER.0
    }
}

fn clean(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (spelling, name, id) in [
            ("utf-8", "UTF8", 6),
            ("Unicode", "UTF8", 6),
            ("ISO-8859-1", "LATIN1", 8),
            ("sql_ascii", "SQL_ASCII", 0),
            ("koi8u", "KOI8U", 34),
            ("ShiftJIS", "SJIS", 35),
            ("Windows-1252", "WIN1252", 24),
            ("windows949", "UHC", 38),
            ("shift_jis_2004", "SHIFT_JIS_2004", 41),
        ] {
            let encoding = Encoding::from_name(spelling).unwrap();
            assert_eq!((encoding.name(), encoding.id()), (name, id));
            assert_eq!(encoding.is_for_server(), id < 35);
        }
        assert_eq!(Encoding::from_name(""), None);
        assert_eq!(Encoding::from_name("utf9"), None);
        for (alias, canonical) in ALIASES {
            assert_eq!(Encoding::from_name(alias).unwrap().name(), canonical);
        }
    }
}
