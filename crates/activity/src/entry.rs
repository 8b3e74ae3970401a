//! One process's entry in shared memory, and the copy of it that readers get.
//!
//! C counterpart: `PgBackendStatus`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{
    AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
    fence,
};

use common::version::NAMEDATALEN;
use common::{BackendType, Oid};

use crate::progress::{self, Command};
use crate::text;
pub(crate) use text::store as store_text;

/// What a session does. C: `BackendState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// An auxiliary process, or a session that has not begun.
    Undefined = 0,
    /// Waits for its client.
    Idle,
    /// Runs a statement.
    Active,
    /// Waits for its client, with a transaction open.
    IdleInTransaction,
    /// Runs a function by the fast path.
    Fastpath,
    /// Waits for its client, with a failed transaction open.
    IdleInTransactionAborted,
    /// `track_activities` is off.
    Disabled,
}

impl State {
    const ALL: [State; 7] = [
        State::Undefined,
        State::Idle,
        State::Active,
        State::IdleInTransaction,
        State::Fastpath,
        State::IdleInTransactionAborted,
        State::Disabled,
    ];

    /// The word in `pg_stat_activity.state`; `None` is SQL's NULL.
    pub fn word(self) -> Option<&'static str> {
        match self {
            State::Undefined => None,
            State::Idle => Some("idle"),
            State::Active => Some("active"),
            State::IdleInTransaction => Some("idle in transaction"),
            State::Fastpath => Some("fastpath function call"),
            State::IdleInTransactionAborted => Some("idle in transaction (aborted)"),
            State::Disabled => Some("disabled"),
        }
    }
}

/// Where a session's client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddr {
    /// No client.
    None,
    /// A Unix-domain socket.
    Local,
    /// TCP.
    Tcp(IpAddr, u16),
}

const NAME_WORDS: usize = NAMEDATALEN / 8;

/// Looks at an entry of [`Entry::read_bounded`]: far longer than a change takes.
const TRIES_MAX: u32 = 100;

shmem::shm_struct! {
/// All moments are microseconds since 2000-01-01, 0 for none.
pub(crate) struct Entry {
    changes: AtomicU32,
    pid: AtomicI32,
    kind: AtomicU8,
    state: AtomicU8,
    client_kind: AtomicU8,
    client_port: AtomicU16,
    database: AtomicU32,
    user: AtomicU32,
    client_ip: [AtomicU64; 2],
    process_start: AtomicI64,
    transaction_start: AtomicI64,
    query_start: AtomicI64,
    state_change: AtomicI64,
    database_name: [AtomicU64; NAME_WORDS],
    user_name: [AtomicU64; NAME_WORDS],
    application_name: [AtomicU64; NAME_WORDS],
    tls_bits: AtomicI32,
    tls_version: [AtomicU64; 2],
    tls_cipher: [AtomicU64; NAME_WORDS],
    /// 0, or the command that says how far it is.
    progress_command: AtomicU8,
    progress_params: [AtomicI64; progress::PARAMS],
}
}

/// A consistent copy of one entry.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the columns of pg_stat_activity")]
pub struct Activity {
    /// Index of the PGPROC, for its wait event.
    pub pgprocno: usize,
    pub pid: i32,
    pub backend_type: BackendType,
    pub state: State,
    pub client: ClientAddr,
    pub datid: Oid,
    pub datname: String,
    pub usesysid: Oid,
    pub usename: String,
    pub application_name: String,
    pub backend_start: i64,
    pub xact_start: i64,
    pub query_start: i64,
    pub state_change: i64,
    pub query: String,
    /// Of an encrypted connection: version, cipher, bits.
    pub tls: Option<(String, String, i32)>,
    /// How far a long command is, if it tells.
    pub progress: Option<(Command, [i64; progress::PARAMS])>,
}

const CLIENT_NONE: u8 = 0;
const CLIENT_LOCAL: u8 = 1;
const CLIENT_TCP: u8 = 2;

impl Entry {
    pub(crate) fn new() -> Entry {
        Entry {
            changes: AtomicU32::new(0),
            pid: AtomicI32::new(0),
            kind: AtomicU8::new(0),
            state: AtomicU8::new(0),
            client_kind: AtomicU8::new(0),
            client_port: AtomicU16::new(0),
            database: AtomicU32::new(0),
            user: AtomicU32::new(0),
            client_ip: Default::default(),
            process_start: AtomicI64::new(0),
            transaction_start: AtomicI64::new(0),
            query_start: AtomicI64::new(0),
            state_change: AtomicI64::new(0),
            database_name: Default::default(),
            user_name: Default::default(),
            application_name: Default::default(),
            tls_bits: AtomicI32::new(0),
            tls_version: Default::default(),
            tls_cipher: Default::default(),
            progress_command: AtomicU8::new(0),
            progress_params: Default::default(),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Relaxed)
    }

    /// Runs `write` with the counter odd (A2).
    pub(crate) fn change(&self, write: impl FnOnce(&Entry)) {
        self.changes.fetch_add(1, SeqCst);
        write(self);
        self.changes.fetch_add(1, SeqCst);
    }

