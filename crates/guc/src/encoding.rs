//! Names of character sets, and the many other names they go by. C: common/encnames.c.

/// The name that PostgreSQL gives the encoding called `name`: compared without case and punctuation, so that
/// `utf-8`, `Utf8` and `UNICODE` are all `UTF8`. C: `pg_char_to_encoding`, `pg_encoding_to_char`.
pub fn canonical_encoding(name: &str) -> Option<&'static str> {
    let clean: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let bare = |encoding: &str| -> String {
        encoding.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
    };
    ENCODINGS
        .iter()
        .find(|(canonical, aliases)| bare(canonical) == clean || aliases.contains(&clean.as_str()))
        .map(|(canonical, _)| *canonical)
}

/// In the order of their numbers.
const ENCODINGS: &[(&str, &[&str])] = &[
    ("SQL_ASCII", &[]),
    ("EUC_JP", &[]),
    ("EUC_CN", &[]),
    ("EUC_KR", &[]),
    ("EUC_TW", &[]),
    ("EUC_JIS_2004", &[]),
    ("UTF8", &["unicode"]),
    ("MULE_INTERNAL", &[]),
    ("LATIN1", &["iso88591"]),
    ("LATIN2", &["iso88592"]),
    ("LATIN3", &["iso88593"]),
    ("LATIN4", &["iso88594"]),
    ("LATIN5", &["iso88599"]),
    ("LATIN6", &["iso885910"]),
    ("LATIN7", &["iso885913"]),
    ("LATIN8", &["iso885914"]),
    ("LATIN9", &["iso885915"]),
    ("LATIN10", &["iso885916"]),
    ("WIN1256", &["windows1256"]),
    ("WIN1258", &["windows1258", "abc", "tcvn", "tcvn5712", "vscii"]),
    ("WIN866", &["windows866", "alt"]),
    ("WIN874", &["windows874"]),
    ("KOI8R", &["koi8"]),
    ("WIN1251", &["windows1251", "win"]),
    ("WIN1252", &["windows1252"]),
    ("ISO_8859_5", &[]),
    ("ISO_8859_6", &[]),
    ("ISO_8859_7", &[]),
    ("ISO_8859_8", &[]),
    ("WIN1250", &["windows1250"]),
    ("WIN1253", &["windows1253"]),
    ("WIN1254", &["windows1254"]),
    ("WIN1255", &["windows1255"]),
    ("WIN1257", &["windows1257"]),
    ("KOI8U", &[]),
    ("SJIS", &["mskanji", "shiftjis", "win932", "windows932"]),
    ("BIG5", &["win950", "windows950"]),
    ("GBK", &["win936", "windows936"]),
    ("UHC", &["win949", "windows949"]),
    ("GB18030", &[]),
    ("JOHAB", &[]),
    ("SHIFT_JIS_2004", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases() {
        for (alias, canonical) in [
            ("utf-8", "UTF8"),
            ("Unicode", "UTF8"),
            ("ISO-8859-1", "LATIN1"),
            ("iso_8859_5", "ISO_8859_5"),
            ("sql_ascii", "SQL_ASCII"),
            ("Windows-1252", "WIN1252"),
        ] {
            assert_eq!(canonical_encoding(alias), Some(canonical), "{alias}");
        }
        assert_eq!(canonical_encoding("foo"), None);
        assert_eq!(canonical_encoding(""), None);
    }
}
