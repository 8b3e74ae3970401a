//! What the program says about itself.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use common::version::{PACKAGE, PG_VERSION};
use guc::SettingRow;

const HELP: &str = "postgres is the server of pganatomy, a PostgreSQL to be read.

Usage:
  postgres [OPTION]...

Options:
  -B NBUFFERS        number of shared buffers
  -c NAME=VALUE      set run-time parameter
  -C NAME            print value of run-time parameter, then exit
  -d 1-5             debugging level
  -D DATADIR         database directory
  -e                 use European date input format (DMY)
  -F                 turn fsync off
  -h HOSTNAME        host name or IP address to listen on
  -i                 enable TCP/IP connections
  -k DIRECTORY       Unix-domain socket location
  -l                 enable SSL connections
  -N MAX-CONNECT     maximum number of allowed connections
  -p PORT            port number to listen on
  -S WORK-MEM        set amount of memory for sorts (in kB)
  -T                 send SIGSTOP to all processes if one dies
  -V, --version      output version information, then exit
  --NAME=VALUE       set run-time parameter
  --describe-config  describe configuration parameters, then exit
  -?, --help         show this help, then exit

Options for single-user mode:
  --single           selects single-user mode (must be first argument)
  DBNAME             database name (defaults to user name)
  -E                 echo statement before execution
  -j                 do not use newline as interactive query delimiter
";

/// `--help`
pub(crate) fn print_help() -> ExitCode {
    write_out(HELP)
}

/// Environment variable with what is to follow the number in `--version`. Programs that come with a PostgreSQL package
/// (`pg_rewind`, `pg_upgrade`) accept a server only if it says exactly what the package was built with.
/// C: `configure --with-extra-version`.
const EXTRA_VERSION: &str = "PG_EXTRA_VERSION";

/// `--version`
pub(crate) fn print_version() -> ExitCode {
    let extra = std::env::var(EXTRA_VERSION).unwrap_or_else(|_| format!("({PACKAGE})"));
    write_out(&format!("postgres (PostgreSQL) {PG_VERSION} {extra}\n"))
}

/// `--describe-config`: a line a setting, its facts separated by tabs. C: `GucInfoMain`.
pub(crate) fn describe_config() -> ExitCode {
    let mut text = String::new();
    for row in guc::rows() {
        let hidden = guc::find(row.name)
            .is_none_or(|s| s.has(guc::flags::NOT_IN_SAMPLE) || s.has(guc::flags::DISALLOW_IN_FILE));
        if !hidden {
            describe(&row, &mut text);
        }
    }
    write_out(&text)
}

fn describe(row: &SettingRow, text: &mut String) {
    let boot = row.boot_val.as_deref().unwrap_or_default();
    let (min, max) = (row.min_val.as_deref().unwrap_or_default(), row.max_val.as_deref().unwrap_or_default());
    // Settings without limits have the two columns too, empty.
    let (kind, boot) = match row.vartype {
        "bool" => ("BOOLEAN", if boot == "on" { "TRUE" } else { "FALSE" }),
        "integer" => ("INTEGER", boot),
        "real" => ("REAL", boot),
        "enum" => ("ENUM", boot),
        _ => ("STRING", boot),
    };
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{kind}\t{boot}\t{min}\t{max}\t{}\t{}",
        row.name,
        row.context,
        row.category,
        row.short_desc,
        row.extra_desc.unwrap_or_default()
    );
}

fn write_out(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