    pub(crate) fn start(&self, kind: BackendType, pid: i32, started: i64) {
        self.change(|e| {
            e.kind.store(kind as u8, Relaxed);
            e.state.store(State::Undefined as u8, Relaxed);
            e.client_kind.store(CLIENT_NONE, Relaxed);
            e.database.store(0, Relaxed);
            e.user.store(0, Relaxed);
            e.tls_bits.store(0, Relaxed);
            e.progress_command.store(0, Relaxed);
            e.process_start.store(started, Relaxed);
            for moment in [&e.transaction_start, &e.query_start, &e.state_change] {
                moment.store(0, Relaxed);
            }
            for name in [&e.database_name, &e.user_name, &e.application_name] {
                text::store(name, "");
            }
            e.pid.store(pid, Relaxed);
        });
    }

    pub(crate) fn free(&self) {
        self.change(|e| e.pid.store(0, Relaxed));
    }

    pub(crate) fn set_session(
        &self,
        database: (Oid, &str),
        user: (Oid, &str),
        client: Option<(IpAddr, u16)>,
        is_local: bool,
    ) {
        self.change(|e| {
            e.database.store(database.0.0, Relaxed);
            e.user.store(user.0.0, Relaxed);
            text::store(&e.database_name, database.1);
            text::store(&e.user_name, user.1);
            match client {
                Some((ip, port)) => {
                    e.client_kind.store(CLIENT_TCP, Relaxed);
                    e.client_port.store(port, Relaxed);
                    let bits = to_v6(ip).to_bits();
                    e.client_ip[0].store((bits >> 64) as u64, Relaxed);
                    e.client_ip[1].store(bits as u64, Relaxed);
                }
                None => e.client_kind.store(if is_local { CLIENT_LOCAL } else { CLIENT_NONE }, Relaxed),
            }
        });
    }

    pub(crate) fn set_tls(&self, version: &str, cipher: &str, bits: i32) {
        self.change(|e| {
            text::store(&e.tls_version, version);
            text::store(&e.tls_cipher, cipher);
            e.tls_bits.store(bits, Relaxed);
        });
    }

    pub(crate) fn set_kind(&self, kind: BackendType) {
        self.change(|e| e.kind.store(kind as u8, Relaxed));
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.state.load(Relaxed) == State::Disabled as u8
    }

    pub(crate) fn disable(&self) {
        self.change(|e| {
            e.state.store(State::Disabled as u8, Relaxed);
            for moment in [&e.transaction_start, &e.query_start, &e.state_change] {
                moment.store(0, Relaxed);
            }
        });
    }

    /// For the owner: its state, and since when.
    pub(crate) fn own_state(&self) -> (Option<State>, i64) {
        let state = State::ALL.get(usize::from(self.state.load(Relaxed))).copied();
        (state, self.state_change.load(Relaxed))
    }

    /// To be called inside [`Entry::change`].
    pub(crate) fn set_state(&self, state: State, at: i64) {
        self.state.store(state as u8, Relaxed);
        self.state_change.store(at, Relaxed);
    }

    /// To be called inside [`Entry::change`].
    pub(crate) fn set_query_start(&self, at: i64) {
        self.query_start.store(at, Relaxed);
    }

    pub(crate) fn set_application_name(&self, name: &str) {
        self.change(|e| text::store(&e.application_name, name));
    }

    /// `None` ends it; another one starts with zeros.
    pub(crate) fn set_progress_command(&self, command: Option<Command>) {
        self.change(|e| {
            e.progress_command.store(command.map_or(0, |command| command as u8), Relaxed);
            e.progress_params.iter().for_each(|param| param.store(0, Relaxed));
        });
    }

    /// Several at once, or none of them is seen.
    pub(crate) fn set_progress(&self, values: &[(usize, i64)]) {
        self.change(|e| {
            values.iter().for_each(|&(param, value)| e.progress_params[param].store(value, Relaxed))
        });
    }

    pub(crate) fn set_transaction_start(&self, at: i64) {
        self.change(|e| e.transaction_start.store(at, Relaxed));
    }

    /// A consistent copy, or `None` if the entry is free.
    pub(crate) fn read(&self, pgprocno: usize, statement: &[AtomicU64]) -> Option<Activity> {
        loop {
            if let Some(copy) = self.try_read(pgprocno, statement) {
                return copy;
            }
            std::hint::spin_loop();
        }
    }

    /// The same for who must not wait (A6): after some tries the copy is as good as it gets.
    pub(crate) fn read_bounded(&self, pgprocno: usize, statement: &[AtomicU64]) -> Option<Activity> {
        for _ in 0..TRIES_MAX {
            if let Some(copy) = self.try_read(pgprocno, statement) {
                return copy;
            }
            std::hint::spin_loop();
        }
        self.copy(pgprocno, statement)
    }

