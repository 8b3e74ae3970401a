//! `initdb`: makes the directory of a new cluster.
//!
//! PostgreSQL's initdb starts a server three times to fill the catalogs. This one forms the catalogs' pages itself and
//! only writes files: directories, configuration, catalogs, the first WAL segment with a shutdown checkpoint,
//! and pg_control that points to it. What it prints, how it fails and what it leaves behind is the same.
//!
//! Order of work, and of what is printed: options and their contradictions; who we are; locale and
//! encoding; password; directories; configuration files; the "bootstrap" (pg_control, WAL, `template1`);
//! the rest; fsync of everything. A failure after the first directory was made removes what was made.
//!
//! C counterpart: src/bin/initdb/initdb.c.

#![forbid(unsafe_code)]

mod auth; // 2. how clients will log in
mod bootstrap; // 7. pg_control and the catalogs
mod conf; // 6. configuration files
mod layout; // 5. directories, and removing them again
mod locale; // 3. language and encoding
mod options; // 1. what is wanted
mod password; // 4. the superuser's
mod report;
mod sync; // 9. making it last
mod wal; // 8. the first segment

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::file::CreateModes;
use common::user;
use common::version::{PACKAGE, PG_VERSION};

use crate::layout::Cleanup;
use crate::options::{Command, Options};
use crate::report::{Failure, Result, fail, say};

fn main() -> ExitCode {
    let mut args = Vec::new();
    for arg in std::env::args_os() {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => {
                Failure::new(format!("argument \"{}\" is not valid UTF-8", arg.to_string_lossy())).print();
                return ExitCode::FAILURE;
            }
        }
    }
    let program = if args.is_empty() { "initdb".to_owned() } else { args.remove(0) };
    let mut cleanup = Cleanup::default();
    let result = match options::parse(&program, &args) {
        Ok(Command::Help) => {
            say(options::HELP);
            Ok(())
        }
        Ok(Command::Version) => {
            say(&format!("initdb (PostgreSQL) {PG_VERSION} ({PACKAGE})\n"));
            Ok(())
        }
        Ok(Command::SyncOnly(data_dir)) => sync_only(&data_dir),
        Ok(Command::Init(options)) => init(&program, &options, &mut cleanup),
        Err(failure) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            cleanup.run();
            ExitCode::FAILURE
        }
    }
}

/// `--sync-only`: another program has made or copied the cluster.
fn sync_only(data_dir: &Path) -> Result<()> {
    if let Err(error) = std::fs::read_dir(data_dir) {
        return Err(layout::inaccessible(data_dir, &error));
    }
    say("syncing data to disk ... ");
    sync::sync_cluster(data_dir)?;
    say("ok\n");
    Ok(())
}

fn init(program: &str, options: &Options, cleanup: &mut Cleanup) -> Result<()> {
    if user::is_root() {
        return fail("cannot be run as root").map_err(|failure| {
            failure.hint(
                "Please log in (using, e.g., \"su\") as the (unprivileged) user that will own the server process.",
            )
        });
    }
    let owner = user::effective_user_name().map_err(Failure::new)?;
    let superuser = options.username.as_deref().unwrap_or(&owner);
    check_superuser_name(superuser)?;
    say(&format!(
        "The files belonging to this database system will be owned by user \"{owner}\".\n\
         This user must also own the server process.\n\n"
    ));
    if options.show {
        options::show(options, superuser);
        return Ok(());
    }
    let locales = locale::choose(options)?;
    say(if options.data_checksums {
        "\nData page checksums are enabled.\n"
    } else {
        "\nData page checksums are disabled.\n"
    });
    let password = password::ask(options)?;
    say("\n");

    let modes = if options.group_access { CreateModes::GROUP } else { CreateModes::OWNER };
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(modes.mask));
    layout::create(options, modes, cleanup)?;
    conf::write(options, &locales, modes)?;
    bootstrap::run(options, &locales, superuser, password, modes)?;
    if options.no_sync {
        say(
            "\nSync to disk skipped.\nThe data directory might become corrupt if the operating system crashes.\n",
        );
    } else {
        say("syncing data to disk ... ");
        sync::sync_cluster(&options.data_dir)?;
        say("ok\n");
    }

    if options.auth_warning {
        say("\n");
        report::warning("enabling \"trust\" authentication for local connections");
        report::hint(
            "You can change this by editing pg_hba.conf or using the option -A, or --auth-local and --auth-host, the next time you run initdb.",
        );
    }
    if !options.no_instructions {
        say(&format!(
            "\nSuccess. You can now start the database server using:\n\n    {} -D {} -l logfile start\n\n",
            shell_word(&pg_ctl_beside(program).to_string_lossy()),
            shell_word(&options.data_dir_as_given.to_string_lossy())
        ));
    }
    Ok(())
}

/// Names that the catalog could not hold or that are kept for the server.
fn check_superuser_name(name: &str) -> Result<()> {
    if catalog::predefined::is_reserved_name(name) {
        return fail(format!(
            "superuser name \"{name}\" is disallowed; role names cannot begin with \"pg_\""
        ));
    }
    if name.is_empty() || name.len() >= common::version::NAMEDATALEN {
        let longest = common::version::NAMEDATALEN - 1;
        return fail(format!("superuser name \"{name}\" must have 1 to {longest} bytes"));
    }
    Ok(())
}

/// `pg_ctl` as the user would call it: with the folder that this program was called with.
fn pg_ctl_beside(program: &str) -> PathBuf {
    Path::new(program).parent().unwrap_or(Path::new("")).join("pg_ctl")
}

/// In quotes if the shell needs them. C: `appendShellString`.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests;
