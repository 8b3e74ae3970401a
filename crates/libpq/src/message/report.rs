//! Errors and notices as clients see them.

use std::io::Write;

use elog::PgError;

use super::reply;

/// `E`: an error. C: `send_message_to_frontend`.
pub fn error_response(out: &mut Vec<u8>, error: &PgError) {
    reply::message(out, b'E', |out| fields(out, error));
}

/// `N`: anything milder than an error, in the same form.
pub fn notice_response(out: &mut Vec<u8>, notice: &PgError) {
    reply::message(out, b'N', |out| fields(out, notice));
}

fn fields(out: &mut Vec<u8>, e: &PgError) {
    let mut text = |code: u8, value: &str| {
        out.push(code);
        reply::string(out, value);
    };
    // S may be translated and V may not; we translate neither.
    text(b'S', e.severity.word());
    text(b'V', e.severity.word());
    text(b'C', e.sqlstate.as_str());
    text(b'M', if e.message.is_empty() { "missing error text" } else { &e.message });
    if let Some(detail) = &e.detail {
        text(b'D', detail);
    }
    if let Some(hint) = &e.hint {
        text(b'H', hint);
    }
    if let Some(context) = &e.context {
        text(b'W', context);
    }
    if let Some(object) = &e.object {
        text(b's', &object.schema);
        text(b't', &object.table);
        for (code, name) in [(b'c', &object.column), (b'n', &object.constraint)] {
            if let Some(name) = name {
                text(code, name);
            }
        }
    }
    if let Some(position) = e.position {
        number(out, b'P', position);
    }
    if let Some(position) = e.internal_position {
        number(out, b'p', position);
    }
    if let Some(query) = &e.internal_query {
        out.push(b'q');
        reply::string(out, query);
    }
    out.push(b'F');
    reply::string(out, e.location.file);
    number(out, b'L', e.location.line);
    out.push(b'R');
    reply::string(out, e.location.routine);
    out.push(0);
}

fn number(out: &mut Vec<u8>, code: u8, value: u32) {
    out.push(code);
    // Writing to a Vec does not fail.
    let _ = write!(out, "{value}");
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::SqlState;
    use elog::error;

    #[test]
    fn all_fields_in_order() {
        let mut e =
            error!(SqlState::SYNTAX_ERROR, "syntax error").detail("d").hint("h").context("c").position(8);
        e.internal_position = Some(2);
        e.internal_query = Some("select".into());
        e.detail_log = Some("secret".into());
        let mut out = Vec::new();
        error_response(&mut out, &e);
        let text = String::from_utf8(out[5..].to_vec()).unwrap().replace('\0', "|");
        let line = e.location.line;
        assert_eq!(
            text,
            format!(
                "SERROR|VERROR|C42601|Msyntax error|Dd|Hh|Wc|P8|p2|qselect|Freport.rs|L{line}|Rall_fields_in_order||"
            )
        );
        assert_eq!(out[0], b'E');
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
    }
}
