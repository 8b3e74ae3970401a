//! `COMPRESSION` and `COMPRESSION_DETAIL`: which algorithm, and how hard it tries.
//!
//! A detail is a number, the level, or a list such as `level=9,workers=2`.
//!
//! C counterpart: common/compression.c.

/// C: `pg_compress_algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    None,
    Gzip,
    Lz4,
    Zstd,
}

/// What is asked of an algorithm. C: `pg_compress_specification`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Level 1 to 9, or -1 for zlib's own choice.
    Gzip { level: i32 },
    /// Level 1 to 12, or 0 for fast.
    Lz4 { level: i32 },
    /// Level -131072 to 22; threads beside the session's own, 0 for none.
    Zstd { level: i32, workers: u32 },
}

/// C: `Z_DEFAULT_COMPRESSION`.
const GZIP_LEVEL_DEFAULT: i32 = -1;
/// C: `ZSTD_CLEVEL_DEFAULT`.
const ZSTD_LEVEL_DEFAULT: i32 = 3;
/// More make no sense; the library caps the number, too. C: `ZSTDMT_NBWORKERS_MAX`.
const ZSTD_WORKERS_MAX: i32 = 256;

impl Algorithm {
    /// By its name, which is case-sensitive. C: `parse_compress_algorithm`.
    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        Some(match name {
            "none" => Algorithm::None,
            "gzip" => Algorithm::Gzip,
            "lz4" => Algorithm::Lz4,
            "zstd" => Algorithm::Zstd,
            _ => return None,
        })
    }

    /// C: `get_compress_algorithm_name`.
    fn name(self) -> &'static str {
        match self {
            Algorithm::None => "none",
            Algorithm::Gzip => "gzip",
            Algorithm::Lz4 => "lz4",
            Algorithm::Zstd => "zstd",
        }
    }

    /// Lowest, highest and default level.
    fn levels(self) -> (i32, i32, i32) {
        match self {
            Algorithm::None => (0, 0, 0),
            Algorithm::Gzip => (1, 9, GZIP_LEVEL_DEFAULT),
            Algorithm::Lz4 => (1, 12, 0),
            Algorithm::Zstd => (-131_072, 22, ZSTD_LEVEL_DEFAULT),
        }
    }
}

/// What a detail says.
struct Detail {
    level: i32,
    workers: Option<i32>,
}

impl Compression {
    /// An algorithm with its detail; `None` for no compression. C: `parse_compress_specification`,
    /// `validate_compress_specification`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(crate) fn parse(algorithm: Algorithm, detail: Option<&str>) -> Result<Option<Compression>, String> {
        let Detail { level, workers } = parse_detail(detail, algorithm.levels().2)?;
        let name = algorithm.name();
        let (lowest, highest, default) = algorithm.levels();
        if algorithm == Algorithm::None && level != 0 {
            return Err(format!("compression algorithm \"{name}\" does not accept a compression level"));
        }
        if !(lowest..=highest).contains(&level) && level != default {
            return Err(format!(
                "compression algorithm \"{name}\" expects a compression level between {lowest} and {highest} \
                 (default at {default})"
            ));
        }
        if workers.is_some() && algorithm != Algorithm::Zstd {
            return Err(format!("compression algorithm \"{name}\" does not accept a worker count"));
        }
        Ok(match algorithm {
            Algorithm::None => None,
            Algorithm::Gzip => Some(Compression::Gzip { level }),
            Algorithm::Lz4 => Some(Compression::Lz4 { level }),
            Algorithm::Zstd => {
                let workers = workers.unwrap_or(0).clamp(0, ZSTD_WORKERS_MAX) as u32;
                Some(Compression::Zstd { level, workers })
            }
        })
    }

    /// What an archive's name gets. C: in `bbsink_gzip_begin_archive` and its siblings.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip { .. } => ".gz",
            Compression::Lz4 { .. } => ".lz4",
            Compression::Zstd { .. } => ".zst",
        }
    }
}

fn parse_detail(detail: Option<&str>, default_level: i32) -> Result<Detail, String> {
    let mut found = Detail { level: default_level, workers: None };
    let Some(detail) = detail else { return Ok(found) };
    if let Some(level) = integer(detail) {
        found.level = level;
        return Ok(found);
    }
    for part in detail.split(',') {
        let (keyword, value) =
            part.split_once('=').map_or((part, None), |(keyword, value)| (keyword, Some(value)));
        match keyword {
            "" => return Err("found empty string where a compression option was expected".to_owned()),
            "level" => found.level = integer_value(keyword, value)?,
            "workers" => found.workers = Some(integer_value(keyword, value)?),
            _ => return Err(format!("unrecognized compression option: \"{keyword}\"")),
        }
    }
    Ok(found)
}

fn integer_value(keyword: &str, value: Option<&str>) -> Result<i32, String> {
    let value = value.ok_or_else(|| format!("compression option \"{keyword}\" requires a value"))?;
    integer(value).ok_or_else(|| format!("value for compression option \"{keyword}\" must be an integer"))
}

/// A number with nothing behind it, as `strtol` reads it into an int: blanks and a sign may stand before it.
fn integer(text: &str) -> Option<i32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(text.parse::<i64>().unwrap_or(limit) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(algorithm: &str, detail: &str, expected: Result<Option<Compression>, &str>) {
        let algorithm = Algorithm::from_name(algorithm).unwrap();
        let parsed = Compression::parse(algorithm, Some(detail));
        assert_eq!(parsed.as_ref().map_err(String::as_str), expected.as_ref().map_err(|text| *text));
    }

    #[test]
    fn details() {
        check("gzip", "-1", Ok(Some(Compression::Gzip { level: -1 })));
        check("gzip", " +9", Ok(Some(Compression::Gzip { level: 9 })));
        check("lz4", "level=12", Ok(Some(Compression::Lz4 { level: 12 })));
        check("zstd", "workers=2,level=-7", Ok(Some(Compression::Zstd { level: -7, workers: 2 })));
        check("zstd", "workers=-1", Ok(Some(Compression::Zstd { level: 3, workers: 0 })));
        check("none", "0", Ok(None));
    }

    #[test]
    fn complaints() {
        check("none", "1", Err("compression algorithm \"none\" does not accept a compression level"));
        check("gzip", " 3 ", Err("unrecognized compression option: \" 3 \""));
        check("gzip", "", Err("found empty string where a compression option was expected"));
        check("gzip", "level=1,", Err("found empty string where a compression option was expected"));
        check("gzip", "level", Err("compression option \"level\" requires a value"));
        check("gzip", "level=", Err("value for compression option \"level\" must be an integer"));
        check("lz4", "workers=1", Err("compression algorithm \"lz4\" does not accept a worker count"));
        let range =
            "compression algorithm \"gzip\" expects a compression level between 1 and 9 (default at -1)";
        check("gzip", "0", Err(range));
        check("gzip", "workers=3,level=10", Err(range));
    }

    #[test]
    fn names_are_lower_case() {
        assert_eq!(Algorithm::from_name("GZIP"), None);
    }
}