    /// `None` if its owner is writing.
    fn try_read(&self, pgprocno: usize, statement: &[AtomicU64]) -> Option<Option<Activity>> {
        let before = self.changes.load(Acquire);
        if !before.is_multiple_of(2) {
            return None;
        }
        let copy = self.copy(pgprocno, statement);
        fence(SeqCst);
        (self.changes.load(SeqCst) == before).then_some(copy)
    }

    fn copy(&self, pgprocno: usize, statement: &[AtomicU64]) -> Option<Activity> {
        let pid = self.pid();
        if pid == 0 {
            return None;
        }
        let state = usize::from(self.state.load(Relaxed));
        Some(Activity {
            pgprocno,
            pid,
            backend_type: BackendType::from_u8(self.kind.load(Relaxed))?,
            state: State::ALL.get(state).copied()?,
            client: self.client(),
            datid: Oid(self.database.load(Relaxed)),
            datname: text::load(&self.database_name),
            usesysid: Oid(self.user.load(Relaxed)),
            usename: text::load(&self.user_name),
            application_name: text::load(&self.application_name),
            backend_start: self.process_start.load(Relaxed),
            xact_start: self.transaction_start.load(Relaxed),
            query_start: self.query_start.load(Relaxed),
            state_change: self.state_change.load(Relaxed),
            query: text::load(statement),
            tls: self.tls(),
            progress: self.progress(),
        })
    }

    /// No cipher has a key of 0 bits.
    fn tls(&self) -> Option<(String, String, i32)> {
        let bits = self.tls_bits.load(Relaxed);
        (bits != 0).then(|| (text::load(&self.tls_version), text::load(&self.tls_cipher), bits))
    }

    fn progress(&self) -> Option<(Command, [i64; progress::PARAMS])> {
        let command = Command::from_u8(self.progress_command.load(Relaxed))?;
        Some((command, std::array::from_fn(|param| self.progress_params[param].load(Relaxed))))
    }

    fn client(&self) -> ClientAddr {
        match self.client_kind.load(Relaxed) {
            CLIENT_TCP => {
                let high = u128::from(self.client_ip[0].load(Relaxed));
                let low = u128::from(self.client_ip[1].load(Relaxed));
                let ip = Ipv6Addr::from_bits(high << 64 | low);
                let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
                ClientAddr::Tcp(ip, self.client_port.load(Relaxed))
            }
            CLIENT_LOCAL => ClientAddr::Local,
            _ => ClientAddr::None,
        }
    }
}

fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> [AtomicU64; 4] {
        Default::default()
    }

    #[test]
    fn a_free_entry_is_not_shown() {
        let entry = Entry::new();
        assert!(entry.read(0, &statement()).is_none());
        entry.start(BackendType::BgWriter, 42, 7);
        let shown = entry.read(3, &statement()).unwrap();
        assert_eq!((shown.pid, shown.pgprocno, shown.backend_start), (42, 3, 7));
        assert_eq!(shown.backend_type, BackendType::BgWriter);
        entry.free();
        assert!(entry.read(0, &statement()).is_none());
    }

    #[test]
    fn addresses_survive_the_trip() {
        let entry = Entry::new();
        entry.start(BackendType::Backend, 1, 0);
        for (client, local, expected) in [
            (
                Some(("127.0.0.1".parse().unwrap(), 5)),
                false,
                ClientAddr::Tcp("127.0.0.1".parse().unwrap(), 5),
            ),
            (Some(("::1".parse().unwrap(), 9)), false, ClientAddr::Tcp("::1".parse().unwrap(), 9)),
            (None, true, ClientAddr::Local),
            (None, false, ClientAddr::None),
        ] {
            entry.set_session((Oid(5), "postgres"), (Oid(10), "alice"), client, local);
            let shown = entry.read(0, &statement()).unwrap();
            assert_eq!(shown.client, expected);
            assert_eq!((shown.datname.as_str(), shown.usename.as_str()), ("postgres", "alice"));
        }
    }

    #[test]
    fn who_has_died_while_he_wrote_holds_up_nobody() {
        let entry = Entry::new();
        entry.start(BackendType::Backend, 42, 7);
        entry.changes.fetch_add(1, SeqCst);
        entry.state.store(State::Active as u8, Relaxed);
        let shown = entry.read_bounded(0, &[]).unwrap();
        assert_eq!((shown.pid, shown.state), (42, State::Active));
        // What is no state, or no kind of process, is nobody.
        entry.state.store(99, Relaxed);
        assert!(entry.read_bounded(0, &[]).is_none());
    }

    #[test]
    fn a_reader_never_sees_half_a_change() {
        let entry = Entry::new();
        entry.start(BackendType::Backend, 1, 0);
        let statement = statement();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..20_000i64 {
                    entry.change(|e| {
                        e.set_query_start(i);
                        e.set_state(State::Active, i);
                    });
                }
            });
            for _ in 0..20_000 {
                let seen = entry.read(0, &statement).unwrap();
                assert_eq!(seen.query_start, seen.state_change);
            }
        });
    }
}
