//! name: an identifier of at most 63 bytes. C: name.c.

use common::SqlState;
use elog::{Result, error};

use crate::{Datum, Name};

const MAX_BYTES: usize = 63;

/// Cuts at a character boundary. C: `pg_mbcliplen` with `NAMEDATALEN - 1`.
pub(crate) fn truncate(text: &str) -> Name {
    Name(text[..text.floor_char_boundary(MAX_BYTES)].into())
}

pub(crate) fn input(text: &str) -> Datum {
    Datum::Text(truncate(text).0)
}

pub(crate) fn receive(text: &str) -> Result<Datum> {
    if text.len() > MAX_BYTES {
        return Err(error!(SqlState::NAME_TOO_LONG, "identifier too long")
            .detail(format!("Identifier must be less than {} characters.", MAX_BYTES + 1)));
    }
    Ok(Datum::text(text))
}

comparisons! {
    &str, &str, |a, b| a.cmp(b) => nameeq namene namelt namele namegt namege btnamecmp;
    &str, &str, |a, b| a.cmp(b) => nameeqtext namenetext namelttext nameletext namegttext namegetext btnametextcmp;
    &str, &str, |a, b| a.cmp(b) => texteqname textnename textltname textlename textgtname textgename bttextnamecmp;
}

builtins! {
    fn text_name(text: &str) -> Name { truncate(text) }
    fn name_text(name: Name) -> Name { name }
    fn nameconcatoid(name: &str, oid: common::Oid) -> String {
        let suffix = format!("_{oid}");
        let room = MAX_BYTES - suffix.len();
        format!("{}{suffix}", &name[..name.floor_char_boundary(room)])
    }
}
