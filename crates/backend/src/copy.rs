//! COPY and the session around it: the client's bytes, files and programs of the server's machine, rights.
//!
//! C counterpart: `DoCopy` of commands/copy.c, `CopyGetData` and `CopySendEndOfRow` of copyfromparse.c and copyto.c.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use commands::copy::{CopyFrom, CopyTo, Input, Output};
use common::{Oid, SqlState};
use elog::{PgError, Result, error, fatal};
use libpq::Incoming;
use libpq::message::{FrontendMessage, reply};
use parser::ast::{CopyStmt, CopyTarget};

use crate::identity;
use crate::query;
use crate::session::{Session, move_reports};
use crate::utility::{Answer, not_supported};

/// C: `ROLE_PG_READ_SERVER_FILES`, `ROLE_PG_WRITE_SERVER_FILES`, `ROLE_PG_EXECUTE_SERVER_PROGRAM`.
const PG_READ_SERVER_FILES: Oid = Oid(4569);
const PG_WRITE_SERVER_FILES: Oid = Oid(4570);
const PG_EXECUTE_SERVER_PROGRAM: Oid = Oid(4571);

/// Bytes that are asked of a file at once.
const READ_SIZE: usize = 64 * 1024;

/// COPY. C: `DoCopy`.
pub(crate) fn run(session: &mut Session, stmt: &CopyStmt, source: &str) -> Result<Answer> {
    check_rights(stmt)?;
    let rows = if stmt.is_from { copy_from(session, stmt, source)? } else { copy_to(session, stmt, source)? };
    Ok(Answer::Tag(Cow::Owned(format!("COPY {rows}"))))
}

fn check_rights(stmt: &CopyStmt) -> Result<()> {
    let (role, text) = match (&stmt.target, stmt.is_from) {
        (CopyTarget::Client, _) => return Ok(()),
        (CopyTarget::Program(_), _) => (
            PG_EXECUTE_SERVER_PROGRAM,
            "must be superuser or have privileges of the pg_execute_server_program role to COPY to or from an external program",
        ),
        (CopyTarget::File(_), true) => (
            PG_READ_SERVER_FILES,
            "must be superuser or have privileges of the pg_read_server_files role to COPY from a file",
        ),
        (CopyTarget::File(_), false) => (
            PG_WRITE_SERVER_FILES,
            "must be superuser or have privileges of the pg_write_server_files role to COPY to a file",
        ),
    };
    if identity::get().has_privileges_of(role) {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "{text}")
        .hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone."))
}

// --- FROM ---

fn copy_from(session: &mut Session, stmt: &CopyStmt, source: &str) -> Result<u64> {
    let mut copy = query::with_context(session, source, |cx| CopyFrom::begin(cx, stmt))?;
    let snapshot = transam::transaction_snapshot()?;
    let _active = transam::snapshot::push_active(&snapshot);
    let calls = query::Calls::of(session);
    match &stmt.target {
        CopyTarget::Client => {
            move_reports(&mut session.port);
            reply::copy_response(session.port.out(), reply::Copy::In, false, copy.width());
            session.flush()?;
            let mut input = FromClient { session, body: Vec::new(), ended: false };
            let rows = calls.with(|calls| copy.run(calls, &mut input))?;
            input.finish()?;
            Ok(rows)
        }
        CopyTarget::File(name) => {
            let file = open_for_reading(name)?;
            calls.with(|calls| copy.run(calls, &mut FromFile { file, name }))
        }
        CopyTarget::Program(_) => Err(not_supported("COPY FROM PROGRAM")),
    }
}

struct FromClient<'a> {
    session: &'a mut Session,
    body: Vec<u8>,
    ended: bool,
}

impl Input for FromClient<'_> {
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        loop {
            let mut policy = self.session.busy_policy();
            let kind = match self.session.port.read_message(&mut self.body, &mut policy)? {
                Incoming::Message(kind) => kind,
                Incoming::Eof | Incoming::Broken => {
                    return Err(fatal!(
                        SqlState::CONNECTION_FAILURE,
                        "unexpected EOF on client connection with an open transaction"
                    ));
                }
            };
            match FrontendMessage::parse(kind, &self.body)? {
                FrontendMessage::CopyData(data) => {
                    buffer.extend_from_slice(data);
                    return Ok(true);
                }
                FrontendMessage::CopyDone => {
                    self.ended = true;
                    return Ok(false);
                }
                FrontendMessage::CopyFail(reason) => {
                    return Err(error!(SqlState::QUERY_CANCELED, "COPY from stdin failed: {reason}"));
                }
                // Clients of the extended protocol send them without waiting for the COPY's end.
                FrontendMessage::Flush | FrontendMessage::Sync => {}
                _ => {
                    return Err(error!(
                        SqlState::PROTOCOL_VIOLATION,
                        "unexpected message type 0x{kind:02X} during COPY from stdin"
                    ));
                }
            }
        }
    }
}

