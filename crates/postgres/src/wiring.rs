//! Who runs what: the table from kinds of processes to entry points, and what each crate contributes to the
//! postmaster's start.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::BackendType;
use elog::Result;
use postmaster::{ChildTable, Hooks, PostmasterConfig};
use shmem::Reservation;
use shmem::proc::Limits;
use startup::rmgr::Rmgr;
use wal::RmgrId;

/// All that this program gives its postmaster.
pub(crate) fn postmaster_config(send_stop: bool) -> Result<PostmasterConfig> {
    prepare()?;
    let children = ChildTable::new()
        .with(BackendType::Logger, syslogger::syslogger_main)
        .with(BackendType::Startup, startup::startup_main)
        .with(BackendType::Checkpointer, checkpointer::checkpointer_main)
        .with(BackendType::BgWriter, bgwriter::bgwriter_main)
        .with(BackendType::WalWriter, walwriter::walwriter_main)
        .with(BackendType::Archiver, pgarch::archiver_main)
        .with(BackendType::WalReceiver, walreceiver::walreceiver_main)
        .with(BackendType::AutovacLauncher, autovacuum::autovac_launcher_main)
        .with(BackendType::AutovacWorker, autovacuum::autovac_worker_main)
        .with(BackendType::StatsCollector, pgstat::stats_collector_main)
        .with(BackendType::Backend, backend::backend_main);
    let hooks = Hooks {
        reserve,
        read_control_file,
        prepare_logger: syslogger::prepare,
        redirect_stderr: syslogger::redirect_stderr,
        close_in_child: syslogger::close_in_child,
        load_hba,
        crashed_activity: activity::statement_of_pid,
        observe_stop: || shutdown::observe(shutdown::Scope::Stop),
        observe_everything: || shutdown::observe(shutdown::Scope::Everything),
        set_deadline: shutdown::bounds::set_deadline,
        ..Hooks::default()
    };
    let mut config = PostmasterConfig::new(children, hooks);
    config.send_stop = send_stop;
    Ok(config)
}

/// What crates are told of each other, whatever this program becomes.
fn prepare() -> Result<()> {
    backend::prepare();
    pgstat::prepare()?;
    register_redo();
    register_two_phase();
    heap::vacuum::set_truncation_hook(catalog::inval::send_smgr);
    heap::vacuum::set_cost_balance(autovacuum::balanced_cost_limit);
    autovacuum::set_hooks(backend::autovacuum::hooks());
    wal::set_checkpoint_requester(checkpointer::request_for_wal_volume);
    wal::set_flush_listener(replication::walsnd::wakeup);
    Ok(())
}

/// All that a session without a postmaster needs.
pub(crate) fn standalone() -> Result<backend::standalone::Contributions> {
    prepare()?;
    Ok(backend::standalone::Contributions {
        reserve,
        read_control_file,
        recover: startup::recover_standalone,
        shut_down: checkpointer::shut_down_standalone,
    })
}

/// Who replays the records that lie above the startup process's own crate. C: rmgrlist.h.
fn register_redo() {
    let table = &startup::rmgr::TABLE;
    table.register(RmgrId::Tblspc, Rmgr::new(commands::tablespace::redo));
    table.register(RmgrId::Smgr, Rmgr::new(catalog::pending::redo));
    table.register(RmgrId::RelMap, Rmgr::new(catalog::relmapper::redo));
    table.register(RmgrId::Heap, Rmgr::new(heap::redo::heap_redo));
    table.register(RmgrId::Heap2, Rmgr::new(heap::redo::heap2_redo));
}

/// Who has state of prepared transactions, and what their ends do in the crates above transam.
fn register_two_phase() {
    lmgr::register_two_phase();
    transam::twophase::set_effects(transam::twophase::Effects {
        drop_files: catalog::pending::drop_files,
        invalidate: catalog::inval::send_prepared,
        count: pgstat::count_prepared_end,
    });
}

/// Every crate's share of the segment. C: `CreateSharedMemoryAndSemaphores`.
fn reserve(reservation: &mut Reservation, limits: Limits) {
    let procs = limits.max_procs() as usize;
    shmem::reserve(reservation, limits);
    activity::reserve(reservation, procs);
    wal::reserve(reservation);
    replication::reserve(reservation, procs);
    storage::reserve(reservation);
    shutdown::reserve(reservation);
    transam::reserve(reservation, procs);
    sinval::reserve(reservation, procs);
    lmgr::reserve(reservation, procs, limits.max_backends() as usize);
    checkpointer::reserve(reservation, procs);
    backup::reserve(reservation);
    autovacuum::reserve(reservation);
}

/// pg_control must be readable, and decides some settings. C: `LocalProcessControlFile`.
fn read_control_file() -> Result<()> {
    let control = wal::control_file::read()?;
    libpq::auth::set_mock_nonce(control.mock_authentication_nonce);
    guc::set_internal("wal_segment_size", &format!("{}B", control.xlog_seg_size))?;
    wal::recycle::check_sizes()?;
    guc::set_internal("data_checksums", if control.data_checksum_version == 0 { "off" } else { "on" })
}

/// pg_hba.conf, pg_ident.conf and the TLS key: what is wrong at start is fatal, at a reload the old ones stay.
fn load_hba() -> Result<()> {
    static LOADED: AtomicBool = AtomicBool::new(false);
    if LOADED.swap(true, Relaxed) {
        libpq::hba::reload();
        libpq::tls::reload();
        return Ok(());
    }
    libpq::tls::load()?;
    libpq::hba::load()
}
