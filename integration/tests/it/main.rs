//! Processes together: whole clusters started, stopped, reloaded, killed and fed nonsense.
//!
//! Where PostgreSQL 15 is installed, most of these run against it too: then what they expect is its behaviour.

mod archiver; // finished segments are handed to a command
mod archiver_parallel; // several commands at a time, and a bound for the last of them
mod archiver_stop; // a stop waits for the archive; what the command does wrong
mod archiver_support; // clusters that archive
mod bad_input; // nonsense on the port
mod crash; // each process killed in turn
mod faults; // full disks, damaged files
mod first_document; // the first reference document, line by line
mod formats; // what PostgreSQL's programs read
mod hot_standby; // sessions while another cluster's archive is replayed
mod isolation; // two sessions and one row
mod leaks; // hundreds of lives, and nothing left of them
mod logging; // where the log goes, what its lines look like
mod pg_ctl; // the tool people start and stop it with
mod postmaster_killed; // the first reference document
mod processes; // those that no client asks for do their work
mod redo; // PostgreSQL recovers the same pages
mod reload; // settings that change under way
mod start_failures; // what a start that cannot be says
mod start_stop; // what a start writes and leaves, and what a stop takes away
mod statistics; // what sessions do is counted
mod stop; // smart, fast, immediate, and single sessions sent away
mod support; // words that several of them use

mod auth; // who gets in
mod backup; // copies made while clients write
mod basebackup; // copies of a running server
mod bounded_stop; // what a stop owes those who follow
mod descriptions; // what each WAL record says
mod drivers; // client libraries and programs
mod mixed_pair; // a standby of PostgreSQL that follows this server
mod pgbackrest; // a backup tool that knows nothing of this server
mod pitr; // recovery to a point in time
mod pitr_commands; // what recovery runs, and pg_control meanwhile
mod pitr_faults; // recovery that cannot go on
mod pitr_past; // a primary that has written
mod pitr_timelines; // histories that fork
mod protocol; // the conversation byte by byte
mod receivewal; // WAL as a program receives it
mod recovery_functions; // what a standby answers when asked about recovery
mod replication_support; // clusters that are followed, programs that follow them
mod single_user; // a session without a postmaster
mod slow_stop; // the second reference document: a stop waits for those who follow
mod sql; // answers are PostgreSQL's
mod sql_log; // what the log says about statements
mod sql_sessions; // sessions that see and stop each other
mod standby; // who streams, and what keeps a standby from it
mod standby_faults; // whatever is killed or cut, it catches up
mod standby_promote; // standbys that become primaries, primaries that become standbys
mod standby_support; // standbys, lines that can be cut, loads
mod stop_report; // a stop that explains itself: forecast, progress, truth
mod stop_report_bounds; // the same stops with bounds
mod stop_report_files; // the files of it, and what pg_ctl says
mod stop_report_support; // what a test reads of it
mod sync_replication; // what an acknowledged commit means
mod tablespaces; // tables outside of the data directory
mod torture; // nothing acknowledged is lost
mod transcript; // conversations in text form, recorded from the real server
mod twophase; // transactions that outlive their session
mod twophase_torture; // and whoever is killed meanwhile
mod walsender_bad_input; // clients that follow and do it wrong
mod walsender_patience; // clients that keep a walsender waiting
mod walsender_protocol; // what a replicating session says
