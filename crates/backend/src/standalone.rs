//! `postgres --single`: a session without a postmaster, for repairs, and for programs that only want a cluster recovered
//! (`pg_rewind` runs it with no input at all).
//!
//! Promise:    one process does everything: it takes the data directory, recovers it, serves the terminal, and makes the
//!             checkpoint of the end.
//! Ends by:    end of input, or an order to leave; either way the cluster is shut down properly.
//! If it dies: the next start recovers, as after any crash.
//!
//! The terminal is a client like any other: a thread that sends each line as a query through a socket pair and prints the answer.
//! It touches nothing of the server, so that the process is still one with a single thread where that matters; it gets no
//! signals.
//!
//! ```text
//!   stdin --> terminal thread --query--> socket pair --> Session::run
//!   stdout <-- debug format  <--rows-----------------------'         errors go to the log, that is to stderr
//! ```
//!
//! A session here is a superuser's, whoever that is. A line is a statement; with `-j` an empty line after a semicolon ends it.
//!
//! C counterpart: `PostgresSingleUserMain` of tcop/postgres.c, `InteractiveBackend`, access/common/printtup.c's debug output.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use catalog::authid::{self, Role};
use common::{BackendType, SqlState};
use elog::{PgError, Result, Severity, fatal};
use libpq::Port;
use libpq::startup::StartupParameters;
use miscinit::child::{ClientSocket, PeerAddr};
use miscinit::signals::{self, Role as SignalRole};
use miscinit::{exit, globals, interrupt, lockfile};
use shmem::{Reservation, Segment};

use crate::connection;
use crate::session::Session;

/// The role that initdb makes. C: `BOOTSTRAP_SUPERUSERID`.
const BOOTSTRAP_SUPERUSER: u32 = 10;

/// What the crates above this one contribute.
pub struct Contributions {
    /// Reserves shared memory.
    pub reserve: fn(&mut Reservation, shmem::Limits),
    /// Checks pg_control and sets what follows from it.
    pub read_control_file: fn() -> Result<()>,
    /// Recovers. C: `StartupXLOG`.
    pub recover: fn() -> Result<()>,
    /// The last checkpoint. C: `ShutdownXLOG`.
    pub shut_down: fn() -> Result<()>,
}

/// What the command line says.
pub struct StandaloneOptions {
    /// Name of the database.
    pub database: String,
    /// A statement ends at a semicolon before an empty line, not at the end of the line (`-j`).
    pub semicolon_newline: bool,
    /// Each statement is printed before it runs (`-E`).
    pub echo: bool,
}

/// Takes the data directory, recovers it, and serves the terminal; never returns. Settings have been read, and the data directory
/// is the current one. C: `PostgresSingleUserMain`.
pub fn standalone_main(options: &StandaloneOptions, contributions: &Contributions) -> ! {
    match begin(options, contributions) {
        Ok(session) => session.run(),
        Err(error) if error.severity >= Severity::Panic => elog::abort(error),
        Err(error) => {
            error.with_severity(Severity::Fatal).report();
            exit::proc_exit(1)
        }
    }
}

fn begin(options: &StandaloneOptions, contributions: &Contributions) -> Result<Session> {
    signals::block_all();
    globals::become_postmaster();
    globals::set_backend_type(BackendType::StandaloneBackend);
    signals::install(SignalRole::Kind(BackendType::StandaloneBackend));
    interrupt::set_processor(crate::wait::process_interrupts);
    elog::set_panic_guard(|| shmem::held_lwlocks() == 0);
    parser::stack::set_base();
    lockfile::create_data_dir(u16::try_from(guc::vars::PORT.get()).unwrap_or_default())?;
    (contributions.read_control_file)()?;
    create_shared_memory(contributions)?;
    shmem::init_process(BackendType::StandaloneBackend, 0)?;
    exit::on_shmem_exit(|_| shmem::proc::release());
    activity::begin(BackendType::StandaloneBackend);
    exit::on_shmem_exit(|_| activity::end());
    storage::init_process();
    let (ours, terminal) = UnixStream::pair().map_err(|e| io_error("create socket pair", &e))?;
    // Before the signals are let in: the thread is to get none of them.
    let terminal =
        Terminal { server: terminal, semicolon_newline: options.semicolon_newline, echo: options.echo };
    let start = std::sync::Arc::new(std::sync::Barrier::new(2));
    let started = std::sync::Arc::clone(&start);
    std::thread::Builder::new()
        .name("terminal".into())
        .spawn(move || {
            started.wait();
            let _ = terminal.run();
        })
        .map_err(|e| io_error("start the terminal's thread", &e))?;
    signals::unblock();
    (contributions.recover)()?;
    let shut_down = contributions.shut_down;
    // Runs before the process gives up its place, and after it has left everything else.
    exit::on_shmem_exit(move |code| shut_down_at_exit(code, shut_down));
    crate::attach::attach();
    let port = Port::new(ClientSocket { fd: OwnedFd::from(ours), peer: PeerAddr::Unix });
    enter_database(&options.database, &port)?;
    // Nobody may be there to read it.
    let _ = writeln!(io::stdout(), "\nPostgreSQL stand-alone backend {}", common::version::PG_VERSION);
    start.wait();
    Ok(Session::new(port))
}