impl FromClient<'_> {
    /// Takes what comes between the end of the data and CopyDone.
    fn finish(&mut self) -> Result<()> {
        let mut ignored = Vec::new();
        while self.read(&mut ignored)? {
            ignored.clear();
        }
        Ok(())
    }
}

struct FromFile<'a> {
    file: File,
    name: &'a str,
}

impl Input for FromFile<'_> {
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool> {
        let before = buffer.len();
        buffer.resize(before + READ_SIZE, 0);
        let read = self.file.read(&mut buffer[before..]);
        let read = read.map_err(|e| file_error("could not read from COPY file", &e, self.name))?;
        buffer.truncate(before + read);
        Ok(read > 0)
    }
}

fn open_for_reading(name: &str) -> Result<File> {
    let hint = "COPY FROM instructs the PostgreSQL server process to read a file. You may want a client-side facility such as psql's \\copy.";
    let file = File::open(name).map_err(|e| {
        let missing = matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied);
        let error = open_error("reading", &e, name);
        if missing { error.hint(hint) } else { error }
    })?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{name}\" is a directory"));
    }
    Ok(file)
}

fn open_error(way: &str, e: &std::io::Error, name: &str) -> PgError {
    let text = elog::errno_text(e);
    error!(elog::sqlstate_for_file_access(e), "could not open file \"{name}\" for {way}: {text}")
}

fn file_error(what: &str, e: &std::io::Error, name: &str) -> PgError {
    error!(elog::sqlstate_for_file_access(e), "{what} \"{name}\": {}", elog::errno_text(e))
}

// --- TO ---

fn copy_to(session: &mut Session, stmt: &CopyStmt, source: &str) -> Result<u64> {
    let mut copy = query::with_context(session, source, |cx| CopyTo::begin(cx, stmt))?;
    let snapshot = transam::transaction_snapshot()?;
    let _active = transam::snapshot::push_active(&snapshot);
    let calls = query::Calls::of(session);
    match &stmt.target {
        CopyTarget::Client => {
            move_reports(&mut session.port);
            reply::copy_response(session.port.out(), reply::Copy::Out, false, copy.width());
            let rows = calls.with(|calls| copy.run(calls, &mut ToClient { session }))?;
            move_reports(&mut session.port);
            reply::copy_done(session.port.out());
            Ok(rows)
        }
        CopyTarget::File(name) => {
            let mut output = ToFile { file: BufWriter::new(open_for_writing(name)?), name };
            let rows = calls.with(|calls| copy.run(calls, &mut output))?;
            output.file.flush().map_err(|e| file_error("could not write to COPY file", &e, name))?;
            Ok(rows)
        }
        CopyTarget::Program(_) => Err(not_supported("COPY TO PROGRAM")),
    }
}

struct ToClient<'a> {
    session: &'a mut Session,
}

impl Output for ToClient<'_> {
    fn line(&mut self, bytes: &[u8]) -> Result<()> {
        reply::copy_data(self.session.port.out(), bytes);
        self.session.flush_if_large()
    }
}

struct ToFile<'a> {
    file: BufWriter<File>,
    name: &'a str,
}

impl Output for ToFile<'_> {
    fn line(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| file_error("could not write to COPY file", &e, self.name))
    }
}

fn open_for_writing(name: &str) -> Result<File> {
    if !name.starts_with('/') {
        return Err(error!(SqlState::INVALID_NAME, "relative path not allowed for COPY to file"));
    }
    let mut options = std::fs::OpenOptions::new();
    // C: umask(S_IWGRP | S_IWOTH): others may read it.
    let file = options.write(true).create(true).truncate(true).mode(0o644).open(name);
    let hint = "COPY TO instructs the PostgreSQL server process to write a file. You may want a client-side facility such as psql's \\copy.";
    file.map_err(|e| {
        let missing = matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied);
        let error = open_error("writing", &e, name);
        if missing { error.hint(hint) } else { error }
    })
}
