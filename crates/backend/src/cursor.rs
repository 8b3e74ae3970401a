//! DECLARE, FETCH, MOVE and CLOSE.
//!
//! A cursor moves forward row by row as its query yields them. One declared with SCROLL keeps the rows it has
//! returned and can go back to them; any other only goes forward, which PostgreSQL too says of all but the
//! simplest plans.
//!
//! C counterpart: commands/portalcmds.c, and `PortalRunFetch` of tcop/pquery.c.

use std::borrow::Cow;
use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use parser::ast::{CursorOptions, FetchDirection, FetchStmt};
use types::Datum;

use crate::objects::Objects;
use crate::portal::{Portal, Prepared, Row};
use crate::session::Session;
use crate::utility::Answer;

/// A count that means ALL.
const ALL: i64 = i64::MAX;

/// DECLARE. C: `PerformCursorOpen`.
pub(crate) fn declare(
    session: &mut Session,
    name: &str,
    options: CursorOptions,
    declaration: &Prepared,
    params: &[Datum],
) -> Result<()> {
    let Some(query) = declaration.query() else { return Ok(()) };
    if query.modifies() {
        return Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "DECLARE CURSOR must not contain data-modifying statements in WITH"
        ));
    }
    if name.is_empty() {
        return Err(error!(SqlState::INVALID_CURSOR_NAME, "invalid cursor name: must not be empty"));
    }
    if !options.hold && !session.transaction.is_in_any_block() {
        return Err(error!(
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            "DECLARE CURSOR can only be used in transaction blocks"
        ));
    }
    let objects = Rc::clone(&session.objects);
    if objects.has_portal(name) {
        return Err(error!(SqlState::DUPLICATE_CURSOR, "cursor \"{name}\" already exists"));
    }
    let prepared = Rc::new(Prepared::of_query(Rc::clone(&declaration.text), query.clone(), "SELECT", true));
    let mut portal =
        Portal::new(name, prepared, params.to_vec(), session.transaction.level()).with_options(options);
    portal.start(session)?;
    if options.hold && !session.transaction.is_in_any_block() {
        // The transaction ends with this statement.
        portal.hold()?;
    }
    objects.put_portal(portal);
    Ok(())
}

/// FETCH and MOVE. C: `PerformPortalFetch`.
pub(crate) fn fetch(session: &mut Session, statement: &FetchStmt) -> Result<Answer> {
    let objects = Rc::clone(&session.objects);
    let name = statement.cursor.as_str();
    let mut portal = objects.take_portal(name).ok_or_else(|| no_such_cursor(name))?;
    let moved = portal
        .check_runnable()
        .and_then(|()| portal.start(session))
        .and_then(|()| go(&mut portal, statement.direction, statement.count));
    if moved.is_err() {
        portal.fail();
    }
    let passed_row = statement.is_move && is_standing_still(statement) && portal.is_on_row();
    objects.put_portal(portal);
    let rows = moved?;
    Ok(if statement.is_move {
        Answer::Tag(Cow::Owned(format!("MOVE {}", if passed_row { 1 } else { rows.len() })))
    } else {
        let tag = Cow::Owned(format!("FETCH {}", rows.len()));
        Answer::Rows(rows, tag)
    })
}

/// FETCH 0 in one of its spellings.
fn is_standing_still(statement: &FetchStmt) -> bool {
    statement.count == 0 && statement.direction != FetchDirection::Absolute
}

/// The rows on the way. C: `DoPortalRunFetch`.
fn go(portal: &mut Portal, direction: FetchDirection, count: i64) -> Result<Vec<Row>> {
    use FetchDirection as D;
    match direction {
        D::Forward if count > 0 => forward(portal, count),
        D::Backward if count > 0 => backward(portal, count),
        D::Forward if count < 0 => backward(portal, count.saturating_neg()),
        D::Backward if count < 0 => forward(portal, count.saturating_neg()),
        D::Absolute => absolute(portal, count),
        D::Relative if count > 0 => {
            forward(portal, count - 1)?;
            forward(portal, 1)
        }
        D::Relative if count < 0 => {
            backward(portal, -(count + 1))?;
            backward(portal, 1)
        }
        // Once more the current row, for which PostgreSQL goes back one and forward again.
        D::Forward | D::Backward | D::Relative if portal.is_on_row() => {
            require_scroll(portal)?;
            Ok(portal.current().into_iter().collect())
        }
        D::Forward | D::Backward | D::Relative => Ok(Vec::new()),
    }
}

fn forward(portal: &mut Portal, count: i64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    while count == ALL || (rows.len() as i64) < count {
        let Some(row) = portal.advance()? else { break };
        rows.push(row);
    }
    Ok(rows)
}

fn backward(portal: &mut Portal, count: i64) -> Result<Vec<Row>> {
    require_scroll(portal)?;
    let mut rows = Vec::new();
    while count == ALL || (rows.len() as i64) < count {
        let Some(row) = portal.retreat() else { break };
        rows.push(row);
    }
    Ok(rows)
}

/// To the row of that number, counted from the end if negative.
fn absolute(portal: &mut Portal, count: i64) -> Result<Vec<Row>> {
    if count < 0 {
        require_scroll(portal)?;
        forward(portal, ALL)?;
        backward(portal, -(count + 1))?;
        return backward(portal, 1);
    }
    let before = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(1);
    if portal.position() > before {
        require_scroll(portal)?;
        portal.go_back_to(before);
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    forward(portal, (before - portal.position()) as i64)?;
    forward(portal, 1)
}

fn require_scroll(portal: &Portal) -> Result<()> {
    if portal.options().scroll == Some(true) {
        return Ok(());
    }
    Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan."))
}

/// CLOSE. C: `PerformPortalClose`.
pub(crate) fn close(objects: &Objects, name: Option<&str>) -> Result<()> {
    match name {
        None => objects.drop_all_portals(),
        Some(name) => {
            objects.take_portal(name).ok_or_else(|| no_such_cursor(name))?;
        }
    }
    Ok(())
}

fn no_such_cursor(name: &str) -> PgError {
    error!(SqlState::UNDEFINED_CURSOR, "cursor \"{name}\" does not exist")
}