fn io_error(what: &str, error: &io::Error) -> PgError {
    fatal!(SqlState::INTERNAL_ERROR, "could not {what}: {}", elog::errno_text(error))
}

thread_local! {
    /// Lives as long as the process. C: the segment that `ipc_exit` removes.
    static SEGMENT: std::cell::RefCell<Option<Segment>> = const { std::cell::RefCell::new(None) };
}

fn create_shared_memory(contributions: &Contributions) -> Result<()> {
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    let limits = shmem::Limits {
        max_connections: number(guc::vars::MAX_CONNECTIONS.get()),
        autovacuum_max_workers: number(guc::vars::AUTOVACUUM_MAX_WORKERS.get()),
        max_wal_senders: number(guc::vars::MAX_WAL_SENDERS.get()),
        max_prepared_xacts: number(guc::vars::MAX_PREPARED_TRANSACTIONS.get()),
    };
    let mut reservation = Reservation::new();
    (contributions.reserve)(&mut reservation, limits);
    let segment = Segment::create(reservation, globals::data_dir())?;
    if let Some((key, id)) = segment.interlock_ids() {
        lockfile::add_line(common::pidfile::line::SHMEM_KEY, &common::pidfile::shmem_line(key, id));
    }
    SEGMENT.set(Some(segment));
    exit::on_proc_exit(|_| {
        if let Some(segment) = SEGMENT.take() {
            segment.destroy();
        }
    });
    shmem::init_death_watch()
}

/// C: `ShutdownXLOG` as a callback. A session that ends by a FATAL error shuts down properly, too.
fn shut_down_at_exit(_code: i32, shut_down: fn() -> Result<()>) {
    if let Err(error) = shut_down() {
        if error.severity >= Severity::Panic {
            elog::abort(error);
        }
        error.report();
    }
}

/// Who we are and where, without asking for a password: whoever may read the files may do anything.
/// C: `InitializeSessionUserIdStandalone`, the rest of `InitPostgres`.
fn enter_database(name: &str, port: &Port) -> Result<()> {
    let roles = authid::load(globals::data_dir())?;
    let role: Role = roles.find_oid(common::Oid(BOOTSTRAP_SUPERUSER))?.ok_or_else(|| {
        fatal!(SqlState::UNDEFINED_OBJECT, "role with OID {BOOTSTRAP_SUPERUSER} does not exist")
    })?;
    let database = connection::check_database(name, &role)?;
    connection::become_session(&role, Some(&database), port);
    connection::follow_database(&database)?;
    connection::apply_settings(&StartupParameters::default(), &role)
}

/// The other end of the socket pair.
struct Terminal {
    server: UnixStream,
    semicolon_newline: bool,
    echo: bool,
}

/// A column as the debug output shows it.
struct Column {
    name: String,
    type_oid: u32,
    type_len: i16,
    type_mod: i32,
}

impl Column {
    /// C: `printatt`.
    fn show(&self, number: usize, value: Option<&str>) -> String {
        let Column { name, type_oid, type_len, type_mod } = self;
        let value = value.map_or_else(String::new, |value| format!(" = \"{value}\""));
        let by_value = if self.is_by_value() { 't' } else { 'f' };
        format!(
            "\t{number:2}: {name}{value}\t(typeid = {type_oid}, len = {type_len}, typmod = {type_mod}, byval = {by_value})\n"
        )
    }

    /// A row's description does not tell: of the types with these lengths, `macaddr8` alone is passed by reference.
    fn is_by_value(&self) -> bool {
        const MACADDR8: u32 = 774;
        matches!(self.type_len, 1 | 2 | 4 | 8) && self.type_oid != MACADDR8
    }
}

impl Terminal {
    /// Until either side has nothing more to say.
    fn run(mut self) -> io::Result<()> {
        self.print_answer()?;
        let mut lines = io::stdin().lock();
        loop {
            self.print("backend> ")?;
            let Some(statement) = self.read_statement(&mut lines)? else { break };
            if self.echo {
                self.print(&format!("statement: {}\n", String::from_utf8_lossy(&statement)))?;
            }
            self.send(b'Q', &statement)?;
            self.print_answer()?;
        }
        self.server.write_all(&[b'X', 0, 0, 0, 4])
    }

    fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A statement with its end of line; `None` at the end of input. C: `InteractiveBackend`.
    fn read_statement(&self, lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
        let mut statement = Vec::new();
        loop {
            if lines.read_until(b'\n', &mut statement)? == 0 {
                break;
            }
            if self.semicolon_newline {
                // Two line ends behind a semicolon; blanks between are not allowed, as in PostgreSQL.
                if statement.ends_with(b";\n\n") {
                    statement.pop();
                    break;
                }
                continue;
            }
            // A backslash at its end continues a line.
            if statement.ends_with(b"\\\n") {
                statement.truncate(statement.len() - 2);
                continue;
            }
            break;
        }
        Ok(Some(statement).filter(|statement| !statement.is_empty()))
    }

    fn send(&mut self, kind: u8, text: &[u8]) -> io::Result<()> {
        let mut message = vec![kind];
        message.extend_from_slice(&((text.len() + 5) as u32).to_be_bytes());
        message.extend_from_slice(text);
        message.push(0);
        self.server.write_all(&message)
    }

    /// Everything up to the next ReadyForQuery. Errors and notices are in the log already.
    fn print_answer(&mut self) -> io::Result<()> {
        let mut columns = Vec::new();
        loop {
            let mut head = [0; 5];
            self.server.read_exact(&mut head)?;
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let mut body = vec![0; len.saturating_sub(4)];
            self.server.read_exact(&mut body)?;
            match head[0] {
                b'Z' => return Ok(()),
                b'T' => {
                    columns = row_description(&body).unwrap_or_default();
                    let shown = columns.iter().enumerate().map(|(i, column)| column.show(i + 1, None));
                    self.print(&(shown.collect::<String>() + "\t----\n"))?;
                }
                b'D' => {
                    let values = data_row(&body).unwrap_or_default();
                    let shown = columns.iter().zip(values).enumerate().filter_map(|(i, (column, value))| {
                        value.map(|value| column.show(i + 1, Some(&value)))
                    });
                    self.print(&(shown.collect::<String>() + "\t----\n"))?;
                }
                // COPY from and to the terminal: not offered.
                b'G' => self.send(b'f', b"COPY FROM STDIN is not supported by the terminal")?,
                b'd' => self.print(&String::from_utf8_lossy(&body))?,
                _ => {}
            }
        }
    }
}

/// Cuts a message into its fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2).map(|b| i16::from_be_bytes([b[0], b[1]]))
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

fn row_description(body: &[u8]) -> Option<Vec<Column>> {
    let mut fields = Fields(body);
    let count = fields.i16()?;
    (0..count)
        .map(|_| {
            let name = fields.text()?;
            fields.take(6)?;
            let (type_oid, type_len, type_mod) = (fields.i32()? as u32, fields.i16()?, fields.i32()?);
            fields.take(2)?;
            Some(Column { name, type_oid, type_len, type_mod })
        })
        .collect()
}

fn data_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let mut fields = Fields(body);
    let count = fields.i16()?;
    (0..count)
        .map(|_| match usize::try_from(fields.i32()?) {
            Ok(len) => fields.take(len).map(|bytes| Some(String::from_utf8_lossy(bytes).into_owned())),
            Err(_) => Some(None),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_format() {
        let column = Column { name: "?column?".into(), type_oid: 23, type_len: 4, type_mod: -1 };
        assert_eq!(
            column.show(1, Some("1")),
            "\t 1: ?column? = \"1\"\t(typeid = 23, len = 4, typmod = -1, byval = t)\n"
        );
        let text = Column { name: "t".into(), type_oid: 25, type_len: -1, type_mod: -1 };
        assert_eq!(text.show(12, None), "\t12: t\t(typeid = 25, len = -1, typmod = -1, byval = f)\n");
    }

    #[test]
    fn statements_of_lines() {
        let (server, _other) = UnixStream::pair().unwrap();
        let read = |semicolon_newline, input: &str| {
            let terminal = Terminal { server: server.try_clone().unwrap(), semicolon_newline, echo: false };
            let mut input = input.as_bytes();
            let mut found = Vec::new();
            while let Some(statement) = terminal.read_statement(&mut input).unwrap() {
                found.push(String::from_utf8(statement).unwrap());
            }
            found
        };
        assert_eq!(read(false, "select 1\nselect \\\n2\nlast"), ["select 1\n", "select 2\n", "last"]);
        assert_eq!(read(true, "select\n1;\n\nselect 2;\n\n"), ["select\n1;\n", "select 2;\n"]);
        assert!(read(false, "").is_empty());
    }
}
